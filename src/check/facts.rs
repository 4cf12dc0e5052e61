//! Everything that the checks judge. A fact that could not be found out carries the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::action::Action;
use crate::binding::{Account, Vip};
use crate::config::{Config, VipConfig};
use crate::desired::hold::InForce;
use crate::ec2::ask::{DryRun, EniSurroundings, Ingress, Slots};
use crate::ec2::server_clock::ServerTime;
use crate::ec2::{Ec2Error, RouteTable};
use crate::identity::Node;
use crate::ids::{AllocationId, EniId};
use crate::machine::clock::Discipline;
use crate::machine::folder::{Folder, UserIds};
use crate::machine::kernel::{KernelError, LocalView};
use crate::machine::networkd::ManagedLink;
use crate::observe::seen::{Now, Observed, Port};
use crate::observe::{Known, World, observe};
use crate::pgpool::conf::{Conf, PeerNode};
use crate::pgpool::version::Version;
use crate::pgpool::watchdog::Asked;

/// All facts.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The configuration, or every problem of it.
    pub config: Result<Config, Vec<String>>,
    pub machine: MachineFacts,
    pub cloud: CloudFacts,
    pub pgpool: PgpoolFacts,
}

/// The facts that this machine tells about itself.
#[derive(Debug, Clone)]
pub struct MachineFacts {
    /// Why hooks write into another state folder than the daemon reads, if they do.
    pub hooks_elsewhere: Option<String>,
    /// Each hook user, or the reason why the user counts for nothing.
    pub hook_users: Vec<(String, Result<UserIds, String>)>,
    pub state_dir: (PathBuf, Result<Folder, String>),
    /// The folder of desired-state files. It may be missing as long as a hook can make it.
    pub desired: (PathBuf, Result<Folder, String>),
    pub now: Now,
    pub discipline: Option<Discipline>,
    pub capability: Capability,
    /// The names of the kernel's interfaces.
    pub interfaces: BTreeSet<String>,
    pub view: Result<LocalView, KernelError>,
    /// The delegate IPs for which this node's desired-state file says leader.
    pub leads: BTreeSet<IpAddr>,
    /// The operators' holds that have not ended, by delegate IP; or the reason why the file of a hold does not count.
    pub holds: BTreeMap<IpAddr, Result<InForce, String>>,
    pub networkd: Vec<ManagedLink>,
    /// Other programs that move addresses and that run on this machine.
    pub keepers: Vec<OtherKeeper>,
}

/// Whether the daemon may change local addresses, and which process shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    pub of: Judged,
    pub may_change_addresses: bool,
}

/// The process whose capability was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// The daemon that runs, by its pid.
    Daemon(u32),
    /// This command, because no daemon runs.
    ThisCommand,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon(pid) => write!(f, "the daemon (pid {pid})"),
            Self::ThisCommand => f.write_str("this command"),
        }
    }
}

/// Another program that moves addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherKeeper {
    pub name: String,
    /// A file of the program that names one of the VIPs, and the VIP.
    pub names: Option<(PathBuf, IpAddr)>,
}

/// The facts from the metadata service and from EC2.
#[derive(Debug, Clone)]
pub struct CloudFacts {
    /// Who this node is. Where nobody was asked, the error says so.
    pub node: Result<Node, String>,
    pub endpoint: EndpointFacts,
    /// The reads. `None` unless the node is known.
    pub reads: Option<CloudReads>,
}

/// The way to EC2's endpoint.
#[derive(Debug, Clone)]
pub struct EndpointFacts {
    /// The host of EC2's endpoint. `None` while no request was made.
    pub host: Option<String>,
    /// The proxy through which EC2 is asked.
    pub proxy: Option<String>,
    /// The addresses of the host, or why there are none.
    pub addresses: Result<Vec<IpAddr>, String>,
    /// The addresses at which a connection was tried, each with the outcome.
    pub tried: Vec<(IpAddr, Result<(), String>)>,
}

impl EndpointFacts {
    /// An endpoint that nobody asked.
    #[must_use]
    pub fn not_asked() -> Self {
        Self { host: None, proxy: None, addresses: Err("it was not asked".to_owned()), tried: Vec::new() }
    }
}

