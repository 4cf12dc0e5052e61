//! The page that `vipkeeper status` shows. For each VIP the page tells first what is wrong and what to do about it,
//! then the details. The page is pure: the same status at the same time gives the same page.

use std::time::Duration;

use super::above::Above;
use super::clients::{self, OLD_MS};
use super::conditions::holding;
use super::document::StatusDocument;
use super::event::list::EventList;
use super::event::stamp::Stamp;
use super::event::{NodeEvent, shown};
use super::headline::{Headline, is_well, last_seen, next_try, shown_name, state};
pub use super::layout::{Colours, Style};
use super::layout::{Tone, age, clean, since};
use super::{
    BindingStatus, ClockStatus, ConditionName, ConnectionsStatus, STALE_AFTER, SourceStatus, Status, VipStatus,
};
use crate::decide::plan::State;
use crate::machine::hindrance::Hindrance;

/// The advice where the daemon's process lives, and its loop does not turn.
pub(super) const IF_STUCK: &str =
    "'systemctl restart vipkeeper', which moves no address; 'journalctl -u vipkeeper' tells why";

/// Whether the daemon that wrote the status still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaemonLife {
    /// The daemon's process lives.
    Alive,
    /// The daemon's process lives, and this keeps it from telling its status.
    Hindered(Hindrance),
    /// There is no process with the daemon's id.
    Gone,
}

/// The conclusion from a whole status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overall {
    /// Every VIP is as it should be.
    InSync,
    /// Something is wrong, or something is not done yet.
    Attention,
    /// The status is too old to tell, or its daemon is gone.
    Stale,
}

impl Overall {
    /// The conclusion from a status that is read at `now_ms`.
    #[must_use]
    pub fn of(status: &Status, daemon: DaemonLife, now_ms: u64) -> Self {
        if daemon == DaemonLife::Gone || is_old(status, now_ms) {
            Self::Stale
        } else if status.problems.is_empty() && status.vips.iter().all(|vip| Headline::of(vip, now_ms).is_good()) {
            Self::InSync
        } else {
            Self::Attention
        }
    }

    /// The exit code of `vipkeeper status`.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::InSync => 0,
            Self::Attention => 2,
            Self::Stale => 1,
        }
    }
}

fn is_old(status: &Status, now_ms: u64) -> bool {
    Duration::from_millis(now_ms.saturating_sub(status.written_ms)) > STALE_AFTER
}

/// How many events the page shows of each VIP, and how many of the node as a whole. `--events` shows all.
const SHOWN_OF_VIP: usize = 4;
const SHOWN_OF_NODE: usize = 3;

/// The whole page, of a status with its events or of a status alone.
#[must_use]
pub fn page<'a>(
    document: impl Into<StatusDocument<&'a Status, &'a EventList>>,
    daemon: DaemonLife,
    now_ms: u64,
    style: Style,
) -> String {
    let StatusDocument { status, events } = document.into();
    let now = Stamp::after(status, now_ms);
    let overall = Overall::of(status, daemon, now_ms);
    let mut page = top(status, daemon, now_ms, style);
    for problem in &status.problems {
        let text = format!("{} (for {})", clean(&problem.message), since(problem.since_ms, now_ms));
        page += &style.paragraph(0, "problem  ", &text);
    }
    if let Some(doubt) = status.clock.as_ref().and_then(ClockStatus::alarm) {
        page += &style.paragraph(0, "clock    ", &format!("this node's clock is {}", clean(&doubt)));
    }
    for vip in &status.vips {
        page.push('\n');
        page += &vip_section((status, vip), events, overall, now_ms, style);
    }
    if status.vips.is_empty() {
        page += "\nno VIP is configured, or the daemon has only just started\n";
    }
    if !status.sources.is_empty() {
        page.push('\n');
        page += &sources(status, now_ms, style);
    }
    let of_node = shown::newest(events, None, SHOWN_OF_NODE, now);
    page += &last_events((0, "EVENTS OF THE NODE"), &of_node, &Above::of_page(status, now_ms), now, style);
    if style.width.is_none() { ascii(&page) } else { page }
}

