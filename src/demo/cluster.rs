//! The demo's three nodes, and the events that the scenes play on them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use ec2_endpoint::account::model::RouteTarget;
use ec2_endpoint::http::{Endpoint, Server};
use ec2_endpoint::{Account, Caller, Operation, Outcome};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};

use super::network::{DemoMachine, Network, PUBLIC_IP, REGION, Served};
use super::timeline::Timeline;
use crate::aws::imds::Card;
use crate::aws::node::Cloud;
use crate::commands::run::tell_expiry;
use crate::config::sources::Sources;
use crate::daemon::{Daemon, Surroundings};
use crate::demo::kernel::MemoryKernel;
use crate::desired;
use crate::machine::kernel::LocalAddress;
use crate::machine::trust::TrustedOwners;
use crate::observe::configured_keys;
use crate::observe::seen::Port;
use crate::pgpool::watchdog::{Asked, Nobody};
use crate::report::{News, Report, Reporter, VipKeys, http};
use crate::state_dir::files::Files;
use crate::status::{DesiredRole, Status};
use crate::wake::{self, Wake, watch_folder};

/// The address of the route method, which lies outside the VPC.
pub const DELEGATE_IP: &str = "20.0.0.50";
const INTERFACE: &str = "eth0";
/// The leader's and the standby's interval. Both are short, so that a spectator sees drift repaired. By default
/// a leader looks each 2.7 s to 10 s, as the account's quota allows, and a standby each 30 s.
const INTERVALS: (&str, &str) = ("2s", "5s");

/// The network, and the three nodes.
pub struct Cluster {
    pub served: Served,
    pub nodes: Vec<DemoNode>,
    folder: Folder,
    timeline: Timeline,
}

/// One node: its machine, and the daemon on the machine while a daemon runs.
pub struct DemoNode {
    pub machine: DemoMachine,
    config: PathBuf,
    state_dir: PathBuf,
    kernel: Rc<MemoryKernel>,
    report: Arc<Report>,
    metrics_url: String,
    newest: Rc<RefCell<Option<Status>>>,
    daemon: Option<Running>,
    /// Whether the machine still exists: `false` after [`Cluster::lose_machine`].
    pub lives: bool,
}

struct Running {
    loop_task: JoinHandle<()>,
    _watcher: wake::Watcher,
}

