//! The page for browsers: whole, as golden files, for each state; and what text from elsewhere cannot do to it.

use vipkeeper::binding::{BindingKey, Kind};
use vipkeeper::decide::claim::Rival;
use vipkeeper::decide::plan::{Blocker, State};
use vipkeeper::ids::Term;
use vipkeeper::names::OneOf;
use vipkeeper::observe::obstacles::ObstacleName;
use vipkeeper::problem::ProblemReason;
use vipkeeper::status::ConditionReason;
use vipkeeper::status::document::StatusDocument;
use vipkeeper::status::event::list::EventList;
use vipkeeper::status::frame::Refresh;
use vipkeeper::status::html;
use vipkeeper::status::{
    ClockStatus, Condition, ConditionName, ConnectionsStatus, DesiredRole, ObstacleStatus, Problem, Status, VipStatus,
};

use super::golden;
use super::statuses::{
    NOW_MS, ago, binding, condition, denied, fresh, leader, standby, status, unread_claims, unrecorded,
};

/// Each state in which a node's page can be, by name.
pub fn states() -> Vec<(&'static str, Status)> {
    let mut other = denied();
    other.delegate_ip = "20.0.0.51".parse().unwrap();
    let mut stuck = status(vec![leader(), other]);
    stuck.written_ms = ago(40);
    let mut alerts = status(vec![contested(), superseded(), lost(), invalid()]);
    alerts.sources[1].last_success_ms = None;
    alerts.sources[1].error = Some("DescribeRouteTables: no answer within 3 s".to_owned());
    alerts.sources[1].failures = 4;
    alerts.problems.push(Problem {
        reason: ProblemReason::Listen.into(),
        message: "cannot listen on 127.0.0.1:9813: address in use".to_owned(),
        since_ms: ago(11_500),
        times: 1,
    });
    vec![
        ("in-sync", status(vec![leader()])),
        ("standby", status(vec![standby()])),
        ("fresh", status(vec![fresh()])),
        ("denied", status(vec![denied()])),
        ("unrecorded", status(vec![unrecorded()])),
        ("unread-claims", status(vec![unread_claims()])),
        ("blocked", status(vec![blocked()])),
        ("alerts", alerts),
        ("stuck", stuck),
        ("held", held()),
        ("no-vips", status(vec![])),
    ]
}

/// VIPs that an operator holds, that wait, or that nobody wants known, on a node whose clock is off.
fn held() -> Status {
    let at = |last: u8, vip: VipStatus| VipStatus { delegate_ip: [20, 0, 0, last].into(), ..vip };
    let condition_held = |holds, reason: ConditionReason, message| Condition {
        reason: reason.into(),
        ..condition(ConditionName::Held, holds, message, 300)
    };
    let mut held = leader();
    held.conditions.push(condition_held(
        true,
        ConditionReason::ExceptRelease,
        "an operator holds it: this node changes nothing until 03:14",
    ));
    let mut unused = standby();
    unused.conditions.push(condition_held(false, ConditionReason::NotUsed, "owned by user 1000, who is not trusted"));
    let mut gone = standby();
    gone.desired.guard_alive = Some(false);
    gone.desired.reason = Some("the file says leader, but the Pgpool watchdog process that said so is gone".to_owned());
    let mut unknown = fresh();
    unknown.in_sync = false;
    unknown.conditions[0] = condition(ConditionName::InSync, false, "nothing is asked, but something points here", 12);
    let unlike = |state, detail: &str| {
        let mut vip = leader();
        vip.in_sync = false;
        vip.bindings[0] = binding(Kind::Route, "rtb-012345abcd", state, detail);
        vip.conditions[0] = condition(ConditionName::InSync, false, "1 of 4 bindings is not in sync", 3);
        vip
    };
    let mut young = leader();
    young.in_sync = false;
    young.bindings.clear();
    young.conditions[0] = condition(ConditionName::InSync, false, "nothing has been looked at yet", 1);
    let mut obstructed = standby();
    obstructed.obstacles.push(ObstacleStatus {
        name: ObstacleName::InsideVpc.into(),
        binding: Some(BindingKey::new(Kind::Route, "rtb-67890abcd")),
        message: "20.0.0.67 is inside the VPC (20.0.0.0/16), and EC2 takes no route to it".to_owned(),
    });
    let mut both = unlike(State::Drift, "points at eni-0b2, looking twice before taking it back");
    both.obstacles.clone_from(&obstructed.obstacles);
    both.other_claims = vec![Rival { node: "i-0def".parse().unwrap(), term: Term(ago(4_000)) }];
    let vips = [held, unused, gone, unknown, unlike(State::Waiting, "taking it"), young, obstructed, both];
    let mut status = status((60..).zip(vips).map(|(last, vip)| at(last, vip)).collect());
    status.clock = Some(ClockStatus { ahead_ms: Some(2_300), error_ms: Some(120), ..ClockStatus::default() });
    status
}

fn contested() -> VipStatus {
    let mut vip = denied();
    vip.conditions.push(condition(ConditionName::Contested, true, "taken by eni-0c3 for the third time", 61));
    vip.conditions.remove(3);
    vip
}

fn superseded() -> VipStatus {
    let mut vip = standby();
    vip.delegate_ip = "20.0.0.52".parse().unwrap();
    vip.desired.role = DesiredRole::Leader.into();
    vip.claim.as_mut().unwrap().superseded_by = Some("i-0def".parse().unwrap());
    vip.connections = Some(ConnectionsStatus { reset: 12, at_ms: ago(90), left: Some("no time".to_owned()) });
    vip.conditions.push(condition(ConditionName::Superseded, true, "i-0def claimed it 88 s ago", 88));
    vip
}

