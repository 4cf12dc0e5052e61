//! The advice to an operator about an error. The advice is chosen by EC2's code, by what the kernel did not do, by the
//! reason that a source could not be read, and else by the error's class. The text of a message never chooses the
//! advice.

use super::{BindingStatus, ClaimStatus, ErrorStatus, ObstacleStatus, UnseenStatus};
use crate::ec2::Class;
use crate::ec2::codes::{self, Advice, KnownCode, Label};
use crate::ec2::reason::Reason;
use crate::names::OneOf;
use crate::observe::cause::{Cause, KernelFault};
use crate::observe::obstacles::ObstacleName;
use crate::observe::seen::Unseen;

/// The advice where nothing more is known than the message says.
const GENERAL: &str = "the message says what stands in the way";

/// The advice to a leader whose binding something else changed.
pub(super) const MOVED_BY_ANOTHER: &str =
    "nothing yet, as this leader puts it back; if it goes again, find what else moves it: CloudTrail names the caller";

/// The advice about a change that failed, in one sentence.
#[must_use]
pub fn of_error(error: &ErrorStatus) -> String {
    advise(error.class.known(), &error.cause)
}

/// The advice where a binding could not be seen.
#[must_use]
pub fn of_unseen_binding(binding: &BindingStatus) -> String {
    of_unseen(binding.unseen.as_ref(), binding.read_error_class.as_ref())
}

/// The advice where the claims on record could not be read.
#[must_use]
pub fn of_unread_claims(claim: Option<&ClaimStatus>) -> String {
    let class = claim.and_then(|claim| claim.read_error_class.as_ref());
    of_unseen(claim.and_then(|claim| claim.unread.as_ref()), class)
}

/// The advice where something could not be seen. The status of an older daemon holds the class alone, and no `unseen`.
fn of_unseen(unseen: Option<&UnseenStatus>, class: Option<&OneOf<Class>>) -> String {
    let class = class.and_then(OneOf::known);
    let Some(unseen) = unseen else { return of_class(class).to_owned() };
    match unseen.why.known() {
        Some(Unseen::NotRead | Unseen::NotYet) => {
            "nothing yet: it is read in a moment; if it lasts, the table of sources tells what cannot be read"
                .to_owned()
        }
        Some(Unseen::NoSuchResource) => {
            "see whether it was deleted, or is misspelt in the config; another region's are never seen, and another \
             account's only in a role of that account"
                .to_owned()
        }
        Some(Unseen::ReadFailed | Unseen::Unresolved) | None => advise(class, &unseen.cause),
    }
}

/// The advice about a failure of this class and cause, in one sentence.
#[must_use]
pub fn advise(class: Option<Class>, cause: &Cause) -> String {
    if let Some(fault) = &cause.kernel {
        return of_kernel(fault.known()).to_owned();
    }
    let known = cause.code.as_deref().and_then(codes::known);
    if let Some(reason) = cause.reason.as_ref().and_then(OneOf::known) {
        let advice = of_reason(reason, &call(cause));
        return if reason == Reason::NothingMoves { advice + "; " + of_unmoved(known) } else { advice };
    }
    match known.map(|known| known.advice) {
        Some(Advice::Say(advice)) => advice.to_owned(),
        Some(Advice::Allow) => {
            let what = call(cause);
            format!("allow {what} to this node's role; 'vipkeeper policy' prints all that it needs")
        }
        Some(Advice::OfClass) | None => of_class(class).to_owned(),
    }
}

/// The second half of the advice where EC2 refuses although nothing moves. The advice for the code alone often says
/// that the failure passes by itself, which it does not do here.
fn of_unmoved(known: Option<&KnownCode>) -> &'static str {
    match known.map(|known| (known.label, known.advice)) {
        Some((Label::NotFound, Advice::Say(advice))) => advice,
        Some((Label::NotFound, _)) => "the thing that EC2 names was deleted, or is another account's or region's",
        Some((Label::AlreadyHeld, _)) => {
            "the thing that the message names holds it, or holds this node's private address: find it in the EC2 console, \
             and release it there"
        }
        Some((Label::WrongState, _)) => "see the state of this instance and of its ENI in the EC2 console",
        _ => "EC2's message is the only clue",
    }
}

