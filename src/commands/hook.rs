//! The commands that Pgpool runs. `up` and `down` write down which role is wanted, and `wait` waits until the daemon
//! has carried it out. The commands call no other service, start no process and print nothing. `up` and `down` take
//! about a millisecond: while they run, Pgpool's watchdog may answer none of its peers.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::desired::file::{DesiredFile, DesiredFileError};
use crate::desired::next::{Call, Hook, Request, next};
use crate::desired::write;
use crate::ids::{ClaimId, InstanceId};
use crate::machine::clock::{self, Clocks};
use crate::machine::{namespace, process};
use crate::pgpool::ancestors;

pub use crate::desired::write::WriteError;

/// Everything that a hook has to know.
#[derive(Debug, Clone)]
pub struct HookContext {
    pub state_dir: PathBuf,
    /// The delegate IPs of the config, or why the config cannot be used.
    pub configured: Result<Vec<IpAddr>, String>,
    pub caller: Hook,
}

/// The outcome of a hook's request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a hook has one outcome")]
pub enum HookOutcome {
    /// The desired-state file now has this content.
    Written(DesiredFile),
    /// A hook that started later wrote its file first, and that file stays.
    Overtaken,
}

/// Why a hook did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error("{delegate_ip} is no configured delegate IP; configured: {}", listed(configured))]
    UnknownIp { delegate_ip: IpAddr, configured: Vec<IpAddr> },
    #[error("cannot tell which process and boot this is")]
    Caller(#[source] std::io::Error),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Wait(#[from] WaitError),
    #[error(
        "cannot write or remove {} as uid {uid}; whoever may write the hooks' files, or root, may do so",
        path.display()
    )]
    Hold {
        path: PathBuf,
        uid: u32,
        #[source]
        source: std::io::Error,
    },
}

/// Why the claim did not converge, or not in time.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    #[error("{} does not exist: `vipkeeper up` has not run since the machine started", .0.display())]
    NoFile(PathBuf),
    #[error(transparent)]
    File(#[from] DesiredFileError),
    #[error("this node stands by for {0}: there is no claim to wait for")]
    Standby(IpAddr),
    #[error("the Pgpool watchdog process that claimed {0} is gone, and its claim with it")]
    GuardDead(IpAddr),
    #[error("this node's claim on {delegate_ip} gave way to a newer one of {by}")]
    Superseded { delegate_ip: IpAddr, by: InstanceId },
    #[error("{delegate_ip} did not converge within {}: {why}", humantime::format_duration(*timeout))]
    Timeout { delegate_ip: IpAddr, timeout: Duration, why: String },
}

impl HookError {
    /// The exit code: 2 for a request with a wrong delegate IP, 1 for any other error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownIp { .. } => 2,
            Self::Caller(_) | Self::Write(_) | Self::Wait(_) | Self::Hold { .. } => 1,
        }
    }
}

impl Hook {
    /// Describes this very process as the hook that calls.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn this_process() -> Result<Self, HookError> {
        let process = process::this_process().map_err(HookError::Caller)?;
        let boot_id = clock::boot_id().map_err(HookError::Caller)?;
        let watchdog = ancestors::watchdog_above(process.pid);
        let pid_namespace = namespace::own();
        Ok(Self { process, started_ms: process.started_ms(), boot_id, watchdog, pid_namespace })
    }
}

impl HookContext {
    /// The one-line warning for a hook that does its work all the same, if there is one.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let why = self.configured.as_ref().err()?;
        Some(format!(
            "the configuration has errors, so any delegate IP is taken and the state folder is {}: {why}",
            self.state_dir.display()
        ))
    }

    /// Refuses an address that the config does not have. Without a readable config every address is accepted.
    pub(super) fn must_know(&self, delegate_ip: IpAddr) -> Result<(), HookError> {
        match &self.configured {
            Ok(configured) if !configured.contains(&delegate_ip) => {
                Err(HookError::UnknownIp { delegate_ip, configured: configured.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// Writes down that this node is the leader.
///
/// # Errors
/// An unknown delegate IP, or a file that cannot be written.
pub fn up(context: &HookContext, delegate_ip: IpAddr) -> Result<HookOutcome, HookError> {
    write(context, delegate_ip, Call::Up)
}

/// Writes down that this node stands by.
///
/// # Errors
/// As for [`up`].
pub fn down(context: &HookContext, delegate_ip: IpAddr) -> Result<HookOutcome, HookError> {
    write(context, delegate_ip, Call::Down)
}

fn write(context: &HookContext, delegate_ip: IpAddr, call: Call) -> Result<HookOutcome, HookError> {
    context.must_know(delegate_ip)?;
    let hook = &context.caller;
    let request = Request { hook, delegate_ip, call };
    let written = write::replace(&context.state_dir, delegate_ip, hook.process, |present| {
        let new_claim = ClaimId::new(format!("{:032x}", fastrand::u128(..)));
        next(present, &request, Clocks::now(), new_claim, process::is_alive)
    })?;
    Ok(written.map_or(HookOutcome::Overtaken, HookOutcome::Written))
}

fn listed(addresses: &[IpAddr]) -> String {
    if addresses.is_empty() {
        return "none".to_owned();
    }
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
