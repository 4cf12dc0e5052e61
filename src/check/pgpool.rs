//! Pgpool on this node, and the other nodes of its watchdog's cluster.

use std::net::IpAddr;
use std::time::Duration;

use super::facts::{Facts, LineFault, Peer, PgpoolProcess};
use super::finding::{Check, CheckVerdict, Finding};
use crate::observe::seen::{Port, Quorum};
use crate::pgpool::conf::{Conf, HookCommand, HookLine, IP_WORD, Lifecheck};
use crate::pgpool::watchdog::Asked;

/// The longest `wait` where the hook does not say one: the default of `vipkeeper wait --timeout`.
const DEFAULT_WAIT: Duration = Duration::from_secs(8);
/// The subcommands of the three hooks.
const SUBCOMMANDS: [&str; 3] = ["up", "down", "wait"];
/// Words by which a command that moves addresses in AWS is known.
const MOVERS: [&str; 8] =
    ["aws ", "aws_", "eip", "assign-private-ip", "associate-address", "replace-route", "ip addr", "if_up"];

pub(super) const PGPOOL: &[Check] = &[
    Check {
        id: "pgpool-conf",
        title: "pgpool.conf can be read",
        advice: "name it with --pgpool-conf, and run the check as root or as Pgpool's user",
        judge: pgpool_conf,
    },
    Check {
        id: "pgpool-watchdog-on",
        title: "Pgpool uses its watchdog",
        advice: "use_watchdog = on in pgpool.conf, and restart Pgpool",
        judge: watchdog_on,
    },
    Check {
        id: "pgpool-delegate-ip",
        title: "Pgpool's delegate IP is a VIP of the configuration",
        advice: "make delegate_ip in pgpool.conf and in the configuration the same",
        judge: delegate_ip,
    },
    Check {
        id: "pgpool-hooks",
        title: "Pgpool's hooks call vipkeeper",
        advice: "set if_up_cmd, if_down_cmd and arping_cmd as the README shows, and restart Pgpool",
        judge: hooks,
    },
    Check {
        id: "pgpool-hook-program",
        title: "Pgpool's hooks can be run",
        advice: "install the program at the path that the hooks name, mode 755",
        judge: hook_program,
    },
    Check {
        id: "pgpool-wait",
        title: "The hook's wait is shorter than the watchdog's patience",
        advice: "shorten --timeout in arping_cmd, or lengthen wd_heartbeat_deadtime",
        judge: wait,
    },
    Check {
        id: "pgpool-other-scripts",
        title: "No other script moves the VIP",
        advice: "take the command out of pgpool.conf: vipkeeper moves the VIP",
        judge: other_scripts,
    },
    Check {
        id: "pgpool-version",
        title: "Pgpool's version has no known fault",
        advice: "update Pgpool-II: 4.3.17, 4.4.14, 4.5.9, 4.6.4 and 4.7.0 have the fault mended",
        judge: version,
    },
    Check {
        id: "pgpool-user",
        title: "Pgpool runs as a hook user",
        advice: "name Pgpool's user in hook_users: the files of anybody else count for nothing",
        judge: user,
    },
    Check {
        id: "pgpool-serves",
        title: "Pgpool answers at its port",
        advice: "start Pgpool, or correct [pgpool] address",
        judge: serves,
    },
    Check {
        id: "pgpool-lifecheck",
        title: "Pgpool's lifecheck runs",
        advice: "start Pgpool on every node once; see 'lifecheck' in Pgpool's log",
        judge: lifecheck,
    },
    Check {
        id: "pgpool-witness",
        title: "Pgpool's watchdog gives its word",
        advice: "UMask=0002 for Pgpool's unit and SupplementaryGroups= for vipkeeper's; or witness = \"off\"",
        judge: witness,
    },
];

pub(super) const PEERS: &[Check] = &[
    Check {
        id: "peers-count",
        title: "The cluster can have a quorum",
        advice: "three nodes, or an odd number of them, can lose one and still elect a leader",
        judge: peers_count,
    },
    Check {
        id: "peers-resolve",
        title: "The names of the peers are known",
        advice: "correct hostnameN in pgpool.conf, or the names in DNS or /etc/hosts",
        judge: peers_resolve,
    },
    Check {
        id: "peers-answer",
        title: "The peers' watchdogs take connections",
        advice: "start Pgpool there, and let TCP in at wd_port",
        judge: peers_answer,
    },
    Check {
        id: "peers-quorum",
        title: "The watchdog has a quorum",
        advice: "start Pgpool on the other nodes; pcp_watchdog_info shows who is missing",
        judge: peers_quorum,
    },
];

