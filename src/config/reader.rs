//! Takes typed values out of the merged layers, one key at a time. Each problem is recorded with its place, and
//! reading goes on, so that one run shows every problem. A key that no code takes is unknown.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use figment::value::{Dict, Num, Tag, Value};

use super::error::{ConfigProblem, Key, Place};
use super::homes;
use super::layers::Layers;

/// The sign that a problem is already recorded. The caller need not report it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reported(());

pub(super) type Checked<T> = Result<T, Reported>;

/// The least likeness (0 to 1) at which an unknown key counts as a misspelt known key.
const SLIP: f64 = 0.6;

pub(super) struct Reader<'a> {
    layers: &'a Layers,
    problems: RefCell<Vec<ConfigProblem>>,
}

impl<'a> Reader<'a> {
    pub fn new(layers: &'a Layers) -> Self {
        Self { layers, problems: RefCell::default() }
    }

    pub fn into_problems(self) -> Vec<ConfigProblem> {
        self.problems.into_inner()
    }
}

/// A value, and its place in the configuration.
pub(super) struct Entry<'r> {
    reader: &'r Reader<'r>,
    key: Key,
    value: Value,
}

impl<'r> Entry<'r> {
    pub fn place(&self) -> Place {
        self.reader.layers.place(&self.key, self.value.tag())
    }

    pub fn report(&self, message: impl Into<String>) -> Reported {
        report(self.reader, &self.key, self.value.tag(), &message.into())
    }

    /// A text with a meaning, which `parse` checks. `expected` describes a valid text.
    pub fn text<T, E: ToString>(&self, expected: &str, parse: impl Fn(&str) -> Result<T, E>) -> Checked<T> {
        match self.value.as_str() {
            None => Err(self.wrong_type(expected)),
            Some(text) if text.trim().is_empty() => {
                Err(self.report(format!("is empty: give {expected}, or leave the key out")))
            }
            Some(text) => parse(text).map_err(|error| {
                let message = unlike(text, &parse).unwrap_or_else(|| error.to_string());
                self.report(message)
            }),
        }
    }

    pub fn boolean(&self) -> Checked<bool> {
        let spelled = self.spelled().and_then(|text| text.parse().ok());
        self.value.to_bool().or(spelled).ok_or_else(|| self.wrong_type("true or false"))
    }

    pub fn number(&self, range: &RangeInclusive<f64>) -> Checked<f64> {
        self.number_as(&format!("a number from {} to {}", range.start(), range.end()), range)
    }

    pub fn whole_number(&self, range: &RangeInclusive<u32>) -> Checked<u32> {
        let (least, most) = (*range.start(), *range.end());
        let expected = format!("a whole number from {least} to {most}");
        let number = self.number_as(&expected, &(f64::from(least)..=f64::from(most)))?;
        if number.fract() == 0.0 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in a range of u32")]
            Ok(number as u32)
        } else {
            Err(self.wrong_type(&expected))
        }
    }

    fn number_as(&self, expected: &str, range: &RangeInclusive<f64>) -> Checked<f64> {
        let spelled = self.spelled().and_then(|text| text.parse().ok());
        let number = self.value.to_num().and_then(to_f64).or(spelled).ok_or_else(|| self.wrong_type(expected))?;
        if range.contains(&number) { Ok(number) } else { Err(self.report(format!("{number} is not {expected}"))) }
    }

    /// The value as a [`Table`]. The caller takes the keys from the table, and must then call [`Table::finish`].
    pub fn table(self, expected: &str) -> Checked<Table<'r>> {
        let tag = self.value.tag();
        match self.value {
            Value::Dict(_, entries) => {
                Ok(Table { reader: self.reader, key: self.key, tag, entries, known: Vec::new() })
            }
            _ => Err(self.wrong_type(expected)),
        }
    }

    pub fn is_table(&self) -> bool {
        matches!(self.value, Value::Dict(..))
    }

    /// The text of a variable or a flag, which may stand for a value of another type. `None` for a value of the file.
    fn spelled(&self) -> Option<&str> {
        self.value.as_str().filter(|_| self.reader.layers.is_untyped(self.value.tag()))
    }

    fn wrong_type(&self, expected: &str) -> Reported {
        let found = match &self.value {
            Value::String(_, text) => format!("the text '{text}'"),
            Value::Char(_, text) => format!("the text '{text}'"),
            Value::Bool(_, truth) => truth.to_string(),
            Value::Num(_, number) => match to_f64(*number) {
                Some(number) => format!("the number {number}"),
                None => "a number".to_owned(),
            },
            Value::Dict(..) => "a table".to_owned(),
            Value::Array(..) => "a list".to_owned(),
            Value::Empty(..) => "nothing".to_owned(),
        };
        self.report(format!("expected {expected}, found {found}"))
    }
}

/// The slip in a text that is valid but for spaces around it or for capital letters. Neither is easily seen.
fn unlike<T, E>(text: &str, parse: impl Fn(&str) -> Result<T, E>) -> Option<String> {
    let (trimmed, small) = (text.trim(), text.trim().to_lowercase());
    if trimmed != text && parse(trimmed).is_ok() {
        Some(format!("'{text}' has a space or a line break around it: write \"{trimmed}\""))
    } else {
        (small != trimmed && parse(&small).is_ok()).then(|| format!("'{text}' has capital letters: write \"{small}\""))
    }
}

