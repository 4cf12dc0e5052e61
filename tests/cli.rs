//! The program as it is installed: what it answers, and with which exit code.
#![cfg(feature = "aws")]
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]
#![expect(clippy::disallowed_methods, reason = "a test may wait")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const COMMANDS: [&str; 10] = ["up", "down", "wait", "run", "plan", "check", "status", "demo", "completions", "man"];

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
    for command in COMMANDS {
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
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}
