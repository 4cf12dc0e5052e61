//! Who answers on a VIP. EC2 says where an address leads; only a packet shows where it arrives. Each daemon answers a
//! small UDP question on the addresses of its VIPs with its instance id, and asks that question of every VIP itself.
//!
//! An answer informs people and decides nothing: no plan reads it. The tasks of this module run beside the loop, which
//! exchanges words with them by a [`Post`].

mod allowance;
mod answerer;
pub mod ask;
mod asker;
pub mod packet;
mod post;

pub use answerer::serve;
pub use post::{LastReply, Post, ProbesWanted};
