//! Who this node is: its instance, its region, and the ENI of each interface that the configuration names.
//! The metadata service tells, or the configuration does; the module `imds` asks the former.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::config::Config;
use crate::ids::{EniId, InstanceId, SubnetId, VpcId};

/// This node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub instance: InstanceId,
    pub region: String,
    /// The interface that stands for the machine's first one, if that was asked for.
    pub first: Option<String>,
    /// By the name of the interface in the kernel.
    pub interfaces: BTreeMap<String, NodeInterface>,
    /// Why an interface that was asked for is not among them, in one line. `None` stands for the machine's first one.
    pub missing: BTreeMap<Option<String>, String>,
}

/// One of this node's interfaces. What is `None` was not asked for, because the configuration names the ENI:
/// DescribeNetworkInterfaces shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInterface {
    pub eni: EniId,
    /// In lower case with colons, as the kernel and the metadata service write it.
    pub mac: Option<String>,
    /// `None` too for an ENI without IPv4.
    pub primary_ip: Option<Ipv4Addr>,
    pub subnet: Option<SubnetId>,
    pub vpc: Option<VpcId>,
}

impl NodeInterface {
    /// An interface whose ENI the configuration names.
    #[must_use]
    pub fn named(eni: EniId, mac: Option<String>) -> Self {
        Self { eni, mac, primary_ip: None, subnet: None, vpc: None }
    }
}

/// Finds out who this node is. A trait so that the loop can try again for as long as it takes.
#[expect(async_fn_in_trait, reason = "the loop runs on one thread, and no caller needs the futures to be Send")]
pub trait Identify {
    /// # Errors
    /// One line that says what could not be found out, and what to do.
    async fn identify(&self, config: &Config) -> Result<Node, String>;
}
