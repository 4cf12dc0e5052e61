//! What scenarios showed: a Markdown table with the median of each scenario's runs, and a picture of that run.
//!
//! Written after every run beside the build, or where `VIPKEEPER_LAB_REPORT` says (a folder; relative to the project's).

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::client::Answer;
use super::cluster::plain_name;
use super::signals::{self, Seen, Who};
use super::svg;
use super::timeline::Timeline;
use super::vpc::Method;

/// A client that asks each 50 ms and is answered within some more has noticed nothing.
pub const NOTHING: Duration = Duration::from_millis(150);

const PAGE: &str = "# What clients see when a leader fails

Three machines made of network namespaces with real Pgpool-II and PostgreSQL, vipkeeper as it is installed, and an EC2 in
which each call takes 150 ms; a client that opens a connection and asks each 50 ms. Written by
`VIPKEEPER_LAB=full VIPKEEPER_LAB_REPORT=docs/lab cargo test --test lab -- --nocapture --test-threads 1`.

*Outage* is the longest time without an answer. *Election* is Pgpool's part of it, from the fault to the start of the new
leader's hook (its watchdog is set to notice a silent peer after 5 s); *ours* is the rest, up to the first query answered
through the new leader. Medians, where a scenario was played more than once. The scripts of Pgpool's own guide on the same
machines: [side by side](side-by-side.md).

";

/// What was played so far, in the order of play.
static PLAYED: Mutex<Vec<Told>> = Mutex::new(Vec::new());

/// One run of one scenario.
pub struct Told {
    pub row: Row,
    pub timeline: Timeline,
    /// None where Prometheus did not watch.
    pub seen: Option<Seen>,
}

#[derive(Debug, Clone)]
pub struct Row {
    pub scenario: &'static str,
    pub method: Method,
    /// The longest time without an answer.
    pub outage: Duration,
    /// From the fault to the start of the new leader's hook: Pgpool's election.
    pub election: Duration,
    /// From there to the first answer through the new leader.
    pub ours: Duration,
    /// What the nodes asked of EC2 from the fault to the end.
    pub calls: String,
    pub end: String,
}

/// The longest time without an answer after `from`, counted from the last answer before it.
pub fn outage(answers: &[Answer], from: Duration) -> Duration {
    let before = answers.iter().rev().find(|answer| answer.at <= from).map_or(from, |answer| answer.at);
    let after = answers.iter().map(|answer| answer.at).filter(|at| *at > from);
    let mut last = before;
    let mut longest = Duration::ZERO;
    for at in after {
        longest = longest.max(at.saturating_sub(last));
        last = at;
    }
    longest
}

/// Shows all rows so far, and leaves the report in files.
pub fn tell(told: Told) {
    let mut all = PLAYED.lock().unwrap_or_else(PoisonError::into_inner);
    all.push(told);
    let scenarios = by_scenario(&all);
    let table = table(&scenarios);
    eprintln!("\n{table}");
    let mut page = format!("{PAGE}Played {}.\n\n{table}\n## What Prometheus shows\n\n", machine());
    page.push_str(&signals_table(&scenarios));
    let _ = write!(page, "\nRead so, in a second's steps:\n\n{}", signals::legend());
    page.push_str("\n## Second by second\n");
    for runs in &scenarios {
        let Told { row: Row { scenario, method, .. }, timeline, .. } = runs.median_run();
        let title = format!("{scenario}, {}", method.name());
        let file = format!("{}.svg", plain_name(&title));
        write(&file, &svg::draw(&title, timeline));
        let _ = write!(page, "\n![{title}]({file})\n");
    }
    write("README.md", &page);
}

/// Puts a file of the report where it belongs.
pub fn write(name: &str, text: &str) {
    let folder = match env::var_os("VIPKEEPER_LAB_REPORT") {
        Some(folder) => Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab"),
    };
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}

/// What the numbers were measured on.
pub fn machine() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').nth(2).unwrap_or("unknown").to_owned();
    format!("on {cores} cores with a load of {load} (average of the last 15 minutes, the lab's own included)")
}

/// All runs of one scenario with one method.
struct Runs<'a>(Vec<&'a Told>);

impl Runs<'_> {
    fn median(&self, value: impl Fn(&Row) -> Duration) -> Duration {
        median(self.0.iter().map(|told| value(&told.row)).collect()).expect("a group has a run")
    }

    /// The run whose outage is the median.
    fn median_run(&self) -> &Told {
        let outage = self.median(|row| row.outage);
        self.0.iter().find(|told| told.row.outage == outage).expect("the median is one of them")
    }
}

/// The middle one; of an even number the worse of the two in the middle.
pub fn median<T: Ord>(mut values: Vec<T>) -> Option<T> {
    values.sort();
    let middle = values.len() / 2;
    values.into_iter().nth(middle)
}

fn by_scenario(all: &[Told]) -> Vec<Runs<'_>> {
    let mut scenarios = Vec::<Runs>::new();
    for told in all {
        let is_same = |runs: &&mut Runs| {
            let row = &runs.0[0].row;
            row.scenario == told.row.scenario && row.method == told.row.method
        };
        match scenarios.iter_mut().find(is_same) {
            Some(runs) => runs.0.push(told),
            None => scenarios.push(Runs(vec![told])),
        }
    }
    scenarios
}

fn table(scenarios: &[Runs<'_>]) -> String {
    let mut text =
        "| what happens | VIP by | runs | outage | election | ours | EC2 calls of all nodes | in the end |\n\
                    |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for runs in scenarios {
        let Row { scenario, method, calls, end, .. } = &runs.median_run().row;
        let outage = runs.median(|row| row.outage);
        let outage = if outage < NOTHING { "none".to_owned() } else { seconds(outage) };
        let (election, ours) = (seconds(runs.median(|row| row.election)), seconds(runs.median(|row| row.ours)));
        let (method, number) = (method.name(), runs.0.len());
        let _ =
            writeln!(text, "| {scenario} | {method} | {number} | {outage} | {election} | {ours} | {calls} | {end} |");
    }
    text
}

/// What moved in Prometheus, where it watched.
fn signals_table(scenarios: &[Runs<'_>]) -> String {
    let mut text =
        "| what happens | VIP by | old leader | new leader | node beside |\n|---|---|---|---|---|\n".to_owned();
    for told in scenarios.iter().map(Runs::median_run) {
        let Some(seen) = &told.seen else { continue };
        let of =
            |who| seen.get(&who).map_or_else(String::new, |all| all.iter().cloned().collect::<Vec<_>>().join(", "));
        let (old, new, beside) = (of(Who::Old), of(Who::New), of(Who::Beside));
        let _ = writeln!(text, "| {} | {} | {old} | {new} | {beside} |", told.row.scenario, told.row.method.name());
    }
    text
}

pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

#[test]
fn the_median_of_an_even_number_is_the_worse() {
    assert_eq!(median(vec![3, 1, 2]), Some(2));
    assert_eq!(median(vec![4, 1, 2, 3]), Some(3));
    assert_eq!(median(Vec::<u8>::new()), None);
}
