//! Rounds of reads: one request to each source, all at once, and each answer used as soon as it comes. A source that is
//! slow or refuses delays nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::ec2::{Address, Class, Ec2Error, Ec2Read, Eni, EniQuery, RouteTable, TableQuery, Urgency};
use crate::host::{Host, HostError, LocalAddress};
use crate::identity::Node;
use crate::ids::SubnetId;
use crate::observe::{Known, Source, TagChoice, World, choice_query};
use crate::observed::Moment;
use crate::report::{self, News, Reporter};
use crate::status::SourceStatus;
use crate::vip::Account;
use crate::witness::Word;

/// Route tables chosen by tag are looked for again this often: tables come and go rarely.
const CHOOSE_AGAIN: Duration = Duration::from_mins(5);
/// A node whose ENI EC2 does not show asks anew who it is, this often.
pub const IDENTIFY_AGAIN: Duration = Duration::from_mins(1);
/// After a failed round the next one is no sooner than this, however often it failed.
const RETRY_FLOOR: Duration = Duration::from_secs(1);

/// An answer that the loop waits for.
pub enum Answer {
    Identity(Result<Node, String>),
    /// What Pgpool's watchdog said.
    Word(Result<Option<Word>, String>),
    Choice(TagChoice, Result<Vec<RouteTable>, Ec2Error>),
    Local(LocalRead),
    Source(Read),
}

pub type ReadFuture = Pin<Box<dyn Future<Output = Answer>>>;

/// One source's answer. `at` is when it was asked.
pub struct Read {
    at: Moment,
    what: What,
}

/// The kernel's answer. `at` is when it was asked.
pub struct LocalRead {
    at: Moment,
    addresses: Result<BTreeSet<LocalAddress>, HostError>,
}

enum What {
    Addresses(Result<Vec<Address>, Ec2Error>),
    Tables(Account, Result<Vec<RouteTable>, Ec2Error>),
    Interfaces(EniQuery, Result<Vec<Eni>, Ec2Error>),
    Tags(SubnetId, Result<BTreeMap<String, String>, Ec2Error>),
}

/// A round that is over.
pub struct Finished {
    pub began: Moment,
    pub asked: usize,
    pub failed: usize,
    /// The worst that happened, for the delay before the next one.
    worst: Option<Class>,
}

struct Round {
    began: Moment,
    asked: usize,
    open: usize,
    failed: usize,
    worst: Option<Class>,
}

/// The reads that are under way, and how the last ones went.
#[derive(Default)]
pub struct Reads {
    pub identifying: bool,
    /// The kernel is being asked. It answers at once; if it ever hangs, nothing else waits for it.
    pub reading_local: bool,
    round: Option<Round>,
    backoff: Backoff,
    outcomes: BTreeMap<report::Source, (Option<u64>, Option<String>)>,
    chosen_at: BTreeMap<TagChoice, Moment>,
    choosing: BTreeSet<TagChoice>,
}

