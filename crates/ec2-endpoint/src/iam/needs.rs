//! Everything that a call needs to be allowed: an action on each resource that EC2 checks, with the values of the
//! condition keys. Resource types and keys after the service authorization reference for EC2.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::{Account, Operation, TagChange};

/// One action on one resource.
#[derive(Clone, Debug)]
pub struct Need {
    pub action: String,
    /// The ARN, or `*` for an action that is about no resource.
    pub resource: String,
    pub context: Context,
}

/// The values of the condition keys of a request.
#[derive(Clone, Debug, Default)]
pub struct Context {
    values: BTreeMap<String, Vec<String>>,
}

impl Context {
    /// Whether this module gives the key its value where a request has one.
    pub fn knows(key: &str) -> bool {
        let tag = |prefix: &str| key.strip_prefix(prefix).is_some_and(|name| !name.is_empty());
        matches!(key, "aws:RequestedRegion" | "ec2:Region" | "aws:TagKeys")
            || ["aws:ResourceTag/", "ec2:ResourceTag/", "aws:RequestTag/"].into_iter().any(tag)
    }

    pub fn values(&self, key: &str) -> Option<&[String]> {
        self.values.get(key).map(Vec::as_slice)
    }

    fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.values.entry(key.into()).or_default().push(value.into());
    }
}

/// The needs of a call. A resource that does not exist is no need: EC2 then says that it does not exist.
pub fn needs(account: &Account, operation: &Operation) -> Vec<Need> {
    if let Operation::AssumeRole(call) = operation {
        let context = of_request(account);
        return vec![Need { action: "sts:AssumeRole".to_owned(), resource: call.role_arn.clone(), context }];
    }
    // STS tells everybody who he is.
    if matches!(operation, Operation::GetCallerIdentity) {
        return Vec::new();
    }
    let action = format!("ec2:{}", operation.name());
    if !operation.is_write() {
        return vec![Need { action, resource: "*".to_owned(), context: of_request(account) }];
    }
    let needed = resources(account, operation).into_iter().filter_map(|id| {
        let (kind, tags) = account.kind_and_tags(&id)?;
        let mut context = of_request(account);
        for (key, value) in tags {
            context.set(format!("aws:ResourceTag/{key}"), value);
            context.set(format!("ec2:ResourceTag/{key}"), value);
        }
        if let Operation::CreateTags(TagChange { tags, .. }) | Operation::DeleteTags(TagChange { tags, .. }) = operation
        {
            for tag in tags {
                context.set("aws:TagKeys", &tag.key);
                context.set(format!("aws:RequestTag/{}", tag.key), tag.value.clone().unwrap_or_default());
            }
        }
        let resource = format!("arn:aws:ec2:{}:{}:{kind}/{id}", account.region(), account.id());
        Some(Need { action: action.clone(), resource, context })
    });
    needed.collect()
}

fn of_request(account: &Account) -> Context {
    let mut context = Context::default();
    context.set("aws:RequestedRegion", account.region());
    context.set("ec2:Region", account.region());
    context
}

/// The ids of all resources that a write may touch, and that EC2 may therefore check. A call that takes something from
/// another interface may touch that one and its instance too.
fn resources(account: &Account, operation: &Operation) -> BTreeSet<String> {
    match operation {
        Operation::AssociateAddress(call) => {
            let elastic = call.allocation_id.as_deref().and_then(|id| account.elastic_ip(id));
            let holder = elastic.and_then(|elastic| elastic.association.as_ref());
            let holder = holder.map(|association| association.network_interface_id.as_str());
            let enis = [call.network_interface_id.as_deref(), holder].into_iter().flatten();
            let instances = enis.clone().filter_map(|id| account.eni(id)?.instance_id());
            let ids = call.allocation_id.as_deref().into_iter().chain(enis.clone()).chain(instances);
            ids.map(str::to_owned).collect()
        }
        Operation::DisassociateAddress(call) => {
            let mut all = account.elastic_ips().filter_map(|elastic| Some((elastic, elastic.association.as_ref()?)));
            let named = all.find(|(_, association)| call.association_id.as_ref() == Some(&association.id));
            let ids = named.map(|(elastic, association)| [&elastic.allocation_id, &association.network_interface_id]);
            ids.into_iter().flatten().cloned().collect()
        }
        Operation::AssignPrivateIpAddresses(call) => {
            let is_wanted = |ip: &Ipv4Addr| call.private_ip_addresses.contains(&ip.to_string());
            let holders = account.enis().filter(|other| other.private_ips.iter().any(is_wanted));
            holders.map(|holder| holder.id.clone()).chain([call.network_interface_id.clone()]).collect()
        }
        Operation::CreateRoute(call) | Operation::ReplaceRoute(call) => only(&call.route_table_id),
        Operation::DeleteRoute(call) => only(&call.route_table_id),
        Operation::ModifyNetworkInterfaceAttribute(call) => only(&call.network_interface_id),
        Operation::UnassignPrivateIpAddresses(call) => only(&call.network_interface_id),
        Operation::AssignIpv6Addresses(call) => only(&call.network_interface_id),
        Operation::UnassignIpv6Addresses(call) => only(&call.network_interface_id),
        Operation::CreateTags(call) | Operation::DeleteTags(call) => call.resources.iter().cloned().collect(),
        // Reads, and STS.
        _ => BTreeSet::new(),
    }
}

fn only(id: &str) -> BTreeSet<String> {
    BTreeSet::from([id.to_owned()])
}