fn top(status: &Status, daemon: DaemonLife, now_ms: u64, style: Style) -> String {
    let node = status.instance.as_ref().map_or("an unknown instance", |id| id.as_str());
    let region = status.region.as_deref().map(|region| format!(" in {}", clean(region))).unwrap_or_default();
    let program = clean(&status.program);
    let written = since(status.written_ms, now_ms);
    let name = style.paint(Tone::Bold, &format!("vipkeeper {program}"));
    let up = age(Duration::from_millis(now_ms.saturating_sub(status.started_ms)));
    let pid = status.pid;
    match daemon {
        DaemonLife::Gone => {
            let what = style.paint(Tone::Bad, "NOT RUNNING");
            format!("{name} on {node}{region}  {what}: process {pid} is gone; this was true {written} ago\n")
                + &style.paragraph(2, "do    ", "'systemctl start vipkeeper'; why it ended: 'journalctl -u vipkeeper'")
        }
        DaemonLife::Alive | DaemonLife::Hindered(_) if is_old(status, now_ms) => {
            let what = style.paint(Tone::Bad, "STUCK");
            let mut page =
                format!("{name} on {node}{region}  {what}: process {pid} lives, but wrote this {written} ago\n");
            let to_do = match daemon {
                DaemonLife::Hindered(hindrance) => {
                    page += &style.paragraph(2, "what  ", &hindrance.to_string());
                    hindrance.advice(pid)
                }
                DaemonLife::Alive | DaemonLife::Gone => {
                    page += &style.paragraph(2, "what  ", "nothing that can be seen from here keeps it from writing");
                    IF_STUCK.to_owned()
                }
            };
            page + &style.paragraph(2, "do    ", &to_do)
        }
        DaemonLife::Alive | DaemonLife::Hindered(_) => format!("{name} on {node}{region}, process {pid}, up {up}\n"),
    }
}

/// The role in one word.
pub(super) fn shown_role(vip: &VipStatus) -> String {
    match holding(vip, ConditionName::Superseded) {
        Some(_) => "superseded".to_owned(),
        None => clean(vip.desired.role.as_str()),
    }
}

fn vip_section(
    (status, vip): (&Status, &VipStatus),
    events: &EventList,
    overall: Overall,
    now_ms: u64,
    style: Style,
) -> String {
    let headline = Headline::of(vip, now_ms);
    let above = Above::of_vip(vip, &headline, status);
    let role = shown_role(vip);
    let ip = style.paint(Tone::Bold, &vip.delegate_ip.to_string());
    let word = if overall == Overall::Stale {
        style.paint(Tone::Wait, &format!("LAST KNOWN: {}", headline.word))
    } else {
        style.paint(headline.tone, headline.word)
    };
    let age = headline.since_ms.map(|then| format!("  for {}", since(then, now_ms))).unwrap_or_default();
    let aside = headline.aside.map(|aside| format!(" ({aside})")).unwrap_or_default();
    let mut page = format!("{ip}  {role}  {word}{age}{aside}\n");
    if let Some(clients) = clients::in_words(vip, now_ms) {
        page += &style.paragraph(2, "clients  ", &clients);
    }
    if let Some(answers) = clients::answered_in_words(vip, now_ms) {
        page += &style.paragraph(2, "answers  ", &answers);
    }
    if let Some(claims) = other_claims(vip, now_ms) {
        page += &style.paragraph(2, "claims   ", &claims);
    }
    for (number, line) in headline.what.iter().enumerate() {
        page += &style.paragraph(2, if number == 0 { "what  " } else { "      " }, line);
    }
    if let Some(to_do) = headline.to_do {
        page += &style.paragraph(2, "do    ", &to_do);
    }
    page += &bindings((status, vip), &above, now_ms, style);
    page += &conditions(vip, &above, now_ms, style);
    page += &connections(vip, now_ms, style);
    let now = Stamp::after(status, now_ms);
    let newest = shown::newest(events, Some(vip.delegate_ip), SHOWN_OF_VIP, now);
    page += &last_events((2, "LAST EVENTS"), &newest, &above, now, style);
    page
}

/// Who else claims the VIP, in one line; `None` where no other claim is known. The term of a claim is the wall clock at its
/// beginning, by its node's own clock.
fn other_claims(vip: &VipStatus, now_ms: u64) -> Option<String> {
    let newest = vip.other_claims.first()?;
    let began = since(newest.term.0, now_ms);
    let older = match vip.other_claims.len() - 1 {
        0 => String::new(),
        1 => "; 1 older one".to_owned(),
        more => format!("; {more} older ones"),
    };
    Some(format!("of other nodes: {}, begun {began} ago by its own clock{older}", newest.node))
}

/// The events as a table with one line each, the newest first; nothing where there are none.
fn last_events(
    (indent, head): (usize, &str),
    events: &[&NodeEvent],
    above: &Above,
    now: Stamp,
    style: Style,
) -> String {
    if events.is_empty() {
        return String::new();
    }
    let row = |event: &&NodeEvent| {
        let ago = age(Duration::from_millis(now.last_age_ms(event)));
        vec![
            (Tone::Plain, format!("{ago} ago")),
            (Tone::Plain, shown::duration(event).unwrap_or_else(|| "-".to_owned())),
            (shown::tone(event), above.short(&shown::in_one_line(event))),
        ]
    };
    let rows: Vec<_> = events.iter().map(row).collect();
    format!("\n{}", style.table(indent, &[head, "TOOK", "EVENT"], &rows))
}

