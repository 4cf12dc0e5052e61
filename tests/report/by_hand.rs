//! The commands that the page gives to a person: on a node that leads, none that takes the VIP away comes first.

use std::fmt::Write as _;

use vipkeeper::binding::Kind;
use vipkeeper::decide::plan::{Blocker, State};
use vipkeeper::status::ConditionReason;
use vipkeeper::status::page::{DaemonLife, Style, page};
use vipkeeper::status::{Condition, ConditionName, DesiredRole, VipStatus};

use super::golden;
use super::statuses::{NOW_MS, binding, condition, fresh, leader, standby, status};

/// The first lines about a VIP: what is wrong, and what to do.
fn first_lines(vip: VipStatus) -> String {
    let page = page(&status(vec![vip]), DaemonLife::Alive, NOW_MS, Style { width: Some(100), colour: false });
    page.split("\n\n").find(|section| section.starts_with("20.0.0.50")).unwrap().to_owned() + "\n"
}

fn superseded() -> VipStatus {
    let mut vip = leader();
    vip.conditions.push(condition(ConditionName::Superseded, true, "i-0def holds the newer claim", 88));
    vip
}

/// Each role in which a node can be, and each word of the watchdog about the node.
fn nodes() -> Vec<(String, VipStatus)> {
    let roles = [("leader", leader()), ("superseded", superseded()), ("standby", standby()), ("unknown", fresh())];
    let said = [("no word", None), ("leads", Some(true)), ("does not lead", Some(false))];
    let mut nodes = Vec::new();
    for (role, vip) in roles {
        for (word, leads) in said {
            let mut vip = vip.clone();
            vip.desired.watchdog_leads = leads;
            nodes.push((format!("{role}, watchdog: {word}"), vip));
        }
    }
    nodes
}

fn invalid(vip: &mut VipStatus) {
    vip.conditions.retain(|condition| condition.name != ConditionName::DesiredValid);
    vip.conditions.push(condition(ConditionName::DesiredValid, false, "20.0.0.50.json is no desired-state file", 5));
}

fn lost(vip: &mut VipStatus) {
    vip.conditions.push(condition(ConditionName::HookLost, true, "Pgpool's watchdog contradicts the file", 12));
}

fn unrecorded(vip: &mut VipStatus) {
    vip.in_sync = false;
    vip.bindings[1] = binding(Kind::Route, "rtb-67890abcd", State::Blocked, "points at eni-0b2, and so on");
    vip.bindings[1].blocked_by = Some(Blocker::NoRecord.into());
    let in_sync = condition(ConditionName::InSync, false, "1 of 4", 42);
    vip.conditions[0] = Condition { reason: ConditionReason::Differs.into(), ..in_sync };
}

#[test]
fn the_command_of_the_role_in_force_or_of_the_watchdogs_word_comes_first() {
    let mut text = String::new();
    for (name, change) in [
        ("desired state invalid", invalid as fn(&mut VipStatus)),
        ("hook lost", lost),
        ("no record of the claim", unrecorded),
    ] {
        for (node, mut vip) in nodes() {
            change(&mut vip);
            let leads = vip.desired.role == DesiredRole::Leader
                && !vip.conditions.iter().any(|one| one.name == ConditionName::Superseded && one.holds);
            let lines = first_lines(vip.clone());
            let at = |command: &str| lines.find(command);
            let (up, down) = (at("vipkeeper up"), at("vipkeeper down"));
            if leads && vip.desired.watchdog_leads != Some(false) {
                assert!(down.is_none_or(|down| up.is_some_and(|up| up < down)), "{name}, {node}: {lines}");
            }
            writeln!(text, "== {name}, {node}\n{lines}").unwrap();
        }
    }
    golden::check("page-by-hand.txt", &text);
}

#[test]
fn a_watchdog_that_was_started_anew_decides_the_command_after_the_old_one_is_gone() {
    for (leads, first, other) in
        [(Some(true), "'vipkeeper up 20.0.0.50'", "vipkeeper down"), (None, "if it runs and stands by", "vipkeeper up")]
    {
        let mut vip = standby();
        (vip.desired.guard_alive, vip.desired.watchdog_leads) = (Some(false), leads);
        let lines = first_lines(vip);
        assert!(lines.contains("WATCHDOG GONE") && lines.contains(first) && !lines.contains(other), "{lines}");
    }
}
