//! Tells why a process that lives does not write its status, as far as another program on the machine can see: the state of
//! the process, and the folder and file system that it writes to.

use std::fmt;
use std::path::Path;

use rustix::fs::{StatVfs, StatVfsMountFlags};

use super::folder::{Folder, UserIds};
use super::process;

/// With less room than this, in bytes, a small file may not be written.
pub const LITTLE: u64 = 64 * 1024;

/// The reason for which the process does not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// A signal stopped the process.
    Stopped,
    ReadOnly,
    /// The file system has this many bytes left.
    NoRoom(u64),
    /// The file system has no room for another file's name.
    NoFiles,
    /// The user of the process, by its uid, may not write to the folder.
    NotWritable(u32),
    NoFolder,
    /// The process waits in the kernel and cannot be ended meanwhile.
    InKernel,
}

impl Hindrance {
    /// The reason for which the process does not write into this folder; `None` if no reason can be seen.
    #[must_use]
    pub fn of(pid: u32, folder: &Path) -> Option<Self> {
        let state = process::stat(pid).ok().map(|stat| stat.state);
        match state {
            Some('T' | 't') => Some(Self::Stopped),
            _ => Self::of_folder(pid, folder).or((state == Some('D')).then_some(Self::InKernel)),
        }
    }

    fn of_folder(pid: u32, folder: &Path) -> Option<Self> {
        if !folder.is_dir() {
            return Some(Self::NoFolder);
        }
        let room = rustix::fs::statvfs(folder).ok();
        let writer = user_of(pid).filter(|user| Folder::at(folder).is_ok_and(|folder| !folder.lets_write(user)));
        room.and_then(|room| of_room(&room)).or(writer.map(|user| Self::NotWritable(user.uid)))
    }

    /// The advice for this hindrance of the process with this id.
    #[must_use]
    pub fn advice(self, pid: u32) -> String {
        match self {
            Self::Stopped => format!("'kill -CONT {pid}' lets it go on; then find out who stopped it"),
            Self::ReadOnly | Self::NoFolder | Self::NotWritable(_) => {
                "'ls -ld' and 'findmnt -T' of the state folder (/run/vipkeeper); 'systemd-tmpfiles --create vipkeeper.conf' makes \
                 it as it should be"
                    .to_owned()
            }
            Self::NoRoom(_) | Self::NoFiles => {
                "'df -h' and 'df -i' of the state folder (/run/vipkeeper): free some; the daemon goes on by itself".to_owned()
            }
            Self::InKernel => "'dmesg' tells of a disk or a network file system that does not answer".to_owned(),
        }
    }
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the process is stopped by a signal (state T)"),
            Self::ReadOnly => {
                f.write_str("the state folder's file system is mounted read-only: the status cannot be written")
            }
            Self::NoRoom(free) => {
                write!(f, "the state folder's file system has {} KiB left: the status cannot be written", free / 1024)
            }
            Self::NoFiles => {
                f.write_str("the state folder's file system has no inode left: the status cannot be written")
            }
            Self::NotWritable(uid) => {
                write!(
                    f,
                    "the daemon's user (uid {uid}) may not write to the state folder: the status cannot be written"
                )
            }
            Self::NoFolder => f.write_str("the state folder is gone: the status cannot be written"),
            Self::InKernel => {
                f.write_str("the process waits in the kernel (state D), and nothing can end it meanwhile")
            }
        }
    }
}

fn of_room(room: &StatVfs) -> Option<Hindrance> {
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if room.f_flag.contains(StatVfsMountFlags::RDONLY) {
        Some(Hindrance::ReadOnly)
    } else if free < LITTLE {
        Some(Hindrance::NoRoom(free))
    } else {
        // A file system without a fixed number of inodes counts none.
        (room.f_files > 0 && room.f_favail == 0).then_some(Hindrance::NoFiles)
    }
}

/// The user with whose rights a process writes. `None` if `/proc` does not tell.
fn user_of(pid: u32) -> Option<UserIds> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>())
    };
    // The ids that count for files come fourth.
    let (uid, gid) = (*field("Uid")?.get(3)?, *field("Gid")?.get(3)?);
    Some(UserIds { uid, groups: field("Groups").unwrap_or_default().into_iter().chain([gid]).collect() })
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    #[test]
    fn a_stopped_process_is_told_from_one_that_runs() {
        let folder = std::env::temp_dir();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert_eq!(Hindrance::of(child.id(), &folder), None);
        kill_process(pid, Signal::STOP).unwrap();
        let stopped = || Hindrance::of(child.id(), &folder) == Some(Hindrance::Stopped);
        let told = (0..1000).any(|_| {
            stopped() || {
                std::thread::yield_now();
                false
            }
        });
        kill_process(pid, Signal::KILL).unwrap();
        child.wait().unwrap();
        assert!(told);
    }

    #[test]
    fn a_folder_that_is_gone_is_told() {
        let gone = Path::new("/nonexistent/vipkeeper");
        assert_eq!(Hindrance::of(std::process::id(), gone), Some(Hindrance::NoFolder));
    }

    #[test]
    fn the_user_of_a_process_is_told() {
        let me = user_of(std::process::id()).unwrap();
        assert_eq!(me.uid, rustix::process::geteuid().as_raw());
        assert!(me.groups.contains(&rustix::process::getegid().as_raw()));
    }

    #[test]
    fn a_file_system_without_room_or_for_reading_alone_is_told() {
        let mut room = rustix::fs::statvfs("/").unwrap();
        (room.f_bavail, room.f_frsize, room.f_files, room.f_favail) = (100, 4096, 10, 5);
        room.f_flag = StatVfsMountFlags::empty();
        assert_eq!(of_room(&room), None);
        assert_eq!(of_room(&StatVfs { f_bavail: 3, ..room }), Some(Hindrance::NoRoom(12_288)));
        assert_eq!(of_room(&StatVfs { f_favail: 0, ..room }), Some(Hindrance::NoFiles));
        assert_eq!(of_room(&StatVfs { f_favail: 0, f_files: 0, ..room }), None);
        assert_eq!(of_room(&StatVfs { f_flag: StatVfsMountFlags::RDONLY, ..room }), Some(Hindrance::ReadOnly));
    }
}
