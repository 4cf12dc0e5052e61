//! Puts the daemon together from its real parts (this machine's files and kernel, EC2 by the SDK, the report), and
//! starts the watchers that wake the loop. A part that cannot be started is a problem that `vipkeeper status` shows.
//! Only the errors in [`StartError`] keep the daemon from running.

use std::cell::RefCell;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::aws::node::Cloud;
use crate::config::{Config, Pgpool};
use crate::daemon::{Daemon, Surroundings};
use crate::decide::pace;
use crate::desired;
use crate::machine::lock::take_alone;
use crate::machine::netlink::Netlink;
use crate::machine::trust::{SharedOwners, TrustedOwners, uid_of};
use crate::observe::configured_keys;
use crate::pgpool::port;
use crate::pgpool::watchdog::{Asked, Watchdog};
use crate::probe::{self, Post};
use crate::problem::ProblemReason;
use crate::report::systemd::Systemd;
use crate::report::{HEARTBEAT, News, Report, Reporter, VipKeys, http};
use crate::state_dir::files::Files;
use crate::status::Status;
use crate::wake::{self, Concern, FoundUser, GuardWatch, HookUsers, PartVoice, Parts, Wake, Watcher};

/// Why the daemon cannot start at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    #[error("cannot read the boot id of the kernel")]
    BootId(#[source] std::io::Error),
    #[error("another vipkeeper runs with the state folder {}", .0.display())]
    AlreadyRunning(PathBuf),
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    #[error("cannot talk to the kernel about its addresses")]
    Netlink(#[source] crate::machine::kernel::KernelError),
}

/// How long the start waits for the hook users.
const FIRST_ANSWER: Duration = Duration::from_millis(500);
/// The pause between two tries to make the state folder and to take its lock.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Reads the configuration again. An error is a text for people.
pub type ReadConfig = Box<dyn Fn() -> Result<Config, String>>;

/// A runtime with one thread, because the daemon waits more than it works.
///
/// # Errors
/// When the kernel gives no event queue.
pub fn runtime() -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)
}

/// Runs until SIGTERM or SIGINT, and moves nothing when it ends. `missed` are problems that are known already, each
/// with its reason.
///
/// # Errors
/// Only an error that no daemon can run with: see [`StartError`].
pub async fn run(
    config: Config,
    read_config: ReadConfig,
    missed: Vec<(ProblemReason, String)>,
) -> Result<(), StartError> {
    let (wakes, woken_by) = wake::channel();
    let parts = Parts::default();
    let part = |reason| parts.voice(reason, wakes.clone());
    for (reason, message) in missed {
        part(reason).tell(Err(message));
    }
    let mut folder = Folder::new(&config.state_dir, part(ProblemReason::StateDir));
    folder.take()?;
    let report = Arc::new(report(&config));
    let (around, answers) = Around::start(&config, &report, &parts, &wakes).await;
    let watchdog = Rc::new(Keyed::new(&config.pgpool, &around.trusted, part(ProblemReason::WatchdogKey)));
    let guards = GuardWatch::new(wakes.clone());
    let machine = Files::new(&config.state_dir, around.trusted.clone(), Some(guards)).map_err(StartError::BootId)?;
    let voice: Rc<dyn Reporter> = Rc::new(Voice { report: Arc::clone(&report), systemd: Systemd::of_process() });
    let observed = Arc::clone(&report);
    let cloud = Rc::new(Cloud::new(Rc::new(move |request| observed.news(&News::Request(request)))));

    let _watchers = [
        wake::watch_signals(part(ProblemReason::WatchSignals)),
        wake::watch_folder(&desired::folder(&config.state_dir), part(ProblemReason::WatchFiles)),
    ];
    let listens = part(ProblemReason::Listen);
    let serve = |address| http::start(address, Arc::clone(&report), move |outcome| listens.tell(outcome));
    let _listener = config.listen.map(serve).transpose().map_err(StartError::Thread)?;

    let (kept, keyed) = (Rc::clone(&around), Rc::clone(&watchdog));
    let surroundings = Surroundings {
        ec2: Rc::clone(&cloud),
        kernel: Rc::new(Netlink::new().map_err(StartError::Netlink)?),
        identify: Rc::clone(&cloud),
        machine,
        reporter: voice,
        reload: Box::new(move || {
            let config = read_config()?;
            around.set_up(&config);
            keyed.read_key();
            Ok(config)
        }),
        ask_watchdog: Box::new(move || {
            let watchdog = Rc::clone(&watchdog);
            Box::pin(async move { watchdog.consult().await })
        }),
        knock: Box::new(|address| Box::pin(port::knock(address))),
        rng: fastrand::Rng::new(),
    };
    let mut daemon = Daemon::new(config, surroundings);
    daemon.follow(parts.clone());
    daemon.probe_by(probes(&wakes, part(ProblemReason::Probe)));
    tokio::select! {
        () = daemon.run(woken_by) => {}
        () = tell_expiry(&cloud, &report) => {}
        () = keep_up(&kept, folder, answers) => {}
    }
    Ok(())
}

