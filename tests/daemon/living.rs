//! The surroundings of the loop: files, guards, identity, config, the kernel; and the loop's own end.

use vipkeeper::problem::ProblemReason;

use crate::world::*;

#[test]
fn down_removes_the_local_address_at_once_even_if_ec2_hangs() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip_and_route);
        world.start_with_leader_of(EIP, seconds(30)).await;
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
        let mut world = World::new(1, elastic_ip_and_route);
        world.start_with_leader_of(EIP, seconds(30)).await;
        world.nodes[0].computer.kill(world.guards[0]);
        pass(millis(10)).await;
        assert!(!world.nodes[0].has_local(ADDRESS));
        assert_eq!(world.estate.elastic_ip(EIP), None);
        let desired = world.nodes[0].recorder.vip(EIP).desired;
        assert_eq!(desired.role.as_str(), "standby");
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
        world.start_with_leader_of(EIP, seconds(30)).await;
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
fn a_file_that_cannot_be_used_leaves_the_last_good_one_in_force() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.start_with_leader_of(EIP, seconds(30)).await;
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
        world.start_with_leader_of(ADDRESS, seconds(30)).await;
        let more = world.estate.add_tables(1);
        let node = &world.nodes[0];
        *node.config.borrow_mut() = Err("line 3: unknown key".to_owned());
        let mark = world.mark();
        node.wake(Wake::Config);
        pass(seconds(20)).await;
        assert_eq!(world.writes(mark), []);
        assert_eq!(node.recorder.last().problems[0].reason, ProblemReason::ConfigInvalid);
        assert_eq!(node.recorder.heard("line 3: unknown key").len(), 1, "said once");
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
        assert_eq!(world.nodes[0].recorder.last().problems[0].reason, ProblemReason::NoIdentity);
        pass(seconds(90)).await;
        assert_eq!(world.nodes[0].identity.asked.get(), 9);
        assert_eq!(world.nodes[0].recorder.last().problems, []);
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
    });
}

#[test]
fn a_part_that_does_not_work_is_a_problem_for_as_long_as_that_lasts() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.start();
        world.nodes[0].part(ProblemReason::Listen, Err("cannot listen"));
        world.nodes[0].part(ProblemReason::WatchFiles, Err("cannot watch"));
        pass(seconds(1)).await;
        assert_eq!(problems(&world), [ProblemReason::Listen, ProblemReason::WatchFiles], "from the start on");
        world.nodes[0].part(ProblemReason::Listen, Ok(()));
        pass(Duration::from_millis(10)).await;
        assert_eq!(problems(&world), [ProblemReason::WatchFiles]);
        world.nodes[0].part(ProblemReason::Listen, Err("nobody is let in any more"));
        world.nodes[0].part(ProblemReason::WatchFiles, Ok(()));
        pass(Duration::from_millis(10)).await;
        assert_eq!(problems(&world), [ProblemReason::Listen], "and later as well");
        world.nodes[0].part(ProblemReason::Listen, Ok(()));
        pass(Duration::from_millis(10)).await;
        assert_eq!(problems(&world), []);
    });
}

fn problems(world: &World) -> Vec<ProblemReason> {
    world.nodes[0].recorder.last().problems.into_iter().filter_map(|problem| problem.reason.known()).collect()
}

#[test]
fn a_hook_that_finds_the_disk_full_is_left_the_room_that_is_kept_and_the_claim_fits_as_well() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.start();
        pass(seconds(1)).await;
        let computer = &world.nodes[0].computer;
        computer.begin_to_write();
        pass(millis(1)).await;
        assert_eq!(computer.room(), Room::Kept, "there is room without");

        computer.fill_disk(true);
        let mark = world.mark();
        pass(seconds(60)).await;
        assert_eq!((computer.room(), problems(&world)), (Room::Kept, vec![]), "nobody needs it yet");
        assert_ne!(world.calls(mark).len(), 0, "passes went by");
        pass(millis(1)).await;
        let mark = world.mark();
        computer.begin_to_write();
        pass(millis(1)).await;
        assert_eq!((computer.room(), problems(&world)), (Room::Left, vec![ProblemReason::NoReserve]));
        assert_eq!(world.calls(mark), [], "no pass is brought forward");
        world.up(0, EIP);
        pass(seconds(60)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
        assert!(computer.persisted(ip(EIP)).is_some());
        assert_eq!((computer.room(), problems(&world)), (Room::Left, vec![ProblemReason::NoReserve]));

        computer.fill_disk(false);
        pass(seconds(15)).await;
        assert_eq!((computer.room(), problems(&world)), (Room::Kept, vec![]));
    });
}

