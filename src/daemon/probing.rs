//! The loop's side of probes: what is to be asked and answered, and what was heard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Daemon;
use super::vip::VipLoop;
use crate::binding::{Binding, Kind};
use crate::decide::answers::{Answerer, LastAnswer};
use crate::decide::claim::Standing;
use crate::ec2::{Ec2Read, Ec2Write};
use crate::identity::Identify;
use crate::machine::kernel::Kernel;
use crate::observe::Known;
use crate::observe::seen::Now;
use crate::probe::ask::PacketWay;
use crate::probe::{self, Post, ProbesWanted};
use crate::report::News;
use crate::state_dir::Machine;
use crate::status::AnswersStatus;

impl<E: Ec2Read + Ec2Write + 'static, K: Kernel + 'static, I: Identify + 'static, M: Machine> Daemon<E, K, I, M> {
    /// Has these tasks ask and answer.
    pub fn probe_by(&mut self, post: Post) {
        self.post = post;
    }

    /// Says what is to be asked and answered now, and takes over what was heard.
    pub(super) fn probe(&mut self) {
        let now = self.now();
        self.post.want(self.probes_wanted());
        for vip in &mut self.vips {
            let delegate_ip = vip.config.delegate_ip;
            if vip.plan().is_some_and(|plan| plan.standing != Standing::Leader) {
                self.post.gave_up(delegate_ip);
            }
            let heard = self.post.heard(delegate_ip).filter(|_| self.config.probe.is_some());
            vip.hear(heard.map(|heard| at_moments(&heard, now)));
        }
        for (vip, after) in self.post.arrivals() {
            self.around.reporter.news(&News::PacketsCame { vip, after });
        }
    }

    fn probes_wanted(&self) -> Option<ProbesWanted> {
        let probe = self.config.probe?;
        let node = self.known.as_ref().map(Known::node)?;
        let mut answered: BTreeMap<IpAddr, BTreeSet<IpAddr>> = BTreeMap::new();
        for (at, name) in self.vips.iter().flat_map(VipLoop::answers_at) {
            answered.entry(at).or_default().extend([at, name]);
        }
        Some(ProbesWanted {
            instance: node.instance.clone(),
            port: probe.port,
            interval: probe.interval,
            asked: self.delegate_ips().collect(),
            answered,
        })
    }
}

/// The task's answers, with its times on the loop's clock.
fn at_moments(heard: &probe::LastReply, now: Now) -> LastAnswer {
    let by = match &heard.reply {
        None => Answerer::Nobody,
        Some(reply) if reply.way == PacketWay::Inside => Answerer::Inside,
        Some(reply) => Answerer::Node(reply.instance.clone()),
    };
    let moment = |at: tokio::time::Instant| now.at.saturating_sub(at.elapsed());
    LastAnswer { by, since: moment(heard.since), answered: heard.answered.map(moment) }
}

impl VipLoop {
    /// The local addresses at which probes of this VIP are answered, each with the address that clients use. An Elastic IP
    /// arrives at the private address that it leads to.
    fn answers_at(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        let local = self.config.addresses.iter().filter(|one| one.route.is_some() || one.secondary_ip.is_some());
        let local = local.map(|one| (one.address, one.address));
        let elastic = self.bindings().filter_map(|(key, binding)| match binding {
            Some(Binding::ElasticIp { private_ip, .. }) if key.kind == Kind::ElasticIp => {
                Some((IpAddr::V4(*private_ip), key.target.parse().ok()?))
            }
            _ => None,
        });
        local.chain(elastic)
    }

    fn hear(&mut self, heard: Option<LastAnswer>) {
        let (clients, me) = (self.clients(), self.instance().cloned());
        self.answers.learn(heard, clients.as_ref(), me.as_ref());
    }

    pub(super) fn answers_status(&self, now: Now) -> Option<AnswersStatus> {
        let heard = self.answers.heard()?;
        let (by, inside) = match &heard.by {
            Answerer::Nobody => (None, false),
            Answerer::Inside => (self.instance().cloned(), true),
            Answerer::Node(node) => (Some(node.clone()), false),
        };
        Some(AnswersStatus {
            by,
            inside,
            since_ms: now.wall_ms_before(heard.since),
            answered_ms: heard.answered.map(|at| now.wall_ms_before(at)),
        })
    }
}
