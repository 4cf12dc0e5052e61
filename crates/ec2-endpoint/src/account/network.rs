//! The resources that are only described here: instances, subnets, VPCs, security groups; and STS.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Answer, ApiError, AssumeRole, Describe,
    answer::{InstanceTypeView, InstanceView, SecurityGroupView, SubnetView, VpcView},
};

use super::{
    Account,
    ids::Kind,
    listed,
    model::{SecurityGroup, Subnet},
    select::{Listed, Paging, pairs, select},
};

impl Account {
    pub(super) fn describe_instances(&self, call: &Describe) -> Result<Answer, ApiError> {
        Paging::UP_TO_1000.without_ids("instancesSet").check(call)?;
        let instances = listed(&self.instances, Kind::Instance, &call.ids)?;
        let views = instances.into_iter().map(|instance| InstanceView {
            owner_id: self.id.to_string(),
            interfaces: self.interfaces_of(&instance.id).into_iter().map(|eni| self.eni_view(eni)).collect(),
            instance,
        });
        Ok(Answer::Instances(select(views.collect(), call)?))
    }

    pub(super) fn describe_subnets(&self, call: &Describe) -> Result<Answer, ApiError> {
        Paging::UP_TO_1000.check(call)?;
        let subnets = listed(&self.subnets, Kind::Subnet, &call.ids)?;
        let views = subnets.into_iter().map(|subnet| SubnetView {
            available: self.available_addresses(&subnet),
            owner_id: self.id.to_string(),
            region: self.region.to_string(),
            subnet,
        });
        Ok(Answer::Subnets(select(views.collect(), call)?))
    }

    fn available_addresses(&self, subnet: &Subnet) -> u32 {
        let reserved = 5;
        let all = u32::from(subnet.cidr.broadcast()) - u32::from(subnet.cidr.network()) + 1;
        let held: usize =
            self.enis.values().filter(|eni| eni.subnet_id == subnet.id).map(|eni| eni.private_ips.len()).sum();
        all.saturating_sub(reserved).saturating_sub(u32::try_from(held).unwrap_or(u32::MAX))
    }

    pub(super) fn describe_vpcs(&self, call: &Describe) -> Result<Answer, ApiError> {
        Paging::UP_TO_1000.check(call)?;
        let vpcs = listed(&self.vpcs, Kind::Vpc, &call.ids)?;
        let views = vpcs.into_iter().map(|vpc| VpcView { vpc, owner_id: self.id.to_string() });
        Ok(Answer::Vpcs(select(views.collect(), call)?))
    }

    pub(super) fn describe_security_groups(&self, call: &Describe) -> Result<Answer, ApiError> {
        Paging::UP_TO_1000.check(call)?;
        let groups = listed(&self.security_groups, Kind::SecurityGroup, &call.ids)?;
        let views = groups
            .into_iter()
            .map(|group: Arc<SecurityGroup>| SecurityGroupView { group, owner_id: self.id.to_string() });
        Ok(Answer::SecurityGroups(select(views.collect(), call)?))
    }

    /// The types of the account's own instances, which are all that this EC2 knows of.
    pub(super) fn describe_instance_types(&self, call: &Describe) -> Result<Answer, ApiError> {
        let types = self.instances.values().map(|one| (one.instance_type.clone(), one.addresses_per_interface));
        let mut types: BTreeMap<_, _> = types.collect();
        if !call.ids.is_empty() {
            if let Some(unknown) = call.ids.iter().find(|id| !types.contains_key(*id)) {
                let message = format!("The following supplied instance types do not exist: [{unknown}]");
                return Err(ApiError::client("InvalidInstanceType", message));
            }
            types.retain(|name, _| call.ids.contains(name));
        }
        let views =
            types.into_iter().map(|(name, addresses)| InstanceTypeView { name, addresses_per_interface: addresses });
        Ok(Answer::InstanceTypes(views.collect()))
    }
}

/// STS API reference: AssumeRole. Any role may be assumed; what it may do is for the faults to say.
pub(super) fn assume_role(call: &AssumeRole) -> Result<Answer, ApiError> {
    let parts: Vec<&str> = call.role_arn.splitn(6, ':').collect();
    let is_role = matches!(parts[..], ["arn", _, "iam", "", account, resource]
        if account.len() == 12 && resource.strip_prefix("role/").is_some_and(|name| !name.is_empty()));
    if !is_role {
        return Err(ApiError::client("ValidationError", format!("{} is invalid", call.role_arn)));
    }
    if !(2..=64).contains(&call.role_session_name.len()) {
        let message = "roleSessionName must have a length of 2 to 64 characters";
        return Err(ApiError::client("ValidationError", message));
    }
    let duration_s = u32::try_from(call.duration_seconds.unwrap_or(3600)).ok().filter(|s| (900..=43_200).contains(s));
    let duration_s = duration_s
        .ok_or_else(|| ApiError::client("ValidationError", "durationSeconds must be between 900 and 43200"))?;
    Ok(Answer::RoleAssumed {
        role_arn: call.role_arn.clone(),
        session_name: call.role_session_name.clone(),
        duration_s,
    })
}

