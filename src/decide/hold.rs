//! An operator's hold over one VIP: until it ends, this node changes nothing. Everything is still seen, planned and told.

use std::collections::BTreeMap;

use crate::action::Purpose;
use crate::binding::BindingKey;
use crate::decide::claim::Standing;
use crate::decide::clients::{Clients, LedTo};
use crate::decide::memory::Memory;
use crate::decide::plan::{Blocker, Plan, State, Verdict, Why};
use crate::desired::hold::{Extent, InForce};
use crate::desired::source::Reading;
use crate::desired::{Desired, WhyStandby};
use crate::observe::seen::Moment;

/// A hold that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub until: Moment,
    pub extent: Extent,
    /// Whether the hook's word that is in force was given while the hold lasted.
    pub hook_came_since: bool,
}

impl Hold {
    /// The hold that was found together with this reading of the desired-state file.
    #[must_use]
    pub fn found(found: InForce, reading: &Reading, now: Moment) -> Self {
        let file = reading.in_force.as_ref();
        let hook_came_since = file.is_some_and(|file| file.written_at() >= found.set_at);
        Self { until: now + found.left, extent: found.extent, hook_came_since }
    }
}

/// The plan without the changes that the hold forbids. The next look comes when the hold ends.
#[must_use]
pub fn held(plan: Plan, desired: &Desired, hold: &Hold, memory: &Memory) -> Plan {
    // A node that stood by before the hold releases nothing: an operator may be moving the VIP here by hand.
    let lets_go = hold.extent == Extent::ExceptRelease
        && match desired {
            Desired::Standby(WhyStandby::Down) => hold.hook_came_since,
            Desired::Standby(WhyStandby::GuardDead) => true,
            Desired::Standby(WhyStandby::Watchdog) | Desired::Leader(_) | Desired::Unknown(_) => false,
        };
    let bindings = plan.bindings.into_iter().map(|(key, verdict)| {
        let is_allowed = lets_go && releases(&verdict) && is_still_here(memory, &key);
        (key, if is_allowed { verdict } else { without_step(verdict) })
    });
    // The withdrawal of a claim belongs to its release: a node that stands by writes nothing else to the record.
    let copies = if lets_go { plan.copies } else { BTreeMap::new() };
    Plan {
        bindings: bindings.collect(),
        record: plan.record.filter(|_| lets_go),
        copies,
        forget: None,
        look_at: Some(plan.look_at.map_or(hold.until, |at| at.min(hold.until))),
        ..plan
    }
}

/// Whether clients are not served because of the hold: this node leads, and the hold keeps it from what it needs to serve.
/// Where the clients are led to another node although this leader had everything here before, somebody moves the VIP by hand,
/// as the hold is meant for.
#[must_use]
pub fn keeps_from_serving(plan: &Plan, clients: &Clients, converged_ms: Option<u64>) -> bool {
    let waits = || plan.bindings.values().any(|verdict| verdict.why.blocker() == Some(Blocker::Held));
    plan.standing == Standing::Leader
        && match clients.place {
            LedTo::Here => waits(),
            LedTo::Nowhere => true,
            LedTo::Elsewhere(_) | LedTo::Several => converged_ms.is_none(),
        }
}

fn releases(verdict: &Verdict) -> bool {
    verdict.change.as_ref().is_some_and(|change| change.purpose == Purpose::Release)
}

/// Whether this daemon saw the binding here under its claim, and through the end of that leadership. Somebody may have
/// brought any other binding here by hand: one that came back, one of which this daemon knows by a file alone, and one that
/// was out of the configuration for a while.
fn is_still_here(memory: &Memory, key: &BindingKey) -> bool {
    memory.tracks.get(key).is_some_and(|track| track.applied && track.watched)
}

fn without_step(verdict: Verdict) -> Verdict {
    match verdict.change {
        None => verdict,
        Some(_) => Verdict { state: State::Blocked, why: Why::Held(Box::new(verdict.why)), change: None, ..verdict },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::desired::file::{DesiredFile, Wanted};
    use crate::machine::process::Process;

    #[test]
    fn a_hold_lasts_for_the_rest_of_its_time_and_knows_whether_the_hook_came_since() {
        let s = Duration::from_secs;
        let found = InForce { left: s(60), set_at: s(40), until_ms: 0, extent: Extent::ExceptRelease };
        for (written_s, came_since) in [(39, false), (40, true), (41, true)] {
            let file = DesiredFile {
                version: 1,
                delegate_ip: "20.0.0.50".parse().unwrap(),
                sequence: 1,
                written_ms: 0,
                written_boottime_ns: Some(written_s * 1_000_000_000),
                boot_id: "boot".to_owned(),
                hook: Process { pid: 1, start_time: 1 },
                wanted: Wanted::Standby,
            };
            let reading = Reading {
                desired: Desired::Standby(WhyStandby::Down),
                in_force: Some(file),
                guard_alive: None,
                guard_unseen: false,
                invalid: None,
            };
            let hold = Hold::found(found, &reading, s(100));
            let extent = Extent::ExceptRelease;
            assert_eq!(hold, Hold { until: s(160), extent, hook_came_since: came_since }, "written at {written_s} s");
        }
    }
}
