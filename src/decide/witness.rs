//! Decides which state is desired when Pgpool's watchdog contradicts the desired-state file. All functions here are
//! pure.

use std::time::Duration;

use crate::config::WitnessMode;
use crate::decide::memory::Persisted;
use crate::decide::timing::{HOOK_LOST_AFTER, WORD_COUNTS};
use crate::desired::{Claim, Desired, WhyStandby, WhyUnknown};
use crate::ids::ClaimId;
use crate::observe::seen::{Moment, Now, Witness};

/// The watchdog's word, and when the watchdog gave it. The word is kept until the watchdog is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub word: Witness,
    pub at: Moment,
}

impl Heard {
    /// Whether the watchdog has not been asked for so long that its word says nothing about the present.
    #[must_use]
    pub fn is_outdated(self, now: Moment) -> bool {
        self.at.is_zero() || now > self.at + WORD_COUNTS
    }

    /// The word as it counts now: one from before a suspend counts as a question that has no answer yet.
    #[must_use]
    pub fn counted(self, now: Moment) -> Self {
        if self.is_outdated(now) { Self { word: Witness::Asking, ..self } } else { self }
    }

    /// The word as a plan goes by it while the watchdog is asked anew: it still forbids what it forbade, and permits
    /// nothing.
    #[must_use]
    pub fn until_answered(self) -> Self {
        match self.word {
            Witness::Silent | Witness::Escalated | Witness::Asking => Self { word: Witness::Asking, ..self },
            Witness::NotEscalated | Witness::Unheard => self,
        }
    }
}

/// The side that the daemon takes in a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoesBy {
    /// The dispute has lasted, and the daemon goes by the watchdog's word.
    Watchdog,
    /// The daemon goes by the watchdog's word if the dispute lasts.
    FileForNow,
    File,
}

/// A dispute between the desired-state file and the watchdog: each says the opposite of the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dispute {
    /// The watchdog's word: whether this node is escalated. The file says the opposite, or nothing.
    escalated: bool,
    /// The content of the file. If the content changes, a hook has run, and the dispute begins anew. `None` after
    /// a restart, while it is remembered only that the file does not say leader.
    file: Option<Desired>,
    since: Moment,
    /// The last moment at which the watchdog's word stood.
    stood: Moment,
    /// Whether the watchdog repeated its word after the dispute had lasted for [`HOOK_LOST_AFTER`]. Then a hook must have
    /// been lost.
    lasts: bool,
    /// The wall clock when the dispute began, in milliseconds since the Unix epoch.
    since_ms: u64,
    /// When the dispute began, by the clock since boot. `None` if an older daemon did not persist that time.
    began_at: Option<Moment>,
    /// Whether the dispute began before the daemon was restarted or stood still, and the watchdog has not
    /// confirmed it since.
    is_remembered: bool,
}

/// The prefix of the ids of claims that follow from the watchdog's word.
const CLAIM_PREFIX: &str = "watchdog-";

impl Dispute {
    /// A dispute on which an earlier daemon acted: that daemon began the persisted claim, or ended it.
    #[must_use]
    pub fn remembered(persisted: &Persisted, now: Moment) -> Self {
        let (id, started_ms) = (persisted.claim.clone(), persisted.started_ms);
        let started_at = persisted.started_boot_ms.map(Duration::from_millis);
        let escalated = id.as_str().starts_with(CLAIM_PREFIX);
        Self {
            escalated,
            file: (!escalated).then_some(Desired::Leader(Claim { id, started_ms, started_at })),
            since: now,
            stood: now,
            lasts: true,
            since_ms: started_ms,
            began_at: started_at,
            is_remembered: true,
        }
    }

    /// Whether the dispute is about a file with this content.
    fn is_about(&self, desired: &Desired) -> bool {
        match (&self.file, desired) {
            (None, desired) => !matches!(desired, Desired::Leader(_)),
            // A claim's id tells it from every other claim.
            (Some(Desired::Leader(ours)), Desired::Leader(theirs)) => ours.id == theirs.id,
            (Some(file), desired) => file == desired,
        }
    }

    /// Whether the dispute still counts without a new word of the watchdog. It counts for [`HOOK_LOST_AFTER`] after
    /// the last word. A remembered dispute also counts until the watchdog has been asked.
    fn counts(&self, heard: Heard, now: Moment) -> bool {
        now < self.stood + HOOK_LOST_AFTER || (self.is_remembered && heard.is_outdated(now))
    }

