//! Whole clusters from a seed, in paused time: every node has the real loop, planner and memory, EC2 is simulated, and
//! everything around the nodes breaks. `cluster` says what each cluster must fulfil.
//!
//! `VIPKEEPER_CLUSTERS=6500` runs that many clusters instead of those of an ordinary run. `VIPKEEPER_SEED=17
//! VIPKEEPER_CLUSTERS=1` repeats one cluster. A run that fails is repeated, and its whole timeline is printed.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, wait, and look at its environment; what reads well counts more than its form"
)]

mod abandoned;
mod by_hand;
mod checks;
mod cluster;
mod half_votes;
mod kill;
mod rolling;
#[path = "../support/mod.rs"]
mod support;
mod watchdog;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cluster::{Failure, Flaw, Keep, Outcome, run};

/// The clusters of an ordinary run: the seeds below `FIXED`, and `RANDOM` random seeds.
const FIXED: u64 = 2_300;
const RANDOM: u64 = 700;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[test]
fn clusters_converge_and_keep_the_rules_whatever_breaks() {
    let seeds: Vec<u64> = match (number("VIPKEEPER_SEED"), number("VIPKEEPER_CLUSTERS")) {
        (Some(seed), clusters) => (seed..seed + clusters.unwrap_or(1)).collect(),
        (None, clusters) => {
            let (fixed, random) = clusters.map_or((FIXED, RANDOM), |all| (all - all / 4, all / 4));
            let base = fastrand::u64(1 << 32..1 << 60);
            println!("{fixed} clusters from seed 0 and {random} from seed {base}");
            (0..fixed).chain(base..base + random).collect()
        }
    };
    let began = Instant::now();
    let outcomes = run_all(&seeds);
    Tally { outcomes }.print(began.elapsed());
}

/// Runs these clusters on all cores. Each cluster has its own runtime and shares nothing with the others.
fn run_all(seeds: &[u64]) -> Vec<Outcome> {
    let (next, failed) = (AtomicUsize::new(0), AtomicU64::new(u64::MAX));
    let worker = || {
        let mut outcomes = Vec::new();
        while failed.load(Ordering::Relaxed) == u64::MAX
            && let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed))
        {
            match run(*seed, Flaw::None, Keep::Nothing) {
                Ok(outcome) => outcomes.push(outcome),
                Err(_) => drop(failed.fetch_min(*seed, Ordering::Relaxed)),
            }
        }
        outcomes
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(seeds.len());
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a failure is no panic")).collect()
    });
    match failed.into_inner() {
        u64::MAX => outcomes,
        seed => panic!("{}\n{}", explained(seed), how_to_repeat(seed)),
    }
}

struct Tally {
    outcomes: Vec<Outcome>,
}

impl Tally {
    fn print(&self, took: Duration) {
        let clusters = self.outcomes.len();
        let per_minute = 60.0 * clusters as f64 / took.as_secs_f64();
        println!("{clusters} clusters in {:.1} s, {per_minute:.0} a minute", took.as_secs_f64());
        println!("from the end of the last fault to the last pointer at its leader:");
        let mut by_kind: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
        for outcome in &self.outcomes {
            by_kind.entry(&outcome.last).or_default().push(outcome.converged_after);
            by_kind.entry("(all)").or_default().push(outcome.converged_after);
        }
        println!("{:<18} {:>8} {:>10} {:>10}", "last fault", "clusters", "median s", "worst s");
        for (kind, mut times) in by_kind {
            times.sort();
            let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
            println!("{kind:<18} {:>8} {:>10.2} {:>10.2}", times.len(), median.as_secs_f64(), worst.as_secs_f64());
        }
        let claims: u64 = self.outcomes.iter().map(|outcome| outcome.claims).sum();
        let per_claim = || self.outcomes.iter().flat_map(|outcome| &outcome.calls_per_claim);
        let mean = |calls: u64| calls as f64 / claims.max(1) as f64;
        println!(
            "{claims} leaderships; in the ten seconds after each `up`, its node makes {:.1} writes and {:.1} reads",
            mean(per_claim().map(|(writes, _)| writes).sum()),
            mean(per_claim().map(|(_, reads)| reads).sum()),
        );
        let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
        for (kind, count) in self.outcomes.iter().flat_map(|outcome| &outcome.faults) {
            *faults.entry(kind).or_default() += count;
        }
        let all: u64 = faults.iter().filter(|(kind, _)| !kind.contains(" of ")).map(|(_, count)| count).sum();
        println!("{all} faults: {faults:?}");
        let (reads, writes): (u64, u64) = self
            .outcomes
            .iter()
            .fold((0, 0), |(reads, writes), outcome| (reads + outcome.reads, writes + outcome.writes));
        println!("{reads} reads and {writes} writes in all");
    }
}

