//! The alerts in time: for each course of events, exactly which alerts fire at which minute.

use std::collections::BTreeSet;

use serde_json::json;

use super::cluster::{Cluster, between, counted, except, of_vip};
use super::rules::alerts;
use super::{assert_accepts, promtool, read};

const ROLE: &str = "vipkeeper_desired_role";
const DRIFT: &str = "vipkeeper_drift_total";

/// A course of events, and the alerts that fire at some minutes of it, without `Vipkeeper` in front. At the minutes in
/// between nothing is said.
struct Case {
    name: &'static str,
    minutes: u32,
    step_s: u32,
    evaluated_each_s: u32,
    events: fn(&mut Cluster),
    firing: &'static [(f64, &'static [&'static str])],
}

/// A case of a hundred minutes, scraped each 30 s. Where something is wrong, it is so from minute 20 on.
const fn case(name: &'static str, events: fn(&mut Cluster), firing: &'static [(f64, &'static [&'static str])]) -> Case {
    Case { name, minutes: 100, step_s: 30, evaluated_each_s: 30, events, firing }
}

/// `b` takes the VIP from `a` at this minute, as Pgpool asked.
fn take_over(cluster: &mut Cluster, at: f64) {
    let from = move |minute: f64| f64::from(u8::from(minute >= at));
    let until = move |minute: f64| 1.0 - from(minute);
    let (leader, standby) = (of_vip("role=\"leader\""), of_vip("role=\"standby\""));
    cluster.set("a", ROLE, &leader, until);
    cluster.set("a", ROLE, &standby, from);
    cluster.set("b", ROLE, &leader, from);
    cluster.set("b", ROLE, &standby, until);
    for name in ["vipkeeper_claim_recorded", "vipkeeper_guard_alive"] {
        cluster.set("a", name, &of_vip(""), until);
        cluster.set("b", name, &of_vip(""), from);
    }
    cluster.set("a", "vipkeeper_takeovers_total", &of_vip("direction=\"lost\""), counted(vec![at]));
    cluster.set("b", "vipkeeper_takeovers_total", &of_vip("direction=\"gained\""), counted(vec![at]));
    for bucket in ["1", "5", "10", "+Inf"] {
        let labels = of_vip(&format!("le=\"{bucket}\""));
        cluster.set("b", "vipkeeper_convergence_seconds_bucket", &labels, counted(vec![at]));
    }
    cluster.set("b", "vipkeeper_actions_total", &change("accepted"), counted(vec![at]));
}

fn change(outcome: &str) -> String {
    of_vip(&format!("kind=\"elastic_ip\", action=\"associate_address\", outcome=\"{outcome}\""))
}

/// By this node's probes, packets go astray from minute 20 to minute 40.
fn astray(cluster: &mut Cluster, node: &str, reason: &str) {
    let course = between(20.0, 40.0);
    let labels = of_vip(&format!("reason=\"{reason}\""));
    cluster.add(node, "vipkeeper_packets_astray", &labels, move |minute| Some(course(minute)));
}

/// The labels of a route's drift, when it points elsewhere.
fn elsewhere() -> String {
    of_vip("kind=\"route\", target=\"rtb-1\", reason=\"elsewhere\"")
}

/// A hold keeps this node from what it would do about its route between two minutes.
fn blocked_by_hold(cluster: &mut Cluster, node: &str, from: f64, to: f64) {
    let state = |state: &str| of_vip(&format!("kind=\"route\", target=\"rtb-1\", state=\"{state}\""));
    cluster.set(node, "vipkeeper_binding_state", &state("in_sync"), except(from, to));
    cluster.set(node, "vipkeeper_binding_state", &state("blocked"), between(from, to));
}

/// This source is not read from minute 20 to minute 40.
fn not_read(cluster: &mut Cluster, node: &str, source: &str) {
    let course = |minute: f64| 60.0 * if (20.0..40.0).contains(&minute) { 20.0 } else { minute };
    let name = "vipkeeper_last_successful_observation_timestamp_seconds";
    cluster.set(node, name, &format!("source=\"{source}\""), course);
}

/// Every quarter of a minute from this one to that one.
fn each_scrape(from: u32, to: u32) -> Vec<f64> {
    (from * 4..to * 4).map(|quarter| f64::from(quarter) / 4.0).collect()
}

