//! Which process is which: identities that outlive the reuse of a pid, the ancestors of a hook, and among them Pgpool's
//! watchdog process. Reads `/proc` and clocks; changes nothing, and waits for nobody.

use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Pid;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What the kernel calls each of Pgpool's processes, whatever title they give themselves.
const PGPOOL: &str = "pgpool";
/// A chain of ancestors that breaks because somebody in it ends is walked again, so often at most.
const WALKS: u32 = 3;
/// More ancestors than this are no chain of processes but a misreading.
const DEEPEST: usize = 64;
const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// One process of this boot, not to be confused with a later one of the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// In clock ticks since boot: field 22 of `/proc/<pid>/stat`, proc_pid_stat(5).
    pub start_time: u64,
}

impl Process {
    /// Whether this process started after the other one. In the same tick (10 ms) the pids tell, which the kernel hands
    /// out in order; that they start again from the bottom just then is left to chance.
    #[must_use]
    pub fn started_after(&self, other: &Self) -> bool {
        (self.start_time, self.pid) > (other.start_time, other.pid)
    }

    /// When it started: milliseconds since the Unix epoch.
    #[must_use]
    pub fn started_ms(&self) -> u64 {
        Moment::now().wall_ms_at_start_of(*self)
    }
}

/// Pgpool's watchdog as it stands above a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watchdog {
    /// The watchdog process: its end is the end of the leadership.
    pub guard: Process,
    /// The process that the watchdog forked for this one gain or loss of leadership; `None` when the watchdog process
    /// itself runs the hook, as it does after an address left the host.
    pub escalation: Option<Process>,
}

/// One process above another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    pub process: Process,
    /// The command name as the kernel keeps it, at most 15 bytes.
    pub comm: String,
    /// The program's file, as far as we may see it; looked up for Pgpool's processes only.
    pub program: Option<PathBuf>,
}

/// One moment on two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since boot, suspended time included; never steps.
    pub boottime_ns: u64,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

impl Moment {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        let (s, ns) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
        let boottime_ns = s.unwrap_or(0).saturating_mul(NS_PER_S).saturating_add(ns.unwrap_or(0));
        Self { boottime_ns, wall_ms: wall_ms() }
    }

    /// The same as the kernel counts the starts of processes: clock ticks since boot.
    #[must_use]
    pub fn ticks(self) -> u64 {
        self.boottime_ns / ns_per_tick()
    }

    /// The wall clock when the process started, which the kernel tells to the tick (10 ms); in the tick that this
    /// moment is in, this moment. A process that was held up before it could look at a clock still counts from its
    /// start.
    fn wall_ms_at_start_of(self, process: Process) -> u64 {
        let end_of_tick_ns = process.start_time.saturating_add(1).saturating_mul(ns_per_tick());
        self.wall_ms.saturating_sub(self.boottime_ns.saturating_sub(end_of_tick_ns) / NS_PER_MS)
    }
}

/// The wall clock of hooks and daemon alike: milliseconds since the Unix epoch.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "here hooks and daemon ask for the time")]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn ns_per_tick() -> u64 {
    NS_PER_S / rustix::param::clock_ticks_per_second().max(1)
}

/// The kernel's name for this boot: `/proc/sys/kernel/random/boot_id`.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn boot_id() -> io::Result<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

/// The start of a process in clock ticks since boot. `None`: there is no such process, or `/proc` hides it.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    stat(pid).ok().map(|stat| stat.start_time)
}

/// This process.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn this_process() -> io::Result<Process> {
    let pid = std::process::id();
    Ok(Process { pid, start_time: stat(pid)?.start_time })
}

/// Whether this very process is still there and no zombie. One that exists but that `/proc` hides from us (`hidepid`,
/// systemd's `ProtectProc=`) counts as alive: nothing may be given up because we cannot see.
#[must_use]
pub fn is_alive(process: &Process) -> bool {
    match stat(process.pid) {
        Ok(stat) => stat.start_time == process.start_time && !matches!(stat.state, 'Z' | 'X' | 'x'),
        Err(_) => exists(process.pid),
    }
}

