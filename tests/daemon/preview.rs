//! `vipkeeper plan` beside a daemon: both decide alike, and only the daemon acts.

use vipkeeper::commands::plan::{Conclusion, Inputs, Preview, preview};
use vipkeeper::config::WitnessMode;
use vipkeeper::desired::hold::Extent;
use vipkeeper::machine::kernel::Kernel;
use vipkeeper::observe::seen::Port;
use vipkeeper::pgpool::watchdog::Word;

use crate::world::*;

fn with(mode: WitnessMode) -> impl FnOnce(&Estate) -> Config {
    move |estate| Config { witness: mode, ..elastic_ip(estate) }
}

/// Pgpool's watchdog on the first node says whether it holds the VIP.
fn says(world: &World, escalated: bool) {
    world.nodes[0].word.replace(Some(Word { escalated, delegate_ips: [ip(EIP)].into(), quorum: None }));
}

/// `vipkeeper plan` on the first node.
async fn plan(world: &World) -> Preview {
    let node = &world.nodes[0];
    let config = node.config.borrow().clone().unwrap();
    let inputs = Inputs {
        ec2: &*node.ec2,
        identify: &*node.identity,
        machine: &mut node.computer.clone(),
        local: node.computer.look(&config.local_addresses()).await,
        ask_watchdog: node.ask_watchdog(),
        knock: node.knock(),
    };
    preview(&config, inputs).await.unwrap()
}

/// The plan agrees with the daemon on what this node is, and on how each binding stands.
async fn assert_agrees(world: &World, wanted: &str) -> Preview {
    let planned = plan(world).await;
    let (vip, status) = (&planned.vips[0], world.nodes[0].recorder.vip(EIP));
    assert_eq!((vip.standing, status.desired.role.as_str()), (wanted, wanted), "{vip:?}");
    let states: Vec<_> = vip.bindings.iter().map(|binding| (binding.target.clone(), binding.state)).collect();
    let told: Vec<_> = status.bindings.iter().map(|told| (told.target.clone(), told.state.as_str())).collect();
    assert_eq!(states, told, "{vip:?}");
    planned
}

fn reason(planned: &Preview) -> &str {
    planned.vips[0].reason.as_deref().unwrap_or_default()
}

#[test]
fn a_claim_that_began_on_the_watchdogs_word_is_planned_with() {
    in_paused_time(async {
        let mut world = World::new(1, with(WitnessMode::Trust));
        says(&world, true);
        world.start();
        pass(seconds(90)).await;
        let planned = assert_agrees(&world, "leader").await;
        assert_eq!(planned.conclusion(), Conclusion::InSync, "{}", planned.page());
        assert!(reason(&planned).contains("no `up` has come: the daemon goes by the watchdog's word"), "{planned:?}");
    });
}

#[test]
fn a_claim_that_ended_on_the_watchdogs_word_is_not_planned_with() {
    in_paused_time(async {
        let mut world = World::new(1, with(WitnessMode::Trust));
        says(&world, true);
        world.start_with_leader_of(EIP, seconds(20)).await;
        assert_agrees(&world, "leader").await;
        says(&world, false);
        pass(seconds(60)).await;
        let planned = assert_agrees(&world, "standby").await;
        assert!(reason(&planned).contains("no `down` has come: the daemon goes by the watchdog's word"), "{planned:?}");
        says(&world, true);
        pass(seconds(30)).await;
        let planned = assert_agrees(&world, "leader").await;
        assert_eq!(reason(&planned), "", "they agree again");
    });
}

#[test]
fn a_watchdog_that_gives_no_word_leaves_open_what_was_done_on_its_last_one() {
    in_paused_time(async {
        let mut world = World::new(1, with(WitnessMode::Trust));
        says(&world, true);
        world.start();
        pass(seconds(90)).await;
        world.nodes[0].kill().await;
        world.nodes[0].stands_still.set(true);
        let planned = plan(&world).await;
        assert_eq!((planned.vips[0].standing, planned.conclusion()), ("unknown", Conclusion::CouldNotTell));
        assert!(planned.vips[0].bindings.iter().all(|binding| binding.action.is_none()), "{planned:?}");
        assert!(reason(&planned).ends_with("and the watchdog gives no word now"), "{planned:?}");
    });
}

