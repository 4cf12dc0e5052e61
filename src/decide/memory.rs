//! The memory that the loop keeps between passes so that `plan` can decide. It is plain data. [`Memory::learn`] changes
//! it after a look at the world; [`Memory::note_accepted`] and [`Memory::record_claim`] change it after an accepted
//! action. All functions here are pure; time is a parameter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::Purpose;
use crate::binding::{Anchor, BindingKey, ClaimMode, Kind, Vip};
use crate::decide::claim::{self, OwnClaim, Rival, Standing};
use crate::decide::keep::{self, Keeping};
use crate::decide::timing::{CALM, CONTESTED_FROM, NOT_FRESH, RAISE_WINDOW, SETTLE};
use crate::desired::{Claim, Desired};
use crate::ids::{AssociationId, ClaimId, InstanceId, Term};
use crate::observe::seen::{Claims, Holder, Moment, Now, Observed, Seen, Sight};

/// The memory of one VIP.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Memory {
    /// The claim that this node serves, or served last.
    pub claim: Option<OwnClaim>,
    pub tracks: BTreeMap<BindingKey, Track>,
    /// The newest claim of another node in the last read that succeeded. A claim that the record no longer shows is
    /// forgotten.
    pub newest_seen: Option<Rival>,
    /// The term of this node's tag that EC2 accepted last, and when EC2 accepted it.
    pub recorded: Option<(Term, Moment)>,
    /// The terms of this node's tags that EC2 accepted last on other resources than the anchor, and when.
    pub copied: BTreeMap<Anchor, (Term, Moment)>,
    /// When EC2 last accepted the deletion of an old claim's tag.
    pub forgot_at: Option<Moment>,
    /// When this daemon began to keep the VIP. Of the time before, this daemon knows only what was persisted, and an
    /// earlier daemon may have failed to persist its last claim. `None` in a memory that was made by hand.
    pub kept_since: Option<Moment>,
    /// Since when this node has been standby or superseded; `None` while it is neither.
    pub standby_since: Option<Moment>,
    /// Whether this node led at the last look.
    pub led: bool,
    /// Set while this node, whose leadership has ended, keeps its bindings for a successor.
    pub keeping: Option<Keeping>,
}

/// The memory of one binding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Track {
    /// Whether the binding has pointed here under the current claim. If so, its absence is drift.
    pub applied: bool,
    /// The state of the binding after this node's last accepted write. A look that began before the moment given is not
    /// believed if it contradicts this state.
    pub expected: Option<(Seen, Moment)>,
    /// The holder at which the binding was seen last, if not here, and since when each look that showed the binding has
    /// shown it there. A look at one holder is no look at the next one, whose claim may not be on record yet.
    pub elsewhere: Option<(Holder, Moment)>,
    /// Whether the binding has been seen elsewhere, or absent, since this node stopped being leader.
    pub gone: bool,
    /// Whether this daemon itself saw the binding here while this node led, and has not seen the binding leave since. A
    /// restart begins without this knowledge, because the binding may have left and come back meanwhile.
    pub watched: bool,
    /// How often this node took the binding back or put it back; `last_retake` is when it last did.
    pub retakes: u32,
    pub last_retake: Option<Moment>,
}

impl Track {
    /// The state of the binding to believe: the last look's, or the state after an own write that the look may not show
    /// yet.
    #[must_use]
    pub fn believe<'a>(&'a self, sight: &'a Sight) -> &'a Seen {
        match &self.expected {
            Some((seen, until)) if sight.at < *until => seen,
            _ => &sight.seen,
        }
    }

    /// Since when the looks have shown the binding at this holder; `None` if they have not.
    #[must_use]
    pub fn elsewhere_since(&self, holder: &Holder) -> Option<Moment> {
        self.elsewhere.as_ref().filter(|(known, _)| known.is_same(holder)).map(|(_, since)| *since)
    }
}

impl Memory {
    /// The memory of a daemon that found no persisted memory, or none that it can use.
    #[must_use]
    pub fn of_nothing(now: Moment) -> Self {
        Self { kept_since: Some(now), ..Self::default() }
    }

    /// The bindings that were taken or put back so often that they count as contested, and how often that was.
    pub fn contested(&self) -> impl Iterator<Item = (&BindingKey, u32)> {
        let retakes = self.tracks.iter().map(|(key, track)| (key, track.retakes));
        retakes.filter(|(_, retakes)| *retakes >= CONTESTED_FROM)
    }

