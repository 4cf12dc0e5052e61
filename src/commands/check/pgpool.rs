//! The facts about Pgpool: its configuration, its version, its processes, its watchdog's word, and its peers.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use clap::Parser as _;
use futures_util::future::{join, join_all};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::reach::{addresses_of, connect};
use crate::check::facts::{LineFault, MachineFacts, Peer, PgpoolFacts, PgpoolProcess};
use crate::cli::Cli;
use crate::config::{Config, DEFAULT_FILE, Sources, WitnessMode};
use crate::machine::process::comm_of;
use crate::machine::trust::TrustedOwners;
use crate::machine::whole_file::{self, PlainError};
use crate::observe::seen::Port;
use crate::pgpool::conf::{Conf, HookCommand, IP_WORD, PLACES, PeerNode};
use crate::pgpool::port::knock;
use crate::pgpool::version::Version;
use crate::pgpool::watchdog::{Asked, Watchdog};

/// The kernel's name for each of Pgpool's processes.
const PGPOOL: &str = "pgpool";
/// The places of Pgpool's program: those of its packages, and that of a build from source.
const PROGRAMS: [&str; 3] = ["/usr/sbin/pgpool", "/usr/bin/pgpool", "/usr/local/bin/pgpool"];
/// The longest time for `pgpool --version`.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pgpool's default of `if_cmd_path`.
const FOLDER: &str = "/sbin";
/// The longest pgpool.conf that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Gathers the facts, all at once.
pub(super) async fn facts(config: Option<&Config>, named: Option<&Path>, machine: &MachineFacts) -> PgpoolFacts {
    let conf = conf(named);
    let processes = processes();
    let peers = match &conf {
        Ok((path, conf)) => others(conf, path),
        Err(_) => Vec::new(),
    };
    let line_faults =
        conf.as_ref().map(|(_, conf)| line_faults(conf, config, &machine.state_dir.0)).unwrap_or_default();
    let unusable = conf.as_ref().map(|(_, conf)| unusable(conf, machine)).unwrap_or_default();
    let watchdog_and_port = join(word(config), async {
        match config {
            Some(config) => knock(config.pgpool.address).await,
            None => Port::NotAsked,
        }
    });
    let peers = join_all(peers.into_iter().map(meet));
    let ((watchdog, port), (version, peers)) = join(watchdog_and_port, join(version(), peers)).await;
    PgpoolFacts { conf, version, processes, unusable, line_faults, watchdog, port, peers }
}

/// pgpool.conf at the named place, or else at the first of the usual places that exists.
fn conf(named: Option<&Path>) -> Result<(PathBuf, Conf), String> {
    let places = match named {
        Some(path) => vec![path.to_owned()],
        None => PLACES.iter().map(PathBuf::from).collect(),
    };
    for path in &places {
        match text_of(path) {
            Ok(None) => {}
            Ok(Some(text)) => return Ok((path.clone(), Conf::parse(&text))),
            Err(error) => return Err(format!("{}: {}", path.display(), crate::error::one_line(&error))),
        }
    }
    let places = places.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" nor ");
    Err(format!("there is no {places}"))
}

/// The text of a file of Pgpool's administrator; `None` if there is none. The file may be a link, as only its settings are
/// shown.
fn text_of(path: &Path) -> Result<Option<String>, PlainError> {
    let file = whole_file::read(&fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()), LONGEST)?;
    Ok(file.map(|file| String::from_utf8_lossy(&file.bytes).into_owned()))
}

/// The nodes that pgpool.conf names, without this one. `pgpool_node_id` beside it holds this one's number.
fn others(conf: &Conf, path: &Path) -> Vec<PeerNode> {
    let own = text_of(&path.with_file_name("pgpool_node_id")).ok().flatten();
    let own: Option<u32> = own.and_then(|text| text.trim().parse().ok());
    conf.nodes().into_iter().filter(|node| Some(node.number) != own).collect()
}

/// Looks a peer up, and tries whether its watchdog takes connections.
async fn meet(node: PeerNode) -> Peer {
    let addresses = addresses_of(&node.host, node.watchdog_port).await;
    let answers = match addresses.as_ref().ok().and_then(|all| all.first()) {
        Some(address) => Some(connect((*address, node.watchdog_port).into()).await),
        None => None,
    };
    Peer { node, addresses, answers }
}

