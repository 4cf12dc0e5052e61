//! The conclusion about one VIP: the word for its state, what is wrong, and what to do about it. The conclusion is
//! pure: the same status at the same time gives the same conclusion.

use std::time::Duration;

use super::conditions::{failing, holding, leads, role};
use super::layout::{Tone, age, clean, since};
use super::runbook::RunbookEntry;
use super::{
    BindingStatus, Condition, ConditionName, ConditionReason, DesiredRole, ErrorStatus, LastSeen, ObstacleStatus,
    VipStatus,
};
use super::{by_hand, clients, hint};
use crate::decide::plan::{Blocker, DriftReason, State};
use crate::ec2::Class;
use crate::ec2::reason::Reason;
use crate::names::OneOf;
use crate::observe::seen::Unseen;

/// The first lines about a VIP.
pub(super) struct Headline {
    pub(super) tone: Tone,
    /// The state in capitals: `IN SYNC`, `DRIFT`…
    pub(super) word: &'static str,
    /// Since when the word is true; `None` if that is not known.
    pub(super) since_ms: Option<u64>,
    /// The text behind the word, in brackets.
    pub(super) aside: Option<String>,
    pub(super) what: Vec<String>,
    pub(super) to_do: Option<String>,
    /// The entry of the runbook that tells more.
    pub(super) entry: RunbookEntry,
}

impl Headline {
    pub(super) fn is_good(&self) -> bool {
        self.tone == Tone::Good
    }

    pub(super) fn of(vip: &VipStatus, now_ms: u64) -> Self {
        Self::of_condition(vip, now_ms)
            .or_else(|| Self::of_nobody(vip))
            .or_else(|| Self::of_unknown(vip).filter(|unknown| !unknown.is_good() || is_unhindered(vip)))
            .or_else(|| Self::of_bindings(vip, now_ms))
            .or_else(|| Self::of_dead_guard(vip))
            .or_else(|| Self::of_hanging_pgpool(vip, now_ms))
            .or_else(|| Self::of_hidden_claim(vip))
            .or_else(|| Self::of_claim(vip, now_ms))
            .or_else(|| Self::of_unread_claims(vip))
            .or_else(|| Self::of_astray(vip))
            .or_else(|| Self::of_obstacles(vip))
            .unwrap_or_else(|| Self::of_whole(vip))
    }

    /// The headline of a condition that concerns the VIP as a whole and outweighs any binding.
    fn of_condition(vip: &VipStatus, now_ms: u64) -> Option<Self> {
        let alert = |word, entry, condition: &Condition, to_do: &str| Self {
            tone: Tone::Bad,
            word,
            since_ms: Some(condition.since_ms),
            aside: None,
            what: vec![clean(&condition.message)],
            to_do: Some(to_do.to_owned()),
            entry,
        };
        if let Some(held) = holding(vip, ConditionName::Held) {
            let to_do = by_hand::resume(vip);
            if held.reason == ConditionReason::Unserved {
                return Some(alert("HELD UNSERVED", RunbookEntry::Held, held, &to_do));
            }
            return Some(Self { tone: Tone::Wait, ..alert("HELD", RunbookEntry::Held, held, &to_do) });
        }
        if let Some(lost) = holding(vip, ConditionName::HookLost) {
            let to_do = by_hand::after_lost_hook(vip);
            return Some(alert("HOOK LOST", RunbookEntry::HookLost, lost, &to_do));
        }
        if let Some(invalid) = failing(vip, ConditionName::DesiredValid) {
            let to_do = format!("write it anew: {}", by_hand::write_anew(vip));
            let alert = alert("DESIRED STATE INVALID", RunbookEntry::DesiredStateInvalid, invalid, &to_do);
            let in_force = by_hand::stays_in_force(vip, &since(vip.desired.since_ms, now_ms));
            return Some(Self { what: vec![clean(&invalid.message), in_force], ..alert });
        }
        if let Some(contested) = holding(vip, ConditionName::Contested) {
            let to_do = "find who else moves this address: another failover script, or a person; \
                         CloudTrail names the caller";
            return Some(alert("CONTESTED", RunbookEntry::Contested, contested, to_do));
        }
        if let Some(unused) = failing(vip, ConditionName::Held) {
            let to_do = by_hand::hold_anew(vip);
            return Some(alert("HOLD NOT USED", RunbookEntry::Held, unused, &to_do));
        }
        None
    }

