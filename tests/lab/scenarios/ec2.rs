//! EC2 fails just when it is needed. Every fault lasts for [`FAULT`] from the start of the new leader's hook.

use std::borrow::Cow;
use std::time::Duration;

use ec2_endpoint::{Fault, FaultKind};

use super::super::client::now;
use super::super::cluster::{Lab, eventually};
use super::super::report::seconds;
use super::super::software::Setup;
use super::super::vpc::Method;
use super::{
    AFTER_FAULT, CLEAN, GOAL_AFTER_FAULT, MAY_BE_DENIED, NOWHERE, Open, Scenario, Story, hook_after, plain, s, served,
    sleep_until,
};

pub const FAULT: Duration = s(10);

/// Kills the leader's Pgpool, and ends something that is in the way `lasts` after the next hook.
pub fn under(lab: &mut Lab, old: usize, lasts: Duration, end: impl FnOnce(&mut Lab)) -> Story {
    let at = now();
    lab.machine(old).kill("pgpool");
    let (leader, hook) = hook_after(lab, at, |node| node != old);
    sleep_until(hook + lasts);
    end(lab);
    let over = now();
    eventually("everything is at the new leader", CLEAN, || lab.agrees_on(leader));
    let whole = now().saturating_sub(over);
    assert!(whole < AFTER_FAULT, "{} until everything was at the new leader", seconds(whole));
    let end = format!("counted from the end of the fault, and everything there after {}", seconds(whole));
    served(lab, at, leader, hook).ends_after(over, AFTER_FAULT, end)
}

/// A denied change is tried again after 30 s, and the next of them after that.
const TRIED_AGAIN: Duration = s(45);

fn failover_under(lab: &mut Lab, old: usize, kind: FaultKind) -> Story {
    let fault = lab.vpc.endpoint.service().add_fault(Fault::new(kind));
    under(lab, old, FAULT, |lab| {
        lab.vpc.endpoint.service().remove_fault(fault);
    })
}

pub const THROTTLED: Scenario = Scenario {
    name: "kill -9 of Pgpool while EC2 throttles for 10 s",
    short: &[Method::ElasticIp],
    setup: plain,
    goal: GOAL_AFTER_FAULT,
    open: Open::ToldAtOnce,
    happens: |lab, old| failover_under(lab, old, FaultKind::Throttle),
    errors: &[],
};

/// With more tables than requests that EC2 lets through within a second.
pub const THROTTLED_WITH_8_TABLES: Scenario =
    Scenario { short: NOWHERE, setup: |method| Setup { tables: 8, ..plain(method) }, ..THROTTLED };

pub const FAILING: Scenario = Scenario {
    name: "kill -9 of Pgpool while EC2 answers 503 for 10 s",
    short: NOWHERE,
    setup: plain,
    goal: GOAL_AFTER_FAULT,
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        failover_under(lab, old, FaultKind::ServerError { status: 503, code: Cow::Borrowed("Unavailable") })
    },
    errors: &[],
};

/// The statement of the printed policy without which the VIP moves to no node.
fn needed_to_move(method: Method) -> &'static str {
    match method {
        Method::ElasticIp => "MoveTheAddress",
        Method::Route => "PointRoutes",
        Method::SecondaryIp => "MoveBetweenInterfaces",
    }
}

/// Somebody edits the role of all nodes, and undoes it.
pub const DENIED: Scenario = Scenario {
    name: "kill -9 of Pgpool while a statement of the policy is missing for 10 s",
    short: &[Method::Route],
    setup: plain,
    goal: TRIED_AGAIN,
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        let at = now();
        let sid = needed_to_move(lab.setup.method);
        let whole = lab.change_policies(|policy| policy.without(sid));
        lab.recorder.note(&format!("no {sid}"));
        lab.machine(old).kill("pgpool");
        let (leader, hook) = hook_after(lab, at, |node| node != old);
        sleep_until(hook + FAULT);
        let (denied, log) = (lab.vpc.denied(), lab.log(leader, "vipkeeper"));
        assert!(denied.iter().any(|(node, _)| node == lab.name_of(leader)), "{denied:?}");
        for (_, action) in denied.iter().filter(|(node, _)| node == lab.name_of(leader)) {
            let said = format!("is not authorized to perform: ec2:{action} on resource");
            assert!(log.contains(&said), "its log does not say that ec2:{action} was denied");
        }
        lab.change_policies(|_| whole.clone());
        lab.recorder.note("whole again");
        let over = now();
        eventually("everything is at the new leader", TRIED_AGAIN, || lab.agrees_on(leader));
        let end = format!("{sid} was missed by name; counted from its return");
        served(lab, at, leader, hook).ends_after(over, TRIED_AGAIN, end)
    },
    errors: &[MAY_BE_DENIED],
};

pub const RESETTING: Scenario = Scenario {
    name: "kill -9 of Pgpool while EC2 closes every connection for 10 s",
    short: NOWHERE,
    setup: plain,
    goal: GOAL_AFTER_FAULT,
    open: Open::ToldAtOnce,
    happens: |lab, old| failover_under(lab, old, FaultKind::DropBefore),
    errors: &[],
};

/// Longer than any call is waited for; EC2 executes them all the same.
pub const SLOW: Scenario = Scenario {
    name: "kill -9 of Pgpool while EC2 takes 8 s for each call, for 10 s",
    short: &[Method::Route],
    setup: plain,
    goal: GOAL_AFTER_FAULT,
    open: Open::ToldAtOnce,
    happens: |lab, old| failover_under(lab, old, FaultKind::latency(s(8))),
    errors: &[],
};
