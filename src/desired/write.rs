//! Replaces a desired-state file as a whole, one hook at a time. The caller decides the new content.

use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::file::{self, DesiredFile};
use crate::machine::effect::effect;
use crate::machine::lock;
use crate::machine::namespace;
use crate::machine::process::{self, Process};
use crate::machine::trust::TrustedOwners;

/// The longest time that a hook waits for another hook's lock. Hooks hold the lock for less than a millisecond, and a
/// little longer on a slow disk. A process that holds the lock for longer is stopped or means harm. The waiting hook
/// then goes on without the lock, because Pgpool's watchdog stands still until the hook returns.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);
/// The hooks' lock file, in the folder of the desired-state files.
const LOCK: &str = ".lock";
const LOCK_RETRY: Duration = Duration::from_millis(1);
/// The longest time that a hook waits for the daemon to make room on a full disk. A running daemon makes room within
/// milliseconds.
const ROOM_PATIENCE: Duration = Duration::from_millis(100);
const ROOM_RETRY: Duration = Duration::from_millis(5);
/// The greatest number of times that a hook composes the file. The hook composes the file again if another hook changed
/// the old file, or removed the temporary one, during the write.
const TRIES: u32 = 4;
const TEMPORARY: &str = ".tmp";

/// The reason why the file could not be written. The old file is untouched then.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(
        "there is no folder {}: vipkeeper's unit makes it when it starts, or `systemd-tmpfiles --create`",
        .0.display()
    )]
    NoStateDir(PathBuf),
    #[error(
        "cannot make the folder {} as uid {uid} (vipkeeper's unit or `systemd-tmpfiles --create` makes it, writable by \
         Pgpool's user)",
        path.display()
    )]
    MakeFolder {
        path: PathBuf,
        uid: u32,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {} as uid {uid}", path.display())]
    Io {
        path: PathBuf,
        uid: u32,
        #[source]
        source: io::Error,
    },
}

/// Replaces the present file with the file that `compose` makes from it, and returns the new file. If `compose` makes
/// none, the present file stays. `compose` gets `None` if there is no file, or none that a hook can build upon.
///
/// # Errors
/// The folder cannot be made or written, or the disk is full.
pub(crate) fn replace(
    state_dir: &Path,
    delegate_ip: IpAddr,
    writer: Process,
    compose: impl Fn(Option<&DesiredFile>) -> Option<DesiredFile>,
) -> Result<Option<DesiredFile>, WriteError> {
    let path = super::path(state_dir, delegate_ip);
    let folder = Folder::open(state_dir)?;
    let failed = |source: io::Error| WriteError::Io { path: path.clone(), uid: process_uid(), source };
    // The kernel drops the lock with the descriptor, even when this process is killed.
    let lock = folder.lock(delegate_ip, writer);
    if lock.is_some() {
        folder.sweep();
    }
    let trusted = TrustedOwners::of_hook(&super::folder(state_dir));
    // A hook must write even if the present file is broken, belongs to a stranger or has another version. The hook then
    // starts afresh.
    let present = || file::read_of_any_boot(&path, delegate_ip, &trusted).ok().flatten();
    let mut tries = 1;
    loop {
        let before = present();
        let Some(next) = compose(before.as_ref()) else { return Ok(None) };
        let temporary = Temporary::write_patiently(&folder, delegate_ip, writer, &next).map_err(failed)?;
        // Another hook that went on without the lock may have written meanwhile, if the disk is slow or a process was
        // stopped. The later hook must take the earlier hook's file into account.
        if tries == TRIES || present() == before {
            match temporary.become_file(&format!("{delegate_ip}.json")) {
                Ok(()) => return Ok(Some(next)),
                // A hook that has the lock removed the temporary file, because it cannot see that this process lives.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {}
                Err(error) => return Err(failed(error)),
            }
        }
        tries += 1;
    }
}

fn process_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The folder of the desired-state files: one descriptor for work in it and for the flush.
struct Folder(OwnedFd);

impl Folder {
    /// Opens the folder, and makes it first if need be.
    fn open(state_dir: &Path) -> Result<Self, WriteError> {
        let path = super::folder(state_dir);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut opened = rustix::fs::open(&path, flags, Mode::empty());
        if matches!(opened, Err(Errno::NOENT)) {
            let mode = Mode::from_raw_mode(0o755);
            match effect("mkdir", || rustix::fs::mkdir(&path, mode)) {
                Ok(()) => {
                    opened = rustix::fs::open(&path, flags, Mode::empty());
                    // The umask must not narrow the mode, because the daemon may run as another user.
                    if let Ok(dir) = &opened {
                        let _ = effect("chmod the folder", || rustix::fs::fchmod(dir, mode));
                    }
                }
                Err(Errno::EXIST) => opened = rustix::fs::open(&path, flags, Mode::empty()),
                Err(Errno::NOENT) => return Err(WriteError::NoStateDir(state_dir.to_owned())),
                Err(errno) => return Err(WriteError::MakeFolder { path, uid: process_uid(), source: errno.into() }),
            }
        }
        match opened {
            Ok(dir) => Ok(Self(dir)),
            Err(errno) => Err(WriteError::Io { path, uid: process_uid(), source: errno.into() }),
        }
    }

