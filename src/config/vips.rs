//! The VIPs: the tables `[[vip]]` with the tables in them, and the checks that compare tables with one another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::error::Place;
use super::reader::{Checked, Entry, Table};
use super::values::{self, one_of};
use super::{
    AddressConfig, AnchorConfig, ElasticIpConfig, RouteConfig, SecondaryIpConfig, TableRef, Tables, VipConfig,
};
use crate::binding::{Account, ClaimMode, OnRelease};
use crate::ids::RouteTableId;

const ON_RELEASE: &[(&str, OnRelease)] = &[("keep", OnRelease::Keep), ("delete", OnRelease::Delete)];

/// The addresses that have been read, and their places. No address may come twice, not even in two VIPs.
type Seen = BTreeMap<IpAddr, Place>;

pub(super) fn vips(
    root: &mut Table<'_>,
    claims: ClaimMode,
    default_anchor: Option<&AnchorConfig>,
) -> Checked<Vec<VipConfig>> {
    let mut seen = Seen::new();
    let vips = root.list("vip", "a list of tables, [[vip]]", |node| {
        let mut table = node.table("a table with delegate_ip")?;
        let vip = vip(&mut table, &mut seen, default_anchor).and_then(|vip| {
            match no_anchor(&vip).filter(|_| claims == ClaimMode::Tags) {
                Some(message) => Err(table.report("anchor", message)),
                None => Ok(vip),
            }
        });
        table.finish();
        vip
    })?;
    match vips {
        Some(vips) if !vips.is_empty() => {
            let unread = unread_anchor(&vips).filter(|_| claims == ClaimMode::Tags);
            match twice_at_one_address(&vips).or_else(|| twice_one_allocation(&vips)).or(unread) {
                Some(message) => Err(root.report("vip", message)),
                None => Ok(vips),
            }
        }
        _ => Err(root.report("vip", "there is no VIP: write one [[vip]] with delegate_ip = \"...\" for each")),
    }
}

/// Reports two Elastic IPs at one private address. When another Elastic IP is associated with a private address, EC2
/// takes the first one away. The two would take turns for ever, and each turn may be charged.
fn twice_at_one_address(vips: &[VipConfig]) -> Option<String> {
    let mut bound = BTreeMap::new();
    vips.iter().flat_map(|vip| &vip.addresses).find_map(|address| {
        let ElasticIpConfig { interface, private_ip, .. } = address.elastic_ip.as_ref()?;
        let other: IpAddr = bound.insert((interface.clone(), *private_ip), address.address)?;
        let ip = address.address;
        Some(format!(
            "the Elastic IPs {other} and {ip} would be at the same private address, which carries one: \
             give one of them a private_ip of its own"
        ))
    })
}

/// Reports an allocation id that is given for two addresses. It is the id of one address.
fn twice_one_allocation(vips: &[VipConfig]) -> Option<String> {
    let mut given = BTreeMap::new();
    vips.iter().flat_map(|vip| &vip.addresses).find_map(|address| {
        let id = address.elastic_ip.as_ref()?.allocation_id.as_ref()?;
        let other: IpAddr = given.insert(id, address.address)?;
        let ip = address.address;
        Some(format!("allocation_id {id} is given for {other} and for {ip}: each Elastic IP has an id of its own"))
    })
}

