//! Answers questions on the addresses of the VIPs.
//!
//! Each address has a socket of its own, bound to it with `IP_FREEBIND` (ip(7)), which works also before the address has
//! come to this node. So an answer comes from the address that was asked, and the kernel itself sees to it that no other
//! address of the node answers.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};

use super::allowance::Allowance;
use super::asker::keep_asking;
use super::packet::{ProbeAnswer, ProbeQuestion, QUESTION_BYTES};
use super::post::{Post, ProbesWanted};
use crate::ids::InstanceId;
use crate::wake::PartVoice;

/// The pause before a socket that could not be bound, or that broke, is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// After so many packets in a row that get no answer, the socket rests. The kernel drops what does not fit meanwhile, so
/// a flood costs little.
const REST_AFTER: u32 = 32;
const REST: Duration = Duration::from_millis(1);

/// Asks and answers as the loop wishes, for ever. The voice tells which address could not be bound; it is tried again each
/// second.
pub async fn serve(post: Post, voice: PartVoice) {
    let mut wishes = post.wishes();
    let (allowance, began) = (Mutex::new(Allowance::default()), Instant::now());
    loop {
        let wanted = wishes.borrow_and_update().clone();
        let work = async {
            match &wanted {
                Some(wanted) => {
                    ask_and_answer(wanted, &Work { post: &post, voice: &voice, allowance: &allowance, began }).await;
                }
                None => {
                    voice.tell(Ok(()));
                    pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = work => {}
            changed = wishes.changed() => if changed.is_err() { return },
        }
    }
}

/// The things that all sockets share.
#[derive(Clone, Copy)]
struct Work<'a> {
    post: &'a Post,
    voice: &'a PartVoice,
    allowance: &'a Mutex<Allowance>,
    /// The moment from which the allowance counts. Each socket may be a new one, and the allowance is not.
    began: Instant,
}

/// Asks and answers until the future is dropped. All sockets belong to the future, so that its end closes them.
async fn ask_and_answer(wanted: &ProbesWanted, work: &Work<'_>) {
    let asking = wanted
        .asked
        .iter()
        .map(|address| keep_asking(SocketAddr::new(*address, wanted.port), wanted.interval, work.post.clone()));
    tokio::join!(join_all(asking), keep_answering(wanted, work));
}

/// Answers on each address. An address that cannot be bound is tried again each second, and holds up no other one.
async fn keep_answering(wanted: &ProbesWanted, work: &Work<'_>) {
    let failures = Mutex::new(BTreeMap::new());
    let answering = wanted.answered.iter().map(|(address, names)| {
        let (at, failures) = (SocketAddr::new(*address, wanted.port), &failures);
        async move {
            loop {
                let bound = bound(at);
                work.voice.tell(outcome(failures, at, bound.as_ref().err()));
                if let Ok(socket) = bound {
                    let instance = wanted.instance.clone();
                    Answerer { socket, at: at.ip(), names, instance, work: *work }.answer().await;
                }
                sleep(AGAIN).await;
            }
        }
    });
    if wanted.answered.is_empty() {
        work.voice.tell(Ok(()));
    }
    join_all(answering).await;
    // Without an address there is nothing to do until other ones are wished for.
    pending::<()>().await;
}

/// The outcome of all addresses, after the last try of this one.
fn outcome(
    failures: &Mutex<BTreeMap<SocketAddr, String>>,
    at: SocketAddr,
    error: Option<&io::Error>,
) -> Result<(), String> {
    let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
    match error {
        Some(error) => failures.insert(at, format!("UDP port {at}: {error}")),
        None => failures.remove(&at),
    };
    if failures.is_empty() {
        return Ok(());
    }
    let all: Vec<_> = failures.values().map(String::as_str).collect();
    Err(format!("cannot answer probes, which is tried again each second: {}", all.join("; ")))
}

/// A socket at this address, whether or not the machine has the address now.
fn bound(at: SocketAddr) -> io::Result<UdpSocket> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    match at.ip() {
        IpAddr::V4(_) => sockopt::set_ip_freebind(&socket, true)?,
        IpAddr::V6(_) => sockopt::set_ipv6_freebind(&socket, true)?,
    }
    bind(&socket, &at)?;
    UdpSocket::from_std(socket.into())
}

/// One socket, and all that its answers need.
struct Answerer<'a> {
    socket: UdpSocket,
    at: IpAddr,
    /// The addresses that clients use for this one.
    names: &'a BTreeSet<IpAddr>,
    instance: InstanceId,
    work: Work<'a>,
}

impl Answerer<'_> {
    /// Answers until the socket breaks.
    async fn answer(self) -> io::Error {
        // One byte more than a question: a longer packet is cut, and is no question.
        let mut bytes = [0; QUESTION_BYTES + 1];
        let mut in_vain = 0;
        loop {
            let (length, from) = match self.socket.recv_from(&mut bytes).await {
                Ok(received) => received,
                Err(error) => return error,
            };
            let question = bytes.get(..length).and_then(ProbeQuestion::decode);
            match question.filter(|question| self.names.contains(&question.asked)) {
                Some(question) if self.may_answer(from.ip()) => {
                    in_vain = 0;
                    self.answer_to(question, from).await;
                }
                _ => in_vain += 1,
            }
            if in_vain >= REST_AFTER {
                in_vain = 0;
                sleep(REST).await;
            }
        }
    }

    fn may_answer(&self, source: IpAddr) -> bool {
        let now = self.work.began.elapsed();
        self.work.allowance.lock().unwrap_or_else(PoisonError::into_inner).take(source, now)
    }

    async fn answer_to(&self, question: ProbeQuestion, from: SocketAddr) {
        let answer = ProbeAnswer { nonce: question.nonce, instance: self.instance.clone() };
        // The sender may be forged, or gone: that is nobody's fault here.
        let _ = self.socket.send_to(&answer.encode(), from).await;
        // The kernel gives a question of this machine to its own address that very address as its sender.
        if from.ip() != self.at {
            self.work.post.reached(question.asked);
        }
    }
}
