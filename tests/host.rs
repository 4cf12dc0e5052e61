//! The kernel side against a real kernel: addresses in network namespaces that the tests make for themselves, folders,
//! processes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, wait, and look at its environment"
)]

#[path = "host/addresses.rs"]
mod addresses;
#[path = "host/connections.rs"]
mod connections;
#[path = "host/forms.rs"]
mod forms;
#[path = "host/namespace.rs"]
#[expect(dead_code, reason = "`set_mac` is for machines with a place in EC2")]
mod namespace;
#[path = "host/probes.rs"]
mod probes;
#[path = "host/watchers.rs"]
mod watchers;
