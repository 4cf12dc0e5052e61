//! `vipkeeper policy` writes down the least IAM policy for the configuration: which actions, on which resources, under
//! which conditions. This module is pure. Statements are data; `written` gives them the form of JSON, CloudFormation or
//! Terraform.
//!
//! The nodes are chosen by a tag on their instances and ENIs, because a policy is shared by all nodes and outlives any
//! one of them. The resources that the configuration does not name by id stay open, and the format says where.

#[cfg(test)]
mod tests;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::binding::{Account, ClaimMode, OnRelease};
use crate::claim_tag::tag_keys;
use crate::cli::NodeTag;
use crate::config::{AddressConfig, AnchorChoice, Config, RouteConfig, Tables, VipConfig};

pub use written::Location;

/// One part of a text in a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Text(String),
    Partition,
    Region,
    /// The account that owns the nodes.
    Account,
    Open(Open),
}

/// A value that the configuration does not have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Open {
    /// The name in capitals.
    name: String,
    /// How to find the value.
    how: String,
}

type Text = Vec<Part>;

/// One condition: the operator, the key, and the values of which one must match.
type Condition = (&'static str, String, Vec<Text>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    sid: String,
    actions: Vec<String>,
    resources: Vec<Text>,
    conditions: Vec<Condition>,
}

/// The least policy of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    statements: Vec<Statement>,
}

/// Makes the policy of the nodes' own role, or of the role with this ARN, which the nodes assume.
///
/// # Errors
/// One line if the configuration does not name the role.
pub fn policy(config: &Config, role: Option<&str>, nodes: &NodeTag) -> Result<Policy, String> {
    let foreign: BTreeSet<_> = accounts(config).into_iter().filter_map(role_of).collect();
    let own = config.aws.assume_role_arn.as_deref();
    let statements = match (role, own) {
        // The role of the instance profile only leads to the role that does everything.
        (None, Some(own)) => vec![assume(&BTreeSet::from([own.to_owned()]))],
        (Some(role), _) if Some(role) != own && !foreign.contains(role) => {
            let known: Vec<_> = own.map(str::to_owned).into_iter().chain(foreign).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(format!("the configuration does not name the role {role}; the roles that it names: {known}"));
        }
        (Some(role), _) if foreign.contains(role) => {
            Draft { config, nodes, account: Account::Role(role.to_owned()) }.statements()
        }
        _ => {
            let mut statements = Draft { config, nodes, account: Account::Own }.statements();
            statements.extend((!foreign.is_empty()).then(|| assume(&foreign)));
            statements
        }
    };
    Ok(Policy { statements })
}

/// One action that a policy allows: the account whose role has the policy, the statement's name, and the action.
pub type Allowed = (Account, String, String);

/// Every action that the configuration needs, from the policies of all its roles.
#[must_use]
pub fn allowed(config: &Config) -> Vec<Allowed> {
    let nodes = NodeTag { key: String::new(), value: String::new() };
    let foreign = accounts(config).into_iter().filter_map(role_of);
    let own = config.aws.assume_role_arn.clone();
    let roles = std::iter::once(None).chain(own.clone().map(Some)).chain(foreign.map(Some));
    let mut all = Vec::new();
    for role in roles {
        // The configuration names each of these roles, so each has a policy.
        let Ok(Policy { statements }) = policy(config, role.as_deref(), &nodes) else { continue };
        let account = role.filter(|role| own.as_ref() != Some(role)).map_or(Account::Own, Account::Role);
        for Statement { sid, actions, .. } in statements {
            all.extend(actions.into_iter().map(|action| (account.clone(), sid.clone(), action)));
        }
    }
    all
}

/// Everything that one account's policy is made from.
struct Draft<'a> {
    config: &'a Config,
    nodes: &'a NodeTag,
    account: Account,
}

