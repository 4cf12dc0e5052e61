//! The loop of one node in paused time: what it does when, and what it leaves alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, wait, and look at its environment"
)]

mod support;

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use ec2_endpoint::service::{Cut, FaultKind, Mark, Throttling};
use ec2_endpoint::{
    AssignPrivateIpAddresses, AssociateAddress, DeleteRoute, DisassociateAddress, Fault, Operation, RouteChange,
};
use vipkeeper::config::Config;
use vipkeeper::host::HostError;
use vipkeeper::vip::{ClaimMode, OnRelease};
use vipkeeper::wake::Wake;

use support::estate::{Estate, by_elastic_ip, by_route, by_route_that, by_secondary_ip, config, vip};
use support::node::{Process, Shared, SimNode};
use support::recorder::Detail;
use support::{Clock, Timeline, in_paused_time, millis, pass, seconds};

const EIP: &str = "203.0.113.10";
const ADDRESS: &str = "20.0.0.50";
const SECONDARY: &str = "10.0.1.50";

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

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with what may be nowhere")]
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

fn routes(tables: usize) -> impl FnOnce(&Estate) -> Config {
    move |estate| {
        let tables = estate.add_tables(tables);
        config(vec![vip(vec![by_route(ADDRESS, &tables)])])
    }
}

fn secondary_ip(_: &Estate) -> Config {
    config(vec![vip(vec![by_secondary_ip(SECONDARY)])])
}

