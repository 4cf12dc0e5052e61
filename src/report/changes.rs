//! The news that follow from a change of the status, derived from the status before and the status after, and no other
//! news. Who meets an event tells the event when it happens: an event is what no status shows (a pass, a change that
//! begins or ends, a request), or what may leave the status as it was. Of the second kind are a reload that changes
//! nothing, a question to the watchdog that is not answered once more, and a start by which this node is the same
//! instance with other interfaces. [`News`] lists both kinds.

use super::labels::Direction;
use super::news::News;
use crate::binding::BindingKey;
use crate::decide::plan::State;
use crate::ec2::Class;
use crate::names::OneOf;
use crate::observe::question::Source;
use crate::problem::ProblemReason;
use crate::status::{
    BindingStatus, ClaimStatus, Condition, ConditionName, DesiredRole, ObstacleStatus, Problem, SourceStatus, Status,
    VipStatus,
};

/// The news between the status that was told last and the next one.
#[derive(Debug)]
pub struct Changes<'a> {
    before: Option<&'a Status>,
    after: &'a Status,
}

impl<'a> Changes<'a> {
    /// `before` is `None` for a daemon's first status.
    #[must_use]
    pub fn between(before: Option<&'a Status>, after: &'a Status) -> Self {
        Self { before, after }
    }

