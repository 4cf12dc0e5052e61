//! The scenes: the events that come to the cluster, and the outcome that each scene must have.

use std::fmt::Write as _;
use std::time::Duration;

use ec2_endpoint::{AssociateAddress, DeleteRoute, Fault, FaultKind, Operation};
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, DELEGATE_IP};
use super::timeline::Timeline;

/// How often the outcome is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a right outcome must stay.
const STAYS: Duration = Duration::from_millis(2500);
/// How long EC2 throttles in the throttling scene.
const THROTTLED_FOR: Duration = Duration::from_secs(10);

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

/// The outcome of one scene.
pub struct SceneResult {
    title: &'static str,
    /// The time from the event that matters until every binding was at the right node; `None` if that did not happen.
    converged_after: Option<Duration>,
    /// The things that went wrong.
    wrong: Vec<String>,
    reads: usize,
    writes: usize,
}

impl SceneResult {
    pub fn came_out_right(&self) -> bool {
        self.converged_after.is_some() && self.wrong.is_empty()
    }
}

/// Plays all scenes. A scene that comes out wrong does not stop the others.
pub async fn play(cluster: &mut Cluster, timeline: &Timeline) -> anyhow::Result<Vec<SceneResult>> {
    let mut stage = Stage { cluster, timeline, results: Vec::new() };
    stage.first_leader().await?;
    stage.graceful_switch().await?;
    stage.leader_lost().await?;
    stage.elastic_ip_stolen().await?;
    stage.route_deleted().await?;
    stage.late_down().await?;
    stage.throttled_failover().await?;
    stage.daemon_restart().await?;
    Ok(stage.results)
}

struct Stage<'a> {
    cluster: &'a mut Cluster,
    timeline: &'a Timeline,
    results: Vec<SceneResult>,
}

