//! The rules that a dashboard for others must keep, as Grafana's dashboard-linter has them; and that the dashboard is
//! made of its panels and shows every metric.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use super::board::{filled_in, json};
use super::panels::ROWS;
use super::rules::rules;
use super::{assert_accepts, promtool, read};

const FILE: &str = "dashboards/vipkeeper.json";
const UNITS: [&str; 8] = ["short", "s", "bytes", "percentunit", "reqps", "ops", "dateTimeFromNow", "none"];

/// Every panel but the rows' headings, and its queries.
fn panels() -> Vec<(Value, Vec<String>)> {
    let document: Value = serde_json::from_str(&read(FILE)).unwrap();
    let panels = document["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row");
    let queries = |panel: &Value| {
        let targets = panel["targets"].as_array().unwrap().iter();
        targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
    };
    panels.map(|panel| (panel.clone(), queries(panel))).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a variable says that the file is to be written anew")]
fn the_dashboard_is_made_of_its_panels() {
    let made = format!("{:#}\n", json(ROWS));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE), &made).unwrap();
    }
    assert!(made == read(FILE), "{FILE} is not what its panels make: UPDATE_GOLDEN=1 cargo test --test dashboards");
}

#[test]
fn every_panel_has_title_description_unit_legend_and_the_chosen_datasource() {
    let panels = panels();
    assert!(panels.len() > 30, "{}", panels.len());
    let mut titles = BTreeSet::new();
    for (panel, queries) in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(titles.insert(title.to_owned()), "two panels are called {title}");
        assert!(panel["description"].as_str().unwrap().ends_with('.'), "{title}");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
        assert!(UNITS.contains(&unit), "{title}: {unit}");
        assert!(!queries.is_empty(), "{title}");
        let targets = panel["targets"].as_array().unwrap();
        for one in targets.iter().chain([&panel]) {
            assert_eq!(one["datasource"]["uid"], "${datasource}", "{title}");
        }
        assert!(targets.iter().all(|target| target["legendFormat"].as_str().unwrap().contains("{{")), "{title}");
    }
}

#[test]
fn no_two_panels_lie_on_one_another() {
    let mut taken = BTreeSet::new();
    for (panel, _) in panels() {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{}", panel["title"]);
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(taken.insert((x, y)), "{} at {x}, {y}", panel["title"]);
            }
        }
    }
}

#[test]
fn every_query_chooses_by_the_variables_and_rates_by_grafanas_interval() {
    for (panel, queries) in panels() {
        for query in queries {
            let what = format!("{}: {query}", panel["title"]);
            for matchers in query.split('{').skip(1).map(|rest| rest.split_once('}').unwrap().0) {
                for label in ["job", "cluster", "instance"] {
                    assert!(matchers.contains(&format!("{label}=~\"${label}\"")), "{what}");
                }
            }
            // A counter is never shown as it is, and a window is as wide as Grafana's points are apart.
            let counted =
                query.split('{').filter_map(|part| part.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next());
            for name in
                counted.filter(|name| ["_total", "_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end)))
            {
                assert!(["rate(", "increase("].iter().any(|call| query.contains(&format!("{call}{name}{{"))), "{what}");
            }
            for window in query.split('[').skip(1).map(|rest| rest.split_once(']').unwrap().0) {
                assert!(["$__rate_interval", "$__range"].contains(&window), "{what}");
            }
        }
    }
}

#[test]
fn the_variables_are_a_datasource_and_labels_of_our_metrics() {
    let document: Value = serde_json::from_str(&read(FILE)).unwrap();
    let variables = document["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "job", "cluster", "instance", "vip"]);
    assert_eq!((&variables[0]["type"], &variables[0]["query"]), (&"datasource".into(), &"prometheus".into()));
    for variable in &variables[1..] {
        assert_eq!((&variable["multi"], &variable["refresh"]), (&true.into(), &2.into()), "{variable}");
        assert_eq!(variable["datasource"]["uid"], "${datasource}");
    }
    assert_eq!((&document["editable"], document["schemaVersion"].as_u64()), (&false.into(), Some(38)));
}

#[test]
fn prometheus_understands_every_query() {
    let mut file = "groups:\n- name: queries\n  rules:\n".to_owned();
    let mut count = 0;
    for (_, queries) in panels() {
        for query in queries {
            let query = Value::String(filled_in(&query, "1m"));
            let _ = writeln!(file, "  - {{record: 'query:{count}', expr: {query}}}");
            count += 1;
        }
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("queries.yml"), file).unwrap();
    let Some(output) = promtool(folder.path(), &["check", "rules", "queries.yml"]) else { return };
    assert_accepts(&output);
}

#[test]
fn every_documented_metric_is_on_a_panel_or_in_an_alert() {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `vipkeeper_")?.split_once('`'));
    let documented: BTreeSet<_> = rows.map(|(name, _)| format!("vipkeeper_{name}")).collect();
    assert!(documented.len() > 20, "{documented:?}");
    let queries = panels().into_iter().flat_map(|(_, queries)| queries);
    let used: Vec<_> = queries.chain(rules().into_iter().map(|rule| rule["expr"].clone())).collect();
    let is_used = |name: &&String| {
        ["", "_bucket", "_sum", "_count"]
            .iter()
            .any(|end| used.iter().any(|query| query.contains(&format!("{name}{end}{{"))))
    };
    let unused: Vec<_> = documented.iter().filter(|name| !is_used(name)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}
