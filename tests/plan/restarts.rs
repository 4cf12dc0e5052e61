//! A memory beyond one look: what a restart finds of it, and how old each read of it is.

use std::collections::BTreeMap;
use std::time::Duration;

use vipkeeper::binding::{Account, Binding, BindingKey, Kind, OnRelease, Vip};
use vipkeeper::decide::Decider;
use vipkeeper::decide::hold::Hold;
use vipkeeper::decide::keep::{Keeping, WatchdogsPart};
use vipkeeper::decide::memory::{Memory, Persisted};
use vipkeeper::desired::hold::Extent;
use vipkeeper::desired::{Claim, Desired, WhyStandby};
use vipkeeper::ids::{ClaimId, Term};
use vipkeeper::observe::seen::{Claims, Copies, Now, Observed, Seen, Sight};

use crate::script::{check, node, table_anchor, unseen, vip};

const S: fn(u64) -> Duration = Duration::from_secs;

/// A VIP with a route in each of two tables. The first table is the anchor.
fn two_tables() -> Vip {
    let mut vip = vip("route");
    let table: vipkeeper::ids::RouteTableId = "rtb-2".parse().unwrap();
    let (destination, eni) = ("20.0.0.50/32".parse().unwrap(), "eni-a".parse().unwrap());
    let route = Binding::Route { account: Account::Own, table, destination, eni, on_release: OnRelease::Keep };
    vip.bindings.insert(BindingKey::new(Kind::Route, "rtb-2"), Some(route));
    vip
}

fn leader(id: &str, started_s: u64) -> Desired {
    Desired::Leader(Claim { id: ClaimId::new(id), started_ms: 1000 * started_s, started_at: Some(S(started_s)) })
}

fn terms(terms: &[(&str, u64)]) -> BTreeMap<vipkeeper::ids::InstanceId, Term> {
    terms.iter().map(|(name, seconds)| (node(name), Term(1000 * seconds))).collect()
}

/// A look at the anchor and at the second table, each with the claims that it shows and the time of its read.
fn look(vip: &Vip, anchor: (&[(&str, u64)], u64), second: (&[(&str, u64)], u64)) -> Observed {
    let copies = Copies { terms: terms(second.0), at: S(second.1), ..Copies::default() };
    let claims = Claims::Read {
        terms: terms(anchor.0),
        withdrawn: BTreeMap::new(),
        implausible: BTreeMap::new(),
        edited: BTreeMap::new(),
        at: S(anchor.1),
        elsewhere: BTreeMap::from([(table_anchor("rtb-2"), copies)]),
    };
    let mut observed = Observed { claims, ..unseen(vip) };
    for (key, at) in [("rtb-1", anchor.1), ("rtb-2", second.1)] {
        let sight = Sight { seen: Seen::Here { association: None }, at: S(at) };
        observed.sights.insert(BindingKey::new(Kind::Route, key), sight);
    }
    observed
}

/// Lets the memory learn from a look at this moment, by clocks that agree.
fn learn(memory: &mut Memory, vip: &Vip, desired: &Desired, mut observed: Observed, at_s: u64) {
    observed.server_ms = observed.server_ms.or(Some(1000 * at_s));
    memory.learn(vip, desired, &mut observed, Now { at: S(at_s), wall_ms: 1000 * at_s });
}

fn is_superseded(memory: &Memory) -> bool {
    memory.claim.as_ref().unwrap().superseded_by.is_some()
}

#[test]
fn only_a_young_read_of_the_resource_that_showed_a_newer_claim_shows_its_end() {
    let (vip, leads) = (two_tables(), leader("c1", 100));
    let mut memory = Memory::default();
    learn(&mut memory, &vip, &leads, look(&vip, (&[("a", 100)], 101), (&[], 101)), 101);
    learn(&mut memory, &vip, &leads, look(&vip, (&[("a", 100)], 120), (&[("b", 110)], 120)), 120);
    assert!(is_superseded(&memory));
    // The second table is read less often, and its read may be as old as the state before the newer claim.
    learn(&mut memory, &vip, &leads, look(&vip, (&[("a", 100)], 140), (&[], 121)), 140);
    assert!(is_superseded(&memory), "the read of the anchor says nothing of the second table");
    learn(&mut memory, &vip, &leads, look(&vip, (&[("a", 100)], 141), (&[], 125)), 141);
    assert!(!is_superseded(&memory));
}

