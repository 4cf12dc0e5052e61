//! This machine's kernel, and other programs that move addresses on it.

use std::net::IpAddr;

use super::facts::{Facts, Judged};
use super::finding::{Check, CheckVerdict, Finding};
use crate::binding::Binding;
use crate::machine::kernel::LocalView;

pub(super) const KERNEL: &[Check] = &[
    Check {
        id: "kernel-interfaces",
        title: "The kernel has the interfaces",
        advice: "compare the interfaces in the configuration with 'ip link'",
        judge: kernel_interfaces,
    },
    Check {
        id: "kernel-may-change",
        title: "The daemon may change local addresses",
        advice: "give the service CAP_NET_ADMIN (AmbientCapabilities= in its unit)",
        judge: kernel_may_change,
    },
    Check {
        id: "kernel-addresses-seen",
        title: "The kernel lists its addresses",
        advice: "see that RestrictAddressFamilies= of the unit has AF_NETLINK",
        judge: kernel_addresses_seen,
    },
    Check {
        id: "kernel-address-free",
        title: "No stray local address answers for a VIP",
        advice: "find what adds the address (cloud-init, ec2-net-utils, NetworkManager, netplan), and stop it",
        judge: kernel_address_free,
    },
    Check {
        id: "kernel-static-route",
        title: "No static route answers for a VIP",
        advice: "ip route del, with the words of the message",
        judge: kernel_static_route,
    },
    Check {
        id: "kernel-left-behind",
        title: "No address was left behind",
        advice: "ip address del, with the words of the message",
        judge: kernel_left_behind,
    },
    Check {
        id: "networkd-keeps-addresses",
        title: "systemd-networkd keeps the addresses of others",
        advice: "KeepConfiguration=static under [Network] in the link's file, or in a drop-in of it",
        judge: networkd_keeps_addresses,
    },
    Check {
        id: "no-other-keeper",
        title: "No other program keeps the VIPs",
        advice: "stop the other program, or take the VIP out of its configuration",
        judge: no_other_keeper,
    },
];

/// The interfaces that the VIPs' local addresses belong on, as the kernel names them.
fn wanted_interfaces(facts: &Facts) -> Result<Vec<String>, &'static str> {
    let (config, reads) = facts.reads()?;
    let mut names: Vec<_> = reads
        .vips(config)
        .flat_map(|(_, vip, _)| vip.bindings.into_values().flatten())
        .filter_map(
            |binding| if let Binding::LocalAddress { interface, .. } = binding { Some(interface) } else { None },
        )
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn kernel_interfaces(facts: &Facts) -> Finding {
    let wanted = match wanted_interfaces(facts) {
        Ok(wanted) => wanted,
        Err(why) => return Finding::skipped(why),
    };
    if wanted.is_empty() {
        return Finding::skipped("no VIP needs a local address");
    }
    let missing = wanted.iter().filter(|name| !facts.machine.interfaces.contains(*name));
    let missing = missing.map(|name| format!("the kernel has no interface {name}")).collect();
    Finding::of_faults(CheckVerdict::Failed, missing, wanted.join(", "))
}

/// Whether a VIP needs a local address, and the kernel's answer.
fn view(facts: &Facts) -> Result<&LocalView, String> {
    let config = facts.config()?;
    if config.local_addresses().is_empty() {
        return Err("no VIP needs a local address".to_owned());
    }
    facts.machine.view.as_ref().map_err(ToString::to_string)
}

fn kernel_may_change(facts: &Facts) -> Finding {
    let config = match facts.config() {
        Ok(config) => config,
        Err(why) => return Finding::skipped(why),
    };
    let capability = &facts.machine.capability;
    if config.local_addresses().is_empty() {
        return Finding::skipped("no VIP needs a local address");
    }
    match (capability.may_change_addresses, capability.of) {
        (true, of) => Finding::ok(format!("{of} has CAP_NET_ADMIN")),
        (false, Judged::ThisCommand) => Finding::skipped(
            "no daemon runs, and this command has no CAP_NET_ADMIN: start the daemon, or check as root",
        ),
        (false, of @ Judged::Daemon(_)) => Finding::failed(format!("{of} lacks CAP_NET_ADMIN")),
    }
}

