//! The loop's words, as `vipkeeper status` shows them, about a node that nobody asked anything of, about a claim that
//! cannot be recorded, and about a permission that is missing.

use std::collections::VecDeque;
use std::rc::Rc;

use ec2_endpoint::ModifyNetworkInterfaceAttribute;
use vipkeeper::pgpool::watchdog::Word;
use vipkeeper::report::Report;
use vipkeeper::status::document::StatusDocument;
use vipkeeper::status::event::list::EventList;
use vipkeeper::status::page::{DaemonLife, Overall, Style, page};
use vipkeeper::status::{ConditionName, Status};

use crate::golden;
use crate::world::*;

const PIPE: Style = Style { width: None, colour: false };

fn both(estate: &Estate) -> Config {
    estate.allocate(EIP);
    let tables = estate.add_tables(1);
    config(vec![vip(vec![by_route(ADDRESS, &tables), by_elastic_ip(EIP)])])
}

fn verdict(status: &Status) -> Overall {
    Overall::of(status, DaemonLife::Alive, status.written_ms)
}

fn shown(status: &Status) -> String {
    page(status, DaemonLife::Alive, status.written_ms, PIPE)
}

#[test]
fn a_node_that_has_not_led_since_boot_wants_nobodys_attention() {
    in_paused_time(async {
        let mut world = World::new(2, both);
        // As its last leadership left it: this outlives a reboot.
        world.estate.by_hand(&Operation::ModifyNetworkInterfaceAttribute(ModifyNetworkInterfaceAttribute {
            network_interface_id: world.eni(1).unwrap(),
            source_dest_check: Some(false),
            ..Default::default()
        }));
        world.start_with_leader_of(ADDRESS, seconds(60)).await;
        let told = world.nodes[1].recorder.last();
        let page = shown(&told);
        assert!(verdict(&told) == Overall::InSync && page.contains("unknown  NO HOOK YET"), "{page}");
        assert!(!page.contains("do    "), "{page}");
        // The word of Pgpool's watchdog about a standby changes nothing.
        let word = |escalated| Some(Word { escalated, delegate_ips: [ip(ADDRESS)].into(), quorum: None });
        world.nodes[1].word.replace(word(false));
        pass(seconds(60)).await;
        assert_eq!(verdict(&world.nodes[1].recorder.last()), Overall::InSync);
        // Of a leader whose hook was lost it does, from the first time on.
        world.nodes[1].word.replace(word(true));
        world.nodes[1].wake(Wake::Config);
        let mut words = Vec::new();
        for _ in 0..100 {
            pass(seconds(1)).await;
            let told = world.nodes[1].recorder.last();
            if verdict(&told) == Overall::Attention {
                let page = shown(&told);
                words.extend(["NOT KNOWN", "HOOK LOST"].into_iter().filter(|word| page.contains(word)));
            }
        }
        words.dedup();
        assert_eq!(words, ["NOT KNOWN", "HOOK LOST"]);
    });
}

#[test]
fn what_points_at_a_node_without_a_hook_is_told_and_so_is_a_file_that_does_not_count() {
    in_paused_time(async {
        let mut world = World::new(2, both);
        world.start();
        pass(seconds(1)).await;
        assert_eq!(verdict(&world.nodes[0].recorder.last()), Overall::InSync);
        point_elastic_ip_by_hand(&world.estate, &world.estate.nodes[0].eni);
        pass(seconds(60)).await;
        let told = world.nodes[0].recorder.last();
        let page = shown(&told);
        assert_eq!(verdict(&told), Overall::Attention, "{page}");
        assert!(page.contains("unknown  NOT KNOWN") && page.contains("do    start Pgpool"), "{page}");
        assert_eq!(world.nodes[0].recorder.binding(ADDRESS, &format!("elastic_ip {EIP}")).state.as_str(), "blocked");

        world.nodes[1].computer.spoil_file(ip(ADDRESS));
        pass(seconds(1)).await;
        let told = world.nodes[1].recorder.last();
        assert_eq!(verdict(&told), Overall::Attention, "{}", shown(&told));
        world.nodes[1].computer.mend_file(ip(ADDRESS));
        pass(seconds(1)).await;
        assert_eq!(verdict(&world.nodes[1].recorder.last()), Overall::InSync);
    });
}

