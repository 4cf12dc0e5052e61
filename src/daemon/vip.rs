//! One VIP in the loop: its desired state, its memory, its plan, and the changes that may start now.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::action::Action;
use crate::binding::{Anchor, Binding, BindingKey, ClaimMode, Vip};
use crate::config::{VipConfig, WitnessMode};
use crate::decide::Decider;
use crate::decide::claim::Standing;
use crate::decide::clients::{ClientReads, Clients};
use crate::decide::memory::{Memory, Persisted};
use crate::decide::own_writes::OwnWrites;
use crate::decide::plan::{Change, Plan, State, Subject};
use crate::decide::refusal::Refusal;
use crate::decide::timing::{EAGER_FOR, EASY_INTERVAL, URGENT_FOR};
use crate::decide::witness::{Dispute, Heard};
use crate::desired::Desired;
use crate::desired::hold::InForce;
use crate::desired::source::Reading;
use crate::ec2::reason::Reason;
use crate::ec2::{Accepted, Class, Effect, Urgency};
use crate::ids::{ClaimId, InstanceId};
use crate::observe::obstacles::TakeoverObstacle;
use crate::observe::seen::{Claims, Holder, Moment, Now, Observed, Seen, Sight, WhyUnseen};
use crate::observe::{self, World};
use crate::report::Outcome;
use crate::state_dir::Machine;
use crate::status::ConnectionsStatus;

use super::attempts::{Attempts, LastFailure, Releases};
use super::in_flight::{Failure, InFlight, RateWait, Write, Written};
use super::schedule::FollowUp;

/// A change whose answers were lost more often than this in a row is not looked for each time.
const LOOKS_SOON: u32 = 5;

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

/// One VIP.
pub struct VipLoop {
    pub config: VipConfig,
    decider: Decider,
    reading: Option<Reading>,
    desired_since_ms: u64,
    plan: Option<Plan>,
    /// Everything known that must make a takeover by this node fail.
    pub obstacles: Vec<(Option<BindingKey>, TakeoverObstacle)>,
    /// The VIP and the observations that the last plan was made from.
    seen: Option<(Vip, Observed)>,
    /// The reads so far of where the clients are led.
    led: ClientReads,
    /// The longest time between two looks at a VIP that is looked at often, before its random part.
    pub often: Duration,
    attempts: Attempts,
    /// The number of fresh starts. A new claim, the end of a claim and a changed config are fresh starts of every
    /// subject.
    starts: u64,
    persisted: Option<Persisted>,
    /// The claim under which every binding has been seen here, and when that was, in milliseconds since the Unix epoch.
    converged: Option<(ClaimId, u64)>,
    /// The claim that this node serves or served last, and what spoke against this node's clock when the claim began.
    began: Option<(ClaimId, Option<String>)>,
    /// Whether this node has gained the VIP and not lost it since.
    gained: bool,
    /// The connections that were ended before their local address was removed.
    pub(super) connections: Option<ConnectionsStatus>,
    hold: Result<Option<InForce>, String>,
}

impl VipLoop {
    /// A VIP as a daemon starts to keep it, with the state that an earlier daemon persisted.
    pub fn new(config: VipConfig, machine: &impl Machine, now: Now) -> Self {
        let persisted = machine.load(config.delegate_ip);
        let converged =
            persisted.as_ref().and_then(|persisted| Some((persisted.claim.clone(), persisted.converged_ms?)));
        Self {
            config,
            decider: Decider::restore(persisted.clone(), now.at, now.wall_ms),
            reading: None,
            desired_since_ms: now.wall_ms,
            plan: None,
            obstacles: Vec::new(),
            seen: None,
            led: ClientReads::default(),
            often: EASY_INTERVAL,
            attempts: Attempts::default(),
            starts: 0,
            began: persisted.as_ref().map(|persisted| (persisted.claim.clone(), None)),
            persisted,
            converged,
            gained: false,
            connections: None,
            hold: Ok(None),
        }
    }

