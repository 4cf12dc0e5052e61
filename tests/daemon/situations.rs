//! Each situation on its whole way: from an answer, or from the want of one, through the loop to the page, the log, the
//! exit status of `vipkeeper status` and the metrics. Each situation has a file of its own, of which people say whether
//! the words name the right cause and the right cure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use vipkeeper::ec2::Ec2Error;
use vipkeeper::ec2::codes::{FailedCall, Missing, Reply};
use vipkeeper::ec2::message::{self, AroundCall};
use vipkeeper::ec2::sources::{self, Said, SourceAnswer};
use vipkeeper::ec2::stranger::{Meant, Stranger};
use vipkeeper::report::Report;
use vipkeeper::status::page::{DaemonLife, Overall, Style, page};

use crate::captured::captured;
use crate::golden;
use crate::support::answers::{self, ANSWERS, HttpAnswer};
use crate::support::interfaces;
use crate::support::seconds;
use crate::world::*;

const HOST: &str = "ec2.us-east-1.amazonaws.com";
const PROXY: &str = "http://10.0.0.7:3128";
const REFUSED: &str = "tcp connect error: Connection refused (os error 111)";
const TOKEN: &str = "a web identity token";
const CONTAINER: &str = "a container's metadata at http://169.254.170.2/role";
const METADATA: &str = "http://169.254.169.254";
/// An address of another subnet, and one that is inside the VPC.
const OUTSIDE: &str = "10.0.9.50";
const INSIDE: &str = "10.0.77.50";

/// The point at which a situation begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// This node becomes the leader while another node has the VIP.
    Takeover,
    /// This node has led well for a minute.
    InSync,
    /// The daemon starts.
    Start,
}

/// The thing that goes wrong.
enum Fault {
    /// Calls fail with this error.
    Call(Ec2Error),
    /// The search for this node's identity fails.
    NoIdentity(String),
    /// The identity is known but for this interface: the one with this name, or the first one.
    NoInterface(Option<&'static str>, &'static str),
}

struct Situation {
    name: &'static str,
    when: When,
    fault: Fault,
}

/// The error that the adapter makes of an answer.
fn answered(answer: &HttpAnswer) -> Ec2Error {
    let (code, message, body) = match answer.said {
        answers::Said::Ec2(code, text) => (Some(code), text, ""),
        answers::Said::Strange(body) => (None, "", body),
    };
    let proxy = answer.name.starts_with("proxy-").then_some(PROXY);
    let reply = Reply::Status(answer.status);
    let ahead_s = Some(f64::from(answer.ahead_s));
    let around = AroundCall { host: Some(HOST), proxy, ahead_s, body: body.as_bytes(), ..Default::default() };
    FailedCall { operation: answer.operation, code, message, reply }.error(&around)
}

/// The error where no answer came.
fn unanswered(why: Missing, sent: bool, proxy: Option<&str>, causes: &str) -> Ec2Error {
    let around = AroundCall { host: Some(HOST), proxy, causes, ..Default::default() };
    let reply = Reply::Missing { why, sent };
    FailedCall { operation: "DescribeRouteTables", code: None, message: "", reply }.error(&around)
}

/// The error where nothing could be signed, because of these answers of the sources of credentials.
fn unsigned(answers: Vec<(&str, SourceAnswer)>) -> Ec2Error {
    let said = |(source, answer): (&str, _)| Said { source: source.to_owned(), answer };
    let said: Vec<_> = answers.into_iter().map(said).collect();
    Ec2Error {
        reason: Some(sources::reason(&said)),
        ..message::refused("DescribeRouteTables", sources::class(&said), sources::sentence(&said))
    }
}

/// The usual sources, the last of which is the metadata service.
fn up_to_metadata(last: SourceAnswer) -> Ec2Error {
    let nothing = |why: &str| SourceAnswer::Nothing(why.to_owned());
    unsigned(vec![
        ("the environment", nothing("environment variable not set")),
        ("the profile", nothing("")),
        (TOKEN, nothing("$AWS_WEB_IDENTITY_TOKEN_FILE was not set")),
        ("a container's metadata", nothing("ECS provider not configured")),
        ("the metadata service at http://169.254.169.254", last),
    ])
}

