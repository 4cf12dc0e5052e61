//! The settings of Pgpool's watchdog, compared by what clients live through: each set of settings with a graceful stop, a
//! crash, a hang and a machine that is cut off, and with 5 % of the packets between the nodes lost.
//!
//! `VIPKEEPER_LAB=settings cargo test --test lab -- --nocapture pgpool_settings` plays everything once. See docs/pgpool.md.

use std::env;
use std::fs;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::client::now;
use super::cluster::Lab;
use super::keeper::Keeper;
use super::report::{outage, seconds};
use super::scenarios::{Set, at_once, is_played, number, others, plain, runs};
use super::software::{BY_QUERY, Priorities, Setup, WATCHDOG};
use super::suite::{self, Suite};
use super::vpc::Method;

mod log;
mod page;

/// Nothing that is still to come takes longer: the defaults notice a hang after 30 s and more.
const LONGEST: Duration = Duration::from_mins(4);
/// So long the client must be served without a pause for it to be over.
const SERVED: Duration = Duration::from_secs(3);
/// So many of a hundred packets between the nodes are lost while false failovers are counted.
const LOST: u32 = 5;

/// Lines of pgpool.conf that are compared with others.
#[derive(Debug, Clone, Copy)]
struct Settings {
    name: &'static str,
    priorities: Priorities,
    lines: &'static str,
}

impl Settings {
    /// The other two nodes, the one with the higher priority first.
    fn standbys(self, leader: usize) -> Vec<usize> {
        let mut standbys: Vec<_> = others(leader).collect();
        if self.priorities == Priorities::Rising {
            standbys.reverse();
        }
        standbys
    }

    /// Its lines, with the watchdog's defaults of the lab where they are not replaced.
    fn text(self) -> String {
        let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        let own: Vec<_> = self.lines.lines().map(key).collect();
        let lab = WATCHDOG.lines().filter(|line| !own.contains(&key(line)));
        let priorities = match self.priorities {
            Priorities::Falling => "wd_priority = 3, 2 and 1",
            Priorities::Rising => "wd_priority = 1, 2 and 3",
            Priorities::Equal => "wd_priority = 1",
        };
        lab.chain(self.lines.lines()).chain([priorities]).map(|line| format!("{line}\n")).collect()
    }
}

const SETTINGS: [Settings; 8] = [
    Settings {
        name: "defaults",
        priorities: Priorities::Equal,
        lines: "wd_interval = 10\nwd_heartbeat_keepalive = 2\nwd_heartbeat_deadtime = 30\n",
    },
    Settings { name: "deadtime 5", priorities: Priorities::Falling, lines: "" },
    Settings { name: "deadtime 3", priorities: Priorities::Falling, lines: "wd_heartbeat_deadtime = 3\n" },
    Settings { name: "deadtime 2", priorities: Priorities::Falling, lines: "wd_heartbeat_deadtime = 2\n" },
    Settings { name: "deadtime 1", priorities: Priorities::Falling, lines: "wd_heartbeat_deadtime = 1\n" },
    Settings { name: "rising priorities", priorities: Priorities::Rising, lines: "wd_heartbeat_deadtime = 2\n" },
    Settings { name: "equal priorities", priorities: Priorities::Equal, lines: "wd_heartbeat_deadtime = 2\n" },
    Settings { name: "query", priorities: Priorities::Falling, lines: BY_QUERY },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Deed {
    Stopped,
    Killed,
    Hung,
    CutOff,
    /// Killed, and the standby with the higher priority hears of it [`LATE`] after the other.
    KilledHigherLate,
    /// Killed, and the standby with the lower priority hears of it [`LATE`] after the other.
    KilledLowerLate,
}

/// Longer than any accident of scheduling. The word that a connection has ended is repeated 0.2 s later at the earliest.
const LATE: Duration = Duration::from_millis(100);

const DEEDS: [(Deed, &str); 6] = [
    (Deed::Stopped, "graceful stop"),
    (Deed::Killed, "`kill -9` of all of Pgpool"),
    (Deed::Hung, "all of Pgpool hangs"),
    (Deed::CutOff, "cut off from everything"),
    (Deed::KilledHigherLate, "`kill -9`, and the standby of higher priority hears of it later"),
    (Deed::KilledLowerLate, "`kill -9`, and the standby of lower priority hears of it later"),
];

/// The deeds that `VIPKEEPER_LAB_DEEDS` names, by commas; the first four where it names none.
fn deeds() -> Vec<Deed> {
    let Ok(names) = env::var("VIPKEEPER_LAB_DEEDS") else {
        return DEEDS[..4].iter().map(|(deed, _)| *deed).collect();
    };
    let deed = |name: &str| {
        let deed = DEEDS.iter().map(|(deed, _)| *deed).find(|deed| format!("{deed:?}") == name.trim());
        deed.unwrap_or_else(|| panic!("VIPKEEPER_LAB_DEEDS names {name:?}, and not one of {DEEDS:?}"))
    };
    names.split(',').map(deed).collect()
}

/// The parts of an outage, one after the other.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Parts {
    /// From the deed until the new leader's watchdog says that it has lost the old one.
    detection: Duration,
    /// From there until its watchdog says that it runs the hook.
    election: Duration,
    /// From there until `vipkeeper up` has begun.
    hook: Duration,
    /// From there to the first answer through the new leader.
    ours: Duration,
}

