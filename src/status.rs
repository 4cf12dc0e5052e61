//! Everything that the daemon knows, as one document: written to `<state_dir>/status.json`, served at `/status`, shown
//! by `vipkeeper status`, and read by `vipkeeper wait`. The fields are an interface: add fields, never rename one.
//! Words of closed sets are read as [`OneOf`], so that an older program can read the document of a newer daemon.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::binding::{BindingKey, Kind};
use crate::decide::claim::Rival;
use crate::decide::plan::{Blocker, DriftReason, State};
use crate::desired::Desired;
use crate::ec2::Class;
use crate::ids::{ClaimId, InstanceId, Term};
use crate::names::{OneOf, names};
use crate::observe::cause::Cause;
use crate::observe::obstacles::ObstacleName;
use crate::observe::question::Source;
use crate::observe::seen::{Unseen, WhyUnseen};
use crate::problem::ProblemReason;

mod above;
mod by_hand;
pub mod clients;
mod condition;
mod conditions;
pub mod document;
pub mod event;
pub mod file;
pub mod frame;
mod headline;
pub mod hint;
pub mod html;
pub(crate) mod layout;
pub mod page;
pub mod picture;
pub mod runbook;
pub mod story;

pub use self::condition::{Condition, ConditionName, ConditionReason};

/// The version of the document's format. It grows when a reader of the old format would be misled.
pub const VERSION: u32 = 1;

/// A status that is older than this means that the daemon is dead or stuck. The limit is well above the heartbeat with
/// which the loop tells its status, so that one slow turn of the loop raises no alarm.
pub const STALE_AFTER: Duration = Duration::from_secs(30);

/// A clock that is off by this much or more is a problem, in milliseconds.
const CLOCK_OFF_MS: i64 = 1_000;

names!(
    /// The role that is wanted of this node for one VIP, without the reason.
    DesiredRole {
        Leader = "leader",
        Standby = "standby",
        Unknown = "unknown",
    }
);

impl From<&Desired> for DesiredRole {
    fn from(desired: &Desired) -> Self {
        match desired {
            Desired::Leader(_) => Self::Leader,
            Desired::Standby(_) => Self::Standby,
            Desired::Unknown(_) => Self::Unknown,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: u32,
    /// The program's version.
    pub program: String,
    pub pid: u32,
    /// A time `…_ms` is a Unix time in milliseconds, here and below.
    pub written_ms: u64,
    /// When this was written, in milliseconds since the machine booted, suspended time included. With it, the times since
    /// boot of the events can be told apart from a wall clock that was set meanwhile. Documents of older daemons have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_boot_ms: Option<u64>,
    pub started_ms: u64,
    pub instance: Option<InstanceId>,
    pub region: Option<String>,
    /// When each source, or each part of it, was last read with success.
    pub sources: Vec<SourceStatus>,
    pub vips: Vec<VipStatus>,
    /// This node's wall clock. `None` if nothing is known of it, and in documents of older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockStatus>,
    /// The problems of the daemon as a whole, like an unknown identity or a config that could not be reloaded.
    pub problems: Vec<Problem>,
}

/// The wall clock of a node. Claims are ordered by the nodes' wall clocks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// How far the clock is ahead of EC2's, in milliseconds, by the dates of EC2's answers. Negative if the clock is
    /// behind. `None` before the first answer that had a date.
    pub ahead_ms: Option<i64>,
    /// The largest error of `ahead_ms`, in milliseconds.
    pub error_ms: Option<i64>,
    /// Whether the kernel counts its clock as synchronised. `None` if the kernel may not be asked.
    pub synchronized: Option<bool>,
    /// The largest error of the clock in milliseconds, by the kernel's judgement.
    pub max_error_ms: Option<u64>,
}

impl ClockStatus {
    /// How far the clock is ahead of EC2's for certain, in milliseconds; negative: behind. `None` if that is less than a
    /// second, or not known.
    #[must_use]
    pub fn off_by_ms(&self) -> Option<i64> {
        let ahead_ms = self.ahead_ms?;
        // A document that somebody altered may have any number.
        let certain_ms = ahead_ms.saturating_abs().saturating_sub(self.error_ms.unwrap_or_default());
        (certain_ms >= CLOCK_OFF_MS).then(|| certain_ms.saturating_mul(ahead_ms.signum()))
    }

