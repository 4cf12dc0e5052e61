//! Everything known from reads that must make a takeover by this node fail. EC2 itself says it only when the takeover
//! is tried, which is too late. Nothing is asked for this: what is read anyway is compared. An obstacle is found only
//! where both sides of the comparison are known.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::binding::{Anchor, Binding, BindingKey, ClaimMode, Vip};
use crate::claim_tag;
use crate::config::Config;
use crate::ec2::{Eni, RouteTarget};
use crate::identity::{Blocks, NodeInterface};
use crate::ids::{EniId, RouteTableId, VpcId};
use crate::names::names;
use crate::observe::known::Known;
use crate::observe::look;
use crate::observe::world::World;

/// The most tags that a resource may have ("Tag your Amazon EC2 resources"). Tags of AWS itself do not count.
pub const MOST_TAGS: usize = 50;
/// The beginning of the tag keys that AWS keeps to itself.
const AWS_TAG: &str = "aws:";
/// How many addresses at the beginning of an IPv4 subnet AWS keeps; it also keeps the last one ("Subnet CIDR blocks").
const KEPT_AT_START: u32 = 4;

names!(
    /// An [`TakeoverObstacle`] as one word. The advice to an operator follows from the word.
    ObstacleName {
        NotOnEni = "not_on_eni",
        OutsideSubnet = "outside_subnet",
        KeptByAws = "kept_by_aws",
        InsideVpc = "inside_vpc",
        OtherVpc = "other_vpc",
        AnchorFull = "anchor_full",
    }
);

/// One reason why a takeover by this node must fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakeoverObstacle {
    /// The private address at which the config wants the Elastic IP is no address of the ENI.
    NotOnEni { address: Ipv4Addr, eni: EniId },
    /// A secondary address is not one of the subnet of its ENI.
    OutsideSubnet { address: IpAddr, eni: EniId, blocks: Vec<IpNet> },
    /// AWS keeps this address of the subnet to itself.
    KeptByAws { address: IpAddr, block: IpNet },
    /// The destination of a route lies within the VPC.
    InsideVpc { address: IpAddr, block: IpNet },
    /// The route table is of another VPC than the ENI.
    OtherVpc { table: RouteTableId, vpc: VpcId, eni: EniId, eni_vpc: VpcId },
    /// The anchor has no room for this node's claim.
    AnchorFull { resource: String },
}

impl TakeoverObstacle {
    #[must_use]
    pub fn name(&self) -> ObstacleName {
        match self {
            Self::NotOnEni { .. } => ObstacleName::NotOnEni,
            Self::OutsideSubnet { .. } => ObstacleName::OutsideSubnet,
            Self::KeptByAws { .. } => ObstacleName::KeptByAws,
            Self::InsideVpc { .. } => ObstacleName::InsideVpc,
            Self::OtherVpc { .. } => ObstacleName::OtherVpc,
            Self::AnchorFull { .. } => ObstacleName::AnchorFull,
        }
    }
}

impl fmt::Display for TakeoverObstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOnEni { address, eni } => {
                write!(f, "the private address {address}, at which the Elastic IP is wanted, is none of {eni}'s")
            }
            Self::OutsideSubnet { address, eni, blocks } => {
                let blocks: Vec<_> = blocks.iter().map(ToString::to_string).collect();
                write!(f, "{address} is outside {}, the subnet of {eni}", blocks.join(", "))
            }
            Self::KeptByAws { address, block } => {
                write!(f, "{address} is one of the five addresses of the subnet {block} that AWS keeps to itself")
            }
            Self::InsideVpc { address, block } => {
                write!(f, "{address} is inside the VPC ({block}), and EC2 takes no route to it")
            }
            Self::OtherVpc { table, vpc, eni, eni_vpc } => {
                write!(f, "the route table {table} is of {vpc}, and {eni} of {eni_vpc}")
            }
            Self::AnchorFull { resource } => {
                write!(f, "{resource} has {MOST_TAGS} tags, and no room for this node's claim")
            }
        }
    }
}

/// The obstacles to a takeover of the VIP by this node, each with the binding that must fail. An obstacle to the
/// record of this node's claim has no binding.
#[must_use]
pub fn obstacles(
    config: &Config,
    vip: &Vip,
    known: &Known,
    world: &World,
) -> Vec<(Option<BindingKey>, TakeoverObstacle)> {
    let around = Around { config, known, world };
    let bindings = vip.bindings.iter().filter_map(|(key, binding)| Some((key, binding.as_ref()?)));
    let found = bindings.filter_map(|(key, binding)| Some((Some(key.clone()), around.of_binding(binding)?)));
    found.chain(around.of_record(vip).map(|obstacle| (None, obstacle))).collect()
}

