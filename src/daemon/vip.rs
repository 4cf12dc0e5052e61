//! One VIP in the loop: what is wanted and remembered of it, its plan, and which actions may start now.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::action::Purpose;
use crate::binding::{BindingKey, ClaimMode, Kind, Vip};
use crate::config::{VipConfig, WitnessMode};
use crate::decide::claim::Standing;
use crate::decide::memory::{Memory, Persisted};
use crate::decide::plan::{self, Plan, State, Verdict};
use crate::decide::witness::{Contradiction, Heard, judge};
use crate::desired::Desired;
use crate::ec2::{Class, Ec2Write, Effect, Urgency};
use crate::ids::{ClaimId, InstanceId, Term};
use crate::machine::kernel::Kernel;
use crate::observe::seen::{Claims, Moment, Observed, Seen, Sight, WhyUnseen};
use crate::observe::{self, World};
use crate::report::{Direction, News, Outcome, Reporter};
use crate::state_dir::{Machine, Reading};

use super::attempts::{Attempts, LastFailure};
use super::write::{After, Aim, Busy, Errand, Write, WriteFuture, Written};

/// The looks of a claim do not wait for the account's rate limit this long: somewhat longer than the hooks' `wait`.
const URGENT_FOR: Duration = Duration::from_secs(10);
/// So long a claim that has not taken everything looks for the end of a fault as if it were young.
const EAGER_FOR: Duration = Duration::from_mins(1);
/// What fails more often than this in a row, though nobody knows whether it happened, is not looked at each time.
const LOOKS_SOON: u32 = 5;

/// One VIP.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own, and they are independent")]
pub struct VipLoop {
    pub config: VipConfig,
    memory: Memory,
    reading: Option<Reading>,
    desired_since_ms: u64,
    contradiction: Option<Contradiction>,
    /// What is wanted is what the watchdog said, and not the file.
    on_watchdogs_word: bool,
    hook_lost: bool,
    plan: Option<Plan>,
    /// The VIP and what was seen of it, as they were planned with.
    seen: Option<(Vip, Observed)>,
    attempts: Attempts,
    /// Counts what makes every errand start afresh: a new claim, its end, a changed config.
    starts: u64,
    persisted: Option<Persisted>,
    drifting: BTreeSet<BindingKey>,
    pub(super) since: super::document::Since,
    /// The claim under which every binding has been seen here, when that was, and how long it took.
    converged: Option<(ClaimId, u64)>,
    /// This node was said to have gained the VIP, and not to have lost it since.
    held: bool,
    term_said: Option<Term>,
    was_contested: bool,
}

impl VipLoop {
    /// A VIP as it is when a daemon starts to keep it: with what an earlier one persisted.
    pub fn new(config: VipConfig, machine: &impl Machine, now: Moment, wall_ms: u64) -> Self {
        let persisted = machine.load(config.delegate_ip);
        let converged =
            persisted.as_ref().and_then(|persisted| Some((persisted.claim.clone(), persisted.converged_ms?)));
        let overruled = persisted.as_ref().filter(|persisted| persisted.on_watchdogs_word);
        let contradiction =
            overruled.map(|persisted| Contradiction::remembered(&persisted.claim, persisted.started_ms, now));
        let memory = persisted.clone().map(|persisted| Memory::restore(persisted, now, wall_ms)).unwrap_or_default();
        Self {
            config,
            memory,
            reading: None,
            desired_since_ms: wall_ms,
            on_watchdogs_word: overruled.is_some(),
            contradiction,
            hook_lost: false,
            plan: None,
            seen: None,
            attempts: Attempts::default(),
            starts: 0,
            persisted,
            drifting: BTreeSet::new(),
            since: super::document::Since::default(),
            converged,
            held: false,
            term_said: None,
            was_contested: false,
        }
    }

    /// The same VIP under a changed config: what failed under the old one is tried at once.
    pub fn reconfigured(mut self, config: VipConfig, reporter: &dyn Reporter) -> Self {
        self.config = config;
        self.start_afresh(reporter);
        self
    }

    fn start_afresh(&mut self, reporter: &dyn Reporter) {
        for errand in self.attempts.forget(|_| true) {
            tell_backoff(self.vip(), &errand, Duration::ZERO, reporter);
        }
        self.starts += 1;
    }

    fn vip(&self) -> IpAddr {
        self.config.delegate_ip
    }

