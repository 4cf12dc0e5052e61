//! A condition of a VIP: its name, whether it holds, and why.

use serde::{Deserialize, Serialize};

use crate::names::{OneOf, names};

names!(
    /// The name of a condition.
    ConditionName {
        InSync = "InSync",
        DesiredValid = "DesiredValid",
        ClaimRecorded = "ClaimRecorded",
        /// Only while this node's claim cannot be written on another resource than the anchor that carries claims.
        ClaimCopied = "ClaimCopied",
        Contested = "Contested",
        Superseded = "Superseded",
        HookLost = "HookLost",
        Witness = "Witness",
        /// Only while an operator holds the VIP, or where a hold does not count.
        Held = "Held",
        /// Only while the VIP is probed: packets arrive at the node that EC2 leads them to.
        PacketsArrive = "PacketsArrive",
    }
);

names!(
    /// The reason why a condition holds or does not hold: one CamelCase word.
    ConditionReason {
        // Of `InSync`.
        AllAgree = "AllAgree",
        Differs = "Differs",
        /// No hook has said which role is wanted, and nothing of the VIP points here.
        NoHookYet = "NoHookYet",
        /// The daemon has not looked yet.
        NotLookedYet = "NotLookedYet",
        /// A hook's word is missing, or cannot be used.
        NothingAsked = "NothingAsked",
        /// Of `InSync`: the reason would be `NoHookYet` if everything could be read.
        ///
        /// Of `ClaimRecorded`: the anchor's tags cannot be read.
        NotRead = "NotRead",

        // Of `ClaimRecorded`.
        ClaimsMixed = "ClaimsMixed",
        ClaimsOff = "ClaimsOff",
        Implausible = "Implausible",
        NoClaim = "NoClaim",
        NotReadYet = "NotReadYet",
        NotSeenYet = "NotSeenYet",
        NotWritable = "NotWritable",
        /// This node's claim was read, and no other claim is newer.
        OnRecord = "OnRecord",

        // Of `DesiredValid`.
        Good = "Good",
        /// Of `DesiredValid` and `Held`: there is a file, and it does not count.
        NotUsed = "NotUsed",

        // Of `Contested`.
        Calm = "Calm",
        TakenAgainAndAgain = "TakenAgainAndAgain",

        // Of `Superseded`.
        NewerClaim = "NewerClaim",
        Newest = "Newest",
        /// The resources that showed the newer claim are not read any more, so its end cannot show.
        OutOfSight = "OutOfSight",

        // Of `HookLost`.
        Agreed = "Agreed",
        Contradiction = "Contradiction",

        // Of `Witness`.
        Answers = "Answers",
        NoSocket = "NoSocket",
        /// The watchdog took no question, or gave no answer in time.
        NoAnswer = "NoAnswer",
        NotAskedYet = "NotAskedYet",
        NotPermitted = "NotPermitted",
        NotRunning = "NotRunning",
        Off = "Off",
        OtherAddress = "OtherAddress",
        Stranger = "Stranger",
        Unheard = "Unheard",

        // Of `Held`.
        Everything = "Everything",
        ExceptRelease = "ExceptRelease",
        /// The hold keeps this leader from serving, so that clients are not served.
        Unserved = "Unserved",

        // Of `PacketsArrive`.
        Nobody = "Nobody",
        NotAstray = "NotAstray",
        OtherNode = "OtherNode",
    }
);

impl ConditionReason {
    /// Whether Pgpool's watchdog is silent for this reason without anything being wrong: nobody is to ask it, or there
    /// is nobody to ask.
    #[must_use]
    pub fn is_nobody_to_ask(self) -> bool {
        matches!(self, Self::Off | Self::NotAskedYet | Self::NoSocket | Self::NotRunning)
    }
}

/// A named statement that holds or does not hold, and since when, as in Kubernetes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    pub name: OneOf<ConditionName>,
    pub holds: bool,
    pub reason: OneOf<ConditionReason>,
    pub message: String,
    pub since_ms: u64,
    /// When the condition ends by itself, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}