impl Listed for InstanceView {
    const FILTERS: &'static [&'static str] = &[
        "availability-zone",
        "image-id",
        "instance-id",
        "instance-state-code",
        "instance-state-name",
        "instance-type",
        "instance.group-id",
        "instance.group-name",
        "ip-address",
        "network-interface.addresses.private-ip-address",
        "network-interface.network-interface-id",
        "network-interface.subnet-id",
        "network-interface.vpc-id",
        "owner-id",
        "private-ip-address",
        "reservation-id",
        "subnet-id",
        "tag-key",
        "vpc-id",
    ];

    fn key(&self) -> String {
        self.instance.id.clone()
    }

    fn values(&self, filter: &str) -> Vec<String> {
        let of_interfaces = |name: &str| self.interfaces.iter().flat_map(|view| view.values(name)).collect();
        match filter {
            "image-id" => vec![self.instance.image_id.clone()],
            "instance-id" => vec![self.instance.id.clone()],
            "instance-state-code" => vec![self.instance.state.code().to_string()],
            "instance-state-name" => vec![self.instance.state.to_string()],
            "instance-type" => vec![self.instance.instance_type.clone()],
            "instance.group-id" => of_interfaces("group-id"),
            "instance.group-name" => of_interfaces("group-name"),
            "ip-address" => of_interfaces("association.public-ip"),
            "network-interface.addresses.private-ip-address" | "private-ip-address" => {
                of_interfaces("private-ip-address")
            }
            "network-interface.network-interface-id" => of_interfaces("network-interface-id"),
            "network-interface.subnet-id" | "subnet-id" => of_interfaces("subnet-id"),
            "network-interface.vpc-id" | "vpc-id" => of_interfaces("vpc-id"),
            "availability-zone" => of_interfaces("availability-zone"),
            "owner-id" => vec![self.owner_id.clone()],
            "reservation-id" => vec![self.instance.reservation_id.clone()],
            _ => Vec::new(),
        }
    }

    fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.instance.tags)
    }
}

impl Listed for SubnetView {
    const FILTERS: &'static [&'static str] = &[
        "availability-zone",
        "availability-zone-id",
        "available-ip-address-count",
        "cidr",
        "cidr-block",
        "ipv6-cidr-block-association.ipv6-cidr-block",
        "owner-id",
        "state",
        "subnet-id",
        "tag-key",
        "vpc-id",
    ];

    fn key(&self) -> String {
        self.subnet.id.clone()
    }

    fn values(&self, filter: &str) -> Vec<String> {
        let subnet = &*self.subnet;
        match filter {
            "availability-zone" => vec![subnet.availability_zone.clone()],
            "availability-zone-id" => vec![subnet.availability_zone_id.clone()],
            "available-ip-address-count" => vec![self.available.to_string()],
            "cidr" | "cidr-block" => vec![subnet.cidr.to_string()],
            "ipv6-cidr-block-association.ipv6-cidr-block" => subnet.ipv6_cidr.iter().map(ToString::to_string).collect(),
            "owner-id" => vec![self.owner_id.clone()],
            "state" => vec!["available".to_owned()],
            "subnet-id" => vec![subnet.id.clone()],
            "vpc-id" => vec![subnet.vpc_id.clone()],
            _ => Vec::new(),
        }
    }

    fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.subnet.tags)
    }
}

impl Listed for VpcView {
    const FILTERS: &'static [&'static str] = &[
        "cidr",
        "cidr-block-association.cidr-block",
        "ipv6-cidr-block-association.ipv6-cidr-block",
        "is-default",
        "owner-id",
        "state",
        "tag-key",
        "vpc-id",
    ];

    fn key(&self) -> String {
        self.vpc.id.clone()
    }

    fn values(&self, filter: &str) -> Vec<String> {
        let vpc = &*self.vpc;
        match filter {
            "cidr" => vpc.cidrs.iter().take(1).map(ToString::to_string).collect(),
            "cidr-block-association.cidr-block" => vpc.cidrs.iter().map(ToString::to_string).collect(),
            "ipv6-cidr-block-association.ipv6-cidr-block" => vpc.ipv6_cidrs.iter().map(ToString::to_string).collect(),
            "is-default" => vec!["false".to_owned()],
            "owner-id" => vec![self.owner_id.clone()],
            "state" => vec!["available".to_owned()],
            "vpc-id" => vec![vpc.id.clone()],
            _ => Vec::new(),
        }
    }

    fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.vpc.tags)
    }
}

impl Listed for SecurityGroupView {
    const FILTERS: &'static [&'static str] =
        &["description", "group-id", "group-name", "owner-id", "tag-key", "vpc-id"];

    fn key(&self) -> String {
        self.group.id.clone()
    }

    fn values(&self, filter: &str) -> Vec<String> {
        let group = &*self.group;
        match filter {
            "description" => vec![group.description.clone()],
            "group-id" => vec![group.id.clone()],
            "group-name" => vec![group.name.clone()],
            "owner-id" => vec![self.owner_id.clone()],
            "vpc-id" => vec![group.vpc_id.clone()],
            _ => Vec::new(),
        }
    }

    fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.group.tags)
    }
}