/// The advice about something that must make a takeover by this node fail.
#[must_use]
pub fn of_obstacle(obstacle: &ObstacleStatus) -> &'static str {
    match obstacle.name.known() {
        Some(ObstacleName::NotOnEni) => {
            "assign that private address to the ENI, or correct private_ip in the config, or leave private_ip out"
        }
        Some(ObstacleName::OutsideSubnet) => {
            "take an address of the subnet, the same on every node; nodes in several subnets need an Elastic IP or a route"
        }
        Some(ObstacleName::KeptByAws) => {
            "take an address of the subnet that is free, and that is no ENI's primary address"
        }
        Some(ObstacleName::InsideVpc) => {
            "take an address outside every CIDR of the VPC, or keep this one as a secondary address"
        }
        Some(ObstacleName::OtherVpc) => "name a route table of the ENI's VPC, or another interface",
        Some(ObstacleName::AnchorFull) => "remove some of the anchor's tags, those of instances that are gone first",
        None => GENERAL,
    }
}

/// The action as a policy names it, or "this call" if the operation is not known.
fn call(cause: &Cause) -> String {
    cause.operation.as_ref().map_or("this call".to_owned(), |operation| format!("ec2:{operation}"))
}

fn of_kernel(fault: Option<KernelFault>) -> &'static str {
    match fault {
        Some(KernelFault::NotPermitted) => "give the service CAP_NET_ADMIN (AmbientCapabilities= in its unit)",
        Some(KernelFault::NoInterface) => "compare the interface in the config with 'ip link'",
        Some(KernelFault::NoAnswer | KernelFault::Refused) | None => {
            "it is this machine's kernel that was asked: 'ip address', and 'systemctl restart vipkeeper', which moves \
             nothing"
        }
    }
}

fn of_reason(reason: Reason, call: &str) -> String {
    match reason {
        Reason::ServiceControlPolicy => format!(
            "a service control policy of the AWS organization does not let this account do {call}: only whoever \
             administers the organization can change it; a policy of this role cannot"
        ),
        Reason::ResourceControlPolicy => format!(
            "a resource control policy of the AWS organization does not let {call} reach the resource: only whoever \
             administers the organization can change it"
        ),
        Reason::EndpointPolicy => format!(
            "the policy of the VPC endpoint for EC2 does not let {call} through: whoever administers the VPC allows it \
             there; the role's own policy is not the obstacle"
        ),
        Reason::PermissionsBoundary => format!(
            "the permissions boundary of this node's role does not include {call}: whoever administers IAM in this \
             account widens the boundary; more policies on the role do not help"
        ),
        Reason::SessionPolicy => format!(
            "these credentials were handed out with a session policy that does not include {call}: whoever hands them out \
             allows it there; 'aws sts get-caller-identity' shows whose they are"
        ),
        Reason::ResourcePolicy => {
            format!("the resource's own policy does not let this node's role do {call}: its owner allows it there")
        }
        Reason::ExplicitDeny => format!(
            "a policy of this node's role denies {call} explicitly, which no other policy outweighs: take the Deny out, or \
             exempt this resource from it"
        ),
        Reason::Encoded => format!(
            "allow {call} to this node's role; 'vipkeeper policy' prints all that it needs. If it is allowed there, \
             'aws sts decode-authorization-message' tells which other policy denies it"
        ),
        other => of_credentials(other).unwrap_or_else(|| of_circumstance(other)).to_owned(),
    }
}

