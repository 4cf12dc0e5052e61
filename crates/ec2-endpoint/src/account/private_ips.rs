//! Secondary private IPv4 addresses: they move between interfaces of one subnet and take their Elastic IP along.

use std::{net::Ipv4Addr, sync::Arc};

use crate::{Answer, ApiError, AssignPrivateIpAddresses, UnassignPrivateIpAddresses};

use super::{
    Account,
    addresses::parse_ipv4,
    model::{Eni, Subnet},
};

const PARAMETER: &str = "privateIpAddress";

impl Account {
    /// EC2 API reference: AssignPrivateIpAddresses. All or nothing; an address that is on the interface already counts as
    /// assigned.
    pub(super) fn assign_private_ip_addresses(&mut self, call: &AssignPrivateIpAddresses) -> Result<Answer, ApiError> {
        let eni = Arc::clone(self.known_eni(&call.network_interface_id)?);
        let subnet = self.subnet_of(&eni)?;
        let wanted = match (call.private_ip_addresses.as_slice(), call.secondary_private_ip_address_count) {
            ([], Some(count)) => {
                self.free_addresses(&subnet, at_least_one("secondaryPrivateIpAddressCount", count)?)?
            }
            ([_, ..], None) => parse_all(&call.private_ip_addresses)?,
            ([], None) => {
                return Err(ApiError::client(
                    "MissingParameter",
                    "Either privateIpAddresses or secondaryPrivateIpAddressCount must be specified",
                ));
            }
            ([_, ..], Some(_)) => {
                return Err(ApiError::combination(
                    "privateIpAddresses and secondaryPrivateIpAddressCount must not both be specified",
                ));
            }
        };
        for address in &wanted {
            check_assignable(&subnet, *address)?;
        }
        self.check_may_move(&eni, &wanted, call.allow_reassignment)?;

        let new: Vec<Ipv4Addr> = wanted.iter().copied().filter(|address| !eni.private_ips.contains(address)).collect();
        if eni.private_ips.len() + new.len() > self.address_limit(&eni) {
            let message = "Number of private addresses will exceed limit.";
            return Err(ApiError::client("PrivateIpAddressLimitExceeded", message));
        }
        for address in new {
            self.move_private_ip(address, &eni);
        }
        let addresses = wanted.iter().map(ToString::to_string).collect();
        Ok(Answer::PrivateIpsAssigned { network_interface_id: eni.id.clone(), addresses })
    }

    /// Nobody's primary address moves at all, and somebody's secondary address only if the caller says so.
    fn check_may_move(&self, to: &Eni, wanted: &[Ipv4Addr], allowed: bool) -> Result<(), ApiError> {
        let mut held = Vec::new();
        for address in wanted {
            match self.holder_of(&to.vpc_id, *address).filter(|holder| holder.id != to.id) {
                Some(holder) if holder.primary_ip() == *address => {
                    return Err(ApiError::invalid_value(format!(
                        "The address {address} is the primary address of another interface and cannot be reassigned."
                    )));
                }
                Some(_) => held.push(address.to_string()),
                None => {}
            }
        }
        if held.is_empty() || allowed {
            return Ok(());
        }
        // The code and the sentence are what EC2 sends; the reference's `Resource.AlreadyAssigned` is not seen in practice.
        Err(ApiError::invalid_value(format!("[{}] assigned, but move is not allowed.", held.join(", "))))
    }

    fn move_private_ip(&mut self, address: Ipv4Addr, to: &Eni) {
        let from = self.holder_of(&to.vpc_id, address).map(|holder| holder.id.clone());
        if let Some(from) = from.and_then(|id| self.enis.get_mut(&id)) {
            from.private_ips.retain(|held| *held != address);
        }
        if let Some(to) = self.enis.get_mut(&to.id) {
            to.private_ips.push(address);
        }
        let with_it: Vec<String> = self
            .elastic_ips
            .values()
            .filter(|elastic_ip| {
                elastic_ip.association.as_ref().is_some_and(|association| {
                    association.private_ip == address
                        && self.enis.get(&association.network_interface_id).is_some_and(|eni| eni.vpc_id == to.vpc_id)
                })
            })
            .map(|elastic_ip| elastic_ip.allocation_id.clone())
            .collect();
        for allocation_id in with_it {
            let elastic_ip = self.elastic_ips.get_mut(&allocation_id);
            if let Some(association) = elastic_ip.and_then(|elastic_ip| elastic_ip.association.as_mut()) {
                association.network_interface_id.clone_from(&to.id);
            }
        }
    }

