//! The node's own kernel as a trait: the local addresses that it has, and changes to them.
//!
//! [`super::netlink`] talks to the real kernel. The demo and simulated nodes have a kernel that exists in memory only.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// One address on one interface. vipkeeper handles only addresses with a host prefix (/32, /128). An entry of the same
/// address with another prefix is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalAddress {
    pub interface: String,
    pub address: IpAddr,
}

/// The display form is "10.0.1.50/32 on eth0".
impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, address } = self;
        write!(f, "{address}/{} on {interface}", host_prefix(*address))
    }
}

/// The prefix length of a single address: 32 or 128 bits.
pub(crate) const fn host_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
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

/// The kernel's addresses.
#[expect(async_fn_in_trait, reason = "the loop runs on one thread, and no caller needs the futures to be Send")]
pub trait Kernel {
    /// All host-prefix addresses of all interfaces. The list is complete, or the call fails: an address that is missing
    /// from the list was not there.
    ///
    /// # Errors
    /// The kernel does not answer, or does not give the whole list.
    async fn addresses(&self) -> Result<BTreeSet<LocalAddress>, KernelError>;
    /// Adds the address. An address that is already there counts as success.
    ///
    /// # Errors
    /// No such interface, no CAP_NET_ADMIN, no answer, or what the kernel says.
    async fn add(&self, address: &LocalAddress) -> Result<(), KernelError>;
    /// Ends the TCP connections whose local address is that of `_going`, so that their peers are told while the address
    /// is still there. Listening sockets and other addresses are left alone, and so is an address that the machine has
    /// in another place too. Connections are also left without CAP_NET_ADMIN, by a kernel without
    /// CONFIG_INET_DIAG_DESTROY, and where there are more than the time suffices for. A kernel in memory has no
    /// connections.
    async fn reset_connections(&self, _going: &LocalAddress) -> Reset {
        Reset::default()
    }
    /// Removes the address. An address that is already gone counts as success if the interface exists.
    ///
    /// # Errors
    /// The errors of [`Kernel::add`].
    async fn remove(&self, address: &LocalAddress) -> Result<(), KernelError>;
}
