//! The questions of `vipkeeper check`: dry runs, and reads that the daemon has no use for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use aws_sdk_ec2::types::{
    AttributeBooleanValue, GroupIdentifier, InstanceTypeInfo, IpPermission, IpRange, Ipv6Range, NetworkInterface,
    SecurityGroup, Tag,
};
use ipnet::IpNet;

use super::read::{filter, filters};
use super::{AwsEc2, convert};
use crate::action::{Action, RouteCall};
use crate::binding::{Account, Anchor};
use crate::ec2::ask::{DryRun, Ec2Ask, EniSurroundings, Ingress, PublicAddress, Slots, Travelled};
use crate::ec2::{Ec2Error, RouteTable, Urgency};
use crate::ids::{AllocationId, EniId, RouteTableId, SubnetId, VpcId};

/// EC2's code for a dry run of a call that it would carry out.
const WOULD_SUCCEED: &str = "DryRunOperation";
/// The owner of a public address that AWS lends.
const LENT_BY: &str = "amazon";
/// A dry run and a read of `check` do not wait for the rate limit: the command makes each of them once.
const AT_ONCE: Urgency = Urgency::Urgent;

impl Ec2Ask for AwsEc2 {
    fn travelled(&self) -> Travelled {
        Travelled { expiry: self.credentials_expiry(), ..self.travelled.borrow().clone() }
    }

    async fn dry_run(&self, action: &Action) -> Result<DryRun, Ec2Error> {
        let outcome = match action {
            Action::AssociateAddress { allocation, eni, private_ip, .. } => {
                Box::pin(self.may_associate(allocation, eni, (*private_ip).into())).await
            }
            Action::DisassociateAddress { association, .. } => {
                self.call(&Account::Own, "DisassociateAddress", AT_ONCE, async |client, probe| {
                    let call = client.disassociate_address().association_id(association.as_str()).dry_run(true);
                    call.customize().interceptor(probe).send().await.map(drop)
                })
                .await
            }
            Action::PointRoute { account, table, destination, eni, call } => {
                let route = Route { account, table, destination };
                Box::pin(self.may_point(route, eni, *call)).await
            }
            Action::DeleteRoute { account, table, destination, .. } => {
                Box::pin(self.may_delete(Route { account, table, destination })).await
            }
            Action::DisableSourceDestCheck { eni } => {
                let off = AttributeBooleanValue::builder().value(false).build();
                self.call(&Account::Own, "ModifyNetworkInterfaceAttribute", AT_ONCE, async |client, probe| {
                    let call = client.modify_network_interface_attribute().network_interface_id(eni.as_str());
                    let call = call.source_dest_check(off.clone()).dry_run(true);
                    call.customize().interceptor(probe).send().await.map(drop)
                })
                .await
            }
            Action::RecordClaim { anchor, key, value } => Box::pin(self.may_tag(anchor, key, value)).await,
            Action::ForgetClaim { anchor, key, value } => Box::pin(self.may_untag(anchor, key, value)).await,
            Action::AssignAddress { .. }
            | Action::UnassignAddress { .. }
            | Action::AddLocalAddress { .. }
            | Action::RemoveLocalAddress { .. } => return Ok(DryRun::NotAvailable),
        };
        match outcome {
            Ok(()) => Ok(DryRun::CarriedOut),
            Err(error) if error.code.as_deref() == Some(WOULD_SUCCEED) => Ok(DryRun::Allowed),
            Err(error) => Err(error),
        }
    }

    async fn surroundings(&self, eni: &EniId) -> Result<Option<EniSurroundings>, Ec2Error> {
        let answer = self
            .call(&Account::Own, "DescribeNetworkInterfaces", AT_ONCE, async |client, probe| {
                let call = client.describe_network_interfaces().filters(filter("network-interface-id", [eni.as_str()]));
                call.customize().interceptor(probe).send().await
            })
            .await?;
        Ok(answer.network_interfaces().first().map(surroundings))
    }

