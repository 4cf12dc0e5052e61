//! The checked configuration: a `Config` in hand is valid. How it is read is in the submodules.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::ids::{AllocationId, EniId, InstanceId, RouteTableId};
use crate::vip::{Account, ClaimMode, OnRelease};

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
    pub claims: ClaimMode,
    pub vips: Vec<VipConfig>,
}

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
}

/// What protects the account: a token bucket before the client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub requests_per_s: f64,
    pub burst: u32,
}

/// How often a node looks when nothing happens; each time ±25 % at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    pub leader: Duration,
    pub standby: Duration,
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
    Ids(Vec<TableRef>),
    /// All tables in the VPC of the interface's ENI that carry all these tags.
    Tagged {
        tags: BTreeMap<String, String>,
        account: Account,
    },
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
