//! The checks of values. Each check turns a text into its type, or into a sentence that says what is wrong and what
//! to write instead.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use tracing::Level;

use super::{AnchorConfig, LogFormat};

/// The longest name of an interface that the kernel allows, in bytes (`IFNAMSIZ` less the final zero).
const INTERFACE_NAME_BYTES: usize = 15;

/// EC2's limits for tags, in characters.
const TAG_KEY_CHARACTERS: usize = 128;
const TAG_VALUE_CHARACTERS: usize = 256;

/// Checks an argument of a command.
pub(super) fn argument(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        Err("has a zero byte, which no argument may have".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// Checks an address to which clients connect.
pub(super) fn vip_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| match text.split_once('/') {
        Some((address, _)) => format!("'{text}' is no IP address: write it without a prefix length, \"{address}\""),
        None => format!("'{text}' is no IP address"),
    })?;
    match unusable(address) {
        Some(why) => Err(format!("{address} {why}, which no client can reach: give the address clients connect to")),
        None => Ok(address),
    }
}

/// Checks a private IPv4 address of an ENI.
pub(super) fn private_ip(text: &str) -> Result<Ipv4Addr, String> {
    let address: Ipv4Addr = text.parse().map_err(|_| format!("'{text}' is no IPv4 address"))?;
    match unusable(IpAddr::V4(address)) {
        Some(why) => Err(format!("{address} {why}: give one of the ENI's private addresses")),
        None => Ok(address),
    }
}

fn unusable(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if address.is_loopback() {
        Some("is a loopback address")
    } else if address.is_unspecified() {
        Some("is the unspecified address")
    } else if address.is_multicast() {
        Some("is a multicast address")
    } else if link_local {
        Some("is a link-local address")
    } else if address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("is the broadcast address")
    } else if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        Some("is an IPv4 address in the form of IPv6")
    } else {
        None
    }
}

pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("'{text}' is no address with a port: write it like \"127.0.0.1:9813\""))
}

pub(super) fn interface(text: &str) -> Result<String, String> {
    let refuse = |why: &str| Err(format!("'{text}' is no name of an interface: {why}"));
    if text == "lo" {
        refuse("the loopback interface has no ENI")
    } else if text.is_empty() || text.len() > INTERFACE_NAME_BYTES {
        refuse(&format!("it has 1 to {INTERFACE_NAME_BYTES} bytes"))
    } else if [".", ".."].contains(&text) || text.contains(['/', ':']) || text.contains(|c: char| !c.is_ascii_graphic())
    {
        refuse(
            "the kernel allows no spaces, no '/' and no ':' in one; aliases like eth0:1 are addresses, not interfaces",
        )
    } else {
        Ok(text.to_owned())
    }
}

/// Checks the ARN of a role, in any partition: `arn:<partition>:iam::<account>:role/<path and name>` (IAM User Guide,
/// "IAM ARNs").
pub(super) fn role_arn(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let good = matches!(parts.as_slice(), ["arn", partition, "iam", "", account, resource]
        if partition.starts_with("aws")
            && account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit())
            && resource.strip_prefix("role/").is_some_and(|name| !name.is_empty() && name.bytes().all(is_role_byte)));
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!("'{text}' is no ARN of a role: write it like \"arn:aws:iam::123456789012:role/vipkeeper\""))
    }
}

fn is_role_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+=,.@_/-".contains(&byte)
}

/// Checks a region of any partition, like `eu-central-1`, `us-gov-west-1` or `cn-north-1`.
///
/// # Errors
/// The text says what is wrong with the region.
pub fn region(text: &str) -> Result<String, String> {
    let is_small = |c: char| c.is_ascii_lowercase();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = text.split('-').collect();
    // A zone has a letter behind the number. A local zone has a number before its own name as well.
    let number = parts.iter().position(|part| is_number(&part.trim_end_matches(is_small)));
    let Some((number, words)) = number.map(|at| (at, &parts[..at])).filter(|(at, _)| *at >= 2) else {
        return Err(format!("'{text}' is no region: write it like \"eu-central-1\""));
    };
    if !words.iter().all(|word| !word.is_empty() && word.chars().all(is_small)) {
        return Err(format!("'{text}' is no region: write it like \"eu-central-1\""));
    }
    let region = parts[..=number].join("-");
    match region.trim_end_matches(is_small) {
        region if region == text => Ok(region.to_owned()),
        region => Err(format!("'{text}' is a zone, no region: write the region alone, \"{region}\"")),
    }
}

