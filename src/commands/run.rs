//! Puts the daemon together from the real parts: this machine's files and kernel, EC2 by the SDK, the voice; and starts
//! what wakes the loop. A part that cannot be started is a problem that status shows, never a reason not to run.

use std::cell::RefCell;
use std::fs::File;
use std::future::Future;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::mpsc;

use crate::aws::node::Cloud;
use crate::config::{Config, Pgpool};
use crate::daemon::{Daemon, Reloaded, Surroundings};
use crate::desired;
use crate::error::one_line;
use crate::machine::lock::take_alone;
use crate::machine::netlink::Netlink;
use crate::machine::trust::{SharedOwners, TrustedOwners};
use crate::observe::configured_keys;
use crate::pgpool::watchdog::{Watchdog, auth_key};
use crate::report::systemd::Systemd;
use crate::report::{HEARTBEAT, News, Report, Reporter, VipKeys, http};
use crate::state_dir::files::Files;
use crate::status::Status;
use crate::wake::{self, Concern, GuardWatch, Wake, Watcher};

/// Why the daemon cannot start at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    #[error("cannot read the boot id of the kernel")]
    BootId(#[source] std::io::Error),
    #[error("another vipkeeper runs with the state folder {}", .0.display())]
    AlreadyRunning(PathBuf),
    #[error("cannot talk to the kernel about its addresses")]
    Netlink(#[source] crate::machine::kernel::KernelError),
}

/// Reads the configuration afresh; an error is for people.
pub type ReadConfig = Box<dyn Fn() -> Result<Config, String>>;

/// A runtime for one thread: the daemon waits more than it works.
///
/// # Errors
/// When the kernel gives no event queue.
pub fn runtime() -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)
}

/// Runs until SIGTERM or SIGINT. Moves nothing when it ends. `problems` are known already, each by its reason.
///
/// # Errors
/// Only what leaves no daemon at all: see [`StartError`].
pub async fn run(
    config: Config,
    read_config: ReadConfig,
    mut problems: Vec<(&'static str, String)>,
) -> Result<(), StartError> {
    let (wakes, woken_by) = wake::channel();
    let folder_problem = prepare_state_dir(&config).err();
    let _only_one = lock(&config.state_dir)?;
    problems.extend(folder_problem.map(|message| ("StateDir", message)));
    let report = Arc::new(report(&config));
    let around = Rc::new(Around::new(wakes.clone(), Arc::clone(&report)));
    problems.extend(around.set_up(&config).into_iter().filter_map(|(part, outcome)| Some((part, outcome.err()?))));
    let (watchdog, key_problem) = watchdog(&config.pgpool, &around.trusted);
    problems.extend(key_problem.map(|message| ("WatchdogKey", message)));
    let guards = GuardWatch::new(wakes.clone());
    let machine = Files::new(&config.state_dir, around.trusted.clone(), Some(guards)).map_err(StartError::BootId)?;
    let voice: Rc<dyn Reporter> = Rc::new(Voice { report: Arc::clone(&report), systemd: Systemd::of_process() });
    let observed = Arc::clone(&report);
    let cloud = Rc::new(Cloud::new(Rc::new(move |request| observed.news(&News::Request(request)))));

    let (watchers, failed) = watch(&config, &wakes);
    problems.extend(failed);
    let listen = serve(config.listen, Arc::clone(&report)).await;
    let (serving, failed) = match listen {
        Ok(serving) => (serving, None),
        Err(message) => (None, Some(("Listen", message))),
    };
    problems.extend(failed);

    let surroundings = Surroundings {
        ec2: Rc::clone(&cloud),
        kernel: Rc::new(Netlink::new().map_err(StartError::Netlink)?),
        identify: Rc::clone(&cloud),
        machine,
        reporter: voice,
        reload: Box::new(move || {
            let config = read_config()?;
            let parts = around.set_up(&config);
            Ok(Reloaded { config, parts })
        }),
        ask_watchdog: Box::new(move || {
            let watchdog = Rc::clone(&watchdog);
            Box::pin(async move { watchdog.consult().await })
        }),
        rng: fastrand::Rng::new(),
    };
    let mut daemon = Daemon::new(config, surroundings);
    for (reason, message) in problems {
        daemon.problem(reason, message);
    }
    let credentials = tell_expiry(&cloud, &report);
    tokio::select! {
        () = daemon.run(woken_by) => {}
        () = credentials => {}
        () = maybe(serving) => {}
    }
    drop(watchers);
    Ok(())
}

/// How Pgpool's watchdog is asked, and what is wrong with the file of its key.
fn watchdog(config: &Pgpool, trusted: &SharedOwners) -> (Rc<Watchdog>, Option<String>) {
    let (auth_key, problem) = auth_key(config);
    (Rc::new(Watchdog::new(config.watchdog_socket.clone(), auth_key, trusted.clone())), problem)
}

/// The folders that hooks and the daemon write into. The unit makes them; without one, we try.
fn prepare_state_dir(config: &Config) -> Result<(), String> {
    let folder = desired::folder(&config.state_dir);
    std::fs::create_dir_all(&folder).map_err(|error| {
        format!("cannot make {}: {error}; the systemd unit or `systemd-tmpfiles --create` makes it", folder.display())
    })
}

/// Two daemons with one state folder would record claims against each other. The lock goes with the process.
fn lock(state_dir: &Path) -> Result<Option<File>, StartError> {
    match take_alone(&state_dir.join("run.lock")) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(StartError::AlreadyRunning(state_dir.to_owned())),
        // A folder that cannot be written has a problem of its own on the page, and is no reason not to run.
        Err(_) => Ok(None),
    }
}

