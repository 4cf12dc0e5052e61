use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use tempfile::TempDir;
use vipkeeper::commands::hook::{self, HookContext};
use vipkeeper::desired::file::{self, DesiredFile};
use vipkeeper::desired::next::{Hook, WatchdogProcess};
use vipkeeper::error::one_line;
use vipkeeper::machine::clock::Clocks;
use vipkeeper::machine::namespace;
use vipkeeper::machine::process::{self, Process};
use vipkeeper::machine::trust::TrustedOwners;
use vipkeeper::state_dir::Machine;
use vipkeeper::state_dir::files::Files;
use vipkeeper::wake::{self, Wake};

pub const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(20, 0, 0, 50));

/// A state folder with an empty folder `desired`, which every user may look into.
pub fn state() -> TempDir {
    let state = tempfile::tempdir().unwrap();
    mode(state.path(), 0o755);
    fs::create_dir(vipkeeper::desired::folder(state.path())).unwrap();
    state
}

pub fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A hook that started so many milliseconds (to the clock tick, 10 ms) before the tests.
pub fn context(state_dir: &Path, ms_ago: u64, watchdog: Option<WatchdogProcess>) -> HookContext {
    static TESTS_START: LazyLock<Clocks> = LazyLock::new(Clocks::now);
    let process = Process { start_time: TESTS_START.ticks() - ms_ago / 10, ..process::this_process().unwrap() };
    let started_ms = TESTS_START.wall_ms - ms_ago;
    let boot_id = vipkeeper::machine::clock::boot_id().unwrap();
    HookContext {
        state_dir: state_dir.to_owned(),
        configured: Ok(vec![IP]),
        caller: Hook { process, started_ms, boot_id, watchdog, pid_namespace: namespace::own() },
    }
}

/// Whom the tests' own files belong to.
pub fn trusted() -> TrustedOwners {
    TrustedOwners::root().with_uid(uid())
}

pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

pub fn read(state_dir: &Path) -> DesiredFile {
    let path = vipkeeper::desired::path(state_dir, IP);
    file::read(&path, IP, &trusted(), &vipkeeper::machine::clock::boot_id().unwrap()).unwrap().expect("there is a file")
}

/// The names in the folder of desired-state files, but for the hooks' lock.
pub fn names(state_dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(vipkeeper::desired::folder(state_dir)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".lock");
    names.sort();
    names
}

/// Copies a program to where it is to be run. Another process does it: while this one held the copy open for writing, what
/// another test starts just then would inherit that, and the kernel runs nothing that may still change (`ETXTBSY`).
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let done = Command::new("cp").arg("--").arg(from.as_ref()).arg(to.as_ref()).status().unwrap();
    assert!(done.success(), "cp {} {}", from.as_ref().display(), to.as_ref().display());
}

/// This test program where every user may run it.
pub fn program_for_all() -> (TempDir, PathBuf) {
    let folder = state();
    let program = folder.path().join("hook");
    copy_program(this_program(), &program);
    (folder, program)
}

/// This test program as a hook: `up`, `down`, or another word that [`child`] knows. Each writes the watchdog that it
/// finds and its own process into the file `$OUT`, if that is set.
pub fn hook(program: &Path, what: &str, state_dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(CHILD).env("HOOK", what).env("STATE", state_dir);
    command
}

pub const CHILD: [&str; 4] = ["--ignored", "--exact", "support::child", "--nocapture"];

pub fn this_program() -> PathBuf {
    env::current_exe().unwrap()
}

/// The part of the daemon that hooks need on a full disk.
fn keep_room(state_dir: &Path) -> ! {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let (wakes, mut woken_by) = wake::channel();
        let _watcher = wake::watch_folder(&vipkeeper::desired::folder(state_dir), wakes);
        let mut files = Files::new(state_dir, trusted(), None).unwrap();
        files.keep_room().unwrap();
        loop {
            if woken_by.recv().await == Some(Wake::HookWrites) {
                files.make_room();
            }
        }
    })
}

/// A hook's exit code, and its words on stderr.
pub fn result(output: &Output) -> (i32, String) {
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr.clone()).unwrap())
}

#[test]
#[ignore = "is no test: the others run it as a hook's process"]
fn child() {
    let Ok(what) = env::var("HOOK") else { return };
    let caller = Hook::this_process().unwrap();
    if let Ok(out) = env::var("OUT") {
        fs::write(out, format!("{:?}\n{} {}", caller.watchdog, caller.process.start_time, caller.process.pid)).unwrap();
    }
    let state_dir = PathBuf::from(env::var("STATE").unwrap());
    let context = HookContext { state_dir, configured: Ok(vec![IP]), caller };
    let done = match what.as_str() {
        "up" => hook::up(&context, IP).map(|_| ()),
        "down" => hook::down(&context, IP).map(|_| ()),
        "watchdog" => Ok(()),
        "room" => keep_room(&context.state_dir),
        "desired" => {
            let mut files = Files::new(&context.state_dir, trusted(), None).unwrap();
            eprintln!("{:?}", files.desired(IP));
            std::process::exit(0)
        }
        "alive" => {
            let guard: Process = serde_json::from_str(&env::var("GUARD").unwrap()).unwrap();
            std::process::exit(if process::is_alive(&guard) { 0 } else { 3 })
        }
        other => panic!("no hook {other}"),
    };
    std::process::exit(match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{}", one_line(&error));
            error.exit_code().into()
        }
    });
}
