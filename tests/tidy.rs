//! Code, documents, example, unit and scripts agree with one another. Reads files of the repository only.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail as the test itself")]
#![expect(clippy::case_sensitive_file_extension_comparisons, reason = "our files are named by us")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::CommandFactory as _;
use vipkeeper::binding::{BindingKey, Kind};
use vipkeeper::check::{self, Category};
use vipkeeper::cli::{Cli, PolicyFormat};
use vipkeeper::commands::policy::{Location, policy};
use vipkeeper::config::Config;
use vipkeeper::config::sources::Sources;
use vipkeeper::ec2::codes::Label;
use vipkeeper::problem::ProblemReason;
use vipkeeper::report::{News, Report, Reporter, VipKeys, labels};
use vipkeeper::status::ConditionName;
use vipkeeper::status::event::EventKind;
use vipkeeper::status::runbook::RunbookEntry;

#[path = "tidy/house.rs"]
mod house;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/languages.rs"]
mod languages;
#[path = "tidy/named.rs"]
mod named;
#[path = "tidy/programs.rs"]
mod programs;

/// Lines of a file, tests included. A longer file wants to be two.
const LONGEST: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below, by its path from the root, but for what is built and what git keeps.
fn files() -> BTreeMap<String, PathBuf> {
    fn walk(folder: &Path, found: &mut BTreeMap<String, PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            if path.is_symlink() || ["target", ".git"].contains(&name.as_str()) || name.starts_with("target-") {
                continue;
            }
            if path.is_dir() { walk(&path, found) } else { _ = found.insert(name, path) }
        }
    }
    let mut found = BTreeMap::new();
    walk(root(), &mut found);
    assert!(found.contains_key("tests/tidy.rs"), "{found:?}");
    found
}

/// The files with this ending, and their text.
fn texts(ending: &str) -> BTreeMap<String, String> {
    let all = files().into_iter().filter(|(name, _)| name.ends_with(ending));
    all.map(|(name, path)| (name, fs::read_to_string(path).unwrap())).collect()
}

fn markdown() -> BTreeMap<String, String> {
    texts(".md")
}

/// Everything between a line that is `from` and the next that is `to`.
fn blocks<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(&format!("\n{from}\n")) {
        let (block, after) = after.split_once(&format!("\n{to}\n")).unwrap_or_else(|| panic!("no end: {after}"));
        found.push(block);
        rest = after;
    }
    found
}

/// The longest runs of the characters that names are made of.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The cells of each row of the tables in a Markdown text, their headings and rules included.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect()).collect()
}

/// A row's first cell if it is one word in backticks.
fn quoted(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`').filter(|word| !word.contains('`'))
}

/// A status that tells everything about the node itself, and who answers on a VIP.
const NODE: &str = r#"{
    "version": 1, "program": "", "pid": 1, "written_ms": 1, "started_ms": 1, "instance": null, "region": null,
    "sources": [], "problems": [],
    "vips": [{
        "delegate_ip": "20.0.0.50", "desired": {"role": "leader", "reason": null, "since_ms": 1},
        "claim": {"id": "a", "term": 1, "started_ms": 1, "converged_ms": 2, "superseded_by": null},
        "in_sync": true, "bindings": [], "conditions": [], "answers": {"by": "i-a", "since_ms": 1}
    }],
    "clock": {"ahead_ms": 1, "error_ms": 1, "synchronized": true, "max_error_ms": 1}
}"#;

