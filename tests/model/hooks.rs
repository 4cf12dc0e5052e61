//! Pgpool's part: its hooks run, the daemon notices them, and its watchdog loses the quorum.

use super::{Next, State, Step, World};
use crate::local::{Event, File};

impl World {
    pub(super) fn hooks(&mut self, state: &State, node: u8, all: &mut Vec<Next>) {
        if state.ups < self.setup.ups && (state.up_lately < 1 + u8::from(self.setup.timely) || !self.setup.spaced) {
            // If no two terms can be equal, all nodes are alike. So only the first node becomes the first leader.
            if state.ups == 0 && node > 0 && self.setup.spaced && self.setup.skew_ms == [0; 3] {
                return;
            }
            let mut next = state.clone();
            next.ups += 1;
            next.up_lately = 1 + u8::from(self.setup.timely);
            self.event(&mut next, node, Event::File(File::Leader(state.ups + 1)), None);
            all.push(Next { step: Step::Up(node, state.ups + 1), state: next, violation: None });
        }
        if matches!(self.locals.get(state.locals[usize::from(node)]).file, File::Leader(_)) {
            let mut next = state.clone();
            self.event(&mut next, node, Event::File(File::Standby), None);
            all.push(Next { step: Step::Down(node), state: next, violation: None });
        }
        if self.locals.get(state.locals[usize::from(node)]).has_news() {
            let mut next = state.clone();
            let violation = self.event(&mut next, node, Event::Notice, None);
            all.push(Next { step: Step::Notice(node), state: next, violation });
        }
    }

    /// The watchdog of a node that keeps the binding says that it has lost the quorum. No rule reads that word while the
    /// node leads.
    pub(super) fn watchdog(&mut self, state: &State, node: u8, all: &mut Vec<Next>) {
        let local = state.locals[usize::from(node)];
        if state.quorums_lost < self.setup.quorums_lost && self.locals.keeps(local).is_some() {
            let mut next = state.clone();
            next.quorums_lost += 1;
            let violation = self.event(&mut next, node, Event::QuorumLost, None);
            all.push(Next { step: Step::QuorumLost(node), state: next, violation });
        }
    }
}
