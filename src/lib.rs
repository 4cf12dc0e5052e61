//! vipkeeper keeps a Pgpool-II cluster's virtual IP on its leader on AWS.
//!
//! ```text
//! hook --writes--> desired file --read--> Desired ---+
//!                                                    +--> decide --> Plan --> daemon acts --> Status --> report
//!        EC2, kernel --read--> observe --> Observed -+    (pure)                          (log, metrics, status)
//! ```
//!
//! The modules stand here in their order: each one imports only from those above it.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "these end the program where nobody reads")]

pub mod error;
pub mod ids;
pub mod names;
pub mod problem;
pub mod shown;

pub mod binding;

pub mod action;
pub mod claim_tag;

pub mod config;

pub mod machine;

pub mod desired;

pub mod backoff;
pub mod ec2;
pub mod identity;

pub mod observe;

pub mod pgpool;

pub mod decide;
pub mod wake;

pub mod state_dir;

pub mod probe;

pub mod status;

pub mod check;

pub mod report;

pub mod daemon;

#[cfg(feature = "aws")]
pub mod aws;
pub mod cli;
pub mod commands;
#[cfg(feature = "aws")]
pub mod demo;
