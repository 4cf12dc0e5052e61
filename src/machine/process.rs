//! Identities of processes that stay unique when a pid is used again. This module reads `/proc`, changes nothing, and
//! waits for nobody.

use std::io;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::clock::{self, Clocks};

/// One process of this boot. The start time tells it apart from a later process with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// The start in clock ticks since the machine's boot: field 22 of `/proc/<pid>/stat`, proc_pid_stat(5), without the offset
    /// of the reader's time namespace.
    pub start_time: u64,
}

impl Process {
    /// Whether this process started after `other`. If both started in the same tick (10 ms), the higher pid counts as
    /// later, because the kernel gives pids out in order. The pids may start again from the bottom in that very tick,
    /// and then the answer is wrong. That rare case is accepted.
    #[must_use]
    pub fn started_after(&self, other: &Self) -> bool {
        (self.start_time, self.pid) > (other.start_time, other.pid)
    }

    /// The start of the process, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn started_ms(&self) -> u64 {
        Clocks::now().wall_ms_at_tick(self.start_time)
    }
}

/// The start of a process in clock ticks since boot. `None` if there is no such process, or if `/proc` hides it.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    stat(pid).ok().map(|stat| stat.start_time)
}

/// The process that calls.
///
/// # Errors
/// `/proc` cannot be read.
pub fn this_process() -> io::Result<Process> {
    let pid = std::process::id();
    Ok(Process { pid, start_time: stat(pid)?.start_time })
}

/// Whether this very process is still there and is no zombie. A process that exists but that `/proc` hides (`hidepid`,
/// systemd's `ProtectProc=`) counts as alive, because nothing may be given up only because vipkeeper cannot see.
#[must_use]
pub fn is_alive(process: &Process) -> bool {
    match stat(process.pid) {
        Ok(stat) => stat.start_time == process.start_time && !matches!(stat.state, 'Z' | 'X' | 'x'),
        Err(_) => exists(process.pid),
    }
}

/// Whether some process has this pid now, even if `/proc` hides it.
#[must_use]
pub fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// The kernel's name for a process, at most 15 bytes. `None` if there is no such process, or if `/proc` hides it.
#[must_use]
pub fn comm_of(pid: u32) -> Option<String> {
    stat(pid).ok().map(|stat| stat.comm)
}

/// Whether a process may administer the network (capabilities(7)). `None` if `/proc` does not tell.
#[must_use]
pub fn has_net_admin(pid: u32) -> Option<bool> {
    /// `CAP_NET_ADMIN` of linux/capability.h.
    const NET_ADMIN: u32 = 12;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    Some(effective >> NET_ADMIN & 1 == 1)
}

/// The fields of `/proc/<pid>/stat` that vipkeeper needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub comm: String,
    pub state: char,
    pub parent: u32,
    pub start_time: u64,
}

pub(crate) fn stat(pid: u32) -> io::Result<Stat> {
    let text = std::fs::read(format!("/proc/{pid}/stat"))?;
    let stat = parse_stat(&String::from_utf8_lossy(&text))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is not as in proc(5)")))?;
    Ok(Stat { start_time: clock::machines_tick(stat.start_time), ..stat })
}

/// The command stands in brackets and may itself contain brackets and spaces. The fields after the command contain
/// none.
fn parse_stat(text: &str) -> Option<Stat> {
    let (before, after) = text.rsplit_once(')')?;
    let (_, comm) = before.split_once('(')?;
    // The first field after the command is the third of the line, as proc(5) counts them.
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
        let (now, started_ms) = (Clocks::now(), me.started_ms());
        assert!(me.start_time <= now.ticks() && started_ms <= now.wall_ms + 20);
        let child = std::process::Command::new("true").spawn().unwrap();
        let child_process = Process { pid: child.id(), start_time: start_time(child.id()).unwrap() };
        assert!(child_process.started_after(&me));
        child.wait_with_output().unwrap();
    }
}
