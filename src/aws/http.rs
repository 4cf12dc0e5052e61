//! The HTTP client of every request to AWS: trust, proxy and connections. This module knows no EC2 operation.
//!
//! The SDK's own client also sends requests for the metadata service through `HTTP_PROXY`, but a proxy cannot answer
//! for this instance. This client never uses a proxy for addresses that only this machine can reach, whatever
//! `NO_PROXY` says.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_smithy_http_client::pool::{self, ConnectionPool, DriverSpawner, Partition, PartitionId};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::config_bag::ConfigBag;
use hyper::Uri;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::runtime::Handle;

use super::dns::Remembering;
use super::proxy::Proxies;
use crate::config::sources::{proxy_variables, trust_places};

/// The time after which an unused connection is closed. It is longer than the pause between two passes of a standby
/// (30 s and a quarter), so that the first call of a new leader finds an open connection. It is shorter than 350 s,
/// after which a NAT gateway silently forgets a connection. A connection that the other side closes leaves the pool
/// at once.
const IDLE: Duration = Duration::from_mins(1);

/// The time between two probes of an unused connection. The probes keep the connection alive in firewalls that forget
/// connections sooner than [`IDLE`].
const KEEPALIVE: Duration = Duration::from_secs(15);

/// All connections of a pool share one runtime.
const PARTITION: PartitionId = PartitionId::from_index(0);

/// The error for a setting with which no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("cannot read the CA bundle {path}", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the CA bundle {path} cannot be used: {why}", path = path.display())]
    Unusable { path: PathBuf, why: String },
    #[error("no certificate of an authority is trusted, because the system's trust store has none: {0}")]
    NothingTrusted(String),
    #[error("the URL of a proxy in the environment cannot be used")]
    Proxy,
    #[error("the endpoint of the metadata service cannot be used: {0}")]
    ImdsEndpoint(String),
}

/// A client that uses the proxy of the environment and keeps its connections for the next pass. The client remembers
/// the addresses of host names, so that a resolver that is gone holds nothing up. The client trusts the
/// certificates of `ca_bundle` and no others; without a bundle, it trusts those of the system. `endpoint` is the
/// address that the client is for. The connections live on the runtime in which `client` is called.
///
/// # Errors
/// The bundle cannot be read, or holds no usable certificate. Without a bundle: the system has no usable certificate,
/// and the endpoint is not plain HTTP.
///
/// # Panics
/// `client` panics outside of a tokio runtime.
pub fn client(ca_bundle: Option<&Path>, endpoint: &str) -> Result<SharedHttpClient, SetupError> {
    let trust = match ca_bundle {
        Some(path) => TrustStore::empty().with_pem_certificate(read_bundle(path)?),
        None => match nothing_trusted() {
            None => TrustStore::default(),
            Some(_) if endpoint.starts_with("http://") => TrustStore::empty(),
            Some(why) => return Err(SetupError::NothingTrusted(why)),
        },
    };
    let tls = TlsContext::builder().with_trust_store(trust).build().expect("building it only stores the trust");
    let resolver = Remembering::new();
    let pool = |proxy| {
        let runtime = Handle::current();
        let spawner = DriverSpawner::from_fn(move |connection| drop(runtime.spawn(connection)));
        let pool = ConnectionPool::builder()
            .partitions([Partition::new(PARTITION, spawner)])
            .idle_timeout(IDLE)
            .tcp_keepalive(KEEPALIVE)
            .proxy_config(proxy)
            .dns_resolver(resolver.clone())
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(tls.clone())
            .build_https()
            .expect("there is no limit of connections that could be zero, and one partition that is like no other");
        pool::Client::from_partition(&pool, PARTITION).expect("the partition is declared above")
    };
    let proxies = Proxies::of(&proxy_variables());
    let mut by_url = BTreeMap::new();
    for url in proxies.urls() {
        // The error of the SDK may show the password.
        let proxy = ProxyConfig::all(url).map_err(|_| SetupError::Proxy)?;
        by_url.insert(url.to_owned(), pool(proxy));
    }
    Ok(SharedHttpClient::new(Split { direct: pool(ProxyConfig::disabled()), proxied: by_url, proxies }))
}

/// Tells where the system's certificates were looked for, if there is no usable one. The SDK reads the system's trust
/// store once in the life of the process, so the SDK must not be given a store that is still empty.
fn nothing_trusted() -> Option<String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    (usable == 0).then(|| {
        let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        let looked = trust_places().unwrap_or_else(|| "the usual places, like /etc/ssl/certs".to_owned());
        let why = if errors.is_empty() { String::new() } else { format!(" ({})", errors.join(", ")) };
        format!(
            "looked in {looked}{why}; the package ca-certificates brings them, or aws.ca_bundle names a file with them"
        )
    })
}

