//! The task behind a watcher: it opens a source of wakes, sends the wakes, and opens the source anew after it broke.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use rustix::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use super::Wake;
use super::parts::PartVoice;

/// The delay after which a source that broke, or could not be opened, is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// A running watcher. The watcher ends when this value is dropped. It ends also when it sends a wake that nobody
/// receives any more.
#[derive(Debug)]
#[must_use = "a watcher that is dropped watches nothing"]
pub struct Watcher(pub(super) JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Something in the kernel that tells of changes. A source is displayed as the name of the thing that it watches.
pub(super) trait WakeSource: fmt::Display + Send + 'static {
    /// The wake that stands for all changes that went unnoticed while the source was broken.
    const WAKE: Wake;

    /// Opens the source, or opens it anew if it was open.
    fn open(&mut self) -> io::Result<()>;

    /// Returns once something changed, after taking all that the source had to tell. After an error the source must be
    /// opened anew.
    fn changed(&mut self) -> impl Future<Output = io::Result<Wake>> + Send;
}

/// Has the runtime tell when a descriptor can be read.
#[expect(deprecated, reason = "the deprecation is for types whose descriptor may change or close; an OwnedFd's cannot")]
pub(super) fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// Opens the source and starts a task that sends its wakes for as long as there is a loop to receive them. A source
/// that cannot be opened is tried again, at the start as well as later.
pub(super) fn watch<S: WakeSource>(mut source: S, voice: PartVoice) -> Watcher {
    let mut is_open = open(&mut source, &voice);
    Watcher(tokio::spawn(async move {
        loop {
            let wake = if is_open { source.changed().await } else { reopen(&mut source, &voice).await };
            match wake {
                Ok(wake) => {
                    is_open = true;
                    if voice.wakes.send(wake).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    is_open = false;
                    voice.tell(Err(format!("watching {source} broke and is tried again each second: {error}")));
                }
            }
        }
    }))
}

/// Opens the source, tells the outcome by the voice, and returns whether the source is open.
fn open<S: WakeSource>(source: &mut S, voice: &PartVoice) -> bool {
    let opened = source.open();
    let told = opened.map_err(|error| format!("{source} cannot be watched, which is tried again each second: {error}"));
    let is_open = told.is_ok();
    voice.tell(told);
    is_open
}

/// Tries to open a source again and again until it is open. Changes meanwhile went unnoticed, so the result is a wake.
async fn reopen<S: WakeSource>(source: &mut S, voice: &PartVoice) -> io::Result<Wake> {
    loop {
        tokio::time::sleep(REOPEN_AFTER).await;
        if open(source, voice) {
            return Ok(S::WAKE);
        }
    }
}
