//! The events that wake the loop before its timer does: changes of the desired files, deaths of guards, changes of the
//! kernel's addresses, signals.
//!
//! A wake says *when* the loop looks, never *what* is true. The loop reads everything afresh, so one wake stands for
//! any number of equal wakes. Each watcher is a task that takes all that its source has to tell and then sends one
//! wake. If the channel is full, the watcher waits for room, so no wake of a watcher is dropped, a shutdown least of
//! all. Meanwhile the events of its source queue up in the kernel. A queue that overflows there counts as a wake as
//! well.
//!
//! Watchers are a convenience: the loop's timers find the changes that a watcher misses. A watcher that cannot be
//! started, or that breaks later, says so as one of the [`Parts`] around the loop, and tries again until it works.
//!
//! Start the watchers before the first look. A change between the first look and a later start would go unnoticed until
//! the timer.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustix::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

mod addresses;
mod folder;
mod guard;
mod parts;
mod users;

pub use addresses::{Concern, watch_addresses};
pub use folder::watch_folder;
pub use guard::GuardWatch;
pub use parts::{PartVoice, Parts};
pub use users::{FoundUser, HookUsers, LookUp};

/// The number of wakes that may wait for the loop. The loop takes all at once, so a few suffice.
const ROOM: usize = 16;

/// The delay after which a source that broke, or could not be opened, is opened again.
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
    /// A part around the loop works, or does not: see [`Parts`].
    Part,
    /// SIGHUP came: the loop reads the configuration again.
    Config,
    /// SIGTERM or SIGINT came: the loop ends.
    Shutdown,
}

/// A running watcher. The watcher ends when this value is dropped. It ends also when it sends a wake that nobody
/// receives any more.
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
pub fn watch_signals(voice: impl Into<PartVoice>) -> Watcher {
    watch(Signals { opened: None }, voice.into())
}

struct Signals {
    opened: Option<[Signal; 3]>,
}

impl fmt::Display for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("signals")
    }
}

impl Source for Signals {
    const WAKE: Wake = Wake::Part;

    fn open(&mut self) -> io::Result<()> {
        let kinds = [SignalKind::hangup(), SignalKind::terminate(), SignalKind::interrupt()];
        let [hangup, terminate, interrupt] = kinds.map(signal);
        self.opened = Some([hangup?, terminate?, interrupt?]);
        Ok(())
    }

    async fn changed(&mut self) -> io::Result<Wake> {
        let Some([hangup, terminate, interrupt]) = &mut self.opened else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let (wake, came) = tokio::select! {
            came = hangup.recv() => (Wake::Config, came),
            came = terminate.recv() => (Wake::Shutdown, came),
            came = interrupt.recv() => (Wake::Shutdown, came),
        };
        came.map(|()| wake).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Something in the kernel that tells of changes. A source is displayed as the name of the thing that it watches.
trait Source: fmt::Display + Send + 'static {
    /// The wake that stands for all changes that went unnoticed while the source was broken.
    const WAKE: Wake;

    /// Opens the source, or opens it anew if it was open.
    fn open(&mut self) -> io::Result<()>;

    /// Returns once something changed, after taking all that the source had to tell. After an error the source must be
    /// opened anew.
    fn changed(&mut self) -> impl Future<Output = io::Result<Wake>> + Send;
}

/// Has the runtime tell when a descriptor can be read.
#[expect(deprecated, reason = "the deprecation is for types whose descriptor may change or close; an OwnedFd's cannot")]
fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// Opens the source and starts a task that sends its wakes for as long as there is a loop to receive them. A source
/// that cannot be opened is tried again, at the start as well as later.
fn watch<S: Source>(mut source: S, voice: PartVoice) -> Watcher {
    let mut is_open = open(&mut source, &voice);
    Watcher(tokio::spawn(async move {
        loop {
            let wake = if is_open { source.changed().await } else { reopen(&mut source, &voice).await };
            match wake {
                Ok(wake) => {
                    is_open = true;
                    if voice.wakes.send(wake).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    is_open = false;
                    voice.tell(Err(format!("watching {source} broke and is tried again each second: {error}")));
                }
            }
        }
    }))
}

/// Opens the source, tells the outcome by the voice, and returns whether the source is open.
fn open<S: Source>(source: &mut S, voice: &PartVoice) -> bool {
    let opened = source.open();
    let told = opened.map_err(|error| format!("{source} cannot be watched, which is tried again each second: {error}"));
    let is_open = told.is_ok();
    voice.tell(told);
    is_open
}

/// Tries to open a source again and again until it is open. Changes meanwhile went unnoticed, so the result is a wake.
async fn reopen<S: Source>(source: &mut S, voice: &PartVoice) -> io::Result<Wake> {
    loop {
        tokio::time::sleep(REOPEN_AFTER).await;
        if open(source, voice) {
            return Ok(S::WAKE);
        }
    }
}
