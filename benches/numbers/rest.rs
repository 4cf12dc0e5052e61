//! The daemon's load on the machine while nothing happens: it leads, all is in sync, default intervals.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::stage::Stage;
use crate::{Table, Times, default_intervals, leading};

/// Until the looks after the claim's own writes are over.
const SETTLE: Duration = Duration::from_secs(8);
/// Two passes or so.
const WINDOW: Duration = Duration::from_secs(20);
const WINDOWS: usize = 5;

pub fn measure(table: &mut Table) -> Option<()> {
    let sizes = [1, 50];
    let mut running = Vec::new();
    for vips in sizes {
        let stage = Stage::new(1, 2)?;
        let daemon = leading(&stage, vips, &default_intervals(&stage));
        running.push((daemon, stage));
    }
    thread::sleep(SETTLE);
    let mut busy_times: [Times; 2] = Default::default();
    for _ in 0..WINDOWS {
        let before: Vec<_> = running.iter().map(|(daemon, _)| busy(daemon.pid())).collect();
        thread::sleep(WINDOW);
        for (((daemon, _), before), times) in running.iter().zip(before).zip(&mut busy_times) {
            times.add(busy(daemon.pid()).saturating_sub(before));
        }
    }
    for (((daemon, _), vips), times) in running.iter().zip(sizes).zip(&busy_times) {
        let name = format!("the daemon at rest, {vips} VIPs");
        let (now, most) = (status(daemon.pid(), "VmRSS"), status(daemon.pid(), "VmHWM"));
        let private = status(daemon.pid(), "RssAnon");
        let memory = format!("{now:.1} MB ({private:.1} of its own, {most:.1} at most)");
        table.row(&format!("{name}: resident memory"), &memory, "40 MB");
        let share = |part| times.quantile(part).as_secs_f64() / WINDOW.as_secs_f64() * 100.0;
        let shares = format!("{:.3} % ({:.3} to {:.3}, n={WINDOWS})", share(0.5), share(0.0), share(1.0));
        table.row(&format!("{name}: CPU, windows of {} s", WINDOW.as_secs()), &shares, "0.2 %");
    }
    Some(())
}

/// How long its threads have run. The scheduler counts in nanoseconds (Linux, Documentation/scheduler/sched-stats).
fn busy(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let of_thread = |thread: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads.filter_map(of_thread).sum())
}

/// A line of /proc/<pid>/status that is in kB, in MB.
fn status(pid: u32, key: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).expect("proc(5) has it");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}
