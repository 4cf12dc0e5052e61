//! The slips that people make in TOML, each told by its cure. The parser tells what it expected at a place, which is
//! seldom what the writer has to do. This module is pure.

use std::ops::Range;

/// The parser's text where a key stands twice in one table.
const TWICE: &str = "duplicate key";
/// The words that other programs and people use for a switch. TOML knows `true` and `false` alone.
const SWITCHES: [&str; 6] = ["true", "false", "yes", "no", "on", "off"];
/// Opening and closing quotes that word processors put in the place of straight ones.
const TYPOGRAPHIC: [char; 8] = ['“', '”', '„', '‘', '’', '‚', '«', '»'];

/// The cure of the slip at this place, or `None` where the parser's own text must do. `parser` is that text.
pub(super) fn cure(text: &str, span: &Range<usize>, parser: &str) -> Option<String> {
    let (before, after) = text.split_at_checked(span.start)?;
    let line = &before[before.rfind('\n').map_or(0, |newline| newline + 1)..];
    if parser == TWICE {
        let again = text.get(span.clone())?;
        let another = if is_in_vip(before) { "; each further VIP begins with a [[vip]] of its own" } else { "" };
        return Some(format!("{again} stands twice in the same table: keep one of them{another}"));
    }
    // A heading or a text that is not closed is told well by the parser.
    if ["table", "basic string", "invalid literal string"].iter().any(|part| parser.contains(part)) {
        return None;
    }
    if line.trim_start().is_empty() && after.trim_start().starts_with([';', '/']) {
        return Some("a comment begins with #".to_owned());
    }
    if ["unquoted key", "key with no value"].iter().any(|part| parser.contains(part)) {
        let has_colon = after.trim_start().starts_with(':') || line.trim_end().ends_with(':');
        return has_colon.then(|| "a key and its value are divided by =, not by a colon".to_owned());
    }
    let is_blank = |rest: &str| rest.trim().is_empty() || rest.trim().starts_with('#');
    if let Some(key) = line.trim().strip_suffix('=')
        && is_blank(after.lines().next().unwrap_or_default())
    {
        return Some(format!("{} has no value: write one after the =, or leave the key out", key.trim()));
    }
    bare(before, after).or_else(|| curly(after))
}

/// The cure for a value in typographic quotes.
fn curly(after: &str) -> Option<String> {
    let within = after.strip_prefix(TYPOGRAPHIC)?;
    let end = within.find(|c: char| TYPOGRAPHIC.contains(&c) || "\"'\n".contains(c)).unwrap_or(within.len());
    let word = &within[..end];
    Some(format!("these quotes are no straight ones, as TOML needs them: write \"{word}\""))
}

/// The cure for a value without quotes: an address, an id, a time, a word.
fn bare(before: &str, after: &str) -> Option<String> {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || ".:-_/+%@".contains(c);
    let start = before.trim_end_matches(part_of_word).len();
    let end = after.find(|c: char| !part_of_word(c)).unwrap_or(after.len());
    let mut word = format!("{}{}", &before[start..], &after[..end]);
    if !value_follows(&before[..start]) {
        return None;
    }
    // A number and its unit may be divided by a space.
    let rest = after[end..].lines().next().unwrap_or_default();
    let unit = rest.trim().split([' ', '#', ',', ']', '}']).next().unwrap_or_default();
    let is_unit = unit.starts_with(|c: char| c.is_ascii_alphabetic()) && unit.chars().all(part_of_word);
    if word.parse::<f64>().is_ok() && rest.starts_with(' ') && is_unit {
        word = format!("{word} {unit}");
    }
    if word.is_empty() || word.parse::<f64>().is_ok() {
        return None;
    }
    if SWITCHES.contains(&word.to_ascii_lowercase().as_str()) {
        return Some(format!("{word} has no quotes: a switch is true or false in small letters, a text is \"{word}\""));
    }
    Some(format!("{word} is a text without quotes: write it in quotes, \"{word}\""))
}

/// Whether a value must follow: an equals sign, the beginning of a list or a comma comes last. Comments do not count.
fn value_follows(before: &str) -> bool {
    let last = before.lines().map(without_comment).rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    last.trim_end().ends_with(['=', '[', ','])
}

/// The line up to its comment. A `#` within quotes begins none.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') => return &line[..at],
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    line
}

/// Whether the nearest heading above is that of a VIP.
fn is_in_vip(before: &str) -> bool {
    let heading = before.lines().rfind(|line| line.trim_start().starts_with('['));
    heading.is_some_and(|line| line.trim_start().trim_start_matches('[').starts_with("vip"))
}
