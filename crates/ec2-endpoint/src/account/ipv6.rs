//! IPv6 addresses of interfaces. There is no reassignment: an address must leave one interface before another can have it.

use std::{net::Ipv6Addr, sync::Arc};

use crate::{Answer, ApiError, AssignIpv6Addresses, UnassignIpv6Addresses};

use super::{
    Account,
    model::Subnet,
    private_ips::{at_least_one, not_on},
};

const PARAMETER: &str = "ipv6Addresses";

impl Account {
    /// EC2 API reference: AssignIpv6Addresses. The answer names only what is newly assigned.
    pub(super) fn assign_ipv6_addresses(&mut self, call: &AssignIpv6Addresses) -> Result<Answer, ApiError> {
        let eni = Arc::clone(self.known_eni(&call.network_interface_id)?);
        let subnet = self.subnet_of(&eni)?;
        let wanted = match (call.ipv6_addresses.as_slice(), call.ipv6_address_count) {
            ([], Some(count)) => self.free_ipv6_addresses(&subnet, at_least_one("ipv6AddressCount", count)?),
            ([_, ..], None) => parse_all(&call.ipv6_addresses)?,
            ([], None) => {
                let message = "Either ipv6Addresses or ipv6AddressCount must be specified";
                return Err(ApiError::client("MissingParameter", message));
            }
            ([_, ..], Some(_)) => {
                return Err(ApiError::combination("ipv6Addresses and ipv6AddressCount must not both be specified"));
            }
        };
        if subnet.ipv6_cidr.is_none() {
            return Err(ApiError::invalid_value(format!(
                "The subnet {} has no IPv6 CIDR block to assign addresses from",
                subnet.id
            )));
        }
        for address in &wanted {
            self.check_free(&subnet, &eni.id, *address)?;
        }
        let new: Vec<Ipv6Addr> = wanted.into_iter().filter(|address| !eni.ipv6_addresses.contains(address)).collect();
        if eni.ipv6_addresses.len() + new.len() > self.address_limit(&eni) {
            let message = "Number of IPv6 addresses will exceed limit.";
            return Err(ApiError::client("PrivateIpAddressLimitExceeded", message));
        }
        if let Some(eni) = self.enis.get_mut(&eni.id) {
            eni.ipv6_addresses.extend(&new);
        }
        let addresses = new.iter().map(ToString::to_string).collect();
        Ok(Answer::Ipv6Assigned { network_interface_id: eni.id.clone(), addresses })
    }

    pub(super) fn unassign_ipv6_addresses(&mut self, call: &UnassignIpv6Addresses) -> Result<Answer, ApiError> {
        let eni = Arc::clone(self.known_eni(&call.network_interface_id)?);
        if call.ipv6_addresses.is_empty() {
            return Err(ApiError::missing_parameter(PARAMETER));
        }
        let unwanted = parse_all(&call.ipv6_addresses)?;
        if unwanted.iter().any(|address| !eni.ipv6_addresses.contains(address)) {
            return Err(not_on(&eni));
        }
        if let Some(eni) = self.enis.get_mut(&eni.id) {
            eni.ipv6_addresses.retain(|address| !unwanted.contains(address));
        }
        let addresses = unwanted.iter().map(ToString::to_string).collect();
        Ok(Answer::Ipv6Unassigned { network_interface_id: eni.id.clone(), addresses })
    }

    fn check_free(&self, subnet: &Subnet, eni_id: &str, address: Ipv6Addr) -> Result<(), ApiError> {
        if !subnet.is_assignable_v6(address) {
            return Err(ApiError::invalid_value(format!(
                "Address {address} does not fall within the subnet's address range or is reserved"
            )));
        }
        match self.enis.values().find(|eni| eni.ipv6_addresses.contains(&address)) {
            Some(holder) if holder.id != eni_id => Err(ApiError::client(
                "InvalidIPAddress.InUse",
                format!("The address {address} is already assigned to network interface {}", holder.id),
            )),
            _ => Ok(()),
        }
    }

    fn free_ipv6_addresses(&self, subnet: &Subnet, count: usize) -> Vec<Ipv6Addr> {
        let taken = |address: &Ipv6Addr| self.enis.values().any(|eni| eni.ipv6_addresses.contains(address));
        let hosts = subnet.ipv6_cidr.into_iter().flat_map(|cidr| cidr.hosts());
        hosts.filter(|address| subnet.is_assignable_v6(*address) && !taken(address)).take(count).collect()
    }
}

fn parse_all(texts: &[String]) -> Result<Vec<Ipv6Addr>, ApiError> {
    let mut addresses = Vec::new();
    for text in texts {
        let address = text.parse().map_err(|_| ApiError::unusable(PARAMETER, text, "Invalid IPv6 address."))?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}
