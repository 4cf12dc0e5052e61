//! Whose desired-state files count, and whether the folders they are in are safe from everybody else.

use std::cell::{Ref, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::unistd::{Gid, Group, User};
use rustix::fs::{AtFlags, CWD, FileType};

use super::file;

/// The users whose files count: root always, and who was configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedOwners {
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    names: BTreeSet<String>,
}

/// The same for several who must agree, also after the configuration changed.
#[derive(Debug, Clone)]
pub struct SharedOwners(Rc<RefCell<TrustedOwners>>);

impl SharedOwners {
    /// Who counts now.
    #[must_use]
    pub fn get(&self) -> Ref<'_, TrustedOwners> {
        self.0.borrow()
    }

    /// From now on these count.
    pub fn replace(&self, trusted: TrustedOwners) {
        self.0.replace(trusted);
    }
}

impl From<TrustedOwners> for SharedOwners {
    fn from(trusted: TrustedOwners) -> Self {
        Self(Rc::new(RefCell::new(trusted)))
    }
}

/// A configured user that nobody's file can belong to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("hook user {0} does not exist on this machine")]
    Unknown(String),
    #[error("hook user {name} could not be looked up: {message}")]
    Lookup { name: String, message: String },
}

/// A way by which somebody whom nobody trusts could put files into the folder, or move it away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FolderProblem {
    #[error("there is no folder {}", .0.display())]
    Missing(PathBuf),
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    #[error("{}: {message}", path.display())]
    Unreadable { path: PathBuf, message: String },
    #[error("{} belongs to uid {uid}, who is neither root nor a hook user", path.display())]
    Owner { path: PathBuf, uid: u32 },
    #[error("{} may be written by group {gid}, which is not only hook users", path.display())]
    Group { path: PathBuf, gid: u32 },
    #[error("{} may be written by everybody", .0.display())]
    Everybody(PathBuf),
}

impl TrustedOwners {
    /// Root alone.
    #[must_use]
    pub fn root() -> Self {
        Self { uids: BTreeSet::from([0]), gids: BTreeSet::from([0]), names: BTreeSet::from(["root".to_owned()]) }
    }

    /// Root and these users. They are looked up as the system does it (`getpwnam_r`), because a user may come from sssd
    /// or LDAP, of which `/etc/passwd` knows nothing. That may take a while: look up at the start, not for each read.
    /// A user that does not exist is reported and trusts nobody; it may come later, with Pgpool's package.
    #[must_use]
    pub fn resolve(users: &[String]) -> (Self, Vec<UserError>) {
        let mut trusted = Self::root();
        let mut errors = Vec::new();
        for name in users {
            match User::from_name(name) {
                Ok(Some(user)) => {
                    trusted.uids.insert(user.uid.as_raw());
                    trusted.gids.insert(user.gid.as_raw());
                    trusted.names.insert(user.name);
                }
                Ok(None) => errors.push(UserError::Unknown(name.clone())),
                Err(errno) => errors.push(UserError::Lookup { name: name.clone(), message: errno.desc().to_owned() }),
            }
        }
        (trusted, errors)
    }

    /// Whom a hook trusts: root, its own user, and the owner of the folder of files, who could write there whatever he
    /// wants. Nobody is looked up, because that may ask a server, and hooks must not wait.
    #[must_use]
    pub fn of_hook(state_dir: &Path) -> Self {
        let trusted = Self::root().with_uid(rustix::process::geteuid().as_raw());
        match rustix::fs::statat(CWD, file::folder(state_dir), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => trusted.with_uid(stat.st_uid),
            Err(_) => trusted,
        }
    }

    /// The same and one more uid.
    #[must_use]
    pub fn with_uid(mut self, uid: u32) -> Self {
        self.uids.insert(uid);
        self
    }

    /// Whether files of this uid count.
    #[must_use]
    pub fn owns(&self, uid: u32) -> bool {
        self.uids.contains(&uid)
    }

