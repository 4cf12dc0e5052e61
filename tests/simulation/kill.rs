//! A daemon that is killed before and after each of its effects: every call of EC2, every change of the kernel's
//! addresses, every claim that it persists. Whatever the point, the daemon that starts next comes to the same end, and
//! no rule is broken on the way. The hooks and the files have such a test in `desired::write` and `machine::whole_file`.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ec2_endpoint::{Answer, Describe, Operation};
use vipkeeper::machine::process::Process;

use crate::checks::{Checks, LateWatch, Party, VipSpec};
use crate::cluster::spec;
use crate::support::estate::{self, Estate, by_elastic_ip, by_route, by_secondary_ip};
use crate::support::node::{Shared, SimNode};
use crate::support::recorder::Detail;
use crate::support::{Clock, Timeline, in_paused_time, millis, pass, seconds};

/// The part of a leadership in which the first node's daemon is killed.
#[derive(Debug, Clone, Copy)]
enum Scene {
    /// The second node gives the VIP up, and the first node takes it.
    Failover,
    /// The first node gives the VIP up, and the second node takes it a moment later.
    Release,
    /// The second node becomes leader, and the first node gets no `down`.
    Superseded,
    /// Another tool takes everything from the first node, which leads.
    Restored,
    /// The second node becomes leader too, and gives up in favour of the first one, which had not.
    Followed,
}

/// The time after the beginning of the scene in which the daemon may die.
const SCENE: Duration = Duration::from_secs(20);
/// The time in which everything settles afterwards.
const REST: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
enum Shape {
    ElasticIp,
    Routes,
    Secondary,
}

struct Stage {
    estate: Estate,
    nodes: Vec<SimNode>,
    guards: Vec<Process>,
    vip: VipSpec,
    checks: Rc<Checks>,
    timeline: Rc<Timeline>,
}

/// Everything that a run leaves behind: where each pointer is, the local addresses, and the claims on record.
type End = BTreeMap<String, String>;

impl Stage {
    fn new(shape: Shape) -> Self {
        let clock = Clock::start();
        let estate = Estate::new(clock, 2, 7);
        estate.latency(millis(40));
        let addresses = match shape {
            Shape::ElasticIp => {
                estate.allocate("203.0.113.9");
                vec![by_elastic_ip("203.0.113.9")]
            }
            Shape::Routes => vec![by_route("20.0.0.9", &estate.add_tables(2))],
            Shape::Secondary => vec![by_secondary_ip("10.0.1.59")],
        };
        let config = estate::config(vec![estate::vip(addresses)]);
        let vip = spec(&estate, &config.vips[0]);
        let timeline = Rc::new(Timeline::kept(clock));
        let watch = Rc::new(LateWatch::default());
        let shared = Shared {
            timeline: Rc::clone(&timeline),
            detail: Detail::Cheap,
            watch: Some(Rc::clone(&watch) as _),
            seed: 5,
        };
        let nodes: Vec<_> = (0..2).map(|index| SimNode::new(&estate, index, config.clone(), &shared)).collect();
        let parties = nodes.iter().map(Party::of).collect();
        let checks = Rc::new(Checks::new(vec![vip.clone()], parties, Rc::clone(&timeline)));
        *watch.0.borrow_mut() = Some(Rc::clone(&checks));
        let guards = nodes.iter().map(|node| node.computer.spawn()).collect();
        Self { estate, nodes, guards, vip, checks, timeline }
    }

    fn up(&self, node: usize) {
        self.nodes[node].computer.up(self.vip.ip, &self.nodes[node].computer.hook(self.guards[node]));
    }

    fn down(&self, node: usize) {
        self.nodes[node].computer.down(self.vip.ip, &self.nodes[node].computer.hook(self.guards[node]));
    }

    /// Plays the scene. The first node's daemon dies at the point with this number.
    async fn play(&mut self, scene: Scene, dies_at: Option<usize>) -> Result<(End, Vec<String>), String> {
        self.nodes.iter_mut().for_each(SimNode::start);
        pass(seconds(1)).await;
        self.up(usize::from(matches!(scene, Scene::Failover)));
        pass(seconds(25)).await;
        if let Scene::Followed = scene {
            self.up(1);
            pass(seconds(10)).await;
        }
        self.checks.something_happened(&self.estate.account());
        let switch = Rc::clone(&self.nodes[0].ec2.switch);
        switch.arm(dies_at);
        match scene {
            Scene::Failover => {
                self.down(1);
                pass(millis(5)).await;
                self.up(0);
            }
            Scene::Release => self.down(0),
            Scene::Superseded => self.up(1),
            Scene::Restored => self.rob(),
            Scene::Followed => self.down(1),
        }
        let began = self.estate.clock.now();
        let mut later = matches!(scene, Scene::Release).then_some(seconds(3));
        while self.estate.clock.now() < began + SCENE {
            pass(millis(20)).await;
            if later.take_if(|at| self.estate.clock.now() >= began + *at).is_some() {
                self.up(1);
            }
            if switch.is_dead() {
                self.restart().await;
            }
        }
        pass(REST).await;
        self.checks.breach().map_or(Ok(()), Err)?;
        self.nodes.iter().for_each(SimNode::assert_alive);
        Ok((self.end(), switch.names()))
    }

