//! The node's own kernel as a trait: the addresses for which it accepts packets, and changes to its local addresses.
//!
//! [`super::netlink`] talks to the real kernel. The demo and simulated nodes have a kernel that exists in memory only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

pub use crate::binding::LocalAddress;

/// The kernel's answer to the question whether it would accept packets for some addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalView {
    /// Every address that was asked for, and no other.
    pub of: BTreeMap<IpAddr, Presence>,
    /// The addresses that vipkeeper once added, on any interface, and that were not asked for.
    pub left_behind: BTreeSet<LocalAddress>,
    /// The first names of all interfaces of this machine. The set is empty if they were not told: a machine has one at least.
    pub interfaces: BTreeSet<String>,
}

/// The first names of all network interfaces that this process can see; none if they cannot be listed.
#[must_use]
pub fn interfaces() -> BTreeSet<String> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Everything that makes the kernel accept packets for one address. If nothing does, both fields are empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Presence {
    /// The address on its interfaces, with any prefix length, whoever added it.
    pub entries: BTreeMap<LocalAddress, EntryState>,
    /// A route to this machine itself, as `ip route` names it, like `local 10.0.0.0/24 dev lo`. Only an
    /// address that is on no interface has one.
    pub route: Option<String>,
}

/// The state of one address on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EntryState {
    /// IPv6's duplicate address detection failed or is under way, and the kernel does not accept packets for the
    /// address.
    pub silent: bool,
    /// Why the address must not be removed by a program, as a clause: the kernel would remove something else together
    /// with it. `None` if nothing stands in the way.
    pub kept: Option<String>,
}

impl Presence {
    /// The address as these interfaces have it, with nothing in the way of its removal.
    #[must_use]
    pub fn of_entries(entries: impl IntoIterator<Item = LocalAddress>) -> Self {
        Self { entries: entries.into_iter().map(|entry| (entry, EntryState::default())).collect(), route: None }
    }
}

/// A failed change to the kernel's addresses, or a failed look at them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    #[error("no interface {0}")]
    NoInterface(String),
    #[error("changing local addresses needs CAP_NET_ADMIN")]
    NotPermitted,
    /// The kernel has not answered. A change may still happen afterwards, and only the next look can tell.
    #[error("{doing}: the kernel has not answered within {}", humantime::format_duration(*.after))]
    NoAnswer { doing: String, after: Duration },
    #[error("{doing}: {message}")]
    Kernel { doing: String, message: String },
}

/// The outcome of a reset of an address's connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reset {
    /// The number of connections that were ended and whose peers were told.
    pub ended: u32,
    /// Why connections may be left; `None` if none is.
    pub left: Option<Left>,
}

/// The reason why connections of an address were left alone, or may be left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Left {
    /// The machine has the address in another place too, so the address does not go, and its connections live on.
    #[error("the node keeps the address as {0}")]
    Kept(String),
    #[error(transparent)]
    Failed(KernelError),
}

/// The kernel, as far as local addresses go.
#[expect(async_fn_in_trait, reason = "the loop runs on one thread, and no caller needs the futures to be Send")]
pub trait Kernel {
    /// Everything that makes the kernel accept packets for these addresses. The answer is complete, or the call fails:
    /// the kernel did not accept packets for an address whose presence is empty.
    ///
    /// # Errors
    /// The kernel does not answer, or does not give the whole list of its addresses.
    async fn look(&self, addresses: &BTreeSet<IpAddr>) -> Result<LocalView, KernelError>;
    /// Adds the address. An address that is already there counts as success; if duplicate address detection keeps it
    /// silent, it is added anew.
    ///
    /// # Errors
    /// No such interface, no CAP_NET_ADMIN, no answer, or what the kernel says.
    async fn add(&self, address: &LocalAddress) -> Result<(), KernelError>;
    /// Ends the TCP connections whose local address is `_address`, so that their peers are told while the address is
    /// still there. Listening sockets and other addresses are left alone, and so is an address that the machine keeps
    /// in another form after everything in `_going` has gone. Connections are also left without CAP_NET_ADMIN, by a kernel without
    /// CONFIG_INET_DIAG_DESTROY, and where there are more than the time suffices for. A kernel in memory has no
    /// connections.
    async fn reset_connections(&self, _address: IpAddr, _going: &BTreeSet<LocalAddress>) -> Reset {
        Reset::default()
    }
    /// Removes the address with this prefix length. An address that is already gone counts as success if the interface
    /// exists.
    ///
    /// # Errors
    /// The errors of [`Kernel::add`].
    async fn remove(&self, address: &LocalAddress) -> Result<(), KernelError>;
}
