//! Small plain files in a folder where other users may write too. A read never follows a link, never waits for a fifo's
//! writer, and never reads more than the caller allows. A replacement is whole: a reader finds either the old file or
//! the new file.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::machine::effect::effect;

/// The content of a file, and its owner and mode.
#[derive(Debug)]
pub(crate) struct Plain {
    pub bytes: Vec<u8>,
    pub stat: Stat,
}

/// The reason why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    #[error("it is {0}, not a plain file")]
    NotPlain(Sort),
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    #[error("it cannot be read")]
    Io(#[source] io::Error),
}

/// The kind of an entry that is no plain file.
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

/// Reads the file. `None` if there is none.
pub(crate) fn read(path: &Path, most_bytes: u64) -> Result<Option<Plain>, PlainError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(PlainError::NotPlain(Sort::SymbolicLink)),
        Err(Errno::NXIO) => return Err(PlainError::NotPlain(Sort::Other)),
        Err(errno) => return Err(PlainError::Io(errno.into())),
    };
    // All further questions go to the descriptor, so that nobody can swap the file in between.
    let stat = rustix::fs::fstat(&file).map_err(|errno| PlainError::Io(errno.into()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(PlainError::NotPlain(Sort::Folder)),
        FileType::Fifo => return Err(PlainError::NotPlain(Sort::Fifo)),
        _ => return Err(PlainError::NotPlain(Sort::Other)),
    }
    let mut bytes = Vec::new();
    // The read stops at one byte more than allowed. The size from `stat` is not used, because the file may have grown
    // since.
    file.take(most_bytes + 1).read_to_end(&mut bytes).map_err(PlainError::Io)?;
    if bytes.len() as u64 > most_bytes {
        return Err(PlainError::TooLong(most_bytes));
    }
    Ok(Some(Plain { bytes, stat }))
}

/// Replaces the file at `path` by one that holds `bytes` and that every user may read: the daemon writes no secret
/// here. The file is not synced, because it lies in a folder that a reboot empties anyway.
///
/// # Errors
/// The error of the file system. The old file is untouched then.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let temporary = path.with_file_name(name);
    match effect("remove an old temporary file", || fs::remove_file(&temporary)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The temporary file must be new. A file or link that somebody else put there is never followed and never written
    // to.
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o644).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let mut file = effect("make the temporary file", || options.open(&temporary))?;
    let written = (|| {
        // The umask must not narrow the mode.
        effect("chmod", || file.set_permissions(Permissions::from_mode(0o644)))?;
        effect("write", || file.write_all(bytes))?;
        effect("rename", || fs::rename(&temporary, path))
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::effect::{dies, folder_of_child};

    #[test]
    #[ignore = "the process that dies in the test below"]
    fn dying_writer() {
        if let Some(folder) = folder_of_child() {
            replace(&folder.join("claim"), b"new and longer").unwrap();
        }
    }

    #[test]
    fn a_writer_that_is_killed_at_any_point_leaves_the_old_file_or_the_new_one() {
        let points = dies(
            "machine::whole_file::tests::dying_writer",
            |folder| fs::write(folder.join("claim"), "old").unwrap(),
            |folder, at| {
                let path = folder.join("claim");
                let found = read(&path, 100).unwrap().unwrap().bytes;
                assert!(found == b"old" || found == b"new and longer", "point {at}: {found:?}");
                replace(&path, b"next").unwrap();
                assert_eq!(read(&path, 100).unwrap().unwrap().bytes, b"next", "point {at}");
                assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "point {at}: nothing is left over");
            },
        );
        assert_eq!(points, 10, "before and after each of five effects");
    }
}
