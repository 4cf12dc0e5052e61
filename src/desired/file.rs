//! The desired-state file `<state_dir>/desired/<delegate-ip>.json`: its format, and its reading with the checks that
//! decide whether the file counts. This module does not write the file, and it keeps nothing between two reads.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Claim, Desired, WhyStandby};
use crate::ids::ClaimId;
use crate::machine::clock::boot_ms_at_tick;
use crate::machine::process::Process;
use crate::machine::trust::TrustedOwners;
use crate::machine::whole_file::{self, PlainError};

/// The version of the file's format. The number grows when a reader of the old format would be misled. A new field
/// alone does not change the number.
pub const VERSION: u32 = 1;
/// The longest file that is read, in bytes.
pub const MAX_BYTES: u64 = 64 * 1024;

/// The content of the file, as one hook wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredFile {
    pub version: u32,
    pub delegate_ip: IpAddr,
    /// The number of the file in the order of the VIP's files. It grows with each write.
    pub sequence: u64,
    /// The time of the write, in milliseconds since the Unix epoch.
    pub written_ms: u64,
    /// The time of the write in nanoseconds since boot, suspended time included. `None` in files of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_boottime_ns: Option<u64>,
    /// The boot in which the file was written. In any other boot, the processes that the file names mean nothing.
    pub boot_id: String,
    /// The hook that wrote the file. Of two hooks that overlap, the one that started later wins.
    pub hook: Process,
    #[serde(flatten)]
    pub wanted: Wanted,
}

/// The role that the hook wants for the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Wanted {
    Leader(Leadership),
    Standby,
}

/// One leadership, from the `up` that began it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leadership {
    pub claim: ClaimId,
    /// The start of the hook that began the claim, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// The start of that hook in milliseconds since boot, suspended time included. `None` in files of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_boot_ms: Option<u64>,
    /// Pgpool's watchdog process. The leadership ends with this process. `None` if a person ran the hook by hand.
    pub guard: Option<Process>,
    /// The process that the watchdog forked for the escalation that began the claim.
    pub escalation: Option<Process>,
    /// The pid namespace in which `guard` and `escalation` have their ids, by its inode. `None` in files of older
    /// programs, which did not know of namespaces: the ids are then those of the daemon's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_namespace: Option<u64>,
}

impl DesiredFile {
    /// The time of the write as time since boot. The wall clock may step, so it orders nothing. A file of an older program
    /// counts from the start of its hook, which the kernel counts since boot.
    #[must_use]
    pub fn written_at(&self) -> Duration {
        let hooks_start = || Duration::from_millis(boot_ms_at_tick(self.hook.start_time));
        self.written_boottime_ns.map_or_else(hooks_start, Duration::from_nanos)
    }

    /// The role that the file asks for now. `is_alive` tells whether the guard lives.
    #[must_use]
    pub fn desired(&self, is_alive: impl Fn(&Process) -> bool) -> Desired {
        match &self.wanted {
            Wanted::Standby => Desired::Standby(WhyStandby::Down),
            Wanted::Leader(Leadership { guard: Some(guard), .. }) if !is_alive(guard) => {
                Desired::Standby(WhyStandby::GuardDead)
            }
            Wanted::Leader(leadership) => Desired::Leader(Claim {
                id: leadership.claim.clone(),
                started_ms: leadership.started_ms,
                started_at: leadership.started_boot_ms.map(Duration::from_millis),
            }),
        }
    }

    /// The guard's pid namespace, if that is another one than `own`.
    #[must_use]
    pub fn foreign_namespace(&self, own: Option<u64>) -> Option<u64> {
        match &self.wanted {
            Wanted::Leader(leadership) => {
                leadership.pid_namespace.filter(|theirs| own.is_some_and(|own| own != *theirs))
            }
            Wanted::Standby => None,
        }
    }

    /// Replaces the guard. A file that asks for standby has no guard and stays as it is.
    #[must_use]
    pub fn with_guard(mut self, guard: Option<Process>) -> Self {
        if let Wanted::Leader(leadership) = &mut self.wanted {
            leadership.guard = guard;
        }
        self
    }

    /// The process whose end also ends the leadership that the file asks for.
    #[must_use]
    pub fn guard(&self) -> Option<Process> {
        match &self.wanted {
            Wanted::Leader(leadership) => leadership.guard,
            Wanted::Standby => None,
        }
    }
}

/// A file that does not count, and the reason.
#[derive(Debug, thiserror::Error)]
#[error("{} is not used", path.display())]
pub struct DesiredFileError {
    pub path: PathBuf,
    #[source]
    pub reason: Distrust,
}

/// Why a file does not count.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    #[error(transparent)]
    Plain(#[from] PlainError),
    #[error("its owner, uid {0}, is neither root nor a hook user")]
    Owner(u32),
    #[error("others than its owner may write it (mode {0:04o})")]
    Writable(u32),
    #[error("it is no desired-state file: {0}")]
    Format(serde_json::Error),
    #[error("its format is version {0}; this program knows version {VERSION}")]
    Version(u32),
    #[error("it is about {0}")]
    OtherIp(IpAddr),
    #[error("it was written before this boot")]
    OtherBoot,
    #[error("it is older than the one that was read before")]
    Outdated,
}

