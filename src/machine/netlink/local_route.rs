//! The kernel's routes, as far as they make the kernel accept packets for an address, or depend on an address.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::NLM_F_ACK;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::net::netdevice::index_to_name;

use super::socket::{self, PATIENCE, family};

/// A route by which the kernel accepts packets for an address.
pub(super) struct LocalRoute {
    /// The route as `ip route` names it.
    pub text: String,
    /// The kernel made the route for one address of an interface.
    pub is_of_one_address: bool,
}

/// The route by which the kernel accepts packets for an address; `None` if the kernel would send such packets on, or
/// refuse them. The kernel is asked as for a packet of its own, with all its tables and rules.
pub(super) fn of(address: IpAddr) -> io::Result<Option<LocalRoute>> {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let mut question = RouteMessage::default();
    question.header.address_family = family(address);
    question.header.destination_prefix_length = bits;
    // The answer is the route itself, and not the path of one packet.
    question.header.flags = RouteFlags::FibMatch;
    question.attributes.push(RouteAttribute::Destination(address.into()));
    let answers = match socket::exchange(RouteNetlinkMessage::GetRoute(question), NLM_F_ACK, PATIENCE) {
        Ok(answers) => answers,
        Err(error) if leads_nowhere(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(route) => Some(route),
        _ => None,
    });
    let local = found.filter(|route| matches!(route.header.kind, RouteType::Local | RouteType::Anycast));
    local
        .map(|route| {
            let is_of_one_address =
                route.header.protocol == RouteProtocol::Kernel && route.header.destination_prefix_length == bits;
            Ok(LocalRoute { text: text(&route)?, is_of_one_address })
        })
        .transpose()
}

/// Whether this error means that there is no route, or one that refuses packets (`unreachable`, `prohibit`,
/// `blackhole`), or that the kernel does not know the address family at all.
fn leads_nowhere(error: &io::Error) -> bool {
    let no_route = [Errno::NETUNREACH, Errno::HOSTUNREACH, Errno::ACCESS, Errno::INVAL, Errno::NOENT];
    let no_family = [Errno::AFNOSUPPORT, Errno::OPNOTSUPP];
    Errno::from_io_error(error).is_some_and(|errno| no_route.contains(&errno) || no_family.contains(&errno))
}

/// A route through a gateway that the kernel removes together with an IPv4 address. Such a route either names the address
/// as the source of its packets, or leads through the interface `last_of`, whose last address this is.
pub(super) fn through(address: IpAddr, last_of: Option<u32>) -> io::Result<Option<String>> {
    let mut every = RouteMessage::default();
    every.header.address_family = AddressFamily::Inet;
    for answer in socket::dump(&RouteNetlinkMessage::GetRoute(every), PATIENCE)? {
        let RouteNetlinkMessage::NewRoute(route) = answer else { continue };
        let (mut gateway, mut goes_along) = (false, false);
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Gateway(_) => gateway = true,
                RouteAttribute::PrefSource(source) => goes_along |= *source == RouteAddress::from(address),
                RouteAttribute::Oif(index) => goes_along |= last_of == Some(*index),
                _ => {}
            }
        }
        if gateway && goes_along && route.header.kind == RouteType::Unicast {
            return text(&route).map(Some);
        }
    }
    Ok(None)
}

/// The route in the words of `ip route`.
fn text(route: &RouteMessage) -> io::Result<String> {
    let kind = match route.header.kind {
        RouteType::Local => "local ",
        RouteType::Anycast => "anycast ",
        _ => "",
    };
    let (mut to, mut via, mut dev, mut table) = (None, String::new(), String::new(), u32::from(route.header.table));
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => to = Some(IpAddr::V4(*address)),
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => to = Some(IpAddr::V6(*address)),
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => via = format!(" via {address}"),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => via = format!(" via {address}"),
            RouteAttribute::Oif(index) => {
                let socket = socket::open(SocketFlags::empty())?;
                dev = index_to_name(&socket, *index).map(|name| format!(" dev {name}")).unwrap_or_default();
            }
            RouteAttribute::Table(number) => table = *number,
            _ => {}
        }
    }
    let to = to.map_or("default".to_owned(), |to| format!("{to}/{}", route.header.destination_prefix_length));
    let table = match table {
        // `ip route` finds a route of these two tables, main and local, by its type.
        254 | 255 => String::new(),
        other => format!(" table {other}"),
    };
    Ok(format!("{kind}{to}{via}{dev}{table}"))
}
