//! The advice about what another program, another node or Pgpool itself does: who leads, what moves a binding, what hangs.

use vipkeeper::binding::Kind;
use vipkeeper::decide::claim::Rival;
use vipkeeper::decide::plan::{Blocker, DriftReason, State};
use vipkeeper::ids::Term;
use vipkeeper::status::page::{DaemonLife, Overall, Style, page};
use vipkeeper::status::{Condition, ConditionName, ConditionReason, DesiredRole, VipStatus};

use super::statuses::{NOW_MS, ago, binding, condition, fresh, leader, standby, status};

const PIPE: Style = Style { width: None, colour: false };

#[test]
fn a_superseded_leader_on_which_pgpool_hangs_wants_attention_once_that_lasts() {
    let told = |silent_for: u64, reason: ConditionReason, guard_alive: Option<bool>| {
        let mut vip = standby();
        vip.desired.role = DesiredRole::Leader.into();
        vip.desired.guard_alive = guard_alive;
        vip.conditions.push(condition(ConditionName::Superseded, true, "i-0def holds the newer claim 7", 88));
        let silent = condition(ConditionName::Witness, false, "Pgpool's watchdog did not answer", silent_for);
        vip.conditions.push(Condition { reason: reason.into(), ..silent });
        let status = status(vec![vip]);
        (page(&status, DaemonLife::Alive, NOW_MS, PIPE), Overall::of(&status, DaemonLife::Alive, NOW_MS))
    };
    let (text, verdict) = told(61, ConditionReason::NoAnswer, Some(true));
    assert!(text.contains("PGPOOL HANGS  for 1 min 1 s\n") && text.contains("i-0def holds the newer claim"), "{text}");
    assert!(
        text.contains("  do    Pgpool hangs on this node: restart it here once 'pcp_watchdog_info' shows"),
        "{text}"
    );
    assert_eq!(verdict, Overall::Attention);
    for (silent_for, reason, guard_alive) in [
        (59, ConditionReason::NoAnswer, Some(true)),
        (61, ConditionReason::Unheard, Some(true)),
        (61, ConditionReason::NotRunning, Some(true)),
        (61, ConditionReason::NoAnswer, None),
    ] {
        let (text, verdict) = told(silent_for, reason, guard_alive);
        assert!(!text.contains("HANGS") && verdict == Overall::InSync, "{text}");
    }
}

#[test]
fn a_leader_in_force_on_which_pgpool_hangs_wants_attention_and_a_standby_has_its_word_alone() {
    for (role, hangs) in [(DesiredRole::Leader, true), (DesiredRole::Standby, false)] {
        let mut vip = standby();
        vip.desired.role = role.into();
        vip.desired.guard_alive = Some(true);
        let silent = condition(ConditionName::Witness, false, "Pgpool's watchdog did not answer", 61);
        vip.conditions.push(Condition { reason: ConditionReason::NoAnswer.into(), ..silent });
        let status = status(vec![vip]);
        let text = page(&status, DaemonLife::Alive, NOW_MS, PIPE);
        assert_eq!(text.contains("PGPOOL HANGS  for 1 min 1 s\n"), hangs, "{text}");
        assert_eq!(text.contains("do    Pgpool hangs on this node, to which EC2 leads the clients"), hangs, "{text}");
        let attention = Overall::of(&status, DaemonLife::Alive, NOW_MS) == Overall::Attention;
        assert_eq!(attention, hangs, "{text}");
    }
}

/// A node on which no hook has run, and to which a route leads since 11 s.
fn unasked() -> VipStatus {
    let mut vip = fresh();
    vip.in_sync = false;
    vip.desired.since_ms = ago(79);
    let detail = "points here, but no hook has said who leads: left alone";
    vip.conditions[0] = condition(ConditionName::InSync, false, detail, 11);
    vip.bindings = vec![binding(Kind::Route, "rtb-012345abcd", State::Blocked, detail)];
    vip.bindings[0].blocked_by = Some(Blocker::NoHook.into());
    vip
}

#[test]
fn a_node_without_a_hooks_word_names_the_node_that_leads_by_its_claim() {
    let mut vip = unasked();
    let told = |vip: &VipStatus| page(&status(vec![vip.clone()]), DaemonLife::Alive, NOW_MS, PIPE);
    assert!(told(&vip).contains("  do    start Pgpool, whose hooks say it\n"), "{}", told(&vip));
    vip.other_claims = vec![Rival { node: "i-0def".parse().unwrap(), term: Term(ago(4_000)) }];
    let text = told(&vip);
    assert!(text.contains("  do    nothing here, if i-0def lives: it leads by its claim on record"), "{text}");
    vip.desired.watchdog_leads = Some(true);
    assert!(told(&vip).contains("  do    start Pgpool, whose hooks say it\n"), "Pgpool says that this node leads");
}

#[test]
fn a_role_that_is_not_known_has_the_time_of_that_state() {
    let text = page(&status(vec![unasked()]), DaemonLife::Alive, NOW_MS, PIPE);
    assert!(text.contains("NOT KNOWN  for 11 s\n"), "{text}");
}

#[test]
fn a_leader_whose_binding_something_else_moved_says_what_to_do() {
    let told = |now: State, drift: Option<DriftReason>, converged: bool| {
        let mut vip = leader();
        vip.in_sync = false;
        vip.conditions[0] = condition(ConditionName::InSync, false, "1 of 4", 5);
        vip.bindings[0] = binding(Kind::Route, "rtb-012345abcd", now, "points at i-0def, taking it back");
        vip.bindings[0].drift = drift.map(Into::into);
        if !converged {
            vip.claim.as_mut().unwrap().converged_ms = None;
        }
        page(&status(vec![vip]), DaemonLife::Alive, NOW_MS, PIPE)
    };
    let advice = "find what else moves it: CloudTrail names the caller";
    for (now, drift) in [
        (State::Drift, Some(DriftReason::Elsewhere)),
        (State::Drift, Some(DriftReason::Absent)),
        (State::Waiting, None),
    ] {
        let text = told(now, drift, true);
        assert!(text.contains(advice), "{text}");
    }
    assert!(!told(State::Waiting, None, false).contains(advice), "a takeover is under way");
    assert!(!told(State::Drift, Some(DriftReason::Blackhole), true).contains(advice), "its ENI is gone");
}
