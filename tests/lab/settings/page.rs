//! The report on settings: docs/lab/settings.md. Every play is kept beside the build as a line of JSON, and with
//! `VIPKEEPER_LAB_GO_ON=yes` what is played later is added to what was kept.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use super::super::report::{machine, median, seconds, write};
use super::{Came, DEEDS, Deed, Parts, Played, Settings};

const HEAD: &str = "# Settings of Pgpool's watchdog, measured

Three machines with Pgpool-II, PostgreSQL and vipkeeper, as in [the report](README.md); the VIP by two route tables, and a client
that opens a connection and asks each 50 ms. Written by `cargo test --test lab -- --nocapture pgpool_settings` with
`VIPKEEPER_LAB=settings` and `VIPKEEPER_LAB_REPORT=docs/lab`; tests/lab.rs has all its settings. The meaning of it all is in
[Settings of Pgpool](../pgpool.md).

*Outage*: the longest time without an answer. Its parts, by Pgpool's own log: *detection*, from the deed until the next leader
says that it has lost the old one; *election*, from there until it says that it starts its hook; *hook*, from there until
`vipkeeper up` has begun; *ours*, from there to the first answer through the new leader. These cells have the median and the
worst. *Quick*: so many elections took less than 4 s. *Load*: the median of the machine's, which has 2 cores. A machine that is
cut off from everything reaches neither its peers nor EC2 nor its clients.

";

const QUICK: Duration = Duration::from_secs(4);

/// Keeps what came, and writes the report.
pub fn tell(settings: Settings, came: Came) {
    static ONE_WRITES: Mutex<()> = Mutex::new(());
    static BEGIN: Once = Once::new();
    let _alone = ONE_WRITES.lock().unwrap_or_else(PoisonError::into_inner);
    BEGIN.call_once(|| {
        if env::var_os("VIPKEEPER_LAB_GO_ON").is_none() {
            let _ = fs::remove_file(file());
        }
    });
    let played = Played { settings: settings.name.to_owned(), lines: settings.text(), load: load(), came };
    let mut kept = File::options().create(true).append(true).open(file()).unwrap();
    kept.write_all(format!("{}\n", serde_json::to_string(&played).unwrap()).as_bytes()).unwrap();
    let lines = fs::read_to_string(file()).unwrap();
    let all: Vec<Played> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let page = page(&all);
    eprintln!("\n{page}");
    write("settings.md", &format!("{HEAD}Played {}.\n\n{page}", machine()));
}

fn load() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

fn file() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab");
    fs::create_dir_all(&folder).unwrap();
    folder.join("settings.jsonl")
}

fn page(all: &[Played]) -> String {
    let mut sets: Vec<(&str, &str)> = Vec::new();
    for played in all {
        let set = (played.settings.as_str(), played.lines.as_str());
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    sets.sort_by_key(|(name, _)| super::SETTINGS.iter().position(|set| set.name == *name));
    let mut text = "| settings | lines of pgpool.conf |\n|---|---|\n".to_owned();
    for (name, lines) in &sets {
        let lines: Vec<_> = lines.lines().map(|line| format!("`{line}`")).collect();
        let _ = writeln!(text, "| {name} | {} |", lines.join(", "));
    }
    text.push_str(
        "\n## Failovers\n\n| settings | deed | plays | load | outage | detection | election | quick | hook | ours |\n",
    );
    text.push_str("|---|---|---:|---:|---|---|---|---:|---|---|\n");
    for (name, _) in &sets {
        let plays = failovers(all.iter().filter(|played| played.settings == *name));
        for (deed, what) in DEEDS {
            let Some(plays) = plays.get(&deed) else { continue };
            let _ = writeln!(text, "| {name} | {what} | {} |", row(plays));
        }
    }
    text + &losses(all)
}

/// The cells about the plays of a deed.
fn row(plays: &[Play]) -> String {
    let of = |time: fn(&Play) -> Duration| {
        let times: Vec<_> = plays.iter().map(time).collect();
        let worst = times.iter().max().copied().expect("a deed has a play");
        format!("{:.2}, {}", median(times).expect("a deed has a play").as_secs_f64(), seconds(worst))
    };
    let mut loads: Vec<_> = plays.iter().map(|play| play.load).collect();
    loads.sort_by(f64::total_cmp);
    let quick = plays.iter().filter(|play| play.parts.election < QUICK).count();
    let (detection, election) = (of(|play| play.parts.detection), of(|play| play.parts.election));
    let (hook, ours) = (of(|play| play.parts.hook), of(|play| play.parts.ours));
    let (number, load, outage) = (plays.len(), loads[loads.len() / 2], of(|play| play.outage));
    format!("{number} | {load:.0} | {outage} | {detection} | {election} | {quick} | {hook} | {ours}")
}

struct Play {
    load: f64,
    outage: Duration,
    parts: Parts,
}

fn failovers<'a>(plays: impl Iterator<Item = &'a Played>) -> BTreeMap<Deed, Vec<Play>> {
    let mut by_deed = BTreeMap::<_, Vec<_>>::new();
    for Played { load, came, .. } in plays {
        if let Came::Failover { deed, outage, parts } = came {
            by_deed.entry(*deed).or_default().push(Play { load: *load, outage: *outage, parts: *parts });
        }
    }
    by_deed
}

fn losses(all: &[Played]) -> String {
    let mut text = format!(
        "\n## {} % of the packets between the nodes lost, and nothing done\n\n\
         | settings | minutes | hooks that ran | a node took another for lost | longest time without an answer |\n\
         |---|---:|---:|---:|---|\n",
        super::LOST
    );
    for played in all {
        if let Came::Loss { minutes, claims, suspicions, outage } = &played.came {
            let (name, outage) = (&played.settings, seconds(*outage));
            let _ = writeln!(text, "| {name} | {minutes} | {claims} | {suspicions} | {outage} |");
        }
    }
    text
}