    /// Why a claim of this clock may be ordered wrongly; `None` if nothing speaks against the clock.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let offset = self.ahead_ms.zip(self.error_ms).map(|(ahead_ms, error_ms)| {
            let side = if ahead_ms < 0 { "behind" } else { "ahead of" };
            format!(
                "{} {side} EC2's (give or take {})",
                tenths(ahead_ms.unsigned_abs()),
                // The error is rounded up.
                tenths(error_ms.unsigned_abs().saturating_add(99))
            )
        });
        match (self.synchronized, offset) {
            (Some(false), Some(offset)) => Some(format!("not synchronised, and {offset}")),
            (Some(false), None) => Some("not synchronised".to_owned()),
            (Some(true) | None, offset) => offset.filter(|_| self.off_by_ms().is_some()),
        }
    }
}

impl ClockStatus {
    /// The doubt about this clock that wants an operator's attention. A clock that the kernel only does not count as
    /// synchronised wants none: chronyd does not tell the kernel without `rtcsync`, and keeps the clock right all the same.
    #[must_use]
    pub fn alarm(&self) -> Option<String> {
        let wide = self.max_error_ms.filter(|error_ms| *error_ms >= CLOCK_OFF_MS.unsigned_abs());
        let kernel = wide.map(|error_ms| format!("up to {} off, by the kernel's own judgement", tenths(error_ms)));
        match (self.doubt().filter(|_| wide.is_some() || self.off_by_ms().is_some()), kernel) {
            (Some(doubt), Some(kernel)) => Some(format!("{doubt}; {kernel}")),
            (doubt, kernel) => doubt.or(kernel),
        }
    }
}

/// A time in seconds with one decimal.
fn tenths(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    pub source: OneOf<Source>,
    /// The part of the source, where a source is read in several parts: the role whose route tables are read (`None`:
    /// this node's own account), or the subnet whose tags are read.
    #[serde(default)]
    pub part: Option<String>,
    pub last_success_ms: Option<u64>,
    /// Why the last read failed; `None` if it succeeded.
    pub error: Option<String>,
    /// The class of the last read's failure.
    #[serde(default)]
    pub class: Option<OneOf<Class>>,
    /// How often in a row the read failed.
    #[serde(default)]
    pub failures: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VipStatus {
    pub delegate_ip: IpAddr,
    pub desired: DesiredStatus,
    /// The claim that this status describes; `vipkeeper wait` compares it with the claim in the desired-state file.
    pub claim: Option<ClaimStatus>,
    /// Whether every binding agrees with desired. It is also true while no hook has run yet and nothing of the VIP
    /// points here.
    pub in_sync: bool,
    /// Whether the daemon reported that this node gained the VIP, and has not reported its loss since. `None` while it
    /// is not known which role is wanted, or while nothing was looked at.
    #[serde(default)]
    pub holds: Option<bool>,
    /// Where EC2 leads the clients; `None` before the first look, and in documents of older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientsStatus>,
    /// Who answers on the VIP; `None` without a probe, before its first answer, and in documents of older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<AnswersStatus>,
    pub bindings: Vec<BindingStatus>,
    pub conditions: Vec<Condition>,
    /// The connections that this daemon ended before it removed a local address of the VIP; `None` if it has removed
    /// none, or if connections are left behind by configuration.
    #[serde(default)]
    pub connections: Option<ConnectionsStatus>,
    /// Everything known that must make a takeover by this node fail.
    #[serde(default)]
    pub obstacles: Vec<ObstacleStatus>,
    /// The claims of other nodes that stand on the record, the newest first. Empty also while the record is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_claims: Vec<Rival>,
}

names!(
    /// Where EC2 leads the clients.
    ClientsAt {
        /// This node.
        Here = "here",
        Elsewhere = "elsewhere",
        /// The bindings in EC2 do not all lead to one place.
        Several = "several",
        Nowhere = "nowhere",
        /// Nothing was read yet.
        Unknown = "unknown",
    }
);

/// Where EC2 leads the clients, by the reads of this node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientsStatus {
    pub at: OneOf<ClientsAt>,
    /// The place in EC2, where it is not this node.
    #[serde(default)]
    pub place: Option<String>,
    /// The instance of that place, if EC2 shows it.
    #[serde(default)]
    pub instance: Option<InstanceId>,
    /// Whether that node leads. `None` where no claim on record tells.
    #[serde(default)]
    pub leads: Option<bool>,
    /// When the oldest of the reads began that showed the place.
    #[serde(default)]
    pub read_ms: Option<u64>,
    /// Whether the last reads succeeded. If not, the place is the one that was read last.
    pub current: bool,
    /// Since when this node has read that nobody serves the VIP.
    #[serde(default)]
    pub nobody_since_ms: Option<u64>,
    /// Whether nobody serves the VIP for longer than a failover takes.
    #[serde(default)]
    pub nobody_serves: bool,
}

