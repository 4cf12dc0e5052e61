//! One thing about Pgpool or its other nodes is broken at a time: the rest of the table in [`breaks`](crate::breaks), and
//! the faults that depend on Pgpool's version.

use std::collections::BTreeMap;

use vipkeeper::check::facts::{Facts, LineFault, OtherKeeper};
use vipkeeper::observe::seen::{Port, Quorum};
use vipkeeper::pgpool::conf::Conf;
use vipkeeper::pgpool::version::Version;
use vipkeeper::pgpool::watchdog::Asked;

use crate::breaks::Break::Facts as Found;
use crate::breaks::Broken;
use crate::support::in_paused_time;
use crate::well::*;

/// Each check of Pgpool and of the other nodes.
pub const BREAKS: &[Broken] = &[
    (
        "pgpool-conf",
        "warning",
        "there is no",
        Found(|facts| {
            facts.pgpool.conf = Err("there is no /etc/pgpool2/pgpool.conf".to_owned());
        }),
    ),
    ("pgpool-watchdog-on", "failed", "use_watchdog is off", Found(|facts| conf(facts, "use_watchdog = off"))),
    (
        "pgpool-delegate-ip",
        "failed",
        "delegate_ip is 203.0.113.99",
        Found(|facts| conf(facts, "delegate_ip = '203.0.113.99'")),
    ),
    (
        "pgpool-hooks",
        "failed",
        "does not call 'vipkeeper up'",
        Found(|facts| {
            conf(facts, "if_up_cmd = '/etc/pgpool2/aws_eip_if_up.sh'");
        }),
    ),
    (
        "pgpool-hook-program",
        "failed",
        "No such file",
        Found(|facts| {
            facts.pgpool.unusable.push("/usr/bin/vipkeeper of if_up_cmd: No such file or directory".to_owned());
        }),
    ),
    (
        "pgpool-wait",
        "warning",
        "40 s",
        Found(|facts| conf(facts, "arping_cmd = '/usr/bin/vipkeeper wait $_IP_$ --timeout 40s'")),
    ),
    (
        "pgpool-other-scripts",
        "failed",
        "wd_escalation_command = '/etc/pgpool2/aws_eip_if_up.sh'",
        Found(|facts| {
            conf(facts, "wd_escalation_command = '/etc/pgpool2/aws_eip_if_up.sh'");
        }),
    ),
    (
        "pgpool-version",
        "failed",
        "on the loopback interface alone",
        Found(|facts| {
            facts.pgpool.version = Ok(Version { major: 4, minor: 6, patch: 1 });
        }),
    ),
    (
        "pgpool-user",
        "failed",
        "runs as uid 54321",
        Found(|facts| facts.pgpool.processes.iter_mut().for_each(|process| process.uid = 54_321)),
    ),
    ("pgpool-serves", "warning", "nobody answers at 127.0.0.1:9999", Found(|facts| facts.pgpool.port = Port::Silent)),
    ("pgpool-lifecheck", "warning", "its lifecheck does not", Found(|facts| facts.pgpool.processes.truncate(2))),
    (
        "pgpool-witness",
        "warning",
        "did not answer",
        Found(|facts| {
            facts.pgpool.watchdog = Some(Asked::NoAnswer("Pgpool's watchdog did not answer within 1s".to_owned()));
        }),
    ),
    (
        "peers-count",
        "failed",
        "this node alone",
        Found(|facts| {
            conf(facts, "hostname1 = ''\nhostname2 = ''");
            facts.pgpool.peers.clear();
        }),
    ),
    (
        "peers-resolve",
        "warning",
        "b: the name has no address",
        Found(|facts| {
            let peer = &mut facts.pgpool.peers[0];
            (peer.addresses, peer.answers) = (Err("the name has no address".to_owned()), None);
        }),
    ),
    (
        "peers-answer",
        "warning",
        "b:9000: no connection in time",
        Found(|facts| {
            facts.pgpool.peers[0].answers = Some(Err("no connection in time".to_owned()));
        }),
    ),
    (
        "peers-quorum",
        "warning",
        "has lost its quorum",
        Found(|facts| {
            let Some(Asked::Word(word)) = &mut facts.pgpool.watchdog else { panic!() };
            word.quorum = Some(Quorum::Lost);
        }),
    ),
];

fn conf(facts: &mut Facts, line: &str) {
    facts.pgpool.conf.as_mut().unwrap().1 = Conf::parse(&format!("{CONF}{line}\n"));
}