    /// Takes the desired state and a look at the world into account. Terms are compared with EC2's clock, or with the wall
    /// clock while EC2's is not known, and implausible terms in `observed` are set apart.
    pub fn learn(&mut self, vip: &Vip, desired: &Desired, observed: &mut Observed, now: Now) {
        let Now { at: now, wall_ms } = now;
        let unix_ms = observed.server_ms.unwrap_or(wall_ms);
        claim::set_apart_implausible(&mut observed.claims, unix_ms);
        if let Desired::Leader(claim) = desired {
            let read = claim::highest_earlier(&observed.claims, &vip.instance, Term(claim.started_ms));
            if self.claim.as_ref().is_none_or(|own| own.id != claim.id) {
                let age = age(claim.started_at, claim.started_ms, now, wall_ms);
                // The own tag of a claim that an earlier daemon served has this claim's term.
                let unremembered = self.is_unremembered(age, now);
                let unused = self.lowest_unused(read.filter(|_| !unremembered), unix_ms);
                self.adopt(claim, &vip.instance, unused, now, age);
            }
            let unused = self.lowest_unused(read, unix_ms);
            if let Some(own) = &mut self.claim {
                own.mend_term(now, observed.server_ms, unused);
                let superseded_before = own.superseded_by.is_some();
                claim::learn(own, vip, &observed.claims, now);
                // A term that was raised once is not raised again.
                own.term_mended |= observed.server_ms.is_some() && own.term_settled;
                if vip.claims == ClaimMode::Off {
                    // Where claims are off, people decide who leads: this node gives way to everybody who takes.
                    own.superseded_by = None;
                    own.rival_on.clear();
                }
                if own.superseded_by.is_some() && !superseded_before {
                    self.believe_what_was_read_with(observed);
                }
            }
        }
        if matches!(observed.claims, Claims::Read { .. }) {
            self.newest_seen = claim::newest_of_others(&observed.claims, &vip.instance);
        }
        let standing = self.stand(vip, desired, observed, now);
        // `applied` is remembered until the next claim, even while a table chosen by tag is not found yet. Nothing else
        // is remembered of a binding that is not looked at.
        self.tracks.retain(|key, track| track.applied || vip.bindings.contains_key(key));
        for (_, track) in self.tracks.iter_mut().filter(|(key, _)| !vip.bindings.contains_key(key)) {
            *track = Track { applied: track.applied, ..Track::default() };
        }
        for (key, sight) in observed.sights.iter().filter(|(key, _)| vip.bindings.contains_key(key)) {
            self.tracks.entry(key.clone()).or_default().learn(sight, &standing, self.claim.as_ref(), now);
        }
    }

    /// The standing of this node. Notes since when the node stands by, and whether it still keeps its bindings for a
    /// successor.
    fn stand(&mut self, vip: &Vip, desired: &Desired, observed: &Observed, now: Moment) -> Standing {
        let standing = claim::standing(desired, self.claim.as_ref());
        match standing {
            Standing::Standby | Standing::Superseded(_) => drop(self.standby_since.get_or_insert(now)),
            Standing::Leader | Standing::Unknown => self.standby_since = None,
        }
        let led = std::mem::replace(&mut self.led, standing == Standing::Leader);
        self.keeping = match (desired, &self.claim) {
            (Desired::Standby(why), Some(own)) if led => keep::begin(vip, *why, own.term, now),
            (Desired::Standby(_), _) => self.keeping,
            (Desired::Leader(_) | Desired::Unknown(_), _) => None,
        };
        self.keeping.take_if(|keeping| !keeping.goes_on(vip, observed, now));
        standing
    }

    /// Believes a look that shows a newer claim in everything else that it shows, even if this node wrote
    /// something else shortly before.
    fn believe_what_was_read_with(&mut self, observed: &Observed) {
        let Some(read_at) = observed.claims.at() else { return };
        for (key, sight) in observed.sights.iter().filter(|(_, sight)| sight.at >= read_at) {
            if let (Some(track), false) = (self.tracks.get_mut(key), matches!(sight.seen, Seen::Unknown(_))) {
                track.expected = None;
            }
        }
    }

    /// The lowest term above all terms that this node knows to be its own: remembered, accepted by EC2, or read. A clock that
    /// was ahead and was set right gives lower ones. This node may have given its own terms up, and in a place where it can
    /// write no more, such a withdrawal stays and would end a claim with a lower term. An implausible term counts for nothing.
    fn lowest_unused(&self, read: Option<Term>, unix_ms: u64) -> Term {
        let accepted = self.recorded.iter().chain(self.copied.values()).map(|(term, _)| *term);
        let own = self.claim.iter().map(|own| own.term).chain(accepted).chain(read);
        let latest = claim::latest_plausible(unix_ms);
        own.map(Term::next).filter(|term| *term <= latest).max().unwrap_or_default()
    }

