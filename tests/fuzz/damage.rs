//! Damaged texts, from good ones and a seed.

use std::ops::Range;

use fastrand::Rng;

/// The longest text that is made, in bytes. Longer texts only cost time.
const LONGEST: usize = 16 << 10;
/// So many texts are kept as material.
const MATERIAL: usize = 2000;

/// Pieces that readers of any format may stumble over.
const PIECES: [&str; 24] = [
    "",
    "\0",
    "\n",
    "\r\n",
    "\u{feff}",
    "\u{202e}",
    "\u{1b}[2J",
    "é",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "-1",
    "0",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775808",
    "1e400",
    "null",
    "true",
    "&#x0;",
    "&lt;&bogus;",
    "<![CDATA[",
    "../../etc/shadow",
];
/// Numbers at the ends of what fits, in the place of another.
const NUMBERS: [&str; 8] = [
    "0",
    "-1",
    "65536",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "18446744073709551615",
    "99999999999999999999",
];
/// Pairs that are nested, because a reader that calls itself may run out of stack.
const PAIRS: [(&str, &str); 4] = [("[", "]"), ("{\"a\":", "}"), ("<item>", "</item>"), ("{ a = ", " }")];

pub struct Damage {
    rng: Rng,
    material: Vec<Vec<u8>>,
    words: &'static [&'static str],
}

impl Damage {
    pub fn new(seed: u64, good: &[&[u8]], words: &'static [&'static str]) -> Self {
        let material = good.iter().map(|text| text.to_vec()).collect();
        Self { rng: Rng::with_seed(seed), material, words }
    }

    /// Adds a text to the material.
    pub fn keep(&mut self, text: Vec<u8>) {
        if self.material.len() < MATERIAL {
            self.material.push(text);
        }
    }

    /// One of the texts with one to six damages.
    pub fn next(&mut self) -> Vec<u8> {
        let mut text = self.any().to_vec();
        for _ in 0..self.rng.u32(1..=6) {
            self.once(&mut text);
        }
        text.truncate(LONGEST);
        text
    }

    /// Any whole number below `end`.
    #[cfg(feature = "aws")]
    pub fn below(&mut self, end: usize) -> usize {
        self.rng.usize(..end)
    }

    fn any(&mut self) -> &[u8] {
        let index = self.rng.usize(..self.material.len());
        &self.material[index]
    }

    fn once(&mut self, text: &mut Vec<u8>) {
        let (from, to) = self.range(text.len());
        match self.rng.u8(..10) {
            0 => text.truncate(from),
            1 => _ = text.drain(from..to),
            2 if !text.is_empty() => {
                let at = from.min(text.len() - 1);
                text[at] ^= 1 << self.rng.u8(..8);
            }
            3 => text.insert(from, self.rng.u8(..)),
            4 => insert(text, from, self.piece().as_bytes()),
            5 => _ = text.splice(from..to, self.piece().bytes()),
            6 => {
                let twice = text[from..to].to_vec();
                insert(text, from, &twice);
            }
            7 => {
                let other = self.any().to_vec();
                let (start, end) = self.range(other.len());
                insert(text, from, &other[start..end]);
            }
            8 => {
                let digits = digits(text, from);
                _ = text.splice(digits, self.rng.choice(NUMBERS).unwrap_or_default().bytes());
            }
            _ => {
                let (open, close) = self.rng.choice(PAIRS).unwrap_or_default();
                let depth = 1 << self.rng.u32(..11);
                insert(text, to, close.repeat(depth).as_bytes());
                insert(text, from, open.repeat(depth).as_bytes());
            }
        }
    }

    fn piece(&mut self) -> &'static str {
        let known = self.rng.bool().then(|| self.rng.choice(self.words).copied()).flatten();
        known.or_else(|| self.rng.choice(PIECES)).unwrap_or_default()
    }

    /// A range within so many bytes, mostly a short one.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.rng.usize(..=length);
        let most = if self.rng.u8(..4) == 0 { length } else { (from + 16).min(length) };
        (from, self.rng.usize(from..=most.max(from)).min(length).max(from))
    }
}

/// The first number behind this place, or nothing at its end.
fn digits(text: &[u8], from: usize) -> Range<usize> {
    let behind = |at: usize, is_digit: bool| {
        text[at..].iter().position(|byte| byte.is_ascii_digit() == is_digit).map_or(text.len(), |length| at + length)
    };
    let start = behind(from, true);
    start..behind(start, false)
}

fn insert(text: &mut Vec<u8>, at: usize, piece: &[u8]) {
    text.splice(at..at, piece.iter().copied());
}
