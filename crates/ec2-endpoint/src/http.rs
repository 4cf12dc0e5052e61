//! The service on sockets: EC2's and STS's query protocol on one listener, and the admin interface beside it.
//!
//! Who calls follows from the access key in the request's credential scope. Signatures are not verified: this is a
//! stand-in for EC2 on a machine of one's own, and must not be reachable from anywhere else.

mod admin;
mod form;
mod keys;
mod server;
mod xml;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, body::Body, body::Bytes, body::Incoming, header};
use tokio::{net::TcpListener, time::Instant};

use crate::{Answer, ApiError, Caller, Operation, Outcome, Reply, Service};
use form::Form;
use keys::Keys;

pub(crate) use keys::Credentials;
pub use server::Server;
pub(crate) use server::{Handler, Hangup, HttpResponse};

/// The largest request that is read, in bytes.
const LARGEST_REQUEST: usize = 1 << 20;

/// A service that can be put on sockets. Clones share it.
#[derive(Clone)]
pub struct Endpoint(Arc<Shared>);

struct Shared {
    service: Mutex<Service>,
    keys: Mutex<Keys>,
    started_at: Instant,
    requests: AtomicU64,
}

impl Endpoint {
    /// Time for the service starts now.
    pub fn new(service: Service) -> Self {
        Self(Arc::new(Shared {
            service: Mutex::new(service),
            keys: Mutex::default(),
            started_at: Instant::now(),
            requests: AtomicU64::new(0),
        }))
    }

    /// The service, for tests and operators. Calls wait meanwhile.
    pub fn service(&self) -> MutexGuard<'_, Service> {
        // A panic while it was held can only be a test's own: the service's methods leave it whole.
        self.0.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since the start, as the service counts it.
    pub fn now(&self) -> Duration {
        self.0.started_at.elapsed()
    }

    /// Changes the account from outside, now.
    pub fn change<R>(&self, change: impl FnOnce(&mut crate::Account) -> R) -> R {
        self.service().change(self.now(), change)
    }

    /// Makes an access key belong to a caller. Keys that nobody named belong to a caller of the key's own name.
    pub fn add_access_key(&self, access_key_id: &str, caller: Caller) {
        self.keys().insert(access_key_id.into(), caller);
    }

    pub(crate) fn issue_credentials(&self, caller: Caller, lifetime: Duration) -> Credentials {
        self.keys().issue(self.now(), caller, lifetime)
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves EC2, STS and the admin interface, on the tokio runtime that this is called in.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn serve_api(&self, listener: TcpListener) -> io::Result<Server> {
        Server::start(listener, Api(self.clone()))
    }

    /// Makes a call and waits for what comes of it. A call that is on its way is executed even if its caller gives up
    /// waiting, as it would be by EC2: that is why it has a task of its own.
    async fn call(&self, caller: Caller, operation: Operation) -> Outcome {
        let endpoint = self.clone();
        let execution = tokio::spawn(async move {
            let started = endpoint.service().start(endpoint.now(), &caller, &operation);
            pause(started.delay).await;
            endpoint.service().finish(endpoint.now(), started)
        });
        // A task that failed has no answer to give.
        let Ok(Reply { delay, outcome }) = execution.await else { return Outcome::Dropped };
        pause(delay).await;
        outcome
    }

    /// Looks like the service's, and counts up.
    fn new_request_id(&self) -> String {
        let number = self.0.requests.fetch_add(1, Ordering::Relaxed);
        let mut random = fastrand::Rng::with_seed(number);
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{number:012x}",
            random.u32(..),
            random.u16(..),
            random.u16(..4096),
            random.u16(..4096)
        )
    }
}

/// Not even a yield when there is nothing to wait for.
async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

struct Api(Endpoint);

impl Handler for Api {
    async fn answer(&self, request: Request<Incoming>) -> Result<HttpResponse, Hangup> {
        let (parts, body) = request.into_parts();
        let body = read(body).await?;
        if let Some(path) = parts.uri.path().strip_prefix("/_endpoint/") {
            return Ok(admin::answer(&self.0, &parts.method, path, parts.uri.query(), &body));
        }
        let request_id = self.0.new_request_id();
        // The query protocol works in either place.
        let form = if body.is_empty() { parts.uri.query().unwrap_or_default() } else { &body };
        let mut form = Form::parse(form);
        let is_sts = form.take("Version").is_some_and(|version| version == "2011-06-15");
        let refuse = |error: ApiError| Ok(refusal(&error, is_sts, &request_id));

        let presigned = form.take("X-Amz-Credential");
        let caller = match self.0.keys().caller(self.0.now(), &parts.headers, presigned.as_deref()) {
            Ok(caller) => caller,
            Err(refused) => return refuse(refused.error(is_sts)),
        };
        let Some(action) = form.take("Action") else {
            return refuse(ApiError::client("MissingAction", "The request must contain the parameter Action"));
        };
        let operation = match form.into_operation(&action) {
            Ok(operation) if operation.is_sts() == is_sts => operation,
            Ok(_) => {
                let message = format!("The action {action} is not valid for this version of the API.");
                return refuse(ApiError::client("InvalidAction", message));
            }
            Err(error) => return refuse(error),
        };
        match self.0.call(caller.clone(), operation.clone()).await {
            Outcome::Answered(Ok(answer)) => {
                let body = self.document(&caller, &operation, &answer, &request_id);
                Ok(response(200, "text/xml;charset=UTF-8", Some(&request_id), body))
            }
            Outcome::Answered(Err(error)) => refuse(error),
            Outcome::Html { status } => Ok(response(status, "text/html", None, gateway_page(status))),
            Outcome::Empty => Ok(response(200, "text/xml;charset=UTF-8", Some(&request_id), String::new())),
            Outcome::Dropped => Err(Hangup),
            Outcome::Silence => std::future::pending().await,
        }
    }
}

impl Api {
    fn document(&self, caller: &Caller, operation: &Operation, answer: &Answer, request_id: &str) -> String {
        match answer {
            Answer::RoleAssumed { role_arn, session_name, duration_s } => {
                let lifetime = Duration::from_secs((*duration_s).into());
                let credentials = self.0.issue_credentials(caller.clone().in_role(role_arn), lifetime);
                xml::role_assumed(role_arn, session_name, &credentials, request_id)
            }
            Answer::CallerIdentity { account_id } => xml::caller_identity(account_id, caller, request_id),
            other => xml::answer(operation, other, request_id),
        }
    }
}

fn refusal(error: &ApiError, is_sts: bool, request_id: &str) -> HttpResponse {
    let body = if is_sts { xml::sts_error(error, request_id) } else { xml::error(error, request_id) };
    response(error.status, "text/xml;charset=UTF-8", Some(request_id), body)
}

fn gateway_page(status: u16) -> String {
    format!("<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>gateway</body></html>\n")
}

/// The whole body as text.
pub(crate) async fn read(body: impl Body<Data = Bytes, Error = hyper::Error>) -> Result<String, Hangup> {
    let collected = Limited::new(body, LARGEST_REQUEST).collect().await.map_err(|_| Hangup)?;
    Ok(String::from_utf8_lossy(&collected.to_bytes()).into_owned())
}

/// hyper adds the Date header.
pub(crate) fn response(status: u16, content_type: &str, request_id: Option<&str>, body: String) -> HttpResponse {
    let mut builder = Response::builder().status(status).header(header::CONTENT_TYPE, content_type);
    if let Some(request_id) = request_id {
        builder = builder.header("x-amzn-requestid", request_id);
    }
    builder.body(Full::from(body)).unwrap_or_else(|_| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
