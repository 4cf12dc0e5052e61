//! The rule of the hooks: which desired-state file follows on the present file when a hook runs. The rule reads no
//! clock and no file, and draws no random number, so that a simulation can apply it too.

use std::net::IpAddr;

use super::file::{DesiredFile, Leadership, VERSION, Wanted};
use crate::ids::ClaimId;
use crate::machine::clock::{self, Clocks};
use crate::machine::process::Process;

/// One run of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub process: Process,
    /// The start of the hook, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// The boot in which the hook runs.
    pub boot_id: String,
    /// Pgpool's watchdog above the hook. `None` if Pgpool does not run the hook.
    pub watchdog: Option<WatchdogProcess>,
    /// The pid namespace of the hook, by its inode; `None` if `/proc` does not tell.
    pub pid_namespace: Option<u64>,
}

/// Pgpool's watchdog among the ancestors of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchdogProcess {
    /// The watchdog process. The leadership ends with this process.
    pub guard: Process,
    /// The process that the watchdog forked for one gain or loss of leadership. `None` if the watchdog process itself
    /// runs the hook, as it does after an address left the host.
    pub escalation: Option<Process>,
}

/// The change that a hook asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    pub hook: &'a Hook,
    pub delegate_ip: IpAddr,
    pub call: Call,
}

/// Which of the two hooks runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Pgpool made this node the leader.
    Up,
    /// Pgpool took the leadership from this node.
    Down,
}

/// The file that the hook writes, or `None` if a hook that started later has written already.
///
/// `present` is the file that is there now, of whatever boot, if a hook can build upon it. `new_claim` is the claim's
/// id if the hook begins a claim. `is_alive` tells whether the guard of a leadership lives that a person claims anew by
/// hand.
#[must_use]
pub fn next(
    present: Option<&DesiredFile>,
    request: &Request<'_>,
    now: Clocks,
    new_claim: ClaimId,
    is_alive: impl Fn(&Process) -> bool,
) -> Option<DesiredFile> {
    let hook = request.hook;
    let of_this_boot = present.filter(|file| file.boot_id == hook.boot_id);
    if of_this_boot.is_some_and(|file| started_later(file, hook, now)) {
        return None;
    }
    let leads = match of_this_boot.map(|file| &file.wanted) {
        Some(Wanted::Leader(leadership)) => Some(leadership),
        Some(Wanted::Standby) | None => None,
    };
    Some(DesiredFile {
        version: VERSION,
        delegate_ip: request.delegate_ip,
        // Without a file to build upon, the wall clock gives the sequence: it is greater than any number that was
        // counted up from an earlier time.
        sequence: present.map_or(now.wall_ms, |file| file.sequence.saturating_add(1)),
        written_ms: now.wall_ms,
        written_boottime_ns: Some(now.boottime_ns),
        boot_id: hook.boot_id.clone(),
        hook: hook.process,
        wanted: match request.call {
            Call::Up => Wanted::Leader(leadership(hook, leads, new_claim, is_alive)),
            Call::Down => Wanted::Standby,
        },
    })
}

/// Whether a hook that started after `hook` wrote the file. No real hook starts in the future. Such a start in a file
/// is ignored, because it would keep all hooks from writing until that time.
fn started_later(file: &DesiredFile, hook: &Hook, now: Clocks) -> bool {
    file.hook.started_after(&hook.process) && file.hook.start_time <= now.ticks()
}

/// The leadership with the claim that this `up` affirms, or with a new claim.
///
/// An `up` affirms the claim of its own watchdog process in two cases: the watchdog process itself runs the `up` (as
/// after each address that leaves the host), or the escalation is the claim's own. The hook writes an affirmed claim
/// again, because an older `down` that is still under way must see that an `up` started later. Another escalation of
/// the watchdog process begins another leadership, even if the `down` between the two got lost. Another node may have
/// led meanwhile, and the old claim would lose against that node's claim.
///
/// Without a watchdog above the hook, a person runs it. The claim is then new, so that it also takes back a VIP that
/// was lost to another node. If Pgpool leads here, the leadership keeps its guard.
fn leadership(
    hook: &Hook,
    present: Option<&Leadership>,
    new_claim: ClaimId,
    is_alive: impl Fn(&Process) -> bool,
) -> Leadership {
    let begin = |guard, escalation| Leadership {
        claim: new_claim,
        started_ms: hook.started_ms,
        started_boot_ms: Some(clock::boot_ms_at_tick(hook.process.start_time)),
        guard,
        escalation,
        pid_namespace: hook.pid_namespace,
    };
    match (&hook.watchdog, present) {
        (Some(watchdog), Some(present)) if watchdog.affirms(hook.pid_namespace, present) => present.clone(),
        (Some(watchdog), _) => begin(Some(watchdog.guard), watchdog.escalation),
        (None, Some(present)) if keeps_guard(hook, present, is_alive) => {
            Leadership { pid_namespace: present.pid_namespace, ..begin(present.guard, present.escalation) }
        }
        (None, _) => begin(None, None),
    }
}

/// Whether a leadership that a person claims anew by hand keeps its guard. A dead guard is dropped. A guard of another
/// pid namespace cannot be checked here, and is kept.
fn keeps_guard(hook: &Hook, present: &Leadership, is_alive: impl Fn(&Process) -> bool) -> bool {
    let is_foreign = present.pid_namespace.is_some() && present.pid_namespace != hook.pid_namespace;
    present.guard.as_ref().is_some_and(|guard| is_foreign || is_alive(guard))
}

impl WatchdogProcess {
    fn affirms(&self, pid_namespace: Option<u64>, present: &Leadership) -> bool {
        // A file without a namespace comes from an older program. A hook that knows of namespaces may affirm it.
        let is_here = present.pid_namespace.is_none_or(|theirs| Some(theirs) == pid_namespace);
        let is_its_escalation = self.escalation.is_none() || self.escalation == present.escalation;
        is_here && present.guard == Some(self.guard) && is_its_escalation
    }
}
