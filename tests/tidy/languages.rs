//! A document and its translation have one structure: the same headings, code, tables, lists, names, numbers and links, in
//! the same order. The words between them are for readers to compare.

use std::collections::{BTreeMap, BTreeSet};

use super::{anchor, markdown};

/// Each document in English that is kept in Japanese too, and its translation.
const PAIRS: [(&str, &str); 11] = [
    ("README.md", "README.ja.md"),
    ("docs/account.md", "docs/ja/account.md"),
    ("docs/clients.md", "docs/ja/clients.md"),
    ("docs/comparison.md", "docs/ja/comparison.md"),
    ("docs/configuration.md", "docs/ja/configuration.md"),
    ("docs/metrics.md", "docs/ja/metrics.md"),
    ("docs/migration.md", "docs/ja/migration.md"),
    ("docs/operations.md", "docs/ja/operations.md"),
    ("docs/pgpool.md", "docs/ja/pgpool.md"),
    ("docs/security.md", "docs/ja/security.md"),
    ("docs/testing.md", "docs/ja/testing.md"),
];

/// Documents for operators that are kept in English alone, each with its reason.
const ENGLISH_ALONE: [(&str, &str); 3] = [
    ("docs/claims.md", "the protocol, for those who read the code beside it"),
    ("docs/dependencies.md", "a reason for each crate, for those who change the program"),
    ("docs/full-run.md", "what a command printed"),
];

/// The list of the Japanese documents, with its glossary. No document in English is like it.
const GLOSSARY: &str = "docs/ja/README.md";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Heading(usize),
    /// Lines of code, and the fence's language.
    Code(String),
    /// A row of a table, and how many cells it has.
    Row(usize),
    Item,
    Paragraph,
}

/// One heading, code block, row, item or paragraph.
#[derive(Clone, Debug)]
struct Block {
    kind: Kind,
    text: String,
}

impl Block {
    fn new(kind: Kind, line: &str) -> Self {
        Self { kind, text: line.trim().to_owned() }
    }

    /// The words in backticks.
    fn names(&self) -> BTreeSet<&str> {
        self.text.split('`').skip(1).step_by(2).collect()
    }

    /// The numbers outside backticks and outside the targets of links.
    fn numbers(&self) -> BTreeSet<String> {
        let prose: String = self.text.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        let mut parts = prose.split("](");
        let first = parts.next().unwrap_or_default().to_owned();
        let rest = parts.map(|part| part.split_once(')').map_or("", |(_, after)| after));
        let prose = rest.fold(first, |all, part| all + " " + part);
        let words = prose.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').map(|word| word.trim_matches('.'));
        let numbers = words.filter(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == '.'));
        numbers.map(str::to_owned).collect()
    }

    fn links(&self) -> impl Iterator<Item = &str> {
        self.text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link)
    }
}

fn is_item(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("- ") || line.split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok())
}

/// The blocks of a Markdown text, in its order.
fn blocks(text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut fence = None;
    let mut after_blank = true;
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        if let Some(code) = fence.take() {
            let code: String = code;
            if is_fence {
                found.push(Block::new(Kind::Code(code), ""));
            } else {
                fence = Some(code + "\n" + line);
            }
            after_blank = false;
            continue;
        }
        let goes_on = found.last().is_some_and(|block| match block.kind {
            Kind::Code(_) => line.starts_with("    ") && !after_blank,
            Kind::Item | Kind::Paragraph => !after_blank,
            Kind::Heading(_) | Kind::Row(_) => false,
        });
        let level = line.chars().take_while(|c| *c == '#').count();
        match found.last_mut() {
            _ if is_fence => fence = Some(line.trim().to_owned()),
            _ if line.trim().is_empty() => {}
            _ if level > 0 => found.push(Block::new(Kind::Heading(level), &line[level..])),
            _ if line.starts_with('|') => found.push(Block::new(Kind::Row(line.split('|').count() - 2), line)),
            _ if line.starts_with("    ") && after_blank => {
                found.push(Block::new(Kind::Code(line.to_owned()), ""));
            }
            Some(Block { kind: Kind::Code(code), .. }) if goes_on => *code = format!("{code}\n{line}"),
            _ if is_item(line) => found.push(Block::new(Kind::Item, line)),
            Some(block) if goes_on => block.text = format!("{} {}", block.text, line.trim()),
            _ => found.push(Block::new(Kind::Paragraph, line)),
        }
        after_blank = line.trim().is_empty();
    }
    assert_eq!(fence, None, "a fence without an end");
    found
}

