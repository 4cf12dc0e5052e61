//! The daemon's end and its start move nothing, and it takes a changed configuration over while it runs.

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use rustix::process::Signal;
use vipkeeper::problem::ProblemReason;

use crate::stage::{A_PASS, OTHER_PUBLIC, ROUTED, Stage, a_claim, eventually};

#[test]
fn no_end_and_no_start_moves_anything() {
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let daemon = machine.start_ready();
    machine.hook("up", ROUTED);
    machine.wait(ROUTED);
    let mark = stage.mark();

    assert!(daemon.terminate().success(), "SIGTERM is no failure");
    assert!(stage.points_at(0));
    assert_eq!(machine.said(&["status"]).2, 1, "nobody keeps the status up to date");
    let daemon = machine.start_ready();
    machine.wait(ROUTED);
    thread::sleep(A_PASS);
    daemon.kill();
    assert!(stage.points_at(0));
    let daemon = machine.start_ready();
    daemon.signal(Signal::INT);
    assert!(daemon.ended().success(), "nor is SIGINT");
    let _daemon = machine.start_ready();
    thread::sleep(A_PASS);
    assert!(stage.points_at(0) && machine.leads_in_sync(ROUTED));
    assert_eq!(stage.written(mark), BTreeMap::new());
}

#[test]
fn hooks_that_ran_while_the_daemon_was_down_count_when_it_starts() {
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    machine.hook("up", ROUTED);
    let (_, said, code) = machine.said(&["wait", ROUTED, "--timeout", "50ms"]);
    assert!(said.contains("is vipkeeper running?") && code == 1, "{said}");

    let daemon = machine.start();
    machine.wait(ROUTED);
    assert!(stage.points_at(0));
    daemon.kill();
    machine.hook("down", ROUTED);
    let (_, said, code) = machine.said(&["wait", ROUTED, "--timeout", "50ms"]);
    assert!(said.contains("stands by") && code == 1, "{said}");
    assert!(machine.has(ROUTED), "nobody was there to remove it");
    let _daemon = machine.start();
    eventually("it was released", || !machine.has(ROUTED) && stage.elastic_ip(&stage.allocation).is_none());
}

#[test]
fn a_changed_configuration_is_taken_over_and_a_broken_one_is_not() {
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let daemon = machine.start_ready();
    machine.hook("up", ROUTED);
    machine.wait(ROUTED);

    let mark = stage.mark();
    let good = fs::read_to_string(machine.config()).unwrap();
    fs::write(machine.config(), format!("{good}\n[vip.elastik_ip]\n")).unwrap();
    daemon.signal(Signal::HUP);
    let problems = || -> Vec<_> {
        let status = machine.status().unwrap();
        status.problems.iter().map(|problem| (problem.reason.clone(), problem.message.clone())).collect()
    };
    eventually("status says why", || {
        problems()
            .iter()
            .any(|(reason, message)| *reason == ProblemReason::ConfigInvalid && message.contains("elastik_ip"))
    });
    let (status, body) = machine.get("/readyz").unwrap();
    assert!(status == 503 && body.contains("elastik_ip"), "{body}");
    thread::sleep(A_PASS);
    assert!(stage.points_at(0) && machine.leads_in_sync(ROUTED), "the old one stays in force");
    assert_eq!(stage.written(mark), BTreeMap::new());

    let more = format!(
        "{good}\n[[vip.also]]\naddress = \"{OTHER_PUBLIC}\"\n[vip.also.elastic_ip]\nprivate_ip = \"10.0.1.50\"\n"
    );
    let assign = ec2_endpoint::AssignPrivateIpAddresses {
        network_interface_id: machine.eni.clone(),
        private_ip_addresses: vec!["10.0.1.50".to_owned()],
        ..Default::default()
    };
    stage.by_hand(&ec2_endpoint::Operation::AssignPrivateIpAddresses(assign));
    fs::write(machine.config(), more).unwrap();
    daemon.signal(Signal::HUP);
    eventually("the new address is here", || stage.elastic_ip(&stage.other_allocation).as_ref() == Some(&machine.eni));
    eventually("all is well again", || machine.leads_in_sync(ROUTED) && problems().is_empty());
    assert!(stage.points_at(0));
    assert_eq!(stage.written(mark), BTreeMap::from([("AssociateAddress", 1)]));
}

#[test]
fn a_daemon_that_starts_on_a_fresh_machine_touches_nothing() {
    let Some(stage) = Stage::new(2, 2) else { return };
    let [leader, fresh] = &stage.machines[..] else { unreachable!("two were made") };
    leader.configure(&stage.usual_vip());
    fresh.configure(&stage.usual_vip());
    let _leader = leader.start_ready();
    let mark = stage.mark();
    leader.hook("up", ROUTED);
    leader.wait(ROUTED);
    let daemon = fresh.start_ready();
    thread::sleep(A_PASS);
    assert!(stage.points_at(0));
    assert_eq!(stage.written(mark), a_claim(2));
    let status = fresh.status().unwrap();
    assert_eq!(status.vips[0].desired.role.as_str(), "unknown");
    assert!(status.vips[0].desired.reason.as_ref().is_some_and(|why| why.contains("no hook has run")));

    // It is so on every node that has not led: nobody need look for a fault.
    let (page, _, code) = fresh.said(&["status"]);
    assert!(page.contains("unknown  NO HOOK YET") && !page.contains("do    ") && code == 0, "{code} {page}");
    let (said, _, code) = fresh.said(&["plan"]);
    assert!(said.contains("normal on a node that has not led since boot") && code == 0, "{code} {said}");

    // Something that points at it is another matter, in both.
    let associate = ec2_endpoint::AssociateAddress {
        allocation_id: Some(stage.other_allocation.clone()),
        network_interface_id: Some(fresh.eni.clone()),
        ..Default::default()
    };
    stage.by_hand(&ec2_endpoint::Operation::AssociateAddress(associate));
    fresh.configure(&format!("[[vip]]\ndelegate_ip = \"{OTHER_PUBLIC}\"\n[vip.elastic_ip]\ninterface = \"eth0\"\n"));
    daemon.signal(Signal::HUP);
    eventually("status says what points here", || {
        let (page, _, code) = fresh.said(&["status"]);
        page.contains("unknown  NOT KNOWN") && page.contains("do    start Pgpool") && code == 2
    });
    let (said, _, code) = fresh.said(&["plan"]);
    assert!(said.contains("points here, but no hook has said who leads") && code == 1, "{code} {said}");
}
