//! Calls that fail: nothing else waits for them, and the account is spared.

use crate::world::*;

#[test]
fn a_binding_that_fails_for_ever_delays_no_other_and_is_not_tried_at_once_again() {
    in_paused_time(async {
        let mut world = World::new(2, routes(4));
        let all = tables(&world);
        world.estate.fault(Fault::new(FaultKind::Deny).at("ModifyNetworkInterfaceAttribute"));
        world.start_with_leader_of(ADDRESS, millis(100)).await;
        assert!(all.iter().all(|table| world.estate.route(table, ADDRESS) == world.eni(0)));
        pass(seconds(300)).await;
        let recorder = &world.nodes[0].recorder;
        assert_eq!(recorder.binding(ADDRESS, "source_dest_check eth0").state.as_str(), "blocked");
        assert_eq!(recorder.heard("state: Blocked").len(), 1);
        assert_eq!(recorder.heard("state: Blocked, detail: \"ModifyNetworkInterfaceAttribute").len(), 1, "why");
        assert_eq!(recorder.binding(ADDRESS, &format!("route {}", all[3])).state.as_str(), "in_sync");
        let tries = world.writes(Mark::at(0)).iter().filter(|(_, name)| name.starts_with("Modify")).count();
        assert!((10..=21).contains(&tries), "every 15 to 30 s: {tries}");
        // A change that is denied does not keep another binding's drift from being repaired.
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
        world.start_with_leader_of(ADDRESS, seconds(1)).await;
        for table in tables(&world) {
            assert_eq!(world.estate.route(&table, ADDRESS), world.eni(0));
        }
        pass(seconds(120)).await;
        let missing = world.nodes[0].recorder.binding(ADDRESS, "route rtb-00000000000000bad");
        assert_eq!(missing.state.as_str(), "blocked", "nobody deletes it again and again");
        assert!(missing.last_error.is_some_and(|error| error.class.as_str() == "rejected" && error.failures > 3));
        let mark = world.mark();
        pass(seconds(300)).await;
        let calls = world.calls(mark).len();
        assert!(calls < 200, "neither tries nor looks run wild: {calls} calls in 5 minutes");
    });
}

#[test]
fn a_refusal_that_nothing_explains_is_blocked_with_ec2s_words_and_one_that_moves_is_not() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.start_with_leader_of(EIP, seconds(60)).await;
        let code = "Resource.AlreadyAssociated";
        let refuses = FaultKind::ServerError { status: 400, code: code.into() };
        let refusing = world.estate.fault(Fault::new(refuses).at("AssociateAddress"));
        free_elastic_ip_by_hand(&world.estate);
        let binding = |world: &World| world.nodes[0].recorder.binding(EIP, &format!("elastic_ip {EIP}"));
        let class = |world: &World| binding(world).last_error.map(|error| error.class.as_str().to_owned());
        // Looks may lag, so nobody knows for 15 s whether the refusal passes.
        for second in 1..=15 {
            pass(seconds(1)).await;
            assert!(class(&world).is_none_or(|class| class == "stale"), "after {second} s: {:?}", class(&world));
        }
        assert_eq!(class(&world).as_deref(), Some("stale"));
        pass(seconds(25)).await;
        let blocked = binding(&world);
        assert_eq!(blocked.state.as_str(), "blocked");
        let error = blocked.last_error.unwrap();
        assert_eq!(error.class.as_str(), "rejected");
        assert_eq!(error.cause.reason.unwrap().as_str(), "nothing_moves");
        let recorder = &world.nodes[0].recorder;
        assert_eq!(
            recorder.heard(&format!("state: Blocked, detail: \"AssociateAddress: {code}")).len(),
            1,
            "in EC2's words"
        );
        assert!(!recorder.heard("outcome: Failed(Rejected)").is_empty(), "which the log tells as an error");
        world.estate.mend(refusing);
        pass(seconds(40)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "it is tried all the same");
        assert_eq!(binding(&world).last_error, None);
    });
}

