//! The program reads its arguments, then the configuration, and then performs the command. Only this file turns errors
//! into exit codes.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "these end the program where nobody reads")]

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use vipkeeper::aws::node::Cloud;
use vipkeeper::cli::{CheckOptions, Cli, Command, PolicyOptions, ProbeOptions, StatusOptions};
use vipkeeper::commands::Format;
use vipkeeper::commands::check::{CheckRequest, check, check_for};
use vipkeeper::commands::events::{self, ReportForm, ReportOptions};
use vipkeeper::commands::hold::{self, Noticed};
use vipkeeper::commands::hook::{self, HookContext, HookError};
use vipkeeper::commands::plan::{Inputs, preview};
use vipkeeper::commands::policy::{Location, policy};
use vipkeeper::commands::probe::{ProbeRequest, probe};
use vipkeeper::commands::run::{self, runtime};
use vipkeeper::commands::status::{Mode, show};
use vipkeeper::commands::wait::wait as wait_for_claim;
use vipkeeper::config::{Config, ConfigError};
use vipkeeper::demo::{self, Afterwards};
use vipkeeper::desired::next::Hook;
use vipkeeper::error::one_line;
use vipkeeper::machine::kernel::Kernel;
use vipkeeper::machine::netlink::Netlink;
use vipkeeper::machine::trust::TrustedOwners;
use vipkeeper::pgpool::port;
use vipkeeper::pgpool::watchdog::Watchdog;
use vipkeeper::problem::ProblemReason;
use vipkeeper::report::{init_log, say};
use vipkeeper::state_dir::files::Files;
use vipkeeper::status::page::Colours;

