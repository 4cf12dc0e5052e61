//! The events around a cluster, one after another: Pgpool's watchdogs with their elections and hooks, and now and then
//! a fault. This module knows who leads. The nodes learn of it only through their hooks.

use std::collections::BTreeMap;
use std::time::Duration;

use ec2_endpoint::service::FaultId;
use vipkeeper::config::Config;
use vipkeeper::desired::Desired;
use vipkeeper::desired::next::Hook;
use vipkeeper::machine::process::Process;

use crate::by_hand;
use crate::cluster::Cluster;
use crate::support::millis;

use self::trouble::{TROUBLES, Trouble};

mod trouble;

/// The shortest time between the claims of two nodes on one VIP. It is longer than the difference between their clocks:
/// each clock is off by two seconds at most.
const BETWEEN_LEADERSHIPS: Duration = Duration::from_millis(4100);
/// The time of the first faults. `BREAKING` is the time during which new faults begin, in milliseconds.
const QUIET_START: Duration = Duration::from_secs(12);
const BREAKING: u64 = 45_000;

/// An event around the nodes. VIPs and nodes are given by their numbers.
#[derive(Debug, Clone)]
pub enum Happening {
    /// A fault of this kind begins.
    Trouble(Trouble),
    Election {
        vip: usize,
        round: u64,
    },
    /// A hook of an `up` writes its file.
    Up {
        vip: usize,
        node: usize,
        hook: Hook,
        boot: u64,
    },
    Down {
        vip: usize,
        node: usize,
        hook: Hook,
        boot: u64,
    },
    /// The watchdog affirms its leadership, because an address left the host.
    Affirmation {
        vip: usize,
        node: usize,
    },
    /// An isolated leader notices that it is isolated.
    Deadtime {
        vip: usize,
        node: usize,
        isolation: u64,
    },
    PeersBack {
        node: usize,
    },
    PgpoolStarts {
        vip: usize,
        node: usize,
        boot: u64,
    },
    PgpoolContinues {
        vip: usize,
        node: usize,
        process: Process,
    },
    PgpoolEnds {
        vip: usize,
        node: usize,
        process: Process,
    },
    DaemonStarts {
        node: usize,
        boot: u64,
    },
    /// A running daemon is killed and started anew at once.
    DaemonRestarts {
        node: usize,
    },
    HoldEnds {
        vip: usize,
        node: usize,
    },
    FaultEnds(FaultId),
    Theft {
        vip: usize,
        again: u32,
    },
    AllDaemonsRestart,
    /// A changed configuration reaches a node. `restarts`: its daemon is started anew instead of told.
    Reconfigured {
        node: usize,
        config: Box<Config>,
        restarts: bool,
    },
    /// The clock of a node is set right again.
    ClockSet {
        node: usize,
        skew_ms: i64,
    },
    /// Somebody notices that the desired-state file is gone, and hands over.
    LossNoticed {
        vip: usize,
        node: usize,
        boot: u64,
    },
    FileMended {
        vip: usize,
        node: usize,
    },
    /// The peers see one another again, and the second leader gives up in favour of the first one.
    SecondLeaderEnds {
        vip: usize,
        node: usize,
        number: u64,
    },
}

/// Pgpool of one VIP on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pgpool {
    Runs(Process),
    Frozen(Process),
    Dead,
}

impl Pgpool {
    fn process(self) -> Option<Process> {
        match self {
            Self::Runs(process) | Self::Frozen(process) => Some(process),
            Self::Dead => None,
        }
    }
}

pub struct Director {
    queue: BTreeMap<(Duration, u64), Happening>,
    sequence: u64,
    /// The leader of each VIP, as the majority sees it.
    leader: Vec<Option<usize>>,
    /// The number of each VIP's last planned election. An election with an older number does not take place.
    round: Vec<u64>,
    last_up: Vec<Option<Duration>>,
    /// Whether the newest leader's `up` got lost.
    up_lost: Vec<bool>,
    pgpool: Vec<Vec<Pgpool>>,
    /// Counts the isolations of each node, up at the beginning and at the end of each. The count is odd while a node is
    /// isolated.
    isolation: Vec<u64>,
    boot: Vec<u64>,
    /// The time and the node of every `up` that was not lost.
    pub claims: Vec<(Duration, usize)>,
    /// The fault that began last.
    last: Option<Trouble>,
    /// How often each kind of fault began.
    pub begun: BTreeMap<String, u64>,
    /// The node that leads besides the leader, and the number of its leadership, while two leaders do not see each other.
    second: Vec<Option<(usize, u64)>>,
    seconds: u64,
    /// Until when a clock may have been wrong by more than clocks may differ.
    clocks_wrong_until: Duration,
}

