//! Hooks that overlap: the later start wins, whoever finishes first.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::Signal;
use vipkeeper::commands::hook::{HookContext, HookOutcome, down, up};
use vipkeeper::desired::file::{self, DesiredFile, Wanted};
use vipkeeper::machine::process::Process;

use crate::support::{IP, context, hook, mode, names, program_for_all, read, state, this_program, trusted, uid};

/// A hook waits this long for the lock, at least.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);

fn run(is_up: bool, context: &HookContext) -> HookOutcome {
    if is_up { up(context, IP) } else { down(context, IP) }.unwrap()
}

/// Ends the watch also where a hook fails, so that the test fails with it and does not wait for ever.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// All files that could be seen until told to stop.
fn watch(state_dir: &Path, stop: &AtomicBool) -> Vec<DesiredFile> {
    let mut seen: Vec<DesiredFile> = Vec::new();
    let path = vipkeeper::desired::path(state_dir, IP);
    loop {
        let last = stop.load(Ordering::SeqCst);
        if let Some(file) = file::read_of_any_boot(&path, IP, &trusted()).expect("it always parses")
            && seen.last() != Some(&file)
        {
            seen.push(file);
        }
        if last {
            return seen;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each hook: whether it is `up`, how many ticks ago it started, and how late it gets to write. Their pids ascend. No
    /// process has these pids and start times, so that each hook takes the others for dead: the worst case.
    #[test]
    fn whatever_the_interleaving_the_later_start_wins(
        hooks in prop::collection::vec((any::<bool>(), 0..100_u64, 0..400_u64), 1..8)
    ) {
        let state = state();
        let contexts: Vec<_> = (1..)
            .zip(&hooks)
            .map(|(pid, &(_, ticks_ago, _))| {
                let mut context = context(state.path(), ticks_ago * 10, None);
                context.caller.process.pid = pid;
                context
            })
            .collect();
        let (start, stop) = (Barrier::new(hooks.len()), AtomicBool::new(false));
        let (seen, outcomes) = thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(state.path(), &stop));
            let stopping = StopOnDrop(&stop);
            let running: Vec<_> = hooks
                .iter()
                .zip(&contexts)
                .map(|(&(is_up, _, late_us), context)| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        thread::sleep(Duration::from_micros(late_us));
                        let began = Instant::now();
                        (run(is_up, context), began.elapsed())
                    })
                })
                .collect();
            let outcomes: Vec<_> = running.into_iter().map(|running| running.join().unwrap()).collect();
            drop(stopping);
            (watcher.join().unwrap(), outcomes)
        });

        // On a machine that stands still for a moment, a hook goes on without the lock, as it should. That case is
        // another test's subject.
        if outcomes.iter().any(|(_, took)| *took >= LOCK_PATIENCE) {
            return Ok(());
        }
        let last = read(state.path());
        let start = |process: Process| (process.start_time, process.pid);
        let latest = (0..hooks.len()).max_by_key(|&number| start(contexts[number].caller.process)).unwrap();
        prop_assert_eq!(last.hook, contexts[latest].caller.process);
        prop_assert_eq!(matches!(last.wanted, Wanted::Leader(_)), hooks[latest].0);
        let mut written: Vec<u64> = outcomes
            .iter()
            .filter_map(|(outcome, _)| match outcome {
                HookOutcome::Written(file) => Some(file.sequence),
                HookOutcome::Overtaken => None,
            })
            .collect();
        written.sort_unstable();
        prop_assert!(written.windows(2).all(|pair| pair[0] + 1 == pair[1]), "each write counts one on: {:?}", written);
        prop_assert!(seen.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "{:?}", seen);
        prop_assert!(seen.windows(2).all(|pair| pair[1].hook.started_after(&pair[0].hook)), "{:?}", seen);
        prop_assert_eq!(names(state.path()), [format!("{IP}.json")]);
    }
}

#[test]
fn of_several_processes_the_one_that_started_last_wins() {
    let (state, outs) = (state(), tempfile::tempdir().unwrap());
    for round in 0..5 {
        let mut children: Vec<_> = (0..6)
            .map(|number| {
                let what = if (number + round) % 2 == 0 { "up" } else { "down" };
                let mut command = hook(&this_program(), what, state.path());
                command.env("OUT", outs.path().join(format!("{number}.{what}"))).spawn().unwrap()
            })
            .collect();
        for child in &mut children {
            assert!(child.wait().unwrap().success());
        }
        let (started, last) = fs::read_dir(outs.path())
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let text = fs::read_to_string(&path).unwrap();
                fs::remove_file(&path).unwrap();
                let (start_time, pid) = text.lines().last().unwrap().split_once(' ').unwrap();
                let started: (u64, u32) = (start_time.parse().unwrap(), pid.parse().unwrap());
                (started, path.extension().unwrap() == "up")
            })
            .max()
            .unwrap();
        let file = read(state.path());
        assert_eq!(((file.hook.start_time, file.hook.pid), matches!(file.wanted, Wanted::Leader(_))), (started, last));
    }
}