    /// Whether the dispute has lasted for so long that a hook must have been lost. In mode `off` the watchdog has no say.
    #[must_use]
    pub fn hook_lost(&self, mode: WitnessMode) -> bool {
        self.lasts && mode != WitnessMode::Off
    }

    /// The side that the daemon takes.
    #[must_use]
    pub fn goes_by(&self, mode: WitnessMode) -> GoesBy {
        match mode {
            WitnessMode::Trust if self.lasts => GoesBy::Watchdog,
            WitnessMode::Trust => GoesBy::FileForNow,
            WitnessMode::Check | WitnessMode::Off => GoesBy::File,
        }
    }

    /// The sentence that an operator reads.
    #[must_use]
    pub fn message(&self) -> &'static str {
        if self.escalated {
            "Pgpool's watchdog says that this node holds the VIP, but no `up` has come"
        } else {
            "Pgpool's watchdog says that this node does not hold the VIP, but no `down` has come"
        }
    }
}

/// Weighs the file against the watchdog's word, and returns the desired state that follows. The daemon acts on the word
/// only in mode `trust`.
#[must_use]
pub fn judge(mode: WitnessMode, desired: &Desired, heard: Heard, dispute: &mut Option<Dispute>, now: Now) -> Desired {
    let Now { at: now, wall_ms } = now;
    let heard = heard.counted(now);
    if let (Some(before), true) = (dispute.as_mut(), heard.is_outdated(now)) {
        // The machine was suspended, or the daemon stood still. Nobody knows whether the dispute still lasts.
        before.is_remembered |= before.lasts;
    }
    let contradicts = contradicts(desired, heard, dispute.as_ref(), now);
    let stands = matches!(heard.word, Witness::Escalated | Witness::NotEscalated);
    let before = dispute.take().filter(|before| before.is_about(desired));
    *dispute = contradicts.map(|escalated| match before {
        // A file can be contradicted in one way only, so the watchdog's word is the same in both disputes.
        Some(before) if stands => Dispute {
            file: Some(desired.clone()),
            stood: now,
            // Only a word given late enough shows that the dispute lasts: after its first word the watchdog may
            // have died.
            lasts: before.lasts || heard.at >= before.since + HOOK_LOST_AFTER,
            is_remembered: false,
            ..before
        },
        Some(before) => before,
        None => Dispute {
            escalated,
            file: Some(desired.clone()),
            since: now,
            stood: now,
            lasts: false,
            since_ms: wall_ms,
            began_at: Some(now),
            is_remembered: false,
        },
    });
    match dispute.as_ref().filter(|dispute| dispute.goes_by(mode) == GoesBy::Watchdog) {
        Some(Dispute { is_remembered: true, .. }) => Desired::Unknown(WhyUnknown::NotAskedSince),
        // The hook that should have begun a claim never ran, so the watchdog's word begins one.
        Some(Dispute { escalated: true, since_ms, began_at, .. }) => {
            let id = ClaimId::new(format!("{CLAIM_PREFIX}{since_ms}"));
            Desired::Leader(Claim { id, started_ms: *since_ms, started_at: *began_at })
        }
        Some(_) => Desired::Standby(WhyStandby::Watchdog),
        None => desired.clone(),
    }
}