#[test]
fn a_binding_that_is_blocked_and_drifts_by_turns_does_not_begin_anew_each_time() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.start_with_leader_of(EIP, seconds(60)).await;
        let deny = |world: &World| world.estate.fault(Fault::new(FaultKind::Deny).at("AssociateAddress"));
        let denied = deny(&world);
        free_elastic_ip_by_hand(&world.estate);
        pass(seconds(40)).await;
        let binding = |world: &World| world.nodes[0].recorder.binding(EIP, &format!("elastic_ip {EIP}"));
        let first = binding(&world);
        assert_eq!(first.state.as_str(), "blocked");
        world.estate.mend(denied);
        let throttled = world.estate.fault(Fault::new(FaultKind::Throttle).at("AssociateAddress"));
        pass(seconds(40)).await;
        let second = binding(&world);
        assert_eq!((second.state.as_str(), second.since_ms), ("drift", first.since_ms));
        world.estate.mend(throttled);
        let denied = deny(&world);
        pass(seconds(40)).await;
        let third = binding(&world);
        assert_eq!((third.state.as_str(), third.since_ms), ("blocked", first.since_ms));
        world.estate.mend(denied);
        pass(seconds(40)).await;
        assert_eq!(binding(&world).state.as_str(), "in_sync");
        free_elastic_ip_by_hand(&world.estate);
        deny(&world);
        pass(seconds(40)).await;
        assert!(binding(&world).since_ms > third.since_ms, "that is another episode");
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
        let longest = tries.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
        assert!((seconds(15)..=seconds(31)).contains(&longest), "{longest:?}");
        let first = tries.windows(2).take(3).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
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
        assert!(tries[1] - tries[0] <= millis(200), "after a success: {tries:?}");
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
        // Two reads in each interval of a leader.
        assert!(later.len() <= 2 * 52, "{}", later.len());
    });
}

