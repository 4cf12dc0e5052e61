//! Side by side: the hook scripts of Pgpool-II's guide for AWS and vipkeeper, in turn, in the same lab with the same faults.
//!
//! `VIPKEEPER_LAB=guide cargo test --test lab -- --nocapture --test-threads 1 side_by_side` plays every failure once, or
//! as often as `VIPKEEPER_LAB_RUNS` says, and as many plays of a failure at the same time as `VIPKEEPER_LAB_AT_ONCE`.

use std::fmt::{Display, Write as _};
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use ec2_endpoint::{Fault, FaultKind};

use super::client::{Answer, now};
use super::cluster::{Lab, eventually};
use super::held::{Fate, Fates};
use super::keeper::{Keeper, TimedHook};
use super::report::{self, median, outage, seconds};
use super::scenarios::{Set, UNAWARE, at_once, is_played, others, plain, runs};
use super::software::Setup;
use super::vpc::Method;

/// An outage of this length has no end: nothing is tried again any more.
const FOR_GOOD: Duration = Duration::from_mins(1);
/// So long the client must be served without a pause for it to be over.
const SERVED: Duration = Duration::from_secs(3);
/// Nothing that is still to come takes longer: an election and the slowest hook.
const LONGEST: Duration = Duration::from_mins(4);

const THROTTLED: Duration = Duration::from_secs(10);
const CUT_OFF: Duration = Duration::from_secs(25);

/// How the VIP is moved: the method, and by how many route tables.
const WAYS: [(Method, usize, &str); 3] =
    [(Method::ElasticIp, 2, "Elastic IP"), (Method::Route, 2, "2 route tables"), (Method::Route, 8, "8 route tables")];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Stopped,
    Killed,
    Throttled,
    LateDown,
    CutOff,
}

const FAILURES: [(Failure, &str); 5] = [
    (Failure::Stopped, "graceful stop"),
    (Failure::Killed, "`kill -9` of all of Pgpool"),
    (Failure::Throttled, "`kill -9` while EC2 throttles for 10 s"),
    (Failure::LateDown, "the old leader's `down` 12 s late"),
    (Failure::CutOff, "the leader is cut off from its peers and EC2 for 25 s"),
];

/// A time, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Span {
    Lasted(Duration),
    ForGood,
}

/// The consequences of a failure.
#[derive(Debug, Clone)]
struct Came {
    outage: Span,
    /// The new leader's `up`, from its start to its end.
    hook: Span,
    /// From the start of that `up`, or from the end of EC2's fault where that is later, to the first answer through its
    /// node.
    ours: Span,
    /// The ends of the connections that were open before.
    held: Fates,
}

#[test]
fn side_by_side() {
    if !is_played(Set::Guide) {
        return;
    }
    let mut table = Table::default();
    let (mut failed, mut lost) = (0, Vec::new());
    for (failure, what) in FAILURES {
        for (method, tables, way) in WAYS {
            let (guide, ours) = play_all(failure, method, tables);
            eprintln!("{what}, {way}: scripts {guide:?}, vipkeeper {ours:?}");
            failed += 2 * runs() - guide.len() - ours.len();
            if ours.iter().any(|came| came.outage == Span::ForGood) {
                lost.push(format!("{what}, {way}"));
            }
            if !guide.is_empty() && !ours.is_empty() {
                table.tell(what, way, &guide, &ours);
            }
        }
    }
    assert_eq!(lost, Vec::<String>::new(), "vipkeeper lost the VIP");
    assert_eq!(failed, 0, "so many plays failed");
}

/// All runs of a failure, the scripts and vipkeeper in turn. One that fails keeps no other from being played.
fn play_all(failure: Failure, method: Method, tables: usize) -> (Vec<Came>, Vec<Came>) {
    let in_turn = (0..runs()).flat_map(|_| [Keeper::Guide, Keeper::TimedVipkeeper]);
    let (left, played) = (Mutex::new(in_turn), Mutex::new((Vec::new(), Vec::new())));
    thread::scope(|scope| {
        for _ in 0..at_once() {
            scope.spawn(|| {
                loop {
                    let Some(keeper) = left.lock().unwrap().next() else { break };
                    let Ok(came) = catch_unwind(|| play(keeper, failure, method, tables)) else { continue };
                    let mut played = played.lock().unwrap();
                    if keeper == Keeper::Guide { played.0.push(came) } else { played.1.push(came) }
                }
            });
        }
    });
    played.into_inner().unwrap()
}

