//! The proxy through which a URI is asked, by the values of the environment's variables. This module is pure.
//!
//! `NO_PROXY` counts as the AWS CLI and curl read it: names with everything below them, `*.name`, addresses, blocks of
//! addresses, each also with a port, and `*` for every host.

use std::net::IpAddr;

use hyper::Uri;
use ipnet::IpNet;

use crate::config::sources::ProxyVariables;

/// The proxies, and the hosts that are asked without one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    past: Vec<Entry>,
}

/// One entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    /// The only port that the entry is about; `None` for every port.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    In(IpNet),
    /// This name, and all names below it.
    Named(String),
    /// All names below this one.
    Below(String),
}

impl Proxies {
    /// The proxies that these variables name.
    pub fn of(variables: &ProxyVariables) -> Self {
        let whole = |url: &Option<String>| {
            let url = url.as_ref()?;
            Some(if url.contains("://") { url.clone() } else { format!("http://{url}") })
        };
        let past = variables.past.split(',').filter_map(Entry::parse).collect();
        Self { http: whole(&variables.http), https: whole(&variables.https), past }
    }

    /// The URLs of all proxies, with user and password.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        [&self.http, &self.https].into_iter().flatten().map(String::as_str)
    }

    /// The URL of the proxy through which the URI is asked, with user and password; `None` if the URI is asked directly.
    pub fn of_uri(&self, uri: &str) -> Option<&str> {
        let uri: Uri = uri.parse().ok()?;
        let (proxy, usual_port) = match uri.scheme_str()? {
            "https" => (self.https.as_deref()?, 443),
            _ => (self.http.as_deref()?, 80),
        };
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(usual_port);
        (!self.past.iter().any(|entry| entry.holds(&host, port))).then_some(proxy)
    }
}

impl Entry {
    /// Reads one entry; `None` if it is empty.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if let Some(net) = net(&text) {
            return Some(Self { hosts: Hosts::In(net), port: None });
        }
        let with_port = text.rsplit_once(':').and_then(|(host, port)| Some((host, Some(port.parse().ok()?))));
        let (host, port) = with_port.unwrap_or((&text, None));
        let hosts = match (net(host), host.strip_prefix("*.")) {
            (Some(net), _) => Hosts::In(net),
            (None, Some(end)) => Hosts::Below(end.to_owned()),
            (None, None) if host == "*" => Hosts::All,
            (None, None) => Hosts::Named(host.trim_start_matches('.').to_owned()),
        };
        (hosts != Hosts::Named(String::new())).then_some(Self { hosts, port })
    }

    /// Whether the entry is about this host, in lower case, and this port.
    fn holds(&self, host: &str, port: u16) -> bool {
        let is_below = |end: &str| host.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
        let holds = match (&self.hosts, host.parse::<IpAddr>()) {
            (Hosts::All, _) => true,
            (Hosts::In(net), Ok(address)) => net.contains(&address),
            (Hosts::Named(name), Err(_)) => host == name || is_below(name),
            (Hosts::Below(end), Err(_)) => is_below(end),
            (Hosts::In(_), Err(_)) | (Hosts::Named(_) | Hosts::Below(_), Ok(_)) => false,
        };
        holds && self.port.is_none_or(|only| only == port)
    }
}

/// The block of addresses; a single address is a block of one.
fn net(text: &str) -> Option<IpNet> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| bare.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(no_proxy: &str) -> Proxies {
        Proxies::of(&ProxyVariables {
            http: Some("h:1".to_owned()),
            https: Some("https://user:secret@s:2".to_owned()),
            past: no_proxy.to_owned(),
        })
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let proxies = past("");
        assert_eq!(proxies.of_uri("http://example.com/x"), Some("http://h:1"));
        assert_eq!(proxies.of_uri("https://example.com/x"), Some("https://user:secret@s:2"));
        assert_eq!(proxies.of_uri("no uri"), None);
        assert_eq!(Proxies::default().of_uri("https://example.com/"), None);
    }

    #[test]
    fn no_proxy_leads_past_the_proxy_for_the_hosts_that_it_names() {
        let names = "https://ec2.eu-central-1.amazonaws.com/";
        for (entry, uri, is_past) in [
            ("", names, false),
            (" , ", names, false),
            ("*", names, true),
            ("a.example, *", "https://10.0.0.7:8443/", true),
            ("*", "https://[fd00::7]/", true),
            ("*.Amazonaws.com", names, true),
            ("*.amazonaws.com", "https://amazonaws.com/", false),
            ("*.amazonaws.com", "https://amazonaws.com.example.net/", false),
            ("amazonaws.com", "https://notamazonaws.com/", false),
            ("amazonaws.com", names, true),
            (".amazonaws.com", "https://Amazonaws.com/", true),
            ("*.amazonaws.com:443", names, true),
            ("*.amazonaws.com:8443", names, false),
            ("ec2.eu-central-1.amazonaws.com:8443", "https://ec2.eu-central-1.amazonaws.com:8443/", true),
            ("ec2.eu-central-1.amazonaws.com:8443", names, false),
            ("example.com:80", "http://example.com/", true),
            ("10.0.0.7", "https://10.0.0.7:8443/", true),
            ("10.0.0.7:8443", "https://10.0.0.7:8443/", true),
            ("10.0.0.7:8443", "https://10.0.0.7/", false),
            ("10.0.0.0/8", "https://10.0.0.7/", true),
            ("10.0.0.0/8", "https://11.0.0.7/", false),
            ("fd00::7", "https://[fd00::7]/", true),
            ("[fd00::7]", "https://[fd00::7]/", true),
            ("[fd00::7]:443", "https://[fd00::7]/", true),
            ("[fd00::7]:444", "https://[fd00::7]/", false),
            ("0.0.7", "https://10.0.0.7/", false),
            ("fd00::/8", "https://[fd00::7]/", true),
        ] {
            assert_eq!(past(entry).of_uri(uri).is_none(), is_past, "{entry} {uri}");
        }
    }
}
