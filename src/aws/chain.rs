//! The sources of this node's own credentials, and their order. Each source is the SDK's. A source that the
//! configuration names is the only one that is asked, so that no other source takes its place unnoticed.

#![expect(deprecated, reason = "the successors of its names for files are in a crate of the SDK's inner workings")]

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::Region;
use aws_config::default_provider::use_dual_stack::use_dual_stack_provider;
use aws_config::default_provider::use_fips::use_fips_provider;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::time::{Instant, timeout_at};

use super::causes::{causes, chain};
use super::http::SetupError;
use super::imds::{self, profile_to_tell};
use crate::config::Aws;
use crate::config::sources::{
    container_endpoint, half_a_key_pair, profile_variable, token_without_role, unreadable_profiles,
};
use crate::ec2::Class;
use crate::ec2::codes::{FailedCall, Reply};
use crate::ec2::sources::{Said, SourceAnswer, not_built_in, sentence};

/// The time limit for all sources together. It is shorter than the limit for loading credentials, so that the error
/// names the source that did not answer.
pub(super) const PATIENCE: Duration = Duration::from_millis(2400);

/// The sources of credentials. If the configuration names a metadata service or a profile, that is the only source.
/// Otherwise they are the SDK's usual sources in their usual order.
///
/// # Errors
/// The metadata service's endpoint cannot be used.
pub async fn sources(aws: &Aws, region: &str, http: &SharedHttpClient) -> Result<CredentialSources, SetupError> {
    // An unset option leaves the decision to AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT. The decision also
    // holds for STS.
    let environment = ProviderConfig::default();
    let use_fips = aws.use_fips || use_fips_provider(&environment).await == Some(true);
    let use_dual_stack = aws.use_dual_stack || use_dual_stack_provider(&environment).await == Some(true);
    let aws = Aws { use_fips, use_dual_stack, ..aws.clone() };
    // The SDK does not tell a missing profile from an empty one where no file defines any profile. This one stands
    // beside those of the files, and holds nothing.
    let files = ProfileFiles::builder()
        .include_default_config_file(true)
        .include_default_credentials_file(true)
        .with_contents(ProfileFileKind::Config, "[profile of-no-file]\n")
        .build();
    sources_of(&Around { aws, region: region.to_owned(), http: http.clone(), files })
}

fn sources_of(around: &Around) -> Result<CredentialSources, SetupError> {
    let (config, aws) = (around.config(), &around.aws);
    let metadata_service = format!("the metadata service at {}", imds::address(aws));
    if let Some(endpoint) = &aws.imds_endpoint {
        let client = Client::builder().configure(&config).endpoint(endpoint);
        let client = client.map_err(|error| SetupError::ImdsEndpoint(error.to_string()))?.build();
        let service = ImdsCredentialsProvider::builder().configure(&config).imds_client(client).build();
        return Ok(CredentialSources::of([(metadata_service, SharedCredentialsProvider::new(service))]));
    }
    let profile = SharedCredentialsProvider::new(Profile::new(around.clone()));
    if let Some(name) = &aws.profile {
        return Ok(CredentialSources::of([(format!("the profile {name}"), profile)]));
    }
    // Half of what a source needs is a mistake, and the next source must not take its place unnoticed.
    let environment = match half_a_key_pair() {
        Some(why) => refusing(why),
        None => SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()),
    };
    let token = match token_without_role() {
        Some(why) => refusing(why),
        None => {
            SharedCredentialsProvider::new(WebIdentityTokenCredentialsProvider::builder().configure(&config).build())
        }
    };
    let container = EcsCredentialsProvider::builder().configure(&config).build();
    let service = ImdsCredentialsProvider::builder().configure(&config).build();
    let at = container_endpoint().map(|address| format!(" at {address}")).unwrap_or_default();
    let container_metadata = format!("a container's metadata{at}");
    Ok(CredentialSources::of([
        ("the environment".to_owned(), environment),
        ("the profile".to_owned(), profile),
        ("a web identity token".to_owned(), token),
        (container_metadata, SharedCredentialsProvider::new(container)),
        (metadata_service, SharedCredentialsProvider::new(service)),
    ]))
}

/// A source that is set up wrongly.
fn refusing(why: String) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(provide_credentials_fn(move || {
        let refused = Err(CredentialsError::invalid_configuration(why.clone()));
        async { refused }
    }))
}

