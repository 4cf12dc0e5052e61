//! EC2 by moto's server instead of the embedded endpoint, with `VIPKEEPER_LAB_EC2=moto`: another implementation of the
//! same API, in a process of its own in the router's machine.
//!
//! ```text
//! nodes -> port 8080: names translated, 150 ms added -> moto on loopback
//!                                   moto -> read 5 times a second -> the lab's account -> data plane
//! ```
//!
//! The lab's account stays the one that the data plane, the metadata services and the scenarios look at; here it only
//! follows. moto makes its own ids, of the same length as the account's, so a pipe can put one in the other's place.
//!
//! moto knows no faults, so only the walkthrough is played on it; and it cannot play a secondary IP: it assigns an address
//! to a second ENI and leaves it on the first, whatever `AllowReassignment` says, and finds an ENI by no address but the
//! first.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ec2_endpoint::account::model::{RouteTable, RouteTarget};
use ec2_endpoint::{
    Account, AssociateAddress, DeleteRoute, DisassociateAddress, Endpoint, ModifyNetworkInterfaceAttribute, Operation,
    RouteChange,
};

use super::cluster::eventually;
use super::machine::{Machine, ROOT, enter};
use super::tools;
use super::vpc::{EC2_PORT, LATENCY, REGION, ROUTED_IP};

const MOTO: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);
/// Python, on a machine that does much else, needs its time.
const START: Duration = Duration::from_mins(1);
const EACH: Duration = Duration::from_millis(200);

/// Whether `VIPKEEPER_LAB_EC2` asks for it.
pub fn is_chosen() -> bool {
    match env::var("VIPKEEPER_LAB_EC2").as_deref() {
        Ok("moto") => true,
        Err(_) | Ok("" | "embedded") => false,
        Ok(other) => panic!("VIPKEEPER_LAB_EC2 is \"embedded\" or \"moto\", not {other:?}"),
    }
}

/// moto, the pipe to it and what follows it, until dropped. moto itself ends with the router.
pub struct Moto {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// The pairs of an id of the account and the id of moto that stands for it.
struct Names(Vec<(String, String)>);

impl Moto {
    /// With the account's world in it.
    pub fn start(router: &Arc<Machine>, endpoint: &Endpoint, log: &Path) -> Self {
        let program = tools::find("moto_server").expect("moto is there: tests/all installs it");
        let port = MOTO.port().to_string();
        router.start(&ROOT, program.to_str().unwrap(), &["-H", &MOTO.ip().to_string(), "-p", &port], log);
        eventually("moto listens", START, || {
            router.inside(|| TcpStream::connect(MOTO)).map(drop).map_err(|error| error.to_string())
        });
        let account = endpoint.service().account().clone();
        let names = Arc::new(router.inside(|| Names::of_world(&account)));
        let stop = Arc::new(AtomicBool::new(false));
        let listener = router.inside(|| TcpListener::bind(("0.0.0.0", EC2_PORT)).unwrap());
        listener.set_nonblocking(true).unwrap();
        let in_router = |work: Box<dyn FnOnce() + Send>| {
            let network = router.network();
            thread::spawn(move || {
                enter(&network);
                work();
            })
        };
        let (ours, over) = (Arc::clone(&names), Arc::clone(&stop));
        let pipe = in_router(Box::new(move || accept(&listener, &ours, &over)));
        let (endpoint, over) = (endpoint.clone(), Arc::clone(&stop));
        let follower = in_router(Box::new(move || {
            while !over.load(Ordering::Relaxed) {
                follow(&endpoint, &names);
                thread::sleep(EACH);
            }
        }));
        Self { stop, threads: vec![pipe, follower] }
    }

