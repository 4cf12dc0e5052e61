//! Text on a terminal or in a pipe: colours, wrapping, tables, ages.

use std::time::Duration;

use crate::shown;

/// Whether a text may have colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    Allowed,
    Off,
}

/// Where the text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// The number of the terminal's columns. `None`: lines are as wide as need be, and the text is ASCII alone.
    pub width: Option<usize>,
    pub colour: bool,
}

/// The meaning of a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Faint,
    Bold,
    Good,
    Wait,
    Bad,
}

impl Style {
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => "",
            Tone::Faint => "2",
            Tone::Bold => "1",
            Tone::Good => "32",
            Tone::Wait => "33",
            Tone::Bad => "1;31",
        };
        if self.colour && !code.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// `label` and then the text, wrapped at the width. The further lines begin under the text's first column.
    pub(crate) fn paragraph(self, indent: usize, label: &str, text: &str) -> String {
        let column = indent + label.chars().count();
        // On a terminal that is too narrow, lines are longer than the terminal rather than one word each.
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(column).max(20));
        let mut page = format!("{:indent$}{}", "", self.paint(Tone::Faint, label));
        for (number, line) in wrap(text, room).iter().enumerate() {
            if number > 0 {
                page += &" ".repeat(column);
            }
            page += line;
            page.push('\n');
        }
        page
    }

    /// A table whose columns are as wide as their widest cell, two spaces apart. Only the last column may be cut at the
    /// width.
    pub(super) fn table(self, indent: usize, head: &[&str], rows: &[Vec<(Tone, String)>]) -> String {
        let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
        for row in rows {
            for (width, (_, cell)) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let last = widths.len().saturating_sub(1);
        let before_last = indent + widths.iter().take(last).map(|width| width + 2).sum::<usize>();
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(before_last).max(8));
        let head = head.iter().map(|cell| (Tone::Faint, (*cell).to_owned())).collect();
        let mut page = String::new();
        for row in std::iter::once(&head).chain(rows) {
            let mut line = " ".repeat(indent);
            for (number, ((tone, cell), width)) in row.iter().zip(&widths).enumerate() {
                let cell = if number == last { cut(cell, room) } else { cell.clone() };
                line += &self.paint(*tone, &cell);
                if number < last {
                    line += &" ".repeat(width - cell.chars().count() + 2);
                }
            }
            page += line.trim_end();
            page.push('\n');
        }
        page
    }
}

fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

/// The text on one line, without any character that a terminal could take for a command, because part of the text comes
/// from outside vipkeeper.
pub fn clean(text: &str) -> String {
    let words = text.split(|c: char| shown::is_unsafe(c) || c.is_whitespace()).filter(|word| !word.is_empty());
    shown::line(&words.collect::<Vec<_>>().join(" ")).into_owned()
}

fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > room {
            lines.push(String::new());
            used = 0;
        }
        let line = lines.last_mut().expect("never empty: it starts with one line, and lines are only added");
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += length;
    }
    lines
}

/// A duration as people say it, in its two largest units at most.
pub fn age(duration: Duration) -> String {
    let s = duration.as_secs();
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {small} {small_unit}") }
    };
    match s {
        0..10 if duration.subsec_millis() != 0 => format!("{:.1} s", duration.as_secs_f64()),
        0..60 => format!("{s} s"),
        60..600 => two(s / 60, "min", s % 60, "s"),
        600..3600 => format!("{} min", s / 60),
        3600..86_400 => two(s / 3600, "h", s / 60 % 60, "min"),
        _ => two(s / 86_400, "d", s / 3600 % 24, "h"),
    }
}

/// The age of a moment. Both times are Unix times in milliseconds.
pub fn since(then_ms: u64, now_ms: u64) -> String {
    age(Duration::from_millis(now_ms.saturating_sub(then_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_says_two_units_at_most() {
        let cases = [
            (0, "0 s"),
            (412, "0.4 s"),
            (42_000, "42 s"),
            (62_000, "1 min 2 s"),
            (725_000, "12 min"),
            (3_600_000, "1 h"),
            (11_100_000, "3 h 5 min"),
            (187_200_000, "2 d 4 h"),
        ];
        for (ms, text) in cases {
            assert_eq!(age(Duration::from_millis(ms)), text, "{ms}");
        }
    }

    #[test]
    fn what_could_command_a_terminal_is_taken_out() {
        assert_eq!(clean("a\x1b[2J b\r\n\tc\u{9b}d\u{202e}e"), "a [2J b c d e");
    }

    #[test]
    fn a_long_text_continues_under_its_first_word() {
        let style = Style { width: Some(30), colour: false };
        assert_eq!(
            style.paragraph(2, "do  ", "allow it in the policy of this role"),
            concat!("  do  allow it in the policy\n", "      of this role\n")
        );
    }

    #[test]
    fn only_the_last_column_is_cut() {
        let style = Style { width: Some(24), colour: false };
        let rows = [vec![(Tone::Plain, "abcdef".to_owned()), (Tone::Plain, "0123456789012345678".to_owned())]];
        assert_eq!(style.table(2, &["A", "B"], &rows), "  A       B\n  abcdef  0123456789012…\n");
        assert_eq!(
            Style { width: None, ..style }.table(2, &["A", "B"], &rows),
            "  A       B\n  abcdef  0123456789012345678\n"
        );
    }
}