/// Everything that a source needs for its own requests.
#[derive(Debug, Clone)]
struct Around {
    aws: Aws,
    region: String,
    http: SharedHttpClient,
    /// The files with the profiles: the files that the SDK's variables name, or those in the user's home.
    files: ProfileFiles,
}

impl Around {
    /// The SDK caches the profile files in a `ProviderConfig`. Each call makes a new one, so that the files are read
    /// again.
    fn config(&self) -> ProviderConfig {
        ProviderConfig::default()
            .with_http_client(self.http.clone())
            .with_region(Some(Region::new(self.region.clone())))
            .with_use_fips(self.aws.use_fips.then_some(true))
            .with_use_dual_stack(self.aws.use_dual_stack.then_some(true))
    }
}

/// A profile of the SDK's files. The SDK's own source reports an error of the files only once, and gives a useless
/// message after that. `Profile` therefore makes a new source after each failure. The new source also notices when
/// the files have been corrected.
#[derive(Debug)]
struct Profile {
    around: Around,
    source: Mutex<SharedCredentialsProvider>,
}

impl Profile {
    fn new(around: Around) -> Self {
        let source = Mutex::new(Self::source(&around));
        Self { around, source }
    }

    fn source(around: &Around) -> SharedCredentialsProvider {
        let mut source = ProfileFileCredentialsProvider::builder().configure(&around.config());
        source = source.profile_files(around.files.clone());
        if let Some(name) = profile_to_tell(&around.aws) {
            source = source.profile_name(name);
        }
        SharedCredentialsProvider::new(source.build())
    }

    async fn ask(&self) -> Result<Credentials, CredentialsError> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
        source.provide_credentials().await.map_err(|error| {
            let is_chosen = self.around.aws.profile.is_some();
            let mistake = unreadable_profiles().or_else(|| mistake(&error).filter(|_| !is_chosen));
            mistake.map_or(error, CredentialsError::invalid_configuration)
        })
    }
}

/// Tells which profile does not exist although somebody named it, where the SDK takes that for the lack of any profile. A
/// profile that is named must not be replaced by the next source unnoticed.
fn mistake(error: &CredentialsError) -> Option<String> {
    let CredentialsError::CredentialsNotLoaded(_) = error else { return None };
    let why = std::error::Error::source(error).map(causes)?;
    let (profile, lack) = why.strip_prefix("profile `")?.split_once("` was not defined: ")?;
    let by_variable = profile_variable().is_some_and(|name| name == profile) && lack.ends_with("the root profile");
    Some(if by_variable {
        format!("AWS_PROFILE names {profile}, and no file defines such a profile")
    } else {
        format!("profile {profile}: {lack}")
    })
}

impl ProvideCredentials for Profile {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(async {
            let outcome = self.ask().await;
            if outcome.is_err() {
                *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Self::source(&self.around);
            }
            outcome
        })
    }
}

/// The sources in the order in which they are asked. The SDK's own chain forgets the earlier answers where a source
/// fails, and does not tell which source did not answer in time.
#[derive(Debug)]
pub struct CredentialSources(Vec<(String, SharedCredentialsProvider)>);

/// The error when no source gave credentials: the answer of each source, in the order in which they were asked. The
/// cause is the last source's error.
#[derive(Debug, thiserror::Error)]
#[error("{}", sentence(said))]
pub struct NothingFound {
    pub said: Vec<Said>,
    source: CredentialsError,
}

impl CredentialSources {
    fn of(sources: impl IntoIterator<Item = (String, SharedCredentialsProvider)>) -> Self {
        Self(sources.into_iter().collect())
    }

    async fn ask(&self) -> Result<Credentials, CredentialsError> {
        let until = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        let mut last = CredentialsError::not_loaded_no_source();
        for (source, provider) in &self.0 {
            let (answer, error) = match timeout_at(until, provider.provide_credentials()).await {
                Ok(Ok(credentials)) => return Ok(credentials),
                Ok(Err(error)) => (answer_of(&error), error),
                Err(_) => match provider.fallback_on_interrupt() {
                    Some(credentials) => return Ok(credentials),
                    None => (
                        SourceAnswer::Silent("no answer in time".to_owned()),
                        CredentialsError::provider_timed_out(PATIENCE),
                    ),
                },
            };
            said.push(Said { source: source.clone(), answer });
            let goes_on = matches!(error, CredentialsError::CredentialsNotLoaded(_));
            last = error;
            // A source that fails must not be replaced by the next one unnoticed.
            if !goes_on {
                break;
            }
        }
        Err(CredentialsError::provider_error(NothingFound { said, source: last }))
    }
}

