//! What the daemon makes of one VIP's desired-state file, read after read: a file that doesn't count changes nothing,
//! and the last good one stays in force. A file that is gone says nothing any more.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::{self, DesiredFile, DesiredFileError, Distrust};
use super::{Desired, WhyStandby, WhyUnknown};
use crate::error::one_line;
use crate::machine::namespace::{self, Sighting};
use crate::machine::process::Process;
use crate::machine::trust::TrustedOwners;

/// The file of one VIP and the last one that counted.
#[derive(Debug)]
pub struct DesiredSource {
    delegate_ip: IpAddr,
    path: PathBuf,
    last_good: Option<DesiredFile>,
    /// Outlives its file: whoever may write the folder may put back what he moved away.
    newest: Option<Mark>,
    /// The guard of another pid namespace that was looked for last, and what was found.
    sighted: Option<((u64, Process), Sighting)>,
}

/// Where a file stands in the order of a VIP's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    boot_id: String,
    sequence: u64,
    hook: Process,
}

/// What one read came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub desired: Desired,
    /// The file that is in force: what `desired` comes from, and whose guard is to be watched. A guard that another pid
    /// namespace names has its id of this one here.
    pub in_force: Option<DesiredFile>,
    /// Whether the guard that a leader's file names lives; `None` if it names none, or one that cannot be seen here.
    pub guard_alive: Option<bool>,
    /// The file names a guard in a pid namespace that cannot be looked into: its end goes unnoticed.
    pub guard_unseen: bool,
    /// Why the file that is there now is not the one in force. A leftover of an earlier boot is nothing to complain
    /// about: it is expected where the state folder survives a reboot.
    pub invalid: Option<String>,
}

impl Mark {
    fn of(file: &DesiredFile) -> Self {
        Self { boot_id: file.boot_id.clone(), sequence: file.sequence, hook: file.hook }
    }

    /// Whether a file stands before this mark in both orders, by sequence and by the start of its hook. One of them alone
    /// may step back: a hook that finds no file to count on from starts the sequence with the wall clock, and a hook
    /// replaces a file whose hook starts in the future.
    fn is_newer_than(&self, file: &DesiredFile) -> bool {
        self.boot_id == file.boot_id && self.sequence > file.sequence && self.hook.started_after(&file.hook)
    }
}

impl DesiredSource {
    /// Nothing is read yet. `newest` is where the newest file stood that an earlier daemon read.
    #[must_use]
    pub fn new(state_dir: &Path, delegate_ip: IpAddr, newest: Option<Mark>) -> Self {
        let path = super::path(state_dir, delegate_ip);
        Self { delegate_ip, path, last_good: None, newest, sighted: None }
    }

    /// The file that is read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the newest file stands that was read.
    #[must_use]
    pub const fn newest(&self) -> Option<&Mark> {
        self.newest.as_ref()
    }

    /// Reads the file afresh. `is_alive` is asked about the guard.
    pub fn read(&mut self, trusted: &TrustedOwners, boot_id: &str, is_alive: impl Fn(&Process) -> bool) -> Reading {
        let (otherwise, invalid) = match self.read_newest(trusted, boot_id) {
            Ok(file) => {
                if let Some(file) = &file {
                    self.newest = Some(Mark::of(file));
                }
                self.last_good = file;
                (WhyUnknown::NoFile, None)
            }
            Err(error) => {
                let expired = matches!(error.reason, Distrust::OtherBoot);
                let invalid = (!expired || self.last_good.is_some()).then(|| one_line(&error));
                (if expired { WhyUnknown::OtherBoot } else { WhyUnknown::Invalid }, invalid)
            }
        };
        let (in_force, guard_unseen) = match self.last_good.clone() {
            Some(file) => self.as_seen_here(file),
            None => (None, false),
        };
        let desired = in_force.as_ref().map_or(Desired::Unknown(otherwise), |file| file.desired(is_alive));
        let guard = in_force.as_ref().and_then(DesiredFile::guard);
        let guard_alive = guard.map(|_| desired != Desired::Standby(WhyStandby::GuardDead));
        Reading { desired, in_force, guard_alive, guard_unseen, invalid }
    }

    /// The file, if no newer one was read before.
    fn read_newest(&self, trusted: &TrustedOwners, boot_id: &str) -> Result<Option<DesiredFile>, DesiredFileError> {
        let file = file::read(&self.path, self.delegate_ip, trusted, boot_id)?;
        match (&file, &self.newest) {
            (Some(file), Some(newest)) if newest.is_newer_than(file) => {
                Err(DesiredFileError { path: self.path.clone(), reason: Distrust::Outdated })
            }
            _ => Ok(file),
        }
    }

    /// The file with its guard as this pid namespace knows it, and whether that guard cannot be seen here. A leadership
    /// whose guard cannot be seen goes on without one: nothing may be given up because we cannot see.
    fn as_seen_here(&mut self, file: DesiredFile) -> (Option<DesiredFile>, bool) {
        let (Some(theirs), Some(guard)) = (file.foreign_namespace(namespace::own()), file.guard()) else {
            return (Some(file), false);
        };
        let sighting = match self.sighted {
            Some((sought, found)) if sought == (theirs, guard) => found,
            _ => namespace::sight(&guard),
        };
        self.sighted = Some(((theirs, guard), sighting));
        match sighting {
            Sighting::Here(here) => (Some(file.with_guard(Some(here))), false),
            // No process has this id.
            Sighting::Gone => (Some(file.with_guard(Some(Process { pid: 0, ..guard }))), false),
            Sighting::Unseen => (Some(file.with_guard(None)), true),
        }
    }
}
