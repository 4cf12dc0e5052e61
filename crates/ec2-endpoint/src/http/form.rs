//! The query protocol's way in: a form becomes an [`Operation`]. Parameter names after the EC2 API reference.
//! A parameter that EC2 has and this endpoint does not (another kind of route target, address prefixes) is refused as unknown
//! rather than overlooked.

use std::{collections::BTreeMap, str::FromStr};

use crate::{
    ApiError, AssignIpv6Addresses, AssignPrivateIpAddresses, AssociateAddress, AssumeRole, DeleteRoute, Describe,
    DescribeAddresses, DisassociateAddress, Filter, ModifyNetworkInterfaceAttribute, Operation, RouteChange, TagChange,
    TagSpec, UnassignIpv6Addresses, UnassignPrivateIpAddresses,
};

/// The parameters of a request; each is taken out once, and what is left over is unknown.
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// Parses `application/x-www-form-urlencoded`.
    pub fn parse(body: &str) -> Self {
        let pairs = body.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(name), percent_decode(value))
        });
        Self(pairs.collect())
    }

    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// The operation that the form asks for.
    ///
    /// # Errors
    /// An unknown action or parameter, a required one that is missing, or a value of the wrong type.
    pub fn into_operation(mut self, action: &str) -> Result<Operation, ApiError> {
        let operation = self.read(action)?;
        // Both are for gateways in between, and mean nothing to the operation.
        for ignored in ["Version", "Action"] {
            self.take(ignored);
        }
        self.0.retain(|name, _| !name.starts_with("X-Amz-"));
        match self.0.keys().next() {
            Some(name) => {
                let message = format!("The parameter {name} is not recognized");
                Err(ApiError::client("UnknownParameter", message))
            }
            None => Ok(operation),
        }
    }

    fn read(&mut self, action: &str) -> Result<Operation, ApiError> {
        Ok(match action {
            "AssociateAddress" => Operation::AssociateAddress(AssociateAddress {
                allocation_id: self.take("AllocationId"),
                public_ip: self.take("PublicIp"),
                instance_id: self.take("InstanceId"),
                network_interface_id: self.take("NetworkInterfaceId"),
                private_ip_address: self.take("PrivateIpAddress"),
                allow_reassociation: self.parsed("AllowReassociation")?,
                dry_run: self.flag("DryRun")?,
            }),
            "DisassociateAddress" => Operation::DisassociateAddress(DisassociateAddress {
                association_id: self.take("AssociationId"),
                public_ip: self.take("PublicIp"),
                dry_run: self.flag("DryRun")?,
            }),
            "DescribeAddresses" => Operation::DescribeAddresses(DescribeAddresses {
                public_ips: self.list("PublicIp"),
                describe: Describe {
                    ids: self.list("AllocationId"),
                    filters: self.filters(),
                    dry_run: self.flag("DryRun")?,
                    ..Describe::default()
                },
            }),
            "CreateRoute" => Operation::CreateRoute(self.route_change()?),
            "ReplaceRoute" => {
                let local_target = self.flag("LocalTarget")?;
                Operation::ReplaceRoute(RouteChange { local_target, ..self.route_change()? })
            }
            "DeleteRoute" => Operation::DeleteRoute(DeleteRoute {
                route_table_id: self.required("RouteTableId")?,
                destination_cidr_block: self.take("DestinationCidrBlock"),
                destination_ipv6_cidr_block: self.take("DestinationIpv6CidrBlock"),
                dry_run: self.flag("DryRun")?,
            }),
            "DescribeRouteTables" => Operation::DescribeRouteTables(self.describe("RouteTableId")?),
            "DescribeNetworkInterfaces" => {
                // Nothing here is managed by another service, so asking for that too changes nothing.
                self.flag("IncludeManagedResources")?;
                Operation::DescribeNetworkInterfaces(self.describe("NetworkInterfaceId")?)
            }
            "ModifyNetworkInterfaceAttribute" => {
                Operation::ModifyNetworkInterfaceAttribute(ModifyNetworkInterfaceAttribute {
                    network_interface_id: self.required("NetworkInterfaceId")?,
                    source_dest_check: self.parsed("SourceDestCheck.Value")?,
                    description: self.take("Description.Value"),
                    groups: self.list("SecurityGroupId"),
                    dry_run: self.flag("DryRun")?,
                })
            }
            "AssignPrivateIpAddresses" => Operation::AssignPrivateIpAddresses(AssignPrivateIpAddresses {
                network_interface_id: self.required("NetworkInterfaceId")?,
                private_ip_addresses: self.list("PrivateIpAddress"),
                secondary_private_ip_address_count: self.parsed("SecondaryPrivateIpAddressCount")?,
                allow_reassignment: self.flag("AllowReassignment")?,
            }),
            "UnassignPrivateIpAddresses" => Operation::UnassignPrivateIpAddresses(UnassignPrivateIpAddresses {
                network_interface_id: self.required("NetworkInterfaceId")?,
                private_ip_addresses: self.list("PrivateIpAddress"),
            }),
            "AssignIpv6Addresses" => Operation::AssignIpv6Addresses(AssignIpv6Addresses {
                network_interface_id: self.required("NetworkInterfaceId")?,
                ipv6_addresses: self.list("Ipv6Addresses"),
                ipv6_address_count: self.parsed("Ipv6AddressCount")?,
            }),
            "UnassignIpv6Addresses" => Operation::UnassignIpv6Addresses(UnassignIpv6Addresses {
                network_interface_id: self.required("NetworkInterfaceId")?,
                ipv6_addresses: self.list("Ipv6Addresses"),
            }),
            "CreateTags" => Operation::CreateTags(self.tag_change()?),
            "DeleteTags" => Operation::DeleteTags(self.tag_change()?),
            // The one describe that has no ids: the resource is a filter.
            "DescribeTags" => Operation::DescribeTags(self.describe_without_ids()?),
            "DescribeInstances" => {
                self.flag("IncludeManagedResources")?;
                Operation::DescribeInstances(self.describe("InstanceId")?)
            }
            "DescribeSubnets" => Operation::DescribeSubnets(self.describe("SubnetId")?),
            "DescribeVpcs" => Operation::DescribeVpcs(self.describe("VpcId")?),
            "DescribeSecurityGroups" => Operation::DescribeSecurityGroups(self.describe("GroupId")?),
            "DescribeInstanceTypes" => Operation::DescribeInstanceTypes(self.describe("InstanceType")?),
            "AssumeRole" => Operation::AssumeRole(AssumeRole {
                role_arn: self.required("RoleArn")?,
                role_session_name: self.required("RoleSessionName")?,
                duration_seconds: self.parsed("DurationSeconds")?,
                external_id: self.take("ExternalId"),
            }),
            "GetCallerIdentity" => Operation::GetCallerIdentity,
            _ => {
                let message = format!("The action {action} is not valid for this web service.");
                return Err(ApiError::client("InvalidAction", message));
            }
        })
    }

    fn route_change(&mut self) -> Result<RouteChange, ApiError> {
        Ok(RouteChange {
            route_table_id: self.required("RouteTableId")?,
            destination_cidr_block: self.take("DestinationCidrBlock"),
            destination_ipv6_cidr_block: self.take("DestinationIpv6CidrBlock"),
            gateway_id: self.take("GatewayId"),
            instance_id: self.take("InstanceId"),
            network_interface_id: self.take("NetworkInterfaceId"),
            local_target: false,
            dry_run: self.flag("DryRun")?,
        })
    }

    fn tag_change(&mut self) -> Result<TagChange, ApiError> {
        let tags = self.groups("Tag").into_iter().map(|prefix| {
            let key = self.take(&format!("{prefix}.Key")).unwrap_or_default();
            TagSpec { key, value: self.take(&format!("{prefix}.Value")) }
        });
        let tags = tags.collect();
        Ok(TagChange { resources: self.list("ResourceId"), tags, dry_run: self.flag("DryRun")? })
    }

    fn describe(&mut self, ids: &str) -> Result<Describe, ApiError> {
        Ok(Describe { ids: self.list(ids), ..self.describe_without_ids()? })
    }

    fn describe_without_ids(&mut self) -> Result<Describe, ApiError> {
        Ok(Describe {
            ids: Vec::new(),
            filters: self.filters(),
            max_results: self.parsed("MaxResults")?,
            next_token: self.take("NextToken"),
            dry_run: self.flag("DryRun")?,
        })
    }

    fn filters(&mut self) -> Vec<Filter> {
        let groups = self.groups("Filter").into_iter();
        let filters = groups.map(|prefix| Filter {
            name: self.take(&format!("{prefix}.Name")).unwrap_or_default(),
            values: self.list(&format!("{prefix}.Value")),
        });
        filters.collect()
    }

    /// The values of `name.1`, `name.2` and so on, in order of the numbers.
    fn list(&mut self, name: &str) -> Vec<String> {
        self.groups(name).into_iter().filter_map(|name| self.take(&name)).collect()
    }

    /// `name.1`, `name.2` and so on, as far as there are parameters so named or below that, in order of the numbers.
    fn groups(&self, name: &str) -> Vec<String> {
        let numbers = self.0.keys().filter_map(|parameter| {
            let rest = parameter.strip_prefix(name)?.strip_prefix('.')?;
            rest.split('.').next()?.parse::<u32>().ok()
        });
        let mut numbers: Vec<u32> = numbers.collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().map(|number| format!("{name}.{number}")).collect()
    }

    fn required(&mut self, name: &str) -> Result<String, ApiError> {
        self.take(name).ok_or_else(|| ApiError::missing_parameter(name))
    }

    fn flag(&mut self, name: &str) -> Result<bool, ApiError> {
        Ok(self.parsed(name)?.unwrap_or(false))
    }

    fn parsed<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let value = text.parse().map_err(|_| ApiError::unusable(name, &text, "It is not of the parameter's type."));
        value.map(Some)
    }
}

