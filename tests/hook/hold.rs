//! The hold's file: who may write it, when it counts, and what the commands say of it.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use vipkeeper::cli::{DelegateIp, HoldOptions};
use vipkeeper::commands::hold::{Noticed, hold, resume};
use vipkeeper::desired::hold::{Extent, HoldFile, InForce, path};
use vipkeeper::machine::clock::{self, Clocks};
use vipkeeper::names::OneOf;
use vipkeeper::state_dir::Machine;
use vipkeeper::state_dir::files::Files;
use vipkeeper::status::ConditionReason;
use vipkeeper::status::file::StatusFile;
use vipkeeper::status::{Condition, ConditionName, DesiredRole, DesiredStatus, Status, VERSION, VipStatus};
use vipkeeper::wake::{self, Wake};

use crate::support::{IP, context, mode, names, state, trusted, uid};

const HALF_AN_HOUR: Duration = Duration::from_mins(30);

fn options() -> HoldOptions {
    HoldOptions { vip: DelegateIp { delegate_ip: IP }, lasts: HALF_AN_HOUR, strict: false }
}

fn held() -> TempDir {
    let state = state();
    assert_eq!(hold(&context(state.path(), 0, None), &options()).unwrap(), Noticed::NoDaemon);
    state
}

fn found(state_dir: &Path) -> Result<Option<InForce>, String> {
    Files::new(state_dir, trusted(), None).unwrap().hold(IP)
}

/// The status of a running daemon, with its word about the hold: when the hold ends, or `None` where it does not count.
fn status(held: Option<(Option<u64>, &str)>) -> Status {
    let condition = |(until_ms, message): (Option<u64>, &str)| Condition {
        name: OneOf::Known(ConditionName::Held),
        holds: until_ms.is_some(),
        reason: ConditionReason::ExceptRelease.into(),
        message: message.to_owned(),
        since_ms: 0,
        until_ms,
    };
    let role = DesiredRole::Leader.into();
    let desired =
        DesiredStatus { role, reason: None, since_ms: 0, guard_alive: None, watchdog_leads: None, asked: None };
    let vip = VipStatus {
        delegate_ip: IP,
        desired,
        claim: None,
        in_sync: true,
        holds: None,
        clients: None,
        answers: None,
        connections: None,
        obstacles: Vec::new(),
        other_claims: Vec::new(),
        bindings: Vec::new(),
        conditions: held.into_iter().map(condition).collect(),
    };
    Status {
        version: VERSION,
        program: String::new(),
        pid: std::process::id(),
        written_ms: 0,
        written_boot_ms: None,
        started_ms: 0,
        instance: None,
        region: None,
        sources: Vec::new(),
        vips: vec![vip],
        problems: Vec::new(),
        clock: None,
    }
}

#[test]
fn a_hold_is_found_until_it_is_resumed() {
    let state = held();
    let InForce { left, extent, .. } = found(state.path()).unwrap().unwrap();
    assert!((Duration::from_mins(29)..=HALF_AN_HOUR).contains(&left), "{left:?}");
    assert_eq!(extent, Extent::ExceptRelease);
    assert_eq!(names(state.path()), ["20.0.0.50.hold"], "nothing is left beside it");
    resume(&context(state.path(), 0, None), IP).unwrap();
    assert_eq!(found(state.path()), Ok(None));
    resume(&context(state.path(), 0, None), IP).unwrap();
}

#[test]
fn a_hold_ends_by_itself_and_at_a_reboot_whatever_the_wall_clock_says() {
    let boot_id = clock::boot_id().unwrap();
    let now = Clocks { boottime_ns: 100_000_000_000, wall_ms: 1_800_000_000_000 };
    let file = HoldFile::new(IP, boot_id.clone(), now, HALF_AN_HOUR, Extent::Everything);
    let after = |seconds: u64| Clocks { boottime_ns: now.boottime_ns + seconds * 1_000_000_000, wall_ms: 0 };
    assert_eq!(file.in_force(&boot_id, after(600)).unwrap().left, Duration::from_mins(20));
    assert_eq!(file.in_force(&boot_id, after(1800)), None);
    assert_eq!(file.in_force("another boot", after(600)), None);
    assert_eq!(file.until_ms(), 1_800_001_800_000);
    assert_eq!(file.in_force(&boot_id, now).unwrap().until(), "2027-01-15T08:30:00Z");
}