    /// # Panics
    /// When the account follows moto no more: then nothing that was measured since counts.
    pub fn assert_well(&self) {
        assert!(self.threads.iter().all(|thread| !thread.is_finished()), "the pipe to moto has failed");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Names {
    /// Makes in moto what the account has: the VPC, its subnets with nodes, their instances, route tables, the Elastic IP.
    fn of_world(account: &Account) -> Self {
        let mut names = Self(Vec::new());
        let vpc = account.enis().next().expect("the lab has nodes").vpc_id.clone();
        names.make("Action=CreateVpc&CidrBlock=10.0.0.0/16", &[("vpcId", &vpc)]);
        let gateway = call("Action=CreateInternetGateway");
        let gateway = element(&gateway, "internetGatewayId").unwrap();
        names.make(&format!("Action=AttachInternetGateway&InternetGatewayId={gateway}&VpcId={vpc}"), &[]);
        for eni in account.enis() {
            let subnet = account.subnet(&eni.subnet_id).unwrap();
            if !names.0.iter().any(|(ours, _)| *ours == subnet.id) {
                let (cidr, zone) = (subnet.cidr, &subnet.availability_zone);
                let form = format!("Action=CreateSubnet&VpcId={vpc}&CidrBlock={cidr}&AvailabilityZone={zone}");
                names.make(&form, &[("subnetId", &subnet.id)]);
            }
            let (subnet, address) = (&subnet.id, eni.primary_ip());
            let image = "ImageId=ami-12c6146b&MinCount=1&MaxCount=1";
            let form = format!("Action=RunInstances&{image}&SubnetId={subnet}&PrivateIpAddress={address}");
            names.make(&form, &[("instanceId", eni.instance_id().unwrap()), ("networkInterfaceId", &eni.id)]);
            // The node compares the MAC address that EC2 shows with its kernel's.
            let page = names.ask(&format!("Action=DescribeNetworkInterfaces&NetworkInterfaceId.1={}", eni.id));
            names.0.push((eni.mac.clone(), element(&page, "macAddress").expect("an ENI has a MAC address").to_owned()));
        }
        for table in used_tables(account) {
            names.make(&format!("Action=CreateRouteTable&VpcId={vpc}"), &[("routeTableId", &table.id)]);
        }
        for address in account.elastic_ips() {
            let form = format!("Action=AllocateAddress&Domain=vpc&Address={}", address.public_ip);
            names.make(&form, &[("allocationId", &address.allocation_id)]);
        }
        names
    }

    /// Makes something in moto, whose elements are called that in the account.
    fn make(&mut self, form: &str, named: &[(&str, &str)]) {
        let answer = call(&self.theirs(form));
        for (name, ours) in named {
            let theirs = element(&answer, name).unwrap_or_else(|| panic!("{form}: {answer}"));
            assert_eq!(ours.len(), theirs.len(), "{ours} and {theirs}: lengths in messages would be wrong");
            self.0.push(((*ours).to_owned(), theirs.to_owned()));
        }
    }

    fn theirs(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (ours, theirs)| text.replace(ours, theirs))
    }

    fn ours(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (ours, theirs)| text.replace(theirs, ours))
    }

