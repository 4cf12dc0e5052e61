//! A node on which everything is well, and the ways to break one thing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ec2_endpoint::account::model::Permission;
use ec2_endpoint::{AssignPrivateIpAddresses, ModifyNetworkInterfaceAttribute, Operation, Policy, TagChange, TagSpec};
use vipkeeper::binding::{Account, OnRelease};
use vipkeeper::check::facts::{
    Capability, CloudFacts, CloudReads, EndpointFacts, Facts, Judged, MachineFacts, Peer, PgpoolFacts, PgpoolProcess,
};
use vipkeeper::check::{Category, Results, judge};
use vipkeeper::cli::PolicyFormat;
use vipkeeper::commands::check::cloud;
use vipkeeper::commands::policy::{Location, policy};
use vipkeeper::config::{Config, ProbeConfig, TableRef, Tables};
use vipkeeper::desired::hold::{Extent, InForce};
use vipkeeper::ec2::server_clock::ServerTime;
use vipkeeper::machine::clock::Discipline;
use vipkeeper::machine::folder::{Folder, UserIds};
use vipkeeper::machine::kernel::{Kernel, LocalView};
use vipkeeper::machine::networkd::ManagedLink;
use vipkeeper::observe::seen::{Now, Port, Quorum};
use vipkeeper::pgpool::conf::Conf;
use vipkeeper::pgpool::version::Version;
use vipkeeper::pgpool::watchdog::{Asked, Word};

use crate::support::computer::EPOCH_MS;
use crate::support::estate::{Estate, by_elastic_ip, by_route_that, by_secondary_ip, config, vip};
use crate::support::node::{Shared, SimNode};
use crate::support::recorder::Detail;
use crate::support::{Clock, Timeline};

pub const EIP: &str = "203.0.113.10";
pub const ROUTED: &str = "20.0.0.50";
pub const SECONDARY: &str = "10.0.1.50";
/// The role in the account that shares a table.
pub const SHARED: &str = "arn:aws:iam::123456789012:role/shared";
/// The user that Pgpool runs as.
const POSTGRES: u32 = 26;
const NODE_TAG: &str = "pgpool=pg1";

pub const CONF: &str = "use_watchdog = on\ndelegate_ip = '203.0.113.10'\n\
    if_up_cmd = '/usr/bin/vipkeeper up $_IP_$'\nif_down_cmd = '/usr/bin/vipkeeper down $_IP_$'\n\
    arping_cmd = '/usr/bin/vipkeeper wait $_IP_$ --timeout 8s'\n\
    hostname0 = 'a'\nhostname1 = 'b'\nhostname2 = 'c'\n";

/// An account with one node, and the node's configuration.
pub struct Stage {
    pub estate: Estate,
    pub config: Config,
    pub node: SimNode,
}

/// Every way to hold a VIP: an Elastic IP, routes in two accounts, and a secondary address.
pub fn everything(estate: &Estate) -> Config {
    estate.allocate(EIP);
    let tables = estate.add_tables(3);
    let mut routed = by_route_that(ROUTED, &tables, OnRelease::Delete);
    let Tables::Ids(refs) = &mut routed.route.as_mut().unwrap().tables else { unreachable!() };
    refs[2] = TableRef { account: Account::Role(SHARED.to_owned()), ..refs[2].clone() };
    let vips = vec![vip(vec![by_elastic_ip(EIP)]), vip(vec![routed]), vip(vec![by_secondary_ip(SECONDARY)])];
    Config { probe: Some(ProbeConfig::default()), ..config(vips) }
}

