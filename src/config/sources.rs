//! Where settings come from: the file, then `VIPKEEPER_…` variables, then flags, each overriding the ones before it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use super::error::{ConfigError, Place};
use super::layers::{Flag, Layers};
use super::reader::{Reader, Table};
use super::{Config, DEFAULT_STATE_DIR, sections};

/// Where the configuration is, unless `--config` or [`FILE_VARIABLE`] says otherwise.
pub const DEFAULT_FILE: &str = "/etc/vipkeeper/vipkeeper.toml";

/// Everything that a configuration is made of; kept by the daemon, which reads it again when it is told to.
#[derive(Debug, Clone)]
pub struct Sources {
    pub file: PathBuf,
    /// All variables of the process; those without the prefix are ignored.
    pub environment: Vec<(OsString, OsString)>,
    pub flags: Vec<Flag>,
}

/// What a hook needs of the configuration. Whatever is wrong with it, the hook can write its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookConfig {
    pub state_dir: PathBuf,
    /// `None` if the configuration has errors: then no delegate IP can be called unknown.
    pub delegate_ips: Option<BTreeSet<IpAddr>>,
    /// What to warn about.
    pub error: Option<ConfigError>,
}

impl Sources {
    /// This file, the environment of this process, and these flags.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn of_process(file: PathBuf, flags: Vec<Flag>) -> Self {
        Self { file, environment: std::env::vars_os().collect(), flags }
    }

    fn layers(&self) -> Layers {
        Layers::new(&self.file, &self.environment, &self.flags)
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// With all problems at once; a file that cannot be read is one of them.
    pub fn load(&self) -> Result<Config, ConfigError> {
        checked(&self.layers())
    }

    /// Says so if a variable gives this process another state folder than its file and flags do. Pgpool starts the hooks
    /// without the variables of the daemon's unit: what they write would be lost, and nobody told.
    #[must_use]
    pub fn state_dir_that_hooks_miss(&self) -> Option<String> {
        let without_variables = Self { environment: Vec::new(), ..self.clone() };
        let (ours, theirs) = (self.load_for_hook().state_dir, without_variables.load_for_hook().state_dir);
        (ours != theirs).then(|| {
            format!(
                "VIPKEEPER_STATE_DIR gives this daemon the state folder {}, but hooks do not get the variable from its unit \
                 and write into {}: set state_dir in {} instead",
                ours.display(),
                theirs.display(),
                self.file.display()
            )
        })
    }

    /// Reads what a hook needs, as far as it can be read.
    #[must_use]
    pub fn load_for_hook(&self) -> HookConfig {
        let layers = self.layers();
        match checked(&layers) {
            Ok(config) => HookConfig {
                state_dir: config.state_dir,
                delegate_ips: Some(config.vips.iter().map(|vip| vip.delegate_ip).collect()),
                error: None,
            },
            Err(error) => {
                let reader = Reader::new(&layers);
                let state_dir = sections::state_dir(&mut Table::root(&reader));
                HookConfig {
                    state_dir: state_dir.ok().flatten().unwrap_or_else(|| PathBuf::from(DEFAULT_STATE_DIR)),
                    delegate_ips: None,
                    error: Some(error),
                }
            }
        }
    }
}

/// `NO_PROXY` of this process: the hosts that are asked without a proxy, as the SDK's HTTP client reads it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn no_proxy() -> String {
    let first = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| std::env::var(name).ok());
    first.unwrap_or_default()
}

/// The checked configuration, or every problem of the layers and of the values in them.
fn checked(layers: &Layers) -> Result<Config, ConfigError> {
    let mut problems = layers.problems.clone();
    if problems.iter().any(|problem| matches!(problem.place, Place::File { .. })) {
        // What the rest of the layers lacks is in the file that could not be read.
        return Err(ConfigError::new(problems).expect("there is one"));
    }
    let reader = Reader::new(layers);
    let config = sections::config(Table::root(&reader));
    problems.extend(reader.into_problems());
    match (config, ConfigError::new(problems)) {
        (_, Some(error)) => Err(error),
        (Ok(config), None) => Ok(config),
        (Err(_), None) => unreachable!("a `Reported` exists only where a problem was recorded"),
    }
}
