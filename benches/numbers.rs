//! How fast, how quiet and how small the real program is, as a table: `cargo bench --bench numbers`.
//!
//! It measures a release build. `cargo bench --profile dev --bench numbers` measures what the tests have built already,
//! and `VIPKEEPER_PROGRAM` names any other build. Words after `--` choose sections: hook, claim, buckets, page, passes, repair,
//! guard, flood, start, rest.
//! It needs the same as tests/binary.rs: network namespaces. Nothing here is asserted; the machine may be busy.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "it fails by panicking, waits for processes, and asks the environment for CI"
)]

#[path = "../tests/stage/mod.rs"]
mod stage;

#[path = "numbers/claim.rs"]
mod claim;
#[path = "numbers/flood.rs"]
mod flood;
#[path = "numbers/guard.rs"]
mod guard;
#[path = "numbers/hook.rs"]
mod hook;
#[path = "numbers/page.rs"]
mod page;
#[path = "numbers/passes.rs"]
mod passes;
#[path = "numbers/repair.rs"]
mod repair;
#[path = "numbers/rest.rs"]
mod rest;
#[path = "numbers/start.rs"]
mod start;

use std::fmt::Write as _;
use std::time::Duration;

use stage::Stage;

type Section = fn(&mut Table) -> Option<()>;

const SECTIONS: [(&str, Section); 10] = [
    ("hook", hook::measure),
    ("claim", claim::measure),
    ("buckets", claim::measure_throttled),
    ("page", page::measure),
    ("passes", passes::measure),
    ("repair", repair::measure),
    ("guard", guard::measure),
    ("flood", flood::measure),
    ("start", start::measure),
    ("rest", rest::measure),
];

fn main() {
    // cargo adds `--bench`.
    let chosen: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    println!("program: {}\n", stage::machine::program().display());
    let mut table = Table::default();
    for (name, measure) in SECTIONS {
        if chosen.is_empty() || chosen.iter().any(|word| word == name) {
            // Where nothing can be measured, the stage has said why.
            let _ = measure(&mut table);
        }
    }
}

/// Prints each row as soon as it is measured.
#[derive(Default)]
struct Table {
    started: bool,
}

impl Table {
    fn row(&mut self, what: &str, measured: &str, target: &str) {
        if !self.started {
            self.started = true;
            println!("| {:<66} | {:<44} | {:<16} |", "what", "measured", "target");
            println!("|{:-<68}|{:-<46}|{:-<18}|", "", "", "");
        }
        println!("| {what:<66} | {measured:<44} | {target:<16} |");
    }
}

/// Several measurements of one thing.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    fn quantile(&self, part: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "few")]
        let index = ((sorted.len() - 1) as f64 * part).round() as usize;
        sorted[index]
    }

    fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    /// "1.2 ms (0.9 to 3.1, n=20)": the median, and nine tenths around it.
    fn text(&self) -> String {
        let [least, most] = [0.05, 0.95].map(|part| milliseconds(self.quantile(part)));
        let mut text = format!("{} ms ({least} to {most}", milliseconds(self.median()));
        let _ = write!(text, ", n={})", self.0.len());
        text
    }
}

fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 100.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

/// A configuration with this many VIPs, each with a route in every table; an Elastic IP follows the first one.
fn many_vips(stage: &Stage, vips: usize) -> String {
    let tables = stage.tables.iter().map(|table| format!("{table:?}")).collect::<Vec<_>>().join(", ");
    let mut text = stage.usual_vip();
    for vip in (0..vips).skip(1) {
        let address = vip_address(vip);
        let _ = write!(
            text,
            "[[vip]]\ndelegate_ip = \"{address}\"\n[vip.route]\ntables = [{tables}]\ninterface = \"eth0\"\n"
        );
    }
    text
}

fn vip_address(vip: usize) -> String {
    if vip == 0 { stage::ROUTED.to_owned() } else { format!("20.0.1.{vip}") }
}

/// A machine that leads all its VIPs, in sync.
fn leading(stage: &Stage, vips: usize, header: &str) -> stage::daemon::Daemon {
    let machine = &stage.machines[0];
    stage.endpoint.service().set_throttling(ec2_endpoint::service::Throttling::Off);
    for table in &stage.tables {
        stage.endpoint.change(|account| account.set_route_limit(table, 200)).unwrap();
    }
    machine.configure_whole(&(header.to_owned() + &many_vips(stage, vips)));
    let daemon = machine.start_ready();
    for vip in 0..vips {
        machine.hook("up", &vip_address(vip));
    }
    for vip in 0..vips {
        machine.wait(&vip_address(vip));
    }
    daemon
}

/// The header with the intervals that the program has by default.
fn default_intervals(stage: &Stage) -> String {
    stage.machines[0].header().replace("\"2s\"", "\"10s\"").replace("\"5s\"", "\"30s\"")
}
