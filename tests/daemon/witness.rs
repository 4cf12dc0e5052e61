//! Pgpool's watchdog as a witness: what its word stops, and what it begins.

use vipkeeper::config::WitnessMode;
use vipkeeper::status::condition;
use vipkeeper::witness::Word;

use crate::world::*;

/// Pgpool's watchdog on this node says whether it holds the VIP.
fn says(world: &World, node: usize, escalated: bool) {
    let word = Word { escalated, delegate_ips: [ip(EIP)].into() };
    world.nodes[node].word.replace(Some(word));
}

fn with(mode: WitnessMode) -> impl FnOnce(&Estate) -> Config {
    move |estate| Config { witness: mode, ..elastic_ip(estate) }
}

fn hook_lost(world: &World) -> bool {
    let vip = world.nodes[0].recorder.vip(EIP);
    let mut conditions = vip.conditions.iter();
    conditions.find(|condition| condition.name == condition::HOOK_LOST).expect("it is always told").holds
}

#[test]
fn nothing_is_taken_back_against_the_watchdogs_word() {
    in_paused_time(async {
        let mut world = World::new(2, with(WitnessMode::Check));
        says(&world, 0, true);
        world.nodes[0].start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(20)).await;
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
        world.nodes[0].word.replace(Some(Word { escalated: true, delegate_ips: [ip(ADDRESS)].into() }));
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
            let condition = world.nodes[0].recorder.condition(EIP, condition::WITNESS);
            (condition.holds, condition.reason)
        };
        assert_eq!(witness(&world), (false, "NoSocket".to_owned()));
        says(&world, 0, false);
        pass(seconds(60)).await;
        assert_eq!(witness(&world), (true, "Answers".to_owned()));
        world.nodes[0].word.replace(Some(Word { escalated: true, delegate_ips: [ip(ADDRESS)].into() }));
        pass(seconds(60)).await;
        assert_eq!(witness(&world), (false, "OtherAddress".to_owned()));
        world.nodes[0].config.borrow_mut().as_mut().unwrap().witness = WitnessMode::Off;
        world.nodes[0].wake(Wake::Config);
        pass(seconds(1)).await;
        assert_eq!(witness(&world), (false, "Off".to_owned()));
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

#[test]
fn a_reload_does_not_make_forget_what_the_watchdog_said() {
    in_paused_time(async {
        let mut world = World::new(2, with(WitnessMode::Check));
        says(&world, 0, true);
        world.nodes[0].start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(20)).await;
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
fn a_hook_that_comes_at_last_counts_at_once_whatever_the_watchdog_said_before() {
    in_paused_time(async {
        let mut world = World::new(1, with(WitnessMode::Trust));
        says(&world, 0, true);
        world.start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(20)).await;
        says(&world, 0, false);
        pass(seconds(80)).await;
        assert_eq!(world.estate.elastic_ip(EIP), None, "its `down` was lost");
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
    });
}

#[test]
fn a_restart_takes_nothing_that_the_watchdogs_word_ended() {
    in_paused_time(async {
        let mut world = World::new(1, with(WitnessMode::Trust));
        says(&world, 0, true);
        world.start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(20)).await;
        says(&world, 0, false);
        pass(seconds(80)).await;
        assert_eq!(world.estate.elastic_ip(EIP), None, "its `down` was lost");
        world.nodes[0].kill().await;
        let mark = world.mark();
        world.nodes[0].start();
        pass(seconds(120)).await;
        assert_eq!(world.writes(mark), []);
    });
}
