//! The way to EC2 that does not depend on the Elastic IP of a VIP.

use vipkeeper::check::facts::Facts;
use vipkeeper::ec2::ask::PublicAddress;
use vipkeeper::ec2::{Route, RouteTarget};

use crate::support::in_paused_time;
use crate::well::*;

const ID: &str = "way-without-elastic-ip";

/// A node whose packets to EC2 leave by this target of the default route, with these public addresses at its primary
/// private address.
fn leaves_by(facts: &mut Facts, target: &str, public: Option<(&str, bool)>) {
    facts.cloud.endpoint = endpoint(Some("ec2.us-east-1.amazonaws.com".to_owned()), "52.94.5.1");
    let reads = reads(facts);
    for table in reads.tables.values_mut() {
        let route = Route {
            destination: "0.0.0.0/0".parse().unwrap(),
            target: RouteTarget::Other(target.to_owned()),
            instance: None,
            blackhole: false,
        };
        table.as_mut().unwrap().as_mut().unwrap().routes.push(route);
    }
    let primary = reads.known.node().interfaces["eth0"].primary_ip.unwrap();
    for around in reads.surroundings.values_mut() {
        let around = around.as_mut().unwrap().as_mut().unwrap();
        around.public = public
            .map(|(address, is_lent)| (primary, PublicAddress { address: address.parse().unwrap(), is_lent }))
            .into_iter()
            .collect();
    }
}

#[test]
fn a_node_that_leaves_by_the_vips_own_address_would_be_cut_off() {
    for (target, public, result, words) in [
        ("nat-0a", None, "ok", "by nat-0a"),
        ("tgw-0a", None, "ok", "by tgw-0a"),
        ("igw-0a", None, "failed", "no public address of its own"),
        ("igw-0a", Some((EIP, false)), "failed", "the Elastic IP of a VIP: without it"),
        ("igw-0a", Some(("198.51.100.7", true)), "warning", "which AWS takes back when the Elastic IP comes"),
    ] {
        in_paused_time(async move {
            let mut facts = Stage::new().facts().await;
            leaves_by(&mut facts, target, public);
            let results = judged(&facts);
            let check = results.checks.iter().find(|check| check.id == ID).unwrap();
            assert_eq!(check.result, result, "{target} {public:?}: {:?}", check.messages);
            assert!(said(&results, ID).contains(words), "{target} {public:?}: {}", said(&results, ID));
        });
    }
}

#[test]
fn ipv6_a_proxy_and_a_vpc_endpoint_are_ways_of_their_own() {
    in_paused_time(async {
        let mut facts = Stage::new().facts().await;
        leaves_by(&mut facts, "igw-0a", None);
        facts.cloud.endpoint.tried.push(("2600:1f18::1".parse().unwrap(), Err("Network is unreachable".to_owned())));
        assert_eq!(faults(&judged(&facts)).get(ID), Some(&"failed"), "a way that does not work is none");
        facts.cloud.endpoint.tried[1].1 = Ok(());
        assert!(said(&judged(&facts), ID).contains("over IPv6, by 2600:1f18::1"));
        facts.cloud.endpoint.tried.truncate(1);
        facts.cloud.endpoint.proxy = Some("http://10.0.0.7:3128".to_owned());
        assert!(said(&judged(&facts), ID).contains("by the proxy http://10.0.0.7:3128"));
        facts.cloud.endpoint = endpoint(None, "10.0.9.9");
        assert!(said(&judged(&facts), ID).contains("private address 10.0.9.9 of a VPC endpoint"));
    });
}

#[test]
fn a_subnet_whose_table_may_not_be_read_is_left_open_with_what_helps() {
    use ec2_endpoint::{Fault, FaultKind};
    in_paused_time(async {
        let stage = Stage::new();
        stage.estate.fault(Fault::new(FaultKind::Deny).at("DescribeRouteTables"));
        let mut facts = stage.facts().await;
        facts.cloud.endpoint = endpoint(None, "52.94.5.1");
        let results = judged(&facts);
        let check = results.checks.iter().find(|check| check.id == ID).unwrap();
        assert_eq!(check.result, "skipped", "{:?}", check.messages);
        assert!(said(&results, ID).contains("allow ec2:DescribeRouteTables for this check"));
    });
}
