//! The actions, and the sentence that an operator reads for each action.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::binding::{Account, Anchor, Connections, LocalAddress};
use crate::ids::{AllocationId, AssociationId, EniId, RouteTableId};

/// Whether a change may take what somebody else holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Force {
    /// The present holder loses the thing. This is for a new leader, and for a leader that takes back a binding.
    Take,
    /// EC2 itself refuses if somebody holds the thing. This is for a binding that was seen absent.
    IfFree,
}

/// The call that points a route, and whether the other call follows at once if EC2 says that the first was the wrong
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RouteCall {
    /// CreateRoute first; ReplaceRoute if there is a route already.
    CreateElseReplace,
    /// ReplaceRoute first; CreateRoute if there is no route.
    ReplaceElseCreate,
    /// CreateRoute alone: EC2 refuses if there is a route.
    CreateOnly,
}

/// The purpose for which an action is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// A new claim takes the binding, whoever holds it.
    Take,
    /// The binding is gone though this node should have it: put the binding back, if nobody else took it.
    Restore,
    /// Somebody else holds the binding, but this node's claim is the newest: take the binding back.
    Retake,
    /// This node is not the leader, and the binding still points at it.
    Release,
    /// This node is not the leader, but prepares a setting of its own ENI for the time when it leads.
    Prepare,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    AssociateAddress {
        allocation: AllocationId,
        eni: EniId,
        private_ip: Ipv4Addr,
        force: Force,
    },
    DisassociateAddress {
        allocation: AllocationId,
        association: AssociationId,
    },
    PointRoute {
        account: Account,
        table: RouteTableId,
        destination: IpNet,
        eni: EniId,
        call: RouteCall,
    },
    /// Reads the table again directly before the deletion, and deletes only if the route still points at `eni`.
    DeleteRoute {
        account: Account,
        table: RouteTableId,
        destination: IpNet,
        eni: EniId,
    },
    AssignAddress {
        eni: EniId,
        address: IpAddr,
        force: Force,
    },
    UnassignAddress {
        eni: EniId,
        address: IpAddr,
    },
    DisableSourceDestCheck {
        eni: EniId,
    },
    AddLocalAddress {
        interface: String,
        address: IpAddr,
    },
    /// Removes an address from every interface that has it, whatever the prefix length. `entries` is not empty.
    RemoveLocalAddress {
        address: IpAddr,
        entries: BTreeSet<LocalAddress>,
        /// The fate of the address's connections, directly before the removal.
        connections: Connections,
    },
    /// Writes this node's own tag on the anchor: the claim, or its withdrawal.
    RecordClaim {
        anchor: Anchor,
        key: String,
        value: String,
    },
    /// Deletes another node's tag from the anchor, if the tag still has this value.
    ForgetClaim {
        anchor: Anchor,
        key: String,
        value: String,
    },
}