/// The route tables of a config, in the order in which they were made.
fn tables(world: &World) -> Vec<String> {
    let account = world.estate.account();
    let main = |table: &str| account.route_table(table).is_some_and(|table| !table.associations.is_empty());
    account.route_tables().map(|table| table.id.clone()).filter(|table| !main(table)).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn point_route_by_hand(estate: &Estate, table: &str, eni: &str) {
    estate.by_hand(&Operation::ReplaceRoute(RouteChange {
        route_table_id: table.to_owned(),
        destination_cidr_block: Some(format!("{ADDRESS}/32")),
        network_interface_id: Some(eni.to_owned()),
        ..Default::default()
    }));
}

fn delete_route_by_hand(estate: &Estate, table: &str) {
    estate.by_hand(&Operation::DeleteRoute(DeleteRoute {
        route_table_id: table.to_owned(),
        destination_cidr_block: Some(format!("{ADDRESS}/32")),
        ..Default::default()
    }));
}

fn point_elastic_ip_by_hand(estate: &Estate, eni: &str) {
    let allocation = estate.account().elastic_ips().next().unwrap().allocation_id.clone();
    estate.by_hand(&Operation::AssociateAddress(AssociateAddress {
        allocation_id: Some(allocation),
        network_interface_id: Some(eni.to_owned()),
        ..Default::default()
    }));
}

fn free_elastic_ip_by_hand(estate: &Estate) {
    let association = estate.account().elastic_ips().next().unwrap().association.clone().unwrap();
    estate.by_hand(&Operation::DisassociateAddress(DisassociateAddress {
        association_id: Some(association.id),
        ..Default::default()
    }));
}

#[test]
fn in_sync_nothing_is_written_and_a_pass_reads_three_times_however_many_vips_there_are() {
    for vips in [1, 10, 50] {
        in_paused_time(async {
            let mut world = World::new(1, |estate| {
                let tables = estate.add_tables(8);
                let one = |n: usize| {
                    let public = format!("203.0.113.{}", n + 1);
                    estate.allocate(&public);
                    let route = by_route(&format!("20.0.0.{}", n + 1), &tables);
                    vip(vec![by_elastic_ip(&public), route])
                };
                config((0..vips).map(one).collect())
            });
            world.estate.service().set_throttling(Throttling::Off);
            for table in tables(&world) {
                let change = |account: &mut ec2_endpoint::Account| account.set_route_limit(&table, 100).unwrap();
                world.estate.service().change(Duration::ZERO, change);
            }
            // One interface holds only one Elastic IP at its primary address: let each VIP but the first stand by.
            world.start();
            pass(seconds(1)).await;
            for n in 0..vips {
                let public = format!("203.0.113.{}", n + 1);
                if n == 0 { world.up(0, &public) } else { world.down(0, &public) }
            }
            pass(seconds(60)).await;
            assert!(world.nodes[0].recorder.in_sync.get(), "{vips} VIPs");
            let (mark, passes) = (world.mark(), world.nodes[0].recorder.passes.borrow().len());
            pass(seconds(300)).await;
            let passes = world.nodes[0].recorder.passes.borrow().len() - passes;
            assert!((24..=40).contains(&passes), "every 10 s, a quarter more or less: {passes}");
            let calls = world.calls(mark);
            assert_eq!(world.writes(mark), []);
            assert_eq!(calls.len(), 3 * passes, "{vips} VIPs");
        });
    }
}

#[test]
fn a_binding_that_fails_for_ever_delays_no_other_and_is_not_tried_at_once_again() {
    in_paused_time(async {
        let mut world = World::new(2, routes(4));
        let all = tables(&world);
        world.estate.fault(Fault::new(FaultKind::Deny).at("ModifyNetworkInterfaceAttribute"));
        world.start();
        pass(seconds(1)).await;
        world.up(0, ADDRESS);
        pass(millis(100)).await;
        assert!(all.iter().all(|table| world.estate.route(table, ADDRESS) == world.eni(0)));
        pass(seconds(300)).await;
        let recorder = &world.nodes[0].recorder;
        assert_eq!(recorder.binding(ADDRESS, "source_dest_check eth0").state, "blocked");
        assert_eq!(recorder.binding(ADDRESS, &format!("route {}", all[3])).state, "in_sync");
        let tries = world.writes(Mark::at(0)).iter().filter(|(_, name)| name.starts_with("Modify")).count();
        assert!((10..=21).contains(&tries), "every 15 to 30 s: {tries}");
        // What is denied does not keep what drifted from being repaired.
        delete_route_by_hand(&world.estate, &all[2]);
        pass(seconds(15)).await;
        assert_eq!(world.estate.route(&all[2], ADDRESS), world.eni(0));
    });
}

#[test]
fn a_table_that_does_not_exist_delays_no_other() {
    in_paused_time(async {
        let mut world = World::new(1, |estate| {
            let mut tables = estate.add_tables(2);
            tables.insert(1, "rtb-00000000000000bad".to_owned());
            config(vec![vip(vec![by_route(ADDRESS, &tables)])])
        });
        world.start();
        pass(seconds(1)).await;
        world.up(0, ADDRESS);
        pass(seconds(1)).await;
        for table in tables(&world) {
            assert_eq!(world.estate.route(&table, ADDRESS), world.eni(0));
        }
        pass(seconds(120)).await;
        let missing = world.nodes[0].recorder.binding(ADDRESS, "route rtb-00000000000000bad");
        assert!(missing.last_error.is_some_and(|error| error.class == "stale" && error.failures > 3));
        let mark = world.mark();
        pass(seconds(300)).await;
        let calls = world.calls(mark).len();
        assert!(calls < 200, "neither tries nor looks run wild: {calls} calls in 5 minutes");
    });
}

#[test]
fn backoff_grows_to_its_ceiling_whatever_wakes_the_loop_meanwhile() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.start();
        pass(seconds(1)).await;
        world.estate.fault(Fault::new(FaultKind::Throttle).at("AssociateAddress"));
        world.up(0, EIP);
        for _ in 0..6000 {
            world.nodes[0].wake(Wake::LocalAddress);
            world.nodes[0].wake(Wake::DesiredChanged);
            pass(millis(50)).await;
        }
        let tries: Vec<_> =
            world.writes(Mark::at(0)).into_iter().filter(|(_, name)| *name == "AssociateAddress").collect();
        assert!((15..=60).contains(&tries.len()), "{} tries in 5 minutes", tries.len());
        let longest = tries.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0)).max().unwrap();
        assert!((seconds(15)..=seconds(31)).contains(&longest), "{longest:?}");
        let first = tries.windows(2).take(3).map(|pair| pair[1].0.saturating_sub(pair[0].0)).max().unwrap();
        assert!(first <= seconds(1), "{first:?}");
    });
}

/// How long the tries of an operation lie apart: how many there are in the next second.
async fn tries_in_a_second(world: &World, operation: &str) -> usize {
    let mark = world.mark();
    pass(seconds(1)).await;
    world.writes(mark).iter().filter(|(_, name)| *name == operation).count()
}

