//! The reads of each look. A look sends one request to each source, all at once, and each answer is used as soon as it comes.
//! A source that is slow or refuses delays no other source.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::decide::retry::{self, Haste, LookAgain};
use crate::decide::timing::{CHOOSE_AGAIN, LOOKS_AT_ONCE, RETRY_WHILE_EAGER};
use crate::ec2::{Class, Ec2Error, Ec2Read, RouteTable, Urgency};
use crate::identity::{Node, NodeInterface};
use crate::machine::kernel::{Kernel, KernelError, LocalView};
use crate::observe::question::{Answer, Question, TagChoice, Topic, ask};
use crate::observe::seen::{Moment, Port};
use crate::observe::{Known, LastRead, World};
use crate::pgpool::watchdog::Asked;
use crate::status::SourceStatus;

/// The end of a read that the loop waits for.
pub enum Event {
    Identity(Result<Node, String>),
    /// The end of a question to Pgpool's watchdog, with or without an answer.
    Word(Asked),
    /// The outcome of a knock at the port at which Pgpool serves clients.
    Port(Port),
    Local(LocalRead),
    Source(Read),
}

pub type ReadFuture = Pin<Box<dyn Future<Output = Event>>>;

/// One answer of EC2. EC2 was asked about `topic` at the moment `at`, in the look with this number.
pub struct Read {
    at: Moment,
    look: u64,
    topic: Topic,
    answer: Answer,
}

/// The kernel's answer. `at` is when the kernel was asked.
pub struct LocalRead {
    at: Moment,
    view: Result<LocalView, KernelError>,
}

/// The consequence that an answer of EC2 has for the loop, besides the update of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    None,
    /// A read that had failed succeeded.
    Recovered,
    /// Route tables carry the tags of a choice: the tables themselves are to be read.
    TablesFound,
    /// EC2 refused by its rate limit.
    Throttled,
}

/// A look that is over.
pub struct Finished {
    pub began: Moment,
    pub asked: usize,
    pub failed: usize,
    /// The class of the failure that may pass soonest. The delay before the next look depends on it.
    mildest: Option<Class>,
}

struct Look {
    number: u64,
    began: Moment,
    asked: usize,
    open: usize,
    failed: usize,
    mildest: Option<Class>,
}

/// How the last read of a topic went.
#[derive(Debug, Default)]
struct Outcome {
    last_success_ms: Option<u64>,
    error: Option<(Class, String)>,
    /// How often in a row the read failed.
    failures: u32,
    /// When EC2 was asked the latest question that it answered. A refusal is an answer too.
    answered: Moment,
}

/// The search for the route tables of one tag choice. The status does not show the age of a search, because searches
/// are rare.
#[derive(Debug, Default)]
struct Search {
    /// When the last search began; `None` if the next look is to search again.
    asked_at: Option<Moment>,
    under_way: bool,
    error: Option<(Class, String)>,
    failures: u32,
}

/// The reads that are under way, and how the last ones went.
#[derive(Default)]
pub struct Reads {
    /// Whether the kernel is being asked. The kernel answers at once. If its answer ever hangs, nothing else waits for
    /// it.
    pub reading_local: bool,
    look: Option<Look>,
    looks: u64,
    /// The number of requests without an answer yet, of this look and of the looks that it overtook.
    open: usize,
    backoff: Backoff,
    outcomes: BTreeMap<Topic, Outcome>,
    searches: BTreeMap<TagChoice, Search>,
}

impl Reads {
    pub fn under_way(&self) -> bool {
        self.look.is_some()
    }

    /// The moment at which another look overtakes the look under way, for a claim that waits for EC2 to answer again.
    /// EC2 did not answer that claim at `failed_at`. A request that was sent while EC2 could not be reached may hang
    /// until long after EC2 answers again. `None` if every topic has been answered since `failed_at`, because such
    /// reads do not hang, or if too many requests are without an answer.
    pub fn overtaken_at(&self, failed_at: Moment) -> Option<Moment> {
        let mut cloud = self.outcomes.iter().filter(|(topic, _)| **topic != Topic::LOCAL);
        let hangs = cloud.any(|(_, outcome)| outcome.answered < failed_at);
        let look = self.look.as_ref().filter(|look| self.open <= (LOOKS_AT_ONCE - 1) * look.asked)?;
        hangs.then(|| look.began + RETRY_WHILE_EAGER)
    }