    /// This VIP under a changed config. Changes that failed under the old config are tried at once.
    pub fn reconfigured(mut self, config: VipConfig) -> Self {
        self.config = config;
        self.start_afresh();
        self
    }

    fn start_afresh(&mut self) {
        self.attempts.forget(|_| true);
        self.starts += 1;
    }

    fn vip(&self) -> IpAddr {
        self.config.delegate_ip
    }

    /// Reads the desired-state file and the hold afresh. Returns whether the word that is in force changed, or a hold
    /// began or ended.
    pub fn read_desired(&mut self, machine: &mut impl Machine, mode: WitnessMode, heard: Heard, now: Now) -> bool {
        let mut reading = machine.desired(self.vip());
        reading.desired = self.decider.judge(mode, &reading.desired, heard, now);
        let changed = self.reading.as_ref().is_none_or(|before| before.desired != reading.desired);
        if changed {
            self.desired_since_ms = now.wall_ms;
            // A new claim and the end of a claim are fresh starts: no change waits for an old failure.
            self.start_afresh();
        }
        self.hold = machine.hold(self.vip());
        let hold_changed = self.decider.learn_hold(&self.hold, &reading, now.at);
        self.reading = Some(reading);
        changed || hold_changed
    }

    /// The hold over this VIP, or why the hold that is there does not count.
    pub(super) fn hold(&self) -> &Result<Option<InForce>, String> {
        &self.hold
    }

    /// The dispute between the file and the watchdog's last word; `None` if they agree.
    pub(super) fn dispute(&self) -> Option<&Dispute> {
        self.decider.dispute()
    }

    /// Whether there is no hook's word to go by.
    pub fn is_unknown(&self) -> bool {
        matches!(&self.reading, Some(Reading { desired: Desired::Unknown(_), .. }))
    }

    pub(super) fn reading(&self) -> Option<&Reading> {
        self.reading.as_ref()
    }

    pub(super) fn desired_since_ms(&self) -> u64 {
        self.desired_since_ms
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.decider.memory
    }

    pub(super) fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    pub(super) fn converged_ms(&self) -> Option<u64> {
        let claim = self.decider.memory.claim.as_ref()?;
        self.converged.as_ref().filter(|(id, _)| *id == claim.id).map(|(_, at)| *at)
    }

    /// Learns from a look and plans anew.
    pub fn decide(&mut self, mut vip: Vip, mut observed: Observed, own_writes: &mut OwnWrites, now: Now) {
        let Some(reading) = &self.reading else { return };
        own_writes.look(vip.delegate_ip, &observed, &self.decider.memory);
        for key in vip.bindings.keys() {
            if let Some(obstacle) = own_writes.obstacle(vip.delegate_ip, key) {
                vip.obstacles.entry(key.clone()).or_insert(obstacle);
            }
        }
        let desired = reading.desired.clone();
        let plan = self.decider.decide(&vip, &desired, &mut observed, now);
        // A failure is forgotten once its subject is as it should be. A binding that cannot be seen at present keeps
        // its backoff, and so does a claim whose tags could not be read.
        let is_due = |subject: &Subject| match (subject, &observed.claims) {
            (Subject::Binding(key), _) => plan.bindings.get(key).is_some_and(|verdict| verdict.state != State::InSync),
            (_, Claims::Unknown) => vip.claims == ClaimMode::Tags || plan.action(subject).is_some(),
            (Subject::CopyOfClaim(resource), Claims::Read { elsewhere, .. }) if !elsewhere.contains_key(resource) => {
                vip.other_anchors().contains(resource)
            }
            (_, Claims::Read { .. }) => plan.action(subject).is_some(),
        };
        self.attempts.forget(|subject| !is_due(subject));
        self.note_progress(&plan, now.wall_ms);
        self.led.learn(&vip, &observed, &plan.standing, self.often);
        if self.decider.hold.as_ref().is_some_and(|hold| now.at < hold.until) {
            // While an operator moves the VIP by hand, it leads to a node that does not lead.
            self.led.begin_anew();
        }
        self.plan = Some(plan);
        self.seen = Some((vip, observed));
    }

