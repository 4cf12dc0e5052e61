//! A leader whose bindings are not as it left them.

use crate::script::check;

#[test]
fn what_is_gone_is_put_back_only_if_nobody_took_it() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=absent a=100
          => elastic_ip restore [absent]: associate eipalloc-1 with eni-a at 10.0.0.9, only if it is free
        ",
    );
    check(
        "route",
        "
        100 leader@100
        100.2 accept
        106 see route=absent a=100
          => route restore [absent]: create route 20.0.0.50/32 in rtb-1 to eni-a, only if there is none
        ",
    );
    check(
        "secondary_ip",
        "
        100 leader@100
        100.2 accept
        106 see secondary_ip=absent a=100
          => secondary_ip restore [absent]: assign 10.0.0.50 to eni-a, only if it is free
        ",
    );
}

#[test]
fn what_is_gone_is_put_back_without_a_record_too() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=absent claims=?
          => elastic_ip restore [absent]: associate eipalloc-1 with eni-a at 10.0.0.9, only if it is free
        ",
    );
}

#[test]
fn what_belongs_where_another_binding_is_is_never_pointed_here_but_released() {
    let why = "would be at eni-a 10.0.0.9 like the Elastic IP 192.0.2.9, and a private address carries one: give one of \
               them another private_ip or interface";
    check(
        "elastic_ip, shared place",
        &format!(
            "
            99 unknown
            99 see elastic_ip=absent claims=none
              => elastic_ip in_sync: not here
            100 leader@100
              => elastic_ip blocked: {why}
              => record 100
            106 see elastic_ip=absent a=100
              => elastic_ip blocked: {why}
            120 see elastic_ip=eni-b a=100
              => elastic_ip blocked: {why}
            130 see elastic_ip=here:7 a=100
              => elastic_ip in_sync: at eni-a 10.0.0.9
            140 see elastic_ip=absent a=100
              => elastic_ip blocked [absent]: {why}
            150 see elastic_ip=here:8 a=100
            160 standby
              => elastic_ip release: release eipalloc-1 by eipassoc-8
              => record 0
            160.1 accept
            170 see elastic_ip=absent a=-100
              => elastic_ip blocked: {why}
            "
        ),
    );
}

#[test]
fn a_leader_whose_own_changes_undo_one_another_stops_and_a_superseded_one_does_not_tell_of_it() {
    check(
        "elastic_ip, undone",
        "
        100 leader@100
        106 see elastic_ip=absent a=100
          => elastic_ip blocked: not pointed here any more: each time, route rtb-9 of 20.0.0.50 went, and it went again with that one's return
        107 see elastic_ip=here:7 a=100
          => elastic_ip in_sync: at eni-a 10.0.0.9
        120 see elastic_ip=absent a=100
          => elastic_ip blocked [absent]: not pointed here any more: each time, route rtb-9 of 20.0.0.50 went, and it went again with that one's return
        130 see elastic_ip=eni-b a=100 b=125
          => superseded by i-b 125
          => elastic_ip in_sync: at eni-b
          => look at 132
        ",
    );
}

#[test]
fn the_local_address_and_the_check_are_put_right_at_once() {
    check(
        "local_address, source_dest_check",
        "
        100 leader@100
        100.2 accept
        101 see local_address=absent source_dest_check=here
          => local_address restore [absent]: add 20.0.0.50 to eth0
          => source_dest_check in_sync: off on eni-a
        ",
    );
    check(
        "source_dest_check",
        "
        100 leader@100
        100.2 accept
        106 see source_dest_check=absent a=100
          => source_dest_check restore [check_on]: switch the source/destination check of eni-a off
        ",
    );
}

#[test]
fn an_own_write_is_believed_until_it_has_settled() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        105.1 see elastic_ip=absent a=100
          => elastic_ip waiting: change accepted, not seen yet
        105.2 see elastic_ip=absent a=100
          => elastic_ip restore [absent]: associate eipalloc-1 with eni-a at 10.0.0.9, only if it is free
        ",
    );
}