#[test]
fn backoff_starts_afresh_after_a_success_a_new_claim_and_a_changed_config() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.start();
        pass(seconds(1)).await;
        let throttled = world.estate.fault(Fault::new(FaultKind::Throttle).at("AssociateAddress"));
        world.up(0, EIP);
        pass(seconds(120)).await;
        world.up(0, EIP);
        assert!(tries_in_a_second(&world, "AssociateAddress").await >= 2, "a new claim");
        pass(seconds(120)).await;
        world.nodes[0].wake(Wake::Config);
        assert!(tries_in_a_second(&world, "AssociateAddress").await >= 2, "SIGHUP");
        pass(seconds(120)).await;
        world.estate.mend(throttled);
        pass(seconds(60)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
        assert_eq!(world.nodes[0].recorder.binding(EIP, &format!("elastic_ip {EIP}")).last_error, None);
        world.estate.fault(Fault::new(FaultKind::Throttle).at("AssociateAddress"));
        free_elastic_ip_by_hand(&world.estate);
        let mark = world.mark();
        pass(seconds(14)).await;
        let tries: Vec<_> =
            world.writes(mark).iter().filter(|(_, name)| *name == "AssociateAddress").map(|(at, _)| *at).collect();
        assert!(tries[1].saturating_sub(tries[0]) <= millis(200), "after a success: {tries:?}");
    });
}

#[test]
fn what_an_older_claim_failed_at_holds_a_new_claim_back_in_nothing() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.estate.latency(millis(400));
        let denied = world.estate.fault(Fault::new(FaultKind::Deny).at("AssociateAddress"));
        world.start();
        pass(seconds(5)).await;
        world.up(0, EIP);
        pass(millis(100)).await;
        // The answer to the first claim's take is still on its way when the second claim begins.
        world.estate.mend(denied);
        world.up(0, EIP);
        pass(seconds(1)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
    });
}

#[test]
fn a_read_that_contradicts_an_own_write_is_not_believed_within_the_settle_time() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.start();
        pass(seconds(20)).await;
        // Every read shows the account as it was up to 4.9 s ago.
        world.estate.fault(Fault::new(FaultKind::Stale { up_to: millis(4900) }));
        for _ in 0..20 {
            let mark = world.mark();
            world.up(0, EIP);
            pass(seconds(20)).await;
            assert!(world.nodes[0].recorder.vip(EIP).in_sync);
            world.down(0, EIP);
            pass(seconds(20)).await;
            let writes: Vec<_> = world.writes(mark).into_iter().map(|(_, name)| name).collect();
            let count = |name: &str| writes.iter().filter(|write| **write == name).count();
            assert_eq!((count("AssociateAddress"), count("DisassociateAddress")), (1, 1), "{writes:?}");
            assert_eq!(world.estate.elastic_ip(EIP), None);
        }
    });
}

#[test]
fn what_is_gone_is_put_back_within_an_interval_and_what_was_taken_after_a_second_look() {
    in_paused_time(async {
        let mut world = World::new(2, |estate| {
            estate.allocate(EIP);
            let tables = estate.add_tables(2);
            config(vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables), by_secondary_ip(SECONDARY)])])
        });
        let table = tables(&world)[1].clone();
        world.start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(30)).await;
        let stranger = world.estate.bystander.eni.clone();

        delete_route_by_hand(&world.estate, &table);
        free_elastic_ip_by_hand(&world.estate);
        pass(millis(12_600)).await;
        assert_eq!(world.estate.route(&table, ADDRESS), world.eni(0));
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));

        pass(seconds(30)).await;
        point_route_by_hand(&world.estate, &table, &stranger);
        point_elastic_ip_by_hand(&world.estate, &stranger);
        let taken_at = world.estate.clock.now();
        world.estate.by_hand(&Operation::AssignPrivateIpAddresses(AssignPrivateIpAddresses {
            network_interface_id: stranger.clone(),
            private_ip_addresses: vec![SECONDARY.to_owned()],
            allow_reassignment: true,
            ..Default::default()
        }));
        pass(seconds(5)).await;
        assert_eq!(world.estate.elastic_ip(EIP), Some(stranger), "it looks twice");
        pass(millis(12_600)).await;
        assert_eq!(world.estate.route(&table, ADDRESS), world.eni(0));
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
        assert_eq!(world.estate.secondary_ip(SECONDARY), world.eni(0));
        let drifts = world.nodes[0].recorder.heard("Drift {");
        assert_eq!(drifts.iter().filter(|at| **at < taken_at).count(), 2, "each told once: {drifts:?}");
        assert_eq!(drifts.len(), 5, "each told once: {drifts:?}");
        pass(seconds(30)).await;
        assert!(world.nodes[0].recorder.vip(EIP).in_sync);
    });
}

