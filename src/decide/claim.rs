//! Decides who may hold a VIP, from the claims and their terms. All functions here are pure.
//!
//! Each node records its claim as a tag of its own on the VIP's anchor; no node overwrites the tag of another. The
//! claim with the highest term wins. Between equal terms the higher instance id wins, so that all nodes agree. A node
//! that stood down and has no successor overwrites its own tag with `WITHDRAWN`, so that an older claim that still
//! stands may follow.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::binding::{Anchor, ClaimMode, Vip};
use crate::claim_tag::WITHDRAWN;
use crate::decide::timing::{
    CLOCK_WAS_WRONG, FRESH, LOOK_COUNTS, MOST_GIVEN_UP, PLAUSIBLE_AHEAD, RAISE_WINDOW, SETTLE, UNRECORDED_TAKE_WINDOW,
};
use crate::desired::Desired;
use crate::ids::ClaimId;
use crate::ids::{InstanceId, Term};
use crate::observe::seen::{Claims, Copies, Holder, Moment};

/// A claim of another node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rival {
    pub node: InstanceId,
    pub term: Term,
}

/// One claim of this node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact that comes to be true once, in any order")]
pub struct OwnClaim {
    pub id: ClaimId,
    /// When the claim's hook started, by the wall clock, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    pub term: Term,
    /// When the daemon first saw the claim; `age_at_adoption` is the time from the hook's start to that moment, by the
    /// clock since boot.
    pub adopted_at: Moment,
    pub age_at_adoption: Duration,
    /// Whether the first read of the record after the claim began has been taken into account. From then on no read
    /// raises the term above other nodes' terms.
    pub term_settled: bool,
    /// Whether the term has been compared with EC2's clock since it was settled. No later look corrects it: a clock that
    /// goes wrong later changes no term.
    pub term_mended: bool,
    /// Whether EC2 has accepted the tag of this claim once.
    pub recorded: bool,
    /// Whether an earlier daemon may have served this claim and left no memory behind. This node's own tag then tells
    /// the claim's term.
    pub unremembered: bool,
    pub superseded_by: Option<Rival>,
    /// The ids of the resources whose tags showed the newer claim last. Only a read of one of them can show that the
    /// newer claim is gone. Empty if an earlier version remembered the newer claim.
    pub rival_on: BTreeSet<String>,
    /// When the daemon learned from the last read that showed a newer claim. Meaningless while `superseded_by` is
    /// `None`.
    pub rival_shown_at: Moment,
    /// The newer claims that their nodes were seen to give up: of each node the highest such term, and when the daemon
    /// learned of that. A read that may be older shows such a claim as if it stood.
    pub seen_given_up: BTreeMap<InstanceId, (Term, Moment)>,
}

impl OwnClaim {
    /// How long ago the claim's hook started.
    #[must_use]
    pub fn age(&self, now: Moment) -> Duration {
        self.age_at_adoption + now.saturating_sub(self.adopted_at)
    }

    /// Corrects a term that came from a wrong clock: the hook's own clock, or the clock of another node over whose term
    /// this claim was raised. The corrected term is the time at which the hook ran, by EC2's clock. This node's own wall
    /// clock corrects no term, because nobody knows whether it was wrong then or is wrong now. `server_ms` is the time on
    /// EC2's clock in milliseconds since the Unix epoch, if it is known. The term does not fall below `unused`.
    pub fn mend_term(&mut self, now: Moment, server_ms: Option<u64>, unused: Term) {
        let Some(server_ms) = server_ms.filter(|_| !self.term_mended) else { return };
        let began_ms = server_ms.saturating_sub(millis(self.age(now)));
        if self.term.0.abs_diff(began_ms) > millis(CLOCK_WAS_WRONG) {
            self.term = Term(began_ms).max(unused);
            self.recorded = false;
            self.term_settled = false;
        }
    }

