//! Who this node is, the way to EC2, and the credentials.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::facts::{CloudReads, Facts};
use super::finding::{Check, CheckVerdict, Finding};
use crate::binding::Binding;
use crate::config::Config;
use crate::ec2::codes::{self, Label};
use crate::ec2::reason::Reason;
use crate::ec2::{RouteTable, RouteTarget};
use crate::ids::EniId;
use crate::names::OneOf;
use crate::observe::LastRead;
use crate::observe::cause::FailedRead;
use crate::status::hint;

/// A request that takes longer makes each takeover slow.
const SLOW: Duration = Duration::from_secs(1);
/// Credentials that run out sooner should have been replaced already: a role's credentials are renewed some minutes
/// before their end.
const SOON: Duration = Duration::from_mins(1);

pub(super) const IDENTITY: &[Check] = &[
    Check {
        id: "node-known",
        title: "This node knows its instance and region",
        advice: "let the instance have its metadata service (IMDSv2), or set [identity] and aws.region",
        judge: node_known,
    },
    Check {
        id: "interfaces-known",
        title: "Each interface has its ENI",
        advice: "compare the interfaces in the configuration with 'ip link', and attach the ENI that is missing",
        judge: interfaces_known,
    },
];

pub(super) const ENDPOINT: &[Check] = &[
    Check {
        id: "endpoint-resolves",
        title: "The name of EC2's endpoint is known",
        advice: "see /etc/resolv.conf and whether the VPC has DNS support",
        judge: endpoint_resolves,
    },
    Check {
        id: "endpoint-connects",
        title: "EC2's endpoint takes connections",
        advice: "see the way out: route to a NAT or an internet gateway, security group of the VPC endpoint, firewall, \
                 proxy",
        judge: endpoint_connects,
    },
    Check {
        id: "endpoint-is-ec2",
        title: "The answers are EC2's",
        advice: "find out who answers in EC2's place, and let EC2's host pass there or past it (NO_PROXY)",
        judge: endpoint_is_ec2,
    },
    Check {
        id: "endpoint-is-quick",
        title: "EC2 answers quickly",
        advice: "see the way out: a takeover takes at least this time",
        judge: endpoint_is_quick,
    },
    Check {
        id: "way-without-elastic-ip",
        title: "EC2 is reached without the VIP's Elastic IP",
        advice: "give the node a way to EC2 of its own: a NAT gateway, a VPC endpoint for EC2, or use_dual_stack over \
                 IPv6 with an egress-only internet gateway",
        judge: way_without_elastic_ip,
    },
];

pub(super) const CREDENTIALS: &[Check] = &[
    Check {
        id: "credentials-found",
        title: "There are credentials",
        advice: "attach an IAM role to the instance, or name a profile (aws.profile)",
        judge: credentials_found,
    },
    Check {
        id: "credentials-accepted",
        title: "EC2 takes the credentials",
        advice: "'aws sts get-caller-identity' on the node shows whose they are",
        judge: credentials_accepted,
    },
    Check {
        id: "credentials-last",
        title: "The credentials last",
        advice: "see why the source gives no fresh credentials",
        judge: credentials_last,
    },
];

fn node_known(facts: &Facts) -> Finding {
    if let Err(why) = facts.config() {
        return Finding::skipped(why);
    }
    match &facts.cloud.node {
        Ok(node) => Finding::ok(format!("{} in {}", node.instance, node.region)),
        Err(why) => Finding::failed(why),
    }
}

fn interfaces_known(facts: &Facts) -> Finding {
    let Ok(node) = &facts.cloud.node else { return Finding::skipped("this node does not know who it is") };
    let found = node.interfaces.iter().map(|(name, interface)| format!("{name} is {}", interface.eni));
    let lost = facts.lost_interfaces();
    if !lost.is_empty() {
        return Finding::of_faults(CheckVerdict::Failed, lost, "");
    }
    let above = node.interfaces.iter().filter_map(|(name, interface)| {
        let below = interface.device_below.as_ref()?;
        Some(format!("{name} has no device of its own, and the MAC address of {below}, which has one"))
    });
    let advice = "name the interface with the device, unless the addresses are meant to be on the other one";
    match above.collect::<Vec<_>>() {
        above if above.is_empty() => Finding::ok(found.collect::<Vec<_>>().join(", ")),
        above => Finding::of_faults(CheckVerdict::Warning, above, "").advise(advice),
    }
}

