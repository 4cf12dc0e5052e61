//! One check and its finding, and the categories of checks.

use super::facts::Facts;
use crate::names::names;

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
}

names!(
    /// The result of one check. The order of the variants is not their weight.
    CheckVerdict {
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
    pub(super) judge: fn(&Facts) -> Finding,
}

/// The judgement of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) verdict: CheckVerdict,
    /// The findings, one line each. A check that is skipped says why.
    pub(super) lines: Vec<String>,
    /// Advice about this very finding, instead of the check's own.
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn new(verdict: CheckVerdict, line: impl Into<String>) -> Self {
        Self { verdict, lines: vec![line.into()], advice: None }
    }

    pub(super) fn ok(line: impl Into<String>) -> Self {
        Self::new(CheckVerdict::Ok, line)
    }

    pub(super) fn warning(line: impl Into<String>) -> Self {
        Self::new(CheckVerdict::Warning, line)
    }

    pub(super) fn failed(line: impl Into<String>) -> Self {
        Self::new(CheckVerdict::Failed, line)
    }

    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self::new(CheckVerdict::Skipped, why)
    }

    /// Faults with this verdict, or else `well`.
    pub(super) fn of_faults(verdict: CheckVerdict, faults: Vec<String>, well: impl Into<String>) -> Self {
        if faults.is_empty() { Self::ok(well) } else { Self { verdict, lines: faults, advice: None } }
    }

    pub(super) fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}
