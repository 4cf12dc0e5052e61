//! Pgpool's own death: nobody runs a hook then, and the node lets go all the same, at once.

use std::thread;
use std::time::{Duration, Instant};

use crate::stage::pgpool::Pgpool;
use crate::stage::{ROUTED, Stage, eventually};

const ROUNDS: usize = 5;
/// Until the rate limit owes nothing any more: leaderships are not seconds apart.
const CALM: Duration = Duration::from_secs(6);

#[test]
fn when_pgpools_watchdog_dies_the_node_lets_go_at_once() {
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let _daemon = machine.start_ready();
    let mut measured = Vec::new();
    for _ in 0..ROUNDS {
        let pgpool = Pgpool::escalate(machine, ROUTED);
        machine.wait(ROUTED);
        assert!(stage.points_at(0));
        thread::sleep(CALM);
        assert_eq!(machine.metric(&format!("vipkeeper_guard_alive{{vip=\"{ROUTED}\"}}")), Some(1.0));
        let mark = stage.mark();
        let (killed, killed_at) = (Instant::now(), stage.endpoint.now());
        pgpool.kill_watchdog();
        while machine.has(ROUTED) {
            assert!(killed.elapsed() < Duration::from_secs(30), "the address is still here");
            thread::sleep(Duration::from_millis(1));
        }
        let gone = killed.elapsed();
        let release = || stage.calls(mark).into_iter().find(|call| call.operation == "DisassociateAddress");
        eventually("the Elastic IP was released", || release().is_some());
        measured.push((gone, release().unwrap().at.saturating_sub(killed_at)));
        eventually("the daemon says so", || {
            let status = machine.status().unwrap();
            status.vips[0].desired.reason.as_ref().is_some_and(|why| why.contains("is gone"))
        });
    }
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (gone, released): (Vec<_>, Vec<_>) = measured.into_iter().unzip();
    println!(
        "after the watchdog's death, median of {ROUNDS}: local address gone within {:?}, release sent within {:?}",
        median(gone),
        median(released)
    );
}
