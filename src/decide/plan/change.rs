//! A planned change as the loop carries it out, and the subject of the change.

use crate::action::{Action, Purpose};
use crate::binding::{Anchor, BindingKey, Kind};
use crate::ids::Term;

/// One planned change. Each variant has the name of its [`Subject`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Points a binding here, or away from here.
    Binding { key: BindingKey, purpose: Purpose, action: Action },
    /// Writes this node's own claim on the anchor.
    OwnClaim { term: Term, action: Action },
    /// Writes this node's own claim on another resource that carries claims on this VIP.
    CopyOfClaim { resource: Anchor, term: Term, action: Action },
    /// Deletes an old claim of another node from the anchor.
    OldClaim { action: Action },
}

/// The thing that a change is about. Each subject has its own backoff, and at most one change of a subject is under
/// way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Binding(BindingKey),
    /// This node's own claim on the anchor.
    OwnClaim,
    /// This node's own claim on another resource.
    CopyOfClaim(Anchor),
    /// Another node's old claim on the anchor.
    OldClaim,
}

impl Change {
    /// The purpose of a binding's change; `None` for a change of the claim's record.
    #[must_use]
    pub fn purpose(&self) -> Option<Purpose> {
        match self {
            Self::Binding { purpose, .. } => Some(*purpose),
            Self::OwnClaim { .. } | Self::CopyOfClaim { .. } | Self::OldClaim { .. } => None,
        }
    }

    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::Binding { key, .. } => Subject::Binding(key.clone()),
            Self::OwnClaim { .. } => Subject::OwnClaim,
            Self::CopyOfClaim { resource, .. } => Subject::CopyOfClaim(resource.clone()),
            Self::OldClaim { .. } => Subject::OldClaim,
        }
    }

    #[must_use]
    pub fn action(&self) -> &Action {
        match self {
            Self::Binding { action, .. }
            | Self::OwnClaim { action, .. }
            | Self::CopyOfClaim { action, .. }
            | Self::OldClaim { action } => action,
        }
    }

    /// The binding that the change is about; `None` for a change of the record.
    #[must_use]
    pub fn key(&self) -> Option<&BindingKey> {
        match self {
            Self::Binding { key, .. } => Some(key),
            Self::OwnClaim { .. } | Self::CopyOfClaim { .. } | Self::OldClaim { .. } => None,
        }
    }

    /// Whether a claim uses this change to take a binding that it has not had yet, or to put itself on record. The
    /// withdrawal of a claim also changes the record, and counts as a take.
    #[must_use]
    pub fn is_take(&self) -> bool {
        matches!(self, Self::Binding { purpose: Purpose::Take, .. } | Self::OwnClaim { .. } | Self::CopyOfClaim { .. })
    }

    /// Whether this node gives up a binding by this change.
    #[must_use]
    pub fn is_release(&self) -> bool {
        matches!(self, Self::Binding { purpose: Purpose::Release, .. })
    }

    /// Whether the change must not start while the kernel is being asked for its addresses: its plan rests on an answer
    /// that is about to be replaced. A release does not wait, because this node must stop answering for the address at
    /// once.
    #[must_use]
    pub fn waits_for_kernel(&self) -> bool {
        !self.action().is_cloud() && !self.is_release()
    }

    /// The place of the change among changes that start together; the lowest starts first. Local changes come first, so
    /// that a node that lets go stops answering for the address first. Copies of a claim come last, so that no take
    /// waits for them.
    #[must_use]
    pub fn place(&self) -> u8 {
        match self {
            Self::CopyOfClaim { .. } => 2,
            _ if self.action().is_cloud() => 1,
            _ => 0,
        }
    }
}

impl Subject {
    /// Whether the kernel, and not EC2, carries out the changes of this subject.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Binding(key) if key.kind == Kind::LocalAddress)
    }

    /// Whether a failover fails if the changes of this subject fail. Old claims and copies of claims make no failover
    /// fail.
    #[must_use]
    pub fn matters_to_failover(&self) -> bool {
        match self {
            Self::Binding(_) | Self::OwnClaim => true,
            Self::CopyOfClaim(_) | Self::OldClaim => false,
        }
    }
}
