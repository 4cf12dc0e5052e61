//! A machine that boots Debian with a systemd of its own, as a container of systemd-nspawn. It is inside a [`Machine`]'s
//! namespaces, so its mounts and processes end with that one, also where the test is killed.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::cluster::eventually;
use super::super::machine::{Machine, children, comm, remove_cgroup};
use super::super::tools;

/// How the folders of cgroups begin, before the pid of the test.
const CGROUP: &str = "vipkeeper-lab-";
const STARTS: Duration = Duration::from_secs(60);

/// The work of the process that holds it: `$1` is the shared root, `$2` the folder with what the machine writes, `$3` its
/// name, `$4` the file that its console goes to; the rest are cgroups, one in each tree of the kernel's. Three machines in
/// one cgroup would take each other's for their own. The network is there before systemd is.
const HOLD: &str = r#"
set -e
root=$1 own=$2 name=$3 console=$4
shift 4
mkdir -p "$own/upper" "$own/work" "$own/root"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$own/upper,workdir=$own/work" "$own/root"
for cgroup in "$@"; do
    echo 0 >"$cgroup/cgroup.procs"
done
ip link set lo up
echo ready
read -r _
systemd-nspawn --quiet --directory="$own/root" --boot --machine="vipkeeper-$name" --hostname="$name" \
    --network-namespace-path=/proc/self/ns/net --capability=CAP_NET_ADMIN --register=no --keep-unit \
    --resolv-conf=off --timezone=off --link-journal=no --console=pipe </dev/null >"$console" 2>&1 &
read -r _ || true
"#;

/// The shared root: a Debian system with Pgpool-II, which `tests/machine-root` makes.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join("machine-root")
}

/// Whether root here is somebody else outside: only the first user namespace has all ids.
pub fn is_in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// The reason why no machine can be booted here.
pub fn obstacle() -> Option<String> {
    let programs = [
        ("systemd-nspawn", "systemd-container"),
        ("cargo-deb", "cargo-deb"),
        ("cargo-generate-rpm", "cargo-generate-rpm"),
    ];
    let missing: Vec<_> = programs
        .into_iter()
        .filter(|(program, _)| tools::find(program).is_none())
        .map(|(_, package)| package)
        .collect();
    if !missing.is_empty() {
        return Some(format!("not installed: {}", missing.join(", ")));
    }
    if !root().exists() {
        return Some("not there: the machines' root, which tests/machine-root makes".to_owned());
    }
    if cgroup_folders().is_empty() {
        return Some("the kernel's tree of cgroups is not mounted, or not for writing".to_owned());
    }
    None
}

/// This process' own place in each tree of cgroups that systemd uses.
fn cgroup_folders() -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own: BTreeMap<_, _> = own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':')).collect();
    let tree = Path::new("/sys/fs/cgroup");
    let trees = [(tree.to_owned(), ""), (tree.join("unified"), ""), (tree.join("systemd"), "name=systemd")];
    let folders = trees.into_iter().filter_map(|(tree, name)| {
        let folder = tree.join(own.get(name)?.trim_start_matches('/'));
        (folder.join("cgroup.procs").exists() && is_writable(&folder)).then_some(folder)
    });
    folders.collect()
}

fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The folders of cgroups of tests that were killed.
pub fn remove_what_was_left() {
    for tree in cgroup_folders() {
        for entry in fs::read_dir(tree).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let owner = name.strip_prefix(CGROUP).and_then(|rest| rest.split_once('-')?.0.parse::<u32>().ok());
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                remove_cgroup(&entry.path());
            }
        }
    }
}

/// A machine before its systemd starts.
pub struct Held {
    pub machine: Machine,
    cgroups: Vec<PathBuf>,
    console: PathBuf,
}

/// Everything but systemd: the network can be plugged in. The machine's own files lie in `own`, and stay there.
pub fn hold(name: &str, own: &Path) -> Held {
    let console = own.with_extension("console");
    // The folder's name begins with the same word, and with the pid of the test.
    let lab = own.parent().and_then(Path::file_name).unwrap().to_str().unwrap();
    assert!(lab.starts_with(CGROUP), "{lab}");
    let group = format!("{lab}-{name}");
    let cgroups: Vec<_> = cgroup_folders().into_iter().map(|folder| folder.join(&group)).collect();
    for folder in &cgroups {
        fs::create_dir(folder).unwrap();
    }
    let mut arguments = vec![root(), own.to_owned(), name.into(), console.clone()];
    arguments.extend(cgroups.iter().cloned());
    Held { machine: Machine::hold(name, HOLD, &arguments), cgroups, console }
}

impl Held {
    /// Starts systemd; returns when it runs.
    pub fn start(self) -> Machine {
        let Self { mut machine, cgroups, console } = self;
        machine.go_on_as(cgroups, |holder| {
            let console = || fs::read_to_string(&console).unwrap_or_default();
            eventually("systemd starts", STARTS, || {
                let nspawn = children(holder).into_iter().find(|pid| comm(*pid).as_deref() == Some("systemd-nspawn"));
                let nspawn = nspawn.ok_or_else(|| format!("systemd-nspawn does not run: {}", console()))?;
                let init = children(nspawn).into_iter().find(|pid| comm(*pid).as_deref() == Some("systemd"));
                init.ok_or_else(|| format!("no systemd: {}", console()))
            })
        });
        eventually("it boots", STARTS, || is_up(&machine));
        machine
    }
}

/// Whether everything that starts at boot has started.
fn is_up(machine: &Machine) -> Result<(), String> {
    let answer = machine.command("systemctl").arg("is-system-running").output().unwrap();
    let said = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    if ["running", "degraded"].contains(&said.as_str()) { Ok(()) } else { Err(format!("systemd says {said:?}")) }
}