fn play(keeper: Keeper, failure: Failure, method: Method, tables: usize) -> Came {
    let late_down = failure == Failure::LateDown;
    let name = format!("side by side {keeper:?} {failure:?} {method:?} {tables}");
    let setup = Setup { late_down, authkey: None, keeper, tables, heard: true, ..plain(method) };
    let lab = Lab::start(&name, setup);
    let old = lab.escalated().unwrap();
    let at = now();
    let mut over = at;
    match failure {
        Failure::Stopped | Failure::LateDown => lab.begin_to_stop_pgpool(old, "fast"),
        Failure::Killed => lab.machine(old).kill("pgpool"),
        Failure::Throttled => {
            let throttle = lab.vpc.endpoint.service().add_fault(Fault::new(FaultKind::Throttle));
            lab.machine(old).kill("pgpool");
            thread::sleep((at + THROTTLED).saturating_sub(now()));
            lab.vpc.endpoint.service().remove_fault(throttle);
            over = now();
        }
        Failure::CutOff => {
            lab.cut(&[old], &[old]);
            thread::sleep((at + CUT_OFF).saturating_sub(now()));
            lab.heal();
            // The old leader's `down` may have waited for EC2 all the while, and is under way only now.
            eventually("the watchdogs agree again", LONGEST, || lab.escalated());
        }
    }
    let is_stopped = matches!(failure, Failure::Stopped | Failure::LateDown);
    while !is_over(&lab, is_stopped, old, at) {
        assert!(now() < at + LONGEST, "{name}: neither served nor lost");
        thread::sleep(Duration::from_millis(100));
    }
    lab.vpc.assert_well();
    came(&lab, old, at, over)
}

/// Nothing will change any more: no hook runs, and the client has been served for a while or is lost.
fn is_over(lab: &Lab, is_stopped: bool, old: usize, at: Duration) -> bool {
    let answers = lab.client.answers();
    let last = answers.last().map_or(at, |answer| answer.at);
    let since = |node: usize| lab.hooks(node).into_iter().filter(move |hook| hook.began > at);
    if now() > last + FOR_GOOD && (0..3).flat_map(since).all(|hook| hook.ended.is_some()) {
        return true;
    }
    // The old leader's `down` may still be to come, even after the new one's `up`.
    if is_stopped && !lab.hooks(old).iter().any(|hook| hook.name == "down" && hook.began > at) {
        return false;
    }
    if new_up(lab, old, at).is_none() {
        return false;
    }
    // The last hook's effect must have had time to show.
    let have_ended = (0..3).flat_map(since).all(|hook| hook.ended.is_some_and(|ended| now() > ended + SERVED));
    have_ended && now() < last + SERVED / 6 && outage(&answers, now() - SERVED) < SERVED / 6
}

/// The first `up` of another node since the fault.
fn new_up(lab: &Lab, old: usize, at: Duration) -> Option<(usize, TimedHook)> {
    let ups = others(old).flat_map(|node| lab.hooks(node).into_iter().map(move |hook| (node, hook)));
    ups.filter(|(_, hook)| hook.name == "up" && hook.began > at).min_by_key(|(_, hook)| hook.began)
}

/// Nothing was in anybody's way from `over` on.
fn came(lab: &Lab, old: usize, at: Duration, over: Duration) -> Came {
    let answers = lab.client.answers();
    let is_lost = answers.last().is_none_or(|answer| now() > answer.at + FOR_GOOD);
    let (new, up) = new_up(lab, old, at).expect("the others elect somebody");
    let address = lab.address(new);
    let is_first = |answer: &&Answer| answer.through == address && answer.at > up.began;
    let first = answers.iter().find(is_first).map(|answer| answer.at.saturating_sub(up.began.max(over)));
    Came {
        outage: if is_lost { Span::ForGood } else { Span::Lasted(outage(&answers, at)) },
        hook: up.ended.map_or(Span::ForGood, |ended| Span::Lasted(ended - up.began)),
        ours: first.map_or(Span::ForGood, Span::Lasted),
        held: lab.fates(at, Some(UNAWARE)),
    }
}

const HEAD: &str = "# The guide's scripts and vipkeeper, side by side

Pgpool-II's guide for AWS moves the VIP by hook scripts that call the AWS CLI. Here the same three machines run such scripts
(`tests/lab/guide`: the guide's calls in the guide's order) and vipkeeper in turn, with 150 ms for each call to EC2. Written by
`VIPKEEPER_LAB=guide VIPKEEPER_LAB_REPORT=docs/lab cargo test --test lab -- --nocapture --test-threads 1 side_by_side`.

