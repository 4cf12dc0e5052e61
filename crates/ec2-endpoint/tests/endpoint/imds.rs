//! The metadata service of one node.

use std::{io::ErrorKind, net::SocketAddr, time::Instant};

use crate::client::{HttpAnswer, Running, request};

const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "X-aws-ec2-metadata-token";

fn token(imds: SocketAddr) -> HttpAnswer {
    request(imds, "PUT", "/latest/api/token", &[(TTL, "21600")], "").unwrap()
}

/// The text at a path below `meta-data`, or the status if there is none.
fn get(imds: SocketAddr, path: &str) -> String {
    let token = token(imds).body;
    let answer = request(imds, "GET", &format!("/latest/{path}"), &[(TOKEN, &token)], "").unwrap();
    if answer.status == 200 { answer.body } else { answer.status.to_string() }
}

#[test]
fn nothing_is_told_without_a_token() {
    let running = Running::start();
    let path = "/latest/meta-data/instance-id";
    assert_eq!(request(running.imds, "GET", path, &[], "").unwrap().status, 401);
    assert_eq!(request(running.imds, "GET", path, &[(TOKEN, "made-up")], "").unwrap().status, 401);
    let token = token(running.imds);
    assert_eq!(token.headers[&TTL.to_lowercase()], "21600", "SDKs insist on it");
    let answer = request(running.imds, "GET", path, &[(TOKEN, &token.body)], "").unwrap();
    assert_eq!((answer.status, answer.body), (200, running.world.a.instance_id.clone()));
}

#[test]
fn a_token_needs_a_lifetime_and_ends_with_it() {
    let running = Running::start();
    let put = |headers: &[(&str, &str)]| request(running.imds, "PUT", "/latest/api/token", headers, "").unwrap();
    for headers in [&[][..], &[(TTL, "0")], &[(TTL, "21601")], &[(TTL, "soon")]] {
        assert_eq!(put(headers).status, 400, "{headers:?}");
    }
    assert_eq!(put(&[(TTL, "60"), ("X-Forwarded-For", "10.0.0.1")]).status, 403);
    let short = put(&[(TTL, "1")]).body;
    let show = || request(running.imds, "GET", "/latest/meta-data/mac", &[(TOKEN, &short)], "").unwrap().status;
    assert_eq!(show(), 200);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(show(), 401);
}

#[test]
fn the_paths_show_the_account_as_it_is() {
    let mut running = Running::start();
    let mut world = running.world.clone();
    running.endpoint.change(|account| {
        world.associate(world.association_to(&world.a.clone()));
        *account = world.account.clone();
    });
    running.world = world;
    let world = &running.world;
    let eni = world.account.eni(&world.eni(&world.a)).unwrap().clone();
    let mac = &eni.mac;
    let at = |name: &str| format!("meta-data/network/interfaces/macs/{mac}/{name}");
    let cases = [
        ("meta-data/instance-id".into(), world.a.instance_id.clone()),
        ("meta-data/mac".into(), mac.clone()),
        ("meta-data/placement/region".into(), "us-east-1".into()),
        ("meta-data/placement/availability-zone".into(), "us-east-1a".into()),
        ("meta-data/placement/availability-zone-id".into(), "use1-az1".into()),
        ("meta-data/network/interfaces/macs/".into(), format!("{mac}/")),
        (at("interface-id"), eni.id.clone()),
        (at("device-number"), "0".into()),
        (at("subnet-id"), world.subnet.clone()),
        (at("vpc-id"), world.vpc.clone()),
        (at("owner-id"), "123456789012".into()),
        (at("local-ipv4s"), "10.0.1.11".into()),
        (at("ipv6s"), "404".into()),
        (at("public-ipv4s"), "203.0.113.10".into()),
        (at("ipv4-associations/"), "203.0.113.10".into()),
        (at("ipv4-associations/203.0.113.10"), "10.0.1.11".into()),
        (at("subnet-ipv4-cidr-block"), "10.0.1.0/24".into()),
        (at("vpc-ipv4-cidr-blocks"), "10.0.0.0/16".into()),
        ("meta-data/iam/security-credentials/".into(), "vipkeeper".into()),
        ("meta-data/tags/instance/Name".into(), "node-a".into()),
        ("meta-data/nothing".into(), "404".into()),
        ("meta-data/network/interfaces/macs/02:ff:ff:ff:ff:ff/interface-id".into(), "404".into()),
    ];
    for (path, expected) in cases {
        assert_eq!(get(running.imds, &path), expected, "{path}");
    }
    let document: serde_json::Value =
        serde_json::from_str(&get(running.imds, "dynamic/instance-identity/document")).unwrap();
    assert_eq!(
        (&document["instanceId"], &document["region"]),
        (&world.a.instance_id.as_str().into(), &"us-east-1".into())
    );

    let assign = format!("Action=AssignPrivateIpAddresses&NetworkInterfaceId={}&PrivateIpAddress.1=10.0.1.50", eni.id);
    assert_eq!(running.ec2(&assign).code(), "OK");
    let assign = format!("Action=AssignIpv6Addresses&NetworkInterfaceId={}&Ipv6AddressCount=1", eni.id);
    assert_eq!(running.ec2(&assign).code(), "OK");
    assert_eq!(get(running.imds, &at("local-ipv4s")), "10.0.1.11\n10.0.1.50");
    assert_eq!(get(running.imds, &at("ipv6s")), "2600:1f18:0:ab00::4");
}

#[test]
fn credentials_of_the_role_are_the_node_s() {
    let running = Running::start();
    let text = get(running.imds, "meta-data/iam/security-credentials/vipkeeper");
    let credentials: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(credentials["Code"], "Success");
    assert!(credentials["Expiration"].as_str().unwrap().ends_with('Z'));
    running.ec2_as(credentials["AccessKeyId"].as_str().unwrap(), "Action=DescribeVpcs");
    assert_eq!(running.admin("GET", "calls", "")[0]["caller"]["name"], "node-a");
    assert_eq!(get(running.imds, "meta-data/iam/security-credentials/other"), "404");
}

#[test]
fn the_metadata_service_fails_as_it_is_told_to() {
    let running = Running::start();
    let attempt = || request(running.imds, "PUT", "/latest/api/token", &[(TTL, "60")], "");
    running.admin("PUT", "imds/node-a", r#"{"status": {"status": 503}}"#);
    assert_eq!(attempt().unwrap().status, 503);
    running.admin("PUT", "imds/node-a", r#"{"slow": {"by": "200ms"}}"#);
    let before = Instant::now();
    assert_eq!(attempt().unwrap().status, 200);
    assert!(before.elapsed().as_millis() >= 200);
    let gone = |attempt: Result<HttpAnswer, std::io::Error>| {
        let kind = attempt.unwrap_err().kind();
        let closed =
            [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::ConnectionRefused];
        assert!(closed.contains(&kind), "{kind}");
    };
    running.admin("PUT", "imds/node-a", r#""off""#);
    gone(attempt());
    running.admin("PUT", "imds/node-a", "null");
    assert_eq!(attempt().unwrap().status, 200);
    let instance = running.world.a.instance_id.clone();
    running.endpoint.change(|account| account.stop_instance(&instance)).unwrap();
    gone(attempt());
}
