//! EC2's codes in one table, with class, metric label and advice. This module also decides what follows from one
//! failed call: the call's class, and whether EC2 may have carried the call out all the same. This module is pure.
//!
//! EC2's model declares no typed errors: every error is a code, a text and an HTTP status. The codes and their
//! meanings come from "Error codes for the Amazon EC2 API". A comment marks each place where practice differs from
//! that page. The code decides. The status decides only where there is no known code, because EC2 sends throttling as
//! 503 and load balancers send 5xx without any code.

use super::class::{Class, Effect};
use crate::names::names;

/// One failed call, with everything that is known about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedCall<'a> {
    /// EC2's name of the operation, like `AssociateAddress`.
    pub operation: &'static str,
    /// EC2's error code, if there was one.
    pub code: Option<&'a str>,
    /// EC2's text for the code. The text is empty without a code.
    pub message: &'a str,
    pub reply: Reply,
}

/// The reply to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// An answer with this HTTP status. Status 200 means that the answer's body could not be understood.
    Status(u16),
    /// No answer came. Unless the request was `sent`, EC2 cannot have done anything.
    Missing { why: Missing, sent: bool },
}

/// The reason why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    TimedOut,
    /// The connection could not be made, or broke.
    Io,
    /// The request could not be made: it was malformed or could not be signed.
    NotMade,
}

impl FailedCall<'_> {
    /// The class of the failure, which decides what happens next.
    #[must_use]
    pub fn class(&self) -> Class {
        match (self.code, self.reply) {
            (Some(code), _) => self.class_of(code),
            (None, Reply::Status(status)) => class_of_status(status),
            (None, Reply::Missing { why: Missing::NotMade, .. }) => Class::Rejected,
            (None, Reply::Missing { why: Missing::TimedOut | Missing::Io, .. }) => Class::Transient,
        }
    }

    /// Whether EC2 may have carried out the call. A read changes nothing. EC2 turned a throttled call away. Only a
    /// later read can tell after any other 5xx status, after a lost answer, and after a 200 that made no sense.
    #[must_use]
    pub fn effect(&self) -> Effect {
        let executed = match self.reply {
            Reply::Missing { sent, .. } => sent,
            Reply::Status(status) => !(300..500).contains(&status) && self.class() != Class::Throttled,
        };
        if executed && !is_read(self.operation) { Effect::Unknown } else { Effect::None }
    }

    /// The name of the failure in metrics: one of [`results`].
    #[must_use]
    pub fn result(&self) -> &'static str {
        match (self.code.and_then(known), self.reply) {
            (Some(known), _) => known.code,
            (None, Reply::Status(500..=599)) => HTTP_5XX,
            (None, Reply::Missing { why: Missing::TimedOut, .. }) => TIMEOUT,
            (None, Reply::Missing { why: Missing::Io, .. }) => IO,
            (None, Reply::Status(_) | Reply::Missing { why: Missing::NotMade, .. }) => OTHER,
        }
    }

    fn class_of(&self, code: &str) -> Class {
        if let Some(class) = self.class_by_text(code) {
            return class;
        }
        if let Some(known) = known(code) {
            return known.class;
        }
        if code.ends_with(".NotFound") {
            return Class::Stale;
        }
        match self.reply {
            Reply::Status(status) => class_of_status(status),
            Reply::Missing { .. } => Class::Transient,
        }
    }

    /// The class of the few codes that have several meanings. EC2's text tells the meanings apart.
    fn class_by_text(&self, code: &str) -> Option<Class> {
        let says = |part: &str| self.message.to_ascii_lowercase().contains(part);
        match (code, self.operation) {
            ("InvalidParameterValue", "ReplaceRoute") if says("no route defined") => Some(Class::Stale),
            // EC2 does not document the code of these two operations for an address that somebody holds. The text was
            // seen: "is already assigned but move is not allowed".
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
            // EC2 sends this code for an instance that boots: this failure passes by itself. EC2 also sends it for an
            // instance with several ENIs: this failure remains.
            ("InvalidInstanceID", _) if says("pending") => Some(Class::Stale),
            _ => None,
        }
    }
}

