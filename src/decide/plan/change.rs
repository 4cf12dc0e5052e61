//! A planned change as the loop carries it out, and what it is about.

use crate::action::{Action, Purpose};
use crate::binding::{BindingKey, Kind};
use crate::ids::Term;

/// One planned change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    OfBinding {
        key: BindingKey,
        purpose: Purpose,
        action: Action,
    },
    /// Writes this node's own claim on the anchor.
    Record {
        term: Term,
        action: Action,
    },
    /// Deletes an old claim of another node from the anchor.
    Forget {
        action: Action,
    },
}

/// The thing that a change is about. Each has a backoff of its own, and at most one change of it is under way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Binding(BindingKey),
    /// This node's own claim on the anchor.
    OwnClaim,
    /// Another node's old claim on the anchor.
    OldClaim,
}

impl Change {
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::OfBinding { key, .. } => Subject::Binding(key.clone()),
            Self::Record { .. } => Subject::OwnClaim,
            Self::Forget { .. } => Subject::OldClaim,
        }
    }

    #[must_use]
    pub fn action(&self) -> &Action {
        match self {
            Self::OfBinding { action, .. } | Self::Record { action, .. } | Self::Forget { action } => action,
        }
    }

    /// The binding that is changed; `None` for a change of the record.
    #[must_use]
    pub fn key(&self) -> Option<&BindingKey> {
        match self {
            Self::OfBinding { key, .. } => Some(key),
            Self::Record { .. } | Self::Forget { .. } => None,
        }
    }

    /// Whether a claim takes by this change: a binding that it has not had yet, or its place on the record.
    #[must_use]
    pub fn is_take(&self) -> bool {
        matches!(self, Self::OfBinding { purpose: Purpose::Take, .. } | Self::Record { .. })
    }

    /// Whether this node lets go by this change.
    #[must_use]
    pub fn is_release(&self) -> bool {
        matches!(self, Self::OfBinding { purpose: Purpose::Release, .. })
    }
}

impl Subject {
    /// Whether the kernel carries its changes out, and not EC2.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Binding(key) if key.kind == Kind::LocalAddress)
    }
}
