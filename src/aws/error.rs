//! Turns an error of the SDK into an [`Ec2Error`] with one line of text that helps at three in the morning.

use std::error::Error;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId;

use super::causes::{causes, one_line};
use super::credentials;
use super::probe::Traced;
use crate::ec2::codes::{FailedCall, Missing, Reply};
use crate::ec2::reason::{self, Reason};
use crate::ec2::{Class, Ec2Error};

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
    let no_credentials = match (code, reply) {
        (None, Reply::Missing { .. }) => credentials::explain(error),
        _ => None,
    };
    let class = no_credentials.as_ref().map_or_else(|| failure.class(), |none| none.class);
    let clock = seen.ahead_s().and_then(|ahead_s| reason::wrong_clock(code?, ahead_s));
    let reason = match (&no_credentials, &clock) {
        (Some(none), _) => none.reason,
        (None, Some(_)) => Some(Reason::ClockOff),
        (None, None) => failure.reason(),
    };
    let refused_by = code.map(str::to_owned).or_else(|| no_credentials.as_ref().and_then(|none| none.code.clone()));
    let message = match (code, reply) {
        (Some(code), _) => format!("{code}: {text}{}", clock.map(|clock| format!(" ({clock})")).unwrap_or_default()),
        (None, Reply::Status(status)) => strange(status, error, seen.host.as_deref()),
        (None, Reply::Missing { why, sent }) => {
            let host = seen.host.as_deref().unwrap_or("EC2");
            let describe = if sent { unanswered } else { unsent };
            no_credentials.map_or_else(|| describe(why, host, error), |none| none.message)
        }
    };
    let error = Ec2Error {
        operation,
        code: refused_by,
        reason,
        message: one_line(&message),
        request_id: error.request_id().map(str::to_owned),
        class,
        effect: failure.effect(),
    };
    Failed { error, result: failure.result() }
}

/// The most characters that are shown of an answer that is not EC2's.
const GLIMPSE: usize = 60;

/// Describes an answer without an EC2 error code: the host that was asked, and the beginning of the answer. The
/// beginning lets people recognize the sender.
fn strange<E>(status: u16, error: &SdkError<E>, host: Option<&str>) -> String {
    let sender = match status {
        407 => "a proxy that wants a password",
        200 => "a proxy, or another service at that address",
        _ => "a proxy or a load balancer",
    };
    let body = error.raw_response().and_then(|response| response.body().bytes()).unwrap_or_default();
    let text = one_line(&String::from_utf8_lossy(body)).replace(char::is_control, " ");
    let shown: String = text.chars().take(GLIMPSE).collect();
    let more = if shown.len() < text.len() { "..." } else { "" };
    let said =
        if shown.is_empty() { "with an empty body".to_owned() } else { format!("that begins with '{shown}{more}'") };
    format!("an answer to {} that is none of EC2's, as from {sender}: HTTP {status}, {said}", host.unwrap_or("EC2"))
}

/// Describes the failure of a request that left this machine.
fn unanswered(why: Missing, host: &str, error: &(dyn Error + 'static)) -> String {
    match why {
        Missing::TimedOut => format!("no answer from {host} in time"),
        Missing::Io => format!("the connection to {host} broke before the answer: {}", causes(error)),
        Missing::NotMade => not_made(error),
    }
}

/// Describes the failure of a request that never left this machine.
fn unsent(why: Missing, host: &str, error: &(dyn Error + 'static)) -> String {
    match why {
        Missing::TimedOut => format!("no connection to {host} in time"),
        Missing::Io => format!("no connection to {host}: {}", with_cure(causes(error))),
        Missing::NotMade => not_made(error),
    }
}

fn not_made(error: &(dyn Error + 'static)) -> String {
    format!("the request could not be made: {}", causes(error))
}

/// The causes. If the certificate is not trusted, the text also names the setting for trust.
fn with_cure(causes: String) -> String {
    if causes.contains("UnknownIssuer") {
        format!(
            "{causes}: the certificate's issuer is not trusted; if a proxy opens TLS on the way, put its CA into \
             aws.ca_bundle (or AWS_CA_BUNDLE)"
        )
    } else {
        causes
    }
}

/// An error that vipkeeper makes itself. Nothing was sent.
pub fn refused(operation: &'static str, class: Class, message: impl Into<String>) -> Ec2Error {
    Ec2Error {
        operation,
        code: None,
        reason: None,
        message: message.into(),
        request_id: None,
        class,
        effect: crate::ec2::Effect::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_issuer_leads_to_the_setting_for_trust() {
        let told = with_cure("invalid peer certificate: UnknownIssuer".to_owned());
        assert!(told.contains("aws.ca_bundle (or AWS_CA_BUNDLE)"), "{told}");
        assert_eq!(with_cure("Connection refused (os error 111)".to_owned()), "Connection refused (os error 111)");
    }
}