    /// The headline where EC2 leads the clients to nobody for longer than a failover takes. On a leader, the headline of
    /// its bindings tells what keeps it from serving.
    fn of_nobody(vip: &VipStatus) -> Option<Self> {
        let nobody = vip.clients.as_ref().filter(|clients| clients.nobody_serves && !leads(vip))?;
        let mut what = vec![LED_NOWHERE.to_owned()];
        what.extend(clients::doubt_of_gone(vip));
        what.extend(vip.desired.reason.as_deref().map(clean));
        Some(Self {
            tone: Tone::Bad,
            word: "NOBODY SERVES",
            since_ms: nobody.nobody_since_ms,
            aside: None,
            what,
            to_do: Some(
                "start Pgpool on the nodes; where it runs, 'pcp_watchdog_info' and its log tell why no node leads; where it \
                 leads, see that node's page"
                    .to_owned(),
            ),
            entry: RunbookEntry::NoLeader,
        })
    }

    /// The headline where no valid word says which role is wanted of this node. That is normal on a node on which no
    /// hook had a reason to run.
    fn of_unknown(vip: &VipStatus) -> Option<Self> {
        let in_sync = vip.conditions.iter().find(|condition| condition.name == ConditionName::InSync);
        // The word is true since the role is not known and the bindings are as they are.
        let since_ms = vip.desired.since_ms.max(in_sync.map_or(0, |condition| condition.since_ms));
        let unknown = |(tone, word, entry), what: String, to_do: Option<String>| Self {
            tone,
            word,
            since_ms: Some(since_ms),
            aside: None,
            what: vec![what],
            to_do,
            entry,
        };
        match in_sync.and_then(|condition| condition.reason.known()) {
            _ if role(vip) != DesiredRole::Unknown => None,
            Some(ConditionReason::NoHookYet) => {
                let what = "normal on a node that has not led since boot; nothing points here, nothing is touched";
                Some(unknown((Tone::Good, "NO HOOK YET", RunbookEntry::NoHookYet), what.to_owned(), None))
            }
            // The failed or missing read matters more here, and another headline tells of that read.
            Some(ConditionReason::NotRead | ConditionReason::NotLookedYet) => None,
            _ => {
                let why = vip.desired.reason.as_deref().map_or("no hook has said what is wanted".to_owned(), clean);
                let said = (Tone::Wait, "NOT KNOWN", RunbookEntry::RoleNotKnown);
                Some(unknown(said, format!("{why}; nothing is touched"), Some(by_hand::without_word(vip))))
            }
        }
    }

    /// The headline of a standby whose watchdog process is gone, while its desired-state file still says leader.
    fn of_dead_guard(vip: &VipStatus) -> Option<Self> {
        if !vip.watchdog_is_gone() {
            return None;
        }
        Some(Self {
            tone: Tone::Wait,
            word: "WATCHDOG GONE",
            since_ms: Some(vip.desired.since_ms),
            aside: None,
            what: vec![vip.desired.reason.as_deref().map_or_else(String::new, clean)],
            to_do: Some(by_hand::without_watchdog(vip)),
            entry: RunbookEntry::WatchdogGone,
        })
    }

