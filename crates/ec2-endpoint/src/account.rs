//! One account's network in one region, and what EC2's operations do to it.
//!
//! Pure: no clock, no I/O, no randomness; ids count upwards. The same operations in the same order always give the same
//! answers and the same state. A copy of an [`Account`] is a snapshot and costs a handful of reference counts.
//! Who calls, when, and what goes wrong on the way is not this module's business: see [`crate::service`].

mod addresses;
mod events;
mod ids;
mod interfaces;
mod ipv6;
mod launch;
pub mod model;
mod network;
mod private_ips;
mod routes;
mod select;
mod table;
mod tags;
mod topology;

use std::{net::Ipv4Addr, sync::Arc};

use serde::Serialize;

use crate::{Answer, ApiError, Operation};
use ids::Kind;
use model::{ElasticIp, Eni, Instance, InstanceState, RouteTable, SecurityGroup, Subnet, Vpc};
use table::Table;

pub use events::Event;
pub use launch::{Launch, Launched};
pub use topology::TopologyError;

/// The state of one account in one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    region: String,
    id: String,
    /// Grows with every change.
    revision: u64,
    /// The number in the next id that is made.
    next_number: u64,
    vpcs: Table<Vpc>,
    subnets: Table<Subnet>,
    security_groups: Table<SecurityGroup>,
    instances: Table<Instance>,
    enis: Table<Eni>,
    elastic_ips: Table<ElasticIp>,
    route_tables: Table<RouteTable>,
}

impl Account {
    /// An empty account.
    pub fn new(region: &str) -> Self {
        Self {
            region: region.into(),
            id: "123456789012".into(),
            revision: 0,
            next_number: 1,
            vpcs: Table::default(),
            subnets: Table::default(),
            security_groups: Table::default(),
            instances: Table::default(),
            enis: Table::default(),
            elastic_ips: Table::default(),
            route_tables: Table::default(),
        }
    }

    pub fn region(&self) -> &str {
        &self.region
    }

    /// The twelve digits that own everything here.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A number that differs between any two states of this account.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Performs one operation, whole or not at all.
    ///
    /// # Errors
    /// EC2's refusal; the account is then unchanged. A dry run always ends in one.
    pub fn apply(&mut self, operation: &Operation) -> Result<Answer, ApiError> {
        if operation.is_dry_run() {
            return Err(ApiError::dry_run());
        }
        let mut next = self.clone();
        let answer = next.perform(operation)?;
        // Asking for what is so already changes nothing.
        if operation.is_write() && next != *self {
            next.revision += 1;
            *self = next;
        }
        Ok(answer)
    }

    fn perform(&mut self, operation: &Operation) -> Result<Answer, ApiError> {
        match operation {
            Operation::AssociateAddress(call) => self.associate_address(call),
            Operation::DisassociateAddress(call) => self.disassociate_address(call),
            Operation::DescribeAddresses(call) => self.describe_addresses(call),
            Operation::CreateRoute(call) => self.create_route(call),
            Operation::ReplaceRoute(call) => self.replace_route(call),
            Operation::DeleteRoute(call) => self.delete_route(call),
            Operation::DescribeRouteTables(call) => self.describe_route_tables(call),
            Operation::DescribeNetworkInterfaces(call) => self.describe_network_interfaces(call),
            Operation::ModifyNetworkInterfaceAttribute(call) => self.modify_network_interface_attribute(call),
            Operation::AssignPrivateIpAddresses(call) => self.assign_private_ip_addresses(call),
            Operation::UnassignPrivateIpAddresses(call) => self.unassign_private_ip_addresses(call),
            Operation::AssignIpv6Addresses(call) => self.assign_ipv6_addresses(call),
            Operation::UnassignIpv6Addresses(call) => self.unassign_ipv6_addresses(call),
            Operation::CreateTags(call) => self.create_tags(call),
            Operation::DeleteTags(call) => self.delete_tags(call),
            Operation::DescribeTags(call) => self.describe_tags(call),
            Operation::DescribeInstances(call) => self.describe_instances(call),
            Operation::DescribeSubnets(call) => self.describe_subnets(call),
            Operation::DescribeVpcs(call) => self.describe_vpcs(call),
            Operation::DescribeSecurityGroups(call) => self.describe_security_groups(call),
            Operation::DescribeInstanceTypes(call) => self.describe_instance_types(call),
            Operation::AssumeRole(call) => network::assume_role(call),
            Operation::GetCallerIdentity => Ok(Answer::CallerIdentity { account_id: self.id.to_string() }),
        }
    }