/// The message if this VIP has no anchor that is the same for all nodes.
fn no_anchor(vip: &VipConfig) -> Option<String> {
    let in_subnet = vip.addresses.iter().any(|address| address.secondary_ip.is_some());
    match vip.anchor {
        Some(AnchorConfig::Subnet) if !in_subnet => Some(
            "\"subnet\" is that of a secondary_ip, and this VIP has none, so its nodes need not be in one subnet: \
             name a route table (rtb-...) or an Elastic IP (eipalloc-...)"
                .to_owned(),
        ),
        _ if vip.anchor_choice().is_none() => Some(
            "is missing: the nodes may find tables by tag at different times, but must record their claims in one \
             place; name one of the tables by its id (rtb-...)"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Reports an anchor whose tags would never be read. EC2 is asked only for the Elastic IPs of the configured
/// addresses, so the tags of any other Elastic IP are never seen.
fn unread_anchor(vips: &[VipConfig]) -> Option<String> {
    let elastic_ips = vips.iter().flat_map(|vip| &vip.addresses).filter_map(|address| address.elastic_ip.as_ref());
    let known: BTreeSet<_> = elastic_ips.filter_map(|elastic| elastic.allocation_id.as_ref()).collect();
    vips.iter().find_map(|vip| {
        let Some(AnchorConfig::ElasticIp(id)) = &vip.anchor else { return None };
        (!known.contains(id)).then(|| {
            format!(
                "the anchor {id} of {} is no Elastic IP of this configuration, so its tags are not read: write \
                 allocation_id = \"{id}\" under the elastic_ip that it is, or name a route table",
                vip.delegate_ip
            )
        })
    })
}

fn vip(table: &mut Table<'_>, seen: &mut Seen, default_anchor: Option<&AnchorConfig>) -> Checked<VipConfig> {
    let first = address(table, "delegate_ip", seen);
    let also = table.list("also", "a list of tables, [[vip.also]]", |node| {
        let mut table = node.table("a table with address")?;
        let also = address(&mut table, "address", seen);
        table.finish();
        also
    });
    let anchor = anchor(table);
    let first = first?;
    Ok(VipConfig {
        delegate_ip: first.address,
        addresses: std::iter::once(first).chain(also?.unwrap_or_default()).collect(),
        anchor: anchor?.or_else(|| default_anchor.cloned()),
    })
}

/// The key `anchor`: the resource that carries the claims. The key also exists in `[claims]`, for all VIPs.
pub(super) fn anchor(table: &mut Table<'_>) -> Checked<Option<AnchorConfig>> {
    table.text("anchor", "an id in quotes, or \"subnet\"", values::anchor)
}

/// Reads an address and the tables that point it at the leader. `key` is `delegate_ip` for the VIP itself and
/// `address` for an `also`; nothing else differs.
fn address(table: &mut Table<'_>, key: &'static str, seen: &mut Seen) -> Checked<AddressConfig> {
    let address = table.required(key, "write the address that clients connect to", |node| {
        let address = node.text("an IP address in quotes", values::vip_address)?;
        match seen.get(&address) {
            Some(place) => Err(node.report(format!("{address} is there already, at {place}: name each address once"))),
            None => {
                seen.insert(address, node.place());
                Ok(address)
            }
        }
    });
    let elastic_ip = table.switchable("elastic_ip", elastic_ip);
    let route = table.switchable("route", route);
    let secondary_ip = table.switchable("secondary_ip", |table| Ok(SecondaryIpConfig { interface: interface(table)? }));

    let (elastic_ip, route, secondary_ip) = (elastic_ip?, route?, secondary_ip?);
    let mut checks = vec![];
    if elastic_ip.is_none() && route.is_none() && secondary_ip.is_none() {
        checks.push(table.report_whole(format!(
            "nothing points this {key} at the leader: add a table elastic_ip, route or secondary_ip"
        )));
    }
    if let (Some(_), Ok(address @ IpAddr::V6(_))) = (&elastic_ip, address) {
        checks.push(table.report("elastic_ip", format!("an Elastic IP is an IPv4 address, {address} is not")));
    }
    for (other, there) in [("route", route.is_some()), ("elastic_ip", elastic_ip.is_some())] {
        if there && secondary_ip.is_some() {
            checks.push(table.report("secondary_ip", format!(
                "contradicts {other}: a secondary address lies inside the subnet, and one with {other} outside the VPC; \
                 further addresses of this VIP go into [[vip.also]]"
            )));
        }
    }
    match checks.first() {
        Some(reported) => Err(*reported),
        None => Ok(AddressConfig { address: address?, elastic_ip, route, secondary_ip }),
    }
}

fn elastic_ip(table: &mut Table<'_>) -> Checked<ElasticIpConfig> {
    let allocation_id = table.text("allocation_id", "an allocation id like \"eipalloc-0123456789abcdef0\"", str::parse);
    let interface = interface(table);
    let private_ip = table.text("private_ip", "an IPv4 address in quotes", values::private_ip);
    Ok(ElasticIpConfig { allocation_id: allocation_id?, interface: interface?, private_ip: private_ip? })
}

fn interface(table: &mut Table<'_>) -> Checked<Option<String>> {
    table.text("interface", "the name of an interface like \"eth0\"", values::interface)
}

fn route(table: &mut Table<'_>) -> Checked<RouteConfig> {
    let account = account(table);
    // A bad role is reported only once: the tables are still read, with this node's own account.
    let inherited = account.clone().unwrap_or_default();
    let mut ids = BTreeSet::new();
    let refs = table.list("tables", "a list of route table ids like [\"rtb-0123456789abcdef0\"]", |node| {
        table_ref(node, &inherited, &mut ids)
    });
    let tags = table.map("table_tags", "a table of tags like { Name = \"private\" }", values::tag_key, |value| {
        value.text("the value of the tag in quotes", values::tag_value)
    });
    let interface = interface(table);
    let on_release = table.text("on_release", "\"keep\" or \"delete\"", one_of(ON_RELEASE));

    let tables = match (refs?, tags?) {
        (Some(refs), None) if !refs.is_empty() => Ok(Tables::Ids(refs)),
        (None, Some(tags)) if !tags.is_empty() => Ok(Tables::Tagged { tags, account: account? }),
        (Some(_), None) => Err(table.report("tables", "is empty: name at least one route table")),
        (None, Some(_)) => {
            Err(table.report("table_tags", "is empty and would choose every table of the VPC: name a tag"))
        }
        (Some(_), Some(_)) => {
            Err(table.report("table_tags", "cannot be combined with tables: name the tables or choose them by tag"))
        }
        (None, None) => {
            Err(table.report("tables", "is missing: name the route tables here, or choose them with table_tags"))
        }
    };
    Ok(RouteConfig { tables: tables?, interface: interface?, on_release: on_release?.unwrap_or_default() })
}

fn account(table: &mut Table<'_>) -> Checked<Account> {
    let role = table.text("assume_role_arn", "the ARN of a role in quotes", values::role_arn);
    Ok(role?.map_or(Account::Own, Account::Role))
}

/// Reads one item of `tables`: an id, or a table with the id and the role of the account that owns the route table.
fn table_ref(node: Entry<'_>, inherited: &Account, ids: &mut BTreeSet<RouteTableId>) -> Checked<TableRef> {
    const EXPECTED: &str = "a route table id like \"rtb-0123456789abcdef0\"";
    let mut once = |node: &Entry<'_>| {
        let id: RouteTableId = node.text(EXPECTED, str::parse)?;
        if ids.insert(id.clone()) { Ok(id) } else { Err(node.report(format!("{id} is in this list twice"))) }
    };
    if !node.is_table() {
        return Ok(TableRef { id: once(&node)?, account: inherited.clone() });
    }
    let mut table = node.table(EXPECTED)?;
    let id = table.required("id", "write the id of the route table", |node| once(&node));
    let own = account(&mut table);
    table.finish();
    Ok(TableRef {
        id: id?,
        account: match own? {
            Account::Own => inherited.clone(),
            role @ Account::Role(_) => role,
        },
    })
}
