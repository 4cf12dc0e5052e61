//! The addresses that the kernel has on its interfaces, in every form: any prefix length, with or without a peer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::net::netdevice::index_to_name;

use super::socket::PATIENCE;
use super::{local_route, socket};
use crate::machine::kernel::{EntryState, LocalAddress, LocalView, Presence, interfaces};

/// The mark of the program that added an address, carried in `IFA_PROTO`. The kernel uses 1 to 3 (linux/if_addr.h); the
/// other values are free. Linux before 5.18 does not keep the mark, and accepts it without an error. The mark tells
/// people and vipkeeper's own watcher who added the address. Whether an address is vipkeeper's to change follows from
/// the configuration alone.
pub const OUR_MARK: AddressProtocol = AddressProtocol::Other(118);

/// The number of looks that may disagree with one another, because addresses came and went meanwhile.
const LOOKS: u32 = 3;

/// One address of the kernel's list.
struct Entry {
    at: LocalAddress,
    message: AddressMessage,
}

/// Everything that makes the kernel accept packets for these addresses.
pub(super) fn look(asked: &BTreeSet<IpAddr>) -> io::Result<LocalView> {
    let mut looks = 1;
    loop {
        let entries = list()?;
        let mut of = BTreeMap::new();
        let mut outdated = false;
        for address in asked {
            let of_address: Vec<_> = entries.iter().filter(|entry| entry.at.address == *address).collect();
            let mut presence = Presence::default();
            for entry in &of_address {
                let state = EntryState { silent: entry.is_silent(), kept: entry.kept(&entries)? };
                presence.entries.insert(entry.at.clone(), state);
            }
            if of_address.is_empty()
                && let Some(found) = local_route::of(*address)?
            {
                // The kernel itself made this route for an address that came after the list was read.
                outdated |= found.is_of_one_address;
                presence.route = Some(found.text);
            }
            of.insert(*address, presence);
        }
        if !outdated || looks == LOOKS {
            let ours = entries.iter().filter(|entry| entry.is_ours() && !asked.contains(&entry.at.address));
            let left_behind = ours.map(|entry| entry.at.clone()).collect();
            return Ok(LocalView { of, left_behind, interfaces: interfaces() });
        }
        looks += 1;
    }
}

/// A form in which the machine keeps the address after everything in `going` has gone; `None` if it keeps none.
pub(super) fn kept(address: IpAddr, going: &BTreeSet<LocalAddress>) -> io::Result<Option<LocalAddress>> {
    let mut forms = list()?.into_iter().map(|entry| entry.at);
    Ok(forms.find(|at| at.address == address && !going.contains(at)))
}

/// The messages that name this address where it has a peer.
pub(super) fn with_peer(unwanted: &LocalAddress) -> io::Result<Vec<AddressMessage>> {
    let entries = list()?.into_iter().filter(|entry| entry.at == *unwanted && entry.has_peer());
    Ok(entries.map(|entry| entry.message).collect())
}

/// The message that names this address if duplicate address detection keeps it silent. Only IPv6 has such addresses.
/// An address that cannot be looked up counts as not silent.
pub(super) fn silent(wanted: &LocalAddress) -> Option<AddressMessage> {
    if wanted.address.is_ipv4() {
        return None;
    }
    let is_it = |entry: &Entry| entry.at.interface == wanted.interface && entry.at.address == wanted.address;
    let found = list().ok()?.into_iter().find(|entry| is_it(entry) && entry.is_silent());
    found.map(|entry| entry.message)
}

