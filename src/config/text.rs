//! Turns TOML text into figment's values, and finds the line of every key. One parse gives both.

use std::collections::BTreeMap;
use std::ops::Range;

use figment::value::{Dict, Num, Tag, Value};
use toml::de::{DeTable, DeValue};

use super::error::Key;
use super::slips;

/// The beginning of the parser's text where a key has no equals sign behind it.
const NO_VALUE: &str = "key with no value";

/// One document: its values, and the line of each key.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub values: Dict,
    lines: BTreeMap<Key, usize>,
}

/// A place where the text is no TOML.
#[derive(Debug, PartialEq)]
pub(super) struct SyntaxError {
    /// The line and the column. Both count from 1, and the column counts characters.
    pub position: Option<(usize, usize)>,
    pub message: String,
}

impl Document {
    /// Reads the text of a whole file. The errors are all those that the parser finds in one run.
    pub fn parse(text: &str) -> Result<Self, Vec<SyntaxError>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let mut errors: Vec<_> = errors.iter().map(|error| SyntaxError::new(text, error)).collect();
            errors.sort_by_key(|error| error.position);
            // The parser may report one word more than once, and a slip before the equals sign as a missing value too.
            errors.dedup_by(|a, b| {
                let is_of_one_line = a.position.unzip().0 == b.position.unzip().0;
                is_of_one_line && (a.message == b.message || a.message.starts_with(NO_VALUE))
            });
            return Err(errors);
        }
        let mut document = Self::default();
        let mut walk = Walk { starts: line_starts(text), lines: &mut document.lines };
        document.values = walk.table(table.get_ref(), &Key::default());
        Ok(document)
    }

    /// The line of this key. A missing key has no line, so its line is that of the nearest table around it.
    pub fn line(&self, key: &Key) -> Option<usize> {
        let mut key = key.clone();
        loop {
            if let Some(line) = self.lines.get(&key) {
                return Some(*line);
            }
            key.0.pop()?;
        }
    }
}

/// Reads one value, as TOML allows it after a `=`.
pub(super) fn value(text: &str) -> Result<Value, SyntaxError> {
    let parsed = DeValue::parse(text).map_err(|error| SyntaxError::new(text, &error))?;
    let mut walk = Walk { starts: line_starts(text), lines: &mut BTreeMap::new() };
    Ok(walk.value(parsed.get_ref(), &Key::default()))
}

impl SyntaxError {
    fn new(text: &str, error: &toml::de::Error) -> Self {
        let position = error.span().map(|span| position(text, span.start));
        let cure = error.span().and_then(|span| slips::cure(text, &span, error.message()));
        let message = cure.unwrap_or_else(|| error.message().trim_end().replace('\n', "; "));
        Self { position, message }
    }
}

/// The line and the column of an offset. Both count from 1, and the column counts characters.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The offset at which each line begins.
fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(offset, _)| offset + 1)).collect()
}

struct Walk<'a> {
    starts: Vec<usize>,
    lines: &'a mut BTreeMap<Key, usize>,
}

impl Walk<'_> {
    fn table(&mut self, table: &DeTable<'_>, at: &Key) -> Dict {
        table
            .iter()
            .map(|(name, value)| {
                let key = at.name(name.get_ref());
                self.record(&key, &name.span());
                (name.get_ref().to_string(), self.value(value.get_ref(), &key))
            })
            .collect()
    }

    fn value(&mut self, value: &DeValue<'_>, at: &Key) -> Value {
        match value {
            DeValue::String(text) => Value::from(text.as_ref()),
            DeValue::Boolean(truth) => Value::from(*truth),
            DeValue::Integer(integer) => match i128::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) => Value::Num(Tag::Default, Num::I128(number)),
                // The integer is too large for any number type here. As a text, it is refused and shown in the
                // message.
                Err(_) => Value::from(integer.to_string()),
            },
            DeValue::Float(float) => match float.as_str().parse::<f64>() {
                Ok(number) => Value::from(number),
                Err(_) => Value::from(float.as_str()),
            },
            DeValue::Datetime(datetime) => Value::from(datetime.to_string()),
            DeValue::Array(items) => {
                let items = items.iter().enumerate().map(|(index, item)| {
                    let key = at.item(index);
                    self.record(&key, &item.span());
                    self.value(item.get_ref(), &key)
                });
                Value::from(items.collect::<Vec<_>>())
            }
            DeValue::Table(table) => Value::from(self.table(table, at)),
        }
    }

    fn record(&mut self, key: &Key, span: &Range<usize>) {
        let line = self.starts.partition_point(|start| *start <= span.start);
        self.lines.insert(key.clone(), line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_the_line_where_it_stands_and_a_missing_one_that_of_its_table() {
        let text = "a = 1\n\n[[vip]]\nx = [\n  'p',\n  'q',\n]\n[vip.route]\ny = { z = 1 }\n[[vip]]\n[vip.route]\n";
        let document = Document::parse(text).unwrap();
        let key = |text: &str| {
            text.split('.').fold(Key::default(), |key, step| match step.parse() {
                Ok(index) => key.item(index),
                Err(_) => key.name(step),
            })
        };
        for (path, line) in [
            ("a", 1),
            ("vip.0", 3),
            ("vip.0.none", 3),
            ("vip.0.x", 4),
            ("vip.0.x.1", 6),
            ("vip.0.route", 8),
            ("vip.0.route.none", 8),
            ("vip.0.route.y.z", 9),
            ("vip.1", 10),
            ("vip.1.route", 11),
        ] {
            assert_eq!(document.line(&key(path)), Some(line), "{path}");
        }
        assert_eq!(document.line(&key("none")), None);
    }

    #[test]
    fn a_syntax_error_has_line_and_column() {
        let errors = Document::parse("a = 1\nü = 2\n").unwrap_err();
        assert_eq!(errors[0].position, Some((2, 1)));
        let errors = Document::parse("a = 'x\nb = [1, 2\nc = 3 3\n").unwrap_err();
        assert!(errors.len() >= 2, "{errors:?}");
    }

    #[test]
    fn a_text_without_quotes_is_shown_in_quotes() {
        for (line, bare) in [
            ("a = 203.0.113.10", "203.0.113.10"),
            ("a = 10.0.0.1 # the first", "10.0.0.1"),
            ("a = fd00::1", "fd00::1"),
            ("a = [rtb-0123, 'rtb-1']", "rtb-0123"),
            ("a = 10s", "10s"),
            ("a = eth0", "eth0"),
        ] {
            let errors = Document::parse(&format!("x = 1\n{line}\ny = 2\n")).expect_err(line);
            let expected = format!("{bare} is a text without quotes: write it in quotes, \"{bare}\"");
            let found: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
            assert_eq!(found, [expected], "{line}");
            assert_eq!(errors[0].position.unwrap().0, 2, "{line}");
        }
        for other in ["a = 'x", "a = 3 3", "[vip", "delegate_ip", "a = "] {
            let errors = Document::parse(other).expect_err(other);
            assert!(errors.iter().all(|error| !error.message.contains("without quotes")), "{other}: {errors:?}");
        }
    }

    #[test]
    fn numbers_beyond_every_range_do_not_vanish() {
        let document = Document::parse(&format!("a = 1{}\nb = 0xff\n", "0".repeat(60))).unwrap();
        assert_eq!(document.values["a"].as_str().map(str::len), Some(61));
        assert_eq!(document.values["b"].to_num().and_then(Num::to_i128), Some(255));
    }
}
