//! One node: its kernel, its hooks and files, its clock, and the daemon that runs on it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use vipkeeper::config::Config;
use vipkeeper::daemon::{Ask, Daemon, Surroundings};
use vipkeeper::decide::memory::Persisted;
use vipkeeper::desired::file::{DesiredFile, Leadership, Wanted};
use vipkeeper::desired::next::{Call, Hook, Request, WatchdogProcess, next};
use vipkeeper::desired::source::Reading;
use vipkeeper::desired::{Desired, WhyUnknown};
use vipkeeper::identity::{Identify, Node};
use vipkeeper::ids::ClaimId;
use vipkeeper::machine::clock::{Clocks, Discipline};
use vipkeeper::machine::kernel::{Kernel, KernelError, Left, LocalAddress, LocalView, Presence, Reset};
use vipkeeper::machine::process::Process;
use vipkeeper::observe::seen::Now;
use vipkeeper::pgpool::watchdog::{Asked, Nobody, Word};
use vipkeeper::state_dir::Machine;
use vipkeeper::wake::{Parts, Wake};

use super::ec2::{SimEc2, Watch};
use super::estate::{self, Estate, INTERFACE, Place};
use super::recorder::{Detail, Recorder};
use super::{Clock, Timeline};

/// The wall clock at the beginning of the simulated world, in milliseconds since the Unix epoch.
pub const EPOCH_MS: u64 = 1_800_000_000_000;

/// The disk space that the daemon keeps for hooks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    #[default]
    None,
    Kept,
    /// The daemon gave its space up, so a full disk has a little room left.
    Left,
}

/// Everything on the node that outlives its daemon.
#[derive(Debug, Default)]
struct Memory {
    skew_ms: i64,
    /// How long the machine was suspended so far. The clock since boot and the wall clock count that time; the clock of
    /// the runtime does not.
    suspended: Duration,
    /// The kernel's judgement of its wall clock.
    discipline: Option<Discipline>,
    /// The number of times that the machine was switched on.
    boots: u32,
    files: BTreeMap<IpAddr, DesiredFile>,
    /// The time at which each claim was first written to a file.
    claimed: BTreeMap<ClaimId, Duration>,
    /// The VIPs whose file cannot be used now, each with its last good file. The last good file stays in force.
    invalid: BTreeMap<IpAddr, Option<DesiredFile>>,
    /// The VIPs whose file the daemon has read. The daemon watches the guards of these VIPs.
    read: BTreeSet<IpAddr>,
    living: BTreeSet<Process>,
    processes: u32,
    persisted: BTreeMap<IpAddr, Persisted>,
    addresses: BTreeSet<LocalAddress>,
    /// The addresses that the daemon added.
    added: BTreeSet<LocalAddress>,
    /// The addresses that must stay, each with the reason.
    kept: BTreeMap<LocalAddress, String>,
    /// The local routes by which the kernel answers for an address that no interface has.
    local_routes: BTreeMap<IpAddr, String>,
    wakes: Option<mpsc::Sender<Wake>>,
    kernel_fails: Option<KernelError>,
    /// The error with which the kernel refuses to end connections.
    resets_fail: Option<KernelError>,
    /// The addresses whose connections the daemon asked to end while the address was still there.
    resets: Vec<IpAddr>,
    /// The time that the kernel takes to list its addresses.
    kernel_takes: Duration,
    disk_full: bool,
    room: Room,
    /// The next daemon finds nothing of the persisted state, as on a broken node.
    forgets: bool,
}

impl Memory {
    fn wake(&self, wake: Wake) {
        if let Some(wakes) = &self.wakes {
            // A full channel already holds a wake, so the loop wakes anyway.
            let _ = wakes.try_send(wake);
        }
    }

    fn lives(&self, process: &Process) -> bool {
        self.living.contains(process)
    }

    fn leadership(&self, vip: IpAddr) -> Option<&Leadership> {
        match &self.files.get(&vip)?.wanted {
            Wanted::Leader(leadership) => Some(leadership),
            Wanted::Standby => None,
        }
    }

