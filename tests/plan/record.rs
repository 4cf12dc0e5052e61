//! The record: the term of a claim, when its tag is written, how a restarted daemon goes on, and which old
//! claims are forgotten.

use crate::script::check;

#[test]
fn a_young_claim_rises_above_what_its_first_look_shows() {
    check(
        "elastic_ip",
        "
        100 leader@100
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 100
        105 see elastic_ip=eni-b b=103
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 103+1
        ",
    );
}

#[test]
fn a_claim_rises_neither_later_nor_twice() {
    check(
        "elastic_ip",
        "
        100 leader@100
        105.1 see elastic_ip=eni-b b=103
          => superseded by i-b 103
          => elastic_ip in_sync: at eni-b
          => record 100
          => look at 107.1
        ",
    );
    check(
        "elastic_ip",
        "
        100 leader@100
        101 see elastic_ip=eni-b b=90
        102 see elastic_ip=eni-b b=103
          => superseded by i-b 103
          => elastic_ip in_sync: at eni-b
          => record 100
          => look at 104
        ",
    );
}

#[test]
fn terms_seen_before_a_claim_are_older_than_it_whatever_the_clocks_say() {
    check(
        "elastic_ip",
        "
        99 see elastic_ip=eni-b b=103
        100 leader@100
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 103+1
        ",
    );
}

#[test]
fn a_claim_that_is_noticed_late_does_not_rise_above_what_was_seen_meanwhile() {
    check(
        "elastic_ip",
        "
        104 see elastic_ip=eni-b b=103
        105.1 leader@100
        106 see elastic_ip=eni-b b=103
          => superseded by i-b 103
          => elastic_ip in_sync: at eni-b
          => record 100
          => look at 108
        ",
    );
}

#[test]
fn a_raised_term_is_recorded_over_the_first_one() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        101 see elastic_ip=here:1 a=100 b=103
          => elastic_ip in_sync: at eni-a 10.0.0.9
          => record 103+1
        101.2 accept
          => elastic_ip in_sync: at eni-a 10.0.0.9
        102 see elastic_ip=here:1 a=103+1 b=103
          => elastic_ip in_sync: at eni-a 10.0.0.9
        ",
    );
}

#[test]
fn the_record_is_written_again_only_when_it_should_be_seen_and_is_not() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        105.1 see elastic_ip=here:1 claims=none
          => elastic_ip in_sync: at eni-a 10.0.0.9
        105.2 see elastic_ip=here:1 claims=none
          => elastic_ip in_sync: at eni-a 10.0.0.9
          => record 100
        105.4 accept
        106 see elastic_ip=here:1 claims=?
          => elastic_ip in_sync: at eni-a 10.0.0.9
        107 see elastic_ip=here:1 a=100
          => elastic_ip in_sync: at eni-a 10.0.0.9
        ",
    );
}

#[test]
fn without_claims_nothing_is_recorded() {
    check(
        "elastic_ip, claims off",
        "
        100 leader@100
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
        101 standby
          => elastic_ip unknown: not read yet
        ",
    );
}

#[test]
fn a_restarted_daemon_goes_on_as_before() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        101 see elastic_ip=here:1 a=100 b=90
        102 restart
          => elastic_ip unknown: not read yet
        103 see elastic_ip=here:1 a=100 b=90
          => elastic_ip in_sync: at eni-a 10.0.0.9
        ",
    );
}

#[test]
fn a_restarted_daemon_looks_before_it_takes_and_does_not_raise_its_term() {
    check(
        "elastic_ip",
        "
        100 leader@100
        101 restart
          => elastic_ip waiting: looking for a newer claim before taking
        102 see elastic_ip=eni-b b=101
          => superseded by i-b 101
          => elastic_ip in_sync: at eni-b
          => record 100
          => look at 104
        ",
    );
}

#[test]
fn a_restarted_daemon_remembers_that_its_claim_is_over() {
    check(
        "elastic_ip",
        "
        100 leader@100
        107 see elastic_ip=eni-b a=100 b=106
        108 restart
          => superseded by i-b 106
          => elastic_ip unknown: not read yet
        109 see elastic_ip=absent a=100
          => superseded by i-b 106
          => elastic_ip in_sync: not here
          => look at 111
        ",
    );
}

#[test]
fn a_restarted_daemon_restores_only_what_is_free() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        110 restart
        111 see elastic_ip=absent a=100
          => elastic_ip restore [absent]: associate eipalloc-1 with eni-a at 10.0.0.9, only if it is free
        ",
    );
}

#[test]
fn a_new_claim_takes_what_an_older_one_took_a_moment_ago_and_lost() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        101 see elastic_ip=eni-b a=100
          => elastic_ip waiting: change accepted, not seen yet
        102 leader@102
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 102
        ",
    );
}

#[test]
fn old_claims_are_forgotten_one_by_one_once_the_newest_has_held_for_an_hour() {
    check(
        "elastic_ip",
        "
        100 leader@100
        101 see elastic_ip=here a=100 b=80 c=0
        3699 see elastic_ip=here a=100 b=80 c=0
          => elastic_ip in_sync: at eni-a 10.0.0.9
        3700 see elastic_ip=here a=100 b=80 c=0
          => elastic_ip in_sync: at eni-a 10.0.0.9
          => forget vipkeeper/20.0.0.50/i-b = '80000 1970-01-01T00:01:20Z' on eipalloc-1
        3701 accept
          => elastic_ip in_sync: at eni-a 10.0.0.9
        3705 see elastic_ip=here a=100 b=80 c=0
          => elastic_ip in_sync: at eni-a 10.0.0.9
        3710 see elastic_ip=here a=100 c=0
          => elastic_ip in_sync: at eni-a 10.0.0.9
          => forget vipkeeper/20.0.0.50/i-c = '0 withdrawn' on eipalloc-1
        3720 see elastic_ip=here a=100
          => elastic_ip in_sync: at eni-a 10.0.0.9
        ",
    );
}

