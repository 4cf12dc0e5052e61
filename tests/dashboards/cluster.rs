//! A cluster of three nodes as Prometheus sees it over time, in the notation of `promtool test rules`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

/// The nodes: `a` leads, `b` stands by, and no hook has ever run on `c`.
pub const NODES: [&str; 3] = ["a", "b", "c"];
/// The source names whose last reading is a metric.
const SOURCES: [&str; 5] = ["addresses", "route_tables", "network_interfaces", "tags", "local_addresses"];

/// The value of a series at a minute; `None` where the daemon is not scraped.
type Course = Box<dyn Fn(f64) -> Option<f64>>;

/// All series of the cluster, by name and labels.
pub struct Cluster {
    series: BTreeMap<String, Course>,
}

/// A series of one node. `labels` are written as in Prometheus, and may be empty.
pub fn series(node: &str, name: &str, labels: &str) -> String {
    let more = if labels.is_empty() { String::new() } else { format!(", {labels}") };
    format!("{name}{{job=\"vipkeeper\", cluster=\"pg1\", instance=\"{node}\"{more}}}")
}

/// The labels of a VIP's series, with more of them.
pub fn of_vip(labels: &str) -> String {
    let more = if labels.is_empty() { String::new() } else { format!(", {labels}") };
    format!("vip=\"20.0.0.50\"{more}")
}

impl Cluster {
    /// A cluster in which nothing happens.
    pub fn healthy() -> Self {
        let mut this = Self { series: BTreeMap::new() };
        for node in NODES {
            let leads = node == "a";
            let mut add = |name: &str, labels: &str, value: f64| {
                this.series.insert(series(node, name, labels), Box::new(move |_| Some(value)));
            };
            add("up", "", 1.0);
            add("process_start_time_seconds", "", -3600.0);
            add("vipkeeper_build_info", "version=\"1.0.0\"", 1.0);
            let own = if leads {
                "leader"
            } else if node == "b" {
                "standby"
            } else {
                "unknown"
            };
            for role in ["leader", "standby", "unknown"] {
                let role_label = of_vip(&format!("role=\"{role}\""));
                add("vipkeeper_desired_role", &role_label, f64::from(u8::from(role == own)));
            }
            for state in ["in_sync", "drift", "blocked"] {
                let labels = of_vip(&format!("kind=\"route\", target=\"rtb-1\", state=\"{state}\""));
                add("vipkeeper_binding_state", &labels, f64::from(u8::from(state == "in_sync")));
            }
            for name in ["claim_recorded", "guard_alive"] {
                add(&format!("vipkeeper_{name}"), &of_vip(""), f64::from(u8::from(leads)));
            }
            for name in [
                "claims_not_read",
                "contested",
                "hook_lost",
                "held_unserved",
                "nobody_serves",
                "desired_invalid",
                "held",
                "takeover_obstacles",
                "watchdog_gone",
                "superseded_total",
            ] {
                add(&format!("vipkeeper_{name}"), &of_vip(""), 0.0);
            }
            for direction in ["gained", "lost"] {
                add("vipkeeper_takeovers_total", &of_vip(&format!("direction=\"{direction}\"")), 0.0);
            }
            for bucket in ["1", "5", "10", "+Inf"] {
                add("vipkeeper_convergence_seconds_bucket", &of_vip(&format!("le=\"{bucket}\"")), 0.0);
            }
            add("vipkeeper_drift_total", &of_vip("kind=\"route\", target=\"rtb-1\", reason=\"elsewhere\""), 0.0);
            for outcome in ["accepted", "denied", "rejected"] {
                let labels =
                    of_vip(&format!("kind=\"elastic_ip\", action=\"associate_address\", outcome=\"{outcome}\""));
                add("vipkeeper_actions_total", &labels, 0.0);
            }
            add("vipkeeper_clock_offset_seconds", "", 0.1);
            add("vipkeeper_ec2_throttled_total", "operation=\"ReplaceRoute\"", 0.0);
            for source in SOURCES {
                let labels = format!("source=\"{source}\"");
                let name = series(node, "vipkeeper_last_successful_observation_timestamp_seconds", &labels);
                this.series.insert(name, Box::new(|minute| Some(minute * 60.0)));
            }
            // Renewed each hour.
            let name = series(node, "vipkeeper_credentials_expiry_timestamp_seconds", "");
            this.series.insert(name, Box::new(|minute| Some((minute / 60.0).floor() * 3600.0 + 3900.0)));
        }
        this
    }

