//! One node: its machine, its metadata service, and the daemon that runs on it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use vipkeeper::config::Config;
use vipkeeper::daemon::{Ask, Daemon, Knock, Surroundings};
use vipkeeper::identity::{Identify, Node};
use vipkeeper::machine::process::Process;
use vipkeeper::observe::seen::Port;
use vipkeeper::pgpool::watchdog::{Asked, Nobody, Word};
use vipkeeper::probe::Post;
use vipkeeper::problem::ProblemReason;
use vipkeeper::report::{News, Report, Reporter};
use vipkeeper::state_dir::Machine;
use vipkeeper::status::Status;
use vipkeeper::wake::{Parts, Wake};

use super::computer::Computer;
use super::ec2::{SimEc2, Watch};
use super::estate::{self, Estate, Place};
use super::recorder::{Detail, Recorder};
use super::{Clock, Timeline};

/// The metadata service of one node.
pub struct SimIdentity {
    pub node: RefCell<Node>,
    /// The number of requests that still fail, and the text of their failure.
    pub failures: Cell<u32>,
    pub failure: RefCell<String>,
    pub asked: Cell<u32>,
}

impl Identify for SimIdentity {
    async fn identify(&self, _config: &Config) -> Result<Node, String> {
        self.asked.set(self.asked.get() + 1);
        if self.failures.get() > 0 {
            self.failures.set(self.failures.get() - 1);
            return Err(self.failure.borrow().clone());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(self.node.borrow().clone())
    }

    async fn instance_type(&self, _config: &Config) -> Result<String, String> {
        Ok("t3.medium".to_owned())
    }
}

/// A node with everything on it.
pub struct SimNode {
    pub place: Place,
    pub computer: Computer,
    pub ec2: Rc<SimEc2>,
    pub identity: Rc<SimIdentity>,
    pub recorder: Rc<Recorder>,
    /// The report that a daemon makes beside what the recorder remembers.
    pub report: Option<Rc<Report>>,
    /// The config that a daemon reads at its start or reload.
    pub config: Rc<RefCell<Result<Config, String>>>,
    clock: Clock,
    detail: Detail,
    timeline: Rc<Timeline>,
    watch: Option<Rc<dyn Watch>>,
    daemon: Option<JoinHandle<()>>,
    /// The answer of this node's Pgpool watchdog.
    pub word: Rc<RefCell<Option<Word>>>,
    /// The parts around the loop.
    pub parts: Parts,
    /// The exchange with this node's probes.
    pub post: Post,
    /// Pgpool's watchdog runs a hook meanwhile and answers nobody.
    pub stands_still: Rc<Cell<bool>>,
    /// The number of questions to Pgpool's watchdog so far.
    pub asked: Rc<Cell<usize>>,
    /// Whether Pgpool answers at the port at which it serves clients, and how often that was tried.
    pub port: Rc<Cell<Port>>,
    pub knocks: Rc<Cell<usize>>,
    rng: fastrand::Rng,
}

/// The recorder, and the report if the test wants one.
struct Both(Rc<Recorder>, Option<Rc<Report>>);

impl Reporter for Both {
    fn news(&self, news: &News<'_>) {
        self.0.news(news);
        self.1.iter().for_each(|report| report.news(news));
    }

    fn status(&self, status: &Status) {
        self.0.status(status);
        self.1.iter().for_each(|report| report.status(status));
    }
}

/// The things that all nodes of a simulated world share.
pub struct Shared {
    pub timeline: Rc<Timeline>,
    pub detail: Detail,
    pub watch: Option<Rc<dyn Watch>>,
    pub seed: u64,
}

impl SimNode {
    /// A node that was just switched on. No daemon runs on it yet.
    pub fn new(estate: &Estate, index: usize, config: Config, shared: &Shared) -> Self {
        let place = estate.nodes[index].clone();
        let (clock, timeline) = (estate.clock, Rc::clone(&shared.timeline));
        let ec2 = SimEc2::new(
            Rc::clone(&estate.service),
            clock,
            &place.name,
            config.limits,
            Rc::clone(&timeline),
            shared.watch.clone(),
        );
        let watch = shared.watch.clone();
        let recorder = Recorder::new(clock, &place.name, shared.detail, Rc::clone(&timeline), watch.clone());
        let identity = SimIdentity {
            node: RefCell::new(estate::identity(estate, &place)),
            failures: Cell::new(0),
            failure: RefCell::new("the metadata service does not answer".to_owned()),
            asked: Cell::new(0),
        };
        Self {
            computer: Computer::new(&place.name, clock, &ec2.switch),
            ec2: Rc::new(ec2),
            identity: Rc::new(identity),
            recorder: Rc::new(recorder),
            report: None,
            config: Rc::new(RefCell::new(Ok(config))),
            clock,
            detail: shared.detail,
            timeline,
            watch,
            daemon: None,
            word: Rc::default(),
            parts: Parts::default(),
            post: Post::default(),
            stands_still: Rc::default(),
            asked: Rc::default(),
            port: Rc::new(Cell::new(Port::Silent)),
            knocks: Rc::default(),
            rng: fastrand::Rng::with_seed(shared.seed ^ (index as u64 + 1)),
            place,
        }
    }

