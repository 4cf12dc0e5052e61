use ec2_endpoint::{
    DeleteRoute, Launch, Operation, RouteChange,
    account::model::{RouteOrigin, RouteTarget},
    answer::RouteState,
};

use crate::world::{World, world};

const VIP: &str = "20.0.0.50/32";

fn create(call: RouteChange) -> Operation {
    Operation::CreateRoute(call)
}

fn replace(call: RouteChange) -> Operation {
    Operation::ReplaceRoute(call)
}

fn delete(world: &World, destination: &str) -> Operation {
    Operation::DeleteRoute(DeleteRoute {
        route_table_id: world.table.clone(),
        destination_cidr_block: Some(destination.into()),
        ..Default::default()
    })
}

fn target(world: &mut World, destination: &str) -> Option<RouteTarget> {
    world.described_route(destination).map(|route| route.target)
}

#[test]
fn a_route_is_created_once_and_replaced_ever_after() {
    let mut world = world();
    let (to_a, to_b) = (world.route(VIP, &world.a), world.route(VIP, &world.b));
    assert_eq!(world.code(replace(to_a.clone())), "InvalidParameterValue");
    assert_eq!(world.code(create(to_a.clone())), "OK");
    assert_eq!(world.code(create(to_a.clone())), "RouteAlreadyExists");
    assert_eq!(world.code(create(to_b.clone())), "RouteAlreadyExists");
    let route = world.described_route(VIP).unwrap();
    assert_eq!(route.target, RouteTarget::NetworkInterface(world.eni(&world.a)));
    assert_eq!(route.instance_id.as_ref(), Some(&world.a.instance_id));
    assert_eq!((route.state, route.origin), (RouteState::Active, RouteOrigin::CreateRoute));
    assert_eq!(world.code(replace(to_b.clone())), "OK");
    assert_eq!(world.code(replace(to_b)), "OK");
    assert_eq!(target(&mut world, VIP), Some(RouteTarget::NetworkInterface(world.eni(&world.b))));
}

#[test]
fn replacing_what_is_not_there_says_so_in_the_words_that_callers_look_for() {
    let mut world = world();
    let call = world.route(VIP, &world.a);
    let error = world.apply(replace(call)).unwrap_err();
    assert_eq!(error.code, "InvalidParameterValue");
    assert!(error.message.starts_with("There is no route defined for '20.0.0.50/32' in the route table."));
}

#[test]
fn a_route_is_deleted_by_its_exact_destination() {
    let mut world = world();
    let call = world.route("100.68.0.18/18", &world.a);
    assert_eq!(world.code(create(call)), "OK");
    assert!(target(&mut world, "100.68.0.0/18").is_some(), "the network is kept, not the host bits");
    for (destination, expected) in [
        ("100.68.0.18/18", "InvalidRoute.NotFound"),
        ("100.68.0.0/18", "OK"),
        ("100.68.0.0/18", "InvalidRoute.NotFound"),
        ("10.0.0.0/16", "InvalidParameterValue"),
        ("junk", "InvalidParameterValue"),
    ] {
        let call = delete(&world, destination);
        assert_eq!(world.code(call), expected, "{destination}");
    }
}

#[test]
fn the_vpc_keeps_its_own_range_to_itself() {
    let mut world = world();
    for (destination, expected) in [
        ("10.0.1.50/32", "InvalidParameterValue"),
        ("10.0.0.0/16", "RouteAlreadyExists"),
        ("10.0.0.0/8", "OK"),
        // The whole of a subnet may be led through an interface.
        ("10.0.1.0/24", "OK"),
        ("10.0.3.0/24", "InvalidParameterValue"),
        ("169.254.168.1/32", "InvalidParameterValue"),
        ("169.254.160.0/19", "OK"),
    ] {
        let call = world.route(destination, &world.a);
        assert_eq!(world.code(create(call)), expected, "{destination}");
    }
}