impl ProvideCredentials for CredentialSources {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(self.ask())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.0.iter().find_map(|(_, provider)| provider.fallback_on_interrupt())
    }
}

/// The meaning of a source's error.
fn answer_of(error: &CredentialsError) -> SourceAnswer {
    if let Some(error) = chain(error).find_map(|error| error.downcast_ref::<ImdsError>()) {
        let why = imds::explain(error, &imds::Vantage::of_process());
        return if imds::is_refusal(error) { SourceAnswer::Refused(why) } else { SourceAnswer::Silent(why) };
    }
    if let Some(answer) = chain(error).find_map(|error| error.downcast_ref()).and_then(of_sts) {
        return answer;
    }
    let source = std::error::Error::source(error);
    let why = source.map(causes).unwrap_or_default();
    let lacks_file = |error: &(dyn std::error::Error + 'static)| {
        error.downcast_ref().is_some_and(|error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
        })
    };
    match error {
        _ if refused_status(&why).is_some() => {
            SourceAnswer::Refused(format!("it answers HTTP {}", refused_status(&why).unwrap_or_default()))
        }
        // A firewall forbids a connection with the error that a file's permissions give.
        _ if !why.contains("connect") && chain(error).any(lacks_file) => {
            SourceAnswer::Refused(format!("a file that it needs cannot be read: {why}"))
        }
        _ if not_built_in(&why).is_some() => {
            SourceAnswer::NotBuiltIn(not_built_in(&why).unwrap_or_default().to_owned())
        }
        CredentialsError::CredentialsNotLoaded(_) if why.starts_with("IMDS disabled") => {
            SourceAnswer::Off("AWS_EC2_METADATA_DISABLED is set".to_owned())
        }
        CredentialsError::CredentialsNotLoaded(_) if why == "received 404 from IMDS" => {
            SourceAnswer::Nothing("no IAM role is attached to this instance: HTTP 404".to_owned())
        }
        // An answer of the source itself has no cause. A failed connection has a cause.
        CredentialsError::CredentialsNotLoaded(_) if source.is_some_and(|source| source.source().is_some()) => {
            SourceAnswer::Silent(format!("{why}{}", imds::Vantage::of_process().way_to_it()))
        }
        CredentialsError::CredentialsNotLoaded(_) => SourceAnswer::Nothing(why),
        CredentialsError::InvalidConfiguration(_) => SourceAnswer::Refused(why),
        _ if chain(error).any(<dyn std::error::Error>::is::<SdkError<AssumeRoleError>>) => {
            SourceAnswer::Silent(format!("STS: {why}"))
        }
        _ => SourceAnswer::Silent(why),
    }
}

/// The answer of STS to a web identity token; `None` if no answer came.
fn of_sts(error: &SdkError<AssumeRoleWithWebIdentityError>) -> Option<SourceAnswer> {
    let (code, message) = (error.code()?, error.message().unwrap_or_default());
    let reply = Reply::Status(error.raw_response()?.status().as_u16());
    let call = FailedCall { operation: "AssumeRoleWithWebIdentity", code: Some(code), message, reply };
    let why = format!("STS: {code}: {message}");
    Some(match call.class() {
        Class::Denied | Class::Rejected => SourceAnswer::Refused(why),
        Class::Transient | Class::Throttled | Class::Stale => SourceAnswer::Silent(why),
    })
}

