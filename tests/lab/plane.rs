//! The data plane: makes what EC2 says true for packets, in the machine that routes the lab's VPC, after every change of
//! the account at once. It knows nothing of vipkeeper or Pgpool, only the account and which interface of the router
//! leads to which ENI.
//!
//! | in EC2 | in the router |
//! |---|---|
//! | route table | a routing table of its own, for packets from the subnets that use it |
//! | route to an ENI | a route to the ENI's primary address; none while its instance does not run (a blackhole) |
//! | private addresses | a host route to the ENI's link |
//! | Elastic IP | both directions rewritten without connection tracking, so that a move takes open connections along |
//! | source/destination check | packets from or to other addresses than the ENI's are dropped |

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::future::pending;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ec2_endpoint::account::model::{Eni, RouteTarget};
use ec2_endpoint::{Account, Endpoint};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::machine::Machine;

/// Where the Internet is: what the VPC's gateway translates for.
const INTERNET: &str = "{ 198.51.100.0/24, 203.0.113.0/24 }";
/// The routing table of the first route table; the others follow.
const FIRST_TABLE: usize = 100;
/// The kernel's `main`.
const MAIN: usize = 254;

/// Shared by the thread that follows the account and by who plugs links in.
#[derive(Clone)]
pub struct Plane(Arc<Mutex<State>>);

/// Ends with the lab.
pub struct Following {
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    router: Arc<Machine>,
    /// The router's interface that leads to each ENI that is plugged in.
    links: BTreeMap<String, String>,
    /// The routes in the kernel: table and destination, and the next hop.
    routes: BTreeMap<(usize, String), String>,
    rules: String,
    /// So long after EC2 has accepted a change, packets go by it.
    carried_after: Duration,
}

/// A reason for the thread that follows the account to wake.
enum Woken {
    Changed,
    /// The first change that waits is due.
    Due,
    /// The lab ends.
    Over,
}

