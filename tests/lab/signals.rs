//! The view of a failure in Prometheus' alerts: the series that moved, on the old leader, the new one and the
//! node beside. Each scenario says which must, and no other may.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::client::now;
use super::cluster::eventually;
use super::prometheus::{Prometheus, Series};
use Who::{Beside, New, Old};

/// A series that an alert or a dashboard would look at.
struct Signal {
    name: &'static str,
    selector: &'static str,
    moved: Moved,
}

const SIGNALS: [Signal; 16] = [
    Signal { name: "leads", selector: "vipkeeper_desired_role{role=\"leader\"}", moved: Moved::Rose },
    Signal { name: "leads no more", selector: "vipkeeper_desired_role{role=\"leader\"}", moved: Moved::Fell },
    Signal { name: "gained", selector: "vipkeeper_takeovers_total{direction=\"gained\"}", moved: Moved::Grew },
    Signal { name: "lost", selector: "vipkeeper_takeovers_total{direction=\"lost\"}", moved: Moved::Grew },
    Signal { name: "superseded", selector: "vipkeeper_superseded_total", moved: Moved::Grew },
    Signal { name: NOT_IN_SYNC, selector: "vipkeeper_binding_state{state=\"in_sync\"}", moved: Moved::Fell },
    Signal { name: "drift", selector: "vipkeeper_drift_total", moved: Moved::Grew },
    Signal { name: "throttled", selector: "vipkeeper_ec2_throttled_total", moved: Moved::Grew },
    Signal { name: "EC2 errors", selector: "vipkeeper_ec2_requests_total{code=\"InternalError\"}", moved: Moved::Grew },
    Signal { name: "no answer", selector: "vipkeeper_ec2_requests_total{code=\"no_answer\"}", moved: Moved::Grew },
    Signal { name: "denied", selector: "vipkeeper_actions_total{outcome=~\"denied|rejected\"}", moved: Moved::Grew },
    Signal { name: "no guard", selector: "vipkeeper_guard_alive", moved: Moved::Fell },
    Signal { name: "contested", selector: "vipkeeper_contested", moved: Moved::Rose },
    Signal { name: "hook lost", selector: "vipkeeper_hook_lost", moved: Moved::Rose },
    Signal { name: "desired invalid", selector: "vipkeeper_desired_invalid", moved: Moved::Rose },
    Signal { name: "not scraped", selector: "up", moved: Moved::Fell },
];

/// Shown by whatever takes or releases, if Prometheus looks just then.
const NOT_IN_SYNC: &str = "not in sync";

/// The meaning of each signal, as a list.
pub fn legend() -> String {
    SIGNALS.iter().fold(String::new(), |mut text, signal| {
        let _ = writeln!(text, "- {}: `{}` {}", signal.name, signal.selector, signal.moved.words());
        text
    })
}

/// How a series moves.
#[derive(Clone, Copy)]
enum Moved {
    /// A counter, which a restart sets back to 0.
    Grew,
    Rose,
    Fell,
}

impl Moved {
    fn words(self) -> &'static str {
        match self {
            Self::Grew => "grew",
            Self::Rose => "became 1",
            Self::Fell => "became 0",
        }
    }

    fn is_seen_in(self, values: &[f64]) -> bool {
        values.windows(2).any(|pair| match self {
            Self::Grew => pair[1] > pair[0] || (pair[1] < pair[0] && pair[1] > 0.0),
            Self::Rose => pair[1] > pair[0],
            Self::Fell => pair[1] < pair[0],
        })
    }
}

/// Whose signal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Who {
    /// The leader to which it happened.
    Old,
    /// The leader in the end.
    New,
    Beside,
}

/// The signals of a scenario, each with whose it is. A leader that stays, or leads again in the end, is the old one.
pub type Seen = BTreeMap<Who, BTreeSet<String>>;

/// The moves of Prometheus' series from the fault until now.
pub fn seen(prometheus: &Prometheus, old: &str, new: &str, fault: Duration) -> Seen {
    Prometheus::catch_up();
    let now = now();
    let mut seen = Seen::new();
    for signal in &SIGNALS {
        for series in prometheus.history(signal.selector, fault, now) {
            if signal.moved.is_seen_in(&values(&series, fault)) {
                let node = series.labels["node"].as_str();
                let who = if node == new { New } else { Beside };
                let who = if node == old { Old } else { who };
                seen.entry(who).or_default().insert(signal.name.to_owned());
            }
        }
    }
    seen
}

