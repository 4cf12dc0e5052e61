//! EC2 as one node's client meets it: the embedded endpoint's service on the paused clock. A request that was sent
//! reaches EC2 even if its sender has given up or is dead.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use ec2_endpoint::account::model;
use ec2_endpoint::answer::{AddressView, EniView, RouteState, RouteTableView};
use ec2_endpoint::{
    Answer, AssignIpv6Addresses, AssignPrivateIpAddresses, AssociateAddress, Caller, DeleteRoute, Describe,
    DescribeAddresses, DisassociateAddress, ModifyNetworkInterfaceAttribute, Operation, Outcome, RouteChange, Service,
    TagChange, TagSpec, UnassignIpv6Addresses, UnassignPrivateIpAddresses,
};
use ipnet::IpNet;
use tokio::sync::oneshot;
use vipkeeper::action::{Action, Force, RouteCall};
use vipkeeper::binding::Account;
use vipkeeper::claim_tag;
use vipkeeper::config::Limits;
use vipkeeper::ec2::bucket::Bucket;
use vipkeeper::ec2::reason;
use vipkeeper::ec2::server_clock::ServerTime;
use vipkeeper::ec2::{
    Accepted, Address, Class, Ec2Error, Ec2Read, Ec2Write, Effect, Eni, EniQuery, Route, RouteTable, RouteTarget,
    TableQuery, Urgency,
};
use vipkeeper::ids::Term;
use vipkeeper::status::Status;

use super::classify;
use super::kill::KillSwitch;
use super::{Clock, Timeline};

mod ask;

/// The longest time that the client waits for one answer.
const ATTEMPT: Duration = Duration::from_secs(3);

/// For this long from the beginning of the world on, all reads show all claims as they are.
const AS_THEY_ARE: Duration = Duration::from_secs(30);

/// The time at which a read was sent, and the time at which its answer reached the node.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub at: Duration,
    pub answered_at: Duration,
}

/// An observer of everything that a node learns and does.
pub trait Watch {
    /// The tags of a resource reached the node.
    fn learns(&self, node: &str, resource: &str, tags: &BTreeMap<String, String>, when: Asked);
    /// A change leaves the node.
    fn sends(&self, node: &str, operation: &Operation);
    /// EC2 carried out a change. The change may have been sent much earlier.
    fn changed(&self, account: &ec2_endpoint::Account);
    /// A node tells its status.
    fn tells(&self, node: &str, status: &Status);
}

/// One node's client.
pub struct SimEc2 {
    pub service: Rc<RefCell<Service>>,
    clock: Clock,
    node: String,
    bucket: Bucket,
    timeline: Rc<Timeline>,
    watch: Option<Rc<dyn Watch>>,
    /// Reads that were parts of changes: of a route directly before its deletion, and of the holder of an IPv6 address.
    pub reads_for_changes: Cell<usize>,
    /// The operations whose writes do nothing and report success. They make a client that breaks its promise.
    pub swallowed: RefCell<BTreeSet<&'static str>>,
    /// The operations that fail on their way or at EC2, each with its error.
    pub fails: RefCell<BTreeMap<&'static str, Ec2Error>>,
    pub switch: Rc<KillSwitch>,
    /// Whether withdrawals of claims do nothing and report success.
    pub swallows_withdrawals: Cell<bool>,
    /// The only node whose claims a read shows. This keeps a node from learning of the other nodes' claims.
    pub shows_claims_of: RefCell<Option<String>>,
    /// The only node whose claims a read shows as they are, after a while. It shows all others as withdrawn.
    pub shows_withdrawn_but: RefCell<Option<String>>,
    /// EC2's clock, as far as the dates of its answers tell it.
    pub time: Cell<Option<ServerTime>>,
}

