//! Our addresses in a real kernel.

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use vipkeeper::machine::kernel::{Kernel, KernelError, LocalAddress};
use vipkeeper::machine::netlink::{Netlink, OUR_MARK, may_change_addresses};
use vipkeeper::wake::{self, Concern, Wake, watch_addresses};

use super::namespace::{INTERFACE, Network, PEER, in_namespace};
use super::watchers::{drain, quiet, woken};

const IPV4: &str = "10.99.0.10";
const IPV6: &str = "2001:db8::10";

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn local(interface: &str, address: &str) -> LocalAddress {
    LocalAddress::single(interface, ip(address))
}

/// Both addresses on their interfaces.
async fn listed(kernel: &Netlink) -> BTreeSet<LocalAddress> {
    let view = kernel.look(&[ip(IPV4), ip(IPV6)].into()).await.unwrap();
    view.of.into_values().flat_map(|presence| presence.entries.into_keys()).collect()
}

fn has(message: &AddressMessage, attribute: &AddressAttribute) -> bool {
    message.attributes.contains(attribute)
}

#[test]
fn adding_twice_and_removing_twice_succeeds() {
    in_namespace(async |_| {
        let kernel = Netlink::new().unwrap();
        for address in [local(INTERFACE, IPV4), local(INTERFACE, IPV6)] {
            for _ in 0..2 {
                kernel.add(&address).await.unwrap();
                assert_eq!(listed(&kernel).await, BTreeSet::from([address.clone()]));
            }
            for _ in 0..2 {
                kernel.remove(&address).await.unwrap();
                assert_eq!(listed(&kernel).await, BTreeSet::new());
            }
        }
    });
}

#[test]
fn one_address_on_two_interfaces_is_two() {
    in_namespace(async |_| {
        let kernel = Netlink::new().unwrap();
        let (here, there) = (local(INTERFACE, IPV4), local(PEER, IPV4));
        kernel.add(&here).await.unwrap();
        kernel.add(&there).await.unwrap();
        assert_eq!(listed(&kernel).await, BTreeSet::from([here.clone(), there.clone()]));
        kernel.remove(&here).await.unwrap();
        assert_eq!(listed(&kernel).await, BTreeSet::from([there]));
    });
}

#[test]
fn our_addresses_carry_our_mark_and_a_label_where_it_fits() {
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        operator.create("elevenchars", "twelve-chars").await;
        for (interface, label) in [("elevenchars", "elevenchars:vip"), ("twelve-chars", "twelve-chars")] {
            kernel.add(&local(interface, IPV4)).await.unwrap();
            let index = operator.index(interface).await;
            let entries = operator.entries(ip(IPV4)).await;
            let entry = entries.iter().find(|entry| entry.header.index == index).unwrap();
            assert!(has(entry, &AddressAttribute::Label(label.to_owned())), "{entry:?}");
            assert!(has(entry, &AddressAttribute::Protocol(OUR_MARK)), "{entry:?}");
            kernel.remove(&local(interface, IPV4)).await.unwrap();
        }
        assert_eq!(listed(&kernel).await, BTreeSet::new());
    });
}

#[test]
fn an_ipv6_address_serves_at_once_but_is_never_preferred_as_a_source() {
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        kernel.add(&local(INTERFACE, IPV6)).await.unwrap();
        TcpListener::bind((ip(IPV6), 0)).expect("no duplicate address detection keeps it from being used");
        let [entry] = &operator.entries(ip(IPV6)).await[..] else { panic!("one entry") };
        assert_eq!(entry.header.family, AddressFamily::Inet6);
        assert!(has(entry, &AddressAttribute::Protocol(OUR_MARK)), "{entry:?}");
        let flags = entry.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        });
        let expected = AddressFlags::Permanent | AddressFlags::Deprecated | AddressFlags::Nodad;
        assert!(flags.unwrap().contains(expected), "{flags:?}");
    });
}

#[test]
fn an_address_that_somebody_else_added_is_removed_too() {
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        let address = local(INTERFACE, IPV4);
        operator.add(INTERFACE, ip(IPV4), 32).await;
        assert_eq!(listed(&kernel).await, BTreeSet::from([address.clone()]));
        kernel.add(&address).await.unwrap();
        kernel.remove(&address).await.unwrap();
        assert_eq!(listed(&kernel).await, BTreeSet::new());
    });
}

#[test]
fn without_the_capability_changes_are_not_permitted_but_looking_and_watching_is() {
    in_namespace(async |operator: Network| {
        operator.add(INTERFACE, ip(IPV4), 32).await;
        let (wakes, mut woken_by) = wake::channel();
        assert!(may_change_addresses().unwrap());
        let mut mine = capabilities(None).unwrap();
        mine.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, mine).unwrap();
        assert!(!may_change_addresses().unwrap());

        let kernel = Netlink::new().unwrap();
        let address = local(INTERFACE, IPV4);
        assert_eq!(kernel.add(&address).await, Err(KernelError::NotPermitted));
        assert_eq!(kernel.remove(&address).await, Err(KernelError::NotPermitted));
        assert_eq!(listed(&kernel).await, BTreeSet::from([address]));

        let _watcher = watch_addresses(concern(), wakes);
        mine.effective.insert(CapabilitySet::NET_ADMIN);
        set_capabilities(None, mine).unwrap();
        operator.remove(ip(IPV4)).await;
        assert_eq!(woken(&mut woken_by).await, Wake::LocalAddress);
    });
}

