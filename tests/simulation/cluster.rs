//! One cluster from a seed: its account, config and nodes, the events around them, and the checks at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use ec2_endpoint::service::{FaultKind, Mark};
use ec2_endpoint::{AssignPrivateIpAddresses, AssociateAddress, Fault, Operation, RouteChange, TagChange, TagSpec};
use ipnet::IpNet;
use vipkeeper::binding::{ClaimMode, Handover, OnRelease};
use vipkeeper::config::{AddressConfig, Config, ElasticIpConfig, VipConfig};
use vipkeeper::desired::Desired;
use vipkeeper::observe::seen::Port;
use vipkeeper::report::PassResult;
use vipkeeper::wake::Wake;

use crate::checks::{Checks, LateWatch, Party, Pointer, VipSpec, unnamed};
use crate::support::computer::Defect;
use crate::support::estate::{self, Estate, by_elastic_ip, by_route_that, by_secondary_ip};
use crate::support::node::{Shared, SimNode};
use crate::support::recorder::Detail;
use crate::support::{Clock, Timeline, in_paused_time, millis, seconds};
use crate::watchdog::{Director, Happening};

/// The longest time from the last event until every pointer is at its leader, whatever was broken before.
///
/// The worst chain begins with a leader that has just failed to read. Its next look is up to 30 s away (the ceiling of
/// the backoff) and may show a state of EC2 that is up to 5 s old. The leader then holds back for up to 30 s before a
/// repeated retake. The retake may have failed before and wait for up to 30 s itself. Each of the three calls takes up
/// to 3 s.
pub const BOUND: Duration = Duration::from_secs(30 + 5 + 30 + 30 + 9);
/// The greatest age of the state that a read may show.
const READS_LAG: Duration = Duration::from_secs(5);
/// The time after convergence in which nothing may happen: longer than the longest interval.
const WATCHED: Duration = Duration::from_secs(38);
/// The most looks of a leader in that time: its shortest interval is 2.7 s, less a quarter.
const MOST_LOOKS: usize = 19;
/// The time after a restart of all daemons in which nothing may happen. A short time suffices, because a new daemon
/// looks at once.
const WATCHED_AFTER_RESTART: Duration = Duration::from_secs(15);

/// A fault that a test puts into a cluster on purpose, to see whether the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// Writes of claims report success and do nothing.
    ClaimsNotRecorded,
    /// No node sees the other nodes' claims.
    ClaimsNotSeen,
    /// A daemon's persisted state is lost when the daemon restarts.
    MemoryLost,
    /// Replacements of routes report success and do nothing.
    RoutesNotReplaced,
    /// Reads show states that are older than the settle time.
    ReadsTooStale,
    /// One node's clock is a minute fast.
    ClockWrong,
    /// Claims are off, so a daemon takes nothing back.
    ClaimsOff,
    /// No daemon learns of a `down`, or of the death of a guard: its file still says leader for it.
    EndsNotSeen,
    /// No daemon persists its claims.
    ClaimsNotSaved,
    /// One node's daemon takes its guard for dead at every other look.
    GuardFlickers,
    /// Nodes look at EC2 each second, whatever their role.
    LooksTooOften,
    /// Withdrawals of claims report success and do nothing.
    WithdrawalsSwallowed,
    /// Reads show the claims of all other nodes as withdrawn.
    ClaimsShownWithdrawn,
    /// No daemon finds an operator's hold.
    HoldsNotSeen,
}

/// The result of a run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The fault that began last. `converged_after` is the time from the last event until every pointer was at its
    /// leader.
    pub last: String,
    pub converged_after: Duration,
    pub claims: u64,
    pub reads: u64,
    pub writes: u64,
    /// The new leader's calls within ten seconds of each `up`.
    pub calls_per_claim: Vec<(u64, u64)>,
    /// A digest of the run. It differs if anything in the run differs.
    pub digest: u64,
    /// How often each kind of fault began.
    pub faults: BTreeMap<String, u64>,
}

#[derive(Debug)]
pub struct Failure {
    pub what: String,
    pub timeline: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.timeline, self.what)
    }
}

/// Whether the timeline is kept for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    Timeline,
}