#[test]
fn retries_wait_for_the_rate_limit() {
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
fn what_ec2_refused_of_a_claim_does_not_wait_until_the_rest_is_paid_for() {
    in_paused_time(async {
        let mut world = World::new(1, routes(64));
        world.start();
        pass(seconds(60)).await;
        world.estate.service().set_throttling(Throttling::Default);
        let mark = world.mark();
        world.up(0, ADDRESS);
        // EC2's bucket holds 50 and gets 5 back a second; the other 14 go at 6 a second, so some are refused once more.
        pass(seconds(5)).await;
        let calls = world.calls(mark);
        let refused = calls.iter().filter(|(_, _, code)| code == "RequestLimitExceeded").count();
        assert!((14..=14 + 14 / 5 + 2).contains(&refused), "few of them twice: {refused}");
        let took = calls.iter().filter(|(_, name, code)| *name == "CreateRoute" && code == "OK").map(|(at, ..)| *at);
        let took = took.max().unwrap() - calls[0].0;
        assert!(took < millis(3_000), "2.8 s are possible: {took:?}");
        assert!(world.nodes[0].recorder.vip(ADDRESS).in_sync, "{:?}", world.calls(mark));
    });
}

/// Found as seed 302149 of the simulation.
#[test]
fn a_retry_that_waits_for_the_rate_limit_is_withdrawn_when_the_plan_changes() {
    in_paused_time(async {
        let mut world = World::new(1, routes(64));
        world.estate.service().set_throttling(Throttling::Off);
        world.start();
        pass(seconds(60)).await;
        world.estate.fault(Fault::new(FaultKind::Throttle).at("CreateRoute"));
        world.up(0, ADDRESS);
        pass(seconds(8)).await;
        let mark = world.mark();
        pass(seconds(1)).await;
        assert!(world.writes(mark).len() >= 2, "retries go as the rate limit lets them: {:?}", world.writes(mark));
        let down = world.mark();
        world.down(0, ADDRESS);
        pass(millis(10)).await;
        let mark = world.mark();
        pass(seconds(30)).await;
        let tags = world.writes(down).into_iter().filter(|(_, name)| *name == "CreateTags").count();
        assert_eq!((tags, world.writes(mark)), (1, vec![]), "the claim is withdrawn at once, and nothing else is sent");
    });
}

#[test]
fn what_ec2_throttled_is_in_place_a_second_after_it_stops() {
    for lasted_ms in (5_000..15_000).step_by(500) {
        in_paused_time(async move {
            let mut world = World::new(2, routes(8));
            world.estate.latency(millis(150));
            world.start_with_leader_of(ADDRESS, seconds(60)).await;
            let throttling = world.estate.fault(Fault::new(FaultKind::Throttle));
            world.up(1, ADDRESS);
            pass(millis(lasted_ms)).await;
            world.estate.mend(throttling);
            // A look half a second after the last one failed, its answer, and that of what it lets go.
            pass(millis(1_000)).await;
            for table in &tables(&world) {
                assert_eq!(world.estate.route(table, ADDRESS), world.eni(1), "after {lasted_ms} ms");
            }
        });
    }
}

#[test]
fn what_still_fails_does_not_stand_in_the_way_of_what_goes_again_after_a_fault() {
    for lasted_ms in (10_000..20_000).step_by(1_000) {
        in_paused_time(async move {
            let mut own = Vec::new();
            let mut world = World::new(1, |estate| {
                let mut tables = estate.add_tables(20);
                // The first by name are another account's.
                tables.sort();
                own = tables.split_off(10);
                let mut routed = by_route(ADDRESS, &[tables.clone(), own.clone()].concat());
                let Tables::Ids(refs) = &mut routed.route.as_mut().unwrap().tables else { unreachable!() };
                for table in refs.iter_mut().filter(|table| tables.contains(&table.id.to_string())) {
                    table.account = Account::Role(SHARED.to_owned());
                }
                config(vec![vip(vec![routed])])
            });
            world.estate.latency(millis(150));
            world.start();
            pass(seconds(60)).await;
            let throttling = world.estate.fault(Fault::new(FaultKind::Throttle));
            world.up(0, ADDRESS);
            pass(millis(lasted_ms)).await;
            let kind = FaultKind::ServerError { status: 503, code: "Unavailable".into() };
            world.estate.fault(Fault::new(kind).in_role(SHARED));
            world.estate.mend(throttling);
            pass(millis(1_200)).await;
            for table in &own {
                assert_eq!(world.estate.route(table, ADDRESS), world.eni(0), "after {lasted_ms} ms");
            }
        });
    }
}

#[test]
fn after_a_fault_sixty_vips_are_in_place_as_soon_as_ec2s_buckets_allow() {
    in_paused_time(async {
        let names: Vec<_> = (1..=60).map(|n| format!("20.0.1.{n}")).collect();
        let mut world = World::new(1, |estate| {
            let tables = estate.add_tables(60);
            config(names.iter().zip(tables).map(|(name, table)| vip(vec![by_route(name, &[table])])).collect())
        });
        world.estate.latency(millis(150));
        world.estate.service().set_throttling(Throttling::Default);
        world.start();
        pass(seconds(60)).await;
        let throttling = world.estate.fault(Fault::new(FaultKind::Throttle));
        names.iter().for_each(|name| world.up(0, name));
        pass(seconds(10)).await;
        world.estate.mend(throttling);
        // 50 at once, and 10 at 5 a second; a second to notice.
        pass(seconds(4)).await;
        let in_place =
            names.iter().zip(tables(&world)).filter(|(name, table)| world.estate.route(table, name) == world.eni(0));
        assert_eq!(in_place.count(), 60);
    });
}

#[test]
fn a_claim_that_ec2_did_not_answer_does_not_pay_for_that_when_it_answers_again() {
    for lasted_ms in (8_000..20_000).step_by(500) {
        in_paused_time(async move {
            let mut world = World::new(2, routes(2));
            world.estate.latency(millis(150));
            world.start_with_leader_of(ADDRESS, seconds(60)).await;
            let kind = FaultKind::ServerError { status: 503, code: "Unavailable".into() };
            let failing = world.estate.fault(Fault::new(kind));
            world.up(1, ADDRESS);
            pass(millis(lasted_ms)).await;
            world.estate.mend(failing);
            // A look each second, and what is retried comes at 4 a second; the debt of before would be 5 s.
            pass(millis(2_500)).await;
            for table in tables(&world) {
                assert_eq!(world.estate.route(&table, ADDRESS), world.eni(1), "after {lasted_ms} ms without an answer");
            }
        });
    }
}

#[test]
fn a_claim_is_in_place_a_second_after_the_network_is_back() {
    for lasted_ms in (4_000..14_000).step_by(250) {
        in_paused_time(async move {
            let mut world = World::new(2, routes(2));
            world.estate.latency(millis(150));
            world.start();
            pass(seconds(1)).await;
            world.up(0, ADDRESS);
            pass(seconds(60)).await;
            let cut = world.estate.fault(Fault::new(FaultKind::Cut { how: Cut::Hang }));
            world.up(1, ADDRESS);
            pass(millis(lasted_ms)).await;
            world.estate.mend(cut);
            let mark = world.mark();
            // A look each half second, whatever became of the ones before.
            pass(millis(750)).await;
            let calls = world.calls(mark);
            let seen = calls.iter().any(|(_, name, code)| name.starts_with("Describe") && code == "OK");
            assert!(seen, "after {lasted_ms} ms: {calls:?}");
            // A request that was on its way then is given up 3 s after it was sent, and goes again at once.
            pass(millis(2_750)).await;
            for table in tables(&world) {
                assert_eq!(world.estate.route(&table, ADDRESS), world.eni(1), "after {lasted_ms} ms");
            }
        });
    }
}

#[test]
fn a_look_that_is_only_slow_is_waited_for_whatever_holds_the_claim_up() {
    for kernel_fails in [true, false] {
        in_paused_time(async move {
            let mut world = World::new(1, routes(2));
            world.estate.latency(millis(700));
            world.start();
            pass(seconds(2)).await;
            if kernel_fails {
                let error = KernelError::Kernel { doing: "adding the address".to_owned(), message: "no".to_owned() };
                world.nodes[0].computer.fail_kernel(Some(error));
            } else {
                let kind = FaultKind::ServerError { status: 503, code: "Unavailable".into() };
                world.estate.fault(Fault::new(kind).at("CreateRoute"));
            }
            let mark = world.mark();
            world.up(0, ADDRESS);
            pass(seconds(60)).await;
            let looks = world.calls(mark).iter().filter(|(_, name, _)| *name == "DescribeRouteTables").count();
            // One each half second would be 120.
            assert!(looks <= 40, "{looks} looks, kernel fails: {kernel_fails}");
        });
    }
}

#[test]
fn what_ec2_did_without_saying_so_is_not_done_again() {
    in_paused_time(async {
        let mut world = World::new(1, |estate| {
            estate.allocate(EIP);
            let tables = estate.add_tables(4);
            config(vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables)])])
        });
        world.estate.latency(millis(150));
        world.start();
        pass(seconds(1)).await;
        let writes =
            ["AssociateAddress", "CreateRoute", "ReplaceRoute", "CreateTags", "ModifyNetworkInterfaceAttribute"];
        world.estate.fault(writes.into_iter().fold(Fault::new(FaultKind::DropAfter), Fault::at));
        let mark = world.mark();
        world.up(0, EIP);
        pass(seconds(30)).await;
        assert!(world.nodes[0].recorder.vip(EIP).in_sync);
        // The address, four routes, the record and the check: the look after them showed each.
        assert_eq!(world.writes(mark).len(), 7, "{:?}", world.writes(mark));
    });
}

