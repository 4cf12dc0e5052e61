use ec2_endpoint::{
    Answer, AssignPrivateIpAddresses, AssociateAddress, DescribeAddresses, DisassociateAddress, Launch, Operation,
    account::model::InstanceState,
};

use crate::world::{World, world};

fn associate(call: AssociateAddress) -> Operation {
    Operation::AssociateAddress(call)
}

fn disassociate(association_id: &str) -> Operation {
    let association_id = Some(association_id.to_owned());
    Operation::DisassociateAddress(DisassociateAddress { association_id, ..Default::default() })
}

#[test]
fn an_address_points_at_the_primary_address_and_shows_the_instance() {
    let mut world = world();
    let id = world.associate(world.association_to(&world.a.clone()));
    let eip = world.eip.clone();
    let view = world.address(&eip);
    let association = view.address.association.clone().unwrap();
    assert_eq!((association.id, association.private_ip.to_string()), (id, "10.0.1.11".to_owned()));
    assert_eq!(view.instance_id.as_ref(), Some(&world.a.instance_id));
}

#[test]
fn reassociation_is_automatic_unless_it_is_ruled_out() {
    let mut world = world();
    world.associate(world.association_to(&world.a.clone()));
    let to_b = world.association_to(&world.b.clone());
    let only_if_free = AssociateAddress { allow_reassociation: Some(false), ..to_b.clone() };
    assert_eq!(world.code(associate(only_if_free)), "Resource.AlreadyAssociated");
    for allow_reassociation in [None, Some(true)] {
        world.associate(world.association_to(&world.a.clone()));
        world.associate(AssociateAddress { allow_reassociation, ..to_b.clone() });
        let eip = world.eip.clone();
        assert_eq!(world.points_at(&eip).unwrap().0, world.eni(&world.b));
    }
}

#[test]
fn a_free_address_may_be_had_without_reassociation() {
    let mut world = world();
    let call = AssociateAddress { allow_reassociation: Some(false), ..world.association_to(&world.a.clone()) };
    assert_eq!(world.code(associate(call)), "OK");
}

#[test]
fn the_association_id_is_new_for_a_new_target_and_stays_for_the_same() {
    let mut world = world();
    let (a, b) = (world.a.clone(), world.b.clone());
    let first = world.associate(world.association_to(&a));
    let again = AssociateAddress { allow_reassociation: Some(false), ..world.association_to(&a) };
    assert_eq!(world.associate(again), first);
    let second = world.associate(world.association_to(&b));
    let third = world.associate(world.association_to(&a));
    assert!(first != second && second != third && first != third);
    assert_eq!(world.code(disassociate(&first)), "InvalidAssociationID.NotFound");
    assert_eq!(world.code(disassociate(&third)), "OK");
    assert_eq!(world.code(disassociate(&third)), "InvalidAssociationID.NotFound");
    let eip = world.eip.clone();
    assert_eq!(world.points_at(&eip), None);
}

#[test]
fn a_private_address_has_one_elastic_ip() {
    let mut world = world();
    let to_a = world.association_to(&world.a.clone());
    world.associate(to_a.clone());
    world.associate(AssociateAddress { allocation_id: Some(world.other_eip.clone()), ..to_a });
    let (eip, other) = (world.eip.clone(), world.other_eip.clone());
    assert_eq!(world.points_at(&eip), None);
    assert_eq!(world.points_at(&other).unwrap().0, world.eni(&world.a));
}

