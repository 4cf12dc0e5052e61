//! A timeline as a picture: the client and every node on one axis of seconds since the fault. Plain SVG, in colours that a
//! light and a dark page both carry.

use std::fmt::{Display, Write as _};

use super::report::NOTHING;
use super::timeline::{Change, Hook, NodeTimeline, Seconds, Span, Timeline};

const WIDTH: f64 = 960.0;
/// Where names end and time begins.
const LEFT: f64 = 176.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 64.0;
const LANE: f64 = 18.0;
const BAR: f64 = 12.0;
/// Between the lanes of one party and those of the next.
const GAP: f64 = 10.0;
const BELOW: f64 = 62.0;

/// Fill of each node, in the lanes of the node and in the client's.
const COLOURS: [&str; 3] = ["a", "b", "c"];

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:14px}.small{font-size:10.5px}\
.soft{fill:#59636e}.page{fill:#fff}.line{stroke:#d1d9e0;stroke-width:1}.fault{stroke:#d1242f;stroke-width:1.5;stroke-dasharray:4 3}\
.trouble{fill:#d1242f;opacity:.12}.none{fill:#d1242f}.off{fill:#59636e;opacity:.25}\
.a{fill:#0969da}.b{fill:#bc4c00}.c{fill:#1a7f37}.thin{opacity:.55}.ok{fill:#1f2328}.no{stroke:#d1242f;stroke-width:2;fill:none}\
@media(prefers-color-scheme:dark){text,.ok{fill:#e6edf3}.soft{fill:#9198a1}.page{fill:#0d1117}.line{stroke:#3d444d}\
.fault,.no{stroke:#ff7b72}.trouble,.none{fill:#ff7b72}.off{fill:#9198a1}.a{fill:#58a6ff}.b{fill:#f0883e}.c{fill:#3fb950}}";

pub fn draw(title: &str, timeline: &Timeline) -> String {
    let mut picture = Picture { timeline, body: String::new(), y: TOP };
    picture.client();
    for (node, colour) in timeline.nodes.iter().zip(COLOURS) {
        picture.node(node, colour);
    }
    let lanes = std::mem::take(&mut picture.body);
    let bottom = picture.y;
    picture.axis(bottom);
    picture.troubles(bottom);
    let (behind, height) = (picture.body, bottom + BELOW);
    let title = escaped(title);
    let legend = legend(bottom + 50.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"title\" x=\"16\" y=\"24\">{title}</text>\n{behind}{lanes}{legend}</svg>\n"
    )
}

struct Picture<'a> {
    timeline: &'a Timeline,
    body: String,
    /// The top of the next lane.
    y: f64,
}

impl Picture<'_> {
    fn x(&self, at: Seconds) -> f64 {
        let Timeline { from, to, .. } = self.timeline;
        LEFT + (at.clamp(*from, *to) - from) / (to - from) * (WIDTH - LEFT - RIGHT)
    }

    fn client(&mut self) {
        self.label("the client is answered", "");
        for span in &self.timeline.served {
            self.bar(span, COLOURS[span.what]);
        }
        for span in &self.timeline.unserved {
            self.bar(span, "none");
            let length = span.to - span.from;
            if length > 2.0 * NOTHING.as_secs_f64() {
                // Beside the bar: inside it would have to fit.
                self.text(
                    self.x(span.to.min(self.timeline.to)) - 3.0,
                    -3.0,
                    "small end",
                    format!("{length:.2} s none"),
                );
            }
        }
        self.y += LANE + GAP;
    }

    fn node(&mut self, node: &NodeTimeline, colour: &str) {
        self.label(&node.name, "hooks say leader");
        for span in &node.off {
            self.bar(span, "off");
        }
        for span in &node.leads {
            self.bar(span, colour);
        }
        for (at, hook) in &node.hooks {
            self.tick(*at);
            // Beside the bar that begins or ends here.
            match hook {
                Hook::Up => self.text(self.x(*at) - 4.0, 10.0, "small end", "up"),
                Hook::Down => self.text(self.x(*at) + 5.0, 10.0, "small", "down"),
            }
        }
        self.y += LANE;
        if self.timeline.nodes.iter().any(|node| !node.has_address.is_empty()) {
            self.label("", "local address");
            for span in &node.has_address {
                self.bar(span, &format!("{colour} thin"));
            }
            self.y += LANE;
        }
        let is_accepted = |write: &&Change| write.code == "OK";
        self.label("", "EC2 accepted");
        self.changes(&node.writes.iter().filter(is_accepted).collect::<Vec<_>>());
        if self.timeline.nodes.iter().flat_map(|node| &node.writes).any(|write| !is_accepted(&write)) {
            self.label("", "EC2 refused");
            self.changes(&node.writes.iter().filter(|write| !is_accepted(write)).collect::<Vec<_>>());
        }
        self.y += GAP;
    }

    /// A mark for each; those too close together for that share one, with their number.
    fn changes(&mut self, changes: &[&Change]) {
        let near = |one: &&Change, other: &&Change| self.x(other.at) - self.x(one.at) < 7.0;
        let groups: Vec<Vec<&Change>> = changes.chunk_by(near).map(<[_]>::to_vec).collect();
        for group in groups {
            let (x, y) = (self.x(group[0].at), self.y + BAR / 2.0);
            let tips = group.iter().map(|write| format!("{} at {:.2} s: {}", write.operation, write.at, write.code));
            let tip = escaped(&tips.collect::<Vec<_>>().join("\n"));
            let _ = if group[0].code == "OK" {
                writeln!(
                    self.body,
                    "<circle class=\"ok\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{tip}</title></circle>"
                )
            } else {
                let (left, top) = (x - 3.5, y - 3.5);
                writeln!(
                    self.body,
                    "<path class=\"no\" d=\"M{left:.1} {top:.1}l7 7m0-7l-7 7\"><title>{tip}</title></path>"
                )
            };
            if group.len() > 1 {
                self.text(x + 6.0, 10.0, "small", group.len());
            }
        }
        self.y += LANE;
    }

    fn label(&mut self, name: &str, lane: &str) {
        let y = self.y + 10.0;
        let _ = writeln!(self.body, "<text x=\"16\" y=\"{y}\">{}</text>", escaped(name));
        let end = LEFT - 8.0;
        let _ =
            writeln!(self.body, "<text class=\"small soft\" text-anchor=\"end\" x=\"{end}\" y=\"{y}\">{lane}</text>");
    }

    fn bar<T>(&mut self, span: &Span<T>, class: &str) {
        if span.from > self.timeline.to || span.to < self.timeline.from {
            return;
        }
        let (x, y) = (self.x(span.from), self.y);
        let width = (self.x(span.to) - x).max(1.0);
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\"/>"
        );
    }

    /// `dy` is from the top of the lane to the text's base line.
    fn text(&mut self, x: f64, dy: f64, class: &str, text: impl Display) {
        let anchor = if class.ends_with("end") { "end" } else { "start" };
        let (y, text) = (self.y + dy, escaped(&text.to_string()));
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
        );
    }

    fn tick(&mut self, at: Seconds) {
        let (x, y) = (self.x(at), self.y - 1.0);
        let _ = writeln!(
            self.body,
            "<rect class=\"ok\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"1.5\" height=\"{}\"/>",
            BAR + 2.0
        );
    }

    fn axis(&mut self, bottom: f64) {
        let (top, base) = (TOP - 6.0, bottom + 14.0);
        let step =
            [1, 2, 5, 10, 20, 50].into_iter().find(|step| self.timeline.to / f64::from(*step) <= 15.0).unwrap_or(100);
        let mut second = 0;
        while f64::from(second) <= self.timeline.to {
            let x = self.x(second.into());
            let _ = writeln!(
                self.body,
                "<line class=\"line\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
                 <text class=\"small soft\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{base}\">{second} s</text>"
            );
            second += step;
        }
    }

    /// The fault, and what else happened to the cluster, behind all lanes.
    fn troubles(&mut self, bottom: f64) {
        let (top, height) = (TOP - 6.0, bottom - TOP + 6.0);
        for span in &self.timeline.troubles {
            let x = self.x(span.from);
            let width = self.x(span.to) - x;
            let _ = writeln!(
                self.body,
                "<rect class=\"trouble\" x=\"{x:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\"/>"
            );
            self.note(x + 3.0, &span.what);
        }
        for at in [0.0].into_iter().chain(self.timeline.notes.iter().map(|(at, _)| *at)) {
            let x = self.x(at);
            let _ =
                writeln!(self.body, "<line class=\"fault\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>");
        }
        for (at, what) in &self.timeline.notes {
            self.note(self.x(*at) + 3.0, what);
        }
    }

    fn note(&mut self, x: f64, what: &str) {
        let (y, what) = (TOP - 24.0, escaped(what));
        let _ = writeln!(self.body, "<text class=\"small soft\" x=\"{x:.1}\" y=\"{y}\">{what}</text>");
    }
}

fn legend(y: f64) -> String {
    let cross = format!("<path class=\"no\" d=\"M488 {}l7 7m0-7l-7 7\"/>", y - 8.0);
    format!(
        "<g class=\"small\"><line class=\"fault\" x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"{}\" y2=\"{}\"/>\
         <text class=\"small soft\" x=\"182\" y=\"{y}\">the fault, at 0 s</text>\
         <rect class=\"none\" x=\"284\" y=\"{}\" width=\"12\" height=\"10\"/><text class=\"small soft\" x=\"300\" y=\"{y}\">no answer</text>\
         <circle class=\"ok\" cx=\"370\" cy=\"{}\" r=\"3.5\"/><text class=\"small soft\" x=\"378\" y=\"{y}\">accepted by EC2</text>\
         {cross}<text class=\"small soft\" x=\"500\" y=\"{y}\">refused or lost</text>\
         <rect class=\"off\" x=\"586\" y=\"{}\" width=\"12\" height=\"10\"/><text class=\"small soft\" x=\"602\" y=\"{y}\">machine off</text></g>\n",
        y - 10.0,
        y + 2.0,
        y - 9.0,
        y - 4.0,
        y - 9.0,
    )
}

pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
