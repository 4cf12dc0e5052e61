//! Where each binding points, from a config and from everything that was read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use vipkeeper::binding::{Account, BindingKey, Kind, Obstacle, OnRelease, Vip};
use vipkeeper::config::{
    AddressConfig, AnchorConfig, Config, ElasticIpConfig, RouteConfig, SecondaryIpConfig, TableRef, Tables, VipConfig,
};
use vipkeeper::ec2::{Address, Class, Eni, EniQuery, Route, RouteTable, RouteTarget};
use vipkeeper::identity::{Blocks, Node, NodeInterface};
use vipkeeper::machine::kernel::{LocalAddress, LocalView, Presence};
use vipkeeper::observe::cause::FailedRead;
use vipkeeper::observe::seen::{Moment, Observed, Seen};
use vipkeeper::observe::{Known, LastRead, World, observe};

pub const AT: Moment = Duration::from_secs(7);

fn address(ip: &str) -> AddressConfig {
    AddressConfig { address: ip.parse().unwrap(), elastic_ip: None, route: None, secondary_ip: None }
}

pub fn elastic(ip: &str) -> AddressConfig {
    let elastic_ip = Some(ElasticIpConfig { allocation_id: None, interface: None, private_ip: None });
    AddressConfig { elastic_ip, ..address(ip) }
}

pub fn routed(ip: &str, tables: Tables) -> AddressConfig {
    let route = Some(RouteConfig { tables, interface: None, on_release: OnRelease::Keep });
    AddressConfig { route, ..address(ip) }
}

pub fn secondary(ip: &str) -> AddressConfig {
    AddressConfig { secondary_ip: Some(SecondaryIpConfig { interface: None }), ..address(ip) }
}

pub fn tables(ids: &[&str]) -> Tables {
    Tables::Ids(ids.iter().map(|id| TableRef { id: id.parse().unwrap(), account: Account::Own }).collect())
}

pub fn config(addresses: Vec<AddressConfig>) -> Config {
    Config::with_vips(vec![VipConfig { delegate_ip: addresses[0].address, addresses, anchor: None }])
}

fn interface(eni: &str, ip: &str) -> NodeInterface {
    NodeInterface {
        eni: eni.parse().unwrap(),
        mac: None,
        primary_ip: Some(ip.parse().unwrap()),
        subnet: Some("subnet-1".parse().unwrap()),
        vpc: Some("vpc-1".parse().unwrap()),
        blocks: Blocks::default(),
        first_name: None,
        device_below: None,
    }
}

/// Node `a`: `eth0` is `eni-a0` at 10.0.0.9 in `subnet-1`, `eth1` is `eni-a1` at 10.0.1.9 in `subnet-2`.
pub fn known() -> Known {
    let eth1 = NodeInterface { subnet: "subnet-2".parse().ok(), ..interface("eni-a1", "10.0.1.9") };
    let interfaces = [("eth0", interface("eni-a0", "10.0.0.9")), ("eth1", eth1)];
    let interfaces = interfaces.map(|(name, interface)| (name.to_owned(), interface));
    Known::new(Node {
        instance: "i-a".parse().unwrap(),
        region: "eu-central-1".to_owned(),
        first: Some("eth0".to_owned()),
        interfaces: interfaces.into(),
        missing: BTreeMap::new(),
    })
}

pub fn read<T>(value: T) -> LastRead<T> {
    LastRead::Read { value, at: AT }
}

/// An Elastic IP `eipalloc-1` that leads to an ENI and an address, if any.
pub fn eip(ip: &str, eni: Option<(&str, &str)>, tags: &[(&str, &str)]) -> Address {
    Address {
        public_ip: ip.parse().unwrap(),
        allocation: "eipalloc-1".parse().unwrap(),
        association: eni.map(|_| "eipassoc-1".parse().unwrap()),
        eni: eni.map(|(eni, _)| eni.parse().unwrap()),
        instance: None,
        private_ip: eni.map(|(_, ip)| ip.parse().unwrap()),
        tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    }
}