fn kernel_addresses_seen(facts: &Facts) -> Finding {
    match (facts.config(), &facts.machine.view) {
        (Err(why), _) => Finding::skipped(why),
        (Ok(_), Ok(_)) => Finding::ok("netlink answers"),
        (Ok(_), Err(error)) => Finding::failed(error.to_string()),
    }
}

/// Whether this node leads the VIP that an address belongs to.
fn leads(facts: &Facts, address: IpAddr) -> bool {
    facts.config().is_ok_and(|config| {
        let of = config.vips.iter().filter(|vip| vip.addresses.iter().any(|one| one.address == address));
        of.into_iter().any(|vip| facts.machine.leads.contains(&vip.delegate_ip))
    })
}

fn kernel_address_free(facts: &Facts) -> Finding {
    let view = match view(facts) {
        Ok(view) => view,
        Err(why) => return Finding::skipped(why),
    };
    let wanted = wanted_interfaces(facts).unwrap_or_default();
    let mut stray = Vec::new();
    for (address, presence) in &view.of {
        for (entry, state) in &presence.entries {
            let is_elsewhere = !wanted.is_empty() && !wanted.contains(&entry.interface);
            match (leads(facts, *address), &state.kept) {
                (true, _) if is_elsewhere => stray.push(format!("{entry}, where no VIP belongs")),
                (true, _) => {}
                (false, Some(kept)) => stray.push(format!("{entry}, which is kept: {kept}")),
                (false, None) => stray.push(format!("{entry}, although no hook said that this node leads")),
            }
        }
    }
    Finding::of_faults(CheckVerdict::Warning, stray, "only where this node leads")
}

fn kernel_static_route(facts: &Facts) -> Finding {
    let view = match view(facts) {
        Ok(view) => view,
        Err(why) => return Finding::skipped(why),
    };
    let routes = view.of.iter().filter_map(|(address, presence)| {
        let route = presence.route.as_ref()?;
        Some(format!("the kernel answers for {address} by the route '{route}'"))
    });
    Finding::of_faults(CheckVerdict::Warning, routes.collect(), "no local route leads there")
}

fn kernel_left_behind(facts: &Facts) -> Finding {
    match (facts.config(), &facts.machine.view) {
        (Err(why), _) => Finding::skipped(why),
        (Ok(_), Err(error)) => Finding::skipped(error.to_string()),
        (Ok(_), Ok(view)) => {
            let left = view.left_behind.iter().map(|entry| format!("{entry} is no VIP's any more")).collect();
            Finding::of_faults(CheckVerdict::Warning, left, "nothing that vipkeeper added is left")
        }
    }
}

fn networkd_keeps_addresses(facts: &Facts) -> Finding {
    let wanted = match wanted_interfaces(facts) {
        Ok(wanted) => wanted,
        Err(why) => return Finding::skipped(why),
    };
    let managed: Vec<_> = facts.machine.networkd.iter().filter(|link| wanted.contains(&link.interface)).collect();
    if managed.is_empty() {
        return Finding::skipped("systemd-networkd manages no interface of a VIP");
    }
    let drops = managed.iter().filter(|link| !link.keeps_addresses).map(|link| {
        format!(
            "it removes the VIP from {} whenever it configures the link anew ({})",
            link.interface,
            link.file.display()
        )
    });
    Finding::of_faults(CheckVerdict::Warning, drops.collect(), "KeepConfiguration= is set")
}

fn no_other_keeper(facts: &Facts) -> Finding {
    let keepers = &facts.machine.keepers;
    let named = keepers.iter().filter_map(|keeper| {
        let (file, vip) = keeper.names.as_ref()?;
        Some(format!("{} runs, and {} names {vip}", keeper.name, file.display()))
    });
    let well = match keepers.iter().map(|keeper| keeper.name.as_str()).collect::<Vec<_>>().join(", ") {
        all if all.is_empty() => "none runs".to_owned(),
        all => format!("{all} runs, and names no VIP"),
    };
    Finding::of_faults(CheckVerdict::Failed, named.collect(), well)
}
