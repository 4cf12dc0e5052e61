//! This node's identity by the instance metadata service (IMDSv2). The service is asked only for values that the
//! configuration does not set.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use aws_config::Region;
use aws_config::imds::Client;
use aws_config::imds::client::Builder;
use aws_config::imds::client::error::{ImdsError, TokenError};
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_ec2::error::SdkError;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use ipnet::IpNet;

use super::causes::causes;
use super::http::{self, SetupError};
use crate::config::sources::{metadata_endpoint, profile_variable};
use crate::config::{self, Aws, Identity};
use crate::ec2::stranger::{Meant, Stranger};
use crate::identity::{Blocks, Node, NodeInterface};
use crate::machine::container;
use crate::machine::netlink::first_name_of;

/// The time limit for a connection to the metadata service, which is one hop away.
const CONNECT: Duration = Duration::from_secs(1);
/// The time limit for one answer. The service limits the requests of each instance: at the limit it answers slowly or
/// with a 5xx status.
const READ: Duration = Duration::from_secs(1);
/// The time limit for one question with all its repetitions.
const OPERATION: Duration = Duration::from_secs(5);
/// The most times that one question is asked while the answers are 5xx.
const ATTEMPTS: u32 = 3;
/// The kernel's folder of interfaces.
const SYSFS: &str = "/sys/class/net";

/// The reason why this node's identity is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the metadata service did not tell {what}: {why}")]
    NotTold { what: String, why: String },
    #[error("{address} told {what}, but {why}; is another service in the metadata service's place?")]
    Unexpected { address: String, what: String, why: String },
    #[error("the region of {of} cannot be used: {why}")]
    BadRegion { of: &'static str, why: String },
    #[error("no interface {name} on this machine (gone, or renamed?); there are: {}", list(others))]
    NoInterface { name: String, others: Vec<String> },
    #[error(
        "interface {name} ({mac}) is none of this instance's: the metadata service knows {}; \
         is the interface a bridge or a container's?",
        list(known)
    )]
    NotOurs { name: String, mac: String, known: Vec<String> },
    #[error("no interface of this machine has {mac}, the address of this instance's first ENI: name the interface")]
    NoFirst { mac: String },
    #[error(
        "the interfaces {} all have {mac}, the address of this instance's first ENI: name the one that is meant, with \
         interface = \"...\"",
        list(names)
    )]
    ManyFirst { mac: String, names: Vec<String> },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The interfaces that a [`Node`] must describe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WantedInterfaces {
    pub named: BTreeSet<String>,
    /// Whether the first interface is wanted too. If the configuration names ENIs, the first interface is the first
    /// of them by name; otherwise it is the interface of the ENI with device number 0.
    pub first: bool,
}

/// One interface of this machine, as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The MAC address, in lower case with colons.
    pub mac: String,
    /// Whether the interface has a device. The interface of an ENI has one; a macvlan or a bridge has none.
    pub has_device: bool,
}

/// Every interface of this machine that has a MAC address, by the interface's name.
///
/// # Errors
/// The kernel's list of interfaces cannot be read.
pub fn local_cards() -> std::io::Result<BTreeMap<String, Card>> {
    let mut cards = BTreeMap::new();
    for entry in std::fs::read_dir(Path::new(SYSFS))? {
        let entry = entry?;
        // An interface may disappear between the listing and the reading of its address.
        if let Ok(mac) = std::fs::read_to_string(entry.path().join("address")) {
            let has_device = entry.path().join("device").exists();
            let card = Card { mac: mac.trim().to_ascii_lowercase(), has_device };
            cards.insert(entry.file_name().to_string_lossy().into_owned(), card);
        }
    }
    cards.retain(|_, card| !card.mac.is_empty() && card.mac != "00:00:00:00:00:00");
    Ok(cards)
}

/// The interface with a device and this card's MAC address, if this card has no device itself.
fn device_below(card: &Card, cards: &BTreeMap<String, Card>) -> Option<String> {
    let is_below = |below: &Card| !card.has_device && below.has_device && below.mac == card.mac;
    cards.iter().find(|(_, below)| is_below(below)).map(|(name, _)| name.clone())
}

