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
    /// Ends the TCP connections whose local address is `_address`, so that their peers are told while the address is
    /// still there. Returns the number of ended connections. Listening sockets and other addresses are left alone. A
    /// kernel in memory has no connections.
    ///
    /// # Errors
    /// No CAP_NET_ADMIN, a kernel without CONFIG_INET_DIAG_DESTROY, or more connections than the time suffices for.
    async fn reset_connections(&self, _address: IpAddr) -> Result<u32, KernelError> {
        Ok(0)
    }
    /// Removes the address. An address that is already gone counts as success if the interface exists.
    ///
    /// # Errors
    /// The errors of [`Kernel::add`].
    async fn remove(&self, address: &LocalAddress) -> Result<(), KernelError>;
}
