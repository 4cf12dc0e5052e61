//! What follows from one failed EC2 call: its class, and whether EC2 may have carried it out all the same. Pure.
//!
//! EC2's model declares no typed errors: everything arrives as a code, a text and an HTTP status. The codes and their
//! meanings are those of "Error codes for the Amazon EC2 API"; where practice differs from it, the line says so.
//! The code decides; the status only where there is none, since EC2 sends throttling as 503 and load balancers send
//! 5xx without any code.

use crate::ec2::{Class, Effect};

/// One failed call, as far as it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure<'a> {
    /// EC2's name of the operation, like `AssociateAddress`.
    pub operation: &'a str,
    /// EC2's error code, when there was one.
    pub code: Option<&'a str>,
    /// EC2's text for the code; empty without a code.
    pub message: &'a str,
    pub answer: Answer,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// An answer with this HTTP status. 200 means that its body could not be understood.
    Status(u16),
    /// None. Unless it was `sent`, EC2 cannot have done anything.
    Missing { why: Missing, sent: bool },
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    TimedOut,
    /// The connection could not be made, or broke.
    Io,
    /// The request could not be made: it makes no sense, or could not be signed.
    NotMade,
}

impl Failure<'_> {
    /// Decides what happens next.
    #[must_use]
    pub fn class(&self) -> Class {
        match (self.code, self.answer) {
            (Some(code), _) => self.class_of(code),
            (None, Answer::Status(status)) => class_of_status(status),
            (None, Answer::Missing { why: Missing::NotMade, .. }) => Class::Rejected,
            (None, Answer::Missing { why: Missing::TimedOut | Missing::Io, .. }) => Class::Transient,
        }
    }

    /// Whether EC2 may have done what was asked. A read changes nothing. A throttled call was turned away; after any
    /// other 5xx, after a lost answer, and after a 200 that made no sense, only a later read can tell.
    #[must_use]
    pub fn effect(&self) -> Effect {
        let executed = match self.answer {
            Answer::Missing { sent, .. } => sent,
            Answer::Status(status) => !(300..500).contains(&status) && self.class() != Class::Throttled,
        };
        if executed && !is_read(self.operation) { Effect::Unknown } else { Effect::None }
    }

    /// The name in metrics: one of [`results`].
    #[must_use]
    pub fn result(&self) -> &'static str {
        let known = self.code.and_then(|code| CODES.iter().find(|(known, _)| *known == code));
        match (known, self.answer) {
            (Some((name, _)), _) => name,
            (None, Answer::Status(500..=599)) => HTTP_5XX,
            (None, Answer::Missing { why: Missing::TimedOut, .. }) => TIMEOUT,
            (None, Answer::Missing { why: Missing::Io, .. }) => IO,
            (None, Answer::Status(_) | Answer::Missing { why: Missing::NotMade, .. }) => OTHER,
        }
    }

    fn class_of(&self, code: &str) -> Class {
        if let Some(class) = self.class_by_text(code) {
            return class;
        }
        if let Some((_, class)) = CODES.iter().find(|(known, _)| *known == code) {
            return *class;
        }
        if code.ends_with(".NotFound") {
            return Class::Stale;
        }
        match self.answer {
            Answer::Status(status) => class_of_status(status),
            Answer::Missing { .. } => Class::Transient,
        }
    }

    /// The few codes that mean different things, told apart by EC2's text.
    fn class_by_text(&self, code: &str) -> Option<Class> {
        let says = |part: &str| self.message.to_ascii_lowercase().contains(part);
        match (code, self.operation) {
            ("InvalidParameterValue", "ReplaceRoute") if says("no route defined") => Some(Class::Stale),
            // The code for an address that somebody holds is not documented for these two; the text is what was seen:
            // "is already assigned but move is not allowed".
            ("InvalidParameterValue", "AssignPrivateIpAddresses" | "AssignIpv6Addresses")
                if says("already") || says("in use") || says("in-use") || says("move is not allowed") =>
            {
                Some(Class::Stale)
            }
            ("InvalidParameterValue", "UnassignPrivateIpAddresses" | "UnassignIpv6Addresses")
                if says("not assigned to") =>
            {
                Some(Class::Stale)
            }
            // Said of an instance that boots, which passes, and of one with several ENIs, which does not.
            ("InvalidInstanceID", _) if says("pending") => Some(Class::Stale),
            _ => None,
        }
    }
}

