//! Tests of the reads: the requests, and the results that are made of the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::canned::{Canned, CannedReply, error, xml};
use super::{Tested, id};
use crate::binding::Account;
use crate::ec2::{Address, Class, Ec2Read, Eni, EniQuery, Route, RouteTable, RouteTarget, TableQuery, Urgency};

const NORMAL: Urgency = Urgency::Normal;

/// An endpoint that gives these answers in turn, and repeats the last one for ever.
async fn answering(replies: impl Into<Vec<CannedReply>>) -> Canned {
    let replies = replies.into();
    Canned::start(move |number, _| replies[number.min(replies.len() - 1)].clone()).await
}

fn enis(ids: &[&str], next: &str) -> CannedReply {
    let items: Vec<_> =
        ids.iter().map(|id| format!("<item><networkInterfaceId>{id}</networkInterfaceId></item>")).collect();
    let items = items.concat();
    let set = format!("<networkInterfaceSet>{items}</networkInterfaceSet><nextToken>{next}</nextToken>");
    xml("DescribeNetworkInterfaces", &set)
}

fn ids<'a>(enis: impl IntoIterator<Item = &'a Eni>) -> Vec<String> {
    enis.into_iter().map(|eni| eni.id.to_string()).collect()
}

#[tokio::test]
async fn addresses_are_read_by_filter_and_empty_texts_are_absent() {
    let endpoint = answering([xml(
        "DescribeAddresses",
        "<addressesSet>
          <item><publicIp>35.163.178.3</publicIp><allocationId>eipalloc-1</allocationId><instanceId></instanceId>
            <networkInterfaceId></networkInterfaceId><privateIpAddress/></item>
          <item><publicIp>35.163.178.4</publicIp><allocationId>eipalloc-2</allocationId>
            <associationId>eipassoc-2</associationId><instanceId>i-0aa</instanceId><networkInterfaceId>eni-0a</networkInterfaceId>
            <privateIpAddress>10.0.0.9</privateIpAddress>
            <tagSet><item><key>k</key><value>v</value></item><item><key>empty</key><value/></item></tagSet></item>
          <item><publicIp>35.163.178.5</publicIp></item>
        </addressesSet>",
    )])
    .await;
    let public_ips = [id("35.163.178.3"), id("35.163.178.4")].into();
    let found = Tested::at(&endpoint).await.ec2.addresses(&public_ips, NORMAL).await.unwrap();
    let free = Address {
        public_ip: id("35.163.178.3"),
        allocation: id("eipalloc-1"),
        association: None,
        eni: None,
        instance: None,
        private_ip: None,
        tags: BTreeMap::new(),
    };
    let associated = Address {
        public_ip: id("35.163.178.4"),
        allocation: id("eipalloc-2"),
        association: Some(id("eipassoc-2")),
        eni: Some(id("eni-0a")),
        instance: Some(id("i-0aa")),
        private_ip: Some(id("10.0.0.9")),
        tags: [("empty".to_owned(), String::new()), ("k".to_owned(), "v".to_owned())].into(),
    };
    assert_eq!(found, [free, associated]);
    let request =
        "DescribeAddresses Filter.1.Name=public-ip Filter.1.Value.1=35.163.178.3 Filter.1.Value.2=35.163.178.4";
    assert_eq!(endpoint.requests(), [request]);
}