impl Stage {
    pub fn new() -> Self {
        let clock = Clock::start();
        let estate = Estate::new(clock, 1, 1).without_throttling();
        let config = everything(&estate);
        let shared = Shared { timeline: Rc::new(Timeline::silent(clock)), detail: Detail::Full, watch: None, seed: 1 };
        let node = SimNode::new(&estate, 0, config.clone(), &shared);
        // By the answers that come during the check, EC2's clock is the node's own.
        let at_boot_ms = i64::try_from(EPOCH_MS).unwrap();
        node.ec2.time.set(Some(ServerTime { at_boot_ms, error_ms: 20 }));
        let stage = Self { estate, config, node };
        stage.by_hand(Operation::ModifyNetworkInterfaceAttribute(ModifyNetworkInterfaceAttribute {
            network_interface_id: stage.eni(),
            source_dest_check: Some(false),
            ..Default::default()
        }));
        stage.let_in("tcp", Some((9999, 9999)), "0.0.0.0/0");
        stage.let_in("tcp", Some((9000, 9000)), "10.0.0.0/16");
        stage.let_in("udp", Some((9694, 9694)), "10.0.0.0/16");
        stage.let_in("udp", Some((9814, 9814)), "10.0.0.0/16");
        stage.let_in("icmp", Some((8, -1)), &format!("{EIP}/32"));
        stage
    }

    pub fn eni(&self) -> String {
        self.estate.nodes[0].eni.clone()
    }

    fn allocation(&self) -> String {
        self.estate.account().elastic_ips().next().unwrap().allocation_id.clone()
    }

    pub fn by_hand(&self, operation: Operation) {
        self.estate.by_hand(&operation);
    }

    /// The Elastic IP becomes one of a Local Zone.
    pub fn put_into_border_group(&self, group: &str) {
        let (allocation, now) = (self.allocation(), self.estate.clock.now());
        self.estate.service().change(now, |account| account.set_border_group(&allocation, group)).unwrap();
    }

    /// The ENI gets secondary addresses until it holds as many as its instance's type allows.
    pub fn fill_the_eni(&self) {
        self.by_hand(Operation::AssignPrivateIpAddresses(AssignPrivateIpAddresses {
            network_interface_id: self.eni(),
            private_ip_addresses: (201..206).map(|last| format!("10.0.1.{last}")).collect(),
            ..Default::default()
        }));
    }

    fn let_in(&self, protocol: &str, ports: Option<(i32, i32)>, from: &str) {
        let permission = Permission {
            protocol: protocol.to_owned(),
            ports,
            ranges: vec![from.parse().unwrap()],
            groups: Vec::new(),
        };
        let eni = self.eni();
        let now = self.estate.clock.now();
        self.estate.service().change(now, |account| {
            let group = account.eni(&eni).unwrap().groups[0].clone();
            account.allow_ingress(&group, permission).unwrap();
        });
    }

    /// The policy that `vipkeeper policy` prints, with the open values put in, and the tag that it goes by on the node.
    pub fn printed_policy(&self, role: Option<&str>) -> Policy {
        let resources = vec![self.eni(), self.estate.nodes[0].instance.clone()];
        let (key, value) = NODE_TAG.split_once('=').unwrap();
        let tags = vec![TagSpec { key: key.to_owned(), value: Some(value.to_owned()) }];
        self.by_hand(Operation::CreateTags(TagChange { resources, tags, dry_run: false }));
        let account = self.estate.account();
        let place = Location { region: Some(account.region().to_owned()), account: Some(account.id().to_owned()) };
        let text = policy(&self.config, role, &NODE_TAG.parse().unwrap()).unwrap().written(PolicyFormat::Json, &place);
        let allocation = account.elastic_ips().next().unwrap().allocation_id.clone();
        text.replace(&format!("ALLOCATION-ID-OF-{EIP}"), &allocation)
            .replace("SUBNET-ID", &self.estate.subnet)
            .replace("123456789012", account.id())
            .parse()
            .unwrap()
    }

    /// Asks the metadata service and EC2, and judges everything.
    pub async fn facts(&self) -> Facts {
        let reach = async |travelled: vipkeeper::ec2::ask::Travelled| endpoint(travelled.host, "10.0.9.9");
        let cloud = cloud(&self.config, &*self.node.ec2, &*self.node.identity, reach).await;
        let view = self.node.computer.look(&self.config.local_addresses()).await.unwrap();
        Facts { config: Ok(self.config.clone()), machine: machine(view), cloud, pgpool: pgpool() }
    }
}

