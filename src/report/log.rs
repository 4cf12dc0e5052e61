//! Log lines: the text and the level of each news, and how often it is logged again.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{Level, debug, error, info, trace, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::journal::{Journal, JournalEntry, StreamLine};
use super::labels::{CLAIM, Direction, Outcome, PassResult, State};
use super::lines::{LineForm, Lines, OpenLog, stderr};
use super::news::News;
use super::repeats::{Repeats, Times, gist};
use super::sparse::Sparse;
use crate::action::Action;
use crate::binding::BindingKey;
pub use crate::config::LogFormat;
use crate::desired::{Claim, Desired, WhyUnknown};
use crate::ec2::{Class, RequestReport};
use crate::machine::kernel::{Left, Reset};
use crate::status::{DesiredRole, ObstacleStatus};

/// Log settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "'{filter}' is no log level: expected error, warn, info, debug or trace, or directives like vipkeeper=debug"
    )]
    Filter { filter: String, source: tracing_subscriber::filter::ParseError },
    #[error("logging was set up already")]
    Twice,
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] std::io::Error),
}

/// Sends the log of the whole process to stderr, by a thread of its own: see [`OpenLog`]. `filter` is a level or a list
/// of tracing's directives. A level is meant for vipkeeper alone: its libraries log warnings at most.
///
/// The journal of systemd records the time itself. There each line of text is an entry with a priority and with fields, by
/// which `journalctl` finds it. Where the journal's socket cannot be reached, each line carries its priority alone
/// (`sd-daemon(3)`).
///
/// # Errors
/// When the filter is invalid, when this is called a second time, or when no thread can be started to write with.
pub fn init_log(format: LogFormat, filter: &str) -> Result<OpenLog, LogError> {
    let directives =
        if filter.parse::<Level>().is_ok() { format!("warn,vipkeeper={filter}") } else { filter.to_owned() };
    let filter =
        EnvFilter::try_new(directives).map_err(|source| LogError::Filter { filter: filter.to_owned(), source })?;
    let is_journal = format == LogFormat::Text && stderr_is_journal();
    let stream = stderr().map_err(LogError::Thread)?;
    let socket = if is_journal { stream.try_clone().ok().and_then(Journal::of_machine) } else { None };
    let has_fields = socket.is_some();
    let lines = match (socket, format) {
        (Some(journal), _) => Lines::to(journal, LineForm::Entry),
        (None, LogFormat::Text) => Lines::to(stream, LineForm::Text),
        (None, LogFormat::Json) => Lines::to(stream, LineForm::Json),
    };
    let lines = lines.map_err(LogError::Thread)?;
    let open = lines.open();
    // Internal errors are switched off: the subscriber would write them to stderr, and end the program where stderr
    // cannot be written.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false).with_writer(lines);
    let sparse = Sparse::default();
    let result = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).finish().with(sparse).try_init(),
        LogFormat::Text if has_fields => {
            builder.with_ansi(false).event_format(JournalEntry::default()).finish().with(sparse).try_init()
        }
        LogFormat::Text if is_journal => {
            builder.with_ansi(false).event_format(StreamLine::default()).finish().with(sparse).try_init()
        }
        LogFormat::Text => builder.with_target(false).with_ansi(false).finish().with(sparse).try_init(),
    };
    result.map(|()| open).map_err(|_| LogError::Twice)
}

