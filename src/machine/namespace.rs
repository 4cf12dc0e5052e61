//! Processes of other pid namespaces (pid_namespaces(7)), as in containers. A pid means another process there, or none.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::process::{Process, stat};

/// The inode of the pid namespace in which the machine's first process runs (`PROC_PID_INIT_INO` of the kernel).
const INITIAL: u64 = 0xEFFF_FFFC;

/// The result of a search for a process that another pid namespace names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// The process was found. It is given by its id in this namespace.
    Here(Process),
    /// The process is gone: this namespace shows all processes of the machine, and the process is not among them.
    Gone,
    /// The process may live where this namespace cannot see it.
    Unseen,
}

/// The pid namespace of this process, by its inode. `None` if `/proc` does not tell.
#[must_use]
pub fn own() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid").ok().map(|found| found.ino())
}

/// Looks for a process that has this id in a pid namespace below the caller's own. The start time tells it apart from
/// processes with the same id in other namespaces: two of these start in the same clock tick (10 ms) only by chance.
#[must_use]
pub fn sight(process: &Process) -> Sighting {
    let Ok(entries) = fs::read_dir("/proc") else { return Sighting::Unseen };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids {
        let has_id = || ids(pid).is_some_and(|ids| ids.len() > 1 && ids.last() == Some(&process.pid));
        if stat(pid).is_ok_and(|stat| stat.start_time == process.start_time) && has_id() {
            return Sighting::Here(Process { pid, ..*process });
        }
    }
    // A `/proc` that hides other users' processes also hides the first process. So a visible process 1 shows that
    // `/proc` hides nothing.
    if own() == Some(INITIAL) && stat(1).is_ok() { Sighting::Gone } else { Sighting::Unseen }
}

/// The ids of a process, first in this namespace and last in the process's own. The kernel gives them as `NSpid` in
/// `/proc/<pid>/status`.
fn ids(pid: u32) -> Option<Vec<u32>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    ids.split_ascii_whitespace().map(|id| id.parse().ok()).collect()
}
