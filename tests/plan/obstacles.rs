//! Each obstacle to a takeover, as the reads show it, and the nearest case that is none.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vipkeeper::binding::{Account, OnRelease};
use vipkeeper::config::{
    AddressConfig, Config, ElasticIpConfig, RouteConfig, SecondaryIpConfig, TableRef, Tables, VipConfig,
};
use vipkeeper::ec2::{Address, Eni, EniQuery, Route, RouteTable, RouteTarget};
use vipkeeper::identity::{Blocks, Node, NodeInterface};
use vipkeeper::observe::obstacles::{ObstacleName, obstacles};
use vipkeeper::observe::{Known, LastRead, World, observe};

fn read<T>(value: T) -> LastRead<T> {
    LastRead::Read { value, at: Duration::from_secs(7) }
}

/// Node `a`, whose ENI `eni-a` is at 10.0.1.9 in the subnet 10.0.1.0/24.
fn known() -> Known {
    let blocks = Blocks {
        subnet: ["10.0.1.0/24", "fd00:1::/64"].map(|block| block.parse().unwrap()).into(),
        vpc: ["10.0.0.0/16", "fd00:1::/56"].map(|block| block.parse().unwrap()).into(),
    };
    let interface = NodeInterface {
        eni: "eni-a".parse().unwrap(),
        mac: None,
        primary_ip: Some(Ipv4Addr::new(10, 0, 1, 9)),
        subnet: "subnet-1".parse().ok(),
        vpc: "vpc-1".parse().ok(),
        blocks,
        first_name: None,
        device_below: None,
    };
    Known::new(Node {
        instance: "i-a".parse().unwrap(),
        region: "eu-central-1".to_owned(),
        first: Some("eth0".to_owned()),
        interfaces: [("eth0".to_owned(), interface)].into(),
        missing: BTreeMap::new(),
    })
}

fn eni(id: &str, primary: &str) -> Eni {
    let primary: Ipv4Addr = primary.parse().unwrap();
    Eni {
        id: id.parse().unwrap(),
        instance: None,
        subnet: "subnet-1".parse().ok(),
        vpc: "vpc-1".parse().ok(),
        mac: None,
        primary_ip: Some(primary),
        private_ips: [primary].into(),
        ipv6: [].into(),
        source_dest_check: Some(false),
    }
}

/// An account with an Elastic IP, one route table, and the ENIs of the nodes `a` and `b`.
fn world() -> World {
    let address = Address {
        public_ip: "203.0.113.10".parse().unwrap(),
        allocation: "eipalloc-1".parse().unwrap(),
        association: None,
        eni: None,
        instance: None,
        private_ip: None,
        tags: BTreeMap::new(),
    };
    let local = RouteTarget::Other("local".to_owned());
    let route = Route { destination: "10.7.0.0/16".parse().unwrap(), target: local, instance: None, blackhole: false };
    let table = RouteTable {
        id: "rtb-1".parse().unwrap(),
        vpc: "vpc-1".parse().ok(),
        routes: vec![route],
        tags: BTreeMap::new(),
    };
    World {
        addresses: read(vec![address]),
        tables: [(Account::Own, read(vec![table]))].into(),
        interfaces: read((EniQuery::Ids([].into()), vec![eni("eni-a", "10.0.1.9"), eni("eni-b", "10.0.1.8")])),
        ..World::default()
    }
}

fn address(ip: &str) -> AddressConfig {
    AddressConfig { address: ip.parse().unwrap(), elastic_ip: None, route: None, secondary_ip: None }
}

fn elastic(private_ip: Option<&str>) -> AddressConfig {
    let private_ip = private_ip.map(|ip| ip.parse().unwrap());
    let elastic_ip = Some(ElasticIpConfig { allocation_id: None, interface: None, private_ip });
    AddressConfig { elastic_ip, ..address("203.0.113.10") }
}

fn secondary(ip: &str) -> AddressConfig {
    AddressConfig { secondary_ip: Some(SecondaryIpConfig { interface: None }), ..address(ip) }
}

fn routed(ip: &str) -> AddressConfig {
    let tables = Tables::Ids([TableRef { id: "rtb-1".parse().unwrap(), account: Account::Own }].into());
    let route = Some(RouteConfig { tables, interface: None, on_release: OnRelease::Keep });
    AddressConfig { route, ..address(ip) }
}

