//! Looks: when the loop looks, which bindings it puts right, and which bindings it leaves alone.

use vipkeeper::names::OneOf;
use vipkeeper::observe::Source;

use crate::world::*;

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
                    let mut elastic = by_elastic_ip(&public);
                    // One private address carries one Elastic IP.
                    elastic.elastic_ip.as_mut().unwrap().private_ip = (n > 0).then(|| [10, 0, 1, 150 + n as u8].into());
                    vip(vec![elastic, route])
                };
                config((0..vips).map(one).collect())
            });
            world.estate.service().set_throttling(Throttling::Off);
            for table in tables(&world) {
                let change = |account: &mut ec2_endpoint::Account| account.set_route_limit(&table, 100).unwrap();
                world.estate.service().change(Duration::ZERO, change);
            }
            // The other private addresses are not assigned: let each VIP but the first stand by.
            world.start();
            pass(seconds(1)).await;
            for n in 0..vips {
                let public = format!("203.0.113.{}", n + 1);
                if n == 0 { world.up(0, &public) } else { world.down(0, &public) }
            }
            pass(seconds(60)).await;
            assert!(world.nodes[0].recorder.all_in_sync(), "{vips} VIPs");
            let (mark, passes) = (world.mark(), world.nodes[0].recorder.passes.borrow().len());
            pass(seconds(300)).await;
            let passes = world.nodes[0].recorder.passes.borrow().len() - passes;
            assert!((95..=130).contains(&passes), "every 2.7 s, a quarter more or less: {passes}");
            let calls = world.calls(mark);
            assert_eq!(world.writes(mark), []);
            assert_eq!(calls.len(), 3 * passes, "{vips} VIPs");
        });
    }
}

#[test]
fn holders_of_secondary_addresses_of_both_families_are_seen_in_one_read() {
    in_paused_time(async {
        let v6 = "2600:1f18:1::50";
        let addresses = || vec![by_secondary_ip(SECONDARY), by_secondary_ip(v6), by_elastic_ip(EIP)];
        let mut world = World::new(2, |estate| {
            estate.allocate(EIP);
            config(vec![vip(addresses())])
        });
        world.start_with_leader_of(SECONDARY, seconds(60)).await;
        assert!(world.nodes[0].recorder.vip(SECONDARY).in_sync);
        let count =
            |world: &World| -> usize { world.nodes.iter().map(|node| node.recorder.passes.borrow().len()).sum() };
        let (mark, passes) = (world.mark(), count(&world));
        pass(seconds(300)).await;
        let (calls, passes) = (world.calls(mark), count(&world) - passes);
        let of = |operation: &str| calls.iter().filter(|(_, name, _)| *name == operation).count();
        assert_eq!(of("DescribeNetworkInterfaces"), passes);
        assert_eq!((of("DescribeAddresses"), calls.len()), (passes, 2 * passes));
    });
}

#[test]
fn how_things_stand_is_told_at_each_change_after_each_pass_and_every_few_seconds() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        // Each answer wakes the loop by itself.
        for (operation, after) in [("DescribeAddresses", 100), ("DescribeNetworkInterfaces", 200)] {
            world.estate.fault(Fault::new(FaultKind::latency(millis(after))).at(operation));
        }
        world.start_with_leader_of(EIP, seconds(60)).await;
        let recorder = &world.nodes[0].recorder;
        assert!(recorder.vip(EIP).in_sync);
        let (told, passes) = (recorder.told.borrow().len(), recorder.passes.borrow().len());
        pass(seconds(300)).await;
        let (told, passes) = (recorder.told.borrow()[told - 1..].to_vec(), recorder.passes.borrow()[passes..].to_vec());
        assert!(passes.iter().all(|(at, _)| told.contains(at)), "{passes:?} {told:?}");
        assert!(told.windows(2).all(|pair| pair[1] - pair[0] <= HEARTBEAT), "{told:?}");
        // After each pass, and at most once more in each interval.
        assert!(told.len() <= 2 * passes.len() + 2, "{} in {} passes", told.len(), passes.len());
        let now = world.estate.clock.now();
        world.down(0, EIP);
        pass(millis(1)).await;
        assert_eq!(world.nodes[0].recorder.told.borrow().last(), Some(&now));
        assert_eq!(world.nodes[0].recorder.vip(EIP).desired.role.as_str(), "standby");
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
fn while_nobody_holds_the_vip_a_standby_looks_often_and_knows_what_the_first_leader_made() {
    // Whenever that leader comes, between two looks of a standby.
    for after_s in (60..90).step_by(5) {
        in_paused_time(async move {
            let mut world = World::new(2, routes(2));
            world.start();
            pass(seconds(after_s)).await;
            world.up(0, ADDRESS);
            pass(millis(12_600)).await;
            let mark = world.mark();
            world.up(1, ADDRESS);
            pass(seconds(1)).await;
            let writes = world.writes(mark).into_iter().map(|(_, name)| name);
            let routes: Vec<_> = writes.filter(|name| name.ends_with("Route")).collect();
            assert_eq!(routes, ["ReplaceRoute"; 2], "nothing is tried that must fail");
        });
    }
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
        world.start_with_leader_of(EIP, seconds(30)).await;
        let stranger = world.estate.bystander.eni.clone();

        delete_route_by_hand(&world.estate, &table);
        free_elastic_ip_by_hand(&world.estate);
        pass(millis(12_600)).await;
        assert_eq!(world.estate.route(&table, ADDRESS), world.eni(0));
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));

        // So long that what was put back is forgotten.
        pass(seconds(610)).await;
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