/// Whether the operation only reads.
fn is_read(operation: &str) -> bool {
    operation.starts_with("Describe")
}

/// What an answer without a known code says: it may come from a proxy or a load balancer in between.
fn class_of_status(status: u16) -> Class {
    match status {
        429 => Class::Throttled,
        401 | 403 | 407 => Class::Denied,
        408 => Class::Transient,
        300..=499 => Class::Rejected,
        _ => Class::Transient,
    }
}

/// Every value of `code` in the metrics of requests: `ok`, what broke on the way, and EC2's known codes.
pub fn results() -> impl Iterator<Item = &'static str> {
    [OK, TIMEOUT, IO, HTTP_5XX, OTHER].into_iter().chain(CODES.iter().map(|(code, _)| *code))
}

/// Whether a result means EC2's rate limit.
#[must_use]
pub fn is_throttled(result: &str) -> bool {
    CODES.iter().any(|(code, class)| *code == result && *class == Class::Throttled)
}

/// The result of a request that EC2 accepted.
pub const OK: &str = "ok";
pub const TIMEOUT: &str = "timeout";
pub const IO: &str = "io";
pub const HTTP_5XX: &str = "http_5xx";
pub const OTHER: &str = "other";

/// EC2's known codes.
const CODES: &[(&str, Class)] = &[
    // The list that AWS's own clients take for throttling.
    ("RequestLimitExceeded", Class::Throttled),
    ("Throttling", Class::Throttled),
    ("ThrottlingException", Class::Throttled),
    ("EC2ThrottledException", Class::Throttled),
    ("SlowDown", Class::Throttled),
    ("BandwidthLimitExceeded", Class::Throttled),
    ("Unavailable", Class::Transient),
    ("ServiceUnavailable", Class::Transient),
    ("InternalError", Class::Transient),
    ("InternalFailure", Class::Transient),
    ("ServerInternal", Class::Transient),
    ("RetryableError", Class::Transient),
    ("RequestTimeout", Class::Transient),
    // Two changes of one thing at the same time: it passes by itself.
    ("ConcurrentTagAccess", Class::Transient),
    ("ConcurrentMutationLimitExceeded", Class::Transient),
    ("IncorrectState", Class::Transient),
    ("InvalidState", Class::Transient),
    // Seen of CreateRoute and DeleteRoute while another change of the table is under way.
    ("InvalidParameterException", Class::Transient),
    ("InvalidAllocationID.NotFound", Class::Stale),
    ("InvalidAddress.NotFound", Class::Stale),
    ("InvalidAssociationID.NotFound", Class::Stale),
    ("InvalidNetworkInterfaceID.NotFound", Class::Stale),
    ("InvalidNetworkInterface.NotFound", Class::Stale),
    ("InvalidInstanceID.NotFound", Class::Stale),
    // Both spellings are seen.
    ("InvalidRouteTableID.NotFound", Class::Stale),
    ("InvalidRouteTableId.NotFound", Class::Stale),
    ("InvalidRoute.NotFound", Class::Stale),
    ("InvalidSubnetID.NotFound", Class::Stale),
    ("InvalidVpcID.NotFound", Class::Stale),
    ("IncorrectInstanceState", Class::Stale),
    ("RouteAlreadyExists", Class::Stale),
    ("Resource.AlreadyAssociated", Class::Stale),
    ("Resource.AlreadyAssigned", Class::Stale),
    ("InvalidIPAddress.InUse", Class::Stale),
    ("UnauthorizedOperation", Class::Denied),
    ("AccessDenied", Class::Denied),
    ("AccessDeniedException", Class::Denied),
    // Bad credentials, or an Elastic IP of another account.
    ("AuthFailure", Class::Denied),
    ("InvalidClientTokenId", Class::Denied),
    ("UnrecognizedClientException", Class::Denied),
    ("MissingAuthenticationToken", Class::Denied),
    ("SignatureDoesNotMatch", Class::Denied),
    ("IncompleteSignature", Class::Denied),
    ("OptInRequired", Class::Denied),
    ("Blocked", Class::Denied),
    ("PendingVerification", Class::Denied),
    ("AccountDisabled", Class::Denied),
    ("TagPolicyViolation", Class::Denied),
    ("RequestExpired", Class::Denied),
    ("InvalidSecurity.RequestHasExpired", Class::Denied),
    ("ExpiredToken", Class::Denied),
    ("ExpiredTokenException", Class::Denied),
    ("Gateway.NotAttached", Class::Rejected),
    ("RouteLimitExceeded", Class::Rejected),
    ("ResourceCountLimitExceeded", Class::Rejected),
    ("PrivateIpAddressLimitExceeded", Class::Rejected),
    ("AddressLimitExceeded", Class::Rejected),
    ("TagLimitExceeded", Class::Rejected),
    ("FilterLimitExceeded", Class::Rejected),
    ("InsufficientFreeAddressesInSubnet", Class::Rejected),
    ("InvalidParameter", Class::Rejected),
    ("InvalidParameterValue", Class::Rejected),
    ("InvalidParameterCombination", Class::Rejected),
    ("InvalidParameterDependency", Class::Rejected),
    ("MissingParameter", Class::Rejected),
    ("UnknownParameter", Class::Rejected),
    ("InvalidAction", Class::Rejected),
    ("InvalidID", Class::Rejected),
    ("InvalidInstanceID", Class::Rejected),
    ("InvalidFilter", Class::Rejected),
    ("InvalidMaxResults", Class::Rejected),
    ("InvalidPaginationToken", Class::Rejected),
    ("InvalidNextToken", Class::Rejected),
    ("InvalidTagKey.Malformed", Class::Rejected),
    ("InvalidRouteTableId.Malformed", Class::Rejected),
    ("InvalidRoute.Malformed", Class::Rejected),
    ("InvalidRoute.InvalidState", Class::Rejected),
    ("InvalidNetworkInterface.InUse", Class::Rejected),
    ("UnsupportedOperation", Class::Rejected),
    ("OperationNotPermitted", Class::Rejected),
    ("DependencyViolation", Class::Rejected),
];