/// All pages by their paths.
type Pages = BTreeMap<String, Vec<Block>>;

/// Where a link of a page leads: the address as it is; or a file's path from the root, and which of its headings.
fn target(link: &str, from: &str, pages: &Pages) -> String {
    if link.starts_with("https://") {
        return link.to_owned();
    }
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let mut path: Vec<&str> = from.split('/').collect();
    if !file.is_empty() {
        path.pop();
    }
    for step in file.split('/').filter(|step| !step.is_empty()) {
        if step == ".." { _ = path.pop() } else { path.push(step) }
    }
    let path = path.join("/");
    let headings = pages.get(&path).into_iter().flatten().filter(|block| matches!(block.kind, Kind::Heading(_)));
    let index = headings.map(|block| anchor(&block.text)).position(|anchor| anchor == heading);
    index.map_or_else(|| path.clone(), |index| format!("{path}, heading {index}"))
}

/// The target in the other language; itself, if the page has no translation.
fn translated(target: &str, pairs: &[(&str, &str)]) -> String {
    let path = target.split(", heading ").next().unwrap_or_default();
    let swapped = pairs.iter().find_map(|(english, japanese)| match path {
        _ if path == *english => Some(*japanese),
        _ if path == *japanese => Some(*english),
        _ => None,
    });
    swapped.map_or_else(|| target.to_owned(), |swapped| target.replacen(path, swapped, 1))
}

/// The first difference between a block and its translation.
fn block_differs(
    pair: (&str, &str),
    blocks: (&Block, &Block),
    pages: &Pages,
    pairs: &[(&str, &str)],
) -> Option<String> {
    let (english, japanese) = blocks;
    if english.kind != japanese.kind {
        return Some(format!("{:?} against {:?}", english.kind, japanese.kind));
    }
    if english.names() != japanese.names() {
        return Some(format!("the names {:?} against {:?}", english.names(), japanese.names()));
    }
    let numbers = japanese.numbers();
    if let Some(missing) = english.numbers().into_iter().find(|number| !numbers.contains(number)) {
        return Some(format!("the number {missing} is missing"));
    }
    let mut expected: Vec<_> = english.links().map(|link| translated(&target(link, pair.0, pages), pairs)).collect();
    // The glossary is for readers of Japanese alone.
    let links = japanese.links().map(|link| target(link, pair.1, pages));
    let mut links: Vec<_> = links.filter(|target| target != GLOSSARY).collect();
    expected.sort_unstable();
    links.sort_unstable();
    (expected != links).then(|| format!("links to {expected:?} against {links:?}"))
}

/// The first difference between a document and its translation, with the heading above it.
fn difference(pair: (&str, &str), pages: &Pages, pairs: &[(&str, &str)]) -> Option<String> {
    let [english, japanese] = [pair.0, pair.1].map(|path| pages.get(path).map(Vec::as_slice).unwrap_or_default());
    let mut heading = "";
    for (one, other) in english.iter().zip(japanese) {
        if matches!(one.kind, Kind::Heading(_)) {
            heading = &one.text;
        }
        if let Some(what) = block_differs(pair, (one, other), pages, pairs) {
            return Some(format!("{} below '{heading}': {what}\n{}\n{}", pair.1, one.text, other.text));
        }
    }
    let lengths = (english.len(), japanese.len());
    (lengths.0 != lengths.1 || lengths.0 == 0).then(|| format!("{} has {lengths:?} blocks", pair.1))
}

fn pages() -> Pages {
    markdown().into_iter().map(|(path, text)| (path, blocks(&text))).collect()
}

