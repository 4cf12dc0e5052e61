//! The sources of this node's own credentials, and their order. Each source is the SDK's. A source that the
//! configuration names is the only one that is asked, so that no other source takes its place unnoticed.

#![expect(deprecated, reason = "the successors of its names for files are in a crate of the SDK's inner workings")]

use std::sync::{Mutex, PoisonError};

use aws_config::Region;
use aws_config::default_provider::use_dual_stack::use_dual_stack_provider;
use aws_config::default_provider::use_fips::use_fips_provider;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::Client;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::ProviderChainError;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::profile::profile_file::ProfileFiles;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::causes::causes;
use super::http::SetupError;
use crate::config::Aws;

/// The name of the instance's metadata service in messages.
const METADATA_SERVICE: &str = "the instance's metadata service";

/// The sources of credentials. If the configuration names a metadata service or a profile, that is the only source.
/// Otherwise they are the SDK's usual sources in their usual order.
///
/// # Errors
/// The metadata service's endpoint cannot be used.
pub async fn sources(aws: &Aws, region: &str, http: &SharedHttpClient) -> Result<CredentialsProviderChain, SetupError> {
    // An unset option leaves the decision to AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT. The decision also
    // holds for STS.
    let environment = ProviderConfig::default();
    let use_fips = aws.use_fips || use_fips_provider(&environment).await == Some(true);
    let use_dual_stack = aws.use_dual_stack || use_dual_stack_provider(&environment).await == Some(true);
    let aws = Aws { use_fips, use_dual_stack, ..aws.clone() };
    chain(&Around { aws, region: region.to_owned(), http: http.clone(), files: ProfileFiles::default() })
}

fn chain(around: &Around) -> Result<CredentialsProviderChain, SetupError> {
    let (config, aws) = (around.config(), &around.aws);
    if let Some(endpoint) = &aws.imds_endpoint {
        let client = Client::builder().configure(&config).endpoint(endpoint);
        let client = client.map_err(|error| SetupError::ImdsEndpoint(error.to_string()))?.build();
        let service = ImdsCredentialsProvider::builder().configure(&config).imds_client(client).build();
        return Ok(CredentialsProviderChain::first_try(format!("the metadata service at {endpoint}"), service));
    }
    if let Some(name) = &aws.profile {
        return Ok(CredentialsProviderChain::first_try(format!("the profile {name}"), Profile::new(around.clone())));
    }
    let environment = EnvironmentVariableCredentialsProvider::new();
    let token = WebIdentityTokenCredentialsProvider::builder().configure(&config).build();
    let container = EcsCredentialsProvider::builder().configure(&config).build();
    let service = ImdsCredentialsProvider::builder().configure(&config).build();
    Ok(CredentialsProviderChain::first_try("the environment", environment)
        .or_else("the profile", Profile::new(around.clone()))
        .or_else("a web identity token", token)
        .or_else("a container's metadata", container)
        .or_else(METADATA_SERVICE, service))
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
        if let Some(name) = &around.aws.profile {
            source = source.profile_name(name);
        }
        SharedCredentialsProvider::new(source.build())
    }
}

impl ProvideCredentials for Profile {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(async {
            let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let outcome = source.provide_credentials().await;
            if outcome.is_err() {
                *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Self::source(&self.around);
            }
            outcome
        })
    }
}

/// The error when no source gave credentials. The message contains the answer of each source, in the order in which
/// they were asked.
#[derive(Debug)]
pub struct NothingFound {
    pub message: String,
    /// Whether each source answered that it has no credentials. A source that did not answer at all may have
    /// credentials later.
    pub final_word: bool,
}

/// Reads the SDK's list of attempts. `None` if `error` is another error.
pub fn nothing_found(error: &CredentialsError) -> Option<NothingFound> {
    let chain = std::error::Error::source(error)?.downcast_ref::<ProviderChainError<CredentialsError>>()?;
    let mut final_word = true;
    let mut said = Vec::new();
    for attempt in chain.attempts() {
        let source = std::error::Error::source(attempt.error());
        // An answer of the source itself has no cause. A failed connection has a cause: the reason why the source did
        // not answer.
        let unreachable = source.is_some_and(|source| source.source().is_some());
        final_word &= !unreachable;
        let word = match source.map(causes) {
            Some(word) if unreachable => format!("does not answer ({word})"),
            Some(word) if word == "received 404 from IMDS" => "has none: no IAM role is attached to it".to_owned(),
            Some(word) => format!("has none ({word})"),
            None => "has none".to_owned(),
        };
        said.push(format!("{} {word}", attempt.name()));
    }
    Some(NothingFound { message: format!("no credentials found: {}", said.join(", ")), final_word })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use aws_config::profile::profile_file::ProfileFileKind;

    use super::*;
    use crate::aws::credentials::{NoCredentials, explain};
    use crate::aws::http;
    use crate::ec2::Class;

    /// The sources for `aws`, with the profiles of this file.
    fn sources_with(aws: Aws, profiles: &tempfile::NamedTempFile) -> CredentialsProviderChain {
        let files = ProfileFiles::builder().with_file(ProfileFileKind::Config, profiles.path()).build();
        let http = http::client(None).unwrap();
        chain(&Around { aws, region: "eu-central-1".to_owned(), http, files }).unwrap()
    }

    fn profiles(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn named(profile: &str) -> Aws {
        Aws { profile: Some(profile.to_owned()), ..Aws::default() }
    }

    async fn refusal(sources: &CredentialsProviderChain) -> NoCredentials {
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
        assert!(first.message.contains("credential"), "{first:?}");
        assert!(!first.message.contains("already taken"), "{first:?}");
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

    #[tokio::test]
    async fn every_source_is_named_in_the_order_of_asking() {
        let nothing = |word: &'static str| {
            aws_credential_types::credential_fn::provide_credentials_fn(move || async move {
                Err(CredentialsError::not_loaded(word))
            })
        };
        let chain = CredentialsProviderChain::first_try("the environment", nothing("environment variable not set"))
            .or_else(METADATA_SERVICE, nothing("received 404 from IMDS"));
        assert_eq!(
            refusal(&chain).await,
            NoCredentials {
                class: Class::Denied,
                code: None,
                reason: None,
                message:
                    "no credentials found: the environment has none (environment variable not set), the instance's \
                          metadata service has none: no IAM role is attached to it"
                        .to_owned(),
            }
        );
    }
}
