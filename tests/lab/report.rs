//! What a scenario showed, as a row of a Markdown table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::client::Answer;
use super::vpc::Method;

/// A client that asks each 50 ms and is answered within some more has noticed nothing.
const NOTHING: Duration = Duration::from_millis(150);

/// The rows of this run, in the order of play.
static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

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

/// Shows all rows so far, and leaves them in a file beside the build.
pub fn tell(row: Row) {
    let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    rows.push(row);
    let table = table(&rows);
    eprintln!("\n{table}");
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab.md"), table).unwrap();
}

fn table(rows: &[Row]) -> String {
    let mut text = "| what happens | VIP by | outage | election | ours | EC2 calls of all nodes | in the end |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_owned();
    for Row { scenario, method, outage, election, ours, calls, end } in rows {
        let method = match method {
            Method::ElasticIp => "Elastic IP",
            Method::Route => "2 routes",
            Method::SecondaryIp => "secondary IP",
        };
        let outage = if *outage < NOTHING { "none".to_owned() } else { seconds(*outage) };
        let (election, ours) = (seconds(*election), seconds(*ours));
        let _ = writeln!(text, "| {scenario} | {method} | {outage} | {election} | {ours} | {calls} | {end} |");
    }
    text
}

pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
