//! A failover as a picture: for each node when it was wanted as the leader, when it held the VIP, and what it asked of EC2
//! and of its kernel. Plain SVG without script, in colours that a light and a dark page both carry.

use std::fmt::{Display, Write as _};

use super::DesiredRole;
use super::event::{EventKind, shown};
use super::layout::clean;
use super::story::{Episode, Story, Told, seconds};

const WIDTH: f64 = 960.0;
/// Where names end and time begins.
const LEFT: f64 = 250.0;
const RIGHT: f64 = 24.0;
/// Below the title and the three lines of the summary.
const TOP: f64 = 100.0;
const LANE: f64 = 20.0;
const BAR: f64 = 12.0;
/// Between the lanes of one node and those of the next.
const GAP: f64 = 12.0;
const BELOW: f64 = 60.0;
/// Marks that are closer together than this share one, in pixels.
const NEAR: f64 = 7.0;
/// The most grid lines of the axis.
const MOST_STEPS: i64 = 12;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:14px}.small{font-size:10.5px}\
.soft{fill:#59636e}.page{fill:#fff}.line{stroke:#d1d9e0;stroke-width:1}.leads{fill:#59636e;opacity:.35}.holds{fill:#0969da}\
.ok{fill:#1f2328}.no{stroke:#d1242f;stroke-width:2;fill:none}.other{fill:#bc4c00}\
@media(prefers-color-scheme:dark){text,.ok{fill:#e6edf3}.soft,.leads{fill:#9198a1}.page{fill:#0d1117}.line{stroke:#3d444d}\
.no{stroke:#ff7b72}.holds{fill:#58a6ff}.other{fill:#f0883e}}";

/// The marks in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Accepted,
    Failed,
    Other,
}

impl Mark {
    fn of(kind: EventKind) -> Option<Self> {
        match kind {
            EventKind::Changed => Some(Self::Accepted),
            EventKind::Role | EventKind::Gained | EventKind::Lost => None,
            kind if kind.is_failure() => Some(Self::Failed),
            _ => Some(Self::Other),
        }
    }
}

/// The picture of one episode.
#[must_use]
pub fn draw(story: &Story, episode: &Episode<'_>) -> String {
    let date = shown::date(u64::try_from(episode.from_ms()).unwrap_or_default());
    let title = format!("{} at {date}", episode.vip);
    let summary = story.summary(episode);
    let label = escaped(&format!("{title}: {summary}"));
    let mut heading = format!("<text class=\"title\" x=\"16\" y=\"24\">{}</text>\n", escaped(&title));
    for (y, line) in (42..).step_by(16).zip(summary.split("; ")) {
        let _ = writeln!(heading, "<text x=\"16\" y=\"{y}\">{}</text>", escaped(line));
    }
    let span_ms = (episode.to_ms() - episode.from_ms()).max(1);
    // A little of the time before and after is shown, so that no mark is at the edge.
    let margin_ms = span_ms / 20 + 1;
    let zero_ms = episode.from_ms();
    let mut picture = Picture {
        zero_ms,
        from_ms: zero_ms - margin_ms,
        span_ms: span_ms + 2 * margin_ms,
        body: String::new(),
        y: TOP,
    };
    for (number, node) in story.nodes.iter().enumerate() {
        let told: Vec<_> = episode.told.iter().filter(|told| told.node == number).copied().collect();
        picture.node(&clean(&node.name), &told);
    }
    let lanes = std::mem::take(&mut picture.body);
    let bottom = picture.y;
    picture.axis(bottom);
    let (axis, height) = (picture.body, bottom + BELOW);
    let legend = legend(bottom + 44.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"{label}\">\n<style>{STYLE}</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n\
         {heading}{axis}{lanes}{legend}</svg>\n"
    )
}

struct Picture {
    /// When the first event happened, which the axis counts from.
    zero_ms: i64,
    /// When the picture begins.
    from_ms: i64,
    span_ms: i64,
    body: String,
    /// The top of the next lane.
    y: f64,
}

impl Picture {
    #[expect(clippy::cast_precision_loss, reason = "a pixel is much coarser than a millisecond")]
    fn x(&self, at_ms: i64) -> f64 {
        LEFT + (at_ms - self.from_ms) as f64 / self.span_ms as f64 * (WIDTH - LEFT - RIGHT)
    }

    fn node(&mut self, name: &str, told: &[Told<'_>]) {
        self.label(name, "wanted as leader");
        self.bars(told, "leads", |told| {
            (told.event.kind == EventKind::Role)
                .then(|| told.event.outcome.as_deref() == Some(DesiredRole::Leader.name()))
        });
        self.label("", "holds the VIP");
        self.bars(told, "holds", |told| match told.event.kind.known() {
            Some(EventKind::Gained) => Some(true),
            Some(EventKind::Lost) => Some(false),
            _ => None,
        });
        for (mark, lane) in [(Mark::Accepted, "accepted"), (Mark::Failed, "failed"), (Mark::Other, "told")] {
            let of_lane = |told: &&Told<'_>| told.event.kind.known().and_then(Mark::of) == Some(mark);
            let marks: Vec<_> = told.iter().filter(of_lane).collect();
            if !marks.is_empty() {
                self.label("", lane);
                self.marks(&marks, mark);
                self.y += LANE;
            }
        }
        self.y += GAP;
    }

    /// A bar for each time in which something was so. `turned` tells whether it is so from this event on.
    fn bars(&mut self, told: &[Told<'_>], class: &str, turned: impl Fn(&Told<'_>) -> Option<bool>) {
        let turns: Vec<_> = told.iter().filter_map(|told| Some((told.at_ms, turned(told)?))).collect();
        // It was so before an event by which it ended.
        let mut since_ms = turns.first().filter(|(_, is_so)| !is_so).map(|_| self.from_ms);
        let end_ms = self.from_ms + self.span_ms;
        for (at_ms, is_so) in turns.into_iter().chain([(end_ms, false)]) {
            match (since_ms, is_so) {
                (None, true) => since_ms = Some(at_ms),
                (Some(from_ms), false) => {
                    let (x, y) = (self.x(from_ms), self.y);
                    let width = (self.x(at_ms) - x).max(1.0);
                    let _ = writeln!(
                        self.body,
                        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\"/>"
                    );
                    since_ms = None;
                }
                _ => {}
            }
        }
        self.y += LANE;
    }

    /// A mark for each event. Those too close together for that share one, with their number.
    fn marks(&mut self, marks: &[&Told<'_>], mark: Mark) {
        let near = |one: &&Told<'_>, other: &&Told<'_>| self.x(other.at_ms) - self.x(one.at_ms) < NEAR;
        let groups: Vec<Vec<&Told<'_>>> = marks.chunk_by(near).map(<[_]>::to_vec).collect();
        for group in groups {
            let (x, y) = (self.x(group[0].at_ms), self.y + BAR / 2.0);
            let tip = |told: &&Told<'_>| {
                let after = seconds((told.at_ms - self.zero_ms).unsigned_abs());
                let why = shown::reason(told.event).map(|why| format!(": {why}")).unwrap_or_default();
                format!("+{after} {}{why}", shown::sentence(told.event))
            };
            let tip = escaped(&group.iter().map(tip).collect::<Vec<_>>().join("\n"));
            let (left, top) = (x - 3.5, y - 3.5);
            let _ = match mark {
                Mark::Accepted => writeln!(
                    self.body,
                    "<circle class=\"ok\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{tip}</title></circle>"
                ),
                Mark::Failed => writeln!(
                    self.body,
                    "<path class=\"no\" d=\"M{left:.1} {top:.1}l7 7m0-7l-7 7\"><title>{tip}</title></path>"
                ),
                Mark::Other => writeln!(
                    self.body,
                    "<rect class=\"other\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"7\" height=\"7\"><title>{tip}</title></rect>"
                ),
            };
            if group.len() > 1 {
                self.text(x + 6.0, self.y + 10.0, "small", group.len());
            }
        }
    }

    fn label(&mut self, name: &str, lane: &str) {
        let y = self.y + 10.0;
        self.text(16.0, y, "name", name);
        self.text(LEFT - 8.0, y, "small soft end", lane);
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: impl Display) {
        let anchor = if class.ends_with("end") { "end" } else { "start" };
        let text = escaped(&text.to_string());
        if !text.is_empty() {
            let _ = writeln!(
                self.body,
                "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
            );
        }
    }

    fn axis(&mut self, bottom: f64) {
        let (top, base) = (TOP - 8.0, bottom + 14.0);
        let choices_ms = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000];
        let fits = |step_ms: &i64| self.span_ms / step_ms <= MOST_STEPS;
        let step_ms = choices_ms.into_iter().find(fits).unwrap_or(self.span_ms / MOST_STEPS + 1);
        for number in 0..=self.span_ms / step_ms {
            let after_ms = number * step_ms;
            let x = self.x(self.zero_ms + after_ms);
            let _ = writeln!(
                self.body,
                "<line class=\"line\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
                 <text class=\"small soft\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{base}\">{}.{:02} s</text>",
                after_ms / 1000,
                after_ms % 1000 / 10
            );
        }
    }
}

fn legend(y: f64) -> String {
    let (dot, box_top) = (y - 4.0, y - 8.0);
    format!(
        "<g class=\"small\"><circle class=\"ok\" cx=\"{LEFT}\" cy=\"{dot}\" r=\"3.5\"/>\
         <text class=\"small soft\" x=\"260\" y=\"{y}\">a change, accepted</text>\
         <path class=\"no\" d=\"M380 {box_top}l7 7m0-7l-7 7\"/><text class=\"small soft\" x=\"392\" y=\"{y}\">failed or refused</text>\
         <rect class=\"other\" x=\"500\" y=\"{box_top}\" width=\"7\" height=\"7\"/>\
         <text class=\"small soft\" x=\"512\" y=\"{y}\">another event; the pointer over a mark tells which</text></g>\n"
    )
}

/// Text for an element or an attribute. It comes without control characters, but may have two more characters that no XML
/// document may hold.
fn escaped(text: &str) -> String {
    let text = text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
