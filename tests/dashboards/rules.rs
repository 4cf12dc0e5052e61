//! `dashboards/rules.yml`: its form, and its agreement with the documents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{assert_accepts, promtool, read};

/// One rule by its keys, such as `alert`, `expr` or `summary`. Each key of the file stands on one line.
pub type Rule = BTreeMap<String, String>;

/// All rules, in the order of the file.
pub fn rules() -> Vec<Rule> {
    let file = read("dashboards/rules.yml");
    let mut rules: Vec<Rule> = Vec::new();
    for line in file.lines() {
        let line = line.trim();
        let begins = line.starts_with("- alert: ") || line.starts_with("- record: ");
        let Some((key, value)) = line.trim_start_matches("- ").split_once(": ") else { continue };
        if begins {
            rules.push(Rule::new());
        }
        if let Some(rule) = rules.last_mut().filter(|_| key != "name" && !line.starts_with('#')) {
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            assert_eq!(rule.insert(key.to_owned(), value.to_owned()), None, "{key} stands twice at {line}");
        }
    }
    rules
}

pub fn alerts() -> Vec<Rule> {
    rules().into_iter().filter(|rule| rule.contains_key("alert")).collect()
}

/// The expression with those of the recording rules in place of their names.
fn expanded(expression: &str) -> String {
    rules()
        .iter()
        .filter(|rule| rule.contains_key("record"))
        .fold(expression.to_owned(), |expression, rule| expression.replace(&rule["record"], &rule["expr"]))
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let kept = |heading: &str| heading.trim_start_matches('#').trim().to_lowercase();
    let anchor = |heading: String| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(kept).map(anchor).collect()
}

#[test]
fn prometheus_accepts_every_rule() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards");
    let Some(output) = promtool(&folder, &["check", "rules", "rules.yml"]) else { return };
    assert_accepts(&output);
    let said = String::from_utf8_lossy(&output.stdout);
    let all = rules().len();
    assert!(said.contains(&format!("{all} rules found")), "this test reads {all} rules: {said}");
}

#[test]
fn every_alert_says_what_is_wrong_and_where_its_entry_stands() {
    let page = read("docs/operations.md");
    let anchors = anchors(&page);
    let all = alerts();
    assert!(all.len() > 20, "{}", all.len());
    for alert in &all {
        let name = &alert["alert"];
        assert!(name.starts_with("Vipkeeper"), "{name}");
        let severity = alert["labels"].strip_prefix("{severity: ").and_then(|rest| rest.strip_suffix('}')).unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        let anchor = alert["runbook_url"].strip_prefix("docs/operations.md#").unwrap();
        assert!(anchors.contains(anchor), "{name}: {anchor}");
        let row = format!("| `{name}` | {severity} | [");
        let row = page.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("no entry for {name}"));
        assert!(row.ends_with(&format!("](#{anchor}) |")), "{row}");
        for words in [&alert["summary"], &alert["description"]] {
            assert!(words.len() > 20, "{name}: {words}");
        }
    }
    let listed = page.lines().filter(|line| line.starts_with("| `Vipkeeper")).count();
    assert_eq!(listed, all.len(), "the page lists alerts that do not exist");
}

/// A label that the expression drops would be shown as nothing.
#[test]
fn an_alert_shows_only_labels_that_it_has() {
    for alert in alerts() {
        let expression = expanded(&alert["expr"]);
        let kept = expression.split_once(" by (").map(|(_, rest)| rest.split_once(')').unwrap().0);
        let texts = format!("{} {}", alert["summary"], alert["description"]);
        for label in texts.split("{{ $labels.").skip(1).map(|rest| rest.split_once(" }}").unwrap().0) {
            let has = match kept {
                Some(kept) => kept.split(", ").any(|one| one == label),
                None => {
                    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let mut words = expression.split(|c: char| !is_name(c));
                    let metric = words.find(|word| word.starts_with("vipkeeper_")).unwrap_or_default();
                    let row = format!("| `{metric}` |");
                    let page = read("docs/metrics.md");
                    let documented = page.lines().find(|line| line.starts_with(&row)).unwrap_or_default();
                    label == "instance" || documented.contains(&format!("`{label}`"))
                }
            };
            assert!(has, "{} shows {label}: {expression}", alert["alert"]);
        }
    }
}

#[test]
fn the_readme_shows_alerts_that_exist() {
    let ours: BTreeSet<_> = alerts().iter().map(|alert| expanded(&alert["expr"])).collect();
    let readme = read("README.md");
    let (_, table) = readme.split_once("\n| alert | expression |\n").unwrap();
    let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).skip(1).collect();
    assert!(rows.len() > 7, "{rows:?}");
    for row in rows {
        let expression = row.rsplit("| `").next().and_then(|cell| cell.strip_suffix("` |")).unwrap();
        assert!(ours.contains(expression), "{expression}");
    }
}