/// The instance metadata service.
#[derive(Debug)]
pub struct Imds {
    client: Client,
    config: ProviderConfig,
    from: Vantage,
}

impl Imds {
    /// Prepares the client and sends no request yet. The client honours `AWS_EC2_METADATA_SERVICE_ENDPOINT`. It uses
    /// no proxy: the service answers for the machine that asks it directly.
    ///
    /// # Errors
    /// The `ca_bundle` or the metadata service's endpoint cannot be used, or the service is asked by TLS and nothing is
    /// trusted.
    pub fn new(aws: &Aws) -> Result<Self, SetupError> {
        let mut builder = Client::builder();
        if let Some(endpoint) = &aws.imds_endpoint {
            builder = builder.endpoint(endpoint).map_err(|error| SetupError::ImdsEndpoint(error.to_string()))?;
        }
        Ok(Self::with(builder, http::client(aws.ca_bundle.as_deref(), &address(aws))?, Vantage::of(aws)))
    }

    fn with(builder: Builder, http: SharedHttpClient, from: Vantage) -> Self {
        let config = ProviderConfig::default().with_http_client(http);
        let client = builder
            .configure(&config)
            .connect_timeout(CONNECT)
            .read_timeout(READ)
            .operation_attempt_timeout(CONNECT + READ)
            .operation_timeout(OPERATION)
            .max_attempts(ATTEMPTS)
            .build();
        Self { client, config, from }
    }

    /// Finds out who this node is. `cards` are the machine's interfaces, as [`local_cards`] gives them. A wanted
    /// interface that is not found is listed in `Node::missing` and is no error.
    ///
    /// # Errors
    /// The metadata service does not tell the region or the instance. The error says what to do.
    pub async fn node(
        &self,
        identity: &Identity,
        aws: &Aws,
        wanted: &WantedInterfaces,
        cards: &BTreeMap<String, Card>,
    ) -> Result<Node, IdentityError> {
        let region = self.region(aws).await?;
        let instance = match &identity.instance_id {
            Some(instance) => instance.clone(),
            None => self.parsed("instance-id", "the instance id").await?,
        };
        let mut node = Node { instance, region, first: None, interfaces: BTreeMap::new(), missing: BTreeMap::new() };
        // A missing interface must affect only the VIPs that need it.
        match (wanted.first, identity.interfaces.keys().next()) {
            (false, _) => {}
            (true, Some(name)) => node.first = Some(name.clone()),
            (true, None) => match self.first_interface(cards).await {
                Ok(name) => node.first = Some(name),
                Err(error) => _ = node.missing.insert(None, error.to_string()),
            },
        }
        for name in wanted.named.iter().chain(&node.first) {
            let interface = match identity.interfaces.get(name) {
                Some(eni) => {
                    let first_name = if cards.contains_key(name) { None } else { first_name_of(name) };
                    let card = cards.get(first_name.as_deref().unwrap_or(name));
                    let named = NodeInterface::named(eni.clone(), card.map(|card| card.mac.clone()));
                    Ok(NodeInterface {
                        first_name,
                        device_below: card.and_then(|card| device_below(card, cards)),
                        ..named
                    })
                }
                None => self.interface(name, cards).await,
            };
            match interface {
                Ok(interface) => _ = node.interfaces.insert(name.clone(), interface),
                Err(error) => _ = node.missing.insert(Some(name.clone()), error.to_string()),
            }
        }
        Ok(node)
    }

    /// The type of this instance, like `t3.medium`.
    ///
    /// # Errors
    /// The metadata service does not tell.
    pub async fn instance_type(&self) -> Result<String, IdentityError> {
        self.required("instance-type", "the instance type").await
    }

    /// The region. The first source that has one counts: the configuration, which knows the environment's variables too,
    /// the profile, the metadata service.
    async fn region(&self, aws: &Aws) -> Result<String, IdentityError> {
        if let Some(region) = &aws.region {
            return Ok(region.clone());
        }
        let mut profile = ProfileFileRegionProvider::builder().configure(&self.config);
        if let Some(name) = profile_to_tell(aws) {
            profile = profile.profile_name(name);
        }
        let (region, of) = match profile.build().region().await.as_ref().map(Region::as_ref) {
            Some(region) => (region.to_owned(), "the profile"),
            None => {
                (self.required("placement/region", "the region (aws.region sets it)").await?, "the metadata service")
            }
        };
        config::region(&region).map_err(|why| IdentityError::BadRegion { of, why })
    }

