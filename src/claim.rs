//! Who may hold a VIP: claims, their terms, and which is the newest. Pure.
//!
//! Each node records its claim as a tag of its own on the VIP's anchor; nobody overwrites another's. The claim with the
//! highest term wins; equal terms are told apart by the instance id, so that all nodes agree. A node that stood down and
//! has no successor overwrites its own tag with [`WITHDRAWN`], so that an older claim that still stands may follow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use crate::desired::Desired;
use crate::ids::{InstanceId, Term};
use crate::memory::{Held, Memory, Rival, SETTLE};
use crate::observed::{Claims, Moment};
use crate::vip::ClaimMode;

/// How long after its `up` a claim may still raise its term over those that it reads: longer than clocks may differ,
/// shorter than two leaderships follow one another.
pub const RAISE_WINDOW: Duration = Duration::from_secs(5);

/// A claim whose hook ran no longer ago than this takes at once; an older one looks for a newer claim first.
pub const FRESH: Duration = Duration::from_secs(5);

/// Nothing is taken by force on a look that began longer ago than this: a take that failed and is tried again must not
/// rest on what was true before. Longer than an answer may take (8 s).
pub const LOOK_HOLDS: Duration = Duration::from_secs(10);

/// Without its record, a claim older than this takes nothing any more that somebody else holds.
pub const UNRECORDED_TAKE_WINDOW: Duration = Duration::from_mins(1);

/// What a node records once its claim has ended: older than every claim.
pub const WITHDRAWN: Term = Term(0);

/// A node that stands down leaves its claim on record for this long. A successor's newer claim is there by then (Pgpool
/// elects in 2 to 7 s), and a failover costs no second tag.
pub const WITHDRAW_AFTER: Duration = Duration::from_secs(8);

/// What this node is to a VIP right now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Nobody said what it should be: touch nothing.
    Unknown,
    Standby,
    /// Its file says leader, but a newer claim of another node stands.
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
    let Some((terms, _)) = read_under(claims, held) else { return Record::Unknown };
    if terms.get(me) != Some(&held.term) {
        return Record::Missing;
    }
    match newest(terms, me) {
        Some(rival) if is_newer(&rival, me, held.term) => Record::Unknown,
        Some(_) | None => Record::Newest,
    }
}

fn newest(terms: &BTreeMap<InstanceId, Term>, me: &InstanceId) -> Option<Rival> {
    let others = terms.iter().filter(|(node, _)| *node != me);
    let (node, term) = others.max_by_key(|(node, term)| (**term, *node))?;
    Some(Rival { node: node.clone(), term: *term })
}

/// Whether another node's claim is newer than this node's with that term.
#[must_use]
pub fn is_newer(rival: &Rival, me: &InstanceId, mine: Term) -> bool {
    (rival.term, &rival.node) > (mine, me)
}

/// Takes a read of the record into account: may raise a young claim's term once, and says whether a newer claim stands.
pub fn learn(held: &mut Held, me: &InstanceId, claims: &Claims, now: Moment) {
    let Claims::Read { terms, at, .. } = claims else { return };
    let began_under_claim = *at >= held.adopted_at;
    // What was read before the claim began is older than it, whatever the clocks say; unless it was noticed too late to
    // be sure of that.
    if !began_under_claim && held.began_fresh() {
        return;
    }
    if began_under_claim && !held.term_settled {
        held.term_settled = true;
        if held.age(now) <= RAISE_WINDOW
            && let Some(highest) = newest(terms, me)
            && highest.term >= held.term
        {
            held.term = highest.term.next();
            held.recorded = false;
        }
    }
    match newest(terms, me).filter(|rival| is_newer(rival, me, held.term)) {
        Some(rival) => {
            if held.superseded_by.is_none() || *at > held.rival_shown_at {
                held.rival_shown_at = now;
            }
            held.superseded_by = Some(rival);
        }
        // Reads lag by [`SETTLE`] at most: one that began later than that shows nothing older than what was shown before.
        None if *at >= held.rival_shown_at + SETTLE => held.superseded_by = None,
        None => {}
    }
}

/// The record as it was read since the claim began; `None` if it was not.
fn read_under<'a>(claims: &'a Claims, held: &Held) -> Option<(&'a BTreeMap<InstanceId, Term>, Moment)> {
    match claims {
        Claims::Read { terms, at, .. } if *at >= held.adopted_at => Some((terms, *at)),
        Claims::Read { .. } | Claims::Unknown => None,
    }
}

/// The newest claim of another node in a read.
#[must_use]
pub fn newest_of_others(claims: &Claims, me: &InstanceId) -> Option<Rival> {
    match claims {
        Claims::Unknown => None,
        Claims::Read { terms, .. } => newest(terms, me),
    }
}

/// How far a claim may go with a binding that has not pointed here under it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Take it from whoever holds it.
    Any,
    /// Take it only if nobody holds it: the claim is too old to go without a record.
    OnlyIfFree,
    /// The same for now: the record has to be read first.
    LookFirst,
}

/// A young claim takes before it looks. After [`FRESH`] it looks first, so that a daemon that could not reach EC2 takes
/// nothing from a successor; after [`UNRECORDED_TAKE_WINDOW`] it takes nothing from anybody unless it is on record.
#[must_use]
pub fn right(mode: ClaimMode, claims: &Claims, me: &InstanceId, held: &Held, now: Moment) -> Right {
    let age = held.age(now);
    if age <= FRESH {
        Right::Any
    } else if mode == ClaimMode::Tags && !has_looked_lately(claims, held, now) {
        Right::LookFirst
    } else if age <= UNRECORDED_TAKE_WINDOW || record(claims, me, held) == Record::Newest {
        Right::Any
    } else {
        Right::OnlyIfFree
    }
}

/// Whether the record was read under this claim, and not too long ago to take anything from anybody by it.
#[must_use]
pub fn has_looked_lately(claims: &Claims, held: &Held, now: Moment) -> bool {
    read_under(claims, held).is_some_and(|(_, at)| now.saturating_sub(at) <= LOOK_HOLDS)
}

/// The term that a leader should write into its own tag; `None` if it is there.
#[must_use]
pub fn to_record(claims: &Claims, me: &InstanceId, held: &Held) -> Option<Term> {
    let due = match read_under(claims, held) {
        Some((terms, _)) => terms.get(me) != Some(&held.term),
        // A restarted daemon has most likely recorded it: it looks first.
        None => held.began_fresh(),
    };
    due.then_some(held.term)
}

/// When a node that stands by should withdraw its claim: by the first look that began then and still shows it as the
/// newest. `None` if there is nothing to withdraw. A claim that is not the newest may stay: it keeps nobody away.
#[must_use]
pub fn withdraws_at(claims: &Claims, me: &InstanceId, standby_since: Moment) -> Option<Moment> {
    let Claims::Read { terms, .. } = claims else { return None };
    let mine = *terms.get(me).filter(|term| **term != WITHDRAWN)?;
    let succeeded = newest(terms, me).is_some_and(|rival| is_newer(&rival, me, mine));
    (!succeeded).then_some(standby_since + WITHDRAW_AFTER)
}

/// The key of a node's tag on the anchor.
#[must_use]
pub fn tag_key(delegate_ip: IpAddr, node: &InstanceId) -> String {
    format!("vipkeeper/{delegate_ip}/{node}")
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

/// The values of those tags that are not as [`tag_value`] makes them.
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