    /// Whether an earlier daemon may have served a claim of this age, and left no memory of it.
    fn is_unremembered(&self, age: Duration, now: Moment) -> bool {
        self.kept_since.is_some_and(|since| age > now.saturating_sub(since))
    }

    /// Begins a claim, with a term that is not below `unused`. The claims that this node has seen on record so far are older
    /// than the new claim. They may be newer only if the daemon noticed the hook late, because it may have read a newer claim
    /// in the meantime. Such a newer claim stays the newer one.
    fn adopt(&mut self, claim: &Claim, me: &InstanceId, unused: Term, now: Moment, age: Duration) {
        let hooks = Term(claim.started_ms);
        let started = hooks.max(unused);
        let unremembered = self.is_unremembered(age, now);
        // A restarted daemon looks before it takes, however young the claim is.
        let age_at_adoption = if unremembered { age.max(NOT_FRESH) } else { age };
        let (term, superseded_by) = match &self.newest_seen {
            Some(seen) if age_at_adoption <= RAISE_WINDOW => (started.max(seen.term.next()), None),
            Some(seen) if claim::is_newer(seen, me, started) => (started, Some(seen.clone())),
            Some(seen) if claim::is_newer(seen, me, hooks) => (hooks, Some(seen.clone())),
            Some(_) | None => (started, None),
        };
        self.claim = Some(OwnClaim {
            id: claim.id.clone(),
            started_ms: claim.started_ms,
            term,
            adopted_at: now,
            age_at_adoption,
            term_settled: false,
            term_mended: false,
            recorded: false,
            unremembered,
            superseded_by,
            rival_on: BTreeSet::new(),
            rival_shown_at: now,
            seen_given_up: BTreeMap::new(),
        });
        for track in self.tracks.values_mut() {
            track.applied = false;
            track.elsewhere = None;
            // Somebody else may meanwhile have taken a binding that this node took under an earlier claim.
            track.expected.take_if(|(seen, _)| matches!(seen, Seen::Here { .. }));
        }
    }

    /// Notes that EC2 or the kernel accepted an action on a binding. `claim` is the claim under which the action was
    /// planned.
    pub fn note_accepted(
        &mut self,
        key: &BindingKey,
        purpose: Purpose,
        claim: Option<&ClaimId>,
        association: Option<AssociationId>,
        now: Moment,
    ) {
        let same_claim = self.claim.as_ref().map(|own| &own.id) == claim;
        let track = self.tracks.entry(key.clone()).or_default();
        let here = Seen::Here { association };
        let (seen, for_claim) = match purpose {
            Purpose::Release => (Seen::Absent, false),
            Purpose::Prepare => (here, false),
            Purpose::Take | Purpose::Restore | Purpose::Retake => (here, true),
        };
        // The kernel shows an address change at once. Only a look that began before the change may show the old state.
        let lag = if key.kind == Kind::LocalAddress { Duration::from_nanos(1) } else { SETTLE };
        track.expected = Some((seen, now + lag));
        if for_claim && same_claim {
            track.applied = true;
        }
        if matches!(purpose, Purpose::Retake | Purpose::Restore) {
            track.retakes = track.retakes.saturating_add(1);
            track.last_retake = Some(now);
            track.elsewhere = None;
        }
    }

    /// Notes that EC2 accepted this node's tag with `term`.
    pub fn record_claim(&mut self, term: Term, now: Moment) {
        self.recorded = Some((term, now));
        if let Some(own) = self.claim.as_mut().filter(|own| own.term == term) {
            own.recorded = true;
        }
    }

    /// Notes that EC2 accepted this node's tag with `term` on another resource than the anchor.
    pub fn copy_claim(&mut self, resource: Anchor, term: Term, now: Moment) {
        self.copied.insert(resource, (term, now));
    }

