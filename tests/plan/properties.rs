//! Properties of every plan, whatever happened before: random worlds, hooks, looks and changes by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use vipkeeper::action::{Action, Force, Purpose, RouteCall};
use vipkeeper::binding::{Binding, BindingKey, Kind, Vip};
use vipkeeper::decide::claim::Standing;
use vipkeeper::decide::memory::Memory;
use vipkeeper::decide::plan::{Plan, plan};
use vipkeeper::desired::{Claim, Desired, WhyStandby, WhyUnknown};
use vipkeeper::ec2::Class;
use vipkeeper::ids::{AssociationId, ClaimId, InstanceId, Term};
use vipkeeper::observe::cause::FailedRead;
use vipkeeper::observe::seen::{Claims, Holder, Moment, Now, Observed, Seen, Serving, Sight, WhyUnseen, Witness};

use crate::script::vip;

const KINDS: &str = "elastic_ip, route delete, secondary_ip, local_address, source_dest_check";

/// Something that happens to a node.
#[derive(Debug, Clone)]
enum Happening {
    Leader,
    Standby,
    Unknown,
    /// The binding with this number is now elsewhere, or nowhere.
    Moved(usize),
    Removed(usize),
    Look,
    /// A look in which the binding with this number, or the record (beyond the last one), is not seen.
    BlindLook(usize),
    /// Another node's claim appears, that much older or newer than now.
    Rival(i64),
    Seconds(u64),
    /// Everything planned is carried out; of the binding with this number, the answer is lost.
    Done(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        1 => Just(Happening::Leader),
        1 => Just(Happening::Standby),
        1 => Just(Happening::Unknown),
        1 => (0..5usize).prop_map(Happening::Moved),
        1 => (0..5usize).prop_map(Happening::Removed),
        3 => Just(Happening::Look),
        1 => (0..6usize).prop_map(Happening::BlindLook),
        1 => (-20_000..5_000i64).prop_map(Happening::Rival),
        3 => (0..40u64).prop_map(Happening::Seconds),
        3 => (0..8usize).prop_map(Happening::Done),
    ]
}

/// A node and a small EC2 that does what it is told.
struct World {
    vip: Vip,
    desired: Desired,
    memory: Memory,
    observed: Observed,
    now: Moment,
    bindings: BTreeMap<BindingKey, Seen>,
    tags: BTreeMap<InstanceId, Term>,
    associations: u32,
    /// Every association that EC2 ever named as this node's, in a look or in an answer.
    own: BTreeSet<AssociationId>,
}

impl World {
    fn new() -> Self {
        let vip = vip(KINDS);
        let unseen = Sight { seen: Seen::Unknown(WhyUnseen::NotRead), at: Moment::ZERO };
        Self {
            desired: Desired::Unknown(WhyUnknown::NoFile),
            memory: Memory::default(),
            observed: Observed {
                sights: vip.bindings.keys().map(|key| (key.clone(), unseen.clone())).collect(),
                local: BTreeMap::new(),
                claims: Claims::Unknown,
                witness: Witness::Silent,
                serving: Serving::default(),
                server_ms: None,
            },
            now: Duration::from_secs(1000),
            bindings: vip.bindings.keys().map(|key| (key.clone(), Seen::Absent)).collect(),
            tags: BTreeMap::new(),
            associations: 0,
            own: BTreeSet::new(),
            vip,
        }
    }

    fn wall_ms(&self) -> u64 {
        u64::try_from(self.now.as_millis()).unwrap()
    }

    fn key(&self, number: usize) -> Option<BindingKey> {
        self.vip.bindings.keys().nth(number).cloned()
    }

    fn decide(&mut self) -> Plan {
        let wall_ms = self.wall_ms();
        self.memory.learn(&self.vip, &self.desired, &mut self.observed, Now { at: self.now, wall_ms });
        plan(&self.vip, &self.desired, &self.observed, &self.memory, self.now)
    }

    fn look(&mut self, blind: Option<usize>) {
        for (number, (key, seen)) in self.bindings.iter().enumerate() {
            if let Seen::Here { association: Some(association) } = seen {
                self.own.insert(association.clone());
            }
            let seen = if blind == Some(number) {
                Seen::Unknown(WhyUnseen::ReadFailed(Box::new(FailedRead::of_class(Class::Transient, "no answer"))))
            } else {
                seen.clone()
            };
            self.observed.sights.insert(key.clone(), Sight { seen, at: self.now });
        }
        self.observed.claims = match blind {
            Some(number) if number >= self.bindings.len() => Claims::Unknown,
            _ => Claims::Read {
                terms: self.tags.clone(),
                withdrawn: BTreeMap::new(),
                implausible: BTreeMap::new(),
                edited: BTreeMap::new(),
                at: self.now,
                elsewhere: BTreeMap::new(),
            },
        };
    }

