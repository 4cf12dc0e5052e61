//! The document that status, health and metrics show, as far as it tells of a VIP.

use std::net::IpAddr;

use crate::action::Action;
use crate::binding::{BindingKey, ClaimMode};
use crate::claim_tag;
use crate::config::WitnessMode;
use crate::decide::claim::{self, Record};
use crate::decide::plan::{self, Plan, Unasked, Verdict, Why};
use crate::desired::Desired;
use crate::desired::hold::{Extent, InForce};
use crate::ec2::Class;
use crate::names::OneOf;
use crate::observe::World;
use crate::observe::obstacles::TakeoverObstacle;
use crate::observe::seen::{Now, WhyUnseen};
use crate::pgpool::watchdog::{Asked, Nobody};
use crate::status::{
    BindingStatus, ClaimStatus, Condition, ConditionName, DesiredRole, DesiredStatus, ErrorStatus, ObstacleStatus,
    SourceStatus, Status, UnseenStatus, VipStatus, reason,
};

use super::attempts::LastFailure;
use super::vip::VipLoop;
use crate::decide::plan::Subject;

/// Whether two documents of this process are equal, apart from the times at which they were made and at which each
/// source was read.
pub fn says_the_same(told: &Status, status: &Status) -> bool {
    fn source(source: &SourceStatus) -> SourceStatus {
        SourceStatus { last_success_ms: source.last_success_ms.map(|_| 0), ..source.clone() }
    }
    told.sources.iter().map(source).eq(status.sources.iter().map(source))
        && (&told.instance, &told.region) == (&status.instance, &status.region)
        && (&told.vips, &told.problems) == (&status.vips, &status.problems)
}

/// The inputs of a VIP's part of the document, besides the VIP itself.
pub struct Context<'a> {
    pub world: &'a World,
    pub mode: WitnessMode,
    /// The last answer of Pgpool's watchdog.
    pub asked: Option<&'a Asked>,
    pub now: Now,
}

/// The danger of nodes that differ in `claims.mode`.
const MIXED: &str = "a node that records its claim does not know of this node's leadership, and may take the VIP back; \
                     give all nodes the same claims.mode, or remove the tags of nodes that are gone";

impl VipLoop {
    /// The VIP's part of the document. `before` is the part that was told last. A state that has not changed keeps the
    /// time of its beginning from there.
    pub fn document(&self, context: &Context<'_>, before: Option<&VipStatus>) -> VipStatus {
        let Context { world, now, .. } = *context;
        let plan = self.plan();
        let bindings: Vec<_> = plan
            .into_iter()
            .flat_map(|plan| &plan.bindings)
            .map(|(key, verdict)| self.binding(key, verdict, before, now))
            .collect();
        let unrecorded =
            plan.filter(|plan| plan.standing == claim::Standing::Leader).and_then(|_| self.failure(&Subject::OwnClaim));
        let unread = self.why_claims_unread(world);
        let claim = self.memory().claim.as_ref().map(|held| ClaimStatus {
            id: held.id.clone(),
            term: held.term,
            started_ms: held.started_ms,
            converged_ms: self.converged_ms(),
            superseded_by: held.superseded_by.as_ref().map(|rival| rival.node.clone()),
            superseded_term: held.superseded_by.as_ref().map(|rival| rival.term),
            record_error: unrecorded.as_ref().map(error),
            next_record_ms: unrecorded.as_ref().and_then(|failure| next_try_ms(failure, now)),
            read_error_class: unread.as_ref().and_then(read_error_class),
            unread: unread.as_ref().map(UnseenStatus::from),
            clock: self.clock_doubt().map(str::to_owned),
        });
        let conditions = self.conditions(context, plan, unread.as_ref(), before);
        VipStatus {
            delegate_ip: self.config.delegate_ip,
            desired: self.desired(),
            claim,
            in_sync: conditions.iter().any(|condition| condition.name == ConditionName::InSync && condition.holds),
            holds: self.holds(),
            bindings,
            conditions,
            connections: self.connections.clone(),
            obstacles: self.obstacles.iter().map(obstacle).collect(),
        }
    }

