//! Tests of configurations as operators write them, and of the messages that they get.

mod example;
mod reference;
mod variables;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

const MINIMAL: &str = "[[vip]]\ndelegate_ip = '20.0.0.50'\n[vip.route]\ntables = ['rtb-1']\n";

/// A file and its folder. Dropping the value deletes both.
struct File(tempfile::TempDir);

impl File {
    fn new(text: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("v.toml"), text).unwrap();
        Self(folder)
    }

    fn sources(&self, environment: &[(&str, &str)], flags: &[Flag]) -> Sources {
        Sources {
            file: self.0.path().join("v.toml"),
            environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            flags: flags.to_vec(),
        }
    }
}

fn load_with(text: impl AsRef<[u8]>, environment: &[(&str, &str)], flags: &[Flag]) -> Result<Config, Vec<String>> {
    let file = File::new(text);
    let prefix = format!("{}/", file.0.path().display());
    file.sources(environment, flags)
        .load()
        .map_err(|error| error.problems().iter().map(|problem| problem.to_string().replace(&prefix, "")).collect())
}

fn load(text: &str) -> Result<Config, Vec<String>> {
    load_with(text, &[], &[])
}

/// The problem of a file that has exactly one.
fn problem(text: &str) -> String {
    let mut problems = load(text).expect_err(text);
    assert_eq!(problems.len(), 1, "{text}\n{problems:#?}");
    problems.remove(0)
}

fn route_vip(address: &str) -> VipConfig {
    let tables = Tables::Ids(vec![TableRef { id: "rtb-1".parse().unwrap(), account: Account::Own }]);
    VipConfig {
        delegate_ip: address.parse().unwrap(),
        addresses: vec![AddressConfig {
            address: address.parse().unwrap(),
            elastic_ip: None,
            route: Some(RouteConfig { tables, interface: None, on_release: OnRelease::Keep }),
            secondary_ip: None,
        }],
        anchor: None,
    }
}

#[test]
fn everything_but_the_vips_has_a_default() {
    let config = load(MINIMAL).unwrap();
    assert_eq!(config, Config::with_vips(vec![route_vip("20.0.0.50")]));
    assert_eq!(config.vip("20.0.0.50".parse().unwrap()), Some(&config.vips[0]));
    assert_eq!(config.vip("20.0.0.51".parse().unwrap()), None);
}

#[test]
fn every_error_is_told_at_once_with_its_line() {
    let problems = load(
        r#"state_dir = "run/vipkeeper"
hook_user = ["postgres"]

[aws]
region = "eu-central-1a"
assume_role_arn = "arn:aws:iam::1:role/x"
use_fips = "yes"

[limits]
burst = 20.5

[metrics]
listen = "9813"
[intervals]
leader = 10
standby = "1s"

[[vip]]
delegate_ip = "127.0.0.1"
[vip.elastic_ip]
interface = "eth0:1"

[[vip]]
[vip.route]
tables = [
  "rtb-1",
  "eni-2",
  "rtb-1",
]
on_release = "drop"

[[vip]]
delegate_ip = "10.0.1.50"
[vip.secondary_ip]
[[vip.also]]
address = "10.0.1.50"
[vip.also.route]
tables = []
"#,
    )
    .unwrap_err();
    let expected = r#"
v.toml:1: state_dir: 'run/vipkeeper' is relative, but hook and daemon run in different folders: begin with /
v.toml:2: hook_user: unknown key: did you mean "hook_users"?
v.toml:5: aws.region: 'eu-central-1a' is a zone, no region: write the region alone, "eu-central-1"
v.toml:6: aws.assume_role_arn: 'arn:aws:iam::1:role/x' is no ARN of a role: write it like "arn:aws:iam::123456789012:role/vipkeeper"
v.toml:7: aws.use_fips: expected true or false, found the text 'yes'
v.toml:10: limits.burst: expected a whole number from 5 to 500, found the number 20.5
v.toml:13: metrics.listen: '9813' is no address with a port: write it like "127.0.0.1:9813"
v.toml:15: intervals.leader: expected "auto" or a time with its unit in quotes, like "10s", found the number 10
v.toml:16: intervals.standby: 1s is out of range: give a time from 5s to 10m
v.toml:19: vip[0].delegate_ip: 127.0.0.1 is a loopback address, which no client can reach: give the address clients connect to
v.toml:21: vip[0].elastic_ip.interface: 'eth0:1' is no name of an interface: the kernel allows no spaces, no '/' and no ':' in one; aliases like eth0:1 are addresses, not interfaces
v.toml:23: vip[1].delegate_ip: is missing: write the address that clients connect to
v.toml:27: vip[1].route.tables[1]: 'eni-2' is no route table id: expected 'rtb-' and then hexadecimal digits, like rtb-0123456789abcdef0
v.toml:28: vip[1].route.tables[2]: rtb-1 is in this list twice
v.toml:30: vip[1].route.on_release: 'drop' is none of "keep", "delete"
v.toml:36: vip[2].also[0].address: 10.0.1.50 is there already, at v.toml:33: name each address once
v.toml:38: vip[2].also[0].route.tables: is empty: name at least one route table"#;
    assert_eq!(problems.join("\n"), expected.trim_start());
}