#[test]
fn the_known_faults_of_pgpool_are_told_by_its_version_and_its_lifecheck() {
    in_paused_time(async {
        let mut facts = Stage::new().facts().await;
        let mut told = |version: (u32, u32, u32), method: &str| {
            facts.pgpool.version = Ok(Version { major: version.0, minor: version.1, patch: version.2 });
            conf(&mut facts, &format!("wd_lifecheck_method = '{method}'"));
            faults(&judged(&facts)).get("pgpool-version").copied()
        };
        assert_eq!(told((4, 6, 2), "heartbeat"), Some("failed"));
        assert_eq!(told((4, 6, 2), "query"), Some("warning"));
        assert_eq!(told((4, 6, 3), "heartbeat"), Some("warning"));
        assert_eq!(told((4, 6, 4), "heartbeat"), None);
        assert_eq!(told((4, 1, 0), "query"), Some("warning"));
        // Of an old version it is told as well which node it waits for.
        facts.pgpool.version = Ok(Version { major: 4, minor: 3, patch: 5 });
        facts.pgpool.peers[1].answers = Some(Err("no connection in time".to_owned()));
        let results = judged(&facts);
        assert!(said(&results, "pgpool-lifecheck").contains("c does not answer"), "{}", results.page());
    });
}

#[test]
fn an_own_keeper_that_names_no_vip_and_an_unknown_escalation_command_are_told_apart() {
    in_paused_time(async {
        let mut facts = Stage::new().facts().await;
        facts.machine.keepers.push(OtherKeeper { name: "keepalived".to_owned(), names: None });
        conf(&mut facts, "wd_escalation_command = '/etc/pgpool2/tell-everybody.sh'");
        let results = judged(&facts);
        assert_eq!(faults(&results), BTreeMap::from([("pgpool-other-scripts", "warning")]));
        assert!(said(&results, "no-other-keeper").contains("keepalived runs, and names no VIP"));
    });
}

#[test]
fn a_line_that_leads_elsewhere_or_that_vipkeeper_refuses_is_told_by_what_it_costs() {
    in_paused_time(async {
        let mut facts = Stage::new().facts().await;
        let mut told = |key: &'static str, fault: LineFault| {
            facts.pgpool.line_faults = vec![(key, fault)];
            let results = judged(&facts);
            let found = faults(&results);
            let (id, verdict) = found.first_key_value().filter(|_| found.len() == 1).unwrap();
            (*id, *verdict, said(&results, id))
        };
        let elsewhere = || LineFault::Elsewhere("/tmp/x".into());
        let (id, verdict, said) = told("if_up_cmd", elsewhere());
        assert_eq!((id, verdict), ("hooks-state-dir", "failed"));
        assert_eq!(said, "if_up_cmd leads to /tmp/x, and the daemon's is /run/vipkeeper");
        let (id, verdict, _) = told("arping_cmd", elsewhere());
        assert_eq!((id, verdict), ("hooks-state-dir", "warning"));
        let refused = || LineFault::Refused("error: unexpected argument".to_owned());
        let (id, verdict, said) = told("if_down_cmd", refused());
        assert_eq!((id, verdict), ("pgpool-hooks", "failed"));
        assert!(said.starts_with("if_down_cmd = '/usr/bin/vipkeeper down $_IP_$': error: unexpected"), "{said}");
        let (id, verdict, _) = told("arping_cmd", refused());
        assert_eq!((id, verdict), ("pgpool-hooks", "warning"));
        let (id, verdict, said) = told("if_up_cmd", LineFault::Unread("it is not TOML".to_owned()));
        assert_eq!((id, verdict), ("pgpool-hooks", "warning"));
        assert_eq!(said, "the configuration that if_up_cmd names cannot be used: it is not TOML");
    });
}

#[test]
fn a_line_that_sets_a_variable_is_no_call_of_vipkeeper() {
    in_paused_time(async {
        let mut facts = Stage::new().facts().await;
        for line in [
            "if_up_cmd = 'VIPKEEPER_STATE_DIR=/tmp/x /usr/bin/vipkeeper up $_IP_$'",
            "if_up_cmd = 'VIPKEEPER_STATE_DIR=/run/vipkeeper vipkeeper up $_IP_$'",
            "if_up_cmd = '/usr/bin/env VIPKEEPER_STATE_DIR=/tmp/x vipkeeper up $_IP_$'",
        ] {
            conf(&mut facts, line);
            assert_eq!(faults(&judged(&facts)), BTreeMap::from([("pgpool-hooks", "failed")]), "{line}");
        }
    });
}
