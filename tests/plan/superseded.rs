//! A leader whose claim was ended by a newer one: its looks for the newer claim's end, and how it leads again.

use std::time::Duration;

use vipkeeper::decide::memory::Memory;
use vipkeeper::desired::{Claim, Desired};
use vipkeeper::ids::{ClaimId, Term};
use vipkeeper::observe::seen::{Claims, Now, Observed};

use crate::script::{check, node, unseen, vip};

#[test]
fn a_superseded_claim_follows_when_the_newer_one_is_withdrawn() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        120 see elastic_ip=eni-b a=100 b=115
          => superseded by i-b 115
          => elastic_ip in_sync: at eni-b
          => look at 122
        120.9 see elastic_ip=here:1 a=100 b=-110
          => superseded by i-b 115
          => elastic_ip release [here]: release eipalloc-1 by eipassoc-1
          => look at 122.9
        122 see elastic_ip=absent a=100 b=-115
          => elastic_ip restore [absent]: associate eipalloc-1 with eni-a at 10.0.0.9, only if it is free
        ",
    );
}

#[test]
fn a_claim_that_was_seen_given_up_is_not_believed_again_on_an_older_read() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        120 see elastic_ip=eni-b a=100 b=115
          => superseded by i-b 115
          => elastic_ip in_sync: at eni-b
          => look at 122
        122 see elastic_ip=absent a=100 b=-115
          => elastic_ip restore [absent]: associate eipalloc-1 with eni-a at 10.0.0.9, only if it is free
        122.1 accept
        123 see elastic_ip=eni-b a=100 b=115
          => elastic_ip waiting: change accepted, not seen yet
        124 see elastic_ip=here:2 a=100 b=115
          => elastic_ip in_sync: at eni-a 10.0.0.9
        125 see elastic_ip=here:2 a=100 b=116
          => superseded by i-b 116
          => elastic_ip release: release eipalloc-1 by eipassoc-2
          => look at 127
        ",
    );
}

#[test]
fn a_claim_that_is_still_shown_once_no_read_can_lag_was_not_given_up() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        120 see elastic_ip=eni-b a=100 b=115
        122 see elastic_ip=absent a=100 b=-115
        122.1 accept
        126.9 see elastic_ip=here:2 a=100 b=115
          => elastic_ip in_sync: at eni-a 10.0.0.9
        127 see elastic_ip=here:2 a=100 b=115
          => superseded by i-b 115
          => elastic_ip release: release eipalloc-1 by eipassoc-2
          => look at 129
        ",
    );
}

#[test]
fn nothing_is_taken_back_by_force_on_a_read_that_shows_a_newer_claim_although_that_was_given_up() {
    check(
        "route",
        "
        100 leader@100
        100.2 accept
        106 see route=here a=100
        120 see route=eni-b a=100 b=115
        126 see route=eni-b a=100 b=-115
          => route retake [elsewhere]: replace route 20.0.0.50/32 in rtb-1 with eni-a
        127 see route=eni-b a=100 b=115
          => route blocked [elsewhere]: points at eni-b, and this node's claim is not on record: without a record nothing is taken back
        ",
    );
}

#[test]
fn what_a_superseded_claim_saw_elsewhere_all_along_is_taken_back_when_it_follows() {
    check(
        "route",
        "
        100 leader@100
        100.2 accept
        106 see route=here a=100
        120 see route=eni-b a=100 b=115
          => superseded by i-b 115
          => route in_sync: at eni-b
          => look at 122
        126 see route=eni-b a=100 b=-115
          => route retake [elsewhere]: replace route 20.0.0.50/32 in rtb-1 with eni-a
        ",
    );
}