    fn of_bindings(vip: &VipStatus, now_ms: u64) -> Option<Self> {
        if vip.in_sync {
            return None;
        }
        let worst = vip.bindings.iter().filter(|binding| severity(binding) > 0).max_by(|a, b| {
            // Of two equally bad bindings the first is shown, so that the page does not jump between them.
            severity(a).cmp(&severity(b)).then(std::cmp::Ordering::Greater)
        })?;
        let (tone, word) = match state(worst) {
            State::Blocked => (Tone::Bad, "BLOCKED"),
            State::Drift => (Tone::Bad, "DRIFT"),
            State::Waiting => (Tone::Wait, "WAITING"),
            State::Unknown | State::InSync => (Tone::Wait, unread(worst).0),
        };
        let good = vip.bindings.iter().filter(|binding| state(binding) == State::InSync).count();
        let mut what = vec![format!("{} {}: {}", worst.kind, clean(&worst.target), clean(&worst.detail))];
        what.extend(failed(worst.last_error.as_ref(), worst.next_try_ms, now_ms));
        let is_of_worst = |obstacle: &&ObstacleStatus| {
            obstacle.binding.as_ref().is_some_and(|of| of.kind == worst.kind && of.target == worst.target)
        };
        let obstacle = vip.obstacles.iter().find(is_of_worst);
        if let Some(obstacle) = obstacle {
            what.insert(1, clean(&obstacle.message));
        }
        if let Some(action) = tried(worst) {
            what.insert(1, format!("tried to {}", clean(action)));
        }
        what.extend(worst.last_seen.as_ref().map(|last| last_seen(last, now_ms)));
        what.extend(no_hook_so_far(vip));
        Some(Self {
            tone,
            word,
            since_ms: Some(worst.since_ms),
            aside: Some(format!("{good} of {} bindings in sync", vip.bindings.len())),
            what,
            entry: match (blocker(worst), &worst.last_error, state(worst)) {
                (Some(blocker), ..) => RunbookEntry::of_blocker(blocker),
                (None, None, _) if is_moved_by_another(worst, vip) => RunbookEntry::Contested,
                (None, Some(_), _) | (None, None, State::Drift) => RunbookEntry::Refused,
                (None, None, State::Blocked) => RunbookEntry::Waiting,
                (None, None, State::Waiting | State::InSync) => RunbookEntry::Slow,
                (None, None, State::Unknown) => unread(worst).1,
            },
            to_do: match (blocker(worst), &worst.last_error) {
                // A binding that waits for somebody else is not tried, so its last error is an old one.
                (Some(blocker), _) => Some(unblock(blocker, vip)),
                // EC2 is often terse about a thing that the reads show plainly.
                (None, Some(_)) if obstacle.is_some() => obstacle.map(|known| hint::of_obstacle(known).to_owned()),
                (None, Some(error)) => Some(hint::of_error(error)),
                (None, None) if is_moved_by_another(worst, vip) => Some(hint::MOVED_BY_ANOTHER.to_owned()),
                (None, None) => (state(worst) == State::Unknown).then(|| hint::of_unseen_binding(worst)),
            },
        })
    }

    /// The headline of a leader whose Pgpool runs and has not answered for longer than a few looks: Pgpool hangs there. The
    /// clients of a leader in force wait for it. If the leader is superseded, the cluster is a node short, and no hook ends
    /// the superseded leadership.
    fn of_hanging_pgpool(vip: &VipStatus, now_ms: u64) -> Option<Self> {
        let silent = vip.silent_watchdog(now_ms).filter(|silent| silent.reason == ConditionReason::NoAnswer)?;
        if role(vip) != DesiredRole::Leader || vip.desired.guard_alive != Some(true) {
            return None;
        }
        let superseded = holding(vip, ConditionName::Superseded);
        let (to_do, entry) = match superseded {
            Some(_) => (by_hand::HANGS, RunbookEntry::Superseded),
            None => (by_hand::LEADER_HANGS, RunbookEntry::Witness),
        };
        Some(Self {
            tone: Tone::Bad,
            word: "PGPOOL HANGS",
            since_ms: Some(silent.since_ms),
            aside: None,
            what: superseded.into_iter().chain([silent]).map(|condition| clean(&condition.message)).collect(),
            to_do: Some(to_do.to_owned()),
            entry,
        })
    }

    /// The headline of a superseded leader that cannot see the end of the newer claim. If that claim ends, this node does not
    /// serve although it might be the one that should.
    fn of_hidden_claim(vip: &VipStatus) -> Option<Self> {
        let superseded = holding(vip, ConditionName::Superseded)
            .filter(|condition| condition.reason == ConditionReason::OutOfSight)?;
        Some(Self {
            tone: Tone::Wait,
            word: "CLAIM OUT OF SIGHT",
            since_ms: Some(superseded.since_ms),
            aside: None,
            what: vec![clean(&superseded.message)],
            to_do: Some(by_hand::out_of_sight(vip)),
            entry: RunbookEntry::Superseded,
        })
    }

    /// The headline of a leader whose claim cannot be recorded. Everything may be in place, but the leader does not
    /// take back what another node takes.
    fn of_claim(vip: &VipStatus, now_ms: u64) -> Option<Self> {
        let error = unrecorded(vip)?;
        let claim = vip.claim.as_ref()?;
        let mut what = vec!["what another node takes is not taken back without this claim's record".to_owned()];
        what.extend(failed(Some(error), claim.next_record_ms, now_ms));
        Some(Self {
            tone: Tone::Bad,
            word: "CLAIM NOT RECORDED",
            since_ms: failing(vip, ConditionName::ClaimRecorded).map(|condition| condition.since_ms),
            aside: vip.in_sync.then(|| "every binding is in sync".to_owned()),
            what,
            to_do: Some(hint::of_error(error)),
            entry: RunbookEntry::ClaimNotRecorded,
        })
    }