/// Whether the watchdog says that this node is escalated, if that contradicts the file. `None` if the two agree.
fn contradicts(desired: &Desired, heard: Heard, before: Option<&Dispute>, now: Moment) -> Option<bool> {
    match (heard.word, desired) {
        (Witness::Escalated, Desired::Unknown(_) | Desired::Standby(_)) => Some(true),
        (Witness::NotEscalated, Desired::Leader(_)) => Some(false),
        // An unknown role that the watchdog does not contradict needs no hook: nobody has called one yet.
        (Witness::NotEscalated, Desired::Unknown(_) | Desired::Standby(_))
        | (Witness::Escalated, Desired::Leader(_)) => None,
        // Without a word, an earlier dispute still counts for a while, because a watchdog does not answer while
        // it runs a hook. A watchdog that is gone contradicts nothing.
        (Witness::Silent | Witness::Asking | Witness::Unheard, _) => {
            before.filter(|before| before.is_about(desired) && before.counts(heard, now)).map(|before| before.escalated)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The desired state, and whether a hook was lost.
    fn judge(
        mode: WitnessMode,
        desired: &Desired,
        heard: Heard,
        dispute: &mut Option<Dispute>,
        (at, wall_ms): (Moment, u64),
    ) -> (Desired, bool) {
        let desired = super::judge(mode, desired, heard, dispute, Now { at, wall_ms });
        (desired, dispute.as_ref().is_some_and(|dispute| dispute.hook_lost(mode)))
    }

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn leader() -> Desired {
        Desired::Leader(Claim { id: ClaimId::new("c1"), started_ms: 5, started_at: None })
    }

    /// An answer that the watchdog gave at `at_s`.
    fn said(word: Witness, at_s: u64) -> Heard {
        Heard { word, at: S(at_s) }
    }

    #[test]
    fn a_short_dispute_is_a_hook_on_its_way() {
        let mut memory = None;
        let judged = judge(WitnessMode::Trust, &leader(), said(Witness::NotEscalated, 100), &mut memory, (S(100), 0));
        assert_eq!(judged, (leader(), false));
        let judged = judge(WitnessMode::Trust, &leader(), said(Witness::Escalated, 105), &mut memory, (S(105), 0));
        assert_eq!(judged, (leader(), false));
        assert_eq!(memory, None, "the next one begins anew");
    }

    #[test]
    fn a_lasting_dispute_is_a_lost_hook_and_acted_upon_only_in_mode_trust() {
        for (mode, lost, desired) in [
            (WitnessMode::Off, false, leader()),
            (WitnessMode::Check, true, leader()),
            (WitnessMode::Trust, true, Desired::Standby(WhyStandby::Watchdog)),
        ] {
            let mut memory = None;
            let _ = judge(mode, &leader(), said(Witness::NotEscalated, 100), &mut memory, (S(100), 0));
            // A watchdog that is busy for a moment does not end the dispute.
            let _ = judge(mode, &leader(), said(Witness::Silent, 105), &mut memory, (S(105), 0));
            let judged = judge(mode, &leader(), said(Witness::NotEscalated, 110), &mut memory, (S(110), 0));
            assert_eq!(judged, (desired, lost), "{mode:?}");
        }
    }

    #[test]
    fn a_watchdog_that_is_escalated_without_a_hook_begins_one_claim_and_keeps_it() {
        let nothing = Desired::Unknown(WhyUnknown::NoFile);
        let mut memory = None;
        let _ = judge(WitnessMode::Trust, &nothing, said(Witness::Escalated, 100), &mut memory, (S(100), 7_000));
        let first = judge(WitnessMode::Trust, &nothing, said(Witness::Escalated, 110), &mut memory, (S(110), 17_000));
        let later = judge(WitnessMode::Trust, &nothing, said(Witness::Escalated, 300), &mut memory, (S(300), 207_000));
        assert_eq!(first, later);
        let claim = Claim { id: ClaimId::new("watchdog-7000"), started_ms: 7_000, started_at: Some(S(100)) };
        assert_eq!(first, (Desired::Leader(claim), true));
    }

    #[test]
    fn a_watchdog_that_is_gone_contradicts_nothing_for_long() {
        let nothing = Desired::Unknown(WhyUnknown::NoFile);
        let mut memory = None;
        let _ = judge(WitnessMode::Trust, &nothing, said(Witness::Escalated, 100), &mut memory, (S(100), 7_000));
        let _ = judge(WitnessMode::Trust, &nothing, said(Witness::Escalated, 110), &mut memory, (S(110), 17_000));
        let busy = judge(WitnessMode::Trust, &nothing, said(Witness::Silent, 119), &mut memory, (S(119), 26_000));
        assert!(busy.1);
        let gone = judge(WitnessMode::Trust, &nothing, said(Witness::Silent, 120), &mut memory, (S(120), 27_000));
        assert_eq!(gone, (nothing, false));
    }

    #[test]
    fn the_last_word_of_a_watchdog_that_died_is_no_lost_hook() {
        let dead = Desired::Standby(WhyStandby::GuardDead);
        let mut memory = None;
        let before_it_died = said(Witness::Escalated, 95);
        let _ = judge(WitnessMode::Trust, &dead, before_it_died, &mut memory, (S(100), 7_000));
        let _ = judge(WitnessMode::Trust, &dead, before_it_died, &mut memory, (S(101), 8_000));
        for now in 102..112 {
            let judged = judge(WitnessMode::Trust, &dead, said(Witness::Silent, now), &mut memory, (S(now), 9_000));
            assert_eq!(judged, (dead.clone(), false), "at {now} s");
        }
    }

    #[test]
    fn a_word_from_before_a_suspend_holds_still_what_it_began_and_begins_nothing() {
        let nothing = Desired::Unknown(WhyUnknown::NoFile);
        let mut memory = None;
        let judged = |word, at_s, now_s, memory: &mut Option<Dispute>| {
            judge(WitnessMode::Trust, &nothing, said(word, at_s), memory, (S(now_s), 7_000)).0
        };
        let _ = judged(Witness::Escalated, 100, 100, &mut memory);
        let began = judged(Witness::Escalated, 110, 110, &mut memory);
        assert!(matches!(began, Desired::Leader(_)));
        assert_eq!(judged(Witness::Escalated, 110, 130, &mut memory), began, "a word counts for twenty seconds");
        let resumed = judged(Witness::Escalated, 110, 3_700, &mut memory);
        assert_eq!(resumed, Desired::Unknown(WhyUnknown::NotAskedSince));
        let mut confirmed = memory.clone();
        assert_eq!(judged(Witness::Escalated, 3_701, 3_701, &mut confirmed), began);
        assert_eq!(judged(Witness::NotEscalated, 3_701, 3_701, &mut memory), nothing);

        let mut young = None;
        let _ = judged(Witness::Escalated, 100, 100, &mut young);
        assert_eq!(judged(Witness::Escalated, 101, 3_700, &mut young), nothing);
        assert_eq!(young, None, "it had not lasted");
    }

    #[test]
    fn what_an_earlier_daemon_did_on_the_watchdogs_word_stands_until_it_is_asked_and_no_hook_waits_for_that() {
        let unasked = || Heard { word: Witness::Silent, at: Moment::ZERO };
        let judged = |desired: &Desired, heard, memory: &mut Option<Dispute>, now| {
            judge(WitnessMode::Trust, desired, heard, memory, (S(now), 9_000)).0
        };
        let (down, not_asked) = (Desired::Standby(WhyStandby::Down), Desired::Unknown(WhyUnknown::NotAskedSince));
        let remembered = |claim: &str, started_ms| {
            let text = format!(
                r#"{{"version":1,"claim":"{claim}","started_ms":{started_ms},"started_boot_ms":3,"term":1,"applied":[]}}"#
            );
            Some(Dispute::remembered(&serde_json::from_str(&text).unwrap(), S(0)))
        };
        let began = || remembered("watchdog-7000", 7_000);
        let mut memory = began();
        assert_eq!(judged(&down, unasked(), &mut memory, 60), not_asked, "however long that takes");
        let started_at = Some(Duration::from_millis(3));
        let claim = Claim { id: ClaimId::new("watchdog-7000"), started_ms: 7_000, started_at };
        assert_eq!(judged(&down, said(Witness::Escalated, 61), &mut memory, 61), Desired::Leader(claim));
        assert_eq!(judged(&down, said(Witness::NotEscalated, 62), &mut began(), 62), down);
        let watchdog_gone = Desired::Standby(WhyStandby::GuardDead);
        let again = judged(&watchdog_gone, said(Witness::Escalated, 63), &mut memory, 63);
        assert_eq!(again, watchdog_gone, "another file begins another dispute");
        assert_eq!(judged(&down, said(Witness::Silent, 62), &mut began(), 62), down, "Pgpool is gone");
        assert_eq!(judged(&leader(), unasked(), &mut began(), 1), leader(), "its `up` came after all");

        let ended = || remembered("c1", 5);
        assert_eq!(judged(&leader(), unasked(), &mut ended(), 60), not_asked);
        let watchdog = Desired::Standby(WhyStandby::Watchdog);
        assert_eq!(judged(&leader(), said(Witness::NotEscalated, 1), &mut ended(), 1), watchdog);
        assert_eq!(judged(&leader(), said(Witness::Escalated, 1), &mut ended(), 1), leader());
        let anew = Desired::Leader(Claim { id: ClaimId::new("c2"), started_ms: 8_000, started_at: None });
        assert_eq!(judged(&anew, unasked(), &mut ended(), 1), anew, "the next `up`");
        let checked = judge(WitnessMode::Check, &down, unasked(), &mut began(), (S(1), 9_000));
        assert_eq!(checked.0, down, "trusted no more");
    }

    #[test]
    fn while_the_watchdog_is_asked_anew_its_word_permits_nothing_and_forbids_what_it_forbade() {
        for (word, meanwhile) in [
            (Witness::Silent, Witness::Asking),
            (Witness::Escalated, Witness::Asking),
            (Witness::Asking, Witness::Asking),
            (Witness::NotEscalated, Witness::NotEscalated),
            (Witness::Unheard, Witness::Unheard),
        ] {
            let heard = said(word, 100).until_answered();
            assert_eq!((heard.word, heard.at), (meanwhile, S(100)), "{word:?}");
        }
    }
}
