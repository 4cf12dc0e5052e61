//! A failover told as a timeline, from the events of one node or of several on EC2's clock: the part of a post-mortem that
//! the nodes themselves know.

use std::collections::BTreeSet;
use std::mem;
use std::net::IpAddr;
use std::time::Duration;

use super::event::list::EventList;
use super::event::stamp::OneClock;
use super::event::{EventKind, NodeEvent, shown};
use super::layout::{Style, Tone, clean};
use super::{ClockStatus, Status};
use crate::ids::InstanceId;

/// Events of a VIP that lie further apart than this belong to different episodes, in milliseconds.
const QUIET_MS: i64 = 30_000;
/// Events of a node as a whole are told with an episode that they precede by at most this long, in milliseconds.
const BEFORE_MS: i64 = 2_000;

/// One node, as its document tells.
#[derive(Debug)]
pub struct NodeEvents {
    pub name: String,
    /// `None` where the node did not know itself when it wrote the document.
    instance: Option<InstanceId>,
    clock: OneClock,
    /// How far the clock may be off after the correction, for people.
    doubt: Option<String>,
    /// When the document was written, on the one clock.
    written_ms: i64,
    events: EventList,
}

impl NodeEvents {
    #[must_use]
    pub fn new(status: &Status, events: EventList) -> Self {
        let clock = OneClock::of(status);
        let name = status.instance.as_ref().map_or_else(|| format!("process {}", status.pid), ToString::to_string);
        Self {
            name,
            instance: status.instance.clone(),
            clock,
            doubt: status.clock.as_ref().and_then(ClockStatus::doubt),
            written_ms: clock.written_ms(),
            events,
        }
    }

    /// Adds the events that another document of this node has besides. The newer document's clock holds for all, and its
    /// count of an event that both have.
    fn add(&mut self, mut other: Self) {
        if other.written_ms > self.written_ms {
            mem::swap(self, &mut other);
        }
        self.events.add_earlier(other.events);
    }
}

/// An event of a node, on the one clock.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// A Unix time in milliseconds by EC2's clock, as far as the node knows it.
    pub at_ms: i64,
    /// The number of the node in the story.
    pub node: usize,
    pub event: &'a NodeEvent,
}

/// The events around one takeover of a VIP, or around several that follow one another at once.
#[derive(Debug)]
pub struct Episode<'a> {
    pub vip: IpAddr,
    pub told: Vec<Told<'a>>,
}

/// The events of one node or of several.
#[derive(Debug)]
pub struct Story {
    pub(super) nodes: Vec<NodeEvents>,
}

impl Story {
    /// The story that these documents tell, in the order of the nodes' first documents. A node may have several, of
    /// different moments.
    pub fn of(documents: impl IntoIterator<Item = NodeEvents>) -> Self {
        let mut nodes: Vec<NodeEvents> = Vec::new();
        for document in documents {
            let is_same = |node: &&mut NodeEvents| document.instance.is_some() && node.instance == document.instance;
            match nodes.iter_mut().find(is_same) {
                Some(node) => node.add(document),
                None => nodes.push(document),
            }
        }
        Self { nodes }
    }

