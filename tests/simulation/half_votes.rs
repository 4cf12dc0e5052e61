//! Two leaders that do not see each other, after which Pgpool keeps the older one: an older leadership goes on without
//! an `up`. Reads are fresh here, so that the time until the VIP is served again is vipkeeper's alone.

use std::rc::Rc;
use std::time::Duration;

use vipkeeper::pgpool::watchdog::Word;

use crate::checks::VipSpec;
use crate::cluster::{Keep, spec};
use crate::support::estate::{self, Estate, by_elastic_ip, by_route, by_secondary_ip};
use crate::support::node::{Shared, SimNode};
use crate::support::recorder::Detail;
use crate::support::{Clock, Timeline, in_paused_time, millis, pass, seconds};
use ec2_endpoint::Fault;
use ec2_endpoint::service::FaultKind;

const SEEDS: u64 = 100;

/// Whether Pgpool's watchdog can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watchdog {
    Answers,
    Absent,
}

/// The length of the second leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    /// So long that the first leader has looked meanwhile, however rarely it may look: at least every 12.5 s.
    Noticed,
    /// So short that the first leader may learn of it only from its next look, when it is over.
    Short,
}

/// The time from the second leader's `down` until everything is back at the first leader. The error is the timeline, if it
/// was kept.
fn heals_after(seed: u64, watchdog: Watchdog, second: Second, keep: Keep) -> Result<Duration, String> {
    in_paused_time(async {
        let mut rng = fastrand::Rng::with_seed(seed);
        let clock = Clock::start();
        let estate = Estate::new(clock, 2, seed);
        let least = millis(rng.u64(5..60));
        estate.fault(Fault::new(FaultKind::Latency { least, most: least + millis(rng.u64(10..200)) }));
        let addresses = match rng.u8(..3) {
            0 => {
                estate.allocate("203.0.113.9");
                vec![by_elastic_ip("203.0.113.9")]
            }
            1 => vec![by_route("20.0.0.9", &estate.add_tables(rng.usize(1..=4)))],
            _ => vec![by_secondary_ip("10.0.1.59")],
        };
        let config = estate::config(vec![estate::vip(addresses)]);
        let vip = spec(&estate, &config.vips[0]);
        let timeline = Rc::new(if keep == Keep::Timeline { Timeline::kept(clock) } else { Timeline::silent(clock) });
        let shared = Shared { timeline: Rc::clone(&timeline), detail: Detail::Cheap, watch: None, seed };
        let mut nodes: Vec<_> = (0..2).map(|index| SimNode::new(&estate, index, config.clone(), &shared)).collect();
        let says = |node: &SimNode, escalated| {
            let word = Word { escalated, delegate_ips: [vip.ip].into(), quorum: None };
            node.word.replace((watchdog == Watchdog::Answers).then_some(word));
        };
        nodes.iter_mut().for_each(SimNode::start);
        nodes.iter().for_each(|node| says(node, false));
        pass(seconds(2)).await;
        let guards: Vec<_> = nodes.iter().map(|node| node.computer.spawn()).collect();
        let up = |node: usize| nodes[node].computer.up(vip.ip, &nodes[node].computer.hook(guards[node]));
        up(0);
        says(&nodes[0], true);
        pass(millis(rng.u64(6000..90_000))).await;
        up(1);
        says(&nodes[1], true);
        let lasts = if second == Second::Noticed { 13_500..40_000 } else { 2000..13_500 };
        pass(millis(rng.u64(lasts))).await;
        nodes[1].computer.down(vip.ip, &nodes[1].computer.hook(guards[1]));
        says(&nodes[1], false);
        let ended = clock.now();
        loop {
            pass(millis(10)).await;
            let took = clock.now() - ended;
            if took >= seconds(60) {
                return Err(timeline.text());
            }
            if is_at(&vip, &estate, &nodes[0]) {
                let stays = stays(&vip, &estate, &nodes[0]).await;
                return if stays { Ok(took) } else { Err(timeline.text()) };
            }
        }
    })
}

fn is_at(vip: &VipSpec, estate: &Estate, node: &SimNode) -> bool {
    let account = estate.account();
    vip.pointers.iter().all(|pointer| pointer.holder(&account).as_ref() == Some(&node.place.eni))
        && vip.local.iter().all(|address| node.computer.has_local(*address))
}

/// Whether nobody else holds the VIP afterwards, not even for a moment.
async fn stays(vip: &VipSpec, estate: &Estate, node: &SimNode) -> bool {
    for _ in 0..200 {
        pass(millis(200)).await;
        if !is_at(vip, estate, node) {
            return false;
        }
    }
    true
}

/// [`heals_after`]; a run that fails is repeated, and its timeline is printed.
fn heals_in(seed: u64, watchdog: Watchdog, second: Second) -> Duration {
    heals_after(seed, watchdog, second, Keep::Nothing).unwrap_or_else(|_| {
        let timeline =
            heals_after(seed, watchdog, second, Keep::Timeline).expect_err("the same seed gives the same run");
        panic!("seed {seed}, {watchdog:?}, {second:?}: not healed, or not for good: {timeline}")
    })
}

#[test]
fn an_older_leadership_that_goes_on_without_an_up_is_served_again_in_time() {
    for (watchdog, second, limit) in [
        (Watchdog::Answers, Second::Noticed, seconds(2)),
        (Watchdog::Absent, Second::Noticed, seconds(3)),
        // A leader's next look begins 3.4 s after the last one at most, and the second leadership lasts for 2 s at least:
        // without a look meanwhile, the next one begins within 1.4 s.
        (Watchdog::Answers, Second::Short, seconds(2)),
        (Watchdog::Absent, Second::Short, seconds(3)),
    ] {
        let mut took: Vec<_> = (0..SEEDS).map(|seed| heals_in(seed, watchdog, second)).collect();
        took.sort();
        let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
        println!(
            "watchdog {watchdog:?}, second leadership {second:?}: {SEEDS} heals, median {median:?}, worst {worst:?}"
        );
        assert!(worst <= limit, "{watchdog:?}, {second:?}: the slowest took {worst:?}");
    }
}
