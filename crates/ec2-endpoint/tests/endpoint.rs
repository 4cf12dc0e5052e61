//! The embedded endpoint: EC2's semantics operation by operation, the service's faults, the sockets, and how it compares
//! with what others made of EC2.

#[path = "endpoint/addresses.rs"]
mod addresses;
#[path = "endpoint/aws_cli.rs"]
mod aws_cli;
#[path = "endpoint/client.rs"]
mod client;
#[path = "endpoint/conformance.rs"]
mod conformance;
#[path = "endpoint/http.rs"]
mod http;
#[path = "endpoint/imds.rs"]
mod imds;
#[path = "endpoint/interfaces.rs"]
mod interfaces;
#[path = "endpoint/private_ips.rs"]
mod private_ips;
#[path = "endpoint/routes.rs"]
mod routes;
#[path = "endpoint/selection.rs"]
mod selection;
#[path = "endpoint/service.rs"]
mod service;
#[path = "endpoint/tags.rs"]
mod tags;
#[path = "endpoint/tools.rs"]
mod tools;
#[path = "endpoint/world.rs"]
mod world;
