//! moto's server with Elastic IPs of a range for documentation; a process of its own, ended by its process id.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::stage::machine::Machine;
use crate::tools;

/// Python, on a machine that does much else, needs its time.
const START: Duration = Duration::from_mins(2);

pub const REGION: &str = "us-east-1";
pub const ACCOUNT: &str = "123456789012";
/// The template's default names an image of Debian's, which moto does not have.
pub const IMAGE: &str = "/test/image";

pub struct Moto<'a> {
    pub address: SocketAddr,
    process: Child,
    /// The machine on whose loopback moto listens; `None` is this one.
    machine: Option<&'a Machine>,
}

impl<'a> Moto<'a> {
    /// Where there is no moto there is none, unless CI says that it must be.
    pub fn start(machine: Option<&'a Machine>, skipped: &str) -> Option<Self> {
        let mut probe = Command::new("moto_server");
        probe.arg("--help");
        if !tools::is_there(probe, "moto_server", skipped) {
            return None;
        }
        // The address is free now. If another process takes it first, moto ends and the test says so.
        let address = within(machine, || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        command
            .env("PATH", tools::path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/account/python"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = within(machine, move || command.spawn().unwrap());
        let mut moto = Self { address, process, machine };
        let began = Instant::now();
        while within(machine, move || TcpStream::connect(address).is_err()) {
            assert!(moto.process.try_wait().unwrap().is_none(), "moto_server ended before it served anything");
            assert!(began.elapsed() < START, "moto_server did not listen within {START:?}");
            thread::sleep(Duration::from_millis(100));
        }
        let headers = "Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: AmazonSSM.PutParameter";
        let image = format!(r#"{{"Name": "{IMAGE}", "Value": "ami-12c6146b", "Type": "String"}}"#);
        moto.post("ssm", headers, &image).unwrap_or_else(|answer| panic!("{answer}"));
        Some(moto)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// One request of EC2's query protocol, and the answer's body.
    pub fn ec2(&self, form: &[(&str, &str)]) -> String {
        self.query("ec2", "2016-11-15", form).unwrap_or_else(|answer| panic!("{form:?}: {answer}"))
    }

    pub fn cloudformation(&self, form: &[(&str, &str)]) -> String {
        self.query("cloudformation", "2010-05-15", form).unwrap_or_else(|answer| panic!("cloudformation: {answer}"))
    }

    pub fn iam(&self, form: &[(&str, &str)]) -> String {
        self.try_iam(form).unwrap_or_else(|answer| panic!("iam: {answer}"))
    }

    /// The answer's body, or the whole answer if it is a refusal.
    pub fn try_iam(&self, form: &[(&str, &str)]) -> Result<String, String> {
        self.query("iam", "2010-05-08", form)
    }

    fn query(&self, service: &str, version: &str, form: &[(&str, &str)]) -> Result<String, String> {
        let fields = form.iter().copied().chain([("Version", version)]);
        let body: Vec<_> = fields.map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        self.post(service, "Content-Type: application/x-www-form-urlencoded", &body.join("&"))
    }

    fn post(&self, service: &str, headers: &str, body: &str) -> Result<String, String> {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {service}.{REGION}.amazonaws.com\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=operator/20260101/{REGION}/{service}/aws4_request, \
             SignedHeaders=host, Signature=0\r\n{headers}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let address = self.address;
        let answer = within(self.machine, move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(START)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        if answer.split(' ').nth(1) == Some("200") { Ok(answer) } else { Err(answer) }
    }
}

impl Drop for Moto<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Does the job in the network of the machine, or in this one's.
fn within<R: Send + 'static>(machine: Option<&Machine>, job: impl FnOnce() -> R + Send + 'static) -> R {
    match machine {
        Some(machine) => machine.inside(move |_| job()),
        None => job(),
    }
}

/// The texts of all elements of this name.
pub fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("<{name}>");
    xml.split(begin.as_str()).skip(1).map(|rest| rest.split_once('<').unwrap().0).collect()
}

/// The text of the first element of this name.
#[track_caller]
pub fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    elements(xml, name).first().copied().unwrap_or_else(|| panic!("no {name}: {xml}"))
}

/// The text in a form that is sent as `application/x-www-form-urlencoded`.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |done, byte| {
        if byte.is_ascii_alphanumeric() { done + &char::from(byte).to_string() } else { done + &format!("%{byte:02X}") }
    })
}