/// An Elastic IP, two routes and a secondary address, with 150 ms for each call.
fn everything(estate: &Estate) -> Config {
    estate.allocate(EIP);
    let tables = estate.add_tables(2);
    estate.fault(Fault::new(FaultKind::latency(millis(150))));
    config(vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables), by_secondary_ip(SECONDARY)])])
}

/// Where the Elastic IP, the second route and the secondary address point.
fn places(world: &World) -> [Option<String>; 3] {
    let table = tables(world)[1].clone();
    let estate = &world.estate;
    [estate.elastic_ip(EIP), estate.route(&table, ADDRESS), estate.secondary_ip(SECONDARY)]
}

#[test]
fn what_somebody_removed_is_back_within_four_seconds_and_what_was_pointed_elsewhere_within_nine() {
    in_paused_time(async {
        let mut world = World::new(3, everything);
        let table = tables(&world)[1].clone();
        world.start_with_leader_of(EIP, seconds(60)).await;
        let (eni, stranger) = (world.eni(0).unwrap(), world.estate.bystander.eni.clone());
        let here = [world.eni(0), world.eni(0), world.eni(0)];
        for round in 0..12 {
            // At another moment of the interval each time, and so late that nothing of the last round counts.
            pass(seconds(650) + millis(310) * round).await;
            free_elastic_ip_by_hand(&world.estate);
            delete_route_by_hand(&world.estate, &table);
            world.estate.by_hand(&Operation::UnassignPrivateIpAddresses(UnassignPrivateIpAddresses {
                network_interface_id: eni.clone(),
                private_ip_addresses: vec![SECONDARY.to_owned()],
            }));
            assert_eq!(places(&world), [None, None, None]);
            pass(seconds(4)).await;
            assert_eq!(places(&world), here, "round {round}");

            // A second change soon after the first is no fight yet.
            pass(seconds(20)).await;
            point_elastic_ip_by_hand(&world.estate, &stranger);
            point_route_by_hand(&world.estate, &table, &stranger);
            world.estate.by_hand(&Operation::AssignPrivateIpAddresses(AssignPrivateIpAddresses {
                network_interface_id: stranger.clone(),
                private_ip_addresses: vec![SECONDARY.to_owned()],
                allow_reassignment: true,
                ..Default::default()
            }));
            pass(seconds(9)).await;
            assert_eq!(places(&world), here, "round {round}");
        }
    });
}

#[test]
fn in_sync_the_whole_cluster_looks_thirty_times_a_minute_at_most_and_writes_nothing() {
    in_paused_time(async {
        let mut world = World::new(3, everything);
        world.start_with_leader_of(EIP, seconds(90)).await;
        let mark = world.mark();
        pass(seconds(600)).await;
        let mut reads = std::collections::BTreeMap::<_, u32>::new();
        world.calls(mark).into_iter().for_each(|(_, name, _)| *reads.entry(name).or_default() += 1);
        let names: Vec<_> = reads.keys().copied().collect();
        assert_eq!(names, ["DescribeAddresses", "DescribeNetworkInterfaces", "DescribeRouteTables"]);
        assert!(reads.values().all(|count| (200..=300).contains(count)), "in ten minutes: {reads:?}");
    });
}

