//! The ids that the names and tags of the config stand for, as far as the reads have shown them, and the questions that
//! follow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::binding::{Account, Anchor, Binding, BindingKey, Kind, Obstacle, Vip};
use crate::config::{AddressConfig, AnchorChoice, Config, ElasticIpConfig, Tables, VipConfig};
use crate::ec2::{Eni, EniQuery};
use crate::identity::{Node, NodeInterface};
use crate::ids::{AllocationId, EniId, InstanceId, RouteTableId};
use crate::machine::kernel::{LocalView, Presence};
use crate::observe::question::{Question, TagChoice};
use crate::observe::seen::WhyUnseen;
use crate::observe::world::{LastRead, World};

/// The placeholder for the name of the machine's first interface, until the metadata service tells the name.
const FIRST: &str = "(first)";

/// The ids that were found for names and tags. They are kept when a later read fails, so that a claim can take without
/// a read before it.
#[derive(Debug, Clone)]
pub struct Known {
    node: Node,
    allocations: BTreeMap<Ipv4Addr, AllocationId>,
    chosen: BTreeMap<TagChoice, BTreeSet<RouteTableId>>,
    /// The interfaces whose ENI is not this node's, as far as EC2 tells, each with the reason.
    foreign: BTreeMap<String, String>,
    /// The primary addresses of the ENIs that EC2 showed in this node's VPC. A primary address never moves.
    primaries: BTreeMap<Ipv4Addr, EniId>,
}

impl Known {
    #[must_use]
    pub fn new(node: Node) -> Self {
        let (allocations, chosen) = (BTreeMap::new(), BTreeMap::new());
        Self { node, allocations, chosen, foreign: BTreeMap::new(), primaries: BTreeMap::new() }
    }

    /// The node as it was found now, completed by the interfaces that were found before and are missing now. A missing
    /// answer takes no known interface away.
    #[must_use]
    pub fn completed(&self, mut node: Node) -> Node {
        if node.instance != self.node.instance {
            return node;
        }
        if node.missing.contains_key(&None) {
            node.first.clone_from(&self.node.first);
        }
        let missing = node.missing.keys().flatten().chain(&node.first);
        for name in missing.filter(|name| !node.interfaces.contains_key(*name)).cloned().collect::<Vec<_>>() {
            if let Some(interface) = self.node.interfaces.get(&name) {
                node.interfaces.insert(name, interface.clone());
            }
        }
        node
    }

    /// Notes the interfaces that are missing now, and the address blocks that were told, while nothing else changed.
    pub fn stay_node(&mut self, now: Node) {
        self.node.missing = now.missing;
        for (name, interface) in now.interfaces {
            if let Some(own) = self.node.interfaces.get_mut(&name) {
                own.blocks = interface.blocks;
            }
        }
    }

    /// Replaces the node, when this node turns out to be another one than assumed. The ids of the account stay known.
    pub fn become_node(&mut self, node: Node) {
        self.foreign.clear();
        self.primaries.clear();
        self.node = node;
    }

    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The interfaces whose ENI is not this node's, as far as EC2 tells, each with the reason.
    #[must_use]
    pub fn foreign(&self) -> &BTreeMap<String, String> {
        &self.foreign
    }

    /// Remembers the ids that a look showed.
    pub fn learn(&mut self, world: &World) {
        if let LastRead::Read { value, .. } = &world.addresses {
            for address in value {
                self.allocations.insert(address.public_ip, address.allocation.clone());
            }
        }
        for (choice, tables) in &world.chosen {
            if let LastRead::Read { value, .. } = tables {
                self.chosen.insert(choice.clone(), value.clone());
            }
        }
        if let LastRead::Read { value: (_, enis), .. } = &world.interfaces {
            for (name, own) in &mut self.node.interfaces {
                let Some(eni) = enis.iter().find(|eni| eni.id == own.eni) else { continue };
                match foreign(&self.node.instance, name, own, eni) {
                    Some(why) => _ = self.foreign.insert(name.clone(), why),
                    None => _ = self.foreign.remove(name),
                }
                own.primary_ip = eni.primary_ip.or(own.primary_ip);
                own.subnet = eni.subnet.clone().or(own.subnet.take());
                own.vpc = eni.vpc.clone().or(own.vpc.take());
            }
            let vpcs: BTreeSet<_> = self.node.interfaces.values().filter_map(|own| own.vpc.as_ref()).collect();
            let near = enis.iter().filter(|eni| eni.vpc.as_ref().is_some_and(|vpc| vpcs.contains(vpc)));
            self.primaries = near.filter_map(|eni| Some((eni.primary_ip?, eni.id.clone()))).collect();
        }
    }