impl Draft<'_> {
    fn statements(&self) -> Vec<Statement> {
        let mut statements = vec![self.look()];
        statements.extend(self.elastic_ips());
        statements.extend(self.named_routes());
        statements.extend(self.tagged_routes());
        statements.extend(self.interfaces());
        statements.extend(self.claims());
        statements
    }

    fn is_own(&self) -> bool {
        self.account == Account::Own
    }

    /// The addresses of all VIPs, where the nodes' own account is concerned.
    fn own_addresses(&self) -> impl Iterator<Item = &AddressConfig> {
        self.config.vips.iter().flat_map(|vip| &vip.addresses).filter(|_| self.is_own())
    }

    fn routes(&self) -> impl Iterator<Item = &RouteConfig> {
        self.config.vips.iter().flat_map(|vip| &vip.addresses).filter_map(|address| address.route.as_ref())
    }

    fn look(&self) -> Statement {
        let tables = accounts(self.config).contains(&self.account);
        let by_subnet = self.anchors().any(|(anchor, _)| anchor == of_subnet());
        let reads = [
            ("DescribeAddresses", self.own_addresses().any(|address| address.elastic_ip.is_some())),
            ("DescribeRouteTables", tables),
            ("DescribeNetworkInterfaces", self.is_own()),
            ("DescribeTags", by_subnet),
        ];
        let reads = reads.into_iter().filter(|(_, is_needed)| *is_needed).map(|(name, _)| name);
        let in_region = ("StringEquals", "aws:RequestedRegion".to_owned(), vec![vec![Part::Region]]);
        statement("Look", reads, vec![text("*")]).only_if(in_region)
    }

    fn elastic_ips(&self) -> Vec<Statement> {
        let elastic = self.own_addresses().filter(|address| address.elastic_ip.is_some());
        let arns: BTreeSet<_> = elastic.map(|address| self.arn("elastic-ip", allocation_of(address))).collect();
        if arns.is_empty() {
            return Vec::new();
        }
        let actions = ["AssociateAddress", "DisassociateAddress"];
        let between = ["network-interface", "instance"].map(|kind| self.arn(kind, text("*")));
        vec![
            statement("MoveTheAddress", actions, arns.into_iter().collect()),
            statement("BetweenTheNodes", actions, between.to_vec()).only_if(self.of_nodes()),
        ]
    }

    fn named_routes(&self) -> Vec<Statement> {
        let (mut tables, mut deleted) = (Vec::new(), Vec::new());
        for route in self.routes() {
            let Tables::Ids(ids) = &route.tables else { continue };
            for table in ids.iter().filter(|table| table.account == self.account) {
                let arn = self.arn("route-table", text(table.id.as_str()));
                push_new(&mut tables, arn.clone());
                if route.on_release == OnRelease::Delete {
                    push_new(&mut deleted, arn);
                }
            }
        }
        // One statement for both makes the policy shorter, where each table is in both lists.
        if deleted.len() == tables.len() && !tables.is_empty() {
            return vec![statement("PointRoutes", ["CreateRoute", "ReplaceRoute", "DeleteRoute"], tables)];
        }
        let point = (!tables.is_empty()).then(|| statement("PointRoutes", ["CreateRoute", "ReplaceRoute"], tables));
        let delete = (!deleted.is_empty()).then(|| statement("DeleteRoutes", ["DeleteRoute"], deleted));
        point.into_iter().chain(delete).collect()
    }

    /// The statements about tables that are chosen by their tags: the policy chooses them by the same tags.
    fn tagged_routes(&self) -> Vec<Statement> {
        let mut choices: Vec<(&BTreeMap<String, String>, bool)> = Vec::new();
        for route in self.routes() {
            let Tables::Tagged { tags, account } = &route.tables else { continue };
            if *account == self.account {
                push_new(&mut choices, (tags, route.on_release == OnRelease::Delete));
            }
        }
        let statements = choices.into_iter().zip(1..).map(|((tags, is_deleted), number)| {
            let actions = ["CreateRoute", "ReplaceRoute"].into_iter().chain(is_deleted.then_some("DeleteRoute"));
            let all = vec![self.arn("route-table", text("*"))];
            let chosen = statement(&numbered("PointChosenRoutes", number), actions, all);
            tags.iter().fold(chosen, |chosen, (key, value)| chosen.only_if(has_tag(key, value)))
        });
        statements.collect()
    }

    fn interfaces(&self) -> Vec<Statement> {
        let mut statements = Vec::new();
        let mut on_nodes = |sid, actions: Vec<&str>| {
            let enis = vec![self.arn("network-interface", text("*"))];
            statements.push(statement(sid, actions, enis).only_if(self.of_nodes()));
        };
        if self.own_addresses().any(|address| address.route.is_some()) {
            on_nodes("SourceDestCheckOff", vec!["ModifyNetworkInterfaceAttribute"]);
        }
        let secondary = || self.own_addresses().filter(|address| address.secondary_ip.is_some());
        if secondary().any(|address| address.address.is_ipv4()) {
            on_nodes("MoveBetweenInterfaces", vec!["AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"]);
        }
        if secondary().any(|address| address.address.is_ipv6()) {
            on_nodes("MoveIpv6BetweenInterfaces", vec!["AssignIpv6Addresses", "UnassignIpv6Addresses"]);
        }
        statements
    }

    /// The statements about the claims' tags. Each resource takes only the keys of the VIPs whose claims it may carry: the
    /// anchor, and every Elastic IP and route table of the VIP, because a node with another configuration may have its
    /// claims there.
    fn claims(&self) -> Vec<Statement> {
        if self.config.claims == ClaimMode::Off {
            return Vec::new();
        }
        let mut named: Vec<(Vec<Text>, Vec<Text>)> = Vec::new();
        let mut chosen: Vec<(&BTreeMap<String, String>, Vec<Text>)> = Vec::new();
        for vip in &self.config.vips {
            let pattern = text(&tag_keys(vip.delegate_ip));
            let carriers = self.carriers(vip);
            if !carriers.is_empty() {
                entry(&mut named, carriers).push(pattern.clone());
            }
            let mut tags_of_vip = Vec::new();
            for route in vip.addresses.iter().filter_map(|address| address.route.as_ref()) {
                if let Tables::Tagged { tags, account } = &route.tables
                    && *account == self.account
                {
                    push_new(&mut tags_of_vip, tags);
                }
            }
            for tags in tags_of_vip {
                entry(&mut chosen, tags).push(pattern.clone());
            }
        }
        let record = |sid: &str, number, resources: Vec<Text>, patterns: Vec<Text>| {
            let some_key = ("Null", "aws:TagKeys".to_owned(), vec![text("false")]);
            let keys = ("ForAllValues:StringLike", "aws:TagKeys".to_owned(), patterns);
            statement(&numbered(sid, number), ["CreateTags", "DeleteTags"], resources).only_if(keys).only_if(some_key)
        };
        let named = named.into_iter().zip(1..);
        let chosen = chosen.into_iter().zip(1..);
        let on_named = named.map(|((resources, patterns), number)| record("RecordClaims", number, resources, patterns));
        let on_chosen = chosen.map(|((tags, patterns), number)| {
            let all = vec![self.arn("route-table", text("*"))];
            let record = record("RecordClaimsOnChosen", number, all, patterns);
            tags.iter().fold(record, |record, (key, value)| record.only_if(has_tag(key, value)))
        });
        on_named.chain(on_chosen).collect()
    }

    /// The resources in this account that may carry claims on a VIP and are not chosen by tags, the anchor first.
    fn carriers(&self, vip: &VipConfig) -> Vec<Text> {
        let of_addresses = vip.addresses.iter().flat_map(|address| {
            let elastic = address.elastic_ip.is_some();
            let elastic = elastic.then(|| (Account::Own, "elastic-ip", allocation_of(address)));
            let tables = match address.route.as_ref().map(|route| &route.tables) {
                Some(Tables::Ids(tables)) => tables.as_slice(),
                Some(Tables::Tagged { .. }) | None => &[],
            };
            let tables = tables.iter().map(|table| (table.account.clone(), "route-table", text(table.id.as_str())));
            elastic.into_iter().chain(tables)
        });
        let mut carriers = Vec::new();
        for (account, kind, id) in anchor_of(vip).into_iter().chain(of_addresses) {
            if account == self.account {
                push_new(&mut carriers, self.arn(kind, id));
            }
        }
        carriers
    }

    /// The anchors in this account, each with the VIP whose claims it carries.
    fn anchors(&self) -> impl Iterator<Item = ((&'static str, Text), IpAddr)> {
        let vips = self.config.vips.iter();
        vips.filter_map(|vip| {
            let (account, kind, id) = anchor_of(vip)?;
            (account == self.account).then_some(((kind, id), vip.delegate_ip))
        })
    }

    /// The condition that a resource carries the nodes' tag.
    fn of_nodes(&self) -> Condition {
        has_tag(&self.nodes.key, &self.nodes.value)
    }

    /// The ARN of a resource of EC2. The ARN of a role has the partition and the account of what it manages.
    fn arn(&self, kind: &str, id: Text) -> Text {
        let of_role = role_of(self.account.clone()).and_then(|role| {
            let mut parts = role.split(':').skip(1);
            Some((parts.next()?.to_owned(), parts.nth(2)?.to_owned()))
        });
        let (partition, account) = of_role.map_or((Part::Partition, Part::Account), |(partition, account)| {
            (Part::Text(partition), Part::Text(account))
        });
        let colon = || Part::Text(":".to_owned());
        let begin = [Part::Text("arn:".to_owned()), partition, Part::Text(":ec2:".to_owned()), Part::Region, colon()];
        let end = [account, Part::Text(format!(":{kind}/"))];
        begin.into_iter().chain(end).chain(id).collect()
    }
}

