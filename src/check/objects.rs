//! The objects in EC2 that the VIPs are made of, and the firewalls around them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::facts::{CloudReads, Facts};
use super::finding::{Check, CheckVerdict, Finding};
use super::places;
use crate::binding::{Binding, BindingKey, Kind, Obstacle, Vip};
use crate::claim_tag::{is_written_by_a_node, tag_key};
use crate::config::Config;
use crate::decide::claim::set_apart_implausible;
use crate::ec2::ask::Ingress;
use crate::ids::EniId;
use crate::observe::obstacles::{MOST_TAGS, ObstacleName, obstacles};
use crate::observe::seen::{Claims, Observed, Seen, WhyUnseen};

/// The most routes that a table has by default, counted for IPv4 and IPv6 apart (VPC user guide, quotas).
const MOST_ROUTES: usize = 500;

pub(super) const EC2: &[Check] = &[
    Check {
        id: "elastic-ip-exists",
        title: "The Elastic IPs exist",
        advice: "correct the address or allocation_id, or allocate the address in this account and region",
        judge: elastic_ip_exists,
    },
    Check {
        id: "elastic-ip-place",
        title: "The Elastic IPs have a private address to themselves",
        advice: "give each Elastic IP a private_ip of its own, or disassociate the other one",
        judge: elastic_ip_place,
    },
    Check {
        id: "elastic-ip-private-address",
        title: "The private addresses of Elastic IPs are on the ENI",
        advice: "assign the private address to the ENI, or leave private_ip out",
        judge: |facts| of_obstacle(facts, ObstacleName::NotOnEni, Kind::ElasticIp),
    },
    Check {
        id: "elastic-ip-border-group",
        title: "The Elastic IPs are of the zone's network border group",
        advice: "allocate the Elastic IP for the zone of the nodes: aws ec2 allocate-address --network-border-group",
        judge: places::elastic_ip_border_group,
    },
    Check {
        id: "private-ip-slots",
        title: "The ENIs have room for private addresses",
        advice: "remove addresses of the ENI that nobody needs, name another interface, or take a larger instance type",
        judge: places::private_ip_slots,
    },
    Check {
        id: "route-tables-exist",
        title: "The route tables exist",
        advice: "correct the ids in 'tables'; a table of another account needs its role",
        judge: route_tables_exist,
    },
    Check {
        id: "route-tables-chosen",
        title: "The tags choose route tables",
        advice: "tag the route tables of the ENI's VPC, or name them by id",
        judge: route_tables_chosen,
    },
    Check {
        id: "route-tables-vpc",
        title: "The route tables are of the ENI's VPC",
        advice: "name route tables of the ENI's VPC, or another interface",
        judge: |facts| of_obstacle(facts, ObstacleName::OtherVpc, Kind::Route),
    },
    Check {
        id: "route-tables-room",
        title: "The route tables have room",
        advice: "remove routes that nobody needs, or raise the quota of routes per table",
        judge: route_tables_room,
    },
    Check {
        id: "route-outside-vpc",
        title: "Route VIPs are outside the VPC",
        advice: "take an address outside every CIDR of the VPC, or make it a secondary address",
        judge: |facts| of_obstacle(facts, ObstacleName::InsideVpc, Kind::Route),
    },
    Check {
        id: "source-dest-check",
        title: "The source/destination check is off",
        advice: "start the daemon: it switches the check off and keeps it off",
        judge: source_dest_check,
    },
    Check {
        id: "secondary-in-subnet",
        title: "Secondary addresses are in the ENI's subnet",
        advice: "take an address of the subnet; nodes in several subnets need an Elastic IP or a route",
        judge: |facts| of_obstacle(facts, ObstacleName::OutsideSubnet, Kind::SecondaryIp),
    },
    Check {
        id: "secondary-not-reserved",
        title: "Secondary addresses are not AWS's own",
        advice: "take an address that is not one of the first four or the last of the subnet",
        judge: |facts| of_obstacle(facts, ObstacleName::KeptByAws, Kind::SecondaryIp),
    },
    Check {
        id: "secondary-can-move",
        title: "Secondary addresses are nobody's primary address",
        advice: "take a free address of the subnet",
        judge: secondary_can_move,
    },
    Check {
        id: "claims-room",
        title: "The anchor has room for claims",
        advice: "remove tags of the anchor, those of instances that are gone first",
        judge: claims_room,
    },
    Check {
        id: "claims-plausible",
        title: "The claims on record can be outbid",
        advice: "remove the tag that is named: aws ec2 delete-tags",
        judge: claims_plausible,
    },
    Check {
        id: "firewall-pgpool",
        title: "The security groups let clients in",
        advice: "let the clients' addresses in at Pgpool's port",
        judge: firewall_pgpool,
    },
    Check {
        id: "firewall-watchdog",
        title: "The security groups let the watchdogs in",
        advice: "let the nodes' group in at wd_port (TCP) and heartbeat_port (UDP)",
        judge: firewall_watchdog,
    },
    Check {
        id: "firewall-ping",
        title: "The security groups let Pgpool's ping in",
        advice: "let ICMP in from the Elastic IP, or Pgpool's ping after a takeover fails and its log says so",
        judge: firewall_ping,
    },
    Check {
        id: "firewall-probe",
        title: "The security groups let probes in",
        advice: "let the nodes' group in at the UDP port of [probe], or nobody is seen to answer on the VIP",
        judge: firewall_probe,
    },
];

