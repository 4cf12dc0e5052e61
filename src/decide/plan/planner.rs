//! The inputs of a plan, and the questions that every part of the planner asks of them.

use std::time::Duration;

use super::local;
use super::verdict::{State, Verdict, say};
use super::why::Why;
use crate::action::{Action, Force, RouteCall};
use crate::binding::{Binding, BindingKey, Vip};
use crate::decide::claim::Standing;
use crate::decide::memory::{Memory, Track};
use crate::observe::seen::{Claims, Moment, Observed, Seen, Sight, WhyUnseen};

/// Everything that the plan of one VIP is made from.
pub(super) struct Planner<'a> {
    pub vip: &'a Vip,
    pub observed: &'a Observed,
    pub memory: &'a Memory,
    pub standing: &'a Standing,
    pub now: Moment,
}

pub(super) static NOT_READ: Sight = Sight { seen: Seen::Unknown(WhyUnseen::NotRead), at: Duration::ZERO };
pub(super) static NO_TRACK: Track = Track {
    applied: false,
    expected: None,
    elsewhere: None,
    gone: false,
    watched: false,
    retakes: 0,
    last_retake: None,
};

impl Planner<'_> {
    /// Asks for a new look, because the last read of the record is too old to act on. If the record could not be read,
    /// the loop tries again by itself.
    pub fn look_again(&self, look_at: &mut Option<Moment>) {
        if matches!(self.observed.claims, Claims::Read { .. }) {
            sooner(look_at, self.now);
        }
    }

    /// A binding that is as this node needs it.
    pub fn in_place(&self, binding: &Binding) -> Verdict {
        let (preposition, place) = match binding {
            Binding::ElasticIp { eni, private_ip, .. } => ("at", format!("{eni} {private_ip}")),
            Binding::Route { eni, .. } => ("at", eni.to_string()),
            Binding::SecondaryIp { eni, .. } => ("on", eni.to_string()),
            Binding::LocalAddress { interface, address, .. } => {
                local::place(interface, self.observed.local.get(address))
            }
            Binding::SourceDestCheck { eni } => ("off on", eni.to_string()),
        };
        say(State::InSync, Why::PointsHere { preposition, place })
    }

    /// Whether the kernel does not answer for a local address that an interface has.
    pub fn is_silent(&self, binding: &Binding) -> bool {
        let Binding::LocalAddress { address, .. } = binding else { return false };
        self.observed.local.get(address).is_some_and(local::is_silent)
    }

    /// The binding that must point here before `binding` can; `None` if there is no such binding, or if it points here
    /// already.
    pub fn waits_for<'b>(&self, binding: &'b Binding) -> Option<&'b BindingKey> {
        let Binding::ElasticIp { after: Some(first), .. } = binding else { return None };
        let sight = self.observed.sights.get(first).unwrap_or(&NOT_READ);
        let track = self.memory.tracks.get(first).unwrap_or(&NO_TRACK);
        (!matches!(track.believe(sight), Seen::Here { .. })).then_some(first)
    }
}

/// A binding of a node that does not lead, which is not seen here.
pub(super) fn not_here(seen: &Seen) -> Verdict {
    match seen {
        Seen::Elsewhere(holder) => say(State::InSync, Why::PointsElsewhere { holder: holder.to_string() }),
        Seen::Absent | Seen::Here { .. } => say(State::InSync, Why::NotHere),
        Seen::Unknown(why) => say(State::Unknown, Why::Unseen(why.clone())),
    }
}

/// The action that points a binding at this node.
pub(super) fn point_here(binding: &Binding, seen: &Seen, force: Force) -> Action {
    match binding {
        Binding::ElasticIp { allocation, eni, private_ip, .. } => Action::AssociateAddress {
            allocation: allocation.clone(),
            eni: eni.clone(),
            private_ip: *private_ip,
            force,
        },
        Binding::Route { account, table, destination, eni, .. } => Action::PointRoute {
            account: account.clone(),
            table: table.clone(),
            destination: *destination,
            eni: eni.clone(),
            call: match (force, seen) {
                (Force::IfFree, _) => RouteCall::CreateOnly,
                (Force::Take, Seen::Absent) => RouteCall::CreateElseReplace,
                // A route usually stays once it was made. If the state of the route is unknown, replacing it is the
                // better guess.
                (Force::Take, _) => RouteCall::ReplaceElseCreate,
            },
        },
        Binding::SecondaryIp { eni, address } => Action::AssignAddress { eni: eni.clone(), address: *address, force },
        Binding::LocalAddress { interface, address, .. } => {
            Action::AddLocalAddress { interface: interface.clone(), address: *address }
        }
        Binding::SourceDestCheck { eni } => Action::DisableSourceDestCheck { eni: eni.clone() },
    }
}

/// Brings the next look forward to `at`, if it was to come later.
pub(super) fn sooner(look_at: &mut Option<Moment>, at: Moment) {
    *look_at = Some(look_at.map_or(at, |before| before.min(at)));
}
