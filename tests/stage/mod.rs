//! Machines on which the tests run the real program. Each machine has a kernel network of its own, an interface that
//! EC2 knows, and a metadata service and an EC2 endpoint on its loopback. All machines see the same account, and real
//! processes run on them.

#![allow(dead_code, reason = "each program that uses it uses a part of it")]

#[path = "../host/namespace.rs"]
mod namespace;

pub mod daemon;
pub mod machine;
pub mod pgpool;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ec2_endpoint::account::model::RouteTarget;
use ec2_endpoint::service::{Call, Mark};
use ec2_endpoint::{Account, Endpoint, Fault, FaultKind, Launch, Operation, Service};

use machine::Machine;

pub const REGION: &str = "eu-central-1";
/// The address of the route method: outside the VPC.
pub const ROUTED: &str = "20.0.0.50";
/// The address of the Elastic IP method.
pub const PUBLIC: &str = "203.0.113.10";
/// An address inside the machines' subnet.
pub const SECONDARY: &str = "10.0.1.50";
/// A second public address.
pub const OTHER_PUBLIC: &str = "203.0.113.11";

const NAMES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// The longest wait for something to become true. The wait is generous, because the machine that runs the tests is busy
/// with other work.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// Longer than a leader's interval with its jitter, so that at least one pass begins within this time.
pub const A_PASS: Duration = Duration::from_millis(3500);

/// The account and the machines in it.
pub struct Stage {
    pub machines: Vec<Machine>,
    pub endpoint: Endpoint,
    pub vpc: String,
    pub subnet: String,
    pub tables: Vec<String>,
    pub allocation: String,
    pub other_allocation: String,
}

impl Stage {
    /// A stage with `machines` machines in one subnet and `tables` route tables. `None`, and a printed reason, where
    /// namespaces are not permitted. In CI that is a failure instead.
    pub fn new(machines: usize, tables: usize) -> Option<Self> {
        if let Err(missing) = machine::permitted() {
            assert!(!is_ci(), "CI must run this test: {missing}");
            eprintln!("skipped: {missing}");
            return None;
        }
        let mut account = Account::new(REGION);
        let vpc = account.add_vpc("10.0.0.0/16", Some("2001:db8:1::/56")).unwrap();
        let subnet = account.add_subnet(&vpc, "10.0.1.0/24", "eu-central-1a").unwrap();
        let launched: Vec<_> = NAMES[..machines]
            .iter()
            .map(|name| account.add_instance(Launch::in_subnet(&subnet).named(name).role("vipkeeper")).unwrap())
            .collect();
        let macs: Vec<_> =
            launched.iter().map(|launched| account.eni(&launched.interfaces[0]).unwrap().mac.clone()).collect();
        let tables = (0..tables).map(|_| account.add_route_table(&vpc).unwrap()).collect();
        let allocation = account.allocate_address(PUBLIC).unwrap();
        let other_allocation = account.allocate_address(OTHER_PUBLIC).unwrap();
        let endpoint = Endpoint::new(Service::new(account, 1));
        let machines = launched
            .iter()
            .zip(&macs)
            .zip(NAMES)
            .map(|((launched, mac), name)| Machine::new(name, launched, mac, &endpoint))
            .collect();
        Some(Self { machines, endpoint, vpc, subnet, tables, allocation, other_allocation })
    }

    /// The VIP of most tests: a route in every table, and an Elastic IP that follows it.
    pub fn usual_vip(&self) -> String {
        let tables = self.tables.iter().map(|table| format!("{table:?}")).collect::<Vec<_>>().join(", ");
        format!(
            r#"
[[vip]]
delegate_ip = "{ROUTED}"
[vip.route]
tables = [{tables}]
interface = "eth0"
[[vip.also]]
address = "{PUBLIC}"
[vip.also.elastic_ip]
interface = "eth0"
"#
        )
    }

