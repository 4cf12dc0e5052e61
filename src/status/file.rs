//! `status.json`: replaced whole, so that a reader sees one status or the next, never half of one.

use std::io;
use std::path::{Path, PathBuf};

use super::{Status, VERSION};
use crate::error::one_line;
use crate::plain::{self, PlainError};

const NAME: &str = "status.json";
/// A status of a hundred VIPs with fifty tables each is a tenth of this.
const MAX_BYTES: u64 = 16 << 20;
/// How much older than the newest status the file may become when nothing changed, in milliseconds.
const REFRESH_MS: u64 = 4_000;

/// Why the status could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}: the daemon goes on, but `vipkeeper status` and `vipkeeper wait` show old news",
    path = .path.display())]
pub struct WriteError {
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

/// The file in a daemon's state folder, and what is in it.
#[derive(Debug)]
pub struct StatusFile {
    path: PathBuf,
    written: Option<Status>,
}

impl StatusFile {
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join(NAME), written: None }
    }

    /// Writes the status if it says something new, or if the file is getting old. Not synced: the folder is in memory,
    /// and a status from before a crash is worth nothing.
    ///
    /// # Errors
    /// What the file system says. The old file is untouched then, and the next call tries again.
    pub fn write(&mut self, status: &Status) -> Result<(), WriteError> {
        if self.written.as_ref().is_some_and(|written| says_the_same(written, status)) {
            return Ok(());
        }
        let written = serde_json::to_vec_pretty(status).map_err(io::Error::from).and_then(|mut text| {
            text.push(b'\n');
            plain::replace(&self.path, &text)
        });
        written.map_err(|source| WriteError { path: self.path.clone(), source })?;
        self.written = Some(status.clone());
        Ok(())
    }
}

fn says_the_same(written: &Status, status: &Status) -> bool {
    let age = status.written_ms.abs_diff(written.written_ms);
    age < REFRESH_MS && Status { written_ms: written.written_ms, ..status.clone() } == *written
}

/// Reads the newest status from the state folder.
///
/// # Errors
/// Why it could not; [`ReadError::Missing`] when no daemon has written one.
pub fn read(state_dir: &Path) -> Result<Status, ReadError> {
    let path = state_dir.join(NAME);
    let text = match plain::read(&path, MAX_BYTES) {
        Ok(Some(file)) => file.bytes,
        Ok(None) => return Err(ReadError::Missing(path)),
        Err(PlainError::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(ReadError::NotPermitted(path));
        }
        Err(source) => return Err(ReadError::Unusable { path, source }),
    };
    // The version first: a document of another format may parse and mean something else.
    let document: serde_json::Value = match serde_json::from_slice(&text) {
        Ok(document) => document,
        Err(source) => return Err(ReadError::Malformed { path, source }),
    };
    match document.get("version").and_then(serde_json::Value::as_u64) {
        Some(found) if found != u64::from(VERSION) => Err(ReadError::Version { path, found }),
        _ => serde_json::from_value(document).map_err(|source| ReadError::Malformed { path, source }),
    }
}
