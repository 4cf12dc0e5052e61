//! The report is the daemon's whole output: the log, the metrics, the status file and the answers to health questions.
//! The report decides nothing, and it reads nothing but the events and statuses that it is given.
//!
//! The report has two inputs. A [`News`] is an *event*: each event becomes a log line and moves counters and
//! histograms. A [`Status`] is *how things stand*: the state metrics, `/status`, `/readyz` and the status file are
//! views of the newest status, so that no view can keep an outdated state.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use self::locked::locked;
use crate::status::file::StatusFile;
use crate::status::{Status, problem};

pub use self::labels::{Direction, DriftReason, Outcome, PassResult, Source, State};
pub use self::lines::{OpenLog, say};
pub use self::log::{LogFormat, init_log};
pub use self::news::{HEARTBEAT, News, Reporter, VipKeys};

pub mod changes;
pub mod health;
mod hosts;
pub mod http;
pub mod labels;
mod lines;
mod locked;
mod log;
mod metrics;
mod news;
mod repeats;
mod sparse;
#[cfg(feature = "aws")]
pub(crate) mod systemd;

/// The report of one daemon. It owns its metrics, so that several daemons in one process do not count into one
/// another's.
#[derive(Debug)]
pub struct Report {
    metrics: metrics::Metrics,
    log: Mutex<log::Log>,
    health: health::Health,
    file: Option<StatusFile>,
}

impl Report {
    /// `state_dir` is the folder that gets `status.json`; with `None` no file is written. A source that was not read
    /// for longer than `ready_within` makes the daemon unready.
    #[must_use]
    pub fn new(vips: &[VipKeys], state_dir: Option<&Path>, ready_within: Duration) -> Self {
        Self {
            metrics: metrics::Metrics::new(vips),
            log: Mutex::default(),
            health: health::Health::new(ready_within),
            file: state_dir.map(StatusFile::new),
        }
    }

    /// Takes a new `ready_within`, after the loop's intervals changed.
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
            let reason = problem::STATUS_FILE;
            match file.write(status) {
                Ok(()) => self.news(&News::ProblemSolved { reason }),
                Err(error) => self.news(&News::Problem { reason, message: &error.to_string() }),
            }
        }
        self.health.status(status);
    }
}
