//! `vipkeeper wait`: waits until the status shows that the claim named by the desired-state file has converged. The
//! command polls rather than being told, because the cost is small: two small reads each 20 ms, for some seconds, once
//! per leadership.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::hook::{HookContext, HookError, WaitError};
use crate::decide::plan::State;
use crate::desired::file;
use crate::desired::{Desired, WhyStandby};
use crate::error::one_line;
use crate::ids::ClaimId;
use crate::machine::clock::Clocks;
use crate::machine::process;
use crate::machine::trust::TrustedOwners;
use crate::status::file::ReadError;
use crate::status::{self, BindingStatus, Condition, ConditionName, DesiredRole, Status, VipStatus};

/// How often the files are looked at.
pub(super) const LOOK_EACH: Duration = Duration::from_millis(20);
/// How many bindings are named at most in the one line that Pgpool's log gets.
const MOST_NAMED: usize = 4;

/// Returns once the current claim has converged. The current claim is read again at each look, because a hook may
/// change it.
///
/// # Errors
/// At once if there is nothing to wait for: no desired-state file or one that cannot be used, a standby, a superseded
/// claim, a dead watchdog process, or an unknown delegate IP. After `timeout` in all other cases.
#[expect(clippy::disallowed_methods, reason = "waiting is what it is for, and it ends at its timeout")]
pub fn wait(context: &HookContext, delegate_ip: IpAddr, timeout: Duration) -> Result<(), HookError> {
    context.must_know(delegate_ip)?;
    let waiting = Waiting {
        delegate_ip,
        desired_file: crate::desired::path(&context.state_dir, delegate_ip),
        state_dir: &context.state_dir,
        trusted: TrustedOwners::of_hook(&crate::desired::folder(&context.state_dir)),
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
    state_dir: &'a Path,
    trusted: TrustedOwners,
    boot_id: &'a str,
}

impl Waiting<'_> {
    fn current_claim(&self) -> Result<ClaimId, WaitError> {
        let Some(file) = file::read(&self.desired_file, self.delegate_ip, &self.trusted, self.boot_id)? else {
            return Err(WaitError::NoFile(self.desired_file.clone()));
        };
        match file.desired(process::is_alive) {
            Desired::Leader(claim) => Ok(claim.id),
            Desired::Standby(WhyStandby::GuardDead) => Err(WaitError::GuardDead(self.delegate_ip)),
            // A file that says neither leader nor standby, like a file from before this boot, has been an error above.
            Desired::Standby(_) | Desired::Unknown(_) => Err(WaitError::Standby(self.delegate_ip)),
        }
    }

    fn status(&self) -> Result<Status, ReadError> {
        status::file::read(self.state_dir)
    }

    fn vip<'s>(&self, status: &'s Result<Status, ReadError>) -> Option<&'s VipStatus> {
        status.as_ref().ok()?.vips.iter().find(|vip| vip.delegate_ip == self.delegate_ip)
    }

    /// Whether the status says that this very claim has converged. A status that describes another claim is outdated.
    fn converged(&self, claim: &ClaimId, status: &Result<Status, ReadError>) -> Result<bool, WaitError> {
        let described = self.vip(status).and_then(|vip| vip.claim.as_ref()).filter(|described| described.id == *claim);
        let Some(described) = described else { return Ok(false) };
        match &described.superseded_by {
            Some(by) => Err(WaitError::Superseded { delegate_ip: self.delegate_ip, by: by.clone() }),
            None => Ok(described.converged_ms.is_some()),
        }
    }

    /// The reason why the claim has not converged, as an operator should know it first.
    fn why_not(&self, claim: &ClaimId, status: &Result<Status, ReadError>) -> String {
        let status = match status {
            Ok(status) => status,
            Err(error) => {
                return format!("{}; is vipkeeper running?", one_line(error));
            }
        };
        if !process::exists(status.pid) {
            return format!("the daemon (pid {}) is not running", status.pid);
        }
        let age = Duration::from_secs(Clocks::now().wall_ms.saturating_sub(status.written_ms) / 1000);
        let age = humantime::format_duration(age);
        let Some(vip) = status.vips.iter().find(|vip| vip.delegate_ip == self.delegate_ip) else {
            return with_problem("the daemon's configuration has no such VIP".to_owned(), status);
        };
        if vip.claim.as_ref().is_none_or(|described| described.id != *claim) {
            let why = match went_by(vip) {
                Some(other) => format!("the daemon goes by something else: {other}; its status is {age} old"),
                None => format!("the daemon has not taken up this claim; its status is {age} old"),
            };
            return with_problem(why, status);
        }
        let missing: Vec<_> = vip.bindings.iter().filter(|binding| binding.state != State::InSync).collect();
        if missing.is_empty() {
            return with_problem(
                format!("the daemon has not seen all bindings here yet; its status is {age} old"),
                status,
            );
        }
        let named = missing.iter().take(MOST_NAMED).map(|binding| described(binding)).collect::<Vec<_>>().join("; ");
        match missing.len().saturating_sub(MOST_NAMED) {
            0 => named,
            more => format!("{named}; and {more} more"),
        }
    }
}

/// Adds the daemon's first problem to the text, because the problem may be the cause.
fn with_problem(why: String, status: &Status) -> String {
    match status.problems.first() {
        Some(problem) => format!("{why}; {}", problem.message),
        None => why,
    }
}

/// Why the daemon does not go by the desired-state file: the daemon does not trust the file, or Pgpool's watchdog
/// contradicts the file. `None` if the status shows no such reason.
fn went_by(vip: &VipStatus) -> Option<&str> {
    let refused = |condition: &&Condition| condition.name == ConditionName::DesiredValid && !condition.holds;
    let invalid = vip.conditions.iter().find(refused).map(|condition| condition.message.as_str());
    invalid.or_else(|| vip.desired.reason.as_deref().filter(|_| vip.desired.role == DesiredRole::Standby))
}

/// One binding as text: `route rtb-1 is drift (Denied: not authorized)`.
fn described(binding: &BindingStatus) -> String {
    let BindingStatus { kind, target, state, detail, last_error, .. } = binding;
    match last_error {
        Some(error) => format!("{kind} {target} is {state} ({}: {})", error.class, error.message),
        None => format!("{kind} {target} is {state} ({detail})"),
    }
}
