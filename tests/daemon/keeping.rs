//! A node whose leadership ended, whose Pgpool goes on serving, and that keeps its bindings for a successor.

use vipkeeper::binding::Handover;
use vipkeeper::observe::seen::{Port, Quorum};
use vipkeeper::pgpool::watchdog::Word;

use crate::world::*;

/// An Elastic IP and a route, so that a local address is there too.
fn both(handover: Handover) -> impl FnOnce(&Estate) -> Config {
    move |estate| {
        estate.allocate(EIP);
        let tables = estate.add_tables(1);
        estate.fault(Fault::new(FaultKind::latency(millis(150))));
        let vips = vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables)])];
        Config { handover, ..config(vips) }
    }
}

/// A node that has led for a minute and whose Pgpool answers; the others stand by.
async fn leader(nodes: usize, config: impl FnOnce(&Estate) -> Config) -> World {
    let mut world = World::new(nodes, config);
    world.start_with_leader_of(EIP, seconds(60)).await;
    world.nodes[0].port.set(Port::Answers);
    world
}

fn guard_dies(world: &World, node: usize) {
    world.timeline.say(&world.nodes[node].place.name, format_args!("the guard dies"));
    world.nodes[node].computer.kill(world.guards[node]);
}

fn quorum(world: &World, node: usize, quorum: Option<Quorum>) {
    world.nodes[node].word.replace(Some(Word { escalated: false, delegate_ips: [ip(EIP)].into(), quorum }));
}

/// Whether the first node still has everything of the VIP.
fn is_kept(world: &World) -> bool {
    let kept = [world.estate.elastic_ip(EIP) == world.eni(0), world.nodes[0].has_local(ADDRESS)];
    assert!(kept[0] == kept[1] || world.estate.elastic_ip(EIP).is_some_and(|at| Some(at) != world.eni(0)), "{kept:?}");
    kept == [true; 2]
}

#[test]
fn a_node_whose_guard_died_keeps_the_vip_while_pgpool_answers_but_not_for_long() {
    in_paused_time(async {
        let world = leader(1, both(Handover::AfterGuard)).await;
        let mark = world.mark();
        guard_dies(&world, 0);
        pass(seconds(14)).await;
        assert!(is_kept(&world));
        let writes = world.writes(mark);
        assert_eq!(writes.iter().map(|(_, name)| *name).collect::<Vec<_>>(), ["CreateTags"], "it withdraws its claim");
        assert!(writes[0].0 < seconds(62), "and does so at once: {writes:?}");
        let shown = world.nodes[0].recorder.binding(EIP, &format!("elastic_ip {EIP}"));
        assert!(shown.state.as_str() == "waiting" && shown.detail.contains("kept until a successor"), "{shown:?}");
        assert!(world.nodes[0].computer.resets().is_empty());
        // One look and two reads each second, and two knocks.
        assert!(world.calls(mark).len() <= 1 + 3 * 16, "{}", world.calls(mark).len());
        assert!((20..=30).contains(&world.nodes[0].knocks.get()), "{}", world.nodes[0].knocks.get());

        pass(millis(1_500)).await;
        assert_eq!(world.estate.elastic_ip(EIP), None);
        assert!(!world.nodes[0].has_local(ADDRESS));
        assert_eq!(world.nodes[0].computer.resets(), [ip(ADDRESS)]);
        let knocks = world.nodes[0].knocks.get();
        pass(seconds(60)).await;
        assert_eq!(world.nodes[0].knocks.get(), knocks, "Pgpool is left alone afterwards");
    });
}

