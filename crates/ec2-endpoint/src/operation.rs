//! The calls, as data. Field names are the API's parameter names in snake case; what a value means is checked by the
//! account, not here.

/// One call to the EC2 or STS API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    AssociateAddress(AssociateAddress),
    DisassociateAddress(DisassociateAddress),
    DescribeAddresses(DescribeAddresses),
    CreateRoute(RouteChange),
    ReplaceRoute(RouteChange),
    DeleteRoute(DeleteRoute),
    DescribeRouteTables(Describe),
    DescribeNetworkInterfaces(Describe),
    ModifyNetworkInterfaceAttribute(ModifyNetworkInterfaceAttribute),
    AssignPrivateIpAddresses(AssignPrivateIpAddresses),
    UnassignPrivateIpAddresses(UnassignPrivateIpAddresses),
    AssignIpv6Addresses(AssignIpv6Addresses),
    UnassignIpv6Addresses(UnassignIpv6Addresses),
    CreateTags(TagChange),
    DeleteTags(TagChange),
    DescribeTags(Describe),
    DescribeInstances(Describe),
    DescribeSubnets(Describe),
    DescribeVpcs(Describe),
    DescribeSecurityGroups(Describe),
    /// The ids are names of types.
    DescribeInstanceTypes(Describe),
    AssumeRole(AssumeRole),
    GetCallerIdentity,
}

impl Operation {
    /// The API's name of the action.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AssociateAddress(_) => "AssociateAddress",
            Self::DisassociateAddress(_) => "DisassociateAddress",
            Self::DescribeAddresses(_) => "DescribeAddresses",
            Self::CreateRoute(_) => "CreateRoute",
            Self::ReplaceRoute(_) => "ReplaceRoute",
            Self::DeleteRoute(_) => "DeleteRoute",
            Self::DescribeRouteTables(_) => "DescribeRouteTables",
            Self::DescribeNetworkInterfaces(_) => "DescribeNetworkInterfaces",
            Self::ModifyNetworkInterfaceAttribute(_) => "ModifyNetworkInterfaceAttribute",
            Self::AssignPrivateIpAddresses(_) => "AssignPrivateIpAddresses",
            Self::UnassignPrivateIpAddresses(_) => "UnassignPrivateIpAddresses",
            Self::AssignIpv6Addresses(_) => "AssignIpv6Addresses",
            Self::UnassignIpv6Addresses(_) => "UnassignIpv6Addresses",
            Self::CreateTags(_) => "CreateTags",
            Self::DeleteTags(_) => "DeleteTags",
            Self::DescribeTags(_) => "DescribeTags",
            Self::DescribeInstances(_) => "DescribeInstances",
            Self::DescribeSubnets(_) => "DescribeSubnets",
            Self::DescribeVpcs(_) => "DescribeVpcs",
            Self::DescribeSecurityGroups(_) => "DescribeSecurityGroups",
            Self::DescribeInstanceTypes(_) => "DescribeInstanceTypes",
            Self::AssumeRole(_) => "AssumeRole",
            Self::GetCallerIdentity => "GetCallerIdentity",
        }
    }

    /// Whether the call can change the account.
    pub fn is_write(&self) -> bool {
        !(self.name().starts_with("Describe") || self.is_sts())
    }

    /// Whether the call belongs to STS, which has its own answer format and no part in EC2's throttling.
    pub fn is_sts(&self) -> bool {
        matches!(self, Self::AssumeRole(_) | Self::GetCallerIdentity)
    }

    /// Whether this is a dry run: a question about permission, answered by an error in either case.
    pub fn is_dry_run(&self) -> bool {
        match self {
            Self::AssociateAddress(call) => call.dry_run,
            Self::DisassociateAddress(call) => call.dry_run,
            Self::DescribeAddresses(call) => call.describe.dry_run,
            Self::CreateRoute(call) | Self::ReplaceRoute(call) => call.dry_run,
            Self::DeleteRoute(call) => call.dry_run,
            Self::ModifyNetworkInterfaceAttribute(call) => call.dry_run,
            Self::CreateTags(call) | Self::DeleteTags(call) => call.dry_run,
            Self::DescribeRouteTables(call)
            | Self::DescribeNetworkInterfaces(call)
            | Self::DescribeTags(call)
            | Self::DescribeInstances(call)
            | Self::DescribeSubnets(call)
            | Self::DescribeVpcs(call)
            | Self::DescribeSecurityGroups(call)
            | Self::DescribeInstanceTypes(call) => call.dry_run,
            Self::AssignPrivateIpAddresses(_)
            | Self::UnassignPrivateIpAddresses(_)
            | Self::AssignIpv6Addresses(_)
            | Self::UnassignIpv6Addresses(_)
            | Self::AssumeRole(_)
            | Self::GetCallerIdentity => false,
        }
    }
}

