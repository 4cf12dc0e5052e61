//! Statuses to report, as the loop would build them.

use vipkeeper::binding::Kind;
use vipkeeper::ids::{ClaimId, Term};
use vipkeeper::status::{
    BindingStatus, ClaimStatus, Condition, DesiredStatus, ErrorStatus, SourceStatus, Status, VERSION, VipStatus,
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
        started_ms: ago(11_520),
        instance: Some("i-0abc".parse().unwrap()),
        region: Some("eu-west-1".to_owned()),
        sources: ["addresses", "route_tables", "local_addresses"]
            .map(|source| SourceStatus {
                source: source.to_owned(),
                part: None,
                last_success_ms: Some(ago(3)),
                error: None,
            })
            .into(),
        vips,
        problems: Vec::new(),
    }
}

/// A leader by routes, in sync for 12 minutes.
pub fn leader() -> VipStatus {
    VipStatus {
        delegate_ip: "20.0.0.50".parse().unwrap(),
        desired: DesiredStatus { role: "leader".to_owned(), reason: None, since_ms: ago(722), guard_alive: Some(true) },
        claim: Some(ClaimStatus {
            id: ClaimId::new("7f3a"),
            term: Term(ago(722)),
            started_ms: ago(722),
            converged_ms: Some(ago(722) + 214),
            superseded_by: None,
            record_error: None,
            read_error_class: None,
            next_record_ms: None,
        }),
        in_sync: true,
        bindings: vec![
            binding(Kind::Route, "rtb-012345abcd", "in_sync", "at eni-0a1"),
            binding(Kind::Route, "rtb-67890abcd", "in_sync", "at eni-0a1"),
            binding(Kind::LocalAddress, "20.0.0.50", "in_sync", "on eth0"),
            binding(Kind::SourceDestCheck, "eth0", "in_sync", "off on eni-0a1"),
        ],
        conditions: vec![
            condition("InSync", true, "every binding leads to this node", 722),
            condition("DesiredValid", true, "the file is good", 11_000),
            Condition { reason: "OnRecord".to_owned(), ..condition("ClaimRecorded", true, "", 722) },
            condition("Contested", false, "nobody else took it", 11_000),
        ],
    }
}

pub fn standby() -> VipStatus {
    VipStatus {
        desired: DesiredStatus {
            role: "standby".to_owned(),
            reason: Some("the down hook said so".to_owned()),
            since_ms: ago(90),
            guard_alive: None,
        },
        // The one that it served last.
        claim: leader().claim,
        bindings: vec![
            binding(Kind::Route, "rtb-012345abcd", "in_sync", "at eni-0b2"),
            binding(Kind::LocalAddress, "20.0.0.50", "in_sync", "not here"),
        ],
        conditions: vec![
            condition("InSync", true, "nothing here to release", 88),
            condition("ClaimRecorded", false, "no claim", 90),
        ],
        ..leader()
    }
}

pub fn binding(kind: Kind, target: &str, state: &str, detail: &str) -> BindingStatus {
    BindingStatus {
        kind,
        target: target.to_owned(),
        state: state.to_owned(),
        detail: detail.to_owned(),
        since_ms: ago(722),
        blocked_by: None,
        last_error: None,
        next_try_ms: None,
        read_error_class: None,
    }
}

pub fn condition(name: &str, holds: bool, message: &str, seconds: u64) -> Condition {
    Condition {
        name: name.to_owned(),
        holds,
        reason: "Because".to_owned(),
        message: message.to_owned(),
        since_ms: ago(seconds),
    }
}

/// A node on which no hook has run since it booted, beside a leader.
pub fn fresh() -> VipStatus {
    let mut vip = standby();
    let reason = Some("no hook has run since this machine started".to_owned());
    vip.desired = DesiredStatus { role: "unknown".to_owned(), reason, ..vip.desired };
    vip.claim = None;
    let in_sync = condition("InSync", true, "no hook has run yet, and nothing points here", 90);
    vip.conditions[0] = Condition { reason: "NoHookYet".to_owned(), ..in_sync };
    vip
}

/// The anchor has no room for this leader's claim.
pub fn unrecorded() -> VipStatus {
    let mut vip = leader();
    let message = "CreateTags: TagLimitExceeded: You have reached the maximum number of tags: 50 per resource \
                   (rtb-012345abcd)."
        .to_owned();
    vip.conditions[2] =
        Condition { reason: "NotWritable".to_owned(), ..condition("ClaimRecorded", false, &message, 700) };
    let claim = vip.claim.as_mut().unwrap();
    claim.record_error = Some(ErrorStatus { at_ms: ago(9), class: "rejected".to_owned(), message, failures: 31 });
    claim.next_record_ms = Some(NOW_MS + 12_000);
    vip
}

/// The anchor's tags may not be read.
pub fn unread_claims() -> VipStatus {
    let mut vip = leader();
    let message = "the anchor's tags: the read failed: DescribeTags: UnauthorizedOperation: You may not.";
    vip.conditions[2] = Condition { reason: "NotRead".to_owned(), ..condition("ClaimRecorded", false, message, 700) };
    vip.claim.as_mut().unwrap().read_error_class = Some("denied".to_owned());
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
            class: "denied".to_owned(),
            message: "ReplaceRoute: UnauthorizedOperation: You are not authorized to perform this operation. \
                      (request 4b1c)"
                .to_owned(),
            failures: 12,
        }),
        ..binding(Kind::Route, "rtb-67890abcd", "blocked", "points at eni-0b2, taking it back")
    };
    vip.conditions[0] = condition("InSync", false, "1 of 4 bindings is not in sync", 42);
    vip
}
