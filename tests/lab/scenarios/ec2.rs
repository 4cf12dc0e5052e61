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
    AFTER_FAULT, CLEAN, GOAL_AFTER_FAULT, NOWHERE, Open, Scenario, Story, hook_after, plain, s, served, sleep_until,
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
