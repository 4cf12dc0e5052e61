use ec2_endpoint::{
    Answer, AssignIpv6Addresses, AssignPrivateIpAddresses, AssociateAddress, Launched, Operation,
    UnassignIpv6Addresses, UnassignPrivateIpAddresses,
};

use crate::world::{World, world};

#[derive(Clone, Copy)]
enum Moves {
    Allowed,
    Not,
}

fn assign(world: &World, node: &Launched, addresses: &[&str], moves: Moves) -> Operation {
    Operation::AssignPrivateIpAddresses(AssignPrivateIpAddresses {
        network_interface_id: world.eni(node),
        private_ip_addresses: addresses.iter().map(ToString::to_string).collect(),
        allow_reassignment: matches!(moves, Moves::Allowed),
        ..Default::default()
    })
}

fn unassign(world: &World, node: &Launched, addresses: &[&str]) -> Operation {
    Operation::UnassignPrivateIpAddresses(UnassignPrivateIpAddresses {
        network_interface_id: world.eni(node),
        private_ip_addresses: addresses.iter().map(ToString::to_string).collect(),
    })
}

fn ips(world: &mut World, node: &Launched) -> Vec<String> {
    world.described_eni(node).eni.private_ips.iter().map(ToString::to_string).collect()
}

#[test]
fn a_taken_address_moves_only_if_the_caller_says_so() {
    let mut world = world();
    let (a, b) = (world.a.clone(), world.b.clone());
    let call = assign(&world, &a, &["10.0.1.50"], Moves::Not);
    assert_eq!(world.code(call.clone()), "OK");
    assert_eq!(world.code(call), "OK", "it is on this interface already");

    let call = assign(&world, &b, &["10.0.1.50"], Moves::Not);
    let error = world.apply(call).unwrap_err();
    assert_eq!(
        (&*error.code, &*error.message),
        ("InvalidParameterValue", "[10.0.1.50] assigned, but move is not allowed.")
    );

    let call = assign(&world, &b, &["10.0.1.50"], Moves::Allowed);
    assert_eq!(world.code(call), "OK");
    assert_eq!(ips(&mut world, &a), ["10.0.1.11"]);
    assert_eq!(ips(&mut world, &b), ["10.0.1.12", "10.0.1.50"]);
}

#[test]
fn the_elastic_ip_goes_where_its_private_address_goes() {
    let mut world = world();
    let (a, b, eip) = (world.a.clone(), world.b.clone(), world.eip.clone());
    let call = assign(&world, &a, &["10.0.1.50"], Moves::Not);
    world.apply(call).unwrap();
    world.associate(AssociateAddress { private_ip_address: Some("10.0.1.50".into()), ..world.association_to(&a) });
    let call = assign(&world, &b, &["10.0.1.50"], Moves::Allowed);
    world.apply(call).unwrap();
    assert_eq!(world.points_at(&eip), Some((world.eni(&b), "10.0.1.50".to_owned())));
    let call = unassign(&world, &b, &["10.0.1.50"]);
    world.apply(call).unwrap();
    assert_eq!(world.points_at(&eip), None);
}

#[test]
fn an_elastic_ip_of_the_same_address_in_another_vpc_stays() {
    let mut world = world();
    let other_vpc = world.account.add_vpc("10.0.0.0/16", None).unwrap();
    let other_subnet = world.account.add_subnet(&other_vpc, "10.0.1.0/24", "us-east-1a").unwrap();
    let twin = world.account.add_interface(&other_subnet, Some([10, 0, 1, 50].into())).unwrap();
    let eip = world.eip.clone();
    world.associate(AssociateAddress {
        network_interface_id: Some(twin.clone()),
        ..world.association_to(&world.a.clone())
    });
    for (node, moves) in [(world.a.clone(), Moves::Not), (world.b.clone(), Moves::Allowed)] {
        let call = assign(&world, &node, &["10.0.1.50"], moves);
        assert_eq!(world.code(call), "OK");
    }
    assert_eq!(world.points_at(&eip).unwrap().0, twin);
}

#[test]
fn what_an_interface_cannot_hold_is_refused() {
    let world = world();
    let cases: [(&str, &[&str]); 9] = [
        ("InvalidParameterValue", &["10.0.2.50"]),
        ("InvalidParameterValue", &["10.0.1.0"]),
        ("InvalidParameterValue", &["10.0.1.3"]),
        ("InvalidParameterValue", &["10.0.1.255"]),
        ("InvalidParameterValue", &["junk"]),
        // The primary address of the other node: it moves for nobody.
        ("InvalidParameterValue", &["10.0.1.12"]),
        // All or nothing.
        ("InvalidParameterValue", &["10.0.1.50", "10.0.2.50"]),
        ("MissingParameter", &[]),
        ("OK", &["10.0.1.4", "10.0.1.254"]),
    ];
    for (expected, addresses) in cases {
        let call = assign(&world, &world.a, addresses, Moves::Allowed);
        assert_eq!(world.clone().code(call), expected, "{addresses:?}");
    }
}

#[test]
fn addresses_per_interface_are_limited() {
    let mut world = world();
    let a = world.a.clone();
    let five = ["10.0.1.50", "10.0.1.51", "10.0.1.52", "10.0.1.53", "10.0.1.54"];
    let call = assign(&world, &a, &five, Moves::Not);
    assert_eq!(world.code(call), "OK");
    let call = assign(&world, &a, &["10.0.1.55"], Moves::Not);
    assert_eq!(world.code(call), "PrivateIpAddressLimitExceeded");
    let call = assign(&world, &a, &five, Moves::Not);
    assert_eq!(world.code(call), "OK", "nothing new, so nothing too many");
}

