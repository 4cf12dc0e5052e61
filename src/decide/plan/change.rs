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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::binding::Connections;

    #[test]
    fn changes_of_the_kernel_come_first_and_copies_of_a_claim_last() {
        let cloud = || Action::DisableSourceDestCheck { eni: "eni-0a".parse().unwrap() };
        let local = || Action::RemoveLocalAddress {
            address: "20.0.0.50".parse().unwrap(),
            entries: BTreeSet::new(),
            connections: Connections::Reset,
        };
        let binding = |kind, purpose, action| Change::Binding { key: BindingKey::new(kind, "target"), purpose, action };
        let of_local = |purpose| binding(Kind::LocalAddress, purpose, local());
        let of_cloud = |purpose| binding(Kind::SourceDestCheck, purpose, cloud());
        let resource = Anchor::Subnet("subnet-1".parse().unwrap());
        let take = of_local(Purpose::Take);
        assert_eq!((take.purpose(), take.place(), take.waits_for_kernel()), (Some(Purpose::Take), 0, true));
        let release = of_local(Purpose::Release);
        assert_eq!(
            (release.purpose(), release.place(), release.waits_for_kernel()),
            (Some(Purpose::Release), 0, false)
        );
        for purpose in [Purpose::Take, Purpose::Release] {
            let change = of_cloud(purpose);
            assert_eq!((change.purpose(), change.place(), change.waits_for_kernel()), (Some(purpose), 1, false));
        }
        let copy = Change::CopyOfClaim { resource, term: Term(5), action: cloud() };
        for (change, place) in [
            (Change::OwnClaim { term: Term(5), action: cloud() }, 1),
            (Change::OldClaim { action: cloud() }, 1),
            (copy, 2),
        ] {
            assert_eq!((change.purpose(), change.place(), change.waits_for_kernel()), (None, place, false));
        }
    }

    #[test]
    fn a_failover_fails_with_its_bindings_and_its_claim_and_not_with_copies_and_old_claims() {
        let local = Subject::Binding(BindingKey::new(Kind::LocalAddress, "20.0.0.50"));
        let route = Subject::Binding(BindingKey::new(Kind::Route, "rtb-1"));
        let copy = Subject::CopyOfClaim(Anchor::Subnet("subnet-1".parse().unwrap()));
        for (subject, is_local, matters) in [
            (local, true, true),
            (route, false, true),
            (Subject::OwnClaim, false, true),
            (copy, false, false),
            (Subject::OldClaim, false, false),
        ] {
            assert_eq!((subject.is_local(), subject.matters_to_failover()), (is_local, matters), "{subject:?}");
        }
    }
}
