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
use crate::observe::seen::{Claims, Moment, Observed, Port, Quorum, Seen, WhyUnseen};

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
        let Some(at) = observed.claims.at() else { return now < self.until() && !looked(observed) };
        let succeeded = claim::newest_of_others(&observed.claims, &vip.instance)
            .is_some_and(|other| claim::is_newer(&other, &vip.instance, self.term));
        now < self.since + KEEP_FOR
            && now < self.since.max(at) + KEEP_WITHOUT_LOOK
            && !succeeded
            && !moved(observed)
            && observed.serving.port != Port::Silent
            && self.quorum_allows(observed, now)
    }

    /// Whether the watchdog's word allows it. Only a word given since the leadership ended counts.
    fn quorum_allows(&self, observed: &Observed, now: Moment) -> bool {
        let word = observed.serving.quorum.filter(|word| word.at >= self.since);
        match (word.map(|word| (word.quorum, word.since)), self.word) {
            (Some((Quorum::Lost, since)), WatchdogsPart::MayBeMissing) => now < since + QUORUM_COMES_WITHIN,
            (Some((Quorum::Lost, _)), WatchdogsPart::Needed) => false,
            (Some((Quorum::Has | Quorum::NoLeader, _)), _) | (None, WatchdogsPart::MayBeMissing) => true,
            (None, WatchdogsPart::Needed) => now < self.since + WORD_WITHIN,
        }
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
