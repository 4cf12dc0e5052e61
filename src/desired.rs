//! The role that the hook's file asks for, as the planner sees it. `file` holds the file's format, `next` the rule for
//! the file that a hook writes, `write` the replacement of the file, and `source` the daemon's view of one file after
//! the other. `hold` is an operator's word beside the hook's: change nothing for a time.

pub mod file;
pub mod hold;
pub mod next;
pub mod source;
pub(crate) mod write;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::ClaimId;

/// The role that is wanted of this node for one VIP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Desired {
    /// There is no file that still holds. The daemon touches nothing.
    Unknown(WhyUnknown),
    Standby(WhyStandby),
    Leader(Claim),
}

impl Desired {
    /// The reason for the role, where the role alone does not tell it.
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
                "Pgpool's watchdog contradicted the file before vipkeeper was restarted or stood still, and has not been asked \
                 since",
            ),
        }
    }
}

/// The reason why nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyUnknown {
    /// No hook has run since the machine started. Pgpool runs hooks only where it gains or loses the leadership, so
    /// every node that has not led since the start is in this state.
    NoFile,
    /// The only file cannot be trusted or read, and no good file came before it.
    Invalid,
    /// The file was written before this boot.
    OtherBoot,
    /// The daemon followed Pgpool's watchdog against the file before it was restarted, or before the machine was
    /// suspended. The watchdog has not been asked since.
    NotAskedSince,
}

/// The reason why the node stands by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyStandby {
    /// The `down` hook said so.
    Down,
    /// The file says leader, but the watchdog process that said so is gone.
    GuardDead,
    /// The file says leader, but Pgpool's watchdog says otherwise, and the config says to trust the watchdog.
    Watchdog,
}

/// One node's word that it became leader.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    pub id: ClaimId,
    /// The start of the hook that began the claim, in milliseconds since the Unix epoch. The claim's term comes from it.
    pub started_ms: u64,
    /// The start of that hook as time since the machine booted, suspended time included. The claim's age comes from this
    /// time, because the wall clock may step. `None` if the file comes from an older program.
    pub started_at: Option<Duration>,
}

/// The path of a delegate IP's file.
#[must_use]
pub fn path(state_dir: &Path, delegate_ip: IpAddr) -> PathBuf {
    folder(state_dir).join(format!("{delegate_ip}.json"))
}

/// The folder of all desired-state files.
#[must_use]
pub fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("desired")
}
