//! Questions that every page asks of a VIP: its role, whether its node leads, and whether a condition holds.

use super::{Condition, ConditionName, DesiredRole, VipStatus};

/// The condition of this name, where it holds.
pub(super) fn holding(vip: &VipStatus, name: ConditionName) -> Option<&Condition> {
    vip.conditions.iter().find(|condition| condition.name == name && condition.holds)
}

/// The condition of this name, where it does not hold.
pub(super) fn failing(vip: &VipStatus, name: ConditionName) -> Option<&Condition> {
    vip.conditions.iter().find(|condition| condition.name == name && !condition.holds)
}

/// Whether this node leads, and no newer claim of another node stands.
pub(super) fn leads(vip: &VipStatus) -> bool {
    role(vip) == DesiredRole::Leader && holding(vip, ConditionName::Superseded).is_none()
}

pub(super) fn role(vip: &VipStatus) -> DesiredRole {
    vip.desired.role.known().unwrap_or(DesiredRole::Unknown)
}
