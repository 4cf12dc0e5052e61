//! Clients of an address that goes: they are told, and nobody else is.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;
use vipkeeper::machine::kernel::{Kernel, Left, LocalAddress, Reset};
use vipkeeper::machine::netlink::Netlink;

use super::namespace::{INTERFACE, Network, PEER, in_namespace};

/// The longest that a new interface may take until its IPv6 addresses can be reached.
const ROUTED_WITHIN: Duration = Duration::from_secs(5);

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn local(address: IpAddr) -> LocalAddress {
    LocalAddress::single(INTERFACE, address)
}

fn all(ended: u32) -> Reset {
    Reset { ended, left: None }
}

/// A client at an address of its own, which waits for an answer at most a second.
async fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let began = Instant::now();
    let stream = loop {
        let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        match socket.connect(to).await {
            // The kernel routes to a new IPv6 address only a moment after the interface came up.
            Err(error) if error.kind() == ErrorKind::NetworkUnreachable && began.elapsed() < ROUTED_WITHIN => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => break result.unwrap().into_std().unwrap(),
        }
    };
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    stream
}

/// A server on all addresses that accepts and says nothing, as one that was stopped by a signal.
fn check_that_only_clients_of_the_vip_are_told(listen: &'static str, vip: &'static str, other: &str, client: &str) {
    let (vip, other, client) = (ip(vip), ip(other), ip(client));
    in_namespace(async move |_| {
        let kernel = Netlink::new().unwrap();
        for address in [vip, other, client] {
            kernel.add(&local(address)).await.unwrap();
        }
        let listener = TcpListener::bind((ip(listen), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut left_behind = connect(client, (vip, port).into()).await;
        let (_silent, _) = listener.accept().unwrap();
        let mut untouched = connect(client, (other, port).into()).await;
        let (mut serving, _) = listener.accept().unwrap();

        let began = Instant::now();
        assert_eq!(kernel.reset_connections(vip, &BTreeSet::from([local(vip)])).await, all(1), "{listen} {vip}");
        kernel.remove(&local(vip)).await.unwrap();
        let told = left_behind.read(&mut [0]).unwrap_err();
        assert_eq!(told.kind(), ErrorKind::ConnectionReset, "{listen} {vip}");
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());

        serving.write_all(b"x").unwrap();
        assert_eq!(untouched.read(&mut [0]).unwrap(), 1, "the other address of the same port lives on");
        connect(client, (other, port).into()).await;
        assert_eq!(kernel.reset_connections(vip, &BTreeSet::from([local(vip)])).await, all(0));
    });
}

#[test]
fn a_client_of_an_ipv4_address_is_told_before_the_address_goes() {
    check_that_only_clients_of_the_vip_are_told("0.0.0.0", "10.99.0.10", "10.99.0.11", "10.99.0.1");
}

#[test]
fn a_client_of_an_ipv4_address_on_an_ipv6_socket_is_told_before_the_address_goes() {
    check_that_only_clients_of_the_vip_are_told("::", "10.99.0.10", "10.99.0.11", "10.99.0.1");
}

#[test]
fn a_client_of_an_ipv6_address_is_told_before_the_address_goes() {
    check_that_only_clients_of_the_vip_are_told("::", "2001:db8::10", "2001:db8::11", "2001:db8::1");
}

#[test]
fn hundreds_of_connections_are_reset_within_the_time_that_a_removal_may_wait() {
    const CLIENTS: u32 = 300;
    in_namespace(async |_| {
        let kernel = Netlink::new().unwrap();
        let (vip, client) = (ip("10.99.0.10"), ip("10.99.0.1"));
        kernel.add(&local(vip)).await.unwrap();
        kernel.add(&local(client)).await.unwrap();
        let listener = TcpListener::bind((vip, 0)).unwrap();
        let mut open = Vec::new();
        for _ in 0..CLIENTS {
            let stream = connect(client, listener.local_addr().unwrap()).await;
            open.push((stream, listener.accept().unwrap()));
        }
        let began = Instant::now();
        assert_eq!(kernel.reset_connections(vip, &BTreeSet::from([local(vip)])).await, all(CLIENTS));
        println!("{CLIENTS} connections were reset in {:?}", began.elapsed());
    });
}

/// The number of sockets with this local address that have sent a SYN and wait for its answer, from /proc/net/tcp.
fn waiting_for_an_answer(local_port: u16) -> usize {
    const SYN_SENT: &str = "02";
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let port = format!(":{local_port:04X}");
    table
        .lines()
        .filter(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some(SYN_SENT)
        })
        .count()
}

#[test]
fn only_connections_whose_peers_are_told_are_counted() {
    in_namespace(async |network: Network| {
        let kernel = Netlink::new().unwrap();
        let (vip, client) = (ip("10.99.0.10"), ip("10.99.0.1"));
        kernel.add(&local(vip)).await.unwrap();
        kernel.add(&local(client)).await.unwrap();
        // Nobody has the address 10.98.0.9, so the peer never answers.
        network.add(INTERFACE, ip("10.98.0.1"), 24).await;
        let calling = TcpSocket::new_v4().unwrap();
        calling.bind(SocketAddr::new(vip, 0)).unwrap();
        let port = calling.local_addr().unwrap().port();
        let unanswered = tokio::spawn(calling.connect(SocketAddr::new(ip("10.98.0.9"), 5432)));
        let listener = TcpListener::bind((vip, 0)).unwrap();
        let _told = connect(client, listener.local_addr().unwrap()).await;
        let _server = listener.accept().unwrap();
        assert_eq!(waiting_for_an_answer(port), 1);

        assert_eq!(kernel.reset_connections(vip, &BTreeSet::from([local(vip)])).await, all(1));
        assert_eq!(waiting_for_an_answer(port), 1, "its peer would not be told");
        unanswered.abort();
    });
}

#[test]
fn connections_of_an_address_that_the_node_keeps_in_another_place_live_on() {
    for (interface, prefix) in [(PEER, 32), (INTERFACE, 24)] {
        in_namespace(async move |network: Network| {
            let kernel = Netlink::new().unwrap();
            let (vip, client) = (ip("10.99.0.10"), ip("10.98.0.1"));
            kernel.add(&local(vip)).await.unwrap();
            kernel.add(&local(client)).await.unwrap();
            network.add(interface, vip, prefix).await;
            let listener = TcpListener::bind((vip, 0)).unwrap();
            let mut remote = connect(client, listener.local_addr().unwrap()).await;
            let (mut server, _) = listener.accept().unwrap();

            let kept = Left::Kept(format!("{vip}/{prefix} on {interface}"));
            assert_eq!(
                kernel.reset_connections(vip, &BTreeSet::from([local(vip)])).await,
                Reset { ended: 0, left: Some(kept) }
            );
            kernel.remove(&local(vip)).await.unwrap();
            server.write_all(b"x").unwrap();
            assert_eq!(remote.read(&mut [0]).unwrap(), 1, "the address is still there");
        });
    }
}