    async fn first_interface(&self, cards: &BTreeMap<String, Card>) -> Result<String, IdentityError> {
        let mac = self.required("mac", "the address of the first ENI").await?.to_ascii_lowercase();
        let same: BTreeMap<_, _> = cards.iter().filter(|(_, card)| card.mac == mac).collect();
        // A macvlan or a bridge may have the MAC address of the ENI below it. An interface with a device is
        // preferred.
        let devices = || same.iter().filter(|(_, card)| card.has_device).map(|(name, _)| (*name).clone());
        let all = || same.keys().map(|name| (*name).clone());
        let candidates: Vec<_> = if devices().next().is_some() { devices().collect() } else { all().collect() };
        match candidates.as_slice() {
            [name] => Ok(name.clone()),
            [] => Err(IdentityError::NoFirst { mac }),
            _ => Err(IdentityError::ManyFirst { mac, names: candidates }),
        }
    }

    async fn interface(&self, name: &str, cards: &BTreeMap<String, Card>) -> Result<NodeInterface, IdentityError> {
        let first_name = if cards.contains_key(name) { None } else { first_name_of(name) };
        let Some(card) = cards.get(first_name.as_deref().unwrap_or(name)) else {
            return Err(IdentityError::NoInterface { name: name.to_owned(), others: cards.keys().cloned().collect() });
        };
        let mac = &card.mac;
        let listed = self.required("network/interfaces/macs/", "this instance's ENIs").await?;
        let known: Vec<_> = listed.lines().map(|line| line.trim().trim_end_matches('/').to_ascii_lowercase()).collect();
        if !known.contains(mac) {
            return Err(IdentityError::NotOurs { name: name.to_owned(), mac: mac.clone(), known });
        }
        let path = |item: &str| format!("network/interfaces/macs/{mac}/{item}");
        let of = |item: &str| format!("{item} of {name}");
        let addresses = self.optional(&path("local-ipv4s"), &of("the addresses")).await?;
        Ok(NodeInterface {
            eni: self.parsed(&path("interface-id"), &of("the ENI")).await?,
            mac: Some(mac.clone()),
            // The service lists the primary address first. An ENI without IPv4 has no list.
            primary_ip: addresses.as_deref().and_then(|list| list.lines().next()?.trim().parse().ok()),
            subnet: Some(self.parsed(&path("subnet-id"), &of("the subnet")).await?),
            vpc: Some(self.parsed(&path("vpc-id"), &of("the VPC")).await?),
            blocks: Blocks {
                subnet: self.blocks(&path, &["subnet-ipv4-cidr-block", "subnet-ipv6-cidr-blocks"]).await,
                vpc: self.blocks(&path, &["vpc-ipv4-cidr-blocks", "vpc-ipv6-cidr-blocks"]).await,
            },
            first_name,
            device_below: device_below(card, cards),
        })
    }

    /// The address blocks in these items. A block that is not told is no error, because only warnings depend on it.
    async fn blocks(&self, path: &impl Fn(&str) -> String, items: &[&str]) -> Vec<IpNet> {
        let mut blocks = Vec::new();
        for item in items {
            let told = self.optional(&path(item), item).await.ok().flatten().unwrap_or_default();
            blocks.extend(told.lines().filter_map(|line| line.trim().parse::<IpNet>().ok()));
        }
        blocks
    }

