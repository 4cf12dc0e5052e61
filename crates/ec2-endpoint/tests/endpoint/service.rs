//! The service between the account and its callers. No sockets: time is an argument.

use std::time::Duration;

use ec2_endpoint::{
    Answer, AssumeRole, Caller, Describe, Fault, FaultKind, Operation, Outcome, RouteChange, Service,
    account::model::RouteTarget,
    service::{Cut, Throttling},
};

use crate::world::{World, code, world};

const VIP: &str = "20.0.0.50/32";
const SECOND: Duration = Duration::from_secs(1);

fn service() -> (World, Service) {
    let world = world();
    let service = Service::new(world.account.clone(), 7);
    (world, service)
}

fn node_a() -> Caller {
    Caller::named("node-a")
}

fn create(world: &World) -> Operation {
    Operation::CreateRoute(world.route(VIP, &world.a))
}

fn replace(world: &World) -> Operation {
    Operation::ReplaceRoute(world.route(VIP, &world.b))
}

fn describe(world: &World) -> Operation {
    Operation::DescribeRouteTables(Describe::ids([world.table.clone()]))
}

/// The end of a call, in a word.
fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered(result) => code(result).to_owned(),
        Outcome::Html { status } => format!("html {status}"),
        Outcome::Empty => "empty".into(),
        Outcome::Dropped => "dropped".into(),
        Outcome::Silence => "silence".into(),
    }
}

/// The node that a read says the VIP leads to.
fn seen(world: &World, outcome: &Outcome) -> Option<char> {
    let Outcome::Answered(Ok(Answer::RouteTables(page))) = outcome else { panic!("{outcome:?}") };
    let route = page.items[0].routes.iter().find(|route| route.destination.to_string() == VIP)?;
    match &route.target {
        RouteTarget::NetworkInterface(id) if *id == world.eni(&world.a) => Some('a'),
        RouteTarget::NetworkInterface(id) if *id == world.eni(&world.b) => Some('b'),
        other => panic!("{other:?}"),
    }
}

fn has_route(service: &Service, world: &World) -> bool {
    service.account().route_table(&world.table).unwrap().routes.keys().any(|net| net.to_string() == VIP)
}

#[test]
fn every_kind_of_fault_shows_and_says_whether_the_write_was_done() {
    let kinds = [
        (FaultKind::Throttle, "RequestLimitExceeded", false),
        (FaultKind::ServerError { status: 500, code: "InternalError".into() }, "InternalError", false),
        (FaultKind::Deny, "UnauthorizedOperation", false),
        (FaultKind::ProxyHtml { status: 502 }, "html 502", false),
        (FaultKind::EmptyBody, "empty", true),
        (FaultKind::DropBefore, "dropped", false),
        (FaultKind::DropAfter, "dropped", true),
        (FaultKind::Cut { how: Cut::Hang }, "silence", false),
        (FaultKind::Cut { how: Cut::Refuse }, "dropped", false),
    ];
    for (kind, expected, done) in kinds {
        let (world, mut service) = service();
        let id = service.add_fault(Fault::new(kind.clone()));
        let reply = service.call(SECOND, &node_a(), &create(&world));
        assert_eq!((word(&reply.outcome).as_str(), has_route(&service, &world)), (expected, done), "{kind:?}");
        assert!(service.remove_fault(id));
        assert!(!service.remove_fault(id), "it is off already");
        let reply = service.call(SECOND, &node_a(), &describe(&world));
        assert_eq!(word(&reply.outcome), "OK", "{kind:?} is over");
    }
}

#[test]
fn faults_act_in_the_order_of_a_call_s_way() {
    let (world, mut service) = service();
    let once = |kind: FaultKind| Fault::new(kind).times(1);
    service.add_fault(once(FaultKind::DropAfter));
    service.add_fault(once(FaultKind::Throttle));
    service.add_fault(once(FaultKind::Deny));
    service.add_fault(once(FaultKind::DropBefore));
    let mut codes = Vec::new();
    for _ in 0..4 {
        let mark = service.mark();
        let reply = service.call(SECOND, &node_a(), &create(&world));
        let code = service.calls_since(mark).next().unwrap().code.clone().unwrap();
        codes.push(format!("{} {code}", word(&reply.outcome)));
    }
    // Lost on the way: nothing else is used up. Then refused, and the refusal is lost. Then refused. Then nothing is left.
    let expected =
        ["dropped Lost", "dropped RequestLimitExceeded", "UnauthorizedOperation UnauthorizedOperation", "OK OK"];
    assert_eq!(codes, expected);
}