    /// The headline of a leader that cannot tell whether its claim is the newest. This leader does not take back what
    /// another node takes either.
    fn of_unread_claims(vip: &VipStatus) -> Option<Self> {
        let unread = unread_claims(vip)?;
        let what = "it is not known whose claim is the newest: what another node takes is not taken back";
        Some(Self {
            tone: Tone::Wait,
            word: "CLAIMS NOT READ",
            since_ms: Some(unread.since_ms),
            aside: vip.in_sync.then(|| "every binding is in sync".to_owned()),
            what: vec![what.to_owned(), clean(&unread.message)],
            to_do: Some(hint::of_unread_claims(vip.claim.as_ref())),
            entry: RunbookEntry::ClaimsNotRead,
        })
    }

    /// The headline where the probes of this node are not answered by the node that EC2 leads the clients to. The bindings may
    /// all be in sync, and yet clients are not served.
    fn of_astray(vip: &VipStatus) -> Option<Self> {
        let astray = failing(vip, ConditionName::PacketsArrive)?;
        let ip = vip.delegate_ip;
        Some(Self {
            tone: Tone::Bad,
            word: "PACKETS ASTRAY",
            since_ms: Some(astray.since_ms),
            aside: vip.in_sync.then(|| "every binding is in sync".to_owned()),
            what: vec![clean(&astray.message)],
            to_do: Some(format!("ask from several machines: 'vipkeeper probe {ip}'; the runbook says what follows")),
            entry: RunbookEntry::PacketsArrive,
        })
    }

    /// The headline of a node on which everything is as it should be now, while a takeover by this node must fail.
    fn of_obstacles(vip: &VipStatus) -> Option<Self> {
        let first = vip.obstacles.first()?;
        let what = vip.obstacles.iter().map(|obstacle| match &obstacle.binding {
            Some(binding) => format!("{}: {}", clean(&binding.to_string()), clean(&obstacle.message)),
            None => clean(&obstacle.message),
        });
        Some(Self {
            tone: Tone::Bad,
            word: "TAKEOVER WOULD FAIL",
            since_ms: None,
            aside: vip.in_sync.then(|| "every binding is in sync".to_owned()),
            what: what.collect(),
            to_do: Some(hint::of_obstacle(first).to_owned()),
            entry: RunbookEntry::TakeoverWouldFail,
        })
    }

    fn of_whole(vip: &VipStatus) -> Self {
        let superseded = holding(vip, ConditionName::Superseded);
        let in_sync_condition = vip.conditions.iter().find(|condition| condition.name == ConditionName::InSync);
        let (tone, word) = match (vip.in_sync, superseded) {
            (true, _) => (Tone::Good, "IN SYNC"),
            (false, _) => (Tone::Wait, "NOT YET IN SYNC"),
        };
        let mut what = Vec::new();
        let mut to_do = None;
        if let Some(superseded) = superseded {
            what.push(clean(&superseded.message));
            to_do = Some(by_hand::superseded(vip));
        } else if let (false, Some(condition)) = (vip.in_sync, in_sync_condition) {
            what.push(clean(&condition.message));
        }
        let leads = leads(vip);
        what.extend(vip.desired.reason.as_deref().filter(|_| leads).map(clean));
        let doubt = vip.claim.as_ref().and_then(|claim| claim.clock.as_deref()).filter(|_| leads);
        what.extend(doubt.map(|doubt| format!("when this claim began, this node's clock was {}", clean(doubt))));
        // A claim that has ended is of no interest any more.
        let claim = vip.claim.as_ref().filter(|_| role(vip) == DesiredRole::Leader).map(|claim| {
            let converged = claim.converged_ms.map(|at| format!(", converged in {}", precise(claim.started_ms, at)));
            // Eight characters of the id are enough to tell claims apart.
            let id: String = clean(claim.id.as_str()).chars().take(8).collect();
            format!("claim {id}{}", converged.unwrap_or_default())
        });
        Self {
            tone,
            word,
            since_ms: in_sync_condition.map(|condition| condition.since_ms),
            aside: claim.filter(|_| superseded.is_none()),
            what,
            to_do,
            entry: match (superseded, vip.in_sync) {
                (Some(_), _) => RunbookEntry::Superseded,
                (None, true) => RunbookEntry::ClientsDoNotReachTheVip,
                (None, false) => RunbookEntry::Slow,
            },
        }
    }
}

