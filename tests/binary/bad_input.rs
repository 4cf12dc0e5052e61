//! Whatever is wrong with what the program is given.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;

use crate::stage::machine::{Machine, program};
use crate::stage::{A_PASS, PUBLIC, ROUTED, Stage, copy_program, eventually};

/// A user who is neither root nor a hook user; it needs no name.
const STRANGER: u32 = 54_321;

#[test]
fn an_unknown_delegate_ip_is_refused_with_the_known_ones_named() {
    let Some(stage) = Stage::new(1, 1) else { return };
    let machine = &stage.machines[0];
    machine.configure(&(stage.usual_vip() + "[[vip]]\ndelegate_ip = \"203.0.113.99\"\n[vip.elastic_ip]\n"));
    // An address that only follows a VIP is no VIP either.
    for unknown in ["20.0.0.51", PUBLIC, "2001:db8::1"] {
        for hook in ["up", "down", "wait"] {
            let (out, said, code) = machine.said(&[hook, unknown]);
            assert_eq!((out.as_str(), code), ("", 2), "{hook} {unknown}");
            assert_eq!(
                said,
                format!("vipkeeper: {unknown} is no configured delegate IP; configured: {ROUTED}, 203.0.113.99\n")
            );
        }
    }
    assert!(!machine.state_dir().join("desired").exists(), "nothing was written");
}

#[test]
fn a_hook_writes_although_the_configuration_cannot_be_read() {
    let Some(stage) = Stage::new(1, 1) else { return };
    let machine = &stage.machines[0];
    let state_dir = machine.state_dir();
    let arguments = ["up", ROUTED, "--state-dir", state_dir.to_str().unwrap()];
    let broken = [None, Some("state_dir = ["), Some("sate_dir = \"/run/x\"\n[[vip]]\ndelegate_ip = 7\n")];
    for text in broken {
        let _ = fs::remove_file(machine.config());
        if let Some(text) = text {
            machine.configure_whole(text);
        }
        let (_, said, code) = machine.said(&arguments);
        assert_eq!(code, 0, "{said}");
        assert!(said.starts_with("vipkeeper: the configuration has errors") && said.lines().count() == 1, "{said}");
        assert!(fs::read_to_string(machine.desired_file(ROUTED)).unwrap().contains("leader"));
        fs::remove_file(machine.desired_file(ROUTED)).unwrap();
    }
    // The state folder is believed even if something else is wrong.
    machine.configure_whole(&format!("state_dir = \"{}\"\nnonsense = 1\n", state_dir.display()));
    let (_, said, code) = machine.said(&["up", ROUTED]);
    assert!(code == 0 && said.contains("has errors") && said.contains(state_dir.to_str().unwrap()), "{said}");
    assert!(machine.desired_file(ROUTED).exists());
}

#[test]
fn every_error_of_a_configuration_is_shown_at_once() {
    let Some(stage) = Stage::new(1, 1) else { return };
    let machine = &stage.machines[0];
    machine.configure_whole(
        "hook_user = [\"postgres\"]\n[intervals]\nleader = \"1s\"\n[[vip]]\ndelegate_ip = \"127.0.0.1\"\n\
         [vip.route]\ntables = [\"rtb-1234\"]\ninterface = \"eth0:1\"\n",
    );
    for command in ["run", "plan"] {
        let (out, said, code) = machine.said(&[command]);
        assert_eq!((out.as_str(), code), ("", 78), "{said}");
        let at = |line: u32, key: &str| said.contains(&format!("{}:{line}: {key}", machine.config().display()));
        let places =
            [(1, "hook_user"), (3, "intervals.leader"), (5, "vip[0].delegate_ip"), (8, "vip[0].route.interface")];
        for (line, key) in places {
            assert!(at(line, key), "line {line}, {key}: {said}");
        }
    }
    // A variable is named as itself.
    machine.configure(&stage.usual_vip());
    let output = machine.command(&["run"]).env("VIPKEEPER_INTERVALS__LEADER", "soon").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(78) && said.contains("VIPKEEPER_INTERVALS__LEADER"), "{said}");
}

#[test]
fn a_state_folder_that_cannot_be_written_fails_the_hook_and_keeps_the_old_file() {
    let Some(stage) = Stage::new(1, 1) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    machine.hook("down", ROUTED);
    let before = fs::read(machine.desired_file(ROUTED)).unwrap();
    let (said, code) = as_stranger(machine, &["up", ROUTED]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("cannot write") && said.contains("Permission denied"), "{said}");
    assert!(said.contains(&format!("uid {STRANGER}")) && said.lines().count() == 1, "{said}");
    assert_eq!(fs::read(machine.desired_file(ROUTED)).unwrap(), before);

    // Nor where there is no folder at all.
    machine.configure_whole(&machine.header().replace("/run\"", "/none\"").replace("hook_users", "#"));
    let (_, said, code) = machine.said(&["up", ROUTED]);
    assert!(code == 1 && said.contains("there is no folder"), "{said}");
}

