//! The end of a run, when the nodes only pass in turn: where the binding ends, and whether it stays there.

use super::{Cloud, State, Status, World};
use crate::hash::fingerprint;
use crate::local::{Event, File, GIVEN_UP, Pointer, letter};
use crate::rules::{Pointing, Rightful};

/// The time between two passes of each node at the end, in seconds. It is a standby's usual interval.
const ROUND_S: u8 = 24;
const ROUNDS: u32 = 10;

impl World {
    /// Checks the end of a run from this state: the nodes only pass in turn from here on. The binding must end where it
    /// belongs and stay there.
    pub fn comes_to_rest(&mut self, state: &State) -> Result<(), String> {
        let mut quiet = state.clone();
        (quiet.ups, quiet.drifts, quiet.faults, quiet.restarts) = (0, 0, 0, 0);
        if !self.setup.timely {
            // Only in a timely world does a take so soon after an `up` count as another one.
            quiet.up_lately = 0;
        }
        (quiet.late, quiet.past) = ([None; 2], [None; 3]);
        for node in self.nodes() {
            self.finish(&mut quiet, node)?;
        }
        let orders: &[&[u8]] = match self.setup.nodes {
            2 => &[&[0, 1], &[1, 0]],
            _ => &[&[0, 1, 2], &[0, 2, 1], &[1, 0, 2], &[1, 2, 0], &[2, 0, 1], &[2, 1, 0]],
        };
        let print = fingerprint(&quiet);
        if let Some(known) = self.rests.get(&print) {
            return known.clone().map(drop);
        }
        let mut worst = self.goes_on_at_once(&quiet).map(|()| 0);
        for order in orders {
            let passes = self.rest(&quiet, order);
            worst = worst.and_then(|worst: u32| passes.map(|passes| worst.max(passes)));
        }
        if let Ok(passes) = worst {
            self.worst_passes = self.worst_passes.max(passes);
        }
        self.rests.insert(print, worst.clone());
        worst.map(drop)
    }

    fn rest(&mut self, state: &State, order: &[u8]) -> Result<u32, String> {
        let mut state = state.clone();
        let mut passes = 0;
        let mut trace = Vec::new();
        for round in 1..=ROUNDS {
            let before = state.clone();
            for node in order {
                let wrote = self.whole_pass(&mut state, *node)?;
                if wrote {
                    passes = round;
                    if round + 2 > ROUNDS {
                        return Err(format!("the nodes never come to rest:{}", shown(&trace)));
                    }
                }
            }
            trace.push(state.cloud);
            self.pass(&mut state, ROUND_S);
            // Every later round begins as this one began, and writes nothing either.
            if passes < round && state == before {
                break;
            }
        }
        if let Some(wrong) = self.wrong(&state) {
            return Err(format!("{wrong}:{}", shown(&trace)));
        }
        if self.setup.rightful == Rightful::Newest {
            self.older_goes_on(&state, order)?;
        }
        if passes > self.setup.passes {
            return Err(format!("it takes {passes} passes of each node:{}", shown(&trace)));
        }
        Ok(passes)
    }

    /// Checks that an older leadership goes on without an `up` when the newest leadership ends. Its node must have the
    /// binding after its first look.
    fn older_goes_on(&mut self, state: &State, order: &[u8]) -> Result<(), String> {
        let mut live: Vec<_> = self.live(state).collect();
        live.sort_by_key(|(_, k)| std::cmp::Reverse(*k));
        let [(newer, _), (older, _), ..] = live[..] else { return Ok(()) };
        let mut state = state.clone();
        for node in order {
            self.whole_pass(&mut state, *node)?;
        }
        self.follows(state, newer, older)
    }

    /// Checks that an older leadership goes on without an `up` if the newest one ends now, whether the older one's node has
    /// looked since the newest one took the binding, has looked just now, or will look only afterwards.
    fn goes_on_at_once(&mut self, quiet: &State) -> Result<(), String> {
        let mut live: Vec<_> = self.live(quiet).collect();
        live.sort_by_key(|(_, k)| std::cmp::Reverse(*k));
        let ([(newer, newest), (older, k), ..], Rightful::Newest) = (&live[..], self.setup.rightful) else {
            return Ok(());
        };
        let (newer, newest, older, k) = (*newer, *newest, *older, *k);
        let mut state = quiet.clone();
        self.whole_pass(&mut state, newer)?;
        self.whole_pass(&mut state, newer)?;
        let State { cloud, locals, .. } = &state;
        let has_it = matches!(cloud.pointer, Pointer::At(node, _) if node == newer);
        let on_record = |node: u8, k: u8| cloud.tag_claims[usize::from(node)] == k;
        let own = cloud.tags[usize::from(older)];
        // The tag of a node that is gone keeps an older leadership away.
        let outdated = |node: u8| {
            let tag = cloud.tags[usize::from(node)];
            node == newer || tag.is_none_or(|tag| tag & GIVEN_UP != 0) || tag <= own
        };
        let serves = self.locals.serves(locals[usize::from(older)], k);
        let rightful =
            has_it && on_record(newer, newest) && on_record(older, k) && self.nodes().all(outdated) && serves;
        if !rightful || self.writes_before_it_looks(&state, older)? {
            return Ok(());
        }
        self.follows(state, newer, older)
    }

