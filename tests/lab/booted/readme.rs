//! The README's own lines: what an operator is told to type is what the test types.

use std::fs;
use std::path::Path;

pub struct Readme(String);

impl Readme {
    pub fn read() -> Self {
        Self(fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap())
    }

    fn section(&self, heading: &str) -> &str {
        let (_, rest) = self.0.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
        rest.split_once("\n## ").map_or(rest, |(section, _)| section)
    }

    /// The lines of a section that are shown as code by four spaces, without these and without comments.
    fn code(&self, heading: &str) -> impl Iterator<Item = &str> {
        let lines = self.section(heading).lines().filter_map(|line| line.strip_prefix("    "));
        lines.map(|line| line.split_once("  #").map_or(line, |(line, _)| line).trim_end())
    }

    /// The one command of a section that begins so; without a leading `# or:`.
    pub fn command(&self, heading: &str, begin: &str) -> String {
        let lines = self.code(heading).map(|line| line.strip_prefix("# or: ").unwrap_or(line));
        let found: Vec<_> = lines.filter(|line| line.starts_with(begin)).collect();
        let first = found.first().unwrap_or_else(|| panic!("{heading} has no {begin:?}"));
        assert!(found.iter().all(|line| line == first), "{heading}: {found:?}");
        (*first).to_owned()
    }

    /// The one command of a section's text, in backticks, that begins so.
    pub fn quoted(&self, heading: &str, begin: &str) -> String {
        let found: Vec<_> = self.section(heading).split('`').filter(|part| part.starts_with(begin)).collect();
        assert_eq!(found.len(), 1, "{heading}: {begin}: {found:?}");
        found[0].to_owned()
    }

    /// The configuration in the section of a method.
    pub fn configuration(&self, heading: &str) -> String {
        let (_, rest) = self.section(heading).split_once("```toml\n").expect("each method has a configuration");
        rest.split_once("```").unwrap().0.to_owned()
    }

    /// The lines of pgpool.conf, as Pgpool-II 4.3 spells them and for this address.
    pub fn pgpool_conf(&self, delegate_ip: &str) -> String {
        let keys = ["delegate_ip", "if_up_cmd", "if_down_cmd", "arping_cmd"];
        let lines = self.code("Install").filter(|line| keys.iter().any(|key| line.starts_with(key)));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), keys.len(), "{lines:?}");
        let (key, shown) = lines[0].split_once("= ").unwrap();
        assert!(self.section("Install").contains("4.3 the first is spelled `delegate_IP`"));
        assert!(key.trim() == "delegate_ip" && shown.starts_with('\''), "{}", lines[0]);
        let first = format!("delegate_IP = '{delegate_ip}'");
        format!("{first}\n{}\n", lines[1..].join("\n"))
    }
}

#[test]
fn lines_are_found_and_comments_are_not() {
    let readme = Readme(
        "# a\n\n## One\n\ntext\n\n    run this   # why\n    # or: run that\n\n## Two\n\n    run more\n".to_owned(),
    );
    assert_eq!(readme.command("One", "run this"), "run this");
    assert_eq!(readme.command("One", "run that"), "run that");
    assert_eq!(readme.command("Two", "run"), "run more");
}