/// Runs the cluster that the seed describes.
pub fn run(seed: u64, flaw: Flaw, keep: Keep) -> Result<Outcome, Failure> {
    in_paused_time(async {
        let mut cluster = Cluster::new(seed, flaw, keep);
        let outcome = cluster.live().await;
        outcome.map_err(|what| Failure { what, timeline: cluster.timeline.text() })
    })
}

pub struct Cluster {
    pub estate: Estate,
    pub nodes: Vec<SimNode>,
    pub vips: Vec<VipSpec>,
    pub timeline: Rc<Timeline>,
    pub checks: Rc<Checks>,
    pub rng: fastrand::Rng,
    /// The configuration of all nodes, except while a change of it rolls through the cluster.
    pub config: Config,
    enis: BTreeSet<String>,
    /// Whether the leaders' claims must be on record at the end.
    records: bool,
    unnamed: Vec<String>,
    /// The number of passes of daemons that have ended.
    passes_before: usize,
    starts: usize,
}

impl Cluster {
    fn new(seed: u64, flaw: Flaw, keep: Keep) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let clock = Clock::start();
        let count = rng.usize(2..=3);
        let estate = Estate::new(clock, count, rng.u64(..));
        let config = Config {
            claims: if flaw == Flaw::ClaimsOff { ClaimMode::Off } else { ClaimMode::Tags },
            handover: if seed.is_multiple_of(4) { Handover::Always } else { Handover::AfterGuard },
            ..estate::config(vips(&estate, &mut rng))
        };
        let specs: Vec<_> = config.vips.iter().map(|vip| spec(&estate, vip)).collect();
        clutter(&estate, &specs);
        weather(&estate, &mut rng, flaw);
        let timeline = Rc::new(if keep == Keep::Timeline { Timeline::kept(clock) } else { Timeline::silent(clock) });
        // The checks need the nodes, and the nodes need the checks. So the nodes first get an empty cell, which the
        // checks fill later.
        let watch = Rc::new(LateWatch::default());
        let shared = Shared {
            timeline: Rc::clone(&timeline),
            detail: Detail::Cheap,
            watch: Some(Rc::clone(&watch) as _),
            seed: rng.u64(..),
        };
        let nodes: Vec<_> = (0..count).map(|index| SimNode::new(&estate, index, config.clone(), &shared)).collect();
        for (index, node) in nodes.iter().enumerate() {
            let skew_ms = rng.i64(-2000..=2000);
            node.computer.set_skew_ms(if flaw == Flaw::ClockWrong && index == 0 { 60_000 } else { skew_ms });
            spoil(node, index, flaw);
            // In some clusters Pgpool goes on serving after its leadership. The choice costs no random number, so each
            // seed stays the cluster that it was.
            node.port.set(if seed.is_multiple_of(2) { Port::Answers } else { Port::Silent });
            timeline.say(&node.place.name, format_args!("is {} with {}", node.place.instance, node.place.eni));
        }
        let checks = Checks::new(specs.clone(), nodes.iter().map(Party::of).collect(), Rc::clone(&timeline));
        let checks = Rc::new(checks);
        *watch.0.borrow_mut() = Some(Rc::clone(&checks));
        let records = !matches!(flaw, Flaw::ClaimsOff | Flaw::ClaimsNotRecorded);
        let enis: BTreeSet<_> = nodes.iter().map(|node| node.place.eni.clone()).collect();
        let unnamed = unnamed(&estate.account(), &specs, &enis);
        Self {
            estate,
            nodes,
            vips: specs,
            timeline,
            checks,
            rng,
            config,
            enis,
            records,
            unnamed,
            passes_before: 0,
            starts: 0,
        }
    }

    pub fn start_daemon(&mut self, node: usize) {
        self.starts += 1;
        self.nodes[node].start();
    }

    /// Gives the node another configuration: a running daemon reloads it.
    pub fn reconfigure(&mut self, node: usize, config: Config) {
        *self.nodes[node].config.borrow_mut() = Ok(config);
        self.nodes[node].wake(Wake::Config);
    }

    pub async fn kill_daemon(&mut self, node: usize) {
        self.passes_before += self.nodes[node].recorder.passes.borrow().len();
        self.nodes[node].kill().await;
    }

    /// Notes an event around the nodes.
    pub fn happened(&self, happening: &Happening) {
        self.timeline.say("WORLD", format_args!("{happening:?}"));
        self.checks.something_happened(&self.estate.account());
    }

    async fn live(&mut self) -> Result<Outcome, String> {
        (0..self.nodes.len()).for_each(|node| self.start_daemon(node));
        let mut director = Director::new(self);
        let last = director.run(self).await?;
        let (last_at, leaders) = (self.estate.clock.now(), director.leaders());
        let converged_after = self.converge(&leaders, last_at).await?;
        self.stay(&leaders).await?;
        self.restart(&leaders).await?;
        if self.rng.u8(..8) == 0 {
            self.abandon(&mut director).await?;
        }
        self.settle_accounts()?;
        let outcome = self.outcome(last, converged_after, &director.claims);
        Ok(Outcome { faults: director.begun, ..outcome })
    }

    pub fn sound(&self) -> Result<(), String> {
        self.nodes.iter().for_each(SimNode::assert_alive);
        self.checks.breach().map_or(Ok(()), Err)
    }

    /// Waits until everything is as it should be and every node knows it. Returns the time after `since` from which
    /// everything stayed as it should be.
    pub async fn converge(&self, leaders: &[usize], since: Duration) -> Result<Duration, String> {
        let mut converged = None;
        loop {
            self.sound()?;
            let after = self.estate.clock.now() - since;
            let difference = self.difference(leaders);
            match &difference {
                None => drop(converged.get_or_insert(after)),
                Some(_) => converged = None,
            }
            let (in_time, unaware) = (after <= BOUND, self.unaware(since));
            match (converged, difference, unaware) {
                (Some(converged), _, None) => return Ok(converged),
                (_, Some(difference), _) if !in_time => {
                    return Err(format!("not converged {after:?} after the last thing that happened: {difference}"));
                }
                (_, None, Some(unaware)) if !in_time => {
                    return Err(format!("{unaware} is not at rest {after:?} after the last thing that happened"));
                }
                _ => tokio::time::sleep(millis(250)).await,
            }
        }
    }

    /// A node whose last pass did not find everything in sync at a time when reads already show the present state.
    fn unaware(&self, since: Duration) -> Option<&str> {
        let aware = |node: &&SimNode| {
            let passes = node.recorder.passes.borrow();
            passes.last().is_some_and(|(at, result)| *at > since + READS_LAG && *result == PassResult::InSync)
        };
        self.nodes.iter().find(|node| !aware(node)).map(|node| node.place.name.as_str())
    }

    /// The first thing that is not as it should be with these leaders.
    fn difference(&self, leaders: &[usize]) -> Option<String> {
        let account = self.estate.account();
        for (vip, leader) in self.vips.iter().zip(leaders) {
            let place = &self.nodes[*leader].place;
            for pointer in &vip.pointers {
                let holder = pointer.holder(&account);
                if holder.as_ref() != Some(&place.eni) {
                    return Some(format!("{pointer:?} is at {holder:?}, the leader is {} ({})", place.name, place.eni));
                }
            }
            if vip.unchecked && account.eni(&place.eni).is_none_or(|eni| eni.source_dest_check) {
                return Some(format!("the source/destination check of {} is on", place.name));
            }
            for (index, node) in self.nodes.iter().enumerate() {
                for address in &vip.local {
                    if node.computer.has_local(*address) != (index == *leader) {
                        return Some(format!("the local address {address} of {} is wrong", node.place.name));
                    }
                }
            }
            if self.records && !vip.records(&Party::of(&self.nodes[*leader]), &account) {
                return Some(format!("the claim of {} on {} is not on record", place.name, vip.ip));
            }
            if !self.nodes[*leader].recorder.is_in_sync(vip.ip) {
                return Some(format!("{} does not say that {} is in sync", place.name, vip.ip));
            }
        }
        None
    }

    /// Checks that a cluster in sync writes nothing and reads little.
    async fn stay(&mut self, leaders: &[usize]) -> Result<(), String> {
        let mark = self.estate.service().mark();
        let passes = self.passes();
        self.watch(leaders, mark, WATCHED).await?;
        let reads = self.calls(mark).1;
        // A pass may be under way on each node when the count begins, and another pass when the count ends.
        let most = self.reads_per_pass() * (self.passes() - passes + 2 * self.nodes.len());
        let eager = self.nodes.iter().filter(|node| self.is_superseded(node)).count();
        let leading = leaders.iter().collect::<BTreeSet<_>>().len();
        let expected = self.reads_per_pass()
            * (self.nodes.len() * 8
                + leading * MOST_LOOKS
                + eager * usize::try_from(WATCHED.as_secs()).expect("seconds fit"));
        if reads > most || reads > expected {
            return Err(format!("{reads} reads in {WATCHED:?} of calm, with {} passes", self.passes() - passes));
        }
        Ok(())
    }

    /// Whether the node's file says leader and a newer claim keeps the node from leading. Such a node looks each second
    /// while its own Pgpool says that it leads, but not for ever. A node that stands by remembers the newer claim too,
    /// and has no reason to look often.
    fn is_superseded(&self, node: &SimNode) -> bool {
        self.vips.iter().any(|vip| {
            let served = node.computer.served(vip.ip);
            let is_superseded = served.is_some_and(|served| served.superseded_by.is_some());
            is_superseded && matches!(node.computer.desired(vip.ip), Desired::Leader(_))
        })
    }

    /// Checks that a restart of all daemons moves nothing.
    async fn restart(&mut self, leaders: &[usize]) -> Result<(), String> {
        self.happened(&Happening::AllDaemonsRestart);
        let mark = self.estate.service().mark();
        for node in 0..self.nodes.len() {
            self.kill_daemon(node).await;
            self.start_daemon(node);
        }
        self.watch(leaders, mark, WATCHED_AFTER_RESTART).await
    }

    pub async fn watch(&self, leaders: &[usize], mark: Mark, time: Duration) -> Result<(), String> {
        tokio::time::sleep(time).await;
        self.sound()?;
        if let Some((node, vip)) = self.who_tells_of_nobody().next() {
            return Err(format!("{node} tells that nobody serves {vip}, and all is in sync"));
        }
        let service = self.estate.service();
        if let Some(write) = service.calls_since(mark).find(|call| call.write) {
            return Err(format!("{} of {} while all was in sync", write.operation, write.caller.name));
        }
        drop(service);
        match self.difference(leaders) {
            Some(difference) => Err(format!("in sync before, and now {difference}")),
            None => Ok(()),
        }
    }

    /// The checks on the whole run.
    fn settle_accounts(&self) -> Result<(), String> {
        let unnamed = unnamed(&self.estate.account(), &self.vips, &self.enis);
        if let Some((before, after)) = self.unnamed.iter().zip(&unnamed).find(|(before, after)| before != after) {
            return Err(format!("something that no VIP names was changed: {before} became {after}"));
        }
        let (_, reads) = self.calls(Mark::at(0));
        let for_changes: usize = self.nodes.iter().map(|node| node.ec2.reads_for_changes.get()).sum();
        // A daemon that is killed during a pass does not count that pass.
        let most = self.reads_per_pass() * (self.passes() + self.starts) + for_changes;
        if reads > most {
            return Err(format!("{reads} reads in {} passes", self.passes()));
        }
        Ok(())
    }

    /// One read for each source. If a subnet carries claims, the subnets' tags are one more source: that may be so wherever
    /// a VIP has a secondary address, because the other addresses may be missing in a configuration that rolls through.
    fn reads_per_pass(&self) -> usize {
        let is_secondary = |pointer: &Pointer| matches!(pointer, Pointer::Secondary(_));
        if self.vips.iter().any(|vip| vip.pointers.iter().any(is_secondary)) { 4 } else { 3 }
    }

    fn passes(&self) -> usize {
        self.passes_before + self.nodes.iter().map(|node| node.recorder.passes.borrow().len()).sum::<usize>()
    }

    /// The number of writes and the number of reads since a mark.
    fn calls(&self, mark: Mark) -> (usize, usize) {
        let service = self.estate.service();
        let writes = service.calls_since(mark).filter(|call| call.write).count();
        (writes, service.calls_since(mark).count() - writes)
    }

    fn outcome(&self, last: String, converged_after: Duration, claims: &[(Duration, usize)]) -> Outcome {
        let service = self.estate.service();
        let (mut reads, mut writes, mut digest) = (0, 0, 0_u64);
        let mut per_claim = vec![(0, 0); claims.len()];
        for call in service.calls_since(Mark::at(0)) {
            *(if call.write { &mut writes } else { &mut reads }) += 1;
            for (claim, (at, node)) in per_claim.iter_mut().zip(claims) {
                if call.caller.name == self.nodes[*node].place.name && (*at..*at + seconds(10)).contains(&call.at) {
                    *(if call.write { &mut claim.0 } else { &mut claim.1 }) += 1;
                }
            }
            let at = u64::try_from(call.at.as_nanos()).unwrap_or(u64::MAX);
            for part in [at, call.operation.len() as u64, call.code.as_ref().map_or(0, |code| code.len() as u64)] {
                digest = (digest ^ part).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
            }
        }
        let claims = claims.len() as u64;
        Outcome {
            last,
            converged_after,
            claims,
            reads,
            writes,
            calls_per_claim: per_claim,
            digest,
            faults: BTreeMap::new(),
        }
    }
}

