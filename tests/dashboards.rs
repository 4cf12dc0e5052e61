//! What Prometheus and Grafana are given: alerts, recording rules and the dashboard. Prometheus' own programs judge
//! them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail as the test itself")]

#[path = "dashboards/alerts.rs"]
mod alerts;
#[path = "dashboards/board.rs"]
mod board;
#[path = "dashboards/cluster.rs"]
mod cluster;
#[path = "dashboards/lint.rs"]
mod lint;
#[path = "dashboards/panels.rs"]
mod panels;
#[path = "dashboards/rules.rs"]
mod rules;
#[path = "dashboards/served.rs"]
mod served;
#[expect(dead_code, reason = "the statuses of other tests are there too")]
#[path = "report/statuses.rs"]
mod statuses;

use std::path::Path;
use std::process::{Command, Output};

/// A file of the repository.
fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Prometheus' checker, started in this folder. `None`, and a line that says so, where it is not installed.
#[expect(clippy::disallowed_methods, reason = "a test looks at its environment")]
fn promtool(folder: &Path, arguments: &[&str]) -> Option<Output> {
    match Command::new("promtool").args(arguments).current_dir(folder).output() {
        Ok(output) => Some(output),
        Err(_) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "promtool is missing");
            eprintln!("skipped: there is no promtool");
            None
        }
    }
}

/// # Panics
/// The checker found a fault; the message has everything that it said.
fn assert_accepts(output: &Output) {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}