    /// The part of the memory that must survive a restart of the daemon, so that the restart moves nothing.
    ///
    /// Forgetting the other parts is harmless:
    ///
    /// - `expected`: a read that lags behind an own write leads to a change that EC2 refuses (a binding that is put back only
    ///   if it is free, a release by its association), or to a second look after [`SETTLE`].
    /// - `elsewhere`, `retakes` and `last_retake`: the second look begins anew, and the waits before a retake grow anew
    ///   from the shortest one.
    /// - `watched`: under a hold, a binding whose leadership ended before the restart stays until the hold ends.
    /// - `newest_seen`: the first look raises the term of a young claim once more.
    /// - `recorded`, `copied` and `forgot_at`: a tag is written once more with its old value, or deleted by its value.
    /// - `standby_since`: a route is deleted later, and a superseded leader looks often for another ten minutes.
    #[must_use]
    pub fn to_persist(&self) -> Option<Persisted> {
        let own = self.claim.as_ref()?;
        Some(Persisted {
            version: PERSISTED_VERSION,
            claim: own.id.clone(),
            started_ms: own.started_ms,
            started_boot_ms: own.adopted_at.checked_sub(own.age_at_adoption).map(claim::millis),
            term: own.term,
            term_mended: own.term_mended,
            recorded: own.recorded,
            superseded_by: own.superseded_by.clone(),
            superseded_on: own.rival_on.clone(),
            seen_given_up: own.seen_given_up.clone(),
            applied: self.tracks.iter().filter(|(_, track)| track.applied).map(|(key, _)| key.clone()).collect(),
            gone: self.tracks.iter().filter(|(_, track)| track.gone).map(|(key, _)| key.clone()).collect(),
            led: self.led,
            keeping: self.keeping,
            converged_ms: None,
            was_held: false,
            on_watchdogs_word: false,
        })
    }

    /// The memory of a daemon that was restarted. `wall_ms` is the wall clock now, in milliseconds since the Unix
    /// epoch. A moment that is later than `now` tells nothing, and what rests on it is forgotten: nobody knows who wrote
    /// it, and a sum with it may be more than a moment can be.
    #[must_use]
    pub fn restore(persisted: Persisted, now: Moment, wall_ms: u64) -> Self {
        let mut seen_given_up = persisted.seen_given_up;
        seen_given_up.retain(|_, (_, learned_at)| *learned_at <= now);
        let mut tracks: BTreeMap<BindingKey, Track> = BTreeMap::new();
        for key in persisted.applied {
            tracks.entry(key).or_default().applied = true;
        }
        for key in persisted.gone {
            tracks.entry(key).or_default().gone = true;
        }
        let started_at = persisted.started_boot_ms.map(Duration::from_millis);
        Self {
            claim: Some(OwnClaim {
                id: persisted.claim,
                started_ms: persisted.started_ms,
                term: persisted.term,
                adopted_at: now,
                // A restarted daemon looks before it takes, however young the claim is.
                age_at_adoption: age(started_at, persisted.started_ms, now, wall_ms).max(NOT_FRESH),
                term_settled: false,
                term_mended: persisted.term_mended,
                recorded: persisted.recorded,
                unremembered: false,
                superseded_by: persisted.superseded_by,
                rival_on: persisted.superseded_on,
                rival_shown_at: now,
                seen_given_up,
            }),
            tracks,
            kept_since: Some(now),
            led: persisted.led,
            keeping: persisted.keeping.filter(|keeping| keeping.since <= now),
            ..Self::default()
        }
    }
}

/// How long ago a claim's hook started. The clock since boot tells, because a wall clock that was set back would make
/// the claim look young. The wall clock tells only of a claim whose hook did not note the time since boot, or noted one
/// that is still to come.
fn age(started_at: Option<Moment>, started_ms: u64, now: Moment, wall_ms: u64) -> Duration {
    let by_boot = started_at.and_then(|started_at| now.checked_sub(started_at));
    by_boot.unwrap_or_else(|| Duration::from_millis(wall_ms.saturating_sub(started_ms)))
}

impl Track {
    fn learn(&mut self, sight: &Sight, standing: &Standing, claim: Option<&OwnClaim>, now: Moment) {
        // The expected state is dropped once a look began at its moment or later. A failed look also drops the expected
        // state, once that moment has passed.
        let blind = matches!(sight.seen, Seen::Unknown(_));
        if self.expected.as_ref().is_some_and(|(_, until)| sight.at >= *until || (blind && now >= *until)) {
            self.expected = None;
        }
        if self.last_retake.is_some_and(|at| now >= at + CALM) {
            self.retakes = 0;
            self.last_retake = None;
        }
        let seen = self.believe(sight).clone();
        let leads = *standing == Standing::Leader;
        if leads {
            self.gone = false;
        } else {
            // A node that does not lead contests nothing, so its retakes are not counted.
            self.retakes = 0;
            self.last_retake = None;
            self.gone |= matches!(seen, Seen::Absent | Seen::Elsewhere(_));
        }
        self.watched = match seen {
            Seen::Here { .. } => self.watched || leads,
            Seen::Absent | Seen::Elsewhere(_) => false,
            Seen::Unknown(_) => self.watched,
        };
        // A superseded claim keeps the moment at which it saw a binding elsewhere, so that this look counts once the
        // claim leads again.
        let claim = claim.filter(|_| leads || matches!(standing, Standing::Superseded(_)));
        match (seen, claim) {
            (Seen::Here { .. }, Some(own)) => {
                self.elsewhere = None;
                self.applied |= leads && sight.at >= own.adopted_at;
            }
            (Seen::Absent, _) | (_, None) => self.elsewhere = None,
            (Seen::Elsewhere(holder), Some(_)) if self.applied => {
                let since = self.elsewhere_since(&holder).unwrap_or(sight.at);
                self.elsewhere = Some((holder, since));
            }
            (Seen::Elsewhere(_) | Seen::Unknown(_), Some(_)) => {}
        }
    }
}

