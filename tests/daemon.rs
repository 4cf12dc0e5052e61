//! The loop of one node in paused time: what it does when, and what it leaves alone.

mod support;

use std::rc::Rc;
use std::time::Duration;

use ec2_endpoint::service::Mark;
use vipkeeper::config::Config;

use support::estate::{Estate, by_elastic_ip, by_route, config, vip};
use support::node::{Process, Shared, SimNode};
use support::recorder::Detail;
use support::{Clock, Timeline, in_paused_time, millis, pass, seconds};

const EIP: &str = "203.0.113.10";
const ADDRESS: &str = "20.0.0.50";

/// An account and the nodes in it, with a leader's guard on each.
struct World {
    estate: Estate,
    nodes: Vec<SimNode>,
    guards: Vec<Process>,
    timeline: Rc<Timeline>,
}

impl World {
    fn new(nodes: usize, config: impl FnOnce(&Estate) -> Config) -> Self {
        let clock = Clock::start();
        let estate = Estate::new(clock, nodes, 1);
        let config = config(&estate);
        let timeline = Rc::new(Timeline::kept(clock));
        let shared = Shared { timeline: Rc::clone(&timeline), detail: Detail::Full, watch: None, seed: 1 };
        let nodes: Vec<_> = (0..nodes).map(|index| SimNode::new(&estate, index, config.clone(), &shared)).collect();
        let guards = nodes.iter().map(|node| node.computer.spawn()).collect();
        Self { estate, nodes, guards, timeline }
    }

    fn up(&self, node: usize, vip: &str) {
        self.timeline.say(&self.nodes[node].place.name, format_args!("up {vip}"));
        self.nodes[node].up(vip, self.guards[node]);
    }

    fn down(&self, node: usize, vip: &str) {
        self.timeline.say(&self.nodes[node].place.name, format_args!("down {vip}"));
        self.nodes[node].down(vip, self.guards[node]);
    }

    fn start(&mut self) {
        self.nodes.iter_mut().for_each(SimNode::start);
    }

    fn eni(&self, node: usize) -> Option<String> {
        Some(self.estate.nodes[node].eni.clone())
    }

    fn mark(&self) -> Mark {
        self.estate.service().mark()
    }

    /// The operations since a mark, with the time of each.
    fn calls(&self, mark: Mark) -> Vec<(Duration, &'static str, String)> {
        let service = self.estate.service();
        let code = |call: &ec2_endpoint::service::Call| call.code.clone().unwrap_or_default();
        service.calls_since(mark).map(|call| (call.at, call.operation, code(call))).collect()
    }

    fn writes(&self, mark: Mark) -> Vec<(Duration, &'static str)> {
        let calls = self.calls(mark).into_iter();
        calls.filter(|(_, name, _)| !name.starts_with("Describe")).map(|(at, name, _)| (at, name)).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.timeline.text());
        }
    }
}

fn elastic_ip(estate: &Estate) -> Config {
    estate.allocate(EIP);
    config(vec![vip(vec![by_elastic_ip(EIP)])])
}

#[test]
fn a_fresh_claim_takes_everything_within_one_round_trip_without_a_read_before_it() {
    for tables in [8, 64] {
        in_paused_time(async {
            let mut world = World::new(1, |estate| {
                estate.allocate(EIP);
                let tables = estate.add_tables(tables);
                config(vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables)])])
            });
            world.estate.service().set_throttling(ec2_endpoint::service::Throttling::Off);
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
        world.start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(60)).await;
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