pub fn table(id: &str, routes: &[(&str, RouteTarget, bool)], tags: &[(&str, &str)]) -> RouteTable {
    let routes = routes.iter().map(|(to, target, blackhole)| Route {
        destination: to.parse().unwrap(),
        target: target.clone(),
        instance: None,
        blackhole: *blackhole,
    });
    RouteTable {
        id: id.parse().unwrap(),
        vpc: Some("vpc-1".parse().unwrap()),
        routes: routes.collect(),
        tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    }
}

fn to(eni: &str) -> RouteTarget {
    RouteTarget::Eni(eni.parse().unwrap())
}

pub fn eni(id: &str, ips: &[&str], check: Option<bool>) -> Eni {
    let v4: Vec<Ipv4Addr> = ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    Eni {
        id: id.parse().unwrap(),
        instance: None,
        subnet: Some("subnet-1".parse().unwrap()),
        vpc: Some("vpc-1".parse().unwrap()),
        mac: None,
        primary_ip: v4.first().copied(),
        private_ips: v4.into_iter().collect(),
        ipv6: ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
        source_dest_check: check,
    }
}

fn by_address() -> EniQuery {
    holders_of("10.0.0.50")
}

fn holders_of(address: &str) -> EniQuery {
    EniQuery::PrivateIps { vpc: "vpc-1".parse().unwrap(), addresses: [address.parse().unwrap()].into() }
}

pub fn by_id() -> EniQuery {
    EniQuery::Ids(BTreeSet::new())
}

pub fn of_subnets() -> EniQuery {
    EniQuery::Subnets(["subnet-1", "subnet-2"].map(|subnet| subnet.parse().unwrap()).into())
}

/// The kernel's answer about 20.0.0.50, which it has on these interfaces with these prefix lengths.
fn kernel(entries: &[(&str, u8)]) -> LocalView {
    let address = "20.0.0.50".parse().unwrap();
    let entry = |(interface, prefix): &(&str, u8)| LocalAddress {
        interface: (*interface).to_owned(),
        address,
        prefix: *prefix,
    };
    LocalView { of: [(address, Presence::of_entries(entries.iter().map(entry)))].into(), ..LocalView::default() }
}

/// The answer of a kernel that has none of the addresses.
fn none_of(config: &Config) -> LocalView {
    let of = config.local_addresses().into_iter().map(|address| (address, Presence::default())).collect();
    LocalView { of, ..LocalView::default() }
}

pub fn resolve(config: &Config, known: &Known, world: &World) -> (Vip, Observed) {
    let mut known = known.clone();
    known.learn(world);
    observe(config, &config.vips[0], &known, world)
}

/// Compares what is seen of each binding, in words.
#[track_caller]
fn check(config: &Config, known: &Known, world: &World, wanted: &[&str]) {
    let (_, observed) = resolve(config, known, world);
    let seen: Vec<_> = observed
        .sights
        .iter()
        .map(|(key, sight)| {
            let seen = match &sight.seen {
                Seen::Here { association: Some(association) } => format!("here by {association}"),
                Seen::Here { association: None } => "here".to_owned(),
                Seen::Elsewhere(holder) => format!("elsewhere: {holder}"),
                Seen::Absent => "absent".to_owned(),
                Seen::Unknown(why) => format!("unknown: {why}"),
            };
            format!("{key} {seen}")
        })
        .collect();
    assert_eq!(seen, wanted);
}