/// pgpool.conf, or a finding that skips the check.
fn conf(facts: &Facts) -> Result<&Conf, Finding> {
    facts.pgpool.conf.as_ref().map(|(_, conf)| conf).map_err(|_| Finding::skipped("pgpool.conf was not read"))
}

fn pgpool_conf(facts: &Facts) -> Finding {
    match &facts.pgpool.conf {
        Ok((path, _)) => Finding::ok(path.display().to_string()),
        Err(why) => Finding::warning(why),
    }
}

fn watchdog_on(facts: &Facts) -> Finding {
    match conf(facts) {
        Ok(conf) if conf.uses_watchdog() => Finding::ok("use_watchdog is on"),
        Ok(_) => Finding::failed("use_watchdog is off, so that no hook is ever called"),
        Err(skipped) => skipped,
    }
}

fn delegate_ip(facts: &Facts) -> Finding {
    let (conf, config) = match (conf(facts), facts.config()) {
        (Err(skipped), _) => return skipped,
        (_, Err(why)) => return Finding::skipped(why),
        (Ok(conf), Ok(config)) => (conf, config),
    };
    let known: Vec<_> = config.vips.iter().map(|vip| vip.delegate_ip).collect();
    let named = known.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    match conf.delegate_ip() {
        None => Finding::failed("delegate_ip is not set, so that no hook is ever called"),
        Some((text, None)) => Finding::failed(format!("delegate_ip '{text}' is no address")),
        Some((text, Some(ip))) if !known.contains(&ip) => {
            Finding::failed(format!("delegate_ip is {text}, and the configuration has {named}"))
        }
        Some((text, Some(_))) => Finding::ok(text),
    }
}

fn hooks(facts: &Facts) -> Finding {
    let conf = match conf(facts) {
        Ok(conf) => conf,
        Err(skipped) => return skipped,
    };
    let lines = conf.hooks();
    let wrong = |(line, subcommand): (&HookLine<'_>, &str)| {
        let Some(command) = line.command else { return Some(format!("{} is not set", line.key)) };
        let parsed = HookCommand::parse(command)?;
        if parsed.subcommand_of_vipkeeper() != Some(subcommand) {
            return Some(format!("{} = '{command}' does not call 'vipkeeper {subcommand}'", line.key));
        }
        if !parsed.arguments.contains(&IP_WORD) {
            return Some(format!("{} = '{command}' does not pass {IP_WORD}", line.key));
        }
        let faults = &facts.pgpool.line_faults;
        faults.iter().find_map(|(key, fault)| match fault {
            LineFault::Refused(why) if *key == line.key => Some(format!("{key} = '{command}': {why}")),
            _ => None,
        })
    };
    let all: Vec<_> = lines.iter().zip(SUBCOMMANDS).collect();
    let moving: Vec<_> = all[..2].iter().filter_map(|one| wrong(*one)).collect();
    if !moving.is_empty() {
        return Finding::of_faults(CheckVerdict::Failed, moving, "");
    }
    // Without the wait the VIP moves all the same, and Pgpool's ping comes too early.
    let unread = facts.pgpool.line_faults.iter().filter_map(|(key, fault)| match fault {
        // The daemon's own configuration is judged by its own check.
        LineFault::Unread(why) if facts.config.is_ok() => {
            Some(format!("the configuration that {key} names cannot be used: {why}"))
        }
        LineFault::Unread(_) | LineFault::Refused(_) | LineFault::Elsewhere(_) => None,
    });
    Finding::of_faults(CheckVerdict::Warning, wrong(all[2]).into_iter().chain(unread).collect(), "up, down and wait")
}

fn hook_program(facts: &Facts) -> Finding {
    match conf(facts) {
        Ok(_) => Finding::of_faults(CheckVerdict::Failed, facts.pgpool.unusable.clone(), "each is a program"),
        Err(skipped) => skipped,
    }
}