impl Stage<'_> {
    async fn first_leader(&mut self) -> anyhow::Result<()> {
        let scene = self.begin("the first leader");
        self.hook(A, "up")?;
        self.expect(scene, A, Duration::from_secs(5)).await;
        Ok(())
    }

    async fn graceful_switch(&mut self) -> anyhow::Result<()> {
        let mut scene = self.begin("a graceful switch: the old leader stands down, another takes over");
        self.hook(A, "down")?;
        sleep(Duration::from_millis(500)).await;
        scene.restart();
        self.hook(B, "up")?;
        self.expect(scene, B, Duration::from_secs(5)).await;
        Ok(())
    }

    async fn leader_lost(&mut self) -> anyhow::Result<()> {
        let mut scene = self.begin("the leader's machine is lost: no `down`, its routes are black holes");
        self.timeline.event("node-b is gone");
        self.cluster.lose_machine(B)?;
        sleep(Duration::from_millis(500)).await;
        scene.restart();
        self.hook(C, "up")?;
        self.expect(scene, C, Duration::from_secs(5)).await;
        Ok(())
    }

    async fn elastic_ip_stolen(&mut self) -> anyhow::Result<()> {
        let scene = self.begin("somebody points the Elastic IP at node-a by hand");
        let steal = Operation::AssociateAddress(AssociateAddress {
            allocation_id: Some(self.cluster.served.network.allocation.clone()),
            network_interface_id: Some(self.cluster.nodes[A].machine.eni.clone()),
            allow_reassociation: Some(true),
            ..AssociateAddress::default()
        });
        self.timeline.event("aws ec2 associate-address --allow-reassociation …");
        self.cluster.by_hand(&steal)?;
        self.expect(scene, C, Duration::from_secs(20)).await;
        Ok(())
    }

    async fn route_deleted(&mut self) -> anyhow::Result<()> {
        let scene = self.begin("somebody deletes a route by hand");
        let delete = Operation::DeleteRoute(DeleteRoute {
            route_table_id: self.cluster.served.network.tables[0].clone(),
            destination_cidr_block: Some(format!("{DELEGATE_IP}/32")),
            ..DeleteRoute::default()
        });
        self.timeline.event("aws ec2 delete-route …");
        self.cluster.by_hand(&delete)?;
        self.expect(scene, C, Duration::from_secs(10)).await;
        Ok(())
    }

    async fn late_down(&mut self) -> anyhow::Result<()> {
        let scene = self.begin("the old leader's `down` comes after the new leader's `up`");
        self.hook(A, "up")?;
        let mut scene = self.reach(scene, A, Duration::from_secs(5)).await;
        self.timeline.event("and only now:");
        self.hook(C, "down")?;
        self.watch(&mut scene, A).await;
        self.end(scene);
        Ok(())
    }

    async fn throttled_failover(&mut self) -> anyhow::Result<()> {
        let scene = self.begin("EC2 throttles every call for 10 s, just when the leader changes");
        let fault = self.cluster.endpoint().service().add_fault(Fault::new(FaultKind::Throttle));
        self.hook(A, "down")?;
        self.hook(C, "up")?;
        sleep(THROTTLED_FOR).await;
        self.cluster.endpoint().service().remove_fault(fault);
        self.timeline.event("EC2 answers again");
        self.expect(scene, C, Duration::from_secs(15)).await;
        Ok(())
    }

    async fn daemon_restart(&mut self) -> anyhow::Result<()> {
        let mut scene = self.begin("the leader's daemon is killed and started again: nothing may move");
        self.cluster.kill_daemon(C);
        self.timeline.event("node-c's daemon is down");
        self.watch(&mut scene, C).await;
        self.cluster.start_daemon(C)?;
        self.timeline.event("node-c's daemon is up again");
        scene.restart();
        let mut scene = self.reach(scene, C, Duration::from_secs(5)).await;
        self.watch(&mut scene, C).await;
        // Only this node's writes count: the other nodes may still tidy up after the scene before.
        let name = self.cluster.nodes[C].machine.name;
        let writes = self.writes_since(&scene, |caller| caller == name);
        if writes > 0 {
            scene.wrong.push(format!("{writes} writes, where none was needed"));
        }
        self.end(scene);
        Ok(())
    }

    fn begin(&mut self, title: &'static str) -> Scene {
        self.timeline.scene(self.results.len() + 1, title);
        let mark = self.cluster.endpoint().service().mark();
        Scene { title, mark, began: Instant::now(), converged_after: None, wrong: Vec::new() }
    }

    fn hook(&self, index: usize, command: &str) -> anyhow::Result<()> {
        self.timeline.event(&format!("{}: vipkeeper {command} {DELEGATE_IP}", self.cluster.nodes[index].machine.name));
        self.cluster.hook(index, command)
    }

    /// Waits for every binding to be at the leader, watches that everything stays there, and closes the scene.
    async fn expect(&mut self, scene: Scene, leader: usize, within: Duration) {
        let mut scene = self.reach(scene, leader, within).await;
        if scene.converged_after.is_some() {
            self.watch(&mut scene, leader).await;
        }
        self.end(scene);
    }

    async fn reach(&self, mut scene: Scene, leader: usize, within: Duration) -> Scene {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if scene.converged_after.is_none() && self.cluster.points_at(leader) {
                scene.converged_after = Some(scene.began.elapsed());
            }
            let tidy = || self.cluster.says_in_sync(leader) && self.cluster.left_behind(leader).is_empty();
            if scene.converged_after.is_some() && tidy() {
                return scene;
            }
            sleep(LOOK_EVERY).await;
        }
        let name = self.cluster.nodes[leader].machine.name;
        scene.wrong.push(match scene.converged_after {
            None => format!("not everything points at {name} after {within:?}"),
            Some(_) if !self.cluster.says_in_sync(leader) => {
                format!("{name} does not say that it is in sync after {within:?}")
            }
            Some(_) => {
                format!("{} still has the address after {within:?}", self.cluster.left_behind(leader).join(", "))
            }
        });
        scene
    }

    /// Watches for [`STAYS`] that everything stays at the leader.
    async fn watch(&self, scene: &mut Scene, leader: usize) {
        let until = Instant::now() + STAYS;
        while Instant::now() < until {
            if !self.cluster.points_at(leader) {
                scene.wrong.push(format!("it left {} again", self.cluster.nodes[leader].machine.name));
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn writes_since(&self, scene: &Scene, of: impl Fn(&str) -> bool) -> usize {
        let service = self.cluster.endpoint().service();
        service.calls_since(scene.mark).filter(|call| call.write && of(&call.caller.name)).count()
    }

    fn end(&mut self, scene: Scene) {
        let writes = self.writes_since(&scene, |caller| caller != "operator");
        let reads = {
            let service = self.cluster.endpoint().service();
            service.calls_since(scene.mark).filter(|call| !call.write).count()
        };
        let Scene { title, converged_after, wrong, .. } = scene;
        let result = SceneResult { title, converged_after, wrong, reads, writes };
        self.timeline.say(self.cluster.views().trim_end());
        match (&result.converged_after, result.came_out_right()) {
            (Some(after), true) => {
                self.timeline.right(&format!("everything in place after {:.2} s", after.as_secs_f64()));
            }
            _ => self.timeline.wrong(&result.wrong.join("; ")),
        }
        self.results.push(result);
    }
}

/// A scene that is being played.
struct Scene {
    title: &'static str,
    mark: ec2_endpoint::service::Mark,
    began: Instant,
    converged_after: Option<Duration>,
    wrong: Vec<String>,
}

impl Scene {
    /// Starts the scene's clock again: the events before now only led up to the event that matters.
    fn restart(&mut self) {
        self.began = Instant::now();
    }
}

/// The table of all outcomes, for the end of the demo.
pub fn table(results: &[SceneResult]) -> String {
    let width = results.iter().map(|result| result.title.chars().count()).max().unwrap_or_default();
    let mut text = format!("\n{:<width$}  converged in  reads  writes\n", "scene");
    for result in results {
        let after = result.converged_after.map_or("never".to_owned(), |after| format!("{:.2} s", after.as_secs_f64()));
        let verdict =
            if result.came_out_right() { String::new() } else { format!("  WRONG: {}", result.wrong.join("; ")) };
        // Writing into a string cannot fail.
        let _ =
            writeln!(text, "{:<width$}  {after:>12}  {:>5}  {:>6}{verdict}", result.title, result.reads, result.writes);
    }
    text
}
