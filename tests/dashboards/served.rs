//! A real Prometheus scrapes three reports as daemons serve them, through a failover, a drift and a throttling. Every
//! query of the dashboard then returns series.

#![expect(clippy::disallowed_methods, reason = "a test waits, and looks at its clock and its environment")]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use vipkeeper::action::{Action, RouteCall};
use vipkeeper::binding::{Account, BindingKey, Kind};
use vipkeeper::ec2::{Class, RequestReport};
use vipkeeper::ids::ClaimId;
use vipkeeper::report::{Direction, DriftReason, News, Outcome, PassResult, Report, Reporter, Source, VipKeys, http};
use vipkeeper::status::{AnswersStatus, ClockStatus, Status, VipStatus};

use super::board::filled_in;
use super::panels::ROWS;
use super::statuses::{denied, fresh, leader, standby, status};

const VIP: &str = "20.0.0.50";
/// Prometheus starts in a moment; the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// A process that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn report() -> Arc<Report> {
    let bindings = vec![
        BindingKey::new(Kind::Route, "rtb-012345abcd"),
        BindingKey::new(Kind::LocalAddress, VIP),
        BindingKey::new(Kind::ElasticIp, "203.0.113.10"),
    ];
    Arc::new(Report::new(&[VipKeys { vip: VIP.parse().unwrap(), bindings }], None, Duration::from_secs(90)))
}

/// One turn of a daemon's loop in which everything of this kind of VIP happens.
fn turn(report: &Report, vip: VipStatus, is_new_leader: bool) {
    let address = VIP.parse().unwrap();
    let key = &BindingKey::new(Kind::Route, "rtb-012345abcd");
    let action = &Action::PointRoute {
        account: Account::Own,
        table: "rtb-012345abcd".parse().unwrap(),
        destination: "20.0.0.50/32".parse().unwrap(),
        eni: "eni-0a1".parse().unwrap(),
        call: RouteCall::ReplaceElseCreate,
    };
    let duration = Duration::from_millis(150);
    let request = |result| RequestReport { operation: "ReplaceRoute", result, duration, waited: duration };
    let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    report.news(&News::PassDone { result: PassResult::Acting, duration });
    report.news(&News::Request(&request("ok")));
    report.news(&News::Observed { source: Source::RouteTables, at_ms: now_ms });
    report.news(&News::CredentialsExpiry { at_ms: Some(now_ms + 3_600_000) });
    if is_new_leader {
        report.news(&News::Takeover { vip: address, direction: Direction::Gained });
        report.news(&News::PacketsCame { vip: address, after: duration });
        report.news(&News::Converged { vip: address, claim: &ClaimId::new("7f3a"), after: duration, held: false });
        report.news(&News::Drift { vip: address, key, reason: DriftReason::Elsewhere, detail: "eni-0b2" });
        report.news(&News::Request(&request("Throttling")));
        for outcome in [Outcome::Accepted, Outcome::Failed(Class::Throttled)] {
            let (code, error) = (None, None);
            report.news(&News::ActionDone {
                vip: address,
                key: Some(key),
                action,
                purpose: None,
                outcome,
                code,
                error,
                duration,
            });
        }
    }
    let clock =
        ClockStatus { ahead_ms: Some(40), error_ms: Some(100), synchronized: Some(true), max_error_ms: Some(2) };
    report.status(&Status { clock: Some(clock), ..status(vec![vip]) });
}

/// The body of the answer; HTTP/1.0, in which an answer ends with its connection.
fn get(server: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 200 ").then(|| body.to_owned())
}

/// The values of the query's series, now.
fn ask(server: SocketAddr, query: &str) -> Vec<f64> {
    let encoded = query.bytes().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "%{byte:02X}");
        text
    });
    let answer = get(server, &format!("/api/v1/query?query={encoded}")).unwrap_or_else(|| panic!("no answer: {query}"));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let series = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{query}: {answer}"));
    series.iter().map(|one| one["value"][1].as_str().unwrap().parse().unwrap()).collect()
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(200));
    }
}