    /// Whether the daemon noticed the claim within [`FRESH`] of its hook.
    #[must_use]
    pub fn began_fresh(&self) -> bool {
        self.age_at_adoption <= FRESH
    }
}

/// The role of this node for a VIP right now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Standing {
    /// No hook has said what this node should be: it touches nothing.
    Unknown,
    Standby,
    /// This node's file says leader, but a newer claim of another node stands.
    Superseded(Rival),
    Leader,
}

/// The standing of this node, from its desired state and the claim that it holds.
#[must_use]
pub fn standing(desired: &Desired, own: Option<&OwnClaim>) -> Standing {
    match desired {
        Desired::Unknown(_) => Standing::Unknown,
        Desired::Standby(_) => Standing::Standby,
        Desired::Leader(_) => match own.and_then(|own| own.superseded_by.clone()) {
            Some(by) => Standing::Superseded(by),
            None => Standing::Leader,
        },
    }
}

/// A duration in whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Sets apart terms that are further ahead of the time than clocks differ, because these cannot be claims. A withdrawal up to
/// such a term says nothing: it would end claims that are still to come, wherever else they stand.
pub fn set_apart_implausible(claims: &mut Claims, unix_ms: u64) {
    let Claims::Read { terms, withdrawn, implausible, elsewhere, .. } = claims else { return };
    let latest = latest_plausible(unix_ms);
    let copies = elsewhere.values_mut().map(|copies| &mut copies.withdrawn);
    copies.chain([withdrawn]).for_each(|withdrawn| withdrawn.retain(|_, given_up| *given_up <= latest));
    implausible.append(terms);
    *terms = implausible.extract_if(.., |_, term| *term <= latest).collect();
    for copies in elsewhere.values_mut() {
        implausible.extend(copies.terms.extract_if(.., |_, term| *term > latest));
    }
}

/// The latest term that may be a claim's. `unix_ms` is the time in milliseconds since the Unix epoch.
#[must_use]
pub fn latest_plausible(unix_ms: u64) -> Term {
    Term(unix_ms.saturating_add(millis(PLAUSIBLE_AHEAD)))
}

/// The claims of all resources together.
struct Whole<'a> {
    terms: Cow<'a, BTreeMap<InstanceId, Term>>,
    withdrawn: Cow<'a, BTreeMap<InstanceId, Term>>,
    at: Moment,
}

impl<'a> Whole<'a> {
    /// A node's newest claim counts, wherever it stands, unless the node gave up that claim or a later one anywhere.
    fn of(claims: &'a Claims) -> Option<Self> {
        let Claims::Read { terms, withdrawn, elsewhere, .. } = claims else { return None };
        let (mut terms, mut withdrawn) = (Cow::Borrowed(terms), Cow::Borrowed(withdrawn));
        for copies in elsewhere.values().filter(|copies| !copies.terms.is_empty()) {
            for (all, more) in [(&mut terms, &copies.terms), (&mut withdrawn, &copies.withdrawn)] {
                for (node, term) in more {
                    let newest = all.to_mut().entry(node.clone()).or_insert(*term);
                    *newest = (*newest).max(*term);
                }
            }
        }
        let is_given_up = |node: &InstanceId, term: Term| withdrawn.get(node).is_some_and(|given_up| *given_up >= term);
        if terms.iter().any(|(node, term)| *term != WITHDRAWN && is_given_up(node, *term)) {
            for (node, term) in terms.to_mut() {
                if is_given_up(node, *term) {
                    *term = WITHDRAWN;
                }
            }
        }
        Some(Self { terms, withdrawn, at: claims.at()? })
    }
}

/// The resources whose tags show this claim, and when the latest of their reads began.
fn shown_on(claims: &Claims, anchor: Option<&Anchor>, rival: &Rival) -> (BTreeSet<String>, Moment) {
    let shows = |terms: &BTreeMap<InstanceId, Term>| terms.get(&rival.node) == Some(&rival.term);
    let of_claim = || reads(claims, anchor).filter(|(_, terms, _)| shows(terms));
    let latest = of_claim().map(|(_, _, at)| at).max().unwrap_or_default();
    (of_claim().map(|(resource, _, _)| resource.to_owned()).collect(), latest)
}

