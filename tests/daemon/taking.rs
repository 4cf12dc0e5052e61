//! Claims: the bindings that a claim takes, and the bindings that its end gives back.

use crate::world::*;

#[test]
fn a_fresh_claim_takes_everything_within_one_round_trip_without_a_read_before_it() {
    for tables in [8, 64] {
        in_paused_time(async {
            let mut world = World::new(1, |estate| {
                estate.allocate(EIP);
                let tables = estate.add_tables(tables);
                config(vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables)])])
            });
            world.estate.service().set_throttling(Throttling::Off);
            world.estate.latency(millis(150));
            world.start();
            pass(seconds(60)).await;
            let (mark, hook) = (world.mark(), world.estate.clock.now());
            world.up(0, EIP);
            pass(millis(150)).await;
            let writes = world.writes(mark);
            let accepted = world.calls(mark).iter().filter(|(_, _, code)| code == "OK").count();
            // The Elastic IP, its tag, the source/destination check, and each route: created where none was.
            assert_eq!(writes.len(), tables + 3);
            assert_eq!(accepted, tables + 3, "all accepted, and nothing read meanwhile");
            assert!(writes.iter().all(|(at, _)| *at == hook), "all at once: {writes:?}");
            assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
            assert!(world.nodes[0].has_local(ADDRESS));
            pass(millis(200)).await;
            assert!(world.nodes[0].recorder.vip(EIP).in_sync, "seen by the first look: {:?}", world.calls(mark));
        });
    }
}

#[test]
fn the_writes_of_a_claim_are_not_repeated_while_it_stands() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.start();
        pass(seconds(5)).await;
        world.up(0, EIP);
        pass(seconds(600)).await;
        let writes = world.writes(Mark::at(0));
        assert_eq!(writes.iter().map(|(_, name)| *name).collect::<Vec<_>>(), ["CreateTags", "AssociateAddress"]);
    });
}

#[test]
fn a_second_node_takes_over_and_the_first_lets_go() {
    in_paused_time(async {
        let mut world = World::new(2, |estate| {
            estate.allocate(EIP);
            let tables = estate.add_tables(2);
            config(vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables)])])
        });
        world.start_with_leader_of(EIP, seconds(60)).await;
        world.down(0, EIP);
        pass(seconds(2)).await;
        assert!(!world.nodes[0].has_local(ADDRESS));
        world.up(1, EIP);
        pass(seconds(5)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
        assert!(world.nodes[1].has_local(ADDRESS));
        assert!(world.nodes[1].recorder.vip(EIP).in_sync);
    });
}

