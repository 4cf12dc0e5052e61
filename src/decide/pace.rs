//! Decides how often EC2 and Pgpool's watchdog are asked, and how urgent each call is. A leader looks at EC2 as often as
//! the account's request quota allows with ease. All functions here are pure.

use std::time::Duration;

use crate::binding::BindingKey;
use crate::config::{Intervals, LeaderInterval, WitnessMode};
use crate::decide::claim::Standing;
use crate::decide::plan::Change;
use crate::decide::timing::{
    ASK_AGAIN, ASK_IN_DISPUTE, ASK_WHILE_KEEPING, ASK_WITHOUT_DESIRED, EAGER_FOR, EASED_FOR, EASY_INTERVAL, JITTER,
    LOOKS_A_MINUTE, QUICK_INTERVAL, URGENT_FOR, USUAL_NODES,
};
use crate::decide::witness::Dispute;
use crate::ec2::Urgency;
use crate::observe::seen::{Claims, Moment, Observed, Seen, Sight};

/// Everything about one VIP that the pace of its looks depends on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Situation<'a> {
    /// This node's standing in the last plan; `None` before the first plan.
    pub standing: Option<&'a Standing>,
    /// The observations that the last plan was made from.
    pub observed: Option<&'a Observed>,
    /// When this node adopted its claim; `None` without a claim.
    pub adopted_at: Option<Moment>,
    /// Whether every binding has been seen here under this node's claim.
    pub converged: bool,
    /// Whether the last looks show that EC2 leads the clients to no node that leads.
    pub nobody_serves: bool,
}

impl Situation<'_> {
    /// Whether this node leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.standing == Some(&Standing::Leader)
    }

    /// Whether this node leads and its claim has takes that were not seen yet.
    #[must_use]
    pub fn is_taking(&self) -> bool {
        self.leads() && !self.converged
    }

    /// Whether this node's claim is young and has not taken everything yet. Until then the end of a fault must be
    /// noticed at once.
    #[must_use]
    pub fn is_eager(&self, now: Moment) -> bool {
        self.is_taking() && self.adopted_at.is_some_and(|at| now < at + EAGER_FOR)
    }

    /// How long the looks may wait for the rate limit. While a claim is young and still taking, the looks do not wait
    /// at all. While an older claim is still taking, its takes wait for a look, so the looks are paced: they do not
    /// wait until all earlier calls are paid for. All other looks wait for a token.
    #[must_use]
    pub fn urgency(&self, now: Moment) -> Urgency {
        match self.adopted_at {
            Some(at) if self.is_taking() && now < at + URGENT_FOR => Urgency::Urgent,
            Some(_) if self.is_taking() => Urgency::Paced,
            _ => Urgency::Normal,
        }
    }

    /// Whether this VIP is looked at in a leader's intervals: because this node leads; because this node would lead but
    /// for a newer claim, whose end it must not miss; because nobody serves, so that a leadership which begins is not
    /// missed; or because nobody holds a binding. In the last case somebody soon will hold the binding, and a successor
    /// should know that it is free.
    #[must_use]
    pub fn looks_often(&self) -> bool {
        let would_lead = matches!(self.standing, Some(Standing::Superseded(_)));
        let is_free = |(key, sight): (&BindingKey, &Sight)| key.kind.leads_clients() && sight.seen == Seen::Absent;
        self.leads()
            || would_lead
            || self.nobody_serves
            || self.observed.is_some_and(|observed| observed.sights.iter().any(is_free))
    }

    /// The number of nodes that the record of claims names; 0 while the record is not known.
    #[must_use]
    pub fn nodes_on_record(&self) -> usize {
        match self.observed.map(|observed| &observed.claims) {
            Some(Claims::Read { terms, implausible, .. }) => terms.len() + implausible.len(),
            Some(Claims::Unknown) | None => 0,
        }
    }
}

/// Whether all requests succeed, or a read of the last look or the last try of a change failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requests {
    Succeed,
    Fail,
}