#[test]
fn a_superseded_claim_is_recorded_once_so_that_it_can_follow() {
    check(
        "route",
        "
        106 leader@100
        107 see route=eni-b b=103
          => superseded by i-b 103
          => route in_sync: at eni-b
          => record 100
          => look at 109
        107.2 accept
        117 see route=eni-b b=103 a=100
          => superseded by i-b 103
          => route in_sync: at eni-b
          => look at 119
        4000 see route=eni-b claims=none b=103
          => superseded by i-b 103
          => route in_sync: at eni-b
        ",
    );
}

#[test]
fn a_stale_look_does_not_revive_a_superseded_claim() {
    check(
        "elastic_ip",
        "
        100 leader@100
        107 see elastic_ip=eni-b a=100 b=106
        122 see elastic_ip=eni-b a=100 b=106
        125 see elastic_ip=here:1 a=100
          => superseded by i-b 106
          => elastic_ip release [here]: release eipalloc-1 by eipassoc-1
          => look at 127
        ",
    );
}

#[test]
fn a_claim_that_is_not_shown_any_more_is_over_only_once_no_read_can_lag() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        120 see elastic_ip=eni-b a=100 b=115
        123
          => superseded by i-b 115
          => elastic_ip in_sync: at eni-b
          => look at 122
        124.9 see elastic_ip=absent a=100
          => superseded by i-b 115
          => elastic_ip in_sync: not here
          => look at 126.9
        125 see elastic_ip=absent a=100
          => elastic_ip restore [absent]: associate eipalloc-1 with eni-a at 10.0.0.9, only if it is free
        ",
    );
}

#[test]
fn a_superseded_leader_looks_often_unless_its_watchdog_says_that_it_does_not_lead() {
    check(
        "route",
        "
        100 leader@100
        107 see route=eni-b a=100 b=106
          => superseded by i-b 106
          => route in_sync: at eni-b
          => look at 109
        108 witness escalated
          => superseded by i-b 106
          => route in_sync: at eni-b
          => look at 108
        109 witness not-escalated
          => superseded by i-b 106
          => route in_sync: at eni-b
        ",
    );
}

/// A route that was here at second 106, and then this look.
fn after_a_look(look: &str) {
    check("route", &format!("100 leader@100\n100.2 accept\n106 see route=here a=100\n{look}"));
}

#[test]
fn a_binding_that_a_newer_claim_left_behind_is_taken_back_in_the_look_that_shows_its_end() {
    let retake = "=> route retake [elsewhere]: replace route 20.0.0.50/32 in rtb-1 with eni-a";
    // The newer claim was seen before, and it was not.
    after_a_look(&format!("120 see route=i-b a=100 b=118\n122 see route=i-b a=100 b=-118\n{retake}"));
    after_a_look(&format!("112 see route=i-b a=100 b=-110\n{retake}"));
}

#[test]
fn a_binding_that_no_newer_claim_left_behind_is_looked_at_twice() {
    let twice = |holder: &str, look_at: u32| {
        format!(
            "=> route drift [elsewhere]: points at {holder}; looking twice before taking it back\n=> look at {look_at}"
        )
    };
    // The holder gave up an older claim: it may have made a newer one that is not on record yet.
    after_a_look(&format!("112 see route=i-b a=100 b=-90\n{}", twice("i-b", 117)));
    // Another node holds it, or it is not known who does.
    after_a_look(&format!("112 see route=i-c a=100 b=-110\n{}", twice("i-c", 117)));
    after_a_look(&format!("112 see route=eni-b a=100 b=-110\n{}", twice("eni-b", 117)));
    // It came back in between.
    let back = "112 see route=i-b a=100 b=-110\n112.1 accept\n118 see route=here a=100 b=-110";
    after_a_look(&format!("{back}\n130 see route=i-b a=100 b=-110\n{}", twice("i-b", 135)));
    after_a_look(&format!("112 see route=here a=100 b=-110\n130 see route=i-b a=100 b=-110\n{}", twice("i-b", 135)));
}