fn report(config: &Config) -> Report {
    let keys = configured_keys(config).into_iter();
    let vips: Vec<_> = keys.map(|(vip, bindings)| VipKeys { vip, bindings }).collect();
    Report::new(&vips, Some(&config.state_dir), ready_within(config))
}

/// How old what was read may be.
fn ready_within(config: &Config) -> Duration {
    config.intervals.leader.max(config.intervals.standby) * 3
}

/// What is around the loop and follows the config, also when that changes.
struct Around {
    wakes: mpsc::Sender<Wake>,
    report: Arc<Report>,
    trusted: SharedOwners,
    addresses: RefCell<Option<Watcher>>,
}

impl Around {
    /// Trusts root alone and watches nothing yet.
    fn new(wakes: mpsc::Sender<Wake>, report: Arc<Report>) -> Self {
        Self { wakes, report, trusted: TrustedOwners::root().into(), addresses: RefCell::default() }
    }

    /// Sets all of it up for this config. Users may have come since they were looked up last.
    fn set_up(&self, config: &Config) -> Vec<(&'static str, Result<(), String>)> {
        self.report.set_ready_within(ready_within(config));
        let (trusted, unknown_users) = TrustedOwners::resolve(&config.hook_users);
        self.trusted.replace(trusted);
        let users: Vec<_> = unknown_users.iter().map(|error| one_line(error)).collect();
        let users = if users.is_empty() { Ok(()) } else { Err(users.join("; ")) };
        let watcher = wake::watch_addresses(concern(config), self.wakes.clone()).map_err(|error| one_line(&error));
        // The old one ends only now, so that no change falls between the two.
        let watching = watcher.map(|watcher| drop(self.addresses.replace(Some(watcher))));
        vec![("HookUsers", users), ("WatchAddresses", watching)]
    }
}

/// Everything that wakes the loop before its timer does, but for the kernel's addresses.
fn watch(config: &Config, wakes: &mpsc::Sender<Wake>) -> (Vec<Watcher>, Vec<(&'static str, String)>) {
    let mut watchers = Vec::new();
    let mut problems = Vec::new();
    let mut start = |reason, watcher: Result<Watcher, wake::WakeError>| match watcher {
        Ok(watcher) => watchers.push(watcher),
        Err(error) => problems.push((reason, one_line(&error))),
    };
    start("WatchSignals", wake::watch_signals(wakes.clone()));
    start("WatchFiles", wake::watch_folder(&desired::folder(&config.state_dir), wakes.clone()));
    (watchers, problems)
}

/// The addresses and interfaces whose changes are our business. An unnamed interface is the first ENI's, which EC2 never
/// detaches; its addresses tell what happens to it.
fn concern(config: &Config) -> Concern {
    let addresses = config.vips.iter().flat_map(|vip| &vip.addresses);
    let named = addresses.clone().flat_map(crate::config::AddressConfig::interfaces).flatten().map(str::to_owned);
    Concern { addresses: addresses.map(|address| address.address).collect(), interfaces: named.collect() }
}

/// Binds the listener now, so that its failure is known, and serves it until dropped.
async fn serve(
    listen: Option<std::net::SocketAddr>,
    report: Arc<Report>,
) -> Result<Option<impl Future<Output = ()>>, String> {
    let Some(address) = listen else { return Ok(None) };
    let listener = http::listen(address).await.map_err(|error| one_line(&error))?;
    Ok(Some(async move {
        http::serve(listener, &report).await;
    }))
}

async fn maybe<F: Future<Output = ()>>(serving: Option<F>) {
    match serving {
        Some(serving) => serving.await,
        None => std::future::pending().await,
    }
}

/// Tells now and then when the credentials run out; for ever.
pub(crate) async fn tell_expiry(cloud: &Cloud, report: &Report) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let expiry = cloud.ec2().and_then(crate::aws::AwsEc2::credentials_expiry);
        let at_ms = expiry
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
            .and_then(|since: Duration| u64::try_from(since.as_millis()).ok());
        report.news(&News::CredentialsExpiry { at_ms });
    }
}

/// The voice of a daemon under systemd: the report, and word to the service manager that the loop turns.
struct Voice {
    report: Arc<Report>,
    systemd: Systemd,
}

impl Reporter for Voice {
    fn news(&self, news: &News<'_>) {
        self.report.news(news);
        if matches!(news, News::Stopping) {
            self.systemd.stopping();
        }
    }

    fn status(&self, status: &Status) {
        self.report.status(status);
        self.systemd.turned(status);
    }
}
