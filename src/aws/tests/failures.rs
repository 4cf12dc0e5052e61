//! Tests of failed calls, and of the credentials and connections that calls need.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::primitives::{DateTime, DateTimeFormat};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection};
use tokio::net::TcpListener;

use self::answers::{ANSWERS, Said};
use super::canned::{Canned, CannedReply, accepted, error, operation, xml};
use super::{Tested, credentials, id};
use crate::action::{Action, Force, RouteCall};
use crate::binding::{Account, Anchor};
use crate::config::Aws;
use crate::ec2::codes::{FailedCall, Reply};
use crate::ec2::message::AroundCall;
use crate::ec2::reason::Reason;
use crate::ec2::{Class, Ec2Error, Ec2Read, Ec2Write, Effect, TableQuery, Urgency};
use crate::machine::clock::Clocks;

#[path = "../../../tests/support/answers.rs"]
mod answers;

fn change_by(account: Account) -> Action {
    Action::PointRoute {
        account,
        table: id("rtb-1"),
        destination: id("20.0.0.50/32"),
        eni: id("eni-0a"),
        call: RouteCall::CreateOnly,
    }
}

async fn change(tested: &Tested) -> Result<(), Ec2Error> {
    tested.ec2.perform(&change_by(Account::Own), Urgency::Urgent).await.map(drop)
}

/// The failure after this reply. Its message has no port, because the port is another one each time.
async fn failed(reply: CannedReply) -> (Ec2Error, Vec<(&'static str, &'static str)>) {
    let endpoint = Canned::start(move |_, _| reply.clone()).await;
    let tested = Tested::at(&endpoint).await;
    let mut error = Box::pin(change(&tested)).await.unwrap_err();
    let host = endpoint.url.trim_start_matches("http://");
    error.message = error.message.replace(host, "127.0.0.1");
    assert_eq!(endpoint.requests().len(), 1, "retries are the loop's work");
    (error, tested.results())
}

#[tokio::test]
async fn every_kind_of_failure_is_told_apart() {
    let html = CannedReply::Answer(502, "<html><body>Bad Gateway</body></html>".to_owned());
    let proxy = CannedReply::Answer(407, String::new());
    let encoded = format!("Not allowed.\nEncoded authorization failure message: {}", "x".repeat(900));
    for (reply, class, effect, result, text) in [
        (
            error(503, "RequestLimitExceeded", "Request limit exceeded."),
            Class::Throttled,
            Effect::None,
            "RequestLimitExceeded",
            "CreateRoute: RequestLimitExceeded: Request limit exceeded. (request req-1)",
        ),
        (
            error(500, "InternalError", "An internal error has occurred"),
            Class::Transient,
            Effect::Unknown,
            "InternalError",
            "CreateRoute: InternalError: An internal error has occurred (request req-1)",
        ),
        (
            error(400, "RouteAlreadyExists", "The route exists."),
            Class::Stale,
            Effect::None,
            "RouteAlreadyExists",
            "CreateRoute: RouteAlreadyExists: The route exists. (request req-1)",
        ),
        (
            error(403, "UnauthorizedOperation", &encoded),
            Class::Denied,
            Effect::None,
            "UnauthorizedOperation",
            "CreateRoute: UnauthorizedOperation: Not allowed. Encoded authorization failure message: \
             xxxxxxxxxxxxxxxx... (CloudTrail has it whole; 'aws sts decode-authorization-message --encoded-message' reads it) (request req-1)",
        ),
        (
            error(400, "RouteLimitExceeded", "Too many."),
            Class::Rejected,
            Effect::None,
            "RouteLimitExceeded",
            "CreateRoute: RouteLimitExceeded: Too many. (request req-1)",
        ),
        (
            html,
            Class::Transient,
            Effect::Unknown,
            "http_5xx",
            "CreateRoute: 127.0.0.1, asked directly, gave an answer that is none of EC2's: HTTP 502 with the web page 'Bad \
             Gateway', as from a transparent proxy or a load balancer on the way (request req-1)",
        ),
        (
            proxy,
            Class::Denied,
            Effect::None,
            "other",
            "CreateRoute: 127.0.0.1, asked directly, gave an answer that is none of EC2's: HTTP 407 with an empty body, as \
             from a proxy that wants a user and a password (request req-1)",
        ),
        (
            CannedReply::Answer(200, String::new()),
            Class::Transient,
            Effect::Unknown,
            "other",
            "CreateRoute: 127.0.0.1, asked directly, gave an answer that is none of EC2's: HTTP 200 with an empty body, as \
             from a transparent proxy, a load balancer or another service at that address (request req-1)",
        ),
    ] {
        let (error, results) = failed(reply).await;
        assert_eq!(error.to_string(), text);
        assert_eq!((error.class, error.effect), (class, effect), "{error}");
        assert_eq!(results, [("CreateRoute", result)]);
    }
}

