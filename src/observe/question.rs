//! The questions to EC2, and their answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::binding::{Account, Kind};
use crate::ec2::{Address, Ec2Error, Ec2Read, Eni, EniQuery, RouteTable, TableQuery, Urgency};
use crate::ids::{RouteTableId, SubnetId, VpcId};
use crate::names::names;

names!(
    /// A source from which the state of the world is read.
    Source {
        Addresses = "addresses",
        RouteTables = "route_tables",
        NetworkInterfaces = "network_interfaces",
        Tags = "tags",
        LocalAddresses = "local_addresses",
    }
);

impl Source {
    /// The source that shows a binding of this kind.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::ElasticIp => Self::Addresses,
            Kind::Route => Self::RouteTables,
            Kind::SecondaryIp | Kind::SourceDestCheck => Self::NetworkInterfaces,
            Kind::LocalAddress => Self::LocalAddresses,
        }
    }
}

/// A source, or the part of a source that is read and fails by itself: route tables are read once for each account, and
/// tags once for each subnet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic {
    pub source: Source,
    /// The ARN of the role that reads an account's tables, or the subnet whose tags are read. `None` for a source that
    /// has one part, and for the tables of this node's own account.
    pub part: Option<String>,
}

impl Topic {
    /// The addresses of this machine's kernel, which is asked separately from EC2.
    pub const LOCAL: Self = Self { source: Source::LocalAddresses, part: None };

    fn tables_of(account: &Account) -> Self {
        let part = match account {
            Account::Own => None,
            Account::Role(role) => Some(role.clone()),
        };
        Self { source: Source::RouteTables, part }
    }
}

/// A choice of route tables by their tags, in one VPC, and the account that owns the tables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagChoice {
    pub account: Account,
    pub vpc: VpcId,
    pub tags: BTreeMap<String, String>,
}

impl TagChoice {
    #[must_use]
    pub fn topic(&self) -> Topic {
        Topic::tables_of(&self.account)
    }
}

/// One question to EC2: one read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The Elastic IPs with these public addresses.
    Addresses(BTreeSet<Ipv4Addr>),
    /// These route tables of an account.
    RouteTables(Account, BTreeSet<RouteTableId>),
    /// The route tables that carry the tags of a choice.
    TaggedTables(TagChoice),
    /// Network interfaces.
    Interfaces(EniQuery),
    /// The tags of a subnet.
    Tags(SubnetId),
}

impl Question {
    #[must_use]
    pub fn topic(&self) -> Topic {
        match self {
            Self::Addresses(_) => Topic { source: Source::Addresses, part: None },
            Self::RouteTables(account, _) => Topic::tables_of(account),
            Self::TaggedTables(choice) => choice.topic(),
            Self::Interfaces(_) => Topic { source: Source::NetworkInterfaces, part: None },
            Self::Tags(subnet) => Topic { source: Source::Tags, part: Some(subnet.to_string()) },
        }
    }
}

/// The answer to one question. The answer repeats the part of the question that tells what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Addresses(Result<Vec<Address>, Ec2Error>),
    RouteTables(Account, Result<Vec<RouteTable>, Ec2Error>),
    TaggedTables(TagChoice, Result<Vec<RouteTable>, Ec2Error>),
    /// The query tells which ENIs the answer would have shown.
    Interfaces(EniQuery, Result<Vec<Eni>, Ec2Error>),
    Tags(SubnetId, Result<BTreeMap<String, String>, Ec2Error>),
}

/// Asks EC2 one question.
pub async fn ask(ec2: &impl Ec2Read, question: &Question, urgency: Urgency) -> Answer {
    match question {
        Question::Addresses(public_ips) => Answer::Addresses(ec2.addresses(public_ips, urgency).await),
        Question::RouteTables(account, ids) => {
            let query = TableQuery::Ids(ids.clone());
            Answer::RouteTables(account.clone(), ec2.route_tables(account, &query, urgency).await)
        }
        Question::TaggedTables(choice) => {
            let query = TableQuery::Tagged { vpc: choice.vpc.clone(), tags: choice.tags.clone() };
            Answer::TaggedTables(choice.clone(), ec2.route_tables(&choice.account, &query, urgency).await)
        }
        Question::Interfaces(query) => Answer::Interfaces(query.clone(), ec2.interfaces(query, urgency).await),
        Question::Tags(subnet) => Answer::Tags(subnet.clone(), ec2.tags(subnet.as_str(), urgency).await),
    }
}
