//! Word to systemd: that the daemon is ready, that its loop turns, and one line on how things stand (sd_notify(3)).
//! Outside systemd it says nothing to nobody.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

use crate::status::{DesiredRole, Status};

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Systemd {
    /// Half the time after which it takes us for hung; `None` if it does not watch.
    remind_every: Option<Duration>,
    last: Cell<Option<Instant>>,
    line: RefCell<String>,
}

impl Systemd {
    /// Finds out whether this process is watched.
    #[must_use]
    pub fn of_process() -> Self {
        let remind_every = sd_notify::watchdog_enabled().map(|patience| patience / 2);
        Self { remind_every, last: Cell::new(None), line: RefCell::default() }
    }

    /// The loop turned: with the first turn the daemon is ready.
    pub fn turned(&self, status: &Status) {
        let mut words = Vec::new();
        let now = Instant::now();
        let first = self.last.get().is_none();
        if first {
            words.push(NotifyState::Ready);
        }
        let due = self.last.get().is_none_or(|last| self.remind_every.is_some_and(|every| now >= last + every / 2));
        if due {
            self.last.set(Some(now));
            if self.remind_every.is_some() {
                words.push(NotifyState::Watchdog);
            }
        }
        let line = summary(status);
        let changed = *self.line.borrow() != line;
        if changed {
            words.push(NotifyState::Status(&line));
        }
        // Nobody listens outside systemd, and a manager that cannot be told is no reason to stop.
        if !words.is_empty() {
            let _ = sd_notify::notify(&words);
        }
        if changed {
            self.line.replace(line.clone());
        }
    }

    /// The daemon ends because it was told to.
    #[expect(clippy::unused_self, reason = "what ends is what was told to be ready")]
    pub fn stopping(&self) {
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
    }
}

/// What `systemctl status` shows.
fn summary(status: &Status) -> String {
    let vips = status.vips.iter().map(|vip| {
        let state = match (vip.in_sync, vip.desired.role.known()) {
            (true, Some(DesiredRole::Unknown)) => "no hook yet",
            (true, _) => "in sync",
            (false, _) => "not in sync",
        };
        format!("{}: {}, {state}", vip.delegate_ip, vip.desired.role)
    });
    vips.collect::<Vec<_>>().join("; ")
}
