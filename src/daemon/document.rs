//! The document that status, health and metrics show, as far as it tells of a VIP.

use std::cmp::Reverse;
use std::net::IpAddr;

use crate::action::Action;
use crate::binding::{BindingKey, ClaimMode};
use crate::claim_tag;
use crate::config::WitnessMode;
use crate::decide::claim::{self, Record, Rival};
use crate::decide::clients::LedTo;
use crate::decide::hold;
use crate::decide::plan::{self, Plan, Unasked, Verdict, Why};
use crate::desired::Desired;
use crate::desired::hold::Extent;
use crate::ec2::Class;
use crate::names::OneOf;
use crate::observe::World;
use crate::observe::obstacles::TakeoverObstacle;
use crate::observe::seen::{Now, WhyUnseen, Witness};
use crate::pgpool::watchdog::{Asked, Nobody};
use crate::status::{
    BindingStatus, ClaimStatus, Condition, ConditionName, ConditionReason, DesiredRole, DesiredStatus, ErrorStatus,
    ObstacleStatus, UnseenStatus, VipStatus,
};

use super::attempts::LastFailure;
use super::places;
use super::vip::VipLoop;
use crate::decide::plan::Subject;

/// The inputs of a VIP's part of the document, besides the VIP itself.
pub struct Context<'a> {
    pub world: &'a World,
    pub mode: WitnessMode,
    /// The last answer of Pgpool's watchdog.
    pub asked: Option<&'a Asked>,
    pub now: Now,
}

/// Whether a condition holds, and why.
struct Finding {
    holds: bool,
    reason: ConditionReason,
    message: String,
    until_ms: Option<u64>,
}

impl Finding {
    fn yes(reason: ConditionReason, message: impl Into<String>) -> Self {
        Self { holds: true, reason, message: message.into(), until_ms: None }
    }

    fn no(reason: ConditionReason, message: impl Into<String>) -> Self {
        Self { holds: false, ..Self::yes(reason, message) }
    }
}

/// The danger of nodes that differ in `claims.mode`.
const MIXED: &str = "a node that records its claim does not know of this node's leadership, and may take the VIP back; \
                     give all nodes the same claims.mode, or remove the tags of nodes that are gone";

