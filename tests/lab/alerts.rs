//! The alerts of dashboards/rules.yml in each scenario: those that must fire, and no other may. Prometheus evaluates the rules
//! each second while it scrapes the daemons of a play.
//!
//! Most alerts wait before they fire, for a minute or longer, and a play is shorter. So the table names apart what fires and
//! what waits: its condition is met, for less time than the alert waits.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::client::now;
use super::prometheus::Prometheus;
use super::vpc::Method;
use Method::{ElasticIp, Route, SecondaryIp};

const FILE: &str = "docs/lab/alerts.md";

const PAGE: &str = "# Alerts in the lab

Each play of the lab has a Prometheus that scrapes the daemons and evaluates [the alerts](../../dashboards/rules.yml) each
second. A play fails if it raises others than stand here. This page is made of the table in tests/lab/alerts.rs, and a test
compares them. Every scenario is in it, for one method at least; `tests/all` plays seventeen of them so, and `VIPKEEPER_LAB=full`
all.

*Fires*: the alert fires. *Waits*: its condition is met, but a play is shorter than the alert waits (`for`). *May come*: fires
or waits as chance has it, because Prometheus or a daemon looks just then or not. *Still there*: the condition is met when the
play ends, and rightly, because nobody mended what it tells of.

";

/// Any failover may meet the conditions of these for a moment; none of them may fire where it is not listed.
const MOMENTS: &[&str] = &["BindingNotInSync", "ClaimNotRecorded", "NoLeader", "TwoLeaders", "WatchdogGone"];

/// The alerts of a scenario, without `Vipkeeper` in front.
struct Expected {
    scenario: &'static str,
    by: &'static [Method],
    fires: &'static [&'static str],
    waits: &'static [&'static str],
    may: &'static [&'static str],
    stays: &'static [&'static str],
}

const NONE: Expected = Expected { scenario: "", by: &[], fires: &[], waits: &[], may: &[], stays: &[] };
/// Pgpool was killed and is not started again.
const KILLED: Expected = Expected { waits: &["WatchdogGone"], stays: &["WatchdogGone"], ..NONE };
const CLOCK_OFF: Expected =
    Expected { waits: &["ClockOff", "WatchdogGone"], stays: &["ClockOff", "WatchdogGone"], ..NONE };
/// Bindings come later than 5 s after the hook.
const LATE: Expected = Expected { fires: &["ConvergenceSlow"], ..KILLED };

