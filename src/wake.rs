//! What wakes the loop.

use std::net::IpAddr;

/// Why the loop should look now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wake {
    DesiredChanged,
    GuardDied(IpAddr),
    LocalAddress,
    Config,
    Shutdown,
}