/// The addresses of all interfaces.
fn list() -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    // One family is asked at a time. "All families" would also give entries whose addresses are no IP addresses.
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut every = AddressMessage::default();
        every.header.family = family;
        for answer in socket::dump(&RouteNetlinkMessage::GetAddress(every), PATIENCE)? {
            if let RouteNetlinkMessage::NewAddress(message) = answer {
                found.push(message);
            }
        }
    }
    let socket = socket::open(SocketFlags::empty())?;
    let mut names = BTreeMap::new();
    for message in &found {
        match index_to_name(&socket, message.header.index) {
            Ok(name) => _ = names.insert(message.header.index, name),
            // The interface went away after the dump, and its addresses went with it.
            Err(Errno::NODEV) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let entry = |message: AddressMessage| {
        let interface = names.get(&message.header.index)?.clone();
        let at = LocalAddress { interface, address: local(&message)?, prefix: message.header.prefix_len };
        Some(Entry { at, message })
    };
    Ok(found.into_iter().filter_map(entry).collect())
}

/// The address that the kernel accepts packets for. On a point-to-point link the message also names the peer's address.
fn local(message: &AddressMessage) -> Option<IpAddr> {
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(it) => local = Some(*it),
            AddressAttribute::Address(it) => address = Some(*it),
            _ => {}
        }
    }
    // For IPv6, the kernel gives IFA_LOCAL only if there is a peer.
    local.or(address)
}

impl Entry {
    fn flags(&self) -> AddressFlags {
        let flags = self.message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        });
        flags.unwrap_or(AddressFlags::empty())
    }

    /// Whether IPv6's duplicate address detection keeps the kernel from answering. An optimistic address answers
    /// during the detection.
    fn is_silent(&self) -> bool {
        let flags = self.flags();
        self.at.address.is_ipv6()
            && (flags.contains(AddressFlags::Dadfailed)
                || (flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic)))
    }

    fn has_peer(&self) -> bool {
        self.message.attributes.iter().any(|attribute| match attribute {
            AddressAttribute::Address(address) => *address != self.at.address,
            _ => false,
        })
    }

    /// Whether vipkeeper added the address. Linux before 5.18 keeps the label alone.
    fn is_ours(&self) -> bool {
        let label = format!("{}:vip", self.at.interface);
        self.message.attributes.iter().any(|attribute| match attribute {
            AddressAttribute::Protocol(mark) => *mark == OUR_MARK,
            AddressAttribute::Label(it) => *it == label,
            _ => false,
        })
    }

    fn subnet(&self) -> Option<IpNet> {
        IpNet::new(self.at.address, self.at.prefix).ok().map(|net| net.trunc())
    }

    /// Why the address is not to be removed: the kernel would remove something else with it that the machine may need.
    /// A single address has no subnet, so nothing depends on it. Routes and addresses of IPv6 do not go along.
    fn kept(&self, all: &[Entry]) -> io::Result<Option<String>> {
        if self.at.is_single() || self.at.address.is_ipv6() {
            return Ok(None);
        }
        let beside = || {
            let index = self.message.header.index;
            let same_interface = move |other: &&Entry| other.message.header.index == index && other.at != self.at;
            all.iter().filter(|other| other.at.address.is_ipv4()).filter(same_interface)
        };
        if !self.flags().contains(AddressFlags::Secondary) && !promotes_secondaries(&self.at.interface) {
            let goes_along =
                |other: &&Entry| other.flags().contains(AddressFlags::Secondary) && other.subnet() == self.subnet();
            if let Some(other) = beside().find(goes_along) {
                return Ok(Some(format!(
                    "the kernel would remove {} along with it; set the sysctl net.ipv4.conf.{}.promote_secondaries to 1",
                    other.at, self.at.interface
                )));
            }
        }
        let index = self.message.header.index;
        let dependent = local_route::through(self.at.address, beside().next().is_none().then_some(index))?;
        Ok(dependent.map(|route| format!("the kernel would remove the route {route} along with it")))
    }
}

/// Whether the kernel makes the second address of a subnet its first one when the first one goes, instead of removing
/// all. A setting that cannot be read counts as off.
fn promotes_secondaries(interface: &str) -> bool {
    ["all", interface].iter().any(|of| {
        let setting = fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{of}/promote_secondaries"));
        setting.is_ok_and(|value| value.trim() != "0")
    })
}
