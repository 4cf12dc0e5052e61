//! Every decision about a VIP, as pure functions: who may hold it ([`claim`]), what is remembered between passes
//! ([`memory`]), what must change ([`plan`]), and what the watchdog's word weighs ([`witness`]). No clock, no I/O.

pub mod claim;
pub mod memory;
pub mod plan;
pub mod timing;
pub mod witness;