    /// Whether an address can be a VIP of a subnet or of a route.
    ///
    /// # Errors
    /// The address is the primary one of an ENI. It stays there for the ENI's life, and taking it away from the machine
    /// would cut the machine off.
    fn can_move(&self, address: IpAddr) -> Result<(), WhyUnseen> {
        let IpAddr::V4(address) = address else { return Ok(()) };
        let own = self.node.interfaces.values().find(|own| own.primary_ip == Some(address)).map(|own| &own.eni);
        match own.or_else(|| self.primaries.get(&address)) {
            Some(eni) => Err(WhyUnseen::Unresolved(format!(
                "{address} is the primary private address of {eni}, which cannot move: choose another address for the VIP"
            ))),
            None => Ok(()),
        }
    }

    /// The kernel's answer about the local addresses of a VIP. While the primary address of one of this machine's ENIs
    /// is not known, no address with a subnet is removed, because it could be that one.
    pub(super) fn presences(&self, vip: &Vip, world: &World) -> BTreeMap<IpAddr, Presence> {
        let LastRead::Read { value: LocalView { of, .. }, .. } = &world.local else { return BTreeMap::new() };
        let unread = self.node.interfaces.values().find(|own| own.subnet.is_none());
        let kept = unread.map(|own| format!("the primary address of {} is not known yet", own.eni));
        let mut presences = BTreeMap::new();
        for binding in vip.bindings.values().flatten() {
            let Binding::LocalAddress { address, .. } = binding else { continue };
            let Some(mut presence) = of.get(address).cloned() else { continue };
            for (entry, state) in &mut presence.entries {
                if entry.address.is_ipv4() && !entry.is_single() {
                    state.kept = state.kept.take().or_else(|| kept.clone());
                }
            }
            presences.insert(*address, presence);
        }
        presences
    }

    /// The choices of route tables by tag in the config, as far as the VPC is known.
    fn choices(&self, config: &Config) -> BTreeSet<TagChoice> {
        config.vips.iter().flat_map(|vip| &vip.addresses).filter_map(|address| self.choice(address)).collect()
    }

    fn choice(&self, address: &AddressConfig) -> Option<TagChoice> {
        let route = address.route.as_ref()?;
        let Tables::Tagged { tags, account } = &route.tables else { return None };
        let vpc = self.interface(route.interface.as_deref()).ok()?.1.vpc.clone()?;
        Some(TagChoice { account: account.clone(), vpc, tags: tags.clone() })
    }

    /// Whether the VIP needs an interface whose ENI is not this node's.
    fn is_foreign(&self, vip: &VipConfig) -> bool {
        let names = vip.addresses.iter().flat_map(AddressConfig::interfaces);
        names.filter_map(|name| name.or(self.node.first.as_deref())).any(|name| self.foreign.contains_key(name))
    }

    fn interface(&self, name: Option<&str>) -> Result<(&str, &NodeInterface), WhyUnseen> {
        let missing = |name: Option<&str>, otherwise: String| {
            let why = self.node.missing.get(&name.map(str::to_owned)).cloned();
            WhyUnseen::Unresolved(why.unwrap_or(otherwise))
        };
        let name = name
            .or(self.node.first.as_deref())
            .ok_or_else(|| missing(None, "this machine's first interface is not known".to_owned()))?;
        let (name, interface) = self
            .node
            .interfaces
            .get_key_value(name)
            .ok_or_else(|| missing(Some(name), format!("the ENI of interface {name} is not known")))?;
        match self.foreign.get(name) {
            Some(why) => Err(WhyUnseen::Unresolved(why.clone())),
            None => Ok((name, interface)),
        }
    }

    /// The tables of a route, each with the account that owns it; or the reason why none is known.
    fn tables(&self, address: &AddressConfig) -> Result<Vec<(Account, RouteTableId)>, WhyUnseen> {
        let Some(route) = &address.route else { return Ok(Vec::new()) };
        match &route.tables {
            Tables::Ids(tables) => Ok(tables.iter().map(|table| (table.account.clone(), table.id.clone())).collect()),
            Tables::Tagged { .. } => {
                let not_yet = |why: &str| WhyUnseen::NotYet(why.to_owned());
                let choice = self.choice(address).ok_or_else(|| not_yet("the ENI's VPC is not known yet"))?;
                let tables =
                    self.chosen.get(&choice).ok_or_else(|| not_yet("tables with these tags were not read yet"))?;
                if tables.is_empty() {
                    return Err(WhyUnseen::Unresolved("no route table in the ENI's VPC carries these tags".to_owned()));
                }
                Ok(tables.iter().map(|table| (choice.account.clone(), table.clone())).collect())
            }
        }
    }

