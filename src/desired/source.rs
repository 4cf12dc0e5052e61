//! What the daemon makes of one VIP's desired-state file, read after read: a file that doesn't count changes nothing,
//! and the last good one stays in force. A file that is gone says nothing any more.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::file::{self, DesiredFile, Distrust};
use super::{Desired, WhyStandby, WhyUnknown};
use crate::error::one_line;
use crate::machine::process::Process;
use crate::machine::trust::TrustedOwners;

/// The file of one VIP and the last one that counted.
#[derive(Debug)]
pub struct DesiredSource {
    delegate_ip: IpAddr,
    path: PathBuf,
    last_good: Option<DesiredFile>,
}

/// What one read came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub desired: Desired,
    /// The file that is in force: what `desired` comes from, and whose guard is to be watched.
    pub in_force: Option<DesiredFile>,
    /// Whether the guard that a leader's file names lives; `None` if it names none.
    pub guard_alive: Option<bool>,
    /// Why the file that is there now is not the one in force. A leftover of an earlier boot is nothing to complain
    /// about: it is expected where the state folder survives a reboot.
    pub invalid: Option<String>,
}

impl DesiredSource {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(state_dir: &Path, delegate_ip: IpAddr) -> Self {
        Self { delegate_ip, path: super::path(state_dir, delegate_ip), last_good: None }
    }

    /// The file that is read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file afresh. `is_alive` is asked about the guard.
    pub fn read(&mut self, trusted: &TrustedOwners, boot_id: &str, is_alive: impl Fn(&Process) -> bool) -> Reading {
        let (otherwise, invalid) = match file::read(&self.path, self.delegate_ip, trusted, boot_id) {
            Ok(file) => {
                self.last_good = file;
                (WhyUnknown::NoFile, None)
            }
            Err(error) => {
                let expired = matches!(error.reason, Distrust::OtherBoot);
                let invalid = (!expired || self.last_good.is_some()).then(|| one_line(&error));
                (if expired { WhyUnknown::OtherBoot } else { WhyUnknown::Invalid }, invalid)
            }
        };
        let in_force = self.last_good.clone();
        let desired = in_force.as_ref().map_or(Desired::Unknown(otherwise), |file| file.desired(is_alive));
        let guard = in_force.as_ref().and_then(DesiredFile::guard);
        let guard_alive = guard.map(|_| desired != Desired::Standby(WhyStandby::GuardDead));
        Reading { desired, in_force, guard_alive, invalid }
    }
}
