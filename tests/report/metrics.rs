//! Names, types, labels and starting values of the metrics.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use vipkeeper::action::{Action, Purpose, RouteCall};
use vipkeeper::binding::{Account, BindingKey, Kind};
use vipkeeper::ec2::{Class, RequestReport};
use vipkeeper::ids::Term;
use vipkeeper::machine::kernel::Reset;
use vipkeeper::observe::cause::Cause;
use vipkeeper::report::{Direction, DriftReason, News, Outcome, PassResult, Report, Reporter, Source, State, VipKeys};
use vipkeeper::status::{
    AnswersStatus, ClockStatus, Condition, ConditionName, ConditionReason, ErrorStatus, Status, VipStatus,
};

use super::golden;
use super::statuses::{NOW_MS, binding, condition, fresh, leader, standby, status, unread_claims, unrecorded};

const VIP: &str = "20.0.0.50";

fn route(table: &str) -> BindingKey {
    BindingKey::new(Kind::Route, table)
}

fn report() -> Report {
    let route_vip = VipKeys {
        vip: VIP.parse().unwrap(),
        bindings: vec![
            BindingKey::new(Kind::LocalAddress, "eth0"),
            route("rtb-012345abcd"),
            route("rtb-67890abcd"),
            BindingKey::new(Kind::SourceDestCheck, "eth0"),
        ],
    };
    let elastic_vip = VipKeys {
        vip: "35.163.178.3".parse().unwrap(),
        bindings: vec![
            BindingKey::new(Kind::ElasticIp, "35.163.178.3"),
            BindingKey::new(Kind::SecondaryIp, "10.0.1.50"),
            BindingKey::new(Kind::SecondaryIp, "fd00::50"),
        ],
    };
    Report::new(&[route_vip, elastic_vip], None, Duration::from_secs(90))
}

/// The samples and comments, in an order of their own, and without what the process itself adds.
fn ours(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().filter(|line| line.contains("vipkeeper_")).collect();
    lines.sort_unstable();
    lines
}

/// The one sample whose name and labels are `series`, labels in any order.
fn value(text: &str, series: &str) -> Option<f64> {
    let parts = |series: &str| -> Vec<String> {
        let mut parts: Vec<_> = series.trim_end_matches('}').split(['{', ',']).map(str::to_owned).collect();
        parts.sort();
        parts
    };
    let wanted = parts(series);
    let mut found = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        (parts(series) == wanted).then(|| value.parse().unwrap())
    });
    let first = found.next();
    assert_eq!(found.next(), None, "{series} is there twice");
    first
}

#[test]
fn every_series_known_from_the_config_exists_before_anything_happens() {
    let text = report().metrics();
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    golden::check("metrics.txt", &(ours(&text).join("\n") + "\n"));
}

#[test]
fn the_process_is_measured_too() {
    let text = report().metrics();
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds", "process_threads"] {
        assert!(value(&text, name).is_some_and(|value| value > 0.0), "{name} in\n{text}");
    }
    assert!(text.contains("# TYPE process_cpu_seconds_total counter"), "{text}");
}