impl SimEc2 {
    pub fn new(
        service: Rc<RefCell<Service>>,
        clock: Clock,
        node: &str,
        limits: Limits,
        timeline: Rc<Timeline>,
        watch: Option<Rc<dyn Watch>>,
    ) -> Self {
        Self {
            service,
            clock,
            node: node.to_owned(),
            bucket: Bucket::new(limits),
            timeline,
            watch,
            reads_for_changes: Cell::new(0),
            swallowed: RefCell::default(),
            fails: RefCell::default(),
            switch: Rc::default(),
            swallows_withdrawals: Cell::new(false),
            shows_claims_of: RefCell::default(),
            shows_withdrawn_but: RefCell::default(),
            time: Cell::default(),
        }
    }

    async fn call(&self, account: &Account, operation: Operation, urgency: Urgency) -> Result<Answer, Ec2Error> {
        self.bucket.take(urgency).await;
        let name = operation.name();
        if self.swallowed.borrow().contains(name) {
            return Ok(Answer::Done);
        }
        if let Some(error) = self.fails.borrow().get(name) {
            return Err(error.clone());
        }
        let caller = match account {
            Account::Own => Caller::named(&self.node),
            Account::Role(arn) => Caller::named(&self.node).in_role(arn),
        };
        self.switch.pass("before", name).await;
        if operation.is_write() {
            self.timeline.say(&self.node, format_args!("  > {operation:?}"));
            if let Some(watch) = &self.watch {
                watch.sends(&self.node, &operation);
            }
        }
        let outcome = tokio::time::timeout(ATTEMPT, self.answer(caller, operation)).await;
        self.switch.pass("after", name).await;
        let lost = |message: &str| Err(self.lost(name, message));
        match outcome {
            Err(_) => lost("no answer within 3 s"),
            Ok(Outcome::Dropped | Outcome::Silence) => lost("the connection broke"),
            Ok(Outcome::Html { status }) => lost(&format!("status {status}, and no answer of EC2")),
            Ok(Outcome::Empty) => lost("an empty answer"),
            Ok(Outcome::Answered(Ok(answer))) => Ok(answer),
            Ok(Outcome::Answered(Err(error))) => {
                let (class, effect) = (classify::class(name, &error), classify::effect(name, &error));
                self.timeline.say(&self.node, format_args!("  < {name}: {error}"));
                let (code, message) = (error.code.to_string(), error.to_string());
                let reason = reason::of(name, &code, &message);
                Err(Ec2Error { operation: name, code: Some(code), reason, message, request_id: None, class, effect })
            }
        }
    }

