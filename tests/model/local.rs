//! One node of the model: the daemon's own `Memory` and planner, driven event by event.
//!
//! Time is relative. All events at a node happen at [`NOW`]. When time passes, every moment that the node remembers is
//! moved back, and moments that are older than any rule can tell apart are made equal. So the nodes have finitely many
//! states, and the answer of each state to each event is worked out once.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use vipkeeper::action::{Action, Force, Purpose, RouteCall};
use vipkeeper::binding::{Account, Anchor, Binding, BindingKey, ClaimMode, Handover, Kind, OnRelease, Vip};
use vipkeeper::claim_tag::{self, WITHDRAWN};
use vipkeeper::decide::claim::{OwnClaim, Rival};
use vipkeeper::decide::memory::{Memory, Track};
use vipkeeper::decide::plan::plan;
use vipkeeper::decide::timing::SETTLE;
use vipkeeper::desired::{Claim, Desired, WhyStandby, WhyUnknown};
use vipkeeper::ec2::Class;
use vipkeeper::ids::{AssociationId, ClaimId, InstanceId, Term};
use vipkeeper::observe::cause::FailedRead;
use vipkeeper::observe::seen::{
    Claims, Holder, Moment, Now, Observed, Port, Quorum, QuorumWord, Seen, Serving, Sight, WhyUnseen, Witness,
};

use crate::hash::Fast;
use crate::rules::{Mutant, Pointing, Setup};

#[path = "normalise.rs"]
mod normalise;

pub const NODES: usize = 3;
/// The moment of all events at a node, by its daemon's clock.
const NOW: Moment = Duration::from_secs(1000);

/// The content of the hook's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum File {
    None,
    Standby,
    /// The claim of the leadership with this number.
    Leader(u8),
}

/// The place where the binding points. An association has a number. A number is used again when no part of the model
/// names it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pointer {
    Absent,
    /// Something other than a node of the cluster.
    Foreign,
    At(u8, u8),
}

/// The term of each node's tag. The bit [`GIVEN_UP`] marks a term that its node gave up.
pub type Tags = [Option<u32>; NODES];
pub const GIVEN_UP: u32 = 1 << 31;

/// An event at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    File(File),
    QuorumLost,
    Notice,
    BeginLook,
    Answer(Pointer, Tags),
    LookFails,
    Accepted {
        purpose: Purpose,
        association: u8,
        claim: u8,
    },
    TagAccepted(u32),
    Failed,
    Pass(u8),
    Restart,
    /// A restart in which the persisted state is lost.
    RestartWithout,
}

/// A write that a node wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    Point { purpose: Purpose, force: bool, claim: u8 },
    Free { association: u8, claim: u8 },
    Tag { term: u32, claim: u8 },
}

/// The new state of a node, and the writes that the node wants now.
#[derive(Debug, Clone, Copy)]
pub struct Next {
    pub local: u32,
    pub binding: Option<What>,
    pub tag: Option<What>,
    /// The node believes in a newer claim that it was shown given up, on the word of a read that may be older than that.
    pub revived: bool,
}

/// The state of one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Local {
    node: u8,
    pub file: File,
    /// The content of the file when the daemon last read it.
    reading: File,
    /// The time since the hook of a claim ran, if the daemon has not noticed that claim yet.
    hook_age: Duration,
    memory: Memory,
    observed: Observed,
    /// The time at which the present look began.
    look: Option<Moment>,
}

impl Local {
    /// The age of the present look, in seconds.
    pub fn look_age(&self) -> Option<u64> {
        self.look.map(|at| (NOW - at).as_secs())
    }

    /// Whether the file has changed since the daemon last read it.
    pub fn has_news(&self) -> bool {
        self.file != self.reading
    }

    fn claim(&self) -> Option<&OwnClaim> {
        self.memory.claim.as_ref().filter(|own| matches!(self.file, File::Leader(k) if own.id == claim_id(k)))
    }