#[test]
fn a_full_disk_is_a_problem_that_ends_with_it() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.nodes[0].computer.fill_disk(true);
        world.start_with_leader_of(EIP, seconds(10)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "availability first");
        assert_eq!(problems(&world), [ProblemReason::NoReserve, ProblemReason::NotPersisted]);
        pass(seconds(60)).await;
        for problem in &world.nodes[0].recorder.last().problems {
            assert_eq!(problem.times, 1, "it is told once, and not in each turn: {problem:?}");
        }
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
        world.nodes[0].computer.fail_kernel(Some(KernelError::NotPermitted));
        world.up(0, ADDRESS);
        pass(seconds(10)).await;
        let binding = world.nodes[0].recorder.binding(ADDRESS, &format!("local_address {ADDRESS}"));
        assert_eq!(binding.state.as_str(), "blocked");
        assert_eq!(world.estate.route(&tables(&world)[0], ADDRESS), world.eni(0));
        world.nodes[0].computer.fail_kernel(None);
        pass(seconds(31)).await;
        assert!(world.nodes[0].has_local(ADDRESS));
    });
}

#[test]
fn a_kernel_that_hangs_holds_nothing_up() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.nodes[0].computer.slow_kernel(seconds(3));
        world.start();
        pass(millis(500)).await;
        world.up(0, EIP);
        pass(millis(200)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
    });
}

#[test]
fn what_a_vip_that_left_the_config_was_still_to_write_is_not_sent() {
    in_paused_time(async {
        let mut world = World::new(1, |estate| {
            let mut config = routes(40)(estate);
            config.limits.burst = 5;
            config
        });
        world.start();
        pass(seconds(1)).await;
        // Refused takes wait for the rate limit.
        let throttled = world.estate.fault(Fault::new(FaultKind::Throttle).at("CreateRoute"));
        world.up(0, ADDRESS);
        pass(seconds(2)).await;
        world.estate.mend(throttled);
        world.estate.allocate(EIP);
        *world.nodes[0].config.borrow_mut() = Ok(config(vec![vip(vec![by_elastic_ip(EIP)])]));
        world.nodes[0].wake(Wake::Config);
        pass(seconds(1)).await;
        let mark = world.mark();
        pass(seconds(60)).await;
        assert_eq!(world.writes(mark), []);
    });
}

#[test]
fn a_vip_that_joins_later_counts_its_claim_from_then() {
    in_paused_time(async {
        let mut world = World::new(1, |estate| {
            estate.allocate(EIP);
            let tables = estate.add_tables(1);
            config(vec![vip(vec![by_elastic_ip(EIP)]), vip(vec![by_route(ADDRESS, &tables)])])
        });
        world.start_with_leader_of(ADDRESS, seconds(30)).await;
        let whole = world.nodes[0].config.borrow().clone();
        world.nodes[0].config.borrow_mut().as_mut().unwrap().vips.pop();
        world.nodes[0].wake(Wake::Config);
        let tags = vec![TagSpec { key: format!("vipkeeper/{ADDRESS}/i-0b"), value: Some("700".to_owned()) }];
        let old = TagChange { resources: tables(&world), tags, dry_run: false };
        world.estate.by_hand(&Operation::CreateTags(old));
        pass(seconds(7200)).await;
        assert_eq!(world.nodes[0].computer.watched(), [EIP.parse().unwrap()].into(), "the guard of a VIP that left");
        *world.nodes[0].config.borrow_mut() = whole;
        let mark = world.mark();
        world.nodes[0].wake(Wake::Config);
        pass(seconds(60)).await;
        assert_eq!(world.writes(mark), [], "nobody has seen the claim hold for an hour");
        pass(seconds(3700)).await;
        assert_eq!(world.writes(mark).len(), 1, "the old claim is forgotten");
    });
}

