//! Elastic IPs.

use std::{net::Ipv4Addr, sync::Arc};

use crate::{
    Answer, ApiError, AssociateAddress, DescribeAddresses, DisassociateAddress,
    answer::{AddressView, Page},
};

use super::{
    Account,
    ids::Kind,
    known, listed,
    model::{Association, ElasticIp, InstanceState},
    select::{Listed, pairs, select},
};

impl Account {
    /// EC2 API reference: AssociateAddress. Asking again for the same target changes nothing and keeps the association id
    /// (the reference calls the operation idempotent), also with `AllowReassociation=false`: it is not another resource.
    ///
    /// A private address carries one Elastic IP. With `AllowReassociation=false` EC2 refuses a second one; otherwise the
    /// first one loses its association and stays allocated. Callers report the refusal in these words:
    /// <https://github.com/aws-quickstart/quickstart-linux-bastion/issues/21>.
    pub(super) fn associate_address(&mut self, call: &AssociateAddress) -> Result<Answer, ApiError> {
        let elastic_ip = self.elastic_ip_to_associate(call)?;
        let eni = match (&call.network_interface_id, &call.instance_id) {
            (Some(eni_id), None) => self.known_eni(eni_id)?,
            (None, Some(instance_id)) => self.only_interface_of(instance_id)?,
            (None, None) => {
                return Err(ApiError::client(
                    "MissingParameter",
                    "Either instance ID or network interface ID must be specified",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(ApiError::combination("You may specify instance ID or network interface ID, but not both"));
            }
        };
        if let Some(instance) = eni.instance_id().and_then(|id| self.instances.get(id))
            && instance.state == InstanceState::Pending
        {
            return Err(ApiError::client(
                "IncorrectInstanceState",
                format!("The pending instance '{}' is not in a valid state for this operation.", instance.id),
            ));
        }
        let private_ip = match &call.private_ip_address {
            None => eni.primary_ip(),
            Some(text) => parse_ipv4("privateIpAddress", text)?,
        };
        if !eni.private_ips.contains(&private_ip) {
            return Err(ApiError::invalid_value(format!(
                "The private IP address {private_ip} is not assigned to network interface {}",
                eni.id
            )));
        }
        if self.vpcs.get(&eni.vpc_id).is_none_or(|vpc| vpc.internet_gateway.is_none()) {
            let message = format!("Network {} is not attached to any internet gateway", eni.vpc_id);
            return Err(ApiError::client("Gateway.NotAttached", message));
        }

        let eni_id = eni.id.clone();
        if let Some(current) = &elastic_ip.association {
            if current.network_interface_id == eni_id && current.private_ip == private_ip {
                return Ok(Answer::Associated { association_id: current.id.clone() });
            }
            if call.allow_reassociation == Some(false) {
                return Err(ApiError::client(
                    "Resource.AlreadyAssociated",
                    format!(
                        "resource {} is already associated with associate-id {}",
                        elastic_ip.allocation_id, current.id
                    ),
                ));
            }
        }
        if call.allow_reassociation == Some(false)
            && let Some(carried) = self.elastic_ip_at(&eni_id, private_ip)
        {
            return Err(ApiError::client(
                "Resource.AlreadyAssociated",
                format!(
                    "resource {eni_id} and {private_ip} is already associated with public address {}",
                    carried.public_ip
                ),
            ));
        }
        self.free_elastic_ips(|other| other.network_interface_id == eni_id && other.private_ip == private_ip);
        let association_id = self.new_id("eipassoc");
        if let Some(changed) = self.elastic_ips.get_mut(&elastic_ip.allocation_id) {
            changed.association =
                Some(Association { id: association_id.clone(), network_interface_id: eni_id, private_ip });
        }
        Ok(Answer::Associated { association_id })
    }

    /// The Elastic IP that a private address carries.
    fn elastic_ip_at(&self, eni_id: &str, private_ip: Ipv4Addr) -> Option<&Arc<ElasticIp>> {
        let is_there = |at: &Association| at.network_interface_id == eni_id && at.private_ip == private_ip;
        self.elastic_ips.values().find(|elastic_ip| elastic_ip.association.as_ref().is_some_and(is_there))
    }

    fn elastic_ip_to_associate(&self, call: &AssociateAddress) -> Result<Arc<ElasticIp>, ApiError> {
        match (&call.allocation_id, &call.public_ip) {
            (Some(allocation_id), None) => known(&self.elastic_ips, Kind::ElasticIp, allocation_id).cloned(),
            // The old way of naming an address; EC2 keeps it for EC2-Classic, which is gone.
            (None, Some(_)) => Err(ApiError::invalid_value(
                "You must specify an allocation id when mapping an address to a VPC instance",
            )),
            (None, None) => {
                Err(ApiError::client("MissingParameter", "Either public IP or allocation id must be specified"))
            }
            (Some(_), Some(_)) => {
                Err(ApiError::combination("You may specify public IP or allocation id, but not both in the same call"))
            }
        }
    }

    /// EC2 API reference: DisassociateAddress. The reference promises no error on repetition; what callers observe is
    /// `InvalidAssociationID.NotFound`, so that is what it gives.
    pub(super) fn disassociate_address(&mut self, call: &DisassociateAddress) -> Result<Answer, ApiError> {
        let wanted = match (&call.association_id, &call.public_ip) {
            (Some(association_id), None) => association_id,
            (None, Some(_)) => {
                return Err(ApiError::invalid_value(
                    "You must specify an association id when unmapping an address from a VPC instance",
                ));
            }
            (None, None) => return Err(ApiError::missing_parameter("AssociationId")),
            (Some(_), Some(_)) => {
                return Err(ApiError::combination("You may specify public IP or association id, but not both"));
            }
        };
        if !self.free_elastic_ips(|association| association.id == *wanted) {
            return Err(ApiError::client(
                "InvalidAssociationID.NotFound",
                format!("The association ID '{wanted}' does not exist"),
            ));
        }
        Ok(Answer::Done)
    }

    pub(super) fn describe_addresses(&self, call: &DescribeAddresses) -> Result<Answer, ApiError> {
        let mut addresses = listed(&self.elastic_ips, Kind::ElasticIp, &call.describe.ids)?;
        if !call.public_ips.is_empty() {
            for public_ip in &call.public_ips {
                self.check_public_ip(public_ip)?;
            }
            addresses.retain(|address| call.public_ips.contains(&address.public_ip.to_string()));
        }
        let views = addresses.into_iter().map(|address| self.address_view(address)).collect();
        let Page { items, .. } = select(views, &call.describe)?;
        Ok(Answer::Addresses(items))
    }

    fn check_public_ip(&self, text: &str) -> Result<(), ApiError> {
        let public_ip: Ipv4Addr = text.parse().map_err(|_| {
            ApiError::client("InvalidAddress.Malformed", format!("Value ({text}) is not a public IP address"))
        })?;
        if self.elastic_ips.values().any(|address| address.public_ip == public_ip) {
            return Ok(());
        }
        Err(ApiError::client("InvalidAddress.NotFound", format!("Address '{text}' not found.")))
    }

    fn address_view(&self, address: Arc<ElasticIp>) -> AddressView {
        let eni = address.association.as_ref().and_then(|association| self.enis.get(&association.network_interface_id));
        let instance_id = eni.and_then(|eni| eni.instance_id()).map(str::to_owned);
        AddressView { address, owner_id: self.id.to_string(), instance_id }
    }

    /// Ends the associations that are meant; says whether there were any.
    pub(super) fn free_elastic_ips(&mut self, is_meant: impl Fn(&Association) -> bool) -> bool {
        let meant: Vec<String> = self
            .elastic_ips
            .values()
            .filter(|elastic_ip| elastic_ip.association.as_ref().is_some_and(&is_meant))
            .map(|elastic_ip| elastic_ip.allocation_id.clone())
            .collect();
        for allocation_id in &meant {
            if let Some(elastic_ip) = self.elastic_ips.get_mut(allocation_id) {
                elastic_ip.association = None;
            }
        }
        !meant.is_empty()
    }
}

impl Listed for AddressView {
    const FILTERS: &'static [&'static str] = &[
        "allocation-id",
        "association-id",
        "instance-id",
        "network-border-group",
        "network-interface-id",
        "network-interface-owner-id",
        "private-ip-address",
        "public-ip",
        "tag-key",
    ];

    fn key(&self) -> String {
        self.address.allocation_id.clone()
    }

    fn values(&self, filter: &str) -> Vec<String> {
        let association = self.address.association.as_ref();
        let value = match filter {
            "allocation-id" => Some(self.address.allocation_id.clone()),
            "association-id" => association.map(|association| association.id.clone()),
            "instance-id" => self.instance_id.clone(),
            "network-border-group" => Some(self.address.network_border_group.clone()),
            "network-interface-id" => association.map(|association| association.network_interface_id.clone()),
            "network-interface-owner-id" => association.map(|_| self.owner_id.clone()),
            "private-ip-address" => association.map(|association| association.private_ip.to_string()),
            "public-ip" => Some(self.address.public_ip.to_string()),
            _ => None,
        };
        value.into_iter().collect()
    }

    fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.address.tags)
    }
}

pub(super) fn parse_ipv4(parameter: &str, text: &str) -> Result<Ipv4Addr, ApiError> {
    text.parse().map_err(|_| ApiError::unusable(parameter, text, "Invalid IPv4 address."))
}
