//! vipkeeper itself is not there, or cannot write.

use std::fs;
use std::time::Duration;

use super::super::client::now;
use super::super::cluster::eventually;
use super::super::software::Setup;
use super::super::vpc::Method;
use super::{
    ELECTION, GOAL, NOWHERE, OURS, Open, Scenario, another_leads, hook_after, others, plain, s, served, sleep_until,
};

pub const KILLED: Scenario = Scenario {
    name: "kill -9 of vipkeeper, then of Pgpool",
    short: NOWHERE,
    setup: plain,
    goal: GOAL,
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        let at = now();
        lab.machine(old).kill("vipkeeper");
        lab.machine(old).kill("pgpool");
        let moved = another_leads(lab, old, at);
        lab.start_vipkeeper(old);
        moved.ends("released when it ran again")
    },
    errors: &[],
};

pub const DOWN_DURING_HOOK: Scenario = Scenario {
    name: "vipkeeper is down during the hook and starts 5 s later",
    short: &[Method::ElasticIp],
    setup: plain,
    goal: GOAL,
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        // The daemons' end belongs to what is looked at afterwards: Prometheus may see it before Pgpool's.
        let at = now();
        others(old).for_each(|node| lab.machine(node).kill("vipkeeper"));
        lab.machine(old).kill("pgpool");
        let (leader, hook) = hook_after(lab, at, |node| node != old);
        sleep_until(hook + s(5));
        if let Some(prometheus) = &lab.prometheus {
            prometheus.misses(lab.name_of(leader));
        }
        let started = now();
        lab.start_vipkeeper(leader);
        let moved = served(lab, at, leader, hook);
        others(old).filter(|node| *node != leader).for_each(|node| lab.start_vipkeeper(node));
        moved.ends_after(started, OURS, "counted from vipkeeper's start")
    },
    errors: &[],
};

/// The watchdog is asked each few seconds, and what it says must last for 10 s.
const TRUST: Duration = s(30);

/// The hooks have what room the daemons kept of the disk: the old leader's `down`, and the new one's `up`.
pub const DISK_FULL: Scenario = Scenario {
    name: "the state folder's disk is full",
    short: &[Method::Route],
    setup: plain,
    goal: GOAL,
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        (0..3).for_each(|node| lab.fill_state_folder(node));
        let at = now();
        lab.stop_pgpool(old);
        another_leads(lab, old, at).ends("by the room that was kept")
    },
    errors: &["No space left on device"],
};

/// No hook can write: `up` and `down` fail, and Pgpool runs neither again. Only what its watchdog says is left to go by.
pub const HOOKS_LOST: Scenario = Scenario {
    name: "no hook can write, with `witness = \"trust\"`",
    short: NOWHERE,
    setup: |method| Setup { trust: true, heard: true, ..plain(method) },
    goal: s(20),
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        for node in 0..3 {
            fs::remove_file(lab.machine(node).path("/run/vipkeeper/reserve")).unwrap();
            lab.fill_state_folder(node);
        }
        let at = now();
        lab.stop_pgpool(old);
        let leader = eventually("another node is escalated", ELECTION, || match lab.escalated()? {
            node if node == old => Err("it is still the old leader".to_owned()),
            node => Ok(node),
        });
        let hook = now();
        assert_eq!(lab.began(leader), None, "the hook could not write");
        let says_so = || lab.log(leader, "pgpool").contains("vipkeeper: cannot write");
        eventually("Pgpool's log has what the hook says", ELECTION, || says_so().then_some(()).ok_or("no".to_owned()));
        eventually("the watchdog's word is acted upon", TRUST, || lab.agrees_on(leader));
        served(lab, at, leader, hook).ends_after(hook, TRUST, "no hook could write")
    },
    errors: &["No space left on device", "as if a hook had been lost"],
};