    /// Whether every binding of the usual VIP points at this machine, and no other machine has the address.
    pub fn points_at(&self, index: usize) -> bool {
        let machine = &self.machines[index];
        self.elastic_ip(&self.allocation).as_ref() == Some(&machine.eni)
            && self.tables.iter().all(|table| self.route(table, ROUTED).as_ref() == Some(&machine.eni))
            && self.machines.iter().enumerate().all(|(other, machine)| machine.has(ROUTED) == (other == index))
    }

    /// The ENI that an Elastic IP points at.
    pub fn elastic_ip(&self, allocation: &str) -> Option<String> {
        let service = self.endpoint.service();
        let association = service.account().elastic_ip(allocation)?.association.as_ref()?;
        Some(association.network_interface_id.clone())
    }

    /// The ENI that a table's route to an address points at.
    pub fn route(&self, table: &str, address: &str) -> Option<String> {
        let address: IpAddr = address.parse().unwrap();
        let service = self.endpoint.service();
        match &service.account().route_table(table)?.routes.get(&address.into())?.target {
            RouteTarget::NetworkInterface(eni) => Some(eni.clone()),
            RouteTarget::Local | RouteTarget::InternetGateway(_) => None,
        }
    }

    /// The ENI that holds a private IPv4 address.
    pub fn holder(&self, address: &str) -> Option<String> {
        let address: Ipv4Addr = address.parse().unwrap();
        let service = self.endpoint.service();
        service.account().holder_of(&self.vpc, address).map(|eni| eni.id.clone())
    }

    /// Changes the account as an operator would. Faults do not touch the change, and no log shows it.
    pub fn by_hand(&self, operation: &Operation) {
        let done = self.endpoint.change(|account| account.apply(operation));
        done.unwrap_or_else(|error| panic!("{operation:?}: {error}"));
    }

    /// Switches a fault on for every call of every caller.
    pub fn fault(&self, kind: FaultKind) {
        self.endpoint.service().add_fault(Fault::new(kind));
    }

    pub fn no_faults(&self) {
        self.endpoint.service().clear_faults();
    }

    /// The place in the log where the next call will be.
    pub fn mark(&self) -> Mark {
        self.endpoint.service().mark()
    }

    /// The calls since the mark, in the order in which they came.
    pub fn calls(&self, since: Mark) -> Vec<Call> {
        self.endpoint.service().calls_since(since).cloned().collect()
    }

    /// The number of writes that EC2 carried out since the mark, by operation.
    pub fn written(&self, since: Mark) -> BTreeMap<&'static str, usize> {
        let mut written = BTreeMap::new();
        for call in self.calls(since) {
            if call.write && call.code.as_deref() == Some("OK") {
                *written.entry(call.operation).or_default() += 1;
            }
        }
        written
    }

    /// Fails if any write reaches EC2 within this time.
    pub fn writes_nothing_for(&self, time: Duration) {
        let mark = self.mark();
        thread::sleep(time);
        let writes: Vec<_> = self.calls(mark).into_iter().filter(|call| call.write).collect();
        assert_eq!(writes, [], "writes, although all was in sync");
    }
}

/// All the writes that a claim of the usual VIP needs on a fresh account with this many tables.
pub fn a_claim(tables: usize) -> BTreeMap<&'static str, usize> {
    BTreeMap::from([
        ("AssociateAddress", 1),
        ("CreateRoute", tables),
        ("CreateTags", 1),
        ("ModifyNetworkInterfaceAttribute", 1),
    ])
}

/// Waits until `is_so` returns true, and fails after [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the tests run in CI, where a skipped test is a failure.
pub fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

/// Copies a program to the place where it is to run. Another process makes the copy: if this process held the copy open
/// for writing, a child that another test starts at that moment would inherit the open file, and the kernel refuses to
/// run a file that is open for writing (`ETXTBSY`).
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let done = Command::new("cp").arg("--").arg(from.as_ref()).arg(to.as_ref()).status().unwrap();
    assert!(done.success(), "cp {} {}", from.as_ref().display(), to.as_ref().display());
}