#[test]
fn an_elastic_ip_is_compared_by_eni_and_private_address() {
    let config = config(vec![elastic("192.0.2.1")]);
    for (held, wanted) in [
        (Some(("eni-a0", "10.0.0.9")), "here by eipassoc-1"),
        (Some(("eni-a0", "10.0.0.77")), "elsewhere: eni-a0 10.0.0.77"),
        (Some(("eni-b0", "10.0.0.9")), "elsewhere: eni-b0"),
        (None, "absent"),
    ] {
        let world = World { addresses: read(vec![eip("192.0.2.1", held, &[])]), ..World::default() };
        check(&config, &known(), &world, &[&format!("elastic_ip 192.0.2.1 {wanted}")]);
    }
}

#[test]
fn elastic_ips_at_one_private_address_are_told_however_the_address_is_spelled() {
    let at = |public: &str, interface: Option<&str>, private: Option<&str>| {
        let mut address = elastic(public);
        let place = address.elastic_ip.as_mut().unwrap();
        place.interface = interface.map(str::to_owned);
        place.private_ip = private.map(|private| private.parse().unwrap());
        address
    };
    for (second, shared) in [
        (at("192.0.2.2", None, None), Some("10.0.0.9")),
        (at("192.0.2.2", Some("eth0"), None), Some("10.0.0.9")),
        (at("192.0.2.2", None, Some("10.0.0.9")), Some("10.0.0.9")),
        (at("192.0.2.2", Some("eth0"), Some("10.0.0.9")), Some("10.0.0.9")),
        (at("192.0.2.2", None, Some("10.0.0.10")), None),
        (at("192.0.2.2", Some("eth1"), None), None),
    ] {
        let spelled = format!("{second:?}");
        // In one VIP and in two: the first in the config has the place.
        let one = config(vec![elastic("192.0.2.1"), second.clone()]);
        let mut two = config(vec![elastic("192.0.2.1")]);
        two.vips.push(config(vec![second]).vips.remove(0));
        for (config, of_first) in [(&one, shared.is_some()), (&two, false)] {
            let obstacles: Vec<_> =
                config.vips.iter().map(|vip| observe(config, vip, &known(), &World::default()).0.obstacles).collect();
            let found: Vec<_> = obstacles.iter().flatten().collect();
            let wanted = shared.map(|private_ip| {
                let (first, private_ip) = ("192.0.2.1".parse().unwrap(), private_ip.parse().unwrap());
                let obstacle = Obstacle::SharedPlace { first, eni: "eni-a0".parse().unwrap(), private_ip };
                (BindingKey::new(Kind::ElasticIp, "192.0.2.2"), obstacle)
            });
            assert_eq!(found, wanted.iter().map(|(key, it)| (key, it)).collect::<Vec<_>>(), "{spelled}");
            assert_eq!(!obstacles[0].is_empty(), of_first, "{spelled}");
        }
    }
}

#[test]
fn an_elastic_ip_that_is_shown_in_part_is_not_taken_for_free_or_ours() {
    let config = config(vec![elastic("192.0.2.1")]);
    let mut shown = eip("192.0.2.1", Some(("eni-a0", "10.0.0.9")), &[]);
    shown.private_ip = None;
    let world = World { addresses: read(vec![shown.clone()]), ..World::default() };
    check(&config, &known(), &world, &["elastic_ip 192.0.2.1 elsewhere: eni-a0"]);
    shown.eni = None;
    let world = World { addresses: read(vec![shown]), ..World::default() };
    check(&config, &known(), &world, &["elastic_ip 192.0.2.1 elsewhere: eipassoc-1"]);
}

#[test]
fn an_elastic_ip_that_is_not_there_is_unknown_and_never_absent() {
    let config = config(vec![elastic("192.0.2.1")]);
    check(&config, &known(), &World::default(), &["elastic_ip 192.0.2.1 unknown: not read yet"]);
    let world = World { addresses: read(Vec::new()), ..World::default() };
    let missing =
        "elastic_ip 192.0.2.1 unknown: Elastic IP 192.0.2.1 does not exist, or not in this account and region";
    check(&config, &known(), &world, &[missing]);
    let failed =
        World { addresses: LastRead::Failed(FailedRead::of_class(Class::Transient, "no answer")), ..World::default() };
    check(&config, &known(), &failed, &["elastic_ip 192.0.2.1 unknown: the read failed: no answer"]);
}