    /// Sends the request. EC2 carries it out even if nobody waits for the answer any more.
    async fn answer(&self, caller: Caller, operation: Operation) -> Outcome {
        let started = self.service.borrow_mut().start(self.clock.now(), &caller, &operation);
        let (service, clock) = (Rc::clone(&self.service), self.clock);
        let watch = self.watch.clone().filter(|_| operation.is_write());
        let (sender, answer) = oneshot::channel();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(started.delay).await;
            let reply = service.borrow_mut().finish(clock.now(), started);
            if let Some(watch) = watch {
                watch.changed(service.borrow().account());
            }
            if reply.outcome != Outcome::Silence {
                tokio::time::sleep(reply.delay).await;
                // The sender may have given up by now. The answer is then lost.
                let _ = sender.send(reply.outcome);
            }
        });
        match answer.await {
            Ok(outcome) => outcome,
            Err(_silence) => std::future::pending().await,
        }
    }

    fn lost(&self, operation: &'static str, message: &str) -> Ec2Error {
        self.timeline.say(&self.node, format_args!("  < {operation}: {message}"));
        let effect = if operation.starts_with("Describe") { Effect::None } else { Effect::Unknown };
        let (message, class) = (message.to_owned(), Class::Transient);
        Ec2Error { operation, code: None, reason: None, message, request_id: None, class, effect }
    }

    fn learnt(&self, resource: &str, tags: &BTreeMap<String, String>, asked_at: Duration) {
        if let Some(watch) = &self.watch {
            let when = Asked { at: asked_at, answered_at: self.clock.now() };
            watch.learns(&self.node, resource, tags, when);
        }
    }

    /// The tags that a read shows to this node.
    fn shown(&self, tags: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut tags = tags.clone();
        if let Some(instance) = &*self.shows_claims_of.borrow() {
            tags.retain(|key, _| !key.starts_with("vipkeeper/") || key.ends_with(instance));
        }
        if let Some(instance) = self.shows_withdrawn_but.borrow().as_ref().filter(|_| self.clock.now() > AS_THEY_ARE) {
            let of_others = |key: &String| key.starts_with("vipkeeper/") && !key.ends_with(instance);
            for (_, value) in tags.iter_mut().filter(|(key, _)| of_others(key)) {
                *value = claim_tag::withdrawn_value(Term(u64::MAX));
            }
        }
        tags
    }

    async fn change(&self, account: &Account, operation: Operation, urgency: Urgency) -> Result<(), Ec2Error> {
        self.call(account, operation, urgency).await.map(drop)
    }

    async fn describe_enis(&self, describe: Describe, urgency: Urgency) -> Result<Vec<Eni>, Ec2Error> {
        match self.call(&Account::Own, Operation::DescribeNetworkInterfaces(describe), urgency).await? {
            Answer::NetworkInterfaces(page) => Ok(page.items.iter().map(eni).collect()),
            other => unreachable!("DescribeNetworkInterfaces answered {other:?}"),
        }
    }

    async fn assign_v4(
        &self,
        eni: &str,
        address: Ipv4Addr,
        force: Force,
        urgency: Urgency,
    ) -> Result<Accepted, Ec2Error> {
        let assign = Operation::AssignPrivateIpAddresses(AssignPrivateIpAddresses {
            network_interface_id: eni.to_owned(),
            private_ip_addresses: vec![address.to_string()],
            allow_reassignment: force == Force::Take,
            ..Default::default()
        });
        self.change(&Account::Own, assign, urgency).await.map(|()| CHANGED)
    }

    /// EC2 cannot move an IPv6 address in one call, so the address is first unassigned from its holder.
    async fn assign_v6(
        &self,
        eni: &str,
        address: IpAddr,
        force: Force,
        urgency: Urgency,
    ) -> Result<Accepted, Ec2Error> {
        let assign = || {
            Operation::AssignIpv6Addresses(AssignIpv6Addresses {
                network_interface_id: eni.to_owned(),
                ipv6_addresses: vec![address.to_string()],
                ..Default::default()
            })
        };
        let conflict = match self.change(&Account::Own, assign(), urgency).await {
            Err(error) if error.code.as_deref() == Some("InvalidIPAddress.InUse") && force == Force::Take => error,
            outcome => return outcome.map(|()| CHANGED),
        };
        self.reads_for_changes.set(self.reads_for_changes.get() + 1);
        let by_address = Describe::default().filter("ipv6-addresses.ipv6-address", &[&address.to_string()]);
        let holders = self.describe_enis(by_address, urgency).await?;
        let Some(holder) = holders.first() else { return Err(conflict) };
        let unassign = Operation::UnassignIpv6Addresses(UnassignIpv6Addresses {
            network_interface_id: holder.id.to_string(),
            ipv6_addresses: vec![address.to_string()],
        });
        self.change(&Account::Own, unassign, urgency).await?;
        self.change(&Account::Own, assign(), urgency).await.map(|()| CHANGED)
    }

    async fn point_route(&self, route: &RouteOf<'_>, call: RouteCall, urgency: Urgency) -> Result<Accepted, Ec2Error> {
        let create = || Operation::CreateRoute(route.change());
        let replace = || Operation::ReplaceRoute(route.change());
        let outcome = match call {
            RouteCall::CreateOnly => self.change(route.account, create(), urgency).await,
            RouteCall::CreateElseReplace => match self.change(route.account, create(), urgency).await {
                Err(error) if error.code.as_deref() == Some("RouteAlreadyExists") => {
                    self.change(route.account, replace(), urgency).await
                }
                outcome => outcome,
            },
            RouteCall::ReplaceElseCreate => match self.change(route.account, replace(), urgency).await {
                Err(error) if error.class == Class::Stale && error.code.as_deref() == Some("InvalidParameterValue") => {
                    self.change(route.account, create(), urgency).await
                }
                outcome => outcome,
            },
        };
        outcome.map(|()| CHANGED)
    }

    async fn delete_route(&self, route: &RouteOf<'_>, urgency: Urgency) -> Result<Accepted, Ec2Error> {
        self.reads_for_changes.set(self.reads_for_changes.get() + 1);
        let query = TableQuery::Ids([route.table.parse().expect("it was an id before")].into());
        let tables = self.route_tables(route.account, &query, urgency).await?;
        let ours = tables.iter().flat_map(|table| &table.routes).any(|found| {
            found.destination == route.destination
                && matches!(&found.target, RouteTarget::Eni(target) if target.as_str() == route.eni)
        });
        if !ours {
            return Ok(UNCHANGED);
        }
        let change = route.change();
        let delete = Operation::DeleteRoute(DeleteRoute {
            route_table_id: change.route_table_id,
            destination_cidr_block: change.destination_cidr_block,
            destination_ipv6_cidr_block: change.destination_ipv6_cidr_block,
            dry_run: false,
        });
        gone_is_fine(self.change(route.account, delete, urgency).await)
    }
}

