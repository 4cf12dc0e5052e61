//! The conditions of a failover that works, judged before it is needed: facts in, results out. Pure: `commands::check`
//! gathers the facts.
//!
//! Each check stands in one table with its id, its title, its standing advice and its judgement. The id is the name of
//! the check's entry in docs/operations.md as well. A check fails only if its fault would stop a failover; a fault that
//! costs less is a warning. A check that cannot be made is skipped and says why. A fault that several checks could meet
//! is told by the first one, and skips the others.

mod allowed;
mod config;
pub mod facts;
mod kernel;
mod objects;
mod page;
mod pgpool;
mod way;

use serde::Serialize;

use crate::names::names;

pub use allowed::asks;
use facts::Facts;

names!(
    /// A group of checks. The order of the variants is the order in which the checks build on one another.
    Category {
        Config = "config",
        Identity = "identity",
        Clock = "clock",
        Endpoint = "endpoint",
        Credentials = "credentials",
        Permissions = "permissions",
        Ec2 = "ec2",
        Kernel = "kernel",
        Pgpool = "pgpool",
        Peers = "peers",
    }
);

impl Category {
    /// The heading of the category.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Config => "Configuration and state folder",
            Self::Identity => "Identity of this node",
            Self::Clock => "Clock",
            Self::Endpoint => "DNS and endpoint of EC2",
            Self::Credentials => "Credentials",
            Self::Permissions => "Permissions",
            Self::Ec2 => "Objects in EC2",
            Self::Kernel => "Kernel and other keepers of addresses",
            Self::Pgpool => "Pgpool-II",
            Self::Peers => "Peers",
        }
    }

    /// Whether the checks of this category need an answer of the metadata service or of EC2.
    #[must_use]
    pub fn needs_cloud(self) -> bool {
        !matches!(self, Self::Config | Self::Pgpool | Self::Peers)
    }

    fn checks(self) -> &'static [Check] {
        match self {
            Self::Config => config::CONFIG,
            Self::Identity => way::IDENTITY,
            Self::Clock => config::CLOCK,
            Self::Endpoint => way::ENDPOINT,
            Self::Credentials => way::CREDENTIALS,
            Self::Permissions => allowed::PERMISSIONS,
            Self::Ec2 => objects::EC2,
            Self::Kernel => kernel::KERNEL,
            Self::Pgpool => pgpool::PGPOOL,
            Self::Peers => pgpool::PEERS,
        }
    }
}

names!(
    /// The result of one check. The order of the variants is not their weight.
    Verdict {
        Ok = "ok",
        Warning = "warning",
        Failed = "failed",
        Skipped = "skipped",
    }
);

/// One check.
pub struct Check {
    /// The name of the check, and of its entry in docs/operations.md. Stable: scripts may go by it.
    pub id: &'static str,
    pub title: &'static str,
    /// The advice where the judgement has no better one.
    pub advice: &'static str,
    judge: fn(&Facts) -> Finding,
}

/// The judgement of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    /// The findings, one line each. A check that is skipped says why.
    lines: Vec<String>,
    /// Advice about this very finding, instead of the check's own.
    advice: Option<String>,
}

impl Finding {
    fn new(verdict: Verdict, line: impl Into<String>) -> Self {
        Self { verdict, lines: vec![line.into()], advice: None }
    }

    fn ok(line: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, line)
    }

    fn warning(line: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, line)
    }

    fn failed(line: impl Into<String>) -> Self {
        Self::new(Verdict::Failed, line)
    }

    fn skipped(why: impl Into<String>) -> Self {
        Self::new(Verdict::Skipped, why)
    }

    /// Faults with this verdict, or else `well`.
    fn of_faults(verdict: Verdict, faults: Vec<String>, well: impl Into<String>) -> Self {
        if faults.is_empty() { Self::ok(well) } else { Self { verdict, lines: faults, advice: None } }
    }

    fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

/// The result of one check, as people and programs get it. The fields are an interface: add fields, never rename one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    pub id: &'static str,
    pub category: &'static str,
    pub title: &'static str,
    /// `ok`, `warning`, `failed` or `skipped`.
    pub result: &'static str,
    pub messages: Vec<String>,
    /// `None` unless something is to be done.
    pub to_do: Option<String>,
    pub anchor: String,
    #[serde(skip)]
    verdict: Verdict,
}

/// The results of all checks that were made, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Results {
    pub checks: Vec<CheckResult>,
    pub summary: Summary,
}

/// The number of checks by result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    pub ok: usize,
    pub warning: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Summary {
    /// The exit code: 0 all is well, 1 something would stop a failover, 3 there are warnings alone.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self { failed: 1.., .. } => 1,
            Self { warning: 1.., .. } => 3,
            Self { .. } => 0,
        }
    }
}

/// Every check with its category, in the order in which they are told.
pub fn all() -> impl Iterator<Item = (Category, &'static Check)> {
    Category::ALL.iter().flat_map(|category| category.checks().iter().map(move |check| (*category, check)))
}

/// The place of a check's entry in the documents.
#[must_use]
pub fn anchor(id: &str) -> String {
    format!("docs/operations.md#{id}")
}

/// Judges the facts. Only checks of these categories are made.
#[must_use]
pub fn judge(facts: &Facts, categories: &[Category]) -> Results {
    let made = all().filter(|(category, _)| categories.contains(category));
    let checks: Vec<_> = made.map(|(category, check)| result(category, check, (check.judge)(facts))).collect();
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let summary = Summary {
        ok: count(Verdict::Ok),
        warning: count(Verdict::Warning),
        failed: count(Verdict::Failed),
        skipped: count(Verdict::Skipped),
    };
    Results { checks, summary }
}

fn result(category: Category, check: &Check, finding: Finding) -> CheckResult {
    let is_fault = matches!(finding.verdict, Verdict::Warning | Verdict::Failed);
    CheckResult {
        id: check.id,
        category: category.name(),
        title: check.title,
        result: finding.verdict.name(),
        messages: finding.lines,
        to_do: is_fault.then(|| finding.advice.unwrap_or_else(|| check.advice.to_owned())),
        anchor: anchor(check.id),
        verdict: finding.verdict,
    }
}