fn wait(facts: &Facts) -> Finding {
    let conf = match conf(facts) {
        Ok(conf) => conf,
        Err(skipped) => return skipped,
    };
    let Some(command) = conf.hooks()[2].command.and_then(HookCommand::parse) else {
        return Finding::skipped("arping_cmd is not set");
    };
    if command.subcommand_of_vipkeeper() != Some("wait") {
        return Finding::skipped("arping_cmd does not call 'vipkeeper wait'");
    }
    let timeout = match command.flag("--timeout") {
        None => DEFAULT_WAIT,
        Some(text) => match humantime::parse_duration(text) {
            Ok(timeout) => timeout,
            Err(error) => return Finding::failed(format!("--timeout {text}: {error}")),
        },
    };
    let patience = conf.patience();
    let (timeout_s, patience_s) = (timeout.as_secs_f64(), patience.as_secs_f64());
    let told = format!("{timeout_s} s, and the others take a watchdog that stands still for {patience_s} s for dead");
    if timeout < patience { Finding::ok(told) } else { Finding::warning(told) }
}

fn other_scripts(facts: &Facts) -> Finding {
    let conf = match conf(facts) {
        Ok(conf) => conf,
        Err(skipped) => return skipped,
    };
    let moves = |command: &str| MOVERS.iter().any(|word| command.contains(word));
    let scripts = conf.escalation_commands().filter(|(_, command)| moves(command));
    let scripts: Vec<_> = scripts.map(|(key, command)| format!("{key} = '{command}'")).collect();
    // The name of a script does not show what it does.
    let unknown = conf.escalation_commands().filter(|(_, command)| !moves(command) && !command.contains("vipkeeper"));
    let unknown: Vec<_> =
        unknown.map(|(key, command)| format!("{key} = '{command}': see that it moves no VIP")).collect();
    if scripts.is_empty() {
        return Finding::of_faults(CheckVerdict::Warning, unknown, "no escalation command");
    }
    Finding::of_faults(CheckVerdict::Failed, scripts, "")
}

fn version(facts: &Facts) -> Finding {
    let version = match &facts.pgpool.version {
        Ok(version) => *version,
        Err(why) => return Finding::skipped(why),
    };
    let by_heartbeat = conf(facts).is_ok_and(|conf| conf.lifecheck() == Lifecheck::Heartbeat);
    if version.is_too_old() {
        return Finding::warning(format!(
            "{version} is older than everything that vipkeeper was tried with (4.3 to 4.7)"
        ));
    }
    if version.hears_no_heartbeat() && by_heartbeat {
        return Finding::failed(format!(
            "{version} hears heartbeats on the loopback interface alone: the lifecheck never starts, and a leader that hangs \
             is not replaced"
        ))
        .advise("update to 4.6.4 or newer, or set wd_lifecheck_method = 'query'");
    }
    if version.lifecheck_waits_for_all() {
        return Finding::warning(format!(
            "{version} starts no lifecheck while a node has never been reached: a leader that hangs is noticed late, and two \
             may lead"
        ));
    }
    Finding::ok(version.to_string())
}

/// Pgpool's processes of root and of the hook users. Anybody else may call a process so, and counts for nothing.
fn trusted(facts: &Facts) -> impl Iterator<Item = &PgpoolProcess> {
    let users = &facts.machine.hook_users;
    facts.pgpool.processes.iter().filter(|process| {
        process.uid == 0 || users.iter().any(|(_, user)| user.as_ref().is_ok_and(|user| user.uid == process.uid))
    })
}

fn user(facts: &Facts) -> Finding {
    match (facts.pgpool.processes.first(), trusted(facts).next()) {
        (None, _) => Finding::skipped("Pgpool does not run"),
        (Some(_), Some(_)) => Finding::ok("its hooks' files count"),
        (Some(other), None) => Finding::failed(format!("Pgpool runs as uid {}, which is no hook user", other.uid)),
    }
}

fn serves(facts: &Facts) -> Finding {
    let config = match facts.config() {
        Ok(config) => config,
        Err(why) => return Finding::skipped(why),
    };
    match facts.pgpool.port {
        Port::Answers => Finding::ok(config.pgpool.address.to_string()),
        Port::Silent => Finding::warning(format!("nobody answers at {}", config.pgpool.address)),
        Port::NotAsked => Finding::skipped("it was not asked"),
    }
}

