//! Rounds of reads: one request to each source, all at once, and each answer used as soon as it comes. A source that is
//! slow or refuses delays nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::binding::Account;
use crate::config::Config;
use crate::ec2::{Address, Class, Ec2Error, Ec2Read, Eni, EniQuery, RouteTable, TableQuery, Urgency};
use crate::identity::Node;
use crate::ids::SubnetId;
use crate::machine::kernel::{Kernel, KernelError, LocalAddress};
use crate::observe::seen::Moment;
use crate::observe::{Known, Queries, Source, TagChoice, World, choice_query};
use crate::pgpool::watchdog::Asked;
use crate::report::{self, News, Reporter};
use crate::status::SourceStatus;

/// Route tables chosen by tag are looked for again this often: tables come and go rarely.
const CHOOSE_AGAIN: Duration = Duration::from_mins(5);
/// After a failed round the next one is no sooner than this, however often it failed.
const RETRY_FLOOR: Duration = Duration::from_secs(1);
/// The delay after a failed round while a claim is being taken: the end of a fault must be noticed within a second.
const RETRY_WHILE_EAGER: Duration = Duration::from_millis(500);
/// So many rounds may be under way while a claim is being taken. A round that hangs is given up after some seconds, and
/// rounds must not pile up until then.
const ROUNDS_AT_ONCE: usize = 6;

/// An answer that the loop waits for.
pub enum Answer {
    Identity(Result<Node, String>),
    /// What Pgpool's watchdog said.
    Word(Asked),
    Choice(TagChoice, Result<Vec<RouteTable>, Ec2Error>),
    Local(LocalRead),
    Source(Read),
}

pub type ReadFuture = Pin<Box<dyn Future<Output = Answer>>>;

/// One source's answer. `at` is when it was asked, in which round.
pub struct Read {
    at: Moment,
    round: u64,
    what: What,
}

/// The kernel's answer. `at` is when it was asked.
pub struct LocalRead {
    at: Moment,
    addresses: Result<BTreeSet<LocalAddress>, KernelError>,
}

enum What {
    Addresses(Result<Vec<Address>, Ec2Error>),
    Tables(Account, Result<Vec<RouteTable>, Ec2Error>),
    Interfaces(EniQuery, Result<Vec<Eni>, Ec2Error>),
    Tags(SubnetId, Result<BTreeMap<String, String>, Ec2Error>),
}

impl What {
    fn part(&self) -> Part {
        match self {
            Self::Addresses(_) => Part::Addresses,
            Self::Tables(account, _) => Part::Tables(account.clone()),
            Self::Interfaces(..) => Part::Interfaces,
            Self::Tags(subnet, _) => Part::Tags(subnet.clone()),
        }
    }
}

/// A round that is over.
pub struct Finished {
    pub began: Moment,
    pub asked: usize,
    pub failed: usize,
    /// The failure that may pass soonest, for the delay before the next one.
    mildest: Option<Class>,
}

struct Round {
    number: u64,
    began: Moment,
    asked: usize,
    open: usize,
    failed: usize,
    mildest: Option<Class>,
}

/// What is read and fails by itself: of some sources there are several, one for each account or subnet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Addresses,
    Tables(Account),
    Interfaces,
    Tags(SubnetId),
    Local,
}

impl Part {
    fn source(&self) -> report::Source {
        match self {
            Self::Addresses => report::Source::Addresses,
            Self::Tables(_) => report::Source::RouteTables,
            Self::Interfaces => report::Source::NetworkInterfaces,
            Self::Tags(_) => report::Source::Tags,
            Self::Local => report::Source::LocalAddresses,
        }
    }

    /// Which one it is, where there are several of its source.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Tables(Account::Role(role)) => Some(role),
            Self::Tags(subnet) => Some(subnet.as_str()),
            Self::Addresses | Self::Tables(Account::Own) | Self::Interfaces | Self::Local => None,
        }
    }

    /// What a round asks for.
    fn asked(queries: &Queries) -> BTreeSet<Self> {
        let addresses = (!queries.addresses.is_empty()).then_some(Self::Addresses);
        let tables = queries.tables.keys().cloned().map(Self::Tables);
        let interfaces = queries.interfaces.is_some().then_some(Self::Interfaces);
        let tags = queries.tags.iter().cloned().map(Self::Tags);
        [Self::Local].into_iter().chain(addresses).chain(tables).chain(interfaces).chain(tags).collect()
    }
}

/// How its last read went.
#[derive(Debug, Default)]
struct Outcome {
    last_success_ms: Option<u64>,
    error: Option<String>,
    /// When EC2 was asked what it answered last, if only that it refuses.
    answered: Moment,
}