    /// Everything by which somebody else could put or move files in the state folder and in `desired` below it. Files
    /// that others put there do not count anyway, but whoever may write the folder can take a good one away. If the
    /// daemon has a user of its own that owns the state folder, add it by [`Self::with_uid`].
    #[must_use]
    pub fn folder_problems(&self, state_dir: &Path) -> Vec<FolderProblem> {
        [state_dir.to_owned(), file::folder(state_dir)].into_iter().flat_map(|path| self.problems_of(path)).collect()
    }

    fn problems_of(&self, path: PathBuf) -> Vec<FolderProblem> {
        let stat = match rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => return vec![FolderProblem::Missing(path)],
            Err(errno) => return vec![FolderProblem::Unreadable { path, message: errno.to_string() }],
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return vec![FolderProblem::NotAFolder(path)];
        }
        let mut problems = Vec::new();
        if !self.owns(stat.st_uid) {
            problems.push(FolderProblem::Owner { path: path.clone(), uid: stat.st_uid });
        }
        if stat.st_mode & 0o020 != 0 && !self.includes_group(stat.st_gid) {
            problems.push(FolderProblem::Group { path: path.clone(), gid: stat.st_gid });
        }
        if stat.st_mode & 0o002 != 0 {
            problems.push(FolderProblem::Everybody(path));
        }
        problems
    }

    /// The own group of a trusted user, or a group whose listed members are all trusted.
    fn includes_group(&self, gid: u32) -> bool {
        self.gids.contains(&gid)
            || Group::from_gid(Gid::from_raw(gid)).ok().flatten().is_some_and(|group| {
                !group.mem.is_empty() && group.mem.iter().all(|member| self.names.contains(member))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_user_that_does_not_exist_is_reported_and_the_others_count() {
        let users = ["daemon".to_owned(), "no-such-user".to_owned()];
        let (trusted, errors) = TrustedOwners::resolve(&users);
        let daemon = User::from_name("daemon").unwrap().unwrap().uid.as_raw();
        assert!(trusted.owns(0) && trusted.owns(daemon));
        assert!(!trusted.owns(daemon + 10_000));
        assert_eq!(errors, [UserError::Unknown("no-such-user".to_owned())]);
    }

    #[test]
    fn a_folder_that_others_may_write_is_a_problem_in_each_way() {
        let state = tempfile::tempdir().unwrap();
        let desired = file::folder(state.path());
        let me = rustix::process::geteuid().as_raw();
        let trusted = TrustedOwners::root().with_uid(me);
        mode(state.path(), 0o755);
        assert_eq!(trusted.folder_problems(state.path()), [FolderProblem::Missing(desired.clone())]);

        symlink(state.path(), &desired).unwrap();
        assert_eq!(trusted.folder_problems(state.path()), [FolderProblem::NotAFolder(desired.clone())]);
        fs::remove_file(&desired).unwrap();

        fs::create_dir(&desired).unwrap();
        mode(&desired, 0o755);
        assert_eq!(trusted.folder_problems(state.path()), []);
        mode(&desired, 0o757);
        assert_eq!(trusted.folder_problems(state.path()), [FolderProblem::Everybody(desired.clone())]);

        mode(&desired, 0o775);
        let gid = rustix::fs::stat(&desired).unwrap().st_gid;
        let nobody = TrustedOwners { uids: BTreeSet::from([me]), gids: BTreeSet::new(), names: BTreeSet::new() };
        assert_eq!(nobody.folder_problems(state.path()), [FolderProblem::Group { path: desired.clone(), gid }]);
        let group = TrustedOwners { gids: BTreeSet::from([gid]), ..nobody.clone() };
        assert_eq!(group.folder_problems(state.path()), []);

        let stranger = TrustedOwners { uids: BTreeSet::from([me + 1]), ..group };
        let owner = |path: &Path| FolderProblem::Owner { path: path.to_owned(), uid: me };
        assert_eq!(stranger.folder_problems(state.path()), [owner(state.path()), owner(&desired)]);
    }
}
