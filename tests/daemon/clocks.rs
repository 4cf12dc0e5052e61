//! Clocks that step, and machines that are suspended: the newest leader wins all the same, and nothing old looks fresh.

use vipkeeper::ec2::server_clock::ServerTime;
use vipkeeper::machine::clock::Discipline;
use vipkeeper::pgpool::watchdog::Word;
use vipkeeper::status::page::{DaemonLife, Overall, Style, page};

use crate::support::computer::EPOCH_MS;
use crate::world::*;

const HOUR_MS: i64 = 3_600_000;
/// EC2's clock is right, and each node knows it well.
const SERVER: Option<ServerTime> = Some(ServerTime { at_boot_ms: EPOCH_MS as i64, error_ms: 100 });

/// The time at which the older leader's clock steps.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    BeforeItIsNoticed,
    AfterItIsNoticed,
}

/// The changes of bindings that EC2 accepted.
fn moved(world: &World, mark: Mark) -> Vec<&'static str> {
    let is_change = |name: &str| !name.starts_with("Describe") && name != "CreateTags";
    let accepted = world.calls(mark).into_iter().filter(|(_, name, code)| is_change(name) && code == "OK");
    accepted.map(|(_, name, _)| name).collect()
}

/// The older leader's file cannot be used until the newer leader has taken. `change` happens to the older one's clock.
async fn noticed_late(step: Step, change: impl Fn(&SimNode)) -> World {
    let mut world = World::new(2, elastic_ip);
    world.start();
    pass(seconds(1)).await;
    world.nodes[0].computer.spoil_file(ip(EIP));
    world.up(0, EIP);
    pass(millis(5_200)).await;
    world.up(1, EIP);
    pass(seconds(1)).await;
    assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
    if step == Step::BeforeItIsNoticed {
        change(&world.nodes[0]);
    }
    world.nodes[0].computer.mend_file(ip(EIP));
    pass(millis(100)).await;
    if step == Step::AfterItIsNoticed {
        change(&world.nodes[0]);
    }
    pass(seconds(60)).await;
    world
}

#[test]
fn an_older_leader_that_is_noticed_late_does_not_win_by_a_clock_that_stepped() {
    for step in [Step::BeforeItIsNoticed, Step::AfterItIsNoticed] {
        for by_ms in [-4_000, -2_000, 2_000, 4_000] {
            in_paused_time(async move {
                let world = noticed_late(step, |node| node.computer.step_clock_ms(by_ms)).await;
                assert_eq!(world.estate.elastic_ip(EIP), world.eni(1), "{step:?}, by {by_ms} ms");
                let claim = world.nodes[0].recorder.vip(EIP).claim.unwrap();
                assert!(claim.superseded_by.is_some(), "{step:?}, by {by_ms} ms: {claim:?}");
            });
        }
    }
}

#[test]
fn a_newer_leader_whose_clock_steps_keeps_what_it_took() {
    for wait in [Duration::ZERO, millis(500), seconds(4), seconds(30)] {
        for by_ms in [-4_000, 4_000] {
            in_paused_time(async move {
                let mut world = World::new(2, elastic_ip);
                world.start_with_leader_of(EIP, millis(5_200)).await;
                world.up(1, EIP);
                pass(wait).await;
                world.nodes[1].computer.step_clock_ms(by_ms);
                pass(seconds(60)).await;
                assert_eq!(world.estate.elastic_ip(EIP), world.eni(1), "{by_ms} ms, {wait:?} after the hook");
                assert!(world.nodes[1].recorder.vip(EIP).in_sync, "{by_ms} ms, {wait:?} after the hook");
            });
        }
    }
}

#[test]
fn a_clock_that_steps_or_a_suspend_moves_nothing_in_any_phase_of_a_claim() {
    for event in [-HOUR_MS, -4_000, 4_000, HOUR_MS, 0] {
        for phase in ["taken", "held", "superseded", "down"] {
            in_paused_time(async move {
                let mut world = World::new(2, elastic_ip);
                world.nodes.iter().for_each(|node| node.ec2.time.set(SERVER));
                world.start_with_leader_of(EIP, millis(800)).await;
                if phase != "taken" {
                    pass(seconds(60)).await;
                }
                match phase {
                    "superseded" => world.up(1, EIP),
                    "down" => {
                        world.down(0, EIP);
                        world.up(1, EIP);
                    }
                    _ => {}
                }
                pass(seconds(8)).await;
                let before = world.estate.elastic_ip(EIP);
                assert!(before.is_some(), "{phase}");
                let mark = world.mark();
                if event == 0 {
                    world.nodes[0].computer.suspend(seconds(3_600));
                } else {
                    world.nodes[0].computer.step_clock_ms(event);
                }
                pass(seconds(120)).await;
                assert_eq!(world.estate.elastic_ip(EIP), before, "{event} ms while {phase}");
                assert_eq!(moved(&world, mark), [""; 0], "{event} ms while {phase}");
            });
        }
    }
}

