//! The status file: whole, readable by all, and no reason to die.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use vipkeeper::commands::Format;
use vipkeeper::commands::status::{Mode, show};
use vipkeeper::observe::cause::Cause;
use vipkeeper::report::{Report, Reporter};
use vipkeeper::status::file::{ReadError, StatusFile, read};
use vipkeeper::status::page::{Colours, DaemonLife, Style, page};

use super::captured::captured;
use super::statuses::{NOW_MS, denied, leader, status, unread_claims, unrecorded};

#[test]
fn what_was_written_is_read_and_everybody_may_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let status = status(vec![leader()]);
    StatusFile::new(dir.path()).write(&status).unwrap();
    assert_eq!(read(dir.path()).unwrap(), status);
    let file = fs::metadata(dir.path().join("status.json")).unwrap();
    assert_eq!(file.permissions().mode() & 0o7777, 0o644);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_link_in_its_place_is_replaced_and_never_followed() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    for name in ["status.json", ".status.json.new"] {
        symlink(&victim, dir.path().join(name)).unwrap();
    }
    assert!(matches!(read(dir.path()), Err(ReadError::Unusable { .. })), "a link is not read");
    StatusFile::new(dir.path()).write(&status(Vec::new())).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    assert!(read(dir.path()).is_ok());
}

#[test]
fn a_folder_that_cannot_be_written_is_a_problem_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = dir.path().join("state");
    let report = Report::new(&[], Some(&state_dir), Duration::from_secs(90));
    let log = captured("info", || {
        for _ in 0..3 {
            report.status(&status(Vec::new()));
        }
        assert!(report.health().newest().is_some(), "the rest goes on");
        fs::create_dir(&state_dir).unwrap();
        report.status(&status(Vec::new()));
        report.status(&status(Vec::new()));
    });
    assert_eq!(log.len(), 2, "{log:#?}");
    assert!(log[0].contains("ERROR") && log[0].contains("state/status.json: No such file"), "{log:#?}");
    assert!(log[1].contains("INFO") && log[1].contains("solved, after 3 failures"), "{log:#?}");
}

#[test]
fn a_status_that_cannot_be_written_leaves_the_old_one() {
    // Modes do not bind root, but even root writes nothing into /proc, and replaces no folder by a file.
    let error = StatusFile::new("/proc/self/fd".as_ref()).write(&status(Vec::new())).unwrap_err();
    assert!(error.to_string().starts_with("cannot write /proc/self/fd/status.json: "), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let old = status(vec![leader()]);
    let file = StatusFile::new(dir.path());
    file.write(&old).unwrap();
    let in_the_way = dir.path().join(".status.json.new");
    fs::create_dir(&in_the_way).unwrap();
    assert!(file.write(&status(Vec::new())).is_err());
    assert_eq!(read(dir.path()).unwrap(), old);
    fs::remove_dir(in_the_way).unwrap();
    file.write(&status(Vec::new())).unwrap();
    assert_eq!(read(dir.path()).unwrap(), status(Vec::new()));
}

#[test]
fn why_there_is_no_status_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("status.json");
    assert!(matches!(read(dir.path()), Err(ReadError::Missing(_))));
    fs::write(&path, "{\"version\": 1").unwrap();
    assert!(matches!(read(dir.path()), Err(ReadError::Malformed { .. })));
    fs::write(&path, "{\"version\": 2}").unwrap();
    assert!(matches!(read(dir.path()), Err(ReadError::Version { found: 2, .. })));
    assert_eq!(show(dir.path(), Format::Json, Mode::Once, Colours::Off).unwrap(), 1);
}

#[test]
fn words_of_a_newer_daemon_are_shown_and_written_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut document = serde_json::to_value(status(vec![denied()])).unwrap();
    let vip = &mut document["vips"][0];
    vip["desired"]["role"] = "observer".into();
    vip["bindings"][1]["state"] = "postponed".into();
    vip["bindings"][1]["blocked_by"] = "moon".into();
    vip["bindings"][1]["last_error"]["class"] = "tired".into();
    vip["bindings"][1]["last_error"]["reason"] = "bad_mood".into();
    vip["conditions"][2]["name"] = "Rested".into();
    fs::write(dir.path().join("status.json"), document.to_string()).unwrap();
    let newer = read(dir.path()).unwrap();
    let page = page(&newer, DaemonLife::Alive, NOW_MS, Style { width: None, colour: false });
    for word in ["observer", "postponed"] {
        assert!(page.contains(word), "{word}: {page}");
    }
    assert_eq!(serde_json::to_value(&newer).unwrap(), document);
}

#[test]
fn the_document_of_an_older_daemon_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut document = serde_json::to_value(status(vec![denied(), unrecorded(), unread_claims()])).unwrap();
    let mut taken = 0;
    forget_keys(&mut document, &["operation", "code", "reason", "kernel", "unseen", "unread"], &mut taken);
    assert!(taken > 10, "{taken}");
    fs::write(dir.path().join("status.json"), document.to_string()).unwrap();
    let older = read(dir.path()).unwrap();
    assert_eq!(older.vips[0].bindings[1].last_error.as_ref().unwrap().cause, Cause::default());
    assert_eq!(older.vips[2].claim.as_ref().unwrap().unread, None);
    let page = page(&older, DaemonLife::Alive, NOW_MS, Style { width: None, colour: false });
    assert!(page.contains("what they may do: 'aws sts get-caller-identity'"), "its class is known: {page}");
}

/// Takes the fields away that older documents have not, but for a condition's or a problem's own `reason`.
fn forget_keys(value: &mut serde_json::Value, keys: &[&str], taken: &mut usize) {
    match value {
        serde_json::Value::Object(fields) => {
            let is_statement = fields.contains_key("holds") || !fields.contains_key("class");
            let before = fields.len();
            fields.retain(|key, _| !keys.contains(&key.as_str()) || (key == "reason" && is_statement));
            *taken += before - fields.len();
            fields.values_mut().for_each(|field| forget_keys(field, keys, taken));
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| forget_keys(item, keys, taken)),
        _ => {}
    }
}
