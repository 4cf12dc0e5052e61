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

use std::net::IpAddr;

use tokio::sync::mpsc;

mod addresses;
mod folder;
mod guard;
mod parts;
mod signals;
mod users;
mod watcher;

pub use addresses::{Concern, watch_addresses};
pub use folder::watch_folder;
pub use guard::GuardWatch;
pub use parts::{PartVoice, Parts};
pub use signals::watch_signals;
pub use users::{FoundUser, HookUsers, LookUp};
pub use watcher::Watcher;

/// The number of wakes that may wait for the loop. The loop takes all at once, so a few suffice.
const ROOM: usize = 16;

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
    /// Another node answers on a VIP than before, or nobody does, or packets came after a change.
    Probe,
    /// SIGHUP came: the loop reads the configuration again.
    Config,
    /// SIGTERM or SIGINT came: the loop ends.
    Shutdown,
}

/// The channel between the watchers and the loop.
#[must_use]
pub fn channel() -> (mpsc::Sender<Wake>, mpsc::Receiver<Wake>) {
    mpsc::channel(ROOM)
}
