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

fn given_up(value: &str) -> Option<Term> {
    let term = value.strip_prefix("0 withdrawn ")?.parse().ok()?;
    Some(Term(term))
}

/// Whether a node writes this very value: a claim with its time, or a withdrawal. Somebody edited any other value.
#[must_use]
pub fn is_written_by_a_node(value: &str) -> bool {
    let claimed = value.split(' ').next().and_then(|term| term.parse().ok()).map(Term);
    claimed.is_some_and(|term| tag_value(term) == value)
        || given_up(value).is_some_and(|term| withdrawn_value(term) == value)
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

/// The claims on one VIP among a resource's tags.
#[derive(Debug, Default)]
pub struct Found {
    pub terms: BTreeMap<InstanceId, Term>,
    /// The terms that nodes gave up.
    pub withdrawn: BTreeMap<InstanceId, Term>,
    /// The values that differ from the value that [`tag_value`] makes for their term.
    pub edited: BTreeMap<InstanceId, String>,
}

/// Finds the claims on one VIP. Tags of others, and values that hold no term, are passed over.
#[must_use]
pub fn among(delegate_ip: IpAddr, tags: &BTreeMap<String, String>) -> Found {
    let prefix = format!("vipkeeper/{delegate_ip}/");
    // This is called for each resource in each turn of the loop, and most resources carry no claims.
    let of_vip = tags.range(prefix.clone()..).map_while(|(key, value)| Some((key.strip_prefix(&prefix)?, value)));
    let mut found = Found::default();
    for (node, value) in of_vip {
        let term = value.split(' ').next().and_then(|term| term.parse().ok()).map(Term);
        let (Ok(node), Some(term)) = (node.parse::<InstanceId>(), term) else { continue };
        if let Some(given_up) = given_up(value).filter(|_| term == WITHDRAWN) {
            found.withdrawn.insert(node.clone(), given_up);
        }
        if tag_value(term) != *value {
            found.edited.insert(node.clone(), value.clone());
        }
        found.terms.insert(node, term);
    }
    found
}