/// Whether some process has this pid now, hidden by `/proc` or not.
#[must_use]
pub fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Pgpool's watchdog among the ancestors of a process, if Pgpool is there at all.
#[must_use]
pub fn watchdog_above(pid: u32) -> Option<Watchdog> {
    watchdog_among(&ancestors(pid))
}

/// The ancestors of a process, its parent first; as far as they can be seen.
#[must_use]
pub fn ancestors(pid: u32) -> Vec<Ancestor> {
    let mut longest = Vec::new();
    for _ in 0..WALKS {
        let (chain, whole) = walk(pid);
        if whole {
            return chain;
        }
        if chain.len() > longest.len() {
            longest = chain;
        }
    }
    longest
}

/// Pgpool's processes stand in one run: main, the watchdog process, and mostly a process that it forked for this
/// escalation. They are forks of one program; a wrapper of the same name is another one. So the topmost of the run is
/// main and the one below it is the watchdog process. A lone Pgpool process is what a death in the family left over
/// (main as pid 1 of a container that adopted the hook, a watchdog process that lost its main): then the leadership
/// cannot outlive that one, and it is the guard.
fn watchdog_among(ancestors: &[Ancestor]) -> Option<Watchdog> {
    let first = ancestors.iter().position(|ancestor| ancestor.comm == PGPOOL)?;
    let program = ancestors[first].program.as_ref();
    let same_program =
        |other: &Ancestor| other.program.is_none() || program.is_none() || other.program.as_ref() == program;
    let run: Vec<Process> = ancestors[first..]
        .iter()
        .take_while(|ancestor| ancestor.comm == PGPOOL && same_program(ancestor))
        .map(|ancestor| ancestor.process)
        .collect();
    match *run.as_slice() {
        [.., escalation, guard, _main] => Some(Watchdog { guard, escalation: Some(escalation) }),
        [guard] | [guard, _] => Some(Watchdog { guard, escalation: None }),
        [] => None,
    }
}

/// Parent after parent, and whether the chain is whole: it is not if somebody in it ended while we looked.
fn walk(pid: u32) -> (Vec<Ancestor>, bool) {
    let mut chain = Vec::new();
    let Ok(mut child) = stat(pid) else { return (chain, false) };
    while child.parent != 0 && chain.len() < DEEPEST {
        let pid = child.parent;
        let Ok(parent) = stat(pid) else { return (chain, false) };
        if parent.start_time > child.start_time {
            // No parent is younger than its child: the parent ended, and this one got its pid.
            return (chain, false);
        }
        let program = (parent.comm == PGPOOL).then(|| std::fs::read_link(format!("/proc/{pid}/exe")).ok()).flatten();
        chain.push(Ancestor {
            process: Process { pid, start_time: parent.start_time },
            comm: parent.comm.clone(),
            program,
        });
        child = parent;
    }
    (chain, true)
}

/// The fields of `/proc/<pid>/stat` that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stat {
    comm: String,
    state: char,
    parent: u32,
    start_time: u64,
}

fn stat(pid: u32) -> io::Result<Stat> {
    let text = std::fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&String::from_utf8_lossy(&text))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is not as in proc(5)")))
}

