//! Why a binding is in its state, in the words that an operator reads.

use std::fmt;

use crate::binding::{BindingKey, LocalAddress, Obstacle};
use crate::names::names;
use crate::observe::seen::WhyUnseen;

names!(
    /// The reason for which this node does nothing about a binding until something changes elsewhere.
    Blocker {
        /// This node's claim is not on record as the newest.
        NoRecord = "no_record",
        /// Pgpool's watchdog says that this node does not lead.
        NotEscalated = "not_escalated",
        /// Pgpool's watchdog does not answer.
        Unheard = "unheard",
        /// No hook has said who leads.
        NoHook = "no_hook",
        /// The kernel answers for the address, and vipkeeper does not remove what makes it answer.
        Kernel = "kernel",
        /// Two bindings cannot be here at once.
        Conflict = "conflict",
        /// An operator holds the VIP.
        Held = "held",
    }
);

/// Why a binding is in its state: the phrase that an operator reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    PointsHere {
        /// The word between the place and the sentence before it, like `at`.
        preposition: &'static str,
        /// The place as an operator finds it in EC2 or in the kernel.
        place: String,
    },
    /// A binding that is in sync, because this node does not lead.
    PointsElsewhere {
        holder: String,
    },
    NotHere,
    /// The source/destination check is on, and stays so while no hook has said who leads.
    CheckLeftOn,
    /// A standby's route that waits for the successor to replace it.
    KeptForSuccessor,
    /// A former leader's binding that waits for a successor's claim while Pgpool on this node goes on serving.
    KeptWhileServing,
    /// A standby's ENI that would drop what is sent to the VIP.
    SwitchingOff,
    UndesiredButHere,
    Accepted,
    Confirming,
    LookingFirst,
    /// The first look after a restart shows a newer claim. It may show what was true before the restart.
    LookingAgain,
    After(BindingKey),
    Taking,
    Restoring,
    /// The binding went again soon after this node brought it back.
    GoneAgain,
    /// A leader's ENI that drops what is sent to the VIP.
    CheckOn,
    Retaking {
        holder: String,
    },
    SecondLook {
        holder: String,
    },
    Releasing,
    DeletesLater,
    Unseen(WhyUnseen),
    /// This node's claim is not on record as the newest, and without that record this node takes nothing from another.
    NoRecord {
        holder: String,
    },
    NotEscalated {
        holder: String,
    },
    /// There is a watchdog of Pgpool to ask, and it does not answer.
    Unheard {
        holder: String,
    },
    Obstructed(Obstacle),
    /// An interface of a leader has the address, and the kernel does not answer for it.
    Silent,
    /// This node does not lead, and an interface keeps the address.
    LocalKept {
        entry: LocalAddress,
        why: String,
    },
    /// This node does not lead, no interface has the address, and the kernel answers for it.
    LocalRoute {
        route: String,
    },
    /// An operator holds the VIP. The other reason is the one that would count without the hold.
    Held(Box<Why>),
    /// The Elastic IP points here, but no association id was seen by which it could be released.
    NoAssociation,
}

impl Why {
    /// The blocker that keeps this node from acting; `None` if there is none.
    #[must_use]
    pub fn blocker(&self) -> Option<Blocker> {
        match self {
            Self::NoRecord { .. } => Some(Blocker::NoRecord),
            Self::NotEscalated { .. } => Some(Blocker::NotEscalated),
            Self::Unheard { .. } => Some(Blocker::Unheard),
            Self::UndesiredButHere => Some(Blocker::NoHook),
            Self::Obstructed(_) => Some(Blocker::Conflict),
            Self::LocalKept { .. } | Self::LocalRoute { .. } => Some(Blocker::Kernel),
            Self::Held(_) => Some(Blocker::Held),
            _ => None,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PointsHere { preposition, place } => write!(f, "{preposition} {place}"),
            Self::PointsElsewhere { holder } => write!(f, "at {holder}"),
            Self::NotHere => f.write_str("not here"),
            Self::CheckLeftOn => f.write_str("on; left alone"),
            Self::KeptForSuccessor => f.write_str("kept until the successor replaces it"),
            Self::KeptWhileServing => f.write_str("points here, kept until a successor claims it: Pgpool still serves"),
            Self::SwitchingOff => f.write_str("on; switching it off, so that a takeover need not"),
            Self::UndesiredButHere => f.write_str("points here, but no hook has said who leads: left alone"),
            Self::Accepted => f.write_str("change accepted, not seen yet"),
            Self::Confirming => f.write_str("pointed here before this claim; looking whether it still does"),
            Self::LookingFirst => f.write_str("looking for a newer claim before taking"),
            Self::LookingAgain => f.write_str("looking once more before giving it up"),
            Self::After(key) => write!(f, "waits for {key}"),
            Self::Taking => f.write_str("taking"),
            Self::Restoring => f.write_str("gone, putting it back"),
            Self::GoneAgain => f.write_str("gone again soon after it was brought back; waiting before putting it back"),
            Self::CheckOn => f.write_str("on, switching it off"),
            Self::Retaking { holder } => write!(f, "points at {holder}, taking it back"),
            Self::SecondLook { holder } => write!(f, "points at {holder}; looking twice before taking it back"),
            Self::Releasing => f.write_str("points here, releasing"),
            Self::DeletesLater => f.write_str("points here, to be deleted soon"),
            Self::Unseen(why) => why.fmt(f),
            Self::NoRecord { holder } => write!(
                f,
                "points at {holder}, and this node's claim is not on record: without a record nothing is taken back"
            ),
            Self::NotEscalated { holder } => {
                write!(f, "points at {holder}, and Pgpool's watchdog says that this node is not the leader")
            }
            Self::Unheard { holder } => write!(
                f,
                "points at {holder}, and Pgpool's watchdog does not answer: without its word nothing is taken back"
            ),
            Self::Obstructed(obstacle) => obstacle.fmt(f),
            Self::Silent => f.write_str(
                "on an interface, but duplicate address detection keeps the kernel from answering; adding it anew",
            ),
            Self::LocalKept { entry, why } => write!(f, "the kernel still answers by {entry}, which is kept: {why}"),
            Self::LocalRoute { route } => write!(f, "on no interface, but the kernel answers by the route {route}"),
            Self::Held(why) => write!(f, "held, so nothing is done; without the hold: {why}"),
            Self::NoAssociation => f.write_str("points here without an association id to release it by"),
        }
    }
}
