//! Kills a daemon at one point of its life: before or after one of its effects on the world outside.
//!
//! Every effect passes two points. At the point that is armed, the daemon is dead: no later effect of it comes about.
//! The test then ends its task and starts another daemon.

use std::cell::{Cell, RefCell};
use std::future;

#[derive(Debug, Default)]
pub struct KillSwitch {
    /// The number of the point at which the daemon dies. Points are counted from 1.
    armed: Cell<Option<usize>>,
    passed: Cell<usize>,
    dead: Cell<bool>,
    names: RefCell<Vec<String>>,
    counts: Cell<bool>,
}

impl KillSwitch {
    /// Counts the points from now on. With `Some(n)`, the daemon dies at the n-th.
    pub fn arm(&self, at: Option<usize>) {
        self.armed.set(at);
        self.counts.set(true);
    }

    pub fn is_dead(&self) -> bool {
        self.dead.get()
    }

    /// Another daemon runs now.
    pub fn revive(&self) {
        self.dead.set(false);
    }

    /// The points that were passed, in their order.
    pub fn names(&self) -> Vec<String> {
        self.names.borrow().clone()
    }

    /// Whether the daemon gets past this point alive.
    pub fn lives_past(&self, when: &str, effect: &str) -> bool {
        if self.counts.get() && !self.dead.get() {
            self.passed.set(self.passed.get() + 1);
            self.names.borrow_mut().push(format!("{when} {effect}"));
            self.dead.set(self.armed.get() == Some(self.passed.get()));
        }
        !self.dead.get()
    }

    /// Waits for ever if the daemon does not get past this point.
    pub async fn pass(&self, when: &str, effect: &str) {
        if !self.lives_past(when, effect) {
            future::pending::<()>().await;
        }
    }
}