/// From the last sample before the fault on.
fn values(series: &Series, fault: Duration) -> Vec<f64> {
    let fault = fault.as_secs_f64();
    let first = series.samples.iter().rposition(|(at, _)| *at <= fault).unwrap_or(0);
    series.samples[first..].iter().map(|(_, value)| *value).collect()
}

/// The signals that a scenario must show of the old and the new leader, and those that it may show: a matter of moments.
struct Expected {
    scenario: &'static str,
    old: &'static [&'static str],
    new: &'static [&'static str],
    may: &'static [(Who, &'static str)],
}

/// The signals of every new leader,
const LEADS: &[&str] = &["leads", "gained"];
/// and those of an old one, whether its `down` ran or its Pgpool is gone: behind no claim there is a guard.
const STANDS_BY: &[&str] = &["leads no more", "no guard", "lost"];

/// The second leader lives for a second or two, and Prometheus looks each second. A binding whose take
/// was on its way to EC2 when that leader died comes to point at a node that leads no more.
const TWICE: &[(Who, &str)] = &[
    (Old, "leads"),
    (Old, "gained"),
    (New, "leads"),
    (New, "gained"),
    (Beside, "leads"),
    (Beside, "gained"),
    (Beside, "no guard"),
    (Beside, "leads no more"),
    (Beside, "lost"),
    (Beside, "drift"),
];

/// A new election, as it comes now and then where two leaders meet. Any of the three nodes may lead in the end.
pub const ELECTED_ANEW: &str = "Pgpool elects anew";
const ANEW: &[(Who, &str)] = &[
    (Old, "superseded"),
    (Old, "no guard"),
    (Old, "no answer"),
    (Old, "leads"),
    (Old, "gained"),
    (New, "leads"),
    (New, "gained"),
    (New, "leads no more"),
    (New, "no guard"),
    (New, "lost"),
    (Beside, "leads"),
    (Beside, "gained"),
    (Beside, "leads no more"),
    (Beside, "no guard"),
    (Beside, "lost"),
];

/// The older leader goes on and puts its bindings back, or the newer one goes on, or neither.
const MET: &[(Who, &str)] = &[
    (Old, "drift"),
    (Old, "gained"),
    (Old, "leads"),
    (Old, "leads no more"),
    (Old, "no guard"),
    (New, "leads"),
    (New, "gained"),
    (New, "leads no more"),
    (New, "no guard"),
    (New, "lost"),
    (Beside, "leads"),
    (Beside, "gained"),
    (Beside, "leads no more"),
    (Beside, "no guard"),
    (Beside, "lost"),
];

