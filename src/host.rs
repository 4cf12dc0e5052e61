//! The node's own kernel, as a trait: which local addresses it has, and changing them.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// One address on one interface. Host prefixes only (/32, /128) are ours; others of the same address are left alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalAddress {
    pub interface: String,
    pub address: IpAddr,
}

/// A change or a look at the kernel's addresses that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("no interface {0}")]
    NoInterface(String),
    #[error("changing local addresses needs CAP_NET_ADMIN")]
    NotPermitted,
    #[error("{doing}: {message}")]
    Kernel { doing: String, message: String },
}

/// The kernel's addresses.
#[expect(async_fn_in_trait, reason = "the loop runs on one thread, and no caller needs the futures to be Send")]
pub trait Host {
    /// All host-prefix addresses of all interfaces, in one dump.
    ///
    /// # Errors
    /// When the kernel does not answer.
    async fn addresses(&self) -> Result<BTreeSet<LocalAddress>, HostError>;
    /// Adds it; there already is success.
    ///
    /// # Errors
    /// No such interface, no CAP_NET_ADMIN, or what the kernel says.
    async fn add(&self, address: &LocalAddress) -> Result<(), HostError>;
    /// Removes it; gone already is success.
    ///
    /// # Errors
    /// As for `add`.
    async fn remove(&self, address: &LocalAddress) -> Result<(), HostError>;
}
