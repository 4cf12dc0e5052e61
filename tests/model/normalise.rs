//! Time in the model. It passes by moving back everything that a node remembers, and states that no rule can tell apart
//! are made equal.

use std::time::Duration;

use vipkeeper::claim_tag::WITHDRAWN;
use vipkeeper::decide::timing::SETTLE;
use vipkeeper::ids::Term;
use vipkeeper::observe::seen::{Claims, Moment, Seen};

use super::{File, Local, Locals, NOW, OUTSIDE, claim_id, elsewhere, instance};
use crate::rules::Pointing;

impl Locals {
    /// Makes moments and values equal that no rule can tell apart.
    pub(super) fn normalise(&self, it: &mut Local) {
        let back = |seconds: u64| NOW - Duration::from_secs(seconds);
        let long = self.setup.long_pauses;
        // The leftovers of a claim mean nothing to the next claim.
        let current =
            matches!(it.reading, File::Leader(k) if it.memory.claim.as_ref().is_some_and(|own| own.id == claim_id(k)));
        if !current {
            it.memory.claim = None;
            it.memory.tracks.values_mut().for_each(|track| track.applied = false);
        }
        let noticed =
            matches!(it.file, File::Leader(k) if it.memory.claim.as_ref().is_some_and(|own| own.id == claim_id(k)));
        let cap_age = |age: Duration| match age.as_secs() {
            0..=5 => age,
            61.. if long => Duration::from_secs(66),
            _ => Duration::from_secs(6),
        };
        it.hook_age =
            if noticed || !matches!(it.file, File::Leader(_)) { Duration::ZERO } else { cap_age(it.hook_age) };
        self.forget(it);
        // A look that is under way may have begun one step of time ago.
        keep_what_hides_a_claim(it, back(if self.setup.slow_looks { 12 } else { 6 }));
        forget_holder(it);
        // Moments that a rule compares with one another keep their order. Everything else about them is dropped.
        let adopted_at = it.memory.claim.as_ref().map(|own| own.adopted_at);
        let adopted = adopted_at.map_or(back(100), |at| at.max(back(if long { 66 } else { 12 })));
        let before = adopted - Duration::from_secs(1);
        let under_claim = |at: Moment| if adopted_at.is_some_and(|adopted| at >= adopted) { adopted } else { before };
        let slow = self.setup.slow_looks;
        // The time since a node stands by decides only when the node deletes a route.
        let deletes = self.setup.pointing == Pointing::RouteDeleted;
        it.memory.keeping.iter_mut().for_each(|keeping| keeping.since = keeping.since.max(back(18)));
        let standby_since = it.memory.standby_since.filter(|_| deletes);
        it.memory.standby_since = standby_since.map(|at| at.max(back(36)));
        if let Claims::Read { at, .. } = &mut it.observed.claims {
            if let Some((_, recorded_at)) = &mut it.memory.recorded {
                let settled = *at >= *recorded_at + SETTLE;
                *recorded_at = if settled { back(120) } else { (*recorded_at).max(back(6)) };
            }
            // The age of a look decides whether the node may take anything on the word of that look.
            let under_claim = adopted_at.is_some_and(|adopted| *at >= adopted);
            *at = match it.memory.keeping {
                _ if under_claim => (*at).max(back(12)).max(adopted),
                // A former leader keeps nothing without a look.
                Some(_) => (*at).max(back(12)),
                None => before,
            };
        } else if let Some((_, recorded_at)) = &mut it.memory.recorded {
            *recorded_at = (*recorded_at).max(back(6));
        }
        if let Some(own) = &mut it.memory.claim {
            own.adopted_at = adopted;
            own.age_at_adoption = cap_age(own.age_at_adoption);
            if own.superseded_by.is_none() {
                own.rival_shown_at = Moment::ZERO;
            } else {
                own.rival_shown_at = own.rival_shown_at.max(back(if slow { 12 } else { 6 }));
                // The shortened times must not make a newer claim look gone, or look as if it were shown anew.
                if let Claims::Read { at, .. } = &mut it.observed.claims {
                    *at = own.rival_shown_at;
                }
            }
        }
        for (key, sight) in &mut it.observed.sights {
            let looked_at = sight.at;
            sight.at = under_claim(looked_at);
            let Some(track) = it.memory.tracks.get_mut(key) else { continue };
            track.gone = false;
            track.watched = false;
            track.retakes = track.retakes.min(4);
            track.last_retake = None;
            if let Some((_, since)) = &mut track.elsewhere {
                let hold = [6, 6, 12, 24, 30][track.retakes as usize];
                let between = looked_at.saturating_sub(*since).min(Duration::from_secs(hold));
                // A look counts for 12 s. For that long, it keeps its place in the order with the look that read the
                // claims.
                *since = (*since).max(back(hold + 12));
                sight.at = *since + between;
            }
            if let Some((_, until)) = &mut track.expected {
                *until = (*until).max(back(if slow { 7 } else { 1 }));
                // The expected result is believed against everything that was seen before.
                sight.seen = elsewhere();
            }
        }
    }
}

