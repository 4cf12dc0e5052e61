//! The part of EC2 that vipkeeper needs, as traits. The `aws` module implements them with the SDK. Code that holds
//! only an [`Ec2Read`] cannot change anything: for this reason `plan` changes nothing.

pub mod ask;
pub mod bucket;
mod class;
pub mod codes;
pub mod message;
pub mod reason;
pub mod server_clock;
pub mod sources;
pub mod stranger;

pub use self::class::{Class, Effect};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

use crate::action::Action;
use crate::binding::Account;
use crate::ids::{AllocationId, AssociationId, EniId, InstanceId, RouteTableId, SubnetId, VpcId};

use self::reason::Reason;
use self::server_clock::ServerTime;

/// An Elastic IP, as DescribeAddresses shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub public_ip: Ipv4Addr,
    pub allocation: AllocationId,
    pub association: Option<AssociationId>,
    pub eni: Option<EniId>,
    /// The instance of the ENI, if EC2 shows one.
    pub instance: Option<InstanceId>,
    pub private_ip: Option<Ipv4Addr>,
    pub tags: BTreeMap<String, String>,
}

/// A route table, as DescribeRouteTables shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTable {
    pub id: RouteTableId,
    pub vpc: Option<VpcId>,
    pub routes: Vec<Route>,
    pub tags: BTreeMap<String, String>,
}

/// One route with an IPv4 or IPv6 destination. Propagated routes are left out: CreateRoute adds a static route beside
/// a propagated one, and the static route wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub destination: IpNet,
    pub target: RouteTarget,
    /// The instance of the target, if EC2 shows one.
    pub instance: Option<InstanceId>,
    /// Whether EC2 shows the state `blackhole`: the target no longer exists.
    pub blackhole: bool,
}

/// The target of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteTarget {
    Eni(EniId),
    /// The id of a gateway, a peering, or an instance whose ENI is not shown.
    Other(String),
}

impl fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eni(id) => id.fmt(f),
            Self::Other(id) => f.write_str(id),
        }
    }
}

/// A network interface, as DescribeNetworkInterfaces shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eni {
    pub id: EniId,
    pub instance: Option<InstanceId>,
    pub subnet: Option<SubnetId>,
    pub vpc: Option<VpcId>,
    /// The MAC address, in lower case with colons.
    pub mac: Option<String>,
    pub primary_ip: Option<Ipv4Addr>,
    /// Every private IPv4 address, including the primary one.
    pub private_ips: BTreeSet<Ipv4Addr>,
    pub ipv6: BTreeSet<Ipv6Addr>,
    /// `None` if EC2's answer did not contain the value.
    pub source_dest_check: Option<bool>,
}

/// The ENIs that one read asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EniQuery {
    /// The ENIs with these ids.
    Ids(BTreeSet<EniId>),
    /// The ENIs that hold one of these private IPv4 addresses in the VPC. One call finds this node's ENIs by their
    /// primary addresses, and the holders of secondary addresses.
    PrivateIps { vpc: VpcId, addresses: BTreeSet<Ipv4Addr> },
    /// All ENIs of these subnets. A secondary address belongs to the subnet of its ENI, so its holder is among them.
    Subnets(BTreeSet<SubnetId>),
}

/// The route tables that one read asks for, in one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableQuery {
    Ids(BTreeSet<RouteTableId>),
    /// All tables of the VPC that carry all these tags.
    Tagged {
        vpc: VpcId,
        tags: BTreeMap<String, String>,
    },
}

/// Whether a call waits for the token bucket, which protects the account's rate limit. A more urgent value is
/// greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// The call waits for a token.
    Normal,
    /// The call waits for a token, except while the bucket is below zero: then it waits only for other paced calls.
    /// Repetitions of a claim's failed first calls are paced. They go at a rate that the account can bear, and do not
    /// wait until the tokens of the first calls are paid back.
    Paced,
    /// The call is counted and never waits. The first calls of a claim are urgent.
    Urgent,
}

/// The reads. Every method returns the things that exist. An id that does not exist is left out, and is no error.
///
/// # Errors
/// Each method returns an [`Ec2Error`] with its class when EC2 did not answer, or refused.
#[expect(async_fn_in_trait, reason = "the loop runs on one thread, and no caller needs the futures to be Send")]
pub trait Ec2Read {
    /// DescribeAddresses with the filter `public-ip`.
    async fn addresses(&self, public_ips: &BTreeSet<Ipv4Addr>, urgency: Urgency) -> Result<Vec<Address>, Ec2Error>;
    /// DescribeRouteTables with filters, all pages.
    async fn route_tables(
        &self,
        account: &Account,
        query: &TableQuery,
        urgency: Urgency,
    ) -> Result<Vec<RouteTable>, Ec2Error>;
    /// DescribeNetworkInterfaces with filters, all pages.
    async fn interfaces(&self, query: &EniQuery, urgency: Urgency) -> Result<Vec<Eni>, Ec2Error>;
    /// DescribeTags of one resource with the filter `resource-id`. Returns the values by their keys.
    async fn tags(&self, resource: &str, urgency: Urgency) -> Result<BTreeMap<String, String>, Ec2Error>;
    /// EC2's clock, by the dates of the answers so far. `None` if no answer had a date.
    fn time(&self) -> Option<ServerTime> {
        None
    }
}

