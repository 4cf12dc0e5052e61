//! How soon a leader takes what a hook asks for while others ask its listener for all that it can say, and how soon the
//! listener answers a probe then.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
const ADDRESS: &str = "127.0.0.1:9813";

pub fn measure(table: &mut Table) -> Option<()> {
    let stage = Stage::new(1, 2)?;
    let machine = &stage.machines[0];
    let _daemon = leading(&stage, VIPS, &machine.header());
    let quiet = hook_to_address(machine);
    let flood = Flood::start(machine);
    let flooded = hook_to_address(machine);
    drop(flood);
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
    table.row(&format!("/healthz while {HALF_OPEN} clients have connected and ask nothing"), &probes.text(), "100 ms");
    Some(())
}

fn hook_to_address(machine: &Machine) -> Times {
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        machine.hook("down", ROUTED);
        while machine.has(ROUTED) {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(CALM);
        let began = Instant::now();
        machine.hook("up", ROUTED);
        while !machine.has(ROUTED) {
            thread::sleep(Duration::from_micros(100));
        }
        times.add(began.elapsed());
    }
    times
}

/// Ends when it is dropped.
struct Flood {
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Flood {
    fn start(machine: &Machine) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        // A thread inherits the namespaces of the one that starts it.
        let clients = machine.inside(move |_| {
            let client = |_| {
                let is_over = Arc::clone(&ends);
                thread::spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        // A client that is turned away comes again.
                        let _ = ask();
                    }
                })
            };
            (0..CLIENTS).map(client).collect()
        });
        Self { is_over, clients }
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

fn ask() -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(ADDRESS)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    stream.read_to_end(&mut Vec::new())
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
