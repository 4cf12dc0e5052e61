//! The newest events of a node, in the order in which they happened. A failure that repeats is one event that counts.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize, Serializer};

use super::stamp::Stamp;
use super::{EventKind, MOST, NodeEvent};

/// The newest events, the oldest first: at most [`MOST`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "VecDeque<NodeEvent>")]
pub struct EventList {
    events: VecDeque<NodeEvent>,
}

impl From<VecDeque<NodeEvent>> for EventList {
    /// Keeps the newest [`MOST`] events.
    fn from(mut events: VecDeque<NodeEvent>) -> Self {
        let surplus = events.len().saturating_sub(MOST);
        events.drain(..surplus);
        Self { events }
    }
}

impl Serialize for EventList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.events.serialize(serializer)
    }
}

/// The fate of an event that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The event is the newest one now.
    New,
    /// An event of the list happened again.
    Counted,
    /// The event says that a failure is over, and there was none.
    NoNews,
}

impl EventList {
    /// A list without events.
    #[must_use]
    pub const fn new() -> Self {
        Self { events: VecDeque::new() }
    }

    /// Keeps the event, unless it repeats an earlier one or says nothing.
    pub fn keep(&mut self, mut event: NodeEvent, now: Stamp) -> Kept {
        event.shorten();
        let newest_of_topic = self.events.iter().rev().find(|earlier| event.is_of_topic(earlier));
        let kind = event.kind.known();
        let is_in_failure =
            newest_of_topic.is_some_and(|earlier| earlier.kind.known().is_some_and(EventKind::is_failure));
        if kind.is_some_and(EventKind::only_ends_a_failure) && !is_in_failure {
            return Kept::NoNews;
        }
        if let Some(earlier) = self.repeated(&event) {
            earlier.times = earlier.times.saturating_add(1);
            earlier.last_ms = Some(now.wall_ms);
            (earlier.what, earlier.why, earlier.took_ms) = (event.what, event.why, event.took_ms);
            return Kept::Counted;
        }
        event.number = self.events.back().map_or(1, |last| last.number.saturating_add(1));
        (event.at_ms, event.boot_ms) = (now.wall_ms, now.boot_ms);
        self.events.push_back(event);
        if self.events.len() > MOST {
            self.events.pop_front();
        }
        Kept::New
    }

    /// The earlier event that this one repeats. Two ways of failing may take turns, so all failures of the topic are
    /// compared, back to the last event that was none.
    fn repeated(&mut self, event: &NodeEvent) -> Option<&mut NodeEvent> {
        let is_failure = |event: &NodeEvent| event.kind.known().is_some_and(EventKind::is_failure);
        let mut of_topic = self.events.iter_mut().rev().filter(|earlier| event.is_of_topic(earlier));
        let newest = of_topic.next()?;
        if event.repeats(newest) {
            return Some(newest);
        }
        if !is_failure(event) || !is_failure(newest) {
            return None;
        }
        of_topic.take_while(|earlier| is_failure(earlier)).find(|earlier| event.repeats(earlier))
    }

    /// Puts in front what an earlier list of the same node has besides. Numbers begin anew when the node boots, so the
    /// time of an event belongs to its identity.
    pub fn add_earlier(&mut self, earlier: Self) {
        let known: BTreeSet<_> = self.events.iter().map(|event| (event.number, event.at_ms)).collect();
        for event in earlier.events.into_iter().rev().filter(|event| !known.contains(&(event.number, event.at_ms))) {
            self.events.push_front(event);
        }
    }

    /// The events, the oldest first.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &NodeEvent> + ExactSizeIterator {
        self.events.iter()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
