//! Small plain files in a folder that others may write into too. Read: never follows a link, never waits for a fifo's
//! writer, never reads more than asked for. Replaced: as a whole, so that a reader finds the old one or the new one.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// What was in the file, and whose it is.
#[derive(Debug)]
pub(crate) struct Plain {
    pub bytes: Vec<u8>,
    pub stat: Stat,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    #[error("it is {0}, not a plain file")]
    NotPlain(Sort),
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    #[error("it cannot be read")]
    Io(#[source] io::Error),
}

/// What stands there instead of a plain file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    SymbolicLink,
    Folder,
    Fifo,
    Other,
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SymbolicLink => "a symbolic link",
            Self::Folder => "a folder",
            Self::Fifo => "a fifo",
            Self::Other => "a device or a socket",
        })
    }
}

/// The file, or `None` if there is none.
pub(crate) fn read(path: &Path, most_bytes: u64) -> Result<Option<Plain>, PlainError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(PlainError::NotPlain(Sort::SymbolicLink)),
        Err(Errno::NXIO) => return Err(PlainError::NotPlain(Sort::Other)),
        Err(errno) => return Err(PlainError::Io(errno.into())),
    };
    // All further questions go to the descriptor, so that nobody can put another file in between.
    let stat = rustix::fs::fstat(&file).map_err(|errno| PlainError::Io(errno.into()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(PlainError::NotPlain(Sort::Folder)),
        FileType::Fifo => return Err(PlainError::NotPlain(Sort::Fifo)),
        _ => return Err(PlainError::NotPlain(Sort::Other)),
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, rather than the size that was true a moment ago.
    file.take(most_bytes + 1).read_to_end(&mut bytes).map_err(PlainError::Io)?;
    if bytes.len() as u64 > most_bytes {
        return Err(PlainError::TooLong(most_bytes));
    }
    Ok(Some(Plain { bytes, stat }))
}

/// Puts `bytes` in place of `path`, readable by everybody: what the daemon writes holds no secret. Not synced: it lives
/// in a folder that a reboot empties anyway.
///
/// # Errors
/// What the file system says. The old file is untouched then.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let temporary = path.with_file_name(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Created, never opened: what somebody else put there is not followed and not written to.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&temporary)?;
    let written = (|| {
        // Whatever the umask says.
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.write_all(bytes)?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}