    /// Gives one series of a node another course.
    pub fn set(&mut self, node: &str, name: &str, labels: &str, course: impl Fn(f64) -> f64 + 'static) {
        let series = series(node, name, labels);
        assert!(self.series.contains_key(&series), "a healthy cluster has no {series}");
        self.series.insert(series, Box::new(move |minute| Some(course(minute))));
    }

    /// Adds a series of a node that a healthy cluster does not have.
    pub fn add(&mut self, node: &str, name: &str, labels: &str, course: impl Fn(f64) -> Option<f64> + 'static) {
        let before = self.series.insert(series(node, name, labels), Box::new(course));
        assert!(before.is_none(), "{name} is there already");
    }

    /// Takes every series of this name away.
    pub fn remove(&mut self, name: &str) {
        let before = self.series.len();
        self.series.retain(|series, _| !series.starts_with(&format!("{name}{{")));
        assert!(self.series.len() < before, "a healthy cluster has no {name}");
    }

    /// The daemon of a node does not answer between two minutes. After that, its counters start at 0.
    pub fn silence(&mut self, node: &str, from: f64, to: f64) {
        let of_node = format!("instance=\"{node}\"");
        for (name, course) in &mut self.series {
            if !name.contains(&of_node) {
                continue;
            }
            let before = std::mem::replace(course, Box::new(|_| None));
            let is_counter = name.contains("_total{") || name.contains("_bucket{");
            let (is_up, is_start) = (name.starts_with("up{"), name.starts_with("process_start"));
            *course = Box::new(move |minute| match minute {
                minute if minute < from => before(minute),
                minute if minute < to => is_up.then_some(0.0),
                _ if is_start => Some(to * 60.0),
                _ if is_counter => before(minute).zip(before(to)).map(|(now, then)| now - then),
                minute => before(minute),
            });
        }
    }

    /// Prometheus is told of no daemon at all from this minute to that one.
    pub fn forget(&mut self, from: f64, to: f64) {
        for course in self.series.values_mut() {
            let before = std::mem::replace(course, Box::new(|_| None));
            *course = Box::new(move |minute| if minute >= from && minute < to { None } else { before(minute) });
        }
    }

    /// The series as input of `promtool test rules`, one sample each `step_s` seconds.
    pub fn input(&self, minutes: u32, step_s: u32) -> Value {
        let samples = minutes * 60 / step_s;
        let all = self.series.iter().map(|(name, course)| {
            let mut values = String::new();
            for sample in 0..=samples {
                match course(f64::from(sample * step_s) / 60.0) {
                    Some(value) => {
                        let _ = write!(values, "{value} ");
                    }
                    None => values.push_str("stale "),
                }
            }
            json!({"series": name, "values": values.trim_end()})
        });
        Value::Array(all.collect())
    }
}

/// 1 between two minutes, and 0 before and after.
pub fn between(from: f64, to: f64) -> impl Fn(f64) -> f64 {
    move |minute| f64::from(u8::from(minute >= from && minute < to))
}

/// 0 between two minutes, and 1 before and after.
pub fn except(from: f64, to: f64) -> impl Fn(f64) -> f64 {
    move |minute| 1.0 - between(from, to)(minute)
}

/// A counter that is counted up by one at each of these minutes.
pub fn counted(at: Vec<f64>) -> impl Fn(f64) -> f64 {
    move |minute| f64::from(u32::try_from(at.iter().filter(|at| **at <= minute).count()).unwrap())
}