#[test]
fn the_same_node_that_is_elected_again_has_had_the_vip_all_the_time() {
    in_paused_time(async {
        let mut world = leader(2, both(Handover::AfterGuard)).await;
        let mark = world.mark();
        guard_dies(&world, 0);
        pass(millis(10)).await;
        // The watchdog process that Pgpool started anew calls `down` first.
        world.guards[0] = world.nodes[0].computer.spawn();
        world.down(0, EIP);
        for _ in 0..118 {
            pass(millis(100)).await;
            assert!(is_kept(&world));
        }
        world.up(0, EIP);
        for _ in 0..200 {
            pass(millis(100)).await;
            assert!(is_kept(&world));
        }
        assert!(world.nodes[0].recorder.vip(EIP).in_sync);
        let writes = world.writes(mark).into_iter().map(|(_, name)| name);
        let moved: Vec<_> = writes.filter(|name| !name.ends_with("Tags") && *name != "ReplaceRoute").collect();
        assert_eq!(moved, [""; 0], "a young claim only replaces its route by the very same");
    });
}

#[test]
fn a_watchdog_that_was_elected_again_may_have_no_quorum_until_the_others_have_joined_it() {
    in_paused_time(async {
        let mut world = leader(2, both(Handover::AfterGuard)).await;
        guard_dies(&world, 0);
        pass(millis(10)).await;
        world.guards[0] = world.nodes[0].computer.spawn();
        world.down(0, EIP);
        pass(seconds(2)).await;
        quorum(&world, 0, Some(Quorum::Lost));
        pass(seconds(2)).await;
        assert!(is_kept(&world), "the others are joining");
        quorum(&world, 0, Some(Quorum::Has));
        world.up(0, EIP);
        pass(seconds(20)).await;
        assert!(is_kept(&world) && world.nodes[0].recorder.vip(EIP).in_sync);
        assert!(world.nodes[0].computer.resets().is_empty(), "its connections live on");
    });
}

#[test]
fn a_watchdog_that_stays_without_a_quorum_keeps_nothing() {
    in_paused_time(async {
        let world = leader(1, both(Handover::AfterGuard)).await;
        guard_dies(&world, 0);
        quorum(&world, 0, Some(Quorum::Lost));
        pass(millis(2_500)).await;
        assert!(is_kept(&world), "the others may still join");
        pass(millis(2_500)).await;
        assert!(!is_kept(&world), "nobody has joined");

        let world = leader(1, both(Handover::AfterGuard)).await;
        quorum(&world, 0, Some(Quorum::Lost));
        pass(seconds(25)).await;
        guard_dies(&world, 0);
        pass(millis(1_500)).await;
        assert!(!is_kept(&world), "the quorum was lost long before");
    });
}

