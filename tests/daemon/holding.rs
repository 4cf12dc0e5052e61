//! An operator holds a VIP: the node goes on to look, and changes nothing.

use vipkeeper::desired::hold::Extent;

use crate::world::*;

const AN_HOUR: Duration = Duration::from_secs(3600);

fn hold(world: &World, node: usize, lasts: Duration) {
    world.nodes[node].computer.hold(ip(ADDRESS), lasts, Extent::ExceptRelease);
}

fn table_leads_to(world: &World) -> Option<String> {
    world.estate.route(&tables(world)[0], ADDRESS)
}

fn is_held(world: &World, node: usize) -> bool {
    let vip = world.nodes[node].recorder.vip(ADDRESS);
    vip.conditions.iter().any(|condition| condition.name.as_str() == "Held" && condition.holds)
}

#[test]
fn a_leader_that_is_held_repairs_nothing_until_the_hold_ends() {
    in_paused_time(async {
        let mut world = World::new(1, routes(1));
        world.start_with_leader_of(ADDRESS, seconds(20)).await;
        hold(&world, 0, seconds(600));
        pass(seconds(1)).await;
        let mark = world.mark();
        delete_route_by_hand(&world.estate, &tables(&world)[0]);
        world.nodes[0].computer.remove_by_hand(ip(ADDRESS));
        pass(seconds(590)).await;
        assert_eq!(world.writes(mark), []);
        assert!(is_held(&world, 0) && !world.nodes[0].has_local(ADDRESS));
        let route = world.nodes[0].recorder.binding(ADDRESS, &format!("route {}", tables(&world)[0]));
        assert_eq!(route.blocked_by.unwrap().as_str(), "held");
        assert_eq!(route.detail, "held, so nothing is done; without the hold: gone, putting it back");
        assert_eq!(world.nodes[0].recorder.heard("Held { vip: 20.0.0.50, why: Some").len(), 2);
        let vip = world.nodes[0].recorder.vip(ADDRESS);
        let held = vip.conditions.iter().find(|condition| condition.name.as_str() == "Held").unwrap();
        let wanted =
            "clients are not served because of the hold: this node leads, and EC2 leads the clients to no node; ";
        assert!(held.reason.as_str() == "Unserved" && held.message.starts_with(wanted), "{held:?}");
        // At its end, without another word.
        pass(seconds(15)).await;
        assert_eq!(table_leads_to(&world), world.eni(0));
        assert!(world.nodes[0].has_local(ADDRESS) && !is_held(&world, 0));
        assert_eq!(world.nodes[0].recorder.heard("Held { vip: 20.0.0.50, why: None }").len(), 1);
    });
}

#[test]
fn a_claim_under_a_hold_takes_nothing_and_takes_everything_once_it_is_resumed() {
    in_paused_time(async {
        let mut world = World::new(1, routes(2));
        world.start();
        pass(seconds(1)).await;
        hold(&world, 0, AN_HOUR);
        let mark = world.mark();
        world.up(0, ADDRESS);
        pass(seconds(300)).await;
        assert_eq!(world.writes(mark), [], "no take, and no claim on record");
        world.nodes[0].computer.resume(ip(ADDRESS));
        pass(seconds(30)).await;
        assert!(tables(&world).iter().all(|table| world.estate.route(table, ADDRESS) == world.eni(0)));
        assert!(world.nodes[0].recorder.is_in_sync(ip(ADDRESS)));
    });
}

#[test]
fn only_a_takeover_that_had_to_wait_for_the_end_of_a_hold_is_told_as_held() {
    in_paused_time(async {
        let mut world = World::new(1, routes(2));
        world.start();
        let told = |world: &World, held: bool| world.nodes[0].recorder.heard(&format!("held: {held} }}")).len();
        pass(seconds(1)).await;
        hold(&world, 0, AN_HOUR);
        world.up(0, ADDRESS);
        pass(seconds(7)).await;
        world.nodes[0].computer.resume(ip(ADDRESS));
        pass(seconds(30)).await;
        assert_eq!((told(&world, true), told(&world, false)), (1, 0));
        // The next claim has nothing to do with that hold, and a hold over a claim that has everything delays nothing.
        world.down(0, ADDRESS);
        pass(seconds(60)).await;
        world.up(0, ADDRESS);
        pass(seconds(30)).await;
        hold(&world, 0, seconds(10));
        pass(seconds(30)).await;
        assert_eq!((told(&world, true), told(&world, false)), (1, 1));
        assert!(!world.nodes[0].recorder.vip(ADDRESS).claim.unwrap().was_held);
    });
}

