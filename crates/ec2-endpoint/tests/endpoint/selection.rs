//! Ids, filters and pages: what the describe calls have in common.

use ec2_endpoint::{Answer, Describe, Operation, RouteChange};

use crate::world::{World, code, world};

fn interfaces(world: &mut World, call: Describe) -> Vec<String> {
    match world.apply(Operation::DescribeNetworkInterfaces(call)) {
        Ok(Answer::NetworkInterfaces(page)) => page.items.iter().map(|view| view.eni.id.clone()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn values_are_alternatives_and_filters_add_up() {
    let mut world = world();
    let (a, b, c) = (world.eni(&world.a), world.eni(&world.b), world.eni(&world.c));
    let by_ip = |values: &[&str]| Describe::default().filter("private-ip-address", values);
    assert_eq!(interfaces(&mut world, by_ip(&["10.0.1.11", "10.0.1.12"])), [a.clone(), b.clone()]);
    assert_eq!(interfaces(&mut world, by_ip(&["10.0.1.*"])), [a.clone(), b.clone()]);
    assert_eq!(interfaces(&mut world, by_ip(&["10.0.?.13"])), [c]);
    let both = by_ip(&["10.0.1.*"]).filter("attachment.instance-id", &[&world.b.instance_id.clone()]);
    assert_eq!(interfaces(&mut world, both), std::slice::from_ref(&b));
    let ids_too = Describe { ids: vec![a], ..by_ip(&["10.0.1.12"]) };
    assert!(interfaces(&mut world, ids_too).is_empty());
}

#[test]
fn every_filter_of_the_interfaces_sees_what_the_interface_shows() {
    let mut world = world();
    let a = world.a.clone();
    let id = world.associate(world.association_to(&a));
    let (subnet, vpc, eip) = (world.subnet.clone(), world.vpc.clone(), world.eip.clone());
    for (filter, value, found) in [
        ("addresses.private-ip-address", "10.0.1.11", 1),
        ("addresses.primary", "true", 3),
        ("addresses.primary", "false", 0),
        ("association.public-ip", "203.0.113.10", 1),
        ("addresses.association.public-ip", "203.0.113.11", 0),
        ("association.allocation-id", &eip, 1),
        ("association.association-id", &id, 1),
        ("attachment.device-index", "0", 3),
        ("attachment.status", "attached", 3),
        ("availability-zone", "us-east-1b", 1),
        ("source-dest-check", "true", 3),
        ("source-dest-check", "false", 0),
        ("status", "in-use", 3),
        ("subnet-id", &subnet, 2),
        ("vpc-id", &vpc, 3),
        ("tag-key", "Name", 0),
        ("group-name", "default", 3),
        ("description", "?*", 0),
    ] {
        let call = Describe::default().filter(filter, &[value]);
        assert_eq!(interfaces(&mut world, call).len(), found, "{filter}={value}");
    }
}

#[test]
fn tables_are_found_by_their_routes_and_shown_with_all_of_them() {
    let mut world = world();
    let call = world.route("20.0.0.50/32", &world.a);
    world.apply(Operation::CreateRoute(call.clone())).unwrap();
    let ipv6 = RouteChange {
        destination_cidr_block: None,
        destination_ipv6_cidr_block: Some("2001:db8::50/128".into()),
        ..call
    };
    world.apply(Operation::CreateRoute(ipv6)).unwrap();
    let (instance, subnet) = (world.a.instance_id.clone(), world.subnet.clone());
    for (filter, value, found) in [
        ("route.destination-cidr-block", "20.0.0.50/32", 1),
        ("route.destination-ipv6-cidr-block", "2001:db8::50/128", 1),
        ("route.instance-id", &instance, 1),
        ("route.state", "active", 2),
        ("route.state", "blackhole", 0),
        ("route.origin", "CreateRoute", 1),
        ("route.gateway-id", "local", 2),
        ("route.nat-gateway-id", "*", 0),
        ("association.main", "true", 1),
        ("association.subnet-id", &subnet, 1),
    ] {
        let call = Describe::default().filter(filter, &[value]);
        let Ok(Answer::RouteTables(page)) = world.apply(Operation::DescribeRouteTables(call)) else { panic!() };
        assert_eq!(page.items.len(), found, "{filter}={value}");
        if filter == "route.destination-cidr-block" {
            assert_eq!(page.items[0].routes.len(), 4, "all routes, not only those that matched");
        }
    }
}

#[test]
fn what_cannot_be_selected_is_refused() {
    let world = world();
    let eni = world.eni(&world.a);
    let paged = |max_results| Describe { max_results: Some(max_results), ..Describe::default() };
    let many: Vec<String> = (0..201).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (expected, operation) in [
        (
            "InvalidParameterValue",
            Operation::DescribeNetworkInterfaces(Describe::default().filter("colour", &["blue"])),
        ),
        ("InvalidParameterValue", Operation::DescribeRouteTables(Describe::default().filter("tag:", &["x"]))),
        ("InvalidParameterValue", Operation::DescribeRouteTables(Describe::default().filter("VPC-ID", &["x"]))),
        (
            "InvalidParameterValue",
            Operation::DescribeRouteTables(Describe::default().filter("route.network-interface-id", &[&eni])),
        ),
        ("MissingParameter", Operation::DescribeVpcs(Describe::default().filter("vpc-id", &[]))),
        ("FilterLimitExceeded", Operation::DescribeVpcs(Describe::default().filter("vpc-id", &many))),
        ("OK", Operation::DescribeVpcs(Describe::default().filter("vpc-id", &many[1..]))),
        ("InvalidParameterCombination", Operation::DescribeNetworkInterfaces(Describe { ids: vec![eni], ..paged(5) })),
        (
            "InvalidParameterCombination",
            Operation::DescribeInstances(Describe { ids: vec![world.a.instance_id.clone()], ..paged(5) }),
        ),
        ("OK", Operation::DescribeRouteTables(Describe { ids: vec![world.table.clone()], ..paged(5) })),
        ("InvalidParameterValue", Operation::DescribeRouteTables(paged(4))),
        ("InvalidParameterValue", Operation::DescribeRouteTables(paged(101))),
        ("OK", Operation::DescribeRouteTables(paged(100))),
        ("InvalidParameterValue", Operation::DescribeTags(paged(1001))),
        ("OK", Operation::DescribeTags(paged(1000))),
        (
            "InvalidNextToken",
            Operation::DescribeTags(Describe { next_token: Some("junk".into()), ..Describe::default() }),
        ),
        ("InvalidNetworkInterfaceId.Malformed", Operation::DescribeNetworkInterfaces(Describe::ids(["eni-1"]))),
        ("InvalidInstanceID.NotFound", Operation::DescribeInstances(Describe::ids(["i-0123456789abcdef0"]))),
        ("InvalidInstanceID.Malformed", Operation::DescribeInstances(Describe::ids(["i-x"]))),
        ("InvalidSubnetID.NotFound", Operation::DescribeSubnets(Describe::ids(["subnet-0123456789abcdef0"]))),
        ("InvalidVpcID.NotFound", Operation::DescribeVpcs(Describe::ids(["vpc-0123456789abcdef0"]))),
        ("InvalidGroup.NotFound", Operation::DescribeSecurityGroups(Describe::ids(["sg-0123456789abcdef0"]))),
        ("DryRunOperation", Operation::DescribeVpcs(Describe { dry_run: true, ..Describe::default() })),
    ] {
        let result = world.clone().apply(operation.clone());
        assert_eq!(code(&result), expected, "{operation:?}");
    }
}

#[test]
fn pages_show_everything_once_also_while_things_go() {
    let mut world = world();
    for _ in 0..11 {
        world.account.add_interface(&world.subnet.clone(), None).unwrap();
    }
    let everything = interfaces(&mut world, Describe::default());
    assert_eq!(everything.len(), 14);
    let mut seen = Vec::new();
    let mut pages = Vec::new();
    let mut next_token = None;
    loop {
        let call = Describe { max_results: Some(5), next_token, ..Describe::default() };
        let Ok(Answer::NetworkInterfaces(page)) = world.apply(Operation::DescribeNetworkInterfaces(call)) else {
            panic!()
        };
        pages.push(page.items.len());
        seen.extend(page.items.iter().map(|view| view.eni.id.clone()));
        if pages.len() == 1 {
            // The item that the token names is gone before the token is used.
            world.account.delete_interface(&seen[4]).unwrap();
        }
        next_token = page.next_token;
        if next_token.is_none() {
            break;
        }
    }
    assert_eq!((pages, seen), (vec![5, 5, 4], everything));
}
