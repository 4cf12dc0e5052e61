//! The facts that this machine tells about itself: folders, users, clocks, the kernel, and other keepers of addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::check::facts::{Capability, Judged, MachineFacts, OtherKeeper};
use crate::config::Config;
use crate::desired::hold::InForce;
use crate::desired::{self, Desired};
use crate::machine::clock::{Clocks, discipline};
use crate::machine::folder::{Folder, UserIds};
use crate::machine::kernel::{Kernel, KernelError, LocalView, interfaces};
use crate::machine::netlink::{Netlink, may_change_addresses};
use crate::machine::networkd;
use crate::machine::process::{comm_of, exists, has_net_admin};
use crate::machine::trust::TrustedOwners;
use crate::observe::seen::Now;
use crate::state_dir::Machine;
use crate::state_dir::files::Files;
use crate::status;

/// Other programs that keep addresses, each with the kernel's name for its processes and the places of its
/// configuration.
const KEEPERS: [(&str, &[&str]); 4] = [
    ("keepalived", &["/etc/keepalived"]),
    ("pacemakerd", &["/var/lib/pacemaker/cib"]),
    ("vip-manager", &["/etc/default", "/etc/vip-manager"]),
    ("ucarp", &["/etc/ucarp"]),
];
/// The longest configuration of another program that is looked through, in bytes.
const LONGEST: u64 = 4 << 20;

/// Gathers the facts. Only the kernel is waited for.
pub(super) async fn facts(config: Option<&Config>, state_dir: &Path, hooks_elsewhere: Option<String>) -> MachineFacts {
    let users = config.map(|config| config.hook_users.clone()).unwrap_or_default();
    let hook_users = users.into_iter().map(|name| {
        let found = UserIds::of(&name);
        (name, found)
    });
    let folder = |path: PathBuf| {
        let found = Folder::at(&path).map_err(|error| error.to_string());
        (path, found)
    };
    let clocks = Clocks::now();
    let (leads, holds) = config.map(words).unwrap_or_default();
    MachineFacts {
        hooks_elsewhere,
        hook_users: hook_users.collect(),
        state_dir: folder(state_dir.to_owned()),
        desired: folder(desired::folder(state_dir)),
        now: Now { at: clocks.since_boot(), wall_ms: clocks.wall_ms },
        discipline: discipline(),
        capability: capability(state_dir),
        interfaces: interfaces(),
        view: view(config).await,
        leads,
        holds,
        networkd: networkd::managed(),
        keepers: keepers(config),
    }
}

/// The capability of the daemon that runs, or else of this command.
fn capability(state_dir: &Path) -> Capability {
    let daemon = status::file::read(state_dir).ok().filter(|status| exists(status.pid));
    match daemon.and_then(|status| Some((status.pid, has_net_admin(status.pid)?))) {
        Some((pid, may_change_addresses)) => Capability { of: Judged::Daemon(pid), may_change_addresses },
        None => {
            Capability { of: Judged::ThisCommand, may_change_addresses: may_change_addresses().unwrap_or_default() }
        }
    }
}

async fn view(config: Option<&Config>) -> Result<LocalView, KernelError> {
    let addresses = config.map(Config::local_addresses).unwrap_or_default();
    Netlink::new()?.look(&addresses).await
}

/// The holds of this node's VIPs, each in force or with the reason why its file does not count.
type Holds = BTreeMap<IpAddr, Result<InForce, String>>;

/// The words of hooks and operators in the state folder: the delegate IPs for which the desired-state file says that this
/// node leads, and the holds.
fn words(config: &Config) -> (BTreeSet<IpAddr>, Holds) {
    let (trusted, _) = TrustedOwners::resolve(&config.hook_users);
    let Ok(mut files) = Files::new(&config.state_dir, trusted, None) else { return Default::default() };
    let vips = || config.vips.iter().map(|vip| vip.delegate_ip);
    let holds = vips().filter_map(|vip| Some((vip, files.hold(vip).transpose()?))).collect();
    let leads = vips().filter(|vip| matches!(files.desired(*vip).desired, Desired::Leader(_))).collect();
    (leads, holds)
}

