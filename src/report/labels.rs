//! The closed sets of words that metrics, logs and status share. A metric's label is one of these words or a name out
//! of the config, never the text of an error.

use crate::binding::{BindingKey, Kind};
use crate::ec2::Class;
use crate::names::names;

pub use crate::decide::plan::{DriftReason, State};
pub use crate::observe::question::Source;

names!(
    /// The outcome of one pass.
    PassResult {
        /// Everything was read and agrees with desired: nothing was written.
        InSync = "in_sync",
        /// Changes were made, and all were accepted.
        Acting = "acting",
        /// Something differs, and nothing may be done about it yet.
        Waiting = "waiting",
        /// Some reads or changes failed, and others did not.
        Partial = "partial",
        /// Nothing could be read, or every change failed.
        Failed = "failed",
    }
);

names!(
    /// Whether this node gained or lost a VIP.
    Direction {
        /// This node took the VIP from another one, or took it when no node had it.
        Gained = "gained",
        /// This node had the VIP and does not have it any more.
        Lost = "lost",
    }
);

/// The outcome of one action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// EC2 or the kernel accepted the change; only a later observation shows that the change worked.
    Accepted,
    /// There was nothing to do any more.
    Unchanged,
    /// EC2 refused a conditional change because somebody holds the address. That is the condition's purpose.
    Refused,
    /// The change did not happen.
    Failed(Class),
    /// The answer was lost: only a later observation shows whether the change happened.
    Unknown(Class),
}

impl Outcome {
    pub const ALL: [Self; 9] = [
        Self::Accepted,
        Self::Unchanged,
        Self::Refused,
        Self::Failed(Class::Transient),
        Self::Failed(Class::Throttled),
        Self::Failed(Class::Stale),
        Self::Failed(Class::Denied),
        Self::Failed(Class::Rejected),
        // One class stands for all, because `Unknown` has one name for all classes.
        Self::Unknown(Class::Transient),
    ];

    /// The outcome's word in metrics and logs. The word of a failure is its class.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Failed(class) => class.name(),
            Self::Unknown(_) => "unknown",
        }
    }
}

/// The `kind` and `target` labels of a claim's record, which is no binding but is written and retried like one.
pub const CLAIM: &str = "claim";

/// The names of the actions that change a binding of this kind.
#[must_use]
pub fn actions_of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::ElasticIp => &["associate_address", "disassociate_address"],
        Kind::Route => &["replace_route", "create_route", "delete_route"],
        Kind::SecondaryIp => &["assign_address", "unassign_address"],
        Kind::LocalAddress => &["add_local_address", "remove_local_address"],
        Kind::SourceDestCheck => &["disable_source_dest_check"],
    }
}

/// EC2's operations that read or change this binding.
#[must_use]
pub fn operations_of(key: &BindingKey) -> &'static [&'static str] {
    match key.kind {
        Kind::ElasticIp => &["DescribeAddresses", "AssociateAddress", "DisassociateAddress"],
        Kind::Route => &["DescribeRouteTables", "CreateRoute", "ReplaceRoute", "DeleteRoute"],
        // The target is the address. EC2 has separate operations for IPv6 addresses.
        Kind::SecondaryIp if key.target.contains(':') => {
            &["DescribeNetworkInterfaces", "AssignIpv6Addresses", "UnassignIpv6Addresses"]
        }
        Kind::SecondaryIp => &["DescribeNetworkInterfaces", "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"],
        Kind::LocalAddress => &[],
        Kind::SourceDestCheck => &["DescribeNetworkInterfaces", "ModifyNetworkInterfaceAttribute"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;

    #[test]
    fn every_action_belongs_to_a_kind_or_is_the_claims_record() {
        let mut names: Vec<_> = Kind::ALL.into_iter().flat_map(actions_of).copied().collect();
        names.extend(["record_claim", "forget_claim"]);
        names.sort_unstable();
        let mut all = Action::NAMES.to_vec();
        all.sort_unstable();
        assert_eq!(names, all);
    }
}
