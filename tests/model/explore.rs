//! Visits every state that can be reached, beginning with the states that need the fewest steps.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use crate::hash::{Fast, fingerprint};
use crate::rules::Setup;
use crate::world::{State, Step, World};

/// The result of an exploration.
pub struct Found {
    pub setup: Setup,
    pub states: usize,
    pub steps: u64,
    /// The number of different states of a single node.
    pub locals: usize,
    pub worst_passes: u32,
    pub deleted_another: u64,
    pub took: Duration,
    pub violation: Option<Violation>,
    /// Whether every state was visited.
    pub complete: bool,
}

/// A broken rule, and the shortest way to it.
pub struct Violation {
    pub property: String,
    pub trace: Vec<Step>,
}

/// Explores until every state is visited, a rule is broken, or more than `most` states were seen.
pub fn explore(setup: Setup, most: usize) -> Found {
    let began = Instant::now();
    let mut world = World::new(setup);
    let start = world.start();
    let mut visited = HashSet::with_hasher(Fast::default());
    visited.insert(fingerprint(&start));
    // The way to each state: the state before it, and its number among that state's successors.
    let mut came_by: Vec<(u32, u16)> = vec![(0, 0)];
    let mut queue = VecDeque::from([(0u32, start.clone())]);
    let mut steps = 0;
    let mut violation = None;
    'all: while let Some((index, state)) = queue.pop_front() {
        if let Err(property) = world.comes_to_rest(&state) {
            violation = Some(Violation { property, trace: trace(&mut world, start, &came_by, index, None) });
            break;
        }
        for (nth, next) in (0u16..).zip(world.successors(&state)) {
            steps += 1;
            if let Some(property) = next.violation {
                let trace = trace(&mut world, start, &came_by, index, Some(next.step));
                violation = Some(Violation { property, trace });
                break 'all;
            }
            let next = world.normalise(next.state);
            if visited.len() >= most {
                break 'all;
            }
            if visited.insert(fingerprint(&next)) {
                let number = u32::try_from(came_by.len()).expect("fewer states than memory holds");
                came_by.push((index, nth));
                queue.push_back((number, next));
            }
        }
    }
    Found {
        setup,
        states: visited.len(),
        steps,
        locals: world.locals.len(),
        worst_passes: world.worst_passes,
        deleted_another: world.deleted_another,
        took: began.elapsed(),
        complete: violation.is_none() && queue.is_empty(),
        violation,
    }
}

/// Walks from the start to a state again, and lists the steps.
fn trace(world: &mut World, start: State, came_by: &[(u32, u16)], mut index: u32, last: Option<Step>) -> Vec<Step> {
    let mut way = Vec::new();
    while index != 0 {
        let (before, nth) = came_by[index as usize];
        way.push(nth);
        index = before;
    }
    let mut state = start;
    let mut steps = Vec::new();
    for nth in way.into_iter().rev() {
        let next = world.successors(&state).swap_remove(usize::from(nth));
        steps.push(next.step);
        state = world.normalise(next.state);
    }
    steps.extend(last);
    steps
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<44} {:>9} states, {:>9} steps, {:>6} states of a node, at most {} passes, {:.1} s",
            self.setup.name,
            self.states,
            self.steps,
            self.locals,
            self.worst_passes,
            self.took.as_secs_f64()
        )?;
        if self.deleted_another > 0 {
            write!(f, ", {} deletions of a replaced route", self.deleted_another)?;
        }
        if let Some(Violation { property, trace }) = &self.violation {
            write!(f, "\n  violated: {property}")?;
            for step in trace {
                write!(f, "\n    {step}")?;
            }
        }
        Ok(())
    }
}