type SeenVips<'a> = (&'a Config, &'a CloudReads, Vec<(Vip, Observed)>);

/// Every VIP as it was seen, where EC2 was asked.
fn seen(facts: &Facts) -> Result<SeenVips<'_>, &'static str> {
    let (config, reads) = facts.reads()?;
    let vips = reads.vips(config).map(|(_, vip, observed)| (vip, observed));
    Ok((config, reads, vips.collect()))
}

/// Every binding of a kind, with what was seen of it.
fn of_kind(vips: &[(Vip, Observed)], kind: Kind) -> Vec<(&BindingKey, Option<&Binding>, Option<&Seen>)> {
    let bindings = vips.iter().flat_map(|(vip, observed)| {
        let all = vip.bindings.iter().filter(move |(key, _)| key.kind == kind);
        all.map(|(key, binding)| (key, binding.as_ref(), observed.sights.get(key).map(|sight| &sight.seen)))
    });
    bindings.collect()
}

/// Judges the bindings of a kind: `fault` tells what is wrong with one of them, if anything is.
fn of_bindings(facts: &Facts, kind: Kind, fault: impl Fn(&BindingKey, &Seen) -> Option<String>, well: &str) -> Finding {
    let (_, _, vips) = match seen(facts) {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    let bindings = of_kind(&vips, kind);
    if bindings.is_empty() {
        return Finding::skipped("no VIP has one");
    }
    let faults: Vec<_> = bindings.iter().filter_map(|(key, _, seen)| fault(key, (*seen)?)).collect();
    if !faults.is_empty() {
        return Finding::of_faults(CheckVerdict::Failed, faults, "");
    }
    // A binding that another check blames, or that was not read, tells nothing here.
    match bindings.iter().find_map(|(_, _, seen)| unknown((*seen)?)) {
        Some(why) => Finding::skipped(why),
        None => Finding::ok(well),
    }
}

fn unknown(seen: &Seen) -> Option<String> {
    if let Seen::Unknown(why) = seen { Some(why.to_string()) } else { None }
}

fn elastic_ip_exists(facts: &Facts) -> Finding {
    let interfaces_known = facts.lost_interfaces().is_empty();
    let fault = |key: &BindingKey, seen: &Seen| match seen {
        Seen::Unknown(WhyUnseen::NoSuchResource(what)) => Some(format!("{what} is none of this account and region")),
        Seen::Unknown(WhyUnseen::Unresolved(why)) if interfaces_known => Some(format!("{}: {why}", key.target)),
        _ => None,
    };
    of_bindings(facts, Kind::ElasticIp, fault, "each was found")
}

fn elastic_ip_place(facts: &Facts) -> Finding {
    let (config, reads, vips) = match seen(facts) {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    let bindings = of_kind(&vips, Kind::ElasticIp);
    if bindings.is_empty() {
        return Finding::skipped("no VIP has one");
    }
    let ours: Vec<IpAddr> = config.vips.iter().flat_map(|vip| &vip.addresses).map(|address| address.address).collect();
    let shared = vips.iter().flat_map(|(vip, _)| vip.obstacles.iter()).filter_map(|(key, obstacle)| match obstacle {
        Obstacle::SharedPlace { .. } => Some(format!("{}: {obstacle}", key.target)),
        Obstacle::OwnWrites { .. } => None,
    });
    let foreign = bindings.iter().filter_map(|(key, binding, _)| {
        let Some(Binding::ElasticIp { eni, private_ip, .. }) = binding else { return None };
        let surroundings = reads.surroundings.get(eni)?.as_ref().ok()?.as_ref()?;
        let public = surroundings.public.get(private_ip).filter(|public| !public.is_lent)?;
        let is_ours = ours.contains(&IpAddr::V4(public.address));
        let told =
            format!("{private_ip} of {eni}, where {} belongs, has the Elastic IP {}", key.target, public.address);
        (!is_ours).then_some(told)
    });
    Finding::of_faults(CheckVerdict::Failed, shared.chain(foreign).collect(), "no other Elastic IP is there")
}

fn route_tables_exist(facts: &Facts) -> Finding {
    let fault = |_: &BindingKey, seen: &Seen| match seen {
        Seen::Unknown(why @ WhyUnseen::NoSuchResource(_)) => Some(why.to_string()),
        _ => None,
    };
    of_bindings(facts, Kind::Route, fault, "each was found")
}

fn route_tables_chosen(facts: &Facts) -> Finding {
    let (config, reads, _) = match seen(facts) {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    let mut chosen = reads.world.chosen.iter().peekable();
    if chosen.peek().is_none() {
        let by_tag = config.vips.iter().flat_map(|vip| &vip.addresses).filter_map(|address| address.route.as_ref());
        let is_wanted = by_tag.into_iter().any(|route| matches!(route.tables, crate::config::Tables::Tagged { .. }));
        return Finding::skipped(if is_wanted { "the tables were not read" } else { "no VIP chooses tables by tag" });
    }
    let empty = chosen.filter_map(|(choice, read)| {
        let (found, _) = read.read().ok()?;
        let tags = choice.tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ");
        found.is_empty().then(|| format!("no route table of {} carries {tags}", choice.vpc))
    });
    Finding::of_faults(CheckVerdict::Failed, empty.collect(), "each choice finds some")
}

fn route_tables_room(facts: &Facts) -> Finding {
    let (_, reads, vips) = match seen(facts) {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    let bindings = of_kind(&vips, Kind::Route);
    if bindings.is_empty() {
        return Finding::skipped("no VIP has a route");
    }
    let full = bindings.iter().filter_map(|(_, binding, seen)| {
        let Some(Binding::Route { account, table, destination, .. }) = binding else { return None };
        let (tables, _) = reads.world.tables.get(account)?.read().ok()?;
        let found = tables.iter().find(|found| found.id == *table)?;
        let of_family = |block: &IpNet| block.addr().is_ipv4() == destination.addr().is_ipv4();
        let count = found.routes.iter().filter(|route| of_family(&route.destination)).count();
        // A route that is there is replaced, and needs no room.
        let is_absent = matches!(seen, Some(Seen::Absent));
        (is_absent && count >= MOST_ROUTES)
            .then(|| format!("{table} has {count} routes, and {MOST_ROUTES} are the quota unless it was raised"))
    });
    Finding::of_faults(CheckVerdict::Warning, full.collect(), format!("none has {MOST_ROUTES} routes"))
}

fn source_dest_check(facts: &Facts) -> Finding {
    let (_, _, vips) = match seen(facts) {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    let bindings = of_kind(&vips, Kind::SourceDestCheck);
    if bindings.is_empty() {
        return Finding::skipped("no VIP has a route");
    }
    let on = bindings.iter().filter(|(_, _, seen)| matches!(seen, Some(Seen::Absent)));
    let on: Vec<_> = on.map(|(key, ..)| format!("it is on at the ENI of {}", key.target)).collect();
    if let (true, Some(why)) = (on.is_empty(), bindings.iter().find_map(|(_, _, seen)| unknown((*seen)?))) {
        return Finding::skipped(why);
    }
    Finding::of_faults(CheckVerdict::Warning, on, "it is off")
}

fn secondary_can_move(facts: &Facts) -> Finding {
    let interfaces_known = facts.lost_interfaces().is_empty();
    let fault = |_: &BindingKey, seen: &Seen| match seen {
        Seen::Unknown(WhyUnseen::Unresolved(why)) if interfaces_known => Some(why.clone()),
        _ => None,
    };
    of_bindings(facts, Kind::SecondaryIp, fault, "no ENI has one as its primary address")
}

/// One kind of obstacle that a takeover would meet.
fn of_obstacle(facts: &Facts, name: ObstacleName, kind: Kind) -> Finding {
    let (config, reads, vips) = match seen(facts) {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    if of_kind(&vips, kind).is_empty() {
        return Finding::skipped("no VIP has one");
    }
    let all = vips.iter().flat_map(|(vip, _)| obstacles(config, vip, &reads.known, &reads.world));
    let told = all.filter(|(_, obstacle)| obstacle.name() == name).map(|(_, obstacle)| obstacle.to_string());
    let told: Vec<_> = told.collect();
    // An obstacle is found only where both sides of its comparison are known.
    let unseen = of_kind(&vips, kind).into_iter().find_map(|(_, _, seen)| unknown(seen?));
    match unseen.filter(|_| told.is_empty()) {
        Some(why) => Finding::skipped(why),
        None => Finding::of_faults(CheckVerdict::Failed, told, "nothing speaks against it"),
    }
}

fn claims_room(facts: &Facts) -> Finding {
    let (config, reads, vips) = match seen(facts) {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    if config.claims == crate::binding::ClaimMode::Off {
        return Finding::skipped("claims are off");
    }
    let all = vips.iter().flat_map(|(vip, _)| obstacles(config, vip, &reads.known, &reads.world));
    let full = all.filter(|(_, obstacle)| obstacle.name() == ObstacleName::AnchorFull);
    // A leader takes without a record; it only takes nothing back.
    Finding::of_faults(
        CheckVerdict::Warning,
        full.map(|(_, it)| it.to_string()).collect(),
        format!("fewer than {MOST_TAGS} tags"),
    )
}

fn claims_plausible(facts: &Facts) -> Finding {
    let (config, reads, mut vips) = match seen(facts) {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    if config.claims == crate::binding::ClaimMode::Off {
        return Finding::skipped("claims are off");
    }
    let now = facts.machine.now;
    let unix_ms = reads.time.map_or(now.wall_ms, |time| time.unix_ms(now.at));
    let mut strange = Vec::new();
    let mut read = false;
    for (vip, observed) in &mut vips {
        set_apart_implausible(&mut observed.claims, unix_ms);
        let Claims::Read { implausible, edited, .. } = &observed.claims else { continue };
        read = true;
        let key = |node| tag_key(vip.delegate_ip, node);
        strange.extend(implausible.iter().map(|(node, term)| {
            format!("{} has the term {term}, which lies in the future and counts for nothing", key(node))
        }));
        let strangers = edited.iter().filter(|(_, value)| !is_written_by_a_node(value));
        strange.extend(
            strangers.map(|(node, value)| format!("{} has the value '{value}', which no node wrote", key(node))),
        );
    }
    if !read {
        return Finding::skipped("no claim was read");
    }
    Finding::of_faults(CheckVerdict::Warning, strange, "each is one that a node wrote")
}

/// The packets that a firewall must let in.
#[derive(Clone, Copy)]
enum Packets {
    Tcp(u16),
    Udp(u16),
    /// A ping from this address.
    PingFrom(IpAddr),
}

impl Packets {
    fn pass(self, rule: &Ingress) -> bool {
        let within = |port: u16| rule.ports.is_none_or(|(first, last)| (first..=last).contains(&i32::from(port)));
        let is = |name: &str, number: &str| rule.protocol == name || rule.protocol == number;
        let from_anyone = rule.unknown > 0 || !rule.from.is_empty();
        match self {
            _ if rule.protocol == "-1" && !matches!(self, Self::PingFrom(_)) => from_anyone,
            Self::Tcp(port) => is("tcp", "6") && within(port) && from_anyone,
            Self::Udp(port) => is("udp", "17") && within(port) && from_anyone,
            Self::PingFrom(address) => {
                // Type 8 is an echo request, and -1 is any type (IANA, ICMP parameters).
                let is_ping = rule.protocol == "-1"
                    || is("icmp", "1") && rule.ports.is_none_or(|(kind, _)| kind == -1 || kind == 8);
                is_ping && rule.from.iter().any(|block| block.contains(&address))
            }
        }
    }
}

/// The rules of every ENI that a VIP uses, or the reason why they are not known.
fn firewalls(facts: &Facts) -> Result<Vec<(&EniId, &[Ingress])>, String> {
    let (_, reads) = facts.reads()?;
    let all = reads.ingress.iter().map(|(eni, read)| match read {
        Ok(rules) => Ok((eni, rules.as_slice())),
        Err(error) => Err(format!("{error}: allow ec2:DescribeSecurityGroups for this check, or look by hand")),
    });
    let all = all.collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() { Err("no security group was read".to_owned()) } else { Ok(all) }
}

/// Whether every ENI lets these packets in; each with its description.
fn let_in(facts: &Facts, wanted: &[(String, Packets)], verdict: CheckVerdict) -> Finding {
    let firewalls = match firewalls(facts) {
        Ok(firewalls) => firewalls,
        Err(why) => return Finding::skipped(why),
    };
    let mut kept_out = Vec::new();
    for (eni, rules) in firewalls {
        let closed = wanted.iter().filter(|(_, packets)| !rules.iter().any(|rule| packets.pass(rule)));
        kept_out.extend(closed.map(|(what, _)| format!("no security group of {eni} lets {what} in")));
    }
    let names = wanted.iter().map(|(what, _)| what.as_str()).collect::<Vec<_>>().join(", ");
    Finding::of_faults(verdict, kept_out, names)
}

fn firewall_pgpool(facts: &Facts) -> Finding {
    let Ok(config) = facts.config() else { return Finding::skipped("the configuration has errors") };
    let port = facts.pgpool.conf.as_ref().map_or(config.pgpool.address.port(), |(_, conf)| conf.port());
    let_in(facts, &[(format!("TCP {port}"), Packets::Tcp(port))], CheckVerdict::Failed)
}

fn firewall_watchdog(facts: &Facts) -> Finding {
    let Ok((_, conf)) = &facts.pgpool.conf else { return Finding::skipped("pgpool.conf was not read") };
    let mut wanted = Vec::new();
    for node in conf.nodes() {
        let (tcp, udp) = (node.watchdog_port, conf.heartbeat_port(node.number));
        wanted.push((format!("TCP {tcp}"), Packets::Tcp(tcp)));
        if conf.lifecheck() == crate::pgpool::conf::Lifecheck::Heartbeat {
            wanted.push((format!("UDP {udp}"), Packets::Udp(udp)));
        }
    }
    wanted.sort_by(|one, other| one.0.cmp(&other.0));
    wanted.dedup_by(|one, other| one.0 == other.0);
    if wanted.is_empty() {
        return Finding::skipped("pgpool.conf names no nodes");
    }
    let_in(facts, &wanted, CheckVerdict::Failed)
}

fn firewall_probe(facts: &Facts) -> Finding {
    let Ok(config) = facts.config() else { return Finding::skipped("the configuration has errors") };
    let Some(probe) = config.probe else { return Finding::skipped("the configuration has no [probe]") };
    let_in(facts, &[(format!("UDP {}", probe.port), Packets::Udp(probe.port))], CheckVerdict::Warning)
}

fn firewall_ping(facts: &Facts) -> Finding {
    let Ok(config) = facts.config() else { return Finding::skipped("the configuration has errors") };
    let elastic = config.vips.iter().filter(|vip| vip.addresses[0].elastic_ip.is_some() && vip.delegate_ip.is_ipv4());
    let wanted: Vec<_> =
        elastic.map(|vip| (format!("a ping from {}", vip.delegate_ip), Packets::PingFrom(vip.delegate_ip))).collect();
    if wanted.is_empty() {
        return Finding::skipped("no delegate IP is an Elastic IP");
    }
    let_in(facts, &wanted, CheckVerdict::Warning)
}
