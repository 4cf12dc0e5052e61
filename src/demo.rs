//! `vipkeeper demo` runs three nodes in one process. Each node is the real daemon loop over the real SDK, against the
//! embedded EC2 endpoint. Only the nodes' kernels are simulated: the local addresses are in memory, so that the demo
//! needs no root.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use self::cluster::Cluster;
use self::network::Network;
use self::timeline::Timeline;
use crate::status::page::Colours;

mod cluster;
pub mod kernel;
mod network;
mod scenes;
mod timeline;

/// The duration of every call to EC2, as in real life.
const LATENCY: Duration = Duration::from_millis(150);

/// The demo's course after the last scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    End,
    /// The cluster goes on until it is interrupted.
    KeepRunning,
}

/// Plays every scene, shows what the nodes do meanwhile, and says whether every scene came out right. A
/// cluster that keeps running counts an interrupt as success.
///
/// # Errors
/// When the demo itself cannot be set up: no loopback listener, no temporary folder.
pub async fn run(afterwards: Afterwards, colours: Colours) -> anyhow::Result<bool> {
    // Signals are caught before the demo makes anything that must be removed at the end.
    let interrupted = interrupted()?;
    let local = LocalSet::new();
    let playing = local.run_until(play(afterwards, colours));
    tokio::select! {
        passed = playing => passed,
        // The demo's files are removed when their owner is dropped. A signal that ended the process at once would leave
        // them.
        () = interrupted => Ok(afterwards == Afterwards::KeepRunning),
    }
}

/// Catches SIGINT and SIGTERM from now on. The returned future ends with the first such signal, also if the signal came
/// before anybody awaited the future.
fn interrupted() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

async fn play(afterwards: Afterwards, colours: Colours) -> anyhow::Result<bool> {
    let timeline = Timeline::start(colours);
    let mut cluster = Cluster::start(LATENCY, timeline.clone()).await?;
    timeline.say(&cluster.introduction());
    let results = scenes::play(&mut cluster, &timeline).await?;
    let passed = results.iter().all(scenes::SceneResult::came_out_right);
    timeline.say(&scenes::table(&results));
    if afterwards == Afterwards::KeepRunning {
        timeline.say(&cluster.invitation());
        std::future::pending::<()>().await;
    }
    Ok(passed)
}

/// Serves the EC2 endpoint alone, with the demo's network behind it, until interrupted.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve_ec2(address: SocketAddr) -> anyhow::Result<()> {
    let interrupted = interrupted()?;
    let network = Network::new(Duration::ZERO)?;
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let served = network.serve(listener).await?;
    // The endpoint serves clients also if nobody can read the introduction.
    let _ = writeln!(std::io::stdout(), "{}", served.introduction());
    interrupted.await;
    Ok(())
}
