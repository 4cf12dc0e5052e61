//! A node that does not lead releases its own bindings and touches nothing else.

use crate::script::check;

#[test]
fn a_standby_releases_each_kind_in_its_own_way() {
    check(
        "elastic_ip, route, secondary_ip, local_address, source_dest_check",
        "
        100 standby
        101 see elastic_ip=here:7 route=here secondary_ip=here local_address=here source_dest_check=here
          => elastic_ip release: release eipalloc-1 by eipassoc-7
          => route in_sync: kept until the successor replaces it
          => secondary_ip release: unassign 10.0.0.50 from eni-a
          => local_address release: remove 20.0.0.50 from eth0
          => source_dest_check in_sync: off on eni-a
        ",
    );
}

#[test]
fn a_standby_removes_the_address_in_every_form() {
    check(
        "local_address",
        "
        100 standby
        101 see local_address=20.0.0.50/24@eth0
          => local_address release: remove 20.0.0.50/24 from eth0
        102 see local_address=20.0.0.50/32@eth0,20.0.0.50/24@eth0,20.0.0.50/32@eth1
          => local_address release: remove 20.0.0.50/24 from eth0 and 20.0.0.50 from eth0 and 20.0.0.50 from eth1
        103 see local_address=20.0.0.50/32@ens5~
          => local_address release: remove 20.0.0.50 from ens5
        104 see local_address=absent
          => local_address in_sync: not here
        ",
    );
}

#[test]
fn what_a_standby_does_not_remove_although_the_kernel_answers_is_never_in_sync() {
    check(
        "local_address",
        "
        100 standby
        101 see local_address=by:lo
          => local_address blocked: on no interface, but the kernel answers by the route local 20.0.0.0/24 dev lo
        102 see local_address=20.0.0.50/24@eth0!
          => local_address blocked: the kernel still answers by 20.0.0.50/24 on eth0, which is kept: the kernel would remove the route default along with it
        103 see local_address=20.0.0.50/24@eth0!,20.0.0.50/32@eth1
          => local_address release: remove 20.0.0.50 from eth1
        103.1 accept
        103.2 see local_address=20.0.0.50/24@eth0!
          => local_address blocked: the kernel still answers by 20.0.0.50/24 on eth0, which is kept: the kernel would remove the route default along with it
        ",
    );
}

#[test]
fn a_leader_adds_no_second_form_of_its_address_and_adds_a_silent_one_anew() {
    check(
        "local_address",
        "
        100 leader@100
        100.2 accept
        101 see local_address=20.0.0.50/24@eth0
          => local_address in_sync: as 20.0.0.50/24 on eth0
        102 see local_address=20.0.0.50/32@eth1
          => local_address in_sync: as 20.0.0.50/32 on eth1
        103 see local_address=20.0.0.50/24@eth1,20.0.0.50/32@eth0
          => local_address in_sync: on eth0
        104 see local_address=by:lo
          => local_address in_sync: by the route local 20.0.0.0/24 dev lo
        105 see local_address=20.0.0.50/32@eth0~
          => local_address restore [absent]: add 20.0.0.50 to eth0
        105.1 accept
        105.2 see local_address=20.0.0.50/32@eth0~
          => local_address drift [absent]: gone again soon after it was brought back; waiting before putting it back
          => look at 110.1
        ",
    );
}

#[test]
fn a_leader_whose_guard_died_is_a_standby() {
    check(
        "elastic_ip, local_address",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 local_address=here a=100
        110 guard-dead
          => elastic_ip release: release eipalloc-1 by eipassoc-1
          => local_address release: remove 20.0.0.50 from eth0
          => record 0
        ",
    );
}

#[test]
fn a_superseded_leader_releases_what_is_its_own() {
    check(
        "elastic_ip, secondary_ip, local_address",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 secondary_ip=here local_address=here a=100
        120 see elastic_ip=eni-b secondary_ip=here a=100 b=115
          => superseded by i-b 115
          => elastic_ip in_sync: at eni-b
          => secondary_ip release: unassign 10.0.0.50 from eni-a
          => local_address release: remove 20.0.0.50 from eth0
          => look at 122
        ",
    );
}

#[test]
fn a_standby_touches_nothing_that_points_elsewhere() {
    check(
        "elastic_ip, route delete, secondary_ip, local_address, source_dest_check",
        "
        100 standby
        101 see elastic_ip=eni-b route=eni-b secondary_ip=eni-b local_address=absent source_dest_check=here b=90
          => elastic_ip in_sync: at eni-b
          => route in_sync: at eni-b
          => secondary_ip in_sync: at eni-b
          => local_address in_sync: not here
          => source_dest_check in_sync: off on eni-a
        140 see route=eni-b! b=90
          => elastic_ip in_sync: at eni-b
          => route in_sync: at eni-b (blackhole)
          => secondary_ip in_sync: at eni-b
          => local_address in_sync: not here
          => source_dest_check in_sync: off on eni-a
        ",
    );
}

