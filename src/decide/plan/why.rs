//! Why a binding is in its state, in the words that an operator reads.

use std::fmt;

use crate::binding::BindingKey;
use crate::names::names;
use crate::observe::seen::WhyUnseen;

names!(
    /// What must happen elsewhere before this node does anything about a binding.
    Blocker {
        /// Its claim is not on record as the newest.
        NoRecord = "no_record",
        /// Pgpool's watchdog says that it does not lead.
        NotEscalated = "not_escalated",
        /// Pgpool's watchdog does not answer.
        Unheard = "unheard",
        /// No hook has said who leads.
        NoHook = "no_hook",
    }
);

/// Why a binding is in its state: the phrase that an operator reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    PointsHere {
        /// Where that is: what an operator would find in EC2 or the kernel.
        place: String,
    },
    /// As it should be for a node that does not lead.
    PointsElsewhere {
        holder: String,
    },
    NotHere,
    /// The source/destination check, of which nobody wants anything.
    CheckLeftOn,
    /// A standby's route that waits for the successor to replace it.
    KeptForSuccessor,
    /// A standby's ENI that would drop what is sent to the VIP.
    SwitchingOff,
    UndesiredButHere,
    Accepted,
    Confirming,
    LookingFirst,
    After(BindingKey),
    Taking,
    Restoring,
    /// It went again, soon after this node brought it back.
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
    /// Without a record of claims nothing is taken from another.
    NoRecord {
        holder: String,
    },
    NotEscalated {
        holder: String,
    },
    /// Pgpool's watchdog is there and does not answer.
    Unheard {
        holder: String,
    },
    /// Nothing that could be released by name was seen.
    NoAssociation,
}

impl Why {
    /// Who must act first, where this node does not.
    #[must_use]
    pub fn blocker(&self) -> Option<Blocker> {
        match self {
            Self::NoRecord { .. } => Some(Blocker::NoRecord),
            Self::NotEscalated { .. } => Some(Blocker::NotEscalated),
            Self::Unheard { .. } => Some(Blocker::Unheard),
            Self::UndesiredButHere => Some(Blocker::NoHook),
            _ => None,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PointsHere { place } => f.write_str(place),
            Self::PointsElsewhere { holder } => write!(f, "at {holder}"),
            Self::NotHere => f.write_str("not here"),
            Self::CheckLeftOn => f.write_str("on; left alone"),
            Self::KeptForSuccessor => f.write_str("kept until the successor replaces it"),
            Self::SwitchingOff => f.write_str("on; switching it off, so that a takeover need not"),
            Self::UndesiredButHere => f.write_str("points here, but no hook has said who leads: left alone"),
            Self::Accepted => f.write_str("change accepted, not seen yet"),
            Self::Confirming => f.write_str("pointed here before this claim; looking whether it still does"),
            Self::LookingFirst => f.write_str("looking for a newer claim before taking"),
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
            Self::NoAssociation => f.write_str("points here without an association id to release it by"),
        }
    }
}