/// Starts the tasks that ask and answer who answers on a VIP, and gives the loop's exchange with them.
fn probes(wakes: &mpsc::Sender<Wake>, voice: PartVoice) -> Post {
    let post = Post::waking(wakes.clone());
    tokio::spawn(probe::serve(post.clone(), voice));
    post
}

/// The client that asks Pgpool's watchdog, and the voice that tells what is wrong with the file of its key.
struct Keyed {
    watchdog: Watchdog,
    voice: PartVoice,
}

impl Keyed {
    fn new(config: &Pgpool, trusted: &SharedOwners, voice: PartVoice) -> Self {
        let watchdog = Watchdog::of(config, trusted.clone());
        voice.tell(watchdog.key_problem().map_or(Ok(()), Err));
        Self { watchdog, voice }
    }

    fn read_key(&self) {
        self.watchdog.read_key();
        self.voice.tell(self.watchdog.key_problem().map_or(Ok(()), Err));
    }

    /// Asks the watchdog. As long as something is wrong with the file of the key, the file is read anew before each
    /// question. Otherwise a reload reads the file.
    async fn consult(&self) -> Asked {
        if self.watchdog.key_problem().is_some() {
            self.read_key();
        }
        self.watchdog.consult().await
    }
}

/// Keeps trying to complete the parts around the loop that are not there yet (the state folder, its lock, the hook
/// users), for ever.
async fn keep_up(around: &Around, mut folder: Folder, mut answers: mpsc::UnboundedReceiver<FoundUser>) {
    let mut again = tokio::time::interval(TRY_AGAIN);
    loop {
        tokio::select! {
            Some(found) = answers.recv() => {
                if around.users.learn(found) {
                    // Desired-state files of these users count now, or do not count any more.
                    let _ = around.wakes.send(Wake::DesiredChanged).await;
                }
            }
            _ = again.tick() => {
                folder.keep();
                around.users.keep();
            }
        }
    }
}

/// The state folder, which hooks and the daemon write into, and the lock in it.
struct Folder {
    state_dir: PathBuf,
    is_made: bool,
    /// The locked file; the system releases the lock when the process ends.
    lock: Option<File>,
    voice: PartVoice,
}

impl Folder {
    fn new(state_dir: &Path, voice: PartVoice) -> Self {
        Self { state_dir: state_dir.to_owned(), is_made: false, lock: None, voice }
    }

    /// Makes the folder and takes the lock, as far as that is possible now.
    ///
    /// # Errors
    /// When another daemon has the lock.
    fn take(&mut self) -> Result<(), StartError> {
        let made = prepare_state_dir(&self.state_dir);
        self.is_made = made.is_ok();
        self.voice.tell(made);
        if self.lock.is_none() {
            self.lock = lock(&self.state_dir)?;
        }
        Ok(())
    }