    /// Takes the hooks' lock, or gives up after [`LOCK_PATIENCE`]. The lock is a file that only users who may write
    /// into the folder can open. The folder itself would be no good lock, because every user who may read the folder
    /// could lock it.
    #[expect(clippy::disallowed_methods, reason = "a hook has nothing else to do meanwhile, and for a moment at most")]
    fn lock(&self, delegate_ip: IpAddr, writer: Process) -> Option<OwnedFd> {
        let mut waited = Duration::ZERO;
        let mut opened = None;
        loop {
            // Another lock file may take the old one's place during the wait. The new one is opened then.
            let file = match opened.take().filter(|file| lock::is_there(self.0.as_fd(), LOCK, file)) {
                Some(file) => file,
                None => lock::open_shared(self.0.as_fd(), LOCK, &temporary_name(delegate_ip, writer)).ok()?,
            };
            let taken = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            match taken {
                Ok(()) if lock::is_there(self.0.as_fd(), LOCK, &file) => return Some(file),
                Ok(()) | Err(Errno::WOULDBLOCK | Errno::INTR) if waited < LOCK_PATIENCE => {
                    thread::sleep(LOCK_RETRY);
                    waited += LOCK_RETRY;
                    opened = taken.is_err().then_some(file);
                }
                Ok(()) | Err(_) => return None,
            }
        }
    }

    /// Removes the temporary files of hooks that were killed while they wrote. The caller holds the lock. Temporary
    /// files of living processes stay, because a living hook may have gone on without the lock. An error is ignored
    /// here: a folder that cannot be written fails again at the write, and that error is reported.
    fn sweep(&self) {
        let Ok(entries) = Dir::read_from(&self.0) else { return };
        let own = namespace::own().unwrap_or_default();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name_text = name.to_string_lossy();
            // The pid of a writer in another pid namespace means nothing here. The next hook of that namespace removes
            // the file.
            let is_ours = namespace_of(&name_text).is_none_or(|theirs| theirs == own);
            if is_ours && writer_of(&name_text).is_some_and(|writer| !process::is_alive(&writer)) {
                let _ = effect("sweep", || rustix::fs::unlinkat(&self.0, name, AtFlags::empty()));
            }
        }
    }
}

/// A file under a temporary name. The temporary name is removed on drop.
struct Temporary<'a> {
    folder: &'a Folder,
    name: String,
}

impl<'a> Temporary<'a> {
    /// Writes the file, and tries again for up to [`ROOM_PATIENCE`] if the disk is full. The new name in the folder
    /// tells the daemon, which then gives up the disk space that it keeps for hooks. Each try has a name of its own, so
    /// that the daemon has another chance to notice if it missed one.
    #[expect(clippy::disallowed_methods, reason = "a hook has nothing else to do meanwhile, and for a moment at most")]
    fn write_patiently(
        folder: &'a Folder,
        delegate_ip: IpAddr,
        writer: Process,
        content: &DesiredFile,
    ) -> io::Result<Self> {
        let mut waited = Duration::ZERO;
        loop {
            match Self::write(folder, delegate_ip, writer, content) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull && waited < ROOM_PATIENCE => {
                    thread::sleep(ROOM_RETRY);
                    waited += ROOM_RETRY;
                }
                written => return written,
            }
        }
    }

    fn write(folder: &'a Folder, delegate_ip: IpAddr, writer: Process, content: &DesiredFile) -> io::Result<Self> {
        let name = temporary_name(delegate_ip, writer);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let fresh = effect("make the temporary file", || rustix::fs::openat(&folder.0, &name, flags, mode))?;
        let mut file = File::from(fresh);
        let temporary = Self { folder, name };
        // Whatever umask Pgpool runs with, the daemon must be able to read the file, and only its owner may write to
        // it.
        effect("chmod", || rustix::fs::fchmod(&file, mode))?;
        let mut bytes = serde_json::to_vec(content)?;
        bytes.push(b'\n');
        effect("write", || file.write_all(&bytes))?;
        effect("fsync", || file.sync_all())?;
        Ok(temporary)
    }

    fn become_file(self, name: &str) -> io::Result<()> {
        effect("rename", || rustix::fs::renameat(&self.folder.0, &self.name, &self.folder.0, name))?;
        // All running processes see the new file now. A power failure could undo the rename, but the next boot has
        // another id and makes the file void anyway. So a folder that cannot be flushed is no reason to tell Pgpool
        // that `up` failed.
        let _ = effect("fsync of the folder", || rustix::fs::fsync(&self.folder.0));
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // After the rename, nothing has the temporary name, and this call does nothing.
        let _ = effect("unlink", || rustix::fs::unlinkat(&self.folder.0, &self.name, AtFlags::empty()));
    }
}

