//! The account as its callers meet it: behind throttling, with a past that reads may still show, with faults that tests
//! switch on, and with a log of every call.
//!
//! Time is an argument (since the service's start) and randomness is seeded: equal calls at equal times give equal
//! replies. Nothing here sleeps; a [`Reply`] says how long its caller must wait.

mod bucket;
mod fault;
mod history;
mod log;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::iam::Denial;
use crate::{Account, Answer, ApiError, Operation, Policy};
use bucket::Buckets;
use fault::Stage;
use history::History;

pub use fault::{Cut, Fault, FaultId, FaultKind, ImdsFault, Scope};
pub use log::{Call, CallLog, Mark};

/// Who calls: a node, perhaps in a role that it assumed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Caller {
    pub name: String,
    /// ARN of the assumed role.
    pub role: Option<String>,
}

impl Caller {
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), role: None }
    }

    /// This caller in a role.
    #[must_use]
    pub fn in_role(self, role_arn: impl Into<String>) -> Self {
        Self { role: Some(role_arn.into()), ..self }
    }
}

/// The end of a call, from the caller's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service answered.
    Answered(Result<Answer, ApiError>),
    /// Something in between answered, with HTML.
    Html { status: u16 },
    /// Status 200 and no body at all.
    Empty,
    /// The connection was closed without an answer. Whether the call was executed the caller cannot know.
    Dropped,
    /// Nothing comes, ever.
    Silence,
}

/// The outcome of a call, and when it reaches the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// From the call to its outcome. With [`Service::finish`]: from the execution to the outcome.
    pub delay: Duration,
    pub outcome: Outcome,
}

/// A call that is on its way to the service; [`Service::finish`] executes it.
#[derive(Debug)]
#[must_use = "the call is executed by Service::finish"]
pub struct Started {
    /// How long the request travels before it is executed.
    pub delay: Duration,
    /// How long the answer travels.
    way_back: Duration,
    caller: Caller,
    operation: Operation,
    sequence: u64,
    fate: Fate,
}

/// The fate of a call under the faults.
#[derive(Debug, Default)]
struct Fate {
    /// The service never sees the call.
    lost: Option<Outcome>,
    /// The service sees it and does not execute it.
    refused: Option<ApiError>,
    /// The failure that reaches the caller in the answer's place.
    instead: Option<Outcome>,
    /// A read sees the account as it was this long ago.
    age: Duration,
    latency: Duration,
}

/// An account and everything between it and its callers.
pub struct Service {
    account: Account,
    history: History,
    buckets: Option<Buckets>,
    faults: BTreeMap<FaultId, Fault>,
    next_fault: u64,
    imds_faults: BTreeMap<String, ImdsFault>,
    /// The policies of callers, by the caller's role or else its name.
    policies: BTreeMap<String, Policy>,
    log: CallLog,
    random: fastrand::Rng,
    changes: watch::Sender<Account>,
}

impl Service {
    /// A service with EC2's default throttling and no faults.
    pub fn new(account: Account, seed: u64) -> Self {
        let (changes, _) = watch::channel(account.clone());
        Self {
            history: History::starting_with(account.clone()),
            account,
            buckets: Some(Buckets::default()),
            faults: BTreeMap::new(),
            next_fault: 1,
            imds_faults: BTreeMap::new(),
            policies: BTreeMap::new(),
            log: CallLog::default(),
            random: fastrand::Rng::with_seed(seed),
            changes,
        }
    }

    /// The account as it is now.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Follows the account: the receiver holds the newest state and wakes after every change.
    pub fn subscribe(&self) -> watch::Receiver<Account> {
        self.changes.subscribe()
    }

    /// Changes the account from outside, as an operator would: no throttling, no faults, nothing in the log.
    pub fn change<R>(&mut self, now: Duration, change: impl FnOnce(&mut Account) -> R) -> R {
        let before = self.account.revision();
        let result = change(&mut self.account);
        self.remember_if_changed(now, before);
        result
    }

    /// Makes the whole call at one moment; the reply's delay covers both ways.
    pub fn call(&mut self, now: Duration, caller: &Caller, operation: &Operation) -> Reply {
        let started = self.start(now, caller, operation);
        let there = started.delay;
        let Reply { delay, outcome } = self.finish(now, started);
        Reply { delay: there + delay, outcome }
    }

