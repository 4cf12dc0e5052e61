//! One module for each command of the program.

pub mod check;
pub mod events;
pub mod hold;
pub mod hook;
mod look;
pub mod plan;
pub mod policy;
pub mod probe;
#[cfg(feature = "aws")]
pub mod run;
pub mod status;
pub mod wait;

/// The form in which a command shows its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A page for people.
    Page,
    /// A document for programs.
    Json,
}