    /// Reads the desired-state file afresh. Says whether what is wanted changed.
    pub fn read_desired(
        &mut self,
        machine: &mut impl Machine,
        mode: WitnessMode,
        heard: Heard,
        now: Moment,
        reporter: &dyn Reporter,
    ) -> bool {
        let vip = self.vip();
        let mut reading = machine.desired(vip);
        let judged = judge(mode, &reading.desired, heard, &mut self.contradiction, now, machine.wall_ms());
        self.on_watchdogs_word = judged.desired != reading.desired;
        reading.desired = judged.desired;
        if judged.hook_lost != self.hook_lost {
            self.hook_lost = judged.hook_lost;
            reporter.news(&News::HookLost { vip, lost: judged.hook_lost });
        }
        let before = self.reading.as_ref();
        let invalid_before = before.and_then(|before| before.invalid.as_ref());
        match &reading.invalid {
            Some(why) if invalid_before != Some(why) => reporter.news(&News::DesiredInvalid { vip, why }),
            None if invalid_before.is_some() => reporter.news(&News::DesiredValid { vip }),
            _ => {}
        }
        if let Some(alive) = reading.guard_alive
            && before.and_then(|before| before.guard_alive) != Some(alive)
        {
            reporter.news(&News::GuardAlive { vip, alive });
        }
        let changed = before.is_none_or(|before| before.desired != reading.desired);
        if changed {
            self.desired_since_ms = machine.wall_ms();
            // A new claim, or its end, is a new start: nothing waits for an old failure.
            self.start_afresh(reporter);
            reporter.news(&News::DesiredChanged { vip, desired: &reading.desired });
        }
        self.reading = Some(reading);
        changed
    }

    /// File and watchdog have contradicted each other for too long: in what way.
    pub(super) fn hook_lost(&self) -> Option<&Contradiction> {
        self.contradiction.as_ref().filter(|_| self.hook_lost)
    }

    /// File and watchdog contradict each other, by what the watchdog said last.
    pub fn is_contradicted(&self) -> bool {
        self.contradiction.is_some()
    }