impl Director {
    /// Starts all Pgpools, and plans the first elections and the faults.
    pub fn new(cluster: &mut Cluster) -> Self {
        let (vips, nodes) = (cluster.vips.len(), cluster.nodes.len());
        let mut director = Self {
            queue: BTreeMap::new(),
            sequence: 0,
            leader: vec![None; vips],
            round: vec![0; vips],
            last_up: vec![None; vips],
            up_lost: vec![false; vips],
            pgpool: vec![vec![Pgpool::Dead; nodes]; vips],
            isolation: vec![0; nodes],
            boot: vec![0; nodes],
            claims: Vec::new(),
            last: None,
            begun: BTreeMap::new(),
            second: vec![None; vips],
            seconds: 0,
            clocks_wrong_until: Duration::ZERO,
        };
        for vip in 0..vips {
            for node in 0..nodes {
                director.pgpool[vip][node] = Pgpool::Runs(cluster.nodes[node].computer.spawn());
            }
            director.elect(cluster, vip, 500, 4000);
        }
        // Now and then a cluster gets many faults at once.
        let most = if cluster.rng.u8(..5) == 0 { 12 } else { 5 };
        for _ in 0..cluster.rng.usize(1..=most) {
            let at = QUIET_START + millis(cluster.rng.u64(..BREAKING));
            let trouble = TROUBLES[cluster.rng.usize(..TROUBLES.len())];
            director.at(at, Happening::Trouble(trouble));
        }
        director
    }

    /// The leader of each VIP.
    pub fn leaders(&self) -> Vec<usize> {
        self.leader.iter().map(|leader| leader.expect("the run ends with a leader of each")).collect()
    }