    async fn ingress(&self, groups: &BTreeSet<String>) -> Result<Vec<Ingress>, Ec2Error> {
        let mut found = Vec::new();
        for filter in filters("group-id", groups) {
            let answer = self
                .call(&Account::Own, "DescribeSecurityGroups", AT_ONCE, async |client, probe| {
                    let call = client.describe_security_groups().filters(filter.clone());
                    call.customize().interceptor(probe).send().await
                })
                .await?;
            let rules = answer.security_groups().iter().flat_map(SecurityGroup::ip_permissions);
            found.extend(rules.map(ingress));
        }
        Ok(found)
    }

    async fn slots(&self, instance_type: &str) -> Result<Option<Slots>, Ec2Error> {
        let answer = self
            .call(&Account::Own, "DescribeInstanceTypes", AT_ONCE, async |client, probe| {
                let call = client.describe_instance_types().instance_types(instance_type.into());
                call.customize().interceptor(probe).send().await
            })
            .await?;
        let network = answer.instance_types().first().and_then(InstanceTypeInfo::network_info);
        let most = |addresses: Option<i32>| addresses.and_then(|most| usize::try_from(most).ok());
        Ok(network.and_then(|network| {
            // A type without IPv6 has no number for it.
            let v6 = most(network.ipv6_addresses_per_interface()).unwrap_or_default();
            Some(Slots { v4: most(network.ipv4_addresses_per_interface())?, v6 })
        }))
    }

    async fn border_groups(
        &self,
        allocations: &BTreeSet<AllocationId>,
    ) -> Result<BTreeMap<AllocationId, String>, Ec2Error> {
        let ids: BTreeSet<_> = allocations.iter().map(ToString::to_string).collect();
        let mut found = BTreeMap::new();
        for filter in filters("allocation-id", &ids) {
            let answer = self
                .call(&Account::Own, "DescribeAddresses", AT_ONCE, async |client, probe| {
                    let call = client.describe_addresses().filters(filter.clone());
                    call.customize().interceptor(probe).send().await
                })
                .await?;
            found.extend(answer.addresses().iter().filter_map(|address| {
                Some((address.allocation_id()?.parse().ok()?, address.network_border_group()?.to_owned()))
            }));
        }
        Ok(found)
    }

    async fn table_of(&self, vpc: &VpcId, subnet: &SubnetId) -> Result<Option<RouteTable>, Ec2Error> {
        let own = vec![filter("association.subnet-id", [subnet.as_str()])];
        let main = vec![filter("vpc-id", [vpc.as_str()]), filter("association.main", ["true"])];
        let ask = async |filters: Vec<_>| {
            let answer = self
                .call(&Account::Own, "DescribeRouteTables", AT_ONCE, async |client, probe| {
                    let call = client.describe_route_tables().set_filters(Some(filters.clone()));
                    call.customize().interceptor(probe).send().await
                })
                .await?;
            Ok(answer.route_tables().iter().find_map(convert::route_table))
        };
        // Both are asked for at once: a subnet with no table of its own uses the main one.
        let (own, main) = futures_util::future::join(Box::pin(ask(own)), Box::pin(ask(main))).await;
        Ok(own?.or(main?))
    }
}

/// One route of one table.
#[derive(Clone, Copy)]
struct Route<'a> {
    account: &'a Account,
    table: &'a RouteTableId,
    destination: &'a IpNet,
}

impl Route<'_> {
    /// The destination in the fields for IPv4 and for IPv6. Exactly one of the two fields is set.
    fn destination_fields(self) -> [Option<String>; 2] {
        match self.destination.trunc() {
            IpNet::V4(block) => [Some(block.to_string()), None],
            IpNet::V6(block) => [None, Some(block.to_string())],
        }
    }
}

impl AwsEc2 {
    async fn may_associate(&self, allocation: &AllocationId, eni: &EniId, private_ip: IpAddr) -> Result<(), Ec2Error> {
        self.call(&Account::Own, "AssociateAddress", AT_ONCE, async |client, probe| {
            let call = client.associate_address().allocation_id(allocation.as_str());
            let call = call.network_interface_id(eni.as_str()).private_ip_address(private_ip.to_string());
            let call = call.allow_reassociation(true).dry_run(true);
            call.customize().interceptor(probe).send().await.map(drop)
        })
        .await
    }

