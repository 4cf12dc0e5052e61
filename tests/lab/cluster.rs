//! Three nodes with Pgpool-II and vipkeeper, a database, a client: brought up, watched, and put away.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File, Permissions};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use ec2_endpoint::account::model::RouteTarget;
use ec2_endpoint::service::Mark;
use ec2_endpoint::{Account, Policy, Server};
use tempfile::TempDir;
use vipkeeper::desired::file::{DesiredFile, Leadership, Wanted};
use vipkeeper::ids::InstanceId;
use vipkeeper::machine::trust::TrustedOwners;
use vipkeeper::pgpool::watchdog::{Watchdog, Word};
use vipkeeper::status::Status;

use super::client::{Client, now};
use super::held::{Fates, HEARD, Held, end_waits};
use super::keeper::{self, Keeper, TimedHook};
use super::machine::{Machine, output};
use super::moto;
use super::permissions;
use super::prometheus::{METRICS_PORT, Prometheus, fetch};
use super::recorder::Recorder;
use super::software::{self, Nodes, PGPOOL_PORT, Probes, Setup, WATCHDOG_SOCKET};
use super::suite::Suite;
use super::vpc::{DATABASE, DATABASE_PORT, Instance, Method, NODES, Vpc};

/// The first election, and Pgpool's own pause before its lifecheck: ten times `wd_interval`, which is 10 s by default.
const BOOT: Duration = Duration::from_mins(3);
/// Answers in a row, without a pause, after which the client counts as served.
const STEADY: usize = 10;
/// The unit's own limit is longer.
const STOP: Duration = Duration::from_secs(10);
/// So many last lines of each log are shown where a play fails.
const SHOWN: usize = 40;
/// How the folders of labs begin, before the pid of the test and a word of its own.
pub const FOLDER: &str = "vipkeeper-lab-";

pub struct Lab {
    /// The folder that its logs go to.
    name: String,
    pub setup: Setup,
    pub client: Client,
    /// Connections that were open before anything happened. None until the cluster is up.
    held: Option<Held>,
    client_machine: Machine,
    pub recorder: Recorder,
    /// None where it is not installed or has nothing to watch.
    pub prometheus: Option<Prometheus>,
    nodes: Vec<Node>,
    /// By how many seconds the wall clock of each node is ahead of the lab's.
    ahead_s: [i64; 3],
    /// It goes after the nodes, which have connections to it.
    database: Machine,
    pub vpc: Vpc,
    folder: TempDir,
}

struct Node {
    instance: Instance,
    overlays: Vec<(PathBuf, PathBuf)>,
    /// None while it reboots.
    running: Option<Running>,
}

struct Running {
    machine: Machine,
    _metadata: Server,
}

