//! The credentials that sign the requests: the time limit for loading them, their expiry, and the message when there
//! are none. Finding the credentials is the SDK's work.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;

use super::causes::{self, causes};
use super::chain::{NothingFound, PATIENCE};
use crate::ec2::Class;
use crate::ec2::codes::{self, FailedCall, Label, Reply};
use crate::ec2::message::{list_on_one_line, one_line};
use crate::ec2::reason::Reason;
use crate::ec2::sources;

/// The time limit for loading credentials from the metadata service or STS. The limit is shorter than that of one
/// whole request, so that the error names the credentials and not the request.
pub(super) const LOAD: Duration = Duration::from_millis(2500);
// The sources of credentials give up before the load does, so that the error names the source.
const _: () = assert!(PATIENCE.as_millis() < LOAD.as_millis());

/// Passes credentials on, or fails after the time limit. Remembers when the last credentials run out.
#[derive(Debug, Clone)]
pub struct Watched {
    inner: SharedCredentialsProvider,
    /// The role that is assumed for these credentials, if any. An error names the role.
    role_arn: Option<String>,
    expiry: Arc<Mutex<Option<SystemTime>>>,
}

impl Watched {
    /// Watches the credentials of `inner`.
    #[must_use]
    pub fn new(inner: SharedCredentialsProvider) -> Self {
        Self { inner, role_arn: None, expiry: Arc::default() }
    }

    /// Watches the credentials of `inner`, which assumes the role.
    #[must_use]
    pub fn of_role(role_arn: &str, inner: SharedCredentialsProvider) -> Self {
        Self { role_arn: Some(role_arn.to_owned()), ..Self::new(inner) }
    }

    /// The time at which the last credentials run out. `None` before the first credentials, and for credentials that
    /// never run out.
    #[must_use]
    pub fn expiry(&self) -> Option<SystemTime> {
        *self.expiry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProvideCredentials for Watched {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(async {
            let outcome = match tokio::time::timeout(LOAD, self.inner.provide_credentials()).await {
                Ok(outcome) => outcome,
                Err(_) => self.fallback_on_interrupt().ok_or(CredentialsError::provider_timed_out(LOAD)),
            };
            let credentials = outcome.map_err(|source| match &self.role_arn {
                Some(role_arn) => CredentialsError::provider_error(NotAssumed { role_arn: role_arn.clone(), source }),
                None => source,
            })?;
            *self.expiry.lock().unwrap_or_else(PoisonError::into_inner) = credentials.expiry();
            Ok(credentials)
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.inner.fallback_on_interrupt()
    }
}

/// The error when the credentials of a role could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("cannot assume the role {role_arn}")]
struct NotAssumed {
    role_arn: String,
    source: CredentialsError,
}

/// The reason why a request could not be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCredentials {
    pub class: Class,
    /// STS's error code, if STS refused.
    pub code: Option<String>,
    pub reason: Option<Reason>,
    pub message: String,
}

/// Looks among the causes of `error` for a failure to get credentials. `None` if something else failed.
///
/// `explain` distinguishes a role that may not be assumed from an STS that does not answer: the role needs an
/// operator.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> Option<NoCredentials> {
    // Assuming a role needs other credentials first, and these may be the missing ones. The innermost cause counts.
    let innermost = causes::chain(error).filter_map(|error| error.downcast_ref::<CredentialsError>()).last()?;
    let role = causes::chain(error).filter_map(|error| error.downcast_ref::<NotAssumed>()).last();
    let of_role = |message: &str| match role {
        Some(role) => one_line(&format!("{role}: {message}")),
        None => one_line(message),
    };
    if let Some(refused) =
        causes::chain(error).filter_map(|error| error.downcast_ref::<SdkError<AssumeRoleError>>()).last()
        && let Some(code) = refused.code()
    {
        let status = refused.raw_response().map_or(400, |response| response.status().as_u16());
        let message = refused.message().unwrap_or_default();
        let failure = FailedCall { operation: "AssumeRole", code: Some(code), message, reply: Reply::Status(status) };
        let message = match role {
            Some(_) => of_role(&format!("{code}: {message}")),
            // The SDK's own profile names this role, so its ARN is not known here.
            None => one_line(&format!("cannot assume the role: {code}: {message}")),
        };
        let is_forbidden = codes::label(failure.result()) == Label::NotAllowed;
        let reason = if is_forbidden { Some(Reason::RoleNotAssumed) } else { failure.reason() };
        return Some(NoCredentials { class: failure.class(), code: Some(code.to_owned()), reason, message });
    }
    if let Some(nothing) = causes::chain(error).filter_map(|error| error.downcast_ref::<NothingFound>()).last() {
        let (class, reason) = (sources::class(&nothing.said), sources::reason(&nothing.said));
        let role = role.map(|role| format!("{role}: ")).unwrap_or_default();
        let message = list_on_one_line(&format!("{role}{nothing}"));
        return Some(NoCredentials { class, code: None, reason: Some(reason), message });
    }
    let asked_sts = innermost.source().is_some_and(<dyn Error>::is::<SdkError<AssumeRoleError>>);
    let cause = innermost.source().map(|error| format!(": {}", causes(error))).unwrap_or_default();
    let (class, message) = match innermost {
        CredentialsError::CredentialsNotLoaded(_) => (Class::Denied, format!("no credentials found{cause}")),
        CredentialsError::InvalidConfiguration(_) => (Class::Denied, format!("credentials are set up wrongly{cause}")),
        CredentialsError::ProviderTimedOut(_) => (
            Class::Transient,
            "credentials did not come in time from the metadata service, STS or wherever they are kept".to_owned(),
        ),
        _ if asked_sts => (Class::Transient, format!("STS does not answer{cause}")),
        _ => (Class::Transient, format!("cannot load credentials{cause}")),
    };
    Some(NoCredentials { class, code: None, reason: None, message: of_role(&message) })
}