#[test]
fn a_lost_local_address_comes_back_at_once() {
    in_paused_time(async {
        let mut world = World::new(1, routes(1));
        world.start();
        pass(seconds(1)).await;
        world.up(0, ADDRESS);
        pass(seconds(30)).await;
        let mark = world.mark();
        world.nodes[0].computer.remove_by_hand(ip(ADDRESS));
        pass(millis(1)).await;
        assert!(world.nodes[0].has_local(ADDRESS));
        assert_eq!(world.calls(mark), [], "EC2 has no part in it");
    });
}

#[test]
fn down_removes_the_local_address_at_once_even_if_ec2_hangs() {
    in_paused_time(async {
        let mut world = World::new(1, |estate| {
            estate.allocate(EIP);
            let tables = estate.add_tables(1);
            config(vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables)])])
        });
        world.start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(30)).await;
        let cut = world.estate.fault(Fault::new(FaultKind::Cut { how: Cut::Hang }));
        // A look is under way, and hangs.
        pass(seconds(12)).await;
        world.down(0, EIP);
        pass(millis(1)).await;
        assert!(!world.nodes[0].has_local(ADDRESS));
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
        pass(seconds(60)).await;
        world.estate.mend(cut);
        pass(seconds(40)).await;
        assert_eq!(world.estate.elastic_ip(EIP), None);
        assert_eq!(world.estate.route(&tables(&world)[0], ADDRESS), world.eni(0), "routes wait for the successor");
    });
}

#[test]
fn the_death_of_the_guard_is_a_down() {
    in_paused_time(async {
        let mut world = World::new(1, |estate| {
            estate.allocate(EIP);
            let tables = estate.add_tables(1);
            config(vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables)])])
        });
        world.start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(30)).await;
        world.nodes[0].computer.kill(world.guards[0]);
        pass(millis(10)).await;
        assert!(!world.nodes[0].has_local(ADDRESS));
        assert_eq!(world.estate.elastic_ip(EIP), None);
        let desired = world.nodes[0].recorder.vip(EIP).desired;
        assert_eq!(desired.role, "standby");
        assert!(desired.reason.unwrap().contains("gone"));
    });
}

#[test]
fn the_end_of_the_daemon_moves_nothing_and_a_restart_neither() {
    in_paused_time(async {
        let mut world = World::new(1, |estate| {
            estate.allocate(EIP);
            let tables = estate.add_tables(2);
            config(vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables), by_secondary_ip(SECONDARY)])])
        });
        world.start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(30)).await;
        let before = world.nodes[0].recorder.vip(EIP).claim.unwrap();
        let mark = world.mark();
        world.nodes[0].kill().await;
        pass(seconds(5)).await;
        world.nodes[0].start();
        pass(seconds(60)).await;
        world.nodes[0].stop().await;
        pass(seconds(5)).await;
        world.nodes[0].start();
        pass(seconds(60)).await;
        assert_eq!(world.writes(mark), []);
        let recorder = &world.nodes[0].recorder;
        assert_eq!(recorder.vip(EIP).claim.unwrap(), before, "the same claim, term and time of convergence");
        assert!(recorder.vip(EIP).in_sync);
        assert!(recorder.heard("Takeover").is_empty());
        assert!(recorder.heard("Converged").is_empty());
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
        world.start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(30)).await;
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
fn nothing_is_done_while_reads_fail_except_for_a_new_claim() {
    in_paused_time(async {
        let mut world = World::new(1, |estate| {
            estate.allocate(EIP);
            let tables = estate.add_tables(2);
            config(vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables)])])
        });
        world.start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(30)).await;
        for operation in ["DescribeAddresses", "DescribeRouteTables", "DescribeNetworkInterfaces"] {
            let kind = FaultKind::ServerError { status: 500, code: "InternalError".into() };
            world.estate.fault(Fault::new(kind).at(operation));
        }
        free_elastic_ip_by_hand(&world.estate);
        delete_route_by_hand(&world.estate, &tables(&world)[0]);
        let mark = world.mark();
        pass(seconds(300)).await;
        assert_eq!(world.writes(mark), []);
        assert!(
            world.calls(mark).len() < 3 * 60,
            "a look that fails is not repeated at once: {:?}",
            world.calls(mark).len()
        );
        let state = world.nodes[0].recorder.binding(EIP, &format!("elastic_ip {EIP}")).state;
        assert_eq!(state, "unknown");
        world.up(0, EIP);
        pass(seconds(1)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "a new claim takes all the same");
        assert_eq!(world.estate.route(&tables(&world)[0], ADDRESS), world.eni(0));
    });
}

