//! One moment, as the loop counts it and as people do.

use crate::observe::seen::Moment;

/// The present moment.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The time since the daemon started.
    pub at: Moment,
    /// The wall clock: milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

impl Now {
    /// The wall clock at a later moment, in milliseconds since the Unix epoch.
    pub fn wall_ms_at(self, later: Moment) -> u64 {
        let from_now = later.saturating_sub(self.at).as_millis();
        self.wall_ms.saturating_add(u64::try_from(from_now).unwrap_or(u64::MAX))
    }
}
