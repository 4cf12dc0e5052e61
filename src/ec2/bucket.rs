//! The token bucket before the EC2 client: it protects the account, whose limits every caller in it shares.
//! It knows nothing of EC2; it only says when the next request may go.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::Limits;
use crate::ec2::Urgency;

/// Paced requests go at this multiple of the configured rate. With its default of 4/s that is more than EC2's own buckets
/// get back by default (5/s for each operation that moves a VIP), so that a claim with more bindings than EC2 takes at once
/// is in place as soon as EC2 allows.
const PACE: f64 = 1.5;

/// Lets `requests_per_s` requests through on average, and `burst` at once. One token is one request.
#[derive(Debug)]
pub struct Bucket {
    per_s: f64,
    burst: f64,
    level: Cell<Level>,
    /// Who waits, in the order of arrival.
    queue: Mutex<()>,
    /// When the next request may go of those that wait for their like only, and who of them waits.
    next_paced: Cell<Option<Instant>>,
    paced_queue: Mutex<()>,
}

/// The tokens at one moment; below zero while urgent requests are being paid off.
#[derive(Debug, Clone, Copy)]
struct Level {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket. A limit below one request per hour, or a burst of none, would never let anything through and is
    /// raised to that.
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

    /// Takes one token, and says how long that took. An urgent request is counted and never held back. What urgent
    /// requests owe is bounded by the burst: after a claim with dozens of route tables the reads that must confirm it
    /// wait for `burst / requests_per_s` seconds at most, whatever the number of tables. A paced request waits for none
    /// of that: while something is owed, it goes [`PACE`] times as often as others, one after the other, and adds nothing
    /// to that.
    ///
    /// Dropping the future while it waits takes nothing.
    pub async fn take(&self, urgency: Urgency) -> Duration {
        let waited = self.admit(urgency).await;
        let now = Instant::now();
        let tokens = self.tokens(now);
        let least = match urgency {
            Urgency::Paced => {
                let gap = Duration::from_secs_f64(1.0 / (PACE * self.per_s));
                // From its turn on, and not from when it noticed that it had come: a busy machine keeps the pace as well.
                let turn = self.next_paced.get().filter(|turn| self.owes(now) && now < *turn + gap).unwrap_or(now);
                self.next_paced.set(Some(turn + gap));
                tokens.min(0.0)
            }
            // Waiting for a token never brings the level below zero, so only urgent requests meet this bound.
            Urgency::Normal | Urgency::Urgent => -self.burst,
        };
        self.set((tokens - 1.0).max(least), now);
        waited
    }

    /// Waits until [`Bucket::take`] would take a token at once, and says how long that took. On the one thread of the
    /// loop nobody comes in between: whoever waited goes on at once.
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

    /// Waits until there is a token, after those who came before.
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
            // Rounded up to the timer's millisecond, so that the token is there on waking.
            tokio::time::sleep(Duration::from_secs_f64(missing / self.per_s) + Duration::from_millis(1)).await;
        }
    }

    /// Urgent requests are still being paid off.
    fn owes(&self, now: Instant) -> bool {
        self.tokens(now) < 0.0
    }

    /// Until when a paced request has to wait for its turn, while that is what it waits for.
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
    async fn an_urgent_request_is_counted_and_never_held_back() {
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