#[test]
fn addresses_can_be_chosen_by_the_service() {
    let mut world = world();
    let by_count = |count| AssignPrivateIpAddresses {
        network_interface_id: world.eni(&world.a),
        secondary_private_ip_address_count: Some(count),
        ..Default::default()
    };
    let (two, none) = (by_count(2), by_count(0));
    let both = AssignPrivateIpAddresses { private_ip_addresses: vec!["10.0.1.50".into()], ..by_count(1) };
    let answer = world.apply(Operation::AssignPrivateIpAddresses(two)).unwrap();
    let Answer::PrivateIpsAssigned { addresses, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(addresses, ["10.0.1.4", "10.0.1.5"]);
    assert_eq!(world.code(Operation::AssignPrivateIpAddresses(none)), "InvalidParameterValue");
    assert_eq!(world.code(Operation::AssignPrivateIpAddresses(both)), "InvalidParameterCombination");
}

#[test]
fn a_full_subnet_has_none_to_choose() {
    let mut world = world();
    let tiny = world.account.add_subnet(&world.vpc.clone(), "10.0.9.0/28", "us-east-1a").unwrap();
    let eni = world.account.add_interface(&tiny, None).unwrap();
    let call = AssignPrivateIpAddresses {
        network_interface_id: eni,
        secondary_private_ip_address_count: Some(11),
        ..Default::default()
    };
    assert_eq!(world.code(Operation::AssignPrivateIpAddresses(call)), "InsufficientFreeAddressesInSubnet");
}

#[test]
fn only_secondary_addresses_of_this_very_interface_are_unassigned() {
    let mut world = world();
    let (a, b) = (world.a.clone(), world.b.clone());
    let call = assign(&world, &a, &["10.0.1.50"], Moves::Not);
    world.apply(call).unwrap();
    for (node, addresses, expected) in [
        (&b, &["10.0.1.50"][..], "InvalidParameterValue"),
        (&a, &["10.0.1.11"], "InvalidParameterValue"),
        (&a, &["10.0.1.50", "10.0.1.51"], "InvalidParameterValue"),
        (&a, &[], "MissingParameter"),
        (&a, &["10.0.1.50"], "OK"),
        (&a, &["10.0.1.50"], "InvalidParameterValue"),
    ] {
        let call = unassign(&world, node, addresses);
        assert_eq!(world.code(call), expected, "{addresses:?}");
    }
}

fn assign_ipv6(world: &World, node: &Launched, addresses: &[&str]) -> Operation {
    Operation::AssignIpv6Addresses(AssignIpv6Addresses {
        network_interface_id: world.eni(node),
        ipv6_addresses: addresses.iter().map(ToString::to_string).collect(),
        ..Default::default()
    })
}

fn unassign_ipv6(world: &World, node: &Launched, addresses: &[&str]) -> Operation {
    Operation::UnassignIpv6Addresses(UnassignIpv6Addresses {
        network_interface_id: world.eni(node),
        ipv6_addresses: addresses.iter().map(ToString::to_string).collect(),
    })
}

#[test]
fn an_ipv6_address_must_leave_one_interface_before_another_has_it() {
    let mut world = world();
    let (a, b) = (world.a.clone(), world.b.clone());
    let vip = "2600:1f18:0:ab00::50";
    for (operation, expected) in [
        (assign_ipv6(&world, &a, &[vip]), "OK"),
        (assign_ipv6(&world, &a, &[vip]), "OK"),
        (assign_ipv6(&world, &b, &[vip]), "InvalidIPAddress.InUse"),
        (unassign_ipv6(&world, &b, &[vip]), "InvalidParameterValue"),
        (unassign_ipv6(&world, &a, &[vip]), "OK"),
        (unassign_ipv6(&world, &a, &[vip]), "InvalidParameterValue"),
        (assign_ipv6(&world, &b, &[vip]), "OK"),
    ] {
        assert_eq!(world.code(operation.clone()), expected, "{operation:?}");
    }
    assert_eq!(world.described_eni(&b).eni.ipv6_addresses.len(), 1);
}

#[test]
fn an_ipv6_address_must_be_of_the_subnet() {
    let world = world();
    for (node, address, expected) in [
        (&world.a, "2600:1f18:0:ab01::50", "InvalidParameterValue"),
        (&world.c, "2600:1f18:0:ab01::50", "OK"),
        (&world.a, "2600:1f18:0:ab00::1", "InvalidParameterValue"),
        (&world.a, "10.0.1.50", "InvalidParameterValue"),
    ] {
        let call = assign_ipv6(&world, node, &[address]);
        assert_eq!(world.clone().code(call), expected, "{address}");
    }
}

#[test]
fn the_answer_names_only_what_is_newly_assigned() {
    let mut world = world();
    let a = world.a.clone();
    let first = assign_ipv6(&world, &a, &["2600:1f18:0:ab00::50"]);
    let both = assign_ipv6(&world, &a, &["2600:1f18:0:ab00::50", "2600:1f18:0:ab00::51"]);
    world.apply(first).unwrap();
    let Ok(Answer::Ipv6Assigned { addresses, .. }) = world.apply(both) else { panic!() };
    assert_eq!(addresses, ["2600:1f18:0:ab00::51"]);
    let chosen = Operation::AssignIpv6Addresses(AssignIpv6Addresses {
        network_interface_id: world.eni(&a),
        ipv6_address_count: Some(1),
        ..Default::default()
    });
    let Ok(Answer::Ipv6Assigned { addresses, .. }) = world.apply(chosen) else { panic!() };
    assert_eq!(addresses, ["2600:1f18:0:ab00::4"]);
}
