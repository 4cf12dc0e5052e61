//! The changes of one VIP: which may start now, what follows the end of one, and when one that failed is tried again.

use std::rc::Rc;

use super::VipLoop;
use crate::action::Action;
use crate::binding::Anchor;
use crate::daemon::attempts::{LastFailure, Releases};
use crate::daemon::in_flight::{Failure, InFlight, RateWait, Write, Written};
use crate::decide::pace::{self, LastResult};
use crate::decide::plan::{Change, Subject};
use crate::decide::refusal::Refusal;
use crate::decide::retry::{self, FollowUp};
use crate::ec2::reason::Reason;
use crate::ec2::{Accepted, Class, Effect};
use crate::ids::ClaimId;
use crate::observe::seen::{Claims, Moment, Now};
use crate::report::Outcome;
use crate::status::ConnectionsStatus;

/// Whether the kernel is being asked for its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelLook {
    UnderWay,
    Done,
}

/// The result of a change that ended.
#[derive(Debug)]
pub struct Ending {
    /// `None` for a change that was not sent.
    pub outcome: Option<Outcome>,
    pub follow_up: FollowUp,
}

impl VipLoop {
    /// Every planned change that is not under way and may be tried now.
    pub fn next_writes(
        &mut self,
        in_flight: &mut InFlight,
        kernel: KernelLook,
        now: Moment,
    ) -> Vec<(Write, Rc<RateWait>)> {
        let vip = self.vip();
        let Some(plan) = &self.plan else { return Vec::new() };
        in_flight.want_only(vip, plan);
        let claim = self.decider.memory.claim.as_ref().map(|own| own.id.clone());
        let mut wanted: Vec<_> = plan.changes().collect();
        wanted.sort_by_key(Change::place);
        let mut writes = Vec::new();
        for change in wanted {
            let subject = change.subject();
            let waits = self.due(&subject).is_some_and(|at| now < at);
            let waits_for_kernel = kernel == KernelLook::UnderWay && change.waits_for_kernel();
            if waits || in_flight.has(vip, &subject) || waits_for_kernel {
                continue;
            }
            let wait = in_flight.begin(vip, &change, pace::urgency_of(&change, self.last_result(&subject)));
            writes.push((Write { vip, change, claim: claim.clone(), start: self.starts }, wait));
        }
        writes
    }

    fn last_result(&self, subject: &Subject) -> LastResult {
        match (self.attempts.has_failed(subject), self.attempts.hurries(subject)) {
            (false, _) => LastResult::NotFailed,
            (true, false) => LastResult::Failed,
            (true, true) => LastResult::FailedInFault,
        }
    }

    /// Takes the end of a change into account.
    pub fn written(&mut self, written: &Written, now: Now, rng: &mut fastrand::Rng) -> Ending {
        let Written { write: Write { change, claim, start, .. }, result, reset, .. } = written;
        if let Some(reset) = reset {
            let before = self.connections.as_ref().map_or(0, |before| before.reset);
            self.connections = Some(ConnectionsStatus {
                reset: before.saturating_add(u64::from(reset.ended)),
                at_ms: now.wall_ms,
                left: reset.left.as_ref().map(ToString::to_string),
            });
        }
        let subject = change.subject();
        match result {
            // The change was withdrawn before it was sent. The next plan holds the changes that are wanted instead.
            None => Ending { outcome: None, follow_up: FollowUp::Nothing },
            Some(Ok(accepted)) => {
                self.attempts.forget(|failed| *failed == subject);
                self.note_accepted(change, claim.as_ref(), accepted, now.at);
                let outcome = if accepted.changed { Outcome::Accepted } else { Outcome::Unchanged };
                Ending { outcome: Some(outcome), follow_up: FollowUp::Confirm }
            }
            Some(Err(failure)) => {
                let failure = &self.weighed(&written.write, failure, now.at);
                let outcome = match (failure.class, failure.effect) {
                    (Class::Stale, _) if change.action().is_conditional() => Outcome::Refused,
                    (class, Effect::Unknown) => Outcome::Unknown(class),
                    (class, Effect::None) => Outcome::Failed(class),
                };
                let failures =
                    if *start == self.starts { self.attempts.failed(&subject, failure, now, rng) } else { 1 };
                let follow_up = retry::follow_up(failure.class, failure.effect, failures);
                Ending { outcome: Some(outcome), follow_up }
            }
        }
    }

    /// The failure as it counts. A change that EC2 refuses again and again, while nothing moves, is rejected.
    fn weighed(&mut self, write: &Write, failure: &Failure, now: Moment) -> Failure {
        let mut failure = failure.clone();
        let sight = write.change.key().and_then(|key| self.seen.as_ref()?.1.sights.get(key)).cloned();
        if let (Class::Stale, Some(sight), true) = (failure.class, sight, write.start == self.starts) {
            let refusal = Refusal { action: write.change.action().clone(), code: failure.cause.code.clone(), sight };
            if self.attempts.refused(&write.change.subject(), refusal, now) {
                failure.class = Class::Rejected;
                failure.cause.reason.get_or_insert(Reason::NothingMoves.into());
            }
        }
        failure
    }

