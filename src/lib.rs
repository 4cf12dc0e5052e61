//! vipkeeper keeps a Pgpool-II cluster's virtual IP on its leader on AWS.
//!
//! ```text
//! hook --writes--> desired file --read--> Desired --+
//!                                                   +--> plan() --> Plan --> apply --> Outcomes --> report
//!           EC2 --describe--> observe --> Observed -+    (pure)                   (log, metrics, status)
//! ```

pub mod ids;
pub mod vip;

pub mod cli;
pub mod config;
pub mod desired;

pub mod observed;

pub mod action;
pub mod backoff;

pub mod ec2;
pub mod host;

pub mod status;
