//! The files that `up` and `down` leave behind, also where writing fails.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode};
use vipkeeper::commands::hook::{HookOutcome, down, up};
use vipkeeper::desired::file::Wanted;
use vipkeeper::error::one_line;
use vipkeeper::machine::clock::Clocks;

use crate::support::{CHILD, IP, context, hook, mode, names, program_for_all, read, result, state, this_program, uid};
use crate::unshare;

#[test]
fn up_and_down_each_replace_the_file_and_count_on() {
    let state = state();
    let (before, context_of_up) = (Clocks::now().wall_ms, context(state.path(), 20, None));
    let HookOutcome::Written(leader) = up(&context_of_up, IP).unwrap() else { panic!("overtaken") };
    assert_eq!(read(state.path()), leader);
    let Wanted::Leader(leadership) = &leader.wanted else { panic!("{leader:?}") };
    assert_eq!(leadership.started_ms, context_of_up.caller.started_ms);
    let clocks = Clocks::now();
    let ago_ms = clocks.since_boot().as_millis() - u128::from(leadership.started_boot_ms.unwrap());
    let by_the_wall_clock_ms = u128::from(clocks.wall_ms - leadership.started_ms);
    assert!(ago_ms.abs_diff(by_the_wall_clock_ms) < 50, "{ago_ms} {by_the_wall_clock_ms}");
    assert!(leader.written_ms >= before);

    let HookOutcome::Written(standby) = down(&context(state.path(), 10, None), IP).unwrap() else {
        panic!("overtaken")
    };
    assert_eq!(read(state.path()), standby);
    assert_eq!((standby.wanted, standby.sequence), (Wanted::Standby, leader.sequence + 1));
    assert_eq!(names(state.path()), [format!("{IP}.json")], "nothing else stays");
}

#[test]
fn an_unknown_delegate_ip_is_refused_with_the_configured_ones_and_nothing_is_written() {
    let state = state();
    let mut context = context(state.path(), 0, None);
    context.configured = Ok(vec![IP, "fd00::50".parse().unwrap()]);
    for ask in [up, down] {
        let error = ask(&context, "20.0.0.51".parse().unwrap()).unwrap_err();
        let text = "20.0.0.51 is no configured delegate IP; configured: 20.0.0.50, fd00::50";
        assert_eq!((one_line(&error).as_str(), error.exit_code()), (text, 2));
    }
    assert!(names(state.path()).is_empty());
    up(&context, "fd00:0::0:50".parse().unwrap()).unwrap();
    assert_eq!(names(state.path()), ["fd00::50.json"], "one address has one name, however it is spelled");
}

#[test]
fn without_a_readable_configuration_the_file_is_written_all_the_same_with_a_warning() {
    let state = state();
    let mut context = context(state.path(), 0, None);
    assert_eq!(context.warning(), None);
    context.configured = Err("vipkeeper.toml: Permission denied".to_owned());
    let warning = context.warning().unwrap();
    assert!(warning.contains("vipkeeper.toml: Permission denied") && !warning.contains('\n'), "{warning}");
    up(&context, IP).unwrap();
    assert!(matches!(read(state.path()).wanted, Wanted::Leader(_)));
}

#[test]
fn the_folder_is_made_where_possible_and_the_state_folder_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let script = "umask 077; exec \"$0\" \"$@\"";
    let run = |state_dir: &Path| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(this_program()).args(CHILD).env("HOOK", "up").env("STATE", state_dir);
        result(&command.output().unwrap())
    };
    let missing = parent.path().join("vipkeeper");
    let (code, text) = run(&missing);
    assert!(code == 1 && text.contains("there is no folder") && text.contains("systemd-tmpfiles"), "{code} {text}");
    assert!(!missing.exists());

    assert_eq!(run(parent.path()), (0, String::new()));
    let mode_of = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(
        mode_of(&vipkeeper::desired::folder(parent.path())),
        0o755,
        "the umask of the hook's caller does not matter"
    );
    assert_eq!(mode_of(&vipkeeper::desired::path(parent.path(), IP)), 0o644);
}