    fn desired(&self) -> DesiredStatus {
        let desired = self.reading().map(|reading| &reading.desired);
        let unseen = self.reading().filter(|reading| reading.guard_unseen).map(|_| {
            "the Pgpool watchdog process is in a pid namespace that vipkeeper cannot look into: its death goes unnoticed"
        });
        DesiredStatus {
            role: desired.map_or(DesiredRole::Unknown, DesiredRole::from).into(),
            reason: desired.and_then(Desired::why).or(unseen).map(str::to_owned),
            since_ms: self.desired_since_ms(),
            guard_alive: self.reading().and_then(|reading| reading.guard_alive),
            asked: desired.cloned(),
        }
    }

    fn binding(&self, key: &BindingKey, verdict: &Verdict, before: Option<&VipStatus>, now: Now) -> BindingStatus {
        let failure = self.failure(&Subject::Binding(key.clone()));
        let state = verdict.state_after(failure.as_ref().map(|failure| failure.class));
        let unseen = match &verdict.why {
            Why::Unseen(why) => Some(why),
            _ => None,
        };
        let told = before
            .and_then(|before| before.bindings.iter().find(|told| told.kind == key.kind && told.target == key.target));
        let is_one_episode = |told: &&BindingStatus| told.state.known().is_some_and(|told| told.is_one_episode(state));
        let since_ms = told.filter(is_one_episode).map_or(now.wall_ms, |told| told.since_ms);
        BindingStatus {
            kind: key.kind,
            target: key.target.clone(),
            state: state.into(),
            detail: verdict.why.to_string(),
            since_ms,
            drift: verdict.drift.map(OneOf::Known),
            blocked_by: verdict.why.blocker().map(OneOf::Known),
            action: verdict.step.as_ref().map(|step| self.with_holder(key, &step.action)),
            next_try_ms: failure.as_ref().and_then(|failure| next_try_ms(failure, now)),
            last_error: failure.as_ref().map(error),
            read_error_class: unseen.and_then(read_error_class),
            unseen: unseen.map(UnseenStatus::from),
        }
    }

    /// A change as people read it, with the other holder of the binding if one was seen.
    fn with_holder(&self, key: &BindingKey, action: &Action) -> String {
        match self.holder(key) {
            Some(holder) => format!("{action} (now at {holder})"),
            None => action.to_string(),
        }
    }

    fn conditions(
        &self,
        context: &Context<'_>,
        plan: Option<&Plan>,
        unread: Option<&WhyUnseen>,
        before: Option<&VipStatus>,
    ) -> Vec<Condition> {
        let Context { mode, asked, now, .. } = *context;
        let mut conditions = Vec::new();
        let mut put = |name: ConditionName, holds: bool, reason: &str, message: String| {
            let told = before.and_then(|before| before.conditions.iter().find(|told| told.name == name));
            let since_ms = told.filter(|told| told.holds == holds).map_or(now.wall_ms, |told| told.since_ms);
            let (name, reason) = (name.into(), reason.to_owned());
            conditions.push(Condition { name, holds, reason, message, since_ms });
        };
        let (in_sync, reason, message) = Self::in_sync(plan);
        put(ConditionName::InSync, in_sync, reason, message);
        let invalid = self.reading().and_then(|reading| reading.invalid.clone());
        let reason = if invalid.is_none() { "Good" } else { "NotUsed" };
        put(ConditionName::DesiredValid, invalid.is_none(), reason, invalid.unwrap_or_default());
        let (recorded, reason, message) = self.recorded(plan, unread);
        put(ConditionName::ClaimRecorded, recorded, reason, message);
        let contested: Vec<_> = self
            .memory()
            .tracks
            .iter()
            .filter(|(_, track)| track.retakes >= crate::decide::timing::CONTESTED_FROM)
            .map(|(key, track)| format!("{key} was taken or put back {} times", track.retakes))
            .collect();
        let reason = if contested.is_empty() { "Calm" } else { "TakenAgainAndAgain" };
        put(ConditionName::Contested, !contested.is_empty(), reason, contested.join("; "));
        let lost = self.dispute().filter(|dispute| dispute.hook_lost(mode));
        let (reason, message) = match lost {
            Some(dispute) => ("Contradiction", dispute.message()),
            None => ("Agreed", ""),
        };
        put(ConditionName::HookLost, lost.is_some(), reason, message.to_owned());
        let leader = matches!(self.reading().map(|reading| &reading.desired), Some(Desired::Leader(_)));
        let rival = self.memory().claim.as_ref().and_then(|held| held.superseded_by.as_ref()).filter(|_| leader);
        let reason = if rival.is_some() { "NewerClaim" } else { "Newest" };
        let message = rival.map(|rival| format!("{} holds the newer claim {}", rival.node, rival.term));
        put(ConditionName::Superseded, rival.is_some(), reason, message.unwrap_or_default());
        let (speaks, reason, message) = witness(mode, asked, self.config.delegate_ip);
        put(ConditionName::Witness, speaks, reason, message);
        match self.hold() {
            Ok(None) => {}
            Ok(Some(hold)) => put(ConditionName::Held, true, hold_reason(hold.extent), hold_message(hold)),
            Err(why) => put(ConditionName::Held, false, reason::NOT_USED, why.clone()),
        }
        conditions
    }

