//! An embedded EC2: one account's network in memory, served the way EC2 and the instance metadata service serve it.
//!
//! Three layers, each usable without the ones above it:
//!
//! 1. [`account`]: the state and EC2's semantics. Pure and deterministic: no clock, no I/O, no randomness.
//! 2. [`service`]: the account seen through a service: throttling, stale reads, faults to switch on, a call log. Time is
//!    an argument and randomness is seeded, so a run can be repeated exactly.
//! 3. [`http`] and [`imds`]: sockets. The EC2 query protocol (AWS SDKs and the AWS CLI work against it unchanged), the
//!    instance metadata service, and an admin interface to switch faults on from another process.
//!
//! ```
//! use std::time::Duration;
//! use ec2_endpoint::{Account, AssociateAddress, Caller, Launch, Operation, Outcome, Service};
//!
//! let mut account = Account::new("us-east-1");
//! let vpc = account.add_vpc("10.0.0.0/16", None)?;
//! let subnet = account.add_subnet(&vpc, "10.0.1.0/24", "us-east-1a")?;
//! let node = account.add_instance(Launch::in_subnet(&subnet).named("node-a"))?;
//! let address = account.allocate_address("203.0.113.10")?;
//!
//! let mut service = Service::new(account, 1);
//! let associate = Operation::AssociateAddress(AssociateAddress {
//!     allocation_id: Some(address),
//!     network_interface_id: Some(node.interfaces[0].clone()),
//!     ..Default::default()
//! });
//! let reply = service.call(Duration::ZERO, &Caller::named("node-a"), &associate);
//! assert!(matches!(reply.outcome, Outcome::Answered(Ok(_))));
//! # Ok::<(), ec2_endpoint::TopologyError>(())
//! ```

pub mod account;
pub mod answer;
pub mod error;
pub mod http;
pub mod iam;
pub mod imds;

pub mod operation;
pub mod service;

pub use account::{Account, Launch, Launched, TopologyError};
pub use answer::Answer;
pub use error::ApiError;
pub use http::{Endpoint, Server};
pub use iam::Policy;

pub use operation::*;
pub use service::{Caller, Fault, FaultKind, Outcome, Reply, Scope, Service};