/// The status with which a container's metadata service refuses, by the SDK's text.
fn refused_status(why: &str) -> Option<&str> {
    let (_, status) = why.split_once("HTTP credential provider: StatusCode(")?;
    status.split(')').next().filter(|status| status.starts_with('4'))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::aws::credentials::{NoCredentials, explain};
    use crate::aws::http;
    use crate::ec2::reason::Reason;

    /// The sources for `aws`, with the profiles of this file.
    fn sources_with(aws: Aws, profiles: &tempfile::NamedTempFile) -> CredentialSources {
        let files = ProfileFiles::builder().with_file(ProfileFileKind::Config, profiles.path()).build();
        let http = http::client(None, "").unwrap();
        sources_of(&Around { aws, region: "eu-central-1".to_owned(), http, files }).unwrap()
    }

    fn profiles(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn named(profile: &str) -> Aws {
        Aws { profile: Some(profile.to_owned()), ..Aws::default() }
    }

    async fn refusal(sources: &CredentialSources) -> NoCredentials {
        explain(&sources.provide_credentials().await.unwrap_err()).unwrap()
    }

    #[tokio::test]
    async fn a_profile_that_is_named_and_missing_is_an_error_and_no_other_source_takes_its_place() {
        let file = profiles("[profile other]\naws_access_key_id = AKID\naws_secret_access_key = s\n");
        let sources = sources_with(named("nosuch"), &file);
        let first = refusal(&sources).await;
        assert_eq!(first.class, Class::Denied);
        assert!(first.message.starts_with("no credentials found: the profile nosuch has none (profile"), "{first:?}");
        assert_eq!(refusal(&sources).await, first, "the second time as well");
        // The file is corrected, and no restart is needed.
        std::fs::write(file.path(), "[profile nosuch]\naws_access_key_id = MENDED\naws_secret_access_key = s\n")
            .unwrap();
        assert_eq!(sources.provide_credentials().await.unwrap().access_key_id(), "MENDED");
    }

    #[tokio::test]
    async fn a_profile_that_needs_what_is_not_built_in_says_so_each_time() {
        let file = profiles("[profile p]\ncredential_process = /usr/bin/true\n");
        let sources = sources_with(named("p"), &file);
        let first = refusal(&sources).await;
        assert_eq!(
            first.message,
            "no credentials found: the profile p cannot be used (it needs credential_process, and vipkeeper starts no \
             other program)"
        );
        assert_eq!((first.class, first.reason), (Class::Denied, Some(Reason::SourceNotBuiltIn)));
        assert_eq!(refusal(&sources).await, first);
    }

    #[tokio::test]
    async fn a_metadata_service_that_does_not_answer_is_no_missing_role() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let aws = Aws { imds_endpoint: Some(endpoint.clone()), ..Aws::default() };
        let said = refusal(&sources_with(aws, &profiles(""))).await;
        assert_eq!(said.class, Class::Transient);
        let expected = format!("no credentials found: the metadata service at {endpoint} does not answer (");
        assert!(said.message.starts_with(&expected), "{said:?}");
    }

    /// The answer of the sources after these, the last of which ends the search.
    async fn refusal_of(errors: Vec<fn() -> CredentialsError>) -> NoCredentials {
        let source = |(number, error): (usize, fn() -> CredentialsError)| {
            let provider = provide_credentials_fn(move || async move { Err(error()) });
            (format!("source {number}"), SharedCredentialsProvider::new(provider))
        };
        refusal(&CredentialSources::of(errors.into_iter().enumerate().map(source))).await
    }

    #[tokio::test]
    async fn every_source_is_named_in_the_order_of_asking_also_where_one_ends_the_search() {
        let unset = || CredentialsError::not_loaded("environment variable not set");
        let no_role = || CredentialsError::not_loaded("received 404 from IMDS");
        let off = || CredentialsError::not_loaded("IMDS disabled by AWS_EC2_METADATA_DISABLED env var set to `true`");
        let broken = || CredentialsError::provider_error("connection reset");
        let wrong = || CredentialsError::invalid_configuration("role_arn is missing");
        for (errors, class, reason, words) in [
            (
                vec![unset as fn() -> _, no_role],
                Class::Denied,
                Reason::NoCredentials,
                "source 1 has none (no IAM role is attached to this instance: HTTP 404)",
            ),
            (
                vec![unset, off],
                Class::Denied,
                Reason::SourceOff,
                "source 1 is not asked (AWS_EC2_METADATA_DISABLED is set)",
            ),
            (
                vec![unset, broken, no_role],
                Class::Transient,
                Reason::SourceSilent,
                "source 1 does not answer (connection reset)",
            ),
            (vec![unset, wrong], Class::Denied, Reason::SourceRefuses, "source 1 gives none (role_arn is missing)"),
        ] {
            let said = refusal_of(errors).await;
            assert_eq!((said.class, said.reason), (class, Some(reason)), "{said:?}");
            let before = "no credentials found: source 0 has none (environment variable not set), ";
            assert_eq!(said.message, format!("{before}{words}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_hangs_is_named() {
        let hangs = provide_credentials_fn(|| async { std::future::pending().await });
        let sources =
            CredentialSources::of([("the metadata service at x".to_owned(), SharedCredentialsProvider::new(hangs))]);
        let said = refusal(&sources).await;
        let words = "no credentials found: the metadata service at x does not answer (no answer in time)";
        assert_eq!((said.class, said.message.as_str()), (Class::Transient, words));
    }
}
