//! Who answers on a VIP, beside what EC2 says: what is asked and answered, and what the page, the log and the metrics make
//! of it.

use std::collections::{BTreeMap, BTreeSet};

use vipkeeper::config::ProbeConfig;
use vipkeeper::probe::ask::{PacketWay, ProbeReply};
use vipkeeper::status::page::{DaemonLife, Style, page};
use vipkeeper::status::{ConditionName, ConditionReason};

use crate::world::*;

/// Nodes that probe, the first of which has led for a minute.
async fn probing(nodes: usize, config: impl FnOnce(&Estate) -> Config, vip: &str) -> World {
    let mut world = World::new(nodes, |estate| Config { probe: Some(ProbeConfig::default()), ..config(estate) });
    world.start_with_leader_of(vip, seconds(60)).await;
    world
}

/// For so many seconds, each question of this node is answered by another node, or by nobody.
async fn answered(world: &World, node: usize, by: Option<usize>, for_s: u64) {
    for _ in 0..for_s {
        let reply = by.map(|by| ProbeReply {
            instance: world.estate.nodes[by].instance.parse().unwrap(),
            took: millis(1),
            way: if by == node { PacketWay::Inside } else { PacketWay::Outside },
        });
        world.nodes[node].post.tell(ip(ADDRESS), reply);
        pass(seconds(1)).await;
    }
}

/// Why packets go astray, by this node; `None` if they do not.
fn astray(world: &World, node: usize) -> Option<ConditionReason> {
    let condition = world.nodes[node].recorder.condition(ADDRESS, ConditionName::PacketsArrive);
    assert_eq!(condition.holds, condition.reason == ConditionReason::NotAstray);
    (!condition.holds).then(|| condition.reason.known().unwrap())
}

fn shown(world: &World, node: usize) -> String {
    let told = world.nodes[node].recorder.last();
    page(&told, DaemonLife::Alive, told.written_ms, Style { width: None, colour: false })
}

#[test]
fn a_standby_sees_who_answers_and_that_nobody_does_where_ec2_leads() {
    in_paused_time(async {
        let world = probing(2, routes(1), ADDRESS).await;
        let leader = &world.estate.nodes[0].instance;
        answered(&world, 1, Some(0), 40).await;
        assert_eq!(astray(&world, 1), None);
        assert!(shown(&world, 1).contains(&format!("  answers  by {leader}, ")), "{}", shown(&world, 1));

        // A standby looks at EC2 every 30 s, more or less.
        answered(&world, 1, None, 70).await;
        assert_eq!(astray(&world, 1), Some(ConditionReason::Nobody));
        let page = shown(&world, 1);
        assert!(page.contains("  answers  nobody answers, for ") && page.contains("PacketsArrive"), "{page}");
        assert_eq!(world.nodes[1].recorder.heard("Astray").len(), 1);
        answered(&world, 1, Some(0), 2).await;
        assert_eq!(astray(&world, 1), None);
        assert_eq!(world.nodes[1].recorder.heard("Astray").len(), 2, "and its end");
        assert!(world.nodes[1].recorder.is_in_sync(ip(ADDRESS)), "it decides nothing");
    });
}

#[test]
fn a_standby_notices_that_another_node_answers_than_ec2_names() {
    in_paused_time(async {
        let world = probing(3, routes(1), ADDRESS).await;
        answered(&world, 1, Some(2), 70).await;
        assert_eq!(astray(&world, 1), Some(ConditionReason::OtherNode));
        let told = world.nodes[1].recorder.condition(ADDRESS, ConditionName::PacketsArrive).message;
        let [leader, other] = [0, 2].map(|node| &world.estate.nodes[node].instance);
        assert!(told.contains(&format!("leads the clients to {leader}, and {other} answers")), "{told}");
    });
}

