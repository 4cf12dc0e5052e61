//! vipkeeper keeps a Pgpool-II cluster's virtual IP on its leader on AWS.
//!
//! ```text
//! hook --writes--> desired file --read--> Desired --+
//!                                                   +--> plan() --> Plan --> apply --> Outcomes --> report
//!           EC2 --describe--> observe --> Observed -+    (pure)                   (log, metrics, status)
//! ```

mod words;

pub mod error;

pub mod ids;
pub mod vip;

pub mod config;

pub mod desired;
pub mod hook;
pub mod process;

pub mod identity;
pub mod observe;
pub mod observed;

pub mod claim;
pub mod memory;
pub mod plan;
pub mod witness;

pub mod action;

pub mod ec2;
pub mod host;
pub mod machine;
mod plain;

pub mod backoff;
pub mod daemon;
pub mod wake;

pub mod preview;

pub mod cli;
#[cfg(feature = "aws")]
pub mod cloud;
#[cfg(feature = "aws")]
pub mod demo;
#[cfg(feature = "aws")]
pub mod run;
#[cfg(feature = "aws")]
mod systemd;

pub mod report;
pub mod status;
