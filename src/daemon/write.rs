//! Writes: at most one for each errand, performed as planned, and withdrawn if the plan changes before they are sent.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::action::{Action, Force, RouteCall};
use crate::ec2::{Accepted, Class, Ec2Error, Ec2Write, Effect, Urgency};
use crate::host::{Host, HostError, LocalAddress};
use crate::ids::{ClaimId, Term};
use crate::plan::Purpose;
use crate::report::{News, Reporter};
use crate::vip::BindingKey;

/// What one write is for: a binding, or the claim's record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Errand {
    Binding(BindingKey),
    Record,
}

impl Errand {
    pub fn key(&self) -> Option<&BindingKey> {
        match self {
            Self::Binding(key) => Some(key),
            Self::Record => None,
        }
    }
}

/// The writes that are under way: at most one for each errand, so that no two of ours can overtake one another.
#[derive(Debug, Default)]
pub struct Busy(BTreeMap<(IpAddr, Errand), UnderWay>);

#[derive(Debug)]
struct UnderWay {
    action: Action,
    /// Whether the newest plan still wants it: a write that waits for the rate limit looks here before it goes.
    wanted: Rc<Cell<bool>>,
}

impl Busy {
    pub fn done(&mut self, written: &Written) {
        self.0.remove(&(written.write.vip, written.write.errand.clone()));
    }

    pub fn no_cloud_write(&self) -> bool {
        !self.0.values().any(|write| write.action.is_cloud())
    }

    pub fn is_under_way(&self, vip: IpAddr, errand: &Errand) -> bool {
        self.0.contains_key(&(vip, errand.clone()))
    }

    /// Tells the VIP's writes that still wait whether the newest plan wants them.
    pub fn replan<'a>(&self, vip: IpAddr, planned: impl Fn(&Errand) -> Option<&'a Action>) {
        for ((_, errand), write) in self.0.iter().filter(|((of, _), _)| *of == vip) {
            write.wanted.set(planned(errand) == Some(&write.action));
        }
    }

    /// Starts a write.
    pub fn start<E: Ec2Write + 'static, H: Host + 'static>(
        &mut self,
        write: Write,
        urgency: Urgency,
        ec2: &Rc<E>,
        host: &Rc<H>,
        reporter: &Rc<dyn Reporter>,
    ) -> WriteFuture {
        let wanted = Rc::new(Cell::new(true));
        let under_way = UnderWay { action: write.action.clone(), wanted: Rc::clone(&wanted) };
        self.0.insert((write.vip, write.errand.clone()), under_way);
        let (ec2, host, reporter) = (Rc::clone(ec2), Rc::clone(host), Rc::clone(reporter));
        Box::pin(async move {
            if write.action.is_cloud() {
                ec2.admit(urgency).await;
            }
            let began = Instant::now();
            let result = if wanted.get() {
                let (vip, key, action) = (write.vip, write.errand.key(), &write.action);
                reporter.news(&News::ActionStarted { vip, key, action });
                Some(perform(&*ec2, &*host, action, urgency).await)
            } else {
                None
            };
            Written { write, result, took: began.elapsed() }
        })
    }
}

/// One change to be made, and what it is for.
pub struct Write {
    pub vip: IpAddr,
    pub errand: Errand,
    /// `None` for the claim's record.
    pub purpose: Option<Purpose>,
    /// The term to be recorded, for the claim's record.
    pub term: Option<Term>,
    pub action: Action,
    pub claim: Option<ClaimId>,
    /// The start that it belongs to: what failed before a new one holds nothing back after it.
    pub start: u64,
}

/// A write that ended.
pub struct Written {
    pub write: Write,
    /// `None` if it was withdrawn before it was sent.
    pub result: Option<Result<Accepted, Failure>>,
    pub took: Duration,
}

/// Why a write failed, whoever refused it.
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

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let class = match error {
            HostError::NotPermitted => Class::Denied,
            HostError::NoInterface(_) => Class::Rejected,
            HostError::Kernel { .. } => Class::Transient,
        };
        Self { class, effect: Effect::None, code: None, message: error.to_string() }
    }
}

pub type WriteFuture = Pin<Box<dyn Future<Output = Written>>>;

async fn perform<E: Ec2Write, H: Host>(
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

/// EC2 refuses these if the world is not as it was seen.
pub fn is_conditional(action: &Action) -> bool {
    matches!(
        action,
        Action::AssociateAddress { force: Force::IfFree, .. }
            | Action::AssignAddress { force: Force::IfFree, .. }
            | Action::PointRoute { call: RouteCall::CreateOnly, .. }
    )
}
