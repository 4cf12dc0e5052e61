//! The machine of one node as the daemon and the hooks see it: files, processes, clock and kernel.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use vipkeeper::decide::memory::Persisted;
use vipkeeper::desired::file::{DesiredFile, Leadership, Wanted};
use vipkeeper::desired::hold::{Extent, HoldFile, InForce};
use vipkeeper::desired::next::{Call, Hook, Request, WatchdogProcess, next};
use vipkeeper::desired::source::Reading;
use vipkeeper::desired::{Desired, WhyUnknown};
use vipkeeper::ids::ClaimId;
use vipkeeper::machine::clock::{Clocks, Discipline};
use vipkeeper::machine::kernel::{KernelError, LocalAddress};
use vipkeeper::machine::process::Process;
use vipkeeper::observe::seen::Now;
use vipkeeper::state_dir::Machine;
use vipkeeper::wake::Wake;

use super::Clock;
use super::kill::KillSwitch;

mod kernel;

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

/// A defect of the daemon that a test puts in on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// The daemon does not learn that a leadership ended.
    EndsNotSeen,
    /// The daemon says that it persisted its claims, and did not.
    SavesNothing,
    /// The daemon takes the guard for dead at each other look.
    GuardFlickers,
    /// The daemon finds no hold.
    HoldsNotSeen,
}

/// Everything on the node that outlives its daemon.
#[derive(Debug, Default)]
pub(super) struct Memory {
    skew_ms: i64,
    /// How long the machine was suspended so far. The clock since boot and the wall clock count that time; the clock of
    /// the runtime does not.
    suspended: Duration,
    /// The kernel's judgement of its wall clock.
    discipline: Option<Discipline>,
    /// The number of times that the machine was switched on.
    boots: u32,
    files: BTreeMap<IpAddr, DesiredFile>,
    holds: BTreeMap<IpAddr, HoldFile>,
    /// The VIPs whose hold is in a file that cannot be used.
    spoilt_holds: BTreeSet<IpAddr>,
    /// The addresses that the daemon added.
    added: BTreeSet<LocalAddress>,
    /// The addresses that must stay, each with the reason.
    kept: BTreeMap<LocalAddress, String>,
    /// The local routes by which the kernel answers for an address that no interface has.
    local_routes: BTreeMap<IpAddr, String>,
    /// The time at which each claim was first written to a file.
    claimed: BTreeMap<ClaimId, Duration>,
    /// The time at which each VIP's file last ceased to say leader.
    ended: BTreeMap<IpAddr, Duration>,
    /// The VIPs whose file cannot be used now, each with its last good file. The last good file stays in force.
    invalid: BTreeMap<IpAddr, Option<DesiredFile>>,
    /// The VIPs whose file the daemon has read. The daemon watches the guards of these VIPs.
    read: BTreeSet<IpAddr>,
    living: BTreeSet<Process>,
    processes: u32,
    pub(super) persisted: BTreeMap<IpAddr, Persisted>,
    /// The state that the daemon persisted last, whatever became of the file since.
    served: BTreeMap<IpAddr, Persisted>,
    addresses: BTreeSet<LocalAddress>,
    pub(super) wakes: Option<mpsc::Sender<Wake>>,
    kernel_fails: Option<KernelError>,
    /// The names that interfaces had before they were renamed, and those that they have instead.
    renamed: BTreeSet<String>,
    new_names: BTreeSet<String>,
    /// The error with which the kernel refuses to end connections.
    resets_fail: Option<KernelError>,
    /// The addresses whose connections the daemon asked to end while the address was still there.
    resets: Vec<IpAddr>,
    /// The time that the kernel takes to list its addresses.
    kernel_takes: Duration,
    disk_full: bool,
    room: Room,
    defect: Option<Defect>,
    /// The last file of each VIP that said leader, for a daemon that sees no end.
    last_leader: BTreeMap<IpAddr, DesiredFile>,
    looks: u32,
    /// The next daemon finds nothing of the persisted state, as on a broken node.
    pub(super) forgets: bool,
}

impl Memory {
    pub(super) fn wake(&self, wake: Wake) {
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
    pub(super) memory: Rc<RefCell<Memory>>,
    switch: Rc<KillSwitch>,
}

impl Computer {
    /// A machine that was just switched on. `switch` is that of its daemon.
    pub(super) fn new(name: &str, clock: Clock, switch: &Rc<KillSwitch>) -> Self {
        Self { name: name.to_owned(), clock, memory: Rc::default(), switch: Rc::clone(switch) }
    }

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
            memory.ended.insert(vip, self.clock.now());
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
        match &file.wanted {
            Wanted::Leader(leadership) => {
                memory.claimed.entry(leadership.claim.clone()).or_insert(since);
                memory.last_leader.insert(request.delegate_ip, file.clone());
            }
            Wanted::Standby => _ = memory.ended.insert(request.delegate_ip, since),
        }
        memory.invalid.remove(&request.delegate_ip);
        memory.files.insert(request.delegate_ip, file);
        memory.wake(Wake::DesiredChanged);
    }

