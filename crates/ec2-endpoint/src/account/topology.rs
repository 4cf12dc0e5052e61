//! Building an account: what an operator's templates would have made before the first call.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    Account,
    model::{
        Attachment, ElasticIp, Eni, Instance, InstanceState, Permission, Route, RouteOrigin, RouteTable, RouteTarget,
        SecurityGroup, Subnet, TableAssociation, Tags, Vpc,
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

/// An instance to be launched.
#[derive(Clone, Debug)]
pub struct Launch {
    /// One interface for each: subnet, and private address if it is to be a certain one.
    interfaces: Vec<(String, Option<Ipv4Addr>)>,
    name: Option<String>,
    instance_type: String,
    role: Option<String>,
    addresses_per_interface: usize,
}

impl Launch {
    /// An instance with one interface, in this subnet.
    pub fn in_subnet(subnet_id: &str) -> Self {
        Self {
            interfaces: vec![(subnet_id.into(), None)],
            name: None,
            instance_type: "t3.medium".into(),
            role: None,
            addresses_per_interface: 6,
        }
    }

    /// Gives it a `Name` tag.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Fixes the primary address of the newest interface.
    #[must_use]
    pub fn private_ip(mut self, address: Ipv4Addr) -> Self {
        if let Some(newest) = self.interfaces.last_mut() {
            newest.1 = Some(address);
        }
        self
    }

    /// Adds one more interface.
    #[must_use]
    pub fn and_interface_in(mut self, subnet_id: &str) -> Self {
        self.interfaces.push((subnet_id.into(), None));
        self
    }

    /// Attaches an instance role by name.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Changes how many addresses of a family each interface may hold (six, as a t3.medium).
    #[must_use]
    pub fn addresses_per_interface(mut self, addresses: usize) -> Self {
        self.addresses_per_interface = addresses;
        self
    }
}

/// What [`Account::add_instance`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launched {
    pub instance_id: String,
    /// Interface ids, by device index.
    pub interfaces: Vec<String>,
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

    /// Adds a running instance with its interfaces, in the VPC's default security group.
    ///
    /// # Errors
    /// An unknown subnet, or a private address that is outside the subnet, reserved or taken.
    pub fn add_instance(&mut self, launch: Launch) -> Result<Launched, TopologyError> {
        let instance_id = self.new_id("i");
        let reservation_id = self.new_id("r");
        let image_id = "ami-0123456789abcdef0".to_owned();
        let instance = Instance {
            id: instance_id.clone(),
            reservation_id,
            state: InstanceState::Running,
            instance_type: launch.instance_type,
            image_id,
            role: launch.role,
            tags_in_metadata: true,
            addresses_per_interface: launch.addresses_per_interface,
            tags: launch.name.map(|name| ("Name".to_owned(), name)).into_iter().collect(),
        };
        self.instances.insert(instance_id.clone(), instance);
        let mut interfaces = Vec::new();
        for (device_index, (subnet_id, address)) in (0..).zip(launch.interfaces) {
            let eni_id = self.add_interface(&subnet_id, address)?;
            let attachment = Attachment {
                id: self.new_id("eni-attach"),
                instance_id: instance_id.clone(),
                device_index,
                delete_on_termination: true,
            };
            if let Some(eni) = self.enis.get_mut(&eni_id) {
                eni.attachment = Some(attachment);
            }
            interfaces.push(eni_id);
        }
        self.revision += 1;
        Ok(Launched { instance_id, interfaces })
    }

    /// Adds an interface that is attached to nothing, and gives its id.
    ///
    /// # Errors
    /// An unknown subnet, or a private address that is outside the subnet, reserved or taken.
    pub fn add_interface(&mut self, subnet_id: &str, address: Option<Ipv4Addr>) -> Result<String, TopologyError> {
        let subnet = self.subnets.get(subnet_id).cloned().ok_or_else(|| unknown("subnet", subnet_id))?;
        let free =
            |address: &Ipv4Addr| subnet.is_assignable(*address) && self.holder_of(&subnet.vpc_id, *address).is_none();
        let private_ip = match address {
            Some(address) if !free(&address) => {
                let why = "it is outside the subnet, reserved, or taken";
                return Err(TopologyError::Unfit { value: address.to_string(), why });
            }
            Some(address) => address,
            None => subnet.cidr.hosts().find(free).ok_or_else(|| TopologyError::Unfit {
                value: subnet_id.into(),
                why: "the subnet has no free address",
            })?,
        };
        let groups = self
            .security_groups
            .values()
            .filter(|group| group.vpc_id == subnet.vpc_id && group.name == "default")
            .map(|group| group.id.clone())
            .collect();
        let id = self.new_id("eni");
        let [.., third, second, first] = self.next_number.to_be_bytes();
        let eni = Eni {
            id: id.clone(),
            subnet_id: subnet_id.into(),
            vpc_id: subnet.vpc_id.clone(),
            mac: format!("02:00:00:{third:02x}:{second:02x}:{first:02x}"),
            description: String::new(),
            source_dest_check: true,
            private_ips: vec![private_ip],
            ipv6_addresses: Vec::new(),
            groups,
            attachment: None,
            tags: Tags::new(),
        };
        self.enis.insert(id.clone(), eni);
        self.revision += 1;
        Ok(id)
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

    /// The same for IPv6.
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
