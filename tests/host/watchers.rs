//! Folders, guards and signals wake the loop.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::mpsc::Receiver;
use vipkeeper::machine::process::{self, Process};
use vipkeeper::problem::ProblemReason;
use vipkeeper::wake::{self, GuardWatch, Wake, watch_folder, watch_signals};

const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(20, 0, 0, 50));
const OTHER_VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(20, 0, 0, 51));

/// The next wake, which must come within a second.
pub async fn woken(wakes: &mut Receiver<Wake>) -> Wake {
    tokio::time::timeout(Duration::from_secs(1), wakes.recv()).await.expect("nobody woke the loop").unwrap()
}

/// Nothing wakes the loop for a while.
pub async fn quiet(wakes: &mut Receiver<Wake>) {
    let wake = tokio::time::timeout(Duration::from_millis(100), wakes.recv()).await;
    assert!(wake.is_err(), "{wake:?}");
}

/// Takes the wakes that are still on their way, until there is a pause.
pub async fn drain(wakes: &mut Receiver<Wake>) {
    while tokio::time::timeout(Duration::from_millis(50), wakes.recv()).await.is_ok() {}
}

/// Puts a desired file in its place as the hooks do.
fn write_whole(folder: &Path) {
    fs::write(folder.join(".20.0.0.50.json.tmp"), "{}").unwrap();
    fs::rename(folder.join(".20.0.0.50.json.tmp"), folder.join("20.0.0.50.json")).unwrap();
}

#[tokio::test]
async fn a_desired_file_that_is_renamed_into_place_or_removed_wakes() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("desired");
    fs::create_dir(&folder).unwrap();
    let (wakes, mut woken_by) = wake::channel();
    let _watcher = watch_folder(&folder, wakes);

    let mut delays = Vec::new();
    for _ in 0..100 {
        fs::write(folder.join(".20.0.0.50.json.tmp"), "{}").unwrap();
        let before = Instant::now();
        fs::rename(folder.join(".20.0.0.50.json.tmp"), folder.join("20.0.0.50.json")).unwrap();
        assert_eq!(woken(&mut woken_by).await, Wake::DesiredChanged);
        delays.push(before.elapsed());
    }
    delays.sort();
    println!("desired file renamed: awake after {:?} (median of 100), {:?} (worst)", delays[50], delays[99]);
    assert!(delays[50] < Duration::from_millis(50));

    fs::write(folder.join("2001:db8::10.json"), "{}").unwrap();
    assert_eq!(woken(&mut woken_by).await, Wake::DesiredChanged);
    fs::remove_file(folder.join("20.0.0.50.json")).unwrap();
    assert_eq!(woken(&mut woken_by).await, Wake::DesiredChanged);
    quiet(&mut woken_by).await;
}

#[tokio::test]
async fn files_that_are_no_desired_files_wake_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (wakes, mut woken_by) = wake::channel();
    let _watcher = watch_folder(folder.path(), wakes);
    for name in [".20.0.0.50.json.tmp", "status.json", "20.0.0.50", ".json"] {
        fs::write(folder.path().join(name), "{}").unwrap();
    }
    quiet(&mut woken_by).await;
}

#[tokio::test]
async fn a_hook_that_begins_to_write_wakes_before_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let (wakes, mut woken_by) = wake::channel();
    let _watcher = watch_folder(folder.path(), wakes);
    let temporary = folder.path().join(".20.0.0.50.1234-5678-0.tmp");
    let mut file = fs::File::create(&temporary).unwrap();
    assert_eq!(woken(&mut woken_by).await, Wake::HookWrites);
    io::Write::write_all(&mut file, b"{}").unwrap();
    drop(file);
    quiet(&mut woken_by).await;
    fs::rename(&temporary, folder.path().join("20.0.0.50.json")).unwrap();
    assert_eq!(woken(&mut woken_by).await, Wake::DesiredChanged);
}

