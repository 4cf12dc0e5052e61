//! Where clients are led, as each node's page tells it: while nodes lead, after a failover, and while nobody leads.

use vipkeeper::binding::ClaimMode;
use vipkeeper::status::ClientsAt;
use vipkeeper::status::page::{DaemonLife, Overall, Style, page};

use crate::world::*;

/// The page of a node, and its conclusion.
fn shown(world: &World, node: usize) -> (String, Overall) {
    let told = world.nodes[node].recorder.last();
    let style = Style { width: None, colour: false };
    (page(&told, DaemonLife::Alive, told.written_ms, style), Overall::of(&told, DaemonLife::Alive, told.written_ms))
}

fn at(world: &World, node: usize, vip: &str) -> ClientsAt {
    world.nodes[node].recorder.vip(vip).clients.unwrap().at.known().unwrap()
}

#[test]
fn a_vip_that_nobody_serves_is_told_on_every_standby_and_an_ordinary_failover_is_not() {
    for routed in [false, true] {
        in_paused_time(async {
            let mut world = if routed { World::new(3, routes(2)) } else { World::new(3, elastic_ip) };
            let vip = if routed { ADDRESS } else { EIP };
            world.start_with_leader_of(vip, seconds(60)).await;
            assert_eq!(
                [0, 1, 2].map(|node| at(&world, node, vip)),
                [ClientsAt::Here, ClientsAt::Elsewhere, ClientsAt::Elsewhere]
            );
            let (page, _) = shown(&world, 0);
            assert!(page.contains("  clients  at this node, in sync\n"), "{page}");
            let (page, _) = shown(&world, 1);
            assert!(page.contains(&format!("  clients  at {} (last read ", world.estate.nodes[0].instance)), "{page}");

            // An ordinary failover: 7 s without a leader.
            world.down(0, vip);
            pass(seconds(7)).await;
            world.up(1, vip);
            for _ in 0..90 {
                pass(seconds(1)).await;
                for node in 0..3 {
                    let (page, _) = shown(&world, node);
                    assert!(!page.contains("NOBODY SERVES"), "{page}");
                }
            }

            // Pgpool is dead everywhere.
            world.down(1, vip);
            pass(seconds(29)).await;
            assert!(!shown(&world, 2).0.contains("NOBODY SERVES"), "this is no longer than a failover takes");
            pass(seconds(66)).await;
            for node in 0..3 {
                let (page, verdict) = shown(&world, node);
                assert!(page.contains("NOBODY SERVES") && verdict == Overall::Attention, "routed {routed}: {page}");
            }
            assert_eq!(world.nodes[2].recorder.heard("NobodyServes").len(), 1);

            world.up(2, vip);
            pass(seconds(60)).await;
            for node in 0..3 {
                let (page, verdict) = shown(&world, node);
                assert!(!page.contains("NOBODY SERVES") && verdict == Overall::InSync, "{page}");
            }
        });
    }
}

#[test]
fn a_leader_whose_record_is_refused_serves_whatever_its_old_tag_says() {
    for mode in [ClaimMode::Tags, ClaimMode::Off] {
        in_paused_time(async {
            let mut world = World::new(2, elastic_ip);
            world.start_with_leader_of(EIP, seconds(20)).await;
            world.down(0, EIP);
            // Long enough for the standby to see that the Elastic IP is free.
            pass(seconds(20)).await;
            world.estate.fault(Fault::new(FaultKind::Deny).at("CreateTags"));
            if mode == ClaimMode::Off {
                for node in &mut world.nodes {
                    node.config.borrow_mut().as_mut().unwrap().claims = ClaimMode::Off;
                    node.kill().await;
                    node.start();
                }
            }
            world.up(0, EIP);
            pass(seconds(120)).await;
            assert_eq!(at(&world, 1, EIP), ClientsAt::Elsewhere);
            for node in &world.nodes {
                assert!(node.recorder.heard("NobodyServes").is_empty(), "{mode:?}");
            }
        });
    }
}

#[test]
fn a_vip_whose_route_stays_where_its_elastic_ip_is_released_is_served_by_nobody() {
    in_paused_time(async {
        let mut world = World::new(2, elastic_ip_and_route);
        let vip = world.nodes[0].config.borrow().as_ref().unwrap().vips[0].delegate_ip.to_string();
        world.start_with_leader_of(&vip, seconds(60)).await;
        world.down(0, &vip);
        pass(seconds(95)).await;
        for node in 0..2 {
            assert_eq!(at(&world, node, &vip), ClientsAt::Several);
            assert!(shown(&world, node).0.contains("NOBODY SERVES"));
        }
    });
}

#[test]
fn while_nobody_serves_each_node_looks_often() {
    in_paused_time(async {
        let mut world = World::new(2, routes(1));
        world.start_with_leader_of(ADDRESS, seconds(60)).await;
        world.down(0, ADDRESS);
        pass(seconds(60)).await;
        let mark = world.mark();
        pass(seconds(120)).await;
        let looks =
            world.calls(mark).into_iter().filter(|(_, operation, _)| *operation == "DescribeRouteTables").count();
        assert!((20..=34).contains(&looks), "two nodes, each about every 10 s: {looks}");
    });
}

#[test]
fn before_any_node_led_nobody_misses_a_leader() {
    in_paused_time(async {
        let mut world = World::new(2, elastic_ip);
        world.start();
        pass(seconds(300)).await;
        let (page, verdict) = shown(&world, 0);
        assert!(verdict == Overall::InSync && page.contains("no node is known to have led"), "{page}");
    });
}

#[test]
fn a_read_that_fails_leaves_the_last_known_place_on_the_page_with_its_age() {
    in_paused_time(async {
        let mut world = World::new(2, elastic_ip);
        world.start_with_leader_of(EIP, seconds(60)).await;
        world.estate.fault(Fault::new(FaultKind::Deny).at("DescribeAddresses"));
        pass(seconds(48)).await;
        let (page, _) = shown(&world, 0);
        assert!(page.contains("  clients  last known at this node ") && page.contains("(EC2 is not read)"), "{page}");
        let last = world.nodes[0].recorder.binding(EIP, &format!("elastic_ip {EIP}")).last_seen.unwrap();
        assert!(last.place.starts_with("at this node (eni-"), "{last:?}");
    });
}