#[test]
fn a_fault_keeps_to_its_scope_and_number() {
    let (world, mut service) = service();
    let fault = Fault::new(FaultKind::Throttle).of_caller("node-a").at("DescribeRouteTables").times(2);
    service.add_fault(fault);
    let mut answers =
        |caller: &str, operation: Operation| word(&service.call(SECOND, &Caller::named(caller), &operation).outcome);
    assert_eq!(answers("node-b", describe(&world)), "OK");
    assert_eq!(answers("node-a", Operation::DescribeVpcs(Describe::default())), "OK");
    for expected in ["RequestLimitExceeded", "RequestLimitExceeded", "OK"] {
        assert_eq!(answers("node-a", describe(&world)), expected);
    }
}

#[test]
fn a_fault_of_a_role_strikes_only_in_that_role() {
    let (world, mut service) = service();
    let (network, other) = ("arn:aws:iam::123456789012:role/network", "arn:aws:iam::123456789012:role/other");
    service.add_fault(Fault::new(FaultKind::Deny).in_role(network));
    for (caller, expected) in
        [(node_a(), "OK"), (node_a().in_role(other), "OK"), (node_a().in_role(network), "UnauthorizedOperation")]
    {
        assert_eq!(word(&service.call(SECOND, &caller, &describe(&world)).outcome), expected);
    }
}

#[test]
fn a_denied_dry_run_says_so_and_so_does_a_denied_role() {
    let (world, mut service) = service();
    service.add_fault(Fault::new(FaultKind::Deny).at("CreateRoute").at("AssumeRole"));
    let dry_run = Operation::CreateRoute(RouteChange { dry_run: true, ..world.route(VIP, &world.a) });
    assert_eq!(word(&service.call(SECOND, &node_a(), &dry_run).outcome), "UnauthorizedOperation");
    let assume = Operation::AssumeRole(AssumeRole {
        role_arn: "arn:aws:iam::123456789012:role/network".into(),
        role_session_name: "node-a".into(),
        ..Default::default()
    });
    assert_eq!(word(&service.call(SECOND, &node_a(), &assume).outcome), "AccessDenied");
    service.clear_faults();
    assert_eq!(word(&service.call(SECOND, &node_a(), &dry_run).outcome), "DryRunOperation");
    assert_eq!(word(&service.call(SECOND, &node_a(), &assume).outcome), "OK");
}

#[test]
fn latency_is_half_way_there_and_half_way_back() {
    let (world, mut service) = service();
    service.add_fault(Fault::new(FaultKind::latency(Duration::from_millis(150))));
    let operation = create(&world);
    let started = service.start(SECOND, &node_a(), &operation);
    assert_eq!(started.delay, Duration::from_millis(75));
    assert!(!has_route(&service, &world), "it is on its way");
    let reply = service.finish(SECOND + started.delay, started);
    assert_eq!(reply.delay, Duration::from_millis(75));
    assert!(has_route(&service, &world));
    let reply = service.call(SECOND, &node_a(), &describe(&world));
    assert_eq!(reply.delay, Duration::from_millis(150));
}

#[test]
fn random_latency_stays_within_its_bounds() {
    let (world, mut service) = service();
    let (least, most) = (Duration::from_millis(100), Duration::from_millis(200));
    service.add_fault(Fault::new(FaultKind::Latency { least, most }));
    service.set_throttling(Throttling::Off);
    let delays: Vec<Duration> = (0..200).map(|_| service.call(SECOND, &node_a(), &describe(&world)).delay).collect();
    assert!(delays.iter().all(|delay| (least..=most).contains(delay)));
    assert!(delays.iter().max() > delays.iter().min());
}

#[test]
fn calls_overlap_in_the_order_of_their_arrival() {
    let (world, mut service) = service();
    service.call(Duration::ZERO, &node_a(), &create(&world));
    service.add_fault(Fault::new(FaultKind::latency(SECOND)).of_caller("node-a"));
    let to_a = Operation::ReplaceRoute(world.route(VIP, &world.a));
    let slow = service.start(SECOND, &node_a(), &to_a);
    service.call(SECOND, &Caller::named("node-b"), &replace(&world));
    let arrives = SECOND + slow.delay;
    service.finish(arrives, slow);
    let reply = service.call(arrives, &Caller::named("node-b"), &describe(&world));
    assert_eq!(seen(&world, &reply.outcome), Some('a'), "the call that started first arrived last and won");
}

#[test]
fn stale_reads_show_the_past_and_writes_do_not() {
    let (world, mut service) = service();
    service.set_throttling(Throttling::Off);
    service.call(SECOND, &node_a(), &create(&world));
    service.call(SECOND * 10, &node_a(), &replace(&world));
    service.add_fault(Fault::new(FaultKind::Stale { up_to: SECOND * 5 }));

    let mut reads = |at: Duration| -> Vec<Option<char>> {
        (0..100).map(|_| seen(&world, &service.call(at, &node_a(), &describe(&world)).outcome)).collect()
    };
    let shortly_after = reads(SECOND * 11);
    assert!(shortly_after.contains(&Some('a')) && shortly_after.contains(&Some('b')), "two replicas, two truths");
    assert!(!shortly_after.contains(&None), "nothing older than the fault allows");
    let later = reads(SECOND * 16);
    assert!(later.iter().all(|seen| *seen == Some('b')));

    assert_eq!(word(&service.call(SECOND * 16, &node_a(), &create(&world)).outcome), "RouteAlreadyExists");
}

