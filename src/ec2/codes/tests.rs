//! Tests of the class, the effect and the label of failed calls.

use std::collections::BTreeSet;

use super::*;

fn answered<'a>(operation: &'static str, status: u16, code: &'a str, message: &'a str) -> FailedCall<'a> {
    let code = (!code.is_empty()).then_some(code);
    FailedCall { operation, code, message, reply: Reply::Status(status) }
}

fn missing(operation: &'static str, why: Missing, sent: bool) -> FailedCall<'static> {
    FailedCall { operation, code: None, message: "", reply: Reply::Missing { why, sent } }
}

#[test]
fn the_class_and_the_effect_follow_from_code_text_and_status() {
    use Class::{Denied, Rejected, Stale, Throttled, Transient};
    use Effect::{None, Unknown};
    let no_route = "There is no route defined for '20.0.0.50/32' in the route table. Use CreateRoute instead.";
    let taken = "[10.0.1.50] is already assigned but move is not allowed.";
    let not_here = "Some of the specified addresses are not assigned to interface eni-0a";
    let several = "There are multiple interfaces attached to instance 'i-0a'. Please specify an interface ID";
    for (operation, status, code, message, class, effect) in [
        // EC2 may send throttling with a 5xx status. A throttled call did nothing.
        ("ReplaceRoute", 503, "RequestLimitExceeded", "", Throttled, None),
        ("ReplaceRoute", 400, "Throttling", "", Throttled, None),
        ("ReplaceRoute", 429, "", "", Throttled, None),
        // A 5xx status may come after EC2 made the change.
        ("ReplaceRoute", 500, "InternalError", "", Transient, Unknown),
        ("ReplaceRoute", 503, "Unavailable", "", Transient, Unknown),
        ("ReplaceRoute", 503, "", "", Transient, Unknown),
        ("ReplaceRoute", 502, "", "", Transient, Unknown),
        ("ReplaceRoute", 599, "NobodyKnows", "", Transient, Unknown),
        ("DescribeAddresses", 502, "", "", Transient, None),
        // EC2 may have made the change when its 200 answer made no sense.
        ("AssociateAddress", 200, "", "", Transient, Unknown),
        ("DescribeAddresses", 200, "", "", Transient, None),
        // The state in EC2 changed after it was read.
        ("CreateRoute", 400, "RouteAlreadyExists", "", Stale, None),
        ("ReplaceRoute", 400, "InvalidParameterValue", no_route, Stale, None),
        ("ReplaceRoute", 400, "InvalidRoute.NotFound", "", Stale, None),
        ("ReplaceRoute", 400, "InvalidRouteTableId.NotFound", "", Stale, None),
        ("AssociateAddress", 400, "Resource.AlreadyAssociated", "", Stale, None),
        ("AssociateAddress", 400, "IncorrectInstanceState", "", Stale, None),
        ("AssociateAddress", 400, "InvalidInstanceID", "The pending instance 'i-0a'", Stale, None),
        ("AssociateAddress", 400, "InvalidSomethingNew.NotFound", "", Stale, None),
        ("AssignPrivateIpAddresses", 400, "InvalidParameterValue", taken, Stale, None),
        ("AssignIpv6Addresses", 400, "InvalidIPAddress.InUse", "", Stale, None),
        ("UnassignPrivateIpAddresses", 400, "InvalidParameterValue", not_here, Stale, None),
        // An operator must act.
        ("ReplaceRoute", 403, "UnauthorizedOperation", "", Denied, None),
        ("ReplaceRoute", 401, "AuthFailure", "", Denied, None),
        ("ReplaceRoute", 400, "RequestExpired", "", Denied, None),
        ("ReplaceRoute", 403, "", "", Denied, None),
        ("ReplaceRoute", 407, "", "", Denied, None),
        // The request is wrong, or a limit is reached.
        ("ReplaceRoute", 400, "InvalidParameterValue", "invalid CIDR", Rejected, None),
        ("CreateRoute", 400, "InvalidParameterValue", no_route, Rejected, None),
        ("CreateRoute", 400, "RouteLimitExceeded", "", Rejected, None),
        ("AssociateAddress", 400, "InvalidInstanceID", several, Rejected, None),
        ("AssociateAddress", 400, "NobodyKnows", "", Rejected, None),
        ("AssociateAddress", 404, "", "", Rejected, None),
        ("AssociateAddress", 301, "", "", Rejected, None),
    ] {
        let failure = answered(operation, status, code, message);
        assert_eq!((failure.class(), failure.effect()), (class, effect), "{failure:?}");
    }
}

#[test]
fn only_a_change_that_was_sent_may_have_happened() {
    for (operation, why, sent, class, effect, result) in [
        ("CreateRoute", Missing::TimedOut, true, Class::Transient, Effect::Unknown, "timeout"),
        ("CreateRoute", Missing::TimedOut, false, Class::Transient, Effect::None, "timeout"),
        ("CreateRoute", Missing::Io, true, Class::Transient, Effect::Unknown, "io"),
        ("CreateRoute", Missing::Io, false, Class::Transient, Effect::None, "io"),
        ("CreateRoute", Missing::NotMade, false, Class::Rejected, Effect::None, "other"),
        ("DescribeRouteTables", Missing::TimedOut, true, Class::Transient, Effect::None, "timeout"),
    ] {
        let failure = missing(operation, why, sent);
        assert_eq!((failure.class(), failure.effect()), (class, effect), "{failure:?}");
        assert_eq!(failure.result(), result, "{failure:?}");
    }
}

#[test]
fn results_are_a_closed_set_without_repetition() {
    let all: BTreeSet<_> = results().collect();
    assert_eq!(all.len(), results().count());
    for failure in [
        answered("CreateRoute", 400, "RouteAlreadyExists", ""),
        answered("CreateRoute", 400, "eni-made-up-by-somebody", ""),
        answered("CreateRoute", 502, "", ""),
        answered("CreateRoute", 200, "", ""),
        missing("CreateRoute", Missing::Io, true),
    ] {
        assert!(all.contains(failure.result()), "{failure:?}");
    }
}

#[test]
fn every_result_has_a_label() {
    let cases = [
        ("ok", "ok"),
        ("timeout", "no_answer"),
        ("io", "no_answer"),
        ("http_5xx", "InternalError"),
        ("Throttling", "RequestLimitExceeded"),
        ("AccessDenied", "UnauthorizedOperation"),
        ("ExpiredToken", "RequestExpired"),
        ("SignatureDoesNotMatch", "AuthFailure"),
        ("IncorrectInstanceState", "IncorrectState"),
        ("ServiceUnavailable", "InternalError"),
        ("InvalidRouteTableID.NotFound", "NotFound"),
        ("PrivateIpAddressLimitExceeded", "LimitExceeded"),
        ("RouteAlreadyExists", "AlreadyHeld"),
        ("other", "other"),
    ];
    for (result, wanted) in cases {
        assert_eq!(label(result).name(), wanted, "{result}");
    }
    for known in KNOWN {
        let class = known.class;
        assert_eq!(known.label == Label::RateLimit, class == Class::Throttled, "{known:?}");
        assert_eq!(known.label == Label::NotFound, known.code.ends_with(".NotFound"), "{known:?}");
        assert!(known.label != Label::Limit || class == Class::Rejected, "{known:?}");
    }
}

/// The codes that EC2's reference, AWS's clients or other programs name for the calls that are made here, but for
/// `DryRunOperation`, which is no failure.
const REFERENCE: &str = "RequestLimitExceeded Throttling ThrottlingException EC2ThrottledException SlowDown \
    BandwidthLimitExceeded Unavailable ServiceUnavailable InternalError InternalFailure ServerInternal RetryableError \
    RequestTimeout ConcurrentTagAccess ConcurrentMutationLimitExceeded IncorrectState InvalidState \
    InvalidParameterException InvalidAllocationID.NotFound InvalidAddress.NotFound InvalidAssociationID.NotFound \
    InvalidNetworkInterfaceID.NotFound InvalidNetworkInterface.NotFound InvalidInstanceID.NotFound InvalidInstanceID \
    IncorrectInstanceState InvalidRouteTableID.NotFound InvalidRouteTableId.NotFound InvalidRoute.NotFound \
    InvalidParameterValue RouteAlreadyExists Resource.AlreadyAssociated Resource.AlreadyAssigned InvalidIPAddress.InUse \
    Gateway.NotAttached RouteLimitExceeded ResourceCountLimitExceeded PrivateIpAddressLimitExceeded \
    AddressLimitExceeded TagLimitExceeded InsufficientFreeAddressesInSubnet FilterLimitExceeded InvalidParameter \
    InvalidParameterCombination InvalidParameterDependency MissingParameter UnknownParameter InvalidID InvalidFilter \
    InvalidMaxResults InvalidPaginationToken InvalidNextToken InvalidTagKey.Malformed InvalidRouteTableId.Malformed \
    InvalidRoute.Malformed InvalidInstanceID.Malformed InvalidNetworkInterfaceId.Malformed InvalidAddress.Malformed \
    InvalidRoute.InvalidState UnsupportedOperation OperationNotPermitted DependencyViolation \
    InvalidNetworkInterface.InUse UnauthorizedOperation AccessDenied AuthFailure InvalidClientTokenId \
    MissingAuthenticationToken SignatureDoesNotMatch IncompleteSignature OptInRequired Blocked PendingVerification \
    AccountDisabled TagPolicyViolation RequestExpired InvalidSecurity.RequestHasExpired ExpiredToken \
    ExpiredTokenException";

#[test]
fn each_code_of_the_reference_has_a_class_and_those_without_a_label_or_an_advice_of_their_own_are_named() {
    let codes: Vec<_> = REFERENCE.split_whitespace().collect();
    let rows: Vec<_> = codes.iter().filter_map(|code| known(code)).collect();
    assert_eq!(rows.len(), codes.len(), "a code is missing in the table");
    let labelled = rows.iter().filter(|row| row.label != Label::Other).count();
    let of_class: BTreeSet<_> = rows.iter().filter(|row| row.advice == Advice::OfClass).map(|row| row.code).collect();
    let counts = (codes.len(), labelled, codes.len() - of_class.len());
    assert_eq!(counts, (79, 45, 69), "codes, those with a label, and those with an advice of their own");
    assert_eq!(
        of_class,
        BTreeSet::from([
            // The advice for the class is right: it is tried again, or somebody else was faster.
            "RequestTimeout",
            "InvalidAssociationID.NotFound",
            "InvalidRoute.NotFound",
            // EC2's text alone tells the cause. The reason is taken from the text where it is known.
            "InvalidParameterValue",
            "InvalidParameter",
            "InvalidRoute.Malformed",
            "InvalidRoute.InvalidState",
            // No call that is made here is known to lead to these.
            "AddressLimitExceeded",
            "DependencyViolation",
            "InvalidNetworkInterface.InUse",
        ])
    );
}
