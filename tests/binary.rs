//! The real program as a process: the daemon against EC2 endpoints on loopback and a real kernel, in network namespaces
//! that the tests make for themselves, with Pgpool's hooks as real processes.

mod stage;

#[path = "binary/claim.rs"]
mod claim;