#[test]
fn a_kernel_that_does_not_answer_does_not_make_the_loop_spin() {
    in_paused_time(async {
        let mut world = World::new(1, routes(1));
        world.start();
        pass(seconds(1)).await;
        world.nodes[0].computer.slow_kernel(seconds(3));
        let error = KernelError::NoAnswer { doing: "adding an address".to_owned(), after: seconds(3) };
        world.nodes[0].computer.fail_kernel(Some(error));
        world.up(0, ADDRESS);
        pass(seconds(10)).await;
        // Time passes: a loop that never rests would hold it up for ever.
        assert_eq!(world.nodes[0].recorder.vip(ADDRESS).desired.role.as_str(), "leader");
    });
}

#[test]
fn a_kernel_change_without_an_answer_is_unknown_and_one_that_was_refused_has_failed() {
    in_paused_time(async {
        let refused = KernelError::Kernel { doing: "add the address".to_owned(), message: "no".to_owned() };
        let unanswered = KernelError::NoAnswer { doing: "add the address".to_owned(), after: seconds(3) };
        for (error, ended, not) in
            [(refused, "Failed(Transient)", "Unknown("), (unanswered, "Unknown(Transient)", "Failed(")]
        {
            let mut world = World::new(1, routes(1));
            world.start();
            pass(seconds(1)).await;
            world.nodes[0].computer.fail_kernel(Some(error));
            world.up(0, ADDRESS);
            pass(seconds(10)).await;
            let recorder = &world.nodes[0].recorder;
            assert!(!recorder.heard(&format!("outcome: {ended}")).is_empty(), "{ended}");
            assert!(recorder.heard(&format!("outcome: {not}")).is_empty(), "{not}");
        }
    });
}

#[test]
fn connections_end_before_their_address_goes_and_an_address_goes_where_they_cannot_end() {
    in_paused_time(async {
        let unsupported =
            KernelError::Kernel { doing: "reset".to_owned(), message: "operation not supported".to_owned() };
        for (failure, told) in [(None, "ended: 3, left: None"), (Some(unsupported), "ended: 0, left: Some(Failed(")] {
            let ends = if failure.is_none() { 3 } else { 0 };
            let mut world = World::new(1, routes(1));
            world.start_with_leader_of(ADDRESS, seconds(30)).await;
            if let Some(error) = failure {
                world.nodes[0].computer.fail_resets(error);
            }
            world.down(0, ADDRESS);
            pass(millis(100)).await;
            assert!(!world.nodes[0].has_local(ADDRESS));
            assert_eq!(world.nodes[0].computer.resets(), [ip(ADDRESS)]);
            assert_eq!(world.nodes[0].recorder.heard(told).len(), 1);
            let shown = world.nodes[0].recorder.vip(ADDRESS).connections.unwrap();
            assert_eq!((shown.reset, shown.left.is_some()), (ends, ends == 0), "{shown:?}");

            // The next leadership adds to the count, and a node that has never let go shows nothing.
            world.up(0, ADDRESS);
            pass(seconds(10)).await;
            world.down(0, ADDRESS);
            pass(millis(100)).await;
            assert_eq!(world.nodes[0].recorder.vip(ADDRESS).connections.unwrap().reset, 2 * ends);
        }
    });
}

