//! stub
use std::time::Duration;
#[derive(Debug, Default)]
pub struct Backoff;
impl Backoff {
    pub fn reset(&mut self) {}
    pub fn next_delay(&mut self, _rng: &mut fastrand::Rng) -> Duration {
        Duration::from_millis(200)
    }
}
