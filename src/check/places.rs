//! The places that the addresses of the VIPs need: a free slot of the ENI for each private address, and for an Elastic IP a
//! zone of its network border group.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::facts::{CloudReads, Facts};
use super::finding::{CheckVerdict, Finding};
use crate::binding::Binding;
use crate::ec2::ask::EniSurroundings;
use crate::ids::EniId;

/// Every binding of every VIP that is known well enough to be made.
fn bindings(facts: &Facts) -> Result<(&CloudReads, Vec<Binding>), &'static str> {
    let (config, reads) = facts.reads()?;
    let vips = reads.vips(config);
    let bindings = vips.flat_map(|(_, vip, _)| vip.bindings.into_values().flatten());
    Ok((reads, bindings.collect()))
}

/// The private addresses that the VIPs need on each ENI.
fn wanted(bindings: &[Binding]) -> BTreeMap<&EniId, BTreeSet<IpAddr>> {
    let mut wanted: BTreeMap<_, BTreeSet<IpAddr>> = BTreeMap::new();
    for binding in bindings {
        let (eni, address) = match binding {
            Binding::ElasticIp { eni, private_ip, .. } => (eni, IpAddr::V4(*private_ip)),
            Binding::SecondaryIp { eni, address } => (eni, *address),
            Binding::Route { .. } | Binding::LocalAddress { .. } | Binding::SourceDestCheck { .. } => continue,
        };
        wanted.entry(eni).or_default().insert(address);
    }
    wanted
}

fn around<'a>(reads: &'a CloudReads, eni: &EniId) -> Result<&'a EniSurroundings, String> {
    match reads.surroundings.get(eni) {
        Some(Ok(Some(around))) => Ok(around),
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(None)) | None => Err(format!("{eni} was not read")),
    }
}

pub(super) fn private_ip_slots(facts: &Facts) -> Finding {
    let (reads, bindings) = match bindings(facts) {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    let wanted = wanted(&bindings);
    if wanted.is_empty() {
        return Finding::skipped("no VIP needs a private address");
    }
    let (mut full, mut well) = (Vec::new(), Vec::new());
    for (eni, addresses) in wanted {
        let around = match around(reads, eni) {
            Ok(around) => around,
            Err(why) => return Finding::skipped(why),
        };
        let absent = addresses.difference(&around.private).count();
        if absent == 0 {
            well.push(format!("{eni} has all addresses already"));
            continue;
        }
        let slots = match &reads.slots {
            Ok(slots) => slots,
            Err(why) => return Finding::skipped(why.clone()),
        };
        for (is_family, family, most) in [
            (IpAddr::is_ipv4 as fn(&IpAddr) -> bool, "IPv4", slots.v4),
            (IpAddr::is_ipv6 as fn(&IpAddr) -> bool, "IPv6", slots.v6),
        ] {
            let lacks = addresses.difference(&around.private).filter(|one| is_family(one)).count();
            let prefixes = around.prefixes.iter().filter(|one| is_family(&one.addr())).count();
            let taken = around.private.iter().filter(|one| is_family(one)).count() + prefixes;
            let told = format!("{eni} holds {taken} of {most} private {family} addresses, and needs {lacks} more");
            if lacks > most.saturating_sub(taken) {
                full.push(told);
            } else if lacks > 0 {
                well.push(told);
            }
        }
    }
    Finding::of_faults(CheckVerdict::Failed, full, well.join("; "))
}

/// The network border group of a zone, by the zone's name. A zone's name is its group's name with a letter at its end, like
/// us-west-2-lax-1a of us-west-2-lax-1; a Wavelength zone, whose name ends with a digit, is a group of its own. EC2's
/// DescribeAvailabilityZones tells the same, and needs a permission of its own.
fn border_group(zone: &str) -> &str {
    match zone.as_bytes() {
        [.., before, last] if before.is_ascii_digit() && last.is_ascii_lowercase() => &zone[..zone.len() - 1],
        _ => zone,
    }
}

pub(super) fn elastic_ip_border_group(facts: &Facts) -> Finding {
    let (reads, bindings) = match bindings(facts) {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    let mut elastic = bindings.iter().filter_map(|binding| match binding {
        Binding::ElasticIp { allocation, eni, .. } => Some((allocation, eni)),
        _ => None,
    });
    let Some(first) = elastic.next() else { return Finding::skipped("no VIP has one") };
    let groups = match &reads.border_groups {
        Ok(groups) => groups,
        Err(error) => return Finding::skipped(error.to_string()),
    };
    let (mut elsewhere, mut well) = (Vec::new(), BTreeSet::new());
    for (allocation, eni) in [first].into_iter().chain(elastic) {
        let zone = around(reads, eni).map(|around| around.zone.as_deref());
        let (zone, group) = match (zone, groups.get(allocation)) {
            (Ok(Some(zone)), Some(group)) => (zone, group),
            (Err(why), _) => return Finding::skipped(why),
            (Ok(None), _) => return Finding::skipped(format!("EC2 does not tell the zone of {eni}")),
            (_, None) => {
                return Finding::skipped(format!("EC2 does not tell the network border group of {allocation}"));
            }
        };
        if border_group(zone) == group {
            well.insert(group.as_str());
        } else {
            elsewhere.push(format!("{allocation} is of {group}, and {eni} is in the zone {zone}"));
        }
    }
    Finding::of_faults(CheckVerdict::Failed, elsewhere, well.into_iter().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_of_the_group_that_its_name_begins_with() {
        for (zone, group) in [
            ("eu-central-1a", "eu-central-1"),
            ("us-west-2-lax-1b", "us-west-2-lax-1"),
            ("us-east-1-wl1-bos-wlz-1", "us-east-1-wl1-bos-wlz-1"),
            ("us-gov-west-1c", "us-gov-west-1"),
            ("", ""),
        ] {
            assert_eq!(border_group(zone), group);
        }
    }
}
