//! Pgpool, as the daemon and the hooks meet it: Pgpool's processes above a hook, and its watchdog behind a socket.

pub mod ancestors;
pub mod port;
pub mod watchdog;
