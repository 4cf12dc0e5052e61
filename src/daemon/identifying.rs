//! When this node is to find out who it is, and how that goes.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::observe::seen::Moment;

/// A node whose ENI EC2 does not show asks anew who it is, this often.
const AGAIN: Duration = Duration::from_mins(1);

/// The search for this node's identity.
#[derive(Debug, Default)]
pub struct Identifying {
    under_way: bool,
    /// The identity is to be found out again, although one is known.
    anew: bool,
    next: Moment,
    backoff: Backoff,
}

impl Identifying {
    /// The identity is to be found out again, from this moment on.
    pub fn anew(&mut self, at: Moment) {
        self.anew = true;
        self.next = at;
    }

    /// When the next search is due; `None` while one is under way, whose answer wakes the loop by itself.
    pub fn next(&self) -> Option<Moment> {
        (!self.under_way).then_some(self.next)
    }

    /// Whether a search begins now, given whether the identity in hand will `not_do`. Notes that it began.
    pub fn begin(&mut self, now: Moment, not_do: impl FnOnce() -> bool) -> bool {
        let due = self.next().is_some_and(|at| now >= at) && (self.anew || not_do());
        if due {
            self.under_way = true;
            self.anew = false;
            self.next = now + AGAIN;
        }
        due
    }

    pub fn succeeded(&mut self) {
        self.backoff.reset();
        self.under_way = false;
    }

    /// The search failed. It is repeated, also by a node that knew itself before: a reload may have asked for it.
    pub fn failed(&mut self, now: Moment, rng: &mut fastrand::Rng) {
        self.under_way = false;
        let delay = self.backoff.next_delay(rng);
        self.anew(now + delay);
    }
}
