//! The programs of the lab and their files: PostgreSQL, Pgpool-II and vipkeeper, each started as its unit starts it.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::keeper::{self, Keeper};
use super::machine::{Machine, POSTGRES, UMASK, clean, output};
use super::prometheus::METRICS_PORT;
use super::resolver::EC2_NAME;
use super::suite::{Suite, put_users};
use super::vpc::{DATABASE, DATABASE_PORT, EC2_PORT, Instance, Method, Vpc};

/// Where Pgpool serves clients; its default.
pub const PGPOOL_PORT: u16 = 9999;
/// The watchdog's port; its default.
pub const WATCHDOG_PORT: u16 = 9000;
pub const WATCHDOG_SOCKET: &str = "/run/postgresql/.s.PGPOOLWD_CMD.9000";

/// The id of vipkeeper's user and group, which need no name.
const USER: u32 = 990;
const PGPOOL: &str = "/usr/sbin/pgpool";
/// A folder for each version.
const POSTGRESQL: &str = "/usr/lib/postgresql";
const PGPOOL_CONF: &str = "/etc/pgpool2/pgpool.conf";
/// How late a `down` is, in seconds, where it is to be late: long after the successor has everything.
pub const LATE_S: u64 = 12;
/// The wall clock of a machine that has its own, and the file there that says by how many seconds it is ahead.
const CLOCK: &str = include_str!("clock.c");
const AHEAD: &str = "/run/clock-ahead";

/// The differences between labs.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub method: Method,
    /// Every `if_down_cmd` sleeps for [`LATE_S`] first.
    pub late_down: bool,
    /// `wd_authkey` of pgpool.conf.
    pub authkey: Option<&'static str>,
    pub keeper: Keeper,
    /// Route tables that lead to the VIP; at least 2.
    pub tables: usize,
    /// Whether the daemons act on the watchdog's word where a hook was lost.
    pub trust: bool,
    /// Whether vipkeeper's user may ask Pgpool's watchdog, which takes the two settings of docs/operations.md.
    pub heard: bool,
    /// Whether each machine has a wall clock that may be put ahead.
    pub own_clocks: bool,
    /// Whose Pgpool-II and PostgreSQL they are.
    pub suite: Suite,
    pub nodes: Nodes,
    pub priorities: Priorities,
    /// Whether EC2's address comes from the resolver.
    pub by_name: bool,
    pub probes: Probes,
    /// Further lines of pgpool.conf.
    pub pgpool_conf: &'static str,
}

/// Whether the nodes answer on the VIP who they are, and ask there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probes {
    Off,
    On,
    /// They do, and the client's route table, which the last node's subnet uses as well, is missing from `tables`.
    OnWithTableForgotten,
}

/// The `wd_priority` of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priorities {
    /// The first node has the highest.
    Falling,
    /// The last node has the highest.
    Rising,
    Equal,
}

impl Priorities {
    fn of(self, node: usize, nodes: usize) -> usize {
        match self {
            Self::Falling => nodes - node,
            Self::Rising => node + 1,
            Self::Equal => 1,
        }
    }
}

/// The nodes that Pgpool is configured with, and those of them that start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    Three,
    /// One vote of two is enough.
    TwoWithHalfVotes,
    ThirdNeverStarts,
}

impl Nodes {
    fn configured(self) -> usize {
        if self == Self::TwoWithHalfVotes { 2 } else { 3 }
    }

    pub fn started(self) -> usize {
        if self == Self::Three { 3 } else { 2 }
    }
}

impl Setup {
    /// How the VIP leads to its node, as the report names it.
    pub fn way(&self) -> String {
        match self.method {
            Method::ElasticIp => "Elastic IP".to_owned(),
            Method::Route => format!("{} routes", self.tables),
            Method::SecondaryIp => "secondary IP".to_owned(),
        }
    }
}

/// Debian's packages without which there is no lab here.
pub fn missing() -> Vec<&'static str> {
    let programs = [
        ("iproute2", "/usr/sbin/ip", "/sbin/ip"),
        ("iputils-ping", "/usr/bin/ping", "/bin/ping"),
        ("nftables", "/usr/sbin/nft", "/sbin/nft"),
        ("pgpool2", PGPOOL, PGPOOL),
        ("postgresql", POSTGRESQL, POSTGRESQL),
        ("postgresql-client", "/usr/bin/psql", "/usr/bin/psql"),
    ];
    let is_missing = |one: &str, other: &str| !Path::new(one).exists() && !Path::new(other).exists();
    programs.into_iter().filter(|(_, one, other)| is_missing(one, other)).map(|(package, ..)| package).collect()
}