impl ClientsStatus {
    /// Of a VIP of which nothing was read yet.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            at: ClientsAt::Unknown.into(),
            place: None,
            instance: None,
            leads: None,
            read_ms: None,
            current: false,
            nobody_since_ms: None,
            nobody_serves: false,
        }
    }
}

/// Who answers on the VIP, by the probes of this node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswersStatus {
    /// The node that answered the last question; `None` if nobody did.
    pub by: Option<InstanceId>,
    /// Whether the address is this node's own, so that no packet left it.
    #[serde(default)]
    pub inside: bool,
    /// When the first of the questions ended that all had this outcome.
    pub since_ms: u64,
    /// When somebody answered last; `None` if nobody ever did.
    #[serde(default)]
    pub answered_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectionsStatus {
    /// The number of connections that were ended since the daemon started.
    pub reset: u64,
    /// When connections were last to be ended.
    pub at_ms: u64,
    /// Why connections were left then; `None` if none was.
    pub left: Option<String>,
}

/// One thing that must make a takeover by this node fail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObstacleStatus {
    pub name: OneOf<ObstacleName>,
    /// The binding that must fail; `None` for the record of this node's claim.
    #[serde(default)]
    pub binding: Option<BindingKey>,
    /// The thing that stands in the way, in one sentence.
    pub message: String,
}

impl VipStatus {
    /// Whether this node stands by although its desired-state file says leader, because the watchdog process that said
    /// so is gone. This is normal if another node leads by now, and an outage if no node leads. Pgpool that was started
    /// again and stands by calls no hook, so its watchdog's word that this node does not lead ends it.
    #[must_use]
    pub fn watchdog_is_gone(&self) -> bool {
        self.desired.role == DesiredRole::Standby
            && self.desired.guard_alive == Some(false)
            && self.desired.watchdog_leads != Some(false)
    }
}

/// How long Pgpool's watchdog must have given no answer before that is told, in milliseconds. A node that does not lead asks it
/// each half minute, and a hook that Pgpool waits for is over sooner.
const SILENT_AFTER_MS: u64 = 60_000;

