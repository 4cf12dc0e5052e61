//! Tests of the identity against a canned metadata service on loopback.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::ids::EniId;

#[path = "../../../tests/support/interfaces.rs"]
mod interfaces;

/// Stands for another service that answers 200 to everything.
const NO_METADATA_SERVICE: u16 = 0;
/// Stands for an item at which the service answers that it is asked too often.
const BUSY: &str = "busy";
const MACS: &str = "network/interfaces/macs/";

/// A metadata service that has these items. Dropping the value stops it.
struct Service {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Service {
    /// Starts the service. `token` is the status of its answer to the request for a session token.
    async fn start(token: u16, items: &'static [(&'static str, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn({
            let asked = Arc::clone(&asked);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let asked = Arc::clone(&asked);
                    let service = service_fn(move |request| {
                        let response = answer(&request, token, items, &asked);
                        async move { Ok::<_, Infallible>(response) }
                    });
                    let server = hyper::server::conn::http1::Builder::new();
                    tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
                }
            }
        });
        Self { url, asked, task }
    }

    fn imds(&self) -> Imds {
        at(&self.url)
    }

    /// The items that were asked for, without session tokens.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(
    request: &Request<Incoming>,
    token: u16,
    items: &[(&str, &str)],
    asked: &Mutex<Vec<String>>,
) -> Response<Full<Bytes>> {
    let response = Response::builder();
    let (status, response, body) = if request.method() == Method::PUT {
        // A token without its lifetime is invalid. A service that answers 200 to everything gives such a token.
        let lifetime = if token == NO_METADATA_SERVICE { "x-other" } else { "x-aws-ec2-metadata-token-ttl-seconds" };
        (if token == NO_METADATA_SERVICE { 200 } else { token }, response.header(lifetime, "21600"), "token")
    } else if request.headers().get("x-aws-ec2-metadata-token").is_none_or(|token| token != "token") {
        (401, response, "")
    } else {
        let path = request.uri().path().strip_prefix("/latest/meta-data/").unwrap();
        asked.lock().unwrap().push(path.to_owned());
        match items.iter().find(|(item, _)| *item == path) {
            Some((_, BUSY)) => (503, response, ""),
            Some((_, value)) => (200, response, *value),
            None => (404, response, ""),
        }
    };
    response.status(status).body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

fn at(url: &str) -> Imds {
    in_place(url, false)
}

fn in_place(url: &str, in_container: bool) -> Imds {
    let from = Vantage { address: url.to_owned(), in_container };
    Imds::with(Client::builder().endpoint(url).unwrap(), http::client(None, url).unwrap(), from)
}

/// A configuration with a region, so that this machine's environment does not matter.
fn aws() -> Aws {
    Aws { region: Some("eu-central-1".to_owned()), ..Aws::default() }
}

fn card(mac: &str, has_device: bool) -> Card {
    Card { mac: mac.to_owned(), has_device }
}

fn cards() -> BTreeMap<String, Card> {
    [("eth0", "0a:00:00:00:00:01"), ("eth1", "0a:00:00:00:00:02"), ("br0", "02:00:00:00:00:09")]
        .map(|(name, mac)| (name.to_owned(), card(mac, name != "br0")))
        .into()
}

fn wanted(named: &[&str], first: bool) -> WantedInterfaces {
    WantedInterfaces { named: named.iter().map(ToString::to_string).collect(), first }
}

const ITEMS: &[(&str, &str)] = &[
    ("instance-id", "i-0aa"),
    ("mac", "0a:00:00:00:00:01"),
    (MACS, "0a:00:00:00:00:01/\n0a:00:00:00:00:02/"),
    ("network/interfaces/macs/0a:00:00:00:00:01/interface-id", "eni-01"),
    ("network/interfaces/macs/0a:00:00:00:00:01/local-ipv4s", "10.0.1.7\n10.0.1.50"),
    ("network/interfaces/macs/0a:00:00:00:00:01/subnet-id", "subnet-01"),
    ("network/interfaces/macs/0a:00:00:00:00:01/vpc-id", "vpc-01"),
    ("network/interfaces/macs/0a:00:00:00:00:01/subnet-ipv4-cidr-block", "10.0.1.0/24"),
    ("network/interfaces/macs/0a:00:00:00:00:01/vpc-ipv4-cidr-blocks", "10.0.0.0/16\n10.7.0.0/16"),
    ("network/interfaces/macs/0a:00:00:00:00:01/vpc-ipv6-cidr-blocks", "2600:1f18:1::/56"),
    ("network/interfaces/macs/0a:00:00:00:00:02/interface-id", "eni-02"),
    ("network/interfaces/macs/0a:00:00:00:00:02/subnet-id", "subnet-01"),
    ("network/interfaces/macs/0a:00:00:00:00:02/vpc-id", "vpc-01"),
];

#[tokio::test]
async fn the_first_interface_is_the_one_with_the_first_enis_address() {
    let service = Service::start(200, ITEMS).await;
    let node = service.imds().node(&Identity::default(), &aws(), &wanted(&["eth1"], true), &cards()).await.unwrap();
    let first = NodeInterface {
        eni: "eni-01".parse().unwrap(),
        mac: Some("0a:00:00:00:00:01".to_owned()),
        primary_ip: Some("10.0.1.7".parse().unwrap()),
        subnet: Some("subnet-01".parse().unwrap()),
        vpc: Some("vpc-01".parse().unwrap()),
        blocks: Blocks {
            subnet: vec!["10.0.1.0/24".parse().unwrap()],
            vpc: ["10.0.0.0/16", "10.7.0.0/16", "2600:1f18:1::/56"].map(|block| block.parse().unwrap()).into(),
        },
        first_name: None,
        device_below: None,
    };
    let second = NodeInterface {
        eni: "eni-02".parse().unwrap(),
        mac: Some("0a:00:00:00:00:02".to_owned()),
        primary_ip: None,
        blocks: Blocks::default(),
        ..first.clone()
    };
    let expected = Node {
        instance: "i-0aa".parse().unwrap(),
        region: "eu-central-1".to_owned(),
        first: Some("eth0".to_owned()),
        interfaces: [("eth0".to_owned(), first), ("eth1".to_owned(), second)].into(),
        missing: BTreeMap::new(),
    };
    assert_eq!(node, expected);
}

#[tokio::test]
async fn what_the_configuration_names_is_not_asked_for() {
    let service = Service::start(403, &[]).await;
    let eni: EniId = "eni-0c".parse().unwrap();
    let identity =
        Identity { instance_id: Some("i-0cc".parse().unwrap()), interfaces: [("eth1".to_owned(), eni.clone())].into() };
    let node = service.imds().node(&identity, &aws(), &wanted(&[], true), &cards()).await.unwrap();
    assert_eq!(node.first.as_deref(), Some("eth1"));
    let interface = NodeInterface::named(eni, Some("0a:00:00:00:00:02".to_owned()));
    assert_eq!(node.interfaces, [("eth1".to_owned(), interface)].into());
    assert_eq!(service.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn an_interface_that_is_none_of_the_instances_is_named() {
    let service = Service::start(200, ITEMS).await;
    let refusal = async |name: &str| {
        let wanted = wanted(&[name], true);
        let node = service.imds().node(&Identity::default(), &aws(), &wanted, &cards()).await.unwrap();
        // The other interfaces are found all the same.
        assert_eq!(node.interfaces.keys().collect::<Vec<_>>(), ["eth0"]);
        node.missing[&Some(name.to_owned())].clone()
    };
    assert_eq!(refusal("eth7").await, interfaces::NONE);
    assert_eq!(refusal("br0").await, interfaces::NOT_OURS);
}

#[tokio::test]
async fn a_failure_says_what_to_do_about_it() {
    let failure = async |imds: Imds| {
        let outcome = imds.node(&Identity::default(), &aws(), &wanted(&[], false), &cards()).await;
        outcome.unwrap_err().to_string()
    };
    let service = Service::start(403, ITEMS).await;
    let off = failure(service.imds()).await;
    let refuses = format!("the metadata service did not tell the instance id: {} refuses (HTTP 403)", service.url);
    assert!(off.starts_with(&refuses), "{off}");
    let instead = "; or set identity and aws.region in the configuration";
    assert!(off.contains("--http-endpoint enabled") && off.ends_with(instead), "{off}");

    let other = Service::start(NO_METADATA_SERVICE, ITEMS).await;
    let (other, url) = (failure(other.imds()).await, other.url.clone());
    let expected =
        format!("{url}, asked directly, gave an answer that is none of the metadata service's: HTTP 200 with text");
    assert!(other.contains(&expected) && other.contains("kube2iam") && other.ends_with(instead), "{other}");

    let empty = Service::start(200, &[]).await;
    let missing = failure(empty.imds()).await;
    let none = format!("the metadata service did not tell the instance id: {} has none (HTTP 404)", empty.url);
    assert_eq!(missing, none);

    let strange = Service::start(200, &[("instance-id", "<html>")]).await;
    let strange = failure(strange.imds()).await;
    assert!(strange.contains(" told the instance id, but '<html>' is no instance id"), "{strange}");
    assert!(
        strange.starts_with("http://127.0.0.1:") && strange.ends_with("in the metadata service's place?"),
        "{strange}"
    );

    let busy = failure(Service::start(200, &[("instance-id", BUSY)]).await.imds()).await;
    assert!(
        busy.contains(" could not answer now (HTTP 503), as the service does") && busy.ends_with(instead),
        "{busy}"
    );
}

#[tokio::test]
async fn a_service_that_is_silent_is_given_up_soon_and_the_hop_limit_is_for_containers_alone() {
    // The listener accepts connections in the kernel's queue alone, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    for in_container in [true, false] {
        let start = Instant::now();
        let imds = in_place(&url, in_container);
        let error =
            imds.node(&Identity::default(), &aws(), &wanted(&[], false), &cards()).await.unwrap_err().to_string();
        assert!(error.contains(&format!("no answer from {url} (")), "{error}");
        assert_eq!(error.contains("--http-put-response-hop-limit 2"), in_container, "{error}");
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    }
}

#[test]
fn this_machines_interfaces_are_listed_without_loopback() {
    let cards = local_cards().unwrap();
    assert!(!cards.contains_key("lo"), "{cards:?}");
    assert!(cards.values().all(|card| card.mac.contains(':')), "{cards:?}");
}

#[tokio::test]
async fn a_macvlan_with_the_address_of_an_eni_is_not_taken_for_it() {
    let service = Service::start(200, ITEMS).await;
    let first = async |cards: &[(&str, Card)]| {
        let cards = cards.iter().map(|(name, card)| ((*name).to_owned(), card.clone())).collect();
        service.imds().node(&Identity::default(), &aws(), &wanted(&[], true), &cards).await.unwrap()
    };
    let eni = "0a:00:00:00:00:01";
    let node = first(&[("a-macvlan", card(eni, false)), ("eth0", card(eni, true))]).await;
    assert_eq!(node.first.as_deref(), Some("eth0"));
    let cards =
        [("a-macvlan", card(eni, false)), ("eth0", card(eni, true))].map(|(name, card)| (name.to_owned(), card));
    let named = wanted(&["a-macvlan", "eth0"], false);
    let node = service.imds().node(&Identity::default(), &aws(), &named, &cards.into()).await.unwrap();
    let below = |name: &str| node.interfaces[name].device_below.as_deref();
    assert_eq!((below("a-macvlan"), below("eth0")), (Some("eth0"), None), "what is named is used, and told");
    let node = first(&[("a", card(eni, false)), ("b", card(eni, false))]).await;
    assert_eq!(node.first, None);
    assert_eq!(node.missing[&None], interfaces::TWO_ALIKE);
    let node = first(&[("ens5", card("0a:00:00:00:00:05", true))]).await;
    assert_eq!(node.missing[&None], interfaces::NO_FIRST);
    let renamed = BTreeMap::from([("ens5".to_owned(), card(eni, true))]);
    let node = service.imds().node(&Identity::default(), &aws(), &wanted(&["eth0"], false), &renamed).await.unwrap();
    assert_eq!(node.missing[&Some("eth0".to_owned())], interfaces::RENAMED);
}
