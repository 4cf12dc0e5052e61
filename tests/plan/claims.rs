//! Who may take what: each rule about taking, giving way and standing down.

use crate::script::check;

#[test]
fn a_fresh_claim_takes_at_once_without_a_read() {
    check(
        "route, local_address, source_dest_check",
        "
        100 leader@100
          => route take: replace route 20.0.0.50/32 in rtb-1 with eni-a
          => local_address take: add 20.0.0.50 to eth0
          => source_dest_check take: switch the source/destination check of eni-a off
          => record 100
        ",
    );
}

#[test]
fn a_fresh_claim_takes_from_whoever_holds_it() {
    check(
        "elastic_ip",
        "
        90 see elastic_ip=eni-b b=80
          => elastic_ip in_sync: at eni-b
        100 leader@100
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 100
        100.2 accept
          => elastic_ip waiting: change accepted, not seen yet
        101 see elastic_ip=here a=100 b=80
          => elastic_ip in_sync: at eni-a 10.0.0.9
        ",
    );
}

#[test]
fn a_fresh_claim_looks_before_it_writes_what_may_be_here_already() {
    check(
        "elastic_ip",
        "
        90 see elastic_ip=here:7 b=80
        100 leader@100
          => elastic_ip waiting: pointed here before this claim; looking whether it still does
          => record 100
        101 see elastic_ip=here:7 a=100 b=80
          => elastic_ip in_sync: at eni-a 10.0.0.9
        ",
    );
    check(
        "elastic_ip",
        "
        90 see elastic_ip=here:7 b=80
        100 leader@100
        101 see elastic_ip=eni-b a=100 b=80
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
        ",
    );
}

#[test]
fn a_fresh_claim_takes_a_kept_route_at_once_because_somebody_may_have_led_in_between() {
    check(
        "route",
        "
        90 see route=here b=80
        100 leader@100
          => route take: replace route 20.0.0.50/32 in rtb-1 with eni-a
          => record 100
        100.2 accept
        101 see route=here a=100 b=80
          => route in_sync: at eni-a
        ",
    );
}

#[test]
fn a_claim_that_is_noticed_late_looks_for_a_newer_one_before_it_takes() {
    check(
        "elastic_ip",
        "
        106 leader@100
          => elastic_ip waiting: looking for a newer claim before taking
        107 see elastic_ip=eni-b b=90
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 100
        ",
    );
    check(
        "elastic_ip",
        "
        106 leader@100
        107 see elastic_ip=eni-b b=103
          => superseded by i-b 103
          => elastic_ip in_sync: at eni-b
          => record 100
          => look at 109
        ",
    );
}

#[test]
fn a_claim_that_could_not_take_in_time_looks_again_before_it_takes() {
    check(
        "elastic_ip",
        "
        100 leader@100
        101 see elastic_ip=? claims=?
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 100
        105
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 100
        105.1
          => elastic_ip waiting: looking for a newer claim before taking
          => record 100
        130 see elastic_ip=eni-b b=120
          => superseded by i-b 120
          => elastic_ip in_sync: at eni-b
          => record 100
          => look at 132
        ",
    );
}

#[test]
fn nothing_is_taken_by_force_on_an_old_look() {
    check(
        "elastic_ip",
        "
        100 leader@100
        101 see elastic_ip=eni-b a=100 b=90
        111
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
        111.1
          => elastic_ip waiting: looking for a newer claim before taking
          => look at 111.1
        112 see elastic_ip=eni-b a=100 b=110
          => superseded by i-b 110
          => elastic_ip in_sync: at eni-b
          => look at 114
        ",
    );
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        120 see elastic_ip=eni-b a=100
        125 see elastic_ip=eni-b a=100
          => elastic_ip retake [elsewhere]: associate eipalloc-1 with eni-a at 10.0.0.9
        135.1
          => elastic_ip drift [elsewhere]: points at eni-b; looking twice before taking it back
          => look at 135.1
        ",
    );
}

#[test]
fn a_look_from_before_the_claim_does_not_count_as_a_look() {
    check(
        "elastic_ip",
        "
        99 see elastic_ip=eni-b b=90
        106 leader@100
          => elastic_ip waiting: looking for a newer claim before taking
          => look at 106
        ",
    );
}

#[test]
fn what_was_free_before_the_claim_may_not_be_free_any_more() {
    check(
        "elastic_ip",
        "
        99 see elastic_ip=absent claims=?
        106 leader@100
          => elastic_ip waiting: looking for a newer claim before taking
        ",
    );
}

