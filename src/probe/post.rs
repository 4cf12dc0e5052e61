//! The exchange between the loop and the tasks beside it. The loop says what is to be asked and answered, and hears who
//! answered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::ask::ProbeReply;
use crate::ids::InstanceId;
use crate::wake::Wake;

/// A change that has led no packet here after this long is not measured any more.
const MEASURED_WITHIN: Duration = Duration::from_mins(1);

/// The questions to ask, and the answers to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbesWanted {
    pub instance: InstanceId,
    /// The UDP port, here and at every other node.
    pub port: u16,
    /// The pause between two questions.
    pub interval: Duration,
    /// The addresses that are asked.
    pub asked: BTreeSet<IpAddr>,
    /// The local addresses at which questions are answered, and the addresses that clients use for each of them.
    pub answered: BTreeMap<IpAddr, BTreeSet<IpAddr>>,
}

/// Who answers at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReply {
    /// The last answer; `None` if nobody answered the last question.
    pub reply: Option<ProbeReply>,
    /// When the first question was answered by that node, or by nobody, without another outcome since.
    pub since: Instant,
    /// When somebody answered last; `None` if nobody ever did.
    pub answered: Option<Instant>,
}

#[derive(Debug, Default)]
struct Letters {
    heard: BTreeMap<IpAddr, LastReply>,
    /// The questions of other machines for each address, the last ones that came without a long pause.
    reached: BTreeMap<IpAddr, Flow>,
    /// When a change was accepted that is to lead packets here. No packet had come for some time before.
    awaited: BTreeMap<IpAddr, Instant>,
    /// The first packets after such changes, each with the time since the change was accepted.
    arrivals: Vec<(IpAddr, Duration)>,
}

/// Questions for one address that came without a long pause between two of them.
#[derive(Debug, Clone, Copy)]
struct Flow {
    began: Instant,
    last: Instant,
    /// Whether its first question was the end of a measurement.
    is_measured: bool,
}

impl Flow {
    fn goes_on(&self, interval: Duration) -> bool {
        self.last.elapsed() <= interval * 2
    }
}

/// The exchange. Every copy is the same one.
#[derive(Debug, Clone)]
pub struct Post {
    wanted: watch::Sender<Option<ProbesWanted>>,
    letters: Arc<Mutex<Letters>>,
    wakes: Option<mpsc::Sender<Wake>>,
}

impl Default for Post {
    /// An exchange that wakes no loop.
    fn default() -> Self {
        Self { wanted: watch::Sender::default(), letters: Arc::default(), wakes: None }
    }
}

impl Post {
    /// An exchange that wakes the loop when there is something new for it.
    #[must_use]
    pub fn waking(wakes: mpsc::Sender<Wake>) -> Self {
        Self { wakes: Some(wakes), ..Self::default() }
    }

    /// Says what is wanted from now on; `None` switches everything off.
    pub fn want(&self, wanted: Option<ProbesWanted>) {
        let asked = wanted.as_ref().map(|wanted| wanted.asked.clone()).unwrap_or_default();
        let changed = self.wanted.send_if_modified(|before| {
            let changed = *before != wanted;
            *before = wanted;
            changed
        });
        if changed {
            self.letters().heard.retain(|vip, _| asked.contains(vip));
        }
    }

    /// The present wishes of the loop.
    #[must_use]
    pub fn wanted(&self) -> Option<ProbesWanted> {
        self.wanted.borrow().clone()
    }

    /// The wishes of the loop, as they change.
    pub(super) fn wishes(&self) -> watch::Receiver<Option<ProbesWanted>> {
        self.wanted.subscribe()
    }

    /// Who answers at an address; `None` before the first question's end.
    #[must_use]
    pub fn heard(&self, vip: IpAddr) -> Option<LastReply> {
        self.letters().heard.get(&vip).cloned()
    }

    /// Notes the end of a question: its answer, or that nobody answered.
    pub fn tell(&self, vip: IpAddr, reply: Option<ProbeReply>) {
        let now = Instant::now();
        let is_new = {
            let mut letters = self.letters();
            let before = letters.heard.remove(&vip);
            let goes_on = before.as_ref().filter(|before| is_same(before.reply.as_ref(), reply.as_ref()));
            let (is_new, since) = (goes_on.is_none(), goes_on.map_or(now, |before| before.since));
            let answered = if reply.is_some() { Some(now) } else { before.and_then(|before| before.answered) };
            letters.heard.insert(vip, LastReply { reply, since, answered });
            is_new
        };
        if is_new {
            self.wake();
        }
    }

    /// Notes that EC2 accepted a change that is to lead the packets for this address here, `took` after it was asked to. If
    /// packets came already when it was asked, the next one would tell nothing about the change, so nothing is measured.
    /// If they began to come before EC2's answer, the change led them here, and they were not late at all.
    pub fn accepted(&self, vip: IpAddr, took: Duration) {
        let Some(interval) = self.wanted.borrow().as_ref().map(|wanted| wanted.interval) else { return };
        let arrived = {
            let mut letters = self.letters();
            match letters.reached.get_mut(&vip).filter(|flow| flow.goes_on(interval)) {
                None => {
                    letters.awaited.entry(vip).or_insert_with(Instant::now);
                    false
                }
                Some(flow) => {
                    let is_new = !flow.is_measured && flow.began.elapsed() <= took;
                    flow.is_measured = true;
                    letters.arrivals.extend(is_new.then_some((vip, Duration::ZERO)));
                    is_new
                }
            }
        };
        if arrived {
            self.wake();
        }
    }