#[test]
fn a_successor_takes_at_once_and_the_former_leader_lets_go_when_it_sees_the_claim() {
    in_paused_time(async {
        let world = leader(2, both(Handover::AfterGuard)).await;
        guard_dies(&world, 0);
        pass(seconds(3)).await;
        world.up(1, EIP);
        pass(millis(400)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
        pass(millis(1_100)).await;
        assert!(!world.nodes[0].has_local(ADDRESS), "after one look");
        assert_eq!(world.nodes[0].computer.resets(), [ip(ADDRESS)]);
        pass(seconds(30)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
        assert!(world.nodes[1].recorder.vip(EIP).in_sync);
    });
}

#[test]
fn a_leader_that_had_been_superseded_still_follows_at_once() {
    in_paused_time(async {
        let mut world = World::new(2, both(Handover::AfterGuard));
        world.start_with_leader_of(EIP, seconds(30)).await;
        let word = Word { escalated: true, delegate_ips: [ip(EIP)].into(), quorum: Some(Quorum::Has) };
        world.nodes[0].word.replace(Some(word));
        world.up(1, EIP);
        pass(seconds(30)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
        world.nodes[1].port.set(Port::Answers);
        guard_dies(&world, 1);
        pass(millis(2_500)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "it takes what the other one only keeps");
        pass(millis(1_500)).await;
        assert!(!world.nodes[1].has_local(ADDRESS));
    });
}

#[test]
fn nothing_is_kept_by_a_node_whose_pgpool_does_not_answer() {
    in_paused_time(async {
        for (answers_for, released_within) in [(None, millis(300)), (Some(seconds(4)), millis(900))] {
            let world = leader(1, both(Handover::AfterGuard)).await;
            if answers_for.is_none() {
                world.nodes[0].port.set(Port::Silent);
            }
            guard_dies(&world, 0);
            pass(answers_for.unwrap_or_default()).await;
            world.nodes[0].port.set(Port::Silent);
            pass(released_within).await;
            assert!(!is_kept(&world), "{answers_for:?}");
            assert_eq!(world.estate.elastic_ip(EIP), None, "{answers_for:?}");
        }
    });
}

#[test]
fn a_node_that_sees_no_record_keeps_nothing() {
    in_paused_time(async {
        let world = leader(1, |estate| Config { claims: ClaimMode::Off, ..both(Handover::Always)(estate) }).await;
        guard_dies(&world, 0);
        pass(millis(300)).await;
        assert!(!is_kept(&world), "claims are off");

        for (how, within) in [(Cut::Refuse, millis(2_500)), (Cut::Hang, millis(9_500))] {
            let world = leader(1, both(Handover::AfterGuard)).await;
            guard_dies(&world, 0);
            pass(millis(500)).await;
            world.estate.fault(Fault::new(FaultKind::Cut { how }));
            pass(within).await;
            assert!(!world.nodes[0].has_local(ADDRESS), "{how:?}");
        }
    });
}

#[test]
fn a_down_releases_at_once_unless_the_configuration_and_the_watchdog_say_otherwise() {
    in_paused_time(async {
        let (has, none) = (Some(Quorum::Has), Some(Quorum::NoLeader));
        for (handover, word, kept) in [
            (Handover::AfterGuard, has, false),
            (Handover::AtOnce, has, false),
            (Handover::Always, has, true),
            (Handover::Always, none, true),
            (Handover::Always, Some(Quorum::Lost), false),
            (Handover::Always, None, false),
        ] {
            let world = leader(1, both(handover)).await;
            quorum(&world, 0, word);
            world.down(0, EIP);
            // Where no word on the quorum comes, it is waited for no longer than a second.
            let waits = handover == Handover::Always && word.is_none();
            pass(if waits { millis(1_600) } else { millis(300) }).await;
            assert_eq!(is_kept(&world), kept, "{handover:?} {word:?}");
            if kept {
                pass(seconds(5)).await;
                assert!(is_kept(&world), "{handover:?} {word:?}");
                quorum(&world, 0, Some(Quorum::Lost));
                pass(millis(1_500)).await;
                assert!(!is_kept(&world), "its quorum is lost");
            }
        }
        let world = leader(1, both(Handover::AtOnce)).await;
        guard_dies(&world, 0);
        pass(millis(300)).await;
        assert!(!is_kept(&world));
    });
}

#[test]
fn a_restart_neither_ends_nor_prolongs_the_time_for_which_the_vip_is_kept() {
    in_paused_time(async {
        let mut world = leader(1, both(Handover::AfterGuard)).await;
        guard_dies(&world, 0);
        pass(seconds(5)).await;
        world.nodes[0].kill().await;
        world.nodes[0].start();
        for _ in 0..80 {
            pass(millis(100)).await;
            assert!(is_kept(&world));
        }
        assert!(world.nodes[0].computer.resets().is_empty());
        pass(millis(3_500)).await;
        assert!(!is_kept(&world), "15 s after the guard's death");
    });
}

#[test]
fn a_guard_that_dies_while_the_daemon_is_down_is_noticed_by_the_next_daemon_as_by_the_last() {
    in_paused_time(async {
        let mut world = leader(1, both(Handover::AfterGuard)).await;
        world.nodes[0].kill().await;
        guard_dies(&world, 0);
        pass(seconds(1)).await;
        world.nodes[0].start();
        for _ in 0..120 {
            pass(millis(100)).await;
            assert!(is_kept(&world));
        }
        pass(seconds(5)).await;
        assert!(!is_kept(&world));
    });
}
