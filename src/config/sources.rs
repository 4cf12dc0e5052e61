//! The sources of settings: the file, then `VIPKEEPER_…` variables, then flags. Each source overrides the sources
//! before it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::error::{ConfigError, Place};
use super::layers::{FILE_VARIABLE, Flag, Layers};
use super::reader::{Reader, Table};
use super::{Config, DEFAULT_STATE_DIR, sections};

/// The path of the configuration, unless `--config` or the variable `VIPKEEPER_CONFIG` names another file.
pub const DEFAULT_FILE: &str = "/etc/vipkeeper/vipkeeper.toml";

/// The sources of a configuration. The daemon keeps them, and reads them again when it is told to reload.
#[derive(Debug, Clone)]
pub struct Sources {
    pub file: PathBuf,
    /// All variables of the process. Variables without the prefix are ignored, except those of AWS and of proxies.
    pub environment: Vec<(OsString, OsString)>,
    pub flags: Vec<Flag>,
}

/// The part of the configuration that a hook needs. Even if the configuration has errors, the hook can write its
/// file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookConfig {
    pub state_dir: PathBuf,
    /// The delegate IPs. `None` if the configuration has errors: no delegate IP counts as unknown then.
    pub delegate_ips: Option<BTreeSet<IpAddr>>,
    /// The errors of the configuration. The hook warns about them.
    pub error: Option<ConfigError>,
}

impl Sources {
    /// The sources with this file, the environment of this process, and these flags.
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
    /// The error contains all problems at once. A file that cannot be read is one of them.
    pub fn load(&self) -> Result<Config, ConfigError> {
        checked(&self.layers())
    }

    /// Returns a warning if a variable gives this process another state folder than hooks have. Pgpool starts the hooks
    /// without the variables of the daemon's unit. The daemon would never see the files of the hooks, and nobody would
    /// notice. Flags count for the hooks as well: their lines in pgpool.conf can have the same.
    #[must_use]
    pub fn state_dir_that_hooks_miss(&self) -> Option<String> {
        let by_variable = |(name, value): &(OsString, OsString)| name == FILE_VARIABLE && Path::new(value) == self.file;
        let default = Path::new(DEFAULT_FILE);
        let file = if self.environment.iter().any(by_variable) { default } else { &self.file };
        let of_hooks = |file: &Path| {
            let without_variables = Self { file: file.to_owned(), environment: Vec::new(), flags: self.flags.clone() };
            without_variables.load_for_hook().state_dir
        };
        let (ours, theirs) = (self.load_for_hook().state_dir, of_hooks(file));
        if ours == theirs {
            return None;
        }
        let (variable, cure) = if of_hooks(&self.file) == ours {
            let cure = format!("start the daemon and the hooks with --config {} instead", self.file.display());
            (FILE_VARIABLE, cure)
        } else {
            ("VIPKEEPER_STATE_DIR", format!("set state_dir in {} instead", file.display()))
        };
        Some(format!(
            "{variable} gives this daemon the state folder {}, but hooks do not get the variable from its unit and write \
             into {}: {cure}",
            ours.display(),
            theirs.display(),
        ))
    }

    /// Reads the part that a hook needs, as far as it can be read.
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

/// The variables of one process that are about proxies. A variable that is set and empty counts as not set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyVariables {
    /// The proxy for plain HTTP.
    pub http: Option<String>,
    /// The proxy for TLS.
    pub https: Option<String>,
    /// The value of `NO_PROXY`: the hosts that are asked without a proxy.
    pub past: String,
}

/// The variables of this process that are about proxies.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn proxy_variables() -> ProxyVariables {
    proxy_variables_by(&|name| std::env::var(name).ok())
}

fn proxy_variables_by(variable: &dyn Fn(&str) -> Option<String>) -> ProxyVariables {
    let of = |[upper, lower]: [&str; 2]| {
        [upper, lower].into_iter().find_map(|name| variable(name).filter(|value| !value.is_empty()))
    };
    let all = || of(["ALL_PROXY", "all_proxy"]);
    ProxyVariables {
        http: of(["HTTP_PROXY", "http_proxy"]).or_else(all),
        https: of(["HTTPS_PROXY", "https_proxy"]).or_else(all),
        past: of(["NO_PROXY", "no_proxy"]).unwrap_or_default(),
    }
}

/// The variables of this process that name the system's trust store, with their values; `None` if neither is set.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn trust_places() -> Option<String> {
    let named = |name| std::env::var_os(name).map(|value| format!("{name}={}", value.display()));
    let all: Vec<_> = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(named).collect();
    (!all.is_empty()).then(|| all.join(" and "))
}

/// The address of the metadata service that the SDK asks in this process, where the config names none.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn metadata_endpoint() -> String {
    metadata_endpoint_by(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// The address of a container's credentials in this process, without its query; `None` where there is none.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn container_endpoint() -> Option<String> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("http://169.254.170.2{path}"));
    let address = relative.or_else(|| variable("AWS_CONTAINER_CREDENTIALS_FULL_URI"))?;
    Some(address.split('?').next().unwrap_or_default().to_owned())
}