/// The advice about credentials that are missing, not known or not accepted.
fn of_credentials(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::RoleNotAssumed => {
            "allow sts:AssumeRole on that role to this node's own role, and name this node's role in that role's trust \
             policy; where the message names another policy (of the organization, a boundary, a session), that one denies"
        }
        Reason::BadCredentials => {
            "AWS does not know these credentials: they were deleted, are mistyped or are another \
                                   partition's; 'aws sts get-caller-identity' shows whose they are"
        }
        Reason::CredentialsOld => {
            "this machine's clock agrees with EC2's, so the credentials themselves have run out: see why their source gives \
             no fresh ones (is the role still attached to the instance?)"
        }
        Reason::NoCredentials => {
            "give this node credentials: attach an IAM role to the instance, or name a profile in the config (aws.profile)"
        }
        Reason::SourceSilent => {
            "it is tried again by itself; if it lasts, see why the source that does not answer cannot be reached from here: \
             'curl -m 2 <its address>' as the service's user; a firewall, a proxy or a container's network may be in the way"
        }
        Reason::SourceRefuses => {
            "the message names the source of credentials that refuses, and why: let it serve this node, or name another \
             source in the config (aws.profile)"
        }
        Reason::SourceOff => {
            "take AWS_EC2_METADATA_DISABLED out of the service's environment ('systemctl cat vipkeeper' shows where it is \
             set), or give this node another source of credentials"
        }
        Reason::SourceNotBuiltIn => {
            "give the profile a source that needs no other program and no login: role_arn with credential_source = \
             Ec2InstanceMetadata; or leave the profile out and attach the role to the instance"
        }
        Reason::ClockOff => {
            "set this machine's clock: EC2 refuses what is signed more than 5 min off; \
                             'chronyc tracking' or 'timedatectl' tells why it is wrong"
        }
        Reason::OtherRegion => {
            "the endpoint serves another region than the requests are signed for: make aws.region and \
                                aws.endpoint_url in the config agree"
        }
        _ => return None,
    })
}

/// The advice about the way to EC2, and about what EC2 does not take.
fn of_circumstance(reason: Reason) -> &'static str {
    match reason {
        Reason::TagPolicy => codes::TAG_POLICY,
        Reason::NotYours => {
            "it is another account's, or an AWS service holds it, as a NAT gateway or a load balancer \
                             holds its Elastic IP: release it there, or name one of this account in the config"
        }
        Reason::NotAws => {
            "the message names who was asked and what came: let the requests pass there, or past it (NO_PROXY); if \
             aws.endpoint_url or AWS_EC2_METADATA_SERVICE_ENDPOINT is set, it must be AWS's"
        }
        Reason::UntrustedIssuer => {
            "if a proxy opens TLS on the way, put its CA's certificate into a file and name the file in aws.ca_bundle (or \
             AWS_CA_BUNDLE), or let EC2 pass it by (NO_PROXY); if none should, somebody is in between"
        }
        Reason::BadCertificate => {
            "see this machine's clock ('timedatectl') and aws.endpoint_url: the certificate that came is another host's, or \
             not valid at this machine's time; or somebody is in between"
        }
        Reason::TlsBroken => {
            "the other side does not speak TLS as AWS does: see whether a proxy or a firewall on the way breaks TLS off, and \
             whether aws.endpoint_url names a port that speaks it"
        }
        Reason::NoAddress => {
            "no name server told the host's address: 'getent ahosts <the host>' and /etc/resolv.conf on this node, and \
             DNS support of the VPC; if the host itself is misspelt, aws.region or aws.endpoint_url"
        }
        Reason::Proxy => {
            "correct HTTPS_PROXY in the service's environment (its address, and the user and password that the proxy wants; \
             'systemctl cat vipkeeper' shows where it is set), let the proxy pass EC2's host, or name the host in NO_PROXY"
        }
        Reason::OutsideSubnet => {
            "a secondary address must be of the subnet of this node's ENI, and none of the five that \
                                  AWS keeps (the first four and the last): compare it with the subnet's CIDR"
        }
        Reason::NothingMoves => {
            "nobody else is at work: EC2 refuses this again and again, and its reads show no change meanwhile"
        }
        Reason::InsideVpc => {
            "the VIP of a route must lie outside every CIDR of the VPC: choose another address, or keep \
                              this one as a secondary address"
        }
        _ => GENERAL,
    }
}

