//! The shape of the source: short functions with few parameters, one meaning for each type name, constants and codes in
//! one place, and comments that say their subject.

use std::collections::{BTreeMap, BTreeSet};

use vipkeeper::problem::ProblemReason;
use vipkeeper::status::{ConditionName, ConditionReason};

use super::imports::{absolute, flattened, modules, programs, scope, uses};
use super::texts;

/// Lines of a function, from its signature to its closing brace.
const LONGEST_FUNCTION: usize = 60;

/// Functions that may be longer: at most three, each with its reason.
const LONGER_FUNCTIONS: [(&str, &str, &str); 1] =
    [("src/report/log.rs", "news", "a flat match: one line for each kind of news, in the order of the enum")];

#[test]
fn no_function_is_too_long() {
    let mut too_long = Vec::new();
    let mut excused = BTreeSet::new();
    for (file, text) in
        texts(".rs").into_iter().filter(|(name, _)| name.starts_with("src/") && !name.contains("/tests"))
    {
        let program = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines: Vec<_> = program.lines().collect();
        for (begin, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let Some((before, after)) = code.split_once("fn ") else { continue };
            let words = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe"];
            if !before.split_whitespace().all(|word| words.contains(&word)) {
                continue;
            }
            let end = format!("{}}}", &line[..line.len() - code.len()]);
            let length = lines[begin..].iter().position(|line| *line == end).map_or(1, |length| length + 1);
            let name = after.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            let is_declared_only = lines[begin..].iter().find(|line| line.ends_with('{') || line.ends_with(';'));
            if length <= LONGEST_FUNCTION || is_declared_only.is_some_and(|line| line.ends_with(';')) {
                continue;
            }
            if LONGER_FUNCTIONS.iter().any(|(home, longer, _)| *home == file && *longer == name) {
                excused.insert(name.to_owned());
            } else {
                too_long.push(format!("{file}: {name}: {length} lines"));
            }
        }
    }
    assert!(too_long.is_empty(), "{too_long:#?}");
    assert_eq!(excused.len(), LONGER_FUNCTIONS.len(), "an excuse that nobody needs: {excused:?}");
}

/// Files of the loop with times of their own, and why no time of the claim protocol rests on them.
const OWN_TIMES: [(&str, &str); 2] = [
    ("src/daemon.rs", "a suspend of the machine is noticed"),
    ("src/daemon/writes.rs", "the removal of a local address waits for its connections; compared at compile time"),
];

#[test]
fn the_claim_protocols_constants_stand_together() {
    let (mut scattered, mut excused) = (Vec::new(), BTreeSet::new());
    for (name, program) in programs() {
        let is_decide = name.starts_with("src/decide") && name != "src/decide/timing.rs";
        if !is_decide && !name.starts_with("src/daemon") {
            continue;
        }
        for line in program.lines().filter(|line| line.contains("const ") && !line.contains("fn ")) {
            let is_time = line.contains("Duration");
            let is_number = [": u32", ": u64", ": usize", ": f64"].iter().any(|of| line.contains(of));
            // A format's version is no time and no limit.
            if !is_time && (!is_decide || !is_number || line.contains("VERSION")) {
                continue;
            }
            if OWN_TIMES.iter().any(|(own, _)| *own == name) {
                excused.insert(name.clone());
            } else {
                scattered.push(format!("{name}: {}", line.trim()));
            }
        }
    }
    assert!(scattered.is_empty(), "{scattered:#?}");
    assert_eq!(excused.len(), OWN_TIMES.len(), "an excuse that nobody needs: {excused:?}");
    let timing = &texts(".rs")["src/decide/timing.rs"];
    let (constants, assertions) = (timing.matches("\npub const ").count(), timing.matches("= assert!(").count());
    assert!(constants >= 10 && assertions >= 5, "{constants} constants, {assertions} assertions");
}

/// The most parameters of a function, apart from its receiver.
const MOST_PARAMETERS: usize = 5;

/// The text between the bracket with which `text` begins and the bracket that closes it, and the rest.
fn enclosed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '<' | '[' => depth += 1,
            ')' | '>' | ']' if depth <= 1 => return (depth == 1).then(|| (&text[1..at], &text[at + 1..])),
            ')' | '>' | ']' => depth -= 1,
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The names of the functions in the code, each with its parameters. The receiver is no parameter.
fn functions(code: &str) -> Vec<(String, Vec<String>)> {
    // An arrow is no bracket.
    let code = code.replace("->", "");
    let functions = code.split("fn ").skip(1).filter_map(|function| {
        let (name, rest) = function.split_at(function.find(|c: char| !c.is_alphanumeric() && c != '_')?);
        let list = if rest.starts_with('<') { enclosed(rest)?.1 } else { rest };
        let (mut parameters, mut depth) = (vec![String::new()], 0_u32);
        for c in enclosed(list)?.0.chars() {
            match c {
                '(' | '<' | '[' => depth += 1,
                ')' | '>' | ']' => depth -= 1,
                _ => {}
            }
            if c == ',' && depth == 0 {
                parameters.push(String::new());
            } else if let Some(parameter) = parameters.last_mut() {
                parameter.push(c);
            }
        }
        let is_receiver = |parameter: &str| parameter.split([' ', '&']).any(|word| word == "self" || word == "self:");
        let parameters = parameters.iter().map(|parameter| parameter.trim());
        let parameters = parameters.filter(|parameter| !parameter.is_empty() && !is_receiver(parameter));
        Some((name.to_owned(), parameters.map(str::to_owned).collect()))
    });
    functions.collect()
}

