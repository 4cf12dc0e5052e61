//! The problems of the configuration: all of them at once, each with its place.

use std::fmt;
use std::path::PathBuf;

/// The error of an unusable configuration. It contains all problems: first those of the file, then those of variables
/// and flags by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The problems. The list is never empty.
    problems: Vec<ConfigProblem>,
}

impl ConfigError {
    /// `None` if there is no problem.
    pub(super) fn new(mut problems: Vec<ConfigProblem>) -> Option<Self> {
        problems.sort();
        problems.dedup();
        (!problems.is_empty()).then_some(Self { problems })
    }

    /// Every problem, sorted by its place.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }

    /// The line above the problems.
    #[must_use]
    pub fn heading(&self) -> String {
        match self.problems.len() {
            1 => "1 error in the configuration:".to_owned(),
            count => format!("{count} errors in the configuration:"),
        }
    }

    /// The first problem and how many more there are, in one line: for the hooks, whose output lands in Pgpool's log.
    #[must_use]
    pub fn summary(&self) -> String {
        match self.problems.as_slice() {
            [] => String::new(),
            [only] => only.to_string(),
            [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.heading())?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// One problem: its place, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigProblem {
    pub place: Place,
    /// The key. Empty if the problem concerns the whole file.
    pub key: Key,
    pub message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.0.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// The place of a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    File {
        path: PathBuf,
        /// The line, counted from 1. `None` if the problem concerns the file as a whole.
        line: Option<usize>,
        /// The column, counted in characters from 1. Known for syntax errors only.
        column: Option<usize>,
    },
    /// The name of an environment variable or a flag.
    Named(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => {
                write!(f, "{}", path.display())?;
                [line, column].into_iter().flatten().try_for_each(|number| write!(f, ":{number}"))
            }
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// The path of a key from the top of the configuration. It is shown as `vip[0].route.tables[1]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Key(pub Vec<KeyStep>);

/// One step of a path: into a table, or into a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyStep {
    Name(String),
    /// The index of the item, counted from 0.
    Item(usize),
}

impl Key {
    #[must_use]
    pub fn name(&self, name: &str) -> Self {
        self.step(KeyStep::Name(name.to_owned()))
    }

    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        self.step(KeyStep::Item(index))
    }

    /// The key as the heading of its table, without the numbers of list items: `vip.route`.
    #[must_use]
    pub(super) fn heading(&self) -> String {
        let names = self.0.iter().filter(|step| matches!(step, KeyStep::Name(_)));
        Self(names.cloned().collect()).to_string()
    }

    fn step(&self, step: KeyStep) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                KeyStep::Name(name) => {
                    f.write_str(if depth == 0 { "" } else { "." })?;
                    if is_bare(name) { f.write_str(name)? } else { write!(f, "{name:?}")? }
                }
                KeyStep::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Whether TOML allows the key without quotes.
fn is_bare(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}