/// The danger of a tag that says on the anchor alone how a leadership stands.
const NOT_COPIED: &str =
    "a node whose configuration names another anchor may not know how this node's leadership stands";

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
        let claim = self.memory().claim.as_ref().map(|own| ClaimStatus {
            id: own.id.clone(),
            term: own.term,
            started_ms: own.started_ms,
            converged_ms: self.converged_ms(),
            was_held: self.was_held(),
            superseded_by: own.superseded_by.as_ref().map(|rival| rival.node.clone()),
            superseded_term: own.superseded_by.as_ref().map(|rival| rival.term),
            record_error: unrecorded.as_ref().map(error),
            next_record_ms: unrecorded.as_ref().and_then(|failure| next_try_ms(failure, now)),
            read_error_class: unread.as_ref().and_then(read_error_class),
            unread: unread.as_ref().map(UnseenStatus::from),
            clock: self.clock_doubt().map(str::to_owned),
        });
        let conditions = self.conditions(context, plan, unread.as_ref(), before);
        VipStatus {
            delegate_ip: self.config.delegate_ip,
            desired: self.desired(context),
            claim,
            in_sync: conditions.iter().any(|condition| condition.name == ConditionName::InSync && condition.holds),
            holds: self.has_gained(),
            clients: self.clients_status(now),
            answers: self.answers_status(now),
            bindings,
            conditions,
            connections: self.connections.clone(),
            obstacles: self.obstacles.iter().map(obstacle).collect(),
            other_claims: self.other_claims(),
        }
    }

    /// The claims of other nodes on the record, the newest first.
    fn other_claims(&self) -> Vec<Rival> {
        let Some((claims, me)) = self.claims().zip(self.instance()) else { return Vec::new() };
        let mut others = claim::standing_of_others(claims, me);
        others.sort_by_key(|other| Reverse(other.term));
        others
    }

    fn desired(&self, context: &Context<'_>) -> DesiredStatus {
        let desired = self.reading().map(|reading| &reading.desired);
        let unseen = self.reading().filter(|reading| reading.guard_unseen).map(|_| {
            "the Pgpool watchdog process is in a pid namespace that vipkeeper cannot look into: its death goes unnoticed"
        });
        DesiredStatus {
            role: desired.map_or(DesiredRole::Unknown, DesiredRole::from).into(),
            reason: desired.and_then(Desired::why).or(unseen).map(str::to_owned),
            since_ms: self.desired_since_ms(),
            guard_alive: self.reading().and_then(|reading| reading.guard_alive),
            watchdog_leads: watchdog_leads(context, self.config.delegate_ip),
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
        let (read_ms, last_seen) = self.reads_of(key, now);
        BindingStatus {
            kind: key.kind,
            target: key.target.clone(),
            state: state.into(),
            detail: places::detail(key, verdict),
            since_ms,
            read_ms,
            last_seen,
            drift: verdict.drift.map(OneOf::Known),
            blocked_by: verdict.why.blocker().map(OneOf::Known),
            action: verdict.change.as_ref().map(|change| self.with_holder(key, &change.action)),
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
        let findings = [
            (ConditionName::InSync, Some(Self::in_sync(plan))),
            (ConditionName::DesiredValid, Some(self.desired_valid())),
            (ConditionName::ClaimRecorded, Some(self.recorded(plan, unread))),
            (ConditionName::ClaimCopied, self.copied()),
            (ConditionName::Contested, Some(self.contested())),
            (ConditionName::HookLost, Some(self.hook_lost(mode))),
            (ConditionName::Superseded, Some(self.superseded())),
            (ConditionName::Witness, Some(witness(mode, asked, self.config.delegate_ip))),
            (ConditionName::Held, self.held_by_operator()),
            (ConditionName::PacketsArrive, self.packets_arrive(now)),
        ];
        let conditions = findings.into_iter().filter_map(|(name, finding)| {
            let Finding { holds, reason, message, until_ms } = finding?;
            let told = before.and_then(|before| before.conditions.iter().find(|told| told.name == name));
            // Each reason of a silent watchdog, and each effect of a hold, has lasted for a time of its own.
            let is_one_state = !matches!(name, ConditionName::Witness | ConditionName::Held);
            let is_one = |told: &&Condition| told.holds == holds && (is_one_state || told.reason == reason);
            let since_ms = told.filter(is_one).map_or(now.wall_ms, |told| told.since_ms);
            Some(Condition { name: name.into(), holds, reason: reason.into(), message, since_ms, until_ms })
        });
        conditions.collect()
    }

    /// Whether every binding is as it should be, and if not, why.
    fn in_sync(plan: Option<&Plan>) -> Finding {
        let Some(plan) = plan else {
            return Finding::no(ConditionReason::NotLookedYet, "nothing has been looked at yet");
        };
        if plan.in_sync() {
            return Finding::yes(ConditionReason::AllAgree, "");
        }
        let differing = plan.bindings.iter().filter(|(_, verdict)| verdict.state != plan::State::InSync);
        let differing: Vec<_> = differing.map(|(key, verdict)| format!("{key}: {}", verdict.why)).collect();
        let differing = differing.join("; ");
        match plan.unasked {
            None => Finding::no(ConditionReason::Differs, differing),
            Some(Unasked::NoHookYet) => {
                Finding::yes(ConditionReason::NoHookYet, "no hook has run yet, and nothing points here")
            }
            Some(Unasked::NotSeen) => Finding::no(ConditionReason::NotRead, differing),
            Some(Unasked::HookMissing) => Finding::no(ConditionReason::NothingAsked, differing),
        }
    }

    fn desired_valid(&self) -> Finding {
        match self.reading().and_then(|reading| reading.invalid.clone()) {
            None => Finding::yes(ConditionReason::Good, ""),
            Some(why) => Finding::no(ConditionReason::NotUsed, why),
        }
    }

    fn contested(&self) -> Finding {
        let contested = self.memory().contested();
        let contested = contested.map(|(key, times)| format!("{key} was taken or put back {times} times"));
        let contested = contested.collect::<Vec<_>>().join("; ");
        if contested.is_empty() {
            Finding::no(ConditionReason::Calm, "")
        } else {
            Finding::yes(ConditionReason::TakenAgainAndAgain, contested)
        }
    }

    fn hook_lost(&self, mode: WitnessMode) -> Finding {
        match self.dispute().filter(|dispute| dispute.hook_lost(mode)) {
            Some(dispute) => Finding::yes(ConditionReason::Contradiction, dispute.message()),
            None => Finding::no(ConditionReason::Agreed, ""),
        }
    }

    fn superseded(&self) -> Finding {
        let leads = matches!(self.reading().map(|reading| &reading.desired), Some(Desired::Leader(_)));
        let rival = self.memory().claim.as_ref().and_then(|own| own.superseded_by.as_ref()).filter(|_| leads);
        match (rival, self.rival_out_of_sight()) {
            (Some(rival), None) => {
                let message = format!("{} holds the newer claim {}", rival.node, rival.term);
                Finding::yes(ConditionReason::NewerClaim, message)
            }
            (Some(rival), Some(resources)) => {
                let resources: Vec<_> = resources.iter().map(String::as_str).collect();
                let message = format!(
                    "{} held the newer claim {} on {}, which the configuration does not name any more: this node cannot see \
                     that claim end, and stands by until its next `up`",
                    rival.node,
                    rival.term,
                    resources.join(", ")
                );
                Finding::yes(ConditionReason::OutOfSight, message)
            }
            (None, _) => Finding::no(ConditionReason::Newest, ""),
        }
    }

    /// Whether the copies of this node's claim are on record; `None` unless one of them cannot be written.
    fn copied(&self) -> Option<Finding> {
        let failures = self.failed_copies().map(|(on, failure)| format!("{}: {}", on.resource(), failure.message));
        let failures: Vec<_> = failures.collect();
        let failed = || Finding::no(ConditionReason::NotWritable, format!("{}; {NOT_COPIED}", failures.join("; ")));
        (!failures.is_empty()).then(failed)
    }

    /// Whether an operator holds the VIP; `None` without a hold.
    fn held_by_operator(&self) -> Option<Finding> {
        match self.hold() {
            Ok(None) => None,
            Ok(Some(hold)) => {
                let (reason, except) = match hold.extent {
                    Extent::ExceptRelease => (ConditionReason::ExceptRelease, ", except that a `down` still lets go"),
                    Extent::Everything => (ConditionReason::Everything, ""),
                };
                let until = hold.until();
                let message = format!("an operator holds it: this node changes nothing until {until}{except}");
                let (reason, message) = match self.unserved_under_hold() {
                    Some(why) => (ConditionReason::Unserved, format!("{why}; {message}")),
                    None => (reason, message),
                };
                Some(Finding { until_ms: Some(hold.until_ms), ..Finding::yes(reason, message) })
            }
            Err(why) => Some(Finding::no(ConditionReason::NotUsed, why.clone())),
        }
    }

    /// Where the clients are, if they are not served because of the hold.
    fn unserved_under_hold(&self) -> Option<String> {
        let (plan, clients) = self.plan().zip(self.clients())?;
        let place = match &clients.place {
            _ if !hold::keeps_from_serving(plan, &clients, self.converged_ms()) => return None,
            LedTo::Here => "and the hold keeps it from the rest of what it needs".to_owned(),
            LedTo::Elsewhere(holder) => format!("and EC2 leads the clients to {holder}"),
            LedTo::Nowhere => "and EC2 leads the clients to no node".to_owned(),
            LedTo::Several => "and EC2 leads the clients to several places".to_owned(),
        };
        Some(format!("clients are not served because of the hold: this node leads, {place}"))
    }

    /// Whether packets arrive where EC2 leads them; `None` while nobody is asked.
    fn packets_arrive(&self, now: Now) -> Option<Finding> {
        self.answers.heard()?;
        Some(match self.answers.astray(now.at) {
            None => Finding::yes(ConditionReason::NotAstray, ""),
            Some(astray) => {
                let led_to = &astray.led_to;
                match &astray.by {
                    Some(by) => Finding::no(
                        ConditionReason::OtherNode,
                        format!(
                            "EC2 leads the clients to {led_to}, and {by} answers: a route table may be missing from the configuration"
                        ),
                    ),
                    None => Finding::no(
                        ConditionReason::Nobody,
                        format!(
                            "EC2 leads the clients to {led_to}, and nobody answers: a security group may not let the probes' \
                             UDP port through, a route table may be missing from the configuration, or {led_to} has no [probe]"
                        ),
                    ),
                }
            }
        })
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
        let others: Vec<_> = claim::standing_of_others(claims, me).iter().map(|other| other.node.to_string()).collect();
        (!others.is_empty()).then(|| others.join(", "))
    }

    /// Whether this node's claim is on record as far as it should be, and if not, why.
    fn recorded(&self, plan: Option<&Plan>, unread: Option<&WhyUnseen>) -> Finding {
        if self.mode() == Some(ClaimMode::Off) {
            let message = "claims are off: after the first minute of a leadership nothing is taken back from another";
            return match self.recorded_by_others() {
                Some(others) => {
                    let message = format!("{message}, but claims of {others} are on record: {MIXED}");
                    Finding::no(ConditionReason::ClaimsMixed, message)
                }
                None => Finding::no(ConditionReason::ClaimsOff, message),
            };
        }
        if let Some(message) = self.implausible() {
            return Finding::no(ConditionReason::Implausible, message);
        }
        let (Some(own), Some(plan)) = (&self.memory().claim, plan) else {
            return Finding::yes(ConditionReason::NoClaim, "");
        };
        if plan.standing != claim::Standing::Leader {
            return Finding::yes(ConditionReason::NoClaim, "");
        }
        if let Some(failure) = self.failure(&Subject::OwnClaim) {
            return Finding::no(ConditionReason::NotWritable, failure.message);
        }
        let record = self
            .claims()
            .zip(self.instance())
            .map_or(Record::Unknown, |(claims, instance)| claim::record_status(claims, instance, own));
        match (record, unread) {
            (Record::Newest, _) => Finding::yes(ConditionReason::OnRecord, ""),
            (Record::Missing, _) if matches!(self.hold(), Ok(Some(_))) => Finding::no(
                ConditionReason::NotSeenYet,
                "a node that is held writes no tag: the claim is recorded after the hold",
            ),
            (Record::Missing, _) => {
                Finding::no(ConditionReason::NotSeenYet, "the claim's tag has not been seen on the anchor yet")
            }
            (Record::Unknown, None | Some(WhyUnseen::NotRead)) => {
                Finding::no(ConditionReason::NotReadYet, "the anchor's tags have not been read under this claim yet")
            }
            (Record::Unknown, Some(why)) => Finding::no(ConditionReason::NotRead, format!("the anchor's tags: {why}")),
        }
    }
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
        held_back_ms: u64::try_from(failure.waits.as_millis()).unwrap_or(u64::MAX),
        cause: failure.cause.clone(),
    }
}

