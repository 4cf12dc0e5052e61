//! The names by which the listener may be asked. A web site can make its own name resolve to 127.0.0.1, and could then read
//! with a browser on this machine everything that is served on loopback. The name in the request gives such a site away.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode, Version};

const MISDIRECTED: &str =
    "by loopback the listener answers to 127.0.0.1, [::1] and localhost alone: see metrics.listen\n";
const NO_HOST: &str = "exactly one Host is needed\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hosts {
    /// The client came by loopback: only loopback's own names are answered.
    Loopback,
    /// The client came by an address that others reach, by names that the daemon cannot know.
    Any,
}

impl Hosts {
    /// By the listener's side of a connection.
    pub(super) fn of_address(address: IpAddr) -> Self {
        if is_loopback(address) { Self::Loopback } else { Self::Any }
    }

    /// Whether a request is to be answered.
    ///
    /// # Errors
    /// The status and the text of the answer to a request that is not.
    pub(super) fn check<B>(self, request: &Request<B>) -> Result<(), (StatusCode, &'static str)> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let (host, another) = (hosts.next(), hosts.next());
        if another.is_some() || (host.is_none() && request.version() >= Version::HTTP_11) {
            return Err((StatusCode::BAD_REQUEST, NO_HOST));
        }
        let named = host.map(|host| Authority::try_from(host.as_bytes()));
        // A request that names its target in full means that one, whatever its Host says.
        let named = request.uri().authority().cloned().map(Ok).or(named);
        match (self, named) {
            (Self::Any, _) | (Self::Loopback, None) => Ok(()),
            (Self::Loopback, Some(Ok(name))) if is_of_loopback(&name) => Ok(()),
            (Self::Loopback, Some(_)) => Err((StatusCode::MISDIRECTED_REQUEST, MISDIRECTED)),
        }
    }
}

/// Whether the name is one of loopback's, with any port, because tunnels have ports of their own.
fn is_of_loopback(name: &Authority) -> bool {
    let host = name.host();
    let address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(literal) => literal.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    };
    !name.as_str().contains('@') && (host.eq_ignore_ascii_case("localhost") || address.is_some_and(is_loopback))
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address == Ipv6Addr::LOCALHOST || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(hosts: Hosts, request: hyper::http::request::Builder) -> Result<(), StatusCode> {
        hosts.check(&request.body(()).expect("a request")).map_err(|(status, _)| status)
    }

    fn asked_as(host: &str) -> Result<(), StatusCode> {
        answered(Hosts::Loopback, Request::get("/").header(HOST, host))
    }

    #[test]
    fn on_loopback_only_its_own_names_are_answered() {
        for host in ["localhost", "LocalHost:1", "127.0.0.1", "127.0.0.1:9813", "127.1.2.3", "[::1]", "[::1]:80"] {
            assert_eq!(asked_as(host), Ok(()), "{host}");
        }
        let others = [
            "evil.example",
            "evil.example:9813",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]",
            "::1",
            "0.0.0.0",
            "",
            "localhost@evil.example",
            "evil@localhost",
            "localhost:9813:1",
            "0177.0.0.1",
            "evil.example, localhost",
            "localhost/",
        ];
        for host in others {
            assert_eq!(asked_as(host), Err(StatusCode::MISDIRECTED_REQUEST), "{host}");
        }
    }

    #[test]
    fn the_target_of_the_request_counts_before_its_host() {
        let full = |target: &str| answered(Hosts::Loopback, Request::get(target).header(HOST, "localhost"));
        assert_eq!(full("http://evil.example/"), Err(StatusCode::MISDIRECTED_REQUEST));
        assert_eq!(full("http://127.0.0.1:9813/"), Ok(()));
    }

    #[test]
    fn a_request_without_its_one_host_is_malformed_unless_it_is_of_http_1_0() {
        for hosts in [Hosts::Loopback, Hosts::Any] {
            assert_eq!(answered(hosts, Request::get("/")), Err(StatusCode::BAD_REQUEST));
            assert_eq!(answered(hosts, Request::get("/").version(Version::HTTP_10)), Ok(()));
            let two = Request::get("/").header(HOST, "localhost").header(HOST, "evil.example");
            assert_eq!(answered(hosts, two), Err(StatusCode::BAD_REQUEST));
        }
    }

    #[test]
    fn a_listener_that_others_reach_is_asked_by_any_name() {
        for address in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(Hosts::of_address(address.parse().expect("an address")), Hosts::Loopback, "{address}");
        }
        for address in ["0.0.0.0", "::", "10.0.0.1", "2001:db8::1"] {
            assert_eq!(Hosts::of_address(address.parse().expect("an address")), Hosts::Any, "{address}");
        }
        assert_eq!(answered(Hosts::Any, Request::get("/").header(HOST, "pg1.example")), Ok(()));
    }
}
