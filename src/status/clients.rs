//! Where the clients of a VIP are led, in words. A node knows only what it has read: the words never claim more.

use serde::{Deserialize, Serialize};

use super::VipStatus;
use super::layout::{clean, since};
use crate::ids::InstanceId;
use crate::names::{OneOf, names};

/// The age from which a read is too old to count as the present, in milliseconds. A leader reads more often than that, and a
/// standby does not.
pub const OLD_MS: u64 = 10_000;

names!(
    /// Where EC2 leads the clients.
    ClientsAt {
        /// This node.
        Here = "here",
        Elsewhere = "elsewhere",
        /// The bindings in EC2 do not all lead to one place.
        Several = "several",
        Nowhere = "nowhere",
        /// Nothing was read yet.
        Unknown = "unknown",
    }
);

/// Where EC2 leads the clients, by the reads of this node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientsStatus {
    pub at: OneOf<ClientsAt>,
    /// The place in EC2, where it is not this node.
    #[serde(default)]
    pub place: Option<String>,
    /// The instance of that place, if EC2 shows it.
    #[serde(default)]
    pub instance: Option<InstanceId>,
    /// Whether that node leads. `None` where no claim on record tells.
    #[serde(default)]
    pub leads: Option<bool>,
    /// When the oldest of the reads began that showed the place.
    #[serde(default)]
    pub read_ms: Option<u64>,
    /// Whether the last reads succeeded. If not, the place is the one that was read last.
    pub current: bool,
    /// Since when this node has read that nobody serves the VIP.
    #[serde(default)]
    pub nobody_since_ms: Option<u64>,
    /// Whether nobody serves the VIP for longer than a failover takes.
    #[serde(default)]
    pub nobody_serves: bool,
}

impl ClientsStatus {
    /// Of a VIP of which nothing was read yet.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            at: ClientsAt::Unknown.into(),
            place: None,
            instance: None,
            leads: None,
            read_ms: None,
            current: false,
            nobody_since_ms: None,
            nobody_serves: false,
        }
    }

    /// The line behind `clients` on the page of this VIP.
    #[must_use]
    pub fn sentence(&self, vip: &VipStatus, now_ms: u64) -> String {
        let at = self.at.known().unwrap_or(ClientsAt::Unknown);
        let Some(read_ms) = self.read_ms.filter(|_| at != ClientsAt::Unknown) else {
            return "not known: no read has shown it since the daemon started".to_owned();
        };
        let place = self.where_to(at, vip, now_ms);
        let read = since(read_ms, now_ms);
        match (at, self.current) {
            (_, false) => format!("last known {place} {read} ago (EC2 is not read)"),
            (ClientsAt::Here, true) if now_ms.saturating_sub(read_ms) <= OLD_MS => place,
            (_, true) => format!("{place} (last read {read} ago)"),
        }
    }

    fn where_to(&self, at: ClientsAt, vip: &VipStatus, now_ms: u64) -> String {
        let name = match (&self.instance, &self.place) {
            (Some(instance), _) => instance.to_string(),
            (None, Some(place)) => clean(place),
            (None, None) => "another place".to_owned(),
        };
        match (at, self.leads) {
            (ClientsAt::Here, _) if !self.current => "at this node".to_owned(),
            (ClientsAt::Here, Some(false)) => "at this node, which does not lead".to_owned(),
            (ClientsAt::Here, _) if vip.in_sync => "at this node, in sync".to_owned(),
            (ClientsAt::Here, _) => "at this node, not in sync".to_owned(),
            (ClientsAt::Elsewhere, Some(false)) => format!("at {name}, which has given up the VIP"),
            (ClientsAt::Elsewhere, _) => format!("at {name}"),
            (ClientsAt::Several, _) => "at several places: see the table".to_owned(),
            (ClientsAt::Nowhere, _) => match self.nobody_since_ms {
                Some(then) => format!("at no node for {}", since(then, now_ms)),
                None => "at no node, and no node is known to have led".to_owned(),
            },
            (ClientsAt::Unknown, _) => "not known".to_owned(),
        }
    }
}