    /// The questions of one look, for all VIPs together. The choices of tables by tag come last, because not every
    /// look asks for these.
    #[must_use]
    pub fn questions(&self, config: &Config) -> Vec<Question> {
        let mut public_ips = BTreeSet::new();
        let mut tables: BTreeMap<Account, BTreeSet<RouteTableId>> = BTreeMap::new();
        let mut subnets = BTreeSet::new();
        for vip in &config.vips {
            for address in &vip.addresses {
                if let (Some(_), IpAddr::V4(public)) = (&address.elastic_ip, address.address) {
                    public_ips.insert(public);
                }
                for (account, table) in self.tables(address).unwrap_or_default() {
                    tables.entry(account).or_default().insert(table);
                }
            }
            match self.anchor(vip) {
                Some(Anchor::RouteTable(account, table)) => _ = tables.entry(account).or_default().insert(table),
                Some(Anchor::Subnet(subnet)) => _ = subnets.insert(subnet),
                Some(Anchor::ElasticIp(_)) | None => {}
            }
        }
        let addresses = (!public_ips.is_empty()).then_some(Question::Addresses(public_ips));
        let tables = tables.into_iter().map(|(account, ids)| Question::RouteTables(account, ids));
        let interfaces = self.eni_query(config).map(Question::Interfaces);
        let tags = subnets.into_iter().map(Question::Tags);
        let choices = self.choices(config).into_iter().map(Question::TaggedTables);
        addresses.into_iter().chain(tables).chain(interfaces).chain(tags).chain(choices).collect()
    }

    /// The query that shows this node's own ENIs and every holder of a secondary address.
    fn eni_query(&self, config: &Config) -> Option<EniQuery> {
        let addresses = config.vips.iter().flat_map(|vip| &vip.addresses);
        let secondary = addresses.filter(|address| address.secondary_ip.is_some()).map(|address| address.address);
        let (mut holders_of, mut any_ipv6) = (BTreeSet::new(), false);
        for address in secondary {
            match address {
                IpAddr::V4(private) => _ = holders_of.insert(private),
                IpAddr::V6(_) => any_ipv6 = true,
            }
        }
        let own = || self.node.interfaces.values();
        let enis: BTreeSet<_> = own().map(|interface| interface.eni.clone()).collect();
        let primaries: Option<BTreeSet<_>> = own().map(|interface| interface.primary_ip).collect();
        let subnets: Option<BTreeSet<_>> = own().map(|interface| interface.subnet.clone()).collect();
        let vpcs: BTreeSet<_> = own().map(|interface| interface.vpc.clone()).collect();
        let vpc = if vpcs.len() == 1 { vpcs.into_iter().next().flatten() } else { None };
        match (subnets, primaries, vpc) {
            _ if enis.is_empty() => None,
            // EC2 has no single filter that matches an IPv4 or an IPv6 address. One call that must show the own ENIs
            // and the holders of both kinds of address therefore asks for all ENIs of the subnets.
            (Some(subnets), ..) if any_ipv6 => Some(EniQuery::Subnets(subnets)),
            // A query by address suffices for IPv4. It finds the own ENIs by their primary addresses.
            (_, Some(primaries), Some(vpc)) if !holders_of.is_empty() => {
                Some(EniQuery::PrivateIps { vpc, addresses: primaries.union(&holders_of).copied().collect() })
            }
            _ => Some(EniQuery::Ids(enis)),
        }
    }

