//! Three booted machines, a database and a client.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ec2_endpoint::Server;
use ec2_endpoint::account::model::RouteTarget;
use ec2_endpoint::service::Mark;
use tempfile::TempDir;

use super::super::client::Client;
use super::super::cluster::{FOLDER, eventually, remove_folders_that_were_left};
use super::super::machine::{Machine, output};
use super::super::scenarios::plain;
use super::super::software::{self, PGPOOL_PORT};
use super::super::suite::Suite;
use super::super::tools;
use super::super::vpc::{Instance, Method, REGION, Vpc};
use super::boot;
use super::packages::packages;
use super::readme::{Language, Readme, Section};

/// The first election, and Pgpool's own pause before its lifecheck.
const ELECTS: Duration = Duration::from_mins(1);

/// A client of an application, not of a measurement: a busy machine lets it wait, and no query fails by that.
pub const PATIENCE: Duration = Duration::from_secs(3);

pub struct Booted {
    pub method: Method,
    pub readme: Readme,
    pub client: Client,
    client_machine: Machine,
    nodes: Vec<Node>,
    _database: Machine,
    pub vpc: Vpc,
    folder: TempDir,
    began: Instant,
}

struct Node {
    instance: Instance,
    /// None while it reboots.
    running: Option<(Machine, Server)>,
}

impl Booted {
    /// Three bare machines, with Pgpool-II installed as Debian has it and nothing of ours, and an operator who has the README
    /// in this language.
    pub fn start(method: Method, language: Language) -> Self {
        let _ = packages();
        boot::remove_what_was_left();
        remove_folders_that_were_left();
        let folder = tempfile::Builder::new().prefix(&format!("{FOLDER}{}-", process::id())).tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let vpc = Vpc::new(method, folder.path());
        let database = Machine::boot("database", Suite::Here, &[]);
        vpc.plug_database(&database);
        software::start_postgresql(&database, Suite::Here, folder.path(), &folder.path().join("postgresql.log"));
        let client_machine = Machine::boot("client", Suite::Here, &[]);
        vpc.plug_client(&client_machine, method);
        let client = Client::start_with_patience(&client_machine, (method.delegate_ip(), PGPOOL_PORT).into(), PATIENCE);
        let nodes = vpc.instances.iter().map(|one| Node { instance: one.clone(), running: None }).collect();
        let began = Instant::now();
        let mut cluster = Self {
            method,
            readme: Readme::read(language),
            client,
            client_machine,
            nodes,
            _database: database,
            vpc,
            folder,
            began,
        };
        let held: Vec<_> = (0..3).map(|node| cluster.hold(node)).collect();
        // All at once: most of a boot is waiting.
        let started = thread::scope(|scope| {
            let each: Vec<_> = held.into_iter().map(|(held, server)| scope.spawn(|| (held.start(), server))).collect();
            each.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        for (node, started) in started.into_iter().enumerate() {
            cluster.nodes[node].running = Some(started);
        }
        cluster.tell(&format!("three machines have booted, and the README is {:?}", cluster.readme.language()));
        cluster
    }

    fn hold(&self, node: usize) -> (boot::Held, Server) {
        let instance = &self.nodes[node].instance;
        let own = self.folder.path().join(instance.name);
        fs::create_dir_all(&own).unwrap();
        let held = boot::hold(instance.name, &own);
        let metadata = self.vpc.plug(&held.machine, instance);
        (held, metadata)
    }

    /// The README's rules of the method, in the security group that all nodes have.
    fn let_in(&self) {
        self.vpc.endpoint.change(|account| {
            let group = account.eni(&self.nodes[0].instance.eni).unwrap().groups[0].clone();
            for permission in self.readme.permissions(Section::of(self.method), &group) {
                account.allow_ingress(&group, permission).unwrap();
            }
        });
    }

    /// The README's installation, on every node at once, with the configuration of the method's section.
    pub fn install(&self) {
        self.let_in();
        let typed = |begin| self.readme.command(Section::Install, begin);
        self.on_each(|node| {
            self.bring(node, &packages().first);
            self.shell(node, &typed("sudo apt install"));
            self.configure(node);
            self.permit(node);
            self.look(node, &typed("vipkeeper plan"));
            self.shell(node, &typed("sudo systemctl enable --now vipkeeper"));
            self.look(node, &typed("vipkeeper status"));
        });
        self.tell("vipkeeper is installed, configured and started");
        self.on_each(|node| {
            self.shell(node, &typed("sudo systemctl restart pgpool2"));
        });
        let leader = eventually("the cluster comes up", ELECTS, || self.leader());
        eventually("the client is served", ELECTS, || self.is_served_by(leader));
        self.tell("the client is served");
    }

    /// The role's policy, as the installed program prints it for the node's configuration.
    fn permit(&self, node: usize) {
        let account = self.vpc.endpoint.service().account().id().to_owned();
        let done =
            self.typed(node, &format!("vipkeeper policy --region {REGION} --account {account}")).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let [printed, asked] = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap());
        self.vpc.permit(self.name_of(node), self.vpc.policy_from(printed, &asked));
    }

    /// Puts a package where an operator's copy would be, and nothing else of ours.
    pub fn bring(&self, node: usize, package: &Path) {
        let home = self.machine(node).path("/root");
        for entry in fs::read_dir(&home).unwrap().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "deb") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        fs::copy(package, home.join(package.file_name().unwrap())).unwrap();
    }

