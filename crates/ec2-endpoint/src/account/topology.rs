//! Building an account: what an operator's templates would have made before the first call.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    Account,
    model::{
        ElasticIp, Permission, Route, RouteOrigin, RouteTable, RouteTarget, SecurityGroup, Subnet, TableAssociation,
        Tags, Vpc,
    },
};

/// A topology that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    #[error("no such {what}: {id}")]
    Unknown { what: &'static str, id: String },
    #[error("{value} is not {what}")]
    Malformed { what: &'static str, value: String },
    #[error("{value} does not fit: {why}")]
    Unfit { value: String, why: &'static str },
}

impl Account {
    /// Adds a VPC with an internet gateway, a default security group and a main route table, and gives its id.
    ///
    /// # Errors
    /// A CIDR block that does not parse.
    pub fn add_vpc(&mut self, cidr: &str, ipv6_cidr: Option<&str>) -> Result<String, TopologyError> {
        let cidr: Ipv4Net = parse("an IPv4 CIDR block", cidr)?;
        let ipv6_cidrs = ipv6_cidr.map(|cidr| parse("an IPv6 CIDR block", cidr)).transpose()?.into_iter().collect();
        let id = self.new_id("vpc");
        let internet_gateway = Some(self.new_id("igw"));
        let vpc = Vpc { id: id.clone(), cidrs: vec![cidr.trunc()], ipv6_cidrs, internet_gateway, tags: Tags::new() };
        self.vpcs.insert(id.clone(), vpc);
        let table_id = self.add_route_table(&id)?;
        let association_id = self.new_id("rtbassoc");
        if let Some(table) = self.route_tables.get_mut(&table_id) {
            table.associations.push(TableAssociation { id: association_id, subnet_id: None });
        }
        self.add_security_group(&id, "default")?;
        Ok(id)
    }

    /// Adds a second range to a VPC; its route tables get the local route.
    ///
    /// # Errors
    /// An unknown VPC, or a CIDR block that does not parse.
    pub fn add_vpc_cidr(&mut self, vpc_id: &str, cidr: &str) -> Result<(), TopologyError> {
        let cidr: Ipv4Net = parse("an IPv4 CIDR block", cidr)?;
        self.vpcs.get_mut(vpc_id).ok_or_else(|| unknown("VPC", vpc_id))?.cidrs.push(cidr.trunc());
        let tables: Vec<String> = self.tables_of(vpc_id);
        for id in tables {
            if let Some(table) = self.route_tables.get_mut(&id) {
                table.routes.insert(IpNet::V4(cidr.trunc()), local_route());
            }
        }
        self.revision += 1;
        Ok(())
    }

    /// Adds a subnet and gives its id. It gets the first free /64 of the VPC's IPv6 range, if there is one.
    ///
    /// # Errors
    /// An unknown VPC, a CIDR block that does not parse, or one outside the VPC.
    pub fn add_subnet(&mut self, vpc_id: &str, cidr: &str, availability_zone: &str) -> Result<String, TopologyError> {
        let cidr: Ipv4Net = parse("an IPv4 CIDR block", cidr)?;
        let vpc = self.vpcs.get(vpc_id).ok_or_else(|| unknown("VPC", vpc_id))?;
        if !vpc.cidrs.iter().any(|range| range.contains(&cidr)) {
            return Err(TopologyError::Unfit { value: cidr.to_string(), why: "it is outside the VPC" });
        }
        let taken: Vec<Ipv6Net> = self.subnets.values().filter_map(|subnet| subnet.ipv6_cidr).collect();
        let ipv6_cidr = vpc.ipv6_cidrs.iter().find_map(|range| {
            range.subnets(64).ok().and_then(|mut blocks| blocks.find(|block| !taken.contains(block)))
        });
        let id = self.new_id("subnet");
        let subnet = Subnet {
            id: id.clone(),
            vpc_id: vpc_id.into(),
            cidr: cidr.trunc(),
            ipv6_cidr,
            availability_zone: availability_zone.into(),
            availability_zone_id: zone_id(availability_zone),
            tags: Tags::new(),
        };
        self.subnets.insert(id.clone(), subnet);
        self.revision += 1;
        Ok(id)
    }

    /// Adds a security group that lets nothing in and everything out, and gives its id.
    ///
    /// # Errors
    /// An unknown VPC.
    pub fn add_security_group(&mut self, vpc_id: &str, name: &str) -> Result<String, TopologyError> {
        if !self.vpcs.contains(vpc_id) {
            return Err(unknown("VPC", vpc_id));
        }
        let id = self.new_id("sg");
        let everywhere = Ipv4Net::default();
        let egress = vec![Permission {
            protocol: "-1".into(),
            ports: None,
            ranges: vec![everywhere.into()],
            groups: Vec::new(),
        }];
        let group = SecurityGroup {
            id: id.clone(),
            vpc_id: vpc_id.into(),
            name: name.into(),
            description: format!("{name} security group"),
            ingress: Vec::new(),
            egress,
            tags: Tags::new(),
        };
        self.security_groups.insert(id.clone(), group);
        self.revision += 1;
        Ok(id)
    }

    /// Adds a rule that lets traffic in.
    ///
    /// # Errors
    /// An unknown group.
    pub fn allow_ingress(&mut self, group_id: &str, permission: Permission) -> Result<(), TopologyError> {
        let group = self.security_groups.get_mut(group_id).ok_or_else(|| unknown("security group", group_id))?;
        group.ingress.push(permission);
        self.revision += 1;
        Ok(())
    }

    /// Adds an Elastic IP and gives its allocation id.
    ///
    /// # Errors
    /// An address that does not parse or that is allocated already.
    pub fn allocate_address(&mut self, public_ip: &str) -> Result<String, TopologyError> {
        let public_ip: Ipv4Addr = parse("an IPv4 address", public_ip)?;
        if self.elastic_ips.values().any(|elastic_ip| elastic_ip.public_ip == public_ip) {
            return Err(TopologyError::Unfit { value: public_ip.to_string(), why: "it is allocated already" });
        }
        let allocation_id = self.new_id("eipalloc");
        let elastic_ip = ElasticIp {
            allocation_id: allocation_id.clone(),
            public_ip,
            network_border_group: self.region.to_string(),
            association: None,
            tags: Tags::new(),
        };
        self.elastic_ips.insert(allocation_id.clone(), elastic_ip);
        self.revision += 1;
        Ok(allocation_id)
    }

    /// Puts an Elastic IP into another network border group, as one of a Local Zone is.
    ///
    /// # Errors
    /// An unknown Elastic IP.
    pub fn set_border_group(&mut self, allocation_id: &str, group: &str) -> Result<(), TopologyError> {
        let elastic = self.elastic_ips.get_mut(allocation_id).ok_or_else(|| unknown("Elastic IP", allocation_id))?;
        group.clone_into(&mut elastic.network_border_group);
        self.revision += 1;
        Ok(())
    }

    /// Adds a route table that holds the VPC's local routes, and gives its id.
    ///
    /// # Errors
    /// An unknown VPC.
    pub fn add_route_table(&mut self, vpc_id: &str) -> Result<String, TopologyError> {
        let vpc = self.vpcs.get(vpc_id).ok_or_else(|| unknown("VPC", vpc_id))?;
        let own = vpc.cidrs.iter().copied().map(IpNet::V4).chain(vpc.ipv6_cidrs.iter().copied().map(IpNet::V6));
        let routes = own.map(|cidr| (cidr, local_route())).collect();
        let id = self.new_id("rtb");
        let table = RouteTable {
            id: id.clone(),
            vpc_id: vpc_id.into(),
            associations: Vec::new(),
            routes,
            route_limit: 50,
            tags: Tags::new(),
        };
        self.route_tables.insert(id.clone(), table);
        self.revision += 1;
        Ok(id)
    }

    /// Makes a subnet use a route table, and gives the association's id.
    ///
    /// # Errors
    /// An unknown table or subnet.
    pub fn associate_route_table(&mut self, table_id: &str, subnet_id: &str) -> Result<String, TopologyError> {
        if !self.subnets.contains(subnet_id) {
            return Err(unknown("subnet", subnet_id));
        }
        let id = self.new_id("rtbassoc");
        let table = self.route_tables.get_mut(table_id).ok_or_else(|| unknown("route table", table_id))?;
        table.associations.push(TableAssociation { id: id.clone(), subnet_id: Some(subnet_id.into()) });
        self.revision += 1;
        Ok(id)
    }

    /// Changes how many routes of a family fit into a table.
    ///
    /// # Errors
    /// An unknown table.
    pub fn set_route_limit(&mut self, table_id: &str, routes: usize) -> Result<(), TopologyError> {
        let table = self.route_tables.get_mut(table_id).ok_or_else(|| unknown("route table", table_id))?;
        table.route_limit = routes;
        self.revision += 1;
        Ok(())
    }

    fn tables_of(&self, vpc_id: &str) -> Vec<String> {
        self.route_tables.values().filter(|table| table.vpc_id == vpc_id).map(|table| table.id.clone()).collect()
    }
}

impl Subnet {
    /// Whether EC2 gives this address to interfaces. VPC user guide: the first four addresses and the last are reserved.
    pub fn is_assignable(&self, address: Ipv4Addr) -> bool {
        let first = u32::from(self.cidr.network());
        let last = u32::from(self.cidr.broadcast());
        self.cidr.contains(&address) && (first + 4..last).contains(&u32::from(address))
    }

    /// Whether an ENI of this subnet may have the IPv6 address.
    pub fn is_assignable_v6(&self, address: Ipv6Addr) -> bool {
        self.ipv6_cidr.is_some_and(|cidr| {
            let first = u128::from(cidr.network());
            let last = u128::from(cidr.broadcast());
            cidr.contains(&address) && (first + 4..last).contains(&u128::from(address))
        })
    }
}

/// `us-east-1b` is `use1-az2`, `ap-southeast-2a` is `apse2-az1`. In a real account the order of the zones is its own.
fn zone_id(availability_zone: &str) -> String {
    let (region, letter) = availability_zone.split_at(availability_zone.len().saturating_sub(1));
    let initials = |word: &str| -> String {
        let directions = ["north", "south", "central", "east", "west"];
        let found: String = directions.iter().filter(|name| word.contains(*name)).map(|name| &name[..1]).collect();
        if found.is_empty() { word.to_owned() } else { found }
    };
    let region: String = region.split('-').map(initials).collect();
    let number = letter.bytes().next().map_or(1, |letter| u32::from(letter.saturating_sub(b'a')) + 1);
    format!("{region}-az{number}")
}

fn local_route() -> Route {
    Route { target: RouteTarget::Local, origin: RouteOrigin::CreateRouteTable }
}

fn parse<T: std::str::FromStr>(what: &'static str, value: &str) -> Result<T, TopologyError> {
    value.parse().map_err(|_| TopologyError::Malformed { what, value: value.into() })
}

pub(super) fn unknown(what: &'static str, id: &str) -> TopologyError {
    TopologyError::Unknown { what, id: id.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Launch;

    #[test]
    fn zones_have_ids_of_their_own() {
        for (zone, id) in [
            ("us-east-1b", "use1-az2"),
            ("ap-southeast-2a", "apse2-az1"),
            ("eu-central-1c", "euc1-az3"),
            ("us-gov-west-1a", "usgovw1-az1"),
            ("", "-az1"),
        ] {
            assert_eq!(zone_id(zone), id);
        }
    }

    #[test]
    fn what_does_not_fit_is_not_built() {
        let mut account = Account::new("us-east-1");
        let vpc = account.add_vpc("10.0.0.0/16", None).unwrap();
        let subnet = account.add_subnet(&vpc, "10.0.1.0/24", "us-east-1a").unwrap();
        assert!(account.add_subnet(&vpc, "10.1.0.0/24", "us-east-1a").is_err(), "outside the VPC");
        assert!(account.add_subnet("vpc-1", "10.0.2.0/24", "us-east-1a").is_err(), "no such VPC");
        let at = |address: [u8; 4]| Launch::in_subnet(&subnet).private_ip(address.into());
        account.add_instance(at([10, 0, 1, 4])).unwrap();
        for address in [[10, 0, 1, 4], [10, 0, 1, 3], [10, 0, 1, 255], [10, 0, 2, 4]] {
            assert!(account.add_instance(at(address)).is_err(), "{address:?}");
        }
        account.allocate_address("203.0.113.10").unwrap();
        assert!(account.allocate_address("203.0.113.10").is_err(), "there is one already");
        assert!(account.allocate_address("junk").is_err());
    }
}