impl Locals {
    /// Drops knowledge that no longer matters.
    fn forget(&self, it: &mut Local) {
        let me = instance(it.node);
        let ordered = self.setup.spaced && self.setup.skew_ms == [0; 3];
        let has_news = it.has_news();
        let own = it.memory.claim.as_ref();
        if own.is_none() {
            // A node that does not lead treats "nowhere" and "elsewhere" alike.
            for sight in it.observed.sights.values_mut().filter(|sight| sight.seen == Seen::Absent) {
                sight.seen = elsewhere();
            }
        }
        if let Claims::Read { terms, withdrawn, .. } = &mut it.observed.claims {
            // A withdrawn claim counts as no claim, except for the node that the claim superseded, and for a claim to
            // come that is older.
            terms.retain(|_, term| *term != WITHDRAWN);
            let rival = own.and_then(|own| own.superseded_by.as_ref());
            let may_be_news = own.is_none() && (has_news || !ordered);
            withdrawn.retain(|node, term| {
                may_be_news || rival.is_some_and(|rival| rival.node == *node && *term >= rival.term)
            });
            let mine = own.map(|own| own.term).or(terms.get(&me).copied());
            terms.retain(|node, term| *node == me || mine.is_some_and(|mine| *term >= mine));
            if let (Some((term, at)), Some(on_record)) = (&it.memory.recorded, terms.get(&me))
                && term == on_record
            {
                it.memory.recorded = Some((*term, (*at).min(NOW - Duration::from_secs(120))));
            }
        }
        if let Some((term, _)) = it.memory.recorded
            && term != own.map_or(Term(0), |own| own.term)
        {
            it.memory.recorded = None;
        }
        // If terms follow the order of time, every claim seen so far is older than any claim to come.
        if ordered && !it.has_news() {
            it.memory.newest_seen = None;
        }
    }
}

/// Who holds the binding matters only if the holder was seen to give up a newer claim, or while a leader that had the
/// binding compares its looks.
fn forget_holder(it: &mut Local) {
    let given_up = it.memory.claim.as_ref().map(|own| &own.seen_given_up);
    let is_forgotten = |node: &mut _| !given_up.is_some_and(|given_up| given_up.contains_key(node));
    for (key, sight) in &mut it.observed.sights {
        let Seen::Elsewhere(holder) = &mut sight.seen else { continue };
        holder.instance.take_if(is_forgotten);
        if it.memory.tracks.get(key).is_none_or(|track| track.elsewhere.is_none()) {
            OUTSIDE.clone_into(&mut holder.name);
        }
    }
    for (holder, _) in it.memory.tracks.values_mut().filter_map(|track| track.elsewhere.as_mut()) {
        holder.instance = None;
    }
}

/// When a node learned that a newer claim was given up matters to the last read if that read shows the claim, to reads that
/// begin within 5 s, and to a binding that was seen elsewhere before. Otherwise the term alone matters.
fn keep_what_hides_a_claim(it: &mut Local, oldest: Moment) {
    let since = it.memory.tracks.values().find_map(|track| track.elsewhere.as_ref().map(|(_, since)| *since));
    let Some(own) = &mut it.memory.claim else { return };
    let (claims, look) = (&it.observed.claims, it.look);
    for (node, (given_up, learned_at)) in &mut own.seen_given_up {
        let until = *learned_at + SETTLE;
        let hides = match claims {
            Claims::Read { terms, at, .. } => {
                let term = terms.get(node).filter(|term| **term != WITHDRAWN);
                *at < until && term.is_some_and(|term| term <= given_up)
            }
            Claims::Unknown => false,
        };
        let may_hide = hides || NOW < until || look.is_some_and(|at| at < until);
        let lately = (*learned_at).max(oldest);
        *learned_at = match since {
            Some(since) if since <= *learned_at => lately,
            // The shortened time must not make the binding look left over.
            Some(since) if may_hide => lately.min(since - Duration::from_secs(1)),
            None if may_hide => lately,
            _ => NOW - Duration::from_secs(100),
        };
    }
}

/// Lets time pass for the node.
pub(super) fn pass(it: &mut Local, by: Duration) {
    let back = |at: &mut Moment| *at = at.saturating_sub(by);
    it.hook_age += by;
    it.look.iter_mut().for_each(back);
    it.observed.sights.values_mut().for_each(|sight| back(&mut sight.at));
    if let Claims::Read { at, .. } = &mut it.observed.claims {
        back(at);
    }
    let memory = &mut it.memory;
    if let Some(own) = &mut memory.claim {
        back(&mut own.adopted_at);
        back(&mut own.rival_shown_at);
        own.seen_given_up.values_mut().for_each(|(_, at)| back(at));
    }
    memory.standby_since.iter_mut().for_each(back);
    memory.keeping.iter_mut().for_each(|keeping| back(&mut keeping.since));
    memory.recorded.iter_mut().for_each(|(_, at)| back(at));
    for track in memory.tracks.values_mut() {
        track.expected.iter_mut().for_each(|(_, until)| back(until));
        track.elsewhere.iter_mut().for_each(|(_, since)| back(since));
    }
}