/// The exit code `EX_CONFIG` of sysexits.h. The unit does not restart the program on this code.
const BAD_CONFIG: u8 = 78;
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match perform(&cli) {
        Ok(code) => code,
        Err(error) => {
            complain_of(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Writes the error to stderr. Each problem of the configuration is a line of its own; any other error's whole chain is
/// one line, because hooks write into Pgpool's log.
fn complain_of(error: &anyhow::Error) {
    match error.downcast_ref::<ConfigError>() {
        Some(config) => {
            complain(&config.heading());
            config.problems().iter().for_each(|problem| say(&format!("  {problem}")));
        }
        None => complain(&format!("{error:#}")),
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() {
        return BAD_CONFIG;
    }
    error.downcast_ref::<HookError>().map_or(FAILED, HookError::exit_code)
}

/// Whether a terminal gets colours. By no-color.org, any value but an empty one switches colours off.
#[expect(clippy::disallowed_methods, reason = "what the terminal is told is no setting")]
fn colours() -> Colours {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if no_colour { Colours::Off } else { Colours::Allowed }
}

fn perform(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        // The hooks use no runtime and no SDK, and a configuration error does not stop them.
        Command::Up(vip) => as_hook(cli, |context| hook::up(context, vip.delegate_ip).map(drop)),
        Command::Down(vip) => as_hook(cli, |context| hook::down(context, vip.delegate_ip).map(drop)),
        Command::Wait(wait) => {
            as_hook(cli, |context| wait_for_claim(context, wait.vip.delegate_ip, wait.timeout).map(drop))
        }
        Command::Hold(hold) => as_operator(cli, |context| hold::hold(context, hold)),
        Command::Resume(vip) => as_operator(cli, |context| hold::resume(context, vip.delegate_ip)),
        Command::Status(options) => tell_status(&cli.sources().load_for_hook().state_dir, options),
        Command::Probe(options) => print_answers(options),
        Command::Report(report) => {
            let form = if report.svg { ReportForm::Svg } else { ReportForm::Text };
            let options =
                ReportOptions { since: report.since, vip: report.vip, form, documents: report.documents.clone() };
            events::report(&cli.sources().load_for_hook().state_dir, &options, colours())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(_) => {
            let sources = cli.sources();
            let config = sources.load()?;
            let _log = init_log(config.log.format, config.log.level.as_str())?;
            let missed = sources.state_dir_that_hooks_miss().map(|message| (ProblemReason::HooksElsewhere, message));
            let reload = Box::new(move || sources.load().map_err(|error| one_line(&error)));
            runtime()?.block_on(run::run(config, reload, missed.into_iter().collect()))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Plan(plan) => {
            let config = cli.sources().load()?;
            let _log = init_log(config.log.format, config.log.level.as_str())?;
            plan_or_say_why(&config, if plan.json { Format::Json } else { Format::Page })
        }
        Command::Check(options) => print_check(cli, options),
        Command::Policy(options) => print_policy(&cli.sources().load()?, options),
        Command::Demo(options) => {
            let passed = match options.serve_ec2 {
                Some(address) => runtime()?.block_on(demo::serve_ec2(address)).map(|()| true),
                None => {
                    let afterwards = if options.keep { Afterwards::KeepRunning } else { Afterwards::End };
                    let colours = if io::stdout().is_terminal() { Colours::Allowed } else { Colours::Off };
                    runtime()?.block_on(demo::run(afterwards, colours))
                }
            }?;
            Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "vipkeeper", &mut script);
            print(&script)
        }
        Command::Man { folder: None } => {
            let mut page = Vec::new();
            clap_mangen::Man::new(documented()).render(&mut page).context("cannot make the manual page")?;
            print(&page)
        }
        Command::Man { folder: Some(folder) } => write_man_pages(folder),
    }
}

/// Shows the status, or the events.
fn tell_status(state_dir: &Path, options: &StatusOptions) -> anyhow::Result<ExitCode> {
    let format = if options.json { Format::Json } else { Format::Page };
    if options.events {
        events::show(state_dir, options.since, format, colours())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mode = if options.watch { Mode::Watch } else { Mode::Once };
    let code = show(state_dir, format, mode, colours()).context("cannot write the status")?;
    Ok(ExitCode::from(code))
}

/// Collects everything that a hook must know. A configuration that cannot be read is only a warning, because the
/// address matters more.
fn hook_context(cli: &Cli) -> Result<HookContext, HookError> {
    let config = cli.sources().load_for_hook();
    let configured = match (config.delegate_ips, &config.error) {
        (Some(delegate_ips), _) => Ok(delegate_ips.into_iter().collect()),
        (None, error) => Err(error.as_ref().map(ConfigError::summary).unwrap_or_default()),
    };
    Ok(HookContext { state_dir: config.state_dir, configured, caller: Hook::this_process()? })
}

/// Does a hook's work. A warning is written after the work, because a stderr that nobody reads may hold up the warning,
/// and must not hold up the work.
fn as_hook(cli: &Cli, work: impl FnOnce(&HookContext) -> Result<(), HookError>) -> anyhow::Result<ExitCode> {
    let context = hook_context(cli)?;
    let done = work(&context);
    if let Some(warning) = context.warning() {
        complain(&warning);
    }
    done?;
    Ok(ExitCode::SUCCESS)
}

/// Does the work of an operator's command, and prints what the daemon makes of it.
fn as_operator(cli: &Cli, work: impl FnOnce(&HookContext) -> Result<Noticed, HookError>) -> anyhow::Result<ExitCode> {
    let noticed = work(&hook_context(cli)?)?;
    print(format!("{noticed}\n").as_bytes())?;
    Ok(if noticed.is_well() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Checks, and prints the results. An unusable configuration is one of the results.
fn print_check(cli: &Cli, options: &CheckOptions) -> anyhow::Result<ExitCode> {
    let sources = cli.sources();
    let config = sources.load();
    let request = CheckRequest {
        state_dir: config
            .as_ref()
            .map_or_else(|_| sources.load_for_hook().state_dir, |config| config.state_dir.clone()),
        config: config.map_err(|error| error.problems().iter().map(ToString::to_string).collect()),
        hooks_elsewhere: sources.state_dir_that_hooks_miss(),
        categories: options.categories.clone(),
        pgpool_conf: options.pgpool_conf.clone(),
    };
    // Each time asks anew: a client keeps what it once found out.
    let once = async || {
        let cloud = Cloud::new(Rc::new(|_| {}));
        Box::pin(check(&request, &cloud, &cloud)).await
    };
    let results = runtime()?.block_on(check_for(options.wait, once));
    let text = if options.json {
        vipkeeper::shown::json(serde_json::to_string_pretty(&results)?) + "\n"
    } else {
        results.page()
    };
    print(text.as_bytes())?;
    Ok(ExitCode::from(results.summary.exit_code()))
}

/// Asks who answers on a VIP, and prints the answers.
fn print_answers(options: &ProbeOptions) -> anyhow::Result<ExitCode> {
    let ProbeOptions { delegate_ip, port, count, json } = *options;
    let answers = runtime()?.block_on(probe(ProbeRequest { delegate_ip, port, count }));
    let text = if json { serde_json::to_string_pretty(&answers)? + "\n" } else { answers.page() };
    print(text.as_bytes())?;
    Ok(ExitCode::from(answers.exit_code()))
}

/// Prints the least policy. Stderr names the values that the user of the policy must put in, and tells of a policy that IAM
/// refuses because of its size, so that stdout is the policy alone.
fn print_policy(config: &Config, options: &PolicyOptions) -> anyhow::Result<ExitCode> {
    let made = policy(config, options.role.as_deref(), &options.node_tag).map_err(anyhow::Error::msg)?;
    let region = options.region.clone().or_else(|| config.aws.region.clone());
    let place = Location { region, account: options.account.clone() };
    for (name, how) in made.open(options.format, &place) {
        complain(&format!("put in the value of {name}: {how}"));
    }
    if let Some(advice) = made.size_advice(options.format, &place) {
        complain(&advice);
    }
    print(made.written(options.format, &place).as_bytes())
}

/// Prints what the daemon would do now. As JSON, an error is also printed as an object, for the program that reads
/// the output.
fn plan_or_say_why(config: &Config, format: Format) -> anyhow::Result<ExitCode> {
    let planned = runtime()?.block_on(plan_once(config, format));
    if let (Err(error), Format::Json) = (&planned, format) {
        // The line about the error still goes to stderr as well.
        let nothing = serde_json::json!({ "error": { "message": format!("{error:#}") } });
        print(format!("{nothing:#}\n").as_bytes())?;
    }
    planned
}

/// Prints what the daemon would do now.
async fn plan_once(config: &Config, format: Format) -> anyhow::Result<ExitCode> {
    let cloud = Cloud::new(Rc::new(|_| {}));
    let local = Netlink::new()?.look(&config.local_addresses()).await;
    let (trusted, _) = TrustedOwners::resolve(&config.hook_users);
    let watchdog = Rc::new(Watchdog::of(&config.pgpool, trusted.clone()));
    let mut machine = Files::new(&config.state_dir, trusted, None).context("cannot read the boot id of the kernel")?;
    let inputs = Inputs {
        ec2: &cloud,
        identify: &cloud,
        machine: &mut machine,
        local,
        ask_watchdog: Box::new(move || {
            let watchdog = Rc::clone(&watchdog);
            Box::pin(async move { watchdog.consult().await })
        }),
        knock: Box::new(|address| Box::pin(port::knock(address))),
    };
    let preview = preview(config, inputs).await.map_err(anyhow::Error::msg)?;
    let text = match format {
        Format::Json => serde_json::to_string_pretty(&preview)? + "\n",
        Format::Page => preview.page(),
    };
    print(text.as_bytes())?;
    Ok(ExitCode::from(preview.conclusion().exit_code()))
}

/// Writes one line to stderr. A stderr that nobody reads is no reason to fail, nor to wait long.
fn complain(text: &str) {
    say(&format!("vipkeeper: {text}"));
}

/// The commands that have a manual page. clap's own `help` command has none.
fn documented() -> clap::Command {
    Cli::command().disable_help_subcommand(true)
}

fn write_man_pages(folder: &Path) -> anyhow::Result<ExitCode> {
    clap_mangen::generate_to(documented(), folder)
        .with_context(|| format!("cannot write the manual pages into {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to stdout. A reader that stops early, like `head`, is no failure.
fn print(bytes: &[u8]) -> anyhow::Result<ExitCode> {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write the output"),
        _ => Ok(ExitCode::SUCCESS),
    }
}
