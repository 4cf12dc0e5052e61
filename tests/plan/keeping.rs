//! The time for which a former leader keeps its bindings for a successor. tests/daemon/keeping.rs plays who ends that time.

use crate::script::check;

#[test]
fn what_is_kept_is_kept_for_fifteen_seconds_at_most() {
    check(
        "elastic_ip, keeps after guard",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        120 see elastic_ip=here:1 a=100
        120 guard-dead
          => elastic_ip waiting: points here, kept until a successor claims it: Pgpool still serves
          => record 0
          => look at 121
        120.2 accept
        127 see elastic_ip=here:1 a=-100
        134.9 see elastic_ip=here:1 a=-100
          => elastic_ip waiting: points here, kept until a successor claims it: Pgpool still serves
          => look at 135
        135
          => elastic_ip release: release eipalloc-1 by eipassoc-1
        ",
    );
}

#[test]
fn nothing_is_kept_for_more_than_eight_seconds_after_the_last_look_at_the_record() {
    check(
        "elastic_ip, keeps after guard",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        120 guard-dead
        120.2 accept
        121 see elastic_ip=here:1 a=-100
        128.9
          => elastic_ip waiting: points here, kept until a successor claims it: Pgpool still serves
          => look at 122
        129
          => elastic_ip release: release eipalloc-1 by eipassoc-1
        ",
    );
}

#[test]
fn after_a_down_the_watchdogs_word_is_waited_for_no_longer_than_a_second() {
    check(
        "elastic_ip, keeps always",
        "
        100 leader@100
        100.2 accept
        106 see elastic_ip=here:1 a=100
        120 see elastic_ip=here:1 a=100
        120 standby
        120.2 accept
        120.9
          => elastic_ip waiting: points here, kept until a successor claims it: Pgpool still serves
          => look at 121
        121
          => elastic_ip release: release eipalloc-1 by eipassoc-1
        ",
    );
}
