//! The reasons in EC2's texts. One code may have several causes, and different people can cure each of them. This
//! module is pure.
//!
//! The texts of denials are those of "Access denied error message examples" in the IAM user guide. The other texts
//! were seen in EC2's answers. An unknown text has no reason: only the advice for its code is shown then.

use std::time::Duration;

use super::codes::{FailedCall, Label, known};
use crate::names::names;

names!(
    /// The reason why a call was refused, if its code alone does not tell.
    Reason {
        /// STS did not let this node's role assume the role that was to make the call.
        RoleNotAssumed = "role_not_assumed",
        /// A service control policy of the AWS organization.
        ServiceControlPolicy = "service_control_policy",
        /// A resource control policy of the AWS organization.
        ResourceControlPolicy = "resource_control_policy",
        TagPolicy = "tag_policy",
        /// The policy of the VPC endpoint through which the call went.
        EndpointPolicy = "endpoint_policy",
        PermissionsBoundary = "permissions_boundary",
        SessionPolicy = "session_policy",
        ResourcePolicy = "resource_policy",
        /// An explicit deny in a policy of another kind, such as one of the role itself.
        ExplicitDeny = "explicit_deny",
        /// EC2 gave the reason only in an encoded message.
        Encoded = "encoded",
        /// This machine's clock is too far from EC2's.
        ClockOff = "clock_off",
        /// The signature is for a region that the endpoint does not serve.
        OtherRegion = "other_region",
        /// Another account owns the resource, or an AWS service manages it.
        NotYours = "not_yours",
        /// AWS does not know the credentials.
        BadCredentials = "bad_credentials",
        /// The credentials have run out: EC2 calls them expired, and this machine's clock agrees with EC2's.
        CredentialsOld = "credentials_old",
        /// No source has credentials.
        NoCredentials = "no_credentials",
        /// A source of credentials does not answer.
        SourceSilent = "source_silent",
        /// A source of credentials refuses, or is set up wrongly.
        SourceRefuses = "source_refuses",
        /// A setting forbids to ask a source of credentials.
        SourceOff = "source_off",
        /// The profile needs something that vipkeeper does not do.
        SourceNotBuiltIn = "source_not_built_in",
        /// Something between this node and AWS answered in AWS's place.
        NotAws = "not_aws",
        /// The certificate that came is of an issuer that is not trusted.
        UntrustedIssuer = "untrusted_issuer",
        /// The certificate that came is not of the host that was asked, or not valid now.
        BadCertificate = "bad_certificate",
        /// The other side does not speak TLS as AWS does.
        TlsBroken = "tls_broken",
        /// The name server gave no address for the host.
        NoAddress = "no_address",
        /// The proxy cannot be reached, or does not let the request through.
        Proxy = "proxy",
        /// The ENI's subnet cannot provide the address.
        OutsideSubnet = "outside_subnet",
        /// The route's destination lies within the VPC.
        InsideVpc = "inside_vpc",
        /// EC2 refuses as if the world had moved, again and again, and its reads show that nothing moves. No text says
        /// this: it is concluded from several answers.
        NothingMoves = "nothing_moves",
    }
);

/// The largest difference between this node's clock and EC2's with which EC2 accepts a signature ("Request has expired").
pub const CLOCK_TOLERANCE: Duration = Duration::from_mins(5);

/// Describes for people how wrong this node's clock is. `None` unless EC2 complains about the credentials or the
/// time, and the clock difference is large enough to be the cause. `ahead_s` is how far this clock is ahead of EC2's,
/// in seconds.
#[must_use]
pub fn wrong_clock(code: &str, ahead_s: f64) -> Option<String> {
    let complains = matches!(known(code)?.label, Label::NotAuthenticated | Label::Expired);
    let side = if ahead_s > 0.0 { "ahead of" } else { "behind" };
    (complains && ahead_s.abs() > CLOCK_TOLERANCE.as_secs_f64())
        .then(|| format!("this node's clock is {:.0} min {side} EC2's", ahead_s.abs() / 60.0))
}