#[test]
fn an_allocation_id_that_contradicts_the_address_is_said() {
    let mut config = config(vec![elastic("192.0.2.1")]);
    config.vips[0].addresses[0].elastic_ip.as_mut().unwrap().allocation_id = Some("eipalloc-2".parse().unwrap());
    let world = World { addresses: read(vec![eip("192.0.2.1", None, &[])]), ..World::default() };
    let wanted = "elastic_ip 192.0.2.1 unknown: 192.0.2.1 is eipalloc-1, but the config names eipalloc-2: \
                  correct allocation_id, or leave it out";
    check(&config, &known(), &world, &[wanted]);
}

#[test]
fn a_route_is_compared_by_its_eni_and_whether_it_is_alive() {
    let config = config(vec![routed("20.0.0.50", tables(&["rtb-1"]))]);
    for (routes, wanted) in [
        (vec![("20.0.0.50/32", to("eni-a0"), false)], "here"),
        (vec![("20.0.0.50/32", to("eni-a0"), true)], "elsewhere: eni-a0 (blackhole)"),
        (vec![("20.0.0.50/32", to("eni-b0"), false)], "elsewhere: eni-b0"),
        (vec![("20.0.0.50/32", RouteTarget::Other("i-a".to_owned()), false)], "elsewhere: i-a"),
        (vec![("20.0.0.0/24", to("eni-a0"), false)], "absent"),
    ] {
        let mut world = World::default();
        world.tables.insert(Account::Own, read(vec![table("rtb-1", &routes, &[])]));
        world.local = read(kernel(&[]));
        world.interfaces = read((by_id(), vec![eni("eni-a0", &["10.0.0.9"], Some(false))]));
        let wanted = format!("route rtb-1 {wanted}");
        check(&config, &known(), &world, &[&wanted, "local_address 20.0.0.50 absent", "source_dest_check eth0 here"]);
    }
}

#[test]
fn a_local_address_is_here_in_every_form_and_unknown_before_the_kernel_was_asked_for_it() {
    let config = config(vec![routed("20.0.0.50", tables(&["rtb-1"]))]);
    let by_route = Presence { route: Some("local 20.0.0.0/24 dev lo".to_owned()), ..Presence::default() };
    let by_route = LocalView { of: [("20.0.0.50".parse().unwrap(), by_route)].into(), ..LocalView::default() };
    for (view, wanted) in [
        (kernel(&[("eth0", 32)]), "here"),
        (kernel(&[("eth0", 24)]), "here"),
        (kernel(&[("ens6", 32)]), "here"),
        (by_route, "here"),
        (kernel(&[]), "absent"),
        // The config was changed while the kernel was being asked.
        (LocalView::default(), "unknown: not read yet"),
    ] {
        let world = World { local: read(view), ..World::default() };
        let wanted = format!("local_address 20.0.0.50 {wanted}");
        let unread = ["route rtb-1 unknown: not read yet", "source_dest_check eth0 unknown: not read yet"];
        check(&config, &known(), &world, &[unread[0], &wanted, unread[1]]);
    }
}