    async fn may_point(&self, route: Route<'_>, eni: &EniId, call: RouteCall) -> Result<(), Ec2Error> {
        let [v4, v6] = route.destination_fields();
        let table = route.table.as_str();
        if call == RouteCall::ReplaceElseCreate {
            return self
                .call(route.account, "ReplaceRoute", AT_ONCE, async |client, probe| {
                    let call = client.replace_route().route_table_id(table).network_interface_id(eni.as_str());
                    let call = call.set_destination_cidr_block(v4.clone()).set_destination_ipv6_cidr_block(v6.clone());
                    call.dry_run(true).customize().interceptor(probe).send().await.map(drop)
                })
                .await;
        }
        self.call(route.account, "CreateRoute", AT_ONCE, async |client, probe| {
            let call = client.create_route().route_table_id(table).network_interface_id(eni.as_str());
            let call = call.set_destination_cidr_block(v4.clone()).set_destination_ipv6_cidr_block(v6.clone());
            call.dry_run(true).customize().interceptor(probe).send().await.map(drop)
        })
        .await
    }

    async fn may_delete(&self, route: Route<'_>) -> Result<(), Ec2Error> {
        let [v4, v6] = route.destination_fields();
        self.call(route.account, "DeleteRoute", AT_ONCE, async |client, probe| {
            let call = client.delete_route().route_table_id(route.table.as_str());
            let call = call.set_destination_cidr_block(v4.clone()).set_destination_ipv6_cidr_block(v6.clone());
            call.dry_run(true).customize().interceptor(probe).send().await.map(drop)
        })
        .await
    }

    async fn may_tag(&self, anchor: &Anchor, key: &str, value: &str) -> Result<(), Ec2Error> {
        let tag = Tag::builder().key(key).value(value).build();
        self.call(&anchor.account(), "CreateTags", AT_ONCE, async |client, probe| {
            let call = client.create_tags().resources(anchor.resource()).tags(tag.clone()).dry_run(true);
            call.customize().interceptor(probe).send().await.map(drop)
        })
        .await
    }

    async fn may_untag(&self, anchor: &Anchor, key: &str, value: &str) -> Result<(), Ec2Error> {
        let tag = Tag::builder().key(key).value(value).build();
        self.call(&anchor.account(), "DeleteTags", AT_ONCE, async |client, probe| {
            let call = client.delete_tags().resources(anchor.resource()).tags(tag.clone()).dry_run(true);
            call.customize().interceptor(probe).send().await.map(drop)
        })
        .await
    }
}

fn ingress(rule: &IpPermission) -> Ingress {
    let v4 = rule.ip_ranges().iter().filter_map(IpRange::cidr_ip);
    let v6 = rule.ipv6_ranges().iter().filter_map(Ipv6Range::cidr_ipv6);
    Ingress {
        protocol: rule.ip_protocol().unwrap_or("-1").to_owned(),
        ports: rule.from_port().zip(rule.to_port()),
        from: v4.chain(v6).filter_map(|block| block.parse().ok()).collect(),
        unknown: rule.user_id_group_pairs().len() + rule.prefix_list_ids().len(),
    }
}

/// The surroundings that DescribeNetworkInterfaces shows.
fn surroundings(eni: &NetworkInterface) -> EniSurroundings {
    let groups = eni.groups().iter().filter_map(GroupIdentifier::group_id).map(str::to_owned).collect();
    let public = eni.private_ip_addresses().iter().filter_map(|private| {
        let association = private.association()?;
        let address = association.public_ip()?.parse().ok()?;
        let is_lent = association.ip_owner_id() == Some(LENT_BY);
        Some((private.private_ip_address()?.parse().ok()?, PublicAddress { address, is_lent }))
    });
    let v4 = eni.private_ip_addresses().iter().filter_map(|one| one.private_ip_address()?.parse().ok());
    let v6 = eni.ipv6_addresses().iter().filter_map(|one| one.ipv6_address()?.parse().ok());
    let prefixes_v4 = eni.ipv4_prefixes().iter().filter_map(|one| one.ipv4_prefix()?.parse().ok());
    let prefixes_v6 = eni.ipv6_prefixes().iter().filter_map(|one| one.ipv6_prefix()?.parse().ok());
    EniSurroundings {
        groups,
        public: public.collect(),
        private: v4.chain(v6).collect(),
        prefixes: prefixes_v4.chain(prefixes_v6).collect(),
        zone: eni.availability_zone().map(str::to_owned),
    }
}
