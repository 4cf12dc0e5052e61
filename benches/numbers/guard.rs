//! How soon a node lets go when Pgpool's watchdog dies, which runs no hook any more.

use std::thread;
use std::time::{Duration, Instant};

use crate::stage::pgpool::Pgpool;
use crate::stage::{ROUTED, Stage};
use crate::{Table, Times};

const ROUNDS: usize = 10;
/// Until the rate limit owes nothing any more: leaderships are not seconds apart.
const CALM: Duration = Duration::from_secs(6);

pub fn measure(table: &mut Table) -> Option<()> {
    let stage = Stage::new(1, 2)?;
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let _daemon = machine.start_ready();
    let (mut gone, mut released) = (Times::default(), Times::default());
    for _ in 0..ROUNDS {
        let pgpool = Pgpool::escalate(machine, ROUTED);
        machine.wait(ROUTED);
        thread::sleep(CALM);
        let mark = stage.mark();
        let (began, began_at) = (Instant::now(), stage.endpoint.now());
        pgpool.kill_watchdog();
        while machine.has(ROUTED) {
            thread::sleep(Duration::from_micros(100));
        }
        gone.add(began.elapsed());
        let release = || stage.calls(mark).into_iter().find(|call| call.operation == "DisassociateAddress");
        let sent = loop {
            match release() {
                Some(call) => break call.at,
                None => thread::sleep(Duration::from_millis(1)),
            }
        };
        released.add(sent.saturating_sub(began_at));
    }
    table.row("Pgpool's watchdog is killed: the local address is gone", &gone.text(), "100 ms");
    table.row("Pgpool's watchdog is killed: the release is sent", &released.text(), "100 ms");
    Some(())
}