/// The processes that are called as Pgpool's are. Any user may call a process so.
fn processes() -> Vec<PgpoolProcess> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let found = pids.filter(|pid| comm_of(*pid).as_deref() == Some(PGPOOL)).filter_map(|pid| {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let uid = fs::metadata(&folder).ok()?.uid();
        let title = fs::read(folder.join("cmdline")).unwrap_or_default();
        let title = String::from_utf8_lossy(&title).replace('\0', " ").trim().to_owned();
        Some(PgpoolProcess { uid, title })
    });
    found.collect()
}

/// The programs of the hooks that Pgpool cannot run.
fn unusable(conf: &Conf, machine: &MachineFacts) -> Vec<String> {
    let users: Vec<_> = machine.hook_users.iter().filter_map(|(_, user)| user.as_ref().ok()).collect();
    let found = conf.hooks().into_iter().filter_map(|hook| {
        let command = HookCommand::parse(hook.command?)?;
        // Pgpool looks for a bare name in the folder of another setting. An absolute path replaces the folder.
        let folder = conf.get(if hook.key == "arping_cmd" { "arping_path" } else { "if_cmd_path" });
        let path = Path::new(folder.unwrap_or(FOLDER)).join(command.program);
        let why = match fs::metadata(&path) {
            Err(error) => error.to_string(),
            Ok(found) if !found.is_file() => "it is no file".to_owned(),
            Ok(found) if users.is_empty() || users.iter().any(|user| user.may_run(&found)) => return None,
            Ok(found) => format!("mode {:o} lets no hook user run it", found.permissions().mode() & 0o7777),
        };
        Some(format!("{} of {}: {why}", path.display(), hook.key))
    });
    found.collect()
}

/// The faults of the hooks' lines that call vipkeeper. `daemons` is the daemon's state folder.
fn line_faults(conf: &Conf, config: Option<&Config>, daemons: &Path) -> Vec<(&'static str, LineFault)> {
    // A VIP that the daemon's configuration does not have either is the fault of another check.
    let knows = |ip: &IpAddr| config.is_some_and(|config| config.vips.iter().any(|vip| vip.delegate_ip == *ip));
    let vip = conf.delegate_ip().and_then(|(_, ip)| ip).filter(knows);
    let lines = conf.hooks().into_iter();
    lines.filter_map(|line| Some((line.key, line_fault(&HookCommand::parse(line.command?)?, vip, daemons)?))).collect()
}

/// The fault of a line, as vipkeeper itself would read the line when Pgpool starts it. Pgpool runs no shell, so no variable
/// can be set in a line.
fn line_fault(command: &HookCommand<'_>, vip: Option<IpAddr>, daemons: &Path) -> Option<LineFault> {
    command.subcommand_of_vipkeeper()?;
    let ip = vip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_string();
    let words = command.arguments.iter().map(|word| word.replace(IP_WORD, &ip));
    let cli = match Cli::try_parse_from(std::iter::once("vipkeeper".to_owned()).chain(words)) {
        Ok(cli) => cli,
        Err(error) => {
            let text = error.to_string();
            return Some(LineFault::Refused(text.lines().next().unwrap_or_default().to_owned()));
        }
    };
    let mut sources = Sources { environment: Vec::new(), ..cli.sources() };
    // The variables are those of this command, and a hook has those of Pgpool.
    let is_named = command.flag("--config").is_some();
    if !is_named {
        sources.file = PathBuf::from(DEFAULT_FILE);
    }
    let read = sources.load_for_hook();
    let resolved = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if resolved(&read.state_dir) != resolved(daemons) {
        return Some(LineFault::Elsewhere(read.state_dir));
    }
    match (read.error, read.delegate_ips, vip) {
        (Some(error), ..) => is_named.then(|| LineFault::Unread(error.summary())),
        (None, Some(known), Some(vip)) if !known.contains(&vip) => {
            Some(LineFault::Refused(format!("{} does not have the VIP {vip}", sources.file.display())))
        }
        (None, ..) => None,
    }
}

/// The version that the program itself tells. A program that hangs is left alone after a while. Only programs in the
/// system's own folders are asked: this command may run as root, and must not run what another user put somewhere.
async fn version() -> Result<Version, String> {
    let (tell, told) = oneshot::channel();
    let ask = move || {
        let answers = PROGRAMS.iter().filter_map(|program| {
            let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
            // The answer goes to stderr in some versions.
            Version::parse(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()))
        });
        let _ = tell.send(answers.into_iter().next());
    };
    thread::Builder::new().name("version".to_owned()).spawn(ask).map_err(|error| error.to_string())?;
    match timeout(PATIENCE, told).await {
        Ok(Ok(Some(version))) => Ok(version),
        Ok(_) => Err(format!("none of {} tells its version", PROGRAMS.join(", "))),
        Err(_) => Err("pgpool --version did not answer in time".to_owned()),
    }
}

