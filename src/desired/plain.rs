//! Reads a small plain file that somebody else may have put there: never follows a link, never waits for a fifo's
//! writer, never reads more than asked for.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
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
