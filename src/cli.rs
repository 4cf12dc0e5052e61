//! The command line as types: its commands and flags, and the text of `--help`. The doc comments of commands and
//! flags are the text of `--help`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::check::Category;
use crate::config::{
    DEFAULT_FILE, DEFAULT_PROBE_PORT, FILE_VARIABLE, Flag, LOG_FORMATS, LOG_LEVELS, Sources, region, state_dir,
};
use crate::desired::hold::LONGEST_HOLD;

/// Keeps a Pgpool-II cluster's virtual IP on its leader on AWS.
///
/// Pgpool's hooks write down whether this node leads (`up`, `down`); the daemon (`run`) compares that with EC2 and with
/// the kernel, and corrects every difference for as long as it takes. In pgpool.conf, on every node:
///
///   if_up_cmd    = '/usr/bin/vipkeeper up $_IP_$'
///   if_down_cmd  = '/usr/bin/vipkeeper down $_IP_$'
///   arping_cmd   = '/usr/bin/vipkeeper wait $_IP_$ --timeout 8s'
///
/// Exit status, of which the help of a command says more:
///
///   0   all is well
///   1   any other failure; `check` found something that would stop a failover
///   2   a wrong command line; `up`, `down`, `wait`, `hold`, `resume`: the address is not in the configuration;
///       `plan`: something would change, or a takeover would fail; `status`: something needs attention;
///       `probe`: several nodes answered, or not each question was answered
///   3   `check` found warnings alone
///   78  a wrong configuration: `run`, `plan`, `policy`
#[derive(Debug, Parser)]
#[command(name = "vipkeeper", version, verbatim_doc_comment, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// The flags of every command, which may stand before or after the command's name.
#[derive(Debug, Args)]
pub struct Global {
    /// The configuration file.
    #[arg(long, value_name = "FILE", global = true, env = FILE_VARIABLE, default_value = DEFAULT_FILE)]
    pub config: PathBuf,
    /// The folder for desired state and status; overrides `state_dir` of the configuration.
    #[arg(long, value_name = "DIR", global = true, value_parser = state_dir)]
    pub state_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Record that this node leads: Pgpool's if_up_cmd.
    ///
    /// Writes the desired state and returns; calls nothing and works while the daemon is down. Repeated while the same
    /// leadership lasts, it changes nothing. Exit status 2 if the address is not in the configuration.
    Up(DelegateIp),
    /// Record that this node stands by: Pgpool's if_down_cmd.
    ///
    /// Writes the desired state and returns; calls nothing and works while the daemon is down. Exit status 2 if the
    /// address is not in the configuration.
    Down(DelegateIp),
    /// Wait until the address leads here: Pgpool's arping_cmd.
    ///
    /// Returns 0 once the daemon has seen every binding in place for the leadership that `up` recorded, so that the
    /// ping with which Pgpool goes on succeeds. At the timeout: one line why, and exit status 1. Exit status 2 if the
    /// address is not in the configuration.
    Wait(WaitOptions),
    /// Keep this node from changing anything about the address, for maintenance or to move it by hand.
    ///
    /// The daemon goes on to look, and shows what it would do. A `down`, or the death of Pgpool's watchdog process, still
    /// lets go of the address, unless --strict. It ends by itself, by `resume`, or at a reboot; a restart of the daemon does
    /// not end it. Pgpool's user may call it, and root. Exit status 1 if the running daemon does not take notice. Exit status 2
    /// if the address is not in the configuration.
    Hold(HoldOptions),
    /// End a hold before its time.
    ///
    /// Exit status 1 if the running daemon does not take notice. Exit status 2 if the address is not in the configuration.
    Resume(DelegateIp),
    /// Run the daemon.
    ///
    /// Its end moves nothing: addresses and routes stay where they are, and the next start goes on from there.
    Run(LogOptions),
    /// Show what `run` would change now, and change nothing.
    ///
    /// Exit status 0: nothing to change. 2: changes, or a takeover by this node would fail. 1: could not tell.
    Plan(PlanOptions),
    /// Check, before going live, everything that would fail at a failover.
    ///
    /// Changes nothing: where EC2 has a dry run, it is asked by one, and where it has none, the check says so. Run it on
    /// every node, as root. Exit status 0: a failover to this node should work. 1: something would stop it. 3: there are
    /// warnings alone.
    Check(CheckOptions),
    /// Show what the daemon knows: desired state, claim, every binding, the last error and the next try.
    ///
    /// Exit status 0: in sync. 2: something needs attention. 1: the daemon does not run or is stuck.
    Status(StatusOptions),
    /// Ask through a VIP which node answers there, from any machine and without a configuration.
    ///
    /// The nodes answer where their configuration has a table `[probe]`. Exit status 0: one node answered each question. 2:
    /// several nodes answered, or not each question was answered. 1: nobody answered.
    Probe(ProbeOptions),
    /// Tell the takeovers as timelines, for a post-mortem.
    ///
    /// From the events of this node; or, given the documents of all nodes, from the events of all on one clock, EC2's.
    Report(ReportArguments),
    /// Print the least IAM policy for this configuration.
    ///
    /// It allows the calls that the daemon makes for these VIPs, on these resources alone; the nodes' instances and ENIs are
    /// known by a tag. It asks nothing of EC2: a value that the configuration does not have is left open, and stderr
    /// says how to find it.
    Policy(PolicyOptions),
    /// Watch three nodes fail over on an EC2 endpoint of our own: no AWS account, no configuration, no root.
    Demo(DemoOptions),
    /// Print the completions for a shell.
    ///
    /// For bash: vipkeeper completions bash > /usr/share/bash-completion/completions/vipkeeper
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write those of all commands.
    Man {
        /// Write one page a command into this folder, which must exist.
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

/// The VIP that a hook is about.
#[derive(Debug, Args)]
pub struct DelegateIp {
    /// The delegate_ip as in pgpool.conf; Pgpool puts it in for $_IP_$.
    #[arg(value_name = "DELEGATE-IP")]
    pub delegate_ip: IpAddr,
}

#[derive(Debug, Args)]
pub struct WaitOptions {
    #[command(flatten)]
    pub vip: DelegateIp,
    /// How long at most, with its unit. Pgpool's watchdog can stand still meanwhile: stay well below its
    /// wd_heartbeat_deadtime.
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct HoldOptions {
    #[command(flatten)]
    pub vip: DelegateIp,
    /// How long, with its unit; a week at most.
    #[arg(long = "for", value_name = "TIME", default_value = "30m", value_parser = hold_time)]
    pub lasts: Duration,
    /// Keep the node also from letting go of the address.
    #[arg(long)]
    pub strict: bool,
}

#[derive(Debug, Args)]
pub struct PlanOptions {
    /// Print the plan as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub logging: LogOptions,
}

#[derive(Debug, Args)]
pub struct CheckOptions {
    /// Print the results as JSON.
    #[arg(long)]
    pub json: bool,
    /// Make the checks of this category alone; may be given several times.
    #[arg(long = "category", value_name = "CATEGORY", value_parser = categories())]
    pub categories: Vec<Category>,
    /// Check again and again until nothing fails any more, for this time at most, with its unit.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub wait: Option<Duration>,
    /// Pgpool's configuration, where it is not where its packages put it.
    #[arg(long, value_name = "FILE")]
    pub pgpool_conf: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct StatusOptions {
    /// Print the status as JSON.
    #[arg(long)]
    pub json: bool,
    /// Go on, and show every change, until interrupted.
    #[arg(long)]
    pub watch: bool,
    /// Print what happened, the newest last: up to 500 events, also from before a restart of the daemon.
    #[arg(long, conflicts_with = "watch")]
    pub events: bool,
    /// Only events that are at most this old, with its unit.
    #[arg(long, value_name = "TIME", requires = "events", value_parser = humantime::parse_duration)]
    pub since: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct ProbeOptions {
    /// The address that clients connect to.
    #[arg(value_name = "DELEGATE-IP")]
    pub delegate_ip: IpAddr,
    /// The UDP port of the nodes' `[probe]`.
    #[arg(long, value_name = "PORT", default_value_t = DEFAULT_PROBE_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// How many questions, one after the other.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub count: u32,
    /// Print the answers as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ReportArguments {
    /// Documents of several nodes, each from its `vipkeeper status --json`. Without any, this node's own events are told.
    #[arg(value_name = "FILE")]
    pub documents: Vec<PathBuf>,
    /// Only takeovers that are at most this old, with its unit. With documents, the newest of them counts as now.
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = humantime::parse_duration)]
    pub since: Duration,
    /// Only takeovers of this VIP.
    #[arg(long, value_name = "DELEGATE-IP")]
    pub vip: Option<IpAddr>,
    /// Draw the newest takeover, as SVG.
    #[arg(long)]
    pub svg: bool,
}

#[derive(Debug, Args)]
pub struct PolicyOptions {
    /// The form: the policy document, a CloudFormation template or a Terraform file.
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub format: PolicyFormat,
    /// The tag on every node's instance and ENI.
    #[arg(long, value_name = "KEY=VALUE", default_value = "pgpool=pg1")]
    pub node_tag: NodeTag,
    /// The region, where the configuration does not have it.
    #[arg(long, value_name = "REGION", value_parser = region)]
    pub region: Option<String>,
    /// The twelve digits of the nodes' account.
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    pub account: Option<String>,
    /// Print the policy of this role, which the nodes assume by `assume_role_arn`, instead of their own.
    #[arg(long, value_name = "ARN")]
    pub role: Option<String>,
}

/// The form of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicyFormat {
    Json,
    Cloudformation,
    Terraform,
}

/// The tag by which the nodes' instances and ENIs are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTag {
    pub key: String,
    pub value: String,
}

impl FromStr for NodeTag {
    type Err = String;

