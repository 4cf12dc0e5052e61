//! The guard, found above a real process: shells that the kernel knows as `pgpool` stand in for Pgpool's processes.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use vipkeeper::commands::hook::up;
use vipkeeper::desired::file::{DesiredFile, Wanted};
use vipkeeper::desired::next::WatchdogProcess;
use vipkeeper::desired::{Desired, WhyStandby};
use vipkeeper::machine::process::{self, Process};

use vipkeeper::state_dir::Machine;
use vipkeeper::state_dir::files::Files;

use crate::support::{
    CHILD, IP, context, copy_program, mode, program_for_all, read, result, state, this_program, trusted, uid,
};
use crate::unshare;

/// A tree of processes, one below the other; ends with the test, whatever comes of it.
struct Tree {
    folder: TempDir,
    top: Child,
    levels: usize,
}

impl Tree {
    /// From the top down: `pgpool` is one of Pgpool's processes, `sh` a shell, `wrapper` a script that is called
    /// `pgpool` too. Below the last one, a hook looks for its watchdog.
    fn grow(levels: &[&str]) -> Self {
        Self::grow_in(&[], "watchdog", levels)
    }

    /// As [`Self::grow`], run by the command `around`, and with another word for the hook at the bottom.
    fn grow_in(around: &[&str], what: &str, levels: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: String| folder.path().join(name);
        fs::create_dir(path("wrap".to_owned())).unwrap();
        copy_program("/bin/sh", path("pgpool".to_owned()));
        let start = |level: usize| match levels.get(level) {
            Some(&"pgpool") => format!("{} {}", path("pgpool".to_owned()).display(), path(level.to_string()).display()),
            Some(&"wrapper") => path("wrap/pgpool".to_owned()).display().to_string(),
            Some(shell) => format!("{shell} {}", path(level.to_string()).display()),
            None => format!("{} {}", this_program().display(), CHILD.join(" ")),
        };
        for (level, name) in levels.iter().enumerate() {
            // Each one outlives what it started, like Pgpool's; the shell is not replaced by its last command.
            let own_pid = path(format!("{level}.pid"));
            let script = format!("echo $$ > {}\n{}\nsleep 60\n:\n", own_pid.display(), start(level + 1));
            if *name == "wrapper" {
                fs::write(path("wrap/pgpool".to_owned()), format!("#!/bin/sh\n{script}")).unwrap();
                mode(&path("wrap/pgpool".to_owned()), 0o755);
            } else {
                fs::write(path(level.to_string()), script).unwrap();
            }
        }
        let mut top = Command::new("env");
        top.args(around).args(["sh", "-c", &format!("{}\n:", start(0))]).process_group(0);
        top.env("HOOK", what).env("STATE", folder.path()).env("OUT", path("found".to_owned()));
        let top = top.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { levels: levels.len(), top, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One of the levels as a process.
    fn process(&self, level: usize) -> Process {
        assert!(level < self.levels);
        let pid = fs::read_to_string(self.path(&format!("{level}.pid"))).unwrap().trim().parse().unwrap();
        Process { pid, start_time: process::start_time(pid).unwrap() }
    }

    /// The findings of the hook at the bottom.
    fn found(&self) -> String {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            if let Ok(text) = fs::read_to_string(self.path("found"))
                && let Some((found, _)) = text.split_once('\n')
            {
                return found.to_owned();
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the hook said nothing");
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.top);
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.top.wait();
    }
}

/// Grows the tree and compares what the hook found with two levels of it, counted from the top.
fn check(levels: &[&str], guard: usize, escalation: Option<usize>) {
    let tree = Tree::grow(levels);
    let found = tree.found();
    let expected =
        WatchdogProcess { guard: tree.process(guard), escalation: escalation.map(|level| tree.process(level)) };
    assert_eq!(found, format!("{:?}", Some(expected)), "{levels:?}");
}

#[test]
fn the_guard_is_found_above_a_hook_in_an_escalation() {
    check(&["pgpool", "pgpool", "pgpool"], 1, Some(2));
}

#[test]
fn the_guard_is_found_above_a_hook_that_the_watchdog_process_runs_itself() {
    check(&["pgpool", "pgpool"], 1, None);
}

#[test]
fn shells_in_between_do_not_matter() {
    check(&["sh", "pgpool", "pgpool", "pgpool", "sh", "sh"], 2, Some(3));
    check(&["sh", "pgpool", "pgpool", "sh"], 2, None);
}

#[test]
fn a_wrapper_of_the_same_name_above_pgpool_does_not_matter() {
    check(&["wrapper", "pgpool", "pgpool", "pgpool"], 2, Some(3));
}

#[test]
fn a_lone_pgpool_process_is_its_own_guard() {
    check(&["sh", "pgpool", "sh"], 1, None);
}

#[test]
fn without_pgpool_there_is_no_guard() {
    assert_eq!(Tree::grow(&["sh", "sh"]).found(), "None");
}

#[test]
fn a_killed_guard_is_dead_while_the_processes_around_it_live() {
    let tree = Tree::grow(&["pgpool", "pgpool", "pgpool"]);
    tree.found();
    let [main, guard, escalation] = [0, 1, 2].map(|level| tree.process(level));
    assert!(process::is_alive(&guard));
    kill_process(Pid::from_raw(i32::try_from(guard.pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    let began = Instant::now();
    while process::is_alive(&guard) {
        assert!(began.elapsed() < Duration::from_secs(5), "still alive");
        thread::sleep(Duration::from_millis(1));
    }
    assert!(process::is_alive(&main) && process::is_alive(&escalation));
    let above: Vec<_> =
        vipkeeper::pgpool::ancestors::ancestors(escalation.pid).into_iter().map(|ancestor| ancestor.process).collect();
    assert!(!above.contains(&guard) && !above.contains(&main), "it has another parent now: {above:?}");
}

#[test]
fn a_guard_that_proc_hides_from_us_counts_as_alive_until_it_is_gone() {
    if uid() != 0 {
        eprintln!("not tested: it takes root to become another user");
        return;
    }
    if let Some(obstacle) = unshare::obstacle(&["--mount"]) {
        eprintln!("not tested: no mount namespace here: {obstacle}");
        return;
    }
    let (_folder, program) = program_for_all();
    let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
    let guard = Process { pid: sleeper.id(), start_time: process::start_time(sleeper.id()).unwrap() };
    // As under systemd's `ProtectProc=invisible`: the daemon's user sees its own processes only.
    let script = r#"
        mount -t proc -o hidepid=2 proc /proc || exit 77
        exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -c '[ ! -e "/proc/$PID" ] && exec "$0" "$@"' "$0" "$@""#;
    let look = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(&program).args(CHILD).current_dir("/");
        command.env("HOOK", "alive").env("STATE", "/").env("PID", guard.pid.to_string());
        result(&command.env("GUARD", serde_json::to_string(&guard).unwrap()).output().unwrap())
    };
    let hidden = look();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let gone = look();
    if hidden.0 == 77 {
        eprintln!("not tested: no mount namespace here: {}", hidden.1);
        return;
    }
    assert_eq!((hidden, gone), ((0, String::new()), (3, String::new())));
}

/// A pid namespace of its own, with the `/proc` that belongs to it, as a container has them.
const CONTAINER: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Whether this process can make one. Where it cannot, the test says so.
fn has_containers() -> bool {
    let obstacle = if uid() == 0 { unshare::obstacle(&CONTAINER[1..]) } else { Some("it takes root".to_owned()) };
    if let Some(obstacle) = &obstacle {
        eprintln!("not tested: no pid namespace here: {obstacle}");
    }
    obstacle.is_none()
}

#[test]
fn a_guard_in_a_container_is_watched_from_outside() {
    if !has_containers() {
        return;
    }
    let tree = Tree::grow_in(&CONTAINER, "up", &["pgpool", "pgpool", "pgpool"]);
    tree.found();
    let file = vipkeeper::desired::path(tree.folder.path(), IP);
    let began = Instant::now();
    while !file.exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "the hook wrote nothing");
        thread::sleep(Duration::from_millis(1));
    }
    let mut machine = Files::new(tree.folder.path(), trusted(), None).unwrap();
    let reading = machine.desired(IP);
    assert!(matches!(reading.desired, Desired::Leader(_)), "{reading:?}");
    assert_eq!((reading.guard_alive, reading.guard_unseen), (Some(true), false));
    let guard = reading.in_force.as_ref().and_then(DesiredFile::guard).unwrap();
    let written = read(tree.folder.path()).guard().unwrap();
    assert!(guard.pid != written.pid && guard.start_time == written.start_time, "{guard:?} is {written:?} there");

    kill_process(Pid::from_raw(i32::try_from(guard.pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    let began = Instant::now();
    while process::is_alive(&guard) {
        assert!(began.elapsed() < Duration::from_secs(5), "still alive");
        thread::sleep(Duration::from_millis(1));
    }
    let reading = machine.desired(IP);
    assert_eq!((&reading.desired, reading.guard_alive), (&Desired::Standby(WhyStandby::GuardDead), Some(false)));
}

#[test]
fn a_guard_outside_of_the_daemons_container_counts_as_alive_and_is_said_to_be_unseen() {
    if !has_containers() {
        return;
    }
    let state = state();
    let me = process::this_process().unwrap();
    let watchdog = WatchdogProcess { guard: me, escalation: None };
    up(&context(state.path(), 0, Some(watchdog)), IP).unwrap();
    let mut command = Command::new("env");
    command.args(CONTAINER).arg(this_program()).args(CHILD).env("HOOK", "desired").env("STATE", state.path());
    let (code, text) = result(&command.output().unwrap());
    assert!(code == 0 && text.contains("desired: Leader("), "{code} {text}");
    assert!(text.contains("guard_alive: None, guard_unseen: true"), "{text}");
    // The hook of an operator in the container keeps the guard that it cannot ask about, and its namespace.
    let guard = || match read(state.path()).wanted {
        Wanted::Leader(leadership) => (leadership.guard, leadership.pid_namespace),
        Wanted::Standby => panic!("standby"),
    };
    let before = guard();
    let (code, text) = result(&command.env("HOOK", "up").output().unwrap());
    assert_eq!((code, guard()), (0, before), "{text}");
}

/// A time namespace of its own, in which the machine seems to have started 5000 s earlier.
const OTHER_TIME: [&str; 5] = ["unshare", "--time", "--boottime=5000", "--fork", "--kill-child"];

#[test]
fn a_guard_that_a_hook_noted_in_another_time_namespace_is_known_to_live() {
    let obstacle = if uid() == 0 { unshare::obstacle(&OTHER_TIME[1..]) } else { Some("it takes root".to_owned()) };
    if let Some(obstacle) = obstacle {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test: {obstacle}");
        eprintln!("not tested: no time namespace here: {obstacle}");
        return;
    }
    let tree = Tree::grow_in(&OTHER_TIME, "up", &["pgpool", "pgpool", "pgpool"]);
    tree.found();
    let file = vipkeeper::desired::path(tree.folder.path(), IP);
    let began = Instant::now();
    while !file.exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "the hook wrote nothing");
        thread::sleep(Duration::from_millis(1));
    }
    let mut machine = Files::new(tree.folder.path(), trusted(), None).unwrap();
    let reading = machine.desired(IP);
    assert_eq!(reading.guard_alive, Some(true), "{reading:?}");
    let written = reading.in_force.unwrap();
    assert_eq!(written.guard(), Some(tree.process(1)));
    let Desired::Leader(claim) = reading.desired else { panic!("{:?}", reading.desired) };
    let now = machine.now().at;
    for moment in [written.written_at(), claim.started_at.unwrap()] {
        assert!(now.checked_sub(moment).is_some_and(|ago| ago.as_secs() < 30), "{moment:?} at {now:?}");
    }
}
