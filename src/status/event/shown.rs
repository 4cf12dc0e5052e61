//! Events as people read them, on a terminal and in a browser.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use super::list::EventList;
use super::stamp::Stamp;
use super::{EventKind, NodeEvent};
use crate::shown::moment;
use crate::status::layout::{Style, Tone, age, clean};

/// A Unix time in milliseconds as a date and a time of day, UTC.
#[must_use]
pub fn date(at_ms: u64) -> String {
    humantime::format_rfc3339_millis(moment(at_ms)).to_string()
}

/// The event in one sentence, with its binding and with how often it happened in a row.
#[must_use]
pub fn sentence(event: &NodeEvent) -> String {
    let last = event.last_ms.map(|at| format!(", last {}", date(at))).unwrap_or_default();
    told(event, &last)
}

/// The event in one sentence with its reason, for a place that shows beside it when the event last happened.
#[must_use]
pub fn in_one_line(event: &NodeEvent) -> String {
    told(event, "") + &because(event)
}

fn told(event: &NodeEvent, last: &str) -> String {
    let mut sentence = match &event.binding {
        // The sentence of a change names what it changes.
        Some(binding) if event.action.is_none() => format!("{}: {}", clean(&binding.to_string()), clean(&event.what)),
        _ => clean(&event.what),
    };
    if event.times > 1 {
        let _ = write!(sentence, " ({} times{last})", event.times);
    }
    sentence
}

fn because(event: &NodeEvent) -> String {
    reason(event).map(|why| format!(": {why}")).unwrap_or_default()
}

/// The reason of the event, and EC2's code if the reason does not have it.
#[must_use]
pub fn reason(event: &NodeEvent) -> Option<String> {
    let code = event.code.as_deref().filter(|code| !event.why.as_deref().is_some_and(|why| why.contains(code)));
    let parts: Vec<_> = code.into_iter().chain(event.why.as_deref()).map(clean).collect();
    (!parts.is_empty()).then(|| parts.join(": "))
}

/// How long it took; `None` if that is not known.
#[must_use]
pub fn duration(event: &NodeEvent) -> Option<String> {
    event.took_ms.map(|took_ms| match took_ms {
        0..10_000 => format!("{}.{:03} s", took_ms / 1000, took_ms % 1000),
        _ => age(Duration::from_millis(took_ms)),
    })
}

/// Whether the event is good, bad or neither.
#[must_use]
pub fn tone(event: &NodeEvent) -> Tone {
    use EventKind as Kind;
    match event.kind.known() {
        Some(kind) if kind.is_failure() => Tone::Bad,
        Some(
            Kind::Contested
            | Kind::NobodyServes
            | Kind::Astray
            | Kind::WatchdogSilent
            | Kind::HookLost
            | Kind::EventsLost,
        ) => Tone::Bad,
        Some(Kind::WatchdogGone | Kind::Superseded | Kind::Lost | Kind::Held | Kind::ClaimClock) => Tone::Wait,
        Some(Kind::Gained | Kind::Converged | Kind::InSync) => Tone::Good,
        _ => Tone::Plain,
    }
}

/// The events that happened at most `since` ago, the oldest first.
#[must_use]
pub fn recent(events: &EventList, since: Option<Duration>, now: Stamp) -> impl DoubleEndedIterator<Item = &NodeEvent> {
    let most_ms = since.map_or(u64::MAX, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    events.iter().filter(move |event| now.last_age_ms(event) <= most_ms)
}

/// The events of the VIP that happened last, the newest first, or those that belong to no VIP. A failure that repeats counts
/// by its last time.
#[must_use]
pub fn newest(events: &EventList, vip: Option<IpAddr>, most: usize, now: Stamp) -> Vec<&NodeEvent> {
    let mut newest: Vec<_> = events.iter().rev().filter(|event| event.vip == vip).collect();
    newest.sort_by_key(|event| now.last_age_ms(event));
    newest.truncate(most);
    newest
}

/// The events as a table, the newest last, as in a log.
#[must_use]
pub fn table<'a>(events: impl Iterator<Item = &'a NodeEvent>, style: Style) -> String {
    let row = |event: &NodeEvent| {
        vec![
            (Tone::Plain, date(event.at_ms)),
            (Tone::Plain, event.vip.map_or_else(|| "-".to_owned(), |vip| vip.to_string())),
            (Tone::Plain, duration(event).unwrap_or_else(|| "-".to_owned())),
            (tone(event), sentence(event) + &because(event)),
        ]
    };
    let rows: Vec<_> = events.map(row).collect();
    style.table(0, &["TIME", "VIP", "TOOK", "EVENT"], &rows)
}
