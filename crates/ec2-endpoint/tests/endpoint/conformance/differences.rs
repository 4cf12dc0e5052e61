//! Where moto 5.2 answers otherwise, and why the embedded endpoint is right.

pub struct Difference {
    pub scenario: &'static str,
    pub step: &'static str,
    pub reason: &'static str,
}

const fn difference(scenario: &'static str, step: &'static str, reason: &'static str) -> Difference {
    Difference { scenario, step, reason }
}

pub const DIFFERENCES: &[Difference] = &[
    difference("elastic ip", "associated", "moto shows the instance only if the address was associated by instance"),
    difference("elastic ip", "moved", "moto shows the instance only if the address was associated by instance"),
    difference("elastic ip", "release", "the API reference's example answer holds `return`; moto leaves it out"),
    difference(
        "elastic ip by default",
        "again",
        "the API reference calls the operation idempotent; moto makes a new association each time",
    ),
    difference(
        "elastic ip by default",
        "move without saying so",
        "the API reference: reassociation is automatic by default; moto has it the other way round",
    ),
    difference(
        "two elastic ips",
        "what became of the first",
        "the API reference: an address that is associated already is disassociated; moto keeps both",
    ),
    difference("elastic ip refusals", "not an address of the interface", "moto ignores PrivateIpAddress"),
    difference(
        "elastic ip refusals",
        "filter by border group",
        "a filter of the API reference that moto does not have; it answers with a page of HTML",
    ),
    difference(
        "elastic ip refusals",
        "unknown filter",
        "EC2 refuses the filter by name; moto answers with a page of HTML",
    ),
    difference("route", "created", "EC2 shows the instance that the target interface is attached to; moto does not"),
    difference(
        "route conflict",
        "create again",
        "EC2 keeps the first route (RouteAlreadyExists); moto overwrites it if the target is an interface",
    ),
    difference("route refusals", "dry run", "moto executes dry runs of route calls"),
    difference(
        "route refusals",
        "inside the vpc",
        "the VPC user guide: a route inside the VPC must be for a whole subnet; moto does not check",
    ),
    difference("route refusals", "no destination", "moto makes a route without a destination"),
    difference("route refusals", "no target", "moto makes a route without a target, or breaks"),
    difference("route refusals", "not a network", "moto keeps any text as a destination"),
    difference("route refusals", "delete the local route", "EC2 keeps the local route; moto deletes it"),
    difference("route refusals", "page too small", "the API reference: MaxResults is 5 to 100; moto ignores it"),
    difference(
        "route with host bits",
        "created",
        "the API reference: 100.68.0.18/18 becomes 100.68.0.0/18; moto keeps the host bits",
    ),
    difference(
        "route filters",
        "by state",
        "a filter of the API reference that moto does not have; it answers with a page of HTML",
    ),
    difference("route filters", "unknown filter", "EC2 refuses the filter by name; moto answers with a page of HTML"),
    difference("interfaces", "two attributes", "the API reference: one attribute at a time; moto takes several"),
    difference(
        "interfaces",
        "ids and pages",
        "the API reference: MaxResults and ids must not both be given; moto does not check",
    ),
    difference("interfaces", "page too small", "the API reference: MaxResults is 5 to 1000; moto ignores it"),
    difference(
        "interfaces",
        "by attachment",
        "a filter of the API reference that moto does not have; it answers with a page of HTML",
    ),
    difference(
        "secondary addresses",
        "what the answer names",
        "the API reference: the answer names the addresses assigned; moto names all that the interface has",
    ),
    difference("secondary addresses", "by secondary address", "moto's filter sees the primary address only"),
    difference(
        "secondary address refusals",
        "taken",
        "without AllowReassignment EC2 refuses a taken address; moto lets two interfaces have it",
    ),
    difference(
        "secondary address refusals",
        "holders after the move",
        "with AllowReassignment the address moves; moto lets two interfaces have it",
    ),
    difference(
        "secondary address refusals",
        "other subnet",
        "the address must be of the interface's subnet; moto does not check",
    ),
    difference(
        "secondary address refusals",
        "reserved",
        "the VPC user guide: the first four addresses of a subnet and the last are reserved; moto does not check",
    ),
    difference("secondary address refusals", "not an address", "moto keeps any text as an address"),
    difference(
        "secondary address refusals",
        "nothing",
        "the API reference wants addresses or a count; moto does not check",
    ),
    difference(
        "secondary address refusals",
        "unassign what is not there",
        "EC2 refuses (\"Some of the specified addresses are not assigned\"); moto does not check",
    ),
    difference(
        "secondary address refusals",
        "unassign the primary",
        "an interface keeps its primary address; moto removes it",
    ),
    difference("ipv6 conflict", "taken", "an IPv6 address cannot be reassigned; moto lets two interfaces have it"),
    difference(
        "tags",
        "type of an elastic ip",
        "the API reference, ResourceType: `elastic-ip`; moto says `vpc-elastic-ip`",
    ),
    difference("tags", "after delete all", "the API reference: without tags, all are deleted; moto deletes none"),
    difference("tag refusals", "unknown address", "moto tags what does not exist"),
    difference("tag refusals", "unknown interface", "moto tags what does not exist"),
    difference(
        "tag refusals",
        "reserved prefix",
        "the API reference: keys must not begin with `aws:`; moto does not check",
    ),
    difference("tag refusals", "no tags", "the API reference: Tag is required; moto does not check"),
    difference("tag refusals", "filter by tag", "moto ignores this filter and shows everything"),
    difference("tag refusals", "unknown filter", "EC2 refuses the filter by name; moto ignores it"),
    difference("tag refusals", "page too small", "the API reference: MaxResults is 5 to 1000; moto ignores it"),
    difference(
        "described only",
        "malformed instance",
        "the API reference has InvalidInstanceID.Malformed for it; moto says it is not found",
    ),
    difference("described only", "subnet", "moto shows the state of the IPv6 range as the text of a Python value"),
    difference("protocol", "unknown action", "the API reference: InvalidAction; moto answers with a page of HTML"),
    difference("protocol", "unknown parameter", "the API reference: UnknownParameter; moto does not check"),
];