    /// The takeovers, the oldest first, as far as they happened at most `since` before the newest document was written.
    /// `vip`: of this VIP alone.
    #[must_use]
    pub fn failovers(&self, since: Duration, vip: Option<IpAddr>) -> Vec<Episode<'_>> {
        let newest_ms = self.nodes.iter().map(|node| node.written_ms).max().unwrap_or_default();
        let since_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let from_ms = newest_ms.saturating_sub(since_ms);
        let all: Vec<_> = self.all().into_iter().filter(|told| told.at_ms >= from_ms).collect();
        let vips: BTreeSet<IpAddr> = all.iter().filter_map(|told| told.event.vip).collect();
        let wanted = vips.into_iter().filter(|one| vip.is_none_or(|vip| vip == *one));
        let mut episodes: Vec<_> = wanted.flat_map(|vip| episodes(vip, &all)).collect();
        episodes.sort_by_key(Episode::from_ms);
        episodes
    }

    /// All events on the one clock, in its order. Events of one node that share a millisecond keep their order.
    fn all(&self) -> Vec<Told<'_>> {
        let mut all: Vec<Told<'_>> = Vec::new();
        for (node, of_node) in self.nodes.iter().enumerate() {
            let on_clock = |event| Told { at_ms: of_node.clock.at_ms(event), node, event };
            all.extend(of_node.events.iter().map(on_clock));
        }
        all.sort_by_key(|told| (told.at_ms, told.node, told.event.number));
        all
    }

    /// The whole story as text.
    #[must_use]
    pub fn text(&self, episodes: &[Episode<'_>], style: Style) -> String {
        let mut page = String::new();
        for episode in episodes {
            page += &self.episode(episode, style);
            page.push('\n');
        }
        if episodes.is_empty() {
            page += "No VIP was gained or lost in this time, as far as these nodes remember.\n\n";
        }
        page += "Times are seconds since the first line, by EC2's clock as each node knows it:\n";
        for node in &self.nodes {
            let clock = match (node.clock.ahead_ms, &node.doubt) {
                (None, _) => "EC2's clock was not known to it, so its own clock counts".to_owned(),
                (Some(ahead_ms), doubt) => {
                    let side = if ahead_ms < 0 { "behind" } else { "ahead of" };
                    let doubt =
                        doubt.as_deref().map(|doubt| format!("; it says: {}", clean(doubt))).unwrap_or_default();
                    format!(
                        "its clock was {} {side} EC2's, which is taken off{doubt}",
                        seconds(ahead_ms.unsigned_abs())
                    )
                }
            };
            page += &style.paragraph(2, &format!("{}: ", clean(&node.name)), &clock);
        }
        page
    }

    fn episode(&self, episode: &Episode<'_>, style: Style) -> String {
        let from_ms = episode.from_ms();
        let date = shown::date(u64::try_from(from_ms).unwrap_or_default());
        let mut page = format!("{}\n", style.paint(Tone::Bold, &format!("{} at {date}", episode.vip)));
        page += &style.paragraph(2, "", &self.summary(episode));
        page.push('\n');
        let row = |told: &Told<'_>| {
            let after_ms = told.at_ms.saturating_sub(from_ms).unsigned_abs();
            let why = shown::reason(told.event).map(|why| format!(": {why}")).unwrap_or_default();
            vec![
                (Tone::Plain, format!("+{}", seconds(after_ms).trim_end_matches(" s"))),
                (Tone::Plain, clean(&self.nodes[told.node].name)),
                (Tone::Plain, shown::duration(told.event).unwrap_or_else(|| "-".to_owned())),
                (shown::tone(told.event), shown::sentence(told.event) + &why),
            ]
        };
        let rows: Vec<_> = episode.told.iter().map(row).collect();
        page + &style.table(2, &["SECONDS", "NODE", "TOOK", "EVENT"], &rows)
    }

    /// Who took the VIP from whom, and how long that took, in one sentence.
    #[must_use]
    pub fn summary(&self, episode: &Episode<'_>) -> String {
        let of_kind = |kind| episode.told.iter().rev().find(move |told| told.event.kind == kind);
        let name = |told: &Told<'_>| clean(&self.nodes[told.node].name);
        let (gained, lost) = (of_kind(EventKind::Gained), of_kind(EventKind::Lost));
        let who = match (gained, lost) {
            (Some(to), Some(from)) if from.node != to.node => {
                let gap_ms = to.at_ms.saturating_sub(from.at_ms);
                let between = if gap_ms < 0 {
                    format!("{} before that one was seen to have lost it", seconds(gap_ms.unsigned_abs()))
                } else {
                    format!("{} after that one lost it", seconds(gap_ms.unsigned_abs()))
                };
                format!("{} took it over from {}, {between}", name(to), name(from))
            }
            (Some(to), Some(from)) if from.at_ms > to.at_ms => format!("{} gained it, and lost it again", name(from)),
            (Some(to), _) => format!("{} gained it", name(to)),
            (None, Some(from)) => format!("{} lost it", name(from)),
            (None, None) => "nobody gained or lost it".to_owned(),
        };
        let converged = of_kind(EventKind::Converged).and_then(|told| Some((told, told.event.took_ms?)));
        let converged = converged.map(|(told, took_ms)| {
            format!("; every binding was seen at {} {} after its hook began", name(told), seconds(took_ms))
        });
        let failed = episode.told.iter().filter(|told| told.event.kind == EventKind::ChangeFailed);
        let failures = failed.map(|told| u64::from(told.event.times)).sum::<u64>();
        let failures = match failures {
            0 => None,
            1 => Some("; one change failed on the way".to_owned()),
            _ => Some(format!("; changes failed {failures} times on the way")),
        };
        who + &converged.unwrap_or_default() + &failures.unwrap_or_default()
    }
}

impl Episode<'_> {
    /// When the first event happened.
    #[must_use]
    pub fn from_ms(&self) -> i64 {
        self.told.first().map_or(0, |told| told.at_ms)
    }

    /// When the last event happened.
    #[must_use]
    pub fn to_ms(&self) -> i64 {
        self.told.last().map_or(0, |told| told.at_ms)
    }
}

/// The episodes of a VIP in which it was gained or lost.
fn episodes<'a>(vip: IpAddr, all: &[Told<'a>]) -> Vec<Episode<'a>> {
    let own: Vec<Told<'a>> = all.iter().filter(|told| told.event.vip == Some(vip)).copied().collect();
    let together = |one: &Told<'_>, next: &Told<'_>| next.at_ms.saturating_sub(one.at_ms) <= QUIET_MS;
    let moves = |told: &Told<'_>| {
        matches!(told.event.kind.known(), Some(EventKind::Gained | EventKind::Lost | EventKind::Superseded))
    };
    let chunks = own.chunk_by(together).filter(|chunk| chunk.iter().any(moves));
    let whole = chunks.map(|chunk| {
        let (from_ms, to_ms) = (chunk[0].at_ms.saturating_sub(BEFORE_MS), chunk[chunk.len() - 1].at_ms);
        let is_near = |told: &&Told<'_>| (from_ms..=to_ms).contains(&told.at_ms);
        let of_node = |told: &&Told<'_>| told.event.vip.is_none();
        let mut told: Vec<Told<'a>> = all.iter().filter(of_node).filter(is_near).copied().collect();
        told.extend_from_slice(chunk);
        told.sort_by_key(|told| (told.at_ms, told.node, told.event.number));
        Episode { vip, told }
    });
    whole.collect()
}

/// A time in seconds, to the millisecond.
pub(super) fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}
