//! Somebody else changes what vipkeeper keeps: by hand, once for each binding, and a tool that does not stop.

use ec2_endpoint::{
    AssignPrivateIpAddresses, AssociateAddress, DeleteRoute, DisassociateAddress, ModifyNetworkInterfaceAttribute,
    Operation, RouteChange, UnassignPrivateIpAddresses,
};

use super::super::client::now;
use super::super::cluster::{Lab, eventually};
use super::super::report::seconds;
use super::super::vpc::Method;
use super::{CLEAN, NOWHERE, Open, Scenario, Story, others, plain, s, sleep_until};

/// A change past vipkeeper.
enum Stroke {
    Ec2(Operation),
    /// The VIP is removed from the leader's interface.
    LocalAddress,
}

impl Stroke {
    fn name(&self) -> &'static str {
        match self {
            Self::Ec2(operation) => operation.name(),
            Self::LocalAddress => "ip addr del",
        }
    }

    fn fall(&self, lab: &Lab, leader: usize) {
        match self {
            Self::Ec2(operation) => drop(lab.vpc.endpoint.change(|account| account.apply(operation)).unwrap()),
            Self::LocalAddress => {
                let address = lab.setup.method.delegate_ip();
                lab.machine(leader).run(&format!("ip addr del {address}/32 dev eth0"));
            }
        }
    }
}

const ASTRAY: Open = Open::MayNotKnow(
    "A Pgpool that does not know the connection resets it; a packet that reaches nobody is repeated at growing intervals, of \
     50 s after a minute. A client that waits sends none. If its answer was lost on the way, only TCP keepalives find out.",
);

pub const DRIFT: Scenario = Scenario {
    name: "every binding changed by hand, one after the other",
    short: &[Method::SecondaryIp],
    setup: plain,
    goal: s(25),
    open: ASTRAY,
    happens: |lab, leader| {
        let at = now();
        let standby = others(leader).next().expect("there are three nodes");
        let mut times = Vec::new();
        for strokes in [take_away(lab, leader), point_at(lab, standby)] {
            for stroke in strokes {
                let began = now();
                lab.recorder.note(&(times.len() + 1).to_string());
                stroke.fall(lab, leader);
                eventually("the change is undone", CLEAN, || lab.agrees_on(leader));
                times.push(format!("{} {}", stroke.name(), seconds(now().saturating_sub(began))));
                eventually("the client is served again", CLEAN, || lab.is_served_by(leader));
            }
        }
        Story::of_one_leader(leader, at, s(30), format!("undone after: {}", times.join(", ")))
    },
    errors: &[],
};

pub const THIEF: Scenario = Scenario {
    name: "another tool takes the VIP each 5 s for a minute",
    short: NOWHERE,
    setup: plain,
    goal: s(45),
    open: ASTRAY,
    happens: |lab, leader| {
        let at = now();
        let standby = others(leader).next().expect("there are three nodes");
        for theft in 0..=12 {
            sleep_until(at + s(5) * theft);
            point_at(lab, standby).iter().for_each(|stroke| stroke.fall(lab, leader));
        }
        let last = now();
        eventually("the leader has everything back", s(60), || lab.agrees_on(leader));
        let end = format!("all back {} after the last theft", seconds(now().saturating_sub(last)));
        eventually("the client is served again", CLEAN, || lab.is_served_by(leader));
        Story::of_one_leader(leader, at, s(60), end)
    },
    errors: &["contested: somebody keeps taking the VIP"],
};

/// Each binding of the leader's is gone.
fn take_away(lab: &Lab, leader: usize) -> Vec<Stroke> {
    let (vpc, vip) = (&lab.vpc, lab.setup.method.delegate_ip());
    let eni = vpc.instances[leader].eni.clone();
    match lab.setup.method {
        Method::ElasticIp => {
            let service = vpc.endpoint.service();
            let association = service.account().elastic_ip(&vpc.allocation).unwrap().association.as_ref();
            let association_id = association.map(|association| association.id.clone());
            vec![Stroke::Ec2(Operation::DisassociateAddress(DisassociateAddress {
                association_id,
                ..DisassociateAddress::default()
            }))]
        }
        Method::Route => {
            let deletions = vpc.tables.iter().map(|table| {
                Stroke::Ec2(Operation::DeleteRoute(DeleteRoute {
                    route_table_id: table.clone(),
                    destination_cidr_block: Some(format!("{vip}/32")),
                    ..DeleteRoute::default()
                }))
            });
            let check = Operation::ModifyNetworkInterfaceAttribute(ModifyNetworkInterfaceAttribute {
                network_interface_id: eni,
                source_dest_check: Some(true),
                ..ModifyNetworkInterfaceAttribute::default()
            });
            deletions.chain([Stroke::Ec2(check), Stroke::LocalAddress]).collect()
        }
        Method::SecondaryIp => {
            let unassign = Operation::UnassignPrivateIpAddresses(UnassignPrivateIpAddresses {
                network_interface_id: eni,
                private_ip_addresses: vec![vip.to_string()],
            });
            vec![Stroke::Ec2(unassign), Stroke::LocalAddress]
        }
    }
}

/// Each pointer of the VIP leads to this node.
fn point_at(lab: &Lab, node: usize) -> Vec<Stroke> {
    let (vpc, vip) = (&lab.vpc, lab.setup.method.delegate_ip());
    let eni = vpc.instances[node].eni.clone();
    match lab.setup.method {
        Method::ElasticIp => vec![Stroke::Ec2(Operation::AssociateAddress(AssociateAddress {
            allocation_id: Some(vpc.allocation.clone()),
            network_interface_id: Some(eni),
            ..AssociateAddress::default()
        }))],
        Method::Route => {
            let replacements = vpc.tables.iter().map(|table| {
                Stroke::Ec2(Operation::ReplaceRoute(RouteChange {
                    route_table_id: table.clone(),
                    destination_cidr_block: Some(format!("{vip}/32")),
                    network_interface_id: Some(eni.clone()),
                    ..RouteChange::default()
                }))
            });
            replacements.collect()
        }
        Method::SecondaryIp => vec![Stroke::Ec2(Operation::AssignPrivateIpAddresses(AssignPrivateIpAddresses {
            network_interface_id: eni,
            private_ip_addresses: vec![vip.to_string()],
            allow_reassignment: true,
            ..AssignPrivateIpAddresses::default()
        }))],
    }
}
