//! The imports of the source: no circle among files or modules, the modules in their order, and only data where something
//! is decided.

use std::collections::{BTreeMap, BTreeSet};

use super::{markdown, quoted, rows, texts};

/// The program's files, without their tests and without comments.
pub fn programs() -> BTreeMap<String, String> {
    let sources = texts(".rs").into_iter().filter(|(name, _)| name.starts_with("src/") && !name.contains("/tests"));
    let programs = sources.map(|(name, text)| {
        let program = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let code: Vec<_> = program.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        (name, code.join("\n"))
    });
    programs.collect()
}

/// The library's modules by their paths, like `daemon::vip`, without their tests and without comments.
pub fn modules() -> BTreeMap<String, String> {
    let modules = programs().into_iter().filter_map(|(name, code)| {
        let path = name.strip_prefix("src/")?.strip_suffix(".rs")?.replace('/', "::");
        let path = if path == "lib" { String::new() } else { path };
        (path != "main").then_some((path, code))
    });
    modules.collect()
}

/// `a::{b, c::{d, e as f}}` as `a::b`, `a::c::d`, `a::c::e as f`.
pub fn flattened(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.to_owned()];
    };
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut parts) = (0_u32, vec![String::new()]);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| flattened(part)).map(|part| format!("{}{part}", prefix.trim())).collect()
}

/// Names that a file may begin a path with, each with the path that it stands for, as seen from the crate's root: the
/// modules that the file declares, and the names that it imports.
pub type Scope = BTreeMap<String, Vec<String>>;

/// A path as seen from the crate's root; `None` for other crates.
pub fn absolute(module: &str, scope: &Scope, path: &str) -> Option<Vec<String>> {
    let mut names: Vec<_> = path.split("::").map(|name| name.trim().to_owned()).collect();
    let mut base: Vec<String> =
        if module.is_empty() { Vec::new() } else { module.split("::").map(str::to_owned).collect() };
    match names.first().map(String::as_str)? {
        "crate" => return Some(names.split_off(1)),
        "self" => _ = names.remove(0),
        "super" => {
            while names.first().is_some_and(|name| name == "super") {
                names.remove(0);
                base.pop();
            }
        }
        first => {
            base.clone_from(scope.get(first)?);
            names.remove(0);
        }
    }
    base.extend(names);
    Some(base)
}

/// The modules that a file declares, each in a file of its own.
fn declared(module: &str, code: &str) -> Scope {
    let names = code.lines().filter_map(|line| {
        let (before, name) = line.trim().strip_suffix(';')?.rsplit_once("mod ")?;
        (before.is_empty() || before.starts_with("pub")).then(|| name.to_owned())
    });
    names.filter_map(|name| Some((name.clone(), absolute(module, &Scope::new(), &format!("self::{name}"))?))).collect()
}

/// The names that a file may begin a path with.
pub fn scope(module: &str, code: &str) -> Scope {
    let mut scope = declared(module, code);
    // An import may begin with a name that another import brings.
    for _ in 0..2 {
        for (_, tree) in uses(code).0 {
            for path in flattened(&tree) {
                let (path, alias) = path.split_once(" as ").map_or((&*path, None), |(path, alias)| (path, Some(alias)));
                let Some(mut whole) = absolute(module, &scope, path) else { continue };
                whole.retain(|name| name != "self");
                let name = alias.or(whole.last().map(String::as_str)).unwrap_or_default().to_owned();
                scope.entry(name).or_insert(whole);
            }
        }
    }
    scope
}

/// Whether a statement begins on this line with `use`, or with a visibility and `use`.
fn begins_use(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("use ") || (line.starts_with("pub") && line.contains(" use ") && !line.contains("fn "))
}

/// The statements that begin with `use`, whether each is a re-export, and the rest of the code.
pub fn uses(code: &str) -> (Vec<(bool, String)>, String) {
    let (mut found, mut rest) = (Vec::new(), String::new());
    for statement in code.split(';') {
        let lines: Vec<_> = statement.lines().collect();
        let begin = lines.iter().position(|line| begins_use(line)).unwrap_or(lines.len());
        rest.push_str(&lines[..begin].join("\n"));
        rest.push(';');
        if let Some((before, tree)) = lines[begin..].join(" ").split_once("use ") {
            found.push((before.trim_start().starts_with("pub"), tree.to_owned()));
        }
    }
    (found, rest)
}

/// Paths that the code names outside its `use` statements.
fn inline_paths(code: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let paths = code.split(|c: char| !is_part(c)).filter(|word| word.contains("::") && !word.starts_with(':'));
    paths.map(|path| path.trim_end_matches(':').to_owned()).collect()
}

