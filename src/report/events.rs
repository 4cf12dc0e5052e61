//! The events that follow from the news, and the store that keeps the newest of them across restarts. An event is derived
//! nowhere else: the journal's fields, the pages, the command of `on_change` and the report of a failover show this one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::labels::{Direction, Outcome, State};
use super::news::News;
use crate::action::{Action, Purpose};
use crate::desired::{Claim, Desired};
use crate::error::one_line;
use crate::machine::clock::boot_id;
use crate::machine::kernel::Reset;
use crate::problem::ProblemReason;
use crate::status::event::file::{self, EventsError};
use crate::status::event::list::{EventList, Kept};
use crate::status::event::stamp::Stamp;
use crate::status::event::{EventKind, NodeEvent};
use crate::status::{DesiredRole, ObstacleStatus};

/// The event that the news is; `None` if the news is of no interest afterwards.
#[must_use]
pub fn event(news: &News<'_>) -> Option<NodeEvent> {
    of_daemon(news).or_else(|| of_desired(news)).or_else(|| of_claim(news)).or_else(|| of_binding(news))
}

fn of_daemon(news: &News<'_>) -> Option<NodeEvent> {
    use EventKind as Kind;
    Some(match *news {
        News::Started { version, .. } => {
            NodeEvent::new(Kind::Started, format!("the daemon started, version {version}"))
        }
        News::Stopping => NodeEvent::new(Kind::Stopping, "the daemon stops; every binding stays where it is"),
        News::Reloaded { error: None } => NodeEvent::new(Kind::Reloaded, "the changed config is in force"),
        News::Reloaded { error } => {
            NodeEvent::new(Kind::ReloadFailed, "the changed config has errors; the old one stays in force")
                .because(error)
        }
        News::ReadFailed { source, class, error } => {
            let event = NodeEvent::new(Kind::ReadFailed, format!("{source} could not be read"));
            NodeEvent { outcome: Some(class.name().to_owned()), ..event.about(source.name()).because(Some(error)) }
        }
        News::Observed { source, .. } => {
            NodeEvent::new(Kind::ReadAgain, format!("{source} read again")).about(source.name())
        }
        News::Problem { reason, message } => {
            NodeEvent::new(Kind::Problem, format!("problem {reason}")).about(reason.name()).because(Some(message))
        }
        News::ProblemSolved { reason } => {
            NodeEvent::new(Kind::Solved, format!("problem {reason} is solved")).about(reason.name())
        }
        News::Reserve { missing: Some(why) } => NodeEvent::new(Kind::Problem, "no room is kept for hooks")
            .about(ProblemReason::NoReserve.name())
            .because(Some(why)),
        News::Reserve { missing: None } => {
            NodeEvent::new(Kind::Solved, "room is kept for hooks again").about(ProblemReason::NoReserve.name())
        }
        _ => return None,
    })
}

fn of_desired(news: &News<'_>) -> Option<NodeEvent> {
    use EventKind as Kind;
    let (vip, event) = match *news {
        News::DesiredChanged { vip, desired } => {
            let role = DesiredRole::from(desired);
            let event = NodeEvent::new(Kind::Role, format!("wanted as {role}")).because(desired.why());
            let claim = match desired {
                Desired::Leader(Claim { id, .. }) => Some(id.as_str().to_owned()),
                Desired::Standby(_) | Desired::Unknown(_) => None,
            };
            (vip, NodeEvent { about: claim, outcome: Some(role.name().to_owned()), ..event })
        }
        News::DesiredInvalid { vip, why } => {
            let what = "the desired-state file is not valid; the last good one stays in force";
            (vip, NodeEvent::new(Kind::DesiredInvalid, what).because(Some(why)))
        }
        News::DesiredValid { vip } => {
            (vip, NodeEvent::new(Kind::DesiredValid, "the desired-state file is valid again"))
        }
        News::GuardAlive { vip, alive: false } => {
            (vip, NodeEvent::new(Kind::WatchdogGone, "the watchdog process behind the claim is gone"))
        }
        News::HookLost { vip, lost: true } => {
            (vip, NodeEvent::new(Kind::HookLost, "Pgpool's watchdog keeps contradicting the desired-state file"))
        }
        News::HookLost { vip, lost: false } => {
            (vip, NodeEvent::new(Kind::HookFound, "the watchdog does not contradict the desired-state file any more"))
        }
        News::Held { vip, why: Some(why) } => (vip, NodeEvent::new(Kind::Held, why)),
        News::Held { vip, why: None } => (vip, NodeEvent::new(Kind::Resumed, "the hold is over")),
        _ => return None,
    };
    Some(event.of_vip(vip))
}