    fn desired(&self, vip: IpAddr) -> Desired {
        let desired = self.files.get(&vip).map(|file| file.desired(|process| self.lives(process)));
        desired.unwrap_or(Desired::Unknown(WhyUnknown::NoFile))
    }

    fn reading(&self, vip: IpAddr) -> Reading {
        let spoiled = self.invalid.get(&vip);
        let in_force = spoiled.cloned().unwrap_or_else(|| self.files.get(&vip).cloned());
        let otherwise = if spoiled.is_some() { WhyUnknown::Invalid } else { WhyUnknown::NoFile };
        let desired = in_force.as_ref().map(|file| file.desired(|process| self.lives(process)));
        Reading {
            desired: desired.unwrap_or(Desired::Unknown(otherwise)),
            guard_alive: in_force.as_ref().and_then(DesiredFile::guard).map(|guard| self.lives(&guard)),
            in_force,
            guard_unseen: false,
            invalid: spoiled.map(|_| "it is no desired-state file".to_owned()),
        }
    }
}

/// The machine as the daemon and the hooks see it.
#[derive(Clone)]
pub struct Computer {
    name: String,
    clock: Clock,
    memory: Rc<RefCell<Memory>>,
}

impl Computer {
    fn wall_ms(&self) -> u64 {
        let elapsed_ms = u64::try_from(self.since_boot().as_millis()).expect("simulations are short");
        (EPOCH_MS + elapsed_ms).saturating_add_signed(self.memory.borrow().skew_ms)
    }

    /// The clock since boot. The simulated machines boot when their world begins.
    pub fn since_boot(&self) -> Duration {
        self.clock.now() + self.memory.borrow().suspended
    }

