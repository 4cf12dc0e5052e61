//! The TCP connections of one local address, and how they are ended (sock_diag(7)).
//!
//! A connection whose local address has gone can send nothing any more, so its peer would not even get a reset. So the
//! kernel is told to abort the connections of an address while the address is still there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer};
use rustix::fd::OwnedFd;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};

use super::socket::receive;

/// The longest time for the resets of one address. The removal of the address waits for them.
pub const RESET_WITHIN: Duration = Duration::from_millis(200);

// Message types, from linux/sock_diag.h and linux/netlink.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const IPPROTO_TCP: u8 = 6;

/// The states in which the kernel tells the peer of an aborted connection, as bits by the numbers of net/tcp_states.h:
/// ESTABLISHED, FIN_WAIT1, FIN_WAIT2 and CLOSE_WAIT. In SYN_SENT, LAST_ACK and CLOSING the kernel drops a connection
/// without a word (`tcp_need_reset` in net/ipv4/tcp.c). A client whose handshake is not over (SYN_RECV) is not told
/// either: such a client repeats its SYN, and that one reaches the successor.
const STATES: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8;

/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// The place of `struct inet_diag_sockid` in `struct inet_diag_msg`: after family, state, timer and retransmissions.
const ID_AT: usize = 4;
/// The length of `struct inet_diag_sockid`: two ports, two addresses, an interface and a cookie.
const ID: usize = 48;
/// The place of the local address in `struct inet_diag_sockid`: after the two ports.
const SOURCE_AT: usize = 4;

/// One connection, as the kernel names it.
struct Connection {
    family: u8,
    id: [u8; ID],
}

/// Aborts the TCP connections whose local address is `address`, including IPv4 connections on IPv6 sockets. Returns the
/// number of aborted connections, and whether that were all.
///
/// # Errors
/// `Unsupported`: the kernel cannot abort connections (CONFIG_INET_DIAG_DESTROY). `PermissionDenied`: CAP_NET_ADMIN is
/// missing. `TimedOut` or `WouldBlock`: the resets took longer than [`RESET_WITHIN`], and some connections may be left.
pub(super) fn reset(address: IpAddr) -> (u32, io::Result<()>) {
    let mut ended = 0;
    let result = reset_each(address, &mut ended);
    (ended, result)
}

fn reset_each(address: IpAddr, ended: &mut u32) -> io::Result<()> {
    let deadline = Instant::now() + RESET_WITHIN;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(RESET_WITHIN))?;
    let families: &[AddressFamily] = match address {
        // An IPv6 socket serves IPv4 peers under mapped addresses.
        IpAddr::V4(_) => &[AddressFamily::INET, AddressFamily::INET6],
        IpAddr::V6(_) => &[AddressFamily::INET6],
    };
    for family in families {
        let Ok(family) = u8::try_from(family.as_raw()) else { continue };
        for connection in connections(&socket, family, address, deadline)? {
            in_time(deadline)?;
            match destroy(&socket, &connection) {
                Ok(()) => *ended += 1,
                // The connection ended by itself.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn in_time(deadline: Instant) -> io::Result<()> {
    if Instant::now() < deadline { Ok(()) } else { Err(io::Error::from(io::ErrorKind::TimedOut)) }
}

/// The connections of one family with this local address.
fn connections(socket: &OwnedFd, family: u8, address: IpAddr, deadline: Instant) -> io::Result<Vec<Connection>> {
    send(socket, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, family, &[0; ID])?;
    let (mut found, mut datagram) = (Vec::new(), Vec::new());
    loop {
        in_time(deadline)?;
        receive(socket, &mut datagram)?;
        for (kind, payload) in messages(&datagram) {
            match kind {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => refusal(payload)?,
                SOCK_DIAG_BY_FAMILY => found.extend(connection(payload).filter(|it| it.source() == Some(address))),
                _ => {}
            }
        }
    }
}

fn connection(payload: &[u8]) -> Option<Connection> {
    let id = payload.get(ID_AT..ID_AT + ID)?.try_into().ok()?;
    Some(Connection { family: *payload.first()?, id })
}

impl Connection {
    /// The local address. A mapped address is given as IPv4.
    fn source(&self) -> Option<IpAddr> {
        let bytes = &self.id[SOURCE_AT..SOURCE_AT + 16];
        if u16::from(self.family) == AddressFamily::INET.as_raw() {
            let bytes: [u8; 4] = bytes[..4].try_into().ok()?;
            return Some(Ipv4Addr::from(bytes).into());
        }
        let bytes: [u8; 16] = bytes.try_into().ok()?;
        Some(Ipv6Addr::from(bytes).to_canonical())
    }
}

fn destroy(socket: &OwnedFd, connection: &Connection) -> io::Result<()> {
    send(socket, SOCK_DESTROY, NLM_F_ACK, connection.family, &connection.id)?;
    let mut datagram = Vec::new();
    receive(socket, &mut datagram)?;
    messages(&datagram).filter(|(kind, _)| *kind == NLMSG_ERROR).try_for_each(|(_, payload)| refusal(payload))
}

/// Sends one `struct inet_diag_req_v2`.
fn send(socket: &OwnedFd, kind: u16, flags: u16, family: u8, id: &[u8; ID]) -> io::Result<()> {
    const LENGTH: usize = HEADER + 8 + ID;
    let mut bytes = Vec::with_capacity(LENGTH);
    bytes.extend(u32::try_from(LENGTH).unwrap_or(u32::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    // The sequence number and the port stay 0: each request waits for its answer, so the answers need no telling apart.
    bytes.extend([0; 8]);
    bytes.extend([family, IPPROTO_TCP, 0, 0]);
    bytes.extend(STATES.to_ne_bytes());
    bytes.extend(id);
    retry_on_intr(|| sendto(socket, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)))?;
    Ok(())
}

/// The type and the payload of each message in a datagram.
fn messages(datagram: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        let (kind, length) = (message.message_type(), message.length() as usize);
        let payload = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// The error in a kernel's answer. An acknowledgement carries none.
fn refusal(payload: &[u8]) -> io::Result<()> {
    let code = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.saturating_abs())) }
}
