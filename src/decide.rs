//! Every decision about a VIP, as pure functions: who may hold it ([`claim`]), what is remembered between passes
//! ([`memory`]), what must change ([`plan`]), and how the watchdog's word counts ([`witness`]). These functions read no
//! clock and do no I/O.
//!
//! The daemon and `vipkeeper plan` both decide through a [`Decider`], so that both come to the same conclusion.

use crate::binding::Vip;
use crate::config::WitnessMode;
use crate::decide::memory::{Memory, Persisted};
use crate::decide::plan::Plan;
use crate::decide::witness::{Contradiction, Heard};
use crate::desired::Desired;
use crate::observe::seen::{Moment, Now, Observed};

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
        let contradiction = on_watchdogs_word.then(|| Contradiction::remembered(&persisted, now));
        let memory = Memory::restore(persisted, now, wall_ms);
        Self { memory, contradiction, hook_lost: false, on_watchdogs_word }
    }

    /// Weighs the desired-state file against the watchdog's word, and returns the desired state that follows from both.
    pub fn judge(&mut self, mode: WitnessMode, file: &Desired, heard: Heard, now: Now) -> Desired {
        let judged = witness::judge(mode, file, heard, &mut self.contradiction, now);
        self.hook_lost = judged.hook_lost;
        self.on_watchdogs_word = judged.desired != *file;
        judged.desired
    }

    /// The contradiction between the file and the watchdog's last word; `None` if they agree.
    #[must_use]
    pub fn contradiction(&self) -> Option<&Contradiction> {
        self.contradiction.as_ref()
    }

    /// The contradiction, once it has lasted so long that a hook must have been lost.
    #[must_use]
    pub fn hook_lost(&self) -> Option<&Contradiction> {
        self.contradiction.as_ref().filter(|_| self.hook_lost)
    }

    /// Learns from a look, and plans. `desired` is the result of [`Decider::judge`]. Implausible terms in `observed`
    /// are set apart.
    pub fn decide(&mut self, vip: &Vip, desired: &Desired, observed: &mut Observed, now: Now) -> Plan {
        self.memory.learn(vip, desired, observed, now.at, now.wall_ms);
        plan::plan(vip, desired, observed, &self.memory, now.at)
    }

    /// Everything that must survive a restart of the daemon, except the time at which the claim converged.
    #[must_use]
    pub fn to_persist(&self) -> Option<Persisted> {
        Some(Persisted { on_watchdogs_word: self.on_watchdogs_word, ..self.memory.to_persist()? })
    }
}