impl Lab {
    /// Returns when a leader holds everything, the client is served, and every lifecheck has started.
    pub fn start(name: &str, setup: Setup) -> Self {
        remove_folders_that_were_left();
        let folder = tempfile::Builder::new().prefix(&format!("{FOLDER}{}-", process::id())).tempdir().unwrap();
        // PostgreSQL's user has its data in there.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let mut vpc = Vpc::new(setup.method, folder.path());
        vpc.add_tables(setup.tables);
        if setup.probes == Probes::OnWithTableForgotten {
            vpc.route_last_node_by_clients_table();
        }
        if setup.keeper == Keeper::Guide {
            keeper::prepare(&vpc);
        }
        let database = Machine::boot("database", setup.suite, &software::users(folder.path(), setup.suite));
        vpc.plug_database(&database);
        software::start_postgresql(&database, setup.suite, folder.path(), &folder.path().join("postgresql.log"));
        let bin = software::programs(folder.path());
        let mut nodes = Vec::new();
        for instance in &vpc.instances {
            let etc = software::settings(folder.path(), &vpc, instance, setup);
            if setup.keeper != Keeper::Guide {
                vpc.permit(instance.name, permissions::printed(&vpc, &etc.join("vipkeeper/vipkeeper.toml")));
            }
            let overlays = setup.suite.overlays(&[(&etc, "/etc"), (&bin, "/usr/bin")]);
            nodes.push(Node { instance: instance.clone(), overlays, running: None });
        }
        let client_machine = Machine::boot("client", Suite::Here, &[]);
        vpc.plug_client(&client_machine, setup.method);
        let client = Client::start(&client_machine, (setup.method.delegate_ip(), PGPOOL_PORT).into());
        let is_watched = setup.keeper == Keeper::Vipkeeper;
        let prometheus = if is_watched { Prometheus::start(&vpc, setup.nodes.started(), folder.path()) } else { None };
        let recorder = Recorder::start(&vpc.endpoint, setup.method.delegate_ip(), nodes.len());
        let name = plain_name(name);
        let mut lab = Self {
            name,
            setup,
            client,
            held: None,
            client_machine,
            recorder,
            prometheus,
            nodes,
            ahead_s: [0; 3],
            database,
            vpc,
            folder,
        };
        // In some versions no lifecheck ever starts where a node is missing when the first one looks for it.
        (0..setup.nodes.started()).for_each(|node| lab.boot_machine(node));
        (0..setup.nodes.started()).for_each(|node| lab.start_pgpool(node));
        eventually("the cluster comes up", BOOT, || {
            let leader = lab.escalated()?;
            if setup.probes == Probes::OnWithTableForgotten {
                lab.vpc.lead_clients_table_to(leader);
            }
            lab.agrees_on(leader)?;
            lab.is_served_by(leader)?;
            // In some versions it waits until every node has been there once.
            let is_known = |node| setup.nodes == Nodes::ThirdNeverStarts || lab.checks_life(node);
            lab.running().all(is_known).then_some(()).ok_or_else(|| "a lifecheck has not started".to_owned())
        });
        lab.held = Some(Held::open(&lab.client_machine, (setup.method.delegate_ip(), PGPOOL_PORT).into()));
        lab
    }

    /// The ends of the connections that were open before the fault. With `patience` from the fault on, clients that
    /// know nothing yet are waited for; without it, the quiet client asks its question now.
    pub fn fates(&self, at: Duration, patience: Option<Duration>) -> Fates {
        let held = self.held.as_ref().expect("the cluster came up");
        let until = match patience {
            Some(patience) => at + patience,
            None => {
                held.speak();
                now() + HEARD
            }
        };
        while !held.is_settled() && now() < until {
            thread::sleep(Duration::from_millis(20));
        }
        let looked = now();
        end_waits(&self.database, (DATABASE, DATABASE_PORT).into());
        while !held.has_the_waiting_heard() && now() < looked + HEARD {
            thread::sleep(Duration::from_millis(20));
        }
        held.fates(at, looked)
    }

    /// A machine with everything on it that starts at boot.
    pub fn boot(&mut self, node: usize) {
        self.boot_machine(node);
        self.start_pgpool(node);
    }

    /// A machine with everything on it that starts at boot, but for Pgpool.
    fn boot_machine(&mut self, node: usize) {
        let Node { instance, overlays, .. } = &self.nodes[node];
        let machine = Machine::boot(instance.name, self.setup.suite, overlays);
        let metadata = self.vpc.plug(&machine, instance);
        software::prepare(&machine);
        self.recorder.boot(node, &machine.pid());
        self.nodes[node].running = Some(Running { machine, _metadata: metadata });
        self.start_vipkeeper(node);
    }

    /// The machine is gone, with its processes, its /run and its addresses.
    pub fn power_off(&mut self, node: usize) {
        self.recorder.power_off(node);
        self.nodes[node].running = None;
        self.vpc.unplug(&self.nodes[node].instance);
    }

    pub fn start_vipkeeper(&self, node: usize) {
        if self.setup.keeper == Keeper::Guide {
            return;
        }
        software::start_vipkeeper(self.machine(node), self.setup, &self.log_file(node, "vipkeeper"));
    }

