//! Configurations that differ from node to node for a while.

use vipkeeper::problem::ProblemReason;
use vipkeeper::status::ConditionReason;

use crate::world::*;

/// A VIP whose route is in these of the world's tables, in this order.
fn routed(tables: &[&String]) -> Config {
    let tables: Vec<_> = tables.iter().map(|table| (*table).clone()).collect();
    config(vec![vip(vec![by_route(ADDRESS, &tables)])])
}

fn world_with_tables() -> (World, Vec<String>) {
    let mut tables = Vec::new();
    let world = World::new(2, |estate| {
        tables = estate.add_tables(2);
        routed(&[&tables[0]])
    });
    (world, tables)
}

fn configure(world: &World, node: usize, config: Config) {
    *world.nodes[node].config.borrow_mut() = Ok(config);
    world.nodes[node].wake(Wake::Config);
}

fn writes_since(world: &World, mark: Mark) -> Vec<String> {
    let service = world.estate.service();
    service
        .calls_since(mark)
        .filter(|call| call.write)
        .map(|call| format!("{} by {}", call.operation, call.caller.name))
        .collect()
}

#[test]
fn tables_that_are_reordered_on_one_node_first_make_no_two_nodes_fight() {
    for node in [0, 1] {
        in_paused_time(async {
            let (mut world, tables) = world_with_tables();
            let both = routed(&[&tables[0], &tables[1]]);
            world.nodes.iter().for_each(|node| *node.config.borrow_mut() = Ok(both.clone()));
            world.start_with_leader_of(ADDRESS, seconds(20)).await;
            // The old leader gets no `down`.
            world.up(1, ADDRESS);
            pass(seconds(20)).await;
            let mark = world.estate.service().mark();
            configure(&world, node, routed(&[&tables[1], &tables[0]]));
            pass(seconds(260)).await;
            let moved = writes_since(&world, mark).into_iter().filter(|write| write.contains("Route"));
            assert_eq!(moved.collect::<Vec<_>>(), Vec::<String>::new(), "reordered on node {node}");
            assert!(world.nodes[0].recorder.condition(ADDRESS, "Superseded").holds, "reordered on node {node}");
        });
    }
}

#[test]
fn a_table_that_only_one_node_names_hides_no_claim() {
    for adds in [0, 1] {
        in_paused_time(async {
            let (mut world, tables) = world_with_tables();
            world.start_with_leader_of(ADDRESS, seconds(20)).await;
            // The anchor of this node is a table that the other node does not name.
            configure(&world, adds, routed(&[&tables[1], &tables[0]]));
            pass(seconds(20)).await;
            world.up(1, ADDRESS);
            pass(seconds(20)).await;
            assert!(world.nodes[0].recorder.condition(ADDRESS, "Superseded").holds, "added on node {adds}");
            assert!(world.nodes[1].recorder.is_in_sync(ADDRESS.parse().unwrap()), "added on node {adds}");
            let mark = world.estate.service().mark();
            pass(seconds(120)).await;
            assert_eq!(writes_since(&world, mark), Vec::<String>::new(), "added on node {adds}");
        });
    }
}

#[test]
fn a_superseded_leader_stays_superseded_when_the_anchor_leaves_its_configuration() {
    for restarts in [false, true] {
        in_paused_time(async {
            let (mut world, tables) = world_with_tables();
            world.start_with_leader_of(ADDRESS, seconds(20)).await;
            world.up(1, ADDRESS);
            pass(seconds(20)).await;
            let mark = world.estate.service().mark();
            configure(&world, 0, routed(&[&tables[1]]));
            if restarts {
                world.nodes[0].kill().await;
                world.nodes[0].start();
            }
            pass(seconds(60)).await;
            assert_eq!(writes_since(&world, mark), Vec::<String>::new());
            let superseded = world.nodes[0].recorder.condition(ADDRESS, "Superseded");
            assert!(superseded.holds && superseded.reason == ConditionReason::OutOfSight, "{superseded:?}");
            assert!(superseded.message.contains(&tables[0]), "{}", superseded.message);
            let told = world.nodes[0].recorder.last().problems;
            let told: Vec<_> = told.into_iter().filter(|problem| problem.reason == ProblemReason::AnchorLeft).collect();
            assert_eq!(told.len(), usize::from(!restarts), "only a daemon that knew the old anchor can tell: {told:?}");
        });
    }
}

#[test]
fn a_leader_without_claims_says_that_other_nodes_record_theirs() {
    in_paused_time(async {
        let (mut world, _) = world_with_tables();
        world.start_with_leader_of(ADDRESS, seconds(20)).await;
        let mut off = world.nodes[1].config.borrow().clone().unwrap();
        off.claims = ClaimMode::Off;
        configure(&world, 1, off);
        pass(seconds(5)).await;
        world.up(1, ADDRESS);
        pass(seconds(3)).await;
        let recorded = world.nodes[1].recorder.condition(ADDRESS, "ClaimRecorded");
        assert_eq!(recorded.reason, ConditionReason::ClaimsMixed);
        assert!(recorded.message.contains(&world.nodes[0].place.instance), "{}", recorded.message);
        world.down(0, ADDRESS);
        pass(seconds(40)).await;
        assert_eq!(world.nodes[1].recorder.condition(ADDRESS, "ClaimRecorded").reason, ConditionReason::ClaimsOff);
    });
}
