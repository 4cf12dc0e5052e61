//! Whether Pgpool on this node still serves clients, which is asked only while a VIP is kept for a successor.

use crate::decide::timing::KNOCK_AGAIN;
use crate::observe::seen::{Moment, Port};

/// The last knock at Pgpool's port.
#[derive(Debug, Default)]
pub struct Knocking {
    /// Whether a knock is under way.
    waits: bool,
    heard: Port,
    at: Moment,
}

impl Knocking {
    /// The outcome of the last knock.
    pub fn heard(&self) -> Port {
        self.heard
    }

    /// Notes that a knock begins.
    pub fn begin(&mut self) {
        self.waits = true;
    }

    pub fn answered(&mut self, port: Port, now: Moment) {
        (self.waits, self.heard, self.at) = (false, port, now);
    }

    /// When Pgpool's port is to be tried again; `None` while a knock is under way.
    pub fn next(&self) -> Option<Moment> {
        match (self.waits, self.heard) {
            (true, _) => None,
            (false, Port::NotAsked) => Some(Moment::ZERO),
            (false, Port::Answers | Port::Silent) => Some(self.at + KNOCK_AGAIN),
        }
    }

    /// Forgets the last outcome, because no VIP is kept any more.
    pub fn forget(&mut self) {
        if !self.waits {
            self.heard = Port::NotAsked;
        }
    }
}
