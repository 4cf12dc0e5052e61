//! The page's words about a refusal that has several cures: from EC2's own words to the advice.

use std::time::Duration;

use vipkeeper::binding::{BindingKey, Kind};
use vipkeeper::decide::plan::State;
use vipkeeper::ec2::Class;
use vipkeeper::ec2::codes::known;
use vipkeeper::ec2::reason::{self, Reason};
use vipkeeper::observe::cause::Cause;
use vipkeeper::observe::obstacles::ObstacleName;
use vipkeeper::report::changes::Changes;
use vipkeeper::report::{News, Report, Reporter};
use vipkeeper::status::page::{DaemonLife, Overall, Style, page};
use vipkeeper::status::{BindingStatus, ConditionName, ErrorStatus, ObstacleStatus, Status, VipStatus};

use super::captured::captured;
use super::golden;
use super::statuses::{NOW_MS, ago, binding, cause, condition, fresh, leader, standby, status};

/// A leader whose second binding EC2 refused with this code and text. The reason is what the text says, or `known_else`:
/// what the adapter found out by itself.
fn refused(operation: &str, code: &str, text: &str, known_else: Option<Reason>) -> VipStatus {
    let reason = known_else.or_else(|| reason::of(operation, code, text)).map(Into::into);
    let mut vip = leader();
    vip.in_sync = false;
    vip.bindings[1] = BindingStatus {
        since_ms: ago(42),
        next_try_ms: Some(NOW_MS + 4_200),
        last_error: Some(ErrorStatus {
            at_ms: ago(5),
            class: known(code).expect("a code of the table").class.into(),
            message: format!("{operation}: {code}: {text}"),
            failures: 3,
            held_back_ms: 0,
            cause: Cause { reason, ..cause(operation, code) },
        }),
        ..binding(Kind::Route, "rtb-67890abcd", State::Blocked, "taking")
    };
    vip.conditions[0] = condition(ConditionName::InSync, false, "1 of 4 bindings is not in sync", 42);
    vip
}

/// The first lines of each VIP: what is wrong, and what to do.
fn check(name: &str, vips: Vec<VipStatus>) {
    let page = page(&status(vips), DaemonLife::Alive, NOW_MS, Style { width: Some(100), colour: false });
    let sections: Vec<_> = page.split("\n\n").filter(|section| section.starts_with("20.0.0.50")).collect();
    golden::check(name, &(sections.join("\n\n") + "\n"));
}

#[test]
fn a_refusal_that_lasts_while_nothing_moves_is_not_put_down_to_somebody_else() {
    let lasting = |operation: &str, code: &str, text: &str, action: &str| {
        let mut vip = refused(operation, code, text, Some(Reason::NothingMoves));
        vip.bindings[1].action = Some(action.to_owned());
        vip.bindings[1].last_error.as_mut().unwrap().class = Class::Rejected.into();
        vip
    };
    check(
        "page-nothing-moves.txt",
        vec![
            lasting(
                "AssociateAddress",
                "Resource.AlreadyAssociated",
                "resource eipalloc-0a1 is already associated with associate-id eipassoc-0b2",
                "associate eipalloc-0a1 with eni-0a1 at 10.0.0.9, only if it is free",
            ),
            lasting(
                "ReplaceRoute",
                "InvalidRouteTableID.NotFound",
                "The routeTable ID 'rtb-67890abcd' does not exist",
                "replace route 20.0.0.50/32 in rtb-67890abcd with eni-0a1",
            ),
            lasting(
                "AssociateAddress",
                "IncorrectInstanceState",
                "The instance is not in a valid state",
                "associate eipalloc-0a1 with eni-0a1 at 10.0.0.9",
            ),
        ],
    );
}

fn obstacle(name: ObstacleName, binding: Option<BindingKey>, message: &str) -> ObstacleStatus {
    ObstacleStatus { name: name.into(), binding, message: message.to_owned() }
}