    fn clocks(&self) -> Clocks {
        let boottime_ns = u64::try_from(self.since_boot().as_nanos()).expect("simulations are short");
        Clocks { boottime_ns, wall_ms: self.wall_ms() }
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.memory.borrow().boots)
    }

    /// Starts a process, for example Pgpool's watchdog.
    pub fn spawn(&self) -> Process {
        let start_time = self.clocks().ticks();
        let mut memory = self.memory.borrow_mut();
        memory.processes += 1;
        let process = Process { pid: memory.processes, start_time };
        memory.living.insert(process);
        process
    }

    pub fn kill(&self, process: Process) {
        let mut memory = self.memory.borrow_mut();
        memory.living.remove(&process);
        let watched = memory.files.iter().filter(|(_, file)| file.guard() == Some(process));
        let watched: Vec<_> = watched.map(|(vip, _)| *vip).collect();
        for vip in watched {
            memory.wake(Wake::GuardDied(vip));
        }
    }

    /// A hook that Pgpool's watchdog runs from a process that it forked.
    pub fn hook(&self, guard: Process) -> Hook {
        let process = self.spawn();
        let watchdog = Some(WatchdogProcess { guard, escalation: Some(process) });
        Hook { process, started_ms: self.wall_ms(), boot_id: self.boot_id(), watchdog, pid_namespace: None }
    }

    /// A hook that the watchdog process runs itself, because an address left the host.
    pub fn affirming_hook(&self, guard: Process) -> Hook {
        let watchdog = Some(WatchdogProcess { guard, escalation: None });
        Hook { watchdog, ..self.hook(guard) }
    }

    /// The hook writes that this node leads.
    pub fn up(&self, vip: IpAddr, hook: &Hook) {
        self.write(&Request { hook, delegate_ip: vip, call: Call::Up });
    }

    /// The hook writes that this node stands by.
    pub fn down(&self, vip: IpAddr, hook: &Hook) {
        self.write(&Request { hook, delegate_ip: vip, call: Call::Down });
    }

    fn write(&self, request: &Request<'_>) {
        let (clocks, since) = (self.clocks(), self.clock.now());
        let new_claim = ClaimId::new(format!("{}-{}", self.name, request.hook.process.pid));
        let mut memory = self.memory.borrow_mut();
        let present = memory.files.get(&request.delegate_ip);
        let next = next(present, request, clocks, new_claim, |process| memory.lives(process));
        let Some(file) = next else { return };
        if let Wanted::Leader(leadership) = &file.wanted {
            memory.claimed.entry(leadership.claim.clone()).or_insert(since);
        }
        memory.files.insert(request.delegate_ip, file);
        memory.wake(Wake::DesiredChanged);
    }

    /// Makes the VIP's file unusable, as if somebody had put garbage in its place.
    pub fn spoil_file(&self, vip: IpAddr) {
        let mut memory = self.memory.borrow_mut();
        let last_good = memory.files.get(&vip).cloned();
        memory.invalid.insert(vip, last_good);
        memory.wake(Wake::DesiredChanged);
    }

    pub fn mend_file(&self, vip: IpAddr) {
        self.memory.borrow_mut().invalid.remove(&vip);
        self.memory.borrow().wake(Wake::DesiredChanged);
    }

    /// The VIPs whose guards the daemon watches.
    pub fn watched(&self) -> BTreeSet<IpAddr> {
        self.memory.borrow().read.clone()
    }

    /// The desired-state file of the VIP.
    pub fn file(&self, vip: IpAddr) -> Option<DesiredFile> {
        self.memory.borrow().files.get(&vip).cloned()
    }

    pub fn desired(&self, vip: IpAddr) -> Desired {
        self.memory.borrow().desired(vip)
    }

    /// The time at which the claim that the file names was first written.
    pub fn claimed_at(&self, vip: IpAddr) -> Option<Duration> {
        let memory = self.memory.borrow();
        memory.claimed.get(&memory.leadership(vip)?.claim).copied()
    }

    pub fn persisted(&self, vip: IpAddr) -> Option<Persisted> {
        self.memory.borrow().persisted.get(&vip).cloned()
    }

    pub fn fill_disk(&self, full: bool) {
        self.memory.borrow_mut().disk_full = full;
    }

    /// A hook begins to write, and the daemon notices.
    pub fn begin_to_write(&self) {
        self.memory.borrow().wake(Wake::HookWrites);
    }

    pub fn room(&self) -> Room {
        self.memory.borrow().room
    }

    pub fn fail_kernel(&self, error: Option<KernelError>) {
        self.memory.borrow_mut().kernel_fails = error;
    }

    pub fn fail_resets(&self, error: KernelError) {
        self.memory.borrow_mut().resets_fail = Some(error);
    }

    /// The addresses whose connections the daemon asked to end while the address was still there.
    pub fn resets(&self) -> Vec<IpAddr> {
        self.memory.borrow().resets.clone()
    }

    pub fn slow_kernel(&self, takes: Duration) {
        self.memory.borrow_mut().kernel_takes = takes;
    }

    pub fn forget_everything_persisted(&self) {
        self.memory.borrow_mut().forgets = true;
    }

    pub fn set_discipline(&self, discipline: Discipline) {
        self.memory.borrow_mut().discipline = Some(discipline);
    }

    /// Sets the wall clock forth or back.
    pub fn step_clock_ms(&self, by_ms: i64) {
        self.memory.borrow_mut().skew_ms += by_ms;
    }

    /// The machine is suspended, and resumed after this time. For everybody else no time passes.
    pub fn suspend(&self, duration: Duration) {
        self.memory.borrow_mut().suspended += duration;
    }

    pub fn set_skew_ms(&self, skew_ms: i64) {
        self.memory.borrow_mut().skew_ms = skew_ms;
    }

    fn local(address: IpAddr) -> LocalAddress {
        LocalAddress::single(INTERFACE, address)
    }

    pub fn has_local(&self, address: IpAddr) -> bool {
        self.memory.borrow().addresses.contains(&Self::local(address))
    }

    /// Somebody adds an address by hand.
    pub fn add_by_hand(&self, address: IpAddr) {
        let mut memory = self.memory.borrow_mut();
        memory.addresses.insert(Self::local(address));
        memory.wake(Wake::LocalAddress);
    }

    /// Somebody adds an address by hand in another form, which the kernel removes together with something else if
    /// `kept` says so.
    pub fn add_in_form_by_hand(&self, entry: LocalAddress, kept: Option<&str>) {
        let mut memory = self.memory.borrow_mut();
        memory.kept.extend(kept.map(|why| (entry.clone(), why.to_owned())));
        memory.addresses.insert(entry);
        memory.wake(Wake::LocalAddress);
    }

    pub fn remove_in_form_by_hand(&self, entry: &LocalAddress) {
        let mut memory = self.memory.borrow_mut();
        memory.kept.remove(entry);
        memory.addresses.remove(entry);
        memory.wake(Wake::LocalAddress);
    }

    /// Somebody makes the kernel answer for an address by a route, or removes that route. The kernel tells nobody.
    pub fn route_locally_by_hand(&self, address: IpAddr, route: Option<&str>) {
        let routes = &mut self.memory.borrow_mut().local_routes;
        match route {
            Some(route) => drop(routes.insert(address, route.to_owned())),
            None => drop(routes.remove(&address)),
        }
    }

    /// The address in all its forms.
    pub fn entries(&self, address: IpAddr) -> Vec<String> {
        let memory = self.memory.borrow();
        memory.addresses.iter().filter(|entry| entry.address == address).map(ToString::to_string).collect()
    }

    /// Somebody removes an address by hand.
    pub fn remove_by_hand(&self, address: IpAddr) {
        let mut memory = self.memory.borrow_mut();
        memory.addresses.remove(&Self::local(address));
        memory.wake(Wake::LocalAddress);
    }

    /// Everything on the machine except its clock is lost, as in a reboot.
    fn reboot(&self) {
        let mut memory = self.memory.borrow_mut();
        let (skew_ms, suspended, forgets) = (memory.skew_ms, memory.suspended, memory.forgets);
        let (processes, boots) = (memory.processes, memory.boots + 1);
        *memory = Memory { skew_ms, suspended, forgets, processes, boots, ..Memory::default() };
    }
}

