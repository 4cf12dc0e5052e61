//! `docs/configuration.md` has every key, with the default, the choices and the bounds that the code has.

use std::collections::BTreeSet;

use figment::value::Value;

use super::super::text::Document;
use super::example::uncommented;
use super::*;

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// Tables whose keys are the operator's own.
const MAPS: [&str; 2] = ["identity.interfaces", "vip.route.table_tags"];
/// The word of the page for a key without which its table is not valid.
const REQUIRED: &str = "must be given";

/// One row of the page.
#[derive(Debug)]
struct Row {
    key: &'static str,
    kind: &'static str,
    default: &'static str,
}

impl Row {
    /// A valid file that sets this key to this value.
    fn file_with(&self, value: &str) -> String {
        match self.key.rsplit_once('.') {
            None => format!("{} = {value}\n{MINIMAL}", self.key),
            Some((table, key)) if table.starts_with("vip.") => {
                let (address, needed) = match table {
                    "vip.route" => ("20.0.0.50", "tables = ['rtb-1']\n"),
                    "vip.elastic_ip" => ("203.0.113.10", ""),
                    _ => ("10.0.1.50", ""),
                };
                format!("[[vip]]\ndelegate_ip = '{address}'\n[{table}]\n{needed}{key} = {value}\n")
            }
            Some((table, key)) => format!("[{table}]\n{key} = {value}\n{MINIMAL}"),
        }
    }

    /// The default as TOML writes it. `None` where the page has words.
    fn literal(&self) -> Option<&'static str> {
        self.default.strip_prefix('`')?.strip_suffix('`')
    }

    /// The least and the greatest value.
    fn bounds(&self) -> Option<(&'static str, &'static str)> {
        let (_, bounds) = self.kind.split_once("from `")?;
        let (least, rest) = bounds.split_once("` to `")?;
        Some((least, rest.split_once('`')?.0))
    }
}

fn rows() -> Vec<Row> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 3);
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches(['|', ' ']).split(" | ").collect();
        Row { key: cells[0].trim_matches('`'), kind: cells[1], default: cells[2] }
    })
    .collect()
}