#[tokio::test]
async fn a_folder_that_appears_later_is_watched_from_then_on() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("vipkeeper/desired");
    let (wakes, mut woken_by) = wake::channel();
    let _watcher = watch_folder(&folder, wakes);
    fs::create_dir(state.path().join("something-else")).unwrap();
    fs::create_dir(state.path().join("vipkeeper")).unwrap();
    quiet(&mut woken_by).await;

    fs::create_dir(&folder).unwrap();
    assert_eq!(woken(&mut woken_by).await, Wake::DesiredChanged);
    write_whole(&folder);
    assert_eq!(woken(&mut woken_by).await, Wake::DesiredChanged);
}

#[tokio::test]
async fn a_folder_that_is_replaced_is_watched_again() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("vipkeeper/desired");
    fs::create_dir_all(&folder).unwrap();
    let (wakes, mut woken_by) = wake::channel();
    let _watcher = watch_folder(&folder, wakes);
    for removed in ["deleted", "deleted with the one above", "renamed"] {
        match removed {
            "deleted" => fs::remove_dir_all(&folder).unwrap(),
            "renamed" => fs::rename(&folder, state.path().join("old")).unwrap(),
            _ => fs::remove_dir_all(folder.parent().unwrap()).unwrap(),
        }
        assert_eq!(woken(&mut woken_by).await, Wake::DesiredChanged, "{removed}");
        drain(&mut woken_by).await;
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(woken(&mut woken_by).await, Wake::DesiredChanged, "{removed}, there again");
        drain(&mut woken_by).await;
        write_whole(&folder);
        assert_eq!(woken(&mut woken_by).await, Wake::DesiredChanged, "{removed}, there again, written to");
        drain(&mut woken_by).await;
    }
}

#[tokio::test]
async fn events_that_the_kernel_had_to_throw_away_wake() {
    let folder = tempfile::tempdir().unwrap();
    let (wakes, mut woken_by) = wake::channel();
    let _watcher = watch_folder(folder.path(), wakes);
    let room: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    // The kernel merges an event with the one before it if they are equal, so two files in turn. Nothing here waits,
    // so the watcher sees none of it before the queue is full; and none of it but the loss concerns it. Some more than
    // there is room for: a process that is just being started elsewhere holds a file open a moment longer, and then
    // two equal events meet.
    for event in 0..room + 1000 {
        fs::write(folder.path().join(if event % 2 == 0 { "one" } else { "other" }), "").unwrap();
    }
    assert_eq!(woken(&mut woken_by).await, Wake::DesiredChanged);
    drain(&mut woken_by).await;
    write_whole(folder.path());
    assert_eq!(woken(&mut woken_by).await, Wake::DesiredChanged);
}

#[tokio::test]
async fn a_folder_that_cannot_be_watched_at_first_is_named_and_watched_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("desired");
    fs::write(&path, "no folder").unwrap();
    let (wakes, mut woken_by) = wake::channel();
    let parts = wake::Parts::default();
    let _watcher = watch_folder(&path, parts.voice(ProblemReason::WatchFiles, wakes));
    assert_eq!(woken(&mut woken_by).await, Wake::Part);
    let told = parts.changes();
    let [(ProblemReason::WatchFiles, Err(message))] = &told[..] else { panic!("{told:?}") };
    assert!(message.contains(path.to_str().unwrap()), "{message}");

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    // It is tried again each second.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let wakes = [woken(&mut woken_by).await, woken(&mut woken_by).await];
    assert_eq!(wakes, [Wake::Part, Wake::DesiredChanged]);
    assert_eq!(parts.changes(), [(ProblemReason::WatchFiles, Ok(()))]);
    fs::write(path.join("20.0.0.50.json"), "").unwrap();
    assert_eq!(woken(&mut woken_by).await, Wake::DesiredChanged);
}