/// The anchor of a VIP by account, type and id.
fn anchor_of(vip: &VipConfig) -> Option<(Account, &'static str, Text)> {
    Some(match vip.anchor_choice()? {
        AnchorChoice::ElasticIp(id) => (Account::Own, "elastic-ip", text(id.as_str())),
        AnchorChoice::ElasticIpAt(address) => (Account::Own, "elastic-ip", allocation_at(address)),
        AnchorChoice::RouteTable(account, id) => (account, "route-table", text(id.as_str())),
        AnchorChoice::Subnet => {
            let (kind, subnet) = of_subnet();
            (Account::Own, kind, subnet)
        }
    })
}

/// The accounts whose route tables are read: those of tables, and those of anchors that are tables.
fn accounts(config: &Config) -> BTreeSet<Account> {
    let mut accounts = BTreeSet::new();
    for vip in &config.vips {
        for route in vip.addresses.iter().filter_map(|address| address.route.as_ref()) {
            match &route.tables {
                Tables::Ids(tables) => accounts.extend(tables.iter().map(|table| table.account.clone())),
                Tables::Tagged { account, .. } => _ = accounts.insert(account.clone()),
            }
        }
        if let Some(AnchorChoice::RouteTable(account, _)) = vip.anchor_choice() {
            accounts.insert(account);
        }
    }
    accounts
}

