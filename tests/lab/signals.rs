//! What somebody with Prometheus' alerts sees of a failure: the series that moved, on the old leader, the new one and the
//! node beside. Each scenario says which must, and no other may.

use std::collections::BTreeMap;
use std::time::Duration;

use super::prometheus::{Prometheus, Series};

/// A series that an alert or a dashboard would look at.
struct Signal {
    name: &'static str,
    selector: &'static str,
    moved: fn(&[f64]) -> bool,
}

const SIGNALS: [Signal; 11] = [
    Signal { name: "gained", selector: "vipkeeper_takeovers_total{direction=\"gained\"}", moved: grew },
    Signal { name: "lost", selector: "vipkeeper_takeovers_total{direction=\"lost\"}", moved: grew },
    Signal { name: "superseded", selector: "vipkeeper_superseded_total", moved: grew },
    Signal { name: "drift", selector: "vipkeeper_drift_total", moved: grew },
    Signal { name: "throttled", selector: "vipkeeper_ec2_throttled_total", moved: grew },
    Signal { name: "denied", selector: "vipkeeper_actions_total{outcome=~\"denied|rejected\"}", moved: grew },
    Signal { name: "guard died", selector: "vipkeeper_guard_alive", moved: fell },
    Signal { name: "contested", selector: "vipkeeper_contested", moved: rose },
    Signal { name: "hook lost", selector: "vipkeeper_hook_lost", moved: rose },
    Signal { name: "desired invalid", selector: "vipkeeper_desired_invalid", moved: rose },
    Signal { name: "down", selector: "up", moved: fell },
];

/// A counter, which a restart sets back to 0.
fn grew(values: &[f64]) -> bool {
    values.windows(2).any(|pair| pair[1] > pair[0] || (pair[1] < pair[0] && pair[1] > 0.0))
}

fn rose(values: &[f64]) -> bool {
    values.windows(2).any(|pair| pair[1] > pair[0])
}

fn fell(values: &[f64]) -> bool {
    values.windows(2).any(|pair| pair[1] < pair[0])
}

/// The signals of each node, by the node's name.
pub fn seen(prometheus: &Prometheus, fault: Duration, now: Duration) -> BTreeMap<String, Vec<String>> {
    let mut seen = BTreeMap::<String, Vec<String>>::new();
    for signal in &SIGNALS {
        for series in prometheus.history(signal.selector, fault, now) {
            if !(signal.moved)(&values(&series, fault)) {
                continue;
            }
            let signals = seen.entry(series.labels["node"].clone()).or_default();
            let name = match (series.labels.get("kind"), series.labels.get("reason")) {
                (Some(kind), Some(reason)) => format!("{} ({kind} {reason})", signal.name),
                _ => signal.name.to_owned(),
            };
            if !signals.contains(&name) {
                signals.push(name);
            }
        }
    }
    seen
}

/// From the last sample before the fault on.
fn values(series: &Series, fault: Duration) -> Vec<f64> {
    let fault = fault.as_secs_f64();
    let first = series.samples.iter().rposition(|(at, _)| *at <= fault).unwrap_or(0);
    series.samples[first..].iter().map(|(_, value)| *value).collect()
}
