//! Answers in EC2's place or EC2's own, as they were seen or as AWS documents them. Plain data: the tests of the
//! adapter serve them over HTTP, and the tests of the loop begin with the error that the adapter makes of them.

/// One answer to one operation.
#[derive(Debug, Clone, Copy)]
pub struct HttpAnswer {
    pub name: &'static str,
    pub operation: &'static str,
    pub status: u16,
    pub said: Said,
    /// How far this machine's clock is ahead of EC2's, in seconds.
    pub ahead_s: i32,
}

/// The body of an answer.
#[derive(Debug, Clone, Copy)]
pub enum Said {
    /// EC2's code and text.
    Ec2(&'static str, &'static str),
    /// A body that is none of EC2's.
    Strange(&'static str),
}

const fn ec2(
    name: &'static str,
    operation: &'static str,
    status: u16,
    code: &'static str,
    text: &'static str,
) -> HttpAnswer {
    HttpAnswer { name, operation, status, said: Said::Ec2(code, text), ahead_s: 0 }
}

const fn strange(name: &'static str, status: u16, body: &'static str) -> HttpAnswer {
    HttpAnswer { name, operation: "DescribeRouteTables", status, said: Said::Strange(body), ahead_s: 0 }
}

const NOT_VALID: &str = "AWS was not able to validate the provided access credentials";

/// A denial of ReplaceRoute. Each begins with who, what and on which resource, and ends with its cause.
macro_rules! denied {
    ($name:literal, $cause:literal) => {
        ec2(
            $name,
            "ReplaceRoute",
            403,
            "UnauthorizedOperation",
            concat!(
                "User: arn:aws:sts::123456789012:assumed-role/keeper/i-0abc is not authorized to perform: ec2:ReplaceRoute \
                 on resource: arn:aws:ec2:eu-west-1:123456789012:route-table/rtb-67890abcd ",
                $cause
            ),
        )
    };
}

pub const ANSWERS: &[HttpAnswer] = &[
    HttpAnswer { ahead_s: -900, ..ec2("auth-clock", "AssociateAddress", 401, "AuthFailure", NOT_VALID) },
    ec2("auth-region", "AssociateAddress", 401, "AuthFailure", "Credential should be scoped to a valid region."),
    ec2(
        "auth-not-yours",
        "AssociateAddress",
        401,
        "AuthFailure",
        "You do not have permission to access the specified resource.",
    ),
    ec2("auth-credentials", "AssociateAddress", 401, "AuthFailure", NOT_VALID),
    HttpAnswer {
        ahead_s: 1200,
        ..ec2("expired-by-clock", "DescribeRouteTables", 400, "RequestExpired", "Request has expired.")
    },
    ec2("credentials-expired", "DescribeRouteTables", 400, "RequestExpired", "Request has expired."),
    denied!("denied", "because no identity-based policy allows the ec2:ReplaceRoute action"),
    denied!(
        "denied-by-scp",
        "with an explicit deny in a service control policy: \
         arn:aws:organizations::210987654321:policy/o-abcdefghij/service_control_policy/p-klmnopqr"
    ),
    denied!("denied-by-endpoint-policy", "because no VPC endpoint policy allows the ec2:ReplaceRoute action"),
    denied!("denied-by-boundary", "because no permissions boundary allows the ec2:ReplaceRoute action"),
    denied!("denied-by-session-policy", "because no session policy allows the ec2:ReplaceRoute action"),
    denied!("denied-by-rcp", "with an explicit deny in a resource control policy"),
    denied!("denied-by-resource-policy", "with an explicit deny in a resource-based policy"),
    denied!(
        "denied-explicitly",
        "with an explicit deny in an identity-based policy: arn:aws:iam::123456789012:policy/no-routes"
    ),
    ec2(
        "denied-encoded",
        "ReplaceRoute",
        403,
        "UnauthorizedOperation",
        "You are not authorized to perform this operation. Encoded authorization failure message: \
         4wJ1pYc0Zq8sTn2vLm5xKd7rBf9hGa3eWu6iOo1tQy8sPz4nMj2kVc5bXl7wRd9gFh3uEa6oTi1qYs8mNp4zKj2vLc5xBb7",
    ),
    ec2(
        "denied-read",
        "DescribeRouteTables",
        403,
        "UnauthorizedOperation",
        "You are not authorized to perform this operation.",
    ),
    ec2(
        "denied-by-tag-policy",
        "CreateTags",
        400,
        "TagPolicyViolation",
        "The tag policy does not allow the specified value.",
    ),
    ec2(
        "not-opted-in",
        "ReplaceRoute",
        401,
        "OptInRequired",
        "You are not subscribed to this service. Please go to http://aws.amazon.com to subscribe.",
    ),
    ec2("terse-subnet", "AssignPrivateIpAddresses", 400, "InvalidParameterValue", "secondary-addresses"),
    ec2("terse-vpc", "CreateRoute", 400, "InvalidParameterValue", "destination-cidr-block"),
    ec2(
        "eni-full",
        "AssignPrivateIpAddresses",
        400,
        "PrivateIpAddressLimitExceeded",
        "Number of private addresses will exceed limit.",
    ),
    ec2(
        "no-gateway",
        "AssociateAddress",
        400,
        "Gateway.NotAttached",
        "Network vpc-0a1 is not attached to any internet gateway",
    ),
    ec2(
        "nothing-moves",
        "AssociateAddress",
        400,
        "Resource.AlreadyAssociated",
        "resource eipalloc-0a1 is already associated with associate-id eipassoc-0b2",
    ),
    ec2("throttled", "ReplaceRoute", 503, "RequestLimitExceeded", "Request limit exceeded."),
    ec2("unknown-code", "ReplaceRoute", 400, "SomethingNew", "The request cannot be served for a new reason."),
    strange("captive-portal", 200, "<!DOCTYPE html><html><head><title>Airport WiFi</title></head></html>"),
    strange("proxy-refuses", 403, "<html><h1>Access Denied</h1></html>"),
    strange("proxy-wants-password", 407, ""),
    strange("other-service", 404, "{\"message\": \"no such route\"}"),
    strange(
        "cut-off",
        200,
        "<DescribeRouteTablesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><routeTableSet>",
    ),
    strange("load-balancer", 503, "<html><h1>503 Service Temporarily Unavailable</h1></html>"),
];
