//! The questions of `vipkeeper check`, asked of the embedded endpoint in process.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ec2_endpoint::answer::{AddressView, InstanceTypeView};
use ec2_endpoint::{
    Answer, AssociateAddress, DeleteRoute, Describe, DescribeAddresses, DisassociateAddress,
    ModifyNetworkInterfaceAttribute, Operation, RouteChange, TagChange, TagSpec,
};
use ipnet::IpNet;
use vipkeeper::action::{Action, RouteCall};
use vipkeeper::binding::Account;
use vipkeeper::ec2::ask::{DryRun, Ec2Ask, EniSurroundings, Ingress, PublicAddress, Slots, Travelled};
use vipkeeper::ec2::{Ec2Error, RouteTable, Urgency};
use vipkeeper::ids::{AllocationId, EniId, RouteTableId, SubnetId, VpcId};

use super::{RouteOf, SimEc2, filtered, route_table};

impl Ec2Ask for SimEc2 {
    fn travelled(&self) -> Travelled {
        Travelled { host: Some("ec2.us-east-1.amazonaws.com".to_owned()), ..Travelled::default() }
    }

    async fn dry_run(&self, action: &Action) -> Result<DryRun, Ec2Error> {
        let Some((account, operation)) = dry_run_of(action) else { return Ok(DryRun::NotAvailable) };
        match self.call(&account, operation, Urgency::Urgent).await {
            Ok(_) => Ok(DryRun::CarriedOut),
            Err(error) if error.code.as_deref() == Some("DryRunOperation") => Ok(DryRun::Allowed),
            Err(error) => Err(error),
        }
    }

    async fn surroundings(&self, eni: &EniId) -> Result<Option<EniSurroundings>, Ec2Error> {
        let describe = Describe::default().filter("network-interface-id", &[eni.as_str()]);
        let operation = Operation::DescribeNetworkInterfaces(describe);
        match self.call(&Account::Own, operation, Urgency::Urgent).await? {
            Answer::NetworkInterfaces(page) => Ok(page.items.first().map(|view| EniSurroundings {
                groups: view.groups.iter().map(|(id, _)| id.clone()).collect(),
                public: view
                    .elastic_ips
                    .iter()
                    .map(|(private, public)| (*private, PublicAddress { address: public.public_ip, is_lent: false }))
                    .collect(),
                private: {
                    let v4 = view.eni.private_ips.iter().copied().map(IpAddr::V4);
                    v4.chain(view.eni.ipv6_addresses.iter().copied().map(IpAddr::V6)).collect()
                },
                prefixes: BTreeSet::new(),
                zone: Some(view.availability_zone.clone()),
            })),
            other => unreachable!("DescribeNetworkInterfaces answered {other:?}"),
        }
    }

    async fn ingress(&self, groups: &BTreeSet<String>) -> Result<Vec<Ingress>, Ec2Error> {
        let operation = Operation::DescribeSecurityGroups(filtered("group-id", groups));
        match self.call(&Account::Own, operation, Urgency::Urgent).await? {
            Answer::SecurityGroups(page) => Ok(page
                .items
                .iter()
                .flat_map(|view| &view.group.ingress)
                .map(|rule| Ingress {
                    protocol: rule.protocol.clone(),
                    ports: rule.ports,
                    from: rule.ranges.clone(),
                    unknown: rule.groups.len(),
                })
                .collect()),
            other => unreachable!("DescribeSecurityGroups answered {other:?}"),
        }
    }

    async fn slots(&self, instance_type: &str) -> Result<Option<Slots>, Ec2Error> {
        let operation = Operation::DescribeInstanceTypes(Describe::ids([instance_type]));
        match self.call(&Account::Own, operation, Urgency::Urgent).await? {
            Answer::InstanceTypes(types) => {
                let most =
                    |one: &InstanceTypeView| Slots { v4: one.addresses_per_interface, v6: one.addresses_per_interface };
                Ok(types.first().map(most))
            }
            other => unreachable!("DescribeInstanceTypes answered {other:?}"),
        }
    }