/// Whether nothing beside the bindings keeps clients from this VIP now, or at its next takeover.
fn is_unhindered(vip: &VipStatus) -> bool {
    vip.obstacles.is_empty() && failing(vip, ConditionName::PacketsArrive).is_none()
}

pub(super) fn state(binding: &BindingStatus) -> State {
    binding.state.known().unwrap_or(State::Unknown)
}

/// How much a binding needs somebody's attention; 0 means not at all.
fn severity(binding: &BindingStatus) -> u8 {
    let class = binding.last_error.as_ref().and_then(|error| error.class.known());
    let for_people = matches!(class, Some(Class::Denied | Class::Rejected));
    match state(binding) {
        State::InSync => 0,
        _ if for_people => 5,
        State::Blocked => 4,
        State::Drift => 3,
        State::Unknown => 2,
        State::Waiting => 1,
    }
}

/// The word for a binding whose state is unknown, and its entry. The status of an older daemon names the class alone.
fn unread(binding: &BindingStatus) -> (&'static str, RunbookEntry) {
    let why = binding.unseen.as_ref().map(|unseen| (unseen.why.known(), unseen.cause.kernel.is_some()));
    match why {
        Some((Some(Unseen::NotRead | Unseen::NotYet), _)) => ("NOT READ YET", RunbookEntry::NotReadYet),
        Some((Some(Unseen::NoSuchResource | Unseen::Unresolved), _)) => {
            ("CONFIG DOES NOT FIT", RunbookEntry::DoesNotFit)
        }
        Some((Some(Unseen::ReadFailed) | None, true)) => ("KERNEL NOT READ", RunbookEntry::KernelNotRead),
        None if binding.read_error_class.is_none() => ("NOT READ YET", RunbookEntry::NotReadYet),
        Some((Some(Unseen::ReadFailed) | None, false)) | None => ("EC2 NOT READ", RunbookEntry::NotRead),
    }
}

/// The place that was read last, before the reads began to fail.
pub(super) fn last_seen(last: &LastSeen, now_ms: u64) -> String {
    format!("last seen {} {} ago", clean(&last.place), since(last.read_ms, now_ms))
}

/// The line about a node on which no hook has run, while a failed read keeps the page from saying `NO HOOK YET`.
fn no_hook_so_far(vip: &VipStatus) -> Option<String> {
    let in_sync = vip.conditions.iter().find(|condition| condition.name == ConditionName::InSync)?;
    let waits = role(vip) == DesiredRole::Unknown && in_sync.reason == ConditionReason::NotRead;
    waits.then(|| {
        "NO HOOK YET, as far as was read: no hook has run since this machine started, which is normal on a node that has not \
         led since"
            .to_owned()
    })
}

fn blocker(binding: &BindingStatus) -> Option<Blocker> {
    binding.blocked_by.as_ref().and_then(OneOf::known)
}

/// The error for which this leader's claim could not be recorded; `None` if no error keeps it off the record.
fn unrecorded(vip: &VipStatus) -> Option<&ErrorStatus> {
    let error = vip.claim.as_ref()?.record_error.as_ref()?;
    (leads(vip) && failing(vip, ConditionName::ClaimRecorded).is_some()).then_some(error)
}

/// The condition by which this leader's claim is not known to be on record, because the anchor's tags cannot be read.
fn unread_claims(vip: &VipStatus) -> Option<&Condition> {
    failing(vip, ConditionName::ClaimRecorded)
        .filter(|condition| leads(vip) && condition.reason == ConditionReason::NotRead)
}

const LED_NOWHERE: &str =
    "EC2 leads the clients to no node that leads, for longer than a failover takes; vipkeeper elects nobody";

/// Whether this leader had everything under its claim, and something else has changed this binding in EC2 since. The change
/// back is no takeover.
fn is_moved_by_another(binding: &BindingStatus, vip: &VipStatus) -> bool {
    let had_everything = vip.claim.as_ref().is_some_and(|claim| claim.converged_ms.is_some()) && leads(vip);
    let is_gone = binding.drift.as_ref().is_some_and(|drift| *drift == DriftReason::Blackhole);
    had_everything
        && binding.kind.leads_clients()
        && !is_gone
        && matches!(state(binding), State::Drift | State::Waiting)
}

