//! Plans the changes of one VIP, as data. Planning reads no clock, calls nothing outside, and cannot fail: equal inputs
//! always give equal plans. A plan never acts on a guess: a binding whose state is unknown yields no action, except for
//! a new leader, which takes the binding in any state.
//!
//! A plan says nothing of when a failed action may be tried again: see [`retry`](super::retry).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::action::{Action, Force, Purpose};
use crate::binding::{Anchor, Binding, BindingKey, ClaimMode, Obstacle, Vip};
use crate::claim_tag;
use crate::decide::claim::{self, OwnClaim, Record, Right, Standing};
use crate::decide::memory::{Memory, Track};
use crate::decide::timing::{
    FOLLOW, FOLLOW_ESCALATED, FOLLOW_FOR, FORGET_AFTER, FRESH, KEEP_LOOK, RETAKE_PAUSE, RETAKE_PAUSE_MAX, SETTLE,
};
use crate::desired::Desired;
use crate::ids::Term;
use crate::observe::seen::{Claims, Holder, Moment, Observed, Seen, Sight, WhyUnseen, Witness};

pub use self::change::{Change, Subject};
use self::planner::{NO_TRACK, NOT_READ, Planner, not_here, point_here, sooner};
pub use self::unasked::Unasked;
pub use self::verdict::{BindingChange, DriftReason, State, Verdict};
use self::verdict::{act, drifted, say};
pub use self::why::{Blocker, Why};

mod change;
mod local;
mod planner;
mod release;
mod unasked;
mod verdict;
mod why;

/// The plan for one VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub standing: Standing,
    /// Whether it is a problem that no hook has said what is wanted; `None` if a hook has.
    pub unasked: Option<Unasked>,
    pub bindings: BTreeMap<BindingKey, Verdict>,
    /// Writes this node's tag on the anchor, if the tag is missing or does not say what it should.
    pub record: Option<(Term, Action)>,
    /// Writes this node's tag on other resources that carry claims on this VIP, where the tag does not say what it should.
    pub copies: BTreeMap<Anchor, (Term, Action)>,
    /// Deletes an old claim of another node. A plan deletes one claim at most.
    pub forget: Option<Action>,
    /// When a new look may change the plan although nothing else happens.
    pub look_at: Option<Moment>,
    /// Whether this node, whose leadership has ended, keeps its bindings for a successor while its Pgpool serves.
    pub keeps: bool,
}

impl Plan {
    /// Whether every binding agrees with the desired state.
    #[must_use]
    pub fn in_sync(&self) -> bool {
        self.standing != Standing::Unknown && self.nothing_stands_out()
    }

    /// Whether every binding is in sync. This may also hold while no hook has said what is wanted.
    #[must_use]
    pub fn nothing_stands_out(&self) -> bool {
        self.bindings.values().all(|verdict| verdict.state == State::InSync)
    }

    /// The planned changes of bindings.
    pub fn binding_changes(&self) -> impl Iterator<Item = (&BindingKey, &BindingChange)> {
        self.bindings.iter().filter_map(|(key, verdict)| Some((key, verdict.change.as_ref()?)))
    }

    /// All planned changes, those of the record of claims first.
    pub fn changes(&self) -> impl Iterator<Item = Change> + '_ {
        let record = self.record.iter().map(|(term, action)| Change::OwnClaim { term: *term, action: action.clone() });
        let copies = self.copies.iter().map(|(resource, (term, action))| Change::CopyOfClaim {
            resource: resource.clone(),
            term: *term,
            action: action.clone(),
        });
        let forget = self.forget.iter().map(|action| Change::OldClaim { action: action.clone() });
        let bindings = self.binding_changes().map(|(key, change)| Change::Binding {
            key: key.clone(),
            purpose: change.purpose,
            action: change.action.clone(),
        });
        record.chain(copies).chain(forget).chain(bindings)
    }

    /// The action that is planned about `subject`.
    #[must_use]
    pub fn action(&self, subject: &Subject) -> Option<&Action> {
        match subject {
            Subject::Binding(key) => Some(&self.bindings.get(key)?.change.as_ref()?.action),
            Subject::OwnClaim => self.record.as_ref().map(|(_, action)| action),
            Subject::CopyOfClaim(resource) => self.copies.get(resource).map(|(_, action)| action),
            Subject::OldClaim => self.forget.as_ref(),
        }
    }

    /// Whether there is nothing to do, apart from old claims that may be waiting to be forgotten.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let writes = self.changes().any(|change| change.subject() != Subject::OldClaim);
        !writes && (self.in_sync() || self.standing == Standing::Unknown)
    }

    /// Whether the plan contains no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes().next().is_none()
    }
}

