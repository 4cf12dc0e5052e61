//! A simulated node and its surroundings, shared by the tests of the loop: EC2 in process, and a kernel, hooks and a
//! clock in memory. All time is the runtime's paused clock and all randomness is seeded, so a test takes almost no real
//! time and runs alike each time. There are no sockets, files or threads.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod answers;
pub mod classify;
pub mod computer;
pub mod ec2;
pub mod estate;
pub mod interfaces;
pub mod kill;
pub mod node;
pub mod recorder;

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// The time since the simulated world began.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The events of a run as text for people. The timeline is kept only where somebody will read it.
#[derive(Debug)]
pub struct Timeline {
    clock: Clock,
    lines: Option<RefCell<Vec<String>>>,
}

impl Timeline {
    pub fn silent(clock: Clock) -> Self {
        Self { clock, lines: None }
    }

    pub fn kept(clock: Clock) -> Self {
        Self { clock, lines: Some(RefCell::default()) }
    }

    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    pub fn is_kept(&self) -> bool {
        self.lines.is_some()
    }

    pub fn say(&self, who: &str, what: fmt::Arguments<'_>) {
        if let Some(lines) = &self.lines {
            let at = self.clock.now();
            lines.borrow_mut().push(format!("{:9.3} {who:<8} {what}", at.as_secs_f64()));
        }
    }

    pub fn text(&self) -> String {
        self.lines.as_ref().map(|lines| lines.borrow().join("\n")).unwrap_or_default()
    }
}

/// Runs a test in paused time, with tasks that stay on this thread.
pub fn in_paused_time<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing that could be missing");
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// Lets simulated time pass.
pub async fn pass(duration: Duration) {
    tokio::time::sleep(duration).await;
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