/// The reads that are under way, and how the last ones went.
#[derive(Default)]
pub struct Reads {
    /// The kernel is being asked. It answers at once; if it ever hangs, nothing else waits for it.
    pub reading_local: bool,
    round: Option<Round>,
    rounds: u64,
    /// Requests of this round and of those that it overtook that were not answered yet.
    open: usize,
    backoff: Backoff,
    outcomes: BTreeMap<Part, Outcome>,
    /// Why tables could not be looked for by their tags. How long ago they were is of no interest: that is done rarely.
    not_chosen: BTreeMap<TagChoice, String>,
    chosen_at: BTreeMap<TagChoice, Moment>,
    choosing: BTreeSet<TagChoice>,
}

impl Reads {
    pub fn under_way(&self) -> bool {
        self.round.is_some()
    }

    /// When the round that is under way is followed by another one although not all of it was answered, for a claim that
    /// waits for EC2 to answer again, which it did not at `failed_at`: what was sent while it could not be reached may hang
    /// until long after that. What is only slow has been answered since.
    pub fn overtaken_at(&self, failed_at: Moment) -> Option<Moment> {
        let mut parts = self.outcomes.iter().filter(|(part, _)| **part != Part::Local);
        let hangs = parts.any(|(_, outcome)| outcome.answered < failed_at);
        let round = self.round.as_ref().filter(|round| self.open <= (ROUNDS_AT_ONCE - 1) * round.asked)?;
        hangs.then(|| round.began + RETRY_WHILE_EAGER)
    }