    /// Asks all questions of a look. The tables of a tag choice are looked for only if their search is due.
    pub fn start<E: Ec2Read + 'static>(
        &mut self,
        questions: Vec<Question>,
        ec2: &Rc<E>,
        urgency: Urgency,
        now: Moment,
    ) -> Vec<ReadFuture> {
        self.keep_only(&questions);
        self.looks += 1;
        let number = self.looks;
        let is_search = |question: &Question| matches!(question, Question::TaggedTables(_));
        let open = questions.iter().filter(|question| !is_search(question)).count();
        self.open += open;
        self.look = (open > 0).then_some(Look { number, began: now, asked: open, open, failed: 0, mildest: None });
        let due = questions.into_iter().filter(|question| match question {
            Question::TaggedTables(choice) => self.search_is_due(choice, now),
            _ => true,
        });
        let read = |question: Question| -> ReadFuture {
            let ec2 = Rc::clone(ec2);
            Box::pin(async move {
                let answer = ask(&*ec2, &question, urgency).await;
                Event::Source(Read { at: now, look: number, topic: question.topic(), answer })
            })
        };
        due.map(read).collect()
    }

    /// Forgets the outcomes of reads and searches that are not made any more.
    fn keep_only(&mut self, questions: &[Question]) {
        let mut topics = BTreeSet::from([Topic::LOCAL]);
        let mut choices = BTreeSet::new();
        for question in questions {
            match question {
                Question::TaggedTables(choice) => _ = choices.insert(choice),
                _ => _ = topics.insert(question.topic()),
            }
        }
        self.searches.retain(|choice, _| choices.contains(choice));
        self.outcomes.retain(|topic, _| topics.contains(topic));
        for topic in topics {
            self.outcomes.entry(topic).or_default();
        }
    }

    /// Whether the search for the tables of a choice begins now. If it begins, notes that.
    fn search_is_due(&mut self, choice: &TagChoice, now: Moment) -> bool {
        let search = self.searches.entry(choice.clone()).or_default();
        let due = !search.under_way && search.asked_at.is_none_or(|at| now >= at + CHOOSE_AGAIN);
        if due {
            (search.asked_at, search.under_way) = (Some(now), true);
        }
        due
    }

    /// Asks the kernel about these addresses.
    pub fn start_local<H: Kernel + 'static>(
        &mut self,
        host: &Rc<H>,
        addresses: BTreeSet<IpAddr>,
        now: Moment,
    ) -> ReadFuture {
        self.reading_local = true;
        let host = Rc::clone(host);
        Box::pin(async move { Event::Local(LocalRead { at: now, view: host.look(&addresses).await }) })
    }

    /// Takes the kernel's answer over into the world.
    pub fn local(&mut self, read: LocalRead, world: &mut World, wall_ms: u64) {
        self.reading_local = false;
        let failed = world.put_local(read.view, read.at).err();
        let failed = failed.map(|error| (Class::Transient, error.to_string()));
        self.note(&Topic::LOCAL, failed, wall_ms);
    }

    /// Notes the outcome of a topic's read. Returns whether the read succeeded after a failure.
    fn note(&mut self, topic: &Topic, failed: Option<(Class, String)>, wall_ms: u64) -> bool {
        let outcome = self.outcomes.entry(topic.clone()).or_default();
        let was_failing = outcome.error.is_some();
        if failed.is_none() {
            outcome.last_success_ms = Some(wall_ms);
        }
        outcome.failures = if failed.is_some() { outcome.failures.saturating_add(1) } else { 0 };
        outcome.error = failed;
        was_failing && outcome.error.is_none()
    }

    /// Makes an answer part of the world, unless a later question about the topic was answered before.
    pub fn answered(&mut self, read: Read, world: &mut World, wall_ms: u64) -> Consequence {
        let Read { at, look, topic, answer } = read;
        if let Answer::TaggedTables(choice, tables) = &answer {
            let consequence = self.found(choice, tables.as_deref());
            // `found` has noted an error already. Tables that an earlier search found stay known.
            let _ = world.put(answer, at);
            return consequence;
        }
        self.open -= 1;
        if self.outcomes.get(&topic).is_some_and(|outcome| outcome.answered > at) {
            return Consequence::None;
        }
        let error = world.put(answer, at).err();
        let class = error.as_ref().map(|error| error.class);
        let failed = error.as_ref().map(|error| (error.class, error.to_string()));
        let recovered = self.note(&topic, failed, wall_ms);
        if error.as_ref().is_none_or(|error| error.class != Class::Transient) {
            self.outcomes.entry(topic).or_default().answered = at;
        }
        if let Some(look) = self.look.as_mut().filter(|under_way| under_way.number == look) {
            look.open = look.open.saturating_sub(1);
            if let Some(error) = error {
                look.failed += 1;
                look.mildest = Some(look.mildest.map_or(error.class, |class| class.min(error.class)));
            }
        }
        match class {
            _ if recovered => Consequence::Recovered,
            Some(Class::Throttled) => Consequence::Throttled,
            _ => Consequence::None,
        }
    }

    /// Notes the outcome of the search for the tables of a choice.
    fn found(&mut self, choice: &TagChoice, tables: Result<&[RouteTable], &Ec2Error>) -> Consequence {
        let search = self.searches.entry(choice.clone()).or_default();
        search.under_way = false;
        match tables {
            Ok(tables) => {
                // Tables may get their tags later than their nodes start, so the next look searches again.
                if tables.is_empty() {
                    search.asked_at = None;
                }
                (search.error, search.failures) = (None, 0);
                if tables.is_empty() { Consequence::None } else { Consequence::TablesFound }
            }
            Err(error) => {
                // After an error the next look searches again, without the wait of some minutes.
                search.asked_at = None;
                search.error = Some((error.class, error.to_string()));
                search.failures = search.failures.saturating_add(1);
                Consequence::None
            }
        }
    }

    /// Ends the look that is overtaken now. Its requests without an answer count as failed.
    pub fn overtaken(&mut self) -> Option<Finished> {
        let look = self.look.take()?;
        Some(Finished {
            began: look.began,
            asked: look.asked,
            failed: look.failed + look.open,
            mildest: Some(Class::Transient),
        })
    }

    /// The look under way, once all its requests are answered.
    pub fn finished(&mut self) -> Option<Finished> {
        let look = self.look.take_if(|look| look.open == 0)?;
        Some(Finished { began: look.began, asked: look.asked, failed: look.failed, mildest: look.mildest })
    }

    /// The delay before the look that follows; `None` if the usual interval suffices.
    pub fn retry_delay(&mut self, look: &Finished, haste: Haste, rng: &mut fastrand::Rng) -> Option<Duration> {
        match retry::look_again(look.mildest, haste) {
            LookAgain::AtInterval => {
                self.backoff.reset();
                None
            }
            LookAgain::After(delay) => Some(delay),
            LookAgain::ByBackoff { at_least } => Some(self.backoff.next_delay(rng).max(at_least)),
        }
    }

    /// Looks for tables by tag again in the next look.
    pub fn forget_choices(&mut self) {
        for search in self.searches.values_mut() {
            search.asked_at = None;
        }
    }

    /// Whether EC2 was asked for this node's ENIs and does not show one of them. Then the ENI was replaced, or the
    /// identity is wrong.
    pub fn own_eni_missing(known: &Known, world: &World) -> bool {
        let LastRead::Read { value: (_, enis), .. } = &world.interfaces else { return false };
        known.node().interfaces.values().any(|own| !enis.iter().any(|eni| eni.id == own.eni))
    }

    /// Whether the kernel has one of this node's interfaces no longer, or under another name.
    pub fn own_interface_gone(known: &Known, world: &World) -> bool {
        let LastRead::Read { value: LocalView { interfaces, .. }, .. } = &world.local else { return false };
        let is_there =
            |(name, own): (&String, &NodeInterface)| interfaces.contains(own.first_name.as_ref().unwrap_or(name));
        !interfaces.is_empty() && !known.node().interfaces.iter().all(is_there)
    }

    /// The status of each source, in the parts in which the source is read. The outcome of one part says nothing about
    /// another part.
    pub fn document(&self) -> Vec<SourceStatus> {
        let status = |topic: &Topic| SourceStatus {
            source: topic.source.into(),
            part: topic.part.clone(),
            last_success_ms: None,
            error: None,
            class: None,
            failures: 0,
        };
        let mut sources = BTreeMap::new();
        for (topic, outcome) in &self.outcomes {
            let told = SourceStatus {
                last_success_ms: outcome.last_success_ms,
                error: outcome.error.as_ref().map(|(_, error)| error.clone()),
                class: outcome.error.as_ref().map(|(class, _)| (*class).into()),
                failures: outcome.failures,
                ..status(topic)
            };
            sources.insert(topic.clone(), told);
        }
        for (choice, search) in &self.searches {
            let Some((class, error)) = &search.error else { continue };
            let topic = choice.topic();
            let told = sources.entry(topic.clone()).or_insert_with(|| status(&topic));
            if told.error.is_none() {
                (told.error, told.class) = (Some(error.clone()), Some((*class).into()));
            }
            told.failures = told.failures.saturating_add(search.failures);
        }
        sources.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::{Address, Effect};

    #[test]
    fn an_answer_to_an_earlier_question_replaces_no_later_one_that_something_hides() {
        let (mut reads, mut world) = (Reads::default(), World::default());
        let mut answered = |at, result: Result<Vec<Address>, Ec2Error>| {
            reads.open += 1;
            let topic = Question::Addresses(BTreeSet::new()).topic();
            let read = Read { at: Duration::from_secs(at), look: at, topic, answer: Answer::Addresses(result) };
            reads.answered(read, &mut world, 0);
            world.addresses.clone()
        };
        let at = |seconds| LastRead::Read { value: Vec::new(), at: Duration::from_secs(seconds) };
        let fails = Ec2Error {
            operation: "DescribeAddresses",
            class: Class::Transient,
            effect: Effect::None,
            code: None,
            reason: None,
            message: "no answer".to_owned(),
            request_id: None,
        };
        assert_eq!(answered(2, Ok(Vec::new())), at(2));
        assert_eq!(answered(1, Ok(Vec::new())), at(2));
        let failed = answered(3, Err(fails));
        assert!(matches!(failed, LastRead::Failed { .. }));
        assert_eq!(answered(1, Ok(Vec::new())), failed);
        assert_eq!(answered(4, Ok(Vec::new())), at(4));
    }
}
