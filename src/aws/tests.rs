//! Tests of the adapter against canned answers: the requests that it sends, and the results that it makes of the
//! answers.

mod asks;
mod canned;
mod failures;
mod reads;
mod writes;

use std::cell::RefCell;
use std::rc::Rc;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;

use super::{AwsEc2, http};
use crate::config::{Aws, Limits};
use crate::ec2::{OPERATIONS, RequestReport, codes};
use canned::Canned;

/// Limits that no test reaches.
const LIMITS: Limits = Limits { requests_per_s: 1000.0, burst: 1000 };

/// The adapter under test, and its request reports.
struct Tested {
    ec2: AwsEc2,
    reports: Rc<RefCell<Vec<RequestReport>>>,
}

impl Tested {
    /// An adapter with credentials that never run out.
    async fn at(endpoint: &Canned) -> Self {
        Self::with(&endpoint.url, credentials()).await
    }

    async fn with(url: &str, credentials: impl ProvideCredentials + 'static) -> Self {
        Self::configured(&Aws { endpoint_url: Some(url.to_owned()), ..Aws::default() }, credentials).await
    }

    async fn configured(aws: &Aws, credentials: impl ProvideCredentials + 'static) -> Self {
        let sdk = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http::client(None, "").unwrap())
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(credentials)
            // This endpoint is for STS. The configuration's `endpoint_url` is for EC2 alone.
            .endpoint_url(aws.endpoint_url.as_deref().unwrap())
            .load()
            .await;
        let reports = Rc::new(RefCell::new(Vec::new()));
        let observer = Rc::clone(&reports);
        let observer = Rc::new(move |report: &RequestReport| {
            // The others are questions of `check` alone, whose requests nobody counts.
            let is_known = OPERATIONS.contains(&report.operation)
                || ["DescribeInstanceTypes", "DescribeSecurityGroups"].contains(&report.operation);
            assert!(is_known, "{report:?}");
            assert!(codes::results().any(|result| result == report.result), "{report:?}");
            observer.borrow_mut().push(report.clone());
        });
        let ec2 = AwsEc2::with_sdk(sdk, aws, &id("i-0aa"), LIMITS, observer).await;
        Self { ec2, reports }
    }

    /// The operation and the result of every request.
    fn results(&self) -> Vec<(&'static str, &'static str)> {
        self.reports.borrow().iter().map(|report| (report.operation, report.result)).collect()
    }
}

fn credentials() -> Credentials {
    Credentials::new("AKID", "secret", None, None, "test")
}

/// An id, address or block from its text.
fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}
