//! The loop of the daemon: it notes why it woke, makes one pass and computes when it wakes next. The loop owns time,
//! backoff and shutdown. It decides nothing about bindings.
//!
//! Everything happens on one thread. Reads and writes are futures that the loop itself polls, so dropping the daemon
//! ends them, and a daemon that ends moves nothing. An event says *when* the loop looks, never *what* is true.

use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config::Config;
use crate::decide::own_writes::OwnWrites;
use crate::decide::pace::{self, Pace};
use crate::decide::retry::Because;
use crate::ec2::{Ec2Read, Ec2Write};
use crate::identity::Identify;
use crate::machine::kernel::Kernel;
use crate::observe::obstacles::obstacles;
use crate::observe::seen::{Moment, Now, Serving};
use crate::observe::{Known, LastRead, World, observe};
use crate::probe::Post;
use crate::problem::ProblemReason;
use crate::report::changes::Changes;
use crate::report::{HEARTBEAT, News};
use crate::state_dir::Machine;
use crate::status::{Status, VERSION, VipStatus};
use crate::wake::{Parts, Wake};

pub use self::surroundings::{Ask, Knock, Reload, Surroundings};

use self::document::Context;
use self::identifying::Identifying;
use self::in_flight::{InFlight, WriteFuture};
use self::knocking::Knocking;
use self::left_behind::LeftBehind;
use self::problems::Problems;
use self::pulse::Pulse;
use self::reads::{ReadFuture, Reads};
use self::schedule::Schedule;
use self::vip::VipLoop;
use self::vip::changes::KernelLook;
use self::word::LastWord;

mod ask;
mod attempts;
mod clock;
mod document;
mod identifying;
mod in_flight;
mod knocking;
mod left_behind;
mod looks;
mod places;
mod probing;
mod problems;
mod pulse;
mod reads;
mod reload;
mod same;
mod schedule;
mod surroundings;
mod vip;
mod word;
mod writes;

/// The daemon of one node.
pub struct Daemon<E, K, I, M> {
    config: Config,
    /// The config that this process started with. A changed config is compared with it, to find settings that only a
    /// new process can take over.
    started_with: Config,
    around: Surroundings<E, K, I, M>,
    started_ms: u64,
    known: Option<Known>,
    world: World,
    vips: Vec<VipLoop>,
    reads: Reads,
    watchdog: LastWord,
    knocking: Knocking,
    reading: FuturesUnordered<ReadFuture>,
    writing: FuturesUnordered<WriteFuture>,
    in_flight: InFlight,
    pulse: Pulse,
    stale: Stale,
    schedule: Schedule,
    pace: Pace,
    identifying: Identifying,
    parts: Parts,
    problems: Problems,
    post: Post,
    left_behind: LeftBehind,
    own_writes: OwnWrites,
    /// The status that was handed over last.
    told: Option<Status>,
    /// When the next status is to be handed over, even if it says nothing new.
    tell_by: Moment,
}

/// A loop that wakes this long after the moment that it had set itself has overslept.
const OVERSLEPT: Duration = Duration::from_secs(1);

/// Ends when the loop is found to have slept well past `wake_at`. The timers of the runtime stand still while the machine
/// is suspended, so after a suspend another event may wake the loop first.
async fn overslept(machine: &impl Machine, wake_at: Moment) {
    std::future::poll_fn(|_| if machine.now().at > wake_at + OVERSLEPT { Poll::Ready(()) } else { Poll::Pending })
        .await;
}

/// The local sources that are to be read again in the next turn.
#[derive(Debug)]
struct Stale {
    desired: bool,
    /// The kernel's addresses.
    local: bool,
}

