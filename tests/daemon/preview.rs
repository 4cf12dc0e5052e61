//! `vipkeeper plan` beside a daemon: both decide alike, and only the daemon acts.

use vipkeeper::commands::plan::{Conclusion, Inputs, Preview, preview};
use vipkeeper::config::WitnessMode;
use vipkeeper::machine::kernel::Kernel;
use vipkeeper::pgpool::watchdog::Word;

use crate::world::*;

fn with(mode: WitnessMode) -> impl FnOnce(&Estate) -> Config {
    move |estate| Config { witness: mode, ..elastic_ip(estate) }
}

/// Pgpool's watchdog on the first node says whether it holds the VIP.
fn says(world: &World, escalated: bool) {
    world.nodes[0].word.replace(Some(Word { escalated, delegate_ips: [ip(EIP)].into() }));
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
