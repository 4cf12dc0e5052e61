//! What the daemon knows, as one document: written to `<state_dir>/status.json`, served at `/status`, shown by
//! `vipkeeper status`, and read by `vipkeeper wait`. The fields are an interface: add, never rename.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::binding::Kind;
use crate::ids::{ClaimId, InstanceId, Term};

pub mod file;
mod hint;
pub(crate) mod layout;
pub mod page;

/// The document's format; grows when a reader of the old one would be misled.
pub const VERSION: u32 = 1;

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
    /// `addresses`, `route_tables`, `network_interfaces`, `tags`, `local_addresses`.
    pub source: String,
    /// Which part of it, where it is read in several: the role whose route tables these are (`None`: this node's own
    /// account), or the subnet whose tags.
    #[serde(default)]
    pub part: Option<String>,
    pub last_success_ms: Option<u64>,
    /// Why the last read failed, if it did.
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VipStatus {
    pub delegate_ip: IpAddr,
    pub desired: DesiredStatus,
    /// The claim that this status describes; `wait` compares it with the file's.
    pub claim: Option<ClaimStatus>,
    /// Every binding agrees with desired; or no hook has run yet, and nothing of the VIP points here.
    pub in_sync: bool,
    pub bindings: Vec<BindingStatus>,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredStatus {
    /// `leader`, `standby` or `unknown`.
    pub role: String,
    /// Why, where the role alone does not say it: one sentence.
    pub reason: Option<String>,
    pub since_ms: u64,
    /// Whether the watchdog process that a leader's file names lives; `None` if it names none.
    #[serde(default)]
    pub guard_alive: Option<bool>,
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
    /// Why its tag could not be written, as long as it is not on record because of that.
    #[serde(default)]
    pub record_error: Option<ErrorStatus>,
    #[serde(default)]
    pub next_record_ms: Option<u64>,
    /// The class of the failed read that leaves the claims on record unknown, as of an error.
    #[serde(default)]
    pub read_error_class: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BindingStatus {
    pub kind: Kind,
    pub target: String,
    /// `in_sync`, `drift`, `unknown`, `waiting` or `blocked`.
    pub state: String,
    /// What was seen or is being done: one short phrase.
    pub detail: String,
    pub since_ms: u64,
    /// Who must act before this node does: `no_record`, `not_escalated`, `unheard` or `no_hook`.
    #[serde(default)]
    pub blocked_by: Option<String>,
    pub last_error: Option<ErrorStatus>,
    pub next_try_ms: Option<u64>,
    /// The class of the failed read that left its state unknown, as of an error.
    #[serde(default)]
    pub read_error_class: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorStatus {
    pub at_ms: u64,
    pub class: String,
    pub message: String,
    /// How often in a row.
    pub failures: u32,
}

/// The names of the conditions.
pub mod condition {
    pub const IN_SYNC: &str = "InSync";
    pub const DESIRED_VALID: &str = "DesiredValid";
    pub const CLAIM_RECORDED: &str = "ClaimRecorded";
    pub const CONTESTED: &str = "Contested";
    pub const SUPERSEDED: &str = "Superseded";
    pub const HOOK_LOST: &str = "HookLost";
    pub const WITNESS: &str = "Witness";
}

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
    /// One of [`condition`]'s.
    pub name: String,
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
}