/// Whether the operation only reads.
fn is_read(operation: &str) -> bool {
    operation.starts_with("Describe")
}

/// The class of an answer without a known code. A proxy or a load balancer may have sent the answer.
fn class_of_status(status: u16) -> Class {
    match status {
        429 => Class::Throttled,
        401 | 403 | 407 => Class::Denied,
        408 => Class::Transient,
        300..=499 => Class::Rejected,
        _ => Class::Transient,
    }
}

/// Every result of a request: `ok`, the failures on the way, and EC2's known codes.
pub fn results() -> impl Iterator<Item = &'static str> {
    [OK, TIMEOUT, IO, HTTP_5XX, OTHER].into_iter().chain(KNOWN.iter().map(|known| known.code))
}

/// The result of a request that EC2 accepted.
pub const OK: &str = "ok";
pub const TIMEOUT: &str = "timeout";
pub const IO: &str = "io";
pub const HTTP_5XX: &str = "http_5xx";
pub const OTHER: &str = "other";

names!(
    /// The words of the label `code` in the metrics of requests. Each word calls for a different action by an
    /// operator. EC2's other codes share `other`, so that the number of series stays small and known.
    Label {
        Ok = "ok",
        RateLimit = "RequestLimitExceeded",
        NotAllowed = "UnauthorizedOperation",
        NotAuthenticated = "AuthFailure",
        Expired = "RequestExpired",
        WrongState = "IncorrectState",
        ServerFault = "InternalError",
        NotFound = "NotFound",
        AlreadyHeld = "AlreadyHeld",
        Limit = "LimitExceeded",
        NoAnswer = "no_answer",
        Other = "other",
    }
);

/// The label of one request. `result` is a result as [`FailedCall::result`] names it.
#[must_use]
pub fn label(result: &str) -> Label {
    match result {
        OK => Label::Ok,
        TIMEOUT | IO => Label::NoAnswer,
        HTTP_5XX => Label::ServerFault,
        code => known(code).map_or(Label::Other, |known| known.label),
    }
}

/// Whether a result means EC2's rate limit.
#[must_use]
pub fn is_throttled(result: &str) -> bool {
    known(result).is_some_and(|known| known.class == Class::Throttled)
}

/// Whether the code means that the credentials have expired. EC2 documents `RequestExpired`; `ExpiredToken` is STS's
/// spelling.
#[must_use]
pub fn is_expired(code: &str) -> bool {
    known(code).is_some_and(|known| known.label == Label::Expired)
}

/// Whether the code means that a page token is no longer valid. The listing must then start again.
#[must_use]
pub fn is_bad_page(code: &str) -> bool {
    matches!(code, "InvalidPaginationToken" | "InvalidNextToken")
}

/// The advice to an operator about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// The advice is this sentence.
    Say(&'static str),
    /// A policy must allow the operation. The `Reason` tells which policy.
    Allow,
    /// The code tells no more than its class.
    OfClass,
}

/// One of EC2's codes, and everything that depends on the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownCode {
    pub code: &'static str,
    pub class: Class,
    pub label: Label,
    pub advice: Advice,
}

/// The row of a code, if the table has one.
#[must_use]
pub fn known(code: &str) -> Option<&'static KnownCode> {
    KNOWN.iter().find(|known| known.code == code)
}

const fn row(code: &'static str, class: Class, label: Label, advice: Advice) -> KnownCode {
    KnownCode { code, class, label, advice }
}

const RATE_LIMIT: Advice = Advice::Say(
    "EC2's rate limit for the whole account and region: it is tried again by itself; \
     look for other programs that call EC2 too often",
);
const CREDENTIALS: Advice = Advice::Say(
    "these credentials are not accepted, or the resource is another account's; \
     'aws sts get-caller-identity' shows whose they are",
);
const EXPIRED: Advice = Advice::Say("check this machine's clock, and that its instance role gives fresh credentials");
const ACCOUNT: Advice = Advice::Say(
    "AWS does not serve this account: who pays for the account finds the reason in its billing console, or asks AWS Support",
);
const NO_ADDRESS: Advice = Advice::Say("no such Elastic IP in this account and region: correct it in the config");
const NO_TABLE: Advice = Advice::Say("no such route table: correct or remove it in the config's route tables");
const NO_ENI: Advice =
    Advice::Say("this node's ENI is gone or was replaced: name the interface in the config, or see [identity] there");