/// All metrics of the code, with their types.
fn metrics() -> BTreeMap<String, String> {
    let bindings = Kind::ALL.map(|kind| BindingKey::new(kind, "a"));
    let vips = [VipKeys { vip: "20.0.0.50".parse().unwrap(), bindings: bindings.to_vec() }];
    let report = Report::new(&vips, None, Duration::from_secs(90));
    report.news(&News::CredentialsExpiry { at_ms: Some(1) });
    // The bindings of the first report would end with this status: another report takes it.
    let of_the_node = Report::new(&[], None, Duration::from_secs(90));
    of_the_node.status(&serde_json::from_str(NODE).unwrap());
    let text = report.metrics() + &of_the_node.metrics();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

#[test]
fn every_metric_is_documented_with_its_type_and_labels() {
    let page = read("docs/metrics.md");
    let documented: BTreeMap<_, _> = rows(&page)
        .into_iter()
        .filter_map(|row| Some((quoted(row[0])?.to_owned(), row[1].to_owned())))
        .filter(|(name, _)| name.starts_with("vipkeeper_"))
        .collect();
    let ours: BTreeMap<_, _> = metrics().into_iter().filter(|(name, _)| name.starts_with("vipkeeper_")).collect();
    assert_eq!(documented, ours);
    for label in Label::ALL {
        assert!(page.contains(&format!("`{label}`")), "{label}");
    }
}

#[test]
fn no_document_names_a_metric_that_does_not_exist() {
    let known = metrics();
    let mut named = 0;
    let all = files()
        .into_iter()
        .filter(|(name, _)| name.ends_with(".md") || name.starts_with("dashboards/") || name.starts_with("packaging/"));
    for (file, path) in all {
        let text = fs::read_to_string(path).unwrap();
        for word in words(&text).filter(|word| word.starts_with("vipkeeper_") || word.starts_with("process_")) {
            named += 1;
            let base = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| word.strip_suffix(end));
            let is_known = known.contains_key(word) || base.is_some_and(|base| known.contains_key(base));
            assert!(is_known, "{file} names {word}");
        }
    }
    assert!(named > 30, "{named}");
}

#[test]
fn pgpools_lines_are_the_same_wherever_they_are_shown() {
    let lines = |text: &str| -> Vec<String> {
        let all = text.lines().map(str::trim).filter(|line| {
            ["if_up_cmd ", "if_down_cmd ", "arping_cmd "].iter().any(|key| line.starts_with(key)) && line.contains('=')
        });
        all.map(str::to_owned).collect()
    };
    let help = lines(&Cli::command().render_long_help().to_string());
    assert_eq!(help.len(), 3, "{help:?}");
    assert_eq!(lines(&read("README.md")), help);
    for line in help {
        // Pgpool splits at spaces and runs no shell: 23 words, no quotes within.
        let command = line.split_once("= '").and_then(|(_, command)| command.strip_suffix('\'')).unwrap().to_owned();
        assert!(command.starts_with("/usr/bin/vipkeeper ") && !command.contains('\''), "{command}");
    }
}

