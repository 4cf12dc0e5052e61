//! The credentials that sign the requests: the time limit for loading them, their expiry, and the message when there
//! are none. Finding the credentials is the SDK's work.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use tokio::time::Instant;

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

/// The longest time before the end of credentials at which new ones are asked for; the SDK's cache chooses half of it or
/// more. The metadata service has new ones at least five minutes before the end, by EC2's user guide, so credentials that
/// end within three minutes are credentials that nobody renews.
pub(super) const RENEW_BEFORE: Duration = Duration::from_mins(10);
/// The pause between two questions for new credentials while the old ones still hold. A source that does not answer thus
/// delays few requests.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// Credentials that end sooner are given to no request, because a request takes time.
const LAST_USE: Duration = Duration::from_secs(10);

/// Passes credentials on, or fails after the time limit. Remembers the last credentials, and passes them on once more where
/// there are no new ones yet, or the source fails, and the old ones still hold.
#[derive(Debug, Clone)]
pub struct Watched {
    inner: SharedCredentialsProvider,
    /// The role that is assumed for these credentials, if any. An error names the role.
    role_arn: Option<String>,
    last: Arc<Mutex<Last>>,
}

/// The last credentials, and when the source was asked last.
#[derive(Debug, Default)]
struct Last {
    credentials: Option<Credentials>,
    asked: Option<Instant>,
}

impl Last {
    /// The last credentials, where it is time to renew them and they still hold. Credentials that EC2 refuses before that
    /// time must not be passed on again.
    #[expect(clippy::disallowed_methods, reason = "the SDK compares the end of credentials with this clock too")]
    fn renewable(&self) -> Option<&Credentials> {
        let credentials = self.credentials.as_ref()?;
        let left = credentials.expiry()?.duration_since(SystemTime::now()).ok()?;
        (left > LAST_USE && left <= RENEW_BEFORE).then_some(credentials)
    }
}

impl Watched {
    /// Watches the credentials of `inner`.
    #[must_use]
    pub fn new(inner: SharedCredentialsProvider) -> Self {
        Self { inner, role_arn: None, last: Arc::default() }
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
        self.last().credentials.as_ref().and_then(Credentials::expiry)
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the source.
    async fn ask(&self) -> Result<Credentials, CredentialsError> {
        let outcome = match tokio::time::timeout(LOAD, self.inner.provide_credentials()).await {
            Ok(outcome) => outcome,
            Err(_) => self.fallback_on_interrupt().ok_or(CredentialsError::provider_timed_out(LOAD)),
        };
        outcome.map_err(|source| match &self.role_arn {
            Some(role_arn) => CredentialsError::provider_error(NotAssumed { role_arn: role_arn.clone(), source }),
            None => source,
        })
    }
}

impl ProvideCredentials for Watched {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(async {
            {
                let last = self.last();
                let just_asked = last.asked.is_some_and(|at| at.elapsed() < ASK_AGAIN);
                if let Some(credentials) = last.renewable().filter(|_| just_asked) {
                    return Ok(credentials.clone());
                }
            }
            let outcome = self.ask().await;
            let mut last = self.last();
            last.asked = Some(Instant::now());
            match outcome {
                Ok(credentials) => {
                    last.credentials = Some(credentials.clone());
                    Ok(credentials)
                }
                Err(error) => last.renewable().cloned().ok_or(error),
            }
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "credentials end by the wall clock")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_credential_types::credential_fn::provide_credentials_fn;

    use super::*;

    /// A source whose first credentials end in `first`, and which then gives what `then` says, with the number of its
    /// questions so far.
    fn watched(first: Duration, then: Option<Duration>) -> (Watched, Arc<AtomicUsize>) {
        let asked = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&asked);
        let source = provide_credentials_fn(move || {
            let lasts = if count.fetch_add(1, Ordering::Relaxed) == 0 { Some(first) } else { then };
            async move {
                let lasts = lasts.ok_or(CredentialsError::not_loaded("nobody answers"))?;
                Ok(Credentials::new("AKID", "secret", None, Some(SystemTime::now() + lasts), "test"))
            }
        });
        (Watched::new(SharedCredentialsProvider::new(source)), asked)
    }

    async fn ends_in_s(watched: &Watched) -> Option<u64> {
        let credentials = watched.provide_credentials().await.ok()?;
        let left = credentials.expiry()?.duration_since(SystemTime::now()).ok()?;
        Some(left.as_secs() + 1)
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_nobody_renews_are_used_while_they_hold_and_their_source_is_asked_now_and_then() {
        let (watched, asked) = watched(Duration::from_mins(5), None);
        for _ in 0..100 {
            assert_eq!(ends_in_s(&watched).await, Some(300));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1, "the source was asked a moment ago");
        tokio::time::advance(ASK_AGAIN).await;
        assert_eq!(ends_in_s(&watched).await, Some(300), "the source fails, and the old ones hold");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert!(watched.expiry().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn new_credentials_count_at_once() {
        let (watched, _) = watched(Duration::from_mins(5), Some(Duration::from_hours(6)));
        assert_eq!(ends_in_s(&watched).await, Some(300));
        tokio::time::advance(ASK_AGAIN).await;
        assert_eq!(ends_in_s(&watched).await, Some(21_600));
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_end_or_that_are_not_due_are_no_substitute() {
        for first in [Duration::from_secs(9), Duration::from_mins(11)] {
            let (watched, asked) = watched(first, None);
            assert!(ends_in_s(&watched).await.is_some());
            assert_eq!(ends_in_s(&watched).await, None, "whoever asks again needs other ones");
            assert_eq!(asked.load(Ordering::Relaxed), 2);
        }
    }
}