#[test]
fn what_counts_is_when_a_look_began_not_when_it_ended() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        101 see elastic_ip=eni-b a=100
        140
          => elastic_ip waiting: change accepted, not seen yet
        ",
    );
}

#[test]
fn what_points_elsewhere_is_no_drift_before_the_claims_of_that_look_are_read() {
    for claims_of_that_look in [
        "a=100 b=115
          => superseded by i-b 115
          => secondary_ip in_sync: at eni-b
          => look at 122",
        "claims=?
          => secondary_ip blocked [elsewhere]: points at eni-b, and this node's claim is not on record: without a record nothing is taken back",
    ] {
        check(
            "secondary_ip",
            &format!(
                "
                100 leader@100
                100.2 accept
                106 see secondary_ip=here a=100
                120 see secondary_ip=eni-b
                  => secondary_ip waiting: points at eni-b; looking twice before taking it back
                120 see {claims_of_that_look}
                "
            ),
        );
    }
}

#[test]
fn what_points_elsewhere_is_taken_back_after_a_second_look() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        120 see elastic_ip=eni-x a=100
          => elastic_ip drift [elsewhere]: points at eni-x; looking twice before taking it back
          => look at 125
        124.9 see elastic_ip=eni-x a=100
          => elastic_ip drift [elsewhere]: points at eni-x; looking twice before taking it back
          => look at 125
        125 see elastic_ip=eni-x a=100
          => elastic_ip retake [elsewhere]: associate eipalloc-1 with eni-a at 10.0.0.9
        125.2 accept
          => elastic_ip waiting: change accepted, not seen yet
        126 see elastic_ip=here:2 a=100
          => elastic_ip in_sync: at eni-a 10.0.0.9
        ",
    );
}

#[test]
fn a_look_at_one_holder_is_no_look_at_the_next_one() {
    check(
        "route",
        "
        100 leader@100
        100.2 accept
        106 see route=here a=100
        120 see route=i-b a=100 b=-115
        130 see route=i-c a=100 b=-115
          => route drift [elsewhere]: points at i-c; looking twice before taking it back
          => look at 135
        135 see route=i-c a=100 b=-115 c=129
          => superseded by i-c 129
          => route in_sync: at i-c
          => look at 137
        ",
    );
    // The holder that left has given up its claim, and the next one has claimed anew.
    check(
        "route",
        "
        100 leader@100
        100.2 accept
        120 see route=i-b a=100 b=115
          => superseded by i-b 115
          => route in_sync: at i-b
          => look at 122
        130 see route=i-c a=100 b=-115
          => route drift [elsewhere]: points at i-c; looking twice before taking it back
          => look at 135
        ",
    );
    check(
        "route",
        "
        100 leader@100
        100.2 accept
        106 see route=eni-x a=100
        110 see route=i-c a=100 c=-108
          => route retake [elsewhere]: replace route 20.0.0.50/32 in rtb-1 with eni-a
        ",
    );
}

#[test]
fn a_binding_whose_holder_changes_with_each_look_is_told_and_not_fought_for() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=eni-x a=100
        111 see elastic_ip=eni-y a=100
          => elastic_ip drift [elsewhere]: points at eni-y; looking twice before taking it back
          => look at 116
        116 see elastic_ip=eni-x a=100
          => elastic_ip drift [elsewhere]: points at eni-x; looking twice before taking it back
          => look at 121
        120 see elastic_ip=? a=100
        121 see elastic_ip=eni-x a=100
          => elastic_ip retake [elsewhere]: associate eipalloc-1 with eni-a at 10.0.0.9
        ",
    );
}

#[test]
fn a_target_that_goes_is_still_the_holder_that_was_looked_at() {
    check(
        "route",
        "
        100 leader@100
        100.2 accept
        120 see route=eni-x a=100
        125 see route=eni-x! a=100
          => route retake [blackhole]: replace route 20.0.0.50/32 in rtb-1 with eni-a
        ",
    );
}