/// The command stands in brackets and may itself hold brackets and spaces; nothing after it does.
fn parse_stat(text: &str) -> Option<Stat> {
    let (before, after) = text.rsplit_once(')')?;
    let (_, comm) = before.split_once('(')?;
    // The first field here is the third of the line, as proc(5) counts them.
    let mut fields = after.split_ascii_whitespace();
    Some(Stat {
        comm: comm.to_owned(),
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        start_time: fields.nth(22 - 5)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ancestor(pid: u32, comm: &str, program: Option<&str>) -> Ancestor {
        Ancestor {
            process: Process { pid, start_time: u64::from(1000 - pid) },
            comm: comm.to_owned(),
            program: program.map(PathBuf::from),
        }
    }

    /// Ancestors as text, the parent first, like `sh pgpool pgpool systemd`; `pgpool:/bin/sh` is one that runs another
    /// program, `pgpool:?` one whose program we may not see. Pids count from 100 downwards.
    fn found(chain: &str) -> Option<(u32, Option<u32>)> {
        let chain: Vec<_> = (1..=100)
            .rev()
            .zip(chain.split(' '))
            .map(|(pid, word)| match word.split_once(':') {
                Some((comm, "?")) => ancestor(pid, comm, None),
                Some((comm, program)) => ancestor(pid, comm, Some(program)),
                None => ancestor(pid, word, (word == PGPOOL).then_some("/usr/sbin/pgpool")),
            })
            .collect();
        watchdog_among(&chain).map(|found| (found.guard.pid, found.escalation.map(|process| process.pid)))
    }

    #[test]
    fn the_guard_is_the_process_whose_parent_is_pgpools_main_process() {
        assert_eq!(found("pgpool pgpool pgpool systemd"), Some((99, Some(100))), "if_up_cmd in an escalation");
        assert_eq!(found("sh pgpool pgpool pgpool systemd"), Some((98, Some(99))), "wd_escalation_command");
        assert_eq!(found("sudo sh pgpool pgpool pgpool systemd"), Some((97, Some(98))), "sudo");
        assert_eq!(found("pgpool pgpool systemd"), Some((100, None)), "called by the watchdog process itself");
        assert_eq!(found("pgpool:? pgpool:? pgpool:? systemd"), Some((99, Some(100))), "programs we may not see");
        assert_eq!(found("bash sshd systemd"), None, "an operator");
    }

    #[test]
    fn a_wrapper_of_the_same_name_is_not_pgpools_main_process() {
        assert_eq!(found("pgpool pgpool pgpool pgpool:/bin/sh systemd"), Some((99, Some(100))));
        assert_eq!(found("pgpool pgpool sh pgpool systemd"), Some((100, None)), "another run further up is not ours");
    }

    #[test]
    fn a_lone_pgpool_process_is_the_guard_itself() {
        assert_eq!(found("pgpool systemd"), Some((100, None)));
        assert_eq!(found("sh pgpool"), Some((99, None)));
        assert_eq!(found("pgpool pgpool:/bin/sh systemd"), Some((100, None)));
    }

    #[test]
    fn a_command_name_may_hold_brackets_and_spaces() {
        let line = "42 (a) S 1 (b) Z 7 5 5 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10 1844";
        let stat = parse_stat(line).unwrap();
        assert_eq!(stat, Stat { comm: "a) S 1 (b".to_owned(), state: 'Z', parent: 7, start_time: 987_654 });
        assert_eq!(parse_stat("42 (pgpool) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn this_process_is_alive_and_one_with_another_start_time_is_not() {
        let process = this_process().unwrap();
        assert!(is_alive(&process));
        assert!(!is_alive(&Process { start_time: process.start_time + 1, ..process }), "the pid was reused");
        assert!(!is_alive(&Process { pid: u32::MAX, start_time: 1 }));
        assert!(!is_alive(&Process { pid: 0, start_time: 1 }));
    }

    #[test]
    fn of_two_processes_in_one_tick_the_higher_pid_started_later() {
        let process = |start_time, pid| Process { pid, start_time };
        assert!(process(2, 1).started_after(&process(1, 9)) && !process(1, 9).started_after(&process(2, 1)));
        assert!(process(1, 9).started_after(&process(1, 1)) && !process(1, 1).started_after(&process(1, 1)));
        let me = this_process().unwrap();
        let (now, started_ms) = (Moment::now(), me.started_ms());
        assert!(me.start_time <= now.ticks() && started_ms <= now.wall_ms + 20);
        let child = std::process::Command::new("true").spawn().unwrap();
        let child_process = Process { pid: child.id(), start_time: start_time(child.id()).unwrap() };
        assert!(child_process.started_after(&me));
        child.wait_with_output().unwrap();
    }

    #[test]
    fn a_process_that_was_held_up_counts_from_its_start() {
        let process = Process { pid: 1, start_time: 100 };
        let started = |boottime_ns| Moment { boottime_ns, wall_ms: 50_000 }.wall_ms_at_start_of(process);
        assert_eq!(started(1_004_000_000), 50_000, "in the same tick");
        assert_eq!(started(4_010_000_000), 47_000, "three seconds later");
    }
}
