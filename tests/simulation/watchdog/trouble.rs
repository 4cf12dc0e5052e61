//! The faults around the watchdogs, and the beginning of each. The end of a fault is planned at its beginning.

use ec2_endpoint::Fault;
use ec2_endpoint::service::{Cut, FaultKind};
use vipkeeper::desired::hold::Extent;
use vipkeeper::wake::Wake;

use crate::by_hand;
use crate::cluster::Cluster;
use crate::rolling::VARIATIONS;
use crate::support::{millis, seconds};

use super::{BETWEEN_LEADERSHIPS, Director, Happening, Pgpool};

/// The kinds of faults.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    Handover,
    PgpoolStopped,
    PgpoolKilled,
    PgpoolFrozen,
    CutFromPeers,
    CutFromEc2,
    CutFromBoth,
    DaemonKilled,
    Reboot,
    ServerErrors,
    Throttling,
    LostReplies,
    LostRequests,
    Denied,
    SlowCalls,
    Drift,
    Thefts,
    Affirmed,
    Sighup,
    /// A clock steps, and stays within the difference that clocks may have.
    ClockSteps,
    /// A clock steps further than clocks may differ, and is set right later.
    ClockWrong,
    /// The daemon starts anew and finds no file with its claims that it can use.
    ClaimsLost,
    DesiredFileLost,
    DesiredFileSpoilt,
    /// Each node has another configuration for a while.
    Rollout,
    /// Two halves of the cluster do not see each other, each with a leader. Pgpool then keeps the older one.
    HalfVotes,
    /// An operator holds the VIP on a node for a while, perhaps to move it by hand, and the daemon may start anew meanwhile.
    Held,
    /// Another node becomes leader that knows of no other claim: its daemon has just started, and EC2 answers no read.
    /// Meanwhile the old leader's Pgpool stands still.
    UnseenSuccessor,
}

pub const TROUBLES: [Trouble; 28] = [
    Trouble::Handover,
    Trouble::PgpoolStopped,
    Trouble::PgpoolKilled,
    Trouble::PgpoolFrozen,
    Trouble::CutFromPeers,
    Trouble::CutFromEc2,
    Trouble::CutFromBoth,
    Trouble::DaemonKilled,
    Trouble::Reboot,
    Trouble::ServerErrors,
    Trouble::Throttling,
    Trouble::LostReplies,
    Trouble::LostRequests,
    Trouble::Denied,
    Trouble::SlowCalls,
    Trouble::Drift,
    Trouble::Thefts,
    Trouble::Affirmed,
    Trouble::Sighup,
    Trouble::ClockSteps,
    Trouble::ClockWrong,
    Trouble::ClaimsLost,
    Trouble::DesiredFileLost,
    Trouble::DesiredFileSpoilt,
    Trouble::Rollout,
    Trouble::HalfVotes,
    Trouble::Held,
    Trouble::UnseenSuccessor,
];

impl Director {
    /// The node that a fault of Pgpool hits. Mostly this is the leader.
    fn victim(&self, cluster: &mut Cluster, vip: usize) -> usize {
        let any = cluster.rng.usize(..cluster.nodes.len());
        self.leader[vip].filter(|_| cluster.rng.u8(..5) > 0).unwrap_or(any)
    }

