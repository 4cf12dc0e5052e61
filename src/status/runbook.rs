//! The runbook (`docs/operations.md`): the entry that each headline, condition and problem leads to, and the runbook as a
//! page that a node serves by itself, because at night the Internet may be what is missing.

use std::collections::HashMap;

use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};

use super::frame::{Frame, Refresh, framed};
use super::{Condition, ConditionName, ConditionReason};
use crate::decide::plan::Blocker;
use crate::names::{OneOf, names};
use crate::problem::ProblemReason;

const TEXT: &str = include_str!("../../docs/operations.md");

names!(
    /// An entry of the runbook, by the anchor of its heading.
    RunbookEntry {
        ClientsDoNotReachTheVip = "clients-do-not-reach-the-vip",
        NoLeader = "no-leader-or-two",
        Refused = "drift-that-does-not-go-away-blocked-with-an-error",
        InterfaceMissing = "interfacemissing",
        TakeoverWouldFail = "takeover-would-fail",
        Contested = "contested",
        Waiting = "blocked-without-an-error",
        Conflict = "blocked-two-bindings-that-cannot-be-here-at-once",
        Kernel = "blocked-the-kernel-still-answers",
        Witness = "witness-no",
        Superseded = "superseded",
        NoHookYet = "role-unknown-no-hook-yet",
        RoleNotKnown = "role-unknown-not-known",
        ClaimNotRecorded = "claim-not-recorded",
        ClaimsNotRead = "claims-not-read",
        DesiredStateInvalid = "desired-state-invalid",
        WatchdogGone = "watchdog-gone",
        HookLost = "hook-lost",
        Held = "held",
        AnchorLeft = "anchorleft",
        ClockOff = "clockoff",
        NotRead = "ec2-not-read",
        NotReadYet = "not-read-yet",
        KernelNotRead = "kernel-not-read",
        DoesNotFit = "config-does-not-fit",
        Slow = "takeovers-are-slow",
        HooksElsewhere = "hookselsewhere",
        WatchdogKey = "watchdogkey",
        NotRunning = "not-running",
        Stuck = "stuck",
        FullFileSystem = "the-state-folders-file-system-is-full",
        ConnectionsLeft = "connections-that-are-left-behind",
        PacketsArrive = "packetsarrive-no",
        Probe = "probe",
        NoIdentity = "noidentity",
        Config = "configinvalid-restartneeded",
        HookUsers = "hookusers",
        LeftBehind = "leftbehind",
        Listen = "listen",
        StateDir = "statedir-notpersisted",
        Watchers = "watchaddresses-watchfiles-watchsignals",
        AnyProblem = "problem",
    }
);

impl RunbookEntry {
    /// The entry about this problem of the daemon as a whole.
    #[must_use]
    pub fn of_problem(reason: ProblemReason) -> Self {
        match reason {
            ProblemReason::AnchorLeft => Self::AnchorLeft,
            ProblemReason::ClockOff => Self::ClockOff,
            ProblemReason::ConfigInvalid | ProblemReason::RestartNeeded => Self::Config,
            ProblemReason::EventsFile | ProblemReason::NoReserve | ProblemReason::StatusFile => Self::FullFileSystem,
            ProblemReason::HookUsers => Self::HookUsers,
            ProblemReason::HooksElsewhere => Self::HooksElsewhere,
            ProblemReason::InterfaceMissing => Self::InterfaceMissing,
            ProblemReason::LeftBehind => Self::LeftBehind,
            ProblemReason::Listen => Self::Listen,
            ProblemReason::NoIdentity => Self::NoIdentity,
            ProblemReason::Probe => Self::Probe,
            ProblemReason::NotPersisted | ProblemReason::StateDir => Self::StateDir,
            ProblemReason::WatchAddresses | ProblemReason::WatchFiles | ProblemReason::WatchSignals => Self::Watchers,
            ProblemReason::WatchdogKey => Self::WatchdogKey,
        }
    }

    /// The entry about a problem as a status names it. A reason of a newer daemon leads to the entry about all problems.
    #[must_use]
    pub fn of_told_problem(reason: &OneOf<ProblemReason>) -> Self {
        reason.known().map_or(Self::AnyProblem, Self::of_problem)
    }

    /// The entry about a condition that is not as it should be.
    #[must_use]
    pub fn of_condition(condition: &Condition) -> Option<Self> {
        Some(match condition.name.known()? {
            ConditionName::ClaimRecorded if condition.reason == ConditionReason::NotRead => Self::ClaimsNotRead,
            ConditionName::InSync => Self::ClientsDoNotReachTheVip,
            ConditionName::DesiredValid => Self::DesiredStateInvalid,
            ConditionName::ClaimRecorded | ConditionName::ClaimCopied => Self::ClaimNotRecorded,
            ConditionName::Contested => Self::Contested,
            ConditionName::Superseded => Self::Superseded,
            ConditionName::HookLost => Self::HookLost,
            ConditionName::Witness => Self::Witness,
            ConditionName::Held => Self::Held,
            ConditionName::PacketsArrive => Self::PacketsArrive,
        })
    }