/// The codes for credentials that have run out. EC2 documents `RequestExpired`; `ExpiredToken` is the STS's spelling.
#[must_use]
pub fn is_expired(code: &str) -> bool {
    matches!(code, "RequestExpired" | "InvalidSecurity.RequestHasExpired" | "ExpiredToken" | "ExpiredTokenException")
}

/// The codes for a page that cannot be had any more: the listing must start again.
#[must_use]
pub fn is_bad_page(code: &str) -> bool {
    matches!(code, "InvalidPaginationToken" | "InvalidNextToken")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn answered<'a>(operation: &'a str, status: u16, code: &'a str, message: &'a str) -> Failure<'a> {
        let code = (!code.is_empty()).then_some(code);
        Failure { operation, code, message, answer: Answer::Status(status) }
    }

    fn missing(operation: &str, why: Missing, sent: bool) -> Failure<'_> {
        Failure { operation, code: None, message: "", answer: Answer::Missing { why, sent } }
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
            // Throttling comes with a server's status, and nothing was done.
            ("ReplaceRoute", 503, "RequestLimitExceeded", "", Throttled, None),
            ("ReplaceRoute", 400, "Throttling", "", Throttled, None),
            ("ReplaceRoute", 429, "", "", Throttled, None),
            // A server's fault may have come after the change.
            ("ReplaceRoute", 500, "InternalError", "", Transient, Unknown),
            ("ReplaceRoute", 503, "Unavailable", "", Transient, Unknown),
            ("ReplaceRoute", 503, "", "", Transient, Unknown),
            ("ReplaceRoute", 502, "", "", Transient, Unknown),
            ("ReplaceRoute", 599, "NobodyKnows", "", Transient, Unknown),
            ("DescribeAddresses", 502, "", "", Transient, None),
            // So may an accepted call whose answer made no sense.
            ("AssociateAddress", 200, "", "", Transient, Unknown),
            ("DescribeAddresses", 200, "", "", Transient, None),
            // The world moved.
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
            // The request's own fault, or a limit.
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
}
