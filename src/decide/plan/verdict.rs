//! What a plan says of one binding: how it stands, why, and the change that it needs.

use super::Why;
use crate::action::{Action, Purpose};
use crate::binding::Kind;
use crate::names::names;

names!(
    /// How one binding stands, for metrics and status.
    State {
        /// It agrees with desired.
        InSync = "in_sync",
        /// It differs although nobody asked for a change.
        Drift = "drift",
        /// It could not be observed.
        Unknown = "unknown",
        /// A change is under way, or its turn comes.
        Waiting = "waiting",
        /// Nothing can be done before somebody else acts; the detail says who.
        Blocked = "blocked",
    }
);

names!(
    /// In what way a binding drifted.
    DriftReason {
        Absent = "absent",
        /// It points at something else.
        Elsewhere = "elsewhere",
        /// A route whose target is gone.
        Blackhole = "blackhole",
        /// The source/destination check is on, so the ENI drops what is sent to the VIP.
        CheckOn = "check_on",
        /// It points at this node, which stands by, after it had been gone.
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

/// What is to be said and done about one binding.
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
