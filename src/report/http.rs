//! `/metrics`, `/healthz`, `/readyz` and `/status` over HTTP/1, for Prometheus, probes and people.
//!
//! Needs no task of its own: the one future accepts, serves and closes everything, and dropping it drops everything.
//! What a client may cost is bounded: how many at once, how long each, and how much each may say.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::Report;

/// Further clients wait in the kernel's queue until one of these has been served or has timed out.
const MAX_CONNECTIONS: usize = 64;
/// From accepting to the last byte. One request a connection: nobody holds a place by idling.
const MAX_DURATION: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_HEAD_BYTES: usize = 8 << 10;
/// hyper's buffer for a connection; it accepts no less.
const BUFFER_BYTES: usize = 16 << 10;
/// After a failure to accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const TEXT: &str = "text/plain; charset=utf-8";
/// The version of Prometheus' text format is part of its content type.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

const INDEX: &str = "vipkeeper\n
/metrics  for Prometheus
/healthz  whether the loop turns
/readyz   whether everything was observed lately and nothing is wrong with the daemon
/status   everything the daemon knows, as JSON; for people: vipkeeper status
";

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for metrics and health: {source}; choose another metrics.listen, or end what listens there"
)]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// Takes the address.
///
/// # Errors
/// When it is taken, is not this machine's, or is not permitted. The daemon does its work without.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

/// Serves for as long as it is polled. What clients do wrong is theirs: it is neither logged nor an error.
pub async fn serve(listener: TcpListener, report: &Report) -> Infallible {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            stream = accept(&listener), if connections.len() < MAX_CONNECTIONS => {
                connections.push(connection(stream, report));
            }
            Some(()) = connections.next() => {}
        }
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, report: &Report) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), report);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(BUFFER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let _ = timeout(MAX_DURATION, connection).await;
}

fn respond(method: &Method, path: &str, report: &Report) -> Response<Full<Bytes>> {
    let (status, content_type, text) = match (path, method) {
        ("/" | "/metrics" | "/healthz" | "/readyz" | "/status", method)
            if method != Method::GET && method != Method::HEAD =>
        {
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned())
        }
        ("/", _) => (StatusCode::OK, TEXT, INDEX.to_owned()),
        ("/metrics", _) => (StatusCode::OK, METRICS, report.metrics()),
        ("/healthz", _) => health(report.health().live().map_err(|reason| vec![reason])),
        ("/readyz", _) => health(report.health().ready()),
        ("/status", _) => match report.health().newest().as_deref().map(serde_json::to_string_pretty) {
            Some(Ok(text)) => (StatusCode::OK, JSON, text + "\n"),
            Some(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            None => (StatusCode::SERVICE_UNAVAILABLE, TEXT, "no status yet\n".to_owned()),
        },
        _ => (StatusCode::NOT_FOUND, TEXT, format!("nothing here; there is\n\n{INDEX}")),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn health(answer: Result<(), Vec<String>>) -> (StatusCode, &'static str, String) {
    match answer {
        Ok(()) => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, reasons.join("\n") + "\n"),
    }
}