#[test]
fn without_a_hook_nothing_is_touched() {
    in_paused_time(async {
        let mut world = World::new(1, |estate| {
            estate.allocate(EIP);
            let tables = estate.add_tables(1);
            config(vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables)])])
        });
        point_elastic_ip_by_hand(&world.estate, &world.estate.nodes[0].eni);
        world.nodes[0].computer.add_by_hand(ip(ADDRESS));
        world.start();
        pass(seconds(300)).await;
        assert_eq!(world.writes(Mark::at(0)), []);
        assert!(world.nodes[0].has_local(ADDRESS));
        assert_eq!(world.nodes[0].recorder.vip(EIP).desired.role, "unknown");
    });
}

#[test]
fn a_file_that_cannot_be_used_leaves_the_last_good_one_in_force() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(30)).await;
        let mark = world.mark();
        world.nodes[0].computer.spoil_file(ip(EIP));
        pass(seconds(60)).await;
        assert_eq!(world.writes(mark), []);
        assert!(!world.nodes[0].recorder.condition(EIP, "DesiredValid").holds);
        assert_eq!(world.nodes[0].recorder.heard("DesiredInvalid").len(), 1);
        world.nodes[0].computer.mend_file(ip(EIP));
        pass(millis(1)).await;
        assert!(world.nodes[0].recorder.condition(EIP, "DesiredValid").holds);
    });
}

#[test]
fn a_changed_config_is_taken_over_and_a_bad_one_is_not() {
    in_paused_time(async {
        let mut world = World::new(1, routes(2));
        world.start();
        pass(seconds(1)).await;
        world.up(0, ADDRESS);
        pass(seconds(30)).await;
        let more = world.estate.add_tables(1);
        let node = &world.nodes[0];
        *node.config.borrow_mut() = Err("line 3: unknown key".to_owned());
        let mark = world.mark();
        node.wake(Wake::Config);
        pass(seconds(20)).await;
        assert_eq!(world.writes(mark), []);
        assert_eq!(node.recorder.last().problems[0].reason, "ConfigInvalid");
        *node.config.borrow_mut() = Ok(config(vec![vip(vec![by_route(ADDRESS, &tables(&world))])]));
        node.wake(Wake::Config);
        pass(seconds(1)).await;
        assert_eq!(world.estate.route(&more[0], ADDRESS), world.eni(0), "the new table is taken under the old claim");
        let writes: Vec<_> = world.writes(mark).into_iter().map(|(_, name)| name).collect();
        assert_eq!(writes, ["ReplaceRoute", "CreateRoute"], "for the new table alone, which had not been read yet");
        assert_eq!(node.recorder.last().problems, []);
    });
}

#[test]
fn who_the_node_is_is_asked_until_there_is_an_answer() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.nodes[0].identity.failures.set(8);
        world.start();
        world.up(0, EIP);
        pass(seconds(2)).await;
        assert_eq!(world.nodes[0].recorder.last().problems[0].reason, "NoIdentity");
        pass(seconds(90)).await;
        assert_eq!(world.nodes[0].identity.asked.get(), 9);
        assert_eq!(world.nodes[0].recorder.last().problems, []);
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
    });
}

#[test]
fn an_eni_that_ec2_does_not_show_makes_the_node_ask_anew_who_it_is() {
    in_paused_time(async {
        let mut world = World::new(2, routes(1));
        let table = tables(&world)[0].clone();
        let right = world.nodes[0].identity.node.borrow().clone();
        let mut wrong = right.clone();
        wrong.interfaces.get_mut("eth0").unwrap().eni = "eni-00000000000000bad".parse().unwrap();
        *world.nodes[0].identity.node.borrow_mut() = wrong;
        world.nodes[0].start();
        pass(seconds(1)).await;
        world.up(0, ADDRESS);
        pass(seconds(5)).await;
        assert_eq!(world.estate.route(&table, ADDRESS), None);
        *world.nodes[0].identity.node.borrow_mut() = right;
        pass(seconds(120)).await;
        assert_eq!(world.estate.route(&table, ADDRESS), world.eni(0));
        assert!(world.nodes[0].identity.asked.get() <= 4);
    });
}