#[test]
fn a_dispute_of_right_now_is_told_and_only_time_can_settle_it_where_the_watchdog_is_trusted() {
    for (mode, told, conclusion) in [
        (WitnessMode::Off, "", Conclusion::InSync),
        (WitnessMode::Check, "no `down` has come: the daemon goes by the file", Conclusion::InSync),
        (WitnessMode::Trust, "once that has lasted for 10 s", Conclusion::CouldNotTell),
    ] {
        in_paused_time(async move {
            let mut world = World::new(1, with(mode));
            says(&world, true);
            world.start_with_leader_of(EIP, seconds(20)).await;
            says(&world, false);
            let asked = world.nodes[0].asked.get();
            let planned = assert_agrees(&world, "leader").await;
            assert_eq!(world.nodes[0].asked.get() > asked, mode != WitnessMode::Off, "{mode:?}");
            assert_eq!(planned.conclusion(), conclusion, "{mode:?}: {}", planned.page());
            let is_told = if told.is_empty() { reason(&planned).is_empty() } else { reason(&planned).contains(told) };
            assert!(is_told && planned.page().contains(told), "{mode:?}: {}", planned.page());
        });
    }
}

#[test]
fn a_node_without_a_hook_is_not_in_sync_while_the_watchdog_says_that_it_holds_the_vip() {
    for (escalated, conclusion) in [(false, Conclusion::InSync), (true, Conclusion::CouldNotTell)] {
        in_paused_time(async move {
            let world = World::new(1, with(WitnessMode::Check));
            says(&world, escalated);
            let planned = plan(&world).await;
            assert_eq!(planned.conclusion(), conclusion, "{}", planned.page());
        });
    }
}

#[test]
fn a_hold_whose_file_cannot_be_used_is_told_and_ends_no_hold_of_the_daemon() {
    in_paused_time(async {
        let mut world = World::new(2, with(WitnessMode::Off));
        world.start_alone_as_leader_of(EIP, seconds(20)).await;
        let computer = &world.nodes[0].computer;
        computer.hold(ip(EIP), seconds(600), Extent::Everything);
        pass(seconds(20)).await;
        computer.spoil_hold(ip(EIP));
        point_elastic_ip_by_hand(&world.estate, &world.estate.nodes[1].eni);
        pass(seconds(60)).await;
        let page = plan(&world).await.page();
        assert!(page.contains("  203.0.113.10.hold is not used: it is spoilt\n"), "{page}");
        assert!(page.contains("looking twice before taking it back"), "the preview holds nothing: {page}");
        let told = &world.nodes[0].recorder.vip(EIP).bindings[0];
        assert!(told.detail.starts_with("held, so nothing is done"), "{}", told.detail);
    });
}

#[test]
fn what_the_watchdog_forbids_is_not_planned() {
    in_paused_time(async {
        let mut world = World::new(2, with(WitnessMode::Check));
        says(&world, true);
        world.start_alone_as_leader_of(EIP, seconds(20)).await;
        says(&world, false);
        point_elastic_ip_by_hand(&world.estate, &world.estate.nodes[1].eni);
        pass(seconds(120)).await;
        let planned = assert_agrees(&world, "leader").await;
        let binding = &planned.vips[0].bindings[0];
        assert_eq!((binding.state, &binding.action), ("blocked", &None), "{binding:?}");
    });
}

/// A VIP that cannot come to this node: a route inside the VPC, and a secondary address outside the subnet.
fn misplaced(estate: &Estate) -> Config {
    let tables = estate.add_tables(1);
    config(vec![vip(vec![by_route("10.0.1.77", &tables), by_secondary_ip("10.0.9.50"), by_secondary_ip("10.0.1.2")])])
}