    /// Notes what speaks against this node's clock, if a claim began since the last call.
    pub fn note_clock(&mut self, doubt: Option<&str>) {
        let Some(own) = &self.decider.memory.claim else { return };
        if self.began.as_ref().is_none_or(|(id, _)| *id != own.id) {
            self.began = Some((own.id.clone(), doubt.map(str::to_owned)));
        }
    }

    /// The doubt about this node's clock when its claim began.
    pub(super) fn clock_doubt(&self) -> Option<&str> {
        self.began.as_ref()?.1.as_deref()
    }

    /// Notes when a claim converged, and whether this node holds the VIP.
    fn note_progress(&mut self, plan: &Plan, wall_ms: u64) {
        let leads = plan.standing == Standing::Leader;
        if let Some(own) = &self.decider.memory.claim {
            let new = self.converged.as_ref().is_none_or(|(id, _)| *id != own.id);
            if leads && plan.in_sync() && new {
                self.converged = Some((own.id.clone(), wall_ms));
            }
        }
        // A daemon that was restarted under a claim that had converged has gained the VIP already.
        let led_before = self.plan.as_ref().is_none_or(|before| before.standing == Standing::Unknown);
        self.gained |= leads && led_before && self.converged_ms().is_some();
        self.gained = leads && (self.gained || plan.in_sync());
    }

    /// Whether this node has gained the VIP; `None` while nobody knows what is wanted, or nothing was looked at.
    pub(super) fn has_gained(&self) -> Option<bool> {
        let plan = self.plan.as_ref().filter(|plan| plan.standing != Standing::Unknown)?;
        Some(plan.standing == Standing::Leader && self.gained)
    }