#[test]
fn what_goes_again_is_put_back_as_soon_as_the_wait_is_over() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=absent a=100
        106 accept
        111 see elastic_ip=absent a=100
          => elastic_ip restore [absent]: associate eipalloc-1 with eni-a at 10.0.0.9, only if it is free
        111 accept
        120.9 see elastic_ip=absent a=100
          => elastic_ip drift [absent]: gone again soon after it was brought back; waiting before putting it back
          => look at 121
        121
          => elastic_ip restore [absent]: associate eipalloc-1 with eni-a at 10.0.0.9, only if it is free
        ",
    );
}

#[test]
fn a_check_that_a_superseded_leader_switched_off_is_no_drift_when_it_leads_again() {
    check(
        "source_dest_check",
        "
        106 leader@100
        107 see source_dest_check=absent b=103
          => superseded by i-b 103
          => source_dest_check prepare: switch the source/destination check of eni-a off
          => record 100
          => look at 109
        107.1 accept
        113 see source_dest_check=absent a=100 b=-103
          => source_dest_check take: switch the source/destination check of eni-a off
        ",
    );
}

#[test]
fn time_alone_is_no_second_look() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        120 see elastic_ip=eni-x a=100
        126
          => elastic_ip drift [elsewhere]: points at eni-x; looking twice before taking it back
          => look at 125
        ",
    );
}

#[test]
fn what_comes_back_by_itself_starts_the_wait_anew() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        120 see elastic_ip=eni-x a=100
        123 see elastic_ip=here:1 a=100
          => elastic_ip in_sync: at eni-a 10.0.0.9
        125 see elastic_ip=eni-x a=100
          => elastic_ip drift [elsewhere]: points at eni-x; looking twice before taking it back
          => look at 130
        ",
    );
}

#[test]
fn each_retake_waits_longer_up_to_half_a_minute() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        120 see elastic_ip=eni-x a=100
        125 see elastic_ip=eni-x a=100
        125 accept
        131 see elastic_ip=eni-x a=100
          => elastic_ip drift [elsewhere]: points at eni-x; looking twice before taking it back
          => look at 136
        136 see elastic_ip=eni-x a=100
        136 accept
        142 see elastic_ip=eni-x a=100
          => elastic_ip drift [elsewhere]: points at eni-x; looking twice before taking it back
          => look at 152
        152 see elastic_ip=eni-x a=100
        152 accept
        158 see elastic_ip=eni-x a=100
          => elastic_ip drift [elsewhere]: points at eni-x; looking twice before taking it back
          => look at 178
        178 see elastic_ip=eni-x a=100
        178 accept
        184 see elastic_ip=eni-x a=100
          => elastic_ip drift [elsewhere]: points at eni-x; looking twice before taking it back
          => look at 214
        ",
    );
}

#[test]
fn after_ten_calm_minutes_the_wait_is_short_again() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        120 see elastic_ip=eni-x a=100
        125 see elastic_ip=eni-x a=100
        125 accept
        725 see elastic_ip=here:2 a=100
        730 see elastic_ip=eni-x a=100
          => elastic_ip drift [elsewhere]: points at eni-x; looking twice before taking it back
          => look at 735
        ",
    );
}

#[test]
fn a_route_whose_target_is_gone_is_drift() {
    check(
        "route",
        "
        100 leader@100
        100.2 accept
        120 see route=eni-a! a=100
          => route drift [blackhole]: points at eni-a (blackhole); looking twice before taking it back
          => look at 125
        125 see route=eni-a! a=100
          => route retake [blackhole]: replace route 20.0.0.50/32 in rtb-1 with eni-a
        ",
    );
}

#[test]
fn without_its_claim_on_record_a_leader_takes_nothing_back() {
    for claims in ["claims=?", "claims=none", "a=99"] {
        let script = format!(
            "
            100 leader@100
            100.2 accept
            106 see elastic_ip=eni-x {claims}
            120 see elastic_ip=eni-x {claims}
            120.1 accept record
              => elastic_ip blocked [elsewhere]: points at eni-x, and this node's claim is not on record: without a record nothing is taken back
            "
        );
        check("elastic_ip", &script);
    }
    check(
        "elastic_ip, claims off",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=eni-x
          => elastic_ip blocked [elsewhere]: points at eni-x, and this node's claim is not on record: without a record nothing is taken back
        ",
    );
}

