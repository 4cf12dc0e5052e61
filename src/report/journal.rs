//! The log as the journal of systemd takes it natively (systemd.journal-fields(7)): an entry for each line, with fields by
//! which entries can be found. One datagram is one entry, so that no text can end an entry or begin another one.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::shown;
use crate::status::event::EventKind;

/// The journal's socket, sd_journal_print(3).
const SOCKET: &str = "/run/systemd/journal/socket";

thread_local! {
    /// The kind of the event whose line this thread logs just now.
    static KIND: Cell<Option<EventKind>> = const { Cell::new(None) };
}

/// Logs lines that tell of an event of this kind.
pub(super) fn told_as<T>(kind: Option<EventKind>, tell: impl FnOnce() -> T) -> T {
    let before = KIND.replace(kind);
    let told = tell();
    KIND.set(before);
    told
}

/// The priority of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// Text without time, level and target, because the journal has these itself.
fn plain() -> Format<Full, ()> {
    Format::default().without_time().with_level(false).with_target(false).with_ansi(false)
}

/// Formats a line for the stream that systemd connected to the journal: the level as a priority that the journal reads, then
/// the text.
pub(super) struct StreamLine(Format<Full, ()>);

impl Default for StreamLine {
    fn default() -> Self {
        Self(plain())
    }
}

impl<S, N> FormatEvent<S, N> for StreamLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(ctx, writer, event)
    }
}

/// Formats a line as an entry of the journal. `MESSAGE` is the line as it would stand in a stream.
pub(super) struct JournalEntry(Format<Full, ()>);

impl Default for JournalEntry {
    fn default() -> Self {
        Self(plain())
    }
}

impl<S, N> FormatEvent<S, N> for JournalEntry
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        let mut entry = Fields(String::new());
        entry.put("MESSAGE", line.trim_end_matches('\n'));
        entry.put("PRIORITY", &priority(*event.metadata().level()).to_string());
        entry.put("SYSLOG_IDENTIFIER", "vipkeeper");
        if let Some(kind) = KIND.get() {
            entry.put("MESSAGE_ID", kind.message_id());
            entry.put("VIPKEEPER_EVENT", kind.name());
        }
        event.record(&mut entry);
        writer.write_str(&entry.0)
    }
}

/// The fields of an entry, a line for each. No value holds a line's end.
struct Fields(String);

