//! One module for each command of the program.

pub mod hook;
pub mod plan;
#[cfg(feature = "aws")]
pub mod run;
pub mod status;
pub mod wait;
