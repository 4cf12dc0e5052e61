//! Side by side: the hook scripts of Pgpool-II's guide for AWS and vipkeeper, in turn, in the same lab with the same faults.
//!
//! `VIPKEEPER_LAB=guide cargo test --test lab -- --nocapture --test-threads 1 side_by_side` plays every failure once, or
//! as often as `VIPKEEPER_LAB_RUNS` says, and as many plays of a failure at the same time as `VIPKEEPER_LAB_AT_ONCE`.

use std::collections::BTreeMap;
use std::env;
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
use super::scenarios::{Set, UNAWARE, at_once, is_played, plain, runs};
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
const HUNG: Duration = Duration::from_secs(25);

/// How the VIP is moved: the method, and by how many route tables.
const WAYS: [(Method, usize, &str); 4] = [
    (Method::ElasticIp, 2, "Elastic IP"),
    (Method::Route, 2, "2 route tables"),
    (Method::Route, 8, "8 route tables"),
    (Method::SecondaryIp, 2, "secondary IP"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Stopped,
    Killed,
    WatchdogKilled,
    Hung,
    Throttled,
    LateDown,
    CutOff,
}

const FAILURES: [(Failure, &str); 7] = [
    (Failure::Stopped, "graceful stop"),
    (Failure::Killed, "`kill -9` of all of Pgpool"),
    (Failure::WatchdogKilled, "`kill -9` of the watchdog process alone"),
    (Failure::Hung, "all of Pgpool hangs for 25 s, and wakes"),
    (Failure::Throttled, "`kill -9` while EC2 throttles for 10 s"),
    (Failure::LateDown, "the old leader's `down` 12 s late"),
    (Failure::CutOff, "the leader is cut off from its peers and EC2 for 25 s"),
];

impl Failure {
    /// Whether the old leader's `down` comes, be it late.
    fn has_a_down(self) -> bool {
        matches!(self, Self::Stopped | Self::LateDown | Self::Hung)
    }

    /// The nodes that may lead afterwards. A watchdog process that is started again may win the election.
    fn successors(self, old: usize) -> impl Iterator<Item = usize> {
        (0..3).filter(move |node| self == Self::WatchdogKilled || *node != old)
    }
}

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

/// The failures that `VIPKEEPER_LAB_DEEDS` names, by commas; all where it names none.
fn failures() -> Vec<(Failure, &'static str)> {
    let Ok(names) = env::var("VIPKEEPER_LAB_DEEDS") else { return FAILURES.to_vec() };
    let failure = |name: &str| {
        let found = FAILURES.into_iter().find(|(failure, _)| format!("{failure:?}") == name.trim());
        found.unwrap_or_else(|| panic!("VIPKEEPER_LAB_DEEDS names {name:?}, and not one of {FAILURES:?}"))
    };
    names.split(',').map(failure).collect()
}

/// A play of the comparison.
#[derive(Debug, Clone, Copy)]
struct Play {
    /// The number of its row in the tables.
    row: usize,
    keeper: Keeper,
    failure: Failure,
    method: Method,
    tables: usize,
}

#[test]
fn side_by_side() {
    if !is_played(Set::Guide) {
        return;
    }
    let (mut rows, mut plays) = (Vec::new(), Vec::new());
    for (failure, what) in failures() {
        for (method, tables, way) in WAYS {
            let keepers = keepers(method);
            let in_turn = (0..runs()).flat_map(|_| keepers.iter().copied());
            plays.extend(in_turn.map(|keeper| Play { row: rows.len(), keeper, failure, method, tables }));
            rows.push((what, way));
        }
    }
    let all = plays.len();
    let table = play_all(plays, &rows);
    let is_lost = |came: &Came| came.outage == Span::ForGood;
    let lost = table.ours.iter().filter(|(_, all)| all.iter().any(is_lost));
    assert_eq!(lost.map(|(row, _)| rows[*row]).collect::<Vec<_>>(), Vec::new(), "vipkeeper lost the VIP");
    let played: usize = table.ours.values().chain(table.scripts.values()).map(Vec::len).sum();
    assert_eq!(played, all, "so many plays of so many came to an end");
}

/// The guide moves no secondary IP.
fn keepers(method: Method) -> &'static [Keeper] {
    match method {
        Method::ElasticIp | Method::Route => &[Keeper::Guide, Keeper::TimedVipkeeper],
        Method::SecondaryIp => &[Keeper::TimedVipkeeper],
    }
}

/// All plays, the scripts and vipkeeper in turn. One that fails keeps no other from being played.
fn play_all(plays: Vec<Play>, rows: &[(&str, &str)]) -> Table {
    let (left, table) = (Mutex::new(plays.into_iter()), Mutex::new(Table::default()));
    thread::scope(|scope| {
        for _ in 0..at_once() {
            scope.spawn(|| {
                loop {
                    let Some(next) = left.lock().unwrap().next() else { break };
                    let Ok(came) = catch_unwind(|| play(next)) else { continue };
                    eprintln!("{:?}: {next:?}: {came:?}", rows[next.row]);
                    let mut table = table.lock().unwrap();
                    table.add(next, came);
                    table.tell(rows);
                }
            });
        }
    });
    table.into_inner().unwrap()
}

