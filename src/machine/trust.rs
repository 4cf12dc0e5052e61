//! The users whose files and sockets count: root, and the users that the configuration names.

use std::cell::{Ref, RefCell};
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use nix::unistd::User;
use rustix::fs::{AtFlags, CWD};

/// The users whose files count: root always, and the configured users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedOwners {
    uids: BTreeSet<u32>,
}

/// Trusted users that several parts share, so that all parts still agree after the configuration changed.
#[derive(Debug, Clone)]
pub struct SharedOwners(Rc<RefCell<TrustedOwners>>);

impl SharedOwners {
    /// The users that count now.
    #[must_use]
    pub fn get(&self) -> Ref<'_, TrustedOwners> {
        self.0.borrow()
    }

    /// Replaces the users that count.
    pub fn replace(&self, trusted: TrustedOwners) {
        self.0.replace(trusted);
    }
}

impl From<TrustedOwners> for SharedOwners {
    fn from(trusted: TrustedOwners) -> Self {
        Self(Rc::new(RefCell::new(trusted)))
    }
}

/// A configured user who was not found, so no file counts as that user's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("hook user {0} does not exist on this machine")]
    Unknown(String),
    #[error("hook user {name} could not be looked up: {message}")]
    Lookup { name: String, message: String },
}

/// Looks up a user's uid as the system does (`getpwnam_r`). The lookup may ask a server and take long.
///
/// # Errors
/// There is no such user, or the lookup failed.
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

    /// Root and these users. The users are looked up as the system does (`getpwnam_r`), because a user may come from
    /// sssd or LDAP, of which `/etc/passwd` knows nothing. The lookup may take a while, so it belongs at the start and
    /// not at each read. A user who does not exist is reported, and no file counts as that user's. Such a user may come
    /// later, with Pgpool's package.
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

    /// The users that a hook trusts: root, the hook's own user, and the owner of the folder of files, who could write
    /// anything there. No user is looked up by name, because a lookup may ask a server, and hooks must not wait.
    #[must_use]
    pub fn of_hook(folder: &Path) -> Self {
        let trusted = Self::root().with_uid(rustix::process::geteuid().as_raw());
        match rustix::fs::statat(CWD, folder, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => trusted.with_uid(stat.st_uid),
            Err(_) => trusted,
        }
    }

    /// Adds one more uid to the users that count.
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
