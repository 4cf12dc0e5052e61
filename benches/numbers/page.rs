//! The status page: how long it takes to be made, and how large it is. The page of many VIPs has as many like the first one,
//! as a daemon told it that leads.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use vipkeeper::status::document::StatusDocument;
use vipkeeper::status::frame::Refresh;
use vipkeeper::status::html;

use crate::stage::Stage;
use crate::{Table, Times, leading, vip_address};

const TIMES: usize = 200;
/// Longer than a page is kept that was made already.
const KEPT: Duration = Duration::from_millis(1100);
const REQUESTS: usize = 10;

pub fn measure(table: &mut Table) -> Option<()> {
    let stage = Stage::new(1, 2)?;
    let machine = &stage.machines[0];
    let _daemon = leading(&stage, 1, &machine.header());
    let (_, text) = machine.get("/status")?;
    let StatusDocument { mut status, events }: StatusDocument = serde_json::from_str(&text).unwrap();
    let first = status.vips[0].clone();
    for vips in [1, 50] {
        status.vips = vec![first.clone(); vips];
        for (number, vip) in status.vips.iter_mut().enumerate() {
            vip.delegate_ip = vip_address(number).parse().unwrap();
        }
        let (mut times, mut bytes) = (Times::default(), 0);
        for _ in 0..TIMES {
            let began = Instant::now();
            let document = StatusDocument { status: &status, events: &events };
            bytes = black_box(html::page(document, status.written_ms, Refresh::Often)).len();
            times.add(began.elapsed());
        }
        let made = format!("{}; {:.1} KB", times.text(), bytes as f64 / 1e3);
        table.row(&format!("the status page, {vips} VIPs: made"), &made, "20 ms");
    }
    let mut answers = Times::default();
    for _ in 0..REQUESTS {
        thread::sleep(KEPT);
        let began = Instant::now();
        machine.get("/")?;
        answers.add(began.elapsed());
    }
    table.row("the status page, 1 VIP: asked of the daemon", &answers.text(), "50 ms");
    Some(())
}
