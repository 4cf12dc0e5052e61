//! The questions that a config asks, and what the answers make known: ids, tables, the anchor, claims.

use std::collections::BTreeMap;

use vipkeeper::binding::{Account, Anchor, ClaimMode};
use vipkeeper::config::{AnchorConfig, Config, Tables, VipConfig};
use vipkeeper::ec2::{Class, Ec2Error, Effect, Eni, EniQuery};
use vipkeeper::machine::kernel::LocalView;
use vipkeeper::observe::cause::FailedRead;
use vipkeeper::observe::seen::{Claims, Seen};
use vipkeeper::observe::{Answer, Known, LastRead, Question, Source, TagChoice, Topic, World};

use super::observe::{
    AT, by_id, config, eip, elastic, eni, known, of_subnets, read, resolve, routed, secondary, table, tables,
};

/// The choice by tag that the config makes.
fn choice(known: &Known, config: &Config) -> TagChoice {
    let choice = known.questions(config).into_iter().find_map(|question| match question {
        Question::TaggedTables(choice) => Some(choice),
        _ => None,
    });
    choice.expect("the VPC is known")
}

/// The query for network interfaces of one round.
fn eni_query(known: &Known, config: &Config) -> Option<EniQuery> {
    known.questions(config).into_iter().find_map(|question| match question {
        Question::Interfaces(query) => Some(query),
        _ => None,
    })
}

fn no_answer() -> Ec2Error {
    Ec2Error {
        operation: "DescribeRouteTables",
        class: Class::Transient,
        effect: Effect::None,
        code: None,
        reason: None,
        message: "no answer".to_owned(),
        request_id: None,
    }
}

fn tagged() -> Tables {
    tagged_in(&Account::Own)
}

fn tagged_in(account: &Account) -> Tables {
    Tables::Tagged { tags: BTreeMap::from([("tier".to_owned(), "app".to_owned())]), account: account.clone() }
}

#[test]
fn ids_found_once_are_kept_when_a_later_read_fails() {
    let config = config(vec![elastic("192.0.2.1")]);
    let mut known = known();
    known.learn(&World { addresses: read(vec![eip("192.0.2.1", None, &[])]), ..World::default() });
    let failed =
        World { addresses: LastRead::Failed(FailedRead::of_class(Class::Transient, "no answer")), ..World::default() };
    let (vip, _) = resolve(&config, &known, &failed);
    assert!(vip.bindings.values().all(Option::is_some), "{vip:?}");
    assert_eq!(vip.anchor, Some(Anchor::ElasticIp("eipalloc-1".parse().unwrap())));
}

#[test]
fn tables_chosen_by_tag_are_bindings_once_they_are_found() {
    let config = config(vec![routed("20.0.0.50", tagged())]);
    let mut known = known();
    let (vip, observed) = resolve(&config, &known, &World::default());
    let route = vip.bindings.iter().next().unwrap();
    assert_eq!((route.0.to_string().as_str(), route.1), ("route (by tag)", &None));
    assert_eq!(vip.anchor, None);
    assert!(observed.sights.values().all(|sight| matches!(sight.seen, Seen::Unknown(_))));

    let choice = choice(&known, &config);
    assert_eq!(choice.vpc.as_str(), "vpc-1");
    let mut world = World::default();
    let found = vec![table("rtb-7", &[], &[]), table("rtb-8", &[], &[])];
    world.put(Answer::TaggedTables(choice.clone(), Ok(found)), AT).unwrap();
    known.learn(&world);
    let (vip, _) = resolve(&config, &known, &World::default());
    let keys: Vec<_> = vip.bindings.keys().map(ToString::to_string).collect();
    assert_eq!(keys, ["route rtb-7", "route rtb-8", "local_address 20.0.0.50", "source_dest_check eth0"]);
    assert_eq!(vip.anchor, None, "other nodes may have found other tables");

    world.put(Answer::TaggedTables(choice.clone(), Err(no_answer())), AT).unwrap_err();
    known.learn(&world);
    let (vip, _) = resolve(&config, &known, &World::default());
    assert!(vip.bindings.values().all(Option::is_some), "those found before stay: {vip:?}");

    world.put(Answer::TaggedTables(choice, Ok(Vec::new())), AT).unwrap();
    known.learn(&world);
    let (vip, observed) = resolve(&config, &known, &World::default());
    assert!(vip.bindings.values().next().unwrap().is_none());
    let why = "no route table in the ENI's VPC carries these tags";
    assert!(format!("{:?}", observed.sights.values().next().unwrap()).contains(why), "{observed:?}");
}

