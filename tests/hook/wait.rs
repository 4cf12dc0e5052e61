//! `wait` returns for the current claim's convergence and for nothing else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vipkeeper::commands::hook::{down, up};
use vipkeeper::commands::wait::wait;
use vipkeeper::desired::file::Wanted;
use vipkeeper::desired::next::WatchdogProcess;
use vipkeeper::error::one_line;
use vipkeeper::machine::clock::Clocks;
use vipkeeper::machine::process::Process;
use vipkeeper::status::Status;

use crate::support::{IP, context, read, state};

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(20);

fn claim(state_dir: &Path) -> String {
    match read(state_dir).wanted {
        Wanted::Leader(leadership) => leadership.claim.to_string(),
        Wanted::Standby => panic!("no leader"),
    }
}

/// A status of a daemon that runs, in which this claim has converged.
fn converged(claim: &str) -> Value {
    json!({
        "version": 1, "program": "0", "pid": std::process::id(), "written_ms": Clocks::now().wall_ms, "started_ms": 0,
        "instance": "i-0a", "region": null, "sources": [], "problems": [],
        "vips": [{
            "delegate_ip": IP, "desired": {"role": "leader", "reason": null, "since_ms": 0}, "in_sync": true,
            "claim": {"id": claim, "term": 1, "started_ms": 1, "converged_ms": 2, "superseded_by": null},
            "bindings": [], "conditions": []
        }]
    })
}

fn put(state_dir: &Path, status: &Value) {
    serde_json::from_value::<Status>(status.clone()).expect("the tests know the format");
    fs::write(state_dir.join("status.new"), status.to_string()).unwrap();
    fs::rename(state_dir.join("status.new"), state_dir.join("status.json")).unwrap();
}

/// Why it failed, and whether it waited for that.
fn fails(state_dir: &Path, timeout: Duration) -> String {
    let began = Instant::now();
    let error = wait(&context(state_dir, 0, None), IP, timeout).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(timeout == SHORT || began.elapsed() < LONG / 2, "at once");
    assert!(timeout == LONG || began.elapsed() >= SHORT, "not before the timeout");
    let text = one_line(&error);
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn a_claim_that_converges_ends_the_wait() {
    let state = state();
    up(&context(state.path(), 10, None), IP).unwrap();
    let claim = claim(state.path());
    let mut status = converged(&claim);
    status["vips"][0]["claim"]["converged_ms"] = Value::Null;
    put(state.path(), &status);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(150));
            put(state.path(), &converged(&claim));
        });
        let began = Instant::now();
        wait(&context(state.path(), 0, None), IP, LONG).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(150) && began.elapsed() < LONG / 2);
    });
}

#[test]
fn the_claim_of_a_watchdog_process_that_is_gone_is_not_waited_for() {
    let state = state();
    let guard = Process { pid: u32::MAX, start_time: 1 };
    up(&context(state.path(), 10, Some(WatchdogProcess { guard, escalation: None })), IP).unwrap();
    put(state.path(), &converged(&claim(state.path())));
    let text = fails(state.path(), LONG);
    assert!(text.contains("the Pgpool watchdog process that claimed 20.0.0.50 is gone"), "{text}");
}

#[test]
fn an_old_success_is_not_taken_for_a_new_one() {
    let state = state();
    up(&context(state.path(), 30, None), IP).unwrap();
    let old = claim(state.path());
    put(state.path(), &converged(&old));
    wait(&context(state.path(), 0, None), IP, Duration::ZERO).unwrap();
    down(&context(state.path(), 20, None), IP).unwrap();
    up(&context(state.path(), 10, None), IP).unwrap();
    let text = fails(state.path(), SHORT);
    assert!(text.contains("did not converge within 100ms: the daemon has not taken up this claim"), "{text}");

    // The claim may change while we wait: what counts is the one that stands then.
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            up(&context(state.path(), 0, None), IP).unwrap();
            put(state.path(), &converged(&claim(state.path())));
        });
        wait(&context(state.path(), 0, None), IP, LONG).unwrap();
    });
}

#[test]
fn nothing_to_wait_for_fails_at_once() {
    let state = state();
    let text = fails(state.path(), LONG);
    assert!(text.contains("20.0.0.50.json does not exist"), "{text}");
    down(&context(state.path(), 30, None), IP).unwrap();
    assert_eq!(fails(state.path(), LONG), "this node stands by for 20.0.0.50: there is no claim to wait for");
    fs::write(state.path().join("desired/20.0.0.50.json"), "{").unwrap();
    let text = fails(state.path(), LONG);
    assert!(text.contains("20.0.0.50.json is not used: it is no desired-state file"), "{text}");

    up(&context(state.path(), 20, None), IP).unwrap();
    let mut status = converged(&claim(state.path()));
    status["vips"][0]["claim"]["superseded_by"] = json!("i-0b");
    put(state.path(), &status);
    assert_eq!(fails(state.path(), LONG), "this node's claim on 20.0.0.50 gave way to a newer one of i-0b");

    let error = wait(&context(state.path(), 0, None), "20.0.0.51".parse().unwrap(), LONG).unwrap_err();
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn a_down_ends_the_wait() {
    let state = state();
    up(&context(state.path(), 20, None), IP).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            down(&context(state.path(), 10, None), IP).unwrap();
        });
        assert!(fails(state.path(), LONG).contains("stands by"));
    });
}