const EXPECTED: &[Expected] = &[
    Expected { scenario: "the guide's walkthrough", old: STANDS_BY, new: LEADS, may: &[] },
    Expected { scenario: "kill -9 of all of Pgpool", old: STANDS_BY, new: LEADS, may: &[] },
    Expected {
        scenario: "kill -9 of all of Pgpool, and EC2 carries changes at once",
        old: STANDS_BY,
        new: LEADS,
        may: &[],
    },
    Expected {
        scenario: "kill -9 of all of Pgpool, and EC2 carries changes after 1 s",
        old: STANDS_BY,
        new: LEADS,
        may: &[],
    },
    Expected {
        scenario: "kill -9 of all of Pgpool, and EC2 carries changes after 5 s",
        old: STANDS_BY,
        new: LEADS,
        may: &[],
    },
    Expected {
        scenario: "kill -9 of all of Pgpool, and a route table is missing from `tables`",
        old: STANDS_BY,
        new: LEADS,
        may: &[],
    },
    Expected { scenario: ELECTED_ANEW, old: &["lost", "leads no more"], new: &[], may: ANEW },
    // Its hooks and its guard say leader until it wakes.
    Expected {
        scenario: "all of Pgpool hangs (SIGSTOP), and wakes",
        old: &["superseded", "lost", "leads no more"],
        new: LEADS,
        may: &[(Old, "no guard")],
    },
    // It is superseded if it looks, as it does each 10 s or so, before the `down` comes.
    Expected {
        scenario: "the old leader's `down` comes 12 s late",
        old: STANDS_BY,
        new: LEADS,
        may: &[(Old, "superseded")],
    },
    Expected {
        scenario: "reboot of the leader",
        old: &["not scraped", "leads no more"],
        new: LEADS,
        may: &[(Old, "no guard")],
    },
    // A daemon that was not there when the VIP left its node has nothing to count.
    Expected {
        scenario: "kill -9 of vipkeeper, then of Pgpool",
        old: &["not scraped", "leads no more"],
        new: LEADS,
        may: &[(Old, "no guard")],
    },
    Expected {
        scenario: "vipkeeper is down during the hook and starts 5 s later",
        old: STANDS_BY,
        new: &["not scraped", "leads", "gained"],
        may: &[(Beside, "not scraped")],
    },
    // Its own watchdog runs `down`, before or after the others elect.
    Expected {
        scenario: "cut off from its peers for 25 s, not from EC2",
        old: STANDS_BY,
        new: LEADS,
        may: &[(Old, "superseded")],
    },
    // Its looks at EC2 and its release find nobody.
    Expected {
        scenario: "cut off from EC2 for 25 s, not from its peers, and stopped meanwhile",
        old: &["leads no more", "no guard", "lost", "no answer"],
        new: LEADS,
        may: &[],
    },
    Expected {
        scenario: "cut off from its peers and EC2 for 25 s",
        old: &["leads no more", "no guard", "lost", "no answer"],
        new: LEADS,
        may: &[(Old, "superseded")],
    },
    Expected {
        scenario: "kill -9 of Pgpool while the standbys are cut off from EC2 for 10 s",
        old: STANDS_BY,
        new: &["leads", "gained", "no answer"],
        may: &[(Beside, "no answer")],
    },
    // Whoever else looks at EC2 within these 10 s is throttled as well.
    Expected {
        scenario: "kill -9 of Pgpool while EC2 throttles for 10 s",
        old: STANDS_BY,
        new: &["leads", "gained", "throttled"],
        may: &[(Old, "throttled"), (Beside, "throttled")],
    },
    Expected {
        scenario: "kill -9 of Pgpool while a statement of the policy is missing for 10 s",
        old: STANDS_BY,
        new: &["leads", "gained", "denied"],
        may: &[(Old, "denied")],
    },
    Expected {
        scenario: "kill -9 of Pgpool while EC2 answers 503 for 10 s",
        old: STANDS_BY,
        new: &["leads", "gained", "EC2 errors"],
        may: &[(Old, "EC2 errors"), (Beside, "EC2 errors")],
    },
    Expected {
        scenario: "kill -9 of Pgpool while EC2 closes every connection for 10 s",
        old: STANDS_BY,
        new: &["leads", "gained", "no answer"],
        may: &[(Old, "no answer"), (Beside, "no answer")],
    },
    Expected {
        scenario: "kill -9 of Pgpool while EC2 takes 8 s for each call, for 10 s",
        old: STANDS_BY,
        new: &["leads", "gained", "no answer"],
        may: &[(Old, "no answer"), (Beside, "no answer")],
    },
    Expected {
        scenario: "every binding changed by hand, one after the other",
        old: &["drift", NOT_IN_SYNC],
        new: &[],
        may: &[],
    },
    // The `up` comes before anybody has stood by.
    Expected { scenario: "`up` overtakes a `down` of 12 s on one node", old: &[], new: &[], may: &[] },
    // The same node leads again, or another.
    Expected {
        scenario: "quorum lost for 5 s and found",
        old: STANDS_BY,
        new: &[],
        may: &[(Old, "leads"), (Old, "gained"), (New, "leads"), (New, "gained")],
    },
    Expected { scenario: "two failovers within 5 s", old: STANDS_BY, new: &[], may: TWICE },
    Expected {
        scenario: "two failovers, and the clock of the leader in between is 4 s ahead",
        old: STANDS_BY,
        new: &[],
        may: TWICE,
    },
    Expected {
        scenario: "kill -9 of all of Pgpool, and the successor's clock is 2 s behind",
        old: STANDS_BY,
        new: LEADS,
        may: &[],
    },
    // Pgpool chooses who goes on where two leaders meet.
    Expected {
        scenario: "two nodes with half votes, cut off from each other for 25 s",
        old: &["superseded", "lost"],
        new: &[],
        may: MET,
    },
    Expected {
        scenario: "the third node never started, and all of the leader's Pgpool hangs for 45 s",
        old: &[],
        new: &[],
        may: &[
            (Old, "leads"),
            (Old, "leads no more"),
            (Old, "gained"),
            (Old, "lost"),
            (Old, "no guard"),
            (New, "leads"),
            (New, "gained"),
        ],
    },
    Expected {
        scenario: "all of Pgpool hangs (SIGSTOP), and wakes; lifecheck by queries",
        old: &["superseded", "lost", "leads no more"],
        new: LEADS,
        may: &[(Old, "no guard")],
    },
    Expected {
        scenario: "the leader reaches no trusted server for 25 s",
        old: &["leads no more", "lost"],
        new: LEADS,
        may: &[(Old, "no guard"), (Old, "superseded")],
    },
    Expected {
        scenario: "kill -9 of all of Pgpool while the resolver is silent for 60 s",
        old: STANDS_BY,
        new: LEADS,
        may: &[],
    },
    // A restart takes less than a second, and Prometheus looks each second.
    Expected {
        scenario: "vipkeeper is upgraded on every node while clients work",
        old: &[],
        new: &[],
        may: &[
            (Old, "not scraped"),
            (Beside, "not scraped"),
            (Old, "leads"),
            (Old, "leads no more"),
            (Old, "no guard"),
        ],
    },
    Expected { scenario: "Pgpool is upgraded on every node while clients work", old: STANDS_BY, new: LEADS, may: &[] },
    Expected {
        scenario: "the leader's Pgpool is stopped smartly (`-m smart`) while clients work",
        old: STANDS_BY,
        new: LEADS,
        may: &[],
    },
    Expected { scenario: "the state folder's disk is full", old: STANDS_BY, new: LEADS, may: &[] },
    // Nothing but the watchdog's word is left to go by.
    Expected {
        scenario: "no hook can write, with `witness = \"trust\"`",
        old: STANDS_BY,
        new: &["hook lost", "leads", "gained"],
        may: &[(Old, "hook lost")],
    },
    Expected {
        scenario: "another tool takes the VIP each 5 s for a minute",
        old: &["drift", NOT_IN_SYNC, "contested"],
        new: &[],
        may: &[],
    },
];

