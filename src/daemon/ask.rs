//! When Pgpool's watchdog is asked for its word, and Pgpool's port is tried.

use super::Daemon;
use super::reads::Event;
use super::vip::VipLoop;
use crate::config::WitnessMode;
use crate::decide::pace::{self, Asking};
use crate::ec2::{Ec2Read, Ec2Write};
use crate::identity::Identify;
use crate::machine::kernel::Kernel;
use crate::observe::seen::Moment;
use crate::pgpool::watchdog::{Asked, Nobody};
use crate::report::News;
use crate::state_dir::Machine;

impl<E: Ec2Read + Ec2Write + 'static, K: Kernel + 'static, I: Identify + 'static, M: Machine> Daemon<E, K, I, M> {
    /// Asks the watchdog, unless the config forbids it or the watchdog is being asked already.
    pub(super) fn ask(&mut self) {
        if self.config.witness == WitnessMode::Off || self.watchdog.is_asking() {
            return;
        }
        self.watchdog.ask();
        let asked = (self.around.ask_watchdog)();
        self.reading.push(Box::pin(async move { Event::Word(asked.await) }));
    }

    /// When the watchdog is to be asked, if no look asks it before.
    pub(super) fn next_ask(&self) -> Option<Moment> {
        if self.config.witness == WitnessMode::Off || self.watchdog.is_asking() {
            return None;
        }
        let has_answered = matches!(self.watchdog.asked(), Some(Asked::Word(_)));
        let after = |vip: &VipLoop| {
            let (keeps, dispute, no_hooks_word) = (vip.keeps(), vip.dispute(), vip.is_unknown());
            pace::ask_after(&Asking { keeps, dispute, no_hooks_word, has_answered }, self.config.witness)
        };
        self.vips.iter().map(after).min().map(|after| self.watchdog.at() + after)
    }

    pub(super) fn ask_is_due(&self) -> bool {
        self.known.is_some() && self.next_ask().is_some_and(|at| at <= self.now().at)
    }

    /// When Pgpool's port is to be tried; `None` while no VIP is kept for a successor.
    pub(super) fn next_knock(&self) -> Option<Moment> {
        self.knocking.next().filter(|_| self.vips.iter().any(VipLoop::keeps))
    }

    /// Tries Pgpool's port if that is due.
    pub(super) fn knock_if_due(&mut self) {
        if !self.vips.iter().any(VipLoop::keeps) {
            return self.knocking.forget();
        }
        if self.next_knock().is_some_and(|at| at <= self.now().at) {
            self.knocking.begin();
            let knock = (self.around.knock)(self.config.pgpool.address);
            self.reading.push(Box::pin(async move { Event::Port(knock.await) }));
        }
    }

    /// Takes the end of a question to the watchdog into account, with or without an answer.
    pub(super) fn heard(&mut self, asked: Asked) {
        if self.config.witness == WitnessMode::Off {
            // The witness was switched off while the watchdog was being asked.
            return self.watchdog.ignored();
        }
        let reporter = &*self.around.reporter;
        // The bindings that wait for the watchdog's word say so in status. The node can do the rest of its work without
        // that word.
        match &asked {
            Asked::Word(_) => reporter.news(&News::Witness { silent: None }),
            Asked::Nobody(why @ (Nobody::NotPermitted(_) | Nobody::Stranger { .. })) => {
                reporter.news(&News::Witness { silent: Some(&why.to_string()) });
            }
            Asked::Nobody(_) => {}
            Asked::NoAnswer(why) | Asked::Unheard(why) => reporter.news(&News::Witness { silent: Some(why) }),
        }
        let now = self.now().at;
        self.watchdog.answered(asked, now);
        // The desired state may follow from the watchdog's word.
        self.stale.desired = true;
    }
}