struct Around<'a> {
    config: &'a Config,
    known: &'a Known,
    world: &'a World,
}

impl Around<'_> {
    fn of_binding(&self, binding: &Binding) -> Option<TakeoverObstacle> {
        match binding {
            Binding::ElasticIp { eni, private_ip, .. } => self.of_elastic_ip(eni, *private_ip),
            Binding::SecondaryIp { eni, address } => self.of_secondary(eni, *address),
            Binding::Route { account, table, destination, eni, .. } => {
                let (tables, _) = self.world.tables.get(account)?.read().ok()?;
                let table = tables.iter().find(|found| found.id == *table)?;
                let local = RouteTarget::Other("local".to_owned());
                let of_table = table.routes.iter().filter(|route| route.target == local).map(|route| route.destination);
                let mut of_vpc =
                    self.blocks(eni).into_iter().flat_map(|blocks| blocks.vpc.iter().copied()).chain(of_table);
                if let Some(block) = of_vpc.find(|block| block.contains(destination)) {
                    return Some(TakeoverObstacle::InsideVpc { address: destination.addr(), block });
                }
                let (vpc, eni_vpc) = (table.vpc.clone()?, self.own(eni)?.vpc.clone()?);
                let (table, eni) = (table.id.clone(), eni.clone());
                (vpc != eni_vpc).then_some(TakeoverObstacle::OtherVpc { table, vpc, eni, eni_vpc })
            }
            Binding::LocalAddress { .. } | Binding::SourceDestCheck { .. } => None,
        }
    }

    fn of_elastic_ip(&self, eni: &EniId, address: Ipv4Addr) -> Option<TakeoverObstacle> {
        // A secondary address that vipkeeper itself moves comes to this ENI with its own VIP.
        let mut moved = self.config.vips.iter().flat_map(|vip| &vip.addresses).filter(|it| it.secondary_ip.is_some());
        let comes_later = moved.any(|moved| moved.address == IpAddr::V4(address));
        let is_there = self.enis()?.iter().find(|found| found.id == *eni)?.private_ips.contains(&address);
        (!comes_later && !is_there).then(|| TakeoverObstacle::NotOnEni { address, eni: eni.clone() })
    }

    fn of_secondary(&self, eni: &EniId, address: IpAddr) -> Option<TakeoverObstacle> {
        let of_family = |block: &&IpNet| block.addr().is_ipv4() == address.is_ipv4();
        let blocks: Vec<_> = self
            .blocks(eni)
            .map(|blocks| blocks.subnet.iter().filter(of_family).copied().collect())
            .unwrap_or_default();
        let own = blocks.iter().find(|block| block.contains(&address));
        if !blocks.is_empty() && own.is_none() {
            return Some(TakeoverObstacle::OutsideSubnet { address, eni: eni.clone(), blocks });
        }
        if let (Some(IpNet::V4(block)), IpAddr::V4(v4)) = (own, address) {
            let place = u32::from(v4) - u32::from(block.network());
            if place < KEPT_AT_START || v4 == block.broadcast() {
                return Some(TakeoverObstacle::KeptByAws { address, block: IpNet::V4(*block) });
            }
        }
        None
    }

    fn of_record(&self, vip: &Vip) -> Option<TakeoverObstacle> {
        let anchor = vip.anchor.as_ref().filter(|_| vip.claims == ClaimMode::Tags)?;
        let (tags, _) = look::tags(anchor, self.world).ok()?;
        let counted = tags.keys().filter(|key| !key.starts_with(AWS_TAG)).count();
        let has_own = tags.contains_key(&claim_tag::tag_key(vip.delegate_ip, &vip.instance));
        (counted >= MOST_TAGS && !has_own)
            .then(|| TakeoverObstacle::AnchorFull { resource: Anchor::resource(anchor).to_owned() })
    }

    fn own(&self, eni: &EniId) -> Option<&NodeInterface> {
        self.known.node().interfaces.values().find(|own| own.eni == *eni)
    }

    fn blocks(&self, eni: &EniId) -> Option<&Blocks> {
        self.own(eni).map(|own| &own.blocks)
    }

    fn enis(&self) -> Option<&[Eni]> {
        self.world.interfaces.read().ok().map(|((_, enis), _)| enis.as_slice())
    }
}