    /// Takes a call in: counts it and decides what the faults do to it. It is executed by [`Self::finish`], after its
    /// delay, so that calls overlap as they do on a network.
    pub fn start(&mut self, now: Duration, caller: &Caller, operation: &Operation) -> Started {
        let mut fate = Fate::default();
        self.strike(Stage::Way, caller, operation, &mut fate);
        if fate.lost.is_none() {
            if !self.buckets_allow(now, operation) {
                fate.refused = Some(ApiError::throttled());
            }
            self.strike(Stage::Service, caller, operation, &mut fate);
            self.strike(Stage::Answer, caller, operation, &mut fate);
        }
        let sequence = self.log.begin(now, caller, operation);
        let there = fate.latency / 2;
        Started {
            delay: there,
            way_back: fate.latency - there,
            caller: caller.clone(),
            operation: operation.clone(),
            sequence,
            fate,
        }
    }

    /// Lets the faults of one stage act. A fault that could change nothing any more does not strike, and is not used up.
    fn strike(&mut self, stage: Stage, caller: &Caller, operation: &Operation, fate: &mut Fate) {
        for fault in self.faults.values_mut() {
            let open = match fault.kind.stage() {
                other if other != stage => false,
                Stage::Way => fate.lost.is_none(),
                Stage::Service => fate.refused.is_none(),
                Stage::Answer => fate.instead.is_none(),
            };
            if open && fault.strikes(caller, operation, &mut self.random) {
                fate.suffer(&fault.kind, caller, operation, &mut self.random);
            }
        }
    }

    /// Executes a call that was started.
    pub fn finish(&mut self, now: Duration, started: Started) -> Reply {
        let Started { way_back, caller, operation, sequence, fate, .. } = started;
        let (code, outcome) = match fate {
            Fate { lost: Some(outcome), .. } => (log::LOST.to_owned(), outcome),
            Fate { refused, instead, age, .. } => {
                let refused = refused.or_else(|| self.refusal(&caller, &operation));
                let result = refused.map_or_else(|| self.execute(now, &operation, age), Err);
                let code = match &result {
                    Ok(_) => log::OK.to_owned(),
                    Err(error) => error.code.to_string(),
                };
                (code, instead.unwrap_or(Outcome::Answered(result)))
            }
        };
        self.log.end(sequence, code);
        Reply { delay: way_back, outcome }
    }

    /// The refusal if the caller has a policy that does not allow the call. A caller without a policy may do everything.
    fn refusal(&self, caller: &Caller, operation: &Operation) -> Option<ApiError> {
        let who = caller.role.as_ref().unwrap_or(&caller.name);
        let Denial { action, resource, is_explicit } = self.policies.get(who)?.judge(&self.account, operation).err()?;
        let why = if is_explicit {
            "with an explicit deny in an identity-based policy".to_owned()
        } else {
            format!("because no identity-based policy allows the {action} action")
        };
        let sentence = format!("User: {who} is not authorized to perform: {action} on resource: {resource} {why}");
        Some(if operation.is_sts() {
            ApiError::new(403, "AccessDenied", sentence)
        } else {
            let begin = "You are not authorized to perform this operation.";
            ApiError::new(403, "UnauthorizedOperation", format!("{begin} {sentence}"))
        })
    }

    fn execute(&mut self, now: Duration, operation: &Operation, age: Duration) -> Result<Answer, ApiError> {
        if operation.is_write() {
            let before = self.account.revision();
            let result = self.account.apply(operation);
            self.remember_if_changed(now, before);
            return result;
        }
        self.history.at(now.saturating_sub(age)).clone().apply(operation)
    }

    fn remember_if_changed(&mut self, now: Duration, before: u64) {
        if self.account.revision() != before {
            self.history.push(now, self.account.clone());
            self.changes.send_replace(self.account.clone());
        }
    }

    fn buckets_allow(&mut self, now: Duration, operation: &Operation) -> bool {
        self.buckets.as_mut().is_none_or(|buckets| buckets.take(now, operation))
    }

