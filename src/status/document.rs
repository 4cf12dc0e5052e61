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
