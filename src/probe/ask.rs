//! Asks once who answers at an address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use super::packet::{ProbeAnswer, ProbeQuestion, QUESTION_BYTES};
use crate::ids::InstanceId;

/// The way that a question took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketWay {
    /// The asked address is one of this machine's own, so no packet left the machine.
    Inside,
    /// Through the network.
    Outside,
}

/// An answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeReply {
    pub instance: InstanceId,
    pub took: Duration,
    pub way: PacketWay,
}

/// Asks at `to`, and waits for the answer for at most `patience`. `None` if nobody answers.
///
/// # Errors
/// When the kernel knows no way to the address, or the machine there says that nobody listens on the port.
pub async fn ask(to: SocketAddr, patience: Duration) -> io::Result<Option<ProbeReply>> {
    let from = match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    // A new socket has a new random port. A connected one takes packets from the asked address alone.
    let socket = UdpSocket::bind((from, 0)).await?;
    socket.connect(to).await?;
    let way = if socket.local_addr()?.ip() == to.ip() { PacketWay::Inside } else { PacketWay::Outside };
    let question = ProbeQuestion { nonce: fastrand::u64(..), asked: to.ip() };
    let began = Instant::now();
    socket.send(&question.encode()).await?;
    let answered = async {
        // One byte more than the longest packet: a longer one is cut, and is no answer.
        let mut bytes = [0; QUESTION_BYTES + 1];
        loop {
            let length = socket.recv(&mut bytes).await?;
            let answer = bytes.get(..length).and_then(ProbeAnswer::decode);
            if let Some(answer) = answer.filter(|answer| answer.nonce == question.nonce) {
                return Ok(ProbeReply { instance: answer.instance, took: began.elapsed(), way });
            }
        }
    };
    timeout(patience, answered).await.map_or(Ok(None), |answered| answered.map(Some))
}
