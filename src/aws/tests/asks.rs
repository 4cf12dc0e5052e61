//! Tests of the questions of `vipkeeper check`: each dry run says that it is one, and nothing else is sent.

use std::collections::{BTreeMap, BTreeSet};

use super::canned::{Canned, error, operation, xml};
use super::{Tested, id};
use crate::action::{Action, Force, RouteCall};
use crate::binding::{Account, Anchor};
use crate::ec2::ask::{DryRun, Ec2Ask, Ingress, PublicAddress, Slots};

fn route(call: RouteCall) -> Action {
    Action::PointRoute {
        account: Account::Own,
        table: id("rtb-1"),
        destination: id("20.0.0.50/32"),
        eni: id("eni-0a"),
        call,
    }
}

/// Every action of EC2 that has a dry run, and the request that asks it.
fn dry_runs() -> Vec<(Action, &'static str)> {
    let anchor = || Anchor::RouteTable(Account::Own, id("rtb-1"));
    let (key, value) = (|| "vipkeeper/20.0.0.50/i-1".to_owned(), || "1".to_owned());
    vec![
        (
            Action::AssociateAddress {
                allocation: id("eipalloc-1"),
                eni: id("eni-0a"),
                private_ip: id("10.0.0.9"),
                force: Force::Take,
            },
            "AssociateAddress AllocationId=eipalloc-1 AllowReassociation=true DryRun=true NetworkInterfaceId=eni-0a \
             PrivateIpAddress=10.0.0.9",
        ),
        (
            Action::DisassociateAddress { allocation: id("eipalloc-1"), association: id("eipassoc-1") },
            "DisassociateAddress AssociationId=eipassoc-1 DryRun=true",
        ),
        (
            route(RouteCall::CreateOnly),
            "CreateRoute DestinationCidrBlock=20.0.0.50/32 DryRun=true NetworkInterfaceId=eni-0a RouteTableId=rtb-1",
        ),
        (
            route(RouteCall::ReplaceElseCreate),
            "ReplaceRoute DestinationCidrBlock=20.0.0.50/32 DryRun=true NetworkInterfaceId=eni-0a RouteTableId=rtb-1",
        ),
        (
            Action::DeleteRoute {
                account: Account::Own,
                table: id("rtb-1"),
                destination: id("20.0.0.50/32"),
                eni: id("eni-0a"),
            },
            "DeleteRoute DestinationCidrBlock=20.0.0.50/32 DryRun=true RouteTableId=rtb-1",
        ),
        (
            Action::DisableSourceDestCheck { eni: id("eni-0a") },
            "ModifyNetworkInterfaceAttribute DryRun=true NetworkInterfaceId=eni-0a SourceDestCheck.Value=false",
        ),
        (
            Action::RecordClaim { anchor: anchor(), key: key(), value: value() },
            "CreateTags DryRun=true ResourceId.1=rtb-1 Tag.1.Key=vipkeeper/20.0.0.50/i-1 Tag.1.Value=1",
        ),
        (
            Action::ForgetClaim { anchor: anchor(), key: key(), value: value() },
            "DeleteTags DryRun=true ResourceId.1=rtb-1 Tag.1.Key=vipkeeper/20.0.0.50/i-1 Tag.1.Value=1",
        ),
    ]
}

#[tokio::test]
async fn each_dry_run_says_that_it_is_one() {
    let endpoint = Canned::start(|_, _| error(412, "DryRunOperation", "Request would have succeeded")).await;
    let tested = Tested::at(&endpoint).await;
    for (action, request) in dry_runs() {
        assert_eq!(Box::pin(tested.ec2.dry_run(&action)).await, Ok(DryRun::Allowed), "{action}");
        assert_eq!(endpoint.requests().last().map(String::as_str), Some(request));
    }
    let travelled = tested.ec2.travelled();
    assert_eq!(travelled.host, endpoint.url.strip_prefix("http://").map(str::to_owned));
    assert!(!travelled.slowest.is_zero());
}

#[tokio::test]
async fn a_dry_run_is_denied_or_taken_for_a_real_call_or_not_to_be_had() {
    let endpoint = Canned::start(|number, line| match number {
        0 => error(403, "UnauthorizedOperation", "You are not authorized to perform this operation."),
        _ => xml(operation(line), "<return>true</return>"),
    })
    .await;
    let tested = Tested::at(&endpoint).await;
    let create = route(RouteCall::CreateOnly);
    let denied = Box::pin(tested.ec2.dry_run(&create)).await.unwrap_err();
    assert_eq!(denied.code.as_deref(), Some("UnauthorizedOperation"));
    assert_eq!(Box::pin(tested.ec2.dry_run(&create)).await, Ok(DryRun::CarriedOut));
    let assign = Action::AssignAddress { eni: id("eni-0a"), address: id("10.0.1.50"), force: Force::Take };
    assert_eq!(Box::pin(tested.ec2.dry_run(&assign)).await, Ok(DryRun::NotAvailable));
    assert_eq!(endpoint.requests().len(), 2, "nothing is sent where there is no dry run");
}

