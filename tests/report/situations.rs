//! Each situation as people are told of it, everywhere at once: the first lines of the page, the log, the exit status of
//! `vipkeeper status`, and the metrics that stand out. The situations that begin with an answer, or with the want of one,
//! are lived through by `tests/daemon/situations.rs`.

use std::fmt::Write;
use std::time::Duration;

use vipkeeper::action::{Action, RouteCall};
use vipkeeper::binding::{Account, BindingKey, Kind};
use vipkeeper::decide::plan::State;
use vipkeeper::ec2::reason;
use vipkeeper::ec2::{Class, codes};
use vipkeeper::names::OneOf;
use vipkeeper::observe::cause::{Cause, KernelFault};
use vipkeeper::observe::obstacles::ObstacleName;
use vipkeeper::observe::seen::Unseen;
use vipkeeper::problem::ProblemReason;
use vipkeeper::report::changes::Changes;
use vipkeeper::report::{News, Outcome, Report, Reporter};
use vipkeeper::status::ConditionReason;
use vipkeeper::status::page::{DaemonLife, Overall, Style, page};
use vipkeeper::status::{
    ClientsAt, ClientsStatus, Condition, ConditionName, DesiredRole, ErrorStatus, LastSeen, ObstacleStatus, Problem,
    Status, UnseenStatus, VipStatus,
};

use super::captured::captured;
use super::golden;
use super::statuses::{NOW_MS, ago, binding, cause, clients, condition, denied, fresh, leader, standby, status};

/// A leader whose second route EC2 refuses.
fn refused(code: &str, message: &str) -> Status {
    let class = codes::known(code).unwrap().class;
    let reason = reason::of("ReplaceRoute", code, message);
    let mut vip = leader();
    vip.in_sync = false;
    let state = if class == Class::Stale { State::Drift } else { State::Blocked };
    let mut shown = binding(Kind::Route, "rtb-67890abcd", state, "points at eni-0b2, taking it back");
    shown.last_error = Some(ErrorStatus {
        at_ms: ago(5),
        class: class.into(),
        message: format!("ReplaceRoute: {code}: {message}"),
        failures: 7,
        held_back_ms: 15_000,
        cause: Cause { reason: reason.map(OneOf::Known), ..cause("ReplaceRoute", code) },
    });
    shown.action = Some("replace route 20.0.0.50/32 in rtb-67890abcd with eni-0a1".to_owned());
    vip.bindings[1] = shown;
    vip.conditions[0] = condition(ConditionName::InSync, false, "1 of 4 bindings is not in sync", 42);
    status(vec![vip])
}

fn problem(reason: ProblemReason, message: &str) -> Status {
    let mut status = status(vec![leader()]);
    let (reason, message) = (reason.into(), message.to_owned());
    status.problems.push(Problem { reason, message, since_ms: ago(9), times: 1 });
    status
}

fn situations() -> Vec<(&'static str, Status)> {
    let inside = ObstacleStatus {
        name: ObstacleName::InsideVpc.into(),
        binding: Some(BindingKey::new(Kind::Route, "rtb-67890abcd")),
        message: "20.0.0.50 is inside the VPC (20.0.0.0/16), and EC2 takes no route to it".to_owned(),
    };
    let mut gone = standby();
    gone.desired.guard_alive = Some(false);
    let why = "the file says leader, but the Pgpool watchdog process that said so is gone";
    gone.desired.reason = Some(why.to_owned());
    let kernel = Cause { kernel: Some(KernelFault::NoAnswer.into()), ..Cause::default() };
    vec![
        ("refused once because the world moved", refused("RouteAlreadyExists", "The route exists.")),
        ("a takeover would fail", status(vec![VipStatus { obstacles: vec![inside], ..standby() }])),
        ("the watchdog is gone", status(vec![gone])),
        ("a read fails where no hook has run", blind(fresh(), Unseen::ReadFailed, Cause::default())),
        ("a leader's read fails", blind(leader(), Unseen::ReadFailed, Cause::default())),
        ("the kernel does not answer", blind(leader(), Unseen::ReadFailed, kernel)),
        ("nothing was read yet", blind(standby(), Unseen::NotRead, Cause::default())),
        ("the config does not fit", blind(leader(), Unseen::NoSuchResource, Cause::default())),
        ("nobody serves, on a standby", status(vec![nobody(standby())])),
        ("nobody serves, where no hook has run", status(vec![nobody(fresh())])),
        ("nobody serves, and this leader cannot take", status(vec![nobody(denied())])),
        (
            "an interface is missing",
            problem(
                ProblemReason::InterfaceMissing,
                "no interface eth1 on this machine (gone, or renamed?); there are: eth0",
            ),
        ),
    ]
}