const EXPECTED: &[Expected] = &[
    Expected { scenario: "the guide's walkthrough", by: &[ElasticIp, Route, SecondaryIp], ..NONE },
    Expected { scenario: "kill -9 of all of Pgpool", by: &[Route], ..KILLED },
    Expected { scenario: "two failovers within 5 s", by: &[Route], ..KILLED },
    Expected {
        scenario: "kill -9 of all of Pgpool, and EC2 carries changes at once",
        by: &[Route, SecondaryIp],
        ..KILLED
    },
    Expected {
        scenario: "kill -9 of all of Pgpool, and EC2 carries changes after 1 s",
        by: &[Route, SecondaryIp],
        ..KILLED
    },
    Expected {
        scenario: "kill -9 of all of Pgpool, and EC2 carries changes after 5 s",
        by: &[Route, SecondaryIp],
        ..KILLED
    },
    Expected {
        scenario: "kill -9 of all of Pgpool, and a route table is missing from `tables`",
        by: &[Route],
        fires: &["PacketsAstray"],
        stays: &["PacketsAstray", "WatchdogGone"],
        ..KILLED
    },
    Expected {
        scenario: "all of Pgpool hangs (SIGSTOP), and wakes",
        by: &[ElasticIp, Route],
        fires: &["Superseded"],
        ..NONE
    },
    Expected {
        scenario: "all of Pgpool hangs (SIGSTOP), and wakes; lifecheck by queries",
        by: &[Route],
        fires: &["Superseded"],
        ..NONE
    },
    Expected {
        scenario: "the third node never started, and all of the leader's Pgpool hangs for 45 s",
        by: &[Route],
        ..NONE
    },
    Expected {
        scenario: "the old leader's `down` comes 12 s late",
        by: &[ElasticIp, Route],
        may: &["Superseded"],
        ..NONE
    },
    Expected { scenario: "`up` overtakes a `down` of 12 s on one node", by: &[Route, SecondaryIp], ..NONE },
    Expected { scenario: "quorum lost for 5 s and found", by: &[Route], waits: &["NoLeader"], ..NONE },
    Expected {
        scenario: "two nodes with half votes, cut off from each other for 25 s",
        by: &[Route],
        may: &["Superseded"],
        ..NONE
    },
    Expected { scenario: "the leader reaches no trusted server for 25 s", by: &[Route], ..NONE },
    Expected {
        scenario: "the leader's Pgpool is stopped smartly (`-m smart`) while clients work",
        by: &[Route],
        ..NONE
    },
    Expected { scenario: "Pgpool is upgraded on every node while clients work", by: &[Route], ..NONE },
    Expected {
        scenario: "vipkeeper is upgraded on every node while clients work",
        by: &[Route],
        may: &["Down"],
        ..NONE
    },
    Expected { scenario: "reboot of the leader", by: &[Route, SecondaryIp], waits: &["Down"], ..NONE },
    Expected { scenario: "kill -9 of vipkeeper, then of Pgpool", by: &[Route], may: &["Down"], ..KILLED },
    Expected {
        scenario: "vipkeeper is down during the hook and starts 5 s later",
        by: &[ElasticIp, Route],
        waits: &["Down", "WatchdogGone"],
        ..LATE
    },
    Expected { scenario: "the state folder's disk is full", by: &[Route], ..NONE },
    Expected {
        scenario: "no hook can write, with `witness = \"trust\"`",
        by: &[Route],
        fires: &["ConvergenceSlow"],
        waits: &["GuardMissing", "HookLost", "WatchdogGone"],
        stays: &["GuardMissing", "HookLost", "WatchdogGone"],
        ..NONE
    },
    Expected {
        scenario: "kill -9 of all of Pgpool, and the successor's clock is 2 s behind",
        by: &[Route],
        ..CLOCK_OFF
    },
    Expected {
        scenario: "two failovers, and the clock of the leader in between is 4 s ahead",
        by: &[Route],
        ..CLOCK_OFF
    },
    Expected { scenario: "cut off from its peers for 25 s, not from EC2", by: &[Route], may: &["Superseded"], ..NONE },
    Expected { scenario: "cut off from EC2 for 25 s, not from its peers, and stopped meanwhile", by: &[Route], ..NONE },
    Expected {
        scenario: "cut off from its peers and EC2 for 25 s",
        by: &[ElasticIp, Route],
        may: &["Superseded"],
        ..NONE
    },
    Expected { scenario: "kill -9 of Pgpool while the standbys are cut off from EC2 for 10 s", by: &[Route], ..LATE },
    Expected { scenario: "kill -9 of all of Pgpool while the resolver is silent for 60 s", by: &[Route], ..KILLED },
    Expected {
        scenario: "kill -9 of Pgpool while EC2 throttles for 10 s",
        by: &[ElasticIp, Route],
        waits: &["Throttled", "WatchdogGone"],
        ..LATE
    },
    Expected { scenario: "kill -9 of Pgpool while EC2 answers 503 for 10 s", by: &[Route], ..LATE },
    Expected { scenario: "kill -9 of Pgpool while EC2 closes every connection for 10 s", by: &[Route], ..LATE },
    Expected { scenario: "kill -9 of Pgpool while EC2 takes 8 s for each call, for 10 s", by: &[Route], ..LATE },
    Expected {
        scenario: "kill -9 of Pgpool while a statement of the policy is missing for 10 s",
        by: &[Route],
        fires: &["ChangeDenied", "ConvergenceSlow"],
        stays: &["ChangeDenied", "WatchdogGone"],
        ..KILLED
    },
    Expected { scenario: "every binding changed by hand, one after the other", by: &[Route, SecondaryIp], ..NONE },
    Expected {
        scenario: "another tool takes the VIP each 5 s for a minute",
        by: &[Route],
        fires: &["Contested"],
        may: &["BindingNotInSync", "DriftRepeated"],
        stays: &["Contested"],
        ..NONE
    },
];