#[test]
fn an_error_shows_how_many_there_are_and_a_hook_only_the_first() {
    let file = File::new("a = 1\nb = 2\n[[vip]]\ndelegate_ip = '20.0.0.50'\n");
    let error = file.sources(&[], &[]).load().unwrap_err();
    let text = error.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "3 errors in the configuration:");
    assert_eq!(lines.len(), 4);
    assert!(lines[1].starts_with("  /") && lines[1].contains("v.toml:1: a: unknown key"), "{text}");
    assert_eq!(error.summary(), format!("{} (and 2 more)", lines[1].trim_start()));
}

#[test]
fn what_one_value_or_table_gets_wrong_is_said_about_it() {
    let vip = |rest: &str| problem(&format!("[[vip]]\n{rest}"));
    let route = |rest: &str| vip(&format!("delegate_ip = '20.0.0.50'\n[vip.route]\n{rest}"));
    let top = |text: &str| problem(&format!("{text}\n{MINIMAL}"));
    for (said, wanted) in [
        (problem(""), "v.toml: vip: there is no VIP: write one [[vip]] with delegate_ip = \"...\" for each"),
        (problem("vip = []"), "v.toml:1: vip: there is no VIP"),
        (
            problem("[vip]\ndelegate_ip = '20.0.0.50'"),
            "v.toml:1: vip: expected a list of tables, [[vip]], found a table",
        ),
        (top("zebra = 1"), "v.toml:1: zebra: unknown key: here are known state_dir, hook_users, identity, aws,"),
        (
            top("hook_users = 'postgres'"),
            "v.toml:1: hook_users: expected a list of user names like [\"postgres\"], found",
        ),
        (
            top("on_change = '/bin/tell'"),
            "v.toml:1: on_change: expected a list like [\"/usr/local/bin/tell\", \"argument\"], found",
        ),
        (top("on_change = ['tell']"), "v.toml:1: on_change[0]: 'tell' is relative"),
        (top("on_change = ['/bin/tell', '']"), "v.toml:1: on_change[1]: is empty"),
        (top("on_change = ['/bin/tell', \"a\\u0000\"]"), "v.toml:1: on_change[1]: has a zero byte"),
        (top("hook_users = ['']"), "v.toml:1: hook_users[0]: is empty: give the name of a user in quotes"),
        (top("state_dir = '/'"), "v.toml:1: state_dir: the root folder is no place for state"),
        (top("state_dir = '/run/../x'"), "v.toml:1: state_dir: '/run/../x' contains \"..\": write where it leads"),
        (top("aws = 'x'"), "v.toml:1: aws: expected a table, [aws], found the text 'x'"),
        (top("[aws]\nregion = ''"), "v.toml:2: aws.region: is empty: give a region like \"eu-central-1\", or leave"),
        (top("[aws]\nregion = 2020-01-01"), "v.toml:2: aws.region: '2020-01-01' is no region"),
        (top("[aws]\nendpoint_url = 'ec2.local'"), "v.toml:2: aws.endpoint_url: 'ec2.local' is no URL of an endpoint"),
        (
            top("[aws]\nendpoint_url = 'https://ec2.local:4566/x'\nuse_fips = true"),
            "v.toml:3: aws.use_fips: cannot be combined with endpoint_url",
        ),
        (top("[identity]\ninterfaces = { lo = 'eni-1' }"), "v.toml:2: identity.interfaces.lo: 'lo' is no name of an"),
        (top("[identity]\ninterfaces = { eth0 = 'i-1' }"), "v.toml:2: identity.interfaces.eth0: 'i-1' is no network"),
        (top("[limits]\nrequests_per_s = nan"), "v.toml:2: limits.requests_per_s: NaN is not a number from 0.5 to 50"),
        (top("[intervals]\nleader = '10'"), "v.toml:2: intervals.leader: '10' is no time like \"10s\": "),
        (top("[intervals]\nleader = '11m'"), "v.toml:2: intervals.leader: 11m is out of range: give a time from 2s to"),
        (top("[claims]\nmode = 'on'"), "v.toml:2: claims.mode: 'on' is none of \"tags\", \"off\""),
        (top("claims = 'on'"), "v.toml:1: claims.mode: 'on' is none of \"tags\", \"off\""),
        (top("claims = ''"), "v.toml:1: claims.mode: is empty: give \"tags\" or \"off\", or leave the key out"),
        (top("claims = false"), "v.toml:1: claims: expected \"tags\", \"off\" or a table, [claims], found false"),
        (top("[claims]\nanchor = 'eni-1'"), "v.toml:2: claims.anchor: 'eni-1' is no anchor: give the id of an Elastic"),
        (top("[aws]\nregion = \"x\\ny\\u001b\""), "v.toml:2: aws.region: 'x\\ny\\u{1b}' is no region"),
        (vip("delegate_ip = '20.0.0.50'"), "v.toml:1: vip[0]: nothing points this delegate_ip at the leader: add a"),
        (
            vip("delegate_ip = '20.0.0.50'\n[vip.secondary_ip]\nenabled = false"),
            "v.toml:1: vip[0]: nothing points this delegate_ip at the leader",
        ),
        (
            vip("delegate_ip = '20.0.0.50/32'\n[vip.secondary_ip]"),
            "v.toml:2: vip[0].delegate_ip: '20.0.0.50/32' is no IP address: write it without a prefix length, \"20.0.0.50\"",
        ),
        (vip("delegate_ip = 20\n[vip.secondary_ip]"), "v.toml:2: vip[0].delegate_ip: expected an IP address in quotes"),
        (
            vip("delegate_ip = '2001:db8::1'\n[vip.elastic_ip]"),
            "v.toml:3: vip[0].elastic_ip: an Elastic IP is an IPv4 address, 2001:db8::1 is not",
        ),
        (
            vip("delegate_ip = '203.0.113.1'\n[vip.elastic_ip]\nprivate_ip = '169.254.1.1'"),
            "v.toml:4: vip[0].elastic_ip.private_ip: 169.254.1.1 is a link-local address: give one of the ENI's",
        ),
        (
            route("tables = ['rtb-1']\n[vip.secondary_ip]"),
            "v.toml:5: vip[0].secondary_ip: contradicts route: a secondary address lies inside the subnet",
        ),
        (route(""), "v.toml:3: vip[0].route.tables: is missing: name the route tables here, or choose them with"),
        (route("table_tags = {}"), "v.toml:4: vip[0].route.table_tags: is empty and would choose every table"),
        (
            route("tables = ['rtb-1']\ntable_tags = { a = 'b' }"),
            "v.toml:5: vip[0].route.table_tags: cannot be combined with tables",
        ),
        (
            route("table_tags = { a = 'b' }"),
            "v.toml:1: vip[0].anchor: is missing: the nodes may find tables by tag at different times",
        ),
        (
            vip("delegate_ip = '203.0.113.1'\nanchor = 'subnet'\n[vip.elastic_ip]"),
            "v.toml:3: vip[0].anchor: \"subnet\" is that of a secondary_ip, and this VIP has none",
        ),
        (
            vip("delegate_ip = '203.0.113.1'\nanchor = 'eipalloc-2'\n[vip.elastic_ip]\nallocation_id = 'eipalloc-1'"),
            "v.toml:1: vip: the anchor eipalloc-2 of 203.0.113.1 is no Elastic IP of this configuration",
        ),
        (route("tables = [{ idd = 'rtb-1', id = 'rtb-2' }]"), "v.toml:4: vip[0].route.tables[0].idd: unknown key"),
        (route("tables = [{}]"), "v.toml:4: vip[0].route.tables[0].id: is missing: write the id of the route table"),
        (
            route("tables = ['rtb-1']\nassume_role_arn = 'arn:aws:iam::123456789012:user/x'"),
            "v.toml:5: vip[0].route.assume_role_arn: 'arn:aws:iam::123456789012:user/x' is no ARN of a role",
        ),
        (route("tables = ['rtb-1', { id = 'rtb-1' }]"), "v.toml:4: vip[0].route.tables[1].id: rtb-1 is in this list"),
        (
            route("tables = ['rtb-1']\n[[vip.also]]\n[vip.also.route]\ntables = ['rtb-1']"),
            "v.toml:5: vip[0].also[0].address: is missing",
        ),
    ] {
        assert!(said.starts_with(wanted), "said:   {said}\nwanted: {wanted}");
    }
}

