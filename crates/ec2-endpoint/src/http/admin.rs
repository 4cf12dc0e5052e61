//! The admin interface: JSON under `/_endpoint/`, for a test script in another process. No credentials.
//!
//! | request | does |
//! |---|---|
//! | `GET account` | shows the whole account |
//! | `POST events` with `{"stop_instance": "i-..."}` | makes something happen; all of them: [`Event`] |
//! | `GET faults` | shows the faults that are on |
//! | `POST faults` with a [`Fault`] | switches a fault on, answers `{"id": 1}` |
//! | `DELETE faults`, `DELETE faults/1` | switches all off, or one |
//! | `PUT throttling` with `"off"` or `"default"` | switches EC2's own throttling |
//! | `PUT imds/<node>` with an [`ImdsFault`], or `null` | breaks or repairs a node's metadata service |
//! | `GET calls`, `GET calls?since=42` | shows the calls, from a sequence number on |
//! | `DELETE calls` | forgets them |
//!
//! A fault in JSON, every part but `kind` optional: `{"kind": {"latency": {"least": "100ms", "most": "8s"}},
//! "scope": {"callers": ["node-a"], "operations": ["ReplaceRoute"], "roles": []}, "remaining": 3, "chance": 0.5}`.

use hyper::Method;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Fault,
    account::Event,
    service::{FaultId, ImdsFault, Mark, Throttling},
};

use super::{Endpoint, HttpResponse, response};

pub(super) fn answer(
    endpoint: &Endpoint,
    method: &Method,
    path: &str,
    query: Option<&str>,
    body: &str,
) -> HttpResponse {
    match route(endpoint, method, path, query, body) {
        Ok(answer) => response(200, "application/json", None, answer),
        Err((status, message)) => response(status, "text/plain", None, format!("{message}\n")),
    }
}

type Failure = (u16, String);

fn route(endpoint: &Endpoint, method: &Method, path: &str, query: Option<&str>, body: &str) -> Result<String, Failure> {
    let mut parts = path.splitn(2, '/');
    match (method.as_str(), parts.next().unwrap_or_default(), parts.next()) {
        ("GET", "account", None) => json(endpoint.service().account()),
        ("POST", "events", None) => {
            let event: Event = parse(body)?;
            let happened = endpoint.change(|account| account.happen(&event));
            happened.map_err(|error| (400, error.to_string()))?;
            done()
        }
        ("GET", "faults", None) => json(&endpoint.service().faults().map(ShownFault::from).collect::<Vec<_>>()),
        ("POST", "faults", None) => {
            let fault: Fault = parse(body)?;
            let id = endpoint.service().add_fault(fault);
            json(&serde_json::json!({ "id": id }))
        }
        ("DELETE", "faults", None) => {
            endpoint.service().clear_faults();
            done()
        }
        ("DELETE", "faults", Some(id)) => {
            let id: FaultId = parse(id)?;
            if !endpoint.service().remove_fault(id) {
                return Err((404, format!("no fault {} is on", id.0)));
            }
            done()
        }
        ("PUT", "throttling", None) => {
            let throttling: Throttling = parse(body)?;
            endpoint.service().set_throttling(throttling);
            done()
        }
        ("PUT", "imds", Some(node)) => {
            let fault: Option<ImdsFault> = parse(body)?;
            endpoint.service().set_imds_fault(node, fault);
            done()
        }
        ("GET", "calls", None) => {
            let since = query.and_then(|query| query.strip_prefix("since=")).unwrap_or("0");
            let mark = Mark::at(since.parse().map_err(|_| (400, format!("{since} is not a sequence number")))?);
            json(&endpoint.service().calls_since(mark).collect::<Vec<_>>())
        }
        ("DELETE", "calls", None) => {
            endpoint.service().clear_log();
            done()
        }
        (method, ..) => Err((404, format!("there is no {method} /_endpoint/{path}"))),
    }
}

#[derive(Serialize)]
struct ShownFault<'a> {
    id: FaultId,
    fault: &'a Fault,
}

impl<'a> From<(FaultId, &'a Fault)> for ShownFault<'a> {
    fn from((id, fault): (FaultId, &'a Fault)) -> Self {
        Self { id, fault }
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| (400, error.to_string()))
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map(|text| text + "\n").map_err(|error| (500, error.to_string()))
}

fn done() -> Result<String, Failure> {
    Ok("{}\n".to_owned())
}