    /// As an operator installs another version and restarts the unit: another file of the same name, and SIGTERM.
    pub fn upgrade_vipkeeper(&self, node: usize) {
        let machine = self.machine(node);
        software::replace_vipkeeper(machine, self.folder.path());
        for pid in machine.family("vipkeeper") {
            machine.terminate(pid);
        }
        let is_gone = || if machine.family("vipkeeper").is_empty() { Ok(()) } else { Err("it runs".to_owned()) };
        eventually("vipkeeper ends", STOP, is_gone);
        self.start_vipkeeper(node);
    }

    pub fn start_pgpool(&self, node: usize) {
        software::start_pgpool(self.machine(node), self.setup, &self.log_file(node, "pgpool"));
    }

    pub fn stop_pgpool(&self, node: usize) {
        software::stop_pgpool(self.machine(node), self.setup);
    }

    pub fn begin_to_stop_pgpool(&self, node: usize, mode: &str) {
        let log = self.log_file(node, "pgpool-stop");
        software::begin_to_stop_pgpool(self.machine(node), self.setup, mode, &log);
    }

    /// Changes what every node may do in EC2. Returns the first node's printed policy, which is every node's: their
    /// configurations differ in addresses alone that no policy names.
    pub fn change_policies(&self, change: impl Fn(&Policy) -> Policy) -> Policy {
        let configuration = |node: usize| self.machine(node).path("/etc/vipkeeper/vipkeeper.toml");
        let printed = permissions::printed(&self.vpc, &configuration(0));
        for node in self.running() {
            assert_eq!(permissions::printed(&self.vpc, &configuration(node)), printed);
            self.vpc.permit(self.name_of(node), change(&printed));
        }
        printed
    }

    /// No packet passes between these nodes and their peers any more, nor between those and EC2.
    pub fn cut(&self, from_peers: &[usize], from_ec2: &[usize]) {
        self.vpc.cut(from_peers, from_ec2);
        self.recorder.note("cut");
    }

    /// The node reaches nobody any more, its clients neither.
    pub fn isolate(&self, node: usize) {
        self.vpc.isolate(node);
        self.recorder.note("isolated");
    }

    /// The node reaches its trusted servers no more, and everybody else as before.
    pub fn lose_trusted_servers(&self, node: usize) {
        self.vpc.cut_from_router(node);
        self.recorder.note("cut from trusted servers");
    }

    /// Ends every cut of the network.
    pub fn heal(&self) {
        self.vpc.heal();
        self.recorder.note("healed");
    }

    /// The wall clock of a node is so many seconds ahead of all others from now on, or behind.
    pub fn put_clock_ahead(&mut self, node: usize, seconds: i64) {
        software::put_clock_ahead(self.machine(node), seconds);
        self.ahead_s[node] = seconds;
    }

    /// Nothing more can be written there.
    pub fn fill_state_folder(&self, node: usize) {
        let full = File::create(self.machine(node).path("/run/vipkeeper/full")).unwrap();
        let error = io::copy(&mut io::repeat(0), &mut &full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    pub fn machine(&self, node: usize) -> &Machine {
        &self.nodes[node].running.as_ref().expect("the machine runs").machine
    }

    pub fn name_of(&self, node: usize) -> &'static str {
        self.nodes[node].instance.name
    }

    /// The output of `psql -c` through the VIP.
    pub fn psql(&self, command: &str) -> String {
        let vip = self.setup.method.delegate_ip().to_string();
        let mut psql = self.client_machine.command("psql");
        psql.args(["-h", &vip, "-p", &PGPOOL_PORT.to_string(), "-U", "postgres", "-c", command]);
        output(&mut psql, None)
    }

    /// `vipkeeper probe`, on the client's machine: its exit code and its page.
    pub fn probe(&self) -> (Option<i32>, String) {
        let mut probe = self.client_machine.command(env!("CARGO_BIN_EXE_vipkeeper"));
        let said = probe.args(["probe", &self.setup.method.delegate_ip().to_string()]).output().unwrap();
        (said.status.code(), String::from_utf8_lossy(&said.stdout).into_owned())
    }

    /// The sum of all series of a metric that the node's daemon serves.
    pub fn metric(&self, node: usize, name: &str) -> f64 {
        let page = fetch(self.machine(node), (self.address(node), METRICS_PORT).into(), "/metrics").unwrap();
        let value = |line: &str| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        };
        page.lines().filter_map(value).sum()
    }

