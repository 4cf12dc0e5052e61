//! `vipkeeper demo`: three nodes in one process, each the real daemon loop over the real SDK, against the embedded EC2
//! endpoint. Only the nodes' kernels are made up: their local addresses are in memory, so that no root is needed.

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

mod cluster;
pub mod kernel;
mod network;
mod scenes;
mod timeline;

/// What every call to EC2 takes, as in life.
const LATENCY: Duration = Duration::from_millis(150);

/// Plays every scene, shows what the nodes do meanwhile, and says whether each came out right. With `keep` it goes on
/// afterwards until interrupted; then it was no failure to be.
///
/// # Errors
/// When the demo itself cannot be set up: no loopback listener, no temporary folder.
pub async fn run(keep: bool, colour: bool) -> anyhow::Result<bool> {
    // Before anything is made that is to be cleared away.
    let interrupted = interrupted()?;
    let local = LocalSet::new();
    let playing = local.run_until(play(keep, colour));
    tokio::select! {
        passed = playing => passed,
        // What the demo made goes when it is dropped; a signal's own way out would leave it.
        () = interrupted => Ok(keep),
    }
}

/// Waits for SIGINT or SIGTERM, also for one that comes before anybody waits.
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

async fn play(keep: bool, colour: bool) -> anyhow::Result<bool> {
    let timeline = Timeline::start(colour);
    let mut cluster = Cluster::start(LATENCY, timeline.clone()).await?;
    timeline.say(&cluster.introduction());
    let results = scenes::play(&mut cluster, &timeline).await?;
    let passed = results.iter().all(scenes::SceneResult::came_out_right);
    timeline.say(&scenes::table(&results));
    if keep {
        timeline.say(&cluster.invitation());
        std::future::pending::<()>().await;
    }
    Ok(passed)
}

/// Only serves the endpoint, with the demo's network behind it, until interrupted.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve_ec2(address: SocketAddr) -> anyhow::Result<()> {
    let interrupted = interrupted()?;
    let network = Network::new(Duration::ZERO)?;
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let served = network.serve(listener).await?;
    // Whoever does not read it may still be served.
    let _ = writeln!(std::io::stdout(), "{}", served.introduction());
    interrupted.await;
    Ok(())
}
