//! Pgpool, as the daemon, the hooks and the check meet it: Pgpool's processes above a hook, its watchdog behind a
//! socket, its configuration and its version.

pub mod ancestors;
pub mod conf;
pub mod port;
pub mod version;
pub mod watchdog;
