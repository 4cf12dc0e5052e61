//! The simulated account in which the nodes live, and configs that name parts of the account.

use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use ec2_endpoint::account::Event;
use ec2_endpoint::service::{FaultId, FaultKind, Throttling};
use ec2_endpoint::{Account, Fault, Launch, Operation, Service};
use ipnet::IpNet;
use vipkeeper::binding::{Account as BindingAccount, OnRelease};
use vipkeeper::config::{
    AddressConfig, Config, ElasticIpConfig, RouteConfig, SecondaryIpConfig, TableRef, Tables, VipConfig,
};
use vipkeeper::identity::{Blocks, Node, NodeInterface};

use super::Clock;

pub const INTERFACE: &str = "eth0";
const VPC_BLOCKS: &[&str] = &["10.0.0.0/16", "2600:1f18:1::/56"];
const SUBNET_BLOCKS: &[&str] = &["10.0.1.0/24", "2600:1f18:1::/64"];

/// A machine's place in the account.
#[derive(Debug, Clone)]
pub struct Place {
    pub name: String,
    pub instance: String,
    pub eni: String,
    pub primary_ip: Ipv4Addr,
}

/// One VPC with its machines, behind EC2's API.
pub struct Estate {
    pub clock: Clock,
    pub service: Rc<RefCell<Service>>,
    pub vpc: String,
    pub subnet: String,
    pub nodes: Vec<Place>,
    /// A machine that has nothing to do with any VIP.
    pub bystander: Place,
}

impl Estate {
    pub fn new(clock: Clock, nodes: usize, seed: u64) -> Self {
        let mut account = Account::new("us-east-1");
        let vpc = account.add_vpc(VPC_BLOCKS[0], Some(VPC_BLOCKS[1])).expect("a good block");
        let subnet = account.add_subnet(&vpc, SUBNET_BLOCKS[0], "us-east-1a").expect("within the VPC");
        let mut place = |name: &str| {
            let launched = account.add_instance(Launch::in_subnet(&subnet).named(name)).expect("the subnet is there");
            let eni = launched.interfaces[0].clone();
            let primary_ip = account.eni(&eni).expect("just made").primary_ip();
            Place { name: name.to_owned(), instance: launched.instance_id, eni, primary_ip }
        };
        let bystander = place("bystander");
        let nodes = ["a", "b", "c"][..nodes].iter().map(|name| place(name)).collect();
        let service = Rc::new(RefCell::new(Service::new(account, seed)));
        Self { clock, service, vpc, subnet, nodes, bystander }
    }

    pub fn service(&self) -> RefMut<'_, Service> {
        self.service.borrow_mut()
    }

    pub fn account(&self) -> Ref<'_, Account> {
        Ref::map(self.service.borrow(), Service::account)
    }

    /// Changes the account as an operator or another tool would.
    pub fn by_hand(&self, operation: &Operation) {
        let answer = self.service().change(self.clock.now(), |account| account.apply(operation));
        answer.unwrap_or_else(|error| panic!("{operation:?}: {error}"));
    }

    pub fn happens(&self, event: &Event) {
        let outcome = self.service().change(self.clock.now(), |account| account.happen(event));
        outcome.unwrap_or_else(|error| panic!("{event:?}: {error}"));
    }

    pub fn allocate(&self, public_ip: &str) -> String {
        let now = self.clock.now();
        self.service().change(now, |account| account.allocate_address(public_ip)).expect("a new address")
    }

    pub fn add_tables(&self, count: usize) -> Vec<String> {
        let now = self.clock.now();
        let mut service = self.service();
        (0..count)
            .map(|_| service.change(now, |account| account.add_route_table(&self.vpc)).expect("the VPC is there"))
            .collect()
    }

    pub fn fault(&self, fault: Fault) -> FaultId {
        self.service().add_fault(fault)
    }

    pub fn latency(&self, latency: Duration) -> FaultId {
        self.fault(Fault::new(FaultKind::latency(latency)))
    }

    pub fn mend(&self, fault: FaultId) {
        self.service().remove_fault(fault);
    }

    pub fn without_throttling(self) -> Self {
        self.service().set_throttling(Throttling::Off);
        self
    }

    /// The ENI that an Elastic IP points at.
    pub fn elastic_ip(&self, public_ip: &str) -> Option<String> {
        let public_ip: Ipv4Addr = public_ip.parse().expect("an IPv4 address");
        let account = self.account();
        let address = account.elastic_ips().find(|address| address.public_ip == public_ip)?;
        Some(address.association.as_ref()?.network_interface_id.clone())
    }

    /// The ENI that a route leads to.
    pub fn route(&self, table: &str, address: &str) -> Option<String> {
        let destination = IpNet::from(address.parse::<IpAddr>().expect("an address"));
        let account = self.account();
        match &account.route_table(table)?.routes.get(&destination)?.target {
            ec2_endpoint::account::model::RouteTarget::NetworkInterface(eni) => Some(eni.clone()),
            other => Some(format!("{other:?}")),
        }
    }

    /// The ENI that holds a secondary address.
    pub fn secondary_ip(&self, address: &str) -> Option<String> {
        let account = self.account();
        match address.parse().expect("an address") {
            IpAddr::V4(address) => account.holder_of(&self.vpc, address).map(|eni| eni.id.clone()),
            IpAddr::V6(address) => {
                account.enis().find(|eni| eni.ipv6_addresses.contains(&address)).map(|eni| eni.id.clone())
            }
        }
    }
}