/// Plans the changes of one VIP.
#[must_use]
pub fn plan(vip: &Vip, desired: &Desired, observed: &Observed, memory: &Memory, now: Moment) -> Plan {
    let standing = claim::standing(desired, memory.claim.as_ref());
    let planner = Planner { vip, observed, memory, standing: &standing, now };
    let mut look_at = None;
    let bindings: BTreeMap<_, _> = vip
        .bindings
        .iter()
        .map(|(key, binding)| {
            let verdict = planner.binding(key, binding.as_ref(), &mut look_at);
            let obstacle = vip.obstacles.get(key).filter(|obstacle| match obstacle {
                Obstacle::SharedPlace { .. } => standing != Standing::Unknown,
                Obstacle::OwnWrites { .. } => standing == Standing::Leader,
            });
            (key.clone(), obstructed(verdict, obstacle))
        })
        .collect();
    let unasked = Unasked::of(desired, observed.witness, &bindings);
    let record = planner.record();
    let copies = planner.copies();
    planner.follow(&mut look_at);
    let forget = planner.forget();
    let keeps = memory.keeping.is_some();
    Plan { standing, unasked, bindings, record, copies, forget, look_at, keeps }
}

impl Planner<'_> {
    fn binding(&self, key: &BindingKey, binding: Option<&Binding>, look_at: &mut Option<Moment>) -> Verdict {
        let sight = self.observed.sights.get(key).unwrap_or(&NOT_READ);
        let track = self.memory.tracks.get(key).unwrap_or(&NO_TRACK);
        let seen = track.believe(sight);
        let Some(binding) = binding else {
            return match seen {
                Seen::Unknown(why) => say(State::Unknown, Why::Unseen(why.clone())),
                _ => say(State::Unknown, Why::Unseen(WhyUnseen::NotRead)),
            };
        };
        match (self.standing, &self.memory.claim) {
            (Standing::Unknown, _) => self.undesired(binding, seen),
            (Standing::Leader, Some(own)) if track.applied => self.keep(own, binding, sight, track, look_at),
            (Standing::Leader, Some(own)) => self.take(own, binding, sight, seen, look_at),
            // A leader always holds a claim: `learn` adopts it before anybody plans.
            (Standing::Leader, None) => say(State::Waiting, Why::LookingFirst),
            (Standing::Standby | Standing::Superseded(_), _) => {
                let verdict = self.release(binding, seen, look_at);
                // A binding that has not left yet is no drift. A binding that left and came back, though this node did
                // not call it back, is drift.
                let releases = verdict.change.as_ref().is_some_and(|change| change.purpose == Purpose::Release);
                let uncalled = track.gone && releases;
                if uncalled { drifted(verdict, DriftReason::Here) } else { verdict }
            }
        }
    }

    /// A leader's binding that has not pointed here under this claim yet.
    fn take(
        &self,
        own: &OwnClaim,
        binding: &Binding,
        sight: &Sight,
        seen: &Seen,
        look_at: &mut Option<Moment>,
    ) -> Verdict {
        // The binding may have pointed here since before the claim. Then there is nothing to write, and the read under
        // way will confirm it. A route is an exception while the claim is young: it stays after its node stood down,
        // and a leader in between may have moved it. A route is therefore taken without waiting for the read.
        let may_have_moved = matches!(binding, Binding::Route { .. }) && own.age(self.now) <= FRESH;
        if matches!(seen, Seen::Here { .. }) && !may_have_moved {
            return say(State::Waiting, Why::Confirming);
        }
        if let Some(first) = self.waits_for(binding) {
            return say(State::Waiting, Why::After(first.clone()));
        }
        let force =
            match (claim::right(self.vip.claims, &self.observed.claims, &self.vip.instance, own, self.now), seen) {
                (Right::Any, _) => Force::Take,
                (Right::OnlyIfFree | Right::LookFirst, Seen::Absent) if sight.at >= own.adopted_at => Force::IfFree,
                (Right::LookFirst, _) | (_, Seen::Absent | Seen::Here { .. }) => {
                    self.look_again(look_at);
                    return say(State::Waiting, Why::LookingFirst);
                }
                (Right::OnlyIfFree, Seen::Elsewhere(holder)) => {
                    return say(State::Blocked, Why::NoRecord { holder: holder.to_string() });
                }
                (Right::OnlyIfFree, Seen::Unknown(why)) => return say(State::Unknown, Why::Unseen(why.clone())),
            };
        act(State::Waiting, Why::Taking, Purpose::Take, point_here(binding, &sight.seen, force))
    }

    /// A leader's binding that has pointed here under this claim: any difference is drift.
    fn keep(
        &self,
        own: &OwnClaim,
        binding: &Binding,
        sight: &Sight,
        track: &Track,
        look_at: &mut Option<Moment>,
    ) -> Verdict {
        match track.believe(sight) {
            // An accepted change is no success yet: only a later look shows success.
            Seen::Here { .. } if matches!(sight.seen, Seen::Here { .. }) && self.is_silent(binding) => {
                self.restore(binding, &Seen::Absent, track, look_at)
            }
            Seen::Here { .. } if matches!(sight.seen, Seen::Here { .. }) => self.in_place(binding),
            Seen::Here { .. } => say(State::Waiting, Why::Accepted),
            Seen::Unknown(why) => say(State::Unknown, Why::Unseen(why.clone())),
            seen @ Seen::Absent => match self.waits_for(binding) {
                Some(first) => drifted(say(State::Drift, Why::After(first.clone())), DriftReason::Absent),
                None => self.restore(binding, seen, track, look_at),
            },
            Seen::Elsewhere(holder) => {
                let lags = self.claims_lag(sight);
                // The record is still being read in this look. It may show a newer claim, and then the binding is
                // where it should be.
                if lags && track.elsewhere_since(holder).is_none_or(|since| since >= sight.at) {
                    return say(State::Waiting, Why::SecondLook { holder: holder.to_string() });
                }
                let reason = if holder.blackhole { DriftReason::Blackhole } else { DriftReason::Elsewhere };
                let verdict = match self.why_no_retake(own, holder) {
                    Some(verdict) => verdict,
                    None => self.retake(binding, sight, track, holder, look_at),
                };
                let change = verdict.change.filter(|_| !lags);
                drifted(Verdict { change, ..verdict }, reason)
            }
        }
    }

    /// Puts back a binding that is gone. EC2 itself refuses if somebody else took it meanwhile. The first time, the
    /// binding is put back at once; if it goes again and again, this node waits longer and longer before it puts the
    /// binding back.
    fn restore(&self, binding: &Binding, found: &Seen, track: &Track, look_at: &mut Option<Moment>) -> Verdict {
        let (why, reason) = match binding {
            Binding::SourceDestCheck { .. } => (Why::CheckOn, DriftReason::CheckOn),
            _ if self.is_silent(binding) => (Why::Silent, DriftReason::Absent),
            _ => (Why::Restoring, DriftReason::Absent),
        };
        if let (Some(last), Some(earlier)) = (track.last_retake, track.retakes.checked_sub(1)) {
            let due = last + pause_after(earlier);
            if self.now < due {
                sooner(look_at, due);
                return drifted(say(State::Drift, Why::GoneAgain), reason);
            }
        }
        let action = point_here(binding, found, Force::IfFree);
        drifted(act(State::Drift, why, Purpose::Restore, action), reason)
    }

    /// Why this leader may not take back a binding now, whatever its looks show: its claim is not the newest on
    /// record, or the watchdog forbids it. `None` if it may.
    fn why_no_retake(&self, own: &OwnClaim, holder: &Holder) -> Option<Verdict> {
        let holder = holder.to_string();
        if claim::record_status(&self.observed.claims, &self.vip.instance, own) != Record::Newest {
            return Some(say(State::Blocked, Why::NoRecord { holder }));
        }
        match self.observed.witness {
            Witness::NotEscalated => Some(say(State::Blocked, Why::NotEscalated { holder })),
            // The watchdog's answer wakes the loop.
            Witness::Asking => Some(say(State::Drift, Why::SecondLook { holder })),
            Witness::Unheard => Some(say(State::Blocked, Why::Unheard { holder })),
            Witness::Silent | Witness::Escalated => None,
        }
    }

    /// Takes back a binding that this leader had and somebody else holds now, after a second look at that holder. The second
    /// look finds a newer claim that is not on record yet. A binding whose holder changes from look to look is drift, and is
    /// not fought for. A binding that is left over from a newer claim needs none: its holder gave
    /// that claim up.
    fn retake(
        &self,
        binding: &Binding,
        sight: &Sight,
        track: &Track,
        holder: &Holder,
        look_at: &mut Option<Moment>,
    ) -> Verdict {
        let own = self.memory.claim.as_ref();
        let since = track.elsewhere_since(holder).unwrap_or(sight.at);
        // One retake is no fight yet: a person may have changed two things, one after the other.
        let due = since + pause_after(track.retakes.saturating_sub(1));
        let is_left_over = own.is_some_and(|own| claim::is_left_over(own, holder, since));
        let holder = holder.to_string();
        if sight.at < due && !is_left_over {
            sooner(look_at, due);
            return say(State::Drift, Why::SecondLook { holder });
        }
        if !own.is_some_and(|own| claim::has_looked_lately(&self.observed.claims, own, self.now)) {
            self.look_again(look_at);
            return say(State::Drift, Why::SecondLook { holder });
        }
        if let Some(first) = self.waits_for(binding) {
            return say(State::Drift, Why::After(first.clone()));
        }
        let action = point_here(binding, &sight.seen, Force::Take);
        act(State::Drift, Why::Retaking { holder }, Purpose::Retake, action)
    }

    /// Whether the record was read in an earlier look than the binding. The record is read, or its read fails, within
    /// this look.
    fn claims_lag(&self, sight: &Sight) -> bool {
        self.observed.claims.at().is_some_and(|at| at < sight.at)
    }

    /// A binding while no hook has said who leads: it stays as it is. The source/destination check of the own ENI is in
    /// sync either way, because it directs no traffic to this node.
    fn undesired(&self, binding: &Binding, seen: &Seen) -> Verdict {
        match (binding, seen) {
            (Binding::SourceDestCheck { .. }, Seen::Here { .. }) => self.in_place(binding),
            (Binding::SourceDestCheck { .. }, Seen::Absent) => say(State::InSync, Why::CheckLeftOn),
            (_, Seen::Here { .. }) => say(State::Blocked, Why::UndesiredButHere),
            (_, Seen::Elsewhere(_) | Seen::Absent | Seen::Unknown(_)) => not_here(seen),
        }
    }

    /// The writes of this node's own tag on the other resources that carry claims on this VIP. While nodes have different
    /// configurations, some of them may read those resources and not the anchor.
    fn copies(&self) -> BTreeMap<Anchor, (Term, Action)> {
        let (claims, me) = (&self.observed.claims, &self.vip.instance);
        let own = self.memory.claim.as_ref();
        let due: Vec<_> = match (self.standing, own) {
            (Standing::Leader, Some(own)) => {
                let write = |resource| (resource, own.term, claim_tag::tag_value(own.term));
                claim::to_copy(claims, me, own).map(write).collect()
            }
            (Standing::Standby, _) => {
                let write = |(resource, term)| (resource, claim_tag::WITHDRAWN, claim_tag::withdrawn_value(term));
                claim::to_withdraw_copy(claims, me, own).map(write).collect()
            }
            (Standing::Leader, None) | (Standing::Superseded(_) | Standing::Unknown, _) => return BTreeMap::new(),
        };
        let Claims::Read { elsewhere, .. } = claims else { return BTreeMap::new() };
        let settling = |resource: &Anchor, term: Term| {
            let accepted = self.memory.copied.get(resource).filter(|(accepted, _)| *accepted == term);
            accepted.is_some_and(|(_, at)| elsewhere.get(resource).is_none_or(|copies| copies.at < *at + SETTLE))
        };
        let due = due
            .into_iter()
            .filter(|(resource, term, _)| self.vip.claims == ClaimMode::Tags && !settling(resource, *term));
        let write = |(resource, term, value): (&Anchor, Term, String)| {
            let key = claim_tag::tag_key(self.vip.delegate_ip, me);
            (resource.clone(), (term, Action::RecordClaim { anchor: resource.clone(), key, value }))
        };
        due.map(write).collect()
    }

    /// The write of this node's own tag on the anchor, if the tag does not say what it should.
    fn record(&self) -> Option<(Term, Action)> {
        let anchor = self.vip.anchor.as_ref().filter(|_| self.vip.claims == ClaimMode::Tags)?;
        let (claims, me) = (&self.observed.claims, &self.vip.instance);
        let mut given_up = None;
        let term = match (self.standing, &self.memory.claim) {
            (Standing::Leader, Some(own)) => claim::to_record(claims, me, own)?,
            // A superseded claim still stands: if the newer claim is withdrawn, the superseded one follows. It is
            // recorded only once, because the successor may delete its tag as an old claim.
            (Standing::Superseded(_), Some(own)) => claim::to_record_superseded(claims, me, own)?,
            (Standing::Standby, own) => {
                given_up = Some(claim::to_withdraw(claims, me, own.as_ref())?);
                claim_tag::WITHDRAWN
            }
            (Standing::Leader | Standing::Superseded(_), None) | (Standing::Unknown, _) => return None,
        };
        let settling = self.memory.recorded.is_some_and(|(accepted, at)| {
            accepted == term
                && match claims {
                    Claims::Read { at: read_at, .. } => *read_at < at + SETTLE,
                    Claims::Unknown => true,
                }
        });
        let action = Action::RecordClaim {
            anchor: anchor.clone(),
            key: claim_tag::tag_key(self.vip.delegate_ip, me),
            value: given_up.map_or_else(|| claim_tag::tag_value(term), claim_tag::withdrawn_value),
        };
        (!settling).then_some((term, action))
    }

    /// A superseded leader looks often for the end of the newer claim, unless its watchdog says that it does not lead.
    /// A former leader that keeps its bindings looks often for a newer claim.
    fn follow(&self, look_at: &mut Option<Moment>) {
        if let (Some(keeping), Some(at)) = (&self.memory.keeping, self.observed.claims.at()) {
            sooner(look_at, (at + KEEP_LOOK).min(keeping.until()));
        }
        let (Standing::Superseded(_), Some(at)) = (self.standing, self.observed.claims.at()) else { return };
        // Looks cost the account: a rival that stays is followed at the interval.
        if self.memory.standby_since.is_some_and(|since| self.now >= since + FOLLOW_FOR) {
            return;
        }
        match self.observed.witness {
            Witness::Escalated => sooner(look_at, at + FOLLOW_ESCALATED),
            Witness::Silent | Witness::Asking => sooner(look_at, at + FOLLOW),
            Witness::NotEscalated | Witness::Unheard => {}
        }
    }

    /// The deletion of an old claim that nobody needs any more. The tag is deleted by its value, so that a claim which
    /// its node renews meanwhile stays.
    fn forget(&self) -> Option<Action> {
        let (Standing::Leader, Some(own), Some(anchor)) = (self.standing, &self.memory.claim, &self.vip.anchor) else {
            return None;
        };
        let Claims::Read { terms, edited, elsewhere, .. } = &self.observed.claims else { return None };
        let me = &self.vip.instance;
        let rested = self.now >= own.adopted_at + FORGET_AFTER
            && claim::record_status(&self.observed.claims, me, own) == Record::Newest;
        let read_at = self.observed.claims.at()?;
        let settled = self.memory.forgot_at.is_none_or(|forgot_at| read_at >= forgot_at + SETTLE);
        if self.vip.claims == ClaimMode::Off || !rested || !settled {
            return None;
        }
        let copies = elsewhere.iter().map(|(resource, copies)| (resource, &copies.terms, &copies.edited));
        let mut all = std::iter::once((anchor, terms, edited)).chain(copies);
        all.find_map(|(resource, terms, edited)| {
            let (node, term) = terms.iter().find(|(node, _)| *node != me)?;
            Some(Action::ForgetClaim {
                anchor: resource.clone(),
                key: claim_tag::tag_key(self.vip.delegate_ip, node),
                value: edited.get(node).cloned().unwrap_or_else(|| claim_tag::tag_value(*term)),
            })
        })
    }
}

