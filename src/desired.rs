//! What the hook's file asks for, as the planner sees it. The file's format is in `file`, which file a hook writes in
//! `next`, how a hook replaces the file in `write`, and what the daemon makes of one file after the other in `source`.

pub mod file;
pub mod next;
pub mod source;
pub(crate) mod write;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ids::ClaimId;

/// What is wanted of this node for one VIP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Desired {
    /// No file, or none that holds any more: touch nothing.
    Unknown(WhyUnknown),
    Standby(WhyStandby),
    Leader(Claim),
}

impl Desired {
    /// Why it is so, where the role alone does not say it.
    #[must_use]
    pub fn why(&self) -> Option<&'static str> {
        match self {
            Self::Leader(_) | Self::Standby(WhyStandby::Down) => None,
            Self::Standby(WhyStandby::Watchdog) => {
                Some("the file says leader, but Pgpool's watchdog says that this node does not hold the VIP")
            }
            Self::Standby(WhyStandby::GuardDead) => {
                Some("the file says leader, but the Pgpool watchdog process that said so is gone")
            }
            Self::Unknown(WhyUnknown::NoFile) => Some("no hook has run since this machine started"),
            Self::Unknown(WhyUnknown::Invalid) => Some("the desired-state file cannot be used"),
            Self::Unknown(WhyUnknown::OtherBoot) => Some("the desired-state file is from before this boot"),
            Self::Unknown(WhyUnknown::NotAskedSince) => Some(
                "Pgpool's watchdog contradicted the file before vipkeeper was restarted, and has not been asked since",
            ),
        }
    }
}

/// Why nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyUnknown {
    /// No hook has run since the machine started. Pgpool calls them only where it gains or loses the leadership: so it
    /// is on every node that has not led since.
    NoFile,
    /// The only file there is cannot be trusted or read, and no good one came before it.
    Invalid,
    /// The file was written before this boot.
    OtherBoot,
    /// An earlier daemon acted on the word of Pgpool's watchdog instead of the file; this one has not asked it yet.
    NotAskedSince,
}

/// Why the node stands by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyStandby {
    /// The `down` hook said so.
    Down,
    /// The file says leader, but the watchdog process that said it is gone.
    GuardDead,
    /// The file says leader, but Pgpool's watchdog says otherwise, and the config says to trust that.
    Watchdog,
}

/// One node's word that it became leader.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    pub id: ClaimId,
    /// When the hook that began it started: milliseconds since the Unix epoch.
    pub started_ms: u64,
}

/// Where the file of a delegate IP is.
#[must_use]
pub fn path(state_dir: &Path, delegate_ip: IpAddr) -> PathBuf {
    folder(state_dir).join(format!("{delegate_ip}.json"))
}

/// The folder of all desired-state files.
#[must_use]
pub fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("desired")
}
