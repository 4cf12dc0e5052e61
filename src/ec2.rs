//! The part of EC2 that vipkeeper needs, as traits; `aws` is the SDK's adapter and nothing else.
//! Who holds only an [`Ec2Read`] cannot change anything: that is how `plan` keeps its promise.

pub mod bucket;
mod class;
pub mod codes;
pub mod reason;

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

/// An Elastic IP, as DescribeAddresses shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub public_ip: Ipv4Addr,
    pub allocation: AllocationId,
    pub association: Option<AssociationId>,
    pub eni: Option<EniId>,
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
/// one of those, and the static one wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub destination: IpNet,
    pub target: RouteTarget,
    /// EC2's state `blackhole`: the target is not there any more.
    pub blackhole: bool,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteTarget {
    Eni(EniId),
    /// A gateway, a peering, or an instance whose ENI is not shown; by its id.
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
    /// In lower case with colons.
    pub mac: Option<String>,
    pub primary_ip: Option<Ipv4Addr>,
    /// Every private IPv4 address, the primary one too.
    pub private_ips: BTreeSet<Ipv4Addr>,
    pub ipv6: BTreeSet<Ipv6Addr>,
    /// `None` if the answer did not say.
    pub source_dest_check: Option<bool>,
}

/// Which ENIs one read asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EniQuery {
    /// These alone.
    Ids(BTreeSet<EniId>),
    /// Whoever holds one of these private IPv4 addresses in the VPC: own ENIs by their primary addresses, and the
    /// holders of the secondary ones, in one call.
    PrivateIps { vpc: VpcId, addresses: BTreeSet<Ipv4Addr> },
    /// All ENIs of these subnets. A secondary address is of its ENI's subnet, so whoever holds one is among them.
    Subnets(BTreeSet<SubnetId>),
}

/// Which route tables one read asks for, in one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableQuery {
    Ids(BTreeSet<RouteTableId>),
    /// All tables of the VPC that carry all these tags.
    Tagged {
        vpc: VpcId,
        tags: BTreeMap<String, String>,
    },
}

/// Whether a call waits for the account's rate limit; the more urgent, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Waits for a token.
    Normal,
    /// Takes a token where there is one, and is else held back by others of its kind only: what failed of a claim's first
    /// takes. It comes at the rate that the account is to bear, and does not pay for what the claim was allowed before.
    Paced,
    /// Counted, never held back: what a claim takes first.
    Urgent,
}

/// Reads. Every method answers with what exists: ids that do not are left out, and are no error.
///
/// # Errors
/// Each gives an [`Ec2Error`] with its class when EC2 did not answer, or refused.
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
    /// DescribeTags of one resource with the filter `resource-id`: key and value.
    async fn tags(&self, resource: &str, urgency: Urgency) -> Result<BTreeMap<String, String>, Ec2Error>;
}

/// Writes. Performs exactly one action, a cloud one.
#[expect(async_fn_in_trait, reason = "the loop runs on one thread, and no caller needs the futures to be Send")]
pub trait Ec2Write {
    /// Waits until a call of this urgency would go at once. Whoever waited here can still change its mind; within
    /// [`Ec2Write::perform`] nobody can.
    async fn admit(&self, urgency: Urgency);
    /// # Errors
    /// An [`Ec2Error`]; its class and `code` say what follows. `Stale` for a conditional action that EC2 refused.
    async fn perform(&self, action: &Action, urgency: Urgency) -> Result<Accepted, Ec2Error>;
}

/// What EC2 said when it accepted a change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// The new association, from AssociateAddress.
    pub association: Option<AssociationId>,
    /// False if there was nothing to do: a release of what was not there any more, say.
    pub changed: bool,
}

/// One EC2 call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {message}{}", request_id.as_ref().map(|id| format!(" (request {id})")).unwrap_or_default())]
pub struct Ec2Error {
    /// EC2's name of the operation, like `AssociateAddress`.
    pub operation: &'static str,
    /// EC2's error code, when it gave one.
    pub code: Option<String>,
    /// What the answer or its circumstances say beyond the code, if anything.
    pub reason: Option<Reason>,
    /// The code and EC2's text, or what broke on the way; one line.
    pub message: String,
    pub request_id: Option<String>,
    pub class: Class,
    pub effect: Effect,
}

/// One request that was sent to EC2, for the metrics. An action or a read may take several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestReport {
    /// EC2's name of the operation: one of [`OPERATIONS`].
    pub operation: &'static str,
    /// `ok`, or what went wrong: one of [`codes::results`].
    pub result: &'static str,
    /// From when it was let through to its answer.
    pub duration: Duration,
    /// How long the token bucket held it back before that.
    pub waited: Duration,
}

/// Every operation that vipkeeper asks of EC2.
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
    use crate::binding::Anchor;

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
            actions.push(Action::RemoveLocalAddress { interface: interface.clone(), address });
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