#[test]
fn reads_are_never_older_than_the_service_and_fresh_without_a_fault() {
    let (world, mut service) = service();
    service.call(SECOND, &node_a(), &create(&world));
    assert_eq!(seen(&world, &service.call(SECOND, &node_a(), &describe(&world)).outcome), Some('a'));
    service.add_fault(Fault::new(FaultKind::Stale { up_to: SECOND * 60 }));
    let reply = service.call(SECOND, &node_a(), &describe(&world));
    assert!(matches!(seen(&world, &reply.outcome), None | Some('a')));
}

#[test]
fn throttling_is_on_by_default_and_shared_by_all_callers() {
    let (world, mut service) = service();
    service.call(Duration::ZERO, &node_a(), &create(&world));
    let refused = |service: &mut Service, at: Duration, calls: usize| {
        let codes: Vec<String> = (0..calls)
            .map(|number| Caller::named(format!("node-{number}")))
            .map(|caller| word(&service.call(at, &caller, &replace(&world)).outcome))
            .collect();
        codes.iter().filter(|code| *code == "RequestLimitExceeded").count()
    };
    assert_eq!(refused(&mut service, SECOND, 60), 10);
    assert_eq!(refused(&mut service, SECOND * 2, 10), 5);
    service.set_throttling(Throttling::Off);
    assert_eq!(refused(&mut service, SECOND * 2, 100), 0);
}

#[test]
fn the_log_says_who_did_what_and_what_came_of_it() {
    let (world, mut service) = service();
    service.call(SECOND, &node_a(), &describe(&world));
    let mark = service.mark();
    service.call(SECOND, &node_a(), &replace(&world));
    service.add_fault(Fault::new(FaultKind::DropAfter).times(1));
    service.call(SECOND * 2, &node_a(), &create(&world));
    service.add_fault(Fault::new(FaultKind::DropBefore).times(1));
    service.call(SECOND * 3, &Caller::named("node-b"), &replace(&world));
    let open = service.start(SECOND * 4, &node_a(), &describe(&world));

    let lines: Vec<String> = service
        .calls_since(mark)
        .map(|call| {
            let kind = if call.write { "write" } else { "read" };
            let code = call.code.as_deref().unwrap_or("-");
            format!("{} {} {} {kind} {code}", call.at.as_secs(), call.caller.name, call.operation)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "1 node-a ReplaceRoute write InvalidParameterValue",
            "2 node-a CreateRoute write OK",
            "3 node-b ReplaceRoute write Lost",
            "4 node-a DescribeRouteTables read -",
        ]
    );
    let _answer = service.finish(SECOND * 4, open);
    assert_eq!(service.log().all().filter(|call| call.code.as_deref() == Some("OK")).count(), 3);
    service.clear_log();
    assert_eq!(service.calls_since(mark).count(), 0);
    service.call(SECOND, &node_a(), &describe(&world));
    assert_eq!(service.calls_since(mark).count(), 1, "the mark is still good");
}

#[test]
fn whoever_follows_the_account_wakes_on_every_change_and_on_nothing_else() {
    let (world, mut service) = service();
    let mut changes = service.subscribe();
    service.call(SECOND, &node_a(), &describe(&world));
    service.call(SECOND, &node_a(), &replace(&world));
    assert!(!changes.has_changed().unwrap(), "a read and a refused write");
    service.call(SECOND, &node_a(), &create(&world));
    assert!(changes.has_changed().unwrap());
    assert_eq!(*changes.borrow_and_update(), *service.account());
    let to_a = Operation::ReplaceRoute(world.route(VIP, &world.a));
    assert_eq!(word(&service.call(SECOND, &node_a(), &to_a).outcome), "OK");
    assert!(!changes.has_changed().unwrap(), "it led there already");
    service.change(SECOND, |account| account.stop_instance(&world.a.instance_id)).unwrap();
    assert!(changes.has_changed().unwrap());
}

#[test]
fn equal_seeds_give_equal_runs() {
    let run = |seed: u64| {
        let world = world();
        let mut service = Service::new(world.account.clone(), seed);
        service.add_fault(Fault::new(FaultKind::Throttle).with_chance(0.3));
        service.add_fault(Fault::new(FaultKind::Latency { least: Duration::ZERO, most: SECOND }));
        service.add_fault(Fault::new(FaultKind::Stale { up_to: SECOND * 3 }));
        let calls = (0..60).map(|number| {
            let operation = match number % 3 {
                0 => create(&world),
                1 => replace(&world),
                _ => describe(&world),
            };
            service.call(SECOND * number, &node_a(), &operation)
        });
        calls.collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