#[test]
fn a_late_down_does_not_undo_an_up_that_started_after_it() {
    let state = state();
    let leader = run(true, &context(state.path(), 10, None));
    assert_eq!(run(false, &context(state.path(), 20, None)), HookOutcome::Overtaken);
    assert_eq!(HookOutcome::Written(read(state.path())), leader);
}

#[test]
fn a_start_that_is_still_to_come_holds_nobody_up() {
    let state = state();
    let mut tomorrow = context(state.path(), 0, None);
    tomorrow.caller.process.start_time += 86_400 * 100;
    run(true, &tomorrow);
    let sequence = read(state.path()).sequence;
    run(false, &context(state.path(), 0, None));
    let file = read(state.path());
    assert_eq!((file.wanted, file.sequence), (Wanted::Standby, sequence + 1));
}

#[test]
fn a_file_of_another_boot_holds_nobody_up_and_its_claim_is_over() {
    let state = state();
    let mut earlier = context(state.path(), 0, None);
    earlier.caller.boot_id = "an earlier one".to_owned();
    let HookOutcome::Written(old) = run(true, &earlier) else { panic!("overtaken") };
    let HookOutcome::Written(new) = run(true, &context(state.path(), 500, None)) else { panic!("overtaken") };
    assert_eq!(new.sequence, old.sequence + 1);
    assert_ne!(new.wanted, old.wanted);
}

#[test]
fn whoever_holds_the_lock_for_ever_holds_a_hook_up_for_a_moment_only() {
    let state = state();
    run(true, &context(state.path(), 40, None));
    let lock = vipkeeper::desired::folder(state.path()).join(".lock");
    let lock = rustix::fs::open(lock, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
    let (contexts, began) = ([30, 20, 10].map(|ms_ago| context(state.path(), ms_ago, None)), Instant::now());
    assert!(matches!(run(true, &contexts[1]), HookOutcome::Written(_)));
    assert!(began.elapsed() > Duration::from_millis(90) && began.elapsed() < Duration::from_secs(2));
    assert_eq!(run(false, &contexts[0]), HookOutcome::Overtaken, "the order holds all the same");
    drop(lock);
    let began = Instant::now();
    assert!(matches!(run(false, &contexts[2]), HookOutcome::Written(_)));
    assert!(began.elapsed() < Duration::from_millis(90), "the lock went with its holder");
}

#[test]
fn nobody_who_may_not_write_the_folder_holds_a_hook_up() {
    if uid() != 0 {
        eprintln!("not tested: it takes root to become another user");
        return;
    }
    let state = state();
    mode(state.path(), 0o755);
    run(true, &context(state.path(), 40, None));
    let folder = vipkeeper::desired::folder(state.path());
    // A stranger locks whatever he can open, and says when he is done.
    let script = r#"
        for path in "$0" "$0"/.* "$0"/*; do
            ( exec 9< "$path" && flock -n 9 && exec sleep 60 ) 2> /dev/null &
        done
        sleep 0.3
        echo done
        wait"#;
    let mut stranger = Command::new("sh");
    stranger.args(["-c", script]).arg(&folder).uid(65534).gid(65534).process_group(0);
    let mut stranger = stranger.current_dir("/").stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(stranger.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let slowest = [30, 20, 10].map(|ms_ago| {
        let began = Instant::now();
        assert!(matches!(run(true, &context(state.path(), ms_ago, None)), HookOutcome::Written(_)));
        began.elapsed()
    });
    let slowest = slowest.into_iter().max().unwrap();
    rustix::process::kill_process_group(rustix::process::Pid::from_child(&stranger), Signal::KILL).unwrap();
    stranger.wait().unwrap();
    assert_eq!(said, "done\n");
    assert!(slowest < Duration::from_millis(90), "{slowest:?}");
}

#[test]
fn hooks_of_root_and_of_pgpools_user_share_one_lock_in_a_folder_of_both() {
    if uid() != 0 {
        eprintln!("not tested: it takes root to become another user");
        return;
    }
    let (state, (_folder, program)) = (state(), program_for_all());
    let folder = vipkeeper::desired::folder(state.path());
    std::os::unix::fs::chown(&folder, Some(1), Some(65534)).unwrap();
    mode(&folder, 0o775);
    let lock = || {
        let found = fs::metadata(folder.join(".lock")).unwrap();
        (found.ino(), found.gid(), found.mode() & 0o7777)
    };
    run(true, &context(state.path(), 40, None));
    let made = lock();
    assert_eq!((made.1, made.2), (65534, 0o660));
    let mut command = hook(&program, "down", state.path());
    let done = command.uid(65534).gid(65534).current_dir("/").output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(lock(), made, "the other user's hook took the lock that root's made");
    // As an attacker among those who may write there would leave it.
    fs::remove_file(folder.join(".lock")).unwrap();
    fs::write(folder.join(".lock"), "").unwrap();
    mode(&folder.join(".lock"), 0o600);
    let mut command = hook(&program, "up", state.path());
    let done = command.uid(65534).gid(65534).current_dir("/").output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let anew = lock();
    assert_eq!((anew.1, anew.2), (65534, 0o660), "a lock that this user could not open gives way");
}
