//! The events that the daemon tells of, and the trait by which the loop tells them. Nothing is said here.

use std::net::IpAddr;
use std::time::Duration;

use super::labels::{Direction, DriftReason, Outcome, PassResult, Source, State};
use crate::action::{Action, Purpose};
use crate::binding::BindingKey;
use crate::desired::Desired;
use crate::ec2::{Class, RequestReport};
use crate::ids::{ClaimId, InstanceId, Term};
use crate::machine::kernel::Reset;
use crate::problem::ProblemReason;
use crate::status::{ObstacleStatus, STALE_AFTER, Status};

/// How often the loop hands over its status when nothing changed.
pub const HEARTBEAT: Duration = Duration::from_secs(7);
// One slow turn of the loop raises no alarm.
const _: () = assert!(4 * HEARTBEAT.as_millis() < STALE_AFTER.as_millis());

/// The daemon's loop reports through this trait.
pub trait Reporter {
    /// Something happened.
    fn news(&self, news: &News<'_>);
    /// Takes how things stand now. The loop calls this after each turn that changed anything, after each pass, and at
    /// least each [`HEARTBEAT`]: these calls also show that the loop turns.
    fn status(&self, status: &Status);
}

/// One thing that happened. Durations are real time; the `…_ms` are Unix times in milliseconds.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    // Events, told when they happen: no status shows them, or two in a row leave the status as it was.
    /// The daemon has started. `instance` and `region` are `None` while this node does not know them.
    Started { version: &'a str, instance: Option<&'a InstanceId>, region: Option<&'a str> },
    /// A changed config is in force, or `error` says why the old one stays in force.
    Reloaded { error: Option<&'a str> },
    /// The daemon ends and leaves every binding where it is.
    Stopping,
    /// Pgpool's watchdog was asked. `silent` says why it did not answer; `None`: it answered.
    Witness { silent: Option<&'a str> },
    /// The time at which the credentials in use stop working; `None` if they never do.
    CredentialsExpiry { at_ms: Option<u64> },
    /// One pass of the loop is over.
    PassDone { result: PassResult, duration: Duration },
    /// One change of a binding, or of the claim's record (`None`), begins.
    ActionStarted { vip: IpAddr, key: Option<&'a BindingKey>, action: &'a Action },
    /// The connections of a local address were ended before the address was removed, or were left.
    ConnectionsReset { vip: IpAddr, address: IpAddr, reset: &'a Reset },
    /// The first packet of another machine came through the VIP, this long after EC2 accepted a change that leads it here.
    PacketsCame { vip: IpAddr, after: Duration },
    /// A change ended. `code` is EC2's error code and `error` is the whole reason; a success has neither.
    ActionDone {
        vip: IpAddr,
        key: Option<&'a BindingKey>,
        action: &'a Action,
        /// The purpose of a binding's change; `None` for the claim's record.
        purpose: Option<Purpose>,
        outcome: Outcome,
        code: Option<&'a str>,
        error: Option<&'a str>,
        duration: Duration,
    },
    /// One request to EC2 was answered or given up.
    Request(&'a RequestReport),

    // Changes of the status, which `changes` derives from the status before and the status after.
    /// The desired state of this node changed, or was read for the first time.
    DesiredChanged { vip: IpAddr, desired: &'a Desired },
    /// The desired-state file cannot be trusted or read; the last good one stays in force.
    DesiredInvalid { vip: IpAddr, why: &'a str },
    /// The desired-state file is good again.
    DesiredValid { vip: IpAddr },
    /// Whether the watchdog process lives that a leader's desired-state file names.
    GuardAlive { vip: IpAddr, alive: bool },
    /// The term under which this node's claim is recorded.
    ClaimTerm { vip: IpAddr, term: Term },
    /// This node's claim began, and `doubt` speaks against this node's clock, which gave the claim its term.
    ClaimClock { vip: IpAddr, claim: &'a ClaimId, doubt: &'a str },
    /// This node's claim gave way to a newer one.
    Superseded { vip: IpAddr, by: &'a InstanceId, term: Term },
    /// The VIP's bindings now point here, or do not point here any more.
    Takeover { vip: IpAddr, direction: Direction },
    /// Somebody keeps taking the VIP from this node, which holds it by right; `false`: nobody does any more.
    Contested { vip: IpAddr, contested: bool },
    /// EC2 has led the clients to nobody for longer than a failover takes; `false`: it leads them to somebody again.
    /// `leads_here` tells whether this node leads: then the obstacle is this node's own.
    NobodyServes { vip: IpAddr, nobody: bool, leads_here: bool },
    /// Packets for the VIP do not arrive where EC2 leads them: `why` says where they arrive. `None`: they do again.
    Astray { vip: IpAddr, why: Option<&'a str> },
    /// There is a watchdog of Pgpool, and for a while it has given no answer, or none that makes sense: `why` says which.
    /// `None`: that is over.
    WatchdogSilent { vip: IpAddr, why: Option<&'a str> },
    /// The watchdog contradicts the desired-state file; `false`: it does not any more.
    HookLost { vip: IpAddr, lost: bool },
    /// An operator holds the VIP: `why` says until when. `None`: the hold is over.
    Held { vip: IpAddr, why: Option<&'a str> },
    /// Every binding of the VIP was seen here for the first time under this claim. `after` is the time since the hook
    /// began, and `held` whether an operator's hold made that time longer.
    Converged { vip: IpAddr, claim: &'a ClaimId, after: Duration, held: bool },

    /// A binding differs from desired though nobody asked for a change. Each episode is told once.
    Drift { vip: IpAddr, key: &'a BindingKey, reason: DriftReason, detail: &'a str },
    /// A takeover by this node must fail because of `obstacle`; `stands` is false once that is over.
    Obstacle { vip: IpAddr, obstacle: &'a ObstacleStatus, stands: bool },
    /// A binding's state changed.
    BindingState { vip: IpAddr, key: &'a BindingKey, state: State, detail: &'a str },

    /// A source was read with success.
    Observed { source: Source, at_ms: u64 },
    /// A source could not be read.
    ReadFailed { source: Source, class: Class, error: &'a str },
    /// Room is kept for hooks that find the state folder's file system full, or `missing` says why there is none.
    Reserve { missing: Option<&'a str> },

    /// Something is wrong with the daemon as a whole; `reason` names the problem for as long as the problem lasts.
    Problem { reason: ProblemReason, message: &'a str },
    /// The problem with this `reason` is over.
    ProblemSolved { reason: ProblemReason },
}

/// One VIP as the config names it, so that its metrics exist before anything happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipKeys {
    pub vip: IpAddr,
    pub bindings: Vec<BindingKey>,
}
