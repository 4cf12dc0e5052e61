//! Decides whether a node whose leadership has just ended keeps its bindings until a successor claims them. All
//! functions here are pure.
//!
//! Such a node claims nothing: it withdraws its claim at once, takes nothing and puts nothing back. It only does not
//! release yet, because its Pgpool may go on serving, and the node itself is often elected again.

use serde::{Deserialize, Serialize};

use crate::binding::{ClaimMode, Handover, Vip};
use crate::decide::claim;
use crate::decide::timing::{KEEP_FOR, KEEP_WITHOUT_LOOK, QUORUM_COMES_WITHIN, WORD_WITHIN};
use crate::desired::WhyStandby;
use crate::ids::Term;
use crate::observe::seen::{Claims, Moment, Observed, Port, Quorum, QuorumWord, Seen, WhyUnseen};

/// A node keeps its bindings, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Keeping {
    pub since: Moment,
    /// The term of the claim that ended. A newer claim on record is a successor's.
    pub term: Term,
    pub word: WatchdogsPart,
}

/// The part of Pgpool's watchdog in the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchdogsPart {
    /// The watchdog process has died and is being restarted, so there may be no watchdog to ask. A word that it has no
    /// quorum counts all the same if that lasts: a watchdog that has just been elected waits for the others to join it.
    MayBeMissing,
    /// A hook said `down`. It may have done so because the watchdog lost its quorum, so the watchdog must say that it
    /// has not.
    Needed,
}

/// The beginning of the time in which a node keeps its bindings after its claim with `term` ended. `None` if the node
/// releases them at once.
#[must_use]
pub fn begin(vip: &Vip, why: WhyStandby, term: Term, now: Moment) -> Option<Keeping> {
    // Without a record no successor shows.
    let word = match (why, vip.handover) {
        _ if vip.claims == ClaimMode::Off => return None,
        (WhyStandby::GuardDead, Handover::AfterGuard | Handover::Always) => WatchdogsPart::MayBeMissing,
        (WhyStandby::Down, Handover::Always) => WatchdogsPart::Needed,
        (WhyStandby::GuardDead | WhyStandby::Down, Handover::AtOnce | Handover::AfterGuard)
        | (WhyStandby::Watchdog, _) => return None,
    };
    Some(Keeping { since: now, term, word })
}

impl Keeping {
    /// Whether the node still keeps its bindings after a look. An end is final.
    #[must_use]
    pub fn goes_on(&self, vip: &Vip, observed: &Observed, now: Moment) -> bool {
        // The oldest read counts, because each resource that carries claims may show the successor's.
        let Some(at) = observed.claims.at() else {
            return now < self.until() && !looked(observed) && !self.is_cut_off(observed, now);
        };
        let succeeded = claim::newest_of_others(&observed.claims, &vip.instance)
            .is_some_and(|other| claim::is_newer(&other, &vip.instance, self.term));
        now < self.since + KEEP_FOR
            && now < self.since.max(at) + KEEP_WITHOUT_LOOK
            && !succeeded
            && !moved(observed)
            && observed.serving.port != Port::Silent
            && self.quorum_allows(observed, now)
    }

    /// Whether the watchdog's word allows it, or its silence.
    fn quorum_allows(&self, observed: &Observed, now: Moment) -> bool {
        let is_heard = self.word_since(observed).is_some() || self.word == WatchdogsPart::MayBeMissing;
        !self.is_cut_off(observed, now) && (is_heard || now < self.since + WORD_WITHIN)
    }

    /// Whether the watchdog says that it has no quorum.
    fn is_cut_off(&self, observed: &Observed, now: Moment) -> bool {
        self.word_since(observed).is_some_and(|word| match (word.quorum, self.word) {
            (Quorum::Lost, WatchdogsPart::MayBeMissing) => now >= word.since + QUORUM_COMES_WITHIN,
            (Quorum::Lost, WatchdogsPart::Needed) => true,
            (Quorum::Has | Quorum::NoLeader, _) => false,
        })
    }