#[test]
fn a_restart_forgets_no_hold_that_ended_meanwhile() {
    in_paused_time(async {
        let mut world = World::new(1, routes(1));
        world.start();
        pass(seconds(1)).await;
        hold(&world, 0, AN_HOUR);
        world.up(0, ADDRESS);
        pass(seconds(7)).await;
        world.nodes[0].kill().await;
        world.nodes[0].computer.resume(ip(ADDRESS));
        world.nodes[0].start();
        pass(seconds(30)).await;
        let claim = world.nodes[0].recorder.vip(ADDRESS).claim.unwrap();
        assert!(claim.converged_ms.is_some() && claim.was_held, "{claim:?}");
    });
}

#[test]
fn a_leader_that_was_elected_under_a_hold_says_that_the_hold_keeps_clients_unserved() {
    in_paused_time(async {
        let mut world = World::new(2, routes(1));
        world.start_with_leader_of(ADDRESS, seconds(20)).await;
        let condition = |world: &World, name: &str| {
            let vip = world.nodes[1].recorder.vip(ADDRESS);
            vip.conditions.into_iter().find(|condition| condition.name.as_str() == name).unwrap()
        };
        for node in 0..2 {
            hold(&world, node, AN_HOUR);
        }
        pass(seconds(40)).await;
        assert_eq!(condition(&world, "Held").reason.as_str(), "ExceptRelease", "the leader serves");
        world.up(1, ADDRESS);
        pass(seconds(90)).await;
        let held = condition(&world, "Held");
        assert_eq!(held.reason.as_str(), "Unserved");
        assert!(
            held.message.contains("because of the hold: this node leads, and EC2 leads the clients to "),
            "{held:?}"
        );
        let recorded = condition(&world, "ClaimRecorded");
        assert!(!recorded.holds && recorded.message.starts_with("a node that is held writes no tag"), "{recorded:?}");
        assert_eq!(world.nodes[1].recorder.heard("Held { vip: 20.0.0.50, why: Some").len(), 2);
        world.nodes[1].computer.resume(ip(ADDRESS));
        pass(seconds(60)).await;
        assert!(world.nodes[1].recorder.is_in_sync(ip(ADDRESS)));
    });
}

#[test]
fn a_standby_that_is_held_keeps_what_is_moved_to_it_by_hand() {
    in_paused_time(async {
        let mut world = World::new(2, elastic_ip);
        world.start();
        pass(seconds(1)).await;
        world.up(1, EIP);
        pass(seconds(20)).await;
        world.down(1, EIP);
        world.up(0, EIP);
        pass(seconds(20)).await;
        for node in &world.nodes {
            node.computer.hold(ip(EIP), AN_HOUR, Extent::ExceptRelease);
        }
        pass(seconds(1)).await;
        point_elastic_ip_by_hand(&world.estate, &world.estate.nodes[1].eni);
        pass(seconds(300)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(1), "neither taken back nor let go");
        for node in &world.nodes {
            assert!(node.recorder.heard("NobodyServes").is_empty(), "an operator is moving the VIP");
            assert!(node.recorder.heard("clients are not served").is_empty(), "as the hold is meant for");
            node.computer.resume(ip(EIP));
        }
        pass(seconds(60)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
    });
}

/// Whether the node lets go during a hold of this extent, and whether it does once the hold has ended.
async fn let_go(extent: Extent, end: impl Fn(&World)) -> (bool, bool) {
    let mut world = World::new(1, elastic_ip);
    world.start_with_leader_of(EIP, seconds(20)).await;
    world.nodes[0].computer.hold(ip(EIP), AN_HOUR, extent);
    pass(seconds(20)).await;
    end(&world);
    pass(seconds(60)).await;
    let during = world.estate.elastic_ip(EIP).is_none();
    pass(AN_HOUR).await;
    (during, world.estate.elastic_ip(EIP).is_none())
}

#[test]
fn a_down_and_the_guards_death_let_go_unless_the_hold_is_strict() {
    let by_down: fn(&World) = |world| world.down(0, EIP);
    let by_death: fn(&World) = |world| world.nodes[0].computer.kill(world.guards[0]);
    for end in [by_down, by_death] {
        assert_eq!(in_paused_time(let_go(Extent::ExceptRelease, end)), (true, true));
        assert_eq!(in_paused_time(let_go(Extent::Everything, end)), (false, true), "only at the end of the hold");
    }
}

#[test]
fn a_hold_outlives_the_daemon_and_not_the_boot() {
    in_paused_time(async {
        let mut world = World::new(1, routes(1));
        world.start_with_leader_of(ADDRESS, seconds(20)).await;
        hold(&world, 0, AN_HOUR);
        pass(seconds(1)).await;
        world.nodes[0].kill().await;
        delete_route_by_hand(&world.estate, &tables(&world)[0]);
        world.nodes[0].start();
        pass(seconds(120)).await;
        assert_eq!(table_leads_to(&world), None);
        assert!(is_held(&world, 0));
        world.nodes[0].reboot().await;
        world.nodes[0].start();
        pass(seconds(1)).await;
        assert!(!is_held(&world, 0));
    });
}

#[test]
fn what_an_operator_moved_here_stays_through_a_restart_of_the_daemon() {
    for forgets in [false, true] {
        in_paused_time(async {
            let mut world = World::new(1, elastic_ip);
            world.start_with_leader_of(EIP, seconds(20)).await;
            world.nodes[0].computer.hold(ip(EIP), AN_HOUR, Extent::ExceptRelease);
            pass(seconds(20)).await;
            world.nodes[0].computer.kill(world.guards[0]);
            pass(seconds(60)).await;
            assert_eq!(world.estate.elastic_ip(EIP), None, "the guard's death still lets go");
            point_elastic_ip_by_hand(&world.estate, &world.estate.nodes[0].eni);
            pass(seconds(60)).await;
            world.nodes[0].kill().await;
            if forgets {
                world.nodes[0].computer.lose_claims();
            }
            world.nodes[0].start();
            pass(seconds(60)).await;
            assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "the claim file is lost: {forgets}");
        });
    }
}

