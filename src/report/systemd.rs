//! Messages to systemd (sd_notify(3)): that the daemon is ready, that its loop turns, and one line on how things stand.
//! Outside systemd no message is sent.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

use crate::status::{DesiredRole, Status};

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Systemd {
    /// Half of systemd's watchdog timeout, after which systemd takes this process for hung; `None` if systemd sets no
    /// timeout.
    remind_every: Option<Duration>,
    last: Cell<Option<Instant>>,
    line: RefCell<String>,
}

impl Systemd {
    /// Finds out whether systemd watches this process.
    #[must_use]
    pub fn of_process() -> Self {
        let remind_every = sd_notify::watchdog_enabled().map(|patience| patience / 2);
        Self { remind_every, last: Cell::new(None), line: RefCell::default() }
    }

    /// Tells systemd that the loop turned. The first turn makes the daemon ready.
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
        // Outside systemd nobody listens. A service manager that cannot be told is no reason to stop the daemon.
        if !words.is_empty() {
            let _ = sd_notify::notify(&words);
        }
        if changed {
            self.line.replace(line.clone());
        }
    }

    /// Tells systemd that the daemon ends because it was told to.
    #[expect(clippy::unused_self, reason = "what ends is what was told to be ready")]
    pub fn stopping(&self) {
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
    }
}

/// The line that `systemctl status` shows.
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
