//! Tests that `config/example.toml` parses, shows the defaults, and contains every key. Its lines are also the
//! material for random faulty files.

use std::collections::{BTreeMap, BTreeSet};

use figment::value::Value;
use proptest::prelude::*;

use super::super::text::Document;
use super::*;

const EXAMPLE: &str = include_str!("../../../config/example.toml");

/// The example with every setting active.
pub(super) fn uncommented() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest,
        _ => line,
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn the_example_shows_the_defaults() {
    let config = load(&format!("{EXAMPLE}{MINIMAL}")).unwrap();
    assert_eq!(config, Config::with_vips(vec![route_vip("20.0.0.50")]), "as it stands it changes nothing");

    let full = load(&uncommented()).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let default = Config::with_vips(full.vips.clone());
    assert_eq!(full.probe, Some(ProbeConfig::default()), "the table switches it on, and its keys show the defaults");
    // These settings have no default: the example shows sample values for them.
    let shown = Config {
        on_change: Vec::new(),
        probe: None,
        identity: Identity::default(),
        pgpool: Pgpool::default(),
        aws: Aws { use_fips: full.aws.use_fips, use_dual_stack: full.aws.use_dual_stack, ..Aws::default() },
        ..full
    };
    assert_eq!(shown, default);
    assert_eq!(shown.vips.len(), 3);
    let kinds = |address: &AddressConfig| {
        [address.elastic_ip.is_some(), address.route.is_some(), address.secondary_ip.is_some()]
    };
    let found: Vec<Vec<_>> = shown.vips.iter().map(|vip| vip.addresses.iter().map(kinds).collect()).collect();
    let (elastic_ip, route, secondary_ip) = ([true, false, false], [false, true, false], [false, false, true]);
    assert_eq!(found, [vec![elastic_ip], vec![route, route], vec![secondary_ip, elastic_ip]]);
}

/// Collects the keys of every table. The items of a list count as one table, and an `also` counts as the VIP around
/// it.
fn keys(value: &Value, path: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
    match value {
        Value::Dict(_, entries) => {
            for (key, value) in entries {
                found.entry(path.to_owned()).or_default().insert(key.clone());
                let inner = if key == "also" { path.to_owned() } else { format!("{path}.{key}") };
                keys(value, &inner, found);
            }
        }
        Value::Array(_, items) => items.iter().for_each(|item| keys(item, path, found)),
        _ => {}
    }
}

#[test]
fn the_example_shows_every_key_that_is_known() {
    let mut shown = BTreeMap::new();
    let values = Document::parse(&uncommented()).unwrap().values;
    keys(&Value::from(values), "", &mut shown);

    // Every table gets an unknown key. The message about it lists the known keys of the table.
    let headers = |line: &str| if line.starts_with('[') { format!("{line}\nQQ = 1\n") } else { format!("{line}\n") };
    let spoilt: String = uncommented().replace("{ ", "{ QQ = 1, ").lines().map(headers).collect();
    let problems = load(&format!("QQ = 1\n{spoilt}")).unwrap_err();
    let mut tables = 0;
    for problem in &problems {
        let Some((place, known)) = problem.split_once("unknown key: here are known ") else { continue };
        let key = place.split(": ").nth(1).unwrap().strip_suffix("QQ").unwrap();
        let path = key.replace(".also", "").replace("[0]", "").replace("[1]", "").replace("[2]", "");
        let path = if path.is_empty() { path } else { format!(".{}", path.trim_end_matches('.')) };
        tables += 1;
        for name in known.split(", ") {
            assert!(shown[&path].contains(name), "{name} of [{}] is not in the example", &path);
        }
    }
    // The count: the root, nine sections, three VIPs and their three tables, two `also` with their tables, one table
    // with a role.
    assert_eq!(tables, 21, "{problems:#?}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = File::new(bytes).sources(&[], &[]).load_for_hook();
    }

    /// Takes lines of the example in any order, whole and cut. Most of the results get past the parser and into the
    /// checks.
    #[test]
    fn no_mixture_of_good_lines_makes_it_panic(
        picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..30),
    ) {
        let example = uncommented();
        let lines: Vec<Vec<char>> = example.lines().map(|line| line.chars().collect()).collect();
        let mixture: String = picks.iter().flat_map(|(line, end, whole)| {
            let line = &lines[line.index(lines.len())];
            let end = if *whole { line.len() } else { end.index(line.len() + 1) };
            line[..end].iter().copied().chain(['\n'])
        }).collect();
        let config = File::new(&mixture).sources(&[], &[]).load_for_hook();
        prop_assert_eq!(config.delegate_ips.is_none(), config.error.is_some());
    }
}
