//! The local address of a VIP: the forms in which the kernel has it, and which of them a standby removes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::verdict::{State, Verdict, act, say};
use super::why::Why;
use crate::action::{Action, Purpose};
use crate::binding::{Connections, LocalAddress};
use crate::machine::kernel::Presence;

/// A local address that the kernel answers for while this node does not lead. Everything that can go goes at once;
/// what is left then is this node's to tell, because people must remove it. Where the last look is older than this
/// node's own change, the address is as this node adds it.
pub(super) fn release(
    interface: &str,
    address: IpAddr,
    connections: Connections,
    presence: Option<&Presence>,
) -> Verdict {
    let none = Presence::default();
    let Presence { entries, route } = presence.unwrap_or(&none);
    let go: BTreeSet<_> = entries.iter().filter(|(_, state)| state.kept.is_none()).map(|(it, _)| it.clone()).collect();
    let remove = |entries| {
        let action = Action::RemoveLocalAddress { address, entries, connections };
        act(State::Waiting, Why::Releasing, Purpose::Release, action)
    };
    let kept = entries.iter().find_map(|(entry, state)| Some((entry, state.kept.as_ref()?)));
    match (kept, route) {
        _ if !go.is_empty() => remove(go),
        (Some((entry, why)), _) => say(State::Blocked, Why::LocalKept { entry: entry.clone(), why: why.clone() }),
        (None, Some(route)) => say(State::Blocked, Why::LocalRoute { route: route.clone() }),
        (None, None) => remove(BTreeSet::from([LocalAddress::single(interface, address)])),
    }
}

/// Whether an interface has the address, and the kernel does not answer for it.
pub(super) fn is_silent(presence: &Presence) -> bool {
    !presence.entries.is_empty() && presence.entries.values().all(|state| state.silent)
}

/// The place of an address that the kernel answers for, as an operator finds it, after its preposition.
pub(super) fn place(interface: &str, presence: Option<&Presence>) -> (&'static str, String) {
    let usual = || ("on", interface.to_owned());
    let Some(Presence { entries, route }) = presence else { return usual() };
    let as_added = |entry: &&LocalAddress| entry.is_single() && entry.interface == interface;
    match (entries.keys().find(as_added).or_else(|| entries.keys().next()), route) {
        (Some(entry), _) if as_added(&entry) => usual(),
        (Some(entry), _) => ("as", entry.to_string()),
        (None, Some(route)) => ("by", format!("the route {route}")),
        (None, None) => usual(),
    }
}
