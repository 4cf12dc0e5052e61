//! The checked configuration. Every `Config` that is loaded is valid.
//!
//! The submodules read it. `layers` lays file, environment and flags over one another. `sources` loads the layers.
//! `reader` takes typed values out of them and collects the problems. `sections` and `vips` know the keys. `values`
//! knows the valid values.

mod error;
mod homes;
mod layers;
mod reader;
mod sections;
mod slips;
pub mod sources;
#[cfg(test)]
mod tests;
mod text;
mod values;
mod vips;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::binding::{Account, ClaimMode, Connections, Handover, OnRelease};
use crate::ids::{AllocationId, EniId, InstanceId, RouteTableId};

pub use error::{ConfigError, ConfigProblem, Key, KeyStep, Place};
pub use layers::{FILE_VARIABLE, Flag};
pub use sources::{DEFAULT_FILE, HookConfig, Sources};
pub use values::{LOG_FORMATS, LOG_LEVELS, region, state_dir};

/// All settings of vipkeeper.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub state_dir: PathBuf,
    /// The users, besides root, whose desired-state files are trusted.
    pub hook_users: Vec<String>,
    pub identity: Identity,
    pub aws: Aws,
    pub limits: Limits,
    /// The address at which metrics, health and status are served. `None` if this is switched off.
    pub listen: Option<SocketAddr>,
    pub intervals: Intervals,
    pub log: LogSettings,
    pub claims: ClaimMode,
    pub witness: WitnessMode,
    pub pgpool: Pgpool,
    pub connections: Connections,
    pub handover: Handover,
    /// The questions who answers on the VIPs. `None` if this is switched off.
    pub probe: Option<ProbeConfig>,
    /// The command that is told of certain events, and its arguments. Empty: there is none.
    pub on_change: Vec<String>,
    pub vips: Vec<VipConfig>,
}

impl AddressConfig {
    /// The interfaces that this address needs. `None` stands for the machine's first interface.
    pub fn interfaces(&self) -> impl Iterator<Item = Option<&str>> {
        let elastic = self.elastic_ip.iter().map(|elastic| elastic.interface.as_deref());
        let route = self.route.iter().map(|route| route.interface.as_deref());
        let secondary = self.secondary_ip.iter().map(|secondary| secondary.interface.as_deref());
        elastic.chain(route).chain(secondary)
    }
}

impl Config {
    /// The default configuration with these VIPs.
    #[must_use]
    pub fn with_vips(vips: Vec<VipConfig>) -> Self {
        Self {
            state_dir: PathBuf::from(DEFAULT_STATE_DIR),
            hook_users: vec!["postgres".to_owned()],
            identity: Identity::default(),
            aws: Aws::default(),
            limits: Limits::default(),
            listen: Some(DEFAULT_LISTEN),
            intervals: Intervals::default(),
            log: LogSettings::default(),
            claims: ClaimMode::default(),
            witness: WitnessMode::default(),
            pgpool: Pgpool::default(),
            connections: Connections::default(),
            handover: Handover::default(),
            probe: None,
            on_change: Vec::new(),
            vips,
        }
    }

    /// The addresses that belong on an interface of the leader. A private address that an Elastic IP leads to is this
    /// machine's own, and none of them.
    #[must_use]
    pub fn local_addresses(&self) -> BTreeSet<IpAddr> {
        let addresses = self.vips.iter().flat_map(|vip| &vip.addresses);
        let local = addresses.filter(|address| address.route.is_some() || address.secondary_ip.is_some());
        local.map(|address| address.address).collect()
    }

    /// The VIP with this delegate IP. A VIP cannot be found by its `also` addresses.
    #[must_use]
    pub fn vip(&self, delegate_ip: IpAddr) -> Option<&VipConfig> {
        self.vips.iter().find(|vip| vip.delegate_ip == delegate_ip)
    }
}

