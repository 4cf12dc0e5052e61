//! The acceptance script, against moto in place of an account: a program plays the nodes, and no packets are measured.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use ec2_endpoint::{Account, Endpoint, Fault, FaultKind, Launch, Service};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::moto::{IMAGE, Moto, REGION, elements};
use crate::tools;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/account");

const NOTHING_FAILS: (&str, &str) = ("NODE_FAILS_AT", "no command has this text");
/// The greatest age of what the embedded endpoint shows here.
const LAG: Duration = Duration::from_secs(2);

/// Runs the script for this method with a variable more, and this argument more.
fn accept(moto: &Moto<'_>, method: &str, (name, value): (&str, &str), more: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("vipkeeper.deb");
    fs::write(&package, "a package").unwrap();
    let mut command = Command::new(format!("{FOLDER}/run"));
    command.args(["--method", method, "--image", IMAGE, "--moves", "3", "--patience", "60"]).args(more);
    command.arg("--package").arg(&package).arg("--on").arg(format!("{FOLDER}/node"));
    command.env("PATH", tools::path()).env("AWS_ENDPOINT_URL", moto.url()).env("AWS_DEFAULT_REGION", REGION);
    command.env("AWS_ACCESS_KEY_ID", "operator").env("AWS_SECRET_ACCESS_KEY", "secret");
    command.env(name, value);
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    (status.success(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

/// Everything of the script's that is still in the account.
fn left(moto: &Moto<'_>) -> Vec<String> {
    let stacks = moto.cloudformation(&[("Action", "DescribeStacks")]);
    let instances = moto.ec2(&[
        ("Action", "DescribeInstances"),
        ("Filter.1.Name", "instance-state-name"),
        ("Filter.1.Value.1", "running"),
    ]);
    let found = [elements(&stacks, "StackName"), elements(&instances, "instanceId")].concat();
    found.into_iter().map(str::to_owned).collect()
}

fn has_boto3() -> bool {
    let mut probe = Command::new(format!("{FOLDER}/run"));
    probe.arg("--help");
    tools::is_there(probe, "boto3", "the acceptance script")
}

#[test]
fn the_script_plays_the_walkthrough_measures_and_leaves_nothing() {
    let Some(moto) = Moto::start(None, "the acceptance script").filter(|_| has_boto3()) else { return };
    for method in ["route", "elastic-ip"] {
        let (is_well, said) = accept(&moto, method, NOTHING_FAILS, &["--yes"]);
        assert!(is_well && said.ends_with("ACCEPTED\n"), "{said}");
        for part in [
            "USD an hour",
            "s  another node leads",
            "s  what was removed by hand is back",
            "the last read of the old state began after: median 0.00 s",
            "the first packet went the new way: not measured",
            "stale reads: 0;",
        ] {
            assert!(said.contains(part), "{method}: no '{part}' in\n{said}");
        }
        // moto gives an association another id each time.
        assert_eq!(
            said.contains("DIFFERS AssociateAddress where it is gives: another id"),
            method == "elastic-ip",
            "{said}"
        );
        assert_eq!(left(&moto), [""; 0], "{method}\n{said}");
    }
}

#[test]
fn after_a_failure_nothing_is_left_either() {
    let Some(moto) = Moto::start(None, "the acceptance script's end").filter(|_| has_boto3()) else { return };
    let (is_well, said) = accept(&moto, "route", ("NODE_FAILS_AT", "stop pgpool2"), &["--yes"]);
    assert!(!is_well && said.contains("deleted: the stack") && said.contains("FAILED: "), "{said}");
    assert!(!said.contains("STILL THERE"), "{said}");
    assert_eq!(left(&moto), [""; 0], "{said}");
    // Nobody answers the question.
    let (is_well, said) = accept(&moto, "route", NOTHING_FAILS, &[]);
    assert!(!is_well && said.contains("USD an hour") && !said.contains("deleted: "), "{said}");
}

/// The findings of `measure.py` on the embedded endpoint, whose reads lag by up to two seconds.
fn measured(method: &str) -> Value {
    let mut account = Account::new(REGION);
    let vpc = account.add_vpc("10.0.0.0/16", None).unwrap();
    let subnet = account.add_subnet(&vpc, "10.0.1.0/24", "us-east-1a").unwrap();
    let tables = [(); 2].map(|()| account.add_route_table(&vpc).unwrap());
    let allocation = account.allocate_address("203.0.113.10").unwrap();
    let enis = [(); 2]
        .map(|()| account.add_instance(Launch::in_subnet(&subnet)).unwrap().interfaces.into_iter().next().unwrap());
    let mut service = Service::new(account, 1);
    service.add_fault(Fault::new(FaultKind::Stale { up_to: LAG }));
    let endpoint = Endpoint::new(service);
    let (tell, told) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let server = endpoint.serve_api(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
            tell.send(server.url()).unwrap();
            let _ = stopped.await;
        });
    });
    let order = json!({
        "method": method, "vip": "20.0.0.50", "tables": tables, "allocation": allocation, "enis": enis,
        "rounds": 3, "port": null, "settle_s": 1,
    });
    let mut command = Command::new(format!("{FOLDER}/run"));
    command.arg("--measure").arg(order.to_string());
    command.env("AWS_ENDPOINT_URL", told.recv().unwrap()).env("AWS_DEFAULT_REGION", REGION);
    command.env("AWS_ACCESS_KEY_ID", "node-a").env("AWS_SECRET_ACCESS_KEY", "secret");
    let said = tools::said(&mut command);
    drop(stop);
    serving.join().unwrap();
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn the_lag_of_reads_is_measured_and_the_endpoints_answers_are_those_on_file() {
    if !has_boto3() {
        return;
    }
    let on_file: Value = serde_json::from_str(&fs::read_to_string(format!("{FOLDER}/endpoint.json")).unwrap()).unwrap();
    for method in ["route", "elastic-ip"] {
        let found = measured(method);
        assert_eq!(found["answers"], on_file[method], "{method}: endpoint.json is what the endpoint answers");
        let moves = found["moves"].as_array().unwrap();
        let lags: Vec<_> = moves.iter().map(|one| one["read_s"].as_f64().unwrap()).collect();
        // A read that begins later than the endpoint remembers shows the new state.
        assert!(lags.iter().all(|lag| *lag <= LAG.as_secs_f64()), "{method}: {found:#}");
        assert!(lags.iter().any(|lag| *lag > 0.0), "{method}: {found:#}");
        assert!(moves.iter().any(|one| one["stale"].as_u64().unwrap() > 0), "{method}: {found:#}");
    }
}