/// The failure of this operation.
async fn failure_of(tested: &Tested, operation: &str) -> Ec2Error {
    let (eni, allocation) = (id("eni-0a"), id("eipalloc-1"));
    let action = match operation {
        "AssociateAddress" => {
            Action::AssociateAddress { allocation, eni, private_ip: id("10.0.1.7"), force: Force::Take }
        }
        "AssignPrivateIpAddresses" => Action::AssignAddress { eni, address: id("10.0.1.50"), force: Force::Take },
        "CreateTags" => {
            let (anchor, key, value) = (Anchor::ElasticIp(allocation), "k".to_owned(), "v".to_owned());
            Action::RecordClaim { anchor, key, value }
        }
        "CreateRoute" => change_by(Account::Own),
        "ReplaceRoute" => Action::PointRoute {
            account: Account::Own,
            table: id("rtb-1"),
            destination: id("20.0.0.50/32"),
            eni,
            call: RouteCall::ReplaceElseCreate,
        },
        read => {
            assert_eq!(read, "DescribeRouteTables");
            let query = TableQuery::Ids([id("rtb-1")].into());
            return tested.ec2.route_tables(&Account::Own, &query, Urgency::Normal).await.unwrap_err();
        }
    };
    tested.ec2.perform(&action, Urgency::Urgent).await.unwrap_err()
}