    fn ask(&self, form: &str) -> String {
        self.ours(&call(&self.theirs(form)))
    }
}

/// Lets the account be as moto says.
fn follow(endpoint: &Endpoint, names: &Names) {
    let account = endpoint.service().account().clone();
    let mut changes = Vec::new();
    for address in account.elastic_ips() {
        let page = names.ask(&format!("Action=DescribeAddresses&AllocationId.1={}", address.allocation_id));
        let there = element(&page, "networkInterfaceId");
        let here = address.association.as_ref().map(|one| one.network_interface_id.as_str());
        if there != here {
            changes.push(match there {
                Some(eni) => Operation::AssociateAddress(AssociateAddress {
                    allocation_id: Some(address.allocation_id.clone()),
                    network_interface_id: Some(eni.to_owned()),
                    allow_reassociation: Some(true),
                    ..Default::default()
                }),
                None => Operation::DisassociateAddress(DisassociateAddress {
                    association_id: address.association.as_ref().map(|one| one.id.clone()),
                    ..Default::default()
                }),
            });
        }
    }
    let destination = format!("{ROUTED_IP}/32");
    for table in used_tables(&account) {
        let page = names.ask(&format!("Action=DescribeRouteTables&RouteTableId.1={}", table.id));
        let route = page.split_once(&format!("<destinationCidrBlock>{destination}<"));
        let there = route.and_then(|(_, rest)| element(rest.split("</item>").next()?, "networkInterfaceId"));
        let here = table.routes.get(&destination.parse().unwrap()).map(|route| &route.target);
        let change = |eni: &str| RouteChange {
            route_table_id: table.id.clone(),
            destination_cidr_block: Some(destination.clone()),
            network_interface_id: Some(eni.to_owned()),
            ..Default::default()
        };
        match (here, there) {
            (None, Some(eni)) => changes.push(Operation::CreateRoute(change(eni))),
            (Some(RouteTarget::NetworkInterface(here)), Some(eni)) if here == eni => {}
            (Some(_), Some(eni)) => changes.push(Operation::ReplaceRoute(change(eni))),
            (Some(_), None) => changes.push(Operation::DeleteRoute(DeleteRoute {
                route_table_id: table.id.clone(),
                destination_cidr_block: Some(destination.clone()),
                ..Default::default()
            })),
            (None, None) => {}
        }
    }
    for eni in account.enis() {
        let page = names.ask(&format!("Action=DescribeNetworkInterfaces&NetworkInterfaceId.1={}", eni.id));
        let is_on = element(&page, "sourceDestCheck") == Some("true");
        if is_on != eni.source_dest_check {
            changes.push(Operation::ModifyNetworkInterfaceAttribute(ModifyNetworkInterfaceAttribute {
                network_interface_id: eni.id.clone(),
                source_dest_check: Some(is_on),
                ..Default::default()
            }));
        }
    }
    for change in changes {
        endpoint.change(|account| account.apply(&change)).unwrap_or_else(|error| panic!("{change:?}: {error}"));
    }
}

/// Those that subnets use: the lab's, without the one that came with the VPC.
fn used_tables(account: &Account) -> impl Iterator<Item = &Arc<RouteTable>> {
    account.route_tables().filter(|table| table.associations.iter().any(|one| one.subnet_id.is_some()))
}

/// Takes connections until it is over; each has a thread, which ends with it.
fn accept(listener: &TcpListener, names: &Arc<Names>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let names = Arc::clone(names);
                thread::spawn(move || pass(stream, &names));
            }
            // Nobody is there.
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// One request and its answer; moto closes after each. A client that went away meanwhile is its own business.
fn pass(stream: TcpStream, names: &Names) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let request = read_request(&stream)?;
    thread::sleep(LATENCY / 2);
    let mut moto = TcpStream::connect(MOTO)?;
    moto.write_all(names.theirs(&request).as_bytes())?;
    let mut answer = String::new();
    moto.read_to_string(&mut answer)?;
    thread::sleep(LATENCY / 2);
    (&stream).write_all(names.ours(&answer).as_bytes())
}

/// Head and body, as they came.
fn read_request(stream: &TcpStream) -> io::Result<String> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let begin = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = head[begin..].trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(head + &String::from_utf8_lossy(&body))
}

/// moto's answer to a form of the lab's own; only in the router's network.
fn call(form: &str) -> String {
    let body = format!("{form}&Version=2016-11-15");
    let scope = format!("Credential=lab/20300101/{REGION}/ec2/aws4_request, SignedHeaders=host, Signature=0");
    let mut stream = TcpStream::connect(MOTO).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {MOTO}\r\nAuthorization: AWS4-HMAC-SHA256 {scope}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{form}: {answer}");
    answer
}

/// The text of the first element of that name that has any.
fn element<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = page;
    while let Some((_, after)) = rest.split_once(&format!("<{name}>")) {
        let text = after.split('<').next()?;
        if !text.is_empty() {
            return Some(text);
        }
        rest = after;
    }
    None
}
