//! The items that the describe calls list, one function for each kind of item.

use ipnet::IpNet;

use crate::{
    account::model::{ElasticIp, Permission, RouteTarget, Tags},
    answer::{
        AddressView, EniView, InstanceTypeView, InstanceView, RouteTableView, RouteView, SecurityGroupView, SubnetView,
        TagView, VpcView,
    },
};

use super::writer::Xml;

pub(super) fn address(xml: &mut Xml, view: &AddressView) {
    let address = &view.address;
    xml.text("publicIp", address.public_ip);
    xml.text("allocationId", &address.allocation_id);
    xml.text("domain", "vpc");
    xml.text("publicIpv4Pool", "amazon");
    xml.text("networkBorderGroup", &address.network_border_group);
    xml.text_if("instanceId", view.instance_id.as_ref());
    if let Some(association) = &address.association {
        xml.text("associationId", &association.id);
        xml.text("networkInterfaceId", &association.network_interface_id);
        xml.text("networkInterfaceOwnerId", &view.owner_id);
        xml.text("privateIpAddress", association.private_ip);
    }
    tags(xml, &address.tags);
}

pub(super) fn instance_type(xml: &mut Xml, view: &InstanceTypeView) {
    xml.text("instanceType", &view.name);
    xml.element("networkInfo", |xml| {
        xml.text("ipv4AddressesPerInterface", view.addresses_per_interface);
        xml.text("ipv6AddressesPerInterface", view.addresses_per_interface);
    });
}

pub(super) fn route_table(xml: &mut Xml, view: &RouteTableView) {
    let table = &view.table;
    xml.text("routeTableId", &table.id);
    xml.text("vpcId", &table.vpc_id);
    xml.text("ownerId", &view.owner_id);
    xml.list("routeSet", &view.routes, |xml, entry| route(xml, entry, &view.owner_id));
    xml.list("associationSet", &table.associations, |xml, association| {
        xml.text("routeTableAssociationId", &association.id);
        xml.text("routeTableId", &table.id);
        xml.text_if("subnetId", association.subnet_id.as_ref());
        xml.text("main", association.subnet_id.is_none());
        xml.element("associationState", |xml| xml.text("state", "associated"));
    });
    xml.element("propagatingVgwSet", |_| {});
    tags(xml, &table.tags);
}

fn route(xml: &mut Xml, view: &RouteView, owner_id: &str) {
    match view.destination {
        IpNet::V4(net) => xml.text("destinationCidrBlock", net),
        IpNet::V6(net) => xml.text("destinationIpv6CidrBlock", net),
    }
    match &view.target {
        RouteTarget::Local => xml.text("gatewayId", "local"),
        RouteTarget::InternetGateway(id) => xml.text("gatewayId", id),
        RouteTarget::NetworkInterface(id) => {
            if let Some(instance_id) = &view.instance_id {
                xml.text("instanceId", instance_id);
                xml.text("instanceOwnerId", owner_id);
            }
            xml.text("networkInterfaceId", id);
        }
    }
    xml.text("state", view.state.as_str());
    xml.text("origin", view.origin);
}

pub(super) fn network_interface(xml: &mut Xml, view: &EniView) {
    let eni = &view.eni;
    interface(xml, view, Shown::ByItself);
    xml.text("availabilityZone", &view.availability_zone);
    xml.text("requesterManaged", false);
    tags(xml, &eni.tags);
}

/// Where an interface is shown. As a part of an instance it leaves out what the instance says already, and the ids of
/// Elastic IPs. EC2 API reference: InstanceNetworkInterface.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    ByItself,
    InInstance,
}

