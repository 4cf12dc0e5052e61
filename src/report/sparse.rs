//! The lines of the libraries go through [`Repeats`] like those of the report. A library that warns at each try would
//! otherwise fill the log of a night without credentials.

use std::fmt::{self, Write as _};
use std::sync::Mutex;

use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::locked::locked;
use super::repeats::{Repeats, gist};

/// The first part of the target of vipkeeper's own lines.
const OWN: &str = "vipkeeper";

/// Drops a warning or an error of a library that was logged shortly before. Lines below a warning are logged only where
/// the filter of the log asks for them, so each one of them is wanted.
#[derive(Debug, Default)]
pub struct Sparse {
    repeats: Mutex<Repeats>,
}

impl<S: Subscriber> Layer<S> for Sparse {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let is_own = metadata.target().split("::").next() == Some(OWN);
        if is_own || *metadata.level() > Level::WARN {
            return true;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let topic = format!("{} {} {}", metadata.level(), metadata.target(), metadata.name());
        locked(&self.repeats).failed(&topic, &gist(&text.0), Instant::now()).is_some()
    }
}

/// All fields of an event as one text.
#[derive(Debug, Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a string cannot fail.
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}
