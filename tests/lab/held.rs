//! Connections that clients have open when something happens, without timeouts or keepalives, as they are by default. The
//! active client asks each 0.1 s, the waiting one waits for an answer that does not come, and the quiet one asks its first
//! question 20 s after it connected.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

use super::client::{connect, now, query};
use super::machine::{Machine, enter};
use super::report::seconds;

const ACTIVE_EACH: Duration = Duration::from_millis(100);
const QUIET_FOR: Duration = Duration::from_secs(20);
/// A connection that works brings an answer within this time, also on a busy machine.
pub const HEARD: Duration = Duration::from_secs(1);
/// The query that the waiting client waits for, and the query that ends all those waits. The clients that are still connected
/// get the error `CANCELED` (PostgreSQL documentation, "PostgreSQL Error Codes": query_canceled).
const WAIT: &str = "select pg_sleep(86400)";
const CANCEL: &str = "select pg_cancel_backend(pid) from pg_stat_activity where query like 'select pg_sleep%'";
const CANCELED: &str = "C57014";

/// The end of a connection. The order is that of medians: the later a client knows, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fate {
    /// It was answered to the last.
    Lives,
    /// The client was told that the connection has ended, so long after the fault; a quiet client, after its question.
    Told(Duration),
    /// So long after that, the client knew nothing, and the connection did not work any more.
    Unaware(Duration),
}

impl Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lives => f.write_str("lives"),
            Self::Told(after) => f.write_str(&seconds(*after)),
            Self::Unaware(after) => write!(f, "**not within {:.0} s**", after.as_secs_f64()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fates {
    pub active: Fate,
    pub waiting: Fate,
    pub quiet: Fate,
}

impl Fates {
    pub fn all(self) -> [Fate; 3] {
        [self.active, self.waiting, self.quiet]
    }
}

/// The events of a connection, as its client has seen them. Times are since the Unix epoch.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    asked: Option<Duration>,
    answered: Option<Duration>,
    ended: Option<Duration>,
}

impl Seen {
    /// Whether the last question was answered, or the last but one, while the last is on its way.
    fn works(self) -> bool {
        let is_on_its_way = self.asked.is_some_and(|asked| now() < asked + HEARD);
        self.answered.is_some() && (self.answered >= self.asked || is_on_its_way)
    }

    /// `from`: when the client could have known first. `looked`: when the connection was tried for the last time; an end
    /// that came of this trial is none that the client would have seen without it.
    fn fate(self, from: Duration, looked: Duration) -> Fate {
        match self.ended {
            Some(ended) if ended < looked => Fate::Told(ended.saturating_sub(from)),
            None if self.works() => Fate::Lives,
            _ => Fate::Unaware(looked.saturating_sub(from)),
        }
    }
}

/// The three connections, until dropped.
pub struct Held {
    seen: Arc<[Mutex<Seen>; 3]>,
    /// True: the quiet client speaks now. Closed: all clients end.
    speak: Option<watch::Sender<bool>>,
    thread: Option<JoinHandle<()>>,
}

const ACTIVE: usize = 0;
const WAITING: usize = 1;
const QUIET: usize = 2;