#[test]
fn a_leader_looks_less_often_while_the_account_is_throttled_and_while_reads_fail() {
    in_paused_time(async {
        let mut world = World::new(1, everything);
        world.start_with_leader_of(EIP, seconds(60)).await;
        let looks = |world: &World, mark: Mark| {
            let calls = world.calls(mark);
            calls.iter().filter(|(_, name, _)| *name == "DescribeAddresses").count()
        };
        for kind in [
            FaultKind::ServerError { status: 503, code: "RequestLimitExceeded".into() },
            FaultKind::ServerError { status: 503, code: "Unavailable".into() },
        ] {
            let mark = world.mark();
            pass(seconds(60)).await;
            assert!(looks(&world, mark) > 16, "{} in a quiet minute", looks(&world, mark));
            let fault = world.estate.fault(Fault::new(kind).at("DescribeRouteTables"));
            pass(seconds(60)).await;
            let mark = world.mark();
            pass(seconds(60)).await;
            assert!(looks(&world, mark) <= 10, "{} in a bad minute", looks(&world, mark));
            world.estate.mend(fault);
            pass(seconds(360)).await;
        }
    });
}

#[test]
fn a_lost_local_address_comes_back_at_once() {
    in_paused_time(async {
        let mut world = World::new(1, routes(1));
        world.start_with_leader_of(ADDRESS, seconds(30)).await;
        let mark = world.mark();
        world.nodes[0].computer.remove_by_hand(ip(ADDRESS));
        pass(millis(1)).await;
        assert!(world.nodes[0].has_local(ADDRESS));
        assert_eq!(world.calls(mark), [], "EC2 has no part in it");
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
        world.start_with_leader_of(EIP, seconds(30)).await;
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
        assert_eq!(state.as_str(), "unknown");
        world.up(0, EIP);
        pass(seconds(1)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "a new claim takes all the same");
        assert_eq!(world.estate.route(&tables(&world)[0], ADDRESS), world.eni(0));
    });
}

#[test]
fn without_a_hook_nothing_is_touched() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip_and_route);
        point_elastic_ip_by_hand(&world.estate, &world.estate.nodes[0].eni);
        world.nodes[0].computer.add_by_hand(ip(ADDRESS));
        world.start();
        pass(seconds(300)).await;
        assert_eq!(world.writes(Mark::at(0)), []);
        assert!(world.nodes[0].has_local(ADDRESS));
        assert_eq!(world.nodes[0].recorder.vip(EIP).desired.role.as_str(), "unknown");
    });
}

#[test]
fn a_record_that_is_not_read_any_more_is_not_asked_for_again_and_again() {
    in_paused_time(async {
        let mut anchor = None;
        let mut world = World::new(2, |estate| {
            anchor = Some(estate.allocate(EIP).parse().unwrap());
            let tables = estate.add_tables(1);
            let mut routed = vip(vec![by_route(ADDRESS, &tables)]);
            routed.anchor = anchor.clone().map(AnchorConfig::ElasticIp);
            config(vec![vip(vec![by_elastic_ip(EIP)]), routed])
        });
        world.start_alone_as_leader_of(ADDRESS, seconds(30)).await;
        // The Elastic IP leaves the config, and with it the tags that were read with it.
        let node = &world.nodes[0];
        node.config.borrow_mut().as_mut().unwrap().vips.remove(0);
        node.wake(Wake::Config);
        pass(seconds(30)).await;
        point_route_by_hand(&world.estate, &tables(&world)[0], &world.estate.nodes[1].eni);
        let mark = world.mark();
        pass(seconds(60)).await;
        let rounds = world.calls(mark).iter().filter(|(_, name, _)| *name == "DescribeRouteTables").count();
        assert!((15..=30).contains(&rounds), "{rounds} rounds in a minute");
        assert_eq!(world.estate.route(&tables(&world)[0], ADDRESS), world.eni(1), "without a record nobody fights");
    });
}

/// A route whose claims are on an Elastic IP that is answered for after the tables.
fn with_claims_that_lag(estate: &Estate) -> Config {
    for (operation, after_ms) in [("DescribeRouteTables", 100), ("DescribeAddresses", 200)] {
        estate.fault(Fault::new(FaultKind::latency(millis(after_ms))).at(operation));
    }
    estate.allocate(EIP);
    let tables = estate.add_tables(2);
    config(vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables)])])
}

