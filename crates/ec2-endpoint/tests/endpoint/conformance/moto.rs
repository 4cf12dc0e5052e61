//! moto's server: a process of its own on a free port, ended by its process id.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::client::{query, request};

use super::{Names, filled};

/// Python, on a machine that does much else, needs its time.
const START: Duration = Duration::from_secs(60);

pub struct Moto {
    pub address: SocketAddr,
    process: Child,
}

impl Moto {
    pub fn start() -> Self {
        // Free now; if somebody takes it before moto does, moto ends and the test says so.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new("moto_server")
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut moto = Self { address, process };
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            assert!(moto.process.try_wait().unwrap().is_none(), "moto_server ended before it served anything");
            assert!(Instant::now() < deadline, "moto_server did not listen within {START:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        moto
    }

    /// Forgets everything and builds the world that the endpoint's tests have by construction.
    pub fn fresh_world(&self) -> Names {
        request(self.address, "POST", "/moto-api/reset", &[], "").unwrap();
        let mut names = Names::new();
        let mut make = |form: &str, kept: &[(&str, &str)]| {
            let form = filled(form, &names);
            let answer = query(self.address, "setup", "ec2", &format!("{form}&Version=2016-11-15")).unwrap();
            assert_eq!(answer.status, 200, "{form}: {}", answer.body);
            for (element, name) in kept {
                let value = answer.element(element).unwrap();
                // Of the range, what all its addresses begin with.
                let value = value.split_once("::/").map_or(value, |(prefix, _)| prefix);
                names.insert((*name).into(), value.into());
            }
        };
        make(
            "Action=CreateVpc&CidrBlock=10.0.0.0/16&AmazonProvidedIpv6CidrBlock=true",
            &[("vpcId", "vpc"), ("ipv6CidrBlock", "ipv6")],
        );
        make("Action=CreateInternetGateway", &[("internetGatewayId", "igw")]);
        make("Action=AttachInternetGateway&InternetGatewayId={igw}&VpcId={vpc}", &[]);
        make(
            "Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.1.0/24&Ipv6CidrBlock={ipv6}::/64&AvailabilityZone=us-east-1a",
            &[("subnetId", "subnet")],
        );
        for (node, address) in [("a", "10.0.1.11"), ("b", "10.0.1.12")] {
            let form = format!(
                "Action=RunInstances&ImageId=ami-12c6146b&MinCount=1&MaxCount=1&SubnetId={{subnet}}&PrivateIpAddress={address}"
            );
            let (instance, eni) = (format!("i_{node}"), format!("eni_{node}"));
            make(&form, &[("instanceId", &instance), ("networkInterfaceId", &eni)]);
        }
        make("Action=CreateRouteTable&VpcId={vpc}", &[("routeTableId", "table")]);
        make("Action=AssociateRouteTable&RouteTableId={table}&SubnetId={subnet}", &[]);
        make("Action=AllocateAddress&Domain=vpc", &[("allocationId", "eip"), ("publicIp", "public_ip")]);
        make("Action=AllocateAddress&Domain=vpc", &[("allocationId", "other_eip")]);
        names.remove("igw");
        names
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to end.
        if self.process.kill().is_ok() {
            self.process.wait().ok();
        }
    }
}
