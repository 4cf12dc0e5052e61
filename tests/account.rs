//! Everything that has to do with a real account: the template of a cluster, the printed policy under the eyes of other
//! programs, and the acceptance script. No account is needed: moto takes AWS's place.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "they fail by panicking, wait for processes, and ask the environment for CI"
)]

mod stage;

#[path = "account/acceptance.rs"]
mod acceptance;
#[path = "account/judges.rs"]
mod judges;
#[path = "account/moto.rs"]
mod moto;
#[path = "account/template.rs"]
mod template;
#[path = "account/tools.rs"]
mod tools;
