//! The clocks of this machine. Hooks and the daemon read the clocks only through this module.
//!
//! The time since boot is the machine's own. A time namespace (time_namespaces(7)), as containers may have one, shifts the
//! clock and the starts of processes in `/proc` by an offset, which is taken off here: a hook and the daemon may run in
//! two of them, and each compares moments that the other noted.

use std::fs;
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::libc;
use rustix::time::{ClockId, clock_gettime};

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// One moment on two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// Nanoseconds since boot, suspended time included. This clock never steps.
    pub boottime_ns: u64,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

impl Clocks {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        let (s, ns) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
        let boottime_ns = s.unwrap_or(0).saturating_mul(NS_PER_S).saturating_add(ns.unwrap_or(0));
        Self { boottime_ns: without(boottime_ns, namespace_offset_ns()), wall_ms: wall_ms() }
    }

    /// The time since boot, suspended time included.
    #[must_use]
    pub fn since_boot(self) -> Duration {
        Duration::from_nanos(self.boottime_ns)
    }

    /// The moment of the boot, by the wall clock as it stands now.
    #[must_use]
    pub fn booted_at(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.wall_ms.saturating_sub(self.boottime_ns / NS_PER_MS))
    }

    /// This moment in clock ticks since boot, as the kernel counts the starts of processes.
    #[must_use]
    pub fn ticks(self) -> u64 {
        self.boottime_ns / ns_per_tick()
    }

    /// The wall clock at the end of an earlier tick, in milliseconds since the Unix epoch. For the tick of this very
    /// moment, the wall clock now. The kernel gives the start of a process to the tick (10 ms), so a process that was
    /// held up before it could read a clock still counts from its start.
    #[must_use]
    pub fn wall_ms_at_tick(self, tick: u64) -> u64 {
        self.wall_ms.saturating_sub(self.boottime_ns.saturating_sub(end_of_tick_ns(tick)) / NS_PER_MS)
    }
}

/// The wall clock that hooks and the daemon use, in milliseconds since the Unix epoch.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "hooks and daemon ask for the time here")]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The end of a clock tick, in milliseconds since boot.
#[must_use]
pub fn boot_ms_at_tick(tick: u64) -> u64 {
    end_of_tick_ns(tick) / NS_PER_MS
}

/// A tick in `/proc` as the machine counts it, without the offset of this process's time namespace. The result may be
/// wrong by one tick if the offset is no whole number of ticks; unshare(1) makes only offsets of whole seconds.
#[must_use]
pub(super) fn machines_tick(tick: u64) -> u64 {
    let ticks = namespace_offset_ns() / i64::try_from(ns_per_tick()).unwrap_or(i64::MAX);
    without(tick, ticks)
}

fn without(shifted: u64, offset: i64) -> u64 {
    shifted.saturating_add_signed(offset.saturating_neg())
}

/// The offset of this process's time namespace to the machine's time since boot, in nanoseconds. It never changes.
fn namespace_offset_ns() -> i64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        // The file tells of the namespace of this process's children, which may be another one.
        let namespace = |of: &str| fs::read_link(format!("/proc/self/ns/{of}")).ok();
        let is_own = namespace("time") == namespace("time_for_children");
        let offsets = fs::read_to_string("/proc/self/timens_offsets").ok().filter(|_| is_own);
        offsets.as_deref().and_then(boottime_offset_ns).unwrap_or_default()
    })
}

/// The offset in the line of the clock, whose columns are its name, seconds and nanoseconds.
fn boottime_offset_ns(offsets: &str) -> Option<i64> {
    let mut columns = offsets.lines().find_map(|line| line.strip_prefix("boottime"))?.split_ascii_whitespace();
    let mut number = || columns.next()?.parse::<i64>().ok();
    Some(number()?.saturating_mul(NS_PER_S.cast_signed()).saturating_add(number()?))
}

fn end_of_tick_ns(tick: u64) -> u64 {
    tick.saturating_add(1).saturating_mul(ns_per_tick())
}

fn ns_per_tick() -> u64 {
    NS_PER_S / rustix::param::clock_ticks_per_second().max(1)
}

/// The kernel's own judgement of its wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discipline {
    /// Whether a program such as chronyd keeps the clock synchronised, and says so to the kernel.
    pub synchronized: bool,
    /// The largest error that the clock may have. It grows while nobody synchronises the clock, up to 16 s.
    pub max_error: Duration,
}

/// Asks the kernel about its wall clock, adjtimex(2). `None` where a sandbox forbids the question.
#[must_use]
#[expect(unsafe_code, reason = "no safe wrapper shows these fields, and the kernel only fills in the struct")]
pub fn discipline() -> Option<Discipline> {
    // SAFETY: all fields are numbers, for which zero is a value. `modes` of zero asks the kernel to change nothing.
    let mut answer: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is valid for the whole call, and the kernel keeps no copy of it.
    let state = unsafe { libc::adjtimex(&raw mut answer) };
    (state >= 0).then(|| Discipline {
        synchronized: answer.status & libc::STA_UNSYNC == 0,
        max_error: Duration::from_micros(u64::try_from(answer.maxerror).unwrap_or_default()),
    })
}

/// The kernel's name for this boot: `/proc/sys/kernel/random/boot_id`.
///
/// # Errors
/// `/proc` cannot be read.
pub fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_how_far_it_relies_on_its_clock() {
        let discipline = discipline().unwrap();
        assert!(discipline.max_error <= Duration::from_secs(16), "{discipline:?}");
        assert!(discipline.synchronized || discipline.max_error > Duration::ZERO, "{discipline:?}");
    }

    #[test]
    fn a_process_that_was_held_up_counts_from_its_start() {
        let started = |boottime_ns| Clocks { boottime_ns, wall_ms: 50_000 }.wall_ms_at_tick(100);
        assert_eq!(started(1_004_000_000), 50_000, "in the same tick");
        assert_eq!(started(4_010_000_000), 47_000, "three seconds later");
    }
}
