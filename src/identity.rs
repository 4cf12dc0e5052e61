//! Who this node is in EC2.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::ids::{EniId, InstanceId, SubnetId, VpcId};

/// This node: its instance, and the ENIs behind its interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub instance: InstanceId,
    pub region: String,
    pub interfaces: BTreeMap<String, NodeInterface>,
}

/// The ENI behind one local interface. What the metadata service did not tell is filled in from
/// DescribeNetworkInterfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInterface {
    pub eni: EniId,
    pub mac: Option<String>,
    pub primary_ip: Option<Ipv4Addr>,
    pub subnet: Option<SubnetId>,
    pub vpc: Option<VpcId>,
}
