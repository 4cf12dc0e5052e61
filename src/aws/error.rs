//! Turns an error of the SDK into an [`Ec2Error`] with one line of text that helps at three in the morning.

use std::error::Error;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId;

use super::causes::{causes, one_line};
use super::credentials;
use super::probe::Traced;
use crate::ec2::codes::{FailedCall, Missing, Reply};
use crate::ec2::reason::{self, Reason};
use crate::ec2::stranger::{Meant, Stranger};
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
        (None, None) => failure.reason().or_else(|| on_the_way(code, reply, seen, error)),
    };
    let refused_by = code.map(str::to_owned).or_else(|| no_credentials.as_ref().and_then(|none| none.code.clone()));
    let message = match (code, reply) {
        (Some(code), _) => format!("{code}: {text}{}", clock.map(|clock| format!(" ({clock})")).unwrap_or_default()),
        (None, Reply::Status(status)) => strange(status, error, seen),
        (None, Reply::Missing { why, sent }) => {
            let describe = if sent { unanswered } else { unsent };
            no_credentials.map_or_else(|| describe(why, seen, error), |none| none.message)
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

/// An answer that breaks off, although the SDK read it. It may show fewer things than there are.
pub fn cut_off(operation: &'static str, seen: &Traced) -> Failed {
    let failure = FailedCall { operation, code: None, message: "", reply: Reply::Status(200) };
    let stranger = Stranger {
        meant: Meant::Ec2,
        asked: seen.host.as_deref().unwrap_or("EC2"),
        proxy: seen.proxy.as_deref(),
        status: 200,
        server: None,
        via: None,
        body: seen.cut.as_deref().unwrap_or_default(),
    };
    let error = Ec2Error {
        operation,
        code: None,
        reason: Some(Reason::NotAws),
        message: one_line(&stranger.to_string()),
        request_id: None,
        class: failure.class(),
        effect: failure.effect(),
    };
    Failed { error, result: failure.result() }
}

/// The reason on the way between this node and EC2, for an answer that is not EC2's or for a missing one.
fn on_the_way(code: Option<&str>, reply: Reply, seen: &Traced, error: &(dyn Error + 'static)) -> Option<Reason> {
    match reply {
        _ if code.is_some() => None,
        // AWS's own load balancers send some 5xx without a code.
        Reply::Status(500..) if seen.proxy.is_none() => None,
        Reply::Status(_) => Some(Reason::NotAws),
        Reply::Missing { why: Missing::NotMade, .. } | Reply::Missing { sent: true, .. } => None,
        Reply::Missing { .. } => {
            let causes = causes(error);
            if causes.contains("UnknownIssuer") {
                Some(Reason::UntrustedIssuer)
            } else if causes.contains("invalid peer certificate") {
                Some(Reason::BadCertificate)
            } else {
                seen.proxy.is_some().then_some(Reason::Proxy)
            }
        }
    }
}

/// Describes an answer without an EC2 error code.
fn strange<E>(status: u16, error: &SdkError<E>, seen: &Traced) -> String {
    let answer = error.raw_response();
    let header = |name: &str| answer.and_then(|answer| answer.headers().get(name));
    let stranger = Stranger {
        meant: Meant::Ec2,
        asked: seen.host.as_deref().unwrap_or("EC2"),
        proxy: seen.proxy.as_deref(),
        status,
        server: header("server"),
        via: header("via"),
        body: answer.and_then(|answer| answer.body().bytes()).unwrap_or_default(),
    };
    stranger.to_string()
}

/// Describes the failure of a request that left this machine.
fn unanswered(why: Missing, seen: &Traced, error: &(dyn Error + 'static)) -> String {
    let way = way(seen);
    match why {
        Missing::TimedOut => format!("connected to {way}, but no answer came in time"),
        Missing::Io => format!("the connection to {way} broke before the answer: {}", causes(error)),
        Missing::NotMade => not_made(error),
    }
}

/// Describes the failure of a request that never left this machine.
fn unsent(why: Missing, seen: &Traced, error: &(dyn Error + 'static)) -> String {
    match why {
        Missing::TimedOut => format!("no connection to {} in time", way(seen)),
        Missing::Io => not_connected(seen.host.as_deref().unwrap_or("EC2"), seen.proxy.as_deref(), &causes(error)),
        Missing::NotMade => not_made(error),
    }
}

fn not_made(error: &(dyn Error + 'static)) -> String {
    format!("the request could not be made: {}", causes(error))
}

/// The host that was asked, and the proxy in between if there is one.
fn way(seen: &Traced) -> String {
    let host = seen.host.as_deref().unwrap_or("EC2");
    seen.proxy.as_ref().map_or_else(|| host.to_owned(), |proxy| format!("{host} through the proxy {proxy}"))
}

/// Describes a connection that was not made. With a proxy, the obstacle is one of three: the proxy cannot be reached, the
/// proxy does not make the connection, or the proxy's certificate is not trusted.
fn not_connected(host: &str, proxy: Option<&str>, causes: &str) -> String {
    match proxy {
        Some(proxy) if causes.contains("tunnel error") => {
            format!("the proxy {proxy} does not let {host} through: {causes}")
        }
        Some(proxy) if causes.contains("certificate") => {
            format!("no connection to {host} through the proxy {proxy}: {causes}")
        }
        Some(proxy) => format!("no connection to the proxy {proxy}, through which {host} is asked: {causes}"),
        None => format!("no connection to {host}: {causes}"),
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
    fn a_proxy_in_between_is_named_as_what_it_is() {
        let (host, proxy) = ("ec2.eu-west-1.amazonaws.com", Some("http://10.0.0.7:3128"));
        let refused = "tcp connect error: Connection refused (os error 111)";
        assert_eq!(
            not_connected(host, proxy, refused),
            format!("no connection to the proxy http://10.0.0.7:3128, through which {host} is asked: {refused}")
        );
        let told = not_connected(host, proxy, "tunnel error: proxy authorization required");
        assert!(told.starts_with("the proxy http://10.0.0.7:3128 does not let ec2."), "{told}");
        let told = not_connected(host, proxy, "invalid peer certificate: UnknownIssuer");
        assert!(told.starts_with("no connection to ec2.eu-west-1.amazonaws.com through the proxy"), "{told}");
        assert_eq!(not_connected(host, None, refused), format!("no connection to {host}: {refused}"));
    }
}
