//! The loop of one node in paused time: what it does when, and what it leaves alone.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, wait, and look at its environment; what reads well counts more than its form"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../report/captured.rs"]
mod captured;
mod clients;
mod clocks;
mod failing;
#[path = "../report/golden.rs"]
mod golden;
mod holding;
mod interfaces;
mod keeping;
mod living;
mod local;
mod policy;
mod preview;
mod probing;
mod rivals;
mod rolling;
mod situations;
mod standing;
mod state_files;
mod taking;
mod watching;
mod witness;
mod world;
