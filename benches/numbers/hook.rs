//! `up` as Pgpool runs it: a whole process, in turn with /bin/true.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::stage::machine::program;
use crate::stage::{ROUTED, Stage};
use crate::{Table, Times};

const RUNS: usize = 200;

pub fn measure(table: &mut Table) -> Option<()> {
    let stage = Stage::new(1, 2)?;
    let machine = &stage.machines[0];
    machine.configure(&stage.usual_vip());
    let mut measure = |name: &str| {
        let (mut ups, mut trues) = (Times::default(), Times::default());
        for _ in 0..RUNS {
            let mut up = Command::new(program());
            up.args(["up", ROUTED, "--config"]).arg(machine.config());
            ups.add(run(&mut up));
            trues.add(run(&mut Command::new("/bin/true")));
        }
        table.row(&format!("`up`, a whole process, {name}"), &ups.text(), "10 ms");
        table.row(&format!("  /bin/true in turn with it, {name}"), &trues.text(), "");
    };
    measure("the daemon not running");
    let _daemon = machine.start_ready();
    measure("the daemon running");
    Some(())
}

fn run(command: &mut Command) -> Duration {
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    let began = Instant::now();
    let status = command.status().expect("it starts");
    let took = began.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    took
}
