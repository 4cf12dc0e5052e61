//! The changes that are under way. Each subject has at most one, so that no two changes of this daemon can overtake one
//! another. A change that still waits for the rate limit is given up when the plan no longer wants it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::action::Action;
use crate::decide::plan::{Change, Plan, Subject};
use crate::ec2::{Accepted, Class, Ec2Error, Ec2Write, Effect, Urgency};
use crate::ids::ClaimId;
use crate::machine::kernel::{Kernel, KernelError, LocalAddress, Reset};
use crate::observe::cause::{Cause, KernelFault};
use crate::observe::seen::Moment;

/// One change that the loop carries out.
#[derive(Debug)]
pub struct Write {
    pub vip: IpAddr,
    pub change: Change,
    /// The claim under which the change was planned.
    pub claim: Option<ClaimId>,
    /// The number of the fresh start that the change belongs to. A failure from before a fresh start delays nothing
    /// after it.
    pub start: u64,
}

/// A change that ended.
#[derive(Debug)]
pub struct Written {
    pub write: Write,
    /// `None` if the change was withdrawn before it was sent.
    pub result: Option<Result<Accepted, Failure>>,
    /// The reset of the connections that the change left behind; `None` if the change leaves none behind.
    pub reset: Option<Reset>,
    /// When the change was sent, by the clock since boot.
    pub sent_at: Moment,
    pub took: Duration,
}

impl Written {
    pub fn is_accepted(&self) -> bool {
        matches!(self.result, Some(Ok(_)))
    }

    pub fn is_throttled(&self) -> bool {
        matches!(&self.result, Some(Err(failure)) if failure.class == Class::Throttled)
    }

    /// Whether the kernel did not find the interface.
    pub fn misses_interface(&self) -> bool {
        let fault = |failure: &Failure| failure.cause.kernel.as_ref().is_some_and(|it| *it == KernelFault::NoInterface);
        matches!(&self.result, Some(Err(failure)) if fault(failure))
    }

    pub fn is_unanswered(&self) -> bool {
        matches!(&self.result, Some(Err(failure)) if failure.class == Class::Transient)
    }
}

/// A change on its way, as the loop polls it.
pub type WriteFuture = Pin<Box<dyn Future<Output = Written>>>;

/// Why a change failed, in EC2 or in the kernel.
#[derive(Debug, Clone)]
pub struct Failure {
    pub class: Class,
    pub effect: Effect,
    pub cause: Cause,
    pub message: String,
}

impl From<Ec2Error> for Failure {
    fn from(error: Ec2Error) -> Self {
        Self { class: error.class, effect: error.effect, cause: Cause::from(&error), message: error.to_string() }
    }
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        let class = match error {
            KernelError::NotPermitted => Class::Denied,
            KernelError::NoInterface(_) => Class::Rejected,
            KernelError::Kernel { .. } | KernelError::NoAnswer { .. } => Class::Transient,
        };
        let effect = match error {
            KernelError::NoAnswer { .. } => Effect::Unknown,
            KernelError::NotPermitted | KernelError::NoInterface(_) | KernelError::Kernel { .. } => Effect::None,
        };
        Self { class, effect, cause: Cause::from(&error), message: error.to_string() }
    }
}

/// Carries out one action, in EC2 or in the kernel.
pub async fn perform<E: Ec2Write, K: Kernel>(
    ec2: &E,
    kernel: &K,
    action: &Action,
    urgency: Urgency,
) -> Result<Accepted, Failure> {
    let done = Accepted { association: None, changed: true };
    match action {
        Action::AddLocalAddress { interface, address } => {
            let wanted = LocalAddress::single(interface, *address);
            kernel.add(&wanted).await.map(|()| done).map_err(Failure::from)
        }
        Action::RemoveLocalAddress { entries, .. } => {
            let mut removed = Ok(done);
            for entry in entries {
                // An entry that stays keeps no other entry here.
                if let (Err(error), Ok(_)) = (kernel.remove(entry).await, &removed) {
                    removed = Err(Failure::from(error));
                }
            }
            removed
        }
        cloud => ec2.perform(cloud, urgency).await.map_err(Failure::from),
    }
}

/// The changes that are under way.
#[derive(Debug, Default)]
pub struct InFlight(BTreeMap<(IpAddr, Subject), UnderWay>);

#[derive(Debug)]
struct UnderWay {
    action: Action,
    wait: Rc<RateWait>,
}

/// A change's wait for the rate limit. The wait ends early if the change is withdrawn or hurried.
#[derive(Debug)]
pub struct RateWait {
    urgency: Urgency,
    /// Tells the wait that the change is not wanted any more. The change is then not sent.
    withdrawn: Notify,
    /// Tells the wait that the change is to be sent without waiting any longer.
    hurried: Notify,
    is_over: Cell<bool>,
}

impl RateWait {
    /// Waits, and returns the urgency with which the change goes then; `None` if the change was withdrawn. A change in
    /// the kernel never waits.
    pub async fn over<E: Ec2Write>(&self, ec2: &E) -> Option<Urgency> {
        if self.is_over.get() {
            return Some(self.urgency);
        }
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

impl InFlight {
    /// Notes that a change begins.
    pub fn begin(&mut self, vip: IpAddr, change: &Change, urgency: Urgency) -> Rc<RateWait> {
        let action = change.action().clone();
        let (withdrawn, hurried, is_over) = (Notify::new(), Notify::new(), Cell::new(!action.is_cloud()));
        let wait = Rc::new(RateWait { urgency, withdrawn, hurried, is_over });
        self.0.insert((vip, change.subject()), UnderWay { action, wait: Rc::clone(&wait) });
        wait
    }

    /// Lets a claim's next try go at once, if it still waits for the rate limit. Returns whether it was waiting.
    pub fn hurry(&self, vip: IpAddr, subject: &Subject) -> bool {
        let wait = self.0.get(&(vip, subject.clone())).map(|under_way| &under_way.wait);
        let waiting = wait.filter(|wait| wait.urgency == Urgency::Paced && !wait.is_over.get());
        waiting.inspect(|wait| wait.hurried.notify_one()).is_some()
    }

    pub fn done(&mut self, write: &Write) {
        self.0.remove(&(write.vip, write.change.subject()));
    }

    pub fn has(&self, vip: IpAddr, subject: &Subject) -> bool {
        self.0.contains_key(&(vip, subject.clone()))
    }

    /// Withdraws the changes of a VIP that its new plan does not want any more. A change that was sent already goes on.
    pub fn want_only(&self, vip: IpAddr, plan: &Plan) {
        for ((_, subject), under_way) in self.0.iter().filter(|((of, _), _)| *of == vip) {
            if plan.action(subject) != Some(&under_way.action) {
                under_way.wait.withdrawn.notify_one();
            }
        }
    }

    /// Withdraws all changes of the VIP that were not sent yet.
    pub fn want_nothing(&self, vip: IpAddr) {
        self.0
            .iter()
            .filter(|((of, _), _)| *of == vip)
            .for_each(|(_, under_way)| under_way.wait.withdrawn.notify_one());
    }

    /// Whether a change is on its way to EC2.
    pub fn writes_to_ec2(&self) -> bool {
        self.0.values().any(|under_way| under_way.action.is_cloud())
    }
}
