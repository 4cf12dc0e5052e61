//! The token bucket in front of the EC2 client. The bucket protects the account, because all callers in an account
//! share its limits. The bucket knows nothing of EC2: it only decides when the next request may go.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::Limits;
use crate::ec2::Urgency;

/// The pace of paced requests, as a multiple of the configured rate. With the default rate of 4/s, paced requests go
/// at 6/s. EC2's own buckets refill at 5/s by default for each operation that moves a VIP. A claim with more bindings
/// than EC2 accepts at once is therefore in place as soon as EC2 allows.
const PACE: f64 = 1.5;

/// A token bucket that lets through `requests_per_s` requests on average, and `burst` requests at once. One token is
/// one request.
#[derive(Debug)]
pub struct Bucket {
    per_s: f64,
    burst: f64,
    level: Cell<Level>,
    /// The requests that wait for a token, in the order of arrival.
    queue: Mutex<()>,
    /// The time at which the next paced request may go while urgent requests are being paid back.
    next_paced: Cell<Option<Instant>>,
    paced_queue: Mutex<()>,
}

/// The tokens at one moment. The number is below zero while urgent requests are being paid back.
#[derive(Debug, Clone, Copy)]
struct Level {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket. A rate below one request per hour is raised to one per hour, and a burst of zero to one: lower
    /// values would let nothing through.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let burst = f64::from(limits.burst.max(1));
        Self {
            per_s: limits.requests_per_s.max(1.0 / 3600.0),
            burst,
            level: Cell::new(Level { tokens: burst, at: Instant::now() }),
            queue: Mutex::new(()),
            next_paced: Cell::new(None),
            paced_queue: Mutex::new(()),
        }
    }

    /// Takes one token, and returns how long that took.
    ///
    /// An urgent request is counted and never waits. The debt of urgent requests is at most `burst` tokens. After
    /// a claim with dozens of route tables, the reads that must confirm the claim therefore wait for about `burst`
    /// divided by `requests_per_s` seconds, whatever the number of tables.
    ///
    /// A paced request does not wait for the debt. While there is a debt, paced requests go one after the other, at
    /// 1.5 times the configured rate, and do not increase the debt.
    ///
    /// Dropping the future while it waits takes no token.
    pub async fn take(&self, urgency: Urgency) -> Duration {
        let waited = self.admit(urgency).await;
        let now = Instant::now();
        let tokens = self.tokens(now);
        let least = match urgency {
            Urgency::Paced => {
                let gap = Duration::from_secs_f64(1.0 / (PACE * self.per_s));
                // The next turn is counted from this turn, and not from the moment when the request noticed its turn.
                // A busy machine therefore keeps the pace as well.
                let turn = self.next_paced.get().filter(|turn| self.owes(now) && now < *turn + gap).unwrap_or(now);
                self.next_paced.set(Some(turn + gap));
                tokens.min(0.0)
            }
            // Waiting for a token never brings the level below zero, so only urgent requests reach this bound.
            Urgency::Normal | Urgency::Urgent => -self.burst,
        };
        self.set((tokens - 1.0).max(least), now);
        waited
    }

    /// Waits until [`Bucket::take`] would take a token at once, and returns how long that took. The loop has only one
    /// thread, and the caller goes on at once, so no other request comes in between.
    pub async fn admit(&self, urgency: Urgency) -> Duration {
        let start = Instant::now();
        match urgency {
            Urgency::Urgent => {}
            Urgency::Paced => {
                if self.paced_waits_until(start).is_some() {
                    let _turn = self.paced_queue.lock().await;
                    while let Some(at) = self.paced_waits_until(Instant::now()) {
                        tokio::time::sleep_until(at).await;
                    }
                }
                if !self.owes(Instant::now()) {
                    self.token().await;
                }
            }
            Urgency::Normal => self.token().await,
        }
        start.elapsed()
    }

    /// Waits until there is a token. Earlier requests go first.
    async fn token(&self) {
        if self.tokens(Instant::now()) >= 1.0 {
            return;
        }
        let _turn = self.queue.lock().await;
        loop {
            let missing = 1.0 - self.tokens(Instant::now());
            if missing <= 0.0 {
                return;
            }
            // The wait is rounded up to the timer's millisecond, so that the token is there when the timer ends.
            tokio::time::sleep(Duration::from_secs_f64(missing / self.per_s) + Duration::from_millis(1)).await;
        }
    }

    /// Whether urgent requests are still being paid back.
    fn owes(&self, now: Instant) -> bool {
        self.tokens(now) < 0.0
    }

    /// The time until which a paced request must wait for its turn. `None` if the request need not wait for a turn.
    fn paced_waits_until(&self, now: Instant) -> Option<Instant> {
        self.next_paced.get().filter(|at| now < *at && self.owes(now))
    }

    fn tokens(&self, now: Instant) -> f64 {
        let Level { tokens, at } = self.level.get();
        (tokens + now.duration_since(at).as_secs_f64() * self.per_s).min(self.burst)
    }

    fn set(&self, tokens: f64, at: Instant) {
        self.level.set(Level { tokens, at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> Bucket {
        Bucket::new(Limits { requests_per_s: 4.0, burst: 20 })
    }

    fn about(waited: Duration, expected_ms: u64) -> bool {
        waited.abs_diff(Duration::from_millis(expected_ms)) <= Duration::from_millis(5)
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let bucket = bucket();
        for _ in 0..20 {
            assert_eq!(bucket.take(Urgency::Normal).await, Duration::ZERO);
        }
        for _ in 0..8 {
            let waited = bucket.take(Urgency::Normal).await;
            assert!(about(waited, 250), "{waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_urgent_request_is_counted_and_never_waits() {
        let bucket = bucket();
        for _ in 0..21 {
            assert_eq!(bucket.take(Urgency::Urgent).await, Duration::ZERO);
        }
        let waited = bucket.take(Urgency::Normal).await;
        assert!(about(waited, 500), "one owed, one wanted: {waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_with_64_tables_delays_the_next_read_by_no_more_than_the_burst() {
        let bucket = bucket();
        for _ in 0..64 {
            bucket.take(Urgency::Urgent).await;
        }
        let waited = bucket.take(Urgency::Normal).await;
        assert!(about(waited, 5250), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_claim_has_to_say_again_waits_for_its_like_only() {
        let bucket = bucket();
        let wait = || bucket.take(Urgency::Paced);
        let (first, second) = tokio::join!(wait(), wait());
        assert!(about(first, 0) && about(second, 0), "there are tokens: {first:?} {second:?}");
        for _ in 0..64 {
            bucket.take(Urgency::Urgent).await;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        let (first, second, third) = tokio::join!(wait(), wait(), wait());
        assert!(about(first, 0) && about(second, 84) && about(third, 250), "{first:?} {second:?} {third:?}");
        assert!(about(bucket.take(Urgency::Paced).await, 167));
        let waited = bucket.take(Urgency::Normal).await;
        assert!(about(waited, 4583), "four went since the debt was made, and added nothing: {waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn many_paced_requests_leave_the_others_their_turn() {
        let bucket = bucket();
        for _ in 0..20 {
            bucket.take(Urgency::Normal).await;
        }
        let paced = async {
            for _ in 0..240 {
                bucket.take(Urgency::Paced).await;
            }
        };
        let waited = tokio::select! {
            waited = bucket.take(Urgency::Normal) => waited,
            () = paced => panic!("a minute of paced requests, and the other one still waits"),
        };
        assert!(waited <= Duration::from_secs(1), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn rest_fills_the_bucket_up_to_the_burst_only() {
        let bucket = bucket();
        tokio::time::advance(Duration::from_hours(1)).await;
        for _ in 0..20 {
            bucket.take(Urgency::Normal).await;
        }
        assert!(bucket.take(Urgency::Normal).await > Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_go_in_the_order_of_arrival() {
        let bucket = bucket();
        for _ in 0..20 {
            bucket.take(Urgency::Normal).await;
        }
        let (first, second, third) =
            tokio::join!(bucket.take(Urgency::Normal), bucket.take(Urgency::Normal), bucket.take(Urgency::Normal));
        assert!(about(first, 250) && about(second, 500) && about(third, 750), "{first:?} {second:?} {third:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn giving_up_while_waiting_takes_nothing() {
        let bucket = bucket();
        for _ in 0..20 {
            bucket.take(Urgency::Normal).await;
        }
        for _ in 0..5 {
            let gave_up = tokio::time::timeout(Duration::from_millis(10), bucket.take(Urgency::Normal)).await;
            assert!(gave_up.is_err());
        }
        let waited = bucket.take(Urgency::Normal).await;
        assert!(about(waited, 200), "{waited:?}");
    }
}