impl Cluster {
    pub async fn start(latency: Duration, timeline: Timeline) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
        let served = Network::new(latency)?.serve(listener).await?;
        let folder = Folder::new()?;
        let mut nodes = Vec::new();
        for (machine, metadata) in served.network.machines.iter().zip(&served.metadata) {
            nodes.push(DemoNode::new(machine, &served, metadata, &folder.0).await?);
        }
        let mut cluster = Self { served, nodes, folder, timeline };
        for index in 0..cluster.nodes.len() {
            cluster.start_daemon(index)?;
        }
        Ok(cluster)
    }

    pub fn introduction(&self) -> String {
        format!(
            "Three nodes, one VIP: {DELEGATE_IP} by two route tables, and {PUBLIC_IP}, an Elastic IP, that follows it.\n{}\n",
            self.served.introduction()
        )
    }

    /// The text that tells a spectator what to try while the demo goes on.
    pub fn invitation(&self) -> String {
        let Network { allocation, tables, .. } = &self.served.network;
        let eni = &self.nodes[0].machine.eni;
        let table = &tables[0];
        let program = env::current_exe().unwrap_or_else(|_| PathBuf::from("vipkeeper"));
        let mut text = format!(
            "The cluster goes on until Ctrl-C. Break something in another terminal, and watch it mended:\n\n{}\n  \
             aws ec2 describe-addresses\n  \
             aws ec2 associate-address --allocation-id {allocation} --network-interface-id {eni} --allow-reassociation\n  \
             aws ec2 delete-route --route-table-id {table} --destination-cidr-block {DELEGATE_IP}/32\n\n",
            self.served.introduction()
        );
        for node in &self.nodes {
            let dir = node.state_dir.display();
            let lost = if node.lives { "" } else { " (lost in scene 3: it shows how it stood then)" };
            let _ = writeln!(text, "  {}{lost}: {}/metrics", node.machine.name, node.metrics_url);
            let _ = writeln!(text, "    {} status --watch --state-dir {dir}", program.display());
        }
        text
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.served.network.endpoint
    }

    pub fn start_daemon(&mut self, index: usize) -> anyhow::Result<()> {
        let timeline = self.timeline.clone();
        self.nodes[index].start_daemon(timeline)
    }

    /// Ends the node's daemon from one instant to the next, as `kill -9` does.
    pub fn kill_daemon(&mut self, index: usize) {
        if let Some(running) = self.nodes[index].daemon.take() {
            running.loop_task.abort();
        }
    }

    /// Loses the node's whole machine, as when its host fails.
    pub fn lose_machine(&mut self, index: usize) -> anyhow::Result<()> {
        self.kill_daemon(index);
        let node = &mut self.nodes[index];
        node.lives = false;
        node.kernel.unplug(INTERFACE);
        let instance = node.machine.instance.clone();
        self.endpoint().change(|account| account.terminate_instance(&instance))?;
        Ok(())
    }

    /// Runs a hook on a node as Pgpool does: this very program, in a process of its own.
    pub fn hook(&self, index: usize, command: &str) -> anyhow::Result<()> {
        let node = &self.nodes[index];
        let program = env::current_exe().context("cannot find this program")?;
        let status = Command::new(program)
            .arg(command)
            .arg(DELEGATE_IP)
            .arg("--config")
            .arg(&node.config)
            .status()
            .with_context(|| format!("cannot run the hook `{command}`"))?;
        ensure!(status.success(), "the hook `{command}` failed on {}: {status}", node.machine.name);
        Ok(())
    }

    /// Changes something in EC2 at once, as an operator does by hand.
    pub fn by_hand(&self, operation: &Operation) -> anyhow::Result<()> {
        let now = self.endpoint().now();
        let reply = self.endpoint().service().call(now, &Caller::named("operator"), operation);
        match reply.outcome {
            Outcome::Answered(Ok(_)) => Ok(()),
            other => bail!("the operator's {} was not carried out: {other:?}", operation.name()),
        }
    }

    /// Whether every binding points at this node, as a client needs it.
    pub fn points_at(&self, index: usize) -> bool {
        let service = self.endpoint().service();
        let account = service.account();
        let eni = &self.nodes[index].machine.eni;
        let network = &self.served.network;
        let elastic = account
            .elastic_ip(&network.allocation)
            .and_then(|address| address.association.as_ref())
            .is_some_and(|association| association.network_interface_id == *eni);
        let routes = network.tables.iter().all(|table| route_target(account, table).as_ref() == Some(eni));
        elastic && routes && self.nodes[index].has_address()
    }

    /// The other machines that live and still have the local address.
    pub fn left_behind(&self, index: usize) -> Vec<&'static str> {
        let others = self.nodes.iter().enumerate().filter(|(other, node)| *other != index && node.lives);
        others.filter(|(_, node)| node.has_address()).map(|(_, node)| node.machine.name).collect()
    }

    /// Whether the node's own daemon says that it leads and is in sync.
    pub fn says_in_sync(&self, index: usize) -> bool {
        let newest = self.nodes[index].newest.borrow();
        let vip = newest.as_ref().and_then(|status| status.vips.first());
        vip.is_some_and(|vip| vip.in_sync && vip.desired.role == DesiredRole::Leader)
    }

    /// Each node's view of the VIP, one line each.
    pub fn views(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let newest = node.newest.borrow();
            let vip = newest.as_ref().and_then(|status| status.vips.first());
            let view = match vip {
                _ if !node.lives => "lost".to_owned(),
                _ if node.daemon.is_none() => "daemon down".to_owned(),
                None => "has not looked yet".to_owned(),
                Some(vip) => {
                    let superseded = vip.claim.as_ref().is_some_and(|claim| claim.superseded_by.is_some());
                    let role = &vip.desired.role;
                    let role = if superseded && *role == DesiredRole::Leader { "superseded" } else { role.as_str() };
                    let bindings = vip.bindings.iter().map(|binding| format!("{} {}", binding.kind, binding.state));
                    format!("{role:<10} {}", bindings.collect::<Vec<_>>().join(", "))
                }
            };
            let _ = writeln!(text, "           {}  {view}", node.machine.name);
        }
        text
    }
}

fn route_target(account: &Account, table: &str) -> Option<String> {
    let destination = format!("{DELEGATE_IP}/32").parse().ok()?;
    match &account.route_table(table)?.routes.get(&destination)?.target {
        RouteTarget::NetworkInterface(eni) => Some(eni.clone()),
        RouteTarget::Local | RouteTarget::InternetGateway(_) => None,
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in 0..self.nodes.len() {
            self.kill_daemon(index);
        }
        // The temporary folder is removed when `self.folder` is dropped.
        let _ = &self.folder;
    }
}

