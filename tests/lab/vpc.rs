//! The lab's network: a VPC in the embedded EC2, its router and the links to it.
//!
//! ```text
//!  node-a 10.0.1.10 ─┐                    ┌─ database 10.0.8.10
//!  node-b 10.0.2.10 ─┤ router, data plane ├─ client 10.0.9.10 (its subnet uses the last route table)
//!  node-c 10.0.3.10 ─┘                    └─ client 198.51.100.10 (on the Internet)
//!      └───────────── EC2 172.31.n.1:8080, on links of their own; metadata at each node's 169.254.169.254
//! ```
//!
//! For a secondary IP, which moves within one subnet, the nodes are 10.0.1.10, 10.0.1.20 and 10.0.1.30. They are on links
//! of their own then as well: a VPC is routed, and answers every ARP request in its nodes' place.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ec2_endpoint::http::{Endpoint, Server};
use ec2_endpoint::{Account, Caller, Fault, FaultKind, Launch, Operation, RouteChange, Service};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::machine::{Machine, clean, output};
use super::moto::{self, Moto};
use super::permissions;
use super::plane::{Following, Plane, cut, lose};
use super::resolver::Resolver;
use super::suite::Suite;

pub const REGION: &str = "eu-central-1";
pub const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];
pub const DATABASE: Ipv4Addr = Ipv4Addr::new(10, 0, 8, 10);
pub const DATABASE_PORT: u16 = 5432;
pub const EC2_PORT: u16 = 8080;
/// Where the endpoint serves nobody while moto has its place.
const UNUSED_PORT: u16 = 8090;
/// Of ranges for documentation (RFC 5737); the next one is the delegate IP of Pgpool's guide.
pub const ELASTIC_IP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
pub const ROUTED_IP: Ipv4Addr = Ipv4Addr::new(20, 0, 0, 50);
/// A free address of the nodes' subnet.
pub const SECONDARY_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 50);

/// The duration of every call to EC2, as in life.
pub const LATENCY: Duration = Duration::from_millis(150);

/// How the VIP leads to its node, and where the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    ElasticIp,
    /// By two route tables or more.
    Route,
    /// By an address that moves between the ENIs of one subnet.
    SecondaryIp,
}

impl Method {
    pub fn delegate_ip(self) -> Ipv4Addr {
        match self {
            Self::ElasticIp => ELASTIC_IP,
            Self::Route => ROUTED_IP,
            Self::SecondaryIp => SECONDARY_IP,
        }
    }

    /// Where a node is, counted from 1: each in a subnet of its own, as in three availability zones, or all in one.
    fn address_of(self, number: u8) -> Ipv4Addr {
        match self {
            Self::ElasticIp | Self::Route => Ipv4Addr::new(10, 0, number, 10),
            Self::SecondaryIp => Ipv4Addr::new(10, 0, 1, 10 * number),
        }
    }
}

/// A node as EC2 knows it.
#[derive(Debug, Clone)]
pub struct Instance {
    pub name: &'static str,
    pub id: String,
    pub eni: String,
    pub address: Ipv4Addr,
    mac: String,
    number: u8,
}

pub struct Vpc {
    /// Where the nodes find EC2, if that is not the endpoint. It ends before the router does.
    moto: Option<Moto>,
    pub endpoint: Endpoint,
    pub instances: Vec<Instance>,
    pub allocation: String,
    pub tables: Vec<String>,
    pub router: Arc<Machine>,
    plane: Plane,
    following: Following,
    sockets: Sockets,
    pub resolver: Resolver,
}

