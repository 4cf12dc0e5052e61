//! The cost of one pass while all is in sync.

use std::thread;
use std::time::Duration;

use crate::stage::Stage;
use crate::{Table, leading};

/// Until the looks after the claim's own writes are over.
const SETTLE: Duration = Duration::from_secs(8);
/// Several passes, at an interval of 2 s.
const TIME: Duration = Duration::from_secs(20);

pub fn measure(table: &mut Table) -> Option<()> {
    for vips in [1, 10, 50] {
        let stage = Stage::new(1, 2)?;
        let machine = &stage.machines[0];
        let _daemon = leading(&stage, vips, &machine.header());
        thread::sleep(SETTLE);
        let passes = || machine.metric("vipkeeper_passes_total{result=\"in_sync\"}").unwrap_or_default();
        let (mark, before) = (stage.mark(), passes());
        thread::sleep(TIME);
        let (calls, passes) = (stage.calls(mark), passes() - before);
        let writes = calls.iter().filter(|call| call.write).count();
        #[expect(clippy::cast_precision_loss, reason = "dozens")]
        let [reads, writes] = [calls.len() - writes, writes].map(|count| count as f64 / passes.max(1.0));
        table.row(
            &format!("in sync, {vips} VIPs: reads and writes a pass"),
            &format!("{reads:.2} reads, {writes:.2} writes, {passes} passes"),
            "3 reads, 0 writes",
        );
    }
    Some(())
}
