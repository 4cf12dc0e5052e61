//! The configuration, the state folder, and the clock.

use std::time::Duration;

use super::facts::{Facts, LineFault};
use super::finding::{Check, CheckVerdict, Finding};
use crate::ec2::reason::CLOCK_TOLERANCE;
use crate::machine::folder::UserIds;
use crate::pgpool::conf::WAIT_KEY;
use crate::status::ClockStatus;

/// The room that the state folder needs: the files of all VIPs several times over.
const ROOM: u64 = 1 << 20;

pub(super) const CONFIG: &[Check] = &[
    Check {
        id: "config-valid",
        title: "The configuration is valid",
        advice: "correct the configuration; config/example.toml shows every key",
        judge: config_valid,
    },
    Check {
        id: "hooks-state-dir",
        title: "Hooks and daemon have one state folder",
        advice: "set state_dir in the configuration file and not by a variable",
        judge: hooks_state_dir,
    },
    Check {
        id: "hook-users",
        title: "The hook users exist",
        advice: "name Pgpool's user in hook_users, or install Pgpool first",
        judge: hook_users,
    },
    Check {
        id: "state-folder",
        title: "The state folder is there",
        advice: "systemd-tmpfiles --create vipkeeper.conf",
        judge: state_folder,
    },
    Check {
        id: "hooks-can-write",
        title: "Hooks can write the desired state",
        advice: "give the folder to the group of Pgpool's user, in /etc/tmpfiles.d/vipkeeper.conf, and run \
                 systemd-tmpfiles --create vipkeeper.conf",
        judge: hooks_can_write,
    },
    Check {
        id: "state-folder-in-memory",
        title: "A reboot forgets who was leader",
        advice: "put state_dir on tmpfs, as /run is",
        judge: state_folder_in_memory,
    },
    Check {
        id: "state-folder-room",
        title: "The state folder's file system has room",
        advice: "free some room there: hooks fail on a full file system",
        judge: state_folder_room,
    },
    Check {
        id: "not-held",
        title: "No hold keeps this node from a failover",
        advice: "end the hold by 'vipkeeper resume', or set it again by 'vipkeeper hold'",
        judge: not_held,
    },
];

pub(super) const CLOCK: &[Check] = &[
    Check {
        id: "clock-agrees",
        title: "The clock agrees with EC2's",
        advice: "set the clock: chronyc tracking, or timedatectl, tells why it is wrong",
        judge: clock_agrees,
    },
    Check {
        id: "clock-synchronized",
        title: "Something keeps the clock right",
        advice: "run chronyd or systemd-timesyncd; Amazon Time Sync answers at 169.254.169.123",
        judge: clock_synchronized,
    },
];

fn config_valid(facts: &Facts) -> Finding {
    match &facts.config {
        Ok(config) => Finding::ok(match config.vips.len() {
            1 => "1 VIP".to_owned(),
            count => format!("{count} VIPs"),
        }),
        Err(problems) => Finding::of_faults(CheckVerdict::Failed, problems.clone(), ""),
    }
}

fn hooks_state_dir(facts: &Facts) -> Finding {
    if let Some(why) = &facts.machine.hooks_elsewhere {
        return Finding::failed(why);
    }
    let daemons = facts.machine.state_dir.0.display();
    let elsewhere = facts.pgpool.line_faults.iter().filter_map(|(key, fault)| match fault {
        LineFault::Elsewhere(folder) => Some((*key, folder)),
        LineFault::Refused(_) | LineFault::Unread(_) => None,
    });
    let (waits, moves): (Vec<_>, Vec<_>) = elsewhere.partition(|(key, _)| *key == WAIT_KEY);
    // A wait beside an empty folder ends with its timeout, and the VIP moves all the same.
    let verdict = if moves.is_empty() { CheckVerdict::Warning } else { CheckVerdict::Failed };
    let told = moves.into_iter().chain(waits);
    let told = told.map(|(key, folder)| format!("{key} leads to {}, and the daemon's is {daemons}", folder.display()));
    let told: Vec<_> = told.collect();
    if told.is_empty() {
        return Finding::ok(daemons.to_string());
    }
    Finding::of_faults(verdict, told, "").advise(
        "give the hooks' lines in pgpool.conf the --config and --state-dir that the daemon has, or neither of them",
    )
}

fn hook_users(facts: &Facts) -> Finding {
    let users = &facts.machine.hook_users;
    let missing: Vec<_> = users.iter().filter_map(|(_, found)| found.as_ref().err().cloned()).collect();
    let names = users.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    // Root's files count in any case, so somebody who exists is enough for a failover.
    let verdict = if missing.len() == users.len() { CheckVerdict::Failed } else { CheckVerdict::Warning };
    if users.is_empty() {
        return Finding::ok("root alone");
    }
    Finding::of_faults(verdict, missing, names)
}

fn state_folder(facts: &Facts) -> Finding {
    let (path, found) = &facts.machine.state_dir;
    match found {
        Ok(folder) => Finding::ok(format!("{}, mode {:o}", path.display(), folder.mode)),
        Err(why) => Finding::failed(format!("{}: {why}", path.display())),
    }
}