/// The thread that serves the endpoint: nothing that a test waits for holds it up.
struct Sockets {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Vpc {
    pub fn new(method: Method, folder: &Path) -> Self {
        let mut account = Account::new(REGION);
        let vpc = account.add_vpc("10.0.0.0/16", None).unwrap();
        let tables = vec![account.add_route_table(&vpc).unwrap(), account.add_route_table(&vpc).unwrap()];
        let mut subnet = |third: u8, zone: &str, table: &str| {
            let id = account.add_subnet(&vpc, &format!("10.0.{third}.0/24"), &format!("{REGION}{zone}")).unwrap();
            account.associate_route_table(table, &id).unwrap();
            id
        };
        let subnets = [subnet(1, "a", &tables[0]), subnet(2, "b", &tables[0]), subnet(3, "c", &tables[0])];
        subnet(8, "a", &tables[0]);
        subnet(9, "b", &tables[1]);
        let allocation = account.allocate_address(&ELASTIC_IP.to_string()).unwrap();
        let mut instances = Vec::new();
        for (number, name) in (1..).zip(NODES) {
            let address = method.address_of(number);
            let subnet = &subnets[usize::from(subnet_of(address) - 1)];
            let launch = Launch::in_subnet(subnet).named(name).role("vipkeeper").private_ip(address);
            let launched = account.add_instance(launch).unwrap();
            let eni = launched.interfaces[0].clone();
            permissions::mark_node(&mut account, vec![launched.instance_id.clone(), eni.clone()]);
            let mac = account.eni(&eni).unwrap().mac.clone();
            instances.push(Instance { name, id: launched.instance_id, eni, address, mac, number });
        }

        let router = Arc::new(Machine::boot("router", Suite::Here, &[]));
        router.run("sysctl -q -w net.ipv4.ip_forward=1");
        // A packet that EC2 has no route for vanishes without a word.
        router.run("ip route add blackhole default");
        let plane = Plane::new(Arc::clone(&router));
        for link in NODES.into_iter().chain(["database"]) {
            plane.use_table(&account, link, &tables[0]);
        }
        plane.use_table(&account, "client", &tables[1]);

        let mut service = Service::new(account, 1);
        service.add_fault(Fault::new(FaultKind::latency(LATENCY)));
        let endpoint = Endpoint::new(service);
        let following = plane.follow(&endpoint);
        let moto = moto::is_chosen().then(|| Moto::start(&router, &endpoint, &folder.join("moto.log")));
        let port = if moto.is_some() { UNUSED_PORT } else { EC2_PORT };
        let listener = router.inside(|| std::net::TcpListener::bind(("0.0.0.0", port)).unwrap());
        let sockets = Sockets::serve(&endpoint, listener);
        let resolver = Resolver::start(&router);
        Self { endpoint, instances, allocation, tables, router, plane, following, sockets, moto, resolver }
    }

    /// Adds route tables that no subnet uses until there are so many. The one that the client's subnet uses stays the last.
    pub fn add_tables(&mut self, all: usize) {
        let vpc = self.endpoint.service().account().route_table(&self.tables[0]).unwrap().vpc_id.clone();
        while self.tables.len() < all {
            let table = self.endpoint.change(|account| account.add_route_table(&vpc)).unwrap();
            self.tables.insert(self.tables.len() - 1, table);
        }
    }

    /// The last node's subnet uses the client's route table from now on.
    pub fn route_last_node_by_clients_table(&self) {
        let account = self.endpoint.service().account().clone();
        let (first, clients) = (&self.tables[0], self.clients_table());
        self.plane.change_table(&account, NODES[2], (first, clients));
    }

    /// As by hand: in the client's route table the VIP leads to this node.
    pub fn lead_clients_table_to(&self, node: usize) {
        let route = RouteChange {
            route_table_id: self.clients_table().to_owned(),
            destination_cidr_block: Some(format!("{ROUTED_IP}/32")),
            network_interface_id: Some(self.instances[node].eni.clone()),
            ..RouteChange::default()
        };
        self.endpoint.change(|account| {
            if account.apply(&Operation::ReplaceRoute(route.clone())).is_err() {
                account.apply(&Operation::CreateRoute(route)).unwrap();
            }
        });
    }

    /// The route table that the client's subnet uses.
    pub fn clients_table(&self) -> &str {
        self.tables.last().expect("there are two tables or more")
    }

    /// Packets go by each change only so long after EC2 has accepted it, from now on.
    pub fn carry_after(&self, late: Duration) {
        self.plane.carry_after(late);
    }

    /// Gives a node's machine its interfaces and its metadata service, which goes on until the server is dropped.
    pub fn plug(&self, machine: &Machine, instance: &Instance) -> Server {
        let Instance { name, mac, number, address, .. } = instance;
        let gateway = Ipv4Addr::new(10, 0, subnet_of(*address), 1);
        connect(machine, "eth0", Some(mac), &self.router, name);
        connect(machine, "ec2", None, &self.router, &format!("ec2-{name}"));
        let ours = format!("addr add {gateway}/32 dev {name}\nlink set {name} up\n");
        let ec2 = format!("addr add 172.31.{number}.1/30 dev ec2-{name}\nlink set ec2-{name} up\n");
        self.router.feed("ip", &["-batch", "-"], &(ours + &ec2));
        let (proxy, delay) = (format!("conf.{name}.proxy_arp=1"), format!("neigh.{name}.proxy_delay=0"));
        self.router.run(&format!("sysctl -q -w net.ipv4.{proxy} net.ipv4.{delay}"));
        let own = format!("addr add {address}/24 dev eth0\nlink set eth0 up\n");
        let ec2 = format!("addr add 172.31.{number}.2/30 dev ec2\nlink set ec2 up\n");
        let rest = format!("route add default via {gateway}\naddr add 169.254.169.254/32 dev lo\n");
        machine.feed("ip", &["-batch", "-"], &(own + &ec2 + &rest));
        let account = self.endpoint.service().account().clone();
        self.plane.plug(&account, &instance.eni, name);
        let listener = machine.inside(|| std::net::TcpListener::bind("169.254.169.254:80").unwrap());
        let _in_runtime = self.sockets.handle.enter();
        self.endpoint.serve_imds(into_tokio(listener), &instance.id, Caller::named(*name)).unwrap()
    }

