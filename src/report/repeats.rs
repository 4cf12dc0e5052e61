//! A failure that repeats is logged less and less often, so that a night without permission does not fill the log.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::time::Instant;

/// The pauses after the first log line about a failure, before each further one. The last pause repeats.
const SAY_AGAIN_AFTER: [Duration; 4] =
    [Duration::from_mins(1), Duration::from_mins(5), Duration::from_mins(15), Duration::from_hours(1)];

/// How many ways of failing are told apart for one topic. All further ways count as one, because people and other
/// programs write the texts, and so there may be any number of ways.
const MOST_WAYS: usize = 8;
/// How many topics are remembered. A further topic takes the place of the oldest.
const MOST_TOPICS: usize = 1024;

/// Everything that is failing now: the topics, and for each topic the ways in which it fails.
#[derive(Debug, Default)]
pub struct Repeats {
    topics: BTreeMap<String, Topic>,
}

#[derive(Debug)]
struct Topic {
    failures: u32,
    since: Instant,
    /// When each way of failing was last logged, and how often. The key is the hash of the way's signature; `None`
    /// stands for all further ways.
    said: BTreeMap<Option<u64>, (Instant, usize)>,
}

/// How often something failed, as the end of a sentence. A single failure that still lasts gives an empty text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    failures: u32,
    over: Duration,
    is_past: bool,
}

impl Times {
    /// Whether these are the words of a topic's first failure.
    #[must_use]
    pub fn is_first(self) -> bool {
        self.failures == 1
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = humantime::format_duration(Duration::from_secs(self.over.as_secs()));
        match (self.is_past, self.failures) {
            (true, 0) | (false, 0 | 1) => Ok(()),
            (true, 1) => write!(f, ", after 1 failure"),
            (true, failures) => write!(f, ", after {failures} failures in {over}"),
            (false, failures) => write!(f, " (failure {failures} in {over})"),
        }
    }
}

impl Repeats {
    /// Counts a failure of the topic, in the way that the signature names. Gives `Some` when the failure is to be
    /// logged.
    pub fn failed(&mut self, topic: &str, signature: &str, now: Instant) -> Option<Times> {
        if !self.topics.contains_key(topic) {
            self.make_room();
            let fresh = Topic { failures: 0, since: now, said: BTreeMap::new() };
            self.topics.insert(topic.to_owned(), fresh);
        }
        let topic = self.topics.get_mut(topic)?;
        topic.failures = topic.failures.saturating_add(1);
        let times = Times { failures: topic.failures, over: now - topic.since, is_past: false };
        let mut way = Some(hash(signature));
        if topic.said.len() >= MOST_WAYS && !topic.said.contains_key(&way) {
            way = None;
        }
        if let Some((at, count)) = topic.said.get_mut(&way) {
            let pause = SAY_AGAIN_AFTER[(*count - 1).min(SAY_AGAIN_AFTER.len() - 1)];
            if now - *at < pause {
                return None;
            }
            *at = now;
            *count += 1;
        } else {
            topic.said.insert(way, (now, 1));
        }
        Some(times)
    }

    /// Ends the topic's failures, because the topic works. Gives `Some` when the topic had failed.
    pub fn over(&mut self, topic: &str, now: Instant) -> Option<Times> {
        let topic = self.topics.remove(topic)?;
        Some(Times { failures: topic.failures, over: now - topic.since, is_past: true })
    }

    fn make_room(&mut self) {
        if self.topics.len() >= MOST_TOPICS
            && let Some((oldest, _)) = self.topics.iter().min_by_key(|(_, topic)| topic.since)
        {
            let oldest = oldest.clone();
            self.topics.remove(&oldest);
        }
    }

    /// Forgets the failures of these topics.
    pub fn forget(&mut self, which: impl Fn(&str) -> bool) {
        self.topics.retain(|topic, _| !which(topic));
    }
}

/// The part of an error's text that tells one failure from another. Each answer of EC2 has a request id of its own, so
/// the request ids are left out.
pub fn gist(error: &str) -> String {
    let mut parts = error.split(" (request ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |gist, part| gist + part.split_once(')').map_or("", |(_, rest)| rest))
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_make_no_table_grow_and_no_log_long() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        let said = (0..300).filter(|n| repeats.failed("file", &format!("bad in way {n}"), now).is_some()).count();
        assert_eq!(said, MOST_WAYS + 1);
        assert_eq!(repeats.topics["file"].said.len(), MOST_WAYS + 1);
        let later = now + SAY_AGAIN_AFTER[0];
        assert!(repeats.failed("file", "bad in another way", later).is_some(), "the rest is said again as well");
        for n in 0..2 * MOST_TOPICS {
            repeats.failed(&format!("topic {n}"), "", later);
        }
        assert_eq!(repeats.topics.len(), MOST_TOPICS);
        assert!(!repeats.topics.contains_key("file"), "the oldest went");
    }
}