    /// Gives a caller a policy, by its role's ARN or else its name; `None` allows it everything again.
    pub fn set_policy(&mut self, caller: &str, policy: Option<Policy>) {
        match policy {
            Some(policy) => self.policies.insert(caller.into(), policy),
            None => self.policies.remove(caller),
        };
    }

    /// Switches EC2's own throttling on (with full buckets) or off.
    pub fn set_throttling(&mut self, throttling: Throttling) {
        self.buckets = match throttling {
            Throttling::Off => None,
            Throttling::Default => Some(Buckets::default()),
        };
    }

    /// Switches a fault on. A fault on the way to the service comes before a fault of the service, and that before a fault
    /// of the answer; of several faults at the same place the one that was switched on first wins. Latencies add up.
    pub fn add_fault(&mut self, fault: Fault) -> FaultId {
        let id = FaultId(self.next_fault);
        self.next_fault += 1;
        self.faults.insert(id, fault);
        id
    }

    /// Switches a fault off; says whether it was on.
    pub fn remove_fault(&mut self, id: FaultId) -> bool {
        self.faults.remove(&id).is_some()
    }

    /// Switches all faults off, those of the metadata service included.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
        self.imds_faults.clear();
    }

    /// The faults that are on, used-up ones included.
    pub fn faults(&self) -> impl Iterator<Item = (FaultId, &Fault)> {
        self.faults.iter().map(|(id, fault)| (*id, fault))
    }

    /// The fault of a node's metadata service; `None` if the service works.
    pub fn imds_fault(&self, node: &str) -> Option<ImdsFault> {
        self.imds_faults.get(node).copied()
    }

    /// Breaks or repairs a node's metadata service.
    pub fn set_imds_fault(&mut self, node: &str, fault: Option<ImdsFault>) {
        match fault {
            Some(fault) => self.imds_faults.insert(node.into(), fault),
            None => self.imds_faults.remove(node),
        };
    }

    /// The calls so far.
    pub fn log(&self) -> &CallLog {
        &self.log
    }

    /// The place in the log where the next call will be.
    pub fn mark(&self) -> Mark {
        self.log.mark()
    }

    /// The calls from a mark on, in the order in which they started.
    pub fn calls_since(&self, mark: Mark) -> impl Iterator<Item = &Call> {
        self.log.since(mark)
    }

    /// Forgets all calls. Marks stay valid.
    pub fn clear_log(&mut self) {
        self.log.clear();
    }
}

/// Whether EC2's token buckets are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Throttling {
    Off,
    /// EC2's buckets for an account that asked for no more, shared by all callers.
    Default,
}

impl Started {
    /// Who made the call.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl Fate {
    fn suffer(&mut self, kind: &FaultKind, caller: &Caller, operation: &Operation, random: &mut fastrand::Rng) {
        match kind {
            FaultKind::Latency { least, most } => self.latency += between(random, *least, *most),
            FaultKind::Stale { up_to } => self.age = between(random, Duration::ZERO, *up_to),
            FaultKind::Throttle => self.refused = Some(ApiError::throttled()),
            FaultKind::ServerError { status, code } => {
                self.refused = Some(ApiError::new(*status, code.clone(), "An internal error has occurred"));
            }
            FaultKind::Deny => self.refused = Some(denied(caller, operation)),
            FaultKind::ProxyHtml { status } => self.lost = Some(Outcome::Html { status: *status }),
            FaultKind::DropBefore | FaultKind::Cut { how: Cut::Refuse } => self.lost = Some(Outcome::Dropped),
            FaultKind::Cut { how: Cut::Hang } => self.lost = Some(Outcome::Silence),
            FaultKind::EmptyBody => self.instead = Some(Outcome::Empty),
            FaultKind::DropAfter => self.instead = Some(Outcome::Dropped),
        }
    }
}

fn denied(caller: &Caller, operation: &Operation) -> ApiError {
    let who = caller.role.as_ref().unwrap_or(&caller.name);
    if operation.is_sts() {
        let message = format!("{who} is not authorized to perform: sts:{}", operation.name());
        return ApiError::new(403, "AccessDenied", message);
    }
    ApiError::unauthorized(who, operation.name())
}

fn between(random: &mut fastrand::Rng, least: Duration, most: Duration) -> Duration {
    least + most.saturating_sub(least).mul_f64(random.f64())
}