    /// Tries again, unless the folder is made and the lock is taken. If another daemon was started meanwhile, both go
    /// on, and this one reports the conflict.
    fn keep(&mut self) {
        if !(self.is_made && self.lock.is_some())
            && let Err(error) = self.take()
        {
            self.voice.tell(Err(format!("{error}; stop one of them")));
        }
    }
}

/// Makes the folders that hooks and the daemon write into. The systemd unit makes them; without a unit, the daemon
/// tries to.
fn prepare_state_dir(state_dir: &Path) -> Result<(), String> {
    let folder = desired::folder(state_dir);
    std::fs::create_dir_all(&folder).map_err(|error| {
        format!("cannot make {}: {error}; the systemd unit or `systemd-tmpfiles --create` makes it", folder.display())
    })
}

/// Takes the lock, because two daemons with one state folder would record claims against each other. The system
/// releases the lock when the process ends.
fn lock(state_dir: &Path) -> Result<Option<File>, StartError> {
    match take_alone(&state_dir.join("run.lock")) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(StartError::AlreadyRunning(state_dir.to_owned())),
        // A folder that cannot be written is a problem of its own in the status, and no reason not to run.
        Err(_) => Ok(None),
    }
}

fn report(config: &Config) -> Report {
    let keys = configured_keys(config).into_iter();
    let vips: Vec<_> = keys.map(|(vip, bindings)| VipKeys { vip, bindings }).collect();
    Report::new(&vips, Some(&config.state_dir), ready_within(config))
}

/// How old the last read of a source may be before the daemon is unready.
fn ready_within(config: &Config) -> Duration {
    pace::longest(&config.intervals) * 3
}

/// The parts around the loop that follow the config and its changes.
struct Around {
    wakes: mpsc::Sender<Wake>,
    report: Arc<Report>,
    trusted: SharedOwners,
    users: HookUsers,
    addresses_voice: PartVoice,
    addresses: RefCell<Option<Watcher>>,
}

impl Around {
    /// Sets the parts up, and gives the channel on which later answers about users come. Mostly the first answers are
    /// there at once. Until they come, only root is trusted.
    async fn start(
        config: &Config,
        report: &Arc<Report>,
        parts: &Parts,
        wakes: &mpsc::Sender<Wake>,
    ) -> (Rc<Self>, mpsc::UnboundedReceiver<FoundUser>) {
        let trusted = SharedOwners::from(TrustedOwners::root());
        let voice = parts.voice(ProblemReason::HookUsers, wakes.clone());
        let (users, mut answers) = HookUsers::new(Arc::new(uid_of), trusted.clone(), voice);
        let around = Self {
            wakes: wakes.clone(),
            report: Arc::clone(report),
            trusted,
            users,
            addresses_voice: parts.voice(ProblemReason::WatchAddresses, wakes.clone()),
            addresses: RefCell::default(),
        };
        around.set_up(config);
        let all_answered = async {
            while !around.users.all_answered()
                && let Some(found) = answers.recv().await
            {
                around.users.learn(found);
            }
        };
        // The users that are not known by then come later.
        let _ = timeout(FIRST_ANSWER, all_answered).await;
        (Rc::new(around), answers)
    }

    /// Sets the parts up for this config. All users are looked up again, because users may have been added since.
    fn set_up(&self, config: &Config) {
        self.report.set_ready_within(ready_within(config));
        self.report.set_on_change(&config.on_change);
        self.users.want(&config.hook_users);
        let watcher = wake::watch_addresses(concern(config), self.addresses_voice.clone());
        // The old watcher ends only after the new one has started, so that no change falls between the two.
        self.addresses.replace(Some(watcher));
    }
}

