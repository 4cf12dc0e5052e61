//! `/metrics`, `/healthz`, `/readyz`, `/status` and the pages for browsers over HTTP/1, for Prometheus, probes and people.
//! Nothing that a client asks for changes anything.
//!
//! Clients are served on a thread of their own, so that no number of clients holds up the loop. The cost of clients is
//! bounded: how many are served at once, for how long, how much each client may send, how often an answer is rendered,
//! and how many answers a second each document has.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, AbortRegistration, Abortable};
use futures_util::stream::FuturesUnordered;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Report;
use super::hosts::Hosts;
use crate::config::Limits;
use crate::ec2::Urgency;
use crate::ec2::bucket::Bucket;
use crate::shown;
use crate::status::document::StatusDocument;
use crate::status::event::list::EventList;
use crate::status::frame::{Refresh, STYLE};
use crate::status::{Status, html, runbook};

/// How many clients are served at once. A further client takes the place of the client that has kept the listener
/// waiting longest.
const PLACES: usize = 32;
/// The longest life of a connection, from accepting it to the last byte. A connection serves one request, so that no
/// client holds a place by idling.
const MAX_DURATION: Duration = Duration::from_secs(10);
/// A client that has sent its request keeps its place for at least this long, even if other clients wait for a place.
const TIME_TO_READ: Duration = Duration::from_secs(1);
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_HEAD_BYTES: usize = 8 << 10;
/// The size of hyper's buffer for one connection. Hyper accepts no smaller one.
const BUFFER_BYTES: usize = 16 << 10;
/// The pause after a failure to accept, which is most likely a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long rendered metrics are served again. Prometheus asks each 15 s.
const METRICS_FOR: Duration = Duration::from_secs(1);
/// How long the rendered page of one status is served again. The page shows ages, which grow.
const PAGE_FOR: Duration = Duration::from_secs(1);
/// How many answers each document has before requests for it must wait. A few clients that ask without end would
/// otherwise keep this thread and themselves on the processor, and the loop and the hooks would get less of it.
const ANSWERS: Limits = Limits { requests_per_s: 100.0, burst: 50 };
/// How many requests wait at once. Further ones are answered without waiting: a crowd would otherwise take all places, and
/// Prometheus would wait for longer than it allows.
const WAITING: usize = PLACES * 3 / 4;
/// The pause before the address is tried again after a failure.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// How far the listener's thread yields to the loop's thread when both want the only processor, in steps of nice(2).
const NICE: i32 = 10;

const TEXT: &str = "text/plain; charset=utf-8";
/// The version of Prometheus' text format is part of its content type.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// The answer's headers besides its type. The browser loads nothing but the style sheet, runs nothing, sends no form, shows
/// the page in no frame of another site, and keeps and passes on nothing.
const HEADERS: [(HeaderName, &str); 4] = [
    (CACHE_CONTROL, "no-store"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
];

const INDEX: &str = "vipkeeper\n
/         the status page, for browsers; /still: without loading itself again
/runbook  what to do at night
/metrics  for Prometheus
/healthz  whether the loop turns
/readyz   whether everything was observed lately, nothing is wrong with the daemon, and no watchdog is gone
/status   everything the daemon knows, as JSON; for people: vipkeeper status
";

/// The address cannot be listened on, so nothing is served.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for metrics and health: {source}; choose another metrics.listen, or end what listens there"
)]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// A listener on a thread of its own. The thread ends when the `Listener` is dropped.
#[derive(Debug)]
#[must_use = "a listener that is dropped serves nobody"]
pub struct Listener {
    _stop: oneshot::Sender<()>,
}

/// Starts the thread that takes the address and serves the report there. An address that cannot be taken is tried again
/// each second. `tell` is given the outcome of each try; the new thread calls `tell`, which must not wait.
///
/// # Errors
/// When the system gives no thread or no event queue.
pub fn start(
    address: SocketAddr,
    report: Arc<Report>,
    tell: impl Fn(Result<(), String>) + Send + 'static,
) -> io::Result<Listener> {
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let work = move || {
        // Where the system does not permit the lower priority, both threads share the processor evenly.
        let _ = rustix::process::nice(NICE);
        runtime.block_on(async {
            tokio::select! {
                _ = stopped => {}
                never = keep_serving(address, &report, tell) => match never {},
            }
        });
    };
    std::thread::Builder::new().name("http".to_owned()).spawn(work)?;
    Ok(Listener { _stop: stop })
}