/// Whether stderr is the stream that systemd connected to the journal (`systemd.exec(5)`). The variable alone proves
/// nothing, because children whose stderr goes elsewhere inherit it.
#[expect(clippy::disallowed_methods, reason = "what the journal says of itself is no setting")]
fn stderr_is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(std::io::stderr()).is_ok_and(|stat| stream == *format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Logs news, and remembers the failures that repeat.
#[derive(Debug, Default)]
pub struct Log {
    repeats: Repeats,
}

impl Log {
    #[expect(clippy::too_many_lines, reason = "one line for each kind of news, in the order of the enum")]
    pub fn news(&mut self, news: &News<'_>) {
        let now = Instant::now();
        match *news {
            News::Started { version, instance, region } => {
                let instance = instance.map_or("unknown", |id| id.as_str());
                info!(version, instance, region = region.unwrap_or("unknown"), "started");
            }
            News::Reloaded { error: None } => info!("the changed config is in force"),
            News::Reloaded { error: Some(reason) } => {
                error!(reason, "the changed config has errors; the old one stays in force");
            }
            News::Stopping => info!("stopping; every binding stays where it is"),

            News::DesiredChanged { vip, desired } => {
                // The VIP has a new role or a new claim, so failures of the VIP count anew.
                self.repeats.forget(|topic| topic.strip_prefix(&vip.to_string()).is_some_and(|it| it.starts_with(' ')));
                let (role, reason) = (DesiredRole::from(desired), desired.why());
                match desired {
                    Desired::Leader(Claim { id: claim, .. }) => {
                        info!(%vip, %role, %claim, reason, "this node is wanted as leader");
                    }
                    Desired::Standby(_) => info!(%vip, %role, reason, "this node is wanted as standby"),
                    // This is normal on a node that has not led since boot. A binding that points here all the same is
                    // logged as blocked.
                    Desired::Unknown(WhyUnknown::NoFile) => {
                        info!(%vip, %role, reason, "no hook has said yet what is wanted of this node; touching nothing");
                    }
                    Desired::Unknown(WhyUnknown::Invalid | WhyUnknown::OtherBoot | WhyUnknown::NotAskedSince) => {
                        warn!(%vip, %role, reason, "not known what is wanted of this node; touching nothing");
                    }
                }
            }
            News::DesiredInvalid { vip, why } => {
                if let Some(times) = self.repeats.failed(&format!("desired {vip}"), why, now) {
                    error!(%vip, why, "the desired-state file is not valid; the last good one stays in force{times}");
                }
            }
            News::DesiredValid { vip } => {
                if let Some(times) = self.repeats.over(&format!("desired {vip}"), now) {
                    info!(%vip, "no desired-state file is invalid any more{times}");
                }
            }
            News::GuardAlive { vip, alive: true } => debug!(%vip, "the watchdog process behind the claim lives"),
            News::GuardAlive { vip, alive: false } => warn!(%vip, "the watchdog process behind the claim is gone"),
            News::ClaimClock { vip, claim, doubt } => {
                warn!(%vip, %claim, doubt, "this claim began on a clock that may order it wrongly");
            }
            News::ClaimTerm { vip, term } => info!(%vip, %term, "claiming the VIP"),
            News::Superseded { vip, by, term } => {
                warn!(%vip, %by, %term, "superseded by a newer claim; standing by while that one stands");
            }
            News::Takeover { vip, direction: Direction::Gained } => info!(%vip, "the VIP leads to this node now"),
            News::Takeover { vip, direction: Direction::Lost } => {
                info!(%vip, "this node does not hold the VIP any more");
            }
            News::Contested { vip, contested: true } => error!(
                %vip,
                "contested: somebody keeps taking the VIP from this node, which holds the newest claim; \
                 look for another program or a person that moves it"
            ),
            News::Contested { vip, contested: false } => info!(%vip, "not contested any more"),
            News::NobodyServes { vip, nobody: true, leads_here: true } => error!(
                %vip,
                "nobody serves the VIP: this node leads, and EC2 has not led the clients here for longer than a failover \
                 takes; 'vipkeeper status' tells what stands in the way"
            ),
            News::NobodyServes { vip, nobody: true, leads_here: false } => error!(
                %vip,
                "nobody serves the VIP: EC2 leads its clients to no node that leads, for longer than a failover takes; \
                 look for Pgpool on every node"
            ),
            News::NobodyServes { vip, nobody: false, .. } => info!(%vip, "the VIP leads to a node again"),
            News::Astray { vip, why: Some(why) } => warn!(%vip, "packets for the VIP go astray: {why}"),
            News::Astray { vip, why: None } => info!(%vip, "packets for the VIP arrive where EC2 leads them again"),
            News::PacketsCame { vip, after } => info!(
                %vip,
                after_s = after.as_secs_f64(),
                "the first packet of another machine came through the VIP"
            ),
            News::WatchdogSilent { vip, why: Some(why) } => {
                warn!(%vip, "Pgpool's watchdog has given no answer for a minute: {why}");
            }
            News::WatchdogSilent { vip, why: None } => info!(%vip, "Pgpool's watchdog is not silent any more"),
            News::HookLost { vip, lost: true } => error!(
                %vip,
                "Pgpool's watchdog keeps contradicting the desired-state file, as if a hook had been lost; \
                 check if_up_cmd and if_down_cmd in pgpool.conf and Pgpool's log"
            ),
            News::HookLost { vip, lost: false } => {
                info!(%vip, "the watchdog does not contradict the desired-state file any more");
            }
            News::Held { vip, why: Some(why) } => warn!(%vip, "{why}"),
            News::Held { vip, why: None } => info!(%vip, "the hold is over"),
            News::Converged { vip, claim, after, held: true } => {
                let after_s = rounded(after);
                info!(%vip, %claim, after_s, "converged: every binding leads to this node, now that a hold is over");
            }
            News::Converged { vip, claim, after, held: false } => {
                info!(%vip, %claim, after_s = rounded(after), "converged: every binding leads to this node");
            }

            News::Drift { vip, key, reason, detail } => {
                warn!(%vip, kind = %key.kind, target = key.target, %reason, "drift: {detail}");
            }
            News::BindingState { vip, key, state: State::Blocked, detail } => {
                // A binding may be blocked and not blocked in turn, for as long as its change fails in two ways.
                if let Some(times) = self.repeats.failed(&blocked(vip, key), &gist(detail), now) {
                    warn!(%vip, kind = %key.kind, target = key.target, "blocked: {detail}{times}");
                }
            }
            News::BindingState { vip, key, state, detail } => {
                if state == State::InSync {
                    self.repeats.over(&blocked(vip, key), now);
                }
                debug!(%vip, kind = %key.kind, target = key.target, %state, "{detail}");
            }

            News::Obstacle { vip, obstacle: ObstacleStatus { name, binding, message }, stands } => {
                let (kind, target) = place(binding.as_ref());
                let topic = format!("{vip} obstacle {name} {kind} {target}");
                if !stands {
                    self.repeats.over(&topic, now);
                    info!(%vip, "no longer in the way of a takeover by this node: {message}");
                } else if self.repeats.failed(&topic, message, now).is_some() {
                    warn!(%vip, "a takeover by this node would fail: {message}");
                }
            }

            News::PassDone { result: PassResult::InSync, duration } => {
                trace!(duration_s = rounded(duration), "in sync");
            }
            News::PassDone { result, duration } => debug!(%result, duration_s = rounded(duration), "pass done"),
            News::ActionStarted { vip, key, action } => {
                let (kind, target) = place(key);
                debug!(%vip, kind, target, "begin: {action}");
            }
            News::ConnectionsReset { vip, address, reset } => self.connections_reset(vip, address, reset, now),
            News::ActionDone { vip, key, action, outcome, code, error, duration, purpose: _ } => {
                let what = ActionDone { vip, key, action, outcome, code, error, duration };
                self.action_done(&what, now);
            }
            News::Request(&RequestReport { operation, result, duration, waited }) => {
                trace!(operation, result, duration_s = rounded(duration), waited_s = rounded(waited), "request");
            }
            News::Observed { source, .. } => {
                if let Some(times) = self.repeats.over(&format!("read {source}"), now) {
                    info!(%source, "read again{times}");
                }
            }
            News::ReadFailed { source, class, error: reason } => {
                let signature = format!("{} {}", class.name(), gist(reason));
                match self.repeats.failed(&format!("read {source}"), &signature, now) {
                    Some(times) if is_for_people(class) => {
                        error!(%source, class = class.name(), "could not be read: {reason}{times}");
                    }
                    Some(times) => warn!(%source, class = class.name(), "could not be read: {reason}{times}"),
                    None => debug!(%source, class = class.name(), "could not be read: {reason}"),
                }
            }
            News::Witness { silent: Some(why) } => {
                // The warning is logged once: the watchdog stands still while each hook runs, and `vipkeeper status`
                // shows a longer silence.
                let times = self.repeats.failed("witness", "silent", now);
                if times.is_some_and(Times::is_first) {
                    warn!("no word from Pgpool's watchdog: {why}");
                }
            }
            News::Witness { silent: None } => {
                if let Some(times) = self.repeats.over("witness", now) {
                    info!("Pgpool's watchdog answers{times}");
                }
            }
            News::Reserve { missing: Some(why) } => {
                // The warning is logged once: everything still works, and `vipkeeper status` shows how long the problem
                // lasts.
                if self.repeats.failed("reserve", "missing", now).is_some_and(Times::is_first) {
                    warn!("{why}");
                }
            }
            News::Reserve { missing: None } => {
                if self.repeats.over("reserve", now).is_some() {
                    info!("room is kept again for hooks that find the state folder's file system full");
                }
            }
            News::CredentialsExpiry { at_ms } => debug!(at_ms, "the credentials in use expire"),

            News::Problem { reason, message } => {
                if let Some(times) = self.repeats.failed(&format!("problem {reason}"), message, now) {
                    error!(reason = reason.name(), "{message}{times}");
                }
            }
            News::ProblemSolved { reason } => {
                if let Some(times) = self.repeats.over(&format!("problem {reason}"), now) {
                    info!(reason = reason.name(), "solved{times}");
                }
            }
        }
    }

    fn connections_reset(&mut self, vip: IpAddr, address: IpAddr, reset: &Reset, now: Instant) {
        match reset {
            Reset { ended: 0, left: None } => debug!(%vip, %address, "no connection to reset before the address goes"),
            Reset { ended: 0, .. } => {}
            Reset { ended, .. } => {
                info!(%vip, %address, connections = ended, "reset {ended} connections of the address before it goes");
            }
        }
        match &reset.left {
            Some(why @ Left::Kept(_)) => info!(%vip, %address, "left the connections of the address alone: {why}"),
            // The warning is logged once: the address is removed all the same, and a kernel without the feature stays
            // without it.
            Some(why @ Left::Failed(_))
                if self.repeats.failed("connections", &why.to_string(), now).is_some_and(Times::is_first) =>
            {
                warn!(
                    %vip, %address,
                    "connections of the address may be left behind, and their clients may notice late: {why}"
                );
            }
            Some(Left::Failed(_)) | None => {}
        }
    }

    fn action_done(&mut self, done: &ActionDone<'_>, now: Instant) {
        let &ActionDone { vip, key, action, outcome, code, error, duration } = done;
        let (kind, target) = place(key);
        let outcome_name = outcome.name();
        let duration_s = rounded(duration);
        let reason = error.unwrap_or("no reason was given");
        let is_chore = matches!(action, Action::ForgetClaim { .. });
        let topic = if is_chore { format!("{vip} {}", action.name()) } else { format!("{vip} {kind} {target}") };
        macro_rules! line {
            ($level:ident, $($text:tt)+) => {
                $level!(%vip, kind, target, action = action.name(), outcome = outcome_name, code, duration_s, $($text)+)
            };
        }
        match outcome {
            Outcome::Accepted => {
                let times = self.repeats.over(&topic, now).unwrap_or_default();
                line!(info, "{action}: accepted{times}");
            }
            Outcome::Unchanged => {
                let times = self.repeats.over(&topic, now);
                line!(debug, "{action}: nothing to do{}", times.unwrap_or_default());
            }
            Outcome::Refused => {
                if let Some(times) = self.repeats.failed(&topic, outcome_name, now) {
                    line!(info, "{action}: EC2 refused, so it is not free any more: {reason}{times}");
                } else {
                    line!(debug, "{action}: refused: {reason}");
                }
            }
            Outcome::Failed(class) | Outcome::Unknown(class) => {
                let signature = format!("{outcome_name} {} {}", code.unwrap_or_default(), gist(reason));
                let said = if matches!(outcome, Outcome::Failed(_)) {
                    "failed"
                } else {
                    "the answer was lost, the next look will tell"
                };
                // The failed removal of an old claim harms nothing, so it is logged once, as a warning.
                let due = self.repeats.failed(&topic, &signature, now).filter(|times| !is_chore || times.is_first());
                match due {
                    Some(times) if is_for_people(class) && !is_chore => {
                        line!(error, "{action}: {said}: {reason}{times}");
                    }
                    Some(times) => line!(warn, "{action}: {said}: {reason}{times}"),
                    None => line!(debug, "{action}: {said}: {reason}"),
                }
            }
        }
    }
}

/// The fields of [`News::ActionDone`].
struct ActionDone<'a> {
    vip: IpAddr,
    key: Option<&'a BindingKey>,
    action: &'a Action,
    outcome: Outcome,
    code: Option<&'a str>,
    error: Option<&'a str>,
    duration: Duration,
}

/// Whether an operator must act before the failed work can succeed.
fn is_for_people(class: Class) -> bool {
    matches!(class, Class::Denied | Class::Rejected)
}

/// The topic of a binding that is blocked.
fn blocked(vip: IpAddr, key: &BindingKey) -> String {
    format!("{vip} blocked {key}")
}

fn place(key: Option<&BindingKey>) -> (&'static str, &str) {
    key.map_or((CLAIM, CLAIM), |key| (key.kind.name(), key.target.as_str()))
}

/// Seconds, to the millisecond.
fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
