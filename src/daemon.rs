//! The loop: why it woke, one pass, when to wake next. Owns time, backoff and shutdown; decides nothing about bindings.
//!
//! Everything happens on one thread. Reads and writes are futures that the loop itself polls, so that dropping the
//! daemon ends them: a daemon that ends moves nothing. An event says *when* to look, never *what* is true.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::ec2::{Ec2Read, Ec2Write, Urgency};
use crate::identity::Node;
use crate::machine::kernel::Kernel;
use crate::observe::seen::Moment;
use crate::observe::{Known, Source, World, observe};
use crate::pgpool::watchdog::Asked;
use crate::report::{HEARTBEAT, News, PassResult, Reporter};
use crate::state_dir::Machine;
use crate::status::Status;
use crate::wake::Wake;

pub use self::reload::{Reload, Reloaded};

use self::ask::LastWord;
use self::reads::{Answer, ReadFuture, Reads};
use self::vip::VipLoop;
use self::write::{After, Busy, WriteFuture, Written};

mod ask;
mod attempts;
mod document;
mod reads;
mod reload;
mod vip;
mod write;

/// After an own write, EC2 is looked at again this long after it: its reads lag its writes.
const AFTER_WRITE: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// A claim's first look waits for its takes to be accepted, but no longer than this.
const LOOK_DESPITE_WRITES: Duration = Duration::from_secs(1);
/// How many waiting changes one success of EC2 releases.
const RELEASED_AT_ONCE: usize = 2;
/// The same once a fault is over: EC2's buckets have filled up meanwhile.
const RELEASED_AFTER_FAULT: usize = 8;
/// What failed before and succeeds when nothing else has for this long tells that a fault is over.
const NOTHING_ACCEPTED_FOR: Duration = Duration::from_secs(2);
/// The interval varies by this share, so that the nodes of an account do not look all at once.
const JITTER: f64 = 0.25;

/// Finds out who this node is. A trait so that the loop can try again for as long as it takes.
#[expect(async_fn_in_trait, reason = "the loop runs on one thread, and no caller needs the futures to be Send")]
pub trait Identify {
    /// # Errors
    /// One line that says what could not be found out, and what to do.
    async fn identify(&self, config: &Config) -> Result<Node, String>;
}

/// Asks Pgpool's watchdog for its word.
pub type Ask = Box<dyn Fn() -> LocalBoxFuture<'static, Asked>>;

/// What the daemon works with. Each is a trait, so that the simulation runs this very loop.
pub struct Surroundings<E, H, I, M> {
    pub ec2: Rc<E>,
    pub host: Rc<H>,
    pub identify: Rc<I>,
    pub machine: M,
    pub reporter: Rc<dyn Reporter>,
    pub reload: Reload,
    pub ask_watchdog: Ask,
    /// Seeds the jitter.
    pub rng: fastrand::Rng,
}

/// The daemon of one node.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own, and they are independent")]
pub struct Daemon<E, H, I, M> {
    config: Config,
    /// What only a new process can change is compared with this.
    started_with: Config,
    around: Surroundings<E, H, I, M>,
    started: Instant,
    started_ms: u64,
    known: Option<Known>,
    world: World,
    vips: Vec<VipLoop>,
    reads: Reads,
    watchdog: LastWord,
    reading: FuturesUnordered<ReadFuture>,
    writing: FuturesUnordered<WriteFuture>,
    busy: Busy,
    /// When EC2 last accepted a change.
    accepted_at: Moment,
    /// When EC2 last answered again after it had not.
    fault_over_at: Moment,
    /// A read succeeded that had failed, since the last plans.
    recovered: bool,
    /// Desired-state files are to be read again before the next step.
    desired_stale: bool,
    /// The kernel's addresses are to be read again before the next step.
    local_stale: bool,
    next_round: Moment,
    /// Further looks that an own write asked for.
    later_rounds: BTreeSet<Moment>,
    /// When a claim's first look is due although its writes are still under way; `None` once it began.
    first_look: Option<Moment>,
    /// A look is due as soon as no write is under way.
    look_when_idle: bool,
    /// Who this node is is to be found out again.
    identify_anew: bool,
    next_identify: Moment,
    identify_backoff: Backoff,
    problems: document::Problems,
    /// The status that was handed over last.
    told: Option<Status>,
    /// When the next one is to be, even if it says nothing new.
    tell_by: Moment,
}

