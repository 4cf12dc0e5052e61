//! The answers of the operations. A view is a stored resource together with what EC2 adds when it describes it.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use ipnet::IpNet;

use crate::account::model::{
    ElasticIp, Eni, Instance, InstanceState, RouteOrigin, RouteTable, RouteTarget, SecurityGroup, Subnet, Vpc,
};

/// The answer to an [`Operation`](crate::Operation) that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done; nothing more to tell.
    Done,
    Associated {
        association_id: String,
    },
    PrivateIpsAssigned {
        network_interface_id: String,
        addresses: Vec<String>,
    },
    Ipv6Assigned {
        network_interface_id: String,
        addresses: Vec<String>,
    },
    Ipv6Unassigned {
        network_interface_id: String,
        addresses: Vec<String>,
    },
    Addresses(Vec<AddressView>),
    RouteTables(Page<RouteTableView>),
    NetworkInterfaces(Page<EniView>),
    Tags(Page<TagView>),
    Instances(Page<InstanceView>),
    Subnets(Page<SubnetView>),
    Vpcs(Page<VpcView>),
    SecurityGroups(Page<SecurityGroupView>),
    InstanceTypes(Vec<InstanceTypeView>),
    RoleAssumed {
        role_arn: String,
        session_name: String,
        duration_s: u32,
    },
    CallerIdentity {
        account_id: String,
    },
}

/// A type of instances, and how many addresses of a family each of their interfaces may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceTypeView {
    pub name: String,
    pub addresses_per_interface: usize,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Present if there is more.
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressView {
    pub address: Arc<ElasticIp>,
    pub owner_id: String,
    /// Of the instance that the address's interface is attached to.
    pub instance_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EniView {
    pub eni: Arc<Eni>,
    pub owner_id: String,
    pub availability_zone: String,
    /// Elastic IPs, by the private address that they point at.
    pub elastic_ips: BTreeMap<Ipv4Addr, Arc<ElasticIp>>,
    /// Id and name.
    pub groups: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTableView {
    pub table: Arc<RouteTable>,
    pub owner_id: String,
    pub routes: Vec<RouteView>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteView {
    pub destination: IpNet,
    pub target: RouteTarget,
    /// Of the instance that the target interface is attached to.
    pub instance_id: Option<String>,
    pub origin: RouteOrigin,
    pub state: RouteState,
}

/// EC2 API reference: RouteState.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteState {
    Active,
    /// The target is not available.
    Blackhole,
}

impl RouteState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Blackhole => "blackhole",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagView {
    pub resource_id: String,
    pub resource_type: &'static str,
    pub key: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceView {
    pub instance: Arc<Instance>,
    pub owner_id: String,
    /// By device index.
    pub interfaces: Vec<EniView>,
}

impl InstanceView {
    pub fn is_gone(&self) -> bool {
        self.instance.state == InstanceState::Terminated
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetView {
    pub subnet: Arc<Subnet>,
    pub owner_id: String,
    pub region: String,
    /// Addresses that nobody holds.
    pub available: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcView {
    pub vpc: Arc<Vpc>,
    pub owner_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroupView {
    pub group: Arc<SecurityGroup>,
    pub owner_id: String,
}
