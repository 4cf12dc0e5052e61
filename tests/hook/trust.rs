//! Which files count for the daemon, and what is in force when one doesn't.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode};
use tempfile::TempDir;
use vipkeeper::commands::hook::{down, up};
use vipkeeper::desired::file::MAX_BYTES;
use vipkeeper::desired::next::WatchdogProcess;
use vipkeeper::desired::source::{DesiredSource, Reading};
use vipkeeper::desired::{Desired, WhyStandby, WhyUnknown};
use vipkeeper::machine::process::{self, Process};
use vipkeeper::machine::trust::TrustedOwners;
use vipkeeper::state_dir::Machine;
use vipkeeper::state_dir::files::Files;

use crate::support::{IP, context, mode, state, trusted, uid};

struct World {
    state: TempDir,
    source: DesiredSource,
    trusted: TrustedOwners,
}

impl World {
    fn new() -> Self {
        let state = state();
        Self { source: DesiredSource::new(state.path(), IP, None), state, trusted: trusted() }
    }

    fn read(&mut self) -> Reading {
        self.source.read(&self.trusted, &vipkeeper::machine::clock::boot_id().unwrap(), process::is_alive)
    }

    fn up(&self, ms_ago: u64, guard: Option<Process>) {
        let watchdog = guard.map(|guard| WatchdogProcess { guard, escalation: None });
        up(&context(self.state.path(), ms_ago, watchdog), IP).unwrap();
    }

    fn path(&self) -> &Path {
        self.source.path()
    }

    /// Changes the text of the file in place.
    fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path()).unwrap();
        assert!(text.contains(from), "{from} is in {text}");
        fs::write(self.path(), text.replace(from, to)).unwrap();
    }

    fn make_somebody_elses(&mut self) {
        if uid() == 0 {
            std::os::unix::fs::chown(self.path(), Some(12345), None).unwrap();
        } else {
            self.trusted = TrustedOwners::root();
        }
    }
}