#[tokio::test]
async fn tables_show_static_routes_only_whatever_kinds_there_are() {
    let route = |destination: &str, rest: &str| format!("<item>{destination}{rest}</item>");
    let v4 = |block: &str| format!("<destinationCidrBlock>{block}</destinationCidrBlock>");
    let v6 = |block: &str| format!("<destinationIpv6CidrBlock>{block}</destinationIpv6CidrBlock>");
    let eni = |id: &str| format!("<networkInterfaceId>{id}</networkInterfaceId><instanceId>i-0bb</instanceId>");
    let origin = |origin: &str| format!("<origin>{origin}</origin>");
    let routes = [
        route(&v4("10.0.0.0/16"), &format!("<gatewayId>local</gatewayId>{}", origin("CreateRouteTable"))),
        route(&v4("20.0.0.50/32"), &format!("{}{}<state>active</state>", eni("eni-0b"), origin("CreateRoute"))),
        route(&v6("2001:db8::5/128"), &format!("{}{}<state>blackhole</state>", eni("eni-0b"), origin("CreateRoute"))),
        route(&v4("20.0.0.51/32"), &format!("{}{}", eni("eni-0b"), origin("EnableVgwRoutePropagation"))),
        route(&v4("20.0.0.52/32"), &format!("{}{}", eni("eni-0b"), origin("NewlyInvented"))),
        route("<destinationPrefixListId>pl-1</destinationPrefixListId>", &origin("CreateRoute")),
        route(
            &v4("0.0.0.0/0"),
            &format!("<natGatewayId>nat-1</natGatewayId><state>new</state>{}", origin("CreateRoute")),
        ),
    ];
    let table = |routes: &str| {
        let tags = "<tagSet><item><key>k</key><value>v</value></item></tagSet>";
        let table =
            format!("<routeTableId>rtb-1</routeTableId><vpcId>vpc-1</vpcId><routeSet>{routes}</routeSet>{tags}");
        format!("<routeTableSet><item>{table}</item></routeTableSet>")
    };
    let first = format!("{}<nextToken>more</nextToken>", table(&routes[..4].concat()));
    let second = table(&routes[4..].concat());
    let endpoint = answering([xml("DescribeRouteTables", &first), xml("DescribeRouteTables", &second)]).await;
    let query = TableQuery::Tagged {
        vpc: id("vpc-1"),
        tags: [("role".to_owned(), "pg*1".to_owned()), ("vip".to_owned(), "yes".to_owned())].into(),
    };
    let found = Tested::at(&endpoint).await.ec2.route_tables(&Account::Own, &query, NORMAL).await.unwrap();
    let route = |destination: &str, target, blackhole| {
        let instance = matches!(target, RouteTarget::Eni(_)).then(|| id("i-0bb"));
        Route { destination: id(destination), target, instance, blackhole }
    };
    let expected = RouteTable {
        id: id("rtb-1"),
        vpc: Some(id("vpc-1")),
        routes: vec![
            route("10.0.0.0/16", RouteTarget::Other("local".to_owned()), false),
            route("20.0.0.50/32", RouteTarget::Eni(id("eni-0b")), false),
            route("2001:db8::5/128", RouteTarget::Eni(id("eni-0b")), true),
            route("0.0.0.0/0", RouteTarget::Other("nat-1".to_owned()), false),
        ],
        tags: [("k".to_owned(), "v".to_owned())].into(),
    };
    assert_eq!(found, [expected]);
    let request = "DescribeRouteTables Filter.1.Name=vpc-id Filter.1.Value.1=vpc-1 Filter.2.Name=tag:role \
                   Filter.2.Value.1=pg\\*1 Filter.3.Name=tag:vip Filter.3.Value.1=yes MaxResults=100";
    assert_eq!(endpoint.requests(), [request.to_owned(), format!("{request} NextToken=more")]);
}

#[tokio::test]
async fn an_eni_shows_its_addresses_and_who_has_it() {
    let endpoint = answering([xml(
        "DescribeNetworkInterfaces",
        "<networkInterfaceSet><item>
           <networkInterfaceId>eni-0a</networkInterfaceId><macAddress>0A:00:00:00:00:0B</macAddress><subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId>
           <privateIpAddress>10.0.1.7</privateIpAddress><sourceDestCheck>false</sourceDestCheck>
           <attachment><instanceId>i-0aa</instanceId></attachment>
           <privateIpAddressesSet>
             <item><privateIpAddress>10.0.1.7</privateIpAddress><primary>true</primary></item>
             <item><privateIpAddress>10.0.1.50</privateIpAddress><primary>false</primary></item>
           </privateIpAddressesSet>
           <ipv6AddressesSet><item><ipv6Address>2001:db8::50</ipv6Address></item></ipv6AddressesSet>
         </item><item><networkInterfaceId>eni-0b</networkInterfaceId><vpcId></vpcId></item>
         </networkInterfaceSet>",
    )])
    .await;
    let query = EniQuery::PrivateIps { vpc: id("vpc-1"), addresses: [id("10.0.1.7"), id("10.0.1.50")].into() };
    let found = Tested::at(&endpoint).await.ec2.interfaces(&query, NORMAL).await.unwrap();
    let full = Eni {
        id: id("eni-0a"),
        instance: Some(id("i-0aa")),
        subnet: Some(id("subnet-1")),
        vpc: Some(id("vpc-1")),
        mac: Some("0a:00:00:00:00:0b".to_owned()),
        primary_ip: Some(id("10.0.1.7")),
        private_ips: [id("10.0.1.7"), id("10.0.1.50")].into(),
        ipv6: [id("2001:db8::50")].into(),
        source_dest_check: Some(false),
    };
    let bare = Eni {
        id: id("eni-0b"),
        instance: None,
        subnet: None,
        vpc: None,
        mac: None,
        primary_ip: None,
        private_ips: BTreeSet::new(),
        ipv6: BTreeSet::new(),
        source_dest_check: None,
    };
    assert_eq!(found, [full, bare]);
    let request = "DescribeNetworkInterfaces Filter.1.Name=vpc-id Filter.1.Value.1=vpc-1 \
                   Filter.2.Name=addresses.private-ip-address Filter.2.Value.1=10.0.1.7 Filter.2.Value.2=10.0.1.50 \
                   MaxResults=1000";
    assert_eq!(endpoint.requests(), [request]);
}

