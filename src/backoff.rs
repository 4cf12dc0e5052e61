//! How long to wait before the next try: 200 ms doubling to 30 s, each time a random part of it.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LAST: Duration = Duration::from_secs(30);

/// The waits of one thing that keeps failing.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It succeeded, or it is another thing now.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure: full jitter under a ceiling that doubles.
    pub fn next_delay(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(LAST);
        self.failures += 1;
        ceiling.mul_f64(rng.f64())
    }
}