/// The first binding could be seen until 48 s ago.
fn blind(mut vip: VipStatus, why: Unseen, cause: Cause) -> Status {
    let error = "DescribeRouteTables: no connection to ec2.eu-west-1.amazonaws.com: no route to host";
    let text = match why {
        Unseen::ReadFailed => format!("the read failed: {error}"),
        Unseen::NoSuchResource => "rtb-012345abcd does not exist, or not in this account and region".to_owned(),
        _ => "not read yet".to_owned(),
    };
    let failed = why == Unseen::ReadFailed;
    let class = failed.then_some(Class::Transient.into());
    vip.in_sync = false;
    vip.bindings[0].state = State::Unknown.into();
    vip.bindings[0].detail.clone_from(&text);
    vip.bindings[0].read_ms = None;
    let place = "at i-0def (eni-0b2)".to_owned();
    vip.bindings[0].last_seen = failed.then_some(LastSeen { place, read_ms: ago(48) });
    vip.bindings[0].unseen = Some(UnseenStatus { why: why.into(), class: class.clone(), cause });
    vip.bindings[0].read_error_class = class;
    if let Some(clients) =
        vip.clients.as_mut().filter(|_| vip.bindings[0].unseen.as_ref().unwrap().cause.kernel.is_none())
    {
        (clients.current, clients.read_ms) = (false, failed.then_some(ago(48)));
    }
    let in_sync = condition(ConditionName::InSync, false, &format!("route rtb-012345abcd: {text}"), 42);
    vip.conditions[0] = Condition { reason: ConditionReason::NotRead.into(), ..in_sync };
    let mut status = status(vec![vip]);
    status.sources[1].error = failed.then_some(error.to_owned());
    status
}

/// The VIP leads to no node.
fn nobody(vip: VipStatus) -> VipStatus {
    let nowhere = clients(ClientsAt::Nowhere, None);
    let clients = ClientsStatus { nobody_since_ms: Some(ago(95)), nobody_serves: true, ..nowhere };
    VipStatus { clients: Some(clients), ..vip }
}

/// The end of the change that EC2 refused, if the status has one.
fn tell_the_failed_change(report: &Report, status: &Status) {
    let Some(refused) = status.vips[0].bindings.iter().find(|binding| binding.last_error.is_some()) else { return };
    let error = refused.last_error.as_ref().unwrap();
    let action = Action::PointRoute {
        account: Account::Own,
        table: "rtb-67890abcd".parse().unwrap(),
        destination: "20.0.0.50/32".parse().unwrap(),
        eni: "eni-0a1".parse().unwrap(),
        call: RouteCall::ReplaceElseCreate,
    };
    report.news(&News::ActionDone {
        vip: status.vips[0].delegate_ip,
        key: Some(&BindingKey::new(refused.kind, &refused.target)),
        action: &action,
        purpose: None,
        outcome: Outcome::Failed(error.class.known().unwrap()),
        code: error.cause.code.as_deref(),
        error: Some(&error.message),
        duration: Duration::from_millis(80),
    });
}

#[test]
fn each_situation_is_told_alike_on_the_page_in_the_log_by_the_exit_status_and_in_the_metrics() {
    let mut all = String::new();
    for (name, after) in situations() {
        let report = Report::new(&[], None, Duration::from_secs(90));
        let leads = |vip: &VipStatus| vip.desired.role == DesiredRole::Leader;
        let before = status(after.vips.iter().map(|vip| if leads(vip) { leader() } else { standby() }).collect());
        let log = captured("warn", || {
            tell_the_failed_change(&report, &after);
            Changes::between(Some(&before), &after).tell(|news| {
                if !matches!(news, News::DesiredChanged { .. } | News::Takeover { .. } | News::Observed { .. }) {
                    report.news(news);
                }
            });
            report.status(&after);
        });
        let page = page(&after, DaemonLife::Alive, NOW_MS, Style { width: Some(100), colour: false });
        let shown = page.lines().skip(1).take_while(|line| !line.trim_start().starts_with("BINDING"));
        let shown: Vec<_> = shown.filter(|line| !line.is_empty()).collect();
        writeln!(all, "== {name}").unwrap();
        let log = log.iter().map(|line| format!("log: {line}"));
        for line in shown.into_iter().map(str::to_owned).chain(log) {
            writeln!(all, "{line}").unwrap();
        }
        writeln!(all, "exit status: {}", Overall::of(&after, DaemonLife::Alive, NOW_MS).exit_code()).unwrap();
        let ready = report.health().ready().err().unwrap_or_default();
        writeln!(
            all,
            "ready: {}",
            if ready.is_empty() { "yes".to_owned() } else { format!("no, {}", ready.join("; ")) }
        )
        .unwrap();
        let metrics = report.metrics();
        let stands_out = |line: &&str| {
            let (series, value) = line.rsplit_once(' ').unwrap_or_default();
            let is_bad =
                ["watchdog_gone", "takeover_obstacles", "desired_invalid", "contested", "hook_lost", "nobody_serves"]
                    .iter()
                    .any(|metric| series.starts_with(&format!("vipkeeper_{metric}{{")));
            let is_out_of_place =
                series.starts_with("vipkeeper_binding_state{") && !series.contains("state=\"in_sync\"");
            (is_bad || is_out_of_place) && value != "0"
        };
        let mut lines: Vec<_> = metrics.lines().filter(stands_out).collect();
        lines.sort_unstable();
        for line in lines {
            writeln!(all, "metric: {line}").unwrap();
        }
        all.push('\n');
    }
    golden::check("situations.txt", &all);
}