    /// Whether every binding is as it should be, and if not, why.
    fn in_sync(plan: Option<&Plan>) -> (bool, &'static str, String) {
        let Some(plan) = plan else {
            return (false, reason::NOT_LOOKED_YET, "nothing has been looked at yet".to_owned());
        };
        if plan.in_sync() {
            return (true, "AllAgree", String::new());
        }
        let differing = plan.bindings.iter().filter(|(_, verdict)| verdict.state != plan::State::InSync);
        let differing: Vec<_> = differing.map(|(key, verdict)| format!("{key}: {}", verdict.why)).collect();
        let differing = differing.join("; ");
        match plan.unasked {
            None => (false, "Differs", differing),
            Some(Unasked::NoHookYet) => {
                (true, reason::NO_HOOK_YET, "no hook has run yet, and nothing points here".to_owned())
            }
            Some(Unasked::NotSeen) => (false, reason::NOT_READ, differing),
            Some(Unasked::HookMissing) => (false, "NothingAsked", differing),
        }
    }

    /// The tags of other nodes whose term is too far ahead of this node's clock to be a claim; `None` if there are
    /// none.
    fn implausible(&self) -> Option<String> {
        let (claims, me) = self.claims().zip(self.instance())?;
        let tags: Vec<_> = claim::implausible_of_others(claims, me)
            .map(|(node, term)| format!("{} = {term}", claim_tag::tag_key(self.config.delegate_ip, node)))
            .collect();
        let why = "further ahead of this node's clock than clocks may differ: set the clock right, or remove the tag; \
                   until then nothing is taken back";
        (!tags.is_empty()).then(|| format!("{}: {why}", tags.join(", ")))
    }

    /// The other nodes whose claims stand on the record, as one text. `None` if there are none.
    fn recorded_by_others(&self) -> Option<String> {
        let (claims, me) = self.claims().zip(self.instance())?;
        let others: Vec<_> = claim::standing_of_others(claims, me).iter().map(ToString::to_string).collect();
        (!others.is_empty()).then(|| others.join(", "))
    }