/// A temporary name that holds the writer's identity, so that other hooks can tell whether the writer still lives.
fn temporary_name(delegate_ip: IpAddr, writer: Process) -> String {
    static WRITES: AtomicU32 = AtomicU32::new(0);
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    let namespace = namespace::own().unwrap_or_default();
    format!(".{delegate_ip}.{}-{}-{write}-{namespace}{TEMPORARY}", writer.pid, writer.start_time)
}

/// Whether a hook uses this name for a temporary file.
pub(crate) fn is_temporary(name: &str) -> bool {
    writer_of(name).is_some()
}

fn writer_of(name: &str) -> Option<Process> {
    let (_, writer) = name.strip_prefix('.')?.strip_suffix(TEMPORARY)?.rsplit_once('.')?;
    let mut numbers = writer.split('-');
    Some(Process { pid: numbers.next()?.parse().ok()?, start_time: numbers.next()?.parse().ok()? })
}

/// The pid namespace of the hook that uses this temporary name. `None` in names of older programs.
fn namespace_of(name: &str) -> Option<u64> {
    let (_, writer) = name.strip_suffix(TEMPORARY)?.rsplit_once('.')?;
    writer.split('-').nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::fs;

    use crate::desired::file::{VERSION, Wanted};
    use crate::machine::effect::{dies, folder_of_child};

    const IP: &str = "20.0.0.50";

    fn write_next(state_dir: &Path, present: Option<&DesiredFile>) -> DesiredFile {
        let sequence = present.map_or(1, |file| file.sequence + 1);
        let boot_id = state_dir.display().to_string();
        let delegate_ip = IP.parse().unwrap();
        DesiredFile {
            version: VERSION,
            delegate_ip,
            sequence,
            written_ms: 0,
            written_boottime_ns: None,
            boot_id,
            hook: Process { pid: 1, start_time: 1 },
            wanted: Wanted::Standby,
        }
    }

    #[test]
    #[ignore = "the process that dies in the test below"]
    fn dying_hook() {
        if let Some(state) = folder_of_child() {
            let me = process::this_process().unwrap();
            replace(&state, IP.parse().unwrap(), me, |present| Some(write_next(&state, present))).unwrap();
        }
    }

    /// The first hook of a boot makes the folder and the lock; a later one finds both, and what a killed one left.
    #[test]
    fn a_hook_that_is_killed_at_any_point_leaves_the_old_file_or_the_new_one_and_the_next_hook_works() {
        let me = process::this_process().unwrap();
        let ip = IP.parse().unwrap();
        let next = |state: &Path| {
            let written = replace(state, ip, me, |present| Some(write_next(state, present)));
            written.unwrap().unwrap().sequence
        };
        let names = |state: &Path| {
            let entries = fs::read_dir(crate::desired::folder(state)).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let newest = Cell::new(0);
        let check = |before: u64| {
            newest.set(before);
            let newest = &newest;
            move |state: &Path, at: u32| {
                let reached = next(state);
                assert!(reached == before + 1 || reached == before + 2, "point {at}: {reached}");
                assert!(reached > newest.get(), "point {at}: what a later point left is not older");
                newest.set(reached - 1);
                assert_eq!(names(state), [".lock", "20.0.0.50.json"], "point {at}: nothing is left over");
            }
        };
        let child = "desired::write::tests::dying_hook";
        let first = dies(child, |_| {}, check(0));
        let later = dies(child, |state| assert_eq!(next(state), 1), check(1));
        assert!(first >= later + 4 && later >= 12, "{first} and {later} points");
    }

    #[test]
    fn a_file_that_changes_while_it_is_written_is_looked_at_again() {
        let state = tempfile::tempdir().unwrap();
        let me = process::this_process().unwrap();
        let ip = IP.parse().unwrap();
        let looked = Cell::new(0);
        let written = replace(state.path(), ip, me, |present| {
            looked.set(looked.get() + 1);
            if looked.get() == 1 {
                // Another hook did not get the lock in time and writes without it.
                let other = Folder::open(state.path()).unwrap();
                let content = write_next(state.path(), present);
                Temporary::write(&other, ip, me, &content).unwrap().become_file("20.0.0.50.json").unwrap();
            }
            Some(write_next(state.path(), present))
        });
        assert_eq!((looked.get(), written.unwrap().unwrap().sequence), (2, 2));
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not() {
        let state = tempfile::tempdir().unwrap();
        let ip = IP.parse().unwrap();
        let me = process::this_process().unwrap();
        let killed = Process { start_time: me.start_time + 1, ..me };
        let folder = crate::desired::folder(state.path());
        fs::create_dir(&folder).unwrap();
        let names = [temporary_name(ip, me), temporary_name("fd00::1".parse().unwrap(), me), "a.tmp".to_owned()];
        for name in
            names.iter().chain([&temporary_name(ip, killed), &temporary_name("fd00::1".parse().unwrap(), killed)])
        {
            fs::write(folder.join(name), "half").unwrap();
        }
        replace(state.path(), ip, me, |present| Some(write_next(state.path(), present))).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let made = [".lock", "20.0.0.50.json"].map(str::to_owned);
        let mut expected: Vec<_> = names.into_iter().chain(made).collect();
        expected.sort();
        assert_eq!(left, expected);
    }
}