#[test]
fn a_standby_whose_takeover_must_fail_says_so_before_anybody_needs_it_and_asks_ec2_nothing_more_for_it() {
    in_paused_time(async {
        let mut world = World::new(1, misplaced);
        world.start();
        pass(seconds(60)).await;
        let status = world.nodes[0].recorder.vip("10.0.1.77");
        let names: Vec<_> = status.obstacles.iter().map(|obstacle| obstacle.name.to_string()).collect();
        assert_eq!(names, ["inside_vpc", "kept_by_aws", "outside_subnet"], "{status:?}");
        assert!(status.in_sync, "nothing is wrong yet");
        let recorder = &world.nodes[0].recorder;
        assert_eq!(recorder.heard("10.0.9.50 is outside 10.0.1.0/24, 2600:1f18:1::/64").len(), 0, "its own family");
        assert_eq!(recorder.heard("Obstacle").len(), 3, "each is said once");
        let mark = world.mark();
        let planned = plan(&world).await;
        let page = planned.page();
        assert_eq!(planned.conclusion(), Conclusion::TakeoverWouldFail, "{page}");
        assert_eq!(planned.conclusion().exit_code(), 2);
        assert!(
            page.contains("a takeover by this node would fail: 10.0.1.77 is inside the VPC (10.0.0.0/16)"),
            "{page}"
        );
        assert!(
            page.ends_with("In sync now, but a takeover by this node would fail; nothing was changed.\n"),
            "{page}"
        );
        let names: Vec<_> = world.calls(mark).into_iter().map(|(_, name, _)| name).collect();
        assert_eq!(names, ["DescribeRouteTables", "DescribeNetworkInterfaces"], "no question is asked for it");
    });
}

#[test]
fn a_leader_that_ec2_refuses_tersely_is_told_by_what_is_known() {
    in_paused_time(async {
        let mut world = World::new(1, |_| config(vec![vip(vec![by_secondary_ip("10.0.9.50")])]));
        world.start_with_leader_of("10.0.9.50", seconds(60)).await;
        let status = world.nodes[0].recorder.vip("10.0.9.50");
        let blocked = world.nodes[0].recorder.binding("10.0.9.50", "secondary_ip 10.0.9.50");
        assert_eq!(blocked.state.as_str(), "blocked", "{blocked:?}");
        assert_eq!(status.obstacles[0].message.split(", ").next(), Some("10.0.9.50 is outside 10.0.1.0/24"));
    });
}

#[test]
fn an_address_that_can_come_is_no_obstacle() {
    in_paused_time(async {
        for make in [elastic_ip, secondary as fn(&Estate) -> Config] {
            let mut world = World::new(2, make);
            world.start();
            pass(seconds(60)).await;
            let status = world.nodes[0].recorder.last();
            assert!(status.vips.iter().all(|vip| vip.obstacles.is_empty()), "{status:?}");
        }
    });
}

fn secondary(_: &Estate) -> Config {
    config(vec![vip(vec![by_secondary_ip(SECONDARY)])])
}

#[test]
fn what_is_kept_for_a_successor_is_planned_as_the_daemon_does_it() {
    for port in [Port::Answers, Port::Silent] {
        in_paused_time(async move {
            let mut world = World::new(1, elastic_ip);
            world.start_with_leader_of(EIP, seconds(60)).await;
            world.nodes[0].port.set(port);
            let before_the_daemon_noticed = {
                world.nodes[0].kill().await;
                world.nodes[0].computer.kill(world.guards[0]);
                let planned = plan(&world).await;
                world.nodes[0].start();
                planned
            };
            pass(millis(100)).await;
            let planned = plan(&world).await;
            for planned in [before_the_daemon_noticed, planned] {
                let binding = &planned.vips[0].bindings[0];
                assert_eq!(planned.vips[0].standing, "standby");
                assert_eq!(binding.detail.contains("kept until a successor"), port == Port::Answers, "{planned:?}");
            }
        });
    }
}