#[test]
fn a_leader_that_the_watchdog_does_not_know_takes_nothing_back() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=eni-x a=100
        110 witness not-escalated
        112 see elastic_ip=eni-x a=100
          => elastic_ip blocked [elsewhere]: points at eni-x, and Pgpool's watchdog says that this node is not the leader
        112.5 witness unheard
          => elastic_ip blocked [elsewhere]: points at eni-x, and Pgpool's watchdog does not answer: without its word nothing is taken back
        113 witness escalated
          => elastic_ip retake [elsewhere]: associate eipalloc-1 with eni-a at 10.0.0.9
        ",
    );
}

#[test]
fn what_the_watchdog_says_does_not_hold_up_a_claims_first_take() {
    check(
        "elastic_ip",
        "
        99 witness not-escalated
        100 leader@100
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 100
        ",
    );
}

#[test]
fn what_cannot_be_seen_is_left_alone() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        120 see elastic_ip=?
          => elastic_ip unknown: the read failed: no answer
        ",
    );
}

#[test]
fn a_binding_whose_ids_are_not_known_is_left_alone() {
    check(
        "unresolved, elastic_ip",
        "
        100 leader@100
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => route unknown: not read yet
          => record 100
        101 see elastic_ip=here route=? a=100
          => elastic_ip in_sync: at eni-a 10.0.0.9
          => route unknown: the read failed: no answer
        ",
    );
}

#[test]
fn a_binding_that_is_not_known_for_a_while_has_still_been_here() {
    check(
        "elastic_ip, route",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 route=here a=100
        109 see elastic_ip=here:1 route=absent a=100
        110 bindings elastic_ip
          => elastic_ip in_sync: at eni-a 10.0.0.9
        111 bindings elastic_ip, route
          => elastic_ip in_sync: at eni-a 10.0.0.9
          => route restore [absent]: create route 20.0.0.50/32 in rtb-1 to eni-a, only if there is none
        ",
    );
}

#[test]
fn each_binding_drifts_by_itself() {
    check(
        "elastic_ip, secondary_ip, local_address",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=eni-x secondary_ip=absent local_address=? a=100
          => elastic_ip drift [elsewhere]: points at eni-x; looking twice before taking it back
          => secondary_ip restore [absent]: assign 10.0.0.50 to eni-a, only if it is free
          => local_address unknown: the read failed: no answer
          => look at 111
        ",
    );
}

#[test]
fn an_elastic_ip_waits_for_the_secondary_address_that_it_belongs_to() {
    check(
        "elastic_ip on secondary_ip, secondary_ip",
        "
        100 leader@100
          => elastic_ip waiting: waits for secondary_ip 10.0.0.50
          => secondary_ip take: assign 10.0.0.50 to eni-a
          => record 100
        100.2 accept
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.50
          => secondary_ip waiting: change accepted, not seen yet
        100.4 accept
        106 see elastic_ip=absent secondary_ip=absent a=100
          => elastic_ip drift [absent]: waits for secondary_ip 10.0.0.50
          => secondary_ip restore [absent]: assign 10.0.0.50 to eni-a, only if it is free
        120 see elastic_ip=eni-x secondary_ip=eni-x a=100
        126 see elastic_ip=eni-x secondary_ip=eni-x a=100
          => elastic_ip drift [elsewhere]: waits for secondary_ip 10.0.0.50
          => secondary_ip retake [elsewhere]: assign 10.0.0.50 to eni-a
        ",
    );
}

#[test]
fn a_route_that_is_known_to_be_missing_is_created() {
    check(
        "route",
        "
        90 see route=absent claims=none
        100 leader@100
          => route take: create route 20.0.0.50/32 in rtb-1 to eni-a
          => record 100
        ",
    );
}

#[test]
fn a_lost_reply_is_cleared_up_by_the_next_look() {
    check(
        "elastic_ip",
        "
        100 leader@100
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 100
        101 see elastic_ip=here:1 a=100
          => elastic_ip in_sync: at eni-a 10.0.0.9
        ",
    );
}
