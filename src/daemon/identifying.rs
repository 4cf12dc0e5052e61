//! When this node searches for its identity, and how the search goes.

use crate::backoff::Backoff;
use crate::decide::timing::SEARCH_AGAIN;
use crate::observe::seen::Moment;

/// Whether this node's identity serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    Known,
    /// The identity is not known, or one of the node's ENIs is shown by EC2 no more, or one of its interfaces by the
    /// kernel.
    Wanting,
}

/// The search for this node's identity.
#[derive(Debug, Default)]
pub struct Identifying {
    under_way: bool,
    /// Whether the identity is to be found out again, although one is known.
    anew: bool,
    next: Moment,
    backoff: Backoff,
}

impl Identifying {
    /// Asks for a new search from this moment on, although an identity may be known.
    pub fn anew(&mut self, at: Moment) {
        self.anew = true;
        self.next = at;
    }

    /// When the next search is due; `None` while nothing is to be searched, and while a search is under way, because
    /// its answer wakes the loop.
    pub fn due(&self, identity: Identity) -> Option<Moment> {
        (!self.under_way && (self.anew || identity == Identity::Wanting)).then_some(self.next)
    }

    /// Whether a search begins now. If a search begins, notes that.
    pub fn begin(&mut self, now: Moment, identity: Identity) -> bool {
        let due = self.due(identity).is_some_and(|at| now >= at);
        if due {
            self.under_way = true;
            self.anew = false;
            self.next = now + SEARCH_AGAIN;
        }
        due
    }

    pub fn succeeded(&mut self) {
        self.backoff.reset();
        self.under_way = false;
    }

    /// Notes that the search failed, and asks for a new one after a delay. A node that knew itself before searches
    /// again too, because a reload may have asked for the search.
    pub fn failed(&mut self, now: Moment, rng: &mut fastrand::Rng) {
        self.under_way = false;
        let delay = self.backoff.next_delay(rng);
        self.anew(now + delay);
    }
}
