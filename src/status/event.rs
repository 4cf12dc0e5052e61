//! The events of a node: outcomes that somebody wants to read again after a bad night. `report/events` derives each event
//! from the daemon's news. Here is the form in which events are kept, written and read.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::binding::BindingKey;
use crate::names::{OneOf, names};

pub mod file;
pub mod list;
pub mod shown;
pub mod stamp;

/// How many events a node keeps. A further event takes the place of the oldest.
pub const MOST: usize = 500;

/// The longest text of an event, in bytes, before the text is cut. It bounds the file of all events, because other
/// programs and people write some of the texts.
const LONGEST_TEXT: usize = 600;

names!(
    /// The kind of an event.
    EventKind {
        /// The daemon started. Starts that follow one another without an end, as after crashes, are one event.
        Started = "started",
        Stopping = "stopping",
        Reloaded = "reloaded",
        ReloadFailed = "reload_failed",
        /// The events of earlier daemons could not be read.
        EventsLost = "events_lost",
        /// A hook, Pgpool's watchdog or the death of its process changed the role that is wanted of this node.
        Role = "role",
        DesiredInvalid = "desired_invalid",
        DesiredValid = "desired_valid",
        WatchdogGone = "watchdog_gone",
        /// This node's claim began, or its term was raised.
        Claim = "claim",
        ClaimClock = "claim_clock",
        Superseded = "superseded",
        Gained = "gained",
        Lost = "lost",
        /// Every binding was seen here for the first time under this claim.
        Converged = "converged",
        Contested = "contested",
        NotContested = "not_contested",
        /// EC2 has led the clients to no node that leads for longer than a failover takes.
        NobodyServes = "nobody_serves",
        /// The VIP leads to a node again.
        Served = "served",
        /// Packets for the VIP do not arrive where EC2 leads them.
        Astray = "astray",
        NotAstray = "not_astray",
        /// There is a watchdog of Pgpool, and it has not answered for a while.
        WatchdogSilent = "watchdog_silent",
        WatchdogHeard = "watchdog_heard",
        HookLost = "hook_lost",
        HookFound = "hook_found",
        Held = "held",
        Resumed = "resumed",
        Drift = "drift",
        Blocked = "blocked",
        /// A binding that had drifted, or had been blocked, is as it should be again.
        InSync = "in_sync",
        /// EC2 or the kernel accepted a change.
        Changed = "changed",
        /// A change was refused, failed, or its answer was lost.
        ChangeFailed = "change_failed",
        ConnectionsReset = "connections_reset",
        Obstacle = "obstacle",
        ObstacleGone = "obstacle_gone",
        ReadFailed = "read_failed",
        ReadAgain = "read_again",
        Problem = "problem",
        Solved = "solved",
    }
);