fn lost() -> VipStatus {
    let mut vip = standby();
    vip.delegate_ip = "20.0.0.53".parse().unwrap();
    let message = "Pgpool's watchdog is escalated, the file says standby";
    vip.conditions.push(condition(ConditionName::HookLost, true, message, 12));
    vip
}

fn invalid() -> VipStatus {
    let mut vip = leader();
    vip.delegate_ip = "20.0.0.54".parse().unwrap();
    vip.conditions[1] = condition(ConditionName::DesiredValid, false, "owned by user 1000, who is not trusted", 5);
    vip.conditions.push(Condition {
        reason: ConditionReason::NotPermitted.into(),
        ..condition(ConditionName::Witness, false, "the socket is not for this user", 700)
    });
    vip
}

fn blocked() -> VipStatus {
    let mut vip = denied();
    vip.bindings[1].last_error = None;
    vip.bindings[1].blocked_by = Some(Blocker::NotEscalated.into());
    vip
}

/// The page of a status on a node to which nothing happened yet.
fn page(status: &Status, now_ms: u64, refresh: Refresh) -> String {
    html::page(StatusDocument { status, events: &EventList::default() }, now_ms, refresh)
}

/// The page with a line for each element, so that a difference is found.
fn lines(page: &str) -> String {
    page.replace("><", ">\n<") + "\n"
}

#[test]
fn each_state_has_its_page() {
    for (name, status) in states() {
        golden::check(&format!("html-{name}.html"), &lines(&page(&status, NOW_MS, Refresh::Never)));
    }
}

#[test]
fn a_page_of_a_loop_that_does_not_turn_says_last_known_and_not_that_all_is_well() {
    let mut status = status(vec![leader()]);
    let shown = page(&status, NOW_MS, Refresh::Often);
    assert!(shown.contains("<title>In sync") && !shown.contains("LAST KNOWN"), "{shown}");
    status.written_ms = ago(31);
    let shown = page(&status, NOW_MS, Refresh::Often);
    assert!(shown.contains("<title>STUCK") && shown.contains("LAST KNOWN: IN SYNC"), "{shown}");
    assert!(!shown.contains("class=\"word good\"><span aria-hidden=\"true\">✓</span> IN SYNC"), "{shown}");
    assert!(shown.contains("href=\"/runbook#stuck\""), "{shown}");
}

#[test]
fn only_the_page_that_says_so_is_loaded_again_by_itself() {
    let status = status(vec![leader()]);
    let (often, never) = (page(&status, NOW_MS, Refresh::Often), page(&status, NOW_MS, Refresh::Never));
    assert!(often.contains("<meta http-equiv=\"refresh\" content=\"10\">") && often.contains("href=\"/still\""));
    assert!(!never.contains("http-equiv") && never.contains("<a href=\"/\">Keep"), "{never}");
}

/// The text of an attacker, who hopes that an error, a tag or a file brings it onto the page.
const HOSTILE: &str =
    "</code></td><script>alert(1)</script><img src=x onerror=alert(2)>\"' onload='x' \u{202e}\x1b[2J&lt;\r\n";

#[test]
fn text_from_elsewhere_stays_text_wherever_it_stands() {
    let hostile = || HOSTILE.to_owned();
    let mut vip = denied();
    vip.bindings[1].target = hostile();
    vip.bindings[1].detail = hostile();
    vip.bindings[1].action = Some(hostile());
    vip.bindings[1].state = serde_json::from_value(HOSTILE.into()).unwrap();
    vip.bindings[1].last_error.as_mut().unwrap().message = hostile();
    vip.desired.reason = Some(hostile());
    vip.desired.role = serde_json::from_value(HOSTILE.into()).unwrap();
    vip.claim.as_mut().unwrap().record_error.clone_from(&vip.bindings[1].last_error);
    for condition in &mut vip.conditions {
        condition.message = hostile();
        condition.reason = OneOf::Other(hostile());
    }
    vip.conditions[0].name = serde_json::from_value(HOSTILE.into()).unwrap();
    vip.connections = Some(ConnectionsStatus { reset: 1, at_ms: ago(1), left: Some(hostile()) });
    let mut status = status(vec![vip]);
    status.program = hostile();
    status.region = Some(hostile());
    status.sources[0].error = Some(hostile());
    status.sources[0].part = Some(hostile());
    status.problems.push(Problem { reason: OneOf::Other(hostile()), message: hostile(), since_ms: ago(1), times: 1 });
    let shown = page(&status, NOW_MS, Refresh::Often);
    assert!(shown.matches("&lt;script&gt;").count() > 12, "{shown}");
    for (what, text) in [("script", "<script"), ("image", "<img"), ("end", "</code></td><"), ("control", "\x1b")] {
        assert!(!shown.contains(text), "{what}: {shown}");
    }
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()) && !shown.contains('\u{202e}'), "{shown}");
    // No tag has an attribute out of the text.
    assert!(shown.split('<').skip(1).all(|tag| !tag.split('>').next().unwrap_or("").contains("onerror")), "{shown}");
    assert!(!shown.contains("\"' onload"), "{shown}");
}

#[test]
fn fifty_vips_are_a_page_of_moderate_size() {
    let status = status(vec![denied(); 50]);
    let start = std::time::Instant::now();
    let shown = page(&status, NOW_MS, Refresh::Often);
    println!("50 VIPs: {} bytes in {:?}", shown.len(), start.elapsed());
    assert!(shown.len() < 500_000, "{}", shown.len());
    let ids: Vec<_> = shown.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len(), "each id stands once");
}