const CHANGED: Accepted = Accepted { association: None, changed: true };
const UNCHANGED: Accepted = Accepted { association: None, changed: false };

/// A release of something that is already gone counts as success.
fn gone_is_fine(outcome: Result<(), Ec2Error>) -> Result<Accepted, Ec2Error> {
    match outcome {
        Ok(()) => Ok(CHANGED),
        Err(error) if error.class == Class::Stale => Ok(UNCHANGED),
        Err(error) => Err(error),
    }
}

struct RouteOf<'a> {
    account: &'a Account,
    table: &'a str,
    destination: IpNet,
    eni: &'a str,
}

impl RouteOf<'_> {
    fn change(&self) -> RouteChange {
        let text = Some(self.destination.trunc().to_string());
        let (v4, v6) = if self.destination.addr().is_ipv4() { (text, None) } else { (None, text) };
        RouteChange {
            route_table_id: self.table.to_owned(),
            destination_cidr_block: v4,
            destination_ipv6_cidr_block: v6,
            network_interface_id: Some(self.eni.to_owned()),
            ..Default::default()
        }
    }
}

impl Ec2Read for SimEc2 {
    fn time(&self) -> Option<ServerTime> {
        self.time.get()
    }

    async fn addresses(&self, public_ips: &BTreeSet<Ipv4Addr>, urgency: Urgency) -> Result<Vec<Address>, Ec2Error> {
        let asked_at = self.clock.now();
        let describe = filtered("public-ip", public_ips);
        let operation = Operation::DescribeAddresses(DescribeAddresses { describe, ..Default::default() });
        match self.call(&Account::Own, operation, urgency).await? {
            Answer::Addresses(views) => {
                for view in &views {
                    self.learnt(&view.address.allocation_id, &view.address.tags, asked_at);
                }
                Ok(views.iter().map(|view| Address { tags: self.shown(&view.address.tags), ..address(view) }).collect())
            }
            other => unreachable!("DescribeAddresses answered {other:?}"),
        }
    }

    async fn route_tables(
        &self,
        account: &Account,
        query: &TableQuery,
        urgency: Urgency,
    ) -> Result<Vec<RouteTable>, Ec2Error> {
        let asked_at = self.clock.now();
        let describe = match query {
            TableQuery::Ids(ids) => filtered("route-table-id", ids),
            TableQuery::Tagged { vpc, tags } => {
                let all = Describe::default().filter("vpc-id", &[vpc.as_str()]);
                tags.iter().fold(all, |all, (key, value)| all.filter(&format!("tag:{key}"), &[value]))
            }
        };
        match self.call(account, Operation::DescribeRouteTables(describe), urgency).await? {
            Answer::RouteTables(page) => {
                page.items.iter().for_each(|view| self.learnt(&view.table.id, &view.table.tags, asked_at));
                let table =
                    |view: &RouteTableView| RouteTable { tags: self.shown(&view.table.tags), ..route_table(view) };
                Ok(page.items.iter().map(table).collect())
            }
            other => unreachable!("DescribeRouteTables answered {other:?}"),
        }
    }