/// A process that ends with the test.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("60").spawn().unwrap())
    }

    fn process(&self) -> Process {
        let pid = self.0.id();
        Process { pid, start_time: process::start_time(pid).unwrap() }
    }

    /// Ends it, without taking note of it as its parent: a zombie is left.
    fn kill(&mut self) {
        self.0.kill().unwrap();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // Ended by the test already, perhaps.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn the_death_of_a_guard_wakes_once() {
    let (wakes, mut woken_by) = wake::channel();
    let mut guards = GuardWatch::new(wakes);
    let mut delays = Vec::new();
    for _ in 0..20 {
        let mut guard = Sleeper::start();
        let process = guard.process();
        guards.watch(VIP, process);
        tokio::time::sleep(Duration::from_millis(2)).await;
        let before = Instant::now();
        guard.kill();
        assert_eq!(woken(&mut woken_by).await, Wake::GuardDied(VIP));
        delays.push(before.elapsed());
        guards.watch(VIP, process);
    }
    quiet(&mut woken_by).await;
    delays.sort();
    println!("guard killed: awake after {:?} (median of 20), {:?} (worst)", delays[10], delays[19]);
    assert!(delays[10] < Duration::from_millis(50));
}

#[tokio::test]
async fn a_guard_that_is_gone_already_wakes_at_once() {
    let (wakes, mut woken_by) = wake::channel();
    let mut guards = GuardWatch::new(wakes);

    let gone = Sleeper::start().process();
    guards.watch(VIP, gone);
    assert_eq!(woken(&mut woken_by).await, Wake::GuardDied(VIP));

    let mut zombie = Sleeper::start();
    let process = zombie.process();
    zombie.kill();
    while process::is_alive(&process) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    guards.watch(VIP, process);
    assert_eq!(woken(&mut woken_by).await, Wake::GuardDied(VIP));

    for pid in [0, u32::MAX] {
        guards.watch(VIP, Process { pid, start_time: 1 });
        assert_eq!(woken(&mut woken_by).await, Wake::GuardDied(VIP));
    }
}

#[tokio::test]
async fn another_process_with_the_guards_id_is_not_the_guard() {
    let (wakes, mut woken_by) = wake::channel();
    let mut guards = GuardWatch::new(wakes);
    let other = Sleeper::start();
    let later = other.process();
    guards.watch(VIP, Process { start_time: later.start_time - 1, ..later });
    assert_eq!(woken(&mut woken_by).await, Wake::GuardDied(VIP));
    quiet(&mut woken_by).await;
}

#[tokio::test]
async fn a_guard_that_was_replaced_or_forgotten_wakes_nobody() {
    let (wakes, mut woken_by) = wake::channel();
    let mut guards = GuardWatch::new(wakes);
    let (mut first, mut second, mut others) = (Sleeper::start(), Sleeper::start(), Sleeper::start());
    guards.watch(VIP, first.process());
    guards.watch(VIP, second.process());
    guards.watch(OTHER_VIP, others.process());
    first.kill();
    quiet(&mut woken_by).await;
    guards.forget(VIP);
    second.kill();
    quiet(&mut woken_by).await;
    others.kill();
    assert_eq!(woken(&mut woken_by).await, Wake::GuardDied(OTHER_VIP));

    let (mut kept, mut left) = (Sleeper::start(), Sleeper::start());
    guards.watch(VIP, kept.process());
    guards.watch(OTHER_VIP, left.process());
    guards.keep_only(&[VIP].into());
    left.kill();
    quiet(&mut woken_by).await;
    kept.kill();
    assert_eq!(woken(&mut woken_by).await, Wake::GuardDied(VIP));
}

#[tokio::test]
async fn signals_wake_and_a_full_channel_only_delays_them() {
    let (wakes, mut woken_by) = wake::channel();
    let _watcher = watch_signals(wakes.clone());
    for (signal, wake) in [(Signal::HUP, Wake::Config), (Signal::TERM, Wake::Shutdown), (Signal::INT, Wake::Shutdown)] {
        kill_process(getpid(), signal).unwrap();
        assert_eq!(woken(&mut woken_by).await, wake);
    }

    while wakes.try_send(Wake::LocalAddress).is_ok() {}
    kill_process(getpid(), Signal::TERM).unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    for _ in 0..wakes.max_capacity() {
        assert_eq!(woken(&mut woken_by).await, Wake::LocalAddress);
    }
    assert_eq!(woken(&mut woken_by).await, Wake::Shutdown);
}