impl Plane {
    pub fn new(router: Arc<Machine>) -> Self {
        let state = State {
            router,
            links: BTreeMap::new(),
            routes: BTreeMap::new(),
            rules: String::new(),
            carried_after: Duration::ZERO,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Packets that come in at `link` are routed by this route table.
    pub fn use_table(&self, account: &Account, link: &str, table: &str) {
        let number = FIRST_TABLE + account.route_tables().position(|one| one.id == table).unwrap();
        self.state().router.run(&format!("ip rule add pref {number} iif {link} lookup {number}"));
    }

    /// Packets that come in at `link` are routed by this route table, and no more by the other one.
    pub fn change_table(&self, account: &Account, link: &str, (from, to): (&str, &str)) {
        let number = FIRST_TABLE + account.route_tables().position(|one| one.id == from).unwrap();
        self.state().router.run(&format!("ip rule del pref {number} iif {link} lookup {number}"));
        self.use_table(account, link, to);
    }

    /// Packets go by each change only so long after EC2 has accepted it, from now on.
    pub fn carry_after(&self, late: Duration) {
        self.state().carried_after = late;
    }

    /// The ENI's machine is there, behind `link`.
    pub fn plug(&self, account: &Account, eni: &str, link: &str) {
        let mut state = self.state();
        state.links.insert(eni.to_owned(), link.to_owned());
        state.apply(account);
    }

    /// Its machine is gone, and the link with it; the kernel has dropped the routes there itself.
    pub fn unplug(&self, eni: &str) {
        let mut state = self.state();
        if let Some(link) = state.links.remove(eni) {
            let there = format!("dev {link}");
            state.routes.retain(|_, how| !how.ends_with(&there));
        }
    }

    /// Applies every change from now on, on a thread of its own, and as late as [`Self::carry_after`] says.
    pub fn follow(&self, endpoint: &Endpoint) -> Following {
        let mut account = endpoint.service().subscribe();
        let (stop, mut stopped) = watch::channel(());
        let plane = self.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let mut waiting = VecDeque::<(Instant, Account)>::new();
            loop {
                let due = waiting.front().map(|(due, _)| *due);
                let woken = runtime.block_on(async {
                    tokio::select! {
                        changed = account.changed() => if changed.is_ok() { Woken::Changed } else { Woken::Over },
                        () = until(due) => Woken::Due,
                        _ = stopped.changed() => Woken::Over,
                    }
                });
                match woken {
                    Woken::Changed => {
                        let due = Instant::now() + plane.state().carried_after;
                        waiting.push_back((due, account.borrow_and_update().clone()));
                    }
                    Woken::Due => {
                        let (_, account) = waiting.pop_front().expect("something was due");
                        plane.state().apply(&account);
                    }
                    Woken::Over => break,
                }
            }
        });
        Following { stop: Some(stop), thread: Some(thread) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Never, where there is no such moment.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

impl Following {
    /// # Panics
    /// When a change could not be applied: then nothing that was measured since counts.
    pub fn assert_well(&self) {
        assert!(self.thread.as_ref().is_some_and(|thread| !thread.is_finished()), "the data plane has failed");
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn apply(&mut self, account: &Account) {
        let rules = self.rules_for(account);
        if rules != self.rules {
            self.router.feed("nft", &["-f", "-"], &rules);
            self.rules = rules;
        }
        let routes = self.routes_for(account);
        let mut batch = String::new();
        for ((table, destination), how) in &routes {
            if self.routes.get(&(*table, destination.clone())) != Some(how) {
                let _ = writeln!(batch, "route replace table {table} {destination} {how}");
            }
        }
        for (table, destination) in self.routes.keys().filter(|place| !routes.contains_key(place)) {
            let _ = writeln!(batch, "route del table {table} {destination}");
        }
        if !batch.is_empty() {
            self.router.feed("ip", &["-batch", "-"], &batch);
        }
        self.routes = routes;
    }

    fn routes_for(&self, account: &Account) -> BTreeMap<(usize, String), String> {
        let mut routes = BTreeMap::new();
        for (eni, link) in self.plugged(account) {
            for address in &eni.private_ips {
                routes.insert((MAIN, address.to_string()), format!("dev {link}"));
            }
        }
        for (number, table) in (FIRST_TABLE..).zip(account.route_tables()) {
            for (destination, route) in &table.routes {
                let RouteTarget::NetworkInterface(id) = &route.target else { continue };
                let Some(link) = self.links.get(id).filter(|_| account.is_in_service(id)) else { continue };
                let Some(eni) = account.eni(id) else { continue };
                let destination = destination.to_string();
                let destination = destination.strip_suffix("/32").unwrap_or(&destination).to_owned();
                routes.insert((number, destination), format!("via {} onlink dev {link}", eni.primary_ip()));
            }
        }
        routes
    }

    fn rules_for(&self, account: &Account) -> String {
        let mut check = String::new();
        let mut deliver = String::new();
        for (eni, link) in self.plugged(account).filter(|(eni, _)| eni.source_dest_check) {
            let own: Vec<_> = eni.private_ips.iter().map(Ipv4Addr::to_string).collect();
            let own = own.join(", ");
            let _ = writeln!(check, "iifname {link} ip saddr != {{ {own} }} drop");
            let _ = writeln!(deliver, "oifname {link} ip daddr != {{ {own} }} drop");
        }
        let (mut leave, mut arrive) = (String::new(), String::new());
        for address in account.elastic_ips() {
            let Some(association) = &address.association else { continue };
            let (public, private) = (address.public_ip, association.private_ip);
            let _ = writeln!(leave, "ip daddr {INTERNET} ip saddr {private} ip saddr set {public}");
            let _ = writeln!(arrive, "ip daddr {public} ip daddr set {private}");
        }
        format!(
            "table ip vpc\ndelete table ip vpc\ntable ip vpc {{\n\
             chain arrival {{ type filter hook prerouting priority -300\n{check}{leave}{arrive}}}\n\
             chain delivery {{ type filter hook forward priority 0\n{deliver}}}\n}}\n"
        )
    }

    fn plugged<'a>(&'a self, account: &'a Account) -> impl Iterator<Item = (&'a Eni, &'a str)> {
        self.links.iter().filter_map(|(id, link)| Some((account.eni(id)?.as_ref(), link.as_str())))
    }
}

/// Lets no packet pass between these links of the router, in either direction, and none from those to the router itself.
/// Cuts the network, and ends every earlier cut.
pub fn cut(router: &Machine, between: &[(&str, &str)], from_router: &[String]) {
    let pairs: BTreeSet<_> = between.iter().flat_map(|(one, other)| [(*one, *other), (*other, *one)]).collect();
    let passing =
        pairs.iter().fold(String::new(), |rules, (from, to)| format!("{rules}iifname {from} oifname {to} drop\n"));
    let arriving = from_router.iter().fold(String::new(), |rules, link| format!("{rules}iifname {link} drop\n"));
    let rules = format!(
        "table ip cut\ndelete table ip cut\ntable ip cut {{\n\
         chain passing {{ type filter hook forward priority -10\n{passing}}}\n\
         chain arriving {{ type filter hook input priority -10\n{arriving}}}\n}}\n"
    );
    router.feed("nft", &["-f", "-"], &rules);
}

/// So many of a hundred packets between these links of the router are lost, in either direction.
pub fn lose(router: &Machine, between: &[&str], percent: u32) {
    let links = between.join(", ");
    let rules = format!(
        "table ip loss {{\nchain passing {{ type filter hook forward priority -11\n\
         iifname {{ {links} }} oifname {{ {links} }} numgen random mod 100 < {percent} drop\n}}\n}}\n"
    );
    router.feed("nft", &["-f", "-"], &rules);
}
