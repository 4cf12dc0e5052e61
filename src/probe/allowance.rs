//! How many questions are answered. One allowance bounds all answers; a small one for each source keeps a busy source
//! from using up the whole. Senders of UDP are easily forged, so no table may grow with them: the sources share a fixed
//! number of places, by a hash that nobody outside can foresee.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// All answers together. Ten nodes that ask five times a second use a quarter of it.
const OF_ALL: Rate = Rate { per_s: 200.0, burst: 400.0 };
/// The answers to one source. Nodes behind one NAT gateway are one source.
const OF_ONE: Rate = Rate { per_s: 20.0, burst: 40.0 };
/// The number of places that all sources share.
const PLACES: usize = 256;

#[derive(Debug, Clone, Copy)]
struct Rate {
    per_s: f64,
    burst: f64,
}

/// The answers that are left of a rate.
#[derive(Debug, Clone, Copy)]
struct Left {
    answers: f64,
    at: Duration,
}

impl Left {
    fn refill(&mut self, rate: Rate, now: Duration) {
        let gained = now.saturating_sub(self.at).as_secs_f64() * rate.per_s;
        self.answers = (self.answers + gained).min(rate.burst);
        // A moment that came before must not count again.
        self.at = self.at.max(now);
    }

    fn take(&mut self) {
        self.answers -= 1.0;
    }

    fn is_left(self) -> bool {
        self.answers >= 1.0
    }
}

/// The answers that may still be given.
#[derive(Debug)]
pub(super) struct Allowance {
    all: Left,
    each: Vec<Left>,
    hash: RandomState,
}

impl Default for Allowance {
    fn default() -> Self {
        let full = |rate: Rate| Left { answers: rate.burst, at: Duration::ZERO };
        Self { all: full(OF_ALL), each: vec![full(OF_ONE); PLACES], hash: RandomState::new() }
    }
}

impl Allowance {
    /// Whether a question of this source may be answered now. If so, notes the answer. `now` is the time since one fixed
    /// moment, the same one in all calls.
    pub(super) fn take(&mut self, source: IpAddr, now: Duration) -> bool {
        let place = usize::try_from(self.hash.hash_one(network(source)) % PLACES as u64).unwrap_or_default();
        let (all, one) = (&mut self.all, &mut self.each[place]);
        all.refill(OF_ALL, now);
        one.refill(OF_ONE, now);
        let may = all.is_left() && one.is_left();
        if may {
            all.take();
            one.take();
        }
        may
    }
}

/// The part of an address that its owner cannot choose. An IPv6 host chooses the last 64 bits.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(allowance: &mut Allowance, sources: impl Iterator<Item = IpAddr>, now: Duration) -> usize {
        sources.filter(|source| allowance.take(*source, now)).count()
    }

    fn v4(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0a00_0000 + n).into()
    }

    #[test]
    fn one_source_gets_its_burst_and_then_its_rate() {
        let mut allowance = Allowance::default();
        assert_eq!(granted(&mut allowance, std::iter::repeat_n(v4(1), 1000), Duration::ZERO), 40);
        assert_eq!(granted(&mut allowance, std::iter::repeat_n(v4(1), 1000), Duration::from_secs(1)), 20);
        // A long pause gives no more than the burst.
        assert_eq!(granted(&mut allowance, std::iter::repeat_n(v4(1), 1000), Duration::from_mins(15)), 40);
    }

    #[test]
    fn however_many_sources_ask_all_together_get_the_whole_alone() {
        let mut allowance = Allowance::default();
        assert_eq!(granted(&mut allowance, (0..100_000).map(v4), Duration::ZERO), 400);
        assert_eq!(granted(&mut allowance, (0..100_000).map(v4), Duration::from_secs(1)), 200);
        assert_eq!(allowance.each.len(), PLACES, "no sender makes it grow");
    }

    #[test]
    fn a_moment_that_came_before_gives_nothing_again() {
        let mut allowance = Allowance::default();
        granted(&mut allowance, (0..1000).map(v4), Duration::from_secs(9));
        // Two sockets whose times differ by a second take turns.
        let turns = (0..1000).map(|turn| Duration::from_secs(10 - turn % 2));
        let given: usize = turns.map(|now| granted(&mut allowance, (2000..2010).map(v4), now)).sum();
        assert_eq!(given, 200, "one second");
    }

    #[test]
    fn a_busy_source_leaves_answers_to_another() {
        let mut allowance = Allowance::default();
        granted(&mut allowance, std::iter::repeat_n(v4(1), 100_000), Duration::ZERO);
        // By chance another source shares the place of the busy one; hardly ever do four.
        assert!(granted(&mut allowance, (2..6).map(v4), Duration::ZERO) > 0);
    }

    #[test]
    fn the_addresses_of_one_ipv6_host_are_one_source() {
        let mut allowance = Allowance::default();
        let host = |n: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n));
        assert_eq!(granted(&mut allowance, (0..1000).map(host), Duration::ZERO), 40);
    }
}