    /// Notes that this node does not lead packets for this address to itself any more.
    pub fn gave_up(&self, vip: IpAddr) {
        self.letters().awaited.remove(&vip);
    }

    /// Notes that a question for this address came from another machine.
    pub fn reached(&self, vip: IpAddr) {
        let now = Instant::now();
        let arrived = {
            let mut letters = self.letters();
            let interval = self
                .wanted
                .borrow()
                .as_ref()
                .filter(|wanted| wanted.asked.contains(&vip))
                .map(|wanted| wanted.interval);
            let Some(interval) = interval else { return };
            let before = letters.reached.get(&vip).copied().filter(|flow| flow.goes_on(interval));
            let awaited = letters.awaited.remove(&vip).map(|since| now - since);
            let flow = before.unwrap_or(Flow { began: now, last: now, is_measured: false });
            letters.reached.insert(vip, Flow { last: now, is_measured: flow.is_measured || awaited.is_some(), ..flow });
            let arrived = awaited.filter(|after| *after <= MEASURED_WITHIN);
            letters.arrivals.extend(arrived.map(|after| (vip, after)));
            arrived.is_some()
        };
        if arrived {
            self.wake();
        }
    }

    /// The first packets since the last call that followed an accepted change, each with the time since then.
    #[must_use]
    pub fn arrivals(&self) -> Vec<(IpAddr, Duration)> {
        std::mem::take(&mut self.letters().arrivals)
    }

    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // If the channel is full, the loop is about to look anyway.
        let _ = self.wakes.as_ref().map(|wakes| wakes.try_send(Wake::Probe));
    }
}

fn is_same(one: Option<&ProbeReply>, other: Option<&ProbeReply>) -> bool {
    let who = |reply: &ProbeReply| (reply.instance.clone(), reply.way);
    one.map(who) == other.map(who)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::ask::PacketWay;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn vip() -> IpAddr {
        "20.0.0.50".parse().unwrap()
    }

    fn post() -> (Post, mpsc::Receiver<Wake>) {
        let (wakes, woken_by) = crate::wake::channel();
        let post = Post::waking(wakes);
        let instance = "i-a".parse().unwrap();
        let asked = BTreeSet::from([vip()]);
        post.want(Some(ProbesWanted { instance, port: 1, interval: S(1), asked, answered: BTreeMap::new() }));
        (post, woken_by)
    }

    fn reply(instance: &str) -> ProbeReply {
        ProbeReply { instance: instance.parse().unwrap(), took: S(0), way: PacketWay::Outside }
    }

    #[tokio::test(start_paused = true)]
    async fn another_answerer_wakes_the_loop_and_the_same_one_does_not() {
        let (post, mut woken_by) = post();
        let began = Instant::now();
        for (instance, is_new) in [("i-b", true), ("i-b", false), ("i-c", true), ("i-c", false)] {
            post.tell(vip(), Some(reply(instance)));
            assert_eq!(woken_by.try_recv().is_ok(), is_new, "{instance}");
            tokio::time::advance(S(1)).await;
        }
        post.tell(vip(), None);
        assert!(woken_by.try_recv().is_ok(), "nobody answers any more");
        let heard = post.heard(vip()).unwrap();
        assert_eq!((heard.since - began, heard.answered.unwrap() - began), (S(4), S(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_packet_after_an_accepted_change_is_measured_once() {
        let (post, _woken_by) = post();
        post.accepted(vip(), S(1));
        tokio::time::advance(S(5)).await;
        // The second write of one takeover moves the beginning no more.
        post.accepted(vip(), S(1));
        post.reached(vip());
        post.reached(vip());
        assert_eq!(post.arrivals(), [(vip(), S(5))]);
        assert_eq!(post.arrivals(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn packets_that_come_before_ec2s_answer_were_not_late_at_all() {
        let (post, mut woken_by) = post();
        let packets_come = async || {
            for _ in 0..8 {
                post.reached(vip());
                tokio::time::advance(Duration::from_millis(200)).await;
            }
        };
        packets_come().await;
        tokio::time::advance(S(5)).await;
        // EC2 is asked; its change leads packets here 0.2 s later, and its answer comes after 2 s.
        tokio::time::advance(Duration::from_millis(200)).await;
        packets_come().await;
        post.accepted(vip(), S(2));
        assert!(woken_by.try_recv().is_ok());
        // The same takeover changes a second route table.
        post.accepted(vip(), S(2));
        assert_eq!(post.arrivals(), [(vip(), S(0))]);
    }

    #[tokio::test(start_paused = true)]
    async fn where_packets_come_anyway_and_where_none_come_for_long_nothing_is_measured() {
        let (post, _woken_by) = post();
        post.reached(vip());
        tokio::time::advance(S(1)).await;
        post.accepted(vip(), Duration::from_millis(500));
        post.reached(vip());
        assert_eq!(post.arrivals(), [], "another table led packets here");
        tokio::time::advance(S(10)).await;
        post.accepted(vip(), S(1));
        tokio::time::advance(MEASURED_WITHIN + S(1)).await;
        post.reached(vip());
        assert_eq!(post.arrivals(), []);
        tokio::time::advance(S(10)).await;
        post.accepted(vip(), S(1));
        post.gave_up(vip());
        post.reached(vip());
        assert_eq!(post.arrivals(), [], "this node stood down meanwhile");
    }
}