/// Repeats a failed run and keeps its timeline.
fn explained(seed: u64) -> Failure {
    run(seed, Flaw::None, Keep::Timeline).expect_err("the same seed gives the same run")
}

fn how_to_repeat(seed: u64) -> String {
    format!("repeat it: VIPKEEPER_SEED={seed} VIPKEEPER_CLUSTERS=1 cargo test --test simulation -- --nocapture")
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..50 {
        let run = || run(seed, Flaw::None, Keep::Nothing).map(|outcome| (outcome.digest, outcome.converged_after));
        let (first, second) = (run(), run());
        assert_eq!(first.map_err(|failure| failure.what), second.map_err(|failure| failure.what), "seed {seed}");
    }
}

/// Runs clusters with a flaw until a check fails that says this.
fn caught_by(flaw: Flaw, what: &str) {
    let failures = (0..500).filter_map(|seed| Some((seed, run(seed, flaw, Keep::Nothing).err()?)));
    let mut failures = failures.filter(|(_, failure)| failure.what.contains(what));
    let Some((seed, failure)) = failures.next() else { panic!("{flaw:?} went unnoticed") };
    println!("{flaw:?}, seed {seed}: {}", failure.what);
}

#[test]
fn claims_that_are_not_recorded_are_noticed() {
    caught_by(Flaw::ClaimsNotRecorded, "not converged");
}

#[test]
fn nodes_that_do_not_see_one_anothers_claims_are_noticed() {
    caught_by(Flaw::ClaimsNotSeen, "although it knows of");
}

#[test]
fn a_daemon_that_forgets_its_claim_when_it_restarts_is_noticed() {
    caught_by(Flaw::MemoryLost, "while all was in sync");
}

#[test]
fn routes_that_are_only_said_to_be_replaced_are_noticed() {
    caught_by(Flaw::RoutesNotReplaced, "not converged");
}

#[test]
fn reads_that_lag_longer_than_the_settle_time_are_noticed() {
    caught_by(Flaw::ReadsTooStale, "while all was in sync");
}

#[test]
fn a_clock_that_is_wrong_by_a_minute_is_noticed() {
    caught_by(Flaw::ClockWrong, "by force although");
}

#[test]
fn a_cluster_without_claims_that_yields_to_thieves_is_noticed() {
    caught_by(Flaw::ClaimsOff, "not converged");
}

#[test]
fn a_daemon_that_does_not_notice_a_down_is_noticed() {
    caught_by(Flaw::EndsNotSeen, "although its file has not said leader");
}

#[test]
fn a_daemon_that_takes_before_it_persists_is_noticed() {
    caught_by(Flaw::ClaimsNotSaved, "under a claim that it has not persisted");
}

#[test]
fn a_node_that_takes_and_lets_go_in_turns_is_noticed() {
    caught_by(Flaw::GuardFlickers, "nowhere");
}

#[test]
fn standbys_that_read_too_often_are_noticed() {
    caught_by(Flaw::LooksTooOften, "reads in");
}

#[test]
fn a_second_leader_that_does_not_withdraw_is_noticed() {
    caught_by(Flaw::WithdrawalsSwallowed, "not converged");
}

#[test]
fn nodes_that_do_not_tell_that_nobody_serves_are_noticed() {
    caught_by(Flaw::WithdrawalsSwallowed, "does not tell that nobody serves");
}

#[test]
fn nodes_that_tell_of_nobody_although_a_leader_serves_are_noticed() {
    caught_by(Flaw::ClaimsShownWithdrawn, "tells that nobody serves");
}

#[test]
fn a_daemon_that_takes_what_an_operator_holds_is_noticed() {
    caught_by(Flaw::HoldsNotSeen, "although an operator holds");
}
