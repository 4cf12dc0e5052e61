//! Whether EC2 works, as its answers tell.

use std::time::Duration;

use crate::observe::seen::Moment;

/// A change that had failed, and succeeds when nothing else has for this long, tells that a fault is over.
const NOTHING_ACCEPTED_FOR: Duration = Duration::from_secs(2);

/// EC2's last signs of life.
#[derive(Debug, Default)]
pub struct Pulse {
    /// When EC2 last accepted a change.
    accepted_at: Moment,
    /// When EC2 last answered again after it had not.
    fault_over_at: Moment,
    /// A read succeeded that had failed, since the last plans were made.
    recovered: bool,
}

impl Pulse {
    /// A read succeeded that had failed.
    pub fn read_again(&mut self) {
        self.recovered = true;
    }

    /// Whether a read succeeded that had failed, since this was asked last.
    pub fn take_recovery(&mut self, now: Moment) -> bool {
        let recovered = std::mem::take(&mut self.recovered);
        if recovered {
            self.fault_over_at = now;
        }
        recovered
    }

    /// Whether EC2 has accepted no change for so long that the next accepted one tells that a fault is over.
    pub fn has_been_silent(&self, now: Moment) -> bool {
        now >= self.accepted_at + NOTHING_ACCEPTED_FOR
    }

    pub fn accepted(&mut self, now: Moment) {
        self.accepted_at = now;
    }

    pub fn fault_over(&mut self, now: Moment) {
        self.fault_over_at = now;
    }

    /// Whether a change that was sent then was sent into a fault that has been over since.
    pub fn was_in_fault(&self, sent_at: Moment) -> bool {
        sent_at < self.fault_over_at
    }
}