#[test]
fn the_primary_address_of_an_eni_is_no_vip() {
    let why = |address, eni| {
        format!(
            "unknown: {address} is the primary private address of {eni}, which cannot move: choose another address for \
             the VIP"
        )
    };
    // This node's own, as the metadata service tells.
    let own = config(vec![secondary("10.0.0.9")]);
    let world = World { local: read(none_of(&own)), ..World::default() };
    let wanted = ["secondary_ip", "local_address"].map(|kind| format!("{kind} 10.0.0.9 {}", why("10.0.0.9", "eni-a0")));
    check(&own, &known(), &world, &[&wanted[0], &wanted[1]]);
    // Another ENI's, as EC2 shows it. It may be one of this machine's that the config does not name.
    let other = config(vec![secondary("10.0.0.8")]);
    let enis = vec![eni("eni-a0", &["10.0.0.9"], None), eni("eni-c0", &["10.0.0.8"], None)];
    let world =
        World { interfaces: read((holders_of("10.0.0.8"), enis)), local: read(none_of(&other)), ..World::default() };
    let wanted = ["secondary_ip", "local_address"].map(|kind| format!("{kind} 10.0.0.8 {}", why("10.0.0.8", "eni-c0")));
    check(&other, &known(), &world, &[&wanted[0], &wanted[1]]);
}

#[test]
fn an_address_with_a_subnet_is_kept_while_the_own_primary_address_is_not_known() {
    let config = config(vec![routed("20.0.0.50", tables(&["rtb-1"]))]);
    let mut node = known().node().clone();
    for own in node.interfaces.values_mut() {
        (own.subnet, own.primary_ip, own.vpc) = (None, None, None);
    }
    let world = World { local: read(kernel(&[("eth0", 24), ("eth0", 32)])), ..World::default() };
    let kept = |known: &Known| -> Vec<Option<String>> {
        let (_, observed) = resolve(&config, known, &world);
        observed.local.into_values().flat_map(|presence| presence.entries.into_values()).map(|it| it.kept).collect()
    };
    let not_known = "the primary address of eni-a0 is not known yet".to_owned();
    assert_eq!(kept(&Known::new(node)), [Some(not_known), None]);
    assert_eq!(kept(&known()), [None, None]);
}

#[test]
fn each_route_table_is_seen_by_itself() {
    let config = config(vec![routed("20.0.0.50", tables(&["rtb-1", "rtb-2"]))]);
    let mut world = World::default();
    world.tables.insert(Account::Own, read(vec![table("rtb-1", &[("20.0.0.50/32", to("eni-a0"), false)], &[])]));
    world.local = read(kernel(&[("eth0", 32)]));
    world.interfaces = read((by_id(), vec![eni("eni-a0", &["10.0.0.9"], None)]));
    check(
        &config,
        &known(),
        &world,
        &[
            "route rtb-1 here",
            "route rtb-2 unknown: rtb-2 does not exist, or not in this account and region",
            "local_address 20.0.0.50 here",
            "source_dest_check eth0 unknown: EC2 did not say how the check of eni-a0 is set",
        ],
    );
}

#[test]
fn a_secondary_address_is_absent_only_if_all_holders_were_asked_for() {
    let config = config(vec![secondary("10.0.0.50")]);
    let mine = || eni("eni-a0", &["10.0.0.9"], Some(true));
    for (query, enis, wanted) in [
        (by_address(), vec![eni("eni-a0", &["10.0.0.9", "10.0.0.50"], None)], "here"),
        (by_address(), vec![mine(), eni("eni-b0", &["10.0.0.8", "10.0.0.50"], None)], "elsewhere: eni-b0"),
        (by_address(), vec![mine()], "absent"),
        (by_id(), vec![mine()], "unknown: who holds 10.0.0.50 was not read yet"),
        // Of another address: the config is new.
        (holders_of("10.0.0.51"), vec![mine()], "unknown: who holds 10.0.0.50 was not read yet"),
        (by_address(), vec![], "unknown: eni-a0 does not exist, or not in this account and region"),
        (of_subnets(), vec![mine(), eni("eni-b0", &["10.0.0.8", "10.0.0.50"], None)], "elsewhere: eni-b0"),
        (of_subnets(), vec![mine()], "absent"),
    ] {
        let world = World { interfaces: read((query, enis)), local: read(none_of(&config)), ..World::default() };
        let wanted = format!("secondary_ip 10.0.0.50 {wanted}");
        check(&config, &known(), &world, &[&wanted, "local_address 10.0.0.50 absent"]);
    }
}

