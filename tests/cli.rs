//! The program as it is installed: what it answers, and with which exit code.
#![cfg(feature = "aws")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail as the test itself")]
#![expect(clippy::disallowed_methods, reason = "a test may wait")]

#[path = "cli/boundaries.rs"]
mod boundaries;
#[path = "report/golden.rs"]
mod golden;
#[path = "cli/mistakes.rs"]
mod mistakes;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use clap::CommandFactory as _;
use rustix::process::{Pid, Signal, kill_process};
use vipkeeper::cli::Cli;

/// The names of all commands.
fn commands() -> Vec<String> {
    let commands: Vec<_> = Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    assert!(commands.len() > 12, "{commands:?}");
    commands
}

fn vipkeeper(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vipkeeper")).env_clear().args(arguments).output().unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn config(folder: &Path, content: &str) -> String {
    let path = folder.join("vipkeeper.toml");
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_bad_configuration_ends_it_with_78_and_every_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path(), "sate_dir = '/x'\n[intervals]\nleader = '1s'\n");
    for command in ["run", "plan"] {
        let output = vipkeeper(&[command, "--config", &path]);
        assert_eq!(output.status.code(), Some(78), "{command}");
        let said = text(output.stderr);
        for wanted in [":1: sate_dir: unknown key: did you mean \"state_dir\"?", ":3: intervals.leader: ", "no VIP"] {
            assert!(said.contains(wanted), "{said}");
        }
        assert_eq!(text(output.stdout), "");
    }
}

#[test]
fn a_missing_configuration_is_a_bad_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.toml");
    let output = vipkeeper(&["--config", path.to_str().unwrap(), "run"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(output.stderr).contains("none.toml: cannot read the file: No such file"));
}

#[test]
fn a_wrong_command_line_ends_it_with_2() {
    for (arguments, said) in [
        (["up"].as_slice(), "required arguments were not provided"),
        (&["up", "localhost"], "invalid value 'localhost' for '<DELEGATE-IP>': invalid IP address syntax"),
        (&["up", "20.0.0.50", "--state-dir", "run"], "'run' is relative"),
        (&["wait", "20.0.0.50", "--timeout", "8"], "time unit needed"),
        (&["ups"], "a similar subcommand exists: 'up'"),
        (&[], "Usage: vipkeeper [OPTIONS] <COMMAND>"),
    ] {
        let output = vipkeeper(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = text(output.stderr);
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_reader_of_json_gets_an_object_also_where_there_is_no_status() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().to_str().unwrap();
    let output = vipkeeper(&["status", "--json", "--state-dir", state_dir]);
    assert_eq!(output.status.code(), Some(1));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = &said["error"];
    assert_eq!(error["reason"], "Missing");
    assert!(error["message"].as_str().unwrap().starts_with(&format!("there is no {state_dir}/status.json")), "{said}");
    assert!(error["to_do"].as_str().unwrap().contains("systemctl start vipkeeper"), "{said}");

    // One line each for who follows; the first that no status is there any more.
    let mut watch = Command::new(env!("CARGO_BIN_EXE_vipkeeper"));
    watch.env_clear().args(["status", "--json", "--watch", "--state-dir", state_dir]).stdout(Stdio::piped());
    let mut watch = watch.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(watch.stdout.take().unwrap()).read_line(&mut line).unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), said);
}

