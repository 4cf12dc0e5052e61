//! Whether the loop turns (live) and whether it can do its work (ready), from the newest status alone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::{HEARTBEAT, locked};
use crate::status::Status;

/// The newest status, and when it came.
#[derive(Debug)]
pub struct Health {
    ready_within: Duration,
    started: Instant,
    newest: Mutex<Option<(Instant, Arc<Status>)>>,
}

impl Health {
    pub(super) fn new(ready_within: Duration) -> Self {
        Self { ready_within, started: Instant::now(), newest: Mutex::default() }
    }

    pub(super) fn status(&self, status: &Status) {
        *locked(&self.newest) = Some((Instant::now(), Arc::new(status.clone())));
    }

    /// The newest status, if there is one yet.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<Status>> {
        locked(&self.newest).as_ref().map(|(_, status)| Arc::clone(status))
    }

    /// Whether the loop turns.
    ///
    /// # Errors
    /// One line that says for how long it has not.
    pub fn live(&self) -> Result<(), String> {
        let last = locked(&self.newest).as_ref().map_or(self.started, |(at, _)| *at);
        let age = last.elapsed();
        if age <= 3 * HEARTBEAT { Ok(()) } else { Err(format!("the loop has not turned for {} s", age.as_secs())) }
    }

    /// Whether everything was observed lately and nothing is wrong with the daemon as a whole.
    ///
    /// # Errors
    /// Every reason, one line each.
    pub fn ready(&self) -> Result<(), Vec<String>> {
        let mut reasons: Vec<String> = self.live().err().into_iter().collect();
        match &*locked(&self.newest) {
            None => reasons.push("nothing was observed yet".to_owned()),
            Some((at, status)) => {
                // The status tells times of its own clock: its age in this process brings them up to date.
                let now_ms = status.written_ms.saturating_add(milliseconds(at.elapsed()));
                reasons.extend(status.problems.iter().map(|problem| one_line(&problem.message)));
                reasons.extend(status.sources.iter().filter_map(|source| {
                    let error = source.error.as_deref().map(|error| format!(": {}", one_line(error)));
                    let error = error.unwrap_or_default();
                    let Some(last) = source.last_success_ms else {
                        return Some(format!("{} were never read{error}", source.source));
                    };
                    let age = Duration::from_millis(now_ms.saturating_sub(last));
                    (age > self.ready_within)
                        .then(|| format!("{} were last read {} s ago{error}", source.source, age.as_secs()))
                }));
            }
        }
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
