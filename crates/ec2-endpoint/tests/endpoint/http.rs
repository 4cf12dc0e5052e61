//! The query protocol on a socket, the faults as they show there, and the admin interface.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::client::{Running, query, query_within, request};

#[test]
fn answers_carry_a_request_id_and_a_date_in_the_headers() {
    let running = Running::start();
    let first = running.ec2("Action=DescribeVpcs");
    let second = running.ec2("Action=DescribeVpcs");
    for answer in [&first, &second] {
        assert_eq!(answer.headers["x-amzn-requestid"], answer.element("requestId").unwrap());
        assert!(answer.headers["date"].ends_with(" GMT"));
    }
    assert_ne!(first.headers["x-amzn-requestid"], second.headers["x-amzn-requestid"]);
    let refused = running.ec2("Action=DeleteRoute&RouteTableId=rtb-0123456789abcdef0&DestinationCidrBlock=1.2.3.4/32");
    assert_eq!((refused.status, refused.code()), (400, "InvalidRouteTableID.NotFound"));
    assert_eq!(refused.headers["x-amzn-requestid"], refused.element("RequestID").unwrap());
}

#[test]
fn a_route_makes_its_way_through_the_protocol() {
    let running = Running::start();
    let (table, eni) = (&running.world.table, running.world.eni(&running.world.a));
    let answer = running.ec2(&format!(
        "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=20.0.0.50%2F32&NetworkInterfaceId={eni}"
    ));
    assert_eq!((answer.status, answer.element("return")), (200, Some("true")), "{}", answer.body);
    let answer = running.ec2(&format!(
        "Action=DescribeRouteTables&Filter.1.Name=route.destination-cidr-block&Filter.1.Value.1=20.0.0.*\
         &Filter.2.Name=route-table-id&Filter.2.Value.1={table}&Filter.2.Value.2=x"
    ));
    assert!(answer.elements("destinationCidrBlock").contains(&"20.0.0.50/32"), "{}", answer.body);
    assert!(answer.elements("networkInterfaceId").contains(&eni.as_str()));
    assert_eq!(answer.elements("instanceId"), [running.world.a.instance_id.as_str()]);
}

#[test]
fn who_calls_follows_from_the_access_key() {
    let running = Running::start();
    running.endpoint.add_access_key("AKIA1", ec2_endpoint::Caller::named("node-b"));
    running.ec2_as("AKIA1", "Action=DescribeVpcs");
    running.ec2_as("node-c", "Action=DescribeVpcs");
    let calls = running.admin("GET", "calls", "");
    let callers: Vec<_> = calls.as_array().unwrap().iter().map(|call| call["caller"]["name"].clone()).collect();
    assert_eq!(callers, ["node-b", "node-c"]);
    let unsigned = request(running.api, "POST", "/", &[], "Action=DescribeVpcs&Version=2016-11-15").unwrap();
    assert_eq!((unsigned.status, unsigned.code()), (403, "MissingAuthenticationToken"));
    let presigned = "/?Action=DescribeVpcs&Version=2016-11-15&X-Amz-Credential=node-d%2F20300101%2Fus-east-1";
    assert_eq!(request(running.api, "GET", presigned, &[], "").unwrap().status, 200);
}

