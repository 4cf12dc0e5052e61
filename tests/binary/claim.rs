//! From the hook to the last binding, and back.

use std::collections::BTreeMap;

use crate::stage::{A_PASS, ROUTED, Stage, a_claim, eventually};

#[test]
fn an_up_points_everything_here_and_a_down_gives_it_back() {
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let _daemon = machine.start_ready();
    assert!(stage.calls(stage.mark()).iter().all(|call| !call.write), "nobody asked for anything yet");

    let mark = stage.mark();
    machine.hook("up", ROUTED);
    machine.wait(ROUTED);
    assert!(stage.points_at(0));
    assert_eq!(stage.written(mark), a_claim(2));
    stage.writes_nothing_for(A_PASS);
    assert_eq!(machine.said(&["status"]).2, 0);

    let mark = stage.mark();
    machine.hook("down", ROUTED);
    eventually("the local address is gone", || !machine.has(ROUTED));
    eventually("the Elastic IP is free", || stage.elastic_ip(&stage.allocation).is_none());
    // The claim is withdrawn on record; the routes wait for a successor.
    assert_eq!(stage.written(mark), BTreeMap::from([("CreateTags", 1), ("DisassociateAddress", 1)]));
    assert!(machine.said(&["wait", ROUTED]).1.contains("stands by"), "there is nothing to wait for");
}