    /// No hook's word is there to go by.
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
        &self.memory
    }

    pub(super) fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    pub(super) fn converged_ms(&self) -> Option<u64> {
        let claim = self.memory.claim.as_ref()?;
        self.converged.as_ref().filter(|(id, _)| *id == claim.id).map(|(_, at)| *at)
    }

    /// Learns from what was seen and plans anew.
    pub fn decide(&mut self, vip: Vip, observed: Observed, now: Moment, wall_ms: u64, reporter: &dyn Reporter) {
        let Some(reading) = &self.reading else { return };
        let desired = reading.desired.clone();
        let superseded_before = self.memory.claim.as_ref().is_some_and(|held| held.superseded_by.is_some());
        self.memory.learn(&vip, &desired, &observed, now, wall_ms);
        let plan = plan::plan(&vip, &desired, &observed, &self.memory, now);
        // Forgotten once it is as it should be. A binding that just cannot be seen keeps its backoff.
        let is_due = |errand: &Errand| match errand {
            Errand::Binding(key) => plan.bindings.get(key).is_some_and(|verdict| verdict.state != State::InSync),
            Errand::Record | Errand::Forget => errand.planned(&plan).is_some(),
        };
        for errand in self.attempts.forget(|errand| !is_due(errand)) {
            tell_backoff(vip.delegate_ip, &errand, Duration::ZERO, reporter);
        }
        self.tell(&plan, superseded_before, wall_ms, reporter);
        self.plan = Some(plan);
        self.seen = Some((vip, observed));
    }

    /// Tells what the new plan means, where it differs from the old one.
    fn tell(&mut self, plan: &Plan, superseded_before: bool, wall_ms: u64, reporter: &dyn Reporter) {
        let vip = self.vip();
        self.drifting.retain(|key| plan.bindings.contains_key(key));
        for (key, verdict) in &plan.bindings {
            match verdict.drift {
                Some(reason) => {
                    if self.drifting.insert(key.clone()) {
                        reporter.news(&News::Drift { vip, key, reason, detail: &verdict.why.to_string() });
                    }
                }
                None => drop(self.drifting.remove(key)),
            }
        }
        if let Some(held) = &self.memory.claim {
            if self.term_said != Some(held.term) {
                self.term_said = Some(held.term);
                reporter.news(&News::ClaimTerm { vip, term: held.term });
            }
            if let (Some(by), false) = (&held.superseded_by, superseded_before) {
                reporter.news(&News::Superseded { vip, by: &by.node, term: by.term });
            }
            let new = self.converged.as_ref().is_none_or(|(id, _)| *id != held.id);
            if plan.standing == Standing::Leader && plan.in_sync() && new {
                self.converged = Some((held.id.clone(), wall_ms));
                let after = Duration::from_millis(wall_ms.saturating_sub(held.started_ms));
                reporter.news(&News::Converged { vip, claim: &held.id, after });
            }
        }
        let leads = plan.standing == Standing::Leader;
        // A daemon that was restarted under a claim that had converged has gained nothing.
        let led_before = self.plan.as_ref().is_none_or(|before| before.standing == Standing::Unknown);
        self.held |= leads && led_before && self.converged_ms().is_some();
        let holds = leads && (self.held || plan.in_sync());
        if holds != self.held {
            self.held = holds;
            let direction = if holds { Direction::Gained } else { Direction::Lost };
            reporter.news(&News::Takeover { vip, direction });
        }
        let contested = plan::contested(&self.memory);
        if contested != self.was_contested {
            self.was_contested = contested;
            reporter.news(&News::Contested { vip, contested });
        }
    }

    /// Starts every planned action that is not under way and may be tried now. While the kernel is being asked for its
    /// addresses, none is changed: the plan for them rests on an answer that is about to be replaced.
    pub fn start<E: Ec2Write + 'static, H: Kernel + 'static>(
        &mut self,
        ec2: &Rc<E>,
        host: &Rc<H>,
        busy: &mut Busy,
        asking_kernel: bool,
        now: Moment,
        reporter: &Rc<dyn Reporter>,
    ) -> Vec<WriteFuture> {
        let vip = self.vip();
        let Some(plan) = &self.plan else { return Vec::new() };
        busy.want_only(vip, plan);
        let claim = self.memory.claim.as_ref().map(|held| held.id.clone());
        let steps = plan
            .steps()
            .map(|(key, step)| (Errand::Binding(key.clone()), Aim::Change(step.purpose), step.action.clone()));
        let record = plan.record.iter().map(|(term, action)| (Errand::Record, Aim::Record(*term), action.clone()));
        let forget = plan.forget.iter().map(|action| (Errand::Forget, Aim::Forget, action.clone()));
        let mut wanted: Vec<_> = record.chain(forget).chain(steps).collect();
        // A node that lets go stops answering for the address first.
        wanted.sort_by_key(|(.., action)| action.is_cloud());
        let mut started: Vec<WriteFuture> = Vec::new();
        for (errand, aim, action) in wanted {
            let held_back = self.due(&errand).is_some_and(|at| now < at);
            // A release does not wait for the kernel's answer: that this node answers for the address must end at once.
            let waits_for_kernel = asking_kernel && !action.is_cloud() && aim != Aim::Change(Purpose::Release);
            if held_back || busy.has(vip, &errand) || waits_for_kernel {
                continue;
            }
            // What a claim takes first is counted by the rate limit and not held back by it; so is its record. What
            // failed of that does not wait until all that succeeded is paid for.
            let first = !self.attempts.has_failed(&errand) || self.attempts.hurries(&errand);
            let urgency = match aim {
                Aim::Change(Purpose::Take) | Aim::Record(_) if first => Urgency::Urgent,
                Aim::Change(Purpose::Take) | Aim::Record(_) => Urgency::Paced,
                Aim::Change(_) | Aim::Forget => Urgency::Normal,
            };
            let turn = busy.begin(vip, &errand, &action, urgency);
            let write = Write { vip, errand, aim, action, claim: claim.clone(), start: self.starts };
            let (ec2, host, reporter) = (Rc::clone(ec2), Rc::clone(host), Rc::clone(reporter));
            started.push(Box::pin(async move { write.carry_out(&*ec2, &*host, &turn, &*reporter).await }));
        }
        started
    }

    /// Takes the end of a write into account.
    pub fn written(
        &mut self,
        written: &Written,
        now: Moment,
        wall_ms: u64,
        rng: &mut fastrand::Rng,
        reporter: &dyn Reporter,
    ) -> After {
        let Written { write: Write { vip, errand, aim, action, claim, start }, result, took } = written;
        // Nothing happened: the next plan says what is wanted instead.
        let Some(result) = result else { return After::Nothing };
        let (outcome, after) = match result {
            Ok(accepted) => {
                for errand in self.attempts.forget(|failed| failed == errand) {
                    tell_backoff(*vip, &errand, Duration::ZERO, reporter);
                }
                match (aim, errand) {
                    (Aim::Change(purpose), Errand::Binding(key)) => {
                        self.memory.record(key, *purpose, claim.as_ref(), accepted.association.clone(), now);
                    }
                    (Aim::Record(term), _) => self.memory.record_claim(*term, now),
                    (Aim::Forget, _) => self.memory.forgot_at = Some(now),
                    (Aim::Change(_), Errand::Record | Errand::Forget) => {}
                }
                (if accepted.changed { Outcome::Accepted } else { Outcome::Unchanged }, After::Confirm)
            }
            Err(failure) => {
                let conditional = action.is_conditional();
                let outcome = match (failure.class, failure.effect) {
                    (Class::Stale, _) if conditional => Outcome::Refused,
                    (class, Effect::Unknown) => Outcome::Unknown(class),
                    (class, Effect::None) => Outcome::Failed(class),
                };
                let failures = if *start == self.starts {
                    let (failures, delay) = self.attempts.failed(errand, failure, now, wall_ms, rng);
                    tell_backoff(*vip, errand, delay, reporter);
                    failures
                } else {
                    1
                };
                let after = match (failure.class, failure.effect) {
                    (Class::Stale, _) | (_, Effect::Unknown) if failures == 1 => After::LookNow,
                    (Class::Stale, _) | (_, Effect::Unknown) if failures <= LOOKS_SOON => After::LookSoon,
                    _ => After::Nothing,
                };
                (outcome, after)
            }
        };
        let failure = result.as_ref().err();
        reporter.news(&News::ActionDone {
            vip: *vip,
            key: errand.key(),
            action,
            outcome,
            code: failure.and_then(|failure| failure.code.as_deref()),
            error: failure.map(|failure| failure.message.as_str()),
            duration: *took,
        });
        after
    }

    /// Persists what a restart must find, if it changed.
    pub fn persist(&mut self, machine: &impl Machine) -> Result<(), String> {
        let persisted = self.memory.to_persist();
        let persisted = persisted.map(|persisted| Persisted {
            converged_ms: self.converged_ms(),
            on_watchdogs_word: self.on_watchdogs_word,
            ..persisted
        });
        if persisted == self.persisted {
            return Ok(());
        }
        if let Some(persisted) = &persisted {
            machine.save(self.vip(), persisted)?;
        }
        self.persisted = persisted;
        Ok(())
    }

    /// Lets up to `most` changes be tried now that wait because EC2 throttled or did not answer; where a fault is over,
    /// what a claim takes does not wait for the rate limit either. Says how many.
    pub fn release_held_back(&mut self, most: usize, fault_over: bool, busy: &Busy, now: Moment) -> usize {
        let vip = self.vip();
        let Some(plan) = &self.plan else { return 0 };
        // What is not planned could not go, and would stand in the others' way.
        let goes_at_once = |errand: &Errand| !busy.has(vip, errand) || busy.hurry(vip, errand);
        self.attempts.release(most, fault_over, now, |errand| errand.planned(plan).is_some(), goes_at_once)
    }

    /// Whether this change is tried again because a fault is over.
    pub fn hurries(&self, errand: &Errand) -> bool {
        self.attempts.hurries(errand)
    }

    /// Whether its last try failed, and not for a reason of its own.
    pub fn was_held_up(&self, errand: &Errand) -> bool {
        self.attempts.is_passing(errand)
    }

    /// When the next held-back action may be tried. Those under way wake the loop by ending, and so does the kernel's
    /// answer, which local addresses wait for.
    pub fn next_try(&self, busy: &Busy, asking_kernel: bool) -> Option<Moment> {
        self.attempts
            .errands()
            .filter(|errand| self.plans(errand) && !busy.has(self.vip(), errand))
            .filter(|errand| !(asking_kernel && errand.is_local()))
            .filter_map(|errand| self.due(errand))
            .min()
    }

    fn due(&self, errand: &Errand) -> Option<Moment> {
        self.attempts.due(errand, self.looked_at(errand))
    }

    /// When the last look began that showed what an errand is about.
    fn looked_at(&self, errand: &Errand) -> Option<Moment> {
        let (_, observed) = self.seen.as_ref()?;
        match (errand, &observed.claims) {
            (Errand::Binding(key), _) => observed.sights.get(key).map(|sight| sight.at),
            (Errand::Record | Errand::Forget, Claims::Read { at, .. }) => Some(*at),
            (Errand::Record | Errand::Forget, Claims::Unknown) => None,
        }
    }

    fn plans(&self, errand: &Errand) -> bool {
        self.plan.as_ref().is_some_and(|plan| errand.planned(plan).is_some())
    }

    /// When a look would change the plan.
    pub fn look_at(&self) -> Option<Moment> {
        self.plan.as_ref()?.look_at
    }

    /// A claim whose takes are not all seen yet.
    pub fn is_taking(&self) -> bool {
        self.leads() && self.converged_ms().is_none()
    }

    /// The same, and it has not lasted long: a fault that is over is to be noticed at once.
    pub fn is_eager(&self, now: Moment) -> bool {
        self.is_taking() && self.memory.claim.as_ref().is_some_and(|held| now < held.adopted_at + EAGER_FOR)
    }

    /// The same, where EC2 did not answer what it asked for: when that was last.
    pub fn held_up_at(&self, now: Moment) -> Option<Moment> {
        self.attempts.unanswered_at().filter(|_| self.is_eager(now))
    }

    /// How long the looks may wait for the rate limit: not at all while a claim is young; and as long as it is still
    /// taking, because its takes wait for a look by then, not until everything is paid for that failed before.
    pub fn urgency(&self, now: Moment) -> Urgency {
        match &self.memory.claim {
            Some(held) if self.is_taking() && now < held.adopted_at + URGENT_FOR => Urgency::Urgent,
            Some(_) if self.is_taking() => Urgency::Paced,
            _ => Urgency::Normal,
        }
    }

    pub fn leads(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.standing == Standing::Leader)
    }

    /// Whether to look at a leader's intervals: it leads; it would but for a newer claim, whose end it must not miss; or
    /// nobody holds a binding, so that somebody soon will, and a successor should know of it.
    pub fn looks_often(&self) -> bool {
        let would_lead = self.plan.as_ref().is_some_and(|plan| matches!(plan.standing, Standing::Superseded(_)));
        let is_free = |(key, sight): (&BindingKey, &Sight)| {
            matches!(key.kind, Kind::ElasticIp | Kind::Route | Kind::SecondaryIp) && sight.seen == Seen::Absent
        };
        self.leads()
            || would_lead
            || self.seen.as_ref().is_some_and(|(_, observed)| observed.sights.iter().any(is_free))
    }

    /// Something was tried and failed, and waits for its next try. Old claims that stay make no failover fail.
    pub fn is_failing(&self) -> bool {
        self.attempts.errands().any(|errand| *errand != Errand::Forget)
    }

    /// There is nothing to do, but for old claims that may be waiting to be forgotten.
    pub fn is_quiet(&self) -> bool {
        let at_rest = |plan: &Plan| plan.in_sync() || plan.standing == Standing::Unknown;
        self.plan.as_ref().is_some_and(|plan| plan.record.is_none() && plan.steps().next().is_none() && at_rest(plan))
    }

    /// How a binding stands, with what the loop knows of failures.
    pub(super) fn state(&self, key: &BindingKey, verdict: &Verdict) -> State {
        match self.failure(&Errand::Binding(key.clone())).map(|failure| failure.class) {
            Some(Class::Denied | Class::Rejected) => State::Blocked,
            _ => verdict.state,
        }
    }

    /// The last failure of an errand that has not succeeded since.
    pub(super) fn failure(&self, errand: &Errand) -> Option<LastFailure<'_>> {
        self.attempts.last(errand, self.looked_at(errand))
    }

    pub(super) fn mode(&self) -> Option<ClaimMode> {
        self.seen.as_ref().map(|(vip, _)| vip.claims)
    }

    pub(super) fn instance(&self) -> Option<&InstanceId> {
        self.seen.as_ref().map(|(vip, _)| &vip.instance)
    }

    pub(super) fn claims(&self) -> Option<&Claims> {
        self.seen.as_ref().map(|(_, observed)| &observed.claims)
    }

    /// Why the claims on record are not known, where they are to be read.
    pub(super) fn why_claims_unread(&self, world: &World) -> Option<WhyUnseen> {
        let (vip, _) = self.seen.as_ref().filter(|(vip, _)| vip.claims == ClaimMode::Tags)?;
        let Some(anchor) = &vip.anchor else { return Some(WhyUnseen::NotRead) };
        observe::tags(anchor, world).err()
    }
}

/// An old claim that stays holds nobody up, so it has no backoff that people need to see.
fn tell_backoff(vip: IpAddr, errand: &Errand, delay: Duration, reporter: &dyn Reporter) {
    if *errand != Errand::Forget {
        reporter.news(&News::Backoff { vip, key: errand.key(), delay });
    }
}