    /// Tells all news in the order in which an operator reads them: the daemon, each VIP, each source.
    pub fn tell(&self, mut news: impl FnMut(&News<'_>)) {
        self.problems(&mut news);
        for after in &self.after.vips {
            let before = self
                .before
                .and_then(|status| status.vips.iter().find(|before| before.delegate_ip == after.delegate_ip));
            VipChanges { before, after, is_first: self.before.is_none() }.tell(&mut news);
            self.watchdog(before, after, &mut news);
        }
        self.sources(&mut news);
    }

    /// Tells that Pgpool's watchdog gives no answer, once that has lasted, and when it is over.
    fn watchdog(&self, before: Option<&VipStatus>, after: &VipStatus, news: &mut impl FnMut(&News<'_>)) {
        let vip = after.delegate_ip;
        let silent = after.silent_watchdog(self.after.written_ms);
        let told = self.before.zip(before).and_then(|(status, before)| before.silent_watchdog(status.written_ms));
        match (told, silent) {
            (None, Some(silent)) => news(&News::WatchdogSilent { vip, why: Some(&silent.message) }),
            (Some(_), None) => news(&News::WatchdogSilent { vip, why: None }),
            _ => {}
        }
    }

    fn problems(&self, news: &mut impl FnMut(&News<'_>)) {
        let before = self.before.map_or(&[][..], |status| &status.problems);
        let same = |all: &[Problem], reason| all.iter().find(|problem| problem.reason == reason).cloned();
        for Problem { reason, message, times, .. } in &self.after.problems {
            let Some(reason) = reason.known() else { continue };
            let told = same(before, reason).is_some_and(|told| told.times == *times && told.message == *message);
            match reason {
                _ if told => {}
                // A reload is an event, told when it happens.
                ProblemReason::ConfigInvalid => {}
                ProblemReason::NoReserve => news(&News::Reserve { missing: Some(message) }),
                _ => news(&News::Problem { reason, message }),
            }
        }
        for reason in before.iter().filter_map(|problem| problem.reason.known()) {
            match reason {
                _ if same(&self.after.problems, reason).is_some() => {}
                ProblemReason::ConfigInvalid => {}
                ProblemReason::NoReserve => news(&News::Reserve { missing: None }),
                _ => news(&News::ProblemSolved { reason }),
            }
        }
    }

    /// Tells of failed reads and of observed sources. A source counts as observed when each of its parts was read and
    /// no part fails.
    fn sources(&self, news: &mut impl FnMut(&News<'_>)) {
        let before = self.before.map_or(&[][..], |status| &status.sources);
        let part_before = |after: &SourceStatus| {
            before.iter().find(|before| before.source == after.source && before.part == after.part)
        };
        for after in &self.after.sources {
            let failures_before = part_before(after).map_or(0, |before| before.failures);
            if let (Some(source), Some(error)) = (after.source.known(), &after.error)
                && after.failures != failures_before
            {
                let class = after.class.as_ref().and_then(OneOf::known).unwrap_or(Class::Transient);
                news(&News::ReadFailed { source, class, error: &told_with_part(after, error) });
            }
        }
        for source in Source::ALL {
            let parts: Vec<_> = self.after.sources.iter().filter(|part| part.source == *source).collect();
            let read_again = parts
                .iter()
                .any(|after| part_before(after).is_none_or(|before| before.last_success_ms != after.last_success_ms));
            let all_well = parts.iter().all(|part| part.error.is_none() && part.last_success_ms.is_some());
            let newest = parts.iter().filter_map(|part| part.last_success_ms).max();
            if let (true, true, Some(at_ms)) = (read_again, all_well, newest) {
                news(&News::Observed { source: *source, at_ms });
            }
        }
    }
}

/// The error, followed by the part of the source that it is about.
fn told_with_part(source: &SourceStatus, error: &str) -> String {
    source.part.as_ref().map_or_else(|| error.to_owned(), |part| format!("{error} (of {part})"))
}

struct VipChanges<'a> {
    before: Option<&'a VipStatus>,
    after: &'a VipStatus,
    /// This is the daemon's first status. An earlier daemon has told the news of every state that lasts since then.
    is_first: bool,
}

impl VipChanges<'_> {
    fn tell(&self, news: &mut impl FnMut(&News<'_>)) {
        self.desired(news);
        self.bindings(news);
        self.obstacles(news);
        if let Some(claim) = &self.after.claim {
            self.claim(claim, news);
        }
        self.takeover(news);
        let vip = self.after.delegate_ip;
        if let Some(contested) = self.changed(ConditionName::Contested) {
            news(&News::Contested { vip, contested });
        }
        self.hold(news);
        let nobody = |status: &VipStatus| status.clients.as_ref().is_some_and(|clients| clients.nobody_serves);
        let (before, after) = (self.before.is_some_and(nobody), nobody(self.after));
        if before != after {
            let leads_here = self.after.desired.role == DesiredRole::Leader;
            news(&News::NobodyServes { vip, nobody: after, leads_here });
        }
        self.astray(news);
    }

    /// Tells of packets that go astray, when that begins, when they go astray in another way, and when it ends.
    fn astray(&self, news: &mut impl FnMut(&News<'_>)) {
        let vip = self.after.delegate_ip;
        let why = |status| condition(status, ConditionName::PacketsArrive).filter(|arrive| !arrive.holds);
        let (before, after) = (self.before.and_then(why), why(self.after));
        let message = after.map(|arrive| arrive.message.as_str());
        if before.map(|arrive| arrive.message.as_str()) != message {
            news(&News::Astray { vip, why: message });
        }
    }

    /// Tells of a hold when it begins, when another one takes its place, and when it ends.
    fn hold(&self, news: &mut impl FnMut(&News<'_>)) {
        let vip = self.after.delegate_ip;
        let held = |status| condition(status, ConditionName::Held).filter(|held| held.holds);
        let extent = |held: &Condition| (held.reason.clone(), held.until_ms);
        match (self.before.and_then(held), held(self.after)) {
            (before, Some(held)) if before.map(extent) != Some(extent(held)) => {
                news(&News::Held { vip, why: Some(&held.message) });
            }
            (Some(_), None) => news(&News::Held { vip, why: None }),
            _ => {}
        }
    }

    fn desired(&self, news: &mut impl FnMut(&News<'_>)) {
        let vip = self.after.delegate_ip;
        if let Some(lost) = self.changed(ConditionName::HookLost) {
            news(&News::HookLost { vip, lost });
        }
        let invalid = |status: &VipStatus| {
            condition(status, ConditionName::DesiredValid)
                .filter(|valid| !valid.holds)
                .map(|valid| valid.message.clone())
        };
        match (self.before.and_then(invalid), invalid(self.after)) {
            (before, Some(why)) if before.as_ref() != Some(&why) => news(&News::DesiredInvalid { vip, why: &why }),
            (Some(_), None) => news(&News::DesiredValid { vip }),
            _ => {}
        }
        let (before, after) = (self.before.map(|before| &before.desired), &self.after.desired);
        if let Some(alive) = after.guard_alive
            && before.and_then(|before| before.guard_alive) != Some(alive)
        {
            news(&News::GuardAlive { vip, alive });
        }
        if let Some(desired) = &after.asked
            && before.and_then(|before| before.asked.as_ref()) != Some(desired)
        {
            news(&News::DesiredChanged { vip, desired });
        }
    }

    fn bindings(&self, news: &mut impl FnMut(&News<'_>)) {
        let vip = self.after.delegate_ip;
        for after in &self.after.bindings {
            let before = self.before.and_then(|status| {
                status.bindings.iter().find(|before| before.kind == after.kind && before.target == after.target)
            });
            let key = BindingKey::new(after.kind, &after.target);
            let drift = |binding: &BindingStatus| binding.drift.as_ref().and_then(OneOf::known);
            if let (None, Some(reason)) = (before.and_then(drift), drift(after)) {
                news(&News::Drift { vip, key: &key, reason, detail: &after.detail });
            }
            if let Some(state) = after.state.known()
                && before.is_none_or(|before| before.state != after.state)
            {
                news(&News::BindingState { vip, key: &key, state, detail: refusal(after).unwrap_or(&after.detail) });
            }
        }
    }

    fn obstacles(&self, news: &mut impl FnMut(&News<'_>)) {
        let vip = self.after.delegate_ip;
        let before = self.before.map_or(&[][..], |status| &status.obstacles);
        let same = |all: &[ObstacleStatus], one: &ObstacleStatus| {
            all.iter().find(|other| other.name == one.name && other.binding == one.binding).cloned()
        };
        for obstacle in &self.after.obstacles {
            if same(before, obstacle).is_none_or(|told| told.message != obstacle.message) {
                news(&News::Obstacle { vip, obstacle, stands: true });
            }
        }
        for obstacle in before.iter().filter(|obstacle| same(&self.after.obstacles, obstacle).is_none()) {
            news(&News::Obstacle { vip, obstacle, stands: false });
        }
    }

    fn claim(&self, after: &ClaimStatus, news: &mut impl FnMut(&News<'_>)) {
        let vip = self.after.delegate_ip;
        let told = self.before.and_then(|before| before.claim.as_ref());
        if told.is_none_or(|told| told.term != after.term) {
            news(&News::ClaimTerm { vip, term: after.term });
        }
        let same_claim = told.filter(|told| told.id == after.id);
        if let (Some(doubt), None) = (&after.clock, same_claim) {
            news(&News::ClaimClock { vip, claim: &after.id, doubt });
        }
        if let (Some(by), Some(term), false) = (&after.superseded_by, after.superseded_term, self.is_first)
            && same_claim.is_none_or(|told| told.superseded_by.is_none())
        {
            news(&News::Superseded { vip, by, term });
        }
        if let (Some(converged_ms), false) = (after.converged_ms, self.is_first)
            && same_claim.is_none_or(|told| told.converged_ms.is_none())
        {
            let after_hook = std::time::Duration::from_millis(converged_ms.saturating_sub(after.started_ms));
            news(&News::Converged { vip, claim: &after.id, after: after_hook, held: after.was_held });
        }
    }

    /// Tells that this node gained or lost the VIP. A daemon that was restarted under a claim that had converged has
    /// gained nothing.
    fn takeover(&self, news: &mut impl FnMut(&News<'_>)) {
        let vip = self.after.delegate_ip;
        let had_converged = self.before.is_some_and(|before| {
            before.claim.as_ref().is_some_and(|claim| {
                claim.converged_ms.is_some() && self.after.claim.as_ref().is_some_and(|after| after.id == claim.id)
            })
        });
        match (self.before.and_then(|before| before.holds), self.after.holds) {
            (Some(false), Some(true)) => news(&News::Takeover { vip, direction: Direction::Gained }),
            (None, Some(true)) if !had_converged && !self.is_first => {
                news(&News::Takeover { vip, direction: Direction::Gained });
            }
            (Some(true), Some(false) | None) => news(&News::Takeover { vip, direction: Direction::Lost }),
            _ => {}
        }
    }

    /// Whether a condition holds, if that changed. A condition that is missing in the status counts as not holding.
    fn changed(&self, name: ConditionName) -> Option<bool> {
        let holds = |status: &VipStatus| condition(status, name).is_some_and(|condition| condition.holds);
        let after = holds(self.after);
        (self.before.is_some_and(holds) != after).then_some(after)
    }
}

fn condition(status: &VipStatus, name: ConditionName) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.name == name)
}

/// The error with which EC2 or the kernel blocks a binding, whatever is planned for the binding.
fn refusal(binding: &BindingStatus) -> Option<&str> {
    let error =
        binding.last_error.as_ref().filter(|_| binding.state == State::Blocked && binding.blocked_by.is_none())?;
    Some(&error.message)
}