/// The writes. Each write performs exactly one action, which must be an action in EC2.
#[expect(async_fn_in_trait, reason = "the loop runs on one thread, and no caller needs the futures to be Send")]
pub trait Ec2Write {
    /// Waits until a call of this urgency would go at once. The caller can still drop the change after this wait, but
    /// not within [`Ec2Write::perform`].
    async fn admit(&self, urgency: Urgency);
    /// # Errors
    /// An [`Ec2Error`]. Its class and `code` tell what to do next. The class is `Stale` for a conditional action that
    /// EC2 refused.
    async fn perform(&self, action: &Action, urgency: Urgency) -> Result<Accepted, Ec2Error>;
}

/// EC2's answer when it accepted a change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// The id of the new association, from AssociateAddress.
    pub association: Option<AssociationId>,
    /// False if there was nothing to do, for example when the thing to release was already gone.
    pub changed: bool,
}

/// One EC2 call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {message}{}", request_id.as_ref().map(|id| format!(" (request {id})")).unwrap_or_default())]
pub struct Ec2Error {
    /// EC2's name of the operation, like `AssociateAddress`.
    pub operation: &'static str,
    /// EC2's error code, if EC2 gave one.
    pub code: Option<String>,
    /// The reason, if the answer or its circumstances tell more than the code.
    pub reason: Option<Reason>,
    /// The code and EC2's text, or a description of the broken connection, in one line.
    pub message: String,
    pub request_id: Option<String>,
    pub class: Class,
    pub effect: Effect,
}

/// One request that was sent to EC2, for the metrics. An action or a read may take several requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestReport {
    /// EC2's name of the operation. The daemon's are [`OPERATIONS`]; [`ask::Ec2Ask`] has more.
    pub operation: &'static str,
    /// `ok` or the kind of failure: one of [`codes::results`].
    pub result: &'static str,
    /// The time from the end of the wait for the token bucket to EC2's answer.
    pub duration: Duration,
    /// The time that the token bucket held the request back before it was sent.
    pub waited: Duration,
}

/// Every operation that the daemon asks of EC2.
pub const OPERATIONS: [&str; 16] = [
    "AssignIpv6Addresses",
    "AssignPrivateIpAddresses",
    "AssociateAddress",
    "CreateRoute",
    "CreateTags",
    "DeleteRoute",
    "DeleteTags",
    "DescribeAddresses",
    "DescribeNetworkInterfaces",
    "DescribeRouteTables",
    "DescribeTags",
    "DisassociateAddress",
    "ModifyNetworkInterfaceAttribute",
    "ReplaceRoute",
    "UnassignIpv6Addresses",
    "UnassignPrivateIpAddresses",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Force, RouteCall};
    use crate::binding::{Anchor, LocalAddress};

    /// One of each action, with an address of each family and each way to point a route.
    fn every_action() -> Vec<Action> {
        let (eni, allocation): (EniId, AllocationId) = ("eni-a".parse().unwrap(), "eipalloc-1".parse().unwrap());
        let (table, destination): (RouteTableId, IpNet) = ("rtb-1".parse().unwrap(), "20.0.0.50/32".parse().unwrap());
        let (account, interface) = (Account::Own, "eth0".to_owned());
        let anchor = Anchor::ElasticIp(allocation.clone());
        let (key, value) = (String::new(), String::new());
        let mut actions = vec![
            Action::AssociateAddress {
                allocation: allocation.clone(),
                eni: eni.clone(),
                private_ip: Ipv4Addr::LOCALHOST,
                force: Force::Take,
            },
            Action::DisassociateAddress { allocation, association: "eipassoc-1".parse().unwrap() },
            Action::DeleteRoute { account: account.clone(), table: table.clone(), destination, eni: eni.clone() },
            Action::DisableSourceDestCheck { eni: eni.clone() },
            Action::RecordClaim { anchor: anchor.clone(), key: key.clone(), value: value.clone() },
            Action::ForgetClaim { anchor, key, value },
        ];
        for call in [RouteCall::CreateElseReplace, RouteCall::ReplaceElseCreate, RouteCall::CreateOnly] {
            let (account, table, eni) = (account.clone(), table.clone(), eni.clone());
            actions.push(Action::PointRoute { account, table, destination, eni, call });
        }
        for address in ["10.0.0.50", "fd00::50"].map(|address| address.parse().unwrap()) {
            actions.push(Action::AssignAddress { eni: eni.clone(), address, force: Force::IfFree });
            actions.push(Action::UnassignAddress { eni: eni.clone(), address });
            actions.push(Action::AddLocalAddress { interface: interface.clone(), address });
            let entries = BTreeSet::from([LocalAddress::single(interface.clone(), address)]);
            let connections = crate::binding::Connections::default();
            actions.push(Action::RemoveLocalAddress { address, entries, connections });
        }
        actions
    }

    #[test]
    fn every_action_of_ec2_names_one_of_its_operations_and_every_operation_that_writes_is_named() {
        let actions = every_action();
        let names: BTreeSet<_> = actions.iter().map(Action::name).collect();
        assert_eq!(names, BTreeSet::from(Action::NAMES), "each action is here");
        let operations: BTreeSet<_> = actions.iter().filter_map(Action::operation).collect();
        let writing = OPERATIONS.into_iter().filter(|operation| !operation.starts_with("Describe"));
        assert_eq!(operations, writing.collect());
        let local = actions.iter().filter(|action| action.operation().is_none()).map(Action::name);
        let local: BTreeSet<_> = local.collect();
        assert_eq!(local, BTreeSet::from(["add_local_address", "remove_local_address"]));
    }
}
