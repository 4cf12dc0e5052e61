//! The results as a page for people.

use std::fmt::Write as _;

use super::finding::{Category, CheckVerdict};
use super::{CheckResult, Results, all};
use crate::shown;

impl Results {
    /// The page for people: each category with its checks, what was found and what to do, and a conclusion.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::new();
        for category in Category::ALL {
            let mut checks = self.checks.iter().filter(|check| check.category == category.name()).peekable();
            if checks.peek().is_none() {
                continue;
            }
            // Writing into a string cannot fail.
            let _ = writeln!(page, "{}", category.title());
            checks.for_each(|check| write_check(&mut page, check));
            page.push('\n');
        }
        page + &self.conclusion()
    }

    fn conclusion(&self) -> String {
        let summary = &self.summary;
        let counts = [
            (summary.ok, "ok"),
            (summary.warning, if summary.warning == 1 { "warning" } else { "warnings" }),
            (summary.failed, "failed"),
            (summary.skipped, "skipped"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
        let counts = counts.collect::<Vec<_>>().join(", ");
        // The checks of some categories alone do not tell that a failover works.
        let are_all = self.checks.len() == all().count();
        let sentence = match (summary.exit_code(), are_all) {
            (0, true) => "A failover to this node should work.",
            (3, true) => "A failover to this node should work, with the warnings above.",
            (0, false) => "These checks find no fault.",
            (3, false) => "These checks find warnings alone.",
            (_, _) => "A failover to this node would fail.",
        };
        format!("{counts}. {sentence} Nothing was changed.\n")
    }
}

fn write_check(page: &mut String, check: &CheckResult) {
    let mark = match check.verdict {
        CheckVerdict::Ok => "ok",
        CheckVerdict::Warning => "WARN",
        CheckVerdict::Failed => "FAIL",
        CheckVerdict::Skipped => "skip",
    };
    let mut messages = check.messages.iter().map(|message| shown::line(message));
    let first = messages.next().filter(|message| !message.is_empty());
    let first = first.map(|message| format!(": {message}")).unwrap_or_default();
    let _ = writeln!(page, "  {mark:<4}  {}{first}", check.title);
    for message in messages {
        let _ = writeln!(page, "        {message}");
    }
    if let Some(to_do) = &check.to_do {
        let _ = writeln!(page, "        do   {to_do}");
        let _ = writeln!(page, "        see  {}", check.anchor);
    }
}
