//! The daemon as a process.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

/// A running `vipkeeper run`. The daemon is killed on drop, and its log is shown if the test fails.
pub struct Daemon {
    child: Child,
    name: &'static str,
    log: PathBuf,
}

impl Daemon {
    pub(super) fn new(child: Child, name: &'static str, log: PathBuf) -> Self {
        Self { child, name, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks the daemon to end, and waits for its end.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.child.wait().unwrap()
    }

    /// Kills the daemon. It has no time to clean up.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the daemon ends by itself, and returns its exit status.
    pub fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- log of {} ----\n{}", self.name, self.log());
        }
        // The daemon may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