    /// The one node whose watchdog says that it holds the VIP.
    pub fn escalated(&self) -> Result<usize, String> {
        let says = |node: &usize| self.ask_watchdog(*node).is_ok_and(|word| word.is_some_and(|word| word.escalated));
        let escalated: Vec<usize> = self.running().filter(says).collect();
        match escalated[..] {
            [node] => Ok(node),
            _ => Err(format!("escalated by their own word: {escalated:?}")),
        }
    }

    /// The watchdog process of a node's Pgpool, by the title that it gives itself.
    pub fn watchdog(&self, node: usize) -> u32 {
        let is_it = |pid: &u32| {
            let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            title.starts_with(b"pgpool: watchdog") && !title.starts_with(b"pgpool: watchdog escalation")
        };
        let found: Vec<u32> = self.machine(node).family("pgpool").into_iter().filter(is_it).collect();
        let [watchdog] = found[..] else { panic!("these processes call themselves the watchdog: {found:?}") };
        watchdog
    }

    /// The product's own question to a node's watchdog, with the key that it has.
    pub fn ask_watchdog(&self, node: usize) -> Result<Option<Word>, String> {
        self.ask_watchdog_with(node, self.setup.authkey)
    }

    pub fn ask_watchdog_with(&self, node: usize, key: Option<&str>) -> Result<Option<Word>, String> {
        let (trusted, _) = TrustedOwners::resolve(&["postgres".to_owned()]);
        let socket = self.machine(node).path(WATCHDOG_SOCKET);
        let watchdog = Watchdog::new(Some(socket), key.map(str::to_owned), trusted);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(watchdog.ask()).map_err(|error| error.to_string())
    }

    /// Everything points at this node and nothing at another, in EC2 and in every kernel that runs.
    pub fn agrees_on(&self, node: usize) -> Result<(), String> {
        let expected = self.name_of(node);
        let held = self.holders();
        if held.values().any(|holder| holder.as_deref() != Some(expected)) {
            return Err(format!("not everything points at {expected}: {held:?}"));
        }
        let service = self.vpc.endpoint.service();
        let eni = service.account().eni(&self.nodes[node].instance.eni).expect("the node's ENI stays");
        if self.setup.method == Method::Route && eni.source_dest_check {
            return Err(format!("the source/destination check of {expected} is on"));
        }
        Ok(())
    }

    /// Each pointer of the method and the local address, and the node that has it. Where several nodes have one, all are
    /// named.
    pub fn holders(&self) -> BTreeMap<String, Option<String>> {
        let delegate_ip = self.setup.method.delegate_ip();
        let mut holders = {
            let service = self.vpc.endpoint.service();
            self.pointers(service.account())
        };
        let mut with = BTreeSet::new();
        for node in self.running() {
            if self.machine(node).has_address(delegate_ip) {
                with.insert(self.name_of(node));
            }
        }
        let local = (!with.is_empty()).then(|| Vec::from_iter(with).join(" and "));
        if self.setup.method == Method::ElasticIp {
            assert_eq!(local, None, "an Elastic IP is on no machine's interface");
        } else {
            holders.insert("local_address".to_owned(), local);
        }
        holders
    }

