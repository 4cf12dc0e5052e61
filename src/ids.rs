//! Names that EC2 and vipkeeper give to things. An EC2 id is checked once, when it is read, and is never a bare
//! `String` afterwards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The error for a text that is no id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no {kind}: expected '{prefix}-' and then hexadecimal digits, like {prefix}-0123456789abcdef0")]
pub struct InvalidId {
    text: String,
    kind: &'static str,
    prefix: &'static str,
}

fn checked(text: &str, kind: &'static str, prefix: &'static str) -> Result<String, InvalidId> {
    let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    match digits {
        Some(digits) if !digits.is_empty() && digits.len() <= 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(text.to_owned())
        }
        _ => Err(InvalidId { text: text.to_owned(), kind, prefix }),
    }
}

macro_rules! ec2_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as EC2 writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                checked(text, $kind, $prefix).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

ec2_id!(
    /// An allocated Elastic IP.
    AllocationId, "allocation id of an Elastic IP", "eipalloc");
ec2_id!(
    /// One association of an Elastic IP with an ENI: EC2 gives a new one for each move.
    AssociationId, "association id of an Elastic IP", "eipassoc");
ec2_id!(
    /// A network interface (ENI).
    EniId, "network interface id", "eni");
ec2_id!(
    /// A node's EC2 instance.
    InstanceId, "instance id", "i");
ec2_id!(
    /// A VPC route table.
    RouteTableId, "route table id", "rtb");
ec2_id!(
    /// A subnet, the anchor of claims when a VIP has only secondary addresses.
    SubnetId, "subnet id", "subnet");
ec2_id!(
    /// A VPC.
    VpcId, "VPC id", "vpc");

/// The name of one claim. The hook that starts a leadership makes the name, and later hooks keep it while they affirm
/// that leadership. A claim that follows from the watchdog's word is named by the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaimId(String);

impl ClaimId {
    /// Takes any text. The text comes from a file whose writer has been checked, or from the daemon itself, and
    /// vipkeeper only compares it and looks for the daemon's own prefix.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text of the claim's name, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number that orders claims: the highest term is the newest claim, and wins. A term is the start of the hook by
/// the hook's clock, in milliseconds since the Unix epoch. It is raised if that is not more than every term that this
/// node had seen when the claim began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Term(pub u64);

impl Term {
    /// The smallest term that is newer than this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_kind_is_refused_with_the_kind_that_was_wanted() {
        let error = "eni-12".parse::<RouteTableId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "'eni-12' is no route table id: expected 'rtb-' and then hexadecimal digits, like rtb-0123456789abcdef0"
        );
        for text in ["", "rtb", "rtb-", "rtb-12 ", "rtb-1/2", "rtb-xyz", &format!("rtb-{}", "0".repeat(33))] {
            assert!(text.parse::<RouteTableId>().is_err(), "{text:?}");
        }
        assert_eq!("rtb-012345abcd".parse::<RouteTableId>().unwrap().as_str(), "rtb-012345abcd");
    }
}
