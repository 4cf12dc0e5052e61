//! Pgpool's watchdog process among the ancestors of a hook. Reads `/proc` alone.

use std::path::PathBuf;

use crate::desired::next::WatchdogProcess;
use crate::machine::process::{Process, stat};

/// What the kernel calls each of Pgpool's processes, whatever title they give themselves.
const PGPOOL: &str = "pgpool";
/// A chain of ancestors that breaks because somebody in it ends is walked again, so often at most.
const WALKS: u32 = 3;
/// More ancestors than this are no chain of processes but a misreading.
const DEEPEST: usize = 64;

/// One process above another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    pub process: Process,
    /// The command name as the kernel keeps it, at most 15 bytes.
    pub comm: String,
    /// The program's file, as far as we may see it; looked up for Pgpool's processes only.
    pub program: Option<PathBuf>,
}

/// Pgpool's watchdog among the ancestors of a process, if Pgpool is there at all.
#[must_use]
pub fn watchdog_above(pid: u32) -> Option<WatchdogProcess> {
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
}
