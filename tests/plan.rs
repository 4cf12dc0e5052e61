//! The planner's decisions, as cases in text; and properties that hold for all inputs.
#![allow(
    clippy::needless_for_each,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, wait, and look at its environment"
)]

#[path = "plan/claims.rs"]
mod claims;
#[path = "plan/drift.rs"]
mod drift;
#[path = "plan/holding.rs"]
mod holding;
#[path = "plan/keeping.rs"]
mod keeping;
#[path = "plan/observe.rs"]
mod observe;
#[path = "plan/obstacles.rs"]
mod obstacles;
#[path = "plan/properties.rs"]
mod properties;
#[path = "plan/questions.rs"]
mod questions;
#[path = "plan/record.rs"]
mod record;
#[path = "plan/release.rs"]
mod release;
#[path = "plan/restarts.rs"]
mod restarts;
#[path = "plan/rolling.rs"]
mod rolling;
#[path = "plan/script.rs"]
mod script;
#[path = "plan/superseded.rs"]
mod superseded;
#[path = "plan/told.rs"]
mod told;
