//! The status of a node with its events, as one document: `/status`, and `vipkeeper status --json`.

use serde::{Deserialize, Serialize};

use super::Status;
use super::event::list::EventList;

/// A status and the events. A writer borrows both, so that neither is copied.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct StatusDocument<S = Status, E = EventList> {
    #[serde(flatten)]
    pub status: S,
    /// The events, the oldest first. Documents of older daemons have none.
    #[serde(default)]
    pub events: E,
}

/// The events of a status that is shown without any.
static NO_EVENTS: EventList = EventList::new();

impl<'a> From<&'a Status> for StatusDocument<&'a Status, &'a EventList> {
    fn from(status: &'a Status) -> Self {
        Self { status, events: &NO_EVENTS }
    }
}

impl<'a> From<&'a StatusDocument> for StatusDocument<&'a Status, &'a EventList> {
    fn from(document: &'a StatusDocument) -> Self {
        Self { status: &document.status, events: &document.events }
    }
}