    fn at(&mut self, at: Duration, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), happening);
    }

    fn soon(&mut self, cluster: &mut Cluster, least_ms: u64, most_ms: u64, happening: Happening) {
        let at = cluster.estate.clock.now() + millis(cluster.rng.u64(least_ms..=most_ms));
        self.at(at, happening);
    }

    /// Each node whose file says leader runs `down`, and nobody is elected until the next [`Director::run`].
    pub fn stand_down(&mut self, cluster: &Cluster) {
        for (vip, spec) in cluster.vips.iter().enumerate() {
            self.leader[vip] = None;
            for (node, pgpool) in cluster.nodes.iter().zip(&self.pgpool[vip]) {
                if let (Desired::Leader(_), Some(process)) = (node.computer.desired(spec.ip), pgpool.process()) {
                    node.computer.down(spec.ip, &node.computer.hook(process));
                }
            }
        }
    }

    /// Lets all events happen. Returns the fault that began last.
    pub async fn run(&mut self, cluster: &mut Cluster) -> Result<String, String> {
        loop {
            while let Some(((at, _), happening)) = self.queue.pop_first() {
                tokio::time::sleep(at.saturating_sub(cluster.estate.clock.now())).await;
                cluster.sound()?;
                self.happen(cluster, happening).await;
                cluster.checks.something_happened(&cluster.estate.account());
            }
            // A leader whose `up` got lost would never take the VIP, and no other node would either. So there is
            // another election.
            for vip in 0..self.leader.len() {
                if self.leader[vip].is_none() || self.up_lost[vip] {
                    self.leader[vip] = None;
                    self.elect(cluster, vip, 100, 3000);
                }
            }
            if self.queue.is_empty() && !self.clocks_wrong_until.is_zero() {
                // With clocks further apart than promised, an older leader may win. The next `up` decides anew, once
                // no term is ahead of the clocks any more.
                let until = std::mem::take(&mut self.clocks_wrong_until);
                tokio::time::sleep(until.saturating_sub(cluster.estate.clock.now())).await;
                for vip in 0..self.leader.len() {
                    self.lose_leader(cluster, vip, 100, 3000);
                }
            }
            if self.queue.is_empty() {
                return Ok(self.last.map_or("none".to_owned(), |trouble| format!("{trouble:?}")));
            }
        }
    }

    /// Plans an election. It takes place no sooner than the claims of two nodes may follow one another.
    fn elect(&mut self, cluster: &mut Cluster, vip: usize, least_ms: u64, most_ms: u64) {
        self.round[vip] += 1;
        let at = cluster.estate.clock.now() + millis(cluster.rng.u64(least_ms..=most_ms));
        let at = self.last_up[vip].map_or(at, |up| at.max(up + BETWEEN_LEADERSHIPS));
        self.at(at, Happening::Election { vip, round: self.round[vip] });
    }

    /// The other nodes see that the leader is gone, and plan an election.
    fn lose_leader(&mut self, cluster: &mut Cluster, vip: usize, least_ms: u64, most_ms: u64) {
        self.leader[vip] = None;
        self.elect(cluster, vip, least_ms, most_ms);
    }

    fn is_isolated(&self, node: usize) -> bool {
        self.isolation[node] % 2 == 1
    }

    /// The nodes that can lead: their Pgpool runs, and its peers see it.
    fn candidates(&self, vip: usize) -> Vec<usize> {
        let fit = |node: &usize| matches!(self.pgpool[vip][*node], Pgpool::Runs(_)) && !self.is_isolated(*node);
        (0..self.isolation.len()).filter(fit).collect()
    }

    /// Plans an election for each VIP that has no leader although a node can lead again.
    fn fill_vacancies(&mut self, cluster: &mut Cluster) {
        for vip in 0..self.leader.len() {
            if self.leader[vip].is_none() && !self.candidates(vip).is_empty() {
                self.elect(cluster, vip, 500, 4000);
            }
        }
    }

    async fn happen(&mut self, cluster: &mut Cluster, happening: Happening) {
        cluster.happened(&happening);
        match happening {
            Happening::Trouble(trouble) => self.trouble(cluster, trouble).await,
            Happening::Election { vip, round } => self.election(cluster, vip, round),
            Happening::Up { vip, node, hook, boot } if boot == self.boot[node] => {
                cluster.nodes[node].computer.up(cluster.vips[vip].ip, &hook);
            }
            Happening::Down { vip, node, hook, boot } if boot == self.boot[node] => {
                cluster.nodes[node].computer.down(cluster.vips[vip].ip, &hook);
            }
            Happening::Affirmation { vip, node } => {
                if let (Some(leader), Pgpool::Runs(process)) = (self.leader[vip], self.pgpool[vip][node])
                    && leader == node
                {
                    let (computer, ip) = (&cluster.nodes[node].computer, cluster.vips[vip].ip);
                    // If the `up` was lost, there is nothing to affirm. An affirmation would then begin a leadership
                    // directly before the election that makes up for the loss, and so the two claims would be closer
                    // together than clocks may differ.
                    if computer.claimed_at(ip).is_some() {
                        computer.up(ip, &computer.affirming_hook(process));
                    }
                }
            }
            Happening::Deadtime { vip, node, isolation } if self.isolation[node] == isolation => {
                // The other nodes elect a leader at about the same time. If there is nobody to elect, the VIP stays
                // without a leader.
                self.deescalate(cluster, vip, node);
                if self.leader[vip] == Some(node) {
                    self.lose_leader(cluster, vip, 1500, 6000);
                }
            }
            Happening::PeersBack { node } => {
                self.isolation[node] += 1;
                self.fill_vacancies(cluster);
            }
            Happening::PgpoolStarts { vip, node, boot }
                if boot == self.boot[node] && self.pgpool[vip][node] == Pgpool::Dead =>
            {
                self.pgpool[vip][node] = Pgpool::Runs(cluster.nodes[node].computer.spawn());
                self.fill_vacancies(cluster);
            }
            Happening::PgpoolContinues { vip, node, process } if self.pgpool[vip][node] == Pgpool::Frozen(process) => {
                self.pgpool[vip][node] = Pgpool::Runs(process);
                if self.leader[vip] != Some(node) {
                    self.deescalate(cluster, vip, node);
                }
                self.fill_vacancies(cluster);
            }
            Happening::PgpoolEnds { vip, node, process } => self.end_pgpool(cluster, vip, node, process),
            Happening::DaemonStarts { node, boot } if boot == self.boot[node] && !cluster.nodes[node].is_running() => {
                cluster.start_daemon(node);
            }
            Happening::DaemonRestarts { node } if cluster.nodes[node].is_running() => {
                cluster.kill_daemon(node).await;
                cluster.start_daemon(node);
            }
            Happening::HoldEnds { vip, node } => cluster.nodes[node].computer.resume(cluster.vips[vip].ip),
            Happening::FaultEnds(fault) => {
                cluster.estate.mend(fault);
            }
            Happening::Theft { vip, again } => {
                by_hand::steal(cluster, vip);
                if again > 0 {
                    self.soon(cluster, 4000, 15_000, Happening::Theft { vip, again: again - 1 });
                }
            }
            Happening::Reconfigured { node, config, restarts } => {
                cluster.reconfigure(node, *config);
                if restarts && cluster.nodes[node].is_running() {
                    cluster.kill_daemon(node).await;
                    cluster.start_daemon(node);
                }
            }
            Happening::ClockSet { node, skew_ms } => cluster.nodes[node].computer.set_skew_ms(skew_ms),
            Happening::LossNoticed { vip, node, boot } if boot == self.boot[node] => {
                self.loss_noticed(cluster, vip, node);
            }
            Happening::FileMended { vip, node } => cluster.nodes[node].computer.mend_file(cluster.vips[vip].ip),
            Happening::SecondLeaderEnds { vip, node, number } if self.second[vip] == Some((node, number)) => {
                self.second_leader_ends(cluster, vip, node);
            }
            // The event belongs to a boot, a process or an isolation that is over.
            _ => {}
        }
    }

    fn election(&mut self, cluster: &mut Cluster, vip: usize, round: u64) {
        if self.round[vip] != round || self.leader[vip].is_some() {
            return;
        }
        let candidates = self.candidates(vip);
        if candidates.is_empty() {
            return;
        }
        let node = candidates[cluster.rng.usize(..candidates.len())];
        let Pgpool::Runs(process) = self.pgpool[vip][node] else { return };
        self.leader[vip] = Some(node);
        self.second[vip].take_if(|(second, _)| *second == node);
        let computer = &cluster.nodes[node].computer;
        let hook = computer.hook(process);
        let now = cluster.estate.clock.now();
        self.last_up[vip] = Some(now);
        self.up_lost[vip] = cluster.rng.u8(..25) == 0;
        if self.up_lost[vip] {
            cluster.timeline.say("WORLD", format_args!("the up of {vip} on {node} is lost"));
            return;
        }
        self.claims.push((now, node));
        let boot = self.boot[node];
        self.soon(cluster, 2, 60, Happening::Up { vip, node, hook, boot });
        if cluster.rng.u8(..4) == 0 {
            self.soon(cluster, 1000, 20_000, Happening::Affirmation { vip, node });
        }
    }

    /// Runs the `down` hook: usually at once, sometimes late, and now and then not at all.
    fn deescalate(&mut self, cluster: &mut Cluster, vip: usize, node: usize) {
        let Some(process) = self.pgpool[vip][node].process() else { return };
        let hook = cluster.nodes[node].computer.hook(process);
        let boot = self.boot[node];
        match cluster.rng.u8(..10) {
            0 => cluster.timeline.say("WORLD", format_args!("the down of {vip} on {node} is lost")),
            1 | 2 => self.soon(cluster, 1000, 12_000, Happening::Down { vip, node, hook, boot }),
            _ => self.soon(cluster, 2, 60, Happening::Down { vip, node, hook, boot }),
        }
    }

    fn end_pgpool(&mut self, cluster: &mut Cluster, vip: usize, node: usize, process: Process) {
        if self.pgpool[vip][node].process() != Some(process) {
            return;
        }
        self.pgpool[vip][node] = Pgpool::Dead;
        cluster.nodes[node].computer.kill(process);
        let boot = self.boot[node];
        self.soon(cluster, 3000, 25_000, Happening::PgpoolStarts { vip, node, boot });
        if self.leader[vip] == Some(node) {
            self.lose_leader(cluster, vip, 2000, 7000);
        }
    }
}
