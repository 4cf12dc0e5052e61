//! This machine's wall clock, by which claims are ordered: how far it is from EC2's clock, and whether the kernel counts
//! it as synchronised.

use super::Daemon;
use crate::ec2::{Ec2Read, Ec2Write};
use crate::identity::Identify;
use crate::machine::kernel::Kernel;
use crate::observe::seen::Now;
use crate::problem::ProblemReason;
use crate::state_dir::Machine;
use crate::status::ClockStatus;

impl<E, K, I, M> Daemon<E, K, I, M>
where
    E: Ec2Read + Ec2Write + 'static,
    K: Kernel + 'static,
    I: Identify + 'static,
    M: Machine,
{
    /// The wall clock now; `None` if neither EC2 nor the kernel tells anything of it.
    pub(super) fn clock(&self, now: Now) -> Option<ClockStatus> {
        let server = self.around.ec2.time();
        let kernel = self.around.machine.clock_discipline();
        (server.is_some() || kernel.is_some()).then(|| ClockStatus {
            ahead_ms: server.map(|server| server.ahead_ms(now.at, now.wall_ms)),
            error_ms: server.map(|server| server.error_ms),
            synchronized: kernel.map(|kernel| kernel.synchronized),
            max_error_ms: kernel.map(|kernel| u64::try_from(kernel.max_error.as_millis()).unwrap_or(u64::MAX)),
        })
    }

    /// Sets or clears the problem that this node's clock is wrong. Claims that begin now keep the doubt.
    pub(super) fn judge_clock(&mut self, now: Now) {
        let clock = self.clock(now).unwrap_or_default();
        let doubt = clock.doubt();
        for vip in &mut self.vips {
            vip.note_clock(doubt.as_deref());
        }
        match clock.off_by_ms() {
            Some(off_by_ms) => self.problems.lasts(ProblemReason::ClockOff, message(off_by_ms), now.wall_ms),
            None => self.problems.clear(ProblemReason::ClockOff),
        }
    }
}

fn message(off_by_ms: i64) -> String {
    let (seconds, side) = (off_by_ms.unsigned_abs() / 1000, if off_by_ms > 0 { "ahead of" } else { "behind" });
    format!(
        "this node's clock is {seconds} s or more {side} EC2's: an older leader may win, because claims are ordered by \
         the nodes' clocks; 'chronyc tracking' or 'timedatectl' tells more, 'chronyc makestep' sets the clock right"
    )
}
