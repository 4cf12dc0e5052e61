//! A changed configuration: the settings that are taken over at once, and the settings that need a new process.

use std::rc::Rc;

use super::Daemon;
use super::vip::VipLoop;
use crate::config::{Config, WitnessMode};
use crate::decide::own_writes::OwnWrites;
use crate::ec2::{Ec2Read, Ec2Write};
use crate::identity::Identify;
use crate::machine::kernel::Kernel;
use crate::observe::observe;
use crate::problem::ProblemReason;
use crate::report::News;
use crate::state_dir::Machine;

impl<E: Ec2Read + Ec2Write + 'static, K: Kernel + 'static, I: Identify + 'static, M: Machine> Daemon<E, K, I, M> {
    /// Takes a changed config over. A problem tells of settings that cannot change while the daemon runs.
    pub(super) fn reload(&mut self) {
        let wall_ms = self.now().wall_ms;
        let reporter = Rc::clone(&self.around.reporter);
        let config = match (self.around.reload)() {
            Ok(config) => config,
            Err(message) => {
                reporter.news(&News::Reloaded { error: Some(&message) });
                let message = format!("the changed config is not in force: {message}");
                return self.problems.set(ProblemReason::ConfigInvalid, message, wall_ms);
            }
        };
        self.problems.clear(ProblemReason::ConfigInvalid);
        if needs_restart(&self.started_with, &config) {
            let message = "some of the changed settings need a restart: systemctl restart vipkeeper".to_owned();
            self.problems.set(ProblemReason::RestartNeeded, message, wall_ms);
        } else {
            self.problems.clear(ProblemReason::RestartNeeded);
        }
        match self.anchors_left(&config) {
            Some(message) => self.problems.set(ProblemReason::AnchorLeft, message, wall_ms),
            None => self.problems.clear(ProblemReason::AnchorLeft),
        }
        let now = self.now();
        self.left_behind.changed(&self.vips, &config);
        self.own_writes = OwnWrites::default();
        let mut before = std::mem::take(&mut self.vips);
        self.vips = config
            .vips
            .iter()
            .map(|vip| match before.iter().position(|vip_loop| vip_loop.config.delegate_ip == vip.delegate_ip) {
                Some(index) => before.swap_remove(index).reconfigured(vip.clone()),
                None => VipLoop::new(vip.clone(), &self.around.machine, now),
            })
            .collect();
        // A VIP that is gone from the config is not this node's business any more. Its changes that were not sent yet
        // are withdrawn.
        for gone in &before {
            self.in_flight.want_nothing(gone.config.delegate_ip);
        }
        self.around.machine.keep_only(&config.vips.iter().map(|vip| vip.delegate_ip).collect());
        self.config = config;
        self.left_behind.tell(&self.world, &mut self.problems, wall_ms);
        // The word of a witness that is switched off does not count any more. A witness that is switched on is asked
        // with the next look. If the witness stays switched on, its last word still counts.
        if self.config.witness == WitnessMode::Off {
            self.watchdog.forget();
        }
        self.reads.forget_choices();
        // The VIPs of the changed config may be on other interfaces.
        self.identifying.anew(now.at);
        self.stale.desired = true;
        // The watcher of the addresses was perhaps set up anew. Changes during that time may have gone unnoticed.
        self.stale.local = true;
        self.schedule.once_idle();
        reporter.news(&News::Reloaded { error: None });
    }

    /// Tells of each VIP whose anchor is no resource of the VIP any more under the changed config. Nodes that still
    /// record their claims there, and this node, then do not see one another's claims. The next reload asks anew.
    fn anchors_left(&self, changed: &Config) -> Option<String> {
        let known = self.known.as_ref()?;
        let left = self.vips.iter().filter_map(|before| {
            let anchor = before.anchor()?;
            let (after, _) = observe(changed, changed.vip(before.config.delegate_ip)?, known, &self.world);
            let stays = after.anchor.as_ref() == Some(anchor) || after.other_anchors().contains(anchor);
            let resource = anchor.resource();
            (!stays).then(|| {
                format!(
                    "the claims on {} were recorded on {resource}, which the changed config does not name: nodes that \
                     still record them there do not see this node's claims; give all nodes the changed config, or first \
                     name {resource} again",
                    after.delegate_ip
                )
            })
        });
        let left: Vec<_> = left.collect();
        (!left.is_empty()).then(|| left.join("; "))
    }
}

/// Whether a changed config holds something that only a new process can take over.
fn needs_restart(old: &Config, new: &Config) -> bool {
    (&old.state_dir, &old.identity, &old.aws, old.limits, old.listen, &old.pgpool, old.log)
        != (&new.state_dir, &new.identity, &new.aws, new.limits, new.listen, &new.pgpool, new.log)
}