/// Finds the reason in EC2's text. `text` must be the whole text, because the text that is shown to people may be
/// cut.
#[must_use]
pub fn of(operation: &str, code: &str, text: &str) -> Option<Reason> {
    let text = text.to_ascii_lowercase();
    let says = |part: &str| text.contains(part);
    match known(code).map(|known| known.label) {
        Some(Label::NotAllowed) => of_denial(&text),
        _ if code == "TagPolicyViolation" => Some(Reason::TagPolicy),
        // STS tells both times, so that no date of the answer is needed.
        Some(Label::NotAuthenticated | Label::Expired)
            if says("signature expired") || says("signature not yet current") =>
        {
            Some(Reason::ClockOff)
        }
        Some(Label::NotAuthenticated | Label::Expired) if says("scoped to a valid region") => Some(Reason::OtherRegion),
        Some(Label::NotAuthenticated) if code != "AuthFailure" => Some(Reason::BadCredentials),
        Some(Label::NotAuthenticated)
            if ["permission to access the specified resource", "belong to you", "restricted resource"]
                .iter()
                .any(|part| says(part)) =>
        {
            Some(Reason::NotYours)
        }
        Some(Label::NotAuthenticated) if says("validate the provided access credentials") => {
            Some(Reason::BadCredentials)
        }
        _ => of_value(operation, code, &text),
    }
}

/// `text` is in lower case.
fn of_denial(text: &str) -> Option<Reason> {
    let policies = [
        ("service control policy", Reason::ServiceControlPolicy),
        ("resource control policy", Reason::ResourceControlPolicy),
        ("tag policy", Reason::TagPolicy),
        ("vpc endpoint policy", Reason::EndpointPolicy),
        ("permissions boundary", Reason::PermissionsBoundary),
        ("session policy", Reason::SessionPolicy),
        ("resource-based policy", Reason::ResourcePolicy),
        ("explicit deny", Reason::ExplicitDeny),
        ("encoded authorization failure message", Reason::Encoded),
    ];
    // The names of the resource and of the caller's session come first in the text. People choose these names, so a
    // name could contain the words of a policy. The search starts after them.
    let cause = ["with an explicit deny", "because no "].iter().filter_map(|start| text.find(start)).min();
    let cause = cause.map_or(text, |start| &text[start..]);
    policies.iter().find(|(words, _)| cause.contains(words)).map(|(_, reason)| *reason)
}

/// `text` is in lower case.
fn of_value(operation: &str, code: &str, text: &str) -> Option<Reason> {
    match (operation, code) {
        ("AssignPrivateIpAddresses" | "AssignIpv6Addresses", "InvalidParameterValue")
            if ["subnet", "secondary-addresses", "invalid value for parameter address"]
                .iter()
                .any(|it| text.contains(it)) =>
        {
            Some(Reason::OutsideSubnet)
        }
        ("CreateRoute" | "ReplaceRoute", "InvalidParameterValue")
            if text.contains("more specific than") || text.contains("local route") =>
        {
            Some(Reason::InsideVpc)
        }
        _ => None,
    }
}

