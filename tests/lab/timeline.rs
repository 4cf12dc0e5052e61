//! One run of a scenario as it can be told afterwards: what the client saw and what each node did, on one clock that
//! starts with the fault.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::client::Answer;
use super::cluster::Lab;
use super::recorder::{Record, Track};
use super::report::NOTHING;

/// How much of the time before the fault is shown, in seconds.
const BEFORE_S: f64 = 1.0;
/// And after the last thing that happened.
const AFTER_S: f64 = 2.0;

/// Seconds since the fault; negative before it.
pub type Seconds = f64;

/// A stretch of time in which something was so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span<T> {
    pub from: Seconds,
    pub to: Seconds,
    pub what: T,
}

/// A change that a node asked of EC2.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    pub at: Seconds,
    pub operation: String,
    /// EC2's code, `OK` if it was accepted.
    pub code: String,
}

/// A hook that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    Up,
    Down,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NodeTimeline {
    pub name: String,
    /// Times when the machine was not there.
    pub off: Vec<Span<()>>,
    /// Times when its newest hook said leader.
    pub leads: Vec<Span<()>>,
    /// Times when its kernel had the delegate IP.
    pub has_address: Vec<Span<()>>,
    pub hooks: Vec<(Seconds, Hook)>,
    pub writes: Vec<Change>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Timeline {
    /// From and to when it is told.
    pub from: Seconds,
    pub to: Seconds,
    /// Through which node the client was answered.
    pub served: Vec<Span<usize>>,
    /// When it was not, for longer than two questions.
    pub unserved: Vec<Span<()>>,
    pub troubles: Vec<Span<String>>,
    pub notes: Vec<(Seconds, String)>,
    pub nodes: Vec<NodeTimeline>,
}

impl Lab {
    /// The timeline from the fault until now.
    pub fn timeline(&self, fault: Duration, now: Duration) -> Timeline {
        let clock = Clock { fault, now };
        let record = self.recorder.record();
        let addresses: Vec<_> = self.vpc.instances.iter().map(|instance| instance.address).collect();
        let (served, unserved) = clock
            .answers(&self.client.answers(), |answer| addresses.iter().position(|address| *address == answer.through));
        let nodes = record.nodes.iter().zip(&self.vpc.instances).map(|(node, instance)| NodeTimeline {
            name: instance.name.to_owned(),
            off: clock.spans(&node.runs, |runs| !runs),
            leads: clock.spans(&node.leads, |leads| *leads == Some(true)),
            has_address: clock.spans(&node.has_address, |has| *has),
            hooks: clock.hooks(&node.leads),
            writes: self.writes_of(instance.name, clock),
        });
        let mut timeline = Timeline { served, unserved, nodes: nodes.collect(), ..Timeline::default() };
        clock.tell_troubles(&record, &mut timeline);
        timeline.from = -BEFORE_S;
        let end = clock.since(now);
        timeline.to = (timeline.last_event(end) + AFTER_S).min(end);
        timeline
    }

    /// In the order in which they began; the endpoint has a clock of its own.
    fn writes_of(&self, name: &str, clock: Clock) -> Vec<Change> {
        let began = super::client::now().saturating_sub(self.vpc.endpoint.now());
        let service = self.vpc.endpoint.service();
        let calls = service.log().all().filter(|call| call.write && call.caller.name == name);
        let told = calls.map(|call| Change {
            at: clock.since(began + call.at),
            operation: call.operation.to_owned(),
            code: call.code.clone().unwrap_or_else(|| "no answer yet".to_owned()),
        });
        told.filter(|write| write.at > -BEFORE_S).collect()
    }
}

impl Timeline {
    /// After it nothing changes any more. A span that lasts until the end did not end then.
    fn last_event(&self, end: Seconds) -> Seconds {
        let is_over = |to: &Seconds| *to < end - 0.1;
        let ends = |spans: &[Span<()>]| spans.iter().flat_map(|span| [span.from, span.to]).collect::<Vec<_>>();
        let mut times: Vec<Seconds> = ends(&self.unserved);
        times.extend(self.troubles.iter().flat_map(|span| [span.from, span.to]));
        times.extend(self.notes.iter().map(|(at, _)| *at));
        for node in &self.nodes {
            times.extend(node.writes.iter().map(|write| write.at));
            times.extend(node.hooks.iter().map(|(at, _)| *at));
            for spans in [&node.off, &node.leads, &node.has_address] {
                times.extend(spans.iter().map(|span| span.from));
                times.extend(spans.iter().map(|span| span.to).filter(is_over));
            }
        }
        times.into_iter().fold(0.0, f64::max)
    }
}

#[derive(Clone, Copy)]
struct Clock {
    fault: Duration,
    now: Duration,
}

impl Clock {
    fn since(self, at: Duration) -> Seconds {
        at.as_secs_f64() - self.fault.as_secs_f64()
    }

    /// Answers through one node without a pause make a span; pauses make the others.
    fn answers(self, answers: &[Answer], node: impl Fn(&Answer) -> Option<usize>) -> (Vec<Span<usize>>, Vec<Span<()>>) {
        let (mut served, mut unserved) = (Vec::<Span<usize>>::new(), Vec::new());
        let mut last = -BEFORE_S;
        for answer in answers {
            let at = self.since(answer.at);
            let Some(what) = node(answer).filter(|_| at > -BEFORE_S) else { continue };
            let is_pause = at - last > NOTHING.as_secs_f64();
            if is_pause {
                unserved.push(Span { from: last, to: at, what: () });
            }
            match served.last_mut() {
                Some(span) if span.what == what && !is_pause => span.to = at,
                _ => served.push(Span { from: at, to: at, what }),
            }
            last = at;
        }
        let end = self.since(self.now);
        if end - last > 1.0 {
            unserved.push(Span { from: last, to: end, what: () });
        }
        (served, unserved)
    }

    /// The times in which it was so, as far as they are told.
    fn spans<T>(self, track: &Track<T>, is_so: impl Fn(&T) -> bool) -> Vec<Span<()>> {
        let ends = track.iter().skip(1).map(|(at, _)| *at).chain([self.now]);
        let spans = track.iter().zip(ends).filter(|((_, value), _)| is_so(value));
        let spans = spans.map(|((from, _), to)| Span { from: self.since(*from), to: self.since(to), what: () });
        spans.filter(|span| span.to > -BEFORE_S).map(|span| Span { from: span.from.max(-BEFORE_S), ..span }).collect()
    }

    /// A hook is seen by what it wrote.
    fn hooks(self, leads: &Track<Option<bool>>) -> Vec<(Seconds, Hook)> {
        let hooks = leads.iter().filter_map(|(at, leads)| {
            let hook = if (*leads)? { Hook::Up } else { Hook::Down };
            Some((self.since(*at), hook))
        });
        hooks.filter(|(at, _)| *at > -BEFORE_S).collect()
    }

    fn tell_troubles(self, record: &Record, timeline: &mut Timeline) {
        let troubles = record.troubles.iter().map(|trouble| Span {
            from: self.since(trouble.from),
            to: self.since(trouble.to.unwrap_or(self.now)),
            what: trouble.what.clone(),
        });
        timeline.troubles = troubles.filter(|span| span.to > -BEFORE_S).collect();
        let notes = record.notes.iter().map(|(at, what)| (self.since(*at), what.clone()));
        timeline.notes = notes.filter(|(at, _)| *at > -BEFORE_S).collect();
    }
}

#[test]
fn a_pause_in_the_answers_is_told_from_the_last_one_to_the_next() {
    let clock = Clock { fault: Duration::from_secs(100), now: Duration::from_secs(104) };
    let (one, other) = ([10, 0, 1, 10].into(), [10, 0, 2, 10].into());
    let answer = |at_ms, through| Answer { at: Duration::from_millis(at_ms), through };
    // Every 50 ms; two seconds of nothing; through another node; and nothing more.
    let answers = [answer(99_950, one), answer(100_000, one), answer(102_000, other), answer(102_050, other)];
    let (served, unserved) = clock.answers(&answers, |answer| Some(usize::from(answer.through == other)));
    let span = |from, to| Span { from, to, what: () };
    let nearly = |one: &Span<()>, from: Seconds, to: Seconds| (one.from - from).abs() + (one.to - to).abs() < 1e-6;
    assert_eq!(served.iter().map(|span| span.what).collect::<Vec<_>>(), [0, 1]);
    assert!(nearly(&unserved[1], 0.0, 2.0) && nearly(&unserved[2], 2.05, 4.0), "{unserved:?}");
    // The time before the record is not known.
    assert_eq!((unserved.len(), &unserved[0]), (3, &span(-BEFORE_S, unserved[0].to)));
}