impl DemoNode {
    async fn new(machine: &DemoMachine, served: &Served, metadata: &Server, folder: &Path) -> anyhow::Result<Self> {
        let state_dir = folder.join(machine.name);
        fs::create_dir_all(desired::folder(&state_dir))?;
        let config = folder.join(format!("{}.toml", machine.name));
        let tables = served.network.tables.iter().map(|table| format!("{table:?}")).collect::<Vec<_>>().join(", ");
        let (leader, standby) = INTERVALS;
        let text = format!(
            r#"state_dir = "{state_dir}"
[aws]
endpoint_url = "{ec2}"
imds_endpoint = "{imds}"
region = "{REGION}"
[intervals]
leader = "{leader}"
standby = "{standby}"
[[vip]]
delegate_ip = "{DELEGATE_IP}"
[vip.route]
tables = [{tables}]
interface = "{INTERFACE}"
[[vip.also]]
address = "{PUBLIC_IP}"
[vip.also.elastic_ip]
interface = "{INTERFACE}"
"#,
            state_dir = state_dir.display(),
            ec2 = served.api.url(),
            imds = metadata.url(),
        );
        fs::write(&config, text)?;
        let loaded = Sources { file: config.clone(), environment: Vec::new(), flags: Vec::new() }.load()?;
        let keys = configured_keys(&loaded);
        let vips: Vec<_> = keys.into_iter().map(|(vip, bindings)| VipKeys { vip, bindings }).collect();
        let report = Arc::new(Report::new(&vips, Some(&state_dir), loaded.intervals.standby * 3));
        let listener = http::listen(([127, 0, 0, 1], 0).into()).await?;
        let metrics_url = format!("http://{}", listener.local_addr()?);
        let served = Arc::clone(&report);
        spawn_local(async move { http::serve(listener, &served).await });
        Ok(Self {
            machine: machine.clone(),
            config,
            state_dir,
            kernel: Rc::new(MemoryKernel::new([INTERFACE])),
            report,
            metrics_url,
            newest: Rc::default(),
            daemon: None,
            lives: true,
        })
    }

    fn start_daemon(&mut self, timeline: Timeline) -> anyhow::Result<()> {
        let sources = Sources { file: self.config.clone(), environment: Vec::new(), flags: Vec::new() };
        let config = sources.load()?;
        let (wakes, woken_by): (mpsc::Sender<Wake>, _) = wake::channel();
        self.kernel.wake_through(wakes.clone());
        let watcher = watch_folder(&desired::folder(&self.state_dir), wakes);
        let trusted = TrustedOwners::root().with_uid(rustix::process::getuid().as_raw());
        let machine = Files::new(&self.state_dir, trusted, None)?;
        let (observer, mac) = (Arc::clone(&self.report), self.machine.mac.clone());
        let card = Card { mac, has_device: true };
        let cards = Box::new(move || Ok(BTreeMap::from([(INTERFACE.to_owned(), card.clone())])));
        let cloud = Rc::new(Cloud::with_cards(cards, Rc::new(move |request| observer.news(&News::Request(request)))));
        let voice = Voice {
            node: self.machine.name,
            report: Arc::clone(&self.report),
            newest: Rc::clone(&self.newest),
            timeline,
        };
        let expiry = {
            let (cloud, report) = (Rc::clone(&cloud), Arc::clone(&self.report));
            async move { tell_expiry(&cloud, &report).await }
        };
        let around = Surroundings {
            ec2: Rc::clone(&cloud),
            kernel: Rc::clone(&self.kernel),
            identify: cloud,
            machine,
            reporter: Rc::new(voice),
            reload: Box::new(move || sources.load().map_err(|error| error.summary())),
            ask_watchdog: Box::new(|| Box::pin(async { Asked::Nobody(Nobody::NoSocket(Vec::new())) })),
            // No Pgpool runs in the demo.
            knock: Box::new(|_| Box::pin(async { Port::Silent })),
            rng: fastrand::Rng::new(),
        };
        let daemon = Daemon::new(config, around).run(woken_by);
        let loop_task = spawn_local(async {
            tokio::select! {
                () = daemon => {}
                () = expiry => {}
            }
        });
        self.daemon = Some(Running { loop_task, _watcher: watcher });
        Ok(())
    }

    fn has_address(&self) -> bool {
        let Ok(address) = DELEGATE_IP.parse::<IpAddr>() else { return false };
        self.kernel.has(&LocalAddress::single(INTERFACE, address))
    }
}

/// The reporter of one node: it tells the node's report and the demo's timeline.
struct Voice {
    node: &'static str,
    report: Arc<Report>,
    newest: Rc<RefCell<Option<Status>>>,
    timeline: Timeline,
}

impl Reporter for Voice {
    fn news(&self, news: &News<'_>) {
        self.report.news(news);
        self.timeline.news(self.node, news);
    }

    fn status(&self, status: &Status) {
        self.report.status(status);
        self.newest.replace(Some(status.clone()));
    }
}

/// A temporary folder that is removed when the demo ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = env::temp_dir().join(format!("vipkeeper-demo-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // An error can be told to nobody any more. The folder is below the system's temporary one.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::status::page::Colours;

    #[tokio::test]
    async fn the_metrics_show_when_the_credentials_run_out_as_those_of_run_do() {
        LocalSet::new()
            .run_until(async {
                let cluster = Cluster::start(Duration::ZERO, Timeline::start(Colours::Off)).await.unwrap();
                let has_it = || {
                    let metrics = cluster.nodes[0].report.metrics();
                    metrics.lines().any(|line| line.starts_with("vipkeeper_credentials_expiry_timestamp_seconds "))
                };
                let told = async {
                    while !has_it() {
                        sleep(Duration::from_millis(100)).await;
                    }
                };
                timeout(Duration::from_mins(1), told).await.expect("it is told every few seconds");
            })
            .await;
    }
}
