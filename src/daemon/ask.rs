//! When Pgpool's watchdog is asked for its word, and what is kept of it. What follows from it `witness` says.

use std::net::IpAddr;
use std::time::Duration;

use super::reads::Answer;
use super::vip::VipLoop;
use super::{Daemon, Identify};
use crate::config::WitnessMode;
use crate::decide::witness::Heard;
use crate::ec2::{Ec2Read, Ec2Write};
use crate::machine::kernel::Kernel;
use crate::observe::seen::{Moment, Witness};
use crate::pgpool::watchdog::{Asked, Nobody};
use crate::report::News;
use crate::state_dir::Machine;

/// Pgpool's watchdog is asked again this long after its word: a hook that never comes is to be noticed within seconds,
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// sooner where no hook has said anything yet, so that its silence may be the lost one,
const ASK_WITHOUT_DESIRED: Duration = Duration::from_secs(5);
/// and soonest while its word and the file contradict each other, and it is not yet known that this lasts, or still does:
/// it may have stood still for a moment, and without a new word the contradiction is over soon.
const ASK_IN_CONTRADICTION: Duration = Duration::from_secs(2);

/// What Pgpool's watchdog said last.
#[derive(Debug, Default)]
pub struct LastWord {
    asked: Option<Asked>,
    at: Moment,
    /// It is being asked anew.
    asking: bool,
}

impl LastWord {
    /// For people.
    pub fn asked(&self) -> Option<&Asked> {
        self.asked.as_ref()
    }

    /// What counts for or against the file: nothing while it is asked anew.
    pub fn heard(&self, delegate_ip: IpAddr) -> Heard {
        let word = if self.asking { Witness::Asking } else { self.on(delegate_ip) };
        Heard { word, at: self.at }
    }

    /// What a plan goes by. While it is asked anew, the old word still forbids what it forbade, and permits nothing.
    pub fn witness(&self, delegate_ip: IpAddr) -> Witness {
        match self.on(delegate_ip) {
            Witness::Silent | Witness::Escalated if self.asking => Witness::Asking,
            word => word,
        }
    }

    /// It is not asked any more; an answer that is still to come counts for nothing as long as it is not.
    pub fn forget(&mut self) {
        self.asked = None;
        self.asking = false;
    }

    fn on(&self, delegate_ip: IpAddr) -> Witness {
        match &self.asked {
            None | Some(Asked::Nobody(_)) => Witness::Silent,
            Some(Asked::Unheard(_)) => Witness::Unheard,
            Some(Asked::Word(word)) => word.on(delegate_ip),
        }
    }
}

impl<E, H, I, M> Daemon<E, H, I, M>
where
    E: Ec2Read + Ec2Write + 'static,
    H: Kernel + 'static,
    I: Identify + 'static,
    M: Machine,
{
    /// Asks it, unless it is not to be, or is being asked.
    pub(super) fn ask(&mut self) {
        if self.config.witness == WitnessMode::Off || self.watchdog.asking {
            return;
        }
        self.watchdog.asking = true;
        let asked = (self.around.ask_watchdog)();
        self.reading.push(Box::pin(async move { Answer::Word(asked.await) }));
    }

    /// When the watchdog is to be asked, if no look asks it before.
    pub(super) fn next_ask(&self) -> Option<Moment> {
        if self.config.witness == WitnessMode::Off || self.watchdog.asking {
            return None;
        }
        let stands = matches!(self.watchdog.asked, Some(Asked::Word(_)));
        let after = |keeper: &VipLoop| {
            if keeper.is_contradicted() && !(stands && keeper.hook_lost().is_some()) {
                ASK_IN_CONTRADICTION
            } else if keeper.is_unknown() {
                ASK_WITHOUT_DESIRED
            } else {
                ASK_AGAIN
            }
        };
        self.vips.iter().map(after).min().map(|after| self.watchdog.at + after)
    }

    pub(super) fn ask_is_due(&self) -> bool {
        self.known.is_some() && self.next_ask().is_some_and(|at| at <= self.now())
    }

    /// An answer came, or none.
    pub(super) fn heard(&mut self, asked: Asked) {
        self.watchdog.asking = false;
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
        self.watchdog.at = self.now();
        self.watchdog.asked = Some(asked);
        // What is wanted may follow from it.
        self.desired_stale = true;
    }
}