#[test]
fn a_private_address_that_carries_an_elastic_ip_gets_no_other_without_reassociation() {
    let mut world = world();
    let to_a = world.association_to(&world.a.clone());
    world.associate(to_a.clone());
    let other = AssociateAddress {
        allocation_id: Some(world.other_eip.clone()),
        allow_reassociation: Some(false),
        ..to_a.clone()
    };
    let (eip, other_eip, public) = (world.eip.clone(), world.other_eip.clone(), world.address(&world.eip.clone()));
    let refused = world.apply(associate(other.clone())).unwrap_err();
    assert_eq!(refused.code, "Resource.AlreadyAssociated");
    for named in [world.eni(&world.a), "10.0.1.11".to_owned(), public.address.public_ip.to_string()] {
        assert!(refused.message.contains(&named), "{}", refused.message);
    }
    assert_eq!(world.points_at(&eip).unwrap().1, "10.0.1.11", "the first one stays");
    assert_eq!(world.points_at(&other_eip), None);

    world.associate(AssociateAddress { allow_reassociation: None, ..other.clone() });
    assert_eq!(world.points_at(&eip), None, "reassociation is automatic, and one address carries one");
    assert_eq!(world.points_at(&other_eip).unwrap().1, "10.0.1.11");
    let free = world.association_to(&world.b.clone());
    let elsewhere = AssociateAddress { allow_reassociation: Some(false), ..free };
    assert_eq!(world.code(associate(elsewhere)), "OK", "another private address is free");
}

#[test]
fn a_secondary_private_address_can_have_its_own() {
    let mut world = world();
    let to_a = world.association_to(&world.a.clone());
    let private = Some("10.0.1.50".to_owned());
    let secondary = AssociateAddress {
        allocation_id: Some(world.other_eip.clone()),
        private_ip_address: private.clone(),
        ..to_a.clone()
    };
    assert_eq!(world.code(associate(secondary.clone())), "InvalidParameterValue");
    world
        .apply(Operation::AssignPrivateIpAddresses(AssignPrivateIpAddresses {
            network_interface_id: world.eni(&world.a),
            private_ip_addresses: private.into_iter().collect(),
            ..Default::default()
        }))
        .unwrap();
    world.associate(to_a);
    world.associate(secondary);
    let (eip, other) = (world.eip.clone(), world.other_eip.clone());
    assert_eq!(world.points_at(&eip).unwrap().1, "10.0.1.11");
    assert_eq!(world.points_at(&other).unwrap().1, "10.0.1.50");
}

#[test]
fn what_cannot_be_associated_is_refused() {
    let world = world();
    let to_a = world.association_to(&world.a);
    let cases: Vec<(&str, AssociateAddress)> = vec![
        ("MissingParameter", AssociateAddress { allocation_id: None, ..to_a.clone() }),
        ("MissingParameter", AssociateAddress { network_interface_id: None, ..to_a.clone() }),
        (
            "InvalidParameterCombination",
            AssociateAddress { instance_id: Some(world.a.instance_id.clone()), ..to_a.clone() },
        ),
        ("InvalidParameterCombination", AssociateAddress { public_ip: Some("203.0.113.10".into()), ..to_a.clone() }),
        (
            "InvalidParameterValue",
            AssociateAddress { allocation_id: None, public_ip: Some("203.0.113.10".into()), ..to_a.clone() },
        ),
        (
            "InvalidAllocationID.NotFound",
            AssociateAddress { allocation_id: Some("eipalloc-0123456789abcdef0".into()), ..to_a.clone() },
        ),
        ("InvalidAllocationID.NotFound", AssociateAddress { allocation_id: Some("junk".into()), ..to_a.clone() }),
        (
            "InvalidNetworkInterfaceID.NotFound",
            AssociateAddress { network_interface_id: Some("eni-0123456789abcdef0".into()), ..to_a.clone() },
        ),
        (
            "InvalidNetworkInterfaceId.Malformed",
            AssociateAddress { network_interface_id: Some("eni-1".into()), ..to_a.clone() },
        ),
        (
            "InvalidInstanceID.NotFound",
            AssociateAddress {
                network_interface_id: None,
                instance_id: Some("i-0123456789abcdef0".into()),
                ..to_a.clone()
            },
        ),
        ("InvalidParameterValue", AssociateAddress { private_ip_address: Some("10.0.1.12".into()), ..to_a.clone() }),
        ("InvalidParameterValue", AssociateAddress { private_ip_address: Some("junk".into()), ..to_a.clone() }),
        ("DryRunOperation", AssociateAddress { dry_run: true, ..to_a }),
    ];
    for (expected, call) in cases {
        assert_eq!(world.clone().code(associate(call.clone())), expected, "{call:?}");
    }
}