#[tokio::test]
async fn the_surroundings_of_an_eni_are_read() {
    let eni = "<networkInterfaceSet><item><networkInterfaceId>eni-0a</networkInterfaceId>\
               <groupSet><item><groupId>sg-1</groupId></item></groupSet><privateIpAddressesSet>\
               <item><privateIpAddress>10.0.0.9</privateIpAddress><association><publicIp>198.51.100.7</publicIp>\
               <ipOwnerId>amazon</ipOwnerId></association></item>\
               <item><privateIpAddress>10.0.0.10</privateIpAddress><association><publicIp>203.0.113.10</publicIp>\
               <ipOwnerId>123456789012</ipOwnerId></association></item>\
               </privateIpAddressesSet></item></networkInterfaceSet>";
    let groups = "<securityGroupInfo><item><groupId>sg-1</groupId><ipPermissions>\
                  <item><ipProtocol>tcp</ipProtocol><fromPort>9000</fromPort><toPort>9001</toPort>\
                  <groups><item><groupId>sg-1</groupId></item></groups></item>\
                  <item><ipProtocol>-1</ipProtocol><ipRanges><item><cidrIp>10.0.0.0/16</cidrIp></item></ipRanges>\
                  <ipv6Ranges><item><cidrIpv6>fd00::/8</cidrIpv6></item></ipv6Ranges></item>\
                  </ipPermissions></item></securityGroupInfo>";
    let endpoint = Canned::start(move |_, line| match operation(line) {
        "DescribeNetworkInterfaces" => xml("DescribeNetworkInterfaces", eni),
        _ => xml("DescribeSecurityGroups", groups),
    })
    .await;
    let tested = Tested::at(&endpoint).await;
    let around = tested.ec2.surroundings(&id("eni-0a")).await.unwrap().unwrap();
    let public = |address: &str, is_lent| PublicAddress { address: id(address), is_lent };
    assert_eq!(around.groups, BTreeSet::from(["sg-1".to_owned()]));
    let found: Vec<_> = around.public.into_values().collect();
    assert_eq!(found, [public("198.51.100.7", true), public("203.0.113.10", false)]);
    let rules = tested.ec2.ingress(&around.groups).await.unwrap();
    let rule = |protocol: &str, ports, from: &[&str], unknown| Ingress {
        protocol: protocol.to_owned(),
        ports,
        from: from.iter().map(|block| id(block)).collect(),
        unknown,
    };
    let all = rule("-1", None, &["10.0.0.0/16", "fd00::/8"], 0);
    assert_eq!(rules, [rule("tcp", Some((9000, 9001)), &[], 1), all]);
}

#[tokio::test]
async fn the_places_for_addresses_are_read() {
    let eni = "<networkInterfaceSet><item><networkInterfaceId>eni-0a</networkInterfaceId>\
               <availabilityZone>eu-central-1b</availabilityZone><privateIpAddressesSet>\
               <item><privateIpAddress>10.0.0.9</privateIpAddress></item></privateIpAddressesSet>\
               <ipv6AddressesSet><item><ipv6Address>fd00::9</ipv6Address></item></ipv6AddressesSet>\
               <ipv4PrefixSet><item><ipv4Prefix>10.0.0.32/28</ipv4Prefix></item></ipv4PrefixSet>\
               <ipv6PrefixSet><item><ipv6Prefix>fd00:1::/80</ipv6Prefix></item></ipv6PrefixSet>\
               </item></networkInterfaceSet>";
    let types = "<instanceTypeSet><item><instanceType>t3.medium</instanceType><networkInfo>\
                 <ipv4AddressesPerInterface>6</ipv4AddressesPerInterface></networkInfo></item></instanceTypeSet>";
    let addresses = "<addressesSet><item><allocationId>eipalloc-1</allocationId>\
                     <networkBorderGroup>eu-central-1</networkBorderGroup></item></addressesSet>";
    let endpoint = Canned::start(move |_, line| match operation(line) {
        "DescribeNetworkInterfaces" => xml("DescribeNetworkInterfaces", eni),
        "DescribeInstanceTypes" => xml("DescribeInstanceTypes", types),
        _ => xml("DescribeAddresses", addresses),
    })
    .await;
    let tested = Tested::at(&endpoint).await;
    let around = tested.ec2.surroundings(&id("eni-0a")).await.unwrap().unwrap();
    assert_eq!(around.zone.as_deref(), Some("eu-central-1b"));
    assert_eq!(around.private, BTreeSet::from([id("10.0.0.9"), id("fd00::9")]));
    assert_eq!(around.prefixes, BTreeSet::from([id("10.0.0.32/28"), id("fd00:1::/80")]));
    // A type without IPv6 has no number for it.
    let slots = Box::pin(tested.ec2.slots("t3.medium")).await.unwrap();
    assert_eq!(slots, Some(Slots { v4: 6, v6: 0 }));
    let groups = tested.ec2.border_groups(&BTreeSet::from([id("eipalloc-1")])).await.unwrap();
    assert_eq!(groups, BTreeMap::from([(id("eipalloc-1"), "eu-central-1".to_owned())]));
    let asked = endpoint.requests();
    assert_eq!(asked[1], "DescribeInstanceTypes InstanceType.1=t3.medium");
    assert_eq!(asked[2], "DescribeAddresses Filter.1.Name=allocation-id Filter.1.Value.1=eipalloc-1");
}

#[tokio::test]
async fn a_subnet_without_a_table_of_its_own_uses_the_main_one() {
    let table = |id: &str| {
        let route = "<item><destinationCidrBlock>0.0.0.0/0</destinationCidrBlock><gatewayId>igw-1</gatewayId></item>";
        format!(
            "<routeTableSet><item><routeTableId>{id}</routeTableId><routeSet>{route}</routeSet></item></routeTableSet>"
        )
    };
    for (own, wanted) in [(table("rtb-2"), "rtb-2"), ("<routeTableSet/>".to_owned(), "rtb-1")] {
        let main = table("rtb-1");
        let endpoint = Canned::start(move |_, line| {
            xml("DescribeRouteTables", if line.contains("association.main") { &main } else { &own })
        })
        .await;
        let tested = Tested::at(&endpoint).await;
        let found = Box::pin(tested.ec2.table_of(&id("vpc-1"), &id("subnet-1"))).await.unwrap().unwrap();
        assert_eq!((found.id, found.routes.len()), (id(wanted), 1));
    }
}
