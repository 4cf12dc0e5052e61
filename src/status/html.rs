//! The status page for browsers. It says what the page on the terminal says, and more of each claim and error, because a
//! browser has the room. The page is pure, loads nothing but its style sheet, and changes nothing.

use std::time::Duration;

use maud::{Markup, html};

use super::above::Above;
use super::clients;
use super::conditions::role;
use super::document::StatusDocument;
use super::event::list::EventList;
use super::event::stamp::Stamp;
use super::event::{NodeEvent, shown};
use super::frame::{Frame, Refresh, framed};
use super::headline::{Headline, is_well, next_try, shown_name};
use super::layout::{Tone, age, clean, since};
use super::page::{DaemonLife, IF_STUCK, Overall, ended_connections, seen_detail, shown_role, source_name, tone};
use super::runbook::RunbookEntry;
use super::{
    BindingStatus, ClaimStatus, ClockStatus, Condition, DesiredRole, ErrorStatus, SourceStatus, Status, VipStatus,
};

/// How many events the page shows. The JSON document has all.
const SHOWN_EVENTS: usize = 20;

/// The whole page.
#[must_use]
pub fn page(document: StatusDocument<&Status, &EventList>, now_ms: u64, refresh: Refresh) -> String {
    let StatusDocument { status, events } = document;
    let overall = Overall::of(status, DaemonLife::Alive, now_ms);
    let node = status.instance.as_ref().map_or("an unknown instance", |id| id.as_str());
    let title = format!("{} – {node} – vipkeeper", in_one_word(overall));
    framed(
        &Frame { title: &title, here: "/", refresh },
        &html! {
            header {
                h1 { "vipkeeper on " code { (node) } }
                (top(status, now_ms))
                @if let Some(doubt) = status.clock.as_ref().and_then(ClockStatus::alarm) {
                    p {
                        (state_word(Tone::Wait, "Clock")) ": this node's clock is " (clean(&doubt)) " "
                        (more(RunbookEntry::ClockOff, "the clock"))
                    }
                }
                p.faint {
                    @if refresh == Refresh::Often { "Loaded again every 10 s. " a href="/still" { "Hold the page still" } }
                    @else { "Not loaded again by itself. " a href="/" { "Keep the page up to date" } }
                }
            }
            main {
                @if overall == Overall::Stale { (stuck(status, now_ms)) }
                @if !status.problems.is_empty() { (problems(status, now_ms)) }
                @for (number, vip) in status.vips.iter().enumerate() { (vip_section((status, vip), number, overall, now_ms)) }
                @if status.vips.is_empty() { p { "No VIP is configured, or the daemon has only just started." } }
                @if !events.is_empty() { (last_events(events, Stamp::after(status, now_ms))) }
                @if !status.sources.is_empty() { (sources(status, now_ms)) }
            }
        },
    )
}

/// The page before there is a status.
#[must_use]
pub fn no_status_yet() -> String {
    framed(
        &Frame { title: "No status yet – vipkeeper", here: "/", refresh: Refresh::Often },
        &html! {
            main { h1 { "vipkeeper" } p { "No status yet: the daemon has only just started." } }
        },
    )
}

fn in_one_word(overall: Overall) -> &'static str {
    match overall {
        Overall::InSync => "In sync",
        Overall::Attention => "Attention",
        Overall::Stale => "STUCK",
    }
}

fn top(status: &Status, now_ms: u64) -> Markup {
    let region = status.region.as_deref().map(|region| format!("{}, ", clean(region))).unwrap_or_default();
    html! {
        p {
            (region) "vipkeeper " (clean(&status.program)) ", process " (status.pid) ", up "
            (since(status.started_ms, now_ms)) ", status of " (since(status.written_ms, now_ms)) " ago"
        }
    }
}

