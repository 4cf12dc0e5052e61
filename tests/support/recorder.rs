//! A reporter that remembers the statuses and the news that it gets.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use vipkeeper::report::{News, PassResult, Reporter};
use vipkeeper::status::{BindingStatus, Condition, Status, VipStatus};

use super::ec2::Watch;
use super::{Clock, Timeline};

/// The amount that the recorder remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Everything that tests of one node ask for.
    Full,
    /// Only the counts.
    Cheap,
}

pub struct Recorder {
    clock: Clock,
    who: String,
    detail: Detail,
    timeline: Rc<Timeline>,
    watch: Option<Rc<dyn Watch>>,
    status: RefCell<Option<Status>>,
    /// The times at which a status was told.
    pub told: RefCell<Vec<Duration>>,
    /// One line for each piece of news.
    news: RefCell<Vec<(Duration, String)>>,
    pub passes: RefCell<Vec<(Duration, PassResult)>>,
    /// The VIPs that were in sync in the last status. `vips` is the number of VIPs in that status.
    synced: RefCell<BTreeSet<IpAddr>>,
    vips: Cell<usize>,
    /// The VIPs that nobody serves, as the last status tells it.
    unserved: RefCell<BTreeSet<IpAddr>>,
    /// The time of each status, and the longest wait before a next try in that status.
    pub backoffs: RefCell<Vec<(Duration, Duration)>>,
    pub converged: RefCell<Vec<(IpAddr, Duration)>>,
    /// The times from EC2's word to the first packet.
    pub came: RefCell<Vec<Duration>>,
}

impl Recorder {
    pub fn new(clock: Clock, who: &str, detail: Detail, timeline: Rc<Timeline>, watch: Option<Rc<dyn Watch>>) -> Self {
        Self {
            clock,
            who: who.to_owned(),
            detail,
            timeline,
            watch,
            status: RefCell::default(),
            told: RefCell::default(),
            news: RefCell::default(),
            passes: RefCell::default(),
            synced: RefCell::default(),
            vips: Cell::new(usize::MAX),
            unserved: RefCell::default(),
            backoffs: RefCell::default(),
            converged: RefCell::default(),
            came: RefCell::default(),
        }
    }

    pub fn is_in_sync(&self, vip: IpAddr) -> bool {
        self.synced.borrow().contains(&vip)
    }

    /// Whether the node tells that nobody serves the VIP.
    pub fn says_nobody_serves(&self, vip: IpAddr) -> bool {
        self.unserved.borrow().contains(&vip)
    }

    pub fn all_in_sync(&self) -> bool {
        self.synced.borrow().len() == self.vips.get()
    }

    pub fn last(&self) -> Status {
        self.status.borrow().clone().expect("the loop tells its status before anything else can be asked")
    }

    pub fn vip(&self, delegate_ip: &str) -> VipStatus {
        let delegate_ip: IpAddr = delegate_ip.parse().expect("an address");
        let vips = self.last().vips;
        vips.into_iter().find(|vip| vip.delegate_ip == delegate_ip).expect("a VIP of the config")
    }

    /// The binding that `name` names, like `route rtb-1`.
    pub fn binding(&self, delegate_ip: &str, name: &str) -> BindingStatus {
        let bindings = self.vip(delegate_ip).bindings;
        let found = bindings.iter().find(|binding| format!("{} {}", binding.kind, binding.target) == name);
        found.unwrap_or_else(|| panic!("no {name} among {bindings:?}")).clone()
    }

    pub fn condition(&self, delegate_ip: &str, name: impl std::fmt::Display) -> Condition {
        let name = name.to_string();
        let conditions = self.vip(delegate_ip).conditions;
        conditions.into_iter().find(|condition| condition.name.as_str() == name).expect("a known condition")
    }

    /// The times at which news that contain `text` came.
    pub fn heard(&self, text: &str) -> Vec<Duration> {
        self.news.borrow().iter().filter(|(_, news)| news.contains(text)).map(|(at, _)| *at).collect()
    }
}

impl Reporter for Recorder {
    fn news(&self, news: &News<'_>) {
        let now = self.clock.now();
        match news {
            News::PassDone { result, .. } => self.passes.borrow_mut().push((now, *result)),
            News::Converged { vip, .. } => self.converged.borrow_mut().push((*vip, now)),
            News::PacketsCame { after, .. } => self.came.borrow_mut().push(*after),
            _ => {}
        }
        if self.detail == Detail::Full {
            self.news.borrow_mut().push((now, format!("{news:?}")));
        }
        let said_elsewhere = matches!(news, News::Observed { .. } | News::PassDone { .. });
        if !said_elsewhere && self.timeline.is_kept() {
            self.timeline.say(&self.who, format_args!("{news:?}"));
        }
    }

    fn status(&self, status: &Status) {
        let synced = status.vips.iter().filter(|vip| vip.in_sync).map(|vip| vip.delegate_ip);
        *self.synced.borrow_mut() = synced.collect();
        self.vips.set(status.vips.len());
        *self.unserved.borrow_mut() = unserved(status).collect();
        if let Some(watch) = &self.watch {
            watch.tells(&self.who, status);
        }
        if self.detail == Detail::Full {
            let held_back = |vip: &VipStatus| {
                let errors = vip.bindings.iter().filter_map(|binding| binding.last_error.as_ref());
                let errors = errors.chain(vip.claim.iter().filter_map(|claim| claim.record_error.as_ref()));
                errors.map(|error| Duration::from_millis(error.held_back_ms)).max().unwrap_or_default()
            };
            let longest = status.vips.iter().map(held_back).max().unwrap_or_default();
            self.backoffs.borrow_mut().push((self.clock.now(), longest));
            *self.status.borrow_mut() = Some(status.clone());
            self.told.borrow_mut().push(self.clock.now());
        }
    }
}

/// The VIPs that nobody serves, as this status tells it.
pub fn unserved(status: &Status) -> impl Iterator<Item = IpAddr> + '_ {
    let is_unserved = |vip: &&VipStatus| vip.clients.as_ref().is_some_and(|clients| clients.nobody_serves);
    status.vips.iter().filter(is_unserved).map(|vip| vip.delegate_ip)
}