fn kube2iam() -> String {
    let body = b"unable to find a role for this pod";
    let (meant, asked) = (Meant::MetadataService, METADATA);
    Stranger { meant, asked, proxy: None, status: 400, server: None, via: None, body }.to_string()
}

fn of_credentials() -> Vec<(&'static str, Ec2Error)> {
    let text = str::to_owned;
    let refuses = format!(
        "{METADATA} refuses (HTTP 403): the service is switched off for this instance, or a firewall on it forbids this \
         user; `aws ec2 modify-instance-metadata-options --http-endpoint enabled` switches it on"
    );
    let silent =
        format!("could not communicate with IMDS: {REFUSED}; a firewall on this machine may forbid it to this user");
    // The first sources have none, and this one has the last word.
    let after_two = |source: &'static str, answer| {
        let nothing = |why: &str| SourceAnswer::Nothing(why.to_owned());
        let mut all = vec![("the environment", nothing("environment variable not set")), ("the profile", nothing(""))];
        if source != TOKEN {
            all.push((TOKEN, nothing("$AWS_WEB_IDENTITY_TOKEN_FILE was not set")));
        }
        all.push((source, SourceAnswer::Refused(answer)));
        unsigned(all)
    };
    let after_one = |answer| {
        let unset = SourceAnswer::Nothing("environment variable not set".to_owned());
        unsigned(vec![("the environment", unset), ("the profile", SourceAnswer::Refused(answer))])
    };
    let process = sources::not_built_in("the feature credentials-process").unwrap();
    let sso = sources::not_built_in("the feature sso").unwrap();
    let login = sources::not_built_in("the feature credentials-login").unwrap();
    vec![
        (
            "credentials-none",
            up_to_metadata(SourceAnswer::Nothing(text("no IAM role is attached to this instance: HTTP 404"))),
        ),
        ("credentials-metadata-silent", up_to_metadata(SourceAnswer::Silent(silent))),
        ("credentials-metadata-refuses", up_to_metadata(SourceAnswer::Refused(refuses))),
        ("credentials-metadata-off", up_to_metadata(SourceAnswer::Off(text("AWS_EC2_METADATA_DISABLED is set")))),
        ("credentials-kube2iam", up_to_metadata(SourceAnswer::Refused(kube2iam()))),
        ("credentials-container-refuses", after_two(CONTAINER, text("it answers HTTP 403"))),
        (
            "credentials-token-refused",
            after_two(TOKEN, text("STS: AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity")),
        ),
        (
            "credentials-token-without-file",
            after_two(TOKEN, text("a file that it needs cannot be read: No such file or directory (os error 2)")),
        ),
        (
            "credentials-half-a-pair",
            unsigned(vec![(
                "the environment",
                SourceAnswer::Refused(text("AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not")),
            )]),
        ),
        (
            "credentials-profile-missing",
            after_one(text("AWS_PROFILE names nosuch, and no file defines such a profile")),
        ),
        (
            "credentials-source-profile-missing",
            after_one(text("profile nosuch: could not find source profile nosuch referenced from default")),
        ),
        (
            "credentials-profiles-unreadable",
            after_one(text(
                "AWS_CONFIG_FILE names /nonexistent/config, which cannot be read: No such file or directory (os error 2)",
            )),
        ),
        (
            "credentials-token-without-role",
            after_two(TOKEN, text("AWS_WEB_IDENTITY_TOKEN_FILE is set, and AWS_ROLE_ARN is not")),
        ),
        ("credentials-process", unsigned(vec![("the profile work", SourceAnswer::NotBuiltIn(text(process)))])),
        ("credentials-sso", unsigned(vec![("the profile work", SourceAnswer::NotBuiltIn(text(sso)))])),
        ("credentials-login", unsigned(vec![("the profile work", SourceAnswer::NotBuiltIn(text(login)))])),
    ]
}