/// A binding that left while the daemon was down and was moved back by hand looks like one that never left.
#[test]
fn under_a_hold_a_daemon_lets_go_only_of_what_it_saw_itself() {
    for leads_again in [false, true] {
        in_paused_time(async {
            let mut world = World::new(1, elastic_ip);
            world.start_with_leader_of(EIP, seconds(20)).await;
            world.nodes[0].computer.hold(ip(EIP), AN_HOUR, Extent::ExceptRelease);
            pass(seconds(20)).await;
            world.nodes[0].kill().await;
            if leads_again {
                world.nodes[0].start();
                pass(seconds(20)).await;
                world.nodes[0].computer.kill(world.guards[0]);
            } else {
                world.nodes[0].computer.kill(world.guards[0]);
                world.nodes[0].start();
            }
            pass(seconds(60)).await;
            let is_here = world.estate.elastic_ip(EIP).is_some();
            assert_eq!(is_here, !leads_again, "the daemon saw it here while its node led: {leads_again}");
            pass(AN_HOUR).await;
            assert_eq!(world.estate.elastic_ip(EIP), None, "the end of the hold lets go");
        });
    }
}

#[test]
fn a_clock_that_steps_does_not_tell_which_came_first_the_hold_or_the_hook() {
    for by_ms in [-3_600_000, 3_600_000] {
        for hook_is_first in [false, true] {
            in_paused_time(async {
                let mut world = World::new(1, elastic_ip);
                world.start_with_leader_of(EIP, seconds(20)).await;
                let throttled = Fault::new(FaultKind::Throttle).at("DisassociateAddress");
                // A `down` before the hold has not been carried out yet when the hold begins.
                let fault = hook_is_first.then(|| world.estate.fault(throttled));
                if hook_is_first {
                    world.down(0, EIP);
                    pass(seconds(1)).await;
                }
                world.nodes[0].computer.step_clock_ms(by_ms);
                world.nodes[0].computer.hold(ip(EIP), AN_HOUR, Extent::ExceptRelease);
                pass(seconds(1)).await;
                if !hook_is_first {
                    world.nodes[0].computer.step_clock_ms(by_ms);
                    world.down(0, EIP);
                }
                fault.into_iter().for_each(|fault| world.estate.mend(fault));
                pass(seconds(60)).await;
                let is_here = world.estate.elastic_ip(EIP).is_some();
                assert_eq!(is_here, hook_is_first, "the clock steps by {by_ms} ms, the hook first: {hook_is_first}");
            });
        }
    }
}