#[test]
fn an_ipv6_address_that_another_eni_holds_is_elsewhere() {
    let config = config(vec![secondary("fd00::50")]);
    let elsewhere = |vpc: &str| Eni { vpc: vpc.parse().ok(), ..eni("eni-b0", &["10.0.0.8", "fd00::50"], None) };
    for (query, holder, wanted) in [
        (of_subnets(), Some(elsewhere("vpc-1")), "elsewhere: eni-b0"),
        // Of another VPC, where the same private range may be in use.
        (of_subnets(), Some(elsewhere("vpc-2")), "absent"),
        (of_subnets(), None, "absent"),
        (by_address(), None, "unknown: who holds fd00::50 was not read yet"),
        (by_id(), None, "unknown: who holds fd00::50 was not read yet"),
    ] {
        let enis = std::iter::once(eni("eni-a0", &["10.0.0.9"], None)).chain(holder).collect();
        let world = World { interfaces: read((query, enis)), local: read(none_of(&config)), ..World::default() };
        let wanted = format!("secondary_ip fd00::50 {wanted}");
        check(&config, &known(), &world, &[&wanted, "local_address fd00::50 absent"]);
    }
}

#[test]
fn an_ipv6_address_is_a_128_route_and_an_address_of_the_eni() {
    let mut both = routed("fd00::50", tables(&["rtb-1"]));
    both.secondary_ip = secondary("fd00::50").secondary_ip;
    let config = config(vec![both]);
    let mut world = World::default();
    world.tables.insert(Account::Own, read(vec![table("rtb-1", &[("fd00::50/128", to("eni-a0"), false)], &[])]));
    world.interfaces = read((by_id(), vec![eni("eni-a0", &["10.0.0.9", "fd00::50"], Some(false))]));
    world.local = read(none_of(&config));
    check(
        &config,
        &known(),
        &world,
        &[
            "route rtb-1 here",
            "secondary_ip fd00::50 here",
            "local_address fd00::50 absent",
            "source_dest_check eth0 here",
        ],
    );
}

#[test]
fn further_addresses_follow_the_same_leader_on_their_own_interfaces() {
    let mut inside = routed("20.0.0.50", tables(&["rtb-1"]));
    inside.route.as_mut().unwrap().interface = Some("eth1".to_owned());
    let config = config(vec![elastic("192.0.2.1"), inside]);
    let mut world = World { addresses: read(vec![eip("192.0.2.1", None, &[])]), ..World::default() };
    world.tables.insert(Account::Own, read(vec![table("rtb-1", &[("20.0.0.50/32", to("eni-a0"), false)], &[])]));
    world.interfaces = read((by_id(), vec![eni("eni-a1", &["10.0.1.9"], Some(true))]));
    world.local = read(none_of(&config));
    check(
        &config,
        &known(),
        &world,
        &[
            "elastic_ip 192.0.2.1 absent",
            "route rtb-1 20.0.0.50 elsewhere: eni-a0",
            "local_address 20.0.0.50 absent",
            "source_dest_check eth1 absent",
        ],
    );
}

#[test]
fn an_eni_with_another_mac_address_than_the_interface_is_never_called_here() {
    let config = config(vec![secondary("10.0.0.50")]);
    let mut node = known().node().clone();
    node.interfaces.get_mut("eth0").unwrap().mac = Some("0a:00:00:00:00:0a".to_owned());
    let known = Known::new(node);
    let world = |mac: &str| {
        let shown = Eni { mac: Some(mac.to_owned()), ..eni("eni-a0", &["10.0.0.9", "10.0.0.50"], None) };
        World { interfaces: read((by_address(), vec![shown])), local: read(none_of(&config)), ..World::default() }
    };
    let own = world("0a:00:00:00:00:0a");
    check(&config, &known, &own, &["secondary_ip 10.0.0.50 here", "local_address 10.0.0.50 absent"]);
    let why = "unknown: eni-a0 is not the ENI of interface eth0: its MAC address is 0a:00:00:00:00:0b, and that of eth0 is \
               0a:00:00:00:00:0a; correct identity.interfaces";
    let wanted = [format!("secondary_ip 10.0.0.50 {why}"), format!("local_address 10.0.0.50 {why}")];
    check(&config, &known, &world("0a:00:00:00:00:0b"), &[&wanted[0], &wanted[1]]);
}