/// Reads the bundle and checks every certificate in it. The TLS library would panic on an unusable certificate.
fn read_bundle(path: &Path) -> Result<Vec<u8>, SetupError> {
    let unusable = |why: String| SetupError::Unusable { path: path.to_owned(), why };
    let pem = std::fs::read(path).map_err(|source| SetupError::Unreadable { path: path.to_owned(), source })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(format!("not in PEM format: {error:?}")))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("it holds no certificate in PEM format".to_owned()));
    }
    Ok(pem)
}

/// One client that never uses a proxy, and one for each proxy, by the proxy's URL.
struct Split<T> {
    direct: T,
    proxied: BTreeMap<String, T>,
    proxies: Proxies,
}

/// No URL is shown, because it may hold a password.
impl<T> fmt::Debug for Split<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Split").finish_non_exhaustive()
    }
}

impl HttpClient for Split<pool::Client> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let proxied =
            self.proxied.iter().map(|(url, client)| (url.clone(), client.http_connector(settings, components)));
        SharedHttpConnector::new(Split {
            direct: self.direct.http_connector(settings, components),
            proxied: proxied.collect(),
            proxies: self.proxies.clone(),
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.direct.validate_base_client_config(components, config)?;
        self.proxied.values().try_for_each(|client| client.validate_base_client_config(components, config))
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.direct.connector_metadata()
    }
}

impl HttpConnector for Split<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let proxy = url_of_proxy(&self.proxies, request.uri());
        proxy.and_then(|url| self.proxied.get(url)).unwrap_or(&self.direct).call(request)
    }
}

/// The URL of the proxy through which the URI is asked; `None` if the URI is asked directly.
fn url_of_proxy<'a>(proxies: &'a Proxies, uri: &str) -> Option<&'a str> {
    if is_local(uri) { None } else { proxies.of_uri(uri) }
}

/// Whether only this machine can reach the host: loopback, link-local (the metadata service at 169.254.169.254, the
/// credentials of a container at 169.254.170.2), or EC2's own IPv6 services in fd00:ec2::/32.
fn is_local(uri: &str) -> bool {
    let Some(host) = host(uri) else { return false };
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback()
                || address.is_unicast_link_local()
                || (address.segments()[0], address.segments()[1]) == (0xfd00, 0x0ec2)
        }
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// The proxy through which the URI is asked, without its user and password; `None` if the URI is asked directly.
pub fn proxy_of(uri: &str) -> Option<String> {
    let proxies = Proxies::of(&proxy_variables());
    let proxy: Uri = url_of_proxy(&proxies, uri)?.parse().ok()?;
    // The name of the user and the password stand before the host.
    let host = proxy.authority()?.as_str().rsplit('@').next()?.to_owned();
    Some(format!("{}://{host}", proxy.scheme_str().unwrap_or("http")))
}

/// The host of a URI, with the port if the URI names one.
pub fn host_and_port(uri: &str) -> Option<String> {
    let authority = uri.parse::<Uri>().ok()?.authority()?.as_str().to_owned();
    authority.rsplit('@').next().map(str::to_owned)
}

/// The host of a URI, without the port.
fn host(uri: &str) -> Option<String> {
    uri.parse::<Uri>().ok()?.host().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::one_line;

    #[test]
    fn what_only_this_machine_can_reach_is_never_asked_through_a_proxy() {
        for uri in [
            "http://169.254.169.254/latest/api/token",
            "http://[fd00:ec2::254]/latest/api/token",
            "http://169.254.170.2/v2/credentials",
            "http://127.0.0.1:4566/",
            "http://[::1]:4566/",
            "http://localhost:4566/",
        ] {
            assert!(is_local(uri), "{uri}");
        }
        for uri in [
            "https://ec2.eu-central-1.amazonaws.com/",
            "https://localhost.example.com/",
            "http://10.0.0.1/",
            "http://[fd00::1]/",
            "no uri",
        ] {
            assert!(!is_local(uri), "{uri}");
        }
    }

    #[tokio::test]
    async fn a_bundle_that_cannot_be_used_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let message = || one_line(&client(Some(&path), "").unwrap_err());
        assert_eq!(
            message(),
            format!("cannot read the CA bundle {}: No such file or directory (os error 2)", path.display())
        );
        let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, why) in [("", "no certificate"), ("hello", "no certificate"), (garbled, "invalid peer certificate")]
        {
            std::fs::write(&path, text).unwrap();
            assert!(message().contains(why), "{}", message());
        }
    }
}
