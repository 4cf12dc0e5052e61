//! `vipkeeper status --events` and `vipkeeper report`: what happened, out of the files in the state folder or out of
//! documents of several nodes. Neither asks the daemon.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Format;
use crate::error::one_line;
use crate::machine::clock::boot_id;
use crate::shown;
use crate::status::VERSION;
use crate::status::document::StatusDocument;
use crate::status::event::file::{self as events_file, EventsError};
use crate::status::event::list::EventList;
use crate::status::event::stamp::Stamp;
use crate::status::event::{NodeEvent, shown as shown_event};
use crate::status::file as status_file;
use crate::status::page::{Colours, Style};
use crate::status::picture;
use crate::status::story::{NodeEvents, Story};

/// The largest document that is read.
const MOST_BYTES: u64 = 64 << 20;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum EventsCommandError {
    #[error(transparent)]
    Events(#[from] EventsError),
    /// The text of a [`status_file::ReadError`], which names its cause itself.
    #[error("{0}")]
    Status(String),
    #[error("cannot read the boot id of the kernel")]
    Boot(#[source] io::Error),
    #[error("cannot read {}", path.display())]
    Unread { path: PathBuf, source: io::Error },
    #[error("{} is longer than {} MiB, and no document of `vipkeeper status --json` is", path.display(), MOST_BYTES >> 20)]
    TooLong { path: PathBuf },
    #[error("{} is no document of `vipkeeper status --json`", path.display())]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("{} has version {found}, this program reads {VERSION}: they come from different releases", path.display())]
    Version { path: PathBuf, found: u64 },
    #[error("{} was no status: {}", path.display(), one_shown_line(message))]
    NoStatus { path: PathBuf, message: String },
    #[error("no VIP was gained or lost in this time, so there is nothing to draw")]
    NothingToDraw,
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

fn one_shown_line(text: &str) -> String {
    shown::line(text).into_owned()
}

/// The events in the state folder.
///
/// # Errors
/// Why they cannot be read. A folder without events is no error where a daemon of an older version has written a status.
pub fn read(state_dir: &Path) -> Result<EventList, EventsCommandError> {
    let boot = boot_id().map_err(EventsCommandError::Boot)?;
    match events_file::read(state_dir, &boot) {
        Err(EventsError::Missing(_)) if status_file::read(state_dir).is_ok() => Ok(EventList::default()),
        read => Ok(read?),
    }
}

/// Prints the events of this node that are at most `since` old.
///
/// # Errors
/// Why they cannot be read, or stdout cannot be written. A reader that went away is no error.
pub fn show(
    state_dir: &Path,
    since: Option<Duration>,
    format: Format,
    colours: Colours,
) -> Result<(), EventsCommandError> {
    let events = read(state_dir).inspect_err(|error| {
        if format == Format::Json {
            // The program that reads the output gets an object too. The line on stderr says it to people.
            let nothing = serde_json::json!({ "error": { "message": one_line(error) } });
            let _ = print(&(shown::json(format!("{nothing:#}")) + "\n"));
        }
    })?;
    let recent = shown_event::recent(&events, since, Stamp::now());
    let text = match format {
        Format::Page => page(recent, colours),
        Format::Json => {
            let recent: Vec<_> = recent.collect();
            let text =
                serde_json::to_string_pretty(&recent).map_err(|error| EventsCommandError::Output(error.into()))?;
            shown::json(text) + "\n"
        }
    };
    print(&text)
}

fn page<'a>(events: impl Iterator<Item = &'a NodeEvent>, colours: Colours) -> String {
    let mut events = events.peekable();
    if events.peek().is_none() {
        return "nothing happened in this time, as far as this node remembers\n".to_owned();
    }
    shown_event::table(events, style(colours))
}

fn style(colours: Colours) -> Style {
    let is_terminal = io::stdout().is_terminal();
    let size = if is_terminal { rustix::termios::tcgetwinsize(io::stdout()).ok() } else { None };
    let columns = size.map_or(80, |size| usize::from(size.ws_col).max(40));
    Style { width: is_terminal.then_some(columns), colour: is_terminal && colours == Colours::Allowed }
}

/// The scope and the form of a report.
#[derive(Debug, Clone)]
pub struct ReportOptions {
    pub since: Duration,
    pub vip: Option<IpAddr>,
    pub form: ReportForm,
    /// Documents of several nodes. Without any, this node's own files are read.
    pub documents: Vec<PathBuf>,
}

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportForm {
    /// All takeovers as text.
    Text,
    /// The newest takeover as a picture.
    Svg,
}

/// Prints the takeovers as timelines.
///
/// # Errors
/// Why the documents cannot be read, or that there is nothing to draw.
pub fn report(state_dir: &Path, options: &ReportOptions, colours: Colours) -> Result<(), EventsCommandError> {
    let nodes = if options.documents.is_empty() {
        let status = status_file::read(state_dir).map_err(|error| EventsCommandError::Status(error.to_string()))?;
        vec![NodeEvents::new(&status, read(state_dir)?)]
    } else {
        options.documents.iter().map(|path| document(path)).collect::<Result<_, _>>()?
    };
    let story = Story::of(nodes);
    let episodes = story.failovers(options.since, options.vip);
    let text = match options.form {
        ReportForm::Text => story.text(&episodes, style(colours)),
        ReportForm::Svg => {
            let newest = episodes.last().ok_or(EventsCommandError::NothingToDraw)?;
            picture::draw(&story, newest)
        }
    };
    print(&text)
}

/// Reads one node's document. The path may be a pipe, as a shell makes it of `<(ssh node vipkeeper status --json)`.
fn document(path: &Path) -> Result<NodeEvents, EventsCommandError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|source| EventsCommandError::Unread { path: path.to_owned(), source })?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(EventsCommandError::TooLong { path: path.to_owned() });
    }
    let malformed = |source| EventsCommandError::Malformed { path: path.to_owned(), source };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(malformed)?;
    // A node without a status says so in a document of its own.
    if let Some(message) = value.pointer("/error/message").and_then(serde_json::Value::as_str) {
        return Err(EventsCommandError::NoStatus { path: path.to_owned(), message: message.to_owned() });
    }
    // A document of another format may parse and mean something else.
    if let Some(found) = value.get("version").and_then(serde_json::Value::as_u64).filter(|it| *it != u64::from(VERSION))
    {
        return Err(EventsCommandError::Version { path: path.to_owned(), found });
    }
    let document: StatusDocument = serde_json::from_value(value).map_err(malformed)?;
    Ok(NodeEvents::new(&document.status, document.events))
}

fn print(text: &str) -> Result<(), EventsCommandError> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(EventsCommandError::Output(error)),
        _ => Ok(()),
    }
}