#[test]
fn a_document_and_its_translation_have_one_structure() {
    let pages = pages();
    let differences: Vec<_> = PAIRS.iter().filter_map(|pair| difference(*pair, &pages, &PAIRS)).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn a_document_and_its_translation_lead_to_one_another_at_their_tops() {
    let pages = pages();
    for (english, japanese) in PAIRS {
        for (from, to, text) in [(english, japanese, "[日本語]("), (japanese, english, "[English](")] {
            let second = &pages[from][1];
            assert!(second.text.starts_with(text), "{from}: {}", second.text);
            assert_eq!(second.links().map(|link| target(link, from, &pages)).next().as_deref(), Some(to), "{from}");
        }
    }
}

#[test]
fn every_document_for_operators_has_a_translation_or_a_reason_to_have_none() {
    let in_folder = |path: &str, folder: &str| path.strip_prefix(folder).is_some_and(|name| !name.contains('/'));
    for path in markdown().into_keys() {
        let is_english = PAIRS.iter().any(|(english, _)| *english == path);
        let is_japanese = PAIRS.iter().any(|(_, japanese)| *japanese == path);
        if in_folder(&path, "docs/") {
            let is_alone = ENGLISH_ALONE.iter().any(|(english, _)| *english == path);
            assert!(is_english != is_alone, "{path} has neither a translation nor a reason to have none, or both");
        }
        if in_folder(&path, "docs/ja/") {
            assert!(is_japanese || path == GLOSSARY, "{path} is the translation of no document");
        }
    }
}

/// Whether a line of Markdown is prose that the next line may go on with.
fn is_prose(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with("    ") && !line.starts_with(['#', '|', '!', '`'])
}

#[test]
fn no_line_of_japanese_breaks_within_a_sentence() {
    // Browsers show such a break as a space, which Japanese does not have.
    for (path, text) in markdown().into_iter().filter(|(path, _)| path.ends_with(".ja.md") || path.contains("/ja/")) {
        let outside = text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n");
        let lines: Vec<_> = outside.lines().collect();
        for pair in lines.windows(2).filter(|pair| is_prose(pair[0]) && is_prose(pair[1]) && !is_item(pair[1])) {
            assert!(pair[0].ends_with(['。', '*', '·']), "{path}: {}\n{}", pair[0], pair[1]);
        }
    }
}

const SAMPLE: &str = "# A\n\n[B](b.md)\n\n## C `x`\n\nWaits 5 s for `y`, see [there](b.md#c-x).\n\n| a | b |\n|---|---|\n\
    | `z` | 3 |\n\n- one\n- two\n  more\n\n      indented\n\n```sh\nls 7\n```\n";

/// The difference that the comparison finds between the sample and this translation.
fn said_of(translation: &str) -> Option<String> {
    let english = SAMPLE.to_owned();
    let pages = [("a.md", english), ("b.md", translation.replace("b.md", "a.md"))];
    let pages = pages.into_iter().map(|(path, text)| (path.to_owned(), blocks(&text))).collect();
    difference(("a.md", "b.md"), &pages, &[("a.md", "b.md")])
}

#[test]
fn the_first_difference_is_found_and_named() {
    assert_eq!(said_of(SAMPLE), None);
    let translated = SAMPLE.replace("Waits 5 s for `y`, see", "`y` 5").replace("one", "eins").replace("\n  more", "");
    assert_eq!(said_of(&translated), None, "other words, and lines that break elsewhere");
    for (from, to, named) in [
        ("## C", "### C", "Heading(2) against Heading(3)"),
        ("C `x`", "C `w`", "the names {\"x\"}"),
        ("5 s", "some", "the number 5 is missing"),
        ("`y`", "y", "the names {\"y\"}"),
        ("b.md#c-x", "b.md", "links to"),
        ("b.md#c-x", "c.md", "links to"),
        ("| 3 |", "3 |", "Row(2) against Row(1)"),
        ("| `z` | 3 |", "| `z` | 4 |", "the number 3 is missing"),
        ("- one\n", "", "below 'C `x`'"),
        ("indented", "Indented", "Code("),
        ("ls 7", "ls 8", "Code("),
        ("```sh", "```", "Code("),
        ("```sh\nls 7\n```\n", "", "blocks"),
        ("Waits", "A\n\nWaits", "the names {\"y\"}"),
    ] {
        let said = said_of(&SAMPLE.replacen(from, to, 1));
        assert!(said.as_ref().is_some_and(|said| said.contains(named)), "{from} as {to}: {said:?}");
    }
}
