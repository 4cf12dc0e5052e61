//! The names of everything that can be wrong with the daemon as a whole. Each name stands in the status, in the log, in
//! the events and in the runbook.

use crate::names::names;

names!(
    /// The reason that names a problem of the daemon: one CamelCase word. A status lists problems in this order.
    ProblemReason {
        /// The anchor left the configuration while it carried this node's claim.
        AnchorLeft = "AnchorLeft",
        /// This node's wall clock differs from EC2's.
        ClockOff = "ClockOff",
        /// A changed config is not in force.
        ConfigInvalid = "ConfigInvalid",
        /// A restart would not find the newest events.
        EventsFile = "EventsFile",
        /// Users of whom nobody can say who they are.
        HookUsers = "HookUsers",
        /// The hooks use another state folder.
        HooksElsewhere = "HooksElsewhere",
        /// An interface of the configuration cannot be found.
        InterfaceMissing = "InterfaceMissing",
        /// Bindings that left the configuration still point here.
        LeftBehind = "LeftBehind",
        /// Nobody can ask for health and metrics.
        Listen = "Listen",
        /// This node does not know which instance it is.
        NoIdentity = "NoIdentity",
        /// No room is kept for hooks that find the state folder's file system full.
        NoReserve = "NoReserve",
        /// A restart would not find this node's claim.
        NotPersisted = "NotPersisted",
        /// Probes of other nodes are not answered.
        Probe = "Probe",
        /// A changed config is in force in part only.
        RestartNeeded = "RestartNeeded",
        StateDir = "StateDir",
        StatusFile = "StatusFile",
        WatchAddresses = "WatchAddresses",
        WatchFiles = "WatchFiles",
        WatchSignals = "WatchSignals",
        WatchdogKey = "WatchdogKey",
    }
);