    async fn border_groups(
        &self,
        allocations: &BTreeSet<AllocationId>,
    ) -> Result<BTreeMap<AllocationId, String>, Ec2Error> {
        let ids: BTreeSet<_> = allocations.iter().map(ToString::to_string).collect();
        let describe = DescribeAddresses { describe: filtered("allocation-id", &ids), ..Default::default() };
        match self.call(&Account::Own, Operation::DescribeAddresses(describe), Urgency::Urgent).await? {
            Answer::Addresses(found) => {
                let group = |one: &AddressView| {
                    (one.address.allocation_id.parse().unwrap(), one.address.network_border_group.clone())
                };
                Ok(found.iter().map(group).collect())
            }
            other => unreachable!("DescribeAddresses answered {other:?}"),
        }
    }

    async fn table_of(&self, vpc: &VpcId, subnet: &SubnetId) -> Result<Option<RouteTable>, Ec2Error> {
        let own = Describe::default().filter("association.subnet-id", &[subnet.as_str()]);
        let main = Describe::default().filter("association.main", &["true"]).filter("vpc-id", &[vpc.as_str()]);
        let ask = async |describe| match self
            .call(&Account::Own, Operation::DescribeRouteTables(describe), Urgency::Urgent)
            .await?
        {
            Answer::RouteTables(page) => Ok(page.items.first().map(route_table)),
            other => unreachable!("DescribeRouteTables answered {other:?}"),
        };
        let (own, main) = futures_util::future::join(ask(own), ask(main)).await;
        Ok(own?.or(main?))
    }
}

/// The dry run of an action's first call, and the account that makes it. `None` where EC2 has no dry run.
fn dry_run_of(action: &Action) -> Option<(Account, Operation)> {
    let (account, operation) = match action {
        Action::AssociateAddress { allocation, eni, private_ip, .. } => (
            Account::Own,
            Operation::AssociateAddress(AssociateAddress {
                allocation_id: Some(allocation.to_string()),
                network_interface_id: Some(eni.to_string()),
                private_ip_address: Some(private_ip.to_string()),
                allow_reassociation: Some(true),
                dry_run: true,
                ..Default::default()
            }),
        ),
        Action::DisassociateAddress { association, .. } => (
            Account::Own,
            Operation::DisassociateAddress(DisassociateAddress {
                association_id: Some(association.to_string()),
                dry_run: true,
                ..Default::default()
            }),
        ),
        Action::PointRoute { account, table, destination, eni, call } => {
            let route = route_of(account, table, destination, eni);
            let change = RouteChange { dry_run: true, ..route.change() };
            let is_replace = *call == RouteCall::ReplaceElseCreate;
            let operation = if is_replace { Operation::ReplaceRoute(change) } else { Operation::CreateRoute(change) };
            (account.clone(), operation)
        }
        Action::DeleteRoute { account, table, destination, eni } => {
            let route = route_of(account, table, destination, eni);
            let change = route.change();
            let delete = DeleteRoute {
                route_table_id: change.route_table_id,
                destination_cidr_block: change.destination_cidr_block,
                destination_ipv6_cidr_block: change.destination_ipv6_cidr_block,
                dry_run: true,
            };
            (account.clone(), Operation::DeleteRoute(delete))
        }
        Action::DisableSourceDestCheck { eni } => (
            Account::Own,
            Operation::ModifyNetworkInterfaceAttribute(ModifyNetworkInterfaceAttribute {
                network_interface_id: eni.to_string(),
                source_dest_check: Some(false),
                dry_run: true,
                ..Default::default()
            }),
        ),
        Action::RecordClaim { anchor, key, value } | Action::ForgetClaim { anchor, key, value } => {
            let tags = vec![TagSpec { key: key.clone(), value: Some(value.clone()) }];
            let change = TagChange { resources: vec![anchor.resource().to_owned()], tags, dry_run: true };
            let is_record = matches!(action, Action::RecordClaim { .. });
            let operation = if is_record { Operation::CreateTags(change) } else { Operation::DeleteTags(change) };
            (anchor.account(), operation)
        }
        _ => return None,
    };
    Some((account, operation))
}

fn route_of<'a>(account: &'a Account, table: &'a RouteTableId, destination: &IpNet, eni: &'a EniId) -> RouteOf<'a> {
    RouteOf { account, table: table.as_str(), destination: *destination, eni: eni.as_str() }
}
