//! The program against an EC2 that others wrote: moto's server.
//!
//! moto 5 knows no dry run of routes, overwrites a route that CreateRoute should refuse, and has no metadata service for
//! others than itself: the configuration says who the node is.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::stage::machine::Machine;
use crate::stage::{A_PASS, PUBLIC, ROUTED, Stage, eventually, is_ci};

const PORT: u16 = 5000;
/// Python, on a machine that does much else, needs its time.
const START: Duration = Duration::from_mins(2);

#[test]
fn the_program_works_with_moto_as_well() {
    let Some(stage) = Stage::new(1, 0) else { return };
    let machine = &stage.machines[0];
    let Some(moto) = Moto::start(machine) else { return };
    let vpc = moto.make("Action=CreateVpc&CidrBlock=10.0.0.0/16", "vpcId");
    let subnet = moto.make(&format!("Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.1.0/24"), "subnetId");
    let instance = format!("Action=RunInstances&ImageId=ami-12c6146b&MinCount=1&MaxCount=1&SubnetId={subnet}");
    let launched = moto.ask(&instance);
    let [instance, eni] = ["instanceId", "networkInterfaceId"].map(|name| element(&launched, name));
    // The daemon compares the MAC address that EC2 shows with the kernel's.
    let shown = moto.ask(&format!("Action=DescribeNetworkInterfaces&NetworkInterfaceId.1={eni}"));
    machine.set_mac(&element(&shown, "macAddress"));
    let tables = [(); 2].map(|()| moto.make(&format!("Action=CreateRouteTable&VpcId={vpc}"), "routeTableId"));
    // The addresses that moto chooses are of the loopback network, which no VIP can be.
    let allocate = format!("Action=AllocateAddress&Domain=vpc&Address={PUBLIC}");
    let allocation = moto.make(&allocate, "allocationId");
    let [one, other] = &tables;
    machine.configure_whole(&format!(
        r#"state_dir = "{state_dir}"
[identity]
instance_id = "{instance}"
interfaces = {{ eth0 = "{eni}" }}
[aws]
region = "us-east-1"
endpoint_url = "http://127.0.0.1:{PORT}"
[intervals]
leader = "2s"
standby = "5s"
[[vip]]
delegate_ip = "{ROUTED}"
[vip.route]
tables = ["{one}", "{other}"]
interface = "eth0"
[[vip.also]]
address = "{PUBLIC}"
[vip.also.elastic_ip]
interface = "eth0"
"#,
        state_dir = machine.state_dir().display(),
    ));
    let _daemon = machine.start_with(|command| {
        command.env("AWS_ACCESS_KEY_ID", "node-a").env("AWS_SECRET_ACCESS_KEY", "any");
    });
    machine.until_ready();
    machine.hook("up", ROUTED);
    machine.wait(ROUTED);
    let leads_here = |table: &str| {
        let routes = moto.ask(&format!("Action=DescribeRouteTables&RouteTableId.1={table}"));
        routes.contains(&format!("{ROUTED}/32")) && routes.contains(&eni)
    };
    let association = || {
        let addresses = moto.ask(&format!("Action=DescribeAddresses&AllocationId.1={allocation}"));
        assert_eq!(element(&addresses, "publicIp"), PUBLIC);
        (addresses.contains(&eni)).then(|| element(&addresses, "associationId"))
    };
    assert!(leads_here(one) && leads_here(other) && machine.has(ROUTED));
    let first = association().expect("the Elastic IP is here");
    let enis = moto.ask(&format!("Action=DescribeNetworkInterfaces&NetworkInterfaceId.1={eni}"));
    assert_eq!(element(&enis, "sourceDestCheck"), "false");

    // moto gives the association another id with each call.
    thread::sleep(A_PASS);
    assert!(machine.leads_in_sync(ROUTED));
    assert_eq!(association().as_ref(), Some(&first), "in sync means no call");
    moto.ask(&format!("Action=DisassociateAddress&AssociationId={first}"));
    eventually("the Elastic IP is back", || association().is_some());
    moto.ask(&format!("Action=DeleteRoute&RouteTableId={one}&DestinationCidrBlock={ROUTED}/32"));
    eventually("the route is back", || leads_here(one));
    machine.hook("down", ROUTED);
    eventually("the local address is gone", || !machine.has(ROUTED));
    eventually("the Elastic IP is free", || association().is_none());
    assert!(leads_here(one) && leads_here(other), "routes wait for a successor");
}

/// moto's server inside a machine; ended by its process id.
struct Moto<'a> {
    process: Child,
    machine: &'a Machine,
}

impl<'a> Moto<'a> {
    /// Where there is no moto it says so and there is none, unless CI says that it must be.
    fn start(machine: &'a Machine) -> Option<Self> {
        let spawned = machine.inside(|_| {
            let mut command = Command::new("moto_server");
            command.args(["-H", "127.0.0.1", "-p", &PORT.to_string()]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        });
        let mut process = match spawned {
            Ok(process) => process,
            Err(error) => {
                assert!(!is_ci(), "CI must run this test: no moto_server ({error})");
                eprintln!("skipped: no moto_server ({error})");
                return None;
            }
        };
        let began = Instant::now();
        while machine.inside(|_| TcpStream::connect(("127.0.0.1", PORT)).is_err()) {
            assert!(process.try_wait().unwrap().is_none(), "moto_server ended before it served anything");
            assert!(began.elapsed() < START, "moto_server did not listen within {START:?}");
            thread::sleep(Duration::from_millis(100));
        }
        Some(Self { process, machine })
    }

    /// Makes something and gives its id.
    fn make(&self, form: &str, id: &str) -> String {
        element(&self.ask(form), id)
    }

    /// One request of EC2's query protocol, and the answer's body.
    fn ask(&self, form: &str) -> String {
        let form = format!("{form}&Version=2016-11-15");
        let request = format!(
            "POST / HTTP/1.1\r\nHost: ec2.us-east-1.amazonaws.com\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=operator/20260101/us-east-1/ec2/aws4_request, \
             SignedHeaders=host, Signature=0\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let answer = self.machine.inside(move |_| {
            let mut stream = TcpStream::connect(("127.0.0.1", PORT)).unwrap();
            stream.set_read_timeout(Some(START)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        assert!(answer.split(' ').nth(1) == Some("200"), "{form}: {answer}");
        answer
    }
}

impl Drop for Moto<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The text of the first element of this name.
fn element(xml: &str, name: &str) -> String {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name}: {xml}"));
    rest.split_once('<').unwrap().0.to_owned()
}
