//! The last word of Pgpool's watchdog, and how far the word counts while the watchdog is asked anew.

use std::net::IpAddr;

use crate::decide::timing::WORD_WITHIN;
use crate::decide::witness::Heard;
use crate::observe::seen::{Moment, Quorum, QuorumWord, Witness};
use crate::pgpool::watchdog::{Asked, PATIENCE};

// A former leader waits for the word for as long as the watchdog may take to give it.
const _: () = assert!(PATIENCE.as_millis() <= WORD_WITHIN.as_millis());

/// The last word of Pgpool's watchdog.
#[derive(Debug, Default)]
pub struct LastWord {
    asked: Option<Asked>,
    at: Moment,
    /// When the first of the words was given that have all said the same of the quorum as the last one.
    quorum_since: Moment,
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

    /// The word that a plan goes by.
    pub fn witness(&self, delegate_ip: IpAddr, now: Moment) -> Witness {
        let heard = Heard { word: self.on(delegate_ip), at: self.at };
        let heard = if self.asking { heard.until_answered() } else { heard };
        // A watchdog that was never asked says nothing, and nobody waits for its word.
        if self.asked.is_some() { heard.counted(now).word } else { heard.word }
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
        if quorum_in(self.asked.as_ref()) != quorum_in(Some(&asked)) {
            self.quorum_since = now;
        }
        self.asked = Some(asked);
    }

    /// Notes the end of a question whose answer does not count any more.
    pub fn ignored(&mut self) {
        self.asking = false;
    }

    /// The last word on the quorum of the watchdog that keeps this VIP.
    pub fn quorum(&self, delegate_ip: IpAddr) -> Option<QuorumWord> {
        let quorum = self.asked.as_ref()?.quorum(delegate_ip)?;
        Some(QuorumWord { quorum, since: self.quorum_since, at: self.at })
    }

    /// When the last answer came.
    pub fn at(&self) -> Moment {
        self.at
    }

    fn on(&self, delegate_ip: IpAddr) -> Witness {
        self.asked.as_ref().map_or(Witness::Silent, |asked| asked.on(delegate_ip))
    }
}

/// The word on the quorum in an answer, whichever VIPs its watchdog keeps.
fn quorum_in(asked: Option<&Asked>) -> Option<Quorum> {
    match asked? {
        Asked::Word(word) => word.quorum,
        Asked::Nobody(_) | Asked::NoAnswer(_) | Asked::Unheard(_) => None,
    }
}