    /// The entry about a binding for which this node does nothing before somebody else acts.
    #[must_use]
    pub fn of_blocker(blocker: Blocker) -> Self {
        match blocker {
            Blocker::NoRecord | Blocker::NotEscalated | Blocker::Unheard => Self::Waiting,
            Blocker::NoHook => Self::RoleNotKnown,
            Blocker::Held => Self::Held,
            Blocker::Conflict => Self::Conflict,
            Blocker::Kernel => Self::Kernel,
        }
    }

    /// The link to the entry on this node's own pages.
    pub(super) fn link(self) -> String {
        format!("/runbook#{}", self.name())
    }
}

/// The runbook as a page. Its links to other documents of the project become plain text, because a node does not serve
/// these.
#[must_use]
pub fn page() -> String {
    framed(
        &Frame { title: "Runbook – vipkeeper", here: "/runbook", refresh: Refresh::Never },
        &html! {
            main { article.runbook { (rendered(&served())) } }
        },
    )
}

/// The runbook without its line of links to translations, which a node does not serve.
fn served() -> String {
    let kept = TEXT.lines().filter(|line| !line.starts_with("[日本語]("));
    kept.flat_map(|line| [line, "\n"]).collect()
}

fn rendered(text: &str) -> Markup {
    let mut events: Vec<_> = Parser::new_ext(text, Options::ENABLE_TABLES).collect();
    name_headings(&mut events);
    let mut stay = Vec::new();
    let mut images = 0;
    for event in &mut events {
        // HTML within the text is shown as it is written, and never becomes part of the page.
        if let Event::Html(html) | Event::InlineHtml(html) = event {
            *event = Event::Text(html.clone());
        }
    }
    events.retain(|event| match event {
        // The page loads no picture.
        Event::Start(Tag::Image { .. }) => {
            images += 1;
            false
        }
        Event::End(TagEnd::Image) => {
            images -= 1;
            false
        }
        _ if images > 0 => false,
        Event::Start(Tag::Link { dest_url, .. }) => {
            let stays = dest_url.starts_with('#') || dest_url.starts_with("https://");
            stay.push(stays);
            stays
        }
        Event::End(TagEnd::Link) => stay.pop().unwrap_or(true),
        _ => true,
    });
    let mut page = String::new();
    pulldown_cmark::html::push_html(&mut page, events.into_iter());
    // The renderer gives a table's header cells no scope, and the table no place in which a narrow screen can scroll it.
    let page = page
        .replace("<th>", "<th scope=\"col\">")
        .replace("<table>", "<div class=\"scroll\" role=\"group\" aria-label=\"Table\" tabindex=\"0\"><table>")
        .replace("</table>", "</table></div>")
        .replace("<pre>", "<pre tabindex=\"0\">");
    PreEscaped(page)
}

/// Gives each heading the id that GitHub gives it, so that links into the document work here as they do there.
fn name_headings(events: &mut [Event<'_>]) {
    let mut used = HashMap::new();
    let starts: Vec<_> = events
        .iter()
        .enumerate()
        .filter(|(_, event)| matches!(event, Event::Start(Tag::Heading { .. })))
        .map(|(at, _)| at)
        .collect();
    for start in starts {
        let inside = events[start..].iter().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
        let text: String = inside
            .filter_map(|event| match event {
                Event::Text(text) | Event::Code(text) => Some(&**text),
                _ => None,
            })
            .collect();
        let mut slug = anchor(&text);
        let times: &mut u32 = used.entry(slug.clone()).or_default();
        if *times > 0 {
            slug = format!("{slug}-{times}");
        }
        *times += 1;
        if let Event::Start(Tag::Heading { id, .. }) = &mut events[start] {
            *id = Some(CowStr::from(slug));
        }
    }
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_a_heading_of_the_runbook() {
        let page = page();
        for entry in RunbookEntry::ALL {
            assert_eq!(page.matches(&format!(" id=\"{entry}\"")).count(), 1, "{entry}");
        }
    }

    #[test]
    fn the_page_names_no_translation() {
        assert!(TEXT.contains("日本語") && !page().contains("日本語"));
    }

    #[test]
    fn every_link_of_the_page_leads_to_a_heading_or_to_the_internet() {
        let page = page();
        let links: Vec<_> = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(links.len() > 10, "{links:?}");
        for link in links {
            match link.strip_prefix('#') {
                Some(anchor) => assert!(page.contains(&format!(" id=\"{anchor}\"")), "{link}"),
                None => assert!(link.starts_with("https://") || link.starts_with('/'), "{link}"),
            }
        }
    }

    #[test]
    fn an_id_is_given_once_and_html_in_the_text_stays_text() {
        let page = rendered(
            "# A `b` C!\n\n# a b c\n\n<script>x()</script>\n\n[there](other.md) <b>c</b> [e](#a-b-c)![p](p.png)",
        )
        .into_string();
        assert!(page.contains("<h1 id=\"a-b-c\">") && page.contains("<h1 id=\"a-b-c-1\">"), "{page}");
        assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains("other.md"), "{page}");
        assert!(!page.contains("<img"), "{page}");
        assert!(page.contains("there &lt;b&gt;c&lt;/b&gt; <a href=\"#a-b-c\">e</a>"), "{page}");
    }
}