/// A table from which the known keys are taken, one by one.
pub(super) struct Table<'r> {
    reader: &'r Reader<'r>,
    key: Key,
    tag: Tag,
    entries: Dict,
    known: Vec<&'static str>,
}

impl<'r> Table<'r> {
    /// The table of the whole configuration.
    pub fn root(reader: &'r Reader<'r>) -> Self {
        let entries = reader.layers.values.clone();
        Self { reader, key: Key::default(), tag: Tag::Default, entries, known: Vec::new() }
    }

    /// A key that may be missing. `read` gets its value.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Entry<'r>) -> Checked<T>,
    ) -> Checked<Option<T>> {
        self.known.push(name);
        let Some(value) = self.entries.remove(name) else { return Ok(None) };
        read(Entry { reader: self.reader, key: self.key.name(name), value }).map(Some)
    }

    /// A key that must be present. `hint` says what to write.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        hint: &str,
        read: impl FnOnce(Entry<'r>) -> Checked<T>,
    ) -> Checked<T> {
        self.optional(name, read)?.ok_or_else(|| self.report(name, format!("is missing: {hint}")))
    }

    /// A text that may be missing (see [`Entry::text`]).
    pub fn text<T, E: ToString>(
        &mut self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Checked<Option<T>> {
        self.optional(name, |node| node.text(expected, parse))
    }

    pub fn boolean(&mut self, name: &'static str) -> Checked<Option<bool>> {
        self.optional(name, |node| node.boolean())
    }

    /// A list that may be missing. Every item is read, even after a bad one.
    pub fn list<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        mut each: impl FnMut(Entry<'r>) -> Checked<T>,
    ) -> Checked<Option<Vec<T>>> {
        self.optional(name, |node| {
            let Value::Array(_, items) = node.value else { return Err(node.wrong_type(expected)) };
            let items = items.into_iter().enumerate();
            let read: Vec<_> = items
                .map(|(index, value)| each(Entry { reader: node.reader, key: node.key.item(index), value }))
                .collect();
            read.into_iter().collect()
        })
    }

    /// A table that may be missing. A key that `read` leaves in the table is unknown.
    pub fn table<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Table<'r>) -> Checked<T>,
    ) -> Checked<Option<T>> {
        self.optional(name, |node| {
            let expected = format!("a table, [{}]", node.key.heading());
            let mut table = node.table(&expected)?;
            let value = read(&mut table);
            table.finish();
            value
        })
    }

    /// A table that its own key `enabled = false` can switch off. A table that is switched off counts as missing, but
    /// is still checked.
    pub fn switchable<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Table<'r>) -> Checked<T>,
    ) -> Checked<Option<T>> {
        let read = self.table(name, |table| {
            let enabled = table.boolean("enabled");
            let value = read(table);
            Ok(enabled?.unwrap_or(true).then_some(value?))
        })?;
        Ok(read.flatten())
    }

    /// A table whose keys the user chooses.
    pub fn map<K: Ord, V, E: ToString>(
        &mut self,
        name: &'static str,
        expected: &str,
        key: impl Fn(&str) -> Result<K, E>,
        value: impl Fn(&Entry<'r>) -> Checked<V>,
    ) -> Checked<Option<BTreeMap<K, V>>> {
        self.optional(name, |node| {
            let table = node.table(expected)?;
            let read: Vec<Checked<(K, V)>> = table
                .entries
                .into_iter()
                .map(|(name, entry)| {
                    let node = Entry { reader: table.reader, key: table.key.name(&name), value: entry };
                    let key = key(&name).map_err(|error| node.report(error.to_string()));
                    let value = value(&node);
                    Ok((key?, value?))
                })
                .collect();
            read.into_iter().collect()
        })
    }

    /// Reports a problem of one key of this table. The key need not be present.
    pub fn report(&self, name: &str, message: impl Into<String>) -> Reported {
        report(self.reader, &self.key.name(name), self.tag, &message.into())
    }

    /// Reports a problem of the table itself.
    pub fn report_whole(&self, message: impl Into<String>) -> Reported {
        report(self.reader, &self.key, self.tag, &message.into())
    }

    /// Reports every key that is left as unknown.
    pub fn finish(self) {
        for (name, value) in self.entries {
            let nearest = self
                .known
                .iter()
                .map(|known| (strsim::normalized_damerau_levenshtein(known, &name), *known))
                .filter(|(likeness, _)| *likeness >= SLIP)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let message = match (nearest, homes::of(&name)) {
                (Some((_, known)), _) => format!("unknown key: did you mean \"{known}\"?"),
                (None, Some(home)) => format!("unknown key: {name} belongs {home}"),
                (None, None) => format!("unknown key: here are known {}", self.known.join(", ")),
            };
            report(self.reader, &self.key.name(&name), value.tag(), &message);
        }
    }
}

fn report(reader: &Reader<'_>, key: &Key, tag: Tag, message: &str) -> Reported {
    let place = reader.layers.place(key, tag);
    // A problem must be one line, even if the text in it has line breaks.
    let mut line = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    reader.problems.borrow_mut().push(ConfigProblem { place, key: key.clone(), message: line });
    Reported(())
}

#[expect(clippy::cast_precision_loss, reason = "compared with ranges far below the precision of f64")]
fn to_f64(number: Num) -> Option<f64> {
    number.to_f64().or_else(|| number.to_i128().map(|n| n as f64)).or_else(|| number.to_u128().map(|n| n as f64))
}