/// One to three VIPs of any shape. An ENI's primary address can carry only one Elastic IP, so further Elastic IPs are
/// behind the secondary address of their VIP.
fn vips(estate: &Estate, rng: &mut fastrand::Rng) -> Vec<VipConfig> {
    let mut primary_is_free = true;
    let count = rng.usize(1..=3);
    (1..=count)
        .map(|n| {
            let mut addresses: Vec<AddressConfig> = Vec::new();
            let (elastic, route, secondary) = match rng.u8(..6) {
                0 => (true, false, false),
                1 => (false, true, false),
                2 => (false, false, true),
                3 => (true, true, false),
                4 => (false, true, true),
                _ => (true, true, true),
            };
            let private = format!("10.0.1.{}", 50 + n);
            if secondary || (elastic && !primary_is_free) {
                addresses.push(by_secondary_ip(&private));
            }
            if elastic {
                let public = format!("203.0.113.{n}");
                estate.allocate(&public);
                let mut address = by_elastic_ip(&public);
                if !primary_is_free || (secondary && rng.bool()) {
                    let private_ip = private.parse().ok();
                    address.elastic_ip = Some(ElasticIpConfig { allocation_id: None, interface: None, private_ip });
                } else {
                    primary_is_free = false;
                }
                addresses.push(address);
            }
            if route {
                let tables = estate.add_tables(rng.usize(1..=8));
                let on_release = if rng.u8(..5) == 0 { OnRelease::Delete } else { OnRelease::Keep };
                addresses.push(by_route_that(&format!("20.0.0.{n}"), &tables, on_release));
            }
            rng.shuffle(&mut addresses);
            estate::vip(addresses)
        })
        .collect()
}