#[test]
fn the_reads_of_a_claim_with_dozens_of_tables_stay_within_the_rate_limit_afterwards() {
    in_paused_time(async {
        let mut world = World::new(1, routes(64));
        world.estate.service().set_throttling(Throttling::Off);
        world.start();
        pass(seconds(60)).await;
        let mark = world.mark();
        world.up(0, ADDRESS);
        pass(seconds(120)).await;
        let calls = world.calls(mark);
        let (first, later): (Vec<_>, Vec<_>) = calls.iter().partition(|(at, ..)| *at < seconds(61));
        assert!(first.len() <= 66 + 2 * 3, "{}", first.len());
        // 4 a second and a burst of 20, paid off before.
        for (at, ..) in &later {
            let in_window = later.iter().filter(|(other, ..)| (*at..*at + seconds(10)).contains(other)).count();
            assert!(in_window <= 20 + 40, "{in_window} calls in 10 s");
        }
        assert!(later.len() <= 3 * 20, "{}", later.len());
    });
}

#[test]
fn retries_are_held_back_by_the_rate_limit() {
    in_paused_time(async {
        let mut world = World::new(1, routes(64));
        world.estate.service().set_throttling(Throttling::Off);
        world.start();
        pass(seconds(60)).await;
        world.estate.fault(Fault::new(FaultKind::Throttle).at("ReplaceRoute"));
        world.estate.fault(Fault::new(FaultKind::Throttle).at("CreateRoute"));
        let mark = world.mark();
        world.up(0, ADDRESS);
        pass(seconds(120)).await;
        let calls = world.calls(mark);
        assert!(calls.len() <= 66 + 3 * 12 + 120 * 4, "{} calls in two minutes", calls.len());
    });
}

#[test]
fn a_full_disk_is_a_problem_that_ends_with_it() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.nodes[0].computer.fill_disk(true);
        world.start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(10)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "availability first");
        assert_eq!(world.nodes[0].recorder.last().problems[0].reason, "NotPersisted");
        world.nodes[0].computer.fill_disk(false);
        pass(seconds(10)).await;
        assert_eq!(world.nodes[0].recorder.last().problems, []);
        assert!(world.nodes[0].computer.persisted(ip(EIP)).is_some());
    });
}

#[test]
fn a_kernel_that_refuses_is_told_and_tried_again() {
    in_paused_time(async {
        let mut world = World::new(1, routes(1));
        world.start();
        pass(seconds(1)).await;
        world.nodes[0].computer.fail_kernel(Some(HostError::NotPermitted));
        world.up(0, ADDRESS);
        pass(seconds(10)).await;
        let binding = world.nodes[0].recorder.binding(ADDRESS, &format!("local_address {ADDRESS}"));
        assert_eq!(binding.state, "blocked");
        assert_eq!(world.estate.route(&tables(&world)[0], ADDRESS), world.eni(0));
        world.nodes[0].computer.fail_kernel(None);
        pass(seconds(31)).await;
        assert!(world.nodes[0].has_local(ADDRESS));
    });
}

#[test]
fn an_ipv6_address_moves_between_enis() {
    in_paused_time(async {
        let v6 = "2600:1f18:1::50";
        let mut world = World::new(2, |_| config(vec![vip(vec![by_secondary_ip(SECONDARY), by_secondary_ip(v6)])]));
        world.start();
        pass(seconds(1)).await;
        world.up(0, SECONDARY);
        pass(seconds(30)).await;
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
fn a_secondary_address_lets_go_after_down() {
    in_paused_time(async {
        let mut world = World::new(1, secondary_ip);
        world.start();
        pass(seconds(1)).await;
        world.up(0, SECONDARY);
        pass(seconds(30)).await;
        assert_eq!(world.estate.secondary_ip(SECONDARY), world.eni(0));
        world.down(0, SECONDARY);
        pass(millis(1)).await;
        assert_eq!(world.estate.secondary_ip(SECONDARY), None);
        assert!(!world.nodes[0].has_local(SECONDARY));
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
        world.nodes[0].start();
        pass(seconds(1)).await;
        world.up(0, ADDRESS);
        pass(seconds(30)).await;
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
        world.start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(30)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
        let stranger = world.estate.bystander.eni.clone();
        point_elastic_ip_by_hand(&world.estate, &stranger);
        pass(seconds(300)).await;
        assert_eq!(world.estate.elastic_ip(EIP), Some(stranger));
        assert_eq!(world.nodes[0].recorder.binding(EIP, &format!("elastic_ip {EIP}")).state, "blocked");
        free_elastic_ip_by_hand(&world.estate);
        pass(seconds(15)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "what nobody holds is put back");
    });
}
