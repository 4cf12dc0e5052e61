//! Processes that the kernel knows as `pgpool`, in the order in which Pgpool's own processes stand above a hook: main,
//! the watchdog, and the process that the watchdog forked for an escalation.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use super::eventually;
use super::machine::{Machine, program};

const MAIN: usize = 0;
const WATCHDOG: usize = 1;
const ESCALATION: usize = 2;

/// The processes, which end with the test whether it passes or fails.
pub struct Pgpool {
    folder: TempDir,
    top: Child,
}

impl Pgpool {
    /// Starts the processes and escalates: the hook is `vipkeeper up` of this VIP on this machine. Returns when the
    /// hook has ended.
    pub fn escalate(machine: &Machine, vip: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: String| folder.path().join(name);
        // The kernel names a process after the file of its program.
        super::copy_program("/bin/sh", path("pgpool".to_owned()));
        let hook = format!("\"$VIPKEEPER\" up {vip} --config {}", machine.config().display());
        let starts = [MAIN, WATCHDOG, ESCALATION]
            .map(|level| format!("{} {}", path("pgpool".to_owned()).display(), path(format!("{level}.sh")).display()));
        for level in [MAIN, WATCHDOG, ESCALATION] {
            let next = starts.get(level + 1).unwrap_or(&hook);
            let [pid, done] = ["pid", "done"].map(|kind| path(format!("{level}.{kind}")).display().to_string());
            // The shell outlives the program that it starts. The commands after that program keep the shell from
            // replacing itself by it.
            let script = format!("echo $$ > {pid}\n{next}\necho $? > {done}\nsleep 600\n:\n");
            fs::write(path(format!("{level}.sh")), script).unwrap();
        }
        let mut top = Command::new("sh");
        top.args(["-c", &format!("{}\n:", starts[MAIN])]).process_group(0);
        top.env("VIPKEEPER", program()).stdin(Stdio::null()).stdout(Stdio::null());
        let pgpool = Self { top: top.spawn().unwrap(), folder };
        let ended = pgpool.folder.path().join(format!("{ESCALATION}.done"));
        eventually("the hook ended", || fs::read_to_string(&ended).is_ok_and(|text| text.ends_with('\n')));
        assert_eq!(fs::read_to_string(&ended).unwrap(), "0\n", "the hook's exit code");
        pgpool
    }

    /// Kills the watchdog process. The other processes live on.
    pub fn kill_watchdog(&self) {
        let path: PathBuf = self.folder.path().join(format!("{WATCHDOG}.pid"));
        let pid: i32 = fs::read_to_string(path).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
}

impl Drop for Pgpool {
    fn drop(&mut self) {
        // The processes may have ended already.
        let _ = kill_process_group(Pid::from_child(&self.top), Signal::KILL);
        let _ = self.top.wait();
    }
}
