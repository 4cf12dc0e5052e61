//! The only voice: logs what happened, counts it, writes the status file and answers health questions. It decides
//! nothing and reads nothing but what it is told.
//!
//! Two ways in, by the nature of what is told. [`News`] is an *event*: it becomes a log line and moves counters and
//! histograms. A [`Status`] is *how things stand*: the state metrics, `/status`, `/readyz` and the status file are
//! views of the newest one, so that none of them can keep saying what is no longer true.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::action::Action;
use crate::binding::BindingKey;
use crate::desired::Desired;
use crate::ec2::{Class, RequestReport};
use crate::ids::{ClaimId, InstanceId, Term};
use crate::status::Status;
use crate::status::file::StatusFile;

pub use self::labels::{BindingState, Direction, DriftReason, Outcome, PassResult, Source};
pub use self::lines::{OpenLog, say};
pub use self::log::{LogFormat, init_log};

pub mod changes;
pub mod health;
pub mod http;
pub mod labels;
mod lines;
mod log;
mod metrics;
mod repeats;
#[cfg(feature = "aws")]
pub(crate) mod systemd;

/// How often the loop hands over its status when nothing changed.
pub const HEARTBEAT: Duration = Duration::from_secs(7);

/// What the loop tells.
pub trait Reporter {
    /// Something happened.
    fn news(&self, news: &News<'_>);
    /// How things stand now. Called after each step that changed anything, after each pass, and at least each
    /// [`HEARTBEAT`]: this is also how the loop shows that it turns.
    fn status(&self, status: &Status);
}

/// One thing that happened. Durations are real time, `…_ms` are Unix times in milliseconds.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// The daemon runs and knows who it is, as far as it does.
    Started { version: &'a str, instance: Option<&'a InstanceId>, region: Option<&'a str> },
    /// A changed config is in force; or it is not, and why.
    Reloaded { error: Option<&'a str> },
    /// The daemon ends and leaves every binding where it is.
    Stopping,

    /// What is wanted of this node changed, or was read for the first time.
    DesiredChanged { vip: IpAddr, desired: &'a Desired },
    /// The file is not to be trusted or read; the last good one stays in force.
    DesiredInvalid { vip: IpAddr, why: &'a str },
    /// The file is good again.
    DesiredValid { vip: IpAddr },
    /// Whether the watchdog process that a leader's file names lives.
    GuardAlive { vip: IpAddr, alive: bool },
    /// The term under which this node's claim is recorded.
    ClaimTerm { vip: IpAddr, term: Term },
    /// The claim gave way to a newer one.
    Superseded { vip: IpAddr, by: &'a InstanceId, term: Term },
    /// The bindings now point here, or do not any more.
    Takeover { vip: IpAddr, direction: Direction },
    /// Somebody keeps taking what this node holds by right; or does not any more.
    Contested { vip: IpAddr, contested: bool },
    /// The watchdog contradicts the file; or does not any more.
    HookLost { vip: IpAddr, lost: bool },
    /// Every binding of the VIP was seen here for the first time under this claim, this long after the hook began.
    Converged { vip: IpAddr, claim: &'a ClaimId, after: Duration },

    /// A binding differs though nobody asked for a change: once per episode.
    Drift { vip: IpAddr, key: &'a BindingKey, reason: DriftReason, detail: &'a str },
    /// A binding's state changed.
    BindingState { vip: IpAddr, key: &'a BindingKey, state: BindingState, detail: &'a str },

    /// One round is over.
    PassDone { result: PassResult, duration: Duration },
    /// One change of a binding, or of the claim's record (`None`), begins.
    ActionStarted { vip: IpAddr, key: Option<&'a BindingKey>, action: &'a Action },
    /// The connections of a local address were ended before the address goes: how many, or why they were not.
    ConnectionsReset { vip: IpAddr, address: IpAddr, result: Result<u32, &'a str> },
    /// A change ended. `code` is EC2's, `error` the whole reason; neither for a success.
    ActionDone {
        vip: IpAddr,
        key: Option<&'a BindingKey>,
        action: &'a Action,
        outcome: Outcome,
        code: Option<&'a str>,
        error: Option<&'a str>,
        duration: Duration,
    },
    /// One request to EC2 was answered or given up.
    Request(&'a RequestReport),
    /// A source was read with success.
    Observed { source: Source, at_ms: u64 },
    /// A source could not be read.
    ReadFailed { source: Source, class: Class, error: &'a str },
    /// Pgpool's watchdog was asked, and answered; or why it did not.
    Witness { silent: Option<&'a str> },
    /// When the credentials in use stop working; `None` if they do not.
    CredentialsExpiry { at_ms: Option<u64> },
    /// Room is kept for hooks that find the state folder's file system full; or why it is not.
    Reserve { missing: Option<&'a str> },

    /// Something is wrong with the daemon as a whole; `reason` names it for as long as it lasts.
    Problem { reason: &'a str, message: &'a str },
    /// It is not any more.
    ProblemSolved { reason: &'a str },
}

/// One VIP as the config names it, so that its metrics exist before anything happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipKeys {
    pub vip: IpAddr,
    pub bindings: Vec<BindingKey>,
}

/// The voice of one daemon. Owns its metrics: several daemons in one process do not count into one another's.
#[derive(Debug)]
pub struct Report {
    metrics: metrics::Metrics,
    log: Mutex<log::Log>,
    health: health::Health,
    file: Option<StatusFile>,
}

impl Report {
    /// `state_dir` is where `status.json` goes; `None` for none. A source that was not read for longer than
    /// `ready_within` makes the daemon unready.
    #[must_use]
    pub fn new(vips: &[VipKeys], state_dir: Option<&Path>, ready_within: Duration) -> Self {
        Self {
            metrics: metrics::Metrics::new(vips),
            log: Mutex::default(),
            health: health::Health::new(ready_within),
            file: state_dir.map(StatusFile::new),
        }
    }

    /// The intervals of the loop changed.
    pub fn set_ready_within(&self, ready_within: Duration) {
        self.health.set_ready_within(ready_within);
    }

    /// All metrics in Prometheus' text format 0.0.4.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.metrics.render()
    }

    /// Whether the loop turns, and whether the daemon can do its work.
    #[must_use]
    pub fn health(&self) -> &health::Health {
        &self.health
    }
}

impl Reporter for Report {
    fn news(&self, news: &News<'_>) {
        self.metrics.news(news);
        self.health.news(news);
        locked(&self.log).news(news);
    }

    fn status(&self, status: &Status) {
        self.metrics.status(status);
        if let Some(file) = &self.file {
            const REASON: &str = "StatusFile";
            match file.write(status) {
                Ok(()) => self.news(&News::ProblemSolved { reason: REASON }),
                Err(error) => self.news(&News::Problem { reason: REASON, message: &error.to_string() }),
            }
        }
        self.health.status(status);
    }
}

/// A panic while the lock was held cannot leave these values half made in a way that matters more than a live daemon.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
