//! Everything that reads text of others gets damaged text, for some seconds: it may refuse it, and it may not panic, hang,
//! or take the half for the whole.
//!
//! The damage is made from a seed. A text that brings a new kind of result becomes material for further damage.
//!
//! | variable | |
//! |---|---|
//! | `VIPKEEPER_FUZZ_SECONDS=3600` | how long each test goes on; 12 without it |
//! | `VIPKEEPER_FUZZ_SEED=7` | another seed than the usual 1 |
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, wait, and look at its environment"
)]

#[cfg(feature = "aws")]
mod answers;
mod claims;
mod damage;
mod documents;
mod files;
#[path = "../report/statuses.rs"]
#[expect(dead_code, reason = "the tests of the page need the others")]
mod statuses;
mod watchdog;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use damage::Damage;
use vipkeeper::shown;

/// The damaged texts of one test, and what came of them.
struct Fuzz {
    name: &'static str,
    damage: Damage,
    results: HashSet<String>,
    began: Instant,
    inputs: u64,
}

impl Fuzz {
    /// Starts with good texts. `words` are pieces that the reader knows.
    fn new(name: &'static str, good: &[&[u8]], words: &'static [&'static str]) -> Self {
        let seed = variable("VIPKEEPER_FUZZ_SEED").unwrap_or(1);
        let damage = Damage::new(seed, good, words);
        Self { name, damage, results: HashSet::new(), began: Instant::now(), inputs: 0 }
    }

    /// The next damaged text. `None` when the time is over.
    fn next(&mut self) -> Option<Input> {
        let lasts = Duration::from_secs(variable("VIPKEEPER_FUZZ_SECONDS").unwrap_or(12));
        if self.began.elapsed() > lasts {
            let Self { name, inputs, results, .. } = self;
            println!("{name}: {inputs} damaged texts, {} kinds of results", results.len());
            return None;
        }
        self.inputs += 1;
        Some(Input { bytes: self.damage.next(), number: self.inputs })
    }

    /// Keeps the text as material if nothing like its result was there before.
    fn came_of_it(&mut self, input: &Input, result: &str) {
        if self.results.insert(kind(result)) {
            self.damage.keep(input.bytes.clone());
        }
    }
}

/// One damaged text. It is printed if the test fails while it is in use.
struct Input {
    bytes: Vec<u8>,
    number: u64,
}

impl Drop for Input {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the damaged text {}: {}", self.number, self.bytes.escape_ascii());
        }
    }
}

/// The sentence without numbers, up to its first quoted part: what is quoted comes from the text itself.
fn kind(result: &str) -> String {
    let words = result.split(['"', '\'', '`']).next().unwrap_or_default();
    words.chars().filter(|c| c.is_ascii() && !c.is_ascii_digit()).collect()
}

/// A message that people read fits on one line and commands no terminal.
fn assert_fit_to_be_shown(message: &str) {
    let shown = shown::line(message);
    assert!(!shown.contains(shown::is_unsafe) && shown.len() < 5 * shown::LONGEST, "{shown:?}");
    assert!(!shown.trim().is_empty(), "an error without a word");
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}
