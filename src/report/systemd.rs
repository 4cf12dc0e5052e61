//! Messages to systemd (sd_notify(3)): that the daemon is ready, that its loop turns, and one line on how things stand.
//! Outside systemd no message is sent.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

use crate::status::{DesiredRole, Status};

/// The last message waits this long at most for room in the service manager's queue. Nothing but the end of the daemon
/// waits with it.
const LAST_MESSAGE: Duration = Duration::from_millis(500);

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Systemd {
    /// `NOTIFY_SOCKET`: a path, or a name of the abstract namespace after `@`. `None` outside systemd.
    socket: Option<OsString>,
    /// Half of systemd's watchdog timeout, after which systemd takes this process for hung; `None` if systemd sets no
    /// timeout.
    remind_every: Option<Duration>,
    /// When systemd was last told that the loop turns. `None` until it was told that the daemon is ready.
    last: Cell<Option<Instant>>,
    /// The line that systemd was told last.
    line: RefCell<String>,
}

impl Systemd {
    /// Finds out whether systemd watches this process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "where the service manager listens is no setting")]
    pub fn of_process() -> Self {
        Self::new(std::env::var_os("NOTIFY_SOCKET"), sd_notify::watchdog_enabled())
    }

    /// `patience` is systemd's watchdog timeout.
    fn new(socket: Option<OsString>, patience: Option<Duration>) -> Self {
        let remind_every = patience.map(|patience| patience / 2);
        Self { socket, remind_every, last: Cell::new(None), line: RefCell::default() }
    }

    /// Tells systemd that the loop turned. The first message makes the daemon ready. The loop calls this function, so a
    /// service manager that does not read its messages must not hold the call up. The words of a message that could not
    /// be sent go with the next turn.
    pub fn turned(&self, status: &Status) {
        self.tell_turn(summary(status));
    }

    fn tell_turn(&self, line: String) {
        let mut words = Vec::new();
        let now = Instant::now();
        if self.last.get().is_none() {
            words.push(NotifyState::Ready);
        }
        let due = self.last.get().is_none_or(|last| self.remind_every.is_some_and(|every| now >= last + every / 2));
        if due && self.remind_every.is_some() {
            words.push(NotifyState::Watchdog);
        }
        let changed = *self.line.borrow() != line;
        if changed {
            words.push(NotifyState::Status(&line));
        }
        let at_once = |socket: &UnixDatagram| socket.set_nonblocking(true);
        // A service manager that cannot be told is no reason to stop the daemon.
        if words.is_empty() || self.tell(&words, at_once).is_err() {
            return;
        }
        if due {
            self.last.set(Some(now));
        }
        if changed {
            self.line.replace(line);
        }
    }

    /// Tells systemd that the daemon ends because it was told to. No turn follows, so this message waits for a moment
    /// where the queue is full.
    pub fn stopping(&self) {
        let _ = self.tell(&[NotifyState::Stopping], |socket| socket.set_write_timeout(Some(LAST_MESSAGE)));
    }

    /// Sends one message. `limit` bounds the time that the call may take. Outside systemd nobody is told.
    fn tell(&self, words: &[NotifyState<'_>], limit: impl Fn(&UnixDatagram) -> io::Result<()>) -> io::Result<()> {
        let Some(name) = &self.socket else { return Ok(()) };
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let mut message = String::new();
        for word in words {
            let _ = writeln!(message, "{word}");
        }
        let socket = UnixDatagram::unbound()?;
        limit(&socket)?;
        socket.send_to_addr(message.as_bytes(), &address)?;
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The words that wait in the queue, in the order of their sending.
    fn waiting(socket: &UnixDatagram) -> Vec<String> {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        let mut words = Vec::new();
        while let Ok(length) = socket.recv(&mut buffer) {
            words.extend(std::str::from_utf8(&buffer[..length]).unwrap().lines().map(str::to_owned));
        }
        words
    }

    /// Fills the queue of a socket.
    fn fill(name: &OsString) {
        let others = UnixDatagram::unbound().unwrap();
        others.set_nonblocking(true).unwrap();
        while others.send_to(b"FROM=others", name).is_ok() {}
    }

    #[test]
    fn a_service_manager_that_does_not_read_delays_nobody_and_hears_all_of_it_later() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("notify").into_os_string();
        let socket = UnixDatagram::bind(&name).unwrap();
        let systemd = Systemd::new(Some(name.clone()), Some(Duration::from_secs(20)));
        let (sender, done) = std::sync::mpsc::channel();
        let teller = std::thread::spawn(move || {
            fill(&name);
            let began = Instant::now();
            for _ in 0..20 {
                systemd.tell_turn(String::new());
            }
            systemd.stopping();
            sender.send(began.elapsed()).unwrap();
            systemd
        });
        let took = done.recv_timeout(Duration::from_secs(20)).expect("the turns go on");
        assert!(took < LAST_MESSAGE * 4, "{took:?}");
        let systemd = teller.join().unwrap();
        assert_eq!(waiting(&socket).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(["FROM=others".to_owned()]));

        systemd.tell_turn(String::new());
        systemd.tell_turn(String::new());
        systemd.stopping();
        assert_eq!(waiting(&socket), ["READY=1", "WATCHDOG=1", "STOPPING=1"]);
    }

    #[test]
    fn a_service_manager_may_listen_under_an_abstract_name() {
        let name = format!("vipkeeper-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Systemd::new(Some(format!("@{name}").into()), None).tell_turn("20.0.0.50: standby".to_owned());
        assert_eq!(waiting(&socket), ["READY=1", "STATUS=20.0.0.50: standby"]);
    }
}