fn hooks_can_write(facts: &Facts) -> Finding {
    let machine = &facts.machine;
    let (path, state) = &machine.state_dir;
    let Ok(state) = state else { return Finding::skipped("there is no state folder") };
    let known: Vec<_> =
        machine.hook_users.iter().filter_map(|(name, user)| Some((name, user.as_ref().ok()?))).collect();
    if known.is_empty() {
        return Finding::skipped("no hook user exists");
    }
    // A hook makes the folder of desired-state files where it is missing.
    let (folder, target) = match &machine.desired {
        (desired, Ok(folder)) => (desired, folder),
        (_, Err(_)) => (path, state),
    };
    let may = |user: &UserIds| state.lets_through(user) && target.lets_write(user);
    let cannot = known.iter().filter(|(_, user)| !may(user));
    let cannot: Vec<_> = cannot
        .map(|(name, _)| format!("{name} cannot write into {} (mode {:o})", folder.display(), target.mode))
        .collect();
    Finding::of_faults(CheckVerdict::Failed, cannot, folder.display().to_string())
}

fn state_folder_in_memory(facts: &Facts) -> Finding {
    match &facts.machine.state_dir {
        (_, Err(_)) => Finding::skipped("there is no state folder"),
        (_, Ok(folder)) if folder.is_in_memory => Finding::ok("it is on tmpfs"),
        (path, Ok(_)) => Finding::warning(format!(
            "{} outlives a reboot, and its files then count for nothing until the next hook",
            path.display()
        )),
    }
}

fn state_folder_room(facts: &Facts) -> Finding {
    match &facts.machine.state_dir {
        (_, Err(_)) => Finding::skipped("there is no state folder"),
        (_, Ok(folder)) if folder.free >= ROOM => Finding::ok(format!("{} KiB are free", folder.free >> 10)),
        (path, Ok(folder)) => {
            Finding::failed(format!("{} KiB are free on the file system of {}", folder.free >> 10, path.display()))
        }
    }
}

fn not_held(facts: &Facts) -> Finding {
    if let Err(why) = facts.config() {
        return Finding::skipped(why);
    }
    let holds = &facts.machine.holds;
    let held: Vec<_> = holds.iter().filter_map(|(vip, hold)| Some((vip, hold.as_ref().ok()?))).collect();
    let in_force = held.iter().map(|(vip, hold)| {
        format!("{vip} is held until {}: this node would change nothing at a failover", hold.until())
    });
    // A file that does not count keeps nobody from a failover. Whoever wrote the file believes that the node is held.
    let unused = holds.iter().filter_map(|(vip, hold)| {
        let why = hold.as_ref().err()?;
        Some(format!("the hold over {vip} does not count: {why}"))
    });
    let verdict = if held.is_empty() { CheckVerdict::Warning } else { CheckVerdict::Failed };
    let found = Finding::of_faults(verdict, in_force.chain(unused).collect(), "nothing is held");
    if held.is_empty() {
        return found;
    }
    let resumed: Vec<_> = held.iter().map(|(vip, _)| format!("vipkeeper resume {vip}")).collect();
    found.advise(format!("{} ends the hold before its time", resumed.join(", ")))
}

/// The clock as the status page tells it.
fn clock(facts: &Facts) -> ClockStatus {
    let now = facts.machine.now;
    let time = facts.cloud.reads.as_ref().and_then(|reads| reads.time);
    ClockStatus {
        ahead_ms: time.map(|time| time.ahead_ms(now.at, now.wall_ms)),
        error_ms: time.map(|time| time.error_ms),
        synchronized: facts.machine.discipline.map(|discipline| discipline.synchronized),
        max_error_ms: None,
    }
}

fn clock_agrees(facts: &Facts) -> Finding {
    let clock = clock(facts);
    let Some(ahead_ms) = clock.ahead_ms else { return Finding::skipped("EC2 gave no answer with a date") };
    match clock.off_by_ms() {
        None => Finding::ok(format!("by the dates of EC2's answers, to {} ms", clock.error_ms.unwrap_or_default())),
        Some(off_ms) => {
            let side = if ahead_ms < 0 { "behind" } else { "ahead of" };
            let (s, tenths) = (off_ms.unsigned_abs() / 1000, off_ms.unsigned_abs() % 1000 / 100);
            let told = format!("{s}.{tenths} s {side} EC2's");
            let is_refused = Duration::from_millis(off_ms.unsigned_abs()) >= CLOCK_TOLERANCE;
            if is_refused { Finding::failed(told) } else { Finding::warning(told) }
        }
    }
}

fn clock_synchronized(facts: &Facts) -> Finding {
    match facts.machine.discipline {
        None => Finding::skipped("the kernel may not be asked here"),
        Some(discipline) if discipline.synchronized => {
            Finding::ok(format!("its error is {} ms at most", discipline.max_error.as_millis()))
        }
        Some(_) => Finding::warning("the kernel does not count its clock as synchronised"),
    }
}