#[test]
fn a_drift_is_told_once_although_the_claims_come_after_the_bindings() {
    for is_recorded in [true, false] {
        in_paused_time(async move {
            let mut world = World::new(2, with_claims_that_lag);
            if !is_recorded {
                world.estate.fault(Fault::new(FaultKind::Deny).at("CreateTags"));
            }
            let table = tables(&world)[1].clone();
            world.start_with_leader_of(EIP, seconds(70)).await;
            let stranger = world.estate.bystander.eni.clone();
            point_route_by_hand(&world.estate, &table, &stranger);
            pass(seconds(120)).await;
            let taken_back = world.estate.route(&table, ADDRESS) == world.eni(0);
            assert_eq!(taken_back, is_recorded);
            let drifts = world.nodes[0].recorder.heard("Drift {");
            assert_eq!(drifts.len(), 1, "{drifts:?}");
        });
    }
}

/// An Elastic IP, and a route in two tables, of which one is another account's; and that account's failure.
fn with_a_shared_table(estate: &Estate) -> Config {
    estate.allocate(EIP);
    let tables = estate.add_tables(2);
    let mut routed = by_route(ADDRESS, &tables);
    let Tables::Ids(refs) = &mut routed.route.as_mut().unwrap().tables else { unreachable!() };
    refs[1].account = Account::Role(SHARED.to_owned());
    config(vec![vip(vec![by_elastic_ip(EIP), routed])])
}

fn shared_account_fails() -> Fault {
    Fault::new(FaultKind::ServerError { status: 503, code: "Unavailable".into() }).in_role(SHARED)
}

#[test]
fn a_source_that_fails_for_ever_makes_nobody_look_at_the_others_less_often() {
    in_paused_time(async {
        let mut world = World::new(1, with_a_shared_table);
        world.start_with_leader_of(EIP, seconds(30)).await;
        world.estate.fault(shared_account_fails());
        pass(seconds(300)).await;
        for _ in 0..20 {
            free_elastic_ip_by_hand(&world.estate);
            pass(millis(12_600)).await;
            assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "back within an interval");
            // So long that this is not counted any more.
            pass(seconds(607)).await;
        }
        let named = format!("(of {SHARED})");
        assert!(!world.nodes[0].recorder.heard(&named).is_empty(), "the log says whose tables could not be read");
    });
}

#[test]
fn a_claim_that_cannot_take_everything_does_not_look_all_the_time() {
    in_paused_time(async {
        let mut world = World::new(1, with_a_shared_table);
        world.estate.fault(shared_account_fails());
        world.start_with_leader_of(EIP, seconds(120)).await;
        let mark = world.mark();
        pass(seconds(300)).await;
        let rounds = world.calls(mark).iter().filter(|(_, name, _)| *name == "DescribeAddresses").count();
        // 30 by the interval of a leader whose reads fail, some more because what fails is tried again and looked at
        // each time.
        assert!((30..=80).contains(&rounds), "{rounds} rounds in five minutes");
    });
}

#[test]
fn an_account_that_refuses_is_told_until_it_does_not_although_another_answers() {
    in_paused_time(async {
        let mut world = World::new(1, with_a_shared_table);
        let denied = world.estate.fault(Fault::new(FaultKind::Deny).at("DescribeRouteTables").in_role(SHARED));
        world.start();
        pass(seconds(120)).await;
        let recorder = Rc::clone(&world.nodes[0].recorder);
        let tables_of = |role: Option<&str>| {
            let mut sources = recorder.last().sources.into_iter().filter(|source| source.source == Source::RouteTables);
            sources.find(|source| source.part.as_deref() == role).expect("both accounts are read")
        };
        let is_well = |role| tables_of(role).error.is_none() && tables_of(role).last_success_ms.is_some();
        assert!(recorder.heard("Observed { source: RouteTables").is_empty(), "one of its two accounts was not");
        assert!(is_well(None), "{:?}", tables_of(None));
        let shared = tables_of(Some(SHARED));
        assert!(shared.error.is_some() && shared.last_success_ms.is_none(), "{shared:?}");
        let unseen = recorder.binding(EIP, &format!("route {} {ADDRESS}", tables(&world)[1]));
        assert_eq!(unseen.read_error_class.as_ref().map(OneOf::as_str), Some("denied"), "{unseen:?}");
        world.estate.mend(denied);
        pass(seconds(60)).await;
        assert!(is_well(None) && is_well(Some(SHARED)), "{:?}", tables_of(Some(SHARED)));
        assert!(!recorder.heard("Observed { source: RouteTables").is_empty());
    });
}

