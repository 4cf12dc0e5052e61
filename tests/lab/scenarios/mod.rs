//! The accidents of a night, one at a time, nearly always to the leader; and the state that must follow in the end.
//!
//! Every scenario has a lab of its own, in which a leader holds the VIP when it begins. It lets things happen until one
//! node holds the VIP for good, and tells that as a [`Story`]. This file checks how every story must end.

use std::collections::BTreeSet;
use std::env;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::geteuid;

use super::alerts::{self, Raised};
use super::client::now;
use super::cluster::{Lab, eventually};
use super::dashboard;
use super::held::{Fate, Fates};
use super::keeper::Keeper;
use super::machine::{Machine, NAMESPACES};
use super::moto;
use super::prometheus::{OF_PROBES, Prometheus};
use super::report::{self, Row, Told, What, outage, seconds};
use super::signals;
use super::software::{self, Nodes, Priorities, Probes, Setup, WATCHDOG_PORT};
use super::suite::{self, Suite};
use super::tools;
use super::unshare;
use super::vpc::Method;

pub mod clock;
pub mod daemon;
pub mod ec2;
pub mod hand;
pub mod network;
pub mod pgpool;
pub mod probes;
pub mod setups;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Pgpool's part: it notices (5 s of silence at worst, as set up here), votes, and runs the hook.
const ELECTION: Duration = s(40);
/// The product's part until the client is served, on a machine that may be busy with three clusters' worth of programs.
const OURS: Duration = s(2);
/// A client counts as told at once within this time, also on a busy machine that takes a while to kill Pgpool. A client that
/// is not told finds out by TCP's repetitions, after 6 s or more.
const AT_ONCE: Duration = s(4);
/// The product's part from the end of a fault of EC2, or of the way to EC2, until the client is served.
const AFTER_FAULT: Duration = s(5);
/// The goal for the product's part with 150 ms for each call: two calls, one after the other, at most.
const GOAL: Duration = Duration::from_millis(350);
/// The goal for the product's part from the end of a fault of EC2 on.
const GOAL_AFTER_FAULT: Duration = s(1);
/// So many runs have a median worth the name.
const ENOUGH: usize = 5;
/// No failure takes as many changes, not even one in which EC2 refuses eight tables for 10 s.
const STORM: usize = 100;
/// Until nothing is left at the old leader: its daemon looks each 10 s, more or less.
const CLEAN: Duration = s(40);
/// So long everything must stay as it is afterwards.
const CALM: Duration = s(5);

/// Clients that notice nothing of a fault are waited for so long from the fault on, where there is time.
pub const UNAWARE: Duration = Duration::from_mins(1);

/// Labs that run now. Several at once measure each other too, a little: the report says how many there were.
static RUNNING: Mutex<usize> = Mutex::new(0);
static ONE_HAS_ENDED: Condvar = Condvar::new();

/// When something is played.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Always.
    Short,
    /// With `VIPKEEPER_LAB=full`.
    Full,
    /// The comparison alone, with `VIPKEEPER_LAB=guide`.
    Guide,
    /// The settings of Pgpool alone, with `VIPKEEPER_LAB=settings`.
    Settings,
}

pub struct Scenario {
    pub name: &'static str,
    /// The methods that the short set plays it for; `VIPKEEPER_LAB=full` plays it for all.
    pub short: &'static [Method],
    pub setup: fn(Method) -> Setup,
    /// The most that the median of the product's part may be, where the scenario is played at least [`ENOUGH`] times.
    pub goal: Duration,
    /// The ends that connections may have that were open before.
    pub open: Open,
    /// Lets it happen to a lab and its leader.
    pub happens: fn(&mut Lab, usize) -> Story,
    /// The texts of the lines of level ERROR that daemons may log besides [`WITNESS`]; other lines are failures.
    pub errors: &'static [&'static str],
}