    /// The watchdog's word. Only one that was given since the leadership ended counts.
    fn word_since(&self, observed: &Observed) -> Option<QuorumWord> {
        observed.serving.quorum.filter(|word| word.at >= self.since)
    }

    /// The last moment at which the bindings are kept.
    #[must_use]
    pub fn until(&self) -> Moment {
        self.since + KEEP_FOR
    }
}

/// Whether any look at the VIP in EC2 has been answered. A daemon that was restarted has not looked yet.
fn looked(observed: &Observed) -> bool {
    let unread = |seen: &Seen| matches!(seen, Seen::Unknown(WhyUnseen::NotRead | WhyUnseen::NotYet(_)));
    observed.claims != Claims::Unknown
        || observed.sights.iter().any(|(key, sight)| key.kind.leads_clients() && !unread(&sight.seen))
}

/// Whether something of the VIP points at another node already.
fn moved(observed: &Observed) -> bool {
    observed.sights.iter().any(|(key, sight)| key.kind.leads_clients() && matches!(sight.seen, Seen::Elsewhere(_)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::binding::{BindingKey, Kind};
    use crate::observe::seen::{Holder, Serving, Sight, Witness};

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn vip(claims: ClaimMode, handover: Handover) -> Vip {
        Vip {
            delegate_ip: "20.0.0.50".parse().unwrap(),
            instance: "i-a".parse().unwrap(),
            bindings: BTreeMap::new(),
            obstacles: BTreeMap::new(),
            claims,
            handover,
            anchor: None,
        }
    }

    /// A look at a route and a local address, and the claims that stand on record in a look at second 101.
    fn seen(route: Seen, local: Seen, terms: Option<&[(&str, u64)]>) -> Observed {
        let sight = |kind, seen| (BindingKey::new(kind, "target"), Sight { seen, at: S(101) });
        let read = |terms: &[(&str, u64)]| Claims::Read {
            terms: terms.iter().map(|(node, term)| (node.parse().unwrap(), Term(*term))).collect(),
            withdrawn: BTreeMap::new(),
            implausible: BTreeMap::new(),
            edited: BTreeMap::new(),
            at: S(101),
            elsewhere: BTreeMap::new(),
        };
        Observed {
            sights: BTreeMap::from([sight(Kind::Route, route), sight(Kind::LocalAddress, local)]),
            local: BTreeMap::new(),
            claims: terms.map_or(Claims::Unknown, read),
            witness: Witness::Silent,
            serving: Serving::default(),
            server_ms: None,
        }
    }

    fn here() -> Seen {
        Seen::Here { association: None }
    }

    fn elsewhere() -> Seen {
        Seen::Elsewhere(Holder { name: "eni-x".to_owned(), instance: None, blackhole: false })
    }

    fn unread() -> Seen {
        Seen::Unknown(WhyUnseen::NotRead)
    }

    const KEEPING: Keeping =
        Keeping { since: Duration::from_secs(100), term: Term(5), word: WatchdogsPart::MayBeMissing };

    #[test]
    fn something_is_kept_only_with_a_record_and_as_the_configuration_says() {
        let (dead, down) = (WhyStandby::GuardDead, WhyStandby::Down);
        let (missing, needed) = (Some(WatchdogsPart::MayBeMissing), Some(WatchdogsPart::Needed));
        for (claims, handover, why, word) in [
            (ClaimMode::Tags, Handover::AfterGuard, dead, missing),
            (ClaimMode::Tags, Handover::Always, dead, missing),
            (ClaimMode::Tags, Handover::Always, down, needed),
            (ClaimMode::Tags, Handover::AfterGuard, down, None),
            (ClaimMode::Tags, Handover::AtOnce, dead, None),
            (ClaimMode::Tags, Handover::Always, WhyStandby::Watchdog, None),
            (ClaimMode::Off, Handover::AfterGuard, dead, None),
            (ClaimMode::Off, Handover::Always, down, None),
        ] {
            let begun = begin(&vip(claims, handover), why, Term(5), S(100));
            let expected = word.map(|word| Keeping { since: S(100), term: Term(5), word });
            assert_eq!(begun, expected, "{claims:?}, {handover:?}, {why:?}");
        }
    }

    #[test]
    fn before_the_first_look_of_a_restarted_daemon_it_is_kept_until_its_time_is_over() {
        let vip = vip(ClaimMode::Tags, Handover::AfterGuard);
        let not_yet = || Seen::Unknown(WhyUnseen::NotYet("who holds it".to_owned()));
        let missing = || Seen::Unknown(WhyUnseen::NoSuchResource("rtb-1".to_owned()));
        for (route, local, looked) in [
            (unread(), unread(), false),
            (not_yet(), unread(), false),
            // The kernel's answer is no look at EC2.
            (unread(), here(), false),
            (here(), unread(), true),
            (missing(), unread(), true),
        ] {
            let observed = seen(route, local, None);
            let goes_on = [100, 114, 115, 116].map(|now| KEEPING.goes_on(&vip, &observed, S(now)));
            let expected = if looked { [false; 4] } else { [true, true, false, false] };
            assert_eq!(goes_on, expected, "{observed:?}");
        }
    }

    #[test]
    fn before_the_first_look_the_watchdogs_no_ends_it_and_its_silence_does_not() {
        let vip = vip(ClaimMode::Tags, Handover::Always);
        let since_down = Keeping { word: WatchdogsPart::Needed, ..KEEPING };
        let mut observed = seen(unread(), unread(), None);
        for (word, goes_on) in [(None, true), (Some(Quorum::Has), true), (Some(Quorum::Lost), false)] {
            observed.serving.quorum = word.map(|quorum| QuorumWord { quorum, since: S(100), at: S(103) });
            assert_eq!(since_down.goes_on(&vip, &observed, S(104)), goes_on, "{word:?}");
        }
    }

    #[test]
    fn a_look_ends_it_that_shows_a_successor_or_a_binding_elsewhere() {
        let vip = vip(ClaimMode::Tags, Handover::AfterGuard);
        for (route, local, terms, goes_on) in [
            (here(), here(), &[("i-b", 4)][..], true),
            (here(), here(), &[("i-b", 6)], false),
            (elsewhere(), here(), &[], false),
            (Seen::Absent, here(), &[], true),
            // No successor has this machine's local address.
            (here(), elsewhere(), &[], true),
        ] {
            let observed = seen(route, local, Some(terms));
            assert_eq!(KEEPING.goes_on(&vip, &observed, S(102)), goes_on, "{observed:?}");
        }
    }

    #[test]
    fn the_watchdogs_word_counts_from_the_end_of_the_leadership_on() {
        let vip = vip(ClaimMode::Tags, Handover::Always);
        for (quorum, since_s, at_s, goes_on) in [
            (Quorum::Lost, 90, 99, true),
            (Quorum::Lost, 90, 100, false),
            (Quorum::Lost, 98, 101, false),
            // The others may still join a watchdog that was just elected again.
            (Quorum::Lost, 99, 101, true),
            (Quorum::Has, 90, 100, true),
            (Quorum::NoLeader, 90, 100, true),
        ] {
            let mut observed = seen(here(), here(), Some(&[]));
            let word = QuorumWord { quorum, since: S(since_s), at: S(at_s) };
            observed.serving = Serving { port: Port::Answers, quorum: Some(word) };
            assert_eq!(KEEPING.goes_on(&vip, &observed, S(101)), goes_on, "{word:?}");
            observed.serving.port = Port::Silent;
            assert!(!KEEPING.goes_on(&vip, &observed, S(101)), "Pgpool does not serve");
        }
    }
}