pub fn spec(estate: &Estate, vip: &VipConfig) -> VipSpec {
    let account = estate.account();
    let mut spec = VipSpec {
        ip: vip.delegate_ip,
        pointers: BTreeSet::new(),
        local: BTreeSet::new(),
        unchecked: false,
        anchor: String::new(),
    };
    let mut anchors = [None, None, None];
    for address in &vip.addresses {
        if let Some(elastic) = &address.elastic_ip {
            let found = account.elastic_ips().find(|found| IpAddr::V4(found.public_ip) == address.address);
            let id = found.expect("it was allocated for this").allocation_id.clone();
            anchors[0].get_or_insert(id.clone());
            spec.pointers.insert(Pointer::ElasticIp(id, elastic.private_ip));
        }
        if let Some(route) = &address.route {
            let vipkeeper::config::Tables::Ids(tables) = &route.tables else { continue };
            for table in tables {
                anchors[1].get_or_insert(table.id.to_string());
                spec.pointers.insert(Pointer::Route(table.id.to_string(), IpNet::from(address.address)));
            }
            spec.local.insert(address.address);
            spec.unchecked = true;
        }
        if address.secondary_ip.is_some() {
            anchors[2].get_or_insert(estate.subnet.clone());
            spec.pointers.insert(Pointer::Secondary(address.address));
            spec.local.insert(address.address);
        }
    }
    spec.anchor = anchors.into_iter().flatten().next().expect("a VIP has an address");
    spec
}

