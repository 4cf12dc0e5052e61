//! Pgpool's watchdog as a witness: what its word stops, and what it begins.

use vipkeeper::config::WitnessMode;
use vipkeeper::pgpool::watchdog::Word;
use vipkeeper::status::ConditionName;
use vipkeeper::status::ConditionReason;
use vipkeeper::status::page::{DaemonLife, Overall};

use crate::world::*;

/// Pgpool's watchdog on this node says whether it holds the VIP.
fn says(world: &World, node: usize, escalated: bool) {
    let word = Word { escalated, delegate_ips: [ip(EIP)].into(), quorum: None };
    world.nodes[node].word.replace(Some(word));
}

fn with(mode: WitnessMode) -> impl FnOnce(&Estate) -> Config {
    move |estate| Config { witness: mode, ..elastic_ip(estate) }
}

fn hook_lost(world: &World) -> bool {
    let vip = world.nodes[0].recorder.vip(EIP);
    let mut conditions = vip.conditions.iter();
    conditions.find(|condition| condition.name == ConditionName::HookLost).expect("it is always told").holds
}

/// A node that leads, and whose watchdog says so; the other one does not run.
async fn leads_by_its_watchdogs_word_too() -> World {
    let mut world = World::new(2, with(WitnessMode::Check));
    says(&world, 0, true);
    world.start_alone_as_leader_of(EIP, seconds(20)).await;
    world
}

