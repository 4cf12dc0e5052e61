//! `vipkeeper check`: each check alone, in paused time, on an account and a machine in memory.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, and look at its environment; what reads well counts more than its form"
)]

#[path = "../support/mod.rs"]
mod support;

mod breaks;
mod claims;
#[path = "../report/golden.rs"]
mod golden;
mod page;
mod permissions;
mod pgpool;
mod way;
mod well;
