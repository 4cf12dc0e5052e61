//! The VPC's resolver, as the second address of a VPC is: every name is EC2's, at the address that the asking node reaches
//! EC2 by. It can fall silent.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::machine::Machine;

/// The name of EC2's endpoint.
pub const EC2_NAME: &str = "ec2.eu-central-1.amazonaws.com";
const PORT: u16 = 53;
const A_LOOK: Duration = Duration::from_millis(100);

// RFC 1035: the length of a message's head; type and class of a question.
const HEAD: usize = 12;
const TYPE_A_CLASS_IN: [u8; 4] = [0, 1, 0, 1];

pub struct Resolver {
    is_silent: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Resolver {
    /// Answers in this machine until dropped. Each node is at the address that follows its EC2's.
    pub fn start(router: &Machine) -> Self {
        let socket = router.inside(|| UdpSocket::bind(("0.0.0.0", PORT)).unwrap());
        socket.set_read_timeout(Some(A_LOOK)).unwrap();
        let (is_silent, is_over) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (silent, over) = (Arc::clone(&is_silent), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let mut question = [0; 512];
                let (length, from) = match socket.recv_from(&mut question) {
                    Ok(received) => received,
                    Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => continue,
                    Err(error) => panic!("the resolver: {error}"),
                };
                let SocketAddr::V4(node) = from else { continue };
                let ec2 = Ipv4Addr::from(u32::from(*node.ip()) - 1);
                if let Some(answer) = answer(&question[..length], ec2)
                    && !silent.load(Ordering::Relaxed)
                {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        Self { is_silent, is_over, thread: Some(thread) }
    }

    /// From now on nobody is answered.
    pub fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
    }

    pub fn answer_again(&self) {
        self.is_silent.store(false, Ordering::Relaxed);
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The address, to whoever asks for an IPv4 address; to others, that there is nothing of that type.
fn answer(question: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let name = question.get(HEAD..)?.iter().position(|byte| *byte == 0)?;
    let end = HEAD + name + 1 + TYPE_A_CLASS_IN.len();
    let asked = question.get(HEAD..end)?;
    let is_for_a = asked.ends_with(&TYPE_A_CLASS_IN);
    let mut answer = question[..2].to_vec();
    // An answer by a server that recurses; one question, and one answer or none.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_for_a), 0, 0, 0, 0]);
    answer.extend(asked);
    if is_for_a {
        // The name of the question; valid for a minute, as EC2's are; four bytes.
        answer.extend([0xc0, 12]);
        answer.extend(TYPE_A_CLASS_IN);
        answer.extend([0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