impl Held {
    /// Returns when all three are connected and the first two have asked.
    pub fn open(machine: &Machine, server: SocketAddr) -> Self {
        let seen = Arc::<[Mutex<Seen>; 3]>::default();
        let (speak, spoken) = watch::channel(false);
        let (ready, is_ready) = mpsc::channel();
        let (network, log) = (machine.network(), Arc::clone(&seen));
        let thread = thread::spawn(move || {
            enter(&network);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let [one, two, three] = [connect(server).await, connect(server).await, connect(server).await];
                let (active, waiting, quiet) = (one.unwrap(), two.unwrap(), three.unwrap());
                let mut over = spoken.clone();
                ready.send(()).unwrap();
                tokio::select! {
                    _ = async { tokio::join!(be_active(active, &log), wait(waiting, &log), be_quiet(quiet, &log, spoken)) } => {}
                    () = async { while over.changed().await.is_ok() {} } => {}
                }
            });
        });
        let this = Self { seen, speak: Some(speak), thread: Some(thread) };
        is_ready.recv().expect("clients connect before anything happens");
        this
    }

    /// The quiet client asks its question now, if it has not yet.
    pub fn speak(&self) {
        if let Some(speak) = &self.speak {
            speak.send_replace(true);
        }
    }

    /// Whether waiting longer would show nothing new: the connections have ended, or they work.
    pub fn is_settled(&self) -> bool {
        let [active, waiting, quiet] = self.seen();
        let works = active.ended.is_none() && active.works();
        (works || (active.ended.is_some() && waiting.ended.is_some())) && (quiet.ended.is_some() || quiet.works())
    }

    /// Whether it is known of the waiting client's connection if it works.
    pub fn has_the_waiting_heard(&self) -> bool {
        let waiting = self.seen()[WAITING];
        waiting.ended.is_some() || waiting.works()
    }

    /// The ends of the connections, when the fault was at `at` and [`end_waits`] was called at `looked`.
    pub fn fates(&self, at: Duration, looked: Duration) -> Fates {
        let [active, waiting, quiet] = self.seen();
        let spoke = quiet.asked.unwrap_or(looked).max(at);
        Fates { active: active.fate(at, now()), waiting: waiting.fate(at, looked), quiet: quiet.fate(spoke, now()) }
    }

    fn seen(&self) -> [Seen; 3] {
        [ACTIVE, WAITING, QUIET].map(|one| *lock(&self.seen[one]))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.speak = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// From a machine that the database lets in: everything that waits there ends, and whoever waits is told.
pub fn end_waits(machine: &Machine, database: SocketAddr) {
    machine.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut stream = connect(database).await.unwrap();
            // No row: nobody waits any more.
            query(&mut stream, CANCEL).await.unwrap();
        });
    });
}

async fn be_active(mut stream: TcpStream, log: &[Mutex<Seen>; 3]) {
    while ask(&mut stream, "select 1", &log[ACTIVE]).await {
        sleep(ACTIVE_EACH).await;
    }
}

async fn wait(mut stream: TcpStream, log: &[Mutex<Seen>; 3]) {
    ask(&mut stream, WAIT, &log[WAITING]).await;
}

async fn be_quiet(mut stream: TcpStream, log: &[Mutex<Seen>; 3], mut spoken: watch::Receiver<bool>) {
    tokio::select! {
        () = sleep(QUIET_FOR) => {}
        _ = spoken.wait_for(|speak| *speak) => {}
    }
    ask(&mut stream, "select 1", &log[QUIET]).await;
}

/// Whether the question was answered; the end of the wait is an answer, too.
async fn ask(stream: &mut TcpStream, question: &str, seen: &Mutex<Seen>) -> bool {
    lock(seen).asked = Some(now());
    let answer = query(stream, question).await;
    let is_answered = answer.as_ref().map_or_else(|error| error.to_string().contains(CANCELED), |_| true);
    let at = Some(now());
    if is_answered {
        lock(seen).answered = at
    } else {
        lock(seen).ended = at
    }
    is_answered
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn an_end_that_only_the_last_look_brought_is_none_that_the_client_was_told() {
    let s = Duration::from_secs;
    let seen = |answered, ended| Seen { asked: Some(s(1)), answered, ended };
    assert_eq!(seen(None, Some(s(13))).fate(s(10), s(30)), Fate::Told(s(3)));
    assert_eq!(seen(None, Some(s(31))).fate(s(10), s(30)), Fate::Unaware(s(20)));
    assert_eq!(seen(None, None).fate(s(10), s(30)), Fate::Unaware(s(20)));
    assert_eq!(seen(Some(s(31)), None).fate(s(10), s(30)), Fate::Lives);
}
