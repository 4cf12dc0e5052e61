//! Takes an error of the SDK apart, so that an [`Ec2Error`] can be made of it.

use std::error::Error;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId;

use super::causes::causes;
use super::credentials::{self, NoCredentials};
use super::probe::Traced;
use crate::ec2::Ec2Error;
use crate::ec2::codes::{FailedCall, Missing, Reply};
use crate::ec2::message::AroundCall;

/// A failed request: the error, and its name in metrics.
#[derive(Debug)]
pub struct Failed {
    pub error: Ec2Error,
    pub result: &'static str,
}

/// Turns the SDK's error into an [`Ec2Error`]. `seen` tells how far the request got.
pub fn failed<E>(operation: &'static str, error: &SdkError<E>, seen: &Traced) -> Failed
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let code = error.code().filter(|code| !code.is_empty());
    let text = error.message().unwrap_or_default();
    let reply = match error {
        SdkError::ServiceError(context) => Reply::Status(context.raw().status().as_u16()),
        // The status arrived, and then the connection broke within the body.
        SdkError::ResponseError(_) => Reply::Missing { why: Missing::Io, sent: true },
        SdkError::TimeoutError(_) => Reply::Missing { why: Missing::TimedOut, sent: seen.sent },
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            Reply::Missing { why: Missing::TimedOut, sent: seen.sent }
        }
        SdkError::DispatchFailure(failure) if failure.is_user() || seen.host.is_none() => {
            Reply::Missing { why: Missing::NotMade, sent: false }
        }
        SdkError::DispatchFailure(_) => Reply::Missing { why: Missing::Io, sent: seen.sent },
        _ => Reply::Missing { why: Missing::NotMade, sent: false },
    };
    let failure = FailedCall { operation, code, message: text, reply };
    let causes = causes(error);
    let answer = error.raw_response();
    let header = |name: &str| answer.and_then(|answer| answer.headers().get(name));
    let around = AroundCall {
        host: seen.host.as_deref(),
        proxy: seen.proxy.as_deref(),
        ahead_s: seen.ahead_s(),
        server: header("server"),
        via: header("via"),
        body: answer.and_then(|answer| answer.body().bytes()).unwrap_or_default(),
        causes: &causes,
        request_id: error.request_id(),
    };
    let told = failure.error(&around);
    let no_credentials = match (code, reply) {
        (None, Reply::Missing { .. }) => credentials::explain(error),
        _ => None,
    };
    let error = match no_credentials {
        Some(NoCredentials { class, code, reason, message }) => Ec2Error { code, reason, message, class, ..told },
        None => told,
    };
    Failed { error, result: failure.result() }
}

/// An answer that breaks off, although the SDK read it. It may show fewer things than there are.
pub fn cut_off(operation: &'static str, seen: &Traced) -> Failed {
    let failure = FailedCall { operation, code: None, message: "", reply: Reply::Status(200) };
    let around = AroundCall {
        host: seen.host.as_deref(),
        proxy: seen.proxy.as_deref(),
        body: seen.cut.as_deref().unwrap_or_default(),
        ..AroundCall::default()
    };
    Failed { error: failure.error(&around), result: failure.result() }
}