fn of_class(class: Option<Class>) -> &'static str {
    match class {
        Some(Class::Transient) => {
            "it is tried again by itself; if it lasts, see whether EC2 can be reached from here (NAT, VPC endpoint, \
             security group, proxy): 'vipkeeper plan' asks it once"
        }
        Some(Class::Throttled) => {
            "EC2's rate limit for the whole account and region: it is tried again by itself; look for other programs that \
             call EC2 too often"
        }
        Some(Class::Stale) => "somebody else changed it meanwhile; it is looked at again by itself",
        Some(Class::Denied) => "see whose credentials are used and what they may do: 'aws sts get-caller-identity'",
        Some(Class::Rejected) | None => "the message says what in the config or in the account stands in the way",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ec2(operation: &str, code: Option<&str>) -> Cause {
        Cause { operation: Some(operation.to_owned()), code: code.map(str::to_owned), ..Cause::default() }
    }

    fn unseen(why: Unseen, class: Option<Class>, cause: Cause) -> String {
        let unseen = UnseenStatus { why: why.into(), class: class.map(OneOf::Known), cause };
        of_unseen(Some(&unseen), class.map(OneOf::Known).as_ref())
    }

    #[test]
    fn a_missing_permission_is_named() {
        let denied = Some(Class::Denied);
        assert_eq!(
            advise(denied, &ec2("ReplaceRoute", Some("UnauthorizedOperation"))),
            "allow ec2:ReplaceRoute to this node's role; 'vipkeeper policy' prints all that it needs"
        );
        assert_eq!(
            unseen(Unseen::ReadFailed, denied, ec2("DescribeRouteTables", Some("UnauthorizedOperation"))),
            "allow ec2:DescribeRouteTables to this node's role; 'vipkeeper policy' prints all that it needs"
        );
        let nameless = Cause { code: Some("AccessDenied".to_owned()), ..Cause::default() };
        assert_eq!(
            advise(denied, &nameless),
            "allow this call to this node's role; 'vipkeeper policy' prints all that it needs"
        );
    }

    #[test]
    fn what_could_not_be_read_or_was_not_yet_is_no_fault_of_the_config() {
        let refused = unseen(Unseen::ReadFailed, Some(Class::Transient), ec2("DescribeAddresses", None));
        assert!(refused.contains("see whether EC2 can be reached"), "{refused}");
        for fault in [KernelFault::NoAnswer, KernelFault::Refused] {
            let silent = Cause { kernel: Some(fault.into()), ..Cause::default() };
            let read = unseen(Unseen::ReadFailed, Some(Class::Transient), silent.clone());
            assert!(read.contains("this machine's kernel"), "{read}");
            let changed = advise(Some(Class::Transient), &silent);
            assert!(changed.contains("this machine's kernel"), "EC2 has no part in it: {changed}");
        }
        for early in [Unseen::NotRead, Unseen::NotYet] {
            assert!(unseen(early, None, Cause::default()).starts_with("nothing yet: "));
        }
        assert!(unseen(Unseen::NoSuchResource, None, Cause::default()).contains("in the config"));
    }

    #[test]
    fn a_role_that_may_not_be_assumed_needs_both_policies() {
        let reason = Some(Reason::RoleNotAssumed.into());
        let advice = advise(Some(Class::Denied), &Cause { reason, ..ec2("DescribeRouteTables", Some("AccessDenied")) });
        assert!(advice.contains("sts:AssumeRole") && advice.contains("trust policy"), "{advice}");
    }

    #[test]
    fn the_text_of_a_message_does_not_choose_the_advice() {
        let error = ErrorStatus {
            at_ms: 0,
            class: Class::Rejected.into(),
            message: "CreateRoute: RouteLimitExceeded: not UnauthorizedOperation, and CAP_NET_ADMIN is no interface"
                .to_owned(),
            failures: 1,
            held_back_ms: 0,
            cause: ec2("CreateRoute", Some("RouteLimitExceeded")),
        };
        assert!(of_error(&error).starts_with("the route table is full"));
        let unknown = ErrorStatus { cause: ec2("CreateRoute", Some("MyRouteLimitExceeded")), ..error };
        assert_eq!(of_error(&unknown), of_class(Some(Class::Rejected)));
    }

    #[test]
    fn every_reason_has_advice_of_its_own() {
        let all: BTreeSet<_> = Reason::ALL.iter().map(|reason| of_reason(*reason, "ec2:CreateTags")).collect();
        assert_eq!(all.len(), Reason::ALL.len(), "{all:?}");
        assert!(!all.contains(GENERAL), "one reason has none");
    }

    #[test]
    fn every_class_has_advice() {
        let all: BTreeSet<_> = Class::ALL.iter().map(|class| of_class(Some(*class))).collect();
        assert_eq!(all.len(), Class::ALL.len(), "{all:?}");
    }
}
