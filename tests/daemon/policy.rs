//! The policy that `vipkeeper policy` prints, on an EC2 that judges every call by it: it is enough, and nothing of it can
//! go.

use std::collections::BTreeSet;

use ec2_endpoint::Policy;
use vipkeeper::cli::{NodeTag, PolicyFormat};
use vipkeeper::commands::policy::{Location, policy};

use crate::world::*;

const SECONDARY_V6: &str = "2600:1f18:1::50";
const MOVE_TAG: &str = "pgpool=pg1";
/// A leader deletes the tags of older claims after an hour.
const AN_HOUR: Duration = Duration::from_secs(3700);

/// Every kind of binding, and two anchors: an Elastic IP and the subnet.
fn everything(estate: &Estate) -> Config {
    let tables = estate.add_tables(2);
    estate.allocate(EIP);
    let routed = by_route_that(ADDRESS, &tables, OnRelease::Delete);
    config(vec![
        vip(vec![routed, by_elastic_ip(EIP)]),
        vip(vec![by_secondary_ip(SECONDARY)]),
        vip(vec![by_secondary_ip(SECONDARY_V6)]),
    ])
}

fn tag() -> NodeTag {
    MOVE_TAG.parse().unwrap()
}

/// The printed policy with the open values put in, as its reader would.
fn printed(world: &World) -> Policy {
    let account = world.estate.account();
    let place = Location { region: Some(account.region().to_owned()), account: Some(account.id().to_owned()) };
    let config = world.nodes[0].config.borrow().clone().unwrap();
    let made = policy(&config, None, &tag()).unwrap();
    let allocation = &account.elastic_ips().next().unwrap().allocation_id;
    let text = made.written(PolicyFormat::Json, &place);
    let open: BTreeSet<_> = made.open(PolicyFormat::Json, &place).into_iter().map(|(name, _)| name).collect();
    let values = [(format!("ALLOCATION-ID-OF-{EIP}"), allocation), ("SUBNET-ID".to_owned(), &world.estate.subnet)];
    let text = values
        .iter()
        .filter(|(name, _)| open.contains(name))
        .fold(text, |text, (name, value)| text.replace(name, value));
    text.parse().unwrap()
}

/// A cluster's life under a changed policy: both nodes lead in turn, one gives the VIPs up with no successor, and the
/// last leader leads for this long. Returns the calls, as operation and code, and everything that the nodes said.
async fn live(change: impl FnOnce(&Policy) -> Policy, last: Duration) -> (BTreeSet<(&'static str, String)>, String) {
    let mut world = World::new(2, everything);
    let judged = change(&printed(&world));
    let resources = world.estate.nodes.iter().flat_map(|place| [place.eni.clone(), place.instance.clone()]).collect();
    let tags = vec![TagSpec { key: tag().key, value: Some(tag().value) }];
    world.estate.by_hand(&Operation::CreateTags(TagChange { resources, tags, dry_run: false }));
    for node in ["a", "b"] {
        world.estate.service().set_policy(node, Some(judged.clone()));
    }
    world.start();
    pass(seconds(1)).await;
    let each = |world: &World, turn: fn(&World, usize, &str), node| {
        for address in [ADDRESS, SECONDARY, SECONDARY_V6] {
            turn(world, node, address);
        }
    };
    each(&world, World::up, 0);
    pass(seconds(20)).await;
    // The newer leader takes what the older one still holds.
    each(&world, World::up, 1);
    pass(seconds(20)).await;
    each(&world, World::down, 0);
    pass(seconds(20)).await;
    each(&world, World::down, 1);
    pass(seconds(60)).await;
    each(&world, World::up, 0);
    pass(last).await;
    let heard = world.timeline.text();
    let calls = world.calls(Mark::at(0)).into_iter().map(|(_, operation, code)| (operation, code)).collect();
    (calls, heard)
}

fn with_code(calls: &BTreeSet<(&'static str, String)>, code: &str) -> BTreeSet<String> {
    calls.iter().filter(|(_, other)| other == code).map(|(operation, _)| format!("ec2:{operation}")).collect()
}

#[test]
fn under_exactly_the_printed_policy_nothing_is_denied_and_everything_is_used() {
    in_paused_time(async {
        let mut allowed = BTreeSet::new();
        let (calls, _) = live(
            |policy| {
                allowed = policy.sids().flat_map(|sid| policy.actions_of(sid)).cloned().collect();
                policy.clone()
            },
            AN_HOUR,
        )
        .await;
        assert_eq!(with_code(&calls, "UnauthorizedOperation"), BTreeSet::new());
        assert_eq!(with_code(&calls, "OK"), allowed);
    });
}

#[test]
fn each_action_that_is_taken_out_of_a_statement_is_missed_by_its_name() {
    let whole = {
        let world = in_paused_time(async { World::new(2, everything) });
        printed(&world)
    };
    let mut taken_out = 0;
    for sid in whole.sids() {
        for action in whole.actions_of(sid) {
            let last = if action == "ec2:DeleteTags" { AN_HOUR } else { seconds(20) };
            let (calls, said) = in_paused_time(live(|policy| policy.without_action(sid, action), last));
            let denied = with_code(&calls, "UnauthorizedOperation");
            assert_eq!(denied, BTreeSet::from([action.clone()]), "{sid} without {action}");
            assert!(said.contains(&format!("is not authorized to perform: {action} on resource")), "{sid}: {action}");
            taken_out += 1;
        }
    }
    assert!(taken_out > 15, "{taken_out}");
}

#[test]
fn nodes_that_do_not_carry_the_tag_may_move_nothing() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        let judged = printed(&world);
        world.estate.service().set_policy("a", Some(judged));
        world.start_with_leader_of(EIP, seconds(30)).await;
        assert_eq!(world.estate.elastic_ip(EIP), None);
        let error = world.nodes[0].recorder.binding(EIP, &format!("elastic_ip {EIP}")).last_error.unwrap();
        assert!(
            error.message.contains("ec2:AssociateAddress on resource: arn:aws:ec2:us-east-1:"),
            "{}",
            error.message
        );
    });
}

