//! Writes a claim as a tag on the VIP's anchor (key and value), and reads claims back from tags.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use crate::ids::{InstanceId, Term};

/// The term that a node records once its claim has ended. It is older than every claim.
pub const WITHDRAWN: Term = Term(0);

/// The key of a node's tag on the anchor.
#[must_use]
pub fn tag_key(delegate_ip: IpAddr, node: &InstanceId) -> String {
    format!("vipkeeper/{delegate_ip}/{node}")
}

/// A pattern of the keys of all nodes' tags for one VIP, in which `*` stands for any text. Policies name the keys by it.
#[must_use]
pub fn tag_keys(delegate_ip: IpAddr) -> String {
    format!("vipkeeper/{delegate_ip}/*")
}

/// The tag value that withdraws a node's claims: the term `WITHDRAWN`, and the term up to which the node gives up its
/// claims. The given-up term is needed because a read that lags may show the end of an earlier claim, which must not
/// count as the end of a later claim.
#[must_use]
pub fn withdrawn_value(given_up: Term) -> String {
    format!("{WITHDRAWN} withdrawn {given_up}")
}

/// The terms that nodes gave up, among an anchor's tags.
#[must_use]
pub fn withdrawn_among(delegate_ip: IpAddr, tags: &BTreeMap<String, String>) -> BTreeMap<InstanceId, Term> {
    let withdrawn = claims_among(delegate_ip, tags).filter(|(_, term, _)| *term == WITHDRAWN);
    withdrawn.filter_map(|(node, _, value)| Some((node, given_up(value)?))).collect()
}

fn given_up(value: &str) -> Option<Term> {
    let term = value.strip_prefix("0 withdrawn ")?.parse().ok()?;
    Some(Term(term))
}

/// The value of the tag: the term for machines, followed for people by the time that the term stands for.
#[must_use]
pub fn tag_value(term: Term) -> String {
    if term == WITHDRAWN {
        return format!("{term} withdrawn");
    }
    let mut value = format!("{term} ");
    if let Some(time) = std::time::UNIX_EPOCH.checked_add(Duration::from_millis(term.0)) {
        // A year beyond 9999 has no RFC 3339 form. The value is then the term alone.
        let _ = write!(value, "{}", humantime::format_rfc3339_seconds(time));
    }
    value.trim_end().to_owned()
}

/// The claims on one VIP among an anchor's tags. Tags of others, and values that hold no term, are passed over.
#[must_use]
pub fn from_tags(delegate_ip: IpAddr, tags: &BTreeMap<String, String>) -> BTreeMap<InstanceId, Term> {
    claims_among(delegate_ip, tags).map(|(node, term, _)| (node, term)).collect()
}

/// The values of claim tags that differ from the value that [`tag_value`] makes for their term.
#[must_use]
pub fn edited_among(delegate_ip: IpAddr, tags: &BTreeMap<String, String>) -> BTreeMap<InstanceId, String> {
    let edited = claims_among(delegate_ip, tags).filter(|(_, term, value)| tag_value(*term) != **value);
    edited.map(|(node, _, value)| (node, value.clone())).collect()
}

fn claims_among(
    delegate_ip: IpAddr,
    tags: &BTreeMap<String, String>,
) -> impl Iterator<Item = (InstanceId, Term, &String)> {
    let prefix = format!("vipkeeper/{delegate_ip}/");
    let of_vip = tags.range(prefix.clone()..);
    of_vip.map_while(move |(key, value)| Some((key.strip_prefix(&prefix)?, value))).filter_map(|(node, value)| {
        let node = node.parse().ok()?;
        let term = value.split(' ').next()?.parse().ok()?;
        Some((node, Term(term), value))
    })
}