/// Which module imports from which. A module that re-exports a name imports the name's home only if it names it itself.
fn imports(modules: &BTreeMap<String, String>) -> BTreeMap<String, BTreeSet<String>> {
    let scopes: BTreeMap<_, _> = modules.iter().map(|(module, code)| (module, scope(module, code))).collect();
    let plain = |path: &str| path.split(" as ").next().unwrap_or_default().to_owned();
    let mut reexported = BTreeMap::new();
    for (module, code) in modules {
        for (_, tree) in uses(code).0.iter().filter(|(is_reexport, _)| *is_reexport) {
            for path in flattened(tree) {
                if let Some(origin) = absolute(module, &scopes[module], &plain(&path))
                    && let Some(name) = origin.last().cloned()
                {
                    reexported.insert((module.clone(), name), origin);
                }
            }
        }
    }
    let home = |path: Vec<String>| {
        let mut path = path;
        // A name that is re-exported again and again would be a circle of its own.
        for _ in 0..5 {
            let length = (0..=path.len()).rev().find(|length| modules.contains_key(&path[..*length].join("::")))?;
            let module = path[..length].join("::");
            let origin = path.get(length).and_then(|name| reexported.get(&(module.clone(), name.clone())));
            match origin {
                Some(origin) if *origin != path[..=length] => path = origin.clone(),
                _ => return Some(module),
            }
        }
        None
    };
    let mut imports = BTreeMap::new();
    for (module, code) in modules {
        let (statements, rest) = uses(code);
        let named: BTreeSet<_> = super::words(&rest).collect();
        let used = statements.into_iter().flat_map(|(is_reexport, tree)| {
            let paths = flattened(&tree).into_iter().map(|path| plain(&path));
            let is_used = |path: &String| !is_reexport || path.rsplit("::").next().is_some_and(|it| named.contains(it));
            paths.filter(is_used).collect::<Vec<_>>()
        });
        let homes = used.chain(inline_paths(&rest)).filter_map(|path| home(absolute(module, &scopes[module], &path)?));
        let others: BTreeSet<_> = homes.filter(|home| home != module && !home.is_empty()).collect();
        imports.insert(module.clone(), others);
    }
    imports
}

/// Which top-level module imports from which.
fn imports_of_top_level() -> BTreeMap<String, BTreeSet<String>> {
    let top = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    let mut between: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, others) in imports(&modules()) {
        let others = others.iter().map(|other| top(other)).filter(|other| *other != top(&module));
        between.entry(top(&module)).or_default().extend(others);
    }
    between
}

/// A way from a module back to itself, if there is one.
fn circle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn back(
        way: &mut Vec<String>,
        imports: &BTreeMap<String, BTreeSet<String>>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        let here = way.last().cloned()?;
        for next in imports.get(&here).into_iter().flatten() {
            if let Some(begin) = way.iter().position(|module| module == next) {
                return Some(way[begin..].iter().chain([next]).cloned().collect());
            }
            if !done.contains(next) {
                way.push(next.clone());
                if let Some(found) = back(way, imports, done) {
                    return Some(found);
                }
                way.pop();
            }
        }
        done.insert(here);
        None
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| back(&mut vec![module.clone()], imports, &mut done))
}

#[test]
fn no_file_imports_from_one_that_imports_from_it() {
    let modules = modules();
    assert!(modules.len() > 60, "{}", modules.len());
    let imports = imports(&modules);
    assert!(imports.values().map(BTreeSet::len).sum::<usize>() > 200, "{imports:?}");
    assert_eq!(circle(&imports).map(|way| way.join(" -> ")), None);
}

#[test]
fn no_top_level_module_imports_from_one_that_imports_from_it() {
    assert_eq!(circle(&imports_of_top_level()).map(|way| way.join(" -> ")), None);
}

#[test]
fn the_modules_are_listed_in_the_order_of_their_imports() {
    let library = texts(".rs")["src/lib.rs"].clone();
    let declared = library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let page = markdown()["ARCHITECTURE.md"].clone();
    let (_, section) = page.split_once("\n## Modules").unwrap();
    let table = rows(section.split_once("\n## ").unwrap().0);
    let described = table.iter().flat_map(|row| row[0].split(", ").filter_map(quoted));
    let imports = imports_of_top_level();
    for order in [declared.collect::<Vec<_>>(), described.collect()] {
        let place = |module: &str| order.iter().position(|listed| *listed == module);
        for (module, others) in imports.iter().filter(|(module, _)| !module.is_empty()) {
            let later: Vec<_> = others.iter().filter(|other| place(other) >= place(module)).collect();
            assert!(later.is_empty(), "{module} imports from {later:?}, which stands below it in {order:?}");
        }
    }
}

#[test]
fn a_circle_is_found_and_told() {
    let module = |name: &str, code: &str| (name.to_owned(), code.to_owned());
    let straight = [
        module("", ""),
        module("a", "pub use self::b::B;\nmod b;"),
        module("a::b", "use crate::c::{self, d::D};"),
        module("c", "mod d;"),
        module("c::d", "use std::fmt;"),
    ];
    assert_eq!(circle(&imports(&BTreeMap::from(straight.clone()))), None);
    let [root, a, b, c, _] = straight;
    // By a re-export: the name is `a`'s, its home is `a::b`.
    let bent = BTreeMap::from([root, a, b, c, module("c::d", "fn f() { super::super::a::B::new() }")]);
    assert_eq!(circle(&imports(&bent)), Some(["a::b", "c::d", "a::b"].map(str::to_owned).to_vec()));
}

