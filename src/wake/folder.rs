//! The folder of the desired files, watched by inotify(7).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::Wake;
use super::parts::PartVoice;
use super::watcher::{WakeSource, Watcher, readable, watch};
use crate::desired::{hold, write};

/// The number of attempts to open the folder before an error is returned. An attempt fails if the folder appears or
/// disappears during the attempt.
const OPEN_ATTEMPTS: u32 = 16;

/// Room for a few dozen events. Events that do not fit stay in the kernel.
const BUFFER_BYTES: usize = 4096;

/// Sends [`Wake::DesiredChanged`] when a desired file (`<address>.json`) or a hold in `folder` was written, replaced or removed,
/// and when the folder itself came or went. The folder need not exist yet. Sends [`Wake::HookWrites`] when a hook made
/// the temporary file that becomes a desired file by renaming. If a change comes in the same batch of events, only the
/// change is told. Other files wake nobody. The renaming of a folder above `folder` goes unnoticed. The voice tells
/// when inotify is not available: too many instances or watches, or a folder that may not be read.
pub fn watch_folder(folder: &Path, voice: impl Into<PartVoice>) -> Watcher {
    watch(Folder { path: folder.to_owned(), opened: None }, voice.into())
}

struct Folder {
    path: PathBuf,
    opened: Option<Opened>,
}

struct Opened {
    inotify: AsyncFd<OwnedFd>,
    /// While the folder is missing: the name that must appear in the nearest folder above it that exists.
    missing: Option<OsString>,
}

/// The meaning of a batch of events.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    /// A desired file changed, or may have.
    changed: bool,
    /// A hook began to write.
    begun: bool,
    /// The watched folder is gone, or the missing folder appeared: the folder must be opened anew.
    moved: bool,
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "folder {}", self.path.display())
    }
}

impl WakeSource for Folder {
    const WAKE: Wake = Wake::DesiredChanged;

    fn open(&mut self) -> io::Result<()> {
        self.opened = None;
        self.opened = Some(Opened::new(&std::path::absolute(&self.path)?)?);
        Ok(())
    }

    async fn changed(&mut self) -> io::Result<Wake> {
        loop {
            let Some(opened) = &self.opened else { return Err(io::ErrorKind::NotConnected.into()) };
            let was_there = opened.missing.is_none();
            let mut seen = opened.next().await?;
            if seen.moved {
                self.open()?;
                let is_there = self.opened.as_ref().is_some_and(|opened| opened.missing.is_none());
                seen.changed |= was_there || is_there;
            }
            if seen.changed {
                return Ok(Wake::DesiredChanged);
            }
            if seen.begun {
                return Ok(Wake::HookWrites);
            }
        }
    }
}

impl Opened {
    fn new(folder: &Path) -> io::Result<Self> {
        for _ in 0..OPEN_ATTEMPTS {
            let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let content = WatchFlags::CREATE
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::MOVED_TO
                | WatchFlags::MOVED_FROM
                | WatchFlags::DELETE
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR;
            if add(inotify.as_fd(), folder, content)? {
                return Ok(Self { inotify: readable(inotify)?, missing: None });
            }
            let Some((parent, child)) = nearest(inotify.as_fd(), folder)? else { continue };
            // The missing folder may have appeared before the watch was set, and no event would tell.
            if !parent.join(child).exists() {
                return Ok(Self { inotify: readable(inotify)?, missing: Some(child.to_owned()) });
            }
        }
        Err(io::Error::other("it keeps appearing and disappearing"))
    }

    /// The next events, at least one.
    async fn next(&self) -> io::Result<Seen> {
        let mut buffer = [const { MaybeUninit::uninit() }; BUFFER_BYTES];
        loop {
            let mut ready = self.inotify.readable().await?;
            let read = ready.try_io(|inotify| {
                let mut events = inotify::Reader::new(inotify, &mut buffer);
                let mut seen = Seen::default();
                loop {
                    let event = events.next()?;
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    seen = seen.and(Seen::of(event.events(), name, self.missing.as_deref()));
                    if events.is_buffer_empty() {
                        return Ok(seen);
                    }
                }
            });
            if let Ok(seen) = read {
                return seen;
            }
        }
    }
}

impl Seen {
    fn of(event: ReadFlags, name: Option<&OsStr>, missing: Option<&OsStr>) -> Self {
        let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
        let nothing = Self::default();
        if event.intersects(ReadFlags::QUEUE_OVERFLOW) {
            Self { changed: true, moved: true, ..nothing }
        } else if event.intersects(gone) {
            Self { changed: missing.is_none(), moved: true, ..nothing }
        } else if missing.is_some() {
            Self { moved: name == missing, ..nothing }
        } else if event.intersects(ReadFlags::CREATE) {
            // A desired file that is made in place is told once it was written.
            let is_temporary = |name: &OsStr| name.to_str().is_some_and(write::is_temporary);
            Self { begun: name.is_some_and(is_temporary), ..nothing }
        } else {
            Self { changed: name.is_some_and(is_desired_file), ..nothing }
        }
    }

    const fn and(self, other: Self) -> Self {
        Self {
            changed: self.changed || other.changed,
            begun: self.begun || other.begun,
            moved: self.moved || other.moved,
        }
    }
}

/// Watches the nearest existing folder above `folder`. Returns that folder and the name that is missing in it.
fn nearest<'a>(inotify: BorrowedFd<'_>, folder: &'a Path) -> io::Result<Option<(&'a Path, &'a OsStr)>> {
    let arrivals = WatchFlags::CREATE
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    for path in folder.ancestors() {
        if let (Some(parent), Some(child)) = (path.parent(), path.file_name())
            && add(inotify, parent, arrivals)?
        {
            return Ok(Some((parent, child)));
        }
    }
    Ok(None)
}

/// Watches the folder. Returns whether the folder was there.
fn add(inotify: BorrowedFd<'_>, folder: &Path, events: WatchFlags) -> io::Result<bool> {
    match inotify::add_watch(inotify, folder, events) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Desired files and holds are named by the VIP's address.
fn is_desired_file(name: &OsStr) -> bool {
    let stem = name.to_str().and_then(|name| name.strip_suffix(".json").or_else(|| name.strip_suffix(hold::ENDING)));
    stem.is_some_and(|stem| stem.parse::<IpAddr>().is_ok())
}