#[tokio::test]
async fn each_answer_becomes_the_error_with_which_its_situation_begins() {
    for answer in ANSWERS {
        let now_s = i64::try_from(Clocks::now().wall_ms / 1000).unwrap();
        let date = DateTime::from_secs(now_s - i64::from(answer.ahead_s)).fmt(DateTimeFormat::HttpDate).unwrap();
        let (code, message, body) = match answer.said {
            Said::Ec2(code, text) => (Some(code), text, ""),
            Said::Strange(body) => (None, "", body),
        };
        let CannedReply::Answer(status, sent) = code.map_or_else(
            || CannedReply::Answer(answer.status, body.to_owned()),
            |code| error(answer.status, code, message),
        ) else {
            unreachable!("EC2's error is an answer")
        };
        let reply = CannedReply::Dated(date, status, sent);
        let endpoint = Canned::start(move |_, _| reply.clone()).await;
        let tested = Tested::at(&endpoint).await;
        let failed = Box::pin(failure_of(&tested, answer.operation)).await;
        let around = AroundCall {
            host: Some(endpoint.url.trim_start_matches("http://")),
            ahead_s: Some(f64::from(answer.ahead_s)),
            body: body.as_bytes(),
            request_id: failed.request_id.as_deref(),
            ..AroundCall::default()
        };
        let reply = Reply::Status(answer.status);
        let expected = FailedCall { operation: answer.operation, code, message, reply }.error(&around);
        assert_eq!(failed, expected, "{}", answer.name);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_ec2s_has_a_class_by_its_status_and_a_reason_of_its_own() {
    let cut = "<CreateRouteResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requ";
    for (status, body, class, reason, words) in [
        (200, "<html><title>Log in</title></html>", Class::Transient, Some(Reason::NotAws), "the web page 'Log in'"),
        (403, "<html><h1>Blocked</h1></html>", Class::Denied, Some(Reason::NotAws), "the web page 'Blocked'"),
        (404, "{\"message\": \"no route\"}", Class::Rejected, Some(Reason::NotAws), "JSON that begins with"),
        (200, cut, Class::Transient, Some(Reason::NotAws), "XML that breaks off"),
        (503, "", Class::Transient, None, "HTTP 503 with an empty body"),
    ] {
        let (error, _) = failed(CannedReply::Answer(status, body.to_owned())).await;
        assert_eq!((error.class, error.reason), (class, reason), "{error}");
        assert!(error.message.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_leaves_its_effect_unknown() {
    for (reply, cause) in [
        (CannedReply::Drop, "connection closed before message completed"),
        (CannedReply::Cut, "error reading a body from connection: unexpected EOF during chunk size line"),
    ] {
        let (error, results) = failed(reply).await;
        assert_eq!((error.class, error.effect), (Class::Transient, Effect::Unknown), "{error}");
        assert_eq!(results, [("CreateRoute", "io")]);
        assert_eq!(error.message, format!("the connection to 127.0.0.1 broke before the answer: {cause}"));
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_leaves_the_effect_unknown() {
    let start = Instant::now();
    let (error, results) = failed(CannedReply::Silence).await;
    assert_eq!((error.class, error.effect), (Class::Transient, Effect::Unknown), "{error}");
    assert_eq!(error.to_string(), "CreateRoute: connected to 127.0.0.1, but no answer came in time");
    assert_eq!(results, [("CreateRoute", "timeout")]);
    let waited = start.elapsed().as_secs_f64();
    assert!((2.9..5.0).contains(&waited), "{waited}");
}

#[tokio::test]
async fn what_was_never_sent_had_no_effect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // The other side does not speak TLS, so the connection is not made within its time limit of one second.
    let tested = Tested::with(&format!("https://{address}"), credentials()).await;
    let start = Instant::now();
    let error = change(&tested).await.unwrap_err();
    assert_eq!((error.class, error.effect), (Class::Transient, Effect::None), "{error}");
    assert_eq!(error.to_string(), format!("CreateRoute: no connection to {address} in time"));
    assert!(start.elapsed() < Duration::from_secs(2));

    drop(listener);
    let tested = Tested::with(&format!("http://{address}"), credentials()).await;
    let error = change(&tested).await.unwrap_err();
    assert_eq!((error.class, error.effect), (Class::Transient, Effect::None), "{error}");
    assert!(error.message.starts_with(&format!("no connection to {address}: ")), "{error}");
    assert!(error.message.contains("Connection refused"), "{error}");
    assert!(!error.message.contains("dispatch failure"), "{error}");
    assert_eq!(tested.results(), [("CreateRoute", "io")]);
}

/// Serves TLS on loopback with a certificate that no system trusts, for as long as the test runs.
fn untrusted() -> std::net::SocketAddr {
    let certificate = include_bytes!("../../machine/certificate/example.der").to_vec();
    let key = PrivatePkcs8KeyDer::from(include_bytes!("certificate/key-of-example.der").to_vec());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key.into())
        .unwrap();
    let (config, listener) = (Arc::new(config), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = stream.unwrap();
            while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
        }
    });
    address
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_by_its_names_and_leads_to_the_setting_for_trust() {
    let tested = Tested::with(&format!("https://{}", untrusted()), credentials()).await;
    for _ in 0..2 {
        let error = change(&tested).await.unwrap_err();
        assert_eq!((error.class, error.effect), (Class::Transient, Effect::None), "{error}");
        assert_eq!(error.reason, Some(Reason::UntrustedIssuer), "{error}");
        let whose = "(the certificate that came is of 'ec2.eu-west-1.amazonaws.com (Example)', issued by 'Example \
                     Interception CA (Example Proxy Inc.)')";
        assert!(error.message.contains("UnknownIssuer") && error.message.ends_with(whose), "{error}");
    }
}

#[tokio::test]
async fn without_credentials_the_error_says_where_they_were_looked_for() {
    let none = provide_credentials_fn(|| async { Err(CredentialsError::not_loaded("nothing found")) });
    let endpoint = Canned::start(|_, _| accepted("CreateRoute")).await;
    let tested = Tested::with(&endpoint.url, none).await;
    let error = change(&tested).await.unwrap_err();
    assert_eq!((error.class, error.effect), (Class::Denied, Effect::None));
    assert_eq!(error.message, "no credentials found: nothing found");
    assert_eq!((endpoint.requests().len(), tested.results()), (0, vec![("CreateRoute", "other")]));
}

#[tokio::test]
async fn credentials_that_do_not_come_are_named_and_nothing_is_sent() {
    let slow = provide_credentials_fn(|| async { std::future::pending().await });
    let endpoint = Canned::start(|_, _| accepted("CreateRoute")).await;
    let tested = Tested::with(&endpoint.url, slow).await;
    let error = change(&tested).await.unwrap_err();
    assert_eq!((error.class, error.effect), (Class::Transient, Effect::None));
    assert!(error.message.starts_with("credentials did not come in time"), "{error}");
}

#[expect(clippy::disallowed_methods, reason = "the SDK compares with the real clock")]
#[tokio::test]
async fn expired_credentials_are_loaded_afresh_once() {
    let loads = Arc::new(AtomicUsize::new(0));
    let expiry = SystemTime::now() + Duration::from_hours(1);
    let counted = provide_credentials_fn({
        let loads = Arc::clone(&loads);
        move || {
            loads.fetch_add(1, Ordering::SeqCst);
            async move { Ok(Credentials::new("AKID", "secret", None, Some(expiry), "test")) }
        }
    });
    let endpoint = Canned::start(|number, _| match number {
        0 | 2 | 3 => error(400, "RequestExpired", "Request has expired."),
        _ => accepted("CreateRoute"),
    })
    .await;
    let tested = Tested::with(&endpoint.url, counted).await;
    assert_eq!(tested.ec2.credentials_expiry(), None);
    change(&tested).await.unwrap();
    assert_eq!(loads.load(Ordering::SeqCst), 2);
    assert_eq!(tested.ec2.credentials_expiry(), Some(expiry));
    assert_eq!(change(&tested).await.unwrap_err().class, Class::Denied);
    assert_eq!(endpoint.requests().len(), 4);
    change(&tested).await.unwrap();
    assert_eq!(loads.load(Ordering::SeqCst), 3, "kept between calls");
}

/// Accepts every request, and lets every role be assumed.
fn with_roles(_: usize, line: &str) -> CannedReply {
    match operation(line) {
        "AssumeRole" => CannedReply::Answer(
            200,
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
             <AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
             <Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
                .to_owned(),
        ),
        "DescribeRouteTables" => xml("DescribeRouteTables", ""),
        operation => accepted(operation),
    }
}

#[tokio::test]
async fn a_configured_role_takes_the_place_of_the_credentials_found() {
    let endpoint = Canned::start(with_roles).await;
    let aws = Aws {
        endpoint_url: Some(endpoint.url.clone()),
        assume_role_arn: Some("arn:aws:iam::123456789012:role/keeper".to_owned()),
        ..Aws::default()
    };
    let tested = Tested::configured(&aws, credentials()).await;
    change(&tested).await.unwrap();
    let assume = "AssumeRole RoleArn=arn:aws:iam::123456789012:role/keeper RoleSessionName=vipkeeper-i-0aa";
    let requests = endpoint.requests();
    assert_eq!((requests.len(), requests[0].as_str()), (2, assume));
    let expiry = SystemTime::UNIX_EPOCH + Duration::from_hours(1_139_568);
    assert_eq!(tested.ec2.credentials_expiry(), Some(expiry));
}

#[tokio::test]
async fn a_request_that_cannot_be_made_is_rejected() {
    let tested = Tested::with("no://endpoint", credentials()).await;
    let error = change(&tested).await.unwrap_err();
    assert_eq!((error.class, error.effect), (Class::Rejected, Effect::None), "{error}");
}

#[tokio::test]
async fn a_role_is_assumed_once_for_all_calls_of_its_account() {
    let endpoint = Canned::start(with_roles).await;
    let tested = Tested::at(&endpoint).await;
    let role = Account::Role("arn:aws:iam::123456789012:role/routes".to_owned());
    let (first, second) = (change_by(role.clone()), change_by(role.clone()));
    let (first, second) =
        tokio::join!(tested.ec2.perform(&first, Urgency::Urgent), tested.ec2.perform(&second, Urgency::Urgent));
    first.and(second).unwrap();
    tested.ec2.route_tables(&role, &TableQuery::Ids([id("rtb-1")].into()), Urgency::Normal).await.unwrap();
    let assumed: Vec<_> = endpoint.requests().into_iter().filter(|line| line.starts_with("AssumeRole")).collect();
    let request = "AssumeRole RoleArn=arn:aws:iam::123456789012:role/routes RoleSessionName=vipkeeper-i-0aa";
    assert_eq!(assumed, [request]);
}

#[tokio::test]
async fn a_role_that_may_not_be_assumed_is_denied_and_named() {
    let endpoint = Canned::start(|_, _| {
        CannedReply::Answer(
            403,
            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>User: arn:aws:sts::1:x is not authorized to \
             perform: sts:AssumeRole on resource: arn:aws:iam::2:role/r</Message></Error></ErrorResponse>"
                .to_owned(),
        )
    })
    .await;
    let tested = Tested::at(&endpoint).await;
    let action = change_by(Account::Role("arn:aws:iam::2:role/r".to_owned()));
    let error = tested.ec2.perform(&action, Urgency::Urgent).await.unwrap_err();
    assert_eq!((error.class, error.effect), (Class::Denied, Effect::None), "{error}");
    let said = "cannot assume the role arn:aws:iam::2:role/r: AccessDenied: User: arn:aws:sts::1:x";
    assert!(error.message.starts_with(said), "{error}");
}

#[tokio::test]
async fn a_role_that_sts_does_not_give_is_named_and_sts_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let role = "arn:aws:iam::2:role/r";
    let refused = async |tested: &Tested, account| {
        let error = tested.ec2.perform(&change_by(account), Urgency::Urgent).await.unwrap_err();
        assert_eq!((error.class, error.effect), (Class::Transient, Effect::None), "{error}");
        assert!(
            error.message.starts_with("cannot assume the role arn:aws:iam::2:role/r: STS does not answer: "),
            "{error}"
        );
        assert!(error.message.contains("Connection refused") && !error.message.contains("dispatch failure"), "{error}");
    };
    let tested = Tested::with(&url, credentials()).await;
    refused(&tested, Account::Role(role.to_owned())).await;
    // This role replaces the node's own credentials.
    let aws = Aws { endpoint_url: Some(url), assume_role_arn: Some(role.to_owned()), ..Aws::default() };
    refused(&Tested::configured(&aws, credentials()).await, Account::Own).await;

    let silent = Canned::start(|_, _| CannedReply::Silence).await;
    let tested = Tested::at(&silent).await;
    let error = tested.ec2.perform(&change_by(Account::Role(role.to_owned())), Urgency::Urgent).await.unwrap_err();
    assert!(
        error.message.starts_with("cannot assume the role arn:aws:iam::2:role/r: credentials did not come"),
        "{error}"
    );
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_call() {
    let endpoint = Canned::start(|_, _| accepted("CreateRoute")).await;
    let tested = Tested::at(&endpoint).await;
    for _ in 0..3 {
        change(&tested).await.unwrap();
    }
    assert_eq!(endpoint.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_the_other_side_closed_is_not_used_again() {
    let endpoint =
        Canned::start(|number, _| if number == 0 { CannedReply::Drop } else { accepted("CreateRoute") }).await;
    let tested = Tested::at(&endpoint).await;
    change(&tested).await.unwrap_err();
    change(&tested).await.unwrap();
    assert_eq!(endpoint.connections(), 2);
}

#[tokio::test]
async fn many_calls_at_once_each_take_a_connection_of_their_own() {
    let endpoint = Canned::start(|_, _| CannedReply::Together(64)).await;
    let tested = Tested::at(&endpoint).await;
    let outcomes = futures_util::future::join_all((0..64).map(|_| change(&tested))).await;
    assert_eq!(outcomes, vec![Ok(()); 64]);
    assert_eq!(endpoint.connections(), 64, "none waits for another's answer");
}

#[tokio::test]
async fn the_answers_date_tells_how_far_the_clocks_are_apart() {
    let endpoint = Canned::start(|_, _| accepted("CreateRoute")).await;
    let tested = Tested::at(&endpoint).await;
    assert_eq!(tested.ec2.time(), None);
    change(&tested).await.unwrap();
    let time = tested.ec2.time().unwrap();
    // 2026-11-22 12:00:00 UTC, plus half a second for the middle of that second.
    let told_ms = time.unix_ms(Clocks::now().since_boot());
    assert!(told_ms.abs_diff(1_795_348_800_500) < 200 && (500..600).contains(&time.error_ms), "{told_ms} {time:?}");
}
