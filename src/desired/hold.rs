//! The hold: a file `<state_dir>/desired/<delegate-ip>.hold` by which an operator keeps this node from changing anything
//! about a VIP for a time. Whoever may write the hooks' files may write this file. It outlives a restart of the daemon,
//! and ends by itself, by the clock that never steps; a reboot ends it too.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::file::{DesiredFileError, Distrust, MAX_BYTES, VERSION};
use crate::machine::clock::Clocks;
use crate::machine::trust::TrustedOwners;
use crate::machine::whole_file;
use crate::shown::moment;

/// The ending of a hold's file name.
pub const ENDING: &str = ".hold";

/// The longest hold. A longer one would be forgotten. A file that says more, by whomever it was written, ends with it.
pub const LONGEST_HOLD: Duration = Duration::from_hours(7 * 24);

/// The changes that a hold keeps this node from making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Everything but the release that a `down` or the guard's death asks for after the hold began.
    ExceptRelease,
    /// Everything.
    Everything,
}

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldFile {
    version: u32,
    delegate_ip: IpAddr,
    /// The boot in which the hold was set. In any other boot the hold has ended.
    boot_id: String,
    /// When the hold was set, in nanoseconds since boot.
    set_boottime_ns: u64,
    /// When the hold was set, in milliseconds since the Unix epoch; for people.
    set_ms: u64,
    for_ms: u64,
    extent: Extent,
}

/// A hold that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    /// The time until the hold ends by itself.
    pub left: Duration,
    /// When the hold was set, by the clock since boot.
    pub set_at: Duration,
    /// When the hold ends by itself, in milliseconds since the Unix epoch, by the wall clock of its beginning.
    pub until_ms: u64,
    pub extent: Extent,
}

impl HoldFile {
    /// A hold that begins now.
    #[must_use]
    pub fn new(delegate_ip: IpAddr, boot_id: String, now: Clocks, lasts: Duration, extent: Extent) -> Self {
        let for_ms = millis(lasts);
        let (set_boottime_ns, set_ms) = (now.boottime_ns, now.wall_ms);
        Self { version: VERSION, delegate_ip, boot_id, set_boottime_ns, set_ms, for_ms, extent }
    }

    fn lasts(&self) -> Duration {
        Duration::from_millis(self.for_ms).min(LONGEST_HOLD)
    }

    /// When the hold ends by itself, in milliseconds since the Unix epoch, by the wall clock of its beginning.
    #[must_use]
    pub fn until_ms(&self) -> u64 {
        self.set_ms.saturating_add(millis(self.lasts()))
    }

    /// The hold as it is now; `None` once it has ended.
    #[must_use]
    pub fn in_force(&self, boot_id: &str, now: Clocks) -> Option<InForce> {
        let set_at = Duration::from_nanos(self.set_boottime_ns);
        let passed = now.since_boot().saturating_sub(set_at);
        let left = self.lasts().checked_sub(passed).filter(|left| !left.is_zero())?;
        let until_ms = self.until_ms();
        (self.boot_id == boot_id).then_some(InForce { left, set_at, until_ms, extent: self.extent })
    }
}

impl InForce {
    /// When the hold ends by itself, as people read it.
    #[must_use]
    pub fn until(&self) -> String {
        shown(self.until_ms)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn shown(ms: u64) -> String {
    humantime::format_rfc3339_seconds(moment(ms)).to_string()
}

/// The path of a delegate IP's hold.
#[must_use]
pub fn path(state_dir: &Path, delegate_ip: IpAddr) -> PathBuf {
    super::folder(state_dir).join(format!("{delegate_ip}{ENDING}"))
}

/// Reads the file if it counts: a trusted user wrote it. `None` if there is no file.
///
/// # Errors
/// The reason why the file does not count.
pub fn read(
    state_dir: &Path,
    delegate_ip: IpAddr,
    trusted: &TrustedOwners,
) -> Result<Option<HoldFile>, DesiredFileError> {
    let path = path(state_dir, delegate_ip);
    checked(&path, delegate_ip, trusted).map_err(|reason| DesiredFileError { path, reason })
}

fn checked(path: &Path, delegate_ip: IpAddr, trusted: &TrustedOwners) -> Result<Option<HoldFile>, Distrust> {
    let Some(plain) = whole_file::read(path, MAX_BYTES)? else { return Ok(None) };
    if !trusted.owns(plain.stat.st_uid) {
        return Err(Distrust::Owner(plain.stat.st_uid));
    }
    if plain.stat.st_mode & 0o022 != 0 {
        return Err(Distrust::Writable(plain.stat.st_mode & 0o7777));
    }
    let file: HoldFile = serde_json::from_slice(&plain.bytes).map_err(Distrust::Format)?;
    if file.version != VERSION {
        return Err(Distrust::Version(file.version));
    }
    if file.delegate_ip == delegate_ip { Ok(Some(file)) } else { Err(Distrust::OtherIp(file.delegate_ip)) }
}

/// Writes the file, in place of a hold that is there already.
///
/// # Errors
/// The error of the file system. The old hold stays in force then.
pub fn write(state_dir: &Path, hold: &HoldFile) -> io::Result<()> {
    whole_file::replace(&path(state_dir, hold.delegate_ip), &serde_json::to_vec(hold)?)
}

/// Removes the file. Returns whether there was one.
///
/// # Errors
/// The error of the file system. The hold stays in force then.
pub fn remove(state_dir: &Path, delegate_ip: IpAddr) -> io::Result<bool> {
    match std::fs::remove_file(path(state_dir, delegate_ip)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
