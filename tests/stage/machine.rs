//! One machine: its network, its folder, and the way into it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ec2_endpoint::service::ImdsFault;
use ec2_endpoint::{Caller, Endpoint, Launched};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use vipkeeper::status::{self, Status};

use super::daemon::Daemon;
use super::namespace::{INTERFACE, Network};
use super::{PATIENCE, REGION};

/// The program under test: the build beside the tests, or the file that `VIPKEEPER_PROGRAM` names, for example a
/// package's.
pub fn program() -> PathBuf {
    let built = option_env!("CARGO_BIN_EXE_vipkeeper").map(PathBuf::from);
    let named = std::env::var_os("VIPKEEPER_PROGRAM").map(PathBuf::from);
    named.or(built).expect("VIPKEEPER_PROGRAM names the program where none is built: without the feature aws")
}

type Job = Box<dyn FnOnce(&Inside) + Send>;

/// The tools of the thread that lives in the machine's namespaces.
pub struct Inside {
    runtime: Runtime,
    network: Network,
}

/// A machine with `eth0`, as EC2 knows it. Its namespaces end when the machine is dropped.
pub struct Machine {
    pub name: &'static str,
    pub instance: String,
    pub eni: String,
    /// The URL of the machine's metadata service. `ec2` is the URL of its EC2 endpoint.
    pub imds: String,
    pub ec2: String,
    folder: TempDir,
    endpoint: Endpoint,
    /// `serving` and `jobs` keep the machine's threads alive. The servers end first, and then the thread that does the
    /// jobs.
    serving: Option<oneshot::Sender<()>>,
    jobs: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// Whether machines can be made here. The error says what is missing.
pub fn permitted() -> Result<(), String> {
    thread::spawn(enter_namespaces).join().unwrap_or_else(|_| Err("entering namespaces panicked".to_owned()))
}

/// Moves this thread into namespaces of its own: a network namespace, and a mount namespace so that /sys shows that
/// network.
fn enter_namespaces() -> Result<(), String> {
    #[expect(unsafe_code, reason = "rustix has no safe way to leave a namespace")]
    // SAFETY: the flags leave file descriptors and memory shared as they are; they move only this thread.
    let left = unsafe { unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) };
    left.map_err(|error| format!("making network and mount namespaces needs CAP_SYS_ADMIN ({error})"))?;
    for arguments in [["--make-rprivate", "/"].as_slice(), &["-t", "sysfs", "sysfs", "/sys"]] {
        let output = Command::new("mount").args(arguments).output().map_err(|error| format!("no `mount`: {error}"))?;
        if !output.status.success() {
            return Err(format!("mounting /sys afresh: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
    }
    Ok(())
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// `02:00:00:00:00:0a` as bytes.
fn mac_bytes(mac: &str) -> [u8; 6] {
    let mac: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    mac.try_into().unwrap()
}

impl Machine {
    pub(super) fn new(name: &'static str, launched: &Launched, mac: &str, endpoint: &Endpoint) -> Self {
        let mac = mac_bytes(mac);
        let (jobs, to_do) = mpsc::channel::<Job>();
        let (serving, stop) = oneshot::channel();
        let (ready, made) = mpsc::channel();
        let (shared, instance) = (endpoint.clone(), launched.instance_id.clone());
        let inside = thread::spawn(move || {
            enter_namespaces().unwrap();
            let runtime = runtime();
            let network = runtime.block_on(async {
                let network = Network::new().await;
                network.set_mac(INTERFACE, mac).await;
                network
            });
            // A new thread inherits the namespaces of the thread that starts it.
            let servers = thread::spawn(move || serve(&shared, &instance, name, &ready, stop));
            let inside = Inside { runtime, network };
            for job in to_do {
                job(&inside);
            }
            servers.join().unwrap();
        });
        let (ec2, imds) = made.recv().expect("the machine's servers started");
        // A real /run is on tmpfs, so the folder is on tmpfs too where there is one.
        let shm = Path::new("/dev/shm");
        let folder = if shm.is_dir() { TempDir::new_in(shm) } else { TempDir::new() }.unwrap();
        // Hooks of other users must be able to look into the folder.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("run")).unwrap();
        Self {
            name,
            instance: launched.instance_id.clone(),
            eni: launched.interfaces[0].clone(),
            imds,
            ec2,
            folder,
            endpoint: endpoint.clone(),
            serving: Some(serving),
            jobs: Some(jobs),
            threads: vec![inside],
        }
    }

    /// Gives `eth0` another MAC address.
    pub fn set_mac(&self, mac: &str) {
        let mac = mac_bytes(mac);
        self.inside(move |inside| inside.runtime.block_on(inside.network.set_mac(INTERFACE, mac)));
    }

    /// Runs the job on the thread that lives within the machine.
    pub fn inside<R: Send + 'static>(&self, job: impl FnOnce(&Inside) -> R + Send + 'static) -> R {
        let (tell, told) = mpsc::channel();
        let job: Job = Box::new(move |inside| drop(tell.send(job(inside))));
        self.jobs.as_ref().unwrap().send(job).unwrap();
        told.recv().expect("the job inside the machine panicked")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn state_dir(&self) -> PathBuf {
        self.path("run")
    }

    pub fn desired_file(&self, vip: &str) -> PathBuf {
        self.state_dir().join(format!("desired/{vip}.json"))
    }

    pub fn config(&self) -> PathBuf {
        self.path("vipkeeper.toml")
    }

    /// The tables at the beginning of every test's configuration: the places of all services, and short intervals.
    pub fn header(&self) -> String {
        format!(
            r#"state_dir = "{state_dir}"
hook_users = ["nobody"]
[aws]
endpoint_url = "{ec2}"
imds_endpoint = "{imds}"
region = "{REGION}"
[intervals]
leader = "2s"
standby = "5s"
"#,
            state_dir = self.state_dir().display(),
            ec2 = self.ec2,
            imds = self.imds,
        )
    }

    /// Writes the configuration: the header and these VIPs.
    pub fn configure(&self, vips: &str) {
        self.configure_whole(&(self.header() + vips));
    }

    pub fn configure_whole(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    /// A command for the program with these arguments and this machine's configuration. Its environment holds only a
    /// path.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).arg("--config").arg(self.config());
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Runs the program within the machine.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        self.inside(move |_| command.output().unwrap())
    }

    /// Runs the program, and returns its stdout, its stderr and its exit code.
    pub fn said(&self, arguments: &[&str]) -> (String, String, i32) {
        let Output { status, stdout, stderr } = self.run(arguments);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(stdout), text(stderr), status.code().unwrap_or(-1))
    }

    /// Runs a hook, which must succeed and print nothing.
    #[track_caller]
    pub fn hook(&self, what: &str, vip: &str) {
        assert_eq!(self.said(&[what, vip]), (String::new(), String::new(), 0), "{what} {vip} on {}", self.name);
    }

    /// Waits, as Pgpool does, until the claim has converged.
    #[track_caller]
    pub fn wait(&self, vip: &str) {
        let said = self.said(&["wait", vip, "--timeout", "60s"]);
        assert_eq!(said, (String::new(), String::new(), 0), "wait {vip} on {}", self.name);
    }

    /// Starts the daemon.
    pub fn start(&self) -> Daemon {
        self.start_with(|_| {})
    }

    /// Starts the daemon with a change to its command, such as a variable.
    pub fn start_with(&self, change: impl FnOnce(&mut Command)) -> Daemon {
        let mut command = self.command(&["run"]);
        change(&mut command);
        let log = self.path("log");
        let file = fs::File::options().append(true).create(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = self.inside(move |_| command.spawn().unwrap());
        Daemon::new(child, self.name, log)
    }

    /// Starts the daemon, and waits until it is ready.
    #[track_caller]
    pub fn start_ready(&self) -> Daemon {
        let daemon = self.start();
        self.until_ready();
        daemon
    }

    #[track_caller]
    pub fn until_ready(&self) {
        let mut last = None;
        let began = Instant::now();
        while last.as_ref().is_none_or(|(status, _)| *status != 200) {
            assert!(began.elapsed() < PATIENCE, "{} is not ready: {last:?}", self.name);
            thread::sleep(Duration::from_millis(20));
            last = self.get("/readyz");
        }
    }

    /// Asks the daemon over HTTP; `None` if nobody listens.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = self.inside(move |_| {
            let mut stream = TcpStream::connect("127.0.0.1:9813").ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(request.as_bytes()).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        })?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The value of one series on the metrics page. `series` is written as Prometheus reads it.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, page) = self.get("/metrics")?;
        page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// The last status that the daemon wrote to its file.
    pub fn status(&self) -> Option<Status> {
        status::file::read(&self.state_dir()).ok()
    }

    /// Whether the daemon says that it leads the VIP, that its claim has converged, and that the VIP is in sync.
    pub fn leads_in_sync(&self, vip: &str) -> bool {
        let vip: IpAddr = vip.parse().unwrap();
        self.status().is_some_and(|status| {
            status.vips.iter().any(|found| {
                let converged = found.claim.as_ref().is_some_and(|claim| claim.converged_ms.is_some());
                found.delegate_ip == vip && found.in_sync && found.desired.role.as_str() == "leader" && converged
            })
        })
    }

    /// Whether the kernel has the address on an interface of this machine.
    pub fn has(&self, address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        self.inside(move |inside| !inside.runtime.block_on(inside.network.entries(address)).is_empty())
    }

    /// An operator removes a local address.
    pub fn remove(&self, address: &str) {
        let address: IpAddr = address.parse().unwrap();
        self.inside(move |inside| inside.runtime.block_on(inside.network.remove(address)));
    }

    pub fn break_imds(&self, fault: Option<ImdsFault>) {
        self.endpoint.service().set_imds_fault(self.name, fault);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.serving = None;
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // The thread already printed the message of its panic.
            let _ = thread.join();
        }
    }
}

/// Serves EC2 and the metadata at this namespace's loopback until told to stop.
fn serve(
    endpoint: &Endpoint,
    instance: &str,
    name: &'static str,
    ready: &mpsc::Sender<(String, String)>,
    stop: oneshot::Receiver<()>,
) {
    runtime().block_on(async {
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = endpoint.serve_api(listen().await).unwrap();
        let imds = endpoint.serve_imds(listen().await, instance, Caller::named(name)).unwrap();
        ready.send((api.url(), imds.url())).unwrap();
        // The sender is never used, and its drop is the sign to stop.
        let _ = stop.await;
    });
}