/// The default folder is on tmpfs, so that a reboot forgets who was leader.
const DEFAULT_STATE_DIR: &str = "/run/vipkeeper";
/// Pgpool's own default for `port`.
const DEFAULT_PGPOOL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9999);
/// The UDP port of probes, the one after that of the metrics.
pub const DEFAULT_PROBE_PORT: u16 = 9814;
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9813);

/// This node's identity, for machines without the metadata service. The metadata service is not asked for values that
/// are set here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    pub instance_id: Option<InstanceId>,
    /// The ENI of each local interface, by the interface's name.
    pub interfaces: BTreeMap<String, EniId>,
}

/// The way to EC2. For every unset value, the SDK's own default chain decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aws {
    pub region: Option<String>,
    pub profile: Option<String>,
    pub endpoint_url: Option<String>,
    pub assume_role_arn: Option<String>,
    pub ca_bundle: Option<PathBuf>,
    pub use_fips: bool,
    pub use_dual_stack: bool,
    /// The metadata service's endpoint, if it is not the usual one. If set, the metadata service at this endpoint is
    /// the only source of credentials, and it gives the identity.
    pub imds_endpoint: Option<String>,
}

/// The token bucket in front of the EC2 client, which protects the account's rate limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub requests_per_s: f64,
    pub burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests_per_s: 4.0, burst: 20 }
    }
}

/// The time between two looks of a leader while nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LeaderInterval {
    /// As often as the account's request quota allows with ease.
    #[default]
    Auto,
    Every(Duration),
}

/// The time between two looks while nothing happens. Each interval differs from it by up to 25 % at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    pub leader: LeaderInterval,
    pub standby: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { leader: LeaderInterval::default(), standby: Duration::from_secs(30) }
    }
}

/// The purpose for which Pgpool's own watchdog is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WitnessMode {
    /// The watchdog is never asked.
    Off,
    /// The watchdog is asked before every retake, and can stop it. The watchdog's answers also show that a hook was
    /// lost.
    #[default]
    Check,
    /// The watchdog is asked as in `Check`. Where a hook was lost, the watchdog's answer also replaces the
    /// desired-state file.
    Trust,
}

/// The ways to Pgpool and to its watchdog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pgpool {
    /// The address at which Pgpool on this node serves clients.
    pub address: SocketAddr,
    /// The watchdog's socket. If not given, vipkeeper looks for it where Pgpool's packages put it.
    pub watchdog_socket: Option<PathBuf>,
    /// Pgpool's `wd_authkey`.
    pub wd_authkey: Option<String>,
    /// A file that holds only Pgpool's `wd_authkey`. The file counts before `wd_authkey`. Every hook's user must be
    /// able to read the configuration, but need not know the key.
    pub wd_authkey_file: Option<PathBuf>,
}

impl Default for Pgpool {
    fn default() -> Self {
        Self { address: DEFAULT_PGPOOL, watchdog_socket: None, wd_authkey: None, wd_authkey_file: None }
    }
}

/// The questions who answers on the VIPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeConfig {
    /// The UDP port, which must be the same on all nodes.
    pub port: u16,
    /// The pause between two questions.
    pub interval: Duration,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { port: DEFAULT_PROBE_PORT, interval: Duration::from_secs(1) }
    }
}

/// The level and the format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    pub level: tracing::Level,
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: tracing::Level::INFO, format: LogFormat::Text }
    }
}

/// The format of one log event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text for people.
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

/// One VIP: its delegate address first, then the `also` addresses that follow the same leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipConfig {
    pub delegate_ip: IpAddr,
    /// The addresses. The list is never empty, and the `address` of the first item is `delegate_ip`.
    pub addresses: Vec<AddressConfig>,
    /// The anchor that `claims.anchor` or the VIP's own `anchor` names, instead of the default.
    pub anchor: Option<AnchorConfig>,
}

impl VipConfig {
    /// The route tables that the configuration names by id, in its order.
    pub fn named_tables(&self) -> impl Iterator<Item = &TableRef> {
        let routes = self.addresses.iter().filter_map(|address| address.route.as_ref());
        routes.flat_map(|route| match &route.tables {
            Tables::Ids(tables) => tables.as_slice(),
            Tables::Tagged { .. } => &[],
        })
    }