async fn keep_serving(address: SocketAddr, report: &Report, tell: impl Fn(Result<(), String>)) -> Infallible {
    loop {
        match listen(address).await {
            Ok(listener) => {
                tell(Ok(()));
                return serve(listener, report).await;
            }
            Err(error) => tell(Err(error.to_string())),
        }
        sleep(LISTEN_AGAIN).await;
    }
}

/// Takes the address.
///
/// # Errors
/// When another program has the address, when the address is not this machine's, or when the system does not permit it.
/// The daemon does its work without a listener.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

/// Serves for as long as the future is polled. A client's mistakes are neither logged nor errors.
pub async fn serve(listener: TcpListener, report: &Report) -> Infallible {
    let answers = Answers::new(report);
    let mut connections = FuturesUnordered::new();
    let mut places = Places::default();
    loop {
        let room_at = places.room_at();
        tokio::select! {
            // Open connections are served before the next connection is accepted.
            biased;
            Some(number) = connections.next() => places.leave(number),
            stream = accept(&listener), if room_at <= Instant::now() => {
                let (number, asked, abort) = places.enter();
                let connection = Abortable::new(connection(stream, &answers, asked), abort);
                connections.push(async move {
                    let _ = connection.await;
                    number
                });
            }
            () = sleep_until(room_at), if room_at > Instant::now() => {}
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

/// The clients that are being served, the oldest first.
#[derive(Default)]
struct Places {
    taken: VecDeque<Place>,
    next: u64,
}

struct Place {
    number: u64,
    since: Instant,
    /// Whether the head of the client's request has come.
    asked: Rc<Cell<bool>>,
    abort: AbortHandle,
}

impl Places {
    /// The time from which on a further client can be let in.
    fn room_at(&self) -> Instant {
        let now = Instant::now();
        let Some(oldest) = self.taken.front() else { return now };
        let is_free = self.taken.len() < PLACES || self.taken.iter().any(|place| !place.asked.get());
        if is_free { now } else { oldest.since + TIME_TO_READ }
    }

    /// Lets a client in. If all places are taken, another client is cut off: the oldest of those that have sent no
    /// request yet, or else the oldest of all.
    fn enter(&mut self) -> (u64, Rc<Cell<bool>>, AbortRegistration) {
        if self.taken.len() >= PLACES {
            let index = self.taken.iter().position(|place| !place.asked.get()).unwrap_or(0);
            if let Some(place) = self.taken.remove(index) {
                place.abort.abort();
            }
        }
        self.next += 1;
        let asked = Rc::new(Cell::new(false));
        let (abort, registration) = AbortHandle::new_pair();
        let place = Place { number: self.next, since: Instant::now(), asked: Rc::clone(&asked), abort };
        self.taken.push_back(place);
        (self.next, asked, registration)
    }

    /// Frees the place of the client with this number.
    fn leave(&mut self, number: u64) {
        self.taken.retain(|place| place.number != number);
    }
}

async fn connection(stream: TcpStream, answers: &Answers<'_>, asked: Rc<Cell<bool>>) {
    // A listener on all addresses is on loopback as well. Whoever came by loopback is judged like a client of a listener
    // on loopback alone.
    let hosts = stream.local_addr().map_or(Hosts::Loopback, |address| Hosts::of_address(address.ip()));
    let service = service_fn(|request: Request<Incoming>| {
        asked.set(true);
        async move { Ok::<_, Infallible>(answers.to(&request, hosts).await) }
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

/// A status with the events up to it.
type Newest = StatusDocument<Arc<Status>, Arc<EventList>>;

/// A status with events, and their document or the reason why they have none.
type RenderedStatus = (Newest, Result<Bytes, String>);

/// A status with events and when their page was rendered, with the page that is loaded again by itself and the page that is
/// not.
type RenderedPages = (Newest, Instant, [Bytes; 2]);

/// Whether both are the very same status and events.
fn are_same(one: &Newest, other: &Newest) -> bool {
    Arc::ptr_eq(&one.status, &other.status) && Arc::ptr_eq(&one.events, &other.events)
}

/// A document that a client can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Document {
    Page,
    StillPage,
    Style,
    Runbook,
    Metrics,
    Healthz,
    Readyz,
    Status,
    /// A document that is not here.
    Missing,
}

impl Document {
    const COUNT: usize = Self::Missing as usize + 1;

    fn at(path: &str) -> Self {
        match path {
            "/" => Self::Page,
            "/still" => Self::StillPage,
            "/style.css" => Self::Style,
            "/runbook" => Self::Runbook,
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            "/status" => Self::Status,
            _ => Self::Missing,
        }
    }
}

/// Is counted until it is dropped, also where a client goes while it waits.
struct Counted<'a>(&'a Cell<usize>);

impl<'a> Counted<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The documents that the clients get. Each document is rendered once, and its bytes serve all who ask for it.
struct Answers<'a> {
    report: &'a Report,
    /// A bucket for each document, so that those who ask for one hold up nobody who asks for another.
    buckets: [Bucket; Document::COUNT],
    waiting: Cell<usize>,
    metrics: RefCell<Option<(Instant, Bytes)>>,
    status: RefCell<Option<RenderedStatus>>,
    pages: RefCell<Option<RenderedPages>>,
    runbook: OnceCell<Bytes>,
}

type Answer = (StatusCode, &'static str, Bytes);

impl<'a> Answers<'a> {
    fn new(report: &'a Report) -> Self {
        Self {
            report,
            buckets: std::array::from_fn(|_| Bucket::new(ANSWERS)),
            waiting: Cell::new(0),
            metrics: RefCell::default(),
            status: RefCell::default(),
            pages: RefCell::default(),
            runbook: OnceCell::new(),
        }
    }

    /// The answer, as soon as the document's bucket allows it.
    async fn to<B>(&self, request: &Request<B>, hosts: Hosts) -> Response<Full<Bytes>> {
        let document = Document::at(request.uri().path());
        self.wait_for(document).await;
        let (status, content_type, bytes) = match hosts.check(request) {
            Ok(()) => self.answer(request.method(), document),
            Err((status, why)) => (status, TEXT, Bytes::from_static(why.as_bytes())),
        };
        let mut response = Response::new(Full::from(bytes));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }

    async fn wait_for(&self, document: Document) {
        if self.waiting.get() < WAITING {
            let _waiting = Counted::new(&self.waiting);
            self.buckets[document as usize].take(Urgency::Normal).await;
        }
    }

    fn answer(&self, method: &Method, document: Document) -> Answer {
        if ![Method::GET, Method::HEAD].contains(method) {
            return (StatusCode::METHOD_NOT_ALLOWED, TEXT, Bytes::from_static(b"only GET and HEAD\n"));
        }
        match document {
            Document::Page => self.page(Refresh::Often),
            Document::StillPage => self.page(Refresh::Never),
            Document::Style => (StatusCode::OK, CSS, Bytes::from_static(STYLE.as_bytes())),
            Document::Runbook => (StatusCode::OK, HTML, self.runbook.get_or_init(|| runbook::page().into()).clone()),
            Document::Metrics => (StatusCode::OK, METRICS, self.metrics()),
            Document::Healthz => health(self.report.health().live().map_err(|reason| vec![reason])),
            Document::Readyz => health(self.report.health().ready()),
            Document::Status => self.status(),
            Document::Missing => (StatusCode::NOT_FOUND, TEXT, format!("nothing here; there is\n\n{INDEX}").into()),
        }
    }

    /// The page of the newest status, as it was at most [`PAGE_FOR`] ago.
    fn page(&self, refresh: Refresh) -> Answer {
        let Some((status, now_ms)) = self.report.health().newest_and_now() else {
            return (StatusCode::SERVICE_UNAVAILABLE, HTML, html::no_status_yet().into());
        };
        let newest = Newest { status, events: self.report.events() };
        let mut rendered = self.pages.borrow_mut();
        let is_fresh = |(of, at, _): &&RenderedPages| are_same(of, &newest) && at.elapsed() < PAGE_FOR;
        let pages = match rendered.as_ref().filter(is_fresh) {
            Some((.., pages)) => pages.clone(),
            None => {
                let borrowed = StatusDocument { status: &*newest.status, events: &*newest.events };
                let pages =
                    [Refresh::Often, Refresh::Never].map(|refresh| html::page(borrowed, now_ms, refresh).into());
                *rendered = Some((newest, Instant::now(), pages.clone()));
                pages
            }
        };
        let [often, never] = pages;
        (StatusCode::OK, HTML, if refresh == Refresh::Often { often } else { never })
    }

    /// The metrics as they were at most [`METRICS_FOR`] ago.
    fn metrics(&self) -> Bytes {
        let mut rendered = self.metrics.borrow_mut();
        if let Some((at, bytes)) = &*rendered
            && at.elapsed() < METRICS_FOR
        {
            return bytes.clone();
        }
        let bytes = Bytes::from(self.report.metrics());
        *rendered = Some((Instant::now(), bytes.clone()));
        bytes
    }

    /// The newest status, rendered when a client first asks for it.
    fn status(&self) -> Answer {
        let Some(status) = self.report.health().newest() else {
            return (StatusCode::SERVICE_UNAVAILABLE, TEXT, Bytes::from_static(b"no status yet\n"));
        };
        let newest = Newest { status, events: self.report.events() };
        let mut rendered = self.status.borrow_mut();
        let text = match &*rendered {
            Some((of, text)) if are_same(of, &newest) => text.clone(),
            _ => {
                let document = StatusDocument { status: &*newest.status, events: &*newest.events };
                let text = serde_json::to_string_pretty(&document);
                let text = text.map(|text| Bytes::from(shown::json(text) + "\n")).map_err(|error| format!("{error}\n"));
                *rendered = Some((newest, text.clone()));
                text
            }
        };
        match text {
            Ok(bytes) => (StatusCode::OK, JSON, bytes),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.into()),
        }
    }
}

fn health(answer: Result<(), Vec<String>>) -> Answer {
    match answer {
        Ok(()) => (StatusCode::OK, TEXT, Bytes::from_static(b"ok\n")),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, (reasons.join("\n") + "\n").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Reporter;

    #[tokio::test(start_paused = true)]
    async fn a_document_is_rendered_once_however_many_ask_for_it() {
        let report = Report::new(&[], None, Duration::from_secs(90));
        let answers = Answers::new(&report);
        let status = Status {
            version: crate::status::VERSION,
            program: String::new(),
            pid: 1,
            written_ms: 1,
            written_boot_ms: None,
            started_ms: 1,
            instance: None,
            region: None,
            sources: Vec::new(),
            vips: Vec::new(),
            clock: None,
            problems: Vec::new(),
        };
        report.status(&status);
        let (first, second) = (answers.status().2, answers.status().2);
        assert_eq!(first.as_ptr(), second.as_ptr(), "these are the bytes that were rendered");
        let (first, second) = (answers.page(Refresh::Often).2, answers.page(Refresh::Often).2);
        assert_eq!(first.as_ptr(), second.as_ptr());
        tokio::time::advance(PAGE_FOR).await;
        assert!(first.as_ptr() != answers.page(Refresh::Often).2.as_ptr(), "the ages on the page grow");
        report.status(&Status { pid: 2, ..status });
        let changed = answers.status().2;
        assert!(changed != first, "a new status is rendered anew");
        assert_eq!(answers.metrics().as_ptr(), answers.metrics().as_ptr());
    }
    async fn ask(answers: &Answers<'_>, path: &str) -> Duration {
        let start = Instant::now();
        let request = Request::get(path).body(()).expect("a request");
        answers.to(&request, Hosts::Any).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_without_end_waits_and_holds_up_no_other_document() {
        let report = Report::new(&[], None, Duration::from_secs(90));
        let answers = Answers::new(&report);
        for _ in 0..ANSWERS.burst {
            assert_eq!(ask(&answers, "/metrics").await, Duration::ZERO, "as many at once as the bucket holds");
        }
        let start = Instant::now();
        for _ in 0..100 {
            ask(&answers, "/metrics").await;
        }
        let took = start.elapsed().as_secs_f64();
        assert!((0.95..1.2).contains(&took), "100 a second, and 100 more took {took} s");
        for path in ["/healthz", "/readyz", "/status", "/", "/nowhere"] {
            assert_eq!(ask(&answers, path).await, Duration::ZERO, "{path} has a bucket of its own");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_makes_nobody_wait_for_long() {
        let report = Report::new(&[], None, Duration::from_secs(90));
        let answers = Answers::new(&report);
        let crowd = (0..1000).map(|_| ask(&answers, "/metrics"));
        let longest = futures_util::future::join_all(crowd).await.into_iter().max();
        assert!(longest < Some(Duration::from_millis(400)), "{longest:?}");
        // Who goes while he waits leaves no trace.
        for _ in 0..2 * WAITING {
            assert!(timeout(Duration::ZERO, ask(&answers, "/metrics")).await.is_err(), "it waits for its turn");
        }
        assert_eq!(answers.waiting.get(), 0);
    }
}
