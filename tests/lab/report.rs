//! The report on scenarios: a Markdown table with the median of each scenario's runs, and a picture of that run.
//!
//! Written after every run beside the build, or where `VIPKEEPER_LAB_REPORT` says (a folder; relative to the project's).
//! Every run is kept beside the build as well, as a line of JSON. `VIPKEEPER_LAB_GO_ON=yes` adds to what was kept: an
//! interrupted report is finished, and only what is missing is played.

use std::collections::{BTreeMap, BTreeSet};
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
use super::held::{Fate, Fates};
use super::scenarios::at_once;
use super::signals::{self, Seen, Who};
use super::suite::{self, Suite};
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
Newer versions of Pgpool-II: [versions](versions.md). Settings of its watchdog: [settings](settings.md).

";

const HELD: &str = "## Connections that were open before

Three connections are opened before anything happens, without timeouts or keepalives, as clients have them by default.
*Active* asks each 0.1 s, *waiting* waits for an answer that never comes, *quiet* asks its first question after 20 s.
A time is how long after the fault the client was told that its connection has ended; for *quiet*, how long after its
question. *Lives*: the connection worked to the end.

";

const VERSIONS: &str = "# The lab on other versions of Pgpool-II

The scenarios of [the report](README.md), with Pgpool-II and PostgreSQL of other Debian suites (`tests/pgpool-suite`). Written by
`cargo test --test lab` with `VIPKEEPER_LAB_PGPOOL=here,trixie,sid` and `VIPKEEPER_LAB_REPORT=docs/lab`. A cell has how
many plays of how many ended right, and the median of their longest time without an answer. Right is a play in which all
that is checked was so: one holder, clients served in time, the series of Prometheus, the calls to EC2, the log.

Pgpool-II 4.6.0 to 4.6.2 listen for heartbeats on loopback addresses alone (mended in 4.6.3): a lifecheck by heartbeats never
starts, and a leader that hangs is noticed late or never. So 4.6.1 is played with `wd_lifecheck_method = 'query'`, which
whoever has Debian's trixie should set as well.

";

/// The scenarios that were played so far.
static PLAYED: LazyLock<Mutex<Played>> = LazyLock::new(|| {
    if env::var_os("VIPKEEPER_LAB_GO_ON").is_none() {
        let _ = fs::remove_file(file_of_all_runs());
    }
    let lines = fs::read_to_string(file_of_all_runs()).unwrap_or_default();
    let mut played = Played::default();
    lines.lines().for_each(|line| played.add(serde_json::from_str(line).unwrap()));
    Mutex::new(played)
});

#[derive(Default)]
struct Played {
    passed: Vec<Told>,
    failed: Vec<What>,
}

impl Played {
    fn add(&mut self, kept: Kept) {
        match kept {
            Kept::Passed(told) => self.passed.push(*told),
            Kept::Failed { failed } => self.failed.push(failed),
        }
    }

    /// Adds what was played just now, and shows and leaves everything so far.
    fn tell(&mut self, kept: Kept) {
        let mut file = File::options().create(true).append(true).open(file_of_all_runs()).unwrap();
        writeln!(file, "{}", serde_json::to_string(&kept).unwrap()).unwrap();
        self.add(kept);
        let (name, page) = match suite::chosen() {
            Some(_) => ("versions.md", self.versions()),
            None => ("README.md", self.page()),
        };
        write(name, &page);
    }

    /// The report, with a picture of each scenario in a file of its own.
    fn page(&self) -> String {
        let scenarios = by_scenario(&self.passed);
        let table = table(&scenarios);
        eprintln!("\n{table}");
        let held = held_table(&scenarios);
        eprintln!("\n{held}");
        let mut page = format!("{PAGE}Played {}.\n\n{table}\n{HELD}{held}\n## What Prometheus shows\n\n", machine());
        page.push_str(&signals_table(&scenarios));
        let _ = write!(page, "\nRead so, in a second's steps:\n\n{}", signals::legend());
        page.push_str("\n## Second by second\n");
        for runs in &scenarios {
            let Told { row: Row { what, .. }, timeline, .. } = runs.median_run();
            let title = format!("{}, {}", what.scenario, what.by());
            let file = format!("{}.svg", plain_name(&title));
            write(&file, &svg::draw(&title, timeline));
            let _ = write!(page, "\n![{title}]({file})\n");
        }
        page
    }

    /// How many plays ended right, scenario by scenario and version by version.
    fn versions(&self) -> String {
        let all: BTreeSet<&What> = self.passed.iter().map(|told| &told.row.what).chain(&self.failed).collect();
        let versions: BTreeSet<&str> = all.iter().map(|what| what.pgpool.as_str()).collect();
        let scenarios: BTreeSet<_> = all.iter().map(|what| (&what.scenario, &what.way)).collect();
        let heads: String = versions.iter().map(|version| format!(" Pgpool-II {version} |")).collect();
        let mut table = format!("| what happens | VIP by |{heads}\n|---|---|{}\n", "---|".repeat(versions.len()));
        for (scenario, way) in scenarios {
            let cells = versions.iter().map(|version| {
                let is_it = |what: &What| what.scenario == *scenario && what.way == *way && what.pgpool == *version;
                let passed: Vec<_> = self.passed.iter().filter(|told| is_it(&told.row.what)).collect();
                let number = passed.len() + self.failed.iter().filter(|what| is_it(what)).count();
                let outage = median(passed.iter().map(|told| told.row.outage).collect()).map(in_words);
                let outage = outage.map_or_else(String::new, |outage| format!("; {outage}"));
                if number == 0 { String::new() } else { format!("{} of {number}{outage}", passed.len()) }
            });
            let cells: Vec<_> = cells.collect();
            let _ = writeln!(table, "| {scenario} | {way} | {} |", cells.join(" | "));
        }
        eprintln!("\n{table}");
        format!("{VERSIONS}Played {}.\n\n{table}", machine())
    }
}

