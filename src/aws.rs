//! EC2 by the AWS SDK. Only this module and its submodules use the SDK's EC2 client.
//!
//! One method, `AwsEc2::call`, sends every request. `AwsEc2::call` waits for the token bucket, times and reports the
//! request, and turns a failure into an [`Ec2Error`]. Retrying is the loop's work, with one exception: when EC2 calls
//! the credentials expired, `AwsEc2::call` loads fresh ones and sends the request once more.

mod ask;
mod causes;
mod chain;
mod convert;
mod credentials;
mod dns;
mod error;
mod http;
pub mod imds;
pub mod node;
mod probe;
mod proxy;
mod read;
#[cfg(test)]
mod tests;
mod whose;
mod write;

pub use http::{SetupError, client as http_client};

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::IdentityCache;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use tokio::sync::OnceCell;

use self::credentials::{LOAD, RENEW_BEFORE, Watched};
use self::probe::{Probe, Traced};
use crate::binding::Account;
use crate::config::{Aws, Limits};
use crate::decide::timing::LONGEST_ANSWER;
use crate::ec2::ask::Travelled;
use crate::ec2::bucket::Bucket;
use crate::ec2::codes::is_expired;
use crate::ec2::reason::Reason;
use crate::ec2::server_clock::ServerClock;
use crate::ec2::{Ec2Error, RequestReport, Urgency};
use crate::ids::InstanceId;
use crate::machine::certificate::Names;

/// The time limit for making a connection: name lookup, TCP and TLS.
const CONNECT: Duration = Duration::from_secs(1);
/// The time limit for one request, from its first byte to the last byte of the answer. The SDK sets no such limit by
/// itself.
const ATTEMPT: Duration = Duration::from_secs(3);
/// The time limit for one call of the SDK, with everything that the SDK does inside it.
const OPERATION: Duration = LONGEST_ANSWER;
// A load of credentials that hangs ends before the request that needs them, so that the error names the credentials.
const _: () = assert!(LOAD.as_millis() < ATTEMPT.as_millis());
// A call has time for fresh credentials, a new connection and the request.
const _: () = assert!(LOAD.as_millis() + CONNECT.as_millis() + ATTEMPT.as_millis() < OPERATION.as_millis());

/// How long the answer to whose certificate comes counts.
const CERTIFICATE_HOLDS: Duration = Duration::from_mins(1);

/// A function that is called with the report of every single request to EC2.
pub type Observer = Rc<dyn Fn(&RequestReport)>;

/// EC2 in one region. Requests are signed with this node's own credentials, or with those of a role that these
/// credentials assume.
///
/// `AwsEc2` is not `Sync`: it lives on the loop's thread. Its connections stay open after a call, for the next call.
pub struct AwsEc2 {
    roles: Roles,
    /// This node's own credentials. With `assume_role_arn`, they are the credentials of that role.
    credentials: Watched,
    /// The endpoint for requests to EC2, and for no other requests.
    endpoint_url: Option<String>,
    clients: RefCell<BTreeMap<Account, Rc<OnceCell<Client>>>>,
    bucket: Bucket,
    /// The time that the next request has already waited in [`Ec2Write::admit`](crate::ec2::Ec2Write::admit).
    waited: Cell<Duration>,
    clock: RefCell<ServerClock>,
    /// The way that the requests so far took. Its `expiry` is not kept here.
    travelled: RefCell<Travelled>,
    /// Whose certificate came last instead of one that is trusted, and when that was asked.
    certificate: RefCell<Option<(Instant, Option<Names>)>>,
    observer: Observer,
}

/// The settings for assuming roles and for making the EC2 clients.
struct Roles {
    /// HTTP client, region, timeouts, and the credentials that may assume a role.
    sdk: SdkConfig,
    session_name: String,
}

impl Roles {
    /// The credentials of a role. They are loaded when a request first needs them.
    async fn credentials_of(&self, role_arn: &str) -> Watched {
        let role = AssumeRoleProvider::builder(role_arn).session_name(&self.session_name).configure(&self.sdk);
        Watched::of_role(role_arn, SharedCredentialsProvider::new(role.build().await))
    }
}

impl AwsEc2 {
    /// Prepares the clients and sends no request yet. Credentials come from the profile or the metadata service that
    /// the configuration names, or else from the SDK's usual sources (environment, profile, web identity, container,
    /// instance role). With `assume_role_arn`, these credentials assume that role. The session name of an assumed
    /// role contains the instance's id, so that CloudTrail shows which node acted.
    ///
    /// Call `new` within a tokio runtime.
    ///
    /// # Errors
    /// The `ca_bundle` or the metadata service's endpoint cannot be used, or the system's trust store is empty.
    #[expect(clippy::missing_panics_doc, reason = "the name of this program is a good one")]
    pub async fn new(
        aws: &Aws,
        region: &str,
        instance: &InstanceId,
        limits: Limits,
        observer: Observer,
    ) -> Result<Self, SetupError> {
        let http = http::client(aws.ca_bundle.as_deref(), aws.endpoint_url.as_deref().unwrap_or("https://"))?;
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .credentials_provider(chain::sources(aws, region, &http).await?)
            .http_client(http)
            .region(Region::new(region.to_owned()))
            .app_name(AppName::new("vipkeeper").expect("only letters"));
        if let Some(profile) = imds::profile_to_tell(aws) {
            loader = loader.profile_name(profile);
        }
        // The SDK reads AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT only while these settings are unset. An
        // explicit `false` would overrule the variables.
        if aws.use_fips {
            loader = loader.use_fips(true);
        }
        if aws.use_dual_stack {
            loader = loader.use_dual_stack(true);
        }
        Ok(Self::with_sdk(loader.load().await, aws, instance, limits, observer).await)
    }

