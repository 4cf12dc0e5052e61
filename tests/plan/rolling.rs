//! Rolling changes of the configuration: nodes whose anchor or mode of claims differs for a while.

use crate::script::check;

/// This node has become leader at 90, and the look at 91 shows its claim and its route.
const LEADS: &str = "
        90 leader@90
        90.2 accept
        91 see route=here a=90
";

#[test]
fn a_claim_on_another_table_of_the_vip_counts() {
    check(
        "route",
        "
        90 leader@90
        90.2 accept
        91 see route=here a=90 @rtb-2=none
          => route in_sync: at eni-a
        130 see route=eni-b a=90 b@rtb-2=120
          => superseded by i-b 120
          => route in_sync: at eni-b
          => look at 132
        ",
    );
}

#[test]
fn a_changed_anchor_makes_no_superseded_leader_lead_again() {
    check(
        "route",
        &format!(
            "{LEADS}
        130 see route=eni-b a=90 b=120
          => superseded by i-b 120
          => route in_sync: at eni-b
          => look at 132
        131 anchor rtb-2
        140 see route=eni-b claims=none
          => superseded by i-b 120
          => route in_sync: at eni-b
          => look at 142
        141 restart
        150 see route=eni-b claims=none
          => superseded by i-b 120
          => route in_sync: at eni-b
          => look at 152
        160 see route=eni-b b=-120
          => route blocked [elsewhere]: points at eni-b, and this node's claim is not on record: without a record nothing is taken back
          => record 90
        "
        ),
    );
}

#[test]
fn the_old_anchor_is_read_as_long_as_it_is_a_table_of_the_vip() {
    check(
        "route",
        &format!(
            "{LEADS}
        130 see route=eni-b a=90 b=120
        131 anchor rtb-2
        140 see route=eni-b a=90 a@rtb-1=90 b@rtb-1=120
          => superseded by i-b 120
          => route in_sync: at eni-b
          => look at 142
        "
        ),
    );
}

#[test]
fn a_new_claim_is_recorded_wherever_claims_are() {
    check(
        "route",
        "
        90 see route=eni-b b@rtb-2=80 a@rtb-2=70 @rtb-3=none
        100 leader@100
          => route take: replace route 20.0.0.50/32 in rtb-1 with eni-a
          => record 100
          => record 100 on rtb-2
        100.2 accept
          => route waiting: change accepted, not seen yet
        106 see route=here a=100 a@rtb-2=100 b@rtb-2=80 @rtb-3=none
          => route in_sync: at eni-a
        110 standby
          => route in_sync: kept until the successor replaces it
          => record 0
          => record 0 on rtb-2
        110.2 accept
          => route in_sync: kept until the successor replaces it
        ",
    );
}

#[test]
fn what_a_node_gave_up_in_one_place_is_given_up_in_all() {
    check(
        "route",
        &format!(
            "{LEADS}
        130 see route=eni-b a=90 b=120 b@rtb-2=120
          => superseded by i-b 120
          => route in_sync: at eni-b
          => look at 132
        132 see route=eni-b a=90 b=120 b@rtb-2=-120
          => route drift [elsewhere]: points at eni-b; looking twice before taking it back
          => record 90 on rtb-2
          => look at 135
        "
        ),
    );
}

#[test]
fn nothing_is_given_up_up_to_a_term_that_no_clock_can_have_made() {
    check(
        "route",
        &format!(
            "{LEADS}
        130 see route=eni-b a=90 b=120 b@rtb-2=-9000
          => superseded by i-b 120
          => route in_sync: at eni-b
          => look at 132
        136 see route=eni-b a=90 b=120 b@rtb-2=-9000
          => superseded by i-b 120
          => route in_sync: at eni-b
          => look at 138
        "
        ),
    );
}

#[test]
fn a_claim_that_no_clock_can_have_made_counts_in_no_place() {
    check(
        "route",
        "
        90 leader@90
        90.2 accept
        91 see route=here a=90 b@rtb-2=9000
          => route in_sync: at eni-a
        ",
    );
    // Five minutes are plausible there, too.
    check(
        "route",
        "
        90 leader@90
        90.2 accept
        91 see route=here a=90 @rtb-2=none
        96 see route=here a=90 b@rtb-2=396
          => superseded by i-b 396
          => route in_sync: kept until the successor replaces it
          => look at 98
        ",
    );
}

#[test]
fn a_claim_is_written_to_another_table_again_once_a_read_should_show_it_and_does_not() {
    check(
        "route",
        "
        90 see route=eni-b b@rtb-2=80 a@rtb-2=70
        100 leader@100
        100.2 accept
        100.2 accept
        105.1 see route=here a=100 b@rtb-2=80 a@rtb-2=70
          => route in_sync: at eni-a
        105.2 see route=here a=100 b@rtb-2=80 a@rtb-2=70
          => route in_sync: at eni-a
          => record 100 on rtb-2
        ",
    );
}

#[test]
fn a_node_whose_claims_are_off_gives_way_but_stands_by_for_nobody() {
    check(
        "elastic_ip, claims off",
        "
        90 leader@90
        90.2 accept
        91 see elastic_ip=here b=80
          => elastic_ip in_sync: at eni-a 10.0.0.9
        130 see elastic_ip=here b=120
          => elastic_ip in_sync: at eni-a 10.0.0.9
        140 see elastic_ip=eni-b b=120
          => elastic_ip blocked [elsewhere]: points at eni-b, and this node's claim is not on record: without a record nothing is taken back
        ",
    );
}
