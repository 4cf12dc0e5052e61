//! Locks that strangers on the machine cannot take: flock(2) on files that only the right users may open. A user who
//! can open a file can lock it, even if only for reading.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use crate::machine::effect::effect;

/// The mode bits that let a user open the file who is neither its owner nor in its group.
const OTHERS: u32 = 0o007;
const GROUP: u32 = 0o070;
/// A lock file that strangers may open is replaced at most this many times.
const TRIES: u32 = 3;

/// Takes the lock file at `path` for as long as the returned file is open. Only this process's user may open it.
///
/// `WouldBlock` if another process has the lock. Otherwise the file system's error, for example where the folder may
/// not be written or where the path is no plain file.
pub fn take_alone(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o600);
    let file = rustix::fs::open(path, flags, mode)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is not a plain file"));
    }
    rustix::fs::fchmod(&file, mode)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(File::from(file))
}

/// Opens the lock file `name` of a folder, and makes the file if there is none. Exactly the users who may write into
/// the folder may open the lock file. An entry that strangers may have open, or that this process cannot open, is
/// replaced by a new file.
///
/// `temporary` is the name of the new file until its owner and mode are right. Then the file gets `name`.
pub(crate) fn open_shared(folder: BorrowedFd<'_>, name: &str, temporary: &str) -> io::Result<OwnedFd> {
    let of_folder = rustix::fs::fstat(folder)?;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    for _ in 0..TRIES {
        match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Ok(file) if is_fit(&rustix::fs::fstat(&file)?, &of_folder) => return Ok(file),
            Err(Errno::NOENT) => {}
            // The entry is a link, a fifo, a folder, another user's file, or a file that strangers may have open.
            Ok(_) | Err(_) => match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            },
        }
        make(folder, &of_folder, name, temporary)?;
    }
    Err(io::Error::other("it keeps being replaced"))
}

/// Whether exactly the users who may write into the folder may open the file.
fn is_fit(file: &Stat, folder: &Stat) -> bool {
    let plain = FileType::from_raw_mode(file.st_mode) == FileType::RegularFile;
    let group = file.st_mode & GROUP == 0 || (folder.st_mode & 0o020 != 0 && file.st_gid == folder.st_gid);
    plain && file.st_mode & OTHERS == 0 && group
}

fn make(folder: BorrowedFd<'_>, of_folder: &Stat, name: &str, temporary: &str) -> io::Result<()> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = effect("make the lock", || rustix::fs::openat(folder, temporary, flags, Mode::from_raw_mode(0o600)))?;
    let made = (|| {
        let group = Gid::from_raw(of_folder.st_gid);
        let is_root = rustix::process::geteuid().is_root();
        // A lock file that root makes would otherwise be root's alone, and the hooks of Pgpool's user could not open
        // it.
        let owner = is_root.then(|| Uid::from_raw(of_folder.st_uid));
        let is_the_groups = effect("chown the lock", || rustix::fs::fchown(&file, owner, Some(group))).is_ok()
            && of_folder.st_mode & 0o020 != 0;
        let mode = Mode::from_raw_mode(if is_the_groups { 0o660 } else { 0o600 });
        effect("chmod the lock", || rustix::fs::fchmod(&file, mode))?;
        match effect("link the lock", || rustix::fs::linkat(folder, temporary, folder, name, AtFlags::empty())) {
            // Another hook made the lock file first. It may also have removed the temporary file, where it cannot see that
            // this process lives (with /proc mounted `hidepid`, for example).
            Ok(()) | Err(Errno::EXIST | Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    })();
    let _ = effect("unlink", || rustix::fs::unlinkat(folder, temporary, AtFlags::empty()));
    Ok(made?)
}

/// Whether `name` in the folder is still this very file.
pub(crate) fn is_there(folder: BorrowedFd<'_>, name: &str, file: impl AsFd) -> bool {
    let (Ok(held), Ok(there)) = (rustix::fs::fstat(file), rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW))
    else {
        return false;
    };
    (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn the_lock_of_one_process_is_its_users_alone_whatever_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let held = take_alone(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(take_alone(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        drop(take_alone(&path).unwrap());
        fs::remove_file(&path).unwrap();
        symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert!(take_alone(&path).is_err());
        assert!(!folder.path().join("elsewhere").exists(), "a link is not followed");
    }

    #[test]
    fn a_shared_lock_is_open_to_whom_the_folder_is_and_replaces_what_strangers_may_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".lock");
        for (of_folder, of_lock) in [(0o755, 0o600), (0o775, 0o660)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(of_folder)).unwrap();
            let directory = File::open(folder.path()).unwrap();
            let open = || open_shared(directory.as_fd(), ".lock", ".temporary").unwrap();
            for stand_in in ["nothing", "a file for all", "a link"] {
                let _ = fs::remove_file(&path);
                match stand_in {
                    "nothing" => {}
                    "a link" => symlink(folder.path().join("elsewhere"), &path).unwrap(),
                    _ => {
                        fs::write(&path, "").unwrap();
                        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
                    }
                }
                let lock = open();
                assert!(is_there(directory.as_fd(), ".lock", &lock), "{stand_in}");
                let made = fs::symlink_metadata(&path).unwrap();
                assert!(made.is_file() && made.mode() & 0o7777 == of_lock, "{stand_in}: {:o}", made.mode());
                assert!(is_there(directory.as_fd(), ".lock", open()), "it stays");
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }
}
