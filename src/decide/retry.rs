//! Decides when a change that failed is tried again, when the next read follows a read that failed, and which look the
//! end of a change calls for. All functions here are pure: a backoff's delay is an input.

use std::time::Duration;

use crate::binding::{ClaimMode, Vip};
use crate::decide::plan::{Plan, State, Subject};
use crate::decide::timing::{
    DENIED_FLOOR, FAILS_FOR_LONG, FORGET_FLOOR, LOOKS_SOON, RELEASED_AFTER_FAULT, RELEASED_BY_SUCCESS, RETRY_FLOOR,
    RETRY_WHILE_EAGER, UNKNOWN_FOR,
};
use crate::ec2::{Class, Effect};
use crate::observe::seen::{Claims, Moment};

/// Why changes are tried before their next try is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// EC2 accepted another change.
    OneWasAccepted,
    /// EC2 answers again after it did not.
    FaultOver,
}

impl Because {
    /// The greatest number of waiting changes that are tried. After a fault more are tried, because EC2's buckets have
    /// filled up during the fault.
    #[must_use]
    pub fn releases(self) -> usize {
        match self {
            Self::OneWasAccepted => RELEASED_BY_SUCCESS,
            Self::FaultOver => RELEASED_AFTER_FAULT,
        }
    }
}

/// The delay before the next try of a subject whose change failed. `backoff` is the delay of the subject's backoff.
#[must_use]
pub fn delay(subject: &Subject, class: Class, backoff: Duration) -> Duration {
    match class {
        Class::Denied | Class::Rejected if *subject == Subject::OldClaim => FORGET_FLOOR,
        Class::Denied | Class::Rejected => backoff.max(DENIED_FLOOR),
        Class::Transient | Class::Throttled | Class::Stale => backoff,
    }
}

/// When a subject that failed may be tried again. A change that perhaps happened waits for a look, though not for long:
/// a repeated change does no harm, but EC2 may charge for it. `unknown_since` is when the last try failed, if nobody
/// knows whether its change happened. `looked_at` is when the last look began that showed the subject.
#[must_use]
pub fn due(next_try: Option<Moment>, unknown_since: Option<Moment>, looked_at: Option<Moment>) -> Option<Moment> {
    let unseen = unknown_since.filter(|since| looked_at.is_none_or(|at| at < *since));
    next_try.max(unseen.map(|since| since + UNKNOWN_FOR))
}

/// Whether a failure of this class may pass by itself, so that EC2's next sign of life lets its change go early.
#[must_use]
pub fn passes(class: Class) -> bool {
    matches!(class, Class::Transient | Class::Throttled)
}

/// Whether a change that goes early begins its backoff anew. If EC2 refuses the change again, other callers were faster,
/// which is no reason to wait longer than at first. A subject that failed for long keeps its backoff, because its account
/// may stay out of reach. `failures` is how often the subject failed in a row.
#[must_use]
pub fn begins_anew(failures: u32) -> bool {
    failures < FAILS_FOR_LONG
}

/// Whether a subject's failure still counts after a look. A failure is forgotten once its subject is as it should be. A
/// binding that cannot be seen at present keeps its backoff, and so does a claim whose tags could not be read.
#[must_use]
pub fn counts(subject: &Subject, plan: &Plan, vip: &Vip, claims: &Claims) -> bool {
    match (subject, claims) {
        (Subject::Binding(key), _) => plan.bindings.get(key).is_some_and(|verdict| verdict.state != State::InSync),
        (_, Claims::Unknown) => vip.claims == ClaimMode::Tags || plan.action(subject).is_some(),
        (Subject::CopyOfClaim(resource), Claims::Read { elsewhere, .. }) if !elsewhere.contains_key(resource) => {
            vip.other_anchors().contains(resource)
        }
        (_, Claims::Read { .. }) => plan.action(subject).is_some(),
    }
}

/// The look that the end of a change asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowUp {
    /// The change was accepted, and EC2 should show it.
    Confirm,
    /// The change was refused because the world is not as it was seen.
    LookNow,
    /// Nobody knows whether the change happened.
    LookSoon,
    Nothing,
}

