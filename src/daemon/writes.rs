//! The loop's changes: which changes start, and what follows the end of a change.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Daemon;
use super::attempts::Releases;
use super::in_flight::{RateWait, Write, WriteFuture, Written, perform};
use crate::action::{Action, Purpose};
use crate::binding::Connections;
use crate::decide::plan::Change;
use crate::decide::retry::{Because, FollowUp};
use crate::ec2::{Ec2Read, Ec2Write};
use crate::identity::Identify;
use crate::machine::kernel::{Kernel, KernelError, Left, Reset};
use crate::machine::netlink::RESET_WITHIN;
use crate::observe::seen::{Moment, Now};
use crate::problem::ProblemReason;
use crate::report::News;
use crate::state_dir::Machine;

/// The removal of a local address waits no longer than this for the reset of its connections.
const WAIT_FOR_RESET: Duration = Duration::from_millis(500);
// The kernel's thread gives up first, so that it can say how many connections were ended.
const _: () = assert!(RESET_WITHIN.as_millis() < WAIT_FOR_RESET.as_millis());

impl<E: Ec2Read + Ec2Write + 'static, K: Kernel + 'static, I: Identify + 'static, M: Machine> Daemon<E, K, I, M> {
    /// Starts the planned changes that may go now, and persists the claims that they rest on. A change goes out when
    /// its future is first polled, and its claim is persisted before that. A problem tells of a claim that could not be
    /// persisted.
    pub(super) fn start_writes(&mut self, now: Now) {
        let kernel = self.kernel_look();
        let mut not_persisted = None;
        let mut writes = Vec::new();
        for vip in &mut self.vips {
            writes.extend(vip.next_writes(&mut self.in_flight, kernel, now.at));
            if let Err(message) = vip.persist(&self.around.machine) {
                not_persisted = Some(message);
            }
        }
        for (write, wait) in writes {
            self.writing.push(self.carry_out(write, wait, now.at));
        }
        match not_persisted {
            Some(message) => self.problems.lasts(ProblemReason::NotPersisted, message, now.wall_ms),
            None => self.problems.clear(ProblemReason::NotPersisted),
        }
    }

    /// Sends a change once the rate limit lets it through, unless the change was withdrawn before.
    fn carry_out(&self, write: Write, wait: Rc<RateWait>, planned_at: Moment) -> WriteFuture {
        let (ec2, kernel) = (Rc::clone(&self.around.ec2), Rc::clone(&self.around.kernel));
        let reporter = Rc::clone(&self.around.reporter);
        let planned = Instant::now();
        Box::pin(async move {
            let urgency = wait.over(&*ec2).await;
            let began = Instant::now();
            // A suspend during the call, which the runtime's clock does not count, leaves this moment right.
            let sent_at = planned_at + (began - planned);
            let mut reset = None;
            let result = match urgency {
                Some(urgency) => {
                    let (key, action) = (write.change.key(), write.change.action());
                    reporter.news(&News::ActionStarted { vip: write.vip, key, action });
                    reset = reset_before(action, &*kernel).await;
                    Some(perform(&*ec2, &*kernel, action, urgency).await)
                }
                None => None,
            };
            Written { write, result, reset, sent_at, took: began.elapsed() }
        })
    }

    /// Takes the end of a change into account and asks for the look that it calls for.
    pub(super) fn written(&mut self, written: &Written) {
        let now = self.now();
        let Written { write: Write { vip: delegate_ip, change, .. }, took, .. } = written;
        self.in_flight.done(&written.write);
        let Some(vip) = self.vips.iter_mut().find(|vip| vip.config.delegate_ip == *delegate_ip) else { return };
        let subject = change.subject();
        let tells_of_fault = vip.hurries(&subject) || (vip.was_waiting(&subject) && self.pulse.has_been_silent(now.at));
        if written.is_throttled() {
            self.pace.throttled(now.at);
        }
        let ending = vip.written(written, now, &mut self.around.rng);
        let is_taking = vip.situation().is_taking();
        let reporter = &*self.around.reporter;
        if let (Some(reset), Action::RemoveLocalAddress { address, .. }) = (&written.reset, change.action()) {
            reporter.news(&News::ConnectionsReset { vip: *delegate_ip, address: *address, reset });
        }
        if let (Some(outcome), Some(result)) = (ending.outcome, &written.result) {
            let failure = result.as_ref().err();
            reporter.news(&News::ActionDone {
                vip: *delegate_ip,
                key: change.key(),
                action: change.action(),
                purpose: change.purpose(),
                outcome,
                code: failure.and_then(|failure| failure.cause.code.as_deref()),
                error: failure.map(|failure| failure.message.as_str()),
                duration: *took,
            });
        }
        if subject.is_local() {
            self.stale.local = true;
            // An interface that is gone may have come back under another name.
            if written.misses_interface() {
                self.identifying.anew(now.at);
            }
            return;
        }
        self.schedule.follow_up(ending.follow_up, now.at);
        // A claim has converged once all its takes were seen, so a look is wanted soon.
        if is_taking && ending.follow_up == FollowUp::Confirm {
            self.schedule.once_idle();
        }
        self.note_pointed(written, now);
        if written.is_accepted() {
            self.pulse.accepted(now.at);
            if tells_of_fault {
                self.pulse.fault_over(now.at);
            }
            self.release_waiting(if tells_of_fault { Because::FaultOver } else { Because::OneWasAccepted });
        } else if written.is_unanswered() && self.pulse.was_in_fault(written.sent_at) {
            // If the change perhaps happened, its next try waits for a look.
            self.schedule.once_idle();
            self.release_waiting(Because::FaultOver);
        }
    }

    /// Notes a change that pointed a binding here, so that changes which undo one another are noticed.
    fn note_pointed(&mut self, written: &Written, now: Now) {
        let Write { vip, change, .. } = &written.write;
        if let Change::Binding { key, purpose: Purpose::Take | Purpose::Restore | Purpose::Retake, .. } = change
            && written.is_accepted()
        {
            self.own_writes.pointed_here(*vip, key, now.at);
            if key.kind.leads_clients() {
                self.post.accepted(*vip, now.at.saturating_sub(written.sent_at));
            }
        }
    }

    /// Lets a few of the changes that wait for their next try go now, because EC2's last answer shows that EC2 works
    /// again. Each change that succeeds lets a few more go. So a fault is left quickly, and a bucket that is still
    /// nearly empty is not run dry. These events tell of the end of a fault: a read that had failed succeeds; a change
    /// that had failed is accepted after a time without accepted changes; a change that was tried again because of the
    /// fault's end is accepted.
    pub(super) fn release_waiting(&mut self, because: Because) {
        let now = self.now().at;
        let mut releases = Releases::from(because);
        for vip in &mut self.vips {
            vip.release_waiting(&mut releases, &self.in_flight, now);
        }
    }
}

/// Ends the connections of the local address that `action` removes, if it removes one and its connections are to end.
/// Whatever comes of the reset, and however long it takes, the address goes afterwards.
async fn reset_before(action: &Action, kernel: &impl Kernel) -> Option<Reset> {
    let Action::RemoveLocalAddress { address, entries, connections: Connections::Reset } = action else {
        return None;
    };
    let unanswered =
        || KernelError::NoAnswer { doing: format!("reset the connections of {address}"), after: WAIT_FOR_RESET };
    let reset = timeout(WAIT_FOR_RESET, kernel.reset_connections(*address, entries)).await;
    Some(reset.unwrap_or_else(|_| Reset { ended: 0, left: Some(Left::Failed(unanswered())) }))
}