/// The knowledge of clients about connections that were open before it happened.
#[derive(Debug, Clone, Copy)]
pub enum Open {
    /// Whoever asks or waits is told at once; whoever is quiet, as soon as it asks.
    ToldAtOnce,
    /// The connections live, or their clients are told, however long that takes.
    Told,
    /// The connections live.
    Live,
    /// A client may never know: the sentence says why, and what helps.
    MayNotKnow(&'static str),
}

impl Open {
    /// # Panics
    /// A client knew later than it must.
    fn assert_is_so(self, fates: Fates) {
        let is_so = |fate| match (self, fate) {
            (Self::ToldAtOnce, Fate::Told(after)) => after < AT_ONCE,
            (Self::Live, fate) => fate == Fate::Lives,
            (Self::ToldAtOnce, _) | (Self::Told, Fate::Unaware(_)) => false,
            (Self::Told | Self::MayNotKnow(_), _) => true,
        };
        assert!(fates.all().into_iter().all(is_so), "open connections: {self:?} was to be so, and not {fates:?}");
    }
}

/// Pgpool's watchdog hangs, ends, or waits for its hook just when it is asked.
const WITNESS: &str = "reason=\"Witness\"";

/// The error of a scenario in which EC2 denies calls of the nodes; in every other one EC2 denies them none.
const MAY_BE_DENIED: &str = "is not authorized to perform";

const NOWHERE: &[Method] = &[];
const EVERYWHERE: &[Method] = &[Method::ElasticIp, Method::Route, Method::SecondaryIp];

/// How it went.
pub struct Story {
    /// Who has the VIP for good.
    leader: usize,
    /// When it began.
    at: Duration,
    part: Part,
    /// The words about the end.
    end: String,
    /// The signals are those of this, not of the scenario.
    shows: Option<&'static str>,
}

impl Story {
    fn of_one_leader(leader: usize, at: Duration, within: Duration, end: String) -> Self {
        Self { leader, at, part: Part::Kept { within }, end, shows: None }
    }
}

/// The product's part of an outage, and how long that part may be.
enum Part {
    /// The leader has the VIP by a claim of its own, whose hook started at `hook`. From `from` on nothing kept the product
    /// from serving its clients; `within` from then they were served.
    Moved { hook: Duration, from: Duration, within: Duration },
    /// The leader stayed the same, and this was the longest outage that clients may have had.
    Kept { within: Duration },
}

/// The VIP has moved: a hook ran, and the client is served through its node.
struct Moved {
    at: Duration,
    leader: usize,
    hook: Duration,
}

impl Moved {
    fn ends(&self, end: impl Into<String>) -> Story {
        self.ends_after(self.hook, OURS, end)
    }

    /// With something in the product's way until `over`.
    fn ends_after(&self, over: Duration, within: Duration, end: impl Into<String>) -> Story {
        let part = Part::Moved { hook: self.hook, from: self.hook.max(over), within };
        Story { leader: self.leader, at: self.at, part, end: end.into(), shows: None }
    }

    /// Woken or healed, the old leader meets the new one, at once or seconds later.
    fn ends_once_one_stays(&self, lab: &Lab, end: &str) -> Story {
        let from = now();
        let last = somebody_leads(lab, self.at);
        if last.hook == self.hook {
            // The old one took nothing back, not even for a moment.
            stays_served(lab, self.leader, from);
            return self.ends(end);
        }
        // Once in a hundred meetings each Pgpool takes the other for the true leader.
        let log = lab.log(self.leader, "pgpool");
        let resigned = |(_, later): (&str, &str)| later.contains("state changed from [LEADER] to");
        assert!(
            log.split_once("watchdog: escalation started").is_some_and(resigned),
            "a newer claim without an election"
        );
        let ours = first_answer(lab, self.leader, self.hook).saturating_sub(self.hook);
        assert!(ours < OURS, "{} until the client was served by the leader in between", seconds(ours));
        let story = last.ends(format!("{end}; both leaders resigned, and Pgpool elected anew"));
        Story { shows: Some(signals::ELECTED_ANEW), ..story }
    }
}

/// Without a key for one method, with one for the others: the witness must work both ways. For the third it may not be
/// asked, as it is where nobody has done more than to install both packages.
pub fn plain(method: Method) -> Setup {
    let authkey = (method != Method::Route).then_some("open sesame");
    Setup {
        method,
        late_down: false,
        authkey,
        trust: false,
        keeper: Keeper::Vipkeeper,
        tables: 2,
        heard: method != Method::SecondaryIp,
        own_clocks: false,
        suite: Suite::Here,
        nodes: Nodes::Three,
        priorities: Priorities::Falling,
        by_name: false,
        probes: Probes::Off,
        pgpool_conf: "",
    }
}

impl Scenario {
    /// Plays it as often as `VIPKEEPER_LAB_RUNS` says, which is once where it says nothing.
    pub fn play(&self, method: Method) {
        let set = if self.short.contains(&method) { Set::Short } else { Set::Full };
        if !is_played(set) {
            return;
        }
        let by = (set == Set::Short).then_some(method);
        assert!(alerts::are_listed(self.name, by), "the alerts of {} are not listed", self.name);
        if moto::is_chosen() && tools::find("moto_server").is_none() {
            assert!(env::var("CI").is_err(), "CI must have moto");
            eprintln!("\nskipped: the lab with moto as EC2; not installed: moto_server");
            return;
        }
        if moto::is_chosen() && (self.name != pgpool::WALKTHROUGH.name || method == Method::SecondaryIp) {
            eprintln!("\nskipped: moto plays the walkthrough alone, and not with a secondary IP");
            return;
        }
        let suites = suite::chosen().unwrap_or_else(|| vec![Suite::Here]);
        suites.into_iter().for_each(|suite| self.play_on(suite, method));
    }