#[test]
fn a_newer_claim_that_is_shown_again_is_shown_at_the_time_of_that_read() {
    let (vip, leads) = (two_tables(), leader("c1", 100));
    let mut memory = Memory::default();
    learn(&mut memory, &vip, &leads, look(&vip, (&[("a", 100)], 101), (&[], 101)), 101);
    learn(&mut memory, &vip, &leads, look(&vip, (&[("a", 100)], 120), (&[("b", 110)], 120)), 120);
    // The anchor's account does not answer for a while.
    learn(&mut memory, &vip, &leads, look(&vip, (&[("a", 100)], 120), (&[("b", 110)], 130)), 130);
    learn(&mut memory, &vip, &leads, look(&vip, (&[("a", 100)], 132), (&[], 132)), 132);
    assert!(is_superseded(&memory), "2 s after it was shown");
    learn(&mut memory, &vip, &leads, look(&vip, (&[("a", 100)], 135), (&[], 135)), 135);
    assert!(!is_superseded(&memory));
}

#[test]
fn bindings_are_kept_no_longer_than_the_oldest_read_allows() {
    let vip = two_tables();
    let keeping = Keeping { since: S(95), term: Term(100_000), word: WatchdogsPart::MayBeMissing };
    let goes_on = |anchor, second: (&[(&str, u64)], u64)| {
        keeping.goes_on(&vip, &look(&vip, (&[("a", 100)], anchor), second), S(107))
    };
    assert!(goes_on(106, (&[("a", 100)], 106)));
    assert!(!goes_on(106, (&[("a", 100)], 98)), "a successor's claim may stand there for 8 s");
    assert!(goes_on(106, (&[], 98)), "that table carries no claims");
}

#[test]
fn a_claim_that_could_not_be_persisted_is_no_claim_that_this_daemon_remembers() {
    let vip = two_tables();
    let mut memory = Memory::default();
    learn(&mut memory, &vip, &leader("c1", 100), look(&vip, (&[("a", 100)], 101), (&[], 101)), 101);
    let persisted = memory.to_persist().unwrap();
    // The next claim's term was raised over the one of a node whose clock is ahead, and the disk was full.
    let mut memory = Memory::restore(persisted, S(300), 300_000);
    let on_record: &[(&str, u64)] = &[("a", 204), ("b", 203)];
    learn(&mut memory, &vip, &leader("c2", 200), look(&vip, (on_record, 301), (&[], 301)), 301);
    assert!(!is_superseded(&memory), "its own tag tells its term");
    assert_eq!(memory.claim.unwrap().term, Term(204_000));
}

#[test]
fn a_clock_of_ec2_that_goes_wrong_later_changes_no_term_and_a_restart_makes_no_difference() {
    let (vip, leads) = (two_tables(), leader("c1", 100));
    for restarts in [false, true] {
        let mut memory = Memory::default();
        learn(&mut memory, &vip, &leads, look(&vip, (&[("a", 100)], 101), (&[], 101)), 101);
        if restarts {
            memory = Memory::restore(memory.to_persist().unwrap(), S(200), 200_000);
        }
        let observed = Observed { server_ms: Some(5_000_000), ..look(&vip, (&[("a", 100)], 201), (&[], 201)) };
        learn(&mut memory, &vip, &leads, observed, 201);
        assert_eq!(memory.claim.unwrap().term, Term(100_000), "restarts: {restarts}");
    }
}

#[test]
fn a_term_of_a_wrong_clock_is_corrected_by_the_first_word_of_ec2s_clock_however_late_that_comes() {
    let (vip, leads) = (two_tables(), leader("c1", 100));
    let mut memory = Memory::default();
    let looked = |at, server_ms| Observed { server_ms, ..look(&vip, (&[("a", 100)], at), (&[], at)) };
    let now = |at_s| Now { at: S(at_s), wall_ms: 1000 * at_s };
    memory.learn(&vip, &leads, &mut looked(101, None), now(101));
    assert_eq!(memory.claim.as_ref().unwrap().term, Term(100_000));
    memory.learn(&vip, &leads, &mut looked(110, Some(5_000_000)), now(110));
    assert_eq!(memory.claim.unwrap().term, Term(4_990_000), "ten seconds before EC2's now");
}

#[test]
fn a_claim_that_was_seen_given_up_is_not_believed_again_after_a_restart_either() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        120 see elastic_ip=eni-b a=100 b=115
        122 see elastic_ip=absent a=100 b=-115
        122.1 accept
        123 restart
        124 see elastic_ip=here:2 a=100 b=115
          => elastic_ip in_sync: at eni-a 10.0.0.9
        ",
    );
}

/// Whether the guard's death under a hold releases the Elastic IP, after this happened to a leader that had it.
fn is_released_under_a_hold(happened: impl FnOnce(&mut Decider, &Vip)) -> bool {
    let vip = vip("elastic_ip");
    let seen = |at_s: u64| {
        let mut observed = unseen(&vip);
        let here = Sight { seen: Seen::Here { association: "eipassoc-1".parse().ok() }, at: S(at_s) };
        observed.sights.insert(vip.bindings.keys().next().unwrap().clone(), here);
        observed
    };
    let now = |at_s: u64| Now { at: S(at_s), wall_ms: 1000 * at_s };
    let mut decider = Decider::default();
    decider.decide(&vip, &leader("c1", 100), &mut seen(110), now(110));
    happened(&mut decider, &vip);
    decider.hold = Some(Hold { until: S(9000), extent: Extent::ExceptRelease, hook_came_since: false });
    let plan = decider.decide(&vip, &Desired::Standby(WhyStandby::GuardDead), &mut seen(300), now(300));
    plan.binding_changes().count() > 0
}

