//! Tags. Limits after the EC2 user guide, "Tag your Amazon EC2 resources"; codes after the API reference.

use crate::{
    Answer, ApiError, Describe, TagChange,
    answer::{Page, TagView},
};

use super::{
    Account,
    ids::Kind,
    model::Tags,
    select::{Listed, Paging, select},
};

const TAGS_PER_RESOURCE: usize = 50;
const RESOURCES_PER_CALL: usize = 1000;
const KEY_CHARACTERS: usize = 128;
const VALUE_CHARACTERS: usize = 256;

impl Account {
    /// EC2 API reference: CreateTags. Overwrites whatever value a key had.
    pub(super) fn create_tags(&mut self, call: &TagChange) -> Result<Answer, ApiError> {
        self.check_resources(call)?;
        if call.tags.is_empty() {
            return Err(ApiError::missing_parameter("tagSet"));
        }
        for (index, tag) in call.tags.iter().enumerate() {
            check_key(&tag.key)?;
            if tag.value.as_ref().is_some_and(|value| value.chars().count() > VALUE_CHARACTERS) {
                return Err(ApiError::invalid_value(format!(
                    "Tag value exceeds the maximum length of {VALUE_CHARACTERS} characters"
                )));
            }
            if call.tags[..index].iter().any(|other| other.key == tag.key) {
                return Err(ApiError::invalid_value(format!("Duplicate tag key '{}' specified.", tag.key)));
            }
        }
        for id in &call.resources {
            let Some(tags) = self.tags_of_mut(id) else {
                continue;
            };
            tags.extend(call.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone().unwrap_or_default())));
            if tags.len() > TAGS_PER_RESOURCE {
                return Err(ApiError::client(
                    "TagLimitExceeded",
                    format!("You have reached the maximum number of tags: {TAGS_PER_RESOURCE} per resource ({id})."),
                ));
            }
        }
        Ok(Answer::Done)
    }

    /// EC2 API reference: DeleteTags. A tag with a value goes only if that is its value; without tags, all go. A tag
    /// that is not there is no error.
    pub(super) fn delete_tags(&mut self, call: &TagChange) -> Result<Answer, ApiError> {
        self.check_resources(call)?;
        for tag in &call.tags {
            check_key(&tag.key)?;
        }
        for id in &call.resources {
            let Some(tags) = self.tags_of_mut(id) else {
                continue;
            };
            if call.tags.is_empty() {
                tags.clear();
            }
            for tag in &call.tags {
                if tag.value.as_ref().is_none_or(|value| tags.get(&tag.key) == Some(value)) {
                    tags.remove(&tag.key);
                }
            }
        }
        Ok(Answer::Done)
    }

    pub(super) fn describe_tags(&self, call: &Describe) -> Result<Answer, ApiError> {
        Paging::UP_TO_1000.check(call)?;
        let views = self.tagged().flat_map(|(kind, id, tags)| {
            tags.iter().map(move |(key, value)| TagView {
                resource_id: id.to_owned(),
                resource_type: kind.resource_type(),
                key: key.clone(),
                value: value.clone(),
            })
        });
        let page: Page<TagView> = select(views.collect(), call)?;
        Ok(Answer::Tags(page))
    }

    fn check_resources(&self, call: &TagChange) -> Result<(), ApiError> {
        if call.resources.is_empty() {
            return Err(ApiError::missing_parameter("resourceIdSet"));
        }
        if call.resources.len() > RESOURCES_PER_CALL {
            return Err(ApiError::invalid_value(format!("At most {RESOURCES_PER_CALL} resources may be named")));
        }
        for id in &call.resources {
            let kind =
                Kind::of(id).ok_or_else(|| ApiError::client("InvalidID", format!("The ID '{id}' is not valid")))?;
            if !self.tagged().any(|(_, known, _)| known == id) {
                return Err(match kind {
                    // Here, and only here, EC2 has another name for an allocation.
                    Kind::ElasticIp => ApiError::client(
                        "InvalidElasticIpID.NotFound",
                        format!("The elasticIp ID '{id}' does not exist"),
                    ),
                    other => other.not_found(id),
                });
            }
        }
        Ok(())
    }

    fn tagged(&self) -> impl Iterator<Item = (Kind, &str, &Tags)> {
        let vpcs = self.vpcs.values().map(|vpc| (Kind::Vpc, vpc.id.as_str(), &vpc.tags));
        let subnets = self.subnets.values().map(|subnet| (Kind::Subnet, subnet.id.as_str(), &subnet.tags));
        let groups = self.security_groups.values().map(|group| (Kind::SecurityGroup, group.id.as_str(), &group.tags));
        let instances = self.instances.values().map(|instance| (Kind::Instance, instance.id.as_str(), &instance.tags));
        let enis = self.enis.values().map(|eni| (Kind::NetworkInterface, eni.id.as_str(), &eni.tags));
        let elastic_ips = self
            .elastic_ips
            .values()
            .map(|elastic_ip| (Kind::ElasticIp, elastic_ip.allocation_id.as_str(), &elastic_ip.tags));
        let tables = self.route_tables.values().map(|table| (Kind::RouteTable, table.id.as_str(), &table.tags));
        vpcs.chain(subnets).chain(groups).chain(instances).chain(enis).chain(elastic_ips).chain(tables)
    }

    /// The type of a resource, as ARNs have it, and its tags.
    pub fn kind_and_tags(&self, id: &str) -> Option<(&'static str, &Tags)> {
        let kind = Kind::of(id)?;
        let tags = match kind {
            Kind::Vpc => self.vpcs.get(id).map(|vpc| &vpc.tags),
            Kind::Subnet => self.subnets.get(id).map(|subnet| &subnet.tags),
            Kind::SecurityGroup => self.security_groups.get(id).map(|group| &group.tags),
            Kind::Instance => self.instances.get(id).map(|instance| &instance.tags),
            Kind::NetworkInterface => self.enis.get(id).map(|eni| &eni.tags),
            Kind::ElasticIp => self.elastic_ips.get(id).map(|elastic_ip| &elastic_ip.tags),
            Kind::RouteTable => self.route_tables.get(id).map(|table| &table.tags),
        };
        Some((kind.resource_type(), tags?))
    }

    fn tags_of_mut(&mut self, id: &str) -> Option<&mut Tags> {
        match Kind::of(id)? {
            Kind::Vpc => self.vpcs.get_mut(id).map(|vpc| &mut vpc.tags),
            Kind::Subnet => self.subnets.get_mut(id).map(|subnet| &mut subnet.tags),
            Kind::SecurityGroup => self.security_groups.get_mut(id).map(|group| &mut group.tags),
            Kind::Instance => self.instances.get_mut(id).map(|instance| &mut instance.tags),
            Kind::NetworkInterface => self.enis.get_mut(id).map(|eni| &mut eni.tags),
            Kind::ElasticIp => self.elastic_ips.get_mut(id).map(|elastic_ip| &mut elastic_ip.tags),
            Kind::RouteTable => self.route_tables.get_mut(id).map(|table| &mut table.tags),
        }
    }
}

fn check_key(key: &str) -> Result<(), ApiError> {
    if key.is_empty() || key.starts_with("aws:") {
        return Err(ApiError::client(
            "InvalidTagKey.Malformed",
            format!("The tag key '{key}' is not valid: keys must not be empty and must not start with 'aws:'."),
        ));
    }
    if key.chars().count() > KEY_CHARACTERS {
        return Err(ApiError::invalid_value(format!(
            "Tag key exceeds the maximum length of {KEY_CHARACTERS} characters"
        )));
    }
    Ok(())
}

impl Listed for TagView {
    const FILTERS: &'static [&'static str] = &["key", "resource-id", "resource-type", "value"];

    fn key(&self) -> String {
        format!("{} {}", self.resource_id, self.key)
    }

    fn values(&self, filter: &str) -> Vec<String> {
        match filter {
            "key" => vec![self.key.clone()],
            "resource-id" => vec![self.resource_id.clone()],
            "resource-type" => vec![self.resource_type.to_owned()],
            "value" => vec![self.value.clone()],
            _ => Vec::new(),
        }
    }

    fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        std::iter::once((self.key.as_str(), self.value.as_str()))
    }
}