fn connections(vip: &VipStatus, now_ms: u64, style: Style) -> String {
    let text = vip.connections.as_ref().map(|ended| ended_connections(ended, now_ms));
    text.map(|text| format!("\n{}", style.paragraph(2, "connections  ", &text))).unwrap_or_default()
}

/// The connections that were ended before their address went.
pub(super) fn ended_connections(ended: &ConnectionsStatus, now_ms: u64) -> String {
    let ConnectionsStatus { reset, at_ms, left } = ended;
    let left = left.as_deref().map(|why| format!("; some may be left: {}", clean(why))).unwrap_or_default();
    format!("{reset} reset since the daemon started, last {} ago{left}", since(*at_ms, now_ms))
}

fn bindings((status, vip): (&Status, &VipStatus), above: &Above, now_ms: u64, style: Style) -> String {
    if vip.bindings.is_empty() {
        return String::new();
    }
    let row = |binding: &BindingStatus| {
        let tone = tone(binding);
        let error = binding.last_error.as_ref().map(|error| format!("; {}", above.short(&error.message)));
        let detail = above.short(&seen_detail(binding, status.written_ms, now_ms)) + &error.unwrap_or_default();
        vec![
            (Tone::Plain, binding.kind.to_string()),
            (Tone::Plain, clean(&binding.target)),
            (tone, clean(binding.state.as_str()).replace('_', " ")),
            (Tone::Plain, since(binding.since_ms, now_ms)),
            (Tone::Plain, next_try(binding.next_try_ms, now_ms).unwrap_or_else(|| "-".to_owned())),
            (Tone::Plain, detail),
        ]
    };
    let rows: Vec<_> = vip.bindings.iter().map(row).collect();
    format!("\n{}", style.table(2, &["BINDING", "TARGET", "STATE", "FOR", "NEXT TRY", "DETAIL"], &rows))
}

/// The state of a binding as one phrase, with the place where it was seen before its reads began to fail.
pub(super) fn seen_detail(binding: &BindingStatus, written_ms: u64, now_ms: u64) -> String {
    let last = binding.last_seen.as_ref().map(|last| last_seen(last, now_ms) + "; ");
    // The daemon hands its status over every few seconds: a read counts as old if it was old by then.
    let old = binding.read_ms.filter(|read_ms| written_ms.saturating_sub(*read_ms) > OLD_MS);
    let old = old.map(|read_ms| format!("as of {} ago: ", since(read_ms, now_ms)));
    last.or(old).unwrap_or_default() + &clean(&binding.detail)
}

pub(super) fn tone(binding: &BindingStatus) -> Tone {
    match state(binding) {
        State::InSync => Tone::Good,
        State::Waiting | State::Unknown => Tone::Wait,
        State::Drift | State::Blocked => Tone::Bad,
    }
}

/// The conditions that are not as they should be. `InSync` is left out, because the headline tells it.
fn conditions(vip: &VipStatus, above: &Above, now_ms: u64, style: Style) -> String {
    let rows: Vec<_> = vip
        .conditions
        .iter()
        .filter(|condition| condition.name != ConditionName::InSync && !is_well(condition, vip))
        .map(|condition| {
            let (name, holds) = shown_name(condition);
            vec![
                (Tone::Wait, name),
                (Tone::Plain, holds.to_owned()),
                (Tone::Plain, since(condition.since_ms, now_ms)),
                (Tone::Plain, above.short(&condition.message)),
            ]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n{}", style.table(2, &["CONDITION", "HOLDS", "FOR", "WHY"], &rows))
}

fn sources(status: &Status, now_ms: u64, style: Style) -> String {
    let above = Above::of_page(status, now_ms);
    let rows: Vec<_> = status
        .sources
        .iter()
        .map(|source| {
            let read = source.last_success_ms.map_or("never".to_owned(), |at| format!("{} ago", since(at, now_ms)));
            let error = source.error.as_deref().map_or_else(|| "-".to_owned(), |error| above.short(error));
            let tone = if source.error.is_some() { Tone::Bad } else { Tone::Plain };
            vec![(Tone::Plain, clean(&source_name(source))), (tone, read), (tone, error)]
        })
        .collect();
    style.table(0, &["SOURCE", "LAST READ", "ERROR"], &rows)
}

/// The source's name, with its part if it has one: `route_tables of 123456789012:role/shared`.
pub(super) fn source_name(source: &SourceStatus) -> String {
    let Some(part) = &source.part else { return source.source.to_string() };
    // Of a role's ARN, the account and the role's name are shown.
    format!("{} of {}", source.source, part.split_once("::").map_or(part.as_str(), |(_, role)| role))
}

/// The page for pipes and files, in ASCII: each other character, as errors may bring along, becomes `?`.
fn ascii(page: &str) -> String {
    page.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}