/// The folder that is laid over /usr/bin of every node: the program under test, and a command that dawdles.
pub fn programs(folder: &Path) -> PathBuf {
    let bin = folder.join("bin");
    fs::create_dir(&bin).unwrap();
    let (built, installed) = (env!("CARGO_BIN_EXE_vipkeeper"), bin.join("vipkeeper"));
    if fs::hard_link(built, &installed).is_err() {
        // Another file system.
        fs::copy(built, &installed).unwrap();
    }
    let late = bin.join("late");
    fs::write(&late, format!("#!/bin/sh\nsleep {LATE_S}\nexec \"$@\"\n")).unwrap();
    fs::set_permissions(&late, Permissions::from_mode(0o755)).unwrap();
    keeper::install(&bin);
    bin
}

/// Puts another file in the program's place, as packages do. Whoever runs keeps the one that it was started from.
pub fn replace_vipkeeper(machine: &Machine, folder: &Path) {
    let new = folder.join("vipkeeper.new");
    if !new.exists() {
        fs::copy(env!("CARGO_BIN_EXE_vipkeeper"), &new).unwrap();
    }
    machine.run(&format!("mount --bind {} /usr/bin/vipkeeper", new.display()));
}

/// The folder that is laid over a node's /etc.
pub fn settings(folder: &Path, vpc: &Vpc, instance: &Instance, setup: Setup) -> PathBuf {
    let etc = folder.join(instance.name).join("etc");
    for below in ["vipkeeper", "pgpool2"] {
        fs::create_dir_all(etc.join(below)).unwrap();
    }
    fs::write(etc.join("vipkeeper/vipkeeper.toml"), vipkeeper_toml(vpc, instance, setup)).unwrap();
    if setup.keeper == Keeper::Guide {
        keeper::configure(&etc, vpc, instance);
    }
    let own = vpc.instances.iter().position(|one| one.name == instance.name).unwrap();
    fs::write(etc.join("pgpool2/pgpool.conf"), pgpool_conf(vpc, own, setup)).unwrap();
    // In place of the machine's own, which is not for everybody's eyes.
    fs::write(etc.join("pgpool2/pool_passwd"), "").unwrap();
    fs::write(etc.join("pgpool2/pgpool_node_id"), format!("{own}\n")).unwrap();
    if setup.suite != Suite::Here {
        put_users(&etc);
    }
    if setup.by_name {
        fs::write(etc.join("resolv.conf"), format!("nameserver {}\n", Vpc::ec2(instance))).unwrap();
        fs::write(etc.join("nsswitch.conf"), "hosts: files dns\n").unwrap();
    }
    if setup.own_clocks {
        let clock = clock(&folder.join(instance.name));
        fs::write(etc.join("ld.so.preload"), format!("{}\n", clock.display())).unwrap();
    }
    etc
}

/// A library by which programs see the machine's own wall clock. The compiler is there: it has linked this program.
fn clock(folder: &Path) -> PathBuf {
    let library = folder.join("clock.so");
    let mut compiler = clean("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", &format!("-DAHEAD=\"{AHEAD}\"")]);
    output(compiler.args(["-x", "c", "-", "-o"]).arg(&library), Some(CLOCK));
    library
}

/// A machine that has a wall clock of its own is so many seconds ahead of the lab's from now on, or behind.
pub fn put_clock_ahead(machine: &Machine, seconds: i64) {
    // In one step: whoever reads it half written would see another time.
    let file = machine.path(AHEAD);
    let new = file.with_extension("new");
    fs::write(&new, seconds.to_string()).unwrap();
    fs::rename(new, file).unwrap();
}

/// As small as an operator's: everything is found but where EC2 is, and where Prometheus looks.
fn vipkeeper_toml(vpc: &Vpc, instance: &Instance, setup: Setup) -> String {
    let mut text = if setup.trust { "witness = \"trust\"\n".to_owned() } else { String::new() };
    let url = if setup.by_name { format!("http://{EC2_NAME}:{EC2_PORT}") } else { Vpc::url(instance) };
    let _ = writeln!(text, "[aws]\nendpoint_url = \"{url}\"");
    let _ = writeln!(text, "[metrics]\nlisten = \"{}:{METRICS_PORT}\"", instance.address);
    if setup.probes != Probes::Off {
        text.push_str("[probe]\n");
    }
    if let Some(key) = setup.authkey {
        let _ = writeln!(text, "[pgpool]\nwd_authkey = \"{key}\"");
    }
    let _ = writeln!(text, "[[vip]]\ndelegate_ip = \"{}\"", setup.method.delegate_ip());
    match setup.method {
        Method::ElasticIp => text.push_str("[vip.elastic_ip]\n"),
        Method::Route => {
            let is_kept =
                |table: &&String| setup.probes != Probes::OnWithTableForgotten || *table != vpc.clients_table();
            let tables: Vec<_> = vpc.tables.iter().filter(is_kept).collect();
            let _ = writeln!(text, "[vip.route]\ntables = {tables:?}\ninterface = \"eth0\"");
        }
        Method::SecondaryIp => text.push_str("[vip.secondary_ip]\n"),
    }
    text
}

