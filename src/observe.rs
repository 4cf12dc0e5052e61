//! Derives each VIP, and the sights of its bindings, from the config, the node's identity and the last reads.
//! [`observe()`] is pure: the loop does the reading.

use crate::binding::{BindingKey, ClaimMode, Kind, Vip};
use crate::config::{Config, VipConfig};
use crate::observe::look::{claims, look};
use crate::observe::seen::{Claims, Moment, Observed, Seen, Sight, WhyUnseen, Witness};

pub use self::known::{Known, configured_keys};
pub use self::look::tags;
pub use self::question::{Answer, Question, Source, TagChoice, Topic, ask};
pub use self::world::{LastRead, World};

pub mod cause;
mod known;
mod look;
pub mod question;
pub mod seen;
mod world;

/// One VIP of the config, and everything that was seen of it.
#[must_use]
pub fn observe(config: &Config, vip: &VipConfig, known: &Known, world: &World) -> (Vip, Observed) {
    let (vip, unresolved) = known.resolve(config, vip);
    let sights = vip
        .bindings
        .iter()
        .map(|(key, binding)| {
            let looked = match binding {
                Some(binding) => look(binding, world),
                None => Err(explain(key, unresolved.get(key).cloned().unwrap_or(WhyUnseen::NotRead), world)),
            };
            let sight = match looked {
                Ok((seen, at)) => Sight { seen, at },
                Err(why) => Sight { seen: Seen::Unknown(why), at: Moment::ZERO },
            };
            (key.clone(), sight)
        })
        .collect();
    let claims = match (&vip.anchor, vip.claims) {
        (Some(anchor), ClaimMode::Tags) => claims(&vip, anchor, world),
        (None, _) | (_, ClaimMode::Off) => Claims::Unknown,
    };
    let local = known.presences(&vip, world);
    (vip, Observed { sights, local, claims, witness: Witness::Silent, server_ms: None })
}

/// The reason why a binding has no ids. An Elastic IP whose id was not found does not exist if the addresses were read.
fn explain(key: &BindingKey, why: WhyUnseen, world: &World) -> WhyUnseen {
    match (key.kind, why) {
        (Kind::ElasticIp, WhyUnseen::NotRead) => match world.addresses.read() {
            Ok(_) => WhyUnseen::NoSuchResource(format!("Elastic IP {}", key.target)),
            Err(why) => why,
        },
        (_, why) => why,
    }
}