/// The resources that were read, each with its terms and with the moment at which its read began.
fn reads<'a>(
    claims: &'a Claims,
    anchor: Option<&'a Anchor>,
) -> impl Iterator<Item = (&'a str, &'a BTreeMap<InstanceId, Term>, Moment)> {
    let (of_anchor, elsewhere) = match claims {
        Claims::Read { terms, at, elsewhere, .. } => (anchor.map(|anchor| (anchor, terms, *at)), Some(elsewhere)),
        Claims::Unknown => (None, None),
    };
    let copies = elsewhere.into_iter().flatten().map(|(resource, copies)| (resource, &copies.terms, copies.at));
    of_anchor.into_iter().chain(copies).map(|(resource, terms, at)| (resource.resource(), terms, at))
}

/// Whether a read of one of the resources began at `since` or later. A read of another resource tells nothing of these.
fn covers(claims: &Claims, anchor: Option<&Anchor>, resources: &BTreeSet<String>, since: Moment) -> bool {
    resources.is_empty() || reads(claims, anchor).any(|(resource, _, at)| resources.contains(resource) && at >= since)
}

/// The ids of the resources that showed the newer claim last, if the VIP has none of them any more. No read shows this node
/// the end of such a claim. That the VIP's other resources do not show the claim says nothing: its node may lead with another
/// configuration, and record the claim on the former resources alone.
#[must_use]
pub fn rival_out_of_sight<'a>(own: &'a OwnClaim, vip: &Vip) -> Option<&'a BTreeSet<String>> {
    let is_read = |resource: &Anchor| own.rival_on.contains(resource.resource());
    let in_sight = vip.anchor.iter().any(is_read) || vip.other_anchors().iter().any(is_read);
    (own.superseded_by.is_some() && !own.rival_on.is_empty() && !in_sight).then_some(&own.rival_on)
}

/// The state of this node's claim on the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// The claim is on record, and no other claim is newer.
    Newest,
    /// The record was read, and the claim is not there.
    Missing,
    /// The record was not read under this claim, or shows a newer claim, or another node's term is implausible. An
    /// implausible term is either no claim, or a newer claim while this node's own clock is far behind: this node
    /// cannot tell which.
    Unknown,
}

/// The state of this node's claim in the last read of the record.
#[must_use]
pub fn record_status(claims: &Claims, me: &InstanceId, own: &OwnClaim) -> Record {
    let Some((terms, _)) = read_under(claims, own) else { return Record::Unknown };
    if terms.get(me) != Some(&own.term) {
        return Record::Missing;
    }
    match newest_of_others(claims, me) {
        _ if implausible_of_others(claims, me).next().is_some() => Record::Unknown,
        Some(rival) if is_newer(&rival, me, own.term) => Record::Unknown,
        Some(_) | None => Record::Newest,
    }
}

/// The other nodes whose term is implausible.
pub fn implausible_of_others<'a>(
    claims: &'a Claims,
    me: &'a InstanceId,
) -> impl Iterator<Item = (&'a InstanceId, &'a Term)> {
    let implausible = match claims {
        Claims::Read { implausible, .. } => Some(implausible),
        Claims::Unknown => None,
    };
    implausible.into_iter().flatten().filter(move |(node, _)| *node != me)
}

fn newest(terms: &BTreeMap<InstanceId, Term>, me: &InstanceId) -> Option<Rival> {
    let others = terms.iter().filter(|(node, _)| *node != me);
    let (node, term) = others.max_by_key(|(node, term)| (**term, *node))?;
    Some(Rival { node: node.clone(), term: *term })
}