    async fn parsed<T>(&self, path: &str, what: &str) -> Result<T, IdentityError>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        let text = self.required(path, what).await?;
        text.parse().map_err(|error: T::Err| IdentityError::Unexpected {
            address: self.from.address.clone(),
            what: what.to_owned(),
            why: error.to_string(),
        })
    }

    async fn required(&self, path: &str, what: &str) -> Result<String, IdentityError> {
        let why = || format!("{} has none (HTTP 404)", self.from.address);
        let nothing = || IdentityError::NotTold { what: what.to_owned(), why: why() };
        self.optional(path, what).await?.ok_or_else(nothing)
    }

    /// One item below `/latest/meta-data/`. `None` if the service has no such item.
    async fn optional(&self, path: &str, what: &str) -> Result<Option<String>, IdentityError> {
        match self.client.get(format!("/latest/meta-data/{path}")).await {
            Ok(text) => Ok(Some(text.as_ref().trim().to_owned())),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => {
                let why =
                    format!("{}; or set identity and aws.region in the configuration", explain(&error, &self.from));
                Err(IdentityError::NotTold { what: what.to_owned(), why })
            }
        }
    }
}

/// The service's answer, or its answer to the request for a session token.
fn answer(error: &ImdsError) -> Option<&HttpResponse> {
    match error {
        ImdsError::ErrorResponse(answer) => Some(answer.response()),
        other => other.source()?.downcast_ref::<SdkError<TokenError>>()?.raw_response(),
    }
}

fn status(error: &ImdsError) -> Option<u16> {
    answer(error).map(|answer| answer.status().as_u16())
}

/// Whether the service answered with a 4xx status, so that a repetition will not help.
#[must_use]
pub fn is_refusal(error: &ImdsError) -> bool {
    status(error).is_some_and(|status| (400..500).contains(&status))
}

/// The place from which the metadata service is asked. The description of an error depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vantage {
    /// The service's address.
    pub address: String,
    pub in_container: bool,
}

impl Vantage {
    /// The place of this process, where the config names no other metadata service.
    #[must_use]
    pub fn of_process() -> Self {
        Self::of(&Aws::default())
    }

    fn of(aws: &Aws) -> Self {
        Self { address: address(aws), in_container: container::is_likely() }
    }

    /// The end of a sentence about a service that does not answer.
    #[must_use]
    pub fn way_to_it(&self) -> &'static str {
        if self.in_container {
            "; in a container the service's hop limit must be 2: \
             `aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2`"
        } else {
            "; a firewall on this machine may forbid it to this user"
        }
    }
}

/// The address of the metadata service: that of the config, else that of the SDK's variables, else the usual one.
#[must_use]
pub fn address(aws: &Aws) -> String {
    aws.imds_endpoint.clone().unwrap_or_else(metadata_endpoint)
}

/// The profile that the SDK must be told; `None` where the SDK finds it by itself. A variable that is set and empty
/// counts as not set, but the SDK would look for a profile without a name.
#[must_use]
pub fn profile_to_tell(aws: &Aws) -> Option<&str> {
    let is_empty = || profile_variable().is_some_and(|name| name.is_empty());
    aws.profile.as_deref().or_else(|| is_empty().then_some("default"))
}

/// Describes the error and what to do about it.
#[must_use]
pub fn explain(error: &ImdsError, from: &Vantage) -> String {
    let address = &from.address;
    match answer(error) {
        Some(answer) if answer.status().as_u16() == 403 => format!(
            "{address} refuses (HTTP 403): the service is switched off for this instance, or a firewall on it forbids this \
             user; `aws ec2 modify-instance-metadata-options --http-endpoint enabled` switches it on"
        ),
        // The service's own word for "ask again". It calls itself EC2ws.
        Some(answer)
            if answer.status().as_u16() == 503
                && (answer.body().bytes().is_none_or(<[u8]>::is_empty)
                    || answer.headers().get("server").is_some_and(|server| server.starts_with("EC2ws"))) =>
        {
            format!("{address} could not answer now (HTTP 503), as the service does under too many requests")
        }
        Some(answer) if answer.status().as_u16() == 404 => format!("{address} has no such item (HTTP 404)"),
        Some(answer) => {
            let header = |name: &str| answer.headers().get(name);
            let stranger = Stranger {
                meant: Meant::MetadataService,
                asked: address,
                // The service is never asked through a proxy.
                proxy: None,
                status: answer.status().as_u16(),
                server: header("server"),
                via: header("via"),
                body: answer.body().bytes().unwrap_or_default(),
            };
            stranger.to_string()
        }
        None => format!("no answer from {address} ({}){}", causes(error), from.way_to_it()),
    }
}

#[cfg(test)]
mod tests;