impl<E, H, I, M> Daemon<E, H, I, M>
where
    E: Ec2Read + Ec2Write + 'static,
    H: Kernel + 'static,
    I: Identify + 'static,
    M: Machine,
{
    /// A daemon that has not looked at anything yet, but for what an earlier one persisted.
    #[must_use]
    pub fn new(config: Config, around: Surroundings<E, H, I, M>) -> Self {
        let wall_ms = around.machine.wall_ms();
        let vips = config.vips.iter().map(|vip| VipLoop::new(vip.clone(), &around.machine, Moment::ZERO, wall_ms));
        let vips = vips.collect();
        Self {
            started_with: config.clone(),
            config,
            started: Instant::now(),
            started_ms: wall_ms,
            known: None,
            world: World::default(),
            vips,
            reads: Reads::default(),
            watchdog: LastWord::default(),
            reading: FuturesUnordered::new(),
            writing: FuturesUnordered::new(),
            busy: Busy::default(),
            accepted_at: Moment::ZERO,
            fault_over_at: Moment::ZERO,
            recovered: false,
            desired_stale: true,
            local_stale: true,
            next_round: Moment::ZERO,
            later_rounds: BTreeSet::new(),
            first_look: None,
            look_when_idle: false,
            identify_anew: false,
            next_identify: Moment::ZERO,
            identify_backoff: Backoff::default(),
            problems: document::Problems::default(),
            told: None,
            tell_by: Moment::ZERO,
            around,
        }
    }

    /// Something about the daemon as a whole that an operator should know from the start.
    pub fn problem(&mut self, reason: &'static str, message: String) {
        let wall_ms = self.around.machine.wall_ms();
        self.problems.raise(&*self.around.reporter, reason, message, wall_ms);
    }

    /// Turns until it is told to stop, or nobody is left to tell it. Moves nothing when it ends.
    pub async fn run(mut self, mut wakes: mpsc::Receiver<Wake>) {
        self.keep_room();
        loop {
            self.turn();
            let wake_at = self.started + self.next_wake();
            tokio::select! {
                biased;
                wake = wakes.recv() => {
                    let Some(wake) = wake else { break };
                    if !self.woken(wake) { break }
                    while let Ok(wake) = wakes.try_recv() {
                        if !self.woken(wake) { return self.stop() }
                    }
                }
                Some(written) = self.writing.next() => self.written(&written),
                Some(answer) = self.reading.next() => {
                    self.answered(answer);
                    // Those that have come as well belong to the same step.
                    while let Some(Some(answer)) = self.reading.next().now_or_never() {
                        self.answered(answer);
                    }
                }
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
        self.stop();
    }

    fn stop(self) {
        self.around.reporter.news(&News::Stopping);
    }

    fn now(&self) -> Moment {
        self.started.elapsed()
    }

    /// Notes why we woke; what is true is read afterwards. Says whether to go on.
    fn woken(&mut self, wake: Wake) -> bool {
        match wake {
            Wake::HookWrites => self.make_room(),
            Wake::DesiredChanged | Wake::GuardDied(_) => {
                // Another hook may have begun to write meanwhile.
                self.make_room();
                self.desired_stale = true;
                // What is to go must be seen first; a look that failed is not waited out.
                self.local_stale |= !matches!(self.world.local, Source::Read { .. });
            }
            Wake::LocalAddress => self.local_stale = true,
            Wake::Config => self.reload(),
            Wake::Shutdown => return false,
        }
        true
    }

    /// Keeps room for hooks that find the file system full, and tells whether there is any.
    fn keep_room(&mut self) {
        const REASON: &str = "NoReserve";
        let reporter = &*self.around.reporter;
        match self.around.machine.keep_room() {
            Err(message) => {
                reporter.news(&News::Reserve { missing: Some(&message) });
                self.problems.note(REASON, message, self.around.machine.wall_ms());
            }
            Ok(()) if self.problems.forget(REASON) => reporter.news(&News::Reserve { missing: None }),
            Ok(()) => {}
        }
    }

    /// Leaves it to a hook that needs it now.
    fn make_room(&mut self) {
        if self.around.machine.make_room() {
            self.keep_room();
        }
    }

    /// One step: from what is known now to what is done now.
    fn turn(&mut self) {
        let finished = self.reads.finished();
        // Every pass reads the files and the kernel afresh, whatever woke it.
        let due = self.round_is_due();
        // The watchdog's word stands until it is asked again.
        if self.desired_stale || due || self.ask_is_due() {
            self.read_desired();
        }
        self.local_stale |= due;
        if self.local_stale && !self.reads.reading_local {
            self.local_stale = false;
            self.reading.push(self.reads.start_local(&self.around.host, self.now()));
        }
        self.identify();
        self.decide();
        // The plans that a round's answers lead to belong to its pass.
        if let Some(round) = finished {
            self.round_over(&round);
        }
        self.look_if_due();
        if self.ask_is_due() {
            self.ask();
        }
        self.say();
    }

    fn read_desired(&mut self) {
        self.desired_stale = false;
        for keeper in &mut self.vips {
            let heard = self.watchdog.heard(keeper.config.delegate_ip);
            let now = self.started.elapsed();
            let reporter = &*self.around.reporter;
            if keeper.read_desired(&mut self.around.machine, self.config.witness, heard, now, reporter) {
                // The first look belongs after the takes: what it shows before them is about to change.
                self.look_when_idle = true;
                self.first_look = Some(now + LOOK_DESPITE_WRITES);
                // What the old word asked for and still waits for the rate limit must not stand in the new one's way.
                self.busy.want_nothing(keeper.config.delegate_ip);
            }
        }
    }

    /// Plans for each VIP, and starts what the plans ask for.
    fn decide(&mut self) {
        let Some(known) = &self.known else { return };
        let now = self.now();
        let wall_ms = self.around.machine.wall_ms();
        let mut not_persisted = None;
        for keeper in &mut self.vips {
            let (vip, mut observed) = observe(&self.config, &keeper.config, known, &self.world);
            observed.witness = self.watchdog.witness(vip.delegate_ip);
            keeper.decide(vip, observed, now, wall_ms, &*self.around.reporter);
        }
        // What waits is known once the answer that tells of a fault's end was planned with.
        if std::mem::take(&mut self.recovered) {
            self.fault_over_at = now;
            self.release_held_back(true);
        }
        for keeper in &mut self.vips {
            let (ec2, host, reporter) = (&self.around.ec2, &self.around.host, &self.around.reporter);
            self.writing.extend(keeper.start(ec2, host, &mut self.busy, self.reads.reading_local, now, reporter));
            // The writes go out when they are first polled: what they rest on is kept by then.
            if let Err(message) = keeper.persist(&self.around.machine) {
                not_persisted = Some(message);
            }
        }
        match not_persisted {
            Some(message) => self.problems.raise(&*self.around.reporter, "NotPersisted", message, wall_ms),
            None => self.problems.solve(&*self.around.reporter, "NotPersisted"),
        }
    }

    /// A write ended.
    fn written(&mut self, written: &Written) {
        let now = self.now();
        let wall_ms = self.around.machine.wall_ms();
        self.busy.done(&written.write);
        let Some(keeper) = self.vips.iter_mut().find(|keeper| keeper.config.delegate_ip == written.write.vip) else {
            return;
        };
        let errand = &written.write.errand;
        let fault_over =
            keeper.hurries(errand) || (keeper.was_held_up(errand) && now >= self.accepted_at + NOTHING_ACCEPTED_FOR);
        let after = keeper.written(written, now, wall_ms, &mut self.around.rng, &*self.around.reporter);
        if !written.write.action.is_cloud() {
            self.local_stale = true;
            return;
        }
        match after {
            After::Confirm => {
                // The looks after the last write serve those before it as well.
                self.later_rounds = AFTER_WRITE.iter().map(|delay| now + *delay).collect();
            }
            After::LookNow => self.look_when_idle = true,
            After::LookSoon => drop(self.later_rounds.insert(now + AFTER_WRITE[0])),
            After::Nothing => {}
        }
        // A claim has converged once everything that it took was seen.
        self.look_when_idle |= after == After::Confirm && keeper.is_taking();
        if written.is_accepted() {
            self.accepted_at = now;
            if fault_over {
                self.fault_over_at = now;
            }
            self.release_held_back(fault_over);
        } else if written.is_unanswered() && now.saturating_sub(written.took) < self.fault_over_at {
            // It was sent into a fault that has been over since. Where it perhaps happened, it waits for a look.
            self.look_when_idle = true;
            self.release_held_back(true);
        }
    }

    /// EC2 works again, by what it just answered: a few of the changes that wait for their next try need not wait longer.
    /// Each that succeeds releases as many again, so that a fault is left quickly, and a bucket that is still nearly
    /// empty is not run dry. A fault that is over is told by a read that had failed and succeeds, and by what was tried
    /// again because of it.
    fn release_held_back(&mut self, fault_over: bool) {
        let now = self.now();
        let mut most = if fault_over { RELEASED_AFTER_FAULT } else { RELEASED_AT_ONCE };
        for keeper in &mut self.vips {
            most -= keeper.release_held_back(most, fault_over, &self.busy, now);
        }
    }

    /// An answer to a read came.
    fn answered(&mut self, answer: Answer) {
        let now = self.now();
        let reporter = Rc::clone(&self.around.reporter);
        match answer {
            Answer::Identity(Ok(node)) => {
                self.identify_backoff.reset();
                self.reads.identifying = false;
                self.problems.solve(&*reporter, "NoIdentity");
                if self.known.as_ref().is_some_and(|known| is_same(known.node(), &node)) {
                    return;
                }
                reporter.news(&News::Started {
                    version: env!("CARGO_PKG_VERSION"),
                    instance: Some(&node.instance),
                    region: Some(&node.region),
                });
                match &mut self.known {
                    Some(known) => known.become_node(node),
                    None => self.known = Some(Known::new(node)),
                }
                self.reads.forget_choices();
                self.next_round = now;
            }
            Answer::Identity(Err(message)) => {
                self.reads.identifying = false;
                // What a reload asked for is asked again, also by a node that knew itself before.
                self.identify_anew = true;
                self.next_identify = now + self.identify_backoff.next_delay(&mut self.around.rng);
                let wall_ms = self.around.machine.wall_ms();
                self.problems.raise(&*reporter, "NoIdentity", message, wall_ms);
            }
            Answer::Choice(choice, tables) => {
                let wall_ms = self.around.machine.wall_ms();
                let tables = self.reads.chosen(&choice, tables, wall_ms, &*reporter);
                if let (Some(known), Some(tables)) = (&mut self.known, tables) {
                    known.learn_choice(choice, &tables);
                    self.look_when_idle |= !tables.is_empty();
                }
            }
            Answer::Word(asked) => self.heard(asked),
            Answer::Local(read) => {
                let wall_ms = self.around.machine.wall_ms();
                self.reads.local(read, &mut self.world, wall_ms, &*reporter);
            }
            Answer::Source(read) => {
                let wall_ms = self.around.machine.wall_ms();
                let recovered = self.reads.answered(read, &mut self.world, wall_ms, &*reporter);
                if let Some(known) = &mut self.known {
                    known.learn(&self.world);
                }
                self.recovered |= recovered;
            }
        }
    }

    /// A whole round was answered: says how it went and sets the next one.
    fn round_over(&mut self, round: &reads::Finished) {
        let now = self.now();
        self.tell_pass(round);
        let eager = self.vips.iter().any(|keeper| keeper.is_eager(now));
        let interval = self.interval();
        let retry = self.reads.retry_delay(round, eager, &mut self.around.rng);
        // One source that fails makes nobody look at the others less often.
        self.next_round = now + retry.map_or(interval, |delay| delay.min(interval));
        // When each source was read is told once for all of them.
        self.tell_by = now;
    }

    fn tell_pass(&self, round: &reads::Finished) {
        let result = if round.failed == round.asked {
            PassResult::Failed
        } else if round.failed > 0 || self.vips.iter().any(VipLoop::is_failing) {
            PassResult::Partial
        } else if !self.writing.is_empty() {
            PassResult::Acting
        } else if self.vips.iter().all(VipLoop::is_quiet) {
            PassResult::InSync
        } else {
            PassResult::Waiting
        };
        let duration = self.now().saturating_sub(round.began);
        self.around.reporter.news(&News::PassDone { result, duration });
    }

    fn interval(&mut self) -> Duration {
        let often = self.vips.iter().any(VipLoop::looks_often);
        let interval = if often { self.config.intervals.leader } else { self.config.intervals.standby };
        interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * self.around.rng.f64())
    }

    fn identify(&mut self) {
        let lost = self.known.as_ref().is_some_and(|known| Reads::own_eni_missing(known, &self.world));
        let needed = self.known.is_none() || lost || self.identify_anew;
        if !needed || self.reads.identifying || self.now() < self.next_identify {
            return;
        }
        self.reads.identifying = true;
        self.next_identify = self.now() + reads::IDENTIFY_AGAIN;
        self.identify_anew = false;
        let (identify, config) = (Rc::clone(&self.around.identify), self.config.clone());
        self.reading.push(Box::pin(async move { Answer::Identity(identify.identify(&config).await) }));
    }

    fn round_is_due(&self) -> bool {
        let now = self.now();
        let idle = self.look_when_idle && self.busy.no_cloud_write();
        let planned = self.later_rounds.first().copied().into_iter().chain(self.first_look).any(|at| at <= now);
        let second_look = self.vips.iter().filter_map(VipLoop::look_at).min().is_some_and(|at| at <= now);
        let wanted = idle || planned || second_look || now >= self.next_round;
        let overtakes = self.overtaken_at().is_some_and(|at| at <= now);
        self.known.is_some() && (overtakes || (wanted && !self.reads.under_way()))
    }

    /// When the next round begins although this one is not over: a claim waits for EC2 to answer again.
    fn overtaken_at(&self) -> Option<Moment> {
        let now = self.now();
        let failed_at = self.vips.iter().filter_map(|keeper| keeper.held_up_at(now)).max()?;
        self.reads.overtaken_at(failed_at)
    }

    /// Starts a round of reads if one is due.
    fn look_if_due(&mut self) {
        if !self.round_is_due() {
            return;
        }
        self.keep_room();
        if let Some(round) = self.reads.overtaken() {
            self.tell_pass(&round);
        }
        let Some(known) = &self.known else { return };
        let now = self.now();
        self.look_when_idle &= !self.busy.no_cloud_write();
        self.later_rounds.retain(|at| *at > now);
        self.first_look = None;
        let urgency = self.vips.iter().map(|keeper| keeper.urgency(now)).max().unwrap_or(Urgency::Normal);
        for read in self.reads.start(known, &self.config, &self.around.ec2, &mut self.world, urgency, now) {
            self.reading.push(read);
        }
        self.ask();
        self.next_round = now + self.config.intervals.standby.max(self.config.intervals.leader) * 2;
    }

    fn next_wake(&self) -> Moment {
        let now = self.now();
        // A kernel that is asked already is asked again once it has answered.
        if self.desired_stale || (self.local_stale && !self.reads.reading_local) {
            return now;
        }
        let mut next = self.tell_by;
        if self.known.is_none() {
            // An answer that is on its way wakes the loop by itself.
            return if self.reads.identifying { next } else { next.min(self.next_identify.max(now)) };
        }
        let retries = self.vips.iter().filter_map(|keeper| keeper.next_try(&self.busy, self.reads.reading_local));
        next = retries.min().map_or(next, |at| next.min(at));
        next = self.next_ask().map_or(next, |at| next.min(at));
        if !self.reads.under_way() {
            next = next.min(self.next_round);
            let planned = self.later_rounds.first().copied().into_iter().chain(self.first_look);
            next = planned.fold(next, Moment::min);
            next = self.vips.iter().filter_map(VipLoop::look_at).min().map_or(next, |at| next.min(at));
            if self.look_when_idle && self.busy.no_cloud_write() {
                next = now;
            }
        }
        self.overtaken_at().map_or(next, |at| next.min(at))
    }

    fn say(&mut self) {
        let (now, wall_ms) = (self.now(), self.around.machine.wall_ms());
        let reporter = &*self.around.reporter;
        let (mode, asked) = (self.config.witness, self.watchdog.asked());
        let vips = self.vips.iter_mut();
        let world = &self.world;
        let vips = vips.map(|keeper| keeper.document(world, mode, asked, now, wall_ms, reporter)).collect();
        let node = self.known.as_ref().map(Known::node);
        let sources = self.reads.document();
        let status = document::status(node, self.started_ms, wall_ms, sources, vips, &self.problems);
        let is_new = self.told.as_ref().is_none_or(|told| !document::says_the_same(told, &status));
        if is_new || now >= self.tell_by {
            self.around.reporter.status(&status);
            self.told = Some(status);
            self.tell_by = now + HEARTBEAT;
        }
    }

    /// The VIPs' addresses, for whoever watches their guards.
    pub fn delegate_ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.vips.iter().map(|keeper| keeper.config.delegate_ip)
    }
}

/// Whether both are the same machine with the same ENIs, and the same one of them first: which that is was perhaps not
/// asked for before. What is known of them may differ.
fn is_same(known: &Node, asked: &Node) -> bool {
    let enis = |node: &Node| -> Vec<_> {
        node.interfaces.iter().map(|(name, interface)| (name.clone(), interface.eni.clone())).collect()
    };
    known.instance == asked.instance && known.first == asked.first && enis(known) == enis(asked)
}
