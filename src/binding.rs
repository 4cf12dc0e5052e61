//! The parts of a VIP on this node, with their ids: the bindings that point the VIP here, and the anchor that carries
//! its claims. [`crate::observe`] makes them from the config, the node's identity and the reads of EC2.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::ids::{AllocationId, EniId, InstanceId, RouteTableId, SubnetId};

/// The kind of a binding.
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

    /// The name of the kind in metrics, status and logs.
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

    /// Whether bindings of this kind lead the clients to a node in EC2. The others only let the node receive and answer
    /// what EC2 leads there.
    #[must_use]
    pub fn leads_clients(self) -> bool {
        match self {
            Self::ElasticIp | Self::Route | Self::SecondaryIp => true,
            Self::LocalAddress | Self::SourceDestCheck => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of one binding of a VIP. The target is the operator's name for the binding: the address of an Elastic IP,
/// of a secondary address or of a local address; the table of a route, followed by the destination if that is not the
/// delegate IP; the interface of a source/destination check.
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

/// The fate of a route when its node stands by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum OnRelease {
    /// The route stays until the successor replaces it in one call. EC2 has no conditional delete of a route.
    #[default]
    Keep,
    /// The route is deleted after 30 s, if it still points here when it is read again directly before.
    Delete,
}

/// The credentials that a call uses: this node's own, or those of a role in the account that owns a shared route table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    #[default]
    Own,
    Role(String),
}

/// The fate of the TCP connections of a local address when the address goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Connections {
    /// They are ended while the address is still there, so that their clients are told at once.
    #[default]
    Reset,
    /// They are left behind. Their clients notice by their own timeouts.
    Leave,
}

/// One address on one interface of a machine, as the kernel lists it: with the prefix length that it was added with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalAddress {
    pub interface: String,
    pub address: IpAddr,
    pub prefix: u8,
}

impl LocalAddress {
    /// The address alone, without a subnet: /32 or /128. vipkeeper adds addresses in this form only.
    #[must_use]
    pub fn single(interface: impl Into<String>, address: IpAddr) -> Self {
        Self { interface: interface.into(), address, prefix: host_prefix(address) }
    }

    /// Whether the prefix length is that of a single address.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.prefix == host_prefix(self.address)
    }
}

/// The display form is "10.0.1.50/32 on eth0".
impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {}", self.address, self.prefix, self.interface)
    }
}

/// The prefix length of a single address: 32 or 128 bits.
const fn host_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// One place that can point a VIP at this node, and the values that it must have to do so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Binding {
    ElasticIp {
        allocation: AllocationId,
        eni: EniId,
        private_ip: Ipv4Addr,
        /// The binding of `private_ip`, if `private_ip` is a secondary address of this VIP. It must come first, because
        /// EC2 associates no Elastic IP with an address that the ENI does not have yet.
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
        connections: Connections,
    },
    SourceDestCheck {
        eni: EniId,
    },
}

/// The resource whose tags carry the claims on a VIP: one key per node, so that no node overwrites another's claim.
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

    /// The account whose credentials may tag the anchor.
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

/// The reason why a binding must not be pointed at this node, although it could be. It may still be released.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Obstacle {
    /// Another Elastic IP, which comes first in the configuration, belongs at the same private address. EC2 takes the
    /// one away when the other is associated.
    SharedPlace { first: IpAddr, eni: EniId, private_ip: Ipv4Addr },
    /// This node's own changes undo one another: whenever one binding was pointed here, the other one went.
    OwnWrites { other: BindingKey, of: IpAddr },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedPlace { first, eni, private_ip } => write!(
                f,
                "would be at {eni} {private_ip} like the Elastic IP {first}, and a private address carries one: give one \
                 of them another private_ip or interface"
            ),
            Self::OwnWrites { other, of } => write!(
                f,
                "not pointed here any more: each time, {other} of {of} went, and it went again with that one's return"
            ),
        }
    }
}

/// The time at which a node that stops being leader releases its bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Handover {
    /// At once.
    AtOnce,
    /// If Pgpool's watchdog process died: once a successor claims the VIP or Pgpool does not answer, or after some time.
    #[default]
    AfterGuard,
    /// After a `down` as well, if Pgpool's watchdog says that it has the quorum.
    Always,
}

/// One VIP as this node would hold it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Vip {
    pub delegate_ip: IpAddr,
    /// This node, as its claims name it.
    pub instance: InstanceId,
    /// `None` for a binding whose ids are not known yet. The sight of the binding says why.
    pub bindings: BTreeMap<BindingKey, Option<Binding>>,
    /// The bindings that must not be pointed here.
    pub obstacles: BTreeMap<BindingKey, Obstacle>,
    pub claims: ClaimMode,
    pub handover: Handover,
    /// `None` while the anchor's id is not known.
    pub anchor: Option<Anchor>,
}

impl Vip {
    /// The resources of the bindings that can carry claims, besides the anchor. They are read anyway, and a node with
    /// another configuration may have one of them as its anchor.
    #[must_use]
    pub fn other_anchors(&self) -> BTreeSet<Anchor> {
        let resource = |binding: &Binding| match binding {
            Binding::ElasticIp { allocation, .. } => Some(Anchor::ElasticIp(allocation.clone())),
            Binding::Route { account, table, .. } => Some(Anchor::RouteTable(account.clone(), table.clone())),
            Binding::SecondaryIp { .. } | Binding::LocalAddress { .. } | Binding::SourceDestCheck { .. } => None,
        };
        let resources = self.bindings.values().flatten().filter_map(resource);
        resources.filter(|resource| Some(resource) != self.anchor.as_ref()).collect()
    }
}
