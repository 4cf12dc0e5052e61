//! The credentials that requests are signed with: how long to wait for them, until when they hold, and what to say when
//! there are none. Finding them is the SDK's work.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::imds::client::error::ImdsError;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;

use super::causes::{self, causes, one_line};
use super::{chain, imds};
use crate::ec2::Class;
use crate::ec2::codes::{self, FailedCall, Label, Reply};
use crate::ec2::reason::Reason;

/// How long credentials may take to come from the metadata service or STS. Less than one request may take with all that
/// belongs to it, so that it is they whom the error names.
const LOAD: Duration = Duration::from_millis(2500);

/// Passes credentials on, in time or not at all, and remembers until when the last ones hold.
#[derive(Debug, Clone)]
pub struct Watched {
    inner: SharedCredentialsProvider,
    /// The role whose they are, if one is assumed: an error names it.
    role_arn: Option<String>,
    expiry: Arc<Mutex<Option<SystemTime>>>,
}

impl Watched {
    /// Watches what `inner` gives.
    #[must_use]
    pub fn new(inner: SharedCredentialsProvider) -> Self {
        Self { inner, role_arn: None, expiry: Arc::default() }
    }

    /// Watches what `inner` gives for a role.
    #[must_use]
    pub fn of_role(role_arn: &str, inner: SharedCredentialsProvider) -> Self {
        Self { role_arn: Some(role_arn.to_owned()), ..Self::new(inner) }
    }

    /// When the credentials given last run out; `None` before the first ones, and for those that never do.
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

/// A role's credentials did not come.
#[derive(Debug, thiserror::Error)]
#[error("cannot assume the role {role_arn}")]
struct NotAssumed {
    role_arn: String,
    source: CredentialsError,
}

/// Why a request could not be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCredentials {
    pub class: Class,
    /// The code of STS, if it is STS that refused.
    pub code: Option<String>,
    pub reason: Option<Reason>,
    pub message: String,
}

/// Looks for a failure to get credentials among the causes of `error`; `None` if something else went wrong.
///
/// A role that may not be assumed is told apart from an STS that does not answer: the first needs an operator.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> Option<NoCredentials> {
    // Assuming a role takes other credentials first, and those may be what is missing: the innermost cause counts.
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
            // One that the SDK's own profile names.
            None => one_line(&format!("cannot assume the role: {code}: {message}")),
        };
        let is_forbidden = codes::label(failure.result()) == Label::NotAllowed;
        let reason = is_forbidden.then_some(Reason::RoleNotAssumed);
        return Some(NoCredentials { class: failure.class(), code: Some(code.to_owned()), reason, message });
    }
    if let Some(error) = causes::chain(error).find_map(|error| error.downcast_ref::<ImdsError>()) {
        let class = if imds::is_refusal(error) { Class::Denied } else { Class::Transient };
        let message = format!("no credentials from the metadata service: {}", imds::explain(error));
        return Some(NoCredentials { class, code: None, reason: None, message: of_role(&message) });
    }
    let asked_sts = innermost.source().is_some_and(<dyn Error>::is::<SdkError<AssumeRoleError>>);
    let cause = innermost.source().map(|error| format!(": {}", causes(error))).unwrap_or_default();
    let (class, message) = match innermost {
        CredentialsError::CredentialsNotLoaded(_) => match chain::nothing_found(innermost) {
            Some(nothing) if nothing.final_word => (Class::Denied, nothing.message),
            Some(nothing) => (Class::Transient, nothing.message),
            None => (Class::Denied, format!("no credentials found{cause}")),
        },
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