#[test]
fn a_takeover_that_would_fail_is_told_before_anybody_needs_it() {
    let route = || Some(BindingKey::new(Kind::Route, "rtb-67890abcd"));
    let inside = || {
        obstacle(
            ObstacleName::InsideVpc,
            route(),
            "10.0.0.50 is inside the VPC (10.0.0.0/16), and EC2 takes no route to it",
        )
    };
    let full =
        obstacle(ObstacleName::AnchorFull, None, "rtb-012345abcd has 50 tags, and no room for this node's claim");
    let standby = VipStatus { obstacles: vec![inside(), full], ..standby() };
    let fresh = VipStatus { obstacles: vec![inside()], ..fresh() };
    let terse = refused("CreateRoute", "InvalidParameterValue", "destination-cidr-block", None);
    let leader = VipStatus { obstacles: vec![inside()], ..terse };
    for vip in [&standby, &fresh, &leader] {
        let verdict = Overall::of(&status(vec![vip.clone()]), DaemonLife::Alive, NOW_MS);
        assert_eq!(verdict.exit_code(), 2, "{vip:?}");
    }
    check("page-takeover-would-fail.txt", vec![standby.clone(), fresh, leader]);
    let report = Report::new(&[], None, Duration::from_secs(90));
    let before = status(vec![VipStatus { obstacles: Vec::new(), ..standby.clone() }]);
    let after = status(vec![standby]);
    let told = |before: Option<&Status>, after: &Status| {
        captured("info", || {
            Changes::between(before, after).tell(|news| {
                if matches!(news, News::Obstacle { .. }) {
                    report.news(news);
                }
            });
            report.status(after);
        })
    };
    assert_eq!(
        told(None, &after),
        [
            "WARN a takeover by this node would fail: 10.0.0.50 is inside the VPC (10.0.0.0/16), and EC2 takes no route \
             to it vip=20.0.0.50",
            "WARN a takeover by this node would fail: rtb-012345abcd has 50 tags, and no room for this node's claim \
             vip=20.0.0.50",
        ]
    );
    assert!(report.metrics().contains("vipkeeper_takeover_obstacles{vip=\"20.0.0.50\"} 2\n"));
    assert_eq!(told(Some(&after), &after), [""; 0]);
    let mut in_other_words = after.clone();
    in_other_words.vips[0].obstacles[1].message = "rtb-012345abcd has 51 tags".to_owned();
    assert_eq!(
        told(Some(&after), &in_other_words),
        ["WARN a takeover by this node would fail: rtb-012345abcd has 51 tags vip=20.0.0.50"],
        "an obstacle in other words has not gone"
    );
    assert_eq!(told(Some(&after), &before).len(), 2, "that it is over is told as well");
    assert!(report.metrics().contains("vipkeeper_takeover_obstacles{vip=\"20.0.0.50\"} 0\n"));
}

#[test]
fn a_terse_answer_is_completed_by_what_was_tried() {
    let tried = |mut vip: VipStatus, action: &str| {
        vip.bindings[1].action = Some(action.to_owned());
        vip
    };
    let inside = "The destination CIDR block 10.0.0.50/32 is equal to or more specific than one of this VPC's CIDR blocks. \
                  This route can target only an interface or an instance.";
    check(
        "page-terse.txt",
        vec![
            tried(
                refused("AssignPrivateIpAddresses", "InvalidParameterValue", "secondary-addresses", None),
                "assign 10.0.9.50 to eni-0a1",
            ),
            VipStatus {
                obstacles: vec![obstacle(
                    ObstacleName::OutsideSubnet,
                    Some(BindingKey::new(Kind::Route, "rtb-67890abcd")),
                    "10.0.9.50 is outside 10.0.1.0/24, the subnet of eni-0a1",
                )],
                ..tried(
                    refused("AssignPrivateIpAddresses", "InvalidParameterValue", "secondary-addresses", None),
                    "assign 10.0.9.50 to eni-0a1",
                )
            },
            tried(
                refused("CreateRoute", "InvalidParameterValue", inside, None),
                "create route 10.0.0.50/32 in rtb-67890abcd to eni-0a1",
            ),
            tried(
                refused("AssociateAddress", "InvalidParameterCombination", "private-ip", None),
                "associate eipalloc-0a1 with eni-0a1 at 10.0.0.9",
            ),
        ],
    );
}
