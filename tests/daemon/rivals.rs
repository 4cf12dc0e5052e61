//! Rivals: bindings that are taken again and again, claims of other leaders, and own changes that undo one another.

use vipkeeper::pgpool::watchdog::Word;
use vipkeeper::status::ConditionName;

use crate::world::*;

#[test]
fn what_is_removed_again_and_again_is_contested_and_put_back_less_and_less_often() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.start_with_leader_of(EIP, seconds(30)).await;
        let mark = world.mark();
        for _ in 0..27 {
            if world.estate.elastic_ip(EIP).is_some() {
                free_elastic_ip_by_hand(&world.estate);
            }
            pass(seconds(4)).await;
        }
        let associates = world.writes(mark).into_iter().filter(|(_, name)| *name == "AssociateAddress").count();
        assert!((3..=6).contains(&associates), "in 108 s: {associates}");
        assert!(world.nodes[0].recorder.condition(EIP, ConditionName::Contested).holds);
        pass(seconds(31)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "it does not give up");
    });
}

/// Both lead because they do not see each other. Then Pgpool lets the older one go on without an `up`.
async fn newer_of_two_leaders_stands_down(mut world: World, address: &str, escalated: bool) -> World {
    if escalated {
        let word = Word { escalated: true, delegate_ips: [ip(address)].into(), quorum: None };
        world.nodes[0].word.replace(Some(word));
    }
    world.start_with_leader_of(address, seconds(30)).await;
    world.up(1, address);
    pass(seconds(25)).await;
    world.down(1, address);
    pass(if escalated { seconds(2) } else { seconds(5) }).await;
    world
}

#[test]
fn an_older_leader_that_goes_on_without_an_up_serves_soon_after_the_newer_ones_down() {
    for escalated in [true, false] {
        in_paused_time(async {
            let world = newer_of_two_leaders_stands_down(World::new(2, elastic_ip), EIP, escalated).await;
            assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "watchdog asked: {escalated}");
        });
        in_paused_time(async {
            let world = newer_of_two_leaders_stands_down(World::new(2, routes(2)), ADDRESS, escalated).await;
            for table in tables(&world) {
                assert_eq!(world.estate.route(&table, ADDRESS), world.eni(0), "watchdog asked: {escalated}");
            }
        });
    }
}

/// Of a predecessor's clock that was ahead, its tag is left. This node's persisted state is lost in each phase of its claim.
#[test]
fn a_restart_without_what_was_persisted_moves_nothing() {
    for phase in [millis(300), seconds(3), seconds(30), seconds(300)] {
        in_paused_time(async move {
            let mut world = World::new(2, elastic_ip);
            world.nodes[1].computer.set_skew_ms(4_000);
            world.start();
            pass(seconds(1)).await;
            world.up(1, EIP);
            pass(seconds(2)).await;
            world.nodes[1].kill().await;
            world.up(0, EIP);
            pass(phase).await;
            let before = world.estate.elastic_ip(EIP);
            assert_eq!(before, world.eni(0));
            world.nodes[0].kill().await;
            world.nodes[0].computer.forget_everything_persisted();
            let mark = world.mark();
            world.nodes[0].start();
            pass(seconds(60)).await;
            let moved = world.writes(mark).into_iter().filter(|(_, name)| *name != "CreateTags").count();
            assert_eq!((world.estate.elastic_ip(EIP), moved), (before, 0), "lost {phase:?} after the hook");
        });
    }
}

#[test]
fn a_tag_that_can_be_no_claim_is_named_and_means_nothing_once_it_is_gone() {
    in_paused_time(async {
        let mut world = World::new(2, elastic_ip);
        let key = format!("vipkeeper/{EIP}/{}", world.estate.nodes[1].instance);
        let anchor = world.estate.account().elastic_ips().next().unwrap().allocation_id.clone();
        let tag = TagSpec { key: key.clone(), value: Some(u64::MAX.to_string()) };
        let change = TagChange { resources: vec![anchor], tags: vec![tag], dry_run: false };
        world.estate.by_hand(&Operation::CreateTags(change.clone()));
        world.start_with_leader_of(EIP, seconds(30)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
        let recorded = world.nodes[0].recorder.condition(EIP, ConditionName::ClaimRecorded);
        let names_it = recorded.message.contains(&format!("{key} = {}", u64::MAX));
        assert!(!recorded.holds && names_it, "{recorded:?}");

        world.estate.by_hand(&Operation::DeleteTags(change));
        pass(seconds(30)).await;
        assert!(world.nodes[0].recorder.condition(EIP, ConditionName::ClaimRecorded).holds);
        // The next leader's term is a time again, and after its loss the first one leads.
        world.up(1, EIP);
        pass(seconds(30)).await;
        world.down(1, EIP);
        world.up(0, EIP);
        pass(seconds(30)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
    });
}

/// Two Elastic IPs that follow one leader, the second one at this private address.
fn two_elastic_ips(estate: &Estate, private_ip: std::net::Ipv4Addr) -> Config {
    for public in [EIP, OTHER_EIP] {
        estate.allocate(public);
    }
    let mut second = by_elastic_ip(OTHER_EIP);
    second.elastic_ip.as_mut().unwrap().private_ip = Some(private_ip);
    config(vec![vip(vec![by_elastic_ip(EIP), second])])
}

const OTHER_EIP: &str = "203.0.113.11";

fn associates(world: &World, mark: Mark) -> usize {
    world.writes(mark).into_iter().filter(|(_, name)| *name == "AssociateAddress").count()
}

#[test]
fn two_elastic_ips_at_one_private_address_are_told_and_never_take_turns() {
    in_paused_time(async {
        // The first one is at the primary address because it names none; the second one names that very address.
        let mut world = World::new(1, |estate| two_elastic_ips(estate, estate.nodes[0].primary_ip));
        world.start_with_leader_of(EIP, seconds(120)).await;
        assert_eq!(associates(&world, Mark::at(0)), 1);
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0), "the first one of the config has the place");
        let recorder = &world.nodes[0].recorder;
        assert!(!recorder.vip(EIP).in_sync);
        let told = recorder.binding(EIP, &format!("elastic_ip {OTHER_EIP}"));
        assert_eq!((told.state.as_str(), told.blocked_by.unwrap().as_str()), ("blocked", "conflict"));
        for named in [EIP, "private_ip", &world.estate.nodes[0].primary_ip.to_string()] {
            assert!(told.detail.contains(named), "{}", told.detail);
        }
    });
}

