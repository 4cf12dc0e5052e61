//! What scenarios showed: a Markdown table with the median of each scenario's runs, and a picture of that run.
//!
//! Written after every run beside the build, or where `VIPKEEPER_LAB_REPORT` says (a folder; relative to the project's).

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::client::Answer;
use super::cluster::plain_name;
use super::svg;
use super::timeline::Timeline;
use super::vpc::Method;

/// A client that asks each 50 ms and is answered within some more has noticed nothing.
pub const NOTHING: Duration = Duration::from_millis(150);

const PAGE: &str = "# What clients see when a leader fails

Three machines made of network namespaces with real Pgpool-II and PostgreSQL, vipkeeper as it is installed, and an EC2 in
which each call takes 150 ms; a client that opens a connection and asks each 50 ms. Written by
`VIPKEEPER_LAB_REPORT=docs/lab cargo test --test lab -- --nocapture --test-threads 1`.

*Outage* is the longest time without an answer. *Election* is Pgpool's part of it, from the fault to the start of the new
leader's hook (its watchdog is set to notice a silent peer after 5 s); *ours* is the rest, up to the first query answered
through the new leader. Medians, where a scenario was played more than once.

";

/// The rows of this run, in the order of play.
static ROWS: Mutex<Vec<(Row, Timeline)>> = Mutex::new(Vec::new());

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

/// Shows all rows so far, and leaves them in files.
pub fn tell(row: Row, timeline: Timeline) {
    let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    rows.push((row, timeline));
    let played = played(&rows);
    let table = table(&played);
    eprintln!("\n{table}");
    let mut page = format!("{PAGE}{table}");
    for runs in &played {
        let (Row { scenario, method, .. }, timeline) = runs.median_run();
        let title = format!("{scenario}, {}", method.name());
        let file = format!("{}.svg", plain_name(&title));
        write(&file, &svg::draw(&title, timeline));
        let _ = write!(page, "\n![{title}]({file})\n");
    }
    write("README.md", &page);
}

/// Puts a file of the report where it belongs.
pub fn write(name: &str, text: &str) {
    let folder = folder();
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}

fn folder() -> PathBuf {
    match env::var_os("VIPKEEPER_LAB_REPORT") {
        Some(folder) => Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab"),
    }
}

/// All runs of one scenario with one method.
struct Runs<'a>(Vec<&'a (Row, Timeline)>);

impl Runs<'_> {
    fn median(&self, value: impl Fn(&Row) -> Duration) -> Duration {
        median(self.0.iter().map(|(row, _)| value(row)).collect()).expect("a group has a run")
    }

    /// The run whose outage is the median.
    fn median_run(&self) -> &(Row, Timeline) {
        let outage = self.median(|row| row.outage);
        self.0.iter().find(|(row, _)| row.outage == outage).expect("the median is one of them")
    }
}

/// The middle one; of an even number the worse of the two in the middle.
pub fn median<T: Ord>(mut values: Vec<T>) -> Option<T> {
    values.sort();
    let middle = values.len() / 2;
    values.into_iter().nth(middle)
}

fn played(rows: &[(Row, Timeline)]) -> Vec<Runs<'_>> {
    let mut played = Vec::<Runs>::new();
    for one in rows {
        let is_same = |runs: &&mut Runs| runs.0[0].0.scenario == one.0.scenario && runs.0[0].0.method == one.0.method;
        match played.iter_mut().find(is_same) {
            Some(runs) => runs.0.push(one),
            None => played.push(Runs(vec![one])),
        }
    }
    played
}

fn table(played: &[Runs<'_>]) -> String {
    let mut text =
        "| what happens | VIP by | runs | outage | election | ours | EC2 calls of all nodes | in the end |\n\
                    |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for runs in played {
        let (Row { scenario, method, calls, end, .. }, _) = runs.median_run();
        let outage = runs.median(|row| row.outage);
        let outage = if outage < NOTHING { "none".to_owned() } else { seconds(outage) };
        let (election, ours) = (seconds(runs.median(|row| row.election)), seconds(runs.median(|row| row.ours)));
        let (method, number) = (method.name(), runs.0.len());
        let _ =
            writeln!(text, "| {scenario} | {method} | {number} | {outage} | {election} | {ours} | {calls} | {end} |");
    }
    text
}

pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
