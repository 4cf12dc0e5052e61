//! What happens at night, one thing at a time, always to the leader; and what must be true in the end.

use std::env;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ec2_endpoint::{Fault, FaultKind};
use rustix::process::geteuid;

use super::client::now;
use super::cluster::{Lab, eventually};
use super::keeper::Keeper;
use super::machine::Machine;
use super::moto;
use super::report::{self, Row, Told, outage, seconds};
use super::signals;
use super::software::{LATE_S, Setup, WATCHDOG_PORT};
use super::vpc::Method;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Pgpool's part: it notices (5 s of silence at worst, as set up here), votes, and runs the hook.
const ELECTION: Duration = s(40);
/// The product's part until the client is served, on a machine that may be busy with three clusters' worth of programs.
const OURS: Duration = s(2);
/// Until nothing is left at the old leader: its daemon looks each 10 s, more or less.
const CLEAN: Duration = s(40);
/// So long everything must stay as it is afterwards.
const CALM: Duration = s(5);

/// Two labs at once would measure each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How often a scenario is played.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Always.
    Short,
    /// With `VIPKEEPER_LAB=full`.
    Full,
    /// The comparison alone, with `VIPKEEPER_LAB=guide`.
    Guide,
}

/// A failure of the leader and what follows it, for one method. Each scenario has a lab of its own.
pub struct Scenario {
    pub name: &'static str,
    pub set: Set,
    pub setup: fn(Method) -> Setup,
    /// The longest time from the new leader's hook to the first answer through it.
    pub ours: Duration,
    /// Lets it happen.
    pub strike: fn(&mut Lab, usize),
    /// Goes on once the client is served by the new leader; says what came of the old one.
    pub then: fn(&mut Lab, Struck) -> String,
}

/// Who led, who leads, and when it happened.
#[derive(Clone, Copy)]
pub struct Struck {
    pub old: usize,
    pub new: usize,
    pub at: Duration,
}

/// Without a key for one method, with one for the other: the witness must work both ways.
pub fn plain(method: Method) -> Setup {
    let authkey = (method == Method::ElasticIp).then_some("open sesame");
    Setup { method, late_down: false, authkey, keeper: Keeper::Vipkeeper, tables: 2 }
}

impl Scenario {
    pub fn play(&self, method: Method) {
        let Some(_alone) = permission(self.set) else { return };
        if moto::is_chosen() && self.name != WALKTHROUGH.name {
            eprintln!("skipped: moto plays the walkthrough alone");
            return;
        }
        let name = format!("{} {method:?}", self.name);
        let mut lab = Lab::start(&name, (self.setup)(method));
        let old = lab.escalated().unwrap();
        the_guard_is_the_watchdog(&lab, old);
        only_the_leader_is_escalated(&lab, old);

        let mark = lab.vpc.endpoint.service().mark();
        let at = now();
        (self.strike)(&mut lab, old);
        let new = eventually("another node's hook runs", ELECTION, || {
            let begun = |node: &usize| lab.began(*node).is_some_and(|began| began > at);
            (0..3).filter(|node| *node != old).find(begun).ok_or_else(|| "nobody has a newer claim".to_owned())
        });
        eventually("the client is served by the new leader", CLEAN, || lab.is_served_by(new));
        let end = (self.then)(&mut lab, Struck { old, new, at });
        eventually("nothing is left at the old leader", CLEAN, || lab.agrees_on(new));
        stays(&lab, new);
        lab.vpc.assert_well();

        let answers = lab.client.answers();
        let hook = lab.began(new).unwrap();
        let address = lab.address(new);
        let first = answers.iter().find(|answer| answer.through == address && answer.at > hook).unwrap();
        let ours = first.at.saturating_sub(hook);
        let row = Row {
            scenario: self.name,
            method,
            outage: outage(&answers, at),
            election: hook.saturating_sub(at),
            ours,
            calls: lab.calls_since(mark),
            end: format!("all at {}; {end}", lab.name_of(new)),
        };
        let timeline = lab.timeline(at, now());
        let seen = lab.prometheus.as_ref().map(|prometheus| {
            prometheus.assert_all_documented_metrics();
            prometheus.assert_clean();
            signals::seen(prometheus, lab.name_of(old), lab.name_of(new), at)
        });
        report::tell(Told { row, timeline, seen: seen.clone() });
        if let Some(seen) = seen {
            signals::assert_tell(self.name, &seen);
        }
        assert!(ours < self.ours, "{name}: {} from hook to answer", seconds(ours));
    }
}

