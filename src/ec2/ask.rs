//! Questions that `vipkeeper check` alone asks. None of them changes anything: a change is asked for by a dry run, which
//! EC2 judges and does not carry out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use super::{Ec2Error, RouteTable};
use crate::action::Action;
use crate::ids::{AllocationId, EniId, SubnetId, VpcId};

/// EC2's answer to a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DryRun {
    /// EC2 would carry the call out, as far as permissions go.
    Allowed,
    /// The endpoint took the dry run for a real call and carried it out. EC2 itself never does.
    CarriedOut,
    /// EC2 has no dry run for this call.
    NotAvailable,
}

/// The operations for which EC2 has no dry run (EC2 API reference: they have no parameter `DryRun`).
const WITHOUT_DRY_RUN: [&str; 4] =
    ["AssignIpv6Addresses", "AssignPrivateIpAddresses", "UnassignIpv6Addresses", "UnassignPrivateIpAddresses"];

/// Whether EC2 has a dry run for an operation that writes.
#[must_use]
pub fn has_dry_run(operation: &str) -> bool {
    !WITHOUT_DRY_RUN.contains(&operation)
}

/// The surroundings of an ENI that no VIP depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EniSurroundings {
    /// The ids of the ENI's security groups.
    pub groups: BTreeSet<String>,
    /// The public addresses at the ENI, by the private address that each one leads to.
    pub public: BTreeMap<Ipv4Addr, PublicAddress>,
    /// The private addresses of the ENI, the primary one among them. Each takes one slot.
    pub private: BTreeSet<IpAddr>,
    /// The prefixes that are delegated to the ENI. Each takes one slot, as an address does.
    pub prefixes: BTreeSet<IpNet>,
    /// The availability zone, by its name.
    pub zone: Option<String>,
}

/// The most private addresses that one interface may have. The instance's type sets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    pub v4: usize,
    pub v6: usize,
}

/// A public address at an ENI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicAddress {
    pub address: Ipv4Addr,
    /// Whether AWS lends the address for the time of the instance. Otherwise the address is an Elastic IP.
    pub is_lent: bool,
}

/// One rule of a security group that lets packets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    /// `tcp`, `udp`, `icmp`, a number, or `-1` for every protocol.
    pub protocol: String,
    /// The first and the last port; for ICMP the type and the code, where -1 is any. `None` if every port is let in.
    pub ports: Option<(i32, i32)>,
    /// The addresses that are let in.
    pub from: Vec<IpNet>,
    /// The number of groups and prefix lists whose members are let in. Their addresses are not known.
    pub unknown: usize,
}

/// The way that the requests so far took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Travelled {
    /// The host that was asked, with the port if the request named one. `None` if no request was made.
    pub host: Option<String>,
    /// The proxy through which the host was asked.
    pub proxy: Option<String>,
    /// The longest time of one request.
    pub slowest: Duration,
    /// When the node's own credentials run out. `None` if they do not, or were never loaded.
    pub expiry: Option<SystemTime>,
}

/// The questions. Each one goes at once, without a wait for the rate limit.
///
/// # Errors
/// Each method returns an [`Ec2Error`] with its class when EC2 did not answer, or refused.
#[expect(async_fn_in_trait, reason = "the command runs on one thread, and no caller needs the futures to be Send")]
pub trait Ec2Ask {
    /// The way that the requests so far took.
    fn travelled(&self) -> Travelled;
    /// Asks whether EC2 would carry out the first call of an action. Returns [`DryRun::NotAvailable`], and sends
    /// nothing, where EC2 has no dry run.
    async fn dry_run(&self, action: &Action) -> Result<DryRun, Ec2Error>;
    /// DescribeNetworkInterfaces of one ENI. `None` if there is no such ENI.
    async fn surroundings(&self, eni: &EniId) -> Result<Option<EniSurroundings>, Ec2Error>;
    /// DescribeSecurityGroups: the rules of these groups that let packets in.
    async fn ingress(&self, groups: &BTreeSet<String>) -> Result<Vec<Ingress>, Ec2Error>;
    /// DescribeInstanceTypes of one type. `None` if EC2 does not tell its limits.
    async fn slots(&self, instance_type: &str) -> Result<Option<Slots>, Ec2Error>;
    /// DescribeAddresses: the network border group of each of these Elastic IPs that exists.
    async fn border_groups(
        &self,
        allocations: &BTreeSet<AllocationId>,
    ) -> Result<BTreeMap<AllocationId, String>, Ec2Error>;
    /// DescribeRouteTables: the table by which the subnet's packets leave, which is its own or the VPC's main one.
    async fn table_of(&self, vpc: &VpcId, subnet: &SubnetId) -> Result<Option<RouteTable>, Ec2Error>;
}
