//! Names looked up and connections tried, without sending anything.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::check::facts::EndpointFacts;
use crate::ec2::ask::Travelled;

/// The longest wait for the lookup of a name, and for a connection.
const PATIENCE: Duration = Duration::from_secs(1);
/// The port of EC2's endpoint where its URL names none.
const HTTPS: u16 = 443;

/// Looks EC2's host up, and tries its addresses, one of each family.
pub(super) async fn endpoint(travelled: Travelled) -> EndpointFacts {
    let Travelled { host, proxy, .. } = travelled;
    let Some(named) = host else { return EndpointFacts::not_asked() };
    let (host, port) = split(&named);
    let addresses = addresses_of(host, port).await;
    let mut tried = Vec::new();
    if proxy.is_none() {
        let all = addresses.as_deref().unwrap_or_default();
        let (v4, v6) = (all.iter().find(|address| address.is_ipv4()), all.iter().find(|address| address.is_ipv6()));
        let some = [v4, v6].into_iter().flatten().copied();
        tried = join_all(some.map(|address| async move { (address, connect((address, port).into()).await) })).await;
    }
    EndpointFacts { host: Some(host.to_owned()), proxy, addresses, tried }
}

/// The host and the port of an endpoint, as a URI names them.
fn split(named: &str) -> (&str, u16) {
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match named.rsplit_once(':') {
        Some((host, port)) if is_port(port) => (host.trim_matches(['[', ']']), port.parse().unwrap_or(HTTPS)),
        _ => (named.trim_matches(['[', ']']), HTTPS),
    }
}

/// The addresses of a host, each once, or the reason why there are none.
pub(super) async fn addresses_of(host: &str, port: u16) -> Result<Vec<IpAddr>, String> {
    match timeout(PATIENCE, lookup_host((host, port))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<_> = found.map(|address| address.ip()).collect();
            addresses.dedup();
            if addresses.is_empty() { Err("the name has no address".to_owned()) } else { Ok(addresses) }
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the name was not looked up in time".to_owned()),
    }
}

/// Connects, and closes the connection at once. Nothing is sent.
pub(super) async fn connect(address: SocketAddr) -> Result<(), String> {
    match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no connection in time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_split_into_host_and_port() {
        assert_eq!(split("ec2.eu-west-1.amazonaws.com"), ("ec2.eu-west-1.amazonaws.com", 443));
        assert_eq!(split("127.0.0.1:8080"), ("127.0.0.1", 8080));
        assert_eq!(split("[::1]:8080"), ("::1", 8080));
        assert_eq!(split("[fd00:ec2::1]"), ("fd00:ec2::1", 443));
    }
}
