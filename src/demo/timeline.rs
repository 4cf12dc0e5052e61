//! The demo's output while it runs: one line for each thing that a node does or notices.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::rc::Rc;

use tokio::time::Instant;

use crate::report::{Direction, News, Outcome};
use crate::status::DesiredRole;
use crate::status::page::Colours;

/// The terminal, and the time at which the demo started. Clones share both.
#[derive(Clone)]
pub struct Timeline(Rc<Screen>);

struct Screen {
    started: Instant,
    colours: Colours,
    /// The actions that failed and have not succeeded since, by node and action. A failure is shown once, not at each
    /// try.
    failing: RefCell<BTreeSet<(String, String)>>,
}

const BOLD: &str = "1";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "31";
const FAINT: &str = "2";

impl Timeline {
    pub fn start(colours: Colours) -> Self {
        Self(Rc::new(Screen { started: Instant::now(), colours, failing: RefCell::default() }))
    }

    /// Shows a text of any length as it is.
    #[expect(clippy::unused_self, reason = "everything that is shown goes through the timeline")]
    pub fn say(&self, text: &str) {
        show(text);
    }

    /// Shows that a scene begins.
    pub fn scene(&self, number: usize, title: &str) {
        show(&format!("\n{}", self.paint(BOLD, &format!("{number}. {title}"))));
    }

    /// Shows an event that comes to the cluster from outside.
    pub fn event(&self, text: &str) {
        show(&format!("{}  {}", self.time(), self.paint(BOLD, text)));
    }

    /// Shows that a scene came out right.
    pub fn right(&self, text: &str) {
        show(&format!("{}  {}", self.time(), self.paint(GREEN, &format!("right: {text}"))));
    }

    /// Shows that a scene came out wrong, and why.
    pub fn wrong(&self, text: &str) {
        show(&format!("{}  {}", self.time(), self.paint(RED, &format!("WRONG: {text}"))));
    }

    /// Shows a node's news, as far as a spectator wants to see them.
    pub fn news(&self, node: &str, news: &News<'_>) {
        let (colour, text) = match news {
            News::DesiredChanged { desired, .. } => {
                let (role, reason) = (DesiredRole::from(*desired), desired.why());
                let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                (FAINT, format!("is wanted as {role}{reason}"))
            }
            News::ActionDone { action, outcome, error, duration, .. } => match outcome {
                Outcome::Accepted | Outcome::Unchanged => {
                    self.0.failing.borrow_mut().remove(&(node.to_owned(), action.to_string()));
                    (GREEN, format!("{action} ({} ms)", duration.as_millis()))
                }
                _ => {
                    if !self.0.failing.borrow_mut().insert((node.to_owned(), action.to_string())) {
                        return;
                    }
                    (YELLOW, format!("{action}: {}; trying again and again", error.unwrap_or_default()))
                }
            },
            News::Drift { key, detail, .. } => (YELLOW, format!("drift: {key} {detail}")),
            News::Superseded { by, .. } => (YELLOW, format!("gives way to the newer claim of {by}")),
            News::Takeover { direction: Direction::Lost, .. } => (FAINT, "does not hold the VIP any more".to_owned()),
            News::Converged { after, .. } => {
                (GREEN, format!("converged, {:.2} s after its hook started", after.as_secs_f64()))
            }
            News::Contested { contested: true, .. } => (RED, "contested".to_owned()),
            News::Problem { message, .. } => (RED, (*message).to_owned()),
            _ => return,
        };
        show(&format!("{}  {node}  {}", self.time(), self.paint(colour, &text)));
    }

    fn time(&self) -> String {
        format!("{:>8.2} s", self.0.started.elapsed().as_secs_f64())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.0.colours == Colours::Allowed { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Writes a line to stdout. A reader that stops early, like `head`, does not end the demo.
fn show(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