impl Machine for Computer {
    fn desired(&mut self, vip: IpAddr) -> Reading {
        let mut memory = self.memory.borrow_mut();
        memory.read.insert(vip);
        memory.reading(vip)
    }

    fn keep_only(&mut self, vips: &BTreeSet<IpAddr>) {
        self.memory.borrow_mut().read.retain(|vip| vips.contains(vip));
    }

    fn load(&self, vip: IpAddr) -> Option<Persisted> {
        self.persisted(vip)
    }

    fn save(&self, vip: IpAddr, persisted: &Persisted) -> Result<(), String> {
        let mut memory = self.memory.borrow_mut();
        if memory.disk_full && memory.room != Room::Left {
            return Err("no space left on device".to_owned());
        }
        memory.persisted.insert(vip, persisted.clone());
        Ok(())
    }

    fn keep_room(&mut self) -> Result<(), String> {
        let mut memory = self.memory.borrow_mut();
        if memory.disk_full && memory.room != Room::Kept {
            return Err("the disk is full".to_owned());
        }
        memory.room = Room::Kept;
        Ok(())
    }

    fn make_room(&mut self) -> bool {
        let mut memory = self.memory.borrow_mut();
        let leaves = memory.disk_full && memory.room == Room::Kept;
        if leaves {
            memory.room = Room::Left;
        }
        leaves
    }

    fn clock_discipline(&self) -> Option<Discipline> {
        self.memory.borrow().discipline
    }

    fn now(&self) -> Now {
        Now { at: self.since_boot(), wall_ms: self.wall_ms() }
    }
}

impl Kernel for Computer {
    async fn look(&self, addresses: &BTreeSet<IpAddr>) -> Result<LocalView, KernelError> {
        let takes = self.memory.borrow().kernel_takes;
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let memory = self.memory.borrow();
        let presence = |address: &IpAddr| {
            let entries = memory.addresses.iter().filter(|entry| entry.address == *address).cloned();
            let mut presence = Presence::of_entries(entries);
            for (entry, state) in &mut presence.entries {
                state.kept = memory.kept.get(entry).cloned();
            }
            presence.route = memory.local_routes.get(address).filter(|_| presence.entries.is_empty()).cloned();
            presence
        };
        let of: BTreeMap<_, _> = addresses.iter().map(|address| (*address, presence(address))).collect();
        let added = memory.added.intersection(&memory.addresses);
        let left_behind = added.filter(|entry| !addresses.contains(&entry.address)).cloned().collect();
        memory.kernel_fails.clone().map_or(Ok(LocalView { of, left_behind }), Err)
    }