/// Each way to spoil a good file, and what must be said about it.
type Spoil = (&'static str, fn(&mut World));
const SPOILED: [Spoil; 12] = [
    ("neither root nor a hook user", World::make_somebody_elses),
    ("others than its owner may write it (mode 0664)", |world| mode(world.path(), 0o664)),
    ("others than its owner may write it (mode 0646)", |world| mode(world.path(), 0o646)),
    ("it is a symbolic link, not a plain file", |world| {
        let good = world.path().with_extension("good");
        fs::rename(world.path(), &good).unwrap();
        symlink(good, world.path()).unwrap();
    }),
    ("it is a fifo, not a plain file", |world| {
        fs::remove_file(world.path()).unwrap();
        rustix::fs::mknodat(CWD, world.path(), FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    }),
    ("it is a folder, not a plain file", |world| {
        fs::remove_file(world.path()).unwrap();
        fs::create_dir(world.path()).unwrap();
    }),
    ("it is no desired-state file: EOF", |world| {
        let text = fs::read_to_string(world.path()).unwrap();
        fs::write(world.path(), &text[..text.len() / 2]).unwrap();
    }),
    ("it is no desired-state file: EOF", |world| fs::write(world.path(), "").unwrap()),
    ("it is longer than 65536 bytes", |world| pad(world, MAX_BYTES + 1)),
    ("its format is version 2; this program knows version 1", |world| world.edit("\"version\":1", "\"version\":2")),
    ("it is about 20.0.0.51", |world| world.edit("20.0.0.50", "20.0.0.51")),
    ("it is no desired-state file: unknown variant", |world| world.edit("\"leader\"", "\"emperor\"")),
];

fn pad(world: &mut World, bytes: u64) {
    let mut text = fs::read(world.path()).unwrap();
    text.resize(usize::try_from(bytes).unwrap(), b' ');
    fs::write(world.path(), text).unwrap();
}

#[test]
fn a_file_that_does_not_count_leaves_the_last_good_one_in_force() {
    for (reason, spoil) in SPOILED {
        let mut world = World::new();
        world.up(10, None);
        let good = world.read();
        assert!(matches!(good.desired, Desired::Leader(_)) && good.invalid.is_none(), "{reason}");
        spoil(&mut world);
        for reading in [world.read(), world.read()] {
            assert_eq!((&reading.desired, &reading.in_force), (&good.desired, &good.in_force), "{reason}");
            let invalid = reading.invalid.expect(reason);
            assert!(invalid.contains(reason) && invalid.contains("/20.0.0.50.json is not used: "), "{invalid}");
            assert!(!invalid.contains('\n'), "{invalid}");
        }
    }
}

#[test]
fn a_file_that_does_not_count_and_was_never_good_says_nothing() {
    for (reason, spoil) in SPOILED {
        let mut world = World::new();
        world.up(10, None);
        spoil(&mut world);
        let reading = world.read();
        assert_eq!(reading.desired, Desired::Unknown(WhyUnknown::Invalid), "{reason}");
        assert!(reading.invalid.expect(reason).contains(reason));
    }
}

#[test]
fn a_file_of_the_longest_length_counts() {
    let mut world = World::new();
    world.up(10, None);
    pad(&mut world, MAX_BYTES);
    assert!(matches!(world.read().desired, Desired::Leader(_)));
}

#[test]
fn a_missing_file_is_unknown_also_after_a_good_one() {
    let mut world = World::new();
    let unknown = Reading {
        desired: Desired::Unknown(WhyUnknown::NoFile),
        in_force: None,
        guard_alive: None,
        guard_unseen: false,
        invalid: None,
    };
    assert_eq!(world.read(), unknown);
    world.up(10, None);
    assert!(matches!(world.read().desired, Desired::Leader(_)));
    fs::remove_file(world.path()).unwrap();
    assert_eq!(world.read(), unknown);
    fs::write(world.path(), "garbage").unwrap();
    assert_eq!(world.read().desired, Desired::Unknown(WhyUnknown::Invalid), "the good one is forgotten with its file");
    fs::remove_dir_all(vipkeeper::desired::folder(world.state.path())).unwrap();
    assert_eq!(world.read(), unknown);
}

#[test]
fn a_file_of_an_earlier_boot_is_no_complaint_but_never_replaces_a_good_one() {
    let mut world = World::new();
    let mut earlier = context(world.state.path(), 0, None);
    earlier.caller.boot_id = "earlier".to_owned();
    up(&earlier, IP).unwrap();
    let reading = world.read();
    assert_eq!((reading.desired, reading.invalid), (Desired::Unknown(WhyUnknown::OtherBoot), None));

    world.up(0, None);
    let good = world.read();
    let boot_id = vipkeeper::machine::clock::boot_id().unwrap();
    world.edit(&boot_id, "earlier");
    let reading = world.read();
    assert_eq!(reading.desired, good.desired);
    assert!(reading.invalid.unwrap().contains("before this boot"));
}

#[test]
fn the_end_of_the_guard_ends_the_leadership_and_a_reused_pid_does_not_prolong_it() {
    let mut world = World::new();
    let mut watchdog = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pid = watchdog.id();
    let guard = Process { pid, start_time: process::start_time(pid).unwrap() };
    world.up(30, Some(guard));
    let reading = world.read();
    assert!(matches!(reading.desired, Desired::Leader(_)) && reading.guard_alive == Some(true));

    watchdog.kill().unwrap();
    // Not collected yet, so still there as a zombie.
    let began = std::time::Instant::now();
    while process::is_alive(&guard) && began.elapsed().as_secs() < 5 {
        std::thread::yield_now();
    }
    assert!(process::exists(pid));
    let reading = world.read();
    assert_eq!((reading.desired, reading.guard_alive), (Desired::Standby(WhyStandby::GuardDead), Some(false)));
    watchdog.wait().unwrap();
    assert_eq!(world.read().desired, Desired::Standby(WhyStandby::GuardDead));

    let me = process::this_process().unwrap();
    world.up(20, Some(Process { start_time: me.start_time - 1, ..me }));
    assert_eq!(world.read().desired, Desired::Standby(WhyStandby::GuardDead), "this pid was another's before");

    down(&context(world.state.path(), 10, None), IP).unwrap();
    let reading = world.read();
    assert_eq!((reading.desired, reading.guard_alive), (Desired::Standby(WhyStandby::Down), None));
}

#[test]
fn an_old_file_that_is_put_back_does_not_count_also_after_a_restart_and_a_fresh_one_does() {
    let mut world = World::new();
    world.up(50, None);
    let old = world.state.path().join("kept aside");
    fs::rename(world.path(), &old).unwrap();
    world.up(40, None);
    world.read();
    down(&context(world.state.path(), 30, None), IP).unwrap();
    let standby = world.read();
    let put_back = |world: &World| {
        fs::copy(&old, world.path().with_extension("copy")).unwrap();
        fs::rename(world.path().with_extension("copy"), world.path()).unwrap();
    };
    put_back(&world);
    let reading = world.read();
    assert_eq!((&reading.desired, &reading.in_force), (&standby.desired, &standby.in_force));
    assert!(reading.invalid.unwrap().contains("it is older than the one that was read before"));

    fs::remove_file(world.path()).unwrap();
    assert_eq!(world.read().desired, Desired::Unknown(WhyUnknown::NoFile));
    put_back(&world);
    assert_eq!(world.read().desired, Desired::Unknown(WhyUnknown::Invalid), "also where the newer one is gone");

    let newest = world.source.newest().cloned();
    world.source = DesiredSource::new(world.state.path(), IP, newest);
    assert_eq!(world.read().desired, Desired::Unknown(WhyUnknown::Invalid), "also after a restart");

    // A hook that cannot count on from the file begins with the clock, which may have stepped back.
    fs::remove_file(world.path()).unwrap();
    world.up(20, None);
    let sequence = format!("\"sequence\":{}", world.read().in_force.unwrap().sequence);
    world.edit(&sequence, "\"sequence\":1");
    world.source = DesiredSource::new(world.state.path(), IP, world.source.newest().cloned());
    world.up(10, None);
    let reading = world.read();
    assert!(matches!(reading.desired, Desired::Leader(_)) && reading.invalid.is_none(), "{reading:?}");
}

#[test]
fn the_daemon_keeps_the_order_of_files_over_its_restart() {
    let state = state();
    let path = vipkeeper::desired::path(state.path(), IP);
    let read = || {
        let (wakes, _woken_by) = vipkeeper::wake::channel();
        let guards = vipkeeper::wake::GuardWatch::new(wakes);
        Files::new(state.path(), trusted(), Some(guards)).unwrap().desired(IP)
    };
    up(&context(state.path(), 30, None), IP).unwrap();
    fs::copy(&path, state.path().join("old")).unwrap();
    down(&context(state.path(), 20, None), IP).unwrap();
    assert_eq!(read().desired, Desired::Standby(WhyStandby::Down));
    fs::copy(state.path().join("old"), &path).unwrap();
    assert_eq!(read().desired, Desired::Unknown(WhyUnknown::Invalid), "nothing is in force, and the old `up` is not");
    for mark in ["garbage", "{}"] {
        fs::write(state.path().join("newest").join(format!("{IP}.json")), mark).unwrap();
        assert!(matches!(read().desired, Desired::Leader(_)), "without a mark the file counts");
    }
}