    /// Plays it on the newest Pgpool-II that can be had, as a part of the short set.
    pub fn play_on_newest(&self, method: Method) {
        if suite::chosen().is_some() || moto::is_chosen() {
            eprintln!("\nskipped: the scenarios on the newest Pgpool-II, because the variables choose something else");
            return;
        }
        if !is_played(Set::Short) {
            return;
        }
        match suite::newest() {
            Some(suite) => self.play_on(suite, method),
            // An unstable suite cannot always be had, also where everything else can.
            None => eprintln!("\nskipped: the scenarios on the newest Pgpool-II; no other suite's is installed"),
        }
    }

    fn play_on(&self, suite: Suite, method: Method) {
        let setup = Setup { suite, ..(self.setup)(method) };
        let what = self.what(setup);
        let left = runs().saturating_sub(report::played(&what));
        // One that fails keeps no other from being played.
        let fails = |_: &usize| catch_unwind(AssertUnwindSafe(|| self.play_once(setup))).is_err();
        let failed = (0..left).filter(fails).count();
        (0..failed).for_each(|_| report::tell_failure(what.clone()));
        assert_eq!(failed, 0, "of {left} plays so many failed");
        if runs() >= ENOUGH {
            let ours = report::ours(&what);
            assert!(ours <= self.goal, "{} is the median until the client was served", seconds(ours));
        }
    }

    fn what(&self, setup: Setup) -> What {
        What { scenario: self.name.to_owned(), way: setup.way(), pgpool: setup.suite.pgpool() }
    }

