//! What keeps failing is said less and less often, so that a night without permission does not drown the log.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// After the first time; the last one repeats.
const SAY_AGAIN_AFTER: [Duration; 4] =
    [Duration::from_mins(1), Duration::from_mins(5), Duration::from_mins(15), Duration::from_hours(1)];

/// Everything that is failing now: for each topic, each way in which it fails.
#[derive(Debug, Default)]
pub struct Repeats {
    topics: BTreeMap<String, Topic>,
}

#[derive(Debug)]
struct Topic {
    failures: u32,
    since: Instant,
    /// When each way of failing was last said, and how often.
    said: BTreeMap<String, (Instant, usize)>,
}

/// How often something failed, as the end of a sentence; empty for once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    failures: u32,
    over: Duration,
    is_past: bool,
}

impl Times {
    /// It had not failed before.
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
    /// Counts a failure of the topic, in the way that the signature names. `Some` when it is to be said.
    pub fn failed(&mut self, topic: &str, signature: &str, now: Instant) -> Option<Times> {
        if !self.topics.contains_key(topic) {
            let fresh = Topic { failures: 0, since: now, said: BTreeMap::new() };
            self.topics.insert(topic.to_owned(), fresh);
        }
        let topic = self.topics.get_mut(topic)?;
        topic.failures = topic.failures.saturating_add(1);
        let times = Times { failures: topic.failures, over: now - topic.since, is_past: false };
        if let Some((at, count)) = topic.said.get_mut(signature) {
            let pause = SAY_AGAIN_AFTER[(*count - 1).min(SAY_AGAIN_AFTER.len() - 1)];
            if now - *at < pause {
                return None;
            }
            *at = now;
            *count += 1;
        } else {
            topic.said.insert(signature.to_owned(), (now, 1));
        }
        Some(times)
    }

    /// The topic works. `Some` when it had failed.
    pub fn over(&mut self, topic: &str, now: Instant) -> Option<Times> {
        let topic = self.topics.remove(topic)?;
        Some(Times { failures: topic.failures, over: now - topic.since, is_past: true })
    }

    /// What failed of these topics counts for nothing any more.
    pub fn forget(&mut self, which: impl Fn(&str) -> bool) {
        self.topics.retain(|topic, _| !which(topic));
    }
}