/// The format of the persisted memory.
pub const PERSISTED_VERSION: u32 = 1;

/// The part of a VIP's memory that is kept in `<state_dir>/claims/<delegate-ip>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own in the file")]
pub struct Persisted {
    pub version: u32,
    pub claim: ClaimId,
    pub started_ms: u64,
    /// When the claim's hook started, in milliseconds since boot. `None` in files of older programs.
    #[serde(default)]
    pub started_boot_ms: Option<u64>,
    pub term: Term,
    /// Whether the term has been compared with EC2's clock.
    #[serde(default)]
    pub term_mended: bool,
    /// Whether EC2 has accepted this claim's tag once.
    #[serde(default)]
    pub recorded: bool,
    pub superseded_by: Option<Rival>,
    /// The ids of the resources whose tags showed the newer claim.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub superseded_on: BTreeSet<String>,
    /// The newer claims that their nodes were seen to give up, and when this node learned of that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seen_given_up: BTreeMap<InstanceId, (Term, Moment)>,
    /// The bindings that have pointed here under this claim.
    pub applied: Vec<BindingKey>,
    /// The bindings that have left this node since it stopped leading. Somebody else brought a binding among them that
    /// points here again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<BindingKey>,
    /// Whether this node led at the last look.
    #[serde(default)]
    pub led: bool,
    /// Set while this node, whose leadership has ended, keeps its bindings for a successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeping: Option<Keeping>,
    /// When all bindings were first seen here, by the wall clock, in milliseconds since the Unix epoch. The loop fills
    /// this in.
    #[serde(default)]
    pub converged_ms: Option<u64>,
    /// Whether a hold kept the node from acting before that. The loop fills this in.
    #[serde(default)]
    pub was_held: bool,
    /// Whether the watchdog's word began this claim, or ended it, against the desired-state file.
    /// [`crate::decide::Decider::to_persist`] fills this in.
    #[serde(default)]
    pub on_watchdogs_word: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::keep::WatchdogsPart;

    #[test]
    fn what_is_persisted_is_what_a_restarted_daemon_goes_on_from() {
        let s = Duration::from_secs;
        let key = |target: &str| BindingKey::new(Kind::Route, target);
        let rival = Rival { node: "i-b".parse().unwrap(), term: Term(9) };
        let persisted = Persisted {
            version: PERSISTED_VERSION,
            claim: ClaimId::new("c1"),
            started_ms: 5_000,
            started_boot_ms: Some(3_000),
            term: Term(7),
            term_mended: true,
            recorded: true,
            superseded_by: Some(rival),
            superseded_on: BTreeSet::from(["rtb-1".to_owned()]),
            seen_given_up: BTreeMap::from([("i-c".parse().unwrap(), (Term(8), s(20)))]),
            applied: vec![key("rtb-1")],
            gone: vec![key("rtb-2")],
            led: true,
            keeping: Some(Keeping { since: s(30), term: Term(7), word: WatchdogsPart::Needed }),
            converged_ms: None,
            was_held: false,
            on_watchdogs_word: false,
        };
        let memory = Memory::restore(persisted.clone(), s(100), 105_000);
        assert_eq!(memory.claim.as_ref().map(|own| own.age(s(101))), Some(s(98)), "the clock since boot tells");
        assert_eq!((memory.kept_since, memory.to_persist()), (Some(s(100)), Some(persisted.clone())));

        // A daemon that reads the file earlier than it can have been written believes no moment in it.
        let early = Memory::restore(persisted, s(19), 105_000);
        let own = early.claim.as_ref().unwrap();
        assert_eq!((&own.seen_given_up, early.keeping, own.age(s(20))), (&BTreeMap::new(), None, s(17)));
    }
}
