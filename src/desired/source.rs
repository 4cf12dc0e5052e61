//! One VIP's desired-state file as the daemon follows it, read after read. A file that does not count changes nothing:
//! the last good file stays in force. A file that is gone ends that, and nothing is known any more.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::{self, DesiredFile, DesiredFileError, Distrust};
use super::{Desired, WhyStandby, WhyUnknown};
use crate::error::one_line;
use crate::machine::namespace::{self, Sighting};
use crate::machine::process::Process;
use crate::machine::trust::TrustedOwners;

/// The file of one VIP, and the last content that counted.
#[derive(Debug)]
pub struct DesiredSource {
    delegate_ip: IpAddr,
    path: PathBuf,
    last_good: Option<DesiredFile>,
    /// The place of the newest file. It stays when the file is gone, because a user who may write to the folder may
    /// move a file away and later put the old file back.
    newest: Option<Mark>,
    /// The last guard of another pid namespace that the daemon looked for, and the result of the search.
    sighted: Option<((u64, Process), Sighting)>,
}

/// The place of one file in the order of a VIP's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    boot_id: String,
    sequence: u64,
    hook: Process,
}

/// The result of one read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub desired: Desired,
    /// The file that is in force. `desired` comes from this file, and the daemon watches the guard that it names. For a
    /// guard of another pid namespace, the file holds the guard's id in the daemon's own namespace.
    pub in_force: Option<DesiredFile>,
    /// Whether the guard that a leader's file names lives. `None` if the file names no guard, or a guard that cannot be
    /// seen here.
    pub guard_alive: Option<bool>,
    /// The file names a guard in a pid namespace that the daemon cannot look into, so the guard's end goes unnoticed.
    pub guard_unseen: bool,
    /// The reason why the present file is not the file in force. A file that an earlier boot left is no reason for a
    /// complaint: such a file is expected where the state folder survives a reboot.
    pub invalid: Option<String>,
}

impl Mark {
    fn of(file: &DesiredFile) -> Self {
        Self { boot_id: file.boot_id.clone(), sequence: file.sequence, hook: file.hook }
    }

    /// Whether the file stands before this mark in both orders: by sequence and by the start of its hook. One of the
    /// two may step back for good reason: a hook that finds no file to count on from starts the sequence with the wall
    /// clock, and a hook replaces a file whose own hook starts in the future.
    fn is_newer_than(&self, file: &DesiredFile) -> bool {
        self.boot_id == file.boot_id && self.sequence > file.sequence && self.hook.started_after(&file.hook)
    }
}

impl DesiredSource {
    /// Reads nothing yet. `newest` is the place of the newest file that an earlier daemon read.
    #[must_use]
    pub fn new(state_dir: &Path, delegate_ip: IpAddr, newest: Option<Mark>) -> Self {
        let path = super::path(state_dir, delegate_ip);
        Self { delegate_ip, path, last_good: None, newest, sighted: None }
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The place of the newest file that was read.
    #[must_use]
    pub const fn newest(&self) -> Option<&Mark> {
        self.newest.as_ref()
    }

    /// Reads the file afresh. `is_alive` tells whether the guard lives.
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

    /// Reads the file, and refuses a file that is older than one that was read before.
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
            // No process has the pid 0, so this guard counts as dead.
            Sighting::Gone => (Some(file.with_guard(Some(Process { pid: 0, ..guard }))), false),
            Sighting::Unseen => (Some(file.with_guard(None)), true),
        }
    }
}