/// The warning that the loop does not turn, so that everything below is of the past.
fn stuck(status: &Status, now_ms: u64) -> Markup {
    html! {
        section.bad aria-labelledby="stuck" {
            h2 id="stuck" { (state_word(Tone::Bad, "STUCK")) }
            dl {
                dt { "What" }
                dd {
                    "Process " (status.pid) " lives, but told this " (since(status.written_ms, now_ms))
                    " ago. Everything below is of then."
                }
                dt { "Do" } dd { (IF_STUCK) }
            }
            p { (more(RunbookEntry::Stuck, "being stuck")) }
        }
    }
}

fn problems(status: &Status, now_ms: u64) -> Markup {
    html! {
        section.bad aria-labelledby="problems" {
            h2 id="problems" { "Problems of the daemon" }
            ul {
                @for problem in &status.problems {
                    li {
                        strong { (clean(problem.reason.as_str())) } " for " (since(problem.since_ms, now_ms)) ": "
                        (clean(&problem.message)) " "
                        (more(RunbookEntry::of_told_problem(&problem.reason), &clean(problem.reason.as_str())))
                    }
                }
            }
        }
    }
}

fn vip_section((status, vip): (&Status, &VipStatus), number: usize, overall: Overall, now_ms: u64) -> Markup {
    let headline = Headline::of(vip, now_ms);
    let above = Above::of_vip(vip, &headline, status);
    let tone = if overall == Overall::Stale { Tone::Wait } else { headline.tone };
    let last_known = if overall == Overall::Stale { "LAST KNOWN: " } else { "" };
    let word = format!("{last_known}{}", headline.word);
    let id = format!("vip-{number}");
    html! {
        section class=(class(tone)) aria-labelledby=(id) {
            h2 id=(id) { (vip.delegate_ip) " " span.role { (shown_role(vip)) } }
            p.state {
                (state_word(tone, &word))
                @if let Some(then) = headline.since_ms { " for " (since(then, now_ms)) }
                @if let Some(aside) = &headline.aside { " (" (aside) ")" }
            }
            dl {
                @if let Some(clients) = clients::in_words(vip, now_ms) {
                    dt { "Clients" } dd { (clients) }
                }
                @if let Some(answers) = clients::answered_in_words(vip, now_ms) {
                    dt { "Answered" } dd { (answers) }
                }
                @if !headline.what.is_empty() {
                    dt { "What" } @for line in &headline.what { dd { (line) } }
                }
                @if let Some(to_do) = &headline.to_do { dt { "Do" } dd { (to_do) } }
            }
            p { (more(headline.entry, &format!("{} of {}", headline.word, vip.delegate_ip))) }
            @if !vip.bindings.is_empty() { (bindings((status, vip), &id, &above, now_ms)) }
            @if let Some(claim) = &vip.claim { (claim_list(vip, claim, &above, now_ms)) }
            @if !vip.other_claims.is_empty() { (other_claims(vip, now_ms)) }
            @if headline.entry != RunbookEntry::TakeoverWouldFail && !vip.obstacles.is_empty() { (obstacles(vip)) }
            @if !vip.conditions.is_empty() { (conditions(vip, &id, &above, now_ms)) }
            @if let Some(ended) = &vip.connections {
                h3 { "Connections" }
                p { (ended_connections(ended, now_ms)) " " (more(RunbookEntry::ConnectionsLeft, "connections")) }
            }
        }
    }
}

fn bindings((status, vip): (&Status, &VipStatus), id: &str, above: &Above, now_ms: u64) -> Markup {
    let id = format!("{id}-bindings");
    html! {
        h3 id=(id) { "Bindings" }
        (table(&id, &["Binding", "State", "For", "Detail"], &html! {
            @for binding in &vip.bindings {
                tr role="row" {
                    th role="rowheader" scope="row" { (binding.kind.to_string().replace('_', " ")) " " code { (clean(&binding.target)) } }
                    td role="cell" { (state_word(tone(binding), &clean(binding.state.as_str()).replace('_', " "))) }
                    td role="cell" { (since(binding.since_ms, now_ms)) }
                    td.detail role="cell" { (detail(binding, status.written_ms, above, now_ms)) }
                }
            }
        }))
    }
}

