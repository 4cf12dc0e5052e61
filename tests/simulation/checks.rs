//! The rules that must hold at all times. The first breach is kept, and the code that runs the cluster asks for it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use ec2_endpoint::account::model::{RouteTarget, Tags};
use ec2_endpoint::{Account, DeleteRoute, DisassociateAddress, Operation, UnassignPrivateIpAddresses};
use ipnet::IpNet;
use vipkeeper::binding::ClaimMode;
use vipkeeper::claim_tag;
use vipkeeper::config::Config;
use vipkeeper::desired::Desired;
use vipkeeper::desired::hold::Extent;
use vipkeeper::ids::{InstanceId, Term};
use vipkeeper::status::Status;

use crate::support::Timeline;
use crate::support::computer::Computer;
use crate::support::ec2::{Asked, Watch};
use crate::support::node::SimNode;
use crate::support::recorder::unserved;

/// A claim counts as withdrawn when a read does not show it that began at least this long after the answer of a read
/// that did.
const GONE_AFTER: Duration = Duration::from_secs(5);

/// A change that began under a claim may go on for this long after the claim ended: the move of an IPv6 address takes
/// three calls, and the client waits up to 3 s for each.
const ENDS_WITHIN: Duration = Duration::from_secs(9);

/// A VIP that was served for this long is not newly told as one that nobody serves. A read shows a state that is up to
/// 5 s old, its answer takes up to 8 s, and the request may wait for the rate limit before.
const SEEN_AS_SERVED: Duration = Duration::from_secs(20);

/// One place in EC2 that points a VIP at a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pointer {
    /// An Elastic IP by its allocation, and the private address that it must be at if not the primary address.
    ElasticIp(String, Option<Ipv4Addr>),
    Route(String, IpNet),
    Secondary(IpAddr),
}

impl Pointer {
    /// The ENI to which the pointer leads, or a text for anything else.
    pub fn holder(&self, account: &Account) -> Option<String> {
        match self {
            Self::ElasticIp(id, private_ip) => {
                let association = account.elastic_ip(id)?.association.as_ref()?;
                let (eni, at) = (&association.network_interface_id, association.private_ip);
                let right = private_ip.or_else(|| account.eni(eni).map(|eni| eni.primary_ip())) == Some(at);
                Some(if right { eni.clone() } else { format!("{eni} at {at}") })
            }
            Self::Route(table, destination) => match &account.route_table(table)?.routes.get(destination)?.target {
                RouteTarget::NetworkInterface(eni) => Some(eni.clone()),
                other => Some(format!("{other:?}")),
            },
            Self::Secondary(address) => {
                let holds = |eni: &ec2_endpoint::account::model::Eni| match address {
                    IpAddr::V4(address) => eni.private_ips.contains(address),
                    IpAddr::V6(address) => eni.ipv6_addresses.contains(address),
                };
                account.enis().find(|eni| holds(eni)).map(|eni| eni.id.clone())
            }
        }
    }
}

impl Pointer {
    /// The call by which somebody removes the pointer. `None` if it leads nowhere.
    pub fn removal(&self, account: &Account) -> Option<Operation> {
        let holder = self.holder(account)?;
        Some(match self {
            Self::ElasticIp(id, _) => {
                let association = account.elastic_ip(id)?.association.as_ref()?;
                Operation::DisassociateAddress(DisassociateAddress {
                    association_id: Some(association.id.clone()),
                    ..Default::default()
                })
            }
            Self::Route(table, destination) => Operation::DeleteRoute(DeleteRoute {
                route_table_id: table.clone(),
                destination_cidr_block: Some(destination.to_string()),
                ..Default::default()
            }),
            Self::Secondary(address) => Operation::UnassignPrivateIpAddresses(UnassignPrivateIpAddresses {
                network_interface_id: holder,
                private_ip_addresses: vec![address.to_string()],
            }),
        })
    }
}

/// The parts of a VIP that EC2 knows, and its local addresses.
#[derive(Debug, Clone)]
pub struct VipSpec {
    pub ip: IpAddr,
    pub pointers: BTreeSet<Pointer>,
    /// The addresses that the leader has on its interface.
    pub local: BTreeSet<IpAddr>,
    /// Whether the source/destination check of the leader's ENI must be off.
    pub unchecked: bool,
    /// The resource that carries the claims.
    pub anchor: String,
}