    pub fn vpc(&self, id: &str) -> Option<&Arc<Vpc>> {
        self.vpcs.get(id)
    }

    pub fn subnet(&self, id: &str) -> Option<&Arc<Subnet>> {
        self.subnets.get(id)
    }

    pub fn instance(&self, id: &str) -> Option<&Arc<Instance>> {
        self.instances.get(id)
    }

    pub fn eni(&self, id: &str) -> Option<&Arc<Eni>> {
        self.enis.get(id)
    }

    pub fn elastic_ip(&self, allocation_id: &str) -> Option<&Arc<ElasticIp>> {
        self.elastic_ips.get(allocation_id)
    }

    pub fn route_table(&self, id: &str) -> Option<&Arc<RouteTable>> {
        self.route_tables.get(id)
    }

    pub fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances.values()
    }

    pub fn enis(&self) -> impl Iterator<Item = &Arc<Eni>> {
        self.enis.values()
    }

    pub fn elastic_ips(&self) -> impl Iterator<Item = &Arc<ElasticIp>> {
        self.elastic_ips.values()
    }

    pub fn route_tables(&self) -> impl Iterator<Item = &Arc<RouteTable>> {
        self.route_tables.values()
    }

    /// The interfaces of an instance, by device index.
    pub fn interfaces_of(&self, instance_id: &str) -> Vec<&Arc<Eni>> {
        let mut interfaces: Vec<_> = self.enis.values().filter(|eni| eni.instance_id() == Some(instance_id)).collect();
        interfaces.sort_by_key(|eni| eni.attachment.as_ref().map(|attachment| attachment.device_index));
        interfaces
    }

    /// The interface that holds a private address of a VPC.
    pub fn holder_of(&self, vpc_id: &str, private_ip: Ipv4Addr) -> Option<&Arc<Eni>> {
        self.enis.values().find(|eni| eni.vpc_id == vpc_id && eni.private_ips.contains(&private_ip))
    }

    /// Whether packets that reach this interface reach a running instance.
    pub fn is_in_service(&self, eni_id: &str) -> bool {
        self.enis
            .get(eni_id)
            .and_then(|eni| self.instances.get(eni.instance_id()?))
            .is_some_and(|instance| instance.state == InstanceState::Running)
    }

    fn new_id(&mut self, prefix: &str) -> String {
        let id = format!("{prefix}-{:017x}", self.next_number);
        self.next_number += 1;
        id
    }

    fn known_eni(&self, id: &str) -> Result<&Arc<Eni>, ApiError> {
        known(&self.enis, Kind::NetworkInterface, id)
    }

    /// The only interface of an instance, for calls that name an instance where an interface is meant.
    fn only_interface_of(&self, instance_id: &str) -> Result<&Arc<Eni>, ApiError> {
        known(&self.instances, Kind::Instance, instance_id)?;
        match *self.interfaces_of(instance_id) {
            [only] => Ok(only),
            [] => Err(ApiError::client(
                "IncorrectInstanceState",
                format!("The instance '{instance_id}' has no network interface."),
            )),
            _ => Err(ApiError::client(
                "InvalidInstanceID",
                format!(
                    "There are multiple interfaces attached to instance '{instance_id}'. \
                     Please specify an interface ID for the operation instead."
                ),
            )),
        }
    }
}

fn known<'a, T: Clone>(table: &'a Table<T>, kind: Kind, id: &str) -> Result<&'a Arc<T>, ApiError> {
    kind.check(id)?;
    table.get(id).ok_or_else(|| kind.not_found(id))
}

/// The resources named, or all of them.
fn listed<T: Clone>(table: &Table<T>, kind: Kind, ids: &[String]) -> Result<Vec<Arc<T>>, ApiError> {
    if ids.is_empty() {
        return Ok(table.values().cloned().collect());
    }
    for id in ids {
        kind.check(id)?;
    }
    let mut found = Vec::new();
    for (index, id) in ids.iter().enumerate() {
        let resource = known(table, kind, id)?;
        if !ids[..index].contains(id) {
            found.push(Arc::clone(resource));
        }
    }
    Ok(found)
}