/// Bytes that are no UTF-8 become replacement characters, which no check lets through.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(byte) = rest.next() {
        bytes.push(match *byte {
            b'+' => b' ',
            b'%' => {
                let digits = rest.as_slice().get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    Some(decoded) => {
                        rest.nth(1);
                        decoded
                    }
                    None => b'%',
                }
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(body: &str) -> Result<Operation, ApiError> {
        let mut form = Form::parse(body);
        let action = form.take("Action").unwrap();
        form.into_operation(&action)
    }

    #[test]
    fn lists_come_in_the_order_of_their_numbers() {
        let body = "Action=UnassignPrivateIpAddresses&Version=2016-11-15&NetworkInterfaceId=eni-1\
                    &PrivateIpAddress.10=c&PrivateIpAddress.2=b&PrivateIpAddress.1=a";
        let expected = UnassignPrivateIpAddresses {
            network_interface_id: "eni-1".into(),
            private_ip_addresses: vec!["a".into(), "b".into(), "c".into()],
        };
        assert_eq!(operation(body).unwrap(), Operation::UnassignPrivateIpAddresses(expected));
    }

    #[test]
    fn values_are_decoded() {
        let body = "Action=CreateTags&ResourceId.1=rtb-1&Tag.1.Key=vipkeeper%2F20.0.0.50&Tag.1.Value=a+b%20%C3%A9%";
        let Operation::CreateTags(change) = operation(body).unwrap() else { panic!("another operation") };
        assert_eq!(change.tags[0].key, "vipkeeper/20.0.0.50");
        assert_eq!(change.tags[0].value.as_deref(), Some("a b é%"));
    }

    #[test]
    fn what_the_api_does_not_know_is_refused() {
        for (body, code) in [
            ("Action=LaunchRocket", "InvalidAction"),
            ("Action=DeleteRoute", "MissingParameter"),
            ("Action=DescribeTags&MaxResults=many", "InvalidParameterValue"),
            ("Action=AssociateAddress&AllowReassociation=maybe", "InvalidParameterValue"),
            ("Action=AssignPrivateIpAddresses&NetworkInterfaceId=eni-1&DryRun=true", "UnknownParameter"),
            ("Action=DescribeAddresses&MaxResults=5", "UnknownParameter"),
        ] {
            assert_eq!(operation(body).unwrap_err().code, code, "{body}");
        }
    }
}
