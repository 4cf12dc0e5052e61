//! From the hook to the last binding, and back; and from one machine to the next.

use std::collections::BTreeMap;
use std::thread;

use ec2_endpoint::{DeleteRoute, DisassociateAddress, Operation};

use crate::stage::{A_PASS, ROUTED, Stage, a_claim, eventually};

#[test]
fn an_up_points_everything_here_and_a_down_gives_it_back() {
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let start = stage.mark();
    let _daemon = machine.start_ready();
    assert_eq!(stage.written(start), BTreeMap::new(), "nobody asked for anything yet");

    let mark = stage.mark();
    machine.hook("up", ROUTED);
    machine.wait(ROUTED);
    assert!(stage.points_at(0));
    assert_eq!(stage.written(mark), a_claim(2));
    stage.writes_nothing_for(A_PASS);

    let mark = stage.mark();
    machine.hook("down", ROUTED);
    eventually("the local address is gone", || !machine.has(ROUTED));
    eventually("the Elastic IP is free", || stage.elastic_ip(&stage.allocation).is_none());
    // The routes wait for a successor.
    let release = BTreeMap::from([("CreateTags", 1), ("DisassociateAddress", 1)]);
    eventually("the claim is withdrawn", || stage.written(mark) == release);
    stage.writes_nothing_for(A_PASS);
    let (_, said, code) = machine.said(&["wait", ROUTED]);
    assert!(said.contains("this node stands by") && code == 1, "{said}");
}

#[test]
fn a_successor_takes_everything_and_the_old_leader_lets_go_without_a_down() {
    let Some(stage) = Stage::new(2, 2) else { return };
    let [old, new] = &stage.machines[..] else { unreachable!("two were made") };
    let _daemons = [old, new].map(|machine| {
        machine.configure(&stage.usual_vip());
        machine.start_ready()
    });
    old.hook("up", ROUTED);
    old.wait(ROUTED);
    assert!(stage.points_at(0));

    let mark = stage.mark();
    new.hook("up", ROUTED);
    new.wait(ROUTED);
    eventually("the old leader's local address is gone", || stage.points_at(1));
    let taken =
        [("AssociateAddress", 1), ("CreateTags", 1), ("ModifyNetworkInterfaceAttribute", 1), ("ReplaceRoute", 2)];
    assert_eq!(stage.written(mark), BTreeMap::from(taken));
    let (_, said, code) = old.said(&["wait", ROUTED]);
    assert!(said.contains(&format!("gave way to a newer one of {}", new.instance)) && code == 1, "{said}");

    // A late `down` of the old leader takes nothing away, and changes nothing.
    let mark = stage.mark();
    old.hook("down", ROUTED);
    thread::sleep(A_PASS);
    assert!(stage.points_at(1));
    assert_eq!(stage.written(mark), BTreeMap::new());
}

#[test]
fn what_somebody_takes_away_comes_back() {
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let _daemon = machine.start_ready();
    machine.hook("up", ROUTED);
    machine.wait(ROUTED);

    machine.remove(ROUTED);
    eventually("the local address is back", || machine.has(ROUTED));
    stage.by_hand(&Operation::DeleteRoute(DeleteRoute {
        route_table_id: stage.tables[0].clone(),
        destination_cidr_block: Some(format!("{ROUTED}/32")),
        ..Default::default()
    }));
    eventually("the route is back", || stage.points_at(0));
    let association = {
        let service = stage.endpoint.service();
        service.account().elastic_ip(&stage.allocation).unwrap().association.as_ref().unwrap().id.clone()
    };
    stage.by_hand(&Operation::DisassociateAddress(DisassociateAddress {
        association_id: Some(association),
        ..Default::default()
    }));
    eventually("the Elastic IP is back", || stage.points_at(0));
}