    /// Begins the fault.
    pub async fn trouble(&mut self, cluster: &mut Cluster, trouble: Trouble) {
        let vip = cluster.rng.usize(..cluster.vips.len());
        let node = self.victim(cluster, vip);
        self.last = Some(trouble);
        *self.begun.entry(format!("{trouble:?}")).or_default() += 1;
        cluster.timeline.say("WORLD", format_args!("{trouble:?} of {vip} at {}", cluster.nodes[node].place.name));
        match trouble {
            Trouble::Handover => {
                if self.leader[vip] == Some(node) {
                    self.deescalate(cluster, vip, node);
                    self.lose_leader(cluster, vip, 2000, 4000);
                }
            }
            Trouble::PgpoolStopped => {
                // The leader first tells its peers and then runs `down`.
                let Some(process) = self.pgpool[vip][node].process() else { return };
                if self.leader[vip] == Some(node) {
                    self.deescalate(cluster, vip, node);
                    self.lose_leader(cluster, vip, 2000, 4000);
                }
                self.soon(cluster, 100, 2000, Happening::PgpoolEnds { vip, node, process });
            }
            Trouble::PgpoolKilled => {
                let Some(process) = self.pgpool[vip][node].process() else { return };
                self.end_pgpool(cluster, vip, node, process);
            }
            Trouble::PgpoolFrozen => {
                let Pgpool::Runs(process) = self.pgpool[vip][node] else { return };
                self.pgpool[vip][node] = Pgpool::Frozen(process);
                if self.leader[vip] == Some(node) {
                    self.lose_leader(cluster, vip, 5000, 12_000);
                }
                self.soon(cluster, 3000, 30_000, Happening::PgpoolContinues { vip, node, process });
            }
            Trouble::CutFromPeers => self.isolate(cluster, node),
            Trouble::CutFromEc2 => self.cut(cluster, node),
            Trouble::CutFromBoth => {
                self.isolate(cluster, node);
                self.cut(cluster, node);
            }
            Trouble::DaemonKilled => {
                cluster.kill_daemon(node).await;
                let boot = self.boot[node];
                self.soon(cluster, 50, 25_000, Happening::DaemonStarts { node, boot });
            }
            Trouble::Reboot => self.reboot(cluster, node).await,
            Trouble::ServerErrors => {
                let kind = FaultKind::ServerError { status: 500, code: "InternalError".into() };
                self.fault(cluster, node, kind);
            }
            Trouble::Throttling => self.fault(cluster, node, FaultKind::Throttle),
            Trouble::LostReplies => self.fault(cluster, node, FaultKind::DropAfter),
            Trouble::LostRequests => self.fault(cluster, node, FaultKind::DropBefore),
            Trouble::Denied => self.fault(cluster, node, FaultKind::Deny),
            Trouble::SlowCalls => {
                // The delay is longer than the client waits, so EC2 carries such a change out after the client gave up.
                let kind = FaultKind::Latency { least: millis(500), most: seconds(7) };
                self.fault(cluster, node, kind);
            }
            Trouble::Drift => by_hand::drift(cluster, vip, node),
            Trouble::Thefts => {
                let again = cluster.rng.u32(..4);
                self.soon(cluster, 0, 1, Happening::Theft { vip, again });
            }
            Trouble::Affirmed => self.soon(cluster, 0, 1, Happening::Affirmation { vip, node }),
            Trouble::Sighup => cluster.nodes[node].wake(Wake::Config),
            Trouble::ClockSteps => {
                let skew_ms = cluster.rng.i64(-2000..=2000);
                cluster.nodes[node].computer.set_skew_ms(skew_ms);
            }
            Trouble::ClockWrong => self.clock_wrong(cluster, node),
            Trouble::ClaimsLost => {
                cluster.kill_daemon(node).await;
                cluster.nodes[node].computer.lose_claims();
                cluster.checks.memory_was_lost(&cluster.nodes[node].place.name);
                let boot = self.boot[node];
                self.soon(cluster, 50, 3000, Happening::DaemonStarts { node, boot });
            }
            Trouble::DesiredFileLost => {
                cluster.nodes[node].computer.lose_file(cluster.vips[vip].ip);
                let boot = self.boot[node];
                self.soon(cluster, 1000, 20_000, Happening::LossNoticed { vip, node, boot });
            }
            Trouble::DesiredFileSpoilt => {
                cluster.nodes[node].computer.spoil_file(cluster.vips[vip].ip);
                self.soon(cluster, 1000, 20_000, Happening::FileMended { vip, node });
            }
            Trouble::Rollout => self.roll_out(cluster),
            Trouble::HalfVotes => self.half_votes(cluster, vip),
            Trouble::Held => self.hold(cluster, vip, node),
            Trouble::UnseenSuccessor => self.unseen_successor(cluster, vip),
        }
    }

    /// A node without its desired-state file touches nothing, and lets nothing go, until the next hook. Its claim on
    /// record stays, unless it stood by.
    pub(super) fn loss_noticed(&mut self, cluster: &mut Cluster, vip: usize, node: usize) {
        self.second[vip].take_if(|(second, _)| *second == node);
        let computer = &cluster.nodes[node].computer;
        computer.down(cluster.vips[vip].ip, &computer.hook(computer.spawn()));
        if self.leader[vip] == Some(node) {
            self.lose_leader(cluster, vip, 500, 4000);
        }
    }