    async fn interfaces(&self, query: &EniQuery, urgency: Urgency) -> Result<Vec<Eni>, Ec2Error> {
        let describe = match query {
            EniQuery::Ids(ids) => filtered("network-interface-id", ids),
            EniQuery::PrivateIps { vpc, addresses } => {
                filtered("addresses.private-ip-address", addresses).filter("vpc-id", &[vpc.as_str()])
            }
            EniQuery::Subnets(subnets) => filtered("subnet-id", subnets),
        };
        self.describe_enis(describe, urgency).await
    }

    async fn tags(&self, resource: &str, urgency: Urgency) -> Result<BTreeMap<String, String>, Ec2Error> {
        let asked_at = self.clock.now();
        let describe = Describe::default().filter("resource-id", &[resource]);
        match self.call(&Account::Own, Operation::DescribeTags(describe), urgency).await? {
            Answer::Tags(page) => {
                let tags = page.items.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
                self.learnt(resource, &tags, asked_at);
                Ok(self.shown(&tags))
            }
            other => unreachable!("DescribeTags answered {other:?}"),
        }
    }
}

impl Ec2Write for SimEc2 {
    async fn admit(&self, urgency: Urgency) {
        self.bucket.admit(urgency).await;
    }

    async fn perform(&self, action: &Action, urgency: Urgency) -> Result<Accepted, Ec2Error> {
        let own = &Account::Own;
        match action {
            Action::AssociateAddress { allocation, eni, private_ip, force } => {
                let associate = Operation::AssociateAddress(AssociateAddress {
                    allocation_id: Some(allocation.to_string()),
                    network_interface_id: Some(eni.to_string()),
                    private_ip_address: Some(private_ip.to_string()),
                    allow_reassociation: Some(*force == Force::Take),
                    ..Default::default()
                });
                match self.call(own, associate, urgency).await? {
                    Answer::Associated { association_id } => {
                        Ok(Accepted { association: association_id.parse().ok(), changed: true })
                    }
                    _ => Ok(CHANGED),
                }
            }
            Action::DisassociateAddress { association, .. } => {
                let disassociate = Operation::DisassociateAddress(DisassociateAddress {
                    association_id: Some(association.to_string()),
                    ..Default::default()
                });
                gone_is_fine(self.change(own, disassociate, urgency).await)
            }
            Action::PointRoute { account, table, destination, eni, call } => {
                let route = RouteOf { account, table: table.as_str(), destination: *destination, eni: eni.as_str() };
                self.point_route(&route, *call, urgency).await
            }
            Action::DeleteRoute { account, table, destination, eni } => {
                let route = RouteOf { account, table: table.as_str(), destination: *destination, eni: eni.as_str() };
                self.delete_route(&route, urgency).await
            }
            Action::AssignAddress { eni, address: IpAddr::V4(address), force } => {
                self.assign_v4(eni.as_str(), *address, *force, urgency).await
            }
            Action::AssignAddress { eni, address, force } => {
                self.assign_v6(eni.as_str(), *address, *force, urgency).await
            }
            Action::UnassignAddress { eni, address } => {
                let (eni, address_text) = (eni.to_string(), vec![address.to_string()]);
                let unassign = match address {
                    IpAddr::V4(_) => Operation::UnassignPrivateIpAddresses(UnassignPrivateIpAddresses {
                        network_interface_id: eni,
                        private_ip_addresses: address_text,
                    }),
                    IpAddr::V6(_) => Operation::UnassignIpv6Addresses(UnassignIpv6Addresses {
                        network_interface_id: eni,
                        ipv6_addresses: address_text,
                    }),
                };
                gone_is_fine(self.change(own, unassign, urgency).await)
            }
            Action::DisableSourceDestCheck { eni } => {
                let modify = Operation::ModifyNetworkInterfaceAttribute(ModifyNetworkInterfaceAttribute {
                    network_interface_id: eni.to_string(),
                    source_dest_check: Some(false),
                    ..Default::default()
                });
                self.change(own, modify, urgency).await.map(|()| CHANGED)
            }
            Action::RecordClaim { value, .. } if self.swallows_withdrawals.get() && value.contains("withdrawn") => {
                Ok(CHANGED)
            }
            Action::RecordClaim { anchor, key, value } => {
                let tag = Operation::CreateTags(TagChange {
                    resources: vec![anchor.resource().to_owned()],
                    tags: vec![TagSpec { key: key.clone(), value: Some(value.clone()) }],
                    dry_run: false,
                });
                self.change(&anchor.account(), tag, urgency).await.map(|()| CHANGED)
            }
            Action::ForgetClaim { anchor, key, value } => {
                let tag = Operation::DeleteTags(TagChange {
                    resources: vec![anchor.resource().to_owned()],
                    tags: vec![TagSpec { key: key.clone(), value: Some(value.clone()) }],
                    dry_run: false,
                });
                self.change(&anchor.account(), tag, urgency).await.map(|()| CHANGED)
            }
            Action::AddLocalAddress { .. } | Action::RemoveLocalAddress { .. } => {
                unreachable!("'{action}' is for the kernel")
            }
        }
    }
}

