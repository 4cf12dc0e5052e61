//! Whether EC2 works, as its answers tell.

use crate::decide::timing::NOTHING_ACCEPTED_FOR;
use crate::observe::seen::Moment;

/// EC2's last signs of life.
#[derive(Debug, Default)]
pub struct Pulse {
    /// When EC2 last accepted a change.
    accepted_at: Moment,
    /// When a fault was last found to be over, because EC2 answered again.
    fault_over_at: Moment,
    /// Whether a read that had failed succeeded since the last plans were made.
    recovered: bool,
}

impl Pulse {
    /// Notes that a read that had failed succeeded.
    pub fn read_again(&mut self) {
        self.recovered = true;
    }

    /// Whether a read that had failed succeeded since the last call.
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

    /// Whether a change that was sent at `sent_at` was sent before the end of the last fault.
    pub fn was_in_fault(&self, sent_at: Moment) -> bool {
        sent_at < self.fault_over_at
    }
}