#[test]
fn an_account_that_refuses_for_ever_does_not_hide_the_end_of_a_fault() {
    for lasts in [20, 22, 24, 26, 28] {
        in_paused_time(async move {
            let mut world = World::new(1, with_a_shared_table);
            world.estate.fault(Fault::new(FaultKind::Deny).at("DescribeRouteTables").in_role(SHARED));
            world.start();
            pass(seconds(10)).await;
            let kind = FaultKind::ServerError { status: 503, code: "Unavailable".into() };
            let fault = world.estate.fault(Fault::new(kind).at("DescribeAddresses").at("AssociateAddress"));
            world.up(0, EIP);
            pass(seconds(lasts)).await;
            assert_eq!(world.estate.elastic_ip(EIP), None);
            world.estate.mend(fault);
            pass(seconds(1)).await;
            assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "after {lasts} s");
        });
    }
}

/// A VIP by the route tables with the tag `pgpool=clients`.
fn by_tag(_: &Estate) -> Config {
    let mut routed = by_route(ADDRESS, &[]);
    let tags = [("pgpool".to_owned(), "clients".to_owned())].into();
    routed.route.as_mut().unwrap().tables = Tables::Tagged { tags, account: Account::Own };
    config(vec![vip(vec![routed])])
}

#[test]
fn tables_are_looked_for_by_tag_rarely_and_at_once_at_a_reload() {
    in_paused_time(async {
        let mut world = World::new(1, by_tag);
        let add_table = || {
            let tables = world.estate.add_tables(1);
            let tags = vec![TagSpec { key: "pgpool".to_owned(), value: Some("clients".to_owned()) }];
            let change = TagChange { resources: tables.clone(), tags, dry_run: false };
            world.estate.by_hand(&Operation::CreateTags(change));
            tables[0].clone()
        };
        let first = add_table();
        world.nodes[0].start();
        pass(seconds(1)).await;
        world.up(0, ADDRESS);
        pass(seconds(30)).await;
        assert_eq!(world.estate.route(&first, ADDRESS), world.eni(0));
        let second = add_table();
        pass(seconds(60)).await;
        assert_eq!(world.estate.route(&second, ADDRESS), None, "nobody has looked for it yet");
        world.nodes[0].wake(Wake::Config);
        pass(seconds(1)).await;
        assert_eq!(world.estate.route(&second, ADDRESS), world.eni(0));
        let third = add_table();
        pass(seconds(320)).await;
        assert_eq!(world.estate.route(&third, ADDRESS), world.eni(0));
    });
}

#[test]
fn tables_that_cannot_be_looked_for_by_tag_are_told() {
    in_paused_time(async {
        let mut world = World::new(1, by_tag);
        world.estate.fault(Fault::new(FaultKind::Deny).at("DescribeRouteTables"));
        world.start();
        pass(seconds(60)).await;
        let sources = world.nodes[0].recorder.last().sources;
        let tables = sources.iter().find(|source| source.source == Source::RouteTables).expect("it was to be read");
        assert!(tables.error.as_deref().is_some_and(|error| error.contains("UnauthorizedOperation")), "{tables:?}");
        assert_eq!(tables.last_success_ms, None);
    });
}

#[test]
fn tables_that_get_their_tag_after_the_node_has_looked_are_found_with_the_next_look() {
    in_paused_time(async {
        let mut world = World::new(1, by_tag);
        world.start();
        pass(seconds(10)).await;
        world.up(0, ADDRESS);
        let mark = world.mark();
        pass(seconds(60)).await;
        let looks = world.calls(mark).iter().filter(|(_, name, _)| *name == "DescribeRouteTables").count();
        assert!((18..=30).contains(&looks), "once a pass: {looks}");
        let tables = world.estate.add_tables(1);
        let tags = vec![TagSpec { key: "pgpool".to_owned(), value: Some("clients".to_owned()) }];
        let change = TagChange { resources: tables.clone(), tags, dry_run: false };
        world.estate.by_hand(&Operation::CreateTags(change));
        pass(seconds(15)).await;
        assert_eq!(world.estate.route(&tables[0], ADDRESS), world.eni(0));
    });
}
