//! The account that the tests start from: one VPC, two subnets, two nodes in the first and one in the second.

use std::net::Ipv4Addr;

use ec2_endpoint::{
    Account, Answer, ApiError, AssociateAddress, Describe, Launch, Launched, Operation, RouteChange,
    answer::{AddressView, EniView, RouteView},
};

#[derive(Clone)]
pub struct World {
    pub account: Account,
    pub vpc: String,
    pub subnet: String,
    pub table: String,
    pub eip: String,
    pub other_eip: String,
    /// In `subnet`, at 10.0.1.11 and 10.0.1.12.
    pub a: Launched,
    pub b: Launched,
    /// In another subnet.
    pub c: Launched,
}

pub fn world() -> World {
    let mut account = Account::new("us-east-1");
    let vpc = account.add_vpc("10.0.0.0/16", Some("2600:1f18:0:ab00::/56")).unwrap();
    let subnet = account.add_subnet(&vpc, "10.0.1.0/24", "us-east-1a").unwrap();
    let other_subnet = account.add_subnet(&vpc, "10.0.2.0/24", "us-east-1b").unwrap();
    let mut node = |subnet: &str, name: &str, address: [u8; 4]| {
        let launch = Launch::in_subnet(subnet).named(name).private_ip(Ipv4Addr::from(address)).role("vipkeeper");
        account.add_instance(launch).unwrap()
    };
    let a = node(&subnet, "node-a", [10, 0, 1, 11]);
    let b = node(&subnet, "node-b", [10, 0, 1, 12]);
    let c = node(&other_subnet, "node-c", [10, 0, 2, 13]);
    let table = account.add_route_table(&vpc).unwrap();
    account.associate_route_table(&table, &subnet).unwrap();
    let eip = account.allocate_address("203.0.113.10").unwrap();
    let other_eip = account.allocate_address("203.0.113.11").unwrap();
    World { account, vpc, subnet, table, eip, other_eip, a, b, c }
}

/// The error's code, or `OK`.
pub fn code(result: &Result<Answer, ApiError>) -> &str {
    match result {
        Ok(_) => "OK",
        Err(error) => &error.code,
    }
}

impl World {
    pub fn eni(&self, node: &Launched) -> String {
        node.interfaces[0].clone()
    }

    pub fn apply(&mut self, operation: Operation) -> Result<Answer, ApiError> {
        self.account.apply(&operation)
    }

    /// Applies and gives the code; a refusal must have changed nothing.
    pub fn code(&mut self, operation: Operation) -> String {
        let before = self.account.clone();
        let result = self.apply(operation);
        if result.is_err() {
            assert_eq!(self.account, before, "a refused call changed something");
        }
        code(&result).to_owned()
    }

    pub fn association_to(&self, node: &Launched) -> AssociateAddress {
        AssociateAddress {
            allocation_id: Some(self.eip.clone()),
            network_interface_id: Some(self.eni(node)),
            ..AssociateAddress::default()
        }
    }

    /// Associates, and gives the association's id.
    pub fn associate(&mut self, call: AssociateAddress) -> String {
        match self.apply(Operation::AssociateAddress(call)) {
            Ok(Answer::Associated { association_id }) => association_id,
            other => panic!("{other:?}"),
        }
    }

    pub fn address(&mut self, allocation_id: &str) -> AddressView {
        let describe = Describe::ids([allocation_id]);
        match self
            .apply(Operation::DescribeAddresses(ec2_endpoint::DescribeAddresses { describe, ..Default::default() }))
        {
            Ok(Answer::Addresses(mut addresses)) => addresses.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// Where an Elastic IP points: interface and private address.
    pub fn points_at(&mut self, allocation_id: &str) -> Option<(String, String)> {
        let address = self.address(allocation_id).address;
        let association = address.association.as_ref()?;
        Some((association.network_interface_id.clone(), association.private_ip.to_string()))
    }

    pub fn route(&self, destination: &str, node: &Launched) -> RouteChange {
        RouteChange {
            route_table_id: self.table.clone(),
            destination_cidr_block: Some(destination.into()),
            network_interface_id: Some(self.eni(node)),
            ..RouteChange::default()
        }
    }

    /// The route to a destination, as it is described.
    pub fn described_route(&mut self, destination: &str) -> Option<RouteView> {
        match self.apply(Operation::DescribeRouteTables(Describe::ids([&self.table.clone()]))) {
            Ok(Answer::RouteTables(page)) => {
                page.items[0].routes.iter().find(|route| route.destination.to_string() == destination).cloned()
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn described_eni(&mut self, node: &Launched) -> EniView {
        let eni = self.eni(node);
        match self.apply(Operation::DescribeNetworkInterfaces(Describe::ids([eni]))) {
            Ok(Answer::NetworkInterfaces(mut page)) => page.items.remove(0),
            other => panic!("{other:?}"),
        }
    }
}
