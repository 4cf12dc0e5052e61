//! `vipkeeper check` as a process: real folders, a real kernel, and EC2 on loopback.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

use ec2_endpoint::account::model::Permission;
use ec2_endpoint::service::ImdsFault;
use ec2_endpoint::{Fault, FaultKind, ModifyNetworkInterfaceAttribute, Operation, Policy};
use serde_json::Value;

use crate::stage::machine::{Machine, program};
use crate::stage::{ROUTED, Stage};

/// Checks whose result depends on the computer that runs the tests.
const OF_THE_COMPUTER: [&str; 4] =
    ["clock-synchronized", "state-folder-in-memory", "pgpool-version", "no-other-keeper"];

/// A machine on which all is well, but that nobody runs Pgpool.
fn ready(stage: &Stage) -> &Machine {
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let desired = machine.state_dir().join("desired");
    fs::create_dir(&desired).unwrap();
    let nobody = 65_534;
    chown(&desired, Some(nobody), Some(nobody)).unwrap();
    fs::set_permissions(&desired, fs::Permissions::from_mode(0o775)).unwrap();
    let config = machine.config();
    let conf = format!(
        "use_watchdog = on\ndelegate_ip = '{ROUTED}'\nif_up_cmd = '{program} --config {config} up $_IP_$'\n\
         if_down_cmd = '{program} --config {config} down $_IP_$'\n\
         arping_cmd = '{program} --config {config} wait $_IP_$ --timeout 8s'\n\
         hostname0 = '127.0.0.1'\nhostname1 = '127.0.0.2'\nhostname2 = '127.0.0.3'\n",
        program = program().display(),
        config = config.display()
    );
    fs::write(machine.path("pgpool.conf"), conf).unwrap();
    fs::write(machine.path("pgpool_node_id"), "0\n").unwrap();
    stage.by_hand(&Operation::ModifyNetworkInterfaceAttribute(ModifyNetworkInterfaceAttribute {
        network_interface_id: machine.eni.clone(),
        source_dest_check: Some(false),
        ..Default::default()
    }));
    stage.endpoint.change(|account| {
        let group = account.eni(&machine.eni).unwrap().groups[0].clone();
        let all = Permission {
            protocol: "-1".to_owned(),
            ports: None,
            ranges: vec!["0.0.0.0/0".parse().unwrap()],
            groups: Vec::new(),
        };
        account.allow_ingress(&group, all).unwrap();
    });
    machine
}

/// The document, and the exit code.
fn document(machine: &Machine, more: &[&str]) -> (Value, i32) {
    let conf = machine.path("pgpool.conf");
    let arguments = [&["check", "--json", "--pgpool-conf", conf.to_str().unwrap()], more].concat();
    let (said, complaint, code) = machine.said(&arguments);
    (serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{complaint}")), code)
}

/// The checks with a fault, by their ids, without those of the computer and without Pgpool, which does not run here.
fn faults(document: &Value) -> BTreeMap<String, String> {
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    let faulty = document["checks"].as_array().unwrap().iter().filter(|check| !check["to_do"].is_null());
    faulty
        .map(|check| (text(check, "id"), text(check, "result")))
        .filter(|(id, _)| !OF_THE_COMPUTER.contains(&id.as_str()))
        .filter(|(id, _)| !["pgpool-serves", "pgpool-witness", "pgpool-user", "peers-answer"].contains(&id.as_str()))
        .collect()
}

fn only(id: &str, result: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(id.to_owned(), result.to_owned())])
}

#[test]
fn check_finds_each_fault_of_ec2_by_name_and_changes_nothing() {
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = ready(&stage);
    let mark = stage.mark();
    let (said, _) = document(machine, &[]);
    assert_eq!(faults(&said), BTreeMap::new(), "{said:#}");
    assert!(stage.calls(mark).iter().any(|call| call.write), "dry runs were sent");
    assert_eq!(stage.written(mark), BTreeMap::new(), "none was carried out");
    assert!(!machine.has(ROUTED));

    for (operation, id, result) in [
        ("AssociateAddress", "allowed-elastic-ip", "failed"),
        ("CreateRoute", "allowed-route", "failed"),
        ("ReplaceRoute", "allowed-route", "failed"),
        ("ModifyNetworkInterfaceAttribute", "allowed-source-dest-check", "warning"),
        ("CreateTags", "allowed-claims", "warning"),
        ("DeleteTags", "allowed-claims", "warning"),
        ("DescribeNetworkInterfaces", "allowed-to-look", "failed"),
    ] {
        stage.endpoint.service().add_fault(Fault::new(FaultKind::Deny).at(operation));
        let (said, code) = document(machine, &[]);
        assert_eq!(faults(&said), only(id, result), "{operation}: {said:#}");
        // Other programs of the computer that runs the tests may fail checks of their own.
        assert_eq!(code == 1, said["summary"]["failed"] != 0, "{operation}");
        stage.no_faults();
    }
    stage.fault(FaultKind::ProxyHtml { status: 503 });
    let (said, _) = document(machine, &[]);
    assert!(faults(&said).keys().all(|id| id.starts_with("allowed") || id.starts_with("endpoint")), "{said:#}");
    stage.no_faults();
    machine.break_imds(Some(ImdsFault::Status { status: 403 }));
    let (said, code) = document(machine, &[]);
    assert_eq!((faults(&said), code), (only("node-known", "failed"), 1), "{said:#}");
}

