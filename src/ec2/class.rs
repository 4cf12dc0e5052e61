//! The two things that every failed call has: its class, and whether EC2 may have carried the call out.

use crate::names::names;

names!(
    /// The kind of a failure. It alone decides what follows.
    Class {
        /// Timeout, 5xx, a connection that broke: try again, with backoff.
        Transient = "transient",
        /// EC2's rate limit. As `Transient`; counted apart.
        Throttled = "throttled",
        /// The world moved: look again and decide again.
        Stale = "stale",
        /// Not allowed, or the credentials do not work: an operator must act.
        Denied = "denied",
        /// The request or a limit of the account is at fault: an operator must act.
        Rejected = "rejected",
    }
);

/// Whether EC2 may have carried out a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// EC2 answered that it did nothing, or never got the call.
    None,
    /// The answer was lost: only a later read can tell.
    Unknown,
}