    /// The associations that this node knows by name, as bits.
    fn associations(&self) -> u32 {
        let seen = self.observed.sights.values().map(|sight| &sight.seen);
        let expected = self.memory.tracks.values().filter_map(|track| track.expected.as_ref()).map(|(seen, _)| seen);
        seen.chain(expected).map(|seen| 1 << association_number(seen)).fold(0, |all, bit| all | bit)
    }
}

fn association_number(seen: &Seen) -> u8 {
    let Seen::Here { association: Some(id) } = seen else { return 0 };
    number(id)
}

fn number(id: &AssociationId) -> u8 {
    id.as_str().trim_start_matches("eipassoc-").parse().unwrap()
}

/// The holder that is none of the nodes. It also stands for any holder where no rule asks for the holder.
const OUTSIDE: &str = "eni-x";

fn elsewhere() -> Seen {
    Seen::Elsewhere(Holder { name: OUTSIDE.to_owned(), instance: None, blackhole: false })
}

fn held_by(node: u8) -> Seen {
    Seen::Elsewhere(Holder { name: format!("eni-{}", letter(node)), instance: Some(instance(node)), blackhole: false })
}

/// Whether the last read, which may be older than the end of a newer claim, makes that claim stand again.
fn believes_an_older_read(it: &Local) -> bool {
    let (Some(own), Some(read_at)) = (&it.memory.claim, it.observed.claims.at()) else { return false };
    let rival = own.superseded_by.as_ref();
    let given_up = rival.and_then(|rival| own.seen_given_up.get(&rival.node));
    let is_over =
        |rival: &Rival, (term, learned_at): &(Term, Moment)| *term >= rival.term && read_at < *learned_at + SETTLE;
    rival.zip(given_up).is_some_and(|(rival, given_up)| is_over(rival, given_up))
}

/// The watchdog's word, however old the leadership is that it is asked about.
fn word(quorum: Quorum) -> QuorumWord {
    QuorumWord { quorum, since: Moment::ZERO, at: Moment::MAX }
}

fn claim_id(k: u8) -> ClaimId {
    ClaimId::new(k.to_string())
}

fn claim_number(id: &ClaimId) -> u8 {
    id.as_str().parse().unwrap()
}

pub fn letter(node: u8) -> char {
    char::from(b'a' + node)
}

/// All states of nodes so far, each with a number, and the result of each event in each state.
pub struct Locals {
    setup: Setup,
    key: BindingKey,
    vips: Vec<Vip>,
    all: Vec<Local>,
    associations: Vec<u32>,
    numbers: HashMap<Local, u32, Fast>,
    known: HashMap<(u32, Event), Next, Fast>,
}

