//! From the start of a daemon that was down during the hook until EC2 has answered its last write, with each call taking
//! 150 ms: it must look first, because it does not know what is already there.

use std::thread;
use std::time::Duration;

use ec2_endpoint::FaultKind;
use ec2_endpoint::service::Throttling;

use crate::stage::{ROUTED, Stage};
use crate::{Table, Times, milliseconds};

const LATENCY: Duration = Duration::from_millis(150);
const ROUNDS: usize = 10;
/// Until the old leader stands by and has given up what it held.
const CALM: Duration = Duration::from_secs(4);

pub fn measure(table: &mut Table) -> Option<()> {
    let stage = Stage::new(2, 2)?;
    stage.endpoint.service().set_throttling(Throttling::Off);
    stage.fault(FaultKind::latency(LATENCY));
    let (mut first, mut last) = (Times::default(), Times::default());
    stage.machines.iter().for_each(|machine| machine.configure(&stage.usual_vip()));
    let one = &stage.machines[0];
    let mut leading = one.start_ready();
    one.hook("up", ROUTED);
    one.wait(ROUTED);
    for round in 0..ROUNDS {
        let machine = &stage.machines[(round + 1) % 2];
        machine.hook("up", ROUTED);
        let (mark, began) = (stage.mark(), stage.endpoint.now());
        let daemon = machine.start();
        machine.wait(ROUTED);
        let calls: Vec<_> = stage.calls(mark).into_iter().filter(|call| call.caller.name == machine.name).collect();
        let accepted = calls.iter().filter(|call| call.write && call.code.as_deref() == Some("OK")).map(|call| call.at);
        first.add(calls.iter().map(|call| call.at).min()?.saturating_sub(began));
        last.add((accepted.max()? + LATENCY).saturating_sub(began));
        thread::sleep(CALM);
        leading = daemon;
    }
    drop(leading);
    table.row("a daemon's start to its first request to EC2", &first.text(), "");
    let name = format!("a daemon's start to last write answered, {} ms a call", milliseconds(LATENCY));
    table.row(&name, &last.text(), "350 ms");
    Some(())
}
