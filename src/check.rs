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
mod finding;
mod kernel;
mod objects;
mod page;
mod pgpool;
mod places;
mod way;

use serde::Serialize;

pub use allowed::asks;
use facts::Facts;
use finding::Finding;
pub use finding::{Category, Check, CheckVerdict};

/// The checks of a category, in their order.
fn checks_of(category: Category) -> &'static [Check] {
    match category {
        Category::Config => config::CONFIG,
        Category::Identity => way::IDENTITY,
        Category::Clock => config::CLOCK,
        Category::Endpoint => way::ENDPOINT,
        Category::Credentials => way::CREDENTIALS,
        Category::Permissions => allowed::PERMISSIONS,
        Category::Ec2 => objects::EC2,
        Category::Kernel => kernel::KERNEL,
        Category::Pgpool => pgpool::PGPOOL,
        Category::Peers => pgpool::PEERS,
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
    verdict: CheckVerdict,
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
    Category::ALL.iter().flat_map(|category| checks_of(*category).iter().map(move |check| (*category, check)))
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
        ok: count(CheckVerdict::Ok),
        warning: count(CheckVerdict::Warning),
        failed: count(CheckVerdict::Failed),
        skipped: count(CheckVerdict::Skipped),
    };
    Results { checks, summary }
}

fn result(category: Category, check: &Check, finding: Finding) -> CheckResult {
    let is_fault = matches!(finding.verdict, CheckVerdict::Warning | CheckVerdict::Failed);
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
