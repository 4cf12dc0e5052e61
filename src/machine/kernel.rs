//! The node's own kernel, as a trait: which local addresses it has, and changing them.
//!
//! [`super::netlink`] is the kernel itself; the demo and simulated nodes have one that exists in memory only.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// One address on one interface. Kernel prefixes only (/32, /128) are ours; others of the same address are left alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalAddress {
    pub interface: String,
    pub address: IpAddr,
}

/// Shown as "10.0.1.50/32 on eth0".
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

/// A change or a look at the kernel's addresses that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    #[error("no interface {0}")]
    NoInterface(String),
    #[error("changing local addresses needs CAP_NET_ADMIN")]
    NotPermitted,
    /// The kernel has not answered. A change may still happen afterwards: only the next look can tell.
    #[error("{doing}: the kernel has not answered within {}", humantime::format_duration(*.after))]
    NoAnswer { doing: String, after: Duration },
    #[error("{doing}: {message}")]
    Kernel { doing: String, message: String },
}

/// The kernel's addresses.
#[expect(async_fn_in_trait, reason = "the loop runs on one thread, and no caller needs the futures to be Send")]
pub trait Kernel {
    /// All host-prefix addresses of all interfaces. It is whole or it is an error: an address that is not in it was
    /// not there.
    ///
    /// # Errors
    /// When the kernel does not answer, or not with the whole list.
    async fn addresses(&self) -> Result<BTreeSet<LocalAddress>, KernelError>;
    /// Adds it; there already is success.
    ///
    /// # Errors
    /// No such interface, no CAP_NET_ADMIN, no answer, or what the kernel says.
    async fn add(&self, address: &LocalAddress) -> Result<(), KernelError>;
    /// Ends the TCP connections whose local address this is, so that their peers are told while the address is still
    /// there. Says how many it ended; listening sockets and other addresses are left alone. A kernel in memory has no
    /// connections.
    ///
    /// # Errors
    /// No CAP_NET_ADMIN, a kernel without CONFIG_INET_DIAG_DESTROY, or more connections than the time suffices for.
    async fn reset_connections(&self, _address: IpAddr) -> Result<u32, KernelError> {
        Ok(0)
    }
    /// Removes it; gone already is success, on an interface that is there.
    ///
    /// # Errors
    /// As for `add`.
    async fn remove(&self, address: &LocalAddress) -> Result<(), KernelError>;
}
