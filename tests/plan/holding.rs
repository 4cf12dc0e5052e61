//! An operator's hold: the changes that it forbids, those that it lets happen, and its end.

use crate::script::check;

#[test]
fn a_leader_that_is_held_changes_nothing_and_tells_why() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        110 hold 600
          => elastic_ip in_sync: at eni-a 10.0.0.9
          => look at 710
        120 see elastic_ip=eni-x a=100
          => elastic_ip drift [elsewhere]: points at eni-x; looking twice before taking it back
          => look at 125
        125 see elastic_ip=eni-x a=100
          => elastic_ip blocked [elsewhere]: held, so nothing is done; without the hold: points at eni-x, taking it back
          => look at 710
        709.9 see elastic_ip=eni-x a=100
          => elastic_ip blocked [elsewhere]: held, so nothing is done; without the hold: points at eni-x, taking it back
          => look at 710
        710
          => elastic_ip retake [elsewhere]: associate eipalloc-1 with eni-a at 10.0.0.9
        ",
    );
    check(
        "local_address",
        "
        100 leader@100
        100.2 accept
        106 see local_address=20.0.0.50/32@eth0 a=100
        110 hold 600
        120 see local_address=20.0.0.50/32@eth0~ a=100
          => local_address blocked [absent]: held, so nothing is done; without the hold: on an interface, but duplicate address detection keeps the kernel from answering; adding it anew
          => look at 710
        130 see local_address=absent a=100
          => local_address blocked [absent]: held, so nothing is done; without the hold: gone, putting it back
          => look at 710
        ",
    );
}

#[test]
fn a_hold_keeps_old_claims_from_being_forgotten() {
    check(
        "elastic_ip",
        "
        100 leader@100
        101 see elastic_ip=here a=100 b=80
        3690 hold 600
        3700 see elastic_ip=here a=100 b=80
          => elastic_ip in_sync: at eni-a 10.0.0.9
          => look at 4290
        4290
          => elastic_ip in_sync: at eni-a 10.0.0.9
          => forget vipkeeper/20.0.0.50/i-b = '80000 1970-01-01T00:01:20Z' on eipalloc-1
        ",
    );
}

#[test]
fn a_down_under_a_hold_releases_and_withdraws_and_changes_nothing_else() {
    check(
        "elastic_ip, source_dest_check",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 source_dest_check=here a=100
        110 hold 600
        120 see elastic_ip=here:1 source_dest_check=absent a=100
        121 standby
          => elastic_ip release: release eipalloc-1 by eipassoc-1
          => source_dest_check blocked: held, so nothing is done; without the hold: on; switching it off, so that a takeover need not
          => record 0
          => look at 710
        ",
    );
}

#[test]
fn under_a_strict_hold_a_down_changes_nothing_on_record_either() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        110 hold 600 strict
        121 standby
          => elastic_ip blocked: held, so nothing is done; without the hold: points here, releasing
          => look at 710
        710
          => elastic_ip release: release eipalloc-1 by eipassoc-1
          => record 0
        ",
    );
}

#[test]
fn a_node_that_stood_by_before_the_hold_withdraws_nothing_until_it_ends() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        120 standby
        121 hold 600
          => elastic_ip blocked: held, so nothing is done; without the hold: points here, releasing
          => look at 721
        721
          => elastic_ip release: release eipalloc-1 by eipassoc-1
          => record 0
        ",
    );
}