#[test]
fn connections_are_left_behind_where_the_configuration_says_so() {
    in_paused_time(async {
        let mut world = World::new(1, |estate| Config { connections: Connections::Leave, ..routes(1)(estate) });
        world.start_with_leader_of(ADDRESS, seconds(30)).await;
        world.down(0, ADDRESS);
        pass(seconds(1)).await;
        assert!(!world.nodes[0].has_local(ADDRESS));
        assert_eq!(world.nodes[0].computer.resets(), [] as [IpAddr; 0]);
        assert_eq!(world.nodes[0].recorder.vip(ADDRESS).connections, None);
    });
}

/// An Elastic IP at a secondary address of its own VIP.
fn elastic_ip_at_a_secondary(estate: &Estate) -> Config {
    estate.allocate(EIP);
    let mut elastic = by_elastic_ip(EIP);
    let private_ip = Some(SECONDARY.parse().unwrap());
    elastic.elastic_ip = elastic.elastic_ip.map(|elastic| ElasticIpConfig { private_ip, ..elastic });
    config(vec![vip(vec![elastic, by_secondary_ip(SECONDARY)])])
}

#[test]
fn clients_of_an_elastic_ip_are_told_only_where_its_private_address_is_the_vips_own() {
    in_paused_time(async {
        for (config, told) in [
            (elastic_ip as fn(&Estate) -> Config, vec![]),
            (elastic_ip_at_a_secondary as fn(&Estate) -> Config, vec![ip(SECONDARY)]),
        ] {
            for ends in ["down", "guard", "superseded"] {
                let mut world = World::new(2, config);
                world.start_with_leader_of(EIP, seconds(30)).await;
                match ends {
                    "down" => world.down(0, EIP),
                    "guard" => world.nodes[0].computer.kill(world.guards[0]),
                    _ => world.up(1, EIP),
                }
                pass(seconds(20)).await;
                assert_eq!(world.nodes[0].computer.resets(), told, "{ends}");
            }
        }
    });
}

#[test]
fn what_the_kernel_is_asked_meanwhile_does_not_hold_up_a_down() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip_and_route);
        world.start_with_leader_of(EIP, seconds(30)).await;
        world.nodes[0].computer.slow_kernel(millis(500));
        world.nodes[0].wake(Wake::LocalAddress);
        pass(millis(10)).await;
        world.down(0, EIP);
        pass(millis(100)).await;
        assert!(!world.nodes[0].has_local(ADDRESS));
        assert_eq!(world.estate.elastic_ip(EIP), None);
    });
}

#[test]
fn a_down_looks_again_where_the_last_look_at_the_kernel_failed() {
    in_paused_time(async {
        let mut world = World::new(1, routes(1));
        world.start_with_leader_of(ADDRESS, seconds(30)).await;
        world.estate.fault(Fault::new(FaultKind::Cut { how: Cut::Hang }));
        pass(seconds(13)).await;
        let error =
            KernelError::Kernel { doing: "reading the addresses".to_owned(), message: "interrupted".to_owned() };
        world.nodes[0].computer.fail_kernel(Some(error));
        world.nodes[0].wake(Wake::LocalAddress);
        pass(millis(10)).await;
        world.nodes[0].computer.fail_kernel(None);
        world.down(0, ADDRESS);
        pass(millis(50)).await;
        assert!(!world.nodes[0].has_local(ADDRESS));
    });
}

#[test]
fn a_node_that_another_claim_superseded_leads_again_once_claims_are_off() {
    in_paused_time(async {
        let mut world = World::new(2, elastic_ip);
        world.start();
        pass(seconds(1)).await;
        world.up(0, EIP);
        pass(seconds(20)).await;
        world.up(1, EIP);
        pass(seconds(40)).await;
        assert!(world.nodes[0].recorder.condition(EIP, "Superseded").holds);
        // The other machine is gone for good, and its tag stays.
        world.nodes[1].kill().await;
        free_elastic_ip_by_hand(&world.estate);
        world.nodes[0].config.borrow_mut().as_mut().unwrap().claims = ClaimMode::Off;
        world.nodes[0].wake(Wake::Config);
        pass(seconds(30)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
        assert!(!world.nodes[0].recorder.condition(EIP, "Superseded").holds);
    });
}