#[test]
fn a_standby_keeps_the_source_destination_check_off_but_a_node_without_a_hook_does_not() {
    check(
        "source_dest_check",
        "
        100 see source_dest_check=absent
          => source_dest_check in_sync: on; left alone
        101 standby
          => source_dest_check prepare: switch the source/destination check of eni-a off
        101.2 accept
          => source_dest_check in_sync: off on eni-a
        107 see source_dest_check=here
          => source_dest_check in_sync: off on eni-a
        200 see source_dest_check=absent
          => source_dest_check prepare: switch the source/destination check of eni-a off
        ",
    );
    check(
        "elastic_ip, source_dest_check",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 source_dest_check=here a=100
        120 see elastic_ip=eni-b source_dest_check=absent a=100 b=115
          => superseded by i-b 115
          => elastic_ip in_sync: at eni-b
          => source_dest_check prepare: switch the source/destination check of eni-a off
          => look at 122
        ",
    );
}

#[test]
fn an_elastic_ip_is_released_by_the_association_that_was_just_made() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        101 standby
          => elastic_ip release: release eipalloc-1 by eipassoc-1
        ",
    );
}

#[test]
fn an_elastic_ip_without_an_association_id_is_not_released() {
    check(
        "elastic_ip",
        "
        100 standby
        101 see elastic_ip=here
          => elastic_ip waiting: points here without an association id to release it by
        ",
    );
}

#[test]
fn a_released_binding_is_believed_gone_until_that_has_settled() {
    check(
        "elastic_ip",
        "
        100 standby
        101 see elastic_ip=here:7
        101.2 accept
        102 see elastic_ip=here:7
          => elastic_ip in_sync: not here
        106.2 see elastic_ip=here:7
          => elastic_ip release [here]: release eipalloc-1 by eipassoc-7
        ",
    );
}

#[test]
fn what_comes_back_to_a_standby_uncalled_is_drift() {
    check(
        "elastic_ip",
        "
        100 standby
        101 see elastic_ip=eni-b
        120 see elastic_ip=here:7
          => elastic_ip release [here]: release eipalloc-1 by eipassoc-7
        ",
    );
}

#[test]
fn a_route_is_deleted_half_a_minute_after_its_node_stood_down_where_that_is_wanted() {
    check(
        "route delete",
        "
        100 leader@100
        100.2 accept
        106 see route=here a=100
        120 standby
        121 see route=here a=0
          => route waiting: points here, to be deleted soon
          => look at 150
        149 see route=here a=0
          => route waiting: points here, to be deleted soon
          => look at 150
        150 see route=here a=0
          => route release: delete route 20.0.0.50/32 in rtb-1 if it still points at eni-a
        ",
    );
}

#[test]
fn a_route_of_a_superseded_leader_is_deleted_in_the_same_way() {
    check(
        "route delete",
        "
        100 leader@100
        100.2 accept
        120 see route=here a=100 b=115
          => superseded by i-b 115
          => route waiting: points here, to be deleted soon
          => look at 122
        150 see route=here a=100 b=115
          => superseded by i-b 115
          => route release: delete route 20.0.0.50/32 in rtb-1 if it still points at eni-a
          => look at 152
        ",
    );
}

#[test]
fn nobody_said_anything_so_nothing_is_touched() {
    check(
        "elastic_ip, route delete, secondary_ip, local_address",
        "
        100 see elastic_ip=here:7 route=here secondary_ip=absent local_address=eni-b a=90
          => elastic_ip blocked: points here, but no hook has said who leads: left alone
          => route blocked: points here, but no hook has said who leads: left alone
          => secondary_ip in_sync: not here
          => local_address in_sync: at eni-b
        ",
    );
}

#[test]
fn a_node_that_never_led_is_at_rest_however_its_check_is_set() {
    for (check_is, detail) in [("here", "off on eni-a"), ("absent", "on; left alone")] {
        check(
            "elastic_ip, route, source_dest_check",
            &format!(
                "
                100 see elastic_ip=eni-b route=eni-b source_dest_check={check_is} b=90
                  => elastic_ip in_sync: at eni-b
                  => route in_sync: at eni-b
                  => source_dest_check in_sync: {detail}
                "
            ),
        );
    }
}

#[test]
fn a_leader_whose_file_became_unusable_for_good_leaves_all_as_it_is() {
    check(
        "elastic_ip",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        110 unknown
          => elastic_ip blocked: points here, but no hook has said who leads: left alone
        120 see elastic_ip=eni-x a=100
          => elastic_ip in_sync: at eni-x
        ",
    );
}