    /// A VIP as this node would hold it, and, for each binding without ids, the reason.
    pub(super) fn resolve(&self, config: &Config, vip: &VipConfig) -> (Vip, BTreeMap<BindingKey, WhyUnseen>) {
        let (mut bindings, mut unresolved) = (BTreeMap::new(), BTreeMap::new());
        let mut put = |key: BindingKey, binding: Result<Binding, WhyUnseen>| match binding {
            Ok(binding) => drop(bindings.insert(key, Some(binding))),
            Err(why) => {
                bindings.insert(key.clone(), None);
                unresolved.insert(key, why);
            }
        };
        let local = |on, ip| local_address(config, on, ip);
        for address in &vip.addresses {
            let ip = address.address;
            let can_move = self.can_move(ip);
            if let Some(elastic) = &address.elastic_ip {
                put(BindingKey::new(Kind::ElasticIp, ip), self.elastic_ip(vip, ip, elastic));
            }
            if let Some(secondary) = &address.secondary_ip {
                let interface = can_move.clone().and_then(|()| self.interface(secondary.interface.as_deref()));
                let eni = interface.clone().map(|(_, interface)| interface.eni.clone());
                put(BindingKey::new(Kind::SecondaryIp, ip), eni.map(|eni| Binding::SecondaryIp { eni, address: ip }));
                put(BindingKey::new(Kind::LocalAddress, ip), interface.map(|on| local(on, ip)));
            }
            if let Some(route) = &address.route {
                let interface = self.interface(route.interface.as_deref());
                match (self.tables(address), &interface) {
                    (Ok(tables), Ok((_, interface))) => {
                        for (account, table) in tables {
                            let key = route_key(vip, address, &table);
                            let (eni, on_release) = (interface.eni.clone(), route.on_release);
                            let destination = IpNet::from(ip);
                            put(key, Ok(Binding::Route { account, table, destination, eni, on_release }));
                        }
                    }
                    (Ok(tables), Err(why)) => {
                        for (_, table) in tables {
                            put(route_key(vip, address, &table), Err(why.clone()));
                        }
                    }
                    (Err(why), _) => put(BindingKey::new(Kind::Route, "(by tag)"), Err(why)),
                }
                let name = route.interface.as_deref().or(self.node.first.as_deref()).unwrap_or(FIRST);
                put(
                    BindingKey::new(Kind::SourceDestCheck, name),
                    interface.clone().map(|(_, interface)| Binding::SourceDestCheck { eni: interface.eni.clone() }),
                );
                let local = can_move.and(interface).map(|on| local(on, ip));
                put(BindingKey::new(Kind::LocalAddress, ip), local);
            }
        }
        let vip = Vip {
            delegate_ip: vip.delegate_ip,
            instance: self.node.instance.clone(),
            bindings,
            obstacles: self.obstacles(config, vip),
            claims: config.claims,
            handover: config.handover,
            anchor: self.anchor(vip),
        };
        (vip, unresolved)
    }

    /// The Elastic IPs of a VIP whose private address another Elastic IP has, which comes first in the config. The
    /// config may spell one place in several ways, so the ids and addresses are compared.
    fn obstacles(&self, config: &Config, vip: &VipConfig) -> BTreeMap<BindingKey, Obstacle> {
        let mut firsts = BTreeMap::new();
        let mut obstacles = BTreeMap::new();
        let addresses = config.vips.iter().flat_map(|vip| &vip.addresses);
        for (address, elastic) in addresses.filter_map(|it| Some((it.address, it.elastic_ip.as_ref()?))) {
            let Ok((_, interface)) = self.interface(elastic.interface.as_deref()) else { continue };
            let Some(private_ip) = elastic.private_ip.or(interface.primary_ip) else { continue };
            let first = *firsts.entry((&interface.eni, private_ip)).or_insert(address);
            if first != address && vip.addresses.iter().any(|own| own.address == address) {
                let shared = Obstacle::SharedPlace { first, eni: interface.eni.clone(), private_ip };
                obstacles.insert(BindingKey::new(Kind::ElasticIp, address), shared);
            }
        }
        obstacles
    }

    fn elastic_ip(&self, vip: &VipConfig, ip: IpAddr, config: &ElasticIpConfig) -> Result<Binding, WhyUnseen> {
        let (_, interface) = self.interface(config.interface.as_deref())?;
        let found = match ip {
            IpAddr::V4(public) => self.allocations.get(&public),
            IpAddr::V6(_) => None,
        };
        let allocation = match (found, &config.allocation_id) {
            (Some(found), Some(given)) if found != given => {
                return Err(WhyUnseen::Unresolved(format!(
                    "{ip} is {found}, but the config names {given}: correct allocation_id, or leave it out"
                )));
            }
            (Some(id), _) | (None, Some(id)) => id.clone(),
            (None, None) => return Err(WhyUnseen::NotRead),
        };
        let private_ip = config
            .private_ip
            .or(interface.primary_ip)
            .ok_or_else(|| WhyUnseen::NotYet(format!("the primary address of {} is not known yet", interface.eni)))?;
        let after = vip
            .addresses
            .iter()
            .find(|other| other.secondary_ip.is_some() && other.address == IpAddr::V4(private_ip))
            .map(|other| BindingKey::new(Kind::SecondaryIp, other.address));
        Ok(Binding::ElasticIp { allocation, eni: interface.eni.clone(), private_ip, after })
    }

