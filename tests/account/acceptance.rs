//! The acceptance script, against moto in place of an account: a program plays the nodes, by itself or behind a Systems
//! Manager. Packets are played by a listener on loopback. Every statement of the script runs here.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener as StdListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use ec2_endpoint::account::model::RouteTarget;
use ec2_endpoint::{Account, Endpoint, Fault, FaultKind, Launch, Service};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::moto::{IMAGE, Moto, REGION, elements};
use crate::tools;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/account");
/// The greatest age of what the embedded endpoint shows here.
const LAG: Duration = Duration::from_secs(2);
/// How long packets go the old way after a move, here.
const PACKETS: Duration = Duration::from_millis(300);

/// The lines of the script that have run, by every process that these tests start.
struct Lines(TempDir);

impl Lines {
    /// The statements of a script that none of them ran.
    fn never_run(&self, script: &str) -> String {
        tools::said(Command::new(format!("{FOLDER}/never_run")).arg(self.0.path()).arg(script))
    }

    fn observe<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("VIPKEEPER_RUN_LINES", self.0.path()).env("PYTHONPATH", format!("{FOLDER}/python"));
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PATH", tools::path())
    }
}

/// A test double of the services that moto does not play to the end; a process of its own.
struct OtherAws {
    process: Child,
    url: String,
}

impl OtherAws {
    fn start(moto: &Moto<'_>) -> Self {
        let mut command = Command::new(format!("{FOLDER}/other_aws"));
        command.arg(format!("{FOLDER}/node")).env("PATH", tools::path());
        command.env("AWS_ENDPOINT_URL", moto.url()).env("AWS_DEFAULT_REGION", REGION);
        command.env("AWS_ACCESS_KEY_ID", "node").env("AWS_SECRET_ACCESS_KEY", "secret");
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { process, url: format!("http://127.0.0.1:{}", port.trim()) }
    }
}

impl Drop for OtherAws {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The script for one method in moto's account.
struct Script {
    command: Command,
    _package: (TempDir, PathBuf),
}

impl Script {
    fn new(moto: &Moto<'_>, method: &str, lines: &Lines) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("vipkeeper.deb");
        fs::write(&package, "a package").unwrap();
        let mut command = Command::new(format!("{FOLDER}/run"));
        command.args(["--method", method, "--image", IMAGE, "--moves", "3", "--patience", "240"]);
        command.arg("--package").arg(&package);
        lines.observe(&mut command).env("AWS_ENDPOINT_URL", moto.url()).env("AWS_DEFAULT_REGION", REGION);
        command.env("AWS_ACCESS_KEY_ID", "operator").env("AWS_SECRET_ACCESS_KEY", "secret");
        command.stdin(Stdio::null());
        Self { command, _package: (folder, package) }
    }

    /// The program that plays the nodes is started by the script itself.
    fn on_played_nodes(self) -> Self {
        self.with(&["--on", &format!("{FOLDER}/node")])
    }