impl EventKind {
    /// The journal's `MESSAGE_ID` of this kind. The ids are an interface: an id never changes, and is never given to another
    /// kind.
    #[must_use]
    pub fn message_id(self) -> &'static str {
        match self {
            Self::Started => "7b1d0a5e3c8f4c0f9a6e5b2d4f1c8a01",
            Self::Stopping => "2f6c9e84d1b7478a8d3a90c5e7f4b602",
            Self::Reloaded => "c4a85f0b92e64d1fb7d80e6a3195cf03",
            Self::ReloadFailed => "90e3b7d6a25f4b5c8c1f47da6e0b9204",
            Self::EventsLost => "5ad2f81c7e934a60b90c3d6f8e15a705",
            Self::Role => "e8074c6db1f3492eaf5296b0c3d78e06",
            Self::DesiredInvalid => "3c9b5ea07d824f16962be4d1a80f7c07",
            Self::DesiredValid => "a1f60d9be3c74852bd9073f5c26e4808",
            Self::WatchdogGone => "64d8c2f7905e4ab3a7e1b58d0c93f609",
            Self::Claim => "f2a7306b8d9c4e75940d1ce6b7f58a0a",
            Self::ClaimClock => "18e5d4c0b6a94f3d8b72f06e9ac1d30b",
            Self::Superseded => "d0936fb2ea574c8fa1840b7dce52690c",
            Self::Gained => "7ea40c95f1d84b2696b3d8e205fc7a0d",
            Self::Lost => "b95f2e61c07a4d3888ecf1a94d60b30e",
            Self::Converged => "0c7da8e4936b4f51a5f82b6c1de0970f",
            Self::Contested => "e65b1f93d80c47a2b4970edc52a8f610",
            Self::NotContested => "4180ed7fca2b4695b3d65cf09e71a811",
            Self::NobodyServes => "83b6d1f09e2c4a7795e04fc8d71ba522",
            Self::Served => "0ef7429cb5d8461ea2936bd4f81c7e23",
            Self::Astray => "d45a8c3e17f04bb69c82e5f0a3d96124",
            Self::NotAstray => "59c0e7b2f86d4d13b4a7290ec5183f25",
            Self::WatchdogSilent => "6e0b5d93a7c14f28b1d47c90ef52a326",
            Self::WatchdogHeard => "c27f81d4069e4b3fa85b16d3e790fb27",
            Self::HookLost => "9dc3716e05fa48b19c28b4e7f06d5a12",
            Self::HookFound => "26fb0ad8e7914c53a86d90e5c3b17f13",
            Self::Held => "c71e94d5f23b4068b1a7650fd98ec214",
            Self::Resumed => "8f350bc6a9de4712938ce27d14f06b15",
            Self::Drift => "53a9e2f0d7c84b619f0d17b8ce6a4516",
            Self::Blocked => "ea0d68c4719f45b28a37de5c0b92f617",
            Self::InSync => "1b8c57e3f06d4a94bc69a20fe5d81718",
            Self::Changed => "a6f4d20b9c8e4b37916c5e80fd273a19",
            Self::ChangeFailed => "780be9c5d3a1462f8ed7b05c94fa161a",
            Self::ConnectionsReset => "cd29f1a60e7548d3a0bc8654e97f031b",
            Self::Obstacle => "35e6b8d7fc014a92b85f91c3d0ae621c",
            Self::ObstacleGone => "f90c4ab2d6e8473195da7c0e518b6f1d",
            Self::ReadFailed => "4e71d05c8bfa4962a3c8f6e9b02d571e",
            Self::ReadAgain => "b2d86f3e05c94a7b8df150ec9a73641f",
            Self::Problem => "6c0fa5e9d1b34728b7e49c82f05d3a20",
            Self::Solved => "d7e2940bc65f4a8390af16d8ce7b5021",
        }
    }

    /// Whether something goes wrong, again and again in the same way perhaps, until another event of its topic ends it.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            Self::ReloadFailed
                | Self::DesiredInvalid
                | Self::Drift
                | Self::Blocked
                | Self::ChangeFailed
                | Self::Obstacle
                | Self::ReadFailed
                | Self::Problem
        )
    }

    /// Whether an event of this kind says no more than that a failure is over, so that it is no event without the failure.
    #[must_use]
    pub fn only_ends_a_failure(self) -> bool {
        matches!(self, Self::DesiredValid | Self::InSync | Self::ObstacleGone | Self::ReadAgain | Self::Solved)
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEvent {
    /// The number of the event on this node. It grows by one from event to event, and is the order in which they happened:
    /// the wall clock may have been set back meanwhile.
    pub number: u64,
    /// When the event happened by this node's wall clock: a Unix time in milliseconds.
    pub at_ms: u64,
    /// When the event happened, in milliseconds since boot, suspended time included. `None` if the machine has booted since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_ms: Option<u64>,
    pub kind: OneOf<EventKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vip: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<BindingKey>,
    /// The event in one sentence.
    pub what: String,
    /// The reason, in EC2's words where EC2 gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The thing that the event is about besides VIP and binding: a claim, a source, the name of a problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The name of the change, as in metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// EC2's operation that carried the change out; `None` for a change of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// The outcome of the change, as in metrics; the class of a failed read; the role that is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// EC2's error code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// How often it happened in a row.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u32,
    /// When it last happened, like `at_ms`, if it happened more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<u64>,
}

fn once() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_once(times: &u32) -> bool {
    *times == 1
}

impl NodeEvent {
    /// An event of which only the kind and the sentence are known yet. Its number and times are given when it is kept.
    #[must_use]
    pub fn new(kind: EventKind, what: impl Into<String>) -> Self {
        Self {
            number: 0,
            at_ms: 0,
            boot_ms: None,
            kind: kind.into(),
            vip: None,
            binding: None,
            what: what.into(),
            why: None,
            about: None,
            action: None,
            call: None,
            outcome: None,
            code: None,
            took_ms: None,
            times: 1,
            last_ms: None,
        }
    }

    #[must_use]
    pub fn of_vip(self, vip: IpAddr) -> Self {
        Self { vip: Some(vip), ..self }
    }

    #[must_use]
    pub fn of_binding(self, key: Option<&BindingKey>) -> Self {
        Self { binding: key.cloned(), ..self }
    }

    #[must_use]
    pub fn because(self, why: Option<impl Into<String>>) -> Self {
        Self { why: why.map(Into::into), ..self }
    }

    #[must_use]
    pub fn about(self, about: impl Into<String>) -> Self {
        Self { about: Some(about.into()), ..self }
    }

    /// Cuts each text that is too long.
    pub(super) fn shorten(&mut self) {
        for text in
            [Some(&mut self.what), self.why.as_mut(), self.about.as_mut(), self.code.as_mut()].into_iter().flatten()
        {
            if text.len() > LONGEST_TEXT {
                text.truncate(text.floor_char_boundary(LONGEST_TEXT));
                text.push('…');
            }
        }
    }

    /// Whether the event changes what is true of the thing that `earlier` is about.
    fn is_of_topic(&self, earlier: &Self) -> bool {
        let topic = |event: &Self| event.kind.known().map(Topic::of);
        topic(self).is_some_and(|mine| {
            topic(earlier) == Some(mine)
                && (self.vip, &self.binding) == (earlier.vip, &earlier.binding)
                && (!mine.has_several() || self.about == earlier.about)
        })
    }

    /// Whether the event repeats `earlier`. The texts of a failure do not count, because EC2 gives each answer an id of its
    /// own, and other programs write some of the texts.
    fn repeats(&self, earlier: &Self) -> bool {
        let same = (&self.kind, &self.about, &self.action, &self.outcome, &self.code)
            == (&earlier.kind, &earlier.about, &earlier.action, &earlier.outcome, &earlier.code);
        let is_failure = self.kind.known().is_some_and(EventKind::is_failure);
        // These are news each time: a change that was accepted, and what the daemon tells only when it begins. A restart may
        // hide its end.
        let is_news =
            [EventKind::Changed, EventKind::NobodyServes, EventKind::Astray].iter().any(|kind| self.kind == *kind);
        same && !is_news && (is_failure || (&self.what, &self.why) == (&earlier.what, &earlier.why))
    }
}

/// The things of which events tell. An event ends or repeats only events of its own topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Daemon,
    Config,
    Role,
    DesiredFile,
    Watchdog,
    Claim,
    Possession,
    Contest,
    Service,
    Packets,
    Witness,
    Hook,
    Hold,
    Binding,
    Connections,
    Obstacle,
    Source,
    Problem,
}