/// The result of a change's last try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastResult {
    /// Nothing failed, or nothing was tried yet.
    NotFailed,
    Failed,
    /// The last try failed, and the change is tried again because a fault is over.
    FailedInFault,
}

/// The urgency of a change. The rate limit counts a claim's first takes and its record, and they do not wait for it. A
/// take that failed is paced: it does not wait until all earlier calls are paid for. A take that is tried again because
/// a fault is over does not wait.
#[must_use]
pub fn urgency_of(change: &Change, last: LastResult) -> Urgency {
    match (change.is_take(), last) {
        (false, _) => Urgency::Normal,
        (true, LastResult::Failed) => Urgency::Paced,
        (true, LastResult::NotFailed | LastResult::FailedInFault) => Urgency::Urgent,
    }
}

/// Everything about one VIP that the next question to Pgpool's watchdog depends on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asking<'a> {
    /// Whether this node keeps the VIP for a successor.
    pub keeps: bool,
    /// The dispute between the file and the watchdog's last word; `None` if they agree.
    pub dispute: Option<&'a Dispute>,
    /// Whether there is no hook's word to go by.
    pub no_hooks_word: bool,
    /// Whether the watchdog gave its word when it was asked last.
    pub has_answered: bool,
}

/// How long after its last answer the watchdog is asked again.
#[must_use]
pub fn ask_after(asking: &Asking<'_>, mode: WitnessMode) -> Duration {
    if asking.keeps {
        ASK_WHILE_KEEPING
    } else if asking.dispute.is_some_and(|dispute| !(asking.has_answered && dispute.hook_lost(mode))) {
        ASK_IN_DISPUTE
    } else if asking.no_hooks_word {
        ASK_WITHOUT_DESIRED
    } else {
        ASK_AGAIN
    }
}

/// The time until the next regular look, made longer or shorter by its random part. `share` lies between 0 and 1.
#[must_use]
pub fn with_jitter(interval: Duration, share: f64) -> Duration {
    interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * share)
}

/// The longest time between two looks, before its random part.
#[must_use]
pub fn longest(intervals: &Intervals) -> Duration {
    let leader = match intervals.leader {
        LeaderInterval::Auto => EASY_INTERVAL,
        LeaderInterval::Every(interval) => interval,
    };
    leader.max(intervals.standby)
}

/// The longest time between two looks of a node that looks often and does not lead, before its random part. It is no
/// shorter than the usual one, because an answer may be slow.
#[must_use]
pub fn often(intervals: &Intervals) -> Duration {
    match intervals.leader {
        LeaderInterval::Auto => EASY_INTERVAL,
        LeaderInterval::Every(interval) => interval.max(EASY_INTERVAL),
    }
}

/// The throttling that was seen lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// How often the interval is doubled, as of `throttled_at`.
    doublings: u32,
    throttled_at: Moment,
}

impl Pace {
    /// Notes that EC2 throttled a request of this node. The requests of one look count once.
    pub fn throttled(&mut self, now: Moment) {
        let before = self.doublings(now);
        if before > 0 && now < self.throttled_at + QUICK_INTERVAL {
            return;
        }
        // Two doublings already reach the longest interval.
        (self.doublings, self.throttled_at) = ((before + 1).min(2), now);
    }

    fn doublings(&self, now: Moment) -> u32 {
        let calm = now.saturating_sub(self.throttled_at).as_secs() / EASED_FOR.as_secs();
        self.doublings.saturating_sub(u32::try_from(calm).unwrap_or(u32::MAX))
    }

    /// The leader's interval, before jitter. `on_record` is the number of nodes that the record of claims names, and
    /// `standby` is the interval of each node that does not lead.
    fn leader_interval(&self, on_record: usize, standby: Duration, now: Moment) -> Duration {
        let standbys = u32::try_from(on_record.max(USUAL_NODES) - 1).unwrap_or(u32::MAX);
        let left = LOOKS_A_MINUTE - f64::from(standbys) * 60.0 / standby.as_secs_f64();
        let fair = if left > 0.0 { Duration::from_secs_f64(60.0 / left) } else { EASY_INTERVAL };
        fair.max(QUICK_INTERVAL).saturating_mul(1 << self.doublings(now)).min(EASY_INTERVAL)
    }

