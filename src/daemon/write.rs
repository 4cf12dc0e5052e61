//! The writes of the loop: what one is for, which are under way, and how one is carried out. A write that still waits for
//! the rate limit is given up when the plan no longer wants it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::action::{Action, Purpose};
use crate::binding::{BindingKey, Kind};
use crate::decide::plan::Plan;
use crate::ec2::{Accepted, Class, Ec2Error, Ec2Write, Effect, Urgency};
use crate::ids::{ClaimId, Term};
use crate::machine::kernel::{Kernel, KernelError, LocalAddress};
use crate::report::{News, Reporter};

/// What one write is about: of each there is at most one under way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Errand {
    Binding(BindingKey),
    /// This node's own claim on the anchor.
    Record,
    /// An old claim of another node.
    Forget,
}

/// What a write is to bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    Change(Purpose),
    Record(Term),
    Forget,
}

impl Errand {
    pub fn key(&self) -> Option<&BindingKey> {
        match self {
            Self::Binding(key) => Some(key),
            Self::Record | Self::Forget => None,
        }
    }

    /// Whether the kernel carries it out, and not EC2.
    pub fn is_local(&self) -> bool {
        self.key().is_some_and(|key| key.kind == Kind::LocalAddress)
    }

    /// What a plan does about it.
    pub fn planned<'a>(&self, plan: &'a Plan) -> Option<&'a Action> {
        match self {
            Self::Binding(key) => Some(&plan.bindings.get(key)?.step.as_ref()?.action),
            Self::Record => plan.record.as_ref().map(|(_, action)| action),
            Self::Forget => plan.forget.as_ref(),
        }
    }
}

/// The writes that are under way: at most one for each errand, so that no two of ours can overtake one another.
#[derive(Debug, Default)]
pub struct Busy(BTreeMap<(IpAddr, Errand), UnderWay>);

#[derive(Debug)]
struct UnderWay {
    action: Action,
    turn: Rc<Turn>,
}

/// A write's wait for the rate limit, and how it may end otherwise.
#[derive(Debug)]
pub struct Turn {
    urgency: Urgency,
    /// It is not wanted any more, and not sent.
    withdrawn: Notify,
    /// It is sent without waiting any longer.
    hurried: Notify,
    is_over: Cell<bool>,
}

impl Turn {
    /// Waits. How the write may go then; `None` if it is not to.
    async fn comes<E: Ec2Write>(&self, ec2: &E) -> Option<Urgency> {
        let urgency = tokio::select! {
            biased;
            () = self.withdrawn.notified() => None,
            () = self.hurried.notified() => Some(Urgency::Urgent),
            () = ec2.admit(self.urgency) => Some(self.urgency),
        };
        self.is_over.set(true);
        urgency
    }
}

impl Busy {
    /// A write begins.
    pub fn begin(&mut self, vip: IpAddr, errand: &Errand, action: &Action, urgency: Urgency) -> Rc<Turn> {
        let (withdrawn, hurried, is_over) = (Notify::new(), Notify::new(), Cell::new(!action.is_cloud()));
        let turn = Rc::new(Turn { urgency, withdrawn, hurried, is_over });
        self.0.insert((vip, errand.clone()), UnderWay { action: action.clone(), turn: Rc::clone(&turn) });
        turn
    }

    /// Lets what a claim tries again go at once, if it still waits for the rate limit. Says whether it did.
    pub fn hurry(&self, vip: IpAddr, errand: &Errand) -> bool {
        let turn = self.0.get(&(vip, errand.clone())).map(|write| &write.turn);
        let waiting = turn.filter(|turn| turn.urgency == Urgency::Paced && !turn.is_over.get());
        waiting.inspect(|turn| turn.hurried.notify_one()).is_some()
    }

    pub fn done(&mut self, write: &Write) {
        self.0.remove(&(write.vip, write.errand.clone()));
    }

    pub fn has(&self, vip: IpAddr, errand: &Errand) -> bool {
        self.0.contains_key(&(vip, errand.clone()))
    }