    fn with(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Whether it ended well, and all that it said.
    fn run(mut self) -> (bool, String) {
        let Output { status, stdout, stderr } = self.command.output().unwrap();
        (status.success(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
    }

    /// It must fail, with this among its words.
    #[track_caller]
    fn fails(self, why: &str) -> String {
        let (is_well, said) = self.run();
        assert!(!is_well && said.contains(why), "no '{why}' in\n{said}");
        said
    }
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
fn the_script_leaves_nothing_and_every_statement_of_it_runs() {
    let Some(moto) = Moto::start(None, "the acceptance script").filter(|_| has_boto3()) else { return };
    let lines = Lines(tempfile::tempdir().unwrap());
    let other = OtherAws::start(&moto);
    it_accepts(&moto, &other, &lines);
    it_tells_what_is_late(&moto, &lines);
    after_a_failure_nothing_is_left(&moto, &lines);
    it_makes_nothing_before_it_may(&moto, &lines);
    it_tells_what_aws_did_not_do(&moto, &other, &lines);
    a_signal_ends_it_in_order(&moto, &lines);
    assert_eq!(lines.never_run("acceptance.py"), "");
}

#[test]
fn lags_are_measured_and_every_statement_of_the_measurement_runs() {
    if !has_boto3() {
        return;
    }
    let lines = Lines(tempfile::tempdir().unwrap());
    the_lag_is_measured(&lines);
    packets_that_never_come_are_given_up(&lines);
    assert_eq!(lines.never_run("measure.py"), "");
}

fn it_accepts(moto: &Moto<'_>, other: &OtherAws, lines: &Lines) {
    for method in ["route", "elastic-ip"] {
        let script = Script::new(moto, method, lines).with(&["--yes"]);
        // One of them through Systems Manager, as on an account.
        let script =
            if method == "route" { script.env("AWS_ENDPOINT_URL_SSM", &other.url) } else { script.on_played_nodes() };
        let (is_well, said) = script.run();
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
        assert_eq!(left(moto), [""; 0], "{method}\n{said}");
    }
}

fn it_tells_what_is_late(moto: &Moto<'_>, lines: &Lines) {
    let moved = |read_s: f64, packet_s: f64| json!({"read_s": read_s, "stale": 1, "back": 0, "packet_s": packet_s});
    let found = json!({"moves": [moved(6.5, 0.4), moved(0.5, 0.2)], "answers": {}}).to_string();
    let script = Script::new(moto, "route", lines).on_played_nodes().with(&["--yes"]).env("NODE_MEASURES", &found);
    let (is_well, said) = script.run();
    for part in
        ["!! after 1 moves reads lagged", "the first packet went the new way after: median 0.30 s", "longest 6.50 s"]
    {
        assert!(is_well && said.contains(part), "no '{part}' in\n{said}");
    }
}

fn after_a_failure_nothing_is_left(moto: &Moto<'_>, lines: &Lines) {
    for (name, value, why) in [
        ("NODE_FAILS_AT", "stop pgpool2", "stop pgpool2: 1: "),
        ("NODE_FAILS_AT", "vipkeeper check", "vipkeeper check || [ $? = 3 ]: 1: "),
        ("NODE_MOVES_AT", "systemctl restart vipkeeper", "a restart of the daemon moved the VIP"),
    ] {
        let script = Script::new(moto, "route", lines).on_played_nodes().with(&["--yes"]);
        let said = script.env(name, value).fails(why);
        assert!(said.contains("deleted: the stack") && !said.contains("STILL THERE"), "{said}");
        assert_eq!(left(moto), [""; 0], "{said}");
    }
    let script = Script::new(moto, "route", lines).on_played_nodes().with(&["--yes", "--patience", "1"]);
    script.env("NODE_FAILS_AT", "vipkeeper status").fails("not within 1 s: every node is set up");
    assert_eq!(left(moto), [""; 0]);
}

fn it_makes_nothing_before_it_may(moto: &Moto<'_>, lines: &Lines) {
    let new = || Script::new(moto, "elastic-ip", lines).on_played_nodes();
    // Nobody answers the question.
    let said = new().fails("USD an hour");
    assert!(!said.contains("deleted: "), "{said}");
    let mut script = new();
    let mut asked = script.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    asked.stdin.take().unwrap().write_all(b"no\n").unwrap();
    let Output { status, stderr, .. } = asked.wait_with_output().unwrap();
    assert!(!status.success() && String::from_utf8_lossy(&stderr).contains("nothing was made"));
    new().with(&["--moves", "0"]).fails("--moves: 1 to ");
    new().with(&["--yes", "--image", "/none/of/these"]).fails("has no parameter /none/of/these");
    let mut script = new().with(&["--yes"]).env("AWS_CONFIG_FILE", "/dev/null").env("HOME", "/nonexistent");
    script.command.env_remove("AWS_DEFAULT_REGION").env_remove("AWS_REGION");
    script.fails("no region: give --region");
    assert_eq!(left(moto), [""; 0]);
}

fn it_tells_what_aws_did_not_do(moto: &Moto<'_>, other: &OtherAws, lines: &Lines) {
    let new = || Script::new(moto, "route", lines).on_played_nodes().with(&["--yes"]);
    let script = new().with(&["--region", "eu-central-1"]).env("AWS_ENDPOINT_URL_SSM", &other.url);
    let said = script.env("AWS_ENDPOINT_URL_CLOUDFORMATION", &other.url).fails("NodeB: no room in this zone");
    assert!(said.contains("STILL THERE: the stack ") && said.contains("deleted: the bucket "), "{said}");
    let said = new().env("AWS_ENDPOINT_URL_S3", &other.url).fails("TooManyBuckets");
    assert!(!said.contains("STILL THERE"), "{said}");
}

fn a_signal_ends_it_in_order(moto: &Moto<'_>, lines: &Lines) {
    let mut script = Script::new(moto, "route", lines).on_played_nodes().with(&["--yes"]);
    script.command.env("NODE_SLEEPS_AT", "stop pgpool2");
    let mut process = script.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("a node leads") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended");
    }
    let pid = Pid::from_raw(process.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let (mut rest, mut errors) = (String::new(), String::new());
    said.read_to_string(&mut rest).unwrap();
    process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(!process.wait().unwrap().success());
    assert!(rest.contains("deleted: the stack") && rest.contains("deleted: the bucket"), "{rest}{errors}");
    assert!(errors.contains("FAILED: Failed: ended by signal 15"), "{errors}");
    assert_eq!(left(moto), [""; 0]);
}

/// The embedded endpoint with two nodes and both kinds of VIP, and somebody who answers at the VIP.
struct Measured {
    endpoint: Endpoint,
    order: Value,
    command: Command,
}

impl Measured {
    fn new(method: &str, lines: &Lines) -> Self {
        let mut account = Account::new(REGION);
        let vpc = account.add_vpc("10.0.0.0/16", None).unwrap();
        let subnet = account.add_subnet(&vpc, "10.0.1.0/24", "us-east-1a").unwrap();
        let tables = [(); 2].map(|()| account.add_route_table(&vpc).unwrap());
        let allocation = account.allocate_address("203.0.113.10").unwrap();
        let enis = [(); 2]
            .map(|()| account.add_instance(Launch::in_subnet(&subnet)).unwrap().interfaces.into_iter().next().unwrap());
        let order = json!({
            // The probe goes to loopback.
            "method": method, "vip": "127.0.0.1", "tables": tables, "allocation": allocation, "enis": enis,
            "rounds": 3, "port": null, "settle_s": 1,
        });
        let mut command = Command::new(format!("{FOLDER}/run"));
        lines.observe(&mut command).env("AWS_DEFAULT_REGION", REGION);
        command.env("AWS_ACCESS_KEY_ID", "node-a").env("AWS_SECRET_ACCESS_KEY", "secret");
        Self { endpoint: Endpoint::new(Service::new(account, 1)), order, command }
    }

    /// The ENI that packets to the VIP reach.
    fn target(endpoint: &Endpoint, order: &Value) -> String {
        let service = endpoint.service();
        let account = service.account();
        let of_address = || {
            let elastic = account.elastic_ip(order["allocation"].as_str().unwrap()).unwrap();
            elastic.association.as_ref().map(|one| one.network_interface_id.clone())
        };
        let of_table = || {
            let table = account.route_table(order["tables"][1].as_str().unwrap()).unwrap();
            match table.routes.get(&"127.0.0.1/32".parse().unwrap()).map(|route| route.target.clone()) {
                Some(RouteTarget::NetworkInterface(eni)) => Some(eni),
                _ => None,
            }
        };
        let found = if order["method"] == "route" { of_table() } else { of_address() };
        found.unwrap_or_default()
    }

    /// Somebody answers at the VIP, [`PACKETS`] late.
    fn answered(mut self) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        self.order["port"] = listener.local_addr().unwrap().port().into();
        let (endpoint, order) = (self.endpoint.clone(), self.order.clone());
        // It ends with the test.
        thread::spawn(move || {
            let mut changes: Vec<(std::time::Instant, String)> = Vec::new();
            for connection in listener.incoming() {
                let now = std::time::Instant::now();
                let target = Self::target(&endpoint, &order);
                if changes.last().is_none_or(|(_, last)| *last != target) {
                    changes.push((now, target));
                }
                let known = changes.iter().rev().find(|(at, _)| now - *at >= PACKETS);
                let who = known.map_or("", |(_, who)| who.as_str());
                let _ = connection.unwrap().write_all(who.as_bytes());
            }
        });
        self
    }

    fn run(mut self) -> Output {
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let endpoint = self.endpoint.clone();
        let serving = thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let server = endpoint.serve_api(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
                tell.send(server.url()).unwrap();
                let _ = stopped.await;
            });
        });
        self.command.arg("--measure").arg(self.order.to_string()).env("AWS_ENDPOINT_URL", told.recv().unwrap());
        let done = self.command.stdin(Stdio::null()).output().unwrap();
        drop(stop);
        serving.join().unwrap();
        done
    }

