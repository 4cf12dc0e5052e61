//! The instance metadata service (version 2) of one node, answered from the account's state at the moment.
//! Paths after the EC2 user guide, "Instance metadata categories".

mod tree;

use std::{collections::BTreeMap, io, sync::Mutex, time::Duration};

use hyper::{Method, Request, body::Incoming};
use tokio::net::TcpListener;

use crate::{
    Caller, Endpoint, Server,
    account::model::InstanceState,
    http::{Handler, Hangup, HttpResponse, response},
    service::ImdsFault,
};

const TOKEN_PATH: &str = "/latest/api/token";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const LONGEST_TTL_S: u64 = 21_600;

/// How long credentials from the metadata service last.
const CREDENTIALS_LAST: Duration = Duration::from_secs(6 * 3600);

impl Endpoint {
    /// Serves the metadata of one instance, on the tokio runtime that this is called in. Credentials that it hands out are the
    /// caller's, and its faults are those of the caller's name.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn serve_imds(&self, listener: TcpListener, instance_id: &str, caller: Caller) -> io::Result<Server> {
        let tokens = Mutex::default();
        Server::start(listener, Imds { endpoint: self.clone(), instance_id: instance_id.into(), caller, tokens })
    }
}

struct Imds {
    endpoint: Endpoint,
    instance_id: String,
    caller: Caller,
    /// Tokens, and until when they hold, since the endpoint's start.
    tokens: Mutex<BTreeMap<String, Duration>>,
}

impl Handler for Imds {
    /// An instance that does not run has nobody to ask, and nobody to answer.
    fn is_open(&self) -> bool {
        let service = self.endpoint.service();
        let instance = service.account().instance(&self.instance_id);
        instance.is_some_and(|instance| instance.state == InstanceState::Running)
            && service.imds_fault(&self.caller.name) != Some(ImdsFault::Off)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<HttpResponse, Hangup> {
        if !self.is_open() {
            return Err(Hangup);
        }
        let fault = self.endpoint.service().imds_fault(&self.caller.name);
        match fault {
            Some(ImdsFault::Slow { by }) => tokio::time::sleep(by).await,
            Some(ImdsFault::Status { status }) => return Ok(plain(status, "")),
            Some(ImdsFault::Off) | None => {}
        }
        Ok(match (request.method(), request.uri().path()) {
            (&Method::PUT, TOKEN_PATH) => self.new_token(&request),
            (&Method::GET | &Method::HEAD, _) if !self.has_token(&request) => plain(401, "Unauthorized\n"),
            (&Method::GET | &Method::HEAD, path) => self.show(path),
            _ => plain(405, "Method Not Allowed\n"),
        })
    }
}

impl Imds {
    /// The answer carries the lifetime too: SDKs insist on that.
    fn new_token(&self, request: &Request<Incoming>) -> HttpResponse {
        // A request that came through a proxy was not made on the instance.
        if request.headers().contains_key("x-forwarded-for") {
            return plain(403, "Forbidden\n");
        }
        let ttl_s = request.headers().get(TTL_HEADER).and_then(|ttl| ttl.to_str().ok()?.parse::<u64>().ok());
        let Some(ttl_s) = ttl_s.filter(|ttl_s| (1..=LONGEST_TTL_S).contains(ttl_s)) else {
            return plain(400, "Bad Request\n");
        };
        let now = self.endpoint.now();
        let mut tokens = self.tokens();
        tokens.retain(|_, until| *until > now);
        let token = format!("AQAEA{:016x}", fastrand::u64(..));
        tokens.insert(token.clone(), now + Duration::from_secs(ttl_s));
        let mut answer = plain(200, &token);
        answer.headers_mut().insert(TTL_HEADER, ttl_s.into());
        answer
    }

    fn has_token(&self, request: &Request<Incoming>) -> bool {
        let token = request.headers().get(TOKEN_HEADER).and_then(|token| token.to_str().ok());
        let now = self.endpoint.now();
        token.is_some_and(|token| self.tokens().get(token).is_some_and(|until| *until > now))
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Duration>> {
        self.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn show(&self, path: &str) -> HttpResponse {
        let service = self.endpoint.service();
        let Some(tree) = tree::Tree::of(service.account(), &self.instance_id) else {
            return plain(404, "Not Found\n");
        };
        drop(service);
        if let Some(role) =
            path.strip_prefix("/latest/meta-data/iam/security-credentials/").filter(|role| !role.is_empty())
            && tree.role() == Some(role)
        {
            return plain(200, &self.credentials());
        }
        match tree.get(path) {
            Some(value) => plain(200, &value),
            None => plain(404, "Not Found\n"),
        }
    }

    fn credentials(&self) -> String {
        let credentials = self.endpoint.issue_credentials(self.caller.clone(), CREDENTIALS_LAST);
        let json = serde_json::json!({
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "Token": credentials.session_token,
            "Expiration": credentials.expiration,
        });
        json.to_string()
    }
}

fn plain(status: u16, body: &str) -> HttpResponse {
    response(status, "text/plain", None, body.to_owned())
}
