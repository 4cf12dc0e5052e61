//! Everything that makes a kernel answer for an address: any form of it on any interface, and routes to the machine.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vipkeeper::machine::kernel::{EntryState, Kernel, LocalAddress, LocalView, Presence};
use vipkeeper::machine::netlink::Netlink;

use super::namespace::{INTERFACE, Network, PEER, in_namespace};

const IPV4: &str = "10.99.0.10";
const IPV6: &str = "2001:db8::10";

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn v4(address: &str) -> Ipv4Addr {
    address.parse().unwrap()
}

fn entry(interface: &str, address: &str, prefix: u8) -> LocalAddress {
    LocalAddress { interface: interface.to_owned(), address: ip(address), prefix }
}

async fn look(kernel: &Netlink, address: &str) -> Presence {
    let LocalView { mut of, .. } = kernel.look(&[ip(address)].into()).await.unwrap();
    of.remove(&ip(address)).expect("what was asked for is answered")
}

/// Removes the address as a standby does, and looks again.
async fn remove(kernel: &Netlink, presence: Presence, address: &str) -> Presence {
    for found in presence.entries.keys() {
        kernel.remove(found).await.unwrap();
    }
    look(kernel, address).await
}

#[test]
fn an_address_is_seen_and_removed_with_any_prefix_on_any_interface() {
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        for (address, prefixes) in [(IPV4, [8, 24, 32]), (IPV6, [48, 64, 128])] {
            for (interface, prefix) in [INTERFACE, PEER, "lo"].into_iter().zip(prefixes) {
                operator.add(interface, ip(address), prefix).await;
            }
            let wanted = [INTERFACE, PEER, "lo"].into_iter().zip(prefixes);
            let wanted: BTreeSet<_> = wanted.map(|(interface, prefix)| entry(interface, address, prefix)).collect();
            let presence = look(&kernel, address).await;
            assert_eq!(presence.entries.keys().cloned().collect::<BTreeSet<_>>(), wanted);
            assert_eq!(remove(&kernel, presence, address).await, Presence::default());
            assert_eq!(operator.entries(ip(address)).await, [], "nothing of it is left");
        }
    });
}

#[test]
fn an_address_of_an_interface_that_was_renamed_is_seen_and_removed() {
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        kernel.add(&LocalAddress::single(INTERFACE, ip(IPV4))).await.unwrap();
        operator.down(INTERFACE).await;
        operator.rename(INTERFACE, "ens5").await;
        operator.up("ens5").await;
        let presence = look(&kernel, IPV4).await;
        assert_eq!(presence.entries.keys().collect::<Vec<_>>(), [&entry("ens5", IPV4, 32)]);
        assert_eq!(remove(&kernel, presence, IPV4).await, Presence::default());
    });
}

#[test]
fn an_address_with_a_peer_is_seen_and_removed_and_the_peers_address_is_not_ours() {
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        operator.add_with_peer(INTERFACE, ip(IPV4), ip("10.99.7.1")).await;
        assert_eq!(look(&kernel, "10.99.7.1").await, Presence::default());
        let presence = look(&kernel, IPV4).await;
        assert_eq!(presence.entries.keys().collect::<Vec<_>>(), [&entry(INTERFACE, IPV4, 32)]);
        assert_eq!(remove(&kernel, presence, IPV4).await, Presence::default());
        assert_eq!(operator.entries(ip(IPV4)).await, []);
    });
}

#[test]
fn a_route_to_the_machine_itself_is_named_and_a_route_away_is_none() {
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        operator.add(INTERFACE, ip("10.99.0.9"), 24).await;
        assert_eq!(look(&kernel, IPV4).await, Presence::default(), "a neighbour's address is not this machine's");
        operator.route_locally(v4("10.99.0.0"), 16).await;
        let presence = look(&kernel, IPV4).await;
        assert_eq!(presence, Presence::default(), "the subnet of the interface is more specific");
        let wide = look(&kernel, "10.99.5.1").await;
        assert_eq!(wide.route.as_deref(), Some("local 10.99.0.0/16 dev lo"));
        operator.route_locally(v4(IPV4), 32).await;
        let presence = look(&kernel, IPV4).await;
        assert_eq!(presence.route.as_deref(), Some("local 10.99.0.10/32 dev lo"));
        assert!(presence.entries.is_empty());
        assert_eq!(look(&kernel, "203.0.113.1").await, Presence::default(), "there is no route");
        assert!(look(&kernel, "127.7.7.7").await.route.is_some(), "all of 127.0.0.0/8 is this machine");
    });
}