#[tokio::test]
async fn all_pages_are_read() {
    let endpoint = answering([enis(&["eni-1"], "a"), enis(&["eni-2"], "b"), enis(&["eni-3"], "")]).await;
    let query = EniQuery::Ids([id("eni-1"), id("eni-2"), id("eni-3")].into());
    let found = Tested::at(&endpoint).await.ec2.interfaces(&query, NORMAL).await.unwrap();
    assert_eq!(ids(&found), ["eni-1", "eni-2", "eni-3"]);
    let tokens: Vec<_> =
        endpoint.requests().iter().map(|line| line.split_once("NextToken=").map(|(_, t)| t.to_owned())).collect();
    assert_eq!(tokens, [None, Some("a".to_owned()), Some("b".to_owned())]);
}

#[tokio::test]
async fn a_listing_starts_again_once_when_its_token_is_refused() {
    let bad = error(400, "InvalidNextToken", "expired");
    let query = EniQuery::Ids([id("eni-1")].into());
    let endpoint = answering([enis(&["eni-1"], "a"), bad.clone(), enis(&["eni-1", "eni-2"], "")]).await;
    let found = Tested::at(&endpoint).await.ec2.interfaces(&query, NORMAL).await.unwrap();
    assert_eq!(ids(&found), ["eni-1", "eni-2"], "nothing twice");
    let endpoint = answering([enis(&["eni-1"], "a"), bad.clone(), enis(&["eni-1"], "a"), bad]).await;
    let error = Tested::at(&endpoint).await.ec2.interfaces(&query, NORMAL).await.unwrap_err();
    assert_eq!((error.code.as_deref(), endpoint.requests().len()), (Some("InvalidNextToken"), 4));
}

#[tokio::test]
async fn a_listing_without_an_end_is_given_up() {
    let endpoint = answering([enis(&["eni-1"], "again")]).await;
    let query = EniQuery::Ids([id("eni-1")].into());
    let error = Tested::at(&endpoint).await.ec2.interfaces(&query, NORMAL).await.unwrap_err();
    assert_eq!((error.class, endpoint.requests().len()), (Class::Transient, 100));
}

#[tokio::test]
async fn more_values_than_a_filter_takes_are_asked_in_parts_and_none_not_at_all() {
    let endpoint = answering([xml("DescribeAddresses", "<addressesSet/>")]).await;
    let ec2 = Tested::at(&endpoint).await.ec2;
    ec2.addresses(&BTreeSet::new(), NORMAL).await.unwrap();
    assert_eq!(endpoint.requests().len(), 0, "a filter without values matches everything");
    let public_ips: BTreeSet<_> = (0..401_u32).map(|n| Ipv4Addr::from(0x2300_0000 + n)).collect();
    ec2.addresses(&public_ips, NORMAL).await.unwrap();
    let values: Vec<_> = endpoint.requests().iter().map(|line| line.matches(".Value.").count()).collect();
    assert_eq!(values, [200, 200, 1]);
}

#[tokio::test]
async fn the_tags_of_one_resource_are_read_by_its_id() {
    let tags = "<tagSet><item><resourceId>subnet-1</resourceId><key>k</key><value>v</value></item></tagSet>";
    let endpoint = answering([xml("DescribeTags", tags)]).await;
    let found = Tested::at(&endpoint).await.ec2.tags("subnet-1", NORMAL).await.unwrap();
    assert_eq!(found, [("k".to_owned(), "v".to_owned())].into());
    let request = "DescribeTags Filter.1.Name=resource-id Filter.1.Value.1=subnet-1 MaxResults=1000";
    assert_eq!(endpoint.requests(), [request]);
}

#[tokio::test]
async fn all_enis_of_several_subnets_are_asked_for_at_once() {
    let endpoint = answering([enis(&["eni-1", "eni-2"], "a"), enis(&["eni-3"], "")]).await;
    let query = EniQuery::Subnets([id("subnet-1"), id("subnet-2")].into());
    let found = Tested::at(&endpoint).await.ec2.interfaces(&query, NORMAL).await.unwrap();
    assert_eq!(ids(&found), ["eni-1", "eni-2", "eni-3"]);
    let request = "DescribeNetworkInterfaces Filter.1.Name=subnet-id Filter.1.Value.1=subnet-1 \
                   Filter.1.Value.2=subnet-2 MaxResults=1000";
    assert_eq!(endpoint.requests(), [request.to_owned(), request.to_owned() + " NextToken=a"]);
}