const NOTHING_IS_WRONG: [Case; 11] = [
    case("nothing happens, and one node has never led", |_| {}, &[(1.0, &[]), (50.0, &[]), (99.0, &[])]),
    case(
        "claims are off on every node, and Pgpool hands over",
        |cluster| {
            take_over(cluster, 20.0);
            cluster.remove("vipkeeper_claim_recorded");
            cluster.remove("vipkeeper_claims_not_read");
        },
        &[(1.0, &[]), (25.0, &[]), (99.0, &[])],
    ),
    case(
        "the leader's daemon restarts",
        |cluster| cluster.silence("a", 20.0, 21.0),
        &[(20.5, &[]), (21.0, &[]), (22.0, &[]), (30.0, &[]), (99.0, &[])],
    ),
    case(
        "every node is upgraded",
        |cluster| {
            for (node, at) in [("a", 20.0), ("b", 25.0), ("c", 30.0)] {
                cluster.set(node, "vipkeeper_build_info", "version=\"1.0.0\"", except(at, 200.0));
                cluster.add(node, "vipkeeper_build_info", "version=\"1.1.0\"", move |now| (now >= at).then_some(1.0));
                cluster.silence(node, at, at + 0.5);
            }
        },
        &[(20.25, &[]), (27.0, &[]), (31.0, &[]), (99.0, &[])],
    ),
    case(
        "the leader's machine reboots, another node takes over, and EC2 throttles for ten seconds",
        |cluster| {
            take_over(cluster, 20.0);
            cluster.silence("a", 20.0, 21.75);
            cluster.set("b", "vipkeeper_ec2_throttled_total", "operation=\"ReplaceRoute\"", counted(vec![20.0; 9]));
        },
        &[(20.25, &[]), (20.5, &[]), (21.5, &[]), (22.0, &[]), (26.0, &[]), (60.0, &[]), (99.0, &[])],
    ),
    case(
        "Pgpool hands over from node to node",
        |cluster| take_over(cluster, 20.0),
        &[(20.25, &[]), (21.5, &[]), (25.0, &[]), (99.0, &[])],
    ),
    case(
        "a binding is changed by hand and put right",
        |cluster| {
            cluster.set("a", DRIFT, &elsewhere(), counted(vec![20.0]));
            let in_sync = of_vip("kind=\"route\", target=\"rtb-1\", state=\"in_sync\"");
            cluster.set("a", "vipkeeper_binding_state", &in_sync, except(20.0, 20.5));
        },
        &[(20.25, &[]), (21.0, &[]), (30.0, &[])],
    ),
    case(
        "somebody deletes the routes of six tables at once, three times within an hour",
        |cluster| {
            for table in 1..=6 {
                let labels = of_vip(&format!("kind=\"route\", target=\"rtb-1{table}\", reason=\"absent\""));
                let drifts = counted(vec![20.0, 30.0, 40.0]);
                cluster.add("a", DRIFT, &labels, move |minute| Some(drifts(minute)));
            }
        },
        &[(20.5, &[]), (30.5, &[]), (40.5, &[]), (60.0, &[]), (99.0, &[])],
    ),
    case(
        "a binding is taken twice from elsewhere and deleted once, within an hour",
        |cluster| {
            let deletion = counted(vec![25.0]);
            let absent = of_vip("kind=\"route\", target=\"rtb-1\", reason=\"absent\"");
            cluster.add("a", DRIFT, &absent, move |minute| Some(deletion(minute)));
            cluster.set("a", DRIFT, &elsewhere(), counted(vec![20.0, 30.0]));
        },
        &[(31.0, &[]), (60.0, &[]), (99.0, &[])],
    ),
    // Between two scrapes `increase` counts more than there was.
    Case {
        evaluated_each_s: 20,
        ..case(
            "a binding differs three times within an hour, and the VIP moves four times",
            |cluster| {
                let drifts = counted(vec![20.0, 21.0, 22.0]);
                cluster.set("a", DRIFT, &elsewhere(), drifts);
                for (node, times) in [("a", vec![20.0, 24.0]), ("b", vec![22.0, 26.0])] {
                    cluster.set(node, "vipkeeper_takeovers_total", &of_vip("direction=\"gained\""), counted(times));
                }
            },
            &[(23.0, &[]), (27.0, &[]), (60.0, &[]), (79.5, &[])],
        )
    },
    case(
        "a daemon that has only just started has read nothing yet",
        |cluster| {
            cluster.set("b", "vipkeeper_last_successful_observation_timestamp_seconds", "source=\"tags\"", |minute| {
                if (20.0..24.0).contains(&minute) { 0.0 } else { minute * 60.0 }
            });
            cluster.silence("b", 20.0, 20.5);
        },
        &[(21.0, &[]), (23.75, &[]), (30.0, &[])],
    ),
];

