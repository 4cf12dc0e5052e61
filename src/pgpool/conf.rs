//! pgpool.conf, as far as it concerns the VIP. Pure: the text is read elsewhere.
//!
//! The form is that of Pgpool's `pool_config.l`: one `key = value` a line, values in single quotes or bare, `#` begins a
//! comment, the last line of a key counts, and keys are compared without case. Up to Pgpool-II 4.3 one key is spelled
//! `delegate_IP`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// The places of pgpool.conf: Debian's, that of the RPMs, and that of a build from source.
pub const PLACES: [&str; 3] = ["/etc/pgpool2/pgpool.conf", "/etc/pgpool-II/pgpool.conf", "/usr/local/etc/pgpool.conf"];

/// Pgpool's default of `wd_portN`.
const WATCHDOG_PORT: u16 = 9000;
/// Pgpool's default of `heartbeat_portN`.
const HEARTBEAT_PORT: u16 = 9694;
/// Pgpool's default of `port`.
const PORT: u16 = 9999;
/// Pgpool's default of `wd_heartbeat_deadtime`.
const DEADTIME: Duration = Duration::from_secs(30);
/// Pgpool's defaults of `wd_interval` and of `wd_life_point`.
const INTERVAL: Duration = Duration::from_secs(10);
const LIFE_POINTS: u32 = 3;

/// The key of the hook that waits for the VIP. The two other hooks move it.
pub const WAIT_KEY: &str = "arping_cmd";
/// The word that Pgpool replaces by the delegate IP in a hook's command.
pub const IP_WORD: &str = "$_IP_$";

/// The settings of one pgpool.conf, by their keys in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conf(BTreeMap<String, String>);

/// The way in which Pgpool's lifecheck tells whether a node lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecheck {
    Heartbeat,
    Query,
    /// Another program tells the watchdog.
    External,
}

/// One watchdog node that pgpool.conf names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerNode {
    /// The number behind the keys, as in `hostname0`.
    pub number: u32,
    pub host: String,
    pub watchdog_port: u16,
}

/// A hook as pgpool.conf has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookLine<'a> {
    pub key: &'static str,
    /// `None` if pgpool.conf does not have the key.
    pub command: Option<&'a str>,
}

impl Conf {
    /// Reads the text of a pgpool.conf. A line that is no setting is left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let settings = text.lines().filter_map(|line| {
            let (key, value) = line.split_once('=')?;
            let key = key.trim();
            let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            is_key.then(|| (key.to_ascii_lowercase(), value_of(value)))
        });
        Self(settings.collect())
    }

    /// The value of a key. An empty value counts as absent, as it does for Pgpool.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn is_on(&self, key: &str) -> bool {
        matches!(self.get(key).map(str::to_ascii_lowercase).as_deref(), Some("on" | "true" | "yes" | "1"))
    }

    /// Whether the watchdog is used at all.
    #[must_use]
    pub fn uses_watchdog(&self) -> bool {
        self.is_on("use_watchdog")
    }

    /// Whether half of the votes suffice for a quorum.
    #[must_use]
    pub fn half_votes_suffice(&self) -> bool {
        self.is_on("enable_consensus_with_half_votes")
    }

    /// The delegate IP as it is written, and as an address if it is one.
    #[must_use]
    pub fn delegate_ip(&self) -> Option<(&str, Option<IpAddr>)> {
        self.get("delegate_ip").map(|text| (text, text.parse().ok()))
    }

    /// The three hooks, in the order in which Pgpool's documents have them.
    #[must_use]
    pub fn hooks(&self) -> [HookLine<'_>; 3] {
        ["if_up_cmd", "if_down_cmd", WAIT_KEY].map(|key| HookLine { key, command: self.get(key) })
    }

    /// The commands that Pgpool runs besides the hooks when it escalates or de-escalates.
    pub fn escalation_commands(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let keys = ["wd_escalation_command", "wd_de_escalation_command"];
        keys.into_iter().filter_map(|key| Some((key, self.get(key)?)))
    }

    #[must_use]
    pub fn lifecheck(&self) -> Lifecheck {
        match self.get("wd_lifecheck_method") {
            Some("query") => Lifecheck::Query,
            Some("external") => Lifecheck::External,
            Some(_) | None => Lifecheck::Heartbeat,
        }
    }

    /// The time that a watchdog may stand still before the others take it for dead.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self.lifecheck() {
            Lifecheck::Heartbeat => self.duration("wd_heartbeat_deadtime").unwrap_or(DEADTIME),
            Lifecheck::Query | Lifecheck::External => {
                let points = self.get("wd_life_point").and_then(|points| points.parse().ok()).unwrap_or(LIFE_POINTS);
                self.duration("wd_interval").unwrap_or(INTERVAL).saturating_mul(points)
            }
        }
    }

    /// A duration: a number of seconds, or a number with Pgpool's unit.
    fn duration(&self, key: &str) -> Option<Duration> {
        let text = self.get(key)?;
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number: u64 = digits.trim().parse().ok()?;
        match text[digits.len()..].trim() {
            "" | "s" => Some(Duration::from_secs(number)),
            "ms" => Some(Duration::from_millis(number)),
            // Whatever a file says: a number without end is a long time.
            "min" => Some(Duration::from_secs(number.saturating_mul(60))),
            "h" => Some(Duration::from_secs(number.saturating_mul(60 * 60))),
            _ => None,
        }
    }

    /// The port at which Pgpool serves clients.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.get("port").and_then(|port| port.parse().ok()).unwrap_or(PORT)
    }

    /// The watchdog's nodes, this one included, by their numbers.
    #[must_use]
    pub fn nodes(&self) -> Vec<PeerNode> {
        let nodes = self.0.iter().filter_map(|(key, host)| {
            let number: u32 = key.strip_prefix("hostname")?.parse().ok()?;
            let port = self.get(&format!("wd_port{number}")).and_then(|port| port.parse().ok());
            let (host, watchdog_port) = (host.clone(), port.unwrap_or(WATCHDOG_PORT));
            (!host.is_empty()).then_some(PeerNode { number, host, watchdog_port })
        });
        let mut nodes: Vec<_> = nodes.collect();
        nodes.sort();
        nodes
    }

    /// The UDP port at which the node with this number hears heartbeats.
    #[must_use]
    pub fn heartbeat_port(&self, number: u32) -> u16 {
        self.get(&format!("heartbeat_port{number}")).and_then(|port| port.parse().ok()).unwrap_or(HEARTBEAT_PORT)
    }
}