    /// An operator holds the VIP.
    pub fn hold(&self, vip: IpAddr, lasts: Duration, extent: Extent) {
        let hold = HoldFile::new(vip, self.boot_id(), self.clocks(), lasts, extent);
        self.memory.borrow_mut().holds.insert(vip, hold);
        self.memory.borrow().wake(Wake::DesiredChanged);
    }

    fn in_force(&self, vip: IpAddr) -> Option<InForce> {
        self.memory.borrow().holds.get(&vip)?.in_force(&self.boot_id(), self.clocks())
    }

    /// For how long an operator has held the VIP, and from what. `None` if nobody does.
    pub fn held_for(&self, vip: IpAddr) -> Option<(Duration, Extent)> {
        let hold = self.in_force(vip)?;
        Some((self.since_boot().saturating_sub(hold.set_at), hold.extent))
    }

    /// Makes the file of the VIP's hold unusable.
    pub fn spoil_hold(&self, vip: IpAddr) {
        self.memory.borrow_mut().spoilt_holds.insert(vip);
        self.memory.borrow().wake(Wake::DesiredChanged);
    }

    /// The operator ends the hold.
    pub fn resume(&self, vip: IpAddr) {
        self.memory.borrow_mut().holds.remove(&vip);
        self.memory.borrow().wake(Wake::DesiredChanged);
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

    /// The state that the daemon persisted last in this boot, even if its file is lost by now.
    pub fn served(&self, vip: IpAddr) -> Option<Persisted> {
        self.memory.borrow().served.get(&vip).cloned()
    }

    /// How long the file has not said leader. `None` if it says leader.
    pub fn stands_by_for(&self, vip: IpAddr) -> Option<Duration> {
        if matches!(self.desired(vip), Desired::Leader(_)) {
            return None;
        }
        let memory = self.memory.borrow();
        let since = memory.ended.get(&vip).copied().unwrap_or(Duration::ZERO);
        Some(self.clock.now().saturating_sub(since))
    }

    /// The files with the claims are gone, or cannot be used by this version: the next daemon remembers nothing.
    pub fn lose_claims(&self) {
        self.memory.borrow_mut().persisted.clear();
    }

    /// Somebody removes the desired-state file.
    pub fn lose_file(&self, vip: IpAddr) {
        let mut memory = self.memory.borrow_mut();
        memory.files.remove(&vip);
        memory.invalid.remove(&vip);
        memory.ended.insert(vip, self.clock.now());
        memory.wake(Wake::DesiredChanged);
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

    pub fn defect(&self, defect: Defect) {
        self.memory.borrow_mut().defect = Some(defect);
    }

    pub fn forget_everything_persisted(&self) {
        self.memory.borrow_mut().forgets = true;
    }

    pub fn skew_ms(&self) -> i64 {
        self.memory.borrow().skew_ms
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

    /// Everything on the machine except its clock is lost, as in a reboot.
    pub(super) fn reboot(&self) {
        let mut memory = self.memory.borrow_mut();
        let (skew_ms, suspended) = (memory.skew_ms, memory.suspended);
        let (forgets, defect) = (memory.forgets, memory.defect);
        let (processes, boots) = (memory.processes, memory.boots + 1);
        *memory = Memory { skew_ms, suspended, forgets, defect, processes, boots, ..Memory::default() };
    }
}

impl Machine for Computer {
    fn desired(&mut self, vip: IpAddr) -> Reading {
        let mut memory = self.memory.borrow_mut();
        memory.read.insert(vip);
        memory.looks += 1;
        let mut reading = memory.reading(vip);
        match memory.defect {
            Some(Defect::EndsNotSeen) => {
                let file = memory.last_leader.get(&vip);
                reading.desired = file.map_or(reading.desired, |file| file.desired(|_| true));
            }
            Some(Defect::GuardFlickers) if memory.looks % 2 == 1 => {
                let file = memory.files.get(&vip);
                reading.desired = file.map_or(reading.desired, |file| file.desired(|_| false));
            }
            _ => {}
        }
        reading
    }

    fn hold(&self, vip: IpAddr) -> Result<Option<InForce>, String> {
        let memory = self.memory.borrow();
        if memory.spoilt_holds.contains(&vip) {
            return Err(format!("{vip}.hold is not used: it is spoilt"));
        }
        if memory.defect == Some(Defect::HoldsNotSeen) {
            return Ok(None);
        }
        Ok(self.in_force(vip))
    }

    fn keep_only(&mut self, vips: &BTreeSet<IpAddr>) {
        self.memory.borrow_mut().read.retain(|vip| vips.contains(vip));
    }

    fn load(&self, vip: IpAddr) -> Option<Persisted> {
        self.persisted(vip)
    }

    fn save(&self, vip: IpAddr, persisted: &Persisted) -> Result<(), String> {
        if !self.switch.lives_past("before", "save") {
            return Ok(());
        }
        let mut memory = self.memory.borrow_mut();
        if memory.disk_full && memory.room != Room::Left {
            return Err("no space left on device".to_owned());
        }
        if memory.defect == Some(Defect::SavesNothing) {
            return Ok(());
        }
        memory.served.insert(vip, persisted.clone());
        memory.persisted.insert(vip, persisted.clone());
        self.switch.lives_past("after", "save");
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