#[test]
fn a_private_address_that_another_elastic_ip_took_is_left_to_it_and_the_refusal_is_told() {
    in_paused_time(async {
        let mut world = World::new(1, elastic_ip);
        world.start_with_leader_of(EIP, seconds(30)).await;
        let stranger = world.estate.allocate(OTHER_EIP);
        world.estate.by_hand(&Operation::AssociateAddress(AssociateAddress {
            allocation_id: Some(stranger),
            network_interface_id: world.eni(0),
            ..Default::default()
        }));
        assert_eq!(world.estate.elastic_ip(EIP), None, "a private address carries one");
        pass(seconds(60)).await;
        assert_eq!(world.estate.elastic_ip(OTHER_EIP), world.eni(0), "it is not taken away from whoever put it there");
        let told = world.nodes[0].recorder.binding(EIP, &format!("elastic_ip {EIP}"));
        let error = told.last_error.expect("EC2 refuses").message;
        assert!(error.contains("Resource.AlreadyAssociated") && error.contains(OTHER_EIP), "{error}");

        let association = {
            let account = world.estate.account();
            let other = account.elastic_ips().find(|it| it.public_ip.to_string() == OTHER_EIP).unwrap();
            other.association.clone().unwrap().id
        };
        world.estate.by_hand(&Operation::DisassociateAddress(DisassociateAddress {
            association_id: Some(association),
            ..Default::default()
        }));
        pass(seconds(60)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
    });
}

#[test]
fn own_changes_that_undo_one_another_are_stopped_and_told_whatever_the_cause() {
    in_paused_time(async {
        let private_ip = SECONDARY.parse().unwrap();
        let mut world = World::new(1, |estate| two_elastic_ips(estate, private_ip));
        world.estate.by_hand(&Operation::AssignPrivateIpAddresses(AssignPrivateIpAddresses {
            network_interface_id: world.estate.nodes[0].eni.clone(),
            private_ip_addresses: vec![SECONDARY.to_owned()],
            ..Default::default()
        }));
        world.start_with_leader_of(EIP, seconds(2)).await;
        // Something lets only the Elastic IP stay that was associated last.
        let mut newest: Option<String> = None;
        let mut mark = world.mark();
        let mut minutes = Vec::new();
        for _ in 0..8 {
            for _ in 0..120 {
                let associations: Vec<_> = {
                    let account = world.estate.account();
                    account.elastic_ips().filter_map(|it| it.association.as_ref().map(|at| at.id.clone())).collect()
                };
                let older = newest.clone().filter(|id| associations.contains(id));
                newest = associations.iter().find(|id| Some(*id) != newest.as_ref()).cloned().or(newest);
                if let (Some(id), true) = (older, associations.len() == 2) {
                    world.estate.by_hand(&Operation::DisassociateAddress(DisassociateAddress {
                        association_id: Some(id),
                        ..Default::default()
                    }));
                }
                pass(millis(500)).await;
            }
            minutes.push(associates(&world, mark));
            mark = world.mark();
        }
        assert_eq!(&minutes[4..], [0, 0, 0, 0], "{minutes:?}");
        let blocked: Vec<_> = [EIP, OTHER_EIP]
            .map(|public| world.nodes[0].recorder.binding(EIP, &format!("elastic_ip {public}")))
            .into_iter()
            .filter(|binding| binding.state.as_str() == "blocked")
            .collect();
        let [one] = &blocked[..] else { panic!("one of the two is here, and the other is blocked: {blocked:?}") };
        let other = if one.target == EIP { OTHER_EIP } else { EIP };
        assert!(one.detail.contains(&format!("elastic_ip {other}")), "{}", one.detail);

        // A new leadership is a fresh start: nothing disturbs it any more.
        world.down(0, EIP);
        pass(seconds(10)).await;
        world.up(0, EIP);
        pass(seconds(30)).await;
        assert!(world.nodes[0].recorder.vip(EIP).in_sync);
    });
}