/// The advice where this node does nothing before somebody else acts.
fn unblock(blocker: Blocker, vip: &VipStatus) -> String {
    match (blocker, unrecorded(vip), unread_claims(vip)) {
        (Blocker::NoRecord, Some(error), _) => {
            format!("let it record its claim ({}): {}", clean(&error.message), hint::of_error(error))
        }
        (Blocker::NoRecord, None, Some(unread)) => format!(
            "let it read the claims ({}): {}",
            clean(&unread.message),
            hint::of_unread_claims(vip.claim.as_ref())
        ),
        (Blocker::NoRecord, None, None) => by_hand::claim_anew(vip),
        (Blocker::NotEscalated, ..) => by_hand::after_lost_down(vip),
        (Blocker::Unheard, ..) => {
            "see whether Pgpool hangs ('pcp_watchdog_info', its log); it goes on by itself once the watchdog answers"
                .to_owned()
        }
        (Blocker::NoHook, ..) => by_hand::without_word(vip),
        (Blocker::Conflict, ..) => {
            "give each of the two a place of its own in the config of all nodes (private_ip, interface, tables), then \
             'systemctl reload vipkeeper'"
                .to_owned()
        }
        (Blocker::Kernel, ..) => {
            "remove by hand what it names ('ip address del ...' or 'ip route del ...'), or what keeps it; until then this \
             node itself answers its own clients of the VIP, and not the leader"
                .to_owned()
        }
        (Blocker::Held, ..) => by_hand::resume(vip),
    }
}

/// The change that EC2 refuses, where the error is about the change itself. EC2's error often names neither the address
/// nor its holder.
fn tried(binding: &BindingStatus) -> Option<&str> {
    let error = binding.last_error.as_ref()?;
    let about_it =
        error.class == Class::Rejected || error.cause.reason.as_ref().is_some_and(|reason| *reason == Reason::NotYours);
    binding.action.as_deref().filter(|_| about_it)
}

/// The last failure, how often it came in a row, and when the next try is.
fn failed(error: Option<&ErrorStatus>, next_try_ms: Option<u64>, now_ms: u64) -> Vec<String> {
    let error = error.map(|error| {
        let times = if error.failures > 1 { format!(" ({} times in a row)", error.failures) } else { String::new() };
        format!("{}{times}", clean(&error.message))
    });
    let next = next_try(next_try_ms, now_ms).map(|next| format!("next try {next}"));
    error.into_iter().chain(next).collect()
}

pub(super) fn next_try(next_try_ms: Option<u64>, now_ms: u64) -> Option<String> {
    let next = next_try_ms?;
    Some(if next > now_ms { format!("in {}", age(Duration::from_millis(next - now_ms))) } else { "now".to_owned() })
}

/// A duration to the hundredth of a second, for work that is meant to be fast. Ten seconds and more are shown as an
/// age.
fn precise(from_ms: u64, to_ms: u64) -> String {
    let took = Duration::from_millis(to_ms.saturating_sub(from_ms));
    if took < Duration::from_secs(10) { format!("{:.2} s", took.as_secs_f64()) } else { age(took) }
}

/// A condition as the page names it, and whether it holds under that name. A claim's record that cannot be read is no record
/// that is missing.
pub(super) fn shown_name(condition: &Condition) -> (String, &'static str) {
    let yes_or_no = if condition.holds { "yes" } else { "no" };
    if condition.name == ConditionName::ClaimRecorded
        && !condition.holds
        && condition.reason == ConditionReason::NotRead
    {
        return ("CLAIMS NOT READ".to_owned(), "yes");
    }
    (clean(condition.name.as_str()), yes_or_no)
}

/// Whether a condition is as it should be.
pub(super) fn is_well(condition: &Condition, vip: &VipStatus) -> bool {
    // A condition of a newer daemon counts as well where it holds, as most conditions do.
    let Some(name) = condition.name.known() else { return condition.holds };
    match name {
        // Only a leader whose claim is not superseded has a claim to record.
        ConditionName::ClaimRecorded => condition.holds || !leads(vip),
        // A Pgpool that does not run, or that is not to be asked, needs nobody's attention here.
        ConditionName::Witness => {
            condition.holds || condition.reason.known().is_some_and(ConditionReason::is_nobody_to_ask)
        }
        // A hold that does not count is a hold that somebody relies on.
        ConditionName::Held => !condition.holds && condition.reason != ConditionReason::NotUsed,
        ConditionName::Contested | ConditionName::Superseded | ConditionName::HookLost => !condition.holds,
        ConditionName::InSync
        | ConditionName::DesiredValid
        | ConditionName::ClaimCopied
        | ConditionName::PacketsArrive => condition.holds,
    }
}