#[test]
fn ipv6_routes_are_routes_of_their_own() {
    let mut world = world();
    let to = |world: &World, destination: &str| RouteChange {
        destination_cidr_block: None,
        destination_ipv6_cidr_block: Some(destination.into()),
        ..world.route(VIP, &world.a)
    };
    for (destination, expected) in [
        ("2001:db8::50/128", "OK"),
        ("2001:db8::50/128", "RouteAlreadyExists"),
        ("2600:1f18:0:ab00::50/128", "InvalidParameterValue"),
        ("fd00:ec2::254/128", "InvalidParameterValue"),
        ("20.0.0.50/32", "InvalidParameterValue"),
    ] {
        let call = to(&world, destination);
        assert_eq!(world.code(create(call)), expected, "{destination}");
    }
}

#[test]
fn what_makes_no_route_is_refused() {
    let mut world = world();
    let foreign_vpc = world.account.add_vpc("10.9.0.0/16", None).unwrap();
    let foreign_subnet = world.account.add_subnet(&foreign_vpc, "10.9.1.0/24", "us-east-1a").unwrap();
    let foreign = world.account.add_instance(Launch::in_subnet(&foreign_subnet)).unwrap();
    let two = world.account.add_instance(Launch::in_subnet(&world.subnet).and_interface_in(&world.subnet)).unwrap();
    let route = world.route(VIP, &world.a);
    let without_target = RouteChange { network_interface_id: None, ..route.clone() };
    let foreign_gateway = world.account.vpc(&foreign_vpc).unwrap().internet_gateway.clone();
    let cases: Vec<(&str, RouteChange)> = vec![
        (
            "InvalidRouteTableID.NotFound",
            RouteChange { route_table_id: "rtb-0123456789abcdef0".into(), ..route.clone() },
        ),
        ("InvalidRouteTableId.Malformed", RouteChange { route_table_id: "rtb-x".into(), ..route.clone() }),
        ("MissingParameter", RouteChange { destination_cidr_block: None, ..route.clone() }),
        (
            "InvalidParameterCombination",
            RouteChange { destination_ipv6_cidr_block: Some("2001:db8::/64".into()), ..route.clone() },
        ),
        ("InvalidParameterValue", RouteChange { destination_cidr_block: Some("20.0.0.50".into()), ..route.clone() }),
        ("MissingParameter", without_target.clone()),
        (
            "InvalidParameterCombination",
            RouteChange { instance_id: Some(world.a.instance_id.clone()), ..route.clone() },
        ),
        (
            "InvalidNetworkInterfaceID.NotFound",
            RouteChange { network_interface_id: Some("eni-0123456789abcdef0".into()), ..route.clone() },
        ),
        ("InvalidParameterValue", world.route(VIP, &foreign)),
        ("InvalidInstanceID", RouteChange { instance_id: Some(two.instance_id), ..without_target.clone() }),
        (
            "InvalidInternetGatewayID.NotFound",
            RouteChange { gateway_id: Some("igw-0123456789abcdef0".into()), ..without_target.clone() },
        ),
        ("InvalidParameterValue", RouteChange { gateway_id: foreign_gateway, ..without_target }),
        ("DryRunOperation", RouteChange { dry_run: true, ..route }),
    ];
    for (expected, call) in cases {
        assert_eq!(world.code(create(call.clone())), expected, "{call:?}");
    }
    assert_eq!(target(&mut world, VIP), None);
}

