//! Tells whether it is a problem that no hook has said what is wanted of this node.

use std::collections::BTreeMap;

use super::verdict::{State, Verdict};
use super::why::Blocker;
use crate::binding::BindingKey;
use crate::desired::{Desired, WhyUnknown};
use crate::observe::seen::Witness;

/// The meaning, for one VIP, of a node of which no hook has said what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    /// No hook has had a reason to run since the node booted: nothing of the VIP points here, and Pgpool's watchdog
    /// does not say that this node leads. Nothing is wrong.
    NoHookYet,
    /// No hook has been missed as far as can be seen, but some binding could not be seen.
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

#[cfg(test)]
mod tests {
    use super::super::why::Why;
    use super::*;
    use crate::binding::Kind;
    use crate::desired::WhyStandby;
    use crate::observe::seen::WhyUnseen;

    fn with(state: State, why: Why) -> BTreeMap<BindingKey, Verdict> {
        let verdict = Verdict { state, why, drift: None, change: None };
        BTreeMap::from([(BindingKey::new(Kind::Route, "rtb-0a"), verdict)])
    }

    #[test]
    fn a_node_that_has_not_led_is_well_unless_something_says_otherwise() {
        let no_file = Desired::Unknown(WhyUnknown::NoFile);
        let elsewhere = with(State::InSync, Why::NotHere);
        let unseen = with(State::Unknown, Why::Unseen(WhyUnseen::NotRead));
        let here = with(State::Blocked, Why::UndesiredButHere);
        for (desired, witness, bindings, wanted) in [
            (&no_file, Witness::Silent, &elsewhere, Some(Unasked::NoHookYet)),
            (&no_file, Witness::NotEscalated, &elsewhere, Some(Unasked::NoHookYet)),
            // The watchdog says that this node leads, so the hook of this node was lost.
            (&no_file, Witness::Escalated, &elsewhere, Some(Unasked::HookMissing)),
            (&no_file, Witness::Silent, &unseen, Some(Unasked::NotSeen)),
            (&no_file, Witness::Silent, &here, Some(Unasked::HookMissing)),
            (&Desired::Unknown(WhyUnknown::Invalid), Witness::Silent, &elsewhere, Some(Unasked::HookMissing)),
            (&Desired::Standby(WhyStandby::Down), Witness::Silent, &elsewhere, None),
        ] {
            assert_eq!(Unasked::of(desired, witness, bindings), wanted, "{desired:?}, {witness:?}, {bindings:?}");
        }
    }
}
