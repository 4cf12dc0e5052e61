//! Pgpool's log, read for when its watchdog did what. Its lines begin with `%m`, the local time with milliseconds.

use std::time::Duration;

/// The leader is lost, in the words for each way to learn it. The last is of those who have heard no beacon for 30 s.
pub const LOST: [&str; 4] = [
    "watchdog cluster has lost the coordinator node",
    "We have lost the cluster leader node",
    "decided to resign from leader",
    "it has not replied to our info request",
];
/// The watchdog of a leader with a quorum runs the hook.
pub const ESCALATED: &str = "escalation process started with PID";
/// One node takes another for lost.
pub const ONE_IS_LOST: &str = "\" is lost";

/// Every offset of a time zone is a multiple of a quarter of an hour. So the time since a moment is known without the zone, as
/// long as it is less than that.
const ZONES_STEP_MS: u128 = 15 * 60 * 1000;

/// When the first line came that has one of these texts. The log began at `at`, or less than a quarter of an hour later.
pub fn first(log: &str, at: Duration, texts: &[&str]) -> Option<Duration> {
    let line = log.lines().find(|line| texts.iter().any(|text| line.contains(text)))?;
    time(line, at)
}

/// When the last line came that has this text, of those until `until`.
pub fn last_until(log: &str, (at, until): (Duration, Duration), text: &str) -> Option<Duration> {
    let lines = log.lines().filter(|line| line.contains(text));
    lines.filter_map(|line| time(line, at)).rfind(|time| *time <= until)
}

/// The time of a line that is less than a quarter of an hour younger than `at`.
fn time(line: &str, at: Duration) -> Option<Duration> {
    let clock = line.get(11..23)?;
    let mut parts = clock.split([':', '.']).map(str::parse::<u128>);
    let mut next = || parts.next()?.ok();
    let (hours, minutes, seconds, ms) = (next()?, next()?, next()?, next()?);
    let of_day = ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms;
    let since = (of_day % ZONES_STEP_MS + ZONES_STEP_MS - at.as_millis() % ZONES_STEP_MS) % ZONES_STEP_MS;
    let since = u64::try_from(since).ok()?;
    Some(Duration::from_millis(u64::try_from(at.as_millis()).ok()? + since))
}

#[test]
fn the_time_of_a_line_is_known_in_every_zone() {
    // 2026-11-28 23:59:58.900 UTC, and India is half an hour off.
    let at = Duration::from_millis(1_795_910_398_900);
    let log = "2026-11-29 05:29:58.950: watchdog pid 7: LOG:  watchdog cluster has lost the coordinator node\n\
               2026-11-29 05:30:01.100: watchdog pid 7: LOG:  escalation process started with PID:9\n\
               2026-11-29 05:30:09.100: watchdog pid 7: LOG:  escalation process started with PID:10\n";
    assert_eq!(first(log, at, &LOST), Some(at + Duration::from_millis(50)));
    let until = at + Duration::from_secs(5);
    assert_eq!(last_until(log, (at, until), ESCALATED), Some(at + Duration::from_millis(2200)));
    assert_eq!(first(log, at, &["no such text"]), None);
}