#[test]
fn what_the_probes_cannot_be_told_is_said_about_it() {
    let set = |text: &str| problem(&format!("{text}\n{MINIMAL}"));
    for (said, wanted) in [
        (set("[probe]\nport = 0"), "v.toml:2: probe.port: 0 is not a whole number from 1 to 65535"),
        (set("[probe]\nport = 65536"), "v.toml:2: probe.port: 65536 is not a whole number from 1 to 65535"),
        (set("[probe]\ninterval = '900ms'"), "v.toml:2: probe.interval: 900ms is out of range: give a time from 1s to"),
        (set("[probe]\ninterval = '61s'"), "v.toml:2: probe.interval: 61s is out of range: give a time from 1s to 1m"),
    ] {
        assert!(said.starts_with(wanted), "said:   {said}\nwanted: {wanted}");
    }
}

#[test]
fn addresses_that_no_client_reaches_are_refused() {
    for address in [
        "0.0.0.0",
        "127.0.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "ff02::1",
        "::ffff:20.0.0.50",
    ] {
        let said = problem(&format!("[[vip]]\ndelegate_ip = '{address}'\n[vip.secondary_ip]"));
        assert!(said.contains("which no client can reach"), "{address}: {said}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_line_and_column() {
    for (text, said) in [
        (
            "a = 1\nstate_dir = \"/run\nx = 1\n",
            ["v.toml:2:18: is not TOML: invalid basic string, expected `\"`"].as_slice(),
        ),
        ("a = 1\na = 2\n", &["v.toml:2:1: is not TOML: a stands twice in the same table: keep one of them"]),
        (
            "a = 1 2\n[b\n",
            &[
                "v.toml:1:5: is not TOML: string values must be quoted, expected literal string",
                "v.toml:2:3: is not TOML: unclosed table, expected `]`",
            ],
        ),
    ] {
        assert_eq!(load(text).unwrap_err(), said, "{text}");
    }
    assert_eq!(
        load_with(b"a = 'x'\nb = '\xc3\xa4 \xff'\n", &[], &[]).unwrap_err(),
        ["v.toml:2:8: is not UTF-8: save the file in that encoding"]
    );
}

#[test]
fn a_later_layer_overrides_an_earlier_one_key_by_key() {
    let text = format!("state_dir = '/file'\n[intervals]\nleader = '20s'\nstandby = '40s'\n{MINIMAL}");
    let variables = [
        ("VIPKEEPER_STATE_DIR", "/variable"),
        ("VIPKEEPER_INTERVALS__LEADER", "5s"),
        ("VIPKEEPER_LIMITS__BURST", "50"),
        ("VIPKEEPER_METRICS__ENABLED", "false"),
        ("VIPKEEPER_HOOK_USERS", "['postgres', 'pgpool']"),
        ("VIPKEEPER_AWS", "{ region = 'eu-central-1' }"),
        ("VIPKEEPER_AWS__PROFILE", "0042"),
        ("VIPKEEPER_IDENTITY__INTERFACES__ETH0", "eni-1"),
        ("VIPKEEPER_CONFIG", "/elsewhere"),
        ("VIPKEEPER_CLAIMS__MODE", ""),
        ("VIPKEEPER_ON_CHANGE", "['/bin/tell', 'a b']"),
        ("OTHER_STATE_DIR", "/other"),
    ];
    let flag = Flag { name: "--state-dir", key: &["state_dir"], value: "/flag".to_owned() };
    let expected = Config {
        state_dir: PathBuf::from("/variable"),
        hook_users: vec!["postgres".to_owned(), "pgpool".to_owned()],
        identity: Identity {
            instance_id: None,
            interfaces: BTreeMap::from([("eth0".to_owned(), "eni-1".parse().unwrap())]),
        },
        aws: Aws { region: Some("eu-central-1".to_owned()), profile: Some("0042".to_owned()), ..Aws::default() },
        limits: Limits { burst: 50, ..Limits::default() },
        listen: None,
        on_change: vec!["/bin/tell".to_owned(), "a b".to_owned()],
        intervals: Intervals {
            leader: LeaderInterval::Every(Duration::from_secs(5)),
            standby: Duration::from_secs(40),
        },
        ..Config::with_vips(vec![route_vip("20.0.0.50")])
    };
    assert_eq!(load_with(&text, &variables, &[]), Ok(expected.clone()));
    let expected = Config { state_dir: PathBuf::from("/flag"), ..expected };
    assert_eq!(load_with(&text, &variables, &[flag]), Ok(expected));
}

#[test]
fn probes_are_on_where_their_table_is_and_does_not_switch_them_off() {
    let probe = |text: &str, variables: &[(&str, &str)]| {
        load_with(format!("{text}\n{MINIMAL}"), variables, &[]).map(|config| config.probe)
    };
    let given = ProbeConfig { port: 4000, interval: Duration::from_mins(1) };
    assert_eq!(probe("", &[]), Ok(None));
    assert_eq!(probe("[probe]", &[]), Ok(Some(ProbeConfig::default())));
    assert_eq!(probe("[probe]\nport = 4000\ninterval = '1m'", &[]), Ok(Some(given)));
    assert_eq!(probe("[probe]\nenabled = false\nport = 4000", &[]), Ok(None));
    assert_eq!(probe("", &[("VIPKEEPER_PROBE__ENABLED", "true")]), Ok(Some(ProbeConfig::default())));
}

#[test]
fn claims_can_be_switched_by_a_text_in_the_place_of_their_table() {
    let claims = |text: &str, variables: &[(&str, &str)]| {
        let config = load_with(format!("{text}\n{MINIMAL}"), variables, &[])?;
        Ok::<_, Vec<String>>((config.claims, config.vips[0].anchor.clone()))
    };
    let elsewhere = Some(AnchorConfig::RouteTable("rtb-9".parse().unwrap()));
    assert_eq!(claims("claims = 'off'", &[]), Ok((ClaimMode::Off, None)));
    assert_eq!(claims("claims = 'tags'", &[]), Ok((ClaimMode::Tags, None)));
    assert_eq!(claims("", &[("VIPKEEPER_CLAIMS", "off")]), Ok((ClaimMode::Off, None)));
    assert_eq!(claims("", &[("VIPKEEPER_CLAIMS", "{ mode = 'off' }")]), Ok((ClaimMode::Off, None)));
    // The text says nothing about the anchor, so the anchor of another layer remains.
    assert_eq!(
        claims("[claims]\nmode = 'off'\nanchor = 'rtb-9'", &[("VIPKEEPER_CLAIMS", "tags")]),
        Ok((ClaimMode::Tags, elsewhere.clone()))
    );
    assert_eq!(
        claims("claims = 'off'", &[("VIPKEEPER_CLAIMS__ANCHOR", "rtb-9")]),
        Ok((ClaimMode::Off, elsewhere.clone()))
    );
    assert_eq!(
        claims("claims = 'off'", &[("VIPKEEPER_CLAIMS__MODE", "tags"), ("VIPKEEPER_CLAIMS__ANCHOR", "rtb-9")]),
        Ok((ClaimMode::Tags, elsewhere))
    );
    assert_eq!(
        claims("", &[("VIPKEEPER_CLAIMS", "never")]),
        Err(vec!["VIPKEEPER_CLAIMS: claims.mode: 'never' is none of \"tags\", \"off\"".to_owned()])
    );
}

#[test]
fn vips_can_come_from_a_variable_alone() {
    let vip = "[{ delegate_ip = '20.0.0.51', route = { tables = ['rtb-1'] } }]";
    let config = load_with("", &[("VIPKEEPER_VIP", vip)], &[]).unwrap();
    assert_eq!(config.vips, [route_vip("20.0.0.51")]);
}

#[test]
fn two_elastic_ips_cannot_share_a_private_address() {
    let vip = |ip: &str, more: &str| format!("[[vip]]\ndelegate_ip = '{ip}'\n[vip.elastic_ip]\n{more}\n");
    let both = |more: &str| format!("{}{}", vip("203.0.113.10", ""), vip("203.0.113.11", more));
    assert_eq!(
        load(&both("")).unwrap_err(),
        ["v.toml:1: vip: the Elastic IPs 203.0.113.10 and 203.0.113.11 would be at the same private address, which \
             carries one: give one of them a private_ip of its own"]
    );
    assert!(load(&both("private_ip = '10.0.0.9'")).is_ok());
    assert!(load(&both("interface = 'eth1'")).is_ok());
}

#[test]
fn one_allocation_id_is_the_id_of_one_address() {
    let vip = |ip: &str, private: &str| {
        let place = format!("allocation_id = 'eipalloc-1'\nprivate_ip = '{private}'");
        format!("[[vip]]\ndelegate_ip = '{ip}'\n[vip.elastic_ip]\n{place}\n")
    };
    let both = format!("{}{}", vip("203.0.113.10", "10.0.0.9"), vip("203.0.113.11", "10.0.0.10"));
    assert_eq!(
        load(&both).unwrap_err(),
        [
            "v.toml:1: vip: allocation_id eipalloc-1 is given for 203.0.113.10 and for 203.0.113.11: each Elastic IP has an \
             id of its own"
        ]
    );
}

#[test]
fn an_error_in_a_variable_or_flag_names_it_and_comes_after_the_files() {
    let flag = Flag { name: "--log-level", key: &["log", "level"], value: "loud".to_owned() };
    let problems = load_with(
        format!("{MINIMAL}x = 1\n"),
        &[
            ("VIPKEEPER_METRICS__LISTN", "127.0.0.1:1"),
            ("VIPKEEPER_METRICS__ENABLED", "yes"),
            ("VIPKEEPER_LIMITS__BURST", "many"),
            ("VIPKEEPER_HOOK_USERS", "postgres"),
            ("VIPKEEPER_AWS", "{ region = "),
            ("VIPKEEPER_", "x"),
        ],
        &[flag],
    )
    .unwrap_err();
    assert_eq!(
        problems,
        [
            "v.toml:5: vip[0].route.x: unknown key: here are known enabled, assume_role_arn, tables, table_tags, interface, on_release",
            r#"--log-level: log.level: 'loud' is none of "error", "warn", "info", "debug", "trace""#,
            r#"VIPKEEPER_: "": unknown key: here are known state_dir, hook_users, identity, aws, limits, metrics, intervals, log, claims, witness, pgpool, handover, probe, reset_connections, on_change, vip"#,
            "VIPKEEPER_AWS: begins like a list or a table but is not TOML: unclosed inline table, expected `}`",
            r#"VIPKEEPER_HOOK_USERS: hook_users: expected a list of user names like ["postgres"], found the text 'postgres'"#,
            "VIPKEEPER_LIMITS__BURST: limits.burst: expected a whole number from 5 to 500, found the text 'many'",
            "VIPKEEPER_METRICS__ENABLED: metrics.enabled: expected true or false, found the text 'yes'",
            r#"VIPKEEPER_METRICS__LISTN: metrics.listn: unknown key: did you mean "listen"?"#,
        ]
    );
}

#[test]
fn a_hook_gets_what_can_be_read() {
    let addresses = |addresses: &[&str]| Some(addresses.iter().map(|text| text.parse().unwrap()).collect());
    let good = File::new(format!("state_dir = '/good'\n{MINIMAL}"));
    let expected =
        HookConfig { state_dir: PathBuf::from("/good"), delegate_ips: addresses(&["20.0.0.50"]), error: None };
    assert_eq!(good.sources(&[], &[]).load_for_hook(), expected);

    let variable = [("VIPKEEPER_STATE_DIR", "/variable")];
    for (text, environment, state_dir) in [
        (format!("state_dir = '/good'\nx = 1\n{MINIMAL}"), [].as_slice(), "/good"),
        (format!("state_dir = 'bad'\n{MINIMAL}"), &[], "/run/vipkeeper"),
        ("state_dir = '/lost'\n[[vip".to_owned(), &[], "/run/vipkeeper"),
        ("state_dir = '/lost'\n[[vip".to_owned(), &variable, "/variable"),
    ] {
        let config = File::new(&text).sources(environment, &[]).load_for_hook();
        assert_eq!(config.state_dir, PathBuf::from(state_dir), "{text}");
        assert_eq!(config.delegate_ips, None, "{text}");
        assert!(config.error.is_some(), "{text}");
    }
}

#[test]
fn a_state_folder_that_only_a_variable_names_is_said_to_be_lost_on_hooks() {
    let missed = |text: &str, environment: &[(&str, &str)]| {
        File::new(format!("{text}{MINIMAL}")).sources(environment, &[]).state_dir_that_hooks_miss()
    };
    let variable = [("VIPKEEPER_STATE_DIR", "/variable")];
    let said = missed("", &variable).unwrap();
    assert!(said.contains("folder /variable, but") && said.contains(" write into /run/vipkeeper: set "), "{said}");
    assert!(missed("state_dir = '/file'\n", &variable).unwrap().contains(" write into /file: "));
    assert_eq!(missed("state_dir = '/variable'\n", &variable), None);
    assert_eq!(missed("state_dir = '/file'\n", &[("VIPKEEPER_CLAIMS", "off")]), None);
}

#[test]
fn a_file_that_only_a_variable_names_is_said_to_be_lost_on_hooks_if_it_leads_elsewhere() {
    let missed = |text: &str, is_named: bool| {
        let file = File::new(format!("{text}{MINIMAL}"));
        let mut sources = file.sources(&[], &[]);
        if is_named {
            sources.environment.push((FILE_VARIABLE.into(), sources.file.clone().into()));
        }
        sources.state_dir_that_hooks_miss()
    };
    let said = missed("state_dir = '/file'\n", true).unwrap();
    assert!(said.starts_with("VIPKEEPER_CONFIG gives this daemon the state folder /file, but "), "{said}");
    assert!(said.contains(": start the daemon and the hooks with --config /"), "{said}");
    assert_eq!(missed("", true), None, "both are the default");
    assert_eq!(missed("state_dir = '/file'\n", false), None, "a flag of hooks can name the file as well");
}

#[test]
fn a_missing_file_is_an_error_that_a_hook_survives() {
    let file = File::new("");
    let mut sources = file.sources(&[("VIPKEEPER_VIP", "[{ delegate_ip = '20.0.0.51', secondary_ip = {} }]")], &[]);
    sources.file = file.0.path().join("none.toml");
    let error = sources.load().unwrap_err();
    let [problem] = error.problems() else { panic!("{error}") };
    assert_eq!(problem.place, Place::File { path: sources.file.clone(), line: None, column: None });
    assert_eq!(
        problem.message,
        "cannot read the file: No such file or directory (os error 2); --config names another one"
    );
    assert_eq!(sources.load_for_hook().error, Some(error));
}

#[test]
fn a_vips_own_words_come_before_those_for_all() {
    let config = load(
        "[claims]
mode = 'off'
anchor = 'subnet'
[[vip]]
delegate_ip = '20.0.0.50'
anchor = 'rtb-9'
[vip.route]
assume_role_arn = 'arn:aws-cn:iam::123456789012:role/all'
tables = ['rtb-1', { id = 'rtb-2', assume_role_arn = 'arn:aws-us-gov:iam::123456789012:role/a/path/own' }]
on_release = 'delete'
[[vip]]
delegate_ip = '2001:db8::1'
[vip.route]
assume_role_arn = 'arn:aws:iam::123456789012:role/tags'
table_tags = { Name = 'private', 'aws:x' = 'y' }
",
    )
    .unwrap();
    let role = |arn: &str| Account::Role(format!("arn:{arn}"));
    let table = |id: &str, account| TableRef { id: id.parse().unwrap(), account };
    let route = |vip: usize| config.vips[vip].addresses[0].route.clone().unwrap();
    assert_eq!(config.claims, ClaimMode::Off);
    assert_eq!(config.vips[0].anchor, Some(AnchorConfig::RouteTable("rtb-9".parse().unwrap())));
    assert_eq!(config.vips[1].anchor, Some(AnchorConfig::Subnet));
    let all = table("rtb-1", role("aws-cn:iam::123456789012:role/all"));
    let own = table("rtb-2", role("aws-us-gov:iam::123456789012:role/a/path/own"));
    assert_eq!(route(0).tables, Tables::Ids(vec![all, own]));
    assert_eq!(route(0).on_release, OnRelease::Delete);
    let tags = [("Name", "private"), ("aws:x", "y")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let account = role("aws:iam::123456789012:role/tags");
    assert_eq!(route(1).tables, Tables::Tagged { tags: tags.into(), account });
}

#[test]
fn an_anchor_that_every_node_reads_is_good() {
    let tagged = "[[vip]]\ndelegate_ip = '20.0.0.50'\n[vip.route]\ntable_tags = { a = 'b' }\n";
    let elastic = "[[vip]]\ndelegate_ip = '203.0.113.1'\n[vip.elastic_ip]\nallocation_id = 'eipalloc-1'\n";
    for text in [
        format!("[claims]\nmode = 'off'\n{tagged}"),
        format!("[claims]\nanchor = 'rtb-9'\n{tagged}"),
        format!("[claims]\nanchor = 'eipalloc-1'\n{tagged}{elastic}"),
        format!("{tagged}[[vip.also]]\naddress = '203.0.113.9'\n[vip.also.elastic_ip]\n"),
        format!("{tagged}[[vip.also]]\naddress = '20.0.0.51'\n[vip.also.route]\ntables = ['rtb-1']\n"),
        format!("{tagged}[[vip.also]]\naddress = '10.0.0.51'\n[vip.also.secondary_ip]\n"),
    ] {
        assert!(load(&text).is_ok(), "{text}{:#?}", load(&text));
    }
}

#[test]
fn two_contradictions_of_one_address_are_told_both() {
    let text =
        "[[vip]]\ndelegate_ip = '20.0.0.50'\n[vip.secondary_ip]\n[vip.elastic_ip]\n[vip.route]\ntables = ['rtb-1']\n";
    let problems = load(text).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    for (problem, other) in problems.iter().zip(["elastic_ip", "route"]) {
        assert!(problem.starts_with(&format!("v.toml:3: vip[0].secondary_ip: contradicts {other}:")), "{problem}");
    }
}
