//! `status.json` is replaced as a whole: a reader sees the old status or the new one, never half of one.

use std::io;
use std::path::{Path, PathBuf};

use super::{Status, VERSION};
use crate::error::one_line;
use crate::machine::whole_file::{self, PlainError};

const NAME: &str = "status.json";
/// The largest file that is read. The status of a hundred VIPs with fifty tables each is a tenth of this.
const MAX_BYTES: u64 = 16 << 20;

/// Why the status could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}: the daemon goes on, but `vipkeeper status` and `vipkeeper wait` show old news",
    path = .path.display())]
pub struct StatusWriteError {
    path: PathBuf,
    source: io::Error,
}

/// Why the status could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("there is no {}: the daemon has not run since the machine started, or with another state_dir", .0.display())]
    Missing(PathBuf),
    #[error("{} may not be read by this user", .0.display())]
    NotPermitted(PathBuf),
    #[error("{} cannot be used: {}", path.display(), one_line(source))]
    Unusable { path: PathBuf, source: PlainError },
    #[error("{} is no status: {source}", path.display())]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("{} has version {found}, this program reads {VERSION}: they come from different releases", path.display())]
    Version { path: PathBuf, found: u64 },
}

/// The file in a daemon's state folder.
#[derive(Debug)]
pub struct StatusFile {
    path: PathBuf,
}

impl StatusFile {
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join(NAME) }
    }

    /// Writes the status. The file is not synced, because the folder is in memory, and a status from before a crash is
    /// worth nothing.
    ///
    /// # Errors
    /// The file system's error. The old file is untouched then.
    pub fn write(&self, status: &Status) -> Result<(), StatusWriteError> {
        let written = serde_json::to_vec_pretty(status).map_err(io::Error::from).and_then(|mut text| {
            text.push(b'\n');
            whole_file::replace(&self.path, &text)
        });
        written.map_err(|source| StatusWriteError { path: self.path.clone(), source })
    }
}

/// Reads the newest status from the state folder.
///
/// # Errors
/// Why the status could not be read; [`ReadError::Missing`] when no daemon has written one.
pub fn read(state_dir: &Path) -> Result<Status, ReadError> {
    let path = state_dir.join(NAME);
    let text = match whole_file::read(&path, MAX_BYTES) {
        Ok(Some(file)) => file.bytes,
        Ok(None) => return Err(ReadError::Missing(path)),
        Err(PlainError::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(ReadError::NotPermitted(path));
        }
        Err(source) => return Err(ReadError::Unusable { path, source }),
    };
    // The version is checked first, because a document of another format may parse and mean something else.
    let document: serde_json::Value = match serde_json::from_slice(&text) {
        Ok(document) => document,
        Err(source) => return Err(ReadError::Malformed { path, source }),
    };
    match document.get("version").and_then(serde_json::Value::as_u64) {
        Some(found) if found != u64::from(VERSION) => Err(ReadError::Version { path, found }),
        _ => serde_json::from_value(document).map_err(|source| ReadError::Malformed { path, source }),
    }
}