/// Puts resources into the account that belong to no VIP.
fn clutter(estate: &Estate, vips: &[VipSpec]) {
    let stranger = estate.bystander.eni.clone();
    let theirs = estate.allocate("203.0.113.200");
    estate.by_hand(&Operation::AssociateAddress(AssociateAddress {
        allocation_id: Some(theirs),
        network_interface_id: Some(stranger.clone()),
        ..Default::default()
    }));
    estate.by_hand(&Operation::AssignPrivateIpAddresses(AssignPrivateIpAddresses {
        network_interface_id: stranger.clone(),
        private_ip_addresses: vec!["10.0.1.200".to_owned()],
        ..Default::default()
    }));
    for vip in vips {
        let tags = [("Name", "database"), ("vipkeeper-of-others", "1"), ("vipkeeper", "2")];
        let tag = |(key, value): (&str, &str)| TagSpec { key: key.to_owned(), value: Some(value.to_owned()) };
        estate.by_hand(&Operation::CreateTags(TagChange {
            resources: vec![vip.anchor.clone()],
            tags: tags.map(tag).to_vec(),
            dry_run: false,
        }));
        for pointer in &vip.pointers {
            let Pointer::Route(table, _) = pointer else { continue };
            for destination in ["20.0.0.0/24", "172.31.0.0/16"] {
                estate.by_hand(&Operation::CreateRoute(RouteChange {
                    route_table_id: table.clone(),
                    destination_cidr_block: Some(destination.to_owned()),
                    network_interface_id: Some(stranger.clone()),
                    ..Default::default()
                }));
            }
        }
    }
}

