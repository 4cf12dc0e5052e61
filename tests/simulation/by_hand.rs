//! Changes to a VIP in EC2 that people and other tools make behind the daemons' backs.

use ec2_endpoint::{
    AssignPrivateIpAddresses, AssociateAddress, ModifyNetworkInterfaceAttribute, Operation, RouteChange, TagChange,
    TagSpec,
};

use crate::checks::{Pointer, VipSpec};
use crate::cluster::Cluster;
use crate::support::node::SimNode;

/// Somebody undoes or changes one thing of the VIP by hand.
pub fn drift(cluster: &mut Cluster, vip: usize, node: usize) {
    let spec = cluster.vips[vip].clone();
    let pick = cluster.rng.usize(..spec.pointers.len() + 3);
    match spec.pointers.iter().nth(pick) {
        Some(pointer) if cluster.rng.bool() => remove(cluster, pointer),
        Some(pointer) => point_anywhere(cluster, &pointer.clone()),
        None if pick == spec.pointers.len() => {
            for address in &spec.local {
                cluster.nodes[node].computer.remove_by_hand(*address);
            }
        }
        None if pick == spec.pointers.len() + 1 => {
            let network_interface_id = cluster.nodes[node].place.eni.clone();
            let check = ModifyNetworkInterfaceAttribute {
                network_interface_id,
                source_dest_check: Some(true),
                ..Default::default()
            };
            cluster.estate.by_hand(&Operation::ModifyNetworkInterfaceAttribute(check));
        }
        None => forget_claims(cluster, &spec),
    }
}

/// Another tool points all pointers of a VIP elsewhere.
pub fn steal(cluster: &mut Cluster, vip: usize) {
    for pointer in cluster.vips[vip].pointers.clone() {
        point_anywhere(cluster, &pointer);
    }
}

fn point_anywhere(cluster: &mut Cluster, pointer: &Pointer) {
    let enis: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| &node.place)
        .chain([&cluster.estate.bystander])
        .map(|place| place.eni.clone())
        .collect();
    let eni = enis[cluster.rng.usize(..enis.len())].clone();
    let exists = pointer.holder(&cluster.estate.account()).is_some();
    let operation = match pointer {
        Pointer::ElasticIp(id, _) => Operation::AssociateAddress(AssociateAddress {
            allocation_id: Some(id.clone()),
            // The stranger's primary address has an Elastic IP of its own.
            private_ip_address: (eni == cluster.estate.bystander.eni).then(|| "10.0.1.200".to_owned()),
            network_interface_id: Some(eni),
            ..Default::default()
        }),
        Pointer::Route(table, destination) => {
            let change = RouteChange {
                route_table_id: table.clone(),
                destination_cidr_block: Some(destination.to_string()),
                network_interface_id: Some(eni),
                ..Default::default()
            };
            if exists { Operation::ReplaceRoute(change) } else { Operation::CreateRoute(change) }
        }
        Pointer::Secondary(address) => Operation::AssignPrivateIpAddresses(AssignPrivateIpAddresses {
            network_interface_id: eni,
            private_ip_addresses: vec![address.to_string()],
            allow_reassignment: true,
            ..Default::default()
        }),
    };
    cluster.estate.by_hand(&operation);
}

/// Somebody removes one pointer of a VIP.
fn remove(cluster: &Cluster, pointer: &Pointer) {
    let removal = pointer.removal(&cluster.estate.account());
    if let Some(operation) = removal {
        cluster.estate.by_hand(&operation);
    }
}

/// Somebody tidies up and deletes the tags with the claims.
fn forget_claims(cluster: &Cluster, vip: &VipSpec) {
    let ours = |node: &SimNode| TagSpec { key: format!("vipkeeper/{}/{}", vip.ip, node.place.instance), value: None };
    let tags = cluster.nodes.iter().map(ours).collect();
    let (resources, dry_run) = (vec![vip.anchor.clone()], false);
    cluster.estate.by_hand(&Operation::DeleteTags(TagChange { resources, tags, dry_run }));
}
