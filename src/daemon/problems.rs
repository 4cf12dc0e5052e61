//! Everything that is wrong with the daemon as a whole.

use std::collections::BTreeMap;

use crate::problem::ProblemReason;
use crate::status::Problem;

/// The problems that last, by the reason that names each.
#[derive(Debug, Default)]
pub struct Problems(BTreeMap<ProblemReason, Problem>);

impl Problems {
    /// Notes that something is wrong, again or for the first time. A problem whose message changes keeps its beginning.
    pub fn set(&mut self, reason: ProblemReason, message: String, wall_ms: u64) {
        let before = self.0.get(&reason);
        let (since_ms, times) = before.map_or((wall_ms, 1), |before| (before.since_ms, before.times.saturating_add(1)));
        self.0.insert(reason, Problem { reason: reason.into(), message, since_ms, times });
    }

    /// Notes a problem that each turn of the loop, or each look, judges anew. Only a new message counts once more, because each count is a
    /// new status and an event.
    pub fn lasts(&mut self, reason: ProblemReason, message: String, wall_ms: u64) {
        if self.0.get(&reason).is_none_or(|before| before.message != message) {
            self.set(reason, message, wall_ms);
        }
    }

    /// Removes the problem of this reason, if there is one.
    pub fn clear(&mut self, reason: ProblemReason) {
        self.0.remove(&reason);
    }

    /// All problems, for the status.
    pub fn document(&self) -> Vec<Problem> {
        self.0.values().cloned().collect()
    }
}