fn endpoint_resolves(facts: &Facts) -> Finding {
    let endpoint = &facts.cloud.endpoint;
    let Some(host) = &endpoint.host else { return Finding::skipped("EC2 was not asked") };
    if let Some(proxy) = &endpoint.proxy {
        return Finding::skipped(format!("the proxy {proxy} looks the name up"));
    }
    match &endpoint.addresses {
        Ok(addresses) => {
            Finding::ok(format!("{host}: {}", addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")))
        }
        Err(why) => Finding::failed(format!("{host}: {why}")),
    }
}

fn endpoint_connects(facts: &Facts) -> Finding {
    let endpoint = &facts.cloud.endpoint;
    if let Some(proxy) = &endpoint.proxy {
        return Finding::skipped(format!("EC2 is asked through the proxy {proxy}"));
    }
    let failed = endpoint.tried.iter().filter_map(|(at, outcome)| Some(format!("{at}: {}", outcome.as_ref().err()?)));
    let failed: Vec<_> = failed.collect();
    match endpoint.tried.len() {
        0 => Finding::skipped("no address of the endpoint is known"),
        // The client goes on to the next address by itself, but each takeover may wait for that.
        all if failed.len() < all => {
            Finding::of_faults(CheckVerdict::Warning, failed, format!("{all} of {all} addresses"))
        }
        _ => Finding::of_faults(CheckVerdict::Failed, failed, ""),
    }
}

/// Every read that failed, each once.
fn failed_reads(reads: &CloudReads) -> Vec<&FailedRead> {
    fn failed<T>(read: &LastRead<T>) -> Option<&FailedRead> {
        if let LastRead::Failed(failed) = read { Some(failed) } else { None }
    }
    let world = &reads.world;
    let single = [failed(&world.addresses), failed(&world.interfaces)].into_iter().flatten();
    let tables = world.tables.values().filter_map(failed);
    let tags = world.tags.values().filter_map(failed);
    single.chain(tables).chain(tags).collect()
}

/// Whether any read succeeded.
fn any_read(reads: &CloudReads) -> bool {
    let world = &reads.world;
    world.addresses.read().is_ok()
        || world.interfaces.read().is_ok()
        || world.tables.values().any(|read| read.read().is_ok())
}

/// The failed reads that have one of these reasons, as a finding.
fn failed_for(facts: &Facts, reasons: &[Reason], well: &str) -> Finding {
    let (_, reads) = match facts.reads() {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    let has_reason = |read: &&FailedRead| {
        read.cause.reason.as_ref().and_then(OneOf::known).is_some_and(|reason| reasons.contains(&reason))
    };
    let failed = failed_reads(reads);
    match failed.iter().copied().find(has_reason) {
        Some(read) => Finding::failed(&read.why).advise(hint::advise(Some(read.class), &read.cause)),
        None if any_read(reads) => Finding::ok(well),
        None => Finding::skipped("EC2 gave no answer"),
    }
}

fn endpoint_is_ec2(facts: &Facts) -> Finding {
    let strangers = [Reason::NotAws, Reason::UntrustedIssuer, Reason::BadCertificate, Reason::TlsBroken, Reason::Proxy];
    failed_for(facts, &strangers, "its answers have EC2's form")
}

fn endpoint_is_quick(facts: &Facts) -> Finding {
    match facts.reads() {
        Ok((_, reads)) if any_read(reads) => {
            let told = format!("the longest request took {} ms", reads.slowest.as_millis());
            if reads.slowest < SLOW { Finding::ok(told) } else { Finding::warning(told) }
        }
        Ok(_) => Finding::skipped("EC2 gave no answer"),
        Err(why) => Finding::skipped(why),
    }
}

/// One way by which this node's packets may leave for EC2.
enum Way {
    /// The way does not depend on any public address of this node.
    Independent(String),
    /// The way goes by the Elastic IP of a VIP alone.
    Dependent(String),
    /// The way goes by an address that AWS lends, and takes back when an Elastic IP comes to the same place.
    Lent(String),
    Unknown(String),
}

fn way_without_elastic_ip(facts: &Facts) -> Finding {
    let (config, reads) = match facts.reads() {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    let places: Vec<_> = reads
        .vips(config)
        .flat_map(|(_, vip, _)| vip.bindings.into_values().flatten())
        .filter_map(|binding| if let Binding::ElasticIp { eni, .. } = binding { Some(eni) } else { None })
        .collect();
    let Some(eni) = places.first() else {
        let has_one = config.vips.iter().flat_map(|vip| &vip.addresses).any(|address| address.elastic_ip.is_some());
        return Finding::skipped(if has_one { "the Elastic IP was not found" } else { "no VIP has an Elastic IP" });
    };
    match way(facts, config, reads, eni) {
        Way::Independent(told) => Finding::ok(told),
        Way::Dependent(told) => Finding::failed(told),
        Way::Lent(told) => Finding::warning(told),
        Way::Unknown(why) => Finding::skipped(why),
    }
}

fn way(facts: &Facts, config: &Config, reads: &CloudReads, eni: &EniId) -> Way {
    let endpoint = &facts.cloud.endpoint;
    if let Some(proxy) = &endpoint.proxy {
        return Way::Independent(format!("by the proxy {proxy}"));
    }
    let addresses = endpoint.addresses.as_deref().unwrap_or_default();
    if let Some(address) = addresses.iter().find(|address| is_private(**address)) {
        return Way::Independent(format!("by the private address {address} of a VPC endpoint"));
    }
    let over_v6 = endpoint.tried.iter().find(|(at, outcome)| at.is_ipv6() && outcome.is_ok());
    if let Some((at, _)) = over_v6 {
        return Way::Independent(format!("over IPv6, by {at}"));
    }
    let table = match reads.tables.get(eni) {
        Some(Ok(Some(table))) => table,
        Some(Ok(None)) | None => return Way::Unknown(format!("the route table of {eni}'s subnet was not found")),
        Some(Err(error)) => {
            return Way::Unknown(format!(
                "the way out is not known ({error}): allow ec2:DescribeRouteTables for this check, or see that the subnet \
                 has a NAT gateway or a VPC endpoint for EC2"
            ));
        }
    };
    match default_target(table) {
        None => Way::Dependent(format!("{} has no default route", table.id)),
        Some(RouteTarget::Other(gateway)) if gateway.starts_with("igw-") => by_internet_gateway(config, reads, eni),
        Some(target) => Way::Independent(format!("by {target} in {}", table.id)),
    }
}

/// The way by an internet gateway, which forwards only packets of private addresses that have a public one.
fn by_internet_gateway(config: &Config, reads: &CloudReads, eni: &EniId) -> Way {
    let surroundings = match reads.surroundings.get(eni) {
        Some(Ok(Some(surroundings))) => surroundings,
        Some(Err(error)) => return Way::Unknown(error.to_string()),
        Some(Ok(None)) | None => return Way::Unknown(format!("{eni} was not read")),
    };
    let vips: Vec<IpAddr> = config
        .vips
        .iter()
        .flat_map(|vip| &vip.addresses)
        .filter(|address| address.elastic_ip.is_some())
        .map(|address| address.address)
        .collect();
    // The machine's own packets leave with its primary address.
    let own = reads.known.node().interfaces.values().find(|interface| interface.eni == *eni);
    let primary = own.and_then(|interface| interface.primary_ip);
    let public = primary.and_then(|primary| surroundings.public.get(&primary));
    let taken = reads.vips(config).flat_map(|(_, vip, _)| vip.bindings.into_values().flatten()).any(|binding| {
        matches!(binding, Binding::ElasticIp { eni: of, private_ip, .. } if of == *eni && Some(private_ip) == primary)
    });
    match public {
        Some(public) if vips.contains(&IpAddr::V4(public.address)) => Way::Dependent(format!(
            "this node calls EC2 from {}, the Elastic IP of a VIP: without it the node cannot take it back",
            public.address
        )),
        Some(public) if public.is_lent && taken => Way::Lent(format!(
            "this node calls EC2 from {}, which AWS takes back when the Elastic IP comes to the same private address; \
             afterwards AWS lends a new one only to an instance with one ENI",
            public.address
        )),
        Some(public) => Way::Independent(format!("by the public address {}", public.address)),
        None => Way::Dependent(
            "the subnet's default route leads to an internet gateway, and this node has no public address of its own"
                .to_owned(),
        ),
    }
}

fn default_target(table: &RouteTable) -> Option<&RouteTarget> {
    let is_default = |block: &IpNet| block.addr().is_ipv4() && block.prefix_len() == 0;
    table.routes.iter().find(|route| is_default(&route.destination) && !route.blackhole).map(|route| &route.target)
}

/// Whether packets to the address stay within the VPC, the machine or a network that is connected privately.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

fn credentials_found(facts: &Facts) -> Finding {
    let none = [
        Reason::NoCredentials,
        Reason::SourceSilent,
        Reason::SourceRefuses,
        Reason::SourceOff,
        Reason::SourceNotBuiltIn,
    ];
    failed_for(facts, &none, "a source has them")
}

fn credentials_accepted(facts: &Facts) -> Finding {
    let (_, reads) = match facts.reads() {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    let is_refused = |read: &&FailedRead| {
        let label = read.cause.code.as_deref().and_then(codes::known).map(|known| known.label);
        matches!(label, Some(Label::NotAuthenticated | Label::Expired))
    };
    match failed_reads(reads).into_iter().find(is_refused) {
        Some(read) => Finding::failed(&read.why).advise(hint::advise(Some(read.class), &read.cause)),
        // A refusal for want of a permission is an answer to known credentials.
        None if any_read(reads) || failed_reads(reads).iter().any(|read| read.cause.code.is_some()) => {
            Finding::ok("EC2 knows them")
        }
        None => Finding::skipped("EC2 gave no answer"),
    }
}

fn credentials_last(facts: &Facts) -> Finding {
    let (_, reads) = match facts.reads() {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    let Some(left) = reads.credentials_last else {
        return Finding::skipped("they have no end, or were not loaded");
    };
    let told = format!("they are good for {}", humantime::format_duration(Duration::from_secs(left.as_secs())));
    if left > SOON { Finding::ok(told) } else { Finding::warning(told) }
}