impl VipSpec {
    /// Whether the claim that the node persisted last is on record.
    pub fn records(&self, party: &Party, account: &Account) -> bool {
        let key = claim_tag::tag_key(self.ip, &party.instance);
        let recorded = account.kind_and_tags(&self.anchor).and_then(|(_, tags)| tags.get(&key));
        let term = party.computer.served(self.ip).map(|served| served.term.to_string());
        recorded.zip(term).is_some_and(|(recorded, term)| recorded.split(' ').next() == Some(&term))
    }
}

/// The parts of a node that the checks need.
pub struct Party {
    pub name: String,
    pub instance: InstanceId,
    pub eni: String,
    pub computer: Computer,
    /// The configuration of the node, which may differ from that of the others for a while.
    pub config: Rc<RefCell<Result<Config, String>>>,
}

impl Party {
    pub fn of(node: &SimNode) -> Self {
        Self {
            name: node.place.name.clone(),
            instance: node.place.instance.parse().expect("the endpoint makes good ids"),
            eni: node.place.eni.clone(),
            computer: node.computer.clone(),
            config: Rc::clone(&node.config),
        }
    }

    /// Whether the file of the VIP says leader.
    fn leads(&self, vip: &VipSpec) -> bool {
        matches!(self.computer.desired(vip.ip), Desired::Leader(_))
    }

    /// Whether claims bind this node.
    fn is_bound(&self) -> bool {
        self.config.borrow().as_ref().is_ok_and(|config| config.claims == ClaimMode::Tags)
    }
}

/// The number of times that each pointer came to each ENI, or to nowhere, since the last event around the nodes.
type Turns = BTreeMap<Pointer, BTreeMap<String, u32>>;

pub struct Checks {
    vips: Vec<VipSpec>,
    parties: Vec<Party>,
    timeline: Rc<Timeline>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    holders: BTreeMap<Pointer, Option<String>>,
    turns: Turns,
    /// The newest claim of another node in each read that reached a node.
    learnt: BTreeMap<(String, IpAddr), Vec<Learnt>>,
    /// The terms that nodes gave up by their own word, as each node was shown by any resource that carries claims.
    given_up: BTreeMap<(String, IpAddr), BTreeMap<InstanceId, Term>>,
    /// Since when a node leads the VIP and its claim is on record.
    on_record: BTreeMap<(String, IpAddr), Duration>,
    /// Since when such a node also has all pointers of the VIP.
    served: BTreeMap<IpAddr, (String, Duration)>,
    /// The nodes that tell of a VIP that nobody serves.
    alarms: BTreeSet<(String, IpAddr)>,
    /// Whether a clock was wrong by more than clocks may differ.
    clocks_wrong: bool,
    breach: Option<String>,
}

struct Learnt {
    /// The read that showed the claim.
    read: Asked,
    term: Term,
    of: InstanceId,
}

impl Checks {
    pub fn new(vips: Vec<VipSpec>, parties: Vec<Party>, timeline: Rc<Timeline>) -> Self {
        Self { vips, parties, timeline, state: RefCell::default() }
    }

    /// Starts the count of turns again: after an event around the nodes, a node may have a reason to move a pointer.
    pub fn something_happened(&self, account: &Account) {
        self.note_holders(account, false);
        self.note_service(account);
        self.state.borrow_mut().turns.clear();
    }

    /// A clock is wrong by more than clocks may differ, so an older leader may win.
    pub fn clocks_are_wrong(&self) {
        self.state.borrow_mut().clocks_wrong = true;
    }

    /// A node lost its claim files together with its daemon, so it knows of no claim until it reads one again.
    pub fn memory_was_lost(&self, node: &str) {
        let mut state = self.state.borrow_mut();
        state.learnt.retain(|(of, _), _| of != node);
        state.given_up.retain(|(of, _), _| of != node);
    }

    pub fn breach(&self) -> Option<String> {
        self.state.borrow().breach.clone()
    }

    fn breached(&self, what: String) {
        self.timeline.say("CHECK", format_args!("{what}"));
        self.state.borrow_mut().breach.get_or_insert(what);
    }

