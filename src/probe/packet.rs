//! The question and the answer, as bytes. Pure.
//!
//! Both begin with four fixed bytes, the version and the kind. All numbers are in network byte order.
//!
//! | | question, 64 bytes | answer, 17 to 48 bytes |
//! |---|---|---|
//! | 0 to 3 | `vkpr` | `vkpr` |
//! | 4 | version, 1 | version, 1 |
//! | 5 | kind, 1 | kind, 2 |
//! | 6 to 13 | a random number | the question's number |
//! | 14 on | the asked address in 16 bytes, IPv4 as `::ffff:a.b.c.d`, then zeros | the instance id as text |
//!
//! The answer is always shorter than the question, so a forged sender gains nothing. An answer is no question, so two
//! programs cannot answer one another for ever.

use std::net::IpAddr;

use crate::ids::InstanceId;

/// The length of a question in bytes. A question of another length is none.
pub const QUESTION_BYTES: usize = 64;

const HEADER: [u8; 5] = *b"vkpr\x01";
const QUESTION: u8 = 1;
const ANSWER: u8 = 2;
/// The length of header, kind and number in bytes.
const START_BYTES: usize = HEADER.len() + 1 + 8;
/// The longest instance id in bytes: the prefix and 32 digits.
const ID_BYTES: usize = 34;

const _: () = assert!(START_BYTES + ID_BYTES < QUESTION_BYTES, "an answer must not be longer than its question");
const _: () = assert!(START_BYTES + 16 <= QUESTION_BYTES);

/// Asks who answers at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeQuestion {
    /// The number by which the asker knows the answer to this question.
    pub nonce: u64,
    /// The address that was asked. An Elastic IP arrives at a private address, which alone would not tell.
    pub asked: IpAddr,
}

/// Says who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// The number of the question.
    pub nonce: u64,
    pub instance: InstanceId,
}

impl ProbeQuestion {
    #[must_use]
    pub fn encode(&self) -> [u8; QUESTION_BYTES] {
        let asked = match self.asked {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let mut bytes = [0; QUESTION_BYTES];
        let text = start(QUESTION, self.nonce).into_iter().chain(asked.octets());
        bytes.iter_mut().zip(text).for_each(|(byte, value)| *byte = value);
        bytes
    }

    /// Reads a question. `None` for everything that this version would not have sent.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let whole: &[u8; QUESTION_BYTES] = bytes.try_into().ok()?;
        let (nonce, rest) = read_start(QUESTION, whole)?;
        let (asked, padding) = rest.split_first_chunk::<16>()?;
        let asked = IpAddr::from(*asked).to_canonical();
        padding.iter().all(|byte| *byte == 0).then_some(Self { nonce, asked })
    }
}

impl ProbeAnswer {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        start(ANSWER, self.nonce).into_iter().chain(self.instance.as_str().bytes()).collect()
    }

    /// Reads an answer. `None` for everything that no daemon would have sent.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (nonce, id) = read_start(ANSWER, bytes)?;
        let instance = std::str::from_utf8(id).ok()?.parse().ok()?;
        Some(Self { nonce, instance })
    }
}

fn start(kind: u8, nonce: u64) -> impl IntoIterator<Item = u8> {
    HEADER.into_iter().chain([kind]).chain(nonce.to_be_bytes())
}

/// The number of a packet of this kind, and the bytes after it.
fn read_start(kind: u8, bytes: &[u8]) -> Option<(u64, &[u8])> {
    let rest = bytes.strip_prefix(&HEADER)?.strip_prefix(&[kind])?;
    let (nonce, rest) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*nonce), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = IpAddr> {
        let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
        prop_oneof![v4, any::<[u8; 16]>().prop_map(|octets| IpAddr::from(octets).to_canonical())]
    }

    proptest! {
        #[test]
        fn a_question_is_read_as_it_was_written(nonce: u64, asked in address()) {
            let question = ProbeQuestion { nonce, asked };
            prop_assert_eq!(ProbeQuestion::decode(&question.encode()), Some(question));
            prop_assert_eq!(ProbeAnswer::decode(&question.encode()), None);
        }

        #[test]
        fn an_answer_is_read_as_it_was_written_and_shorter_than_any_question(nonce: u64, id in "i-[0-9a-f]{1,32}") {
            let answer = ProbeAnswer { nonce, instance: id.parse().unwrap() };
            let bytes = answer.encode();
            prop_assert!(bytes.len() < QUESTION_BYTES);
            prop_assert_eq!(ProbeQuestion::decode(&bytes), None);
            prop_assert_eq!(ProbeAnswer::decode(&bytes), Some(answer));
        }

        /// Whatever is read as a question is what this version would have sent, byte for byte.
        #[test]
        fn altered_bytes_are_read_as_nothing_or_as_what_they_are(
            nonce: u64, asked in address(), at in 0..QUESTION_BYTES, to: u8, length in 0..2 * QUESTION_BYTES,
        ) {
            let mut bytes = ProbeQuestion { nonce, asked }.encode().to_vec();
            bytes[at] = to;
            bytes.resize(length, 0);
            if let Some(question) = ProbeQuestion::decode(&bytes) {
                // An IPv4 address has one form alone.
                prop_assert_eq!(&question.encode()[..], &bytes[..]);
            }
            let _ = ProbeAnswer::decode(&bytes);
        }
    }
}
