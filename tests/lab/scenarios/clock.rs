//! The wall clock of one node comes to be off: by 2 s, and by more than lies between two claims. Claims are ordered by it.
//!
//! Off from the start, it would decide Pgpool's first election as well, in which the eldest wins.

use super::super::client::now;
use super::super::report::seconds;
use super::super::software::Setup;
use super::super::vpc::Method;
use super::pgpool::{Twice, twice};
use super::{GOAL, NOWHERE, Open, Scenario, another_leads, others, plain, s};

/// The beginning of the error of a node whose clock is off.
const CLOCK_OFF: &str = "this node's clock is ";

fn own_clocks(method: Method) -> Setup {
    Setup { own_clocks: true, ..plain(method) }
}

/// Pgpool elects by `wd_priority`, and the first node has the highest.
fn successor(old: usize) -> usize {
    others(old).next().expect("there are three nodes")
}

/// The successor's claim looks older than it is.
pub const BEHIND: Scenario = Scenario {
    name: "kill -9 of all of Pgpool, and the successor's clock is 2 s behind",
    short: NOWHERE,
    setup: own_clocks,
    goal: GOAL,
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        let successor = successor(old);
        lab.put_clock_ahead(successor, -2);
        let at = now();
        lab.machine(old).kill("pgpool");
        let moved = another_leads(lab, old, at);
        assert_eq!(moved.leader, successor, "the node whose clock is behind was to lead");
        moved.ends("released")
    },
    errors: &[CLOCK_OFF],
};

/// More than lies between two elections; less than the 5 s of silence after which a jump makes Pgpool lose its peers.
const FAR: u32 = 4;

/// The claim that is to be followed looks younger than the one that follows.
pub const AHEAD: Scenario = Scenario {
    name: "two failovers, and the clock of the leader in between is 4 s ahead",
    short: NOWHERE,
    setup: own_clocks,
    goal: GOAL,
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        let successor = successor(old);
        lab.put_clock_ahead(successor, FAR.into());
        let Twice { second, between, story } = twice(lab, old);
        assert_eq!(second, successor, "the node whose clock is ahead was to lead in between");
        assert!(between < s(FAR.into()), "by the clocks, the last claim was to look older: {}", seconds(between));
        story
    },
    errors: &[CLOCK_OFF],
};
