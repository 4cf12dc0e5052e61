//! Real Pgpool-II, real PostgreSQL and the installed program on three machines made of namespaces, with an EC2 whose
//! state is true for packets; and a client that sees what clients see.
//!
//! `cargo test --test lab -- --nocapture --test-threads 1` plays the short set, in which every scenario that no change
//! should go without has its turn for one method at least; `VIPKEEPER_LAB=full` plays every scenario for every method,
//! and `VIPKEEPER_LAB_RUNS=5` each one five times. Needs the packages postgresql, pgpool2, iproute2, iputils-ping and
//! nftables, and root, or to be run by `unshare --user --map-root-user --map-auto` (packages uidmap and util-linux).
//! Prometheus watches where it is installed.
//!
//! Three more machines boot Debian with systemd, install vipkeeper's package and go through an operator's day by the lines of
//! the README, in English or in Japanese (`cargo test --test lab -- --nocapture booted`). This needs systemd-container,
//! cargo-deb, cargo-generate-rpm and lintian, and the root that `tests/machine-root` makes.
//!
//! | variable | |
//! |---|---|
//! | `VIPKEEPER_LAB=guide` | vipkeeper and the scripts of Pgpool's guide side by side, and nothing else |
//! | `VIPKEEPER_LAB=settings` | settings of Pgpool's watchdog side by side, and nothing else |
//! | `VIPKEEPER_LAB_SETTINGS='deadtime 2,./my.conf'` | with it: these alone, by name (docs/lab/settings.md), or as a file with lines of pgpool.conf |
//! | `VIPKEEPER_LAB_DEEDS=Stopped,Killed` | with it: these deeds alone; besides, `Hung`, `CutOff`, `KilledHigherLate` and `KilledLowerLate`. With `guide`: these failures alone; besides, `WatchdogKilled`, `Hung`, `Throttled`, `LateDown` and `CutOff` |
//! | `VIPKEEPER_LAB_MINUTES=30` | with it: so long packets are lost, in `pgpool_settings_under_loss` |
//! | `VIPKEEPER_LAB_AT_ONCE=4` | so many labs at the same time, with `--test-threads 4`; a core carries two or three |
//! | `VIPKEEPER_LAB_REPORT=docs/lab` | where the report goes; without it, into the build's folder |
//! | `VIPKEEPER_LAB_GO_ON=yes` | plays only what an earlier, interrupted report lacks, and finishes that |
//! | `VIPKEEPER_LAB_DASHBOARD=docs/dashboard.svg` | rows of the dashboard are drawn into this file at the end of each play; so name one play (README's is `elastic_ip::ec2_throttles_at_failover`) |
//! | `VIPKEEPER_LAB_EC2=moto` | the walkthrough with moto's server as EC2 |
//! | `VIPKEEPER_LAB_PGPOOL=trixie,sid` | Pgpool-II and PostgreSQL of these Debian suites, which `tests/pgpool-suite` unpacks; `here` is this machine's own |
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, wait, and look at its environment; what reads well counts more than its form"
)]
#![cfg(feature = "aws")]

#[path = "lab/alerts.rs"]
mod alerts;
#[expect(dead_code, reason = "another test makes Grafana's document")]
#[path = "dashboards/board.rs"]
mod board;
#[path = "lab/booted/mod.rs"]
mod booted;
#[path = "lab/client.rs"]
mod client;
#[path = "lab/cluster.rs"]
mod cluster;
#[path = "lab/dashboard.rs"]
mod dashboard;
#[path = "lab/guide.rs"]
mod guide;
#[path = "lab/held.rs"]
mod held;
#[path = "lab/keeper.rs"]
mod keeper;
#[path = "lab/machine.rs"]
mod machine;
#[path = "lab/moto.rs"]
mod moto;
#[path = "dashboards/panels.rs"]
mod panels;
#[path = "lab/permissions.rs"]
mod permissions;
#[path = "lab/plane.rs"]
mod plane;
#[path = "lab/prometheus.rs"]
mod prometheus;
#[path = "lab/recorder.rs"]
mod recorder;
#[path = "lab/report.rs"]
mod report;
#[path = "lab/resolver.rs"]
mod resolver;
#[path = "lab/scenarios/mod.rs"]
mod scenarios;
#[path = "lab/settings/mod.rs"]
mod settings;
#[path = "lab/signals.rs"]
mod signals;
#[path = "lab/software.rs"]
mod software;
#[path = "lab/suite.rs"]
mod suite;
#[path = "lab/svg.rs"]
mod svg;
#[path = "lab/timeline.rs"]
mod timeline;
#[path = "lab/tools.rs"]
mod tools;
#[path = "support/unshare.rs"]
mod unshare;
#[path = "lab/vpc.rs"]
mod vpc;

