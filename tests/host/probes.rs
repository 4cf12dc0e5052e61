//! Probes through a real kernel: who answers, from which address, and who stays silent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;
use vipkeeper::probe::ask::{PacketWay, ProbeReply, ask};
use vipkeeper::probe::packet::{ProbeAnswer, ProbeQuestion, QUESTION_BYTES};
use vipkeeper::probe::{Post, ProbesWanted, serve};
use vipkeeper::problem::ProblemReason;
use vipkeeper::wake::{self, Parts};

use super::namespace::{INTERFACE, Network, PEER, in_namespace};

const PORT: u16 = 9814;
/// The longest wait where an answer is due. An answer within one machine takes microseconds.
const SOON: Duration = Duration::from_secs(5);
/// The wait where no answer may come.
const SILENCE: Duration = Duration::from_millis(100);

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

/// A daemon's side of probes: answers on these addresses, for these clients' addresses.
fn answer(answered: &[(&str, &[&str])]) -> (Post, Parts) {
    let (wakes, _) = wake::channel();
    let (post, parts) = (Post::waking(wakes.clone()), Parts::default());
    tokio::spawn(serve(post.clone(), parts.voice(ProblemReason::Probe, wakes)));
    post.want(Some(wanted(answered)));
    (post, parts)
}

fn wanted(answered: &[(&str, &[&str])]) -> ProbesWanted {
    let names = |names: &[&str]| names.iter().map(|name| ip(name)).collect::<BTreeSet<_>>();
    let answered = answered.iter().map(|(at, asked)| (ip(at), names(asked))).collect::<BTreeMap<_, _>>();
    let instance = "i-0123456789abcdef0".parse().unwrap();
    ProbesWanted { instance, port: PORT, interval: Duration::from_secs(1), asked: BTreeSet::new(), answered }
}

