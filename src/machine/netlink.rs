//! The kernel's local addresses over rtnetlink (rtnetlink(7)).
//!
//! The kernel carries a request out inside the call that sends it, under a lock that it shares with every other change
//! of the network. A driver that hangs under that lock would also block the loop. So a separate thread talks to the
//! kernel: one request after the other, each on its own socket. The loop waits for the thread for a bounded time
//! (`socket::PATIENCE`).

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc;
use std::thread;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::net::netdevice::{index_to_name, name_to_index};
use rustix::thread::{CapabilitySet, capabilities};
use tokio::sync::oneshot;

use self::socket::{PATIENCE, family};
use super::kernel::{Kernel, KernelError, Left, LocalAddress, LocalView, Reset};

pub use self::entries::OUR_MARK;
pub use self::sock_diag::RESET_WITHIN;

mod entries;
mod local_route;
mod sock_diag;
pub(crate) mod socket;

/// The longest label of an IPv4 address, in bytes: IFNAMSIZ less the closing zero (linux/if.h).
const LONGEST_LABEL: usize = 15;

/// Whether this thread has CAP_NET_ADMIN. A [`Netlink`] that this thread makes may change addresses only then.
///
/// # Errors
/// The error of capget(2).
pub fn may_change_addresses() -> io::Result<bool> {
    Ok(capabilities(None)?.effective.contains(CapabilitySet::NET_ADMIN))
}

type Job = Box<dyn FnOnce() + Send>;

/// The kernel, in the network namespace and with the capabilities of the thread that called [`Netlink::new`].
#[derive(Debug)]
pub struct Netlink {
    jobs: mpsc::Sender<Job>,
}

impl Netlink {
    /// Starts the thread that talks to the kernel. The thread ends when this value is dropped.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn new() -> Result<Self, KernelError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("netlink".to_owned())
            .spawn(move || queue.into_iter().for_each(|job| job()))
            .map_err(|error| failed("start a thread for netlink", &error))?;
        Ok(Self { jobs })
    }

    /// Has the kernel's thread do `work`. A job whose caller no longer waits is dropped when its turn comes: a request
    /// that waited behind a hanging call must not be carried out minutes later.
    async fn ask<T, W>(&self, doing: String, work: W) -> Result<T, KernelError>
    where
        T: Send + 'static,
        W: FnOnce(&str) -> Result<T, KernelError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job_doing = doing.clone();
        let job: Job = Box::new(move || {
            if !reply.is_closed() {
                // A caller that gave up during the work has already reported `NoAnswer`.
                let _ = reply.send(work(&job_doing));
            }
        });
        let gone = || KernelError::Kernel { doing: doing.clone(), message: "the netlink thread has ended".to_owned() };
        self.jobs.send(job).map_err(|_| gone())?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer.map_err(|_| gone())?,
            Err(_) => Err(KernelError::NoAnswer { doing, after: PATIENCE }),
        }
    }
}

impl Kernel for Netlink {
    async fn look(&self, addresses: &BTreeSet<IpAddr>) -> Result<LocalView, KernelError> {
        let (doing, asked) = ("list the local addresses", addresses.clone());
        self.ask(doing.to_owned(), move |doing| entries::look(&asked).map_err(|error| failed(doing, &error))).await
    }

    async fn add(&self, address: &LocalAddress) -> Result<(), KernelError> {
        let wanted = address.clone();
        self.ask(format!("add {address}"), move |doing| {
            if let Some(silent) = entries::silent(&wanted) {
                change(doing, &wanted, 0, Errno::ADDRNOTAVAIL, |_| RouteNetlinkMessage::DelAddress(silent))?;
            }
            change(doing, &wanted, NLM_F_CREATE | NLM_F_EXCL, Errno::EXIST, |index| {
                RouteNetlinkMessage::NewAddress(added(&wanted, index))
            })
        })
        .await
    }

    async fn reset_connections(&self, address: IpAddr, going: &BTreeSet<LocalAddress>) -> Reset {
        let going = going.clone();
        let answer = self.ask(format!("reset the connections of {address}"), move |doing| {
            if let Some(kept) = entries::kept(address, &going).map_err(|error| failed(doing, &error))? {
                return Ok(Reset { ended: 0, left: Some(Left::Kept(kept.to_string())) });
            }
            let (ended, result) = sock_diag::reset(address);
            Ok(Reset { ended, left: result.err().map(|error| Left::Failed(not_reset(doing, &error))) })
        });
        answer.await.unwrap_or_else(|error| Reset { ended: 0, left: Some(Left::Failed(error)) })
    }

    async fn remove(&self, address: &LocalAddress) -> Result<(), KernelError> {
        let unwanted = address.clone();
        self.ask(format!("remove {address}"), move |doing| {
            // Without a label or a mark, the kernel compares only the address and the prefix length. So an address that
            // somebody else added is removed too: only the leader may have it.
            change(doing, &unwanted, 0, Errno::ADDRNOTAVAIL, |index| {
                RouteNetlinkMessage::DelAddress(named(&unwanted, index))
            })?;
            // On a point-to-point link the kernel also compares the peer, so the message above names no such address.
            for entry in entries::with_peer(&unwanted).map_err(|error| failed(doing, &error))? {
                change(doing, &unwanted, 0, Errno::ADDRNOTAVAIL, |_| RouteNetlinkMessage::DelAddress(entry))?;
            }
            Ok(())
        })
        .await
    }
}

