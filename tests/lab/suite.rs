//! Other versions of Pgpool-II and PostgreSQL: the packages of other Debian suites, each unpacked into a folder by
//! `tests/pgpool-suite`. A machine of the lab runs their programs by chroot there, with its own /etc and its own vipkeeper
//! laid over the folder's. All mounts are the machine's own, and go with it.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::machine::{clean, output};

/// Where the programs of a lab come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// This machine's own packages.
    Here,
    Trixie,
    Sid,
}

impl Suite {
    const ALL: [Self; 3] = [Self::Here, Self::Trixie, Self::Sid];

    /// Its name in `VIPKEEPER_LAB_PGPOOL`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    /// The folder that its packages are in; none for this machine's own.
    pub fn root(self) -> Option<PathBuf> {
        let suites = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join("suites");
        (self != Self::Here).then(|| suites.join(self.name()))
    }

    /// Whether its programs are there.
    pub fn is_installed(self) -> bool {
        self.root().is_none_or(|root| root.exists())
    }

    /// A path of its files, as it is seen from outside.
    pub fn path(self, path: &str) -> PathBuf {
        self.root().map_or_else(|| path.into(), |root| PathBuf::from(format!("{}{path}", root.display())))
    }

    /// The folders that are laid over folders of the machine and of the suite.
    pub fn overlays(self, all: &[(&PathBuf, &str)]) -> Vec<(PathBuf, PathBuf)> {
        let places = |(upper, lower): &(&PathBuf, &str)| {
            BTreeSet::from([PathBuf::from(lower), self.path(lower)])
                .into_iter()
                .map(|lower| ((*upper).clone(), lower))
                .collect::<Vec<_>>()
        };
        all.iter().flat_map(places).collect()
    }

    /// The words before a program of the suite, which make it run there, as the user that the words `user` make it run as.
    pub fn as_user(self, user: &[&str]) -> Vec<String> {
        let enter = self.root().map_or_else(Vec::new, |root| vec!["chroot".to_owned(), root.display().to_string()]);
        enter.into_iter().chain(user.iter().map(|word| (*word).to_owned())).collect()
    }

    /// Pgpool-II's version, such as 4.3.5.
    pub fn pgpool(self) -> String {
        // It says so on its standard error.
        let command = self.as_user(&["/usr/sbin/pgpool", "--version"]);
        let said = output(clean("sh").args(["-c", "exec \"$@\" 2>&1", "sh"]).args(command), None);
        said.split_whitespace().nth(2).expect("pgpool-II version N").to_owned()
    }
}

/// The suite with the newest Pgpool-II of those that are installed beside this machine's own.
pub fn newest() -> Option<Suite> {
    [Suite::Sid, Suite::Trixie].into_iter().find(|suite| suite.is_installed())
}

/// The suites that `VIPKEEPER_LAB_PGPOOL` names, by commas. None where it names none.
///
/// # Panics
/// When it names one that nobody knows, or one that is not installed.
pub fn chosen() -> Option<Vec<Suite>> {
    let names = env::var("VIPKEEPER_LAB_PGPOOL").ok()?;
    let suite = |name: &str| {
        let suite = Suite::ALL.into_iter().find(|suite| suite.name() == name.trim());
        let suite = suite.unwrap_or_else(|| panic!("VIPKEEPER_LAB_PGPOOL names {name:?}"));
        assert!(suite.is_installed(), "not installed: Pgpool-II of {name}; tests/pgpool-suite {name} installs it");
        suite
    };
    Some(names.split(',').map(suite).collect())
}

/// Puts this machine's users into a folder that is laid over a suite's /etc: the ids are those of the files outside.
pub fn put_users(etc: &Path) {
    for file in ["passwd", "group"] {
        fs::copy(Path::new("/etc").join(file), etc.join(file)).unwrap();
    }
}
