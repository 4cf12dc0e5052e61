//! The links that systemd-networkd manages, by its state files. Where networkd configures a link anew, it removes the
//! addresses that it did not add, unless the link's file says `KeepConfiguration=` (systemd.network(5)).

use std::fs;
use std::path::{Path, PathBuf};

/// networkd's state of each link, in a file that the link's index names (systemd-networkd.service(8)).
const STATES: &str = "/run/systemd/netif/links";

/// One link that networkd manages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedLink {
    pub interface: String,
    /// The file that configures the link.
    pub file: PathBuf,
    /// Whether networkd keeps the addresses of others when it configures the link anew.
    pub keeps_addresses: bool,
}

/// The links of this machine that networkd manages.
#[must_use]
pub fn managed() -> Vec<ManagedLink> {
    managed_by(Path::new(STATES), Path::new("/sys/class/net"))
}

fn managed_by(states: &Path, links: &Path) -> Vec<ManagedLink> {
    let entries = fs::read_dir(links).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let interface = entry.file_name().into_string().ok()?;
            let index = fs::read_to_string(entry.path().join("ifindex")).ok()?;
            let state = fs::read_to_string(states.join(index.trim())).ok()?;
            managed_link(interface, &state)
        })
        .collect();
    found.sort_by(|one, other| one.interface.cmp(&other.interface));
    found
}

fn managed_link(interface: String, state: &str) -> Option<ManagedLink> {
    let value = |text: &str, key: &str| text.lines().find_map(|line| Some(line.strip_prefix(key)?.trim().to_owned()));
    value(state, "ADMIN_STATE=").filter(|state| state == "configured" || state == "configuring")?;
    let file = PathBuf::from(value(state, "NETWORK_FILE=")?);
    // The drop-in files of a link come after its file, and the last line counts.
    let drop_ins = value(state, "NETWORK_FILE_DROPINS=").unwrap_or_default();
    let drop_ins: Vec<_> = drop_ins.trim_matches('"').split_whitespace().map(PathBuf::from).collect();
    let texts = std::iter::once(&file).chain(&drop_ins).filter_map(|path| fs::read_to_string(path).ok());
    let last = texts.rev().find_map(|text| keeps(&text));
    Some(ManagedLink { interface, file, keeps_addresses: last.unwrap_or(false) })
}

/// The last word of one file on foreign addresses; `None` if the file says nothing.
fn keeps(text: &str) -> Option<bool> {
    let mut values = text.lines().rev().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "KeepConfiguration").then(|| value.trim())
    });
    values.next().map(|value| matches!(value, "yes" | "true" | "1" | "on" | "static"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_managed_link_is_known_by_networkds_state_and_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (interface, index) in [("eth0", "2"), ("eth1", "3"), ("eth2", "4"), ("lo", "1")] {
            fs::create_dir_all(path("net").join(interface)).unwrap();
            fs::write(path("net").join(interface).join("ifindex"), format!("{index}\n")).unwrap();
        }
        fs::create_dir(path("links")).unwrap();
        fs::write(path("plain.network"), "[Network]\nDHCP=yes\n").unwrap();
        fs::write(path("kept.conf"), "[Network]\nKeepConfiguration = static\n").unwrap();
        let state = |admin: &str, more: &str| {
            format!("ADMIN_STATE={admin}\nNETWORK_FILE={}\n{more}", path("plain.network").display())
        };
        let drop_in = format!("NETWORK_FILE_DROPINS=\"{}\"\n", path("kept.conf").display());
        fs::write(path("links/2"), state("configured", "")).unwrap();
        fs::write(path("links/3"), state("configured", &drop_in)).unwrap();
        fs::write(path("links/4"), state("unmanaged", "")).unwrap();
        let found = managed_by(&path("links"), &path("net"));
        let told: Vec<_> = found.iter().map(|link| (link.interface.as_str(), link.keeps_addresses)).collect();
        assert_eq!(told, [("eth0", false), ("eth1", true)]);
        assert_eq!(managed_by(&path("none"), &path("net")), []);
    }
}
