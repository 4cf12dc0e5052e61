//! Statuses to report, as the loop would build them.

use vipkeeper::binding::Kind;
use vipkeeper::decide::plan::State;
use vipkeeper::ec2::Class;
use vipkeeper::ids::{ClaimId, Term};
use vipkeeper::names::OneOf;
use vipkeeper::observe::Source;
use vipkeeper::observe::cause::Cause;
use vipkeeper::observe::seen::Unseen;
use vipkeeper::status::ConditionReason;
use vipkeeper::status::{
    BindingStatus, ClaimStatus, ClientsAt, ClientsStatus, Condition, ConditionName, DesiredRole, DesiredStatus,
    ErrorStatus, SourceStatus, Status, UnseenStatus, VERSION, VipStatus,
};

pub const NOW_MS: u64 = 1_800_000_000_000;

/// This many seconds ago.
pub fn ago(seconds: u64) -> u64 {
    NOW_MS - 1000 * seconds
}

pub fn status(vips: Vec<VipStatus>) -> Status {
    Status {
        version: VERSION,
        program: "0.1.0".to_owned(),
        pid: 2046,
        written_ms: ago(1),
        written_boot_ms: None,
        started_ms: ago(11_520),
        instance: Some("i-0abc".parse().unwrap()),
        region: Some("eu-west-1".to_owned()),
        sources: [Source::Addresses, Source::RouteTables, Source::LocalAddresses]
            .map(|source| SourceStatus {
                source: source.into(),
                part: None,
                last_success_ms: Some(ago(3)),
                error: None,
                class: None,
                failures: 0,
            })
            .into(),
        vips,
        clock: None,
        problems: Vec::new(),
    }
}

/// A leader by routes, in sync for 12 minutes.
pub fn leader() -> VipStatus {
    VipStatus {
        delegate_ip: "20.0.0.50".parse().unwrap(),
        desired: DesiredStatus {
            role: DesiredRole::Leader.into(),
            reason: None,
            since_ms: ago(722),
            guard_alive: Some(true),
            watchdog_leads: None,
            asked: None,
        },
        claim: Some(ClaimStatus {
            id: ClaimId::new("7f3a"),
            term: Term(ago(722)),
            started_ms: ago(722),
            converged_ms: Some(ago(722) + 214),
            was_held: false,
            superseded_by: None,
            superseded_term: None,
            record_error: None,
            read_error_class: None,
            unread: None,
            clock: None,
            next_record_ms: None,
        }),
        in_sync: true,
        holds: Some(true),
        clients: Some(clients(ClientsAt::Here, None)),
        answers: None,
        bindings: vec![
            binding(Kind::Route, "rtb-012345abcd", State::InSync, "at eni-0a1"),
            binding(Kind::Route, "rtb-67890abcd", State::InSync, "at eni-0a1"),
            binding(Kind::LocalAddress, "20.0.0.50", State::InSync, "on eth0"),
            binding(Kind::SourceDestCheck, "eth0", State::InSync, "off on eni-0a1"),
        ],
        conditions: vec![
            condition(ConditionName::InSync, true, "every binding leads to this node", 722),
            condition(ConditionName::DesiredValid, true, "the file is good", 11_000),
            Condition {
                reason: ConditionReason::OnRecord.into(),
                ..condition(ConditionName::ClaimRecorded, true, "", 722)
            },
            condition(ConditionName::Contested, false, "nobody else took it", 11_000),
        ],
        connections: None,
        obstacles: Vec::new(),
        other_claims: Vec::new(),
    }
}

pub fn standby() -> VipStatus {
    VipStatus {
        desired: DesiredStatus {
            role: DesiredRole::Standby.into(),
            reason: Some("the down hook said so".to_owned()),
            since_ms: ago(90),
            guard_alive: None,
            watchdog_leads: None,
            asked: None,
        },
        clients: Some(clients(ClientsAt::Elsewhere, Some("i-0def"))),
        answers: None,
        // The one that it served last.
        claim: leader().claim,
        bindings: vec![
            binding(Kind::Route, "rtb-012345abcd", State::InSync, "at eni-0b2"),
            binding(Kind::LocalAddress, "20.0.0.50", State::InSync, "not here"),
        ],
        conditions: vec![
            condition(ConditionName::InSync, true, "nothing here to release", 88),
            condition(ConditionName::ClaimRecorded, false, "no claim", 90),
        ],
        ..leader()
    }
}

