//! Pgpool's side: `up` and `down` write down what should be, and `wait` waits until it is. They call nothing, start
//! nothing and print nothing. `up` and `down` take about a millisecond: while they run, Pgpool's watchdog may answer
//! none of its peers.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::desired::file::{DesiredFile, Leadership, Role, VERSION};
use crate::desired::write;
use crate::ids::ClaimId;
use crate::machine::clock::{self, Clocks};
use crate::machine::process::{self, Process};
use crate::pgpool::ancestors::{self, WatchdogProcess};

pub use super::wait::{WaitError, wait};
pub use crate::desired::write::WriteError;

/// What a hook has to know.
#[derive(Debug, Clone)]
pub struct HookContext {
    pub state_dir: PathBuf,
    /// The delegate IPs of the config, or what is wrong with that.
    pub configured: Result<Vec<IpAddr>, String>,
    pub caller: Caller,
}

/// The hook's process, and who runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub process: Process,
    /// When it started: milliseconds since the Unix epoch.
    pub started_ms: u64,
    pub boot_id: String,
    /// Pgpool's watchdog above it, if Pgpool runs it.
    pub watchdog: Option<WatchdogProcess>,
}

/// What a hook did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// This stands in the file now.
    Yes(DesiredFile),
    /// A hook that started later was faster: what it wrote stands.
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
}

impl HookError {
    /// 2 for what was asked, 1 for what came in the way.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownIp { .. } => 2,
            Self::Caller(_) | Self::Write(_) | Self::Wait(_) => 1,
        }
    }
}

impl Caller {
    /// This very process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn this_process() -> Result<Self, HookError> {
        let process = process::this_process().map_err(HookError::Caller)?;
        let boot_id = clock::boot_id().map_err(HookError::Caller)?;
        let watchdog = ancestors::watchdog_above(process.pid);
        Ok(Self { process, started_ms: process.started_ms(), boot_id, watchdog })
    }
}

impl HookContext {
    /// What to say although the hook does its work: one line.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let why = self.configured.as_ref().err()?;
        Some(format!(
            "the configuration has errors, so any delegate IP is taken and the state folder is {}: {why}",
            self.state_dir.display()
        ))
    }

    /// Refuses an address that the config does not have. Without a config, any may be meant.
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
pub fn up(context: &HookContext, delegate_ip: IpAddr) -> Result<Written, HookError> {
    let caller = &context.caller;
    write(context, delegate_ip, |present| Role::Leader(leadership(caller, present)))
}

/// Writes down that this node stands by.
///
/// # Errors
/// As for [`up`].
pub fn down(context: &HookContext, delegate_ip: IpAddr) -> Result<Written, HookError> {
    write(context, delegate_ip, |_| Role::Standby)
}

fn write(
    context: &HookContext,
    delegate_ip: IpAddr,
    role: impl Fn(Option<&DesiredFile>) -> Role,
) -> Result<Written, HookError> {
    context.must_know(delegate_ip)?;
    let caller = &context.caller;
    let written = write::replace(&context.state_dir, delegate_ip, caller.process, |present| {
        let now = Clocks::now();
        let of_this_boot = present.filter(|file| file.boot_id == caller.boot_id);
        if of_this_boot.is_some_and(|file| started_later(file, caller, now)) {
            return None;
        }
        Some(DesiredFile {
            version: VERSION,
            delegate_ip,
            // No file to build upon: the clock is beyond any number that was counted up from an earlier clock.
            sequence: present.map_or(now.wall_ms, |file| file.sequence.saturating_add(1)),
            written_ms: now.wall_ms,
            boot_id: caller.boot_id.clone(),
            hook: caller.process,
            role: role(of_this_boot),
        })
    })?;
    Ok(written.map_or(Written::Overtaken, Written::Yes))
}

/// A start that is still to come is nobody's, and must not keep all hooks from writing until then.
fn started_later(file: &DesiredFile, caller: &Caller, now: Clocks) -> bool {
    file.hook.started_after(&caller.process) && file.hook.start_time <= now.ticks()
}

/// The claim that this `up` affirms, or a new one.
///
/// Affirmed is a claim of the same watchdog process, called by that process itself (as after each address that leaves
/// the host) or by the same escalation. It is written again all the same: an older `down` that is still under way must
/// see that an `up` started later. Another escalation of the same watchdog process is another leadership, even if the
/// `down` between them got lost: meanwhile another node may have led, and the old claim would lose against its.
///
/// Without a watchdog above, a person asks, and means it: the claim is new, so that it also takes a VIP back that was
/// lost to another node. If Pgpool leads here, that leadership keeps its guard.
fn leadership(caller: &Caller, present: Option<&DesiredFile>) -> Leadership {
    let held = match present.map(|file| &file.role) {
        Some(Role::Leader(held)) => Some(held),
        Some(Role::Standby) | None => None,
    };
    let new = |guard, escalation| Leadership {
        claim: ClaimId::new(format!("{:032x}", fastrand::u128(..))),
        started_ms: caller.started_ms,
        guard,
        escalation,
    };
    match (&caller.watchdog, held) {
        (Some(watchdog), Some(held))
            if held.guard == Some(watchdog.guard)
                && (watchdog.escalation.is_none() || watchdog.escalation == held.escalation) =>
        {
            held.clone()
        }
        (Some(watchdog), _) => new(Some(watchdog.guard), watchdog.escalation),
        (None, Some(held)) if held.guard.as_ref().is_some_and(process::is_alive) => new(held.guard, held.escalation),
        (None, _) => new(None, None),
    }
}

fn listed(addresses: &[IpAddr]) -> String {
    if addresses.is_empty() {
        return "none".to_owned();
    }
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
