//! The kernel side against a real kernel: addresses in network namespaces that the tests make for themselves, folders,
//! processes.

#[path = "host/addresses.rs"]
mod addresses;
#[path = "host/namespace.rs"]
mod namespace;
#[path = "host/watchers.rs"]
mod watchers;
