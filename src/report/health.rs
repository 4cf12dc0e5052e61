//! Whether the loop turns (live) and whether the daemon can do its work (ready).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::labels::Source;
use super::locked::locked;
use super::news::News;
use crate::ec2::Class;
use crate::shown;
use crate::status::{STALE_AFTER, SourceStatus, Status};

/// The newest status, and the facts about the credentials that the news told.
#[derive(Debug)]
pub struct Health {
    ready_within: Mutex<Duration>,
    started: Instant,
    newest: Mutex<Option<(Instant, Arc<Status>)>>,
    credentials: Mutex<Credentials>,
}

#[derive(Debug, Clone, Default)]
struct Credentials {
    /// The Unix time in milliseconds at which the credentials expire.
    expiry_ms: Option<u64>,
    /// The sources that the credentials may not read, each with EC2's error. A denial is told at once, before the
    /// source's last read is too old.
    denied: BTreeMap<Source, String>,
}

impl Health {
    pub(super) fn new(ready_within: Duration) -> Self {
        let ready_within = Mutex::new(ready_within);
        Self { ready_within, started: Instant::now(), newest: Mutex::default(), credentials: Mutex::default() }
    }

    pub(super) fn set_ready_within(&self, ready_within: Duration) {
        *locked(&self.ready_within) = ready_within;
    }

    pub(super) fn news(&self, news: &News<'_>) {
        let mut credentials = locked(&self.credentials);
        match *news {
            News::CredentialsExpiry { at_ms } => credentials.expiry_ms = at_ms,
            News::Observed { source, .. } => {
                credentials.denied.remove(&source);
            }
            News::ReadFailed { source, class: Class::Denied, error } => {
                credentials.denied.insert(source, one_line(error));
            }
            _ => {}
        }
    }

    pub(super) fn status(&self, status: &Status) {
        *locked(&self.newest) = Some((Instant::now(), Arc::new(status.clone())));
    }

    /// The newest status, if there is one yet.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<Status>> {
        locked(&self.newest).as_ref().map(|(_, status)| Arc::clone(status))
    }

    /// The newest status, and the Unix time in milliseconds by the clock with which it was written.
    #[must_use]
    pub fn newest_and_now(&self) -> Option<(Arc<Status>, u64)> {
        let (at, status) = locked(&self.newest).clone()?;
        let now_ms = status.written_ms.saturating_add(milliseconds(at.elapsed()));
        Some((status, now_ms))
    }

    /// Whether the loop turns.
    ///
    /// # Errors
    /// One line that says for how long the loop has not turned.
    pub fn live(&self) -> Result<(), String> {
        let last = locked(&self.newest).as_ref().map_or(self.started, |(at, _)| *at);
        let age = last.elapsed();
        if age <= STALE_AFTER { Ok(()) } else { Err(format!("the loop has not turned for {} s", age.as_secs())) }
    }

    /// Whether everything was observed lately, nothing is wrong with the daemon as a whole, and no watchdog process is
    /// gone that a desired-state file names.
    ///
    /// # Errors
    /// Every reason, one line each.
    pub fn ready(&self) -> Result<(), Vec<String>> {
        let mut reasons: Vec<String> = self.live().err().into_iter().collect();
        // The loop must not wait for the lock while reasons are put into words.
        let newest = locked(&self.newest).clone();
        match newest {
            None => reasons.push("nothing was observed yet".to_owned()),
            Some((at, status)) => {
                // The status holds the time at which it was written. The age of the status in this process brings that
                // time up to date.
                let now_ms = status.written_ms.saturating_add(milliseconds(at.elapsed()));
                reasons.extend(status.problems.iter().map(|problem| one_line(&problem.message)));
                reasons.extend(status.vips.iter().filter(|vip| vip.watchdog_is_gone()).map(|vip| {
                    let why = vip.desired.reason.as_deref().map(|why| format!(": {}", one_line(why)));
                    format!("{}: watchdog gone{}", vip.delegate_ip, why.unwrap_or_default())
                }));
                let credentials = locked(&self.credentials).clone();
                if let Some(expiry_ms) = credentials.expiry_ms.filter(|expiry_ms| *expiry_ms <= now_ms) {
                    reasons.push(format!("the credentials expired {} s ago", (now_ms - expiry_ms) / 1000));
                }
                // A source that a changed config does not ask for any more is never read again, so its denial would
                // last for ever.
                let is_asked = |source: &Source| status.sources.iter().any(|told| told.source == *source);
                let denied = credentials.denied.iter().filter(|(source, _)| is_asked(source));
                reasons.extend(denied.map(|(source, error)| format!("{source} may not be read: {error}")));
                let ready_within = *locked(&self.ready_within);
                let is_denied = |told: &SourceStatus| credentials.denied.keys().any(|denied| told.source == *denied);
                // A node that does not know its own instance reads nothing from EC2, and the kernel only now and then.
                // Reasons about single sources would add nothing then.
                let knows_itself = status.instance.is_some();
                if !knows_itself && status.problems.is_empty() {
                    reasons.push("this node does not know yet who it is".to_owned());
                }
                let sources = status.sources.iter().filter(|source| knows_itself && !is_denied(source));
                reasons.extend(sources.filter_map(|source| {
                    let error = source.error.as_deref().map(|error| format!(": {}", one_line(error)));
                    let error = error.unwrap_or_default();
                    let name = &source.source;
                    let name =
                        source.part.as_ref().map_or_else(|| name.to_string(), |part| format!("{name} of {part}"));
                    let Some(last) = source.last_success_ms else {
                        return Some(format!("{name} were never read{error}"));
                    };
                    let age = Duration::from_millis(now_ms.saturating_sub(last));
                    (age > ready_within).then(|| format!("{name} were last read {} s ago{error}", age.as_secs()))
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
    shown::line(&text.split_whitespace().collect::<Vec<_>>().join(" ")).into_owned()
}