    fn note_holders(&self, account: &Account, by_nodes: bool) {
        let mut in_turns = None;
        let mut state = self.state.borrow_mut();
        for pointer in self.vips.iter().flat_map(|vip| &vip.pointers) {
            let holder = pointer.holder(account);
            if state.holders.get(pointer) == Some(&holder) {
                continue;
            }
            self.timeline.say("EC2", format_args!("{pointer:?} now {}", self.named(holder.as_deref())));
            state.holders.insert(pointer.clone(), holder.clone());
            if !by_nodes {
                continue;
            }
            // A pointer that one node takes and lets go again and again swings as well.
            let turns = state.turns.entry(pointer.clone()).or_default();
            *turns.entry(holder.unwrap_or_else(|| "nowhere".to_owned())).or_default() += 1;
            if turns.values().filter(|wins| **wins >= 2).count() >= 2 {
                in_turns = Some(format!("{pointer:?} goes to and fro although nothing happened: {turns:?}"));
            }
        }
        drop(state);
        if let Some(what) = in_turns {
            self.breached(what);
        }
    }

    /// Notes which nodes lead with a claim on record, and which of them have all pointers of their VIP.
    fn note_service(&self, account: &Account) {
        let (mut state, now) = (self.state.borrow_mut(), self.timeline.now());
        for vip in &self.vips {
            let mut server = None;
            for party in &self.parties {
                let key = (party.name.clone(), vip.ip);
                if party.leads(vip) && vip.records(party, account) {
                    state.on_record.entry(key).or_insert(now);
                    let all = vip.pointers.iter().all(|pointer| pointer.holder(account).as_ref() == Some(&party.eni));
                    server = server.or(all.then_some(&party.name));
                } else {
                    state.on_record.remove(&key);
                }
            }
            match server {
                Some(server) if state.served.get(&vip.ip).is_some_and(|(node, _)| node == server) => {}
                Some(server) => _ = state.served.insert(vip.ip, (server.clone(), now)),
                None => _ = state.served.remove(&vip.ip),
            }
        }
    }

    /// A node whose leadership began after that of `party`, and which `party` has read to be on record. Its term must be
    /// higher, so that `party` takes nothing from it. Once a clock was wrong, no order of terms is promised.
    fn newer_leader(&self, vip: &VipSpec, party: &Party, since: Duration) -> Option<String> {
        let state = self.state.borrow();
        let last_read = state.learnt.get(&(party.name.clone(), vip.ip))?.last()?.read.at;
        let is_newer = |other: &&Party| {
            let on_record = state.on_record.get(&(other.name.clone(), vip.ip));
            other.leads(vip)
                && other.computer.claimed_at(vip.ip) > Some(since)
                && on_record.is_some_and(|at| last_read >= *at + GONE_AFTER)
        };
        let newer = self.parties.iter().find(is_newer).filter(|_| !state.clocks_wrong)?;
        Some(newer.name.clone())
    }

    /// Checks that an operator's hold on the VIP keeps the node from this change.
    fn respects_hold(&self, party: &Party, operation: &Operation) {
        for vip in &self.vips {
            let Some((lasts, extent)) = party.computer.held_for(vip.ip) else { continue };
            let forbidden = match operation {
                Operation::CreateTags(change) => change.tags.iter().any(|tag| {
                    let withdraws = tag.value.as_ref().is_some_and(|value| value.contains("withdrawn"));
                    tag.key.starts_with(&format!("vipkeeper/{}/", vip.ip))
                        && (extent == Extent::Everything || !withdraws)
                }),
                _ => self.taken(operation).is_some_and(|taken| taken.ip == vip.ip),
            };
            if forbidden && lasts > ENDS_WITHIN {
                let (node, what) = (&party.name, operation.name());
                self.breached(format!("{node} sends {what} although an operator holds {} for {lasts:?}", vip.ip));
            }
        }
    }

    fn named(&self, eni: Option<&str>) -> String {
        let Some(eni) = eni else { return "nowhere".to_owned() };
        let party = self.parties.iter().find(|party| party.eni == eni);
        party.map_or_else(|| format!("at {eni}"), |party| format!("at {}", party.name))
    }

