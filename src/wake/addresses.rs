//! The kernel's addresses and interfaces, watched by rtnetlink's multicast groups (rtnetlink(7)). The watch needs no
//! capability.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::Wake;
use super::parts::PartVoice;
use super::watcher::{WakeSource, Watcher, readable, watch};
use crate::machine::netlink::OUR_MARK;
use crate::machine::netlink::socket::{listen, messages, receive};

/// The groups that tell of links, of IPv4 and of IPv6 addresses: numbers 1, 5 and 9 (linux/rtnetlink.h: `RTNLGRP_LINK`,
/// `RTNLGRP_IPV4_IFADDR`, `RTNLGRP_IPV6_IFADDR`), where number n is bit n - 1.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// The greatest number of datagrams that are taken before the loop gets its turn, so that a flood of changes cannot
/// keep the loop waiting.
const AT_ONCE: usize = 64;

/// The addresses and interfaces that the configuration names. Nothing else wakes the loop: a machine that runs
/// containers changes addresses and interfaces all the time, and each pass costs calls to EC2.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Concern {
    /// The VIPs' local addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// The interfaces that the VIPs' local addresses belong on.
    pub interfaces: BTreeSet<String>,
}

/// Sends [`Wake::LocalAddress`] when one of the addresses or one of the interfaces came, went or changed. An address
/// counts on every interface. An address that this program itself adds wakes nobody if the kernel tells who added it
/// ([`OUR_MARK`]). An address that this program removes wakes the loop, which costs a pass and is harmless. The voice
/// tells when the kernel gives no netlink socket.
pub fn watch_addresses(concern: Concern, voice: impl Into<PartVoice>) -> Watcher {
    watch(Addresses { concern, socket: None, datagram: Vec::new() }, voice.into())
}

struct Addresses {
    concern: Concern,
    socket: Option<AsyncFd<OwnedFd>>,
    datagram: Vec<u8>,
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the kernel's addresses")
    }
}

impl WakeSource for Addresses {
    const WAKE: Wake = Wake::LocalAddress;

    fn open(&mut self) -> io::Result<()> {
        self.socket = Some(readable(listen(GROUPS)?)?);
        Ok(())
    }

    async fn changed(&mut self) -> io::Result<Wake> {
        let Self { concern, socket, datagram } = self;
        let Some(socket) = socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let mut changed = false;
        while !changed {
            let mut ready = socket.readable().await?;
            for _ in 0..AT_ONCE {
                match ready.try_io(|socket| Ok(receive(socket, datagram)?)) {
                    Ok(Ok(())) => changed |= messages(datagram).any(|message| concern.in_message(message.ok())),
                    // The kernel had more to tell than the socket or the buffer could hold, and dropped a part.
                    Ok(Err(error)) if matches!(Errno::from_io_error(&error), Some(Errno::NOBUFS | Errno::MSGSIZE)) => {
                        changed = true;
                    }
                    Ok(Err(error)) => return Err(error),
                    Err(_nothing_more) => break,
                }
            }
        }
        Ok(Wake::LocalAddress)
    }
}

impl Concern {
    /// Whether a message tells of an address or interface of this concern. A message that cannot be read may, so it
    /// counts.
    fn in_message(&self, message: Option<NetlinkMessage<RouteNetlinkMessage>>) -> bool {
        let Some(message) = message else { return true };
        let NetlinkPayload::InnerMessage(message) = message.payload else { return false };
        match message {
            RouteNetlinkMessage::NewAddress(address) => self.in_address(&address) && !is_ours(&address),
            RouteNetlinkMessage::DelAddress(address) => self.in_address(&address),
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => self.in_link(&link),
            _ => false,
        }
    }

    fn in_address(&self, message: &AddressMessage) -> bool {
        message.attributes.iter().any(|attribute| match attribute {
            AddressAttribute::Local(address) | AddressAttribute::Address(address) => self.addresses.contains(address),
            _ => false,
        })
    }

    fn in_link(&self, message: &LinkMessage) -> bool {
        message.attributes.iter().any(|attribute| match attribute {
            LinkAttribute::IfName(name) => self.interfaces.contains(name),
            _ => false,
        })
    }
}

fn is_ours(message: &AddressMessage) -> bool {
    message.attributes.contains(&AddressAttribute::Protocol(OUR_MARK))
}
