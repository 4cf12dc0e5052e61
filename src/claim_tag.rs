//! A claim as a tag on the VIP's anchor: its key, its value, and both read back.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use crate::ids::{InstanceId, Term};

/// What a node records once its claim has ended: older than every claim.
pub const WITHDRAWN: Term = Term(0);

/// The key of a node's tag on the anchor.
#[must_use]
pub fn tag_key(delegate_ip: IpAddr, node: &InstanceId) -> String {
    format!("vipkeeper/{delegate_ip}/{node}")
}

/// The value of the tag of a claim that ended: older than every claim, and up to which term it gives up. A read that lags
/// may show the end of an earlier claim, which must not be taken for that of a later one.
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

/// The value of the tag: the term for machines, and the time that it stands for, for people.
#[must_use]
pub fn tag_value(term: Term) -> String {
    if term == WITHDRAWN {
        return format!("{term} withdrawn");
    }
    let mut value = format!("{term} ");
    if let Some(time) = std::time::UNIX_EPOCH.checked_add(Duration::from_millis(term.0)) {
        // A year beyond 9999 has no such form; then the number alone must do.
        let _ = write!(value, "{}", humantime::format_rfc3339_seconds(time));
    }
    value.trim_end().to_owned()
}

/// The claims on one VIP among an anchor's tags. Tags of others, and values that hold no term, are passed over.
#[must_use]
pub fn from_tags(delegate_ip: IpAddr, tags: &BTreeMap<String, String>) -> BTreeMap<InstanceId, Term> {
    claims_among(delegate_ip, tags).map(|(node, term, _)| (node, term)).collect()
}

/// The values of those tags that are not as [`tag_value`] makes them, word for word.
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
    tags.iter().filter_map(move |(key, value)| {
        let node = key.strip_prefix(&prefix)?.parse().ok()?;
        let term = value.split(' ').next()?.parse().ok()?;
        Some((node, Term(term), value))
    })
}
