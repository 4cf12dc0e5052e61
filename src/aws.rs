//! EC2 by the AWS SDK: the only place that knows it. One method, `AwsEc2::call`, sends every request: it waits for
//! the token bucket, times and reports the request, and turns what comes back into an [`Ec2Error`]. Retrying is the
//! loop's work, with one exception: credentials that EC2 calls expired are loaded afresh once.

mod causes;
mod chain;
mod convert;
mod credentials;
mod error;
mod http;
pub mod imds;
pub mod node;
mod probe;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use http::{SetupError, client as http_client};
pub use probe::ClockOffset;

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

use self::credentials::Watched;
use self::probe::Probe;
use crate::binding::Account;
use crate::config::{Aws, Limits};
use crate::ec2::bucket::Bucket;
use crate::ec2::codes::is_expired;
use crate::ec2::{Ec2Error, RequestReport, Urgency};
use crate::ids::InstanceId;

/// To get a connection: name lookup, TCP and TLS.
const CONNECT: Duration = Duration::from_secs(1);
/// For one request, from its first byte to the last of the answer. The SDK sets no such limit by itself.
const ATTEMPT: Duration = Duration::from_secs(3);
/// For one call of the SDK, whatever it does inside.
const OPERATION: Duration = Duration::from_secs(8);

/// Told of every single request to EC2.
pub type Observer = Rc<dyn Fn(&RequestReport)>;

/// EC2, in one region, by one set of credentials and those of the roles that are assumed from it.
///
/// Not `Sync`: it lives on the loop's thread. Its connections live on after a call, for the next one.
pub struct AwsEc2 {
    roles: Roles,
    /// This node's own, also when they are an assumed role's.
    credentials: Watched,
    /// Where EC2's requests go, and only those.
    endpoint_url: Option<String>,
    clients: RefCell<BTreeMap<Account, Rc<OnceCell<Client>>>>,
    bucket: Bucket,
    /// What the write that goes next has waited already.
    waited: Cell<Duration>,
    clock: Cell<Option<ClockOffset>>,
    observer: Observer,
}

/// What roles are assumed with, and all clients are made of.
struct Roles {
    /// HTTP, region, timeouts, and the credentials that may assume a role.
    sdk: SdkConfig,
    session_name: String,
}

impl Roles {
    /// A role's credentials; loaded when first needed.
    async fn credentials_of(&self, role_arn: &str) -> Watched {
        let role = AssumeRoleProvider::builder(role_arn).session_name(&self.session_name).configure(&self.sdk);
        Watched::of_role(role_arn, SharedCredentialsProvider::new(role.build().await))
    }
}

impl AwsEc2 {
    /// Prepares the clients; asks nothing of anybody yet. Credentials come from the profile that is configured, or from
    /// the SDK's usual sources (environment, profile, web identity, container, instance role), or from
    /// `assume_role_arn` by way of them. The session of an
    /// assumed role bears the instance's id, so that CloudTrail shows which node acted.
    ///
    /// Call it within a tokio runtime.
    ///
    /// # Errors
    /// When the `ca_bundle` or the metadata service's endpoint cannot be used.
    #[expect(clippy::missing_panics_doc, reason = "the name of this program is a good one")]
    pub async fn new(
        aws: &Aws,
        region: &str,
        instance: &InstanceId,
        limits: Limits,
        observer: Observer,
    ) -> Result<Self, SetupError> {
        let http = http::client(aws.ca_bundle.as_deref())?;
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .credentials_provider(chain::sources(aws, region, &http).await?)
            .http_client(http)
            .region(Region::new(region.to_owned()))
            .app_name(AppName::new("vipkeeper").expect("only letters"));
        if let Some(profile) = &aws.profile {
            loader = loader.profile_name(profile);
        }
        // Unset means that AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT decide; "off" would overrule them.
        if aws.use_fips {
            loader = loader.use_fips(true);
        }
        if aws.use_dual_stack {
            loader = loader.use_dual_stack(true);
        }
        Ok(Self::with_sdk(loader.load().await, aws, instance, limits, observer).await)
    }

    /// EC2 by a ready SDK configuration: its region, HTTP client and credentials.
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
            clock: Cell::new(None),
            observer,
        }
    }

    /// When this node's own credentials run out; `None` before the first request, and for those that never do.
    #[must_use]
    pub fn credentials_expiry(&self) -> Option<SystemTime> {
        self.credentials.expiry()
    }

    /// How far this machine's clock is from EC2's, by the last answer that had a date.
    #[must_use]
    pub fn clock_offset(&self) -> Option<ClockOffset> {
        self.clock.get()
    }

    /// Sends one request, and once more with fresh credentials if EC2 calls them expired: it did nothing then.
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
        self.clock.set(seen.clock.or(self.clock.get()));
        let (result, outcome) = match outcome {
            Ok(output) => (crate::ec2::codes::OK, Ok(output)),
            Err(error) => {
                let failed = error::failed(operation, &error, &seen);
                (failed.result, Err(failed.error))
            }
        };
        (self.observer)(&RequestReport { operation, result, duration, waited });
        outcome
    }

    /// The client for the account: made when first needed, and kept.
    async fn client(&self, account: &Account) -> Client {
        let cell = Rc::clone(self.clients.borrow_mut().entry(account.clone()).or_default());
        cell.get_or_init(async || self.make_client(account).await).await.clone()
    }

    async fn make_client(&self, account: &Account) -> Client {
        // A cache of its own, so that a client made anew also loads its credentials anew.
        let mut config =
            aws_sdk_ec2::config::Builder::from(&self.roles.sdk).identity_cache(IdentityCache::lazy().build());
        if let Some(endpoint_url) = &self.endpoint_url {
            config = config.endpoint_url(endpoint_url);
        }
        if let Account::Role(role_arn) = account {
            config = config.credentials_provider(self.roles.credentials_of(role_arn).await);
        }
        Client::from_conf(config.build())
    }
}