    /// The files that an operator writes: the README's configuration and lines of pgpool.conf. Besides, only where EC2 is here, and
    /// what every cluster of Pgpool needs.
    fn configure(&self, node: usize) {
        let machine = self.machine(node);
        let instance = &self.nodes[node].instance;
        let mut text = self.readme.configuration(Section::of(self.method));
        for (number, table) in self.vpc.tables.iter().enumerate() {
            text = text.replace(&format!("rtb-0123456789abcdef{number}"), table);
        }
        fs::write(machine.path("/etc/vipkeeper/vipkeeper.toml"), text).unwrap();
        let environment = format!("VIPKEEPER_AWS__ENDPOINT_URL={}\n", Vpc::url(instance));
        fs::write(machine.path("/etc/vipkeeper/environment"), environment).unwrap();
        let readmes = self.readme.pgpool_conf(&self.method.delegate_ip().to_string());
        let ours: Vec<_> = readmes.lines().map(|line| line.split_once('=').unwrap().0.trim()).collect();
        let whole = software::pgpool_conf(&self.vpc, node, plain(self.method));
        let is_ours = |line: &&str| ours.iter().any(|key| line.starts_with(&format!("{key} ")));
        let rest: Vec<_> = whole.lines().filter(|line| !is_ours(line) && !line.starts_with("wd_authkey")).collect();
        fs::write(machine.path("/etc/pgpool2/pgpool.conf"), format!("{}\n{readmes}", rest.join("\n"))).unwrap();
        fs::write(machine.path("/etc/pgpool2/pgpool_node_id"), format!("{node}\n")).unwrap();
    }

    /// Does it to every node at once.
    pub fn on_each(&self, work: impl Fn(usize) + Sync) {
        thread::scope(|scope| {
            let each: Vec<_> = (0..3)
                .map(|node| {
                    scope.spawn({
                        let work = &work;
                        move || work(node)
                    })
                })
                .collect();
            each.into_iter().for_each(|one| one.join().unwrap());
        });
    }

    pub fn machine(&self, node: usize) -> &Machine {
        &self.nodes[node].running.as_ref().expect("the machine runs").0
    }