    /// Reads `KEY=VALUE`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, _)) if key.starts_with("vipkeeper/") => {
                Err("nodes may write tags that begin with vipkeeper/, so none of these may say which nodes count"
                    .into())
            }
            Some((key, value)) if !key.is_empty() => Ok(Self { key: key.to_owned(), value: value.to_owned() }),
            _ => Err("write it as KEY=VALUE, like pgpool=pg1".to_owned()),
        }
    }
}

fn hold_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time.is_zero() || time > LONGEST_HOLD { Err("give a time up to 7days".to_owned()) } else { Ok(time) }
}

fn account(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("an account is twelve digits".to_owned())
    }
}

#[derive(Debug, Args)]
pub struct DemoOptions {
    /// Go on after the last scene, with metrics and status served, until interrupted.
    #[arg(long)]
    pub keep: bool,
    /// Only serve the EC2 endpoint at this address, like 127.0.0.1:8080, until interrupted.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "keep")]
    pub serve_ec2: Option<SocketAddr>,
}

/// The log settings of the long-running commands, which log to standard error.
#[derive(Debug, Args)]
pub struct LogOptions {
    /// The least severe events to log; overrides `log.level` of the configuration.
    #[arg(long, value_name = "LEVEL", value_parser = names(LOG_LEVELS))]
    pub log_level: Option<String>,
    /// Lines for people or for collectors; overrides `log.format` of the configuration.
    #[arg(long, value_name = "FORMAT", value_parser = names(LOG_FORMATS))]
    pub log_format: Option<String>,
}