fn play(Play { keeper, failure, method, tables, .. }: Play) -> Came {
    let late_down = failure == Failure::LateDown;
    let name = format!("side by side {keeper:?} {failure:?} {method:?} {tables}");
    let setup = Setup { late_down, authkey: None, keeper, tables, heard: true, ..plain(method) };
    let (lab, old) = start(failure, &name, setup);
    let at = now();
    let mut over = at;
    match failure {
        Failure::Stopped | Failure::LateDown => lab.begin_to_stop_pgpool(old, "fast"),
        Failure::Killed => lab.machine(old).kill("pgpool"),
        Failure::WatchdogKilled => lab.machine(old).kill_one(lab.watchdog(old)),
        Failure::Hung => {
            lab.machine(old).freeze("pgpool");
            thread::sleep((at + HUNG).saturating_sub(now()));
            lab.machine(old).thaw("pgpool");
            eventually("the watchdogs agree again", LONGEST, || lab.escalated());
        }
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
    while !is_over(&lab, failure, old, at) {
        assert!(now() < at + LONGEST, "{name}: neither served nor lost");
        thread::sleep(Duration::from_millis(100));
    }
    lab.vpc.assert_well();
    came(&lab, new_up(&lab, failure, old, at).expect("somebody is elected"), at, over)
}

/// A lab, and its leader. Where a watchdog is to be elected again, the leader is the node with the highest priority: another
/// one would lose the election to that.
fn start(failure: Failure, name: &str, setup: Setup) -> (Lab, usize) {
    for _ in 0..5 {
        let lab = Lab::start(name, setup);
        let old = lab.escalated().unwrap();
        if old == 0 || failure != Failure::WatchdogKilled {
            return (lab, old);
        }
    }
    panic!("{name}: the node with the highest priority never leads first");
}

/// Nothing will change any more: no hook runs, and the client has been served for a while or is lost.
fn is_over(lab: &Lab, failure: Failure, old: usize, at: Duration) -> bool {
    let answers = lab.client.answers();
    let last = answers.last().map_or(at, |answer| answer.at);
    let since = |node: usize| lab.hooks(node).into_iter().filter(move |hook| hook.began > at);
    if now() > last + FOR_GOOD && (0..3).flat_map(since).all(|hook| hook.ended.is_some()) {
        return true;
    }
    // It may still be to come, even after the new leader's `up`.
    if failure.has_a_down() && !since(old).any(|hook| hook.name == "down") {
        return false;
    }
    if new_up(lab, failure, old, at).is_none() {
        return false;
    }
    // The last hook's effect must have had time to show.
    let have_ended = (0..3).flat_map(since).all(|hook| hook.ended.is_some_and(|ended| now() > ended + SERVED));
    have_ended && now() < last + SERVED / 6 && outage(&answers, now() - SERVED) < SERVED / 6
}

/// The first `up` of a successor since the fault.
fn new_up(lab: &Lab, failure: Failure, old: usize, at: Duration) -> Option<(usize, TimedHook)> {
    let ups = failure.successors(old).flat_map(|node| lab.hooks(node).into_iter().map(move |hook| (node, hook)));
    ups.filter(|(_, hook)| hook.name == "up" && hook.began > at).min_by_key(|(_, hook)| hook.began)
}

/// Nothing was in anybody's way from `over` on.
fn came(lab: &Lab, (new, up): (usize, TimedHook), at: Duration, over: Duration) -> Came {
    let answers = lab.client.answers();
    let is_lost = answers.last().is_none_or(|answer| now() > answer.at + FOR_GOOD);
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

The guide has no scripts that move a secondary IP, so vipkeeper plays those rows alone. A watchdog process that is killed
alone is started again, and the same node is elected again, because its priority is the highest. Two plays of a row may meet different
elections, because Pgpool needs 2 s for one or 7 s, by chance ([why](../pgpool.md)); *hook* and *ours* have no election in them.

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

/// The reasons of what has no end, and what helps.
const NEVER: &str = "
Why some outages have no end, why some clients are told nothing, and what helps:

- **For good**, with the scripts: the old leader's `down` is late, or waits for EC2, or comes when Pgpool wakes. It runs after the
  new leader's `up`, and takes away whatever leads to the VIP, the new leader's bindings too. No setting of a client helps;
  somebody has to run the new leader's script again. vipkeeper knows which claim is the newer one.
- **All of Pgpool hangs**, the VIP by Elastic IP or secondary IP: the kernel of that node goes on acknowledging for processes that
  are stopped. So neither the waiting client nor the active one has a packet left to send, and none reaches the new leader,
  which would reset the connection. TCP keepalives are such packets. By the time that Pgpool wakes, EC2 carries nothing from
  that node to the clients. With routes, vipkeeper on that node resets the connections once it knows of the newer claim; the
  scripts only remove the address, when Pgpool wakes.
- **The watchdog process alone is killed**, with the scripts and 8 route tables: the new watchdog process waits for their `down`,
  which takes so long that another node is elected. The address goes without a word, so the waiting client is told nothing.
  TCP keepalives help.
- **The leader is cut off**: the waiting client sends nothing, and so reaches nobody who could tell it. With routes and secondary IP
  vipkeeper on the old leader resets its connection before the address goes; the scripts remove the address without a word.
  With an Elastic IP the connection belongs to the node's private address, which stays. TCP keepalives help, where the VIP
  leads to a node again.
- An active client is told when the VIP moves, because its next packet reaches the new leader. Where that is later with vipkeeper
  than with the scripts, it was Pgpool's election that took longer.

[What a client should set](../clients.md) has the settings.
";

const ROWS: &str = "| what happens | VIP by | runs | outage: scripts | vipkeeper | hook: scripts | vipkeeper | ratio | ours: scripts \
     | vipkeeper | ratio |\n|---|---|---|---|---|---|---|---|---|---|---|\n";

/// The plays that came to an end, by the number of their row.
#[derive(Default)]
struct Table {
    scripts: BTreeMap<usize, Vec<Came>>,
    ours: BTreeMap<usize, Vec<Came>>,
}

impl Table {
    fn add(&mut self, play: Play, came: Came) {
        let side = if play.keeper == Keeper::Guide { &mut self.scripts } else { &mut self.ours };
        side.entry(play.row).or_default().push(came);
    }

    /// Shows all rows so far, and leaves them in a file.
    fn tell(&self, rows: &[(&str, &str)]) {
        let (mut moved, mut held) = (String::new(), String::new());
        for (number, (what, way)) in rows.iter().enumerate() {
            let of = |side: &BTreeMap<usize, Vec<Came>>| side.get(&number).cloned().unwrap_or_default();
            let (scripts, ours) = (of(&self.scripts), of(&self.ours));
            if scripts.is_empty() && ours.is_empty() {
                continue;
            }
            let (before, after) = (cell(spans(&scripts, |came| came.outage)), cell(spans(&ours, |came| came.outage)));
            let _ = write!(moved, "| {what} | {way} | {}, {} | {before} | {after} |", scripts.len(), ours.len());
            for part in [|came: &Came| came.hook, |came: &Came| came.ours] {
                let (theirs, ours) = (spans(&scripts, part), spans(&ours, part));
                let ratio = ratio(theirs.as_ref(), ours.as_ref());
                let _ = write!(moved, " {} | {} | {ratio} |", cell(theirs), cell(ours));
            }
            moved.push('\n');
            let _ = write!(held, "| {what} | {way} |");
            for one in [|came: &Came| came.held.active, |came: &Came| came.held.waiting, |came: &Came| came.held.quiet]
            {
                let _ = write!(held, " {} | {} |", cell(fate(&scripts, one)), cell(fate(&ours, one)));
            }
            held.push('\n');
        }
        eprintln!("\n{ROWS}{moved}{HELD}{held}");
        let text = format!("{HEAD}Medians, {}.\n\n{ROWS}{moved}{HELD}{held}{NEVER}", report::machine());
        report::write("side-by-side.md", &text);
    }
}

/// A dash where nothing was played.
fn cell(value: Option<impl Display>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

fn fate(runs: &[Came], one: impl Fn(&Came) -> Fate) -> Option<Fate> {
    median(runs.iter().map(one).collect())
}

/// The median, and how many of how many had no end.
struct Spans {
    middle: Span,
    lost: usize,
    all: usize,
}

/// None where nothing was played.
fn spans(runs: &[Came], part: impl Fn(&Came) -> Span) -> Option<Spans> {
    let spans: Vec<_> = runs.iter().map(part).collect();
    let lost = spans.iter().filter(|span| **span == Span::ForGood).count();
    Some(Spans { all: spans.len(), lost, middle: median(spans)? })
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

fn ratio(theirs: Option<&Spans>, ours: Option<&Spans>) -> String {
    let (Some(theirs), Some(ours)) = (theirs, ours) else { return cell(None::<String>) };
    match (theirs.middle, ours.middle) {
        (Span::Lasted(theirs), Span::Lasted(ours)) => {
            let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
            if ratio < 10.0 { format!("{ratio:.1} : 1") } else { format!("{ratio:.0} : 1") }
        }
        (Span::ForGood, Span::Lasted(_)) => "∞".to_owned(),
        (_, Span::ForGood) => String::new(),
    }
}
