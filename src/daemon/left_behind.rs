//! Whatever still leads to this node although the configuration does not name it any more. The loop changes only what
//! the configuration names, so the loop tells of such things and leaves them alone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::problems::Problems;
use super::vip::VipLoop;
use crate::binding::{BindingKey, Kind};
use crate::config::{Config, Tables};
use crate::observe::{LastRead, World, configured_keys};
use crate::problem::ProblemReason;

/// The bindings in EC2 that left the configuration with its last change, while they pointed at this node. Nobody asks
/// EC2 about them any more, so they are told of until the next change. The kernel is asked in each look.
#[derive(Debug, Default)]
pub struct LeftBehind {
    in_ec2: BTreeSet<(IpAddr, BindingKey)>,
    /// The message that was told last.
    told: Option<String>,
}

impl LeftBehind {
    /// Compares the bindings that point here with a changed configuration.
    pub fn changed(&mut self, vips: &[VipLoop], config: &Config) {
        let configured = configured_keys(config);
        let stays = |vip: IpAddr, key: &BindingKey| {
            let named = configured.iter().any(|(of, keys)| *of == vip && keys.contains(key));
            // Whether a table is among those chosen by tag is known only after the next look.
            named || (key.kind == Kind::Route && chooses_by_tag(config, vip))
        };
        let here = vips.iter().flat_map(|vip| vip.seen_here().map(|key| (vip.config.delegate_ip, key)));
        self.in_ec2 = here.filter(|(vip, key)| !stays(*vip, key)).map(|(vip, key)| (vip, key.clone())).collect();
    }

    /// Sets or clears the problem by the kernel's last answer.
    pub fn tell(&mut self, world: &World, problems: &mut Problems, wall_ms: u64) {
        let in_ec2 = self.in_ec2.iter().map(|(vip, key)| format!("{key} of {vip}"));
        let local = match &world.local {
            LastRead::Read { value, .. } => value.left_behind.iter().collect(),
            LastRead::NotRead | LastRead::Failed(_) => Vec::new(),
        };
        let local = local.into_iter().map(|entry| format!("local address {entry}"));
        let all: Vec<_> = in_ec2.chain(local).collect();
        let message = (!all.is_empty()).then(|| {
            format!(
                "the configuration does not name these any more, and they still lead to this node: {}; remove them by \
                 hand, or name them again",
                all.join("; ")
            )
        });
        if message == self.told {
            return;
        }
        self.told.clone_from(&message);
        match message {
            Some(message) => problems.set(ProblemReason::LeftBehind, message, wall_ms),
            None => problems.clear(ProblemReason::LeftBehind),
        }
    }
}

fn chooses_by_tag(config: &Config, vip: IpAddr) -> bool {
    let routes = config.vip(vip).into_iter().flat_map(|vip| &vip.addresses).filter_map(|it| it.route.as_ref());
    routes.into_iter().any(|route| matches!(route.tables, Tables::Tagged { .. }))
}
