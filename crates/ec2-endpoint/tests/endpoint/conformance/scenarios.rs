//! The calls that are compared. Every scenario starts from a fresh world, so that a difference in one leaves the others
//! alone; within a scenario, each step sees what the steps before it did.

pub struct Scenario {
    pub name: &'static str,
    pub steps: &'static [Step],
}

pub struct Step {
    pub name: &'static str,
    /// The form, with names in braces.
    pub form: &'static str,
    /// Elements whose values are compared, besides status and code.
    pub elements: &'static [&'static str],
    /// An element of the answer whose value gets a name.
    pub remember: Option<(&'static str, &'static str)>,
}

const fn step(name: &'static str, form: &'static str) -> Step {
    Step { name, form, elements: &[], remember: None }
}

impl Step {
    const fn with(self, elements: &'static [&'static str]) -> Self {
        Self { elements, ..self }
    }

    const fn remembering(self, element: &'static str, name: &'static str) -> Self {
        Self { remember: Some((element, name)), ..self }
    }
}

const ADDRESS: &str = "Action=DescribeAddresses&AllocationId.1={eip}";
const ADDRESS_ELEMENTS: &[&str] =
    &["allocationId", "associationId", "networkInterfaceId", "privateIpAddress", "publicIp", "domain", "instanceId"];