    /// The node's machine is gone.
    pub fn unplug(&self, instance: &Instance) {
        self.plane.unplug(&instance.eni);
    }

    pub fn plug_database(&self, machine: &Machine) {
        self.plug_host(machine, "database", "10.0.8.1", &DATABASE.to_string());
    }

    pub fn plug_client(&self, machine: &Machine, method: Method) {
        match method {
            Method::ElasticIp => self.plug_host(machine, "internet", "198.51.100.1", "198.51.100.10"),
            Method::Route | Method::SecondaryIp => self.plug_host(machine, "client", "10.0.9.1", "10.0.9.10"),
        }
    }

    /// A host beside the nodes, which reaches them whatever becomes of the ways between them.
    pub fn plug_monitor(&self, machine: &Machine) {
        self.plug_host(machine, "monitor", "10.0.7.1", "10.0.7.10");
    }

    fn plug_host(&self, machine: &Machine, link: &str, gateway: &str, address: &str) {
        connect(machine, "eth0", None, &self.router, link);
        self.router.feed("ip", &["-batch", "-"], &format!("addr add {gateway}/24 dev {link}\nlink set {link} up\n"));
        let own = format!("addr add {address}/24 dev eth0\nlink set eth0 up\nroute add default via {gateway}\n");
        machine.feed("ip", &["-batch", "-"], &own);
    }

    /// Where a node finds EC2.
    pub fn url(instance: &Instance) -> String {
        format!("http://{}", SocketAddr::from((Self::ec2(instance), EC2_PORT)))
    }

    /// EC2's address for a node, and the resolver's.
    pub fn ec2(instance: &Instance) -> Ipv4Addr {
        Ipv4Addr::new(172, 31, instance.number, 1)
    }

    /// No packet passes between these nodes and their peers any more, nor between those and EC2; everything else does.
    pub fn cut(&self, from_peers: &[usize], from_ec2: &[usize]) {
        let mut between = Vec::new();
        for node in from_peers {
            let own = self.instances[*node].name;
            between.extend(NODES.into_iter().filter(|peer| *peer != own).map(|peer| (own, peer)));
        }
        let from_router = from_ec2.iter().map(|node| format!("ec2-{}", self.instances[*node].name));
        cut(&self.router, &between, &from_router.collect::<Vec<_>>());
    }

    /// No packet passes between these two nodes any more; everything else does.
    pub fn cut_between(&self, one: usize, other: usize) {
        cut(&self.router, &[(self.instances[one].name, self.instances[other].name)], &[]);
    }

    /// The node reaches no address of the router's in the VPC; whatever is behind the router is reached as before.
    pub fn cut_from_router(&self, node: usize) {
        cut(&self.router, &[], &[self.instances[node].name.to_owned()]);
    }

    /// The node reaches nobody and nobody reaches it, as where its machine has lost its power.
    pub fn isolate(&self, node: usize) {
        let own = self.instances[node].name;
        let everybody = NODES.into_iter().filter(|name| *name != own).chain(["database", "client", "internet"]);
        let between: Vec<_> = everybody.map(|link| (own, link)).collect();
        cut(&self.router, &between, &[own.to_owned(), format!("ec2-{own}")]);
    }

    /// So many of a hundred packets between the nodes are lost from now on; all other packets pass.
    pub fn lose_between_nodes(&self, percent: u32) {
        lose(&self.router, &NODES, percent);
    }

    pub fn heal(&self) {
        self.cut(&[], &[]);
    }

    pub fn assert_well(&self) {
        self.following.assert_well();
        if let Some(moto) = &self.moto {
            moto.assert_well();
        }
    }
}

impl Sockets {
    fn serve(endpoint: &Endpoint, listener: std::net::TcpListener) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let endpoint = endpoint.clone();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                let _server = endpoint.serve_api(into_tokio(listener)).unwrap();
                let _ = stopped.await;
            });
        });
        Self { handle, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A subnet's number is the third of its addresses.
fn subnet_of(address: Ipv4Addr) -> u8 {
    address.octets()[2]
}

/// A cable between two machines. Made in the network of one of them, which is ours also where this machine's is not.
fn connect(one: &Machine, interface: &str, mac: Option<&str>, other: &Machine, link: &str) {
    let mut command = clean("nsenter");
    command.arg(format!("--net=/proc/{}/ns/net", other.pid()));
    command.args(["ip", "link", "add", "name", link, "type", "veth", "peer", "name", interface]);
    if let Some(mac) = mac {
        command.args(["address", mac]);
    }
    output(command.args(["netns", &one.pid()]), None);
}

/// Within a runtime only.
fn into_tokio(listener: std::net::TcpListener) -> TcpListener {
    listener.set_nonblocking(true).unwrap();
    TcpListener::from_std(listener).unwrap()
}
