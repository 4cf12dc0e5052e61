//! The parts around the loop, such as a watcher or the listener. Each part tells whether it works, from any task or
//! thread. A part that does not work tries again by itself. The loop only shows the part's problem for as long as it
//! lasts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::Wake;
use crate::problem::ProblemReason;

/// All parts of one daemon.
#[derive(Debug, Clone, Default)]
pub struct Parts(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    /// The problems, by the reason that names each. A part without an entry works.
    problems: BTreeMap<ProblemReason, String>,
    /// The reasons of the parts that changed since the loop looked last.
    changed: BTreeSet<ProblemReason>,
}

/// One part's way to tell whether it works, and to wake the loop.
#[derive(Debug, Clone)]
pub struct PartVoice {
    /// The reason that names the part's problem; `None` for a part that only wakes the loop.
    reason: Option<ProblemReason>,
    parts: Parts,
    pub(super) wakes: mpsc::Sender<Wake>,
}

impl Parts {
    /// The voice of a part whose problem has this reason.
    #[must_use]
    pub fn voice(&self, reason: ProblemReason, wakes: mpsc::Sender<Wake>) -> PartVoice {
        PartVoice { reason: Some(reason), parts: self.clone(), wakes }
    }

    /// The parts that changed since the last call: whether each works now, and why not.
    #[must_use]
    pub fn changes(&self) -> Vec<(ProblemReason, Result<(), String>)> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = std::mem::take(&mut told.changed);
        changed.into_iter().map(|reason| (reason, told.problems.get(&reason).cloned().map_or(Ok(()), Err))).collect()
    }
}

impl PartVoice {
    /// Tells the outcome of the part's last try. Does not wait. Wakes the loop if the outcome is new.
    pub fn tell(&self, outcome: Result<(), String>) {
        let Some(reason) = self.reason else { return };
        let mut told = self.parts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.problems.get(&reason) == outcome.as_ref().err() {
            return;
        }
        match outcome {
            Ok(()) => told.problems.remove(&reason),
            Err(message) => told.problems.insert(reason, message),
        };
        told.changed.insert(reason);
        drop(told);
        // If the channel is full, the loop is about to look anyway.
        let _ = self.wakes.try_send(Wake::Part);
    }
}

impl From<mpsc::Sender<Wake>> for PartVoice {
    /// The voice of a part that only wakes the loop: no loop reads whether the part works.
    fn from(wakes: mpsc::Sender<Wake>) -> Self {
        Self { reason: None, parts: Parts::default(), wakes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_once_and_so_is_its_end() {
        let (wakes, mut woken_by) = crate::wake::channel();
        let parts = Parts::default();
        let voice = parts.voice(ProblemReason::Listen, wakes);
        voice.tell(Ok(()));
        assert!(woken_by.try_recv().is_err() && parts.changes().is_empty(), "nobody asks after a part that works");
        for _ in 0..50 {
            voice.tell(Err("in use".to_owned()));
        }
        assert_eq!(woken_by.try_recv(), Ok(Wake::Part));
        assert!(woken_by.try_recv().is_err());
        assert_eq!(parts.changes(), [(ProblemReason::Listen, Err("in use".to_owned()))]);
        assert!(parts.changes().is_empty());
        voice.tell(Ok(()));
        assert_eq!(parts.changes(), [(ProblemReason::Listen, Ok(()))]);
    }
}
