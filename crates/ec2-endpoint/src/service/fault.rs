//! Faults to switch on: what goes wrong, for whom, at which operations, and how often.

use std::{borrow::Cow, collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use crate::Operation;

use super::Caller;

/// A fault that is switched on, until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FaultId(pub u64);

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub kind: FaultKind,
    #[serde(default)]
    pub scope: Scope,
    /// Calls that it still strikes; none for as long as it is on.
    #[serde(default)]
    pub remaining: Option<u32>,
    /// Probability that it strikes a call within its scope, 0 to 1.
    #[serde(default = "always")]
    pub chance: f64,
}

fn always() -> f64 {
    1.0
}

impl Fault {
    /// A fault of every call of everybody.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, scope: Scope::default(), remaining: None, chance: always() }
    }

    /// Only calls of this caller, in whatever role.
    #[must_use]
    pub fn of_caller(mut self, name: &str) -> Self {
        self.scope.callers.insert(name.into());
        self
    }

    /// Only calls that are made in this role.
    #[must_use]
    pub fn in_role(mut self, role_arn: &str) -> Self {
        self.scope.roles.insert(role_arn.into());
        self
    }

    /// Only this operation; again for one more.
    #[must_use]
    pub fn at(mut self, operation: &str) -> Self {
        self.scope.operations.insert(operation.into());
        self
    }

    /// Only that many calls.
    #[must_use]
    pub fn times(mut self, calls: u32) -> Self {
        self.remaining = Some(calls);
        self
    }

    /// Only with this probability, 0 to 1.
    #[must_use]
    pub fn with_chance(mut self, chance: f64) -> Self {
        self.chance = chance;
        self
    }

    /// Whether the fault acts on this call; counts it if so.
    pub(super) fn strikes(&mut self, caller: &Caller, operation: &Operation, random: &mut fastrand::Rng) -> bool {
        if self.remaining == Some(0) || !self.scope.covers(caller, operation) || !self.kind.concerns(operation) {
            return false;
        }
        if self.chance < 1.0 && random.f64() >= self.chance {
            return false;
        }
        if let Some(remaining) = &mut self.remaining {
            *remaining -= 1;
        }
        true
    }
}

/// Whose calls, and which; an empty set means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    pub callers: BTreeSet<String>,
    pub operations: BTreeSet<String>,
    /// ARNs; if any is named, calls without a role are out of scope.
    pub roles: BTreeSet<String>,
}

impl Scope {
    fn covers(&self, caller: &Caller, operation: &Operation) -> bool {
        let in_role = || caller.role.as_ref().is_some_and(|role| self.roles.contains(role));
        (self.callers.is_empty() || self.callers.contains(&caller.name))
            && (self.operations.is_empty() || self.operations.contains(operation.name()))
            && (self.roles.is_empty() || in_role())
    }
}

/// One way in which calls go wrong. Durations in JSON are texts like `150ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// The call takes longer, by a time between the two.
    Latency {
        #[serde(with = "duration")]
        least: Duration,
        #[serde(with = "duration")]
        most: Duration,
    },
    /// `RequestLimitExceeded`.
    Throttle,
    /// Reads show the account as it was a while ago, each by another while up to this: two reads may see two replicas.
    /// At most ten minutes are remembered.
    Stale {
        #[serde(with = "duration")]
        up_to: Duration,
    },
    /// EC2 fails, and says so in its own format.
    ServerError { status: u16, code: Cow<'static, str> },
    /// A proxy or load balancer answers in EC2's place.
    ProxyHtml { status: u16 },
    /// The call is executed; the answer is status 200 with nothing in it.
    EmptyBody,
    /// The connection ends before the call is executed.
    DropBefore,
    /// The call is executed and its answer is lost.
    DropAfter,
    /// The caller lacks the permission.
    Deny,
    /// The caller cannot reach the service.
    Cut { how: Cut },
}

impl FaultKind {
    /// A latency that is equal for every call.
    pub fn latency(latency: Duration) -> Self {
        Self::Latency { least: latency, most: latency }
    }

    pub(super) fn stage(&self) -> Stage {
        match self {
            Self::Latency { .. } | Self::ProxyHtml { .. } | Self::DropBefore | Self::Cut { .. } => Stage::Way,
            Self::Throttle | Self::ServerError { .. } | Self::Deny | Self::Stale { .. } => Stage::Service,
            Self::EmptyBody | Self::DropAfter => Stage::Answer,
        }
    }

    /// Stale reads are a matter of reads only.
    fn concerns(&self, operation: &Operation) -> bool {
        !(matches!(self, Self::Stale { .. }) && operation.is_write())
    }
}

/// Where on a call's way a fault acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Way,
    Service,
    Answer,
}

/// How a network that is cut shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// Packets vanish.
    Hang,
    /// Connections are closed at once.
    Refuse,
}

/// One way in which a node's metadata service goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ImdsFault {
    /// Connections are closed at once.
    Off,
    /// Every answer takes this much longer.
    Slow {
        #[serde(with = "duration")]
        by: Duration,
    },
    /// Every answer has this status, for example 403 (switched off for the instance) or 503.
    Status { status: u16 },
}

/// Durations as people write them.
pub(crate) mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(D::Error::custom)
    }
}
