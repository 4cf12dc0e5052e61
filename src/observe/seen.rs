//! The looks at EC2 and the kernel: whether each binding was seen here, elsewhere, absent or unknown, and when.
//! `Unknown` is not `Absent`: only a read that succeeded can say that something is not there.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::binding::{Anchor, BindingKey};
use crate::ids::{AssociationId, InstanceId, Term};
use crate::machine::kernel::Presence;
use crate::names::names;
use crate::observe::cause::FailedRead;

/// The time since the machine booted, suspended time included (`CLOCK_BOOTTIME`). This clock never steps, and it goes on
/// while the machine is suspended. A belief that was formed before a suspend is therefore as old as it really is. The
/// moments of two boots are never compared.
pub type Moment = Duration;

/// The present moment.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The time since the machine booted. Every age is measured by it.
    pub at: Moment,
    /// The wall clock: milliseconds since the Unix epoch. The wall clock may step, so it gives the terms of claims and
    /// the times that people read, and no age.
    pub wall_ms: u64,
}

impl Now {
    /// The wall clock at an earlier moment, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn wall_ms_before(self, earlier: Moment) -> u64 {
        let until_now = self.at.saturating_sub(earlier).as_millis();
        self.wall_ms.saturating_sub(u64::try_from(until_now).unwrap_or(u64::MAX))
    }

    /// The wall clock at a later moment, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn wall_ms_at(self, later: Moment) -> u64 {
        let from_now = later.saturating_sub(self.at).as_millis();
        self.wall_ms.saturating_add(u64::try_from(from_now).unwrap_or(u64::MAX))
    }
}

/// Where one binding points.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Seen {
    /// At this node. An Elastic IP carries the association that points it here, because only that association may be
    /// released.
    Here {
        association: Option<AssociationId>,
    },
    /// At something else.
    Elsewhere(Holder),
    Absent,
    Unknown(WhyUnseen),
}

/// The thing that a binding points at instead of this node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The ENI, or another target of a route; for an Elastic IP at this node's own ENI, the wrong private address.
    pub name: String,
    /// The instance of the ENI, if EC2 shows it.
    pub instance: Option<InstanceId>,
    /// EC2 says that the target of the route is not there any more.
    pub blackhole: bool,
}

impl Holder {
    /// Whether two looks show one holder: the same target, and not of two different instances. EC2 may show the instance in
    /// one look and not in the other, and a target that is gone was there before.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let differs = self.instance.as_ref().zip(other.instance.as_ref()).is_some_and(|(one, other)| one != other);
        self.name == other.name && !differs
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.instance.as_ref().filter(|instance| instance.as_str() != self.name) {
            Some(instance) => write!(f, "{instance} ({})", self.name)?,
            None => f.write_str(&self.name)?,
        }
        if self.blackhole { f.write_str(" (blackhole)") } else { Ok(()) }
    }
}

/// The reason why a binding's state is not known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WhyUnseen {
    #[error("not read yet")]
    NotRead,
    /// An id by which EC2 is asked was not read yet: the next looks show it.
    #[error("{0}")]
    NotYet(String),
    #[error("the read failed: {0}")]
    ReadFailed(Box<FailedRead>),
    #[error("{0} does not exist, or not in this account and region")]
    NoSuchResource(String),
    /// The config and what was read do not fit together.
    #[error("{0}")]
    Unresolved(String),
}

names!(
    /// A [`WhyUnseen`] as one word.
    Unseen {
        NotRead = "not_read",
        NotYet = "not_yet",
        ReadFailed = "read_failed",
        NoSuchResource = "no_such_resource",
        Unresolved = "unresolved",
    }
);

impl WhyUnseen {
    /// The reason as one word.
    #[must_use]
    pub fn kind(&self) -> Unseen {
        match self {
            Self::NotRead => Unseen::NotRead,
            Self::NotYet(_) => Unseen::NotYet,
            Self::ReadFailed(_) => Unseen::ReadFailed,
            Self::NoSuchResource(_) => Unseen::NoSuchResource,
            Self::Unresolved(_) => Unseen::Unresolved,
        }
    }