    /// Builds `AwsEc2` from a ready SDK configuration with region, HTTP client and credentials.
    async fn with_sdk(sdk: SdkConfig, aws: &Aws, instance: &InstanceId, limits: Limits, observer: Observer) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(OPERATION)
            .build();
        let sdk = sdk
            .into_builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        let found = sdk.credentials_provider().expect("`new` sets the sources, and the tests their own");
        let mut roles = Roles { sdk, session_name: format!("vipkeeper-{instance}") };
        let credentials = Watched::new(match &aws.assume_role_arn {
            Some(role_arn) => SharedCredentialsProvider::new(roles.credentials_of(role_arn).await),
            None => found,
        });
        let own = SharedCredentialsProvider::new(credentials.clone());
        roles.sdk = roles.sdk.into_builder().credentials_provider(own).build();
        Self {
            roles,
            credentials,
            endpoint_url: aws.endpoint_url.clone(),
            clients: RefCell::default(),
            bucket: Bucket::new(limits),
            waited: Cell::default(),
            clock: RefCell::default(),
            travelled: RefCell::default(),
            certificate: RefCell::default(),
            observer,
        }
    }

    /// The time at which this node's own credentials run out. `None` before the first request, and for credentials
    /// that never run out.
    #[must_use]
    pub fn credentials_expiry(&self) -> Option<SystemTime> {
        self.credentials.expiry()
    }

    /// Sends one request. If EC2 calls the credentials expired, sends the request once more with fresh credentials:
    /// EC2 did nothing the first time.
    async fn call<T, E>(
        &self,
        account: &Account,
        operation: &'static str,
        urgency: Urgency,
        send: impl AsyncFn(Client, Probe) -> Result<T, SdkError<E>>,
    ) -> Result<T, Ec2Error>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match self.request(account, operation, urgency, &send).await {
            Err(error) if error.code.as_deref().is_some_and(is_expired) => {
                self.clients.borrow_mut().remove(account);
                self.request(account, operation, urgency, &send).await
            }
            outcome => outcome,
        }
    }

    async fn request<T, E>(
        &self,
        account: &Account,
        operation: &'static str,
        urgency: Urgency,
        send: &impl AsyncFn(Client, Probe) -> Result<T, SdkError<E>>,
    ) -> Result<T, Ec2Error>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let waited = self.waited.take() + self.bucket.take(urgency).await;
        let client = self.client(account).await;
        let probe = Probe::default();
        let start = Instant::now();
        let outcome = send(client, probe.clone()).await;
        let duration = start.elapsed();
        let seen = probe.seen();
        if let Some(dated) = seen.dated {
            self.clock.borrow_mut().learn(dated);
        }
        self.note_way(&seen, duration);
        let (result, outcome) = match outcome {
            Ok(_) if seen.cut.is_some() => {
                let failed = error::cut_off(operation, &seen);
                (failed.result, Err(failed.error))
            }
            Ok(output) => (crate::ec2::codes::OK, Ok(output)),
            Err(error) => {
                let failed = error::failed(operation, &error, &seen);
                (failed.result, Err(self.with_certificate(failed.error, seen).await))
            }
        };
        (self.observer)(&RequestReport { operation, result, duration, waited });
        outcome
    }

    /// Notes the way that one request took.
    fn note_way(&self, seen: &Traced, duration: Duration) {
        let mut travelled = self.travelled.borrow_mut();
        if seen.host.is_some() {
            (travelled.host, travelled.proxy) = (seen.host.clone(), seen.proxy.clone());
        }
        travelled.slowest = travelled.slowest.max(duration);
    }

    /// The error, completed by whose certificate came, where a certificate is the cause.
    async fn with_certificate(&self, error: Ec2Error, seen: Traced) -> Ec2Error {
        let is_cause = matches!(error.reason, Some(Reason::UntrustedIssuer | Reason::BadCertificate));
        let Some(host) = seen.host.filter(|_| is_cause) else { return error };
        // Each failed call would otherwise make a second connection.
        let known = self
            .certificate
            .borrow()
            .as_ref()
            .and_then(|(at, names)| (at.elapsed() < CERTIFICATE_HOLDS).then(|| names.clone()));
        let names = match known {
            Some(names) => names,
            None => {
                let names = whose::certificate_of(host, seen.proxy).await;
                self.certificate.replace(Some((Instant::now(), names.clone())));
                names
            }
        };
        let whose = names.map(|names| format!(" ({names})")).unwrap_or_default();
        Ec2Error { message: error.message + &whose, ..error }
    }

    /// The client for the account. The client is made when a request first needs it, and kept.
    async fn client(&self, account: &Account) -> Client {
        let cell = Rc::clone(self.clients.borrow_mut().entry(account.clone()).or_default());
        cell.get_or_init(async || self.make_client(account).await).await.clone()
    }

    async fn make_client(&self, account: &Account) -> Client {
        // Each client has its own identity cache, so that a new client also loads new credentials.
        let cache = IdentityCache::lazy().buffer_time(RENEW_BEFORE).build();
        let mut config = aws_sdk_ec2::config::Builder::from(&self.roles.sdk).identity_cache(cache);
        if let Some(endpoint_url) = &self.endpoint_url {
            config = config.endpoint_url(endpoint_url);
        }
        if let Account::Role(role_arn) = account {
            config = config.credentials_provider(self.roles.credentials_of(role_arn).await);
        }
        Client::from_conf(config.build())
    }
}
