//! Users with their groups, the permissions of folders and programs, and who may use them.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Gid, User, getgrouplist};
use rustix::fs::{AtFlags, CWD, FileType};

/// The magic number of tmpfs (linux/magic.h).
const TMPFS: u64 = 0x0102_1994;
/// Read, write and search.
const ALL: u32 = 0o7;
/// Search in a folder, and run a program.
const SEARCH: u32 = 0o1;

/// A user as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserIds {
    pub uid: u32,
    pub groups: BTreeSet<u32>,
}

impl UserIds {
    /// Looks a user up with all its groups. The lookup may ask a server and take long.
    ///
    /// # Errors
    /// One line: there is no such user, or the lookup failed.
    pub fn of(name: &str) -> Result<Self, String> {
        let found = User::from_name(name).map_err(|errno| format!("user {name} could not be looked up: {errno}"))?;
        let user = found.ok_or_else(|| format!("user {name} does not exist on this machine"))?;
        let text = CString::new(name).map_err(|error| error.to_string())?;
        let groups = getgrouplist(&text, user.gid).map_err(|errno| format!("the groups of {name}: {errno}"))?;
        let groups = groups.into_iter().chain([user.gid]).map(Gid::as_raw).collect();
        Ok(Self { uid: user.uid.as_raw(), groups })
    }

    /// The bits of a mode that count for this user: those of the owner, of the group, or of everybody else.
    fn bits(&self, owner: u32, group: u32, mode: u32) -> u32 {
        match (owner == self.uid, self.groups.contains(&group)) {
            (true, _) => mode >> 6 & ALL,
            (false, true) => mode >> 3 & ALL,
            (false, false) => mode & ALL,
        }
    }

    /// Whether this user may run the file. Root may if anybody may.
    #[must_use]
    pub fn may_run(&self, file: &fs::Metadata) -> bool {
        let mode = file.mode();
        if self.uid == 0 { mode & 0o111 != 0 } else { self.bits(file.uid(), file.gid(), mode) & SEARCH != 0 }
    }
}

/// A folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folder {
    pub uid: u32,
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
    /// Whether the folder's file system is in memory, so that a reboot forgets it.
    pub is_in_memory: bool,
    /// The bytes that are free for any user.
    pub free: u64,
}

impl Folder {
    /// Looks at the folder.
    ///
    /// # Errors
    /// There is no such path, or it is no folder.
    pub fn at(path: &Path) -> io::Result<Self> {
        let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let system = rustix::fs::statfs(path)?;
        let volume = rustix::fs::statvfs(path)?;
        let is_in_memory = u64::try_from(system.f_type).is_ok_and(|kind| kind == TMPFS);
        let free = volume.f_bavail.saturating_mul(volume.f_frsize);
        Ok(Self { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777, is_in_memory, free })
    }

    /// Whether a user can list, read and replace files in the folder. Root can. Access control lists are not looked at.
    #[must_use]
    pub fn lets_write(&self, user: &UserIds) -> bool {
        user.uid == 0 || user.bits(self.uid, self.gid, self.mode) == ALL
    }

    /// Whether a user can reach what is in the folder.
    #[must_use]
    pub fn lets_through(&self, user: &UserIds) -> bool {
        user.uid == 0 || user.bits(self.uid, self.gid, self.mode) & SEARCH != 0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_kernels_rules_decide_who_may_write() {
        let folder = Folder { uid: 5, gid: 7, mode: 0o775, is_in_memory: true, free: 1 };
        let user = |uid, groups: &[u32]| UserIds { uid, groups: groups.iter().copied().collect() };
        assert!(folder.lets_write(&user(5, &[])) && folder.lets_write(&user(6, &[7])));
        assert!(!folder.lets_write(&user(6, &[6])) && folder.lets_through(&user(6, &[6])));
        assert!(folder.lets_write(&user(0, &[])));
        // The owner's bits alone count for the owner.
        let odd = Folder { mode: 0o077, ..folder };
        assert!(!odd.lets_write(&user(5, &[7])));
    }

    #[test]
    fn a_folder_is_looked_at_and_a_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
        let found = Folder::at(folder.path()).unwrap();
        assert_eq!((found.mode, found.uid), (0o750, rustix::process::geteuid().as_raw()));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(Folder::at(&file).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert!(Folder::at(&folder.path().join("none")).is_err());
        assert!(UserIds::of("no-such-user").unwrap_err().contains("does not exist"));
        let root = UserIds::of("root").unwrap();
        assert_eq!(root.uid, 0);
        let program = std::env::current_exe().unwrap();
        assert!(root.may_run(&fs::metadata(program).unwrap()));
    }
}
