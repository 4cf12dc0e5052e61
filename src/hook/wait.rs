//! Waits until the claim that the desired-state file names now has converged, as the daemon's status says. Looks at the
//! files again and again rather than being told: two small reads each 20 ms, for some seconds, once per leadership.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::{HookContext, HookError};
use crate::desired::file::{self, DesiredFileError, Role};
use crate::desired::plain::{self, PlainError};
use crate::desired::trust::TrustedOwners;
use crate::error::one_line;
use crate::ids::{ClaimId, InstanceId};
use crate::process::{self, Moment};
use crate::status::{self, BindingStatus, Status, VipStatus};

/// Where the daemon puts its status, in the state folder.
const STATUS_FILE: &str = "status.json";
const LOOK_EACH: Duration = Duration::from_millis(20);
/// Far more than the status of any node with the fifty VIPs that an anchor has room for.
const MAX_STATUS_BYTES: u64 = 1024 * 1024;
/// So many bindings are named in the one line that Pgpool's log gets.
const MOST_NAMED: usize = 4;

/// Why the claim did not converge, or not in time.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    #[error("{} does not exist: `vipkeeper up` has not run since the machine started", .0.display())]
    NoFile(PathBuf),
    #[error(transparent)]
    File(#[from] DesiredFileError),
    #[error("this node stands by for {0}: there is no claim to wait for")]
    Standby(IpAddr),
    #[error("this node's claim on {delegate_ip} gave way to a newer one of {by}")]
    Superseded { delegate_ip: IpAddr, by: InstanceId },
    #[error("{delegate_ip} did not converge within {}: {why}", humantime::format_duration(*timeout))]
    Timeout { delegate_ip: IpAddr, timeout: Duration, why: String },
}

/// Returns once the current claim has converged. Which claim that is, is looked up again each time.
///
/// # Errors
/// At once if there is nothing to wait for (no file, standby, superseded); after `timeout` otherwise.
#[expect(clippy::disallowed_methods, reason = "waiting is what it is for, and it ends at its timeout")]
pub fn wait(context: &HookContext, delegate_ip: &str, timeout: Duration) -> Result<(), HookError> {
    let delegate_ip = context.delegate_ip(delegate_ip)?;
    let waiting = Waiting {
        delegate_ip,
        desired_file: file::path(&context.state_dir, delegate_ip),
        status_file: context.state_dir.join(STATUS_FILE),
        trusted: TrustedOwners::of_hook(&context.state_dir),
        boot_id: &context.caller.boot_id,
    };
    let began = Instant::now();
    loop {
        let claim = waiting.current_claim()?;
        let status = waiting.status();
        match waiting.converged(&claim, &status)? {
            true => return Ok(()),
            false if began.elapsed() >= timeout => {
                let why = waiting.why_not(&claim, &status);
                return Err(WaitError::Timeout { delegate_ip, timeout, why }.into());
            }
            false => thread::sleep(LOOK_EACH.min(timeout.saturating_sub(began.elapsed()))),
        }
    }
}

struct Waiting<'a> {
    delegate_ip: IpAddr,
    desired_file: PathBuf,
    status_file: PathBuf,
    trusted: TrustedOwners,
    boot_id: &'a str,
}

/// Why there is no status to look at.
#[derive(Debug, thiserror::Error)]
enum NoStatus {
    #[error("it does not exist")]
    Missing,
    #[error(transparent)]
    Plain(#[from] PlainError),
    #[error("it is no status: {0}")]
    Format(serde_json::Error),
    #[error("its format is version {0}; this program knows version {version}", version = status::VERSION)]
    Version(u32),
}

impl Waiting<'_> {
    fn current_claim(&self) -> Result<ClaimId, WaitError> {
        match file::read(&self.desired_file, self.delegate_ip, &self.trusted, self.boot_id)? {
            None => Err(WaitError::NoFile(self.desired_file.clone())),
            Some(file) => match file.role {
                Role::Leader(leadership) => Ok(leadership.claim),
                Role::Standby => Err(WaitError::Standby(self.delegate_ip)),
            },
        }
    }

    fn status(&self) -> Result<Status, NoStatus> {
        read_status(&self.status_file)
    }

    fn vip<'s>(&self, status: &'s Result<Status, NoStatus>) -> Option<&'s VipStatus> {
        status.as_ref().ok()?.vips.iter().find(|vip| vip.delegate_ip == self.delegate_ip)
    }

    /// Whether the status says so of this very claim; what it says of another one is an old story.
    fn converged(&self, claim: &ClaimId, status: &Result<Status, NoStatus>) -> Result<bool, WaitError> {
        let described = self.vip(status).and_then(|vip| vip.claim.as_ref()).filter(|described| described.id == *claim);
        let Some(described) = described else { return Ok(false) };
        match &described.superseded_by {
            Some(by) => Err(WaitError::Superseded { delegate_ip: self.delegate_ip, by: by.clone() }),
            None => Ok(described.converged_ms.is_some()),
        }
    }

    /// What an operator should know first.
    fn why_not(&self, claim: &ClaimId, status: &Result<Status, NoStatus>) -> String {
        let status = match status {
            Ok(status) => status,
            Err(error) => {
                let file = self.status_file.display();
                return format!("no status from the daemon in {file} ({}); is vipkeeper running?", one_line(error));
            }
        };
        if !process::exists(status.pid) {
            return format!("the daemon (pid {}) is not running", status.pid);
        }
        let age = Duration::from_secs(Moment::now().wall_ms.saturating_sub(status.written_ms) / 1000);
        let age = humantime::format_duration(age);
        let Some(vip) = status.vips.iter().find(|vip| vip.delegate_ip == self.delegate_ip) else {
            return "the daemon's configuration has no such VIP".to_owned();
        };
        if vip.claim.as_ref().is_none_or(|described| described.id != *claim) {
            return format!("the daemon has not taken up this claim; its status is {age} old");
        }
        let missing: Vec<_> = vip.bindings.iter().filter(|binding| binding.state != "in_sync").collect();
        if missing.is_empty() {
            return format!("the daemon has not seen all bindings here yet; its status is {age} old");
        }
        let named = missing.iter().take(MOST_NAMED).map(|binding| described(binding)).collect::<Vec<_>>().join("; ");
        match missing.len().saturating_sub(MOST_NAMED) {
            0 => named,
            more => format!("{named}; and {more} more"),
        }
    }
}

/// `route rtb-1 is drift (Denied: not authorized)`.
fn described(binding: &BindingStatus) -> String {
    let BindingStatus { kind, target, state, detail, last_error, .. } = binding;
    match last_error {
        Some(error) => format!("{kind} {target} is {state} ({}: {})", error.class, error.message),
        None => format!("{kind} {target} is {state} ({detail})"),
    }
}

fn read_status(path: &Path) -> Result<Status, NoStatus> {
    let plain = plain::read(path, MAX_STATUS_BYTES)?.ok_or(NoStatus::Missing)?;
    let status: Status = serde_json::from_slice(&plain.bytes).map_err(NoStatus::Format)?;
    if status.version != status::VERSION {
        return Err(NoStatus::Version(status.version));
    }
    Ok(status)
}