#[test]
fn claims_are_recorded_on_the_elastic_ip_else_the_first_table_else_the_subnet() {
    let eip_id = "eipalloc-1".parse().unwrap();
    let role = Account::Role("arn:aws:iam::123456789012:role/shared".to_owned());
    let shared = tagged_in(&role);
    let world = World { addresses: read(vec![eip("192.0.2.1", None, &[])]), ..World::default() };
    for (addresses, named, wanted) in [
        (vec![routed("20.0.0.50", tables(&["rtb-2", "rtb-1"])), elastic("192.0.2.1")], None, Anchor::ElasticIp(eip_id)),
        (
            vec![routed("20.0.0.50", tables(&["rtb-2", "rtb-1"]))],
            None,
            Anchor::RouteTable(Account::Own, "rtb-2".parse().unwrap()),
        ),
        (vec![secondary("10.0.0.50")], None, Anchor::Subnet("subnet-1".parse().unwrap())),
        (
            vec![elastic("192.0.2.1")],
            Some(AnchorConfig::RouteTable("rtb-9".parse().unwrap())),
            Anchor::RouteTable(Account::Own, "rtb-9".parse().unwrap()),
        ),
        (
            vec![routed("20.0.0.51", shared), routed("20.0.0.50", tables(&["rtb-2"]))],
            None,
            Anchor::RouteTable(Account::Own, "rtb-2".parse().unwrap()),
        ),
        (
            vec![routed("20.0.0.51", tagged_in(&role))],
            Some(AnchorConfig::RouteTable("rtb-9".parse().unwrap())),
            Anchor::RouteTable(role.clone(), "rtb-9".parse().unwrap()),
        ),
    ] {
        let mut config = config(addresses);
        config.vips[0].anchor = named;
        let (vip, _) = resolve(&config, &known(), &world);
        assert_eq!(vip.anchor, Some(wanted));
    }
}

#[test]
fn claims_are_read_from_the_tags_of_the_anchor_and_of_this_vip_alone() {
    let mut config = config(vec![elastic("192.0.2.1")]);
    let tags = [
        ("vipkeeper/192.0.2.1/i-a", "1000 1970-01-01T00:00:01Z"),
        ("vipkeeper/192.0.2.1/i-b", "0 withdrawn"),
        ("vipkeeper/192.0.2.1/i-c", "soon"),
        ("vipkeeper/192.0.2.1/i-d", "700"),
        ("vipkeeper/192.0.2.2/i-b", "3000"),
        ("Name", "vip"),
    ];
    let world = World { addresses: read(vec![eip("192.0.2.1", None, &tags)]), ..World::default() };
    let (_, observed) = resolve(&config, &known(), &world);
    let Claims::Read { terms, edited, at, .. } = observed.claims else { panic!("the anchor was read") };
    let terms: Vec<_> = terms.iter().map(|(node, term)| (node.as_str(), term.0)).collect();
    assert_eq!((terms, at), (vec![("i-a", 1000), ("i-b", 0), ("i-d", 700)], AT));

    let edited: Vec<_> = edited.iter().map(|(node, value)| (node.as_str(), value.as_str())).collect();
    assert_eq!(edited, [("i-d", "700")], "word for word");

    config.claims = ClaimMode::Off;
    assert_eq!(resolve(&config, &known(), &world).1.claims, Claims::Unknown);
}

#[test]
fn one_pass_asks_each_source_once() {
    let mut config = config(vec![elastic("192.0.2.1"), routed("20.0.0.50", tables(&["rtb-1", "rtb-2"]))]);
    let more = [elastic("192.0.2.2"), secondary("10.0.0.50"), routed("20.0.0.51", tables(&["rtb-3"]))];
    config.vips.extend(more.map(|address| VipConfig {
        delegate_ip: address.address,
        addresses: vec![address],
        anchor: None,
    }));
    let questions = known().questions(&config);
    let [
        Question::Addresses(public_ips),
        Question::RouteTables(Account::Own, tables),
        Question::Interfaces(EniQuery::PrivateIps { addresses, .. }),
        Question::Tags(_),
    ] = questions.as_slice()
    else {
        panic!("{questions:?}")
    };
    assert_eq!((public_ips.len(), tables.len()), (2, 3));
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.9", "10.0.0.50", "10.0.1.9"]);
}