/// Tells which half is missing where the environment of this process holds one half of a pair of keys. The SDK takes half a
/// pair for none.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn half_a_key_pair() -> Option<String> {
    half_a_key_pair_by(&|name| std::env::var(name).is_ok_and(|value| !value.trim().is_empty()))
}

/// Tells that the environment of this process names the file of a web identity token without the role. A role without
/// a token is none to complain of: the AWS CLI takes it for nothing as well.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn token_without_role() -> Option<String> {
    let is_set = |name| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let (token, role) = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN");
    (is_set(token) && !is_set(role)).then(|| format!("{token} is set, and {role} is not"))
}

/// The profile that the environment of this process names. It is empty where the variable is set and empty.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn profile_variable() -> Option<String> {
    std::env::var("AWS_PROFILE").ok()
}

/// Tells which file of profiles the environment of this process names although it cannot be read. The SDK takes such a
/// file for an empty one.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn unreadable_profiles() -> Option<String> {
    ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"].into_iter().find_map(|name| {
        let path = std::env::var(name).ok().filter(|path| !path.is_empty())?;
        // The SDK puts the home folder in the place of the sign as well.
        let in_home = path.strip_prefix("~/").zip(std::env::home_dir());
        let whole = in_home.map_or_else(|| PathBuf::from(&path), |(rest, home)| home.join(rest));
        let error = std::io::Error::from(rustix::fs::access(&whole, Access::READ_OK).err()?);
        Some(format!("{name} names {path}, which cannot be read: {error}"))
    })
}

fn half_a_key_pair_by(is_set: &dyn Fn(&str) -> bool) -> Option<String> {
    let (id, secret) = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
    // The SDK knows the secret by an older name as well.
    let half = |one: &str, other: &str| Some(format!("{one} is set, and {other} is not"));
    match (is_set(id), is_set(secret) || is_set("SECRET_ACCESS_KEY")) {
        (true, false) => half(id, secret),
        (false, true) if is_set(secret) => half(secret, id),
        _ => None,
    }
}

fn metadata_endpoint_by(variable: &dyn Fn(&str) -> Option<String>) -> String {
    let by_mode = || match variable("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE") {
        Some(mode) if mode.eq_ignore_ascii_case("ipv6") => "http://[fd00:ec2::254]".to_owned(),
        _ => "http://169.254.169.254".to_owned(),
    };
    variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(by_mode)
}

/// Returns the checked configuration, or every problem of the layers and of their values.
fn checked(layers: &Layers) -> Result<Config, ConfigError> {
    let mut problems = layers.problems.clone();
    if problems.iter().any(|problem| matches!(problem.place, Place::File { .. })) {
        // The values are not checked: keys that seem to be missing may be in the file that could not be read.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_pair_of_keys_is_told() {
        let (id, secret) = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
        for (set, told) in [
            (&[][..], None),
            (&[id, secret], None),
            (&[id, "SECRET_ACCESS_KEY"], None),
            (&["SECRET_ACCESS_KEY"], None),
            (&[id], Some("AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not")),
            (&[secret], Some("AWS_SECRET_ACCESS_KEY is set, and AWS_ACCESS_KEY_ID is not")),
        ] {
            assert_eq!(half_a_key_pair_by(&|name| set.contains(&name)).as_deref(), told, "{set:?}");
        }
    }

    #[test]
    fn an_empty_variable_of_a_proxy_hides_no_other_one() {
        let by = |set: &[(&str, &str)]| {
            let found = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            let ProxyVariables { http, https, past } = proxy_variables_by(&found);
            [http.unwrap_or_default(), https.unwrap_or_default(), past]
        };
        assert_eq!(by(&[]), ["", "", ""]);
        assert_eq!(by(&[("HTTP_PROXY", ""), ("http_proxy", "h"), ("NO_PROXY", ""), ("no_proxy", "n")]), ["h", "", "n"]);
        assert_eq!(by(&[("HTTPS_PROXY", "s"), ("https_proxy", "other"), ("all_proxy", "a")]), ["a", "s", ""]);
        assert_eq!(by(&[("HTTPS_PROXY", ""), ("ALL_PROXY", ""), ("all_proxy", "a")]), ["a", "a", ""]);
        assert_eq!(by(&[("HTTP_PROXY", "h"), ("REQUEST_METHOD", "GET")]), ["h", "", ""], "this is no CGI program");
    }

    #[test]
    fn the_metadata_service_is_named_by_the_address_that_the_sdk_asks() {
        let by = |name: &'static str, value: &'static str| {
            metadata_endpoint_by(&|asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(by("OTHER", "x"), "http://169.254.169.254");
        assert_eq!(by("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6"), "http://[fd00:ec2::254]");
        assert_eq!(by("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1338"), "http://127.0.0.1:1338");
    }
}