#[test]
fn a_daemon_that_was_down_during_the_hook_takes_when_it_starts() {
    in_paused_time(async {
        let mut world = World::new(2, elastic_ip);
        world.nodes[1].start();
        pass(seconds(1)).await;
        world.up(1, EIP);
        pass(seconds(60)).await;
        world.up(0, EIP);
        pass(seconds(30)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
        world.nodes[0].start();
        pass(seconds(2)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
        pass(seconds(60)).await;
        assert!(world.nodes[1].recorder.condition(EIP, "Superseded").holds);
    });
}

#[test]
fn a_restarted_daemon_does_not_take_back_what_a_newer_claim_took_meanwhile() {
    in_paused_time(async {
        let mut world = World::new(2, elastic_ip);
        world.start_with_leader_of(EIP, seconds(30)).await;
        world.nodes[0].kill().await;
        world.up(1, EIP);
        pass(seconds(30)).await;
        world.nodes[0].start();
        let mark = world.mark();
        pass(seconds(120)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
        assert_eq!(world.writes(mark), []);
    });
}

#[test]
fn an_ipv6_address_moves_between_enis() {
    in_paused_time(async {
        let v6 = "2600:1f18:1::50";
        let mut world = World::new(2, |_| config(vec![vip(vec![by_secondary_ip(SECONDARY), by_secondary_ip(v6)])]));
        world.start_with_leader_of(SECONDARY, seconds(30)).await;
        assert_eq!(world.estate.secondary_ip(v6), world.eni(0));
        world.nodes[0].kill().await;
        world.up(1, SECONDARY);
        pass(seconds(10)).await;
        assert_eq!(world.estate.secondary_ip(v6), world.eni(1));
        assert_eq!(world.estate.secondary_ip(SECONDARY), world.eni(1));
        assert!(world.nodes[1].recorder.vip(SECONDARY).in_sync);
    });
}

#[test]
fn an_ipv6_address_that_was_taken_is_taken_back_after_a_second_look() {
    in_paused_time(async {
        let v6 = "2600:1f18:1::50";
        let mut world = World::new(2, |_| config(vec![vip(vec![by_secondary_ip(v6)])]));
        world.start_alone_as_leader_of(v6, seconds(30)).await;
        let assignment = |eni: &str| (eni.to_owned(), vec![v6.to_owned()]);
        let (network_interface_id, ipv6_addresses) = assignment(&world.estate.nodes[0].eni);
        let unassign = UnassignIpv6Addresses { network_interface_id, ipv6_addresses };
        world.estate.by_hand(&Operation::UnassignIpv6Addresses(unassign));
        let (network_interface_id, ipv6_addresses) = assignment(&world.estate.nodes[1].eni);
        let assign = AssignIpv6Addresses { network_interface_id, ipv6_addresses, ..Default::default() };
        world.estate.by_hand(&Operation::AssignIpv6Addresses(assign));
        let mark = world.mark();
        pass(seconds(40)).await;
        assert_eq!(world.estate.secondary_ip(v6), world.eni(0));
        let writes: Vec<_> = world.writes(mark).into_iter().map(|(_, name)| name).collect();
        assert_eq!(writes, ["AssignIpv6Addresses", "UnassignIpv6Addresses", "AssignIpv6Addresses"]);
        assert!(world.nodes[0].recorder.vip(v6).in_sync);
    });
}

#[test]
fn a_secondary_address_lets_go_after_down() {
    in_paused_time(async {
        let mut world = World::new(1, secondary_ip);
        world.start_with_leader_of(SECONDARY, seconds(30)).await;
        assert_eq!(world.estate.secondary_ip(SECONDARY), world.eni(0));
        world.down(0, SECONDARY);
        pass(millis(1)).await;
        assert_eq!(world.estate.secondary_ip(SECONDARY), None);
        assert!(!world.nodes[0].has_local(SECONDARY));
    });
}

/// An Elastic IP at the private address that moves between the nodes.
fn elastic_ip_at_a_secondary_address(estate: &Estate) -> Config {
    estate.allocate(EIP);
    let mut elastic = by_elastic_ip(EIP);
    let private_ip = SECONDARY.parse().ok();
    elastic.elastic_ip = Some(ElasticIpConfig { allocation_id: None, interface: None, private_ip });
    config(vec![vip(vec![elastic, by_secondary_ip(SECONDARY)])])
}

#[test]
fn an_elastic_ip_goes_with_the_private_address_that_it_is_at() {
    in_paused_time(async {
        let mut world = World::new(2, elastic_ip_at_a_secondary_address);
        world.start_with_leader_of(EIP, seconds(30)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
        world.down(0, EIP);
        pass(seconds(1)).await;
        assert_eq!(world.estate.elastic_ip(EIP), None, "freed with its address");
        assert_eq!(world.estate.secondary_ip(SECONDARY), None);
        world.up(1, EIP);
        pass(seconds(1)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
        pass(seconds(60)).await;
        assert!(world.nodes[1].recorder.vip(EIP).in_sync);
        assert!(world.nodes[0].recorder.vip(EIP).in_sync);
    });
}

/// EC2 keeps the association when it moves an Elastic IP along with its private address, so the old leader must not
/// release by the association's id. Found as seed 102419 of the simulation.
#[test]
fn a_late_release_does_not_take_the_elastic_ip_that_moved_along_to_the_successor() {
    in_paused_time(async {
        let mut world = World::new(2, elastic_ip_at_a_secondary_address);
        world.start_with_leader_of(EIP, seconds(30)).await;
        // The old leader tries and tries, on what it saw before the other took over.
        let throttle = Fault::new(FaultKind::Throttle).of_caller("a");
        let throttled = throttle.at("DisassociateAddress").at("UnassignPrivateIpAddresses");
        let throttled = world.estate.fault(throttled);
        world.down(0, EIP);
        pass(seconds(4)).await;
        world.up(1, EIP);
        pass(seconds(1)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
        world.estate.mend(throttled);
        for _ in 0..600 {
            pass(millis(100)).await;
            assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
        }
    });
}

#[test]
fn a_route_is_deleted_on_release_if_the_config_says_so_and_it_still_points_here() {
    in_paused_time(async {
        let mut world = World::new(2, |estate| {
            let tables = estate.add_tables(2);
            config(vec![vip(vec![by_route_that(ADDRESS, &tables, OnRelease::Delete)])])
        });
        let tables = tables(&world);
        world.start_alone_as_leader_of(ADDRESS, seconds(30)).await;
        world.down(0, ADDRESS);
        pass(seconds(20)).await;
        point_route_by_hand(&world.estate, &tables[1], &world.estate.nodes[1].eni);
        pass(seconds(30)).await;
        assert_eq!(world.estate.route(&tables[0], ADDRESS), None);
        assert_eq!(world.estate.route(&tables[1], ADDRESS), world.eni(1));
    });
}

#[test]
fn without_claims_nothing_is_taken_back_from_another() {
    in_paused_time(async {
        let mut world = World::new(1, |estate| Config { claims: ClaimMode::Off, ..elastic_ip(estate) });
        world.start_with_leader_of(EIP, seconds(30)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
        let stranger = world.estate.bystander.eni.clone();
        point_elastic_ip_by_hand(&world.estate, &stranger);
        pass(seconds(300)).await;
        assert_eq!(world.estate.elastic_ip(EIP), Some(stranger));
        assert_eq!(world.nodes[0].recorder.binding(EIP, &format!("elastic_ip {EIP}")).state.as_str(), "blocked");
        free_elastic_ip_by_hand(&world.estate);
        pass(seconds(15)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "what nobody holds is put back");
    });
}

#[test]
fn a_claims_first_look_waits_neither_for_a_round_under_way_nor_for_a_write_that_hangs() {
    in_paused_time(async {
        let mut world = World::new(1, routes(1));
        world.estate.latency(millis(400));
        world.start();
        pass(seconds(10)).await;
        for operation in ["CreateTags", "CreateRoute", "ReplaceRoute", "ModifyNetworkInterfaceAttribute"] {
            world.estate.fault(Fault::new(FaultKind::Cut { how: Cut::Hang }).at(operation));
        }
        // A round is under way when the claim begins, and ends after it.
        world.nodes[0].wake(Wake::Config);
        pass(millis(100)).await;
        let mark = world.mark();
        world.up(0, ADDRESS);
        pass(millis(2500)).await;
        let looks = world.calls(mark).iter().filter(|(_, name, _)| *name == "DescribeRouteTables").count();
        assert!(looks >= 1, "{:?}", world.calls(mark));
    });
}

#[test]
fn old_claims_that_may_not_be_forgotten_are_tried_once_an_hour_and_disturb_nothing() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.start();
        pass(seconds(1)).await;
        let allocation = world.estate.account().elastic_ips().next().unwrap().allocation_id.clone();
        let tag = |value: &str| {
            let tags = vec![TagSpec { key: format!("vipkeeper/{EIP}/i-0b"), value: Some(value.to_owned()) }];
            world.estate.by_hand(&Operation::CreateTags(TagChange {
                resources: vec![allocation.clone()],
                tags,
                dry_run: false,
            }));
        };
        // As a person would write it.
        tag("700");
        world.up(0, EIP);
        pass(seconds(30)).await;
        let denied = world.estate.fault(Fault::new(FaultKind::Deny).at("DeleteTags"));
        let mark = world.mark();
        pass(seconds(5 * 3600)).await;
        let tries = world.writes(mark).len();
        assert!((4..=5).contains(&tries), "{:?}", world.writes(mark));
        let passes = world.nodes[0].recorder.passes.borrow().clone();
        assert!(passes.iter().rev().take(50).all(|(_, result)| *result == PassResult::InSync));
        world.estate.mend(denied);
        pass(seconds(3700)).await;
        let left = world.estate.account().elastic_ips().next().unwrap().tags.clone();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(world.writes(mark).len(), tries + 1);
    });
}