/// The failure of a reset.
fn not_reset(doing: &str, error: &io::Error) -> KernelError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => KernelError::NotPermitted,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            KernelError::NoAnswer { doing: doing.to_owned(), after: RESET_WITHIN }
        }
        io::ErrorKind::Unsupported => {
            let message = "this kernel cannot end connections (it was built without CONFIG_INET_DIAG_DESTROY)";
            KernelError::Kernel { doing: doing.to_owned(), message: message.to_owned() }
        }
        _ => failed(doing, error),
    }
}

/// Makes one change. The error `already` means that the change was made before, and counts as success.
fn change(
    doing: &str,
    address: &LocalAddress,
    flags: u16,
    already: Errno,
    message: impl FnOnce(u32) -> RouteNetlinkMessage,
) -> Result<(), KernelError> {
    let no_interface = || KernelError::NoInterface(address.interface.clone());
    let index = match index_of(&address.interface) {
        Ok(index) => index,
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => return Err(no_interface()),
        Err(error) => return Err(failed(doing, &error)),
    };
    let Err(error) = socket::exchange(message(index), flags | NLM_F_ACK, PATIENCE) else { return Ok(()) };
    match Errno::from_io_error(&error) {
        Some(errno) if errno == already => Ok(()),
        Some(Errno::PERM) => Err(KernelError::NotPermitted),
        Some(Errno::NODEV) => Err(no_interface()),
        Some(Errno::ACCESS) if address.address.is_ipv6() => Err(KernelError::Kernel {
            doing: doing.to_owned(),
            message: format!("IPv6 is disabled on {} (sysctl disable_ipv6)", address.interface),
        }),
        _ => Err(failed(doing, &error)),
    }
}

/// The index that the interface has now. The index changes when a device goes and comes back.
fn index_of(interface: &str) -> io::Result<u32> {
    let socket = socket::open(SocketFlags::empty())?;
    let index = name_to_index(&socket, interface)?;
    // The kernel also finds interfaces by alternative names, but lists their addresses under the first name. An address
    // that was added under an alternative name would never be found in the list.
    let name = index_to_name(&socket, index)?;
    if name == interface {
        Ok(index)
    } else {
        Err(io::Error::other(format!("{interface} is another name of {name}; only that one can be used here")))
    }
}

/// The first name of an interface that has this name, be it the first name or an alternative one; `None` if there is no
/// such interface. The kernel lists interfaces and addresses under first names alone.
#[must_use]
pub fn first_name_of(interface: &str) -> Option<String> {
    let socket = socket::open(SocketFlags::empty()).ok()?;
    index_to_name(&socket, name_to_index(&socket, interface).ok()?).ok()
}

/// The message that asks the kernel to add the address.
fn added(wanted: &LocalAddress, index: u32) -> AddressMessage {
    let mut message = named(wanted, index);
    message.attributes.push(AddressAttribute::Protocol(OUR_MARK));
    match wanted.address {
        IpAddr::V4(_) => {
            let label = format!("{}:vip", wanted.interface);
            if label.len() <= LONGEST_LABEL {
                message.attributes.push(AddressAttribute::Label(label));
            }
        }
        // Nodad: duplicate address detection would block the address for over a second and would find nothing, since a
        // VPC decides by its own tables where an address leads. Noprefixroute: no route is needed, because the address
        // itself suffices. A preferred lifetime of 0 ("deprecated"): the address serves clients that connect to it, but
        // is not chosen as the source of the node's own connections (RFC 6724, rule 3), which would break when the
        // address moves. A /32 needs no such lifetime: the interface's first address comes before it in the kernel's
        // choice of source.
        IpAddr::V6(_) => {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Noprefixroute));
            let mut lifetimes = CacheInfo::default();
            lifetimes.ifa_preferred = 0;
            lifetimes.ifa_valid = u32::MAX;
            message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
        }
    }
    message
}

/// A message with the address and its prefix length, and nothing else.
fn named(entry: &LocalAddress, index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(entry.address);
    message.header.prefix_len = entry.prefix;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(entry.address), AddressAttribute::Address(entry.address)];
    message
}

fn failed(doing: &str, error: &io::Error) -> KernelError {
    // A receive timeout of the socket gives this error.
    if error.kind() == io::ErrorKind::WouldBlock {
        return KernelError::NoAnswer { doing: doing.to_owned(), after: PATIENCE };
    }
    KernelError::Kernel { doing: doing.to_owned(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_cannot_end_connections_is_named_with_the_option_that_it_lacks() {
        let refused = io::Error::from(Errno::OPNOTSUPP);
        let told = not_reset("reset the connections of 20.0.0.50", &refused).to_string();
        assert!(told.contains("CONFIG_INET_DIAG_DESTROY"), "{told}");
        let forbidden = io::Error::from(Errno::PERM);
        assert_eq!(not_reset("reset", &forbidden), KernelError::NotPermitted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kernel_that_hangs_is_not_waited_for_and_what_queued_up_behind_it_is_dropped() {
        let kernel = Netlink::new().unwrap();
        let (release, released) = mpsc::channel::<()>();
        let hanging = kernel.ask("hang".to_owned(), move |_| released.recv().map_err(|_| unreachable!()));
        assert_eq!(hanging.await, Err(KernelError::NoAnswer { doing: "hang".to_owned(), after: PATIENCE }));

        let (told, tell) = mpsc::channel();
        let behind = kernel.ask("queue".to_owned(), move |_| {
            told.send("carried out after all").unwrap();
            Ok(())
        });
        assert!(matches!(behind.await, Err(KernelError::NoAnswer { .. })));

        tokio::time::resume();
        release.send(()).unwrap();
        assert_eq!(kernel.ask("work again".to_owned(), |_| Ok(7)).await, Ok(7));
        assert!(tell.recv().is_err(), "nobody waited for it any more");
    }
}