impl Action {
    /// The name of the action in metrics, one of [`Action::NAMES`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::AssociateAddress { .. } => "associate_address",
            Self::DisassociateAddress { .. } => "disassociate_address",
            Self::PointRoute { call: RouteCall::ReplaceElseCreate, .. } => "replace_route",
            Self::PointRoute { .. } => "create_route",
            Self::DeleteRoute { .. } => "delete_route",
            Self::AssignAddress { .. } => "assign_address",
            Self::UnassignAddress { .. } => "unassign_address",
            Self::DisableSourceDestCheck { .. } => "disable_source_dest_check",
            Self::AddLocalAddress { .. } => "add_local_address",
            Self::RemoveLocalAddress { .. } => "remove_local_address",
            Self::RecordClaim { .. } => "record_claim",
            Self::ForgetClaim { .. } => "forget_claim",
        }
    }

    /// The EC2 operation that carries the action out. If a second operation may follow, the first one tried. `None` for
    /// a change of this machine's kernel.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        Some(match self {
            Self::AssociateAddress { .. } => "AssociateAddress",
            Self::DisassociateAddress { .. } => "DisassociateAddress",
            Self::PointRoute { call: RouteCall::ReplaceElseCreate, .. } => "ReplaceRoute",
            Self::PointRoute { call: RouteCall::CreateElseReplace | RouteCall::CreateOnly, .. } => "CreateRoute",
            Self::DeleteRoute { .. } => "DeleteRoute",
            Self::AssignAddress { address: IpAddr::V4(_), .. } => "AssignPrivateIpAddresses",
            Self::AssignAddress { address: IpAddr::V6(_), .. } => "AssignIpv6Addresses",
            Self::UnassignAddress { address: IpAddr::V4(_), .. } => "UnassignPrivateIpAddresses",
            Self::UnassignAddress { address: IpAddr::V6(_), .. } => "UnassignIpv6Addresses",
            Self::DisableSourceDestCheck { .. } => "ModifyNetworkInterfaceAttribute",
            Self::RecordClaim { .. } => "CreateTags",
            Self::ForgetClaim { .. } => "DeleteTags",
            Self::AddLocalAddress { .. } | Self::RemoveLocalAddress { .. } => return None,
        })
    }

    /// All names of actions, so that their metrics exist from the start.
    pub const NAMES: [&'static str; 12] = [
        "associate_address",
        "disassociate_address",
        "replace_route",
        "create_route",
        "delete_route",
        "assign_address",
        "unassign_address",
        "disable_source_dest_check",
        "add_local_address",
        "remove_local_address",
        "record_claim",
        "forget_claim",
    ];

    /// Whether EC2 refuses the action if the world has changed since it was seen.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        matches!(
            self,
            Self::AssociateAddress { force: Force::IfFree, .. }
                | Self::AssignAddress { force: Force::IfFree, .. }
                | Self::PointRoute { call: RouteCall::CreateOnly, .. }
        )
    }

    /// Whether the action is a call to EC2, and not to this machine's kernel.
    #[must_use]
    pub fn is_cloud(&self) -> bool {
        self.operation().is_some()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let only_if_free = |force: &Force| if *force == Force::IfFree { ", only if it is free" } else { "" };
        match self {
            Self::AssociateAddress { allocation, eni, private_ip, force } => {
                write!(f, "associate {allocation} with {eni} at {private_ip}{}", only_if_free(force))
            }
            Self::DisassociateAddress { allocation, association } => {
                write!(f, "release {allocation} by {association}")
            }
            Self::PointRoute { table, destination, eni, call, .. } => match call {
                RouteCall::ReplaceElseCreate => write!(f, "replace route {destination} in {table} with {eni}"),
                RouteCall::CreateElseReplace => write!(f, "create route {destination} in {table} to {eni}"),
                RouteCall::CreateOnly => {
                    write!(f, "create route {destination} in {table} to {eni}, only if there is none")
                }
            },
            Self::DeleteRoute { table, destination, eni, .. } => {
                write!(f, "delete route {destination} in {table} if it still points at {eni}")
            }
            Self::AssignAddress { eni, address, force } => {
                write!(f, "assign {address} to {eni}{}", only_if_free(force))
            }
            Self::UnassignAddress { eni, address } => write!(f, "unassign {address} from {eni}"),
            Self::DisableSourceDestCheck { eni } => write!(f, "switch the source/destination check of {eni} off"),
            Self::AddLocalAddress { interface, address } => write!(f, "add {address} to {interface}"),
            Self::RemoveLocalAddress { entries, .. } => {
                for (number, entry) in entries.iter().enumerate() {
                    let LocalAddress { interface, address, prefix } = entry;
                    write!(f, "{} {address}", if number == 0 { "remove" } else { " and" })?;
                    if !entry.is_single() {
                        write!(f, "/{prefix}")?;
                    }
                    write!(f, " from {interface}")?;
                }
                Ok(())
            }
            Self::RecordClaim { anchor, key, value } => {
                write!(f, "record {key} = '{value}' on {}", anchor.resource())
            }
            Self::ForgetClaim { anchor, key, value } => {
                write!(f, "forget {key} = '{value}' on {}", anchor.resource())
            }
        }
    }
}
