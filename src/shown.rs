//! Text from outside vipkeeper (a tag's value, an error of EC2, the content of a file), made safe to show. Everything
//! that people read goes through this module, so that no such text can end a line, command a terminal, or reorder the
//! text beside it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// The longest text that is shown whole, in bytes. The longest errors of EC2 are a quarter of this.
pub const LONGEST: usize = 8 << 10;
const MORE: &str = " … (cut)";

/// The last millisecond that a date can show, as a Unix time.
const LAST_DATE_MS: u64 = 253_402_300_799_999;

/// The moment at this Unix time in milliseconds. A time that no date can show comes from a document that somebody altered:
/// it is the last moment that a date can show.
#[must_use]
pub fn moment(at_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at_ms.min(LAST_DATE_MS))
}

/// Whether this character is unsafe in a line's text: it ends the line, commands a terminal, or changes the direction
/// in which the rest is read (Unicode's bidirectional controls, and the marks that have no width).
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// The text on one line. Each unsafe character is escaped as in a Rust literal: `\n`, `\u{202e}`.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST && !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let (kept, rest) = text.split_at(text.floor_char_boundary(LONGEST));
    let mut shown = String::with_capacity(kept.len());
    for c in kept.chars() {
        if is_unsafe(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if !rest.is_empty() {
        shown.push_str(MORE);
    }
    Cow::Owned(shown)
}

/// The JSON text with its unsafe characters escaped as JSON does it. The meaning of the text stays the same.
#[must_use]
pub fn json(text: String) -> String {
    let is_unsafe = |c: char| is_unsafe(c) && !c.is_ascii();
    if !text.contains(is_unsafe) {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// One JSON object on one line, in which each text that is too long is cut.
#[must_use]
pub fn json_line(text: &str) -> String {
    let text = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(mut object)) if text.len() > LONGEST => {
            for value in object.values_mut() {
                if let Value::String(text) = value
                    && text.len() > LONGEST / 4
                {
                    text.truncate(text.floor_char_boundary(LONGEST / 4));
                    text.push_str(MORE);
                }
            }
            Value::Object(object).to_string()
        }
        _ => text.to_owned(),
    };
    json(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_no_date_can_show_is_shown_as_the_last_one_that_can() {
        let shown = |at_ms| humantime::format_rfc3339_seconds(moment(at_ms)).to_string();
        assert_eq!(shown(1_000), "1970-01-01T00:00:01Z");
        assert_eq!(shown(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn a_text_stays_on_its_line_in_its_direction() {
        assert_eq!(line("as it is: ä, 漢, …"), "as it is: ä, 漢, …");
        assert_eq!(line("a\n<3>forged\r\t\u{1b}[2J\u{202e}drow\u{9b}"), r"a\n<3>forged\r\t\u{1b}[2J\u{202e}drow\u{9b}");
        let long = line(&"é".repeat(LONGEST)).into_owned();
        assert!(long.len() <= LONGEST + MORE.len() && long.ends_with("é … (cut)"), "{}", long.len());
    }

    #[test]
    fn json_means_what_it_meant() {
        let value = serde_json::json!({ "why": "a\n\u{202e}b\u{2028}", "n": 1 });
        let shown = json(value.to_string());
        assert!(shown.contains(r"\u202e") && !shown.contains(is_unsafe), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
        let long = serde_json::json!({ "level": "ERROR", "why": "x".repeat(LONGEST * 2) }).to_string();
        let shown: Value = serde_json::from_str(&json_line(&long)).unwrap();
        assert_eq!(shown["level"], "ERROR");
        assert!(shown["why"].as_str().unwrap().len() < LONGEST);
    }
}
