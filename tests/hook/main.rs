//! Pgpool's hooks and the file between them and the daemon, through the library. Where a whole process is needed, the
//! test program runs itself again as that process (`support::child`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, wait, and look at its environment"
)]

mod affirm;
mod guard;
mod hold;
mod order;
mod support;
mod trust;
#[path = "../support/unshare.rs"]
mod unshare;
mod wait;
mod write;