#[test]
fn nothing_is_taken_back_against_the_watchdogs_word() {
    in_paused_time(async {
        let world = leads_by_its_watchdogs_word_too().await;
        says(&world, 0, false);
        point_elastic_ip_by_hand(&world.estate, &world.estate.nodes[1].eni);
        let mark = world.mark();
        pass(seconds(120)).await;
        assert_eq!(world.writes(mark), []);
        assert!(hook_lost(&world), "its `down` never came");
        says(&world, 0, true);
        pass(seconds(30)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
        assert!(!hook_lost(&world));
    });
}

#[test]
fn a_lost_up_is_told_and_begins_a_claim_only_where_the_watchdog_is_trusted() {
    for (mode, taken) in [(WitnessMode::Off, false), (WitnessMode::Check, false), (WitnessMode::Trust, true)] {
        in_paused_time(async move {
            let mut world = World::new(1, with(mode));
            says(&world, 0, true);
            world.start();
            pass(seconds(8)).await;
            assert_eq!(world.estate.elastic_ip(EIP), None, "{mode:?}: a hook may be on its way");
            pass(seconds(80)).await;
            assert_eq!(world.estate.elastic_ip(EIP).is_some(), taken, "{mode:?}");
            assert_eq!(hook_lost(&world), mode != WitnessMode::Off, "{mode:?}");
        });
    }
}

#[test]
fn a_lost_down_ends_a_claim_only_where_the_watchdog_is_trusted() {
    for (mode, released) in [(WitnessMode::Off, false), (WitnessMode::Check, false), (WitnessMode::Trust, true)] {
        in_paused_time(async move {
            let mut world = World::new(1, with(mode));
            says(&world, 0, true);
            world.start_with_leader_of(EIP, seconds(20)).await;
            says(&world, 0, false);
            pass(seconds(60)).await;
            assert_eq!(world.estate.elastic_ip(EIP).is_none(), released, "{mode:?}");
        });
    }
}

#[test]
fn a_watchdog_of_other_addresses_says_nothing() {
    in_paused_time(async {
        let mut world = World::new(1, with(WitnessMode::Trust));
        world.nodes[0].word.replace(Some(Word { escalated: true, delegate_ips: [ip(ADDRESS)].into(), quorum: None }));
        world.start();
        pass(seconds(120)).await;
        assert_eq!(world.estate.elastic_ip(EIP), None);
        assert!(!hook_lost(&world));
    });
}

#[test]
fn status_says_whether_the_watchdog_speaks_and_why_not() {
    in_paused_time(async {
        let mut world = World::new(1, with(WitnessMode::Check));
        world.start();
        pass(seconds(1)).await;
        let witness = |world: &World| {
            let condition = world.nodes[0].recorder.condition(EIP, ConditionName::Witness);
            (condition.holds, condition.reason.known().unwrap())
        };
        assert_eq!(witness(&world), (false, ConditionReason::NoSocket));
        says(&world, 0, false);
        pass(seconds(60)).await;
        assert_eq!(witness(&world), (true, ConditionReason::Answers));
        world.nodes[0].word.replace(Some(Word { escalated: true, delegate_ips: [ip(ADDRESS)].into(), quorum: None }));
        pass(seconds(60)).await;
        assert_eq!(witness(&world), (false, ConditionReason::OtherAddress));
        world.nodes[0].config.borrow_mut().as_mut().unwrap().witness = WitnessMode::Off;
        world.nodes[0].wake(Wake::Config);
        pass(seconds(1)).await;
        assert_eq!(witness(&world), (false, ConditionReason::Off));
    });
}

#[test]
fn the_last_word_of_a_watchdog_that_was_killed_begins_no_claim() {
    in_paused_time(async {
        let mut world = World::new(2, with(WitnessMode::Trust));
        world.estate.latency(millis(500));
        says(&world, 0, true);
        world.start_with_leader_of(EIP, seconds(20)).await;
        world.nodes[0].word.replace(None);
        world.nodes[0].computer.kill(world.guards[0]);
        for _ in 0..300 {
            pass(millis(100)).await;
            world.nodes[0].wake(Wake::DesiredChanged);
            assert!(!hook_lost(&world), "Pgpool is dead, no hook was lost");
        }
        assert_eq!(world.estate.elastic_ip(EIP), None, "it was released");
    });
}

/// Pgpool calls no hook when it starts as a standby, so nobody writes the file of the old leader anew.
#[test]
fn a_watchdog_that_is_started_again_and_stands_by_ends_the_alert_about_the_one_that_was_killed() {
    in_paused_time(async {
        let mut world = World::new(2, with(WitnessMode::Check));
        says(&world, 0, true);
        world.start_with_leader_of(EIP, seconds(20)).await;
        world.nodes[0].word.replace(None);
        world.nodes[0].computer.kill(world.guards[0]);
        world.up(1, EIP);
        pass(seconds(600)).await;
        let verdict = |world: &World| {
            let told = world.nodes[0].recorder.last();
            (told.vips[0].watchdog_is_gone(), Overall::of(&told, DaemonLife::Alive, told.written_ms))
        };
        assert_eq!(verdict(&world), (true, Overall::Attention), "Pgpool does not run there");
        says(&world, 0, false);
        pass(seconds(30)).await;
        assert_eq!(verdict(&world), (false, Overall::InSync));
        // Each question leaves the last answer in force until the next one.
        for _ in 0..300 {
            pass(millis(100)).await;
            assert!(!verdict(&world).0);
        }
        world.nodes[0].word.replace(None);
        pass(seconds(30)).await;
        assert!(verdict(&world).0, "it was stopped again");
    });
}

#[test]
fn a_reload_does_not_make_forget_what_the_watchdog_said() {
    in_paused_time(async {
        let world = leads_by_its_watchdogs_word_too().await;
        says(&world, 0, false);
        point_elastic_ip_by_hand(&world.estate, &world.estate.nodes[1].eni);
        let mark = world.mark();
        pass(seconds(60)).await;
        assert_eq!(world.writes(mark), []);
        world.nodes[0].wake(Wake::Config);
        pass(seconds(5)).await;
        assert_eq!(world.writes(mark), [], "nothing but a reload");
    });
}

#[test]
fn what_the_watchdog_forbids_stays_blocked_while_it_is_asked_anew() {
    for unheard in [true, false] {
        in_paused_time(async move {
            let world = leads_by_its_watchdogs_word_too().await;
            if unheard {
                world.nodes[0].stands_still.set(true);
            } else {
                says(&world, 0, false);
            }
            point_elastic_ip_by_hand(&world.estate, &world.estate.nodes[1].eni);
            pass(seconds(40)).await;
            let stolen = |world: &World| world.nodes[0].recorder.binding(EIP, &format!("elastic_ip {EIP}"));
            let before = stolen(&world);
            assert_eq!(before.state.as_str(), "blocked");
            for _ in 0..600 {
                pass(millis(100)).await;
                let now = stolen(&world);
                assert_eq!((now.state, now.since_ms), (before.state.clone(), before.since_ms), "unheard: {unheard}");
            }
        });
    }
}

/// A node that led, lost its `down`, and let go because its watchdog is trusted.
async fn stood_down_on_the_watchdogs_word() -> World {
    let mut world = World::new(1, with(WitnessMode::Trust));
    says(&world, 0, true);
    world.start();
    pass(seconds(1)).await;
    world.up(0, EIP);
    pass(seconds(20)).await;
    says(&world, 0, false);
    pass(seconds(80)).await;
    assert_eq!(world.estate.elastic_ip(EIP), None, "its `down` was lost");
    world
}

#[test]
fn a_hook_that_comes_at_last_counts_at_once_whatever_the_watchdog_said_before() {
    in_paused_time(async {
        let world = stood_down_on_the_watchdogs_word().await;
        says(&world, 0, true);
        world.up(0, EIP);
        pass(seconds(1)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
        world.down(0, EIP);
        pass(seconds(1)).await;
        assert_eq!(world.estate.elastic_ip(EIP), None);
    });
}

#[test]
fn a_restart_moves_nothing_that_the_watchdogs_word_began() {
    in_paused_time(async {
        let mut world = World::new(1, with(WitnessMode::Trust));
        says(&world, 0, false);
        world.down(0, EIP);
        world.start();
        pass(seconds(20)).await;
        says(&world, 0, true);
        pass(seconds(80)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "its `up` was lost");
        world.nodes[0].kill().await;
        let mark = world.mark();
        world.nodes[0].start();
        pass(seconds(120)).await;
        assert_eq!(world.writes(mark), []);
        assert_eq!(world.nodes[0].recorder.heard("direction: Gained"), Vec::<Duration>::new(), "it had the VIP before");
    });
}

#[test]
fn a_restart_takes_nothing_that_the_watchdogs_word_ended() {
    in_paused_time(async {
        let mut world = stood_down_on_the_watchdogs_word().await;
        world.nodes[0].kill().await;
        let mark = world.mark();
        world.nodes[0].start();
        pass(seconds(120)).await;
        assert_eq!(world.writes(mark), []);
    });
}

#[test]
fn a_watchdog_that_stands_still_for_a_moment_ends_no_claim_that_its_word_began() {
    for later_ms in (0..12_000).step_by(300) {
        in_paused_time(async move {
            let mut world = World::new(1, with(WitnessMode::Trust));
            says(&world, 0, false);
            world.down(0, EIP);
            world.start();
            pass(seconds(20)).await;
            says(&world, 0, true);
            pass(millis(60_000 + later_ms)).await;
            assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "its `up` was lost");
            let mark = world.mark();
            world.nodes[0].stands_still.set(true);
            pass(seconds(5)).await;
            world.nodes[0].stands_still.set(false);
            pass(seconds(60)).await;
            assert_eq!(world.writes(mark), [], "from {later_ms} ms on");
        });
    }
}

/// How many seconds pass until `holds`, in steps of a tenth.
async fn seconds_until(world: &World, holds: impl Fn(&World) -> bool) -> f64 {
    let mut tenths = 0_u32;
    while !holds(world) {
        assert!(tenths < 1200, "not within two minutes");
        pass(millis(100)).await;
        tenths += 1;
    }
    f64::from(tenths) / 10.0
}

#[test]
fn a_hook_that_does_not_come_is_known_to_be_lost_seconds_after_the_ten_that_it_may_take() {
    for later_ms in (0..30_000).step_by(1300) {
        in_paused_time(async move {
            let mut world = World::new(1, with(WitnessMode::Trust));
            says(&world, 0, false);
            world.start();
            pass(millis(20_000 + later_ms)).await;
            says(&world, 0, true);
            let took = seconds_until(&world, |world| world.estate.elastic_ip(EIP).is_some()).await;
            assert!((10.0..=18.0).contains(&took), "no hook has ever come: after {took} s");
        });
        in_paused_time(async move {
            let mut world = World::new(1, with(WitnessMode::Trust));
            says(&world, 0, false);
            world.start();
            pass(seconds(1)).await;
            world.down(0, EIP);
            pass(millis(20_000 + later_ms)).await;
            says(&world, 0, true);
            let took = seconds_until(&world, |world| world.estate.elastic_ip(EIP).is_some()).await;
            assert!((10.0..=23.0).contains(&took), "its `down` had come: after {took} s");
        });
    }
}

#[test]
fn a_watchdog_that_agrees_is_asked_each_ten_seconds_at_most_between_the_looks() {
    in_paused_time(async {
        let mut world = World::new(2, with(WitnessMode::Check));
        says(&world, 0, true);
        says(&world, 1, false);
        world.start();
        pass(seconds(1)).await;
        world.down(1, EIP);
        world.up(0, EIP);
        pass(seconds(60)).await;
        let count = |node: &SimNode| (node.asked.get(), node.recorder.passes.borrow().len());
        let before: Vec<_> = world.nodes.iter().map(count).collect();
        pass(seconds(300)).await;
        for (node, before) in world.nodes.iter().zip(before) {
            let (asked, looks) = (node.asked.get() - before.0, node.recorder.passes.borrow().len() - before.1);
            assert!((29..=30 + looks).contains(&asked), "asked {asked} times in five minutes of {looks} looks");
        }
    });
}

#[test]
fn a_watchdog_that_stays_silent_is_told_once_and_a_short_silence_is_not() {
    in_paused_time(async {
        let world = leads_by_its_watchdogs_word_too().await;
        let told = |world: &World| world.nodes[0].recorder.heard("WatchdogSilent").len();
        world.nodes[0].stands_still.set(true);
        pass(seconds(45)).await;
        world.nodes[0].stands_still.set(false);
        pass(seconds(90)).await;
        assert_eq!(told(&world), 0, "a hook of Pgpool may last as long");
        world.nodes[0].stands_still.set(true);
        pass(seconds(300)).await;
        assert_eq!(told(&world), 1);
        world.nodes[0].stands_still.set(false);
        pass(seconds(90)).await;
        assert_eq!(world.nodes[0].recorder.heard(&format!("WatchdogSilent {{ vip: {EIP}, why: None }}")).len(), 1);
        assert_eq!(told(&world), 2);
    });
}
