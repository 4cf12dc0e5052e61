use ec2_endpoint::{Answer, Describe, Operation, TagChange, TagSpec};

use crate::world::{World, world};

fn change(resources: &[&str], tags: &[(&str, Option<&str>)]) -> TagChange {
    TagChange {
        resources: resources.iter().map(ToString::to_string).collect(),
        tags: tags.iter().map(|(key, value)| TagSpec { key: (*key).into(), value: value.map(Into::into) }).collect(),
        dry_run: false,
    }
}

fn create(resources: &[&str], tags: &[(&str, Option<&str>)]) -> Operation {
    Operation::CreateTags(change(resources, tags))
}

fn delete(resources: &[&str], tags: &[(&str, Option<&str>)]) -> Operation {
    Operation::DeleteTags(change(resources, tags))
}

/// The tags as `key=value`.
fn tags(world: &mut World, resource: &str) -> Vec<String> {
    let call = Describe::default().filter("resource-id", &[resource]);
    match world.apply(Operation::DescribeTags(call)) {
        Ok(Answer::Tags(page)) => page.items.iter().map(|tag| format!("{}={}", tag.key, tag.value)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tags_are_added_and_overwritten_on_every_resource_named() {
    let mut world = world();
    let resources =
        [world.eip.clone(), world.table.clone(), world.eni(&world.a), world.subnet.clone(), world.vpc.clone()];
    let all: Vec<&str> = resources.iter().map(String::as_str).collect();
    assert_eq!(world.code(create(&all, &[("k", Some("1")), ("empty", None)])), "OK");
    assert_eq!(world.code(create(&all[..1], &[("k", Some("2"))])), "OK");
    assert_eq!(tags(&mut world, all[0]), ["empty=", "k=2"]);
    for resource in &all[1..] {
        assert_eq!(tags(&mut world, resource), ["empty=", "k=1"], "{resource}");
    }
    let eip = world.eip.clone();
    assert_eq!(world.address(&eip).address.tags["k"], "2", "the address itself shows them too");
}

#[test]
fn a_tag_with_a_value_is_deleted_only_if_it_has_that_value() {
    let mut world = world();
    let id = world.eip.clone();
    let all = [("a", Some("1")), ("b", Some("2")), ("c", Some("")), ("d", Some("4"))];
    world.apply(create(&[&id], &all)).unwrap();
    for (tag, left) in [
        (("a", Some("other")), &["a=1", "b=2", "c=", "d=4"][..]),
        (("a", Some("1")), &["b=2", "c=", "d=4"]),
        (("a", Some("1")), &["b=2", "c=", "d=4"]),
        (("b", None), &["c=", "d=4"]),
        (("d", Some("")), &["c=", "d=4"]),
        (("c", Some("")), &["d=4"]),
    ] {
        assert_eq!(world.code(delete(&[&id], &[tag])), "OK");
        assert_eq!(tags(&mut world, &id), left, "{tag:?}");
    }
    assert_eq!(world.code(delete(&[&id], &[])), "OK");
    assert!(tags(&mut world, &id).is_empty());
}

#[test]
fn what_is_no_tag_is_refused() {
    let world = world();
    let id = world.eip.as_str();
    let (long_key, long_value) = ("é".repeat(129), "é".repeat(257));
    let longest_key = "é".repeat(128);
    for (expected, operation) in [
        ("InvalidTagKey.Malformed", create(&[id], &[("aws:x", Some("1"))])),
        ("InvalidTagKey.Malformed", create(&[id], &[("", Some("1"))])),
        ("InvalidParameterValue", create(&[id], &[(&long_key, Some("1"))])),
        ("InvalidParameterValue", create(&[id], &[("k", Some(&long_value))])),
        ("OK", create(&[id], &[(&longest_key, Some(&long_value[..512]))])),
        ("InvalidParameterValue", create(&[id], &[("k", Some("1")), ("k", Some("2"))])),
        ("MissingParameter", create(&[id], &[])),
        ("MissingParameter", create(&[], &[("k", Some("1"))])),
        ("InvalidParameterValue", create(&vec![id; 1001], &[("k", Some("1"))])),
        ("InvalidID", create(&["junk"], &[("k", Some("1"))])),
        ("InvalidNetworkInterfaceID.NotFound", create(&["eni-0123456789abcdef0"], &[("k", Some("1"))])),
        ("InvalidElasticIpID.NotFound", create(&[id, "eipalloc-0123456789abcdef0"], &[("k", Some("1"))])),
        ("InvalidRouteTableID.NotFound", delete(&["rtb-0123456789abcdef0"], &[("k", None)])),
        ("InvalidTagKey.Malformed", delete(&[id], &[("aws:x", None)])),
        ("DryRunOperation", Operation::CreateTags(TagChange { dry_run: true, ..change(&[id], &[("k", Some("1"))]) })),
    ] {
        assert_eq!(world.clone().code(operation.clone()), expected, "{operation:?}");
    }
}

#[test]
fn a_resource_has_room_for_fifty() {
    let mut world = world();
    let id = world.eip.clone();
    let keys: Vec<String> = (0..50).map(|number| format!("k{number}")).collect();
    let fifty: Vec<(&str, Option<&str>)> = keys.iter().map(|key| (key.as_str(), None)).collect();
    assert_eq!(world.code(create(&[&id], &fifty)), "OK");
    assert_eq!(world.code(create(&[&id], &[("k51", None)])), "TagLimitExceeded");
    assert_eq!(world.code(create(&[&id], &[("k0", Some("again"))])), "OK");
}

#[test]
fn described_tags_say_what_they_are_on() {
    let mut world = world();
    let resources = [world.eip.clone(), world.table.clone(), world.eni(&world.a)];
    let all: Vec<&str> = resources.iter().map(String::as_str).collect();
    world.apply(create(&all, &[("owner", Some("pg"))])).unwrap();
    let mut found = |call: Describe| match world.apply(Operation::DescribeTags(call)) {
        Ok(Answer::Tags(page)) => page.items.iter().map(|tag| tag.resource_type).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let owner = || Describe::default().filter("key", &["owner"]);
    assert_eq!(found(owner()), ["elastic-ip", "network-interface", "route-table"]);
    assert_eq!(found(owner().filter("resource-type", &["route-table"])), ["route-table"]);
    assert_eq!(found(Describe::default().filter("tag:owner", &["p?"])).len(), 3);
    assert_eq!(found(Describe::default().filter("value", &["pg"])).len(), 3);
    assert!(found(owner().filter("value", &["other"])).is_empty());
}