#[test]
fn an_interface_that_is_not_there_is_named_and_one_that_comes_back_is_found() {
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        for name in ["none-such", "a-name-that-is-too-long", ""] {
            let nowhere = local(name, IPV4);
            let error = KernelError::NoInterface(name.to_owned());
            assert_eq!(kernel.add(&nowhere).await, Err(error.clone()));
            assert_eq!(kernel.remove(&nowhere).await, Err(error));
        }
        let address = local(INTERFACE, IPV4);
        kernel.add(&address).await.unwrap();
        let index = operator.index(INTERFACE).await;
        operator.delete(INTERFACE).await;
        assert_eq!(listed(&kernel).await, BTreeSet::new());
        assert_eq!(kernel.add(&address).await, Err(KernelError::NoInterface(INTERFACE.to_owned())));

        operator.create(INTERFACE, PEER).await;
        assert_ne!(operator.index(INTERFACE).await, index);
        kernel.add(&address).await.unwrap();
        assert_eq!(listed(&kernel).await, BTreeSet::from([address]));
    });
}

#[test]
fn an_alternative_name_is_refused_with_the_first_one() {
    in_namespace(async |operator: Network| {
        operator.alias(INTERFACE, "enp0s5").await;
        let error = Netlink::new().unwrap().add(&local("enp0s5", IPV4)).await.unwrap_err();
        assert!(error.to_string().contains("enp0s5 is another name of eth0"), "{error}");
        assert_eq!(operator.entries(ip(IPV4)).await, []);
    });
}

/// The two addresses, and no interface: what the kernel tells of a new one trickles in for a while.
fn concern() -> Concern {
    Concern { addresses: [ip(IPV4), ip(IPV6)].into(), interfaces: BTreeSet::new() }
}

#[test]
fn a_removal_by_hand_wakes_within_milliseconds() {
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        let (wakes, mut woken_by) = wake::channel();
        let _watcher = watch_addresses(concern(), wakes);
        for address in [IPV4, IPV6] {
            let mut delays = Vec::new();
            for _ in 0..100 {
                kernel.add(&local(INTERFACE, address)).await.unwrap();
                let [entry] = &operator.entries(ip(address)).await[..] else { panic!("one entry") };
                let before = Instant::now();
                operator.remove_entry(entry.clone()).await;
                assert_eq!(woken(&mut woken_by).await, Wake::LocalAddress);
                delays.push(before.elapsed());
            }
            delays.sort();
            let (median, worst) = (delays[delays.len() / 2], delays[delays.len() - 1]);
            println!("{address} removed by hand: awake after {median:?} (median of 100), {worst:?} (worst)");
            assert!(median < Duration::from_millis(50), "{median:?}");
        }
    });
}

#[test]
fn our_own_adding_and_others_addresses_wake_nobody() {
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        let (wakes, mut woken_by) = wake::channel();
        let _watcher = watch_addresses(concern(), wakes);
        kernel.add(&local(INTERFACE, IPV4)).await.unwrap();
        kernel.add(&local(INTERFACE, IPV6)).await.unwrap();
        operator.churn(5).await;
        quiet(&mut woken_by).await;

        operator.add(PEER, ip(IPV4), 32).await;
        assert_eq!(woken(&mut woken_by).await, Wake::LocalAddress, "a VIP on the wrong interface");
    });
}

#[test]
fn a_link_that_goes_down_takes_the_ipv6_address_along_and_wakes() {
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        let (ipv4, ipv6) = (local(INTERFACE, IPV4), local(INTERFACE, IPV6));
        kernel.add(&ipv4).await.unwrap();
        kernel.add(&ipv6).await.unwrap();
        let (wakes, mut woken_by) = wake::channel();
        let _watcher = watch_addresses(concern(), wakes);
        operator.down(INTERFACE).await;
        assert_eq!(woken(&mut woken_by).await, Wake::LocalAddress);
        assert_eq!(listed(&kernel).await, BTreeSet::from([ipv4.clone()]));
        operator.up(INTERFACE).await;
        kernel.add(&ipv6).await.unwrap();
        assert_eq!(listed(&kernel).await, BTreeSet::from([ipv4, ipv6]));
    });
}

#[test]
fn an_interface_that_goes_or_comes_wakes() {
    in_namespace(async |operator: Network| {
        let (wakes, mut woken_by) = wake::channel();
        let watched = Concern { addresses: BTreeSet::new(), interfaces: [INTERFACE.to_owned()].into() };
        let _watcher = watch_addresses(watched, wakes);
        drain(&mut woken_by).await;
        for come in [false, true] {
            if come {
                operator.create(INTERFACE, PEER).await;
            } else {
                operator.delete(INTERFACE).await;
            }
            assert_eq!(woken(&mut woken_by).await, Wake::LocalAddress);
            drain(&mut woken_by).await;
        }
    });
}

#[test]
fn messages_that_the_kernel_had_to_throw_away_wake() {
    in_namespace(async |_| {
        let (wakes, mut woken_by) = wake::channel();
        let _watcher = watch_addresses(concern(), wakes);
        // This thread waits, so that nobody reads what the other one sets off: none of it concerns us, and only the
        // loss itself can wake.
        let flood = thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { Network::here().churn(2000).await });
        });
        flood.join().unwrap();
        assert_eq!(woken(&mut woken_by).await, Wake::LocalAddress);
        quiet(&mut woken_by).await;
    });
}