/// The value behind the equals sign: the text in quotes, or the text up to a comment.
fn value_of(text: &str) -> String {
    let text = text.trim();
    match text.strip_prefix('\'') {
        Some(rest) => rest.split('\'').next().unwrap_or_default().to_owned(),
        None => text.split('#').next().unwrap_or_default().trim().to_owned(),
    }
}

/// A hook's command, as Pgpool takes it apart: it splits at spaces, and runs no shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookCommand<'a> {
    pub program: &'a Path,
    pub arguments: Vec<&'a str>,
}

impl<'a> HookCommand<'a> {
    /// Takes a command apart. `None` for an empty text.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        Some(Self { program: Path::new(words.next()?), arguments: words.collect() })
    }

    /// The subcommand, if the command starts vipkeeper.
    #[must_use]
    pub fn subcommand_of_vipkeeper(&self) -> Option<&'a str> {
        let is_ours = self.program.file_name().is_some_and(|name| name == "vipkeeper");
        let mut words = self.arguments.iter();
        let mut skips = false;
        let first = words.find(|word| match (std::mem::take(&mut skips), **word) {
            (true, _) => false,
            (false, "--config" | "--state-dir") => {
                skips = true;
                false
            }
            (false, word) => !word.starts_with('-'),
        });
        first.filter(|_| is_ours).copied()
    }

    /// The value of a flag, as `--flag value` or `--flag=value`.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<&'a str> {
        let mut words = self.arguments.iter();
        while let Some(word) = words.next() {
            if *word == name {
                return words.next().copied();
            }
            if let Some(value) = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = "# comment = 'x'\nuse_watchdog = on   # yes\ndelegate_IP = '20.0.0.50'\n\
                        if_up_cmd = '/usr/bin/vipkeeper --config /etc/v.toml up $_IP_$'\nhostname0 = 'a'\nhostname10 = 'k'\n\
                        wd_port10 = 9001\nhostname2 = ''\nwd_heartbeat_deadtime = 5\nport = 9998\nport = 9997\n";

    #[test]
    fn a_setting_is_read_as_pgpool_reads_it() {
        let conf = Conf::parse(CONF);
        assert!(conf.uses_watchdog() && !conf.half_votes_suffice());
        assert_eq!(conf.delegate_ip(), Some(("20.0.0.50", "20.0.0.50".parse().ok())));
        assert_eq!(conf.get("comment"), None);
        assert_eq!(conf.port(), 9997, "the last line counts");
        let node = |number, host: &str, watchdog_port| PeerNode { number, host: host.to_owned(), watchdog_port };
        assert_eq!(conf.nodes(), [node(0, "a", 9000), node(10, "k", 9001)]);
        assert_eq!(conf.heartbeat_port(0), 9694);
    }

    #[test]
    fn the_watchdogs_patience_follows_from_the_method_of_its_lifecheck() {
        let patience = |text: &str| Conf::parse(text).patience().as_millis();
        assert_eq!(patience(""), 30_000);
        assert_eq!(patience("wd_heartbeat_deadtime = 5"), 5_000);
        assert_eq!(patience("wd_heartbeat_deadtime = 500ms"), 500);
        assert_eq!(patience("wd_lifecheck_method = 'query'\nwd_interval = 2min\nwd_life_point = 4"), 480_000);
        assert_eq!(patience("wd_lifecheck_method = 'query'\nwd_heartbeat_deadtime = 5"), 30_000);
        let endless =
            patience("wd_lifecheck_method = 'query'\nwd_interval = 18446744073709551615h\nwd_life_point = 4294967295");
        assert!(endless > 1_000_000_000_000, "{endless}");
    }

    #[test]
    fn a_hooks_command_is_taken_apart_at_spaces() {
        let conf = Conf::parse(CONF);
        let up = HookCommand::parse(conf.hooks()[0].command.unwrap()).unwrap();
        assert_eq!((up.subcommand_of_vipkeeper(), up.flag("--config")), (Some("up"), Some("/etc/v.toml")));
        let wait = HookCommand::parse("/usr/bin/vipkeeper wait $_IP_$ --timeout=8s").unwrap();
        assert_eq!((wait.subcommand_of_vipkeeper(), wait.flag("--timeout")), (Some("wait"), Some("8s")));
        let script = HookCommand::parse("/etc/pgpool2/aws_eip_if_up.sh up").unwrap();
        assert_eq!(script.subcommand_of_vipkeeper(), None);
        assert_eq!(HookCommand::parse("  "), None);
    }
}
