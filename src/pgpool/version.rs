//! Pgpool's version, and the faults of versions that concern the VIP. Pure.

use std::fmt;

/// A version of Pgpool-II, like 4.3.17.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The oldest version whose settings are as this program reads them.
const OLDEST: Version = Version { major: 4, minor: 2, patch: 0 };

/// The first versions of each series in which the lifecheck starts although a node was never reached (Pgpool-II's
/// release notes of October 2025).
const LIFECHECK_MENDED: [Version; 5] =
    [version(4, 3, 17), version(4, 4, 14), version(4, 5, 9), version(4, 6, 4), version(4, 7, 0)];

/// The versions whose heartbeat receiver listens on the loopback interface alone: from the first on, below the second.
const DEAF: [Version; 2] = [version(4, 6, 0), version(4, 6, 3)];

const fn version(major: u32, minor: u32, patch: u32) -> Version {
    Version { major, minor, patch }
}

impl Version {
    /// Reads the answer of `pgpool --version`, like "pgpool-II version 4.3.5 (tamahomeboshi)".
    #[must_use]
    pub fn parse(answer: &str) -> Option<Self> {
        answer.split_whitespace().find_map(|word| {
            let mut numbers = word.split('.').map(|part| {
                let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
                part[..digits].parse::<u32>().ok()
            });
            let (major, minor) = (numbers.next()??, numbers.next()??);
            Some(Self { major, minor, patch: numbers.next().flatten().unwrap_or(0) })
        })
    }

    /// Whether this program cannot read the settings of this version.
    #[must_use]
    pub fn is_too_old(self) -> bool {
        self < OLDEST
    }

    /// Whether this version hears no heartbeat of another node.
    #[must_use]
    pub fn hears_no_heartbeat(self) -> bool {
        (DEAF[0]..DEAF[1]).contains(&self)
    }

    /// Whether this version starts no lifecheck while a node has never been reached. Nobody then notices that a leader
    /// hangs.
    #[must_use]
    pub fn lifecheck_waits_for_all(self) -> bool {
        let of_series = |mended: &&Version| (mended.major, mended.minor) == (self.major, self.minor);
        match LIFECHECK_MENDED.iter().find(of_series) {
            Some(mended) => self < *mended,
            None => self < LIFECHECK_MENDED[0],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_pgpools_own_answer() {
        assert_eq!(Version::parse("pgpool-II version 4.3.5 (tamahomeboshi)\n"), Some(version(4, 3, 5)));
        assert_eq!(Version::parse("pgpool-II version 4.8devel (master)"), Some(version(4, 8, 0)));
        assert_eq!(Version::parse("something else"), None);
    }

    #[test]
    fn each_fault_has_its_versions() {
        let told = |text: &str| {
            let version = Version::parse(text).unwrap();
            (version.hears_no_heartbeat(), version.lifecheck_waits_for_all())
        };
        for (text, deaf, waits) in [
            ("4.2.20", false, true),
            ("4.3.5", false, true),
            ("4.3.16", false, true),
            ("4.3.17", false, false),
            ("4.5.8", false, true),
            ("4.5.9", false, false),
            ("4.6.0", true, true),
            ("4.6.2", true, true),
            ("4.6.3", false, true),
            ("4.6.4", false, false),
            ("4.7.0", false, false),
            ("5.0.0", false, false),
        ] {
            assert_eq!(told(text), (deaf, waits), "{text}");
        }
        assert!(Version::parse("4.1.9").unwrap().is_too_old() && !Version::parse("4.2.0").unwrap().is_too_old());
    }
}