fn detail(binding: &BindingStatus, written_ms: u64, above: &Above, now_ms: u64) -> Markup {
    html! {
        (above.short(&seen_detail(binding, written_ms, now_ms)))
        @if let Some(action) = &binding.action { br; "Planned: " (clean(action)) }
        @if let Some(error) = &binding.last_error { br; (failure(error, above, now_ms)) }
        @if let Some(next) = next_try(binding.next_try_ms, now_ms) { br; "Next try " (next) }
    }
}

/// An error in EC2's words, when it came, and how often in a row.
fn failure(error: &ErrorStatus, above: &Above, now_ms: u64) -> Markup {
    html! {
        span.error { (above.short(&error.message)) }
        " (" (since(error.at_ms, now_ms)) " ago"
        @if error.failures > 1 { ", " (error.failures) " times in a row" }
        ")"
    }
}

fn claim_list(vip: &VipStatus, claim: &ClaimStatus, above: &Above, now_ms: u64) -> Markup {
    let name = if role(vip) == DesiredRole::Leader { "Claim" } else { "Last claim" };
    html! {
        h3 { (name) }
        dl {
            dt { "Id" } dd { code { (clean(claim.id.as_str())) } }
            dt { "Term" } dd { (claim.term) }
            dt { "Begun" } dd { (since(claim.started_ms, now_ms)) " ago" }
            @if let Some(at) = claim.converged_ms {
                dt { "In place" }
                dd { "after " (age(Duration::from_millis(at.saturating_sub(claim.started_ms)))) }
            }
            @if let Some(node) = &claim.superseded_by {
                dt { "Gave way to" }
                dd {
                    code { (node.as_str()) }
                    @if let Some(term) = claim.superseded_term { ", term " (term) }
                }
            }
            @if let Some(error) = &claim.record_error {
                dt { "Not recorded" } dd { (failure(error, above, now_ms)) }
                @if let Some(next) = next_try(claim.next_record_ms, now_ms) { dt { "Next try" } dd { (next) } }
            }
        }
    }
}

/// Who else claims the VIP. The term of a claim is the wall clock at its beginning, by its node's own clock.
fn other_claims(vip: &VipStatus, now_ms: u64) -> Markup {
    html! {
        h3 { "Claims of other nodes" }
        ul {
            @for other in &vip.other_claims {
                li {
                    code { (other.node.as_str()) } ", term " (other.term) ", begun "
                    (since(other.term.0, now_ms)) " ago by its own clock"
                }
            }
        }
    }
}

/// Why a takeover by this node would fail, where the headline has something else to say.
fn obstacles(vip: &VipStatus) -> Markup {
    html! {
        h3 { "A takeover by this node would fail" }
        ul {
            @for obstacle in &vip.obstacles {
                li {
                    @if let Some(binding) = &obstacle.binding { (clean(&binding.to_string())) ": " }
                    (clean(&obstacle.message))
                }
            }
        }
        p { (more(RunbookEntry::TakeoverWouldFail, "takeovers that would fail")) }
    }
}

/// All conditions, those first that are not as they should be.
fn conditions(vip: &VipStatus, id: &str, above: &Above, now_ms: u64) -> Markup {
    let id = format!("{id}-conditions");
    let (well, unwell): (Vec<_>, Vec<_>) = vip.conditions.iter().partition(|condition| is_well(condition, vip));
    let row = |condition: &Condition, tone| {
        let entry = RunbookEntry::of_condition(condition).filter(|_| tone != Tone::Good);
        let (name, holds) = shown_name(condition);
        html! {
            tr role="row" {
                th role="rowheader" scope="row" { (name) }
                td role="cell" { (state_word(tone, holds)) }
                td role="cell" { (since(condition.since_ms, now_ms)) }
                td.detail role="cell" {
                    (above.short(&condition.message))
                    @if let Some(entry) = entry { " " (more(entry, &name)) }
                }
            }
        }
    };
    html! {
        h3 id=(id) { "Conditions" }
        (table(&id, &["Condition", "Holds", "For", "Why"], &html! {
            @for condition in unwell { (row(condition, Tone::Wait)) }
            @for condition in well { (row(condition, Tone::Good)) }
        }))
    }
}

