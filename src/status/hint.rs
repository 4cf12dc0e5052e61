//! What an operator can do about an error, by EC2's code or by its class.

/// What to do, in one sentence. `class` and `message` as in [`super::ErrorStatus`];
/// the class is empty where only the message is known.
pub fn hint(class: &str, message: &str) -> String {
    if let Some((_, advice)) = BY_TEXT.iter().find(|(text, _)| says(message, text)) {
        return (*advice).to_owned();
    }
    let is_denied = ["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"];
    if is_denied.iter().any(|code| says(message, code)) {
        if says(message, "cannot assume the role") {
            return NOT_ASSUMED.to_owned();
        }
        let what = operation(message).map_or("this call".to_owned(), |operation| format!("ec2:{operation}"));
        return format!("allow {what} to this node's role; the README has the least policy for each method");
    }
    match class {
        "transient" => {
            "it is tried again by itself; if it lasts, see whether EC2 can be reached from here (NAT, VPC endpoint, \
             security group, proxy): 'vipkeeper plan' asks it once"
        }
        "throttled" => RATE_LIMIT,
        "stale" => "somebody else changed it meanwhile; it is looked at again by itself",
        "denied" => "see whose credentials are used and what they may do: 'aws sts get-caller-identity'",
        _ => "the message says what in the config or in the account stands in the way",
    }
    .to_owned()
}

const RATE_LIMIT: &str = "EC2's rate limit for the whole account and region: it is tried again by itself; \
     look for other programs that call EC2 too often";
const CREDENTIALS: &str = "these credentials are not accepted, or the resource is another account's; \
     'aws sts get-caller-identity' shows whose they are";
const NOT_ASSUMED: &str =
    "allow sts:AssumeRole on that role to this node's own role, and name this node's role in that role's trust policy";
const NOT_READ: &str =
    "nothing yet: it is read in a moment; if it lasts, the table of sources tells what cannot be read";
const EXPIRED: &str = "check this machine's clock, and that its instance role gives fresh credentials";

/// Words of a message, EC2's codes above all, and the advice. The first that fits wins.
const BY_TEXT: [(&str, &str); 27] = [
    ("RequestLimitExceeded", RATE_LIMIT),
    ("Throttling", RATE_LIMIT),
    ("ThrottlingException", RATE_LIMIT),
    ("RequestExpired", EXPIRED),
    ("ExpiredToken", EXPIRED),
    ("ExpiredTokenException", EXPIRED),
    ("AuthFailure", CREDENTIALS),
    ("InvalidClientTokenId", CREDENTIALS),
    ("SignatureDoesNotMatch", CREDENTIALS),
    ("MissingAuthenticationToken", CREDENTIALS),
    ("InvalidAllocationID.NotFound", "no such Elastic IP in this account and region: correct it in the config"),
    ("InvalidAddress.NotFound", "no such Elastic IP in this account and region: correct it in the config"),
    ("InvalidRouteTableID.NotFound", "no such route table: correct or remove it in the config's route tables"),
    ("InvalidRouteTableId.NotFound", "no such route table: correct or remove it in the config's route tables"),
    (
        "InvalidNetworkInterfaceID.NotFound",
        "this node's ENI is gone or was replaced: name the interface in the config, or see [identity] there",
    ),
    (
        "InvalidNetworkInterface.NotFound",
        "this node's ENI is gone or was replaced: name the interface in the config, or see [identity] there",
    ),
    ("RouteLimitExceeded", "the route table is full: remove a route, or raise the quota 'Routes per route table'"),
    ("PrivateIpAddressLimitExceeded", "the ENI has no free slot: remove an address, or take a larger instance type"),
    ("TagLimitExceeded", "the anchor has 50 tags: remove some, those of instances that are gone first"),
    ("InsufficientFreeAddressesInSubnet", "the subnet has no free address: remove an unused one"),
    ("Gateway.NotAttached", "an Elastic IP needs an internet gateway, and this VPC has none attached"),
    ("ConcurrentMutationLimitExceeded", "too many changes at once; it is tried again by itself"),
    ("CAP_NET_ADMIN", "give the service CAP_NET_ADMIN (AmbientCapabilities= in its unit)"),
    ("no interface", "compare the interface in the config with 'ip link'"),
    (
        "list the local addresses",
        "it is this machine's kernel that was asked: 'ip address', and 'systemctl restart vipkeeper', which moves nothing",
    ),
    ("not read yet", NOT_READ),
    ("not known yet", NOT_READ),
];