#[test]
fn a_leader_whose_claim_finds_no_room_on_the_anchor_is_not_well() {
    in_paused_time(async {
        let mut world = World::new(2, routes(1));
        let anchor = tables(&world);
        let tags = || (0..50).map(|n| TagSpec { key: format!("team-{n}"), value: None }).collect();
        let change = || TagChange { resources: anchor.clone(), tags: tags(), dry_run: false };
        world.estate.by_hand(&Operation::CreateTags(change()));
        world.start_with_leader_of(ADDRESS, seconds(60)).await;
        let told = world.nodes[0].recorder.last();
        let page = shown(&told);
        assert!(told.vips[0].in_sync && verdict(&told) == Overall::Attention, "{page}");
        assert!(page.contains("leader  CLAIM NOT RECORDED") && page.contains("do    the anchor has 50 tags"), "{page}");

        // A binding that another takes is not taken back, and the page says what would help.
        point_route_by_hand(&world.estate, &anchor[0], &world.estate.bystander.eni);
        pass(seconds(60)).await;
        let page = shown(&world.nodes[0].recorder.last());
        assert!(page.contains("leader  BLOCKED") && page.contains("do    let it record its claim"), "{page}");
        assert!(page.contains("the anchor has 50 tags"), "{page}");

        world.estate.by_hand(&Operation::DeleteTags(change()));
        pass(seconds(60)).await;
        let told = world.nodes[0].recorder.last();
        assert_eq!(verdict(&told), Overall::InSync, "{}", shown(&told));
        assert!(world.nodes[0].recorder.condition(ADDRESS, ConditionName::ClaimRecorded).holds);
        assert_eq!(world.estate.route(&anchor[0], ADDRESS), world.eni(0));
    });
}

#[test]
fn a_leader_that_cannot_read_the_claims_is_not_well() {
    in_paused_time(async {
        let mut world = World::new(2, secondary_ip);
        let denied = world.estate.fault(Fault::new(FaultKind::Deny).at("DescribeTags"));
        world.start_with_leader_of(SECONDARY, seconds(60)).await;
        let told = world.nodes[0].recorder.last();
        let page = shown(&told);
        assert!(told.vips[0].in_sync && verdict(&told) == Overall::Attention, "{page}");
        assert!(page.contains("leader  CLAIMS NOT READ"), "{page}");
        assert!(page.contains("do    allow ec2:DescribeTags to this node's role"), "{page}");
        assert!(!world.nodes[0].recorder.condition(SECONDARY, ConditionName::ClaimRecorded).holds);
        // A standby has no claim that could be taken for the newest.
        let standby = world.nodes[1].recorder.last();
        assert!(!shown(&standby).contains("CLAIMS NOT READ"), "{}", shown(&standby));

        // A binding that another takes is not taken back, and the page says what would help.
        world.estate.by_hand(&Operation::AssignPrivateIpAddresses(AssignPrivateIpAddresses {
            network_interface_id: world.estate.bystander.eni.clone(),
            private_ip_addresses: vec![SECONDARY.to_owned()],
            allow_reassignment: true,
            ..Default::default()
        }));
        pass(seconds(60)).await;
        let page = shown(&world.nodes[0].recorder.last());
        assert!(page.contains("leader  BLOCKED") && page.contains("do    let it read the claims"), "{page}");

        world.estate.service().remove_fault(denied);
        pass(seconds(60)).await;
        let told = world.nodes[0].recorder.last();
        assert_eq!(verdict(&told), Overall::InSync, "{}", shown(&told));
        assert!(world.nodes[0].recorder.condition(SECONDARY, ConditionName::ClaimRecorded).holds);
    });
}

/// The page in the README. The loop gives its words; the times are put there.
#[test]
fn the_page_of_a_leader_that_lacks_a_permission() {
    in_paused_time(async {
        let mut world = World::new(1, routes(2));
        let report = Rc::new(Report::new(&[], None, seconds(90)));
        world.nodes[0].report = Some(Rc::clone(&report));
        world.start_with_leader_of(ADDRESS, seconds(60)).await;
        let before = report.events().iter().len();
        world.estate.fault(Fault::new(FaultKind::Deny).at("ReplaceRoute"));
        point_route_by_hand(&world.estate, &tables(&world)[1], &world.estate.bystander.eni);
        pass(seconds(60)).await;
        let mut status = world.nodes[0].recorder.last();
        let ago = |seconds: u64| status.written_ms - 1000 * seconds;
        let (now, mut binding_since) = (status.written_ms, vec![ago(722), ago(42), ago(722), ago(722)].into_iter());
        (status.pid, status.started_ms) = (2046, ago(11_520));
        for binding in &mut status.vips[0].bindings {
            binding.since_ms = binding_since.next().unwrap();
            if let Some(error) = &mut binding.last_error {
                (error.failures, binding.next_try_ms) = (3, Some(now + 14_200));
            }
        }
        for source in &mut status.sources {
            source.last_success_ms = Some(now - 3000);
        }
        status.vips[0].clients.as_mut().unwrap().read_ms = Some(now - 3000);
        let mut events: VecDeque<_> = report.events().iter().cloned().collect();
        for (number, event) in events.iter_mut().enumerate() {
            (event.at_ms, event.boot_ms) = (ago(if number < before { 722 } else { 42 }), None);
            if event.times > 1 {
                (event.times, event.last_ms, event.took_ms) = (3, Some(ago(14)), Some(154));
            }
        }
        let style = Style { width: Some(100), colour: false };
        let document = StatusDocument { status: &status, events: &EventList::from(events) };
        golden::check("page-readme.txt", &page(document, DaemonLife::Alive, now, style));
    });
}