    /// Every planned change that is not under way and may be tried now. While the kernel is being asked for its
    /// addresses, no local address is added: the plan for it rests on an answer that is about to be replaced.
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
        // Local changes come first, so that a node that lets go stops answering for the address first. Copies of a claim come
        // last, so that no take waits for them.
        wanted.sort_by_key(|change| (change.action().is_cloud(), matches!(change, Change::Copy { .. })));
        let mut writes = Vec::new();
        for change in wanted {
            let subject = change.subject();
            let waits = self.due(&subject).is_some_and(|at| now < at);
            // A release does not wait for the kernel's answer: this node must stop answering for the address at once.
            let waits_for_kernel = kernel == KernelLook::UnderWay && subject.is_local() && !change.is_release();
            if waits || in_flight.has(vip, &subject) || waits_for_kernel {
                continue;
            }
            let wait = in_flight.begin(vip, &change, self.urgency_of(&change));
            writes.push((Write { vip, change, claim: claim.clone(), start: self.starts }, wait));
        }
        writes
    }

    /// The urgency of a change. The rate limit counts a claim's first takes and its record, and does not hold them
    /// back. A take that failed is paced: it does not wait until all earlier calls are paid for. A take that is tried
    /// again because a fault is over does not wait.
    fn urgency_of(&self, change: &Change) -> Urgency {
        let subject = change.subject();
        match (change.is_take(), self.attempts.has_failed(&subject)) {
            (false, _) => Urgency::Normal,
            (true, true) if !self.attempts.hurries(&subject) => Urgency::Paced,
            (true, _) => Urgency::Urgent,
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
                let follow_up = match (failure.class, failure.effect) {
                    (Class::Stale, _) | (_, Effect::Unknown) if failures == 1 => FollowUp::LookNow,
                    (Class::Stale, _) | (_, Effect::Unknown) if failures <= LOOKS_SOON => FollowUp::LookSoon,
                    _ => FollowUp::Nothing,
                };
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
            Change::OfBinding { key, purpose, .. } => {
                self.decider.memory.note_accepted(key, *purpose, claim, accepted.association.clone(), now);
            }
            // The anchor may have changed since the change was planned.
            Change::Record { term, action } | Change::Copy { term, action, .. } => {
                let anchor = self.seen.as_ref().and_then(|(vip, _)| vip.anchor.as_ref());
                match action {
                    Action::RecordClaim { anchor: written, .. } if Some(written) != anchor => {
                        self.decider.memory.copy_claim(written.clone(), *term, now);
                    }
                    _ => self.decider.memory.record_claim(*term, now),
                }
            }
            Change::Forget { .. } => self.decider.memory.forgot_at = Some(now),
        }
    }

    /// Persists the state that a restart must find, if that state changed.
    pub fn persist(&mut self, machine: &impl Machine) -> Result<(), String> {
        let persisted = self.decider.to_persist();
        let persisted = persisted.map(|persisted| Persisted { converged_ms: self.converged_ms(), ..persisted });
        if persisted == self.persisted {
            return Ok(());
        }
        if let Some(persisted) = &persisted {
            machine.save(self.vip(), persisted)?;
        }
        self.persisted = persisted;
        Ok(())
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

    /// The moment from which a look would change the plan.
    pub fn look_at(&self) -> Option<Moment> {
        self.plan.as_ref()?.look_at
    }

    /// Whether this node leads and its claim has takes that were not seen yet.
    pub fn is_taking(&self) -> bool {
        self.leads() && self.converged_ms().is_none()
    }

    /// Whether this node's claim is young and has not taken everything yet. Until then the end of a fault must be
    /// noticed at once.
    pub fn is_eager(&self, now: Moment) -> bool {
        self.is_taking() && self.decider.memory.claim.as_ref().is_some_and(|own| now < own.adopted_at + EAGER_FOR)
    }

    /// When EC2 last left a change of a young claim without an answer; `None` if EC2 answered all changes, or if the
    /// claim is not young.
    pub fn waiting_since(&self, now: Moment) -> Option<Moment> {
        self.attempts.unanswered_at().filter(|_| self.is_eager(now))
    }

    /// How long the looks may wait for the rate limit. While a claim is young and still taking, the looks do not wait
    /// at all. While an older claim is still taking, its takes wait for a look, so the looks are paced: they do not
    /// wait until all earlier calls are paid for. All other looks wait for a token.
    pub fn urgency(&self, now: Moment) -> Urgency {
        match &self.decider.memory.claim {
            Some(own) if self.is_taking() && now < own.adopted_at + URGENT_FOR => Urgency::Urgent,
            Some(_) if self.is_taking() => Urgency::Paced,
            _ => Urgency::Normal,
        }
    }

    /// Whether this node, whose leadership has ended, keeps the bindings for a successor.
    pub fn keeps(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.keeps)
    }

    pub fn leads(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.standing == Standing::Leader)
    }

    /// The number of nodes that the record of claims names; 0 while the record is not known.
    pub fn nodes_on_record(&self) -> usize {
        match self.claims() {
            Some(Claims::Read { terms, implausible, .. }) => terms.len() + implausible.len(),
            Some(Claims::Unknown) | None => 0,
        }
    }

    /// Whether this VIP is looked at in a leader's intervals: because this node leads; because this node would lead but
    /// for a newer claim, whose end it must not miss; because nobody serves, so that a leadership which begins is not
    /// missed; or because nobody holds a binding. In the last case somebody soon will hold the binding, and a successor
    /// should know that it is free.
    pub fn looks_often(&self) -> bool {
        let would_lead = self.plan.as_ref().is_some_and(|plan| matches!(plan.standing, Standing::Superseded(_)));
        let is_free = |(key, sight): (&BindingKey, &Sight)| key.kind.leads_clients() && sight.seen == Seen::Absent;
        self.leads()
            || would_lead
            || self.led.nobody_since().is_some()
            || self.seen.as_ref().is_some_and(|(_, observed)| observed.sights.iter().any(is_free))
    }

    /// Whether some change failed and waits for its next try. Old claims do not count, and copies of claims do not
    /// either: neither makes a failover fail.
    pub fn is_failing(&self) -> bool {
        let counts = |subject: &Subject| !matches!(subject, Subject::OldClaim | Subject::CopyOfClaim(_));
        self.attempts.subjects().any(counts)
    }

    /// Whether there is nothing to do, apart from old claims that may be waiting to be forgotten.
    pub fn is_quiet(&self) -> bool {
        let at_rest = |plan: &Plan| plan.in_sync() || plan.standing == Standing::Unknown;
        let writes = |plan: &Plan| plan.changes().any(|change| change.subject() != Subject::OldClaim);
        self.plan.as_ref().is_some_and(|plan| !writes(plan) && at_rest(plan))
    }

    /// The resources on which a copy of this node's claim could not be written, each with the failure.
    pub(super) fn failed_copies(&self) -> impl Iterator<Item = (&Anchor, LastFailure<'_>)> {
        self.attempts.subjects().filter_map(|subject| match subject {
            Subject::CopyOfClaim(resource) => Some((resource, self.failure(subject)?)),
            Subject::Binding(_) | Subject::OwnClaim | Subject::OldClaim => None,
        })
    }

    /// The last failure of a subject that has not succeeded since.
    pub(super) fn failure(&self, subject: &Subject) -> Option<LastFailure<'_>> {
        self.attempts.last(subject, self.looked_at(subject))
    }

    /// Where EC2 leads the clients; `None` if nothing was read of it.
    pub(super) fn clients(&self) -> Option<Clients> {
        let (plan, (_, observed)) = self.plan.as_ref().zip(self.seen.as_ref())?;
        self.led.clients(observed, &plan.standing)
    }

    /// A binding as this node would hold it, the last sight of it, and the last sight that was not unknown.
    pub(super) fn sights(&self, key: &BindingKey) -> (Option<&Binding>, Option<&Sight>, Option<&Sight>) {
        let seen = self.seen.as_ref();
        let binding = seen.and_then(|(vip, _)| vip.bindings.get(key)?.as_ref());
        (binding, seen.and_then(|(_, observed)| observed.sights.get(key)), self.led.last(key))
    }

    pub(super) fn mode(&self) -> Option<ClaimMode> {
        self.seen.as_ref().map(|(vip, _)| vip.claims)
    }

    /// The resource on which the claims were recorded when this VIP was planned last; `None` if claims are off.
    pub(super) fn anchor(&self) -> Option<&Anchor> {
        self.seen.as_ref().filter(|(vip, _)| vip.claims == ClaimMode::Tags)?.0.anchor.as_ref()
    }

    pub(super) fn instance(&self) -> Option<&InstanceId> {
        self.seen.as_ref().map(|(vip, _)| &vip.instance)
    }

    /// The other holder that a binding pointed at when it was seen last.
    pub(super) fn holder(&self, key: &BindingKey) -> Option<&Holder> {
        let (_, observed) = self.seen.as_ref()?;
        match &observed.sights.get(key)?.seen {
            Seen::Elsewhere(holder) => Some(holder),
            Seen::Here { .. } | Seen::Absent | Seen::Unknown(_) => None,
        }
    }

    /// The bindings in EC2 that pointed at this node when they were seen last.
    pub fn seen_here(&self) -> impl Iterator<Item = &BindingKey> {
        let sights = self.seen.iter().flat_map(|(_, observed)| &observed.sights);
        sights.filter_map(|(key, sight)| {
            (key.kind.leads_clients() && matches!(sight.seen, Seen::Here { .. })).then_some(key)
        })
    }

    pub(super) fn claims(&self) -> Option<&Claims> {
        self.seen.as_ref().map(|(_, observed)| &observed.claims)
    }

    /// Why the claims on record are not known, if they are kept as tags.
    pub(super) fn why_claims_unread(&self, world: &World) -> Option<WhyUnseen> {
        let (vip, _) = self.seen.as_ref().filter(|(vip, _)| vip.claims == ClaimMode::Tags)?;
        let Some(anchor) = &vip.anchor else { return Some(WhyUnseen::NotRead) };
        observe::tags(anchor, world).err()
    }
}