/// Pgpool's parameters as of 4.3. The watchdog is quicker than by default, so that a test takes seconds. Nodes of one
/// priority that started in the same second reject each other's candidacy for 5 s and more, so each has its own. The log has
/// milliseconds, because the parts of an election are read from it.
pub fn pgpool_conf(vpc: &Vpc, own: usize, setup: Setup) -> String {
    let before_down = if setup.late_down { "/usr/bin/late " } else { "" };
    let [up, down, arping] = setup.keeper.commands(setup.method, before_down);
    let mut text = format!(
        "listen_addresses = '*'
port = {PGPOOL_PORT}
num_init_children = 16
log_line_prefix = '%m: %a pid %p: '
max_pool = 1
backend_clustering_mode = 'streaming_replication'
backend_hostname0 = '{DATABASE}'
backend_port0 = {DATABASE_PORT}
backend_weight0 = 1
backend_flag0 = 'ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER'
sr_check_period = 0
use_watchdog = on
{} = '{}'
if_up_cmd = '{up}'
if_down_cmd = '{down}'
arping_cmd = '{arping}'
wd_authkey = '{}'
wd_priority = {}
{WATCHDOG}{}",
        if setup.suite == Suite::Here { "delegate_IP" } else { "delegate_ip" },
        setup.method.delegate_ip(),
        setup.authkey.unwrap_or_default(),
        setup.priorities.of(own, vpc.instances.len()),
        if setup.suite == Suite::Trixie { BY_QUERY } else { "wd_lifecheck_method = 'heartbeat'\n" },
    );
    if setup.nodes == Nodes::TwoWithHalfVotes {
        text.push_str("enable_consensus_with_half_votes = on\n");
    }
    text.push_str(&folders(setup.suite));
    for (number, Instance { address, .. }) in vpc.instances.iter().take(setup.nodes.configured()).enumerate() {
        let _ = write!(
            text,
            "hostname{number} = '{address}'
wd_port{number} = {WATCHDOG_PORT}
pgpool_port{number} = {PGPOOL_PORT}
heartbeat_hostname{number} = '{address}'
heartbeat_port{number} = 9694
"
        );
    }
    text.push_str(setup.pgpool_conf);
    text
}

/// The lab's watchdog, quicker than by default.
pub const WATCHDOG: &str = "wd_interval = 1
wd_heartbeat_keepalive = 1
wd_heartbeat_deadtime = 5
";

/// A lifecheck that asks the other nodes' Pgpools. Versions 4.6.0 to 4.6.2 hear no other node's heartbeat, because they
/// listen on loopback addresses alone (release notes of 4.6.3), and their lifecheck never starts.
pub const BY_QUERY: &str = "wd_lifecheck_method = 'query'
wd_life_point = 3
wd_lifecheck_query = 'SELECT 1'
wd_lifecheck_dbname = 'postgres'
wd_lifecheck_user = 'postgres'
";

/// Where it may write. Debian's program of 4.3 does so by itself; those of later versions are told so by their package's
/// pgpool.conf.
fn folders(suite: Suite) -> String {
    let work_dir = match suite {
        Suite::Here => return String::new(),
        Suite::Trixie => "logdir",
        Suite::Sid => "work_dir",
    };
    let keys = [work_dir, "unix_socket_directories", "pcp_socket_dir", "wd_ipc_socket_dir"];
    keys.map(|key| format!("{key} = '/run/postgresql'\n")).concat()
}

/// The work of the packages' tmpfiles.d at boot. The state folder has a file system of its own, which can be full.
pub fn prepare(machine: &Machine) {
    machine.run("install -d -o postgres -g postgres -m 2775 /run/postgresql");
    machine.run("install -d /run/vipkeeper");
    machine.run(&format!("mount -t tmpfs -o size=1m,mode=755,uid={USER},gid={USER} tmpfs /run/vipkeeper"));
    machine.run(&format!("install -d -o {USER} -g postgres -m 775 /run/vipkeeper/desired"));
}

