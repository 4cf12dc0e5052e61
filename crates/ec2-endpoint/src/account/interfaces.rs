//! Network interfaces as a whole: how they are described, and their attributes.

use std::{net::Ipv4Addr, sync::Arc};

use crate::{Answer, ApiError, Describe, ModifyNetworkInterfaceAttribute, answer::EniView};

use super::{
    Account,
    ids::Kind,
    known, listed,
    model::{ElasticIp, Eni},
    select::{Listed, Paging, pairs, select},
};

impl Account {
    pub(super) fn describe_network_interfaces(&self, call: &Describe) -> Result<Answer, ApiError> {
        Paging::UP_TO_1000.without_ids("networkInterfaceIds").check(call)?;
        let enis = listed(&self.enis, Kind::NetworkInterface, &call.ids)?;
        let views = enis.iter().map(|eni| self.eni_view(eni)).collect();
        Ok(Answer::NetworkInterfaces(select(views, call)?))
    }

    pub(super) fn eni_view(&self, eni: &Arc<Eni>) -> EniView {
        let zone = self.subnets.get(&eni.subnet_id).map(|subnet| subnet.availability_zone.clone());
        let elastic_ips = self.elastic_ips.values().filter_map(|elastic_ip| {
            let association = elastic_ip.association.as_ref()?;
            (association.network_interface_id == eni.id).then(|| (association.private_ip, Arc::clone(elastic_ip)))
        });
        let groups = eni.groups.iter().filter_map(|id| self.security_groups.get(id));
        EniView {
            eni: Arc::clone(eni),
            owner_id: self.id.to_string(),
            availability_zone: zone.unwrap_or_default(),
            elastic_ips: elastic_ips.collect(),
            groups: groups.map(|group| (group.id.clone(), group.name.clone())).collect(),
        }
    }

    /// EC2 API reference: ModifyNetworkInterfaceAttribute. One attribute per call.
    pub(super) fn modify_network_interface_attribute(
        &mut self,
        call: &ModifyNetworkInterfaceAttribute,
    ) -> Result<Answer, ApiError> {
        let vpc_id = self.known_eni(&call.network_interface_id)?.vpc_id.clone();
        let given = [call.source_dest_check.is_some(), call.description.is_some(), !call.groups.is_empty()];
        match given.iter().filter(|given| **given).count() {
            1 => {}
            0 => return Err(ApiError::combination("No attributes specified.")),
            _ => {
                return Err(ApiError::combination("Fields for multiple attribute types specified"));
            }
        }
        for id in &call.groups {
            let group = known(&self.security_groups, Kind::SecurityGroup, id)?;
            if group.vpc_id != vpc_id {
                let message = format!("You have specified two resources that belong to different networks: {id}");
                return Err(ApiError::client("InvalidGroup.NotFound", message));
            }
        }
        if let Some(eni) = self.enis.get_mut(&call.network_interface_id) {
            if let Some(on) = call.source_dest_check {
                eni.source_dest_check = on;
            } else if let Some(description) = &call.description {
                eni.description.clone_from(description);
            } else {
                eni.groups.clone_from(&call.groups);
            }
        }
        Ok(Answer::Done)
    }
}

impl EniView {
    /// EC2 API reference: NetworkInterfaceStatus.
    pub fn status(&self) -> &'static str {
        if self.eni.attachment.is_some() { "in-use" } else { "available" }
    }

    /// The Elastic IP at one of the private addresses.
    pub fn elastic_ip_at(&self, private_ip: Ipv4Addr) -> Option<&Arc<ElasticIp>> {
        self.elastic_ips.get(&private_ip)
    }

    fn of_elastic_ips(&self, value: impl Fn(&ElasticIp) -> String) -> Vec<String> {
        self.elastic_ips.values().map(|elastic_ip| value(elastic_ip)).collect()
    }
}

impl Listed for EniView {
    const FILTERS: &'static [&'static str] = &[
        "addresses.association.owner-id",
        "addresses.association.public-ip",
        "addresses.primary",
        "addresses.private-ip-address",
        "association.allocation-id",
        "association.association-id",
        "association.ip-owner-id",
        "association.public-ip",
        "attachment.attachment-id",
        "attachment.delete-on-termination",
        "attachment.device-index",
        "attachment.instance-id",
        "attachment.instance-owner-id",
        "attachment.status",
        "availability-zone",
        "description",
        "group-id",
        "group-name",
        "interface-type",
        "ipv6-addresses.ipv6-address",
        "mac-address",
        "network-interface-id",
        "owner-id",
        "private-dns-name",
        "private-ip-address",
        "requester-id",
        "requester-managed",
        "source-dest-check",
        "status",
        "subnet-id",
        "tag-key",
        "vpc-id",
    ];

    fn key(&self) -> String {
        self.eni.id.clone()
    }

    fn values(&self, filter: &str) -> Vec<String> {
        let eni = &*self.eni;
        let attachment = eni.attachment.as_ref();
        let of_attachment = |value: Option<String>| value.into_iter().collect();
        match filter {
            "addresses.association.public-ip" | "association.public-ip" => {
                self.of_elastic_ips(|elastic_ip| elastic_ip.public_ip.to_string())
            }
            "addresses.association.owner-id" | "association.ip-owner-id" => {
                self.of_elastic_ips(|_| self.owner_id.clone())
            }
            "addresses.primary" => (0..eni.private_ips.len()).map(|index| (index == 0).to_string()).collect(),
            "addresses.private-ip-address" | "private-ip-address" => {
                eni.private_ips.iter().map(ToString::to_string).collect()
            }
            "association.allocation-id" => self.of_elastic_ips(|elastic_ip| elastic_ip.allocation_id.clone()),
            "association.association-id" => self
                .elastic_ips
                .values()
                .filter_map(|elastic_ip| elastic_ip.association.as_ref())
                .map(|association| association.id.clone())
                .collect(),
            "attachment.attachment-id" => of_attachment(attachment.map(|at| at.id.clone())),
            "attachment.delete-on-termination" => {
                of_attachment(attachment.map(|at| at.delete_on_termination.to_string()))
            }
            "attachment.device-index" => of_attachment(attachment.map(|at| at.device_index.to_string())),
            "attachment.instance-id" => of_attachment(attachment.map(|at| at.instance_id.clone())),
            "attachment.instance-owner-id" => of_attachment(attachment.map(|_| self.owner_id.clone())),
            "attachment.status" => of_attachment(attachment.map(|_| "attached".to_owned())),
            "availability-zone" => vec![self.availability_zone.clone()],
            "description" => vec![eni.description.clone()],
            "group-id" => self.groups.iter().map(|(id, _)| id.clone()).collect(),
            "group-name" => self.groups.iter().map(|(_, name)| name.clone()).collect(),
            "interface-type" => vec!["interface".to_owned()],
            "ipv6-addresses.ipv6-address" => eni.ipv6_addresses.iter().map(ToString::to_string).collect(),
            "mac-address" => vec![eni.mac.clone()],
            "network-interface-id" => vec![eni.id.clone()],
            "owner-id" => vec![self.owner_id.clone()],
            "requester-managed" => vec!["false".to_owned()],
            "source-dest-check" => vec![eni.source_dest_check.to_string()],
            "status" => vec![self.status().to_owned()],
            "subnet-id" => vec![eni.subnet_id.clone()],
            "vpc-id" => vec![eni.vpc_id.clone()],
            // Names and requesters that no interface here has.
            _ => Vec::new(),
        }
    }

    fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.eni.tags)
    }
}