fn of_the_way() -> Vec<(&'static str, Ec2Error)> {
    let issuer = "TLS handshake failed: invalid peer certificate: UnknownIssuer (the certificate that came is of \
                  'ec2.us-east-1.amazonaws.com', issued by 'Interception CA (Example Inc.)')";
    let other_name = "TLS handshake failed: invalid peer certificate: certificate not valid for name \
                      \"ec2.us-east-1.amazonaws.com\"; certificate is only valid for DnsName(\"www.example.com\") (the \
                      certificate that came is of 'www.example.com', issued by 'Interception CA (Example Inc.)')";
    let expired = "TLS handshake failed: invalid peer certificate: certificate expired: verification time 1795904072 \
                   (UNIX), but certificate is not valid after 1609459200 (186444872 seconds ago) (the certificate that \
                   came is of 'ec2.us-east-1.amazonaws.com', issued by 'Interception CA (Example Inc.)')";
    let no_tls = "TLS handshake failed: received corrupt message of type InvalidContentType";
    let unresolved = "dns error: failed to perform DNS lookup: failed to lookup address information: Temporary failure in \
                      name resolution";
    let through = |causes: &str| unanswered(Missing::Io, false, Some(PROXY), &format!("tunnel error: {causes}"));
    vec![
        ("tls-unknown-issuer", unanswered(Missing::Io, false, None, issuer)),
        ("tls-unknown-issuer-behind-proxy", unanswered(Missing::Io, false, Some(PROXY), issuer)),
        ("tls-other-host", unanswered(Missing::Io, false, None, other_name)),
        ("tls-not-spoken", unanswered(Missing::Io, false, None, no_tls)),
        ("tls-expired", unanswered(Missing::Io, false, None, expired)),
        ("proxy-unreachable", through(&format!("failed to create underlying connection: {REFUSED}"))),
        ("proxy-lets-nothing-through", through("unsuccessful")),
        ("proxy-tunnel-wants-password", through("proxy authorization required")),
        ("proxy-hangs-up", through("unexpected end of file")),
        ("proxy-breaks-tls", unanswered(Missing::Io, false, Some(PROXY), "tls handshake eof")),
        ("unreachable", unanswered(Missing::Io, false, None, REFUSED)),
        ("unresolved", unanswered(Missing::Io, false, None, unresolved)),
        ("unanswered", unanswered(Missing::TimedOut, true, None, "")),
        ("unconnected", unanswered(Missing::TimedOut, false, None, "")),
    ]
}

fn of_identity() -> Vec<(&'static str, String)> {
    let zone = "the region of the profile cannot be used: 'us-east-1a' is a zone, no region: write the region \
                alone, \"us-east-1\"";
    let instead = "; or set identity and aws.region in the configuration";
    vec![
        ("identity-zone", zone.to_owned()),
        (
            "identity-nothing-trusted",
            "no certificate of an authority is trusted, because the system's trust store has none: looked in \
             SSL_CERT_FILE=/nonexistent/roots.pem (failed to read PEM from file: No such file or directory (os error 2) at \
             '/nonexistent/roots.pem'); the package ca-certificates brings them, or aws.ca_bundle names a file with them"
                .to_owned(),
        ),
        (
            "identity-not-told",
            format!("the metadata service did not tell the instance id: {METADATA} has none (HTTP 404)"),
        ),
        ("identity-kube2iam", format!("the metadata service did not tell the instance id: {}{instead}", kube2iam())),
        (
            "identity-silent",
            format!(
                "the metadata service did not tell the instance id: no answer from {METADATA} (failed to \
                 load IMDS session token: {REFUSED}); a firewall on this machine may forbid it to this user{instead}"
            ),
        ),
    ]
}