#[test]
fn a_circle_by_relative_paths_is_found() {
    let has_circle = |a: &str, b: &str| {
        let modules =
            [("", "pub mod a;"), ("a", a), ("a::b", b)].map(|(name, code)| (name.to_owned(), code.to_owned()));
        circle(&imports(&BTreeMap::from(modules))).is_some()
    };
    let upward = "fn f() -> Vec<super::A> { Vec::new() }";
    for parent in [
        "mod b;\npub struct A;\nfn f() { b::f(); }",
        "pub(crate) mod b;\nuse b::{B, C};\npub struct A;",
        "mod b;\nuse self::b as other;\nfn f() { other::f(); }",
        "pub use b::B;\npub mod b;\npub struct A(B);",
    ] {
        assert!(has_circle(parent, upward), "{parent}");
        assert!(!has_circle(parent, "use std::fmt;\npub struct B;"), "{parent}");
    }
    // A file that only declares its child, or passes on its names, needs nothing of it.
    assert!(!has_circle("mod b;\npub struct A;", upward));
    assert!(!has_circle("pub use b::B;\nmod b;\npub struct A;", upward));
    // A name that the parent merely passes on is its home's.
    assert!(!has_circle("pub use b::B;\nmod b;\nfn f(_: B) {}", "fn f() -> super::B {}"));
}

/// Files and folders that decide or describe: no I/O, no clock, no log.
const PURE: [&str; 7] = ["action", "binding", "check", "claim_tag", "decide", "ids", "observe"];

/// The beginnings of all paths that those may name. None of them reaches a file, a socket, a clock or a log.
const OF_PURE: &[&str] = &[
    // Crates of data.
    "ipnet",
    "serde",
    "std::borrow::Cow",
    "std::cmp",
    "std::collections",
    "std::fmt",
    "std::iter",
    "std::mem",
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
    "std::net::SocketAddr",
    "std::path",
    "std::str::FromStr",
    "std::time::Duration",
    "std::time::UNIX_EPOCH",
    // Our own data.
    "action",
    "binding",
    "check",
    "claim_tag",
    "config",
    "decide",
    "desired::Claim",
    "desired::Desired",
    "desired::WhyStandby",
    "desired::WhyUnknown",
    "desired::hold::Extent",
    "desired::hold::InForce",
    "desired::source::Reading",
    "identity",
    "ids",
    "machine::clock::Discipline",
    "machine::folder::Folder",
    "machine::folder::UserIds",
    "machine::kernel",
    "machine::networkd::ManagedLink",
    "names",
    "observe",
    "ec2",
    "pgpool::conf",
    "pgpool::version",
    "pgpool::watchdog::Asked",
    "shown",
    "status::ClockStatus",
    "status::hint",
];

/// The paths that a pure file names and may not name.
fn reaches_out(module: &str, code: &str) -> Vec<String> {
    let scope = scope(module, code);
    let (statements, rest) = uses(code);
    let used = statements.into_iter().flat_map(|(_, tree)| flattened(&tree));
    let is_of_std = |path: &String| path.starts_with("std::") || path.starts_with("tokio::");
    let inline = inline_paths(&rest).into_iter();
    let inline = inline.filter(|path| is_of_std(path) || absolute(module, &scope, path).is_some());
    let whole = used.chain(inline).map(|path| match absolute(module, &scope, &path) {
        Some(ours) => ours.join("::"),
        None => path,
    });
    let may =
        |path: &String| OF_PURE.iter().any(|allowed| path == allowed || path.starts_with(&format!("{allowed}::")));
    whole.filter(|path| !may(path)).collect()
}

#[test]
fn modules_that_decide_import_only_data() {
    let mut seen = 0;
    for (module, code) in modules() {
        if PURE.contains(&module.split("::").next().unwrap_or_default()) {
            seen += 1;
            let out = reaches_out(&module, &code);
            assert!(out.is_empty(), "{module} is pure, and names {out:?}");
        }
    }
    assert!(seen > 20, "{seen}");
    for (code, out) in [
        ("use std::time::{Duration, Instant};", "std::time::Instant"),
        ("fn f() { std::fs::read(\"a\").unwrap(); }", "std::fs::read"),
        ("use rustix::time::clock_gettime;", "rustix::time::clock_gettime"),
        ("use crate::machine::{self, clock};\nfn f() { clock::boottime(); }", "machine::clock"),
        ("use crate::report::News;", "report::News"),
    ] {
        assert!(reaches_out("decide::plan", code).contains(&out.to_owned()), "{code}");
    }
}