    /// The VIP that the change points at its sender. `None` if the change points no VIP anywhere.
    fn taken(&self, operation: &Operation) -> Option<&VipSpec> {
        let pointer = match operation {
            Operation::AssociateAddress(call) => {
                let taken = call.allocation_id.as_ref()?;
                let is_taken = |pointer: &&Pointer| matches!(pointer, Pointer::ElasticIp(id, _) if id == taken);
                self.vips.iter().flat_map(|vip| &vip.pointers).find(is_taken)?.clone()
            }
            Operation::CreateRoute(call) | Operation::ReplaceRoute(call) => {
                let destination = call.destination_cidr_block.as_ref().or(call.destination_ipv6_cidr_block.as_ref())?;
                Pointer::Route(call.route_table_id.clone(), destination.parse().ok()?)
            }
            Operation::AssignPrivateIpAddresses(call) => {
                Pointer::Secondary(call.private_ip_addresses.first()?.parse().ok()?)
            }
            Operation::AssignIpv6Addresses(call) => Pointer::Secondary(call.ipv6_addresses.first()?.parse().ok()?),
            _ => return None,
        };
        self.vips.iter().find(|vip| vip.pointers.contains(&pointer))
    }
}

impl Watch for Checks {
    fn learns(&self, node: &str, resource: &str, tags: &Tags, when: Asked) {
        let Some(party) = self.parties.iter().find(|party| party.name == node) else { return };
        for vip in &self.vips {
            let found = claim_tag::among(vip.ip, tags);
            let mut state = self.state.borrow_mut();
            let given_up = state.given_up.entry((node.to_owned(), vip.ip)).or_default();
            for (other, term) in found.withdrawn {
                let known = given_up.entry(other).or_default();
                *known = term.max(*known);
            }
            if vip.anchor != resource {
                continue;
            }
            let others = found.terms.into_iter().filter(|(other, _)| *other != party.instance);
            // A read that shows no other node's claim counts too. Somebody may have deleted the claims.
            let none = (claim_tag::WITHDRAWN, party.instance.clone());
            let (term, of) = others.map(|(other, term)| (term, other)).max().unwrap_or(none);
            state.learnt.entry((node.to_owned(), vip.ip)).or_default().push(Learnt { read: when, term, of });
        }
    }

    /// Checks that a node points nothing at itself that stands by, that has persisted no claim, or that could know of a
    /// newer claim.
    fn sends(&self, node: &str, operation: &Operation) {
        let Some(party) = self.parties.iter().find(|party| party.name == node) else { return };
        self.respects_hold(party, operation);
        let Some(vip) = self.taken(operation) else { return };
        let what = operation.name();
        if let Some(stands_by) = party.computer.stands_by_for(vip.ip) {
            if stands_by > ENDS_WITHIN {
                self.breached(format!("{node} sends {what} although its file has not said leader for {stands_by:?}"));
            }
            return;
        }
        let (Some(since), Some(own)) = (party.computer.claimed_at(vip.ip), party.computer.served(vip.ip)) else {
            return self.breached(format!("{node} sends {what} under a claim that it has not persisted"));
        };
        let mine = (own.term, &party.instance);
        let newer = {
            let state = self.state.borrow();
            let learnt = state.learnt.get(&(node.to_owned(), vip.ip)).map_or(&[][..], Vec::as_slice);
            let is_newer = |learnt: &&Learnt| (learnt.term, &learnt.of) > mine;
            let newer = learnt.iter().filter(is_newer).max_by_key(|learnt| learnt.read.at);
            let newer = newer.filter(|newer| newer.read.at >= since);
            // A read that began much later and no longer shows the claim is not stale, so the claim is really gone.
            let later = |newer: &&Learnt| newer.read.answered_at + GONE_AFTER;
            let newer = newer.filter(|newer| !learnt.iter().any(|other| other.read.at >= later(newer)));
            // So is a claim that its own node gave up, however soon and whatever resource shows that.
            let given_up = state.given_up.get(&(node.to_owned(), vip.ip));
            let gave_up = |newer: &&Learnt| given_up?.get(&newer.of).map(|term| *term >= newer.term);
            let newer = newer.filter(|newer| gave_up(newer) != Some(true));
            newer.map(|learnt| format!("{}'s {}, asked for at {:?}", learnt.of, learnt.term, learnt.read.at))
        };
        if let Some(newer) = newer.filter(|_| party.is_bound()) {
            self.breached(format!("{node} sends {what} under {} although it knows of {newer}", own.term));
        }
        if let Some(newer) = self.newer_leader(vip, party, since).filter(|_| party.is_bound() && by_force(operation)) {
            self.breached(format!("{node} sends {what} by force although {newer} leads since later, and is on record"));
        }
    }

    fn changed(&self, account: &Account) {
        self.note_holders(account, true);
        self.note_service(account);
    }