/// The first node, under this policy, leads, and then the second, whose configuration names a table as its anchor. Each
/// node's copies of its claim are on the other one's anchor.
async fn roll(change: impl FnOnce(&World) -> Policy) -> World {
    let mut world = World::new(2, everything);
    let judged = change(&world);
    let resources = world.estate.nodes.iter().flat_map(|place| [place.eni.clone(), place.instance.clone()]).collect();
    let tags = vec![TagSpec { key: tag().key, value: Some(tag().value) }];
    world.estate.by_hand(&Operation::CreateTags(TagChange { resources, tags, dry_run: false }));
    let whole = printed(&world);
    for (node, policy) in [("a", judged), ("b", whole)] {
        world.estate.service().set_policy(node, Some(policy));
    }
    let anchor = AnchorConfig::RouteTable(tables(&world)[1].parse().unwrap());
    world.nodes[1].config.borrow_mut().as_mut().unwrap().vips[0].anchor = Some(anchor);
    world.start();
    pass(seconds(1)).await;
    for turn in 0..2 {
        world.up(0, ADDRESS);
        pass(seconds(20)).await;
        world.up(1, ADDRESS);
        pass(seconds(20)).await;
        world.down(turn, ADDRESS);
        pass(seconds(20)).await;
    }
    world.up(0, ADDRESS);
    pass(seconds(60)).await;
    world
}

fn denials(world: &World) -> BTreeSet<String> {
    let calls = world.calls(Mark::at(0)).into_iter().map(|(_, operation, code)| (operation, code)).collect();
    with_code(&calls, "UnauthorizedOperation")
}

#[test]
fn the_printed_policy_allows_claims_wherever_a_node_with_another_configuration_has_its_own() {
    in_paused_time(async {
        let world = roll(printed).await;
        assert_eq!(denials(&world), BTreeSet::new());
        assert!(world.nodes[0].recorder.condition(ADDRESS, "ClaimRecorded").holds);
    });
}

#[test]
fn a_copy_of_a_claim_that_is_denied_is_told_as_itself() {
    in_paused_time(async {
        // A policy as it was written when claims were on the anchor alone.
        let mut narrowed = |world: &World| {
            let allocation = world.estate.account().elastic_ips().next().unwrap().allocation_id.clone();
            printed(world).with_resource_of("RecordClaims", &allocation)
        };
        let world = roll(&mut narrowed).await;
        let recorder = &world.nodes[0].recorder;
        assert_eq!(denials(&world), BTreeSet::from(["ec2:CreateTags".to_owned()]));
        let recorded = recorder.condition(ADDRESS, "ClaimRecorded");
        assert!(recorded.holds, "the anchor has it: {recorded:?}");
        let claim = recorder.vip(ADDRESS).claim.unwrap();
        assert!(claim.record_error.is_none(), "{claim:?}");
        let copied = recorder.condition(ADDRESS, "ClaimCopied");
        assert!(!copied.holds && copied.message.starts_with(&tables(&world)[1]), "{copied:?}");
        assert!(copied.message.contains("is not authorized to perform: ec2:CreateTags"), "{copied:?}");
    });
}

#[test]
fn a_denied_withdrawal_keeps_its_backoff_while_the_tags_cannot_be_read() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.start_with_leader_of(EIP, seconds(20)).await;
        world.estate.fault(Fault::new(FaultKind::Deny).at("CreateTags"));
        let mark = world.mark();
        world.down(0, EIP);
        pass(millis(500)).await;
        let unread = world.estate.fault(Fault::new(FaultKind::Deny).at("DescribeAddresses"));
        pass(seconds(3)).await;
        world.estate.mend(unread);
        pass(seconds(11)).await;
        let calls: Vec<_> = world.calls(mark).into_iter().map(|(_, operation, code)| (operation, code)).collect();
        let failed = ("DescribeAddresses", "UnauthorizedOperation".to_owned());
        assert!(calls.contains(&failed) && calls.last().is_some_and(|(_, code)| code == "OK"), "{calls:?}");
        let tries = calls.iter().filter(|(operation, _)| *operation == "CreateTags").count();
        assert_eq!(tries, 1, "the next try is due after 15 s: {calls:?}");
    });
}

#[test]
fn the_copies_of_a_claim_go_out_after_its_takes() {
    in_paused_time(async {
        let world = roll(printed).await;
        world.down(0, ADDRESS);
        pass(seconds(20)).await;
        let mark = world.mark();
        world.up(0, ADDRESS);
        pass(seconds(1)).await;
        let calls: Vec<_> = world.writes(mark).into_iter().map(|(_, operation)| operation).collect();
        let last_tag = calls.iter().rposition(|operation| *operation == "CreateTags");
        let last_take =
            calls.iter().rposition(|operation| operation.contains("Address") || operation.contains("Route"));
        assert!(calls.iter().filter(|operation| **operation == "CreateTags").count() > 1, "{calls:?}");
        assert!(last_tag > last_take, "{calls:?}");
    });
}
