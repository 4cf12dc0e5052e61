//! This machine as a trait, without the kernel's addresses: desired-state files, persisted claims, guards, the clocks.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::decide::memory::Persisted;
use crate::desired::hold::InForce;
use crate::desired::source::Reading;
use crate::machine::clock::Discipline;
use crate::observe::seen::Now;

pub mod files;
mod reserve;

/// This machine. All calls are local and quick.
pub trait Machine {
    /// Reads the VIP's desired-state file afresh. From then on the guard that the file names is watched.
    fn desired(&mut self, vip: IpAddr) -> Reading;
    /// The hold over the VIP that has not ended; `None` if there is none.
    ///
    /// # Errors
    /// One line that says why the hold that is there does not count.
    fn hold(&self, vip: IpAddr) -> Result<Option<InForce>, String>;
    /// Forgets all VIPs but these. The files of a forgotten VIP are not read any more, and its guard is not watched any
    /// more.
    fn keep_only(&mut self, vips: &BTreeSet<IpAddr>);
    /// The state of one VIP that an earlier daemon persisted; `None` if there is none or it cannot be read.
    fn load(&self, vip: IpAddr) -> Option<Persisted>;
    /// Persists the state of one VIP that must survive a restart.
    ///
    /// # Errors
    /// One line that says what could not be written.
    fn save(&self, vip: IpAddr, persisted: &Persisted) -> Result<(), String>;
    /// Keeps a little room for hooks that find the state folder's file system full. Does nothing if the room is kept
    /// already.
    ///
    /// # Errors
    /// One line that says why there is no room.
    fn keep_room(&mut self) -> Result<(), String>;
    /// Leaves the kept room to a hook that writes, if next to nothing else is free. Returns whether the room was left.
    fn make_room(&mut self) -> bool;
    /// The kernel's own judgement of its wall clock; `None` if the kernel may not be asked.
    fn clock_discipline(&self) -> Option<Discipline>;
    /// The present moment, by the clock since boot and by the wall clock.
    fn now(&self) -> Now;
}
