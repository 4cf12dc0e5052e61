use ec2_endpoint::{Answer, Describe, ModifyNetworkInterfaceAttribute, Operation};

use crate::world::world;

fn modify(call: ModifyNetworkInterfaceAttribute) -> Operation {
    Operation::ModifyNetworkInterfaceAttribute(call)
}

#[test]
fn the_source_destination_check_is_on_until_it_is_switched_off() {
    let mut world = world();
    let a = world.a.clone();
    assert!(world.described_eni(&a).eni.source_dest_check);
    let off = ModifyNetworkInterfaceAttribute {
        network_interface_id: world.eni(&a),
        source_dest_check: Some(false),
        ..Default::default()
    };
    for _ in 0..2 {
        assert_eq!(world.code(modify(off.clone())), "OK");
        assert!(!world.described_eni(&a).eni.source_dest_check);
    }
    assert!(world.described_eni(&world.b.clone()).eni.source_dest_check, "only the interface that was named");
}

#[test]
fn one_attribute_is_changed_at_a_time() {
    let world = world();
    let base = ModifyNetworkInterfaceAttribute {
        network_interface_id: world.eni(&world.a),
        source_dest_check: Some(false),
        ..Default::default()
    };
    for (expected, call) in [
        ("InvalidParameterCombination", ModifyNetworkInterfaceAttribute { source_dest_check: None, ..base.clone() }),
        (
            "InvalidParameterCombination",
            ModifyNetworkInterfaceAttribute { description: Some("x".into()), ..base.clone() },
        ),
        (
            "InvalidNetworkInterfaceID.NotFound",
            ModifyNetworkInterfaceAttribute { network_interface_id: "eni-0123456789abcdef0".into(), ..base.clone() },
        ),
        (
            "InvalidGroup.NotFound",
            ModifyNetworkInterfaceAttribute {
                source_dest_check: None,
                groups: vec!["sg-0123456789abcdef0".into()],
                ..base.clone()
            },
        ),
        ("DryRunOperation", ModifyNetworkInterfaceAttribute { dry_run: true, ..base }),
    ] {
        assert_eq!(world.clone().code(modify(call)), expected);
    }
}

#[test]
fn an_interface_shows_its_elastic_ip_where_it_points() {
    let mut world = world();
    let (a, b) = (world.a.clone(), world.b.clone());
    world.associate(world.association_to(&a));
    let view = world.described_eni(&a);
    let elastic_ip = view.elastic_ip_at(view.eni.primary_ip()).unwrap();
    assert_eq!(elastic_ip.public_ip.to_string(), "203.0.113.10");
    world.associate(world.association_to(&b));
    assert!(world.described_eni(&a).elastic_ips.is_empty(), "the old interface has lost it");
}

#[test]
fn instances_show_their_interfaces_and_state() {
    let mut world = world();
    let id = world.a.instance_id.clone();
    world.account.stop_instance(&id).unwrap();
    let filter = Describe::default().filter("instance-state-name", &["stopped"]);
    let Ok(Answer::Instances(page)) = world.apply(Operation::DescribeInstances(filter)) else { panic!() };
    let [view] = &page.items[..] else { panic!("{page:?}") };
    assert_eq!((&view.instance.id, view.interfaces.len()), (&id, 1));
    assert_eq!(view.interfaces[0].eni.id, world.eni(&world.a));
    assert!(!view.is_gone());
}

#[test]
fn subnets_count_their_free_addresses() {
    let mut world = world();
    let call = Describe::ids([world.subnet.clone()]);
    let Ok(Answer::Subnets(page)) = world.apply(Operation::DescribeSubnets(call)) else { panic!() };
    assert_eq!(page.items[0].available, 256 - 5 - 2);
}