#[test]
fn under_a_hold_only_a_binding_that_was_seen_through_the_end_of_the_leadership_is_released() {
    assert!(is_released_under_a_hold(|_, _| {}));
    let restarted = |edit: fn(&mut Persisted)| {
        is_released_under_a_hold(|decider, _| {
            let mut persisted = decider.to_persist().unwrap();
            edit(&mut persisted);
            *decider = Decider::restore(Some(persisted), S(200), 200_000);
        })
    };
    assert!(!restarted(|_| {}), "it may have left and come back while the daemon was down");
    assert!(!restarted(|persisted| persisted.led = false), "the file of an older program");
    let left_the_config = is_released_under_a_hold(|decider, vip| {
        let without = Vip { bindings: BTreeMap::new(), ..vip.clone() };
        let now = Now { at: S(200), wall_ms: 200_000 };
        decider.decide(&without, &Desired::Standby(WhyStandby::GuardDead), &mut unseen(&without), now);
    });
    assert!(!left_the_config, "nobody looked at it meanwhile");
}

#[test]
fn tags_of_ever_other_nodes_leave_a_memory_that_does_not_grow() {
    let (vip, leads) = (two_tables(), leader("c1", 100));
    let mut memory = Memory::default();
    for at_s in (101..1000).step_by(10) {
        let mut observed = look(&vip, (&[("a", 100)], at_s), (&[], at_s));
        let Claims::Read { terms, withdrawn, .. } = &mut observed.claims else { unreachable!() };
        for n in 0..49 {
            terms.insert(node(&format!("{at_s}{n:02}")), Term(0));
            withdrawn.insert(node(&format!("{at_s}{n:02}")), Term(1000 * at_s));
        }
        learn(&mut memory, &vip, &leads, observed, at_s);
    }
    let persisted = memory.to_persist().unwrap();
    assert!((49..150).contains(&persisted.seen_given_up.len()), "{}", persisted.seen_given_up.len());
}

/// This node's clock was 150 s ahead at its first claim, and is set right before its second one.
#[test]
fn a_new_claim_is_above_all_terms_of_this_node_that_it_knows() {
    let first = "
        100 leader@250
        100.2 accept
        106 see route=here a=250";
    let above = "
        130 leader@130
          => route take: replace route 20.0.0.50/32 in rtb-1 with eni-a
          => record 250+1";
    for between in [
        // Nothing but the memory tells.
        "107 standby\n107.1 accept",
        "108 restart",
        "107 see claims=?\n108 standby",
        // The record tells, there or in another place.
        "107 forgetful-restart\n108 unknown\n109 see route=here a=250",
        "107 forgetful-restart\n108 unknown\n109 see route=here a=-250",
    ] {
        check("route", &format!("{first}\n{between}\n{above}"));
    }
    let elsewhere = "107 forgetful-restart\n108 unknown\n109 see route=here a=-90 a@rtb-2=-250";
    check("route", &format!("{first}\n{elsewhere}\n{above}\n=> record 250+1 on rtb-2"));
    // The first look of the new claim tells.
    let first_look = "
        100 forgetful-restart
        130 leader@130
          => route take: replace route 20.0.0.50/32 in rtb-1 with eni-a
          => record 130
        130.2 accept";
    for (look, term) in [
        ("131 see route=here a=130 a@rtb-2=-250", "250+1\n=> record 250+1 on rtb-2"),
        ("131 see route=here a=250", "250+1"),
        ("131 see route=here a=-250 b=240", "250+1"),
        ("131 see route=here a=-250 b=260", "260+1"),
    ] {
        check("route", &format!("{first_look}\n{look}\n=> route in_sync: at eni-a\n=> record {term}"));
    }
    // An implausible term of this node counts no more than one of another.
    let look = "109 forgetful-restart\n109 unknown\n109 see route=here a=-500";
    check("route", &format!("{look}\n{}", above.replace("250+1", "130")));
    // A newer claim that was read before the hook was noticed stays the newer one.
    check(
        "route",
        &format!(
            "{first}
            107 standby
            107.1 accept
            136 see route=i-b a=-250 b=132
            136 leader@130
              => superseded by i-b 132
              => route in_sync: at i-b
              => record 130
              => look at 138
            "
        ),
    );
}

#[test]
fn a_corrected_term_does_not_fall_below_the_terms_that_this_node_gave_up() {
    check(
        "route",
        "
        90 see route=here a=-290
        100 leader@900
          => route take: replace route 20.0.0.50/32 in rtb-1 with eni-a
          => record 290+1
        ",
    );
}
