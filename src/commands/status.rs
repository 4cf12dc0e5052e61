//! `vipkeeper status`: reads the status file, asks the daemon nothing, and ends with an exit code for scripts.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use super::{Format, events};
use crate::machine::hindrance::Hindrance;
use crate::machine::process;
use crate::shown;
use crate::status::document::StatusDocument;
use crate::status::event::list::EventList;
use crate::status::file::{self, ReadError};
use crate::status::layout::clean;
use crate::status::page::{Colours, DaemonLife, Overall, Style, page};

/// The exit code when nothing can be told: there is no status, the status is unreadable, or the status is old.
const CANNOT_TELL: u8 = 1;

/// How often the status is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Once,
    /// Each second, until the command is interrupted or nobody reads its output any more.
    Watch,
}

/// Shows the status in `state_dir` on stdout, and gives the exit code: 0 in sync, 2 needs attention, 1 could not tell.
/// With `Colours::Allowed`, a page on a terminal has colours.
///
/// # Errors
/// When stdout cannot be written. A reader that went away is no error.
pub fn show(state_dir: &Path, format: Format, mode: Mode, colours: Colours) -> io::Result<u8> {
    let mut code = CANNOT_TELL;
    match show_until(state_dir, format, mode, colours, &mut code) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(code),
        result => result.map(|()| code),
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing else happens between two looks, and an interrupt ends it")]
fn show_until(state_dir: &Path, format: Format, mode: Mode, colours: Colours, code: &mut u8) -> io::Result<()> {
    let is_terminal = io::stdout().is_terminal();
    loop {
        let size = if is_terminal { rustix::termios::tcgetwinsize(io::stdout()).ok() } else { None };
        let columns = size.map_or(80, |size| usize::from(size.ws_col).max(40));
        let style = Style { width: is_terminal.then_some(columns), colour: is_terminal && colours == Colours::Allowed };
        let shown;
        let reading = StatusRead::of(state_dir, || events_of(state_dir, format, mode));
        (shown, *code) = once(&reading, format, mode, style);
        let mut out = io::stdout().lock();
        if mode == Mode::Watch && is_terminal {
            out.write_all(redrawn(&shown, size.map_or(24, |size| usize::from(size.ws_row))).as_bytes())?;
        } else {
            out.write_all(shown.as_bytes())?;
        }
        out.flush()?;
        drop(out);
        if mode == Mode::Once {
            return Ok(());
        }
        sleep(Duration::from_secs(1));
    }
}

/// The events beside the status, where they are shown. A status without readable events is shown all the same:
/// `vipkeeper status --events` says what is wrong with the events.
fn events_of(state_dir: &Path, format: Format, mode: Mode) -> EventList {
    match (format, mode) {
        (Format::Page, _) | (Format::Json, Mode::Once) => events::read(state_dir).unwrap_or_default(),
        (Format::Json, Mode::Watch) => EventList::default(),
    }
}

/// The status as it was read, and what can be seen of its daemon.
struct StatusRead {
    document: Result<StatusDocument, ReadError>,
    daemon: DaemonLife,
    now_ms: u64,
}

impl StatusRead {
    fn of(state_dir: &Path, events: impl FnOnce() -> EventList) -> Self {
        let (status, now_ms) = (file::read(state_dir), crate::machine::clock::wall_ms());
        let daemon = match &status {
            Ok(status) if !process::exists(status.pid) => DaemonLife::Gone,
            // Only a status that is old needs a reason.
            Ok(status) if Overall::of(status, DaemonLife::Alive, now_ms) == Overall::Stale => {
                Hindrance::of(status.pid, state_dir).map_or(DaemonLife::Alive, DaemonLife::Hindered)
            }
            Ok(_) | Err(_) => DaemonLife::Alive,
        };
        let document = status.map(|status| StatusDocument { status, events: events() });
        Self { document, daemon, now_ms }
    }
}

/// The text to show for one reading of the status, and the exit code.
fn once(read: &StatusRead, format: Format, mode: Mode, style: Style) -> (String, u8) {
    let StatusRead { daemon, now_ms, .. } = *read;
    let document = match &read.document {
        Ok(document) => document,
        Err(error) => {
            let shown = match (format, mode) {
                (Format::Page, _) => unreadable(error, style),
                (Format::Json, Mode::Watch) => json(serde_json::to_string(&NoStatus::from(error))),
                (Format::Json, Mode::Once) => json(serde_json::to_string_pretty(&NoStatus::from(error))),
            };
            return (shown, CANNOT_TELL);
        }
    };
    let status = &document.status;
    let code = Overall::of(status, daemon, now_ms).exit_code();
    let shown = match (format, mode) {
        (Format::Page, _) => page(document, daemon, now_ms, style),
        // One line for each status, for programs that follow the output. The events would be most of each line.
        (Format::Json, Mode::Watch) => json(serde_json::to_string(status)),
        (Format::Json, Mode::Once) => json(serde_json::to_string_pretty(document)),
    };
    (shown, code)
}

fn json(text: serde_json::Result<String>) -> String {
    let text = text.expect("a status has no map with keys other than text, and its parts cannot fail to serialize");
    shown::json(text) + "\n"
}

fn unreadable(error: &ReadError, style: Style) -> String {
    style.paragraph(0, "what  ", &clean(&error.to_string())) + &style.paragraph(0, "do    ", to_do(error))
}

/// The JSON object that a program reads where there is no status. Its only member is `error`.
#[derive(Debug, Serialize)]
struct NoStatus {
    error: NoStatusError,
}

#[derive(Debug, Serialize)]
struct NoStatusError {
    /// `Missing`, `NotPermitted`, `Unusable`, `Malformed` or `Version`.
    reason: &'static str,
    message: String,
    to_do: &'static str,
}

impl From<&ReadError> for NoStatus {
    fn from(error: &ReadError) -> Self {
        let reason = match error {
            ReadError::Missing(_) => "Missing",
            ReadError::NotPermitted(_) => "NotPermitted",
            ReadError::Unusable { .. } => "Unusable",
            ReadError::Malformed { .. } => "Malformed",
            ReadError::Version { .. } => "Version",
        };
        Self { error: NoStatusError { reason, message: error.to_string(), to_do: to_do(error) } }
    }
}

fn to_do(error: &ReadError) -> &'static str {
    match error {
        ReadError::Missing(_) => {
            "'systemctl status vipkeeper' and 'systemctl start vipkeeper'; or --config names another config than the daemon's"
        }
        ReadError::NotPermitted(_) => "run it as root, or let this user pass through the folders above the file",
        ReadError::Version { .. } => "'systemctl restart vipkeeper': it moves no address",
        ReadError::Unusable { .. } | ReadError::Malformed { .. } => {
            "'systemctl status vipkeeper', 'journalctl -u vipkeeper'"
        }
    }
}

/// The page, drawn over the page before it. The screen does not flicker, because it is never empty between the two
/// pages.
fn redrawn(page: &str, rows: usize) -> String {
    let mut screen = String::from("\x1b[H");
    for line in page.lines().take(rows.saturating_sub(1)) {
        screen += line;
        screen += "\x1b[K\r\n";
    }
    screen + "\x1b[J"
}