    fn pointers(&self, account: &Account) -> BTreeMap<String, Option<String>> {
        let of_eni = |eni: &str| {
            let found = self.nodes.iter().find(|node| node.instance.eni == eni);
            found.map_or_else(|| eni.to_owned(), |node| node.instance.name.to_owned())
        };
        let delegate_ip = self.setup.method.delegate_ip();
        let mut pointers = BTreeMap::new();
        match self.setup.method {
            Method::ElasticIp => {
                let association = account.elastic_ip(&self.vpc.allocation).unwrap().association.as_ref();
                let holder = association.map(|association| of_eni(&association.network_interface_id));
                pointers.insert("elastic_ip".to_owned(), holder);
            }
            Method::Route => {
                let destination = format!("{delegate_ip}/32").parse().unwrap();
                for table in &self.vpc.tables {
                    let route = account.route_table(table).unwrap().routes.get(&destination);
                    let holder = route.map(|route| match &route.target {
                        RouteTarget::NetworkInterface(eni) => of_eni(eni),
                        other => format!("{other:?}"),
                    });
                    pointers.insert(format!("route {table}"), holder);
                }
            }
            Method::SecondaryIp => {
                let holder = account.enis().find(|eni| eni.private_ips.contains(&delegate_ip));
                pointers.insert("secondary_ip".to_owned(), holder.map(|eni| of_eni(&eni.id)));
            }
        }
        pointers
    }

    /// The client is answered again and again, without a pause, and by this node.
    pub fn is_served_by(&self, node: usize) -> Result<(), String> {
        let answers = self.client.answers();
        let address = self.address(node);
        let last = answers.iter().rev().take(STEADY).collect::<Vec<_>>();
        let steady = last.len() == STEADY
            && last.iter().all(|answer| answer.through == address)
            && now().saturating_sub(last[0].at) < Duration::from_millis(300)
            && last[0].at.saturating_sub(last[STEADY - 1].at) < Duration::from_millis(1500);
        if steady { Ok(()) } else { Err(format!("the client is not served by {address} yet")) }
    }

    /// Whether its Pgpool's lifecheck has started.
    fn checks_life(&self, node: usize) -> bool {
        self.log(node, "pgpool").contains("watchdog: lifecheck started")
    }

    pub fn address(&self, node: usize) -> Ipv4Addr {
        self.nodes[node].instance.address
    }

