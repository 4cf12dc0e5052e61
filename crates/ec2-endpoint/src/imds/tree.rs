//! An instance's metadata as a tree: leaves have a text, and everything on the way to one lists its children.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Account,
    account::model::{Eni, Instance},
};

pub(super) struct Tree {
    leaves: BTreeMap<String, String>,
    role: Option<String>,
}

impl Tree {
    pub fn of(account: &Account, instance_id: &str) -> Option<Self> {
        let instance = account.instance(instance_id)?;
        let mut tree = Self { leaves: BTreeMap::new(), role: instance.role.clone() };
        tree.add_instance(account, instance);
        for eni in account.interfaces_of(instance_id) {
            tree.add_interface(account, eni);
        }
        Some(tree)
    }

    pub fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    /// The text at a path, or the names below it: folders end in `/`, but for the first level, where they do not.
    pub fn get(&self, path: &str) -> Option<String> {
        if let Some(leaf) = self.leaves.get(path.trim_end_matches('/')) {
            return Some(leaf.clone());
        }
        let folder = format!("{}/", path.trim_end_matches('/'));
        let below = self.leaves.keys().filter_map(|leaf| leaf.strip_prefix(&folder));
        let names: BTreeSet<String> = below
            .map(|rest| match rest.split_once('/') {
                Some((name, _)) => format!("{name}/"),
                None => rest.to_owned(),
            })
            .collect();
        (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join("\n"))
    }

    fn add(&mut self, path: &str, value: impl ToString) {
        self.leaves.insert(format!("/latest/meta-data/{path}"), value.to_string());
    }

    fn add_instance(&mut self, account: &Account, instance: &Instance) {
        self.add("instance-id", &instance.id);
        self.add("instance-type", &instance.instance_type);
        self.add("ami-id", &instance.image_id);
        self.add("placement/region", account.region());
        if let Some(role) = &instance.role {
            self.add(&format!("iam/security-credentials/{role}"), "");
        }
        if instance.tags_in_metadata {
            for (key, value) in &instance.tags {
                self.add(&format!("tags/instance/{key}"), value);
            }
        }
        let Some(first) = account.interfaces_of(&instance.id).into_iter().next().cloned() else { return };
        self.add("mac", &first.mac);
        self.add("local-ipv4", first.primary_ip());
        if let Some(subnet) = account.subnet(&first.subnet_id) {
            self.add("placement/availability-zone", &subnet.availability_zone);
            self.add("placement/availability-zone-id", &subnet.availability_zone_id);
            let document = serde_json::json!({
                "accountId": account.id(),
                "architecture": "x86_64",
                "availabilityZone": subnet.availability_zone,
                "imageId": instance.image_id,
                "instanceId": instance.id,
                "instanceType": instance.instance_type,
                "privateIp": first.primary_ip(),
                "region": account.region(),
                "version": "2017-09-30",
            });
            self.leaves.insert("/latest/dynamic/instance-identity/document".into(), format!("{document:#}"));
        }
    }

    fn add_interface(&mut self, account: &Account, eni: &Eni) {
        let mac = &eni.mac;
        let mut add = |name: &str, value: String| self.add(&format!("network/interfaces/macs/{mac}/{name}"), value);
        let device = eni.attachment.as_ref().map_or(0, |attachment| attachment.device_index);
        add("device-number", device.to_string());
        add("interface-id", eni.id.clone());
        add("local-ipv4s", lines(&eni.private_ips));
        add("mac", mac.clone());
        add("owner-id", account.id().to_owned());
        add("security-group-ids", lines(&eni.groups));
        add("subnet-id", eni.subnet_id.clone());
        add("vpc-id", eni.vpc_id.clone());
        if !eni.ipv6_addresses.is_empty() {
            add("ipv6s", lines(&eni.ipv6_addresses));
        }
        if let Some(subnet) = account.subnet(&eni.subnet_id) {
            add("subnet-ipv4-cidr-block", subnet.cidr.to_string());
            if let Some(cidr) = subnet.ipv6_cidr {
                add("subnet-ipv6-cidr-blocks", cidr.to_string());
            }
        }
        if let Some(vpc) = account.vpc(&eni.vpc_id) {
            add("vpc-ipv4-cidr-block", lines(&vpc.cidrs[..1]));
            add("vpc-ipv4-cidr-blocks", lines(&vpc.cidrs));
            if !vpc.ipv6_cidrs.is_empty() {
                add("vpc-ipv6-cidr-blocks", lines(&vpc.ipv6_cidrs));
            }
        }
        let mut public_ips = Vec::new();
        for elastic_ip in account.elastic_ips() {
            let association = elastic_ip.association.as_ref().filter(|there| there.network_interface_id == eni.id);
            if let Some(association) = association {
                public_ips.push(elastic_ip.public_ip);
                add(&format!("ipv4-associations/{}", elastic_ip.public_ip), association.private_ip.to_string());
            }
        }
        if !public_ips.is_empty() {
            add("public-ipv4s", lines(&public_ips));
        }
    }
}

fn lines<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
