//! The course of every node, looked at from outside each 25 ms: the words of its hooks, whether its kernel has the
//! delegate IP, whether the machine is there at all; and which faults EC2 had.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ec2_endpoint::service::FaultId;
use ec2_endpoint::{Endpoint, Fault, FaultKind};
use vipkeeper::desired::file::{DesiredFile, Wanted};

use super::client::now;
use super::machine::has_address;

const EACH: Duration = Duration::from_millis(25);

/// The states of one thing, each with the time from which on it held, oldest first.
pub type Track<T> = Vec<(Duration, T)>;

/// Times are since the Unix epoch, as everywhere in the lab.
#[derive(Debug, Clone, Default)]
pub struct NodeRecord {
    pub runs: Track<bool>,
    /// Whether the newest hook made it leader; nothing before the first one.
    pub leads: Track<Option<bool>>,
    pub has_address: Track<bool>,
}

/// Something that was wrong for a while.
#[derive(Debug, Clone)]
pub struct Trouble {
    pub what: String,
    pub from: Duration,
    /// None while it lasts.
    pub to: Option<Duration>,
}

#[derive(Debug, Clone, Default)]
pub struct Record {
    pub nodes: Vec<NodeRecord>,
    pub troubles: Vec<Trouble>,
    /// All other events, in the words of the code that let them happen.
    pub notes: Vec<(Duration, String)>,
}

/// Records until dropped.
pub struct Recorder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    delegate_ip: Ipv4Addr,
    /// The folder in /proc of each node's init; none while the machine is off.
    inits: Mutex<Vec<Option<PathBuf>>>,
    record: Mutex<Record>,
    stop: AtomicBool,
}

impl Recorder {
    /// Faults that EC2 has already belong to it and are not recorded.
    pub fn start(endpoint: &Endpoint, delegate_ip: Ipv4Addr, nodes: usize) -> Self {
        let record = Record { nodes: vec![NodeRecord::default(); nodes], ..Record::default() };
        let shared = Arc::new(Shared {
            delegate_ip,
            inits: Mutex::new(vec![None; nodes]),
            record: Mutex::new(record),
            stop: AtomicBool::new(false),
        });
        let (ours, endpoint) = (Arc::clone(&shared), endpoint.clone());
        let usual: Vec<FaultId> = endpoint.service().faults().map(|(id, _)| id).collect();
        let thread = thread::spawn(move || {
            let mut open = BTreeMap::new();
            while !ours.stop.load(Ordering::Relaxed) {
                ours.look_at_nodes();
                let faults = endpoint.service().faults().map(|(id, fault)| (id, fault.clone())).collect::<Vec<_>>();
                ours.look_at_faults(faults.into_iter().filter(|(id, _)| !usual.contains(id)).collect(), &mut open);
                thread::sleep(EACH);
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// The node's machine is there from now on; `init` is the pid of its first process.
    pub fn boot(&self, node: usize, init: &str) {
        lock(&self.shared.inits)[node] = Some(Path::new("/proc").join(init));
    }

    pub fn power_off(&self, node: usize) {
        lock(&self.shared.inits)[node] = None;
    }

    /// Something happens now that a reader should see.
    pub fn note(&self, what: &str) {
        lock(&self.shared.record).notes.push((now(), what.to_owned()));
    }

    pub fn record(&self) -> Record {
        lock(&self.shared.record).clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn look_at_nodes(&self) {
        let inits = lock(&self.inits).clone();
        for (node, init) in inits.iter().enumerate() {
            let leads = init.as_deref().and_then(|init| self.desired(init));
            let has_address = init.as_deref().is_some_and(|init| has_address(init, self.delegate_ip));
            let at = now();
            let mut record = lock(&self.record);
            let record = &mut record.nodes[node];
            push(&mut record.runs, at, init.is_some());
            push(&mut record.leads, at, leads);
            push(&mut record.has_address, at, has_address);
        }
    }

    /// Whether the newest hook made it leader.
    fn desired(&self, init: &Path) -> Option<bool> {
        let file = init.join(format!("root/run/vipkeeper/desired/{}.json", self.delegate_ip));
        let file: DesiredFile = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
        Some(matches!(file.wanted, Wanted::Leader(_)))
    }

    /// `open` holds the place in the record of every fault that is on.
    fn look_at_faults(&self, faults: Vec<(FaultId, Fault)>, open: &mut BTreeMap<FaultId, usize>) {
        let at = now();
        let mut record = lock(&self.record);
        open.retain(|id, place| {
            let is_on = faults.iter().any(|(one, fault)| one == id && fault.remaining != Some(0));
            if !is_on {
                record.troubles[*place].to = Some(at);
            }
            is_on
        });
        for (id, fault) in faults.into_iter().filter(|(_, fault)| fault.remaining != Some(0)) {
            open.entry(id).or_insert_with(|| {
                record.troubles.push(Trouble { what: in_words(&fault), from: at, to: None });
                record.troubles.len() - 1
            });
        }
    }
}

fn push<T: PartialEq>(track: &mut Track<T>, at: Duration, value: T) {
    if track.last().is_none_or(|(_, last)| *last != value) {
        track.push((at, value));
    }
}

fn in_words(fault: &Fault) -> String {
    let what = match &fault.kind {
        FaultKind::Latency { .. } => "EC2 is slow",
        FaultKind::Stale { .. } => "EC2 answers out of date",
        FaultKind::Throttle => "EC2 throttles",
        FaultKind::ServerError { .. } => "EC2 has errors",
        FaultKind::Deny => "EC2 denies",
        FaultKind::ProxyHtml { .. } => "a gateway answers for EC2",
        FaultKind::DropBefore | FaultKind::DropAfter => "connections to EC2 break",
        FaultKind::EmptyBody => "EC2 answers with nothing",
        FaultKind::Cut { .. } => "no way to EC2",
    };
    let of = fault.scope.callers.iter().cloned().collect::<Vec<_>>().join(", ");
    if of.is_empty() { what.to_owned() } else { format!("{what} ({of})") }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