/// The identity of the machine at this place, as its metadata service tells it.
pub fn identity(estate: &Estate, place: &Place) -> Node {
    let interface = NodeInterface {
        eni: place.eni.parse().expect("the endpoint makes good ids"),
        mac: None,
        primary_ip: Some(place.primary_ip),
        subnet: estate.subnet.parse().ok(),
        vpc: estate.vpc.parse().ok(),
        blocks: Blocks { subnet: blocks(SUBNET_BLOCKS), vpc: blocks(VPC_BLOCKS) },
        first_name: None,
        device_below: None,
    };
    Node {
        instance: place.instance.parse().expect("the endpoint makes good ids"),
        region: "us-east-1".to_owned(),
        first: Some(INTERFACE.to_owned()),
        interfaces: BTreeMap::from([(INTERFACE.to_owned(), interface)]),
        missing: BTreeMap::new(),
    }
}

fn blocks(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect("an address block")).collect()
}

/// A config with the defaults and these VIPs.
pub fn config(vips: Vec<VipConfig>) -> Config {
    Config { listen: None, ..Config::with_vips(vips) }
}

/// A VIP with its delegate address and the addresses that follow it. The first address is the delegate address.
pub fn vip(addresses: Vec<AddressConfig>) -> VipConfig {
    VipConfig { delegate_ip: addresses[0].address, addresses, anchor: None }
}

fn address(address: &str) -> AddressConfig {
    let address = address.parse().expect("an address");
    AddressConfig { address, elastic_ip: None, route: None, secondary_ip: None }
}

pub fn by_elastic_ip(public_ip: &str) -> AddressConfig {
    let elastic_ip = ElasticIpConfig { allocation_id: None, interface: None, private_ip: None };
    AddressConfig { elastic_ip: Some(elastic_ip), ..address(public_ip) }
}

pub fn by_route(ip: &str, tables: &[String]) -> AddressConfig {
    by_route_that(ip, tables, OnRelease::Keep)
}

pub fn by_route_that(ip: &str, tables: &[String], on_release: OnRelease) -> AddressConfig {
    let table = |id: &String| TableRef { id: id.parse().expect("a table's id"), account: BindingAccount::Own };
    let tables = Tables::Ids(tables.iter().map(table).collect());
    AddressConfig { route: Some(RouteConfig { tables, interface: None, on_release }), ..address(ip) }
}

pub fn by_secondary_ip(ip: &str) -> AddressConfig {
    AddressConfig { secondary_ip: Some(SecondaryIpConfig { interface: None }), ..address(ip) }
}