const NO_INSTANCE: Advice = Advice::Say(
    "EC2 does not know this instance: it was terminated, or the credentials are of another account or region",
);
const THIS_INSTANCE: Advice = Advice::Say(
    "EC2 does not take this instance now: while it still starts, this passes by itself; else the message names the fault",
);
const OTHER_ACCOUNT: Advice = Advice::Say(
    "the credentials are of another account or region than this node's: 'aws sts get-caller-identity' shows whose they are",
);
const UNSUPPORTED: Advice = Advice::Say(
    "EC2 does not do this with a resource of this kind: the message names it; name another one in the config",
);
const PROTECTED: Advice = Advice::Say(
    "EC2 protects this resource, often because an AWS service manages it: name one in the config that is this cluster's own",
);
const AT_ONCE: Advice = Advice::Say("too many changes at once; it is tried again by itself");
const ASSOCIATED: Advice = Advice::Say(
    "somebody else took it first, or the message names another Elastic IP at this node's private address: free the one \
     that does not belong there; it is looked at again by itself",
);
const HELD: Advice = Advice::Say("somebody else took it first; who holds it is looked at again by itself");
const STARTING: Advice =
    Advice::Say("the instance is starting or stopping: it is tried again by itself once its state allows it");
const BAD_ID: Advice =
    Advice::Say("an id in the config is misspelt: EC2 names it in its message; correct it in the config");
const OURS: Advice = Advice::Say(
    "EC2 does not take the request as vipkeeper makes it: a newer vipkeeper may help; else report it with this message",
);

const SERVER: Advice = Advice::Say(
    "EC2 itself has trouble, and it is tried again by itself; if it lasts, the AWS Health Dashboard tells of this region",
);
const CHANGING: Advice =
    Advice::Say("another change of the same thing is still under way in EC2; it is tried again by itself");
const OPT_IN: Advice = Advice::Say(
    "EC2 is not open to this account in this region: an administrator of the account enables the region, \
     or completes the account's sign-up",
);
/// The advice for a tag policy. A code and a `Reason` share this text.
pub const TAG_POLICY: &str = "a tag policy of the AWS organization does not let the claim's tag be written: whoever \
                              administers the organization exempts tag keys that begin with vipkeeper/";
const NO_GATEWAY: Advice =
    Advice::Say("attach an internet gateway to this VPC: an Elastic IP needs one, and the VPC has none");
const FULL_TABLE: Advice =
    Advice::Say("the route table is full: remove a route, or raise the quota 'Routes per route table'");
const FULL_ENI: Advice = Advice::Say("the ENI has no free slot: remove an address, or take a larger instance type");
const FULL_OF_TAGS: Advice = Advice::Say("the anchor has 50 tags: remove some, those of instances that are gone first");
const FULL_SUBNET: Advice = Advice::Say("the subnet has no free address: remove an unused one");
const FEWER: Advice =
    Advice::Say("one question to EC2 names too many addresses or route tables: let this node keep fewer of them");
const WRONG_ENDPOINT: Advice = Advice::Say(
    "the endpoint is none of EC2's, or an older one: correct aws.endpoint_url in the config, or leave it out",
);

