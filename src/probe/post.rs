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
    /// When the last question of another machine came for each address.
    reached: BTreeMap<IpAddr, Instant>,
    /// When a change was accepted that is to lead packets here. No packet had come for some time before.
    awaited: BTreeMap<IpAddr, Instant>,
    /// The first packets after such changes, each with the time since the change was accepted.
    arrivals: Vec<(IpAddr, Duration)>,
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

    /// Notes that EC2 accepted a change that is to lead the packets for this address here. If packets came until now, the
    /// next one would tell nothing about the change, so nothing is measured.
    pub fn accepted(&self, vip: IpAddr) {
        let Some(interval) = self.wanted.borrow().as_ref().map(|wanted| wanted.interval) else { return };
        let mut letters = self.letters();
        let came = letters.reached.get(&vip).is_some_and(|at| at.elapsed() <= interval * 2);
        if !came {
            letters.awaited.entry(vip).or_insert_with(Instant::now);
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
            if !self.wanted.borrow().as_ref().is_some_and(|wanted| wanted.asked.contains(&vip)) {
                return;
            }
            letters.reached.insert(vip, now);
            let awaited = letters.awaited.remove(&vip).map(|since| now - since);
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
        post.accepted(vip());
        tokio::time::advance(S(5)).await;
        // The second write of one takeover moves the beginning no more.
        post.accepted(vip());
        post.reached(vip());
        post.reached(vip());
        assert_eq!(post.arrivals(), [(vip(), S(5))]);
        assert_eq!(post.arrivals(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn where_packets_come_anyway_and_where_none_come_for_long_nothing_is_measured() {
        let (post, _woken_by) = post();
        post.reached(vip());
        tokio::time::advance(S(1)).await;
        post.accepted(vip());
        post.reached(vip());
        assert_eq!(post.arrivals(), [], "another table led packets here");
        tokio::time::advance(S(10)).await;
        post.accepted(vip());
        tokio::time::advance(MEASURED_WITHIN + S(1)).await;
        post.reached(vip());
        assert_eq!(post.arrivals(), []);
        tokio::time::advance(S(10)).await;
        post.accepted(vip());
        post.gave_up(vip());
        post.reached(vip());
        assert_eq!(post.arrivals(), [], "this node stood down meanwhile");
    }
}