/// Asks at an address until it is answered: the sockets are opened a moment after they were wanted.
async fn answered_by(address: &str) -> ProbeReply {
    let asked = async {
        loop {
            if let Ok(Some(reply)) = ask(SocketAddr::new(ip(address), PORT), SILENCE).await {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, asked).await.unwrap()
}

/// Sends bytes from an address, and gives what comes back within this time.
async fn send(from: &str, to: &str, bytes: &[u8], within: Duration) -> Option<(Vec<u8>, SocketAddr)> {
    let socket = UdpSocket::bind((ip(from), 0)).await.unwrap();
    socket.send_to(bytes, (ip(to), PORT)).await.unwrap();
    let mut answer = [0; 1500];
    let (length, source) = timeout(within, socket.recv_from(&mut answer)).await.ok()?.ok()?;
    Some((answer[..length].to_vec(), source))
}

fn question(asked: &str) -> Vec<u8> {
    ProbeQuestion { nonce: 7, asked: ip(asked) }.encode().to_vec()
}

async fn with_addresses(network: &Network, addresses: &[&str]) {
    for address in addresses {
        network.add(INTERFACE, ip(address), if ip(address).is_ipv4() { 32 } else { 128 }).await;
    }
}

#[test]
fn the_answer_comes_from_the_asked_address_and_no_other_address_answers() {
    in_namespace(async |network| {
        with_addresses(&network, &["20.0.0.50", "10.0.0.9", "10.0.0.1"]).await;
        let _daemon = answer(&[("20.0.0.50", &["20.0.0.50"])]);
        let reply = answered_by("20.0.0.50").await;
        assert_eq!((reply.instance.as_str(), reply.way), ("i-0123456789abcdef0", PacketWay::Inside));

        let (bytes, source) = send("10.0.0.1", "20.0.0.50", &question("20.0.0.50"), SOON).await.unwrap();
        assert_eq!(source, SocketAddr::new(ip("20.0.0.50"), PORT));
        assert_eq!(ProbeAnswer::decode(&bytes).unwrap().nonce, 7);
        assert!(bytes.len() < QUESTION_BYTES);
        for other in ["10.0.0.9", "127.0.0.1"] {
            assert_eq!(send("10.0.0.1", other, &question("20.0.0.50"), SILENCE).await, None, "{other}");
        }
    });
}

#[test]
fn an_elastic_ip_is_answered_at_its_private_address() {
    in_namespace(async |network| {
        with_addresses(&network, &["10.0.0.9", "10.0.0.1"]).await;
        let (post, _) = answer(&[("10.0.0.9", &["10.0.0.9", "203.0.113.10"])]);
        answered_by("10.0.0.9").await;
        let asked = async |name, within| send("10.0.0.1", "10.0.0.9", &question(name), within).await.is_some();
        assert!(asked("203.0.113.10", SOON).await && asked("10.0.0.9", SOON).await);
        assert!(!asked("203.0.113.11", SILENCE).await, "another's Elastic IP");
        assert!(post.arrivals().is_empty());
    });
}

#[test]
fn an_address_that_comes_later_is_answered_then_and_ipv6_like_ipv4() {
    in_namespace(async |network| {
        let _daemon = answer(&[("20.0.0.50", &["20.0.0.50"]), ("2001:db8::50", &["2001:db8::50"])]);
        tokio::time::sleep(SILENCE).await;
        with_addresses(&network, &["20.0.0.50", "2001:db8::50"]).await;
        for address in ["20.0.0.50", "2001:db8::50"] {
            assert_eq!(answered_by(address).await.way, PacketWay::Inside, "{address}");
        }
        let (bytes, source) = send("::1", "2001:db8::50", &question("2001:db8::50"), SOON).await.unwrap();
        assert_eq!((source.ip(), ProbeAnswer::decode(&bytes).is_some()), (ip("2001:db8::50"), true));
    });
}

#[test]
fn whatever_is_no_question_gets_no_answer() {
    in_namespace(async |network| {
        with_addresses(&network, &["20.0.0.50", "10.0.0.1"]).await;
        let _daemon = answer(&[("20.0.0.50", &["20.0.0.50"])]);
        answered_by("20.0.0.50").await;
        let good = question("20.0.0.50");
        let altered = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        let answer = ProbeAnswer { nonce: 7, instance: "i-0123456789abcdef0".parse().unwrap() };
        for bytes in [
            vec![],
            vec![0],
            good[..QUESTION_BYTES - 1].to_vec(),
            [good.clone(), vec![0]].concat(),
            [good.clone(), vec![0; 1300]].concat(),
            altered(0, b'V'),
            altered(4, 2),
            altered(5, 2),
            altered(QUESTION_BYTES - 1, 1),
            question("20.0.0.51"),
            vec![0xff; QUESTION_BYTES],
            answer.encode(),
        ] {
            assert_eq!(send("10.0.0.1", "20.0.0.50", &bytes, SILENCE).await, None, "{bytes:?}");
        }
        assert!(send("10.0.0.1", "20.0.0.50", &good, SOON).await.is_some(), "it still answers");
    });
}

#[test]
fn a_flood_gets_few_answers_and_takes_none_from_another_source() {
    in_namespace(async |network| {
        with_addresses(&network, &["20.0.0.50", "10.0.0.1"]).await;
        network.add(PEER, ip("10.0.0.2"), 32).await;
        let _daemon = answer(&[("20.0.0.50", &["20.0.0.50"])]);
        answered_by("20.0.0.50").await;
        let flood = UdpSocket::bind((ip("10.0.0.1"), 0)).await.unwrap();
        let question = question("20.0.0.50");
        let (began, mut sent, mut answers) = (std::time::Instant::now(), 0, 0);
        while began.elapsed() < Duration::from_secs(1) {
            for _ in 0..50 {
                flood.send_to(&question, (ip("20.0.0.50"), PORT)).await.unwrap();
                sent += 1;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            let mut bytes = [0; 100];
            while flood.try_recv(&mut bytes).is_ok() {
                answers += 1;
            }
        }
        // A burst of 40, and then 20 a second.
        let most = 41 + 20 * (1 + began.elapsed().as_secs());
        assert!(sent > 1000 && (20..=most).contains(&answers), "{answers} answers to {sent} questions");
        // The kernel drops questions while the socket's queue is full of the flood's.
        let other = async { while send("10.0.0.2", "20.0.0.50", &question, SILENCE).await.is_none() {} };
        assert!(timeout(SOON, other).await.is_ok(), "another source is answered");
    });
}

#[test]
fn a_port_in_use_is_a_problem_that_ends_once_the_port_is_free() {
    in_namespace(async |network| {
        with_addresses(&network, &["20.0.0.50"]).await;
        let other = UdpSocket::bind((ip("20.0.0.50"), PORT)).await.unwrap();
        let (_post, parts) = answer(&[("20.0.0.50", &["20.0.0.50"])]);
        tokio::time::sleep(SILENCE).await;
        let problems = parts.changes();
        let [(ProblemReason::Probe, Err(message))] = &problems[..] else { panic!("{problems:?}") };
        assert!(message.contains("UDP port 20.0.0.50:9814: ") && message.contains("in use"), "{message}");
        drop(other);
        answered_by("20.0.0.50").await;
        assert_eq!(parts.changes(), [(ProblemReason::Probe, Ok(()))]);
    });
}

#[test]
fn an_address_that_cannot_be_bound_holds_up_no_other_one() {
    in_namespace(async |network| {
        with_addresses(&network, &["20.0.0.50", "20.0.0.51"]).await;
        let other = UdpSocket::bind((ip("20.0.0.50"), PORT)).await.unwrap();
        let _answering = answer(&[("20.0.0.50", &["20.0.0.50"]), ("20.0.0.51", &["20.0.0.51"])]);
        answered_by("20.0.0.51").await;
        let before = inode_of("33000014:2656");
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(inode_of("33000014:2656"), before, "it is the same socket after two tries of the other address");
        drop(other);
        answered_by("20.0.0.50").await;
        assert_eq!(inode_of("33000014:2656"), before);
    });
}

/// The inode of the UDP socket at this address, as the kernel writes it: 33000014:2656 is 20.0.0.51, port 9814.
fn inode_of(local: &str) -> String {
    let sockets = fs::read_to_string("/proc/thread-self/net/udp").unwrap();
    let mut lines = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.find(|fields| fields[1] == local).map_or_else(|| panic!("{sockets}"), |fields| fields[9].to_owned())
}

#[test]
fn other_wishes_open_other_sockets_and_none_close_all() {
    in_namespace(async |network| {
        with_addresses(&network, &["20.0.0.50", "20.0.0.51"]).await;
        let (post, _) = answer(&[("20.0.0.50", &["20.0.0.50"])]);
        answered_by("20.0.0.50").await;
        post.want(Some(wanted(&[("20.0.0.51", &["20.0.0.51"])])));
        answered_by("20.0.0.51").await;
        let refused = async |address| ask(SocketAddr::new(ip(address), PORT), SILENCE).await.is_err();
        assert!(refused("20.0.0.50").await);
        post.want(None);
        tokio::time::sleep(SILENCE).await;
        assert!(refused("20.0.0.51").await);
    });
}

#[test]
fn a_question_from_another_machine_measures_the_way_after_an_accepted_change() {
    in_namespace(async |network| {
        with_addresses(&network, &["20.0.0.50", "10.0.0.1"]).await;
        let (post, _) = answer(&[]);
        let asked = BTreeSet::from([ip("20.0.0.50")]);
        post.want(Some(ProbesWanted { asked, ..wanted(&[("20.0.0.50", &["20.0.0.50"])]) }));
        post.accepted(ip("20.0.0.50"), Duration::ZERO);
        // The daemon's own questions never leave the machine, and say nothing about the way.
        let heard = async {
            while post.heard(ip("20.0.0.50")).is_none_or(|heard| heard.reply.is_none()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, heard).await.unwrap();
        assert_eq!(post.heard(ip("20.0.0.50")).unwrap().reply.unwrap().way, PacketWay::Inside);
        assert_eq!(post.arrivals(), []);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(send("10.0.0.1", "20.0.0.50", &question("20.0.0.50"), SOON).await.is_some());
        let arrivals = post.arrivals();
        let [(vip, after)] = arrivals[..] else { panic!("{arrivals:?}") };
        assert!(vip == ip("20.0.0.50") && (Duration::from_millis(500)..SOON).contains(&after), "{after:?}");
    });
}