const TABLE: &str = "Action=DescribeRouteTables&RouteTableId.1={table}";
const TABLE_ELEMENTS: &[&str] = &[
    "destinationCidrBlock",
    "destinationIpv6CidrBlock",
    "networkInterfaceId",
    "gatewayId",
    "state",
    "origin",
    "instanceId",
    "subnetId",
    "main",
    "vpcId",
    "ownerId",
];
const INTERFACES: &str = "Action=DescribeNetworkInterfaces&NetworkInterfaceId.1={eni_a}&NetworkInterfaceId.2={eni_b}";

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "elastic ip",
        steps: &[
            step("free", ADDRESS).with(ADDRESS_ELEMENTS),
            step("associate", "Action=AssociateAddress&AllocationId={eip}&NetworkInterfaceId={eni_a}&AllowReassociation=false")
                .with(&["associationId"])
                .remembering("associationId", "first"),
            step("associated", ADDRESS).with(ADDRESS_ELEMENTS),
            step("taken", "Action=AssociateAddress&AllocationId={eip}&NetworkInterfaceId={eni_b}&AllowReassociation=false"),
            step("move", "Action=AssociateAddress&AllocationId={eip}&NetworkInterfaceId={eni_b}&AllowReassociation=true")
                .with(&["associationId"])
                .remembering("associationId", "second"),
            step("moved", ADDRESS).with(ADDRESS_ELEMENTS),
            step("interfaces after the move", INTERFACES).with(&["publicIp", "status", "sourceDestCheck", "privateIpAddress"]),
            step("release with the old id", "Action=DisassociateAddress&AssociationId={first}"),
            step("release", "Action=DisassociateAddress&AssociationId={second}").with(&["return"]),
            step("release again", "Action=DisassociateAddress&AssociationId={second}"),
            step("released", ADDRESS).with(ADDRESS_ELEMENTS),
        ],
    },
    Scenario {
        name: "elastic ip by default",
        steps: &[
            step("associate", "Action=AssociateAddress&AllocationId={eip}&NetworkInterfaceId={eni_a}")
                .remembering("associationId", "first"),
            step("again", "Action=AssociateAddress&AllocationId={eip}&NetworkInterfaceId={eni_a}").with(&["associationId"]),
            step("move without saying so", "Action=AssociateAddress&AllocationId={eip}&NetworkInterfaceId={eni_b}"),
        ],
    },
    Scenario {
        name: "two elastic ips",
        steps: &[
            step("first", "Action=AssociateAddress&AllocationId={eip}&NetworkInterfaceId={eni_a}&AllowReassociation=true")
                .remembering("associationId", "first"),
            step("second", "Action=AssociateAddress&AllocationId={other_eip}&NetworkInterfaceId={eni_a}&AllowReassociation=true")
                .remembering("associationId", "second"),
            step("what became of the first", ADDRESS).with(ADDRESS_ELEMENTS),
        ],
    },
    Scenario {
        name: "elastic ip refusals",
        steps: &[
            step("no allocation", "Action=AssociateAddress&NetworkInterfaceId={eni_a}"),
            step("no target", "Action=AssociateAddress&AllocationId={eip}"),
            step("two targets", "Action=AssociateAddress&AllocationId={eip}&NetworkInterfaceId={eni_a}&InstanceId={i_a}&DryRun=true"),
            step("unknown allocation", "Action=AssociateAddress&AllocationId=eipalloc-0123456789abcdef0&NetworkInterfaceId={eni_a}"),
            step("unknown interface", "Action=AssociateAddress&AllocationId={eip}&NetworkInterfaceId=eni-0123456789abcdef0"),
            step("unknown instance", "Action=AssociateAddress&AllocationId={eip}&InstanceId=i-0123456789abcdef0"),
            step("dry run", "Action=AssociateAddress&AllocationId={eip}&NetworkInterfaceId={eni_a}&DryRun=true"),
            step("not an address of the interface", "Action=AssociateAddress&AllocationId={eip}&NetworkInterfaceId={eni_a}&PrivateIpAddress=10.0.1.99"),
            step("describe unknown id", "Action=DescribeAddresses&AllocationId.1=eipalloc-0123456789abcdef0"),
            step("describe unknown address", "Action=DescribeAddresses&PublicIp.1=198.51.100.1"),
            step("describe by public ip", "Action=DescribeAddresses&PublicIp.1={public_ip}").with(&["allocationId"]),
            step("filter by public ip", "Action=DescribeAddresses&Filter.1.Name=public-ip&Filter.1.Value.1={public_ip}").with(&["allocationId"]),
            step("filter by border group", "Action=DescribeAddresses&Filter.1.Name=network-border-group&Filter.1.Value.1=us-east-1").with(&["allocationId"]),
            step("unknown filter", "Action=DescribeAddresses&Filter.1.Name=colour&Filter.1.Value.1=blue"),
        ],
    },
    Scenario {
        name: "route",
        steps: &[
            step("table at first", TABLE).with(TABLE_ELEMENTS),
            step("replace what is not there", "Action=ReplaceRoute&RouteTableId={table}&DestinationCidrBlock=20.0.0.50/32&NetworkInterfaceId={eni_a}"),
            step("create", "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=20.0.0.50/32&NetworkInterfaceId={eni_a}").with(&["return"]),
            step("created", TABLE).with(TABLE_ELEMENTS),
            step("replace", "Action=ReplaceRoute&RouteTableId={table}&DestinationCidrBlock=20.0.0.50/32&NetworkInterfaceId={eni_b}"),
            step("replace again", "Action=ReplaceRoute&RouteTableId={table}&DestinationCidrBlock=20.0.0.50/32&NetworkInterfaceId={eni_b}"),
            step("replaced", TABLE).with(&["destinationCidrBlock", "networkInterfaceId", "state", "origin"]),
            step("find by destination", "Action=DescribeRouteTables&Filter.1.Name=route.destination-cidr-block&Filter.1.Value.1=20.0.0.50/32").with(&["destinationCidrBlock", "networkInterfaceId"]),
            step("find main table", "Action=DescribeRouteTables&Filter.1.Name=association.main&Filter.1.Value.1=true&Filter.2.Name=vpc-id&Filter.2.Value.1={vpc}").with(&["destinationCidrBlock", "main"]),
            step("delete", "Action=DeleteRoute&RouteTableId={table}&DestinationCidrBlock=20.0.0.50/32"),
            step("delete again", "Action=DeleteRoute&RouteTableId={table}&DestinationCidrBlock=20.0.0.50/32"),
        ],
    },
    Scenario {
        name: "ipv6 route",
        steps: &[
            step("create", "Action=CreateRoute&RouteTableId={table}&DestinationIpv6CidrBlock=2001:db8::50/128&NetworkInterfaceId={eni_a}"),
            step("replace", "Action=ReplaceRoute&RouteTableId={table}&DestinationIpv6CidrBlock=2001:db8::50/128&NetworkInterfaceId={eni_b}"),
            step("replaced", TABLE).with(&["destinationIpv6CidrBlock", "networkInterfaceId"]),
            step("delete", "Action=DeleteRoute&RouteTableId={table}&DestinationIpv6CidrBlock=2001:db8::50/128"),
        ],
    },
    Scenario {
        name: "route conflict",
        steps: &[
            step("create", "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=20.0.0.50/32&NetworkInterfaceId={eni_a}"),
            step("create again", "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=20.0.0.50/32&NetworkInterfaceId={eni_b}"),
            step("by instance", "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=20.0.0.50/32&InstanceId={i_b}"),
        ],
    },
    Scenario {
        name: "route refusals",
        steps: &[
            step("unknown table", "Action=CreateRoute&RouteTableId=rtb-0123456789abcdef0&DestinationCidrBlock=20.0.0.50/32&NetworkInterfaceId={eni_a}"),
            step("unknown interface", "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=20.0.0.50/32&NetworkInterfaceId=eni-0123456789abcdef0"),
            step("describe unknown table", "Action=DescribeRouteTables&RouteTableId.1=rtb-0123456789abcdef0"),
            step("delete in unknown table", "Action=DeleteRoute&RouteTableId=rtb-0123456789abcdef0&DestinationCidrBlock=20.0.0.50/32"),
            step("dry run", "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=20.0.0.51/32&NetworkInterfaceId={eni_a}&DryRun=true"),
            step("inside the vpc", "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=10.0.1.50/32&NetworkInterfaceId={eni_a}"),
            step("no destination", "Action=CreateRoute&RouteTableId={table}&NetworkInterfaceId={eni_a}"),
            step("no target", "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=20.0.0.52/32"),
            step("not a network", "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=junk&NetworkInterfaceId={eni_a}"),
            step("delete the local route", "Action=DeleteRoute&RouteTableId={table}&DestinationCidrBlock=10.0.0.0/16"),
            step("page too small", "Action=DescribeRouteTables&MaxResults=1"),
        ],
    },
    Scenario {
        name: "route with host bits",
        steps: &[
            step("create", "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=100.68.0.18/18&NetworkInterfaceId={eni_a}"),
            step("created", TABLE).with(&["destinationCidrBlock"]),
        ],
    },
    Scenario {
        name: "route filters",
        steps: &[
            step("by state", "Action=DescribeRouteTables&Filter.1.Name=route.state&Filter.1.Value.1=blackhole").with(&["routeTableId"]),
            step("unknown filter", "Action=DescribeRouteTables&Filter.1.Name=colour&Filter.1.Value.1=blue"),
        ],
    },
    Scenario {
        name: "interfaces",
        steps: &[
            step("describe", INTERFACES).with(&[
                "networkInterfaceId", "subnetId", "vpcId", "ownerId", "status", "privateIpAddress", "sourceDestCheck", "primary",
                "availabilityZone", "interfaceType", "groupName", "deviceIndex", "instanceId", "publicIp",
            ]),
            step("check off", "Action=ModifyNetworkInterfaceAttribute&NetworkInterfaceId={eni_a}&SourceDestCheck.Value=false"),
            step("check off again", "Action=ModifyNetworkInterfaceAttribute&NetworkInterfaceId={eni_a}&SourceDestCheck.Value=false"),
            step("checks", INTERFACES).with(&["sourceDestCheck"]),
            step("dry run", "Action=ModifyNetworkInterfaceAttribute&NetworkInterfaceId={eni_a}&SourceDestCheck.Value=true&DryRun=true"),
            step("unknown", "Action=ModifyNetworkInterfaceAttribute&NetworkInterfaceId=eni-0123456789abcdef0&SourceDestCheck.Value=false"),
            step("two attributes", "Action=ModifyNetworkInterfaceAttribute&NetworkInterfaceId={eni_a}&SourceDestCheck.Value=false&Description.Value=x"),
            step("describe unknown", "Action=DescribeNetworkInterfaces&NetworkInterfaceId.1=eni-0123456789abcdef0"),
            step("ids and pages", "Action=DescribeNetworkInterfaces&NetworkInterfaceId.1={eni_a}&MaxResults=5"),
            step("page too small", "Action=DescribeNetworkInterfaces&MaxResults=1"),
            step("by instance", "Action=DescribeNetworkInterfaces&Filter.1.Name=attachment.instance-id&Filter.1.Value.1={i_b}").with(&["networkInterfaceId"]),
            step("by one of two subnets", "Action=DescribeNetworkInterfaces&Filter.1.Name=subnet-id&Filter.1.Value.1={subnet}&Filter.1.Value.2=subnet-0123456789abcdef0").with(&["networkInterfaceId"]),
            step("by subnet and address", "Action=DescribeNetworkInterfaces&Filter.1.Name=subnet-id&Filter.1.Value.1={subnet}&Filter.2.Name=private-ip-address&Filter.2.Value.1=10.0.1.12&Filter.2.Value.2=10.0.1.13").with(&["networkInterfaceId"]),
            step("by attachment", "Action=DescribeNetworkInterfaces&Filter.1.Name=attachment.status&Filter.1.Value.1=attached&Filter.2.Name=subnet-id&Filter.2.Value.1={subnet}").with(&["networkInterfaceId"]),
        ],
    },
    Scenario {
        name: "secondary addresses",
        steps: &[
            step("assign", "Action=AssignPrivateIpAddresses&NetworkInterfaceId={eni_a}&PrivateIpAddress.1=10.0.1.50").with(&["networkInterfaceId"]),
            step("assigned", INTERFACES).with(&["privateIpAddress", "primary"]),
            step("what the answer names", "Action=AssignPrivateIpAddresses&NetworkInterfaceId={eni_a}&PrivateIpAddress.1=10.0.1.51").with(&["privateIpAddress"]),
            step("by secondary address", "Action=DescribeNetworkInterfaces&Filter.1.Name=addresses.private-ip-address&Filter.1.Value.1=10.0.1.50").with(&["networkInterfaceId"]),
            step("unassign", "Action=UnassignPrivateIpAddresses&NetworkInterfaceId={eni_a}&PrivateIpAddress.1=10.0.1.50"),
            step("unknown interface", "Action=AssignPrivateIpAddresses&NetworkInterfaceId=eni-0123456789abcdef0&PrivateIpAddress.1=10.0.1.50"),
        ],
    },
    Scenario {
        name: "secondary address refusals",
        steps: &[
            step("assign", "Action=AssignPrivateIpAddresses&NetworkInterfaceId={eni_a}&PrivateIpAddress.1=10.0.1.50"),
            step("taken", "Action=AssignPrivateIpAddresses&NetworkInterfaceId={eni_b}&PrivateIpAddress.1=10.0.1.50"),
            step("moved", "Action=AssignPrivateIpAddresses&NetworkInterfaceId={eni_b}&PrivateIpAddress.1=10.0.1.50&AllowReassignment=true"),
            step("holders after the move", INTERFACES).with(&["privateIpAddress"]),
            step("other subnet", "Action=AssignPrivateIpAddresses&NetworkInterfaceId={eni_a}&PrivateIpAddress.1=10.0.9.50"),
            step("reserved", "Action=AssignPrivateIpAddresses&NetworkInterfaceId={eni_a}&PrivateIpAddress.1=10.0.1.1"),
            step("not an address", "Action=AssignPrivateIpAddresses&NetworkInterfaceId={eni_a}&PrivateIpAddress.1=junk"),
            step("nothing", "Action=AssignPrivateIpAddresses&NetworkInterfaceId={eni_a}"),
            step("unassign what is not there", "Action=UnassignPrivateIpAddresses&NetworkInterfaceId={eni_a}&PrivateIpAddress.1=10.0.1.77"),
            step("unassign the primary", "Action=UnassignPrivateIpAddresses&NetworkInterfaceId={eni_a}&PrivateIpAddress.1=10.0.1.11"),
        ],
    },
    Scenario {
        name: "ipv6 addresses",
        steps: &[
            step("assign", "Action=AssignIpv6Addresses&NetworkInterfaceId={eni_a}&Ipv6Addresses.1={ipv6}::50").with(&["networkInterfaceId"]),
            step("assigned", INTERFACES).with(&["ipv6Address"]),
            step("unassign", "Action=UnassignIpv6Addresses&NetworkInterfaceId={eni_a}&Ipv6Addresses.1={ipv6}::50").with(&["networkInterfaceId"]),
            step("unassigned", INTERFACES).with(&["ipv6Address"]),
        ],
    },
    Scenario {
        name: "ipv6 conflict",
        steps: &[
            step("assign", "Action=AssignIpv6Addresses&NetworkInterfaceId={eni_a}&Ipv6Addresses.1={ipv6}::50"),
            step("taken", "Action=AssignIpv6Addresses&NetworkInterfaceId={eni_b}&Ipv6Addresses.1={ipv6}::50"),
        ],
    },
    Scenario {
        name: "tags",
        steps: &[
            step("create", "Action=CreateTags&ResourceId.1={eip}&ResourceId.2={table}&Tag.1.Key=owner&Tag.1.Value=a&Tag.2.Key=other&Tag.2.Value=b"),
            step("overwrite", "Action=CreateTags&ResourceId.1={eip}&Tag.1.Key=owner&Tag.1.Value=c"),
            step("on the address", ADDRESS).with(&["key", "value"]),
            step("on the table", TABLE).with(&["key", "value"]),
            step("described", "Action=DescribeTags&Filter.1.Name=resource-id&Filter.1.Value.1={table}").with(&["key", "value", "resourceId", "resourceType"]),
            step("type of an elastic ip", "Action=DescribeTags&Filter.1.Name=resource-id&Filter.1.Value.1={eip}").with(&["resourceType"]),
            step("by key", "Action=DescribeTags&Filter.1.Name=key&Filter.1.Value.1=owner").with(&["value", "resourceId"]),
            step("find by tag", "Action=DescribeAddresses&Filter.1.Name=tag:owner&Filter.1.Value.1=c").with(&["allocationId"]),
            step("find by tag key", "Action=DescribeRouteTables&Filter.1.Name=tag-key&Filter.1.Value.1=oth*").with(&["routeTableId"]),
            step("delete another value", "Action=DeleteTags&ResourceId.1={eip}&Tag.1.Key=owner&Tag.1.Value=a"),
            step("still there", ADDRESS).with(&["key", "value"]),
            step("delete this value", "Action=DeleteTags&ResourceId.1={eip}&Tag.1.Key=owner&Tag.1.Value=c"),
            step("delete again", "Action=DeleteTags&ResourceId.1={eip}&Tag.1.Key=owner&Tag.1.Value=c"),
            step("delete whatever value", "Action=DeleteTags&ResourceId.1={eip}&Tag.1.Key=other"),
            step("all gone", ADDRESS).with(&["key", "value"]),
            step("delete all", "Action=DeleteTags&ResourceId.1={table}"),
            step("after delete all", TABLE).with(&["key", "value"]),
        ],
    },
    Scenario {
        name: "tag refusals",
        steps: &[
            step("bad id", "Action=CreateTags&ResourceId.1=junk&Tag.1.Key=k&Tag.1.Value=v"),
            step("unknown address", "Action=CreateTags&ResourceId.1=eipalloc-0123456789abcdef0&Tag.1.Key=k&Tag.1.Value=v"),
            step("unknown interface", "Action=CreateTags&ResourceId.1=eni-0123456789abcdef0&Tag.1.Key=k&Tag.1.Value=v"),
            step("reserved prefix", "Action=CreateTags&ResourceId.1={eip}&Tag.1.Key=aws:k&Tag.1.Value=v"),
            step("no tags", "Action=CreateTags&ResourceId.1={eip}"),
            step("dry run", "Action=CreateTags&ResourceId.1={eip}&Tag.1.Key=k&Tag.1.Value=v&DryRun=true"),
            step("filter by tag", "Action=DescribeTags&Filter.1.Name=tag:nobody&Filter.1.Value.1=x").with(&["resourceId"]),
            step("unknown filter", "Action=DescribeTags&Filter.1.Name=colour&Filter.1.Value.1=blue"),
            step("page too small", "Action=DescribeTags&MaxResults=1"),
        ],
    },
    Scenario {
        name: "described only",
        steps: &[
            step("instances", "Action=DescribeInstances&InstanceId.1={i_a}").with(&["instanceId", "networkInterfaceId", "subnetId", "vpcId", "privateIpAddress", "sourceDestCheck"]),
            step("unknown instance", "Action=DescribeInstances&InstanceId.1=i-0123456789abcdef0"),
            step("malformed instance", "Action=DescribeInstances&InstanceId.1=i-x"),
            step("ids and pages", "Action=DescribeInstances&InstanceId.1={i_a}&MaxResults=5"),
            step("by state", "Action=DescribeInstances&Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}&Filter.2.Name=instance-state-name&Filter.2.Value.1=stopped").with(&["instanceId"]),
            step("subnet", "Action=DescribeSubnets&SubnetId.1={subnet}").with(&["subnetId", "vpcId", "cidrBlock", "state", "availabilityZone", "availableIpAddressCount", "mapPublicIpOnLaunch"]),
            step("unknown subnet", "Action=DescribeSubnets&SubnetId.1=subnet-0123456789abcdef0"),
            step("vpc", "Action=DescribeVpcs&VpcId.1={vpc}").with(&["vpcId", "cidrBlock", "isDefault", "instanceTenancy", "ownerId"]),
            step("unknown vpc", "Action=DescribeVpcs&VpcId.1=vpc-0123456789abcdef0"),
            step("security group", "Action=DescribeSecurityGroups&Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}&Filter.2.Name=group-name&Filter.2.Value.1=default").with(&["groupName", "vpcId", "cidrIp", "ipProtocol", "ownerId"]),
            step("unknown security group", "Action=DescribeSecurityGroups&GroupId.1=sg-0123456789abcdef0"),
        ],
    },
    Scenario {
        name: "protocol",
        steps: &[
            step("unknown action", "Action=LaunchRocket"),
            step("unknown parameter", "Action=DescribeVpcs&Colour=blue"),
        ],
    },
];