#[test]
fn a_claim_that_is_noticed_late_gives_way_to_what_was_on_record_before_the_record_could_not_be_read() {
    check(
        "elastic_ip",
        "
        104 see elastic_ip=eni-b b=103
        104.5 see elastic_ip=? claims=?
        106 leader@100
        107 see elastic_ip=absent claims=?
          => superseded by i-b 103
          => elastic_ip in_sync: not here
        ",
    );
}

#[test]
fn what_nobody_holds_may_be_taken_even_while_the_record_cannot_be_read() {
    check(
        "elastic_ip",
        "
        106 leader@100
        107 see elastic_ip=absent claims=?
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9, only if it is free
        ",
    );
}

#[test]
fn after_a_minute_an_unapplied_claim_takes_only_with_its_record() {
    check(
        "elastic_ip",
        "
        160.1 leader@100
        161 see elastic_ip=eni-b claims=none
          => elastic_ip blocked: points at eni-b, and this node's claim is not on record: without a record nothing is taken back
          => record 100
        161.2 accept record
        162 see elastic_ip=eni-b a=100
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
        ",
    );
}

#[test]
fn after_a_minute_without_claims_only_what_is_free_is_taken() {
    check(
        "elastic_ip, claims off",
        "
        110 leader@100
        160 see elastic_ip=eni-b
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
        160.1 see elastic_ip=eni-b
          => elastic_ip blocked: points at eni-b, and this node's claim is not on record: without a record nothing is taken back
        161 see elastic_ip=absent
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9, only if it is free
        162 see elastic_ip=?
          => elastic_ip unknown: the read failed: no answer
        ",
    );
}

#[test]
fn a_newer_claim_ends_an_older_one() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
          => elastic_ip in_sync: at eni-a 10.0.0.9
        120 see elastic_ip=eni-b a=100 b=115
          => superseded by i-b 115
          => elastic_ip in_sync: at eni-b
          => look at 122
        130 see elastic_ip=absent a=100 b=115
          => superseded by i-b 115
          => elastic_ip in_sync: not here
          => look at 132
        ",
    );
}

#[test]
fn of_equal_terms_all_nodes_choose_the_same() {
    check(
        "elastic_ip",
        "
        106 leader@100
        107 see elastic_ip=eni-b b=100
          => superseded by i-b 100
          => elastic_ip in_sync: at eni-b
          => record 100
          => look at 109
        ",
    );
}

#[test]
fn a_newer_claim_is_believed_although_an_own_write_is_settling() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        101 see elastic_ip=eni-b a=100
          => elastic_ip waiting: change accepted, not seen yet
        106 see elastic_ip=eni-b a=100
          => elastic_ip drift [elsewhere]: points at eni-b; looking twice before taking it back
          => look at 111
        111 see elastic_ip=eni-b a=100
        111.1 accept
        112 see elastic_ip=eni-b a=100 b=110
          => superseded by i-b 110
          => elastic_ip in_sync: at eni-b
          => look at 114
        ",
    );
}

#[test]
fn a_new_up_starts_over() {
    check(
        "elastic_ip",
        "
        100 leader@100
        107 see elastic_ip=eni-b a=100 b=106
          => superseded by i-b 106
          => elastic_ip in_sync: at eni-b
          => look at 109
        120 leader@120
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 120
        ",
    );
}

#[test]
fn a_node_that_stands_down_withdraws_its_claim_at_once() {
    check(
        "route",
        "
        100 leader@100
        100.2 accept
        106 see route=here a=100
        120 standby
          => route in_sync: kept until the successor replaces it
          => record 0
        120.2 accept
          => route in_sync: kept until the successor replaces it
        121 see route=here a=100
          => route in_sync: kept until the successor replaces it
        125.2 see route=here a=100
          => route in_sync: kept until the successor replaces it
          => record 0
        126 see route=here a=-100
          => route in_sync: kept until the successor replaces it
        ",
    );
}

#[test]
fn a_node_that_stands_down_leaves_its_claim_where_a_newer_one_stands() {
    check(
        "route",
        "
        100 leader@100
        100.2 accept
        106 see route=here a=100
        122 see route=eni-b a=100 b=121
        130 standby
          => route in_sync: at eni-b
        190 see route=eni-b a=100 b=-121
          => route in_sync: at eni-b
          => record 0
        ",
    );
    check(
        "route",
        "
        120 standby
        121 see route=eni-b b=100
          => route in_sync: at eni-b
        ",
    );
}
