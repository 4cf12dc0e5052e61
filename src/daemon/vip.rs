//! One VIP in the loop: its desired state, its memory, what was seen of it, and its plan.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::binding::{Anchor, Binding, BindingKey, ClaimMode, Vip};
use crate::config::{VipConfig, WitnessMode};
use crate::decide::Decider;
use crate::decide::answers::Answers;
use crate::decide::claim::{self, Standing};
use crate::decide::clients::{ClientReads, Clients};
use crate::decide::memory::{Memory, Persisted};
use crate::decide::own_writes::OwnWrites;
use crate::decide::pace::Situation;
use crate::decide::plan::Plan;
use crate::decide::retry;
use crate::decide::timing::EASY_INTERVAL;
use crate::decide::witness::{Dispute, Heard};
use crate::desired::Desired;
use crate::desired::hold::InForce;
use crate::desired::source::Reading;
use crate::ids::{ClaimId, InstanceId};
use crate::observe::obstacles::TakeoverObstacle;
use crate::observe::seen::{Claims, Holder, Moment, Now, Observed, Seen, Sight, WhyUnseen};
use crate::observe::{self, World};
use crate::state_dir::Machine;
use crate::status::ConnectionsStatus;

use super::attempts::Attempts;

pub mod changes;

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
    /// Who answers on the VIP.
    pub(super) answers: Answers,
    /// The longest time between two looks at a VIP that is looked at often, before its random part.
    pub often: Duration,
    attempts: Attempts,
    /// The number of fresh starts. A new claim, the end of a claim and a changed config are fresh starts of every
    /// subject.
    starts: u64,
    persisted: Option<Persisted>,
    /// The claim under which every binding has been seen here, and when that was, in milliseconds since the Unix epoch.
    converged: Option<(ClaimId, u64)>,
    /// The last claim that was held before every binding had been seen here.
    held: Option<ClaimId>,
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
        let held = persisted.as_ref().filter(|persisted| persisted.was_held).map(|persisted| persisted.claim.clone());
        Self {
            config,
            decider: Decider::restore(persisted.clone(), now.at, now.wall_ms),
            reading: None,
            desired_since_ms: now.wall_ms,
            plan: None,
            obstacles: Vec::new(),
            seen: None,
            led: ClientReads::default(),
            answers: Answers::default(),
            often: EASY_INTERVAL,
            attempts: Attempts::default(),
            starts: 0,
            began: persisted.as_ref().map(|persisted| (persisted.claim.clone(), None)),
            persisted,
            converged,
            held,
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

    /// Whether the claim was held before every binding had been seen here.
    pub(super) fn was_held(&self) -> bool {
        self.held.is_some() && self.held.as_ref() == self.decider.memory.claim.as_ref().map(|own| &own.id)
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
        self.attempts.forget(|subject| !retry::counts(subject, &plan, &vip, &observed.claims));
        self.note_progress(&plan, now.wall_ms);
        self.led.learn(&vip, &observed, &plan.standing, self.often);
        if self.decider.hold.as_ref().is_some_and(|hold| now.at < hold.until) {
            // While an operator moves the VIP by hand, it leads to a node that does not lead.
            self.led.begin_anew();
            if plan.standing == Standing::Leader && self.converged_ms().is_none() {
                self.held = self.decider.memory.claim.as_ref().map(|own| own.id.clone());
            }
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

    /// Persists the state that a restart must find, if that state changed.
    pub fn persist(&mut self, machine: &impl Machine) -> Result<(), String> {
        let persisted = self.decider.to_persist();
        let (converged_ms, was_held) = (self.converged_ms(), self.was_held());
        let persisted = persisted.map(|persisted| Persisted { converged_ms, was_held, ..persisted });
        if persisted == self.persisted {
            return Ok(());
        }
        if let Some(persisted) = &persisted {
            machine.save(self.vip(), persisted)?;
        }
        self.persisted = persisted;
        Ok(())
    }

    /// The moment from which a look would change the plan.
    pub fn look_at(&self) -> Option<Moment> {
        self.plan.as_ref()?.look_at
    }

    /// Everything about this VIP that the pace of its looks depends on.
    pub fn situation(&self) -> Situation<'_> {
        Situation {
            standing: self.plan.as_ref().map(|plan| &plan.standing),
            observed: self.seen.as_ref().map(|(_, observed)| observed),
            adopted_at: self.decider.memory.claim.as_ref().map(|own| own.adopted_at),
            converged: self.converged_ms().is_some(),
            nobody_serves: self.led.nobody_since().is_some(),
        }
    }

    /// Whether there is nothing to do, apart from old claims that may be waiting to be forgotten.
    pub fn is_quiet(&self) -> bool {
        self.plan.as_ref().is_some_and(Plan::is_quiet)
    }

    /// Whether this node, whose leadership has ended, keeps the bindings for a successor.
    pub fn keeps(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.keeps)
    }

    /// Where EC2 leads the clients; `None` if nothing was read of it.
    pub(super) fn clients(&self) -> Option<Clients> {
        let (plan, (_, observed)) = self.plan.as_ref().zip(self.seen.as_ref())?;
        self.led.clients(observed, &plan.standing)
    }

    /// The bindings as this node would hold them; `None` where it cannot be known how.
    pub(super) fn bindings(&self) -> impl Iterator<Item = (&BindingKey, Option<&Binding>)> {
        self.seen.iter().flat_map(|(vip, _)| &vip.bindings).map(|(key, binding)| (key, binding.as_ref()))
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

    /// The ids of the resources that showed the newer claim last, if this node reads none of them any more.
    pub(super) fn rival_out_of_sight(&self) -> Option<&BTreeSet<String>> {
        let (vip, observed) = self.seen.as_ref()?;
        let own = self.decider.memory.claim.as_ref().filter(|_| matches!(observed.claims, Claims::Read { .. }))?;
        claim::rival_out_of_sight(own, vip)
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
        let (vip, observed) = self.seen.as_ref().filter(|(vip, _)| vip.claims == ClaimMode::Tags)?;
        if let Some(anchor) = &vip.anchor {
            return observe::tags(anchor, world).err();
        }
        let unresolved = observed.sights.values().find_map(|sight| match &sight.seen {
            Seen::Unknown(why @ WhyUnseen::Unresolved(_)) => Some(why.clone()),
            _ => None,
        });
        Some(unresolved.unwrap_or(WhyUnseen::NotRead))
    }
}
