//! All the shapes a VIP can have.

use std::net::Ipv6Addr;

use ec2_endpoint::{Operation, TagChange, TagSpec};

use crate::stage::{A_PASS, OTHER_PUBLIC, PUBLIC, ROUTED, SECONDARY, Stage, eventually};

const IPV6: &str = "2001:db8:ffff::50";

#[test]
fn a_table_of_another_account_is_written_in_the_role_that_it_names() {
    const ROLE: &str = "arn:aws:iam::210987654321:role/vipkeeper";
    let Some(stage) = Stage::new(1, 2) else { return };
    let machine = &stage.machines[0];
    let [own, foreign] = &stage.tables[..] else { unreachable!("two were made") };
    machine.configure(&format!(
        "[[vip]]\ndelegate_ip = \"{ROUTED}\"\n[vip.route]\ninterface = \"eth0\"\n\
         tables = [\"{own}\", {{ id = \"{foreign}\", assume_role_arn = \"{ROLE}\" }}]\n"
    ));
    let mark = stage.mark();
    let sts = machine.ec2.clone();
    let _daemon = machine.start_with(|command| {
        command.env("AWS_ENDPOINT_URL_STS", sts);
    });
    machine.until_ready();
    machine.hook("up", ROUTED);
    machine.wait(ROUTED);
    for table in [own, foreign] {
        assert_eq!(stage.route(table, ROUTED).as_ref(), Some(&machine.eni));
    }
    let calls = stage.calls(mark);
    let roles = |operation: &str| -> Vec<_> {
        let mut roles: Vec<_> =
            calls.iter().filter(|call| call.operation == operation).map(|call| call.caller.role.as_deref()).collect();
        roles.sort();
        roles.dedup();
        roles
    };
    for operation in ["CreateRoute", "DescribeRouteTables"] {
        assert_eq!(roles(operation), [None, Some(ROLE)], "{operation}");
    }
    assert_eq!(roles("CreateTags"), [None]);
    assert_eq!(calls.iter().filter(|call| call.operation == "AssumeRole").count(), 1);
}

#[test]
fn ipv6_goes_by_routes_as_well() {
    let Some(stage) = Stage::new(1, 1) else { return };
    let machine = &stage.machines[0];
    let table = &stage.tables[0];
    machine.configure(&format!(
        "[[vip]]\ndelegate_ip = \"{IPV6}\"\n[vip.route]\ninterface = \"eth0\"\ntables = [\"{table}\"]\n"
    ));
    let _daemon = machine.start_ready();
    machine.hook("up", IPV6);
    machine.wait(IPV6);
    assert!(machine.has(IPV6));
    assert_eq!(stage.route(table, IPV6).as_ref(), Some(&machine.eni));
    stage.writes_nothing_for(A_PASS);
}

#[test]
fn an_ipv6_address_of_the_subnet_moves_from_eni_to_eni() {
    let Some(stage) = Stage::new(2, 0) else { return };
    let range = stage.endpoint.service().account().subnet(&stage.subnet).unwrap().ipv6_cidr.unwrap();
    let address = Ipv6Addr::from(u128::from(range.network()) + 0x50);
    let vip = address.to_string();
    let holders = || -> Vec<_> {
        let service = stage.endpoint.service();
        let enis = service.account().enis().filter(|eni| eni.ipv6_addresses.contains(&address));
        enis.map(|eni| eni.id.clone()).collect()
    };
    let _daemons: Vec<_> = stage
        .machines
        .iter()
        .map(|machine| {
            machine.configure(&format!("[[vip]]\ndelegate_ip = \"{vip}\"\n[vip.secondary_ip]\ninterface = \"eth0\"\n"));
            machine.start_ready()
        })
        .collect();
    let mark = stage.mark();
    for machine in &stage.machines {
        machine.hook("up", &vip);
        machine.wait(&vip);
        assert_eq!(holders(), std::slice::from_ref(&machine.eni));
        eventually("it is on this machine alone", || {
            stage.machines.iter().all(|other| other.has(&vip) == (other.name == machine.name))
        });
    }
    stage.writes_nothing_for(A_PASS);
    // The first one took it from nobody: all its reads are those of its passes, each of which asks for the tags once. The
    // mark may lie between the two.
    let mut calls = stage.calls(mark);
    calls.retain(|call| call.caller.name == stage.machines[0].name);
    let reads = |operation: &str| calls.iter().filter(|call| call.operation == operation).count();
    assert!(reads("DescribeNetworkInterfaces") <= reads("DescribeTags") + 1, "{calls:?}");
}