#[test]
fn nothing_is_forgotten_while_a_newer_claim_or_no_claim_of_this_node_is_on_record() {
    check(
        "elastic_ip",
        "
        100 leader@100
        101 see elastic_ip=here a=100 b=80
        3800 see elastic_ip=here b=80
          => elastic_ip in_sync: at eni-a 10.0.0.9
          => record 100
        3900 see elastic_ip=eni-b a=100 b=3890
          => superseded by i-b 3890
          => elastic_ip in_sync: at eni-b
          => look at 3902
        ",
    );
}

#[test]
fn a_restarted_daemon_that_remembers_nothing_finds_its_term_in_its_own_tag() {
    // Raised over what a predecessor left, whose clock was ahead.
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        101 see elastic_ip=here:1 a=100 b=103
        101.2 accept
        300 forgetful-restart
          => elastic_ip waiting: looking for a newer claim before taking
        301 see elastic_ip=here:1 a=103+1 b=103
          => elastic_ip in_sync: at eni-a 10.0.0.9
        ",
    );
    // While the claim is young, too: nothing is written before the look, and an early look may not show the tag yet.
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        101 see elastic_ip=here:1 a=100 b=103
        101.2 accept
        102 forgetful-restart
          => elastic_ip waiting: looking for a newer claim before taking
        103 see elastic_ip=here:1 a=100 b=103
          => superseded by i-b 103
          => elastic_ip waiting: looking once more before giving it up
          => look at 105
        108 see elastic_ip=here:1 a=103+1 b=103
          => elastic_ip in_sync: at eni-a 10.0.0.9
        ",
    );
    // A claim that is superseded indeed gives up what points here with the look that tells so for certain.
    check(
        "elastic_ip",
        "
        100 leader@100
        102 forgetful-restart
        103 see elastic_ip=here:1 a=100 b=103
          => superseded by i-b 103
          => elastic_ip waiting: looking once more before giving it up
          => look at 105
        107 see elastic_ip=here:1 a=100 b=103
          => superseded by i-b 103
          => elastic_ip release: release eipalloc-1 by eipassoc-1
          => look at 109
        ",
    );
    // Of an earlier claim it tells nothing.
    check(
        "elastic_ip",
        "
        100 leader@100
        200 forgetful-restart
        201 see elastic_ip=eni-b a=90 b=103
          => superseded by i-b 103
          => elastic_ip in_sync: at eni-b
          => look at 203
        206 see elastic_ip=eni-b a=90 b=103
          => superseded by i-b 103
          => elastic_ip in_sync: at eni-b
          => record 100
          => look at 208
        ",
    );
}

#[test]
fn a_claim_that_is_remembered_does_not_take_the_term_of_its_own_tag() {
    check(
        "elastic_ip",
        "
        98 see elastic_ip=here:1 a=110 b=90
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=110 b=90
          => elastic_ip in_sync: at eni-a 10.0.0.9
          => record 110+1
        ",
    );
}

#[test]
fn a_claim_of_the_moment_at_which_the_daemon_started_is_its_own_and_fresh() {
    check(
        "elastic_ip",
        "
        100 forgetful-restart
        100 leader@100
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 100
        ",
    );
}

#[test]
fn a_term_too_far_ahead_is_no_claim_and_is_not_remembered() {
    // Five minutes are plausible, a millisecond more is not.
    check(
        "elastic_ip",
        "
        99 see elastic_ip=eni-b b=399.001
        100 leader@100
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 100
        ",
    );
    check(
        "elastic_ip",
        "
        99 see elastic_ip=eni-b b=399
        99.5 see elastic_ip=eni-b claims=none
        100 leader@100
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 100
        101 see elastic_ip=here:1 a=100 b=500
          => elastic_ip in_sync: at eni-a 10.0.0.9
        ",
    );
}

#[test]
fn while_another_nodes_term_is_implausible_nothing_is_taken_back_by_force() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100 b=9999
          => elastic_ip in_sync: at eni-a 10.0.0.9
        120 see elastic_ip=eni-b a=100 b=9999
        130 see elastic_ip=eni-b a=100 b=9999
          => elastic_ip blocked [elsewhere]: points at eni-b, and this node's claim is not on record: without a record nothing is taken back
        140 see elastic_ip=absent a=100 b=9999
          => elastic_ip restore [absent]: associate eipalloc-1 with eni-a at 10.0.0.9, only if it is free
        ",
    );
}

#[test]
fn a_claim_whose_hook_ran_by_a_wrong_clock_counts_by_the_right_one() {
    // The hook's clock was a day ahead; the daemon's is right again.
    check(
        "elastic_ip",
        "
        100 leader@86500
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 100
        ",
    );
    // Eleven minutes may come from a term that was raised, a millisecond more comes from a wrong clock.
    check(
        "elastic_ip",
        "
        100 leader@760
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 760
        ",
    );
    check(
        "elastic_ip",
        "
        100 leader@760.001
          => elastic_ip take: associate eipalloc-1 with eni-a at 10.0.0.9
          => record 100
        ",
    );
    // Its own tag of then is no claim either, and is written anew.
    check(
        "elastic_ip",
        "
        100 leader@86500
        100.2 accept
        106 see elastic_ip=here:1 a=86500
          => elastic_ip in_sync: at eni-a 10.0.0.9
          => record 100
        110 standby
          => elastic_ip release: release eipalloc-1 by eipassoc-1
          => record 0
        ",
    );
}