    fn happens(&mut self, happening: &Happening) {
        match happening {
            Happening::Leader => {
                let claim = Claim {
                    id: ClaimId::new(self.wall_ms().to_string()),
                    started_ms: self.wall_ms(),
                    started_at: Some(self.now),
                };
                self.desired = Desired::Leader(claim);
            }
            Happening::Standby => self.desired = Desired::Standby(WhyStandby::Down),
            Happening::Unknown => self.desired = Desired::Unknown(WhyUnknown::Invalid),
            Happening::Moved(number) => {
                let key = self.key(*number).unwrap();
                let local = matches!(key.kind, Kind::LocalAddress | Kind::SourceDestCheck);
                let elsewhere = Seen::Elsewhere(Holder { name: "eni-x".to_owned(), instance: None, blackhole: false });
                self.bindings.insert(key, if local { Seen::Absent } else { elsewhere });
            }
            Happening::Removed(number) => drop(self.bindings.insert(self.key(*number).unwrap(), Seen::Absent)),
            Happening::Look => self.look(None),
            Happening::BlindLook(number) => self.look(Some(*number)),
            Happening::Rival(ms) => {
                self.tags.insert("i-b".parse().unwrap(), Term(self.wall_ms().saturating_add_signed(*ms)));
            }
            Happening::Seconds(seconds) => self.now += Duration::from_secs(*seconds),
            Happening::Done(lost) => {
                let plan = self.decide();
                self.carry_out(&plan, Some(*lost));
            }
        }
    }

    fn carry_out(&mut self, plan: &Plan, lost: Option<usize>) {
        let claim = self.memory.claim.as_ref().map(|own| own.id.clone());
        for (number, (key, verdict)) in plan.bindings.iter().enumerate() {
            let Some(change) = &verdict.change else { continue };
            let Ok(association) = self.perform(key, change.purpose, &change.action) else { continue };
            if lost != Some(number) {
                self.own.extend(association.clone());
                self.memory.note_accepted(key, change.purpose, claim.as_ref(), association, self.now);
            }
        }
        if let Some((term, _)) = plan.record {
            self.tags.insert(self.vip.instance.clone(), term);
            self.memory.record_claim(term, self.now);
        }
    }

    /// Gives the new association, if it makes one.
    fn perform(
        &mut self,
        key: &BindingKey,
        purpose: Purpose,
        action: &Action,
    ) -> Result<Option<AssociationId>, Refused> {
        let held = self.bindings.get(key).unwrap().clone();
        if purpose == Purpose::Release {
            let stale = matches!((action, &held), (Action::DisassociateAddress { association: named, .. },
                Seen::Here { association }) if association.as_ref() != Some(named));
            if matches!(held, Seen::Here { .. }) && !stale {
                self.bindings.insert(key.clone(), Seen::Absent);
            }
            return Ok(None);
        }
        if matches!(held, Seen::Elsewhere(_)) && only_if_free(action) {
            return Err(Refused);
        }
        self.associations += 1;
        let association =
            (key.kind == Kind::ElasticIp).then(|| format!("eipassoc-{}", self.associations).parse().unwrap());
        self.bindings.insert(key.clone(), Seen::Here { association: association.clone() });
        Ok(association)
    }
}

/// By EC2.
struct Refused;

fn only_if_free(action: &Action) -> bool {
    match action {
        Action::AssociateAddress { force, .. } | Action::AssignAddress { force, .. } => *force == Force::IfFree,
        Action::PointRoute { call, .. } => *call == RouteCall::CreateOnly,
        _ => false,
    }
}

/// Whether the action names nothing but the things that the binding names itself.
fn names_only(binding: &Binding, action: &Action) -> bool {
    match (binding, action) {
        (Binding::ElasticIp { allocation, eni, private_ip, .. }, action) => match action {
            Action::AssociateAddress { allocation: it, eni: to, private_ip: at, .. } => {
                (it, to, at) == (allocation, eni, private_ip)
            }
            Action::DisassociateAddress { allocation: it, .. } => it == allocation,
            _ => false,
        },
        (Binding::Route { account, table, destination, eni, .. }, action) => match action {
            Action::PointRoute { account: of, table: it, destination: what, eni: to, .. }
            | Action::DeleteRoute { account: of, table: it, destination: what, eni: to } => {
                (of, it, what, to) == (account, table, destination, eni)
            }
            _ => false,
        },
        (Binding::SecondaryIp { eni, address }, action) => match action {
            Action::AssignAddress { eni: to, address: it, .. } | Action::UnassignAddress { eni: to, address: it } => {
                (to, it) == (eni, address)
            }
            _ => false,
        },
        (Binding::LocalAddress { interface, address, .. }, action) => match action {
            Action::AddLocalAddress { interface: to, address: it } => (to, it) == (interface, address),
            Action::RemoveLocalAddress { address: it, entries, .. } => {
                it == address && !entries.is_empty() && entries.iter().all(|entry| entry.address == *address)
            }
            _ => false,
        },
        (Binding::SourceDestCheck { eni }, action) => {
            matches!(action, Action::DisableSourceDestCheck { eni: of } if of == eni)
        }
    }
}