/// A standby looks each 30 s, more or less, and what it saw must be scraped.
const ALERTS_END: Duration = Duration::from_mins(1);

/// Waits until nothing is wrong by the word of the alerts but what nobody mended, which has to come by itself.
pub fn assert_no_alert_lasts(prometheus: &Prometheus, not_mended: &[&str]) {
    eventually("the alerts end", ALERTS_END, || {
        let mut alerts = prometheus.alerts();
        alerts.retain(|alert| !not_mended.contains(&alert.trim_start_matches("Vipkeeper")));
        if alerts.is_empty() { Ok(()) } else { Err(format!("{alerts:?}")) }
    });
}

/// # Panics
/// A signal that the failure must show is missing, or one is there that has nothing to do with it.
pub fn assert_tell(scenario: &str, seen: &Seen) {
    let Some(Expected { old, new, may, .. }) = EXPECTED.iter().find(|expected| expected.scenario == scenario) else {
        panic!("{scenario} shows {seen:?}: is that what it should?");
    };
    let of = |who, signals: &[&'static str]| signals.iter().map(|signal| (who, *signal)).collect::<BTreeSet<_>>();
    let must = &of(Old, old) | &of(New, new);
    let seen: BTreeSet<(Who, &str)> =
        seen.iter().flat_map(|(who, signals)| signals.iter().map(move |signal| (*who, signal.as_str()))).collect();
    let missing: Vec<_> = must.difference(&seen).collect();
    let may = |signal: &&(Who, &str)| may.contains(signal) || signal.1 == NOT_IN_SYNC;
    let wrong: Vec<_> = seen.difference(&must).filter(|signal| !may(signal)).collect();
    assert!(missing.is_empty() && wrong.is_empty(), "{scenario}: alerts miss {missing:?} and show {wrong:?} besides");
}