/// Prometheus, which scrapes these addresses twice a second and keeps its data in this folder. `None` where it is not
/// installed.
fn prometheus(folder: &std::path::Path, nodes: &[SocketAddr]) -> Option<(Server, SocketAddr)> {
    let targets: Vec<_> = nodes.iter().map(|address| format!("'{address}'")).collect();
    let settings = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\nscrape_configs:\n- job_name: vipkeeper\n  \
         static_configs:\n  - {{targets: [{}], labels: {{cluster: pg1}}}}\n",
        targets.join(", ")
    );
    std::fs::write(folder.join("prometheus.yml"), settings).unwrap();
    let address = free_address();
    let child = Command::new("prometheus")
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=error"])
        .arg(format!("--web.listen-address={address}"))
        .current_dir(folder)
        .stdout(Stdio::null())
        .spawn();
    let Ok(child) = child else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "prometheus is missing");
        eprintln!("skipped: there is no prometheus");
        return None;
    };
    let server = Server(child);
    eventually("Prometheus is ready", || get(address, "/-/ready").is_some());
    Some((server, address))
}

#[test]
fn every_query_returns_series_of_daemons_that_live_through_something() {
    let nodes = [report(), report(), report()];
    let addresses = [free_address(), free_address(), free_address()];
    let _listeners: Vec<_> =
        nodes.iter().zip(addresses).map(|(node, at)| http::start(at, Arc::clone(node), |_| ()).unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    let Some((_server, server)) = prometheus(folder.path(), &addresses) else { return };

    // The second node takes over from the first; the third has never led.
    turn(&nodes[0], leader(), false);
    turn(&nodes[1], standby(), false);
    turn(&nodes[2], fresh(), false);
    eventually("three nodes are scraped", || {
        ask(server, "vipkeeper_desired_role{role='leader'} or vipkeeper_passes_total > 0").len() >= 6
    });
    nodes[0].news(&News::Takeover { vip: VIP.parse().unwrap(), direction: Direction::Lost });
    let answers = AnswersStatus { by: "i-0def".parse().ok(), inside: false, since_ms: 1, answered_ms: Some(1) };
    turn(&nodes[0], VipStatus { answers: Some(answers), ..standby() }, false);
    let mut new_leader = denied();
    new_leader.bindings[1].last_error.as_mut().unwrap().held_back_ms = 2000;
    turn(&nodes[1], new_leader, true);
    eventually("the takeover is scraped", || ask(server, "sum(vipkeeper_takeovers_total)") == [2.0]);
    eventually("its rates are known", || ask(server, "sum(increase(vipkeeper_takeovers_total[1m])) > 0.5").len() == 1);

    for panel in ROWS.iter().flat_map(|row| row.panels) {
        for query in panel.expressions() {
            let values = ask(server, &filled_in(&query, "1m"));
            assert!(!values.is_empty(), "{}: {query}", panel.title);
        }
    }
    let last = ROWS.iter().flat_map(|row| row.panels).find(|panel| panel.title == "Last failover took").unwrap();
    // The first node had led before, and the news of the second one's takeover say another time than its claim.
    let took: Vec<_> = last.expressions().flat_map(|query| ask(server, &filled_in(&query, "1m"))).collect();
    assert_eq!(took, [0.214]);
    // Everything that happened is seen as such.
    for (query, wanted) in [
        ("count(vipkeeper_desired_role{role='leader'} == 1)", 1.0),
        ("sum(vipkeeper_drift_total{reason='elsewhere'})", 1.0),
        ("sum(vipkeeper_ec2_throttled_total)", 1.0),
        ("count(up == 1)", 3.0),
    ] {
        assert_eq!(ask(server, query), [wanted], "{query}");
    }
}