fn load(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vipkeeper.toml");
    fs::write(&file, text).unwrap();
    let sources = Sources { file, environment: Vec::new(), flags: Vec::new() };
    sources.load().unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn every_configuration_in_the_readme_is_valid() {
    let readme = read("README.md");
    let fragments = blocks(&readme, "```toml", "```");
    assert_eq!(fragments.len(), 3, "one for each method");
    for fragment in fragments {
        load(fragment);
    }
}

#[test]
fn every_setting_that_the_readme_lists_is_in_the_example() {
    let example = read("config/example.toml");
    let readme = read("README.md");
    let section = readme.split_once("\n## Configure\n").and_then(|(_, rest)| rest.split_once("\n## ")).unwrap().0;
    let mut listed = 0;
    for row in rows(section).into_iter().skip(2) {
        for name in row[0].split('`').skip(1).step_by(2) {
            listed += 1;
            let setting = |line: &str| line.strip_prefix('#').unwrap_or(line).starts_with(&format!("{name} ="));
            let shown = if name.starts_with('[') {
                example.lines().any(|line| line.trim_start_matches('#') == name)
            } else {
                example.lines().any(setting)
            };
            assert!(shown, "{name}");
        }
    }
    assert!(listed > 15, "{listed}");
}

/// The actions of each policy in the README, in its order.
fn policies() -> Vec<BTreeSet<String>> {
    let readme = read("README.md");
    let policies = blocks(&readme, "```json", "```").into_iter().map(|block| {
        let policy: serde_json::Value = serde_json::from_str(block).unwrap_or_else(|error| panic!("{error}\n{block}"));
        let statements = policy["Statement"].as_array().unwrap().iter();
        let actions = statements.flat_map(|statement| match &statement["Action"] {
            serde_json::Value::Array(actions) => actions.clone(),
            action => vec![action.clone()],
        });
        actions.map(|action| action.as_str().unwrap().strip_prefix("ec2:").unwrap().to_owned()).collect()
    });
    policies.collect()
}

#[test]
fn each_policy_allows_what_its_method_calls_and_no_more() {
    let needed = |keys: &[(Kind, &str)], more: &[&str]| -> BTreeSet<String> {
        let operations = keys.iter().flat_map(|(kind, target)| labels::operations_of(&BindingKey::new(*kind, target)));
        operations.chain(more).filter(|name| **name != "DeleteRoute").map(|name| (*name).to_owned()).collect()
    };
    assert_eq!(
        policies(),
        [
            needed(&[(Kind::ElasticIp, "203.0.113.10")], &["DescribeNetworkInterfaces", "CreateTags", "DeleteTags"]),
            needed(&[(Kind::Route, "rtb-1"), (Kind::SourceDestCheck, "eth0")], &["CreateTags", "DeleteTags"]),
            needed(&[(Kind::SecondaryIp, "10.0.1.50")], &["DescribeTags", "CreateTags", "DeleteTags"]),
        ]
    );
    // The README says beside the table which operations are needed only sometimes.
    let readme = read("README.md");
    for kind in Kind::ALL {
        for operation in ["a", "fd00::50"].map(|target| labels::operations_of(&BindingKey::new(kind, target))).concat()
        {
            assert!(readme.contains(&format!("ec2:{operation}")), "{operation}");
        }
    }
}

#[test]
fn each_policy_is_the_one_that_the_program_prints_for_the_configuration_beside_it() {
    let readme = read("README.md");
    let (shown, configs) = (blocks(&readme, "```json", "```"), blocks(&readme, "```toml", "```"));
    assert_eq!(shown.len(), configs.len());
    for (shown, config) in shown.into_iter().zip(configs) {
        let printed = policy(&load(config), None, &"pgpool=pg1".parse().unwrap()).unwrap();
        let printed = printed.written(PolicyFormat::Json, &Location::default());
        let [shown, printed]: [serde_json::Value; 2] =
            [shown, &printed].map(|text| serde_json::from_str(text).unwrap());
        assert_eq!(shown, printed, "{printed:#}");
    }
}

#[test]
fn the_status_page_in_the_readme_is_a_real_one() {
    let page = read("tests/report/golden/page-readme.txt");
    let (shown, _) = page.split_once("\n\nSOURCE").unwrap();
    assert!(read("README.md").contains(&format!("```text\n{shown}\n```")));
}

#[test]
fn the_page_on_architecture_names_every_module_and_no_other() {
    let page = read("ARCHITECTURE.md");
    let (_, section) = page.split_once("\n## Modules").unwrap();
    let named: BTreeSet<_> = rows(section.split_once("\n## ").unwrap().0)
        .into_iter()
        .flat_map(|row| row[0].split(", ").filter_map(quoted).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let there: BTreeSet<_> = files()
        .into_keys()
        .filter_map(|name| Some(name.strip_prefix("src/")?.strip_suffix(".rs")?.to_owned()))
        .filter(|name| !name.contains('/') && name != "lib")
        .collect();
    assert_eq!(named, there);
}

#[test]
fn modules_import_only_what_is_theirs() {
    // Names that only some files of ours may name, and these files.
    let fences: [(&[&str], &[&str]); 5] = [
        (&["ec2_endpoint"], &["demo"]),
        (&["aws_config", "aws_sdk_ec2", "aws_sdk_sts", "aws_credential_types"], &["aws"]),
        (&["use backoff::"], &["backoff"]),
        (&["netlink_packet_route", "netlink_packet_core"], &["machine/netlink", "wake/addresses"]),
        (&["sd_notify"], &["report/systemd"]),
    ];
    let modules: Vec<_> = texts(".rs").into_iter().filter(|(name, _)| name.starts_with("src/")).collect();
    assert!(modules.len() > 50, "{}", modules.len());
    let mut at_home = BTreeSet::new();
    for (file, text) in modules {
        let name = file.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for (words, homes) in fences {
            let is_home = homes.iter().any(|home| name == *home || name.starts_with(&format!("{home}/")));
            let named = words.iter().find(|word| code.contains(*word));
            assert!(named.is_none() || is_home, "{file} names {}", words.join(" or "));
            if named.is_some() {
                at_home.insert(words[0]);
            }
        }
    }
    // A fence around nothing would be a name that changed.
    assert_eq!(at_home.len(), fences.len(), "{at_home:?}");
}

#[test]
fn no_file_is_too_long_and_each_module_says_its_job() {
    let too_long: Vec<_> = texts(".rs")
        .into_iter()
        .map(|(name, text)| (text.lines().count(), name))
        .filter(|(lines, _)| *lines > LONGEST)
        .collect();
    assert!(too_long.is_empty(), "{too_long:?}");
    let silent: Vec<_> =
        texts(".rs").into_iter().filter(|(name, text)| name.contains("src/") && !text.starts_with("//! ")).collect();
    assert!(silent.is_empty(), "{:?}", silent.iter().map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_to_be_done_later() {
    // Put together, so that they do not find themselves.
    let marks = [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("todo", "!"), ("unimplemented", "!")];
    let marks = marks.map(|(begin, end)| format!("{begin}{end}"));
    let endings = [".rs", ".md", ".toml", ".service", ".tmpfiles", ".sysusers", "tests/all", ".ci/run"];
    for (name, path) in files().into_iter().filter(|(name, _)| endings.iter().any(|ending| name.ends_with(ending))) {
        // Cargo.toml names two of the marks, as lints that forbid them.
        if name == "Cargo.toml" {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(marks.iter().find(|mark| text.contains(mark.as_str())), None, "{name}");
    }
}

#[test]
fn the_unit_is_as_the_program_needs_it() {
    let unit = read("packaging/vipkeeper.service");
    let settings: BTreeMap<&str, &str> = unit.lines().filter_map(|line| line.split_once('=')).collect();
    for (key, value) in [
        ("Type", "notify"),
        ("ExecStart", "/usr/bin/vipkeeper run"),
        ("Restart", "on-failure"),
        // As in main.rs: a wrong command line, and a wrong configuration.
        ("RestartPreventExitStatus", "2 78"),
        ("User", "vipkeeper"),
        ("RuntimeDirectory", "vipkeeper"),
        ("RuntimeDirectoryPreserve", "yes"),
        ("AmbientCapabilities", "CAP_NET_ADMIN"),
        ("CapabilityBoundingSet", "CAP_NET_ADMIN"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_NETLINK AF_UNIX"),
        ("ProtectProc", "default"),
    ] {
        assert_eq!(settings.get(key), Some(&value), "{key}");
    }
    let patience: u64 = settings["WatchdogSec"].strip_suffix('s').unwrap().parse().unwrap();
    assert!(Duration::from_secs(patience) >= vipkeeper::report::HEARTBEAT * 4, "one slow step is no alarm");
    assert!(settings["Before"].split(' ').any(|unit| unit == "pgpool2.service"));

    let folders: Vec<Vec<String>> = read("packaging/vipkeeper.tmpfiles")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect();
    let state_dir = load("[[vip]]\ndelegate_ip = '10.0.1.50'\nsecondary_ip = {}\n").state_dir;
    let desired = vipkeeper::desired::folder(&state_dir);
    assert_eq!(folders[0][..5], ["d", state_dir.to_str().unwrap(), "0755", "vipkeeper", "vipkeeper"]);
    assert_eq!(folders[1][..5], ["d", desired.to_str().unwrap(), "0775", "vipkeeper", "postgres"]);
    assert_eq!(folders.len(), 2);
    assert!(read("packaging/vipkeeper.sysusers").contains("\nu vipkeeper "));
}

#[test]
fn ci_runs_what_anybody_can_run() {
    let script = read(".ci/run");
    let last = script.lines().last().unwrap();
    assert_eq!(last, "CI=true exec tests/all");
    assert_eq!(script.lines().filter(|line| !line.starts_with('#')).count(), 3);
}

#[test]
fn every_kind_of_event_is_in_the_runbook_with_its_id() {
    let runbook = read("docs/operations.md");
    let rows = rows(&runbook).into_iter().filter(|row| row.len() == 3);
    let told: BTreeSet<_> = rows.filter_map(|row| Some((quoted(row[0])?, quoted(row[2])?))).collect();
    let kinds: BTreeSet<_> = EventKind::ALL.iter().map(|kind| (kind.name(), kind.message_id())).collect();
    let told: BTreeSet<_> = told.into_iter().filter(|(_, id)| id.len() == 32).collect();
    assert_eq!(told, kinds, "on the left docs/operations.md, on the right src/status/event.rs");
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_check_has_its_entry_and_every_entry_its_check() {
    let page = read("docs/operations.md");
    let (_, section) = page.split_once("\n## Checks\n").unwrap();
    let section = section.split_once("\n## ").unwrap().0;
    let entries: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("#### ")).collect();
    let checks: Vec<_> = check::all().map(|(_, check)| check.id).collect();
    assert_eq!(entries, checks, "in the same order");
    let headings: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(headings, Category::ALL.iter().map(|category| category.title()).collect::<Vec<_>>());
    let anchors: BTreeSet<_> =
        page.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect();
    for id in &checks {
        let told = check::anchor(id);
        let (file, heading) = told.split_once('#').unwrap();
        assert!(file == "docs/operations.md" && anchors.contains(heading), "{told}");
    }
    let counted = read("CHANGELOG.md").contains(&format!("{} checks", checks.len()));
    assert!(counted, "CHANGELOG.md counts {} checks", checks.len());
}

/// A page of a decision fits on one screen.
const LONGEST_DECISION: usize = 30;

#[test]
fn every_decision_is_short() {
    let pages = markdown().into_iter().filter(|(file, _)| file.starts_with("docs/decisions/"));
    let lengths: Vec<_> = pages.map(|(file, text)| (text.lines().count(), file)).collect();
    assert!(lengths.len() > 5, "{lengths:?}");
    let long: Vec<_> = lengths.iter().filter(|(lines, _)| *lines > LONGEST_DECISION).collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn every_link_leads_somewhere() {
    let mut followed = 0;
    for (file, text) in markdown() {
        let folder = root().join(&file).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if link.starts_with("https://") {
                continue;
            }
            followed += 1;
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root().join(&file) } else { folder.join(path) };
            assert!(target.exists(), "{file} links to {link}");
            if !heading.is_empty() {
                let page = fs::read_to_string(&target).unwrap();
                let mut headings = page.lines().filter(|line| line.starts_with('#'));
                assert!(headings.any(|line| anchor(line.trim_start_matches('#')) == heading), "{file} links to {link}");
            }
        }
    }
    assert!(followed > 10, "{followed}");
}

/// Each string of capitals in a file: the words that a page shows in them.
fn capitals(path: &str) -> BTreeSet<String> {
    let text = read(path);
    let words = text.split('"').skip(1).step_by(2).filter(|word| word.len() > 3);
    let is_word = |word: &&str| {
        word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ') && !word.starts_with(' ')
    };
    words.filter(is_word).map(str::to_owned).collect()
}

/// The first word in backticks.
fn in_ticks(cell: &str) -> Option<&str> {
    cell.split('`').nth(1)
}

#[test]
fn the_index_of_the_runbook_names_every_word_of_the_page_and_no_other() {
    let page = read("docs/operations.md");
    let (_, section) = page.split_once("\n## Word on the page, and its entry\n").unwrap();
    let index: Vec<_> = rows(section.split_once("\n## ").unwrap().0);
    let named: BTreeSet<_> = index.iter().flat_map(|row| row[0].split(", ").filter_map(in_ticks)).collect();
    let mut words = capitals("src/status/headline.rs");
    words.extend(["NOT RUNNING", "STUCK", "superseded"].map(str::to_owned));
    words.extend(ConditionName::ALL.iter().map(ToString::to_string));
    words.extend(ProblemReason::ALL.iter().map(ToString::to_string));
    assert_eq!(named, words.iter().map(String::as_str).collect());
    for problem in ProblemReason::ALL {
        let entry = RunbookEntry::of_problem(*problem);
        let row = index
            .iter()
            .find(|row| row[0].split(", ").filter_map(in_ticks).any(|word| word == problem.name()))
            .unwrap();
        assert!(row[1].ends_with(&format!("(#{entry})")), "{problem}: {}", row[1]);
    }
    let shown = read("src/status/page.rs");
    assert!(["\"NOT RUNNING\"", "\"STUCK\""].iter().all(|word| shown.contains(word)));
}

/// The names of the crates in these tables of `Cargo.toml`.
fn crates(table: &str) -> BTreeSet<String> {
    let manifest = read("Cargo.toml");
    let lines = manifest.lines().skip_while(|line| *line != table).skip(1).take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| Some(line.split_once([' ', '.'])?.0.trim().to_owned()));
    names.filter(|name| !name.is_empty() && !name.starts_with('#')).collect()
}

#[test]
fn every_dependency_has_its_reason_and_every_reason_its_dependency() {
    let text = read("docs/dependencies.md");
    let (program, tests) = text.split_once("## In tests alone").unwrap();
    for (part, table) in [(program, "[dependencies]"), (tests, "[dev-dependencies]")] {
        let mut named = BTreeSet::new();
        for row in rows(part).into_iter().filter(|row| row[0].starts_with('`')) {
            assert!(row[1].split(' ').count() > 1, "{row:?} is no reason");
            assert!(named.insert(row[0].trim_matches('`').to_owned()), "{row:?} stands there twice");
        }
        assert_eq!(named, crates(table), "{table}");
    }
}