/// EC2 on an ordinary day: its answers take some time, and its reads are often a little behind.
fn weather(estate: &Estate, rng: &mut fastrand::Rng, flaw: Flaw) {
    let least = millis(rng.u64(5..60));
    let most = least + millis(rng.u64(10..350));
    estate.fault(Fault::new(FaultKind::Latency { least, most }));
    let chance = [0.0, 0.1, 0.5, 1.0][rng.usize(..4)];
    let up_to = if flaw == Flaw::ReadsTooStale { seconds(20) } else { millis(rng.u64(100..4800)) };
    estate.fault(Fault::new(FaultKind::Stale { up_to }).with_chance(chance));
}

fn spoil(node: &SimNode, index: usize, flaw: Flaw) {
    match flaw {
        Flaw::ClaimsNotRecorded => drop(node.ec2.swallowed.borrow_mut().insert("CreateTags")),
        Flaw::RoutesNotReplaced => drop(node.ec2.swallowed.borrow_mut().insert("ReplaceRoute")),
        Flaw::ClaimsNotSeen => *node.ec2.shows_claims_of.borrow_mut() = Some(node.place.instance.clone()),
        Flaw::MemoryLost => node.computer.forget_everything_persisted(),
        Flaw::EndsNotSeen => node.computer.defect(Defect::EndsNotSeen),
        Flaw::ClaimsNotSaved => node.computer.defect(Defect::SavesNothing),
        Flaw::GuardFlickers if index == 0 => node.computer.defect(Defect::GuardFlickers),
        Flaw::WithdrawalsSwallowed => node.ec2.swallows_withdrawals.set(true),
        Flaw::ClaimsShownWithdrawn => {
            *node.ec2.shows_withdrawn_but.borrow_mut() = Some(node.place.instance.clone());
        }
        Flaw::HoldsNotSeen => node.computer.defect(Defect::HoldsNotSeen),
        Flaw::LooksTooOften => {
            if let Ok(config) = &mut *node.config.borrow_mut() {
                config.intervals.standby = seconds(1);
            }
        }
        Flaw::None | Flaw::ReadsTooStale | Flaw::ClockWrong | Flaw::ClaimsOff | Flaw::GuardFlickers => {}
    }
}
