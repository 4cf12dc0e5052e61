//! The real program as a process: the daemon against EC2 endpoints on loopback and a real kernel, in network namespaces
//! that the tests make for themselves, with Pgpool's hooks as real processes.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "they fail by panicking, wait for processes, and ask the environment for CI"
)]

mod stage;

#[path = "binary/bad_input.rs"]
mod bad_input;
#[path = "binary/check.rs"]
mod check;
#[path = "binary/claim.rs"]
mod claim;
#[path = "binary/ends.rs"]
mod ends;
#[path = "binary/faults.rs"]
mod faults;
#[path = "binary/guard.rs"]
mod guard;
#[path = "binary/moto.rs"]
mod moto;
#[path = "binary/shapes.rs"]
mod shapes;
#[path = "binary/words.rs"]
mod words;