const SOMETHING_IS_WRONG: [Case; 16] = [
    case(
        "the leader stands by, and nobody takes over",
        |cluster| {
            cluster.set("a", ROLE, &of_vip("role=\"leader\""), except(20.0, 40.0));
            cluster.set("a", ROLE, &of_vip("role=\"standby\""), between(20.0, 40.0));
        },
        &[(20.5, &[]), (21.5, &["NoLeader"]), (39.0, &["NoLeader"]), (40.5, &[])],
    ),
    case(
        "a leader that was cut off does not know of its successor",
        |cluster| {
            cluster.set("b", ROLE, &of_vip("role=\"leader\""), between(20.0, 40.0));
            cluster.set("b", "vipkeeper_claim_recorded", &of_vip(""), between(20.0, 40.0));
            cluster.set("b", "vipkeeper_guard_alive", &of_vip(""), between(20.0, 40.0));
            cluster.set("a", "vipkeeper_claim_recorded", &of_vip(""), except(20.0, 40.0));
            cluster.set("a", "vipkeeper_superseded_total", &of_vip(""), counted(vec![20.0]));
        },
        &[
            (20.5, &["Superseded"]),
            (22.0, &["ClaimNotRecorded", "Superseded", "TwoLeaders"]),
            (41.0, &["Superseded"]),
            (85.0, &[]),
        ],
    ),
    case(
        "another tool takes the VIP again and again",
        |cluster| {
            let times = counted(vec![18.0, 19.0, 20.0, 21.0, 22.0]);
            cluster.set("a", DRIFT, &elsewhere(), times);
            cluster.set("a", "vipkeeper_contested", &of_vip(""), between(20.0, 40.0));
        },
        &[(19.5, &[]), (23.0, &["Contested", "DriftRepeated"]), (41.0, &["DriftRepeated"]), (90.0, &[])],
    ),
    case(
        "the leader's claim cannot be written",
        |cluster| cluster.set("a", "vipkeeper_claim_recorded", &of_vip(""), except(20.0, 40.0)),
        &[(20.5, &[]), (21.5, &["ClaimNotRecorded"]), (40.5, &[])],
    ),
    case(
        "the leader cannot tell whether its claim is on record",
        |cluster| {
            cluster.set("a", "vipkeeper_claim_recorded", &of_vip(""), except(20.0, 40.0));
            cluster.set("a", "vipkeeper_claims_not_read", &of_vip(""), between(20.0, 40.0));
        },
        &[(21.0, &[]), (23.0, &["ClaimsNotRead"]), (40.5, &[])],
    ),
    case(
        "a node cannot read the claims",
        |cluster| not_read(cluster, "b", "tags"),
        &[(24.0, &[]), (26.0, &["ClaimsNotRead"]), (41.0, &[])],
    ),
    case(
        "a node cannot read the route tables",
        |cluster| not_read(cluster, "b", "route_tables"),
        &[(24.0, &[]), (26.0, &["Ec2NotRead"]), (41.0, &[])],
    ),
    case(
        "credentials are not renewed",
        |cluster| {
            cluster.set("a", "vipkeeper_credentials_expiry_timestamp_seconds", "", |minute| {
                if minute < 80.0 { 3900.0 } else { 9000.0 }
            });
        },
        &[(61.5, &[]), (63.0, &["CredentialsEnd"]), (65.5, &[]), (68.0, &["CredentialsExpired"]), (80.5, &[])],
    ),
    case(
        "Pgpool elects again and again",
        |cluster| {
            for (node, times) in [("a", vec![20.0, 24.0, 28.0]), ("b", vec![22.0, 26.0, 30.0])] {
                cluster.set(node, "vipkeeper_takeovers_total", &of_vip("direction=\"gained\""), counted(times));
            }
        },
        &[(24.5, &[]), (35.0, &["Flapping"]), (95.0, &[])],
    ),
    case(
        "somebody claims the VIP by hand",
        |cluster| cluster.set("a", "vipkeeper_guard_alive", &of_vip(""), except(20.0, 40.0)),
        &[(29.0, &[]), (31.0, &["GuardMissing"]), (40.5, &[])],
    ),
    case(
        "a standby's daemon is down",
        |cluster| cluster.silence("b", 20.0, 30.0),
        &[(21.5, &[]), (23.0, &["Down"]), (30.5, &[])],
    ),
    case(
        "the leader's daemon is down",
        |cluster| cluster.silence("a", 20.0, 30.0),
        &[(20.5, &[]), (25.0, &["Down", "NoLeader"]), (30.5, &[])],
    ),
    case(
        "only the leader's daemon is left",
        |cluster| ["b", "c"].iter().for_each(|node| cluster.silence(node, 20.0, 30.0)),
        &[(21.5, &[]), (23.0, &["Down"]), (30.5, &[])],
    ),
    case(
        "a bad configuration ends every daemon, and Pgpool fails over",
        |cluster| {
            take_over(cluster, 25.0);
            for node in ["a", "b", "c"] {
                cluster.silence(node, 20.0, 30.0);
            }
        },
        &[(21.5, &[]), (23.0, &["AllDown", "Down"]), (29.5, &["AllDown", "Down"]), (30.5, &[])],
    ),
    case(
        "Prometheus' configuration loses the job",
        |cluster| cluster.forget(20.0, 40.0),
        &[(29.0, &[]), (31.0, &["Absent"]), (41.0, &[])],
    ),
    case(
        "a daemon ends again and again",
        |cluster| {
            let starts = counted(vec![20.0, 21.0, 22.0, 23.0, 24.0]);
            cluster.set("c", "process_start_time_seconds", "", move |minute| 60.0 * starts(minute));
        },
        &[(22.5, &[]), (25.0, &["Restarting"]), (90.0, &[])],
    ),
];

