//! What it means that no hook has said what is wanted of this node.

use std::collections::BTreeMap;

use super::{Blocker, State, Verdict};
use crate::binding::BindingKey;
use crate::desired::{Desired, WhyUnknown};
use crate::observe::seen::Witness;

/// What it means for a VIP that nobody said what is wanted of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    /// No hook has had a reason to run since the node booted: nothing of the VIP points here, and Pgpool's watchdog does
    /// not say that this node leads. That is as it should be.
    NoHookYet,
    /// It would be so if everything could be seen.
    NotSeen,
    /// A hook's word is missing, or cannot be used.
    HookMissing,
}

impl Unasked {
    /// `None` where a hook has spoken.
    pub(super) fn of(desired: &Desired, witness: Witness, bindings: &BTreeMap<BindingKey, Verdict>) -> Option<Self> {
        let Desired::Unknown(why) = desired else { return None };
        let here = bindings.values().any(|verdict| verdict.why.blocker() == Some(Blocker::NoHook));
        let all_well = bindings.values().all(|verdict| verdict.state == State::InSync);
        Some(match (why, witness) {
            (WhyUnknown::Invalid | WhyUnknown::OtherBoot | WhyUnknown::NotAskedSince, _)
            | (WhyUnknown::NoFile, Witness::Escalated) => Self::HookMissing,
            (WhyUnknown::NoFile, _) if here => Self::HookMissing,
            (WhyUnknown::NoFile, _) if all_well => Self::NoHookYet,
            (WhyUnknown::NoFile, _) => Self::NotSeen,
        })
    }
}