fn has_title(facts: &Facts, word: &str) -> bool {
    trusted(facts).any(|process| process.title.to_ascii_lowercase().contains(word))
}

fn lifecheck(facts: &Facts) -> Finding {
    let conf = match conf(facts) {
        Ok(conf) => conf,
        Err(skipped) => return skipped,
    };
    if conf.lifecheck() == Lifecheck::External {
        return Finding::skipped("another program checks for Pgpool (wd_lifecheck_method = 'external')");
    }
    if !has_title(facts, "watchdog") {
        return Finding::skipped("Pgpool's watchdog does not run");
    }
    if !has_title(facts, "lifecheck") {
        return Finding::warning("Pgpool's watchdog runs, and its lifecheck does not");
    }
    let waits = facts.pgpool.version.as_ref().is_ok_and(|version| version.lifecheck_waits_for_all());
    let unreached = facts.pgpool.peers.iter().find(|peer| !matches!(peer.answers, Some(Ok(()))));
    match unreached.filter(|_| waits) {
        Some(peer) => Finding::warning(format!(
            "its process runs, but this version waits until every node was reached once, and {} does not answer",
            peer.node.host
        )),
        None => Finding::ok("its process runs"),
    }
}

fn witness(facts: &Facts) -> Finding {
    match &facts.pgpool.watchdog {
        None => Finding::skipped("witness is off, or nobody was asked"),
        Some(Asked::Word(_)) => Finding::ok("it answers"),
        Some(Asked::Nobody(why)) => Finding::warning(why.to_string()),
        Some(Asked::NoAnswer(why) | Asked::Unheard(why)) => Finding::warning(why),
    }
}

fn peers_count(facts: &Facts) -> Finding {
    let conf = match conf(facts) {
        Ok(conf) => conf,
        Err(skipped) => return skipped,
    };
    let count = conf.nodes().len();
    match count {
        0 => Finding::skipped("pgpool.conf names no nodes (hostname0, hostname1, ...)"),
        1 => Finding::failed("pgpool.conf names this node alone, and nobody could take over"),
        2 if !conf.half_votes_suffice() => Finding::failed(
            "with two nodes the one that is left has no quorum (enable_consensus_with_half_votes is off)",
        ),
        even if even.is_multiple_of(2) => {
            Finding::warning(format!("{even} nodes: after a partition into halves both may lead, or none"))
        }
        odd => Finding::ok(format!("{odd} nodes")),
    }
}

/// Judges the other nodes: `fault` tells what is wrong with one of them, if anything is.
fn of_peers(facts: &Facts, fault: impl Fn(&Peer) -> Option<String>, well: &str) -> Finding {
    if let Err(skipped) = conf(facts) {
        return skipped;
    }
    let peers = &facts.pgpool.peers;
    if peers.is_empty() {
        return Finding::skipped("pgpool.conf names no other node");
    }
    Finding::of_faults(CheckVerdict::Warning, peers.iter().filter_map(fault).collect(), well)
}

fn peers_resolve(facts: &Facts) -> Finding {
    let fault = |peer: &Peer| Some(format!("{}: {}", peer.node.host, peer.addresses.as_ref().err()?));
    of_peers(facts, fault, "each has an address")
}

fn peers_answer(facts: &Facts) -> Finding {
    let fault = |peer: &Peer| {
        let why = peer.answers.as_ref()?.as_ref().err()?;
        Some(format!("{}:{}: {why}", peer.node.host, peer.node.watchdog_port))
    };
    of_peers(facts, fault, "each takes connections at wd_port")
}

fn peers_quorum(facts: &Facts) -> Finding {
    let Some(Asked::Word(word)) = &facts.pgpool.watchdog else {
        return Finding::skipped("Pgpool's watchdog gave no word");
    };
    match word.quorum {
        Some(Quorum::Has) => Finding::ok("it holds"),
        Some(Quorum::Lost) => Finding::warning("the watchdog has lost its quorum"),
        Some(Quorum::NoLeader) => Finding::warning("the watchdog knows of no leader"),
        None => Finding::skipped("the watchdog says nothing of it"),
    }
}