/// The look that follows a failed change. `failures` is how often the subject failed in a row.
#[must_use]
pub fn follow_up(class: Class, effect: Effect, failures: u32) -> FollowUp {
    match (class, effect) {
        (Class::Stale, _) | (_, Effect::Unknown) if failures == 1 => FollowUp::LookNow,
        (Class::Stale, _) | (_, Effect::Unknown) if failures <= LOOKS_SOON => FollowUp::LookSoon,
        _ => FollowUp::Nothing,
    }
}

/// Whether a claim waits for EC2 to answer again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    Patient,
    /// A claim is eager to take. The delay between looks does not grow, because the first look that succeeds tells that
    /// EC2 answers again.
    Eager,
}

/// The delay before the look that follows a look with failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookAgain {
    /// The usual interval suffices. The next failure begins the backoff anew.
    AtInterval,
    After(Duration),
    /// The delay is the backoff's, and at least this long.
    ByBackoff {
        at_least: Duration,
    },
}

/// When the next look follows a look whose mildest failure has this class; `None` is a look without failures. After a
/// look in which only an operator can help the usual interval suffices. The mildest failure decides, so a failure that
/// an operator must mend hides no failure that passes by itself.
#[must_use]
pub fn look_again(mildest: Option<Class>, haste: Haste) -> LookAgain {
    match (mildest, haste) {
        (None | Some(Class::Denied | Class::Rejected), _) => LookAgain::AtInterval,
        (Some(Class::Transient | Class::Throttled | Class::Stale), Haste::Eager) => LookAgain::After(RETRY_WHILE_EAGER),
        (Some(Class::Transient | Class::Throttled | Class::Stale), Haste::Patient) => {
            LookAgain::ByBackoff { at_least: RETRY_FLOOR }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::action::Action;
    use crate::binding::{Account, Anchor, Binding, BindingKey, Handover, Kind, OnRelease};
    use crate::decide::claim::Standing;
    use crate::decide::plan::{Verdict, Why};
    use crate::ids::Term;
    use crate::observe::seen::Copies;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn only_an_operators_failures_wait_longer_than_their_backoff() {
        for class in [Class::Transient, Class::Throttled, Class::Stale] {
            assert_eq!(delay(&Subject::OwnClaim, class, S(3)), S(3));
            assert_eq!(delay(&Subject::OldClaim, class, S(3)), S(3));
        }
        for class in [Class::Denied, Class::Rejected] {
            assert_eq!(delay(&Subject::OwnClaim, class, S(3)), S(15));
            assert_eq!(delay(&Subject::OwnClaim, class, S(29)), S(29));
            assert_eq!(delay(&Subject::OldClaim, class, S(29)), S(3600), "an old claim does no harm");
        }
    }

    #[test]
    fn a_change_that_perhaps_happened_waits_for_a_look_but_a_second_at_most() {
        assert_eq!(due(None, None, None), None);
        assert_eq!(due(Some(S(7)), None, None), Some(S(7)));
        assert_eq!(due(Some(S(7)), Some(S(9)), None), Some(S(10)));
        assert_eq!(due(Some(S(7)), Some(S(9)), Some(S(8))), Some(S(10)), "the look shows nothing of the change");
        assert_eq!(due(Some(S(7)), Some(S(9)), Some(S(9))), Some(S(7)));
        assert_eq!(due(Some(S(20)), Some(S(9)), None), Some(S(20)));
        assert_eq!(due(None, Some(S(9)), None), Some(S(10)), "a change that goes early waits for the look too");
    }

    #[test]
    fn a_fault_that_is_over_lets_more_changes_go_and_one_that_failed_for_long_keeps_its_backoff() {
        assert_eq!((Because::OneWasAccepted.releases(), Because::FaultOver.releases()), (2, 8));
        assert!(begins_anew(7) && !begins_anew(8));
        let early = [Class::Transient, Class::Throttled, Class::Stale, Class::Denied, Class::Rejected].map(passes);
        assert_eq!(early, [true, true, false, false, false]);
    }

    #[test]
    fn a_lost_answer_and_a_moved_world_are_looked_at_at_once_then_soon_then_at_the_interval() {
        for (class, effect) in [(Class::Stale, Effect::None), (Class::Transient, Effect::Unknown)] {
            let looks: Vec<_> = (1..=6).map(|failures| follow_up(class, effect, failures)).collect();
            let soon = FollowUp::LookSoon;
            assert_eq!(looks, [FollowUp::LookNow, soon, soon, soon, soon, FollowUp::Nothing]);
        }
        assert_eq!(follow_up(Class::Transient, Effect::None, 1), FollowUp::Nothing);
        assert_eq!(follow_up(Class::Denied, Effect::None, 1), FollowUp::Nothing);
    }

    #[test]
    fn a_look_that_failed_is_repeated_by_its_mildest_failure() {
        for haste in [Haste::Patient, Haste::Eager] {
            for class in [None, Some(Class::Denied), Some(Class::Rejected)] {
                assert_eq!(look_again(class, haste), LookAgain::AtInterval);
            }
        }
        for class in [Class::Transient, Class::Throttled, Class::Stale] {
            assert_eq!(look_again(Some(class), Haste::Eager), LookAgain::After(Duration::from_millis(500)));
            assert_eq!(look_again(Some(class), Haste::Patient), LookAgain::ByBackoff { at_least: S(1) });
        }
    }

    #[test]
    fn a_failure_counts_for_as_long_as_its_change_is_due_or_cannot_be_seen() {
        let key = BindingKey::new(Kind::Route, "rtb-1");
        let table = |id: &str| Anchor::RouteTable(Account::Own, id.parse().unwrap());
        let route = |table: &str| Binding::Route {
            account: Account::Own,
            table: table.parse().unwrap(),
            destination: "20.0.0.50/32".parse().unwrap(),
            eni: "eni-a".parse().unwrap(),
            on_release: OnRelease::Keep,
        };
        let vip = |claims| Vip {
            delegate_ip: "20.0.0.50".parse().unwrap(),
            instance: "i-a".parse().unwrap(),
            bindings: BTreeMap::from([(key.clone(), Some(route("rtb-1")))]),
            obstacles: BTreeMap::new(),
            claims,
            handover: Handover::default(),
            anchor: None,
        };
        let tag =
            || (Term(5), Action::ForgetClaim { anchor: table("rtb-1"), key: String::new(), value: String::new() });
        let plan = |state, due: bool| Plan {
            standing: Standing::Leader,
            unasked: None,
            bindings: BTreeMap::from([(key.clone(), Verdict { state, why: Why::NotHere, drift: None, change: None })]),
            record: due.then(tag),
            copies: if due { BTreeMap::from([(table("rtb-1"), tag())]) } else { BTreeMap::new() },
            forget: None,
            look_at: None,
            keeps: false,
        };
        let read = |carries: &[&str]| Claims::Read {
            terms: BTreeMap::new(),
            withdrawn: BTreeMap::new(),
            implausible: BTreeMap::new(),
            edited: BTreeMap::new(),
            at: S(1),
            elsewhere: carries.iter().map(|id| (table(id), Copies::default())).collect(),
        };
        let (tags, off) = (ClaimMode::Tags, ClaimMode::Off);
        let binding = Subject::Binding(key.clone());
        for (state, still) in [(State::InSync, false), (State::Blocked, true), (State::Unknown, true)] {
            assert_eq!(counts(&binding, &plan(state, false), &vip(tags), &read(&[])), still, "{state:?}");
        }
        let gone = Subject::Binding(BindingKey::new(Kind::Route, "rtb-9"));
        assert!(!counts(&gone, &plan(State::Blocked, false), &vip(tags), &read(&[])));
        for (subject, claims, mode, due, still) in [
            (Subject::OwnClaim, read(&[]), tags, true, true),
            (Subject::OwnClaim, read(&[]), tags, false, false),
            // The tags could not be read.
            (Subject::OwnClaim, Claims::Unknown, tags, false, true),
            (Subject::OwnClaim, Claims::Unknown, off, false, false),
            (Subject::OwnClaim, Claims::Unknown, off, true, true),
            (Subject::CopyOfClaim(table("rtb-1")), read(&["rtb-1"]), tags, true, true),
            (Subject::CopyOfClaim(table("rtb-1")), read(&["rtb-1"]), tags, false, false),
            // This table could not be read, and it is still one of the VIP's.
            (Subject::CopyOfClaim(table("rtb-1")), read(&[]), tags, false, true),
            (Subject::CopyOfClaim(table("rtb-9")), read(&[]), tags, false, false),
        ] {
            let still_counts = counts(&subject, &plan(State::InSync, due), &vip(mode), &claims);
            assert_eq!(still_counts, still, "{subject:?}, {claims:?}, {mode:?}, {due}");
        }
    }
}