/// The keys of the example that have a value of their own, with their tables before them.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let is_table = |value: &Value| matches!(value, Value::Dict(..));
    match value {
        Value::Dict(_, entries) if !MAPS.contains(&path.replace(".also", "").as_str()) => {
            for (key, value) in entries {
                keys(value, format!("{path}.{key}").trim_start_matches('.'), found);
            }
        }
        Value::Array(_, items) if items.iter().any(is_table) => {
            items.iter().filter(|item| is_table(item)).for_each(|item| keys(item, path, found));
            if !items.iter().all(is_table) {
                found.insert(path.to_owned());
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn the_page_has_every_key_and_no_other() {
    let mut known = BTreeSet::new();
    keys(&Value::from(Document::parse(&uncommented()).unwrap().values), "", &mut known);
    // The page says that an `also` has the tables of its VIP.
    let known: BTreeSet<_> = known
        .iter()
        .map(|key| if key == "vip.also.address" { key.clone() } else { key.replace(".also", "") })
        .collect();
    let rows = rows();
    let shown: BTreeSet<_> = rows.iter().map(|row| row.key.to_owned()).collect();
    assert_eq!(rows.len(), shown.len(), "a key stands twice");
    assert_eq!(shown, known);
}

/// A key that is written into the wrong table is led home.
#[test]
fn every_key_has_its_home() {
    let mut shown: BTreeSet<String> = BTreeSet::new();
    for row in rows() {
        // The keys of one route table are those of an item in a list.
        let key = row.key.strip_prefix("vip.route.tables.").map_or(row.key, |_| "vip.route.tables");
        let steps: Vec<_> = key.split('.').collect();
        shown.extend((1..=steps.len()).map(|many| steps[..many].join(".")));
    }
    let homes = homes::KEYS.iter().flat_map(|(table, keys)| keys.iter().map(move |key| format!("{table}.{key}")));
    let homes: BTreeSet<_> = homes.map(|key| key.trim_start_matches('.').to_owned()).collect();
    assert_eq!(homes, shown);
    for (key, home) in [
        ("route", Some("to a VIP: write [vip.route] below its [[vip]]")),
        ("tables", Some("into [vip.route]")),
        ("delegate_ip", Some("directly below [[vip]], before its other tables")),
        ("state_dir", Some("to the top of the file, before the first table")),
        ("metrics", Some("into a table of its own, [metrics]")),
        ("enabled", None),
        ("zebra", None),
    ] {
        assert_eq!(homes::of(key).as_deref(), home, "{key}");
    }
}

#[test]
fn the_page_shows_the_defaults() {
    for row in rows() {
        match row.literal() {
            Some(default) => {
                let set = row.file_with(default);
                let left_out = set.replace(&format!("{} = {default}\n", row.key.rsplit('.').next().unwrap()), "");
                assert_ne!(set, left_out);
                assert_eq!(load(&set), load(&left_out), "{row:?}");
                assert!(load(&set).is_ok(), "{row:?}");
            }
            None => assert!(["none", "found", REQUIRED].contains(&row.default), "{row:?}"),
        }
    }
}

#[test]
fn the_page_says_which_keys_must_be_given() {
    let vip = "[vip.route]\ntables = ['rtb-1']\n";
    let files = [
        ("vip.delegate_ip", format!("[[vip]]\n{vip}")),
        ("vip.also.address", format!("{MINIMAL}[[vip.also]]\n[vip.also.route]\ntables = ['rtb-2']\n")),
        ("vip.route.tables.id", "[[vip]]\ndelegate_ip = '20.0.0.50'\n[vip.route]\ntables = [{}]\n".to_owned()),
    ];
    for (key, file) in &files {
        let said = problem(file);
        assert!(said.contains("is missing") && said.contains(key.rsplit('.').next().unwrap()), "{key}: {said}");
    }
    let shown: BTreeSet<_> = rows().iter().filter(|row| row.default == REQUIRED).map(|row| row.key).collect();
    assert_eq!(shown, files.iter().map(|(key, _)| *key).collect());
}

#[test]
fn the_page_shows_every_choice() {
    let mut compared = 0;
    for row in rows() {
        let refused = load(&row.file_with("'QQ'")).err().and_then(|problems| problems.into_iter().next());
        let choices = refused.as_deref().and_then(|said| said.split_once("is none of ")).map(|(_, names)| names);
        let shown = row.kind.strip_prefix("one of ").map(|names| names.replace('`', ""));
        assert_eq!(choices, shown.as_deref(), "{row:?}");
        compared += usize::from(choices.is_some());
    }
    assert_eq!(compared, 6);
}

#[test]
fn the_page_shows_the_bounds() {
    let mut compared = 0;
    for row in rows() {
        let Some((least, most)) = row.bounds() else { continue };
        let is_time = row.kind.contains("time");
        let accepts = |value: &str| {
            let value = if is_time { format!("'{value}'") } else { value.to_owned() };
            load(&row.file_with(&value)).is_ok()
        };
        let beyond = if is_time {
            let time = |text: &str| humantime::parse_duration(text).unwrap().as_millis();
            [format!("{}ms", time(least) - 1), format!("{}ms", time(most) + 1)]
        } else {
            let number = |text: &str| text.parse::<f64>().unwrap();
            // A whole number that is not whole would be refused for that.
            let step = if row.kind.starts_with("whole") { 1.0 } else { 0.125 };
            [(number(least) - step).to_string(), (number(most) + step).to_string()]
        };
        assert!(accepts(least) && accepts(most), "{row:?}");
        assert!(!beyond.iter().any(|value| accepts(value)), "{row:?}: {beyond:?}");
        compared += 1;
    }
    assert_eq!(compared, 6);
}