    /// Starts the daemon. Each daemon has a new reporter.
    pub fn start(&mut self) {
        self.start_on(self.computer.clone());
    }

    /// Starts the daemon with this machine instead of the simulated one.
    pub fn start_on(&mut self, machine: impl Machine + 'static) {
        assert!(self.daemon.is_none(), "one daemon at a time");
        let (name, timeline, watch) = (&self.place.name, Rc::clone(&self.timeline), self.watch.clone());
        self.recorder = Rc::new(Recorder::new(self.clock, name, self.detail, timeline, watch));
        let (sender, wakes) = mpsc::channel(16);
        self.post = Post::waking(sender.clone());
        {
            let mut memory = self.computer.memory.borrow_mut();
            memory.wakes = Some(sender);
            if memory.forgets {
                memory.persisted.clear();
            }
        }
        let config = Rc::clone(&self.config);
        let around = Surroundings {
            ask_watchdog: self.ask_watchdog(),
            knock: self.knock(),
            ec2: Rc::clone(&self.ec2),
            kernel: Rc::new(self.computer.clone()),
            identify: Rc::clone(&self.identity),
            machine,
            reporter: Rc::new(Both(Rc::clone(&self.recorder), self.report.clone())),
            reload: Box::new(move || config.borrow().clone()),
            rng: self.rng.fork(),
        };
        let config = self.config.borrow().clone().expect("a daemon starts only with a good config");
        let mut daemon = Daemon::new(config, around);
        daemon.follow(self.parts.clone());
        daemon.probe_by(self.post.clone());
        self.daemon = Some(tokio::task::spawn_local(daemon.run(wakes)));
    }

    /// Tries this node's Pgpool.
    pub fn knock(&self) -> Knock {
        let (port, knocks) = (Rc::clone(&self.port), Rc::clone(&self.knocks));
        Box::new(move |_| {
            knocks.set(knocks.get() + 1);
            let answers = port.get();
            Box::pin(async move { answers })
        })
    }

    /// Asks Pgpool's watchdog on this node.
    pub fn ask_watchdog(&self) -> Ask {
        let (word, stands_still, asked) =
            (Rc::clone(&self.word), Rc::clone(&self.stands_still), Rc::clone(&self.asked));
        Box::new(move || {
            asked.set(asked.get() + 1);
            if stands_still.get() {
                return Box::pin(async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Asked::NoAnswer("it did not answer within 1s".to_owned())
                });
            }
            let said = word.borrow().clone();
            let asked = said.map_or_else(|| Asked::Nobody(Nobody::NoSocket(Vec::new())), Asked::Word);
            Box::pin(async move { asked })
        })
    }

    pub fn is_running(&self) -> bool {
        self.daemon.is_some()
    }

    /// Ends the daemon as `kill -9` does.
    pub async fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            self.computer.memory.borrow_mut().wakes = None;
            daemon.abort();
            let _ = daemon.await;
        }
    }

    /// Ends the daemon as SIGTERM does.
    pub async fn stop(&mut self) {
        self.wake(Wake::Shutdown);
        if let Some(daemon) = self.daemon.take() {
            daemon.await.expect("a daemon that is told to stop does not panic");
        }
        self.computer.memory.borrow_mut().wakes = None;
    }

    /// Switches the machine off and on. The caller starts the daemon again.
    pub async fn reboot(&mut self) {
        self.kill().await;
        self.computer.reboot();
    }

    pub fn wake(&self, wake: Wake) {
        self.computer.memory.borrow().wake(wake);
    }

    /// Reports the outcome of one part around the loop.
    pub fn part(&self, reason: ProblemReason, outcome: Result<(), &str>) {
        let wakes = self.computer.memory.borrow().wakes.clone().expect("a daemon runs");
        self.parts.voice(reason, wakes).tell(outcome.map_err(str::to_owned));
    }

    /// Pgpool makes this node the leader.
    pub fn up(&self, vip: &str, guard: Process) {
        self.computer.up(vip.parse().expect("an address"), &self.computer.hook(guard));
    }

    pub fn down(&self, vip: &str, guard: Process) {
        self.computer.down(vip.parse().expect("an address"), &self.computer.hook(guard));
    }

    pub fn has_local(&self, address: &str) -> bool {
        self.computer.has_local(address.parse().expect("an address"))
    }

    /// Fails if the daemon panicked. Without this check, such a daemon would only look quiet.
    pub fn assert_alive(&self) {
        if let Some(daemon) = &self.daemon {
            assert!(!daemon.is_finished(), "the daemon of {} ended by itself", self.place.name);
        }
    }
}
