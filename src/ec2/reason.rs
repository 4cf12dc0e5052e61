//! What the circumstances of a failed call say beyond EC2's code: one code may have several cures, and each its own people.

use crate::names::names;

names!(
    /// Why a call was refused, where its code alone does not say it.
    Reason {
        /// STS did not let this node's role assume the role whose call it was to be.
        RoleNotAssumed = "role_not_assumed",
    }
);
