//! The program that moves the VIP of a lab: vipkeeper, as the README has it; or, for the comparison of both, the hook
//! scripts of Pgpool-II's guide for AWS. When compared, every hook of either is timed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use ec2_endpoint::{ModifyNetworkInterfaceAttribute, Operation};

use super::machine::{Machine, POSTGRES};
use super::tools;
use super::vpc::{Instance, Method, REGION, Vpc};

/// Where [`TIMED`] writes, in every machine.
const LOG: &str = "/run/postgresql/hooks";
const TIMED: &str = include_str!("guide/timed");
const ELASTIC_IP: &str = include_str!("guide/elastic-ip.sh");
const ROUTES: &str = include_str!("guide/routes.sh");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// With exactly the README's lines in pgpool.conf.
    Vipkeeper,
    /// With the README's lines, and every hook timed.
    TimedVipkeeper,
    /// The guide's scripts, timed. Pgpool runs as root then, which spares them sudo.
    Guide,
}

/// A hook that ran, by [`TIMED`]'s word. Times are since the Unix epoch.
#[derive(Debug, Clone)]
pub struct TimedHook {
    process: String,
    /// `up` or `down`.
    pub name: String,
    pub began: Duration,
    /// None while it runs.
    pub ended: Option<Duration>,
}

impl Keeper {
    /// `if_up_cmd`, `if_down_cmd` and `arping_cmd`; `before_down` goes before the second.
    pub fn commands(self, method: Method, before_down: &str) -> [String; 3] {
        let timed = |name: &str, command: &str| format!("/usr/bin/timed {name} {command}");
        let (up, down) = ("/usr/bin/vipkeeper up $_IP_$", format!("{before_down}/usr/bin/vipkeeper down $_IP_$"));
        let wait = "/usr/bin/vipkeeper wait $_IP_$ --timeout 8s".to_owned();
        match self {
            Self::Vipkeeper => [up.to_owned(), down, wait],
            Self::TimedVipkeeper => [timed("up", up), timed("down", &down), wait],
            Self::Guide => {
                let script =
                    if method == Method::ElasticIp { "/usr/bin/guide-elastic-ip" } else { "/usr/bin/guide-routes" };
                let down = format!("{before_down}{script} down $_IP_$");
                [timed("up", &format!("{script} up $_IP_$")), timed("down", &down), "/usr/bin/true".to_owned()]
            }
        }
    }

    /// The words before Pgpool that make it run as the right user.
    pub fn user(self) -> &'static [&'static str] {
        match self {
            Self::Vipkeeper | Self::TimedVipkeeper => &POSTGRES,
            Self::Guide => &[],
        }
    }
}

#[test]
fn pgpool_conf_has_the_readmes_lines() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let [up, down, arping] = Keeper::Vipkeeper.commands(Method::Route, "");
    for (key, value) in [("if_up_cmd", up), ("if_down_cmd", down), ("arping_cmd", arping)] {
        let is_it = |line: &str| {
            let words = line.trim().split_once('=').map(|(key, value)| (key.trim(), value.trim()));
            words == Some((key, format!("'{value}'").as_str()))
        };
        assert!(readme.lines().any(is_it), "{key} = '{value}'");
    }
}

/// Puts the comparison's programs into the folder that is laid over /usr/bin.
pub fn install(bin: &Path) {
    for (name, text) in [("timed", TIMED), ("guide-elastic-ip", ELASTIC_IP), ("guide-routes", ROUTES)] {
        let file = bin.join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    }
}

/// Tells the guide's scripts about their node, in the folder that is laid over the node's /etc.
pub fn configure(etc: &Path, vpc: &Vpc, instance: &Instance) {
    fs::create_dir_all(etc.join("guide")).unwrap();
    let aws = tools::find("aws").expect("the AWS CLI is there: tests/all installs it");
    let Instance { name, id, eni, .. } = instance;
    let (aws, url, tables) = (aws.parent().unwrap().display(), Vpc::url(instance), vpc.tables.join(" "));
    let settings = format!(
        "export PATH={aws}:$PATH AWS_ENDPOINT_URL={url} AWS_DEFAULT_REGION={REGION} AWS_PAGER=
export AWS_ACCESS_KEY_ID={name} AWS_SECRET_ACCESS_KEY=secret
INSTANCE={id} ENI={eni} TABLES='{tables}'
"
    );
    fs::write(etc.join("guide/settings"), settings).unwrap();
}

/// The preparation that the guide asks of its readers: the source/destination check is off on every node.
pub fn prepare(vpc: &Vpc) {
    for Instance { eni, .. } in &vpc.instances {
        let off = Operation::ModifyNetworkInterfaceAttribute(ModifyNetworkInterfaceAttribute {
            network_interface_id: eni.clone(),
            source_dest_check: Some(false),
            ..Default::default()
        });
        vpc.endpoint.change(|account| account.apply(&off)).unwrap();
    }
}

/// All hooks of a machine since it booted, in the order in which they began.
pub fn hooks(machine: &Machine) -> Vec<TimedHook> {
    let mut hooks = Vec::<TimedHook>::new();
    for line in fs::read_to_string(machine.path(LOG)).unwrap_or_default().lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [process, what, at, detail] = words[..] else { continue };
        let at = Duration::from_secs_f64(at.parse().unwrap());
        if what == "begin" {
            hooks.push(TimedHook { process: process.to_owned(), name: detail.to_owned(), began: at, ended: None });
        } else if let Some(hook) = hooks.iter_mut().rev().find(|hook| hook.process == process) {
            hook.ended = Some(at);
        }
    }
    hooks
}
