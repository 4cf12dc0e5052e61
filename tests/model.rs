//! The claim rules, checked exhaustively at small scope: every order in which hooks, looks, writes, losses, delays,
//! restarts and changes by hand can follow one another. Each node has the daemon's own `Memory` and planner.
//!
//! The rules after every step: a node that has seen a newer claim points nothing at itself, a release never removes a
//! pointer to another node (except the unconditional deletion of a route), a restore takes the binding from nobody, and a
//! node that keeps the binding after its leadership gives way to a newer claim that it has seen.
//! The rule for every state: if from then on the nodes only pass in turn, the binding ends at the rightful leader
//! within three passes of each node, and stays there.
//!
//! `cargo test --test model -- --nocapture` prints the number of visited states. `VIPKEEPER_MODEL_DEPTH=2` explores far
//! more.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, wait, and look at its environment; what reads well counts more than its form"
)]

#[path = "model/explore.rs"]
mod explore;
#[path = "model/hash.rs"]
mod hash;
#[path = "model/local.rs"]
mod local;
#[path = "model/rules.rs"]
mod rules;
#[path = "model/world.rs"]
mod world;

use explore::{Found, explore};
use rules::Pointing::{ElasticIp, Route, RouteDeleted, SecondaryIp};
use rules::{Mutant, Rightful, Setup};

/// The greatest number of states for one exploration. A scope with more states is too large for that depth.
const MOST: usize = 60_000_000;

fn holds(setup: Setup) -> Found {
    let found = explore(setup, MOST);
    println!("{found}");
    assert!(found.violation.is_none(), "{}: {found}", setup.name);
    assert!(found.complete, "{}: more than {MOST} states", setup.name);
    found
}

fn deeper() -> bool {
    std::env::var("VIPKEEPER_MODEL_DEPTH").is_ok_and(|depth| depth.parse::<u32>().is_ok_and(|depth| depth > 1))
}

#[test]
fn an_elastic_ip_ends_at_the_newest_leader() {
    holds(Setup { stale: 1, ..Setup::new("two leaderships, stale reads", ElasticIp) });
    holds(Setup { ups: 3, ..Setup::new("three leaderships", ElasticIp) });
    holds(Setup {
        ups: 1,
        drifts: 2,
        faults: 1,
        stale: 1,
        ..Setup::new("one leadership, two changes, a fault", ElasticIp)
    });
    holds(Setup { drifts: 1, ..Setup::new("two leaderships, a change by hand", ElasticIp) });
    holds(Setup { faults: 1, ..Setup::new("two leaderships, a fault", ElasticIp) });
    if deeper() {
        holds(Setup { stale: 1, drifts: 1, ..Setup::new("two leaderships, stale reads, a change", ElasticIp) });
        holds(Setup { stale: 1, faults: 1, ..Setup::new("two leaderships, stale reads, a fault", ElasticIp) });
        holds(Setup { stale: 1, ups: 3, ..Setup::new("three leaderships, stale reads", ElasticIp) });
        holds(Setup { drifts: 1, faults: 1, ..Setup::new("two leaderships, a change, a fault", ElasticIp) });
        holds(Setup { drifts: 2, ..Setup::new("two leaderships, two changes", ElasticIp) });
    }
}

#[test]
fn a_restarted_daemon_and_slow_answers_change_nothing() {
    holds(Setup { slow_looks: true, ..Setup::new("slow looks", ElasticIp) });
    holds(Setup { restarts: 1, forgetful: true, ..Setup::new("a restart", ElasticIp) });
    if deeper() {
        holds(Setup { slow_answers: true, ..Setup::new("slow answers", ElasticIp) });
        holds(Setup { slow_looks: true, stale: 1, ..Setup::new("slow looks, stale reads", ElasticIp) });
        holds(Setup { restarts: 1, stale: 1, ..Setup::new("a restart, stale reads", ElasticIp) });
        holds(Setup { restarts: 1, faults: 1, ..Setup::new("a restart, a fault", ElasticIp) });
    }
}