    pub fn running(&self) -> impl Iterator<Item = usize> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.running.is_some()).map(|(index, _)| index)
    }

    /// The last file of the node's hooks; `None` if they wrote none.
    pub fn desired(&self, node: usize) -> Option<DesiredFile> {
        let file = format!("/run/vipkeeper/desired/{}.json", self.setup.method.delegate_ip());
        serde_json::from_str(&fs::read_to_string(self.machine(node).path(&file)).ok()?).ok()
    }

    /// Which node's claim a leader knows to be newer than its own.
    pub fn superseded_by(&self, node: usize) -> Option<InstanceId> {
        let status = fs::read_to_string(self.machine(node).path("/run/vipkeeper/status.json")).ok()?;
        let status: Status = serde_json::from_str(&status).ok()?;
        status.vips[0].claim.as_ref()?.superseded_by.clone()
    }

    /// All hooks of a node, in a lab that times them.
    pub fn hooks(&self, node: usize) -> Vec<TimedHook> {
        keeper::hooks(self.machine(node))
    }

    pub fn leadership(&self, node: usize) -> Option<Leadership> {
        match self.desired(node)?.wanted {
            Wanted::Leader(leadership) => Some(leadership),
            Wanted::Standby => None,
        }
    }

    /// When the hook started that began the claim of this node, if it has one; by the lab's clock, not the node's.
    pub fn began(&self, node: usize) -> Option<Duration> {
        self.nodes[node].running.as_ref()?;
        let by_its_clock = self.leadership(node)?.started_ms;
        Some(Duration::from_millis(by_its_clock.saturating_add_signed(-1000 * self.ahead_s[node])))
    }

    /// Whether EC2 has answered a look of this node's since `mark`.
    pub fn has_looked(&self, node: usize, mark: Mark) -> Result<(), String> {
        let service = self.vpc.endpoint.service();
        let own = |name: &str| name == self.name_of(node);
        let mut looks = service.calls_since(mark).filter(|call| !call.write && own(&call.caller.name));
        if looks.any(|call| call.code.is_some()) { Ok(()) } else { Err("it has not".to_owned()) }
    }

    /// How many changes anybody asked of EC2 since `mark`.
    pub fn writes_since(&self, mark: Mark) -> usize {
        self.vpc.endpoint.service().calls_since(mark).filter(|call| call.write).count()
    }

    /// The calls that the nodes made since `mark`: the changes by name, and how many looks.
    pub fn calls_since(&self, mark: Mark) -> String {
        if moto::is_chosen() {
            return "not counted by moto".to_owned();
        }
        let service = self.vpc.endpoint.service();
        let of_nodes = service.calls_since(mark).filter(|call| NODES.contains(&call.caller.name.as_str()));
        let (writes, reads): (Vec<_>, Vec<_>) = of_nodes.partition(|call| call.write);
        let mut counted = BTreeMap::<&str, usize>::new();
        for call in writes {
            *counted.entry(call.operation).or_default() += 1;
        }
        let writes: Vec<_> = counted.iter().map(|(name, count)| format!("{count} {name}")).collect();
        format!("{}; {} reads", if writes.is_empty() { "no change".to_owned() } else { writes.join(", ") }, reads.len())
    }

    /// The lines that the daemons have logged at this level, each after its node's name.
    pub fn complaints(&self, level: &str) -> Vec<String> {
        let of_level = |line: &&str| line.split_whitespace().nth(1) == Some(level);
        let of_node = |node: usize| {
            let log = self.log(node, "vipkeeper");
            log.lines().filter(of_level).map(|line| format!("{}: {line}", self.name_of(node))).collect::<Vec<_>>()
        };
        (0..self.nodes.len()).flat_map(of_node).collect()
    }

    pub fn log(&self, node: usize, program: &str) -> String {
        fs::read_to_string(self.log_file(node, program)).unwrap_or_default()
    }

    /// For readers who have only the test's output, as in CI.
    fn show_end(&self, node: usize, program: &str, counts: impl Fn(&&str) -> bool) {
        let log = self.log(node, program);
        let lines: Vec<_> = log.lines().filter(counts).collect();
        for line in &lines[lines.len().saturating_sub(SHOWN)..] {
            eprintln!("  {} {program}: {line}", self.name_of(node));
        }
    }

    fn log_file(&self, node: usize, program: &str) -> PathBuf {
        self.folder.path().join(format!("{}-{program}.log", self.nodes[node].instance.name))
    }
}

impl Drop for Lab {
    /// Leaves the programs' logs to read; those of a play that failed where no later play puts its own.
    fn drop(&mut self) {
        let failed = thread::panicking();
        let suffix = if failed { format!("-failed-{}", now().as_secs()) } else { String::new() };
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab").join(self.name.clone() + &suffix);
        let _ = fs::create_dir_all(&kept);
        for entry in fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "log") {
                let _ = fs::copy(entry.path(), kept.join(entry.file_name()));
            }
        }
        if failed {
            eprintln!("the logs are in {}; how they end:", kept.display());
            for node in 0..self.nodes.len() {
                self.show_end(node, "vipkeeper", |_| true);
                // Its other processes tell of clients and of the database, and details repeat what is said before them.
                let tells = ["watchdog", "life_check", "vipkeeper:"];
                let counts = |line: &&str| tells.iter().any(|part| line.contains(part)) && !line.contains("DETAIL:");
                self.show_end(node, "pgpool", counts);
            }
        }
    }
}

/// Folders of labs that were interrupted: a test that is killed cleans up nothing.
pub fn remove_folders_that_were_left() {
    for entry in fs::read_dir(env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let owner = name.strip_prefix(FOLDER).and_then(|rest| rest.split_once('-')?.0.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A name for a folder: words of letters and digits.
pub fn plain_name(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// Looks each 50 ms until it is so.
///
/// # Panics
/// At the end of the time, with what was wrong at the last look.
pub fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) if began.elapsed() > within => panic!("{what}: not within {within:?}: {why}"),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}