#[test]
fn the_timeout_says_what_is_missing() {
    let state = state();
    up(&context(state.path(), 10, None), IP).unwrap();
    let mut status = converged(&claim(state.path()));
    status["vips"][0]["claim"]["converged_ms"] = Value::Null;
    let binding = |target: &str, state: &str, error: Value| {
        json!({"kind": "route", "target": target, "state": state, "detail": "points at eni-b", "since_ms": 0,
            "last_error": error, "next_try_ms": null})
    };
    let denied = json!({"at_ms": 1, "class": "denied", "message": "not authorized\nto replace", "failures": 3});
    status["vips"][0]["bindings"] = json!([
        binding("rtb-1", "drift", denied),
        binding("rtb-2", "in_sync", Value::Null),
        binding("rtb-3", "drift", Value::Null)
    ]);
    put(state.path(), &status);
    assert_eq!(
        fails(state.path(), SHORT),
        "20.0.0.50 did not converge within 100ms: route rtb-1 is drift (denied: not authorized to replace); \
         route rtb-3 is drift (points at eni-b)"
    );
    status["vips"][0]["bindings"] = (1..=6).map(|n| binding(&format!("rtb-{n}"), "drift", Value::Null)).collect();
    put(state.path(), &status);
    let text = fails(state.path(), SHORT);
    assert!(text.ends_with("route rtb-4 is drift (points at eni-b); and 2 more"), "{text}");

    status["vips"][0]["bindings"] = json!([]);
    put(state.path(), &status);
    assert!(fails(state.path(), SHORT).contains("has not seen all bindings here yet"));

    status["vips"] = json!([]);
    put(state.path(), &status);
    assert!(fails(state.path(), SHORT).ends_with("the daemon's configuration has no such VIP"));
    status["pid"] = json!(i32::MAX);
    put(state.path(), &status);
    assert!(fails(state.path(), SHORT).ends_with("the daemon (pid 2147483647) is not running"));
}

#[test]
fn what_is_wrong_with_the_daemon_is_said_where_it_has_not_taken_the_claim_up() {
    let state = state();
    up(&context(state.path(), 10, None), IP).unwrap();
    let mut status = converged("another");
    let message = "no interface of this machine has 02:00:00:00:00:01";
    status["problems"] = json!([{"reason": "NoIdentity", "message": message, "since_ms": 0}]);
    put(state.path(), &status);
    let text = fails(state.path(), SHORT);
    assert!(text.contains("the daemon has not taken up this claim; its status is "), "{text}");
    assert!(text.ends_with(&format!(" old; {message}")), "{text}");

    // The command first tells that the daemon goes by something else than the file.
    let refused = "20.0.0.50.json is not used: its owner, uid 7, is neither root nor a hook user";
    status["vips"][0]["conditions"] = json!([
        {"name": "DesiredValid", "holds": false, "reason": "NotUsed", "message": refused, "since_ms": 0}
    ]);
    put(state.path(), &status);
    assert!(fails(state.path(), SHORT).contains(&format!("the daemon goes by something else: {refused}; ")));
    status["vips"][0]["conditions"] = json!([]);
    let watchdog = "the file says leader, but Pgpool's watchdog says that this node does not hold the VIP";
    status["vips"][0]["desired"] = json!({"role": "standby", "reason": watchdog, "since_ms": 0});
    put(state.path(), &status);
    assert!(fails(state.path(), SHORT).contains(&format!("the daemon goes by something else: {watchdog}; ")));
}

#[test]
fn a_file_from_before_this_boot_is_called_that() {
    let state = state();
    let mut context_before = context(state.path(), 10, None);
    context_before.caller.boot_id = "00000000-0000-0000-0000-000000000000".to_owned();
    up(&context_before, IP).unwrap();
    let text = fails(state.path(), LONG);
    assert!(text.ends_with("20.0.0.50.json is not used: it was written before this boot"), "{text}");
}

#[test]
fn a_status_that_is_none_is_waited_out_and_named() {
    let state = state();
    up(&context(state.path(), 10, None), IP).unwrap();
    let path = state.path().join("status.json");
    let good = converged(&claim(state.path())).to_string();
    assert!(fails(state.path(), SHORT).contains("status.json: the daemon has not run since the machine started"));
    fs::write(state.path().join("elsewhere"), &good).unwrap();
    symlink("elsewhere", &path).unwrap();
    assert!(fails(state.path(), SHORT).contains("it is a symbolic link, not a plain file"));
    fs::remove_file(&path).unwrap();
    fs::write(&path, good.clone() + &" ".repeat(17 << 20)).unwrap();
    assert!(fails(state.path(), SHORT).contains("it is longer than 16777216 bytes"));
    fs::write(&path, good.replace("\"version\":1", "\"version\":2")).unwrap();
    assert!(fails(state.path(), SHORT).contains("has version 2, this program reads 1"));
    fs::write(&path, &good).unwrap();
    wait(&context(state.path(), 0, None), IP, SHORT).unwrap();
}
