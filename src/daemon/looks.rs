//! The loop's looks: when a look begins, and what its answers bring.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Daemon;
use super::identifying::Identity;
use super::reads::{self, Consequence, Event, Reads};
use super::schedule::Circumstances;
use super::vip::VipLoop;
use crate::decide::pace::{self, Requests};
use crate::decide::retry::Haste;
use crate::ec2::{Ec2Read, Ec2Write, Urgency};
use crate::identity::{Identify, Node};
use crate::machine::kernel::Kernel;
use crate::observe::Known;
use crate::observe::seen::{Moment, Now};
use crate::problem::ProblemReason;
use crate::report::{News, PassResult};
use crate::state_dir::Machine;

impl<E: Ec2Read + Ec2Write + 'static, K: Kernel + 'static, I: Identify + 'static, M: Machine> Daemon<E, K, I, M> {
    /// Takes the answer to a read into account.
    pub(super) fn answered(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Identity(identity) => self.identified(identity, now),
            Event::Word(asked) => self.heard(asked),
            Event::Port(port) => self.knocking.answered(port, now.at),
            Event::Local(read) => {
                self.reads.local(read, &mut self.world, now.wall_ms);
                self.left_behind.tell(&self.world, &mut self.problems, now.wall_ms);
            }
            Event::Source(read) => {
                let consequence = self.reads.answered(read, &mut self.world, now.wall_ms);
                if let Some(known) = &mut self.known {
                    known.learn(&self.world);
                }
                match consequence {
                    Consequence::Recovered => self.pulse.read_again(),
                    Consequence::TablesFound => self.schedule.once_idle(),
                    Consequence::Throttled => self.pace.throttled(now.at),
                    Consequence::None => {}
                }
            }
        }
    }

    fn identified(&mut self, identity: Result<Node, String>, now: Now) {
        let node = match identity {
            Ok(node) => node,
            Err(message) => {
                self.identifying.failed(now.at, &mut self.around.rng);
                return self.problems.set(ProblemReason::NoIdentity, message, now.wall_ms);
            }
        };
        self.problems.clear(ProblemReason::NoIdentity);
        self.look_for_missing(&node, now);
        let node = match &mut self.known {
            Some(known) => {
                let node = known.completed(node);
                if is_same(known.node(), &node) {
                    return known.stay_node(node);
                }
                node
            }
            None => node,
        };
        self.around.reporter.news(&News::Started {
            version: env!("CARGO_PKG_VERSION"),
            instance: Some(&node.instance),
            region: Some(&node.region),
        });
        match &mut self.known {
            Some(known) => known.become_node(node),
            None => self.known = Some(Known::new(node)),
        }
        self.reads.forget_choices();
        self.schedule.regularly_at(now.at);
    }

    /// Ends the search for this node's identity. If an interface is missing, the search is repeated, because interfaces
    /// come late.
    fn look_for_missing(&mut self, node: &Node, now: Now) {
        if node.missing.is_empty() {
            self.identifying.succeeded();
            return self.problems.clear(ProblemReason::InterfaceMissing);
        }
        self.identifying.failed(now.at, &mut self.around.rng);
        let whys: BTreeSet<_> = node.missing.values().map(String::as_str).collect();
        let message = whys.into_iter().collect::<Vec<_>>().join("; ");
        self.problems.set(ProblemReason::InterfaceMissing, message, now.wall_ms);
    }

    /// Reports the outcome of a look that was answered as a whole, and sets the moment of the next look.
    pub(super) fn look_over(&mut self, look: &reads::Finished) {
        let now = self.now().at;
        self.tell_pass(look);
        let vips: Vec<_> = self.vips.iter().map(VipLoop::situation).collect();
        let haste = if vips.iter().any(|vip| vip.is_eager(now)) { Haste::Eager } else { Haste::Patient };
        let failing = look.failed > 0 || self.vips.iter().any(VipLoop::is_failing);
        let requests = if failing { Requests::Fail } else { Requests::Succeed };
        let interval = self.pace.interval(&self.config.intervals, &vips, requests, now);
        let interval = pace::with_jitter(interval, self.around.rng.f64());
        let retry = self.reads.retry_delay(look, haste, &mut self.around.rng);
        // A source that fails must not make the looks at the other sources rarer.
        self.schedule.regularly_at(now + retry.map_or(interval, |delay| delay.min(interval)));
        // The status says when each source was read, and is handed over once for the whole look.
        self.tell_by = now;
    }

    fn tell_pass(&self, look: &reads::Finished) {
        let result = if look.failed == look.asked {
            PassResult::Failed
        } else if look.failed > 0 || self.vips.iter().any(VipLoop::is_failing) {
            PassResult::Partial
        } else if !self.writing.is_empty() {
            PassResult::Acting
        } else if self.vips.iter().all(VipLoop::is_quiet) {
            PassResult::InSync
        } else {
            PassResult::Waiting
        };
        let duration = self.now().at.saturating_sub(look.began);
        self.around.reporter.news(&News::PassDone { result, duration });
    }

    fn identity(&self) -> Identity {
        let world = &self.world;
        let is_whole =
            |known: &Known| !Reads::own_eni_missing(known, world) && !Reads::own_interface_gone(known, world);
        let serves = self.known.as_ref().is_some_and(is_whole);
        if serves { Identity::Known } else { Identity::Wanting }
    }

    /// When this node's identity is to be searched next, if no answer comes before.
    pub(super) fn next_search(&self) -> Option<Moment> {
        self.identifying.due(self.identity())
    }

    /// Asks who this node is, if that is due.
    pub(super) fn identify(&mut self) {
        let (now, known) = (self.now().at, self.identity());
        if self.identifying.begin(now, known) {
            let (identify, config) = (Rc::clone(&self.around.identify), self.config.clone());
            self.reading.push(Box::pin(async move { Event::Identity(identify.identify(&config).await) }));
        }
    }

    /// Everything besides the schedule that the next look depends on.
    pub(super) fn circumstances(&self) -> Circumstances {
        let now = self.now().at;
        // A claim whose change EC2 did not answer waits for EC2 to answer again.
        let failed_at = self.vips.iter().filter_map(|vip| vip.waiting_since(now)).max();
        Circumstances {
            writing: self.in_flight.writes_to_ec2(),
            reading: self.reads.under_way(),
            second_look: self.vips.iter().filter_map(VipLoop::look_at).min(),
            overtakes: failed_at.and_then(|failed_at| self.reads.overtaken_at(failed_at)),
        }
    }

    pub(super) fn look_is_due(&self) -> bool {
        let next = self.schedule.next_look(&self.circumstances());
        self.known.is_some() && next.is_some_and(|at| at <= self.now().at)
    }

    /// Starts a look if one is due.
    pub(super) fn look_if_due(&mut self) {
        if !self.look_is_due() {
            return;
        }
        self.keep_room();
        if let Some(look) = self.reads.overtaken() {
            self.tell_pass(&look);
        }
        let Some(known) = &self.known else { return };
        let now = self.now().at;
        let longest = pace::longest(&self.config.intervals);
        let circumstances = self.circumstances();
        self.schedule.begin(now, &circumstances, now + longest * 2);
        let urgency = self.vips.iter().map(|vip| vip.situation().urgency(now)).max().unwrap_or(Urgency::Normal);
        let questions = known.questions(&self.config);
        self.world.keep_only(&questions);
        self.reading.extend(self.reads.start(questions, &self.around.ec2, urgency, now));
        self.ask();
    }
}

/// Whether both nodes are the same machine with the same ENIs and the same first interface. If the first interface was
/// not asked for before, the nodes differ. Other details of the interfaces may differ.
fn is_same(known: &Node, asked: &Node) -> bool {
    let enis = |node: &Node| -> Vec<_> {
        node.interfaces.iter().map(|(name, interface)| (name.clone(), interface.eni.clone())).collect()
    };
    known.instance == asked.instance && known.first == asked.first && enis(known) == enis(asked)
}