/// The way to EC2 by one address.
pub fn endpoint(host: Option<String>, address: &str) -> EndpointFacts {
    let address = address.parse().unwrap();
    EndpointFacts { host, proxy: None, addresses: Ok(vec![address]), tried: vec![(address, Ok(()))] }
}

fn machine(view: LocalView) -> MachineFacts {
    let folder = |mode| Folder { uid: 990, gid: POSTGRES, mode, is_in_memory: true, free: 100 << 20 };
    let users = UserIds { uid: POSTGRES, groups: BTreeSet::from([POSTGRES]) };
    MachineFacts {
        hooks_elsewhere: None,
        hook_users: vec![("postgres".to_owned(), Ok(users))],
        state_dir: (PathBuf::from("/run/vipkeeper"), Ok(folder(0o755))),
        desired: (PathBuf::from("/run/vipkeeper/desired"), Ok(folder(0o775))),
        now: Now { at: Duration::from_secs(100), wall_ms: EPOCH_MS + 100_000 },
        discipline: Some(Discipline { synchronized: true, max_error: Duration::from_millis(3) }),
        capability: Capability { of: Judged::Daemon(700), may_change_addresses: true },
        interfaces: ["eth0", "lo"].map(str::to_owned).into(),
        view: Ok(view),
        leads: BTreeSet::new(),
        holds: BTreeMap::new(),
        networkd: vec![ManagedLink {
            interface: "eth0".to_owned(),
            file: PathBuf::from("/etc/systemd/network/eth0.network"),
            keeps_addresses: true,
        }],
        keepers: Vec::new(),
    }
}

/// A hold that an operator has set a minute ago.
pub fn hold_until(until_ms: u64) -> InForce {
    let (left, set_at) = (Duration::from_mins(29), Duration::from_secs(40));
    InForce { left, set_at, until_ms, extent: Extent::ExceptRelease }
}

fn pgpool() -> PgpoolFacts {
    let conf = Conf::parse(CONF);
    let titles = ["pgpool -n", "pgpool: watchdog", "pgpool: lifecheck", "pgpool: heartBeat receiver"];
    let peers = conf.nodes().into_iter().skip(1).map(|node| Peer {
        node,
        addresses: Ok(vec!["10.0.1.12".parse().unwrap()]),
        answers: Some(Ok(())),
    });
    let peers = peers.collect();
    let word = Word { escalated: false, delegate_ips: [EIP.parse().unwrap()].into(), quorum: Some(Quorum::Has) };
    PgpoolFacts {
        conf: Ok((PathBuf::from("/etc/pgpool2/pgpool.conf"), conf)),
        version: Ok(Version { major: 4, minor: 7, patch: 3 }),
        processes: titles.map(|title| PgpoolProcess { uid: POSTGRES, title: title.to_owned() }).to_vec(),
        unusable: Vec::new(),
        line_faults: Vec::new(),
        watchdog: Some(Asked::Word(word)),
        port: Port::Answers,
        peers,
    }
}

/// Judges the facts in all categories.
pub fn judged(facts: &Facts) -> Results {
    judge(facts, Category::ALL)
}

/// The ids of the checks with a fault, each with its result.
pub fn faults(results: &Results) -> BTreeMap<&'static str, &'static str> {
    let faulty = results.checks.iter().filter(|check| check.to_do.is_some());
    faulty.map(|check| (check.id, check.result)).collect()
}

/// The messages of one check as one text.
pub fn said(results: &Results, id: &str) -> String {
    let check = results.checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no check {id}"));
    check.messages.join("\n")
}

pub fn reads(facts: &mut Facts) -> &mut CloudReads {
    let CloudFacts { reads, .. } = &mut facts.cloud;
    reads.as_mut().unwrap()
}