impl VipStatus {
    /// The condition by which Pgpool's watchdog, which is there, has given no answer for longer than a few looks, or none that
    /// makes sense. `now_ms` is a Unix time in milliseconds.
    #[must_use]
    pub fn silent_watchdog(&self, now_ms: u64) -> Option<&Condition> {
        let is_silent = |condition: &&Condition| {
            condition.name == ConditionName::Witness
                && !condition.holds
                && (condition.reason == ConditionReason::NoAnswer || condition.reason == ConditionReason::Unheard)
                && now_ms.saturating_sub(condition.since_ms) >= SILENT_AFTER_MS
        };
        self.conditions.iter().find(is_silent)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredStatus {
    pub role: OneOf<DesiredRole>,
    /// Why this role is wanted, in one sentence, where the role alone does not say it.
    pub reason: Option<String>,
    pub since_ms: u64,
    /// Whether the watchdog process lives that a leader's desired-state file names; `None` if the file names none.
    #[serde(default)]
    pub guard_alive: Option<bool>,
    /// Whether Pgpool's watchdog says that this node leads; `None` if it was not asked, or does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog_leads: Option<bool>,
    /// The desired state in force, in full. Only the daemon's own process has it: a document that was read has `None`.
    #[serde(skip)]
    pub asked: Option<Desired>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClaimStatus {
    pub id: ClaimId,
    pub term: Term,
    pub started_ms: u64,
    /// When every binding was first seen here under this claim.
    pub converged_ms: Option<u64>,
    /// Whether an operator's hold kept this node from acting before every binding was seen here. The time until then says
    /// nothing about how fast a takeover is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_held: bool,
    /// The node whose newer claim this claim gave way to.
    pub superseded_by: Option<InstanceId>,
    #[serde(default)]
    pub superseded_term: Option<Term>,
    /// Why the claim's tag could not be written. The error stays for as long as it keeps the claim off the record.
    #[serde(default)]
    pub record_error: Option<ErrorStatus>,
    #[serde(default)]
    pub next_record_ms: Option<u64>,
    /// If the claims on record are unknown because a read failed: the class of that failure.
    #[serde(default)]
    pub read_error_class: Option<OneOf<Class>>,
    /// Why the claims on record are unknown; `None` if they are known.
    #[serde(default)]
    pub unread: Option<UnseenStatus>,
    /// The doubt about this node's clock when the claim began; `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BindingStatus {
    pub kind: Kind,
    pub target: String,
    pub state: OneOf<State>,
    /// The binding's state as one short phrase: what was seen or is being done.
    pub detail: String,
    /// Since when the binding is in this state. While a binding is not in place, `drift`, `waiting` and `blocked` may
    /// take turns: that counts as one.
    pub since_ms: u64,
    /// When the read began that showed the state; `None` if the state is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_ms: Option<u64>,
    /// The place that was read last, while the state is unknown; `None` if nothing was read since the daemon started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<LastSeen>,
    /// How the binding differs from desired although nobody asked for a change; `None` without such a difference.
    #[serde(default)]
    pub drift: Option<OneOf<DriftReason>>,
    /// The obstacle that must go before this node acts.
    #[serde(default)]
    pub blocked_by: Option<OneOf<Blocker>>,
    /// The planned change, in the words of `vipkeeper plan`; `None` if no change is planned.
    #[serde(default)]
    pub action: Option<String>,
    pub last_error: Option<ErrorStatus>,
    pub next_try_ms: Option<u64>,
    /// If the binding's state is unknown because a read failed: the class of that failure.
    #[serde(default)]
    pub read_error_class: Option<OneOf<Class>>,
    /// Why the binding's state is unknown; `None` if the state is known.
    #[serde(default)]
    pub unseen: Option<UnseenStatus>,
}

/// The place at which a binding was seen before its reads began to fail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastSeen {
    /// The place as one short phrase.
    pub place: String,
    /// When that read began.
    pub read_ms: u64,
}

/// Why something could not be seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnseenStatus {
    pub why: OneOf<Unseen>,
    /// The class of the read's failure; `None` if no read failed.
    pub class: Option<OneOf<Class>>,
    #[serde(flatten)]
    pub cause: Cause,
}

impl From<&WhyUnseen> for UnseenStatus {
    fn from(why: &WhyUnseen) -> Self {
        let failed = why.failed_read();
        Self {
            why: why.kind().into(),
            class: failed.map(|failed| failed.class.into()),
            cause: failed.map(|failed| failed.cause.clone()).unwrap_or_default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorStatus {
    pub at_ms: u64,
    pub class: OneOf<Class>,
    pub message: String,
    /// How often in a row the try failed.
    pub failures: u32,
    /// How long the next try was to wait from this failure on, as a duration in milliseconds.
    #[serde(default)]
    pub held_back_ms: u64,
    #[serde(flatten)]
    pub cause: Cause,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    pub reason: OneOf<ProblemReason>,
    /// The message says what is wrong and what to do about it.
    pub message: String,
    pub since_ms: u64,
    /// How often the daemon met the problem.
    #[serde(default)]
    pub times: u32,
}
