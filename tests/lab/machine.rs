//! A machine of the lab: namespaces of its own for network, processes, mounts and System V memory, held by one init
//! process. Nothing of it has a name outside: when init ends, the kernel takes everything else along. Init ends when its
//! standard input does, so a test that was killed leaves no machine behind either.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::suite::Suite;

/// The only variables that programs of the lab see: no proxy, no credentials, no language of the caller's.
const ENVIRONMENT: [(&str, &str); 3] =
    [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C"), ("HOME", "/nonexistent")];

/// The options of unshare(1) that make the namespaces of a machine.
pub const NAMESPACES: [&str; 9] =
    ["--net", "--ipc", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--propagation", "private"];

/// The words before a program that runs as root (none), or as Pgpool's and PostgreSQL's user.
pub const ROOT: [&str; 0] = [];
pub const POSTGRES: [&str; 6] =
    ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--inh-caps=-all", "--"];
/// The words before a program whose files are to be its group's as well.
pub const UMASK: [&str; 3] = ["sh", "-c", "umask 002; exec \"$0\" \"$@\""];

/// The work of init: a /sys that shows this network's interfaces, an empty /run, folders laid over the machine's, and in a
/// suite's folder the folders that its programs need. `$1` is that folder, or empty; then come pairs of an upper and a
/// lower folder. A later mount below /run is seen in the suite's as well. bash reaps orphans while it reads.
const INIT: &str = r#"
set -e
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
suite=$1
shift
if [ -n "$suite" ]; then
    mount --make-shared /run
    for folder in /dev /proc /run /sys /tmp; do
        mount --rbind "$folder" "$suite$folder"
    done
fi
while [ $# -gt 0 ]; do
    mount -t overlay overlay -o "lowerdir=$1:$2" "$2"
    shift 2
done
ip link set lo up
sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.all.send_redirects=0 \
    net.ipv4.conf.default.send_redirects=0 net.ipv4.conf.all.accept_redirects=0 \
    net.ipv4.ping_group_range='0 65535'
echo ready
read -r _ || true
"#;

pub struct Machine {
    holder: Child,
    /// Init's pid as the test sees it.
    init: u32,
    /// The folders of its own in the kernel's trees of cgroups.
    cgroups: Vec<PathBuf>,
}

impl Machine {
    /// Boots it with `overlays`: folders whose files appear in a folder of the machine.
    pub fn boot(name: &str, suite: Suite, overlays: &[(PathBuf, PathBuf)]) -> Self {
        let mut arguments = vec![suite.root().unwrap_or_default()];
        for (upper, lower) in overlays {
            arguments.extend([upper.clone(), lower.clone()]);
        }
        Self::hold(name, INIT, &arguments)
    }

    /// A machine whose init is bash with this script, which says `ready` and ends with its input.
    ///
    /// # Panics
    /// When the script ends before, with what it said.
    pub fn hold(name: &str, script: &str, arguments: &[PathBuf]) -> Self {
        let mut command = clean("unshare");
        command.args(NAMESPACES);
        command.args(["bash", "-c", script, "init"]).args(arguments);
        let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = streams.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            // It has ended, or does so with its input.
            let said = holder.wait_with_output().unwrap();
            panic!("{name} does not boot: {} {}", String::from_utf8_lossy(&said.stderr).trim(), said.status);
        }
        let init = only_child(holder.id());
        Self { holder, init, cgroups: Vec::new() }
    }

    /// A machine that [`Self::hold`] made starts a systemd: init of everything that runs here from now on. `cgroups` go with
    /// the machine.
    pub fn go_on_as(&mut self, cgroups: Vec<PathBuf>, find: impl FnOnce(u32) -> u32) {
        use std::io::Write as _;
        self.cgroups = cgroups;
        self.holder.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        self.init = find(self.init);
    }

    /// Init's pid as the test sees it: what `ip link ... netns` takes.
    pub fn pid(&self) -> String {
        self.init.to_string()
    }

    /// The machine's own root folder, seen from the test.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// A program in this machine, as root.
    pub fn command(&self, program: &str) -> Command {
        self.command_as(&ROOT, program)
    }

    /// A program in this machine, as the user that `user` makes it run as.
    pub fn command_as(&self, user: &[impl AsRef<OsStr>], program: &str) -> Command {
        let mut command = clean("nsenter");
        command.args(["--target", &self.pid(), "--net", "--ipc", "--mount", "--pid", "--root", "--wd=/", "--"]);
        command.args(user).arg(program);
        command
    }

    /// Runs one line that must succeed; words are split at spaces.
    pub fn run(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let mut command = self.command(words.next().unwrap());
        output(command.args(words), None)
    }

    /// Gives a program its input; it must succeed.
    pub fn feed(&self, program: &str, arguments: &[&str], input: &str) -> String {
        output(self.command(program).args(arguments), Some(input))
    }

    /// Starts a service, with its output appended to `log`. It is init's child, as a service is.
    pub fn start(&self, user: &[impl AsRef<OsStr>], program: &str, arguments: &[&str], log: &Path) {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let err = log.try_clone().unwrap();
        let mut command = self.command("setsid");
        command.arg("--fork").args(user).arg(program).args(arguments);
        assert!(command.stdin(Stdio::null()).stdout(log).stderr(err).status().unwrap().success());
    }

    /// Does something in the machine's network, on a thread of its own: sockets stay where they were made.
    pub fn inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let network = self.network();
        thread::scope(|scope| {
            let work = scope.spawn(move || {
                enter(&network);
                work()
            });
            work.join().unwrap()
        })
    }

    /// A handle on the machine's network, for [`enter`].
    pub fn network(&self) -> File {
        File::open(format!("/proc/{}/ns/net", self.init)).unwrap()
    }

    /// Whether its kernel has this address on some interface.
    pub fn has_address(&self, address: Ipv4Addr) -> bool {
        has_address(&PathBuf::from(format!("/proc/{}", self.init)), address)
    }

    /// The processes of a name, and everything below them.
    pub fn family(&self, comm: &str) -> Vec<u32> {
        let all = self.processes();
        let mut found: BTreeSet<u32> = all.iter().filter(|(_, (_, name))| name == comm).map(|(pid, _)| *pid).collect();
        loop {
            let below: Vec<_> = all
                .iter()
                .filter(|(pid, (parent, _))| found.contains(parent) && !found.contains(pid))
                .map(|(pid, _)| *pid)
                .collect();
            if below.is_empty() {
                return found.into_iter().collect();
            }
            found.extend(below);
        }
    }

    /// Stops the whole family: nobody in it runs when this returns, and nobody new is born.
    pub fn freeze(&self, comm: &str) -> Vec<u32> {
        let mut frozen = BTreeSet::new();
        loop {
            let family = self.family(comm);
            let new: Vec<_> = family.iter().copied().filter(|pid| frozen.insert(*pid)).collect();
            if new.is_empty() {
                return family;
            }
            for pid in new {
                signal(pid, Signal::STOP);
            }
        }
    }

    /// Kills the whole family at once, as far as it is not dead already: no one gets to notice another's death.
    pub fn kill(&self, comm: &str) {
        for pid in self.freeze(comm) {
            signal(pid, Signal::KILL);
        }
    }

    /// Kills one process.
    pub fn kill_one(&self, pid: u32) {
        signal(pid, Signal::KILL);
    }

    /// Asks a process to end.
    pub fn terminate(&self, pid: u32) {
        signal(pid, Signal::TERM);
    }

    /// Lets a family go on that was stopped.
    pub fn thaw(&self, comm: &str) {
        for pid in self.family(comm) {
            signal(pid, Signal::CONT);
        }
    }

    /// Pid to parent and command name of every process in here that is not a zombie, pids as the test sees them.
    fn processes(&self) -> BTreeMap<u32, (u32, String)> {
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let here = namespace(self.init);
        let mut found = BTreeMap::new();
        for entry in fs::read_dir("/proc").unwrap() {
            let Some(pid) = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse().ok()) else { continue };
            if namespace(pid) != here {
                continue;
            }
            if let Some((parent, comm, state)) = stat(pid)
                && state != 'Z'
            {
                found.insert(pid, (parent, comm));
            }
        }
        found
    }

    /// The pid that a process has in here: the last of `NSpid` in /proc/<pid>/status.
    pub fn inner_pid(pid: u32) -> u32 {
        Self::find_inner_pid(pid).expect("the process is there")
    }

    /// None where the process has ended.
    pub fn find_inner_pid(pid: u32) -> Option<u32> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        line.split_whitespace().last()?.parse().ok()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Init ends with its input, and everything else with init: this does not wait for long.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
        self.cgroups.iter().for_each(|folder| remove_cgroup(folder));
    }
}