#[test]
fn a_folder_that_may_not_be_written_is_named_with_the_reason() {
    // Root may write everywhere, so the hook runs as somebody else then.
    let (_folder, program) = program_for_all();
    let state = state();
    up(&context(state.path(), 1000, None), IP).unwrap();
    let before = fs::read(vipkeeper::desired::path(state.path(), IP)).unwrap();
    mode(&vipkeeper::desired::folder(state.path()), 0o555);
    let run = |state_dir: &Path| {
        let mut command = hook(&program, "down", state_dir);
        if uid() == 0 {
            command.uid(65534).gid(65534);
        }
        result(&command.current_dir("/").output().unwrap())
    };

    let (code, text) = run(state.path());
    assert!(code == 1 && text.contains("20.0.0.50.json") && text.contains("Permission denied"), "{code} {text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(fs::read(vipkeeper::desired::path(state.path(), IP)).unwrap(), before);

    mode(&vipkeeper::desired::folder(state.path()), 0o755);
    fs::remove_dir_all(vipkeeper::desired::folder(state.path())).unwrap();
    mode(state.path(), 0o555);
    let (code, text) = run(state.path());
    assert!(
        code == 1 && text.contains("cannot make the folder") && text.contains("Permission denied"),
        "{code} {text}"
    );
    mode(state.path(), 0o755);
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_half_written() {
    // A file system of its own in a mount namespace of its own: it ends with the shell, whatever happens to the test.
    let script = r#"
        mount -t tmpfs -o size=32k none "$STATE" || exit 77
        mkdir "$STATE/desired"
        HOOK=up "$0" "$@" || exit 10
        cp "$STATE/desired/20.0.0.50.json" "$COPY"
        head -c 1M /dev/zero > "$STATE/full" 2> /dev/null
        HOOK=down "$0" "$@"
        echo "exit $?" >&2
        cmp "$STATE/desired/20.0.0.50.json" "$COPY" || exit 11
        [ "$(ls -A "$STATE/desired")" = "$(echo .lock; echo 20.0.0.50.json)" ] || exit 12"#;
    assert_the_last_hook_found_no_space(script);
}

#[test]
fn on_a_full_disk_a_hook_has_the_room_that_the_daemon_keeps_once() {
    let script = r#"
        mount -t tmpfs -o size=1m none "$STATE" || exit 77
        mkdir "$STATE/desired"
        HOOK=room "$0" "$@" &
        trap "kill $!" EXIT
        until [ -s "$STATE/reserve" ]; do kill -0 $! || exit 10; sleep 0.01; done
        HOOK=up "$0" "$@" || exit 11
        [ "$(stat -c '%a %s %b' "$STATE/reserve")" = "600 262144 512" ] || exit 12
        head -c 2M /dev/zero > "$STATE/full" 2> /dev/null
        HOOK=down "$0" "$@" || exit 13
        grep -q standby "$STATE/desired/20.0.0.50.json" || exit 14
        [ ! -e "$STATE/reserve" ] || exit 15
        cp "$STATE/desired/20.0.0.50.json" "$COPY"
        head -c 2M /dev/zero > "$STATE/fuller" 2> /dev/null
        HOOK=up "$0" "$@"
        echo "exit $?" >&2
        cmp "$STATE/desired/20.0.0.50.json" "$COPY" || exit 16
        [ "$(ls -A "$STATE/desired")" = "$(echo .lock; echo 20.0.0.50.json)" ] || exit 17"#;
    assert_the_last_hook_found_no_space(script);
}

/// Runs a script whose last hook must be the only one that fails, for want of space, and must leave nothing half written: the
/// script itself ends with 0 then.
fn assert_the_last_hook_found_no_space(script: &str) {
    let Some((code, text)) = in_a_mount_namespace(script) else { return };
    assert_eq!(code, 0, "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("No space left on device") && lines[1] == "exit 1", "{text}");
}

/// Runs a script with an empty folder `$STATE`, a file `$COPY` outside, and this program as `$0` for hooks. `None` where it
/// cannot be, or the script says 77.
fn in_a_mount_namespace(script: &str) -> Option<(i32, String)> {
    let (state, copy) = (state(), tempfile::NamedTempFile::new().unwrap());
    let namespaces: &[&str] = if uid() == 0 { &["--mount"] } else { &["--mount", "--user", "--map-root-user"] };
    if let Some(obstacle) = unshare::obstacle(namespaces) {
        eprintln!("not tested: no mount namespace here: {obstacle}");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["sh", "-c", script]).arg(this_program()).args(CHILD);
    let output = command.env("STATE", state.path()).env("COPY", copy.path()).output().unwrap();
    let (code, text) = result(&output);
    if code == 77 {
        eprintln!("not tested: no mount namespace here: {text}");
        return None;
    }
    Some((code, text))
}

#[test]
fn a_write_that_fails_halfway_leaves_the_old_file_and_nothing_half_written() {
    let state = state();
    up(&context(state.path(), 1000, None), IP).unwrap();
    let before = fs::read(vipkeeper::desired::path(state.path(), IP)).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""]).arg(this_program()).args(CHILD);
    let (code, text) = result(&command.env("HOOK", "down").env("STATE", state.path()).output().unwrap());
    assert!(code == 1 && text.contains("File too large") && text.lines().count() == 1, "{code} {text}");
    assert_eq!(fs::read(vipkeeper::desired::path(state.path(), IP)).unwrap(), before);
    assert_eq!(names(state.path()), [format!("{IP}.json")]);
}

/// Something else in the file's place: what it is, and putting it there.
type Put<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn whatever_stands_in_the_files_place_a_hook_writes_its_own_and_counts_from_the_clock() {
    let foreign = tempfile::NamedTempFile::new().unwrap();
    fs::write(&foreign, "keep me").unwrap();
    let put: [Put; 5] = [
        ("garbage", &|path| fs::write(path, "{\"version\":1,").unwrap()),
        ("a later version", &|path| fs::write(path, r#"{"version":9,"sequence":5}"#).unwrap()),
        ("a long file", &|path| fs::write(path, vec![b' '; 1 << 20]).unwrap()),
        ("a link", &|path| symlink(foreign.path(), path).unwrap()),
        ("a fifo", &|path| {
            rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        }),
    ];
    for (what, put) in put {
        let state = state();
        put(&vipkeeper::desired::path(state.path(), IP));
        let before = Clocks::now().wall_ms;
        up(&context(state.path(), 0, None), IP).unwrap_or_else(|error| panic!("{what}: {}", one_line(&error)));
        assert!(read(state.path()).sequence >= before, "{what}");
    }
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "keep me");

    let state = state();
    fs::create_dir(vipkeeper::desired::path(state.path(), IP)).unwrap();
    let error = up(&context(state.path(), 0, None), IP).unwrap_err();
    assert!(one_line(&error).contains("directory") && error.exit_code() == 1, "{}", one_line(&error));
    assert_eq!(names(state.path()), [format!("{IP}.json")], "the temporary file is gone");
}