    /// Whether this node's claim is on record as far as it should be, and if not, why.
    fn recorded(&self, plan: Option<&Plan>, unread: Option<&WhyUnseen>) -> (bool, &'static str, String) {
        if self.mode() == Some(ClaimMode::Off) {
            let message = "claims are off: after the first minute of a leadership nothing is taken back from another";
            return match self.recorded_by_others() {
                Some(others) => {
                    (false, "ClaimsMixed", format!("{message}, but claims of {others} are on record: {MIXED}"))
                }
                None => (false, "ClaimsOff", message.to_owned()),
            };
        }
        if let Some(message) = self.implausible() {
            return (false, "Implausible", message);
        }
        let (Some(held), Some(plan)) = (&self.memory().claim, plan) else {
            return (true, "NoClaim", String::new());
        };
        if plan.standing != claim::Standing::Leader {
            return (true, "NoClaim", String::new());
        }
        if let Some(failure) = self.failure(&Subject::OwnClaim) {
            return (false, "NotWritable", failure.message.to_owned());
        }
        let record = self
            .claims()
            .zip(self.instance())
            .map_or(Record::Unknown, |(claims, instance)| claim::record_status(claims, instance, held));
        match (record, unread) {
            (Record::Newest, _) => (true, reason::ON_RECORD, String::new()),
            (Record::Missing, _) => {
                (false, "NotSeenYet", "the claim's tag has not been seen on the anchor yet".to_owned())
            }
            (Record::Unknown, None | Some(WhyUnseen::NotRead)) => {
                (false, "NotReadYet", "the anchor's tags have not been read under this claim yet".to_owned())
            }
            (Record::Unknown, Some(why)) => (false, reason::NOT_READ, format!("the anchor's tags: {why}")),
        }
    }
}

fn hold_reason(extent: Extent) -> &'static str {
    match extent {
        Extent::ExceptRelease => "ExceptRelease",
        Extent::Everything => "Everything",
    }
}

fn hold_message(hold: &InForce) -> String {
    let until = hold.until();
    let except = match hold.extent {
        Extent::ExceptRelease => ", except that a `down` still lets go",
        Extent::Everything => "",
    };
    format!("an operator holds it: this node changes nothing until {until}{except}")
}

fn obstacle((binding, obstacle): &(Option<BindingKey>, TakeoverObstacle)) -> ObstacleStatus {
    ObstacleStatus { name: obstacle.name().into(), binding: binding.clone(), message: obstacle.to_string() }
}

/// The class of the failed read that left something unknown.
fn read_error_class(why: &WhyUnseen) -> Option<OneOf<Class>> {
    why.failed_read().map(|failed| failed.class.into())
}

fn error(failure: &LastFailure<'_>) -> ErrorStatus {
    ErrorStatus {
        at_ms: failure.at_ms,
        class: failure.class.into(),
        message: failure.message.to_owned(),
        failures: failure.times,
        held_back_ms: u64::try_from(failure.held_back.as_millis()).unwrap_or(u64::MAX),
        cause: failure.cause.clone(),
    }
}

fn next_try_ms(failure: &LastFailure<'_>, now: Now) -> Option<u64> {
    failure.next_try.map(|at| now.wall_ms_at(at))
}

/// Whether Pgpool's watchdog speaks about this VIP, and if not, why.
fn witness(mode: WitnessMode, asked: Option<&Asked>, vip: IpAddr) -> (bool, &'static str, String) {
    match asked {
        _ if mode == WitnessMode::Off => (false, "Off", "it is not asked: witness = \"off\"".to_owned()),
        None => (false, "NotAskedYet", "it was not asked yet".to_owned()),
        Some(Asked::Word(word)) if word.delegate_ips.contains(&vip) => (true, "Answers", String::new()),
        Some(Asked::Word(_)) => {
            let message = "the Pgpool that answers has another delegate_ip; [pgpool] watchdog_socket names its socket";
            (false, "OtherAddress", message.to_owned())
        }
        Some(Asked::Nobody(why)) => {
            let reason = match why {
                Nobody::NoSocket(_) => "NoSocket",
                Nobody::NotPermitted(_) => "NotPermitted",
                Nobody::NotRunning(_) => "NotRunning",
                Nobody::Stranger { .. } => "Stranger",
            };
            (false, reason, why.to_string())
        }
        Some(Asked::Unheard(why)) => (false, "Unheard", why.clone()),
    }
}