#[test]
fn an_eni_that_ec2_shows_at_another_instance_is_never_called_here_and_the_vip_has_no_anchor() {
    let mut config = config(vec![secondary("10.0.0.50")]);
    config.vips[0].anchor = Some(AnchorConfig::ElasticIp("eipalloc-1".parse().unwrap()));
    let mac = || Some("0a:00:00:00:00:0a".to_owned());
    let mut with_mac = known().node().clone();
    with_mac.interfaces.get_mut("eth0").unwrap().mac = mac();
    let world = |instance: Option<&str>| {
        let instance = instance.map(|instance| instance.parse().unwrap());
        let shown = Eni { mac: mac(), instance, ..eni("eni-a0", &["10.0.0.9", "10.0.0.50"], None) };
        World { interfaces: read((by_address(), vec![shown])), local: read(none_of(&config)), ..World::default() }
    };
    let mut looked = Known::new(with_mac.clone());
    let why = "unknown: this node is not i-a: EC2 says that eni-a0, the ENI of interface eth0, is attached to i-b; correct \
               identity.instance_id";
    // An ENI that EC2 shows at no instance may be about to be attached here.
    for (instance, wrong) in [(Some("i-a"), false), (Some("i-b"), true), (None, false), (Some("i-b"), true)] {
        let world = world(instance);
        looked.learn(&world);
        let (vip, _) = observe(&config, &config.vips[0], &looked, &world);
        assert_eq!(vip.anchor.is_none(), wrong, "{instance:?}");
        if wrong {
            let wanted = [format!("secondary_ip 10.0.0.50 {why}"), format!("local_address 10.0.0.50 {why}")];
            check(&config, &looked, &world, &[&wanted[0], &wanted[1]]);
        } else {
            check(&config, &looked, &world, &["secondary_ip 10.0.0.50 here", "local_address 10.0.0.50 absent"]);
        }
    }
    // Without the kernel's MAC address, the ENI itself may be another node's.
    let why = format!("{why}, or identity.interfaces");
    let wanted = [format!("secondary_ip 10.0.0.50 {why}"), format!("local_address 10.0.0.50 {why}")];
    check(&config, &known(), &world(Some("i-b")), &[&wanted[0], &wanted[1]]);
}

#[test]
fn a_missing_interface_says_why_it_is_missing() {
    let config = config(vec![secondary("10.0.0.50")]);
    let mut node = known().node().clone();
    (node.first, node.interfaces) = (None, BTreeMap::new());
    node.missing.insert(None, "no interface has the first ENI's address".to_owned());
    let why = "unknown: no interface has the first ENI's address";
    let wanted = [format!("secondary_ip 10.0.0.50 {why}"), format!("local_address 10.0.0.50 {why}")];
    check(&config, &Known::new(node), &World::default(), &[&wanted[0], &wanted[1]]);
}

#[test]
fn an_interface_without_an_eni_leaves_its_bindings_unknown() {
    let mut config = config(vec![secondary("10.0.0.50")]);
    config.vips[0].addresses[0].secondary_ip = Some(SecondaryIpConfig { interface: Some("eth9".to_owned()) });
    let why = "unknown: the ENI of interface eth9 is not known";
    let wanted = [format!("secondary_ip 10.0.0.50 {why}"), format!("local_address 10.0.0.50 {why}")];
    check(&config, &known(), &World::default(), &[&wanted[0], &wanted[1]]);
}
