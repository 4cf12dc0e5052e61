//! The resources of an account, as they are stored. What a describe call adds to them is in [`crate::answer`].

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;

/// Tags of a resource, by key.
pub type Tags = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Vpc {
    pub id: String,
    /// The first is the primary one.
    pub cidrs: Vec<Ipv4Net>,
    pub ipv6_cidrs: Vec<Ipv6Net>,
    pub internet_gateway: Option<String>,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subnet {
    pub id: String,
    pub vpc_id: String,
    pub cidr: Ipv4Net,
    pub ipv6_cidr: Option<Ipv6Net>,
    pub availability_zone: String,
    pub availability_zone_id: String,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecurityGroup {
    pub id: String,
    pub vpc_id: String,
    pub name: String,
    pub description: String,
    pub ingress: Vec<Permission>,
    pub egress: Vec<Permission>,
    pub tags: Tags,
}

/// One rule of a security group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Permission {
    /// `tcp`, `udp`, `icmp`, or `-1` for all.
    pub protocol: String,
    /// Ports, or ICMP type and code; none for all protocols.
    pub ports: Option<(i32, i32)>,
    pub ranges: Vec<IpNet>,
    /// Other groups whose members are let in.
    pub groups: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    Pending,
    Running,
    Stopped,
    Terminated,
}

impl InstanceState {
    /// EC2 API reference: InstanceState.
    pub fn code(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::Terminated => 48,
            Self::Stopped => 80,
        }
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Terminated => "terminated",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instance {
    pub id: String,
    pub reservation_id: String,
    pub state: InstanceState,
    pub instance_type: String,
    pub image_id: String,
    /// Name of the role that the metadata service hands out credentials for.
    pub role: Option<String>,
    /// Whether the metadata service shows the tags.
    pub tags_in_metadata: bool,
    /// Private IPv4 addresses, and IPv6 addresses, that each interface may hold: the primary one included.
    pub addresses_per_interface: usize,
    pub tags: Tags,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Eni {
    pub id: String,
    pub subnet_id: String,
    pub vpc_id: String,
    pub mac: String,
    pub description: String,
    pub source_dest_check: bool,
    /// Never empty: the first is the primary one.
    pub private_ips: Vec<Ipv4Addr>,
    pub ipv6_addresses: Vec<Ipv6Addr>,
    pub groups: Vec<String>,
    pub attachment: Option<Attachment>,
    pub tags: Tags,
}

impl Eni {
    pub fn primary_ip(&self) -> Ipv4Addr {
        self.private_ips[0]
    }

    pub fn instance_id(&self) -> Option<&str> {
        self.attachment.as_ref().map(|attachment| attachment.instance_id.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attachment {
    pub id: String,
    pub instance_id: String,
    pub device_index: u32,
    pub delete_on_termination: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ElasticIp {
    pub allocation_id: String,
    pub public_ip: Ipv4Addr,
    pub network_border_group: String,
    pub association: Option<Association>,
    pub tags: Tags,
}

/// Where an Elastic IP points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Association {
    pub id: String,
    pub network_interface_id: String,
    pub private_ip: Ipv4Addr,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteTable {
    pub id: String,
    pub vpc_id: String,
    pub associations: Vec<TableAssociation>,
    pub routes: BTreeMap<IpNet, Route>,
    /// Routes that fit in, counted for IPv4 and IPv6 apart. VPC user guide, quotas: 50 unless raised.
    pub route_limit: usize,
    pub tags: Tags,
}

/// A subnet that uses the table, or the table's role as the VPC's main one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableAssociation {
    pub id: String,
    /// None for the main table.
    pub subnet_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    pub target: RouteTarget,
    pub origin: RouteOrigin,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteTarget {
    Local,
    InternetGateway(String),
    NetworkInterface(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum RouteOrigin {
    /// Came with the table: the VPC's own addresses.
    CreateRouteTable,
    CreateRoute,
}

impl fmt::Display for RouteOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateRouteTable => "CreateRouteTable",
            Self::CreateRoute => "CreateRoute",
        })
    }
}