/// Reads the file if it counts: a trusted user wrote it, and in this boot. `None` if there is no file.
///
/// # Errors
/// The reason why the file does not count.
pub fn read(
    path: &Path,
    delegate_ip: IpAddr,
    trusted: &TrustedOwners,
    boot_id: &str,
) -> Result<Option<DesiredFile>, DesiredFileError> {
    match read_of_any_boot(path, delegate_ip, trusted)? {
        Some(file) if file.boot_id != boot_id => {
            Err(DesiredFileError { path: path.to_owned(), reason: Distrust::OtherBoot })
        }
        file => Ok(file),
    }
}

/// Reads the file like [`read`], but accepts a file of any boot.
///
/// # Errors
/// The reason why the file does not count. The boot is no reason.
pub fn read_of_any_boot(
    path: &Path,
    delegate_ip: IpAddr,
    trusted: &TrustedOwners,
) -> Result<Option<DesiredFile>, DesiredFileError> {
    checked(path, delegate_ip, trusted).map_err(|reason| DesiredFileError { path: path.to_owned(), reason })
}

fn checked(path: &Path, delegate_ip: IpAddr, trusted: &TrustedOwners) -> Result<Option<DesiredFile>, Distrust> {
    let Some(plain) = whole_file::read(path, MAX_BYTES)? else { return Ok(None) };
    if !trusted.owns(plain.stat.st_uid) {
        return Err(Distrust::Owner(plain.stat.st_uid));
    }
    if plain.stat.st_mode & 0o022 != 0 {
        return Err(Distrust::Writable(plain.stat.st_mode & 0o7777));
    }
    let file = parse(&plain.bytes)?;
    if file.delegate_ip != delegate_ip {
        return Err(Distrust::OtherIp(file.delegate_ip));
    }
    Ok(Some(file))
}

/// Reads the version first, because nothing is known about the other fields of another version.
fn parse(bytes: &[u8]) -> Result<DesiredFile, Distrust> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = serde_json::from_slice(bytes).map_err(Distrust::Format)?;
    if version != VERSION {
        return Err(Distrust::Version(version));
    }
    serde_json::from_slice(bytes).map_err(Distrust::Format)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(wanted: Wanted) -> DesiredFile {
        DesiredFile {
            version: VERSION,
            delegate_ip: "20.0.0.50".parse().unwrap(),
            sequence: 7,
            written_ms: 1_700_000_000_123,
            written_boottime_ns: None,
            boot_id: "b".to_owned(),
            hook: Process { pid: 4, start_time: 5 },
            wanted,
        }
    }

    fn leader(guard: Option<Process>) -> DesiredFile {
        file(Wanted::Leader(Leadership {
            claim: ClaimId::new("c"),
            started_ms: 1,
            started_boot_ms: None,
            guard,
            escalation: None,
            pid_namespace: None,
        }))
    }

    #[test]
    fn the_format_of_version_1_stays_readable() {
        let text = br#"{"version":1,"delegate_ip":"20.0.0.50","sequence":7,"written_ms":1700000000123,"boot_id":"b",
            "hook":{"pid":4,"start_time":5},"role":"leader","claim":"c","started_ms":1,"guard":{"pid":8,"start_time":9},
            "escalation":null,"a field of a later minor version":[]}"#;
        assert_eq!(parse(text).unwrap(), leader(Some(Process { pid: 8, start_time: 9 })));
        let text = br#"{"version":1,"delegate_ip":"20.0.0.50","sequence":7,"written_ms":1700000000123,"boot_id":"b",
            "hook":{"pid":4,"start_time":5},"role":"standby"}"#;
        assert_eq!(parse(text).unwrap(), file(Wanted::Standby));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for file in [leader(None), leader(Some(Process { pid: 8, start_time: u64::MAX })), file(Wanted::Standby)] {
            assert_eq!(parse(&serde_json::to_vec(&file).unwrap()).unwrap(), file);
        }
    }

    #[test]
    fn another_version_is_refused_by_its_number_whatever_else_it_says() {
        let error = parse(br#"{"version":2,"role":["leader"]}"#).unwrap_err();
        assert_eq!(error.to_string(), "its format is version 2; this program knows version 1");
        for text in ["", "{", "null", "[]", r#"{"role":"leader"}"#, r#"{"version":1,"role":"leader"}"#, "\0\0\0"] {
            assert!(matches!(parse(text.as_bytes()), Err(Distrust::Format(_))), "{text}");
        }
    }

    #[test]
    fn a_leader_whose_guard_died_stands_by_and_one_without_a_guard_leads_on() {
        let guard = Process { pid: 8, start_time: 9 };
        let claim = Desired::Leader(Claim { id: ClaimId::new("c"), started_ms: 1, started_at: None });
        assert_eq!(leader(Some(guard)).desired(|process| *process == guard), claim);
        assert_eq!(leader(Some(guard)).desired(|_| false), Desired::Standby(WhyStandby::GuardDead));
        assert_eq!(leader(None).desired(|_| false), claim);
        assert_eq!(file(Wanted::Standby).desired(|_| true), Desired::Standby(WhyStandby::Down));
    }
}
