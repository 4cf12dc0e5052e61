//! Every decision about a VIP, as pure functions: who may hold it ([`claim`]), what is remembered between passes
//! ([`memory`]), what must change ([`plan`]), where the clients are led ([`clients`]), what a former leader keeps for
//! its successor ([`keep`]), what an operator's hold stops ([`hold`]), what a refusal means ([`refusal`]), whether own changes undo
//! one another ([`own_writes`]), how the watchdog's word counts ([`witness`]), how often EC2 and the
//! watchdog are asked ([`pace`]), when a change that failed is tried again ([`retry`]), and how long each thing takes or
//! counts ([`timing`]). These functions read no clock and do no I/O.
//!
//! The daemon and `vipkeeper plan` both decide through a [`Decider`], so that both come to the same conclusion.

use crate::binding::Vip;
use crate::config::WitnessMode;
use crate::decide::hold::Hold;
use crate::decide::memory::{Memory, Persisted};
use crate::decide::plan::Plan;
use crate::decide::witness::{Dispute, Heard};
use crate::desired::Desired;
use crate::desired::hold::InForce;
use crate::desired::source::Reading;
use crate::observe::seen::{Moment, Now, Observed};

pub mod answers;
pub mod claim;
pub mod clients;
pub mod hold;
pub mod keep;
pub mod memory;
pub mod own_writes;
pub mod pace;
pub mod plan;
pub mod refusal;
pub mod retry;
pub mod timing;
pub mod witness;

/// Decides about one VIP, and keeps everything that the next decision rests on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decider {
    pub memory: Memory,
    /// An operator's hold, if there is one. It counts until its own end.
    pub hold: Option<Hold>,
    dispute: Option<Dispute>,
    /// Whether the last judgement follows the watchdog's word instead of the file.
    on_watchdogs_word: bool,
}

impl Decider {
    /// A decider that continues from the memory of an earlier daemon. `wall_ms` is the wall clock, in milliseconds
    /// since the Unix epoch.
    #[must_use]
    pub fn restore(persisted: Option<Persisted>, now: Moment, wall_ms: u64) -> Self {
        let Some(persisted) = persisted else { return Self { memory: Memory::of_nothing(now), ..Self::default() } };
        let on_watchdogs_word = persisted.on_watchdogs_word;
        let dispute = on_watchdogs_word.then(|| Dispute::remembered(&persisted, now));
        let memory = Memory::restore(persisted, now, wall_ms);
        Self { memory, dispute, on_watchdogs_word, hold: None }
    }

    /// Takes the hold into account that was found together with this reading of the desired-state file, or the reason why
    /// the hold's file does not count. Returns whether a hold began or ended.
    pub fn learn_hold(&mut self, found: &Result<Option<InForce>, String>, reading: &Reading, now: Moment) -> bool {
        let before = self.hold.is_some();
        self.hold = match found {
            Ok(found) => found.map(|hold| Hold::found(hold, reading, now)),
            // A file that cannot be read any more ends no hold before its time: an operator relies on it.
            Err(_) => self.hold.take().filter(|hold| now < hold.until),
        };
        before != self.hold.is_some()
    }

    /// Weighs the desired-state file against the watchdog's word, and returns the desired state that follows from both.
    pub fn judge(&mut self, mode: WitnessMode, file: &Desired, heard: Heard, now: Now) -> Desired {
        let desired = witness::judge(mode, file, heard, &mut self.dispute, now);
        self.on_watchdogs_word = desired != *file;
        desired
    }

    /// The dispute between the file and the watchdog's last word; `None` if they agree.
    #[must_use]
    pub fn dispute(&self) -> Option<&Dispute> {
        self.dispute.as_ref()
    }

    /// Learns from a look, and plans. `desired` is the result of [`Decider::judge`]. Implausible terms in `observed`
    /// are set apart.
    pub fn decide(&mut self, vip: &Vip, desired: &Desired, observed: &mut Observed, now: Now) -> Plan {
        self.memory.learn(vip, desired, observed, now);
        let plan = plan::plan(vip, desired, observed, &self.memory, now.at);
        match &self.hold {
            Some(hold) if now.at < hold.until => hold::held(plan, desired, hold, &self.memory),
            _ => plan,
        }
    }

    /// Whether this node may keep its bindings for a successor, so that it matters whether its Pgpool serves.
    #[must_use]
    pub fn may_keep(&self, desired: &Desired) -> bool {
        matches!(desired, Desired::Standby(_)) && (self.memory.led || self.memory.keeping.is_some())
    }

