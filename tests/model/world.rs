//! The model: nodes, EC2, hooks and mishaps, one step at a time, and the rules that must hold after each step.

use std::collections::HashMap;

use vipkeeper::action::Purpose;

use crate::hash::Fast;
use crate::local::{Event, File, Locals, NODES, Pointer, Tags, What, letter};
use crate::rules::{Mutant, Pointing, Rightful, Setup};

#[path = "hooks.rs"]
mod hooks;
#[path = "rest.rs"]
mod rest;
#[path = "show.rs"]
mod show;

/// The length of one step of time, in seconds: the shortest time after which no read may be stale and nothing may be
/// settling any more.
const TICK_S: u8 = 6;
const LONG_S: u8 = 66;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Status {
    Sent,
    /// The first half of a route's deletion is done: the route was read, and it points at the node that deletes it.
    Checked,
    Done(u8),
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Write {
    what: What,
    status: Status,
}

/// The state of EC2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Cloud {
    pointer: Pointer,
    tags: Tags,
    /// The leadership to which each tag belongs. Only the checks know it.
    tag_claims: [u8; NODES],
}

/// The state of the whole model at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    locals: [u32; NODES],
    /// The writes under way. Each node has at most one write for the binding and one for the record.
    slots: [[Option<Write>; 2]; NODES],
    /// Writes that may still arrive although their client gave up.
    late: [Option<(u8, Write)>; 2],
    cloud: Cloud,
    /// Earlier states of EC2 that a read may still show, each with the time since it ended.
    past: [Option<(Cloud, u8)>; 3],
    /// The leaderships that each node's daemon has seen on record, as bits.
    shown: [u8; NODES],
    /// The number of time steps for which the last `up` still counts as recent.
    up_lately: u8,
    ups: u8,
    drifts: u8,
    faults: u8,
    restarts: u8,
    quorums_lost: u8,
}

/// One step, as a trace shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Up(u8, u8),
    Down(u8),
    QuorumLost(u8),
    Notice(u8),
    BeginLook(u8),
    Answer(u8, Pointer, Tags, bool),
    LookFails(u8),
    Executed(u8, What),
    Replied(u8, What),
    Lost(u8, What),
    ReplyLost(u8, What),
    GaveUp(u8, What),
    Late(u8, What),
    Restart(u8),
    RestartWithout(u8),
    ByHand(Pointer),
    Pass(u8),
}

pub struct Next {
    pub step: Step,
    pub state: State,
    pub violation: Option<String>,
}

pub struct World {
    pub setup: Setup,
    pub locals: Locals,
    /// The number of passes that each state took to come to rest.
    rests: HashMap<u128, Result<u32, String>, Fast>,
    pub worst_passes: u32,
    /// The number of writes to the binding so far, with or without an effect.
    writes: u64,
    /// The number of times that a node deleted a route that had been replaced between the check and the deletion.
    pub deleted_another: u64,
}

