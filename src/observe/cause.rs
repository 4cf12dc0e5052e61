//! The cause of a failed read or change, in words that a program can compare. The advice to an operator follows from
//! these words, and never from the text of an error.

use serde::{Deserialize, Serialize};

use crate::ec2::reason::Reason;
use crate::ec2::{Class, Ec2Error};
use crate::machine::kernel::KernelError;
use crate::names::{OneOf, names};

names!(
    /// The fault of the node's own kernel.
    KernelFault {
        NotPermitted = "not_permitted",
        NoInterface = "no_interface",
        NoAnswer = "no_answer",
        /// The kernel refused for another reason.
        Refused = "refused",
    }
);

/// The cause of a failure of EC2 or of the kernel. A failure of the kernel has `kernel` alone. A failure of EC2 has an
/// operation, and a code if EC2 answered. The cause is empty in a document of an older program that did not write
/// causes yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cause {
    /// EC2's name of the operation, like `AssociateAddress`.
    #[serde(default)]
    pub operation: Option<String>,
    /// The error code of EC2, or that of STS if STS did not let a role be assumed.
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub reason: Option<OneOf<Reason>>,
    #[serde(default)]
    pub kernel: Option<OneOf<KernelFault>>,
}

impl From<&Ec2Error> for Cause {
    fn from(error: &Ec2Error) -> Self {
        Self {
            operation: Some(error.operation.to_owned()),
            code: error.code.clone(),
            reason: error.reason.map(OneOf::Known),
            kernel: None,
        }
    }
}

impl From<&KernelError> for Cause {
    fn from(error: &KernelError) -> Self {
        let fault = match error {
            KernelError::NotPermitted => KernelFault::NotPermitted,
            KernelError::NoInterface(_) => KernelFault::NoInterface,
            KernelError::NoAnswer { .. } => KernelFault::NoAnswer,
            KernelError::Kernel { .. } => KernelFault::Refused,
        };
        Self { kernel: Some(fault.into()), ..Self::default() }
    }
}

/// A read that failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{why}")]
pub struct FailedRead {
    pub class: Class,
    /// One line for people.
    pub why: String,
    pub cause: Cause,
}

impl FailedRead {
    /// A failed read of which only the class and one line are known.
    #[must_use]
    pub fn of_class(class: Class, why: &str) -> Self {
        Self { class, why: why.to_owned(), cause: Cause::default() }
    }
}

impl From<&Ec2Error> for FailedRead {
    fn from(error: &Ec2Error) -> Self {
        Self { class: error.class, why: error.to_string(), cause: error.into() }
    }
}

/// Every failed read of the kernel is transient: the loop asks the kernel again by itself.
impl From<&KernelError> for FailedRead {
    fn from(error: &KernelError) -> Self {
        Self { class: Class::Transient, why: error.to_string(), cause: error.into() }
    }
}
