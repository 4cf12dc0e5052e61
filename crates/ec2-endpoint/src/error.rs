//! EC2's refusals: HTTP status, code and message. Which code belongs to which mistake is decided where the mistake is
//! found; this module only knows the shapes that many operations share.

use std::borrow::Cow;

/// An error answer of the EC2 (or STS) API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// EC2's code, for example `InvalidAllocationID.NotFound`.
    pub code: Cow<'static, str>,
    /// The sentence for people.
    pub message: String,
}

impl ApiError {
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// A client error: status 400.
    pub fn client(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    pub fn invalid_value(message: impl Into<String>) -> Self {
        Self::client("InvalidParameterValue", message)
    }

    /// A value that cannot be what the parameter needs.
    pub fn unusable(parameter: &str, value: &str, why: &str) -> Self {
        Self::invalid_value(format!("Value ({value}) for parameter {parameter} is invalid. {why}"))
    }

    pub fn missing_parameter(parameter: &str) -> Self {
        Self::client("MissingParameter", format!("The request must contain the parameter {parameter}"))
    }

    pub fn combination(message: impl Into<String>) -> Self {
        Self::client("InvalidParameterCombination", message)
    }

    /// The answer to a dry run when the call would have been permitted.
    pub fn dry_run() -> Self {
        Self::new(412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
    }

    /// A permission that the caller lacks.
    pub fn unauthorized(caller: &str, operation: &str) -> Self {
        Self::new(
            403,
            "UnauthorizedOperation",
            format!("You are not authorized to perform this operation. {caller} may not perform {operation}."),
        )
    }

    /// Throttled. EC2 sends it with status 503, although the code is the caller's fault.
    pub fn throttled() -> Self {
        Self::new(503, "RequestLimitExceeded", "Request limit exceeded.")
    }
}