#[test]
fn what_happened_is_told_from_files_and_a_missing_or_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().to_str().unwrap();
    let events = |more: &[&str]| vipkeeper(&[&["status", "--events", "--state-dir", state_dir], more].concat());
    let none = events(&["--json"]);
    assert_eq!(none.status.code(), Some(1));
    let said: serde_json::Value = serde_json::from_slice(&none.stdout).unwrap();
    assert!(said["error"]["message"].as_str().unwrap().starts_with("there is no "), "{said}");
    fs::write(folder.path().join("events.json"), "{\"version\":1").unwrap();
    let damaged = events(&[]);
    assert_eq!(damaged.status.code(), Some(1));
    assert!(text(damaged.stderr).contains("events.json holds no events"));

    let event = |number: u64, kind: &str, at_ms: u64| serde_json::json!({ "number": number, "kind": kind, "at_ms": at_ms, "vip": "20.0.0.50", "what": kind });
    let now_ms = 1_800_000_000_000_u64;
    let file =
        serde_json::json!({ "version": 1, "boot": "b", "events": [event(1, "gained", 1), event(2, "lost", now_ms)] });
    fs::write(folder.path().join("events.json"), file.to_string()).unwrap();
    let all = text(events(&[]).stdout);
    assert!(all.contains("1970-01-01T00:00:00.001Z") && all.lines().count() == 3, "{all}");
    let recent = events(&["--json", "--since", "1000days"]);
    let recent: serde_json::Value = serde_json::from_slice(&recent.stdout).unwrap();
    assert!(recent.as_array().unwrap().iter().any(|event| event["kind"] == "lost"), "{recent}");

    // The page shows them too, beside a status.
    let of_node = serde_json::json!({ "number": 3, "kind": "started", "at_ms": now_ms, "what": "the daemon started" });
    let file = serde_json::json!({ "version": 1, "boot": "b", "events": [of_node] });
    fs::write(folder.path().join("events.json"), file.to_string()).unwrap();
    let status = serde_json::json!({
        "version": 1, "program": "x", "pid": 1, "written_ms": now_ms, "started_ms": 0, "instance": null, "region": null,
        "sources": [], "vips": [], "problems": [],
    });
    fs::write(folder.path().join("status.json"), status.to_string()).unwrap();
    let page = text(vipkeeper(&["status", "--state-dir", state_dir]).stdout);
    assert!(page.contains("EVENTS OF THE NODE  TOOK  EVENT\n") && page.contains("the daemon started"), "{page}");

    // Two nodes, of which one has a clock that is 5 s ahead of EC2's.
    for (name, kind, ahead_ms) in [("i-0a", "lost", 0), ("i-0b", "gained", 5_000)] {
        let document = serde_json::json!({
            "version": 1, "program": "x", "pid": 1, "written_ms": now_ms + ahead_ms, "started_ms": 0, "instance": name,
            "region": null, "sources": [], "vips": [], "problems": [],
            "clock": { "ahead_ms": ahead_ms, "error_ms": 0, "synchronized": true, "max_error_ms": 1 },
            "events": [event(1, kind, now_ms + ahead_ms - 60_000 + if name == "i-0b" { 1_250 } else { 0 })],
        });
        fs::write(folder.path().join(name), document.to_string()).unwrap();
    }
    let paths = ["i-0b", "i-0a"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let report = vipkeeper(&["report", "--since", "5m", &paths[0], &paths[1]]);
    assert!(text(report.stdout).contains("i-0b took it over from i-0a, 1.250 s after that one lost it"));
    let picture = vipkeeper(&["report", "--since", "5m", "--svg", &paths[0], &paths[1]]);
    assert!(text(picture.stdout).starts_with("<svg "));
    let nothing = vipkeeper(&["report", "--since", "1s", "--svg", &paths[0]]);
    assert!(nothing.status.code() == Some(1) && nothing.stdout.is_empty());
    let no_document = vipkeeper(&["report", folder.path().join("events.json").to_str().unwrap()]);
    assert!(text(no_document.stderr).contains("is no document of `vipkeeper status --json`"));
    let document = fs::read_to_string(folder.path().join("i-0a")).unwrap();
    let mut of_later: serde_json::Value = serde_json::from_str(&document).unwrap();
    of_later["version"] = 99.into();
    fs::write(folder.path().join("later"), of_later.to_string()).unwrap();
    let of_later = vipkeeper(&["report", folder.path().join("later").to_str().unwrap()]);
    assert!(text(of_later.stderr).contains("later has version 99, this program reads "));
    let long = fs::File::create(folder.path().join("long")).unwrap();
    long.set_len((64 << 20) + 1).unwrap();
    let too_long = vipkeeper(&["report", folder.path().join("long").to_str().unwrap()]);
    assert!(text(too_long.stderr).contains("long is longer than 64 MiB"));
}

#[test]
fn a_demo_that_is_ended_leaves_nothing_behind() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = tempfile::tempdir().unwrap();
        let is_empty = || fs::read_dir(folder.path()).unwrap().next().is_none();
        let mut demo = Command::new(env!("CARGO_BIN_EXE_vipkeeper"));
        demo.env_clear().env("TMPDIR", folder.path()).arg("demo").stdout(Stdio::null());
        let mut demo = demo.spawn().unwrap();
        let began = Instant::now();
        while is_empty() {
            assert!(began.elapsed() < Duration::from_mins(1), "it made no folder");
            std::thread::sleep(Duration::from_millis(10));
        }
        kill_process(Pid::from_child(&demo), signal).unwrap();
        demo.wait().unwrap();
        assert!(is_empty(), "{signal:?}");
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    assert!(vipkeeper(&["man", folder.path().to_str().unwrap()]).status.success());
    let page = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    for command in commands() {
        assert!(page(&format!("vipkeeper-{command}.1")).contains(".SH SYNOPSIS"), "{command}");
    }
    assert_eq!(text(vipkeeper(&["man"]).stdout), page("vipkeeper.1"));

    let output = vipkeeper(&["man", folder.path().join("none").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(output.stderr);
    assert!(said.contains("cannot write the manual pages into") && said.contains("No such file"), "{said}");
}

#[test]
fn every_shell_completes_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = vipkeeper(&["completions", shell]);
        assert!(output.status.success(), "{shell}");
        let script = text(output.stdout);
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
        }
    }
}