#[test]
fn a_target_that_is_not_there_makes_a_blackhole_and_can_be_replaced() {
    let mut world = world();
    let (a, eni_a) = (world.a.instance_id.clone(), world.eni(&world.a));
    let (to_a, to_b) = (world.route(VIP, &world.a), world.route(VIP, &world.b));
    world.apply(create(to_a)).unwrap();
    let state = |world: &mut World| world.described_route(VIP).unwrap().state;

    world.account.stop_instance(&a).unwrap();
    assert_eq!(state(&mut world), RouteState::Blackhole);
    world.account.start_instance(&a).unwrap();
    assert_eq!(state(&mut world), RouteState::Active);

    world.account.terminate_instance(&a).unwrap();
    let route = world.described_route(VIP).unwrap();
    assert_eq!((route.state, route.instance_id), (RouteState::Blackhole, None));
    assert_eq!(route.target, RouteTarget::NetworkInterface(eni_a), "the route still names what is gone");

    assert_eq!(world.code(replace(to_b)), "OK");
    assert_eq!(state(&mut world), RouteState::Active);
    let eni_b = world.eni(&world.b);
    world.account.delete_interface(&eni_b).unwrap();
    assert_eq!(state(&mut world), RouteState::Blackhole);
}

#[test]
fn an_interface_that_outlives_its_instance_leads_nowhere() {
    let mut world = world();
    let (eni, instance) = (world.eni(&world.a), world.a.instance_id.clone());
    let to_a = world.route(VIP, &world.a);
    world.apply(create(to_a)).unwrap();
    world.account.set_delete_on_termination(&eni, false).unwrap();
    world.account.terminate_instance(&instance).unwrap();
    assert!(world.account.eni(&eni).unwrap().attachment.is_none());
    assert_eq!(world.described_route(VIP).unwrap().state, RouteState::Blackhole);
}

#[test]
fn a_table_holds_only_so_many_routes_of_a_family() {
    let mut world = world();
    let table = world.table.clone();
    world.account.set_route_limit(&table, 2).unwrap();
    for (destination, expected) in [("20.0.0.1/32", "OK"), ("20.0.0.2/32", "RouteLimitExceeded")] {
        let call = world.route(destination, &world.a);
        assert_eq!(world.code(create(call)), expected);
    }
    let ipv6 = RouteChange {
        destination_cidr_block: None,
        destination_ipv6_cidr_block: Some("2001:db8::50/128".into()),
        ..world.route(VIP, &world.a)
    };
    assert_eq!(world.code(create(ipv6)), "OK");
}

#[test]
fn the_local_route_can_be_led_elsewhere_and_back() {
    let mut world = world();
    let local = "10.0.0.0/16";
    let through_a = world.route(local, &world.a);
    assert_eq!(world.code(replace(through_a.clone())), "OK");
    assert_eq!(target(&mut world, local), Some(RouteTarget::NetworkInterface(world.eni(&world.a))));
    let call = delete(&world, local);
    assert_eq!(world.code(call), "InvalidParameterValue");
    let back = RouteChange { network_interface_id: None, local_target: true, ..through_a };
    assert_eq!(world.code(replace(back.clone())), "OK");
    assert_eq!(target(&mut world, local), Some(RouteTarget::Local));

    let to_a = world.route(VIP, &world.a);
    world.apply(create(to_a)).unwrap();
    let not_local = RouteChange { destination_cidr_block: Some(VIP.into()), ..back };
    assert_eq!(world.code(replace(not_local)), "InvalidParameterValue");
}

#[test]
fn an_internet_gateway_is_a_target_as_long_as_it_is_attached() {
    let mut world = world();
    let gateway_id = world.account.vpc(&world.vpc).unwrap().internet_gateway.clone();
    let call = RouteChange {
        gateway_id,
        network_interface_id: None,
        destination_cidr_block: Some("0.0.0.0/0".into()),
        ..world.route(VIP, &world.a)
    };
    assert_eq!(world.code(create(call)), "OK");
    assert_eq!(world.described_route("0.0.0.0/0").unwrap().state, RouteState::Active);
    let vpc = world.vpc.clone();
    world.account.detach_internet_gateway(&vpc).unwrap();
    assert_eq!(world.described_route("0.0.0.0/0").unwrap().state, RouteState::Blackhole);
}