const SOMETHING_FAILS: [Case; 22] = [
    case(
        "a route points elsewhere",
        |cluster| {
            let in_sync = of_vip("kind=\"route\", target=\"rtb-1\", state=\"in_sync\"");
            cluster.set("a", "vipkeeper_binding_state", &in_sync, except(20.0, 40.0));
        },
        &[(20.5, &[]), (21.5, &["BindingNotInSync"]), (40.5, &[])],
    ),
    case(
        "a permission is missing",
        |cluster| cluster.set("a", "vipkeeper_actions_total", &change("denied"), counted(vec![20.0, 20.5, 21.0])),
        &[(19.5, &[]), (21.5, &["ChangeDenied"]), (32.0, &[])],
    ),
    case(
        "there is no room for a change",
        |cluster| cluster.set("a", "vipkeeper_actions_total", &change("rejected"), counted(vec![20.0, 20.5, 21.0])),
        &[(19.5, &[]), (21.5, &["ChangeRejected"]), (32.0, &[])],
    ),
    case(
        "EC2 throttles for twenty minutes",
        |cluster| {
            let times = counted(each_scrape(20, 40));
            cluster.set("b", "vipkeeper_ec2_throttled_total", "operation=\"ReplaceRoute\"", times);
        },
        &[(29.0, &[]), (32.0, &["Throttled"]), (50.0, &[])],
    ),
    case(
        "a hook is lost",
        |cluster| cluster.set("b", "vipkeeper_hook_lost", &of_vip(""), between(20.0, 40.0)),
        &[(20.5, &[]), (21.5, &["HookLost"]), (40.5, &[])],
    ),
    case(
        "nobody serves the VIP, as one node reads it",
        |cluster| cluster.set("b", "vipkeeper_nobody_serves", &of_vip(""), between(20.0, 40.0)),
        &[(19.5, &[]), (20.5, &["NobodyServes"]), (40.5, &[])],
    ),
    case(
        "a standby's probes are answered by a node that EC2 does not name, as one node's clients may be",
        |cluster| {
            astray(cluster, "b", "other_node");
            cluster.add("c", "vipkeeper_packets_astray", &of_vip("reason=\"other_node\""), |_| Some(0.0));
        },
        &[(20.5, &[]), (21.5, &["PacketsAstray"]), (40.5, &[])],
    ),
    case(
        "nobody answers a standby's probes",
        |cluster| astray(cluster, "b", "nobody"),
        &[(20.5, &[]), (21.5, &["PacketsAstray"]), (40.5, &[])],
    ),
    case(
        "an operator moves the VIP by hand, and holds it meanwhile",
        |cluster| {
            cluster.set("b", "vipkeeper_nobody_serves", &of_vip(""), between(20.0, 40.0));
            cluster.set("c", "vipkeeper_held", &of_vip(""), between(19.0, 30.0));
        },
        &[(20.5, &["Held"]), (29.5, &["Held"]), (30.5, &["NobodyServes"]), (40.5, &[])],
    ),
    case(
        "every node is held, and an operator moves the leader's route to a standby and back, again and again",
        |cluster| {
            for node in ["a", "b", "c"] {
                cluster.set(node, "vipkeeper_held", &of_vip(""), between(20.0, 40.0));
            }
            for node in ["a", "b"] {
                blocked_by_hold(cluster, node, 21.0, 40.0);
            }
            let moves = counted(vec![21.0, 23.0, 25.0, 27.0, 29.0]);
            cluster.set("a", DRIFT, &elsewhere(), moves);
        },
        &[(20.5, &["Held"]), (22.5, &["Held"]), (39.0, &["Held"]), (40.5, &[]), (60.0, &[]), (99.0, &[])],
    ),
    case(
        "every node is held, and Pgpool elects the standby to which an operator had led the clients",
        |cluster| {
            take_over(cluster, 25.0);
            for node in ["a", "b", "c"] {
                cluster.set(node, "vipkeeper_held", &of_vip(""), between(20.0, 40.0));
            }
            blocked_by_hold(cluster, "a", 21.0, 40.0);
            blocked_by_hold(cluster, "b", 21.0, 25.0);
            cluster.set("b", "vipkeeper_claim_recorded", &of_vip(""), between(40.25, 200.0));
        },
        &[(22.5, &["Held"]), (27.0, &["Held"]), (39.0, &["Held"]), (41.5, &[]), (99.0, &[])],
    ),
    case(
        "a leader is held while its route points elsewhere, and is no longer where the hold ends",
        |cluster| {
            cluster.set("a", "vipkeeper_held", &of_vip(""), between(20.0, 30.0));
            blocked_by_hold(cluster, "a", 21.0, 35.0);
        },
        &[(29.5, &["Held"]), (30.5, &[]), (31.5, &["BindingNotInSync"]), (35.5, &[])],
    ),
    case(
        "nobody leads, and two nodes lead, while every node is held",
        |cluster| {
            for node in ["a", "b", "c"] {
                cluster.set(node, "vipkeeper_held", &of_vip(""), between(20.0, 40.0));
            }
            cluster.set("a", ROLE, &of_vip("role=\"leader\""), except(22.0, 26.0));
            cluster.set("b", ROLE, &of_vip("role=\"leader\""), between(30.0, 34.0));
            cluster.set("b", "vipkeeper_guard_alive", &of_vip(""), between(30.0, 34.0));
            astray(cluster, "c", "nobody");
        },
        &[
            (24.0, &["Held", "NoLeader", "PacketsAstray"]),
            (32.0, &["Held", "PacketsAstray", "TwoLeaders"]),
            (40.5, &[]),
        ],
    ),
    case(
        "an operator holds the VIP on one node",
        |cluster| cluster.set("b", "vipkeeper_held", &of_vip(""), between(20.0, 40.0)),
        &[(19.5, &[]), (20.5, &["Held"]), (40.5, &[])],
    ),
    case(
        "Pgpool elects another leader while every node is held",
        |cluster| {
            cluster.set("b", "vipkeeper_held", &of_vip(""), between(20.0, 40.0));
            cluster.set("b", "vipkeeper_held_unserved", &of_vip(""), between(25.0, 40.0));
        },
        &[(20.5, &["Held"]), (25.5, &["Held"]), (26.5, &["Held", "HeldUnserved"]), (40.5, &[])],
    ),
    case(
        "a standby's private address is not on its ENI",
        |cluster| cluster.set("b", "vipkeeper_takeover_obstacles", &of_vip(""), between(20.0, 40.0)),
        &[(24.0, &[]), (26.0, &["TakeoverWouldFail"]), (40.5, &[])],
    ),
    case(
        "Pgpool's watchdog process is gone and nobody says down",
        |cluster| cluster.set("b", "vipkeeper_watchdog_gone", &of_vip(""), between(20.0, 40.0)),
        &[(24.0, &[]), (26.0, &["WatchdogGone"]), (40.5, &[])],
    ),
    case(
        "a clock is three seconds behind",
        |cluster| {
            let off = between(20.0, 40.0);
            cluster.set("b", "vipkeeper_clock_offset_seconds", "", move |minute| 0.1 - 3.0 * off(minute));
        },
        &[(24.0, &[]), (26.0, &["ClockOff"]), (40.5, &[])],
    ),
    case(
        "a desired-state file cannot be trusted",
        |cluster| cluster.set("b", "vipkeeper_desired_invalid", &of_vip(""), between(20.0, 40.0)),
        &[(20.5, &[]), (21.5, &["DesiredStateInvalid"]), (40.5, &[])],
    ),
    Case {
        name: "a takeover takes eight seconds",
        minutes: 1600,
        step_s: 60,
        evaluated_each_s: 60,
        events: |cluster| {
            for bucket in ["10", "+Inf"] {
                let labels = of_vip(&format!("le=\"{bucket}\""));
                cluster.set("b", "vipkeeper_convergence_seconds_bucket", &labels, counted(vec![20.0]));
            }
        },
        firing: &[(19.0, &[]), (22.0, &["ConvergenceSlow"]), (1400.0, &["ConvergenceSlow"]), (1500.0, &[])],
    },
    Case {
        name: "an upgrade is left unfinished",
        minutes: 1600,
        step_s: 60,
        evaluated_each_s: 60,
        events: |cluster| {
            cluster.set("a", "vipkeeper_build_info", "version=\"1.0.0\"", |_| 1.0);
            cluster.add("b", "vipkeeper_build_info", "version=\"1.1.0\"", |minute| {
                (20.0..1500.0).contains(&minute).then_some(1.0)
            });
        },
        firing: &[(600.0, &[]), (1470.0, &["VersionsDiffer"]), (1501.0, &[])],
    },
    Case {
        name: "an Elastic IP moves ninety times",
        minutes: 33 * 1440,
        step_s: 3600,
        evaluated_each_s: 3600,
        events: |cluster| {
            let moves = (1..=90).map(|hour| f64::from(hour) * 60.0).collect();
            cluster.set("a", "vipkeeper_actions_total", &change("accepted"), counted(moves));
        },
        firing: &[(3000.0, &[]), (6000.0, &["ElasticIpMovedOften"]), (47_400.0, &[])],
    },
];

