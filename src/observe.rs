//! Derives each VIP, and the sights of its bindings, from the config, the node's identity and the last reads.
//! [`observe()`] is pure: the loop does the reading.

use crate::binding::{Binding, BindingKey, Kind, Vip};
use crate::config::{Config, VipConfig};
use crate::observe::look::{claims, look};
use crate::observe::seen::{Claims, Moment, Observed, Seen, Serving, Sight, WhyUnseen, Witness};

pub use self::known::{Known, configured_keys};
pub use self::look::tags;
pub use self::question::{Answer, Question, Source, TagChoice, Topic, ask};
pub use self::world::{LastRead, World};

pub mod cause;
mod known;
mod look;
pub mod obstacles;
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
                // A read that does not show the resource is a look all the same.
                Err(why @ WhyUnseen::NoSuchResource(_)) => {
                    Sight { seen: Seen::Unknown(why), at: read_at(key.kind, binding.as_ref(), world) }
                }
                Err(why) => Sight { seen: Seen::Unknown(why), at: Moment::ZERO },
            };
            (key.clone(), sight)
        })
        .collect();
    // With claims off, no claim binds this node. It still reads claims, to tell people of nodes that record theirs.
    let claims = vip.anchor.as_ref().map_or(Claims::Unknown, |anchor| claims(&vip, anchor, world));
    let local = known.presences(&vip, world);
    (vip, Observed { sights, local, claims, witness: Witness::Silent, serving: Serving::default(), server_ms: None })
}

/// When the last read began that shows bindings of this kind.
fn read_at(kind: Kind, binding: Option<&Binding>, world: &World) -> Moment {
    let at = match (kind, binding) {
        (Kind::ElasticIp, _) => world.addresses.read().map(|(_, at)| at),
        (Kind::Route, Some(Binding::Route { account, .. })) => {
            world.tables.get(account).unwrap_or(&LastRead::NotRead).read().map(|(_, at)| at)
        }
        (Kind::SecondaryIp | Kind::SourceDestCheck, _) => world.interfaces.read().map(|(_, at)| at),
        (Kind::Route, _) => Err(WhyUnseen::NotRead),
        (Kind::LocalAddress, _) => world.local.read().map(|(_, at)| at),
    };
    at.unwrap_or(Moment::ZERO)
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
