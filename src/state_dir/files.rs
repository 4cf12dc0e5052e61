//! The real machine: desired-state files, guards watched by pidfd, and the state that is persisted under the state
//! folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Machine;
use super::reserve::Reserve;
use crate::decide::memory::{PERSISTED_VERSION, Persisted};
use crate::desired::file::DesiredFile;
use crate::desired::hold::{self, InForce};
use crate::desired::source::{DesiredSource, Reading};
use crate::error::one_line;
use crate::machine::clock::{self, Clocks, Discipline};
use crate::machine::process;
use crate::machine::trust::SharedOwners;
use crate::machine::whole_file;
use crate::observe::seen::Now;
use crate::wake::GuardWatch;

/// The state folder of this machine, and the processes that its files name.
#[derive(Debug)]
pub struct Files {
    state_dir: PathBuf,
    boot_id: String,
    trusted: SharedOwners,
    sources: BTreeMap<IpAddr, DesiredSource>,
    guards: Option<GuardWatch>,
    reserve: Reserve,
}

impl Files {
    /// `guards` is `None` for a single look, as in `plan`: then nothing is watched.
    ///
    /// # Errors
    /// Fails when the kernel's boot id cannot be read: without the boot id, a file of an earlier boot could not be
    /// recognized.
    pub fn new(state_dir: &Path, trusted: impl Into<SharedOwners>, guards: Option<GuardWatch>) -> io::Result<Self> {
        let boot_id = clock::boot_id()?;
        Ok(Self {
            state_dir: state_dir.to_owned(),
            boot_id,
            trusted: trusted.into(),
            sources: BTreeMap::new(),
            guards,
            reserve: Reserve::new(state_dir),
        })
    }

    /// The path of the mark of the newest desired-state file that was read. By this mark, an older desired-state file
    /// that is put back after a restart is ignored.
    fn newest_path(&self, vip: IpAddr) -> PathBuf {
        self.state_dir.join("newest").join(format!("{vip}.json"))
    }

    fn claim_path(&self, vip: IpAddr) -> PathBuf {
        self.state_dir.join("claims").join(format!("{vip}.json"))
    }
}

/// The content of a claim's file.
#[derive(Debug, Serialize, Deserialize)]
struct Stored<P> {
    /// The boot in which the file was written. In any other boot, its times since boot mean nothing, and neither does a
    /// dispute with a watchdog of that boot. `None` in files of older programs: of these, the time of the last write tells.
    #[serde(default)]
    boot_id: Option<String>,
    #[serde(flatten)]
    persisted: P,
}

/// Whether the file was written since this boot, by the wall clock.
fn was_written_since_boot(path: &Path) -> bool {
    let written = fs::metadata(path).and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| written > Clocks::now().booted_at())
}

/// Replaces a file, and makes its folder if need be.
fn replace_in_folder(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    whole_file::replace(path, bytes)
}

impl Machine for Files {
    fn desired(&mut self, vip: IpAddr) -> Reading {
        let newest_path = self.newest_path(vip);
        let source = self.sources.entry(vip).or_insert_with(|| {
            // A mark that cannot be read counts as no mark. Then the first file counts, whatever its age.
            let newest = fs::read(&newest_path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            DesiredSource::new(&self.state_dir, vip, newest)
        });
        let newest_before = source.newest().cloned();
        let reading = source.read(&self.trusted.get(), &self.boot_id, process::is_alive);
        // A single look, as in `plan`, writes nothing.
        if let (Some(newest), true) = (source.newest(), self.guards.is_some())
            && newest_before.as_ref() != Some(newest)
            && let Ok(bytes) = serde_json::to_vec(newest)
        {
            // The error is dropped: an obstacle to writing the mark is also an obstacle to writing the claim, and is
            // reported there.
            let _ = replace_in_folder(&newest_path, &bytes);
        }
        if let Some(guards) = &mut self.guards {
            match reading.in_force.as_ref().and_then(DesiredFile::guard) {
                Some(guard) => guards.watch(vip, guard),
                None => guards.forget(vip),
            }
        }
        reading
    }

    fn hold(&self, vip: IpAddr) -> Result<Option<InForce>, String> {
        let file = hold::read(&self.state_dir, vip, &self.trusted.get()).map_err(|error| one_line(&error))?;
        Ok(file.and_then(|file| file.in_force(&self.boot_id, Clocks::now())))
    }

    fn keep_only(&mut self, vips: &BTreeSet<IpAddr>) {
        self.sources.retain(|vip, _| vips.contains(vip));
        if let Some(guards) = &mut self.guards {
            guards.keep_only(vips);
        }
    }

    fn load(&self, vip: IpAddr) -> Option<Persisted> {
        let path = self.claim_path(vip);
        let bytes = fs::read(&path).ok()?;
        let Stored::<Persisted> { boot_id, persisted } = serde_json::from_slice(&bytes).ok()?;
        let is_of_this_boot = match boot_id {
            Some(boot_id) => boot_id == self.boot_id,
            None => was_written_since_boot(&path),
        };
        (is_of_this_boot && persisted.version == PERSISTED_VERSION).then_some(persisted)
    }

    fn save(&self, vip: IpAddr, persisted: &Persisted) -> Result<(), String> {
        let path = self.claim_path(vip);
        let stored = Stored { boot_id: Some(self.boot_id.clone()), persisted };
        let write = || replace_in_folder(&path, &serde_json::to_vec_pretty(&stored)?);
        write().map_err(|error: io::Error| format!("cannot write {}: {error}", path.display()))
    }

    fn keep_room(&mut self) -> Result<(), String> {
        self.reserve.keep()
    }

    fn make_room(&mut self) -> bool {
        self.reserve.leave()
    }

    fn clock_discipline(&self) -> Option<Discipline> {
        clock::discipline()
    }

    fn now(&self) -> Now {
        let clocks = Clocks::now();
        Now { at: clocks.since_boot(), wall_ms: clocks.wall_ms }
    }
}
