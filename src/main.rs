//! Arguments, then configuration, then the command. The one place where errors become exit codes.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{CommandFactory, Parser};
use vipkeeper::cli::{Cli, Command};
use vipkeeper::config::ConfigError;

/// `EX_CONFIG` of sysexits.h: the unit does not restart on it.
const BAD_CONFIG: u8 = 78;
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match perform(&cli) {
        Ok(code) => code,
        Err(error) => {
            // The whole chain in one line: hooks write into Pgpool's log.
            eprintln!("vipkeeper: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() { BAD_CONFIG } else { FAILED }
}

fn perform(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        // The hooks: no runtime, no SDK, and no configuration error stops them.
        Command::Up(_) | Command::Down(_) | Command::Wait(_) | Command::Status(_) => {
            let config = cli.sources().load_for_hook();
            if let Some(error) = &config.error {
                eprintln!("vipkeeper: going on in spite of the configuration: {}", error.summary());
            }
            bail!("this command is not part of this build yet")
        }
        Command::Run(_) | Command::Plan(_) => {
            cli.sources().load()?;
            bail!("this command is not part of this build yet")
        }
        Command::Demo(_) => bail!("this command is not part of this build yet"),
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

/// The commands that have a manual page: clap's own `help` has none.
fn documented() -> clap::Command {
    Cli::command().disable_help_subcommand(true)
}

fn write_man_pages(folder: &Path) -> anyhow::Result<ExitCode> {
    clap_mangen::generate_to(documented(), folder)
        .with_context(|| format!("cannot write the manual pages into {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// A reader that has seen enough, like `head`, is no failure.
fn print(bytes: &[u8]) -> anyhow::Result<ExitCode> {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write the output"),
        _ => Ok(ExitCode::SUCCESS),
    }
}