/// Where the restarted daemon takes the age of its claim from.
#[test]
fn a_clock_that_was_set_back_makes_no_claim_young_over_a_restart() {
    in_paused_time(async {
        let mut world = World::new(2, elastic_ip);
        world.start();
        pass(seconds(1)).await;
        // The record cannot be written, so after its first minute the claim takes nothing from another any more.
        world.estate.fault(Fault::new(FaultKind::Deny).at("CreateTags"));
        let denied = world.estate.fault(Fault::new(FaultKind::Deny).at("AssociateAddress"));
        world.up(0, EIP);
        pass(seconds(90)).await;
        world.nodes[0].kill().await;
        world.estate.mend(denied);
        point_elastic_ip_by_hand(&world.estate, &world.estate.bystander.eni);
        world.nodes[0].computer.step_clock_ms(-HOUR_MS);
        let mark = world.mark();
        world.nodes[0].start();
        pass(seconds(60)).await;
        assert_eq!(moved(&world, mark), [""; 0], "{:?}", world.calls(mark));
    });
}

/// A leader whose take is being held up, and which was then suspended for a minute. The newer leader took meanwhile, and
/// EC2 no longer holds the older one up.
async fn resumed(mut world: World) -> (World, Mark) {
    let name = world.nodes[0].place.name.clone();
    world.start();
    pass(seconds(1)).await;
    let throttle = Fault::new(FaultKind::Throttle).at("AssociateAddress").of_caller(&name);
    let throttled = world.estate.fault(throttle);
    let unrecorded = world.estate.fault(Fault::new(FaultKind::Throttle).at("CreateTags").of_caller(&name));
    world.up(0, EIP);
    pass(millis(1_200)).await;
    world.nodes[1].computer.suspend(seconds(60));
    world.up(1, EIP);
    pass(millis(200)).await;
    assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
    world.estate.mend(throttled);
    world.estate.mend(unrecorded);
    let mark = world.mark();
    world.nodes[0].computer.suspend(seconds(60));
    pass(seconds(30)).await;
    (world, mark)
}

#[test]
fn a_claim_that_was_suspended_while_it_was_young_looks_before_it_takes() {
    in_paused_time(async {
        let (world, mark) = resumed(World::new(2, elastic_ip)).await;
        assert_eq!(moved(&world, mark), [""; 0], "{:?}", world.calls(mark));
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
    });
}

#[test]
fn a_take_that_waits_for_the_rate_limit_while_the_machine_is_suspended_does_not_go_out_unseen() {
    in_paused_time(async {
        let world = World::new(2, |estate| {
            let mut config = elastic_ip(estate);
            (config.limits.requests_per_s, config.limits.burst) = (0.5, 2);
            config
        });
        let (world, mark) = resumed(world).await;
        assert_eq!(moved(&world, mark), [""; 0], "{:?}", world.calls(mark));
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
    });
}