impl Topic {
    fn of(kind: EventKind) -> Self {
        use EventKind as Kind;
        match kind {
            Kind::Started | Kind::Stopping | Kind::EventsLost => Self::Daemon,
            Kind::Reloaded | Kind::ReloadFailed => Self::Config,
            Kind::Role => Self::Role,
            Kind::DesiredInvalid | Kind::DesiredValid => Self::DesiredFile,
            Kind::WatchdogGone => Self::Watchdog,
            Kind::Claim | Kind::ClaimClock | Kind::Superseded | Kind::Converged => Self::Claim,
            Kind::Gained | Kind::Lost => Self::Possession,
            Kind::Contested | Kind::NotContested => Self::Contest,
            Kind::NobodyServes | Kind::Served => Self::Service,
            Kind::Astray | Kind::NotAstray => Self::Packets,
            Kind::WatchdogSilent | Kind::WatchdogHeard => Self::Witness,
            Kind::HookLost | Kind::HookFound => Self::Hook,
            Kind::Held | Kind::Resumed => Self::Hold,
            Kind::Drift | Kind::Blocked | Kind::InSync | Kind::Changed | Kind::ChangeFailed => Self::Binding,
            Kind::ConnectionsReset => Self::Connections,
            Kind::Obstacle | Kind::ObstacleGone => Self::Obstacle,
            Kind::ReadFailed | Kind::ReadAgain => Self::Source,
            Kind::Problem | Kind::Solved => Self::Problem,
        }
    }

    /// Whether a VIP, a binding or the daemon has several things of this kind, which `about` tells apart.
    fn has_several(self) -> bool {
        matches!(self, Self::Obstacle | Self::Source | Self::Problem)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_kind_has_a_message_id_of_its_own() {
        let ids: BTreeSet<_> = EventKind::ALL.iter().map(|kind| kind.message_id()).collect();
        assert_eq!(ids.len(), EventKind::ALL.len());
        for id in ids {
            assert!(id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{id}");
        }
    }
}