#[test]
fn an_instance_stands_for_its_interface_only_if_it_has_one_and_is_ready() {
    let mut world = world();
    let subnet = world.subnet.clone();
    let two = world.account.add_instance(Launch::in_subnet(&subnet).and_interface_in(&subnet)).unwrap();
    let by_instance = |world: &World, id: &str| AssociateAddress {
        network_interface_id: None,
        instance_id: Some(id.into()),
        ..world.association_to(&world.a)
    };
    let call = by_instance(&world, &two.instance_id);
    assert_eq!(world.code(associate(call)), "InvalidInstanceID");
    let a = world.a.instance_id.clone();
    let call = by_instance(&world, &a);
    world.account.set_instance_state(&a, InstanceState::Pending).unwrap();
    assert_eq!(world.code(associate(call.clone())), "IncorrectInstanceState");
    let by_interface = world.association_to(&world.a.clone());
    assert_eq!(world.code(associate(by_interface)), "IncorrectInstanceState");
    world.account.start_instance(&a).unwrap();
    assert_eq!(world.code(associate(call.clone())), "OK");
    world.account.terminate_instance(&a).unwrap();
    assert_eq!(world.code(associate(call)), "IncorrectInstanceState");
}

#[test]
fn without_an_internet_gateway_there_is_no_way_in() {
    let mut world = world();
    let vpc = world.vpc.clone();
    world.account.detach_internet_gateway(&vpc).unwrap();
    let call = world.association_to(&world.a.clone());
    assert_eq!(world.code(associate(call)), "Gateway.NotAttached");
}

#[test]
fn an_address_stays_through_a_stop_and_is_free_after_the_end() {
    let mut world = world();
    world.associate(world.association_to(&world.a.clone()));
    let (eip, a) = (world.eip.clone(), world.a.instance_id.clone());
    world.account.stop_instance(&a).unwrap();
    assert!(world.points_at(&eip).is_some());
    world.account.terminate_instance(&a).unwrap();
    assert_eq!(world.points_at(&eip), None);
    assert!(world.account.start_instance(&a).is_err(), "there is no way back");
}

#[test]
fn disassociation_wants_the_association() {
    let world = world();
    for (expected, call) in [
        ("MissingParameter", DisassociateAddress::default()),
        ("InvalidParameterValue", DisassociateAddress { public_ip: Some("203.0.113.10".into()), ..Default::default() }),
        (
            "InvalidParameterCombination",
            DisassociateAddress {
                public_ip: Some("203.0.113.10".into()),
                association_id: Some("eipassoc-1".into()),
                ..Default::default()
            },
        ),
        (
            "DryRunOperation",
            DisassociateAddress { association_id: Some("eipassoc-1".into()), dry_run: true, ..Default::default() },
        ),
    ] {
        assert_eq!(world.clone().code(Operation::DisassociateAddress(call)), expected);
    }
}

#[test]
fn addresses_are_found_by_public_ip() {
    let mut world = world();
    let mut found = |ips: &[&str]| {
        let public_ips = ips.iter().map(ToString::to_string).collect();
        let answer = world.apply(Operation::DescribeAddresses(DescribeAddresses { public_ips, ..Default::default() }));
        match answer {
            Ok(Answer::Addresses(addresses)) => addresses.len().to_string(),
            Ok(other) => panic!("{other:?}"),
            Err(error) => error.code.into_owned(),
        }
    };
    assert_eq!(found(&[]), "2");
    assert_eq!(found(&["203.0.113.11"]), "1");
    assert_eq!(found(&["203.0.113.11", "203.0.113.99"]), "InvalidAddress.NotFound");
    assert_eq!(found(&["junk"]), "InvalidAddress.Malformed");
}
