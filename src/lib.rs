//! vipkeeper keeps a Pgpool-II cluster's virtual IP on its leader on AWS.
//!
//! ```text
//! hook --writes--> desired file --read--> Desired --+
//!                                                   +--> decide --> Plan --> daemon acts --> Status --> report
//!           EC2, kernel --read--> observe --> Seen -+   (pure)                          (log, metrics, status)
//! ```
//!
//! The modules stand here in their order: each one imports only from those above it.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "these end the program where nobody reads")]

pub mod error;
pub mod ids;
pub mod names;
pub mod shown;

pub mod action;
pub mod binding;
pub mod claim_tag;

pub mod cli;
pub mod config;

pub mod backoff;
pub mod decide;
pub mod desired;
pub mod ec2;
pub mod identity;
pub mod machine;
pub mod observe;
pub mod pgpool;
pub mod state_dir;
pub mod wake;

pub mod daemon;
pub mod report;
pub mod status;

#[cfg(feature = "aws")]
pub mod aws;
pub mod commands;
#[cfg(feature = "aws")]
pub mod demo;
