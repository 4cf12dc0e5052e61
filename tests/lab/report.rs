//! The report on scenarios: a Markdown table with the median of each scenario's runs, and a picture of that run.
//!
//! Written after every run beside the build, or where `VIPKEEPER_LAB_REPORT` says (a folder; relative to the project's).
//! Every run is kept beside the build as well, as a line of JSON. `VIPKEEPER_LAB_GO_ON=yes` adds to what was kept: an
//! interrupted report is finished, and only what is missing is played.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::client::Answer;
use super::cluster::plain_name;
use super::scenarios::at_once;
use super::signals::{self, Seen, Who};
use super::svg;
use super::timeline::Timeline;

/// A client that asks each 50 ms and is answered within some more has noticed nothing.
pub const NOTHING: Duration = Duration::from_millis(150);

const PAGE: &str = "# What clients see when a leader fails

Three machines made of network namespaces with real Pgpool-II and PostgreSQL, vipkeeper as it is installed, and an EC2 in
which each call takes 150 ms; a client that opens a connection and asks each 50 ms. Written by `cargo test --test lab` with
`VIPKEEPER_LAB=full` and `VIPKEEPER_LAB_REPORT=docs/lab`; tests/lab.rs has all its settings.

*Outage*: the longest time without an answer. *Election*: from the fault to the start of the new leader's hook, which is
Pgpool's part (its watchdog is set to notice a silent peer after 5 s); the old leader may still serve meanwhile. *Ours*: from
there, or from what the last column says, to the first query answered through the new leader; where the leader stays, the
outage itself. Times are medians where a scenario was played more than once; calls, end, signals and picture are those of
the run with the median outage. The scripts of Pgpool's own guide on the same machines: [side by side](side-by-side.md).

";

/// The scenarios that were played so far.
static PLAYED: LazyLock<Mutex<Vec<Told>>> = LazyLock::new(|| {
    if env::var_os("VIPKEEPER_LAB_GO_ON").is_none() {
        let _ = fs::remove_file(kept());
    }
    let lines = fs::read_to_string(kept()).unwrap_or_default();
    Mutex::new(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
});

/// One run of one scenario.
#[derive(Serialize, Deserialize)]
pub struct Told {
    pub row: Row,
    pub timeline: Timeline,
    /// None where Prometheus did not watch.
    pub seen: Option<Seen>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub scenario: String,
    /// How the VIP leads to its node.
    pub way: String,
    /// The longest time without an answer.
    pub outage: Duration,
    /// From the fault to the start of the new leader's hook: Pgpool's election.
    pub election: Duration,
    /// From there to the first answer through the new leader.
    pub ours: Duration,
    /// The calls of the nodes to EC2 from the fault to the end.
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

/// How often it was played so far.
pub fn played(scenario: &str, way: &str) -> usize {
    all().iter().filter(|told| told.row.scenario == scenario && told.row.way == way).count()
}

/// The median of the product's part in what was played so far.
pub fn ours(scenario: &str, way: &str) -> Duration {
    let all = all();
    let runs = all.iter().filter(|told| told.row.scenario == scenario && told.row.way == way);
    median(runs.map(|told| told.row.ours).collect()).expect("it was played")
}

/// Shows all rows so far, and leaves the report in files.
pub fn tell(told: Told) {
    let mut all = all();
    let mut kept = File::options().create(true).append(true).open(kept()).unwrap();
    writeln!(kept, "{}", serde_json::to_string(&told).unwrap()).unwrap();
    all.push(told);
    let scenarios = by_scenario(&all);
    let table = table(&scenarios);
    eprintln!("\n{table}");
    let mut page = format!("{PAGE}Played {}.\n\n{table}\n## What Prometheus shows\n\n", machine());
    page.push_str(&signals_table(&scenarios));
    let _ = write!(page, "\nRead so, in a second's steps:\n\n{}", signals::legend());
    page.push_str("\n## Second by second\n");
    for runs in &scenarios {
        let Told { row: Row { scenario, way, .. }, timeline, .. } = runs.median_run();
        let title = format!("{scenario}, {way}");
        let file = format!("{}.svg", plain_name(&title));
        write(&file, &svg::draw(&title, timeline));
        let _ = write!(page, "\n![{title}]({file})\n");
    }
    write("README.md", &page);
}

fn all() -> MutexGuard<'static, Vec<Told>> {
    PLAYED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file of all runs.
fn kept() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab");
    fs::create_dir_all(&folder).unwrap();
    folder.join("runs.jsonl")
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

/// The machine on which the numbers were measured.
pub fn machine() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').nth(2).unwrap_or("unknown").to_owned();
    let labs = match at_once() {
        1 => "one lab at a time".to_owned(),
        labs => format!("{labs} labs at once"),
    };
    format!("on {cores} cores, {labs}, with a load of {load} (average of the last 15 minutes, the lab's own included)")
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
    let mut scenarios = BTreeMap::<_, Vec<&Told>>::new();
    for told in all {
        scenarios.entry((&told.row.scenario, &told.row.way)).or_default().push(told);
    }
    scenarios.into_values().map(Runs).collect()
}

fn table(scenarios: &[Runs<'_>]) -> String {
    let mut text =
        "| what happens | VIP by | runs | outage | election | ours | EC2 calls of all nodes | in the end |\n\
                    |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for runs in scenarios {
        let Row { scenario, way, calls, end, .. } = &runs.median_run().row;
        let outage = runs.median(|row| row.outage);
        let outage = if outage < NOTHING { "none".to_owned() } else { seconds(outage) };
        let (election, ours) = (seconds(runs.median(|row| row.election)), seconds(runs.median(|row| row.ours)));
        let number = runs.0.len();
        let _ = writeln!(text, "| {scenario} | {way} | {number} | {outage} | {election} | {ours} | {calls} | {end} |");
    }
    text
}

/// The series that moved in Prometheus, for the scenarios that Prometheus watched.
fn signals_table(scenarios: &[Runs<'_>]) -> String {
    let mut text =
        "| what happens | VIP by | old leader | new leader | node beside |\n|---|---|---|---|---|\n".to_owned();
    for told in scenarios.iter().map(Runs::median_run) {
        let Some(seen) = &told.seen else { continue };
        let of =
            |who| seen.get(&who).map_or_else(String::new, |all| all.iter().cloned().collect::<Vec<_>>().join(", "));
        let (old, new, beside) = (of(Who::Old), of(Who::New), of(Who::Beside));
        let _ = writeln!(text, "| {} | {} | {old} | {new} | {beside} |", told.row.scenario, told.row.way);
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
