//! The last word of Pgpool's watchdog, and how far the word counts while the watchdog is asked anew.

use std::net::IpAddr;

use crate::decide::witness::Heard;
use crate::observe::seen::{Moment, Quorum, Witness};
use crate::pgpool::watchdog::Asked;

/// The last word of Pgpool's watchdog.
#[derive(Debug, Default)]
pub struct LastWord {
    asked: Option<Asked>,
    at: Moment,
    /// Whether the watchdog is being asked anew.
    asking: bool,
}

impl LastWord {
    /// The last answer, for people.
    pub fn asked(&self) -> Option<&Asked> {
        self.asked.as_ref()
    }

    /// The word that counts for or against the file. While the watchdog is asked anew, no word counts.
    pub fn heard(&self, delegate_ip: IpAddr) -> Heard {
        let word = if self.asking { Witness::Asking } else { self.on(delegate_ip) };
        Heard { word, at: self.at }
    }

    /// The word that a plan goes by. While the watchdog is asked anew, its old word still forbids what it forbade, and
    /// permits nothing. A word from before a suspend does not count either.
    pub fn witness(&self, delegate_ip: IpAddr, now: Moment) -> Witness {
        let heard = Heard { word: self.on(delegate_ip), at: self.at };
        match heard.word {
            Witness::Silent | Witness::Escalated if self.asking => Witness::Asking,
            _ if self.asked.is_some() && heard.is_outdated(now) => Witness::Asking,
            word => word,
        }
    }

    /// Forgets the last word, because the watchdog is not asked any more. An answer that is still to come does not
    /// count, unless the watchdog is asked again before.
    pub fn forget(&mut self) {
        self.asked = None;
        self.asking = false;
    }

    /// Notes that the watchdog is being asked.
    pub fn ask(&mut self) {
        self.asking = true;
    }

    pub fn is_asking(&self) -> bool {
        self.asking
    }

    /// Notes the end of a question to the watchdog, with or without an answer.
    pub fn answered(&mut self, asked: Asked, now: Moment) {
        self.asking = false;
        self.at = now;
        self.asked = Some(asked);
    }

    /// Notes the end of a question whose answer does not count any more.
    pub fn ignored(&mut self) {
        self.asking = false;
    }

    /// The last word on the quorum of the watchdog that keeps this VIP, and when that word was given.
    pub fn quorum(&self, delegate_ip: IpAddr) -> Option<(Quorum, Moment)> {
        Some((self.asked.as_ref()?.quorum(delegate_ip)?, self.at))
    }

    /// When the last answer came.
    pub fn at(&self) -> Moment {
        self.at
    }

    fn on(&self, delegate_ip: IpAddr) -> Witness {
        self.asked.as_ref().map_or(Witness::Silent, |asked| asked.on(delegate_ip))
    }
}