    fn clock_wrong(&mut self, cluster: &mut Cluster, node: usize) {
        cluster.checks.clocks_are_wrong();
        let computer = &cluster.nodes[node].computer;
        let right = computer.skew_ms().clamp(-2000, 2000);
        let step = cluster.rng.i64(3000..=90_000);
        computer.set_skew_ms(if cluster.rng.bool() { right + step } else { right - step });
        let now = cluster.estate.clock.now();
        let lasts = millis(cluster.rng.u64(1000..=20_000));
        // A term from a clock that was ahead is newer than all others until their clocks have reached it.
        let until = now + lasts + millis(step.unsigned_abs()) + seconds(6);
        self.clocks_wrong_until = self.clocks_wrong_until.max(until);
        self.at(now + lasts, Happening::ClockSet { node, skew_ms: right });
    }

    /// A changed configuration reaches each node at another time, and the old one comes back in the same way.
    fn roll_out(&mut self, cluster: &mut Cluster) {
        for node in 0..cluster.nodes.len() {
            let variation = VARIATIONS[cluster.rng.usize(..VARIATIONS.len())];
            let base = cluster.config.clone();
            let changed = variation.of(&base, &mut cluster.rng);
            cluster.timeline.say("WORLD", format_args!("{variation:?} rolls to {}", cluster.nodes[node].place.name));
            *self.begun.entry(format!("Rollout of {variation:?}")).or_default() += 1;
            let began = cluster.estate.clock.now() + millis(cluster.rng.u64(..15_000));
            let ends = began + millis(cluster.rng.u64(2000..60_000));
            for (at, config) in [(began, changed), (ends, base)] {
                let (config, restarts) = (Box::new(config), cluster.rng.u8(..3) == 0);
                self.at(at, Happening::Reconfigured { node, config, restarts });
            }
        }
    }

    fn hold(&mut self, cluster: &mut Cluster, vip: usize, node: usize) {
        let extent = if cluster.rng.bool() { Extent::Everything } else { Extent::ExceptRelease };
        let (lasts, is_ended_early) = (cluster.rng.u64(2000..=40_000), cluster.rng.bool());
        cluster.nodes[node].computer.hold(cluster.vips[vip].ip, millis(lasts), extent);
        if cluster.rng.bool() {
            self.soon(cluster, 0, lasts, Happening::DaemonRestarts { node });
        }
        if cluster.rng.bool() {
            self.soon(cluster, 0, lasts, Happening::Theft { vip, again: 0 });
        }
        // A hold that nobody ends early has ended by itself a moment before.
        let ends = if is_ended_early { cluster.rng.u64(..lasts) } else { lasts + 1000 };
        self.soon(cluster, ends, ends, Happening::HoldEnds { vip, node });
    }

    /// The next leader reads nothing of the old one's claim within the time in which it may raise its term. The old leader
    /// looks again while its file still says leader.
    fn unseen_successor(&mut self, cluster: &mut Cluster, vip: usize) {
        let Some(node) = self.leader[vip] else { return };
        let Pgpool::Runs(process) = self.pgpool[vip][node] else { return };
        self.pgpool[vip][node] = Pgpool::Frozen(process);
        for other in (0..cluster.nodes.len()).filter(|other| *other != node) {
            self.soon(cluster, 0, 400, Happening::DaemonRestarts { node: other });
        }
        self.lose_leader(cluster, vip, 500, 4000);
        self.soon(cluster, 25_000, 40_000, Happening::PgpoolContinues { vip, node, process });
        let mut unread = Fault::new(FaultKind::ServerError { status: 500, code: "InternalError".into() });
        for read in ["DescribeAddresses", "DescribeRouteTables", "DescribeNetworkInterfaces", "DescribeTags"] {
            unread = unread.at(read);
        }
        let fault = cluster.estate.fault(unread);
        self.soon(cluster, 11_000, 14_000, Happening::FaultEnds(fault));
    }