fn interface(xml: &mut Xml, view: &EniView, shown: Shown) {
    let eni = &view.eni;
    xml.text("networkInterfaceId", &eni.id);
    xml.text("subnetId", &eni.subnet_id);
    xml.text("vpcId", &eni.vpc_id);
    xml.text("description", &eni.description);
    xml.text("ownerId", &view.owner_id);
    xml.text("status", view.status());
    xml.text("interfaceType", "interface");
    xml.text("macAddress", &eni.mac);
    xml.text("privateIpAddress", eni.primary_ip());
    xml.text("sourceDestCheck", eni.source_dest_check);
    groups(xml, &view.groups);
    if let Some(attachment) = &eni.attachment {
        xml.element("attachment", |xml| {
            xml.text("attachmentId", &attachment.id);
            if shown == Shown::ByItself {
                xml.text("instanceId", &attachment.instance_id);
                xml.text("instanceOwnerId", &view.owner_id);
            }
            xml.text("deviceIndex", attachment.device_index);
            xml.text("status", "attached");
            xml.text("deleteOnTermination", attachment.delete_on_termination);
        });
    }
    if let Some(elastic_ip) = view.elastic_ip_at(eni.primary_ip()) {
        association(xml, elastic_ip, &view.owner_id, shown);
    }
    xml.list("privateIpAddressesSet", &eni.private_ips, |xml, private_ip| {
        xml.text("privateIpAddress", private_ip);
        xml.text("primary", *private_ip == eni.primary_ip());
        if let Some(elastic_ip) = view.elastic_ip_at(*private_ip) {
            association(xml, elastic_ip, &view.owner_id, shown);
        }
    });
    xml.list("ipv6AddressesSet", &eni.ipv6_addresses, |xml, address| xml.text("ipv6Address", address));
}

fn association(xml: &mut Xml, elastic_ip: &ElasticIp, owner_id: &str, shown: Shown) {
    xml.element("association", |xml| {
        xml.text("publicIp", elastic_ip.public_ip);
        xml.text("ipOwnerId", owner_id);
        if shown == Shown::ByItself {
            xml.text("allocationId", &elastic_ip.allocation_id);
            xml.text_if("associationId", elastic_ip.association.as_ref().map(|association| &association.id));
        }
    });
}

pub(super) fn tag(xml: &mut Xml, view: &TagView) {
    xml.text("resourceId", &view.resource_id);
    xml.text("resourceType", view.resource_type);
    xml.text("key", &view.key);
    xml.text("value", &view.value);
}

pub(super) fn reservation(xml: &mut Xml, view: &InstanceView) {
    xml.text("reservationId", &view.instance.reservation_id);
    xml.text("ownerId", &view.owner_id);
    xml.element("groupSet", |_| {});
    xml.list("instancesSet", [view], instance);
}

fn instance(xml: &mut Xml, view: &InstanceView) {
    let instance = &view.instance;
    xml.text("instanceId", &instance.id);
    xml.text("imageId", &instance.image_id);
    xml.text("instanceType", &instance.instance_type);
    xml.element("instanceState", |xml| {
        xml.text("code", instance.state.code());
        xml.text("name", instance.state);
    });
    if let Some(first) = view.interfaces.first() {
        let eni = &first.eni;
        xml.element("placement", |xml| {
            xml.text("availabilityZone", &first.availability_zone);
            xml.text("tenancy", "default");
        });
        xml.text("subnetId", &eni.subnet_id);
        xml.text("vpcId", &eni.vpc_id);
        xml.text("privateIpAddress", eni.primary_ip());
        xml.text_if("ipAddress", first.elastic_ip_at(eni.primary_ip()).map(|elastic_ip| elastic_ip.public_ip));
        xml.text("sourceDestCheck", eni.source_dest_check);
        groups(xml, &first.groups);
    }
    xml.list("networkInterfaceSet", &view.interfaces, |xml, view| interface(xml, view, Shown::InInstance));
    if let Some(role) = &instance.role {
        let owner_id = &view.owner_id;
        xml.element("iamInstanceProfile", |xml| {
            xml.text("arn", format_args!("arn:aws:iam::{owner_id}:instance-profile/{role}"));
        });
    }
    tags(xml, &instance.tags);
}

