//! Whose files and sockets count: root's, and those of the users that the configuration names.

use std::cell::{Ref, RefCell};
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use nix::unistd::User;
use rustix::fs::{AtFlags, CWD};

/// The users whose files count: root always, and who was configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedOwners {
    uids: BTreeSet<u32>,
}

/// Trusted users that several parts share, so that they agree also after the configuration changed.
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

/// Looks a user up as the system does it (`getpwnam_r`), which may ask a server and take long.
///
/// # Errors
/// When there is no such user, or nobody can tell.
pub fn uid_of(name: &str) -> Result<u32, UserError> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err(UserError::Unknown(name.to_owned())),
        Err(errno) => Err(UserError::Lookup { name: name.to_owned(), message: errno.desc().to_owned() }),
    }
}

impl TrustedOwners {
    /// Root alone.
    #[must_use]
    pub fn root() -> Self {
        Self { uids: BTreeSet::from([0]) }
    }

    /// Root and these users. They are looked up as the system does it (`getpwnam_r`), because a user may come from sssd
    /// or LDAP, of which `/etc/passwd` knows nothing. That may take a while: look up at the start, not for each read.
    /// A user that does not exist is reported and trusts nobody; it may come later, with Pgpool's package.
    #[must_use]
    pub fn resolve(users: &[String]) -> (Self, Vec<UserError>) {
        let mut trusted = Self::root();
        let mut errors = Vec::new();
        for name in users {
            match uid_of(name) {
                Ok(uid) => drop(trusted.uids.insert(uid)),
                Err(error) => errors.push(error),
            }
        }
        (trusted, errors)
    }

    /// Whom a hook trusts: root, its own user, and the owner of the folder of files, who could write there whatever he
    /// wants. Nobody is looked up, because that may ask a server, and hooks must not wait.
    #[must_use]
    pub fn of_hook(folder: &Path) -> Self {
        let trusted = Self::root().with_uid(rustix::process::geteuid().as_raw());
        match rustix::fs::statat(CWD, folder, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => trusted.with_uid(stat.st_uid),
            Err(_) => trusted,
        }
    }

    /// These users and one more uid.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_does_not_exist_is_reported_and_the_others_count() {
        let users = ["daemon".to_owned(), "no-such-user".to_owned()];
        let (trusted, errors) = TrustedOwners::resolve(&users);
        let daemon = User::from_name("daemon").unwrap().unwrap().uid.as_raw();
        assert!(trusted.owns(0) && trusted.owns(daemon));
        assert!(!trusted.owns(daemon + 10_000));
        assert_eq!(errors, [UserError::Unknown("no-such-user".to_owned())]);
    }
}