impl Reads {
    pub fn under_way(&self) -> bool {
        self.round.is_some()
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
        let mut asked: Vec<ReadFuture> = Vec::new();
        let mut ask = |what: Pin<Box<dyn Future<Output = What>>>| {
            asked.push(Box::pin(async move { Answer::Source(Read { at: now, what: what.await }) }));
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
        self.round = (open > 0).then_some(Round { began: now, asked: open, open, failed: 0, worst: None });
        for choice in known.choices(config) {
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
    pub fn start_local<H: Host + 'static>(&mut self, host: &Rc<H>, now: Moment) -> ReadFuture {
        self.reading_local = true;
        let host = Rc::clone(host);
        Box::pin(async move { Answer::Local(LocalRead { at: now, addresses: host.addresses().await }) })
    }

    /// Takes the kernel's addresses over.
    pub fn local(&mut self, read: LocalRead, world: &mut World, wall_ms: u64, reporter: &dyn Reporter) {
        self.reading_local = false;
        let source = report::Source::LocalAddresses;
        let outcome = self.outcomes.entry(source).or_default();
        match read.addresses {
            Ok(value) => {
                world.local = Source::Read { value, at: read.at };
                *outcome = (Some(wall_ms), None);
                reporter.news(&News::Observed { source, at_ms: wall_ms });
            }
            Err(error) => {
                let error = error.to_string();
                world.local = Source::Failed { why: error.clone() };
                reporter.news(&News::ReadFailed { source, class: Class::Transient, error: &error });
                outcome.1 = Some(error);
            }
        }
    }

    /// Puts an answer where it belongs. Says whether EC2 answers again after it had not.
    pub fn answered(&mut self, read: Read, world: &mut World, wall_ms: u64, reporter: &dyn Reporter) -> bool {
        let Read { at, what } = read;
        let (source, error) = match what {
            What::Addresses(result) => (report::Source::Addresses, settle(&mut world.addresses, result, at)),
            What::Tables(account, result) => {
                (report::Source::RouteTables, settle(world.tables.entry(account).or_default(), result, at))
            }
            What::Interfaces(query, result) => {
                let result = result.map(|enis| (query, enis));
                (report::Source::NetworkInterfaces, settle(&mut world.interfaces, result, at))
            }
            What::Tags(subnet, result) => {
                (report::Source::Tags, settle(world.tags.entry(subnet).or_default(), result, at))
            }
        };
        let outcome = self.outcomes.entry(source).or_default();
        let recovered = error.is_none() && outcome.1.is_some();
        match &error {
            None => {
                *outcome = (Some(wall_ms), None);
                reporter.news(&News::Observed { source, at_ms: wall_ms });
            }
            Some(error) => {
                outcome.1 = Some(error.to_string());
                reporter.news(&News::ReadFailed { source, class: error.class, error: &error.to_string() });
            }
        }
        if let Some(round) = &mut self.round {
            round.open = round.open.saturating_sub(1);
            if let Some(error) = error {
                round.failed += 1;
                round.worst = round.worst.max(Some(error.class));
            }
        }
        recovered
    }

    /// The round, once nothing of it is open any more.
    pub fn finished(&mut self) -> Option<Finished> {
        let round = self.round.take_if(|round| round.open == 0)?;
        Some(Finished { began: round.began, asked: round.asked, failed: round.failed, worst: round.worst })
    }

    /// How long to wait after a round that failed; `None` after a good one, or where only an operator can help and the
    /// usual interval will do. While a claim is being taken the looks do not grow rarer: the first that succeeds tells
    /// that EC2 answers again.
    pub fn retry_delay(&mut self, round: &Finished, taking: bool, rng: &mut fastrand::Rng) -> Option<Duration> {
        match round.worst {
            None => {
                self.backoff.reset();
                None
            }
            Some(Class::Transient | Class::Throttled | Class::Stale) if taking => Some(RETRY_FLOOR),
            Some(Class::Transient | Class::Throttled | Class::Stale) => {
                Some(self.backoff.next_delay(rng).max(RETRY_FLOOR))
            }
            Some(Class::Denied | Class::Rejected) => None,
        }
    }

    /// The tables of a choice, if they could be read.
    pub fn chosen(
        &mut self,
        choice: &TagChoice,
        tables: Result<Vec<RouteTable>, Ec2Error>,
        reporter: &dyn Reporter,
    ) -> Option<Vec<RouteTable>> {
        self.choosing.remove(choice);
        match tables {
            Ok(tables) => Some(tables),
            Err(error) => {
                // Asked again in the next round, not only after minutes.
                self.chosen_at.remove(choice);
                let source = report::Source::RouteTables;
                reporter.news(&News::ReadFailed { source, class: error.class, error: &error.to_string() });
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

    pub fn document(&self) -> Vec<SourceStatus> {
        self.outcomes
            .iter()
            .map(|(source, (last_success_ms, error))| SourceStatus {
                source: source.name().to_owned(),
                last_success_ms: *last_success_ms,
                error: error.clone(),
            })
            .collect()
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
            *source = Source::Failed { why: error.to_string() };
            Some(error)
        }
    }
}