/// Checks the properties of every plan.
fn hold(world: &World, planned: &Plan) -> Result<(), TestCaseError> {
    let again = plan(&world.vip, &world.desired, &world.observed, &world.memory, world.now);
    prop_assert_eq!(planned, &again, "equal input, equal plan");
    if planned.standing == Standing::Unknown {
        prop_assert!(planned.is_empty(), "nobody said anything: {planned:?}");
    }
    if planned.in_sync() {
        prop_assert!(planned.bindings.values().all(|verdict| verdict.change.is_none()), "in sync: {planned:?}");
    }
    for (key, verdict) in &planned.bindings {
        let Some(change) = &verdict.change else { continue };
        let binding = world.vip.bindings[key].as_ref().unwrap();
        prop_assert!(names_only(binding, &change.action), "names something else: {}", change.action);
        let leads = planned.standing == Standing::Leader;
        let of_others = matches!(change.purpose, Purpose::Release | Purpose::Prepare);
        prop_assert_eq!(leads, !of_others, "only a leader points, only others release and prepare");
        let sight = &world.observed.sights[key];
        let believed = world.memory.tracks.get(key).map_or(&sight.seen, |track| track.believe(sight));
        match change.purpose {
            Purpose::Take => {}
            Purpose::Restore => prop_assert_eq!(believed, &Seen::Absent),
            Purpose::Prepare => {
                prop_assert_eq!(key.kind, Kind::SourceDestCheck);
                prop_assert_eq!(believed, &Seen::Absent);
            }
            Purpose::Retake => prop_assert!(matches!(believed, Seen::Elsewhere(_)), "taken back: {believed:?}"),
            Purpose::Release => prop_assert!(matches!(believed, Seen::Here { .. }), "released: {believed:?}"),
        }
        if matches!(believed, Seen::Unknown(_)) {
            let own = world.memory.claim.as_ref().unwrap();
            let looked = matches!(world.observed.claims, Claims::Read { at, .. } if at >= own.adopted_at);
            prop_assert!(
                looked || own.age(world.now) <= vipkeeper::decide::timing::FRESH,
                "on a guess: {}",
                change.action
            );
        }
        if let Action::DisassociateAddress { association, .. } = &change.action {
            prop_assert!(world.own.contains(association), "not known to be ours: {association}");
        }
    }
    if let Some((_, Action::RecordClaim { key, .. })) = &planned.record {
        prop_assert_eq!(key, "vipkeeper/20.0.0.50/i-a");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_keeps_the_promises(happenings in prop::collection::vec(happening(), 1..40)) {
        let mut world = World::new();
        for happening in &happenings {
            world.happens(happening);
            let planned = world.decide();
            hold(&world, &planned)?;
        }
    }

    #[test]
    fn whatever_happened_a_new_leader_ends_in_sync_and_at_rest(
        happenings in prop::collection::vec(happening(), 0..40),
    ) {
        let mut world = World::new();
        happenings.iter().for_each(|happening| world.happens(happening));
        world.now += Duration::from_secs(6);
        world.happens(&Happening::Leader);
        for _ in 0..4 {
            let planned = world.decide();
            world.carry_out(&planned, None);
            world.now += Duration::from_secs(31);
            world.look(None);
        }
        let planned = world.decide();
        prop_assert_eq!(&planned.standing, &Standing::Leader);
        prop_assert!(planned.in_sync() && planned.is_empty(), "{planned:?}");
    }

    #[test]
    fn whatever_happened_a_standby_ends_with_nothing_of_its_own(
        happenings in prop::collection::vec(happening(), 0..40),
    ) {
        let mut world = World::new();
        happenings.iter().for_each(|happening| world.happens(happening));
        world.happens(&Happening::Standby);
        for _ in 0..4 {
            world.now += Duration::from_secs(31);
            world.look(None);
            let planned = world.decide();
            world.carry_out(&planned, None);
        }
        let planned = world.decide();
        prop_assert!(planned.is_empty(), "{planned:?}");
        let mine = world.bindings.iter().filter(|(_, seen)| matches!(seen, Seen::Here { .. }));
        let left: Vec<_> = mine.map(|(key, _)| key.kind).collect();
        // The check of the own ENI is nobody else's business, and stays off.
        prop_assert!(left.iter().all(|kind| *kind == Kind::SourceDestCheck), "{left:?}");
    }
}
