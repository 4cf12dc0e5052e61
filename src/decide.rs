//! Every decision about a VIP, as pure functions: who may hold it ([`claim`]), what is remembered between passes
//! ([`memory`]), what must change ([`plan`]), and what the watchdog's word weighs ([`witness`]). No clock, no I/O.
//!
//! The daemon and `vipkeeper plan` decide through one [`Decider`], so that both come to one conclusion.

use crate::binding::Vip;
use crate::config::WitnessMode;
use crate::decide::memory::{Memory, Persisted};
use crate::decide::plan::Plan;
use crate::decide::witness::{Contradiction, Heard};
use crate::desired::Desired;
use crate::observe::seen::{Moment, Observed};

pub mod claim;
pub mod memory;
pub mod plan;
pub mod timing;
pub mod witness;

/// Decides about one VIP, and keeps everything that the next decision rests on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decider {
    pub memory: Memory,
    contradiction: Option<Contradiction>,
    hook_lost: bool,
    /// The last judgement goes by the watchdog's word, and not by the file.
    on_watchdogs_word: bool,
}

impl Decider {
    /// A decider that goes on where an earlier daemon ended. `wall_ms` is the wall clock: milliseconds since the Unix epoch.
    #[must_use]
    pub fn restore(persisted: Option<Persisted>, now: Moment, wall_ms: u64) -> Self {
        let Some(persisted) = persisted else { return Self { memory: Memory::of_nothing(now), ..Self::default() } };
        let on_watchdogs_word = persisted.on_watchdogs_word;
        let contradiction =
            on_watchdogs_word.then(|| Contradiction::remembered(&persisted.claim, persisted.started_ms, now));
        let memory = Memory::restore(persisted, now, wall_ms);
        Self { memory, contradiction, hook_lost: false, on_watchdogs_word }
    }

    /// Weighs the desired-state file against the watchdog's word, and says what is wanted by both. `wall_ms` as above.
    pub fn judge(&mut self, mode: WitnessMode, file: &Desired, heard: Heard, now: Moment, wall_ms: u64) -> Desired {
        let judged = witness::judge(mode, file, heard, &mut self.contradiction, now, wall_ms);
        self.hook_lost = judged.hook_lost;
        self.on_watchdogs_word = judged.desired != *file;
        judged.desired
    }

    /// The contradiction between file and watchdog, by what the watchdog said last.
    #[must_use]
    pub fn contradiction(&self) -> Option<&Contradiction> {
        self.contradiction.as_ref()
    }

    /// The contradiction, once it has lasted for so long that a hook was lost.
    #[must_use]
    pub fn hook_lost(&self) -> Option<&Contradiction> {
        self.contradiction.as_ref().filter(|_| self.hook_lost)
    }

    /// Learns from a look, and plans. `desired` is what [`Decider::judge`] said. `wall_ms` as above; implausible terms are
    /// set apart in `observed`.
    pub fn decide(&mut self, vip: &Vip, desired: &Desired, observed: &mut Observed, now: Moment, wall_ms: u64) -> Plan {
        self.memory.learn(vip, desired, observed, now, wall_ms);
        plan::plan(vip, desired, observed, &self.memory, now)
    }

    /// Everything that must survive a restart of the daemon, but for the time at which the claim converged.
    #[must_use]
    pub fn to_persist(&self) -> Option<Persisted> {
        Some(Persisted { on_watchdogs_word: self.on_watchdogs_word, ..self.memory.to_persist()? })
    }
}