/// The parameters of closures that are declared as `bool`.
fn flags_of_closures(code: &str) -> Vec<String> {
    let lists = code.split('|').filter(|list| !list.contains([';', '{', '}', '=']));
    let parameters = lists.flat_map(|list| list.split(',')).map(str::trim);
    parameters.filter(|parameter| parameter.ends_with(": bool")).map(str::to_owned).collect()
}

#[test]
fn a_call_shows_what_its_arguments_mean() {
    let (mut unclear, mut seen) = (Vec::new(), 0);
    for (file, code) in programs() {
        for (name, parameters) in functions(&code) {
            seen += 1;
            if parameters.len() > MOST_PARAMETERS {
                unclear.push(format!("{file}: {name}: {} parameters", parameters.len()));
            }
            // A call shows only `true`: an enum, or two functions, tell the two meanings apart.
            let flags = parameters.iter().filter(|parameter| parameter.ends_with(": bool"));
            unclear.extend(flags.map(|flag| format!("{file}: {name}: {flag}")));
        }
        unclear.extend(flags_of_closures(&code).into_iter().map(|flag| format!("{file}: a closure: {flag}")));
    }
    assert!(seen > 900, "{seen} functions");
    assert!(unclear.is_empty(), "{unclear:#?}");
}

#[test]
fn a_functions_parameters_are_told_apart() {
    let code = "pub fn a(&mut self, b: Vec<(u8, u8)>, c: bool) -> u8 {}\nfn d<E: Fn(u8, u8) -> bool>(\n  e: E,\n) {}";
    let [a, d] = [("a", &["b: Vec<(u8, u8)>", "c: bool"][..]), ("d", &["e: E"])]
        .map(|(name, parameters)| (name.to_owned(), parameters.iter().map(|&it| it.to_owned()).collect::<Vec<_>>()));
    assert_eq!(functions(code), [a, d]);
    let closures =
        "let put = |name: &str, holds: bool, why: String| {};\nlet sum = |a: u8| a | 1;\nstruct A { b: bool }";
    assert_eq!(flags_of_closures(closures), ["holds: bool"]);
}

/// The types that a file defines, each with whether it is meant for other files too.
fn types(code: &str) -> Vec<(bool, String)> {
    let types = code.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_public = words.first().is_some_and(|word| word.starts_with("pub"));
        let words = if is_public { &words[1..] } else { &words[..] };
        let [kind, name, ..] = words else { return None };
        let is_type = ["struct", "enum", "trait", "type", "union"].contains(kind)
            // The types that belong to a trait are indented; a macro's type has its name from the call.
            && line.starts_with(if is_public { "p" } else { kind })
            && !name.starts_with('$');
        let name = name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        is_type.then(|| (is_public, name.to_owned()))
    });
    // The sets of words that the macro `names` makes.
    let sets = code.split("names!(").skip(1).filter_map(|set| {
        let set = set.split_once('{')?.0.lines().last()?.trim().to_owned();
        (!set.is_empty() && set.chars().all(char::is_alphanumeric)).then_some((true, set))
    });
    types.chain(sets).collect()
}

/// The files that define each type, where other files may or do name the type.
fn homes_of_types(modules: &BTreeMap<String, String>) -> BTreeMap<String, BTreeSet<String>> {
    // A type that is private is seen in the files below its own.
    let imported: BTreeSet<Vec<String>> = modules
        .iter()
        .flat_map(|(module, code)| {
            let scope = scope(module, code);
            let trees = uses(code).0.into_iter().flat_map(|(_, tree)| flattened(&tree)).collect::<Vec<_>>();
            trees.into_iter().filter_map(move |path| absolute(module, &scope, path.split(" as ").next()?))
        })
        .collect();
    let mut homes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, code) in modules {
        for (is_public, name) in types(code) {
            let path: Vec<_> = module.split("::").chain([&*name]).map(str::to_owned).collect();
            if is_public || imported.contains(&path) {
                homes.entry(name).or_default().insert(module.clone());
            }
        }
    }
    homes
}

#[test]
fn a_type_name_means_one_thing() {
    for (file, code) in programs() {
        for (is_reexport, tree) in uses(&code).0 {
            assert!(
                !is_reexport || !tree.contains(|c: char| c.is_uppercase()) || !tree.contains(" as "),
                "{file}: {tree}"
            );
        }
    }
    let mut homes = homes_of_types(&modules());
    assert!(homes.len() > 250, "{}", homes.len());
    homes.retain(|_, files| files.len() > 1);
    assert!(homes.is_empty(), "{homes:#?}");
}