#[test]
fn each_account_and_each_subnet_is_a_topic_of_its_own() {
    let role = "arn:aws:iam::123456789012:role/shared";
    let shared = Account::Role(role.to_owned());
    let config = config(vec![
        routed("20.0.0.50", tables(&["rtb-1"])),
        routed("20.0.0.51", tagged_in(&shared)),
        secondary("10.0.0.50"),
    ]);
    let mut known = known();
    let found = vec![table("rtb-7", &[], &[])];
    let mut world = World::default();
    world.put(Answer::TaggedTables(choice(&known, &config), Ok(found)), AT).unwrap();
    known.learn(&world);
    let topics: Vec<_> = known.questions(&config).iter().map(Question::topic).collect();
    let topic = |source, part: Option<&str>| Topic { source, part: part.map(str::to_owned) };
    let wanted = [
        topic(Source::RouteTables, None),
        topic(Source::RouteTables, Some(role)),
        topic(Source::NetworkInterfaces, None),
        topic(Source::RouteTables, Some(role)),
    ];
    assert_eq!(topics, wanted, "the last one asks which tables carry the tags");
    let subnet = Question::Tags("subnet-1".parse().unwrap()).topic();
    assert_eq!(subnet, topic(Source::Tags, Some("subnet-1")));
}

#[test]
fn what_no_question_asks_for_is_forgotten() {
    let config = config(vec![elastic("192.0.2.1"), routed("20.0.0.50", tagged())]);
    let known = known();
    let questions = known.questions(&config);
    let mut world = World::default();
    let answers = [
        Answer::Addresses(Ok(Vec::new())),
        Answer::RouteTables(Account::Own, Ok(Vec::new())),
        Answer::TaggedTables(choice(&known, &config), Ok(Vec::new())),
        Answer::Interfaces(by_id(), Ok(Vec::new())),
        Answer::Tags("subnet-1".parse().unwrap(), Ok(BTreeMap::new())),
    ];
    for answer in answers {
        world.put(answer, AT).unwrap();
    }
    world.put_local(Ok(LocalView::default()), AT).unwrap();
    let kept = |world: &World| {
        let (addresses, interfaces) = (world.addresses != LastRead::NotRead, world.interfaces != LastRead::NotRead);
        (addresses, world.tables.len(), world.chosen.len(), interfaces, world.tags.len())
    };
    world.keep_only(&questions);
    assert_eq!(kept(&world), (true, 0, 1, true, 0), "{questions:?}");
    world.keep_only(&[]);
    assert_eq!(kept(&world), (false, 0, 0, false, 0));
    assert_eq!(world.local, read(LocalView::default()), "no question to EC2 asks for them");
}

#[test]
fn where_a_secondary_ipv6_address_is_configured_all_enis_of_the_subnets_are_asked_for() {
    let config = config(vec![secondary("10.0.0.50"), secondary("fd00::50")]);
    let mut known = known();
    assert_eq!(eni_query(&known, &config), Some(of_subnets()), "those of every own ENI");

    let mut node = known.node().clone();
    let enis = node.interfaces.values_mut().map(|own| {
        (own.subnet, own.primary_ip) = (None, None);
        own.eni.clone()
    });
    let by_id = EniQuery::Ids(enis.collect());
    known.become_node(node);
    assert_eq!(eni_query(&known, &config), Some(by_id.clone()), "until a first look shows the subnets");
    let enis = vec![
        eni("eni-a0", &["10.0.0.9"], None),
        Eni { subnet: "subnet-2".parse().ok(), ..eni("eni-a1", &["10.0.1.9"], None) },
    ];
    known.learn(&World { interfaces: read((by_id, enis)), ..World::default() });
    assert_eq!(eni_query(&known, &config), Some(of_subnets()));
}