#[test]
fn a_route_ends_at_the_newest_leader() {
    holds(Setup { stale: 1, ..Setup::new("route: two leaderships, stale reads", Route) });
    holds(Setup { drifts: 1, ..Setup::new("route: a change by hand", Route) });
    holds(Setup { faults: 1, ..Setup::new("route: a fault", Route) });
    let found = holds(Setup { stale: 1, ..Setup::new("deleted route: stale reads", RouteDeleted) });
    // EC2 cannot delete a route on a condition. `on_release = "delete"` therefore leaves a moment in which a node can
    // delete a route that another node has just replaced.
    assert!(found.deleted_another > 0);
    if deeper() {
        holds(Setup { stale: 1, drifts: 1, ..Setup::new("route: stale reads, a change", Route) });
        holds(Setup { stale: 1, faults: 1, ..Setup::new("route: stale reads, a fault", Route) });
        holds(Setup { ups: 3, ..Setup::new("route: three leaderships", Route) });
        holds(Setup { drifts: 1, ..Setup::new("deleted route: a change by hand", RouteDeleted) });
    }
}

#[test]
fn a_secondary_address_ends_at_the_newest_leader() {
    holds(Setup { stale: 1, ..Setup::new("secondary address: stale reads", SecondaryIp) });
    holds(Setup { drifts: 1, ..Setup::new("secondary address: a change by hand", SecondaryIp) });
    if deeper() {
        holds(Setup { stale: 1, drifts: 1, ..Setup::new("secondary address: stale reads, a change", SecondaryIp) });
        holds(Setup { faults: 1, ..Setup::new("secondary address: a fault", SecondaryIp) });
        holds(Setup { ups: 3, ..Setup::new("secondary address: three leaderships", SecondaryIp) });
    }
}

/// A node whose Pgpool goes on serving after its leadership ended keeps the binding for some time.
#[test]
fn what_is_kept_for_a_successor_ends_at_it_and_at_nobody_without_one() {
    holds(Setup { keeps: true, stale: 1, ..Setup::new("kept: stale reads", ElasticIp) });
    holds(Setup { keeps: true, stale: 1, ..Setup::new("kept secondary address: stale reads", SecondaryIp) });
    holds(Setup { keeps: true, quorums_lost: 1, ..Setup::new("kept: the quorum is lost", ElasticIp) });
    if deeper() {
        holds(Setup { keeps: true, restarts: 1, ..Setup::new("kept: a restart", ElasticIp) });
        holds(Setup { keeps: true, ups: 3, ..Setup::new("kept: three leaderships", ElasticIp) });
        holds(Setup { keeps: true, drifts: 1, ..Setup::new("kept: a change by hand", ElasticIp) });
        holds(Setup { keeps: true, slow_looks: true, ..Setup::new("kept: slow looks", ElasticIp) });
    }
}

/// A test of its own, so that another core has room for it.
#[test]
fn what_is_kept_ends_at_its_successor_in_spite_of_a_fault() {
    holds(Setup { keeps: true, faults: 1, ..Setup::new("kept: a fault", ElasticIp) });
}

#[test]
fn three_nodes_agree_too() {
    holds(Setup { nodes: 3, ..Setup::new("three nodes, two leaderships", ElasticIp) });
    if deeper() {
        holds(Setup { nodes: 3, ups: 3, ..Setup::new("three nodes, three leaderships", ElasticIp) });
        holds(Setup { nodes: 3, stale: 1, ..Setup::new("three nodes, stale reads", ElasticIp) });
    }
}

#[test]
fn clocks_may_differ_by_less_than_the_time_between_leaderships() {
    holds(Setup { skew_ms: [4000, 0, 0], ..Setup::new("clocks 4 s apart", ElasticIp) });
    if deeper() {
        holds(Setup { skew_ms: [0, 4000, 0], stale: 1, ..Setup::new("clocks 4 s apart, stale reads", ElasticIp) });
        holds(Setup { skew_ms: [4000, 0, 0], drifts: 1, ..Setup::new("clocks 4 s apart, a change", ElasticIp) });
    }
}

