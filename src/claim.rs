//! Who may hold a VIP: claims, their terms, and which is the newest. Pure.
//!
//! Each node records its claim as a tag of its own on the VIP's anchor; nobody overwrites another's. The claim with the
//! highest term wins; equal terms are told apart by the instance id, so that all nodes agree.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::desired::Desired;
use crate::ids::{InstanceId, Term};
use crate::memory::{Held, Memory, Rival};
use crate::observed::{Claims, Moment};
use crate::vip::ClaimMode;

/// How long after its `up` a claim may still raise its term over those that it reads: longer than clocks may differ,
/// shorter than two leaderships follow one another.
pub const RAISE_WINDOW: Duration = Duration::from_secs(5);

/// What this node is to a VIP right now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Nobody said what it should be: touch nothing.
    Unknown,
    Standby,
    /// Its file says leader, but a newer claim is on record.
    Superseded(Rival),
    Leader,
}

/// Where this node stands, from what it wants and what it has learnt.
#[must_use]
pub fn standing(desired: &Desired, memory: &Memory) -> Standing {
    match desired {
        Desired::Unknown(_) => Standing::Unknown,
        Desired::Standby(_) => Standing::Standby,
        Desired::Leader(_) => match memory.claim.as_ref().and_then(|held| held.superseded_by.clone()) {
            Some(by) => Standing::Superseded(by),
            None => Standing::Leader,
        },
    }
}

/// What the record says of this node's claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// It is there, and no other is newer.
    Newest,
    /// The record was read, and it is not there.
    Missing,
    /// There is no record to go by.
    Unknown,
}

/// What the last read said of this node's claim.
#[must_use]
pub fn record(claims: &Claims, me: &InstanceId, held: &Held) -> Record {
    match claims {
        Claims::Unknown => Record::Unknown,
        Claims::Read { terms, .. } if terms.get(me) != Some(&held.term) => Record::Missing,
        Claims::Read { terms, .. } => match newer_than(terms, me, held.term) {
            None => Record::Newest,
            Some(_) => Record::Unknown,
        },
    }
}

/// The newest claim of another node, if it is newer than this node's.
fn newer_than(terms: &BTreeMap<InstanceId, Term>, me: &InstanceId, mine: Term) -> Option<Rival> {
    let others = terms.iter().filter(|(node, _)| *node != me);
    let (node, term) = others.max_by_key(|(node, term)| (**term, *node))?;
    ((*term, node) > (mine, me)).then(|| Rival { node: node.clone(), term: *term })
}

/// Takes a read of the record into account: may raise a young claim's term once, and may end a claim.
pub fn learn(held: &mut Held, me: &InstanceId, claims: &Claims, now: Moment) {
    let Claims::Read { terms, at } = claims else { return };
    // What was read before the claim began is older than it, whatever the clocks say.
    if *at < held.adopted_at {
        return;
    }
    if !held.term_settled {
        held.term_settled = true;
        let highest = terms.iter().filter(|(node, _)| *node != me).map(|(_, term)| *term).max();
        if held.age(now) <= RAISE_WINDOW
            && let Some(highest) = highest
            && highest >= held.term
        {
            held.term = highest.next();
        }
    }
    if held.superseded_by.is_none() {
        held.superseded_by = newer_than(terms, me, held.term);
    }
}

/// The newest term of other nodes in a read.
#[must_use]
pub fn highest_of_others(claims: &Claims, me: &InstanceId) -> Option<Term> {
    match claims {
        Claims::Unknown => None,
        Claims::Read { terms, .. } => terms.iter().filter(|(node, _)| *node != me).map(|(_, term)| *term).max(),
    }
}

/// Whether the record has been read since the claim began. A claim that is not fresh looks before it takes.
#[must_use]
pub fn has_looked(mode: ClaimMode, held: &Held) -> bool {
    mode == ClaimMode::Off || held.term_settled
}

/// The key of a node's tag on the anchor.
#[must_use]
pub fn tag_key(delegate_ip: IpAddr, node: &InstanceId) -> String {
    format!("vipkeeper/{delegate_ip}/{node}")
}

/// The value of the tag: the term for machines, and the time that it stands for, for people.
#[must_use]
pub fn tag_value(term: Term) -> String {
    let time = std::time::UNIX_EPOCH
        .checked_add(Duration::from_millis(term.0))
        .map(|time| humantime::format_rfc3339_seconds(time).to_string());
    format!("{term} {}", time.unwrap_or_default()).trim_end().to_owned()
}

/// The claims on one VIP among an anchor's tags. Tags of others, and values that hold no term, are passed over.
#[must_use]
pub fn from_tags(delegate_ip: IpAddr, tags: &BTreeMap<String, String>) -> BTreeMap<InstanceId, Term> {
    let prefix = format!("vipkeeper/{delegate_ip}/");
    tags.iter()
        .filter_map(|(key, value)| {
            let node = key.strip_prefix(&prefix)?.parse().ok()?;
            let term = value.split(' ').next()?.parse().ok()?;
            Some((node, Term(term)))
        })
        .collect()
}
