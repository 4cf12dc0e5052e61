//! What the daemon knows, as one document: written to `<state_dir>/status.json`, served at `/status`, shown by
//! `vipkeeper status`, and read by `vipkeeper wait`. The fields are an interface: add, never rename. Words of closed sets
//! are [`OneOf`] theirs, so that the document of a newer daemon can be read as well.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::binding::Kind;
use crate::decide::plan::{Blocker, DriftReason, State};
use crate::desired::Desired;
use crate::ec2::Class;
use crate::ids::{ClaimId, InstanceId, Term};
use crate::names::{OneOf, names};
use crate::observe::cause::Cause;
use crate::observe::question::Source;
use crate::observe::seen::{Unseen, WhyUnseen};

pub mod file;
mod hint;
pub(crate) mod layout;
pub mod page;

/// The document's format; grows when a reader of the old one would be misled.
pub const VERSION: u32 = 1;

/// A status older than this means that the daemon is dead or stuck. Well above the heartbeat with which the loop tells
/// its status, so that one slow step of the loop is no alarm.
pub const STALE_AFTER: Duration = Duration::from_secs(30);

names!(
    /// What is wanted of this node for one VIP, without the why.
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
    /// Unix times in milliseconds, here and below.
    pub written_ms: u64,
    pub started_ms: u64,
    pub instance: Option<InstanceId>,
    pub region: Option<String>,
    /// When each source, or each part of it, was last read with success.
    pub sources: Vec<SourceStatus>,
    pub vips: Vec<VipStatus>,
    /// What is wrong with the daemon as a whole: no identity, a config that could not be reloaded.
    pub problems: Vec<Problem>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    pub source: OneOf<Source>,
    /// Which part of it, where it is read in several: the role whose route tables these are (`None`: this node's own
    /// account), or the subnet whose tags.
    #[serde(default)]
    pub part: Option<String>,
    pub last_success_ms: Option<u64>,
    /// Why the last read failed, if it did.
    pub error: Option<String>,
    /// The class of that failure.
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
    /// The claim that this status describes; `wait` compares it with the file's.
    pub claim: Option<ClaimStatus>,
    /// Every binding agrees with desired; or no hook has run yet, and nothing of the VIP points here.
    pub in_sync: bool,
    /// Whether this node was told to have gained the VIP, and not to have lost it since; `None` while nobody knows what
    /// is wanted, or nothing was looked at.
    #[serde(default)]
    pub holds: Option<bool>,
    pub bindings: Vec<BindingStatus>,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredStatus {
    pub role: OneOf<DesiredRole>,
    /// Why, where the role alone does not say it: one sentence.
    pub reason: Option<String>,
    pub since_ms: u64,
    /// Whether the watchdog process that a leader's file names lives; `None` if it names none.
    #[serde(default)]
    pub guard_alive: Option<bool>,
    /// The word that is in force, in full. It is for this process alone; a document that was read has none.
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
    /// The newer claim that this one gave way to.
    pub superseded_by: Option<InstanceId>,
    #[serde(default)]
    pub superseded_term: Option<Term>,
    /// Why its tag could not be written, as long as it is not on record because of that.
    #[serde(default)]
    pub record_error: Option<ErrorStatus>,
    #[serde(default)]
    pub next_record_ms: Option<u64>,
    /// The class of the failed read that leaves the claims on record unknown, as of an error.
    #[serde(default)]
    pub read_error_class: Option<OneOf<Class>>,
    /// Why the claims on record are unknown, if they are.
    #[serde(default)]
    pub unread: Option<UnseenStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BindingStatus {
    pub kind: Kind,
    pub target: String,
    pub state: OneOf<State>,
    /// What was seen or is being done: one short phrase.
    pub detail: String,
    pub since_ms: u64,
    /// In what way it differs although nobody asked for a change, if it does.
    #[serde(default)]
    pub drift: Option<OneOf<DriftReason>>,
    /// Who must act before this node does.
    #[serde(default)]
    pub blocked_by: Option<OneOf<Blocker>>,
    /// The planned change, if there is one, as `vipkeeper plan` says it.
    #[serde(default)]
    pub action: Option<String>,
    pub last_error: Option<ErrorStatus>,
    pub next_try_ms: Option<u64>,
    /// The class of the failed read that left its state unknown, as of an error.
    #[serde(default)]
    pub read_error_class: Option<OneOf<Class>>,
    /// Why its state is unknown, if it is.
    #[serde(default)]
    pub unseen: Option<UnseenStatus>,
}

/// Why something could not be seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnseenStatus {
    pub why: OneOf<Unseen>,
    /// The class of the read, if it failed.
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
    /// How often in a row.
    pub failures: u32,
    /// For how long the next try was held back when this one failed.
    #[serde(default)]
    pub held_back_ms: u64,
    #[serde(flatten)]
    pub cause: Cause,
}

names!(
    /// The names of the conditions.
    ConditionName {
        InSync = "InSync",
        DesiredValid = "DesiredValid",
        ClaimRecorded = "ClaimRecorded",
        Contested = "Contested",
        Superseded = "Superseded",
        HookLost = "HookLost",
        Witness = "Witness",
    }
);

/// The reasons of conditions that more than people tell apart.
pub mod reason {
    /// Of `InSync`: nothing is wanted, and nothing of the VIP points here.
    pub const NO_HOOK_YET: &str = "NoHookYet";
    /// Of `InSync`: it would be `NoHookYet` if everything could be read. Of `ClaimRecorded`: the anchor's tags cannot
    /// be read.
    pub const NOT_READ: &str = "NotRead";
    /// Of `InSync`.
    pub const NOT_LOOKED_YET: &str = "NotLookedYet";
    /// Of `ClaimRecorded`: this node's claim was read, and no other is newer.
    pub const ON_RECORD: &str = "OnRecord";
}

/// As in Kubernetes: a named statement that holds or does not, and since when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    pub name: OneOf<ConditionName>,
    pub holds: bool,
    /// One CamelCase word.
    pub reason: String,
    pub message: String,
    pub since_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    pub reason: String,
    /// What is wrong and what to do about it.
    pub message: String,
    pub since_ms: u64,
    /// How often the daemon met it.
    #[serde(default)]
    pub times: u32,
}

/// The reasons of problems that are told in words of their own.
pub mod problem {
    /// No room is kept for hooks that find the state folder's file system full.
    pub const NO_RESERVE: &str = "NoReserve";
    /// A changed config is not in force.
    pub const CONFIG_INVALID: &str = "ConfigInvalid";
}