    /// Asks every source, and looks for tables by tag where that is due.
    pub fn start<E: Ec2Read + 'static>(
        &mut self,
        known: &Known,
        config: &Config,
        ec2: &Rc<E>,
        world: &mut World,
        urgency: Urgency,
        now: Moment,
    ) -> Vec<ReadFuture> {
        let queries = known.queries(config);
        world.keep_only(&queries);
        let parts = Part::asked(&queries);
        self.outcomes.retain(|part, _| parts.contains(part));
        for part in parts {
            self.outcomes.entry(part).or_default();
        }
        let mut asked: Vec<ReadFuture> = Vec::new();
        self.rounds += 1;
        let round = self.rounds;
        let mut ask = |what: Pin<Box<dyn Future<Output = What>>>| {
            asked.push(Box::pin(async move { Answer::Source(Read { at: now, round, what: what.await }) }));
        };
        if !queries.addresses.is_empty() {
            let (ec2, ips) = (Rc::clone(ec2), queries.addresses);
            ask(Box::pin(async move { What::Addresses(ec2.addresses(&ips, urgency).await) }));
        }
        for (account, ids) in queries.tables {
            let (ec2, query) = (Rc::clone(ec2), TableQuery::Ids(ids));
            ask(Box::pin(async move {
                let tables = ec2.route_tables(&account, &query, urgency).await;
                What::Tables(account, tables)
            }));
        }
        if let Some(query) = queries.interfaces {
            let ec2 = Rc::clone(ec2);
            ask(Box::pin(async move {
                let enis = ec2.interfaces(&query, urgency).await;
                What::Interfaces(query, enis)
            }));
        }
        for subnet in queries.tags {
            let ec2 = Rc::clone(ec2);
            ask(Box::pin(async move {
                let tags = ec2.tags(subnet.as_str(), urgency).await;
                What::Tags(subnet, tags)
            }));
        }
        let open = asked.len();
        self.open += open;
        self.round =
            (open > 0).then_some(Round { number: round, began: now, asked: open, open, failed: 0, mildest: None });
        let choices = known.choices(config);
        self.not_chosen.retain(|choice, _| choices.contains(choice));
        for choice in choices {
            let due = self.chosen_at.get(&choice).is_none_or(|at| now >= *at + CHOOSE_AGAIN);
            if !due || !self.choosing.insert(choice.clone()) {
                continue;
            }
            self.chosen_at.insert(choice.clone(), now);
            let ec2 = Rc::clone(ec2);
            asked.push(Box::pin(async move {
                let tables = ec2.route_tables(&choice.account, &choice_query(&choice), urgency).await;
                Answer::Choice(choice, tables)
            }));
        }
        asked
    }

    /// Asks for the kernel's addresses.
    pub fn start_local<H: Kernel + 'static>(&mut self, host: &Rc<H>, now: Moment) -> ReadFuture {
        self.reading_local = true;
        let host = Rc::clone(host);
        Box::pin(async move { Answer::Local(LocalRead { at: now, addresses: host.addresses().await }) })
    }

    /// Takes the kernel's addresses over.
    pub fn local(&mut self, read: LocalRead, world: &mut World, wall_ms: u64, reporter: &dyn Reporter) {
        self.reading_local = false;
        let failed = match read.addresses {
            Ok(value) => {
                world.local = Source::Read { value, at: read.at };
                None
            }
            Err(error) => {
                world.local = Source::Failed { class: Class::Transient, why: error.to_string() };
                Some((Class::Transient, error.to_string()))
            }
        };
        self.note(&Part::Local, failed, wall_ms, reporter);
    }

    /// Notes how the read of a part went, and tells of its source: that it was observed once all its parts are well.
    /// Says whether the part is well again.
    fn note(&mut self, part: &Part, failed: Option<(Class, String)>, wall_ms: u64, reporter: &dyn Reporter) -> bool {
        let source = part.source();
        let outcome = self.outcomes.entry(part.clone()).or_default();
        let was_failing = outcome.error.is_some();
        let Some((class, error)) = failed else {
            outcome.last_success_ms = Some(wall_ms);
            outcome.error = None;
            self.tell_observed(source, wall_ms, reporter);
            return was_failing;
        };
        reporter.news(&News::ReadFailed { source, class, error: &of(part.name(), &error) });
        outcome.error = Some(error);
        false
    }

    fn tell_observed(&self, source: report::Source, at_ms: u64, reporter: &dyn Reporter) {
        let mut parts = self.outcomes.iter().filter(|(part, _)| part.source() == source);
        let all_read = parts.all(|(_, outcome)| outcome.last_success_ms.is_some());
        if all_read && !self.is_failing(source) {
            reporter.news(&News::Observed { source, at_ms });
        }
    }

    /// Whether a part of the source could not be read.
    fn is_failing(&self, source: report::Source) -> bool {
        let mut parts = self.outcomes.iter().filter(|(part, _)| part.source() == source);
        parts.any(|(_, outcome)| outcome.error.is_some())
            || (source == report::Source::RouteTables && !self.not_chosen.is_empty())
    }

    /// Puts an answer where it belongs, unless a later question was answered before. Says whether EC2 answers again after
    /// it had not.
    pub fn answered(&mut self, read: Read, world: &mut World, wall_ms: u64, reporter: &dyn Reporter) -> bool {
        let Read { at, round, what } = read;
        self.open -= 1;
        let part = what.part();
        if self.outcomes.get(&part).is_some_and(|outcome| outcome.answered > at) {
            return false;
        }
        let error = match what {
            What::Addresses(result) => settle(&mut world.addresses, result, at),
            What::Tables(account, result) => settle(world.tables.entry(account).or_default(), result, at),
            What::Interfaces(query, result) => settle(&mut world.interfaces, result.map(|enis| (query, enis)), at),
            What::Tags(subnet, result) => settle(world.tags.entry(subnet).or_default(), result, at),
        };
        let failed = error.as_ref().map(|error| (error.class, error.to_string()));
        let recovered = self.note(&part, failed, wall_ms, reporter);
        if error.as_ref().is_none_or(|error| error.class != Class::Transient) {
            self.outcomes.entry(part).or_default().answered = at;
        }
        if let Some(round) = self.round.as_mut().filter(|under_way| under_way.number == round) {
            round.open = round.open.saturating_sub(1);
            if let Some(error) = error {
                round.failed += 1;
                round.mildest = Some(round.mildest.map_or(error.class, |class| class.min(error.class)));
            }
        }
        recovered
    }

    /// The round that is overtaken now: what of it was not answered by now counts as failed.
    pub fn overtaken(&mut self) -> Option<Finished> {
        let round = self.round.take()?;
        Some(Finished {
            began: round.began,
            asked: round.asked,
            failed: round.failed + round.open,
            mildest: Some(Class::Transient),
        })
    }

    /// The round, once nothing of it is open any more.
    pub fn finished(&mut self) -> Option<Finished> {
        let round = self.round.take_if(|round| round.open == 0)?;
        Some(Finished { began: round.began, asked: round.asked, failed: round.failed, mildest: round.mildest })
    }

    /// How long to wait after a round that failed; `None` after a good one, or where only an operator can help and the
    /// usual interval will do. What an operator must mend hides nothing that passes by itself. While a claim is eager to
    /// take the looks do not grow rarer: the first that succeeds tells that EC2 answers again.
    pub fn retry_delay(&mut self, round: &Finished, eager: bool, rng: &mut fastrand::Rng) -> Option<Duration> {
        match round.mildest {
            None | Some(Class::Denied | Class::Rejected) => {
                self.backoff.reset();
                None
            }
            Some(Class::Transient | Class::Throttled | Class::Stale) if eager => Some(RETRY_WHILE_EAGER),
            Some(Class::Transient | Class::Throttled | Class::Stale) => {
                Some(self.backoff.next_delay(rng).max(RETRY_FLOOR))
            }
        }
    }

    /// The tables of a choice, if they could be read.
    pub fn chosen(
        &mut self,
        choice: &TagChoice,
        tables: Result<Vec<RouteTable>, Ec2Error>,
        wall_ms: u64,
        reporter: &dyn Reporter,
    ) -> Option<Vec<RouteTable>> {
        self.choosing.remove(choice);
        let source = report::Source::RouteTables;
        match tables {
            Ok(tables) => {
                if self.not_chosen.remove(choice).is_some() {
                    self.tell_observed(source, wall_ms, reporter);
                }
                // They may get their tags later than their nodes start.
                if tables.is_empty() {
                    self.chosen_at.remove(choice);
                }
                Some(tables)
            }
            Err(error) => {
                // Asked again in the next round, not only after minutes.
                self.chosen_at.remove(choice);
                let (part, class, error) = (Part::Tables(choice.account.clone()), error.class, error.to_string());
                reporter.news(&News::ReadFailed { source, class, error: &of(part.name(), &error) });
                self.not_chosen.insert(choice.clone(), error);
                None
            }
        }
    }

    /// Looks for tables by tag again in the next round.
    pub fn forget_choices(&mut self) {
        self.chosen_at.clear();
    }

    /// EC2 was asked for this node's ENIs and does not show one of them: it was replaced, or the identity is wrong.
    pub fn own_eni_missing(known: &Known, world: &World) -> bool {
        let Source::Read { value: (_, enis), .. } = &world.interfaces else { return false };
        known.node().interfaces.values().any(|own| !enis.iter().any(|eni| eni.id == own.eni))
    }

    /// Each source, in the parts in which it is read: what one of them says of itself holds for no other.
    pub fn document(&self) -> Vec<SourceStatus> {
        let status = |part: &Part, last_success_ms, error| SourceStatus {
            source: part.source().name().to_owned(),
            part: part.name().map(str::to_owned),
            last_success_ms,
            error,
        };
        let mut sources: BTreeMap<_, _> = self
            .outcomes
            .iter()
            .map(|(part, outcome)| (part.clone(), status(part, outcome.last_success_ms, outcome.error.clone())))
            .collect();
        for (choice, error) in &self.not_chosen {
            let part = Part::Tables(choice.account.clone());
            let told = sources.entry(part.clone()).or_insert_with(|| status(&part, None, None));
            told.error.get_or_insert_with(|| error.clone());
        }
        sources.into_values().collect()
    }
}