fn next_try_ms(failure: &LastFailure<'_>, now: Now) -> Option<u64> {
    failure.next_try.map(|at| now.wall_ms_at(at))
}

/// Whether Pgpool's watchdog says that this node leads; `None` without its word.
fn watchdog_leads(context: &Context<'_>, vip: IpAddr) -> Option<bool> {
    match context.asked.filter(|_| context.mode != WitnessMode::Off)?.on(vip) {
        Witness::Escalated => Some(true),
        Witness::NotEscalated => Some(false),
        Witness::Silent | Witness::Asking | Witness::Unheard => None,
    }
}

/// Whether Pgpool's watchdog speaks about this VIP, and if not, why.
fn witness(mode: WitnessMode, asked: Option<&Asked>, vip: IpAddr) -> Finding {
    match asked {
        _ if mode == WitnessMode::Off => Finding::no(ConditionReason::Off, "it is not asked: witness = \"off\""),
        None => Finding::no(ConditionReason::NotAskedYet, "it was not asked yet"),
        Some(Asked::Word(word)) if word.delegate_ips.contains(&vip) => Finding::yes(ConditionReason::Answers, ""),
        Some(Asked::Word(_)) => {
            let message = "the Pgpool that answers has another delegate_ip; [pgpool] watchdog_socket names its socket";
            Finding::no(ConditionReason::OtherAddress, message)
        }
        Some(Asked::Nobody(why)) => {
            let reason = match why {
                Nobody::NoSocket(_) => ConditionReason::NoSocket,
                Nobody::NotPermitted(_) => ConditionReason::NotPermitted,
                Nobody::NotRunning(_) => ConditionReason::NotRunning,
                Nobody::Stranger { .. } => ConditionReason::Stranger,
            };
            Finding::no(reason, why.to_string())
        }
        Some(Asked::NoAnswer(why)) => Finding::no(ConditionReason::NoAnswer, why.clone()),
        Some(Asked::Unheard(why)) => Finding::no(ConditionReason::Unheard, why.clone()),
    }
}
