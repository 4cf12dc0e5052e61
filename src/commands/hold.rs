//! `vipkeeper hold` and `vipkeeper resume`: an operator keeps this node from changing anything about a VIP, and ends that.
//! The commands write or remove the hold's file, and then wait for the daemon to say that it has taken notice.

use std::fmt;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::hook::{HookContext, HookError};
use super::wait::LOOK_EACH;
use crate::cli::HoldOptions;
use crate::desired::hold::{self as file, Extent, HoldFile};
use crate::machine::clock::Clocks;
use crate::machine::process;
use crate::status::{self, Condition, ConditionName};

/// How long the daemon has to take notice. Inotify wakes it at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// The daemon's answer to a command, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noticed {
    /// The daemon says that it holds the VIP.
    Held(String),
    /// The daemon does not hold the VIP any more.
    Over,
    /// No daemon runs.
    NoDaemon,
    /// A daemon runs, and says something else.
    Not(String),
}

impl Noticed {
    /// Whether the command has done what it was called for.
    #[must_use]
    pub fn is_well(&self) -> bool {
        !matches!(self, Self::Not(_))
    }
}

impl fmt::Display for Noticed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(message) => f.write_str(message),
            Self::Over => f.write_str("not held"),
            Self::NoDaemon => f.write_str("written down; no daemon runs, the next one goes by it"),
            Self::Not(why) => write!(f, "written down, but the daemon does not go by it: {why}"),
        }
    }
}

/// Holds the VIP, in place of a hold that lasts already.
///
/// # Errors
/// An unknown delegate IP, or a file that cannot be written.
pub fn hold(context: &HookContext, options: &HoldOptions) -> Result<Noticed, HookError> {
    let delegate_ip = options.vip.delegate_ip;
    context.must_know(delegate_ip)?;
    let extent = if options.strict { Extent::Everything } else { Extent::ExceptRelease };
    let now = Clocks::now();
    let written = HoldFile::new(delegate_ip, context.caller.boot_id.clone(), now, options.lasts, extent);
    file::write(&context.state_dir, &written).map_err(|source| failed(context, delegate_ip, source))?;
    let is_this_one = |told: Option<&Condition>| told.is_some_and(|told| told.until_ms == Some(written.until_ms()));
    Ok(noticed(context, delegate_ip, is_this_one))
}

/// Ends the hold, if there is one.
///
/// # Errors
/// An unknown delegate IP, or a file that cannot be removed.
pub fn resume(context: &HookContext, delegate_ip: IpAddr) -> Result<Noticed, HookError> {
    context.must_know(delegate_ip)?;
    file::remove(&context.state_dir, delegate_ip).map_err(|source| failed(context, delegate_ip, source))?;
    Ok(noticed(context, delegate_ip, |held| held.is_none()))
}

fn failed(context: &HookContext, delegate_ip: IpAddr, source: std::io::Error) -> HookError {
    let path = file::path(&context.state_dir, delegate_ip);
    HookError::Hold { path, uid: rustix::process::geteuid().as_raw(), source }
}

/// Waits until the daemon's word about the hold is the wanted one.
#[expect(clippy::disallowed_methods, reason = "waiting is what it is for, and it ends soon")]
fn noticed(context: &HookContext, delegate_ip: IpAddr, is_wanted: impl Fn(Option<&Condition>) -> bool) -> Noticed {
    let began = Instant::now();
    loop {
        let told = status::file::read(&context.state_dir).ok().filter(|status| process::exists(status.pid));
        let Some(told) = told else { return Noticed::NoDaemon };
        let vip = told.vips.iter().find(|vip| vip.delegate_ip == delegate_ip);
        let held = vip.and_then(|vip| vip.conditions.iter().find(|condition| condition.name == ConditionName::Held));
        match held {
            _ if vip.is_none() => return Noticed::Not("its configuration has no such VIP".to_owned()),
            None if is_wanted(None) => return Noticed::Over,
            Some(held) if is_wanted(Some(held)) => return Noticed::Held(held.message.clone()),
            _ if began.elapsed() < PATIENCE => thread::sleep(LOOK_EACH),
            Some(held) => return Noticed::Not(held.message.clone()),
            None => return Noticed::Not("it has not taken notice; 'vipkeeper status' tells why".to_owned()),
        }
    }
}
