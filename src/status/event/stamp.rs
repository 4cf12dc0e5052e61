//! One moment on the clocks of a node, and moments of several nodes on one clock.

use serde::{Deserialize, Serialize};

use super::NodeEvent;
use crate::machine::clock::Clocks;
use crate::status::Status;

/// One moment on the two clocks of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The wall clock: a Unix time in milliseconds.
    pub wall_ms: u64,
    /// Milliseconds since boot, suspended time included. `None` if that is not known.
    pub boot_ms: Option<u64>,
}

impl Stamp {
    /// The present moment.
    #[must_use]
    pub fn now() -> Self {
        let clocks = Clocks::now();
        Self { wall_ms: clocks.wall_ms, boot_ms: u64::try_from(clocks.since_boot().as_millis()).ok() }
    }

    /// The moment `now_ms` of the wall clock with which the status was written.
    #[must_use]
    pub fn after(status: &Status, now_ms: u64) -> Self {
        let age_ms = now_ms.saturating_sub(status.written_ms);
        Self { wall_ms: now_ms, boot_ms: status.written_boot_ms.map(|boot_ms| boot_ms.saturating_add(age_ms)) }
    }

    /// How long ago the event happened, in milliseconds. The clock since boot tells it where it can, because the wall clock
    /// may have been set since. An event that lies ahead of the wall clock has age 0.
    #[must_use]
    pub fn age_ms(self, event: &NodeEvent) -> u64 {
        match (self.boot_ms, event.boot_ms) {
            (Some(now_ms), Some(at_ms)) => now_ms.saturating_sub(at_ms),
            _ => self.wall_ms.saturating_sub(event.at_ms),
        }
    }

    /// How long ago the event last happened, in milliseconds. It is the age of the event, unless the event repeated.
    #[must_use]
    pub fn last_age_ms(self, event: &NodeEvent) -> u64 {
        let age_ms = self.age_ms(event);
        event.last_ms.map_or(age_ms, |last_ms| self.wall_ms.saturating_sub(last_ms).min(age_ms))
    }
}

/// How the events of one node lie on EC2's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneClock {
    written: Stamp,
    /// How far the node's wall clock was ahead of EC2's at that moment, in milliseconds. `None` if that is not known.
    pub ahead_ms: Option<i64>,
}

impl OneClock {
    /// The status tells how the node's clocks and EC2's stood when the status was written.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        let written = Stamp { wall_ms: status.written_ms, boot_ms: status.written_boot_ms };
        Self { written, ahead_ms: status.clock.as_ref().and_then(|clock| clock.ahead_ms) }
    }

    /// When the status was written, by EC2's clock, as a Unix time in milliseconds.
    #[must_use]
    pub fn written_ms(&self) -> i64 {
        self.on_clock(signed(self.written.wall_ms))
    }

    fn on_clock(&self, wall_ms: i64) -> i64 {
        wall_ms.saturating_sub(self.ahead_ms.unwrap_or_default().clamp(-MOST_MS, MOST_MS))
    }

    /// When the event happened by EC2's clock, as a Unix time in milliseconds. It counts back from the status by the clock
    /// since boot, so that a step of the wall clock in between moves nothing.
    #[must_use]
    pub fn at_ms(&self, event: &NodeEvent) -> i64 {
        let wall_ms = match (self.written.boot_ms, event.boot_ms) {
            (Some(written_ms), Some(at_ms)) => signed(self.written.wall_ms) - (signed(written_ms) - signed(at_ms)),
            _ => signed(event.at_ms),
        };
        self.on_clock(wall_ms)
    }
}

/// The largest time that is reckoned with. A document that somebody altered may have any number, and none of them may end the
/// program.
const MOST_MS: i64 = 1 << 52;

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).min(MOST_MS)
}