fn keepers(config: Option<&Config>) -> Vec<OtherKeeper> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let running: BTreeSet<String> = pids.filter_map(comm_of).collect();
    let vips: Vec<_> = config.into_iter().flat_map(|config| &config.vips).flat_map(|vip| &vip.addresses).collect();
    let vips: Vec<IpAddr> = vips.into_iter().map(|address| address.address).collect();
    let found = KEEPERS.iter().filter(|(name, _)| running.contains(*name));
    found
        .map(|(name, folders)| OtherKeeper {
            name: (*name).to_owned(),
            names: folders.iter().find_map(|folder| named_in(Path::new(folder), &vips)),
        })
        .collect()
}

/// The first file in the folder that names one of the addresses.
fn named_in(folder: &Path, vips: &[IpAddr]) -> Option<(PathBuf, IpAddr)> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let small = entries.filter(|entry| entry.metadata().is_ok_and(|found| found.is_file() && found.len() <= LONGEST));
    small.into_iter().find_map(|entry| {
        let text = String::from_utf8_lossy(&fs::read(entry.path()).ok()?).into_owned();
        let vip = vips.iter().find(|vip| names(&text, **vip))?;
        Some((entry.path(), *vip))
    })
}

/// Whether a text names the address, and not a longer one that begins or ends alike.
fn names(text: &str, vip: IpAddr) -> bool {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    text.split(|c| !is_part(c)).any(|word| word.parse() == Ok(vip))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::VipConfig;
    use crate::desired::hold::{self, Extent, HoldFile};
    use crate::machine::clock::boot_id;

    #[test]
    fn another_keepers_file_is_known_by_the_very_address() {
        let folder = tempfile::tempdir().unwrap();
        let vips = ["20.0.0.50".parse().unwrap()];
        fs::write(folder.path().join("keepalived.conf"), "virtual_ipaddress { 120.0.0.50/32 20.0.0.5 }\n").unwrap();
        assert_eq!(named_in(folder.path(), &vips), None);
        let file = folder.path().join("other.conf");
        fs::write(&file, "virtual_ipaddress {\n  20.0.0.50/32 dev eth0\n}\n").unwrap();
        assert_eq!(named_in(folder.path(), &vips), Some((file, vips[0])));
    }

    #[test]
    fn a_hold_is_found_until_it_ends_and_a_damaged_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(desired::folder(folder.path())).unwrap();
        let vip: IpAddr = "20.0.0.50".parse().unwrap();
        let mut config = Config::with_vips(vec![VipConfig { delegate_ip: vip, addresses: Vec::new(), anchor: None }]);
        config.state_dir = folder.path().to_owned();
        assert_eq!(words(&config).1, BTreeMap::new());
        let hold = |set: Clocks| {
            let lasts = Duration::from_mins(30);
            let file = HoldFile::new(vip, boot_id().unwrap(), set, lasts, Extent::ExceptRelease);
            hold::write(folder.path(), &file).unwrap();
            file.until_ms()
        };
        let now = Clocks::now();
        let until_ms = hold(now);
        let found = words(&config).1.remove(&vip).unwrap().unwrap();
        assert_eq!((found.until_ms, found.extent), (until_ms, Extent::ExceptRelease));
        hold(Clocks { boottime_ns: 0, ..now });
        let has_ended = now.since_boot() > Duration::from_mins(30);
        assert_eq!(words(&config).1.is_empty(), has_ended, "a hold that was set at the boot");
        fs::write(hold::path(folder.path(), vip), "{").unwrap();
        let why = words(&config).1.remove(&vip).unwrap().unwrap_err();
        assert!(why.contains("20.0.0.50.hold"), "{why}");
    }
}
