//! How long a start takes: of the program alone, of a daemon until it is ready, and of a daemon that was down during the hook
//! until EC2 has answered its last write. That one must look first, because it does not know what is already there.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ec2_endpoint::FaultKind;
use ec2_endpoint::service::Throttling;

use crate::stage::{ROUTED, Stage, machine};
use crate::{Table, Times, milliseconds};

const LATENCY: Duration = Duration::from_millis(150);
const ROUNDS: usize = 10;
const STARTS: usize = 20;
/// Until the old leader stands by and has given up what it held.
const CALM: Duration = Duration::from_secs(4);

pub fn measure(table: &mut Table) -> Option<()> {
    the_program(table);
    until_ready(table)?;
    after_the_hook(table)
}

/// Loading the program and reading its arguments, which every hook does.
fn the_program(table: &mut Table) {
    let program = machine::program();
    let mut times = Times::default();
    for _ in 0..STARTS {
        let began = Instant::now();
        let status = Command::new(&program).arg("--version").stdout(Stdio::null()).status().expect("it starts");
        times.add(began.elapsed());
        assert!(status.success());
    }
    #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
    let size = std::fs::metadata(&program).expect("it is there").len() as f64 / 1e6;
    table.row("the program", &format!("{size:.1} MB"), "");
    table.row("`vipkeeper --version`, the whole process", &times.text(), "");
}

/// A daemon without a leadership is ready when its first look has come to an end.
fn until_ready(table: &mut Table) -> Option<()> {
    let stage = Stage::new(1, 2)?;
    stage.endpoint.service().set_throttling(Throttling::Off);
    stage.fault(FaultKind::latency(LATENCY));
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let mut times = Times::default();
    for _ in 0..STARTS {
        let began = Instant::now();
        let daemon = machine.start();
        while machine.get("/readyz").is_none_or(|(status, _)| status != 200) {
            thread::sleep(Duration::from_millis(2));
        }
        times.add(began.elapsed());
        daemon.terminate();
    }
    table.row(&format!("a daemon's start until it is ready, {} ms a call", milliseconds(LATENCY)), &times.text(), "");
    Some(())
}

fn after_the_hook(table: &mut Table) -> Option<()> {
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