    /// Whether the node writes to the binding on the word of its last look. EC2 refuses such a write if the binding has
    /// moved since, and the next write then waits for its next try.
    fn writes_before_it_looks(&mut self, state: &State, node: u8) -> Result<bool, String> {
        let mut state = state.clone();
        self.event(&mut state, node, Event::BeginLook, None).map_or(Ok(()), Err)?;
        Ok(state.slots[usize::from(node)][0].is_some())
    }

    /// Checks that the node of an older leadership has the binding after its first look once the newer one is over.
    fn follows(&mut self, mut state: State, newer: u8, older: u8) -> Result<(), String> {
        self.event(&mut state, newer, Event::File(File::Standby), None).map_or(Ok(()), Err)?;
        self.event(&mut state, newer, Event::Notice, None).map_or(Ok(()), Err)?;
        self.finish(&mut state, newer)?;
        self.whole_pass(&mut state, older)?;
        match state.cloud.pointer {
            Pointer::At(node, _) if node == older => Ok(()),
            _ => Err(format!(
                "{} is down, and {} does not follow at once: {}",
                letter(newer),
                letter(older),
                state.cloud
            )),
        }
    }

    /// One node looks, makes the writes that it wants, and gets their answers. Returns whether the node wrote to the
    /// binding or changed the record.
    fn whole_pass(&mut self, state: &mut State, node: u8) -> Result<bool, String> {
        let before = (state.cloud, self.writes);
        self.event(state, node, Event::BeginLook, None).map_or(Ok(()), Err)?;
        self.finish(state, node)?;
        Ok((state.cloud, self.writes) != before)
    }

    /// Everything that is under way on a node comes to its end.
    fn finish(&mut self, state: &mut State, node: u8) -> Result<(), String> {
        let index = usize::from(node);
        let mut refused = [false; 2];
        for _ in 0..8 {
            for (slot, refused) in refused.iter_mut().enumerate() {
                if *refused {
                    // A refused write waits for its next try.
                    state.slots[index][slot] = None;
                }
                while let Some(mut write) = state.slots[index][slot]
                    && matches!(write.status, Status::Sent | Status::Checked)
                {
                    self.execute(state, node, &mut write).map_or(Ok(()), Err)?;
                    state.slots[index][slot] = Some(write);
                }
                if let Some(write) = state.slots[index][slot] {
                    *refused |= write.status == Status::Refused;
                    self.reply(state, node, slot).map_or(Ok(()), Err)?;
                }
            }
            if self.locals.get(state.locals[index]).look_age().is_some() {
                let cloud = state.cloud;
                self.answer(state, node, &cloud).map_or(Ok(()), Err)?;
            }
            let waiting = |slot: usize| state.slots[index][slot].is_none() || refused[slot];
            if waiting(0) && waiting(1) {
                state.slots[index] = [None; 2];
                state.past = [None; 3];
                return Ok(());
            }
        }
        Err(format!("{} writes again and again without a pause", letter(node)))
    }

    /// The reason why the binding ended at the wrong place. `None` if the place is right.
    fn wrong(&self, state: &State) -> Option<String> {
        let at = match state.cloud.pointer {
            Pointer::At(node, _) => Some(node),
            Pointer::Absent | Pointer::Foreign => None,
        };
        let rightful = match self.setup.rightful {
            Rightful::Newest => self.live(state).max_by_key(|(_, k)| *k).map(|(node, _)| node),
            Rightful::OnRecord => self
                .live(state)
                .max_by_key(|(node, _)| {
                    let tag = state.cloud.tags[usize::from(*node)];
                    (tag.filter(|tag| tag & GIVEN_UP == 0), *node)
                })
                .map(|(node, _)| node),
            Rightful::OnlyLeader => {
                let unowned =
                    at.is_some_and(|node| self.locals.get(state.locals[usize::from(node)]).file == File::None);
                let mut live = self.live(state);
                match (live.next(), live.next()) {
                    (Some((node, _)), None) if state.cloud.pointer != Pointer::Foreign && !unowned => Some(node),
                    _ => return None,
                }
            }
        };
        match (rightful, at) {
            (Some(leader), at) if at != Some(leader) => {
                Some(format!("{} leads, and the binding does not end at it", letter(leader)))
            }
            (None, Some(node)) if self.setup.pointing != Pointing::Route => {
                let said = self.locals.get(state.locals[usize::from(node)]).file != File::None;
                said.then(|| format!("nobody leads, and the binding stays at {}", letter(node)))
            }
            _ => None,
        }
    }
}

/// The states of EC2 after each round.
fn shown(trace: &[Cloud]) -> String {
    trace.iter().map(|cloud| format!(" {cloud}")).collect()
}