impl FailedCall<'_> {
    /// The reason that EC2's text gives beyond the code.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        of(self.operation, self.code?, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENIED: &str = "User: arn:aws:sts::123456789012:assumed-role/no-session-policy/i-0a is not authorized to perform: \
                          ec2:ReplaceRoute on resource: arn:aws:ec2:eu-west-1:123456789012:route-table/rtb-0a";

    #[test]
    fn a_denial_names_the_policy_that_denies() {
        for (cause, reason) in [
            (
                "with an explicit deny in a service control policy: arn:aws:organizations::1:policy/o-a/service_control_policy/p-a",
                Some(Reason::ServiceControlPolicy),
            ),
            (
                "because no service control policy allows the ec2:ReplaceRoute action",
                Some(Reason::ServiceControlPolicy),
            ),
            ("with an explicit deny in a resource control policy", Some(Reason::ResourceControlPolicy)),
            ("because no VPC endpoint policy allows the ec2:ReplaceRoute action", Some(Reason::EndpointPolicy)),
            ("because no permissions boundary allows the ec2:ReplaceRoute action", Some(Reason::PermissionsBoundary)),
            (
                "with an explicit deny in a permissions boundary: arn:aws:iam::123456789012:policy/edge",
                Some(Reason::PermissionsBoundary),
            ),
            ("because no session policy allows the ec2:ReplaceRoute action", Some(Reason::SessionPolicy)),
            ("with an explicit deny in a resource-based policy", Some(Reason::ResourcePolicy)),
            ("with an explicit deny in an identity-based policy", Some(Reason::ExplicitDeny)),
            ("because no identity-based policy allows the ec2:ReplaceRoute action", None),
        ] {
            let text = format!("{DENIED} {cause}");
            assert_eq!(of("ReplaceRoute", "UnauthorizedOperation", &text), reason, "{cause}");
        }
        let encoded = "You are not authorized to perform this operation. Encoded authorization failure message: aBc";
        assert_eq!(of("ReplaceRoute", "UnauthorizedOperation", encoded), Some(Reason::Encoded));
        assert_eq!(of("ReplaceRoute", "UnauthorizedOperation", "You may not."), None);
        assert_eq!(of("CreateTags", "TagPolicyViolation", "The tag policy does not allow it"), Some(Reason::TagPolicy));
    }

    #[test]
    fn one_word_of_ec2_for_four_things_is_told_apart() {
        for (operation, text, reason) in [
            (
                "DescribeAddresses",
                "AWS was not able to validate the provided access credentials",
                Some(Reason::BadCredentials),
            ),
            ("DescribeAddresses", "Credential should be scoped to a valid region.", Some(Reason::OtherRegion)),
            (
                "AssociateAddress",
                "You do not have permission to access the specified resource.",
                Some(Reason::NotYours),
            ),
            ("AssociateAddress", "The address '192.0.2.1' does not belong to you.", Some(Reason::NotYours)),
            ("AssociateAddress", "Unauthorized attempt to access restricted resource", Some(Reason::NotYours)),
            ("AssociateAddress", "Something new.", None),
        ] {
            assert_eq!(of(operation, "AuthFailure", text), reason, "{text}");
        }
        let old =
            "Signature expired: 20261128T100000Z is now earlier than 20261128T101000Z (20261128T101500Z - 5 min.)";
        let early = "Signature not yet current: 20261128T103000Z is still later than 20261128T102000Z";
        for text in [old, early] {
            assert_eq!(of("AssumeRole", "SignatureDoesNotMatch", text), Some(Reason::ClockOff));
        }
        assert_eq!(of("DescribeTags", "InvalidClientTokenId", "The token is invalid."), Some(Reason::BadCredentials));
    }

    #[test]
    fn a_clock_is_to_blame_where_it_is_far_off_and_ec2_complains_of_what_depends_on_it() {
        let behind = Some("this node's clock is 15 min behind EC2's".to_owned());
        assert_eq!(wrong_clock("AuthFailure", -900.0), behind);
        assert_eq!(wrong_clock("RequestExpired", -900.4), behind);
        let ahead = Some("this node's clock is 6 min ahead of EC2's".to_owned());
        assert_eq!(wrong_clock("SignatureDoesNotMatch", 360.0), ahead);
        assert_eq!(wrong_clock("AuthFailure", 290.0), None);
        assert_eq!(wrong_clock("UnauthorizedOperation", -900.0), None);
    }

    #[test]
    fn a_value_that_ec2_does_not_take_is_understood_by_the_operation() {
        let inside =
            "The destination CIDR block 10.0.0.50/32 is equal to or more specific than one of this VPC's CIDR blocks.";
        assert_eq!(of("CreateRoute", "InvalidParameterValue", inside), Some(Reason::InsideVpc));
        assert_eq!(of("CreateRoute", "InvalidParameterValue", "invalid CIDR"), None);
        let terse = of("AssignPrivateIpAddresses", "InvalidParameterValue", "secondary-addresses");
        assert_eq!(terse, Some(Reason::OutsideSubnet));
    }
}
