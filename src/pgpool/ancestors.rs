//! Pgpool's watchdog process among the ancestors of a hook. This module reads `/proc` only.

use std::path::PathBuf;

use crate::desired::next::WatchdogProcess;
use crate::machine::process::{Process, stat};

/// The kernel's name for each of Pgpool's processes, whatever title the processes give themselves.
const PGPOOL: &str = "pgpool";
/// A chain of ancestors breaks if a process in it ends. It is walked at most this many times in all.
const WALKS: u32 = 3;
/// A chain with more ancestors than this is a misreading, and is cut.
const DEEPEST: usize = 64;

/// One process above another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    pub process: Process,
    /// The command name as the kernel keeps it, at most 15 bytes.
    pub comm: String,
    /// The path of the program's file. `None` if it cannot be seen, and for processes that are not called `pgpool`.
    pub program: Option<PathBuf>,
}

/// Pgpool's watchdog among the ancestors of a process. `None` if no ancestor belongs to Pgpool.
#[must_use]
pub fn watchdog_above(pid: u32) -> Option<WatchdogProcess> {
    watchdog_among(&ancestors(pid))
}

/// The visible ancestors of a process, its parent first.
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

/// Finds the watchdog process among the ancestors. Pgpool's processes form one run: main, the watchdog process, and
/// mostly a process that the watchdog forked for this escalation. All of them run one program; a wrapper with the name
/// `pgpool` runs another program. So the topmost process of the run is main, and the process below main is the watchdog
/// process. A run of one process is left when another Pgpool process has died: main as pid 1 of a container adopted the
/// hook, or the watchdog process lost its main. The leadership cannot outlive the process that is left, so that process
/// is the guard.
fn watchdog_among(ancestors: &[Ancestor]) -> Option<WatchdogProcess> {
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
        [.., escalation, guard, _main] => Some(WatchdogProcess { guard, escalation: Some(escalation) }),
        [guard] | [guard, _] => Some(WatchdogProcess { guard, escalation: None }),
        [] => None,
    }
}

/// The ancestors, and whether the chain is whole. The chain is broken if a process in it ended during the walk.
fn walk(pid: u32) -> (Vec<Ancestor>, bool) {
    let mut chain = Vec::new();
    let Ok(mut child) = stat(pid) else { return (chain, false) };
    while child.parent != 0 && chain.len() < DEEPEST {
        let pid = child.parent;
        let Ok(parent) = stat(pid) else { return (chain, false) };
        if parent.start_time > child.start_time {
            // A parent is never younger than its child. The real parent ended, and this process got its pid.
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

    /// Finds the guard and the escalation in ancestors given as text, the parent first, like `sh pgpool pgpool
    /// systemd`. `pgpool:/bin/sh` is a process that runs another program, and `pgpool:?` is a process whose program
    /// cannot be seen. Pids count down from 100.
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
}
