//! The changes that failed, and when each may be tried again. Each subject of a VIP has a backoff of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use super::in_flight::Failure;
use crate::backoff::Backoff;
use crate::decide::plan::Subject;
use crate::decide::refusal::{Refusal, Refusals};
use crate::decide::retry::{self, Because};
use crate::ec2::{Class, Effect};
use crate::observe::cause::Cause;
use crate::observe::seen::{Moment, Now};

/// The changes that may still be tried for one reason.
#[derive(Debug)]
pub struct Releases {
    because: Because,
    left: usize,
}

impl From<Because> for Releases {
    fn from(because: Because) -> Self {
        Self { because, left: because.releases() }
    }
}

/// The subjects whose last try failed.
#[derive(Debug, Default)]
pub struct Attempts(BTreeMap<Subject, Attempt>);

/// How often a subject failed in a row, and when it may be tried again.
#[derive(Debug, Default)]
struct Attempt {
    backoff: Backoff,
    failures: u32,
    next_try: Option<Moment>,
    /// When the last try failed, if nobody knows whether the change happened. The next look tells.
    unknown_since: Option<Moment>,
    failed_at: Moment,
    /// Whether the subject is tried again because a fault is over. A claim's take then goes like a first try.
    hurries: bool,
    /// The refusals in a row that said that the world moved.
    refusals: Option<Refusals>,
    last: Option<LastTry>,
}

/// The failure of a subject's last try.
#[derive(Debug)]
struct LastTry {
    at_ms: u64,
    class: Class,
    cause: Cause,
    message: String,
    waits: Duration,
}

/// The last failure of a subject that has not succeeded since.
#[derive(Debug, Clone, Copy)]
pub struct LastFailure<'a> {
    pub at_ms: u64,
    pub class: Class,
    pub cause: &'a Cause,
    pub message: &'a str,
    /// How long the next try waits from the failure on.
    pub waits: Duration,
    /// How often the subject failed in a row.
    pub times: u32,
    pub next_try: Option<Moment>,
}

impl Attempt {
    fn is_passing(&self) -> bool {
        self.last.as_ref().is_some_and(|last| retry::passes(last.class))
    }
}

impl Attempts {
    /// Notes a failure. Returns how often the subject failed in a row.
    pub fn failed(&mut self, subject: &Subject, failure: &Failure, now: Now, rng: &mut fastrand::Rng) -> u32 {
        if failure.class == Class::Throttled && self.hurries(subject) {
            // EC2 throttled a hurried try. The rest then waits for EC2's buckets, and not for the end of a fault.
            self.0.values_mut().for_each(|attempt| attempt.hurries = false);
        }
        let attempt = self.0.entry(subject.clone()).or_default();
        attempt.failures += 1;
        let delay = retry::delay(subject, failure.class, attempt.backoff.next_delay(rng));
        attempt.next_try = Some(now.at + delay);
        attempt.unknown_since = (failure.effect == Effect::Unknown).then_some(now.at);
        attempt.failed_at = now.at;
        attempt.hurries = false;
        attempt.last = Some(LastTry {
            at_ms: now.wall_ms,
            class: failure.class,
            cause: failure.cause.clone(),
            message: failure.message.clone(),
            waits: delay,
        });
        attempt.failures
    }

    /// Notes that EC2 refused a subject's change because the world moved. Returns whether that is refuted by now: looks
    /// show that nothing moves.
    pub fn refused(&mut self, subject: &Subject, refusal: Refusal, now: Moment) -> bool {
        let attempt = self.0.entry(subject.clone()).or_default();
        let refusals = Refusals::and(attempt.refusals.take(), refusal, now);
        attempt.refusals.insert(refusals).are_final(now)
    }

    /// Forgets the failures of the subjects that `which` selects.
    pub fn forget(&mut self, which: impl Fn(&Subject) -> bool) {
        self.0.retain(|subject, _| !which(subject));
    }

    /// Lets planned changes go now that wait because EC2 throttled or did not answer, as many as `releases` allows. If
    /// a fault is over, a claim's takes do not wait for the rate limit either, if they can go at once.
    pub fn release(
        &mut self,
        releases: &mut Releases,
        now: Moment,
        is_planned: impl Fn(&Subject) -> bool,
        goes_at_once: impl Fn(&Subject) -> bool,
    ) {
        let fault_over = releases.because == Because::FaultOver;
        let waiting = self.0.iter_mut().filter(|(subject, attempt)| {
            let waits = attempt.next_try.is_some_and(|at| at > now);
            attempt.is_passing() && is_planned(subject) && (waits || (fault_over && goes_at_once(subject)))
        });
        for (_, attempt) in waiting.take(releases.left) {
            releases.left -= 1;
            attempt.next_try = None;
            attempt.hurries = fault_over;
            if retry::begins_anew(attempt.failures) {
                attempt.backoff.reset();
            }
        }
    }

    /// Whether the subject is tried again because a fault is over.
    pub fn hurries(&self, subject: &Subject) -> bool {
        self.0.get(subject).is_some_and(|attempt| attempt.hurries)
    }

    /// Whether the subject's last try failed because EC2 throttled or did not answer.
    pub fn is_passing(&self, subject: &Subject) -> bool {
        self.0.get(subject).is_some_and(Attempt::is_passing)
    }

    /// When a change last failed because EC2 could not be reached or could not serve; only the last try of each subject
    /// counts.
    pub fn unanswered_at(&self) -> Option<Moment> {
        let is_unanswered = |attempt: &Attempt| matches!(&attempt.last, Some(LastTry { class: Class::Transient, .. }));
        let unanswered = self.0.iter().filter(|(subject, attempt)| !subject.is_local() && is_unanswered(attempt));
        unanswered.map(|(_, attempt)| attempt.failed_at).max()
    }

    /// Whether the subject's last try failed.
    pub fn has_failed(&self, subject: &Subject) -> bool {
        self.0.contains_key(subject)
    }

    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.0.keys()
    }

    /// When a subject that failed may be tried again. `looked_at` is when the last look began that showed the subject.
    pub fn due(&self, subject: &Subject, looked_at: Option<Moment>) -> Option<Moment> {
        let attempt = self.0.get(subject)?;
        retry::due(attempt.next_try, attempt.unknown_since, looked_at)
    }

    /// The last failure of a subject.
    pub fn last(&self, subject: &Subject, looked_at: Option<Moment>) -> Option<LastFailure<'_>> {
        let attempt = self.0.get(subject)?;
        let LastTry { at_ms, class, cause, message, waits } = attempt.last.as_ref()?;
        let (times, next_try) = (attempt.failures, self.due(subject, looked_at));
        Some(LastFailure { at_ms: *at_ms, class: *class, cause, message, waits: *waits, times, next_try })
    }
}
