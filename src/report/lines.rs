//! The lines of the log on their way to stderr. A separate thread writes the lines. A stderr that fails, or that nobody
//! reads, therefore neither ends nor delays the program. Lines that find no room are lost, and their number is logged
//! as soon as a line can be written again.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

use super::locked::locked;
use crate::shown;

/// How many bytes may wait to be written.
const ROOM: usize = 1 << 20;
/// How long the program's end waits for lines that are not written yet, and how long [`say`] waits for its line.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The pause before the next write to a stream that would block.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// The number of lines that this process lost so far. It only grows. The lines themselves cannot tell it while nobody
/// reads them.
static LOST: AtomicU64 = AtomicU64::new(0);

/// The number of lines of the log that this process lost so far.
#[must_use]
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// The form of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineForm {
    Text,
    /// One JSON object.
    Json,
    /// An entry of the journal, whose fields are fit to be written already.
    Entry,
}

/// A writer that takes lines at any time and never waits.
#[derive(Debug, Clone)]
pub struct Lines {
    shared: Arc<Shared>,
    form: LineForm,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    lost: u64,
    /// A line is being written that was already taken out of `lines`.
    writing: bool,
}

impl Waiting {
    fn lose(&mut self, lines: u64) {
        self.lost += lines;
        LOST.fetch_add(lines, Ordering::Relaxed);
    }
}

/// The open log. Dropping it waits until the remaining lines are written, but for at most a second.
#[derive(Debug)]
#[must_use = "the last lines of a log that is dropped at once may be lost"]
pub struct OpenLog(Lines);

impl Drop for OpenLog {
    fn drop(&mut self) {
        let shared = &self.0.shared;
        let under_way = |waiting: &mut Waiting| waiting.writing || !waiting.lines.is_empty();
        drop(shared.changed.wait_timeout_while(locked(&shared.waiting), LAST_WORDS, under_way));
    }
}

/// Writes one line to stderr, and waits at most a second for it.
pub fn say(text: &str) {
    let text = shown::line(text).into_owned() + "\n";
    let (done, is_done) = mpsc::channel();
    // Another thread may hold std's lock of stderr for as long as nobody reads.
    let said = stderr().and_then(|mut stream| {
        std::thread::Builder::new().spawn(move || {
            let _ = stream.write_all(text.as_bytes());
            let _ = done.send(());
        })
    });
    if said.is_ok() {
        let _ = is_done.recv_timeout(LAST_WORDS);
    }
}

/// Stderr as a file of its own.
pub(super) fn stderr() -> io::Result<File> {
    Ok(io::stderr().as_fd().try_clone_to_owned()?.into())
}

impl Lines {
    /// Starts the thread that writes to the stream.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn to(stream: impl Write + Send + 'static, form: LineForm) -> io::Result<Self> {
        let lines = Self { shared: Arc::default(), form };
        let shared = Arc::clone(&lines.shared);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_to(stream))?;
        Ok(lines)
    }

    pub fn open(&self) -> OpenLog {
        OpenLog(self.clone())
    }

    fn take(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut line = match self.form {
            LineForm::Text => shown::line(text).into_owned(),
            LineForm::Json => shown::json_line(text),
            LineForm::Entry => text.to_owned(),
        };
        line.push('\n');
        let mut waiting = locked(&self.shared.waiting);
        if waiting.bytes + line.len() > ROOM {
            waiting.lose(1);
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line.into_bytes());
        self.shared.changed.notify_all();
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// tracing writes each event with one call of `write`.
impl Write for &Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    /// Writes the lines as they come, for ever.
    fn write_to(&self, mut stream: impl Write) {
        // Whether the last line was written in part only: the next one then begins on a new line.
        let mut torn = false;
        loop {
            let mut line = self.next();
            if torn {
                line.insert(0, b'\n');
            }
            let written = self.write_whole(&mut stream, &line);
            let is_written = written == line.len();
            torn = !is_written && (torn || written > 0);
            let lost = {
                let mut waiting = locked(&self.waiting);
                waiting.lose(u64::from(!is_written));
                // The number of lost lines is logged only when there is room for that line.
                let is_told = is_written && waiting.bytes < ROOM / 2;
                if is_told { std::mem::take(&mut waiting.lost) } else { 0 }
            };
            if lost > 0 {
                warn!(lost, "earlier lines of the log are lost: they could not be written, or nobody read them");
            }
            locked(&self.waiting).writing = false;
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Vec<u8> {
        let mut waiting = locked(&self.waiting);
        loop {
            if let Some(line) = waiting.lines.pop_front() {
                waiting.bytes -= line.len();
                waiting.writing = true;
                return line;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Gives the number of bytes that were written. After an error that is fewer than the whole line.
    fn write_whole(&self, stream: &mut impl Write, line: &[u8]) -> usize {
        let mut written = 0;
        while written < line.len() {
            match stream.write(&line[written..]) {
                Ok(0) => break,
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    drop(self.changed.wait_timeout(locked(&self.waiting), TRY_AGAIN));
                }
                Err(_) => break,
            }
        }
        written
    }
}
