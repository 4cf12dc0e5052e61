//! The pages in a real browser, without a window: light and dark, wide and 360 px wide, judged by axe-core. With
//! `UPDATE_SCREENSHOTS=1` the pictures of the documents are made anew.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use vipkeeper::ec2::Class;
use vipkeeper::ids::Term;
use vipkeeper::report::{Direction, HEARTBEAT, News, Report, Reporter, Source, http};
use vipkeeper::status::STALE_AFTER;

use super::html::states;

/// The program under the first of these names that runs here.
fn program(names: &[&str]) -> Option<String> {
    let runs = |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    names.iter().find(runs).map(|name| (*name).to_owned())
}

/// The browser, and the folder with the packages that `tests/all` installs. `None`, and a line that says so, where
/// something is missing; with `CI=true` that is a failure.
fn tools() -> Option<(String, PathBuf)> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let packages = target.join("tools/node_modules");
    let has_packages = ["axe-core", "playwright-core"].iter().all(|name| packages.join(name).is_dir());
    let browser = program(&["chromium", "chromium-browser", "google-chrome"]);
    if let (Some(browser), Some(_), true) = (browser, program(&["node"]), has_packages) {
        return Some((browser, packages));
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "no chromium, node, axe-core or playwright-core");
    println!(
        "not tested: the pages in a browser (no chromium, node, axe-core or playwright-core; tests/all installs them)"
    );
    None
}

/// Events with and without a VIP, with words too long for a phone, and more than the page shows.
fn tell_events(report: &Report) {
    let vip = "20.0.0.50".parse().unwrap();
    let error = format!("DescribeRouteTables: {}: no answer within 3 s", "vpce-0123456789abcdef0.".repeat(8));
    report.news(&News::ReadFailed { source: Source::RouteTables, class: Class::Transient, error: &error });
    for n in 0..12 {
        report.news(&News::Takeover { vip, direction: Direction::Gained });
        report.news(&News::ClaimTerm { vip, term: Term(n) });
        report.news(&News::Takeover { vip, direction: Direction::Lost });
    }
    report.news(&News::Observed { source: Source::RouteTables, at_ms: 1 });
    report.news(&News::Contested { vip, contested: true });
}

#[tokio::test]
async fn every_state_is_readable_in_a_browser_by_everybody() {
    let Some((browser, packages)) = tools() else { return };
    let states = states();
    let reports: Vec<_> =
        states.iter().map(|(name, _)| (*name, Report::new(&[], None, Duration::from_secs(90)))).collect();
    let tell = |is_wanted: fn(&str) -> bool| {
        for ((name, report), (_, status)) in reports.iter().zip(&states).filter(|((name, _), _)| is_wanted(name)) {
            report.status(status);
            assert!(report.health().live().is_ok(), "{name}");
        }
    };
    for (_, report) in reports.iter().filter(|(name, _)| ["alerts", "held", "no-vips"].contains(name)) {
        tell_events(report);
    }
    // One loop told its status long ago; the others go on telling theirs while the browser looks.
    tell(|name| name == "stuck");
    tokio::time::pause();
    tokio::time::advance(2 * STALE_AFTER).await;
    tokio::time::resume();
    let heartbeat = async {
        loop {
            tell(|name| name != "stuck");
            tokio::time::sleep(HEARTBEAT).await;
        }
    };
    let mut servers = Vec::new();
    let mut command = Command::new("node");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    command.arg(root.join("tests/report/browser.mjs")).args([&packages, Path::new(&browser)]);
    command.arg(root.join("docs/status-page"));
    for (name, report) in &reports {
        let listener = http::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        command.arg(format!("{name}=http://{}", listener.local_addr().unwrap()));
        servers.push(http::serve(listener, report));
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = tokio::select! {
        _ = join_all(servers) => unreachable!("servers do not end"),
        _ = heartbeat => unreachable!("it does not end"),
        output = tokio::time::timeout(Duration::from_mins(10), output) => output.expect("within 10 min").unwrap(),
    };
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    let pages = said.lines().filter(|line| line.ends_with(": no findings")).count();
    assert_eq!(pages, 3 * (states.len() + 1), "three looks at each state and at the runbook: {said}");
}