/// An error, with the part of its source that it is about unless it names that itself.
fn of(part: Option<&str>, error: &str) -> String {
    match part {
        Some(part) if !error.contains(part) => format!("{error} (of {part})"),
        _ => error.to_owned(),
    }
}

/// Replaces what a source said last; an error is handed back.
fn settle<T>(source: &mut Source<T>, result: Result<T, Ec2Error>, at: Moment) -> Option<Ec2Error> {
    match result {
        Ok(value) => {
            *source = Source::Read { value, at };
            None
        }
        Err(error) => {
            *source = Source::Failed { class: error.class, why: error.to_string() };
            Some(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::Effect;
    use crate::status::Status;

    struct Nobody;

    impl Reporter for Nobody {
        fn news(&self, _: &News<'_>) {}
        fn status(&self, _: &Status) {}
    }

    #[test]
    fn an_answer_to_an_earlier_question_replaces_no_later_one_that_something_hides() {
        let (mut reads, mut world) = (Reads::default(), World::default());
        let mut answered = |at, result: Result<Vec<Address>, Ec2Error>| {
            reads.open += 1;
            let read = Read { at: Duration::from_secs(at), round: at, what: What::Addresses(result) };
            reads.answered(read, &mut world, 0, &Nobody);
            world.addresses.clone()
        };
        let at = |seconds| Source::Read { value: Vec::new(), at: Duration::from_secs(seconds) };
        let fails = Ec2Error {
            operation: "DescribeAddresses",
            class: Class::Transient,
            effect: Effect::None,
            code: None,
            message: "no answer".to_owned(),
            request_id: None,
        };
        assert_eq!(answered(2, Ok(Vec::new())), at(2));
        assert_eq!(answered(1, Ok(Vec::new())), at(2));
        let failed = answered(3, Err(fails));
        assert!(matches!(failed, Source::Failed { .. }));
        assert_eq!(answered(1, Ok(Vec::new())), failed);
        assert_eq!(answered(4, Ok(Vec::new())), at(4));
    }
}
