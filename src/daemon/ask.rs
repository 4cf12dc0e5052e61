//! When Pgpool's watchdog is asked for its word, and what is kept of it. What follows from it `witness` says.

use std::net::IpAddr;
use std::time::Duration;

use super::reads::Answer;
use super::vip::Keeper;
use super::{Daemon, Identify};
use crate::config::WitnessMode;
use crate::ec2::{Ec2Read, Ec2Write};
use crate::host::Host;
use crate::machine::Machine;
use crate::observed::{Moment, Witness};
use crate::report::News;
use crate::witness::{Asked, Nobody, Word};

/// Pgpool's watchdog is asked again this long after its word: a hook that never comes is to be noticed within seconds,
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// sooner where no hook has said anything yet, so that its silence may be the lost one,
const ASK_WITHOUT_DESIRED: Duration = Duration::from_secs(5);
/// and soonest while its word and the file contradict each other, and it is not yet known that this lasts, or still does:
/// it may have stood still for a moment, and without a new word the contradiction is over soon.
const ASK_IN_CONTRADICTION: Duration = Duration::from_secs(2);

/// What Pgpool's watchdog said last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WatchdogWord {
    #[default]
    Silent,
    Asking,
    /// There is a watchdog, and it did not answer.
    Unheard,
    Said(Word),
}

impl WatchdogWord {
    pub fn on(&self, delegate_ip: IpAddr) -> Witness {
        match self {
            Self::Silent => Witness::Silent,
            Self::Asking => Witness::Asking,
            Self::Unheard => Witness::Unheard,
            Self::Said(word) => word.on(delegate_ip),
        }
    }
}

impl<E, H, I, M> Daemon<E, H, I, M>
where
    E: Ec2Read + Ec2Write + 'static,
    H: Host + 'static,
    I: Identify + 'static,
    M: Machine,
{
    pub(super) fn ask(&mut self) {
        self.word = WatchdogWord::Asking;
        let asked = (self.around.ask_watchdog)();
        self.reading.push(Box::pin(async move { Answer::Word(asked.await) }));
    }

    /// When the watchdog is to be asked, if no look asks it before.
    pub(super) fn next_ask(&self) -> Option<Moment> {
        if self.config.witness == WitnessMode::Off || self.word == WatchdogWord::Asking {
            return None;
        }
        let stands = matches!(self.word, WatchdogWord::Said(_));
        let after = |keeper: &Keeper| {
            if keeper.is_contradicted() && !(stands && keeper.hook_lost().is_some()) {
                ASK_IN_CONTRADICTION
            } else if keeper.is_unknown() {
                ASK_WITHOUT_DESIRED
            } else {
                ASK_AGAIN
            }
        };
        self.vips.iter().map(after).min().map(|after| self.word_at + after)
    }

    pub(super) fn ask_is_due(&self) -> bool {
        self.known.is_some() && self.next_ask().is_some_and(|at| at <= self.now())
    }

    /// An answer came, or none.
    pub(super) fn heard(&mut self, asked: Asked) {
        // Switched off while it was being asked.
        if self.config.witness == WitnessMode::Off {
            return;
        }
        let reporter = &*self.around.reporter;
        // The bindings that wait for its word say so in status; the node can do the rest of its work without.
        match &asked {
            Asked::Word(_) => reporter.news(&News::Witness { silent: None }),
            Asked::Nobody(why @ Nobody::NotPermitted(_)) => {
                reporter.news(&News::Witness { silent: Some(&why.to_string()) });
            }
            Asked::Nobody(_) => {}
            Asked::Unheard(why) => reporter.news(&News::Witness { silent: Some(why) }),
        }
        self.word = match &asked {
            Asked::Word(word) => WatchdogWord::Said(word.clone()),
            Asked::Nobody(_) => WatchdogWord::Silent,
            Asked::Unheard(_) => WatchdogWord::Unheard,
        };
        self.word_at = self.now();
        self.asked = Some(asked);
        // What is wanted may follow from it.
        self.desired_stale = true;
    }
}