    /// The anchor on which claims on a VIP are recorded: the one that the config chooses, with its id. A VIP on an ENI of
    /// another node has none: a tag is named by the instance, so this node may overwrite the other node's claim.
    fn anchor(&self, vip: &VipConfig) -> Option<Anchor> {
        if self.is_foreign(vip) {
            return None;
        }
        match vip.anchor_choice()? {
            AnchorChoice::ElasticIp(id) => Some(Anchor::ElasticIp(id.clone())),
            AnchorChoice::ElasticIpAt(IpAddr::V4(public)) => {
                self.allocations.get(&public).cloned().map(Anchor::ElasticIp)
            }
            AnchorChoice::ElasticIpAt(IpAddr::V6(_)) => None,
            AnchorChoice::RouteTable(account, id) => Some(Anchor::RouteTable(account, id.clone())),
            AnchorChoice::Subnet => {
                let secondary = vip.addresses.iter().find_map(|address| address.secondary_ip.as_ref())?;
                self.interface(secondary.interface.as_deref()).ok()?.1.subnet.clone().map(Anchor::Subnet)
            }
        }
    }
}

/// The reason why the ENI given for an interface is not this node's: the kernel and EC2 know different MAC addresses, or
/// EC2 shows the ENI at another instance. `None` if all agree, or if nothing else is known. An ENI that EC2 shows at no
/// instance may be about to be attached here. An attachment that was moved shows itself in a later look.
fn foreign(me: &InstanceId, name: &str, own: &NodeInterface, eni: &Eni) -> Option<String> {
    let macs = own.mac.as_ref().zip(eni.mac.as_ref());
    if let Some((here, there)) = macs.filter(|(here, there)| here != there) {
        return Some(format!(
            "{} is not the ENI of interface {name}: its MAC address is {there}, and that of {name} is {here}; correct \
             identity.interfaces",
            own.eni
        ));
    }
    let attached = eni.instance.as_ref().filter(|attached| *attached != me)?;
    // The MAC address shows that the ENI is this machine's. Only the instance can be wrong then.
    let or_interfaces = if macs.is_some() { "" } else { ", or identity.interfaces" };
    Some(format!(
        "this node is not {me}: EC2 says that {}, the ENI of interface {name}, is attached to {attached}; correct \
         identity.instance_id{or_interfaces}",
        own.eni
    ))
}

/// The bindings that the config names, for metrics that must exist from the start. The routes of tables chosen by tag
/// are added once the tables are found.
#[must_use]
pub fn configured_keys(config: &Config) -> Vec<(IpAddr, Vec<BindingKey>)> {
    let keys = |vip: &VipConfig| {
        let mut keys = BTreeSet::new();
        for address in &vip.addresses {
            let ip = address.address;
            if address.elastic_ip.is_some() {
                keys.insert(BindingKey::new(Kind::ElasticIp, ip));
            }
            if address.secondary_ip.is_some() {
                keys.insert(BindingKey::new(Kind::SecondaryIp, ip));
                keys.insert(BindingKey::new(Kind::LocalAddress, ip));
            }
            if let Some(route) = &address.route {
                let name = route.interface.as_deref().unwrap_or(FIRST);
                keys.insert(BindingKey::new(Kind::LocalAddress, ip));
                keys.insert(BindingKey::new(Kind::SourceDestCheck, name));
                if let Tables::Ids(tables) = &route.tables {
                    keys.extend(tables.iter().map(|table| route_key(vip, address, &table.id)));
                }
            }
        }
        keys.into_iter().collect()
    };
    config.vips.iter().map(|vip| (vip.delegate_ip, keys(vip))).collect()
}

/// The key of a route. A route to the delegate IP is named by its table alone; a route to another address of the VIP is
/// named by table and address.
fn route_key(vip: &VipConfig, address: &AddressConfig, table: &RouteTableId) -> BindingKey {
    if address.address == vip.delegate_ip {
        BindingKey::new(Kind::Route, table)
    } else {
        BindingKey::new(Kind::Route, format_args!("{table} {}", address.address))
    }
}

/// The binding of a local address. The address is always the VIP's own, so its connections are the VIP's alone.
fn local_address(config: &Config, on: (&str, &NodeInterface), address: IpAddr) -> Binding {
    Binding::LocalAddress { interface: kernels_name(on), address, connections: config.connections }
}

/// The name of an interface in the kernel's lists, which name no interface by an alternative name.
fn kernels_name((name, interface): (&str, &NodeInterface)) -> String {
    interface.first_name.as_deref().unwrap_or(name).to_owned()
}
