//! The verdict of a plan on one binding: its state, the reason, and the change that it needs.

use super::why::Why;
use crate::action::{Action, Purpose};
use crate::binding::Kind;
use crate::ec2::Class;
use crate::names::names;

names!(
    /// The state of one binding, for metrics and status.
    State {
        /// The binding agrees with the desired state.
        InSync = "in_sync",
        /// The binding differs from the desired state although nobody asked for a change.
        Drift = "drift",
        /// The binding could not be observed.
        Unknown = "unknown",
        /// A change is under way, or waits for its turn.
        Waiting = "waiting",
        /// This node can do nothing before somebody else acts; the detail says who.
        Blocked = "blocked",
    }
);

names!(
    /// The way in which a binding drifted.
    DriftReason {
        Absent = "absent",
        /// The binding points at something else.
        Elsewhere = "elsewhere",
        /// A route whose target is gone.
        Blackhole = "blackhole",
        /// The source/destination check is on, so the ENI drops what is sent to the VIP.
        CheckOn = "check_on",
        /// The binding was gone, and points at this node again, although this node does not lead.
        Here = "here",
    }
);

impl State {
    /// Whether a binding that goes from this state to the other one is still in the same episode. A binding that is not
    /// in place drifts, waits or is blocked by turns, as its change fails in one way or another: that began only once.
    #[must_use]
    pub fn is_one_episode(self, other: Self) -> bool {
        let is_out_of_place = |state: Self| matches!(state, Self::Drift | Self::Waiting | Self::Blocked);
        self == other || (is_out_of_place(self) && is_out_of_place(other))
    }
}

impl DriftReason {
    /// The reasons that a binding of this kind can have, so that their metrics exist from the start.
    #[must_use]
    pub fn of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::ElasticIp | Kind::SecondaryIp => &[Self::Absent, Self::Elsewhere, Self::Here],
            Kind::Route => &[Self::Absent, Self::Elsewhere, Self::Blackhole, Self::Here],
            Kind::LocalAddress => &[Self::Absent, Self::Here],
            Kind::SourceDestCheck => &[Self::CheckOn],
        }
    }
}

/// The state of one binding as it is reported, and the change that is planned for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub state: State,
    pub why: Why,
    pub drift: Option<DriftReason>,
    pub change: Option<BindingChange>,
}

impl Verdict {
    /// The binding's state as it is reported, with the class of the last failure of the binding's change. A change that
    /// was denied or rejected succeeds only after somebody else has acted.
    #[must_use]
    pub fn state_after(&self, last_failure: Option<Class>) -> State {
        match last_failure {
            Some(Class::Denied | Class::Rejected) => State::Blocked,
            Some(Class::Transient | Class::Throttled | Class::Stale) | None => self.state,
        }
    }
}

/// The change that is planned for one binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingChange {
    pub purpose: Purpose,
    pub action: Action,
}

/// A verdict without a change.
pub(super) fn say(state: State, why: Why) -> Verdict {
    Verdict { state, why, drift: None, change: None }
}

/// A verdict with a planned change.
pub(super) fn act(state: State, why: Why, purpose: Purpose, action: Action) -> Verdict {
    Verdict { state, why, drift: None, change: Some(BindingChange { purpose, action }) }
}

/// The verdict, told as a drift.
pub(super) fn drifted(verdict: Verdict, reason: DriftReason) -> Verdict {
    Verdict { drift: Some(reason), ..verdict }
}
