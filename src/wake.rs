//! stub
use std::net::IpAddr;
pub enum Wake {
    DesiredChanged,
    GuardDied(IpAddr),
    LocalAddress,
    Config,
    Shutdown,
}