*Outage*: the longest time without an answer to a client that asks each 50 ms, Pgpool's election included. *Hook*: the new
leader's `if_up_cmd`, from start to end. *Ours*: from the start of that hook to the first query answered through the new
leader; where EC2 throttles, from the end of that if it is later, for both. *For good*: a minute later there was still no
answer, and nobody was trying any more. *Runs*: of the scripts, and of vipkeeper.

EC2 begins to throttle when Pgpool is killed: nothing can move for the first 10 s, whoever tries, and outage and hook have
what is left of them. Each start of the AWS CLI costs the scripts half a second of computing or more, and longer on a busy
machine. For the scripts, Pgpool runs as root, and its `arping_cmd` is `true`. The leader that is cut off stays reachable
for clients; its `down` waits for EC2 meanwhile.

";

const HELD: &str = "
## Connections that were open before

Three connections are opened before anything happens, without timeouts or keepalives: *active* asks each 0.1 s, *waiting* waits
for an answer that never comes, *quiet* asks its first question after 20 s. A time is how long after the failure the client
was told that its connection has ended; for *quiet*, how long after its question. *Lives*: it worked to the end.

| what happens | VIP by | active: scripts | vipkeeper | waiting: scripts | vipkeeper | quiet: scripts | vipkeeper |
|---|---|---|---|---|---|---|---|
";

#[derive(Default)]
struct Table {
    rows: String,
    held: String,
}

impl Table {
    fn tell(&mut self, what: &str, way: &str, guide: &[Came], ours: &[Came]) {
        let (before, after) = (spans(guide, |came| came.outage), spans(ours, |came| came.outage));
        let _ = write!(self.rows, "| {what} | {way} | {}, {} | {before} | {after} |", guide.len(), ours.len());
        for part in [|came: &Came| came.hook, |came: &Came| came.ours] {
            let (theirs, ours) = (spans(guide, part), spans(ours, part));
            let ratio = ratio(theirs.middle, ours.middle);
            let _ = write!(self.rows, " {theirs} | {ours} | {ratio} |");
        }
        self.rows.push('\n');
        let _ = write!(self.held, "| {what} | {way} |");
        for one in [|came: &Came| came.held.active, |came: &Came| came.held.waiting, |came: &Came| came.held.quiet] {
            let _ = write!(self.held, " {} | {} |", fate(guide, one), fate(ours, one));
        }
        self.held.push('\n');
        let head = "| what happens | VIP by | runs | outage: scripts | vipkeeper | hook: scripts | vipkeeper | ratio \
                    | ours: scripts | vipkeeper | ratio |\n|---|---|---|---|---|---|---|---|---|---|---|\n";
        let text = format!("{HEAD}Medians, {}.\n\n{head}{}{HELD}{}", report::machine(), self.rows, self.held);
        eprintln!("\n{head}{}{HELD}{}", self.rows, self.held);
        report::write("side-by-side.md", &text);
    }
}

fn fate(runs: &[Came], one: impl Fn(&Came) -> Fate) -> Fate {
    median(runs.iter().map(one).collect()).expect("every failure is played")
}

/// The median, and how many of how many had no end.
struct Spans {
    middle: Span,
    lost: usize,
    all: usize,
}

fn spans(runs: &[Came], part: impl Fn(&Came) -> Span) -> Spans {
    let spans: Vec<_> = runs.iter().map(part).collect();
    let lost = spans.iter().filter(|span| **span == Span::ForGood).count();
    Spans { all: spans.len(), lost, middle: median(spans).expect("every failure is played") }
}

impl Display for Spans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.middle {
            Span::ForGood if self.all == 1 => return f.write_str("**for good**"),
            Span::ForGood => return write!(f, "**for good** in {} of {}", self.lost, self.all),
            Span::Lasted(time) if time < Duration::from_secs(1) => write!(f, "{:.3} s", time.as_secs_f64())?,
            Span::Lasted(time) => f.write_str(&seconds(time))?,
        }
        if self.lost > 0 {
            write!(f, " (for good in {} of {})", self.lost, self.all)?;
        }
        Ok(())
    }
}

fn ratio(theirs: Span, ours: Span) -> String {
    match (theirs, ours) {
        (Span::Lasted(theirs), Span::Lasted(ours)) => {
            let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
            if ratio < 10.0 { format!("{ratio:.1} : 1") } else { format!("{ratio:.0} : 1") }
        }
        (Span::ForGood, Span::Lasted(_)) => "∞".to_owned(),
        (_, Span::ForGood) => String::new(),
    }
}