/// Everything that was read from EC2.
#[derive(Debug, Clone)]
pub struct CloudReads {
    pub known: Known,
    pub world: World,
    pub time: Option<ServerTime>,
    /// The longest time of one request, from its first byte to the answer.
    pub slowest: Duration,
    /// The time until the node's own credentials run out. `None` if they do not, or were never loaded.
    pub credentials_last: Option<Duration>,
    /// The actions that the configuration needs, with the policy's statement that allows each one.
    pub needs: Vec<Need>,
    pub dry_runs: Vec<(Action, Result<DryRun, Ec2Error>)>,
    pub surroundings: BTreeMap<EniId, Result<Option<EniSurroundings>, Ec2Error>>,
    pub ingress: BTreeMap<EniId, Result<Vec<Ingress>, Ec2Error>>,
    /// The private addresses that each interface of this instance's type may have, or why that is not known.
    pub slots: Result<Slots, String>,
    /// The network border group of each Elastic IP.
    pub border_groups: Result<BTreeMap<AllocationId, String>, Ec2Error>,
    pub tables: BTreeMap<EniId, Result<Option<RouteTable>, Ec2Error>>,
}

/// One action that the configuration needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The account whose role makes the calls.
    pub account: Account,
    /// The name of the statement of `vipkeeper policy` that allows the action.
    pub statement: String,
    /// The action by its full name, like `ec2:ReplaceRoute`.
    pub action: String,
}

impl Need {
    /// The action without its service, like `ReplaceRoute`.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.action.split_once(':').map_or(&self.action, |(_, operation)| operation)
    }
}

/// The facts about Pgpool.
#[derive(Debug, Clone)]
pub struct PgpoolFacts {
    /// pgpool.conf with its path, or why it could not be read.
    pub conf: Result<(PathBuf, Conf), String>,
    pub version: Result<Version, String>,
    pub processes: Vec<PgpoolProcess>,
    /// The programs of the hooks that cannot be run by Pgpool's user, each with the reason.
    pub unusable: Vec<String>,
    /// The faults of hooks' lines, each with the key of its line. A line has one fault at most.
    pub line_faults: Vec<(&'static str, LineFault)>,
    /// The watchdog's answer. `None` if it was not asked, because `witness` is off.
    pub watchdog: Option<Asked>,
    pub port: Port,
    pub peers: Vec<Peer>,
}

/// A fault of a hook's line that calls vipkeeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineFault {
    /// vipkeeper refuses the line, for this reason, and does nothing.
    Refused(String),
    /// The line leads to this state folder, which is not the daemon's.
    Elsewhere(PathBuf),
    /// The configuration that the line names has an error. The hook goes on with the daemon's state folder.
    Unread(String),
}

/// One of Pgpool's processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgpoolProcess {
    pub uid: u32,
    /// The title that the process gives itself, like `pgpool: watchdog`.
    pub title: String,
}

/// One other node of the watchdog's cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub node: PeerNode,
    /// The addresses of its host name, or why there are none.
    pub addresses: Result<Vec<IpAddr>, String>,
    /// Whether its watchdog takes connections, or why not. `None` without an address.
    pub answers: Option<Result<(), String>>,
}

impl Facts {
    /// The configuration, or the reason to skip whatever rests on it.
    pub(super) fn config(&self) -> Result<&Config, &'static str> {
        self.config.as_ref().map_err(|_| "the configuration has errors")
    }

    /// Why interfaces have no ENI, or one that is not theirs: one line each.
    pub(super) fn lost_interfaces(&self) -> Vec<String> {
        let missing = self.cloud.node.iter().flat_map(|node| &node.missing).map(|(name, why)| {
            let name = name.as_deref().unwrap_or("the first interface");
            format!("{name}: {why}")
        });
        let foreign = self.cloud.reads.iter().flat_map(|reads| reads.known.foreign().values().cloned());
        missing.chain(foreign).collect()
    }

    /// The reads, or the reason to skip whatever rests on them.
    pub(super) fn reads(&self) -> Result<(&Config, &CloudReads), &'static str> {
        let config = self.config()?;
        let reads = self.cloud.reads.as_ref().ok_or("this node does not know who it is, so EC2 was not asked")?;
        Ok((config, reads))
    }
}

impl CloudReads {
    /// Each VIP with everything that was seen of it.
    pub(super) fn vips<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = (&'a VipConfig, Vip, Observed)> {
        config.vips.iter().map(|vip_config| {
            let (vip, observed) = observe(config, vip_config, &self.known, &self.world);
            (vip_config, vip, observed)
        })
    }
}