    /// A new plan of a VIP: what it does not want any more need not be sent.
    pub fn want_only(&self, vip: IpAddr, plan: &Plan) {
        for ((_, errand), write) in self.0.iter().filter(|((of, _), _)| *of == vip) {
            if errand.planned(plan) != Some(&write.action) {
                write.turn.withdrawn.notify_one();
            }
        }
    }

    /// Something else is wanted of the VIP now, or nothing: what was not sent yet stays unsent.
    pub fn want_nothing(&self, vip: IpAddr) {
        self.0.iter().filter(|((of, _), _)| *of == vip).for_each(|(_, write)| write.turn.withdrawn.notify_one());
    }

    pub fn no_cloud_write(&self) -> bool {
        !self.0.values().any(|write| write.action.is_cloud())
    }
}

/// One write.
#[derive(Debug)]
pub struct Write {
    pub vip: IpAddr,
    pub errand: Errand,
    pub aim: Aim,
    pub action: Action,
    /// The claim under which it was planned.
    pub claim: Option<ClaimId>,
    /// The start that it belongs to: what failed before a new one holds nothing back after it.
    pub start: u64,
}

impl Write {
    /// Sends it, unless nobody wants it any more once the rate limit lets it through.
    pub async fn carry_out<E: Ec2Write, H: Kernel>(
        self,
        ec2: &E,
        host: &H,
        turn: &Turn,
        reporter: &dyn Reporter,
    ) -> Written {
        let urgency = if self.action.is_cloud() { turn.comes(ec2).await } else { Some(turn.urgency) };
        let began = Instant::now();
        let result = match urgency {
            Some(urgency) => {
                reporter.news(&News::ActionStarted { vip: self.vip, key: self.errand.key(), action: &self.action });
                Some(perform(ec2, host, &self.action, urgency).await)
            }
            None => None,
        };
        Written { write: self, result, took: began.elapsed() }
    }
}

/// A write that ended.
#[derive(Debug)]
pub struct Written {
    pub write: Write,
    /// `None` if it was withdrawn before it was sent.
    pub result: Option<Result<Accepted, Failure>>,
    pub took: Duration,
}

impl Written {
    pub fn is_accepted(&self) -> bool {
        matches!(self.result, Some(Ok(_)))
    }

    pub fn is_unanswered(&self) -> bool {
        matches!(&self.result, Some(Err(failure)) if failure.class == Class::Transient)
    }
}

/// Why a write failed, whoever refused it.
#[derive(Debug)]
pub struct Failure {
    pub class: Class,
    pub effect: Effect,
    pub code: Option<String>,
    pub message: String,
}

impl From<Ec2Error> for Failure {
    fn from(error: Ec2Error) -> Self {
        Self { class: error.class, effect: error.effect, message: error.to_string(), code: error.code }
    }
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        let class = match error {
            KernelError::NotPermitted => Class::Denied,
            KernelError::NoInterface(_) => Class::Rejected,
            KernelError::Kernel { .. } | KernelError::NoAnswer { .. } => Class::Transient,
        };
        Self { class, effect: Effect::None, code: None, message: error.to_string() }
    }
}

pub type WriteFuture = Pin<Box<dyn Future<Output = Written>>>;

/// What a write's end asks of the next looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Accepted: EC2 is to show it.
    Confirm,
    /// Refused because the world is not as it was seen.
    LookNow,
    /// Nobody knows whether it happened.
    LookSoon,
    Nothing,
}

async fn perform<E: Ec2Write, H: Kernel>(
    ec2: &E,
    host: &H,
    action: &Action,
    urgency: Urgency,
) -> Result<Accepted, Failure> {
    let local = |interface: &String, address: &IpAddr| LocalAddress { interface: interface.clone(), address: *address };
    let done = Accepted { association: None, changed: true };
    match action {
        Action::AddLocalAddress { interface, address } => {
            host.add(&local(interface, address)).await.map(|()| done).map_err(Failure::from)
        }
        Action::RemoveLocalAddress { interface, address } => {
            host.remove(&local(interface, address)).await.map(|()| done).map_err(Failure::from)
        }
        cloud => ec2.perform(cloud, urgency).await.map_err(Failure::from),
    }
}