    fn note_accepted(&mut self, change: &Change, claim: Option<&ClaimId>, accepted: &Accepted, now: Moment) {
        match change {
            Change::Binding { key, purpose, .. } => {
                self.decider.memory.note_accepted(key, *purpose, claim, accepted.association.clone(), now);
            }
            // The anchor may have changed since the change was planned.
            Change::OwnClaim { term, action } | Change::CopyOfClaim { term, action, .. } => {
                let anchor = self.seen.as_ref().and_then(|(vip, _)| vip.anchor.as_ref());
                match action {
                    Action::RecordClaim { anchor: written, .. } if Some(written) != anchor => {
                        self.decider.memory.copy_claim(written.clone(), *term, now);
                    }
                    _ => self.decider.memory.record_claim(*term, now),
                }
            }
            Change::OldClaim { .. } => self.decider.memory.forgot_at = Some(now),
        }
    }

    /// Lets changes go now that wait because EC2 throttled or did not answer.
    pub fn release_waiting(&mut self, releases: &mut Releases, in_flight: &InFlight, now: Moment) {
        let vip = self.vip();
        let Some(plan) = &self.plan else { return };
        // Only planned changes are released. A change that is not planned could not go and would take the place of
        // another change.
        let goes_at_once = |subject: &Subject| !in_flight.has(vip, subject) || in_flight.hurry(vip, subject);
        self.attempts.release(releases, now, |subject| plan.action(subject).is_some(), goes_at_once);
    }

    /// Whether this change is tried again because a fault is over.
    pub fn hurries(&self, subject: &Subject) -> bool {
        self.attempts.hurries(subject)
    }

    /// Whether the last try of this subject failed because EC2 throttled or did not answer.
    pub fn was_waiting(&self, subject: &Subject) -> bool {
        self.attempts.is_passing(subject)
    }

    /// When the next waiting change may be tried. A change that is under way is left out, because its end wakes the
    /// loop. A local address is left out while the kernel is being asked, because the kernel's answer wakes the loop.
    pub fn next_try(&self, in_flight: &InFlight, kernel: KernelLook) -> Option<Moment> {
        self.attempts
            .subjects()
            .filter(|subject| self.plans(subject) && !in_flight.has(self.vip(), subject))
            .filter(|subject| !(kernel == KernelLook::UnderWay && subject.is_local()))
            .filter_map(|subject| self.due(subject))
            .min()
    }

    fn due(&self, subject: &Subject) -> Option<Moment> {
        self.attempts.due(subject, self.looked_at(subject))
    }

    /// When the last look began that showed this subject.
    fn looked_at(&self, subject: &Subject) -> Option<Moment> {
        let (_, observed) = self.seen.as_ref()?;
        match (subject, &observed.claims) {
            (Subject::Binding(key), _) => observed.sights.get(key).map(|sight| sight.at),
            (Subject::CopyOfClaim(resource), Claims::Read { elsewhere, .. }) => {
                elsewhere.get(resource).map(|copies| copies.at)
            }
            (Subject::OwnClaim | Subject::OldClaim, Claims::Read { at, .. }) => Some(*at),
            (Subject::OwnClaim | Subject::CopyOfClaim(_) | Subject::OldClaim, Claims::Unknown) => None,
        }
    }

    fn plans(&self, subject: &Subject) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.action(subject).is_some())
    }

    /// When EC2 last left a change of a young claim without an answer; `None` if EC2 answered all changes, or if the
    /// claim is not young.
    pub fn waiting_since(&self, now: Moment) -> Option<Moment> {
        self.attempts.unanswered_at().filter(|_| self.situation().is_eager(now))
    }

    /// Whether some change that a failover needs failed and waits for its next try.
    pub fn is_failing(&self) -> bool {
        self.attempts.subjects().any(Subject::matters_to_failover)
    }

    /// The resources on which a copy of this node's claim could not be written, each with the failure.
    pub fn failed_copies(&self) -> impl Iterator<Item = (&Anchor, LastFailure<'_>)> {
        self.attempts.subjects().filter_map(|subject| match subject {
            Subject::CopyOfClaim(resource) => Some((resource, self.failure(subject)?)),
            Subject::Binding(_) | Subject::OwnClaim | Subject::OldClaim => None,
        })
    }

    /// The last failure of a subject that has not succeeded since.
    pub fn failure(&self, subject: &Subject) -> Option<LastFailure<'_>> {
        self.attempts.last(subject, self.looked_at(subject))
    }
}