/// Whether to play at all, and the right to do so alone.
pub fn permission(set: Set) -> Option<std::sync::MutexGuard<'static, ()>> {
    let chosen = env::var("VIPKEEPER_LAB").unwrap_or_else(|_| "short".to_owned());
    let (is_played, needed) = match set {
        Set::Short => (["short", "full"].contains(&chosen.as_str()), "short"),
        Set::Full => (chosen == "full", "full"),
        Set::Guide => (chosen == "guide", "guide"),
    };
    assert!(["short", "full", "guide"].contains(&chosen.as_str()), "VIPKEEPER_LAB cannot be {chosen:?}");
    if !is_played {
        eprintln!("skipped: VIPKEEPER_LAB={needed} plays it");
        return None;
    }
    if !geteuid().is_root() {
        assert!(env::var("CI").is_err(), "CI must run the lab, as root");
        eprintln!("skipped: the lab makes namespaces, which needs root");
        return None;
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The product's choice among the hook's ancestors, against Pgpool's own titles.
fn the_guard_is_the_watchdog(lab: &Lab, leader: usize) {
    let guard = lab.leadership(leader).unwrap().guard.expect("a hook of Pgpool's finds its guard");
    let machine = lab.machine(leader);
    let is_watchdog = |pid: &u32| {
        let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        title.starts_with(b"pgpool: watchdog") && !title.starts_with(b"pgpool: watchdog escalation")
    };
    let watchdogs: Vec<u32> = machine.family("pgpool").into_iter().filter(is_watchdog).collect();
    let inner: Vec<u32> = watchdogs.iter().map(|pid| Machine::inner_pid(*pid)).collect();
    assert_eq!(inner, [guard.pid], "the guard is the one process that calls itself the watchdog");
}

fn only_the_leader_is_escalated(lab: &Lab, leader: usize) {
    let delegate_ip = lab.setup.method.delegate_ip().into();
    for node in 0..3 {
        let word = lab.ask_watchdog(node).unwrap().expect("the watchdog has a socket");
        assert_eq!(word.escalated, node == leader, "{}", lab.name_of(node));
        assert!(word.delegate_ips.contains(&delegate_ip), "{word:?}");
    }
    if lab.setup.authkey.is_some() {
        for wrong in [None, Some("wrong")] {
            let error = lab.ask_watchdog_with(leader, wrong).unwrap_err();
            assert!(error.contains("wd_authkey"), "{error}");
        }
    }
}

/// Calm: everything at this node, and no answer but through it, without a pause.
fn stays(lab: &Lab, leader: usize) {
    let from = now();
    while now() < from + CALM {
        lab.agrees_on(leader).unwrap();
        thread::sleep(Duration::from_millis(250));
    }
    let answers = lab.client.answers();
    let others = answers.iter().filter(|answer| answer.at > from && answer.through != lab.address(leader)).count();
    assert_eq!(others, 0, "answers through another node than the leader");
    assert!(outage(&answers, from) < s(1), "an outage of {} in calm", seconds(outage(&answers, from)));
    lab.is_served_by(leader).unwrap();
}

/// No process of a hook keeps the watchdog's port.
fn the_port_is_free(lab: &Lab, node: usize) {
    let machine = lab.machine(node);
    assert_eq!(machine.family("pgpool"), Vec::<u32>::new(), "Pgpool is gone");
    machine.inside(|| TcpListener::bind(("0.0.0.0", WATCHDOG_PORT))).expect("nobody listens on the watchdog's port");
}

/// The guide's acceptance: connect, stop the leader, connect again.
pub const WALKTHROUGH: Scenario = Scenario {
    name: "the guide's walkthrough",
    set: Set::Short,
    setup: plain,
    ours: OURS,
    strike: |lab, old| {
        shows_the_database(&lab.psql("show pool_nodes"));
        lab.stop_pgpool(old);
    },
    then: |lab, struck| {
        shows_the_database(&lab.psql("show pool_nodes"));
        the_port_is_free(lab, struck.old);
        lab.start_pgpool(struck.old);
        eventually("the old leader is back", ELECTION, || match lab.ask_watchdog(struck.old)? {
            Some(word) if !word.escalated => Ok(()),
            word => Err(format!("its watchdog says {word:?}")),
        });
        "the old leader came back and stands by".to_owned()
    },
};

fn shows_the_database(page: &str) {
    assert!(page.contains("10.0.8.10") && page.contains("| up "), "show pool_nodes shows:\n{page}");
}

pub const KILLED: Scenario = Scenario {
    name: "kill -9 of all of Pgpool",
    set: Set::Short,
    setup: plain,
    ours: OURS,
    strike: |lab, old| lab.machine(old).kill("pgpool"),
    then: |lab, struck| {
        the_port_is_free(lab, struck.old);
        "released".to_owned()
    },
};

pub const FROZEN: Scenario = Scenario {
    name: "SIGSTOP of all of Pgpool",
    set: Set::Short,
    setup: plain,
    ours: OURS,
    strike: |lab, old| {
        lab.machine(old).freeze("pgpool");
    },
    then: |lab, struck| {
        // Nobody told it: its file says leader, and the guard lives.
        assert!(lab.leadership(struck.old).is_some());
        "superseded".to_owned()
    },
};

pub const DAEMON_KILLED: Scenario = Scenario {
    name: "kill -9 of vipkeeper, then of Pgpool",
    set: Set::Full,
    setup: plain,
    ours: OURS,
    strike: |lab, old| {
        lab.machine(old).kill("vipkeeper");
        lab.machine(old).kill("pgpool");
    },
    then: |lab, struck| {
        lab.start_vipkeeper(struck.old);
        "released when it ran again".to_owned()
    },
};

pub const LATE_DOWN: Scenario = Scenario {
    name: "the old leader's `down` comes 12 s late",
    set: Set::Short,
    setup: |method| Setup { late_down: true, ..plain(method) },
    ours: OURS,
    strike: |lab, old| lab.stop_pgpool(old),
    then: |lab, struck| {
        let down = eventually("the late `down` is written", s(LATE_S) * 2, || match lab.leadership(struck.old) {
            None => lab.desired(struck.old).ok_or_else(|| "no file".to_owned()),
            Some(_) => Err("it still says leader".to_owned()),
        });
        let late = Duration::from_millis(down.written_ms).saturating_sub(lab.began(struck.new).unwrap());
        assert!(late > s(2), "it was to come after the new leader's `up`, not {} after", seconds(late));
        the_port_is_free(lab, struck.old);
        format!("the `down` came {} after the `up`", seconds(late))
    },
};

pub const CUT_OFF: Scenario = Scenario {
    name: "cut off from its peers for 25 s, not from EC2",
    set: Set::Short,
    setup: plain,
    ours: OURS,
    strike: |lab, old| lab.vpc.cut_from_peers(old),
    then: |lab, struck| {
        eventually("nothing is left at the old leader", CLEAN, || lab.agrees_on(struck.new));
        thread::sleep((struck.at + s(25)).saturating_sub(now()));
        lab.heal();
        eventually("the watchdogs agree again", ELECTION, || match lab.escalated()? {
            leader if leader == struck.new => Ok(()),
            leader => Err(format!("{} is escalated", lab.name_of(leader))),
        });
        "healed".to_owned()
    },
};

pub const REBOOTED: Scenario = Scenario {
    name: "reboot of the leader",
    set: Set::Full,
    setup: plain,
    ours: OURS,
    strike: |lab, old| lab.power_off(old),
    then: |lab, struck| {
        thread::sleep((struck.at + s(15)).saturating_sub(now()));
        lab.boot(struck.old);
        eventually("the old leader is back", ELECTION, || match lab.ask_watchdog(struck.old)? {
            Some(word) if !word.escalated => Ok(()),
            word => Err(format!("its watchdog says {word:?}")),
        });
        assert_eq!(lab.desired(struck.old).and_then(|_| lab.leadership(struck.old)), None, "nothing outlives a reboot");
        "back, and stands by".to_owned()
    },
};

pub const THROTTLED: Scenario = Scenario {
    name: "kill -9 of Pgpool while EC2 throttles for 10 s",
    set: Set::Full,
    setup: plain,
    // The throttling may outlast the election by nearly all of its own time.
    ours: s(15),
    strike: |lab, old| {
        let throttle = lab.vpc.endpoint.service().add_fault(Fault::new(FaultKind::Throttle));
        let until = now() + s(10);
        lab.machine(old).kill("pgpool");
        thread::sleep(until.saturating_sub(now()));
        lab.vpc.endpoint.service().remove_fault(throttle);
    },
    then: |lab, struck| {
        let address = lab.address(struck.new);
        let first = lab.client.answers().into_iter().find(|answer| answer.through == address).unwrap();
        let after = first.at.saturating_sub(struck.at + s(10));
        assert!(after < s(5), "served {} after the throttling", seconds(after));
        format!("served {} after the throttling", seconds(after))
    },
};