    /// The dead daemon's task ends, and another daemon starts.
    async fn restart(&mut self) {
        self.timeline.say("WORLD", format_args!("the daemon of a died"));
        self.nodes[0].kill().await;
        pass(millis(300)).await;
        self.nodes[0].ec2.switch.revive();
        self.nodes[0].start();
        self.checks.something_happened(&self.estate.account());
    }

    /// Another tool removes every pointer of the VIP, and the local addresses.
    fn rob(&self) {
        for pointer in &self.vip.pointers {
            let removal = pointer.removal(&self.estate.account());
            if let Some(removal) = removal {
                self.estate.by_hand(&removal);
            }
        }
        self.vip.local.iter().for_each(|address| self.nodes[0].computer.remove_by_hand(*address));
        self.checks.something_happened(&self.estate.account());
    }

    fn end(&self) -> End {
        let mut end = End::new();
        let account = self.estate.account();
        for pointer in &self.vip.pointers {
            end.insert(format!("{pointer:?}"), format!("{:?}", pointer.holder(&account)));
        }
        for node in &self.nodes {
            let local = self.vip.local.iter().filter(|address| node.computer.has_local(**address));
            end.insert(format!("local of {}", node.place.name), format!("{:?}", local.collect::<Vec<_>>()));
            let in_sync = node.recorder.is_in_sync(self.vip.ip);
            end.insert(format!("in sync at {}", node.place.name), in_sync.to_string());
        }
        let describe = Describe::default().filter("resource-id", &[&self.vip.anchor]);
        let Ok(Answer::Tags(tags)) = account.clone().apply(&Operation::DescribeTags(describe)) else {
            panic!("the anchor is there")
        };
        end.extend(tags.items.iter().map(|tag| (tag.key.clone(), tag.value.clone())));
        end
    }
}

fn played(scene: Scene, shape: Shape, dies_at: Option<usize>) -> Result<(End, Vec<String>), String> {
    in_paused_time(async {
        let mut stage = Stage::new(shape);
        let ended = stage.play(scene, dies_at).await;
        ended.map_err(|breach| format!("{}\n{breach}", stage.timeline.text()))
    })
}

/// Kills the first node's daemon at each point of the scene in turn, and compares the ends.
fn killed_everywhere(scene: Scene, effects: &[&str]) {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for shape in [Shape::ElasticIp, Shape::Routes, Shape::Secondary] {
        let what = format!("{scene:?} of {shape:?}");
        let (end, names) = played(scene, shape, None).unwrap_or_else(|why| panic!("{what}: {why}"));
        assert!(end.iter().all(|(key, value)| !key.starts_with("in sync") || value == "true"), "{what}: {end:?}");
        for (number, name) in (1..).zip(&names) {
            let at = format!("{what}, killed {name} (point {number} of {})", names.len());
            let (ended, passed) = played(scene, shape, Some(number)).unwrap_or_else(|why| panic!("{at}: {why}"));
            assert_eq!(passed[..number], names[..number], "{at}: the run before the point is the same");
            assert_eq!(ended, end, "{at}");
            *kinds.entry(name.clone()).or_default() += 1;
        }
    }
    println!("{scene:?}: a daemon was killed at {} points: {kinds:?}", kinds.values().sum::<usize>());
    for effect in effects {
        for when in ["before", "after"] {
            assert!(kinds.contains_key(&format!("{when} {effect}")), "{when} {effect} among {kinds:?}");
        }
    }
}

const TAKES: [&str; 5] = ["save", "AssociateAddress", "ReplaceRoute", "AssignPrivateIpAddresses", "add an address"];
const RELEASES: [&str; 3] = ["DisassociateAddress", "UnassignPrivateIpAddresses", "remove an address"];

#[test]
fn a_daemon_that_is_killed_while_it_takes_comes_to_the_same_end() {
    killed_everywhere(Scene::Failover, &TAKES);
}

#[test]
fn a_daemon_that_is_killed_while_it_lets_go_comes_to_the_same_end() {
    killed_everywhere(Scene::Release, &RELEASES);
}

#[test]
fn a_daemon_that_is_killed_while_it_is_superseded_comes_to_the_same_end() {
    killed_everywhere(Scene::Superseded, &["save", "remove an address"]);
}

#[test]
fn a_daemon_that_is_killed_while_it_puts_back_comes_to_the_same_end() {
    killed_everywhere(Scene::Restored, &["AssociateAddress", "CreateRoute", "AssignPrivateIpAddresses"]);
}

#[test]
fn a_daemon_that_is_killed_while_it_follows_comes_to_the_same_end() {
    killed_everywhere(Scene::Followed, &["save"]);
}
