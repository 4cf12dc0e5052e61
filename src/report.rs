//! The report is the daemon's whole output: the log, the metrics, the status file and the answers to health questions.
//! The report decides nothing, and it reads nothing but the events and statuses that it is given.
//!
//! The report has two inputs. A [`News`] is an *event*: each event becomes a log line and moves counters and
//! histograms. A [`Status`] is *how things stand*: the state metrics, `/status`, `/readyz` and the status file are
//! views of the newest status, so that no view can keep an outdated state.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::locked::locked;
use crate::ids::InstanceId;
use crate::problem::ProblemReason;
use crate::status::Status;
use crate::status::event::list::EventList;
use crate::status::event::stamp::Stamp;
use crate::status::file::StatusFile;

pub use self::labels::{Direction, DriftReason, Outcome, PassResult, Source, State};
pub use self::lines::{OpenLog, say};
pub use self::log::{LogFormat, init_log};
pub use self::news::{HEARTBEAT, News, Reporter, VipKeys};

pub mod changes;
pub mod events;
pub mod health;
mod hosts;
pub mod http;
mod journal;
pub mod labels;
mod lines;
mod locked;
mod log;
mod metrics;
mod news;
mod on_change;
mod repeats;
mod sparse;
pub mod systemd;

/// The report of one daemon. It owns its metrics, so that several daemons in one process do not count into one
/// another's.
#[derive(Debug)]
pub struct Report {
    metrics: metrics::Metrics,
    log: Mutex<log::Log>,
    health: health::Health,
    file: Option<StatusFile>,
    events: Mutex<events::Events>,
    on_change: on_change::OnChange,
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
            events: Mutex::new(state_dir.map(events::Events::of_folder).unwrap_or_default()),
            on_change: on_change::OnChange::default(),
        }
    }

    /// From now on, this command is told of the events that the configuration describes. An empty one switches that off.
    pub fn set_on_change(&self, command: &[String]) {
        self.on_change.set(command);
    }

    /// The newest events of this node.
    #[must_use]
    pub fn events(&self) -> Arc<EventList> {
        locked(&self.events).newest()
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
        let event = events::event(news);
        let kind = event.as_ref().and_then(|event| event.kind.known());
        journal::told_as(kind, || locked(&self.log).news(news));
        let new = event.and_then(|event| locked(&self.events).keep(event, Stamp::now()));
        if let Some(event) = new {
            let newest = self.health.newest();
            let node = newest.as_ref().and_then(|status| status.instance.as_ref()).map(InstanceId::as_str);
            self.on_change.tell(&event, node);
        }
        if matches!(news, News::Stopping) {
            self.write_events();
        }
    }

    fn status(&self, status: &Status) {
        self.metrics.status(status);
        if let Some(file) = &self.file {
            let reason = ProblemReason::StatusFile;
            match file.write(status) {
                Ok(()) => {
                    self.news(&News::ProblemSolved { reason });
                    // A folder that takes no status takes no events either, and needs to be told of only once.
                    self.write_events();
                }
                Err(error) => self.news(&News::Problem { reason, message: &error.to_string() }),
            }
        }
        self.health.status(status);
    }
}

impl Report {
    /// Writes the events that are not in the file yet.
    fn write_events(&self) {
        let reason = ProblemReason::EventsFile;
        let written = locked(&self.events).write();
        match written {
            Ok(()) => self.news(&News::ProblemSolved { reason }),
            Err(message) => self.news(&News::Problem { reason, message: &message }),
        }
    }
}
