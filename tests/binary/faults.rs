//! Every fault that the endpoint knows, while a claim is taken: it ends in sync, with no more writes than it takes.

use std::borrow::Cow;
use std::thread;
use std::time::Duration;

use ec2_endpoint::service::{Cut, ImdsFault};
use ec2_endpoint::{Fault, FaultKind};

use rustix::process::Signal;
use vipkeeper::problem::ProblemReason;

use crate::stage::{A_PASS, PUBLIC, ROUTED, Stage, a_claim, eventually};

/// Longer than an attempt may take (3 s), so that some fail for want of an answer.
const LASTS: Duration = Duration::from_secs(5);

/// Within [`LASTS`], and until the daemon sees that it is over, a write is tried so often at most: its delays double.
const MOST_TRIES: usize = 12;

/// The conditions that the calls of a claim meet.
struct Weather {
    name: &'static str,
    fault: Fault,
    /// EC2 does what it is told and nobody is told so, nor shown: it has to be said again.
    is_blind: bool,
}

fn weather(name: &'static str, kind: FaultKind) -> Weather {
    Weather { name, fault: Fault::new(kind), is_blind: false }
}

#[test]
fn a_claim_gets_through_whatever_comes_between_it_and_ec2() {
    let error = |status, code| FaultKind::ServerError { status, code: Cow::Borrowed(code) };
    let blind = |weather| Weather { is_blind: true, ..weather };
    let of_writes = |weather: Weather| Weather {
        fault: a_claim(2).into_keys().chain(["ReplaceRoute"]).fold(weather.fault, Fault::at),
        ..weather
    };
    let all = [
        weather("latency", FaultKind::Latency { least: Duration::from_millis(100), most: Duration::from_secs(2) }),
        weather("throttled", FaultKind::Throttle),
        weather("stale reads", FaultKind::Stale { up_to: Duration::from_secs(4) }),
        weather("unavailable", error(503, "Unavailable")),
        weather("internal error", error(500, "InternalError")),
        weather("a proxy's page", FaultKind::ProxyHtml { status: 502 }),
        weather("requests lost", FaultKind::DropBefore),
        weather("denied", FaultKind::Deny),
        weather("packets vanish", FaultKind::Cut { how: Cut::Hang }),
        weather("connections refused", FaultKind::Cut { how: Cut::Refuse }),
        of_writes(weather("empty answers to writes", FaultKind::EmptyBody)),
        of_writes(weather("answers to writes lost", FaultKind::DropAfter)),
        blind(weather("empty answers", FaultKind::EmptyBody)),
        blind(weather("answers lost", FaultKind::DropAfter)),
    ];
    thread::scope(|scope| {
        for weather in &all {
            let named = thread::Builder::new().name(weather.name.to_owned());
            named.spawn_scoped(scope, || claims_through(weather)).unwrap();
        }
    });
}

fn claims_through(weather: &Weather) {
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let _daemon = machine.start_ready();
    let mark = stage.mark();
    stage.endpoint.service().add_fault(weather.fault.clone());
    machine.hook("up", ROUTED);
    eventually("the local address is there, whatever EC2 says", || machine.has(ROUTED));
    thread::sleep(LASTS);
    stage.no_faults();
    machine.wait(ROUTED);
    assert!(stage.points_at(0), "{}", weather.name);
    stage.writes_nothing_for(A_PASS);
    let written = stage.written(mark);
    if weather.is_blind {
        assert!(written.values().all(|count| *count <= 2 * MOST_TRIES), "{}: {written:?}", weather.name);
    } else {
        assert_eq!(written, a_claim(2), "{}", weather.name);
    }
}

#[test]
fn a_metadata_service_that_is_late_delays_and_prevents_nothing() {
    let too_slow = ImdsFault::Slow { by: Duration::from_secs(30) };
    for fault in [ImdsFault::Off, ImdsFault::Status { status: 403 }, ImdsFault::Status { status: 503 }, too_slow] {
        let Some(stage) = Stage::new(1, 1) else { return };
        let machine = &stage.machines[0];
        machine.configure(&stage.usual_vip());
        machine.break_imds(Some(fault));
        let _daemon = machine.start();
        machine.hook("up", ROUTED);
        eventually("status says that the node does not know who it is", || {
            machine
                .status()
                .is_some_and(|status| status.problems.iter().any(|problem| problem.reason == ProblemReason::NoIdentity))
        });
        assert_eq!(machine.said(&["status"]).2, 2, "{fault:?}");
        assert!(machine.get("/healthz").is_some_and(|(status, _)| status == 200), "{fault:?}: it lives");
        assert!(machine.get("/readyz").is_some_and(|(status, _)| status == 503), "{fault:?}: it is not ready");
        machine.break_imds(None);
        machine.wait(ROUTED);
        assert!(stage.points_at(0), "{fault:?}");
    }
}

#[test]
fn ec2s_own_buckets_slow_down_what_is_beyond_them_and_nothing_else() {
    const TABLES: usize = 64;
    let Some(stage) = Stage::new(1, TABLES) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let _daemon = machine.start_ready();
    let mark = stage.mark();
    machine.hook("up", ROUTED);
    machine.wait(ROUTED);
    assert!(stage.points_at(0));
    assert_eq!(stage.written(mark), a_claim(TABLES));
    let calls = stage.calls(mark);
    assert!(calls.iter().any(|call| call.code.as_deref() == Some("RequestLimitExceeded")), "more than a bucket holds");
    let association = calls.iter().find(|call| call.operation == "AssociateAddress").unwrap();
    assert_eq!(association.code.as_deref(), Some("OK"), "its bucket is another one");
}

#[test]
fn a_binding_that_fails_for_ever_delays_no_other() {
    let Some(mut stage) = Stage::new(1, 2) else { return };
    let gone = "rtb-0123456789abcdef0".to_owned();
    stage.tables.push(gone.clone());
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    stage.endpoint.service().add_fault(Fault::new(FaultKind::Deny).at("AssociateAddress"));
    let daemon = machine.start();
    eventually("it knows who it is", || machine.status().is_some_and(|status| status.instance.is_some()));
    machine.hook("up", ROUTED);
    let mine = |table: &String| stage.route(table, ROUTED).as_ref() == Some(&machine.eni);
    eventually("the other bindings are here", || machine.has(ROUTED) && stage.tables[..2].iter().all(mine));
    let binding = |target: &str| {
        let status = machine.status()?;
        let binding = status.vips[0].bindings.iter().find(|binding| binding.target == target)?.clone();
        Some((binding.state.to_string(), binding.last_error.map(|error| error.class.to_string())))
    };
    let blocked = |class: &str| Some(("blocked".to_owned(), Some(class.to_owned())));
    eventually("status names the denied one", || binding(PUBLIC) == blocked("denied"));
    eventually("status names the table that is gone", || {
        binding(&gone).is_some_and(|(state, error)| state != "in_sync" && error.is_some())
    });
    let (_, said, code) = machine.said(&["wait", ROUTED, "--timeout", "100ms"]);
    assert!(said.contains(PUBLIC) && said.contains("denied") && code == 1, "{said}");

    // A change that only an operator can mend is tried rarely; a reload tells that he has mended it.
    stage.no_faults();
    daemon.signal(Signal::HUP);
    eventually("the permission was given", || stage.elastic_ip(&stage.allocation).as_ref() == Some(&machine.eni));
}
