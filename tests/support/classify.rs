//! The class of an EC2 error, for the codes that the embedded endpoint gives.

use ec2_endpoint::ApiError;
use vipkeeper::ec2::{Class, Effect};

pub fn class(operation: &str, error: &ApiError) -> Class {
    let says = |part: &str| error.message.contains(part);
    match (&*error.code, operation) {
        ("RequestLimitExceeded", _) => Class::Throttled,
        ("UnauthorizedOperation" | "AccessDenied", _) => Class::Denied,
        ("RouteAlreadyExists" | "Resource.AlreadyAssociated" | "InvalidIPAddress.InUse", _) => Class::Stale,
        ("InvalidParameterValue", "ReplaceRoute") if says("no route defined") => Class::Stale,
        ("InvalidParameterValue", "AssignPrivateIpAddresses") if says("move is not allowed") => Class::Stale,
        ("InvalidParameterValue", "UnassignPrivateIpAddresses" | "UnassignIpv6Addresses")
            if says("not assigned to") =>
        {
            Class::Stale
        }
        (code, _) if code.ends_with(".NotFound") => Class::Stale,
        _ if error.status >= 500 => Class::Transient,
        _ => Class::Rejected,
    }
}

/// Whether EC2 may have done what was asked although it answered with this error.
pub fn effect(operation: &str, error: &ApiError) -> Effect {
    let turned_away = error.status < 500 || class(operation, error) == Class::Throttled;
    if turned_away || operation.starts_with("Describe") { Effect::None } else { Effect::Unknown }
}
