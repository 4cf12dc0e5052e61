//! The loop of one node in paused time: what it does when, and what it leaves alone.

#[path = "../support/mod.rs"]
mod support;

mod failing;
mod living;
mod taking;
mod watching;
mod witness;
mod world;