impl Locals {
    pub fn new(setup: Setup) -> Self {
        let (kind, target) = match setup.pointing {
            Pointing::ElasticIp => (Kind::ElasticIp, "192.0.2.1"),
            Pointing::Route | Pointing::RouteDeleted => (Kind::Route, "rtb-1"),
            Pointing::SecondaryIp => (Kind::SecondaryIp, "10.0.0.50"),
        };
        let key = BindingKey::new(kind, target);
        let vips = (0..3).map(|node| vip(&setup, node, &key)).collect();
        Self {
            setup,
            key,
            vips,
            all: Vec::new(),
            associations: Vec::new(),
            numbers: HashMap::default(),
            known: HashMap::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn get(&self, number: u32) -> &Local {
        &self.all[number as usize]
    }

    /// The term of the claim that ended, if this node still keeps the binding for a successor.
    pub fn keeps(&self, number: u32) -> Option<u64> {
        self.get(number).memory.keeping.map(|keeping| keeping.term.0)
    }

    pub fn has_lost_quorum(&self, number: u32) -> bool {
        self.get(number).observed.serving.quorum == Some(word(Quorum::Lost))
    }

    /// Whether the node's take for the leadership `k` may disturb another node's newer one. A node that withdrew and claims
    /// anew may lose the binding once in between to an older leader. A take of a node that has stood down since is judged
    /// where it is carried out before the node stands down.
    pub fn is_excused(&self, number: u32, k: u8, other: u8, up_lately: u8) -> bool {
        let own = self.get(number).memory.claim.as_ref().filter(|own| own.id == claim_id(k));
        own.is_none_or(|own| up_lately > 0 && own.seen_given_up.contains_key(&instance(other)))
    }

    /// Whether the node serves the leadership `k`, of which it knows, and has no own write to wait for.
    pub fn serves(&self, number: u32, k: u8) -> bool {
        let local = self.get(number);
        let at_rest = |track: &Track| track.applied && track.expected.is_none();
        !local.has_news()
            && local.claim().is_some_and(|own| own.id == claim_id(k))
            && local.memory.tracks.get(&self.key).is_some_and(at_rest)
    }

    pub fn associations(&self, number: u32) -> u32 {
        self.associations[number as usize]
    }

    /// A node without any events so far.
    pub fn fresh(&mut self, node: u8) -> u32 {
        let sight = Sight { seen: Seen::Unknown(WhyUnseen::NotRead), at: Moment::ZERO };
        let sights = BTreeMap::from([(self.key.clone(), sight)]);
        // Pgpool goes on serving for as long as anybody asks.
        let serving = Serving { port: Port::Answers, quorum: Some(word(Quorum::Has)) };
        let local = Local {
            node,
            file: File::None,
            reading: File::None,
            hook_age: Duration::ZERO,
            memory: Memory::default(),
            observed: Observed {
                sights,
                local: BTreeMap::new(),
                claims: Claims::Unknown,
                witness: Witness::Silent,
                serving,
                server_ms: None,
            },
            look: None,
        };
        self.number(local)
    }

    fn number(&mut self, mut local: Local) -> u32 {
        self.normalise(&mut local);
        if let Some(number) = self.numbers.get(&local) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap();
        self.numbers.insert(local.clone(), number);
        self.associations.push(local.associations());
        self.all.push(local);
        number
    }

    /// The result of an event at a node.
    pub fn after(&mut self, local: u32, event: Event) -> Next {
        if let Some(next) = self.known.get(&(local, event)) {
            return *next;
        }
        let mut it = self.get(local).clone();
        let (mut binding, mut tag) = (None, None);
        if self.happens(&mut it, event) {
            (binding, tag) = self.decide(&mut it);
        }
        let revived = matches!(event, Event::Answer(..)) && believes_an_older_read(&it);
        let next = Next { local: self.number(it), binding, tag, revived };
        self.known.insert((local, event), next);
        next
    }

    /// Applies the event to the node. Returns whether the daemon then decides anew.
    fn happens(&self, it: &mut Local, event: Event) -> bool {
        match event {
            Event::File(file) => {
                it.file = file;
                it.hook_age = Duration::ZERO;
                if matches!(file, File::Leader(_)) {
                    // Only a node with the quorum is elected.
                    it.observed.serving.quorum = Some(word(Quorum::Has));
                }
                return false;
            }
            Event::QuorumLost => it.observed.serving.quorum = Some(word(Quorum::Lost)),
            Event::Notice => it.reading = it.file,
            Event::BeginLook => {
                it.reading = it.file;
                it.look = Some(NOW);
            }
            Event::Answer(pointer, tags) => {
                let at = it.look.take().expect("a look is under way");
                let seen = match pointer {
                    Pointer::Absent => Seen::Absent,
                    Pointer::At(node, association) if node == it.node => {
                        Seen::Here { association: self.association(association) }
                    }
                    Pointer::At(node, _) => held_by(node),
                    Pointer::Foreign => elsewhere(),
                };
                it.observed.sights.insert(self.key.clone(), Sight { seen, at });
                it.observed.claims = claims(&tags, at);
            }
            Event::LookFails => {
                it.look = None;
                let seen =
                    Seen::Unknown(WhyUnseen::ReadFailed(Box::new(FailedRead::of_class(Class::Transient, "no answer"))));
                it.observed.sights.insert(self.key.clone(), Sight { seen, at: Moment::ZERO });
                it.observed.claims = Claims::Unknown;
            }
            Event::Accepted { purpose, association, claim } => {
                let association = self.association(association);
                it.memory.note_accepted(&self.key, purpose, Some(&claim_id(claim)), association, NOW);
            }
            Event::TagAccepted(tag) if tag & GIVEN_UP != 0 => it.memory.record_claim(WITHDRAWN, NOW),
            Event::TagAccepted(term) => it.memory.record_claim(Term(term.into()), NOW),
            Event::Failed => {}
            Event::Pass(seconds) => {
                normalise::pass(it, Duration::from_secs(seconds.into()));
                return false;
            }
            Event::Restart => {
                let persisted = it.memory.to_persist();
                let age = it.claim().map_or(Duration::ZERO, |own| own.age(NOW));
                let restored = persisted.map(|it| {
                    let wall_ms = it.started_ms + millis(age);
                    Memory::restore(it, NOW, wall_ms)
                });
                it.memory = restored.unwrap_or_default();
                self.begin_anew(it);
            }
            Event::RestartWithout => {
                it.hook_age = it.claim().map_or(it.hook_age, |own| own.age(NOW));
                it.memory = Memory::of_nothing(NOW);
                self.begin_anew(it);
            }
        }
        true
    }

    /// Puts the node into the state of a daemon that has not looked yet.
    fn begin_anew(&self, it: &mut Local) {
        it.reading = it.file;
        it.look = None;
        it.observed.claims = Claims::Unknown;
        let sight = Sight { seen: Seen::Unknown(WhyUnseen::NotRead), at: Moment::ZERO };
        it.observed.sights.insert(self.key.clone(), sight);
    }

    fn association(&self, number: u8) -> Option<AssociationId> {
        (self.setup.pointing == Pointing::ElasticIp).then(|| format!("eipassoc-{number}").parse().unwrap())
    }

    /// The daemon's own decision: it learns and plans.
    fn decide(&self, it: &mut Local) -> (Option<What>, Option<What>) {
        let vip = &self.vips[usize::from(it.node)];
        let started_ms = |k: u8| u64::from(k) * self.setup.term_step + self.setup.skew_ms[usize::from(it.node)];
        let (desired, wall_ms) = match it.reading {
            File::None => (Desired::Unknown(WhyUnknown::NoFile), 0),
            File::Standby => (Desired::Standby(WhyStandby::Down), 0),
            File::Leader(k) => {
                let started_at = NOW.checked_sub(it.hook_age);
                let claim = Claim { id: claim_id(k), started_ms: started_ms(k), started_at };
                (Desired::Leader(claim), started_ms(k) + millis(it.hook_age))
            }
        };
        let mutant = self.setup.mutant;
        let mut observed = it.observed.clone();
        if mutant == Some(Mutant::ClaimsNotRead) {
            observed.claims = Claims::Unknown;
        }
        if let (Some(Mutant::EndsUnnamed), Claims::Read { withdrawn, .. }) = (mutant, &mut observed.claims) {
            withdrawn.clear();
        }
        if let Some(own) = &mut it.memory.claim {
            match mutant {
                Some(Mutant::RaisesAlways) => {
                    own.term_settled = false;
                    own.age_at_adoption = Duration::ZERO;
                    own.adopted_at = match &observed.claims {
                        Claims::Read { at, .. } => *at,
                        Claims::Unknown => NOW,
                    };
                }
                Some(Mutant::ForgetsRivals) => own.rival_shown_at = Moment::ZERO,
                _ => {}
            }
        }
        let kept = it.memory.keeping;
        let elsewhere_since: BTreeMap<BindingKey, Moment> = (it.memory.tracks.iter())
            .filter_map(|(key, track)| Some((key.clone(), track.elsewhere.as_ref()?.1)))
            .collect();
        let known = it.memory.claim.as_ref().map(|own| own.seen_given_up.clone());
        if let (Some(Mutant::BelievesOldReads), Some(own)) = (mutant, &mut it.memory.claim) {
            own.seen_given_up.values_mut().for_each(|(_, learned_at)| *learned_at = Moment::ZERO);
        }
        it.memory.learn(vip, &desired, &mut observed, Now { at: NOW, wall_ms });
        if let (Some(Mutant::BelievesOldReads), Some(own), Some(known)) = (mutant, &mut it.memory.claim, known) {
            own.seen_given_up.extend(known);
        }
        let is_over = kept.is_some_and(|keeping| NOW >= keeping.until());
        if (mutant == Some(Mutant::KeepsFromASuccessor) && !is_over)
            || (mutant == Some(Mutant::KeepsForEver) && is_over)
        {
            it.memory.keeping = it.memory.keeping.or(kept.filter(|_| it.reading == File::Standby));
        }
        if mutant == Some(Mutant::KeepsWithoutQuorum) && observed.serving.quorum == Some(word(Quorum::Lost)) {
            it.memory.keeping = it.memory.keeping.or(kept.filter(|_| it.reading == File::Standby && !is_over));
        }
        if mutant == Some(Mutant::AnyHolder) {
            for (key, track) in &mut it.memory.tracks {
                if let (Some((_, since)), Some(before)) = (&mut track.elsewhere, elsewhere_since.get(key)) {
                    *since = *before;
                }
            }
        }
        match (mutant, &mut it.memory.claim) {
            (Some(Mutant::NeverSuperseded), Some(own)) => own.superseded_by = None,
            (Some(Mutant::OneLook), _) => {
                let tracks = it.memory.tracks.values_mut();
                tracks.filter_map(|track| track.elsewhere.as_mut()).for_each(|(_, since)| *since = Moment::ZERO);
            }
            _ => {}
        }
        // A claim that is older than this daemon has just been adopted, and no later claim needs `kept_since`.
        it.memory.kept_since = None;
        let mut memory = it.memory.clone();
        if let (Some(Mutant::AlwaysFresh), Some(own)) = (mutant, &mut memory.claim) {
            own.age_at_adoption = Duration::ZERO;
            own.adopted_at = NOW;
        }
        match (mutant, &mut memory.claim, &observed.claims) {
            (Some(Mutant::LeftoversWait), Some(own), _) => own.seen_given_up.clear(),
            (Some(Mutant::AllAreLeftovers), Some(own), Claims::Read { withdrawn, .. }) => {
                let all = withdrawn.iter().map(|(node, term)| (node.clone(), (*term, NOW)));
                own.seen_given_up.extend(all);
            }
            _ => {}
        }
        let plan = plan(vip, &desired, &observed, &memory, NOW);
        let claim = it.memory.claim.as_ref().map_or(0, |own| claim_number(&own.id));
        let step = plan.bindings.values().find_map(|verdict| verdict.change.as_ref());
        let binding = step.map(|step| what(&step.action, step.purpose, claim));
        let binding = binding.map(|what| match what {
            What::Point { purpose: Purpose::Restore, claim, .. } if mutant == Some(Mutant::RestoreTakes) => {
                What::Point { purpose: Purpose::Restore, force: true, claim }
            }
            other => other,
        });
        let tag = plan.record.map(|(term, action)| match given_up(&action) {
            Some(given_up) => What::Tag { term: u32::try_from(given_up.0).unwrap() | GIVEN_UP, claim: 0 },
            None => What::Tag { term: u32::try_from(term.0).unwrap(), claim },
        });
        let never = mutant == Some(Mutant::NeverWithdraws);
        (binding, tag.filter(|tag| !never || matches!(tag, What::Tag { term, .. } if term & GIVEN_UP == 0)))
    }
}

/// The claims on record as a look shows them.
fn claims(tags: &Tags, at: Moment) -> Claims {
    let (mut terms, mut withdrawn) = (BTreeMap::new(), BTreeMap::new());
    for (node, tag) in (0u8..).zip(tags).filter_map(|(node, tag)| Some((instance(node), (*tag)?))) {
        let term = Term((tag & !GIVEN_UP).into());
        if tag & GIVEN_UP != 0 {
            withdrawn.insert(node.clone(), term);
        }
        terms.insert(node, if tag & GIVEN_UP != 0 { WITHDRAWN } else { term });
    }
    Claims::Read {
        terms,
        withdrawn,
        implausible: BTreeMap::new(),
        edited: BTreeMap::new(),
        at,
        elsewhere: BTreeMap::new(),
    }
}

/// The term that a write to the record gives up. `None` if the write gives no term up.
fn given_up(action: &Action) -> Option<Term> {
    let Action::RecordClaim { key, value, .. } = action else { return None };
    let tags = BTreeMap::from([(key.clone(), value.clone())]);
    claim_tag::among("20.0.0.50".parse().unwrap(), &tags).withdrawn.into_values().next()
}

fn what(action: &Action, purpose: Purpose, claim: u8) -> What {
    let free = |association| What::Free { association, claim };
    match action {
        Action::AssociateAddress { force, .. } | Action::AssignAddress { force, .. } => {
            What::Point { purpose, force: *force == Force::Take, claim }
        }
        Action::PointRoute { call, .. } => What::Point { purpose, force: *call != RouteCall::CreateOnly, claim },
        Action::DisassociateAddress { association, .. } => free(number(association)),
        Action::UnassignAddress { .. } | Action::DeleteRoute { .. } => free(0),
        other => panic!("no action on a pointer: {other}"),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

fn instance(node: u8) -> InstanceId {
    format!("i-{}", letter(node)).parse().unwrap()
}

fn vip(setup: &Setup, node: u8, key: &BindingKey) -> Vip {
    let eni: vipkeeper::ids::EniId = format!("eni-{}", letter(node)).parse().unwrap();
    let table: vipkeeper::ids::RouteTableId = "rtb-1".parse().unwrap();
    let route = |on_release| Binding::Route {
        account: Account::Own,
        table: table.clone(),
        destination: "20.0.0.50/32".parse().unwrap(),
        eni: eni.clone(),
        on_release,
    };
    let (binding, anchor) = match setup.pointing {
        Pointing::ElasticIp => {
            let allocation: vipkeeper::ids::AllocationId = "eipalloc-1".parse().unwrap();
            let binding = Binding::ElasticIp {
                allocation: allocation.clone(),
                eni: eni.clone(),
                private_ip: "10.0.0.9".parse().unwrap(),
                after: None,
            };
            (binding, Anchor::ElasticIp(allocation))
        }
        Pointing::Route => (route(OnRelease::Keep), Anchor::RouteTable(Account::Own, table.clone())),
        Pointing::RouteDeleted => (route(OnRelease::Delete), Anchor::RouteTable(Account::Own, table.clone())),
        Pointing::SecondaryIp => {
            let address: IpAddr = "10.0.0.50".parse().unwrap();
            (Binding::SecondaryIp { eni: eni.clone(), address }, Anchor::Subnet("subnet-1".parse().unwrap()))
        }
    };
    Vip {
        delegate_ip: "20.0.0.50".parse().unwrap(),
        instance: instance(node),
        bindings: BTreeMap::from([(key.clone(), Some(binding))]),
        obstacles: BTreeMap::new(),
        claims: if setup.claims_off { ClaimMode::Off } else { ClaimMode::Tags },
        handover: if setup.keeps { Handover::Always } else { Handover::AtOnce },
        anchor: Some(anchor),
    }
}