#[test]
fn prometheus_own_checker_has_no_complaint() {
    let report = report();
    everything_happens(&report);
    let Ok(mut promtool) =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()
    else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "promtool is missing");
        eprintln!("skipped: there is no promtool");
        return;
    };
    promtool.stdin.take().unwrap().write_all(report.metrics().as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn everything_happens(report: &Report) {
    let vip = VIP.parse().unwrap();
    let key = &route("rtb-012345abcd");
    let action = &Action::PointRoute {
        account: Account::Own,
        table: "rtb-012345abcd".parse().unwrap(),
        destination: "20.0.0.50/32".parse().unwrap(),
        eni: "eni-0a1".parse().unwrap(),
        call: RouteCall::ReplaceElseCreate,
    };
    let second = Duration::from_secs(1);
    let request = |result, waited| RequestReport { operation: "ReplaceRoute", result, duration: second, waited };
    let (accepted, throttled) = (request("ok", Duration::ZERO), request("Throttling", second));
    let done = |outcome| News::ActionDone {
        vip,
        key: Some(key),
        action,
        purpose: Some(Purpose::Take),
        outcome,
        code: None,
        error: Some("it broke"),
        duration: Duration::from_millis(120),
    };
    for news in [
        News::Takeover { vip, direction: Direction::Gained },
        News::Superseded { vip, by: &"i-0b".parse().unwrap(), term: Term(9) },
        News::Converged {
            vip,
            claim: &vipkeeper::ids::ClaimId::new("7f3a"),
            after: Duration::from_millis(214),
            held: false,
        },
        News::Drift { vip, key, reason: DriftReason::Blackhole, detail: "eni-0b2 (blackhole)" },
        News::PacketsCame { vip, after: Duration::from_millis(1_200) },
        News::ConnectionsReset { vip, address: vip, reset: &Reset { ended: 5, left: None } },
        News::PassDone { result: PassResult::Acting, duration: second },
        done(Outcome::Accepted),
        done(Outcome::Failed(Class::Denied)),
        done(Outcome::Unknown(Class::Transient)),
        News::Request(&accepted),
        News::Request(&throttled),
        News::Observed { source: Source::RouteTables, at_ms: NOW_MS },
        News::CredentialsExpiry { at_ms: Some(NOW_MS + 3_600_000) },
    ] {
        report.news(&news);
    }
}

#[test]
fn each_event_moves_its_own_series() {
    let report = report();
    everything_happens(&report);
    let text = report.metrics();
    for (series, wanted) in [
        (r#"vipkeeper_takeovers_total{vip="20.0.0.50",direction="gained"}"#, 1.0),
        (r#"vipkeeper_takeovers_total{vip="20.0.0.50",direction="lost"}"#, 0.0),
        (r#"vipkeeper_superseded_total{vip="20.0.0.50"}"#, 1.0),
        (r#"vipkeeper_convergence_seconds_count{vip="20.0.0.50"}"#, 1.0),
        (r#"vipkeeper_convergence_seconds_bucket{vip="20.0.0.50",le="0.1"}"#, 0.0),
        (r#"vipkeeper_convergence_seconds_bucket{vip="20.0.0.50",le="0.25"}"#, 1.0),
        (r#"vipkeeper_convergence_seconds_bucket{vip="20.0.0.50",le="600"}"#, 1.0),
        (r#"vipkeeper_drift_total{vip="20.0.0.50",kind="route",target="rtb-012345abcd",reason="blackhole"}"#, 1.0),
        (r#"vipkeeper_drift_total{vip="20.0.0.50",kind="route",target="rtb-012345abcd",reason="absent"}"#, 0.0),
        (r#"vipkeeper_connections_reset_total{vip="20.0.0.50"}"#, 5.0),
        (r#"vipkeeper_passes_total{result="acting"}"#, 1.0),
        ("vipkeeper_pass_duration_seconds_sum", 1.0),
        (r#"vipkeeper_actions_total{vip="20.0.0.50",kind="route",action="replace_route",outcome="accepted"}"#, 1.0),
        (r#"vipkeeper_actions_total{vip="20.0.0.50",kind="route",action="replace_route",outcome="denied"}"#, 1.0),
        (r#"vipkeeper_actions_total{vip="20.0.0.50",kind="route",action="replace_route",outcome="unknown"}"#, 1.0),
        (r#"vipkeeper_action_duration_seconds_count{action="replace_route"}"#, 3.0),
        (r#"vipkeeper_ec2_requests_total{operation="ReplaceRoute",code="ok"}"#, 1.0),
        (r#"vipkeeper_ec2_requests_total{operation="ReplaceRoute",code="RequestLimitExceeded"}"#, 1.0),
        (r#"vipkeeper_ec2_throttled_total{operation="ReplaceRoute"}"#, 1.0),
        (r#"vipkeeper_ec2_throttled_total{operation="CreateRoute"}"#, 0.0),
        (r#"vipkeeper_ec2_request_duration_seconds_sum{operation="ReplaceRoute"}"#, 2.0),
        ("vipkeeper_rate_limit_wait_seconds_count", 2.0),
        ("vipkeeper_rate_limit_wait_seconds_sum", 1.0),
        (r#"vipkeeper_last_successful_observation_timestamp_seconds{source="route_tables"}"#, 1.8e9),
        (r#"vipkeeper_last_successful_observation_timestamp_seconds{source="addresses"}"#, 0.0),
        ("vipkeeper_credentials_expiry_timestamp_seconds", 1.8e9 + 3600.0),
    ] {
        assert_eq!(value(&text, series), Some(wanted), "{series} in\n{text}");
    }
    assert_eq!(ours(&text).len(), {
        // The expiry's comments and sample; every other series was there from the start.
        ours(&self::report().metrics()).len() + 3
    });
}

#[test]
fn a_takeover_that_waited_for_the_end_of_a_hold_is_no_slow_one() {
    let report = report();
    let claim = vipkeeper::ids::ClaimId::new("7f3a");
    let after = Duration::from_millis(7_500);
    let count = || value(&report.metrics(), &format!(r#"vipkeeper_convergence_seconds_count{{vip="{VIP}"}}"#));
    for (held, counted) in [(true, 0.0), (false, 1.0)] {
        report.news(&News::Converged { vip: VIP.parse().unwrap(), claim: &claim, after, held });
        assert_eq!(count(), Some(counted), "held: {held}");
    }
}

#[test]
fn the_clock_is_measured_where_it_is_known() {
    let report = report();
    report.status(&status(vec![leader()]));
    assert!(!report.metrics().contains("vipkeeper_clock"));
    let clock = ClockStatus {
        ahead_ms: Some(-1_250),
        error_ms: Some(80),
        synchronized: Some(false),
        max_error_ms: Some(16_000),
    };
    report.status(&Status { clock: Some(clock), ..status(vec![leader()]) });
    let text = report.metrics();
    assert_eq!(value(&text, "vipkeeper_clock_offset_seconds"), Some(-1.25));
    assert_eq!(value(&text, "vipkeeper_clock_max_error_seconds"), Some(16.0));
}

#[test]
fn state_metrics_follow_the_newest_status_and_forget_what_it_does_not_tell() {
    let report = report();
    let mut vip = leader();
    vip.bindings[0].state = State::Drift.into();
    vip.bindings.push(binding(Kind::Route, "rtb-0new", State::Waiting, "settling"));
    vip.conditions.push(condition(ConditionName::HookLost, true, "escalated", 3));
    vip.conditions.push(condition(ConditionName::Held, true, "until tomorrow", 3));
    vip.conditions[1].holds = false;
    let held_back = |seconds: u64| ErrorStatus {
        at_ms: NOW_MS,
        class: Class::Transient.into(),
        message: "no answer".to_owned(),
        failures: 3,
        held_back_ms: 1000 * seconds,
        cause: Cause::default(),
    };
    vip.bindings.last_mut().unwrap().last_error = Some(held_back(2));
    vip.claim.as_mut().unwrap().record_error = Some(held_back(1));
    report.status(&status(vec![vip.clone()]));
    let text = report.metrics();
    let state = |table: &str, state: &str| {
        format!(r#"vipkeeper_binding_state{{vip="20.0.0.50",kind="route",target="{table}",state="{state}"}}"#)
    };
    for (series, wanted) in [
        (state("rtb-012345abcd", "drift"), 1.0),
        (state("rtb-012345abcd", "unknown"), 0.0),
        (state("rtb-67890abcd", "in_sync"), 1.0),
        (state("rtb-0new", "waiting"), 1.0),
        (r#"vipkeeper_backoff_seconds{vip="20.0.0.50",kind="route",target="rtb-0new"}"#.to_owned(), 2.0),
        (r#"vipkeeper_backoff_seconds{vip="20.0.0.50",kind="route",target="rtb-67890abcd"}"#.to_owned(), 0.0),
        (r#"vipkeeper_backoff_seconds{vip="20.0.0.50",kind="claim",target="claim"}"#.to_owned(), 1.0),
        (r#"vipkeeper_desired_role{vip="20.0.0.50",role="leader"}"#.to_owned(), 1.0),
        (r#"vipkeeper_desired_role{vip="20.0.0.50",role="unknown"}"#.to_owned(), 0.0),
        (r#"vipkeeper_hook_lost{vip="20.0.0.50"}"#.to_owned(), 1.0),
        (r#"vipkeeper_contested{vip="20.0.0.50"}"#.to_owned(), 0.0),
        (r#"vipkeeper_held{vip="20.0.0.50"}"#.to_owned(), 1.0),
        (r#"vipkeeper_desired_invalid{vip="20.0.0.50"}"#.to_owned(), 1.0),
        (r#"vipkeeper_claim_term{vip="20.0.0.50"}"#.to_owned(), 1_799_999_278_000.0),
        (r#"vipkeeper_claim_recorded{vip="20.0.0.50"}"#.to_owned(), 1.0),
        (r#"vipkeeper_guard_alive{vip="20.0.0.50"}"#.to_owned(), 1.0),
    ] {
        assert_eq!(value(&text, &series), Some(wanted), "{series} in\n{text}");
    }
    // The other VIP left the config; its counters stay, as counters do.
    assert!(!text.contains(r#"vipkeeper_desired_role{vip="35.163.178.3""#), "{text}");

    vip.bindings.pop();
    report.status(&status(vec![vip]));
    let text = report.metrics();
    // A counter never goes back, so it stays.
    let left: Vec<_> = text.lines().filter(|line| line.contains("rtb-0new") && !line.contains("_total{")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_was_not_looked_at_yet_is_unknown_and_not_untold() {
    let report = report();
    let before = report.metrics();
    let states = |text: &str| {
        let states = text.lines().filter(|line| line.starts_with("vipkeeper_binding_state{vip=\"20.0.0.50\""));
        states.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert!(!states(&before).is_empty(), "{before}");
    let mut vip = fresh();
    vip.bindings.clear();
    report.status(&status(vec![vip]));
    assert_eq!(states(&report.metrics()), states(&before));
}

#[test]
fn a_source_that_is_not_read_any_more_does_not_grow_old() {
    let report = report();
    let mut status = status(vec![leader()]);
    report.status(&status);
    let told = |report: &Report| {
        value(&report.metrics(), r#"vipkeeper_last_successful_observation_timestamp_seconds{source="addresses"}"#)
    };
    assert_eq!(told(&report), Some(0.0), "no VIP that is left has an Elastic IP, but one may be the anchor");
    status.sources.retain(|told| told.source != Source::Addresses);
    report.status(&status);
    assert_eq!(told(&report), None);
}

#[test]
fn only_a_leader_whose_claim_is_the_newest_on_record_has_recorded_it() {
    let report = report();
    let mut superseded = leader();
    superseded.conditions[2].holds = false;
    let mut not_looked_yet = leader();
    not_looked_yet.conditions[2].reason = ConditionReason::NoClaim.into();
    let mut not_read_yet = unread_claims();
    let condition = not_read_yet.conditions.iter_mut().find(|told| told.name == ConditionName::ClaimRecorded);
    condition.unwrap().reason = ConditionReason::NotReadYet.into();
    for (vip, recorded, not_read) in [
        (leader(), 1.0, 0.0),
        (unrecorded(), 0.0, 0.0),
        (unread_claims(), 0.0, 1.0),
        (not_read_yet, 0.0, 1.0),
        (standby(), 0.0, 0.0),
        (fresh(), 0.0, 0.0),
        (superseded, 0.0, 0.0),
        (not_looked_yet, 0.0, 0.0),
    ] {
        report.status(&status(vec![vip.clone()]));
        let text = report.metrics();
        assert_eq!(value(&text, r#"vipkeeper_claim_recorded{vip="20.0.0.50"}"#), Some(recorded), "{vip:?}");
        assert_eq!(value(&text, r#"vipkeeper_claims_not_read{vip="20.0.0.50"}"#), Some(not_read), "{vip:?}");
    }
}

/// A leader without claims would look like one whose claim is missing.
#[test]
fn where_claims_are_off_nothing_says_that_one_is_not_on_record() {
    let report = report();
    let told = |reason: ConditionReason| {
        let mut vip = leader();
        let claim = vip.conditions.iter_mut().find(|told| told.name == ConditionName::ClaimRecorded).unwrap();
        (claim.holds, claim.reason) = (false, reason.into());
        report.status(&status(vec![vip]));
        let text = report.metrics();
        ["vipkeeper_claim_recorded", "vipkeeper_claims_not_read"]
            .map(|name| value(&text, &format!(r#"{name}{{vip="{VIP}"}}"#)))
    };
    assert_eq!(told(ConditionReason::ClaimsOff), [None, None]);
    assert_eq!(told(ConditionReason::ClaimsMixed), [Some(0.0), Some(0.0)], "others record theirs: that is no health");
    assert_eq!(told(ConditionReason::NotWritable), [Some(0.0), Some(0.0)]);
}

#[test]
fn a_claim_that_ended_leaves_neither_term_nor_guard_behind() {
    let report = report();
    report.status(&status(vec![leader()]));
    report.status(&status(vec![standby()]));
    let text = report.metrics();
    for name in ["vipkeeper_claim_term", "vipkeeper_guard_alive"] {
        assert_eq!(value(&text, &format!(r#"{name}{{vip="{VIP}"}}"#)), Some(0.0), "{name} in\n{text}");
    }
}

#[test]
fn the_time_that_a_claim_took_is_told_for_as_long_as_the_claim_lasts() {
    let report = report();
    let told = |vip: VipStatus| {
        report.status(&status(vec![vip]));
        value(&report.metrics(), &format!(r#"vipkeeper_claim_convergence_seconds{{vip="{VIP}"}}"#))
    };
    let (mut converging, mut held) = (leader(), leader());
    converging.claim.as_mut().unwrap().converged_ms = None;
    held.claim.as_mut().unwrap().was_held = true;
    for (vip, took) in [(converging, None), (leader(), Some(0.214)), (standby(), None), (held, None)] {
        assert_eq!(told(vip.clone()), took, "{vip:?}");
    }
}

#[test]
fn a_vip_that_joins_later_starts_at_zero_too() {
    let report = Report::new(&[], None, Duration::from_secs(90));
    report.status(&status(vec![leader()]));
    let text = report.metrics();
    for series in [
        r#"vipkeeper_superseded_total{vip="20.0.0.50"}"#,
        r#"vipkeeper_drift_total{vip="20.0.0.50",kind="route",target="rtb-012345abcd",reason="elsewhere"}"#,
        r#"vipkeeper_ec2_requests_total{operation="CreateRoute",code="UnauthorizedOperation"}"#,
    ] {
        assert_eq!(value(&text, series), Some(0.0), "{series} in\n{text}");
    }
}

#[test]
fn the_node_that_answers_is_a_series_that_ends_with_its_answers() {
    let report = report();
    let told = |by: Option<&str>, astray: Option<ConditionReason>| {
        let by = by.map(|by| by.parse().unwrap());
        let mut vip = standby();
        vip.answers = Some(AnswersStatus { by, inside: false, since_ms: 1, answered_ms: None });
        vip.conditions.extend(astray.map(|reason| Condition {
            reason: reason.into(),
            ..condition(ConditionName::PacketsArrive, false, "", 1)
        }));
        report.status(&status(vec![vip]));
        let text = report.metrics();
        let of = |name: &str, label: &str| value(&text, &format!(r#"{name}{{vip="{VIP}",{label}}}"#));
        let by = |node: &str| of("vipkeeper_vip_answered_by", &format!(r#"node="{node}""#));
        let astray = |why: &str| of("vipkeeper_packets_astray", &format!(r#"reason="{why}""#)).unwrap();
        ([by("i-0b"), by("i-0c")], [astray("other_node"), astray("nobody")])
    };
    assert_eq!(told(Some("i-0b"), None), ([Some(1.0), None], [0.0, 0.0]));
    assert_eq!(told(Some("i-0c"), Some(ConditionReason::OtherNode)), ([None, Some(1.0)], [1.0, 0.0]));
    assert_eq!(told(None, Some(ConditionReason::Nobody)), ([None, None], [0.0, 1.0]));
    report.status(&status(vec![VipStatus { answers: None, ..standby() }]));
    assert!(!report.metrics().contains("vipkeeper_packets_astray{"), "nobody is asked any more");
}

#[test]
fn two_daemons_in_one_process_do_not_count_into_one_another() {
    let (one, other) = (report(), report());
    one.news(&News::PassDone { result: PassResult::InSync, duration: Duration::ZERO });
    let series = r#"vipkeeper_passes_total{result="in_sync"}"#;
    assert_eq!(value(&one.metrics(), series), Some(1.0));
    assert_eq!(value(&other.metrics(), series), Some(0.0));
}