/// The addresses and interfaces whose changes wake the loop. An interface that the config does not name is the first
/// ENI's, which EC2 never detaches: the addresses alone show what happens to it.
fn concern(config: &Config) -> Concern {
    let addresses = config.vips.iter().flat_map(|vip| &vip.addresses);
    let named = addresses.clone().flat_map(crate::config::AddressConfig::interfaces).flatten().map(str::to_owned);
    Concern { addresses: addresses.map(|address| address.address).collect(), interfaces: named.collect() }
}

/// Tells at each [`HEARTBEAT`] when the credentials expire, for ever.
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

/// The reporter of a daemon under systemd: it tells the report, and it tells the service manager that the loop turns.
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn a_state_folder_that_cannot_be_made_at_first_is_made_and_locked_later() {
        let parent = tempfile::tempdir().unwrap();
        let state_dir = parent.path().join("vipkeeper");
        // A file in its place: not even root can make a folder there.
        std::fs::write(&state_dir, "").unwrap();
        let (wakes, _woken_by) = wake::channel();
        let parts = Parts::default();
        let mut folder = Folder::new(&state_dir, parts.voice(ProblemReason::StateDir, wakes));
        folder.take().unwrap();
        let told = parts.changes();
        assert!(
            matches!(&told[..], [(ProblemReason::StateDir, Err(why))] if why.contains("systemd-tmpfiles")),
            "{told:?}"
        );
        folder.keep();
        assert_eq!(parts.changes(), [], "it is told once");

        std::fs::remove_file(&state_dir).unwrap();
        folder.keep();
        assert_eq!(parts.changes(), [(ProblemReason::StateDir, Ok(()))]);
        assert!(desired::folder(&state_dir).is_dir());
        assert!(matches!(lock(&state_dir), Err(StartError::AlreadyRunning(_))), "the lock is taken");
    }

    #[tokio::test]
    async fn a_key_that_comes_after_the_start_is_used_and_a_reload_reads_a_changed_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let write = |key: &str, mode| {
            std::fs::write(&path, key).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let socket = folder.path().join("socket");
        let own = TrustedOwners::root().with_uid(rustix::process::geteuid().as_raw());
        let questions = tokio::net::UnixListener::bind(&socket).unwrap();
        let pgpool = Pgpool { watchdog_socket: Some(socket), wd_authkey_file: Some(path.clone()), ..Pgpool::default() };
        let (wakes, _woken_by) = wake::channel();
        let parts = Parts::default();
        let keyed = Keyed::new(&pgpool, &SharedOwners::from(own), parts.voice(ProblemReason::WatchdogKey, wakes));
        // Pgpool's watchdog answers with type 'F' where the key is wrong.
        let asked = async || {
            let refuse = async {
                let (mut stream, _) = questions.accept().await.unwrap();
                let mut question = vec![0; 500];
                let length = stream.read(&mut question).await.unwrap();
                stream.write_all(b"F\0\0\0\0").await.unwrap();
                String::from_utf8(question[5..length].to_vec()).unwrap()
            };
            let (outcome, question) = tokio::join!(keyed.consult(), refuse);
            (outcome, question.split_once(r#""IPCAuthKey":"#).map(|(_, key)| key.split('"').nth(1).unwrap().to_owned()))
        };
        let (outcome, key) = asked().await;
        assert!(matches!(outcome, Asked::Unheard(why) if why.ends_with("key: there is no such file")));
        assert_eq!(key, None);
        assert!(matches!(&parts.changes()[..], [(ProblemReason::WatchdogKey, Err(_))]));
        write("first", 0o644);
        assert_eq!(asked().await.1.as_deref(), Some("first"));
        assert!(matches!(&parts.changes()[..], [(_, Err(why))] if why.starts_with("every user")));
        write("first", 0o640);
        assert_eq!(asked().await.1.as_deref(), Some("first"));
        assert_eq!(parts.changes(), [(ProblemReason::WatchdogKey, Ok(()))]);
        write("second", 0o640);
        keyed.read_key();
        assert_eq!(asked().await.1.as_deref(), Some("second"));
        assert_eq!(parts.changes(), []);
    }
}
