//! Rows of the dashboard as a picture: Prometheus answers the panels' own queries at the end of a play, and this file draws
//! the answers. Grafana has no part in it.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::board::{Good, Panel, Shape, filled_in};
use super::client::now;
use super::panels::ROWS;
use super::prometheus::{Prometheus, Series};
use super::svg::escaped;

/// The rows that are drawn, by their titles.
const DRAWN: [&str; 3] = ["Is it well?", "Failovers", "Requests to EC2"];
/// As Grafana chooses it where Prometheus scrapes each second.
const RATE_INTERVAL: &str = "5s";
const STEP_S: f64 = 1.0;

/// Pixels of one of the 24 columns that a dashboard has.
const COLUMN: f64 = 40.0;
const GAP: f64 = 8.0;
const HEADING: f64 = 30.0;
const LOW: f64 = 88.0;
const HIGH: f64 = 196.0;
/// A panel's title, and its legend.
const TITLE: f64 = 26.0;
const LEGEND: f64 = 15.0;
/// A letter of the small text is about so wide.
const LETTER: f64 = 5.6;
/// Legends have so many lines at most.
const LINES: usize = 3;
const COLOURS: usize = 6;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}.row{font-weight:600;font-size:14px}.small{font-size:10.5px}.soft{fill:#59636e}\
.big{font-size:20px;font-weight:600;fill:#fff}.on{font-size:10.5px;fill:#fff}.page{fill:#f6f8fa}.panel{fill:#fff;stroke:#d1d9e0}\
.line{stroke:#d1d9e0}.fault{stroke:#d1242f;stroke-dasharray:4 3}.good{fill:#1a7f37}.bad{fill:#cf222e}.any{fill:#0969da}.off{fill:#d1d9e0}\
.l{fill:none;stroke-width:1.5}.f0{fill:#0969da}.f1{fill:#bc4c00}.f2{fill:#1a7f37}.f3{fill:#8250df}.f4{fill:#bf3989}.f5{fill:#9a6700}\
.s0{stroke:#0969da}.s1{stroke:#bc4c00}.s2{stroke:#1a7f37}.s3{stroke:#8250df}.s4{stroke:#bf3989}.s5{stroke:#9a6700}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9198a1}.page{fill:#010409}.panel{fill:#0d1117;stroke:#3d444d}\
.line{stroke:#3d444d}.fault{stroke:#ff7b72}.off{fill:#3d444d}.big,.on{fill:#fff}\
.f0{fill:#58a6ff}.f1{fill:#f0883e}.f2{fill:#3fb950}.f3{fill:#bc8cff}.f4{fill:#ff7bb0}.f5{fill:#d29922}\
.s0{stroke:#58a6ff}.s1{stroke:#f0883e}.s2{stroke:#3fb950}.s3{stroke:#bc8cff}.s4{stroke:#ff7bb0}.s5{stroke:#d29922}}";

/// Draws into the file that `VIPKEEPER_LAB_DASHBOARD` names, relative to the project's folder. Without it, nothing.
pub fn draw_where_asked(prometheus: &Prometheus, scenario: &str, fault: Duration) {
    if let Some(file) = env::var_os("VIPKEEPER_LAB_DASHBOARD") {
        let picture = draw(prometheus, scenario, fault);
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(file), picture).unwrap();
    }
}

fn draw(prometheus: &Prometheus, scenario: &str, fault: Duration) -> String {
    let fault = fault.as_secs_f64();
    let mut picture = Picture {
        prometheus,
        fault,
        from: (fault - 10.0).floor(),
        to: now().as_secs_f64().floor(),
        body: String::new(),
    };
    let (right, mut y) = (24.0 * COLUMN, GAP);
    for row in ROWS.iter().filter(|row| DRAWN.contains(&row.title)) {
        picture.text((GAP, y + 19.0), "row", row.title);
        y += HEADING;
        let (mut x, mut tallest) = (0.0, 0.0_f64);
        for panel in row.panels {
            let width = f64::from(u32::try_from(panel.width).unwrap()) * COLUMN;
            if x + width > right {
                (x, y, tallest) = (0.0, y + tallest, 0.0);
            }
            let height = if matches!(panel.shape, Shape::Now(_)) { LOW } else { HIGH };
            picture.panel(panel, Frame { x: x + GAP / 2.0, y, width: width - GAP, height: height - GAP });
            tallest = tallest.max(height);
            x += width;
        }
        y += tallest;
    }
    let title = escaped(&format!("The dashboard of a play: {scenario}"));
    let body = picture.body;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {right} {y}\" width=\"{right}\" height=\"{y}\" role=\"img\" \
         aria-label=\"{title}\">\n<style>{STYLE}</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n"
    )
}

#[derive(Clone, Copy)]
struct Frame {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// One series with the text that Grafana would show for it.
struct Named {
    name: String,
    samples: Vec<(f64, f64)>,
}

struct Picture<'a> {
    prometheus: &'a Prometheus,
    /// Seconds since the Unix epoch, as all times here.
    fault: f64,
    from: f64,
    to: f64,
    body: String,
}

impl Picture<'_> {
    fn panel(&mut self, panel: &Panel, frame: Frame) {
        self.rect(frame, "panel");
        self.text((frame.x + 8.0, frame.y + 17.0), "", panel.title);
        let inner = Frame {
            x: frame.x + 8.0,
            y: frame.y + TITLE,
            width: frame.width - 16.0,
            height: frame.height - TITLE - 8.0,
        };
        let series = self.series(panel);
        match panel.shape {
            _ if series.is_empty() => self.text((inner.x, inner.y + 24.0), "soft", "no data"),
            Shape::Now(good) => self.values(panel, good, &series, inner),
            Shape::Strips => self.strips(panel, &series, inner),
            Shape::Lines | Shape::Bars | Shape::Table => self.graph(panel, &series, inner),
        }
    }

    /// The answers to a panel's queries: of now, or of each second.
    fn series(&self, panel: &Panel) -> Vec<Named> {
        let range = if matches!(panel.shape, Shape::Now(_)) { (self.to, self.to) } else { (self.from, self.to) };
        let queries = panel.expressions().zip(panel.queries);
        let answers = queries.flat_map(|(query, (_, legend))| {
            let answer = self.prometheus.over(&filled_in(&query, RATE_INTERVAL), range, STEP_S);
            answer.into_iter().map(move |Series { labels, samples }| {
                let fill =
                    |text: String, (name, value): (&String, &String)| text.replace(&format!("{{{{{name}}}}}"), value);
                let samples = samples.into_iter().filter(|(_, value)| value.is_finite()).collect();
                Named { name: labels.iter().fold((*legend).to_owned(), fill), samples }
            })
        });
        answers.filter(|series| !series.samples.is_empty()).collect()
    }

    fn values(&mut self, panel: &Panel, good: Good, series: &[Named], frame: Frame) {
        let width = frame.width / series.len() as f64;
        for (index, Named { name, samples }) in series.iter().enumerate() {
            let (_, value) = samples[samples.len() - 1];
            let is_good = match good {
                Good::One => Some(value >= 1.0),
                Good::Zero => Some(value == 0.0),
                Good::Any => None,
            };
            let class = is_good.map_or("any", |is_good| if is_good { "good" } else { "bad" });
            let cell = Frame { x: frame.x + width * index as f64, width: width - 2.0, ..frame };
            self.rect(cell, class);
            self.text((cell.x + 8.0, cell.y + 25.0), "big", &self.in_words(panel, value));
            self.text((cell.x + 8.0, cell.y + 42.0), "on", name);
        }
    }

    fn in_words(&self, panel: &Panel, value: f64) -> String {
        match (panel.words.iter().find(|(from, _)| *from == value.to_string()), panel.unit) {
            (Some((_, word)), _) => (*word).to_owned(),
            (None, "dateTimeFromNow") => format!("{:.0} s ago", self.to - value / 1000.0),
            (None, "s") => format!("{value:.2} s"),
            (None, _) => value.to_string(),
        }
    }

    /// A lane for each series.
    fn strips(&mut self, panel: &Panel, series: &[Named], frame: Frame) {
        let plot = Frame { height: frame.height - LEGEND, ..frame };
        let lane = (plot.height / series.len() as f64).min(36.0);
        for (index, Named { name, samples }) in series.iter().enumerate() {
            let top = plot.y + lane * index as f64;
            self.text((plot.x, top + 11.0), "small soft", name);
            for run in samples.chunk_by(|one, other| one.1 == other.1 && other.0 - one.0 < 2.0 * STEP_S) {
                let (begin, value) = run[0];
                let (x, end) = (self.x(begin, plot), self.x(run[run.len() - 1].0 + STEP_S, plot));
                let bar = Frame { x, y: top + 14.0, width: (end - x).max(1.0), height: lane - 17.0 };
                self.rect(bar, if value >= 1.0 { "good" } else { "off" });
                let word = self.in_words(panel, value);
                if value >= 1.0 && bar.width > LETTER * word.len() as f64 + 8.0 {
                    self.text((x + 4.0, top + 14.0 + bar.height / 2.0 + 4.0), "on", &word);
                }
            }
        }
        self.axis(plot, plot.y + lane * series.len() as f64);
    }

    /// Lines, or bars on one another.
    fn graph(&mut self, panel: &Panel, series: &[Named], frame: Frame) {
        let lines = legend_lines(series, frame.width);
        let plot = Frame {
            x: frame.x + 34.0,
            width: frame.width - 34.0,
            height: frame.height - LEGEND * (lines.len() as f64 + 1.0),
            ..frame
        };
        let is_bars = panel.shape == Shape::Bars;
        let at =
            |second: f64| series.iter().flat_map(move |one| one.samples.iter().filter(move |(at, _)| *at == second));
        let seconds = || (0..).map(|second| self.from + f64::from(second)).take_while(|at| *at <= self.to);
        let sums = seconds().map(|second| at(second).map(|(_, value)| value).sum::<f64>());
        let each = series.iter().flat_map(|one| &one.samples).map(|(_, value)| *value);
        let most = if is_bars { sums.fold(0.0, f64::max) } else { each.fold(0.0, f64::max) };
        let most = if most > 0.0 { most } else { 1.0 };
        let bottom = plot.y + plot.height;
        for (share, y) in [(1.0, plot.y + 8.0), (0.5, plot.y + plot.height / 2.0 + 4.0), (0.0, bottom)] {
            let unit = if panel.unit == "s" { " s" } else { "" };
            let digits = if most < 1.0 { 3 } else { 1 };
            self.text((frame.x, y), "small soft", &format!("{:.digits$}{unit}", most * share));
        }
        let mut below = std::collections::BTreeMap::<u64, f64>::new();
        for (index, one) in series.iter().enumerate() {
            let colour = index % COLOURS;
            if is_bars {
                for (second, value) in one.samples.iter().filter(|(_, value)| *value > 0.0) {
                    let height = value / most * plot.height;
                    let base = below.entry(second.to_bits()).or_insert(bottom);
                    *base -= height;
                    let (x, next) = (self.x(*second, plot), self.x(second + STEP_S, plot));
                    let bar = Frame { x, y: *base, width: next - x, height };
                    self.rect(bar, &format!("f{colour}"));
                }
            } else {
                for run in one.samples.chunk_by(|one, other| other.0 - one.0 < 2.0 * STEP_S) {
                    let point = |(at, value): &(f64, f64)| {
                        format!("{:.1},{:.1}", self.x(*at, plot), bottom - value / most * plot.height)
                    };
                    let points: Vec<_> = run.iter().map(point).collect();
                    let _ = writeln!(self.body, "<polyline class=\"l s{colour}\" points=\"{}\"/>", points.join(" "));
                }
            }
        }
        self.axis(plot, bottom);
        self.legend(&lines, (frame.x, bottom + LEGEND));
    }

    fn legend(&mut self, lines: &[Vec<(usize, String)>], (left, top): (f64, f64)) {
        let mut y = top;
        for line in lines {
            y += LEGEND;
            let mut x = left;
            for (index, name) in line {
                let mark = Frame { x, y: y - 8.0, width: 8.0, height: 8.0 };
                self.rect(mark, &format!("f{}", index % COLOURS));
                self.text((x + 11.0, y), "small soft", name);
                x += width_in_legend(name);
            }
        }
    }

    /// Seconds since the fault, which is marked.
    fn axis(&mut self, plot: Frame, bottom: f64) {
        let step = if self.to - self.fault > 60.0 { 20.0 } else { 10.0 };
        let mut second = -10.0;
        while self.fault + second <= self.to {
            let x = self.x(self.fault + second, plot);
            let class = if second == 0.0 { "fault" } else { "line" };
            let _ = writeln!(
                self.body,
                "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\"/>",
                plot.y
            );
            if second >= 0.0 {
                self.text((x, bottom + 11.0), "small soft", &format!("{second} s"));
            }
            second += step;
        }
    }

    fn x(&self, at: f64, plot: Frame) -> f64 {
        plot.x + (at.clamp(self.from, self.to) - self.from) / (self.to - self.from) * plot.width
    }

    fn rect(&mut self, Frame { x, y, width, height }: Frame, class: &str) {
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        );
    }

    fn text(&mut self, (x, y): (f64, f64), class: &str, text: &str) {
        let _ = writeln!(self.body, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(text));
    }
}

fn width_in_legend(name: &str) -> f64 {
    LETTER * name.chars().count() as f64 + 22.0
}

/// The names of the series, each with its place, line by line. Where there are too many, the last words say so.
fn legend_lines(series: &[Named], width: f64) -> Vec<Vec<(usize, String)>> {
    let mut lines: Vec<Vec<(usize, String)>> = Vec::new();
    let mut used = width;
    for (index, Named { name, .. }) in series.iter().enumerate() {
        used += width_in_legend(name);
        if used > width {
            lines.push(Vec::new());
            used = width_in_legend(name);
        }
        lines.last_mut().expect("the first name begins a line").push((index, name.clone()));
    }
    let hidden = lines.iter().skip(LINES).flatten().count();
    lines.truncate(LINES);
    if let Some((_, name)) = lines.last_mut().and_then(|line| line.last_mut()).filter(|_| hidden > 0) {
        let _ = write!(name, ", and {hidden} more");
    }
    lines
}
