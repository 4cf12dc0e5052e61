//! The delay before the next try of something that failed. Only this module knows the `backoff` crate.
//! `docs/decisions/0001-backoff.md` says why that crate was chosen and what would follow it.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// The ceiling of the first delay.
pub const FIRST: Duration = Duration::from_millis(200);

/// The highest ceiling: no delay is longer.
pub const LONGEST: Duration = Duration::from_secs(30);

/// The delays between the tries of one thing. The ceiling of a delay doubles from [`FIRST`] to [`LONGEST`]. Each delay
/// is uniform between zero and its ceiling ("full jitter"), so that nodes which failed together do not come back
/// together.
#[derive(Debug, Clone)]
pub struct Backoff {
    ceilings: ExponentialBackoff,
}

impl Backoff {
    #[must_use]
    pub fn new() -> Self {
        let ceilings = ExponentialBackoffBuilder::new()
            .with_initial_interval(FIRST)
            .with_multiplier(2.0)
            .with_max_interval(LONGEST)
            // The crate's own randomness cannot be seeded and is not full jitter.
            .with_randomization_factor(0.0)
            // A reconciler never gives up.
            .with_max_elapsed_time(None)
            .build();
        Self { ceilings }
    }

    /// The delay before the next try. The call raises the ceiling of the delay after that. An `rng` with an equal seed
    /// gives equal delays.
    pub fn next_delay(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let ceiling = self.ceilings.next_backoff().unwrap_or(LONGEST).min(LONGEST);
        ceiling.mul_f64(rng.f64())
    }

    /// Starts again from the first ceiling: after a success, or when the thing to do has changed.
    pub fn reset(&mut self) {
        self.ceilings.reset();
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_longest_delay_and_stays_there() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::new();
        let mut ceilings_ms = Vec::new();
        for _ in 0..10 {
            ceilings_ms.push(backoff.ceilings.current_interval.as_millis());
            backoff.next_delay(&mut rng);
        }
        assert_eq!(ceilings_ms, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
    }

    #[test]
    fn a_delay_lies_anywhere_below_its_ceiling() {
        let mut rng = fastrand::Rng::with_seed(2);
        let mut backoff = Backoff::new();
        let mut delays = Vec::new();
        for _ in 0..1_000 {
            let ceiling = backoff.ceilings.current_interval;
            let delay = backoff.next_delay(&mut rng);
            assert!(delay <= ceiling, "{delay:?} above {ceiling:?}");
            delays.push(delay);
        }
        let long = &delays[8..];
        for tenth in 0..10 {
            let (from, to) = (LONGEST * tenth / 10, LONGEST * (tenth + 1) / 10);
            let count = long.iter().filter(|delay| (from..to).contains(*delay)).count();
            assert!((50..150).contains(&count), "{count} of {} delays from {from:?} to {to:?}", long.len());
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_delays_and_a_reset_begins_anew() {
        let delays = |backoff: &mut Backoff| {
            let mut rng = fastrand::Rng::with_seed(3);
            (0..12).map(|_| backoff.next_delay(&mut rng)).collect::<Vec<_>>()
        };
        let mut backoff = Backoff::new();
        let first = delays(&mut backoff);
        assert_ne!(delays(&mut backoff), first, "without a reset it goes on from the longest delay");
        backoff.reset();
        assert_eq!(backoff.ceilings.current_interval, FIRST);
        assert_eq!(delays(&mut backoff), first);
        assert_eq!(delays(&mut Backoff::default()), first);
    }
}