pub(super) fn endpoint_url(text: &str) -> Result<String, String> {
    let good = text.parse::<hyper::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!("'{text}' is no URL of an endpoint: it begins with http:// or https:// and a host"))
    }
}

/// Checks the URL of a proxy in the environment. A URL without a scheme means HTTP.
pub(super) fn proxy(text: &str) -> Result<(), String> {
    let parsed = text.parse::<hyper::Uri>().ok();
    let scheme = parsed.as_ref().map(|uri| uri.scheme_str().unwrap_or("http"));
    let host = parsed.as_ref().and_then(hyper::Uri::host).filter(|host| !host.is_empty());
    match (scheme, host) {
        (Some("http" | "https"), Some(_)) => Ok(()),
        _ => Err(format!(
            "{} is no URL of a proxy: write it like \"http://proxy.example.com:3128\", or unset the variable",
            without_password(text)
        )),
    }
}

/// The URL without the part that may hold a password.
fn without_password(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, host)) => format!("'...@{host}'"),
        None => format!("'{url}'"),
    }
}

pub(super) fn absolute_path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.is_absolute() {
        Err(format!("'{text}' is relative, but hook and daemon run in different folders: begin with /"))
    } else if path.components().any(|part| part == Component::ParentDir) {
        Err(format!("'{text}' contains \"..\": write where it leads"))
    } else {
        Ok(path.to_owned())
    }
}

/// Checks the path of the folder that hooks and daemon share.
///
/// # Errors
/// The text says what is wrong with the path.
pub fn state_dir(text: &str) -> Result<PathBuf, String> {
    let path = absolute_path(text)?;
    if path.parent().is_none() { Err("the root folder is no place for state".to_owned()) } else { Ok(path) }
}

pub(super) fn user_name(text: &str) -> Result<String, String> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':' || c == '/') {
        Err(format!("'{text}' is no name of a user"))
    } else {
        Ok(text.to_owned())
    }
}

/// Checks a time with its unit. `range` keeps the time long enough for the account's request quota, and short enough
/// to notice drift.
pub(super) fn interval(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| {
        let interval =
            humantime::parse_duration(text).map_err(|error| format!("'{text}' is no time like \"10s\": {error}"))?;
        if range.contains(&interval) {
            Ok(interval)
        } else {
            let [least, most] = [range.start(), range.end()].map(|bound| humantime::format_duration(*bound));
            Err(format!("{text} is out of range: give a time from {least} to {most}"))
        }
    }
}

pub(super) fn anchor(text: &str) -> Result<AnchorConfig, String> {
    if text == "subnet" {
        return Ok(AnchorConfig::Subnet);
    }
    let elastic_ip = text.parse().map(AnchorConfig::ElasticIp);
    elastic_ip.or_else(|_| text.parse().map(AnchorConfig::RouteTable)).map_err(|_| {
        format!(
            "'{text}' is no anchor: give the id of an Elastic IP (eipalloc-...) or of a route table (rtb-...), or \
             \"subnet\""
        )
    })
}

pub(super) fn tag_key(text: &str) -> Result<String, String> {
    if (1..=TAG_KEY_CHARACTERS).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err(format!("the key of a tag has 1 to {TAG_KEY_CHARACTERS} characters"))
    }
}

pub(super) fn tag_value(text: &str) -> Result<String, String> {
    if text.chars().count() <= TAG_VALUE_CHARACTERS {
        Ok(text.to_owned())
    } else {
        Err(format!("the value of a tag has at most {TAG_VALUE_CHARACTERS} characters"))
    }
}

/// Checks that the text is one of these names.
pub(super) fn one_of<T: Copy>(choices: &'static [(&'static str, T)]) -> impl Fn(&str) -> Result<T, String> {
    move |text| match choices.iter().find(|(name, _)| *name == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            Err(format!("'{text}' is none of {}", names.join(", ")))
        }
    }
}

/// The values of `log.level`, from the fewest to the most events.
pub const LOG_LEVELS: &[(&str, Level)] = &[
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

/// The values of `log.format`.
pub const LOG_FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