/// The conditions that nobody mends in a scenario whose method is not in the table.
const NOT_MENDED: &[&str] = &["ClockOff", "Contested", "WatchdogGone"];

fn expected(scenario: &str, by: Method) -> Option<&'static Expected> {
    EXPECTED.iter().find(|one| one.scenario == scenario && one.by.contains(&by))
}

/// Whether the scenario is in the table: for this method, or for any.
pub fn are_listed(scenario: &str, by: Option<Method>) -> bool {
    EXPECTED.iter().any(|one| one.scenario == scenario && by.is_none_or(|by| one.by.contains(&by)))
}

/// The alerts whose condition may be met when a scenario ends.
pub fn may_stay(scenario: &str, by: Method) -> &'static [&'static str] {
    expected(scenario, by).map_or(NOT_MENDED, |one| one.stays)
}

/// The alerts of one play.
#[derive(Debug, Default)]
pub struct Raised {
    fired: BTreeSet<String>,
    /// The others whose condition was met, with the longest time in seconds.
    waited: BTreeMap<String, usize>,
}

impl Raised {
    /// The alerts from the fault until now.
    pub fn since(fault: Duration, prometheus: &Prometheus) -> Self {
        let mut this = Self::default();
        for series in prometheus.history("ALERTS", fault, now()) {
            let seconds = series.samples.iter().filter(|(at, _)| *at >= fault.as_secs_f64()).count();
            let name = series.labels["alertname"].trim_start_matches("Vipkeeper").to_owned();
            if seconds > 0 && series.labels["alertstate"] == "firing" {
                this.fired.insert(name);
            } else if seconds > 0 {
                let longest = this.waited.entry(name).or_default();
                *longest = seconds.max(*longest);
            }
        }
        this.waited.retain(|name, _| !this.fired.contains(name));
        this
    }

    /// # Panics
    /// An alert that the scenario must raise is missing, or one is there that has nothing to do with it.
    pub fn assert_are_those_of(&self, scenario: &str, by: Method) {
        eprintln!("alerts of {scenario}, {by:?}: {self:?}");
        let Some(Expected { fires, waits, may, .. }) = expected(scenario, by) else { return };
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
        let waited: BTreeSet<_> = self.waited.keys().cloned().collect();
        let missing: Vec<_> = (&of(fires) - &self.fired).into_iter().chain(&of(waits) - &waited).collect();
        let wrong = &self.fired - &of(&[*fires, *may].concat());
        let more = &waited - &of(&[*waits, *may, MOMENTS].concat());
        assert!(
            missing.is_empty() && wrong.is_empty() && more.is_empty(),
            "{scenario}: of the alerts {missing:?} are missing, {wrong:?} fire and {more:?} wait besides"
        );
    }
}

fn page() -> String {
    let mut page = PAGE.to_owned();
    page.push_str("| what happens | VIP by | fires | waits | may come | still there |\n|---|---|---|---|---|---|\n");
    for one in EXPECTED {
        let words = |by: &Method| match by {
            ElasticIp => "Elastic IP",
            Route => "routes",
            SecondaryIp => "secondary IP",
        };
        let by: Vec<_> = one.by.iter().map(words).collect();
        let cells = [one.fires, one.waits, one.may, one.stays].map(|names| names.join(", "));
        let _ = writeln!(page, "| {} | {} | {} |", one.scenario, by.join(", "), cells.join(" | "));
    }
    let _ = writeln!(page, "\nMay wait for a moment in every scenario: {}.", MOMENTS.join(", "));
    page
}

#[test]
fn the_page_of_alerts_is_the_table() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, page()).unwrap();
    }
    assert_eq!(fs::read_to_string(file).unwrap(), page(), "UPDATE_GOLDEN=1 cargo test --test lab alerts");
}

#[test]
fn the_table_names_only_alerts_that_exist() {
    let rules = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/rules.yml")).unwrap();
    let listed = EXPECTED.iter().flat_map(|one| [one.fires, one.waits, one.may, one.stays]).flatten();
    for name in listed.chain(MOMENTS).chain(NOT_MENDED) {
        assert!(rules.contains(&format!("alert: Vipkeeper{name}\n")), "{name}");
    }
}
