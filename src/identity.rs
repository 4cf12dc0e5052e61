//! Who this node is: its instance, its region, and the ENI of each interface that the configuration names. Either the
//! metadata service or the configuration tells. The module `imds` asks the metadata service.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::IpNet;

use crate::config::Config;
use crate::ids::{EniId, InstanceId, SubnetId, VpcId};

/// This node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub instance: InstanceId,
    pub region: String,
    /// The interface that stands for the machine's first one; `None` if the first interface was not asked for or not
    /// found.
    pub first: Option<String>,
    /// This node's interfaces, by the interface's name in the kernel.
    pub interfaces: BTreeMap<String, NodeInterface>,
    /// The interfaces that were asked for and not found, each with the reason in one line. The key `None` stands for
    /// the machine's first interface.
    pub missing: BTreeMap<Option<String>, String>,
}

/// One of this node's interfaces. If the configuration names the ENI, a field that is `None` was not asked for, and
/// DescribeNetworkInterfaces shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInterface {
    pub eni: EniId,
    /// The MAC address in lower case with colons, as the kernel and the metadata service write it.
    pub mac: Option<String>,
    /// `None` also for an ENI without IPv4.
    pub primary_ip: Option<Ipv4Addr>,
    pub subnet: Option<SubnetId>,
    pub vpc: Option<VpcId>,
    pub blocks: Blocks,
    /// The interface's first name in the kernel, if the configuration names it by an alternative name. The kernel lists
    /// addresses under the first name alone.
    pub first_name: Option<String>,
    /// The other interface of this machine that has the MAC address too, and a device of its own, which this one has not.
    /// This one is then a macvlan, a bridge or the like above that one.
    pub device_below: Option<String>,
}

/// The address blocks around an ENI, as far as the metadata service told them. An empty list means that none is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blocks {
    /// The blocks of the ENI's subnet: one of IPv4, and those of IPv6.
    pub subnet: Vec<IpNet>,
    /// All blocks of the ENI's VPC.
    pub vpc: Vec<IpNet>,
}

impl NodeInterface {
    /// An interface whose ENI the configuration names.
    #[must_use]
    pub fn named(eni: EniId, mac: Option<String>) -> Self {
        Self {
            eni,
            mac,
            primary_ip: None,
            subnet: None,
            vpc: None,
            blocks: Blocks::default(),
            first_name: None,
            device_below: None,
        }
    }
}

/// Finds out who this node is. This is a trait so that the loop can repeat a failed search as often as needed.
#[expect(async_fn_in_trait, reason = "the loop runs on one thread, and no caller needs the futures to be Send")]
pub trait Identify {
    /// # Errors
    /// One line that says what could not be found out, and what to do.
    async fn identify(&self, config: &Config) -> Result<Node, String>;
    /// The type of this instance, by the metadata service. Nothing but `vipkeeper check` needs it.
    ///
    /// # Errors
    /// One line that says why the type is not known.
    async fn instance_type(&self, config: &Config) -> Result<String, String>;
}
