//! Reads from the world where a binding points and which claims are on record.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::binding::{Anchor, Binding, Vip};
use crate::claim_tag;
use crate::ec2::{Address, Eni, EniQuery, RouteTable, RouteTarget};
use crate::ids::{EniId, InstanceId};
use crate::machine::kernel::Presence;
use crate::observe::seen::{Claims, Copies, Holder, Moment, Seen, WhyUnseen};
use crate::observe::world::{LastRead, World};

/// The state of one binding by the last read, and when that read began.
pub(super) fn look(binding: &Binding, world: &World) -> Result<(Seen, Moment), WhyUnseen> {
    match binding {
        Binding::ElasticIp { allocation, eni, private_ip, .. } => {
            let (addresses, at) = world.addresses.read()?;
            let address = addresses
                .iter()
                .find(|address| address.allocation == *allocation)
                .ok_or_else(|| WhyUnseen::NoSuchResource(allocation.to_string()))?;
            Ok((elastic_ip(address, eni, *private_ip), at))
        }
        Binding::Route { account, table, destination, eni, .. } => {
            let (tables, at) = world.tables.get(account).unwrap_or(&LastRead::NotRead).read()?;
            let found = tables
                .iter()
                .find(|found| found.id == *table)
                .ok_or_else(|| WhyUnseen::NoSuchResource(table.to_string()))?;
            Ok((route(found, destination, eni), at))
        }
        Binding::SecondaryIp { eni, address } => {
            let ((query, enis), at) = world.interfaces.read()?;
            Ok((secondary_ip(query, enis, eni, *address)?, at))
        }
        Binding::SourceDestCheck { eni } => {
            let ((_, enis), at) = world.interfaces.read()?;
            match own(enis, eni)?.source_dest_check {
                Some(false) => Ok((Seen::Here { association: None }, at)),
                Some(true) => Ok((Seen::Absent, at)),
                None => Err(WhyUnseen::Unresolved(format!("EC2 did not say how the check of {eni} is set"))),
            }
        }
        // Any form of the address counts, on any interface: the kernel answers for it all the same.
        Binding::LocalAddress { address, .. } => {
            let (local, at) = world.local.read()?;
            let presence = local.of.get(address).ok_or(WhyUnseen::NotRead)?;
            let seen = if *presence == Presence::default() { Seen::Absent } else { Seen::Here { association: None } };
            Ok((seen, at))
        }
    }
}

fn own<'a>(enis: &'a [Eni], eni: &EniId) -> Result<&'a Eni, WhyUnseen> {
    enis.iter().find(|found| found.id == *eni).ok_or_else(|| WhyUnseen::NoSuchResource(eni.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "so that ids and texts are named alike")]
fn elsewhere(name: impl ToString, instance: Option<&InstanceId>) -> Seen {
    Seen::Elsewhere(Holder { name: name.to_string(), instance: instance.cloned(), blackhole: false })
}

/// Compares the ENI and the private address, never the instance or the public address: the latter two may stay equal
/// while the ENI changes.
fn elastic_ip(address: &Address, eni: &EniId, private_ip: Ipv4Addr) -> Seen {
    let instance = address.instance.as_ref();
    match (&address.eni, address.private_ip) {
        (Some(holder), Some(ip)) if holder == eni && ip == private_ip => {
            Seen::Here { association: address.association.clone() }
        }
        (Some(holder), Some(ip)) if holder == eni => elsewhere(format_args!("{holder} {ip}"), instance),
        (Some(holder), _) => elsewhere(holder, instance),
        (None, _) => match &address.association {
            Some(association) => elsewhere(association, instance),
            None => Seen::Absent,
        },
    }
}

fn route(table: &RouteTable, destination: &IpNet, eni: &EniId) -> Seen {
    let Some(route) = table.routes.iter().find(|route| route.destination == *destination) else { return Seen::Absent };
    match &route.target {
        RouteTarget::Eni(target) if target == eni && !route.blackhole => Seen::Here { association: None },
        target => Seen::Elsewhere(Holder {
            name: target.to_string(),
            instance: route.instance.clone(),
            blackhole: route.blackhole,
        }),
    }
}

fn secondary_ip(query: &EniQuery, enis: &[Eni], eni: &EniId, address: IpAddr) -> Result<Seen, WhyUnseen> {
    let mine = own(enis, eni)?;
    let holds = |eni: &Eni| match address {
        IpAddr::V4(ip) => eni.private_ips.contains(&ip),
        IpAddr::V6(ip) => eni.ipv6.contains(&ip),
    };
    if holds(mine) {
        return Ok(Seen::Here { association: None });
    }
    // Private ranges may repeat from VPC to VPC.
    if let Some(holder) = enis.iter().find(|eni| eni.vpc == mine.vpc && holds(eni)) {
        return Ok(elsewhere(&holder.id, holder.instance.as_ref()));
    }
    // Only a query that would have shown another holder can show that there is none.
    let was_asked_for = match query {
        EniQuery::Ids(_) => false,
        EniQuery::PrivateIps { addresses, .. } => matches!(address, IpAddr::V4(ip) if addresses.contains(&ip)),
        EniQuery::Subnets(_) => true,
    };
    if was_asked_for {
        Ok(Seen::Absent)
    } else {
        Err(WhyUnseen::NotYet(format!("who holds {address} was not read yet")))
    }
}

pub(super) fn claims(vip: &Vip, anchor: &Anchor, world: &World) -> Claims {
    let copies = |anchor: &Anchor| {
        let (tags, at) = tags(anchor, world).ok()?;
        let claim_tag::Found { terms, withdrawn, edited } = claim_tag::among(vip.delegate_ip, tags);
        Some(Copies { terms, withdrawn, edited, at })
    };
    let Some(Copies { terms, withdrawn, edited, at }) = copies(anchor) else { return Claims::Unknown };
    let others = vip.other_anchors().into_iter();
    let elsewhere = others.filter_map(|other| Some((other.clone(), copies(&other)?))).collect();
    // This function has no clock. `Memory::learn` sets implausible terms apart.
    Claims::Read { terms, withdrawn, implausible: BTreeMap::new(), edited, at, elsewhere }
}

/// The tags of an anchor, or the reason why they are not known. The reason is for people; the claim rules make no
/// difference between the reasons.
///
/// # Errors
/// If the tags were not read, or the anchor does not exist.
pub fn tags<'w>(anchor: &Anchor, world: &'w World) -> Result<(&'w BTreeMap<String, String>, Moment), WhyUnseen> {
    match anchor {
        Anchor::ElasticIp(id) => {
            let (addresses, at) = world.addresses.read()?;
            let found = addresses.iter().find(|address| address.allocation == *id);
            found
                .map(|address| (&address.tags, at))
                .ok_or_else(|| WhyUnseen::NoSuchResource(format!("Elastic IP {id}")))
        }
        Anchor::RouteTable(account, id) => {
            let (tables, at) = world.tables.get(account).ok_or(WhyUnseen::NotRead)?.read()?;
            let found = tables.iter().find(|table| table.id == *id);
            found.map(|table| (&table.tags, at)).ok_or_else(|| WhyUnseen::NoSuchResource(format!("route table {id}")))
        }
        Anchor::Subnet(id) => world.tags.get(id).ok_or(WhyUnseen::NotRead)?.read(),
    }
}
