//! Judges whether packets for a VIP arrive at the node that EC2 leads them to. EC2's reads say where packets are led, the
//! answers to probes say where they arrive. The judgement informs people: no plan reads it.

use crate::decide::clients::{Clients, LedTo};
use crate::decide::timing::ASTRAY_AFTER;
use crate::ids::InstanceId;
use crate::observe::seen::Moment;

/// Who answers on a VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answerer {
    Nobody,
    /// This node itself: the address is its own, so no packet left it.
    Inside,
    /// A node, through the network.
    Node(InstanceId),
}

/// The answers to the probes of one VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastAnswer {
    pub by: Answerer,
    /// When the first of the probes ended that all had this outcome.
    pub since: Moment,
    /// When somebody answered last; `None` if nobody ever did.
    pub answered: Option<Moment>,
}

/// How packets go astray.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Astray {
    /// The node to which EC2 leads the clients.
    pub led_to: InstanceId,
    /// The node that answers instead; `None` if nobody does.
    pub by: Option<InstanceId>,
}

/// The answers of one VIP, and how they agree with EC2's reads.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    heard: Option<LastAnswer>,
    /// The difference between EC2 and the answers, and since when it is known.
    differs: Option<(Astray, Moment)>,
}

impl Answers {
    /// Takes the last answers and reads into account. `heard` is `None` while nobody is asked.
    pub fn learn(&mut self, heard: Option<LastAnswer>, clients: Option<&Clients>, me: Option<&InstanceId>) {
        self.heard = heard;
        let found =
            self.heard.as_ref().zip(clients).zip(me).and_then(|((heard, clients), me)| astray(heard, clients, me));
        let known = self.differs.take();
        self.differs = found.map(|(found, since)| match known {
            Some((known, since)) if known == found => (known, since),
            _ => (found, since),
        });
    }

    /// The last answers; `None` while nobody is asked.
    #[must_use]
    pub fn heard(&self) -> Option<&LastAnswer> {
        self.heard.as_ref()
    }

    /// How packets go astray, if they have for longer than a failover or EC2's propagation takes.
    #[must_use]
    pub fn astray(&self, now: Moment) -> Option<&Astray> {
        self.differs.as_ref().filter(|(_, since)| now >= *since + ASTRAY_AFTER).map(|(astray, _)| astray)
    }
}

/// The difference between the answers and EC2's last reads, and when the later of the two began. Only a read that began
/// after the answers had their present outcome can contradict them: an older one may show the place before a failover.
fn astray(heard: &LastAnswer, clients: &Clients, me: &InstanceId) -> Option<(Astray, Moment)> {
    let led_to = match &clients.place {
        LedTo::Here => me,
        LedTo::Elsewhere(holder) => holder.instance.as_ref()?,
        LedTo::Nowhere | LedTo::Several => return None,
    };
    let by = match &heard.by {
        // A node is no judge of the way to itself: its questions need not leave it.
        Answerer::Inside => return None,
        Answerer::Nobody if led_to == me => return None,
        Answerer::Nobody => None,
        Answerer::Node(node) if node == led_to => return None,
        Answerer::Node(node) => Some(node.clone()),
    };
    let is_later = clients.is_current && clients.read_at >= heard.since;
    is_later.then(|| (Astray { led_to: led_to.clone(), by }, clients.read_at))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::seen::Holder;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn id(id: &str) -> InstanceId {
        id.parse().unwrap()
    }

    fn node(name: &str) -> Answerer {
        Answerer::Node(id(name))
    }

    fn at(name: &str) -> LedTo {
        LedTo::Elsewhere(Holder { name: "eni-x".to_owned(), instance: Some(id(name)), blackhole: false })
    }

    fn read(place: LedTo, s: u64) -> Clients {
        let read_at = S(s);
        Clients { place, read_at, is_current: true, leads: None, nobody_since: None, nobody_serves: false }
    }

    /// Whether packets go astray at second 60, after each of these: an answerer, since when, a place, and when it was read.
    fn astray_after(steps: &[(Answerer, u64, LedTo, u64)]) -> Option<Astray> {
        let mut answers = Answers::default();
        for (by, since, place, read_at) in steps {
            let heard = LastAnswer { by: by.clone(), since: S(*since), answered: None };
            answers.learn(Some(heard), Some(&read(place.clone(), *read_at)), Some(&id("i-a")));
        }
        answers.astray(S(60)).cloned()
    }

    #[test]
    fn packets_go_astray_where_ec2_and_the_answers_differ_for_some_time() {
        let (other, nobody) =
            (Astray { led_to: id("i-b"), by: Some(id("i-c")) }, Astray { led_to: id("i-b"), by: None });
        for (steps, expected) in [
            (vec![(node("i-b"), 10, at("i-b"), 40)], None),
            (vec![(node("i-c"), 10, at("i-b"), 40)], Some(other.clone())),
            (vec![(Answerer::Nobody, 10, at("i-b"), 40)], Some(nobody.clone())),
            // Looks that go on showing it leave its beginning.
            (vec![(Answerer::Nobody, 10, at("i-b"), 40), (Answerer::Nobody, 10, at("i-b"), 59)], Some(nobody)),
            // One that shows otherwise in between begins anew.
            (
                vec![
                    (node("i-c"), 10, at("i-b"), 40),
                    (node("i-b"), 45, at("i-b"), 45),
                    (node("i-c"), 50, at("i-b"), 50),
                ],
                None,
            ),
            // Another difference begins anew too.
            (vec![(node("i-c"), 10, at("i-b"), 40), (Answerer::Nobody, 50, at("i-b"), 50)], None),
            // It lasts too short to say.
            (vec![(Answerer::Nobody, 10, at("i-b"), 46)], None),
            // The read may show the place before the failover that changed the answers.
            (vec![(node("i-c"), 41, at("i-b"), 40)], None),
            // Nobody is to answer, or it is not one place.
            (vec![(node("i-c"), 10, LedTo::Nowhere, 40)], None),
            (vec![(Answerer::Nobody, 10, LedTo::Several, 40)], None),
            // A node is no judge of the way to itself, but another's answer there is one too many.
            (vec![(Answerer::Inside, 10, LedTo::Here, 40)], None),
            (vec![(Answerer::Inside, 10, at("i-b"), 40)], None),
            (vec![(Answerer::Nobody, 10, LedTo::Here, 40)], None),
            (vec![(node("i-c"), 10, LedTo::Here, 40)], Some(Astray { led_to: id("i-a"), by: other.by })),
        ] {
            assert_eq!(astray_after(&steps), expected, "{steps:?}");
        }
    }

    #[test]
    fn the_last_answer_is_known_for_as_long_as_anybody_is_asked() {
        let mut answers = Answers::default();
        let heard = LastAnswer { by: node("i-c"), since: S(10), answered: Some(S(11)) };
        answers.learn(Some(heard.clone()), None, None);
        assert_eq!(answers.heard(), Some(&heard));
        answers.learn(None, None, None);
        assert_eq!(answers.heard(), None);
    }

    #[test]
    fn while_ec2_is_not_read_nothing_is_judged() {
        let mut answers = Answers::default();
        let heard = || Some(LastAnswer { by: node("i-c"), since: S(10), answered: None });
        let old = Clients { is_current: false, ..read(at("i-b"), 40) };
        answers.learn(heard(), Some(&old), Some(&id("i-a")));
        assert_eq!(answers.astray(S(60)), None);
        answers.learn(heard(), None, Some(&id("i-a")));
        assert_eq!(answers.astray(S(60)), None);
    }
}
