//! The client: opens a connection through the VIP and runs a query each 50 ms, whatever becomes of the ones before.
//! The query asks PostgreSQL where it was called from, so each answer names the Pgpool node that it came through.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::machine::{Machine, enter};

const EACH: Duration = Duration::from_millis(50);
/// Short of the first retransmission of a SYN (1 s): a probe shows what was true when it began.
const PATIENCE: Duration = Duration::from_millis(900);

/// One query that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// Since the Unix epoch, as all times of the lab.
    pub at: Duration,
    /// The Pgpool node that it came through.
    pub through: Ipv4Addr,
}

pub struct Client {
    answers: Arc<Mutex<Vec<Answer>>>,
    /// When each query that failed had begun.
    failures: Arc<Mutex<Vec<Duration>>>,
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The lab's clock, which the hooks read too.
pub fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

impl Client {
    /// Asks from `machine` until dropped.
    pub fn start(machine: &Machine, server: SocketAddr) -> Self {
        Self::start_with_patience(machine, server, PATIENCE)
    }

    /// A client that gives each query up after `patience`.
    pub fn start_with_patience(machine: &Machine, server: SocketAddr, patience: Duration) -> Self {
        let answers = Arc::<Mutex<Vec<Answer>>>::default();
        let failures = Arc::<Mutex<Vec<Duration>>>::default();
        let (stop, stopped) = watch::channel(());
        let network = machine.network();
        let log = (Arc::clone(&answers), Arc::clone(&failures));
        let thread = thread::spawn(move || probe(&network, (server, patience), &log, stopped));
        Self { answers, failures, stop: Some(stop), thread: Some(thread) }
    }

    /// All answers, in the order in which they came.
    pub fn answers(&self) -> Vec<Answer> {
        lock(&self.answers).clone()
    }

    /// How many queries have begun since `from` and failed, or had no answer in time.
    pub fn failures_since(&self, from: Duration) -> usize {
        lock(&self.failures).iter().filter(|began| **began >= from).count()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Log = (Arc<Mutex<Vec<Answer>>>, Arc<Mutex<Vec<Duration>>>);

fn lock<T>(log: &Mutex<T>) -> MutexGuard<'_, T> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn probe(network: &File, (server, patience): (SocketAddr, Duration), log: &Log, mut stopped: watch::Receiver<()>) {
    enter(network);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut tick = tokio::time::interval(EACH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = stopped.changed() => return,
            }
            let (answers, failures) = log.clone();
            tokio::spawn(async move {
                let began = now();
                match tokio::time::timeout(patience, ask(server)).await {
                    Ok(Ok(through)) => lock(&answers).push(Answer { at: now(), through }),
                    _ => lock(&failures).push(began),
                }
            });
        }
    });
}

/// Which node the answer came through.
async fn ask(server: SocketAddr) -> io::Result<Ipv4Addr> {
    let mut stream = connect(server).await?;
    let row = query(&mut stream, "select host(inet_client_addr())").await?.ok_or(io::ErrorKind::InvalidData)?;
    stream.write_all(&[b'X', 0, 0, 0, 4]).await?;
    // The number of columns, the length of the first, and it.
    let text = row.get(6..).and_then(|text| std::str::from_utf8(text).ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A session of user postgres (PostgreSQL documentation, "Message Formats": startup).
pub async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let parameters = b"user\0postgres\0database\0postgres\0\0";
    let mut startup = u32::try_from(8 + parameters.len()).unwrap().to_be_bytes().to_vec();
    startup.extend(196_608_u32.to_be_bytes());
    startup.extend(parameters);
    stream.write_all(&startup).await?;
    until_ready(&mut stream).await?;
    Ok(stream)
}

/// The last row of a simple query's answer.
pub async fn query(stream: &mut TcpStream, query: &str) -> io::Result<Option<Vec<u8>>> {
    let mut message = vec![b'Q'];
    message.extend(u32::try_from(5 + query.len()).unwrap().to_be_bytes());
    message.extend(query.bytes().chain([0]));
    stream.write_all(&message).await?;
    until_ready(stream).await
}

/// Reads up to ReadyForQuery; gives the last DataRow on the way.
async fn until_ready(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut row = None;
    loop {
        let kind = stream.read_u8().await?;
        let length = usize::try_from(stream.read_u32().await?).unwrap();
        let mut body = vec![0; length.saturating_sub(4)];
        stream.read_exact(&mut body).await?;
        match kind {
            b'D' => row = Some(body),
            b'E' => return Err(io::Error::other(String::from_utf8_lossy(&body).into_owned())),
            b'Z' => return Ok(row),
            _ => {}
        }
    }
}