/// A play, as a line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Played {
    settings: String,
    lines: String,
    /// The machine's load when it was over: average of a minute, the lab's own included.
    #[serde(default)]
    load: f64,
    came: Came,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Came {
    Failover {
        deed: Deed,
        outage: Duration,
        parts: Parts,
    },
    /// Nothing was done; packets were lost.
    Loss {
        minutes: usize,
        /// Hooks that ran all the same.
        claims: usize,
        /// How often one of the nodes took another for lost.
        suspicions: usize,
        outage: Duration,
    },
}

/// The sets that are compared: those that `VIPKEEPER_LAB_SETTINGS` names, by commas. A name with a `/` is a file with lines of
/// pgpool.conf, in a set of its own.
fn chosen() -> Vec<Settings> {
    let Ok(names) = env::var("VIPKEEPER_LAB_SETTINGS") else { return SETTINGS.to_vec() };
    let set = |name: &str| {
        let known = SETTINGS.into_iter().find(|set| set.name == name);
        known.unwrap_or_else(|| {
            assert!(name.contains('/'), "VIPKEEPER_LAB_SETTINGS names {name:?}, which is neither a set nor a file");
            let lines = fs::read_to_string(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            let name = name.rsplit('/').next().unwrap_or(name).to_owned();
            Settings { name: name.leak(), priorities: Priorities::Falling, lines: lines.leak() }
        })
    };
    names.split(',').map(|name| set(name.trim())).collect()
}

fn setup(settings: Settings) -> Setup {
    let suite = suite::chosen().map_or(Suite::Here, |suites| suites[0]);
    Setup {
        authkey: None,
        keeper: Keeper::TimedVipkeeper,
        priorities: settings.priorities,
        pgpool_conf: settings.lines,
        suite,
        ..plain(Method::Route)
    }
}

#[test]
fn pgpool_settings() {
    if !is_played(Set::Settings) {
        return;
    }
    let mut plays = Vec::new();
    for _ in 0..runs() {
        plays.extend(chosen().into_iter().flat_map(|set| deeds().into_iter().map(move |deed| (set, deed))));
    }
    let all = plays.len();
    let left = Mutex::new(plays.into_iter());
    let failed = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..at_once() {
            scope.spawn(|| {
                loop {
                    let Some((settings, deed)) = left.lock().unwrap().next() else { break };
                    match catch_unwind(|| play(settings, deed)) {
                        Ok(came) => page::tell(settings, came),
                        Err(_) => *failed.lock().unwrap() += 1,
                    }
                }
            });
        }
    });
    assert_eq!(*failed.lock().unwrap(), 0, "of {all} plays so many failed");
}

/// Nothing is done but that packets are lost, for as many minutes as `VIPKEEPER_LAB_MINUTES` says, in a lab for each set.
#[test]
fn pgpool_settings_under_loss() {
    if !is_played(Set::Settings) {
        return;
    }
    let minutes = number("VIPKEEPER_LAB_MINUTES");
    thread::scope(|scope| {
        for settings in chosen() {
            scope.spawn(move || page::tell(settings, lose(settings, minutes)));
        }
    });
}

