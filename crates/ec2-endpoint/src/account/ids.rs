//! Resource ids: their shape, and what EC2 says about one that is malformed or unknown.
//! Codes after the EC2 API reference, "Error codes"; the spelling does vary from resource to resource.

use crate::ApiError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Vpc,
    Subnet,
    SecurityGroup,
    Instance,
    NetworkInterface,
    ElasticIp,
    RouteTable,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Vpc,
        Self::Subnet,
        Self::SecurityGroup,
        Self::Instance,
        Self::NetworkInterface,
        Self::ElasticIp,
        Self::RouteTable,
    ];

    pub fn prefix(self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::Subnet => "subnet",
            Self::SecurityGroup => "sg",
            Self::Instance => "i",
            Self::NetworkInterface => "eni",
            Self::ElasticIp => "eipalloc",
            Self::RouteTable => "rtb",
        }
    }

    /// EC2 API reference: ResourceType, as DescribeTags shows it.
    pub fn resource_type(self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::Subnet => "subnet",
            Self::SecurityGroup => "security-group",
            Self::Instance => "instance",
            Self::NetworkInterface => "network-interface",
            Self::ElasticIp => "elastic-ip",
            Self::RouteTable => "route-table",
        }
    }

    /// The kind that an id claims to be of, if its shape is right.
    pub fn of(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.is_well_formed(id))
    }

    /// Prefix and 8 or 17 hexadecimal digits.
    fn is_well_formed(self, id: &str) -> bool {
        id.strip_prefix(self.prefix()).and_then(|rest| rest.strip_prefix('-')).is_some_and(|digits| {
            matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    }

    /// Refuses an id of the wrong shape, where EC2 has a code for that: an allocation id has none and is just unknown.
    pub fn check(self, id: &str) -> Result<(), ApiError> {
        let code = match self {
            Self::Vpc => "InvalidVpcID.Malformed",
            Self::Subnet => "InvalidSubnetID.Malformed",
            Self::SecurityGroup => "InvalidGroupId.Malformed",
            Self::Instance => "InvalidInstanceID.Malformed",
            Self::NetworkInterface => "InvalidNetworkInterfaceId.Malformed",
            Self::RouteTable => "InvalidRouteTableId.Malformed",
            Self::ElasticIp => return Ok(()),
        };
        if self.is_well_formed(id) {
            return Ok(());
        }
        Err(ApiError::client(code, format!("Invalid id: \"{id}\" (expecting \"{}-...\")", self.prefix())))
    }

    pub fn not_found(self, id: &str) -> ApiError {
        let (code, noun) = match self {
            Self::Vpc => ("InvalidVpcID.NotFound", "vpc ID"),
            Self::Subnet => ("InvalidSubnetID.NotFound", "subnet ID"),
            Self::SecurityGroup => ("InvalidGroup.NotFound", "security group"),
            Self::Instance => ("InvalidInstanceID.NotFound", "instance ID"),
            Self::NetworkInterface => ("InvalidNetworkInterfaceID.NotFound", "networkInterface ID"),
            Self::ElasticIp => ("InvalidAllocationID.NotFound", "allocation ID"),
            Self::RouteTable => ("InvalidRouteTableID.NotFound", "routeTable ID"),
        };
        ApiError::client(code, format!("The {noun} '{id}' does not exist"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_follows_from_prefix_and_digits() {
        assert_eq!(Kind::of("rtb-0123456789abcdef0"), Some(Kind::RouteTable));
        assert_eq!(Kind::of("i-0a1b2c3d"), Some(Kind::Instance));
        for malformed in ["rtb-1", "rtb-0123456789ABCDEF0", "rtb0123456789abcdef0", "igw-0a1b2c3d", "eni-é1b2c3d"] {
            assert_eq!(Kind::of(malformed), None, "{malformed}");
        }
    }
}