/// The timers of the runtime stand still while the machine is suspended.
#[test]
fn a_daemon_that_was_suspended_looks_at_once_and_asks_the_watchdog_before_it_follows_its_word() {
    in_paused_time(async {
        let mut world = World::new(2, |estate| {
            let mut config = elastic_ip(estate);
            config.witness = vipkeeper::config::WitnessMode::Trust;
            config
        });
        let word = |escalated| Some(Word { escalated, delegate_ips: [ip(EIP)].into(), quorum: None });
        world.nodes[0].word.replace(word(true));
        world.nodes[1].word.replace(word(false));
        world.start();
        pass(seconds(60)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "on the watchdog's word");
        // Meanwhile another node leads, and this node's watchdog knows by now. Nothing was written on the old word.
        let mark = world.mark();
        world.nodes[0].word.replace(word(false));
        world.nodes[1].word.replace(word(true));
        world.nodes[1].up(EIP, world.guards[1]);
        world.nodes[0].computer.suspend(seconds(3_600));
        world.nodes[1].computer.suspend(seconds(3_600));
        pass(seconds(20)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
        assert_eq!(moved(&world, mark), ["AssociateAddress"], "the new leader's take alone");
    });
}

/// The page of the first node as `vipkeeper status` shows it, and whether everything on it is well.
fn shown(world: &World) -> (String, Overall) {
    let status = world.nodes[0].recorder.last();
    let style = Style { width: None, colour: false };
    let overall = Overall::of(&status, DaemonLife::Alive, status.written_ms);
    (page(&status, DaemonLife::Alive, status.written_ms, style), overall)
}

#[test]
fn a_clock_that_is_a_second_off_is_told_in_both_directions_and_so_is_a_claim_that_it_dated() {
    for (skew_ms, side) in [(1_200, "ahead of"), (-1_200, "behind")] {
        in_paused_time(async move {
            let mut world = World::new(2, elastic_ip);
            world.nodes[0].ec2.time.set(SERVER);
            world.nodes[0].computer.set_skew_ms(skew_ms);
            world.start_with_leader_of(EIP, seconds(30)).await;
            let (page, overall) = shown(&world);
            assert_eq!(overall, Overall::Attention, "{page}");
            assert!(page.contains(&format!("this node's clock is 1 s or more {side} EC2's")), "{page}");
            let began = format!("when this claim began, this node's clock was 1.2 s {side} EC2's");
            assert!(page.contains(&began), "{page}");
            assert_eq!(world.nodes[0].recorder.heard("ClaimClock").len(), 1);
            assert_eq!(
                world.nodes[0].recorder.heard("reason: ClockOff").len(),
                1,
                "it is told once, and not in each turn"
            );
            // A step is seen without another answer of EC2. The claim stays what it is.
            world.nodes[0].computer.set_skew_ms(900);
            pass(seconds(8)).await;
            let (page, overall) = shown(&world);
            assert!(overall == Overall::InSync && page.contains(&began), "{page}");
            world.up(1, EIP);
            pass(seconds(60)).await;
            world.up(0, EIP);
            pass(seconds(30)).await;
            let (page, _) = shown(&world);
            assert!(!page.contains("this node's clock"), "{page}");
        });
    }
}

#[test]
fn a_claim_on_a_clock_that_nobody_synchronises_says_so() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        let unsynchronised = Discipline { synchronized: false, max_error: seconds(16) };
        world.nodes[0].computer.set_discipline(unsynchronised);
        world.start_with_leader_of(EIP, seconds(30)).await;
        let (page, overall) = shown(&world);
        assert_eq!(overall, Overall::InSync, "nobody knows that the clock is wrong: {page}");
        assert!(page.contains("this node's clock is not synchronised"), "{page}");
        assert!(page.contains("when this claim began, this node's clock was not synchronised"), "{page}");
        let told = world.nodes[0].recorder.last().clock.unwrap();
        assert_eq!((told.synchronized, told.max_error_ms, told.ahead_ms), (Some(false), Some(16_000), None));
        assert_eq!(world.nodes[0].recorder.heard("ClaimClock").len(), 1);
        // A restart under the same claim tells nothing anew.
        world.nodes[0].kill().await;
        world.nodes[0].start();
        pass(seconds(30)).await;
        assert!(world.nodes[0].recorder.heard("ClaimClock").is_empty());
    });
}

/// Whose clock was wrong is decided by EC2's.
#[test]
fn a_clock_that_goes_wrong_after_the_hook_changes_no_term_and_one_that_was_wrong_at_it_is_mended() {
    in_paused_time(async {
        let mut world = World::new(2, elastic_ip);
        world.nodes.iter().for_each(|node| node.ec2.time.set(SERVER));
        world.nodes[1].computer.set_skew_ms(-HOUR_MS);
        world.start_with_leader_of(EIP, seconds(30)).await;
        let term = world.nodes[0].recorder.vip(EIP).claim.unwrap().term;
        world.nodes[0].computer.step_clock_ms(HOUR_MS);
        pass(seconds(30)).await;
        assert_eq!(world.nodes[0].recorder.vip(EIP).claim.unwrap().term, term);
        // The next leader's clock is an hour behind and stays so.
        world.up(1, EIP);
        pass(seconds(30)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
        assert!(world.nodes[1].recorder.vip(EIP).claim.unwrap().term > term);
    });
}
