//! How soon a leader takes what a hook asks for while others ask its listener for all that it can say, and how soon the
//! listener answers a probe then.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::stage::machine::Machine;
use crate::stage::{ROUTED, Stage};
use crate::{Table, Times, leading};

const VIPS: usize = 50;
const ROUNDS: usize = 10;
/// Clients that ask again as soon as they were answered.
const CLIENTS: usize = 8;
/// Clients that connect and never say what they want.
const HALF_OPEN: usize = 400;
/// Until the rate limit owes nothing any more: leaderships are not seconds apart.
const CALM: Duration = Duration::from_secs(6);
/// The answers that a flood has got before anything is measured in it.
const UNDER_WAY: u64 = 100;
const ADDRESS: &str = "127.0.0.1:9813";

pub fn measure(table: &mut Table) -> Option<()> {
    let stage = Stage::new(1, 2)?;
    let machine = &stage.machines[0];
    let _daemon = leading(&stage, VIPS, &machine.header());
    let (mut quiet, mut flooded, mut answers) = (Times::default(), Times::default(), Answers::default());
    // Rounds with and without the flood take turns, so that another load on this machine falls on both alike.
    for _ in 0..ROUNDS {
        stand_down(machine);
        quiet.add(hook_to_address(machine));
        stand_down(machine);
        let flood = Flood::under_way(machine);
        let before = flood.count();
        flooded.add(hook_to_address(machine));
        answers.add(&before, &flood.count());
    }
    let half_open = connect_half_open(machine);
    let mut probes = Times::default();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        assert_eq!(machine.get("/healthz").map(|(status, _)| status), Some(200));
        probes.add(began.elapsed());
    }
    drop(half_open);
    table.row(&format!("up to local address, {VIPS} VIPs"), &quiet.text(), "");
    let ratio = flooded.median().as_secs_f64() / quiet.median().as_secs_f64();
    let what = format!("the same while {CLIENTS} clients ask for /metrics without end");
    table.row(&what, &format!("{}, ratio {ratio:.2}", flooded.text()), "ratio 1.5");
    table.row("the answers that these clients get meanwhile", &answers.text(), "some");
    table.row(&format!("/healthz while {HALF_OPEN} clients have connected and ask nothing"), &probes.text(), "100 ms");
    Some(())
}

fn stand_down(machine: &Machine) {
    machine.hook("down", ROUTED);
    while machine.has(ROUTED) {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(CALM);
}

fn hook_to_address(machine: &Machine) -> Duration {
    let began = Instant::now();
    machine.hook("up", ROUTED);
    while !machine.has(ROUTED) {
        thread::sleep(Duration::from_micros(100));
    }
    began.elapsed()
}

/// The number of answers that a flood has got so far, the number of its questions without an answer, and the time.
struct Count {
    answered: u64,
    unanswered: u64,
    at: Instant,
}

/// The answers that floods got while something was measured in them.
#[derive(Default)]
struct Answers {
    answered: u64,
    unanswered: u64,
    time: Duration,
    least_in_a_round: Option<u64>,
}

impl Answers {
    fn add(&mut self, before: &Count, after: &Count) {
        let answered = after.answered - before.answered;
        self.answered += answered;
        self.unanswered += after.unanswered - before.unanswered;
        self.time += after.at - before.at;
        self.least_in_a_round = Some(self.least_in_a_round.map_or(answered, |least| least.min(answered)));
    }

    /// "4812 (2406 a second, at least 37 a round), 3 refused".
    fn text(&self) -> String {
        let Self { answered, unanswered, time, least_in_a_round } = self;
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let rate = *answered as f64 / time.as_secs_f64();
        let least = least_in_a_round.unwrap_or_default();
        format!("{answered} ({rate:.0} a second, at least {least} a round), {unanswered} refused")
    }
}

/// Ends when it is dropped.
struct Flood {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    unanswered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Flood {
    /// A flood that has got answers. Without answers there is no flood, and nothing to measure.
    fn under_way(machine: &Machine) -> Self {
        let flood = Self::start(machine);
        let began = Instant::now();
        while flood.count().answered < UNDER_WAY {
            let answered = flood.count().answered;
            assert!(began.elapsed() < Duration::from_secs(30), "the flood got {answered} answers in 30 s");
            thread::sleep(Duration::from_millis(1));
        }
        flood
    }

    fn start(machine: &Machine) -> Self {
        let (is_over, answered, unanswered) = (Arc::<AtomicBool>::default(), Arc::default(), Arc::default());
        let (ends, gets, misses) = (Arc::clone(&is_over), Arc::clone(&answered), Arc::clone(&unanswered));
        // A thread inherits the namespaces of the one that starts it.
        let clients = machine.inside(move |_| {
            let client = |_| {
                let (is_over, answered, unanswered): (_, Arc<AtomicU64>, Arc<AtomicU64>) =
                    (Arc::clone(&ends), Arc::clone(&gets), Arc::clone(&misses));
                thread::spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        // A client that is turned away comes again.
                        let count = if ask().is_ok_and(|is_whole| is_whole) { &answered } else { &unanswered };
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                })
            };
            (0..CLIENTS).map(client).collect()
        });
        Self { is_over, answered, unanswered, clients }
    }

    fn count(&self) -> Count {
        let [answered, unanswered] = [&self.answered, &self.unanswered].map(|count| count.load(Ordering::Relaxed));
        Count { answered, unanswered, at: Instant::now() }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}

/// Whether the metrics came.
fn ask() -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(ADDRESS)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"\n"))
}

fn connect_half_open(machine: &Machine) -> Vec<TcpStream> {
    machine.inside(|_| {
        let connect = |_| {
            let mut stream = TcpStream::connect(ADDRESS).ok()?;
            stream.write_all(b"GET /met").ok()?;
            Some(stream)
        };
        (0..HALF_OPEN).filter_map(connect).collect()
    })
}