    pub fn name_of(&self, node: usize) -> &'static str {
        self.nodes[node].instance.name
    }

    /// A line that an operator types on a node, as root in its home. It must succeed.
    pub fn shell(&self, node: usize, line: &str) -> String {
        output(&mut self.typed(node, line), None)
    }

    /// A line that an operator types, whatever becomes of it: all that it says, and the exit status.
    pub fn try_shell(&self, node: usize, line: &str) -> (String, Option<i32>) {
        let done = self.typed(node, &format!("({line}) 2>&1")).stdin(Stdio::null()).output().unwrap();
        (String::from_utf8_lossy(&done.stdout).into_owned(), done.status.code())
    }

    fn typed(&self, node: usize, line: &str) -> Command {
        let mut command = self.machine(node).command("sh");
        command.env("HOME", "/root").env("VIPKEEPER_AWS__ENDPOINT_URL", Vpc::url(&self.nodes[node].instance));
        command.args(["-c", &format!("cd && {line}")]);
        command
    }

    /// A command of vipkeeper's that says by 2 that there is something to see, which is no failure.
    fn look(&self, node: usize, line: &str) {
        let (said, status) = self.try_shell(node, line);
        assert!(matches!(status, Some(0 | 2)), "{line}: {status:?}\n{said}");
    }

    /// The README's query, through the VIP.
    pub fn psql(&self) -> Result<String, String> {
        let shown = self.readme.command(Section::Proof, "psql -h");
        let line = shown.replace("20.0.0.50", &self.method.delegate_ip().to_string());
        let done = self.client_machine.command("sh").args(["-c", &line]).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        if done.status.success() { Ok(String::from_utf8(done.stdout).unwrap()) } else { Err(said) }
    }

    /// An AWS CLI command of the README's, from a machine of the operator's own.
    pub fn aws(&self, line: &str) -> String {
        let aws = tools::find("aws").expect("the AWS CLI is there: tests/all installs it");
        let line = line.strip_prefix("aws ").unwrap();
        let mut command = self.vpc.router.command("sh");
        command.env("AWS_ENDPOINT_URL", Vpc::url(&self.nodes[0].instance)).env("AWS_DEFAULT_REGION", REGION);
        command.env("AWS_ACCESS_KEY_ID", "operator").env("AWS_SECRET_ACCESS_KEY", "secret").env("AWS_PAGER", "");
        output(command.args(["-c", &format!("{} {line}", aws.display())]), None)
    }

    /// The node that everything in EC2 points at.
    pub fn leader(&self) -> Result<usize, String> {
        let service = self.vpc.endpoint.service();
        let account = service.account();
        let destination = format!("{}/32", self.method.delegate_ip()).parse().unwrap();
        let enis: Vec<_> = match self.method {
            Method::Route => {
                let routes =
                    self.vpc.tables.iter().map(|table| account.route_table(table).unwrap().routes.get(&destination));
                let eni = |target: &RouteTarget| match target {
                    RouteTarget::NetworkInterface(eni) => Some(eni.clone()),
                    _ => None,
                };
                routes.map(|route| route.and_then(|route| eni(&route.target))).collect()
            }
            _ => {
                let association = account.elastic_ip(&self.vpc.allocation).unwrap().association.as_ref();
                vec![association.map(|association| association.network_interface_id.clone())]
            }
        };
        let node = |eni: &Option<String>| self.nodes.iter().position(|node| Some(&node.instance.eni) == eni.as_ref());
        let first = enis.first().and_then(node);
        match first {
            Some(leader) if enis.iter().all(|eni| node(eni) == first) => Ok(leader),
            _ => Err(format!("EC2 points at {enis:?}")),
        }
    }

    /// Whether the client's last answers came through this node, without a pause.
    pub fn is_served_by(&self, node: usize) -> Result<(), String> {
        let address = self.nodes[node].instance.address;
        let answers = self.client.answers();
        let last: Vec<_> = answers.iter().rev().take(10).collect();
        let fresh = last
            .first()
            .is_some_and(|one| super::super::client::now().saturating_sub(one.at) < Duration::from_millis(300));
        if fresh && last.len() == 10 && last.iter().all(|one| one.through == address) {
            Ok(())
        } else {
            Err(format!("the client is not served by {}", self.name_of(node)))
        }
    }

    /// A reboot as the kernel's: processes, /run and addresses go, the disk stays. Returns when it runs again.
    pub fn reboot(&mut self, node: usize) {
        let pid = self.machine(node).pid();
        // The command may be ended by what it asks for.
        let _ = self.try_shell(node, "sudo systemctl reboot");
        let is_gone = || if Path::new("/proc").join(&pid).exists() { Err("it runs".to_owned()) } else { Ok(()) };
        eventually("the machine goes down", Duration::from_secs(60), is_gone);
        self.nodes[node].running = None;
        self.vpc.unplug(&self.nodes[node].instance);
        let (held, server) = self.hold(node);
        self.nodes[node].running = Some((held.start(), server));
    }

    /// Changes that were asked of EC2.
    pub fn writes_since(&self, mark: Mark) -> usize {
        self.vpc.endpoint.service().calls_since(mark).filter(|call| call.write).count()
    }

    pub fn mark(&self) -> Mark {
        self.vpc.endpoint.service().mark()
    }

    /// The daemon's process, as the test sees it.
    pub fn daemon(&self, node: usize) -> Option<u32> {
        let pid = self.shell(node, "systemctl show --property MainPID --value vipkeeper");
        let inner: u32 = pid.trim().parse().unwrap();
        let machine = self.machine(node);
        machine.family("vipkeeper").into_iter().find(|pid| Machine::find_inner_pid(*pid) == Some(inner))
    }

    /// So many seconds since the machines were begun to be booted.
    pub fn tell(&self, what: &str) {
        eprintln!("  {:5.1} s  {what}", self.began.elapsed().as_secs_f64());
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        if thread::panicking() {
            for node in self.nodes.iter().filter_map(|node| node.running.as_ref().map(|(machine, _)| (node, machine))) {
                let (Node { instance, .. }, machine) = node;
                let mut journal = machine.command("journalctl");
                journal.args(["--no-pager", "--lines=40", "-u", "vipkeeper", "-u", "pgpool2"]);
                let said = journal.output().map(|done| String::from_utf8_lossy(&done.stdout).into_owned());
                eprintln!("--- {}\n{}", instance.name, said.unwrap_or_default());
            }
        }
    }
}
