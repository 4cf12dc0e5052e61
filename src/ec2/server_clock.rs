//! EC2's clock, as the dates in EC2's answers show it. All functions here are pure.
//!
//! An answer's date counts whole seconds, and EC2 wrote it at some moment between the request and the answer. One answer
//! therefore gives two limits, a second and the answer's time apart. The limits of several answers together are closer:
//! each answer's date jumps to the next second at another moment. EC2's clock is compared with the machine's clock since
//! boot, which never steps. A step of the wall clock is therefore seen at once, and not only with the next answer.

use std::collections::VecDeque;
use std::time::Duration;

/// Answers older than this do not count any more: the two clocks may drift apart by some hundredths of a second in this
/// time.
const KEEP: Duration = Duration::from_mins(10);
/// The number of answers that count.
const MOST: usize = 64;
const DATE_COUNTS_MS: i64 = 1_000;

/// One dated answer of EC2. The times are those of the machine's clock since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dated {
    pub sent: Duration,
    pub answered: Duration,
    /// The date of the answer, in milliseconds since the Unix epoch: a whole second.
    pub date_ms: i64,
}

/// EC2's clock, from the dates of its last answers.
#[derive(Debug, Clone, Default)]
pub struct ServerClock(VecDeque<Dated>);

/// EC2's clock against the machine's clock since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerTime {
    /// The time on EC2's clock when the machine booted, in milliseconds since the Unix epoch.
    pub at_boot_ms: i64,
    /// EC2's clock differs from `at_boot_ms` by this at most, in milliseconds.
    pub error_ms: i64,
}

impl Dated {
    /// EC2's clock by this answer alone.
    #[must_use]
    pub fn time(&self) -> ServerTime {
        ServerTime::between(self.limits_ms())
    }

    /// The earliest and the latest time that EC2's clock may have shown when the machine booted.
    fn limits_ms(&self) -> (i64, i64) {
        (self.date_ms - millis(self.answered), self.date_ms + DATE_COUNTS_MS - millis(self.sent))
    }
}

impl ServerClock {
    /// Takes a dated answer into account. If older answers contradict the new one, one of the two clocks was set or
    /// drifted, and the older answers do not count any more.
    pub fn learn(&mut self, answer: Dated) {
        self.0.push_back(answer);
        while self.0.len() > MOST || self.0.front().is_some_and(|oldest| oldest.answered + KEEP < answer.answered) {
            self.0.pop_front();
        }
        while self.0.len() > 1 && self.limits_ms().is_some_and(|(earliest, latest)| earliest > latest) {
            self.0.pop_front();
        }
    }

    /// EC2's clock; `None` before the first dated answer.
    #[must_use]
    pub fn time(&self) -> Option<ServerTime> {
        self.limits_ms().map(ServerTime::between)
    }

    fn limits_ms(&self) -> Option<(i64, i64)> {
        self.0.iter().map(Dated::limits_ms).reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)))
    }
}

impl ServerTime {
    fn between((earliest, latest): (i64, i64)) -> Self {
        let error_ms = (latest - earliest).max(0) / 2;
        Self { at_boot_ms: earliest + error_ms, error_ms }
    }

    /// How far a wall clock is ahead of EC2's clock, in milliseconds. Negative if the wall clock is behind.
    #[must_use]
    pub fn ahead_ms(self, since_boot: Duration, wall_ms: u64) -> i64 {
        i64::try_from(wall_ms).unwrap_or(i64::MAX).saturating_sub(self.at_boot_ms).saturating_sub(millis(since_boot))
    }

    /// The time on EC2's clock, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn unix_ms(self, since_boot: Duration) -> u64 {
        u64::try_from(self.at_boot_ms.saturating_add(millis(since_boot))).unwrap_or_default()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer that took 40 ms, of an EC2 whose clock showed `EPOCH_MS` when the machine booted.
    fn answer_at(sent_ms: u64) -> Dated {
        const EPOCH_MS: u64 = 1_800_000_000_300;
        let sent = Duration::from_millis(sent_ms);
        let written_ms = i64::try_from(EPOCH_MS + sent_ms + 20).unwrap();
        Dated { sent, answered: sent + Duration::from_millis(40), date_ms: written_ms / 1000 * 1000 }
    }

    fn off_by(time: ServerTime) -> i64 {
        (time.at_boot_ms - 1_800_000_000_300).abs()
    }

    #[test]
    fn one_answer_tells_the_time_to_half_a_second_and_several_tell_it_better() {
        let mut clock = ServerClock::default();
        assert_eq!(clock.time(), None);
        clock.learn(answer_at(10_000));
        let one = clock.time().unwrap();
        assert!(one.error_ms == 520 && off_by(one) <= one.error_ms, "{one:?}");
        for sent_ms in (10_000..60_000).step_by(1_370) {
            clock.learn(answer_at(sent_ms));
            let time = clock.time().unwrap();
            assert!(off_by(time) <= time.error_ms, "{time:?}");
        }
        assert!(clock.time().unwrap().error_ms < 60, "{:?}", clock.time());
    }

    #[test]
    fn a_clock_that_was_set_is_believed_from_the_next_answer_on() {
        let mut clock = ServerClock::default();
        (0..20).for_each(|n| clock.learn(answer_at(10_000 + n * 1_370)));
        let later = answer_at(50_000);
        clock.learn(Dated { date_ms: later.date_ms + 5_000, ..later });
        let time = clock.time().unwrap();
        assert!((off_by(time) - 5_000).abs() <= time.error_ms, "{time:?}");
    }

    #[test]
    fn an_answer_that_took_long_says_little_and_spoils_nothing() {
        let mut clock = ServerClock::default();
        (0..20).for_each(|n| clock.learn(answer_at(10_000 + n * 1_370)));
        let before = clock.time();
        // The machine was suspended for an hour in the middle of this request.
        let slow = answer_at(40_000);
        clock.learn(Dated { answered: slow.answered + Duration::from_mins(5), ..slow });
        assert_eq!(clock.time(), before);
        assert_eq!(before.unwrap().unix_ms(Duration::from_secs(50)) / 1000, 1_800_000_050);
    }

    #[test]
    fn the_offset_is_positive_when_the_wall_clock_is_ahead_and_a_step_shows_at_once() {
        let time = ServerTime { at_boot_ms: 1_800_000_000_000, error_ms: 20 };
        let ahead = |wall_ms| time.ahead_ms(Duration::from_secs(10), wall_ms);
        let offsets = (ahead(1_800_000_013_000), ahead(1_800_000_010_000), ahead(1_800_000_007_000));
        assert_eq!(offsets, (3_000, 0, -3_000));
    }
}