/// Where the clients are led, as it was read 3 s ago.
pub fn clients(at: ClientsAt, instance: Option<&str>) -> ClientsStatus {
    ClientsStatus {
        at: at.into(),
        place: instance.map(|_| "eni-0b2".to_owned()),
        instance: instance.map(|id| id.parse().unwrap()),
        leads: (at == ClientsAt::Here).then_some(true),
        read_ms: Some(ago(3)),
        current: true,
        nobody_since_ms: None,
        nobody_serves: false,
    }
}

pub fn binding(kind: Kind, target: &str, state: State, detail: &str) -> BindingStatus {
    BindingStatus {
        kind,
        target: target.to_owned(),
        state: state.into(),
        detail: detail.to_owned(),
        since_ms: ago(722),
        read_ms: Some(ago(3)),
        last_seen: None,
        drift: None,
        blocked_by: None,
        action: None,
        last_error: None,
        next_try_ms: None,
        read_error_class: None,
        unseen: None,
    }
}

pub fn condition(name: ConditionName, holds: bool, message: &str, seconds: u64) -> Condition {
    Condition {
        name: name.into(),
        holds,
        reason: OneOf::Other("Because".to_owned()),
        message: message.to_owned(),
        since_ms: ago(seconds),
        until_ms: None,
    }
}

/// EC2 answered this operation with this code.
pub fn cause(operation: &str, code: &str) -> Cause {
    Cause { operation: Some(operation.to_owned()), code: Some(code.to_owned()), ..Cause::default() }
}

/// A read of this class failed.
pub fn unseen(class: Class, cause: Cause) -> UnseenStatus {
    UnseenStatus { why: Unseen::ReadFailed.into(), class: Some(class.into()), cause }
}

/// A node on which no hook has run since it booted, beside a leader.
pub fn fresh() -> VipStatus {
    let mut vip = standby();
    let reason = Some("no hook has run since this machine started".to_owned());
    vip.desired = DesiredStatus { role: DesiredRole::Unknown.into(), reason, ..vip.desired };
    vip.claim = None;
    let in_sync = condition(ConditionName::InSync, true, "no hook has run yet, and nothing points here", 90);
    vip.conditions[0] = Condition { reason: ConditionReason::NoHookYet.into(), ..in_sync };
    vip
}

/// The anchor has no room for this leader's claim.
pub fn unrecorded() -> VipStatus {
    let mut vip = leader();
    let message = "CreateTags: TagLimitExceeded: You have reached the maximum number of tags: 50 per resource \
                   (rtb-012345abcd)."
        .to_owned();
    vip.conditions[2] = Condition {
        reason: ConditionReason::NotWritable.into(),
        ..condition(ConditionName::ClaimRecorded, false, &message, 700)
    };
    let claim = vip.claim.as_mut().unwrap();
    let cause = cause("CreateTags", "TagLimitExceeded");
    claim.record_error = Some(ErrorStatus {
        at_ms: ago(9),
        class: Class::Rejected.into(),
        message,
        failures: 31,
        held_back_ms: 0,
        cause,
    });
    claim.next_record_ms = Some(NOW_MS + 12_000);
    vip
}

/// The anchor's tags may not be read.
pub fn unread_claims() -> VipStatus {
    let mut vip = leader();
    let message = "the anchor's tags: the read failed: DescribeTags: UnauthorizedOperation: You may not.";
    vip.conditions[2] = Condition {
        reason: ConditionReason::NotRead.into(),
        ..condition(ConditionName::ClaimRecorded, false, message, 700)
    };
    let claim = vip.claim.as_mut().unwrap();
    claim.read_error_class = Some(Class::Denied.into());
    claim.unread = Some(unseen(Class::Denied, cause("DescribeTags", "UnauthorizedOperation")));
    vip
}

/// The second route points elsewhere, and may not be replaced.
pub fn denied() -> VipStatus {
    let mut vip = leader();
    vip.in_sync = false;
    vip.bindings[1] = BindingStatus {
        since_ms: ago(42),
        next_try_ms: Some(NOW_MS + 4_200),
        last_error: Some(ErrorStatus {
            at_ms: ago(5),
            class: Class::Denied.into(),
            message: "ReplaceRoute: UnauthorizedOperation: You are not authorized to perform this operation. \
                      (request 4b1c)"
                .to_owned(),
            failures: 12,
            held_back_ms: 0,
            cause: cause("ReplaceRoute", "UnauthorizedOperation"),
        }),
        ..binding(Kind::Route, "rtb-67890abcd", State::Blocked, "points at eni-0b2, taking it back")
    };
    vip.conditions[0] = condition(ConditionName::InSync, false, "1 of 4 bindings is not in sync", 42);
    vip
}