/// A scenario, as it was played.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct What {
    pub scenario: String,
    /// How the VIP leads to its node.
    pub way: String,
    /// The version of Pgpool-II. Empty in older records: this machine's own.
    #[serde(default)]
    pub pgpool: String,
}

impl What {
    /// How the VIP leads to its node, and by which Pgpool-II if that is not this machine's own.
    fn by(&self) -> String {
        let Self { way, pgpool, .. } = self;
        if self.is_by_our_own() { way.clone() } else { format!("{way}; Pgpool-II {pgpool}") }
    }

    fn is_by_our_own(&self) -> bool {
        self.pgpool.is_empty() || self.pgpool == *OWN_PGPOOL
    }
}

/// The version of this machine's own Pgpool-II.
static OWN_PGPOOL: LazyLock<String> = LazyLock::new(|| Suite::Here.pgpool());

/// A line of what is kept.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Kept {
    Passed(Box<Told>),
    Failed { failed: What },
}

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
    #[serde(flatten)]
    pub what: What,
    /// The longest time without an answer.
    pub outage: Duration,
    /// From the fault to the start of the new leader's hook: Pgpool's election.
    pub election: Duration,
    /// From there to the first answer through the new leader.
    pub ours: Duration,
    /// The calls of the nodes to EC2 from the fault to the end.
    pub calls: String,
    pub end: String,
    /// The ends of the connections that were open before. None in older records.
    #[serde(default)]
    pub held: Option<Fates>,
    /// Why a client may know nothing of it, and what helps. Empty where every client must know.
    #[serde(default)]
    pub may_not_know: String,
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

/// How often it was played so far, and passed.
pub fn played(what: &What) -> usize {
    all().passed.iter().filter(|told| told.row.what == *what).count()
}

/// The median of the product's part in what was played so far.
pub fn ours(what: &What) -> Duration {
    let all = all();
    let runs = all.passed.iter().filter(|told| told.row.what == *what);
    median(runs.map(|told| told.row.ours).collect()).expect("it was played")
}

/// Shows all rows so far, and leaves the report in files.
pub fn tell(told: Told) {
    all().tell(Kept::Passed(Box::new(told)));
}

/// One run failed.
pub fn tell_failure(failed: What) {
    all().tell(Kept::Failed { failed });
}

fn all() -> MutexGuard<'static, Played> {
    PLAYED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file of all runs.
fn file_of_all_runs() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab");
    fs::create_dir_all(&folder).unwrap();
    folder.join(if suite::chosen().is_some() { "versions.jsonl" } else { "runs.jsonl" })
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
        scenarios.entry(&told.row.what).or_default().push(told);
    }
    scenarios.into_values().map(Runs).collect()
}

fn table(scenarios: &[Runs<'_>]) -> String {
    let mut text =
        "| what happens | VIP by | runs | outage | election | ours | EC2 calls of all nodes | in the end |\n\
                    |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for runs in scenarios {
        let Row { what, calls, end, .. } = &runs.median_run().row;
        let (scenario, way) = (&what.scenario, what.by());
        let outage = in_words(runs.median(|row| row.outage));
        let (election, ours) = (seconds(runs.median(|row| row.election)), seconds(runs.median(|row| row.ours)));
        let number = runs.0.len();
        let _ = writeln!(text, "| {scenario} | {way} | {number} | {outage} | {election} | {ours} | {calls} | {end} |");
    }
    text
}

/// When the clients knew whose connections were open before, where that was recorded.
fn held_table(scenarios: &[Runs<'_>]) -> String {
    let mut text = "| what happens | VIP by | runs | outage for new ones | active | waiting | quiet |\n|---|---|---|---|---|---|---|\n".to_owned();
    for runs in scenarios {
        let held: Vec<_> = runs.0.iter().filter_map(|told| told.row.held).collect();
        let of = |one: fn(&Fates) -> Fate| median(held.iter().map(one).collect());
        let (Some(active), Some(waiting), Some(quiet)) =
            (of(|held| held.active), of(|held| held.waiting), of(|held| held.quiet))
        else {
            continue;
        };
        let What { scenario, .. } = &runs.median_run().row.what;
        let way = runs.median_run().row.what.by();
        let (number, outage) = (held.len(), in_words(runs.median(|row| row.outage)));
        let _ = writeln!(text, "| {scenario} | {way} | {number} | {outage} | {active} | {waiting} | {quiet} |");
    }
    let told = scenarios.iter().map(|runs| &runs.median_run().row).filter(|row| !row.may_not_know.is_empty());
    let why: BTreeMap<_, _> = told.map(|row| (&row.what.scenario, &row.may_not_know)).collect();
    if !why.is_empty() {
        text.push_str("\nWhere a client may know nothing, why, and what helps:\n\n");
    }
    for (scenario, why) in why {
        let _ = writeln!(text, "- {scenario}: {why}");
    }
    text
}

/// An outage as clients see it.
fn in_words(outage: Duration) -> String {
    if outage < NOTHING { "none".to_owned() } else { seconds(outage) }
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
        let _ = writeln!(text, "| {} | {} | {old} | {new} | {beside} |", told.row.what.scenario, told.row.what.by());
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