/// A cgroup without processes, and those below it. A process that has ended may count for a moment.
pub fn remove_cgroup(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    for _ in 0..50 {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => thread::sleep(Duration::from_millis(20)),
            _ => return,
        }
    }
}

/// Moves this thread into a machine's network.
pub fn enter(network: &File) {
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// A program outside of all machines.
pub fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(ENVIRONMENT);
    command
}

/// Runs a command that must succeed, and gives what it printed.
pub fn output(command: &mut Command, input: Option<&str>) -> String {
    use std::io::Write as _;
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    if let Some(input) = input {
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{}", output.status, input.unwrap_or_default());
    String::from_utf8(output.stdout).unwrap()
}

/// Whether the machine whose init has this folder in /proc has an address: by the kernel's own list, which is read without
/// starting a program.
pub fn has_address(init: &Path, address: Ipv4Addr) -> bool {
    fs::read_to_string(init.join("net/fib_trie")).is_ok_and(|list| is_local(&list, address))
}

/// Whether an address is the machine's own, by /proc/net/fib_trie: below each address it has a line for everything that is
/// routed there.
fn is_local(list: &str, address: Ipv4Addr) -> bool {
    let leaf = format!("|-- {address}\n");
    let mut places = list.split(&leaf).skip(1);
    places.any(|below| {
        below.lines().take_while(|line| line.trim_start().starts_with('/')).any(|line| line.ends_with("host LOCAL"))
    })
}

/// A process that ended meanwhile is no failure.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = kill_process(pid, signal);
}

pub fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn only_child(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap()
}

/// The command name of a process that runs.
pub fn comm(pid: u32) -> Option<String> {
    stat(pid).filter(|(_, _, state)| *state != 'Z').map(|(_, comm, _)| comm)
}

/// Parent, command name and state, by proc_pid_stat(5): the name stands in parentheses and may contain some.
fn stat(pid: u32) -> Option<(u32, String, char)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(") ")?;
    let comm = head.split_once('(')?.1.to_owned();
    let mut fields = tail.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, comm, state))
}

#[test]
fn only_addresses_of_the_machine_itself_are_local() {
    let list = "Local:\n  +-- 10.0.0.0/8 2 0 2\n     |-- 10.0.1.0\n        /24 link UNICAST\n     |-- 10.0.1.10\n        /32 host LOCAL\n     \
                |-- 10.0.1.255\n        /32 link BROADCAST\n";
    assert!(is_local(list, Ipv4Addr::new(10, 0, 1, 10)));
    for other in [Ipv4Addr::new(10, 0, 1, 0), Ipv4Addr::new(10, 0, 1, 1), Ipv4Addr::new(10, 0, 1, 255)] {
        assert!(!is_local(list, other), "{other}");
    }
}
