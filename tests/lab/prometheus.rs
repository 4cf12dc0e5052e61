//! Prometheus itself, as Debian packages it, scraping the three daemons each second from a machine of its own; and what its
//! answers must say of a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::cluster::eventually;
use super::machine::{Machine, ROOT, clean, output};
use super::suite::Suite;
use super::tools;
use super::vpc::{Instance, Vpc};

/// Of every daemon; its default, but on an address that Prometheus reaches.
pub const METRICS_PORT: u16 = 9813;
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
/// The alerts that people are told to use. Prometheus evaluates them each second.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards/rules.yml");
/// Metrics that a node has only once its own claim has converged.
const OF_A_LEADER: [&str; 1] = ["vipkeeper_claim_convergence_seconds"];
/// Metrics that are absent without `[probe]`.
pub const OF_PROBES: [&str; 2] = ["vipkeeper_packets_astray", "vipkeeper_vip_answered_by"];
/// Go's runtime starts in a moment; the machine may be busy.
const START: Duration = Duration::from_secs(20);
/// Prometheus looks each second; by then it has seen what is so now.
const SEEN: Duration = Duration::from_millis(2500);

pub struct Prometheus {
    machine: Machine,
    nodes: Vec<(&'static str, SocketAddr)>,
}

/// One series: its labels, and its samples as Prometheus stored them (seconds since the Unix epoch, value).
pub struct Series {
    pub labels: BTreeMap<String, String>,
    pub samples: Vec<(f64, f64)>,
}

/// A metric by the word of docs/metrics.md.
struct Documented {
    kind: String,
    labels: BTreeSet<String>,
}

impl Prometheus {
    /// It watches so many of the nodes, and its data goes into `folder`. None, and a line that says so, where the program is missing.
    pub fn start(vpc: &Vpc, started: usize, folder: &Path) -> Option<Self> {
        let Some(program) = tools::find("prometheus") else {
            assert!(env::var("CI").is_err(), "CI must have Prometheus");
            eprintln!("not tested: the metrics by Prometheus, which is not installed");
            return None;
        };
        let machine = Machine::boot("monitor", Suite::Here, &[]);
        vpc.plug_monitor(&machine);
        let of_instance = |one: &Instance| (one.name, SocketAddr::from((one.address, METRICS_PORT)));
        let nodes: Vec<_> = vpc.instances.iter().take(started).map(of_instance).collect();
        let mut settings = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: ['{RULES}']\n\
                scrape_configs:\n- job_name: vipkeeper\n  static_configs:\n"
        );
        for (name, address) in &nodes {
            let _ = writeln!(settings, "  - {{targets: ['{address}'], labels: {{cluster: lab, node: {name}}}}}");
        }
        let (file, data) = (folder.join("prometheus.yml"), folder.join("prometheus"));
        fs::write(&file, settings).unwrap();
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", data.display()),
            format!("--web.listen-address={SERVER}"),
            "--log.level=warn".to_owned(),
        ];
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        machine.start(&ROOT, program.to_str().unwrap(), &arguments, &folder.join("prometheus.log"));
        let this = Self { machine, nodes };
        eventually("Prometheus is ready", START, || this.get(SERVER, "/-/ready").map(drop));
        Some(this)
    }

    /// All series of a selector since a time, with the samples of it, and one before where there is one.
    pub fn history(&self, selector: &str, since: Duration, now: Duration) -> Vec<Series> {
        // On a busy machine it comes to look seconds late.
        let (before, now) = (Duration::from_secs(10), now.as_secs_f64());
        let range = (now - since.saturating_sub(before).as_secs_f64()).ceil();
        let answer = self.ask("query", &[("query", &format!("{selector}[{range}s]")), ("time", &format!("{now:.3}"))]);
        let result = answer["result"].as_array().unwrap();
        result.iter().map(Series::from).collect()
    }

    /// All series of a query between two times, with a sample each `step_s` seconds.
    pub fn over(&self, query: &str, (from, to): (f64, f64), step_s: f64) -> Vec<Series> {
        let [from, to, step] = [from, to, step_s].map(|number| format!("{number:.3}"));
        let answer = self.ask("query_range", &[("query", query), ("start", &from), ("end", &to), ("step", &step)]);
        answer["result"].as_array().unwrap().iter().map(Series::from).collect()
    }

    /// Every documented metric but these is there on every node, with its type and labels, and no other of ours is.
    pub fn assert_all_documented_metrics_but(&self, absent: &[&str]) {
        let documented = documented();
        for (node, _) in &self.nodes {
            let target = format!("{{node=\"{node}\"}}");
            let types = self.ask("targets/metadata", &[("match_target", &target)]);
            let types: BTreeMap<_, _> = types
                .as_array()
                .unwrap()
                .iter()
                .map(|one| (one["metric"].as_str().unwrap(), one["type"].as_str().unwrap()))
                .filter(|(name, _)| name.starts_with("vipkeeper_"))
                .collect();
            let expected: BTreeMap<_, _> = documented
                .iter()
                .map(|(name, one)| (name.as_str(), one.kind.as_str()))
                .filter(|(name, _)| !absent.contains(name))
                .filter(|(name, _)| !OF_A_LEADER.contains(name) || types.contains_key(name))
                .collect();
            assert_eq!(types, expected, "metrics of {node} and their types");
            let series = self.ask("series", &[("match[]", &target)]);
            for (name, Documented { kind, labels }) in
                documented.iter().filter(|(name, _)| !absent.contains(&name.as_str()))
            {
                let stored = if kind == "histogram" { format!("{name}_bucket") } else { name.clone() };
                let mut found = 0;
                for one in series.as_array().unwrap().iter().filter(|one| one["__name__"] == stored) {
                    found += 1;
                    let not_ours = ["__name__", "cluster", "instance", "job", "node", "le"];
                    let own = one.as_object().unwrap().keys().filter(|label| !not_ours.contains(&label.as_str()));
                    // Prometheus renames a label of ours that the scraped target has as well.
                    let own = own.map(|label| label.trim_start_matches("exported_").to_owned());
                    assert_eq!(own.collect::<BTreeSet<_>>(), *labels, "labels of {name}");
                }
                assert!(found > 0 || OF_A_LEADER.contains(&name.as_str()), "{node} has no series of {name}");
            }
        }
    }

    /// Prometheus' own checker finds nothing to say about what the daemons serve.
    pub fn assert_clean(&self) {
        let promtool = tools::find("promtool").expect("promtool is in the package of prometheus");
        for (node, address) in &self.nodes {
            let page = self.get(*address, "/metrics").unwrap_or_else(|error| panic!("{node}: {error}"));
            let said = output(clean(promtool.to_str().unwrap()).args(["check", "metrics"]), Some(&page));
            assert_eq!(said, "", "promtool on {node}");
        }
    }

    /// The alerts about how things are whose condition is met now, also where an alert still waits to fire. Those about what
    /// happened within some time outlast what they tell of.
    pub fn alerts(&self) -> BTreeSet<String> {
        let groups = self.ask("rules", &[])["groups"].take();
        let rules: Vec<_> =
            groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
        let query = |rule: &Value| rule["query"].as_str().unwrap().to_owned();
        let recorded = |expression: &str| {
            let is_in_it = |rule: &&&Value| expression.contains(rule["name"].as_str().unwrap());
            rules
                .iter()
                .filter(|rule| rule["type"] == "recording")
                .filter(is_in_it)
                .map(|rule| query(rule))
                .collect::<String>()
        };
        let is_of_now = |rule: &&&Value| !(query(rule) + &recorded(&query(rule))).contains('[');
        let alerting = rules.iter().filter(|rule| rule["type"] == "alerting" && rule["state"] != "inactive");
        alerting.filter(is_of_now).map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Whether this alert fires now.
    pub fn fires(&self, alert: &str) -> bool {
        let query = format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
        self.ask("query", &[("query", &query)])["result"].as_array().is_some_and(|found| !found.is_empty())
    }

    /// Waits until Prometheus has seen what is so now.
    pub fn catch_up() {
        std::thread::sleep(SEEN);
    }

    /// Waits until it has found nobody at a node.
    pub fn misses(&self, node: &str) {
        let query = format!("up{{node=\"{node}\"}}");
        eventually("Prometheus sees that the daemon is down", START, || {
            let answer = self.ask("query", &[("query", &query)]);
            let up = &answer["result"][0]["value"][1];
            if up == "0" { Ok(()) } else { Err(format!("up of {node} is {up}")) }
        });
    }

    fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> Value {
        let parameters = parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let path = format!("/api/v1/{what}?{}", parameters.collect::<Vec<_>>().join("&"));
        let answer = self.get(SERVER, &path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["status"], "success", "{path}");
        answer["data"].take()
    }

    fn get(&self, server: SocketAddr, path: &str) -> Result<String, String> {
        fetch(&self.machine, server, path)
    }
}

