//! Turns the SDK's types into vipkeeper's. An empty text counts as absent, because some endpoints write absent texts
//! that way. Things that cannot be read are left out, because new kinds of things appear in EC2 without notice.

use std::collections::BTreeMap;
use std::str::FromStr;

use aws_sdk_ec2::types::{self as sdk, RouteOrigin, RouteState};

use crate::ec2::{Address, Eni, Route, RouteTable, RouteTarget};

/// A text that is not empty.
pub fn text(field: Option<&str>) -> Option<&str> {
    field.filter(|text| !text.is_empty())
}

fn parsed<T: FromStr>(field: Option<&str>) -> Option<T> {
    text(field)?.parse().ok()
}

fn tags(tags: &[sdk::Tag]) -> BTreeMap<String, String> {
    tags.iter()
        .filter_map(|tag| Some((text(tag.key())?.to_owned(), tag.value().unwrap_or_default().to_owned())))
        .collect()
}

/// `None` for an address without an allocation id, because such an address cannot be associated.
pub fn address(address: &sdk::Address) -> Option<Address> {
    Some(Address {
        public_ip: parsed(address.public_ip())?,
        allocation: parsed(address.allocation_id())?,
        association: parsed(address.association_id()),
        eni: parsed(address.network_interface_id()),
        instance: parsed(address.instance_id()),
        private_ip: parsed(address.private_ip_address()),
        tags: tags(address.tags()),
    })
}

/// `None` for a table without an id.
pub fn route_table(table: &sdk::RouteTable) -> Option<RouteTable> {
    Some(RouteTable {
        id: parsed(table.route_table_id())?,
        vpc: parsed(table.vpc_id()),
        routes: table.routes().iter().filter_map(route).collect(),
        tags: tags(table.tags()),
    })
}

/// `None` for a route that is not static, or whose destination is no address block.
fn route(route: &sdk::Route) -> Option<Route> {
    if !matches!(route.origin(), None | Some(RouteOrigin::CreateRoute | RouteOrigin::CreateRouteTable)) {
        return None;
    }
    let destination = parsed(route.destination_cidr_block()).or_else(|| parsed(route.destination_ipv6_cidr_block()))?;
    let blackhole = route.state() == Some(&RouteState::Blackhole);
    Some(Route { destination, target: target(route), instance: parsed(route.instance_id()), blackhole })
}

fn target(route: &sdk::Route) -> RouteTarget {
    if let Some(eni) = parsed(route.network_interface_id()) {
        return RouteTarget::Eni(eni);
    }
    let other = [
        route.gateway_id(),
        route.nat_gateway_id(),
        route.transit_gateway_id(),
        route.vpc_peering_connection_id(),
        route.egress_only_internet_gateway_id(),
        route.carrier_gateway_id(),
        route.local_gateway_id(),
        route.core_network_arn(),
        route.odb_network_arn(),
        route.instance_id(),
    ];
    RouteTarget::Other(other.into_iter().find_map(text).unwrap_or("a target that EC2 does not show").to_owned())
}

/// `None` for an ENI without an id.
pub fn eni(eni: &sdk::NetworkInterface) -> Option<Eni> {
    let addresses = eni.private_ip_addresses();
    let primary = addresses.iter().find(|address| address.primary() == Some(true));
    let primary_ip =
        parsed(eni.private_ip_address()).or_else(|| primary.and_then(|address| parsed(address.private_ip_address())));
    let listed = addresses.iter().filter_map(|address| parsed(address.private_ip_address()));
    Some(Eni {
        id: parsed(eni.network_interface_id())?,
        instance: eni.attachment().and_then(|attachment| parsed(attachment.instance_id())),
        subnet: parsed(eni.subnet_id()),
        vpc: parsed(eni.vpc_id()),
        mac: text(eni.mac_address()).map(str::to_ascii_lowercase),
        primary_ip,
        private_ips: listed.chain(primary_ip).collect(),
        ipv6: eni.ipv6_addresses().iter().filter_map(|address| parsed(address.ipv6_address())).collect(),
        source_dest_check: eni.source_dest_check(),
    })
}
