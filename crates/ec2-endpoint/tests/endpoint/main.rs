//! The embedded endpoint: EC2's semantics operation by operation, the service's faults, the sockets, and how it compares
//! with what others made of EC2.

mod addresses;
mod aws_cli;
mod client;
mod conformance;
mod http;
mod imds;
mod interfaces;
mod private_ips;
mod routes;
mod selection;
mod service;
mod tags;
mod tools;
mod world;