fn filtered<T: ToString>(name: &str, values: &BTreeSet<T>) -> Describe {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    Describe::default().filter(name, &values)
}

/// The address without its tags.
fn address(view: &AddressView) -> Address {
    let model::ElasticIp { allocation_id, public_ip, association, .. } = &*view.address;
    Address {
        public_ip: *public_ip,
        allocation: allocation_id.parse().expect("the endpoint makes good ids"),
        association: association.as_ref().and_then(|association| association.id.parse().ok()),
        eni: association.as_ref().and_then(|association| association.network_interface_id.parse().ok()),
        instance: view.instance_id.as_ref().and_then(|id| id.parse().ok()),
        private_ip: association.as_ref().map(|association| association.private_ip),
        tags: BTreeMap::new(),
    }
}

/// The route table without its tags.
fn route_table(view: &RouteTableView) -> RouteTable {
    let routes = view.routes.iter().map(|route| Route {
        destination: route.destination,
        target: match &route.target {
            model::RouteTarget::NetworkInterface(id) => {
                RouteTarget::Eni(id.parse().expect("the endpoint makes good ids"))
            }
            model::RouteTarget::InternetGateway(id) => RouteTarget::Other(id.clone()),
            model::RouteTarget::Local => RouteTarget::Other("local".to_owned()),
        },
        instance: route.instance_id.as_ref().and_then(|id| id.parse().ok()),
        blackhole: route.state == RouteState::Blackhole,
    });
    RouteTable {
        id: view.table.id.parse().expect("the endpoint makes good ids"),
        vpc: view.table.vpc_id.parse().ok(),
        routes: routes.collect(),
        tags: BTreeMap::new(),
    }
}

fn eni(view: &EniView) -> Eni {
    let eni = &view.eni;
    Eni {
        id: eni.id.parse().expect("the endpoint makes good ids"),
        instance: eni.instance_id().and_then(|id| id.parse().ok()),
        subnet: eni.subnet_id.parse().ok(),
        vpc: eni.vpc_id.parse().ok(),
        mac: Some(eni.mac.clone()),
        primary_ip: Some(eni.primary_ip()),
        private_ips: eni.private_ips.iter().copied().collect(),
        ipv6: eni.ipv6_addresses.iter().copied().collect(),
        source_dest_check: Some(eni.source_dest_check),
    }
}
