//! What /proc says of a process: since when it runs, and whether it still does.

use std::fs;

/// When the process started, in clock ticks since boot: with its id it names one process for as long as the machine
/// is up. None: there is no such process. (proc_pid_stat(5), field 22)
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    field(pid, 22)?.parse().ok()
}

/// Whether the process has ended and only waits to be collected by its parent. (proc_pid_stat(5), field 3)
#[must_use]
pub fn is_zombie(pid: u32) -> bool {
    field(pid, 3).is_some_and(|state| matches!(state.as_str(), "Z" | "X"))
}

/// A field of /proc/PID/stat, counted from 1 as the manual does; from 3 on.
fn field(pid: u32, number: usize) -> Option<String> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The command's name, field 2, may hold anything, blanks and parentheses too; it ends at the last one.
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let rest = str::from_utf8(stat.get(after_name..)?).ok()?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_started_and_is_no_zombie() {
        let own = std::process::id();
        assert!(start_time(own).is_some_and(|ticks| ticks > 0));
        assert!(!is_zombie(own));
    }

    #[test]
    fn what_is_not_there_has_never_started() {
        assert_eq!(start_time(u32::MAX), None);
        assert!(!is_zombie(u32::MAX));
    }
}
