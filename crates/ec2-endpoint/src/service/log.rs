//! Every call, with what the service made of it.

use std::{collections::VecDeque, time::Duration};

use serde::Serialize;

use crate::Operation;

use super::Caller;

/// The code of a call that succeeded.
pub const OK: &str = "OK";
/// The code of a call that never reached the service.
pub const LOST: &str = "Lost";

/// Calls that are kept; older ones are forgotten.
const CAPACITY: usize = 100_000;

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Counts all calls from 0.
    pub sequence: u64,
    /// When the call started, since the service's start.
    #[serde(with = "super::fault::duration")]
    pub at: Duration,
    pub caller: Caller,
    pub operation: &'static str,
    pub write: bool,
    /// `OK`, an error code, or `Lost` if the service never saw the call; none while it is on its way. A lost *answer* is
    /// the caller's misfortune: the code is what the service did.
    pub code: Option<String>,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

impl Mark {
    /// The place of the call with this sequence number.
    pub fn at(sequence: u64) -> Self {
        Self(sequence)
    }
}

/// The calls, oldest first.
#[derive(Default)]
pub struct CallLog {
    calls: VecDeque<Call>,
    next: u64,
}

impl CallLog {
    pub(super) fn begin(&mut self, at: Duration, caller: &Caller, operation: &Operation) -> u64 {
        let sequence = self.next;
        self.next += 1;
        if self.calls.len() == CAPACITY {
            self.calls.pop_front();
        }
        let (operation, write) = (operation.name(), operation.is_write());
        self.calls.push_back(Call { sequence, at, caller: caller.clone(), operation, write, code: None });
        sequence
    }

    pub(super) fn end(&mut self, sequence: u64, code: String) {
        let first = self.next - self.calls.len() as u64;
        let index = sequence.checked_sub(first).and_then(|index| usize::try_from(index).ok());
        if let Some(call) = index.and_then(|index| self.calls.get_mut(index)) {
            call.code = Some(code);
        }
    }

    pub fn mark(&self) -> Mark {
        Mark(self.next)
    }

    pub fn since(&self, mark: Mark) -> impl Iterator<Item = &Call> {
        let from = self.calls.partition_point(|call| call.sequence < mark.0);
        self.calls.range(from..)
    }

    /// All calls that are kept.
    pub fn all(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter()
    }

    pub(super) fn clear(&mut self) {
        self.calls.clear();
    }
}