/// Whether the message has these words, and not only as a part of others.
fn says(message: &str, words: &str) -> bool {
    let joins = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    message.match_indices(words).any(|(at, _)| {
        let before = message[..at].chars().next_back();
        // A full stop that ends a sentence does not lengthen the word before it.
        let after = message[at + words.len()..].split(|c| !joins(c)).next().unwrap_or_default();
        !before.is_some_and(joins) && matches!(after, "" | ".")
    })
}

/// EC2's operation: an EC2 error's message begins with it and goes on with the code.
fn operation(message: &str) -> Option<&str> {
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_uppercase()) && part.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let mut parts = message.split(": ");
    let name = parts.find(|part| is_name(part))?;
    parts.next().is_some_and(is_name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_is_named() {
        assert_eq!(
            hint("denied", "ReplaceRoute: UnauthorizedOperation: You are not authorized (request 1-2)"),
            "allow ec2:ReplaceRoute to this node's role; the README has the least policy for each method"
        );
        assert_eq!(
            hint("", "the read failed: DescribeRouteTables: UnauthorizedOperation: You are not authorized"),
            "allow ec2:DescribeRouteTables to this node's role; the README has the least policy for each method"
        );
        assert_eq!(
            hint("denied", "AccessDenied: no more is known"),
            "allow this call to this node's role; the README has the least policy for each method"
        );
    }

    #[test]
    fn what_could_not_be_read_or_was_not_yet_is_no_fault_of_the_config() {
        let refused =
            "the read failed: DescribeAddresses: no connection to ec2.example: Connection refused (os error 111)";
        assert!(
            hint("transient", refused).contains("see whether EC2 can be reached"),
            "{}",
            hint("transient", refused)
        );
        let silent = "the read failed: list the local addresses: the kernel has not answered within 1s";
        assert!(hint("transient", silent).contains("this machine's kernel"));
        for early in ["not read yet", "the ENI's VPC is not known yet", "who holds 10.0.1.50 was not read yet"] {
            assert_eq!(hint("", early), NOT_READ);
        }
    }

    #[test]
    fn a_role_that_may_not_be_assumed_needs_both_policies() {
        let refused = "DescribeRouteTables: cannot assume the role arn:aws:iam::2:role/r: AccessDenied: User: x is not \
                       authorized to perform: sts:AssumeRole on resource: arn:aws:iam::2:role/r";
        assert_eq!(hint("denied", refused), NOT_ASSUMED);
    }

    #[test]
    fn a_code_is_matched_whole() {
        assert!(says("CreateRoute: RouteLimitExceeded: full", "RouteLimitExceeded"));
        assert!(says("it says RouteLimitExceeded.", "RouteLimitExceeded"));
        assert!(!says("CreateRoute: MyRouteLimitExceeded", "RouteLimitExceeded"));
        assert!(!says("AuthFailure.ServiceLinkedRoleCreationNotPermitted", "AuthFailure"));
        assert!(hint("rejected", "CreateRoute: RouteLimitExceeded: full").starts_with("the route table is full"));
    }

    #[test]
    fn every_class_has_advice() {
        let all: std::collections::BTreeSet<_> =
            crate::ec2::Class::ALL.into_iter().map(|class| hint(class.name(), "it broke")).collect();
        assert_eq!(all.len(), crate::ec2::Class::ALL.len(), "{all:?}");
    }
}
