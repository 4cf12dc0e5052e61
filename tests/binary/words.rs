//! The program's words to people, to Prometheus and to systemd.

use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;

use ec2_endpoint::service::ImdsFault;
use ec2_endpoint::{FaultKind, Operation, TagChange, TagSpec};
use rustix::process::Signal;

use crate::stage::{A_PASS, ROUTED, Stage, eventually};

#[test]
fn plan_says_what_run_would_do_and_only_reads() {
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let mark = stage.mark();
    let (said, _, code) = machine.said(&["plan"]);
    assert!(said.contains("unknown: no hook has run yet") && code == 0, "nobody asked for anything: {code} {said}");

    machine.hook("up", ROUTED);
    let (said, _, code) = machine.said(&["plan"]);
    assert_eq!(code, 2, "{said}");
    for wanted in ["would associate eipalloc-", "route 20.0.0.50/32 in rtb-", "would add 20.0.0.50", "would record "] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let (json, _, code) = machine.said(&["plan", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["vips"][0]["standing"]), (2, &"leader".into()));
    stage.fault(FaultKind::Deny);
    let (said, _, code) = machine.said(&["plan"]);
    assert_eq!(code, 1, "{said}");
    stage.no_faults();
    machine.break_imds(Some(ImdsFault::Status { status: 403 }));
    let (said, complaint, code) = machine.said(&["plan", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    let message = json["error"]["message"].as_str().unwrap();
    assert!(complaint.contains(message) && code == 1, "{code} {said} {complaint}");
    machine.break_imds(None);
    assert!(stage.calls(mark).iter().all(|call| !call.write), "plan only reads");
    assert!(!machine.has(ROUTED));

    let daemon = machine.start();
    machine.wait(ROUTED);
    let (said, _, code) = machine.said(&["plan"]);
    assert!(said.contains("In sync: nothing to do.") && code == 0, "{code} {said}");
    let file = std::fs::read(machine.desired_file(ROUTED)).unwrap();
    std::fs::write(machine.desired_file(ROUTED), "{").unwrap();
    let (said, _, code) = machine.said(&["plan"]);
    assert!(said.contains("the desired-state file is not used: ") && code == 1, "{code} {said}");
    assert!(said.contains("a daemon that runs goes by the last good one"), "{said}");
    std::fs::write(machine.desired_file(ROUTED), file).unwrap();
    daemon.kill();
    machine.remove(ROUTED);
    let (said, _, code) = machine.said(&["plan"]);
    assert!(said.contains("would add 20.0.0.50") && code == 2, "{code} {said}");
}

#[test]
fn status_tells_what_the_daemon_knows_and_whether_it_runs() {
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let (said, error, code) = machine.said(&["status"]);
    assert!(said.contains("systemctl start vipkeeper") && error.is_empty() && code == 1, "{code} {said}{error}");

    let daemon = machine.start_ready();
    machine.hook("up", ROUTED);
    machine.wait(ROUTED);
    let (page, _, code) = machine.said(&["status"]);
    assert_eq!(code, 0, "{page}");
    for wanted in [ROUTED, "leader", &stage.tables[0], &stage.tables[1], "203.0.113.10", &machine.instance] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    let (json, _, code) = machine.said(&["status", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["vips"][0]["in_sync"], &json["pid"]), (0, &true.into(), &daemon.pid().into()));

    stage.fault(FaultKind::Deny);
    machine.remove(ROUTED);
    eventually("status says that EC2 refuses", || machine.said(&["status"]).0.contains("not authorized"));
    stage.no_faults();
    daemon.kill();
    let (page, _, code) = machine.said(&["status"]);
    assert!(code == 1, "{page}");
}

#[test]
fn a_claim_that_finds_no_room_on_its_anchor_is_told_with_what_to_do() {
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let full = TagChange {
        resources: vec![stage.allocation.clone()],
        tags: (0..50).map(|n| TagSpec { key: format!("team-{n}"), value: None }).collect(),
        dry_run: false,
    };
    stage.by_hand(&Operation::CreateTags(full.clone()));
    let daemon = machine.start_ready();
    machine.hook("up", ROUTED);
    machine.wait(ROUTED);
    assert!(stage.points_at(0));
    let recorded = || machine.metric(&format!("vipkeeper_claim_recorded{{vip=\"{ROUTED}\"}}"));
    let (page, _, code) = machine.said(&["status"]);
    for wanted in ["leader  CLAIM NOT RECORDED", "TagLimitExceeded", "do    the anchor has 50 tags: remove some"] {
        assert!(page.contains(wanted) && code == 2, "{wanted}: {code} {page}");
    }
    assert_eq!(recorded(), Some(0.0));

    stage.by_hand(&Operation::DeleteTags(full));
    daemon.signal(Signal::HUP);
    eventually("it is on record", || recorded() == Some(1.0));
    let (page, _, code) = machine.said(&["status"]);
    assert!(page.contains("leader  IN SYNC") && code == 0, "{code} {page}");
}

#[test]
fn metrics_and_health_are_served() {
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let _daemon = machine.start_ready();
    machine.hook("up", ROUTED);
    machine.wait(ROUTED);
    let role = |role: &str| machine.metric(&format!("vipkeeper_desired_role{{vip=\"{ROUTED}\",role=\"{role}\"}}"));
    eventually("metrics know the role", || role("leader") == Some(1.0) && role("standby") == Some(0.0));
    let (status, page) = machine.get("/metrics").unwrap();
    assert_eq!(status, 200);
    for wanted in [
        "vipkeeper_build_info{",
        "vipkeeper_convergence_seconds_count{vip=\"20.0.0.50\"} 1",
        "vipkeeper_ec2_requests_total{operation=\"AssociateAddress\",code=\"ok\"} 1",
        "process_resident_memory_bytes",
        "vipkeeper_last_successful_observation_timestamp_seconds{source=\"local_addresses\"}",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    let out_of_step = page.lines().filter(|line| line.contains("state=\"drift\"") && !line.ends_with(" 0"));
    assert_eq!(out_of_step.collect::<Vec<_>>(), [""; 0]);
    assert_eq!(machine.get("/healthz"), Some((200, "ok\n".to_owned())));
    assert_eq!(machine.get("/readyz"), Some((200, "ok\n".to_owned())));
    let (status, document) = machine.get("/status").unwrap();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!((status, &document["vips"][0]["in_sync"]), (200, &true.into()));
    assert_eq!(machine.get("/nothing").unwrap().0, 404);

    stage.fault(FaultKind::Deny);
    eventually("it is not ready without permissions", || {
        machine.get("/readyz").is_some_and(|(status, _)| status == 503)
    });
    assert_eq!(machine.get("/healthz"), Some((200, "ok\n".to_owned())), "it lives all the same");
    stage.no_faults();
    machine.until_ready();
}

#[test]
fn systemd_hears_when_the_daemon_is_ready_that_it_turns_and_that_it_stops() {
    let Some(stage) = Stage::new(1, 1) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let path = machine.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let daemon = machine.start_with(|command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "4000000");
    });
    let heard = |wanted: &str| {
        let mut buffer = [0; 4096];
        for _ in 0..100 {
            let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {wanted}: {error}"));
            if std::str::from_utf8(&buffer[..length]).unwrap().lines().any(|line| line.starts_with(wanted)) {
                return;
            }
        }
        panic!("a hundred messages without {wanted}");
    };
    heard("READY=1");
    for _ in 0..3 {
        heard("WATCHDOG=1");
    }
    machine.hook("up", ROUTED);
    heard(&format!("STATUS={ROUTED}: leader, in sync"));
    thread::sleep(A_PASS);
    assert!(daemon.terminate().success());
    heard("STOPPING=1");
}
