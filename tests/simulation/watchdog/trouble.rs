//! The faults around the watchdogs, and the beginning of each. The end of a fault is planned at its beginning.

use ec2_endpoint::Fault;
use ec2_endpoint::service::{Cut, FaultKind};
use vipkeeper::wake::Wake;

use crate::by_hand;
use crate::cluster::Cluster;
use crate::support::{millis, seconds};

use super::{Director, Happening, Pgpool};

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
}

pub const TROUBLES: [Trouble; 19] = [
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
        }
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
            self.pgpool[vip][node] = Pgpool::Dead;
            self.soon(cluster, 5000, 20_000, Happening::PgpoolStarts { vip, node, boot });
            if self.leader[vip] == Some(node) {
                self.lose_leader(cluster, vip, 2000, 8000);
            }
        }
    }
}