    /// The failed read, if a failed read is the reason.
    #[must_use]
    pub fn failed_read(&self) -> Option<&FailedRead> {
        match self {
            Self::ReadFailed(failed) => Some(failed),
            Self::NotRead | Self::NotYet(_) | Self::NoSuchResource(_) | Self::Unresolved(_) => None,
        }
    }
}

/// One look at one binding. `at` is when the read began: the state seen may be as old as that moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sight {
    pub seen: Seen,
    pub at: Moment,
}

/// The claims on record for one VIP, this node's own included.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Claims {
    /// Claims are off, or the anchor could not be read.
    Unknown,
    Read {
        terms: BTreeMap<InstanceId, Term>,
        /// The newest term that each node gave up, if its tag says so. The term of such a node in `terms` is
        /// `WITHDRAWN`.
        withdrawn: BTreeMap<InstanceId, Term>,
        /// The terms that are further ahead of the wall clock than clocks differ. They are no claims, and are kept
        /// apart so that people are told of them.
        implausible: BTreeMap<InstanceId, Term>,
        /// The tag values that differ from the value that vipkeeper writes for their term. A withdrawal that names the
        /// given-up term is among them. Somebody edited the others.
        edited: BTreeMap<InstanceId, String>,
        at: Moment,
        /// The claims that the tags of the VIP's other resources hold, by resource. A node whose configuration differs
        /// may have recorded its claims there. A resource that was read and carries none is here too.
        elsewhere: BTreeMap<Anchor, Copies>,
    },
}

/// The claims in the tags of one resource besides the anchor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Copies {
    pub terms: BTreeMap<InstanceId, Term>,
    pub withdrawn: BTreeMap<InstanceId, Term>,
    pub edited: BTreeMap<InstanceId, String>,
    pub at: Moment,
}

impl Claims {
    /// When the read began on which the record rests: the oldest read among those of the resources that carry claims.
    /// `None` if the record is not known.
    #[must_use]
    pub fn at(&self) -> Option<Moment> {
        let Self::Read { at, elsewhere, .. } = self else { return None };
        let tagged = elsewhere.values().filter(|copies| !copies.terms.is_empty());
        Some(tagged.map(|copies| copies.at).fold(*at, Moment::min))
    }
}

/// The word of Pgpool's watchdog about this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Witness {
    /// The watchdog was not asked, this daemon finds no watchdog that it can ask, or the watchdog does not keep this
    /// VIP: the desired-state file alone decides.
    #[default]
    Silent,
    /// The watchdog was asked, and has not answered yet.
    Asking,
    /// There is a watchdog to ask, and it does not answer.
    Unheard,
    Escalated,
    NotEscalated,
}

/// Whether the port at which Pgpool serves clients answers. A node asks only while it keeps its bindings for a
/// successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Port {
    /// It was not asked, or has not answered yet.
    #[default]
    NotAsked,
    Answers,
    Silent,
}

/// The quorum of Pgpool's watchdog cluster, as this node's watchdog sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quorum {
    Has,
    /// The watchdog may be cut off, and what its Pgpool knows of the backends may be old.
    Lost,
    /// The watchdog knows of no leader: it has just started, or an election is under way.
    NoLeader,
}

/// Whether this node's Pgpool can serve clients without being leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Serving {
    pub port: Port,
    /// The watchdog's last word on the quorum; `None` if there is none.
    pub quorum: Option<QuorumWord>,
}

/// The watchdog's word on the quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QuorumWord {
    pub quorum: Quorum,
    /// When the first of the words was given that have all been this one.
    pub since: Moment,
    /// When the last of them was given.
    pub at: Moment,
}

/// Everything seen of one VIP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Observed {
    pub sights: BTreeMap<BindingKey, Sight>,
    /// The look at the kernel behind the sights of local addresses.
    pub local: BTreeMap<IpAddr, Presence>,
    pub claims: Claims,
    pub witness: Witness,
    pub serving: Serving,
    /// The time on EC2's clock, in milliseconds since the Unix epoch; `None` while it is not known.
    pub server_ms: Option<u64>,
}
