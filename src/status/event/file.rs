//! `events.json`: the newest events, across restarts. The file is replaced as a whole, and its size is bounded by the number
//! of events and by the length of their texts.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::NodeEvent;
use super::list::EventList;
use crate::machine::whole_file::{self, PlainError};

const NAME: &str = "events.json";
/// The largest file that is read. As many events as are kept, with the longest texts, escaped in full, are half of this.
const MAX_BYTES: u64 = 16 << 20;
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    boot: &'a str,
    events: &'a EventList,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    /// The kernel's name for the boot in which the file was written.
    boot: String,
    events: VecDeque<NodeEvent>,
}

/// Why the events could not be read.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    #[error("there is no {}: the daemon has not run since the machine started, or with another state_dir", .0.display())]
    Missing(PathBuf),
    #[error("{} may not be read by this user", .0.display())]
    NotPermitted(PathBuf),
    #[error("{} cannot be used", path.display())]
    Unusable { path: PathBuf, source: PlainError },
    #[error("{} holds no events", path.display())]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("{} has version {found}, this program reads {VERSION}: they come from different releases", path.display())]
    Version { path: PathBuf, found: u32 },
}

/// Reads the events in the state folder. `boot` is the kernel's name for the present boot.
///
/// # Errors
/// Why they could not be read; [`EventsError::Missing`] where no daemon has written any.
pub fn read(state_dir: &Path, boot: &str) -> Result<EventList, EventsError> {
    let path = state_dir.join(NAME);
    let bytes = match whole_file::read(&path, MAX_BYTES) {
        Ok(Some(file)) => file.bytes,
        Ok(None) => return Err(EventsError::Missing(path)),
        Err(PlainError::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(EventsError::NotPermitted(path));
        }
        Err(source) => return Err(EventsError::Unusable { path, source }),
    };
    let mut read: Read = match serde_json::from_slice(&bytes) {
        Ok(read) => read,
        Err(source) => return Err(EventsError::Malformed { path, source }),
    };
    if read.version != VERSION {
        return Err(EventsError::Version { path, found: read.version });
    }
    if read.boot != boot {
        read.events.iter_mut().for_each(|event| event.boot_ms = None);
    }
    Ok(EventList::from(read.events))
}

/// Replaces the events in the state folder.
///
/// # Errors
/// The file system's error. The old file is untouched then.
pub fn write(state_dir: &Path, boot: &str, events: &EventList) -> io::Result<()> {
    let written = Written { version: VERSION, boot, events };
    let mut text = serde_json::to_vec(&written)?;
    text.push(b'\n');
    whole_file::replace(&state_dir.join(NAME), &text)
}