/// The verdict on a binding that must not be pointed here. A release goes on, and a binding that is here stays. A standby
/// tells of the obstacle as well, before it is in the way of a takeover.
fn obstructed(verdict: Verdict, obstacle: Option<&Obstacle>) -> Verdict {
    let Some(obstacle) = obstacle else { return verdict };
    let releases = verdict.change.as_ref().is_some_and(|change| change.purpose == Purpose::Release);
    let is_here = matches!(verdict.why, Why::PointsHere { .. } | Why::Confirming | Why::Accepted);
    let is_unknown = verdict.state == State::Unknown && verdict.change.is_none();
    if releases || is_here || is_unknown {
        return verdict;
    }
    Verdict { state: State::Blocked, why: Why::Obstructed(obstacle.clone()), change: None, ..verdict }
}

/// The pause before the next retake, after so many.
fn pause_after(retakes: u32) -> Duration {
    RETAKE_PAUSE.saturating_mul(1 << retakes.min(8)).min(RETAKE_PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binding::Kind;

    #[test]
    fn a_plan_is_quiet_if_only_old_claims_are_to_be_forgotten() {
        let record = || Action::ForgetClaim {
            anchor: Anchor::Subnet("subnet-1".parse().unwrap()),
            key: String::new(),
            value: String::new(),
        };
        let plan = |standing, state| Plan {
            standing,
            unasked: None,
            bindings: BTreeMap::from([(BindingKey::new(Kind::Route, "rtb-1"), say(state, Why::NotHere))]),
            record: None,
            copies: BTreeMap::new(),
            forget: None,
            look_at: None,
            keeps: false,
        };
        let quiet = || plan(Standing::Leader, State::InSync);
        assert!(quiet().is_quiet() && quiet().is_empty());
        let forgets = Plan { forget: Some(record()), ..quiet() };
        assert!(forgets.is_quiet() && !forgets.is_empty());
        let records = Plan { record: Some((Term(5), record())), ..quiet() };
        assert!(!records.is_quiet() && !records.is_empty());
        assert!(!plan(Standing::Leader, State::Waiting).is_quiet());
        // Without a hook's word nothing is to be done, whatever is seen.
        assert!(plan(Standing::Unknown, State::Waiting).is_quiet());
        let records = Plan { record: Some((Term(5), record())), ..plan(Standing::Unknown, State::Waiting) };
        assert!(!records.is_quiet());
    }
}
