//! With `[probe]`: EC2 carries its changes late, or by a route table that nobody told vipkeeper of.

use std::time::Duration;

use super::super::client::now;
use super::super::cluster::{Lab, eventually};
use super::super::report::seconds;
use super::super::software::{Probes, Setup};
use super::super::vpc::Method;
use super::{CLEAN, ELECTION, GOAL, NOWHERE, OURS, Open, Scenario, Story, another_leads, hook_after, plain, s, served};

const DATAPATH_SUM: &str = "vipkeeper_datapath_seconds_sum";
const DATAPATH_COUNT: &str = "vipkeeper_datapath_seconds_count";
/// The others ask each 0.2 s while nobody answers, on a machine that may be busy.
const COARSE: Duration = s(1);
/// So much earlier than EC2's answer is known, the change itself may be made.
const ANSWERED: Duration = Duration::from_millis(200);
/// The packets that go astray must do so for 15 s, and the alert waits for a minute after that. A standby looks each 30 s.
const ALERTED: Duration = s(180);

fn probed(method: Method) -> Setup {
    Setup { probes: Probes::On, ..plain(method) }
}

/// The new leader must measure how late EC2 was, by the questions of the other nodes.
fn failover_carried_after(lab: &mut Lab, old: usize, late: Duration) -> Story {
    let before = [0, 1, 2].map(|node| [DATAPATH_COUNT, DATAPATH_SUM].map(|name| lab.metric(node, name)));
    lab.vpc.carry_after(late);
    let at = now();
    lab.machine(old).kill("pgpool");
    let moved = another_leads(lab, old, at);
    let [count, sum] = before[moved.leader];
    let measured = eventually("the new leader measures the way of its packets", CLEAN, || {
        let new = lab.metric(moved.leader, DATAPATH_COUNT) - count;
        if new > 0.5 { Ok(new) } else { Err(format!("{new} times")) }
    });
    assert!((measured - 1.0).abs() < 0.5, "one move is measured once, and not {measured} times");
    let measured = Duration::from_secs_f64(lab.metric(moved.leader, DATAPATH_SUM) - sum);
    assert!(measured + ANSWERED >= late && measured < late + COARSE, "{} by the metric", seconds(measured));
    is_answered_by(lab, moved.leader);
    let end = format!("`vipkeeper_datapath_seconds`: {}", seconds(measured));
    moved.ends_after(moved.hook + late, OURS, end)
}

/// `vipkeeper probe` names this node to the client, with each answer.
fn is_answered_by(lab: &Lab, node: usize) {
    let (code, page) = lab.probe();
    let instance = &lab.vpc.instances[node].id;
    let is_it = |line: &str| line.contains(&format!(": {instance} answers in "));
    assert!(code == Some(0) && page.lines().all(is_it), "{instance} was to answer: {code:?}\n{page}");
}

pub const CARRIED_AT_ONCE: Scenario = Scenario {
    name: "kill -9 of all of Pgpool, and EC2 carries changes at once",
    short: NOWHERE,
    setup: probed,
    goal: GOAL,
    open: Open::ToldAtOnce,
    happens: |lab, old| failover_carried_after(lab, old, Duration::ZERO),
    errors: &[],
};

pub const CARRIED_AFTER_1_S: Scenario = Scenario {
    name: "kill -9 of all of Pgpool, and EC2 carries changes after 1 s",
    short: &[Method::Route],
    happens: |lab, old| failover_carried_after(lab, old, s(1)),
    ..CARRIED_AT_ONCE
};

pub const CARRIED_AFTER_5_S: Scenario = Scenario {
    name: "kill -9 of all of Pgpool, and EC2 carries changes after 5 s",
    happens: |lab, old| failover_carried_after(lab, old, s(5)),
    ..CARRIED_AT_ONCE
};

/// The route in it was made by hand, and leads to the first leader until somebody changes it by hand.
pub const FORGOTTEN: Scenario = Scenario {
    name: "kill -9 of all of Pgpool, and a route table is missing from `tables`",
    short: NOWHERE,
    setup: |method| Setup { probes: Probes::OnWithTableForgotten, ..plain(method) },
    goal: GOAL,
    open: Open::Told,
    happens: |lab, old| {
        is_answered_by(lab, old);
        let at = now();
        lab.machine(old).kill("pgpool");
        let (leader, hook) = hook_after(lab, at, |node| node != old);
        assert_ne!(leader, 2, "the node that uses the forgotten table was not to lead, by its priority");
        let mut noticed = now();
        if let Some(prometheus) = &lab.prometheus {
            let fires = || prometheus.fires("VipkeeperPacketsAstray").then_some(()).ok_or("it does not".to_owned());
            eventually("VipkeeperPacketsAstray fires", ALERTED, fires);
            noticed = now();
        }
        let (code, page) = lab.probe();
        assert!(code == Some(1) && page.contains("nobody answers"), "the client's packets arrive: {code:?}\n{page}");
        lab.vpc.lead_clients_table_to(leader);
        lab.recorder.note("mended");
        let mended = now();
        eventually("everything is at the new leader", ELECTION, || lab.agrees_on(leader));
        let moved = served(lab, at, leader, hook);
        is_answered_by(lab, leader);
        let after = seconds(noticed.saturating_sub(at));
        moved.ends_after(mended, OURS, format!("counted from the mending; VipkeeperPacketsAstray after {after}"))
    },
    errors: &[],
};