/// The newest events, the newest first.
fn last_events(events: &EventList, now: Stamp) -> Markup {
    let row = |event: &NodeEvent| {
        html! {
            tr role="row" {
                th role="rowheader" scope="row" {
                    time datetime=(shown::date(event.at_ms)) { (age(Duration::from_millis(now.age_ms(event)))) " ago" }
                }
                td role="cell" { @if let Some(vip) = event.vip { (vip) } @else { "daemon" } }
                td role="cell" { (shown::duration(event).unwrap_or_default()) }
                td.detail role="cell" {
                    span class={ "word " (class(shown::tone(event))) } { (shown::sentence(event)) }
                    @if let Some(why) = shown::reason(event) { br; (why) }
                    br; span.faint { (shown::date(event.at_ms)) }
                }
            }
        }
    };
    html! {
        section aria-labelledby="events" {
            h2 id="events" { "Last events" }
            (table("events", &["When", "VIP", "Took", "Event"], &html! {
                @for event in events.iter().rev().take(SHOWN_EVENTS) { (row(event)) }
            }))
            @if events.iter().len() > SHOWN_EVENTS { p { a href="/status" { "All " (events.iter().len()) " events, as JSON" } } }
        }
    }
}

fn sources(status: &Status, now_ms: u64) -> Markup {
    let above = Above::of_page(status, now_ms);
    let row = |source: &SourceStatus| {
        let tone = if source.error.is_some() { Tone::Bad } else { Tone::Good };
        let read = source.last_success_ms.map_or("never".to_owned(), |at| format!("{} ago", since(at, now_ms)));
        html! {
            tr role="row" {
                th role="rowheader" scope="row" { (clean(&source_name(source))) }
                td role="cell" { (state_word(tone, if source.error.is_some() { "failed" } else { "read" })) }
                td role="cell" { (read) }
                td.detail role="cell" {
                    @if let Some(error) = &source.error {
                        span.error { (above.short(error)) }
                        @if source.failures > 1 { " (" (source.failures) " times in a row)" }
                        " " (more(RunbookEntry::NotRead, "what cannot be read"))
                    }
                }
            }
        }
    };
    html! {
        section aria-labelledby="sources" {
            h2 id="sources" { "What is read" }
            (table("sources", &["Source", "State", "Last read", "Error"], &html! {
                @for source in &status.sources { (row(source)) }
            }))
        }
    }
}

/// A table under the heading with this id. A narrow screen shows each row as a card, which takes a table's meaning from
/// its elements: therefore every element has its role in words.
fn table(heading: &str, head: &[&str], rows: &Markup) -> Markup {
    html! {
        table role="table" aria-labelledby=(heading) {
            thead role="rowgroup" { tr role="row" { @for cell in head { th role="columnheader" scope="col" { (cell) } } } }
            tbody role="rowgroup" { (rows) }
        }
    }
}

/// A word with a sign before it, so that its colour is not all that tells good from bad.
fn state_word(tone: Tone, word: &str) -> Markup {
    let sign = match tone {
        Tone::Good => "✓",
        Tone::Wait => "…",
        Tone::Bad => "✗",
        Tone::Plain | Tone::Faint | Tone::Bold => "",
    };
    html! { strong class={ "word " (class(tone)) } { span aria-hidden="true" { (sign) } " " (word) } }
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Wait => "wait",
        Tone::Bad => "bad",
        Tone::Plain | Tone::Faint | Tone::Bold => "plain",
    }
}

/// The link to the runbook. A screen reader is told about which matter, because links are also read out of their place.
fn more(entry: RunbookEntry, about: &str) -> Markup {
    html! { a href=(entry.link()) { "Runbook" span.unseen { ": " (clean(about)) } } }
}