/// Each interface that is not found: the situation, its beginning, the interface, and the adapter's sentence.
fn of_interfaces() -> [(&'static str, When, Option<&'static str>, &'static str); 5] {
    [
        ("interface-none", When::Start, Some("eth7"), interfaces::NONE),
        ("interface-not-ours", When::Start, Some("br0"), interfaces::NOT_OURS),
        ("interface-two-alike", When::Start, None, interfaces::TWO_ALIKE),
        ("interface-no-first", When::Start, None, interfaces::NO_FIRST),
        ("interface-renamed", When::InSync, Some("eth0"), interfaces::RENAMED),
    ]
}

fn situations() -> Vec<Situation> {
    let of_answer = |answer: &HttpAnswer| {
        let is_read = answer.operation.starts_with("Describe");
        let when = if is_read { When::InSync } else { When::Takeover };
        Situation { name: answer.name, when, fault: Fault::Call(answered(answer)) }
    };
    let of_read = |(name, error)| Situation { name, when: When::InSync, fault: Fault::Call(error) };
    let of_identity_error = |(name, why)| Situation { name, when: When::Start, fault: Fault::NoIdentity(why) };
    let of_interface =
        |(name, when, interface, why)| Situation { name, when, fault: Fault::NoInterface(interface, why) };
    let all = ANSWERS.iter().map(of_answer);
    let all = all.chain(of_credentials().into_iter().map(of_read)).chain(of_the_way().into_iter().map(of_read));
    let all = all.chain(of_identity().into_iter().map(of_identity_error));
    all.chain(of_interfaces().into_iter().map(of_interface)).collect()
}

/// The config of the one VIP, and the VIP's address.
fn config_for(situation: &Situation, estate: &Estate) -> (Config, &'static str) {
    let by_table = |address| config(vec![vip(vec![by_route(address, &estate.add_tables(1))])]);
    let operation = match &situation.fault {
        Fault::Call(error) => error.operation,
        Fault::NoInterface(Some(name), _) => {
            let mut on_it = by_route(ADDRESS, &estate.add_tables(1));
            on_it.route.as_mut().unwrap().interface = Some((*name).to_owned());
            return (config(vec![vip(vec![on_it])]), ADDRESS);
        }
        Fault::NoIdentity(_) | Fault::NoInterface(None, _) => "",
    };
    match (situation.name, operation) {
        ("terse-subnet", _) => (config(vec![vip(vec![by_secondary_ip(OUTSIDE)])]), OUTSIDE),
        ("terse-vpc", _) => (by_table(INSIDE), INSIDE),
        (_, "AssignPrivateIpAddresses") => (secondary_ip(estate), SECONDARY),
        (_, "AssociateAddress" | "CreateTags") => (elastic_ip(estate), EIP),
        _ => (by_table(ADDRESS), ADDRESS),
    }
}

/// Another node has the VIP, as far as it can have it.
fn give_to_the_other(world: &World, vip: &str) {
    let other = &world.estate.bystander.eni;
    match vip {
        EIP => point_elastic_ip_by_hand(&world.estate, other),
        ADDRESS => {
            let change = RouteChange {
                route_table_id: tables(world)[0].clone(),
                destination_cidr_block: Some(format!("{ADDRESS}/32")),
                network_interface_id: Some(other.clone()),
                ..Default::default()
            };
            world.estate.by_hand(&Operation::CreateRoute(change));
        }
        _ => {}
    }
}

/// The gauges of the VIP that stand differently now, and the counters of failures that grew, without their values. The
/// gauges that only say that this node leads are left out.
fn changed(before: &str, after: &str) -> BTreeSet<String> {
    let before: BTreeSet<_> = before.lines().collect();
    let told = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let name = series.split('{').next().unwrap_or_default();
        let began = !before.iter().any(|line| line.rsplit_once(' ').is_some_and(|(known, _)| known == series));
        let is_failure = series.contains("outcome=") && !series.contains("outcome=\"accepted\"");
        match name {
            _ if began && value == "0" => None,
            "vipkeeper_actions_total" => is_failure.then(|| format!("{series} grows")),
            "vipkeeper_binding_state" if value == "0" => None,
            "vipkeeper_binding_state"
            | "vipkeeper_claim_recorded"
            | "vipkeeper_claims_not_read"
            | "vipkeeper_contested"
            | "vipkeeper_nobody_serves"
            | "vipkeeper_takeover_obstacles" => Some(line.to_owned()),
            _ => None,
        }
    };
    after.lines().filter(|line| !before.contains(line)).filter_map(told).collect()
}

/// The log line that divides the time before the situation from the situation.
const HERE: &str = "the situation begins";