#[test]
fn a_secondary_address_moves_between_two_daemons() {
    let Some(stage) = Stage::new(2, 0) else { return };
    let _daemons: Vec<_> = stage
        .machines
        .iter()
        .map(|machine| {
            machine.configure(&format!(
                "[[vip]]\ndelegate_ip = \"{SECONDARY}\"\n[vip.secondary_ip]\ninterface = \"eth0\"\n"
            ));
            machine.start_ready()
        })
        .collect();
    // There and back again; the second time with a `down` first.
    let [one, other] = &stage.machines[..] else { unreachable!("two were made") };
    for (leader, before) in [(one, None), (other, None), (one, Some(other))] {
        if let Some(before) = before {
            before.hook("down", SECONDARY);
        }
        leader.hook("up", SECONDARY);
        leader.wait(SECONDARY);
        assert_eq!(stage.holder(SECONDARY).as_ref(), Some(&leader.eni));
        eventually("it is on this machine alone", || {
            stage.machines.iter().all(|machine| machine.has(SECONDARY) == (machine.name == leader.name))
        });
        stage.writes_nothing_for(A_PASS);
    }
}

#[test]
fn tables_are_chosen_by_their_tags() {
    let Some(stage) = Stage::new(1, 3) else { return };
    let machine = &stage.machines[0];
    let tag = |tables: &[String]| {
        let tags = vec![TagSpec { key: "pgpool".to_owned(), value: Some("clients".to_owned()) }];
        stage.by_hand(&Operation::CreateTags(TagChange { resources: tables.to_vec(), tags, dry_run: false }));
    };
    tag(&stage.tables[..2]);
    machine.configure(&format!(
        "[[vip]]\ndelegate_ip = \"{ROUTED}\"\nanchor = \"{}\"\n[vip.route]\ninterface = \"eth0\"\n\
         table_tags = {{ pgpool = \"clients\" }}\n",
        stage.tables[0]
    ));
    let daemon = machine.start_ready();
    machine.hook("up", ROUTED);
    machine.wait(ROUTED);
    let routes = || stage.tables.iter().map(|table| stage.route(table, ROUTED).is_some()).collect::<Vec<_>>();
    eventually("the tables with the tag lead here", || routes() == [true, true, false]);
    tag(&stage.tables[2..]);
    daemon.signal(rustix::process::Signal::HUP);
    eventually("so does one that got the tag later", || routes() == [true, true, true]);
}

#[test]
fn two_vips_may_lead_to_two_machines() {
    let Some(stage) = Stage::new(2, 1) else { return };
    let second = format!(
        "[[vip]]\ndelegate_ip = \"{OTHER_PUBLIC}\"\n[vip.elastic_ip]\ninterface = \"eth0\"\n\
         [[vip]]\ndelegate_ip = \"{ROUTED}\"\n[vip.route]\ninterface = \"eth0\"\ntables = [\"{}\"]\n",
        stage.tables[0]
    );
    let _daemons: Vec<_> = stage
        .machines
        .iter()
        .map(|machine| {
            machine.configure(&second);
            machine.start_ready()
        })
        .collect();
    let [one, other] = &stage.machines[..] else { unreachable!("two were made") };
    one.hook("up", ROUTED);
    other.hook("up", OTHER_PUBLIC);
    one.wait(ROUTED);
    other.wait(OTHER_PUBLIC);
    assert_eq!(stage.route(&stage.tables[0], ROUTED).as_ref(), Some(&one.eni));
    assert_eq!(stage.elastic_ip(&stage.other_allocation).as_ref(), Some(&other.eni));
    stage.writes_nothing_for(A_PASS);
    other.hook("down", OTHER_PUBLIC);
    eventually("one of them was released", || stage.elastic_ip(&stage.other_allocation).is_none());
    assert_eq!(stage.route(&stage.tables[0], ROUTED).as_ref(), Some(&one.eni), "the other one stays");
    assert_eq!(stage.elastic_ip(&stage.allocation), None, "{PUBLIC} is none of ours");
}