impl Fields {
    fn put(&mut self, name: &str, value: &str) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, "{name}={}", shown::line(value));
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        let name = match field.name() {
            "message" => return,
            "kind" => "BINDING_KIND".to_owned(),
            "target" => "BINDING_TARGET".to_owned(),
            // Names of fields are the program's own words, which are letters and underscores.
            name => name.to_ascii_uppercase(),
        };
        self.put(&format!("VIPKEEPER_{name}"), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// The way to the journal: its socket, and the stream that systemd gave this process in case the socket takes nothing.
pub(super) struct Journal<W> {
    socket: UnixDatagram,
    path: PathBuf,
    stream: W,
}

impl Journal<File> {
    /// The journal of this machine; `None` if this process cannot reach its socket.
    pub(super) fn of_machine(stream: File) -> Option<Self> {
        UnixDatagram::unbound().and_then(|probe| probe.connect(SOCKET)).ok()?;
        Some(Self { socket: UnixDatagram::unbound().ok()?, path: PathBuf::from(SOCKET), stream })
    }
}

impl<W: Write> Write for Journal<W> {
    /// Sends one entry. An entry that the socket does not take goes into the stream, without its fields. The socket is
    /// found anew for each entry, because the journal's service may have been started anew.
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        match self.socket.send_to(entry, &self.path) {
            Ok(_) => Ok(entry.len()),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => Err(error),
            Err(_) => {
                let entry_text = String::from_utf8_lossy(entry);
                let field = |name| entry_text.lines().find_map(|line| line.strip_prefix(name));
                let (message, priority) = (field("MESSAGE=").unwrap_or_default(), field("PRIORITY=").unwrap_or("6"));
                self.stream.write_all(format!("<{priority}>{message}\n").as_bytes())?;
                Ok(entry.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use tracing::subscriber::with_default;
    use tracing::{info, warn};

    use super::*;
    use crate::report::{News, Report, Reporter};

    /// Formats what `tell` logs, and sends it through a journal whose socket is in `folder`.
    fn sent(folder: &Path, stream: &mut Vec<u8>, tell: impl FnOnce()) {
        let (read, write) = io::pipe().unwrap();
        let writer = std::sync::Mutex::new(write);
        let subscriber = tracing_subscriber::fmt().event_format(JournalEntry::default()).with_writer(writer).finish();
        with_default(subscriber, tell);
        let mut entry = Vec::new();
        io::Read::read_to_end(&mut { read }, &mut entry).unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        let mut journal = Journal { socket, path: folder.join("socket"), stream };
        journal.write_all(&entry).unwrap();
    }

    fn fields(entry: &str) -> Vec<&str> {
        entry.lines().collect()
    }

    #[test]
    fn an_entry_has_the_events_id_and_fields_and_no_text_adds_one() {
        let folder = tempfile::tempdir().unwrap();
        let journal = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        let hostile = "denied\nMESSAGE_ID=00000000000000000000000000000000\nPRIORITY=0";
        let mut stream = Vec::new();
        sent(folder.path(), &mut stream, || {
            told_as(Some(EventKind::ChangeFailed), || {
                warn!(vip = %"20.0.0.50", kind = "route", target = "rtb-1", outcome = "denied", reason = hostile, "{hostile}");
            });
        });
        let mut bytes = [0; 4096];
        let length = journal.recv(&mut bytes).unwrap();
        let entry = String::from_utf8(bytes[..length].to_vec()).unwrap();
        let told = fields(&entry);
        assert!(told[0].starts_with("MESSAGE=denied\\nMESSAGE_ID="), "{entry}");
        assert_eq!(
            told[1..5],
            [
                "PRIORITY=4",
                "SYSLOG_IDENTIFIER=vipkeeper",
                &*format!("MESSAGE_ID={}", EventKind::ChangeFailed.message_id()),
                "VIPKEEPER_EVENT=change_failed",
            ]
        );
        for field in ["VIP=20.0.0.50", "BINDING_KIND=route", "BINDING_TARGET=rtb-1", "OUTCOME=denied"] {
            assert!(told.contains(&&*format!("VIPKEEPER_{field}")), "{field}: {entry}");
        }
        assert_eq!(told.len(), 10, "no field comes out of a text: {entry}");
        assert!(stream.is_empty());
    }

    #[test]
    fn an_entry_that_the_socket_does_not_take_goes_into_the_stream() {
        let folder = tempfile::tempdir().unwrap();
        let mut stream = Vec::new();
        sent(folder.path(), &mut stream, || info!("started"));
        assert_eq!(String::from_utf8(stream).unwrap(), "<6>started\n");
    }

    #[test]
    fn the_line_about_an_event_has_the_id_of_the_events_kind() {
        let folder = tempfile::tempdir().unwrap();
        let journal = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        let report = Report::new(&[], None, Duration::from_secs(90));
        let contested = News::Contested { vip: "20.0.0.50".parse().unwrap(), contested: true };
        sent(folder.path(), &mut Vec::new(), || report.news(&contested));
        let mut bytes = [0; 4096];
        let length = journal.recv(&mut bytes).unwrap();
        let entry = String::from_utf8_lossy(&bytes[..length]);
        let id =
            format!("\nPRIORITY=3\nSYSLOG_IDENTIFIER=vipkeeper\nMESSAGE_ID={}\n", EventKind::Contested.message_id());
        assert!(entry.contains(&id), "{entry}");
    }

    #[test]
    fn a_line_outside_an_event_has_no_id_of_one() {
        told_as(Some(EventKind::Gained), || ());
        assert_eq!(KIND.get(), None);
    }
}