/// Lets the fault of the situation begin.
fn begin(situation: &Situation, world: &World) {
    let node = &world.nodes[0];
    match &situation.fault {
        Fault::Call(error) => _ = node.ec2.fails.borrow_mut().insert(error.operation, error.clone()),
        Fault::NoIdentity(why) => {
            node.identity.failures.set(u32::MAX);
            node.identity.failure.replace(why.clone());
        }
        Fault::NoInterface(name, why) => {
            if let (When::InSync, Some(name)) = (situation.when, name) {
                // The kernel tells nobody who waits for the old name.
                node.computer.rename(name, "ens5");
            }
            let mut identity = node.identity.node.borrow_mut();
            identity.missing.insert(name.map(str::to_owned), (*why).to_owned());
            if name.is_none_or(|name| identity.interfaces.remove(name).is_some()) {
                (identity.first, identity.interfaces) = (None, BTreeMap::new());
            }
        }
    }
}

/// Leads one node into the situation, and through its first minute.
async fn live(situation: &Situation, world: &mut World, vip: &str, report: &Report) -> String {
    give_to_the_other(world, vip);
    match situation.when {
        When::Start => begin(situation, world),
        When::InSync => world.start_with_leader_of(vip, seconds(60)).await,
        When::Takeover => {
            world.start();
            pass(seconds(20)).await;
        }
    }
    let before = report.metrics();
    tracing::warn!("{HERE}");
    match situation.when {
        When::Start => {
            world.start();
            if let Fault::NoInterface(..) = situation.fault {
                world.up(0, vip);
            }
        }
        When::InSync => begin(situation, world),
        When::Takeover => {
            begin(situation, world);
            world.up(0, vip);
        }
    }
    pass(seconds(60)).await;
    before
}

/// The life of one node in the situation, as people are told of it.
fn told(situation: &Situation) -> String {
    let report = Rc::new(Report::new(&[], None, seconds(90)));
    let mut shown = String::new();
    let log = captured("warn", || {
        shown = in_paused_time(async {
            let mut vip = "";
            let mut world = World::new(1, |estate| {
                let (config, address) = config_for(situation, estate);
                vip = address;
                config
            });
            world.nodes[0].report = Some(Rc::clone(&report));
            let before = live(situation, &mut world, vip, &report).await;
            let status = world.nodes[0].recorder.last();
            let now_ms = status.written_ms;
            let page = page(&status, DaemonLife::Alive, now_ms, Style { width: Some(100), colour: false });
            let is_table = |line: &str| ["BINDING", "SOURCE"].iter().any(|head| line.trim_start().starts_with(head));
            let spoken = page.lines().skip(1).take_while(|line| !is_table(line));
            let mut shown = String::new();
            for line in spoken.filter(|line| !line.is_empty()) {
                writeln!(shown, "{line}").unwrap();
            }
            let exit = Overall::of(&status, DaemonLife::Alive, now_ms).exit_code();
            writeln!(shown, "== exit status\n{exit}\n== metrics").unwrap();
            for line in changed(&before, &report.metrics()) {
                writeln!(shown, "{line}").unwrap();
            }
            shown
        });
    });
    let mut text = String::new();
    match &situation.fault {
        Fault::Call(error) => writeln!(text, "== answer ({})\n{error}", error.class).unwrap(),
        Fault::NoIdentity(why) => writeln!(text, "== no identity\n{why}").unwrap(),
        Fault::NoInterface(_, why) => writeln!(text, "== no interface\n{why}").unwrap(),
    }
    write!(text, "== page\n{shown}== log\n").unwrap();
    for line in log.iter().skip_while(|line| !line.ends_with(HERE)).skip(1) {
        writeln!(text, "{line}").unwrap();
    }
    text
}

#[test]
fn each_situation_is_told_with_its_cause_and_its_cure_wherever_people_look() {
    let situations = situations();
    let names: BTreeSet<_> = situations.iter().map(|situation| situation.name).collect();
    assert_eq!(names.len(), situations.len(), "each has a file of its own");
    for situation in &situations {
        golden::check(&format!("situations/{}.txt", situation.name), &told(situation));
    }
}