    /// The time until the next regular look at all VIPs, before its random part. A leader looks quickly only while all
    /// its requests succeed, because requests that fail cost the account as much as others.
    #[must_use]
    pub fn interval(&self, intervals: &Intervals, vips: &[Situation<'_>], requests: Requests, now: Moment) -> Duration {
        match intervals.leader {
            _ if !vips.iter().any(Situation::looks_often) => intervals.standby,
            LeaderInterval::Every(interval) => interval,
            LeaderInterval::Auto if requests == Requests::Succeed && vips.iter().any(Situation::leads) => {
                let nodes = vips.iter().map(Situation::nodes_on_record).max().unwrap_or_default();
                self.leader_interval(nodes, intervals.standby, now)
            }
            LeaderInterval::Auto => EASY_INTERVAL,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::action::{Action, Purpose};
    use crate::binding::Kind;
    use crate::decide::claim::Rival;
    use crate::decide::witness;
    use crate::desired::{Desired, WhyStandby};
    use crate::ids::Term;
    use crate::observe::seen::{Now, Serving, Witness};

    const S: fn(u64) -> Duration = Duration::from_secs;
    const AUTO: Intervals = Intervals { leader: LeaderInterval::Auto, standby: Duration::from_secs(30) };

    /// One sight of a binding of this kind, and a record that names so many nodes.
    fn observed(kind: Kind, seen: Seen, nodes: usize) -> Observed {
        let terms = (0..nodes).map(|node| (format!("i-0{node}").parse().unwrap(), Term(5))).collect();
        let (withdrawn, implausible, edited) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Observed {
            sights: BTreeMap::from([(BindingKey::new(kind, "target"), Sight { seen, at: S(1) })]),
            local: BTreeMap::new(),
            claims: Claims::Read { terms, withdrawn, implausible, edited, at: S(1), elsewhere: BTreeMap::new() },
            witness: Witness::Silent,
            serving: Serving::default(),
            server_ms: None,
        }
    }

    #[test]
    fn the_fewer_nodes_the_more_often_the_leader_looks_and_all_together_stay_within_the_quota() {
        let pace = Pace::default();
        let intervals: Vec<_> = (1..=20).map(|nodes| pace.leader_interval(nodes, S(30), S(0))).collect();
        assert_eq!(intervals[..4], [QUICK_INTERVAL; 4]);
        assert!(intervals.is_sorted());
        assert_eq!(intervals[19], EASY_INTERVAL);
        for (standbys, interval) in (0_u32..).zip(&intervals).filter(|(_, interval)| **interval < EASY_INTERVAL) {
            let looks = 60.0 / interval.as_secs_f64() + f64::from(standbys) * 2.0;
            assert!(looks <= LOOKS_A_MINUTE + 0.01, "{standbys} standbys: {looks} looks a minute");
        }
        for standby in [1, 3, 4, 5] {
            let interval = pace.leader_interval(3, S(standby), S(0));
            assert_eq!(interval, EASY_INTERVAL, "standbys that look often leave little: {standby} s");
        }
    }

    #[test]
    fn throttling_makes_looks_rarer_at_once_and_for_minutes() {
        let mut pace = Pace::default();
        let interval = |pace: &Pace, at| pace.leader_interval(3, S(30), S(at));
        pace.throttled(S(100));
        pace.throttled(S(101));
        assert_eq!(interval(&pace, 101), QUICK_INTERVAL * 2, "the requests of one look count once");
        pace.throttled(S(100) + QUICK_INTERVAL);
        assert_eq!(interval(&pace, 106), EASY_INTERVAL);
        pace.throttled(S(120));
        assert_eq!(interval(&pace, 239), EASY_INTERVAL);
        assert_eq!(interval(&pace, 240), QUICK_INTERVAL * 2);
        assert_eq!(interval(&pace, 360), QUICK_INTERVAL);
        let mut young = Pace::default();
        young.throttled(S(1));
        assert_eq!(interval(&young, 1), QUICK_INTERVAL * 2, "a machine that has just booted too");
    }

    #[test]
    fn a_claim_is_eager_and_urgent_while_it_is_young_and_takes() {
        let taking = Situation { standing: Some(&Standing::Leader), adopted_at: Some(S(100)), ..Situation::default() };
        let urgencies = [100, 109, 110, 159, 160, 900].map(|at| taking.urgency(S(at)));
        let (urgent, paced) = (Urgency::Urgent, Urgency::Paced);
        assert_eq!(urgencies, [urgent, urgent, paced, paced, paced, paced]);
        assert_eq!([100, 159, 160].map(|at| taking.is_eager(S(at))), [true, true, false]);
        for rests in [
            Situation { converged: true, ..taking },
            Situation { standing: Some(&Standing::Standby), ..taking },
            Situation { standing: None, ..taking },
            Situation { adopted_at: None, ..taking },
        ] {
            assert!(!rests.is_eager(S(100)), "{rests:?}");
            assert_eq!(rests.urgency(S(100)), Urgency::Normal, "{rests:?}");
        }
    }

    #[test]
    fn a_vip_is_looked_at_often_where_something_may_be_missed() {
        let standby = Standing::Standby;
        let rests = Situation { standing: Some(&standby), ..Situation::default() };
        let rival = Standing::Superseded(Rival { node: "i-0b".parse().unwrap(), term: Term(9) });
        let here = Seen::Here { association: None };
        let (held, free) = (observed(Kind::Route, here, 2), observed(Kind::Route, Seen::Absent, 2));
        let no_address = observed(Kind::LocalAddress, Seen::Absent, 2);
        for (situation, often) in [
            (rests, false),
            (Situation { standing: None, ..rests }, false),
            (Situation { standing: Some(&Standing::Leader), ..rests }, true),
            (Situation { standing: Some(&rival), ..rests }, true),
            (Situation { nobody_serves: true, ..rests }, true),
            (Situation { observed: Some(&held), ..rests }, false),
            (Situation { observed: Some(&free), ..rests }, true),
            (Situation { observed: Some(&no_address), ..rests }, false),
        ] {
            assert_eq!(situation.looks_often(), often, "{situation:?}");
        }
    }

    #[test]
    fn a_leader_looks_quickly_only_while_its_requests_succeed_and_the_config_does_not_say_how_often() {
        let pace = Pace::default();
        let of_nine = observed(Kind::Route, Seen::Here { association: None }, 9);
        let standby = Situation { standing: Some(&Standing::Standby), ..Situation::default() };
        let leader = Situation { standing: Some(&Standing::Leader), ..Situation::default() };
        let crowded = Situation { observed: Some(&of_nine), ..leader };
        let interval = |intervals: &Intervals, vips: &[_], requests| pace.interval(intervals, vips, requests, S(0));
        let (succeed, fail) = (Requests::Succeed, Requests::Fail);
        assert_eq!(interval(&AUTO, &[], succeed), S(30));
        assert_eq!(interval(&AUTO, &[standby, standby], succeed), S(30));
        assert_eq!(interval(&AUTO, &[standby, leader], succeed), QUICK_INTERVAL);
        assert_eq!(interval(&AUTO, &[standby, leader], fail), EASY_INTERVAL);
        assert_eq!(interval(&AUTO, &[leader, crowded], succeed), pace.leader_interval(9, S(30), S(0)));
        assert!(pace.leader_interval(9, S(30), S(0)) > QUICK_INTERVAL);
        let free = Situation { nobody_serves: true, ..standby };
        assert_eq!(interval(&AUTO, &[standby, free], succeed), EASY_INTERVAL, "a node that does not lead");
        let every = Intervals { leader: LeaderInterval::Every(S(7)), ..AUTO };
        assert_eq!(interval(&every, &[leader], fail), S(7));
        assert_eq!(interval(&every, &[free], succeed), S(7));
        assert_eq!(interval(&every, &[standby], succeed), S(30));
        assert_eq!([0.0, 0.5, 1.0].map(|share| with_jitter(S(8), share)), [S(6), S(8), S(10)]);
    }

    #[test]
    fn the_longest_time_between_two_looks_is_that_of_the_config_and_no_shorter_than_an_answer_may_take() {
        let every = |s| Intervals { leader: LeaderInterval::Every(S(s)), ..AUTO };
        assert_eq!(
            [AUTO, every(3), every(45)].map(|intervals| often(&intervals)),
            [EASY_INTERVAL, EASY_INTERVAL, S(45)]
        );
        assert_eq!([AUTO, every(3), every(45)].map(|intervals| longest(&intervals)), [S(30), S(30), S(45)]);
    }

    #[test]
    fn a_node_whose_term_is_implausible_is_on_record_too() {
        let mut observed = observed(Kind::Route, Seen::Absent, 2);
        if let Claims::Read { implausible, .. } = &mut observed.claims {
            implausible.insert("i-0c".parse().unwrap(), Term(9));
        }
        let nodes = |observed: Option<&Observed>| Situation { observed, ..Situation::default() }.nodes_on_record();
        assert_eq!((nodes(Some(&observed)), nodes(None)), (3, 0));
        observed.claims = Claims::Unknown;
        assert_eq!(nodes(Some(&observed)), 0);
    }

    #[test]
    fn only_a_take_hurries_and_one_that_failed_hurries_only_once_a_fault_is_over() {
        let eni = "eni-0a".parse().unwrap();
        let binding = |purpose| Change::Binding {
            key: BindingKey::new(Kind::SourceDestCheck, "eni-0a"),
            purpose,
            action: Action::DisableSourceDestCheck { eni: Clone::clone(&eni) },
        };
        let all = [LastResult::NotFailed, LastResult::Failed, LastResult::FailedInFault];
        let urgencies = |change: &Change| all.map(|last| urgency_of(change, last));
        assert_eq!(urgencies(&binding(Purpose::Take)), [Urgency::Urgent, Urgency::Paced, Urgency::Urgent]);
        for purpose in [Purpose::Retake, Purpose::Restore, Purpose::Release] {
            assert_eq!(urgencies(&binding(purpose)), [Urgency::Normal; 3]);
        }
    }

    #[test]
    fn the_watchdog_is_asked_the_sooner_the_more_depends_on_its_word() {
        let mode = WitnessMode::Trust;
        let standby = Desired::Standby(WhyStandby::Down);
        let mut dispute = None;
        let mut heard = |at| {
            let heard = witness::Heard { word: Witness::Escalated, at: S(at) };
            let _ = witness::judge(mode, &standby, heard, &mut dispute, Now { at: S(at), wall_ms: 0 });
            dispute.clone().unwrap()
        };
        let (young, lasting) = (heard(100), heard(111));
        assert!(!young.hook_lost(mode) && lasting.hook_lost(mode));
        let usual = Asking { has_answered: true, ..Asking::default() };
        for (asking, after) in [
            (usual, ASK_AGAIN),
            (Asking { has_answered: false, ..usual }, ASK_AGAIN),
            (Asking { no_hooks_word: true, ..usual }, ASK_WITHOUT_DESIRED),
            (Asking { dispute: Some(&young), ..usual }, ASK_IN_DISPUTE),
            (Asking { dispute: Some(&lasting), ..usual }, ASK_AGAIN),
            (Asking { dispute: Some(&lasting), has_answered: false, ..usual }, ASK_IN_DISPUTE),
            (Asking { keeps: true, dispute: Some(&young), no_hooks_word: true, ..usual }, ASK_WHILE_KEEPING),
        ] {
            assert_eq!(ask_after(&asking, mode), after, "{asking:?}");
        }
    }
}
