//! Which `up` affirms a claim, and which begins one.

use std::path::Path;

use vipkeeper::commands::hook::{HookOutcome, down, up};
use vipkeeper::desired::file::{Leadership, Wanted};
use vipkeeper::desired::next::WatchdogProcess;
use vipkeeper::machine::process::{self, Process};

use crate::support::{IP, context, state};

/// This process, as a watchdog process that lives.
fn guard() -> Process {
    process::this_process().unwrap()
}

fn dead() -> Process {
    Process { start_time: guard().start_time + 1, ..guard() }
}

#[expect(clippy::unnecessary_wraps, reason = "a hook may have none")]
fn watchdog(guard: Process, escalation: Option<u32>) -> Option<WatchdogProcess> {
    Some(WatchdogProcess { guard, escalation: escalation.map(|pid| Process { pid, start_time: 1 }) })
}

fn lead(state_dir: &Path, ms_ago: u64, watchdog: Option<WatchdogProcess>) -> (Leadership, u64) {
    match up(&context(state_dir, ms_ago, watchdog), IP).unwrap() {
        HookOutcome::Written(file) => match file.wanted {
            Wanted::Leader(leadership) => (leadership, file.sequence),
            Wanted::Standby => panic!("up wrote standby"),
        },
        HookOutcome::Overtaken => panic!("overtaken"),
    }
}

#[test]
fn the_watchdog_process_that_calls_up_again_affirms_its_claim() {
    let state = state();
    let (begun, sequence) = lead(state.path(), 90, watchdog(guard(), Some(7)));
    assert_eq!(
        lead(state.path(), 80, watchdog(guard(), None)),
        (begun.clone(), sequence + 1),
        "an address left the host"
    );
    assert_eq!(lead(state.path(), 70, watchdog(guard(), Some(7))), (begun.clone(), sequence + 2), "a second command");
    // Affirmed means written: a `down` that started before must lose.
    assert_eq!(down(&context(state.path(), 80, None), IP).unwrap(), HookOutcome::Overtaken);
    assert_eq!(lead(state.path(), 60, watchdog(guard(), None)).0, begun);
}

#[test]
fn another_leadership_is_another_claim() {
    let state = state();
    let (first, _) = lead(state.path(), 90, watchdog(guard(), Some(7)));
    let (second, _) = lead(state.path(), 80, watchdog(guard(), Some(8)));
    assert!(second.claim != first.claim && second.started_ms > first.started_ms, "the down between them was lost");
    let other = Process { pid: 1, start_time: 1 };
    let (third, _) = lead(state.path(), 70, watchdog(other, None));
    assert!(third.claim != second.claim && third.guard == Some(other), "another watchdog process");
    down(&context(state.path(), 60, None), IP).unwrap();
    let (fourth, _) = lead(state.path(), 50, watchdog(other, None));
    assert_ne!(fourth.claim, third.claim, "after a down");
}

#[test]
fn an_up_by_hand_is_always_a_new_claim() {
    let state = state();
    let (first, _) = lead(state.path(), 90, None);
    let (second, _) = lead(state.path(), 80, None);
    assert_ne!(second.claim, first.claim);
    assert_eq!((second.guard, second.escalation), (None, None));
}

#[test]
fn an_up_by_hand_leaves_a_living_guard_in_charge_and_a_dead_one_behind() {
    let state = state();
    let (pgpools, _) = lead(state.path(), 90, watchdog(guard(), Some(7)));
    let (by_hand, _) = lead(state.path(), 80, None);
    assert_ne!(by_hand.claim, pgpools.claim);
    assert_eq!((by_hand.guard, by_hand.escalation), (pgpools.guard, pgpools.escalation));
    assert_eq!(lead(state.path(), 70, watchdog(guard(), None)).0, by_hand, "Pgpool affirms it from then on");

    lead(state.path(), 60, watchdog(dead(), Some(7)));
    assert_eq!(lead(state.path(), 50, None).0.guard, None);
}
