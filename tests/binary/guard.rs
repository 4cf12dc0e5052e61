//! Pgpool's own death: nobody runs a hook then, and the node lets go all the same.

use crate::stage::pgpool::Pgpool;
use crate::stage::{ROUTED, Stage, eventually};

#[test]
fn when_pgpools_watchdog_dies_the_node_lets_go() {
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let _daemon = machine.start_ready();
    let pgpool = Pgpool::escalate(machine, ROUTED);
    machine.wait(ROUTED);
    assert!(stage.points_at(0));
    let guard_alive = format!("vipkeeper_guard_alive{{vip=\"{ROUTED}\"}}");
    assert_eq!(machine.metric(&guard_alive), Some(1.0));
    let mark = stage.mark();
    pgpool.kill_watchdog();
    eventually("the address is gone", || !machine.has(ROUTED));
    eventually("the Elastic IP was released", || {
        stage.calls(mark).iter().any(|call| call.operation == "DisassociateAddress")
    });
    eventually("the daemon says so", || {
        let status = machine.status().unwrap();
        status.vips[0].desired.reason.as_ref().is_some_and(|why| why.contains("is gone"))
    });
    // Metrics are rendered once a second at most.
    eventually("the metric says so", || machine.metric(&guard_alive) == Some(0.0));
}