    async fn add(&self, address: &LocalAddress) -> Result<(), KernelError> {
        let mut memory = self.memory.borrow_mut();
        if let Some(error) = &memory.kernel_fails {
            return Err(error.clone());
        }
        memory.addresses.insert(address.clone());
        memory.added.insert(address.clone());
        Ok(())
    }

    async fn reset_connections(&self, address: IpAddr, going: &BTreeSet<LocalAddress>) -> Reset {
        let mut memory = self.memory.borrow_mut();
        if memory.addresses.iter().any(|entry| going.contains(entry)) {
            memory.resets.push(address);
        }
        let left = memory.resets_fail.clone().map(Left::Failed);
        Reset { ended: if left.is_some() { 0 } else { 3 }, left }
    }

    async fn remove(&self, address: &LocalAddress) -> Result<(), KernelError> {
        let mut memory = self.memory.borrow_mut();
        if let Some(error) = &memory.kernel_fails {
            return Err(error.clone());
        }
        memory.addresses.remove(address);
        Ok(())
    }
}

/// The metadata service of one node.
pub struct SimIdentity {
    pub node: RefCell<Node>,
    /// The number of requests that still fail.
    pub failures: Cell<u32>,
    pub asked: Cell<u32>,
}

impl Identify for SimIdentity {
    async fn identify(&self, _config: &Config) -> Result<Node, String> {
        self.asked.set(self.asked.get() + 1);
        if self.failures.get() > 0 {
            self.failures.set(self.failures.get() - 1);
            return Err("the metadata service does not answer".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(self.node.borrow().clone())
    }
}

/// A node with everything on it.
pub struct SimNode {
    pub place: Place,
    pub computer: Computer,
    pub ec2: Rc<SimEc2>,
    pub identity: Rc<SimIdentity>,
    pub recorder: Rc<Recorder>,
    /// The config that a daemon reads at its start or reload.
    pub config: Rc<RefCell<Result<Config, String>>>,
    clock: Clock,
    detail: Detail,
    timeline: Rc<Timeline>,
    daemon: Option<JoinHandle<()>>,
    /// The answer of this node's Pgpool watchdog.
    pub word: Rc<RefCell<Option<Word>>>,
    /// The parts around the loop.
    pub parts: Parts,
    /// Pgpool's watchdog runs a hook meanwhile and answers nobody.
    pub stands_still: Rc<Cell<bool>>,
    /// The number of questions to Pgpool's watchdog so far.
    pub asked: Rc<Cell<usize>>,
    rng: fastrand::Rng,
}

/// The things that all nodes of a simulated world share.
pub struct Shared {
    pub timeline: Rc<Timeline>,
    pub detail: Detail,
    pub watch: Option<Rc<dyn Watch>>,
    pub seed: u64,
}

impl SimNode {
    /// A node that was just switched on. No daemon runs on it yet.
    pub fn new(estate: &Estate, index: usize, config: Config, shared: &Shared) -> Self {
        let place = estate.nodes[index].clone();
        let (clock, timeline) = (estate.clock, Rc::clone(&shared.timeline));
        let ec2 = SimEc2::new(
            Rc::clone(&estate.service),
            clock,
            &place.name,
            config.limits,
            Rc::clone(&timeline),
            shared.watch.clone(),
        );
        let identity = SimIdentity {
            node: RefCell::new(estate::identity(estate, &place)),
            failures: Cell::new(0),
            asked: Cell::new(0),
        };
        Self {
            computer: Computer { name: place.name.clone(), clock, memory: Rc::default() },
            ec2: Rc::new(ec2),
            identity: Rc::new(identity),
            recorder: Rc::new(Recorder::new(clock, &place.name, shared.detail, Rc::clone(&timeline))),
            config: Rc::new(RefCell::new(Ok(config))),
            clock,
            detail: shared.detail,
            timeline,
            daemon: None,
            word: Rc::default(),
            parts: Parts::default(),
            stands_still: Rc::default(),
            asked: Rc::default(),
            rng: fastrand::Rng::with_seed(shared.seed ^ (index as u64 + 1)),
            place,
        }
    }

    /// Starts the daemon. Each daemon has a new reporter.
    pub fn start(&mut self) {
        self.start_on(self.computer.clone());
    }

    /// Starts the daemon with this machine instead of the simulated one.
    pub fn start_on(&mut self, machine: impl Machine + 'static) {
        assert!(self.daemon.is_none(), "one daemon at a time");
        let recorder = Recorder::new(self.clock, &self.place.name, self.detail, Rc::clone(&self.timeline));
        self.recorder = Rc::new(recorder);
        let (sender, wakes) = mpsc::channel(16);
        {
            let mut memory = self.computer.memory.borrow_mut();
            memory.wakes = Some(sender);
            if memory.forgets {
                memory.persisted.clear();
            }
        }
        let config = Rc::clone(&self.config);
        let around = Surroundings {
            ask_watchdog: self.ask_watchdog(),
            ec2: Rc::clone(&self.ec2),
            kernel: Rc::new(self.computer.clone()),
            identify: Rc::clone(&self.identity),
            machine,
            reporter: Rc::clone(&self.recorder) as _,
            reload: Box::new(move || config.borrow().clone()),
            rng: self.rng.fork(),
        };
        let config = self.config.borrow().clone().expect("a daemon starts only with a good config");
        let mut daemon = Daemon::new(config, around);
        daemon.follow(self.parts.clone());
        self.daemon = Some(tokio::task::spawn_local(daemon.run(wakes)));
    }

    /// Asks Pgpool's watchdog on this node.
    pub fn ask_watchdog(&self) -> Ask {
        let (word, stands_still, asked) =
            (Rc::clone(&self.word), Rc::clone(&self.stands_still), Rc::clone(&self.asked));
        Box::new(move || {
            asked.set(asked.get() + 1);
            if stands_still.get() {
                return Box::pin(async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Asked::Unheard("it did not answer within 1s".to_owned())
                });
            }
            let said = word.borrow().clone();
            let asked = said.map_or_else(|| Asked::Nobody(Nobody::NoSocket(Vec::new())), Asked::Word);
            Box::pin(async move { asked })
        })
    }

    pub fn is_running(&self) -> bool {
        self.daemon.is_some()
    }

    /// Ends the daemon as `kill -9` does.
    pub async fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            self.computer.memory.borrow_mut().wakes = None;
            daemon.abort();
            let _ = daemon.await;
        }
    }

    /// Ends the daemon as SIGTERM does.
    pub async fn stop(&mut self) {
        self.wake(Wake::Shutdown);
        if let Some(daemon) = self.daemon.take() {
            daemon.await.expect("a daemon that is told to stop does not panic");
        }
        self.computer.memory.borrow_mut().wakes = None;
    }

    /// Switches the machine off and on. The caller starts the daemon again.
    pub async fn reboot(&mut self) {
        self.kill().await;
        self.computer.reboot();
    }

    pub fn wake(&self, wake: Wake) {
        self.computer.memory.borrow().wake(wake);
    }

    /// Reports the outcome of one part around the loop.
    pub fn part(&self, reason: &'static str, outcome: Result<(), &str>) {
        let wakes = self.computer.memory.borrow().wakes.clone().expect("a daemon runs");
        self.parts.voice(reason, wakes).tell(outcome.map_err(str::to_owned));
    }

    /// Pgpool makes this node the leader.
    pub fn up(&self, vip: &str, guard: Process) {
        self.computer.up(vip.parse().expect("an address"), &self.computer.hook(guard));
    }

    pub fn down(&self, vip: &str, guard: Process) {
        self.computer.down(vip.parse().expect("an address"), &self.computer.hook(guard));
    }

    pub fn has_local(&self, address: &str) -> bool {
        self.computer.has_local(address.parse().expect("an address"))
    }

    /// Fails if the daemon panicked. Without this check, such a daemon would only look quiet.
    pub fn assert_alive(&self) {
        if let Some(daemon) = &self.daemon {
            assert!(!daemon.is_finished(), "the daemon of {} ended by itself", self.place.name);
        }
    }
}