fn categories() -> impl TypedValueParser<Value = Category> {
    let names = Category::ALL.iter().map(|category| category.name());
    PossibleValuesParser::new(names).map(|name| Category::from_name(&name).expect("only names are let through"))
}

fn names<T>(choices: &'static [(&'static str, T)]) -> PossibleValuesParser {
    PossibleValuesParser::new(choices.iter().map(|(name, _)| *name))
}

impl Cli {
    /// The sources of the configuration: the file and the flags of this command line, and the environment of this
    /// process.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let logging = match &self.command {
            Command::Run(logging) | Command::Plan(PlanOptions { logging, .. }) => Some(logging),
            _ => None,
        };
        // The conversion loses nothing: clap parsed the path from a `str`.
        let state_dir = self.global.state_dir.as_ref().map(|path| path.to_string_lossy().into_owned());
        let flags = [
            ("--state-dir", ["state_dir"].as_slice(), state_dir),
            ("--log-level", &["log", "level"], logging.and_then(|logging| logging.log_level.clone())),
            ("--log-format", &["log", "format"], logging.and_then(|logging| logging.log_format.clone())),
        ];
        let flags = flags.into_iter().filter_map(|(name, key, value)| Some(Flag { name, key, value: value? }));
        Sources::of_process(self.global.config.clone(), flags.collect())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The statuses above 1 that a text names behind the words "exit status": alone, or each before a colon.
    fn statuses(text: &str) -> Vec<u8> {
        let mut found = Vec::new();
        for part in text.to_lowercase().split("exit status").skip(1) {
            let mut words = part.split_whitespace();
            found.extend(words.next().and_then(|word| word.trim_end_matches([':', '.', ',']).parse::<u8>().ok()));
            found.extend(words.filter_map(|word| word.strip_suffix(':')?.parse::<u8>().ok()));
        }
        found.into_iter().filter(|status| *status > 1).collect()
    }

    #[test]
    fn the_help_of_the_program_names_every_status_of_its_commands() {
        let program = Cli::command();
        let help = program.get_long_about().unwrap().to_string();
        let (_, table) = help.split_once("Exit status").unwrap();
        // A status begins its part of the table, and the other lines of the part go on under its words.
        let mut parts: Vec<(u8, String)> = Vec::new();
        for line in table.lines().skip(1) {
            match line.split_whitespace().next().and_then(|word| word.parse().ok()) {
                Some(status) => parts.push((status, line.to_owned())),
                None => parts.iter_mut().last().into_iter().for_each(|(_, part)| part.push_str(line)),
            }
        }
        assert_eq!(parts.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [0, 1, 2, 3, 78]);
        let mut told = 0;
        for command in program.get_subcommands() {
            let about = command.get_long_about().or(command.get_about()).unwrap().to_string();
            for status in statuses(&about) {
                let (_, part) = parts.iter().find(|(one, _)| *one == status).unwrap();
                let name = format!("`{}`", command.get_name());
                assert!(part.contains(&name), "{name} ends with {status} too: {part}");
                told += 1;
            }
        }
        assert_eq!(told, 9, "up, down, wait, hold, resume, plan, check, status, probe");
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        for line in
            ["vipkeeper --config /c --state-dir /s up 20.0.0.50", "vipkeeper up --config /c 20.0.0.50 --state-dir /s"]
        {
            let cli = parse(line).unwrap();
            assert_eq!(cli.global.config, PathBuf::from("/c"));
            assert_eq!(cli.global.state_dir, Some(PathBuf::from("/s")));
            assert!(matches!(cli.command, Command::Up(vip) if vip.delegate_ip.to_string() == "20.0.0.50"));
        }
    }

    #[test]
    fn pgpools_own_lines_are_understood() {
        let cli = parse("/usr/bin/vipkeeper wait 20.0.0.50 --timeout 8s").unwrap();
        assert!(matches!(cli.command, Command::Wait(wait) if wait.timeout == Duration::from_secs(8)));
        let cli = parse("vipkeeper wait 2001:db8::1").unwrap();
        assert!(matches!(cli.command, Command::Wait(wait) if wait.timeout == Duration::from_secs(8)));
    }

    #[test]
    fn a_wrong_line_is_a_usage_error() {
        for line in [
            "vipkeeper",
            "vipkeeper up",
            "vipkeeper up localhost",
            "vipkeeper wait 20.0.0.50 --timeout 8",
            "vipkeeper up 20.0.0.50 --state-dir run",
            "vipkeeper run --log-level loud",
            "vipkeeper status --log-level info",
            "vipkeeper status --since 1h",
            "vipkeeper status --events --watch",
            "vipkeeper status --events --since 1",
            "vipkeeper status --events --since -1h",
            "vipkeeper report --since yesterday",
            "vipkeeper report --vip localhost",
            "vipkeeper hold",
            "vipkeeper hold 20.0.0.50 --for 0s",
            "vipkeeper hold 20.0.0.50 --for 8days",
            "vipkeeper check --category everything",
            "vipkeeper check --wait 60",
            "vipkeeper probe",
            "vipkeeper probe localhost",
            "vipkeeper probe 20.0.0.50 --port 0",
            "vipkeeper probe 20.0.0.50 --count 0",
            "vipkeeper policy --format yaml",
            "vipkeeper policy --node-tag pgpool",
            "vipkeeper policy --node-tag vipkeeper/a=b",
            "vipkeeper policy --account 1234",
            "vipkeeper demo --keep --serve-ec2 127.0.0.1:8080",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn flags_become_settings_by_their_names() {
        let flags = |line| parse(line).unwrap().sources().flags;
        assert_eq!(flags("vipkeeper run"), []);
        let level = Flag { name: "--log-level", key: &["log", "level"], value: "debug".to_owned() };
        let format = Flag { name: "--log-format", key: &["log", "format"], value: "json".to_owned() };
        assert_eq!(flags("vipkeeper run --log-level debug --log-format json"), [level.clone(), format]);
        assert_eq!(flags("vipkeeper plan --json --log-level debug"), [level]);
    }
}