/// As its unit does: a user of its own, with the right to change addresses and no other.
pub fn start_vipkeeper(machine: &Machine, setup: Setup, log: &Path) {
    let (user, group) = (format!("--reuid={USER}"), format!("--regid={USER}"));
    let groups = if setup.heard { "--groups=postgres" } else { "--clear-groups" };
    let caps = ["--inh-caps=-all,+net_admin", "--ambient-caps=-all,+net_admin", "--bounding-set=-all,+net_admin"];
    let [inherited, ambient, bounding] = caps;
    let user = ["setpriv", &user, &group, groups, inherited, ambient, bounding, "--no-new-privs", "--"];
    machine.start(&user, "/usr/bin/vipkeeper", &["run"], log);
}

pub fn start_pgpool(machine: &Machine, setup: Setup, log: &Path) {
    let umask: &[&str] = if setup.heard { &UMASK } else { &[] };
    let user = setup.suite.as_user(&[setup.keeper.user(), umask].concat());
    machine.start(&user, PGPOOL, &["-n", "-f", PGPOOL_CONF], log);
}

/// As an operator stops it; returns when it has.
pub fn stop_pgpool(machine: &Machine, setup: Setup) {
    let mut command = machine.command_as(&setup.suite.as_user(setup.keeper.user()), PGPOOL);
    output(command.args(["-f", PGPOOL_CONF, "-m", "fast", "stop"]), None);
}

/// As an operator stops it, without waiting: a `down` may take its time, and in mode `smart` the clients do.
pub fn begin_to_stop_pgpool(machine: &Machine, setup: Setup, mode: &str, log: &Path) {
    machine.start(&setup.suite.as_user(setup.keeper.user()), PGPOOL, &["-f", PGPOOL_CONF, "-m", mode, "stop"], log);
}

/// The folders that are laid over the database's machine: PostgreSQL's user, where the programs come from another suite.
pub fn users(folder: &Path, suite: Suite) -> Vec<(PathBuf, PathBuf)> {
    let etc = folder.join("users");
    fs::create_dir(&etc).unwrap();
    put_users(&etc);
    suite.overlays(&[(&etc, "/etc")])
}

/// A fresh database that lets everybody in from the VPC.
pub fn start_postgresql(machine: &Machine, suite: Suite, folder: &Path, log: &Path) {
    let versions = fs::read_dir(suite.path(POSTGRESQL)).expect("PostgreSQL of the distribution is installed");
    let newest = versions.map(|entry| version(&entry.unwrap().path())).max().unwrap();
    let program = |name: &str| format!("{POSTGRESQL}/{newest}/bin/{name}");
    let data = folder.join("data");
    let postgres = suite.as_user(&POSTGRES);
    make_database(machine, machine.command_as(&postgres, &program("initdb")), newest, &data);
    let hba = "host all all 10.0.0.0/16 trust\n";
    fs::write(data.join("pg_hba.conf"), hba).unwrap();
    let (address, data) = (DATABASE.to_string(), data.to_str().unwrap());
    let settings = ["-D", data, "-k", "", "-h", &address, "-c", "fsync=off", "-c", "max_connections=200"];
    machine.start(&postgres, &program("postgres"), &settings, log);
}

/// A copy of what initdb made for an earlier lab: to make it takes a second or two of computing.
fn make_database(machine: &Machine, mut initdb: Command, version: u32, data: &Path) {
    static ONE_MAKES_IT: Mutex<()> = Mutex::new(());
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("database-{version}"));
    let _alone = ONE_MAKES_IT.lock().unwrap_or_else(PoisonError::into_inner);
    if made.exists() {
        output(clean("cp").arg("--recursive").arg(&made).arg(data), None);
        machine.run(&format!("chown --recursive postgres:postgres {}", data.display()));
        machine.run(&format!("chmod 700 {}", data.display()));
        return;
    }
    machine.run(&format!("install -d -o postgres -g postgres -m 700 {}", data.display()));
    output(initdb.arg("--no-sync").args(["--auth=trust", "--username=postgres", "--pgdata"]).arg(data), None);
    // It belongs to who runs the lab there, and is whole when it has its name.
    let unfinished = made.with_extension("unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    output(clean("cp").arg("--recursive").arg(data).arg(&unfinished), None);
    fs::rename(unfinished, made).unwrap();
}

fn version(path: &Path) -> u32 {
    path.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0)
}