pub(super) fn subnet(xml: &mut Xml, view: &SubnetView) {
    let subnet = &view.subnet;
    xml.text("subnetId", &subnet.id);
    xml.text("subnetArn", format_args!("arn:aws:ec2:{}:{}:subnet/{}", view.region, view.owner_id, subnet.id));
    xml.text("state", "available");
    xml.text("vpcId", &subnet.vpc_id);
    xml.text("ownerId", &view.owner_id);
    xml.text("cidrBlock", subnet.cidr);
    xml.list("ipv6CidrBlockAssociationSet", &subnet.ipv6_cidr, ipv6_range);
    xml.text("availableIpAddressCount", view.available);
    xml.text("availabilityZone", &subnet.availability_zone);
    xml.text("availabilityZoneId", &subnet.availability_zone_id);
    xml.text("defaultForAz", false);
    xml.text("mapPublicIpOnLaunch", false);
    tags(xml, &subnet.tags);
}

pub(super) fn vpc(xml: &mut Xml, view: &VpcView) {
    let vpc = &view.vpc;
    xml.text("vpcId", &vpc.id);
    xml.text("ownerId", &view.owner_id);
    xml.text("state", "available");
    xml.text_if("cidrBlock", vpc.cidrs.first());
    xml.list("cidrBlockAssociationSet", &vpc.cidrs, |xml, cidr| {
        xml.text("cidrBlock", cidr);
        xml.element("cidrBlockState", |xml| xml.text("state", "associated"));
    });
    xml.list("ipv6CidrBlockAssociationSet", &vpc.ipv6_cidrs, ipv6_range);
    xml.text("instanceTenancy", "default");
    xml.text("isDefault", false);
    tags(xml, &vpc.tags);
}

fn ipv6_range(xml: &mut Xml, cidr: &ipnet::Ipv6Net) {
    xml.text("ipv6CidrBlock", cidr);
    xml.element("ipv6CidrBlockState", |xml| xml.text("state", "associated"));
}

pub(super) fn security_group(xml: &mut Xml, view: &SecurityGroupView) {
    let group = &view.group;
    xml.text("ownerId", &view.owner_id);
    xml.text("groupId", &group.id);
    xml.text("groupName", &group.name);
    xml.text("groupDescription", &group.description);
    xml.text("vpcId", &group.vpc_id);
    xml.list("ipPermissions", &group.ingress, |xml, rule| permission(xml, rule, &view.owner_id));
    xml.list("ipPermissionsEgress", &group.egress, |xml, rule| permission(xml, rule, &view.owner_id));
    tags(xml, &group.tags);
}

fn permission(xml: &mut Xml, permission: &Permission, owner_id: &str) {
    xml.text("ipProtocol", &permission.protocol);
    if let Some((from, to)) = permission.ports {
        xml.text("fromPort", from);
        xml.text("toPort", to);
    }
    xml.list("groups", &permission.groups, |xml, id| {
        xml.text("userId", owner_id);
        xml.text("groupId", id);
    });
    let ipv4 = permission.ranges.iter().filter(|range| matches!(range, IpNet::V4(_)));
    xml.list("ipRanges", ipv4, |xml, range| xml.text("cidrIp", range));
    let ipv6 = permission.ranges.iter().filter(|range| matches!(range, IpNet::V6(_)));
    xml.list("ipv6Ranges", ipv6, |xml, range| xml.text("cidrIpv6", range));
    xml.element("prefixListIds", |_| {});
}

fn groups(xml: &mut Xml, groups: &[(String, String)]) {
    xml.list("groupSet", groups, |xml, (id, name)| {
        xml.text("groupId", id);
        xml.text("groupName", name);
    });
}

fn tags(xml: &mut Xml, tags: &Tags) {
    xml.element("tagSet", |xml| {
        for (key, value) in tags {
            xml.element("item", |xml| {
                xml.text("key", key);
                xml.text("value", value);
            });
        }
    });
}
