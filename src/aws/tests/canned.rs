//! An endpoint on loopback that gives the test's answers and records the requests.

use std::fmt::Write;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};

/// The answer to a request.
#[derive(Debug, Clone)]
pub enum CannedReply {
    /// Status and body. The headers contain a request id and a date, as EC2's do.
    Answer(u16, String),
    /// As `Answer`, with this date.
    Dated(String, u16, String),
    /// The connection ends instead of an answer.
    Drop,
    /// The connection ends within the answer's body.
    Cut,
    /// No answer ever comes.
    Silence,
    /// The request is accepted as soon as this many requests have arrived.
    Together(usize),
}

/// A body that EC2 would send for an accepted call without results.
pub fn accepted(operation: &str) -> CannedReply {
    xml(operation, "<return>true</return>")
}

/// An answer of EC2: `inner` within the operation's element.
pub fn xml(operation: &str, inner: &str) -> CannedReply {
    let namespace = "http://ec2.amazonaws.com/doc/2016-11-15/";
    let body =
        format!("<{operation}Response xmlns=\"{namespace}\"><requestId>r</requestId>{inner}</{operation}Response>");
    CannedReply::Answer(200, body)
}

/// An error of EC2.
pub fn error(status: u16, code: &str, message: &str) -> CannedReply {
    let error = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    CannedReply::Answer(status, format!("<Response><Errors>{error}</Errors><RequestID>r</RequestID></Response>"))
}

/// The endpoint. Dropping the value stops it.
pub struct Canned {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    acceptor: JoinHandle<()>,
}

impl Canned {
    /// Answers every request with the result of `reply`. `reply` gets the request's number, counted from 0, and its
    /// line (see [`Self::requests`]).
    pub async fn start(reply: impl Fn(usize, &str) -> CannedReply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let reply: Replies = Arc::new(reply);
        let acceptor = tokio::spawn({
            let (requests, connections) = (Arc::clone(&requests), Arc::clone(&connections));
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let served = tokio::spawn(serve(stream, Arc::clone(&requests), Arc::clone(&reply)));
                    connections.lock().unwrap().push(served.abort_handle());
                }
            }
        });
        Self { url, requests, connections, acceptor }
    }

    /// Every request as one line: the operation, then the fields in order of their names.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The number of connections that clients made to the endpoint.
    pub fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.acceptor.abort();
        for connection in self.connections.lock().unwrap().iter() {
            connection.abort();
        }
    }
}

type Replies = Arc<dyn Fn(usize, &str) -> CannedReply + Send + Sync>;

async fn serve(stream: TcpStream, requests: Arc<Mutex<Vec<String>>>, reply: Replies) {
    let service = service_fn(|request: Request<Incoming>| {
        let (requests, reply) = (Arc::clone(&requests), Arc::clone(&reply));
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let line = line(std::str::from_utf8(&body).unwrap());
            let number = {
                let mut requests = requests.lock().unwrap();
                requests.push(line.clone());
                requests.len() - 1
            };
            let response = Response::builder().header("x-amzn-requestid", "req-1");
            let reply = reply(number, &line);
            let date =
                if let CannedReply::Dated(date, ..) = &reply { date.as_str() } else { "Sun, 22 Nov 2026 12:00:00 GMT" };
            let response = response.header("date", date);
            let (status, body) = match reply {
                CannedReply::Answer(status, body) | CannedReply::Dated(_, status, body) => (status, whole(body)),
                CannedReply::Drop => return Err(broken()),
                CannedReply::Cut => (200, cut()),
                CannedReply::Silence => std::future::pending().await,
                CannedReply::Together(count) => {
                    while requests.lock().unwrap().len() < count {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    let CannedReply::Answer(status, body) = accepted(operation(&line)) else { unreachable!() };
                    (status, whole(body))
                }
            };
            Ok(response.status(status).body(body).unwrap())
        }
    });
    // A connection ends in an error only where the test or the client broke it.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

fn whole(body: String) -> UnsyncBoxBody<Bytes, io::Error> {
    Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync()
}

/// A body that breaks off. A short pause lets its beginning leave first.
fn cut() -> UnsyncBoxBody<Bytes, io::Error> {
    let beginning = stream::once(async { Ok(Frame::data(Bytes::from("<CreateRouteResponse>"))) });
    let end = stream::once(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(broken())
    });
    UnsyncBoxBody::new(StreamBody::new(beginning.chain(end)))
}

fn broken() -> io::Error {
    io::Error::other("the test breaks this connection")
}

/// The operation that a request's line names.
pub fn operation(line: &str) -> &str {
    line.split(' ').next().unwrap()
}

fn line(form: &str) -> String {
    let mut fields: Vec<(String, String)> = form
        .split('&')
        .filter_map(|field| field.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .filter(|(name, _)| name != "Version")
        .collect();
    fields.sort();
    let action = fields.iter().position(|(name, _)| name == "Action").expect("every request names its operation");
    let mut line = fields.remove(action).1;
    for (name, value) in fields {
        write!(line, " {name}={value}").unwrap();
    }
    line
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