/// The claims of other nodes that stand, in any place. Where this node records none, their daemons do not know of its
/// leadership.
#[must_use]
pub fn standing_of_others(claims: &Claims, me: &InstanceId) -> Vec<Rival> {
    let Some(whole) = Whole::of(claims) else { return Vec::new() };
    let others = whole.terms.iter().filter(|(node, term)| *node != me && **term != WITHDRAWN);
    others.map(|(node, term)| Rival { node: node.clone(), term: *term }).collect()
}

/// Whether a node has given up its newest claim, wherever that claim stands.
#[must_use]
pub fn has_given_up(claims: &Claims, node: &InstanceId) -> bool {
    Whole::of(claims).is_some_and(|whole| whole.terms.get(node) == Some(&WITHDRAWN))
}

/// The highest of this node's own terms in a read, besides a claim's with `term`: given up in any place, or standing above
/// that term.
#[must_use]
pub fn highest_earlier(claims: &Claims, me: &InstanceId, term: Term) -> Option<Term> {
    let whole = Whole::of(claims)?;
    whole.terms.get(me).filter(|own| **own > term).max(whole.withdrawn.get(me)).copied()
}

/// Whether another node's claim is newer than this node's claim with the term `mine`.
#[must_use]
pub fn is_newer(rival: &Rival, me: &InstanceId, mine: Term) -> bool {
    (rival.term, &rival.node) > (mine, me)
}

/// Takes a read of the record into account. The read may raise a young claim's term once. Afterwards `superseded_by`
/// says whether a newer claim stands.
pub fn learn(own: &mut OwnClaim, vip: &Vip, claims: &Claims, now: Moment) {
    let (me, anchor) = (&vip.instance, vip.anchor.as_ref());
    let Some(Whole { mut terms, withdrawn, at }) = Whole::of(claims) else { return };
    for (node, (given_up, learned_at)) in &own.seen_given_up {
        if at < *learned_at + SETTLE && terms.get(node).is_some_and(|term| term <= given_up) {
            terms.to_mut().insert(node.clone(), WITHDRAWN);
        }
    }
    let began_under_claim = at >= own.adopted_at;
    // Claims that were read before this claim began are older, whatever the clocks say. This is not certain if the
    // daemon noticed the hook late.
    if !began_under_claim && own.began_fresh() {
        return;
    }
    if began_under_claim && own.unremembered {
        // Each own term of this node is newer than all terms that this node had seen. An own tag that is at least as
        // new as the hook therefore belongs to this claim.
        if let Some(recorded) = terms.get(me).filter(|recorded| **recorded >= own.term) {
            (own.term, own.recorded) = (*recorded, true);
        }
    }
    if began_under_claim && !own.term_settled {
        own.term_settled = true;
        let earlier = highest_earlier(claims, me, own.term);
        let highest = newest(&terms, me).map(|rival| rival.term).max(earlier);
        if own.age(now) <= RAISE_WINDOW
            && let Some(highest) = highest.filter(|highest| *highest >= own.term)
        {
            own.term = highest.next();
            own.recorded = false;
        }
    }
    note_given_up(own, &withdrawn, me, now);
    match newest(&terms, me).filter(|rival| is_newer(rival, me, own.term)) {
        Some(rival) => {
            let (on, shown_at) = shown_on(claims, anchor, &rival);
            // The reads of one claim tell nothing of when another one was shown.
            if own.superseded_by.as_ref() != Some(&rival) || shown_at > own.rival_shown_at {
                own.rival_shown_at = now;
            }
            own.rival_on = on;
            own.superseded_by = Some(rival);
        }
        None => {
            // A read without the newer claim may show the state before that claim. A read in which its node gave up this
            // very claim can only show the state after it.
            let ended = |rival: &Rival| withdrawn.get(&rival.node).is_some_and(|given_up| *given_up >= rival.term);
            own.superseded_by.take_if(|rival| ended(rival));
            // Reads lag by [`SETTLE`] at most. A read that begins at least that long after the newer claim was shown
            // cannot show the state before that claim.
            let since = own.rival_shown_at + SETTLE;
            if at >= since && covers(claims, anchor, &own.rival_on, since) {
                own.superseded_by = None;
            }
        }
    }
    if own.superseded_by.is_none() {
        own.rival_on.clear();
    }
}