    /// The account of a route table. If the configuration names the table by id, the account is the one given there.
    /// Otherwise the account is that of the tables which are chosen by tag.
    #[must_use]
    pub fn account_of(&self, table: &RouteTableId) -> Account {
        let named = self.named_tables().find(|named| named.id == *table).map(|named| named.account.clone());
        let routes = self.addresses.iter().filter_map(|address| address.route.as_ref());
        let chosen = || {
            routes.clone().find_map(|route| match &route.tables {
                Tables::Tagged { account, .. } => Some(account.clone()),
                Tables::Ids(_) => None,
            })
        };
        named.or_else(chosen).unwrap_or_default()
    }

    /// The resource that carries the claims on this VIP. It is the anchor that the configuration names. If it names none,
    /// it is the VIP's Elastic IP, else the first route table that is named by id, else the subnet of the secondary
    /// address. A table that was found by its tags is never the anchor: nodes find such tables at different times, and
    /// two records would have two winners.
    #[must_use]
    pub fn anchor_choice(&self) -> Option<AnchorChoice<'_>> {
        match &self.anchor {
            Some(AnchorConfig::ElasticIp(id)) => return Some(AnchorChoice::ElasticIp(id)),
            Some(AnchorConfig::RouteTable(id)) => return Some(AnchorChoice::RouteTable(self.account_of(id), id)),
            Some(AnchorConfig::Subnet) => return Some(AnchorChoice::Subnet),
            None => {}
        }
        let elastic = self.addresses.iter().find_map(|address| Some((address.address, address.elastic_ip.as_ref()?)));
        if let Some((address, elastic)) = elastic {
            let given = elastic.allocation_id.as_ref().map(AnchorChoice::ElasticIp);
            return Some(given.unwrap_or(AnchorChoice::ElasticIpAt(address)));
        }
        if let Some(named) = self.named_tables().next() {
            return Some(AnchorChoice::RouteTable(named.account.clone(), &named.id));
        }
        self.addresses.iter().any(|address| address.secondary_ip.is_some()).then_some(AnchorChoice::Subnet)
    }
}

/// The resource that carries the claims of a VIP, as far as the configuration tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnchorChoice<'a> {
    ElasticIp(&'a AllocationId),
    /// The Elastic IP with this address. Its id is EC2's to tell.
    ElasticIpAt(IpAddr),
    RouteTable(Account, &'a RouteTableId),
    /// The subnet of the secondary address.
    Subnet,
}

/// The resource that carries the claims of a VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnchorConfig {
    ElasticIp(AllocationId),
    RouteTable(RouteTableId),
    Subnet,
}

/// One address, and the bindings that point it at the leader. At least one of the three is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressConfig {
    pub address: IpAddr,
    pub elastic_ip: Option<ElasticIpConfig>,
    pub route: Option<RouteConfig>,
    pub secondary_ip: Option<SecondaryIpConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElasticIpConfig {
    /// The allocation id. If not given, EC2 tells the allocation id of the address. If given, it must be the
    /// allocation id of the address.
    pub allocation_id: Option<AllocationId>,
    /// The interface. If not given, it is the machine's first interface.
    pub interface: Option<String>,
    /// The private address. If not given, it is the ENI's primary address.
    pub private_ip: Option<Ipv4Addr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    pub tables: Tables,
    pub interface: Option<String>,
    pub on_release: OnRelease,
}

/// The route tables that get the route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tables {
    /// The tables with these ids. The list is never empty and contains each id once.
    Ids(Vec<TableRef>),
    /// All tables that carry all these tags, in the VPC of the interface's ENI.
    Tagged { tags: BTreeMap<String, String>, account: Account },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRef {
    pub id: RouteTableId,
    pub account: Account,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondaryIpConfig {
    pub interface: Option<String>,
}