#[test]
fn a_newer_claim_that_was_first_seen_given_up_is_not_believed_on_an_older_read() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        112 see elastic_ip=absent a=100 b=-110
          => elastic_ip restore [absent]: associate eipalloc-1 with eni-a at 10.0.0.9, only if it is free
        112.1 accept
        114 see elastic_ip=here:2 a=100 b=110
          => elastic_ip in_sync: at eni-a 10.0.0.9
        115 see elastic_ip=here:2 a=100 b=-110 c=-109
          => elastic_ip in_sync: at eni-a 10.0.0.9
        116 see elastic_ip=here:2 a=100 b=110 c=109
          => elastic_ip in_sync: at eni-a 10.0.0.9
        117 see elastic_ip=here:2 a=100 b=110
          => superseded by i-b 110
          => elastic_ip release: release eipalloc-1 by eipassoc-2
          => look at 119
        ",
    );
}

#[test]
fn a_newer_claim_that_stands_again_after_its_end_counts_until_it_is_given_up_once_more() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        112 see elastic_ip=here:1 a=100 b=-110
          => elastic_ip in_sync: at eni-a 10.0.0.9
        118 see elastic_ip=here:1 a=100 b=110
          => superseded by i-b 110
          => elastic_ip release: release eipalloc-1 by eipassoc-1
          => look at 120
        118.1 accept
        120 see elastic_ip=absent a=100 b=-110
          => elastic_ip restore [absent]: associate eipalloc-1 with eni-a at 10.0.0.9, only if it is free
        120.1 accept
        122 see elastic_ip=here:2 a=100 b=110
          => elastic_ip in_sync: at eni-a 10.0.0.9
        ",
    );
}

#[test]
fn what_leaves_again_after_it_was_taken_back_is_not_left_over_any_more() {
    check(
        "route",
        "
        100 leader@100
        100.2 accept
        106 see route=here a=100
        120 see route=i-b a=100 b=-115
          => route retake [elsewhere]: replace route 20.0.0.50/32 in rtb-1 with eni-a
        120.1 accept
        123 see route=i-b a=100 b=-115
          => route waiting: change accepted, not seen yet
        125.2 see route=i-b a=100 b=-115
          => route drift [elsewhere]: points at i-b; looking twice before taking it back
          => look at 130.2
        ",
    );
}

/// A look may begin before the answer of the one before it. EC2's reads lag by 5 s from the answer on that showed this claim
/// first, and not from the answer that showed another one.
#[test]
fn each_newer_claim_counts_for_as_long_as_reads_may_be_older_than_it() {
    let (vip, at) = (vip("elastic_ip"), Duration::from_millis);
    let claim = Claim { id: ClaimId::new("c1"), started_ms: 100_000, started_at: Some(at(100_000)) };
    let mut memory = Memory::default();
    let mut superseded_by = |began: u64, answered: u64, terms: &[(&str, u64)]| {
        let terms = terms.iter().map(|(name, ms)| (node(name), Term(*ms))).collect();
        let (withdrawn, implausible, edited, elsewhere) = Default::default();
        let claims = Claims::Read { terms, withdrawn, implausible, edited, at: at(began), elsewhere };
        let mut observed = Observed { claims, ..unseen(&vip) };
        let now = Now { at: at(answered), wall_ms: answered };
        memory.learn(&vip, &Desired::Leader(claim.clone()), &mut observed, now);
        memory.claim.as_ref().and_then(|own| own.superseded_by.clone()).map(|rival| rival.node)
    };
    assert_eq!(superseded_by(100_000, 100_100, &[]), None);
    assert_eq!(superseded_by(110_000, 112_000, &[("b", 108_000)]), Some(node("b")));
    assert_eq!(superseded_by(111_000, 113_000, &[("b", 108_000), ("c", 109_000)]), Some(node("c")));
    assert_eq!(superseded_by(117_500, 117_600, &[]), Some(node("c")), "the read may be older than the claim");
    assert_eq!(superseded_by(118_000, 118_100, &[]), None);
}
