//! Netlink sockets (netlink(7)): one request with all of its answers, and the messages of a datagram.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with};

/// The longest time for one look or change. A healthy kernel answers within microseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// The longest datagram that the kernel sends, in bytes.
const DATAGRAM_BYTES: usize = 32 * 1024;

/// The number of tries for a dump if changes interrupt it (`NLM_F_DUMP_INTR`).
const DUMP_ATTEMPTS: u32 = 5;

/// A socket that never blocks and hears the multicast groups in `groups`: bit n - 1 stands for group n
/// (linux/rtnetlink.h).
pub(crate) fn listen(groups: u32) -> io::Result<OwnedFd> {
    let socket = open(SocketFlags::NONBLOCK)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// A socket for requests. All ioctls of netdevice(7) work on it too.
pub(super) fn open(flags: SocketFlags) -> Result<OwnedFd, Errno> {
    // No protocol means NETLINK_ROUTE, number 0.
    socket_with(AddressFamily::NETLINK, SocketType::RAW, flags | SocketFlags::CLOEXEC, None)
}

/// Replaces the content of `datagram` by the next datagram.
///
/// # Errors
/// `MSGSIZE`: the datagram was longer than any that the kernel is known to send, and is lost. Any other error is that
/// of recv(2).
pub(crate) fn receive(socket: impl AsFd, datagram: &mut Vec<u8>) -> Result<(), Errno> {
    datagram.clear();
    datagram.reserve(DATAGRAM_BYTES);
    let (_, length) = retry_on_intr(|| recv(&socket, spare_capacity(datagram), RecvFlags::TRUNC))?;
    if length > datagram.len() { Err(Errno::MSGSIZE) } else { Ok(()) }
}

/// The whole answer to a request for a list. The request is sent again if the list changed while it was read.
pub(super) fn dump(request: &RouteNetlinkMessage, patience: Duration) -> io::Result<Vec<RouteNetlinkMessage>> {
    for _ in 1..DUMP_ATTEMPTS {
        match exchange(request.clone(), NLM_F_DUMP, patience) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
    exchange(request.clone(), NLM_F_DUMP, patience)
}

/// Sends one request and collects the answers until the kernel says that there are no more. Each request has its own
/// socket, so that no answer can belong to another request. `patience` is the longest wait for one datagram.
///
/// # Errors
/// The kernel's refusal of the request. `WouldBlock`: the kernel did not answer. `Interrupted`: the list changed while
/// it was read, and cannot be trusted.
pub(super) fn exchange(
    request: RouteNetlinkMessage,
    flags: u16,
    patience: Duration,
) -> io::Result<Vec<RouteNetlinkMessage>> {
    let socket = open(SocketFlags::empty())?;
    set_socket_timeout(&socket, Timeout::Recv, Some(patience))?;
    let mut request = NetlinkMessage::from(request);
    request.header.flags = NLM_F_REQUEST | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    let kernel = SocketAddrNetlink::new(0, 0);
    retry_on_intr(|| sendto(&socket, &bytes, SendFlags::empty(), &kernel))?;

    let (mut answers, mut interrupted, mut datagram) = (Vec::new(), false, Vec::new());
    loop {
        receive(&socket, &mut datagram)?;
        for answer in messages(&datagram) {
            let (header, payload) = answer.map_err(io::Error::other)?.into_parts();
            interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
            match payload {
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                NetlinkPayload::Error(refusal) if refusal.code.is_some() => return Err(refusal.to_io()),
                NetlinkPayload::Done(done) if done.code != 0 => {
                    return Err(io::Error::from_raw_os_error(done.code.saturating_abs()));
                }
                NetlinkPayload::Error(_) | NetlinkPayload::Done(_) if interrupted => {
                    return Err(io::Error::new(io::ErrorKind::Interrupted, "the list changed while it was read"));
                }
                NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answers),
                _ => {}
            }
        }
    }
}

/// The messages of one datagram. A message with an impossible length ends the list.
pub(crate) fn messages(
    datagram: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<RouteNetlinkMessage>, DecodeError>> {
    const ALIGNMENT: usize = 4; // NLMSG_ALIGNTO
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = NetlinkBuffer::new_checked(rest).map(|message| message.length() as usize);
        let (message, next) = match length {
            Ok(length) => (NetlinkMessage::deserialize(&rest[..length]), length.next_multiple_of(ALIGNMENT)),
            Err(error) => (Err(error), rest.len()),
        };
        rest = rest.get(next..).unwrap_or_default();
        Some(message)
    })
}

/// The address family in messages about an address.
pub(super) const fn family(address: IpAddr) -> netlink_packet_route::AddressFamily {
    match address {
        IpAddr::V4(_) => netlink_packet_route::AddressFamily::Inet,
        IpAddr::V6(_) => netlink_packet_route::AddressFamily::Inet6,
    }
}
