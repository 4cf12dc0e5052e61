//! Which interface a VIP belongs to when none is named, and the hardware address by which the metadata service knows
//! an interface's ENI. Reads what the kernel shows under /sys and /proc, changes nothing.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::Path;

const SYS_CLASS_NET: &str = "/sys/class/net";
const IPV4_ROUTES: &str = "/proc/thread-self/net/route";
/// `ARPHRD_ETHER` (linux/if_arp.h): what `type` says of an Ethernet interface.
const ETHERNET: &str = "1";

/// The name of the machine's first Ethernet interface: the one with the IPv4 default route of the lowest metric; else
/// the one with the lowest index, of those that stand for a device (which bridges, tunnels and containers' ends don't).
/// None: there is no such interface.
///
/// # Errors
/// When /sys/class/net cannot be read.
pub fn first_interface() -> io::Result<Option<String>> {
    // Without the table of routes the order of the devices still tells.
    let routes = fs::read_to_string(IPV4_ROUTES).unwrap_or_default();
    first_of(Path::new(SYS_CLASS_NET), &routes)
}

/// The interface's hardware address as the metadata service writes it: `02:ab:cd:01:23:45`.
///
/// # Errors
/// `NotFound`: no such interface.
pub fn mac_address(interface: &str) -> io::Result<String> {
    // The name comes from a configuration; as a path it must not lead elsewhere.
    if interface.is_empty() || interface.contains('/') || interface == "." || interface == ".." {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{interface:?} is no interface's name")));
    }
    attribute(Path::new(SYS_CLASS_NET), interface, "address")
}

fn first_of(interfaces: &Path, routes: &str) -> io::Result<Option<String>> {
    let is_ethernet = |name: &str| attribute(interfaces, name, "type").is_ok_and(|kind| kind == ETHERNET);
    if let Some(name) = default_route_interfaces(routes).into_iter().find(|name| is_ethernet(name)) {
        return Ok(Some(name));
    }
    let mut first = None;
    for entry in fs::read_dir(interfaces)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !is_ethernet(&name) || !entry.path().join("device").exists() {
            continue;
        }
        // An interface that went away meanwhile is not the first one.
        let Some(index) = attribute(interfaces, &name, "ifindex").ok().and_then(|index| index.parse::<u32>().ok())
        else {
            continue;
        };
        first = first.max(Some((Reverse(index), name)));
    }
    Ok(first.map(|(_, name)| name))
}

/// The interfaces with a default route, that of the lowest metric first. The table: proc_pid_net(5), `route`.
fn default_route_interfaces(routes: &str) -> Vec<String> {
    const UP: u32 = 0x1; // RTF_UP (linux/route.h)
    let mut found: Vec<(u32, &str)> = routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [interface, destination, _, flags, _, _, metric, mask, ..] = fields[..] else { return None };
            let up = u32::from_str_radix(flags, 16).ok()? & UP != 0;
            let default = destination == "00000000" && mask == "00000000";
            (up && default).then_some((metric.parse().ok()?, interface))
        })
        .collect();
    // Stable: of equal metrics the one that the kernel asks first stays first.
    found.sort_by_key(|&(metric, _)| metric);
    found.into_iter().map(|(_, interface)| interface.to_owned()).collect()
}

fn attribute(interfaces: &Path, interface: &str, name: &str) -> io::Result<String> {
    Ok(fs::read_to_string(interfaces.join(interface).join(name))?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    /// A folder like /sys/class/net: name, index, type, whether a device stands behind it.
    fn interfaces(all: &[(&str, u32, u32, bool)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, index, kind, device) in all {
            let interface = folder.path().join(name);
            fs::create_dir(&interface).unwrap();
            fs::write(interface.join("ifindex"), format!("{index}\n")).unwrap();
            fs::write(interface.join("type"), format!("{kind}\n")).unwrap();
            if *device {
                fs::create_dir(interface.join("device")).unwrap();
            }
        }
        folder
    }

    fn first(all: &[(&str, u32, u32, bool)], routes: &[&str]) -> Option<String> {
        let routes: String =
            std::iter::once(HEADER.to_owned()).chain(routes.iter().map(|r| format!("{r}\n"))).collect();
        first_of(interfaces(all).path(), &routes).unwrap()
    }

    const TWO: [(&str, u32, u32, bool); 4] =
        [("lo", 1, 772, false), ("ens6", 3, 1, true), ("ens5", 2, 1, true), ("wg0", 4, 65534, false)];

    #[test]
    fn the_default_route_with_the_lowest_metric_decides() {
        let routes = [
            "ens5\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
            "ens5\t00000000\t010200C0\t0003\t0\t0\t512\t00000000\t0\t0\t0",
            "ens6\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0",
        ];
        assert_eq!(first(&TWO, &routes).as_deref(), Some("ens6"));
    }

    #[test]
    fn a_default_route_through_a_tunnel_or_one_that_is_down_does_not_count() {
        let routes = [
            "wg0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0",
            "ens6\t00000000\t010200C0\t0002\t0\t0\t0\t00000000\t0\t0\t0",
        ];
        assert_eq!(first(&TWO, &routes).as_deref(), Some("ens5"));
    }

    #[test]
    fn without_a_default_route_the_lowest_index_of_a_device_decides() {
        assert_eq!(first(&TWO, &[]).as_deref(), Some("ens5"));
        let beside_a_bridge = [("lo", 1, 772, false), ("docker0", 2, 1, false), ("ens5", 3, 1, true)];
        assert_eq!(first(&beside_a_bridge, &[]).as_deref(), Some("ens5"));
        assert_eq!(first(&[("lo", 1, 772, false)], &[]), None);
    }

    #[test]
    fn a_hardware_address_is_asked_for_by_an_interface_and_nothing_else() {
        assert_eq!(mac_address("lo").unwrap(), "00:00:00:00:00:00");
        for name in ["", "..", "lo/../lo", "none-such"] {
            assert_eq!(mac_address(name).unwrap_err().kind(), io::ErrorKind::NotFound, "{name:?}");
        }
    }
}