fn role_of(account: Account) -> Option<String> {
    match account {
        Account::Own => None,
        Account::Role(role) => Some(role),
    }
}

fn of_subnet() -> (&'static str, Text) {
    let how = "the subnet of the nodes' ENIs: aws ec2 describe-network-interfaces --network-interface-ids eni-...";
    ("subnet", vec![Part::Open(Open { name: "SUBNET-ID".to_owned(), how: how.to_owned() })])
}

fn allocation_of(address: &AddressConfig) -> Text {
    let given = address.elastic_ip.as_ref().and_then(|elastic| elastic.allocation_id.as_ref());
    given.map_or_else(|| allocation_at(address.address), |id| text(id.as_str()))
}

/// The allocation id of an Elastic IP that the configuration names by its address only.
fn allocation_at(ip: IpAddr) -> Text {
    let how = format!("aws ec2 describe-addresses --public-ips {ip} --query 'Addresses[].AllocationId'");
    vec![Part::Open(Open { name: format!("ALLOCATION-ID-OF-{ip}"), how })]
}

fn assume(roles: &BTreeSet<String>) -> Statement {
    let resources = roles.iter().map(|role| text(role)).collect();
    let actions = vec!["sts:AssumeRole".to_owned()];
    Statement { sid: "AssumeRoles".to_owned(), actions, resources, conditions: Vec::new() }
}

fn statement<'a>(sid: &str, actions: impl IntoIterator<Item = &'a str>, resources: Vec<Text>) -> Statement {
    let actions = actions.into_iter().map(|name| format!("ec2:{name}")).collect();
    Statement { sid: sid.to_owned(), actions, resources, conditions: Vec::new() }
}

impl Statement {
    fn only_if(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }
}

fn has_tag(key: &str, value: &str) -> Condition {
    ("StringEquals", format!("aws:ResourceTag/{key}"), vec![text(&literal(value))])
}

/// The text as IAM takes it for itself: `${` would begin a variable.
fn literal(text: &str) -> String {
    text.replace("${", "${$}{")
}

fn text(text: &str) -> Text {
    vec![Part::Text(text.to_owned())]
}

/// The name of a statement; from the second of its kind on with its number.
fn numbered(sid: &str, number: u32) -> String {
    if number == 1 { sid.to_owned() } else { format!("{sid}{number}") }
}

/// The list that belongs to the key; a new one if there is none yet.
fn entry<K: PartialEq, V>(lists: &mut Vec<(K, Vec<V>)>, key: K) -> &mut Vec<V> {
    let at = lists.iter().position(|(other, _)| *other == key).unwrap_or_else(|| {
        lists.push((key, Vec::new()));
        lists.len() - 1
    });
    &mut lists[at].1
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