async fn word(config: Option<&Config>) -> Option<Asked> {
    let config = config.filter(|config| config.witness != WitnessMode::Off)?;
    let (trusted, _) = TrustedOwners::resolve(&config.hook_users);
    Some(Watchdog::of(&config.pgpool, trusted).consult().await)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_node_number_that_nobody_writes_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgpool.conf");
        let others = || {
            let path = path.clone();
            let (tell, told) = std::sync::mpsc::channel();
            thread::spawn(move || {
                let conf = Conf::parse("hostname0 = 'a'\nhostname1 = 'b'");
                let _ = tell.send(others(&conf, &path).iter().map(|node| node.number).collect::<Vec<_>>());
            });
            told.recv_timeout(Duration::from_secs(10))
        };
        assert_eq!(others(), Ok(vec![0, 1]), "there is no file");
        let own = folder.path().join("pgpool_node_id");
        mknodat(CWD, &own, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        assert_eq!(others(), Ok(vec![0, 1]));
        fs::remove_file(&own).unwrap();
        fs::write(folder.path().join("number"), "1\n").unwrap();
        std::os::unix::fs::symlink("number", &own).unwrap();
        assert_eq!(others(), Ok(vec![0]), "a link is fine");
    }

    #[test]
    fn each_line_is_read_as_vipkeeper_reads_it_and_compared_with_the_daemons_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (daemons, other) = (folder.path().join("run"), folder.path().join("other"));
        fs::create_dir(&daemons).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("run", &link).unwrap();
        let file = |name: &str, state_dir: &Path, vip: &str| {
            let path = folder.path().join(name);
            let text =
                format!("state_dir = '{}'\n[[vip]]\ndelegate_ip = '{vip}'\nsecondary_ip = {{}}\n", state_dir.display());
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let same = file("same.toml", &daemons, "10.0.1.50");
        let config = Sources { file: (&same).into(), environment: Vec::new(), flags: Vec::new() }.load().unwrap();
        let elsewhere = file("elsewhere.toml", &other, "10.0.1.50");
        let another_vip = file("another-vip.toml", &daemons, "10.0.1.51");
        let broken = folder.path().join("broken.toml");
        let text = fs::read_to_string(&same).unwrap();
        fs::write(&broken, format!("nonsense = 1\n{text}")).unwrap();
        let fault = |arguments: &str| {
            let conf = Conf::parse(&format!("delegate_ip = '10.0.1.50'\nif_up_cmd = '/usr/bin/vipkeeper {arguments}'"));
            let mut faults = line_faults(&conf, Some(&config), &daemons);
            assert!(faults.len() <= 1, "{faults:?}");
            faults.pop().map(|(key, fault)| (key, fault).1)
        };
        let (run, linked) = (daemons.display(), link.display());
        for well in [
            format!("--state-dir {run} up $_IP_$"),
            format!("up --state-dir={linked}/ $_IP_$"),
            format!("--config={same} up $_IP_$"),
            format!("--config {elsewhere} --state-dir {run} up $_IP_$"),
        ] {
            assert_eq!(fault(&well), None, "{well}");
        }
        let leads_to_other = Some(LineFault::Elsewhere(other.clone()));
        for wrong in [
            format!("up --state-dir {} $_IP_$", other.display()),
            format!("--state-dir={} up $_IP_$", other.display()),
            format!("--config {elsewhere} up $_IP_$"),
            format!("up $_IP_$ --config={elsewhere}"),
        ] {
            assert_eq!(fault(&wrong), leads_to_other, "{wrong}");
        }
        for default in ["--config /nonexist.toml up $_IP_$", "up $_IP_$"] {
            // A computer with vipkeeper on it may have another folder in its own configuration.
            let told = fault(default);
            assert!(matches!(&told, Some(LineFault::Elsewhere(folder)) if *folder != daemons), "{default}: {told:?}");
        }
        let told = fault(&format!("--config {} up $_IP_$", broken.display()));
        assert!(matches!(&told, Some(LineFault::Unread(why)) if why.contains("nonsense")), "{told:?}");
        for (refused, why) in [
            (format!("--config {another_vip} up $_IP_$"), "does not have the VIP 10.0.1.50"),
            ("up $_IP_$ --timeout 8s".to_owned(), "unexpected argument '--timeout'"),
            ("--state-dir run up $_IP_$".to_owned(), "'run'"),
        ] {
            let told = fault(&refused);
            assert!(matches!(&told, Some(LineFault::Refused(said)) if said.contains(why)), "{refused}: {told:?}");
        }
    }
}
