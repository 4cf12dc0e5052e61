//! Real Pgpool-II, real PostgreSQL and the installed program on three machines made of namespaces, with an EC2 whose
//! state is true for packets; and a client that sees what clients see.
//!
//! `VIPKEEPER_LAB=full cargo test --test lab -- --nocapture --test-threads 1` plays every scenario for every method;
//! without it (or with `short`) those that no release should go without. Needs root and the packages postgresql,
//! pgpool2, iproute2, iputils-ping and nftables; Prometheus watches where it is installed.
//!
//! | variable | |
//! |---|---|
//! | `VIPKEEPER_LAB=guide` | vipkeeper and the scripts of Pgpool's guide side by side, and nothing else |
//! | `VIPKEEPER_LAB_REPORT=docs/lab` | where the report goes; without it, into the build's folder |
//! | `VIPKEEPER_LAB_EC2=moto` | the walkthrough with moto's server as EC2 |
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, wait, and look at its environment; what reads well counts more than its form"
)]
#![cfg(feature = "aws")]

#[path = "lab/client.rs"]
mod client;
#[path = "lab/cluster.rs"]
mod cluster;
#[path = "lab/guide.rs"]
mod guide;
#[path = "lab/keeper.rs"]
mod keeper;
#[path = "lab/machine.rs"]
mod machine;
#[path = "lab/moto.rs"]
mod moto;
#[path = "lab/plane.rs"]
mod plane;
#[path = "lab/prometheus.rs"]
mod prometheus;
#[path = "lab/recorder.rs"]
mod recorder;
#[path = "lab/report.rs"]
mod report;
#[path = "lab/scenarios.rs"]
mod scenarios;
#[path = "lab/signals.rs"]
mod signals;
#[path = "lab/software.rs"]
mod software;
#[path = "lab/svg.rs"]
mod svg;
#[path = "lab/timeline.rs"]
mod timeline;
#[path = "lab/tools.rs"]
mod tools;
#[path = "lab/vpc.rs"]
mod vpc;

use scenarios::Scenario;
use vpc::Method;

macro_rules! both_methods {
    ($($test:ident: $scenario:ident,)*) => {
        mod elastic_ip {
            $(#[test]
            fn $test() {
                let scenario: super::Scenario = super::scenarios::$scenario;
                scenario.play(super::Method::ElasticIp);
            })*
        }
        mod route {
            $(#[test]
            fn $test() {
                let scenario: super::Scenario = super::scenarios::$scenario;
                scenario.play(super::Method::Route);
            })*
        }
    };
}

both_methods! {
    the_guides_walkthrough: WALKTHROUGH,
    all_of_pgpool_is_killed: KILLED,
    all_of_pgpool_hangs: FROZEN,
    the_daemon_dies_before_pgpool: DAEMON_KILLED,
    a_late_down_of_the_old_leader: LATE_DOWN,
    the_leader_is_cut_off_from_its_peers: CUT_OFF,
    the_leader_reboots: REBOOTED,
    ec2_throttles_at_failover: THROTTLED,
}