#[test]
fn a_hold_of_a_stranger_does_not_count() {
    let state = held();
    let file = path(state.path(), IP);
    mode(&file, 0o666);
    assert!(found(state.path()).unwrap_err().contains("others than its owner may write it"));
    mode(&file, 0o644);
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("20.0.0.50", "20.0.0.51")).unwrap();
    assert!(found(state.path()).unwrap_err().ends_with("it is about 20.0.0.51"));
    fs::write(&file, "{").unwrap();
    assert!(found(state.path()).unwrap_err().contains("it is no desired-state file"));
    if uid() == 0 {
        std::os::unix::fs::chown(&file, Some(12345), None).unwrap();
        assert!(found(state.path()).unwrap_err().contains("uid 12345"));
    } else {
        eprintln!("skipped: a file of another user, which only root can make");
    }
}

#[test]
fn a_hold_wakes_the_daemon_when_it_comes_and_goes() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let state = state();
        let (wakes, mut woken_by) = wake::channel();
        let _watcher = wake::watch_folder(&vipkeeper::desired::folder(state.path()), wakes);
        let mut next = async |patience| tokio::time::timeout(patience, woken_by.recv()).await;
        // The watcher does not tell when it has begun to watch.
        let mut woken = Err(());
        for _ in 0..100 {
            hold(&context(state.path(), 0, None), &options()).unwrap();
            woken = next(Duration::from_millis(200)).await.map_err(|_| ());
            if woken.is_ok() {
                break;
            }
        }
        assert_eq!(woken, Ok(Some(Wake::DesiredChanged)));
        while next(Duration::from_millis(200)).await.is_ok() {}
        resume(&context(state.path(), 0, None), IP).unwrap();
        assert_eq!(next(Duration::from_secs(20)).await.unwrap(), Some(Wake::DesiredChanged));
    });
}

#[test]
fn the_commands_tell_what_the_daemon_makes_of_them() {
    let state = state();
    let context = context(state.path(), 0, None);
    let daemon_says = |held| StatusFile::new(state.path()).write(&status(held)).unwrap();
    daemon_says(None);
    assert_eq!(resume(&context, IP).unwrap(), Noticed::Over);
    let unnoticed = hold(&context, &options()).unwrap();
    assert!(matches!(&unnoticed, Noticed::Not(_)) && !unnoticed.is_well(), "{unnoticed}");
    let not_used = "the file is not used: its owner, uid 1000, is neither root nor a hook user";
    daemon_says(Some((None, not_used)));
    assert_eq!(hold(&context, &options()).unwrap(), Noticed::Not(not_used.to_owned()));
    // An earlier hold is not this one.
    daemon_says(Some((Some(1_577_836_800_000), "until 2020-01-01T00:00:00Z")));
    assert!(matches!(hold(&context, &options()).unwrap(), Noticed::Not(_)));
    let before_ms = found(state.path()).unwrap().unwrap().until_ms;
    // However the daemon words it, the hold that ends when this one does is this one.
    let held = thread::scope(|scope| {
        scope.spawn(|| {
            let until_ms = (0..200).find_map(|_| {
                thread::sleep(Duration::from_millis(5));
                Some(found(state.path()).ok()??.until_ms).filter(|until_ms| *until_ms != before_ms)
            });
            daemon_says(Some((Some(until_ms.unwrap()), "held")));
        });
        hold(&context, &options()).unwrap()
    });
    assert_eq!(held, Noticed::Held("held".to_owned()));
}

#[test]
fn an_address_that_is_not_configured_is_refused() {
    let state = state();
    let mut context = context(state.path(), 0, None);
    context.configured = Ok(vec!["20.0.0.51".parse().unwrap()]);
    let refused = hold(&context, &options()).unwrap_err();
    assert_eq!(refused.exit_code(), 2);
    assert_eq!(names(state.path()), [""; 0]);
    fs::remove_dir(vipkeeper::desired::folder(state.path())).unwrap();
    context.configured = Ok(vec![IP]);
    let failed = hold(&context, &options()).unwrap_err();
    assert_eq!(failed.exit_code(), 1);
    assert!(failed.to_string().contains("20.0.0.50.hold as uid"), "{failed}");
}

#[test]
fn a_file_that_asks_for_longer_than_the_command_may_ends_after_a_week() {
    let week = Duration::from_hours(7 * 24);
    let now = Clocks { boottime_ns: 1_000_000_000, wall_ms: 1_800_000_000_000 };
    let for_ever = HoldFile::new(IP, "boot".to_owned(), now, Duration::MAX, Extent::Everything);
    assert_eq!(for_ever.until_ms(), now.wall_ms + 604_800_000);
    assert_eq!(for_ever.in_force("boot", now).unwrap().left, week);
    let later = Clocks { boottime_ns: 1_000_000_000 + 604_800_000_000_000, wall_ms: 0 };
    assert!(for_ever.in_force("boot", later).is_none());
}