/// Why an address that has a subnet stays.
async fn kept(kernel: &Netlink, address: &str) -> Option<String> {
    let presence = look(kernel, address).await;
    let mut states = presence.entries.into_values();
    let (Some(EntryState { kept, .. }), None) = (states.next(), states.next()) else { panic!("one entry") };
    kept
}

#[test]
fn the_first_address_of_a_subnet_stays_where_the_others_would_go_along() {
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        let promotes = |value: &str| {
            let setting = format!("/proc/sys/net/ipv4/conf/{INTERFACE}/promote_secondaries");
            fs::write(setting, value)
        };
        if let Err(error) = promotes("0") {
            assert!(std::env::var("CI").is_err(), "CI must run this test: {error}");
            return eprintln!("skipped: the sysctl cannot be set ({error})");
        }
        fs::write("/proc/sys/net/ipv4/conf/all/promote_secondaries", "0").unwrap();
        let (own, other) = ("10.99.0.9", "10.98.0.9");
        operator.add(INTERFACE, ip(other), 24).await;
        operator.add(INTERFACE, ip(IPV4), 24).await;
        operator.add(INTERFACE, ip(own), 24).await;
        let why = "the kernel would remove 10.99.0.9/24 on eth0 along with it; set the sysctl \
                   net.ipv4.conf.eth0.promote_secondaries to 1";
        assert_eq!(kept(&kernel, IPV4).await.as_deref(), Some(why));
        assert_eq!(kept(&kernel, own).await, None, "the second of its subnet");
        assert_eq!(kept(&kernel, other).await, None, "alone in its subnet");

        promotes("1").unwrap();
        assert_eq!(kept(&kernel, IPV4).await, None);
        let presence = look(&kernel, IPV4).await;
        assert_eq!(remove(&kernel, presence, IPV4).await, Presence::default());
        assert_eq!(operator.entries(ip(own)).await.len(), 1, "the own address stays");
    });
}

#[test]
fn an_address_on_which_a_route_through_a_gateway_depends_stays() {
    const WHY: &str = "the kernel would remove the route default via 10.99.0.1 dev eth0 along with it";
    for (other, source) in [(None, None), (Some("10.99.0.9"), Some(v4(IPV4)))] {
        in_namespace(async move |operator: Network| {
            let kernel = Netlink::new().unwrap();
            for address in other.into_iter().chain([IPV4]) {
                operator.add(INTERFACE, ip(address), 24).await;
            }
            assert_eq!(kept(&kernel, IPV4).await, None, "nothing depends on it yet");
            operator.route_by_default(v4("10.99.0.1"), source).await;
            assert_eq!(kept(&kernel, IPV4).await.as_deref(), Some(WHY), "{other:?} {source:?}");
        });
    }
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        for address in ["10.99.0.9", IPV4] {
            operator.add(INTERFACE, ip(address), 24).await;
        }
        operator.route_by_default(v4("10.99.0.1"), None).await;
        assert_eq!(kept(&kernel, IPV4).await, None, "the route does with the other address");
        let presence = look(&kernel, IPV4).await;
        assert_eq!(remove(&kernel, presence, IPV4).await, Presence::default());
        assert_eq!(kept(&kernel, "10.99.0.9").await.as_deref(), Some(WHY), "now that is the only one");
    });
}

#[test]
fn an_address_that_duplicate_address_detection_keeps_silent_is_told_and_added_anew() {
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        // The other end of the wire has the address already. The detection lasts about a second.
        kernel.add(&LocalAddress::single(PEER, ip(IPV6))).await.unwrap();
        operator.add(INTERFACE, ip(IPV6), 128).await;
        let mine = entry(INTERFACE, IPV6, 128);
        let silent = async || look(&kernel, IPV6).await.entries[&mine].silent;
        assert!(silent().await, "the detection is under way");
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(silent().await, "the detection has failed");
        kernel.add(&mine).await.unwrap();
        assert!(!silent().await);
    });
}

#[test]
fn an_address_that_was_added_here_and_is_not_asked_for_any_more_is_left_behind() {
    in_namespace(async |operator: Network| {
        let kernel = Netlink::new().unwrap();
        let ours = [LocalAddress::single(INTERFACE, ip(IPV4)), LocalAddress::single(INTERFACE, ip(IPV6))];
        for address in &ours {
            kernel.add(address).await.unwrap();
        }
        operator.add(INTERFACE, ip("10.99.0.11"), 32).await;
        let view = kernel.look(&BTreeSet::new()).await.unwrap();
        assert_eq!((view.of.len(), view.left_behind), (0, BTreeSet::from(ours.clone())));
        let view = kernel.look(&[ip(IPV4)].into()).await.unwrap();
        assert_eq!(view.left_behind, BTreeSet::from([ours[1].clone()]));
    });
}