/// The obstacles to a takeover of these addresses as one VIP, as words.
fn found(addresses: Vec<AddressConfig>, world: &World) -> Vec<&'static str> {
    let delegate_ip: IpAddr = addresses[0].address;
    let config = Config::with_vips(vec![VipConfig { delegate_ip, addresses, anchor: None }]);
    let mut known = known();
    known.learn(world);
    let (vip, _) = observe(&config, &config.vips[0], &known, world);
    obstacles(&config, &vip, &known, world).iter().map(|(_, obstacle)| obstacle.name().name()).collect()
}

#[test]
fn each_obstacle_is_found_and_its_nearest_neighbour_is_none() {
    let found = |addresses| found(addresses, &world());
    for (addresses, wanted) in [
        (vec![elastic(Some("10.0.1.70"))], Some(ObstacleName::NotOnEni)),
        (vec![elastic(Some("10.0.1.9"))], None),
        (vec![elastic(None)], None),
        // This address comes with its own binding.
        (vec![elastic(Some("10.0.1.70")), secondary("10.0.1.70")], None),
        (vec![secondary("10.0.2.50")], Some(ObstacleName::OutsideSubnet)),
        (vec![secondary("fd00:2::50")], Some(ObstacleName::OutsideSubnet)),
        (vec![secondary("fd00:1::50")], None),
        (vec![secondary("10.0.1.3")], Some(ObstacleName::KeptByAws)),
        (vec![secondary("10.0.1.4")], None),
        (vec![secondary("10.0.1.254")], None),
        (vec![secondary("10.0.1.255")], Some(ObstacleName::KeptByAws)),
        // The binding itself says that a primary address does not move.
        (vec![secondary("10.0.1.8")], None),
        (vec![routed("10.0.200.50")], Some(ObstacleName::InsideVpc)),
        // The table's own local route shows a block that this node's metadata service did not name.
        (vec![routed("10.7.0.50")], Some(ObstacleName::InsideVpc)),
        (vec![routed("10.8.0.50")], None),
        (vec![routed("20.0.0.50")], None),
    ] {
        let wanted: Vec<_> = wanted.iter().map(|name: &ObstacleName| name.name()).collect();
        assert_eq!(found(addresses.clone()), wanted, "{addresses:?}");
    }
}

#[test]
fn a_table_of_another_vpc_and_an_anchor_without_room_are_obstacles() {
    let with = |change: &dyn Fn(&mut RouteTable)| {
        let mut world = world();
        let Some(LastRead::Read { value, .. }) = world.tables.get_mut(&Account::Own) else { unreachable!() };
        change(&mut value[0]);
        found(vec![routed("20.0.0.50")], &world)
    };
    let tags = |count: usize| (0..count).map(|n| (format!("tag-{n}"), String::new()));
    assert_eq!(with(&|table| table.vpc = "vpc-2".parse().ok()), ["other_vpc"]);
    assert_eq!(with(&move |table| table.tags.extend(tags(49))), [""; 0]);
    assert_eq!(with(&move |table| table.tags.extend(tags(50))), ["anchor_full"]);
    let with_own = |table: &mut RouteTable| {
        table.tags.extend((0..49).map(|n| (format!("tag-{n}"), String::new())));
        table.tags.insert("vipkeeper/20.0.0.50/i-a".to_owned(), "0".to_owned());
    };
    assert_eq!(with(&with_own), [""; 0], "its own tag is there already");
    let with_aws = |table: &mut RouteTable| {
        table.tags.extend((0..49).map(|n| (format!("tag-{n}"), String::new())));
        table.tags.insert("aws:cloudformation:stack-id".to_owned(), "x".to_owned());
    };
    assert_eq!(with(&with_aws), [""; 0], "AWS's own tags do not count");
}

#[test]
fn what_was_not_read_is_no_obstacle() {
    let nothing = World::default();
    for addresses in [vec![elastic(Some("10.0.1.70"))], vec![secondary("10.0.1.8")], vec![routed("10.7.0.50")]] {
        assert_eq!(found(addresses.clone(), &nothing), [""; 0], "{addresses:?}");
    }
}
