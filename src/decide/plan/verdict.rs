//! The verdict of a plan on one binding: its state, the reason, and the change that it needs.

use super::Why;
use crate::action::{Action, Purpose};
use crate::binding::Kind;
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
    pub step: Option<Step>,
}

/// A planned change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub purpose: Purpose,
    pub action: Action,
}
