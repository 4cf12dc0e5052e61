//! The guards: the watchdog processes whose death turns a leader's desired file into a standby's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::Wake;
use super::watcher::{Watcher, readable};
use crate::machine::process::{self, Process};

/// How often a process is looked at where the kernel cannot tell of its end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Watches one process for each VIP.
#[derive(Debug)]
pub struct GuardWatch {
    wakes: mpsc::Sender<Wake>,
    watched: BTreeMap<IpAddr, (Process, Watcher)>,
}

impl GuardWatch {
    /// A watch of no process yet.
    #[must_use]
    pub const fn new(wakes: mpsc::Sender<Wake>) -> Self {
        Self { wakes, watched: BTreeMap::new() }
    }

    /// Sends [`Wake::GuardDied`] once when this process is gone, or at once if it is gone already. The VIP's earlier
    /// guard is not watched any more. A call for the guard that is watched already does nothing, so every pass may call
    /// this function, and a dead guard wakes the loop only once.
    pub fn watch(&mut self, vip: IpAddr, guard: Process) {
        if self.watched.get(&vip).is_some_and(|(watched, _)| *watched == guard) {
            return;
        }
        let wakes = self.wakes.clone();
        let watcher = Watcher(tokio::spawn(async move {
            gone(guard).await;
            // Without a receiver there is no loop to wake.
            let _ = wakes.send(Wake::GuardDied(vip)).await;
        }));
        self.watched.insert(vip, (guard, watcher));
    }

    /// Ends the watch of a VIP that has no guard any more.
    pub fn forget(&mut self, vip: IpAddr) {
        self.watched.remove(&vip);
    }

    /// Ends the watch of the guards of all VIPs but these.
    pub fn keep_only(&mut self, vips: &BTreeSet<IpAddr>) {
        self.watched.retain(|vip, _| vips.contains(vip));
    }
}

/// Returns once the process is gone.
async fn gone(guard: Process) {
    match open(guard) {
        // The descriptor stands for the process that had the id when the descriptor was opened. If the guard is still
        // alive now, that process is the guard, and the descriptor stays the guard's even if another process gets the
        // id later.
        Ok(descriptor) if process::is_alive(&guard) => match descriptor.readable().await {
            Ok(_) => {}
            Err(_) => poll(guard).await,
        },
        Ok(_) | Err(Errno::SRCH) => {}
        // The kernel gives no descriptor: Linux before 5.3 (ENOSYS), a sandbox (EPERM), no descriptor left (EMFILE).
        // Then the guard is polled.
        Err(_) => poll(guard).await,
    }
}

/// A descriptor that becomes readable when the process ends (pidfd_open(2)).
fn open(guard: Process) -> Result<AsyncFd<OwnedFd>, Errno> {
    let pid = i32::try_from(guard.pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
    readable(descriptor).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

async fn poll(guard: Process) {
    while process::is_alive(&guard) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn without_help_from_the_kernel_the_end_is_found_by_looking() {
        let mut process = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = process.id();
        let guard = Process { pid, start_time: process::start_time(pid).unwrap() };
        assert!(tokio::time::timeout(3 * LOOK_EVERY, poll(guard)).await.is_err(), "it lives");
        // The killed process is not collected yet, so the poll must recognize a zombie.
        process.kill().unwrap();
        let found = tokio::time::timeout(Duration::from_secs(5), poll(guard)).await;
        process.wait().unwrap();
        found.expect("found within a few looks");
    }
}
