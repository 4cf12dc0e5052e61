//! The signals by which systemd and operators steer the daemon.

use std::fmt;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Wake;
use super::parts::PartVoice;
use super::watcher::{WakeSource, Watcher, watch};

/// Turns SIGHUP into [`Wake::Config`], SIGTERM and SIGINT into [`Wake::Shutdown`]. Afterwards, until the process ends,
/// these signals do nothing else.
pub fn watch_signals(voice: impl Into<PartVoice>) -> Watcher {
    watch(Signals { opened: None }, voice.into())
}

struct Signals {
    opened: Option<[Signal; 3]>,
}

impl fmt::Display for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("signals")
    }
}

impl WakeSource for Signals {
    const WAKE: Wake = Wake::Part;

    fn open(&mut self) -> io::Result<()> {
        let kinds = [SignalKind::hangup(), SignalKind::terminate(), SignalKind::interrupt()];
        let [hangup, terminate, interrupt] = kinds.map(signal);
        self.opened = Some([hangup?, terminate?, interrupt?]);
        Ok(())
    }

    async fn changed(&mut self) -> io::Result<Wake> {
        let Some([hangup, terminate, interrupt]) = &mut self.opened else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let (wake, came) = tokio::select! {
            came = hangup.recv() => (Wake::Config, came),
            came = terminate.recv() => (Wake::Shutdown, came),
            came = interrupt.recv() => (Wake::Shutdown, came),
        };
        came.map(|()| wake).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
