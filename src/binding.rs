//! What a VIP consists of on this node, with every id known: the bindings that point it here, and the anchor that
//! carries its claims. Made by `observed` from the config, the node's identity and what EC2 showed.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::ids::{AllocationId, EniId, InstanceId, RouteTableId, SubnetId};

/// What kind of place points a VIP at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    ElasticIp,
    Route,
    SecondaryIp,
    LocalAddress,
    SourceDestCheck,
}

impl Kind {
    pub const ALL: [Self; 5] =
        [Self::ElasticIp, Self::Route, Self::SecondaryIp, Self::LocalAddress, Self::SourceDestCheck];

    /// The name in metrics, status and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ElasticIp => "elastic_ip",
            Self::Route => "route",
            Self::SecondaryIp => "secondary_ip",
            Self::LocalAddress => "local_address",
            Self::SourceDestCheck => "source_dest_check",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Names one binding of a VIP. The target is what an operator calls it: the address of an Elastic IP or of a secondary
/// address, the table (and, where one VIP has several, the destination) of a route, the interface of the others.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BindingKey {
    pub kind: Kind,
    pub target: String,
}

impl BindingKey {
    #[must_use]
    pub fn new(kind: Kind, target: impl fmt::Display) -> Self {
        Self { kind, target: target.to_string() }
    }
}

impl fmt::Display for BindingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.target)
    }
}

/// What becomes of a route when its node stands by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum OnRelease {
    /// It stays until the successor replaces it in one call. EC2 has no conditional delete of a route.
    #[default]
    Keep,
    /// It is deleted after 30 s, if it still points here when read again directly before.
    Delete,
}

/// Whose credentials a call uses: this node's own, or those of a role in the account that owns a shared route table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    #[default]
    Own,
    Role(String),
}

/// One place that points a VIP at this node, and how it looks when it does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Binding {
    ElasticIp {
        allocation: AllocationId,
        eni: EniId,
        private_ip: Ipv4Addr,
        /// The secondary address of this VIP that `private_ip` is, if it is one: EC2 associates nothing with an
        /// address that the ENI does not have yet.
        after: Option<BindingKey>,
    },
    Route {
        account: Account,
        table: RouteTableId,
        destination: IpNet,
        eni: EniId,
        on_release: OnRelease,
    },
    SecondaryIp {
        eni: EniId,
        address: IpAddr,
    },
    LocalAddress {
        interface: String,
        address: IpAddr,
    },
    SourceDestCheck {
        eni: EniId,
    },
}

/// The resource whose tags carry the claims on a VIP: one key per node, so that no node overwrites another's word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Anchor {
    ElasticIp(AllocationId),
    RouteTable(Account, RouteTableId),
    Subnet(SubnetId),
}

impl Anchor {
    /// The id that is tagged.
    #[must_use]
    pub fn resource(&self) -> &str {
        match self {
            Self::ElasticIp(id) => id.as_str(),
            Self::RouteTable(_, id) => id.as_str(),
            Self::Subnet(id) => id.as_str(),
        }
    }

    /// Whose credentials may tag it.
    #[must_use]
    pub fn account(&self) -> Account {
        match self {
            Self::RouteTable(account, _) => account.clone(),
            Self::ElasticIp(_) | Self::Subnet(_) => Account::Own,
        }
    }
}

/// Whether claims are recorded as tags, or the weaker rules without a record apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ClaimMode {
    #[default]
    Tags,
    Off,
}

/// One VIP as this node would hold it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Vip {
    pub delegate_ip: IpAddr,
    /// This node, as its claims name it.
    pub instance: InstanceId,
    /// `None` for a binding whose ids are not known yet; the sight of it says why.
    pub bindings: BTreeMap<BindingKey, Option<Binding>>,
    pub claims: ClaimMode,
    /// `None` while the anchor's id is not known.
    pub anchor: Option<Anchor>,
}
