//! How long what somebody takes away stays away.

use std::thread;
use std::time::{Duration, Instant};

use ec2_endpoint::{DeleteRoute, Operation};

use crate::stage::{ROUTED, Stage};
use crate::{Table, Times, default_intervals, leading};

const LOCAL_ROUNDS: usize = 30;
const CLOUD_ROUNDS: usize = 8;

pub fn measure(table: &mut Table) -> Option<()> {
    let stage = Stage::new(1, 2)?;
    let machine = &stage.machines[0];
    let _daemon = leading(&stage, 1, &default_intervals(&stage));
    let mut local = Times::default();
    for _ in 0..LOCAL_ROUNDS {
        let began = Instant::now();
        machine.remove(ROUTED);
        while !machine.has(ROUTED) {
            thread::sleep(Duration::from_micros(100));
        }
        local.add(began.elapsed());
        thread::sleep(Duration::from_millis(200));
    }
    table.row("a local address that was removed is back", &local.text(), "50 ms");

    let mut cloud = Times::default();
    for round in 0..CLOUD_ROUNDS {
        // After the looks that follow an own write, and at another moment of the interval each time.
        thread::sleep(Duration::from_millis(5_000 + 700 * u64::try_from(round).unwrap_or_default()));
        let began = Instant::now();
        stage.by_hand(&Operation::DeleteRoute(DeleteRoute {
            route_table_id: stage.tables[0].clone(),
            destination_cidr_block: Some(format!("{ROUTED}/32")),
            ..Default::default()
        }));
        while stage.route(&stage.tables[0], ROUTED).is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        cloud.add(began.elapsed());
    }
    table.row("a route that was deleted is back", &cloud.text(), "4 s");
    Some(())
}
