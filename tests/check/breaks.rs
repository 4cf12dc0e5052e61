//! One thing about the configuration, the machine or EC2 is broken at a time, and exactly one check finds it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ec2_endpoint::{
    AssociateAddress, Fault, FaultKind, ModifyNetworkInterfaceAttribute, Operation, TagChange, TagSpec,
};
use vipkeeper::binding::{Account, LocalAddress};
use vipkeeper::check::all;
use vipkeeper::check::facts::{Facts, OtherKeeper};
use vipkeeper::config::{TableRef, Tables};
use vipkeeper::ec2::reason::Reason;
use vipkeeper::ec2::{Class, Route, RouteTarget};
use vipkeeper::identity::Node;
use vipkeeper::machine::clock::Discipline;
use vipkeeper::machine::folder::UserIds;
use vipkeeper::machine::kernel::{EntryState, KernelError};
use vipkeeper::names::OneOf;
use vipkeeper::observe::LastRead;
use vipkeeper::observe::cause::{Cause, FailedRead};
use vipkeeper::observe::seen::Moment;

use crate::pgpool;
use crate::support::estate::by_secondary_ip;
use crate::support::in_paused_time;
use crate::well::*;

/// One check, the result that is wanted of it, words of its message, and the one thing that is broken.
pub type Broken = (&'static str, &'static str, &'static str, Break);

/// The way to break one thing.
#[derive(Clone, Copy)]
pub enum Break {
    /// In the account or in the configuration, before EC2 is asked.
    Stage(fn(&mut Stage)),
    /// In what was found.
    Facts(fn(&mut Facts)),
}

use Break::{Facts as Found, Stage as Before};

/// Each check of the configuration, the machine and EC2.
const BREAKS: &[Broken] = &[
    (
        "config-valid",
        "failed",
        "delegate_ip: ",
        Found(|facts| facts.config = Err(vec!["delegate_ip: none".to_owned()])),
    ),
    (
        "hooks-state-dir",
        "failed",
        "elsewhere",
        Found(|facts| {
            facts.machine.hooks_elsewhere = Some("hooks write elsewhere".to_owned());
        }),
    ),
    (
        "hook-users",
        "failed",
        "does not exist",
        Found(|facts| {
            facts.machine.hook_users = vec![("postgres".to_owned(), Err("user postgres does not exist".to_owned()))];
            // Without that user there is nobody whose processes and hooks could be judged.
            facts.pgpool.processes.clear();
        }),
    ),
    (
        "state-folder",
        "failed",
        "No such file",
        Found(|facts| {
            facts.machine.state_dir.1 = Err("No such file or directory".to_owned());
        }),
    ),
    (
        "hooks-can-write",
        "failed",
        "postgres cannot write into /run/vipkeeper/desired (mode 755)",
        Found(|facts| {
            facts.machine.desired.1.as_mut().unwrap().mode = 0o755;
        }),
    ),
    (
        "state-folder-in-memory",
        "warning",
        "outlives a reboot",
        Found(|facts| {
            facts.machine.state_dir.1.as_mut().unwrap().is_in_memory = false;
        }),
    ),
    (
        "state-folder-room",
        "failed",
        "0 KiB are free",
        Found(|facts| {
            facts.machine.state_dir.1.as_mut().unwrap().free = 0;
        }),
    ),
    (
        "not-held",
        "failed",
        "203.0.113.10 is held until 2023-11-14T22:13:20Z",
        Found(|facts| {
            facts.machine.holds.insert(EIP.parse().unwrap(), Ok(hold_until(1_700_000_000_000)));
        }),
    ),
    (
        "not-held",
        "warning",
        "the hold over 203.0.113.10 does not count: no JSON",
        Found(|facts| {
            facts.machine.holds.insert(EIP.parse().unwrap(), Err("no JSON".to_owned()));
        }),
    ),
    (
        "node-known",
        "failed",
        "metadata service",
        Found(|facts| {
            facts.cloud.node = Err("the metadata service did not tell the instance".to_owned());
            (facts.cloud.reads, facts.cloud.endpoint.host) = (None, None);
            facts.cloud.endpoint.tried.clear();
        }),
    ),
    (
        "interfaces-known",
        "failed",
        "eth7: no interface",
        Found(|facts| {
            let node = facts.cloud.node.as_mut().unwrap();
            node.missing.insert(Some("eth7".to_owned()), "no interface eth7 on this machine".to_owned());
        }),
    ),
    (
        "interfaces-known",
        "warning",
        "eth0 has no device of its own, and the MAC address of ens5, which has one",
        Found(|facts| {
            let node = facts.cloud.node.as_mut().unwrap();
            node.interfaces.get_mut("eth0").unwrap().device_below = Some("ens5".to_owned());
        }),
    ),
    ("clock-agrees", "warning", "2.9 s ahead of EC2's", Found(|facts| facts.machine.now.wall_ms += 3_000)),
    (
        "clock-synchronized",
        "warning",
        "not count",
        Found(|facts| {
            facts.machine.discipline = Some(Discipline { synchronized: false, max_error: Duration::from_secs(16) });
        }),
    ),
    (
        "endpoint-resolves",
        "failed",
        "temporary failure",
        Found(|facts| {
            facts.cloud.endpoint.addresses = Err("temporary failure in name resolution".to_owned());
            facts.cloud.endpoint.tried.clear();
            // The VIP's Elastic IP alone would need the addresses.
            reads(facts).tables.clear();
        }),
    ),
    (
        "endpoint-connects",
        "failed",
        "refused",
        Found(|facts| {
            facts.cloud.endpoint.tried[0].1 = Err("connection refused".to_owned());
        }),
    ),
    (
        "endpoint-is-ec2",
        "failed",
        "hotel",
        Found(|facts| fail_addresses(facts, None, Some(Reason::NotAws), "a hotel's page")),
    ),
    ("endpoint-is-quick", "warning", "1400 ms", Found(|facts| reads(facts).slowest = Duration::from_millis(1400))),
    (
        "way-without-elastic-ip",
        "failed",
        "no default route",
        Found(|facts| {
            facts.cloud.endpoint = endpoint(Some("ec2.us-east-1.amazonaws.com".to_owned()), "52.94.5.1");
        }),
    ),
    (
        "credentials-found",
        "failed",
        "no credentials",
        Found(|facts| {
            fail_addresses(facts, None, Some(Reason::NoCredentials), "no credentials found");
        }),
    ),
    (
        "credentials-accepted",
        "failed",
        "validate",
        Found(|facts| {
            fail_addresses(facts, Some("AuthFailure"), Some(Reason::BadCredentials), "not able to validate");
        }),
    ),
    (
        "credentials-last",
        "warning",
        "good for",
        Found(|facts| {
            reads(facts).credentials_last = Some(Duration::from_secs(9));
        }),
    ),
    ("allowed-to-look", "failed", "ec2:DescribeAddresses: ", Before(|stage| deny(stage, "DescribeAddresses"))),
    (
        "allowed-to-assume-role",
        "failed",
        "sts:AssumeRole: ",
        Found(|facts| {
            let cause = Cause {
                code: Some("AccessDenied".to_owned()),
                reason: Some(OneOf::Known(Reason::RoleNotAssumed)),
                ..Cause::default()
            };
            let failed = FailedRead { class: Class::Denied, why: "cannot assume the role".to_owned(), cause };
            reads(facts).world.tables.insert(Account::Role(SHARED.to_owned()), LastRead::Failed(failed));
        }),
    ),
    ("allowed-elastic-ip", "failed", "ec2:AssociateAddress: ", Before(|stage| deny(stage, "AssociateAddress"))),
    ("allowed-route", "failed", "ec2:ReplaceRoute: ", Before(|stage| deny(stage, "ReplaceRoute"))),
    ("allowed-route-deletion", "warning", "ec2:DeleteRoute: ", Before(|stage| deny(stage, "DeleteRoute"))),
    (
        "allowed-source-dest-check",
        "warning",
        "ec2:ModifyNetworkInterfaceAttribute: ",
        Before(|stage| {
            deny(stage, "ModifyNetworkInterfaceAttribute");
        }),
    ),
    ("allowed-claims", "warning", "ec2:CreateTags: ", Before(|stage| deny(stage, "CreateTags"))),
    (
        "elastic-ip-exists",
        "failed",
        "is none of this account",
        Found(|facts| {
            reads(facts).world.addresses = LastRead::Read { value: Vec::new(), at: Moment::from_millis(1) };
        }),
    ),
    (
        "elastic-ip-place",
        "failed",
        "has the Elastic IP 203.0.113.77",
        Before(|stage| {
            let (allocation, eni) = (stage.estate.allocate("203.0.113.77"), stage.eni());
            stage.by_hand(Operation::AssociateAddress(AssociateAddress {
                allocation_id: Some(allocation),
                network_interface_id: Some(eni),
                ..Default::default()
            }));
        }),
    ),
    (
        "elastic-ip-private-address",
        "failed",
        "10.0.1.99, at which the Elastic IP is wanted",
        Before(|stage| {
            let elastic = stage.config.vips[0].addresses[0].elastic_ip.as_mut().unwrap();
            elastic.private_ip = Some("10.0.1.99".parse().unwrap());
        }),
    ),
    ("route-tables-exist", "failed", "rtb-0123 does not exist", Before(|stage| add_table(stage, "rtb-0123"))),
    (
        "route-tables-chosen",
        "failed",
        "carries role=public",
        Before(|stage| {
            let tags = BTreeMap::from([("role".to_owned(), "public".to_owned())]);
            let route = stage.config.vips[1].addresses[0].route.as_mut().unwrap();
            route.tables = Tables::Tagged { tags, account: Account::Own };
        }),
    ),
    (
        "route-tables-vpc",
        "failed",
        "is of vpc-",
        Before(|stage| {
            let now = stage.estate.clock.now();
            let table = stage.estate.service().change(now, |account| {
                let vpc = account.add_vpc("10.9.0.0/16", None).unwrap();
                account.add_route_table(&vpc).unwrap()
            });
            add_table(stage, &table);
        }),
    ),
    (
        "route-tables-room",
        "warning",
        "routes, and 500 are the quota",
        Found(|facts| {
            let LastRead::Read { value, .. } = reads(facts).world.tables.get_mut(&Account::Own).unwrap() else {
                panic!()
            };
            value[0].routes.extend((0..500_u32).map(|number| Route {
                destination: format!("172.{}.{}.0/24", 16 + number / 256, number % 256).parse().unwrap(),
                target: RouteTarget::Other("pcx-1".to_owned()),
                instance: None,
                blackhole: false,
            }));
        }),
    ),
    (
        "route-outside-vpc",
        "failed",
        "10.0.77.7 is inside the VPC",
        Before(|stage| {
            let vip = &mut stage.config.vips[1];
            (vip.delegate_ip, vip.addresses[0].address) = ("10.0.77.7".parse().unwrap(), "10.0.77.7".parse().unwrap());
        }),
    ),
    (
        "source-dest-check",
        "warning",
        "it is on at the ENI of eth0",
        Before(|stage| {
            stage.by_hand(Operation::ModifyNetworkInterfaceAttribute(ModifyNetworkInterfaceAttribute {
                network_interface_id: stage.eni(),
                source_dest_check: Some(true),
                ..Default::default()
            }));
        }),
    ),
    (
        "elastic-ip-border-group",
        "failed",
        "is of us-east-1-bos-1, and eni-",
        Before(|stage| stage.put_into_border_group("us-east-1-bos-1")),
    ),
    (
        "private-ip-slots",
        "failed",
        "holds 6 of 6 private IPv4 addresses, and needs 1 more",
        Before(|stage| stage.fill_the_eni()),
    ),
    ("secondary-in-subnet", "failed", "10.0.9.50 is outside", Before(|stage| secondary(stage, "10.0.9.50"))),
    ("secondary-not-reserved", "failed", "10.0.1.2 is one of the five", Before(|stage| secondary(stage, "10.0.1.2"))),
    (
        "secondary-can-move",
        "failed",
        "is the primary private address of eni-",
        Before(|stage| {
            let primary = stage.estate.bystander.primary_ip.to_string();
            secondary(stage, &primary);
        }),
    ),
    (
        "claims-room",
        "warning",
        "has 50 tags",
        Before(|stage| {
            let tags = (0..50).map(|number| TagSpec { key: format!("team-{number}"), value: None }).collect();
            tag_the_address(stage, tags);
        }),
    ),
    (
        "claims-plausible",
        "warning",
        "which no node wrote",
        Before(|stage| {
            let tag = TagSpec { key: format!("vipkeeper/{EIP}/i-0abc"), value: Some("1700000000000 mine".to_owned()) };
            tag_the_address(stage, vec![tag]);
        }),
    ),
    ("firewall-pgpool", "failed", "lets TCP 9999 in", Found(|facts| close(facts, "tcp", 9999))),
    ("firewall-watchdog", "failed", "lets UDP 9694 in", Found(|facts| close(facts, "udp", 9694))),
    ("firewall-probe", "warning", "lets UDP 9814 in", Found(|facts| close(facts, "udp", 9814))),
    ("firewall-ping", "warning", "lets a ping from 203.0.113.10 in", Found(|facts| close(facts, "icmp", 8))),
    (
        "kernel-interfaces",
        "failed",
        "no interface eth0",
        Found(|facts| {
            facts.machine.interfaces.remove("eth0");
        }),
    ),
    (
        "kernel-may-change",
        "failed",
        "lacks CAP_NET_ADMIN",
        Found(|facts| {
            facts.machine.capability.may_change_addresses = false;
        }),
    ),
    (
        "kernel-addresses-seen",
        "failed",
        "no answer",
        Found(|facts| {
            let message = "no answer".to_owned();
            facts.machine.view = Err(KernelError::Kernel { doing: "list the local addresses".to_owned(), message });
        }),
    ),
    (
        "kernel-address-free",
        "warning",
        "20.0.0.50/32 on eth0, although no hook said",
        Found(|facts| {
            let address: IpAddr = ROUTED.parse().unwrap();
            let presence = facts.machine.view.as_mut().unwrap().of.get_mut(&address).unwrap();
            presence.entries.insert(LocalAddress::single("eth0", address), EntryState::default());
        }),
    ),
    (
        "kernel-static-route",
        "warning",
        "by the route 'local 20.0.0.50 dev lo'",
        Found(|facts| {
            let view = facts.machine.view.as_mut().unwrap();
            view.of.get_mut(&ROUTED.parse().unwrap()).unwrap().route = Some("local 20.0.0.50 dev lo".to_owned());
        }),
    ),
    (
        "kernel-left-behind",
        "warning",
        "20.0.0.9/32 on eth0",
        Found(|facts| {
            let left = LocalAddress::single("eth0", "20.0.0.9".parse().unwrap());
            facts.machine.view.as_mut().unwrap().left_behind.insert(left);
        }),
    ),
    (
        "networkd-keeps-addresses",
        "warning",
        "removes the VIP from eth0",
        Found(|facts| {
            facts.machine.networkd[0].keeps_addresses = false;
        }),
    ),
    (
        "no-other-keeper",
        "failed",
        "keepalived.conf names 20.0.0.50",
        Found(|facts| {
            let file = PathBuf::from("/etc/keepalived/keepalived.conf");
            let names = Some((file, ROUTED.parse().unwrap()));
            facts.machine.keepers.push(OtherKeeper { name: "keepalived".to_owned(), names });
        }),
    ),
];

/// The check that EC2 answers no question of. It can only be skipped, and says why.
const NEVER_FAULTY: [&str; 1] = ["allowed-secondary-ip"];

fn deny(stage: &mut Stage, operation: &str) {
    stage.estate.fault(Fault::new(FaultKind::Deny).at(operation));
}

fn add_table(stage: &mut Stage, id: &str) {
    let Tables::Ids(tables) = &mut stage.config.vips[1].addresses[0].route.as_mut().unwrap().tables else { panic!() };
    tables.push(TableRef { id: id.parse().unwrap(), account: Account::Own });
}

fn secondary(stage: &mut Stage, address: &str) {
    let vip = &mut stage.config.vips[2];
    (vip.delegate_ip, vip.addresses) = (address.parse().unwrap(), vec![by_secondary_ip(address)]);
}

pub fn tag_the_address(stage: &Stage, tags: Vec<TagSpec>) {
    let allocation = stage.estate.account().elastic_ips().next().unwrap().allocation_id.clone();
    stage.by_hand(Operation::CreateTags(TagChange { resources: vec![allocation], tags, dry_run: false }));
}

fn fail_addresses(facts: &mut Facts, code: Option<&str>, reason: Option<Reason>, why: &str) {
    let cause = Cause {
        operation: Some("DescribeAddresses".to_owned()),
        code: code.map(str::to_owned),
        reason: reason.map(OneOf::Known),
        kernel: None,
    };
    let failed = FailedRead { class: Class::Denied, why: why.to_owned(), cause };
    reads(facts).world.addresses = LastRead::Failed(failed);
}

fn close(facts: &mut Facts, protocol: &str, port: i32) {
    for rules in reads(facts).ingress.values_mut() {
        let is_closed = |first: i32| first == port;
        rules
            .as_mut()
            .unwrap()
            .retain(|rule| rule.protocol != protocol || !rule.ports.is_some_and(|it| is_closed(it.0)));
    }
}

async fn broken(by: &Break) -> Facts {
    let mut stage = Stage::new();
    if let Before(change) = by {
        change(&mut stage);
    }
    let mut facts = stage.facts().await;
    if let Found(change) = by {
        change(&mut facts);
    }
    facts
}

#[test]
fn on_a_node_where_all_is_well_no_check_finds_a_fault() {
    in_paused_time(async {
        let results = judged(&Stage::new().facts().await);
        assert_eq!(faults(&results), BTreeMap::new(), "{}", results.page());
        assert_eq!(results.summary.exit_code(), 0);
        let skipped: Vec<_> = results.checks.iter().filter(|check| check.result == "skipped").collect();
        let skipped: Vec<_> = skipped.iter().map(|check| check.id).collect();
        assert_eq!(skipped, ["credentials-last", "allowed-secondary-ip", "route-tables-chosen"], "{}", results.page());
    });
}

#[test]
fn each_broken_thing_is_found_by_exactly_one_check() {
    for (id, result, words, by) in BREAKS.iter().chain(pgpool::BREAKS) {
        in_paused_time(async {
            let results = judged(&broken(by).await);
            assert_eq!(faults(&results), BTreeMap::from([(*id, *result)]), "{id}: {}", results.page());
            assert!(said(&results, id).contains(words), "{id}: {}", said(&results, id));
            assert_eq!(results.summary.exit_code(), if *result == "failed" { 1 } else { 3 }, "{id}");
        });
    }
}

#[test]
fn each_check_is_broken_once_here() {
    let broken: BTreeSet<_> = BREAKS.iter().chain(pgpool::BREAKS).map(|(id, ..)| *id).chain(NEVER_FAULTY).collect();
    let checks: Vec<_> = all().map(|(_, check)| check.id).collect();
    assert_eq!(broken, checks.iter().copied().collect());
    assert!(checks.len() > 60 && checks.len() == broken.len(), "each id is unique: {}", checks.len());
}

#[test]
fn nothing_is_changed_and_ec2_is_asked_in_few_rounds() {
    const CALL: Duration = Duration::from_millis(150);
    in_paused_time(async {
        let stage = Stage::new();
        stage.estate.latency(CALL);
        let before = stage.estate.account().revision();
        let mark = stage.estate.service().mark();
        let began = stage.estate.clock.now();
        let results = judged(&stage.facts().await);
        let rounds = (stage.estate.clock.now() - began).as_millis() / CALL.as_millis();
        assert_eq!(faults(&results), BTreeMap::new(), "{}", results.page());
        assert_eq!(stage.estate.account().revision(), before);
        let service = stage.estate.service();
        let carried_out = |call: &&ec2_endpoint::service::Call| call.write && call.code.as_deref() == Some("OK");
        assert_eq!(service.calls_since(mark).filter(carried_out).count(), 0);
        let calls = service.calls_since(mark).count();
        assert!(rounds <= 5 && calls > 15, "{rounds} rounds, {calls} calls");
    });
}

#[test]
fn a_hook_user_who_is_missing_beside_another_one_is_a_warning() {
    in_paused_time(async {
        let mut facts = Stage::new().facts().await;
        facts.machine.hook_users.push(("pgpool".to_owned(), Err("user pgpool does not exist".to_owned())));
        assert_eq!(faults(&judged(&facts)), BTreeMap::from([("hook-users", "warning")]));
        // A group that may write is as good as the owner.
        facts.machine.hook_users = vec![("pg".to_owned(), Ok(UserIds { uid: 77, groups: BTreeSet::from([26]) }))];
        facts.pgpool.processes.clear();
        assert_eq!(faults(&judged(&facts)), BTreeMap::new());
    });
}

#[test]
fn an_eni_that_is_not_this_nodes_is_told_once() {
    let mac = |node: &mut Node| node.interfaces.get_mut("eth0").unwrap().mac = Some("02:fc:00:00:00:01".into());
    let instance = |node: &mut Node| node.instance = "i-0c0c".parse().unwrap();
    let wrong: [(fn(&mut Node), _); 2] = [(mac, "is not the ENI of interface"), (instance, "identity.instance_id")];
    for (spoil, wanted) in wrong {
        in_paused_time(async {
            let stage = Stage::new();
            spoil(&mut stage.node.identity.node.borrow_mut());
            let results = judged(&stage.facts().await);
            assert_eq!(faults(&results), BTreeMap::from([("interfaces-known", "failed")]), "{}", results.page());
            assert!(said(&results, "interfaces-known").contains(wanted));
        });
    }
}

#[test]
fn a_clock_that_ec2_does_not_take_fails() {
    in_paused_time(async {
        let mut facts = Stage::new().facts().await;
        facts.machine.now.wall_ms -= 301_000;
        let results = judged(&facts);
        assert_eq!(faults(&results)["clock-agrees"], "failed");
        assert!(said(&results, "clock-agrees").contains("s behind EC2's"), "{}", said(&results, "clock-agrees"));
    });
}