use scenarios::{Scenario, clock, daemon, ec2, hand, network, pgpool, probes, setups};
use vpc::Method;

macro_rules! every_method {
    ($($test:ident: $scenario:path,)*) => {
        every_method! { elastic_ip ElasticIp: $($test: $scenario,)* }
        every_method! { route Route: $($test: $scenario,)* }
        every_method! { secondary_ip SecondaryIp: $($test: $scenario,)* }
    };
    ($module:ident $method:ident: $($test:ident: $scenario:path,)*) => {
        mod $module {
            use super::*;

            $(#[test]
            fn $test() {
                let scenario: Scenario = $scenario;
                scenario.play(Method::$method);
            })*
        }
    };
}

every_method! {
    the_guides_walkthrough: pgpool::WALKTHROUGH,
    all_of_pgpool_is_killed: pgpool::KILLED,
    all_of_pgpool_hangs: pgpool::HANGS,
    a_late_down_of_the_old_leader: pgpool::LATE_DOWN,
    up_overtakes_down_on_one_node: pgpool::OVERLAPPING,
    the_quorum_is_lost_and_found: pgpool::QUORUM,
    two_failovers_at_once: pgpool::TWICE,
    the_leader_reboots: pgpool::REBOOT,
    the_daemon_dies_before_pgpool: daemon::KILLED,
    the_daemon_is_down_during_the_hook: daemon::DOWN_DURING_HOOK,
    the_disk_is_full: daemon::DISK_FULL,
    no_hook_can_write: daemon::HOOKS_LOST,
    the_leader_is_cut_off_from_its_peers: network::FROM_PEERS,
    the_leader_is_cut_off_from_ec2: network::FROM_EC2,
    the_leader_is_cut_off_from_both: network::FROM_BOTH,
    the_standbys_are_cut_off_from_ec2: network::SUCCESSORS_FROM_EC2,
    ec2_throttles_at_failover: ec2::THROTTLED,
    ec2_denies_at_failover: ec2::DENIED,
    ec2_fails_at_failover: ec2::FAILING,
    ec2_resets_connections_at_failover: ec2::RESETTING,
    ec2_is_slow_at_failover: ec2::SLOW,
    every_binding_is_changed_by_hand: hand::DRIFT,
    another_tool_keeps_taking_the_vip: hand::THIEF,
    the_successors_clock_is_behind: clock::BEHIND,
    a_leaders_clock_is_ahead: clock::AHEAD,
    two_nodes_with_half_votes: setups::HALF_VOTES,
    the_third_node_never_started: setups::NEVER_STARTED,
    the_lifecheck_asks_by_queries: setups::BY_QUERY,
    the_trusted_servers_are_lost: setups::NOBODY_TO_TRUST,
    the_resolver_is_silent: setups::NO_RESOLVER,
    vipkeeper_is_upgraded: setups::UPGRADED,
    pgpool_is_upgraded: setups::PGPOOL_UPGRADED,
    pgpool_is_stopped_smartly: setups::STOPPED_SMARTLY,
}

/// One scenario for each method.
mod on_the_newest_pgpool {
    use super::*;

    #[test]
    fn elastic_ip() {
        pgpool::WALKTHROUGH.play_on_newest(Method::ElasticIp);
    }

    #[test]
    fn route() {
        pgpool::KILLED.play_on_newest(Method::Route);
    }

    #[test]
    fn secondary_ip() {
        pgpool::WALKTHROUGH.play_on_newest(Method::SecondaryIp);
    }
}

// An Elastic IP is asked over the Internet, and the lab's nodes have no way there.
every_method! {
    probed_routes Route:
    changes_are_carried_at_once: probes::CARRIED_AT_ONCE,
    changes_are_carried_after_1_s: probes::CARRIED_AFTER_1_S,
    changes_are_carried_after_5_s: probes::CARRIED_AFTER_5_S,
    a_route_table_is_forgotten: probes::FORGOTTEN,
}
every_method! {
    probed_secondary_ip SecondaryIp:
    changes_are_carried_at_once: probes::CARRIED_AT_ONCE,
    changes_are_carried_after_1_s: probes::CARRIED_AFTER_1_S,
    changes_are_carried_after_5_s: probes::CARRIED_AFTER_5_S,
}

every_method! { eight_routes Route: ec2_throttles_at_failover: ec2::THROTTLED_WITH_8_TABLES, }