impl<E: Ec2Read + Ec2Write + 'static, K: Kernel + 'static, I: Identify + 'static, M: Machine> Daemon<E, K, I, M> {
    /// A daemon that has read nothing yet except the claims that an earlier daemon persisted.
    #[must_use]
    pub fn new(config: Config, around: Surroundings<E, K, I, M>) -> Self {
        let now = around.machine.now();
        let vips = config.vips.iter().map(|vip| VipLoop::new(vip.clone(), &around.machine, now)).collect();
        Self {
            started_with: config.clone(),
            config,
            started_ms: now.wall_ms,
            known: None,
            world: World::default(),
            vips,
            reads: Reads::default(),
            watchdog: LastWord::default(),
            knocking: Knocking::default(),
            reading: FuturesUnordered::new(),
            writing: FuturesUnordered::new(),
            in_flight: InFlight::default(),
            pulse: Pulse::default(),
            stale: Stale { desired: true, local: true },
            schedule: Schedule::default(),
            pace: Pace::default(),
            identifying: Identifying::default(),
            parts: Parts::default(),
            problems: Problems::default(),
            post: Post::default(),
            left_behind: LeftBehind::default(),
            own_writes: OwnWrites::default(),
            told: None,
            tell_by: Moment::ZERO,
            around,
        }
    }

    /// Shows each problem of these parts for as long as the problem lasts.
    pub fn follow(&mut self, parts: Parts) {
        self.parts = parts;
    }

    /// Runs the loop until a shutdown wake comes or every sender of wakes is gone. The end of the loop moves nothing.
    pub async fn run(mut self, mut wakes: mpsc::Receiver<Wake>) {
        self.keep_room();
        loop {
            self.turn();
            let (wake_at, now) = (self.next_wake(), self.now().at);
            let sleep = tokio::time::sleep_until(Instant::now() + wake_at.saturating_sub(now));
            let machine = &self.around.machine;
            tokio::select! {
                biased;
                // A change that still waits must not go out on a plan from before the sleep.
                () = overslept(machine, wake_at) => self.wake_late(),
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
                    // Other answers that have come by now belong to the same turn.
                    while let Some(Some(answer)) = self.reading.next().now_or_never() {
                        self.answered(answer);
                    }
                }
                () = sleep => {}
            }
        }
        self.stop();
    }

    /// The machine was suspended, or this process stood still: everything that can be read is read afresh.
    fn wake_late(&mut self) {
        self.stale = Stale { desired: true, local: true };
        self.schedule.regularly_at(self.now().at);
    }

    fn stop(self) {
        self.around.reporter.news(&News::Stopping);
    }

    fn now(&self) -> Now {
        self.around.machine.now()
    }

    /// Notes why the loop woke. The sources are read afterwards. Returns whether the loop goes on.
    fn woken(&mut self, wake: Wake) -> bool {
        match wake {
            Wake::HookWrites => self.make_room(),
            Wake::DesiredChanged | Wake::GuardDied(_) => {
                // Another hook may have begun to write meanwhile.
                self.make_room();
                self.stale.desired = true;
                // A local address must have been seen before it can be removed. After a failed look at the kernel's
                // addresses the kernel is therefore asked again at once.
                self.stale.local |= !matches!(self.world.local, LastRead::Read { .. });
            }
            Wake::LocalAddress => self.stale.local = true,
            // The parts and the probe are asked in each turn.
            Wake::Part | Wake::Probe => {}
            Wake::Config => self.reload(),
            Wake::Shutdown => return false,
        }
        true
    }

    /// Keeps room for hooks that find the file system full. If there is no room, a problem says so.
    fn keep_room(&mut self) {
        match self.around.machine.keep_room() {
            Err(message) => self.problems.lasts(ProblemReason::NoReserve, message, self.now().wall_ms),
            Ok(()) => self.problems.clear(ProblemReason::NoReserve),
        }
    }

    /// Leaves the kept room to a hook that needs it now. If the room was left, tries to keep room again.
    fn make_room(&mut self) {
        if self.around.machine.make_room() {
            self.keep_room();
        }
    }

    /// One turn of the loop: from the state known now to the changes that start now.
    fn turn(&mut self) {
        let finished = self.reads.finished();
        // Every pass reads the files and the kernel afresh, whatever woke the loop.
        let due = self.look_is_due();
        // The watchdog's word stands until the watchdog is asked again, so the files are judged by that word once more
        // before the question.
        if self.stale.desired || due || self.ask_is_due() {
            self.read_desired();
        }
        self.stale.local |= due;
        if self.stale.local && !self.reads.reading_local {
            self.stale.local = false;
            let now = self.now().at;
            let addresses = self.config.local_addresses();
            self.reading.push(self.reads.start_local(&self.around.kernel, addresses, now));
        }
        self.identify();
        self.decide();
        // The plans that a look's answers lead to belong to the pass of that look, so the look is over only now.
        if let Some(look) = finished {
            self.look_over(&look);
        }
        self.look_if_due();
        if self.ask_is_due() {
            self.ask();
        }
        self.knock_if_due();
        self.hear_parts();
        self.probe();
        self.say();
    }

    fn read_desired(&mut self) {
        self.stale.desired = false;
        let now = self.now();
        for vip in &mut self.vips {
            let delegate_ip = vip.config.delegate_ip;
            let heard = self.watchdog.heard(delegate_ip);
            if vip.read_desired(&mut self.around.machine, self.config.witness, heard, now) {
                self.schedule.after_takes(now.at);
                self.own_writes.forget(delegate_ip);
                // A change that the old word asked for may still wait for the rate limit. It must not stand in the way
                // of the new word's changes.
                self.in_flight.want_nothing(delegate_ip);
            }
        }
    }

    /// Plans for each VIP, and starts the changes that the plans ask for.
    fn decide(&mut self) {
        let Some(known) = &self.known else { return };
        let now = self.now();
        let server_ms = self.around.ec2.time().map(|server| server.unix_ms(now.at));
        for vip in &mut self.vips {
            let (resolved, mut observed) = observe(&self.config, &vip.config, known, &self.world);
            observed.server_ms = server_ms;
            observed.witness = self.watchdog.witness(resolved.delegate_ip, now.at);
            observed.serving =
                Serving { port: self.knocking.heard(), quorum: self.watchdog.quorum(resolved.delegate_ip) };
            vip.obstacles = obstacles(&self.config, &resolved, known, &self.world);
            vip.often = pace::often(&self.config.intervals);
            vip.decide(resolved, observed, &mut self.own_writes, now);
        }
        // An answer tells of a fault's end. The changes that wait are known only after a plan was made with that
        // answer.
        if self.pulse.take_recovery(now.at) {
            self.release_waiting(Because::FaultOver);
        }
        self.start_writes(now);
    }

    /// Sets and clears the problems of the parts around the loop, as the parts told them.
    fn hear_parts(&mut self) {
        let wall_ms = self.now().wall_ms;
        for (reason, outcome) in self.parts.changes() {
            match outcome {
                Ok(()) => self.problems.clear(reason),
                Err(message) => self.problems.set(reason, message, wall_ms),
            }
        }
    }

    /// The moment at which the loop wakes if no event wakes it before.
    fn next_wake(&self) -> Moment {
        let now = self.now().at;
        // While the kernel is being asked, the next question to the kernel waits for its answer.
        if self.stale.desired || (self.stale.local && !self.reads.reading_local) {
            return now;
        }
        let search = self.next_search();
        if self.known.is_none() {
            return search.map_or(self.tell_by, |at| self.tell_by.min(at));
        }
        let retries = self.vips.iter().filter_map(|vip| vip.next_try(&self.in_flight, self.kernel_look()));
        let others = [search, self.next_ask(), self.next_knock(), self.schedule.next_look(&self.circumstances())];
        retries.chain(others.into_iter().flatten()).fold(self.tell_by, Moment::min)
    }

    fn kernel_look(&self) -> KernelLook {
        if self.reads.reading_local { KernelLook::UnderWay } else { KernelLook::Done }
    }

    /// Hands the status over if it says anything new or the heartbeat is due. Reports every change since the status
    /// that was handed over last.
    fn say(&mut self) {
        let now = self.now();
        self.judge_clock(now);
        let context = Context { world: &self.world, mode: self.config.witness, asked: self.watchdog.asked(), now };
        let told = self.told.as_ref();
        let before = |ip: IpAddr| told.and_then(|told| told.vips.iter().find(|vip| vip.delegate_ip == ip));
        let vips = self.vips.iter().map(|vip| vip.document(&context, before(vip.config.delegate_ip))).collect();
        let status = self.document(vips, now);
        let is_new = told.is_none_or(|told| !same::says_the_same(told, &status));
        if is_new || now.at >= self.tell_by {
            let reporter = &*self.around.reporter;
            Changes::between(told, &status).tell(|news| reporter.news(news));
            reporter.status(&status);
            self.told = Some(status);
            self.tell_by = now.at + HEARTBEAT;
        }
    }

    fn document(&self, vips: Vec<VipStatus>, now: Now) -> Status {
        let node = self.known.as_ref().map(Known::node);
        Status {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            written_ms: now.wall_ms,
            written_boot_ms: u64::try_from(now.at.as_millis()).ok(),
            started_ms: self.started_ms,
            instance: node.map(|node| node.instance.clone()),
            region: node.map(|node| node.region.clone()),
            sources: self.reads.document(),
            vips,
            clock: self.clock(now),
            problems: self.problems.document(),
        }
    }

    /// The VIPs' addresses, for whoever watches their guards.
    pub fn delegate_ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.vips.iter().map(|vip| vip.config.delegate_ip)
    }
}
