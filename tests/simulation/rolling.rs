//! Rolling changes of the configuration: for a while each node has a configuration of its own.

use std::net::Ipv4Addr;

use vipkeeper::binding::ClaimMode;
use vipkeeper::config::{AnchorConfig, Config, Tables, VipConfig};

use crate::support::estate::INTERFACE;

/// One way in which a node's configuration differs from that of the other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variation {
    TableOrder,
    /// One table is not named yet, or not named any more.
    TableMissing,
    /// Another resource of the VIP is named as the anchor.
    Anchor,
    ClaimsOff,
    /// The last address of the VIP is not named yet, or not named any more.
    AddressMissing,
    AddressOrder,
    VipOrder,
    /// The first interface is named, which is the default too.
    InterfaceNamed,
    /// An interface is named that this machine does not have.
    InterfaceMissing,
    PrivateIp,
}

pub const VARIATIONS: [Variation; 10] = [
    Variation::TableOrder,
    Variation::TableMissing,
    Variation::Anchor,
    Variation::ClaimsOff,
    Variation::AddressMissing,
    Variation::AddressOrder,
    Variation::VipOrder,
    Variation::InterfaceNamed,
    Variation::InterfaceMissing,
    Variation::PrivateIp,
];

impl Variation {
    /// The configuration with this difference. Equal to `base` if the difference has no meaning there.
    pub fn of(self, base: &Config, rng: &mut fastrand::Rng) -> Config {
        let mut config = base.clone();
        let vip = rng.usize(..config.vips.len());
        let count = config.vips.len();
        let changed = &mut config.vips[vip];
        match self {
            Self::TableOrder => tables_of(changed).for_each(|tables| rng.shuffle(tables)),
            Self::TableMissing => {
                for tables in tables_of(changed).filter(|tables| tables.len() > 1) {
                    tables.remove(rng.usize(..tables.len()));
                }
            }
            Self::Anchor => changed.anchor = another_anchor(changed, rng),
            Self::ClaimsOff => config.claims = ClaimMode::Off,
            Self::AddressMissing if changed.addresses.len() > 1 => _ = changed.addresses.pop(),
            Self::AddressOrder => rng.shuffle(&mut changed.addresses[1..]),
            Self::VipOrder => config.vips.rotate_left(usize::from(count > 1)),
            Self::InterfaceNamed => on_interface(changed, INTERFACE),
            Self::InterfaceMissing => on_interface(changed, "eth9"),
            Self::PrivateIp => {
                // Every ENI carries the secondary address of the VIP only while its node leads.
                let secondary = changed.addresses.iter().find(|address| address.secondary_ip.is_some());
                let secondary = secondary.and_then(|address| address.address.to_string().parse::<Ipv4Addr>().ok());
                let elastic = changed.addresses.iter_mut().find_map(|address| address.elastic_ip.as_mut());
                if let Some(elastic) = elastic {
                    elastic.private_ip = elastic.private_ip.or(secondary);
                }
            }
            Self::AddressMissing => {}
        }
        config
    }
}

fn tables_of(vip: &mut VipConfig) -> impl Iterator<Item = &mut Vec<vipkeeper::config::TableRef>> {
    let routes = vip.addresses.iter_mut().filter_map(|address| address.route.as_mut());
    routes.filter_map(|route| match &mut route.tables {
        Tables::Ids(tables) => Some(tables),
        Tables::Tagged { .. } => None,
    })
}

fn another_anchor(vip: &VipConfig, rng: &mut fastrand::Rng) -> Option<AnchorConfig> {
    let tables: Vec<_> = vip.named_tables().map(|table| AnchorConfig::RouteTable(table.id.clone())).collect();
    (!tables.is_empty()).then(|| tables[rng.usize(..tables.len())].clone())
}

fn on_interface(vip: &mut VipConfig, name: &str) {
    for address in &mut vip.addresses {
        let name = || Some(name.to_owned());
        if let Some(elastic) = &mut address.elastic_ip {
            elastic.interface = name();
        }
        if let Some(route) = &mut address.route {
            route.interface = name();
        }
        if let Some(secondary) = &mut address.secondary_ip {
            secondary.interface = name();
        }
    }
}