    /// Checks that no node tells that nobody serves a VIP that is served.
    fn tells(&self, node: &str, status: &Status) {
        let told: BTreeSet<_> = unserved(status).map(|vip| (node.to_owned(), vip)).collect();
        let mut state = self.state.borrow_mut();
        let new: Vec<_> = told.iter().filter(|alarm| !state.alarms.contains(*alarm)).map(|(_, vip)| *vip).collect();
        state.alarms.retain(|(of, _)| of != node);
        state.alarms.extend(told);
        let served = |vip: IpAddr| Some((vip, state.served.get(&vip)?));
        let since = |(vip, (server, since)): (IpAddr, &(String, Duration))| {
            (self.timeline.now() > *since + SEEN_AS_SERVED)
                .then(|| format!("{node} tells that nobody serves {vip}, which {server} serves since {since:?}"))
        };
        let wrong = new.into_iter().filter_map(served).find_map(since);
        drop(state);
        if let Some(wrong) = wrong {
            self.breached(wrong);
        }
    }
}

/// An observer that exists before the checks do, and passes everything on to the checks.
#[derive(Default)]
pub struct LateWatch(pub RefCell<Option<Rc<Checks>>>);

impl Watch for LateWatch {
    fn learns(&self, node: &str, resource: &str, tags: &Tags, when: Asked) {
        if let Some(checks) = &*self.0.borrow() {
            checks.learns(node, resource, tags, when);
        }
    }

    fn sends(&self, node: &str, operation: &Operation) {
        if let Some(checks) = &*self.0.borrow() {
            checks.sends(node, operation);
        }
    }

    fn changed(&self, account: &Account) {
        if let Some(checks) = &*self.0.borrow() {
            checks.changed(account);
        }
    }

    fn tells(&self, node: &str, status: &Status) {
        if let Some(checks) = &*self.0.borrow() {
            checks.tells(node, status);
        }
    }
}

/// Whether the change takes a pointer from whoever has it.
fn by_force(operation: &Operation) -> bool {
    match operation {
        Operation::AssociateAddress(call) => call.allow_reassociation != Some(false),
        Operation::AssignPrivateIpAddresses(call) => call.allow_reassignment,
        Operation::ReplaceRoute(_) => true,
        _ => false,
    }
}

/// A text form of everything in the account that no VIP names.
pub fn unnamed(account: &Account, vips: &[VipSpec], enis_of_nodes: &BTreeSet<String>) -> Vec<String> {
    let named: BTreeSet<&Pointer> = vips.iter().flat_map(|vip| &vip.pointers).collect();
    let own_tags = |tags: &Tags| -> Tags {
        tags.iter()
            .filter(|(key, _)| !key.starts_with("vipkeeper/"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let mut all = Vec::new();
    let named_addresses: BTreeSet<&String> = named
        .iter()
        .filter_map(|pointer| match pointer {
            Pointer::ElasticIp(id, _) => Some(id),
            Pointer::Route(..) | Pointer::Secondary(_) => None,
        })
        .collect();
    for address in account.elastic_ips() {
        let association = (!named_addresses.contains(&address.allocation_id))
            .then(|| address.association.as_ref().map(|association| association.network_interface_id.clone()));
        all.push(format!("{} {association:?} {:?}", address.public_ip, own_tags(&address.tags)));
    }
    for table in account.route_tables() {
        let is_other = |destination: &IpNet| !named.contains(&Pointer::Route(table.id.clone(), *destination));
        let routes: Vec<_> = table.routes.iter().filter(|(destination, _)| is_other(destination)).collect();
        all.push(format!("{} {routes:?} {:?}", table.id, own_tags(&table.tags)));
    }
    for eni in account.enis() {
        let is_other = |ip: &IpAddr| !named.contains(&Pointer::Secondary(*ip));
        let private: BTreeSet<IpAddr> = eni.private_ips.iter().copied().map(IpAddr::V4).filter(is_other).collect();
        let ipv6: BTreeSet<IpAddr> = eni.ipv6_addresses.iter().copied().map(IpAddr::V6).filter(is_other).collect();
        // The nodes may switch off the source/destination check of their own ENIs.
        let check = (!enis_of_nodes.contains(&eni.id)).then_some(eni.source_dest_check);
        all.push(format!("{} {private:?} {ipv6:?} {check:?} {:?}", eni.id, own_tags(&eni.tags)));
    }
    all
}
