//! The facts about Pgpool: its configuration, its version, its processes, its watchdog's word, and its peers.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{addresses_of, connect};
use crate::check::facts::{MachineFacts, Peer, PgpoolFacts, PgpoolProcess};
use crate::config::{Config, WitnessMode};
use crate::machine::process::comm_of;
use crate::machine::trust::TrustedOwners;
use crate::machine::whole_file;
use crate::observe::seen::Port;
use crate::pgpool::conf::{Conf, HookCommand, PLACES, PeerNode};
use crate::pgpool::port::knock;
use crate::pgpool::version::Version;
use crate::pgpool::watchdog::{Asked, Watchdog, auth_key};

/// The kernel's name for each of Pgpool's processes.
const PGPOOL: &str = "pgpool";
/// The longest time for `pgpool --version`.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pgpool's default of `if_cmd_path`.
const FOLDER: &str = "/sbin";
/// The longest pgpool.conf that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Gathers the facts, all at once.
pub(super) async fn facts(config: Option<&Config>, named: Option<&Path>, machine: &MachineFacts) -> PgpoolFacts {
    let conf = conf(named);
    let (processes, running) = processes();
    let peers = match &conf {
        Ok((path, conf)) => others(conf, path),
        Err(_) => Vec::new(),
    };
    let unusable = conf.as_ref().map(|(_, conf)| unusable(conf, machine)).unwrap_or_default();
    let watchdog_and_port = join(word(config), async {
        match config {
            Some(config) => knock(config.pgpool.address).await,
            None => Port::NotAsked,
        }
    });
    let peers = join_all(peers.into_iter().map(meet));
    let ((watchdog, port), (version, peers)) = join(watchdog_and_port, join(version(running), peers)).await;
    PgpoolFacts { conf, version, processes, unusable, watchdog, port, peers }
}

/// pgpool.conf at the named place, or else at the first of the usual places that exists.
fn conf(named: Option<&Path>) -> Result<(PathBuf, Conf), String> {
    let places = match named {
        Some(path) => vec![path.to_owned()],
        None => PLACES.iter().map(PathBuf::from).collect(),
    };
    for path in &places {
        match whole_file::read(path, LONGEST) {
            Ok(None) => {}
            Ok(Some(file)) => return Ok((path.clone(), Conf::parse(&String::from_utf8_lossy(&file.bytes)))),
            Err(error) => return Err(format!("{}: {}", path.display(), crate::error::one_line(&error))),
        }
    }
    let places = places.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" nor ");
    Err(format!("there is no {places}"))
}

/// The nodes that pgpool.conf names, without this one. `pgpool_node_id` beside it holds this one's number.
fn others(conf: &Conf, path: &Path) -> Vec<PeerNode> {
    let own = fs::read_to_string(path.with_file_name("pgpool_node_id")).ok();
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

/// Pgpool's processes, and the program that they run, if it can be seen.
fn processes() -> (Vec<PgpoolProcess>, Option<PathBuf>) {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let (mut processes, mut program) = (Vec::new(), None);
    for pid in pids.filter(|pid| comm_of(*pid).as_deref() == Some(PGPOOL)) {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let Ok(found) = fs::metadata(&folder) else { continue };
        let title = fs::read(folder.join("cmdline")).unwrap_or_default();
        let title = String::from_utf8_lossy(&title).replace('\0', " ").trim().to_owned();
        processes.push(PgpoolProcess { uid: found.uid(), title });
        program = program.or_else(|| fs::read_link(folder.join("exe")).ok());
    }
    (processes, program)
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

/// The version that the program itself tells. A program that hangs is left alone after a while.
async fn version(running: Option<PathBuf>) -> Result<Version, String> {
    let (tell, told) = oneshot::channel();
    let ask = move || {
        let programs = running.into_iter().chain([PathBuf::from(PGPOOL), PathBuf::from("/usr/sbin/pgpool")]);
        let answers = programs.filter_map(|program| {
            let mut command = Command::new(program);
            command.arg("--version").stdin(Stdio::null());
            let output = command.output().ok()?;
            // The answer goes to stderr in some versions.
            let text = [output.stdout, output.stderr].concat();
            Version::parse(&String::from_utf8_lossy(&text))
        });
        let _ = tell.send(answers.into_iter().next());
    };
    let asked = thread::Builder::new().name("version".to_owned()).spawn(ask).map_err(|error| error.to_string());
    asked?;
    match timeout(PATIENCE, told).await {
        Ok(Ok(Some(version))) => Ok(version),
        Ok(_) => Err("there is no program pgpool that tells its version".to_owned()),
        Err(_) => Err("pgpool --version did not answer in time".to_owned()),
    }
}

async fn word(config: Option<&Config>) -> Option<Asked> {
    let config = config.filter(|config| config.witness != WitnessMode::Off)?;
    let (trusted, _) = TrustedOwners::resolve(&config.hook_users);
    let (key, _) = auth_key(&config.pgpool);
    Some(Watchdog::new(config.pgpool.watchdog_socket.clone(), key, trusted).consult().await)
}