    /// EC2 API reference: UnassignPrivateIpAddresses. Elastic IPs at the addresses become free.
    pub(super) fn unassign_private_ip_addresses(
        &mut self,
        call: &UnassignPrivateIpAddresses,
    ) -> Result<Answer, ApiError> {
        let eni = Arc::clone(self.known_eni(&call.network_interface_id)?);
        if call.private_ip_addresses.is_empty() {
            return Err(ApiError::missing_parameter(PARAMETER));
        }
        let unwanted = parse_all(&call.private_ip_addresses)?;
        for address in &unwanted {
            if !eni.private_ips.contains(address) {
                return Err(not_on(&eni));
            }
            if *address == eni.primary_ip() {
                let why = "The primary IP address of an interface cannot be unassigned.";
                return Err(ApiError::unusable(PARAMETER, &address.to_string(), why));
            }
        }
        if let Some(eni) = self.enis.get_mut(&eni.id) {
            eni.private_ips.retain(|address| !unwanted.contains(address));
        }
        self.free_elastic_ips(|association| {
            association.network_interface_id == eni.id && unwanted.contains(&association.private_ip)
        });
        Ok(Answer::Done)
    }

    pub(super) fn subnet_of(&self, eni: &Eni) -> Result<Arc<Subnet>, ApiError> {
        let subnet = self.subnets.get(&eni.subnet_id).cloned();
        subnet.ok_or_else(|| super::Kind::Subnet.not_found(&eni.subnet_id))
    }

    fn free_addresses(&self, subnet: &Subnet, count: usize) -> Result<Vec<Ipv4Addr>, ApiError> {
        let free =
            |address: &Ipv4Addr| subnet.is_assignable(*address) && self.holder_of(&subnet.vpc_id, *address).is_none();
        let found: Vec<Ipv4Addr> = subnet.cidr.hosts().filter(free).take(count).collect();
        if found.len() < count {
            return Err(ApiError::client(
                "InsufficientFreeAddressesInSubnet",
                "The specified subnet does not have enough free addresses to satisfy the request.",
            ));
        }
        Ok(found)
    }

    /// Addresses of one family that the interface may hold; one that is attached to nothing is not limited.
    pub(super) fn address_limit(&self, eni: &Eni) -> usize {
        let instance = eni.instance_id().and_then(|id| self.instances.get(id));
        instance.map_or(usize::MAX, |instance| instance.addresses_per_interface)
    }
}

pub(super) fn at_least_one(parameter: &str, count: i32) -> Result<usize, ApiError> {
    usize::try_from(count)
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| ApiError::unusable(parameter, &count.to_string(), "Value must be a positive number."))
}

pub(super) fn not_on(eni: &Eni) -> ApiError {
    ApiError::invalid_value(format!("Some of the specified addresses are not assigned to interface {}", eni.id))
}

fn parse_all(texts: &[String]) -> Result<Vec<Ipv4Addr>, ApiError> {
    let mut addresses = Vec::new();
    for text in texts {
        let address = parse_ipv4(PARAMETER, text)?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn check_assignable(subnet: &Subnet, address: Ipv4Addr) -> Result<(), ApiError> {
    if !subnet.cidr.contains(&address) {
        return Err(ApiError::invalid_value(format!(
            "Address {address} does not fall within the subnet's address range"
        )));
    }
    if !subnet.is_assignable(address) {
        return Err(ApiError::invalid_value(format!("Address {address} is in subnet's reserved address range")));
    }
    Ok(())
}