    fn play_once(&self, setup: Setup) {
        let _turn = Turn::take();
        let name = format!("{} {} {}", self.name, setup.way(), setup.suite.name());
        let mut lab = Lab::start(&name, setup);
        let old = lab.escalated().unwrap();
        the_guard_is_the_watchdog(&lab, old);
        only_the_leader_is_escalated(&lab, old);

        let mark = lab.vpc.endpoint.service().mark();
        let warnings = lab.complaints("WARN").len();
        let Story { leader, at, part, end, shows } = (self.happens)(&mut lab, old);
        eventually("nothing is left at another node", CLEAN, || lab.agrees_on(leader));
        stays(&lab, leader);
        lab.vpc.assert_well();
        if !self.errors.contains(&MAY_BE_DENIED) {
            assert_eq!(lab.vpc.denied(), BTreeSet::new(), "{name}: the printed policy is not enough");
        }

        let fates = lab.fates(at, is_full().then_some(UNAWARE));
        let answers = lab.client.answers();
        let outage = outage(&answers, at);
        let (election, ours, within, more) = match part {
            Part::Moved { hook, from, within } => {
                let first = first_answer(&lab, leader, hook);
                (hook.saturating_sub(at), first.saturating_sub(from), within, String::new())
            }
            Part::Kept { within } => {
                // A VIP that points at a standby leads to a Pgpool as well, which serves whoever comes.
                let astray = answers.iter().filter(|answer| answer.at > at && answer.through != lab.address(leader));
                (Duration::ZERO, outage, within, format!("; {} answers through another node", astray.count()))
            }
        };
        let warnings = lab.complaints("WARN").len() - warnings;
        let errors = lab.complaints("ERROR");
        let row = Row {
            what: self.what(setup),
            outage,
            election,
            ours,
            calls: lab.calls_since(mark),
            end: format!(
                "all at {}; {end}{more}; logged: {} ERROR, {warnings} WARN",
                lab.name_of(leader),
                errors.len()
            ),
            held: Some(fates),
            may_not_know: match self.open {
                Open::MayNotKnow(why) => why.to_owned(),
                Open::ToldAtOnce | Open::Told | Open::Live => String::new(),
            },
        };
        let timeline = lab.timeline(at, now());
        let seen = lab.prometheus.as_ref().map(|prometheus| {
            let absent = if setup.probes == Probes::Off { &OF_PROBES[..] } else { &[] };
            prometheus.assert_all_documented_metrics_but(absent);
            prometheus.assert_clean();
            signals::assert_no_alert_lasts(prometheus, alerts::may_stay(self.name, setup.method));
            Prometheus::catch_up();
            dashboard::draw_where_asked(prometheus, self.name, at);
            Raised::since(at, prometheus).assert_are_those_of(self.name, setup.method);
            signals::seen(prometheus, lab.name_of(old), lab.name_of(leader), at)
        });
        if let Some(seen) = &seen {
            signals::assert_tell(shows.unwrap_or(self.name), seen);
        }
        self.open.assert_is_so(fates);
        assert!(ours < within, "{name}: {} until the client was served", seconds(ours));
        let writes = lab.writes_since(mark);
        assert!(writes < STORM, "{name}: {writes} changes asked of EC2");
        let expected = |line: &str| line.contains(WITNESS) || self.errors.iter().any(|part| line.contains(part));
        let unexpected = |line: &&String| !expected(line);
        assert_eq!(errors.iter().filter(unexpected).collect::<Vec<_>>(), Vec::<&String>::new(), "errors logged");
        // Only what passed counts as played.
        report::tell(Told { row, timeline, seen });
    }
}

fn chosen() -> String {
    env::var("VIPKEEPER_LAB").unwrap_or_else(|_| "short".to_owned())
}

/// Whether every scenario is played for every method, and time is of no account.
fn is_full() -> bool {
    chosen() == "full"
}

/// Whether what belongs to this set is to be played, and can be.
pub fn is_played(set: Set) -> bool {
    let chosen = chosen();
    let (is_played, needed) = match set {
        Set::Short => (["short", "full"].contains(&chosen.as_str()), "short"),
        Set::Full => (chosen == "full", "full"),
        Set::Guide => (chosen == "guide", "guide"),
        Set::Settings => (chosen == "settings", "settings"),
    };
    assert!(["short", "full", "guide", "settings"].contains(&chosen.as_str()), "VIPKEEPER_LAB cannot be {chosen:?}");
    if !is_played {
        eprintln!("\nskipped: what of the lab VIPKEEPER_LAB={needed} plays");
        return false;
    }
    let missing = software::missing();
    let obstacle = if !geteuid().is_root() {
        "it makes namespaces, which needs root, or to be run by `unshare --user --map-root-user --map-auto`".to_owned()
    } else if !missing.is_empty() {
        format!("not installed: {}", missing.join(", "))
    } else if let Some(obstacle) = unshare::obstacle(&NAMESPACES) {
        obstacle
    } else {
        return true;
    };
    assert!(env::var("CI").is_err(), "CI must run the lab: {obstacle}");
    eprintln!("\nskipped: the lab; {obstacle}");
    false
}

/// The right to have a lab, until dropped.
pub struct Turn;

impl Turn {
    pub fn take() -> Self {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = ONE_HAS_ENDED.wait_while(running, |running| *running >= at_once()).unwrap();
        *running += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ONE_HAS_ENDED.notify_one();
    }
}

/// How often everything is to be played.
pub fn runs() -> usize {
    number("VIPKEEPER_LAB_RUNS")
}

/// How many labs may run at the same time; no more than the test program has threads.
pub fn at_once() -> usize {
    number("VIPKEEPER_LAB_AT_ONCE")
}

/// The number in a variable; 1 where it is not set.
pub fn number(variable: &str) -> usize {
    let number = env::var(variable).map_or(1, |value| value.parse().unwrap_or(0));
    assert!(number > 0, "{variable} is a number from 1 on");
    number
}

/// The product's choice among the hook's ancestors, against Pgpool's own titles.
fn the_guard_is_the_watchdog(lab: &Lab, leader: usize) {
    let guard = lab.leadership(leader).unwrap().guard.expect("a hook of Pgpool's finds its guard");
    assert_eq!(Machine::inner_pid(lab.watchdog(leader)), guard.pid, "the guard is the watchdog process");
}

fn only_the_leader_is_escalated(lab: &Lab, leader: usize) {
    let delegate_ip = lab.setup.method.delegate_ip().into();
    for node in lab.running() {
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
    stays_served(lab, leader, from);
}

/// The client has noticed nothing since `from`.
fn stays_served(lab: &Lab, leader: usize, from: Duration) {
    lab.is_served_by(leader).unwrap();
    let answers = lab.client.answers();
    let others = answers.iter().filter(|answer| answer.at > from && answer.through != lab.address(leader)).count();
    assert_eq!(others, 0, "answers through another node than the leader");
    assert!(outage(&answers, from) < s(1), "an outage of {} though the leader stayed", seconds(outage(&answers, from)));
}

/// When the client was first answered through a leader after its hook began.
fn first_answer(lab: &Lab, leader: usize, hook: Duration) -> Duration {
    let address = lab.address(leader);
    let answers = lab.client.answers();
    answers.iter().find(|answer| answer.through == address && answer.at > hook).expect("the client was served").at
}

/// Waits until another node than the old leader has the VIP.
fn another_leads(lab: &Lab, old: usize, at: Duration) -> Moved {
    let (leader, hook) = hook_after(lab, at, |node| node != old);
    served(lab, at, leader, hook)
}

/// Waits until a node of these begins a new claim. Gives the node, and when its hook started.
fn hook_after(lab: &Lab, at: Duration, may: impl Fn(usize) -> bool) -> (usize, Duration) {
    let (node, hook) = eventually("a node's hook runs", ELECTION, || {
        let begun = |node: usize| Some((node, lab.began(node).filter(|began| *began > at)?));
        (0..3).filter(|node| may(*node)).find_map(begun).ok_or_else(|| "nobody has a newer claim".to_owned())
    });
    assert!(hook <= now(), "the hook of {} goes by another clock than was thought", lab.name_of(node));
    (node, hook)
}

/// Waits until a node has led by one claim for a while: a Pgpool that lost peers and finds them again may change its mind
/// on the way there.
fn somebody_leads(lab: &Lab, at: Duration) -> Moved {
    let mut held = None;
    let (leader, hook) = eventually("one node leads on", 2 * ELECTION, || {
        let claim = lab.escalated().and_then(|node| Ok((node, lab.began(node).ok_or("no claim")?)));
        match (&claim, held) {
            (Ok(claim), Some((before, since))) if *claim == before && now() >= since + CALM => return Ok(*claim),
            (Ok(claim), Some((before, _))) if *claim == before => {}
            _ => held = claim.clone().ok().map(|claim| (claim, now())),
        }
        Err(format!("{claim:?} is not for long yet"))
    });
    served(lab, at, leader, hook)
}

fn served(lab: &Lab, at: Duration, leader: usize, hook: Duration) -> Moved {
    eventually("the client is served by the new leader", CLEAN, || lab.is_served_by(leader));
    Moved { at, leader, hook }
}

fn comes_back_as_standby(lab: &Lab, node: usize) {
    eventually("the old leader is back", ELECTION, || match lab.ask_watchdog(node)? {
        Some(word) if !word.escalated => Ok(()),
        word => Err(format!("its watchdog says {word:?}")),
    });
}

/// Pgpool believes so, by what `wait` told it in the place of `arping_cmd`.
fn has_the_address(lab: &Lab, leader: usize) {
    eventually("Pgpool acquires the address", ELECTION, || {
        let log = lab.log(leader, "pgpool");
        log.contains("successfully acquired the delegate IP").then_some(()).ok_or_else(|| "it has not".to_owned())
    });
}

/// No process of a hook keeps the watchdog's port.
fn the_port_is_free(lab: &Lab, node: usize) {
    let machine = lab.machine(node);
    assert_eq!(machine.family("pgpool"), Vec::<u32>::new(), "Pgpool is gone");
    machine.inside(|| TcpListener::bind(("0.0.0.0", WATCHDOG_PORT))).expect("nobody listens on the watchdog's port");
}

fn sleep_until(moment: Duration) {
    thread::sleep(moment.saturating_sub(now()));
}

pub fn others(node: usize) -> impl Iterator<Item = usize> {
    (0..3).filter(move |other| *other != node)
}