    /// Everything that must survive a restart of the daemon, except when the claim converged, and whether a hold kept it waiting.
    #[must_use]
    pub fn to_persist(&self) -> Option<Persisted> {
        Some(Persisted { on_watchdogs_word: self.on_watchdogs_word, ..self.memory.to_persist()? })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::decide::keep::{Keeping, WatchdogsPart};
    use crate::desired::hold::Extent;
    use crate::desired::{WhyStandby, WhyUnknown};
    use crate::ids::{ClaimId, Term};
    use crate::observe::seen::Witness;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn persisted(on_watchdogs_word: bool) -> Persisted {
        let text = r#"{"version":1,"claim":"c1","started_ms":5,"started_boot_ms":3,"term":1,"applied":[]}"#;
        Persisted { on_watchdogs_word, ..serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn a_decider_goes_on_from_what_an_earlier_daemon_persisted() {
        let began = Decider::restore(None, S(7), 9);
        assert_eq!((&began.memory, began.dispute()), (&Memory::of_nothing(S(7)), None));
        assert!(began.to_persist().is_none());
        for on_word in [false, true] {
            let decider = Decider::restore(Some(persisted(on_word)), S(7), 9_000);
            assert_eq!(decider.dispute().is_some(), on_word);
            let again = decider.to_persist().unwrap();
            assert_eq!((again.claim, again.on_watchdogs_word), (ClaimId::new("c1"), on_word));
        }
    }

    #[test]
    fn a_decider_remembers_whether_it_went_by_the_watchdogs_word() {
        let file = Desired::Unknown(WhyUnknown::NoFile);
        let mut decider = Decider::default();
        let mut judged = |word, at_s: u64| {
            let (heard, now) = (Heard { word, at: S(at_s) }, Now { at: S(at_s), wall_ms: at_s * 1000 });
            let desired = decider.judge(WitnessMode::Trust, &file, heard, now);
            (desired == file, decider.on_watchdogs_word)
        };
        assert_eq!(judged(Witness::Silent, 90), (true, false));
        assert_eq!(judged(Witness::Escalated, 100), (true, false), "not yet");
        assert_eq!(judged(Witness::Escalated, 110), (false, true));
        assert_eq!(judged(Witness::NotEscalated, 111), (true, false));
    }

    #[test]
    fn a_hold_ends_by_its_time_or_with_its_file_and_not_with_a_file_that_cannot_be_read() {
        let reading = Reading {
            desired: Desired::Unknown(WhyUnknown::NoFile),
            in_force: None,
            guard_alive: None,
            guard_unseen: false,
            invalid: None,
        };
        let hold = InForce { left: S(60), set_at: S(1), until_ms: 70_000, extent: Extent::Everything };
        let (none, unreadable) = (Ok(None), Err("no JSON".to_owned()));
        let mut decider = Decider::default();
        assert!(!decider.learn_hold(&none, &reading, S(9)));
        assert!(decider.learn_hold(&Ok(Some(hold)), &reading, S(10)));
        assert!(!decider.learn_hold(&Ok(Some(InForce { left: S(59), ..hold })), &reading, S(11)));
        assert_eq!(decider.hold.as_ref().map(|hold| hold.until), Some(S(70)));
        assert!(!decider.learn_hold(&unreadable, &reading, S(69)));
        assert!(decider.hold.is_some());
        assert!(decider.learn_hold(&unreadable, &reading, S(70)));
        assert!(decider.hold.is_none());
        assert!(!decider.learn_hold(&unreadable, &reading, S(71)), "it had ended");
        decider.learn_hold(&Ok(Some(hold)), &reading, S(80));
        assert!(decider.learn_hold(&none, &reading, S(81)));
    }

    #[test]
    fn only_a_node_that_stands_by_and_led_or_keeps_something_may_keep_it() {
        let (standby, unknown) = (Desired::Standby(WhyStandby::GuardDead), Desired::Unknown(WhyUnknown::NoFile));
        let keeping = Keeping { since: S(1), term: Term(1), word: WatchdogsPart::MayBeMissing };
        for (desired, led, keeping, may) in [
            (&standby, false, None, false),
            (&standby, true, None, true),
            (&standby, false, Some(keeping), true),
            (&unknown, true, None, false),
            (&unknown, false, Some(keeping), false),
        ] {
            let decider = Decider { memory: Memory { led, keeping, ..Memory::default() }, ..Decider::default() };
            assert_eq!(decider.may_keep(desired), may, "{desired:?}, {led}, {keeping:?}");
        }
    }
}