#[test]
fn a_role_is_assumed_and_its_keys_remember_who_assumed_it() {
    let running = Running::start();
    let sts = |key: &str, form: &str| query(running.api, key, "sts", &format!("{form}&Version=2011-06-15")).unwrap();
    let role = "arn:aws:iam::123456789012:role/network";
    let answer = sts("node-a", &format!("Action=AssumeRole&RoleArn={role}&RoleSessionName=node-a"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let key = answer.element("AccessKeyId").unwrap();
    assert!(answer.element("Expiration").unwrap().ends_with('Z'));
    let identity = sts(key, "Action=GetCallerIdentity");
    assert_eq!(identity.element("Arn"), Some("arn:aws:sts::123456789012:assumed-role/network/node-a"));
    assert_eq!(sts("node-a", "Action=GetCallerIdentity").element("Arn"), Some("arn:aws:iam::123456789012:user/node-a"));

    running.admin("POST", "faults", &json!({"kind": "deny", "scope": {"roles": [role]}}).to_string());
    assert_eq!(running.ec2_as(key, "Action=DescribeVpcs").code(), "UnauthorizedOperation");
    assert_eq!(running.ec2_as("node-a", "Action=DescribeVpcs").code(), "OK");
    let bad = sts("node-a", "Action=AssumeRole&RoleArn=junk&RoleSessionName=node-a");
    assert_eq!((bad.status, bad.code()), (400, "ValidationError"));
    assert_eq!(running.ec2("Action=GetCallerIdentity").code(), "InvalidAction", "it is no action of EC2");
}

#[test]
fn faults_show_on_the_wire() {
    let running = Running::start();
    let describe = "Action=DescribeVpcs";
    let with = |kind: serde_json::Value| {
        running.admin("POST", "faults", &json!({"kind": kind, "remaining": 1}).to_string());
        query(running.api, "node-a", "ec2", &format!("{describe}&Version=2016-11-15"))
    };
    let answer = with(json!("throttle")).unwrap();
    assert_eq!((answer.status, answer.code()), (503, "RequestLimitExceeded"));
    let answer = with(json!({"server_error": {"status": 500, "code": "InternalError"}})).unwrap();
    assert_eq!((answer.status, answer.code()), (500, "InternalError"));
    let answer = with(json!({"proxy_html": {"status": 502}})).unwrap();
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (502, "text/html"));
    assert!(answer.body.starts_with("<html>") && !answer.headers.contains_key("x-amzn-requestid"));
    let answer = with(json!("empty_body")).unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    for kind in [json!("drop_before"), json!("drop_after"), json!({"cut": {"how": "refuse"}})] {
        assert_eq!(with(kind.clone()).unwrap_err().kind(), ErrorKind::UnexpectedEof, "{kind}");
    }
    let before = Instant::now();
    assert_eq!(with(json!({"latency": {"least": "150ms", "most": "150ms"}})).unwrap().status, 200);
    assert!(before.elapsed().as_millis() >= 150);
    assert_eq!(running.ec2(describe).status, 200, "all of them are used up");
}

#[test]
fn a_node_that_is_cut_off_hears_nothing_while_others_go_on() {
    let running = Running::start();
    let cut = json!({"kind": {"cut": {"how": "hang"}}, "scope": {"callers": ["node-a"]}});
    running.admin("POST", "faults", &cut.to_string());
    let form = "Action=DescribeVpcs&Version=2016-11-15";
    let silence = query_within(running.api, "node-a", "ec2", form, Duration::from_millis(300)).unwrap_err();
    assert!(matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");
    assert_eq!(running.ec2_as("node-b", "Action=DescribeVpcs").status, 200);
}

#[test]
fn a_call_is_executed_even_if_its_caller_has_given_up() {
    let running = Running::start();
    running.admin("POST", "faults", r#"{"kind": {"latency": {"least": "600ms", "most": "600ms"}}, "remaining": 1}"#);
    let (table, eni) = (&running.world.table, running.world.eni(&running.world.a));
    let form = format!(
        "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=20.0.0.50/32&NetworkInterfaceId={eni}&Version=2016-11-15"
    );
    let give_up = query_within(running.api, "node-a", "ec2", &form, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(give_up.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{give_up}");
    let route = || running.admin("GET", "account", "")["route_tables"][table]["routes"]["20.0.0.50/32"].clone();
    assert!(route().is_null(), "it is on its way");
    let deadline = Instant::now() + Duration::from_secs(10);
    while route().is_null() {
        assert!(Instant::now() < deadline, "the call was not executed");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(running.admin("GET", "calls", "")[0]["code"], "OK");
}

#[test]
fn the_admin_interface_shows_and_changes_the_world() {
    let running = Running::start();
    let (a, eni) = (&running.world.a.instance_id, running.world.eni(&running.world.a));
    let account = running.admin("GET", "account", "");
    assert_eq!(account["enis"][&eni]["private_ips"], json!(["10.0.1.11"]));
    running.admin("POST", "events", &json!({"stop_instance": a}).to_string());
    let account = running.admin("GET", "account", "");
    assert_eq!(account["instances"][a]["state"], "stopped");
    running.admin("POST", "events", &json!({"delete_interface": eni}).to_string());
    assert!(running.endpoint.service().account().eni(&eni).is_none());

    let id = running.admin("POST", "faults", r#"{"kind": {"stale": {"up_to": "3s"}}}"#)["id"].clone();
    let faults = running.admin("GET", "faults", "");
    assert_eq!(faults[0]["fault"]["kind"], json!({"stale": {"up_to": "3s"}}));
    running.admin("DELETE", &format!("faults/{id}"), "");
    assert_eq!(running.admin("GET", "faults", ""), json!([]));

    running.ec2("Action=DescribeVpcs");
    running.ec2("Action=DescribeSubnets");
    let calls = running.admin("GET", "calls?since=1", "");
    assert_eq!((&calls[0]["operation"], &calls[0]["code"]), (&json!("DescribeSubnets"), &json!("OK")));
    running.admin("DELETE", "calls", "");
    assert_eq!(running.admin("GET", "calls", ""), json!([]));
    running.admin("PUT", "throttling", r#""off""#);

    for (method, path, body, status) in [
        ("GET", "nothing", "", 404),
        ("POST", "account", "", 404),
        ("DELETE", "faults/99", "", 404),
        ("POST", "faults", r#"{"kind": "gremlins"}"#, 400),
        ("POST", "faults", r#"{"kind": "deny", "chances": 1}"#, 400),
        ("POST", "events", r#"{"stop_instance": "i-0123456789abcdef0"}"#, 400),
        ("GET", "calls?since=yesterday", "", 400),
    ] {
        let answer = request(running.api, method, &format!("/_endpoint/{path}"), &[], body).unwrap();
        assert_eq!(answer.status, status, "{method} {path} {body}");
    }
}

#[test]
fn markup_in_a_tag_comes_back_as_it_was() {
    let running = Running::start();
    let eip = &running.world.eip;
    running.ec2(&format!("Action=CreateTags&ResourceId.1={eip}&Tag.1.Key=k&Tag.1.Value=%3Ca%3E%26%22b%22"));
    let answer = running.ec2(&format!("Action=DescribeTags&Filter.1.Name=resource-id&Filter.1.Value.1={eip}"));
    assert_eq!(answer.element("value"), Some("&lt;a&gt;&amp;&quot;b&quot;"));
}

#[test]
fn a_stopped_server_is_gone() {
    let running = Running::start();
    let api = running.api;
    drop(running);
    let refused = request(api, "GET", "/_endpoint/account", &[], "").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
