//! Decides how often a leader looks at EC2 while nothing happens: as often as the account's request quota allows with
//! ease. All functions here are pure.

use std::time::Duration;

use crate::config::{Intervals, LeaderInterval};
use crate::decide::timing::{EASED_FOR, EASY_INTERVAL, LOOKS_A_MINUTE, QUICK_INTERVAL, USUAL_NODES};
use crate::observe::seen::Moment;

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
    #[must_use]
    pub fn leader_interval(&self, on_record: usize, standby: Duration, now: Moment) -> Duration {
        let standbys = u32::try_from(on_record.max(USUAL_NODES) - 1).unwrap_or(u32::MAX);
        let left = LOOKS_A_MINUTE - f64::from(standbys) * 60.0 / standby.as_secs_f64();
        let fair = if left > 0.0 { Duration::from_secs_f64(60.0 / left) } else { EASY_INTERVAL };
        fair.max(QUICK_INTERVAL).saturating_mul(1 << self.doublings(now)).min(EASY_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

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
}
