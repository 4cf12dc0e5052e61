//! The bindings of a node that does not lead.

use super::local;
use super::planner::{Planner, not_here, point_here, sooner};
use super::verdict::{State, Verdict, act, say};
use super::why::Why;
use crate::action::{Action, Force, Purpose};
use crate::binding::{Binding, OnRelease};
use crate::decide::claim::{self, Standing};
use crate::decide::timing::{DELETE_ROUTE_AFTER, SETTLE};
use crate::observe::seen::{Claims, Moment, Seen};

impl Planner<'_> {
    /// A binding of a node that does not lead. A binding that points elsewhere is left alone.
    pub(super) fn release(&self, binding: &Binding, seen: &Seen, look_at: &mut Option<Moment>) -> Verdict {
        let association = match seen {
            Seen::Here { association } => association,
            Seen::Absent if matches!(binding, Binding::SourceDestCheck { .. }) => return prepare(binding, seen),
            Seen::Elsewhere(_) | Seen::Absent | Seen::Unknown(_) => return not_here(seen),
        };
        let kept_anyway =
            matches!(binding, Binding::SourceDestCheck { .. } | Binding::Route { on_release: OnRelease::Keep, .. });
        if self.memory.keeping.is_some() && !kept_anyway {
            return say(State::Waiting, Why::KeptWhileServing);
        }
        if !kept_anyway && self.waits_for_record(look_at) {
            return say(State::Waiting, Why::LookingAgain);
        }
        let action = match binding {
            Binding::LocalAddress { interface, address, connections } => {
                return local::release(interface, *address, *connections, self.observed.local.get(address));
            }
            // When a secondary address moves, its Elastic IP moves along, and the association keeps its id. The id
            // therefore does not tell which node holds the Elastic IP. Unassigning the address from the own ENI frees
            // both.
            Binding::ElasticIp { after: Some(first), .. } => return say(State::Waiting, Why::After(first.clone())),
            Binding::ElasticIp { allocation, .. } => match association {
                Some(association) => {
                    Action::DisassociateAddress { allocation: allocation.clone(), association: association.clone() }
                }
                None => return say(State::Waiting, Why::NoAssociation),
            },
            Binding::SecondaryIp { eni, address } => Action::UnassignAddress { eni: eni.clone(), address: *address },
            // A standby keeps the source/destination check off.
            Binding::SourceDestCheck { .. } => return self.in_place(binding),
            Binding::Route { on_release: OnRelease::Keep, .. } => {
                return say(State::InSync, Why::KeptForSuccessor);
            }
            Binding::Route { account, table, destination, eni, on_release: OnRelease::Delete } => {
                let due = self.memory.standby_since.unwrap_or(self.now) + DELETE_ROUTE_AFTER;
                if self.now < due {
                    sooner(look_at, due);
                    return say(State::Waiting, Why::DeletesLater);
                }
                Action::DeleteRoute {
                    account: account.clone(),
                    table: table.clone(),
                    destination: *destination,
                    eni: eni.clone(),
                }
            }
        };
        act(State::Waiting, Why::Releasing, Purpose::Release, action)
    }

    /// Whether a superseded leader must look again before it gives anything up. Asks for that look.
    fn waits_for_record(&self, look_at: &mut Option<Moment>) -> bool {
        let (Standing::Superseded(_), Some(own)) = (self.standing, &self.memory.claim) else { return false };
        if claim::may_give_up(&self.observed.claims, own) {
            return false;
        }
        if matches!(self.observed.claims, Claims::Read { .. }) {
            sooner(look_at, own.adopted_at + SETTLE);
        }
        true
    }
}

/// The source/destination check of a node that does not lead. It is an attribute of the own ENI and moves nothing: a
/// standby keeps it off, so that a takeover needs one call less. A policy that forbids the call also shows before a
/// takeover.
fn prepare(binding: &Binding, seen: &Seen) -> Verdict {
    act(State::Waiting, Why::SwitchingOff, Purpose::Prepare, point_here(binding, seen, Force::IfFree))
}