    fn found(self) -> Value {
        let done = self.run();
        serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
    }
}

/// The findings on the embedded endpoint, whose reads lag by up to two seconds; and its answers are those on file.
fn the_lag_is_measured(lines: &Lines) {
    let on_file: Value = serde_json::from_str(&fs::read_to_string(format!("{FOLDER}/endpoint.json")).unwrap()).unwrap();
    for method in ["route", "elastic-ip"] {
        let measured = Measured::new(method, lines).answered();
        measured.endpoint.service().add_fault(Fault::new(FaultKind::Stale { up_to: LAG }));
        let found = measured.found();
        assert_eq!(found["answers"], on_file[method], "{method}: endpoint.json is what the endpoint answers");
        let moves = found["moves"].as_array().unwrap();
        let lags: Vec<_> = moves.iter().map(|one| one["read_s"].as_f64().unwrap()).collect();
        // A read that begins later than the endpoint remembers shows the new state.
        assert!(lags.iter().all(|lag| *lag <= LAG.as_secs_f64()), "{method}: {found:#}");
        assert!(lags.iter().any(|lag| *lag > 0.0), "{method}: {found:#}");
        assert!(moves.iter().any(|one| one["stale"].as_u64().unwrap() > 0), "{method}: {found:#}");
        let packets: Vec<_> = moves.iter().map(|one| one["packet_s"].as_f64().unwrap()).collect();
        assert!(packets.iter().any(|late| *late > 0.0), "{method}: {found:#}");
        assert!(packets.iter().all(|late| *late < LAG.as_secs_f64()), "{method}: {found:#}");
    }
}

fn packets_that_never_come_are_given_up(lines: &Lines) {
    let mut nobody = Measured::new("elastic-ip", lines);
    // The port of a listener that is gone.
    let port = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    (nobody.order["port"], nobody.order["rounds"]) = (port.into(), 4.into());
    nobody.command.env("MEASURE_PATIENCE_S", "1");
    let found = nobody.found();
    assert!(found["moves"].as_array().unwrap().iter().all(|one| one["packet_s"].is_null()), "{found:#}");
    // A refusal for another reason does not mean that the route is absent.
    let refused = Measured::new("route", lines);
    refused.endpoint.service().add_fault(Fault::new(FaultKind::Throttle));
    let done = refused.run();
    assert!(
        !done.status.success() && String::from_utf8_lossy(&done.stderr).contains("RequestLimitExceeded"),
        "{done:?}"
    );
}

/// The line that makes a node answer at the VIP's port, carried out with a systemd of which nothing is there but this.
#[test]
fn a_node_answers_with_its_eni() {
    if !has_boto3() {
        return;
    }
    let bin = tempfile::tempdir().unwrap();
    for (name, does) in
        [("systemctl", "exit 0"), ("systemd-run", "while [ \"$1\" != python3 ]; do shift; done; exec \"$@\"")]
    {
        let file = bin.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{does}\n")).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let port = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut line = Command::new("python3");
    line.args(["-c", "import acceptance; print(acceptance.RESPONDER.format(eni='eni-0a'))"]);
    let line = tools::said(line.env("PYTHONPATH", FOLDER).env("PYTHONDONTWRITEBYTECODE", "1"));
    let mut node = Command::new("sh");
    node.args(["-c", &line.replace("9999", &port)]);
    node.env("PATH", format!("{}:{}", bin.path().display(), tools::path().display()));
    // Its children go with it.
    let mut node = node.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let began = std::time::Instant::now();
    let answer = loop {
        let mut answer = String::new();
        let connected = std::net::TcpStream::connect(format!("127.0.0.1:{port}"));
        if connected.and_then(|mut connection| connection.read_to_string(&mut answer)).is_ok() {
            break answer;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "nobody answers");
        thread::sleep(Duration::from_millis(100));
    };
    kill_process_group(Pid::from_raw(node.id().try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    node.wait().unwrap();
    assert_eq!(answer, "eni-0a");
}