/// EC2's known codes. The class decides what the loop does. The label and the advice are for people.
pub const KNOWN: &[KnownCode] = &[
    // AWS's own clients treat the codes of this list as throttling.
    row("RequestLimitExceeded", Class::Throttled, Label::RateLimit, RATE_LIMIT),
    row("Throttling", Class::Throttled, Label::RateLimit, RATE_LIMIT),
    row("ThrottlingException", Class::Throttled, Label::RateLimit, RATE_LIMIT),
    row("EC2ThrottledException", Class::Throttled, Label::RateLimit, RATE_LIMIT),
    row("SlowDown", Class::Throttled, Label::RateLimit, RATE_LIMIT),
    row("BandwidthLimitExceeded", Class::Throttled, Label::RateLimit, RATE_LIMIT),
    row("Unavailable", Class::Transient, Label::ServerFault, SERVER),
    row("ServiceUnavailable", Class::Transient, Label::ServerFault, SERVER),
    row("InternalError", Class::Transient, Label::ServerFault, SERVER),
    row("InternalFailure", Class::Transient, Label::ServerFault, SERVER),
    row("ServerInternal", Class::Transient, Label::ServerFault, SERVER),
    row("RetryableError", Class::Transient, Label::Other, SERVER),
    row("RequestTimeout", Class::Transient, Label::Other, Advice::OfClass),
    // Two changes of one resource at a time. The failure passes by itself.
    row("ConcurrentTagAccess", Class::Transient, Label::WrongState, AT_ONCE),
    row("ConcurrentMutationLimitExceeded", Class::Transient, Label::WrongState, AT_ONCE),
    row("IncorrectState", Class::Transient, Label::WrongState, CHANGING),
    row("InvalidState", Class::Transient, Label::WrongState, CHANGING),
    // CreateRoute and DeleteRoute were seen to fail with this code while another change of the table is under way.
    row("InvalidParameterException", Class::Transient, Label::Other, CHANGING),
    row("InvalidAllocationID.NotFound", Class::Stale, Label::NotFound, NO_ADDRESS),
    row("InvalidAddress.NotFound", Class::Stale, Label::NotFound, NO_ADDRESS),
    row("InvalidAssociationID.NotFound", Class::Stale, Label::NotFound, Advice::OfClass),
    row("InvalidNetworkInterfaceID.NotFound", Class::Stale, Label::NotFound, NO_ENI),
    row("InvalidNetworkInterface.NotFound", Class::Stale, Label::NotFound, NO_ENI),
    row("InvalidInstanceID.NotFound", Class::Stale, Label::NotFound, NO_INSTANCE),
    // EC2 was seen to use both spellings.
    row("InvalidRouteTableID.NotFound", Class::Stale, Label::NotFound, NO_TABLE),
    row("InvalidRouteTableId.NotFound", Class::Stale, Label::NotFound, NO_TABLE),
    row("InvalidRoute.NotFound", Class::Stale, Label::NotFound, Advice::OfClass),
    row("InvalidSubnetID.NotFound", Class::Stale, Label::NotFound, OTHER_ACCOUNT),
    row("InvalidVpcID.NotFound", Class::Stale, Label::NotFound, OTHER_ACCOUNT),
    row("IncorrectInstanceState", Class::Stale, Label::WrongState, STARTING),
    row("RouteAlreadyExists", Class::Stale, Label::AlreadyHeld, HELD),
    row("Resource.AlreadyAssociated", Class::Stale, Label::AlreadyHeld, ASSOCIATED),
    row("Resource.AlreadyAssigned", Class::Stale, Label::AlreadyHeld, HELD),
    row("InvalidIPAddress.InUse", Class::Stale, Label::Other, HELD),
    row("UnauthorizedOperation", Class::Denied, Label::NotAllowed, Advice::Allow),
    row("AccessDenied", Class::Denied, Label::NotAllowed, Advice::Allow),
    row("AccessDeniedException", Class::Denied, Label::NotAllowed, Advice::Allow),
    // The credentials are bad, or another account owns the Elastic IP.
    row("AuthFailure", Class::Denied, Label::NotAuthenticated, CREDENTIALS),
    row("InvalidClientTokenId", Class::Denied, Label::NotAuthenticated, CREDENTIALS),
    row("UnrecognizedClientException", Class::Denied, Label::NotAuthenticated, CREDENTIALS),
    row("MissingAuthenticationToken", Class::Denied, Label::NotAuthenticated, CREDENTIALS),
    row("SignatureDoesNotMatch", Class::Denied, Label::NotAuthenticated, CREDENTIALS),
    row("IncompleteSignature", Class::Denied, Label::NotAuthenticated, CREDENTIALS),
    row("OptInRequired", Class::Denied, Label::Other, OPT_IN),
    row("Blocked", Class::Denied, Label::Other, ACCOUNT),
    row("PendingVerification", Class::Denied, Label::Other, ACCOUNT),
    row("AccountDisabled", Class::Denied, Label::Other, ACCOUNT),
    row("TagPolicyViolation", Class::Denied, Label::Other, Advice::Say(TAG_POLICY)),
    row("RequestExpired", Class::Denied, Label::Expired, EXPIRED),
    row("InvalidSecurity.RequestHasExpired", Class::Denied, Label::Expired, EXPIRED),
    row("ExpiredToken", Class::Denied, Label::Expired, EXPIRED),
    row("ExpiredTokenException", Class::Denied, Label::Expired, EXPIRED),
    row("Gateway.NotAttached", Class::Rejected, Label::Other, NO_GATEWAY),
    row("RouteLimitExceeded", Class::Rejected, Label::Limit, FULL_TABLE),
    row("ResourceCountLimitExceeded", Class::Rejected, Label::Limit, FULL_TABLE),
    row("PrivateIpAddressLimitExceeded", Class::Rejected, Label::Limit, FULL_ENI),
    row("AddressLimitExceeded", Class::Rejected, Label::Limit, Advice::OfClass),
    row("TagLimitExceeded", Class::Rejected, Label::Limit, FULL_OF_TAGS),
    row("FilterLimitExceeded", Class::Rejected, Label::Limit, FEWER),
    row("InsufficientFreeAddressesInSubnet", Class::Rejected, Label::Other, FULL_SUBNET),
    row("InvalidParameter", Class::Rejected, Label::Other, Advice::OfClass),
    row("InvalidParameterValue", Class::Rejected, Label::Other, Advice::OfClass),
    row("InvalidParameterCombination", Class::Rejected, Label::Other, OURS),
    row("InvalidParameterDependency", Class::Rejected, Label::Other, OURS),
    row("MissingParameter", Class::Rejected, Label::Other, OURS),
    row("UnknownParameter", Class::Rejected, Label::Other, OURS),
    row("InvalidAction", Class::Rejected, Label::Other, WRONG_ENDPOINT),
    row("InvalidID", Class::Rejected, Label::Other, BAD_ID),
    row("InvalidInstanceID", Class::Rejected, Label::Other, THIS_INSTANCE),
    row("InvalidInstanceID.Malformed", Class::Rejected, Label::Other, BAD_ID),
    row("InvalidNetworkInterfaceId.Malformed", Class::Rejected, Label::Other, BAD_ID),
    row("InvalidAddress.Malformed", Class::Rejected, Label::Other, BAD_ID),
    row("InvalidFilter", Class::Rejected, Label::Other, OURS),
    row("InvalidMaxResults", Class::Rejected, Label::Other, OURS),
    row("InvalidPaginationToken", Class::Rejected, Label::Other, OURS),
    row("InvalidNextToken", Class::Rejected, Label::Other, OURS),
    row("InvalidTagKey.Malformed", Class::Rejected, Label::Other, OURS),
    row("InvalidRouteTableId.Malformed", Class::Rejected, Label::Other, BAD_ID),
    row("InvalidRoute.Malformed", Class::Rejected, Label::Other, Advice::OfClass),
    row("InvalidRoute.InvalidState", Class::Rejected, Label::Other, Advice::OfClass),
    row("InvalidNetworkInterface.InUse", Class::Rejected, Label::Other, Advice::OfClass),
    row("UnsupportedOperation", Class::Rejected, Label::Other, UNSUPPORTED),
    row("OperationNotPermitted", Class::Rejected, Label::Other, PROTECTED),
    row("DependencyViolation", Class::Rejected, Label::Other, Advice::OfClass),
];

#[cfg(test)]
mod tests;