#[test]
fn a_full_disk_fails_the_hook_and_keeps_the_old_file() {
    let Some(stage) = Stage::new(1, 1) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let state_dir = machine.state_dir();
    // The machine alone sees this mount; so what it holds is looked at from within.
    let done = machine.inside(move |_| {
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "small"]).arg(state_dir).status().unwrap()
    });
    assert!(done.success());
    machine.hook("down", ROUTED);
    let (filler, file) = (machine.state_dir().join("filler"), machine.desired_file(ROUTED));
    let before = machine.inside(move |_| {
        let full = fs::write(filler, vec![0; 1 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        fs::read(file).unwrap()
    });
    let (_, said, code) = machine.said(&["up", ROUTED]);
    assert!(code == 1 && said.contains("No space left on device") && said.lines().count() == 1, "{said}");
    let folder = machine.state_dir().join("desired");
    let (after, names) = machine.inside(move |_| {
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        // The hooks' lock stays.
        let names: Vec<_> = names.into_iter().filter(|name| name != ".lock").collect();
        (fs::read(folder.join(format!("{ROUTED}.json"))).unwrap(), names)
    });
    assert_eq!(after, before);
    assert_eq!(names, [format!("{ROUTED}.json").as_str()], "nothing half-written is left");
}

#[test]
fn a_full_disk_under_a_running_daemon_fails_no_hook_and_no_wait() {
    let Some(stage) = Stage::new(1, 1) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let state_dir = machine.state_dir();
    let done = machine.inside(move |_| {
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "small"]).arg(state_dir).status().unwrap()
    });
    assert!(done.success());
    let daemon = machine.start_ready();
    let filler = machine.state_dir().join("filler");
    let fill = filler.clone();
    machine.inside(move |_| {
        let full = fs::write(fill, vec![0; 2 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    });

    machine.hook("up", ROUTED);
    machine.wait(ROUTED);
    assert!(stage.points_at(0));
    let claim = machine.state_dir().join(format!("claims/{ROUTED}.json"));
    assert!(machine.inside(move |_| claim.exists()), "a restart would go on with it");
    let (said, _, code) = machine.said(&["status"]);
    assert!(code == 2 && said.contains("is full; a hook took the room"), "{said}");
    machine.hook("down", ROUTED);
    eventually("it is given back", || !machine.has(ROUTED));

    machine.inside(move |_| fs::remove_file(filler).unwrap());
    let reserve = machine.state_dir().join("reserve");
    eventually("the room is kept again", || {
        let reserve = reserve.clone();
        machine.inside(move |_| reserve.exists())
    });
    eventually("the problem is over", || machine.said(&["status"]).2 == 0);
    let log = daemon.log();
    let warned = |line: &&str| line.contains("WARN") && line.contains("a hook took the room");
    assert_eq!(log.lines().filter(warned).count(), 1, "{log}");
    assert!(log.contains("room is kept again"), "{log}");
}

#[test]
fn what_a_user_whom_nobody_trusts_writes_moves_nothing() {
    let Some(stage) = Stage::new(1, 1) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let daemon = machine.start_ready();
    machine.hook("down", ROUTED);
    eventually("the node stands by", || {
        machine.status().is_some_and(|status| status.vips[0].desired.role.as_str() == "standby")
    });
    // A good leader file, by way of another state folder.
    let other = machine.path("other");
    fs::create_dir(&other).unwrap();
    let (_, said, code) = machine.said(&["up", ROUTED, "--state-dir", other.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    let leader = other.join(format!("desired/{ROUTED}.json"));
    let (file, mark) = (machine.desired_file(ROUTED), stage.mark());
    let put = |make: &dyn Fn(&std::path::Path)| {
        let new = machine.path("new");
        let _ = fs::remove_file(&new);
        make(&new);
        fs::rename(&new, &file).unwrap();
    };
    let refused = |wanted: &str| {
        eventually(wanted, || {
            let status = machine.status().unwrap();
            status.vips[0]
                .conditions
                .iter()
                .any(|it| it.name.as_str() == "DesiredValid" && !it.holds && it.message.contains(wanted))
        });
    };
    put(&|new| {
        fs::copy(&leader, new).unwrap();
        chown(new, Some(STRANGER), None).unwrap();
    });
    refused(&format!("uid {STRANGER}"));
    put(&|new| {
        fs::copy(&leader, new).unwrap();
        fs::set_permissions(new, fs::Permissions::from_mode(0o666)).unwrap();
    });
    refused("others than its owner may write it");
    put(&|new| symlink(&leader, new).unwrap());
    refused("symbolic link");
    put(&|new| fs::write(new, vec![b' '; 65 * 1024]).unwrap());
    refused("65536");
    put(&|new| fs::write(new, "{").unwrap());
    refused("no desired-state file");
    thread::sleep(A_PASS);
    assert!(stage.calls(mark).iter().all(|call| !call.write));
    assert!(!machine.has(ROUTED));
    let log = daemon.log();
    assert!(log.contains(&format!("uid {STRANGER}")), "the log says so too");

    // The same file of somebody trusted does.
    put(&|new| {
        fs::copy(&leader, new).unwrap();
        fs::set_permissions(new, fs::Permissions::from_mode(0o644)).unwrap();
    });
    machine.wait(ROUTED);
    assert!(stage.points_at(0));
}

/// Runs the program as somebody who may do nothing. Returns its output, and its exit code.
fn as_stranger(machine: &Machine, arguments: &[&str]) -> (String, i32) {
    // Where everybody may run it.
    let copy = machine.path("vipkeeper");
    if !copy.exists() {
        copy_program(program(), &copy);
    }
    let mut command = Command::new(copy);
    command.args(arguments).arg("--config").arg(machine.config()).env_clear().uid(STRANGER).gid(STRANGER);
    let output = command.output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap_or(-1))
}
