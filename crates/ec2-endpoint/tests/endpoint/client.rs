//! The endpoint on real sockets, in a thread of its own, and the simplest of clients.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use ec2_endpoint::{Caller, Endpoint, Service};
use tokio::{net::TcpListener, sync::oneshot};

use crate::world::{World, world};

/// Longer than anything takes, also on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running endpoint. It ends when this goes.
pub struct Running {
    pub world: World,
    pub endpoint: Endpoint,
    pub api: SocketAddr,
    /// The metadata service of node a.
    pub imds: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start() -> Self {
        let world = world();
        let endpoint = Endpoint::new(Service::new(world.account.clone(), 1));
        let (ready, addresses) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn({
            let (endpoint, node) = (endpoint.clone(), world.a.instance_id.clone());
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let listen = || TcpListener::bind("127.0.0.1:0");
                    let api = endpoint.serve_api(listen().await.unwrap()).unwrap();
                    let imds = endpoint.serve_imds(listen().await.unwrap(), &node, Caller::named("node-a")).unwrap();
                    ready.send((api.address(), imds.address())).unwrap();
                    // Whether it was sent or dropped, it is over.
                    let _ = stopped.await;
                    api.stop().await;
                    imds.stop().await;
                });
            }
        });
        let (api, imds) = addresses.recv().unwrap();
        Self { world, endpoint, api, imds, stop: Some(stop), thread: Some(thread) }
    }

    /// Sends a form as `node-a`; gives status and body.
    pub fn ec2(&self, form: &str) -> HttpAnswer {
        self.ec2_as("node-a", form)
    }

    pub fn ec2_as(&self, access_key_id: &str, form: &str) -> HttpAnswer {
        query(self.api, access_key_id, "ec2", &format!("{form}&Version=2016-11-15")).unwrap()
    }

    /// Talks to the admin interface; anything but 200 is a failure.
    pub fn admin(&self, method: &str, path: &str, body: &str) -> serde_json::Value {
        let answer = request(self.api, method, &format!("/_endpoint/{path}"), &[], body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the endpoint's thread failed: {panic:?}");
        }
    }
}

#[derive(Debug)]
pub struct HttpAnswer {
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl HttpAnswer {
    /// The text of the first element of that name.
    pub fn element(&self, name: &str) -> Option<&str> {
        self.elements(name).into_iter().next()
    }

    /// The texts of all elements of that name.
    pub fn elements(&self, name: &str) -> Vec<&str> {
        let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
        self.body.split(&begin).skip(1).filter_map(|rest| rest.split(&end).next()).collect()
    }

    /// The code of an error answer, `OK` for a good one.
    pub fn code(&self) -> &str {
        if self.status == 200 { "OK" } else { self.element("Code").unwrap_or("no code") }
    }
}

/// A query-protocol request with a signature that is none: what matters is the key and the service in its scope.
pub fn query(to: SocketAddr, access_key_id: &str, service: &str, form: &str) -> Result<HttpAnswer, std::io::Error> {
    query_within(to, access_key_id, service, form, PATIENCE)
}

/// Sends one query, by a caller that waits no longer than this for the answer.
pub fn query_within(
    to: SocketAddr,
    access_key_id: &str,
    service: &str,
    form: &str,
    patience: Duration,
) -> Result<HttpAnswer, std::io::Error> {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={access_key_id}/20300101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=00"
    );
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
    ];
    request_within(to, "POST", "/", &headers, form, patience)
}

pub fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<HttpAnswer, std::io::Error> {
    request_within(to, method, path, headers, body, PATIENCE)
}

fn request_within(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
    patience: Duration,
) -> Result<HttpAnswer, std::io::Error> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(patience))?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let cut_off = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut_off)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(cut_off)?;
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Ok(HttpAnswer { status, headers, body: body.to_owned() })
}
