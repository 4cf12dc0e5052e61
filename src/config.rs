//! The checked configuration: a `Config` in hand is valid. How it is read is in the submodules: `layers` lays file,
//! environment and flags over one another, `sources` loads them, `reader` takes typed values out and collects what is wrong, `sections` and
//! `vips` know the keys, `values` knows what a good value looks like.

mod error;
mod layers;
mod reader;
mod sections;
pub mod sources;
#[cfg(test)]
mod tests;
mod text;
mod values;
mod vips;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::binding::{Account, ClaimMode, OnRelease};
use crate::ids::{AllocationId, EniId, InstanceId, RouteTableId};

pub use error::{ConfigError, ConfigProblem, Key, KeyStep, Place};
pub use layers::{FILE_VARIABLE, Flag};
pub use sources::{DEFAULT_FILE, HookConfig, Sources};
pub use values::{LOG_FORMATS, LOG_LEVELS, state_dir};

/// Everything vipkeeper is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub state_dir: PathBuf,
    /// Besides root: users whose desired-state files are trusted.
    pub hook_users: Vec<String>,
    pub identity: Identity,
    pub aws: Aws,
    pub limits: Limits,
    /// Where metrics, health and status are served; `None` if switched off.
    pub listen: Option<SocketAddr>,
    pub intervals: Intervals,
    pub log: LogSettings,
    pub claims: ClaimMode,
    pub witness: WitnessMode,
    pub pgpool: Pgpool,
    pub vips: Vec<VipConfig>,
}

impl AddressConfig {
    /// The interfaces that it needs; `None` stands for the machine's first one.
    pub fn interfaces(&self) -> impl Iterator<Item = Option<&str>> {
        let elastic = self.elastic_ip.iter().map(|elastic| elastic.interface.as_deref());
        let route = self.route.iter().map(|route| route.interface.as_deref());
        let secondary = self.secondary_ip.iter().map(|secondary| secondary.interface.as_deref());
        elastic.chain(route).chain(secondary)
    }
}

impl Config {
    /// The defaults, for these VIPs.
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
            vips,
        }
    }

    /// The VIP with this delegate IP; the `also` addresses are no names of their own.
    #[must_use]
    pub fn vip(&self, delegate_ip: IpAddr) -> Option<&VipConfig> {
        self.vips.iter().find(|vip| vip.delegate_ip == delegate_ip)
    }
}

/// On tmpfs, so that a reboot forgets who was leader.
const DEFAULT_STATE_DIR: &str = "/run/vipkeeper";
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9813);

/// Who this node is, for machines without the metadata service. What is set here is not asked for there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    pub instance_id: Option<InstanceId>,
    /// The ENI of each local interface.
    pub interfaces: BTreeMap<String, EniId>,
}

/// How EC2 is reached; everything unset is the SDK's own default chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aws {
    pub region: Option<String>,
    pub profile: Option<String>,
    pub endpoint_url: Option<String>,
    pub assume_role_arn: Option<String>,
    pub ca_bundle: Option<PathBuf>,
    pub use_fips: bool,
    pub use_dual_stack: bool,
    /// Where the metadata service is, if not at its usual address. Identity and credentials then come from it alone.
    pub imds_endpoint: Option<String>,
}

/// What protects the account: a token bucket before the client.
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

/// How often a node looks when nothing happens; each time ±25 % at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    pub leader: Duration,
    pub standby: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { leader: Duration::from_secs(10), standby: Duration::from_secs(30) }
    }
}

/// What Pgpool's own watchdog is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WitnessMode {
    /// Nothing.
    Off,
    /// Before every retake, which it can stop; and to notice a hook that was lost.
    #[default]
    Check,
    /// As `Check`; and where a hook was lost, its word counts in the file's place.
    Trust,
}

/// How Pgpool's watchdog is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pgpool {
    /// Looked for where Pgpool's packages put it if not given.
    pub watchdog_socket: Option<PathBuf>,
    /// Pgpool's `wd_authkey`.
    pub wd_authkey: Option<String>,
    /// A file that holds Pgpool's `wd_authkey` alone, and counts before `wd_authkey`: every hook's user must be able to read
    /// the config, and need not know the key.
    pub wd_authkey_file: Option<PathBuf>,
}

/// What is logged, and how.
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

/// How one log event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

/// One VIP: its delegate address first, then the `also` addresses that follow the same leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipConfig {
    pub delegate_ip: IpAddr,
    /// Never empty; the first one's `address` is `delegate_ip`.
    pub addresses: Vec<AddressConfig>,
    /// What `claims.anchor` or the VIP's own `anchor` names, instead of the default.
    pub anchor: Option<AnchorConfig>,
}

impl VipConfig {
    /// The route tables that are named by id, in the order of the config.
    pub fn named_tables(&self) -> impl Iterator<Item = &TableRef> {
        let routes = self.addresses.iter().filter_map(|address| address.route.as_ref());
        routes.flat_map(|route| match &route.tables {
            Tables::Ids(tables) => tables.as_slice(),
            Tables::Tagged { .. } => &[],
        })
    }

    /// Whose a table is: as where it is named; else that of the tables which are chosen by tag.
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
}

/// A resource chosen to carry the claims of a VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnchorConfig {
    ElasticIp(AllocationId),
    RouteTable(RouteTableId),
    Subnet,
}

/// One address and what points it at the leader; at least one of the three is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressConfig {
    pub address: IpAddr,
    pub elastic_ip: Option<ElasticIpConfig>,
    pub route: Option<RouteConfig>,
    pub secondary_ip: Option<SecondaryIpConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElasticIpConfig {
    /// Found from the address if not given; if given, it must be the address's.
    pub allocation_id: Option<AllocationId>,
    /// The first interface of the machine if not given.
    pub interface: Option<String>,
    /// The ENI's primary address if not given.
    pub private_ip: Option<Ipv4Addr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    pub tables: Tables,
    pub interface: Option<String>,
    pub on_release: OnRelease,
}

/// Which route tables get the route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tables {
    /// Never empty, each id once.
    Ids(Vec<TableRef>),
    /// All tables in the VPC of the interface's ENI that carry all these tags.
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