#[test]
fn a_type_that_is_private_counts_where_another_file_names_it() {
    let twice = |user: &str| {
        let modules =
            [("a", "mod b;\ntrait Source {}"), ("a::b", user), ("c", "names!(\n    /// All.\n    Source {\n")];
        let modules = modules.map(|(name, code)| (name.to_owned(), code.to_owned()));
        homes_of_types(&BTreeMap::from(modules))["Source"].len() == 2
    };
    assert!(twice("use super::{Source, watch};"));
    assert!(!twice("use super::watch;"));
}

/// Whether a sentence of a comment begins with a clause in the place of its subject.
fn has_a_clause_as_its_subject(line: &str) -> bool {
    let Some((_, comment)) = line.split_once("// ").or_else(|| line.split_once("/// ")) else { return false };
    comment.starts_with("What ") || comment.contains(". What ")
}

#[test]
fn every_doc_comment_names_its_subject() {
    let mut riddles = Vec::new();
    for (file, text) in texts(".rs") {
        let mut is_inside = false;
        for (number, line) in text.lines().enumerate() {
            let comment = ["///", "//!"].iter().find_map(|mark| line.trim_start().strip_prefix(mark)).map(str::trim);
            let begins = comment.filter(|_| !is_inside).is_some_and(|comment| comment.starts_with("What "))
                || has_a_clause_as_its_subject(line);
            if begins || comment.is_some_and(|comment| comment.starts_with("The same")) {
                riddles.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
            is_inside = comment.is_some_and(|comment| !comment.is_empty());
        }
    }
    assert!(riddles.is_empty(), "{riddles:#?}");
}

/// Files that make, judge or show the codes on the page.
const OF_CODES: [&str; 6] =
    ["src/daemon", "src/report", "src/status/", "src/wake", "src/commands/run.rs", "src/commands/hold.rs"];

/// The file of those whose words the codes are.
const HOME_OF_CODES: &str = "src/status/condition.rs";

#[test]
fn a_code_on_the_page_has_one_home() {
    let programs = programs();
    let is_code = |word: &str| word.starts_with(char::is_uppercase) && word.contains(char::is_lowercase);
    let literals = |code: &str| -> Vec<String> {
        let literals = code.split('"').skip(1).step_by(2).filter(|literal| literal.chars().all(char::is_alphanumeric));
        literals.filter(|literal| is_code(literal)).map(str::to_owned).collect()
    };
    let names = ConditionName::ALL.iter().map(|name| name.name());
    let reasons = ConditionReason::ALL.iter().map(|reason| reason.name());
    let problems = ProblemReason::ALL.iter().map(|reason| reason.name());
    let codes: BTreeSet<_> = names.chain(reasons).chain(problems).map(str::to_owned).collect();
    assert!(codes.len() > 40, "{codes:?}");
    let mut strewn = Vec::new();
    let shows = |file: &str| OF_CODES.iter().any(|folder| file.starts_with(folder)) && file != HOME_OF_CODES;
    for (file, code) in programs.iter().filter(|(file, _)| shows(file)) {
        // The daemon names no word of this form but its codes and EC2's operations.
        let is_strewn = |word: &String| codes.contains(word) || (file.contains("daemon") && !word.contains("Describe"));
        strewn.extend(literals(code).into_iter().filter(is_strewn).map(|word| format!("{file}: {word}")));
    }
    assert!(strewn.is_empty(), "{strewn:#?}");
}

#[test]
fn a_hooks_command_is_advised_in_one_place() {
    let commands = ["'vipkeeper up", "'vipkeeper down", "'vipkeeper resume"];
    let advises = |code: &String| commands.iter().any(|command| code.contains(command));
    let homes = programs().into_iter().filter(|(file, code)| file.starts_with("src/status") && advises(code));
    assert_eq!(homes.map(|(file, _)| file).collect::<Vec<_>>(), ["src/status/by_hand.rs"]);
}

/// The variants of an enum that these lines declare, each on a line of its own with the indent of a variant.
fn variants(lines: &str) -> BTreeSet<&str> {
    let names =
        lines.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| line.starts_with(char::is_uppercase));
    names.filter_map(|line| line.split(|c: char| !c.is_alphanumeric()).next()).collect()
}

#[test]
fn the_changes_tell_what_follows_from_the_status_and_nobody_else_does() {
    let news = &texts(".rs")["src/report/news.rs"];
    let (_, news) = news.split_once("pub enum News<'a> {").unwrap();
    let (events, changes) = news.split_once("\n}\n").unwrap().0.split_once("// Changes of the status").unwrap();
    let (events, changes) = (variants(events), variants(changes));
    assert!(events.len() > 6 && changes.len() > 12, "{events:?} {changes:?}");
    let programs = programs();
    let told = |file: &str| -> BTreeSet<String> {
        let names = programs[file].split("News::").skip(1);
        names.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next()).map(str::to_owned).collect()
    };
    assert_eq!(told("src/report/changes.rs"), changes.iter().map(|name| (*name).to_owned()).collect());
    let mut met = BTreeSet::new();
    for file in programs.keys().filter(|file| file.starts_with("src/daemon") || *file == "src/commands/run.rs") {
        met.extend(told(file));
    }
    assert_eq!(met, events.iter().map(|name| (*name).to_owned()).collect());
}
