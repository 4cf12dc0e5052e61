//! From a hook's start until EC2 has answered the last write of the claim, with each call taking 150 ms. Two machines
//! take the VIP from each other in turn, so that every binding has to move every time.

use std::thread;
use std::time::Duration;

use ec2_endpoint::FaultKind;
use ec2_endpoint::service::{Call, Throttling};

use crate::stage::{ROUTED, Stage};
use crate::{Table, Times, milliseconds};

const LATENCY: Duration = Duration::from_millis(150);
/// After a claim: its own looks are over, and EC2's buckets are full again (50 tokens at 5/s).
const PAUSE: Duration = Duration::from_secs(13);

pub fn measure(table: &mut Table) -> Option<()> {
    measure_one(table, 8, Throttling::Off, 10, "250 ms")?;
    measure_one(table, 64, Throttling::Off, 10, "400 ms")
}

/// Measures a claim of 64 tables under EC2's default throttling.
pub fn measure_throttled(table: &mut Table) -> Option<()> {
    measure_one(table, 64, Throttling::Default, 5, "")
}

fn measure_one(table: &mut Table, tables: usize, throttling: Throttling, rounds: usize, target: &str) -> Option<()> {
    let stage = Stage::new(2, tables)?;
    stage.endpoint.service().set_throttling(throttling);
    stage.fault(FaultKind::latency(LATENCY));
    let _daemons: Vec<_> = stage
        .machines
        .iter()
        .map(|machine| {
            // The intervals matter for what is in sync; here the nodes are only to know everything before a claim.
            machine.configure(&stage.usual_vip());
            machine.start_ready()
        })
        .collect();
    let (mut all, mut routes, mut others) = (Times::default(), Times::default(), Times::default());
    for round in 0..=rounds {
        let machine = &stage.machines[round % 2];
        let (mark, began) = (stage.mark(), stage.endpoint.now());
        machine.hook("up", ROUTED);
        machine.wait(ROUTED);
        let calls = stage.calls(mark);
        let last = |of: &dyn Fn(&Call) -> bool| -> Duration {
            let accepted = |call: &&Call| call.write && call.code.as_deref() == Some("OK") && of(call);
            let last = calls.iter().filter(accepted).map(|call| call.at).max();
            last.map_or(Duration::ZERO, |at| (at + LATENCY).saturating_sub(began))
        };
        let is_route = |call: &Call| call.operation.ends_with("Route");
        // The first one creates the routes; a failover replaces them.
        if round > 0 {
            all.add(last(&|call| call.caller.name == machine.name));
            routes.add(last(&|call| call.caller.name == machine.name && is_route(call)));
            others.add(last(&|call| call.caller.name == machine.name && !is_route(call)));
        }
        thread::sleep(PAUSE);
    }
    let name = format!("hook to last write answered, Elastic IP + {tables} tables");
    match throttling {
        Throttling::Off => table.row(&format!("{name}, {} ms a call", milliseconds(LATENCY)), &all.text(), target),
        Throttling::Default => {
            // 50 tokens are there, and 5 a second come.
            #[expect(clippy::cast_precision_loss, reason = "dozens")]
            let possible = Duration::from_secs_f64((tables as f64 - 50.0) / 5.0) + LATENCY;
            let best = format!("{} ms possible", milliseconds(possible));
            table.row(&format!("{name}, EC2's own buckets"), &routes.text(), &best);
            table.row("  the same, everything but the routes", &others.text(), "250 ms");
        }
    }
    Some(())
}