#[test]
fn check_finds_each_fault_of_the_machine_by_name() {
    let Some(stage) = Stage::new(1, 1) else { return };
    let machine = ready(&stage);
    let desired = machine.state_dir().join("desired");
    fs::set_permissions(&desired, fs::Permissions::from_mode(0o500)).unwrap();
    assert_eq!(faults(&document(machine, &[]).0), only("hooks-can-write", "failed"));
    fs::set_permissions(&desired, fs::Permissions::from_mode(0o775)).unwrap();

    let ip = |arguments: &'static [&'static str]| {
        let done = machine.inside(move |_| Command::new("ip").args(arguments).status().unwrap());
        assert!(done.success(), "ip {arguments:?}");
    };
    // A route that the guide's scripts left.
    ip(&["route", "add", "local", "20.0.0.50/32", "dev", "lo"]);
    let (said, _) = document(machine, &[]);
    assert_eq!(faults(&said), only("kernel-static-route", "warning"), "{said:#}");
    ip(&["route", "del", "local", "20.0.0.50/32", "dev", "lo"]);
    ip(&["address", "add", "20.0.0.50/32", "dev", "eth0"]);
    let (said, _) = document(machine, &[]);
    assert_eq!(faults(&said), only("kernel-address-free", "warning"), "{said:#}");
    machine.remove(ROUTED);

    let conf = machine.path("pgpool.conf");
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, text.replace(" up $_IP_$", "")).unwrap();
    assert_eq!(faults(&document(machine, &[]).0), only("pgpool-hooks", "failed"));
    fs::write(&conf, text.replace(program().to_str().unwrap(), "/nowhere/vipkeeper")).unwrap();
    let (said, _) = document(machine, &[]);
    assert_eq!(faults(&said), only("pgpool-hook-program", "failed"), "{said:#}");
    fs::write(&conf, &text).unwrap();

    let mut vip = stage.usual_vip();
    vip = vip.replace("interface = \"eth0\"\n[[vip.also]]", "interface = \"eth7\"\n[[vip.also]]");
    machine.configure(&vip);
    let (said, code) = document(machine, &[]);
    assert_eq!((faults(&said), code), (only("interfaces-known", "failed"), 1), "{said:#}");
}

#[test]
fn an_invalid_configuration_is_one_of_the_results() {
    let Some(stage) = Stage::new(1, 1) else { return };
    let machine = ready(&stage);
    machine.configure_whole(&(machine.header() + "nonsense = 1\n"));
    let (said, code) = document(machine, &[]);
    assert_eq!((faults(&said), code), (only("config-valid", "failed"), 1), "{said:#}");
    let (page, _, code) = machine.said(&["check", "--category", "config"]);
    assert!(page.contains("FAIL  The configuration is valid: ") && page.contains("nonsense"), "{page}");
    assert!(page.contains("see  docs/operations.md#config-valid") && !page.contains("Credentials"), "{page}");
    assert_eq!(code, 1);
}

#[test]
fn check_waits_until_nothing_fails_any_more() {
    let Some(stage) = Stage::new(1, 1) else { return };
    let machine = ready(&stage);
    // Every check asks once for the address, so the third one is well.
    stage.endpoint.service().add_fault(Fault::new(FaultKind::Deny).at("DescribeAddresses").times(2));
    let (said, code) = document(machine, &["--wait", "60s", "--category", "permissions"]);
    assert_eq!((faults(&said), code), (BTreeMap::new(), 0), "{said:#}");
}

#[test]
fn the_checks_of_security_groups_say_that_they_are_optional() {
    let Some(stage) = Stage::new(1, 1) else { return };
    let machine = ready(&stage);
    let all_but_one = r#"{"Version": "2012-10-17", "Statement": [
        {"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Sid": "But", "Effect": "Deny", "Action": "ec2:DescribeSecurityGroups", "Resource": "*"}]}"#;
    stage.endpoint.service().set_policy(machine.name, Some(all_but_one.parse::<Policy>().unwrap()));
    let (said, _) = document(machine, &[]);
    assert_eq!(faults(&said), BTreeMap::new(), "{said:#}");
    let skipped = said["checks"].as_array().unwrap().iter().find(|check| check["id"] == "firewall-pgpool").unwrap();
    assert_eq!(skipped["result"], "skipped");
    assert!(skipped["messages"][0].as_str().unwrap().contains("allow ec2:DescribeSecurityGroups"), "{skipped}");
}
