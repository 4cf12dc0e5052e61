//! The network fails: between the nodes, between a node and EC2, or both.

use super::super::client::now;
use super::super::cluster::eventually;
use super::super::vpc::Method;
use super::ec2::{FAULT, under};
use super::{
    CLEAN, GOAL, GOAL_AFTER_FAULT, NOWHERE, Open, Scenario, another_leads, others, plain, s, sleep_until, stays_served,
};

pub const CUT: Open = Open::MayNotKnow(
    "A client that only waits sends nothing, and so reaches nobody who could tell it. One that asks repeats its question \
     at growing intervals, until one of these packets reaches the new leader, which resets the connection. TCP keepalives \
     help the one that waits, and `tcp_user_timeout` the one that asks.",
);

pub const FROM_PEERS: Scenario = Scenario {
    name: "cut off from its peers for 25 s, not from EC2",
    short: &[Method::Route],
    setup: plain,
    goal: GOAL,
    open: CUT,
    happens: |lab, old| {
        let at = now();
        lab.cut(&[old], &[]);
        let moved = another_leads(lab, old, at);
        eventually("nothing is left at the old leader", CLEAN, || lab.agrees_on(moved.leader));
        sleep_until(at + s(25));
        lab.heal();
        moved.ends_once_one_stays(lab, "healed")
    },
    errors: &[],
};

/// While it lasts, nothing happens to clients. Then Pgpool stops, and what its node holds cannot be released.
pub const FROM_EC2: Scenario = Scenario {
    name: "cut off from EC2 for 25 s, not from its peers, and stopped meanwhile",
    short: NOWHERE,
    setup: plain,
    goal: GOAL,
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        let cut = now();
        lab.cut(&[], &[old]);
        sleep_until(cut + s(12));
        stays_served(lab, old, cut);
        let at = now();
        lab.stop_pgpool(old);
        let moved = another_leads(lab, old, at);
        sleep_until(cut + s(25));
        lab.heal();
        moved.ends("healed")
    },
    errors: &[],
};

pub const FROM_BOTH: Scenario = Scenario {
    name: "cut off from its peers and EC2 for 25 s",
    short: &[Method::ElasticIp],
    setup: plain,
    goal: GOAL,
    open: CUT,
    happens: |lab, old| {
        let at = now();
        lab.cut(&[old], &[old]);
        let moved = another_leads(lab, old, at);
        sleep_until(at + s(25));
        lab.heal();
        moved.ends_once_one_stays(lab, "healed")
    },
    errors: &[],
};

pub const SUCCESSORS_FROM_EC2: Scenario = Scenario {
    name: "kill -9 of Pgpool while the standbys are cut off from EC2 for 10 s",
    short: NOWHERE,
    setup: plain,
    goal: GOAL_AFTER_FAULT,
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        let standbys: Vec<usize> = others(old).collect();
        lab.cut(&[], &standbys);
        under(lab, old, FAULT, |lab| lab.heal())
    },
    errors: &[],
};