/// The assumptions are broken here. Whoever wins, all nodes must agree on the winner and come to rest.
#[test]
fn beyond_its_assumptions_the_nodes_still_agree() {
    let on_record = |name| Setup { rightful: Rightful::OnRecord, stale: 1, ..Setup::new(name, ElasticIp) };
    holds(Setup { skew_ms: [9000, 0, 0], ..on_record("clocks 9 s apart") });
    holds(Setup { spaced: false, ..on_record("leaderships at once") });
}

#[test]
fn without_a_record_nobody_fights() {
    let only_leader = |name| Setup { rightful: Rightful::OnlyLeader, long_pauses: true, ..Setup::new(name, ElasticIp) };
    holds(Setup { claims_off: true, stale: 1, ..only_leader("claims off, stale reads") });
    holds(Setup { tags_refused: true, ..only_leader("claims not writable") });
    if deeper() {
        holds(Setup { claims_off: true, drifts: 1, ..only_leader("claims off, a change") });
        holds(Setup { claims_off: true, faults: 1, ..only_leader("claims off, a fault") });
        holds(Setup { tags_refused: true, drifts: 1, ..only_leader("claims not writable, a change") });
    }
}

/// If reads are fresh and writes are quick, a newer leader is not disturbed even for a moment.
#[test]
fn in_good_order_an_older_claim_never_takes_from_a_newer_one() {
    holds(Setup { timely: true, nodes: 3, ..Setup::new("timely, three nodes", ElasticIp) });
    holds(Setup { timely: true, ups: 3, ..Setup::new("timely, three leaderships", Route) });
    holds(Setup { timely: true, faults: 1, restarts: 1, ..Setup::new("timely, a lost call, a restart", ElasticIp) });
}

/// Shows that the check can fail: without any one of the rules, it does fail.
#[test]
fn without_any_one_rule_something_breaks() {
    let base = Setup { drifts: 1, stale: 1, ..Setup::new("", ElasticIp) };
    let timely = Setup { timely: true, faults: 1, ..Setup::new("", ElasticIp) };
    let keeps = Setup { keeps: true, stale: 1, ..Setup::new("", ElasticIp) };
    let route = Setup::new("", Route);
    let thrice = Setup { timely: true, ups: 3, ..Setup::new("", Route) };
    for (name, mutant, setup) in [
        ("the record is never read", Mutant::ClaimsNotRead, base),
        ("one tag for all nodes", Mutant::SharedTag, base),
        ("what is gone is put back by force", Mutant::RestoreTakes, base),
        ("no second look", Mutant::OneLook, timely),
        ("a newer claim ends nothing", Mutant::NeverSuperseded, base),
        ("released whatever is there", Mutant::ReleasesWhateverIsThere, base),
        ("taken by force at any age", Mutant::AlwaysFresh, timely),
        ("terms raised at any time", Mutant::RaisesAlways, base),
        ("one stale look revives a claim", Mutant::ForgetsRivals, base),
        ("claims are never withdrawn", Mutant::NeverWithdraws, base),
        ("a withdrawal does not say what it ends", Mutant::EndsUnnamed, base),
        ("an older read revives a claim", Mutant::BelievesOldReads, base),
        ("leftovers are looked at twice", Mutant::LeftoversWait, route),
        ("all that withdrew left leftovers", Mutant::AllAreLeftovers, thrice),
        ("kept from a successor", Mutant::KeepsFromASuccessor, keeps),
        ("kept for ever", Mutant::KeepsForEver, keeps),
        ("kept without a quorum", Mutant::KeepsWithoutQuorum, Setup { quorums_lost: 1, stale: 0, ..keeps }),
        ("taken back whoever has it", Mutant::AnyHolder, Setup { drifts: 1, ..timely }),
    ] {
        let found = explore(Setup { name, mutant: Some(mutant), ..setup }, 3_000_000);
        println!("{found}");
        assert!(found.violation.is_some(), "{name}: nothing breaks, so the check cannot tell");
    }
}
