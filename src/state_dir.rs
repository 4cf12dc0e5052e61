//! This machine but for its kernel's addresses, as a trait: desired-state files, what is persisted, guards, the clock.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::decide::memory::Persisted;
use crate::desired::source::Reading;

pub mod files;
mod reserve;

/// This machine. All calls are local and quick.
pub trait Machine {
    /// Reads the VIP's desired-state file afresh, and has its guard watched from now on.
    fn desired(&mut self, vip: IpAddr) -> Reading;
    /// Forgets all VIPs but these: their files were the last to be read, and nobody watches their guards any more.
    fn keep_only(&mut self, vips: &BTreeSet<IpAddr>);
    /// What an earlier daemon persisted, if it can be read.
    fn load(&self, vip: IpAddr) -> Option<Persisted>;
    /// Persists what must survive a restart.
    ///
    /// # Errors
    /// One line that says what could not be written.
    fn save(&self, vip: IpAddr, persisted: &Persisted) -> Result<(), String>;
    /// Keeps a little room for hooks that find the state folder's file system full, if it is not kept already.
    ///
    /// # Errors
    /// One line that says why there is none.
    fn keep_room(&mut self) -> Result<(), String>;
    /// A hook writes: leaves what is kept to it if it needs that. Says whether it was left.
    fn make_room(&mut self) -> bool;
    /// The wall clock: milliseconds since the Unix epoch.
    fn wall_ms(&self) -> u64;
}