fn of_claim(news: &News<'_>) -> Option<NodeEvent> {
    use EventKind as Kind;
    let (vip, event) = match *news {
        News::ClaimTerm { vip, term } => {
            (vip, NodeEvent::new(Kind::Claim, format!("claiming the VIP with term {term}")))
        }
        News::ClaimClock { vip, claim, doubt } => {
            let what = "this claim began on a clock that may order it wrongly";
            (vip, NodeEvent::new(Kind::ClaimClock, what).about(claim.as_str()).because(Some(doubt)))
        }
        News::Superseded { vip, by, term } => {
            let what = format!("superseded by the newer claim {term} of {by}");
            (vip, NodeEvent::new(Kind::Superseded, what).about(by.as_str()))
        }
        News::Takeover { vip, direction: Direction::Gained } => {
            (vip, NodeEvent::new(Kind::Gained, "the VIP leads to this node now"))
        }
        News::Takeover { vip, direction: Direction::Lost } => {
            (vip, NodeEvent::new(Kind::Lost, "this node does not hold the VIP any more"))
        }
        News::Contested { vip, contested: true } => {
            (vip, NodeEvent::new(Kind::Contested, "contested: somebody keeps taking the VIP from this node"))
        }
        News::Contested { vip, contested: false } => {
            (vip, NodeEvent::new(Kind::NotContested, "not contested any more"))
        }
        News::NobodyServes { vip, nobody: true, leads_here } => {
            let why = if leads_here {
                "this node leads, and EC2 has not led the clients here"
            } else {
                "EC2 leads the clients to no node that leads"
            };
            let event = NodeEvent::new(Kind::NobodyServes, "nobody serves the VIP, for longer than a failover takes");
            (vip, event.because(Some(why)))
        }
        News::NobodyServes { vip, nobody: false, .. } => {
            (vip, NodeEvent::new(Kind::Served, "the VIP leads to a node again"))
        }
        News::Astray { vip, why: Some(why) } => {
            (vip, NodeEvent::new(Kind::Astray, "packets for the VIP go astray").because(Some(why)))
        }
        News::Astray { vip, why: None } => {
            let what = "packets for the VIP arrive where EC2 leads them again";
            (vip, NodeEvent::new(Kind::NotAstray, what))
        }
        News::WatchdogSilent { vip, why: Some(why) } => {
            let what = "Pgpool's watchdog has given no answer for a minute";
            (vip, NodeEvent::new(Kind::WatchdogSilent, what).because(Some(why)))
        }
        News::WatchdogSilent { vip, why: None } => {
            (vip, NodeEvent::new(Kind::WatchdogHeard, "Pgpool's watchdog is not silent any more"))
        }
        News::Converged { vip, claim, after, held } => {
            let why = held.then_some("an operator's hold is part of that time");
            (vip, converged(after).because(why).about(claim.as_str()))
        }
        _ => return None,
    };
    Some(event.of_vip(vip))
}

fn converged(after: Duration) -> NodeEvent {
    let event = NodeEvent::new(EventKind::Converged, "every binding leads to this node");
    NodeEvent { took_ms: Some(milliseconds(after)), ..event }
}

fn of_binding(news: &News<'_>) -> Option<NodeEvent> {
    use EventKind as Kind;
    let (vip, event) = match *news {
        News::Drift { vip, key, reason, detail } => {
            let event = NodeEvent::new(Kind::Drift, format!("drift: {reason}")).because(Some(detail));
            (vip, event.of_binding(Some(key)))
        }
        News::BindingState { vip, key, state: State::Blocked, detail } => {
            (vip, NodeEvent::new(Kind::Blocked, "blocked").because(Some(detail)).of_binding(Some(key)))
        }
        News::BindingState { vip, key, state: State::InSync, detail } => {
            (vip, NodeEvent::new(Kind::InSync, "in sync again").because(Some(detail)).of_binding(Some(key)))
        }
        News::Obstacle { vip, obstacle: ObstacleStatus { message, .. }, stands } => {
            let (kind, what) = if stands {
                (Kind::Obstacle, "a takeover by this node would fail")
            } else {
                (Kind::ObstacleGone, "no longer in the way of a takeover by this node")
            };
            (vip, NodeEvent::new(kind, what).about(message).because(Some(message)))
        }
        News::ConnectionsReset { vip, address, reset: Reset { ended, left } } if *ended > 0 => {
            let what = format!("{ended} connections of {address} reset before the address goes");
            (vip, NodeEvent::new(Kind::ConnectionsReset, what).because(left.as_ref().map(ToString::to_string)))
        }
        // Where nothing was done, there is nothing to tell.
        News::ActionDone { vip, key, action, purpose, outcome, code, error, duration }
            if outcome != Outcome::Unchanged =>
        {
            let done = NodeEvent { took_ms: Some(milliseconds(duration)), ..change(action, outcome, code) };
            (vip, done.because(error.or(purpose.map(reason_of))).of_binding(key))
        }
        _ => return None,
    };
    Some(event.of_vip(vip))
}

