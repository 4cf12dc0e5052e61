//! What wakes the loop before its timer does: the desired files, the guards, the kernel's addresses, signals.
//!
//! A wake says *when* to look, never *what* is true: the loop reads everything afresh, so that one wake stands for any
//! number of equal ones. Each watcher is a task that takes all that its source has to tell and then sends one wake. If
//! the channel is full, it waits for room, so none is ever dropped, a shutdown least of all; meanwhile its source queues
//! up in the kernel, and a queue that overflows there counts as a wake as well.
//!
//! Watchers are a convenience. The loop's timers find whatever they miss, so one that cannot be started is reported and
//! the daemon runs on without it, and one that breaks later is opened anew.
//!
//! Start the watchers before the first look, or what changes in between goes unnoticed until the timer.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustix::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

mod addresses;
mod folder;
mod guard;

pub use addresses::{Concern, watch_addresses};
pub use folder::watch_folder;
pub use guard::GuardWatch;

/// How many wakes may wait for the loop. It takes all at once, so a few suffice.
const ROOM: usize = 16;

/// How long after it broke, or could not be opened, a source is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// Why the loop should look now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wake {
    /// A desired file was written, replaced or removed, or may have been.
    DesiredChanged,
    /// A hook has begun to write a desired file, and may find no room for it.
    HookWrites,
    /// The watchdog process behind this VIP's desired file is gone.
    GuardDied(IpAddr),
    /// One of the VIPs' local addresses or interfaces came, went or changed.
    LocalAddress,
    /// SIGHUP: read the configuration again.
    Config,
    /// SIGTERM or SIGINT: end.
    Shutdown,
}

/// A watcher that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("watch {what}")]
pub struct WakeError {
    pub what: String,
    #[source]
    pub source: io::Error,
}

/// A running watcher. It ends when this is dropped, or when the receiver of its wakes is.
#[derive(Debug)]
#[must_use = "a watcher that is dropped watches nothing"]
pub struct Watcher(JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The channel between the watchers and the loop.
#[must_use]
pub fn channel() -> (mpsc::Sender<Wake>, mpsc::Receiver<Wake>) {
    mpsc::channel(ROOM)
}

/// Turns SIGHUP into [`Wake::Config`], SIGTERM and SIGINT into [`Wake::Shutdown`]. Afterwards, until the process ends,
/// these signals do nothing else.
///
/// # Errors
/// When a handler cannot be installed.
pub fn watch_signals(wakes: mpsc::Sender<Wake>) -> Result<Watcher, WakeError> {
    let handler = |kind| signal(kind).map_err(|source| WakeError { what: "signals".to_owned(), source });
    let mut hangup = handler(SignalKind::hangup())?;
    let mut terminate = handler(SignalKind::terminate())?;
    let mut interrupt = handler(SignalKind::interrupt())?;
    Ok(Watcher(tokio::spawn(async move {
        loop {
            let wake = tokio::select! {
                _ = hangup.recv() => Wake::Config,
                _ = terminate.recv() => Wake::Shutdown,
                _ = interrupt.recv() => Wake::Shutdown,
            };
            if wakes.send(wake).await.is_err() {
                return;
            }
        }
    })))
}

/// Something in the kernel that tells of changes. Displayed as what it watches.
trait Source: fmt::Display + Send + 'static {
    /// What stands for all that went unnoticed while it was broken.
    const WAKE: Wake;

    /// Opens it, anew if it was open.
    fn open(&mut self) -> io::Result<()>;

    /// Returns once something changed, having taken all that there was to tell. After an error it must be opened anew.
    fn changed(&mut self) -> impl Future<Output = io::Result<Wake>> + Send;
}

/// Has the runtime tell when a descriptor can be read.
#[expect(deprecated, reason = "the deprecation is for types whose descriptor may change or close; an OwnedFd's cannot")]
fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// Opens the source and starts a task that sends its wakes for as long as there is a loop to receive them.
fn watch<S: Source>(mut source: S, wakes: mpsc::Sender<Wake>) -> Result<Watcher, WakeError> {
    source.open().map_err(|error| WakeError { what: source.to_string(), source: error })?;
    Ok(Watcher(tokio::spawn(async move {
        loop {
            let wake = match source.changed().await {
                Ok(wake) => wake,
                Err(error) => {
                    tracing::warn!("watching {source} broke, opening it again: {error}");
                    reopen(&mut source).await;
                    S::WAKE
                }
            };
            if wakes.send(wake).await.is_err() {
                return;
            }
        }
    })))
}

/// Opens a source that broke, for as long as it takes. What it would have told meanwhile is lost, so a wake is due.
async fn reopen<S: Source>(source: &mut S) {
    loop {
        tokio::time::sleep(REOPEN_AFTER).await;
        match source.open() {
            Ok(()) => return,
            Err(error) => tracing::debug!("watching {source} is still not possible: {error}"),
        }
    }
}