fn play(settings: Settings, deed: Deed) -> Came {
    let name = format!("settings {} {deed:?}", settings.name);
    let lab = Lab::start(&name, setup(settings));
    let old = lab.escalated().unwrap();
    // The lab is ready as soon as the lifechecks have started: without a pause, every deed would meet them at the same moment.
    thread::sleep(Duration::from_millis(u64::from(now().subsec_millis()) * 2));
    let before = [0, 1, 2].map(|node| lab.log(node, "pgpool").len());
    let at = now();
    match deed {
        Deed::Stopped => lab.begin_to_stop_pgpool(old, "fast"),
        Deed::Killed => lab.machine(old).kill("pgpool"),
        Deed::Hung => drop(lab.machine(old).freeze("pgpool")),
        Deed::CutOff => lab.isolate(old),
        Deed::KilledHigherLate => kill_and_tell_late(&lab, old, settings.standbys(old)[0]),
        Deed::KilledLowerLate => kill_and_tell_late(&lab, old, settings.standbys(old)[1]),
    }
    while !is_over(&lab, old, at) {
        assert!(now() < at + LONGEST, "{name}: not served by another node");
        thread::sleep(Duration::from_millis(100));
    }
    lab.vpc.assert_well();
    let (new, up) = new_up(&lab, old, at).expect("it is over");
    let log = &lab.log(new, "pgpool")[before[new]..];
    let lost = log::first(log, at, &log::LOST).expect("the new leader lost the old one");
    let escalated = log::last_until(log, (at, up), log::ESCALATED).expect("the new leader ran its hook");
    let answers = lab.client.answers();
    let address = lab.address(new);
    let first = answers.iter().find(|answer| answer.through == address && answer.at > up).expect("it is over");
    let parts = Parts {
        detection: lost.saturating_sub(at),
        election: escalated.saturating_sub(lost),
        hook: up.saturating_sub(escalated),
        ours: first.at.saturating_sub(up),
    };
    let outage = outage(&answers, at);
    eprintln!("{name}: outage {}, {parts:?}", seconds(outage));
    Came::Failover { deed, outage, parts }
}

/// All of the leader's Pgpool is killed, and the end of its connections to this standby is lost, and comes again later.
fn kill_and_tell_late(lab: &Lab, old: usize, late: usize) {
    lab.vpc.cut_between(old, late);
    lab.machine(old).kill("pgpool");
    thread::sleep(LATE);
    lab.vpc.heal();
}

/// The start of the last claim of a node other than the old leader, of those that were since `at`.
fn new_up(lab: &Lab, old: usize, at: Duration) -> Option<(usize, Duration)> {
    let ups = others(old).flat_map(|node| lab.hooks(node).into_iter().map(move |hook| (node, hook)));
    let since = ups.filter(|(_, hook)| hook.name == "up" && hook.began > at).map(|(node, hook)| (node, hook.began));
    since.max_by_key(|(_, began)| *began)
}

fn is_over(lab: &Lab, old: usize, at: Duration) -> bool {
    let Some((new, up)) = new_up(lab, old, at) else { return false };
    let answers = lab.client.answers();
    now() > up + SERVED && outage(&answers, now() - SERVED) < SERVED / 6 && lab.is_served_by(new).is_ok()
}

fn lose(settings: Settings, minutes: usize) -> Came {
    let name = format!("settings {} under loss", settings.name);
    let lab = Lab::start(&name, setup(settings));
    let before: Vec<_> = lab.running().map(|node| lab.log(node, "pgpool").len()).collect();
    let from = now();
    lab.vpc.lose_between_nodes(LOST);
    thread::sleep(Duration::from_secs(60 * u64::try_from(minutes).unwrap()));
    lab.vpc.assert_well();
    let count = |what: &str| {
        let logs =
            lab.running().zip(&before).map(|(node, before)| lab.log(node, "pgpool")[*before..].matches(what).count());
        logs.sum()
    };
    let outage = outage(&lab.client.answers(), from);
    let came = Came::Loss { minutes, claims: count(log::ESCALATED), suspicions: count(log::ONE_IS_LOST), outage };
    eprintln!("{name}: {came:?}");
    came
}
