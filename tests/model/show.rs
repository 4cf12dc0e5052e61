//! The text of steps and states in a trace.

use std::fmt;

use super::{Cloud, Step};
use crate::local::{GIVEN_UP, Pointer, Tags, What, letter};

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} {}]", show_pointer(self.pointer), show_tags(&self.tags))
    }
}

fn show_pointer(pointer: Pointer) -> String {
    match pointer {
        Pointer::Absent => "nowhere".to_owned(),
        Pointer::Foreign => "elsewhere".to_owned(),
        Pointer::At(node, _) => format!("at {}", letter(node)),
    }
}

fn show_tags(tags: &Tags) -> String {
    let tags: Vec<_> =
        (0u8..).zip(tags).filter_map(|(node, tag)| Some(format!("{}={}", letter(node), show_tag((*tag)?)))).collect();
    if tags.is_empty() { "no claims".to_owned() } else { tags.join(" ") }
}

fn show_tag(tag: u32) -> String {
    if tag & GIVEN_UP == 0 { tag.to_string() } else { format!("withdrawn-{}", tag & !GIVEN_UP) }
}

fn show_what(what: What) -> String {
    match what {
        What::Point { purpose, force: true, .. } => format!("{purpose:?}, by force").to_lowercase(),
        What::Point { purpose, force: false, .. } => format!("{purpose:?}, if it is free").to_lowercase(),
        What::Free { association: 0, .. } => "release".to_owned(),
        What::Free { association, .. } => format!("release of association {association}"),
        What::Tag { term, .. } => format!("tag {}", show_tag(term)),
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up(node, k) => write!(f, "{}: up, leadership {k}", letter(*node)),
            Self::Down(node) => write!(f, "{}: down", letter(*node)),
            Self::QuorumLost(node) => write!(f, "{}: its watchdog loses the quorum", letter(*node)),
            Self::Notice(node) => write!(f, "{}: its daemon notices", letter(*node)),
            Self::BeginLook(node) => write!(f, "{}: begins to look", letter(*node)),
            Self::Answer(node, pointer, tags, stale) => {
                let stale = if *stale { ", which is stale" } else { "" };
                write!(f, "{}: sees it {}, {}{stale}", letter(*node), show_pointer(*pointer), show_tags(tags))
            }
            Self::LookFails(node) => write!(f, "{}: the look fails", letter(*node)),
            Self::Executed(node, what) => write!(f, "{}: {} carried out", letter(*node), show_what(*what)),
            Self::Replied(node, what) => write!(f, "{}: {} answered", letter(*node), show_what(*what)),
            Self::Lost(node, what) => write!(f, "{}: {} lost", letter(*node), show_what(*what)),
            Self::ReplyLost(node, what) => write!(f, "{}: {}, the answer lost", letter(*node), show_what(*what)),
            Self::GaveUp(node, what) => {
                write!(f, "{}: {} not answered in time, still under way", letter(*node), show_what(*what))
            }
            Self::Late(node, what) => write!(f, "{}: {} carried out late", letter(*node), show_what(*what)),
            Self::Restart(node) => write!(f, "{}: its daemon restarts", letter(*node)),
            Self::RestartWithout(node) => {
                write!(f, "{}: its daemon restarts, and what it persisted is lost", letter(*node))
            }
            Self::ByHand(pointer) => write!(f, "by hand: it now points {}", show_pointer(*pointer)),
            Self::Pass(seconds) => write!(f, "{seconds} s pass"),
        }
    }
}
