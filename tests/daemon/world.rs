//! One node, or two, with an account around them, and what the tests do to them by hand.

pub use crate::support::estate::{Estate, by_elastic_ip, by_route, by_route_that, by_secondary_ip, config, vip};
pub use crate::support::node::{Room, Shared, SimNode};
pub use crate::support::recorder::Detail;
pub use crate::support::{Clock, Timeline, in_paused_time, millis, pass, seconds};
pub use ec2_endpoint::service::{Cut, FaultKind, Mark, Throttling};
pub use ec2_endpoint::{
    AssignIpv6Addresses, AssignPrivateIpAddresses, AssociateAddress, DeleteRoute, DisassociateAddress, Fault,
    Operation, RouteChange, TagChange, TagSpec, UnassignIpv6Addresses,
};
pub use std::net::IpAddr;
pub use std::rc::Rc;
pub use std::time::Duration;
pub use vipkeeper::binding::{Account, ClaimMode, Connections, OnRelease};
pub use vipkeeper::config::{AnchorConfig, Config, ElasticIpConfig, Tables};
pub use vipkeeper::machine::kernel::KernelError;
pub use vipkeeper::machine::process::Process;
pub use vipkeeper::report::{HEARTBEAT, PassResult};
pub use vipkeeper::wake::Wake;

pub const EIP: &str = "203.0.113.10";
pub const ADDRESS: &str = "20.0.0.50";
pub const SECONDARY: &str = "10.0.1.50";
/// The role in the account that shares a table.
pub const SHARED: &str = "arn:aws:iam::123456789012:role/shared";

/// An account and the nodes in it, with a leader's guard on each.
pub struct World {
    pub estate: Estate,
    pub nodes: Vec<SimNode>,
    pub guards: Vec<Process>,
    pub timeline: Rc<Timeline>,
}

impl World {
    pub fn new(nodes: usize, config: impl FnOnce(&Estate) -> Config) -> Self {
        let clock = Clock::start();
        let estate = Estate::new(clock, nodes, 1);
        let config = config(&estate);
        let timeline = Rc::new(Timeline::kept(clock));
        let shared = Shared { timeline: Rc::clone(&timeline), detail: Detail::Full, watch: None, seed: 1 };
        let nodes: Vec<_> = (0..nodes).map(|index| SimNode::new(&estate, index, config.clone(), &shared)).collect();
        let guards = nodes.iter().map(|node| node.computer.spawn()).collect();
        Self { estate, nodes, guards, timeline }
    }

    pub fn up(&self, node: usize, vip: &str) {
        self.timeline.say(&self.nodes[node].place.name, format_args!("up {vip}"));
        self.nodes[node].up(vip, self.guards[node]);
    }

    pub fn down(&self, node: usize, vip: &str) {
        self.timeline.say(&self.nodes[node].place.name, format_args!("down {vip}"));
        self.nodes[node].down(vip, self.guards[node]);
    }

    pub fn start(&mut self) {
        self.nodes.iter_mut().for_each(SimNode::start);
    }

    /// The nodes have looked around, and the first one has led for so long.
    pub async fn start_with_leader_of(&mut self, vip: &str, for_long: Duration) {
        self.start();
        self.lead(vip, for_long).await;
    }

    /// Starts node 0 alone and makes it the leader of `vip`, for this long.
    pub async fn start_alone_as_leader_of(&mut self, vip: &str, for_long: Duration) {
        self.nodes[0].start();
        self.lead(vip, for_long).await;
    }

    async fn lead(&mut self, vip: &str, for_long: Duration) {
        pass(seconds(1)).await;
        self.up(0, vip);
        pass(for_long).await;
    }

    pub fn eni(&self, node: usize) -> Option<String> {
        Some(self.estate.nodes[node].eni.clone())
    }

    pub fn mark(&self) -> Mark {
        self.estate.service().mark()
    }

    /// The operations since a mark, with the time of each.
    pub fn calls(&self, mark: Mark) -> Vec<(Duration, &'static str, String)> {
        let service = self.estate.service();
        let code = |call: &ec2_endpoint::service::Call| call.code.clone().unwrap_or_default();
        service.calls_since(mark).map(|call| (call.at, call.operation, code(call))).collect()
    }

    pub fn writes(&self, mark: Mark) -> Vec<(Duration, &'static str)> {
        let calls = self.calls(mark).into_iter();
        calls.filter(|(_, name, _)| !name.starts_with("Describe")).map(|(at, name, _)| (at, name)).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.timeline.text());
        }
    }
}

pub fn elastic_ip(estate: &Estate) -> Config {
    estate.allocate(EIP);
    config(vec![vip(vec![by_elastic_ip(EIP)])])
}

/// A VIP that is an Elastic IP, with an address inside the VPC that one route table leads here.
pub fn elastic_ip_and_route(estate: &Estate) -> Config {
    estate.allocate(EIP);
    let tables = estate.add_tables(1);
    config(vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables)])])
}

pub fn routes(tables: usize) -> impl FnOnce(&Estate) -> Config {
    move |estate| {
        let tables = estate.add_tables(tables);
        config(vec![vip(vec![by_route(ADDRESS, &tables)])])
    }
}

pub fn secondary_ip(_: &Estate) -> Config {
    config(vec![vip(vec![by_secondary_ip(SECONDARY)])])
}

/// The route tables of a config, in the order in which they were made.
pub fn tables(world: &World) -> Vec<String> {
    let account = world.estate.account();
    let main = |table: &str| account.route_table(table).is_some_and(|table| !table.associations.is_empty());
    account.route_tables().map(|table| table.id.clone()).filter(|table| !main(table)).collect()
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn point_route_by_hand(estate: &Estate, table: &str, eni: &str) {
    estate.by_hand(&Operation::ReplaceRoute(RouteChange {
        route_table_id: table.to_owned(),
        destination_cidr_block: Some(format!("{ADDRESS}/32")),
        network_interface_id: Some(eni.to_owned()),
        ..Default::default()
    }));
}

pub fn delete_route_by_hand(estate: &Estate, table: &str) {
    estate.by_hand(&Operation::DeleteRoute(DeleteRoute {
        route_table_id: table.to_owned(),
        destination_cidr_block: Some(format!("{ADDRESS}/32")),
        ..Default::default()
    }));
}

pub fn point_elastic_ip_by_hand(estate: &Estate, eni: &str) {
    let allocation = estate.account().elastic_ips().next().unwrap().allocation_id.clone();
    estate.by_hand(&Operation::AssociateAddress(AssociateAddress {
        allocation_id: Some(allocation),
        network_interface_id: Some(eni.to_owned()),
        ..Default::default()
    }));
}

pub fn free_elastic_ip_by_hand(estate: &Estate) {
    let association = estate.account().elastic_ips().next().unwrap().association.clone().unwrap();
    estate.by_hand(&Operation::DisassociateAddress(DisassociateAddress {
        association_id: Some(association.id),
        ..Default::default()
    }));
}