fn cases() -> impl Iterator<Item = &'static Case> {
    NOTHING_IS_WRONG.iter().chain(&SOMETHING_IS_WRONG).chain(&SOMETHING_FAILS)
}

/// # Panics
/// At some minute that a case names, not exactly those alerts fire that the case lists.
fn play(cases: &[Case]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yml"), read("dashboards/rules.yml")).unwrap();
    for case in cases {
        let mut cluster = Cluster::healthy();
        (case.events)(&mut cluster);
        let expected = case.firing.iter().map(|(minute, names)| {
            let samples =
                names.iter().map(|name| json!({"labels": format!("{{alertname=\"Vipkeeper{name}\"}}"), "value": 1}));
            json!({
                "expr": "group by (alertname) (ALERTS{alertstate=\"firing\"})",
                "eval_time": format!("{}s", minute * 60.0),
                "exp_samples": samples.collect::<Vec<_>>(),
            })
        });
        let interval = format!("{}s", case.step_s);
        let test = json!({
            "rule_files": ["rules.yml"],
            "evaluation_interval": format!("{}s", case.evaluated_each_s),
            "tests": [{
                "name": case.name,
                "interval": interval,
                "input_series": cluster.input(case.minutes, case.step_s),
                "promql_expr_test": expected.collect::<Vec<_>>(),
            }],
        });
        std::fs::write(folder.path().join("test.yml"), test.to_string()).unwrap();
        let Some(output) = promtool(folder.path(), &["test", "rules", "test.yml"]) else { return };
        assert_accepts(&output);
    }
}

#[test]
fn no_alert_fires_while_nothing_is_wrong() {
    play(&NOTHING_IS_WRONG);
}

#[test]
fn a_wrong_leader_or_daemon_fires_its_alerts_until_it_is_right() {
    play(&SOMETHING_IS_WRONG);
}

#[test]
fn what_fails_fires_its_alerts_until_it_works() {
    play(&SOMETHING_FAILS);
}

#[test]
fn each_alert_has_a_case_in_which_it_fires_and_ends() {
    let tested: BTreeSet<_> = cases()
        .flat_map(|case| {
            let (_, last) = case.firing.last().unwrap();
            let all = case.firing.iter().flat_map(|(_, names)| *names);
            all.filter(|name| !last.contains(name)).map(|name| format!("Vipkeeper{name}"))
        })
        .collect();
    let ours: BTreeSet<_> = alerts().iter().map(|alert| alert["alert"].clone()).collect();
    assert_eq!(tested, ours);
}