#[test]
fn a_claim_does_not_wait_for_what_nobody_wants_any_more() {
    in_paused_time(async {
        let mut world = World::new(2, |estate| {
            estate.allocate(EIP);
            let tables = estate.add_tables(64);
            config(vec![vip(vec![by_elastic_ip(EIP)]), vip(vec![by_route(ADDRESS, &tables)])])
        });
        world.estate.service().set_throttling(Throttling::Off);
        world.start_alone_as_leader_of(EIP, seconds(60)).await;
        world.up(0, ADDRESS);
        pass(millis(100)).await;
        world.down(0, EIP);
        pass(millis(500)).await;
        point_elastic_ip_by_hand(&world.estate, &world.estate.nodes[1].eni);
        pass(millis(100)).await;
        world.up(0, EIP);
        pass(millis(100)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
    });
}

#[test]
fn the_end_of_a_claim_ends_the_backoffs_that_are_told() {
    in_paused_time(async {
        let mut world = World::new(1, routes(1));
        world.start();
        pass(seconds(1)).await;
        for name in ["CreateRoute", "ReplaceRoute"] {
            world.estate.fault(Fault::new(FaultKind::Deny).at(name));
        }
        world.up(0, ADDRESS);
        pass(seconds(20)).await;
        world.down(0, ADDRESS);
        pass(seconds(1)).await;
        let last = *world.nodes[0].recorder.backoffs.borrow().last().unwrap();
        assert_eq!(last.1, Duration::ZERO, "{last:?}");
    });
}

#[test]
fn a_node_that_stands_by_contests_nothing() {
    in_paused_time(async {
        let mut world = World::new(2, elastic_ip);
        world.start_alone_as_leader_of(EIP, seconds(20)).await;
        for _ in 0..8 {
            point_elastic_ip_by_hand(&world.estate, &world.estate.nodes[1].eni);
            pass(seconds(45)).await;
        }
        assert!(world.nodes[0].recorder.condition(EIP, "Contested").holds);
        world.down(0, EIP);
        pass(seconds(1)).await;
        assert!(!world.nodes[0].recorder.condition(EIP, "Contested").holds);
    });
}

/// The leader's VIP is stolen again and again, until that counts as a quarrel.
async fn contested(world: &mut World, table: &str) {
    world.start_alone_as_leader_of(ADDRESS, seconds(20)).await;
    for _ in 0..8 {
        point_route_by_hand(&world.estate, table, &world.estate.nodes[1].eni);
        pass(seconds(45)).await;
    }
    assert!(world.nodes[0].recorder.condition(ADDRESS, "Contested").holds);
}

#[test]
fn what_is_not_kept_any_more_is_not_contested() {
    in_paused_time(async {
        let mut world = World::new(2, routes(2));
        let all = tables(&world);
        contested(&mut world, &all[1]).await;
        *world.nodes[0].config.borrow_mut() = Ok(config(vec![vip(vec![by_route(ADDRESS, &all[..1])])]));
        world.nodes[0].wake(Wake::Config);
        pass(seconds(30)).await;
        assert!(!world.nodes[0].recorder.condition(ADDRESS, "Contested").holds);
    });
}

#[test]
fn what_was_not_kept_for_a_while_is_looked_at_twice_as_well() {
    in_paused_time(async {
        let mut world = World::new(2, routes(2));
        let all = tables(&world);
        world.start_alone_as_leader_of(ADDRESS, seconds(20)).await;
        let (whole, stranger) = (world.nodes[0].config.borrow().clone(), world.estate.nodes[1].eni.clone());
        point_route_by_hand(&world.estate, &all[1], &stranger);
        // It is seen, and not taken back yet, when the config comes to know nothing of it.
        while world.nodes[0].recorder.heard("Drift { vip").is_empty() {
            pass(millis(100)).await;
        }
        *world.nodes[0].config.borrow_mut() = Ok(config(vec![vip(vec![by_route(ADDRESS, &all[..1])])]));
        world.nodes[0].wake(Wake::Config);
        pass(seconds(3600)).await;
        *world.nodes[0].config.borrow_mut() = whole;
        world.nodes[0].wake(Wake::Config);
        pass(seconds(4)).await;
        assert_eq!(world.estate.route(&all[1], ADDRESS), Some(stranger), "one look is not enough");
        assert_eq!(world.nodes[0].recorder.heard("Drift { vip").len(), 2, "and it is drift again");
        pass(seconds(20)).await;
        assert_eq!(world.estate.route(&all[1], ADDRESS), world.eni(0));
    });
}
