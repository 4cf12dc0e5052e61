//! Replaces a desired-state file as a whole, one hook at a time. What should be in it is the caller's to say.

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
use crate::machine::lock;
use crate::machine::namespace;
use crate::machine::process::{self, Process};
use crate::machine::trust::TrustedOwners;

/// How long a hook waits for another one. Hooks hold the lock for less than a millisecond, on a slow disk for some more.
/// Whoever holds the lock for longer is stopped, or means harm; the hook then goes on without the lock, because Pgpool's
/// watchdog stands still until the hook returns.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);
/// The hooks' lock file, in the folder of the desired-state files.
const LOCK: &str = ".lock";
const LOCK_RETRY: Duration = Duration::from_millis(1);
/// How long a hook that finds the disk full waits for the daemon to make room, which takes milliseconds if one runs.
const ROOM_PATIENCE: Duration = Duration::from_millis(100);
const ROOM_RETRY: Duration = Duration::from_millis(5);
/// Without the lock, a file that changed under our hands is looked at again, so often at most.
const ROUNDS: u32 = 4;
const TEMPORARY: &str = ".tmp";

/// Why the file could not be written. The old one is untouched then.
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

/// Puts what `compose` makes of the present file in its place, or leaves that if `compose` makes nothing. The present
/// file is `None` if there is none, or none that a hook can build upon. Returns what was written.
///
/// # Errors
/// When the folder cannot be made or written, or the disk is full.
pub(crate) fn replace(
    state_dir: &Path,
    delegate_ip: IpAddr,
    writer: Process,
    compose: impl Fn(Option<&DesiredFile>) -> Option<DesiredFile>,
) -> Result<Option<DesiredFile>, WriteError> {
    let path = super::path(state_dir, delegate_ip);
    let folder = Folder::open(state_dir)?;
    let failed = |source: io::Error| WriteError::Io { path: path.clone(), uid: process_uid(), source };
    // The lock ends with the descriptor: also when this process is killed.
    let lock = folder.lock(delegate_ip, writer);
    if lock.is_some() {
        folder.sweep();
    }
    let trusted = TrustedOwners::of_hook(&super::folder(state_dir));
    // Broken, foreign, of another version: a hook has to write all the same, and starts afresh.
    let present = || file::read_of_any_boot(&path, delegate_ip, &trusted).ok().flatten();
    let mut round = 1;
    loop {
        let before = present();
        let Some(next) = compose(before.as_ref()) else { return Ok(None) };
        let temporary = Temporary::write_patiently(&folder, delegate_ip, writer, &next).map_err(failed)?;
        // A hook that went on without the lock may have been here while we wrote (a slow disk, a stopped process).
        // Whoever comes second has to look at what the first one left.
        if round == ROUNDS || present() == before {
            temporary.become_file(&format!("{delegate_ip}.json")).map_err(failed)?;
            return Ok(Some(next));
        }
        round += 1;
    }
}

fn process_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The folder of the desired-state files: one descriptor to work in and to flush.
struct Folder(OwnedFd);

impl Folder {
    /// Opens the folder, and makes it first if need be.
    fn open(state_dir: &Path) -> Result<Self, WriteError> {
        let path = super::folder(state_dir);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut opened = rustix::fs::open(&path, flags, Mode::empty());
        if matches!(opened, Err(Errno::NOENT)) {
            let mode = Mode::from_raw_mode(0o755);
            match rustix::fs::mkdir(&path, mode) {
                Ok(()) => {
                    opened = rustix::fs::open(&path, flags, Mode::empty());
                    // Whatever the umask: the daemon may be another user.
                    if let Ok(dir) = &opened {
                        let _ = rustix::fs::fchmod(dir, mode);
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

    /// Takes the hooks' lock if it can be had in time. The lock is a file that only those may open who may write into the
    /// folder; anybody who may look into the folder could lock the folder itself.
    #[expect(clippy::disallowed_methods, reason = "a hook has nothing else to do meanwhile, and for a moment at most")]
    fn lock(&self, delegate_ip: IpAddr, writer: Process) -> Option<OwnedFd> {
        let mut waited = Duration::ZERO;
        let mut opened = None;
        loop {
            // The file is opened anew if another one has taken its place while we waited.
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

    /// Removes what hooks left that were killed while they wrote. Only under the lock, and only what no living process
    /// is at: one may have gone on without the lock. What fails here fails again, louder, when we write.
    fn sweep(&self) {
        let Ok(entries) = Dir::read_from(&self.0) else { return };
        let own = namespace::own().unwrap_or_default();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name_text = name.to_string_lossy();
            // The id of a writer in another pid namespace says nothing here. The next hook of that namespace sweeps.
            let is_ours = namespace_of(&name_text).is_none_or(|theirs| theirs == own);
            if is_ours && writer_of(&name_text).is_some_and(|writer| !process::is_alive(&writer)) {
                let _ = rustix::fs::unlinkat(&self.0, name, AtFlags::empty());
            }
        }
    }
}

/// A file that is not yet the file. Gone when dropped.
struct Temporary<'a> {
    folder: &'a Folder,
    name: String,
}

impl<'a> Temporary<'a> {
    /// On a full disk, again and again for a moment: the new name has told the daemon, which gives up the room that it
    /// keeps for this. Each try has a name of its own, so that one that the daemon missed is not the only one.
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
        let mut file = File::from(rustix::fs::openat(&folder.0, &name, flags, mode)?);
        let temporary = Self { folder, name };
        // Whatever umask Pgpool runs with, the daemon must be able to read it, and nobody else to write it.
        rustix::fs::fchmod(&file, mode)?;
        let mut bytes = serde_json::to_vec(content)?;
        bytes.push(b'\n');
        file.write_all(&bytes)?;
        file.sync_all()?;
        Ok(temporary)
    }

    fn become_file(self, name: &str) -> io::Result<()> {
        rustix::fs::renameat(&self.folder.0, &self.name, &self.folder.0, name)?;
        // The file is there for all who run now. What a power failure could still undo, it makes void anyway: the next
        // boot has another id. So a folder that cannot be flushed is no reason to tell Pgpool that `up` failed.
        let _ = rustix::fs::fsync(&self.folder.0);
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // Once it has become the file, nothing has this name.
        let _ = rustix::fs::unlinkat(&self.folder.0, &self.name, AtFlags::empty());
    }
}

/// Names its writer, so that others can tell whether it is still at work.
fn temporary_name(delegate_ip: IpAddr, writer: Process) -> String {
    static WRITES: AtomicU32 = AtomicU32::new(0);
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    let namespace = namespace::own().unwrap_or_default();
    format!(".{delegate_ip}.{}-{}-{write}-{namespace}{TEMPORARY}", writer.pid, writer.start_time)
}

/// Whether a hook that writes makes files of this name.
pub(crate) fn is_temporary(name: &str) -> bool {
    writer_of(name).is_some()
}

fn writer_of(name: &str) -> Option<Process> {
    let (_, writer) = name.strip_prefix('.')?.strip_suffix(TEMPORARY)?.rsplit_once('.')?;
    let mut numbers = writer.split('-');
    Some(Process { pid: numbers.next()?.parse().ok()?, start_time: numbers.next()?.parse().ok()? })
}

/// The pid namespace of the hook that makes files of this name; `None` in names that older programs gave.
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
            boot_id,
            hook: Process { pid: 1, start_time: 1 },
            wanted: Wanted::Standby,
        }
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
                // Another hook, which did not get the lock in time and went on without.
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
