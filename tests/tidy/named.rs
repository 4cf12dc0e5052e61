//! Everything that a text names is there: command lines of vipkeeper, as the program's own parser reads them, and files of this
//! repository.

use std::collections::BTreeSet;

use clap::Parser as _;
use clap::error::ErrorKind;
use vipkeeper::cli::Cli;

use super::{files, texts};

/// The ends of a command line within a document or a message.
const ENDS: [char; 9] = ['\'', '"', '`', '#', '>', '|', ';', '&', '\n'];

/// The ends of the texts before a command line, unless it stands at the beginning. Behind anything else, as in `-u vipkeeper`, the
/// word is a name.
const BEFORE: [&str; 4] = ["/usr/bin/", "sudo ", "postgres ", "$node "];

/// The command lines in a text, each from the program's name on. A word in angle brackets or braces stands for an address, and
/// brackets around an option say that it may be left out.
fn command_lines(text: &str) -> BTreeSet<String> {
    let mut text = text.replace("$_IP_$", "{ip}");
    for place in ["<delegate-ip>", "{ip}", "{vip}", "{}"] {
        text = text.replace(place, "20.0.0.50");
    }
    let begins = |at: &usize| *at == 0 || BEFORE.iter().any(|before| text[..*at].ends_with(before));
    let places = text.match_indices("vipkeeper ").map(|(at, _)| at).filter(begins);
    let lines = places.map(|at| text[at..].split(ENDS).next().unwrap_or_default());
    lines.map(|line| line.replace(['[', ']'], "").trim_end().to_owned()).collect()
}

/// The parts of a Markdown text in which a command line may stand: everything between backticks, and the indented lines.
fn shown(page: &str) -> Vec<String> {
    let quoted = page.split('`').skip(1).step_by(2).map(|part| part.replace('\n', " "));
    let code = page.lines().filter(|line| line.starts_with("    ")).map(|line| line.trim_start().to_owned());
    quoted.chain(code).collect()
}

/// The message of the parser; `None` if the line is right. A line may stop before the arguments that must follow, or behind the
/// option of which the text speaks.
fn refusal(line: &str) -> Option<String> {
    let error = Cli::try_parse_from(line.split_whitespace()).err()?;
    let ends_with_option = line.rsplit(' ').next().is_some_and(|word| word.starts_with("--"));
    let is_cut = match error.kind() {
        ErrorKind::MissingRequiredArgument => true,
        ErrorKind::InvalidValue => ends_with_option,
        _ => false,
    };
    (!is_cut).then(|| error.to_string())
}

#[test]
fn every_command_that_anybody_is_told_to_call_is_one() {
    let mut told = BTreeSet::new();
    for (name, page) in texts(".md") {
        told.extend(shown(&page).iter().flat_map(|part| command_lines(part)).map(|line| (line, name.clone())));
    }
    let messages = texts(".rs").into_iter().filter(|(name, _)| name.starts_with("src/"));
    for (name, text) in messages.chain(texts(".yml")).chain(texts("example.toml")) {
        let quoted = text.split(['\'', '`']).filter(|part| part.starts_with("vipkeeper ") && !part.contains('"'));
        // Other braces stand for what only the running program knows.
        let lines = quoted.flat_map(command_lines).filter(|line| !line.contains('{'));
        told.extend(lines.map(|line| (line, name.clone())));
    }
    assert!(told.len() > 60, "{told:#?}");
    let wrong: Vec<_> =
        told.iter().filter_map(|(line, name)| Some(format!("{name}: {line}: {}", refusal(line)?))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_command_that_is_none_is_refused_wherever_it_stands() {
    let lines = |text: &str| shown(text).iter().flat_map(|part| command_lines(part)).collect::<Vec<_>>();
    assert_eq!(lines("See `vipkeeper check --category objects`."), ["vipkeeper check --category objects"]);
    assert_eq!(lines("    sudo -u postgres vipkeeper up <delegate-ip>   # now"), ["vipkeeper up 20.0.0.50"]);
    assert_eq!(lines("    systemctl restart vipkeeper\n    journalctl -u vipkeeper -e"), [""; 0]);
    assert!(refusal("vipkeeper check --category objects").is_some_and(|text| text.contains("ec2")));
    assert!(refusal("vipkeeper stop").is_some());
    assert_eq!(refusal("vipkeeper up"), None);
    assert_eq!(refusal("vipkeeper check --category ec2"), None);
}

/// The folders that the paths of this repository begin with.
const FOLDERS: [&str; 8] = ["benches", "config", "crates", "dashboards", "docs", "packaging", "src", "tests"];
/// Texts of files with these endings name files.
const NAMING: [&str; 6] = [".md", ".rs", ".toml", ".yaml", ".yml", "tests/all"];
/// A path of Pgpool-II's own source, which begins like one of ours.
const OF_PGPOOL: &str = "src/watchdog/wd_ipc_";

/// The words of a text that are paths from the root of this repository.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let words = text.split(move |c: char| !is_part(c)).map(|word| word.trim_end_matches(['.', '/', '-']));
    words.filter(|word| word.split_once('/').is_some_and(|(folder, _)| FOLDERS.contains(&folder)))
}

#[test]
fn every_file_that_a_text_names_is_there() {
    let there = files();
    let is_there = |path: &str| {
        let below = format!("{path}/");
        [path, &format!("{path}.rs")].iter().any(|path| there.contains_key(*path))
            || there.keys().any(|name| name.starts_with(&below))
    };
    let (mut named, mut missing) = (0, BTreeSet::new());
    for (file, text) in NAMING.into_iter().flat_map(texts).filter(|(file, _)| !file.contains("golden")) {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        for path in paths(&text).filter(|path| *path != OF_PGPOOL) {
            named += 1;
            // A link of a document, and a path in a crate's own files, begin at their folder.
            if !is_there(path) && !is_there(&format!("{folder}/{path}")) {
                missing.insert(format!("{file}: {path}"));
            }
        }
    }
    assert!(named > 300, "{named}");
    assert!(missing.is_empty(), "{missing:#?}");
}