#[test]
fn an_ordinary_failover_and_a_leaders_own_question_raise_nothing() {
    in_paused_time(async {
        let world = probing(2, routes(1), ADDRESS).await;
        answered(&world, 1, Some(0), 40).await;
        // The leader has the address, so it answers itself; nobody answers it elsewhere.
        answered(&world, 0, Some(0), 40).await;
        let page = shown(&world, 0);
        assert!(page.contains("  answers  by this node, asked from itself: no packet left it\n"), "{page}");
        world.down(0, ADDRESS);
        answered(&world, 1, None, 7).await;
        world.up(1, ADDRESS);
        for _ in 0..60 {
            answered(&world, 0, Some(1), 1).await;
            assert_eq!([astray(&world, 0), astray(&world, 1)], [None, None]);
        }
        for node in &world.nodes {
            assert!(node.recorder.heard("Astray").is_empty());
        }
    });
}

#[test]
fn a_new_leader_measures_the_way_from_ec2s_word_to_the_first_packet() {
    for carried_s in [0, 1, 5] {
        in_paused_time(async {
            let world = probing(2, routes(2), ADDRESS).await;
            world.down(0, ADDRESS);
            pass(seconds(2)).await;
            let mark = world.mark();
            world.up(1, ADDRESS);
            // EC2 answers at once here.
            while world.writes(mark).iter().filter(|(_, name)| *name == "ReplaceRoute").count() < 2 {
                pass(millis(10)).await;
            }
            pass(seconds(carried_s)).await;
            world.nodes[1].post.reached(ip(ADDRESS));
            pass(millis(100)).await;
            world.nodes[1].post.reached(ip(ADDRESS));
            pass(seconds(10)).await;
            let measured = world.nodes[1].recorder.came.borrow().clone();
            let [after] = measured[..] else { panic!("{measured:?}") };
            assert!((seconds(carried_s)..seconds(carried_s) + millis(500)).contains(&after), "{carried_s}: {after:?}");
        });
    }
}

#[test]
fn a_binding_that_is_put_back_while_others_lead_packets_here_measures_nothing() {
    in_paused_time(async {
        let world = probing(1, routes(2), ADDRESS).await;
        let table = tables(&world)[1].clone();
        let reached = async |for_s: u64| {
            for _ in 0..for_s {
                world.nodes[0].post.reached(ip(ADDRESS));
                pass(seconds(1)).await;
            }
        };
        reached(3).await;
        let before = world.nodes[0].recorder.came.borrow().len();
        let mark = world.mark();
        world.estate.by_hand(&Operation::DeleteRoute(DeleteRoute {
            route_table_id: table,
            destination_cidr_block: Some(format!("{ADDRESS}/32")),
            ..Default::default()
        }));
        reached(20).await;
        assert!(world.writes(mark).iter().any(|(_, name)| *name == "CreateRoute"), "it was put back");
        assert_eq!(world.nodes[0].recorder.came.borrow().len(), before);
    });
}

#[test]
fn each_address_of_the_vips_is_answered_and_nothing_without_the_table() {
    in_paused_time(async {
        let world = probing(1, elastic_ip_and_route, EIP).await;
        let private = IpAddr::V4(world.estate.nodes[0].primary_ip);
        let names = |names: &[IpAddr]| names.iter().copied().collect::<BTreeSet<_>>();
        let wanted = world.nodes[0].post.wanted().unwrap();
        assert_eq!(wanted.instance.as_str(), world.estate.nodes[0].instance);
        assert_eq!(wanted.asked, names(&[ip(EIP)]));
        let expected = BTreeMap::from([(ip(ADDRESS), names(&[ip(ADDRESS)])), (private, names(&[private, ip(EIP)]))]);
        assert_eq!(wanted.answered, expected);

        world.nodes[0].config.borrow_mut().as_mut().unwrap().probe = None;
        world.nodes[0].wake(Wake::Config);
        pass(seconds(1)).await;
        assert_eq!(world.nodes[0].post.wanted(), None);
        assert!(world.nodes[0].recorder.vip(EIP).answers.is_none());
    });
}