/// Notes the newer claims that their nodes gave up, whether this node had seen those claims stand or not: a newer
/// leadership may have ended before this node's next look. A claim may stand on record again after its end and be given up
/// once more: a tag may have been written late, or the node's watchdog may have changed its mind twice.
fn note_given_up(own: &mut OwnClaim, withdrawn: &BTreeMap<InstanceId, Term>, me: &InstanceId, now: Moment) {
    for (node, given_up) in withdrawn.iter().filter(|(node, _)| *node != me) {
        let was_newer = is_newer(&Rival { node: node.clone(), term: *given_up }, me, own.term);
        let stood_again =
            own.superseded_by.as_ref().is_some_and(|rival| rival.node == *node && rival.term <= *given_up);
        let is_news = |known: &Term| known < given_up || (known == given_up && stood_again);
        if was_newer && own.seen_given_up.get(node).is_none_or(|(known, _)| is_news(known)) {
            own.seen_given_up.insert(node.clone(), (*given_up, now));
        }
    }
    if own.seen_given_up.len() > MOST_GIVEN_UP {
        own.seen_given_up.retain(|node, (_, learned_at)| withdrawn.contains_key(node) || now < *learned_at + SETTLE);
    }
}

/// Whether a binding is left over from a newer claim that its holder gave up. It must have been seen elsewhere before this
/// node learned that the claim was over, or in the same look: a binding that leaves later was taken by another claim.
#[must_use]
pub fn is_left_over(own: &OwnClaim, holder: &Holder, elsewhere_since: Moment) -> bool {
    let given_up = holder.instance.as_ref().and_then(|node| own.seen_given_up.get(node));
    given_up.is_some_and(|(_, learned_at)| elsewhere_since <= *learned_at)
}

/// The record as it was read since the claim began; `None` if the record was not read since then.
fn read_under<'a>(claims: &'a Claims, own: &OwnClaim) -> Option<(&'a BTreeMap<InstanceId, Term>, Moment)> {
    let at = claims.at().filter(|at| *at >= own.adopted_at)?;
    match claims {
        Claims::Read { terms, .. } => Some((terms, at)),
        Claims::Unknown => None,
    }
}

/// The newest claim of another node in a read.
#[must_use]
pub fn newest_of_others(claims: &Claims, me: &InstanceId) -> Option<Rival> {
    newest(&Whole::of(claims)?.terms, me)
}

/// The means that a claim may use to take a binding that has not pointed here under this claim yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Take the binding from whoever holds it.
    Any,
    /// Take the binding only if nobody holds it: the claim is too old to take by force without being on record.
    OnlyIfFree,
    /// Take the binding only if nobody holds it, until the record has been read.
    LookFirst,
}

/// A young claim takes before it looks. After [`FRESH`] the claim looks first, so that a daemon that could not reach
/// EC2 takes nothing from a successor. After [`UNRECORDED_TAKE_WINDOW`] the claim takes nothing from anybody unless it
/// is the newest on record.
#[must_use]
pub fn right(mode: ClaimMode, claims: &Claims, me: &InstanceId, own: &OwnClaim, now: Moment) -> Right {
    let age = own.age(now);
    if age <= FRESH {
        Right::Any
    } else if mode == ClaimMode::Tags && !has_looked_lately(claims, own, now) {
        Right::LookFirst
    } else if age <= UNRECORDED_TAKE_WINDOW || record_status(claims, me, own) == Record::Newest {
        Right::Any
    } else {
        Right::OnlyIfFree
    }
}

/// Whether the record was read under this claim, and recently enough to take a binding from its holder.
#[must_use]
pub fn has_looked_lately(claims: &Claims, own: &OwnClaim, now: Moment) -> bool {
    read_under(claims, own).is_some_and(|(_, at)| now.saturating_sub(at) <= LOOK_COUNTS)
}