/// Points an Elastic IP at an interface's private address. EC2 API reference: AssociateAddress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssociateAddress {
    pub allocation_id: Option<String>,
    pub public_ip: Option<String>,
    /// Only for an instance with exactly one interface.
    pub instance_id: Option<String>,
    pub network_interface_id: Option<String>,
    /// The interface's primary address if absent.
    pub private_ip_address: Option<String>,
    /// Absent means yes.
    pub allow_reassociation: Option<bool>,
    pub dry_run: bool,
}

/// EC2 API reference: DisassociateAddress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DisassociateAddress {
    pub association_id: Option<String>,
    pub public_ip: Option<String>,
    pub dry_run: bool,
}

/// EC2 API reference: DescribeAddresses, the one describe here that has no pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribeAddresses {
    pub public_ips: Vec<String>,
    pub describe: Describe,
}

/// The arguments of CreateRoute and ReplaceRoute: one destination, one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteChange {
    pub route_table_id: String,
    pub destination_cidr_block: Option<String>,
    pub destination_ipv6_cidr_block: Option<String>,
    pub gateway_id: Option<String>,
    /// Only for an instance with exactly one interface.
    pub instance_id: Option<String>,
    pub network_interface_id: Option<String>,
    /// ReplaceRoute only: makes the VPC's own route local again.
    pub local_target: bool,
    pub dry_run: bool,
}

/// EC2 API reference: DeleteRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRoute {
    pub route_table_id: String,
    pub destination_cidr_block: Option<String>,
    pub destination_ipv6_cidr_block: Option<String>,
    pub dry_run: bool,
}

/// EC2 API reference: ModifyNetworkInterfaceAttribute; exactly one attribute per call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModifyNetworkInterfaceAttribute {
    pub network_interface_id: String,
    pub source_dest_check: Option<bool>,
    pub description: Option<String>,
    pub groups: Vec<String>,
    pub dry_run: bool,
}

/// EC2 API reference: AssignPrivateIpAddresses; either addresses or a count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssignPrivateIpAddresses {
    pub network_interface_id: String,
    pub private_ip_addresses: Vec<String>,
    pub secondary_private_ip_address_count: Option<i32>,
    pub allow_reassignment: bool,
}

/// EC2 API reference: UnassignPrivateIpAddresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnassignPrivateIpAddresses {
    pub network_interface_id: String,
    pub private_ip_addresses: Vec<String>,
}

/// EC2 API reference: AssignIpv6Addresses; either addresses or a count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssignIpv6Addresses {
    pub network_interface_id: String,
    pub ipv6_addresses: Vec<String>,
    pub ipv6_address_count: Option<i32>,
}

/// EC2 API reference: UnassignIpv6Addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnassignIpv6Addresses {
    pub network_interface_id: String,
    pub ipv6_addresses: Vec<String>,
}

/// The arguments of CreateTags and DeleteTags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagChange {
    pub resources: Vec<String>,
    pub tags: Vec<TagSpec>,
    pub dry_run: bool,
}

/// A tag in a request. For DeleteTags, no value means "whatever the value is".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagSpec {
    pub key: String,
    pub value: Option<String>,
}

/// The arguments that all describe calls have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Describe {
    /// The resources asked for by id; empty for all.
    pub ids: Vec<String>,
    /// All of them must match.
    pub filters: Vec<Filter>,
    pub max_results: Option<i32>,
    pub next_token: Option<String>,
    pub dry_run: bool,
}

impl Describe {
    /// Asks for these resources.
    pub fn ids(ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { ids: ids.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Adds a filter.
    #[must_use]
    pub fn filter(mut self, name: &str, values: &[&str]) -> Self {
        self.filters.push(Filter { name: name.into(), values: values.iter().map(ToString::to_string).collect() });
        self
    }
}

/// One filter: any of the values must match. `*` and `?` are wildcards; a backslash takes their meaning away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub name: String,
    pub values: Vec<String>,
}

/// STS API reference: AssumeRole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssumeRole {
    pub role_arn: String,
    pub role_session_name: String,
    /// 900 to 43,200 seconds; 3,600 if absent.
    pub duration_seconds: Option<i32>,
    /// The secret that the role's owner may ask for. It is not checked here.
    pub external_id: Option<String>,
}