/// A page by HTTP/1.0, in which an answer ends with its connection, asked for from this machine.
pub fn fetch(from: &Machine, server: SocketAddr, path: &str) -> Result<String, String> {
    let fetch = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = from.inside(fetch).map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a body")?;
    let status = head.lines().next().unwrap_or_default();
    if status.contains(" 200 ") { Ok(body.to_owned()) } else { Err(format!("{status}: {body}")) }
}

impl From<&Value> for Series {
    fn from(value: &Value) -> Self {
        let labels = value["metric"].as_object().unwrap().iter();
        let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        let sample = |pair: &Value| (pair[0].as_f64().unwrap(), pair[1].as_str().unwrap().parse().unwrap());
        Self { labels: labels.collect(), samples: value["values"].as_array().unwrap().iter().map(sample).collect() }
    }
}

/// The metrics that docs/metrics.md promises.
fn documented() -> BTreeMap<String, Documented> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap();
    let in_backticks =
        |cell: &str| -> BTreeSet<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `vipkeeper_"));
    let metrics = rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let name = format!("vipkeeper_{}", cells[0].trim_end_matches('`'));
        (name, Documented { kind: cells[1].to_owned(), labels: in_backticks(cells[2]) })
    });
    let metrics: BTreeMap<_, _> = metrics.collect();
    assert!(metrics.len() > 20, "{}", metrics.len());
    metrics
}

/// For a URL's query.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