/// The term that a leader should write into its own tag; `None` if nothing is to be written now.
#[must_use]
pub fn to_record(claims: &Claims, me: &InstanceId, own: &OwnClaim) -> Option<Term> {
    let due = match read_under(claims, own) {
        Some((terms, _)) => terms.get(me) != Some(&own.term),
        // An earlier daemon has most likely recorded a claim that is not fresh, so the daemon looks first.
        None => own.began_fresh(),
    };
    due.then_some(own.term)
}

/// The term that a superseded leader should write into its own tag. Its claim is recorded only once, so that it can
/// follow when the newer claim ends.
#[must_use]
pub fn to_record_superseded(claims: &Claims, me: &InstanceId, own: &OwnClaim) -> Option<Term> {
    let (_, at) = read_under(claims, own)?;
    // An unremembered claim may be on record with a higher term, which an early read does not show yet.
    let tells = !own.unremembered || at >= own.adopted_at + SETTLE;
    if own.recorded || !tells { None } else { to_record(claims, me, own) }
}

/// Whether a superseded leader may give up what points here. Reads lag by [`SETTLE`]. The first look of a daemon that
/// remembers nothing may therefore show a newer claim that was withdrawn since, and not yet this node's own term.
#[must_use]
pub fn may_give_up(claims: &Claims, own: &OwnClaim) -> bool {
    !own.unremembered || claims.at().is_some_and(|at| at >= own.adopted_at + SETTLE)
}

/// The term up to which a node that stands by should withdraw its claims. It withdraws them at once, so that an older
/// claim that still stands may follow. `None` if there is nothing to withdraw. A claim that is not the newest may stay,
/// because it keeps nobody away.
#[must_use]
pub fn to_withdraw(claims: &Claims, me: &InstanceId, own: Option<&OwnClaim>) -> Option<Term> {
    let Claims::Read { terms, implausible, .. } = claims else { return None };
    let mine = *terms.get(me).or(implausible.get(me)).filter(|term| **term != WITHDRAWN)?;
    gives_up(claims, me, mine, own)
}

fn gives_up(claims: &Claims, me: &InstanceId, mine: Term, own: Option<&OwnClaim>) -> Option<Term> {
    let succeeded = newest_of_others(claims, me).is_some_and(|rival| is_newer(&rival, me, mine));
    (!succeeded).then(|| own.map_or(mine, |own| own.term.max(mine)))
}

/// The resources besides the anchor on which a leader should record its claim too: those that carry a claim on this VIP,
/// because a node with another configuration reads them.
pub fn to_copy<'a>(claims: &'a Claims, me: &'a InstanceId, own: &'a OwnClaim) -> impl Iterator<Item = &'a Anchor> {
    tagged(claims).filter_map(move |(resource, copies)| {
        let due = if copies.at >= own.adopted_at { copies.terms.get(me) != Some(&own.term) } else { own.began_fresh() };
        due.then_some(resource)
    })
}

/// The resources besides the anchor on which a node that stands by should withdraw its claim too, and up to which term.
pub fn to_withdraw_copy<'a>(
    claims: &'a Claims,
    me: &'a InstanceId,
    own: Option<&'a OwnClaim>,
) -> impl Iterator<Item = (&'a Anchor, Term)> {
    tagged(claims).filter_map(move |(resource, copies)| {
        let mine = *copies.terms.get(me).filter(|term| **term != WITHDRAWN)?;
        Some((resource, gives_up(claims, me, mine, own)?))
    })
}

fn tagged(claims: &Claims) -> impl Iterator<Item = (&Anchor, &Copies)> {
    let elsewhere = match claims {
        Claims::Read { elsewhere, .. } => Some(elsewhere),
        Claims::Unknown => None,
    };
    elsewhere.into_iter().flatten().filter(|(_, copies)| !copies.terms.is_empty())
}

#[cfg(test)]
mod tests;
