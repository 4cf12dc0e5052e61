//! The token bucket before the client, as the design describes it.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use vipkeeper::config::Limits;
use vipkeeper::ec2::Urgency;

pub struct Bucket {
    limits: Limits,
    /// Below zero while urgent calls are paid off, by no more than the burst; and when that was.
    level: Cell<(f64, Instant)>,
    turn: Mutex<()>,
}

impl Bucket {
    pub fn new(limits: Limits) -> Self {
        Self { limits, level: Cell::new((f64::from(limits.burst), Instant::now())), turn: Mutex::new(()) }
    }

    fn level(&self) -> f64 {
        let (level, at) = self.level.get();
        (level + at.elapsed().as_secs_f64() * self.limits.requests_per_s).min(f64::from(self.limits.burst))
    }

    /// Waits until a call would go at once, and takes nothing.
    pub async fn wait(&self, urgency: Urgency) {
        if urgency == Urgency::Normal && self.level() < 1.0 {
            let _turn = self.turn.lock().await;
            while self.level() < 1.0 {
                let missing_s = (1.0 - self.level()) / self.limits.requests_per_s;
                tokio::time::sleep(Duration::from_secs_f64(missing_s) + Duration::from_millis(1)).await;
            }
        }
    }

    pub async fn take(&self, urgency: Urgency) {
        // Whoever waited goes on at once, so nobody takes the token in between.
        self.wait(urgency).await;
        self.level.set(((self.level() - 1.0).max(-f64::from(self.limits.burst)), Instant::now()));
    }
}