fn change(action: &Action, outcome: Outcome, code: Option<&str>) -> NodeEvent {
    let kind = if outcome == Outcome::Accepted { EventKind::Changed } else { EventKind::ChangeFailed };
    let said = match outcome {
        Outcome::Accepted | Outcome::Unchanged => "accepted",
        Outcome::Refused => "refused, because it is not free any more",
        Outcome::Failed(_) => "failed",
        Outcome::Unknown(_) => "the answer was lost",
    };
    NodeEvent {
        action: Some(action.name().to_owned()),
        call: action.operation().map(str::to_owned),
        outcome: Some(outcome.name().to_owned()),
        code: code.map(str::to_owned),
        ..NodeEvent::new(kind, format!("{action}: {said}"))
    }
}

/// The reason of a change that was accepted.
fn reason_of(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Take => "a new claim takes it",
        Purpose::Restore => "it was gone, and this node should have it",
        Purpose::Retake => "somebody else held it, and this node's claim is the newest",
        Purpose::Release => "this node does not lead",
        Purpose::Prepare => "prepared for the time when this node leads",
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The newest events of this node, and their file.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// A reader holds a list for as long as it likes. The store then goes on with a copy.
    list: Arc<EventList>,
    file: Option<EventsFile>,
}

#[derive(Debug)]
struct EventsFile {
    state_dir: PathBuf,
    boot: String,
    is_outdated: bool,
}

impl Events {
    /// The events in the state folder, and why there are none although an earlier daemon left some.
    pub(super) fn of_folder(state_dir: &Path) -> Self {
        let Ok(boot) = boot_id() else { return Self::default() };
        let mut damage = None;
        let list = file::read(state_dir, &boot).unwrap_or_else(|error| {
            damage = Some(error).filter(|error| !matches!(error, EventsError::Missing(_)));
            EventList::default()
        });
        let file = EventsFile { state_dir: state_dir.to_owned(), boot, is_outdated: false };
        let mut events = Self { list: Arc::new(list), file: Some(file) };
        if let Some(error) = damage {
            let what = "the events of earlier daemons cannot be read, so the list begins anew";
            tracing::warn!("{what}: {}", one_line(&error));
            events.keep(NodeEvent::new(EventKind::EventsLost, what).because(Some(one_line(&error))), Stamp::now());
        }
        events
    }

    /// Keeps the event, and gives it back with its number and times if it is a new one.
    pub(super) fn keep(&mut self, event: NodeEvent, now: Stamp) -> Option<NodeEvent> {
        let list = Arc::make_mut(&mut self.list);
        let kept = list.keep(event, now);
        if let (Some(file), true) = (&mut self.file, kept != Kept::NoNews) {
            file.is_outdated = true;
        }
        (kept == Kept::New).then(|| list.iter().next_back().cloned()).flatten()
    }

    pub(super) fn newest(&self) -> Arc<EventList> {
        Arc::clone(&self.list)
    }

    /// Writes the file, if there is one and something happened since it was written.
    ///
    /// # Errors
    /// One line that says why it could not be written. It is tried again at the next call.
    pub(super) fn write(&mut self) -> Result<(), String> {
        let Some(file) = self.file.as_mut().filter(|file| file.is_outdated) else { return Ok(()) };
        file::write(&file.state_dir, &file.boot, &self.list).map_err(|error| {
            format!("cannot write the events into {}: {error}: a restart forgets them", file.state_dir.display())
        })?;
        file.is_outdated = false;
        Ok(())
    }
}