impl World {
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            locals: Locals::new(setup),
            rests: HashMap::default(),
            worst_passes: 0,
            writes: 0,
            deleted_another: 0,
        }
    }

    pub fn start(&mut self) -> State {
        let locals = [0, 1, 2].map(|node| self.locals.fresh(node));
        State {
            locals,
            slots: [[None; 2]; NODES],
            late: [None; 2],
            cloud: Cloud { pointer: Pointer::Absent, tags: [None; NODES], tag_claims: [0; NODES] },
            past: [None; 3],
            shown: [0; NODES],
            up_lately: 0,
            ups: 0,
            drifts: 0,
            faults: 0,
            restarts: 0,
            quorums_lost: 0,
        }
    }

    fn nodes(&self) -> std::ops::Range<u8> {
        0..self.setup.nodes
    }

    /// All steps that are possible next, each with the state after it.
    pub fn successors(&mut self, state: &State) -> Vec<Next> {
        let mut all = Vec::new();
        for node in self.nodes() {
            self.hooks(state, node, &mut all);
            self.watchdog(state, node, &mut all);
            self.looks(state, node, &mut all);
            self.writes(state, node, &mut all);
            let idle = state.slots[usize::from(node)].iter().all(Option::is_none);
            if state.restarts < self.setup.restarts && (idle || !self.setup.timely) {
                let mut next = state.clone();
                next.restarts += 1;
                for slot in 0..2 {
                    // The requests of the daemon that ended are on their way, and nobody waits for their answers.
                    if let Some(write) = next.slots[usize::from(node)][slot].take() {
                        add_late(&mut next, node, write);
                    }
                }
                if self.setup.forgetful {
                    let mut next = next.clone();
                    // A daemon that lost its memory does not know which claims it was shown.
                    next.shown[usize::from(node)] = 0;
                    let violation = self.event(&mut next, node, Event::RestartWithout, None);
                    all.push(Next { step: Step::RestartWithout(node), state: next, violation });
                }
                let violation = self.event(&mut next, node, Event::Restart, None);
                all.push(Next { step: Step::Restart(node), state: next, violation });
            }
        }
        for index in 0..state.late.len() {
            if let Some((node, mut write)) = state.late[index] {
                let mut next = state.clone();
                next.late[index] = None;
                let violation = self.execute(&mut next, node, &mut write);
                if write.status == Status::Checked {
                    next.late[index] = Some((node, write));
                }
                sort_late(&mut next);
                all.push(Next { step: Step::Late(node, write.what), state: next, violation });
            }
        }
        if state.drifts < self.setup.drifts {
            for pointer in [Pointer::Absent, Pointer::Foreign] {
                if state.cloud.pointer != pointer {
                    let mut next = state.clone();
                    next.drifts += 1;
                    self.change(&mut next, |cloud| cloud.pointer = pointer);
                    all.push(Next { step: Step::ByHand(pointer), state: next, violation: None });
                }
            }
            for node in self.nodes() {
                if !matches!(state.cloud.pointer, Pointer::At(at, _) if at == node) {
                    let mut next = state.clone();
                    next.drifts += 1;
                    let pointer = Pointer::At(node, self.new_association(&next));
                    self.change(&mut next, |cloud| cloud.pointer = pointer);
                    all.push(Next { step: Step::ByHand(pointer), state: next, violation: None });
                }
            }
        }
        self.time(state, &mut all);
        all
    }

    fn looks(&mut self, state: &State, node: u8, all: &mut Vec<Next>) {
        let local = self.locals.get(state.locals[usize::from(node)]);
        let mut state = state.clone();
        let age = match local.look_age() {
            Some(age) => age,
            // A look begins with a read of the file. That is equal to the step that notices the file, with a look after
            // it.
            None if local.has_news() => return,
            None => {
                let violation = self.event(&mut state, node, Event::BeginLook, None);
                if self.setup.slow_looks || violation.is_some() {
                    all.push(Next { step: Step::BeginLook(node), state, violation });
                    return;
                }
                0
            }
        };
        let visible = state.past.iter().flatten().filter(|(_, gone_s)| u64::from(*gone_s) < 5 + age);
        let mut clouds = vec![state.cloud];
        if !self.setup.timely {
            clouds.extend(visible.map(|(cloud, _)| *cloud));
        }
        let mut seen = Vec::new();
        for pointers in &clouds {
            for tags in &clouds {
                let one_snapshot = self.setup.pointing != Pointing::SecondaryIp;
                let what = Cloud { pointer: pointers.pointer, ..*tags };
                if (one_snapshot && pointers != tags) || seen.contains(&what) {
                    continue;
                }
                seen.push(what);
                let mut next = state.clone();
                let violation = self.answer(&mut next, node, &what);
                let stale = what != state.cloud;
                all.push(Next { step: Step::Answer(node, what.pointer, what.tags, stale), state: next, violation });
            }
        }
        if state.faults < self.setup.faults {
            let mut next = state.clone();
            next.faults += 1;
            let violation = self.event(&mut next, node, Event::LookFails, None);
            all.push(Next { step: Step::LookFails(node), state: next, violation });
        }
    }

    fn answer(&mut self, next: &mut State, node: u8, cloud: &Cloud) -> Option<String> {
        for (other, claim) in cloud.tag_claims.iter().enumerate() {
            if other != usize::from(node) && *claim > 0 {
                next.shown[usize::from(node)] |= 1 << claim;
            }
        }
        self.event(next, node, Event::Answer(cloud.pointer, cloud.tags), None)
    }

    fn writes(&mut self, state: &State, node: u8, all: &mut Vec<Next>) {
        for slot in 0..2 {
            let Some(write) = state.slots[usize::from(node)][slot] else { continue };
            let what = write.what;
            let faulty = state.faults < self.setup.faults;
            if matches!(write.status, Status::Sent | Status::Checked) {
                let mut next = state.clone();
                let mut done = write;
                let mut violation = self.execute(&mut next, node, &mut done);
                next.slots[usize::from(node)][slot] = Some(done);
                if next.slots[usize::from(node)][slot].is_some_and(|write| write.status != Status::Checked)
                    && !self.setup.slow_answers
                {
                    violation = violation.or(self.reply(&mut next, node, slot));
                }
                all.push(Next { step: Step::Executed(node, what), state: next, violation });
                if faulty {
                    if !self.setup.slow_answers && done.status != Status::Checked {
                        let mut next = state.clone();
                        next.faults += 1;
                        let mut done = write;
                        let violation = self.execute(&mut next, node, &mut done);
                        next.slots[usize::from(node)][slot] = None;
                        let violation = violation.or(self.event(&mut next, node, Event::Failed, Some(slot)));
                        all.push(Next { step: Step::ReplyLost(node, what), state: next, violation });
                    }
                    let ways: &[bool] = if self.setup.timely { &[false] } else { &[false, true] };
                    for gave_up in ways.iter().copied() {
                        let mut next = state.clone();
                        next.faults += 1;
                        next.slots[usize::from(node)][slot] = None;
                        if gave_up {
                            add_late(&mut next, node, write);
                        }
                        let violation = self.event(&mut next, node, Event::Failed, Some(slot));
                        let step = if gave_up { Step::GaveUp(node, what) } else { Step::Lost(node, what) };
                        all.push(Next { step, state: next, violation });
                    }
                }
                continue;
            }
            let mut next = state.clone();
            let violation = self.reply(&mut next, node, slot);
            all.push(Next { step: Step::Replied(node, what), state: next, violation });
            if faulty {
                let mut next = state.clone();
                next.faults += 1;
                next.slots[usize::from(node)][slot] = None;
                let violation = self.event(&mut next, node, Event::Failed, Some(slot));
                all.push(Next { step: Step::ReplyLost(node, what), state: next, violation });
            }
        }
    }

    fn time(&mut self, state: &State, all: &mut Vec<Next>) {
        // In a timely world, a claim's record is written within seconds, so no time passes before the record is there.
        let mut live = self.live(state);
        if self.setup.timely && live.any(|(node, k)| state.cloud.tag_claims[usize::from(node)] != k) {
            return;
        }
        let mut pauses = vec![TICK_S];
        if self.setup.long_pauses {
            pauses.push(LONG_S);
        }
        for seconds in pauses {
            let blocked = self.nodes().any(|node| {
                let local = self.locals.get(state.locals[usize::from(node)]);
                let writes = &state.slots[usize::from(node)];
                let busy = writes.iter().any(Option::is_some);
                if busy && !self.setup.slow_answers {
                    return true;
                }
                match local.look_age() {
                    Some(age) if age > 0 || seconds > TICK_S => true,
                    Some(_) => self.setup.timely,
                    None => {
                        (busy && (self.setup.timely || seconds > TICK_S)) || (self.setup.timely && local.has_news())
                    }
                }
            });
            if !blocked {
                let mut next = state.clone();
                self.pass(&mut next, seconds);
                if next != *state {
                    all.push(Next { step: Step::Pass(seconds), state: next, violation: None });
                }
            }
        }
    }

    fn pass(&mut self, state: &mut State, seconds: u8) {
        for node in self.nodes() {
            let local = &mut state.locals[usize::from(node)];
            *local = self.locals.after(*local, Event::Pass(seconds)).local;
        }
        state.up_lately = state.up_lately.saturating_sub(1);
        let looks = state.locals.iter().filter_map(|local| self.locals.get(*local).look_age());
        let oldest = looks.max().unwrap_or(0);
        for past in &mut state.past {
            if let Some((_, gone_s)) = past {
                *gone_s += seconds;
                if u64::from(*gone_s) >= 5 + oldest {
                    *past = None;
                }
            }
        }
        state.past.sort_by_key(|past| past.map_or(u8::MAX, |(_, gone_s)| gone_s));
    }

    /// Applies an event to a node, and starts the writes that the node then wants. `failed` is the slot of a write that
    /// has just failed and that waits for its next try.
    fn event(&mut self, state: &mut State, node: u8, event: Event, failed: Option<usize>) -> Option<String> {
        let index = usize::from(node);
        let next = self.locals.after(state.locals[index], event);
        state.locals[index] = next.local;
        let mut violation = None;
        for (slot, wanted) in [(0, next.binding), (1, next.tag)] {
            let Some(what) = wanted else { continue };
            if state.slots[index][slot].is_some() || failed == Some(slot) {
                continue;
            }
            if let What::Point { claim, .. } = what {
                let newer = self.live(state).filter(|(other, k)| *other != node && *k > claim);
                let seen = newer.map(|(_, k)| 1 << k).fold(0, |all, bit: u8| all | bit) & state.shown[index];
                if seen != 0 && self.setup.rightful == Rightful::Newest {
                    violation = Some(format!(
                        "{} points the binding at itself although it has seen a newer claim that stands",
                        letter(node)
                    ));
                }
            }
            state.slots[index][slot] = Some(Write { what, status: Status::Sent });
        }
        if next.revived {
            violation = Some(format!("{} believes an older read in a claim that it was shown given up", letter(node)));
        }
        violation.or_else(|| self.wrongly_kept(state, node))
    }

    /// The rules for a node that keeps the binding after its leadership ended: it gives way to a newer claim that it was
    /// shown, and to its watchdog's word that it is cut off.
    fn wrongly_kept(&self, state: &State, node: u8) -> Option<String> {
        let index = usize::from(node);
        let term = self.locals.keeps(state.locals[index])?;
        if self.locals.has_lost_quorum(state.locals[index]) {
            return Some(format!("{} keeps the binding although its watchdog has lost the quorum", letter(node)));
        }
        let newer = |k: u8| u64::from(k) * self.setup.term_step > term && state.shown[index] & 1 << k != 0;
        let succeeded = self.live(state).any(|(other, k)| other != node && newer(k));
        succeeded.then(|| format!("{} keeps the binding although it has seen a newer claim that stands", letter(node)))
    }

    fn reply(&mut self, state: &mut State, node: u8, slot: usize) -> Option<String> {
        let write = state.slots[usize::from(node)][slot].take()?;
        let event = match (write.status, write.what) {
            (Status::Done(association), What::Point { purpose, claim, .. }) => {
                Event::Accepted { purpose, association, claim }
            }
            (Status::Done(_), What::Free { claim, .. }) => {
                Event::Accepted { purpose: Purpose::Release, association: 0, claim }
            }
            (Status::Done(_), What::Tag { term, .. }) => Event::TagAccepted(term),
            (Status::Sent | Status::Checked | Status::Refused, _) => {
                return self.event(state, node, Event::Failed, Some(slot));
            }
        };
        self.event(state, node, event, None)
    }

    /// EC2 performs a write. Of a route's deletion, it performs one half at a time.
    fn execute(&mut self, state: &mut State, node: u8, write: &mut Write) -> Option<String> {
        self.writes += u64::from(!matches!(write.what, What::Tag { .. }));
        let before = state.cloud.pointer;
        let holds = matches!(before, Pointer::At(at, _) if at == node);
        match write.what {
            What::Point { purpose, force, claim } => {
                let route = matches!(self.setup.pointing, Pointing::Route | Pointing::RouteDeleted);
                let refused = match before {
                    Pointer::Absent => false,
                    Pointer::At(..) if holds => route && !force,
                    Pointer::At(..) | Pointer::Foreign => !force,
                };
                if refused {
                    write.status = Status::Refused;
                    return None;
                }
                let association = match before {
                    Pointer::At(_, association) if holds => association,
                    _ => self.new_association(state),
                };
                write.status = Status::Done(association);
                self.change(state, |cloud| cloud.pointer = Pointer::At(node, association));
                return self.taken(state, node, before, purpose, claim);
            }
            What::Free { association, .. } => {
                let anything = self.setup.mutant == Some(Mutant::ReleasesWhateverIsThere);
                let goes = match (self.setup.pointing, write.status) {
                    _ if anything => true,
                    (Pointing::ElasticIp, _) => before == Pointer::At(node, association),
                    (Pointing::RouteDeleted, Status::Sent) => {
                        write.status = if holds { Status::Checked } else { Status::Done(0) };
                        return None;
                    }
                    (Pointing::RouteDeleted, _) => true,
                    (Pointing::SecondaryIp | Pointing::Route, _) => holds,
                };
                write.status = Status::Done(0);
                if goes {
                    self.change(state, |cloud| cloud.pointer = Pointer::Absent);
                    let another = !holds && before != Pointer::Absent;
                    if another && self.setup.pointing == Pointing::RouteDeleted {
                        self.deleted_another += 1;
                    } else if another {
                        return Some(format!("{} releases what does not point at it", letter(node)));
                    }
                }
            }
            What::Tag { term, claim } => {
                if self.setup.tags_refused {
                    write.status = Status::Refused;
                    return None;
                }
                write.status = Status::Done(0);
                let shared = self.setup.mutant == Some(Mutant::SharedTag);
                self.change(state, |cloud| {
                    if shared {
                        (cloud.tags, cloud.tag_claims) = ([None; NODES], [0; NODES]);
                    }
                    cloud.tags[usize::from(node)] = Some(term);
                    cloud.tag_claims[usize::from(node)] = claim;
                });
            }
        }
        None
    }

    /// The rules that must hold whenever a node took the binding.
    fn taken(&self, state: &State, node: u8, from: Pointer, purpose: Purpose, claim: u8) -> Option<String> {
        let Pointer::At(other, _) = from else {
            let took = from == Pointer::Foreign && purpose == Purpose::Restore;
            return took.then(|| format!("{} takes what was to be put back only if it was free", letter(node)));
        };
        if other == node {
            return None;
        }
        if purpose == Purpose::Restore {
            return Some(format!("{} takes what was to be put back only if it was free", letter(node)));
        }
        // A late claim takes the binding after one look. While that look counts, the node may take the binding from a
        // node whose record was not yet written at the time of the look.
        let settled = purpose == Purpose::Retake || state.up_lately == 0;
        let newer = self.live(state).any(|(at, k)| at == other && k > claim);
        let excused = self.locals.is_excused(state.locals[usize::from(node)], claim, other, state.up_lately);
        let disturbed = self.setup.timely && settled && newer && !excused;
        disturbed.then(|| format!("{} takes the binding from {}, whose claim is newer", letter(node), letter(other)))
    }

    fn change(&self, state: &mut State, how: impl FnOnce(&mut Cloud)) {
        let before = state.cloud;
        how(&mut state.cloud);
        if state.cloud == before || self.setup.timely {
            return;
        }
        state.past.rotate_right(1);
        state.past[0] = Some((before, 0));
        state.past[self.setup.stale..].fill(None);
    }

    /// Drops everything that can make no difference any more.
    pub fn normalise(&self, mut state: State) -> State {
        let live = self.live(&state).fold(0, |all, (_, k)| all | 1u8 << k);
        state.shown.iter_mut().for_each(|shown| *shown &= live);
        for index in 0..state.past.len() {
            let (before, rest) = state.past.split_at_mut(index);
            let past = rest[0].map(|(cloud, _)| cloud);
            if past == Some(state.cloud) || before.iter().flatten().any(|(cloud, _)| Some(*cloud) == past) {
                rest[0] = None;
            }
        }
        state.past.sort_by_key(|past| past.map_or(u8::MAX, |(_, gone_s)| gone_s));
        state
    }

    /// The claims whose leadership has not ended.
    fn live(&self, state: &State) -> impl Iterator<Item = (u8, u8)> + use<> {
        let files = state.locals.map(|local| self.locals.get(local).file);
        (0u8..).zip(files).filter_map(|(node, file)| match file {
            File::Leader(k) => Some((node, k)),
            File::None | File::Standby => None,
        })
    }

    /// The lowest number that no association bears which any part of the model still names.
    fn new_association(&self, state: &State) -> u8 {
        if self.setup.pointing != Pointing::ElasticIp {
            return 0;
        }
        let of_pointer = |pointer: Pointer| if let Pointer::At(_, number) = pointer { 1 << number } else { 0 };
        let of_write = |write: &Write| match (write.what, write.status) {
            (_, Status::Done(number)) | (What::Free { association: number, .. }, _) => 1u32 << number,
            _ => 0,
        };
        let mut used = of_pointer(state.cloud.pointer) | 1;
        used |= state.past.iter().flatten().fold(0, |all, (cloud, _)| all | of_pointer(cloud.pointer));
        used |= state.locals.iter().fold(0, |all, local| all | self.locals.associations(*local));
        used |= state.slots.iter().flatten().flatten().fold(0, |all, write| all | of_write(write));
        used |= state.late.iter().flatten().fold(0, |all, (_, write)| all | of_write(write));
        u8::try_from(used.trailing_ones()).unwrap()
    }
}

fn add_late(state: &mut State, node: u8, write: Write) {
    if matches!(write.status, Status::Sent | Status::Checked)
        && let Some(free) = state.late.iter_mut().find(|late| late.is_none())
    {
        *free = Some((node, write));
    }
    sort_late(state);
}

fn sort_late(state: &mut State) {
    state.late.sort_by_key(|late| (late.is_none(), *late));
}