    /// Another node becomes leader too. It gives up once the halves see each other again.
    fn half_votes(&mut self, cluster: &mut Cluster, vip: usize) {
        let Some(leader) = self.leader[vip].filter(|_| self.second[vip].is_none()) else { return };
        let now = cluster.estate.clock.now();
        let others: Vec<_> = self.candidates(vip).into_iter().filter(|node| *node != leader).collect();
        if others.is_empty() || self.last_up[vip].is_some_and(|up| now < up + BETWEEN_LEADERSHIPS) {
            return;
        }
        let node = others[cluster.rng.usize(..others.len())];
        let Pgpool::Runs(process) = self.pgpool[vip][node] else { return };
        self.seconds += 1;
        let number = self.seconds;
        self.second[vip] = Some((node, number));
        self.last_up[vip] = Some(now);
        self.claims.push((now, node));
        cluster.nodes[node].computer.up(cluster.vips[vip].ip, &cluster.nodes[node].computer.hook(process));
        self.soon(cluster, 1000, 30_000, Happening::SecondLeaderEnds { vip, node, number });
    }

    pub(super) fn second_leader_ends(&mut self, cluster: &mut Cluster, vip: usize, node: usize) {
        let Some((_, number)) = self.second[vip] else { return };
        if let Pgpool::Frozen(_) = self.pgpool[vip][node] {
            return self.soon(cluster, 1000, 3000, Happening::SecondLeaderEnds { vip, node, number });
        }
        self.second[vip] = None;
        // The leadership of a second leader that died ended with its process.
        let Pgpool::Runs(process) = self.pgpool[vip][node] else { return };
        let computer = &cluster.nodes[node].computer;
        computer.down(cluster.vips[vip].ip, &computer.hook(process));
    }

    fn isolate(&mut self, cluster: &mut Cluster, node: usize) {
        if self.is_isolated(node) {
            return;
        }
        self.isolation[node] += 1;
        let isolation = self.isolation[node];
        for vip in 0..self.leader.len() {
            if self.leader[vip] == Some(node) {
                self.soon(cluster, 5500, 9000, Happening::Deadtime { vip, node, isolation });
            }
        }
        self.soon(cluster, 3000, 30_000, Happening::PeersBack { node });
    }

    fn cut(&mut self, cluster: &mut Cluster, node: usize) {
        let how = if cluster.rng.bool() { Cut::Hang } else { Cut::Refuse };
        let name = cluster.nodes[node].place.name.clone();
        let fault = cluster.estate.fault(Fault::new(FaultKind::Cut { how }).of_caller(&name));
        self.soon(cluster, 1000, 30_000, Happening::FaultEnds(fault));
    }

    /// EC2 fails for a while: for one node or all nodes, and for some calls or all calls.
    fn fault(&mut self, cluster: &mut Cluster, node: usize, kind: FaultKind) {
        let mut fault = Fault::new(kind).with_chance([0.3, 0.7, 1.0][cluster.rng.usize(..3)]);
        if cluster.rng.bool() {
            fault = fault.of_caller(&cluster.nodes[node].place.name.clone());
        }
        if cluster.rng.bool() {
            let operations = [
                "AssociateAddress",
                "ReplaceRoute",
                "CreateRoute",
                "CreateTags",
                "AssignPrivateIpAddresses",
                "DescribeAddresses",
                "DescribeRouteTables",
                "DescribeNetworkInterfaces",
                "DescribeTags",
                "DisassociateAddress",
            ];
            for _ in 0..cluster.rng.usize(1..=3) {
                fault = fault.at(operations[cluster.rng.usize(..operations.len())]);
            }
        }
        let fault = cluster.estate.fault(fault);
        self.soon(cluster, 1000, 25_000, Happening::FaultEnds(fault));
    }

    async fn reboot(&mut self, cluster: &mut Cluster, node: usize) {
        self.boot[node] += 1;
        let boot = self.boot[node];
        if cluster.nodes[node].is_running() {
            cluster.kill_daemon(node).await;
        }
        cluster.nodes[node].reboot().await;
        self.soon(cluster, 3000, 15_000, Happening::DaemonStarts { node, boot });
        for vip in 0..self.leader.len() {
            if self.second[vip].take_if(|(second, _)| *second == node).is_some() {
                self.up_lost[vip] = true;
            }
            self.pgpool[vip][node] = Pgpool::Dead;
            self.soon(cluster, 5000, 20_000, Happening::PgpoolStarts { vip, node, boot });
            if self.leader[vip] == Some(node) {
                self.lose_leader(cluster, vip, 2000, 8000);
            }
        }
    }
}
