//! All leaders of a cluster stand down and nobody follows: each node must tell that nobody serves, until a node leads again.

use std::net::IpAddr;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::support::seconds;
use crate::watchdog::Director;

/// The longest time from the last `down` until each node tells that nobody serves the VIP.
///
/// A former leader may keep the VIP for 15 s, and its last look and the release take up to 9 s. A read shows a state that
/// is up to 5 s old. The next look of a standby is up to 37.5 s away. From then on looks are up to 12.5 s apart, and the
/// first of them that begins 30 s after the one that first showed nobody tells it. Each of these two looks takes up to 3 s.
const TOLD_WITHIN: Duration = Duration::from_millis(15_000 + 9000 + 5000 + 37_500 + 30_000 + 12_500 + 2 * 3000);

/// The time after which each node has read that the VIP is served again: its looks are up to 12.5 s apart, take up to 3 s,
/// and show a state that is up to 5 s old.
const SEEN_WITHIN: Duration = Duration::from_millis(12_500 + 3000 + 5000);

impl Cluster {
    /// Checks that each node tells of it if nobody serves any more, and that it tells so no longer than that is true.
    pub async fn abandon(&mut self, director: &mut Director) -> Result<(), String> {
        self.timeline.say("WORLD", format_args!("all leaders stand down, and nobody follows"));
        director.stand_down(self);
        let since = self.estate.clock.now();
        while let Some((node, vip)) = self.who_is_silent() {
            self.sound()?;
            let after = self.estate.clock.now() - since;
            if after > TOLD_WITHIN {
                return Err(format!("{node} does not tell that nobody serves {vip}, {after:?} after the last `down`"));
            }
            tokio::time::sleep(seconds(1)).await;
        }
        director.run(self).await?;
        let leaders = director.leaders();
        self.converge(&leaders, self.estate.clock.now()).await?;
        let mark = self.estate.service().mark();
        self.watch(&leaders, mark, SEEN_WITHIN).await
    }

    /// The nodes that tell that nobody serves a VIP.
    pub fn who_tells_of_nobody(&self) -> impl Iterator<Item = (&str, IpAddr)> {
        self.tellers().filter(|(_, _, tells)| *tells).map(|(node, vip, _)| (node, vip))
    }

    fn who_is_silent(&self) -> Option<(&str, IpAddr)> {
        self.tellers().find(|(_, _, tells)| !tells).map(|(node, vip, _)| (node, vip))
    }

    /// Each node with each VIP, and whether the node tells that nobody serves the VIP.
    fn tellers(&self) -> impl Iterator<Item = (&str, IpAddr, bool)> {
        self.nodes.iter().flat_map(move |node| {
            let name = node.place.name.as_str();
            self.vips.iter().map(move |vip| (name, vip.ip, node.recorder.says_nobody_serves(vip.ip)))
        })
    }
}
