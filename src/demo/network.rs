//! The demo's network in the embedded EC2 (a VPC with three instances, two route tables and an Elastic IP), and the
//! endpoints through which clients reach it.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context;
use ec2_endpoint::http::{Endpoint, Server};
use ec2_endpoint::{Account, Caller, Fault, FaultKind, Launch, Service};
use tokio::net::TcpListener;

/// The address of the Elastic IP method, from a range for documentation (RFC 5737).
pub const PUBLIC_IP: &str = "203.0.113.10";
pub const REGION: &str = "eu-central-1";
const NAMES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// The endpoint of the demo's EC2, and the ids of the things that the demo made there.
pub struct Network {
    pub endpoint: Endpoint,
    pub allocation: String,
    pub tables: Vec<String>,
    pub machines: Vec<DemoMachine>,
}

/// One node's instance.
#[derive(Debug, Clone)]
pub struct DemoMachine {
    pub name: &'static str,
    pub instance: String,
    pub eni: String,
    pub mac: String,
}

impl Network {
    /// Makes a VPC with a subnet in each of three zones, an instance in each subnet, two route tables and one Elastic
    /// IP.
    pub fn new(latency: Duration) -> anyhow::Result<Self> {
        let mut account = Account::new(REGION);
        let vpc = account.add_vpc("10.0.0.0/16", None)?;
        let mut machines = Vec::new();
        for (index, name) in NAMES.into_iter().enumerate() {
            let zone = format!("{REGION}{}", ["a", "b", "c"][index]);
            let subnet = account.add_subnet(&vpc, &format!("10.0.{}.0/24", index + 1), &zone)?;
            let launched = account.add_instance(Launch::in_subnet(&subnet).named(name).role("vipkeeper"))?;
            let eni = launched.interfaces.first().context("an instance has an interface")?.clone();
            let mac = account.eni(&eni).context("the interface exists")?.mac.clone();
            machines.push(DemoMachine { name, instance: launched.instance_id, eni, mac });
        }
        let tables = vec![account.add_route_table(&vpc)?, account.add_route_table(&vpc)?];
        let allocation = account.allocate_address(PUBLIC_IP)?;
        let mut service = Service::new(account, 1);
        if !latency.is_zero() {
            service.add_fault(Fault::new(FaultKind::latency(latency)));
        }
        Ok(Self { endpoint: Endpoint::new(service), allocation, tables, machines })
    }

    /// Puts EC2 on `listener`, and each node's metadata service on a port of its own.
    pub async fn serve(self, listener: TcpListener) -> anyhow::Result<Served> {
        self.endpoint.add_access_key("operator", Caller::named("operator"));
        let api = self.endpoint.serve_api(listener)?;
        let mut metadata = Vec::new();
        for machine in &self.machines {
            let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
            let caller = Caller::named(machine.name);
            metadata.push(self.endpoint.serve_imds(listener, &machine.instance, caller)?);
        }
        Ok(Served { network: self, api, metadata })
    }
}

/// The network, with its endpoints open.
pub struct Served {
    pub network: Network,
    pub api: Server,
    pub metadata: Vec<Server>,
}

impl Served {
    /// The text that tells where everything is, and how the AWS CLI gets there.
    pub fn introduction(&self) -> String {
        let mut text = format!("EC2 and STS at {}\n", self.api.url());
        for (machine, metadata) in self.network.machines.iter().zip(&self.metadata) {
            let DemoMachine { name, instance, eni, .. } = machine;
            // Writing into a string cannot fail.
            let _ = writeln!(text, "  {name}  {instance}  {eni}  metadata at {}", metadata.url());
        }
        let Network { allocation, tables, .. } = &self.network;
        let _ = writeln!(text, "  Elastic IP {PUBLIC_IP} is {allocation}; route tables {}", tables.join(", "));
        let _ = write!(
            text,
            "  export AWS_ENDPOINT_URL={} AWS_DEFAULT_REGION={REGION} AWS_ACCESS_KEY_ID=operator AWS_SECRET_ACCESS_KEY=any",
            self.api.url()
        );
        text
    }
}
